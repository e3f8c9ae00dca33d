# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The extensions of a cube in the layout of S-Cubes, and those that keep what else there is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import Column, Table

from splus_srgan.images.bands import same_band
from splus_srgan.images.grid import image_wcs, wcs_cards
from splus_srgan.images.header import stated_fwhm
from splus_srgan.images.io.cube_layout import (
    FLUX_UNIT,
    FWHM_COLUMN,
    MASKED_CARD,
    OF_DATA,
    OF_PRIMARY,
    OF_TABLE,
    counts_as_flags,
)
from splus_srgan.images.io.layout import ERRORS_LEGEND, quality_legend
from splus_srgan.images.io.write import band_header, set_card, storable
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.splus import PIVOTS, canonical_band

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.io.fits import HDUList, Header
    from numpy.typing import NDArray

    from splus_srgan.utils.types import Images

__all__ = ["cube_hdus"]

_OF_BAND = ("FILTER", "BAND", "SRBAND", "FWHMMEAN")
_KEPT = tuple(f"{name} " for name in (OF_PRIMARY, OF_TABLE, OF_DATA))


def cube_hdus(field: Images) -> HDUList:
    """
    Lay bands out as an S-Cubes file.

    Parameters
    ----------
    field : mapping of str to `~astropy.nddata.NDData`
        Images ``(ny, nx)`` on one grid, in units of flux per wavelength.

    Returns
    -------
    hdus : `~astropy.io.fits.HDUList`
        As `~splus_srgan.images.io.cubes.write_cube` describes them.
    """
    images = list(field.values())
    headers = [band_header(band, image) for band, image in field.items()]
    for header in headers:
        header["BUNIT"] = (FLUX_UNIT.to_string(), "unit of the pixels")
    cards = _cube_header(headers)
    planes = [_in_flux(image.data, image, band) for band, image in field.items()]
    hdus = [_primary(field, headers[0]), fits.ImageHDU(_stacked(planes), cards, name="DATA")]
    if images[0].uncertainty is not None:
        errors = [
            _in_flux(uncertainty_array(image, StdDevUncertainty), image, band)
            for band, image in field.items()
        ]
        hdus.append(fits.ImageHDU(_stacked(errors), cards, name="ERRORS"))
        if "SRUNCERT" in headers[0]:
            hdus[-1].header.add_comment(ERRORS_LEGEND)
    weights, *beside = _flag_hdus(images, headers)
    hdus += [weights, _table(field, headers), *beside]
    for number, (image, header) in enumerate(zip(images, headers, strict=True), 1):
        psf = getattr(image, "psf", None)
        if psf is not None:
            hdus.append(fits.ImageHDU(np.asarray(psf), name="PSF", ver=number))
        hdus.append(fits.ImageHDU(None, header, name="HEADER", ver=number))
    hdus[0].header["NEXTEND"] = (len(hdus) - 1, "extensions of this file")
    return fits.HDUList(hdus)


def _in_flux(array: Any, image: Any, band: str) -> NDArray[Any]:
    scale = image.unit.to(FLUX_UNIT)
    return storable(np.asarray(array) if scale == 1 else scale * np.asarray(array), band)


