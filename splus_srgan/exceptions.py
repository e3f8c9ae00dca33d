# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Warnings and errors of `splus_srgan`.

Every warning descends from `SplusSrganWarning`, so one filter silences them
all; errors descend from the builtin a caller would expect.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from astropy.utils.exceptions import AstropyUserWarning

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "ChecksumWarning",
    "DomainWarning",
    "FallbackWarning",
    "GridMismatchError",
    "NoSkyWarning",
    "PSFMismatchWarning",
    "RegistrationError",
    "ServiceError",
    "SplusSrganWarning",
    "UncertaintyDroppedWarning",
    "UnusualInputWarning",
    "WeightsError",
    "printable",
]


class SplusSrganWarning(AstropyUserWarning):
    """
    Base class of all warnings of this package.

    Examples
    --------
    >>> import warnings
    >>> from splus_srgan.exceptions import SplusSrganWarning
    >>> warnings.simplefilter("ignore", SplusSrganWarning)
    >>> warnings.resetwarnings()
    """


class UncertaintyDroppedWarning(SplusSrganWarning):
    """The uncertainty of the input does not hold for the output and is left out."""


class DomainWarning(SplusSrganWarning):
    """The input lies outside what the weights were trained for."""


class NoSkyWarning(SplusSrganWarning):
    """No blank sky was found in the frame, so its level is left as it is."""


class PSFMismatchWarning(SplusSrganWarning):
    """The seeing in a header is not that of the stars, or not that of other bands as it must be."""


class ChecksumWarning(SplusSrganWarning):
    """A file of this package is not as it was written: its checksums do not hold."""


class FallbackWarning(SplusSrganWarning):
    """Something about the data is not known, and the next best was done; it says what."""


class UnusualInputWarning(SplusSrganWarning):
    """The pixels of an input do not look like those of an image that was left as it was taken."""


class GridMismatchError(ValueError):
    """Bands that must share one pixel grid do not."""


class RegistrationError(ValueError):
    """Two images do not show the same sky where their WCS say so, or not at all."""


class WeightsError(ValueError):
    """Weights are damaged, unknown, or do not suit the data."""


# Query parameters that may hold what only their owner should know.
_SECRET = re.compile(
    r"(?i)(?<=[?&;])([^=&;]*(?:token|passw|pwd|secret|key|auth|credential|sig)[^=&;]*)=[^&;]*"
)


def printable(text: object) -> str:
    r"""
    Take out of a text what a terminal would not show but obey.

    Parameters
    ----------
    text : str
        Such as a service or a header says it.

    Returns
    -------
    text : str
        With a blank for every control character, line ends among them.

    Examples
    --------
    >>> from splus_srgan.exceptions import printable
    >>> printable("no \x1b[31msuch layer")
    'no  [31msuch layer'
    """
    return "".join(letter if letter.isprintable() else " " for letter in str(text))


class ServiceError(OSError):
    """
    A service on the network did not give what was asked for.

    Parameters
    ----------
    url : str
        What was asked; user names, passwords and tokens in it are left out.
    reason : str
        What went wrong, and what to do about it; without control characters, which a terminal
        would obey.
    status : int, optional
        HTTP status of the answer, if there was one.

    Attributes
    ----------
    url, reason, status
        As given, ``url`` without credentials.

    Examples
    --------
    >>> from splus_srgan.exceptions import ServiceError
    >>> print(ServiceError("https://me:secret@example.org/image?ra=1", "no such layer"))
    no such layer; asked https://example.org/image?ra=1
    """

    def __init__(self, url: object, reason: object, status: int | None = None) -> None:
        self.url = printable(_without_credentials(url))
        self.reason = printable(reason)
        self.status = status
        super().__init__(f"{self.reason}; asked {self.url}")

    def __reduce__(self) -> tuple[Any, ...]:
        # The way of OSError would pass the message alone, and fail in another process.
        return type(self), (self.url, self.reason, self.status)


def _without_credentials(url: object) -> str:
    parts = urlsplit(str(url))
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return _SECRET.sub(r"\1=...", urlunsplit(bare))
