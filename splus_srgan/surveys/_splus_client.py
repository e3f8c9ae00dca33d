# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The official client of the S-PLUS cloud, without its questions and its guesses.

The client (``splusdata`` on ``adss``) asks on the terminal for what it was not given,
takes the first data release whose name contains the one asked for, turns every
failure into "not found", and puts the token of the session into its messages.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from splus_srgan.exceptions import ServiceError
from splus_srgan.utils.optional import has, import_optional
from splus_srgan.utils.transfer import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from splus_srgan.utils.types import T

__all__ = ["call", "find_credentials", "make_client"]

_ENVIRONMENT = ("SPLUS_USERNAME", "SPLUS_PASSWORD")
_KEYRING = "splus.cloud"
# Back ends of keyring that ask for a password of their own on the terminal.
_ASKING = ("keyrings.alt", "keyrings.cryptfile")
_SECRET = re.compile(r"(?i)(token=|bearer\s+|password['\"]?\s*[=:]\s*)[^\s&'\"]+")


def find_credentials(
    username: str | None = None, password: str | None = None
) -> tuple[str, str] | None:
    """
    Look for the user's credentials, without asking.

    Parameters
    ----------
    username, password : str, optional
        As given by the caller.

    Returns
    -------
    credentials : tuple of str or None
        Both from the arguments; or else from the environment variables SPLUS_USERNAME
        and SPLUS_PASSWORD; or else from the keyring of the system, service ``splus.cloud``.
        A name alone is completed from the same places. `None` where there are none.

    Raises
    ------
    ValueError
        If there is a password without a name, or a name without a password.
    """
    if password is not None and username is None:
        raise ValueError("username must be given with a password; got None")
    if "" in (username, password):
        # The client would take that for nothing, and ask.
        raise ValueError("username and password must not be empty; leave both out to be anonymous")
    if username is not None and password is not None:
        return username, password
    known = os.environ.get(_ENVIRONMENT[0]), os.environ.get(_ENVIRONMENT[1])
    if known[0] and known[1] and username in (None, known[0]):
        return known[0], known[1]
    wanted = username or known[0]
    found = _from_keyring(wanted)
    if found is not None:
        return found
    if wanted is not None or known[1]:
        alone = "a name" if wanted is not None else "a password"
        raise ValueError(
            "username and password must come together: as arguments, as the environment variables "
            f"{' and '.join(_ENVIRONMENT)}, or from the keyring of the system (service "
            f"{_KEYRING!r}); got {alone} alone"
        )
    return None


def _from_keyring(username: str | None) -> tuple[str, str] | None:
    if not has("keyring"):
        return None
    import keyring

    if type(keyring.get_keyring()).__module__.startswith(_ASKING):
        return None
    try:
        found = keyring.get_credential(_KEYRING, username)
    except Exception:  # locked or missing key stores have errors of their own
        return None
    return (found.username, found.password) if found and found.username and found.password else None


def make_client(
    credentials: tuple[str, str] | None, server: str, release: str, timeout: float
) -> Any:
    """
    Build a client that never asks, and takes one data release only.

    Parameters
    ----------
    credentials : tuple of str or None
        Name and password; `None` is anonymous.
    server : str
        Address.
    release : str
        Exact name of the data release.
    timeout : float
        Seconds for the list of releases.

    Returns
    -------
    client : splusdata.Core
        Connected where there are credentials; they are not kept.

    Raises
    ------
    ImportError
        If splusdata is not installed.
    ServiceError
        If the login fails.
    ValueError
        If credentials would go unencrypted to another machine.
    """
    if credentials is not None:
        _check_encrypted(server)
    splusdata: Any = import_optional("splusdata", "splus")
    adss: Any = import_optional("adss", "splus")

    class Anonymous(adss.ADSSClient):
        """A client that is built without login; the image service needs none for public data."""

        def login(self, *args: Any, **kwargs: Any) -> None:
            return None

    class Client(splusdata.Core):
        """The official client with an exact choice of the data release."""

        def __init__(self) -> None:
            if credentials is not None:
                super().__init__(*credentials, SERVER_IP=server)
                return
            # Its own constructor would ask for a name; these words satisfy it and go nowhere.
            self.client = Anonymous(server, username="anonymous", password="anonymous")
            self.collections: list[Any] = []
            self.verbose = 0

        def get_collection_id_by_pattern(self, pattern: str) -> Any:
            if not self.collections:
                self.collections = self.client.get_collections(timeout=timeout)
            names = [str(one["name"]) for one in self.collections]
            for name, collection in zip(names, self.collections, strict=True):
                if name.lower() == pattern.lower():
                    return collection
            listed = ", ".join(names) or "none"
            raise splusdata.core.SplusdataError(
                f"release must be one that the service has, {listed}; got {release!r}"
            )

    try:
        return call(Client, secrets=credentials or ())
    except Failure as failure:
        reason, status = str(failure), failure.status
    # Raised here, for what the client raised must not stay attached: it may hold the password.
    raise ServiceError(server, f"no login to S-PLUS: {reason}", status)


