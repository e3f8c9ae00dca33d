# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pixel grids: FITS WCS of whatever an NDData holds, WCS cards, and whether bands share a grid."""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, FITSFixedWarning
from astropy.wcs.utils import proj_plane_pixel_scales, wcs_to_celestial_frame
from astropy.wcs.wcsapi import HighLevelWCSWrapper, SlicedLowLevelWCS

from splus_srgan.exceptions import GridMismatchError
from splus_srgan.utils.quiet import own_filters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.io.fits import Header
    from astropy.wcs.wcsapi.wrappers.base import BaseWCSWrapper

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "TOLERANCE",
    "check_common_grid",
    "check_frame",
    "fits_wcs",
    "grid_shift",
    "header_wcs",
    "image_wcs",
    "kind_of_wcs",
    "pixel_scale",
    "pixel_sides",
    "strip_wcs_cards",
    "wcs_cards",
]

TOLERANCE = 0.05
"""Largest shift, in pixels, between bands that count as on one grid."""

_WCS_CARD = re.compile(
    r"(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER)\d+|(CD|PC|PV|PS)\d+_\d+"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)|WCSAXES|LONPOLE|LATPOLE"
    r"|(C[PQ](DIS|ERR)|D2IM(DIS|ERR))\d|D2IMEXT|AXISCORR|(D[PQ]|D2IM)\d(\..*)?|WCSDIM|WAT\d_\d+"
)


def fits_wcs(wcs: Any) -> Any:
    """
    Give the FITS WCS behind what an NDData object holds as its ``wcs``.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or wrapper of one, or None
        Slicing an `~astropy.nddata.NDData` wraps its WCS; that is undone here.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        The plain WCS of the same pixels.

    Raises
    ------
    TypeError
        If there is no FITS WCS inside.
    """
    if wcs is None or isinstance(wcs, WCS):
        return wcs
    if isinstance(wcs, HighLevelWCSWrapper):
        return fits_wcs(wcs.low_level_wcs)
    if isinstance(wcs, SlicedLowLevelWCS) and isinstance(wcs._wcs, WCS):
        slices = wcs._slices_array
        whole = [slice(None) if isinstance(item, int | np.integer) else item for item in slices]
        sliced = _slice(wcs._wcs, whole)
        kept = [i for i, item in enumerate(reversed(slices)) if isinstance(item, slice)]
        return sliced if len(kept) == sliced.naxis else sliced.sub([i + 1 for i in kept])
    raise TypeError(f"wcs must be an astropy.wcs.WCS (a FITS WCS); got a {kind_of_wcs(wcs)}")


def kind_of_wcs(wcs: object) -> str:
    """
    Say in a message what is no FITS WCS.

    Parameters
    ----------
    wcs : object
        Of any class.

    Returns
    -------
    text : str
        Package and class, for there is more than one ``WCS``; and what to do.
    """
    kind = f"{type(wcs).__module__.split('.')[0]}.{type(wcs).__name__}"
    hint = ": convert it, for example by its method to_fits_sip" if kind.startswith("gwcs") else ""
    return kind + hint


def _slice(wcs: Any, slices: Any) -> Any:
    try:
        return wcs.slice(slices)
    except IndexError:
        # Before astropy 7.2, more than two axes need a shape, though any will do.
        wcs = wcs.deepcopy()
        wcs.pixel_shape = (1,) * wcs.naxis
        sliced = wcs.slice(slices)
        sliced.pixel_shape = None
        return sliced


def header_wcs(header: Header, *, name: str = "header", hdus: Any = None) -> WCS | None:
    """
    Read the two-dimensional WCS of a header.

    Parameters
    ----------
    header : `~astropy.io.fits.Header`
        Not modified.
    name : str, optional
        What messages call it.
    hdus : `~astropy.io.fits.HDUList`, optional
        The file, for the lookup tables of distortions (``CPDIS``, ``D2IMDIS``) that are in it.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        `None` where the header has no calibration at all, or that of pixels (``LINEAR``,
        ``PIXEL``, names that FITS does not know). A WCS that is not celestial otherwise is
        returned as it is.

    Raises
    ------
    ValueError
        If the cards contradict each other or cannot be understood.
    """
    types = {str(header.get(f"CTYPE{axis}", "")).strip().upper() for axis in (1, 2)}
    if types <= {"", "LINEAR", "PIXEL"}:
        return None
    if any(key in header for key in ("CQDIS1", "CQDIS2")):
        # wcslib writes the distortion of TNX so; beside its old cards it corrupts the memory.
        header = fits.Header([c for c in header.cards if not re.match(r"WAT\d_", c.keyword)])
    try:
        with own_filters():
            # That a date was put into another form does not concern the caller.
            warnings.simplefilter("ignore", FITSFixedWarning)
            wcs = WCS(header, hdus)
    except Exception as error:  # wcslib raises a dozen kinds
        said = " ".join(str(error).split())  # wcslib says it in several lines
        raise ValueError(f"{name} has a WCS that cannot be understood: {said}") from error
    wcs = _invertible(wcs if wcs.naxis == 2 else wcs.sub([1, 2]))
    known = wcs.wcs.axis_types.any() or any(re.match("RA|DEC|.?LON|.?LAT", one) for one in types)
    return wcs if known else None


