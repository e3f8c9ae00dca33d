# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Calls on the workers of a dask.distributed cluster, a bounded number at a time."""

from __future__ import annotations

import logging
import os
import pickle
import re
import signal
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import TYPE_CHECKING

from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.utils.optional import import_optional
from splus_srgan.utils.quiet import own_warnings

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Hashable, Iterable, Iterator
    from typing import Any

__all__ = [
    "calls_as_completed",
    "check_client",
    "check_scheduler",
    "one_at_a_time",
    "open_client",
    "unpickle_once",
]

_AHEAD = 2  # calls for each worker: one that runs, and one that waits
# Of a worker: warning filters belong to the process, and torch has threads of its own.
_ONE_AT_A_TIME = Lock()


def check_scheduler(scheduler: str) -> int | None:
    """
    Read where the workers are.

    Parameters
    ----------
    scheduler : str
        ``"tcp://HOST:PORT"`` or ``"tls://HOST:PORT"`` of a scheduler that runs, or
        ``"local:N"`` for ``N`` processes of this machine.

    Returns
    -------
    number : int or None
        Number of processes of this machine; `None` for an address.

    Raises
    ------
    ValueError
        If it is neither.

    Examples
    --------
    >>> from splus_srgan.utils.cluster import check_scheduler
    >>> check_scheduler("local:4")
    4
    """
    local = re.fullmatch(r"local:([1-9][0-9]{0,3})", scheduler, re.ASCII)
    address = re.fullmatch(r"(tcp|tls)://[^\s/]+:([0-9]{1,5})", scheduler, re.ASCII)
    if not local and not (address and 0 < int(address[2]) < 65536):
        raise ValueError(
            "scheduler must be tcp://HOST:PORT, tls://HOST:PORT, or local:N for N processes of "
            f"this machine, N from 1 to 9999; got {scheduler!r}"
        )
    return int(local[1]) if local else None


