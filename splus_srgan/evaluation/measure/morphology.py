# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sizes and ellipticities of sources in the output against those of the target, at one PSF."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.catalog import usable
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.photometry import APERTURES
from splus_srgan.evaluation.shapes import moments
from splus_srgan.evaluation.statistics import (
    finite_median,
    finite_values,
    median_error,
    scatter_error,
)
from splus_srgan.pixels.robust import robust_std
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit

__all__ = ["checks_shapes", "compare_shapes"]

_COLUMNS = ("x", "y", "snr", "size", "size_ratio", "delta_e1", "delta_e2")


def compare_shapes(
    field: ComparedField, *, least_snr: float = 50, kind: str | None = None
) -> Table:
    """
    Compare sizes and ellipticities with those of the target.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.
    least_snr : float, optional
        Sources with less (within 3 arcsec) are left out.
    kind : str, optional
        Only sources of this kind; `None`: all.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per isolated source: ``field, band, kind, x, y, snr``; ``size`` of the target
        (arcsec, `~splus_srgan.evaluation.shapes.moments`), ``size_ratio`` (output over
        target), ``delta_e1, delta_e2`` (output less target).  Empty without a target.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.morphology import compare_shapes
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> simulated = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(simulated, name="stars")
    >>> field = compare_field(pair, pair.target, output_psf=(1.0, 3.0))
    >>> field.bands["r"].output = field.bands["r"].target
    >>> rows = compare_shapes(field)
    >>> len(rows) > 0, bool(abs(rows["size_ratio"] - 1).max() < 1e-9)
    (True, True)
    """
    return field.each(lambda band: _shapes_of_band(band, field.sources, least_snr, kind))


def _shapes_of_band(
    band: ComparedBand, sources: Table, least_snr: float, kind: str | None
) -> Table:
    """Rows of one band."""
    if band.target is None:
        return _table(band, (), {})
    place: dict[str, Any] = APERTURES["target"]
    scale: dict[str, Any] = {"pixel_scale": band.pixel_scale}
    good = usable(band, sources, **place)
    if kind is not None:
        good &= np.asarray(sources["kind"]) == kind
    chosen = sources[good]
    x, y = np.asarray(chosen["x"]), np.asarray(chosen["y"])
    made, target = band.matched
    flux, _ = aperture_flux(target, x, y, radius=place["radius"], factor=2, **scale)
    noise = aperture_noise(
        flux,
        np.full(len(x), np.inf),
        radius=place["radius"],
        sigma=band.sigma,
        electrons=band.electrons,
        **scale,
    )
    keep = flux > least_snr * noise
    x, y, snr = x[keep], y[keep], (flux / noise)[keep]
    found, expected = (
        moments(made, x, y, factor=2, **scale),
        moments(target, x, y, factor=2, **scale),
    )
    columns = {
        "x": x,
        "y": y,
        "snr": snr,
        "size": expected["size"],
        "size_ratio": found["size"] / expected["size"],
        "delta_e1": found["e1"] - expected["e1"],
        "delta_e2": found["e2"] - expected["e2"],
    }
    return _table(band, chosen["kind"][keep], columns)


def _table(band: ComparedBand, kind: Any, columns: Mapping[str, Any]) -> Table:
    table = Table({"band": np.full(len(kind), band.name, "U16"), "kind": np.asarray(kind, "U8")})
    for name in _COLUMNS:
        table[name] = np.asarray(columns.get(name, ()), float)
    table["size"].unit = u.arcsec
    table["x"].unit = table["y"].unit = u.pix
    return table


def checks_shapes(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge sizes and ellipticities.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_shapes`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; one without sources is "not measured".
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: median size, median ellipticity (the larger component), and its
        scatter.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        ratio = finite_values(mine["size_ratio"]) - 1
        parts = [finite_values(mine[name]) for name in ("delta_e1", "delta_e2")]
        worst = max(parts, key=lambda part: abs(np.median(part)) if part.size else 0)
        both = np.concatenate([part - np.median(part) if part.size else part for part in parts])
        spread = robust_std(both)
        spread_error = scatter_error(
            spread, both.size, limit=present(limits["ellipticity scatter"].high)
        )
        for name, value, error in (
            ("size", finite_median(ratio), median_error(ratio)),
            ("ellipticity", finite_median(worst), median_error(worst)),
            ("ellipticity scatter", spread, spread_error),
        ):
            known = name == "ellipticity scatter"  # its error is that of the limit
            check = limits[name].judge(band, value, error=error, count=ratio.size, known=known)
            checks.append(check)
    return checks
