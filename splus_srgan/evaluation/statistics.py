# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Medians, scatters and what is left of a scatter beyond known errors, with honest error bars."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from splus_srgan.pixels.robust import robust_std

if TYPE_CHECKING:
    from typing import Any

    from astropy.table import Table
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "excess_scatter",
    "finite_median",
    "finite_values",
    "judged",
    "median_error",
    "plain_values",
    "pooled",
    "scatter_error",
    "worst_part",
]

_AT_MOST = 50.0
_FEWEST = 3  # sources of a part of the frame
_ENOUGH = 0.5  # of the distance to a limit: the largest error with which a value passes
_OF_A_SCATTER = 1.17  # times s / sqrt(n): error of a robust standard deviation, of a plain one 0.71
_SHARPEST = 0.1  # of the distance to a limit: no field is taken as more certain


def plain_values(column: Any) -> FloatArray:
    """
    Values of a column without their unit.

    Parameters
    ----------
    column : `~astropy.table.Column`, `~astropy.units.Quantity` or array_like
        Numbers.

    Returns
    -------
    values : `~numpy.ndarray` of float
        In the unit of the column.

    Examples
    --------
    >>> from astropy import units as u
    >>> from splus_srgan.evaluation.statistics import plain_values
    >>> plain_values([1, 2] * u.mag).tolist()
    [1.0, 2.0]
    """
    return np.asarray(getattr(column, "value", column), float)


def finite_values(values: ArrayLike) -> FloatArray:
    """
    Those of some values that are finite.

    Parameters
    ----------
    values : array_like
        Any unit.

    Returns
    -------
    finite : `~numpy.ndarray` of float, shape (n,)
        The others are left out.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import finite_values
    >>> finite_values([1.0, float("nan"), 3.0]).tolist()
    [1.0, 3.0]
    """
    values = np.asarray(values, float)
    return values[np.isfinite(values)]


def finite_median(values: ArrayLike) -> float:
    """
    Median of the finite values.

    Parameters
    ----------
    values : array_like
        Any unit.

    Returns
    -------
    median : float
        NaN if none is finite.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import finite_median
    >>> float(finite_median([1.0, float("nan"), 3.0])), float(finite_median([]))
    (2.0, nan)
    """
    values = finite_values(values)
    return float(np.median(values)) if values.size else np.nan


def median_error(values: ArrayLike) -> float:
    r"""
    Standard error of a median.

    .. math:: \sqrt{\pi / 2} \, s / \sqrt{n}

    with the scatter :math:`s` of `~splus_srgan.pixels.robust.robust_std`.

    Parameters
    ----------
    values : array_like, shape (n,)
        Any unit.

    Returns
    -------
    error : float
        NaN for fewer than two values.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import median_error
    >>> round(float(median_error([1.0, 2.0, 3.0, 4.0])), 3)
    0.929
    """
    values = np.asarray(values, float)
    return 1.2533 * robust_std(values) / np.sqrt(values.size) if values.size > 1 else np.nan


def excess_scatter(values: ArrayLike, errors: ArrayLike) -> float:
    r"""
    Scatter beyond the noise: the ``s`` with which deviations have the size of their errors.

    The robust standard deviation of :math:`(v - \tilde v) / \sqrt{e^2 + s^2}` is 1.

    Parameters
    ----------
    values : array_like, shape (n,)
        Measured values, any unit.
    errors : array_like, shape (n,)
        Their errors in the same unit, positive.

    Returns
    -------
    scatter : float
        In the same unit; 0 where the scatter is no larger than the errors, NaN for
        fewer than three values.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.statistics import excess_scatter
    >>> values = np.random.default_rng(1).normal(0.0, 5.0, 20000)
    >>> bool(abs(excess_scatter(values, np.full(20000, 3.0)) - 4) < 0.1)
    True
    """
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    if values.size < 3:
        return np.nan
    values = values - np.median(values)
    low, high = 0.0, 10 * robust_std(values) + 1e-9
    if robust_std(values / errors) <= 1:
        return 0.0
    for _ in range(50):
        middle = (low + high) / 2
        if robust_std(values / np.sqrt(errors**2 + middle**2)) > 1:
            low = middle
        else:
            high = middle
    return high


