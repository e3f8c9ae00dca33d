# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Profiles of stars: their width, what a PSF leaves of them, their encircled energy.

Positions are 0-based pixels of the image itself, and a PSF is the one that the pixels
sample: their own response is part of it, as in the seeing that surveys state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from splus_srgan.pixels import starfit
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = ["encircled_energy", "fit_stars", "psf_residual"]


def fit_stars(
    image: ArrayLike, x: ArrayLike, y: ArrayLike, *, fwhm: float, mask: ArrayLike | None = None
) -> QTable:
    r"""
    Fit a circular Moffat profile on a constant sky to each star, for its effective FWHM.

    All pixels within two ``fwhm`` have equal weight.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions, right to about a pixel.
    fwhm : float
        FWHM to start from, pixels.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``flux`` (in the unit of the image), ``fwhm`` (pixels), ``beta`` and
        ``sky``, a row for each star; NaN where a star lies at the border, is largely
        masked, or the fit failed.

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``fwhm`` is not above 0.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.starprofile import fit_stars
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image = 1000 * psf_image((3.6, 3.0), pixel_scale=1.0, radius=20)
    >>> star = fit_stars(image, [20.4], [19.7], fwhm=3.0)
    >>> [round(float(star[name][0]), 2) for name in ("x", "y", "fwhm", "beta")]
    [20.0, 20.0, 3.6, 3.0]
    """
    image, mask, places = starfit.prepared(image, x, y, mask)
    half = starfit.half_width(check_positive("fwhm", fwhm))
    rows = np.full((len(places), 6), np.nan)
    for row, place in zip(rows, places, strict=True):
        cut = starfit.cutout(image, mask, place, half)
        if cut is not None:
            row[:] = starfit.fit_moffat(cut, fwhm)
    return QTable(rows, names=("x", "y", "flux", "fwhm", "beta", "sky"))


def psf_residual(
    image: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    psf: ArrayLike,
    *,
    radius: float,
    mask: ArrayLike | None = None,
) -> QTable:
    r"""
    Compare stars with a PSF: what is left when it is fitted to them.

    Flux, position and sky are free, the shape is not.  The residual is
    :math:`\sum |I - M| / \sum M` within the radius, with the fitted model :math:`M`.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions, right to about a pixel.
    psf : array_like, shape (m, m)
        PSF on the same pixels, centred on the central one; `~astropy.nddata.CCDData.psf`
        of an enhanced image.
    radius : float
        Pixels, above 0.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``flux``, ``residual`` and ``core`` (what is left at the brightest pixel
        of the model, in units of that: positive where the star is sharper than the PSF);
        NaN where a star could not be fitted.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``psf`` is no square image of odd side with a positive sum.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.starprofile import psf_residual
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image, other = (psf_image((f, 3.0), pixel_scale=1.0, radius=20) for f in (3.6, 4.0))
    >>> star = psf_residual(1000 * image, [20.0], [20.0], other, radius=6)
    >>> bool(star["residual"][0] > 0.05), bool(star["core"][0] > 0.05)
    (True, True)
    """
    image, mask, places = starfit.prepared(image, x, y, mask)
    model = starfit.ImageProfile(psf)
    half = int(np.ceil(check_positive("radius", radius)))
    rows = np.full((len(places), 5), np.nan)
    for row, place in zip(rows, places, strict=True):
        cut = starfit.cutout(image, mask, place, half, radius)
        if cut is not None:
            row[:] = starfit.fit_profile(cut, model)
    return QTable(rows, names=("x", "y", "flux", "residual", "core"))


def encircled_energy(
    image: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    radii: ArrayLike,
    annulus: tuple[float, float],
    mask: ArrayLike | None = None,
) -> FloatArray:
    """
    Share of each star's flux within radii, of that within the largest (curve of growth).

    Sums in apertures with exact overlap (photutils), less the mean in an annulus.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions.
    radii : array_like, shape (m,)
        Rising radii in pixels, above 0; the last one stands for the whole.
    annulus : tuple of float
        Inner and outer radius (pixels) of where the sky is taken from.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out of the annulus; a star with a masked pixel within the largest
        radius is not measured.

    Returns
    -------
    energy : `~numpy.ndarray`, shape (n, m)
        Rows that could not be measured are NaN.

    Raises
    ------
    ValueError
        If shapes do not fit, or radii do not rise.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.starprofile import encircled_energy
    >>> from splus_srgan.pixels.psf import psf_image
    >>> psf = psf_image((3.6, 4.0), pixel_scale=1.0, radius=40)
    >>> energy = encircled_energy(psf, [40], [40], radii=[3.6, 12, 24], annulus=(30, 38))
    >>> energy.round(2)
    array([[0.81, 1.  , 1.  ]])
    """
    from photutils.aperture import CircularAnnulus, CircularAperture

    radii = np.asarray(radii, float)
    if radii.ndim != 1 or not radii.size or radii[0] <= 0 or np.any(np.diff(radii) <= 0):
        raise ValueError(f"radii must rise, from above 0; got {radii.tolist()!r}")
    image, mask, places = starfit.prepared(image, x, y, mask)
    if not len(places):
        return np.empty((0, radii.size))
    ring = CircularAnnulus(places, *annulus)
    area = ring.do_photometry((~mask).astype(float))[0]
    plain = np.where(mask, 0, image)
    with np.errstate(invalid="ignore", divide="ignore"):
        sky = ring.do_photometry(plain)[0] / area
        sums = [CircularAperture(places, r).do_photometry(plain)[0] for r in radii]
        growth = np.transpose(sums) - sky[:, None] * np.pi * radii**2
        energy = growth / growth[:, -1:]
    energy[starfit.touched(mask, places, radii[-1]) | ~(growth[:, -1] > 0)] = np.nan
    return energy
