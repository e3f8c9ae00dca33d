# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Which HDUs of a FITS file are images of which band, and what belongs to them."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import nddata
from astropy import units as u
from astropy.nddata import CCDData

from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.images.bands import describe_plane, meta_band, split_bands
from splus_srgan.images.grid import header_wcs, strip_wcs_cards
from splus_srgan.images.io.cube_layout import find_cube
from splus_srgan.images.io.fitsfile import check_source, load_images
from splus_srgan.images.io.layout import Candidate, group_planes
from splus_srgan.images.units import parse_unit
from splus_srgan.pixels.lazy import BitPlane, Weightless, planes_of, row_strips
from splus_srgan.pixels.missing import without_exposure
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.io.fits import Header
    from astropy.units import UnitBase
    from astropy.wcs import WCS
    from numpy.typing import NDArray

    from splus_srgan.images.io.fitsfile import ImageHDU
    from splus_srgan.utils.types import FilePath

__all__ = ["FoundBand", "find_bands"]

# Cards that describe the bytes of the file, not the image.
_STORAGE_CARDS = ("CHECKSUM", "DATASUM", "BSCALE", "BZERO", "BLANK", "EXTNAME", "EXTVER", "INHERIT")
# EXTNAME of what belongs to an image: of CCDData.write, of space telescopes, and of LSST.
_EXTRAS = {
    **{"MASK": "MASK", "UNCERT": "ERR", "PSFIMAGE": "PSF"},
    **{"DQ": "MASK", "ERR": "ERR", "VARIANCE": "ERR"},
}
_UTYPES = {
    "ERR": "StdDevUncertainty",
    "ERRORS": "StdDevUncertainty",
    "VARIANCE": "VarianceUncertainty",
}
_DO_NOT_USE = ("JWST", "ROMAN")  # telescopes whose bit 0 of DQ says whether a pixel is of use
# Planes of a mask (MP_*, number of the bit) in which a pixel holds no valid value. Others, such as
# DETECTED, say what it shows.
_BAD_PLANES = {"BAD", "NO_DATA", "NODATA", "UNMASKEDNAN", "SAT", "CR", "INTRP"}
_BITS = 63  # of a signed integer
# The whole of a SURVEY card: "des" alone is another survey, in other units.
_LEGACY_SURVEYS = re.compile(
    r"decals|mzls(\+bass)?|ls-dr\d.*|(desi )?legacy ?(imaging )?surveys?( dr\d.*)?"
)


@dataclass(frozen=True, eq=False)
class FoundBand:
    """
    One band as it was found in a file.

    Attributes
    ----------
    band : str or None
        Name by the header; `None` where it does not say.
    image : `~astropy.nddata.CCDData`
        The image.
    path : `~pathlib.Path`
        The file.
    """

    band: str | None
    image: CCDData
    path: Path


def find_bands(
    path: FilePath | bytes,
    *,
    hdu: Any = None,
    unit: UnitBase | str | None = None,
    checksum: str = "warn",
    memmap: bool = False,
) -> list[FoundBand]:
    """
    Read all bands of one FITS file.

    Parameters
    ----------
    path : path-like
        The file.
    hdu : int, str or tuple of (str, int), optional
        The HDU to take, by number, EXTNAME, or EXTNAME and EXTVER, instead of the one that is
        recognised.
    unit : `~astropy.units.UnitBase` or str, optional
        Unit of the pixels, where the file has none that can be read.
    checksum : {"warn", "error", "ignore"}, optional
        What happens where a checksum in a file of this package does not hold.
    memmap : bool, optional
        Whether pixels stay in the file.

    Returns
    -------
    found : list of `FoundBand`
        In the order of the file.

    Raises
    ------
    OSError
        If the file cannot be read or is damaged.
    ValueError
        If it has no image, or several of which none is obviously meant, or
        no known unit.
    """
    path = check_source(path)
    primary, images, others = load_images(path, checksum=checksum, memmap=memmap)
    if not images:
        raise ValueError(f"{path} has no HDU with image data")
    chosen = None if hdu is None else _chosen(images, hdu, path)
    known = _ours(images)
    if not known and (chosen is None or chosen.name.upper() == "DATA"):
        known = find_cube(path, primary, images, others)
    if chosen is not None:
        # An image of a known layout keeps its companion HDUs.
        candidates = [one for one in known if one.hdu is chosen] or [Candidate(chosen)]
    else:
        candidates = known or _legacy(images, path) or [_single(images, path)]
    found = []
    for candidate in candidates:
        found += _split(candidate, primary, path, unit)
    return found


