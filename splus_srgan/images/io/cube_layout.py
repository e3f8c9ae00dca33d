# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
S-Cubes files: bands of S-PLUS in one cube, in flux per wavelength.

``DATA`` and ``ERRORS`` have a plane a band, ``WEIMASK`` counts the bands without weight at a
pixel, and the table ``METADATA`` has a row a band, its filter and the FWHM of its PSF among them.
The header of ``DATA`` is that of the first band.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from splus_srgan.images.bands import describe_plane
from splus_srgan.images.io.layout import Candidate
from splus_srgan.images.io.write import set_card
from splus_srgan.pixels.lazy import Missing, planes_of
from splus_srgan.splus import canonical_band
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from astropy.io.fits import Header

    from splus_srgan.images.io.fitsfile import ImageHDU, OtherHDU

__all__ = [
    "COUNTED",
    "FLUX_UNIT",
    "FWHM_COLUMN",
    "MASKED_CARD",
    "OF_DATA",
    "OF_PRIMARY",
    "OF_TABLE",
    "counts_as_flags",
    "find_cube",
]

FLUX_UNIT = u.erg / (u.AA * u.s * u.cm**2)
"""Unit of a pixel where the file does not say."""

FWHM_COLUMN = "PSFFWHM"
"""Column of the FWHM (arcsec) of the PSF; in the header of an image it is ``FWHMMEAN``."""

OF_PRIMARY, OF_TABLE, OF_DATA = "PRIMARY", "METADATA", "DATA"
"""First words of the cards of an image that keep those of another HDU, or columns."""

MASKED_CARD = "SRMASK"
"""Keyword in ``WEIMASK`` of files of this package: whether the bands had masks at all."""

COUNTED = ("SRFLAGS", "WEIMASK")
"""Card of images whose flags are the counts of ``WEIMASK``."""

_OF_FILE = re.compile(
    r"SIMPLE|BITPIX|NAXIS\d*|EXTEND|NEXTEND|CHECKSUM|DATASUM|DATE|ORIGIN|SRBANDS|COMMENT|HISTORY|"
)
_THIRD_AXIS = re.compile(r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT)3|(CD|PC)3_3")
_PSF_CARD = re.compile(r"(.* )?FWHM(MEAN|BETA)", re.IGNORECASE)


def find_cube(
    path: Path, primary: Header, images: Sequence[ImageHDU], others: Sequence[OtherHDU]
) -> list[Candidate]:
    """
    Recognise an S-Cubes file.

    Parameters
    ----------
    path : `~pathlib.Path`
        The file.
    primary : `~astropy.io.fits.Header`
        Header of its first HDU.
    images : list of `~splus_srgan.images.io.fitsfile.ImageHDU`
        HDUs with pixels.
    others : list of `~splus_srgan.images.io.fitsfile.OtherHDU`
        Its table, and headers of bands.

    Returns
    -------
    cubes : list of `~splus_srgan.images.io.layout.Candidate`
        One; none where the file is something else.

    Raises
    ------
    ValueError
        If it is an S-Cubes file and lacks ``DATA`` or ``METADATA``, their shapes do not fit, or
        a filter is none of S-PLUS.
    """
    found = {image.name.upper(): image for image in reversed(images)}
    rows = next((one.rows for one in others if one.name.upper() == OF_TABLE), None)
    filters = _column(rows, "FILTER")
    if "WEIMASK" not in found and (filters is None or not {"DATA", "ERRORS"} & set(found)):
        return []
    data = _checked_data(found, path)
    names = _names(rows, filters, len(data.data), path)
    data.header.set("BUNIT", data.header.get("BUNIT") or FLUX_UNIT.to_string())
    headers = {(one.name, one.version): one.header for one in others}
    own: list[Any] = [headers.get(("HEADER", k)) for k in range(1, len(names) + 1)]
    if "SRBANDS" in primary and None not in own:
        own = [_with_structure(header, data.header) for header in own]
        metas = [_with_row(header, rows, k) for k, header in enumerate(own)]
        names = [meta.get("SRBAND", name) for meta, name in zip(metas, names, strict=True)]
        psfs = {image.version: image for image in images if image.name.upper() == "PSF"}
        psfs = [psfs.get(k) for k in range(1, len(names) + 1)]
        parts = _our_parts(found, metas)
        return [Candidate(data, None, parts, True, names, metas, psfs)]
    common = _common_cards(data.header, primary)
    metas = [_described(common, rows, k, name) for k, name in enumerate(names)]
    errors, counts = found.get("ERRORS"), _counts(found.get("WEIMASK"))
    # Where an image has no weight at all, S-Cubes divides by it.
    missing = [] if errors is None else [Missing(plane) for plane in planes_of(errors.data)]
    parts = _present({"ERR": errors, "MASK": counts, "DQ": counts})
    for meta in metas if counts is not None else ():
        meta[COUNTED[0]] = (COUNTED[1], "the flags are its counts")
    return [Candidate(data, missing, parts, False, names, metas)]


def counts_as_flags(meta: Mapping[str, Any]) -> bool:
    """
    Tell whether the flags of an image are the counts of ``WEIMASK``.

    Parameters
    ----------
    meta : mapping
        Its header. An enhanced image has flags of its own, and the card as ``INPUT SRFLAGS``.

    Returns
    -------
    counted : bool
        As the card says.
    """
    return meta.get(COUNTED[0]) == COUNTED[1]


