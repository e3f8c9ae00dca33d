# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pieces of Legacy Surveys cutouts to one calibrated image per band, on one grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty

from splus_srgan.images.grid import grid_shift, pixel_scale, strip_wcs_cards
from splus_srgan.pixels.missing import fill_missing
from splus_srgan.surveys._legacy_files import Piece

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.io.fits import Header
    from astropy.wcs import WCS

    from splus_srgan.utils.types import FloatArray

__all__ = ["NATIVE_SCALE", "to_images"]

NATIVE_SCALE = 0.262
"""Pixel scale (arcsec) of the coadds, for whose pixels all values are given."""

_DROPPED = (
    *("EXTNAME", "EXTVER", "CHECKSUM", "DATASUM", "INHERIT", "BSCALE", "BZERO", "BLANK"),
    *("NAXIS3", "BANDS", "IMAGETYP", "IMAGEW", "IMAGEH", "PCOUNT", "GCOUNT"),
    *(f"BAND{i}" for i in range(10)),
)


def to_images(pieces: Sequence[Piece]) -> dict[str, CCDData]:
    """
    Make one image per band, in nanomaggies per pixel of its own grid.

    Parameters
    ----------
    pieces : list of `Piece`
        As read; bands that lie in several bricks are put together.

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        On one grid.

    Raises
    ------
    ValueError
        If a band is there twice in one brick.
    """
    if not all(_same_grid(pieces[0], piece) for piece in pieces[1:]):
        pieces = _merge_bricks(pieces)
    images = {piece.band: _image(piece) for piece in pieces}
    if len(images) < len(pieces):
        raise ValueError(f"a cutout must have each band once; got {[p.band for p in pieces]}")
    return images


def _same_grid(one: Piece, other: Piece) -> bool:
    # Bands of one file share the WCS object, others differ by far more than rounding.
    return one.data.shape == other.data.shape and (
        one.wcs is other.wcs or grid_shift(one.wcs, other.wcs, one.data.shape) < 1e-4
    )


def _image(piece: Piece) -> CCDData:
    """Apply the factor of the pixel area and turn weights into uncertainty and mask."""
    factor = (pixel_scale(piece.wcs) / NATIVE_SCALE) ** 2
    # The last digits of the header must not touch native pixels.
    factor = 1.0 if abs(factor - 1) < 1e-6 else factor
    missing = ~piece.valid
    image = CCDData(
        piece.data * np.float32(factor),
        unit=u.nmgy,
        mask=missing if missing.any() else None,
        wcs=piece.wcs.deepcopy(),
    )
    if piece.invvar is not None:
        with np.errstate(divide="ignore"):
            sigma = np.float32(factor) / np.sqrt(np.maximum(piece.invvar, 0))
        image.uncertainty = StdDevUncertainty(sigma)
    if piece.maskbits is not None:
        image.flags = piece.maskbits.copy()
    image.meta = _meta(piece, factor)
    return image


def _meta(piece: Piece, factor: float) -> Header:
    meta = piece.header.copy(strip=True)
    strip_wcs_cards(meta)
    for key in _DROPPED:
        meta.remove(key, ignore_missing=True)
    meta["BAND"] = piece.band
    meta["LSAREA"] = (factor, "pixel area / native one, applied to the values")
    if piece.maskbits is not None:
        meta["LSFLAGS"] = ("MASKBITS", "what the flags are")
    return meta


def _merge_bricks(pieces: Sequence[Piece]) -> list[Piece]:
    """
    Put the native pixels of neighbouring bricks onto one grid.

    Each brick has its own tangent point, so the others are resampled (bicubic)
    to the grid of the brick that has most of the area; its own pixels stay untouched.
    """
    order = sorted(pieces, key=lambda piece: -int(piece.valid.sum()))
    wcs, shape = _union_grid(order[0], pieces)
    merged = []
    for band in dict.fromkeys(piece.band for piece in pieces):
        parts = [piece for piece in order if piece.band == band]
        # The brick whose grid it is comes first, also where another has more of this band.
        parts.sort(key=lambda piece: not _same_tangent(piece.wcs, wcs))
        merged.append(_merge_band(parts, wcs, shape))
    return merged