def _stacked(planes: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Planes as one array: that which they are planes of, where there is one."""
    whole = planes[0].base
    if isinstance(whole, np.ndarray) and whole.shape == (len(planes), *planes[0].shape):
        places = [plane.__array_interface__ for plane in planes]
        if places == [plane.__array_interface__ for plane in whole]:
            return whole
    return np.stack(planes)


def _primary(field: Images, header: Header) -> Any:
    primary = fits.PrimaryHDU()
    primary.header["NEXTEND"] = 0
    set_card(primary.header, "SRBANDS", ",".join(field), "bands in this file")
    for card in header.cards:
        if card.keyword.startswith(f"{OF_PRIMARY} "):
            set_card(primary.header, card.keyword.removeprefix(f"{OF_PRIMARY} "), card.value)
    sides = next(iter(field.values())).data.shape
    primary.header["SIZE"] = (max(sides), "[pixel] side of the images")
    return primary


def _cube_header(headers: Sequence[Header]) -> Header:
    """The header of the first band without what holds for it alone, and a third axis."""
    cards = headers[0].copy()
    for key in dict.fromkeys(cards):
        if key in ("", "COMMENT", "HISTORY"):
            continue
        values = [header[key] for header in headers if key in header]
        differs = any(value != values[0] for value in values)
        if differs or key in _OF_BAND or key.startswith(_KEPT):
            cards.remove(key, remove_all=True)
    if "CTYPE1" in cards:
        _add_third_axis(cards, headers[0])
    return cards


def _add_third_axis(cards: Header, header: Header) -> None:
    """As it was read, or as S-Cubes has it: numbers without a meaning."""
    cards.insert(0, ("WCSAXES", 3))  # before all other cards of the WCS
    third = {"CTYPE3": "", "CUNIT3": "", "CRPIX3": 0.0, "CDELT3": 1.0, "CRVAL3": 0.0}
    third = {key: header.get(f"{OF_DATA} {key}", value) for key, value in third.items()}
    if "CD1_1" in cards:
        third["CD3_3"] = header.get(f"{OF_DATA} CD3_3", third.pop("CDELT3"))
    cards.update({key: value for key, value in third.items() if value != ""})


def _flag_hdus(images: Sequence[Any], headers: Sequence[Any]) -> list[Any]:
    """``WEIMASK``, and beside it masks of the bands and flags, where it does not say them."""
    shape = images[0].data.shape
    masks = [image.mask for image in images]
    masked = any(mask is not None for mask in masks)
    masks = [np.broadcast_to(False if mask is None else mask, shape) for mask in masks]
    flags: list[Any] = [_flags(image, shape) for image in images]
    counted = all(map(counts_as_flags, headers)) and all(plane is not None for plane in flags)
    if counted:
        alike = all(np.array_equal(plane, flags[0]) for plane in flags)
        counts = flags[0] if alike else np.stack(flags)
    else:
        counts = np.sum(masks, axis=0, dtype=np.uint8)
    wcs = image_wcs(images[0].wcs)
    cards = fits.Header() if wcs is None else wcs_cards(wcs)
    hdus = [fits.ImageHDU(counts, cards, name="WEIMASK")]
    hdus[0].header[MASKED_CARD] = (masked, "whether the bands have masks")
    implied = np.broadcast_to(counts > 0, (len(images), *shape))
    if masked and any(map(np.any, map(np.not_equal, masks, implied))):
        hdus.append(fits.ImageHDU(_bytes(masks), cards, name="BPM"))
        hdus[-1].header.add_comment("1 is missing: no valid value")
    if not counted and any(plane is not None for plane in flags):
        planes = [np.zeros(shape, np.uint8) if plane is None else plane for plane in flags]
        hdus.append(fits.ImageHDU(_stacked(planes), cards, name="DQ"))
        if "SRMODEL" in headers[0]:
            hdus[-1].header.extend(quality_legend())
    return hdus


def _flags(image: Any, shape: tuple[int, ...]) -> NDArray[Any] | None:
    flags = getattr(image, "flags", None)
    flags = image.meta.get("QUALITY") if flags is None else flags
    # They may be an array, or planes that stay in their file.
    known = getattr(flags, "shape", None) == shape
    return storable(np.asarray(flags), "flags") if known else None


def _bytes(masks: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return _stacked(masks).view(np.uint8)


def _table(field: Images, headers: Sequence[Header]) -> Any:
    """A row for each band: its filter, what was read of the other columns, wavelength and PSF."""
    filters = [
        header["FILTER"] if same_band(str(header.get("FILTER")), band) else band
        for band, header in zip(field, headers, strict=True)
    ]
    columns = {"FILTER": filters}
    words = dict.fromkeys(k for header in headers for k in header if k.startswith(f"{OF_TABLE} "))
    for key in words:
        values = [header.get(key) for header in headers]
        units = [header.comments[key][1:-1] for header in headers if key in header]
        columns[key.removeprefix(f"{OF_TABLE} ")] = Column(_filled(values), unit=units[0] or None)
    if not any("WAVE" in name.upper() for name in columns):
        pivots = [PIVOTS[canonical_band(band)] for band in field]
        columns["PIVOTWAVE"] = Column(pivots, unit="Angstrom")
    columns[FWHM_COLUMN] = Column([stated_fwhm(header) for header in headers], unit="arcsec")
    return fits.BinTableHDU(Table(columns), name=OF_TABLE)


def _filled(values: Sequence[Any]) -> list[Any]:
    """Values of a column, where a band may have none."""
    kinds = {type(value) for value in values}
    if str in kinds:
        return ["" if value is None else str(value) for value in values]
    return [np.nan if value is None else value for value in values]
