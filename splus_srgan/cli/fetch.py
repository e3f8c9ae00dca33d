# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan fetch``: pairs of a list of galaxies, from the services."""

from collections import Counter

from splus_srgan.cli.bar import progress
from splus_srgan.cli.common import (
    UsageError,
    add_config,
    add_matching,
    draw_sheet,
    make_matcher,
)
from splus_srgan.cli.output import say

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "fetch, match and judge pairs of a list of galaxies"

_BANDS = ["g", "r", "z"]


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
    add(
        "table",
        type=str,
        metavar="TABLE",
        help="galaxies: columns ra, dec (deg), name; ECSV, CSV or FITS",
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
        "--bands",
        type=str,
        nargs="+",
        metavar="BAND",
        default=_BANDS,
        help="bands that both surveys have",
    )
    add("--size", type=int, default=128, help="side of the input in S-PLUS pixels of 0.55 arcsec")
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


def run(options):
    """
    Fetch, match, judge, and say what became of each.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from astropy.table import Table

    from splus_srgan.pairs.folder.pairs import fetch_pairs

    table = Table.read(options.table)
    source, target = _sources(options)
    match, matching = make_matcher(options)
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
    _tell(pairs)
    draw_sheet(pairs, options)


def _sources(options):
    """Set up both surveys; the first thing to go wrong is a mistake in the options."""
    from splus_srgan.pairs.sources import CloudSource, LegacySource, VOSource, load_zero_points

    frame = (options.size, tuple(options.bands))
    target = LegacySource(*frame, options.layer, options.legacy_service)
    zero_points = load_zero_points(options.zero_points)
    if options.release != VOSource.release:
        return CloudSource(options.release, *frame, zero_points, options.splus_service), target
    if zero_points == "service":
        raise UsageError(
            f"--zero-points must be dr4, a table or none with release {options.release}"
        )
    return VOSource(*frame, options.splus_service, zero_points), target


def _tell(pairs):
    """Print what became of the pairs."""
    index = pairs.index
    for row in index[index["verdict"] != "accept"]:
        say(f"{row['name']}: {row['verdict']}: {row['reasons']}")
    counts = Counter(index["verdict"])
    words = {"accept": "accepted", "reject": "rejected", "failed": "failed"}
    told = ", ".join(f"{counts.get(key, 0)} {word}" for key, word in words.items())
    say(f"{pairs.path}: {len(index)} pairs: {told}")
