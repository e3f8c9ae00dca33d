# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Command line of the calibration: from a card or a checkpoint to a card with uncertainties."""

import argparse

from splus_srgan.enhance.enhancer import SRGANEnhancer
from splus_srgan.models.weights import load_card, load_generator, save_weights
from splus_srgan.simulate.field import simulate_field
from splus_srgan.training.calibration import calibrate, measure_coverage, train_head
from splus_srgan.training.data.fields import SEEDS

__all__ = ["main"]

_BINS = {"truth": "truth over sky noise", "image": "S/N stated"}


def main(arguments=None):
    """Command line."""
    options = _parser().parse_args(arguments)
    card = _card_of(options.weights, options.output)
    generator = load_generator(card)
    if options.minutes > 0:
        generator = train_head(
            generator,
            _rendered(card, options),
            kind=options.kind,
            steps=options.steps,
            minutes=options.minutes,
            precision=options.precision,
        )
    entries = _entries(card, options)
    card = save_weights(generator, options.output, **entries)
    for mode in (True, "ensemble") if options.ensemble else (True,):
        enhancer = SRGANEnhancer(card, uncertainty=mode)
        entries["uncertainty"] = calibrate(enhancer, _fields("validation", options.fields))
        card = save_weights(generator, options.output, **entries)
        if options.test:
            enhancer = SRGANEnhancer(card, uncertainty=mode)
            table = measure_coverage(enhancer, _fields("test", options.test))
            print(f"uncertainty={mode!r}, {options.test} fields of seeds ({SEEDS['test']}, k)")
            print("\n".join(_format(table)))
            name = "coverage" if mode is True else "coverage_ensemble"
            entries["scores"] = entries["scores"] | {name: _score(table, options.test)}
            card = save_weights(generator, options.output, **entries)
    print(card.path.with_suffix(".json"))


def _entries(card, options):
    """What the new card has from the old one, and how the head was made."""
    entries = card.to_dict()
    for worked_out in ("file", "sha256", "generator"):
        del entries[worked_out]
    recipe = dict(card.training.get("uncertainty", {}))
    recipe["script"] = "python -m splus_srgan.cli.calibrate"
    recipe["calibration"] = f"{options.fields} fields of seeds ({SEEDS['validation']}, k)"
    if options.minutes > 0:
        recipe |= {name: getattr(options, name) for name in ("kind", "minutes", "crop")}
    return entries | {
        "name": options.name or card.name,
        "version": options.version or card.version,
        "uncertainty": {},
        "training": card.training | {"uncertainty": recipe},
    }


def _score(table, number):
    """Shares of truths within the intervals of 68 and 95 %, by signal to noise."""
    found = {"measured_on": f"{number} fields of seeds ({SEEDS['test']}, k)"}
    for row in table[table["band"] == "all"]:
        shares = [round(float(row[f"coverage_{level}"]), 3) for level in (68, 95)]
        bins = f"{_BINS[row['by']]} {row['low']:g} to {row['high']:g}"
        found[bins] = shares
    return found


def _parser():
    parser = argparse.ArgumentParser(prog="python -m splus_srgan.cli.calibrate")
    parser.add_argument("weights", help="name or card of weights, or checkpoint (.ckpt) of a run")
    parser.add_argument("pairs", nargs="*", help="folders of render_pairs, to train the head on")
    parser.add_argument("-o", "--output", required=True, help="folder of the new card")
    parser.add_argument("--kind", choices=("laplace", "gaussian"), default="laplace")
    parser.add_argument("--minutes", type=float, default=4, help="for the head; 0 keeps the one")
    parser.add_argument("--steps", type=int, default=4000, help="for the head, at most")
    parser.add_argument("--crop", type=int, default=64, help="side of the crops, input pixels")
    parser.add_argument("--precision", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument("--fields", type=int, default=150, help="fields to calibrate on")
    parser.add_argument("--test", type=int, default=0, help="other fields to test on")
    parser.add_argument("--ensemble", action="store_true", help="calibrate the ensemble too")
    parser.add_argument("--name", help="name of the new card")
    parser.add_argument("--version", help="version of the new card")
    return parser


def _card_of(weights, folder):
    """The card of weights; that of a checkpoint is written first."""
    if not str(weights).endswith(".ckpt"):
        return load_card(weights)
    from splus_srgan.training.export import export_weights

    return export_weights(weights, folder)


def _rendered(card, options):
    from splus_srgan.training.data.dataset import RenderedPairs

    if not options.pairs:
        raise ValueError("pairs must name at least one folder to train the head on; got none")
    return RenderedPairs(
        options.pairs,
        bands=None if card.takes_any_band else card.bands,
        crop=options.crop,
        single_band=card.takes_any_band,
        **card.stretch,
    )


def _fields(purpose, number):
    return (simulate_field((SEEDS[purpose], k)) for k in range(number))


def _format(table):
    for row in table:
        yield (
            f"{row['band']:>4} {_BINS[row['by']]:>20} {row['low']:5g} to {row['high']:5g}: "
            f"{row['count']:9d} pixels, "
            f"{row['coverage_68']:.3f} {row['coverage_95']:.3f}, mean pull {row['bias']:+.2f}"
        )


if __name__ == "__main__":
    main()
