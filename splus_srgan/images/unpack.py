# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The one door in and the one door out of the package for NDData objects.

`unpack` turns every accepted form of input into a `BandStack` of plain
arrays; `repack` gives results back in the class and form of the input.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io.fits import Header
from astropy.nddata import NDData
from astropy.wcs import WCS

from splus_srgan.exceptions import SplusSrganWarning, UncertaintyDroppedWarning
from splus_srgan.images.bands import (
    band_names,
    check_distinct,
    check_label,
    meta_band,
    named_as,
)
from splus_srgan.images.grid import check_common_grid, grid_shift, image_wcs
from splus_srgan.images.meta import sound_header
from splus_srgan.images.repack import repack
from splus_srgan.images.units import parse_unit
from splus_srgan.pixels.lazy import Converted, LazyPlane, Missing, PlaneStack, row_strips
from splus_srgan.pixels.missing import fill_missing, missing_pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.units import UnitBase

    from splus_srgan.utils.types import Bands, BoolArray, FloatArray, Level

_OWN = "the mask of the data"

__all__ = [
    "UNCERTAINTY_POWERS",
    "BandStack",
    "fill_missing",
    "repack",
    "uncertainty_array",
    "unpack",
    "warn_of_coordinates",
]

UNCERTAINTY_POWERS = {"std": 1, "var": 2, "ivar": -2}
"""Powers of the unit of an image, by the kind of its uncertainty."""


@dataclass(frozen=True, eq=False)
class BandStack:
    """
    Bands on one grid, as plain arrays.

    Attributes
    ----------
    data : array-like of float32, shape (n_band, ny, nx)
        Pixel values, as an array or a `~splus_srgan.pixels.lazy.PlaneStack`; missing ones are as
        in the input.
    mask : array-like of bool, shape (n_band, ny, nx)
        `True` where the input is masked or not finite.
    bands : tuple of str
        Names, as the caller spells them.
    unit : `~astropy.units.UnitBase` or None
        Unit of all bands.
    wcs : `~astropy.wcs.WCS` or None
        Two-dimensional celestial WCS.
    metas : tuple of mapping
        One copy of the metadata per band, without cards that cannot be read.
    psfs : tuple of `~numpy.ndarray` or None
        PSF image of each band.
    source : object
        What was unpacked.
    form : str
        ``"mapping"``, ``"image"`` or ``"stack"``.
    """

    data: np.ndarray
    mask: np.ndarray
    bands: tuple
    unit: Any
    wcs: WCS | None
    metas: tuple
    psfs: tuple
    source: Any
    form: str