def _check_encrypted(server: str) -> None:
    """Refuse to send a password where everybody on the way can read it."""
    try:
        parts = urlsplit(server)
        local = parts.hostname in ("localhost", "::1") or str(parts.hostname).startswith("127.")
    except ValueError:
        parts, local = urlsplit(""), False
    if parts.scheme != "https" and not (parts.scheme == "http" and local):
        raise ValueError(
            "server must begin with https:// where there is a password, which would otherwise be "
            f"readable on its way; got {ServiceError(server, '').url!r}; without credentials "
            f"(arguments, {', '.join(_ENVIRONMENT)}, keyring) the access is anonymous"
        )


def call(
    function: Callable[..., T],
    *args: Any,
    secrets: Sequence[str] = (),
    end: float | None = None,
    **kwargs: Any,
) -> T:
    """
    Call the client and tell its failures apart.

    Parameters
    ----------
    function : callable
        Method of the client.
    *args, **kwargs
        Its arguments.
    secrets : sequence of str, optional
        What must not appear in a message.
    end : float, optional
        Time of `time.monotonic` when it must be done. The client has a limit for each part
        of an answer alone, so one that drips would never end.

    Returns
    -------
    result : object
        What it returns.

    Raises
    ------
    Failure
        If it fails; worth another try where the service was busy or broken.
    """
    results, errors = [], []

    def work() -> None:
        try:
            results.append(function(*args, **kwargs))
        except BaseException as error:  # it belongs to the thread that waits
            errors.append(error)

    # Nothing can end a thread from outside; as a daemon it keeps no program from ending.
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(None if end is None else max(0.0, end - time.monotonic()))
    if results:
        return results[0]
    if not errors:
        raise Failure("not complete by the deadline", retry=False)
    if not isinstance(errors[0], Exception):
        raise errors[0]
    raise _failure(errors.pop(), secrets)


def _failure(error: BaseException, secrets: Sequence[str]) -> Failure:
    """Say what is behind an error, for the client says "not found" of everything."""
    chain = []
    while error is not None and error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__
    status = next((code for code in map(_status, chain) if code is not None), None)
    names = {cls.__name__ for one in chain for cls in type(one).__mro__}
    text = str(chain[0])
    if status in (401, 403) or names & {"AuthenticationError", "PermissionDeniedError"}:
        retry, hint = False, "; log in with an account that may see this release"
    elif names & {"SplusdataError", "KeyError", "JSONDecodeError"} or status == 404:
        retry, hint = False, ""
    else:
        # Timeouts, broken connections, busy servers, and answers that are no FITS file.
        retry = status is None or status >= 500 or status in (408, 425, 429)
        hint = ""
    return Failure(
        f"{type(chain[0]).__name__}: {_redacted(text, secrets)}{hint}", retry=retry, status=status
    )


def _status(error: object) -> int | None:
    code = getattr(getattr(error, "response", None), "status_code", None)
    return code if isinstance(code, int) else None


def _redacted(text: str, secrets: Sequence[str]) -> str:
    """Take credentials out of a message."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "...")
    return _SECRET.sub(r"\1...", text)
