# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cutouts around stars, and the fits of profiles to them."""

import numpy as np
from scipy import ndimage, optimize

from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import moffat_alpha, moffat_profile

__all__ = [
    "ImageProfile",
    "cutout",
    "fit_moffat",
    "fit_profile",
    "half_maximum_width",
    "half_width",
    "prepared",
    "touched",
]

_HALF = 2.0  # FWHM to each side that a fit looks at
_MIN_HALF = 4  # pixels
_BETA = (1.2, 100.0)  # of a fit: beyond, a Moffat profile is Gaussian


def prepared(image, x, y, mask):
    """Image, mask of what cannot be used, and positions (n, 2)."""
    image = np.asarray(image, float)
    if image.ndim != 2:
        raise ValueError(f"image must have shape (ny, nx); got {image.shape}")
    if mask is not None and np.shape(mask) != image.shape:
        raise ValueError(f"mask must have the shape of image, {image.shape}; got {np.shape(mask)}")
    missing = missing_pixels(image, mask)
    x, y = (np.atleast_1d(np.asarray(getattr(v, "value", v), float)) for v in (x, y))
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError(f"x and y must be lists of one length; got {x.shape} and {y.shape}")
    return image, missing, np.transpose([x, y]).reshape(-1, 2)


def half_maximum_width(stamp, *, factor=8):
    """
    Measure the FWHM of a PSF from the area above half its peak.

    Parameters
    ----------
    stamp : array_like, shape (ny, nx)
        One source without sky, at or near its brightest pixel alone.
    factor : int, optional
        How many times finer than the pixels the area is looked at.

    Returns
    -------
    fwhm : float
        Diameter (pixels) of the circle of the same area; NaN where the area touches
        the border or there is no peak.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import psf_image
    >>> from splus_srgan.pixels.starfit import half_maximum_width
    >>> round(half_maximum_width(psf_image((3.6, 3.0), pixel_scale=1.0, radius=12)), 1)
    3.6
    """
    stamp = np.asarray(stamp, dtype=float)
    if not np.all(np.isfinite(stamp)) or stamp.max() <= 0:
        return np.nan
    fine = stamp
    if factor > 1:
        fine = ndimage.zoom(stamp, factor, order=3, mode="nearest", grid_mode=True)
    regions, _ = ndimage.label(fine > fine.max() / 2)
    peak = regions == regions[np.unravel_index(fine.argmax(), fine.shape)]
    if peak[0].any() or peak[-1].any() or peak[:, 0].any() or peak[:, -1].any():
        return np.nan
    return float(2 * np.sqrt(peak.sum() / np.pi) / factor)


def half_width(fwhm):
    """Pixels to each side that a fit looks at."""
    return max(_MIN_HALF, int(np.ceil(_HALF * fwhm)))


def touched(mask, places, radius):
    """Whether an aperture has a masked pixel, or reaches over the border."""
    from photutils.aperture import CircularAperture

    bad = CircularAperture(places, radius).do_photometry(mask.astype(float))[0] > 0
    size = np.array(mask.shape[::-1])
    return bad | (places < radius - 0.5).any(axis=1) | (places > size - 0.5 - radius).any(axis=1)


class _Cutout:
    """Pixels around a star: values, offsets from its central pixel, and where that is."""

    def __init__(self, values, dy, dx, origin):
        self.values, self.dy, self.dx, self.origin = values, dy, dx, origin


def cutout(image, mask, place, half, radius=None):
    """Valid pixels around a position; `None` at the border or where most are masked."""
    if not np.isfinite(place).all():
        return None
    column, row = (round(float(p)) for p in place)
    if not (half <= column < image.shape[1] - half and half <= row < image.shape[0] - half):
        return None
    cut = np.s_[row - half : row + half + 1, column - half : column + half + 1]
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    inside = np.ones(dy.shape, bool) if radius is None else dy**2 + dx**2 <= radius**2
    used = inside & ~mask[cut]
    central = abs(dy) + abs(dx) <= 1
    if used.sum() < 0.8 * inside.sum() or not used[central].all():
        return None
    return _Cutout(image[cut][used], dy[used].astype(float), dx[used].astype(float), (column, row))


