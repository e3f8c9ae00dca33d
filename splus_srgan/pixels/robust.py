# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The standard deviation that outliers do not move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

__all__ = ["SIGMA_PER_DEVIATION", "robust_std"]

SIGMA_PER_DEVIATION = float(1 / special.ndtri(0.75))
"""Standard deviation of normal values over their median absolute deviation, 1.4826."""


def robust_std(values: ArrayLike, *, center: float | None = None) -> float:
    r"""
    Standard deviation from the median absolute deviation, which outliers do not move.

    .. math:: s = 1.4826 \, \mathrm{median} |v - c|

    As `astropy.stats.mad_std`, where the center is the median.

    Parameters
    ----------
    values : array_like
        Any shape and unit; all are used, and none may be NaN.
    center : float, optional
        Center :math:`c`, where it is known, such as 0 of differences; the median by default.

    Returns
    -------
    scatter : float
        In the unit of the values; NaN without any.

    Examples
    --------
    >>> from splus_srgan.pixels.robust import robust_std
    >>> round(float(robust_std([1.0, 2.0, 3.0, 4.0, 500.0])), 4)
    1.4826
    >>> round(float(robust_std([1.0, 2.0, 3.0, 4.0, 500.0], center=0.0)), 4)
    4.4478
    """
    values = np.asarray(values)
    if not values.size:
        return np.nan
    center = np.median(values) if center is None else center
    return SIGMA_PER_DEVIATION * np.median(np.abs(values - center))