def unpack(
    data: Any,
    *,
    bands: Bands | None = None,
    mask: Level | None = None,
    unit: UnitBase | str | None = None,
    wcs: WCS | None = None,
    lazy: bool = False,
    new_uncertainty: bool = False,
) -> BandStack:
    """
    Turn any accepted input into a `BandStack`.

    Parameters
    ----------
    data : mapping of str to NDData, or `~astropy.nddata.NDData`
        Band -> two-dimensional image, all on one grid; or one image of shape
        ``(ny, nx)``; or a stack of shape ``(n_band, ny, nx)``. Any subclass,
        such as `~astropy.nddata.CCDData`, is welcome. It is not modified.
    bands : str or sequence of str, optional
        For a mapping, which bands to take, in this order; otherwise their
        names, one per plane. A stack can also have them in ``meta["BANDS"]``.
    mask : array_like of bool, or mapping of str to array_like, optional
        `True` is missing; broadcasts to ``(n_band, ny, nx)``.
    unit : `~astropy.units.UnitBase` or str, optional
        Unit of the data, where they have none.
    wcs : `~astropy.wcs.WCS`, optional
        Celestial WCS, where the data have none.
    lazy : bool, optional
        Whether data and mask are a `~splus_srgan.pixels.lazy.PlaneStack`, of which parts are made
        of the input when they are asked for, and not arrays.
    new_uncertainty : bool, optional
        Whether the result will have an uncertainty of its own, so that of the data is not missed.

    Returns
    -------
    stack : `BandStack`
        Copies of the data, or what makes copies of their parts.

    Raises
    ------
    TypeError
        If the data are no NDData, or hold no real numbers.
    ValueError
        If a keyword contradicts the data; if data are empty, a band has no
        valid pixel or bands differ in unit; if the WCS is not celestial.
    GridMismatchError
        If bands lie on different grids.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.images.unpack import unpack
    >>> field = {band: CCDData(np.ones((4, 6)), unit="adu") for band in "grz"}
    >>> stack = unpack(field)
    >>> stack.bands, stack.data.shape, stack.form
    (('g', 'r', 'z'), (3, 4, 6), 'mapping')
    """
    images, names, form = _images(data, bands)
    arrays = [_array(image, name, lazy) for image, name in zip(images, names, strict=True)]
    planes = list(arrays[0]) if form == "stack" else arrays
    names = band_names(images[0], bands, len(planes)) if form == "stack" else names
    check_distinct(names)
    if form != "stack":
        for name, image in zip(names, images, strict=True):
            check_label(name, image.meta)
    wcs = _common_wcs(images, names, wcs)
    masks = _masks(images, names, planes, mask, form)
    stack, masks = (_lazy if lazy else _copies)(planes, names, masks)
    for name, missing in zip(names, masks, strict=True):
        if all(missing[rows].all() for rows in row_strips(len(missing))):
            raise ValueError(f"band {name!r} has no valid pixel: all are masked, NaN or infinite")
    if not new_uncertainty:
        _warn_of_uncertainty(images, names)
    warn_of_coordinates(images)
    return BandStack(
        data=stack,
        mask=masks,
        bands=tuple(names),
        unit=_common_unit(images, names, unit),
        wcs=wcs,
        metas=_metas(images, len(planes)),
        psfs=_psfs(images, len(planes), form),
        source=data,
        form=form,
    )


def _images(data: Any, bands: Bands | None) -> tuple[list[Any], list[str], str]:
    """Give the NDData objects, their names and the form of the input."""
    if isinstance(data, Mapping):
        names = list(data) if bands is None else band_names(None, bands, None)
        if isinstance(bands, str) and bands not in data and set(bands) <= set(data):
            names = list(bands)  # "grz"
        if not names:
            raise ValueError("data must hold at least one band; got an empty mapping")
        missing = [name for name in names if name not in data]
        if missing:
            raise ValueError(f"bands must be among those of data, {list(data)}; got {missing}")
        return [_checked(data[name], f"data[{name!r}]", (2,)) for name in names], names, "mapping"
    image = _checked(data, "data", (2, 3))
    if image.data.ndim == 3:
        return [image], [meta_band(image.meta) or "stack"], "stack"
    return [image], band_names(image, bands, 1), "image"


def _checked(image: Any, name: str, ndims: tuple[int, ...]) -> Any:
    if not isinstance(image, NDData):
        raise TypeError(
            f"{name} must be an NDData or CCDData, which carries unit, mask and WCS; got "
            f"{type(image).__name__}; wrap it: CCDData(array, unit='adu', wcs=wcs)"
        )
    ndim, shape = np.ndim(image.data), np.shape(image.data)
    if ndim not in ndims:
        wanted = " or ".join(("(ny, nx)", "(n_band, ny, nx)")[: len(ndims)])
        raise ValueError(f"{name} must have shape {wanted}; got {shape}")
    if 0 in shape:
        raise ValueError(f"{name} must hold at least one pixel; got the shape {shape}")
    return image


def _array(image: Any, name: str, lazy: bool) -> Any:
    array = image.data if lazy else np.asarray(image.data)
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"band {name!r} must hold integers or real numbers; got dtype {array.dtype}"
        )
    return array