def scatter_error(scatter: float, count: float, *, limit: float = 0.0, noise: float = 0.0) -> float:
    r"""
    Standard error of a robust scatter, or what it would be if the scatter were as large as a limit.

    .. math:: 1.17 \, \frac{s^2 + e^2}{s \sqrt{n}}

    The scatter of few values is small or large by chance, and so is an error that is taken from
    it.  Whether a scatter is below a limit or beyond it is judged by how far a scatter as large
    as the limit would have been off, so its error is that of the limit.

    Parameters
    ----------
    scatter : float
        Of `~splus_srgan.pixels.robust.robust_std`, or :math:`s` of `excess_scatter`.
    count : float
        Number of independent values :math:`n`.
    limit : float, optional
        Taken for :math:`s`, in the same unit; 0 for none.
    noise : float, optional
        Error :math:`e` of the values, beyond which the scatter is.

    Returns
    -------
    error : float
        In the same unit; NaN without a scatter.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import scatter_error
    >>> round(scatter_error(0.0, 4, limit=0.1), 4), round(scatter_error(0.2, 100), 4)
    (0.0585, 0.0234)
    """
    if count < 1 or not math.isfinite(scatter):
        return math.nan
    size = limit or float(scatter)
    if not size:
        return 0.0 if not noise else math.nan
    return _OF_A_SCATTER * (size**2 + noise**2) / (size * math.sqrt(count))


def _clear(count: int, known: bool) -> float:
    """How many errors are as rare as three of a normal distribution."""
    if known or not 2 <= count < 100:
        return 3.0
    # Two values agree to a fiftieth of their scatter once in a hundred times.
    return min(float(special.stdtrit(count - 1, 0.99865)), _AT_MOST)


def pooled(values: ArrayLike, errors: ArrayLike, limits: tuple[float, float]) -> dict[str, Any]:
    """
    Pool a value of many fields.

    The largest of many noisy values is large by chance: so it is the worst one where that is
    beyond the limits by more than three errors, else the mean of all by their errors.  There no
    error counts as less than a tenth of the distance to the limit, so that a field with next to
    no error does not speak for all others.

    Parameters
    ----------
    values, errors : array_like, shape (n,)
        Of each field, and their standard errors; where either is not finite, it is left out.
    limits : tuple of float
        The range that passes.

    Returns
    -------
    result : dict
        ``value``, ``error``, ``count`` and ``note``; NaN without any value.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import pooled
    >>> pooled([0.0, 0.5], [0.1, 0.1], (0.0, 0.1))["value"]
    0.5
    """
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    good = np.isfinite(values) & np.isfinite(errors)
    values, errors = values[good], errors[good]
    result = {"value": np.nan, "error": np.nan, "count": int(values.size), "note": ""}
    if not values.size:
        return result
    beyond = np.maximum(values - limits[1], limits[0] - values) - 3 * errors
    worst = int(np.argmax(beyond))
    if beyond[worst] > 0 or values.size == 1:
        return result | {"value": float(values[worst]), "error": float(errors[worst])}
    weight = np.maximum(errors, max(_SHARPEST * _half(limits), 1e-12)) ** -2.0
    value, error = float(np.sum(weight * values) / weight.sum()), float(weight.sum() ** -0.5)
    note = "mean of all fields; none is beyond the limit by three errors"
    return result | {"value": value, "error": error, "note": note}


def _half(limits: tuple[float, float]) -> float:
    """Distance from the best value to a limit."""
    low, high = limits
    return high if low == 0 else (high - low) / 2