def _union_grid(main: Piece, pieces: Sequence[Piece]) -> tuple[WCS, tuple[int, ...]]:
    """Extend the grid of one piece to hold all of them."""
    low, high = np.zeros(2), np.zeros(2)
    for piece in pieces:
        ny, nx = piece.data.shape
        x, y = np.array([(-0.5, -0.5), (nx - 0.5, -0.5), (-0.5, ny - 0.5), (nx - 0.5, ny - 0.5)]).T
        corners = main.wcs.world_to_pixel_values(*piece.wcs.pixel_to_world_values(x, y))
        low = np.minimum(low, np.min(corners, axis=1) + 0.5)
        high = np.maximum(high, np.max(corners, axis=1) + 0.5)
    low, high = np.rint(low).astype(int), np.rint(high).astype(int)
    wcs = main.wcs.deepcopy()
    wcs.wcs.crpix -= low
    return wcs, tuple(int(side) for side in (high - low)[::-1])


def _same_tangent(one: WCS, other: WCS) -> bool:
    """Tell whether two grids differ by whole pixels only."""
    return (
        np.array_equal(one.wcs.crval, other.wcs.crval)
        and np.allclose(one.pixel_scale_matrix, other.pixel_scale_matrix, rtol=1e-9, atol=0)
        and np.allclose((one.wcs.crpix - other.wcs.crpix) % 1, 0, atol=1e-6)
    )


def _merge_band(parts: Sequence[Piece], wcs: WCS, shape: tuple[int, ...]) -> Piece:
    data = np.zeros(shape, np.float32)
    invvar = np.zeros(shape, np.float32)
    for part in parts:
        place = _paste if _same_tangent(part.wcs, wcs) else _resample
        there, weight = place(part, wcs, shape)
        new = (data == 0) & (there != 0)
        data[new], invvar[new] = there[new], weight[new]
    weighted = all(part.invvar is not None for part in parts)
    header = parts[0].header.copy()
    bricks = ", ".join(str(part.header.get("BRICK", "?")) for part in parts)
    if len(parts) > 1:
        header.add_history(f"put together from the bricks {bricks}")
    return Piece(parts[0].band, data, invvar if weighted else None, None, header, wcs)


def _paste(part: Piece, wcs: WCS, shape: tuple[int, ...]) -> tuple[FloatArray, FloatArray]:
    """Copy pixels that are already on the grid."""
    x, y = np.rint(wcs.wcs.crpix - part.wcs.wcs.crpix).astype(int)
    there = slice(y, y + part.data.shape[0]), slice(x, x + part.data.shape[1])
    data, invvar = np.zeros((2, *shape), np.float32)
    data[there] = np.where(part.valid, part.data, 0)
    invvar[there] = 0 if part.invvar is None else part.invvar
    return data, invvar


def _resample(part: Piece, wcs: WCS, shape: tuple[int, ...]) -> Any:
    """Interpolate pixels; what would need a missing one is missing."""
    from reproject import reproject_interp

    def onto_grid(array: FloatArray, order: Any) -> Any:
        with np.errstate(invalid="ignore"):
            return reproject_interp(
                (array, part.wcs), wcs, shape, order=order, return_footprint=False
            )

    valid = part.valid
    if not valid.any():
        return np.zeros((2, *shape), np.float32)
    # A spline spreads NaN over whole rows, so gaps are filled first and cut out afterwards.
    data = onto_grid(fill_missing(np.where(valid, part.data, 0), ~valid), "bicubic")
    invvar = onto_grid(np.ones(valid.shape) if part.invvar is None else part.invvar, 0)
    seen = onto_grid(valid.astype(float), "bilinear") > 0.999
    return np.where(seen, data, 0), np.where(seen, invvar, 0)
