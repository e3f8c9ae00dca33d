# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan enhance``: files of a field onto the finer grid."""

import math
import time
from pathlib import Path
from typing import Literal

from splus_srgan.cli.bar import progress
from splus_srgan.cli.batch import PSF_MODES, run_batch
from splus_srgan.cli.cluster import add_scheduler, check_option, client_of
from splus_srgan.cli.common import (
    UsageError,
    add_config,
    add_engine,
    add_output,
    check_free,
    int_from,
    output_stem,
)
from splus_srgan.cli.output import say, tell
from splus_srgan.cli.summary import bands_of_file, say_bands, say_plan
from splus_srgan.utils.files import make_folder

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "bring the images of a field onto a grid of half the pixel size"

_UNCERTAINTY = {None: False, "none": False, "generator": True, "ensemble": "ensemble"}
_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz", ".fit.gz", ".fts.gz")


def add_arguments(parser):
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    add = parser.add_argument
    add("files", type=str, nargs="*", default=[], metavar="FILE", help="FITS files of one field")
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
        "--no-check-input", action="store_true",
        help="do not look whether the input is an image as the weights know them",
    )  # fmt: skip
    add("--preview", action="store_true", help="draw a PNG beside the output, before and after")
    add(
        "--clean", action="store_true",
        help="enhance nothing: remove what killed runs left of the output, or in its folder",
    )  # fmt: skip
    add("--dry-run", action="store_true", help="say what would be done, and do nothing")


def _add_field(add):
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
        help="PSF of the input: auto, header, measure (on its stars), or FWHM,BETA in arcsec, "
        "or BAND=FWHM,BETA ...",
    )  # fmt: skip


def run(options):
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
        return _run_clean(options)
    if options.batch is not None:
        return run_batch(options, lambda: _enhancer(options, {}, progress_bar=None))
    if not options.files:
        raise UsageError("enhance needs at least one FILE, or --batch TABLE")
    if options.resume:
        raise UsageError("--resume goes with --batch only")
    check_option(options.scheduler)
    target = _target(options)
    check_free([target], options.overwrite)
    if options.preview:
        check_free([_preview_path(target)], options.overwrite)

    from splus_srgan.images.io.fields import read_bands

    start = time.perf_counter()
    chosen = {"bands": options.bands, "hdu": options.hdu, "unit": options.unit}
    field = read_bands(options.files, memmap=True, **chosen)
    levels = {name: _per_band(getattr(options, name), name, field) for name in ("sky", "sigma")}
    tell(f"read {', '.join(field)} in {time.perf_counter() - start:.1f} s", least=1)

    if options.dry_run:
        say_plan(_prepared(options, field), field, target)
        return
    with client_of(options.scheduler) as client:
        enhancer = _prepared(options, field, client)
        start = time.perf_counter()
        make_folder(target.parent)
        _write(enhancer, field, target, options, levels)
        seconds = time.perf_counter() - start
    ny, nx = (2 * n for n in next(iter(field.values())).shape)
    say(f"{target}: {', '.join(field)}; {ny} x {nx} pixels in {seconds:.1f} s")
    if options.preview:
        _draw_preview(target, field, options.overwrite)


def _write(enhancer, field, target, options, levels):
    """Enhance a field into its file, and say what it rests on."""
    from splus_srgan.images.io.cubes import write_cube

    if options.format == "scubes":
        sharp = enhancer(field, **levels)
        write_cube(sharp, target, overwrite=options.overwrite)
        say_bands((band, image.meta, image.flags) for band, image in sharp.items())
    else:
        enhancer.to_file(field, target, overwrite=options.overwrite, **levels)
        say_bands(bands_of_file(target))


def _prepared(options, field, client=None):
    """The enhancer, for a layout that can hold the field."""
    from splus_srgan.images.io.cubes import check_cube_bands

    if options.format == "scubes":
        check_cube_bands(field)
        options.uncertainty = options.uncertainty or "generator"
    return _enhancer(options, field, client=client)


