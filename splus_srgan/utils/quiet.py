# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Warnings of a part of the work; those of Python belong to the whole process."""

from __future__ import annotations

import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from astropy.utils.exceptions import AstropyWarning

from splus_srgan.exceptions import SplusSrganWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["about", "names_shown", "own_filters", "own_warnings", "quiet"]

_LOCK = threading.RLock()
_NAMES: dict[int, str] = {}  # of what each thread is at work on
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
        with own_warnings() if record else warnings.catch_warnings() as caught:
            yield caught
    finally:
        if held:
            _LOCK.release()


@contextmanager
def own_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """
    List warnings instead of showing them, but only those of this thread and of those it starts.

    Those of threads that are there already, at work on something else, are shown as ever.

    Yields
    ------
    caught : list of `warnings.WarningMessage`
        The list.
    """
    caught: list[warnings.WarningMessage] = []
    with warnings.catch_warnings():
        shown = warnings.showwarning
        others = {thread.ident for thread in threading.enumerate()} - {threading.get_ident()}

        def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if threading.get_ident() in others:
                shown(message, category, *where, **more)
            else:
                caught.append(warnings.WarningMessage(message, category, *where, **more))

        warnings.showwarning = note  # as its documentation allows
        yield caught


@contextmanager
def quiet() -> Iterator[None]:
    """Without warnings of astropy, photutils and numpy; results say themselves what failed."""
    with own_filters():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield


@contextmanager
def about(name: str) -> Iterator[None]:
    """
    Say what this thread is at work on, for `names_shown`.

    Parameters
    ----------
    name : str
        Such as that of a field.
    """
    thread = threading.get_ident()
    before = _NAMES.get(thread)
    _NAMES[thread] = name
    try:
        yield
    finally:
        if before is None:
            del _NAMES[thread]
        else:
            _NAMES[thread] = before


@contextmanager
def names_shown() -> Iterator[None]:
    """
    Begin each warning with the name of what its thread is at work on, as `about` says.

    Filters are left alone: what they ignore or turn into errors is no other than without.

    Examples
    --------
    >>> import warnings
    >>> from splus_srgan.utils.quiet import about, names_shown
    >>> with warnings.catch_warnings(record=True) as caught, names_shown(), about("field 7"):
    ...     warnings.simplefilter("always")
    ...     warnings.warn("has no sky")
    >>> [str(one.message) for one in caught]
    ['field 7: has no sky']
    """
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        name = _NAMES.get(threading.get_ident())
        if name is not None:
            text = f"{name}: {message}"
            message = category(text) if issubclass(category, SplusSrganWarning) else text
        shown(message, category, *where, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = shown
