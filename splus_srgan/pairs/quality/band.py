# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One band of a matched pair: from images with metadata to the numbers of its quality."""

import math
from dataclasses import dataclass

import numpy as np
from astropy import units as u

from splus_srgan import splus
from splus_srgan.images import header
from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.pairs.quality import measure
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.surveys import legacy

__all__ = ["measure_band", "known_saturated"]

_SURE = 0.1  # relative error of a flux ratio beyond which it is better to trust the units


@dataclass
class _Side:
    """One image of a pair, as arrays."""

    data: np.ndarray
    mask: np.ndarray
    sky: float
    sigma: float
    saturated: np.ndarray
    pixel_scale: float
    unit: u.UnitBase | None
    fwhm: float

    @property
    def flux(self):
        """The image without sky, 0 where it is missing."""
        return np.where(self.mask, 0, self.data - self.sky)


def measure_band(
    input, target, band, *, residual=None, found=None, flux_ratio=(math.nan, math.nan)
):
    """
    Measure one band of a pair.

    Parameters
    ----------
    input : `~astropy.nddata.CCDData`, shape (ny, nx)
        Input.
    target : `~astropy.nddata.CCDData`, shape (2 ny, 2 nx)
        Target on the grid of ``input`` with pixels half as large.
    band : str
        Name of the band.
    residual, found : `~splus_srgan.pairs.registration.measure.Registration`, optional
        Registration of the target on the input, now and before it was corrected.
    flux_ratio : tuple of float, optional
        Flux of the target over that of the input, and its error.

    Returns
    -------
    numbers : dict of str to float
        As the attributes of `~splus_srgan.pairs.quality.pair.BandQuality`.
    """
    scale = pixel_scale(input.wcs, default=splus.PIXEL_SCALE)
    first, second = _side(input, scale, band), _side(target, scale / 2, band)
    numbers = {
        "missing_input": float(first.mask.mean()),
        "missing_target": float(second.mask.mean()),
        "saturated_input": float(first.saturated.mean()),
        "saturated_target": float(second.saturated.mean()),
        "fwhm_input": first.fwhm,
        "fwhm_target": second.fwhm,
        "depth_input": _depth(first),
        "depth_target": _depth(second),
        "flux_ratio": float(flux_ratio[0]),
        "flux_ratio_error": float(flux_ratio[1]),
    }
    numbers |= _registration_numbers(residual, found, second.pixel_scale)
    return numbers | _differences(first, second, _gain(flux_ratio, input.unit != target.unit))


def _gain(flux_ratio, units_differ):
    """Flux ratio, target over input, used to compare sources; 1 where it is uncertain."""
    ratio, error = flux_ratio
    sure = units_differ or error < _SURE * ratio
    return float(ratio) if ratio > 0 and math.isfinite(ratio) and sure else 1.0


def _side(image, scale, band):
    data = np.asarray(image.data, dtype=float)
    mask = missing_pixels(data, image.mask)
    saturated = known_saturated(image, data, band)
    unit = image.unit
    if flux_per_pixel_factor(unit) == 1:
        # A surface brightness: from here on, the flux of a pixel.
        data, unit = data * scale**2, unit * u.arcsec**2
    sky, sigma = measure.sky_noise(data, mask)
    side = _Side(data, mask, sky, sigma, saturated, scale, unit, math.nan)
    side.fwhm = _seeing(image, side)
    return side


def known_saturated(image, data, band):
    """Pixels at the header's saturation level, or flagged as saturated by the Legacy Surveys."""
    saturated = header.saturated_pixels(data, image.meta, image.unit)
    flags = getattr(image, "flags", None)
    if "LSAREA" in image.meta and np.shape(flags) == data.shape:
        bit = getattr(legacy.MaskBits, f"SATUR_{band.upper()}", 0)
        saturated |= (np.asarray(flags) & int(bit)) != 0
    return saturated


def _seeing(image, side):
    """FWHM (arcsec) from the PSF of the image, else from its header, else from its stars."""
    psf = getattr(image, "psf", None)
    if psf is not None:
        return measure.half_maximum_width(psf) * side.pixel_scale
    stated = header.psf_from_header(image.meta)
    if stated is not None:
        return stated[0]
    guess = 1.3 / side.pixel_scale
    hidden = side.mask | side.saturated
    return measure.star_width(side.flux, hidden, side.sigma, guess=guess) * side.pixel_scale


def _depth(side):
    """AB magnitude of the faintest significant flux, NaN without a flux unit."""
    radius = measure.APERTURE / 2 / side.pixel_scale
    flux = measure.limiting_flux(side.flux, side.mask, side.sigma, radius=radius)
    if side.unit is None or not flux > 0:
        return math.nan
    try:
        return float((flux * side.unit).to_value(u.ABmag, u.zero_point_flux(1 * u.AB)))
    except u.UnitConversionError:
        return math.nan


def _registration_numbers(residual, found, scale):
    numbers = {}
    if residual is not None and residual.measured:
        numbers["shift_y"], numbers["shift_x"] = (float(s) * scale for s in residual.shift)
        numbers["shift_error"] = float(max(residual.shift_error)) * scale
        numbers["rotation"] = float(residual.rotation)
        numbers["rotation_error"] = float(residual.rotation_error)
        numbers["scale"] = float(residual.scale) - 1
        numbers["scale_error"] = float(residual.scale_error)
    if found is not None and found.measured:
        numbers["found_y"], numbers["found_x"] = (float(s) * scale for s in found.shift)
        numbers["found_scale"] = float(found.scale) - 1
    return numbers


def _differences(first, second, gain):
    """Sources and trails that only one side has, on the grid of the input."""
    binned = _bin(second.flux / gain)
    mask = first.mask | first.saturated | (_bin(second.mask | second.saturated) > 0)
    sigmas = (first.sigma, 2 * second.sigma / gain)
    widths = [side.fwhm / first.pixel_scale for side in (first, second)]
    sources = measure.compare_sources(first.flux, binned, mask, sigmas, fwhms=widths)
    one, other, _ = measure.blur_sharper(first.flux, binned, widths)
    noise = math.hypot(*np.nan_to_num(sigmas))
    trail = measure.longest_trail(one - other, np.minimum(one, other), mask, noise)
    return {
        "sources": len(sources.first),
        "different": int(sources.different.sum()),
        "trail": trail,
    }


def _bin(image):
    """Sum blocks of 2 x 2 pixels."""
    ny, nx = image.shape
    return image.reshape(ny // 2, 2, nx // 2, 2).sum(axis=(1, 3))
