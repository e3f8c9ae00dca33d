# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What a FITS file says of itself, looked at before anything is built from it.

Some headers end or stop the process deep in the libraries that read them. The limits are
generous for images, and stand here alone.
"""

from __future__ import annotations

import gzip
import math
import os
import re
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO, Any

__all__ = [
    "MAX_AXES",
    "MAX_CARDS",
    "MAX_COMPRESSION",
    "MAX_FIELDS",
    "MAX_HDUS",
    "MAX_ORDER",
    "MAX_REPEATS",
    "check_headers",
    "check_regular",
]

MAX_AXES = 9
"""Axes of an image or a WCS."""
MAX_CARDS = 100_000
"""Cards of one header."""
MAX_HDUS = 10_000
"""HDUs of a file."""
MAX_FIELDS = 999
"""Columns of a table, by the FITS standard."""
MAX_ORDER = 19
"""Order of a SIP polynomial."""
MAX_REPEATS = 8
"""Times that one card of a WCS may be in a header."""
MAX_COMPRESSION = 20_000
"""Bytes of an image for one of a file compressed tile by tile."""

_BLOCK, _CARD = 2880, 80
_BITS = (8, 16, 32, 64, -32, -64)
_FREE = 2**26  # bytes that an image may always unfold to
_WCS_NUMBER = re.compile(
    r"(CRPIX|CRVAL|CDELT|CROTA|CRDER|CSYER)\d[A-Z]?|(CD|PC|PV)\d+_\d+[A-Z]?"
    r"|(LONPOLE|LATPOLE|EQUINOX|RESTFRQ|RESTWAV)[A-Z]?|(A|B|AP|BP)_\d_\d|LTV\d|LTM\d_\d"
)
_INTEGERS = {
    **dict.fromkeys(("NAXIS", "ZNAXIS"), (0, MAX_AXES)),
    "PCOUNT": (0, math.inf),
    "GCOUNT": (1, math.inf),
    "TFIELDS": (0, MAX_FIELDS),
}
_STRUCTURE = re.compile(r"Z?(NAXIS\d*|BITPIX)|ZTILE\d+|PCOUNT|GCOUNT|TFIELDS")
_PATTERNS = (
    (re.compile(r"Z?NAXIS\d+"), (0, math.inf)),
    (re.compile(r"ZTILE\d+"), (0, math.inf)),
    (re.compile(r"WCSAXES[A-Z]?"), (0, MAX_AXES)),
    (re.compile(r"(A|B|AP|BP)_ORDER"), (0, MAX_ORDER)),
)


def check_regular(path: Path) -> None:
    """
    Refuse what is no regular file, before it is opened.

    Parameters
    ----------
    path : `~pathlib.Path`
        A device has no end, and a pipe may never begin.

    Raises
    ------
    OSError
        If it is missing, a folder, a device, a pipe or a socket.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(f"{path} is a folder; give the FITS files in it")
    if not stat.S_ISREG(mode):
        raise OSError(f"{path} is a device, a pipe or a socket; give a FITS file")


def check_headers(path: Path) -> list[dict[str, Any]]:
    """
    Make sure that the headers of a file can be true.

    Parameters
    ----------
    path : `~pathlib.Path`
        A regular file, plain or compressed as a whole (gzip). What is no FITS passes.

    Returns
    -------
    headers : list of dict
        Integers, and other values as text, by keyword, for each HDU.

    Raises
    ------
    ValueError
        If a card is beyond the limits of this module, a header has no end, or the file ends
        before its data.
    """
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
        stream.seek(0)
        if packed:
            with gzip.open(stream) as unpacked:
                return list(_headers(unpacked, None))
        return list(_headers(stream, os.fstat(stream.fileno()).st_size))


def _headers(stream: IO[bytes] | gzip.GzipFile, size: int | None) -> Iterator[dict[str, Any]]:
    for index in range(MAX_HDUS):
        cards = _read_cards(stream, index)
        if cards is None:
            return
        header = _checked(cards, index)
        yield header
        _skip(stream, _data_size(header, index), size, index)
    raise ValueError(f"it must have at most {MAX_HDUS} HDUs")


def _read_cards(stream: IO[bytes] | gzip.GzipFile, index: int) -> list[str] | None:
    """Cards of the next header; `None` where there is none."""
    cards: list[str] = []
    while len(cards) < MAX_CARDS:
        block = stream.read(_BLOCK)
        if not cards and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            if block[8:10] == b"= ":  # astropy would take it for a header
                raise ValueError(
                    f"HDU {index} must begin with {'XTENSION' if index else 'SIMPLE'}; got "
                    f"{block[:8].decode('latin-1').rstrip()!r}"
                )
            return None  # the end, or what follows it
        if len(block) < _BLOCK and b"END" not in block:
            raise ValueError(f"it ends within the header of HDU {index}: it is truncated")
        for start in range(0, len(block), _CARD):
            card = block[start : start + _CARD].decode("latin-1")
            if card.rstrip() == "END":
                return cards
            cards.append(card)
    raise ValueError(f"the header of HDU {index} must have at most {MAX_CARDS} cards")


