# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The progress bar: how far, how long it took, how long it will take."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sized
from typing import TYPE_CHECKING

from splus_srgan.cli.output import level, say_on_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from splus_srgan.utils.types import T

__all__ = ["progress"]

_PAUSE = 1.0  # seconds between two drawings, at most
_TURNING = "|/-\\"


def progress(iterable: Iterable[T], *, width: int = 30) -> Iterator[T]:
    """
    Pass an iterable on, with a bar on the terminal that shows how far it got.

    It moves every second, also while one item takes long.  Silent where standard error is
    not a terminal, and with ``--quiet``.

    Parameters
    ----------
    iterable : iterable
        What to pass on; without a length, the items done are counted.
    width : int, optional
        Length of the bar in characters.

    Yields
    ------
    item : object
        The items of ``iterable``.

    Examples
    --------
    >>> from splus_srgan.cli.bar import progress
    >>> list(progress(range(3)))
    [0, 1, 2]
    """
    if level() < 0 or sys.stderr is None or not sys.stderr.isatty():
        yield from iterable
        return
    bar = _Bar(len(iterable) if isinstance(iterable, Sized) else None, width)
    try:
        for item in iterable:
            bar.draw()
            yield item
            bar.done += 1
    finally:
        bar.close()


class _Bar:
    """What is drawn, again and again, by a thread of its own."""

    def __init__(self, total: int | None, width: int) -> None:
        self.total, self.width, self.done = total, width, 0
        self._turn, self._start = 0, time.monotonic()
        self._end, self._lock = threading.Event(), threading.Lock()
        self._thread = threading.Thread(target=self._keep_drawing, daemon=True)
        self._thread.start()

    def _keep_drawing(self) -> None:
        while not self._end.wait(_PAUSE):
            self.draw()

    def draw(self, ending: str = "") -> None:
        with self._lock:
            self._turn += 1
            say_on_terminal(f"\r{self.text()}\x1b[K{ending}")

    def text(self) -> str:
        """The bar in words and signs."""
        seconds = time.monotonic() - self._start
        turning = _TURNING[self._turn % len(_TURNING)] if self.done != self.total else " "
        if self.total is None:
            return f"{turning} {self.done} done, {_clock(seconds)}"
        filled = self.width * self.done // self.total if self.total else self.width
        bar = "#" * filled + "." * (self.width - filled)
        text = f"[{bar}] {turning} {self.done}/{self.total} {_clock(seconds)}"
        if 0 < self.done < self.total:
            left = seconds / self.done * (self.total - self.done)
            text += f", {_clock(left)} left"
        return text

    def close(self) -> None:
        """End the thread, and the line."""
        self._end.set()
        self._thread.join()
        self.draw("\n")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
