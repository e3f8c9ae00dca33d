# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan evaluate``: what an enhanced image is safe for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.cli.bar import progress
from splus_srgan.cli.checks import check_bands, check_engine, check_unit
from splus_srgan.cli.cluster import add_scheduler, check_option, client_of
from splus_srgan.cli.common import (
    IfTyped,
    UsageError,
    add_config,
    add_engine,
    add_output,
    int_from,
    survey_bands,
)
from splus_srgan.cli.output import say
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from astropy.nddata import CCDData
    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.result import Evaluation

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "judge what an enhanced image is safe for, and write a report"

_BASELINES = ("bicubic", "quick", "all", "none")
_UNCERTAINTY: dict[str, bool | Literal["ensemble"] | None] = {
    "auto": None,
    "none": False,
    "generator": True,
    "ensemble": "ensemble",
}
_SEED = 3  # of the simulated test fields
_QUICK = ("bicubic", "Gaussian", "NL-means")


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    add_output(parser)
    add_engine(parser)
    parser.add_argument(
        "files", nargs="*", default=[], metavar="FILE", type=str, action=IfTyped,
        help="FITS files of one field: an input, or an image that was enhanced before",
    )  # fmt: skip
    parser.add_argument("--simulate", type=int_from(1), metavar="N", help="N simulated test fields")
    parser.add_argument(
        "--pairs", type=str, metavar="DIR", help="a dataset folder with inputs and targets"
    )
    parser.add_argument(
        "--input", nargs="+", metavar="FILE", help="what an enhanced image was made from"
    )
    parser.add_argument(
        "--target", type=str, nargs="+", metavar="FILE", help="a deeper image of the same sky"
    )
    parser.add_argument(
        "--baselines", choices=_BASELINES, default="quick",
        help="simpler methods to compare with; all of them take minutes",
    )  # fmt: skip
    parser.add_argument("--seed", type=int_from(0), default=_SEED, help="of the simulated fields")
    parser.add_argument(
        "--shape", type=int_from(16), nargs=2, metavar=("NY", "NX"), default=[128, 128],
        help="input pixels of a simulated field",
    )  # fmt: skip
    parser.add_argument("--bands", type=str, nargs="+", metavar="BAND", help="bands to judge")
    parser.add_argument("--unit", type=str, help="unit of the pixels where a file states none")
    parser.add_argument(
        "--size", type=int_from(32), default=1024,
        help="of larger images the central part of so many input pixels is judged",
    )  # fmt: skip
    parser.add_argument(
        "--trials", type=int_from(0), default=3,
        help="fields on which the enhancer is tried with changed images; 0 for none",
    )  # fmt: skip
    parser.add_argument(
        "--uncertainty", choices=_UNCERTAINTY, default="auto",
        help="of each pixel, to be judged too: auto (where the weights predict it), none, "
        "generator, or ensemble",
    )  # fmt: skip
    add_scheduler(parser.add_argument, "enhance and measure the fields")