def _checked(cards: Sequence[str], index: int) -> dict[str, Any]:
    header: dict[str, Any] = {}
    count: dict[str, int] = {}
    for card in cards:
        keyword = card[:8].rstrip()
        if card[8:10] != "= ":
            continue
        text = card[10:].split("/")[0].strip()
        count[keyword] = count.get(keyword, 0) + 1
        number = _WCS_NUMBER.fullmatch(keyword)
        if number and not text.startswith("'"):
            _check_number(keyword, text, index)
        if count[keyword] > MAX_REPEATS and (number or re.match("WCSAXES|CTYPE|CUNIT", keyword)):
            raise ValueError(
                f"HDU {index} must have {keyword} once; it is there more than {MAX_REPEATS} times"
            )
        value = _integer(keyword, text, index)
        if header.setdefault(keyword, value) != value and _STRUCTURE.fullmatch(keyword):
            # Some readers take the first one and some the last.
            raise ValueError(
                f"HDU {index} must have one {keyword}; got {header[keyword]} and {value}"
            )
    return header


def _check_number(keyword: str, text: str, index: int) -> None:
    try:
        good = not text or math.isfinite(float(text.upper().replace("D", "E")))
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"HDU {index} must have a finite number as {keyword}; got {text}")


def _integer(keyword: str, text: str, index: int) -> int | str:
    """Value of a card, as an integer within its limits where it must be one."""
    limits = _INTEGERS.get(keyword)
    if limits is None:
        limits = next((range_ for pattern, range_ in _PATTERNS if pattern.fullmatch(keyword)), None)
    if limits is None and keyword not in ("BITPIX", "ZBITPIX", "NEXTEND"):
        return text
    try:
        value = int(text)
    except ValueError:
        raise ValueError(f"HDU {index} must have an integer as {keyword}; got {text}") from None
    if limits is not None and not limits[0] <= value <= limits[1]:
        upper = "" if limits[1] == math.inf else f" and at most {limits[1]}"
        raise ValueError(
            f"HDU {index} must have a {keyword} of at least {limits[0]}{upper}; got {value}"
        )
    if keyword in ("BITPIX", "ZBITPIX") and value not in _BITS:
        raise ValueError(
            f"HDU {index} must have a {keyword} among {', '.join(map(str, _BITS))}; got {value}"
        )
    return value


def _data_size(header: Mapping[str, Any], index: int) -> int:
    """Bytes of the data that follow a header."""
    sides = _sides(header, "NAXIS", index)
    if not sides:
        return 0
    if sides[0] == 0 and header.get("GROUPS") == "T":
        sides = sides[1:]
    here = math.prod(sides) + header.get("PCOUNT", 0)
    here *= abs(header.get("BITPIX", 8)) // 8 * header.get("GCOUNT", 1)
    if header.get("ZIMAGE") == "T":
        unfolded = math.prod(_sides(header, "ZNAXIS", index)) * abs(header.get("ZBITPIX", 8)) // 8
        if unfolded > _FREE + MAX_COMPRESSION * here:
            raise ValueError(
                f"HDU {index} must unfold to at most {MAX_COMPRESSION} times its size; it says "
                f"{unfolded} bytes from {here}"
            )
    return here


def _sides(header: Mapping[str, Any], name: str, index: int) -> list[Any]:
    sides = [header.get(f"{name}{axis + 1}") for axis in range(header.get(name, 0))]
    if None in sides:
        raise ValueError(f"HDU {index} must have {name}{sides.index(None) + 1}; it is missing")
    return sides


def _skip(stream: IO[bytes] | gzip.GzipFile, count: int, size: int | None, index: int) -> None:
    """Go to the next HDU; the last one may lack the zeros that fill its block."""
    padding = -count % _BLOCK
    if size is not None:
        if stream.tell() + count > size:
            raise ValueError(
                f"it ends within the data of HDU {index}, {size - stream.tell()} of {count} bytes: "
                "it is truncated"
            )
        stream.seek(count + padding, os.SEEK_CUR)
        return
    left = count + padding
    while left:
        got = len(stream.read(min(left, 2**22)))
        left -= got
        if not got:
            if left > padding:
                raise ValueError(f"it ends within the data of HDU {index}: it is truncated")
            return
