# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan calibrate``: it makes weights predict their uncertainties."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from splus_srgan.cli.bar import progress
from splus_srgan.cli.checks import as_usage, check_weights
from splus_srgan.cli.common import (
    IfTyped,
    NonNegativeFloat,
    UsageError,
    add_config,
    check_free,
    int_from,
)
from splus_srgan.cli.output import say
from splus_srgan.utils.files import check_folder, check_name
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any, Literal

    from astropy.table import Table
    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.models.generator import SRResNet
    from splus_srgan.models.joint import JointResNet
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.simulate.field import SimulatedField

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "train and calibrate the uncertainties of weights, and write a new model card"

_SHAPE, _BANDS = (128, 128), ("g", "r", "z")  # of the fields
_BINS = {"truth": "truth over sky noise", "image": "S/N stated"}


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    add = parser.add_argument
    add("weights", type=str, help="name or model card of weights, or checkpoint (.ckpt) of a run")
    add(
        "pairs",
        type=str,
        nargs="*",
        default=[],
        metavar="DIR",
        action=IfTyped,
        help="folders of rendered pairs, to train the head on; a checkpoint of a run that took "
        "subsets of bands has its own pairs",
    )
    add(
        "-o",
        "--output",
        type=str,
        metavar="DIR",
        required=True,
        help="folder of the new model card",
    )
    add("--kind", choices=("laplace", "gaussian"), default="laplace", help="distribution of errors")
    add("--minutes", type=NonNegativeFloat, default=4, help="for the head; 0 keeps the one")
    add("--steps", type=int_from(1), default=4000, help="for the head, at most")
    add("--crop", type=int_from(16), default=64, help="side of the crops, input pixels")
    add(
        "--precision", choices=("bfloat16", "float32"), default="bfloat16",
        help="in which the head is trained",
    )  # fmt: skip
    add("--fields", type=int_from(1), default=150, help="simulated fields to calibrate on")
    add("--test", type=int_from(0), default=0, help="other simulated fields to test on")
    add("--ensemble", action="store_true", help="calibrate the ensemble too")
    add("--name", type=str, help="name of the new weights")
    add("--version", type=str, help="version of the new weights")
    add("--overwrite", action="store_true", help="replace weights of this name in the folder")


