# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan enhance``: files of a field onto the finer grid."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from splus_srgan.cli.bar import progress
from splus_srgan.cli.batch import check_batch, run_batch
from splus_srgan.cli.by_band import ByBand, finite, read_by_band
from splus_srgan.cli.checks import (
    check_anchor,
    check_bands,
    check_engine,
    check_hdu,
    check_unit,
)
from splus_srgan.cli.cluster import add_scheduler, check_option, client_of
from splus_srgan.cli.common import (
    IfTyped,
    UsageError,
    add_config,
    add_engine,
    add_output,
    check_free,
    int_from,
    output_stem,
    survey_bands,
)
from splus_srgan.cli.output import say, tell
from splus_srgan.cli.summary import bands_of_file, say_bands, say_plan
from splus_srgan.utils.files import FITS_ENDINGS, check_not_read, fits_stem, make_folder
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from astropy.nddata import CCDData
    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.utils.types import ProgressBar

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "bring the images of a field onto a grid of half the pixel size"

_UNCERTAINTY: dict[str | None, bool | Literal["ensemble"]] = {
    None: False,
    "none": False,
    "generator": True,
    "ensemble": "ensemble",
}


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
    add(
        "files", type=str, nargs="*", default=[], metavar="FILE", action=IfTyped,
        help="FITS files of one field",
    )  # fmt: skip
    add(
        "--batch", type=str, metavar="TABLE",
        help="many fields: a table (name; file, or one per band; ra, dec, size for a part), a "
        "folder, or a pattern such as 'tiles/*.fits'",
    )  # fmt: skip
    add("--resume", action="store_true", help="of a batch, skip the fields that are done")
    add_scheduler(add, "enhance the fields of a batch, or the sections of one field")
    add_output(parser, what="folder to write to, made if needed; or the file, ending in .fits")
    add_engine(parser)
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of the body of the generator; auto is bfloat16 where the device has it",
    )
    add(
        "--block-size",
        type=int_from(16) | Literal["auto"],
        default="auto",
        help="auto, or input pixels",
    )
    add(
        "--flux-anchor", type=float, metavar="STRENGTH",
        help="from 0 to 1: how far the flux of sources is tied to that of the input; default "
        "that of the weights",
    )  # fmt: skip
    add(
        "--no-turned", action="store_true",
        help="one run of the generator in place of the mean of two, of which one has the image "
        "turned by 180 degrees: half the time, at worst some mmag",
    )  # fmt: skip
    add(
        "--format", type=Literal["bands", "scubes"], default="bands",
        help="layout of the output: extensions for each band, or the cube of S-Cubes",
    )  # fmt: skip
    add(
        "--uncertainty", type=Literal["none", "generator", "ensemble"],
        help="of each pixel: none, what the generator predicts, or the spread of eight runs; "
        "generator for --format scubes, else none",
    )  # fmt: skip
    _add_field(add)
    add(
        "--no-fit-stars", action="store_true",
        help="leave lone stars to the generator, in place of a fit of their flux and place",
    )  # fmt: skip
    add(
        "--no-check-input", action="store_true",
        help="do not look whether the input is an image as the weights know them",
    )  # fmt: skip
    add("--preview", action="store_true", help="draw a PNG beside the output, before and after")
    add(
        "--clean", action="store_true",
        help="enhance nothing: remove what killed runs left of the output, or in its folder",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")


def _add_field(add: Callable[..., Any]) -> None:
    """Add what is known of the input."""
    add(
        "--bands", type=str, nargs="+", metavar="BAND",
        help="bands to take; where headers do not say them, those of the files, in order",
    )  # fmt: skip
    add(
        "--hdu",
        type=int | str,
        help="HDU to read in each file: its number, EXTNAME, or EXTNAME,EXTVER",
    )
    add("--unit", type=str, help="unit of the pixels where a file states none")
    for name, what in (("sky", "sky"), ("sigma", "noise of the sky (standard deviation)")):
        add(
            f"--{name}", type=str, nargs="+", metavar="VALUE",
            help=f"{what} per pixel, unit of the data: a number, or BAND=NUMBER ...; "
            "measured where not given",
        )  # fmt: skip
    add(
        "--psf", type=str, nargs="+", metavar="PSF", default=["auto"],
        help="PSF of the input: auto, header, measure (on its stars), or FWHM,BETA of a Moffat "
        "profile (arcsec; 3 where BETA is left out), or BAND=FWHM,BETA ...",
    )  # fmt: skip


def run(options: Namespace) -> int | None:
    """
    Enhance the files and say what was written.

    Parameters
    ----------
    options : namespace
        Of the command.

    Returns
    -------
    status : int or None
        3 where some fields of a batch failed.
    """
    if options.clean:
        _run_clean(options)
        return None
    if options.batch is not None:
        check_batch(options)
        psf = _check(options).psf_of(())  # one for all fields alike
        return run_batch(options, lambda: _enhancer(options, psf, progress_bar=None))
    if not options.files:
        raise UsageError("enhance needs at least one FILE, or --batch TABLE")
    if options.resume:
        raise UsageError("--resume goes with --batch only")
    given = _check(options)
    target = _target(options)
    check_free([target], options.overwrite)
    if options.preview:
        check_free([_preview_path(target)], options.overwrite)
    check_not_read([target, _preview_path(target)], options.files)

    from splus_srgan.images.io.fields import read_bands

    start = time.perf_counter()
    chosen = {"bands": options.bands, "hdu": options.hdu, "unit": options.unit}
    field = read_bands(options.files, memmap=True, **chosen)
    levels = given.levels(field)
    tell(f"read {', '.join(field)} in {time.perf_counter() - start:.1f} s", least=1)

    if options.dry_run:
        say_plan(_prepared(options, field, given), field, target)
        return None
    with client_of(options.scheduler) as client:
        enhancer = _prepared(options, field, given, client)
        start = time.perf_counter()
        make_folder(target.parent)
        _write(enhancer, field, target, options, levels)
        seconds = time.perf_counter() - start
    ny, nx = (2 * n for n in next(iter(field.values())).shape)
    say(f"{target}: {', '.join(field)}; {ny} x {nx} pixels in {seconds:.1f} s")
    if options.preview:
        _draw_preview(target, field, options.overwrite)
    return None


def _write(
    enhancer: SRGANEnhancer,
    field: dict[str, CCDData],
    target: Path,
    options: Namespace,
    levels: dict[str, Any],
) -> None:
    """Enhance a field into its file, and say what it rests on."""
    from splus_srgan.images.io.cubes import write_cube

    if options.format == "scubes":
        sharp = enhancer(field, **levels)
        write_cube(sharp, target, overwrite=options.overwrite)
        say_bands((band, image.meta, image.flags) for band, image in sharp.items())
    else:
        enhancer.to_file(field, target, overwrite=options.overwrite, **levels)
        say_bands(bands_of_file(target))


def _prepared(
    options: Namespace, field: dict[str, CCDData], given: _Given, client: Any = None
) -> SRGANEnhancer:
    """The enhancer, for a layout that can hold the field."""
    from splus_srgan.images.io.cubes import check_cube_bands

    if options.format == "scubes":
        check_cube_bands(field)
    return _enhancer(options, given.psf_of(field), client=client)


def _run_clean(options: Namespace) -> None:
    """Remove what killed runs left behind, and say what it was."""
    if options.batch is not None or options.resume or options.scheduler or options.dry_run:
        raise UsageError("--clean goes with -o and files alone")
    from splus_srgan.enhance.restart import clean

    removed = clean(_target(options) if options.files else options.output)
    for path in removed:
        say(f"removed {path}")
    if not removed:
        say(f"{options.output}: nothing was left behind")


def _target(options: Namespace) -> Path:
    """The file to write: as it is named, or in the folder that is."""
    output = Path(options.output)
    if output.name.lower().endswith(FITS_ENDINGS) and not output.is_dir():
        return output
    return output / f"{output_stem(options.files)}_sr.fits"


def _enhancer(
    options: Namespace, psf: Any, progress_bar: ProgressBar | None = progress, client: Any = None
) -> SRGANEnhancer:
    from splus_srgan.enhance.enhancer import SRGANEnhancer

    return SRGANEnhancer(
        options.weights,
        device=options.device,
        precision=options.precision,
        block_size=options.block_size,
        flux_anchor=options.flux_anchor,
        turned=False if options.no_turned else None,
        fit_stars=not options.no_fit_stars,
        check_input=not options.no_check_input,
        progress_bar=progress_bar,
        client=client,
        psf=psf,
        uncertainty=_UNCERTAINTY[options.uncertainty],
    )


@dataclass(frozen=True)
class _Given:
    """What was typed of the bands of the input."""

    sky: ByBand | None
    sigma: ByBand | None
    psf: str | ByBand

    def levels(self, bands: Iterable[str]) -> dict[str, dict[str, float]]:
        """What a call of the enhancer takes."""
        given = {"sky": self.sky, "sigma": self.sigma}
        return {name: one.of(bands) for name, one in given.items() if one is not None}

    def psf_of(self, bands: Iterable[str]) -> Any:
        """What the enhancer takes."""
        return self.psf if isinstance(self.psf, str) else self.psf.of(bands)


def _check(options: Namespace) -> _Given:
    """Refuse before anything is read what can be wrong without it; give what is known."""
    check_bands(options.bands)
    check_unit(options.unit)
    check_hdu(options.hdu)
    check_option(options.scheduler)
    check_anchor(options.flux_anchor)
    if options.format == "scubes":
        survey_bands(options.bands or ())
        options.uncertainty = options.uncertainty or "generator"
    given = _Given(
        sky=_read_level(options.sky, "sky"),
        sigma=_read_level(options.sigma, "sigma"),
        psf=_read_psf(options.psf),
    )
    if options.bands:
        given.levels(options.bands)
        given.psf_of(options.bands)
    uncertainty, here = _UNCERTAINTY[options.uncertainty], options.scheduler is None
    check_engine(options, uncertainty, options.bands, here=here)
    if options.preview:
        import_optional("matplotlib", "plot")
    return given


def _read_level(texts: list[str] | None, name: str) -> ByBand | None:
    if texts is None:
        return None
    found = read_by_band(f"--{name}", texts, "0.1, or g=0.1 r=0.2")
    what = "a number, or BAND=NUMBER ..."
    numbers = {
        band: finite(found.option, text, positive=name == "sigma", what=what)
        for band, text in found.values.items()
    }
    return ByBand(found.option, numbers)


def _read_psf(texts: list[str]) -> str | ByBand:
    from splus_srgan.enhance.psf import PSF_MODES, check_psf

    if len(texts) == 1 and texts[0] in PSF_MODES:
        return texts[0]
    found = read_by_band("--psf", texts, "auto, header, measure, 1.4,3.0, or g=1.5,2.8 r=1.3,3.2")
    values = {}
    for band, text in found.values.items():
        try:
            values[band] = tuple(map(float, text.split(",")))
        except ValueError:
            raise UsageError(
                f"--psf must be one of {', '.join(PSF_MODES)}, or FWHM,BETA, or BAND=FWHM,BETA "
                f"...; got {text!r}"
            ) from None
        try:
            check_psf({band: values[band]})
        except ValueError:
            raise UsageError(
                "--psf must be a FWHM in arcsec above 0, a Moffat beta above 1, and a share of the "
                f"wings from 0 to 1, of which the last two may be left out; got {text}"
            ) from None
    return ByBand(found.option, values)


def _preview_path(target: Path) -> Path:
    return target.with_name(f"{fits_stem(target.name)}.png")


def _draw_preview(target: Path, field: dict[str, CCDData], overwrite: bool) -> None:
    from splus_srgan.cli.preview import draw_preview
    from splus_srgan.images.io.fields import read_bands

    path = _preview_path(target)
    check_free([path], overwrite)
    draw_preview(path, field, read_bands(target, memmap=True))
    say(path)
