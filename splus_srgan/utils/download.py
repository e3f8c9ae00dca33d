# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
One file from a service on the network: polite, patient, checked, and cached.

Only what passed its check enters the cache of `astropy.utils.data`, so whatever
is found there is whole. An interrupted list resumes from the cache.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

from splus_srgan.exceptions import ServiceError
from splus_srgan.utils.transfer import LARGEST, Failure, transfer
from splus_srgan.utils.unfolded import unfolds_within
from splus_srgan.utils.validate import check_finite, check_integer, check_positive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["MAX_PARALLEL", "fetch_file"]

MAX_PARALLEL = 4
"""Requests under way at once, over all threads of the process."""

_log = logging.getLogger(__name__)


class _Gate:
    """Lets few requests through at once, and those to one host not too quickly."""

    def __init__(self, slots: int) -> None:
        self._slots = threading.BoundedSemaphore(slots)
        self._lock = threading.Lock()
        self._earliest: dict[str, float] = {}

    @contextmanager
    def turn(self, host: str, interval: float) -> Iterator[None]:
        """Wait for a slot and for the host's next free moment."""
        with self._slots:
            with self._lock:
                start = max(time.monotonic(), self._earliest.get(host, 0.0))
                self._earliest[host] = start + interval
            time.sleep(max(0.0, start - time.monotonic()))
            yield

    def hold(self, host: str, seconds: float) -> None:
        """Let nobody ask this host for a while: it said so."""
        with self._lock:
            later = time.monotonic() + seconds
            self._earliest[host] = max(later, self._earliest.get(host, 0.0))


_gate = _Gate(MAX_PARALLEL)
_locks: WeakValueDictionary[Any, Any] = WeakValueDictionary()
_locks_lock = threading.Lock()


def fetch_file(
    url: str,
    *,
    validate: Callable[[Path], object],
    cache: bool = True,
    timeout: float = 120.0,
    retries: int = 4,
    backoff: float = 2.0,
    min_interval: float = 0.25,
    deadline: float | None = None,
    largest: int = LARGEST,
    transport: Callable[..., object] | None = None,
    stop: threading.Event | None = None,
) -> Path:
    """
    Download one file, or find it in the cache.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``. It is the key in the cache, without tokens in it.
    validate : callable
        ``validate(path)`` raises `ValueError` where the content is a wrong answer,
        which asking again would not change, and `OSError` where it is damaged.
    cache : bool, optional
        Whether to look into the download cache of astropy first, and to keep the file
        there. Otherwise the file is a temporary one, the caller's to remove.
    timeout : float, optional
        Seconds to wait for the answer to begin, and for its next bytes; less than
        1 KiB per second over that time counts as no answer.
    retries : int, optional
        How often to ask again after a busy or broken answer (HTTP 408, 425, 429, 5xx,
        no connection, stalled, truncated, damaged).
    backoff : float, optional
        Seconds before the first retry; doubles with each. A ``Retry-After`` header
        overrides it.
    min_interval : float, optional
        Seconds between the starts of two requests to one host, over all threads.
    deadline : float, optional
        Seconds for all attempts and the waits between them; ten times ``timeout`` by default.
    largest : int, optional
        Bytes of the largest answer that is taken, and of what it unfolds to where it is
        compressed.
    transport : callable, optional
        ``transport(url, file, timeout, end)`` that gets the file another way, such as
        through a client of the service; see `splus_srgan.utils.transfer.transfer`.
    stop : `threading.Event`, optional
        Once set from another thread, nothing is asked any more.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    ServiceError
        If the service refuses, answers something else, or stays busy or broken.
    OSError
        If the file cannot be written.
    """
    from astropy.utils.data import conf

    key = _checked(url)
    timeout = check_positive("timeout", timeout)
    deadline = 10 * timeout if deadline is None else check_positive("deadline", deadline)
    retries = check_integer("retries", retries, minimum=0)
    largest = check_integer("largest", largest, minimum=1)
    waits = [check_positive("backoff", backoff) * 2**i for i in range(retries)]
    interval = check_finite("min_interval", min_interval)
    with _lock_of(key):
        path = _from_cache(key, validate) if cache else None
        if path is not None:
            return path
        if not conf.allow_internet:
            raise ServiceError(url, "astropy.utils.data.conf.allow_internet forbids downloads")
        transport = transport or partial(transfer, largest=largest)
        attempt = partial(
            _attempt,
            url,
            validate=validate,
            transport=transport,
            timeout=timeout,
            interval=interval,
            largest=largest,
        )
        path = _persist(url, attempt, waits, deadline, stop or threading.Event())
        return _into_cache(key, path) if cache else path


