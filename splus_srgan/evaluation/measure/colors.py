# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Colors of sources, and the checks of fluxes, colors and the curve of growth."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.photometry import compare_fluxes
from splus_srgan.evaluation.statistics import (
    excess_scatter,
    finite_median,
    finite_values,
    median_error,
    scatter_error,
    worst_part,
)
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedField
    from splus_srgan.evaluation.limits import Limit

__all__ = ["checks_colors", "checks_fluxes", "checks_growth", "colors_of", "compare_colors"]


def compare_colors(field: ComparedField, *, bands: Sequence[str] | None = None) -> Table:
    """
    Compare colors of neighboring bands.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.
    bands : sequence of str, optional
        Bands in order; those of the field.

    Returns
    -------
    colors : `~astropy.table.Table`
        As of `colors_of`.
    """
    return colors_of(compare_fluxes(field), bands=tuple(field.bands) if bands is None else bands)


def colors_of(rows: Table, *, bands: Sequence[str]) -> Table:
    """
    Compare colors of neighboring bands, from the offsets of fluxes.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_fluxes` for several bands, of one field (or with a column ``field``).
    bands : sequence of str
        Bands in order; each gives a color with the next one.

    Returns
    -------
    colors : `~astropy.table.Table`
        A row per source and color: ``band`` (such as ``"g-r"``), ``against, kind, x, y``,
        ``snr`` (the lower one), ``error`` and ``offset`` (mag; positive is too red).

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.evaluation.measure.colors import colors_of
    >>> rows = Table({"band": ["g", "r"], "kind": ["star"] * 2, "x": [5.0] * 2, "y": [6.0] * 2,
    ...               "snr": [30.0, 50.0], "error": [0.03, 0.04], "offset": [0.01, 0.03]})
    >>> colors = colors_of(rows, bands="gr")
    >>> str(colors["band"][0]), round(float(colors["offset"][0]), 3)
    ('g-r', 0.02)
    """
    result = []
    keys = [key for key in ("field", "against", "x", "y") if key in rows.colnames]
    places = {
        band: {tuple(row[key] for key in keys): row for row in rows[rows["band"] == band]}
        for band in bands
    }
    for blue, red in pairwise(bands):
        for place in places[blue].keys() & places[red].keys():
            one, other = places[blue][place], places[red][place]
            result.append(
                {
                    "band": f"{blue}-{red}",
                    "against": one["against"] if "against" in keys else "",
                    "kind": one["kind"],
                    "x": place[-2],
                    "y": place[-1],
                    "snr": min(one["snr"], other["snr"]),
                    "error": np.hypot(one["error"], other["error"]),
                    # Magnitude blue minus red: too much red light makes it larger.
                    "offset": other["offset"] - one["offset"],
                }
            )
    names = ("band", "against", "kind", "x", "y", "snr", "error", "offset")
    if not result:
        return Table(names=names, dtype=("U33", "U8", "U8", *(5 * [float])))
    result.sort(key=lambda row: (row["band"], row["against"], row["x"], row["y"]))
    return Table(rows=result, names=names)


def checks_fluxes(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge fluxes.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_fluxes`, of one or many fields, against the target, the input or both.
    bands : sequence of str, optional
        Bands to judge; one without sources is "not measured".
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Median offset, scatter beyond the noise, lost sources, and the median of the worst part
        (`~splus_srgan.evaluation.statistics.worst_part`), for each band and
        reference.  Needed are those against the target, or where there is none, the input.
    """
    checks = []
    known = [one for one in ("target", "input") if one in rows["against"]] or ["target"]
    for against in known:
        for band in dict.fromkeys(rows["band"]) if bands is None else bands:
            mine = rows[(rows["band"] == band) & (rows["against"] == against)]
            checks += _flux_checks(mine, band, against, limits, needed=against == known[0])
    return checks


def _flux_checks(
    rows: Table, band: str, against: str, limits: Mapping[str, Limit], *, needed: bool | None
) -> list[Check]:
    """Median, scatter and losses of one band against one reference."""
    offset, error = np.asarray(rows["offset"], float), np.asarray(rows["error"], float)
    limit = limits["part flux"]
    worst = worst_part(rows, offset, error, present(limit.range))
    found = np.isfinite(offset)
    lost = len(rows) - np.count_nonzero(found)
    offset, error = offset[found], error[found]
    count = offset.size
    options = {"count": count, "against": against, "needed": needed}
    scatter = excess_scatter(offset, error)
    spread = scatter_error(
        scatter, count, limit=present(limits["flux scatter"].high), noise=finite_median(error)
    )
    return [
        limits["flux"].judge(band, finite_median(offset), error=median_error(offset), **options),
        limits["flux scatter"].judge(band, scatter, error=spread, known=True, **options),
        limits["flux lost"].judge(
            band, float(lost) if len(rows) else np.nan, error=0.0, count=len(rows), against=against
        ),
        limit.check(band, against=against, **worst),
    ]


def checks_colors(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge colors.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_colors`, of one or many fields.
    bands : sequence of str, optional
        Not used: a color is of two bands.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Median offset of each color and reference.
    """
    checks = []
    for color, against in dict.fromkeys(zip(rows["band"], rows["against"], strict=True)):
        mine = rows[(rows["band"] == color) & (rows["against"] == against)]
        offset = finite_values(mine["offset"])
        options: dict[str, Any] = {"error": median_error(offset), "count": offset.size}
        checks.append(
            limits["color"].judge(
                "", finite_median(offset), color=color, against=against, **options
            )
        )
    return checks


def checks_growth(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the curve of growth.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `~splus_srgan.evaluation.measure.photometry.curve_of_growth`.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        The aperture with the largest median offset of those with a usable error, in each band.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        worst, error, count, note = np.nan, np.nan, 0, ""
        for radius in np.unique(np.asarray(mine["radius"])) if len(mine) else ():
            values = finite_values(mine["offset"][np.asarray(mine["radius"]) == radius])
            if values.size < 3 or not median_error(values) < present(limits["growth"].high):
                continue
            if not abs(np.median(values)) <= abs(worst):
                worst, error = float(np.median(values)), median_error(values)
                count, note = values.size, f"in r = {radius:g} arcsec"
        checks.append(limits["growth"].judge(band, worst, error=error, count=count, note=note))
    return checks
