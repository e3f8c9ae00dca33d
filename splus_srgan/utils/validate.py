# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Checks of parameters, whose messages name parameter, rule and value.

Each returns the value it was given, so that a check can stand in an assignment.
"""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any, TypeGuard

    from numpy.typing import DTypeLike, NDArray

    from splus_srgan.utils.types import T

__all__ = [
    "check_finite",
    "check_integer",
    "check_one_of",
    "check_positive",
    "check_shape",
    "is_number",
    "present",
]


def is_number(value: object) -> TypeGuard[float]:
    """
    Tell whether a value is one real number.

    Parameters
    ----------
    value : object
        Whatever a header, a file or a caller gave.

    Returns
    -------
    number : bool
        `True` for Python's and numpy's integers and floats, NaN and infinity among them.
        `True` and `False` are integers to Python, but never meant as a number here.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.utils.validate import is_number
    >>> is_number(1), is_number(np.float32(0.5)), is_number(True), is_number("1")
    (True, True, False, False)
    """
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)


def present(value: T | None) -> T:
    """Return a value that the caller knows to be there; `None` is a fault of the program."""
    if value is None:
        raise AssertionError("a value that has to be there is missing")
    return value


def check_one_of(name: str, value: T, options: Collection[object]) -> T:
    """Return ``value`` if it is among ``options``, else raise `ValueError`."""
    if value not in options:
        allowed = ", ".join(repr(option) for option in options)
        raise ValueError(f"{name} must be one of {allowed}; got {value!r}")
    return value


def check_finite(name: str, value: Any) -> float:
    """Return ``value`` as `float` if it is a finite real number."""
    if not is_number(value):
        raise TypeError(f"{name} must be a real number; got {value!r}")
    if not math.isfinite(value):
        raise ValueError(f"{name} must be finite; got {value!r}")
    return float(value)


def check_positive(name: str, value: Any) -> float:
    """Return ``value`` as `float` if it is finite and above zero."""
    number = check_finite(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be above 0; got {value!r}")
    return number


def check_integer(name: str, value: Any, *, minimum: int | None = None) -> int:
    """Return ``value`` as `int` if it is an integer of at least ``minimum``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer; got {value!r}")
    if minimum is not None and value < minimum:
        raise ValueError(f"{name} must be at least {minimum}; got {value!r}")
    return int(value)


def check_shape(
    name: str, values: Any, shape: tuple[int, ...], dtype: DTypeLike = float
) -> NDArray[Any]:
    """Return ``values`` as an array of this type if they have the shape."""
    values = np.asarray(values, dtype)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}; got {values.shape}")
    return values
