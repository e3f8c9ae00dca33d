# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Positions on the sky, in whatever form they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord

if TYPE_CHECKING:
    from splus_srgan.utils.types import Position

__all__ = ["as_position", "one_position"]


def as_position(position: Position) -> SkyCoord:
    """
    Give ICRS positions.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple
        Any frame; a tuple is right ascension and declination, in degrees where they
        have no unit.

    Returns
    -------
    position : `~astropy.coordinates.SkyCoord`
        In ICRS.

    Raises
    ------
    ValueError
        If it is no position.

    Examples
    --------
    >>> from splus_srgan.surveys._position import as_position
    >>> float(as_position((-1.0, 30.0)).ra.deg)
    359.0
    """
    if isinstance(position, SkyCoord):
        return position.icrs
    try:
        ra, dec = position
        return SkyCoord(ra, dec, unit="deg", frame="icrs")
    except (TypeError, ValueError, u.UnitsError) as error:
        raise ValueError(
            f"position must be a SkyCoord, or right ascension and declination in degrees; "
            f"got {position!r} ({error})"
        ) from error


def one_position(position: Position) -> SkyCoord:
    """Give one ICRS position, or refuse several and what is missing or not finite."""
    sky = as_position(position)
    parts = [position] if isinstance(position, SkyCoord) else position
    # SkyCoord itself takes 0 for a missing number of a table.
    missing = any(np.any(getattr(part, "mask", False)) for part in parts)
    if missing or not sky.isscalar or not np.isfinite([sky.ra.deg, sky.dec.deg]).all():
        raise ValueError(f"position must be one finite position; got {position!r}")
    return sky
