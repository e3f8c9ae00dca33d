# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Measurements on the two sides of a pair: seeing, depth, sources that differ, trails.

Everything takes arrays on one grid; missing pixels are `True` in a mask.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.coadd_noise import area_noise, smoothed_noise
from splus_srgan.pixels.robust import robust_std
from splus_srgan.pixels.starfit import half_maximum_width

__all__ = [
    "APERTURE",
    "blur_sharper",
    "SourceComparison",
    "compare_sources",
    "limiting_flux",
    "longest_trail",
    "sky_noise",
    "star_width",
]

APERTURE = 3.0  # arcsec, diameter of the aperture of the depth

_TO_FWHM = 2 * math.sqrt(2 * math.log(2))
_LEAST_APERTURES = 12
_DEPTH_SIGMA = 5  # significance of the limiting flux
_STAR_SNR, _STARS = 40, 15  # least peak in sigma, and number of sources for the seeing
_SOURCE_SIGMA = 8  # significance of a source, and of a difference
_FRACTION = 0.5  # of the larger flux: PSFs match only roughly
_TRAIL_SIGMA = 2.5  # of a pixel of the smoothed difference
_TOLERANCE = 0.3  # of the flux of the sources
_TRAIL_CONTRAST = 10  # pixels to either side of a line beyond which a trail has ended


def sky_noise(data, mask):
    """
    Measure sky level and noise per pixel.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.

    Returns
    -------
    sky, sigma : float
        In the unit of the image; sigma is NaN where it cannot be measured.
    """
    try:
        measured = measure_background(data, mask=mask)
    except ValueError:  # too few pixels, or an image without noise
        return 0.0, math.nan
    return float(measured.sky[0]), float(measured.sigma[0])