def _run_clean(options):
    """Remove what killed runs left behind, and say what it was."""
    if options.batch is not None or options.resume or options.scheduler or options.dry_run:
        raise UsageError("--clean goes with -o and files alone")
    from splus_srgan.enhance.restart import clean

    removed = clean(_target(options) if options.files else options.output)
    for path in removed:
        say(f"removed {path}")
    if not removed:
        say(f"{options.output}: nothing was left behind")


def _target(options):
    """The file to write: as it is named, or in the folder that is."""
    output = Path(options.output)
    if output.name.lower().endswith(_ENDINGS) and not output.is_dir():
        return output
    return output / f"{output_stem(options.files)}_sr.fits"


def _enhancer(options, field, progress_bar=progress, client=None):
    from splus_srgan.enhance.enhancer import SRGANEnhancer

    chosen = {"uncertainty": _UNCERTAINTY[options.uncertainty]}
    psf = _psf(options.psf, field)
    if psf != "auto":
        chosen["psf"] = psf
    return SRGANEnhancer(
        options.weights,
        device=options.device,
        precision=options.precision,
        block_size=options.block_size,
        check_input=not options.no_check_input,
        progress_bar=progress_bar,
        client=client,
        **chosen,
    )


def _by_band(texts, name, example):
    """Read ``["g=1", "r=2"]`` as a dictionary, and ``["1"]`` as its only value, by `None`."""
    if len(texts) == 1 and "=" not in texts[0]:
        return {None: texts[0]}
    found = dict(text.split("=", 1) for text in texts if text.count("=") == 1)
    if len(found) != len(texts):
        raise UsageError(f"--{name} must be like {example}; got {' '.join(texts)}")
    return found


def _number(text, name):
    try:
        number = float(text)
    except ValueError:
        raise UsageError(f"--{name} must be a number, or BAND=NUMBER ...; got {text!r}") from None
    if not math.isfinite(number) or (name == "sigma" and number <= 0):
        rule = "above 0" if name == "sigma" else "finite"
        raise UsageError(f"--{name} must be {rule}; got {text}")
    return number


def _per_band(texts, name, field):
    """What `SRGANEnhancer` takes as sky or sigma."""
    if texts is None:
        return None
    found = _by_band(texts, name, "0.1, or g=0.1 r=0.2")
    numbers = {band: _number(text, name) for band, text in found.items()}
    return numbers[None] if None in numbers else _spelled(numbers, name, field)


def _psf(texts, field):
    from splus_srgan.enhance.psf import check_psf

    if len(texts) == 1 and texts[0] in PSF_MODES:
        return texts[0]
    found = {}
    for band, text in _by_band(texts, "psf", "1.4,3.0, or g=1.5,2.8 r=1.3,3.2").items():
        found[band] = tuple(_number(part, "psf") for part in text.split(","))
        try:
            check_psf({band: found[band]})
        except ValueError as error:
            raise UsageError(str(error).replace(f"psf[{band!r}]", "--psf")) from None
    return dict.fromkeys(field, found[None]) if None in found else _spelled(found, "psf", field)


def _spelled(values, name, field):
    """Values by the bands of the field, however they are spelled."""
    from splus_srgan.images.bands import same_band

    spelled = {}
    for given, value in values.items():
        match = [band for band in field if same_band(band, given)]
        if not match:
            raise UsageError(f"--{name} must name bands of the field, {list(field)}; got {given!r}")
        spelled[match[0]] = value
    return spelled


def _preview_path(target):
    name = target.name
    for ending in sorted(_ENDINGS, key=len, reverse=True):
        name = name[: -len(ending)] if name.lower().endswith(ending) else name
    return target.with_name(f"{name}.png")


def _draw_preview(target, field, overwrite):
    from splus_srgan.cli.preview import draw_preview
    from splus_srgan.images.io.fields import read_bands

    path = _preview_path(target)
    check_free([path], overwrite)
    draw_preview(path, field, read_bands(target, memmap=True))
    say(path)
