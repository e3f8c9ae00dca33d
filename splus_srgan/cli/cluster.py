# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The option ``--scheduler``: which workers of a cluster do the work."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from splus_srgan.cli.common import UsageError
from splus_srgan.cli.output import tell

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

__all__ = ["add_scheduler", "check_option", "client_of"]


def add_scheduler(add: Callable[..., Any], what: str) -> None:
    """
    Add the option.

    Parameters
    ----------
    add : callable
        ``add_argument`` of the parser.
    what : str
        What the workers do.
    """
    add(
        "--scheduler", type=str, metavar="ADDRESS",
        help=f"have the workers of a dask.distributed cluster {what}: tcp://HOST:PORT of its "
        "scheduler, or local:N for N processes of this machine",
    )  # fmt: skip


def check_option(scheduler: str | None) -> None:
    """Refuse what names no scheduler, before anything is read; `None` is none."""
    if scheduler is None:
        return
    from splus_srgan.utils.cluster import check_scheduler

    try:
        check_scheduler(scheduler)
    except ValueError as error:
        raise UsageError(str(error)) from None


@contextmanager
def client_of(scheduler: str | None) -> Iterator[Any]:
    """
    Open the client of the cluster, where one is wanted, and wait for its first worker.

    Parameters
    ----------
    scheduler : str or None
        The option.

    Yields
    ------
    client : `distributed.Client` or None
        Client.
    """
    if scheduler is None:
        yield None
        return
    from splus_srgan.utils.cluster import open_client

    with open_client(scheduler) as client:
        if not client.nthreads():
            tell(f"{scheduler}: no workers yet; waiting for the first", least=0)
            client.wait_for_workers(1)
        yield client
