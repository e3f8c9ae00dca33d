# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Resample an image with its mask and its variance onto another grid, whole or in blocks."""

import copy
from dataclasses import dataclass, replace
from itertools import product
from threading import Lock
from typing import Any

import numpy as np
from scipy import ndimage

from splus_srgan.pairs.matching.positions import local_map, outside_of, pixel_positions
from splus_srgan.pairs.matching.resampled_noise import variance_factors, variance_map
from splus_srgan.pairs.registration.pixel_map import PixelMap, mapped_wcs
from splus_srgan.pixels.missing import fill_missing, missing_pixels

__all__ = [
    "Plane",
    "Resampling",
    "resample",
    "resample_blocks",
]

_COPYING = Lock()
_MARGIN = 16  # input pixels around a block: beyond it, a cubic spline has weights below 1e-9


@dataclass(frozen=True, eq=False)
class Plane:
    """
    Arrays that are resampled together.

    Attributes
    ----------
    data : array-like, shape (ny, nx)
        Image.
    mask : array-like of bool, shape (ny, nx)
        `True` is missing.
    variance : array-like, shape (ny, nx), or None
        Variance of the pixels, in any unit that float32 holds.
    wcs : object
        WCS of either interface of astropy.
    """

    data: Any
    mask: Any
    variance: Any
    wcs: Any


@dataclass(frozen=True, eq=False)
class Resampling:
    """
    Options of the resampling.

    Attributes
    ----------
    method : {"interp", "adaptive", "exact"}
        Function of reproject.
    order : str
        Order of ``"interp"``.
    conserve : bool
        Whether values are flux per pixel, which scales with the area of a pixel.
    kernel, correlation : `~numpy.ndarray` or None
        As for `~splus_srgan.pairs.matching.resampled_noise.variance_factors`: the kernel with
        which the image was convolved, and the correlation of its noise before that.
    """

    method: str = "interp"
    order: str = "bicubic"
    conserve: bool = True
    kernel: Any = None
    correlation: Any = None


def resample(plane, wcs, shape, options):
    """
    Resample a whole image.

    Parameters
    ----------
    plane : `Plane`
        Input.
    wcs : object
        WCS of the output.
    shape : tuple of int
        ``(ny, nx)`` of the output.
    options : `Resampling`
        Options of the resampling.

    Returns
    -------
    data, variance : `~numpy.ndarray`
        float32 of the shape; variance is `None` where the input has none. Missing pixels are 0.
    mask : `~numpy.ndarray` of bool
        `True` is missing.
    """
    coordinates, area = pixel_positions(plane.wcs, wcs, shape)
    return _resample_part(plane, wcs, shape, options, coordinates, area)


def _resample_part(plane, wcs, shape, options, coordinates, area, factors=None):
    data, missing = _filled(plane)
    outside = outside_of(missing.shape, coordinates)
    if data is None or outside.all():
        return _nothing(shape, plane.variance is not None)
    values = _reproject(data, plane.wcs, wcs, shape, options)
    mask = ~np.isfinite(values) | outside
    if missing.any():
        mask |= _touched(missing, coordinates, options, area)
    scale = area if options.conserve else np.ones_like(area)
    values = _to_float32(np.where(mask, 0, values * scale))
    if plane.variance is None:
        return values, None, mask
    if factors is None:
        factors = block_factors(area, options)
    variance = np.where(missing, 0, np.asarray(plane.variance, float))
    if missing.any():
        variance = fill_missing(variance, missing)
    spread = variance_map(variance, np.nan_to_num(coordinates), factors) * scale**2
    return values, np.where(mask, 0, spread).astype(np.float32), mask


def _to_float32(values):
    with np.errstate(over="ignore", under="ignore"):
        single = values.astype(np.float32)
    if not np.isfinite(single).all():
        raise ValueError(
            "image must stay within float32, up to 3.4e38; got larger values: rescale it, or give "
            "it in another unit"
        )
    return single


def block_factors(area, options):
    """Table of variance factors for the typical size of an output pixel."""
    side = float(np.sqrt(np.median(area)))
    return variance_factors(
        options.method,
        options.order,
        (side, side),
        kernel=options.kernel,
        correlation=options.correlation,
    )


def _nothing(shape, with_variance):
    blank = np.zeros(shape, np.float32)
    return blank, blank.copy() if with_variance else None, np.ones(shape, bool)


def _filled(plane):
    """Data with the holes filled, and where these were."""
    data = np.asarray(plane.data, dtype=float)
    missing = missing_pixels(data, plane.mask)
    if missing.all():
        return None, missing
    if missing.any():
        data = fill_missing(data, missing)
    return data, missing


def _reproject(data, wcs_in, wcs_out, shape, options):
    import reproject

    wcs_in = mapped_wcs(wcs_in, PixelMap())  # which does not warn where it does not converge

    if options.method == "interp":
        return reproject.reproject_interp(
            (data, wcs_in),
            wcs_out,
            shape_out=shape,
            order=options.order,
            return_footprint=False,
            roundtrip_coords=False,
        )
    if options.method == "adaptive":
        return _reproject_adaptive(data, wcs_in, wcs_out, shape)
    return reproject.reproject_exact(
        (data, wcs_in), wcs_out, shape_out=shape, return_footprint=False
    )


