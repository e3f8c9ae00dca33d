# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Artefacts of sources in an output: rings and false colors."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy import ndimage

from splus_srgan.evaluation.measure.artefacts_sky import smoothed
from splus_srgan.evaluation.measure.consistency import residuals
from splus_srgan.evaluation.measure.psf_errors import FWHM_OF_SIGMA, psf_errors
from splus_srgan.pixels.coadd_noise import smoothed_noise

if TYPE_CHECKING:
    from collections.abc import Mapping

    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.utils.types import FloatArray, Numbers

__all__ = ["color_residual", "ringing"]

_MAG = 2.5 / math.log(10)  # magnitudes per relative change
# What a PSF may be wrong by: its width, ellipticity, and coma as
# `splus_srgan.pixels.psf.coma_transfer` has it.
_WIDTH, _ELLIPTICITY, _COMA = 0.05, 0.1, 0.05
_RADIUS = 20  # output pixels around a star
_BRIGHTEST = 20.0  # sky units, smoothed, in every band of a bright region
_SMOOTH = 1.5  # input pixels, sigma


def ringing(image: FloatArray, x: Numbers, y: Numbers) -> QTable:
    r"""
    Rings around stars: how much brighter than further in it gets further out.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    x, y : array_like, shape (n,)
        Centers of the stars, 0-based output pixels.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``peak`` (sky units), ``ring`` (fraction of the peak) and ``radius``
        (of the deepest point inside the ring).

    Notes
    -----
    The median :math:`p(r)` of annuli of one pixel, which a neighbor moves little, falls outwards
    around a star.  :math:`\mathrm{ring} = \max_{r_2 > r_1} (p(r_2) - p(r_1)) / p(0)`: dark and
    bright rings alike, and no profile is assumed.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sources import ringing
    >>> yy, xx = np.mgrid[:65, :65] - 32
    >>> star = 500 * (1 + (xx**2 + yy**2) / 9.0) ** -3
    >>> bool(ringing(star, [32], [32])["ring"][0] < 1e-6)
    True
    """
    from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture

    places = np.transpose(np.atleast_1d([x, y]).astype(float)).reshape(-1, 2)
    if not len(places):
        names, types = ("x", "y", "peak", "ring", "radius"), (float,) * 5
        return QTable(names=names, dtype=types)
    values = np.where(np.isfinite(image), image, 0.0)
    edges = np.arange(1.0, _RADIUS + 0.5)
    shapes = [CircularAperture(places, 1.0)]
    shapes += [CircularAnnulus(places, r, r + 1.0) for r in edges]
    profile = np.array(
        [np.atleast_1d(ApertureStats(values, s, mask=~np.isfinite(image)).median) for s in shapes]
    ).T
    deepest = np.minimum.accumulate(profile, axis=1)
    rise = profile - deepest
    worst = np.argmax(rise, axis=1)
    inside = [int(np.argmin(p[: k + 1])) for p, k in zip(profile, worst, strict=True)]
    radii = np.r_[0, edges + 0.5]
    # The peak of 4 pixels' mean: what a pixel's noise does to it is small.
    peak = profile[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        ring = rise[np.arange(len(rise)), worst] / peak
    columns = [places[:, 0] * u.pix, places[:, 1] * u.pix, peak, ring, radii[inside] * u.pix]
    return QTable(columns, names=("x", "y", "peak", "ring", "radius"))


def color_residual(
    bands: Mapping[str, ComparedBand],
) -> dict[tuple[str, str], tuple[FloatArray, FloatArray]]:
    r"""
    Change of color in bright regions, as the input's telescope would see it.

    Parameters
    ----------
    bands : mapping of str to `~splus_srgan.evaluation.compared.ComparedBand`
        Bands of a `~splus_srgan.evaluation.compared.ComparedField`.

    Returns
    -------
    colors : dict of tuple of str to tuple of `~numpy.ndarray`, shape (ny, nx)
        Pair of neighboring bands to the change of their color and its error, in
        magnitudes; NaN outside bright regions.  Empty for a single band.

    Notes
    -----
    :math:`\Delta = -2.5 \log_{10} (G[o_1] / G[i_1] \cdot G[i_2] / G[o_2])` with the input
    :math:`i` and the output :math:`o` at the PSF and on the pixels of the input, band by
    band, so that bands of different seeing have no false colors.  What a PSF that is 5 % wider
    or narrower would explain,
    :math:`0.05 \, \sigma_\mathrm{PSF}^2 \, |\nabla^2 G[o]| / G[o]` of each band, is taken off,
    and so is what an elliptical one (0.1) and a lopsided one (0.05) would.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sources import color_residual
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> image, output = np.full((64, 64), 40.0), np.full((128, 128), 10.0)
    >>> bands = {"g": ComparedBand("g", image, 1.1 * output, 1.0)}
    >>> bands["r"] = ComparedBand("r", image, output, 1.0)
    >>> change, error = color_residual(bands)["g", "r"]
    >>> round(float(change[32, 32]), 3)
    -0.103
    """
    ratios, errors, shapes, bright = {}, {}, {}, True
    for name, band in bands.items():
        residual, noise, model = residuals(band)
        good = np.isfinite(residual)
        before = smoothed(residual + model, good, _SMOOTH)
        after = smoothed(model, good, _SMOOTH)
        bright = bright & good & (before > _BRIGHTEST * band.sigma)
        least = 0.1 * _BRIGHTEST * band.sigma
        ratios[name] = 2.5 * np.log10(np.maximum(after, least) / np.maximum(before, least))
        blurred = smoothed_noise(_SMOOTH) * smoothed(noise, good, _SMOOTH)
        errors[name] = _MAG * blurred / np.maximum(before, least)
        width = 0.0 if band.psf is None else band.psf[0] / band.pixel_scale / FWHM_OF_SIGMA
        shapes[name] = _MAG * _wrong(after, width) / np.maximum(after, least)
    result = {}
    for one, two in pairwise(bands):
        change = ratios[two] - ratios[one]
        less = np.maximum(np.abs(change) - np.hypot(shapes[one], shapes[two]), 0)
        error = np.hypot(errors[one], errors[two])
        planes = (np.copysign(less, change), error)
        change, error = (np.where(bright, plane, np.nan) for plane in planes)
        result[one, two] = change, error
    return result


def _wrong(image: FloatArray, width: float) -> FloatArray:
    """What an image is wrong by where its PSF, of this width in pixels, is."""
    errors = psf_errors(image, width, ellipticity=_ELLIPTICITY, coma=_COMA)
    wider = _WIDTH * width**2 * ndimage.laplace(image)
    return np.sqrt(sum(error**2 for error in (wider, *errors)))
