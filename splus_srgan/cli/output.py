# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the commands say, and to whom: results to standard output, the rest to standard error."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
from typing import TYPE_CHECKING

from splus_srgan.exceptions import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "level",
    "mend_streams",
    "say",
    "say_on_terminal",
    "set_level",
    "tell",
    "told_as_it_goes",
]

_LEVEL = [0]


def set_level(quiet: bool = False, verbose: bool = False) -> None:
    """Say less, or more: -1 with ``quiet``, 1 with ``verbose``, else 0."""
    _LEVEL[0] = int(verbose) - int(quiet)


def level() -> int:
    """How much to say: -1, 0 or 1."""
    return _LEVEL[0]


def say(text: object) -> None:
    """Print a result, but not with ``--quiet``; a terminal shows its letters, and obeys none."""
    if level() >= 0:
        print("\n".join(map(printable, str(text).split("\n"))))


def tell(text: str, *, least: int = -1) -> None:
    """
    Write a line to standard error, where there is one.

    Parameters
    ----------
    text : str
        Line.
    least : int, optional
        `level` from which on it is told: -1 always, 0 not with ``--quiet``, 1 with
        ``--verbose``.
    """
    if level() >= least:
        say_on_terminal(f"{printable(text)}\n")


def say_on_terminal(text: str) -> None:
    """Write to standard error; nobody listening is no error."""
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.write(text)
            sys.stderr.flush()


@contextlib.contextmanager
def told_as_it_goes(name: str) -> Iterator[None]:
    """
    Tell what a part of the package logs while it works.

    Parameters
    ----------
    name : str
        Name of its logger.
    """
    logger = logging.getLogger(name)
    handler, before = _Teller(), (logger.level, logger.propagate)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before[0])
        logger.propagate = before[1]


class _Teller(logging.Handler):
    """Writes to standard error, past a bar that may be there."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage(), least=0)


def mend_streams() -> None:
    """
    Give closed standard streams a place to go to, and results letters that they can have.

    Otherwise the next file that is opened would take the number of the closed one, and what
    a library writes to "standard error" would end up in it; and work that is done would fail
    for a ± on a terminal that has none.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "r" if number == 0 else "w"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")
