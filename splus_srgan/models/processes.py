# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Threads do not survive a fork: raise an error instead of waiting for them forever."""

from __future__ import annotations

import os

__all__ = ["note_threads"]

_process = None  # process in which a generator ran on several threads


def note_threads(several: bool) -> None:
    """
    Remember that threads are used in this process, or refuse where they were lost by a fork.

    Parameters
    ----------
    several : bool
        Whether the work ahead uses threads of its own.

    Raises
    ------
    RuntimeError
        If this process was forked from one that used them: the work would never end.

    Examples
    --------
    >>> from splus_srgan.models.processes import note_threads
    >>> note_threads(False)
    """
    global _process
    if not several:
        return
    if _process is None:
        _process = os.getpid()
    elif _process != os.getpid():
        raise RuntimeError(
            "a generator cannot run in a process forked after one ran with several threads, "
            "since threads do not survive a fork: start processes with "
            "multiprocessing.get_context('spawn'), or make the enhancer in the new process only"
        )
