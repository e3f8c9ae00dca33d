# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The table of scores and its histogram."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan.evaluation.report.plotting import COLORS, COLUMN_WIDTH, make_figure, styled
from splus_srgan.evaluation.statistics import plain_values
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table
    from matplotlib.figure import Figure


__all__ = ["plot_histogram", "score_summary"]


def score_summary(
    table: Table,
    *,
    score: str = "psnr_seed",
    baseline: str | None = None,
    method: str | None = None,
) -> QTable:
    """
    Average a score over fields, per band, before and after, and the gain.

    Table 3.1 of the seed paper, from your fields.

    Parameters
    ----------
    table : `~astropy.table.Table`
        A row per field, band and method, as `~splus_srgan.evaluation.run.evaluate`
        gives: columns ``field, band, method`` and the score.
    score : str, optional
        Column to average.
    baseline, method : str, optional
        Methods to compare; the second and the first of the table where not given.

    Returns
    -------
    summary : `~astropy.table.QTable`
        ``band`` (``"all"`` is the mean of the bands), ``before``, ``after``, ``gain``
        and ``gain_error`` (standard error of the mean), ``n_field``.

    Raises
    ------
    ValueError
        If the score or a method is not in the table.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.evaluation.report.plots import score_summary
    >>> table = Table({"field": ["a", "a"], "band": ["r", "r"], "method": ["ours", "bicubic"],
    ...                "psnr": [32.0, 26.0]})
    >>> summary = score_summary(table, score="psnr")
    >>> summary["band"].tolist(), summary["gain"].tolist()
    (['r', 'all'], [6.0, 6.0])
    """
    method, baseline = _methods(table, score, method, baseline)
    rows: list[Any] = []
    for band in _score_bands(table):
        before, after = _score_pairs(table, score, baseline, method, band)
        rows.append((band, before, after))
    bands = [row for row in rows if row[0] != "joint"] or rows
    fields = [set(before) & set(after) for _, before, after in bands]
    common = sorted(set.intersection(*fields)) if fields else []
    means = [{f: np.mean([row[k][f] for row in bands]) for f in common} for k in (1, 2)]
    unit = getattr(table[score], "unit", None)
    return _summary_table([*rows, ("all", *means)], unit)


def _summary_table(rows: Sequence[Any], unit: Any) -> QTable:
    lines = []
    for band, before, after in rows:
        names = sorted(set(before) & set(after))
        old, new = (np.array([one[f] for f in names]) for one in (before, after))
        gain = new - old
        error = gain.std(ddof=1) / math.sqrt(len(gain)) if len(gain) > 1 else math.nan
        values = (old.mean(), new.mean(), gain.mean()) if names else (math.nan,) * 3
        lines.append((band, *values, error, len(names)))
    names = ("band", "before", "after", "gain", "gain_error", "n_field")
    summary = QTable(rows=lines, names=names)
    for name in names[1:5]:
        summary[name] = summary[name] * u.Unit(unit) if unit else summary[name]
        summary[name].info.format = ".2f"
    return summary


def _methods(table: Table, score: str, method: str | None, baseline: str | None) -> tuple[str, str]:
    if score not in table.colnames:
        raise ValueError(f"score must be a column of table, {table.colnames}; got {score!r}")
    known = list(dict.fromkeys(str(name) for name in table["method"]))
    method = known[0] if method is None else check_one_of("method", method, known)
    if baseline is None:
        others = [name for name in known if name != method]
        if not others:
            raise ValueError(f"table must have a second method to compare with; got only {known}")
        baseline = others[0]
    return method, check_one_of("baseline", baseline, known)


def _score_bands(table: Table) -> list[str]:
    return [str(band) for band in dict.fromkeys(table["band"])]


def _score_pairs(
    table: Table, score: str, baseline: str, method: str, band: str
) -> list[dict[str, float]]:
    """Field to score of both methods; what is not finite is left out."""
    found = []
    for name in (baseline, method):
        rows = table[(table["method"] == name) & (table["band"] == band)]
        values = plain_values(rows[score])
        names = [str(field) for field in rows["field"]]
        found.append({f: v for f, v in zip(names, values, strict=True) if np.isfinite(v)})
    return found


@styled
def plot_histogram(
    table: Table,
    *,
    score: str = "psnr_seed",
    baseline: str | None = None,
    method: str | None = None,
    label: str = "PSNR (dB)",
    width: float = COLUMN_WIDTH,
) -> Figure:
    """
    Draw histograms of a score of all fields before and after, a panel per band.

    Figure 3.2 of the seed paper, from your fields.

    Parameters
    ----------
    table : `~astropy.table.Table`
        As in `score_summary`.
    score : str, optional
        Column to draw.
    baseline, method : str, optional
        Methods to compare; the second and the first of the table where not given.
    label : str, optional
        Label of the horizontal axis.
    width : float, optional
        Width of the figure, in inches.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Dashed lines are means.

    Raises
    ------
    ValueError
        If the score or a method is not in the table.
    """
    method, baseline = _methods(table, score, method, baseline)
    bands = [band for band in _score_bands(table) if band != "joint"]
    scores = [_score_pairs(table, score, baseline, method, band) for band in bands]
    every = [v for pair in scores for one in pair for v in one.values()]
    low, high = (min(every), max(every)) if every else (0.0, 1.0)
    edges = np.linspace(low, high + 1e-6, min(16, max(6, 2 + len(every) // (4 * len(bands)))))
    figure = make_figure(width, 0.5 + 0.9 * len(bands))
    axes = figure.subplots(len(bands), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axis, band, pair in zip(axes, bands, scores, strict=True):
        for one, color, name, hatch in zip(
            pair, COLORS, (baseline, method), ("////", None), strict=False
        ):
            values = list(one.values())
            style = {"facecolor": color, "alpha": 0.45, "edgecolor": color, "linewidth": 0.8}
            axis.hist(values, edges, histtype="stepfilled", label=name, hatch=hatch, **style)
            if values:
                axis.axvline(np.mean(values), color=color, linestyle="--", linewidth=1.0)
        axis.set_title(band, loc="left", weight="bold", pad=2)
        axis.yaxis.get_major_locator().set_params(integer=True, nbins=4)
        axis.spines[["top", "right"]].set_visible(False)
    axes[-1].set_xlabel(label)
    figure.supylabel("Fields", fontsize=8)
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper center", ncols=2, frameon=False)
    return figure