def star_width(data, mask, sigma, *, guess):
    """
    Estimate the seeing from the most compact bright sources.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image without sky.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing or saturated.
    sigma : float
        Sky noise per pixel.
    guess : float
        Rough FWHM, pixels.

    Returns
    -------
    fwhm : float
        Median of the more compact half (pixels); NaN with fewer than two sources.
    """
    radius = math.ceil(2 * guess)
    if not sigma > 0:
        return math.nan
    filled = np.where(mask, 0, data)
    widths = []
    for y, x in _peaks(filled, _STAR_SNR * sigma, radius)[:_STARS]:
        cut = slice(y - radius, y + radius + 1), slice(x - radius, x + radius + 1)
        if not mask[cut].any():
            widths.append(half_maximum_width(data[cut]))
    # Anything narrower than a sampled PSF is a cosmic ray or a hot pixel.
    widths = sorted(w for w in widths if w > 1.2)
    return float(np.median(widths[: (len(widths) + 1) // 2])) if len(widths) > 1 else math.nan


def _peaks(image, threshold, distance):
    """``(y, x)`` of local maxima, the brightest first, none within ``distance`` of the border."""
    from skimage.feature import peak_local_max

    if min(image.shape) <= 2 * distance:
        return np.empty((0, 2), dtype=int)
    return peak_local_max(
        image, min_distance=max(1, distance), threshold_abs=threshold, exclude_border=distance
    )


def limiting_flux(data, mask, sigma, *, radius):
    """
    Measure the flux of 5 sigma in an aperture, from empty apertures.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image without sky.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.
    sigma : float
        Sky noise per pixel, to know what is empty.
    radius : float
        Radius of the aperture, pixels.

    Returns
    -------
    flux : float
        5 times the scatter of the sums of apertures without source, correlated
        noise included; where fewer than 12 are empty, ``5 sigma sqrt(area)``. NaN
        where the noise is unknown.
    """
    from photutils.aperture import CircularAperture

    if not sigma > 0:
        return math.nan
    filled = np.where(mask, 0, data)
    smooth = ndimage.gaussian_filter(filled, radius / 2)
    # Below the sky there is nothing but noise, correlated as it may be.
    noise = sigma / (math.sqrt(math.pi) * radius)
    noise = max(noise, math.sqrt(np.mean(smooth[smooth < 0] ** 2)) if np.any(smooth < 0) else 0)
    lit = smooth > 3 * noise
    used = ndimage.binary_dilation(mask | lit, iterations=max(1, round(radius / 2)))
    step = 2 * radius + 1
    ys, xs = (np.arange(step / 2, n - step / 2 + 1e-9, step) - 0.5 for n in data.shape)
    if min(len(ys), len(xs)) == 0:
        return _DEPTH_SIGMA * sigma * math.sqrt(math.pi) * radius
    apertures = CircularAperture(np.array([(x, y) for y in ys for x in xs]), radius)
    empty = apertures.do_photometry(used.astype(float))[0] < 1e-6
    if empty.sum() < _LEAST_APERTURES:
        return _DEPTH_SIGMA * sigma * math.sqrt(math.pi) * radius
    sums = apertures.do_photometry(filled)[0][empty]
    return float(_DEPTH_SIGMA * robust_std(sums))


@dataclass(frozen=True)
class SourceComparison:
    """
    Fluxes of the same sources on both sides.

    Attributes
    ----------
    y, x : `~numpy.ndarray`
        Positions, pixels.
    first, second : `~numpy.ndarray`
        Fluxes.
    error : `~numpy.ndarray`
        Standard error of their difference.
    different : `~numpy.ndarray` of bool
        Whether the two contradict each other.
    """

    y: np.ndarray
    x: np.ndarray
    first: np.ndarray
    second: np.ndarray
    error: np.ndarray
    different: np.ndarray


def compare_sources(first, second, mask, sigmas, *, fwhms):
    """
    Find sources that only one side has, or whose flux differs strongly.

    Parameters
    ----------
    first, second : `~numpy.ndarray`, shape (ny, nx)
        Images without sky, in one unit, on one grid.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing or saturated in one of them.
    sigmas : tuple of float
        Sky noise per pixel of both.
    fwhms : tuple of float
        FWHM (pixels) of both; the sharper one is blurred to the other.

    Returns
    -------
    comparison : `SourceComparison`
        One entry per source on either side.
    """
    from photutils.aperture import CircularAperture

    first, second = (np.where(mask, 0, image) for image in (first, second))
    first, second, fwhm = blur_sharper(first, second, fwhms)
    radius = 0.8 * fwhm
    # A blurred image has less noise per pixel, but an aperture about the same.
    noise = area_noise(math.pi * radius**2) * math.hypot(*np.nan_to_num(sigmas))
    width = fwhm / _TO_FWHM
    brightest = np.maximum(
        ndimage.gaussian_filter(first, width), ndimage.gaussian_filter(second, width)
    )
    border = math.ceil(radius) + 1
    # A point source of that flux, smoothed once more by its own width; half of it to be safe.
    peaks = _peaks(brightest, 0.5 * _SOURCE_SIGMA * noise / (4 * math.pi * width**2), border)
    near_missing = ndimage.binary_dilation(mask, iterations=border)
    peaks = peaks[~near_missing[peaks[:, 0], peaks[:, 1]]] if len(peaks) else peaks
    if not len(peaks):
        empty = np.empty(0)
        return SourceComparison(empty, empty, empty, empty, empty, empty.astype(bool))
    apertures = CircularAperture(peaks[:, ::-1], radius)
    fluxes = [apertures.do_photometry(image)[0] for image in (first, second)]
    keep = np.maximum(*fluxes) > _SOURCE_SIGMA * noise
    fluxes = [flux[keep] for flux in fluxes]
    gap = np.abs(fluxes[0] - fluxes[1])
    different = (gap > _SOURCE_SIGMA * noise) & (gap > _FRACTION * np.maximum(*fluxes))
    error = np.full(len(gap), noise)
    return SourceComparison(*peaks[keep].T, *fluxes, error, different)


def blur_sharper(first, second, fwhms):
    """Bring both images roughly to the broader PSF; give its FWHM as well."""
    known = [f for f in fwhms if np.isfinite(f)]
    broad = max(known, default=3.0)
    images = []
    for image, fwhm in zip((first, second), fwhms, strict=True):
        width = math.sqrt(max(broad**2 - fwhm**2, 0)) / _TO_FWHM if np.isfinite(fwhm) else 0
        images.append(ndimage.gaussian_filter(image, width) if width > 0.1 else image)
    return *images, broad


def longest_trail(difference, model, mask, sigma):
    """
    Look for a long, straight, thin track in the difference of two images.

    Parameters
    ----------
    difference : `~numpy.ndarray`, shape (ny, nx)
        One image minus the other.
    model : `~numpy.ndarray`, shape (ny, nx)
        Flux of the sources, around which differences are expected.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.
    sigma : float
        Noise per pixel of the difference.

    Returns
    -------
    share : float
        Share of the line across the frame (at least half as long as its side) that is lit
        best: the share of its pixels that stand out, less that of the lines beside it.
        0 to 1; a trail across the whole frame has nearly 1, noise and galaxies
        below 0.3.

    Notes
    -----
    A line is a bin of the Hough transform (`skimage.transform.hough_line`), divided by
    that of a frame that is lit everywhere.
    """
    from skimage.transform import hough_line

    if not sigma > 0:
        return 0.0
    width = 1.0
    noise = sigma * smoothed_noise(width)
    smooth = ndimage.gaussian_filter(np.where(mask, 0, difference), width)
    granted = _TOLERANCE * ndimage.maximum_filter(np.abs(model), 5)
    threshold = _TRAIL_SIGMA * np.hypot(noise, granted)
    angles = np.linspace(-np.pi / 2, np.pi / 2, 180, endpoint=False)
    length = hough_line(~mask, angles)[0].astype(float)
    long_enough = length >= min(mask.shape) / 2
    best = 0.0
    for lit in (smooth > threshold, smooth < -threshold):
        share = hough_line(lit & ~mask, angles)[0] / np.maximum(length, 1)
        share[~long_enough] = 0
        beside = np.maximum(_shifted(share, _TRAIL_CONTRAST), _shifted(share, -_TRAIL_CONTRAST))
        best = max(best, float((share - beside).max()))
    return best


def _shifted(share, step):
    """Share of the parallel lines at a distance, 0 outside of the frame."""
    return ndimage.shift(share, (step, 0), order=0, cval=0.0)
