# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pairs from a list of galaxies and two sources of images, or from files."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io import fits

from splus_srgan.exceptions import ServiceError
from splus_srgan.images.bands import check_distinct, tidy_band
from splus_srgan.images.grid import check_common_grid
from splus_srgan.images.io.fields import read_bands
from splus_srgan.pairs.folder import places, staging
from splus_srgan.pairs.folder.staging import list_positions
from splus_srgan.pairs.folder.store import PairFolder
from splus_srgan.pairs.quality.pair import PairLimits, assess_pair
from splus_srgan.utils.files import check_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from astropy.coordinates import SkyCoord
    from astropy.table import Table
    from astropy.units import UnitBase

    from splus_srgan.pairs.match import MatchedPair
    from splus_srgan.pairs.quality.pair import PairReport
    from splus_srgan.utils.types import Bands, FilePath, Images, ProgressBar

__all__ = ["fetch_pairs", "match_files"]

_INDEX_EVERY = 10.0  # seconds; the index can be made again from the records at any time
_GIVE_UP_AFTER = 10  # pairs in a row that could not be fetched


def fetch_pairs(
    table: Table,
    folder: FilePath,
    *,
    input_source: Callable[[SkyCoord], Images],
    target_source: Callable[[SkyCoord], Images],
    match: Callable[[Images, Images], MatchedPair] | None = None,
    limits: PairLimits | None = None,
    retry_failed: bool = False,
    settings: Mapping[str, Any] | None = None,
    progress_bar: ProgressBar | None = None,
) -> PairFolder:
    """
    Fetch, match and judge the pairs of a list, resuming an earlier call that was stopped.

    Images that a killed call had fetched are not fetched again, and pairs that are in
    the folder, rejected and failed ones included, are left alone; the index is the same
    as that of a call that was not interrupted.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns ``name`` (optional), ``ra`` and ``dec`` (deg).
    folder : path-like
        Folder of the pairs; made if needed.
    input_source, target_source : callable
        ``source(position)`` gives the bands that cover a
        `~astropy.coordinates.SkyCoord`: a dict of band to `~astropy.nddata.CCDData`.  An
        attribute ``release`` (str), if there is one, is kept in the index.
    match : callable, optional
        ``match(input, target)`` gives a `~splus_srgan.pairs.match.MatchedPair`;
        `~splus_srgan.pairs.match.match_pair` by default.
    limits : `~splus_srgan.pairs.quality.pair.PairLimits`, optional
        Limits that a pair must meet to be accepted.
    retry_failed : bool, optional
        Whether to try the failed pairs again.
    settings : dict, optional
        Plain values that describe how the sources are set up. They are kept in the folder,
        like the limits, and a later call with other settings is refused.
    progress_bar : callable, optional
        Wraps the list of the pairs that are left to do, as ``tqdm.tqdm`` does; `None` is silent.

    Returns
    -------
    pairs : `PairFolder`
        The folder.

    Raises
    ------
    FileExistsError
        If something that is not a pair has the name of a galaxy. Nothing is replaced but pairs.
    ValueError
        If the table lacks a column or names a galaxy twice; if a pair of the same name is
        at another position; if the folder was made with other settings.
    ServiceError
        If ten pairs in a row could not be fetched: the service seems to be down. They are
        in the index as failed.

    Notes
    -----
    A pair that cannot be fetched or matched is in the index with the verdict ``failed``
    and the reason.  Errors that would stop every pair (a missing package, a full disk)
    are raised.

    Examples
    --------
    See :doc:`/user_guide/pairs`.
    """
    limits = PairLimits() if limits is None else limits
    positions = list_positions(table)
    pairs = PairFolder(folder, create=True)
    pairs.check_settings({"limits": asdict(limits), **(settings or {})})
    todo = [
        (name, position)
        for name, position in positions.items()
        if not pairs.holds(name, position, failed=not retry_failed)
    ]
    for name, _ in todo:
        pairs.check_free(name, overwrite=True)  # before anything is fetched
    sources = {"input": input_source, "target": target_source}
    written, refused = time.monotonic(), 0
    try:
        for name, position in todo if progress_bar is None else progress_bar(todo):
            error = _make_pair(pairs, name, position, sources, match or _match_pair(), limits)
            refused = refused + 1 if isinstance(error, ServiceError) else 0
            if refused >= _GIVE_UP_AFTER:
                raise ServiceError(
                    error.url,
                    f"{refused} pairs in a row could not be fetched, the last one because: "
                    f"{error.reason}; try the failed ones again later",
                )
            if time.monotonic() - written > _INDEX_EVERY:
                pairs.write_index()
                written = time.monotonic()
    finally:
        pairs.write_index()
    places.unstage(pairs.path)
    return pairs


