# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Recovery of sources that are added to a field.

The field is enhanced with and without them, so its own sources and its sky drop out of the
difference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, vstack

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.injection import APERTURE, draw_injections, inject
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.sources import detect, match_positions
from splus_srgan.evaluation.statistics import median_error
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.evaluation.limits import Limit

__all__ = ["checks_injection", "injection_test"]

_MAG = 2.5 / np.log(10)


def injection_test(
    enhancer: Callable[..., Any],
    pair: EvaluationPair,
    *,
    n: int = 20,
    seed: int = 0,
    snr: tuple[float, float] = (20.0, 300.0),
    star_share: float = 0.5,
) -> Table:
    """
    Enhance a field with and without injected sources, and measure them in the difference.

    Parameters
    ----------
    enhancer : callable
        Called with a dict of band to `~astropy.nddata.CCDData`.
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Field; it needs no target.
    n, seed, snr, star_share
        As for `draw_injections`.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source and band: ``field, band, kind, x, y, flux`` (injected), ``snr`` (within
        6 arcsec), ``error`` (mag, what the input's noise does), ``offset`` (mag; output at
        the PSF of the input against what was added to the input, radius 6 arcsec; NaN where
        the output has no flux) and ``found`` (detected at 5 sigma in the output).  Empty
        where there is no room, or the PSF of the input is not known.
    """
    before = enhancer(pair.input)
    bare = EvaluationPair(pair.name, pair.input, sky=pair.sky, sigma=pair.sigma)
    bands = compare_field(bare, before).bands
    if any(band.psf is None for band in bands.values()):
        return _no_rows()
    sources = draw_injections(bands, n=n, seed=seed, snr=snr, star_share=star_share)
    if not len(sources):
        return _no_rows()
    scale = next(iter(bands.values())).pixel_scale
    injected = inject(
        pair.input,
        sources,
        psfs={name: present(band.psf) for name, band in bands.items()},
        electrons={name: band.electrons for name, band in bands.items()},
        seed=seed,
        pixel_scale=scale,
    )
    changed = EvaluationPair(pair.name, injected, sky=pair.sky, sigma=pair.sigma)
    after = compare_field(changed, enhancer(injected)).bands
    table = vstack([_recovered(bands[name], after[name], sources) for name in bands])
    table["field"] = np.full(len(table), pair.name, "U64")
    return table


def _no_rows() -> Table:
    names = ("band", "kind", "x", "y", "flux", "snr", "error", "offset", "found")
    return Table(names=names, dtype=("U16", "U8", *(6 * [float]), bool))


def _recovered(before: ComparedBand, after: ComparedBand, sources: Table) -> Table:
    """Rows of one band."""
    scale = before.pixel_scale
    x, y = np.asarray(sources["x"]), np.asarray(sources["y"])
    place: dict[str, Any] = {**APERTURE, "pixel_scale": scale}
    # What was added, its photon noise included: that is in the data, and not to be undone.
    expected, free = aperture_flux(present(after.input) - present(before.input), x, y, **place)
    found, _ = aperture_flux(after.seen_output - before.seen_output, x, y, **place)
    noise = aperture_noise(
        expected,
        free,
        radius=place["radius"],
        sigma=before.sigma,
        electrons=before.electrons,
        pixel_scale=scale,
    )
    seen, _ = detect(after.output, after.sigma, factor=2, threshold=5.0)
    matched = match_positions(x, y, seen["x"], seen["y"], pixel_scale=scale) >= 0
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.where(found > 0, _MAG * np.log(found / expected), np.nan)
    table = _no_rows()
    columns = (x, y, np.asarray(sources[f"flux_{before.name}"]), expected / noise)
    columns += (_MAG * noise / expected, offset, matched)
    for row in zip(sources["kind"], *columns, strict=True):
        table.add_row((before.name, *row))
    return table


def checks_injection(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the recovery of injected sources.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `injection_test`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: median offset of the flux of stars and of galaxies, and the share
        found.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        for kind, plural in (("star", "stars"), ("galaxy", "galaxies")):
            values = np.asarray(mine["offset"][mine["kind"] == kind], float)
            values = values[np.isfinite(values)]
            note = "" if values.size else "nothing was injected"
            options: dict[str, Any] = {
                "error": median_error(values),
                "count": values.size,
                "note": note,
            }
            value = np.median(values) if values.size else np.nan
            checks.append(limits["injected flux"].judge(band, value, kind=plural, **options))
        share = np.mean(mine["found"]) if len(mine) else np.nan
        options = {"error": 0.0, "count": len(mine)}
        options["note"] = "" if len(mine) else "nothing was injected"
        checks.append(limits["injected found"].judge(band, share, **options))
    return checks
