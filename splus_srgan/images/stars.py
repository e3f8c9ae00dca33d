# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The PSF of an image, measured on its own stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData

from splus_srgan.images.grid import pixel_scale as wcs_pixel_scale
from splus_srgan.images.header import saturation_level
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.psf import core_profile
from splus_srgan.pixels.robust import robust_std
from splus_srgan.pixels.sample import gather_windows
from splus_srgan.pixels.star_model import StarModel
from splus_srgan.pixels.star_psf import MIN_STARS, expected_width, find_stars, fit_star_psf
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["MeasuredPSF", "measure_psf", "measure_psf_array", "star_model", "width_ratio"]

_QUICK = 10  # stars that tell whether a known PSF is right
_ENOUGH = 4  # stars that tell a PSF better than a header
_CERTAIN = 6  # compact sources of one width, of which some would not be alike were they galaxies
_LEAST_BETA = 2.05  # of a few stars; 95 % of the tiles of S-PLUS have 2.2 or more in each band
_MOST_MISFIT = 3.0  # of a few stars; real PSFs are no Moffat profiles
_MOST_WINGS = 0.7
_ALIKE = 0.06  # relative width, by which other stars may differ from that of a header


@dataclass(frozen=True)
class MeasuredPSF:
    """
    PSF of an image by its stars; all values are NaN where these are too few.

    Attributes
    ----------
    fwhm, fwhm_error : float
        FWHM in arcsec of the one Moffat profile that would be fitted to core and wings
        together, as headers state it (geometric mean of both axes), and its standard error.
    beta, beta_error : float
        Moffat beta of that profile.
    wings, wings_error : float
        Share of the light in the wings (`~splus_srgan.pixels.psf.wing_transfer`).
    ellipticity, ellipticity_error : float
        Ellipticity of the core, ``1 - b/a``.
    position_angle : float
        Position angle of the major axis, in radians from x to y.
    n_stars : int
        Stars that were fitted; below 3, stars that were found.

    Examples
    --------
    >>> from splus_srgan.images.stars import MeasuredPSF
    >>> print(MeasuredPSF(n_stars=2))
    too few stars: 2, of at least 3
    """

    fwhm: float = np.nan
    fwhm_error: float = np.nan
    beta: float = np.nan
    beta_error: float = np.nan
    wings: float = np.nan
    wings_error: float = np.nan
    ellipticity: float = np.nan
    ellipticity_error: float = np.nan
    position_angle: float = np.nan
    n_stars: int = 0

    @property
    def measured(self) -> bool:
        """Whether there were stars enough."""
        return bool(np.isfinite(self.fwhm))

    @property
    def core(self) -> tuple[float, float, float]:
        """The same as `~splus_srgan.pixels.psf.psf_profile` takes it: core, and share of wings."""
        return (*core_profile(self.fwhm, self.beta, self.wings), self.wings)

    def __str__(self) -> str:
        if not self.measured:
            return f"too few stars: {self.n_stars}, of at least {MIN_STARS}"
        pairs = ("FWHM", "fwhm"), ("beta", "beta"), ("wings", "wings"), ("ellipticity",) * 2
        values = (
            f"{word} {getattr(self, name):.3f} +- {getattr(self, name + '_error'):.3f}"
            + (" arcsec" if name == "fwhm" else "")
            for word, name in pairs
        )
        return f"{', '.join(values)} ({self.n_stars} stars)"


