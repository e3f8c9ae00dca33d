# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One answer over HTTP into a file, with an end to every wait."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
)

if TYPE_CHECKING:
    from http.client import HTTPMessage
    from typing import IO, Any

__all__ = ["LARGEST", "Failure", "transfer"]

LARGEST = 1 << 30
"""Bytes of the largest answer, and of what it unfolds to, unless told otherwise."""

_SLOWEST = 1024  # bytes per second; what drips slower than this never ends
_WAIT_AND_RETRY = (408, 425, 429)


class Failure(Exception):
    """
    One attempt went wrong.

    Attributes
    ----------
    retry : bool
        Whether asking again may help.
    wait : float or None
        Seconds to wait before that, if the service said.
    status : int or None
        HTTP status of the answer, if there was one.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry: bool = True,
        wait: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.retry, self.wait, self.status = retry, wait, status


def transfer(
    url: str, file: IO[bytes], timeout: float, end: float, *, largest: int = LARGEST
) -> None:
    """
    Ask for a URL and copy the body of the answer into a file.

    Parameters
    ----------
    url : str
        ``http://`` or ``https://``.
    file : file object
        Open for writing bytes.
    timeout : float
        Seconds to wait for the beginning of the answer, and for each next part.
    end : float
        Time of `time.monotonic` when all must be done.
    largest : int, optional
        Bytes beyond which an answer is refused.

    Raises
    ------
    Failure
        If there is no complete answer, it is too large, or leads to another protocol.
    OSError
        If the file cannot be written.
    """
    try:
        with _open(url, timeout, end) as response:
            _copy(response, file, timeout, end, largest)
    except HTTPError as error:
        with error:
            raise _refused(error) from error
    except ssl.SSLCertVerificationError as error:
        raise Failure(
            f"the certificate of the service is not valid ({error})", retry=False
        ) from error


def _open(url: str, timeout: float, end: float) -> Any:
    """Send the request and wait for the header of the answer."""
    from splus_srgan._version import __version__

    connections: list[HTTPConnection] = []
    late = threading.Event()
    opener = _opener(connections)
    request = Request(url, headers={"User-Agent": f"splus_srgan/{__version__}"})
    wait = max(0.01, min(timeout, end - time.monotonic()))
    # A socket's timeout begins anew with each byte, so one that drips needs a watchdog.
    watchdog = threading.Timer(wait, _hang_up, [connections, late])
    watchdog.daemon = True
    watchdog.start()
    try:
        return opener.open(request, timeout=wait)
    except HTTPError:
        raise
    except (OSError, HTTPException) as error:
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise cause from error
        if isinstance(cause, TimeoutError) or late.is_set():
            raise Failure(f"no answer within {wait:.4g} s") from error
        raise Failure(f"no connection ({cause or type(cause).__name__})") from error
    finally:
        watchdog.cancel()


def _opener(connections: list[HTTPConnection]) -> OpenerDirector:
    """What opens HTTP and nothing else: no files, no FTP."""
    opener = OpenerDirector()
    for handler in (
        *(ProxyHandler(), UnknownHandler(), HTTPDefaultErrorHandler(), HTTPErrorProcessor()),
        *(_Redirects(), _Plain(connections), _Encrypted(connections)),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(HTTPRedirectHandler):
    """Follows redirects to HTTP, and never from HTTPS to what all can read."""

    def redirect_request(
        self,
        req: Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> Request | None:
        before, after = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if after not in ("http", "https") or (before, after) == ("https", "http"):
            fp.close()
            raise Failure(f"a redirect from {before} to {after} is not followed", retry=False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage
    ) -> Any:
        # The one of the standard library takes FTP, and refuses the rest by the same words.
        where = urlsplit(headers.get("location", headers.get("uri", "")) or "")
        if where.scheme not in ("", "http", "https"):
            fp.close()
            raise Failure(f"a redirect to {where.scheme} is not followed", retry=False)
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


def _hang_up(connections: list[HTTPConnection], late: threading.Event) -> None:
    late.set()
    for connection in connections:
        sock = connection.sock
        if sock is not None:
            with suppress(OSError):
                # The method of SSL sockets would also drop their state under the reader's feet.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _recorded(
    kind: Any, connections: list[HTTPConnection], host: str, **options: Any
) -> HTTPConnection:
    connections.append(kind(host, **options))
    return connections[-1]


class _Plain(HTTPHandler):
    """Opens ``http://`` and remembers the connection."""

    def __init__(self, connections: list[HTTPConnection]) -> None:
        super().__init__()
        self._connect = partial(_recorded, HTTPConnection, connections)

    def http_open(self, request: Request) -> Any:
        return self.do_open(self._connect, request)


class _Encrypted(HTTPSHandler):
    """Opens ``https://`` and remembers the connection."""

    def __init__(self, connections: list[HTTPConnection]) -> None:
        super().__init__()
        self._connect = partial(_recorded, HTTPSConnection, connections)

    def https_open(self, request: Request) -> Any:
        return self.do_open(self._connect, request, context=ssl.create_default_context())


def _copy(response: Any, file: IO[bytes], timeout: float, end: float, largest: int) -> None:
    received, mark, mark_time = 0, 0, time.monotonic()
    length = _length(response)
    if length is not None and length > largest:
        raise Failure(f"too large: {length} bytes, above {largest}", retry=False)
    while length is None or received < length:
        try:
            # Gives what is there, instead of waiting for the whole amount.
            block = response.read1(1 << 16)
        except TimeoutError as error:
            raise Failure(f"stalled after {received} bytes for {timeout:.4g} s") from error
        except (OSError, HTTPException) as error:
            raise Failure(f"the connection broke after {received} bytes ({error})") from error
        if not block:
            break
        file.write(block)
        received += len(block)
        if received > largest:
            raise Failure(f"too large: more than {largest} bytes", retry=False)
        now = time.monotonic()
        if now > end:
            raise Failure(f"not complete by the deadline, after {received} bytes", retry=False)
        if now - mark_time > timeout:
            if received - mark < _SLOWEST * (now - mark_time):
                raise Failure(f"slower than {_SLOWEST} bytes per second after {received} bytes")
            mark, mark_time = received, now
    if length is not None and received != length:
        raise Failure(f"truncated: {received} of {length} bytes arrived")


def _length(response: Any) -> int | None:
    text = response.headers.get("Content-Length", "").strip()
    return int(text) if text.isdecimal() else None


def _refused(error: HTTPError) -> Failure:
    """Describe an answer with an error status."""
    try:
        said = error.read(300).decode("utf-8", "replace").strip()
    except (OSError, HTTPException):
        said = ""
    # Error pages in HTML say nothing that the status does not.
    said = "" if said.startswith("<") else f": {' '.join(said.split())}"
    retry = error.code in _WAIT_AND_RETRY or error.code >= 500
    return Failure(
        f"HTTP {error.code} {error.reason}{said}".rstrip(": "),
        retry=retry,
        wait=_retry_after(error.headers.get("Retry-After")),
        status=error.code,
    )


def _retry_after(text: str | None) -> float | None:
    """Read the seconds, or the date, of a Retry-After header."""
    if not text:
        return None
    if text.strip().isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None
