# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Tables that somebody gives as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io.registry import IORegistryError
from astropy.table import Table

from splus_srgan.utils.files import home_path
from splus_srgan.utils.unfolded import unfolds_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.table import Row

    from splus_srgan.utils.types import FilePath

__all__ = ["check_table", "read_table", "rows_of"]

_LARGEST = 1 << 27  # bytes of a table; reading takes several times as much memory
_LONGEST = 200  # letters of a reason: some list every format that was tried
_TEXT = (".csv", ".ecsv", ".txt", ".dat", ".tsv")


def read_table(path: FilePath) -> Table:
    """
    Read a table, whatever its format.

    Parameters
    ----------
    path : path-like
        ECSV, CSV, FITS, or anything else `~astropy.table.Table.read` knows by name or content; of
        at most 128 MiB. A leading ``~`` is the home folder.

    Returns
    -------
    table : `~astropy.table.Table`
        Table.

    Raises
    ------
    OSError
        If it is missing, a folder, a device or a pipe, too large, or no table.
    """
    path = check_table(path)
    try:
        return Table.read(path)
    except (MemoryError, PermissionError):
        raise
    except IORegistryError:
        raise OSError(f"{path} cannot be read: it is no table in ECSV, CSV or FITS") from None
    except Exception as error:  # each format has errors of its own
        reason = " ".join(str(error).split())[:_LONGEST] or type(error).__name__
        raise OSError(f"{path} cannot be read as a table (ECSV, CSV or FITS): {reason}") from error


def check_table(path: FilePath) -> Path:
    """
    Refuse what would take all memory, would not end, or would come out with its rows shifted.

    Parameters
    ----------
    path : path-like
        File of a table; a leading ``~`` is the home folder.

    Returns
    -------
    path : `~pathlib.Path`
        The same path, without ``~``.

    Raises
    ------
    OSError
        If it is missing, no regular file, too large, or text with zero bytes.
    """
    path = home_path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a table (ECSV, CSV or FITS)")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a table (ECSV, CSV or FITS)")
    if not path.is_file():
        raise OSError(f"{path} is a device, a pipe or a socket; give a table (ECSV, CSV or FITS)")
    if not unfolds_within(path, _LARGEST):
        raise OSError(
            f"{path} must have at most {_LARGEST} bytes, unfolded if it is compressed; "
            "keep the rows and columns that are needed"
        )
    # The reader of astropy takes a zero byte for the end of a value.
    if path.suffix.lower() in _TEXT and b"\0" in path.read_bytes():
        raise OSError(f"{path} cannot be read as a table: it holds zero bytes, and is no text")
    return path


def rows_of(table: Table) -> Iterator[Row]:
    """Rows of a table; its class does not tell a type checker that it can be iterated over."""
    return (table[number] for number in range(len(table)))