@numpy_defaults
def measure_psf(
    image: NDData,
    *,
    sky: float | None = None,
    sigma: float | None = None,
    pixel_scale: float | None = None,
) -> MeasuredPSF:
    r"""
    Measure the PSF of an image on its own stars.

    Stars are found by `~photutils.detection.DAOStarFinder` and told from galaxies by their
    width, which is that of most compact sources.  A Moffat core, elliptical, with wings beside
    it is fitted to all of them at once, robustly.  Fewer than six of them are no answer if that
    profile is one of galaxies: of a beta below 2.05, or not the same for all.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`, shape (ny, nx)
        Such as a `~astropy.nddata.CCDData`, in any linear unit.  Masked pixels are left out, and
        stars above 0.6 of the card SATURATE.  Of more than 2 million pixels, eight windows are
        looked at.
    sky, sigma : float, optional
        Sky and its noise per pixel, in the unit of the image; measured where not given.
    pixel_scale : float, optional
        Arcsec per pixel; from the WCS where not given.

    Returns
    -------
    psf : `MeasuredPSF`
        Without values (``psf.measured`` is `False`) where there are fewer than 3 stars.

    Raises
    ------
    TypeError
        If the image is no NDData.
    ValueError
        If it is not two-dimensional, or its pixel scale is not known.

    Notes
    -----
    With :math:`P` the profile and :math:`d` the pixels of star :math:`k`, what is minimised over
    FWHM, beta, share of the wings and ellipticity is

    .. math:: \sum_k \min_{F, a, b, s} \sum_i \rho\left(
              \frac{d_{ki} - F P_i - a P_{x,i} - b P_{y,i} - s}{\epsilon_{ki}}\right), \qquad
              \epsilon^2 = \sigma^2 + (0.03\, d)^2

    within 16 pixels, with a loss :math:`\rho` that is linear beyond 3.  The share of the wings
    has a Gaussian prior of 0.28 +- 0.15, the beta of the core one of 3.9 within a factor of 1.5:
    faint stars say little about them.  Errors hold the scatter between the stars.

    On simulated fields (``benchmarks/psf_measurement.py``) the FWHM is right to 1 %, and the
    share of the wings to 0.05 (in 19 of 20), where there are ten stars.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.images import measure_psf
    >>> field = simulate_field(3, shape=(160, 160), bands="r", kind="stars")
    >>> psf = measure_psf(field.observed["r"])
    >>> abs(psf.fwhm / field.conditions["r"].fwhm - 1) < 0.03, psf.n_stars > 5
    (True, True)
    """
    if not isinstance(image, NDData):
        raise TypeError(
            "image must be an NDData or CCDData, which carries mask and WCS; got "
            f"{type(image).__name__}; wrap it: CCDData(array, unit='adu', wcs=wcs)"
        )
    data = np.asarray(image.data)
    if data.ndim != 2:
        raise ValueError(f"image must have shape (ny, nx), one band; got {data.shape}")
    mask = np.zeros(data.shape, bool) if image.mask is None else np.asarray(image.mask, bool)
    mask = np.broadcast_to(mask, data.shape)
    if pixel_scale is None:
        pixel_scale = wcs_pixel_scale(image.wcs, default=np.nan)
        if not np.isfinite(pixel_scale):
            raise ValueError(
                "image must have a celestial WCS, or pixel_scale= be given; got neither"
            )
    if sky is None or sigma is None:
        background = measure_background(data, mask=mask)
        sky = background.sky[0] if sky is None else sky
        sigma = background.sigma[0] if sigma is None else sigma
    level = saturation_level(image.meta, image.unit)
    return measure_psf_array(data, mask, sky, sigma, pixel_scale=pixel_scale, saturation=level)


def measure_psf_array(
    data: FloatArray,
    mask: BoolArray,
    sky: float,
    sigma: float,
    *,
    pixel_scale: float,
    saturation: float = np.inf,
) -> MeasuredPSF:
    """
    Measure the PSF of one band; what `measure_psf` and the enhancer do.

    Parameters
    ----------
    data, mask : `~numpy.ndarray`, shape (ny, nx)
        Pixels, and where they are missing.
    sky, sigma : float
        In the unit of the data.
    pixel_scale : float
        Arcsec per pixel.
    saturation : float, optional
        Level in the data at which pixels saturate.

    Returns
    -------
    psf : `MeasuredPSF`
        Of the band.
    """
    check_positive("sigma", float(sigma))
    pixel_scale = check_positive("pixel_scale", pixel_scale)
    sample, missing = _sampled(data, mask, sky)
    stars = find_stars(sample, sigma, mask=missing, saturation=saturation - sky)
    if len(stars) < MIN_STARS:
        return MeasuredPSF(n_stars=len(stars))
    found = fit_star_psf(sample, sigma, stars, pixel_scale=pixel_scale, mask=missing)
    return (
        MeasuredPSF(n_stars=MIN_STARS - 1) if _no_stars(found) else _as_headers(found, pixel_scale)
    )


def _no_stars(found: Any) -> bool:
    """Whether few compact sources have no common profile, or one of galaxies: of low beta."""
    if found is None or found.n_stars >= _CERTAIN:
        return found is None
    return _as_headers(found, 1.0).beta < _LEAST_BETA or found.misfit > _MOST_MISFIT