def _chosen(images: Sequence[ImageHDU], hdu: Any, path: Path) -> ImageHDU:
    wanted = _wanted(hdu)
    found = [
        image
        for image in images
        if wanted in (image.index, image.name.upper(), (image.name.upper(), image.version))
    ]
    if len(found) != 1:
        several = f"; {len(found)} have that name: give number or EXTVER" if found else ""
        raise ValueError(
            f"hdu must be an image of {path}: {_listing(images)}; got {hdu!r}{several}"
        )
    return found[0]


def _wanted(hdu: Any) -> Any:
    """A number, or a name in capitals, or that and an EXTVER."""
    if isinstance(hdu, str):
        name, _, version = hdu.rpartition(",")
        if name and version.strip().isdecimal():
            return name.strip().upper(), int(version)
        return hdu.upper()
    if isinstance(hdu, tuple) and len(hdu) == 2 and isinstance(hdu[0], str):
        return hdu[0].upper(), hdu[1]
    return hdu


def _listing(images: Sequence[ImageHDU]) -> str:
    return "; ".join(map(str, images))


def _ours(images: Sequence[ImageHDU]) -> list[Candidate]:
    """Recognise what `write_bands` wrote."""
    return [Candidate(group.pop("SCI"), parts=group, ours=True) for group in group_planes(images)]


def _legacy(images: Sequence[ImageHDU], path: Path) -> list[Candidate]:
    """Recognise Legacy Surveys cutouts, whose HDUs say IMAGETYP image, invvar or maskbits."""
    kinds = [str(image.header.get("IMAGETYP", "")).strip().lower() for image in images]
    if not {"image"} <= set(kinds) <= {"image", "invvar", "maskbits"}:
        return []
    candidates = [
        Candidate(image) for image, kind in zip(images, kinds, strict=True) if kind == "image"
    ]
    bands = [str(one.hdu.header.get("BAND")) for one in candidates]
    if len(set(bands)) < len(bands):
        bricks = ", ".join(str(one.hdu.header.get("BRICK")) for one in candidates)
        raise ValueError(
            f"{path} is a Legacy Surveys cutout of native pixels from several bricks ({bricks}); "
            f"request it without 'subimage', or give one of them by hdu=: {_listing(images)}"
        )
    for candidate in candidates:
        same = [
            image
            for image, kind in zip(images, kinds, strict=True)
            if kind == "invvar" and image.header.get("BAND") == candidate.hdu.header.get("BAND")
        ]
        if len(same) == 1 and same[0].data.shape == candidate.hdu.data.shape:
            candidate.missing = [Weightless(plane) for plane in planes_of(same[0].data)]
    return candidates


def _single(images: Sequence[ImageHDU], path: Path) -> Candidate:
    """Take the only image, with the extensions that `CCDData.write` and others put beside it."""
    main = [image for image in images if image.name.upper() not in _EXTRAS]
    # A vector beside an image, such as the calibration of SDSS frames, is no image.
    main = [image for image in main if sum(n != 1 for n in image.data.shape) > 1] or main
    if len(main) != 1:
        raise ValueError(
            f"{path} has {len(images)} images and none is obviously meant; "
            f"choose one by hdu=: {_listing(images)}"
        )
    parts: dict[str, Any] = {}
    for image in images:
        if image.name.upper() in _EXTRAS:
            parts.setdefault(_EXTRAS[image.name.upper()], image)
    return Candidate(main[0], parts=parts)


