# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Whether stated uncertainties cover what noise does, without a truth.

Noise like that of the input is added to it, again and again, and each is enhanced.  An output
scatters by :math:`s` from one to the next; since the noise that was there before does as much
again, its uncertainty has to be at least :math:`\sqrt{2} \, s`.  What the enhancer does wrong
alike each time does not show, so a stated uncertainty may well be larger.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.uncertainty import SNR_EDGES
from splus_srgan.pixels.coadd_noise import DITHERS, correlated_noise
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from astropy.nddata import CCDData

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_repeats", "repeat_test", "untried"]

_COLUMNS = ("band", "low", "high", "count", "scatter", "stated")


def repeat_test(
    enhancer: Callable[..., Any],
    pair: EvaluationPair,
    *,
    output: Mapping[str, CCDData] | None = None,
    n: int = 4,
    seed: int = 0,
) -> Table:
    """
    Compare stated uncertainties with the scatter under repeated noise.

    Parameters
    ----------
    enhancer : callable
        Called with a dict of band to `~astropy.nddata.CCDData`.
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Field; it needs no target.
    output : dict of str to `~astropy.nddata.CCDData`, optional
        An image of the field that was enhanced before, with the uncertainties to judge.
        `None`: those of the outputs with more noise.
    n : int, optional
        How many times noise is added, at least 2.
    seed : int, optional
        Seed of the noise.

    Returns
    -------
    rows : `~astropy.table.Table`
        For each band and bin of signal to noise (of the output over the noise of the sky in the
        input) ``field, band, low, high, count`` and the mean squares of the ``scatter`` and
        of the ``stated`` uncertainty, in units of the noise of the sky.  None where no uncertainty
        is stated.
    """
    rng = np.random.default_rng(seed)
    bare = type(pair)(pair.name, pair.input, sky=pair.sky)
    before = compare_field(bare, enhancer(pair.input) if output is None else output).bands
    outputs = []
    for _ in range(n):
        images = {}
        for name, image in pair.input.items():
            noise = before[name].sigma * correlated_noise(rng, np.shape(image.data), DITHERS)
            images[name] = image.copy()
            images[name].data = np.asarray(image.data, float) + noise
        outputs.append(compare_field(bare, enhancer(images)).bands)
    rows = []
    for name, band in before.items():
        made = [one[name] for one in outputs]
        spread = np.var([one.output for one in made], axis=0, ddof=1)
        if output is None:
            # With noise that was added, there is twice as much of it.
            spread = 2 * spread
            stated = (
                None
                if made[0].std is None
                else np.mean([present(b.std) ** 2 for b in made], axis=0)
            )
        else:
            stated = None if band.std is None else band.std**2
        if stated is not None:
            rows += _rows(name, band, spread, stated)
    return _table(rows, pair.name)


def untried(field: ComparedField) -> Table:
    """
    Say of an output that states uncertainties that these have not been tried.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.

    Returns
    -------
    rows : `~astropy.table.Table`
        No row, with the columns of `repeat_test`; ``meta["stated"]`` is the number of bands that
        state an uncertainty.
    """
    table = _table([], field.name)
    table.meta["stated"] = sum(band.std is not None for band in field.bands.values())
    return table


def _table(rows: list[tuple[Any, ...]], field: str) -> Table:
    types = ("U16", float, float, int, float, float)
    table = Table(rows=rows or None, names=_COLUMNS, dtype=types)
    table["field"] = np.full(len(table), field, "U64")
    return table


def _rows(
    name: str, band: ComparedBand, spread: FloatArray, stated: FloatArray
) -> list[tuple[Any, ...]]:
    """A row for each bin of signal to noise."""
    unit = (band.sigma / 4) ** 2
    ratio = 4 * band.output / band.sigma
    good = ~band.hidden & np.isfinite(stated) & (stated > 0)
    rows = []
    for low, high in pairwise(SNR_EDGES):
        mine = good & (ratio >= low) & (ratio < high)
        if mine.any():
            means = (float(np.mean(values[mine]) / unit) for values in (spread, stated))
            rows.append((name, low, high, int(mine.sum()), *means))
    return rows


def checks_repeats(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge whether stated uncertainties cover what noise does.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `repeat_test` and `untried`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band and bin of signal to noise, the scatter under repeated noise over the
        stated uncertainty.  "Not measured" where the enhancer was not tried.
    """
    limit = limits["repeat"]
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        for low, high in dict.fromkeys(zip(mine["low"], mine["high"], strict=True)):
            chosen = mine[mine["low"] == low]
            count = np.asarray(chosen["count"], float)
            words = {"low": f"{low:g}", "high": f"{high:g}", "count": count.sum()}
            if count.sum() < limit.least:
                note = f"only {count.sum():.0f} pixels"
                checks.append(limit.check(band, np.nan, note=note, needed=False, **words))
                continue
            scatter, stated = (np.sum(count * chosen[key]) for key in ("scatter", "stated"))
            checks.append(limit.check(band, np.sqrt(scatter / stated), **words))
        if not len(mine):
            note = "the enhancer was not tried" if rows.meta.get("stated") else "no uncertainties"
            checks.append(limit.check(band, np.nan, note=note, low="any", high="any"))
    return checks
