# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The same work on several bands at once, in threads."""

from __future__ import annotations

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from splus_srgan.utils.floats import numpy_defaults

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["map_threads", "thread_count"]

_MOST = 8  # each has arrays of its own
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def thread_count() -> int:
    """
    Number of threads that work on the CPU may have.

    Returns
    -------
    count : int
        That of PyTorch, which the caller can set, once it was imported; before that, what it
        would begin with: ``OMP_NUM_THREADS``, or the cores of this process.

    Examples
    --------
    >>> from splus_srgan.utils.threads import thread_count
    >>> thread_count() >= 1
    True
    """
    if (torch := sys.modules.get("torch")) is not None:
        return int(torch.get_num_threads())
    stated = os.environ.get("OMP_NUM_THREADS", "")
    if stated.isdecimal() and int(stated) > 0:
        return int(stated)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def map_threads(function: Callable[[_Item], _Result], items: Sequence[_Item]) -> list[_Result]:
    """
    Call a function for each item, several at once.

    What numpy and scipy do to arrays runs at the same time.  The results do not depend on the
    number of threads (`thread_count`, at most 8).

    Parameters
    ----------
    function : callable
        It must not change what the calls share, nor filters of warnings.
    items : sequence
        Its arguments, such as the bands of a field.

    Returns
    -------
    results : list
        Its results, in the order of the items.

    Raises
    ------
    Exception
        What the function raises, for the first of the items for which it does.

    Examples
    --------
    >>> from splus_srgan.utils.threads import map_threads
    >>> map_threads(abs, [-1, 2, -3])
    [1, 2, 3]
    """
    number = min(len(items), thread_count(), _MOST)
    if number < 2:
        return [function(item) for item in items]
    pool = ThreadPoolExecutor(number, thread_name_prefix="splus_srgan-bands")
    try:
        # How numpy treats errors belongs to a thread.
        return list(pool.map(numpy_defaults(function), items))
    finally:
        pool.shutdown(cancel_futures=True)
