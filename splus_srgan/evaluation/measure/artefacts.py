# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Measure what a network may leave in an image: patterns, seams, clouds, rings, false colors.

Everything here is in *sky units*: surface brightness above the sky, divided by the sky's
noise in a pixel of the input,

.. math:: v = \frac{4 f - s}{\sigma}

for an output of flux :math:`f` per pixel, where :math:`s` and :math:`\sigma` are sky and
sigma per pixel of the input.  1 is as bright as one sigma of the input, on both grids.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import block_reduce
from astropy.table import QTable

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts_sky import (
    cloudiness,
    low_frequency_residual,
    sky_pixels,
    smoothed,
)
from splus_srgan.evaluation.measure.artefacts_sources import color_residual, ringing
from splus_srgan.evaluation.measure.patterns import pattern_lines, seams
from splus_srgan.evaluation.sources import any_within
from splus_srgan.evaluation.statistics import pooled
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["artefact_table", "checks_artefacts", "line_check"]

_BROAD = 8.0  # output pixels
_MOST_BORDERS = 0.9  # of the borders, at which a seam has to show
_STAR_PEAK = 50.0  # sky units; of a fainter star, noise rings
_FEWEST_STARS = 3  # without a truth
_BAD_VIEW = 10  # times its limit: a less sensitive test is not conclusive


def artefact_table(
    field: ComparedField, *, periods: Sequence[float] = (2, 4), block_size: int | None = None
) -> QTable:
    """
    Measure the artefacts of an output, band by band.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.  Without its input, what needs the input or stars is NaN.
    periods : sequence of float, optional
        Periods of patterns to look for, in output pixels.
    block_size : int, optional
        Side of the blocks in output pixels: a period more, and where seams may be.

    Returns
    -------
    table : `~astropy.table.QTable`
        A row per band: ``field, band``; ``free`` (share of the pixels that is sky); ``line``
        and ``faintest`` (amplitude found at the periods, and the least that would have
        been; ``any_line`` and ``any_faintest`` at others); ``seam`` and its error, which without
        a seam is half of the least step that would have shown at nine of ten borders;
        ``cloudiness``; ``low_frequency`` and its error; ``ring`` (median of ``n_star`` stars);
        ``color`` (mag, largest significant change in ``n_bright`` input pixels).  NaN is not
        measured.  Lines, seams and large-scale structure are those of the sky or, beside a truth
        without noise, of what differs from it.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.artefacts import artefact_table
    >>> simulated = simulate_field(4, shape=(64, 64), kind="blank", bands=("r",))
    >>> output = SRGANEnhancer(device="cpu")(simulated.observed)
    >>> table = artefact_table(compare_field(None, output, name="blank"))
    >>> float(table["line"][0]), bool(table["cloudiness"][0] < 0.05)
    (0.0, True)
    """
    if block_size is not None:
        periods = (*periods, block_size)
    colors = _worst_colors(field.bands) if field.has_input else {}
    stars = _stars(field)
    rows = []
    for name, band in field.bands.items():
        row: dict[str, Any] = {"field": field.name, "band": name}
        row |= _sky_row(band, periods, block_size)
        row["ring"], row["n_star"] = _ring(band, stars)
        row["color"], row["n_bright"] = colors.get(name, (math.nan, 0))
        rows.append(row)
    table = QTable(rows=rows)
    table["color"].unit = u.Unit("mag")
    return table


