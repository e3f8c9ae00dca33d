# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""All that `splus_srgan.pixels.oddities` measures, of one band, on a bounded sample."""

import numpy as np
from scipy import ndimage

from splus_srgan.pixels import oddities, sky_levels
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.robust import robust_std
from splus_srgan.pixels.sample import gather_windows, window_cuts

__all__ = ["inspect_band", "local_oddities", "locally_faint", "sourceless"]

_SIDE, _WINDOWS, _GAP = 224, 4, 8
_SMOOTHING = 2.0  # pixels
_SOURCE = 3.0  # noise of a smoothed pixel, above which there is a source
_SMOOTHED = 0.19  # noise of a smoothed pixel of a coadd, in that of a pixel
_SATURATED = 1000.0  # sigma above the sky, from which one value over an area may be a star's core
_HALO = 0.03  # of its level, beside such a core: less is no star
_QUARTER = 2000  # pixels, of which noise has no more than the usual share at its lowest end
_BLOCK = 4  # pixels whose smoothed level stands for all
_AROUND = 9  # blocks: what is around a pixel
_FAINTEST = 35  # percentile of that, which is the level of the sky there
# What a step between two rows counts, in one between two boxes: galaxies have edges.
_OF_ROWS = 0.85
_PEDESTAL = 10.0  # noise: levels below are no pedestal
_LEAST = 400  # pixels
# What the noise of coadds has at most, see `splus_srgan.pixels.oddities.noise_mottle`.
_MOTTLED = 1.3
# Part that counts of a step, of one between two rows, and of a tilt, where less of the frame is
# faint: arms end, too.  A steeper sky is bright by itself.
_MOSTLY, _OF_A_GALAXY, _STEEP = 0.65, (0.5, 0.8, 0.6), 2.0
_BROAD, _FAINT = 8.0, 1.5  # pixels, and the noise of one: smoothed levels that are not a galaxy's
_WILD = 1e7  # sigma: beyond, one value is as odd as another