def _split(candidate: Candidate, primary: Header, path: Path, unit: Any) -> list[FoundBand]:
    """Make one `FoundBand` of every plane."""
    hdu = candidate.hdu
    data = hdu.data
    while data.ndim > 3 and data.shape[0] == 1:
        data = data[0]
    if data.ndim not in (2, 3) or data.size == 0:
        raise ValueError(
            f"{path} must have an image (ny, nx) or (n_band, ny, nx); got {data.shape} in HDU {hdu}"
        )
    if data.dtype.kind not in "iuf":
        raise ValueError(f"{path} must hold real numbers; got dtype {data.dtype} in HDU {hdu}")
    planes = planes_of(data)
    names = candidate.names or _names(hdu.header, primary, len(planes), path)
    wcs = header_wcs(hdu.header, name=str(path)) if hdu.wcs is None else hdu.wcs
    _warn_of_asinh(hdu.header, path)
    metas = [_tidied(meta, wcs) for meta in candidate.metas or [hdu.header]]
    metas *= len(planes) // len(metas)
    unit = _unit(hdu.header, primary, path, unit, candidate.ours)
    found = []
    for i, (name, plane) in enumerate(zip(names, planes, strict=True)):
        array = plane.astype(np.float32, order="C")
        parts = _parts(candidate, i, planes, path)
        image = CCDData(
            array, unit=unit, mask=_mask(array, candidate, parts, i, (primary, path)), wcs=wcs
        )
        image.meta = metas[i].copy()
        if len(planes) > 1 and candidate.metas is None:
            describe_plane(image.meta, name)
        _attach(image, parts, candidate.parts)
        found.append(FoundBand(name, image, path))
    return found


def _tidied(header: Header, wcs: WCS | None) -> Header:
    """A copy of a header without what is said elsewhere."""
    meta = header.copy()
    for key in _STORAGE_CARDS:
        meta.remove(key, ignore_missing=True)
    if wcs is not None:
        strip_wcs_cards(meta)
    return meta


def _warn_of_asinh(header: Header, path: Path) -> None:
    """Tell of pixel values that are no flux, as Pan-STARRS stacks have them."""
    if is_number(header.get("BSOFTEN")):
        warnings.warn(
            f"{path} is scaled by asinh (BSOFTEN, BOFFSET): its values are no flux; make it linear "
            "first: BOFFSET + 2 BSOFTEN sinh(0.4 ln(10) x)",
            SplusSrganWarning,
            stacklevel=5,
        )


def _parts(candidate: Candidate, i: int, planes: Any, path: Path) -> dict[str, Any]:
    """What belongs to plane ``i``: planes of a stack like the image, or one for all."""
    parts = {}
    for part, hdu in candidate.parts.items():
        stack = planes_of(hdu.data)
        parts[part] = stack[i] if len(stack) == len(planes) else hdu.data
        if part != "PSF" and parts[part].shape != planes[i].shape:
            shape = len(planes), *planes[i].shape
            raise ValueError(
                f"{path} must have {hdu.name} in the shape of its image, {shape}; got "
                f"{hdu.data.shape}; choose the image alone by hdu={candidate.hdu.index}"
            )
    if candidate.psfs and candidate.psfs[i] is not None:
        parts["PSF"] = candidate.psfs[i].data
    return parts


def _mask(
    array: Any, candidate: Candidate, parts: Mapping[str, Any], i: int, where: tuple[Header, Path]
) -> Any:
    """Give the stored mask; without one, or beside it, what the survey marks as missing."""
    mask = None
    if "MASK" in parts:
        mask = _missing_bits(parts["MASK"], candidate.parts["MASK"], candidate.hdu.header, *where)
    if not candidate.ours and (mask is None or candidate.missing is not None):
        mask = np.zeros(array.shape, dtype=bool) if mask is None else mask
        if candidate.hdu.floating:
            mask |= without_exposure(array)
        for missing in (candidate.missing or [])[i : i + 1]:
            for rows in row_strips(len(mask)):
                mask[rows] |= missing[rows]
        mask = mask if mask.any() else None
    return mask if mask is None or isinstance(array, np.ndarray) else BitPlane.of(mask)


def _missing_bits(
    plane: Any, hdu: ImageHDU, science: Header, primary: Header, path: Path
) -> NDArray[Any]:
    """What a stored mask calls missing: by the legend of its bits, where that is known."""
    legend = _legend(hdu.header, path) or _legend(science, path)
    telescope = str(primary.get("TELESCOP", "")).strip().upper()
    bits = -1
    if legend:
        bits = sum(1 << bit for name, bit in legend.items() if name in _BAD_PLANES)
    elif hdu.name.upper() == "DQ" and telescope in _DO_NOT_USE:
        bits = 1
    elif hdu.name.upper() == "DQ":
        _warn_of_bits(plane, hdu, path)
    missing = np.zeros(plane.shape, bool)
    for rows in row_strips(len(plane)):
        own = plane[rows]
        missing[rows] = (own != 0) if bits == -1 else (own.astype(np.int64) & bits) != 0
    return missing


