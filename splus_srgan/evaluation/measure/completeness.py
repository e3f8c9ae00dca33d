# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Completeness and purity of detections in the output, beside those of the input."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, vstack

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.sources import any_within, detect, inside, match_positions
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["checks_completeness", "find_and_match", "rates"]

SNR_EDGES = (3, 5, 7, 10, 15, 20, 30, 50, 100, np.inf)
"""Edges of the bins of the signal-to-noise ratio."""

_RADIUS = 1.65  # arcsec, of the aperture that gives a detection its S/N: 3 input pixels
_EDGE = 3.0  # arcsec
_CONFIRMED = 0.5  # of the flux of a source


def _snr(
    band: ComparedBand, image: FloatArray, factor: int, table: Table
) -> tuple[FloatArray, FloatArray]:
    """S/N of each position in an image, by the noise of the input."""
    flux, free = aperture_flux(
        image,
        np.asarray(table["x"]),
        np.asarray(table["y"]),
        radius=_RADIUS,
        factor=factor,
        pixel_scale=band.pixel_scale,
    )
    noise = aperture_noise(
        flux,
        free,
        radius=_RADIUS,
        sigma=band.sigma,
        electrons=band.electrons,
        pixel_scale=band.pixel_scale,
    )
    return flux, flux / noise


def find_and_match(
    field: ComparedField, *, threshold: float = 5.0, reference_threshold: float = 2.5
) -> Table:
    """
    Find sources in target, output and input, and say which have a counterpart.

    All are found with the same threshold in surface brightness, in units of the input's
    noise.  What lies at the threshold may fall on either side of it; so a counterpart may
    be as faint as ``reference_threshold``.  Parts of a galaxy are told apart in one image and not
    in another; so what has at least half of its flux in the target at the same place is in the
    target, too, and what is in the target is in the output if it has half of its flux there.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.
    threshold : float, optional
        Threshold of the peak of a source, in units of the smoothed input's noise.
    reference_threshold : float, optional
        Threshold of a counterpart.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source of each list: ``band``; ``list`` (``"target"``, ``"output"`` or
        ``"input"``), ``x, y, flux`` (within 1.65 arcsec), ``snr`` (of that flux, by the
        input's noise), ``mag`` (AB; NaN where the zero point is not known), ``peak``;
        ``in_target``, ``in_output``, ``in_input``: whether it has a counterpart there;
        ``has_target``: whether there is a target at all.  Without one, that list is missing and
        ``in_target`` is `False`.
    """
    return field.each(lambda band: _sources_of_band(band, threshold, reference_threshold))


def _sources_of_band(band: ComparedBand, threshold: float, reference_threshold: float) -> Table:
    """Rows of one band."""
    images = {"output": (band.output, 2), "input": (band.input, 1)}
    if band.target is not None:
        images = {"target": (band.target, 2)} | images
    found = {}
    for name, (image, factor) in images.items():
        image = present(image)
        table, _ = detect(image, band.sigma, factor=factor, threshold=reference_threshold)
        table["flux"], table["snr"] = _snr(band, image, factor, table)
        found[name] = table
    for name, table in found.items():
        table["list"] = np.full(len(table), name, "U8")
        for other in ("target", "output", "input"):
            table[f"in_{other}"] = np.zeros(len(table), bool)
            if other in found:
                table[f"in_{other}"] = _matched(band, table, found[other])
        if "target" in found and name != "target":
            there, _ = _snr(band, present(band.target), 2, table)
            table["in_target"] |= there >= _CONFIRMED * np.asarray(table["flux"])
        elif name == "target":
            there, _ = _snr(band, band.output, 2, table)
            table["in_output"] |= there >= _CONFIRMED * np.asarray(table["flux"])
    rows = vstack(list(found.values()))
    scale = {"pixel_scale": band.pixel_scale}
    keep = np.asarray(rows["peak"]) > threshold
    keep &= inside(rows["x"], rows["y"], band.shape, _EDGE, **scale)
    keep &= ~any_within(band.bad, rows["x"], rows["y"], _EDGE, **scale)
    rows["band"] = np.full(len(rows), band.name, "U16")
    rows["has_target"] = np.full(len(rows), "target" in found)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows["mag"] = band.zero_point - 2.5 * np.log10(np.asarray(rows["flux"]))
    return rows[keep]