def _copies(planes: Any, names: Sequence[str], masks: Sequence[Any]) -> tuple[Any, Any]:
    """Pixels and missing ones as arrays ``(n_band, ny, nx)``."""
    # Shapes were compared together with the WCS.
    stack = np.empty((len(planes), *planes[0].shape), dtype=np.float32)
    for name, plane, out in zip(names, planes, stack, strict=True):
        for rows in row_strips(len(out)):
            out[rows] = _as_float32(plane[rows], name)
    missing = np.zeros(stack.shape, bool)
    for out, mask in zip(missing, masks, strict=True):
        out |= False if mask is None else np.asarray(mask, bool)
    return stack, missing_pixels(stack, missing)


def _lazy(planes: Any, names: Sequence[str], masks: Sequence[Any]) -> tuple[Any, Any]:
    """The same, in parts and when they are asked for."""
    for name, plane in zip(names, planes, strict=True):
        if plane.dtype.itemsize > 4:
            for rows in row_strips(len(plane)):
                _as_float32(plane[rows], name)
    stack = PlaneStack([Converted(plane, np.float32) for plane in planes])
    own = [() if mask is None else (mask,) for mask in masks]
    return stack, PlaneStack([Missing(*both) for both in zip(stack, own, strict=True)])


def _as_float32(part: Any, name: str) -> FloatArray:
    with np.errstate(over="ignore"):
        out = np.asarray(part).astype(np.float32)
    if part.dtype.itemsize > 4 and np.any(np.isinf(out) & np.isfinite(part)):
        raise ValueError(
            f"band {name!r} must stay within float32, up to 3.4e38; got larger values; rescale"
        )
    return out


def _masks(
    images: Sequence[Any], names: Sequence[str], planes: Any, mask: Any, form: str
) -> list[Any]:
    """The mask of each plane; `None` where it has none."""
    shape = (len(planes), *planes[0].shape)
    own = [image.mask for image in images]
    if isinstance(mask, Mapping):
        mask = [
            _broadcast(named_as(name, mask, name="mask"), shape[1:], f"mask of {name}")
            for name in names
        ]
    if mask is not None:
        given = _broadcast(mask, shape, "mask")
        for i, image_mask in enumerate(own):
            part = given if form == "stack" else given[i]
            if image_mask is not None and np.any(np.broadcast_to(image_mask, part.shape) != part):
                raise ValueError(
                    "mask must equal the mask that the data already have; "
                    "set one of the two, or combine them beforehand"
                )
        return list(given)
    if form == "stack":
        return [None] * shape[0] if own[0] is None else list(_broadcast(own[0], shape, _OWN))
    return [
        one if one is None or isinstance(one, LazyPlane) else _broadcast(one, shape[1:], _OWN)
        for one in own
    ]


def _broadcast(mask: Any, shape: tuple[int, ...], name: str) -> BoolArray:
    try:
        return np.broadcast_to(np.asarray(mask, dtype=bool), shape)
    except ValueError:
        raise ValueError(f"{name} must fit the shape {shape}; got {np.shape(mask)}") from None


def _common_unit(images: Sequence[Any], names: Sequence[str], unit: UnitBase | str | None) -> Any:
    units = [image.unit for image in images]
    if any(one != units[0] for one in units):
        listed = ", ".join(f"{name}: {one}" for name, one in zip(names, units, strict=True))
        raise ValueError(f"bands must have one unit; got {listed}; convert them to one")
    given = parse_unit(unit)
    if given is not None and units[0] is not None and given != units[0]:
        raise ValueError(f"unit must equal that of the data, {units[0]}; got {given}")
    return given if units[0] is None else units[0]


