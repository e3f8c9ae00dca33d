# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Widths and shapes of sources.

Positions are in input pixels, 0-based; ``factor`` is how many times finer an image is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import optimize

from splus_srgan.evaluation.apertures import fine_places
from splus_srgan.pixels.psf import psf_profile
from splus_srgan.pixels.starfit import half_maximum_width
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.quiet import quiet

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray, Numbers

__all__ = ["fwhm", "moments", "round_psf", "star_image"]

_WEIGHT = 1.5  # arcsec, standard deviation of the weight of moments


def fwhm(
    image: FloatArray,
    x: Numbers,
    y: Numbers,
    *,
    factor: int = 1,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    """
    Measure the FWHM of a circular Gaussian fitted to each source, by photutils.

    On a Moffat star it is a little larger than the star's FWHM; compare it with the same
    fit to a model (`star_image`).

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Image without sky.
    x, y : array_like, shape (n,)
        Positions in input pixels.
    factor : int, optional
        Pixels of the image per input pixel and axis.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    fwhm : `~numpy.ndarray`, shape (n,)
        Arcsec.

    Examples
    --------
    >>> from splus_srgan.evaluation.shapes import fwhm, star_image
    >>> star = star_image((1.0, 3.0), factor=2)
    >>> round(float(fwhm(star, [10.0], [10.0], factor=2)[0]), 2)
    1.11
    """
    from photutils.psf import fit_fwhm

    if not len(x):
        return np.empty(0)
    side = 6 * factor + 1
    with quiet():
        fitted = fit_fwhm(
            np.asarray(image, float),
            xypos=fine_places(x, y, factor),
            fwhm=1.4 / pixel_scale * factor,
            fit_shape=(side, side),
        )
    return np.atleast_1d(np.asarray(fitted, float)) * pixel_scale / factor


def star_image(
    psf: tuple[float, ...],
    *,
    shape: tuple[int, int] = (21, 21),
    x: float | None = None,
    y: float | None = None,
    factor: int = 1,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    """
    Draw a star of unit flux.

    A PSF holds the pixel's own response, so the profile is sampled at pixel centers.

    Parameters
    ----------
    psf : tuple of float
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_profile`).
    shape : tuple of int, optional
        ``(ny, nx)`` in input pixels.
    x, y : float, optional
        Position in input pixels; by default the central pixel.
    factor : int, optional
        Pixels of the image per input pixel and axis.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Flux per pixel.

    Examples
    --------
    >>> from splus_srgan.evaluation.shapes import star_image
    >>> star = star_image((1.4, 3.0))
    >>> star.shape, round(float(star.sum()), 2)
    ((21, 21), 1.0)
    """
    x, y = (
        (size - 1) // 2 if place is None else place
        for size, place in zip(shape[::-1], (x, y), strict=True)
    )
    (column, row), scale = fine_places([x], [y], factor)[0], pixel_scale / factor
    yy, xx = np.indices([factor * size for size in shape])
    return scale**2 * psf_profile(scale * np.hypot(yy - row, xx - column), *psf)


def round_psf(psf: ArrayLike, *, pixel_scale: float) -> tuple[float, ...]:
    """
    Give the round PSF with wings that is nearest to a PSF image.

    Parameters
    ----------
    psf : array_like, shape (ny, nx)
        PSF centred on the central pixel.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    psf : tuple of float
        FWHM (arcsec), Moffat beta and share of the wings (`~splus_srgan.pixels.psf.psf_profile`).

    Examples
    --------
    >>> from splus_srgan.evaluation.shapes import round_psf
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image = psf_image((1.0, 3.0, 0.28), pixel_scale=0.275, radius=30)
    >>> [round(value, 3) for value in round_psf(image, pixel_scale=0.275)]
    [1.0, 3.0, 0.28]
    """
    psf = np.asarray(psf, float) / np.max(psf)
    y, x = (
        axis - (size - 1) / 2 for axis, size in zip(np.indices(psf.shape), psf.shape, strict=True)
    )
    r = pixel_scale * np.hypot(y, x)

    def residual(parameters: FloatArray) -> FloatArray:
        height, fwhm, beta, wings = parameters
        profile = psf_profile(r, fwhm, beta, wings)
        return (height * profile / profile.max() - psf).ravel()

    start = max(np.nan_to_num(half_maximum_width(psf, factor=1)), 1.0) * pixel_scale
    bounds = ([0.2, 0.1 * start, 1.05, 0], [5, 10 * start, 50, 0.95])
    found = optimize.least_squares(residual, [1, start, 3, 0.1], bounds=bounds, xtol=1e-12).x
    return tuple(float(value) for value in found[1:])


def moments(
    image: FloatArray,
    x: Numbers,
    y: Numbers,
    *,
    factor: int = 1,
    weight: float = _WEIGHT,
    pixel_scale: float = PIXEL_SCALE,
) -> dict[str, FloatArray]:
    r"""
    Measure sizes and ellipticities from moments under a fixed Gaussian weight.

    .. math:: Q_{ij} = \frac{\sum W I \, d_i d_j}{\sum W I}, \quad
              s = \sqrt{\tfrac{1}{2} (Q_{xx} + Q_{yy})}, \quad
              e_1 = \frac{Q_{xx} - Q_{yy}}{Q_{xx} + Q_{yy}}, \quad
              e_2 = \frac{2 Q_{xy}}{Q_{xx} + Q_{yy}}

    The weight keeps noise and neighbors out; it makes sources look smaller and rounder
    than they are, by as much in both of two images that are compared.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Image without sky.
    x, y : array_like, shape (n,)
        Positions in input pixels.
    factor : int, optional
        Pixels of the image per input pixel and axis.
    weight : float, optional
        Standard deviation of the weight, arcsec.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    moments : dict of str to `~numpy.ndarray`, shape (n,)
        ``size`` (arcsec), ``e1`` and ``e2``; NaN where there is no flux, or the weight
        reaches over the border.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.shapes import moments
    >>> y, x = np.mgrid[:60, :60]
    >>> round_one = np.exp(-((x - 30) ** 2 + (y - 30) ** 2) / 8)  # sigma 2 pixels, 1.1 arcsec
    >>> found = moments(round_one, [30], [30], weight=1.1)  # with the weight: 1.1 / sqrt(2)
    >>> round(float(found["size"][0]), 3), abs(round(float(found["e1"][0]), 3))
    (0.778, 0.0)
    """
    image, scale = np.asarray(image, float), pixel_scale / factor
    half = int(np.ceil(4 * weight / scale))
    result = {name: np.full(len(x), np.nan) for name in ("size", "e1", "e2")}
    yy, xx = np.mgrid[-half : half + 1, -half : half + 1]
    for k, (px, py) in enumerate(fine_places(x, y, factor)):
        column, row = round(float(px)), round(float(py))
        cut = image[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        if cut.shape != yy.shape:
            continue
        dx, dy = (xx + column - px) * scale, (yy + row - py) * scale
        weighted = cut * np.exp(-(dx**2 + dy**2) / (2 * weight**2))
        values = _moments_of(weighted, dx, dy)
        for name, value in zip(result, values, strict=True):
            result[name][k] = value
    return result


def _moments_of(weighted: FloatArray, dx: FloatArray, dy: FloatArray) -> tuple[float, float, float]:
    """Size, e1 and e2 of one source."""
    total = weighted.sum()
    if not total > 0:
        return np.nan, np.nan, np.nan
    mx, my = np.sum(weighted * dx) / total, np.sum(weighted * dy) / total
    qxx, qyy, qxy = (
        np.sum(weighted * a * b) / total
        for a, b in ((dx - mx, dx - mx), (dy - my, dy - my), (dx - mx, dy - my))
    )
    trace = qxx + qyy
    if not trace > 0:
        return np.nan, np.nan, np.nan
    return np.sqrt(trace / 2), (qxx - qyy) / trace, 2 * qxy / trace
