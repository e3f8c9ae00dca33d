# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Structural similarity of one band, where pixels may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["MS_REACH", "WINDOW", "multi_scale", "plain_ssim"]

WINDOW = 7  # pixels, of SSIM
MS_REACH = 5  # pixels: the Gaussian window of MS-SSIM is 11 x 11
_MS_SIGMA = 1.5  # pixels
_K1, _K2 = 0.01, 0.03  # constants of SSIM, in units of the data range


def plain_ssim(truth: FloatArray, made: FloatArray, missing: BoolArray, span: float) -> float:
    """SSIM of one band, by scikit-image."""
    from skimage.metrics import structural_similarity

    _, local = structural_similarity(truth, made, data_range=span, win_size=WINDOW, full=True)
    return _window_mean(local, missing, WINDOW // 2)


def _window_mean(local: FloatArray, missing: BoolArray, reach: int) -> float:
    """Mean over the windows that lie wholly within the image and touch nothing masked."""
    touched = ndimage.maximum_filter(missing, 2 * reach + 1) if missing.any() else missing
    inner = np.s_[reach : local.shape[0] - reach, reach : local.shape[1] - reach]
    values = local[inner][~touched[inner]]
    return values.mean() if values.size else np.nan


def multi_scale(
    truth: FloatArray, made: FloatArray, missing: BoolArray, span: float, weights: Sequence[float]
) -> float:
    """MS-SSIM of one band."""
    result = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _parts(truth, made, span)
        last = scale == len(weights) - 1
        mean = _window_mean(luminance * contrast if last else contrast, missing, MS_REACH)
        result *= np.maximum(mean, 0) ** weight
        truth, made = _halved(truth), _halved(made)
        missing = _halved(missing.astype(float)) > 0
    return result


def _parts(truth: FloatArray, made: FloatArray, span: float) -> tuple[FloatArray, FloatArray]:
    """Luminance, and contrast and structure, around each pixel."""

    def smooth(values: FloatArray) -> FloatArray:
        return ndimage.gaussian_filter(values, _MS_SIGMA, radius=MS_REACH)

    c1, c2 = (_K1 * span) ** 2, (_K2 * span) ** 2
    mean_t, mean_m = smooth(truth), smooth(made)
    var_t, var_m = smooth(truth**2) - mean_t**2, smooth(made**2) - mean_m**2
    both = smooth(truth * made) - mean_t * mean_m
    luminance = (2 * mean_t * mean_m + c1) / (mean_t**2 + mean_m**2 + c1)
    return luminance, (2 * both + c2) / (var_t + var_m + c2)


def _halved(plane: FloatArray) -> FloatArray:
    """Means over 2 x 2 pixels; an odd row or column at the end is dropped."""
    ny, nx = (n // 2 for n in plane.shape)
    return plane[: 2 * ny, : 2 * nx].reshape(ny, 2, nx, 2).mean(axis=(1, 3))
