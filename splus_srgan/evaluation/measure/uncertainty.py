# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether stated uncertainties are true.

An uncertainty is true if 68 % of the truths lie within one of it at every brightness, not
only on average.
"""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable, Table
from scipy import stats

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import check_integer, check_shape, present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["SNR_EDGES", "checks_uncertainty", "coverage", "coverage_table", "pit_histogram"]

SNR_EDGES = (-np.inf, 1.0, 3.0, 10.0, 30.0, np.inf)
"""Bins of signal to noise, per pixel."""

_LEVELS = (0.68, 0.95)
_FIELDS = 3  # from which on their scatter tells the error of a share
_OF_A_FIELD = 0.08  # error of the share of one field: its pixels have sky and PSF in common
# Uncertainties that are off by what changes the share within 68 % by so much change the outermost
# tenths of the PIT by this.
_PIT_OF_A_FIELD = 0.4


def coverage(
    truth: ArrayLike,
    image: ArrayLike,
    uncertainty: ArrayLike,
    *,
    signal_to_noise: ArrayLike | None = None,
    edges: Sequence[float] = SNR_EDGES,
    mask: ArrayLike | None = None,
) -> QTable:
    r"""
    Share of truths within 68 % and 95 % intervals, by signal to noise.

    The interval of a share *p* is :math:`\pm \Phi^{-1}((1 + p) / 2) \, \sigma` around the
    image: 0.994 and 1.960 sigma.

    Parameters
    ----------
    truth, image : array_like, any one shape
        In the same unit.
    uncertainty : array_like, same shape
        Standard deviations, above 0; other pixels are left out.
    signal_to_noise : array_like, same shape, optional
        What to bin by; by default ``truth / uncertainty``.  See the notes.
    edges : sequence of float, optional
        Rising edges of the bins.
    mask : array_like of bool, optional
        `True` is left out, as are pixels that are not finite.

    Returns
    -------
    table : `~astropy.table.QTable`
        For each bin ``low, high, count, coverage_68, coverage_95`` and ``bias`` (mean of
        (image - truth) / uncertainty); NaN in empty bins.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    Whatever bins pixels has errors that choose the bin.  A source too faint to be seen, where the
    uncertainty is that of blank sky, is bright by its truth over that uncertainty: for an image
    that leaves out what cannot be seen, divide the truth by the noise of the *input*, as
    `coverage_table` does.  The image over its uncertainty is what its reader knows; an image
    that was not denoised is above the truth wherever it is bright by chance.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import coverage
    >>> truth = np.zeros(100000)
    >>> image = np.random.default_rng(1).normal(size=100000)
    >>> table = coverage(truth, image, np.ones(100000), edges=(-1, 1))
    >>> round(float(table["coverage_68"][0]), 2), round(float(table["coverage_95"][0]), 2)
    (0.68, 0.95)
    """
    pulls, used, sigma, truth = _pulls(truth, image, uncertainty, mask)
    if signal_to_noise is None:
        snr = truth[used] / sigma[used]
    else:
        snr = check_shape("signal_to_noise", signal_to_noise, truth.shape)[used]
    limits = stats.norm.ppf((1 + np.array(_LEVELS)) / 2)
    rows = []
    for low, high in pairwise(edges):
        mine = pulls[(snr >= low) & (snr < high)]
        if mine.size:
            shares = [float(np.mean(np.abs(mine) <= limit)) for limit in limits]
            rows.append((low, high, mine.size, *shares, float(mine.mean())))
        else:
            rows.append((low, high, 0, np.nan, np.nan, np.nan))
    names = ("low", "high", "count", "coverage_68", "coverage_95", "bias")
    return QTable(rows=rows, names=names, dtype=(float, float, int, float, float, float))


def pit_histogram(
    truth: ArrayLike,
    image: ArrayLike,
    uncertainty: ArrayLike,
    *,
    n_bin: int = 10,
    mask: ArrayLike | None = None,
) -> QTable:
    r"""
    Histogram of the probability integral transform, :math:`\Phi((t - x) / \sigma)`.

    It is flat if the uncertainties are true; a hump in the middle means that they are
    too large, a bowl that they are too small, a slope that the image is biased.

    Parameters
    ----------
    truth, image, uncertainty, mask
        As for `coverage`.
    n_bin : int, optional
        At least 2.

    Returns
    -------
    table : `~astropy.table.QTable`
        For each bin ``low, high, count`` and ``density``, which is 1 where flat; NaN without
        pixels.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import pit_histogram
    >>> image = np.random.default_rng(1).normal(size=100000)
    >>> table = pit_histogram(0 * image, image, 2 + 0 * image, n_bin=2)
    >>> table["density"].round(1)
    array([1., 1.])
    """
    check_integer("n_bin", n_bin, minimum=2)
    pulls = _pulls(truth, image, uncertainty, mask)[0]
    edges = np.linspace(0, 1, n_bin + 1)
    count, _ = np.histogram(stats.norm.cdf(-pulls), edges)
    density = count * n_bin / pulls.size if pulls.size else np.full(n_bin, np.nan)
    return QTable({"low": edges[:-1], "high": edges[1:], "count": count, "density": density})


def coverage_table(field: ComparedField) -> Table:
    """
    Count the truths within the intervals that an output states.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field, with a truth without noise and an output that states its uncertainty.

    Returns
    -------
    rows : `~astropy.table.Table`
        For each band, rows of the ``kind`` ``"snr"``, a bin of `SNR_EDGES` each (of the truth
        over the noise of the sky in the input), and of the kind ``"pit"``, a bin of
        `pit_histogram` each: ``field, band, kind, low, high, count, within_68, within_95``.
        None without uncertainty or truth.
    """
    return field.each(lambda band: _coverage_of_band(band, noise_free=field.noise_free))


def _coverage_of_band(band: ComparedBand, *, noise_free: bool) -> Table:
    """Rows of one band."""
    names = ("band", "kind", "low", "high", "count", "within_68", "within_95")
    table = Table(names=names, dtype=("U16", "U8", float, float, int, float, float))
    if band.std is None or not noise_free:
        return table
    options: dict[str, Any] = {"mask": band.hidden}
    target = present(band.target)
    # The flux of an input pixel, and its noise, are shared by four.
    ratio = 4 * target / band.sigma
    counted = coverage(target, band.output, band.std, signal_to_noise=ratio, **options)
    for row in rows_of(counted):
        shares = [np.nan_to_num(row[f"coverage_{level}"]) * row["count"] for level in (68, 95)]
        table.add_row((band.name, "snr", row["low"], row["high"], row["count"], *shares))
    for row in rows_of(pit_histogram(target, band.output, band.std, **options)):
        table.add_row((band.name, "pit", row["low"], row["high"], row["count"], 0, 0))
    return table


def checks_uncertainty(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the uncertainties of an output against the truth.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `coverage_table`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band the coverage at 68 and 95 % in each bin of `SNR_EDGES`, and the largest
        excess of a PIT bin, with the errors that fields have which differ.  Without uncertainty or
        truth, "not measured".
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        bins = mine[mine["kind"] == "snr"]
        for level in (68, 95) if len(bins) else ():
            checks += [_coverage_check(bins, edges, level, band, limits) for edges in _edges(bins)]
        checks.append(_pit_check(mine[mine["kind"] == "pit"], band, limits))
    return checks


def _edges(rows: Table) -> dict[tuple[float, float], None]:
    return dict.fromkeys(zip(rows["low"], rows["high"], strict=True))


def _coverage_check(
    rows: Table, edges: tuple[float, float], level: int, band: str, limits: Mapping[str, Limit]
) -> Check:
    mine = rows[(rows["low"] == edges[0]) & (rows["high"] == edges[1])]
    count, limit = int(np.sum(mine["count"])), limits[f"coverage {level}"]
    words: dict[str, Any] = {"low": f"{edges[0]:g}", "high": f"{edges[1]:g}", "count": count}
    if count < limit.least:
        return limit.check(band, np.nan, note=f"only {count} pixels", needed=False, **words)
    mine = mine[mine["count"] > 0]
    shares = np.asarray(mine[f"within_{level}"], float) / np.asarray(mine["count"], float)
    error = _error_of_fields(shares, _OF_A_FIELD)
    share = np.average(shares, weights=mine["count"])
    return _of_fields(limit, band, share, error, len(mine), words)


def _pit_check(rows: Table, band: str, limits: Mapping[str, Limit]) -> Check:
    limit, count = limits["PIT"], int(np.sum(rows["count"])) if len(rows) else 0
    if count < limit.least:
        note = f"only {count} pixels" if count else "no uncertainties, or no truth without noise"
        return limit.check(band, np.nan, count=count, note=note)
    # A row per bin, a column per field; those without a pixel say nothing.
    counts = np.array([rows["count"][rows["low"] == low] for low, _ in _edges(rows)], float)
    counts = counts[:, counts.sum(axis=0) > 0]
    excess = np.abs(counts.sum(axis=1) * len(counts) / count - 1)
    worst = int(np.argmax(excess))
    densities = counts[worst] * len(counts) / counts.sum(axis=0)
    error = _error_of_fields(densities, _PIT_OF_A_FIELD)
    return _of_fields(limit, band, excess[worst], error, counts.shape[1], {"count": count})


def _of_fields(
    limit: Limit, band: str, value: float, error: float, number: int, words: dict[str, Any]
) -> Check:
    """Judge a value whose error is that of so many fields: what is lacking is those, not pixels."""
    limit = dataclasses.replace(limit, of="fields", least=1)
    check = limit.judge(band, value, error=error, known=True, **words | {"count": number})
    return dataclasses.replace(check, count=words["count"])


def _error_of_fields(values: FloatArray, of_one: float) -> float:
    """Error of the mean of all fields: from their scatter, where they are enough to show it."""
    error = of_one / np.sqrt(len(values))
    if len(values) >= _FIELDS:
        error = min(error, float(np.std(values, ddof=1)) / np.sqrt(len(values)))
    return error


def _pulls(
    truth: Any, image: Any, uncertainty: Any, mask: Any
) -> tuple[FloatArray, BoolArray, FloatArray, FloatArray]:
    """(image - truth) / uncertainty where it is defined, where that is, sigma and truth."""
    truth = np.asarray(truth, float)
    image = check_shape("image", image, truth.shape)
    sigma = check_shape("uncertainty", uncertainty, truth.shape)
    used = np.isfinite(truth) & np.isfinite(image) & np.isfinite(sigma) & (sigma > 0)
    if mask is not None:
        used &= ~check_shape("mask", mask, truth.shape, bool)
    return (image[used] - truth[used]) / sigma[used], used, sigma, truth
