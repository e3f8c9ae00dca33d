# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Memory of this process."""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["give_back"]


def give_back() -> None:
    """
    Give memory that is no longer used back to the system.

    The C library of Linux keeps what arrays of up to 32 MB leave behind, for later ones, which
    may not fit there.  Elsewhere, nothing happens.

    Examples
    --------
    >>> from splus_srgan.utils.memory import give_back
    >>> give_back()
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], object]:
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):  # Windows, macOS, other C libraries
        return lambda _: None
