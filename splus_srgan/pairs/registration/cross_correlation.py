# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Images prepared for comparison, and the shift at which two of them are most alike."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from splus_srgan.pairs.registration.pixel_map import PixelMap
from splus_srgan.pixels.missing import fill_missing, missing_pixels
from splus_srgan.pixels.robust import robust_std

__all__ = ["Picture", "correlate", "make_picture", "valid_places"]

_OVERLAP = 0.25  # least share of the coarse image's pixels


@dataclass(frozen=True, eq=False)
class Picture:
    """
    An image prepared for comparison: without missing pixels and sky, with known noise.

    Attributes
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        float64.
    mask : `~numpy.ndarray` of bool
        `True` is missing; filled in ``data``.
    sigma : float
        Noise of a pixel.
    """

    data: np.ndarray
    mask: np.ndarray
    sigma: float


def make_picture(data, mask):
    """Make a `Picture`; raises `ValueError` where there is too little to see."""
    data = np.array(data, dtype=float)
    mask = missing_pixels(data, mask)
    if (~mask).sum() < 64:
        raise ValueError(f"image must have at least 64 valid pixels; got {int((~mask).sum())}")
    data[mask] = 0
    if mask.any():
        data = fill_missing(data, mask)
    data -= np.median(data[~mask])
    # Second differences, in which smooth structure, sources included, all but vanishes.
    rough = data[1:-1, 1:-1] - (data[1:-1, :-2] + data[1:-1, 2:]) / 2
    rough = rough[~ndimage.binary_dilation(mask)[1:-1, 1:-1]]
    sigma = robust_std(rough, center=0) / np.sqrt(1.5) if rough.size else 0.0
    sigma = sigma or float(np.std(data[~mask])) * 1e-3
    return Picture(data, mask, sigma or 1.0)


def _sample(picture, pixel_map, shape, *, blur=0.0):
    """
    Sample a picture at the pixels of another grid.

    Parameters
    ----------
    picture : `Picture`
        Picture to sample.
    pixel_map : `PixelMap`
        From the pixels of the grid to those of the picture.
    shape : tuple of int
        Shape of the grid.
    blur : float, optional
        Sigma of a Gaussian (pixels of the picture).

    Returns
    -------
    values : `~numpy.ndarray`
        Samples.
    valid : `~numpy.ndarray` of bool
        Where they are within the picture, away from its missing pixels.
    """
    data = ndimage.gaussian_filter(picture.data, blur) if blur else picture.data
    places = pixel_map(np.indices(shape))
    values = ndimage.map_coordinates(data, places, order=1, mode="nearest")
    return values, valid_places(picture.mask, places)


def valid_places(mask, places):
    """Where positions ``(y, x)`` are within an image, away from its missing pixels."""
    inside = np.ones(places.shape[1:], bool)
    for axis, n in zip(places, mask.shape, strict=True):
        inside &= (axis >= 0) & (axis <= n - 1)
    if mask.any():
        inside &= ndimage.map_coordinates(mask.astype(float), places, order=1) < 1e-3
    return inside


def correlate(coarse, fine, start, *, reach, anywhere=False):
    r"""
    Find the shift at which two images are most alike.

    Normalized cross-correlation of the pixels that both have (Padfield 2012), of images
    that are smoothed and stretched, so that a single bright star does not decide.

    Parameters
    ----------
    coarse, fine : `Picture`
        Images.
    start : `PixelMap`
        From pixels of the coarse image to those of the fine one.
    reach : float
        Largest shift, in pixels of the coarse image.
    anywhere : bool, optional
        Whether the images may lie anywhere on each other.  The coefficient then counts by the root
        of the share of the largest overlap, as its significance does.

    Returns
    -------
    shift : `~numpy.ndarray`, shape (2,)
        ``(dy, dx)`` in pixels of the coarse image: a source at ``x`` in the coarse image is at
        ``start(x + shift)`` in the fine one. Whole pixels.
    peak : float
        Correlation coefficient there, NaN where there is no overlap.
    """
    step = np.sqrt(abs(np.linalg.det(start.matrix)))
    # A canvas that holds the fine image wherever the shift may take it.
    pad = int(np.ceil(reach)) + 2
    canvas = tuple(n + 2 * pad for n in coarse.data.shape)
    there = start.after(PixelMap(image=np.array([-pad, -pad], float)))
    values, valid = _sample(fine, there, canvas, blur=max(1.0 * step, 0.6))
    one = _stretched(ndimage.gaussian_filter(coarse.data, 1.0), ~coarse.mask)
    two = _stretched(values, valid)
    peaks, overlap = _masked_ncc(one, ~coarse.mask, two, valid)
    least = max(32, _OVERLAP * min((~coarse.mask).sum(), (~fine.mask).sum() / step**2))
    if anywhere:
        # Where they overlap little, one source lies well on any other.
        peaks = peaks * np.sqrt(overlap / max(overlap.max(), 1))
    peaks = np.where(overlap >= least, peaks, -np.inf)
    if not np.isfinite(peaks).any():
        return np.zeros(2), np.nan
    place = np.unravel_index(np.argmax(peaks), peaks.shape)
    return np.array(place, float) - pad, float(peaks[place])


def _stretched(data, valid):
    if not valid.any():
        return np.zeros_like(data)
    level = np.median(data[valid])
    spread = robust_std(data[valid], center=level)
    spread = spread or np.std(data[valid]) or 1.0
    return np.where(valid, np.arcsinh((data - level) / (3 * spread)), 0)


def _masked_ncc(one, one_valid, two, two_valid):
    """Correlation coefficient for every place of ``one`` within ``two``, and the overlap."""

    def over(a, b):
        return signal.fftconvolve(b, a[::-1, ::-1], mode="valid")

    u, v = one_valid.astype(float), two_valid.astype(float)
    count = np.round(over(u, v))
    safe = np.maximum(count, 1)
    sum_one, sum_two = over(one, v), over(u, two)
    cross = over(one, two) - sum_one * sum_two / safe
    square_one = over(one**2, v) - sum_one**2 / safe
    square_two = over(u, two**2) - sum_two**2 / safe
    floor = 1e-6 * max(square_one.max(), 1e-30), 1e-6 * max(square_two.max(), 1e-30)
    norm = np.sqrt(np.maximum(square_one, floor[0]) * np.maximum(square_two, floor[1]))
    return cross / norm, count