def _matched(band: ComparedBand, table: Table, other: Table) -> BoolArray:
    """Which have a counterpart."""
    index = match_positions(
        table["x"], table["y"], other["x"], other["y"], pixel_scale=band.pixel_scale
    )
    return index >= 0


def rates(rows: Table, *, by: str = "snr", edges: Sequence[float] = SNR_EDGES) -> Table:
    """
    Give completeness and purity of output and input, by S/N or magnitude.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `find_and_match`, of one or many fields; those without a target do not count.
    by : str, optional
        Column for the bins: ``"snr"`` or ``"mag"``.
    edges : sequence of float, optional
        Edges of the bins.

    Returns
    -------
    rates : `~astropy.table.Table`
        For each band and bin: ``low, high``; ``n_target``, ``completeness`` and
        ``completeness_input`` (share of the target's sources found), ``n_output``,
        ``purity`` (share of the output's sources that are in the target), ``n_input`` and
        ``purity_input``, with binomial errors ``completeness_error`` and ``purity_error``.
        NaN where a bin is empty.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.evaluation.measure.completeness import rates
    >>> rows = Table({"band": ["r"] * 3, "list": ["target", "target", "output"],
    ...               "snr": [40.0, 45.0, 41.0], "has_target": [True] * 3,
    ...               "in_target": [True, True, True], "in_output": [True, False, True],
    ...               "in_input": [True, True, True]})
    >>> table = rates(rows, edges=(30, 50))
    >>> print(table["completeness"][0], table["purity"][0])
    0.5 1.0
    """
    names = ("band", "low", "high", "n_target", "completeness", "completeness_error")
    names += ("completeness_input", "n_output", "purity", "purity_error", "n_input", "purity_input")
    lines = []
    for band in dict.fromkeys(rows["band"]):
        mine = rows[(rows["band"] == band) & rows["has_target"]]
        values = np.asarray(mine[by], float)
        for low, high in pairwise(edges):
            chosen = mine[(values >= low) & (values < high)]
            target, output, seen = (
                chosen[chosen["list"] == name] for name in ("target", "output", "input")
            )
            lines.append(
                (
                    band,
                    low,
                    high,
                    len(target),
                    *_share(target["in_output"]),
                    _share(target["in_input"])[0],
                    len(output),
                    *_share(output["in_target"]),
                    len(seen),
                    _share(seen["in_target"])[0],
                )
            )
    types = ("U16", float, float, int, float, float, float, int, float, float, int, float)
    return Table(rows=lines, names=names, dtype=types) if lines else Table(names=names, dtype=types)


def _share(flags: BoolArray) -> tuple[float, float]:
    """Share that is true, and its error by Wilson's score, which is not 0 at 0 and 1."""
    flags = np.asarray(flags, bool)
    if not flags.size:
        return np.nan, np.nan
    n, p = flags.size, flags.mean()
    return p, np.sqrt(p * (1 - p) / n + 0.25 / n**2) / (1 + 1 / n)


def checks_completeness(
    rows: Table,
    *,
    bands: Sequence[str] | None = None,
    least_snr: float = 10.0,
    limits: Mapping[str, Limit] = LIMITS,
) -> list[Check]:
    """
    Judge completeness and purity of the output's clear detections.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `find_and_match`, of one or many fields; those without a target do not count.
    bands : sequence of str, optional
        Bands to judge.
    least_snr : float, optional
        What counts as clear, within 1.65 arcsec.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Completeness and purity for each band; "not measured" without sources or target.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[(rows["band"] == band) & rows["has_target"]]
        mine = mine[np.asarray(mine["snr"]) >= least_snr]
        for name, which, flag in (
            ("completeness", "target", "in_output"),
            ("purity", "output", "in_target"),
        ):
            chosen = mine[mine["list"] == which]
            share, error = _share(chosen[flag])
            # The range is one-sided: a small share of a few is a finding, not noise.
            error = min(error, (1 - present(limits[name].low)) / 6)
            options: dict[str, Any] = {"error": error, "known": True, "count": len(chosen)}
            checks.append(limits[name].judge(band, share, snr=f"{least_snr:g}", **options))
    return checks
