# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Levels of the sky over a frame: its slope, and steps that go through it.

The images are in the noise of a pixel, above the sky, as windows of one frame.
"""

import numpy as np
from scipy import ndimage

__all__ = ["row_steps", "sky_bowl", "sky_steps", "sky_tilt"]

_NORMAL = 0.6745  # median absolute deviation of a normal distribution
_MEAN_INFLATION = 1.5  # variance of a mean of n pixels of a coadd, in that of white noise / n
_CELLS = 8  # along each side of a window
_LEAST_CELLS = 28
_FLATNESS = 0.02  # noise: how flat a sky can be
_PLANE = 3.0  # scatter about a plane or a paraboloid, in errors
_SETTLED = 0.1, 0.02  # noise, and part of the tilt, by which the last two fits may differ
# From the middle to each side, of the terms of a paraboloid.
_SIDES = (
    (0.5, 0, 0, 0.25, 0, 0),
    (-0.5, 0, 0, 0.25, 0, 0),
    (0, 0.5, 0, 0, 0, 0.25),
    (0, -0.5, 0, 0, 0, 0.25),
)
_QUARTERS, _PARTS, _LEAST_PARTS = 4, 8, 4
_HALVED = 80  # pixels: medians of fewer, in a quarter, are often far off
_EDGE = 2.5  # what a step next to another counts less: no PSF makes edges of one row
_BOX, _CLOSE = 8, 2  # rows on either side of a step
_AT_ONCE, _OF_BOTH = 0.7, 0.5  # of a step without and with the slope that is taken off
_ERRORS = 1.5  # by which what is there at once may fall short of that, as noise has it


def sky_tilt(windows, skies, places):
    """
    Rise of the sky from one side of the frame to the other.

    A plane is fitted to the mean of the sky in 8 x 8 cells of each window; cells that differ
    count less.

    Parameters
    ----------
    windows : list of `~numpy.ndarray`, shape (ny, nx)
        Parts of a frame.
    skies : callable
        Takes a window, gives its pixels of the sky as bool.
    places : list of tuple of `~numpy.ndarray`
        Rows (ny,) and columns (nx,) of each window, in the size of the frame.

    Returns
    -------
    tilt, error : float
        In the noise of a pixel; 0 where no plane describes the sky: galaxies are none.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.sky_levels import sky_tilt
    >>> place = np.linspace(0, 1, 80)
    >>> image = np.random.default_rng(1).normal(size=(80, 80)) + 3 * place
    >>> tilt, error = sky_tilt([image], lambda image: image == image, [(place, place)])
    >>> round(tilt, 1), error < 0.1
    (3.0, True)
    """
    plane, before, covariance = _surface(windows, skies, places, _plane_terms, 2)
    tilt = float(np.hypot(*plane[:2]))
    along = plane[:2] / max(tilt, 1e-9)
    # Of a galaxy the next fit would have another slope.
    settled = np.hypot(*(plane - before)[:2]) < _SETTLED[0] + _SETTLED[1] * tilt
    return (tilt if settled else 0.0), float(np.sqrt(along @ covariance[:2, :2] @ along))


def sky_bowl(windows, skies, places):
    """
    Rise of the sky from the middle of the frame to the middle of the lowest of its four sides.

    As `sky_tilt`, but a paraboloid is fitted.  A galaxy rises towards one place, not to all sides.

    Parameters
    ----------
    windows, skies, places
        As for `sky_tilt`.

    Returns
    -------
    rise, error : float
        In the noise of a pixel; 0 where there is none, or no paraboloid describes the sky.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.sky_levels import sky_bowl
    >>> place = np.linspace(-0.5, 0.5, 80)
    >>> image = np.random.default_rng(1).normal(size=(80, 80)) + 8 * place**2
    >>> image += 8 * place[:, None] ** 2
    >>> rise, error = sky_bowl([image], lambda image: image == image, [(place, place)])
    >>> round(rise), error < 0.1
    (2, True)
    """
    bowl, before, covariance = _surface(windows, skies, places, _bowl_terms, 5)
    rises = []
    for along in np.array(_SIDES):
        rise, change = float(along @ bowl), abs(along @ (bowl - before))
        settled = change < _SETTLED[0] + _SETTLED[1] * abs(rise)
        rises.append((rise if settled else 0.0, float(np.sqrt(along @ covariance @ along))))
    rise, error = min(rises)
    return max(0.0, rise), error


def _plane_terms(y, x):
    """Terms of a plane."""
    return y, x, np.ones_like(y + x)


def _bowl_terms(y, x):
    """Terms of a paraboloid."""
    return y, x, np.ones_like(y + x), y * y, y * x, x * x


def _surface(windows, skies, places, terms, rounds):
    """Coefficients of the last two fits to the sky, and covariance; zeros where it does not fit."""
    fit = before = np.zeros(len(terms(0.0, 0.0)))
    scatter, covariance = 0.0, np.zeros((len(fit), len(fit)))
    for quartile in (True, *[False] * rounds):
        level, error, design = [], [], []
        for window, (y, x) in zip(windows, places, strict=True):
            model = sum(c * t for c, t in zip(fit, terms(y[:, None], x), strict=True))
            sky = np.isfinite(window) if quartile else skies(window - model.astype(np.float32))
            for cell, number, place in _cells(window, sky, y, x, 0.5 if quartile else 0.15):
                level.append(np.percentile(cell, 25) + _NORMAL if quartile else cell.mean())
                error.append(np.hypot(np.sqrt(_MEAN_INFLATION / number), _FLATNESS))
                design.append(terms(*place))
        if len(level) < _LEAST_CELLS:
            return np.zeros(len(fit)), np.zeros(len(fit)), np.zeros_like(covariance)
        # The quartiles of cells with sources are far off: least absolute deviations.
        limit = 0.02 if quartile else 1.5
        before = fit
        fit, scatter, covariance = _fit(*map(np.array, (level, error, design)), limit)
    if scatter >= _PLANE:
        fit = before = np.zeros(len(fit))
    return fit, before, covariance * max(1.0, scatter) ** 2


def _cells(window, sky, y, x, least):
    """Pixels, number and place of the cells of which at least a part is sky."""
    # Of a narrow image most cells are empty.
    rows, columns = (np.array_split(np.arange(n), min(n, _CELLS)) for n in window.shape)
    for row in rows:
        for column in columns:
            cut = np.s_[row[0] : row[-1] + 1, column[0] : column[-1] + 1]
            cell = window[cut][sky[cut]]
            if cell.size > max(12, least * row.size * column.size):
                yield cell.astype(float), cell.size, (y[row].mean(), x[column].mean())


def _fit(level, error, design, limit):
    """Fit, its scatter in errors, and covariance; beyond a limit deviations count linearly."""
    weight = 1 / error**2
    for _ in range(20):
        root = np.sqrt(weight)[:, None]
        fit = np.linalg.lstsq(design * root, level * root[:, 0], rcond=None)[0]
        off = np.abs(level - design @ fit) / error
        weight = 1 / error**2 / np.maximum(1, off / limit)
    covariance = np.linalg.pinv((design * weight[:, None]).T @ design)
    return fit, float(np.sqrt(np.mean(np.minimum(off, 5) ** 2))), covariance


def sky_steps(data, sky):
    """
    Largest step of the sky between two rows or columns, in its error.

    The mean levels of eight rows on either side are compared, less the slope that the eight rows
    beyond show; of eight parts of a row at least four have to have sky, and to agree.  Most of the
    step has to be there between the two rows on either side already, within its error: the edge
    of a spiral arm is smooth.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        A window.
    sky : `~numpy.ndarray` of bool, shape (ny, nx)
        Pixels of the sky, told from sources by what is around them.

    Returns
    -------
    largest : float
        In errors; 4 in noise.
    """
    largest = 0.0
    for axis in (0, 1):
        rows, seen = (np.moveaxis(a, axis, 0) for a in (np.where(sky, data, 0.0), sky))
        if len(rows) < 4 * _BOX or rows.shape[1] < _PARTS:
            continue
        (step, weight), *near = _box_steps(rows, seen)
        mean, total = _weighted(step, weight)
        parts = np.count_nonzero(weight, axis=1)
        scatter = ((step - mean[:, None]) ** 2 * weight).sum(axis=1) / np.maximum(parts - 1, 1)
        alike = np.abs((np.sign(step) * weight).sum(axis=1)) > 0.6 * total
        significance = np.abs(mean) * np.sqrt(total / np.maximum(1, scatter))
        significance *= alike & (parts >= _LEAST_PARTS)
        largest = max(largest, _largest_sharp(significance, mean, *near))
    return largest


def _largest_sharp(significance, mean, box, close):
    """Largest significance of the steps that are mostly there between the rows next to them."""
    (whole, _), (at_once, total) = (_weighted(*steps) for steps in (box, close))
    significance = significance.copy()
    while significance.max() > 0:
        k = int(np.argmax(significance))
        near = slice(max(0, k - 1), k + 2)
        here = (np.sign(mean[k]) * at_once[near] + _ERRORS / np.sqrt(total[near])).max()
        if here > max(_AT_ONCE * abs(mean[k]), _OF_BOTH * abs(whole[k])):
            return float(significance[k])
        # What is left and right of it is the same edge.
        significance[max(0, k - 3 * _BOX) : k + 3 * _BOX + 1] = 0
    return 0.0


def _weighted(step, weight):
    """Weighted mean over the parts of a row, and the sum of the weights."""
    total = np.maximum(weight.sum(axis=1), 1e-9)
    return (step * weight).sum(axis=1) / total, total


def _box_steps(rows, seen):
    """
    Steps at each row in each part, (n, 8), and their weights; 0 where there is little sky.

    First those of eight rows on either side, without a slope, then with it, and those of two.
    """
    cuts = np.linspace(0, rows.shape[1], _PARTS + 1).astype(int)[:-1]
    sums = []
    for array in (rows, seen):
        parts = np.add.reduceat(array, cuts, axis=1, dtype=float)
        sums.append(np.vstack([np.zeros(_PARTS), np.cumsum(parts, axis=0)]))
    place = np.arange(2 * _BOX, len(rows) - 2 * _BOX + 1)
    part = rows.shape[1] / _PARTS
    boxes = [_level(sums, place + k * _BOX, _BOX, part) for k in (-2, -1, 0, 1)]
    levels, variances = zip(*boxes, strict=True)
    # 2 (near right - near left) - (right - left), without a slope.
    step = 1.5 * (levels[2] - levels[1]) - 0.5 * (levels[3] - levels[0])
    variance = 2.25 * (variances[1] + variances[2]) + 0.25 * (variances[0] + variances[3])
    (left, left_variance), (right, right_variance) = (
        _level(sums, place + start, _CLOSE, part) for start in (-_CLOSE, 0)
    )
    return (
        (step, 1 / variance),
        (levels[2] - levels[1], 1 / (variances[1] + variances[2])),
        (right - left, 1 / (left_variance + right_variance)),
    )


def _level(sums, first, rows, part):
    """Mean level of some rows from each first one on, and its variance: infinite without sky."""
    total, number = (a[first + rows] - a[first] for a in sums)
    few = number < 0.2 * rows * part
    return total / np.maximum(number, 1), np.where(
        few, np.inf, _MEAN_INFLATION / np.maximum(number, 1)
    )


def row_steps(data, valid):
    """
    Largest step between neighboring rows or columns that goes through the frame, in its error.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Image, finite.
    valid : `~numpy.ndarray` of bool, shape (ny, nx)
        What is looked at, sources too.

    Returns
    -------
    largest : float
        Of all borders between two rows or columns: twice the least of four quarters of a
        row, where all have one sign; or that of two, where it is as sharp as no PSF, in rows of
        80 pixels and more.
    scatter : float
        Scatter of the steps between all of them: 1 for noise.
    """
    largest, scatter = 0.0, 1.0
    for axis in (0, 1):
        rows = np.moveaxis(np.where(valid, data, np.nan), axis, 0)
        whole = _steps(rows)
        if not whole.size:
            continue
        # A step between amplifiers is in every part of the row, a galaxy in some.
        parts = [_steps(part) for part in np.array_split(rows, _QUARTERS, axis=1)]
        if all(part.size == whole.size for part in parts):
            same = np.abs(np.sum(np.sign(parts), axis=0)) == _QUARTERS
            least = np.where(same, np.min(np.abs(parts), axis=0), 0.0)
            largest = max(largest, float(np.sqrt(_QUARTERS) * least.max()))
            # One of four amplifiers, or a part of a column; a galaxy on edge is not as sharp.
            for half in (parts[:2], parts[2:]) if rows.shape[1] >= _HALVED else ():
                largest = max(largest, float(_sharp(half).max()))
        # One large step counts little here: it has a check of its own.
        scatter = max(scatter, float(np.sqrt(np.mean(np.clip(whole, -4, 4) ** 2))))
    return largest, scatter


def _sharp(parts):
    """The least of steps in two parts, by what is left of it beside its neighbors of one sign."""
    rises = []
    for sign in (1, -1):
        rise = np.pad(np.maximum(sign * np.array(parts), 0), ((0, 0), (1, 1)))
        rises.append(rise[:, 1:-1] - _EDGE * np.maximum(rise[:, :-2], rise[:, 2:]))
    return np.max(np.min(rises, axis=1), axis=0)


def _steps(data):
    """Median step between each row and the next, in its error, less the trend around it."""
    change = np.diff(data, axis=0)
    number = np.isfinite(change).sum(axis=1)
    if (number >= 10).sum() < 10:
        return np.empty(0)
    change[number < 10] = 0.0
    # The other one takes several times as long.
    median = np.nanmedian if np.isnan(change).any() else np.median
    middle = median(change, axis=1)
    spread = median(np.abs(change - middle[:, None]), axis=1) / _NORMAL
    usual = np.median(spread[number >= 10])
    if not usual > 0:
        return np.empty(0)
    error = 1.2533 * np.maximum(spread, 0.5 * usual) / np.sqrt(np.maximum(number, 10))
    return (middle - ndimage.median_filter(middle, 9)) / error