def check_frame(wcs: WCS, *, name: str = "wcs") -> None:
    """
    Refuse a WCS whose frame is not known, so that it has no place on the sky of others.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial.
    name : str, optional
        What messages call it.

    Raises
    ------
    ValueError
        If astropy has no frame for it.
    """
    try:
        wcs_to_celestial_frame(wcs)
    except ValueError:
        raise ValueError(
            f"{name} must be in a celestial frame that astropy knows; got RADESYS "
            f"{wcs.wcs.radesys!r}, CTYPE {list(wcs.wcs.ctype)}: correct it, for example to 'ICRS'"
        ) from None


def image_wcs(wcs: Any, *, name: str = "wcs") -> Any:
    """
    Reduce a WCS to the two celestial axes of an image.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or None
        Two axes, or three whose last one is the band.
    name : str, optional
        What messages call it.

    Returns
    -------
    wcs : `~astropy.wcs.WCS` or None
        With two axes.

    Raises
    ------
    ValueError
        If the first two axes are not celestial, or a number in it is not finite.
    """
    wcs = fits_wcs(wcs)
    if wcs is None:
        return None
    matrix = [wcs.wcs.cd] if wcs.wcs.has_cd() else [wcs.wcs.get_pc(), wcs.wcs.get_cdelt()]
    parts = {"CRPIX": wcs.wcs.crpix, "CRVAL": wcs.wcs.crval, "matrix": np.vstack(matrix)}
    for word, numbers in (parts | {"PV": [value for *_, value in wcs.wcs.get_pv()]}).items():
        if not np.isfinite(numbers).all():
            raise ValueError(f"{name} must be of finite numbers; got {word} {numbers}")
    axes = {wcs.wcs.lng, wcs.wcs.lat}
    if not wcs.has_celestial or axes != {0, 1}:
        raise ValueError(
            f"{name} must be celestial along x and y; got CTYPE {list(wcs.wcs.ctype)}; "
            f"give a celestial WCS, or None where there is no calibration"
        )
    return _invertible(wcs if wcs.naxis == 2 else wcs.sub([1, 2]))


def _invertible(wcs: WCS) -> WCS:
    """The same WCS with two detector tables, or none: astropy does not invert a single one."""
    told = [table for table in (wcs.det2im1, wcs.det2im2) if table is not None]
    if len(told) != 1:
        return wcs
    wcs, one = wcs.deepcopy(), told[0]
    grid = tuple(one.crpix), tuple(one.crval), tuple(one.cdelt)
    flat = DistortionLookupTable(np.zeros_like(one.data), *grid)
    wcs.det2im1, wcs.det2im2 = wcs.det2im1 or flat, wcs.det2im2 or flat
    return wcs


def pixel_scale(wcs: WCS | BaseWCSWrapper | None, default: float | None = None) -> float:
    r"""
    Give the pixel scale: the side of the square that is as large as a pixel.

    .. math:: s = \sqrt{s_x \, s_y}

    with the lengths of the two sides of a pixel at ``CRPIX``.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or wrapper of one, or None
        Celestial.
    default : float, optional
        What is given where there is no celestial WCS.

    Returns
    -------
    scale : float
        In arcsec.

    Raises
    ------
    ValueError
        If there is no celestial WCS, and no default.

    Examples
    --------
    >>> from astropy.wcs import WCS
    >>> from splus_srgan.images.grid import pixel_scale
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 4e-4})
    >>> round(pixel_scale(wcs), 6), pixel_scale(None, default=0.55)
    (0.72, 0.55)
    """
    wcs = fits_wcs(wcs)
    if wcs is None or not wcs.has_celestial:
        if default is None:
            raise ValueError(f"wcs must be celestial to have a pixel scale; got {wcs!r}")
        return default
    return float(np.sqrt(np.prod(pixel_sides(wcs))))


def pixel_sides(wcs: Any) -> FloatArray:
    """
    Give the lengths of the two sides of a pixel at ``CRPIX``.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS` or wrapper of one
        Celestial.

    Returns
    -------
    sides : `~numpy.ndarray`, shape (2,)
        Along the axes of the pixels, x first, in arcsec.

    Examples
    --------
    >>> from astropy.wcs import WCS
    >>> from splus_srgan.images.grid import pixel_sides
    >>> wcs = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CDELT1": -1e-4, "CDELT2": 4e-4})
    >>> pixel_sides(wcs).round(6).tolist()
    [0.36, 1.44]
    """
    return 3600 * np.asarray(proj_plane_pixel_scales(fits_wcs(wcs).celestial), float)