def run(options: Namespace) -> None:
    """
    Judge, write the report and print a summary.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    _check_options(options)
    _check_values(options)

    from splus_srgan.evaluation.report.write import check_folder

    check_folder(options.output, overwrite=options.overwrite)
    evaluation = _evaluate(options)
    paths = evaluation.write(options.output, overwrite=options.overwrite)
    say(evaluation.summary())
    say("\n" + "\n".join(str(path) for path in paths.values()))


def _check_options(options: Namespace) -> None:
    given = {"FILE": options.files, "--simulate": options.simulate, "--pairs": options.pairs}
    named = [name for name, value in given.items() if value not in (None, [])]
    if len(named) != 1:
        raise UsageError(
            "evaluate needs one of FILE, --simulate N and --pairs DIR; got "
            + (" and ".join(named) or "none of them")
        )
    for name in ("input", "target"):
        if getattr(options, name) and not options.files:
            raise UsageError(f"--{name} goes with FILE only; got it with {named[0]}")


def _check_values(options: Namespace) -> None:
    """Refuse what can be wrong before anything is read."""
    bands = options.bands
    if options.simulate is not None:
        bands = survey_bands(bands or "grz")
    check_bands(bands)
    check_unit(options.unit)
    check_option(options.scheduler)
    if options.scheduler and options.files:
        raise UsageError("--scheduler goes with --simulate or --pairs; got it with FILE")
    check_engine(options, _UNCERTAINTY[options.uncertainty] or False, bands)
    for module in ("jinja2", "matplotlib"):  # of the report, which comes after minutes of work
        import_optional(module, "plot")


def _evaluate(options: Namespace) -> Evaluation:
    from splus_srgan.evaluation.run import evaluate, evaluate_images

    if options.files:
        images = _read(options.files, options)
        name = Path(options.files[0]).name
        if _is_enhanced(images):
            given = _with_pair(images, name, options)
            return evaluate_images(**given, enhancer=_maker(images, options))
        pairs = [_pair_of_files(images, name, options)]
    elif options.pairs:
        pairs = _folder_pairs(options)
    else:
        pairs = _simulated_pairs(options)

    from splus_srgan.enhance.enhancer import SRGANEnhancer

    enhancer = SRGANEnhancer(
        options.weights,
        device=options.device,
        uncertainty=_uncertainty(options, pairs[0].bands),
    )
    with client_of(options.scheduler) as client:
        return evaluate(
            enhancer,
            pairs,
            baselines=_baselines(options.baselines, pairs),
            trials=options.trials,
            client=client,
            progress_bar=progress,
        )


def _uncertainty(options: Namespace, bands: Sequence[str]) -> bool | Literal["ensemble"]:
    """Which uncertainty the enhancer gives: what the weights predict, unless another is wanted."""
    from splus_srgan.models.choice import choose_cards

    wanted = _UNCERTAINTY[options.uncertainty]
    if wanted is not None:
        return wanted
    chosen = choose_cards(options.weights, bands)
    return all(card.scale for card, _ in chosen)


def _maker(images: dict[str, CCDData], options: Namespace) -> SRGANEnhancer | None:
    """What made an enhanced image, where its uncertainties are to be judged and it is known."""
    from splus_srgan.enhance.enhancer import SRGANEnhancer

    stated = all(image.uncertainty is not None for image in images.values())
    if options.uncertainty == "none" or not (options.input and stated):
        return None
    weights = options.weights if options.weights != "auto" else _weights_of(images)
    return None if weights is None else SRGANEnhancer(weights, device=options.device)


def _weights_of(images: dict[str, CCDData]) -> str | None:
    """The shipped weights that made an image, as the enhancer takes them; `None` if unknown."""
    from splus_srgan.models.choice import choose_cards
    from splus_srgan.models.weights import available

    names = {band: str(image.meta["SRMODEL"]) for band, image in images.items()}
    if len(set(names.values())) == 1:
        (name,) = set(names.values())
        return name if name in available() else None
    bands = tuple(names)
    chosen = {bands[k]: card.name for card, own in choose_cards("auto", bands) for k in own}
    return "auto" if names == chosen else None


def _read(paths: list[str], options: Namespace) -> dict[str, CCDData]:
    """Bands of one or several files."""
    from splus_srgan.images.io.fields import read_bands

    return read_bands(paths, bands=options.bands, unit=options.unit)


def _is_enhanced(images: dict[str, CCDData]) -> bool:
    return all("SRMODEL" in image.meta for image in images.values())


def _with_pair(images: dict[str, CCDData], name: str, options: Namespace) -> dict[str, Any]:
    """An enhanced image, cut, and its pair where the input was named: arguments of the call."""
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.parts import central_part

    if not options.input:
        if options.target:
            raise UsageError("--target of an enhanced image needs --input as well")
        return {"output": central_part(images, options.size, factor=2), "name": name}
    observed = _ordered(_read(options.input, options), images, "--input")
    target = _target(images, options)
    pair = EvaluationPair(
        name,
        central_part(observed, options.size),
        target and central_part(target, options.size, factor=2),
        noise_free=False,
    )
    return {"output": central_part(images, options.size, factor=2), "pair": pair}


def _pair_of_files(images: dict[str, CCDData], name: str, options: Namespace) -> EvaluationPair:
    """An input, with its target where that was named."""
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.parts import central_part

    if options.input:
        raise ValueError(
            f"--input goes with an enhanced image, but {name} has no card SRMODEL of one"
        )
    target = _target(images, options)
    return EvaluationPair(
        name,
        central_part(images, options.size),
        target and central_part(target, options.size, factor=2),
        noise_free=False,
    )


def _target(images: dict[str, CCDData], options: Namespace) -> dict[str, CCDData] | None:
    return _ordered(_read(options.target, options), images, "--target") if options.target else None


def _ordered(
    found: dict[str, CCDData], images: dict[str, CCDData], what: str
) -> dict[str, CCDData]:
    """The bands of the image, by its own names."""
    from splus_srgan.images.bands import same_band

    ordered = {}
    for band in images:
        match = [name for name in found if same_band(name, band)]
        if not match:
            raise ValueError(f"{what} must have every band of the image; {band!r} is missing")
        ordered[band] = found[match[0]]
    return ordered


def _simulated_pairs(options: Namespace) -> list[EvaluationPair]:
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.simulate.field import simulate_field

    ny, nx = options.shape
    bands = survey_bands(options.bands or "grz")
    return [
        EvaluationPair.from_simulation(
            simulate_field((options.seed, k), shape=(ny, nx), bands=bands),
            name=f"simulated {k + 1}",
        )
        for k in range(options.simulate)
    ]


def _folder_pairs(options: Namespace) -> list[EvaluationPair]:
    """The accepted pairs of a dataset folder."""
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.pairs.folder.pairs import PairFolder

    folder = PairFolder(options.pairs)
    if not len(folder):
        raise ValueError(f"--pairs needs a folder with accepted pairs; {options.pairs} has none")
    pairs = []
    for name in folder:
        observed, target = folder.load(name)
        bands = options.bands or list(observed)
        lacking = [band for band in bands if band not in observed]
        if lacking:
            raise ValueError(
                f"--bands must be among {', '.join(observed)}, those of {name!r}; "
                f"got {' '.join(lacking)}"
            )
        observed, target = ({band: side[band] for band in bands} for side in (observed, target))
        pairs.append(EvaluationPair(name, observed, target, noise_free=False))
    return pairs


def _baselines(choice: str, pairs: list[EvaluationPair]) -> dict[str, Any]:
    """Methods by name: those asked for that can run on the pairs."""
    from splus_srgan.evaluation.baselines.methods import default_baselines
    from splus_srgan.images.header import psf_from_header

    if choice == "none":
        return {}
    images = [image for pair in pairs for image in pair.input.values()]
    known = all(psf_from_header(image.meta) is not None for image in images)
    found = default_baselines(len(pairs[0].bands), psf_known=known)
    wanted = {"bicubic": ("bicubic",), "quick": _QUICK, "all": tuple(found)}[choice]
    return {name: one for name, one in found.items() if name in wanted}
