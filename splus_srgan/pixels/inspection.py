# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""All that `splus_srgan.pixels.oddities` measures, of one band, on a bounded sample."""

import numpy as np
from scipy import ndimage

from splus_srgan.pixels import oddities
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.robust import robust_std
from splus_srgan.pixels.sample import gather_windows

__all__ = ["inspect_band", "local_oddities", "sourceless"]

_SIDE, _WINDOWS = 224, 4
_SMOOTHING = 2.0  # pixels
_SOURCE = 3.0  # noise of a smoothed pixel, above which there is a source
_SMOOTHED = 0.19  # noise of a smoothed pixel of a coadd, in that of a pixel
_SATURATED = 20.0  # sigma above the sky, from which one value over an area is a saturated star
_USUAL_TEXTURE = 0.92  # of coadds
_LEAST = 400  # pixels
_WILD = 1e7  # sigma: beyond, one value is as odd as another


def inspect_band(data, mask, sky, sigma):
    """
    Measure what is odd about a band.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image; of more than 4 x 224**2 pixels, four windows are looked at.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.
    sky, sigma : float or `~numpy.ndarray`, shape (ny, nx)
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
    plane = _in_sigma(sample, missing, _sample(sky, mask), _sample(sigma, mask))
    blank = _blank(sample, missing, plane)
    valid = ~missing & ~blank
    if valid.sum() < _LEAST:
        return {}
    # A noise that was given may be too large.
    sigma = min(1.0, _noise_of(plane, valid) or 1.0)
    faint, flux = sourceless(plane, valid, 0.0, sigma)
    ratios, error = oddities.noise_texture(plane, faint)
    values = plane[valid].astype(float)
    largest, scatter = oddities.step_significance(plane, valid)
    farthest = max(ratios, key=lambda ratio: abs(ratio - _USUAL_TEXTURE))
    return {
        "blank": float(np.mean(blank[~missing])),
        "floor": oddities.floor_share(values, sigma),
        "grid": oddities.value_step(values, 0.0, sigma),
        # A floor has many neighbors of one value; it is told by itself.
        "repeated": oddities.repeated_share(sample, valid & (plane > np.percentile(values, 0.2))),
        "texture": farthest,
        "texture_error": error,
        "slope": oddities.noise_slope(plane, valid, flux, faint),
        "tilt": oddities.sky_tilt(plane, valid, sigma),
        "step": largest,
        "banding": scatter,
        "spikes": float(oddities.spike_pixels(plane, valid, 0.0, sigma).sum()),
    }


def _sample(level, mask):
    """The part of a map that belongs to the sample of the image; one number stays one."""
    if np.size(level) == 1:
        return np.asarray(level).item()
    return gather_windows(level, mask, side=_SIDE, most=_WINDOWS)[0]


def _in_sigma(data, missing, sky, sigma):
    """An image above the sky in its noise, float32 for less memory; 0 where missing."""
    plane = np.where(missing, sky, data).astype(float)
    plane -= sky
    plane /= np.where(missing, 1.0, sigma) if np.ndim(sigma) else sigma
    return np.clip(plane, -_WILD, _WILD, out=plane).astype(np.float32)


def _blank(data, missing, plane):
    """Areas of one value; stars saturate to one, too."""
    return oddities.blank_pixels(np.where(missing, np.nan, data)) & (plane <= _SATURATED)


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
    sky, sigma = (np.asarray(a).item() if np.size(a) == 1 else a for a in (sky, sigma))
    plane = _in_sigma(data, missing, sky, sigma)
    blank = _blank(data, missing, plane)
    return blank | oddities.spike_pixels(plane, ~missing & ~blank, 0.0, 1.0)


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
    above = np.where(valid, (plane - sky) / sigma, 0).astype(np.float32)
    weight = ndimage.gaussian_filter(valid.astype(np.float32), _SMOOTHING)
    flux = ndimage.gaussian_filter(above, _SMOOTHING) / np.maximum(weight, 1e-3)
    level = max(np.percentile(flux[valid], 40), 0) + _SOURCE * _SMOOTHED
    return valid & ~ndimage.maximum_filter(np.where(valid, flux > level, False), 7), flux
