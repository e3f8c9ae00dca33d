# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan simulate``: a field with its truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.cli.common import add_config, add_field, add_output, check_free, survey_bands
from splus_srgan.cli.output import say
from splus_srgan.utils.files import atomic_path, make_folder

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "simulate a field as S-PLUS sees it, with its truth"


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
    add_field(parser, 1, [128, 128])
    parser.add_argument(
        "--bands", type=str, nargs="+", metavar="BAND", default=["g", "r", "z"], help="bands"
    )
    parser.add_argument(
        "--kind",
        choices=("galaxy", "fill", "cluster", "stars", "blank"),
        help="what is in the field; drawn if not given",
    )


def run(options: Namespace) -> None:
    """
    Simulate, and write input, target and sources.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    bands, folder = survey_bands(options.bands), Path(options.output)
    paths = [folder / name for name in ("input.fits", "target.fits", "sources.ecsv")]
    check_free(paths, options.overwrite)

    from splus_srgan.images.io.fields import write_bands
    from splus_srgan.simulate.field import simulate_field

    field = simulate_field(options.seed, shape=tuple(options.shape), bands=bands, kind=options.kind)
    make_folder(folder)
    write_bands(paths[0], field.observed, overwrite=options.overwrite)
    write_bands(paths[1], field.target, overwrite=options.overwrite)
    with atomic_path(paths[2], overwrite=options.overwrite) as temporary:
        field.sources.write(temporary, format="ascii.ecsv", overwrite=True)
    say("\n".join(str(path) for path in paths))
