# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Small S-PLUS images as services return them: read, checked, cut to size."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, Cutout2D

from splus_srgan.images.bands import listed_bands, same_band
from splus_srgan.images.grid import check_common_grid
from splus_srgan.images.io.read import find_bands
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.splus import PIXEL_SCALE, canonical_band
from splus_srgan.utils.validate import check_integer, is_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.coordinates import SkyCoord
    from astropy.units import Quantity

    from splus_srgan.utils.types import Bands, FilePath

__all__ = ["MARGIN", "band_list", "cut_stamps", "pixel_count", "read_stamp"]

MARGIN = 4
"""Pixels asked for beyond each side: services center images to 1.4 pixels only."""


def pixel_count(size: int | Quantity) -> int:
    """
    Give the side of an image in S-PLUS pixels.

    Parameters
    ----------
    size : int or `~astropy.units.Quantity`
        Pixels of 0.55 arcsec, or an angle.

    Returns
    -------
    size : int
        Pixels, at least 1; an angle is rounded up.

    Raises
    ------
    TypeError
        If it is no integer and no quantity.
    ValueError
        If it is no angle, or not above 0.
    """
    if not isinstance(size, u.Quantity):
        return check_integer("size", size, minimum=1)
    try:
        pixels = float(size.to_value(u.arcsec)) / PIXEL_SCALE
    except u.UnitConversionError:
        raise ValueError(f"size must be a number of pixels or an angle; got {size}") from None
    if not math.isfinite(pixels) or pixels <= 0:
        raise ValueError(f"size must be above 0; got {size}")
    # An angle meant as whole pixels must not become one more by rounding errors.
    return max(1, math.ceil(pixels - 1e-6))


def band_list(bands: Bands) -> list[str]:
    """
    Split what a caller gives as bands.

    Parameters
    ----------
    bands : str or sequence of str
        ``"grz"``, ``"J0660"``, or names.

    Returns
    -------
    bands : list of str
        Names as spelled, each one of a band of S-PLUS, none twice.

    Raises
    ------
    ValueError
        If there are none, one is unknown, or two are the same.
    """
    names = listed_bands(bands)
    if not names or len({canonical_band(name) for name in names}) < len(names):
        raise ValueError(f"bands must name at least one band, and each once; got {bands!r}")
    return names


def read_stamp(
    path: FilePath, band: str, *, position: SkyCoord | None = None, weight: bool = False
) -> CCDData:
    """
    Read an image of one band and check that it is the one asked for.

    Parameters
    ----------
    path : path-like
        FITS file; the image may be in the first HDU or the second, plain or compressed.
    band : str
        Band asked for.
    position : `~astropy.coordinates.SkyCoord`, optional
        Must lie in it.
    weight : bool, optional
        Whether a weight map was asked for.

    Returns
    -------
    stamp : `~astropy.nddata.CCDData`
        Image in ADU, or weight map (whose unit is not set right: it has none in files).

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not what was asked for.
    """
    found = find_bands(path, unit=u.adu)
    if len(found) != 1:
        raise ValueError(f"one image was expected; got the bands {[one.band for one in found]}")
    stamp = found[0].image
    if found[0].band is not None and not same_band(found[0].band, band):
        raise ValueError(f"band {band!r} was asked for, and {found[0].band!r} came")
    _check_kind(stamp.meta, weight)
    if stamp.wcs is None or not stamp.wcs.has_celestial:
        raise ValueError("the image has no celestial WCS")
    if not np.any(np.nan_to_num(stamp.data)):
        raise ValueError("the image is empty: the survey has no pixels there")
    if position is not None:
        x, y = stamp.wcs.world_to_pixel(position)
        ny, nx = stamp.shape
        if not (-0.5 <= x <= nx - 0.5 and -0.5 <= y <= ny - 0.5):
            raise ValueError(
                f"the image does not hold the position {position.to_string()}, which would be at "
                f"pixel ({x:.0f}, {y:.0f}) of {nx} x {ny}"
            )
    return stamp


def _check_kind(meta: Any, weight: bool) -> None:
    """Refuse a weight map in place of an image, and the other way round.

    The service takes the first file of a field where none fits the name it looks for.
    """
    name = str(meta.get("FILENAME", ""))
    if name and ("weight" in name.lower()) != weight:
        wanted, came = ("a weight map", "an image") if weight else ("an image", "a weight map")
        raise ValueError(f"{wanted} was asked for, and {came} came: FILENAME is {name!r}")


def cut_stamps(stamps: Mapping[str, CCDData], position: SkyCoord, size: int) -> dict[str, CCDData]:
    """
    Cut bands on one grid to the same square around a position.

    Parameters
    ----------
    stamps : dict of str to `~astropy.nddata.CCDData`
        Images of one grid.
    position : `~astropy.coordinates.SkyCoord`
        The center, to half a pixel.
    size : int
        Side in pixels.

    Returns
    -------
    stamps : dict of str to `~astropy.nddata.CCDData`
        Images ``(size, size)``; what the survey does not have is NaN and masked.

    Raises
    ------
    GridMismatchError
        If the bands are on different grids.
    """
    images = list(stamps.values())
    shapes = [image.shape for image in images]
    check_common_grid([f"band {b!r}" for b in stamps], shapes, [image.wcs for image in images])
    center = tuple(float(c) for c in images[0].wcs.world_to_pixel(position))
    return {band: _cut(image, center, size) for band, image in stamps.items()}


def _cut(image: CCDData, center: Any, size: int) -> CCDData:
    def piece(array: Any, fill: Any, **options: Any) -> Any:
        return Cutout2D(array, center, size, mode="partial", fill_value=fill, **options)

    data = piece(image.data, np.nan, wcs=image.wcs, copy=True)
    mask = missing_pixels(data.data, None if image.mask is None else piece(image.mask, True).data)
    uncertainty = image.uncertainty
    if uncertainty is not None:
        cut = piece(uncertainty.array, np.inf, copy=True).data
        uncertainty = type(uncertainty)(cut, unit=uncertainty.unit)
    meta = image.meta.copy()
    meta["NAXIS1"] = meta["NAXIS2"] = size
    for key, origin in zip(("X01TILE", "Y01TILE"), data.origin_original, strict=True):
        if is_number(meta.get(key)):
            meta[key] -= origin
    return CCDData(
        data.data,
        unit=image.unit,
        mask=mask if mask.any() else None,
        uncertainty=uncertainty,
        wcs=data.wcs,
        meta=meta,
    )
