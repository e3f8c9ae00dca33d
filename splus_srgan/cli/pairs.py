# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The commands ``splus-srgan fetch`` and ``splus-srgan match``."""

from collections import Counter

__all__ = ["add_fetch_options", "add_match_options", "run_fetch", "run_match"]

FETCH = "fetch, match and judge pairs of a list of galaxies"
MATCH = "match files of one field to those of a sharper survey"

_BANDS = ["g", "r", "z"]


def add_fetch_options(parser):
    """Add the options of ``fetch`` to its parser."""
    add = parser.add_argument
    add("table", metavar="TABLE", help="galaxies: columns ra, dec (deg), name; ECSV, CSV or FITS")
    add("-o", "--output", metavar="DIR", required=True, help="folder of the pairs; made if needed")
    add("--bands", nargs="+", metavar="BAND", default=_BANDS, help="bands that both surveys have")
    add("--size", type=int, default=128, help="side of the input in S-PLUS pixels of 0.55 arcsec")
    add("--release", default="dr1", help="S-PLUS release: dr1 needs no account, others do")
    add("--layer", default="ls-dr10", help="release of the Legacy Surveys")
    add("--zero-points", default="dr4", help="dr4, file or URL of a table, service, or none")
    add("--retry-failed", action="store_true", help="try those again that failed")
    add("--splus-service", metavar="URL", help="address of the S-PLUS service")
    add("--legacy-service", metavar="URL", help="address of the viewer of the Legacy Surveys")
    _add_shared(parser)


def add_match_options(parser):
    """Add the options of ``match`` to its parser."""
    add = parser.add_argument
    add("files", nargs="+", metavar="FILE", help="FITS files of the coarser survey")
    add("--reference", nargs="+", metavar="FILE", required=True, help="those of the sharper survey")
    add("-o", "--output", metavar="DIR", required=True, help="folder of the pairs; made if needed")
    add("--name", help="name of the pair; by default what the names of the files have in common")
    add("--bands", nargs="+", metavar="BAND", help="bands to take; all that both have by default")
    add("--unit", help="unit of the pixels where a file of the coarser survey states none")
    add("--zero-points", nargs="+", metavar="BAND=MAG", help="AB magnitude of 1 ADU per band")
    add("--overwrite", action="store_true", help="replace a pair of that name")
    _add_shared(parser)


def _add_shared(parser):
    add = parser.add_argument
    add(
        "--target-psf", type=float, nargs=2, metavar=("FWHM", "BETA"), default=[1.0, 3.0],
        help="Moffat PSF to bring the target to, arcsec; that of the shipped weights by default",
    )  # fmt: skip
    add("--keep-psf", action="store_true", help="leave the PSF of the target as it is")
    add("--no-correct", action="store_true", help="leave the shift as the WCS have it")
    add("--no-sheet", action="store_true", help="draw no contact_sheet.png")


def _matcher(options):
    """Set up the matching; give it and the settings behind it."""
    from functools import partial

    from splus_srgan.pairs.match import match_pair

    psf = None if options.keep_psf else tuple(options.target_psf)
    chosen = {"correct": not options.no_correct, "target_psf": psf}
    return partial(match_pair, **chosen), chosen


def run_fetch(options, progress_bar):
    """
    Run ``splus-srgan fetch``.

    Parameters
    ----------
    options : namespace
        Of `add_fetch_options`.
    progress_bar : callable
        Wraps an iterable.
    """
    from astropy.table import Table

    from splus_srgan.pairs.folder.pairs import fetch_pairs

    table = Table.read(options.table)
    source, target = _sources(options)
    match, matching = _matcher(options)
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
        progress_bar=progress_bar,
    )
    _tell(pairs)
    _draw_sheet(pairs, options)


def _sources(options):
    """Set up both surveys; the first thing to go wrong is a mistake in the options."""
    from splus_srgan.pairs.sources import CloudSource, LegacySource, VOSource, load_zero_points

    frame = (options.size, tuple(options.bands))
    target = LegacySource(*frame, options.layer, options.legacy_service)
    zero_points = load_zero_points(options.zero_points)
    if options.release != VOSource.release:
        return CloudSource(options.release, *frame, zero_points, options.splus_service), target
    if zero_points == "service":
        raise ValueError(f"zero_points must be dr4, a table or none with release {options.release}")
    return VOSource(*frame, options.splus_service, zero_points), target


def _tell(pairs):
    """Print what became of the pairs."""
    index = pairs.index
    for row in index[index["verdict"] != "accept"]:
        print(f"{row['name']}: {row['verdict']}: {row['reasons']}")
    counts = Counter(index["verdict"])
    words = {"accept": "accepted", "reject": "rejected", "failed": "failed"}
    told = ", ".join(f"{counts.get(key, 0)} {word}" for key, word in words.items())
    print(f"{pairs.path}: {len(index)} pairs: {told}")


def _draw_sheet(pairs, options):
    from splus_srgan.utils.optional import has

    if not options.no_sheet and has("matplotlib"):
        print(pairs.contact_sheet())


def run_match(options, progress_bar):
    """
    Run ``splus-srgan match``.

    Parameters
    ----------
    options : namespace
        Of `add_match_options`.
    progress_bar : callable
        Not needed: there is one pair.
    """
    from splus_srgan.cli.common import output_stem
    from splus_srgan.pairs.folder.pairs import PairFolder, match_files
    from splus_srgan.pairs.folder.staging import safe_name

    name = options.name or safe_name(output_stem(options.files))
    report = match_files(
        options.files,
        options.reference,
        options.output,
        name=name,
        bands=options.bands,
        unit=options.unit,
        zero_points=_read_zero_points(options.zero_points),
        match=_matcher(options)[0],
        overwrite=options.overwrite,
    )
    print(f"{name}: {report.verdict}")
    for line in (*report.reasons, *report.notes):
        print(f"  {line}")
    for row in report.table():
        print(_band_line(row))
    _draw_sheet(PairFolder(options.output), options)


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
            raise ValueError(f"zero_points must be like g=23.5 r=23.4; got {text!r}")
    return zero_points or None
