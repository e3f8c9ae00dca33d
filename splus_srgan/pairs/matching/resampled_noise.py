# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Noise of resampled pixels: variance propagated with the squared weights of a kernel.

A resampled pixel is a weighted sum of input pixels, so its variance is the sum of
theirs times the squared weights.  The weights depend on where between the input
pixels the new one falls (its phase): for cubic splines the variance varies by a
factor of two between a pixel's center and its corner.
"""

import numpy as np
from scipy import ndimage, signal

from splus_srgan.pixels.robust import robust_std

__all__ = [
    "ADAPTIVE_SIGMA",
    "ORDERS",
    "measure_noise_correlation",
    "resampling_weights",
    "variance_factors",
    "variance_map",
]

ADAPTIVE_SIGMA = 0.65
"""Sigma of reproject's adaptive Gaussian, in pixels of the coarser grid: half of its width, 1.3."""

_PHASES = 16
_REACH = 8  # input pixels; the weights of a cubic spline drop by 3.7 with every pixel
ORDERS = {"nearest-neighbor": 0, "bilinear": 1, "biquadratic": 2, "bicubic": 3}
_LAGS = 3  # largest lag of a correlation
_LOCAL = 16  # pixels; broader structure counts as sky, not as noise


def resampling_weights(method, order, ratio, phase):
    """
    Weights of the input pixels along one axis.

    Parameters
    ----------
    method : {"interp", "adaptive", "exact"}
        Method of resampling.
    order : str
        Order of ``"interp"``.
    ratio : float
        Size of an output pixel in input pixels.
    phase : float
        Offset of the output pixel's center from that of an input pixel, 0 to 1.

    Returns
    -------
    weights : `~numpy.ndarray`, shape (2 * reach + 1,)
        Weights of the input pixels from ``-reach`` to ``reach`` around that input pixel; sum 1.
    """
    reach = _reach(ratio)
    offset = np.arange(-reach, reach + 1) - phase
    if method == "exact":
        edges = np.clip(np.stack([offset - 0.5, offset + 0.5]), -ratio / 2, ratio / 2)
        weights = edges[1] - edges[0]
    elif method == "adaptive":
        width = ADAPTIVE_SIGMA * max(ratio, 1.0)
        weights = np.where(np.abs(offset) <= 2 * max(ratio, 1.0), 1, 0)
        weights = weights * np.exp(-(offset**2) / (2 * width**2))
    else:
        impulse = np.zeros(6 * reach + 1)
        impulse[3 * reach] = 1
        places = 3 * reach - offset
        weights = ndimage.map_coordinates(impulse, places[None], order=ORDERS[order])
    return weights / weights.sum()


def _reach(ratio):
    return max(_REACH, int(np.ceil(2 * ratio)) + 1)


