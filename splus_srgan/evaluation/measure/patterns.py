# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Periodic patterns and seams in the sky of an output."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from numpy.lib.stride_tricks import sliding_window_view

from splus_srgan.evaluation.measure.artefacts_sky import LEAST_FREE, sky_pixels
from splus_srgan.evaluation.measure.spectrum import SkySpectrum, named_frequencies
from splus_srgan.pixels.robust import robust_std

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["pattern_lines", "seams"]

_MOST = 0.49  # quantile of the pieces of a border: just below the median, the least of three
_LEAST_SEARCHED = 0.4  # share of sky: what is left beside galaxies is full of their outskirts
_AROUND = 6  # borders to each side, of which the three that a seam touches are too few to count
_CHI2_MEDIAN = 0.4549  # of the square of a normal deviate
_LEAST_SCATTER = 0.1  # of steps in units of their noise
_SIGNIFICANT = {False: 8.0, True: 5.0}  # of any row and column, and of known borders
_OPEN_SKY = 0.5  # of the frame: with less sky, a seam has to be as much more significant
_EDGE = 16  # output pixels: a network treats the border of the image in its own way


def pattern_lines(
    image: FloatArray, *, free: BoolArray | None = None, periods: Sequence[float] = (2, 4)
) -> QTable:
    r"""
    Look for periodic patterns: lines in the power spectrum of the sky.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    periods : sequence of float, optional
        Periods (output pixels, at least 2) to look at in any case: 2 is the Nyquist
        frequency, 4 half of it; add the side of the blocks.

    Returns
    -------
    lines : `~astropy.table.QTable`
        For each period its strongest frequency (``name`` is ``"period 2"`` ...), and
        the strongest line at any other frequency (``"any"``).  Columns: ``fy, fx``
        (1 / pix); ``amplitude`` of the wave; ``level``, the amplitude of the noise there;
        ``faintest``, the least amplitude that cannot be noise; ``found``.  NaN where there
        is too little sky: a fifth of the frame, or two fifths for any other frequency.

    Raises
    ------
    ValueError
        If a period is below 2.

    Notes
    -----
    The sky is weighted with a Hann window, so :math:`a \cos(2\pi f x)` has amplitude
    :math:`a`.  A line counts where its power is :math:`\ln(N / 10^{-4})` times that of
    its surroundings, which noise reaches once in 10000 looks at :math:`N` frequencies.
    Waves of fewer than 8 periods across a square of as many pixels as the sky has are left to
    `low_frequency_residual`.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.patterns import pattern_lines
    >>> y, x = np.mgrid[:64, :64]
    >>> noise = np.random.default_rng(1).normal(0, 0.01, (64, 64))
    >>> lines = pattern_lines(noise + 0.1 * (-1.0) ** (x + y))
    >>> lines["name"][lines["found"]].tolist(), round(float(lines["amplitude"][0]), 2)
    (['period 2'], 0.1)
    """
    free = sky_pixels(image) if free is None else free
    rows = []
    for period in periods:
        if not period >= 2:
            raise ValueError(f"periods must be at least 2 pixels; got {period!r}")
    if free.mean() < LEAST_FREE:
        rows = [(_period_name(p), *(math.nan,) * 4, math.nan, False) for p in periods]
        return _line_table([*rows, ("any", *(math.nan,) * 5, False)])
    spectrum = SkySpectrum(np.asarray(image, float), free)
    named = []
    for period in periods:
        places = named_frequencies(period)
        lines = [(fy, fx, *spectrum.at(fy, fx)) for fy, fx in places]
        least = spectrum.threshold(len(places))
        rows.append(_line_row(_period_name(period), max(lines, key=_strength), least))
        named += places
    if free.mean() < _LEAST_SEARCHED:
        return _line_table([*rows, ("any", *(math.nan,) * 5, False)])
    step = 3 / min(image.shape)  # the window spreads a line over two frequencies
    others = [
        line
        for line in spectrum.search(number=5 + len(named))
        if not any(_near(line[:2], place, step) for place in named)
    ]
    least = spectrum.threshold()
    found = [line for line in others if _strength(line) > least]
    strongest = max(found, key=lambda line: line[2], default=None)
    if strongest is not None:
        strongest = spectrum.refined(*strongest[:2])
    nothing = (math.nan, math.nan, 0.0, spectrum.typical_level)
    rows.append(_line_row("any", strongest or nothing, least))
    return _line_table(rows)


def _strength(line: Any) -> float:
    return line[2] / line[3]


def _near(one: Sequence[float], other: Sequence[float], step: float) -> bool:
    """Whether two frequencies are one, a period of 1 apart included."""
    return all(abs((a - b + 0.5) % 1 - 0.5) < step for a, b in zip(one, other, strict=True))


def _period_name(period: float) -> str:
    return f"period {period:g}"


def _line_row(name: str, line: Any, least: float) -> tuple[Any, ...]:
    fy, fx, amplitude, level = line
    return (name, fy, fx, amplitude, level, least * level, amplitude > least * level)


def _line_table(rows: Sequence[tuple[Any, ...]]) -> QTable:
    names = ("name", "fy", "fx", "amplitude", "level", "faintest", "found")
    table = QTable(rows=rows, names=names)
    table["fy"].unit = table["fx"].unit = 1 / u.pix
    return table