def _sky_row(
    band: ComparedBand, periods: Sequence[float], block_size: int | None
) -> dict[str, Any]:
    """What the sky of a band shows."""
    image = band.sky_units
    free = sky_pixels(image)
    row = {"free": float(free.mean())}
    plain, level = image, free
    known = band.target is not None and band.noise_free
    if known:
        # Less the truth, there is nothing to see in bright galaxies either.
        plain = image - 4 * present(band.target) / band.sigma
        level = (_flat(plain) | sky_pixels(image - plain)) & ~band.hidden
    lines = pattern_lines(plain, free=level, periods=periods)
    for key, mine in (("line", lines[:-1]), ("any_line", lines[-1:])):
        found = np.where(mine["found"], mine["amplitude"], 0.0)
        row[key] = float(found.max()) if np.isfinite(mine["faintest"]).all() else math.nan
        row[key.replace("line", "faintest")] = float(np.max(mine["faintest"]))
    borders = seams(plain, free=level, block_size=block_size)
    row["seam"], row["seam_error"] = math.nan, math.nan
    if len(borders):
        first = borders[0]
        row["seam"] = float(first["step"]) if first["found"] else 0.0
        # None was found: that passes where a seam as large as the limit would have shown.
        shown = float(np.quantile(borders["faintest"], _MOST_BORDERS))
        row["seam_error"] = float(first["error"]) if first["found"] else shown / 2
    row["cloudiness"] = cloudiness(image, free=free, sources=not known)
    if known:
        # Faint sources that are there are no clouds.
        row["cloudiness"] = min(row["cloudiness"], cloudiness(plain, free=free))
    row["low_frequency"], row["low_frequency_error"] = _large_scale(band, image, free)
    return row


def _flat(left: FloatArray) -> BoolArray:
    """Where nothing stands out of what is left: steps, waves and patterns do not."""
    high = left - smoothed(left, np.isfinite(left), _BROAD)
    return sky_pixels(high) & sky_pixels(-high)


def _large_scale(band: ComparedBand, image: FloatArray, free: BoolArray) -> tuple[float, float]:
    """Large-scale structure that neither the truth nor the input has, and its error."""
    found, light = [(math.nan, math.nan)], None
    if band.target is not None and band.noise_free:
        made, target = band.matched
        left = np.where(band.hidden, np.nan, 4 * (made - target) / band.sigma)
        light = block_reduce(4 * target / band.sigma, 2, np.mean)
        free = ~band.hidden
        found.append(low_frequency_residual(left, np.zeros(band.shape), free=free, light=light))
    if band.input is not None:
        # The input has light of what lies beyond the border, which no truth shows.
        shown = band.shown_light  # as sharp: the output's wings of bright stars are no structure
        found.append(low_frequency_residual(image, shown, free=free, light=light))
    return min(found, key=lambda one: math.inf if math.isnan(one[0]) else one[0])


def _worst_colors(bands: Mapping[str, ComparedBand]) -> dict[str, tuple[float, int]]:
    """Largest change of color beyond 5 errors, for each band, and how many pixels it is from."""
    worst: dict[str, tuple[float, int]] = {}
    for pair, (change, error) in color_residual(bands).items() if len(bands) > 1 else ():
        bright = np.isfinite(change)
        real = np.where(np.abs(change) > 5 * error, np.abs(change), 0.0)[bright]
        for band in pair if bright.any() else ():
            old = worst.get(band, (0.0, 0))
            worst[band] = max(old[0], float(real.max())), int(bright.sum())
    return worst


def _stars(field: ComparedField) -> FloatArray:
    """Positions of unsaturated stars on the output's grid."""
    if not field.has_input:
        return np.empty((2, 0))
    sources = field.sources
    sources = sources[sources["kind"] == "star"]
    bad = np.any([band.bad for band in field.bands.values()], axis=0)
    places = np.array([sources["x"], sources["y"]], float).reshape(2, -1)
    keep = ((places > 11) & (places < np.array(bad.shape)[::-1, None] - 12)).all(axis=0)
    places = places[:, keep]
    x, y = places
    return 2 * places[:, ~any_within(bad, x, y, 4.0)] + 0.5


def _ring(band: ComparedBand, stars: FloatArray) -> tuple[float, int]:
    """Median ring of the bright stars, beyond that of the target, and their number."""
    image = band.sky_units
    # What is far below the least peak in its own pixel need not be measured.
    column, row = np.rint(stars).astype(int)
    stars = stars[:, image[row, column] > _STAR_PEAK / 2]
    table = ringing(image, *stars)
    rings, bright = np.asarray(table["ring"]), np.asarray(table["peak"]) > _STAR_PEAK
    known = band.target is not None and band.noise_free
    if known and len(table):
        # Neighbors and arms that are there are no rings.
        own = np.asarray(ringing(4 * present(band.target) / band.sigma, *stars)["ring"])
        rings = np.maximum(rings - own, 0)
    rings = rings[bright & np.isfinite(rings)]
    # Beside the truth every ring is one; else what most of the stars have, and their neighbors not.
    if len(rings) < (1 if known else _FEWEST_STARS):
        return math.nan, 0
    return float(np.quantile(rings, 0.5, method="linear" if known else "lower")), len(rings)


