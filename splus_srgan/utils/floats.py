# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What numpy does where numbers overflow, underflow or are undefined."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from splus_srgan.utils.types import P, T

__all__ = ["NUMPY_DEFAULTS", "numpy_defaults"]

NUMPY_DEFAULTS: dict[str, Any] = {
    "divide": "warn",
    "over": "warn",
    "under": "ignore",
    "invalid": "warn",
}
"""What `numpy.seterr` begins with."""


def numpy_defaults(function: Callable[P, T]) -> Callable[P, T]:
    """
    Run a function as if the caller had never called `numpy.seterr`.

    Where the caller has numpy raise, a harmless underflow within the function would end it.

    Parameters
    ----------
    function : callable
        The function.

    Returns
    -------
    function : callable
        It in numpy's own state; the caller's is as before once it returns.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.utils.floats import numpy_defaults
    >>> @numpy_defaults
    ... def small(x):
    ...     return np.exp(-x)
    >>> with np.errstate(all="raise"):
    ...     float(small(np.float64(1000.0)))
    0.0
    """

    @functools.wraps(function)
    def inside(*arguments: P.args, **options: P.kwargs) -> T:
        with np.errstate(**NUMPY_DEFAULTS):
            return function(*arguments, **options)

    return inside