def seams(
    image: FloatArray, *, free: BoolArray | None = None, block_size: int | None = None
) -> QTable:
    r"""
    Look for steps along rows and columns, as blocks leave that were put side by side.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    block_size : int, optional
        Side of the blocks in output pixels: only their borders are looked at.
        `None`: every row and column.

    Returns
    -------
    borders : `~astropy.table.QTable`
        Sorted, the most significant first: ``axis`` (0: between rows), ``position`` (first
        pixel behind the border), ``step`` and its ``error`` (sky units), ``significance``;
        ``faintest``, about the least step there that cannot be noise; ``found``.

    Notes
    -----
    At the border before pixel :math:`k` (none of the outermost 16) the step is
    :math:`D_k = (v_k - v_{k-1}) - (v_{k+1} - v_{k-2}) / 3`, which a smooth sky does
    not have.  Its mean is taken over pieces of 32 pixels along the border, in units of the median
    of the 13 borders around, since noise grows with brightness; the root of the lower median square
    of these pieces is compared with that of all other rows or columns: blocks that are too bright
    and too dark in turn do not hide, and a faint source, which is in one piece alone, is no seam.
    Rows and columns with less than half of sky are left out.  ``significance`` is in standard
    deviations of the other borders.  A step counts from 8 on, or from 5 where borders are known;
    where less than half of the frame is sky, it takes as many times more as there is less of it:
    what little sky there is between sources is not flat.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.patterns import seams
    >>> image = np.random.default_rng(1).normal(0, 0.02, (64, 64))
    >>> image[:, 40:] += 0.1
    >>> found = seams(image)[0]
    >>> int(found["axis"]), int(found["position"]), bool(abs(found["step"] - 0.1) < 0.02)
    (1, 40, True)
    """
    free = sky_pixels(image) if free is None else free
    least = _SIGNIFICANT[block_size is not None]
    least /= min(1.0, max(float(free.mean()), 1e-9) / _OPEN_SKY)
    rows = []
    for axis in (0, 1):
        pull, noise = _border_steps(np.moveaxis(image, axis, 0), np.moveaxis(free, axis, 0))
        usable = np.isfinite(pull)
        usable[: _EDGE - 2] = usable[len(usable) - _EDGE + 1 :] = False
        if usable.sum() < 8:
            continue
        typical = float(np.median(pull[usable]))
        scatter = max(robust_std(pull[usable]), _LEAST_SCATTER)
        faintest = math.sqrt((typical + least * scatter) ** 2 - typical**2)
        for k in np.flatnonzero(usable):
            position = int(k) + 2
            if block_size is not None and position % block_size:
                continue
            step = math.sqrt(max(pull[k] ** 2 - typical**2, 0.0))
            error = scatter * pull[k] / step if step else scatter
            significance = (pull[k] - typical) / scatter
            sizes = (noise[k] * size for size in (step, error, faintest))
            rows.append((axis, position, *sizes, significance, significance > least))
    names = ("axis", "position", "step", "error", "faintest", "significance", "found")
    types = (int, int, float, float, float, float, bool)
    table = QTable(rows=rows or None, names=names, dtype=types)
    table.sort("significance", reverse=True)
    return table


def _border_steps(image: FloatArray, free: BoolArray, piece: int = 32) -> Any:
    """
    Mean steps before each row from the third on, in units of their noise, and that noise.

    Of the pieces of a row the one with the lower median.
    """
    image = np.where(free, image, np.nan)
    step = (image[2:-1] - image[1:-2]) - (image[3:] - image[:-3]) / 3
    step *= 1.5  # a sharp step of 1 gives 2/3
    pieces = np.array_split(np.arange(step.shape[1]), max(1, step.shape[1] // piece))
    means = np.array([_row_means(step[:, columns], piece // 4) for columns in pieces])
    noise = _local_noise(means)
    pulls = np.abs(means) / noise
    count = np.isfinite(pulls).sum(axis=0)
    # What shows in half of the pieces, or where sources leave no more, may be one of them.
    known = np.flatnonzero((count >= len(pieces) / 2) & (count > 0))
    found = np.full((2, step.shape[0]), np.nan)
    chosen = np.argsort(np.nan_to_num(pulls[:, known], nan=np.inf), axis=0)
    chosen = chosen[np.floor(_MOST * (count[known] - 1)).astype(int), np.arange(known.size)]
    found[:, known] = pulls[chosen, known], noise[chosen, known]
    return found


def _row_means(step: FloatArray, least: int) -> FloatArray:
    """Mean of the finite values of each row; NaN of fewer than the least number."""
    good = np.isfinite(step)
    number = good.sum(axis=1)
    total = np.where(good, step, 0.0).sum(axis=1)
    return np.divide(total, number, out=np.full(total.shape, np.nan), where=number >= least)


def _local_noise(means: FloatArray) -> FloatArray:
    """Standard deviation of the means of each piece by that of the borders around it."""
    squares = np.pad(means**2, ((0, 0), (_AROUND, _AROUND)), constant_values=np.nan)
    around = sliding_window_view(squares, 2 * _AROUND + 1, axis=1)
    noise = np.full(means.shape, np.nan)
    some = np.isfinite(means)
    noise[some] = np.sqrt(np.nanmedian(around[some], axis=1) / _CHI2_MEDIAN)
    # The scatter of few, where there is next to no noise, is not what counts.
    least = 1e-3 * np.median(noise[some]) if some.any() else 0.0
    return np.maximum(noise, max(least, 1e-9))
