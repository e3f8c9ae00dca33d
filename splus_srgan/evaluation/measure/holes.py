# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pixels of an output that have no value, or no uncertainty where others state one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.evaluation.limits import LIMITS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit

__all__ = ["checks_holes", "hole_table"]


def hole_table(field: ComparedField) -> Table:
    """
    Count the pixels of an output that have no value.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field; it needs neither input nor target.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per band: ``field, band``; numbers of ``missing`` pixels, masked or not finite,
        and of ``lost`` ones among them, which are not masked; whether it has ``stated``
        uncertainties, and of how many pixels that can be judged they are ``unstated``: not finite,
        or not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    >>> from splus_srgan.evaluation.measure.holes import hole_table
    >>> lost = np.zeros((64, 64), bool)
    >>> lost[3:5, 7] = True
    >>> band = ComparedBand("r", None, np.zeros((64, 64)), 1.0, missing=lost, lost=lost)
    >>> int(hole_table(ComparedField("one", {"r": band}))["lost"][0])
    2
    """

    def measure(band: ComparedBand) -> Table:
        counts = {"missing": int(band.missing.sum()), "lost": int(band.lost.sum())}
        counts |= {"stated": int(band.std is not None), "unstated": 0}
        if band.std is not None:
            told = np.isfinite(band.std) & (band.std > 0)
            counts["unstated"] = int(np.count_nonzero(~told & ~band.hidden))
        return Table(rows=[{"band": band.name} | counts])

    return field.each(measure)


def checks_holes(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge pixels without a value, each of which must be masked, and those without an uncertainty.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `hole_table`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        The number of all fields, for each band; that without uncertainty where any field states
        one.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        checks.append(limits["lost"].check(band, np.sum(mine["lost"]), count=len(mine)))
        stated = int(np.sum(mine["stated"]))
        if stated:
            unstated = np.sum(mine["unstated"])
            checks.append(limits["unstated"].check(band, unstated, count=stated))
    return checks
