# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan match``: a pair from files of two surveys."""

from splus_srgan.cli.common import (
    UsageError,
    add_config,
    add_matching,
    add_overwrite,
    draw_sheet,
    make_matcher,
    output_stem,
)
from splus_srgan.cli.output import say

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "match files of one field to those of a sharper survey"


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
    add("files", type=str, nargs="+", metavar="FILE", help="FITS files of the coarser survey")
    add(
        "--target",
        type=str,
        nargs="+",
        metavar="FILE",
        required=True,
        help="those of the sharper survey",
    )
    add(
        "-o",
        "--output",
        type=str,
        metavar="DIR",
        required=True,
        help="folder of the pairs; made if needed",
    )
    add(
        "--name",
        type=str,
        help="name of the pair; by default what the names of the files have in common",
    )
    add(
        "--bands",
        type=str,
        nargs="+",
        metavar="BAND",
        help="bands to take; all that both have by default",
    )
    add(
        "--unit", type=str, help="unit of the pixels where a file of the coarser survey states none"
    )
    add(
        "--zero-points",
        type=str,
        nargs="+",
        metavar="BAND=MAG",
        help="AB magnitude of 1 ADU per band",
    )
    add_overwrite(parser, "a pair of that name")
    add_matching(parser)


def run(options):
    """
    Match, judge, and say what was found.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from splus_srgan.pairs.folder.pairs import PairFolder, match_files
    from splus_srgan.utils.files import safe_name

    name = options.name or safe_name(output_stem(options.files))
    report = match_files(
        options.files,
        options.target,
        options.output,
        name=name,
        bands=options.bands,
        unit=options.unit,
        zero_points=_read_zero_points(options.zero_points),
        match=make_matcher(options)[0],
        overwrite=options.overwrite,
    )
    say(f"{name}: {report.verdict}")
    for line in (*report.reasons, *report.notes):
        say(f"  {line}")
    for row in report.table():
        say(_band_line(row))
    draw_sheet(PairFolder(options.output), options)


def _band_line(row):
    return (
        f"  {row['band']}: shift left {row['shift_y'].value:+.3f}, {row['shift_x'].value:+.3f} "
        f"± {row['shift_error'].value:.3f} arcsec (y, x); "
        f"flux ratio {row['flux_ratio']:.3f} ± {row['flux_ratio_error']:.3f}; "
        f"seeing {row['fwhm_input'].value:.2f}, {row['fwhm_target'].value:.2f} arcsec"
    )


def _read_zero_points(texts):
    """Read ``["g=23.1", "r=23.0"]``."""
    zero_points = {}
    for text in texts or ():
        band, equals, number = text.partition("=")
        try:
            zero_points[band] = float(number)
        except ValueError:
            equals = ""
        if not (band and equals):
            raise UsageError(f"--zero-points must be like g=23.5 r=23.4; got {text!r}")
    return zero_points or None
