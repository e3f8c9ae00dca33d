# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Warning filters of a part of the work: those of Python belong to the whole process."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astropy.utils.exceptions import AstropyWarning

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["own_filters", "quiet"]

_LOCK = threading.RLock()
_PATIENCE = 2.0  # seconds: rather a filter that stays than a program that does


@contextmanager
def own_filters(*, record: bool = False) -> Iterator[list[warnings.WarningMessage] | None]:
    """
    Change warning filters in a short block, as `warnings.catch_warnings` does, in any thread.

    Blocks of two threads that overlap without one holding the other would restore each other's
    filters, and leave the process with some of them for good; so one waits for the other.

    Parameters
    ----------
    record : bool, optional
        Whether warnings are listed instead of shown.

    Yields
    ------
    caught : list of `warnings.WarningMessage` or None
        The list.

    Examples
    --------
    >>> import warnings
    >>> from splus_srgan.utils.quiet import own_filters
    >>> with own_filters(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warnings.warn("a remark")
    >>> [str(one.message) for one in caught]
    ['a remark']
    """
    held = _LOCK.acquire(timeout=_PATIENCE)  # whoever holds it may wait for this thread
    try:
        with warnings.catch_warnings(record=record) as caught:
            yield caught
    finally:
        if held:
            _LOCK.release()


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of astropy, photutils and numpy; results say themselves what failed."""
    with own_filters():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