def star_model(
    data: FloatArray,
    mask: BoolArray,
    sky: float,
    sigma: float,
    psf: Sequence[float],
    *,
    pixel_scale: float,
    saturation: float = np.inf,
) -> StarModel:
    """
    Profile of the stars of a band, elliptical and lopsided as they are.

    Parameters
    ----------
    data, mask, sky, sigma, pixel_scale, saturation
        As for `measure_psf_array`.
    psf : tuple of float
        FWHM (arcsec) and beta of the core, and share of the wings.  Where there are fewer than
        four stars, they are taken as they are, and those stars say only how lopsided it is.

    Returns
    -------
    model : `~splus_srgan.pixels.star_model.StarModel`
        In pixels.
    """
    sample, missing = _sampled(data, mask, sky)
    given = {"pixel_scale": pixel_scale, "mask": missing}
    stars = find_stars(sample, sigma, mask=missing, saturation=saturation - sky)
    found = None
    if len(stars) >= _ENOUGH:
        # Wings reach too far for stars to tell more of them.
        found = fit_star_psf(sample, sigma, stars, **given, wings=min(psf[2], _MOST_WINGS))
    if found is None or _no_stars(found) or found.n_stars < _ENOUGH:
        width = expected_width(psf, pixel_scale=pixel_scale)
        alike = stars[np.abs(np.log(stars[:, 3] / width)) < _ALIKE]
        found = fit_star_psf(sample, sigma, alike, **given, core=psf) if len(alike) else None
    if found is None:
        return StarModel.of_psf(psf, pixel_scale=pixel_scale)
    return StarModel.of_fit(found, pixel_scale=pixel_scale)


def width_ratio(
    data: FloatArray,
    mask: BoolArray,
    sky: float,
    sigma: float,
    psf: Sequence[float],
    *,
    pixel_scale: float,
    saturation: float = np.inf,
) -> tuple[float, float]:
    """
    Compare a known PSF with the widths of the brightest stars; quicker than a measurement.

    Parameters
    ----------
    data, mask, sky, sigma, pixel_scale, saturation
        As for `measure_psf_array`.
    psf : tuple of float
        FWHM (arcsec) and beta of the core, and share of the wings.

    Returns
    -------
    ratio, error : float
        Width of the stars over that of the PSF, and its standard error; NaN below 3 stars.
    """
    sample, missing = _sampled(data, mask, sky)
    stars = find_stars(
        sample,
        sigma,
        mask=missing,
        saturation=saturation - sky,
        fwhm=psf[0] / pixel_scale,
        most=_QUICK,
    )
    if len(stars) < MIN_STARS:
        return np.nan, np.nan
    ratios = stars[:, 3] / expected_width(psf, pixel_scale=pixel_scale)
    spread = max(robust_std(ratios), 0.01)
    return float(np.median(ratios)), float(1.25 * spread / np.sqrt(len(ratios) - 1))


def _sampled(data: FloatArray, mask: BoolArray, sky: float) -> tuple[FloatArray, BoolArray]:
    """Pixels of a band that are looked at, without sky, and where they are missing."""
    sample, missing = gather_windows(data, mask)
    return np.asarray(sample, float) - float(sky), missing


def _as_headers(found: Any, pixel_scale: float) -> MeasuredPSF:
    """Bring the core that was fitted to the one profile that headers state, errors with it."""
    width, beta, wings, e1, e2 = found.core[:5]
    covariance = found.covariance[:5, :5]
    smaller, larger = core_profile(1.0, 1.0, wings)
    narrow, steep = 1 - core_profile(1.0, 1.0, 1.0)[0], core_profile(1.0, 1.0, 1.0)[1] - 1
    ellipticity = float(np.hypot(e1, e2))
    direction = np.array([e1, e2]) / ellipticity if ellipticity else np.array([1.0, 0.0])
    slopes = {
        "fwhm": pixel_scale * np.array([1 / smaller, 0, width * narrow / smaller**2, 0, 0]),
        "beta": np.array([0, 1 / larger, -beta * steep / larger**2, 0, 0]),
        "wings": np.array([0, 0, 1.0, 0, 0]),
        "ellipticity": np.array([0, 0, 0, *direction]),
    }
    errors = {f"{name}_error": float(np.sqrt(s @ covariance @ s)) for name, s in slopes.items()}
    return MeasuredPSF(
        fwhm=pixel_scale * width / smaller,
        beta=beta / larger,
        wings=wings,
        ellipticity=ellipticity,
        position_angle=float(np.arctan2(e2, e1) / 2),
        n_stars=found.n_stars,
        **errors,
    )
