# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Noise of an image that is a coadd of dithered exposures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splus_srgan.utils.types import FloatArray

__all__ = ["correlated_noise", "noise_variance"]


def _lanczos3(offset):
    """Weights of a Lanczos-3 resampling by a fraction of a pixel."""
    x = np.arange(-3, 4) - offset
    weights = np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)
    return weights / weights.sum()


def correlated_noise(
    rng: np.random.Generator, shape: tuple[int, int], dithers: Sequence[tuple[float, float]]
) -> FloatArray:
    """
    Noise of unit standard deviation, correlated as in a coadd.

    Each exposure has white noise, and is resampled onto the common grid with a
    Lanczos-3 kernel; the coadd is their mean.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the noise.
    shape : tuple of int
        ``(ny, nx)``.
    dithers : sequence of tuple of float
        Fraction of a pixel ``(dy, dx)`` by which each exposure is shifted.

    Returns
    -------
    noise : `~numpy.ndarray`, shape (ny, nx)
        float32.
    """
    total, variance = np.zeros(shape, np.float32), 0.0
    for dy, dx in dithers:
        ky, kx = _lanczos3(dy), _lanczos3(dx)
        white = rng.standard_normal((shape[0] + 6, shape[1] + 6), dtype=np.float32)
        rows = ndimage.correlate1d(white, ky, axis=0, mode="constant")
        total += ndimage.correlate1d(rows, kx, axis=1, mode="constant")[3:-3, 3:-3]
        variance += np.sum(ky**2) * np.sum(kx**2)
    return total / np.float32(np.sqrt(variance))


def noise_variance(flux: FloatArray, sigma: float, electrons: float) -> FloatArray:
    """
    Variance of a pixel: sky noise, and the photon noise of the source.

    ``sigma**2 + max(flux, 0) / electrons``, with fluxes in nanomaggies and
    ``electrons`` per nanomaggie.
    """
    return sigma**2 + np.maximum(flux, 0) / electrons