def variance_factors(method, order, ratio, *, kernel=None, correlation=None):
    r"""
    Variance of a resampled pixel for input noise of unit variance, by phase.

    .. math:: V(\phi) = \sum_{ij} w_i(\phi) \, w_j(\phi) \, \rho(i - j)

    with the weights :math:`w` of the resampling, convolved with ``kernel`` where the
    image is convolved beforehand, and the correlation :math:`\rho` of the input's noise.

    Parameters
    ----------
    method, order
        As for `resampling_weights`.
    ratio : tuple of float
        Size of an output pixel in input pixels, along y and x.
    kernel : `~numpy.ndarray`, optional
        Kernel with which the image is convolved before it is resampled.
    correlation : `~numpy.ndarray`, odd shape, optional
        Correlation of the input's noise, 1 at its center; by default it is white.

    Returns
    -------
    factors : `~numpy.ndarray`, shape (17, 17)
        For phases 0, 1/16, ... 1 along y and x.
    """
    phases = np.arange(_PHASES + 1) / _PHASES
    rows, columns = (
        np.array([resampling_weights(method, order, side, phase) for phase in phases])
        for side in ratio
    )
    if kernel is None and correlation is None:
        return np.outer(np.sum(rows**2, 1), np.sum(columns**2, 1))
    # Correlations of the weights with themselves, which are few and smooth.
    rows, columns = (
        np.array([np.correlate(w, w, "full") for w in side]) for side in (rows, columns)
    )
    smooth = np.ones((1, 1))
    if kernel is not None:
        smooth = signal.correlate(kernel, kernel)
    if correlation is not None:
        smooth = signal.convolve(smooth, correlation)
    half = [min(rows.shape[1] // 2, smooth.shape[0] // 2), 0]
    half[1] = min(columns.shape[1] // 2, smooth.shape[1] // 2)
    rows = _middle(rows, (None, half[0]))
    columns = _middle(columns, (None, half[1]))
    return rows @ _middle(smooth, half) @ columns.T


def _middle(array, halves):
    """The center of an array of odd sizes."""
    cuts = tuple(
        slice(None) if half is None else slice(n // 2 - half, n // 2 + half + 1)
        for n, half in zip(array.shape, halves, strict=True)
    )
    return array[cuts]


def variance_map(variance, coordinates, factors):
    """
    Propagate a variance map through a resampling.

    Parameters
    ----------
    variance : `~numpy.ndarray`, shape (ny, nx)
        Variance of the input; finite.
    coordinates : `~numpy.ndarray`, shape (2, ...)
        Input position ``(y, x)`` of each output pixel.
    factors : `~numpy.ndarray`
        From `variance_factors`.

    Returns
    -------
    resampled : `~numpy.ndarray`
        Variance of the output pixels, before any scaling of their flux.

    Notes
    -----
    The variance is taken to be constant over the few pixels of the resampling kernel, where
    it is interpolated.
    """
    smooth = ndimage.map_coordinates(variance, coordinates, order=1, mode="nearest")
    phases = np.mod(coordinates, 1) * _PHASES
    return smooth * ndimage.map_coordinates(factors, phases, order=1, mode="nearest")


def measure_noise_correlation(data, mask):
    """
    Measure how the noise of neighboring pixels is correlated, where there are no sources.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image.
    mask : `~numpy.ndarray` of bool
        `True` is missing.

    Returns
    -------
    correlation : `~numpy.ndarray` or None
        By lag, 1 at its center; `None` where there is too little blank sky.
    """
    data = np.where(mask, 0, data).astype(float)
    valid = ~mask
    if valid.sum() < 256:
        return None
    local = _masked_mean(data, valid, _LOCAL)
    noise = data - local
    sigma = robust_std(noise[valid], center=0)
    if not sigma > 0:
        return None
    # Sources: pixels that are bright after smoothing, and their surroundings.
    smooth = ndimage.gaussian_filter(np.where(valid, data - np.median(data[valid]), 0), 2)
    level = robust_std(smooth[valid])
    bright = np.abs(smooth - np.median(smooth[valid])) > 4 * level
    bright |= np.abs(noise) > 5 * sigma
    blank = valid & ~ndimage.binary_dilation(bright, iterations=3)
    if blank.sum() < max(1024, 0.05 * data.size):
        return None
    noise = np.where(blank, data - _masked_mean(data, blank, _LOCAL), 0)
    return _autocorrelation(noise, blank, _LAGS)


def _masked_mean(data, valid, scale):
    weight = ndimage.gaussian_filter(valid.astype(float), scale)
    mean = ndimage.gaussian_filter(np.where(valid, data, 0), scale)
    return mean / np.maximum(weight, 1e-3)


def _autocorrelation(noise, valid, lags):
    """Autocorrelation of an image that is 0 where it is not valid."""
    size = 2 * lags + 1
    total, pairs = np.empty((size, size)), np.empty((size, size))
    for dy in range(-lags, lags + 1):
        for dx in range(-lags, lags + 1):
            one, two = _shifted(noise, dy, dx)
            here, there = _shifted(valid, dy, dx)
            pairs[dy + lags, dx + lags] = max(1, np.sum(here & there))
            total[dy + lags, dx + lags] = np.sum(one * two)
    mean = total / pairs
    return mean / mean[lags, lags]


def _shifted(array, dy, dx):
    """The array and its shifted copy where they overlap."""
    ny, nx = array.shape
    one = array[max(0, dy) : ny + min(0, dy), max(0, dx) : nx + min(0, dx)]
    two = array[max(0, -dy) : ny + min(0, -dy), max(0, -dx) : nx + min(0, -dx)]
    return one, two