def _legend(header: Header, path: Path) -> dict[str, int]:
    """Number of the bit of each plane of a mask (MP_*)."""
    legend = {}
    for key in header:
        if key[:3].upper() == "MP_" and is_number(header[key]):
            if not 0 <= header[key] < _BITS:
                raise ValueError(
                    f"{path} must number the bits of its mask from 0 to {_BITS - 1}; got {key} = "
                    f"{header[key]}; correct the card, or read the image alone by hdu="
                )
            legend[key[3:].upper()] = int(header[key])
    return legend


def _warn_of_bits(plane: Any, hdu: ImageHDU, path: Path) -> None:
    """Tell of bits that are not explained, where there are several."""
    found = set()
    for rows in row_strips(len(plane)):
        found |= set(np.unique(plane[rows]).tolist()) - {0}
        if len(found) > 1:
            warnings.warn(
                f"{path} has bits in {hdu.name} and no legend of them (MP_*): all pixels with one "
                f"count as missing; read the image alone by hdu= and set its mask if that is wrong",
                SplusSrganWarning,
                stacklevel=7,
            )
            return


def _names(header: Any, primary: Any, n_band: int, path: Path) -> list[Any]:
    if n_band == 1:
        if "SRBAND" in header:
            return [header["SRBAND"]]
        return [meta_band(header) or meta_band(primary)]
    # SRBANDS is that of an enhanced stack whose bands were named by the caller.
    names = split_bands(header.get("BANDS", header.get("SRBANDS")), n_band)
    if names is None or len(names) != n_band:
        raise ValueError(
            f"{path} has {n_band} planes and must name them in a BANDS card; got "
            f"{header.get('BANDS')!r}"
        )
    return names


def _attach(image: CCDData, parts: Mapping[str, Any], hdus: Mapping[str, Any]) -> None:
    if "DQ" in parts:
        image.flags = _native(parts["DQ"])
    if "PSF" in parts:
        image.psf = np.asarray(_native(parts["PSF"]))
    if "ERR" in parts:
        hdu = hdus["ERR"]
        kind = hdu.header.get("UTYPE", _UTYPES.get(hdu.name.upper(), ""))
        # CCDData.write names the class or its short name ("std").
        kinds: dict[str, Any] = {
            "StdDevUncertainty": nddata.StdDevUncertainty,
            "VarianceUncertainty": nddata.VarianceUncertainty,
            "InverseVariance": nddata.InverseVariance,
        }
        for cls in list(kinds.values()):
            kinds[cls([1.0]).uncertainty_type] = cls
        cls = kinds.get(kind, nddata.UnknownUncertainty)
        image.uncertainty = cls(_native(parts["ERR"]))


def _native(array: Any) -> Any:
    return array.astype(array.dtype.newbyteorder("="))


def _unit(header: Header, primary: Header, path: Path, unit: Any, ours: bool) -> UnitBase:
    """Settle the unit from the BUNIT card, the survey's habit and the caller's word."""
    given = parse_unit(unit)
    text = header.get("BUNIT", primary.get("BUNIT"))
    if isinstance(text, str) and text.strip():
        try:
            said = parse_unit(text)
        except ValueError:
            if given is not None:
                return given
            raise ValueError(
                f"{path} has the unknown unit BUNIT = {text!r}; pass unit=, such as unit='adu'"
            ) from None
        if given is not None and given != said:
            raise ValueError(f"unit must equal BUNIT of {path}, {said}; got {given}")
        return said
    if given is not None:
        return given
    if ours:
        return u.dimensionless_unscaled
    habit = _survey_unit(header, primary)
    if habit is None:
        raise ValueError(
            f"{path} has no BUNIT card and is no known S-PLUS or Legacy Surveys image; "
            f"pass unit=, such as unit='adu'"
        )
    return habit


def _survey_unit(header: Header, primary: Header) -> UnitBase | None:
    if any("T80" in str(header.get(key, primary.get(key))) for key in ("TELESCOP", "INSTRUME")):
        return u.adu
    if any(word in key for key in header for word in ("OAJ PRO", "OAJ QC", "MAR PRO", "MAR QC")):
        return u.adu
    survey = str(header.get("SURVEY", primary.get("SURVEY", ""))).strip().lower()
    return u.nmgy if _LEGACY_SURVEYS.fullmatch(survey) else None