def checks_artefacts(
    table: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the artefacts of one field or many.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Rows of `artefact_table`, of all fields.
    bands : sequence of str, optional
        Bands to judge; those of the table.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: the worst field's patterns, seams, clouds and large-scale structure; the
        median ring; the worst color.  The error of a pattern is the faintest one that would
        have shown.  Not measured where no field can tell.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.artefacts import artefact_table, checks_artefacts
    >>> simulated = simulate_field(4, shape=(64, 64), kind="blank", bands=("r",))
    >>> output = SRGANEnhancer(device="cpu")(simulated.observed)
    >>> table = artefact_table(compare_field(None, output, name="blank"))
    >>> [check.name for check in checks_artefacts(table) if check.passed]
    ['pattern at given periods', 'pattern at any period', 'seam', 'clouds in the sky']
    """
    checks = []
    for band in dict.fromkeys(table["band"]) if bands is None else bands:
        rows = table[table["band"] == band]
        checks += [
            line_check(limits["line"], band, rows, "line"),
            line_check(limits["any line"], band, rows, "any_line"),
            _pooled_check(limits["seam"], band, rows, "seam"),
            _worst_check(limits["clouds"], band, rows, "cloudiness"),
            _pooled_check(limits["low frequency"], band, rows, "low_frequency"),
            _ring_check(limits["ring"], band, rows),
            _worst_check(limits["color change"], band, rows, "color"),
        ]
    return checks


_REASONS = {
    "seam": "too little sky",
    "cloudiness": "too little sky",
    "low_frequency": "no input, or too little sky",
    "color": "no input, a single band, or nothing bright",
}


def _column(rows: Table, name: str) -> FloatArray:
    return np.array([getattr(value, "value", value) for value in rows[name]], float)


def line_check(limit: Limit, band: str, rows: Table, key: str) -> Check:
    """A line, where the noise of the sky lets one see it."""
    amplitude = _column(rows, key)
    faintest = _column(rows, key.replace("line", "faintest"))
    telling = np.isfinite(amplitude) & (
        (faintest < _BAD_VIEW * present(limit.high)) | (amplitude > 0)
    )
    if not telling.any():
        return limit.check(band, math.nan, note="too little sky, or too noisy to tell")
    value, error = float(amplitude[telling].max()), float(np.median(faintest[telling]))
    note = (
        f"fainter than {error:.1g} would not show"
        if error > present(limit.high) and not value
        else ""
    )
    return limit.check(band, value, error=error, count=int(telling.sum()), note=note)


def _worst_check(limit: Limit, band: str, rows: Table, key: str) -> Check:
    """The worst field."""
    values = _column(rows, key)
    values = values[np.isfinite(values)]
    value = values.max() if len(values) else math.nan
    return limit.check(band, value, count=len(values), note="" if len(values) else _REASONS[key])


def _pooled_check(limit: Limit, band: str, rows: Table, key: str) -> Check:
    """The worst field if it is beyond the limit for sure, else the mean of all."""
    found = pooled(_column(rows, key), _column(rows, f"{key}_error"), present(limit.range))
    if not found["count"]:
        found["note"] = _REASONS[key]
    return limit.judge(band, known=True, **found)


def _ring_check(limit: Limit, band: str, rows: Table) -> Check:
    rings, number = _column(rows, "ring"), _column(rows, "n_star")
    good = np.isfinite(rings)
    value = float(np.median(rings[good])) if good.any() else math.nan
    note = "" if good.any() else "too few bright, unsaturated stars"
    return limit.check(band, value, count=int(number[good].sum()), note=note)
