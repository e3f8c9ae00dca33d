# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Noise of a coadd, and of sums over its pixels.

Coadds are resampled, so the noise of neighbouring pixels is correlated, and a sum has more noise
than that of white noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "CORRELATION",
    "DITHERS",
    "area_noise",
    "correlated_noise",
    "noise_spectrum",
    "noise_variance",
    "smoothed_noise",
    "weighted_noise",
]

CORRELATION = {(0, 1): 0.12, (1, 0): 0.12, (1, 1): 0.035, (0, 2): -0.045, (2, 0): -0.045}
"""Correlation of pixels that lie so far apart ``(dy, dx)``; measured on tiles of S-PLUS."""

DITHERS = ((0.3, -0.2), (-0.4, 0.1), (0.1, 0.4))
"""Offsets ``(dy, dx)`` of three exposures, in pixels, as an example of a coadd."""

_AREA_LAW = (1.07, 0.006)


def weighted_noise(weights: ArrayLike) -> float:
    r"""
    Noise of a weighted sum over the pixels of a coadd, in units of the noise of one.

    .. math:: n^2 = \sum_i \sum_j w_i w_j \, \rho(i - j)

    with the `CORRELATION` :math:`\rho`, which is 1 at distance 0.

    Parameters
    ----------
    weights : array_like, shape (ny, nx)
        Weights :math:`w` of neighbouring input pixels.

    Returns
    -------
    noise : float
        A pure number.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.coadd_noise import weighted_noise
    >>> round(weighted_noise(np.ones((1, 2))) ** 2, 2)
    2.24
    """
    weights = np.asarray(weights, float)
    ny, nx = weights.shape
    total = np.sum(weights**2)
    for (dy, dx), rho in CORRELATION.items():
        total += 2 * rho * np.sum(weights[: ny - dy, : nx - dx] * weights[dy:, dx:])
        if dy and dx:  # the other diagonal
            total += 2 * rho * np.sum(weights[: ny - dy, dx:] * weights[dy:, : nx - dx])
    return float(np.sqrt(total))


def noise_spectrum(
    shape: tuple[int, int], correlation: Mapping[tuple[int, int], float] = CORRELATION
) -> FloatArray:
    r"""
    Power spectrum of noise of unit variance from its correlation (Wiener-Khinchin).

    .. math:: P(f) = 1 + 2 \sum_d \rho(d) \cos(2 \pi f \cdot d)

    over half of the distances :math:`d`, as :math:`\rho(-d) = \rho(d)`.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image.
    correlation : mapping of tuple to float, optional
        Correlation :math:`\rho` by distance ``(dy, dx)`` in pixels, both at least 0; it is taken
        to be the same on both diagonals.

    Returns
    -------
    power : `~numpy.ndarray`, shape (ny, nx)
        In the order of `scipy.fft.fft2`; its mean is 1, the variance.

    Raises
    ------
    ValueError
        If no noise has such a correlation: its power would be negative.

    Examples
    --------
    >>> from splus_srgan.pixels.coadd_noise import noise_spectrum
    >>> power = noise_spectrum((64, 64))
    >>> round(float(power.mean()), 3), round(float(power[0, 0]), 2), round(float(power.min()), 2)
    (1.0, 1.44, 0.48)
    """
    fy, fx = (2 * np.pi * np.fft.fftfreq(n) for n in shape)
    power = np.ones(shape)
    for (dy, dx), rho in correlation.items():
        alike = 4 if dy and dx else 2
        power += alike * rho * np.outer(np.cos(dy * fy), np.cos(dx * fx))
    if not (power >= 0).all():
        raise ValueError(
            "correlation must be that of some noise, but gives a negative power spectrum "
            f"(down to {power.min():.3g}); got {dict(correlation)}"
        )
    return power


def smoothed_noise(width: float) -> float:
    r"""
    Noise of a coadd after smoothing by a Gaussian, in units of the noise of a pixel.

    .. math:: n^2 = \frac{1}{4 \pi w^2} \sum_d \rho(d) \, e^{-d^2 / 4 w^2}

    Parameters
    ----------
    width : float
        Standard deviation :math:`w` of the Gaussian in input pixels, about 1 or more.

    Returns
    -------
    noise : float
        A pure number; :math:`1 / (2 \sqrt{\pi} w)` would be that of white noise.

    Examples
    --------
    >>> import math
    >>> from splus_srgan.pixels.coadd_noise import smoothed_noise
    >>> [round(smoothed_noise(w) * 2 * math.sqrt(math.pi) * w, 2) for w in (1.0, 1.5, 2.5)]
    [1.18, 1.19, 1.2]
    """
    total = 1.0
    for (dy, dx), rho in CORRELATION.items():
        alike = 4 if dy and dx else 2
        total += alike * rho * np.exp(-(dy**2 + dx**2) / (4 * width**2))
    return float(np.sqrt(total) / (2 * np.sqrt(np.pi) * width))


def area_noise(area: Any) -> Any:
    r"""
    Noise of the sum over an area of S-PLUS pixels, in units of the noise of one.

    .. math:: \sigma(A) / \sigma = \sqrt{A} \, (1.07 + 0.006 \sqrt{A})

    The law of the survey's headers, which were fitted to empty apertures: beside the
    correlation of neighbours it holds what large areas have on top of it.

    Parameters
    ----------
    area : float, `~numpy.ndarray` or `~torch.Tensor`
        Input pixels.

    Returns
    -------
    noise : float, `~numpy.ndarray` or `~torch.Tensor`
        A pure number.

    Examples
    --------
    >>> from splus_srgan.pixels.coadd_noise import area_noise
    >>> round(float(area_noise(100.0)), 2)
    11.3
    """
    a, b = _AREA_LAW
    side = area**0.5
    return side * (a + b * side)


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

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.coadd_noise import DITHERS, correlated_noise
    >>> noise = correlated_noise(np.random.default_rng(1), (256, 256), DITHERS)
    >>> round(float(noise.std()), 2), round(float((noise[1:] * noise[:-1]).mean()), 2)
    (1.0, 0.13)
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
    r"""
    Variance of a pixel: sky noise, and the photon noise of the source.

    .. math:: V = \sigma^2 + \max(F, 0) / e

    Parameters
    ----------
    flux : `~numpy.ndarray`
        Flux :math:`F` of the source, without sky.
    sigma : float
        Sky noise :math:`\sigma`, in the unit of the flux.
    electrons : float
        Electrons :math:`e` per unit of flux.

    Returns
    -------
    variance : `~numpy.ndarray`
        In the unit of the flux squared.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.coadd_noise import noise_variance
    >>> noise_variance(np.array([0.0, 50.0]), 2.0, 100.0).tolist()
    [4.0, 4.5]
    """
    return sigma**2 + np.maximum(flux, 0) / electrons
