# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What an image of the sky does not look like unless something was done to it.

Each function measures one thing on plain arrays; `splus_srgan.enhance.guard` says how much of
it is unusual.  All are robust against sources, and none needs more than the pixels, where
they are missing, and the noise.
"""

import numpy as np
from scipy import ndimage
from scipy.stats import chi2

from splus_srgan.pixels.missing import missing_pixels

__all__ = [
    "blank_pixels",
    "darkest",
    "floor_share",
    "is_picture",
    "noise_mottle",
    "noise_slope",
    "noise_texture",
    "repeated_share",
    "spike_pixels",
    "value_step",
]

_BLANK = (5, 5)  # pixels, the smallest area of one value
_BLANK_TOO = (3, 3), (1, 8), (8, 1)  # where neighbors are hardly ever equal
_HARDLY = 0.05  # of the pixels: chance then makes no such area
_LEAST_LEVELS, _MOST_LEVELS = 8, 256  # of a picture
_AT_THE_TOP = 5  # pixels that have the highest value of a picture, where it was cut off
_RINGING = 31  # pixels
# Pixels of a spike or a line, the pixels beside it, and the mean of those over it that even the
# sharpest star has at least: one pixel; lines one pixel wide, and two.
_SHAPES = (
    (((0, 0),), ((-1, 0), (1, 0), (0, -1), (0, 1)), 0.34),
    (((0, 0),), ((-1, 0), (1, 0)), 0.27),
    (((0, 0),), ((0, -1), (0, 1)), 0.27),
    (((0, 0), (1, 0)), ((-1, 0), (2, 0)), 0.11),
    (((0, 0), (0, 1)), ((0, -1), (0, 2)), 0.11),
)
_SURE = 6.5  # standard errors of a spike
_MEAN = 5  # pixels along each side
_LEAST_MEANS = 500
_TOGETHER = 500  # pixels whose surroundings are looked at at a time
_BRIGHT = 5.0 * 2.0 ** np.arange(0, 6.5, 0.5)  # sigma
_REACH = 4  # pixels: what the noise of a pixel is made of
_PER_DEGREE = 2.7  # pixels for each degree of freedom of that noise, from its power spectrum
_CHANCE = 5e-5
_LEAST_FAINT = 200  # pixels


def blank_pixels(data):
    """
    Find areas of one single value: 3 x 3 pixels, or 8 in a row or column.

    Where more than 5 % of the pixels are equal to their neighbor, as on a coarse grid, only areas
    of 5 x 5 are taken.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image.

    Returns
    -------
    blank : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` within such an area.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import blank_pixels
    >>> data = np.random.default_rng(1).normal(size=(20, 20))
    >>> data[3:9, 4:11] = 0.25
    >>> int(blank_pixels(data).sum())
    42
    """
    valid = ~missing_pixels(data)
    data = np.where(valid, data, 0)
    shapes = [_BLANK]
    if max(_equal(data, valid, axis, 1) for axis in (0, 1)) < _HARDLY:
        shapes += _BLANK_TOO
    blank = np.zeros(data.shape, bool)
    for shape in shapes:
        same = ndimage.minimum_filter(data, shape) == ndimage.maximum_filter(data, shape)
        # The filters repeat the border, which would count as an area.
        same &= ndimage.minimum_filter(valid, shape, mode="constant", cval=False)
        if same.any():
            # The window of an even size reaches farther back than ahead.
            origin = tuple(-1 if n % 2 == 0 else 0 for n in shape)
            blank |= ndimage.maximum_filter(same, shape, mode="constant", origin=origin)
    return blank


def floor_share(values, sigma):
    """
    Share of the pixels that lie close above the lowest ones: large where noise is one-sided.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        Valid pixels.
    sigma : float
        Noise per pixel.

    Returns
    -------
    share : float
        Share of the pixels at most 0.2 sigma above the 0.2nd percentile.  Normal noise has 0.004,
        noise without its negative half at least 0.16.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import floor_share
    >>> noise = np.random.default_rng(1).normal(size=10000)
    >>> floor_share(noise, 1.0) < 0.01, floor_share(np.maximum(noise, 0), 0.45) > 0.4
    (True, True)
    """
    lowest = np.percentile(values, 0.2)
    return float(np.mean(values <= lowest + 0.2 * sigma))


def is_picture(values):
    """
    Whether all values are whole, 0 to 255, or 255ths from 0 to 1, as in an 8-bit picture.

    Also where there are no more than 256 values, whatever they are, and the highest was cut off.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        Valid pixels, as they are in the file.

    Returns
    -------
    picture : bool
        Of integers in this range it can only be guessed.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import is_picture
    >>> is_picture(np.array([0.0, 37, 255])), is_picture(np.array([-1.0, 37, 255]))
    (True, False)
    """
    highest = values.max()
    if np.count_nonzero(values == highest) >= _AT_THE_TOP:
        levels = np.unique(values).size
        if _LEAST_LEVELS <= levels <= _MOST_LEVELS < values.size / 4:
            return True
    if values.min() < 0 or highest > 255:
        return False
    scaled = values.astype(float) * (255 if highest <= 1 else 1)
    levels = np.round(scaled)
    return bool(np.ptp(levels) >= _LEAST_LEVELS and np.abs(scaled - levels).max() < 1e-4)


def value_step(values, sky, sigma):
    """
    Distance of the values that occur near the sky, in sigma; 0 where hardly any occurs twice.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (n,)
        Valid pixels.
    sky, sigma : float
        Level and noise.

    Returns
    -------
    step : float
        In sigma.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import value_step
    >>> noise = np.random.default_rng(1).normal(size=10000)
    >>> value_step(noise, 0.0, 1.0), round(value_step(np.round(noise), 0.0, 1.0), 1)
    (0.0, 1.0)
    """
    near = values[np.abs(values - sky) < 4 * sigma]
    levels, count = np.unique(near, return_counts=True)
    # One value may be common for other reasons: a floor, a blank area.
    common = levels[count > max(2, 0.001 * near.size)]
    if common.size < 3 or levels.size > 0.5 * near.size:
        return 0.0
    return float(np.median(np.diff(common)) / sigma)


def repeated_share(data, valid):
    """
    Share of the pixels that are equal to a neighbor, beyond what chance makes equal.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image.
    valid : `~numpy.ndarray` of bool, shape (ny, nx)
        What is looked at.

    Returns
    -------
    share : float
        The larger of the shares along rows and along columns.
    """
    shares = []
    for axis in (0, 1):
        near, far = (_equal(data, valid, axis, k) for k in (1, 5))
        shares.append(near - far)
    return max(*shares, 0.0)


def _equal(data, valid, axis, k):
    """Share of the pixels that are equal to the one k further."""
    both = np.logical_and(*_pair(valid, axis, k))
    return float(np.mean(np.equal(*_pair(data, axis, k))[both])) if both.any() else 0.0


def noise_texture(data, faint):
    r"""
    Compare the noise on the finest scale with that on a wider one.

    The ratio of the medians of :math:`|d_{i-k} - 2 d_i + d_{i+k}|` for :math:`k` = 1 and 3
    is 1 for white noise; smoothing and resampling lower it.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image, finite.
    faint : `~numpy.ndarray` of bool, shape (ny, nx)
        Valid pixels without sources.

    Returns
    -------
    ratios : tuple of float
        Along y and along x; NaN where there are too few pixels.
    error : float
        Standard error of either.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import noise_texture
    >>> noise = np.random.default_rng(1).normal(size=(100, 100))
    >>> [round(value, 1) for value in noise_texture(noise, noise == noise)[0]]
    [1.0, 1.0]
    """
    ratios, number = [], []
    for axis in (0, 1):
        fine, wide = (_bend(data, faint, axis, k) for k in (1, 3))
        number.append(min(fine.size, wide.size))
        scale = np.median(wide) if number[-1] > 50 else 0.0
        ratios.append(np.median(fine) / scale if scale > 0 else np.nan)
    return tuple(map(float, ratios)), 1.8 / np.sqrt(max(min(number), 1))


def noise_mottle(data, faint):
    r"""
    Compare the noise of means of 5 x 5 pixels with that of pixels.

    The ratio of the medians of :math:`|d_{i-5} - 2 d_i + d_{i+5}|` of the means, and of
    :math:`|d_{i-3} - 2 d_i + d_{i+3}|` of the pixels, times 5, is 1 for white noise; a coadd
    has 1.1 to 1.3; sharpening lowers it, and correlated noise that was added raises it.

    Parameters
    ----------
    data, faint
        As for `noise_texture`.

    Returns
    -------
    ratio, error : float
        Mean of those along y and along x, and its standard error; NaN where there are too few
        pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import noise_mottle
    >>> noise = np.random.default_rng(1).normal(size=(100, 100))
    >>> ratio, error = noise_mottle(noise, noise == noise)
    >>> bool(abs(ratio - 1) < 3 * error)
    True
    """
    means = ndimage.uniform_filter(np.asarray(data, float), _MEAN)
    inside = ndimage.minimum_filter(faint, _MEAN, mode="constant", cval=False)
    ratios, number = [], []
    for axis in (0, 1):
        coarse, fine = _bend(means, inside, axis, _MEAN), _bend(data, faint, axis, 3)
        number.append(coarse.size)
        scale = np.median(fine) if coarse.size > _LEAST_MEANS else 0.0
        if not scale > 0:
            return np.nan, np.nan
        ratios.append(_MEAN * np.median(coarse) / scale)
    return float(np.mean(ratios)), 0.75 * _MEAN / np.sqrt(2 * min(number))


def darkest(data, valid):
    """
    How far below 0 the darkest 3 x 3 pixels lie.

    Parameters
    ----------
    data, valid
        As for `noise_slope`.

    Returns
    -------
    depth : float
        Of the brightest of them, in the unit of the data; single pixels do not count.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import darkest
    >>> data = np.zeros((20, 20))
    >>> data[4, 5], data[10:14, 10:14] = -50, -7
    >>> darkest(data, data == data)
    7.0
    """
    return max(0.0, -float(ndimage.maximum_filter(np.where(valid, data, np.inf), 3).min()))


def noise_slope(data, valid, faint, sigma):
    r"""
    Noise where the image is bright over that where it is faint, at most.

    Photons make it rise; a logarithm, a square root or an asinh makes it fall.  The noise is that
    of the image after four times :math:`1 - G`, :math:`G` a Gaussian of 0.6 pixels, which leaves
    hardly anything of what a PSF has smoothed, and what it leaves makes the ratio larger.

    Parameters
    ----------
    data, valid, faint
        As for `noise_texture`; ``valid`` with sources, without areas of one value.
    sigma : float
        Noise per pixel; ``data`` are 0 at the level of the sky.

    Returns
    -------
    ratio : float
        Of standard deviations, by the largest variance of which the one found is not below what
        chance gives once in 20,000 times; the lowest of the pixels above 5, 7, ... 320 sigma.
        NaN where too little is bright, or faint.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import noise_slope
    >>> y, x = np.mgrid[-60:60, -60:60]
    >>> galaxy = 200 * np.exp(-np.hypot(y, x) / 8)
    >>> image = galaxy + np.random.default_rng(1).normal(size=galaxy.shape)
    >>> valid, faint = galaxy > -1, galaxy < 0.5
    >>> noise_slope(image, valid, faint, 1.0) > 1
    True
    >>> noise_slope(10 * np.arcsinh(image / 10), valid, faint, 1.0) < 0.5
    True
    """
    fine = np.asarray(data, np.float32) / np.float32(sigma)
    flux = ndimage.minimum_filter(ndimage.gaussian_filter(fine, 1.0), 3)
    for _ in range(4):
        fine = fine - ndimage.gaussian_filter(fine, 0.6)
    inside = ndimage.minimum_filter(valid, 2 * _REACH + 1, mode="constant", cval=False)
    power = np.square(fine, dtype=float)
    faint = ndimage.minimum_filter(faint, 5) & inside
    if faint.sum() < _LEAST_FAINT:
        return np.nan
    ratios = []
    for level in _BRIGHT:
        bright = power[inside & (flux > level)]
        freedom = bright.size / _PER_DEGREE
        if freedom >= 2:
            share = chi2.ppf(_CHANCE, freedom) / freedom
            ratios.append(bright.mean() / power[faint].mean() / share)
    return float(np.sqrt(min(ratios, default=np.nan)))


def spike_pixels(data, valid, sky, sigma):
    """
    Find pixels that stick out of what any PSF would spread over their neighbors.

    Single ones, lines of one or two pixels, as of cosmic rays and bad columns, and blocks.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image, finite.
    valid : `~numpy.ndarray` of bool, shape (ny, nx)
        What is looked at.
    sky, sigma : float
        Level and noise.

    Returns
    -------
    spikes : `~numpy.ndarray` of bool, shape (ny, nx)
        Of either sign.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.oddities import spike_pixels
    >>> data = np.random.default_rng(1).normal(size=(50, 50))
    >>> data[20, 30] = 40
    >>> np.argwhere(spike_pixels(data, data == data, 0.0, 1.0)).tolist()
    [[20, 30]]
    """
    spikes = np.zeros(data.shape, bool)
    inside = ndimage.minimum_filter(valid, 3, mode="constant", cval=False)
    for core, beside, sharpest in _SHAPES:
        enough = (1 - sharpest) * _SURE * np.sqrt(_variance(beside, sharpest)) * sigma
        places = np.argwhere(inside & _stick_out(data, core, beside, enough))
        for start in range(0, len(places), _TOGETHER):
            some = places[start : start + _TOGETHER]
            margin = _margin((_patches(data, some, 2) - sky) / sigma, core, beside, sharpest)
            some, margin = some[margin > 0], margin[margin > 0]
            # Saturated stars ring after resampling, farther than their light is seen.
            wide = (_patches(data, some, _RINGING // 2 + 1) - sky) / sigma
            bright = ndimage.median_filter(wide, (1, 3, 3))[:, 1:-1, 1:-1].max(axis=(1, 2))
            some = some[margin > 0.15 * np.maximum(bright - 300, 0)]
            for offset in core:
                spikes[tuple((some + offset).T)] = True
    return spikes & valid


def _stick_out(data, core, beside, enough):
    """Pixels that differ enough from those beside them for a look at what is around."""
    kernel = np.zeros((5, 5))
    for y, x in core:
        kernel[2 + y, 2 + x] = 1 / len(core)
    for y, x in beside:
        kernel[2 + y, 2 + x] = -1 / len(beside)
    return np.abs(ndimage.correlate(np.asarray(data, float), kernel, mode="nearest")) > enough


def _margin(near, core, beside, sharpest):
    """By how much the middle of each patch sticks out more than it may, in sigma."""
    above, around = (near[:, *(2 + np.array(places).T)] for places in (core, beside))
    level = np.median(np.delete(near.reshape(len(near), -1), 12, axis=1), axis=1)
    margins = []
    # The light of any sources together is as smooth as a star's: lines are judged with all of it.
    base = level if len(beside) > 2 else np.minimum(level, 0)
    for sign in (1, -1):
        peak = (sign * (above - base[:, None])).min(axis=1)
        rest = sign * (around.mean(axis=1) - base)
        light = 0.1 * np.abs(base + sign * peak) + (0.05 * level) ** 2 + (0.02 * peak) ** 2
        error = np.sqrt(_variance(beside, sharpest) + light)
        margins.append((peak - np.maximum(rest, 0) / sharpest) / _SURE - error)
    return np.maximum(*margins)


def _variance(beside, sharpest):
    """Of a pixel and of those beside it, in that of the noise."""
    return 1 + 1 / (len(beside) * sharpest**2)


def _patches(data, places, reach):
    """Surroundings of some pixels, (n, 2 reach + 1, 2 reach + 1); the border is repeated."""
    step = np.arange(-reach, reach + 1)
    rows, columns = (
        np.clip(places[:, axis, None] + step, 0, data.shape[axis] - 1) for axis in (0, 1)
    )
    return data[rows[:, :, None], columns[:, None, :]].astype(float)


def _pair(array, axis, k):
    """An array without its last ``k`` rows or columns, and without its first."""
    array = np.moveaxis(array, axis, 0)
    return np.moveaxis(array[:-k], 0, axis), np.moveaxis(array[k:], 0, axis)


def _bend(data, valid, axis, k):
    """Absolute second differences between valid pixels."""
    data, valid = (np.moveaxis(a, axis, 0) for a in (data, valid))
    used = valid[: -2 * k] & valid[k:-k] & valid[2 * k :]
    return np.abs(data[: -2 * k] - 2 * data[k:-k] + data[2 * k :])[used]
