# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
S-PLUS images of data release 1 from the Virtual Observatory, without an account.

The service has Stripe 82 alone, and no weight maps. It is asked by the Simple
Image Access protocol, version 1, through `pyvo <https://pyvo.readthedocs.io>`_.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

from splus_srgan.splus import PIXEL_SCALE, canonical_band
from splus_srgan.surveys._position import one_position
from splus_srgan.surveys._stamp import MARGIN, band_list, cut_stamps, pixel_count, read_stamp
from splus_srgan.utils.download import fetch_file
from splus_srgan.utils.optional import import_optional
from splus_srgan.utils.quiet import own_filters

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from astropy.nddata import CCDData
    from astropy.units import Quantity

    from splus_srgan.utils.types import Bands, Position, T

__all__ = ["SERVICE", "fetch_vo", "search_vo"]

SERVICE = "https://datalab.noirlab.edu/sia/splus_dr1"
"""Address of the image service of data release 1."""

# Columns by their name in this service, and by the UCD that the standard demands.
_COLUMNS = {
    "format": ("access_format", "VOX:Image_Format"),
    "band": ("obs_bandpass", "VOX:BandPass_ID"),
    "url": ("access_url", "VOX:Image_AccessReference"),
    "ra": ("s_ra", "POS_EQ_RA_MAIN"),
    "dec": ("s_dec", "POS_EQ_DEC_MAIN"),
}
_SAME_TILE = 0.05  # deg between the centers that a service gives for bands of one tile


def fetch_vo(
    position: Position,
    *,
    size: int | Quantity,
    bands: Bands = "grz",
    service: str = SERVICE,
    cache: bool = True,
    **network: Any,
) -> dict[str, CCDData]:
    """
    Fetch images of one position in several bands.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple of float
        Center, or ``(ra, dec)`` in degrees (ICRS).
    size : int or `~astropy.units.Quantity`
        Side of the square, in pixels of 0.55 arcsec or as an angle.
    bands : str or sequence of str, optional
        Such as ``"grz"`` or ``("g", "J0660")``. All are taken from one tile.
    service : str, optional
        Address of the service.
    cache : bool, optional
        Whether to keep the files in, and take them from, the cache of astropy.
    **network
        ``timeout`` (120 s), ``retries`` (4), ``backoff`` (2 s, doubled each time),
        ``min_interval`` (0.25 s between requests), ``deadline`` (ten times ``timeout``).

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image of shape ``(size, size)`` in ADU, target in the middle to half a pixel,
        all on one grid. Beyond the edge of the tile pixels are NaN and masked.

    Raises
    ------
    ImportError
        If pyvo is not installed.
    ServiceError
        If the service has no such images, or does not answer properly.
    ValueError
        If position, size or bands are not usable.
    GridMismatchError
        If the images of the bands are on different grids.

    Notes
    -----
    The headers have no zero point: see `~splus_srgan.surveys.calibration.calibrate_flux`.

    Examples
    --------
    >>> from splus_srgan.surveys.splus_vo import fetch_vo
    >>> images = fetch_vo((0.5, -0.4), size=128)  # doctest: +REMOTE_DATA
    """
    sky, pixels, names = (
        one_position(position),
        pixel_count(size),
        band_list(bands),
    )
    network = network | {"cache": cache}
    found = search_vo(sky, size=pixels + 2 * MARGIN, bands=names, service=service, **network)
    stamps = {}
    for name, url in found.items():
        stamps[name] = _fetch(url, partial(read_stamp, band=name, position=sky), network)
        stamps[name].meta["SRRELEAS"] = ("dr1", "S-PLUS data release")
    return cut_stamps(stamps, sky, pixels)


def search_vo(
    position: Position,
    *,
    size: int | Quantity,
    bands: Bands = "grz",
    service: str = SERVICE,
    cache: bool = True,
    **network: Any,
) -> dict[str, str]:
    """
    Ask which images there are.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple of float
        Center, or ``(ra, dec)`` in degrees (ICRS).
    size : int or `~astropy.units.Quantity`
        Side of the square, in pixels of 0.55 arcsec or as an angle.
    bands : str or sequence of str, optional
        Bands.
    service, cache, **network
        As for `fetch_vo`.

    Returns
    -------
    urls : dict of str to str
        Band to the address of a FITS image of that square. All bands are of one tile: of
        those that have every band, the one whose center is nearest.

    Raises
    ------
    ImportError
        If pyvo is not installed.
    ServiceError
        If a band is missing, or the service does not answer properly.
    ValueError
        If position, size or bands are not usable.
    """
    sky, names = one_position(position), band_list(bands)
    url = _query_url(sky, pixel_count(size) * PIXEL_SCALE * u.arcsec, service)
    read = partial(_read_answer, sky=sky, bands=names)
    return _fetch(url, read, network | {"cache": cache})


