# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan fetch``: pairs of a list of galaxies, from the services."""

from collections import Counter
from pathlib import Path

from splus_srgan.cli.bar import progress
from splus_srgan.cli.common import (
    SOME_FAILED,
    UsageError,
    add_config,
    add_matching,
    check_free,
    draw_sheet,
    int_from,
    make_matcher,
)
from splus_srgan.cli.output import say, told_as_it_goes
from splus_srgan.exceptions import printable

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
        nargs="?",
        metavar="TABLE",
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


def run(options):
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
        return _write_example(Path(options.table or "galaxies.ecsv"))
    for name, value in (("TABLE", options.table), ("--output", options.output)):
        if value is None:
            raise UsageError(f"fetch needs {name}; --example writes a table to begin with")

    from astropy.table import Table

    from splus_srgan.pairs.folder.pairs import fetch_pairs

    table = Table.read(options.table)
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


def _write_example(path):
    """Write the list of galaxies of the seed paper."""
    from splus_srgan.surveys.catalog import load_galaxies
    from splus_srgan.utils.files import atomic_path

    check_free([path], False)
    galaxies = load_galaxies()
    with atomic_path(path) as temporary:
        galaxies.write(temporary, format="ascii.ecsv", overwrite=True)
    say(f"{path}: {len(galaxies)} galaxies; splus-srgan fetch {path} -o pairs")


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
    """Print what became of the pairs; how many failed."""
    index = pairs.index
    for row in index[index["verdict"] != "accept"]:
        say(printable(f"{row['name']}: {row['verdict']}: {row['reasons']}"))
    counts = Counter(index["verdict"])
    words = {"accept": "accepted", "reject": "rejected", "failed": "failed"}
    told = ", ".join(f"{counts.get(key, 0)} {word}" for key, word in words.items())
    say(f"{pairs.path}: {len(index)} pairs: {told}")
    return counts["failed"]
