# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sizes and ellipticities of sources in the output against those of the truth, at one PSF."""

from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import Table

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.catalog import usable
from splus_srgan.evaluation.measure.photometry import APERTURES
from splus_srgan.evaluation.shapes import moments
from splus_srgan.evaluation.statistics import judge, median_error, robust_std

__all__ = ["ShapeLimits", "checks_shapes", "compare_shapes"]

_COLUMNS = ("x", "y", "snr", "size", "size_ratio", "delta_e1", "delta_e2")


@dataclass(frozen=True)
class ShapeLimits:
    """
    What sizes and ellipticities have to keep.

    Parameters
    ----------
    size : float, optional
        Largest median deviation of the ratio of sizes from 1.
    ellipticity : float, optional
        Largest median change of a component of the ellipticity.
    scatter : float, optional
        Largest scatter of the change of a component.
    """

    size: float = 0.03
    ellipticity: float = 0.01
    scatter: float = 0.05


def compare_shapes(band, sources, *, least_snr=50, kind=None):
    """
    Compare sizes and ellipticities with those of the truth.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band.
    sources : `~astropy.table.Table`
        As of `~splus_srgan.evaluation.catalog.list_sources`.
    least_snr : float, optional
        Sources with less (within 3 arcsec) are left out.
    kind : str, optional
        Only sources of this kind; `None`: all.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per isolated source: ``band, kind, x, y, snr``; ``size`` of the truth
        (arcsec, `~splus_srgan.evaluation.shapes.moments`), ``size_ratio`` (output over
        truth), ``delta_e1, delta_e2`` (output less truth).  Empty without a truth.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.compared import compared_bands
    >>> from splus_srgan.evaluation.catalog import list_sources
    >>> from splus_srgan.evaluation.measure.morphology import compare_shapes
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> field = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(field, name="stars")
    >>> bands = compared_bands(pair, pair.target, output_psf=(1.0, 3.0))
    >>> bands["r"].output = bands["r"].truth
    >>> rows = compare_shapes(bands["r"], list_sources(bands, known=pair.sources))
    >>> len(rows) > 0, bool(abs(rows["size_ratio"] - 1).max() < 1e-9)
    (True, True)
    """
    if band.truth is None:
        return _table(band, (), {})
    place, scale = APERTURES["truth"], {"pixel_scale": band.pixel_scale}
    good = usable(band, sources, **place)
    if kind is not None:
        good &= np.asarray(sources["kind"]) == kind
    chosen = sources[good]
    x, y = np.asarray(chosen["x"]), np.asarray(chosen["y"])
    made, truth = band.matched
    flux, _ = aperture_flux(truth, x, y, radius=place["radius"], factor=2, **scale)
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
        moments(truth, x, y, factor=2, **scale),
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


def _table(band, kind, columns):
    table = Table({"band": np.full(len(kind), band.name, "U16"), "kind": np.asarray(kind, "U8")})
    for name in _COLUMNS:
        table[name] = np.asarray(columns.get(name, ()), float)
    table["size"].unit = u.arcsec
    table["x"].unit = table["y"].unit = u.pix
    return table


def checks_shapes(rows, *, bands, limits=ShapeLimits()):
    """
    Judge sizes and ellipticities.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_shapes`, of one or many fields.
    bands : sequence of str
        Bands to judge; one without sources is "not measured".
    limits : `ShapeLimits`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: median size, median ellipticity (the larger component), and its
        scatter.
    """
    checks = []
    for band in bands:
        mine = rows[rows["band"] == band]
        ratio = _finite(mine["size_ratio"]) - 1
        parts = [_finite(mine[name]) for name in ("delta_e1", "delta_e2")]
        worst = max(parts, key=lambda part: abs(np.median(part)) if part.size else 0)
        both = np.concatenate([part - np.median(part) if part.size else part for part in parts])
        for name, value, limit, error in (
            (
                "median size over the truth's, less 1",
                _median(ratio),
                limits.size,
                median_error(ratio),
            ),
            (
                "median change of ellipticity",
                _median(worst),
                limits.ellipticity,
                median_error(worst),
            ),
            (
                "scatter of ellipticity",
                robust_std(both),
                limits.scatter,
                robust_std(both) / np.sqrt(2 * max(both.size, 1)),
            ),
        ):
            checks.append(
                judge("morphology", name, band, value, limit, error=error, count=ratio.size)
            )
    return checks


def _finite(column):
    values = np.asarray(column, float)
    return values[np.isfinite(values)]


def _median(values):
    return np.median(values) if values.size else np.nan