def _match_pair():
    from splus_srgan.pairs.match import match_pair

    return match_pair


def _make_pair(pairs, name, position, sources, match, limits):
    """Fetch, match, judge and add one pair; give the error if that failed."""
    try:
        sides = [
            staging.stage(pairs.path, name, side, source, position)
            for side, source in sources.items()
        ]
        matched = match(*sides)
        report = assess_pair(matched, limits=limits)
    except Exception as error:  # whatever a source raises: it must not stop the other pairs
        reason = staging.reason_of(error)
        pairs.add_failure(name, reason, position=position, overwrite=True)
        return error
    releases = {side: getattr(source, "release", "") for side, source in sources.items()}
    pairs.add(name, matched, report, position=position, releases=releases, overwrite=True)
    return None


def match_files(
    input_files: FilePath | Sequence[FilePath],
    target_files: FilePath | Sequence[FilePath],
    folder: FilePath,
    *,
    name: str,
    bands: Bands | None = None,
    unit: UnitBase | str | None = None,
    zero_points: Mapping[str, float] | None = None,
    match: Callable[[Images, Images], MatchedPair] | None = None,
    limits: PairLimits | None = None,
    overwrite: bool = False,
) -> PairReport:
    """
    Match files of one field and add the pair to a folder.

    Parameters
    ----------
    input_files : path-like or sequence of path-like
        Images of the coarser survey, as `~splus_srgan.images.io.fields.read_bands` takes them.
    target_files : path-like or sequence of path-like
        Images of the sharper survey; files of the Legacy Surveys are read by
        `splus_srgan.surveys.legacy.read_cutout`, which knows the unit of their pixels. They
        cannot be mixed with others.
    folder : path-like
        Folder of the pairs; made if needed.
    name : str
        Name of the pair: letters, digits and ``_.+-``.
    bands : sequence of str, optional
        Bands to take; by default all that both sides have.
    unit : str or `~astropy.units.UnitBase`, optional
        Unit of the pixels of the input files, where they state none.
    zero_points : dict of str to float, optional
        AB magnitude of 1 ADU per band, to bring the input to nanomaggies.
    match : callable, optional
        As in `fetch_pairs`.
    limits : `~splus_srgan.pairs.quality.pair.PairLimits`, optional
        Limits that a pair must meet to be accepted.
    overwrite : bool, optional
        Whether a pair of that name may be replaced.

    Returns
    -------
    report : `~splus_srgan.pairs.quality.pair.PairReport`
        Measurements of the pair, with the verdict.

    Raises
    ------
    FileExistsError
        If there is such a pair and ``overwrite`` is not set, or something that is not a pair.
    OSError
        If a file cannot be read.
    ValueError
        If files hold no bands in common, a band is there twice, files of the Legacy Surveys are
        mixed with others, or they cannot be matched.
    """
    input_files, target_files = _listed(input_files), _listed(target_files)
    _check_place(folder, name, overwrite, [*input_files, *target_files])
    first = read_bands(input_files, unit=unit)
    second = _read_target(target_files)
    shared = [band for band in first if band in second]
    shared = shared if bands is None else list(bands)
    for side, field in (("input", first), ("target", second)):
        missing = [band for band in shared if band not in field]
        if missing or not shared:
            raise ValueError(
                f"the {side} files must have the bands {', '.join(missing or second)}; they have "
                f"{', '.join(field)}"
            )
    first, second = ({band: side[band] for band in shared} for side in (first, second))
    first = _calibrated(first, zero_points)
    matched = (match or _match_pair())(first, second)
    report = assess_pair(matched, limits=limits)
    pairs = PairFolder(folder, create=True)
    pairs.add(name, matched, report, position=_center(first), overwrite=overwrite)
    pairs.write_index()
    return report


