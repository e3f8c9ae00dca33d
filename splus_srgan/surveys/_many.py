# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The same request for many positions, a few at a time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.table import Table

from splus_srgan.exceptions import ServiceError
from splus_srgan.surveys._position import one_position
from splus_srgan.surveys.columns import column_positions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from splus_srgan.utils.types import ProgressBar, T

__all__ = ["fetch_many", "list_positions"]


def list_positions(positions: Any) -> list[SkyCoord]:
    """
    Give the positions of a list in whatever form it has.

    Parameters
    ----------
    positions : `~astropy.coordinates.SkyCoord`, `~astropy.table.Table` or sequence
        A table has the columns ``ra`` and ``dec``, in degrees where they have no unit.

    Returns
    -------
    positions : list of `~astropy.coordinates.SkyCoord`
        Single ones, ICRS.

    Raises
    ------
    ValueError
        If a table has no such columns, or a position is none or missing.
    """
    if isinstance(positions, Table):
        if not {"ra", "dec"} <= set(positions.colnames):
            raise ValueError(f"positions must have columns ra, dec; got {positions.colnames}")
        positions = column_positions(positions["ra"], positions["dec"])
    if isinstance(positions, SkyCoord):
        positions = np.atleast_1d(positions)
    return [one_position(position) for position in positions]


def fetch_many(
    fetch: Callable[..., T],
    positions: Sequence[SkyCoord],
    *,
    n_parallel: int,
    progress_bar: ProgressBar | None = None,
) -> list[T | Exception]:
    """
    Call a function for every position, in several threads.

    Parameters
    ----------
    fetch : callable
        ``fetch(position, stop=event)``; the event says when to give up.
    positions : list of `~astropy.coordinates.SkyCoord`
        Where.
    n_parallel : int
        Threads.
    progress_bar : callable, optional
        Wraps an iterable. `None` is silent.

    Returns
    -------
    results : list
        In the order of the positions: what ``fetch`` gave, or the `ServiceError` it raised.
    """

    def one(position: SkyCoord) -> T | Exception:
        try:
            return fetch(position, stop=stop)
        except ServiceError as error:
            return error

    stop, pool = threading.Event(), ThreadPoolExecutor(n_parallel)
    futures = [pool.submit(one, position) for position in positions]
    try:
        return [future.result() for future in (progress_bar or iter)(futures)]
    finally:
        # After an interruption what is under way must neither go on nor be waited for.
        stop.set()
        pool.shutdown(wait=False, cancel_futures=True)
