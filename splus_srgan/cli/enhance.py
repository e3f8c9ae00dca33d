# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan enhance``: files of a field onto the finer grid."""

import time
from pathlib import Path
from typing import Literal

from splus_srgan.cli.common import (
    add_config,
    add_engine,
    add_output,
    check_free,
    output_stem,
    progress,
    tidy_termination,
)
from splus_srgan.utils.files import make_folder

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "bring the images of a field onto a grid of half the pixel size"

_UNCERTAINTY = {"none": False, "generator": True, "ensemble": "ensemble"}


def add_arguments(parser):
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help="FITS files of one field")
    add_output(parser)
    add_engine(parser)
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument(
        "--block-size", type=int | Literal["auto"], default="auto", help="auto, or input pixels"
    )
    parser.add_argument(
        "--uncertainty",
        type=Literal["none", "generator", "ensemble"],
        default="none",
        help="of each pixel: none, what the generator predicts, or the spread of eight runs",
    )
    parser.add_argument(
        "--bands", nargs="+", metavar="BAND",
        help="bands to take; where headers do not say them, those of the files, in order",
    )  # fmt: skip
    parser.add_argument("--unit", help="unit of the pixels where a file states none")


def run(options):
    """
    Enhance the files and say what was written.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from splus_srgan.images.io.fields import read_bands

    target = Path(options.output) / f"{output_stem(options.files)}_sr.fits"
    check_free([target], options.overwrite)
    field = read_bands(options.files, bands=options.bands, unit=options.unit)

    from splus_srgan.enhance.enhancer import SRGANEnhancer

    enhancer = SRGANEnhancer(
        options.weights,
        device=options.device,
        precision=options.precision,
        block_size=options.block_size,
        uncertainty=_UNCERTAINTY[options.uncertainty],
        progress_bar=progress,
    )
    start = time.perf_counter()
    make_folder(target.parent)
    with tidy_termination():
        enhancer.to_file(field, target, overwrite=options.overwrite)
    seconds = time.perf_counter() - start
    ny, nx = (2 * n for n in next(iter(field.values())).shape)
    print(f"{target}: {', '.join(field)}; {ny} x {nx} pixels in {seconds:.1f} s")