def judged(
    value: float,
    limits: tuple[float, float] | None,
    *,
    error: float = math.nan,
    count: int = 0,
    note: str = "",
    known: bool = False,
    least: int = 1,
    of: str = "sources",
) -> tuple[float, str]:
    """
    Tell whether a value counts: its error may not leave the verdict open.

    A value fails only where it is more than three errors beyond its limit, and passes only
    within it, from enough sources, with an error that is at most half as wide as the range to
    the limit.  Otherwise it is "not measured", and the note says what was found.  A value of
    unknown error from enough sources counts as it is.  Errors from the scatter of few values
    are uncertain themselves: three errors become the quantile of Student's distribution that is
    as rare, 6.6 for 5 values.

    Parameters
    ----------
    value : float
        What was measured; NaN where it could not be.
    limits : tuple of float or None
        The range that passes; `None`: every value counts.
    error : float, optional
        Standard error of the value; NaN where unknown.
    count : int, optional
        Number of sources, pixels or fields behind the value.
    note : str, optional
        What a reader must know.
    known : bool, optional
        Whether the error is known, and not from the scatter of ``count`` values.
    least : int, optional
        Least count.
    of : str, optional
        What is counted.

    Returns
    -------
    value : float
        NaN where it does not count.
    note : str
        Why.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import judged
    >>> judged(0.004, (-0.01, 0.01), error=0.02, count=5)[1]
    '0.004 +- 0.02: too few sources (5) for the limit'
    """
    value, error = float(value), float(error)
    if not math.isfinite(value):
        return math.nan, note or f"no {of}"
    if limits is None:
        return value, note
    low, high = limits
    half = _half(limits)
    beyond = max(value - high, low - value)
    few = count < least and (math.isnan(error) or not known)
    unsure = few or error > _ENOUGH * half
    near = 0 < beyond <= _clear(count, known) * error
    if near or (unsure and not (error > 0 and beyond > 0)):
        spread = "" if math.isnan(error) else f" +- {error:.2g}"
        why = f"too few {of} ({int(count)}) for the limit"
        if not unsure:
            why = f"not clearly beyond the limit, {low:g} to {high:g}"
        text = f"{value:.3g}{spread}: {why}"
        return math.nan, f"{text}; {note}" if note else text
    return value, note


def worst_part(
    rows: Table, values: ArrayLike, errors: ArrayLike, limits: tuple[float, float]
) -> dict[str, Any]:
    """
    Give the median that is farthest off, of a field, a quadrant of all, or a quadrant of a field.

    The median of all hides what is wrong with a quarter of them.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        A row per source; its columns ``field`` and ``quadrant``, where it has them, say where a
        source lies.
    values, errors : array_like, shape (n,)
        Of each source, and what noise does to it; those that are not finite are left out.
    limits : tuple of float
        The range that passes; a part counts where `judged` says so, with three sources at least.

    Returns
    -------
    result : dict
        ``value``, ``error``, ``count`` and ``note``; NaN where no part has enough sources.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.evaluation.statistics import worst_part
    >>> rows = Table({"quadrant": [0, 0, 0, 0, 3, 3, 3, 3]})
    >>> found = worst_part(rows, 4 * [0.0] + 4 * [0.2], 8 * [0.001], (-0.1, 0.1))
    >>> found["value"], found["count"]
    (0.2, 4)
    """
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    good = np.isfinite(values) & np.isfinite(errors)
    values, errors = values[good], errors[good]
    field, quadrant = (
        np.asarray(rows[name])[good] if name in rows.colnames else np.zeros(len(values), int)
        for name in ("field", "quadrant")
    )
    both = np.array([f"{one}/{other}" for one, other in zip(field, quadrant, strict=True)])
    worst: dict[str, Any] = {"value": np.nan, "error": np.nan, "count": 0}
    worst["note"] = "too few sources in every part"
    for labels in (field, quadrant, both):
        for label in dict.fromkeys(labels.tolist()):
            mine = labels == label
            count = int(mine.sum())
            # By chance a few agree better than their noise lets them.
            error = 1.2533 * np.median(errors[mine]) / np.sqrt(count)
            error = float(np.fmax(error, median_error(values[mine])))
            value, note = judged(
                np.median(values[mine]), limits, error=error, count=count, least=_FEWEST
            )
            if np.isfinite(value) and not abs(value) <= abs(worst["value"]):
                worst = {"value": value, "error": error, "count": count, "note": note}
    return worst
