# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Tables that somebody gives as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from astropy.io.registry import IORegistryError
from astropy.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from astropy.table import Row

    from splus_srgan.utils.types import FilePath

__all__ = ["read_table", "rows_of"]

_LONGEST = 200  # letters of a reason: some list every format that was tried


def read_table(path: FilePath) -> Table:
    """
    Read a table, whatever its format.

    Parameters
    ----------
    path : path-like
        ECSV, CSV, FITS, or anything else `~astropy.table.Table.read` knows by name or content.

    Returns
    -------
    table : `~astropy.table.Table`
        Table.

    Raises
    ------
    OSError
        If it is missing, a folder, or no table.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist; give a table (ECSV, CSV or FITS)")
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a table (ECSV, CSV or FITS)")
    try:
        return Table.read(path)
    except IORegistryError:
        raise OSError(f"{path} cannot be read: it is no table in ECSV, CSV or FITS") from None
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())[:_LONGEST]
        raise OSError(f"{path} cannot be read as a table (ECSV, CSV or FITS): {reason}") from error


def rows_of(table: Table) -> Iterator[Row]:
    """Rows of a table; its class does not tell a type checker that it can be iterated over."""
    return (table[number] for number in range(len(table)))
