# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""All that `splus_srgan.pixels.oddities` measures, of one band, on a bounded sample."""

import numpy as np
from scipy import ndimage

from splus_srgan.pixels import oddities
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.robust import robust_std
from splus_srgan.pixels.sample import gather_windows

__all__ = ["inspect_band", "local_oddities", "sourceless"]

_SIDE, _WINDOWS = 256, 4
_SMOOTHING = 2.0  # pixels
_SOURCE = 3.0  # noise of a smoothed pixel, above which there is a source
_SMOOTHED = 0.19  # noise of a smoothed pixel of a coadd, in that of a pixel
_SATURATED = 20.0  # sigma above the sky, from which one value over an area is a saturated star
_USUAL_TEXTURE = 0.92  # of coadds
_LEAST = 400  # pixels


def inspect_band(data, mask, sky, sigma):
    """
    Measure what is odd about a band.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image; of more than 4 x 256**2 pixels, four windows are looked at.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.
    sky, sigma : float
        Level and noise.

    Returns
    -------
    values : dict of str to float
        ``floor``, ``grid``, ``repeated``, ``texture``, ``texture_error``, ``slope``, ``tilt``,
        ``step``, ``banding``, ``spikes`` (pixels) and ``blank`` (share); empty where less
        than 400 pixels are valid.
    """
    sample, missing = gather_windows(data, mask, side=_SIDE, most=_WINDOWS)
    missing = missing_pixels(sample, missing)
    plane = np.where(missing, sky, sample)
    valid = ~missing & ~oddities.blank_pixels(
        np.where(missing, np.nan, sample), sky + _SATURATED * sigma
    )
    if valid.sum() < _LEAST:
        return {}
    sigma = min(sigma, _noise_of(plane, valid) or sigma)  # one that was given may be too large
    faint, flux = sourceless(plane, valid, sky, sigma)
    ratios, error = oddities.noise_texture(plane.astype(float), faint)
    values = plane[valid].astype(float)
    largest, scatter = oddities.step_significance(plane.astype(float), valid)
    farthest = max(ratios, key=lambda ratio: abs(ratio - _USUAL_TEXTURE))
    return {
        "blank": float(np.mean((~valid & ~missing)[~missing])),
        "floor": oddities.floor_share(values, sigma),
        "grid": oddities.value_step(values, sky, sigma),
        # A floor has many neighbors of one value; it is told by itself.
        "repeated": oddities.repeated_share(plane, valid & (plane > np.percentile(values, 0.2))),
        "texture": farthest,
        "texture_error": error,
        "slope": oddities.noise_slope(plane.astype(float), valid, flux, faint),
        "tilt": oddities.sky_tilt(plane.astype(float) - sky, valid, sigma),
        "step": largest,
        "banding": scatter,
        "spikes": float(oddities.spike_pixels(plane, valid, sky, sigma).sum()),
    }


def _noise_of(plane, valid):
    """Noise by the differences of neighbors, somewhat too large."""
    both = valid[:, 1:] & valid[:, :-1]
    change = np.diff(plane.astype(float), axis=1)[both]
    return 1.3 / np.sqrt(2) * float(robust_std(change, center=0)) if change.size else 0.0


def local_oddities(data, mask, sky, sigma):
    """
    Find the pixels of a band that are spikes, or in areas of one value.

    Parameters
    ----------
    data, mask
        As for `inspect_band`, but none is left out.
    sky, sigma : float or `~numpy.ndarray`
        Level and noise.

    Returns
    -------
    odd : `~numpy.ndarray` of bool, shape (ny, nx)
        Never where the mask is.
    """
    missing = missing_pixels(data, mask)
    level, noise = float(np.median(sky)), float(np.median(sigma))
    plane = np.where(missing, level, data)
    blank = oddities.blank_pixels(np.where(missing, np.nan, data), level + _SATURATED * noise)
    return blank | oddities.spike_pixels(plane, ~missing & ~blank, level, noise)


def sourceless(plane, valid, sky, sigma):
    """
    Find the pixels of the sky; where there is none, the faintest.

    Parameters
    ----------
    plane : `~numpy.ndarray`, shape (ny, nx)
        Image, finite.
    valid : `~numpy.ndarray` of bool, shape (ny, nx)
        What is looked at.
    sky, sigma : float
        Level and noise.

    Returns
    -------
    faint : `~numpy.ndarray` of bool, shape (ny, nx)
        Pixels of the sky.
    flux : `~numpy.ndarray`, shape (ny, nx)
        Smoothed image, in sigma above the sky.
    """
    above = np.where(valid, (plane - sky) / sigma, 0.0)
    weight = ndimage.gaussian_filter(valid.astype(float), _SMOOTHING)
    flux = ndimage.gaussian_filter(above, _SMOOTHING) / np.maximum(weight, 1e-3)
    level = max(np.percentile(flux[valid], 40), 0) + _SOURCE * _SMOOTHED
    return valid & ~ndimage.maximum_filter(np.where(valid, flux > level, False), 7), flux
