# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Medians, scatters and what is left of a scatter beyond known errors, with honest error bars."""

import math

import numpy as np
from scipy import special

from splus_srgan.evaluation.checks import Check

__all__ = ["excess_scatter", "judge", "median_error", "robust_std"]

_AT_MOST = 50.0


def robust_std(values):
    r"""
    Standard deviation from the median absolute deviation, which outliers do not move.

    .. math:: s = 1.4826 \, \mathrm{median} |v - \tilde v|

    Parameters
    ----------
    values : array_like, shape (n,)
        Any unit.

    Returns
    -------
    scatter : float
        In the unit of the values; NaN without any.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import robust_std
    >>> round(float(robust_std([1.0, 2.0, 3.0, 4.0, 500.0])), 4)
    1.4826
    """
    values = np.asarray(values, float)
    return 1.4826 * np.median(np.abs(values - np.median(values))) if values.size else np.nan


def median_error(values):
    r"""
    Standard error of a median, :math:`\sqrt{\pi / 2} \, s / \sqrt{n}` with `robust_std`.

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


def excess_scatter(values, errors):
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


def _clear(count, known):
    """How many errors are as rare as three of a normal distribution."""
    if known or not 2 <= count < 100:
        return 3.0
    # Two values agree to a fiftieth of their scatter once in a hundred times.
    return min(float(special.stdtrit(count - 1, 0.99865)), _AT_MOST)


def judge(
    topic, name, band, value, limit, *, error=math.nan, count=0, unit="", note="", known=False
):
    """
    Make a check whose value counts only where its error allows a verdict.

    A value fails only where it is more than three errors beyond its limit, and passes only
    within it, with an error that is no larger than the limit.  Otherwise the check is "not
    measured", and its note says what was found.  A value of unknown error from three or more
    sources counts as it is.  Errors from the scatter of few values are uncertain themselves:
    three errors become the quantile of Student's distribution that is as rare, 6.6 for 5 values.

    Parameters
    ----------
    topic, name, band, value, limit, unit, error, count, note
        As in `~splus_srgan.evaluation.checks.Check`.
    known : bool, optional
        Whether the error is known, and not from the scatter of ``count`` values.

    Returns
    -------
    check : `~splus_srgan.evaluation.checks.Check`
        The check.

    Examples
    --------
    >>> from splus_srgan.evaluation.statistics import judge
    >>> judge("photometry", "median flux offset", "r", 0.004, 0.01, error=0.02, count=2).note
    '0.004 +- 0.02: too few sources (2) for the limit'
    """
    value, error = float(value), float(error)
    if not math.isfinite(value):
        return Check(
            topic, name, band, math.nan, limit, unit, error, int(count), note or "no sources"
        )
    low, high = limit if isinstance(limit, tuple) else (-abs(limit), abs(limit))
    beyond = max(value - high, low - value)
    # A single value has no error; it is as uncertain as it can be.
    unsure = (count < 3 and math.isnan(error)) or error > (high - low) / 2
    near = 0 < beyond <= _clear(count, known) * error
    if near or (unsure and not (error > 0 and beyond > 0)):
        spread = "" if math.isnan(error) else f" +- {error:.2g}"
        why = f"too few sources ({int(count)}) for the limit"
        if not unsure:
            why = f"not clearly beyond the limit, {limit}"
        text = f"{value:.3g}{spread}: {why}"
        note = f"{text}; {note}" if note else text
        value = math.nan
    return Check(topic, name, band, value, limit, unit, error, int(count), note)
