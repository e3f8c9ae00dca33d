# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bands to one multi-extension FITS file, which is complete or not there at all."""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Iterable
from numbers import Integral, Real
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.images.bands import check_distinct
from splus_srgan.images.cards import fitting_comment
from splus_srgan.images.grid import fits_wcs, strip_wcs_cards, wcs_cards
from splus_srgan.images.io.layout import ERROR_NAMES, ERRORS_LEGEND, quality_legend
from splus_srgan.images.meta import sound_header
from splus_srgan.images.unpack import UNCERTAINTY_POWERS, uncertainty_array
from splus_srgan.utils.files import FITS_ENDINGS, atomic_path, check_target, local_path

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.io.fits import Header
    from astropy.nddata import NDData
    from numpy.typing import NDArray

    from splus_srgan.utils.types import FilePath, Images

__all__ = [
    "CHECKSUM_OF",
    "band_header",
    "build_hdus",
    "check_names",
    "check_writable",
    "set_card",
    "storable",
    "write_atomically",
]

CHECKSUM_OF = "of this HDU"
"""Instead of the date in the comments of checksums: same bands, same bytes."""

_TILE = 64  # rows
_GZIP_TIME = slice(4, 8)  # of each tile (RFC 1952): same bands, same bytes

_STRUCTURE = ("CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "BUNIT")
_OF_OUTPUT_PSF = ("SRFWHM", "SRBETA", "SRWING")


def check_writable(path: FilePath, overwrite: bool = False) -> Path:
    """
    Make sure, before any work is done, that a file can be written.

    Parameters
    ----------
    path : path-like
        The file to be.
    overwrite : bool, optional
        Whether it may exist.

    Returns
    -------
    path : `~pathlib.Path`
        The same path.

    Raises
    ------
    ValueError
        If its name does not end like a FITS file's.
    FileExistsError
        If it exists and ``overwrite`` is not set.
    OSError
        If its folder is missing or not writable, or it is a folder itself.

    Examples
    --------
    >>> from splus_srgan.images.io.fields import check_writable
    >>> check_writable("sharp.txt")
    Traceback (most recent call last):
    ...
    ValueError: path must end in .fits, ...
    """
    path = local_path(path)
    if not path.name.lower().endswith(FITS_ENDINGS):
        raise ValueError(f"path must end in {', '.join(FITS_ENDINGS)}; got {str(path)!r}")
    return check_target(path, overwrite=overwrite)


def write_atomically(path: FilePath, hdus: Any, *, overwrite: bool = False) -> Path:
    """
    Write a file beside its place, then rename it there.

    Parameters
    ----------
    path : path-like
        The file to be.
    hdus : `~astropy.io.fits.HDUList`
        What to write; CHECKSUM and DATASUM are added.
    overwrite : bool, optional
        Whether the file may exist. Until the new one is complete the old one stays.

    Returns
    -------
    path : `~pathlib.Path`
        The same path.

    Raises
    ------
    OSError
        If it cannot be written, for example on a full disk. Nothing is left behind.
    """
    path = check_writable(path, overwrite)
    with atomic_path(path, overwrite=overwrite) as temporary:
        tiled = path.suffix.lower() == ".fz"
        _add_checksums(hdus)
        (_tiled(hdus) if tiled else hdus).writeto(temporary, output_verify="exception")
    return path


def _add_checksums(hdus: Any) -> None:
    # Not by writeto, which puts the date into their comments.
    hdus.verify("exception")
    hdus.update_extend()
    for hdu in hdus:
        hdu.add_checksum(when=CHECKSUM_OF)


def _tiled(hdus: Any) -> Any:
    """The same compressed tile by tile without loss, with checksums of what is then in the file."""
    packed = io.BytesIO()
    fits.HDUList([_compressed(hdu) for hdu in hdus]).writeto(packed, output_verify="exception")
    packed.seek(0)
    tables = fits.open(packed, disable_image_compression=True, lazy_load_hdus=False)
    for hdu in tables:
        if isinstance(hdu, fits.BinTableHDU) and "COMPRESSED_DATA" in hdu.columns.names:
            for tile in hdu.data["COMPRESSED_DATA"]:
                tile[_GZIP_TIME] = 0
        hdu.add_checksum(when=CHECKSUM_OF)
    return tables


def _compressed(hdu: Any) -> Any:
    if not isinstance(hdu, fits.ImageHDU) or hdu.data is None or hdu.name == "PSF":
        return hdu
    *planes, ny, nx = hdu.data.shape
    tile = (*(1 for _ in planes), min(ny, _TILE), nx)
    header = hdu.header.copy()
    for key in ("CHECKSUM", "DATASUM"):  # of the plain image
        header.remove(key, ignore_missing=True)
    # Without quantization: floating-point numbers keep every bit.
    options = {"compression_type": "GZIP_2", "quantize_level": 0, "tile_shape": tile}
    return fits.CompImageHDU(hdu.data, header, **options)


def check_names(bands: Sequence[str]) -> None:
    """
    Refuse names of bands that a file would not give back.

    Parameters
    ----------
    bands : sequence of str
        Names as given.

    Raises
    ------
    TypeError
        If a name is no string.
    ValueError
        If two mean the same band, or one has characters that a FITS card cannot hold or
        would lose.
    """
    check_distinct(bands)
    for band in bands:
        if band != band.strip() or not all(" " <= letter <= "~" for letter in band):
            raise ValueError(
                f"names of bands in a file must be printable ASCII without spaces around them; "
                f"got {band!r}; rename the band"
            )


def build_hdus(field: Images) -> Any:
    """
    Lay bands out as a multi-extension file.

    Parameters
    ----------
    field : mapping of str to `~astropy.nddata.NDData`
        Two-dimensional images.

    Returns
    -------
    hdus : `~astropy.io.fits.HDUList`
        An empty primary with the ``SR`` cards that all bands share, then for each band
        ``SCI`` and, as far as the image has them, ``ERR``, ``DQ``, ``BPM`` and ``PSF``, with
        the number of the band, from 1, as EXTVER and its name in the card BAND.
    """
    check_names(list(field))
    images = []
    for number, (band, image) in enumerate(field.items(), 1):
        images += _band_hdus(number, band, image)
    return fits.HDUList([_primary(field, images), *images])


def _primary(field: Images, images: Sequence[Any]) -> Any:
    primary = fits.PrimaryHDU()
    primary.header["NEXTEND"] = (len(images), "extensions of this file")
    set_card(primary.header, "SRBANDS", ",".join(field), "bands in this file, by EXTVER")
    headers = [hdu.header for hdu in images if hdu.name == "SCI"]
    for card in headers[0].cards:
        shared = all(header.get(card.keyword) == card.value for header in headers)
        if card.keyword.startswith("SR") and shared and card.keyword not in primary.header:
            primary.header[card.keyword] = (card.value, card.comment)
    return primary


def _band_hdus(number: int, band: str, image: NDData) -> list[Any]:
    data = np.asarray(image.data)
    if data.ndim != 2:
        raise ValueError(f"band {band!r} must have shape (ny, nx); got {data.shape}")
    header = band_header(band, image)
    hdus = [fits.ImageHDU(storable(data, band), header=header, name="SCI", ver=number)]
    for name, plane in _planes(image, data.shape).items():
        if plane is not None:
            # A view: a plane may be large, or only stand for one.
            array = np.asarray(plane, bool) if name == "BPM" else np.asarray(plane)
            cards = _plane_header(name, band, image, header)
            hdus.append(fits.ImageHDU(storable(array, band), cards, name=name, ver=number))
    return hdus


def _planes(image: NDData, shape: tuple[int, ...]) -> dict[str, Any]:
    """What goes beside an image, by EXTNAME."""
    # CCDData has flags for this plane, plain NDData carries it in its meta.
    quality = getattr(image, "flags", None)
    quality = image.meta.get("QUALITY") if quality is None else quality
    planes = {}
    if image.uncertainty is not None:
        name = ERROR_NAMES.get(image.uncertainty.uncertainty_type, "UNCERT")
        planes[name] = uncertainty_array(image)
    if not isinstance(quality, np.ndarray | str | None):
        warnings.warn(
            f"flags of the {type(image).__name__} cannot be written and are left out: they must be "
            f"one array; got {type(quality).__name__}",
            SplusSrganWarning,
            stacklevel=2,
        )
    planes["DQ"] = quality if isinstance(quality, np.ndarray) else None
    planes["BPM"] = None if image.mask is None else np.broadcast_to(image.mask, shape)
    planes["PSF"] = getattr(image, "psf", None)
    return planes


def _plane_header(name: str, band: str, image: NDData, science: Header) -> Header:
    """Cards of a plane beside an image."""
    header = fits.Header()
    header["BAND"] = (band, "name of the band")
    if name == "PSF":
        header.extend(card for card in science.cards if card.keyword in _OF_OUTPUT_PSF)
        return header
    if name == "BPM":
        header.add_comment("1 is missing: no valid value")
    elif name == "DQ" and "SRMODEL" in science:
        for keyword, value, comment in quality_legend():
            header[keyword] = (value, comment)
    elif name != "DQ":
        header["UTYPE"] = (type(image.uncertainty).__name__, "class in astropy.nddata")
        power = UNCERTAINTY_POWERS.get(image.uncertainty.uncertainty_type)
        if None not in (power, image.unit):
            header["BUNIT"] = ((image.unit**power).to_string(), "unit of the pixels")
        if "SRUNCERT" in science:
            header.add_comment(ERRORS_LEGEND)
    wcs = fits_wcs(image.wcs)
    if wcs is not None:
        header.extend(wcs_cards(wcs))
    return header


def storable(array: NDArray[Any], band: str) -> NDArray[Any]:
    """
    Give pixels in the nearest kind of number that FITS has.

    Parameters
    ----------
    array : `~numpy.ndarray`
        Booleans, integers or real numbers.
    band : str
        What the message calls them.

    Returns
    -------
    array : `~numpy.ndarray`
        A view where that is possible.

    Raises
    ------
    TypeError
        If they are something else.
    """
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.view(np.uint8)
    if kind == "f" and size not in (4, 8):
        return array.astype(np.float32 if size < 4 else np.float64)
    if kind not in "iuf":
        raise TypeError(
            f"band {band!r} must hold integers or real numbers in all its planes; got dtype "
            f"{array.dtype}"
        )
    return array


def band_header(band: str, image: NDData) -> Header:
    """
    Give the header of an image in a file of bands.

    Parameters
    ----------
    band : str
        Its name.
    image : `~astropy.nddata.NDData`
        Of shape ``(ny, nx)``.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        All of its metadata that cards can hold, with band, unit and WCS.
    """
    header = fits.Header()
    if isinstance(image.meta, fits.Header):
        header = sound_header(image.meta.copy(strip=True))
    else:
        for key, value in image.meta.items():
            for one in _lines(key, value):
                if key != "QUALITY" or isinstance(one, str):
                    set_card(header, key, one)
    for key in [*_STRUCTURE, *(key for key in header if re.fullmatch(r"NAXIS\d*", key))]:
        header.remove(key, ignore_missing=True)
    for key in ("SRBAND", "BAND"):
        header[key] = (band, "name of the band")
    if image.unit is not None:
        header["BUNIT"] = (image.unit.to_string(), "unit of the pixels")
    wcs = fits_wcs(image.wcs)
    if wcs is not None:
        _set_wcs(header, wcs)
    return header


def _lines(key: str, value: Any) -> Any:
    """Values of the cards of a key: a dictionary has the many lines of HISTORY in one object."""
    many = key in ("HISTORY", "COMMENT", "") and isinstance(value, Iterable)
    return value if many and not isinstance(value, str) else [value]


def _set_wcs(header: Header, wcs: Any) -> None:
    new = wcs_cards(wcs)
    # Cards that stay keep their place in the header.
    stale = header.copy()
    strip_wcs_cards(stale)
    for key in [key for key in header if key not in stale and key not in new]:
        header.remove(key, ignore_missing=True)
    for card in new.cards:
        # The dates in the header are the observer's; those of the WCS are derived from them.
        if card.keyword not in header or not card.keyword.startswith(("DATE", "MJD")):
            header[card.keyword] = (card.value, card.comment)


def set_card(header: Header, key: str, value: object, comment: str = "") -> None:
    """
    Set one card from any value, or warn that it cannot be kept.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Changed in place.
    key : str
        Keyword; longer than 8 characters becomes HIERARCH.
    value : object
        Numbers, strings, booleans and `None` are kept, the numbers that FITS
        cannot hold (NaN, infinity) as strings.
    comment : str, optional
        Comment of the card; its end is cut off where there is no room for it.
    """
    key = str(key)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Real) and not isinstance(value, Integral) and not math.isfinite(value):
        value = str(value)
    try:
        name = f"HIERARCH {key}" if len(key) > 8 and not key.startswith("HIERARCH ") else key
        header[name] = (value, fitting_comment(name, value, comment)) if comment else value
    except (ValueError, TypeError):
        warnings.warn(
            f"meta[{key!r}] cannot be written as a FITS card and is left out; got {type(value)}",
            SplusSrganWarning,
            stacklevel=2,
        )