def _column(rows: Any, name: str) -> str | None:
    """The column of a table as it is spelled there."""
    return next((column for column in _columns(rows) if column.upper() == name), None)


def _columns(rows: Any) -> Sequence[str]:
    return () if rows is None else rows.names


def _checked_data(found: Mapping[str, Any], path: Path) -> Any:
    data = found.get("DATA")
    if data is None:
        raise ValueError(
            f"{path} must have the extension DATA, as S-Cubes files have; got {', '.join(found)}"
        )
    shape = data.data.shape
    if len(shape) != 3 or data.data.size == 0:
        raise ValueError(
            f"{path} must have DATA of shape (n_band, ny, nx), as S-Cubes files have; got {shape}"
        )
    allowed = {"ERRORS": [shape], "WEIMASK": [shape, shape[1:], (1, *shape[1:])]}
    for name, shapes in allowed.items():
        if name in found and found[name].data.shape not in shapes:
            raise ValueError(
                f"{path} must have {name} of shape {' or '.join(map(str, shapes[:2]))}, as DATA "
                f"has; got {found[name].data.shape}"
            )
    return data


def _names(rows: Any, filters: str | None, n_band: int, path: Path) -> list[str]:
    """Bands by the table, one for each plane."""
    if filters is None:
        raise ValueError(
            f"{path} must have a table METADATA with a column FILTER, as S-Cubes files have, to "
            f"name the {n_band} planes of DATA; got {', '.join(_columns(rows)) or 'no such table'}"
        )
    if len(rows) != n_band:
        raise ValueError(
            f"{path} must have a row of METADATA for each plane of DATA, {n_band}; got "
            f"{len(rows)} rows"
        )
    names = []
    for k, text in enumerate(rows[filters], 1):
        try:
            names.append(canonical_band(text))
        except ValueError as error:
            raise ValueError(
                f"{path} has an unknown FILTER in row {k} of METADATA: {error}"
            ) from None
    return names


def _common_cards(header: Header, primary: Header) -> Header:
    """Header of a band but for what the table says of it."""
    common = header.copy()
    for key in [key for key in common if _THIRD_AXIS.fullmatch(key)]:
        set_card(common, f"{OF_DATA} {key}", common[key])
    for card in primary.cards:
        if not _OF_FILE.fullmatch(card.keyword):
            set_card(common, f"{OF_PRIMARY} {card.keyword}", card.value)
    return common


def _described(common: Header, rows: Any, k: int, name: str) -> Header:
    """Header of one band: what the table says of it, and no PSF of another band."""
    meta = _with_row(common, rows, k)
    describe_plane(meta, name)
    column = _column(rows, FWHM_COLUMN)
    fwhm = rows[column][k] if column else np.nan
    known = is_number(fwhm) and 0 < fwhm < np.inf
    for key in [key for key in meta if _PSF_CARD.fullmatch(key)]:
        if k or (known and "MEAN" in key.upper()):
            meta.remove(key, ignore_missing=True)
    if known:
        meta["FWHMMEAN"] = (float(fwhm), "[arcsec] FWHM of the PSF, by METADATA")
    meta["FILTER"] = (str(rows[_column(rows, "FILTER")][k]).strip(), "as METADATA spells it")
    return meta


def _with_row(header: Header, rows: Any, k: int) -> Header:
    """A copy of a header with a card for each column that no other card stands for."""
    meta = header.copy()
    for column in rows.columns:
        value = rows[column.name][k]
        # A card cannot hold NaN.
        missing = isinstance(value, float | np.floating) and np.isnan(value)
        if column.name.upper() not in ("FILTER", FWHM_COLUMN) and not missing:
            unit = f"[{column.unit}]" if column.unit else ""
            set_card(meta, f"{OF_TABLE} {column.name}", value, unit)
    return meta


def _with_structure(header: Header, data: Header) -> Header:
    """The header of a band with what each image says of its array."""
    header["BITPIX"], header["NAXIS"] = data["BITPIX"], 2
    for axis in (2, 1):
        header.set(f"NAXIS{axis}", data[f"NAXIS{axis}"], after="NAXIS")
    return header


def _counts(image: Any) -> Any:
    """``WEIMASK`` in few bytes, for each band keeps it."""
    if image is None:
        return None
    data = image.data[0] if len(image.data) == 1 and image.data.ndim == 3 else image.data
    data = np.asarray(data)
    if data.dtype.kind in "iu":
        data = data.astype(np.result_type(*map(np.min_scalar_type, (data.min(), data.max()))))
    return replace(image, data=data)


def _our_parts(found: Mapping[str, Any], metas: Sequence[Any]) -> dict[str, Any]:
    counts = _counts(found.get("WEIMASK"))
    masked = counts is not None and counts.header.get(MASKED_CARD, True)
    mask = found.get("BPM", counts if masked else None)
    flags = found.get("DQ", counts if counts_as_flags(metas[0]) else None)
    return _present({"ERR": found.get("ERRORS"), "MASK": mask, "DQ": flags})


def _present(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {part: image for part, image in parts.items() if image is not None}
