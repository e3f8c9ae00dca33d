# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
How the noise of a sky is correlated.

Where neighbours are correlated, as in every enhanced image, the noise of an aperture is not
that of a pixel times the root of the area: `aperture_noise_curve` measures it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy import fft, signal

from splus_srgan.evaluation.statistics import scatter_error
from splus_srgan.pixels.robust import robust_std
from splus_srgan.utils.validate import check_integer, check_shape

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["aperture_noise_curve", "noise_autocorrelation"]

_VALID = 0.999  # of an aperture's area


def noise_autocorrelation(
    image: ArrayLike, *, max_lag: int = 8, mask: ArrayLike | None = None
) -> QTable:
    r"""
    Correlation of the noise of pixels, by their distance.

    .. math:: \rho(\Delta) = \frac{\langle n(x) \, n(x + \Delta) \rangle}{\langle n^2 \rangle}

    over the pairs of unmasked pixels, averaged over directions.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Blank sky, or output less truth, in any unit; its mean is taken off.
    max_lag : int, optional
        Largest distance in pixels, at least 1.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out: sources.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``lag`` (mean distance in pixels of a ring), ``correlation`` and number of
        ``pairs``; NaN where there are none, or the image is constant.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the image is no larger than ``max_lag``.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.skynoise import noise_autocorrelation
    >>> table = noise_autocorrelation(np.random.default_rng(1).normal(size=(64, 64)), max_lag=2)
    >>> table["correlation"].round(1).tolist()[0]
    1.0
    """
    values, free = _sky(image, mask)
    if check_integer("max_lag", max_lag, minimum=1) >= min(values.shape):
        raise ValueError(f"max_lag must be below the size of the image; got {max_lag!r}")
    sums, pairs = (_autocorrelation(one, max_lag) for one in (values, free.astype(float)))
    dy, dx = np.mgrid[-max_lag : max_lag + 1, -max_lag : max_lag + 1]
    distance = np.hypot(dy, dx)
    ring = np.rint(distance).astype(int).ravel()
    count, lag, total = (
        np.bincount(ring, one.ravel())[: max_lag + 1]
        for one in (np.rint(pairs), np.rint(pairs) * distance, sums)
    )
    variance = total[0] / count[0] if count[0] else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = total / count / variance if variance > 0 else np.full(count.shape, np.nan)
        table = QTable(
            {"lag": lag / count, "correlation": correlation, "pairs": (count / 2).astype(int)}
        )
    table["lag"].unit = u.pix
    return table


def aperture_noise_curve(
    image: ArrayLike, radii: ArrayLike, *, mask: ArrayLike | None = None
) -> QTable:
    r"""
    Noise of the sum in an aperture, :math:`\sigma(R)`, at all places of a sky.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Blank sky, or output less truth.
    radii : array_like, shape (n,)
        Radii in pixels, above 0.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out: sources.  An aperture with a masked pixel does not count.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``radius`` and ``area`` (pixels), ``sigma`` (robust scatter of the sums, in the unit
        of the image), ``white`` (what it would be without correlation) and ``error`` (of
        ``sigma``, from the number of apertures that do not overlap); NaN where fewer than
        ten of these fit in.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a radius is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.skynoise import aperture_noise_curve
    >>> sky = np.random.default_rng(1).normal(size=(200, 200))
    >>> table = aperture_noise_curve(sky, [3.0])
    >>> bool(abs(table["sigma"][0] / table["white"][0] - 1) < 0.1)
    True
    """
    from photutils.aperture import CircularAperture

    values, free = _sky(image, mask)
    radii = np.atleast_1d(np.asarray(radii, float))
    if radii.ndim != 1 or not (radii > 0).all():
        raise ValueError(f"radii must be above 0; got {radii.tolist()!r}")
    pixel = robust_std(values[free])
    rows = []
    for radius in radii:
        area, sigma, count = np.pi * radius**2, np.nan, 0.0
        disc = CircularAperture((0, 0), radius).to_mask(method="exact").data
        if all(n >= m for n, m in zip(values.shape, disc.shape, strict=True)):
            sums, share = (
                signal.oaconvolve(one, disc, mode="valid") for one in (values, free.astype(float))
            )
            sums = sums[share > _VALID * area]
            count = sums.size / area
            sigma = robust_std(sums) if count >= 10 else np.nan
        rows.append((radius, area, sigma, pixel * np.sqrt(area), scatter_error(sigma, count)))
    return QTable(rows=rows, names=("radius", "area", "sigma", "white", "error"))


def _sky(image: ArrayLike, mask: ArrayLike | None) -> tuple[FloatArray, BoolArray]:
    """Values less their mean, 0 where they do not count, and where they do."""
    image = np.asarray(image, float)
    if image.ndim != 2:
        raise ValueError(f"image must have shape (ny, nx); got {image.shape}")
    free = np.isfinite(image)
    if mask is not None:
        free &= ~check_shape("mask", mask, image.shape, bool)
    mean = image[free].mean() if free.any() else 0.0
    return np.where(free, image - mean, 0.0), free


def _autocorrelation(values: FloatArray, max_lag: int) -> FloatArray:
    """Sums over all pairs of pixels for lags up to ``max_lag`` along both axes."""
    shape = [fft.next_fast_len(n + max_lag, real=True) for n in values.shape]
    power = np.abs(fft.rfft2(values, shape)) ** 2
    lags = np.arange(-max_lag, max_lag + 1)
    return fft.irfft2(power, shape)[np.ix_(lags, lags)]
