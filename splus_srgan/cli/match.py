# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan match``: a pair from files of two surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splus_srgan.cli.by_band import finite, read_by_band
from splus_srgan.cli.checks import as_usage, check_bands, check_target_psf, check_unit
from splus_srgan.cli.common import (
    add_config,
    add_matching,
    add_overwrite,
    draw_sheet,
    make_matcher,
    output_stem,
)
from splus_srgan.cli.output import say
from splus_srgan.utils.tables import rows_of

if TYPE_CHECKING:
    from astropy.table import Row
    from jsonargparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "match files of one field to those of a sharper survey"


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


def run(options: Namespace) -> None:
    """
    Match, judge, and say what was found.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    zero_points = _check(options)

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
        zero_points=zero_points,
        match=make_matcher(options)[0],
        overwrite=options.overwrite,
    )
    say(f"{name}: {report.verdict}")
    for line in (*report.reasons, *report.notes):
        say(f"  {line}")
    for row in rows_of(report.table()):
        say(_band_line(row))
    draw_sheet(PairFolder(options.output), options)


def _band_line(row: Row) -> str:
    return (
        f"  {row['band']}: shift left {row['shift_y'].value:+.3f}, {row['shift_x'].value:+.3f} "
        f"± {row['shift_error'].value:.3f} arcsec (y, x); "
        f"flux ratio {row['flux_ratio']:.3f} ± {row['flux_ratio_error']:.3f}; "
        f"seeing {row['fwhm_input'].value:.2f}, {row['fwhm_target'].value:.2f} arcsec"
    )


def _check(options: Namespace) -> dict[str, float] | None:
    """Refuse wrong options before anything is read; give the zero points."""
    from splus_srgan.pairs.folder.places import check_pair_name

    check_bands(options.bands)
    check_unit(options.unit)
    check_target_psf(options)
    if options.name is not None:
        with as_usage():
            check_pair_name(options.name)
    if options.zero_points is None:
        return None
    found = read_by_band("--zero-points", options.zero_points, "g=23.5 r=23.4", alike=False)
    what = "like g=23.5 r=23.4"
    numbers = {band: finite(found.option, text, what=what) for band, text in found.values.items()}
    found.check_complete(options.bands or ())
    return {str(band): number for band, number in numbers.items()}