def grid_shift(reference: Any, other: Any, shape: tuple[int, ...]) -> float:
    """
    Measure how far a grid is off another, in pixels.

    Parameters
    ----------
    reference, other : `~astropy.wcs.WCS`
        Two-dimensional.
    shape : tuple of int
        ``(ny, nx)``; corners, edge centres and the centre are compared.

    Returns
    -------
    shift : float
        Largest distance (pixels); infinite where one cannot be expressed in the other.
    """
    ny, nx = shape
    y, x = (
        axis.ravel().astype(float)
        for axis in np.meshgrid([0, (ny - 1) / 2, ny - 1], [0, (nx - 1) / 2, nx - 1], indexing="ij")
    )
    try:
        sky = reference.pixel_to_world(x, y) if reference.has_celestial else None
        if isinstance(sky, SkyCoord) and other.has_celestial:
            # The high-level interface also sees differing frames (FK5 and ICRS).
            there = other.world_to_pixel(sky)
        else:
            there = other.world_to_pixel_values(*reference.pixel_to_world_values(x, y))
        shift = float(np.max(np.hypot(there[0] - x, there[1] - y)))
    except Exception:  # wcslib and astropy raise many kinds; all mean "not the same grid"
        return np.inf
    return shift if np.isfinite(shift) else np.inf


def check_common_grid(
    names: Sequence[str],
    shapes: Sequence[tuple[int, ...]],
    wcses: Sequence[Any],
    *,
    what: str = "bands",
) -> None:
    """
    Make sure that all images have one grid.

    Parameters
    ----------
    names : sequence of str
        What to call each image in the message.
    shapes : sequence of tuple of int
        ``(ny, nx)`` of each.
    wcses : sequence of `~astropy.wcs.WCS` or None
        Two-dimensional WCS of each; all or none may be `None`.
    what : str, optional
        Plural noun for the message.

    Raises
    ------
    GridMismatchError
        If shapes differ, or a WCS is more than `TOLERANCE` pixels off the
        first one, or only some have a WCS.
    """
    problems = []
    for name, shape, wcs in zip(names[1:], shapes[1:], wcses[1:], strict=True):
        text = _difference(shapes[0], wcses[0], shape, wcs)
        if text:
            problems.append(f"{name} {text}")
    if problems:
        raise GridMismatchError(
            f"{what} must share one pixel grid, within {TOLERANCE} px; against {names[0]}: "
            f"{'; '.join(problems)}; bring them to one grid with splus_srgan.pairs.match first"
        )


def _difference(
    shape_a: tuple[int, ...], wcs_a: Any, shape_b: tuple[int, ...], wcs_b: Any
) -> str | None:
    if shape_a != shape_b:
        return f"has shape {shape_b} instead of {shape_a}"
    if (wcs_a is None) != (wcs_b is None):
        return "has no WCS" if wcs_b is None else "has a WCS, which the former lacks"
    if wcs_a is None:
        return ""
    shift = grid_shift(wcs_a, wcs_b, shape_a)
    if shift <= TOLERANCE:
        return ""
    return f"is {shift:.2f} px off" if np.isfinite(shift) else "is nowhere near"


def strip_wcs_cards(header: Any) -> None:
    """
    Remove the cards of the primary WCS from a header, in place.

    `~astropy.nddata.CCDData` keeps its WCS apart and writes it as PC cards;
    CD cards left in ``meta`` would then make a file with both.

    Parameters
    ----------
    header : `~astropy.io.fits.Header` or dict
        Changed in place.
    """
    for key in [key for key in header if _WCS_CARD.fullmatch(str(key))]:
        if key in header:
            del header[key]


def wcs_cards(wcs: WCS) -> Header:
    """
    Write a WCS as FITS cards, in the form (CD or PC) that it came in.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Not modified.

    Returns
    -------
    header : `~astropy.io.fits.Header`
        The cards, numbers with all their digits.

    Raises
    ------
    ValueError
        If the WCS has lookup-table distortions, which cards cannot hold.
    """
    tables = (wcs.cpdis1, wcs.cpdis2, wcs.det2im1, wcs.det2im2)
    if any(table is not None for table in tables):
        raise ValueError(
            "wcs must have no lookup-table distortion (CPDIS, D2IM), which header cards cannot "
            "hold; reproject the image first"
        )
    header = wcs.to_header(relax=True)
    header.remove("WCSAXES", ignore_missing=True)
    if wcs.wcs.has_cd() and not wcs.wcs.has_pc():
        _pc_to_cd(header, wcs)
    # wcslib prints 12 digits; the astrometry of the output is exact to more.
    for i in range(wcs.naxis):
        header[f"CRPIX{i + 1}"] = float(wcs.wcs.crpix[i])
        if header.get(f"CUNIT{i + 1}", "").strip() == str(wcs.wcs.cunit[i]):
            header[f"CRVAL{i + 1}"] = float(wcs.wcs.crval[i])
    return header


def _pc_to_cd(header: Header, wcs: WCS) -> None:
    for key in list(header):
        if re.fullmatch(r"PC\d_\d|CDELT\d", key):
            del header[key]
    for i in range(wcs.naxis):
        for j in range(wcs.naxis):
            header[f"CD{i + 1}_{j + 1}"] = float(wcs.wcs.cd[i, j])
