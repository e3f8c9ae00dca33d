# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan fetch``: pairs of a list of galaxies, from the services."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.cli.bar import progress
from splus_srgan.cli.checks import as_usage, check_address, check_target_psf
from splus_srgan.cli.common import (
    SOME_FAILED,
    IfTyped,
    UsageError,
    add_config,
    add_matching,
    check_free,
    draw_sheet,
    int_from,
    make_matcher,
)
from splus_srgan.cli.output import say, told_as_it_goes

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.pairs.folder.store import PairFolder
    from splus_srgan.pairs.sources import CloudSource, LegacySource, VOSource

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "fetch, match and judge pairs of a list of galaxies"

_BANDS = ["g", "r", "z"]


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
        "table",
        type=str,
        nargs="?",
        metavar="TABLE",
        action=IfTyped,
        help="galaxies: columns ra, dec (deg), name; ECSV, CSV or FITS",
    )
    add("-o", "--output", type=str, metavar="DIR", help="folder of the pairs; made if needed")
    add(
        "--example",
        action="store_true",
        help="write the galaxies of the seed paper to TABLE (galaxies.ecsv), and stop",
    )
    add(
        "--bands",
        type=str,
        nargs="+",
        metavar="BAND",
        default=_BANDS,
        help="bands that both surveys have",
    )
    add(
        "--size",
        type=int_from(32),
        default=128,
        help="side of the input in S-PLUS pixels of 0.55 arcsec",
    )
    add(
        "--release", type=str, default="dr1", help="S-PLUS release: dr1 needs no account, others do"
    )
    add("--layer", type=str, default="ls-dr10", help="release of the Legacy Surveys")
    add(
        "--zero-points",
        type=str,
        default="dr4",
        help="dr4, file or URL of a table, service, or none",
    )
    add("--retry-failed", action="store_true", help="try those again that failed")
    add("--splus-service", type=str, metavar="URL", help="address of the S-PLUS service")
    add(
        "--legacy-service",
        type=str,
        metavar="URL",
        help="address of the viewer of the Legacy Surveys",
    )
    add_matching(parser)


def run(options: Namespace) -> int | None:
    """
    Fetch, match, judge, and say what became of each.

    Parameters
    ----------
    options : namespace
        Of the command.

    Returns
    -------
    status : int or None
        3 where some of the galaxies failed.
    """
    if options.example:
        if options.output is not None:
            raise UsageError("--example writes the file TABLE, and nothing to --output")
        _write_example(Path(options.table or "galaxies.ecsv"))
        return None
    for name, value in (("TABLE", options.table), ("--output", options.output)):
        if value is None:
            raise UsageError(f"fetch needs {name}; --example writes a table to begin with")

    _check(options)

    from splus_srgan.pairs.folder.pairs import fetch_pairs
    from splus_srgan.pairs.folder.staging import list_positions
    from splus_srgan.utils.files import check_folder
    from splus_srgan.utils.tables import read_table

    check_folder(options.output)
    table = read_table(options.table)
    list_positions(table)  # before the network is asked for anything
    source, target = _sources(options)
    match, matching = make_matcher(options)
    with told_as_it_goes("splus_srgan.utils.download"):
        pairs = fetch_pairs(
            table,
            options.output,
            input_source=source,
            target_source=target,
            match=match,
            retry_failed=options.retry_failed,
            settings={
                "bands": options.bands,
                "size": options.size,
                "release": options.release,
                "layer": options.layer,
                "zero_points": options.zero_points,
            }
            | matching,
            progress_bar=progress,
        )
    failed = _tell(pairs)
    draw_sheet(pairs, options)
    return SOME_FAILED if failed else None


def _write_example(path: Path) -> None:
    """Write the list of galaxies of the seed paper."""
    from splus_srgan.surveys.catalog import load_galaxies
    from splus_srgan.utils.files import atomic_path

    check_free([path], False, option=False)
    galaxies = load_galaxies()
    with atomic_path(path) as temporary:
        galaxies.write(temporary, format="ascii.ecsv", overwrite=True)
    say(f"{path}: {len(galaxies)} galaxies; splus-srgan fetch {path} -o pairs")


def _check(options: Namespace) -> None:
    """Refuse wrong options before anything is read or asked for."""
    from splus_srgan.pairs.sources import VOSource, check_zero_points

    check_address("--splus-service", options.splus_service)
    check_address("--legacy-service", options.legacy_service)
    check_target_psf(options)
    with as_usage():
        _target_source(options)
        VOSource(options.size, tuple(options.bands))
        check_zero_points(options.zero_points)
    if not options.release.strip():
        raise UsageError("--release must be the name of a data release; got none")
    if options.zero_points == "service" and _is_open(options):
        raise UsageError(
            f"--zero-points must be dr4, a table or none with release {options.release}"
        )


def _is_open(options: Namespace) -> bool:
    """Whether the release is the one that needs no account."""
    from splus_srgan.pairs.sources import VOSource

    return options.release.strip().lower() == VOSource.release


def _target_source(options: Namespace) -> LegacySource:
    from splus_srgan.pairs.sources import LegacySource

    return LegacySource(options.size, tuple(options.bands), options.layer, options.legacy_service)


def _sources(options: Namespace) -> tuple[CloudSource | VOSource, LegacySource]:
    """Set up both surveys; the network may be asked for zero points, and for a login."""
    from splus_srgan.pairs.sources import CloudSource, VOSource, load_zero_points

    frame, service = (options.size, tuple(options.bands)), options.splus_service
    zero_points = load_zero_points(options.zero_points)
    if _is_open(options):
        return VOSource(*frame, service, zero_points), _target_source(options)
    return CloudSource(options.release, *frame, zero_points, service), _target_source(options)


def _tell(pairs: PairFolder) -> int:
    """Print what became of the pairs; how many failed."""
    index = pairs.index
    for row in index[index["verdict"] != "accept"]:
        say(f"{row['name']}: {row['verdict']}: {row['reasons']}")
    counts = Counter(index["verdict"])
    words = {"accept": "accepted", "reject": "rejected", "failed": "failed"}
    told = ", ".join(f"{counts.get(key, 0)} {word}" for key, word in words.items())
    say(f"{pairs.path}: {len(index)} pairs: {told}")
    return counts["failed"]
