# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Measure sources alike on coarse and fine images.

Everything that compares two images is linear in the pixels (sums in apertures, plain
means in annuli, one mask for both), so that noise in one and none in the other leaves no
offset.  Positions are in pixels of the S-PLUS grid, 0-based; ``factor`` is how many
times finer the image is.
"""

import numpy as np
from photutils.aperture import CircularAnnulus, CircularAperture
from scipy import fft, ndimage

from splus_srgan.simulate import TARGET_PSF, moffat_transfer

SCALE = 0.55  # arcsec per S-PLUS pixel
# Noise in an area of A pixels: sigma sqrt(A) (a + b sqrt(A)); facts of the S-PLUS headers.
_AREA_LAW = (1.07, 0.006)


def area_noise(area):
    """Noise of the sum over ``area`` pixels, in units of the noise of one."""
    a, b = _AREA_LAW
    return np.sqrt(area) * (a + b * np.sqrt(area))


def fluxes(image, x, y, *, radius, annulus, factor=1, mask=None):
    """
    Flux in apertures, less the mean of the unmasked part of annuli.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Flux per pixel.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions in S-PLUS pixels.
    radius : float
        Of the aperture, arcsec.
    annulus : tuple of float
        Radii of the annulus, arcsec.
    factor : int, optional
        Pixels of the image per S-PLUS pixel and axis.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        What annuli leave out.

    Returns
    -------
    flux, free_area : `~numpy.ndarray`, shape (n,)
        Flux, and the unmasked area of the annulus in S-PLUS pixels.
    """
    places = np.transpose(
        [factor * np.asarray(x) + (factor - 1) / 2, factor * np.asarray(y) + (factor - 1) / 2]
    )
    scale = SCALE / factor
    image = np.asarray(image, float)
    disc = CircularAperture(places, radius / scale)
    ring = CircularAnnulus(places, annulus[0] / scale, annulus[1] / scale)
    free = np.ones(image.shape)
    if mask is not None:
        free[mask.repeat(factor, 0).repeat(factor, 1)] = 0
    total, _ = disc.do_photometry(image)
    around, _ = ring.do_photometry(image * free)
    area, _ = ring.do_photometry(free)
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = total - around / area * disc.area
    return flux, area / factor**2


def flux_noise(flux, free_area, *, radius, sigma, electrons):
    """Expected noise of `fluxes` on the S-PLUS image; ``electrons`` per unit of the flux."""
    area = np.pi * (radius / SCALE) ** 2
    with np.errstate(invalid="ignore", divide="ignore"):
        sky = area / free_area * area_noise(free_area)
    photon = np.maximum(flux, 0) / electrons if electrons else 0
    return np.sqrt((sigma * area_noise(area)) ** 2 + (sigma * sky) ** 2 + photon)


def blurred_to(image, fwhm, beta, *, fwhm_from=TARGET_PSF[0], beta_from=TARGET_PSF[1]):
    """
    Bring an image of the fine grid from one Moffat PSF to another.

    The kernel is the ratio of the transfer functions, at most 1: what the sharper PSF
    has lost is not made up.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Fine image (0.275 arcsec per pixel).
    fwhm, beta : float
        PSF to reach, FWHM in arcsec.
    fwhm_from, beta_from : float, optional
        PSF of the image.
    """
    margin = 40
    padded = np.pad(np.asarray(image, float), margin, mode="reflect")
    fy = fft.fftfreq(padded.shape[0], SCALE / 2)[:, None]
    fx = fft.rfftfreq(padded.shape[1], SCALE / 2)[None, :]
    wanted = moffat_transfer(fy, fx, fwhm, beta)
    present = moffat_transfer(fy, fx, fwhm_from, beta_from)
    ratio = np.minimum(wanted / np.maximum(present, 1e-6), 1)
    result = fft.irfft2(fft.rfft2(padded) * ratio, s=padded.shape)
    return result[margin:-margin, margin:-margin]


def inside(x, y, shape, distance):
    """Which positions are at least ``distance`` arcsec from the border."""
    gap = distance / SCALE
    return (x > gap) & (y > gap) & (x < shape[1] - 1 - gap) & (y < shape[0] - 1 - gap)


def isolated(x, y, flux, *, x_all, y_all, flux_all, distance, share):
    """Which sources have no other one brighter than ``share`` of their flux within ``distance``."""
    apart = np.hypot(x[:, None] - x_all, y[:, None] - y_all) * SCALE
    near = (apart < distance) & (apart > 1e-6)
    return ~(near & (flux_all > share * flux[:, None])).any(axis=1)


def any_within(flags, x, y, radius):
    """Whether any flagged pixel lies within ``radius`` arcsec of each position."""
    if not flags.any():
        return np.zeros(len(x), bool)
    distance = ndimage.distance_transform_edt(~flags) * SCALE
    row = np.clip(np.rint(y).astype(int), 0, flags.shape[0] - 1)
    column = np.clip(np.rint(x).astype(int), 0, flags.shape[1] - 1)
    return distance[row, column] < radius


def centroids(image, x, y, *, factor=1):
    """
    Centroids (photutils, two-dimensional Gaussian) near given positions.

    Returns
    -------
    x, y : `~numpy.ndarray`
        In S-PLUS pixels; NaN where the fit failed or ran away.
    """
    from photutils.centroids import centroid_2dg

    half = 3 * factor
    offset = (factor - 1) / 2
    result = np.full((2, len(x)), np.nan)
    for k, (px, py) in enumerate(zip(factor * x + offset, factor * y + offset, strict=True)):
        column, row = round(float(px)), round(float(py))
        cut = image[row - half : row + half + 1, column - half : column + half + 1]
        if cut.shape != (2 * half + 1, 2 * half + 1):
            continue
        found = centroid_2dg(np.asarray(cut, float))
        if np.hypot(*(found - half)) < half:
            result[:, k] = (np.array([column, row]) - half + found - offset) / factor
    return result


def widths(image, x, y, *, factor=1):
    """FWHM (arcsec) of a circular Gaussian fitted to each source (photutils)."""
    from photutils.psf import fit_fwhm

    if not len(x):
        return np.empty(0)
    places = np.transpose([factor * x + (factor - 1) / 2, factor * y + (factor - 1) / 2])
    side = 6 * factor + 1
    fitted = fit_fwhm(
        np.asarray(image, float), xypos=places, fwhm=1.4 / SCALE * factor, fit_shape=(side, side)
    )
    return np.asarray(fitted) * SCALE / factor


def centroid_limit(flux, fwhm, beta, sigma, electrons):
    r"""
    Smallest possible error (per axis, S-PLUS pixels) of a star's centroid.

    The Cramer-Rao bound :math:`[\sum (\partial m / \partial x)^2 / v]^{-1/2}` of a Moffat
    star of known shape with sky and photon noise.
    """
    step = 0.25  # of a pixel
    yy, xx = np.mgrid[-10 : 10 + step : step, -10 : 10 + step : step]
    alpha = fwhm / SCALE / (2 * np.sqrt(2 ** (1 / beta) - 1))
    shape = 1 + (xx**2 + yy**2) / alpha**2
    norm = (beta - 1) / (np.pi * alpha**2)
    model, slope = norm * shape**-beta, 2 * beta * xx / alpha**2 * norm * shape ** (-beta - 1)
    noise = (sigma * _AREA_LAW[0]) ** 2
    return np.array(
        [
            (
                np.sum((f * slope) ** 2 / (noise + (f * model / electrons if electrons else 0)))
                * step**2
            )
            ** -0.5
            for f in np.atleast_1d(flux)
        ]
    )


def detect(image, sigma, *, threshold=2.5):
    """
    Find sources in a sky-subtracted image.

    Returns
    -------
    table : dict of `~numpy.ndarray`
        ``x, y`` (pixels), ``flux`` (of the segment) and ``elongation``.
    mask : `~numpy.ndarray` of bool
        The segments, grown by two pixels.
    """
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

    smooth = ndimage.gaussian_filter(image, 1.0)
    # Noise after smoothing: 1 / (2 sqrt(pi)) for white noise, a third more for correlated noise.
    level = threshold * sigma * 0.28 * 1.33
    segments = detect_sources(smooth, level, 6)
    if segments is None:
        return {name: np.empty(0) for name in ("x", "y", "flux", "elongation")}, np.zeros(
            image.shape, bool
        )
    segments = deblend_sources(smooth, segments, 6, contrast=0.003, progress_bar=False)
    catalog = SourceCatalog(image, segments)
    x, y = np.transpose(np.atleast_2d(catalog.centroid))
    table = {
        "x": x,
        "y": y,
        "flux": np.atleast_1d(catalog.segment_flux),
        "elongation": np.atleast_1d(getattr(catalog.elongation, "value", catalog.elongation)),
    }
    mask = ndimage.binary_dilation(segments.data > 0, iterations=2)
    return {name: np.asarray(column, float) for name, column in table.items()}, mask
