# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Layouts of Legacy Surveys cutouts: which HDU holds what of which band.

The viewer writes a cube, or a plain image where one band was asked for, and
behind it, marked by IMAGETYP, the inverse variances and the mask bits. Native
pixels (``subimage``) come as a pair of HDUs per band and brick instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.wcs import WCS

from splus_srgan.images.bands import split_bands
from splus_srgan.images.grid import header_wcs
from splus_srgan.images.io.fitsfile import load_images

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from astropy.io.fits import Header

    from splus_srgan.utils.types import BoolArray

__all__ = ["Piece", "read_pieces"]

_KINDS = ("image", "invvar", "maskbits")


@dataclass(eq=False)
class Piece:
    """
    One band of a cutout, or the part of it that lies in one brick.

    Attributes
    ----------
    band : str
        Its name.
    data : `~numpy.ndarray` of float32, shape (ny, nx)
        As stored: nanomaggies per native pixel; exactly 0 where there is no image.
    invvar : `~numpy.ndarray` or None
        Inverse variance of ``data``.
    maskbits : `~numpy.ndarray` of int32 or None
        Bits that say what is wrong with a pixel.
    header : `~astropy.io.fits.Header`
        Header of the image HDU.
    wcs : `~astropy.wcs.WCS`
        Celestial.
    """

    band: str
    data: np.ndarray
    invvar: np.ndarray | None
    maskbits: np.ndarray | None
    header: Header
    wcs: WCS

    @property
    def valid(self) -> BoolArray:
        """`True` where there is an image."""
        valid = np.isfinite(self.data) & (self.data != 0)
        return valid if self.invvar is None else valid & (self.invvar > 0)


def read_pieces(path: Path) -> list[Piece]:
    """
    Read all images of a cutout, with what belongs to them.

    Parameters
    ----------
    path : `~pathlib.Path`
        FITS file.

    Returns
    -------
    pieces : list of `Piece`
        In the order of the file.

    Raises
    ------
    OSError
        If the file cannot be read or is damaged.
    ValueError
        If it is no cutout of the Legacy Surveys.
    """
    _, images, _ = load_images(path)
    pieces, current = [], []
    for image in images:
        kind = str(image.header.get("IMAGETYP", "image")).strip().lower()
        if kind not in _KINDS:
            allowed = ", ".join(_KINDS)
            raise ValueError(f"{path} must have HDUs of IMAGETYP {allowed}; got {kind!r}")
        if kind == "image":
            current = _split(image, path)
            pieces += current
        else:
            _attach(kind, image, current, path)
    if not pieces:
        raise ValueError(f"{path} has no image: no survey pixels there, or no cutout at all")
    return pieces


def _split(image: Any, path: Path) -> list[Piece]:
    """Make one `Piece` of every plane of an image HDU."""
    header = image.header
    wcs = header_wcs(header, name=str(path))
    if wcs is None or not wcs.has_celestial:
        raise ValueError(f"{path} must have a celestial WCS, which says how large its pixels are")
    if image.data.ndim not in (2, 3):
        raise ValueError(f"{path} must hold (ny, nx) or (n_band, ny, nx); got {image.data.shape}")
    planes = image.data if image.data.ndim == 3 else image.data[np.newaxis]
    names = [header["BAND"]] if "BAND" in header else split_bands(header.get("BANDS"), len(planes))
    if names is None or len(names) != len(planes):
        said = header.get("BAND", header.get("BANDS"))
        raise ValueError(f"{path} must name its {len(planes)} bands in BANDS or BAND; got {said!r}")
    return [
        Piece(str(name).strip(), np.array(plane, np.float32), None, None, header, wcs)
        for name, plane in zip(names, planes, strict=True)
    ]


def _attach(kind: str, image: Any, pieces: list[Piece], path: Path) -> None:
    """Hand a plane of weights or bits to the image that it follows."""
    planes = image.data if image.data.ndim == 3 else image.data[np.newaxis]
    if kind == "maskbits":
        # One plane of bits is for all bands.
        planes = [planes[0]] * len(pieces)
    shapes = [piece.data.shape for piece in pieces]
    if not pieces or [np.shape(plane) for plane in planes] != shapes:
        raise ValueError(
            f"{path} must have its {kind} right after the image, in the same shape; "
            f"got {image.data.shape} after {shapes}"
        )
    for piece, plane in zip(pieces, planes, strict=True):
        if kind == "invvar":
            piece.invvar = np.array(plane, np.float32)
        else:
            piece.maskbits = np.array(plane, np.int32)