def inspect_band(data, mask, sky, sigma, *, saturation=np.inf):
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
    saturation : float, optional
        Value from which a pixel counts as saturated.

    Returns
    -------
    values : dict of str to float
        ``picture``, ``floor``, ``grid``, ``repeated``, ``texture``, ``mottle``, ``slope``,
        ``pedestal``, ``dark``, ``tilt``, ``bowl``, ``step``, ``banding``, ``spikes`` (pixels) and
        ``blank`` (share), and errors of some (``texture_error``); empty where less than 400 pixels
        are valid.
    """
    sample, missing = gather_windows(data, mask, side=_SIDE, most=_WINDOWS, gap=_GAP)
    missing = missing_pixels(sample, missing)
    plane = _in_sigma(sample, missing, _sample(sky, mask), _sample(sigma, mask))
    flat, blank = _flat_and_blank(sample, missing, plane, saturation)
    valid = ~missing & ~blank
    if valid.sum() < _LEAST:
        return {}
    # A noise that was given may be too large.
    sigma = min(1.0, _noise_of(plane, valid) or 1.0)
    values = {"blank": float(np.mean(blank[~missing]))}
    values |= _of_values(sample, plane, valid, sigma)
    values["floor"] = _largest_floor(plane, valid, sigma, data.shape)
    level = _broad_level(plane / sigma, valid)
    values |= _of_noise(plane, valid, flat, sigma, level)
    values |= _of_levels(plane / sigma, valid, data.shape, level)
    values["spikes"] = float(oddities.spike_pixels(plane, valid, 0.0, sigma).sum())
    return values


def _of_values(sample, plane, valid, sigma):
    """What values there are."""
    values = plane[valid].astype(float)
    return {
        "picture": float(oddities.is_picture(sample[valid])),
        "grid": oddities.value_step(values, 0.0, sigma),
        # A floor has many neighbors of one value; it has a check of its own.
        "repeated": oddities.repeated_share(sample, valid & (plane > np.percentile(values, 0.2))),
    }


def _largest_floor(plane, valid, sigma, shape):
    """Share of the pixels at their lowest end, of all, and of the quarters of each window."""
    parts = [plane[valid]]
    for rows, _ in _parts(shape):
        for pixels, seen in zip(*(_quarters(a[rows]) for a in (plane, valid)), strict=True):
            parts += [pixels[seen]] if seen.sum() > _QUARTER else []
    return max(oddities.floor_share(part.astype(float), sigma) for part in parts)


def _quarters(window):
    """The four quarters of a window."""
    return [half for both in np.array_split(window, 2) for half in np.array_split(both, 2, axis=1)]


def _of_noise(plane, valid, flat, sigma, level):
    """What the noise is like; saturated stars, which are flat, have none."""
    faint, flux = sourceless(plane, valid, 0.0, sigma)
    lowest, highest = np.percentile(flux[valid], (1, 99.9))
    alone = locally_faint(plane, valid, sigma)
    ratios, error = oddities.noise_texture(plane, alone & (level < 2 * _FAINT))
    mottle, mottle_error = oddities.noise_mottle(plane, alone)
    if mottle > _MOTTLED:
        # Where a galaxy fills the frame, its structure is none of the noise.
        darker = alone & (level < _FAINT)
        mottle, mottle_error = oddities.noise_mottle(plane, darker)
    return {
        "texture": float(np.mean(ratios)),
        "texture_error": error,
        "mottle": mottle,
        "mottle_error": mottle_error,
        # A sky that was given may be too high for the whole frame.
        "dark": oddities.darkest(plane - min(0.0, np.median(plane[valid])), valid) / sigma,
        "slope": oddities.noise_slope(plane, valid & ~flat, faint, sigma),
        "pedestal": float(lowest / highest) if lowest > _PEDESTAL else 0.0,
    }


def _of_levels(plane, valid, shape, level):
    """What the levels of the sky are like over the frame."""
    windows, places, steps = [], [], []
    for rows, cut in _parts(shape):
        window, seen = plane[rows], valid[rows]
        steps.append(sky_levels.sky_steps(window, locally_faint(window, seen, 1.0)))
        windows.append(np.where(seen, window, np.float32(np.nan)))
        places.append(
            [np.arange(c.start, c.stop) / n - 0.5 for c, n in zip(cut, shape, strict=True)]
        )
    tilt, tilt_error = sky_levels.sky_tilt(windows, _sky_of, places)
    bowl, bowl_error = sky_levels.sky_bowl(windows, _sky_of, places)
    largest, scatter = sky_levels.row_steps(plane, valid)
    filled = np.mean(level[valid] < _FAINT) < _MOSTLY
    of_step, of_row, of_tilt = _OF_A_GALAXY if filled and tilt < _STEEP else (1.0, 1.0, 1.0)
    return {
        "tilt": of_tilt * tilt,
        "tilt_error": tilt_error,
        "bowl": bowl,
        "bowl_error": bowl_error,
        "step": max(_OF_ROWS * of_row * largest, *(of_step * step for step in steps)),
        "banding": scatter,
    }


def _broad_level(plane, valid):
    """What the sky and large sources are like around each pixel."""
    return ndimage.gaussian_filter(np.where(valid, plane, 0.0), _BROAD)


def _sky_of(window):
    """Pixels of the sky of a window that is NaN where missing."""
    valid = np.isfinite(window)
    if not valid.any():
        return valid
    return sourceless(np.where(valid, window, np.float32(0)), valid, 0.0, 1.0)[0]


def _parts(shape):
    """The rows of each window in the sample, and its place in the frame."""
    cuts = window_cuts(shape, side=_SIDE, most=_WINDOWS)
    height = cuts[0][0].stop - cuts[0][0].start
    starts = range(0, len(cuts) * (height + _GAP), height + _GAP)
    return [(slice(k, k + height), cut) for k, cut in zip(starts, cuts, strict=True)]


def _sample(level, mask):
    """The part of a map that belongs to the sample of the image; one number stays one."""
    if np.size(level) == 1:
        return np.asarray(level).item()
    return gather_windows(level, mask, side=_SIDE, most=_WINDOWS, gap=_GAP)[0]


def _in_sigma(data, missing, sky, sigma):
    """An image above the sky in its noise, float32 for less memory; 0 where missing."""
    plane = np.where(missing, sky, data).astype(float)
    plane -= sky
    plane /= np.where(missing, 1.0, sigma) if np.ndim(sigma) else sigma
    return np.clip(plane, -_WILD, _WILD, out=plane).astype(np.float32)


def _flat_and_blank(data, missing, plane, saturation):
    """Areas of one value, and those of them that are no cores of saturated stars."""
    flat = oddities.blank_pixels(np.where(missing, np.nan, data))
    cores, number = ndimage.label(flat & (plane > _SATURATED))
    # A star has light around; what was pasted in has not.
    lowest = ndimage.minimum_filter(np.where(missing, np.float32(np.inf), plane), 3)
    halo = ndimage.minimum(lowest, cores, np.arange(number + 1))
    level = ndimage.maximum(plane, cores, np.arange(number + 1))
    star = (cores > 0) & (halo > _HALO * level)[cores]
    return flat, flat & ~star & ~(data >= saturation)


def _noise_of(plane, valid):
    """Noise by the differences of neighbors, somewhat too large."""
    both = valid[:, 1:] & valid[:, :-1]
    change = np.diff(plane.astype(float), axis=1)[both]
    return 1.3 / np.sqrt(2) * float(robust_std(change, center=0)) if change.size else 0.0


def local_oddities(data, mask, sky, sigma, *, saturation=np.inf):
    """
    Find the pixels of a band that are spikes, or in areas of one value.

    Parameters
    ----------
    data, mask
        As for `inspect_band`, but none is left out.
    sky, sigma : float or `~numpy.ndarray`
        Level and noise.
    saturation : float, optional
        Value from which a pixel counts as saturated.

    Returns
    -------
    odd : `~numpy.ndarray` of bool, shape (ny, nx)
        Never where the mask is.
    """
    missing = missing_pixels(data, mask)
    sky, sigma = (np.asarray(a).item() if np.size(a) == 1 else a for a in (sky, sigma))
    plane = _in_sigma(data, missing, sky, sigma)
    _, blank = _flat_and_blank(data, missing, plane, saturation)
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
    flux = _smoothed((plane - sky) / sigma, valid)
    level = max(np.percentile(flux[valid], 40), 0) + _SOURCE * _SMOOTHED
    return valid & ~ndimage.maximum_filter(np.where(valid, flux > level, False), 7), flux


def locally_faint(plane, valid, sigma):
    """
    Find pixels without a source on them, wherever the sky around them lies.

    Parameters
    ----------
    plane : `~numpy.ndarray`, shape (ny, nx)
        Image, finite.
    valid : `~numpy.ndarray` of bool, shape (ny, nx)
        What is looked at.
    sigma : float
        Noise.

    Returns
    -------
    faint : `~numpy.ndarray` of bool, shape (ny, nx)
        Also in the halo of a galaxy, on a slope, and on either side of a step.
    """
    flux = _smoothed(plane / sigma, valid)
    rows, columns = (np.arange(n) // _BLOCK for n in plane.shape)
    # Of each block, also of the only one of a narrow image.
    corner = tuple(slice(min(_BLOCK // 2, n - 1), None, _BLOCK) for n in plane.shape)
    coarse = np.where(valid[corner], flux[corner], np.median(flux[valid]))
    around = ndimage.percentile_filter(coarse, _FAINTEST, size=_AROUND, mode="nearest")
    ends = [n - 1 for n in around.shape]
    excess = flux - around[np.ix_(np.minimum(rows, ends[0]), np.minimum(columns, ends[1]))]
    # Where pixels are correlated more than usual, so that more noise is left, too.
    low, middle = np.percentile(excess[valid], (16, 50))
    limit = np.clip(_SOURCE * (middle - low), _SOURCE * _SMOOTHED, _SOURCE)
    return valid & ~ndimage.maximum_filter(valid & (np.abs(excess) > limit), 5)


def _smoothed(plane, valid):
    """An image smoothed over its valid pixels."""
    above = np.where(valid, plane, 0).astype(np.float32)
    weight = ndimage.gaussian_filter(valid.astype(np.float32), _SMOOTHING)
    return ndimage.gaussian_filter(above, _SMOOTHING) / np.maximum(weight, 1e-3)
