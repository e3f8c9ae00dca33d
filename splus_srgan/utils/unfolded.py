# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Compressed files, looked at piece by piece: a small one may have no end."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import IO, Any

__all__ = ["unfolds_within"]

_STEP = 1 << 20  # bytes

# What may be compressed, by how it begins, and what unfolds it.
_UNFOLD = {
    b"\x1f\x8b": lambda: zlib.decompressobj(wbits=31),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ\x00": lambda: lzma.LZMADecompressor(memlimit=1 << 28),
}


def unfolds_within(path: Path, largest: int) -> bool:
    """
    Tell whether what a file holds has a sensible size once it is unfolded.

    Parameters
    ----------
    path : `~pathlib.Path`
        File, compressed (gzip, bzip2, xz) or not.
    largest : int
        Bytes that it may have at most.

    Returns
    -------
    within : bool
        Whether it has no more; of a file that is not compressed, its own size counts.

    Raises
    ------
    OSError
        If it cannot be read, or is damaged.
    """
    total = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(6)
        kind = next((one for one in _UNFOLD if start.startswith(one)), None)
        if kind is not None:
            file.seek(0)
            total = 0
            try:
                for piece in _pieces(file, _UNFOLD[kind]):
                    total += piece
                    if total > largest:
                        break
            except (EOFError, zlib.error, lzma.LZMAError) as error:
                raise OSError(str(error)) from error
    return total <= largest


def _pieces(file: IO[bytes], make: Callable[[], Any]) -> Iterator[int]:
    """Give the sizes of what a compressed file unfolds to, a little at a time."""
    unfold, pending, full = make(), file.read(_STEP), False
    while True:
        if unfold.eof:
            # Such files may be several behind one another.
            pending = unfold.unused_data or file.read(_STEP)
            if not pending.strip(b"\0"):
                return
            unfold = make()
        elif not pending and not full:
            pending = file.read(_STEP)
            if not pending:
                raise EOFError("it ends too early")
        size = len(unfold.decompress(pending, _STEP))
        # Of the decompressors, zlib's hands back what it has not taken, the others keep it.
        pending, full = getattr(unfold, "unconsumed_tail", b""), size == _STEP
        yield size
