# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Noise of sums over the pixels of a coadd.

Coadds are resampled, so the noise of neighbouring pixels is correlated, and a sum has more noise
than that of white noise.  All that is known of it stands here.
"""

import numpy as np

__all__ = ["CORRELATION", "area_noise", "smoothed_noise", "weighted_noise"]

CORRELATION = {(0, 1): 0.12, (1, 0): 0.12, (1, 1): 0.035, (0, 2): -0.045, (2, 0): -0.045}
"""Correlation of pixels that lie so far apart ``(dy, dx)``; measured on tiles of S-PLUS."""

_AREA_LAW = (1.07, 0.006)


def weighted_noise(weights):
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


def smoothed_noise(width):
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


def area_noise(area):
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