@contextmanager
def open_client(scheduler: str) -> Iterator[Any]:
    """
    Open the client of a cluster, and close it after use.

    Processes of this machine share its cores: each has as many threads as are left for it, or as
    the environment variable ``OMP_NUM_THREADS`` says.

    Parameters
    ----------
    scheduler : str
        As `check_scheduler` takes it.

    Yields
    ------
    client : `distributed.Client`
        Client.

    Raises
    ------
    ConnectionError
        If no scheduler answers within ``distributed.comm.timeouts.connect`` of dask's
        configuration (30 seconds).
    ImportError
        If dask.distributed is not installed.
    ValueError
        If ``scheduler`` is wrong.
    """
    number = check_scheduler(scheduler)
    distributed = import_optional("distributed", "distributed")
    if number is None:
        with _one_line(), _client_of(distributed, scheduler) as client:
            yield client
        return
    from dask.system import CPU_COUNT

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, CPU_COUNT // number))
    with (
        distributed.LocalCluster(
            n_workers=number,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            worker_dashboard_address="127.0.0.1:0",
            # What is mapped of a file counts as memory there, but takes none.
            memory_limit=0,
            silence_logs=logging.ERROR,
            env={"OMP_NUM_THREADS": threads},
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        client.register_plugin(_deaf_to_interrupts(distributed))
        yield client


def _deaf_to_interrupts(distributed: Any) -> Any:
    """Have workers ignore Ctrl-C: a terminal sends it to them too, but this process ends them."""

    class Deaf(distributed.WorkerPlugin):
        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Deaf()


@contextmanager
def _one_line() -> Iterator[None]:
    """Silence dask's log about a lost scheduler, which our errors report."""
    log = logging.getLogger("distributed.client")
    before = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(before)


def _client_of(distributed: Any, address: str) -> Any:
    try:
        return distributed.Client(address)
    except OSError as error:
        raise ConnectionError(
            f"no scheduler answers at {address}; start one with 'dask scheduler', and workers with "
            f"'dask worker {address}'"
        ) from error


def check_client(client: Any, *, idle: bool = False) -> None:
    """
    Refuse a client that no work can be given to.

    Parameters
    ----------
    client : `distributed.Client`
        Client of a cluster.
    idle : bool, optional
        Whether a cluster without workers will do, since some are to come.

    Raises
    ------
    ConnectionError
        If it is closed, or its cluster has no workers.
    TypeError
        If it is no client, or an asynchronous one.
    """
    if not all(hasattr(client, name) for name in ("submit", "nthreads", "status")):
        raise TypeError(f"client must be a distributed.Client; got {client!r}")
    if getattr(client, "asynchronous", False):
        raise TypeError("client must not be asynchronous: make it by Client(address)")
    if client.status != "running":
        raise ConnectionError(
            f"client must be connected to a scheduler; it is {client.status}: make a new one, and "
            "keep it open during the work"
        )
    if not idle and not client.nthreads():
        address = client.scheduler.address
        raise ConnectionError(
            f"client must have workers; its scheduler at {address} has none: start one with "
            f"'dask worker {address}', or wait for the first: client.wait_for_workers(1)"
        )


@contextmanager
def one_at_a_time() -> Iterator[list[tuple[Any, ...]]]:
    """
    Have a worker make one call at a time, and note its warnings instead of showing them there.

    Where the worker is a thread of the caller's own process, warnings of threads that were there
    before the call, such as the caller's, are not the call's: they are shown as ever.

    Yields
    ------
    told : list of tuple
        Category and text of each warning of this package; complete at the end.
    """
    told: list[tuple[Any, ...]] = []
    with _ONE_AT_A_TIME, own_warnings() as caught:
        warnings.simplefilter("always")
        yield told
    ours = (w for w in caught if issubclass(w.category, SplusSrganWarning))
    told += dict.fromkeys((w.category, str(w.message)) for w in ours)


def calls_as_completed(
    client: Any, function: Callable[..., Any], calls: Iterable[tuple[Hashable, tuple[Any, ...]]]
) -> Generator[tuple[Any, Any], None, None]:
    """
    Call a function on workers, and yield what becomes of each call in the order they end.

    At most two calls for each worker are submitted at a time, so that the scheduler holds few of
    them, and values come straight from the workers.  A call whose worker is lost is made again on
    another; so the function must not mind.

    Parameters
    ----------
    client : `distributed.Client`
        Client of the cluster.
    function : callable
        Function that the workers can import.
    calls : iterable of (hashable, tuple)
        Name and arguments of each call; made when its turn comes.

    Yields
    ------
    name : hashable
        Name of a call.
    value : object or None
        What it returned; `None` where so many workers were lost with it that it is given up.

    Raises
    ------
    ConnectionError
        If the scheduler is lost.
    Exception
        What a call raised; those that have not begun are cancelled.
    """
    distributed = import_optional("distributed", "distributed")
    import dask

    lost = (CancelledError, distributed.CancelledError, distributed.comm.CommClosedError)
    waiting = iter(calls)
    running: dict[Any, Hashable] = {}
    ended = distributed.as_completed()

    def refill() -> None:
        most = _AHEAD * max(1, len(client.nthreads()))  # workers come and go
        while len(running) < most:
            call = next(waiting, None)
            if call is None:
                return
            name, arguments = call
            # How much may be in work is bounded here.
            with dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TiB"}):
                future = client.submit(function, *arguments, pure=False)
            running[future] = name
            ended.add(future)

    try:
        refill()
        for future in ended:
            yield running.pop(future), _value(distributed, client, future)
            refill()
    except lost as error:
        raise ConnectionError(
            f"the scheduler at {client.scheduler.address} was lost; what is done stays"
        ) from error
    finally:
        if client.status == "running":
            client.cancel(list(running))


def _value(distributed: Any, client: Any, future: Any) -> Any:
    try:
        # Not by way of the scheduler, unless the worker cannot be reached from here.
        return client.gather(future, direct=True)
    except distributed.KilledWorker:
        return None


@lru_cache(maxsize=1)
def unpickle_once(pickled: bytes) -> Any:
    """
    Unpickle an object; the last one is kept, and with it what it has built since.

    Parameters
    ----------
    pickled : bytes
        Object as pickled by `pickle.dumps`.

    Returns
    -------
    unpickled : object
        The same one while ``pickled`` is the same.

    Examples
    --------
    >>> import pickle
    >>> from splus_srgan.utils.cluster import unpickle_once
    >>> pickled = pickle.dumps([1, 2])
    >>> unpickle_once(pickled) is unpickle_once(pickled)
    True
    """
    return pickle.loads(pickled)
