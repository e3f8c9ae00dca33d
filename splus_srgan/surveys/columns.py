# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Columns of right ascension and declination, of which no number may be missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["column_positions"]


def column_positions(ra: Any, dec: Any) -> SkyCoord:
    """
    Give the positions that two columns of a table hold.

    Parameters
    ----------
    ra, dec : `~astropy.table.Column` or `~astropy.units.Quantity`
        Right ascension and declination (ICRS), in degrees where they have no unit.

    Returns
    -------
    positions : `~astropy.coordinates.SkyCoord`
        One per row.

    Raises
    ------
    ValueError
        If a number is missing, not finite or no number, or a declination is beyond a pole.

    Notes
    -----
    `~astropy.coordinates.SkyCoord` itself takes 0 for a number that is missing.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.surveys.columns import column_positions
    >>> table = Table({"ra": [10.5], "dec": [1.0]})
    >>> column_positions(table["ra"], table["dec"]).to_string()
    ['10.5 1']
    """
    return SkyCoord(_degrees(ra, "ra"), _degrees(dec, "dec"), unit="deg", frame="icrs")


def _degrees(column: Any, axis: str) -> FloatArray:
    unit = getattr(column, "unit", None)
    values = getattr(column, "value", column)
    angles = np.full(len(values), np.nan)
    for row in np.flatnonzero(~np.ma.getmaskarray(values)):
        try:
            angles[row] = values[row]
        except (TypeError, ValueError):
            raise ValueError(
                f"{axis} must be degrees, as numbers; got {str(values[row])!r} in row {row}: "
                "convert it, for example with astropy.coordinates.Angle"
            ) from None
    angles = u.Quantity(angles, unit or u.deg).to_value(u.deg)
    good = np.isfinite(angles) & ((np.abs(angles) <= 90) if axis == "dec" else True)
    if not good.all():
        row = int(np.flatnonzero(~good)[0])
        raise ValueError(
            f"{axis} must be degrees on the sky; got {angles[row]} in row {row}; correct or "
            "remove that row"
        )
    return angles