def _check_place(folder, name, overwrite, files):
    """Refuse, before any work is done, to replace foreign files, or the input files themselves."""
    places.check_pair_name(name)
    check_folder(folder)
    if not Path(folder).is_dir():
        return
    PairFolder(folder, create=True).check_free(name, overwrite=overwrite)
    place = (Path(folder) / name).resolve()
    own = [str(path) for path in files if place in path.resolve().parents]
    if own:
        raise FileExistsError(
            f"{', '.join(own)} would be replaced by the pair made of it; choose another name"
        )


def _listed(paths):
    return [Path(paths)] if isinstance(paths, str | os.PathLike) else [Path(p) for p in paths]


def _calibrated(field, zero_points):
    if not zero_points:
        return field
    from splus_srgan.surveys.zero_points import calibrate_flux

    known = {tidy_band(band): zero_point for band, zero_point in zero_points.items()}
    missing = [band for band in field if tidy_band(band) not in known]
    if missing:
        raise ValueError(
            f"zero_points must have every band of the pair; got none for {', '.join(missing)}"
        )
    return {band: calibrate_flux(image, known[tidy_band(band)]) for band, image in field.items()}


def _center(field):
    """Sky position of the center of an image, `None` without a WCS."""
    image = next(iter(field.values()))
    if image.wcs is None:
        return None
    ny, nx = image.shape
    return image.wcs.pixel_to_world((nx - 1) / 2, (ny - 1) / 2).icrs


def _read_target(paths):
    """Read the sharper survey's files; those of the Legacy Surveys have a reader of their own."""
    others = [path for path in paths if not _is_legacy(path)]
    if len(others) == len(paths):
        return read_bands(paths)
    if others:
        raise ValueError(
            "target_files must all be of the Legacy Surveys, or none of them; got "
            f"{', '.join(map(str, paths))}, of which {', '.join(map(str, others))} "
            f"{'is' if len(others) == 1 else 'are'} not; make a pair of each survey"
        )
    return _read_cutouts(paths)


def _read_cutouts(paths):
    """Read the bands of several files of the Legacy Surveys, each once and on one grid."""
    from splus_srgan.surveys.legacy import read_cutout

    found = [(band, image, path) for path in paths for band, image in read_cutout(path).items()]
    bands, images, files = (list(part) for part in zip(*found, strict=True))
    check_distinct(bands, [str(path) for path in files])
    labels = [f"{path} ({band})" for band, path in zip(bands, files, strict=True)]
    shapes, wcses = [image.shape for image in images], [image.wcs for image in images]
    check_common_grid(labels, shapes, wcses, what="target_files")
    return dict(zip(bands, images, strict=True))


def _is_legacy(path):
    """Whether a file says, as the viewer of the Legacy Surveys does, what each HDU is."""
    with fits.open(path, memmap=False) as hdus:
        return any(_is_of_viewer(hdu.header) for hdu in hdus)


def _is_of_viewer(header):
    kind = str(header.get("IMAGETYP", "")).strip().lower()
    # Cubes of others have a BANDS card, too, and a unit with it.
    return kind in ("image", "invvar", "maskbits") or ("BANDS" in header and "BUNIT" not in header)