def _reproject_adaptive(data, wcs_in, wcs_out, shape):
    import reproject

    # For a mirrored grid the kernel of reproject 0.21 is too narrow along one axis, at random: it
    # has a singular value with a negative sign, and takes it for one below 1.
    mirrored = np.linalg.det(local_map(wcs_in, wcs_out, data.shape)[0]) < 0
    if mirrored:
        last = np.array([0.0, shape[1] - 1])
        wcs_out = mapped_wcs(wcs_out, PixelMap(np.diag([1.0, -1.0]), last))
    values = reproject.reproject_adaptive(
        (data, wcs_in),
        wcs_out,
        shape_out=shape,
        return_footprint=False,
        kernel="gaussian",
        boundary_mode="ignore",
        bad_value_mode="ignore",
        roundtrip_coords=False,
    )
    return values[:, ::-1] if mirrored else values


def _touched(missing, coordinates, options, area):
    """Output pixels to which a missing one contributes more than with a spline's tail."""
    if options.method == "interp" and options.order == "nearest-neighbor":
        places = np.nan_to_num(coordinates, nan=0.0)
        return ndimage.map_coordinates(missing.astype(float), places, order=0) > 0.5
    wide = missing
    if options.method != "interp":
        # Kernels as wide as an output pixel: half of it, where that exceeds an input pixel.
        reach = int(np.ceil(max(0.0, np.sqrt(np.median(area)) / 2 - 0.5)))
        if reach:
            wide = ndimage.binary_dilation(missing, np.ones((2 * reach + 1,) * 2))
    places = np.nan_to_num(coordinates, nan=0.0)
    share = ndimage.map_coordinates(wide.astype(float), places, order=1, mode="nearest")
    return share > 1e-3


def resample_blocks(plane, wcs, shape, options, *, block_size, progress_bar=None):
    """
    Resample an image block by block on dask; arguments and results are those of `resample`.

    Only the part of the input that a block needs is read, so ``plane`` may hold memory maps.
    A block differs from the same part of the whole image by the last digits of float32.
    """
    import dask

    out = _nothing(shape, plane.variance is not None)
    starts = list(product(*(range(0, n, block_size) for n in shape)))
    middle = [max(0, n // 2 - 2) for n in shape]
    _, area = pixel_positions(plane.wcs, wcs, (4, 4), start=middle)
    factors = None if plane.variance is None else block_factors(area, options)
    workers = 2 * (dask.config.get("num_workers", None) or 2)
    chunks = [starts[k : k + workers] for k in range(0, len(starts), workers)]
    for chunk in chunks if progress_bar is None else progress_bar(chunks):
        blocks = [
            _one_block(plane, wcs, shape, start, block_size, options, factors) for start in chunk
        ]
        for (y, x), block in zip(chunk, dask.compute(*blocks, scheduler="threads"), strict=True):
            here = np.s_[y : y + block_size, x : x + block_size]
            for whole, part in zip(out, block, strict=True):
                if whole is not None:
                    whole[here] = part
    return out


def _one_block(plane, wcs, shape, start, block_size, options, factors):
    import dask

    @dask.delayed(pure=False, traverse=False)
    def compute():
        size = tuple(min(block_size, n - k) for n, k in zip(shape, start, strict=True))
        # A WCS keeps state while it computes, so threads must not share one.
        with _COPYING:
            own, target = replace(plane, wcs=copy.deepcopy(plane.wcs)), copy.deepcopy(wcs)
        coordinates, area = pixel_positions(own.wcs, target, size, start=start)
        window = _window(coordinates, np.shape(own.data))
        if window is None:
            return _nothing(size, own.variance is not None)
        part = _cut(own, window)
        corner = np.array([cut.start for cut in window], float).reshape(2, 1, 1)
        shifted = _shifted_wcs(target, start)
        return _resample_part(part, shifted, size, options, coordinates - corner, area, factors)

    return compute()


def _window(coordinates, shape):
    """Part of the input that a block needs."""
    window = []
    for places, n in zip(coordinates, shape, strict=True):
        places = places[np.isfinite(places)]
        if not places.size:
            return None
        first = max(0, int(np.floor(places.min())) - _MARGIN)
        last = min(n, int(np.ceil(places.max())) + _MARGIN + 1)
        if last - first < 1:
            return None
        window.append(slice(first, last))
    return tuple(window)


def _cut(plane, window):
    start = [part.start for part in window]
    variance = None if plane.variance is None else np.asarray(plane.variance[window])
    return Plane(plane.data[window], plane.mask[window], variance, _shifted_wcs(plane.wcs, start))


def _shifted_wcs(wcs, start):
    """The WCS of an image that begins ``start`` pixels (y, x) later."""
    return mapped_wcs(wcs, PixelMap(image=np.array(start, float)))
