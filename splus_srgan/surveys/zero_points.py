# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Zero points of S-PLUS images.

S-PLUS images are in ADU of one second and have no zero point in their headers. It
comes from a table with one value per field and band (data release 4), or from a
model per field and band that varies over the sky (data release 6).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.images.bands import meta_band
from splus_srgan.splus import canonical_band
from splus_srgan.surveys.calibration import (
    calibrate_flux,
    check_zero_point,
    gain_from_zero_point,
    weight_to_uncertainty,
)
from splus_srgan.surveys.zero_point_model import ZeroPointModel
from splus_srgan.utils.tables import check_table

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.nddata import NDData

    from splus_srgan.utils.types import FilePath, FloatArray

__all__ = [
    "DR4_TABLE",
    "ZeroPointModel",
    "ZeroPointTable",
    "calibrate_flux",
    "fetch_zero_points",
    "field_name",
    "gain_from_zero_point",
    "weight_to_uncertainty",
]

DR4_TABLE = "https://splus.cloud/files/documentation/iDR4/tabelas/iDR4_zero-points.csv"
"""Address of the zero points of data release 4."""


def field_name(meta: Mapping[str, Any]) -> str:
    """
    Read which field of the survey an image is from.

    Parameters
    ----------
    meta : mapping
        FITS header or ``meta`` dictionary.

    Returns
    -------
    field : str
        The FIELD card, or else the OBJECT card (images of DR4 have that alone).

    Raises
    ------
    ValueError
        If it has neither.

    Examples
    --------
    >>> from splus_srgan.surveys.zero_points import field_name
    >>> field_name({"OBJECT": "STRIPE82_0001"})
    'STRIPE82_0001'
    """
    for key in ("FIELD", "OBJECT"):
        value = (meta or {}).get(key)
        if isinstance(value, str) and value.strip():
            return value.strip()
    raise ValueError(
        "meta must name the field of the survey in a FIELD or OBJECT card; it has neither, "
        "so give the zero point as a number"
    )


def plain_field(field: object) -> str:
    """Spell a field in the one way behind STRIPE82-0001, STRIPE82_0001 and stripe82-0001."""
    return re.sub(r"[-_\s]", "", str(field)).upper()


class ZeroPointTable:
    """
    One zero point per field and band.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A column ``Field`` (in any capitals) and columns ``ZP_<band>`` with AB
        magnitudes of 1 ADU, such as ``ZP_g`` and ``ZP_J0378``.

    Raises
    ------
    ValueError
        If a column is missing, or a field has two rows.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.surveys.zero_points import ZeroPointTable
    >>> table = Table({"Field": ["STRIPE82-0001"], "ZP_g": [23.559], "ZP_J0378": [20.069]})
    >>> zero_points = ZeroPointTable(table)
    >>> zero_points.zero_point("STRIPE82_0001", "G")
    23.559
    """

    def __init__(self, table: Table) -> None:
        names = [name for name in table.colnames if name.strip().lower() == "field"]
        columns = {}
        for name in table.colnames:
            if name.upper().startswith("ZP_"):
                columns[canonical_band(name[3:])] = name
        if not names or not columns:
            raise ValueError(
                f"table must have a column 'Field' and columns 'ZP_<band>'; got {table.colnames}"
            )
        self._names = [str(name) for name in table[names[0]]]
        self._rows = {plain_field(name): i for i, name in enumerate(self._names)}
        if len(self._rows) < len(self._names):
            plain = [plain_field(name) for name in self._names]
            twice = sorted({n for n in self._names if plain.count(plain_field(n)) > 1})
            raise ValueError(f"table must have one row per field; got several of {twice[:4]}")
        self._columns: dict[str, FloatArray] = {
            band: np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)
            for band, name in columns.items()
        }

    @classmethod
    def read(cls, path: FilePath) -> ZeroPointTable:
        """
        Read a table from a file.

        Parameters
        ----------
        path : path-like
            CSV, ECSV, FITS or anything else `~astropy.table.Table.read` knows.

        Returns
        -------
        zero_points : `ZeroPointTable`
            The table.

        Raises
        ------
        OSError
            If the file cannot be read, or is no regular one.
        ValueError
            If it is no such table.
        """
        path = check_table(path)
        options = {"format": "ascii.csv"} if path.suffix.lower() in (".csv", "") else {}
        try:
            table = Table.read(path, **options)
        except OSError:
            raise
        except Exception as error:  # each format of astropy.table has errors of its own
            raise ValueError(f"{path} cannot be read as a table ({error})") from error
        try:
            return cls(table)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def __repr__(self) -> str:
        return f"<ZeroPointTable of {len(self._names)} fields, bands {', '.join(self._columns)}>"

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields, as the table spells them."""
        return tuple(self._names)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands, in the spelling of S-PLUS."""
        return tuple(self._columns)

    def zero_point(self, field: str, band: str) -> float:
        """
        Look up a zero point.

        Parameters
        ----------
        field : str
            Name of the field; hyphens, underscores, blanks and capitals do not matter.
        band : str
            Band, in any usual spelling.

        Returns
        -------
        zero_point : float
            AB magnitude of 1 ADU.

        Raises
        ------
        ValueError
            If field or band are not in the table, or the table has no value there.
        """
        name = canonical_band(band)
        if name not in self._columns:
            raise ValueError(f"band must be one of {', '.join(self._columns)}; got {band!r}")
        row = self._rows.get(plain_field(field))
        if row is None:
            raise ValueError(
                f"field must be one of the {len(self._names)} in the table, such as "
                f"{self._names[0]!r}; got {field!r}"
            )
        value = float(self._columns[name][row])
        try:
            return check_zero_point("zero_point", value)
        except ValueError:
            raise ValueError(
                f"the table has no zero point of {field!r} in {name}; it says {value}"
            ) from None

    def of_image(self, image: NDData) -> float:
        """
        Look up the zero point of an image.

        Parameters
        ----------
        image : `~astropy.nddata.NDData`
            Its header names the field (`field_name`) and the band (FILTER).

        Returns
        -------
        zero_point : float
            AB magnitude of 1 ADU.

        Raises
        ------
        ValueError
            If the header does not say, or the table does not have it.
        """
        band = meta_band(image.meta)
        if band is None:
            raise ValueError("image must name its band in a FILTER card to be looked up in a table")
        return self.zero_point(field_name(image.meta), band)


def fetch_zero_points(*, url: str = DR4_TABLE, cache: bool = True) -> ZeroPointTable:
    """
    Download the zero points of data release 4.

    Parameters
    ----------
    url : str, optional
        Address of the table, a CSV file.
    cache : bool, optional
        Whether to keep it in the cache of astropy, and to use what is there.

    Returns
    -------
    zero_points : `ZeroPointTable`
        The table.

    Raises
    ------
    ServiceError
        If it cannot be downloaded.
    """
    from splus_srgan.utils.download import fetch_file

    path = fetch_file(url, validate=ZeroPointTable.read, cache=cache)
    try:
        return ZeroPointTable.read(path)
    finally:
        if not cache:
            path.unlink(missing_ok=True)