def run(options: Namespace) -> None:
    """
    Train the head, calibrate it, and write the new model card.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    if options.name is not None:
        _check_name(options.name)
    if not options.weights.endswith(".ckpt"):
        check_weights(options.weights, auto=False)
    check_folder(options.output)
    pairs = _own_pairs(options.weights) if options.minutes > 0 else None
    if options.minutes > 0 and pairs is None and not options.pairs:
        raise UsageError("calibrate needs at least one folder of pairs (DIR) to train the head on")

    from splus_srgan.models.weights import load_generator, save_weights
    from splus_srgan.training.calibration import train_head

    # Weights that are not calibrated yet stay out of the folder, where they might be used.
    with TemporaryDirectory() as work:
        card = _card_of(options.weights, work)
        _check_name(options.name or card.name)
        if options.minutes > 0 and pairs is None:
            pairs = _rendered(card, options)
        target = Path(options.output) / f"{options.name or card.name}.json"
        check_free([target, target.with_suffix(".safetensors")], options.overwrite)
        generator = load_generator(card)
        if options.minutes > 0:
            generator = train_head(
                generator,
                present(pairs),
                kind=options.kind,
                steps=options.steps,
                minutes=options.minutes,
                precision=options.precision,
                progress_bar=progress,
            )
        entries = _entries(card, options)
        for mode in (True, "ensemble") if options.ensemble else (True,):
            _calibrate(generator, entries, mode, options, work)
        save_weights(generator, target.parent, **entries)
    say(target)


def _check_name(name: str) -> None:
    with as_usage():
        check_name(name)


def _calibrate(
    generator: SRResNet | JointResNet,
    entries: dict[str, Any],
    mode: bool | Literal["ensemble"],
    options: Namespace,
    work: str,
) -> None:
    """Calibrate a way to uncertainties, test it if asked to; the entries of the card take it."""
    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.models.weights import save_weights
    from splus_srgan.training.calibration import calibrate, measure_coverage
    from splus_srgan.training.data.fields import SEEDS

    card = save_weights(generator, work, **entries)
    trusted: Any = {"psf": "header", "check_input": False}  # simulated fields are what they say
    enhancer = SRGANEnhancer(card, uncertainty=mode, **trusted)
    entries["uncertainty"] = calibrate(enhancer, _fields(card, "validation", options.fields))
    if options.test:
        card = save_weights(generator, work, **entries)
        enhancer = SRGANEnhancer(card, uncertainty=mode, **trusted)
        table = measure_coverage(enhancer, _fields(card, "test", options.test))
        say(f"uncertainty={mode!r}, {options.test} fields of seeds ({SEEDS['test']}, k)")
        say("\n".join(_format(table)))
        name = "coverage" if mode is True else "coverage_ensemble"
        entries["scores"] = entries["scores"] | {name: _score(table, options.test)}


def _entries(card: WeightsCard, options: Namespace) -> dict[str, Any]:
    """What the new model card keeps of the old one, and how the head was made."""
    from splus_srgan.training.data.fields import SEEDS

    entries = card.to_dict()
    for worked_out in ("file", "sha256", "generator"):
        del entries[worked_out]
    recipe = dict(card.training.get("uncertainty", {}))
    recipe["script"] = "splus-srgan calibrate"
    recipe["calibration"] = f"{options.fields} fields of seeds ({SEEDS['validation']}, k)"
    if options.minutes > 0:
        told = ("kind", "minutes") if card.takes_subsets else ("kind", "minutes", "crop")
        recipe |= {name: getattr(options, name) for name in told}
    return entries | {
        "name": options.name or card.name,
        "version": options.version or card.version,
        "uncertainty": _of_ensemble(card.uncertainty),
        "training": card.training | {"uncertainty": recipe},
    }


def _of_ensemble(stated: Mapping[str, Any]) -> dict[str, Any]:
    """What stays true of an image that does not change: the calibration of the ensemble."""
    found = {name: stated[name] for name in ("ensemble",) if name in stated}
    few = stated.get("few", {})
    if "ensemble" in few:
        found["few"] = {name: few[name] for name in ("most", "ensemble")}
    return found


def _score(table: Table, number: int) -> dict[str, Any]:
    """Shares of truths within the intervals of 68 and 95 %, by signal to noise."""
    from splus_srgan.training.data.fields import SEEDS

    found: dict[str, Any] = {"measured_on": f"{number} fields of seeds ({SEEDS['test']}, k)"}
    for row in table[table["band"] == "all"]:
        shares = [float(row[f"coverage_{level}"]) for level in (68, 95)]
        # Nothing is known about an empty bin, and JSON has no NaN.
        shares = [round(share, 3) if math.isfinite(share) else None for share in shares]
        bins = f"{_BINS[row['by']]} {row['low']:g} to {row['high']:g}"
        found[bins] = shares
    return found


def _card_of(weights: str, folder: str) -> WeightsCard:
    """The model card of weights; that of a checkpoint is written first."""
    from splus_srgan.models.weights import load_card

    if not str(weights).endswith(".ckpt"):
        return load_card(weights)
    from splus_srgan.training.export import export_weights

    return export_weights(weights, folder)


def _own_pairs(weights: str) -> Any:
    """What the run of a checkpoint was trained on, if it took subsets of the bands."""
    if not str(weights).endswith(".ckpt"):
        return None
    from splus_srgan.training.checkpoints import CONTENT, read_checkpoint
    from splus_srgan.training.config.training import load_config
    from splus_srgan.training.data.dataset import make_dataset

    # The head learns from fields as they are, without added sources.
    plain = {"losses.response": 0.0}
    config = load_config(read_checkpoint(weights)[CONTENT]["config"], plain)
    return make_dataset(config, "train") if config.data.subsets else None


def _rendered(card: WeightsCard, options: Namespace) -> Any:
    from splus_srgan.training.data.dataset import RenderedPairs

    if card.takes_subsets:
        raise UsageError(
            f"weights {card.name!r} take subsets of bands: their head is trained on the pairs of "
            "their run; give its checkpoint (.ckpt), or --minutes 0 to keep the head"
        )
    return RenderedPairs(
        options.pairs,
        bands=None if card.takes_any_band else card.bands,
        crop=options.crop,
        single_band=card.takes_any_band,
        **card.stretch,
    )


def _fields(card: WeightsCard, purpose: str, number: int) -> Iterator[SimulatedField]:
    """Fields with all bands to calibrate on, with those that users may have to test on."""
    from splus_srgan.simulate.field import simulate_field
    from splus_srgan.training.data.fields import SEEDS
    from splus_srgan.training.data.subsets import subset_field

    bands = card.bands if card.takes_subsets else _BANDS
    seeds = ((SEEDS[purpose], k) for k in progress(range(number)))
    if purpose == "test":
        return (subset_field(card, seed, shape=_SHAPE, bands=bands) for seed in seeds)
    return (simulate_field(seed, shape=_SHAPE, bands=bands) for seed in seeds)


def _format(table: Table) -> Iterator[str]:
    for row in rows_of(table):
        yield (
            f"{row['band']:>4} {_BINS[row['by']]:>20} {row['low']:5g} to {row['high']:5g}: "
            f"{row['count']:9d} pixels, "
            f"{row['coverage_68']:.3f} {row['coverage_95']:.3f}, mean pull {row['bias']:+.2f}"
        )