def _linear_fit(shape, values):
    """Flux and sky with which a profile comes closest, and the residual."""
    design = np.stack([shape, np.ones_like(shape)], axis=1)
    solution = np.linalg.lstsq(design, values, rcond=None)[0]
    return solution, values - design @ solution


def _solve(residual, start, low, high):
    """Least squares over the few parameters that are not linear; `None` if it fails."""
    try:
        found = optimize.least_squares(residual, start, bounds=(low, high), x_scale=0.1)
    except (ValueError, np.linalg.LinAlgError):
        return None
    at_border = np.isclose(found.x, low, atol=1e-3) | np.isclose(found.x, high, atol=1e-3)
    return found.x, at_border


def _moffat_shape(cut, dy, dx, fwhm, beta):
    """Moffat profile of unit flux at the pixels of a cutout."""
    alpha = moffat_alpha(fwhm, beta)
    r2 = (cut.dy - dy) ** 2 + (cut.dx - dx) ** 2
    return moffat_profile(r2 / alpha**2, beta) / alpha**2


def fit_moffat(cut, fwhm):
    """x, y, flux, FWHM, beta and sky of a star; NaN where it is none."""
    scale = np.ptp(cut.values) or 1.0
    values = cut.values / scale

    def residual(p):
        return _linear_fit(_moffat_shape(cut, p[0], p[1], *np.exp(p[2:])), values)[1]

    start = np.array([0, 0, np.log(fwhm), np.log(3.0)])
    low = np.array([-2, -2, np.log(fwhm / 3), np.log(_BETA[0])])
    high = np.array([2, 2, np.log(fwhm * 3), np.log(_BETA[1])])
    solved = _solve(residual, start, low, high)
    if solved is None or solved[1][:3].any():
        return np.nan
    dy, dx, width, beta = solved[0]
    (flux, sky), _ = _linear_fit(_moffat_shape(cut, dy, dx, *np.exp(solved[0][2:])), values)
    if flux <= 0:
        return np.nan
    x, y = cut.origin[0] + dx, cut.origin[1] + dy
    return x, y, scale * flux, np.exp(width), np.exp(beta), scale * sky


class ImageProfile:
    """A PSF image, at any offset from its centre by splines."""

    def __init__(self, psf):
        psf = np.asarray(psf, float)
        if psf.ndim != 2 or psf.shape[0] != psf.shape[1] or psf.shape[0] % 2 == 0:
            raise ValueError(f"psf must be a square image of odd side; got shape {psf.shape}")
        if not (np.isfinite(psf).all() and psf.sum() > 0):
            raise ValueError("psf must be finite, with a sum above 0; got another one")
        self.centre = psf.shape[0] // 2
        self.spline = ndimage.spline_filter(psf / psf.sum(), order=5)

    def __call__(self, cut, dy, dx):
        """Values at the pixels of a cutout, for a star moved by ``dy`` and ``dx``."""
        places = np.stack([cut.dy - dy, cut.dx - dx]) + self.centre
        return ndimage.map_coordinates(self.spline, places, order=5, prefilter=False)


def fit_profile(cut, model):
    """x, y, flux, residual and core of a star."""
    scale = np.ptp(cut.values) or 1.0
    values = cut.values / scale
    solved = _solve(
        lambda p: _linear_fit(model(cut, *p), values)[1],
        np.zeros(2),
        np.full(2, -2.0),
        np.full(2, 2.0),
    )
    if solved is None or solved[1].any():
        return np.nan
    dy, dx = solved[0]
    shape = model(cut, dy, dx)
    (flux, _), left = _linear_fit(shape, values)
    if flux <= 0:
        return np.nan
    residual = np.sum(np.abs(left)) / (flux * np.sum(shape))
    brightest = np.argmax(shape)
    core = left[brightest] / (flux * shape[brightest])
    return cut.origin[0] + dx, cut.origin[1] + dy, scale * flux, residual, core