def _checked(url: str) -> str:
    """Give the key in the cache of a URL: the URL without tokens."""
    parts, key = urlsplit(url), ServiceError(url, "").url
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"url must begin with http:// or https:// and a host; got {key!r}")
    if "@" in parts.netloc:
        raise ValueError(f"url must have no user name or password in it; got {key!r} with one")
    return key


def _lock_of(key: str) -> threading.Lock:
    """Give one lock per file, so that two threads never download the same one."""
    with _locks_lock:
        lock = _locks.get(key)
        if lock is None:
            lock = _locks[key] = threading.Lock()
        return lock


def _from_cache(key: str, validate: Callable[[Path], object]) -> Path | None:
    from astropy.utils.data import clear_download_cache, download_file

    try:
        # Without sources this looks into the cache and nowhere else.
        path = Path(download_file(key, cache=True, sources=[]))
    except KeyError:
        return None
    try:
        validate(path)
    except (OSError, ValueError):  # a disk may have failed since
        clear_download_cache(key)
        return None
    return path


def _into_cache(key: str, path: Path) -> Path:
    """Move a file into the cache; it appears there whole or not at all."""
    from astropy.utils.data import import_file_to_cache

    try:
        return Path(import_file_to_cache(key, str(path)))
    except OSError as error:
        raise OSError(
            error.errno,
            f"the download cache cannot be written ({error}); free some space, choose "
            f"another folder (XDG_CACHE_HOME), or pass cache=False",
        ) from error
    finally:
        path.unlink(missing_ok=True)


def _persist(
    url: str,
    attempt: Callable[..., Path],
    waits: Sequence[float],
    deadline: float,
    stop: threading.Event,
) -> Path:
    """Try until it works, the time is over, or it makes no sense to go on."""
    end = time.monotonic() + deadline
    for number, wait in enumerate([*waits, None], start=1):
        if stop.is_set():
            raise ServiceError(url, "the download was stopped")
        try:
            return attempt(end=end)
        except Failure as failure:
            reason = str(failure) if number == 1 else f"{failure} (after {number} attempts)"
            if failure.retry and wait is not None:
                wait = wait if failure.wait is None else failure.wait
                if time.monotonic() + wait < end:
                    if failure.wait is not None:
                        _gate.hold(urlsplit(url).netloc, wait)
                    host = urlsplit(url).hostname
                    _log.info("waiting %.0f s for %s: %s", wait, host, reason)
                    stop.wait(wait)
                    continue
                reason += f"; waiting {wait:.0f} s more would pass the deadline of {deadline:.0f} s"
            raise ServiceError(url, reason, failure.status) from failure
    raise AssertionError("the last attempt returns or raises")


def _attempt(
    url: str,
    *,
    validate: Callable[[Path], object],
    transport: Callable[..., object],
    timeout: float,
    interval: float,
    largest: int,
    end: float,
) -> Path:
    """Download once into a temporary file and check it."""
    handle, name = tempfile.mkstemp(prefix="splus_srgan-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, _gate.turn(urlsplit(url).netloc, interval):
            transport(url, file, timeout, end)
        _check_unfolded(path, largest)
        try:
            validate(path)
        except ValueError as error:
            raise Failure(str(error), retry=False) from error
        except OSError as error:
            raise Failure(str(error)) from error
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _check_unfolded(path: Path, largest: int) -> None:
    """Refuse what is small as it came and has no end when it is unfolded."""
    try:
        small = unfolds_within(path, largest)
    except OSError as error:
        raise Failure(f"the compressed answer is damaged ({error})") from error
    if not small:
        raise Failure(f"too large: it unfolds to more than {largest} bytes", retry=False)
