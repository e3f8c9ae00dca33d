# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Positions of stars, with what the input's noise does to them.

Positions are in input pixels, 0-based; ``factor`` is how many times finer an image is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.apertures import fine_places
from splus_srgan.evaluation.shapes import fwhm, star_image
from splus_srgan.pixels.coadd_noise import area_noise, weighted_noise
from splus_srgan.pixels.psf import psf_profile
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.quiet import quiet

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray, Numbers

__all__ = ["centroid_error", "centroid_limit", "centroids"]

_HALF = 3  # input pixels to each side that a centroid looks at


def centroids(image: FloatArray, x: Numbers, y: Numbers, *, factor: int = 1) -> FloatArray:
    """
    Measure centroids near given positions: photutils' two-dimensional Gaussian.

    The fit has equal weights within 3 input pixels of the position.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Image without sky.
    x, y : array_like, shape (n,)
        Positions in input pixels.
    factor : int, optional
        Pixels of the image per input pixel and axis.

    Returns
    -------
    centroids : `~numpy.ndarray`, shape (2, n)
        x and y in input pixels; NaN where the fit failed, ran away, or looked over the
        border.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.positions import centroids
    >>> y, x = np.mgrid[:24, :24]
    >>> star = np.exp(-((x - 11.2) ** 2 + (y - 12.6) ** 2) / 4)
    >>> np.round(centroids(star, [11.0], [13.0]), 3)
    array([[11.2],
           [12.6]])
    """
    from photutils.centroids import centroid_2dg

    half, offset = _HALF * factor, (factor - 1) / 2
    result = np.full((2, len(x)), np.nan)
    for k, place in enumerate(fine_places(x, y, factor)):
        column, row = (round(float(p)) for p in place)
        cut = image[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        if cut.shape != (2 * half + 1, 2 * half + 1) or not np.ptp(cut) > 0:
            continue
        with quiet():
            found = centroid_2dg(np.asarray(cut, float))
        if np.hypot(*(found - half)) < half:
            result[:, k] = (np.array([column, row]) - half + found - offset) / factor
    return result


def centroid_limit(
    flux: Numbers,
    psf: tuple[float, ...],
    *,
    sigma: float,
    electrons: float = 0.0,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    r"""
    Smallest possible error of a star's centroid, per axis.

    The Cramer-Rao bound :math:`[\sum (\partial m / \partial x)^2 / v]^{-1/2}` of a
    star of known shape, with sky and photon noise.

    Parameters
    ----------
    flux : array_like, shape (n,)
        Flux of the stars.
    psf : tuple of float
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_profile`).
    sigma : float
        Sky noise per input pixel, in the unit of the flux.
    electrons : float, optional
        Electrons per unit of the flux; 0: no photon noise.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    limit : `~numpy.ndarray`, shape (n,)
        Input pixels.

    Examples
    --------
    >>> from splus_srgan.evaluation.positions import centroid_limit
    >>> round(float(centroid_limit(100.0, (1.4, 3.0), sigma=1.0)[0]), 3)
    0.091
    """
    step, small = 0.25, 1e-3  # of a pixel
    yy, xx = np.mgrid[-10 : 10 + step : step, -10 : 10 + step : step]
    before, model, after = (
        pixel_scale**2 * psf_profile(pixel_scale * np.hypot(yy, xx + move), *psf)
        for move in (-small, 0, small)
    )
    slope = (before - after) / (2 * small)
    noise = (sigma * area_noise(1.0)) ** 2
    photons = model / electrons if electrons else np.zeros_like(model)
    information = [
        np.sum((f * slope) ** 2 / (noise + f * photons)) * step**2 for f in np.atleast_1d(flux)
    ]
    return np.array(information) ** -0.5


def centroid_error(
    flux: Numbers,
    psf: tuple[float, ...],
    *,
    sigma: float,
    electrons: float = 0.0,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    r"""
    Error of a star's centroid as `centroids` measures it on the input, per axis.

    Noise :math:`n` moves the least-squares fit of a Gaussian with slope :math:`g` to a star
    with slope :math:`s` by :math:`\sum g n / \sum g s`.  The noise is that of the photons
    and of the sky, with the correlation between neighbours of a coadd.

    Parameters
    ----------
    flux, psf, sigma, electrons, pixel_scale
        As for `centroid_limit`.

    Returns
    -------
    error : `~numpy.ndarray`, shape (n,)
        Input pixels; never below `centroid_limit` for white noise.

    Examples
    --------
    >>> from splus_srgan.evaluation.positions import centroid_error
    >>> round(float(centroid_error(100.0, (1.4, 3.0), sigma=1.0)[0]), 2)
    0.12
    """
    star = star_image(psf, pixel_scale=pixel_scale)
    middle = star.shape[0] // 2
    width = fwhm(star, [middle], [middle], pixel_scale=pixel_scale)[0] / pixel_scale / 2.3548
    window = np.s_[middle - _HALF : middle + _HALF + 1, middle - _HALF : middle + _HALF + 1]
    yy, xx = np.mgrid[-_HALF : _HALF + 1, -_HALF : _HALF + 1]
    slope = xx / width**2 * np.exp(-(xx**2 + yy**2) / (2 * width**2))
    own_slope = -np.gradient(star, axis=1)[window]
    response = np.sum(slope * own_slope)
    sky = (sigma * weighted_noise(slope)) ** 2
    photons = np.sum(slope**2 * star[window]) / electrons if electrons else 0.0
    flux = np.atleast_1d(np.asarray(flux, float))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.sqrt(sky + np.maximum(flux, 0) * photons) / (flux * response)