def _common_wcs(images: Sequence[Any], names: Sequence[str], wcs: WCS | None) -> WCS | None:
    given = image_wcs(wcs)
    own = [
        image_wcs(image.wcs, name=f"wcs of {name!r}")
        for image, name in zip(images, names[: len(images)], strict=True)
    ]
    shapes = [np.shape(image.data)[-2:] for image in images]
    if given is not None:
        for name, shape, one in zip(names, shapes, own, strict=False):
            if one is not None and not grid_shift(one, given, shape) <= 1e-3:
                raise ValueError(f"wcs must equal that of the data, but differs for band {name!r}")
        own = [given if one is None else one for one in own]
    check_common_grid([f"band {name!r}" for name in names[: len(images)]], shapes, own)
    return None if own[0] is None else own[0].deepcopy()


def _metas(images: Sequence[Any], n_band: int) -> tuple[Any, ...]:
    """Copy the metadata, once per band also where the bands share them."""
    metas = [image.meta for image in images]
    if len(metas) != n_band:
        metas *= n_band
    return tuple(map(_copied, metas))


def _copied(meta: Any) -> Any:
    if meta is None:
        return {}
    return sound_header(meta) if isinstance(meta, Header) else meta.copy()


def _psfs(images: Sequence[Any], n_band: int, form: str) -> tuple[Any, ...]:
    psfs = [getattr(image, "psf", None) for image in images]
    if form != "stack" or psfs[0] is None:
        return tuple(None if psf is None else np.array(psf) for psf in psfs * (n_band // len(psfs)))
    cube = np.asarray(psfs[0])
    return tuple(np.array(cube if cube.ndim == 2 else cube[i]) for i in range(n_band))


def _warn_of_uncertainty(images: Sequence[Any], names: Sequence[str]) -> None:
    having = [
        name for name, image in zip(names, images, strict=False) if image.uncertainty is not None
    ]
    if having:
        warnings.warn(
            f"the uncertainty of {', '.join(map(repr, having))} does not hold for the enhanced "
            f"image and is left out; SRGANEnhancer(uncertainty=True) estimates a new one",
            UncertaintyDroppedWarning,
            stacklevel=3,
        )


def warn_of_coordinates(images: Sequence[Any]) -> None:
    """
    Tell that further coordinates of an NDCube hold for its own grid alone.

    Parameters
    ----------
    images : sequence of `~astropy.nddata.NDData`
        Of any class.
    """
    for image in images:
        kinds = ("extra_coords", "global_coords")
        lost = [kind for kind in kinds if _is_filled(getattr(image, kind, None))]
        if lost:
            warnings.warn(
                f"{' and '.join(lost)} of the {type(image).__name__} are left out of the new "
                "image; add them to it where they hold",
                SplusSrganWarning,
                stacklevel=3,
            )
            return


def _is_filled(coordinates: Any) -> bool:
    return coordinates is not None and len(list(coordinates.keys())) > 0


def uncertainty_array(image: NDData, kind: type | None = None) -> Any:
    """
    Give the array of an uncertainty in the unit of its image.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With an uncertainty.
    kind : type, optional
        Class to convert it to, such as `~astropy.nddata.StdDevUncertainty`.

    Returns
    -------
    array : `~numpy.ndarray`
        Not a copy where nothing is converted: it may only stand for a plane.
    """
    uncertainty = image.uncertainty
    if kind is not None and uncertainty.uncertainty_type not in UNCERTAINTY_POWERS:
        raise ValueError(
            "the uncertainty of image must be a standard deviation, variance or inverse variance; "
            f"got {type(uncertainty).__name__}; remove it or make it one of these"
        )
    # By way of the variance, which single precision may not hold: 1e-21 squared is 0.
    if kind is not None and not isinstance(uncertainty, kind):
        with np.errstate(divide="ignore"):
            uncertainty = uncertainty.represent_as(kind)
    power = UNCERTAINTY_POWERS.get(uncertainty.uncertainty_type)
    if None in (power, uncertainty.unit, image.unit):
        return uncertainty.array
    wanted = image.unit**power
    same = uncertainty.unit == wanted
    return uncertainty.array if same else uncertainty.unit.to(wanted, uncertainty.array)