def _fetch(url: str, read: Callable[[Path], T], network: Mapping[str, Any]) -> T:
    """Read a file that `read` accepts."""
    path = fetch_file(url, validate=read, **network)
    try:
        return read(path)
    finally:
        if not network["cache"]:
            path.unlink(missing_ok=True)


def _query_url(sky: SkyCoord, side: Quantity, service: str) -> str:
    """Put the query into a URL; pyvo knows the protocol, `fetch_file` how to ask patiently."""
    pyvo = import_optional("pyvo", "splus")
    # The protocol counts SIZE in degrees of right ascension, which shrink with cos(dec).
    width = side / max(np.cos(sky.dec.rad), 1e-3)
    size = tuple(np.round([width.to_value(u.deg), side.to_value(u.deg)], 8))
    query = pyvo.dal.sia.SIAQuery(service, pos=sky, size=size, verbosity=2)
    joint = "&" if "?" in query.queryurl else "?"
    return f"{query.queryurl}{joint}{urlencode(query, safe=',')}"


def _read_answer(path: Path, *, sky: SkyCoord, bands: Sequence[str]) -> dict[str, str]:
    """Choose images from the answer; one without them is refused, so that it is not kept."""
    return _choose(_rows(path), sky, bands)


def _rows(path: Path) -> list[dict[str, Any]]:
    """Read the table of images; raise `ValueError` for an error that the service tells."""
    pyvo = import_optional("pyvo", "splus")
    from astropy.io.votable import parse

    try:
        with own_filters():
            # Services are lax about the standard, which does not matter here.
            warnings.simplefilter("ignore")
            results = pyvo.dal.sia.SIAResults(parse(path))
            table = results.to_table()
    except pyvo.dal.DALQueryError as error:
        raise ValueError(f"the service refuses the query: {error.reason}") from error
    except Exception as error:  # a broken VOTable shows as many kinds of exception
        start = path.read_bytes()[:200]
        reason = f"the answer is no VOTable of images (it begins with {start[:40]!r})"
        # What begins like one was cut off, and may come whole the next time.
        raise (OSError if b"<VOTABLE" in start else ValueError)(reason) from error
    columns = {}
    for key, (name, ucd) in _COLUMNS.items():
        name = name if name in table.colnames else results.fieldname_with_ucd(ucd)
        if name is not None:
            columns[key] = [_text(value) for value in table[name]]
    missing = [_COLUMNS[key][0] for key in ("format", "band", "url") if key not in columns]
    if missing:
        raise ValueError(f"the answer must have the columns {missing}; got {table.colnames}")
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _choose(
    rows: Sequence[Mapping[str, Any]], sky: SkyCoord, bands: Sequence[str]
) -> dict[str, str]:
    """Pick one image per band, all of one tile."""
    tiles: dict[Any, Any] = {}
    for row in rows:
        name = _band_of(row)
        if name is not None:
            center = (float(row.get("ra", np.nan)), float(row.get("dec", np.nan)))
            key = next((k for k in tiles if _same_tile(k, center)), center)
            tiles.setdefault(key, {}).setdefault(name, []).append(str(row["url"]))
    wanted = [canonical_band(band) for band in bands]
    complete = {key: tile for key, tile in tiles.items() if set(wanted) <= set(tile)}
    if not complete:
        have = sorted({band for tile in tiles.values() for band in tile})
        raise ValueError(
            f"there is no tile with images of {', '.join(wanted)} at {sky.to_string()}; "
            f"there are {', '.join(have) or 'none'}; data release 1 is Stripe 82 alone",
        )
    nearest = min(complete, key=lambda key: _distance(key, sky))
    # The order of an answer is not fixed, that of names is.
    return {b: min(complete[nearest][w]) for b, w in zip(bands, wanted, strict=True)}


def _band_of(row: Mapping[str, Any]) -> str | None:
    """Name the band of a row, or give `None` where it is no FITS image of the survey."""
    if not str(row["format"]).lower().endswith("fits") or "weight" in str(row["url"]).lower():
        return None
    try:
        return canonical_band(row["band"])
    except ValueError:
        return None


def _same_tile(one: Any, other: Any) -> bool:
    if not np.isfinite([*one, *other]).all():
        return True  # the service does not say; the images will
    return SkyCoord(*one, unit="deg").separation(SkyCoord(*other, unit="deg")).deg < _SAME_TILE


def _distance(center: Any, sky: SkyCoord) -> float:
    if not np.isfinite(center).all():
        return 0.0
    return SkyCoord(*center, unit="deg").separation(sky).deg
