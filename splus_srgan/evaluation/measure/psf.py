# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The PSF of an output by its stars, beside the one that it promises."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.starprofile import encircled_energy, fit_stars, psf_residual
from splus_srgan.evaluation.sources import any_within, inside, isolated
from splus_srgan.evaluation.statistics import median_error
from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.pixels.psf import psf_image
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["checks_psf", "psf_table"]

_MIN_SNR = 30.0  # of stars whose profile tells the PSF
_NEAR = 6.0  # arcsec: a neighbour within it disturbs, if it has more than this share of the flux
_SHARE = 0.02
_CLEAR = 4.0  # arcsec to missing and saturated pixels, and to the border
_REACH = 2.0  # FWHM within which a star is compared with the PSF
_ROOM = 1.25  # times the promised FWHM: of sharper inputs, nobody can tell whether they got sharper


def psf_table(field: ComparedField, *, min_snr: float = _MIN_SNR) -> QTable:
    """
    Measure the bright, isolated stars of a field in its input and its output.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field; it needs no target.  A band's ``promised`` PSF is what its output promises.
    min_snr : float, optional
        Faintest star, signal to noise within 1.5 arcsec of the input.

    Returns
    -------
    stars : `~astropy.table.QTable`
        A row for each band and star: ``field, band``, ``x``, ``y`` (input pixels), ``snr``,
        ``fwhm_in``, ``fwhm_out``, ``fwhm_promised`` (arcsec), ``residual`` and ``core``
        (`~splus_srgan.evaluation.measure.starprofile.psf_residual`), ``energy`` and
        ``energy_promised`` (share of the flux within the promised FWHM, of that within three).
        What is not known is NaN.
    """
    return QTable(field.each(lambda band: _table_of_band(band, field.sources, min_snr)))


def _table_of_band(band: ComparedBand, sources: Table, min_snr: float) -> Any:
    """Rows of one band."""
    chosen, snr = _bright_stars(band, sources, band.name, min_snr)
    names = ("band", "x", "y", "snr", "fwhm_in", "fwhm_out", "fwhm_promised")
    names += ("residual", "core", "energy", "energy_promised")
    table = QTable(names=names, dtype=["U16"] + 10 * [float])
    for row in _measure_stars(band, band.promised, sources[chosen], snr[chosen]):
        table.add_row(row)
    for name in ("fwhm_in", "fwhm_out", "fwhm_promised"):
        table[name].unit = u.arcsec
    for name in ("x", "y"):
        table[name].unit = u.pix
    return table


def _bright_stars(
    band: ComparedBand, sources: Table, name: str, min_snr: float
) -> tuple[BoolArray, FloatArray]:
    """Which sources are stars that tell the PSF, and the S/N of all."""
    x, y, scale = sources["x"], sources["y"], band.pixel_scale
    flux = np.asarray(sources[f"flux_{name}"], float)
    snr = flux / (band.sigma * area_noise(np.pi * (1.5 / scale) ** 2))
    good = (sources["kind"] == "star") & (snr > min_snr)
    good &= inside(x, y, band.shape, _CLEAR, pixel_scale=scale)
    good &= isolated(x, y, flux, distance=_NEAR, share=_SHARE, pixel_scale=scale)
    good &= ~any_within(band.bad, x, y, _CLEAR, pixel_scale=scale)
    return np.asarray(good, bool), snr


def _measure_stars(
    band: ComparedBand, psf: Any, stars: Any, snr: FloatArray
) -> list[tuple[Any, ...]]:
    """Rows of `psf_table`."""
    if not len(stars):
        return []
    scale, fine = band.pixel_scale, band.fine_scale
    x, y = 2 * np.asarray(stars["x"]) + 0.5, 2 * np.asarray(stars["y"]) + 0.5
    seeing = band.psf[0] if band.psf else 1.4
    seen = fit_stars(present(band.input), stars["x"], stars["y"], fwhm=seeing / scale)
    promised = band.output_psf if psf is not None else None
    made = fit_stars(band.output, x, y, fwhm=(promised[0] if promised else seeing) / fine)
    nothing = np.full(len(stars), np.nan)
    residual = core = energy = nothing
    promise = share = np.nan
    if promised:
        # The FWHM of a star is that of a fit to it, wings included.
        middle = [np.shape(psf)[0] // 2]
        promise = fine * fit_stars(psf, middle, middle, fwhm=promised[0] / fine)["fwhm"][0]
        compared = psf_residual(band.output, x, y, psf, radius=_REACH * promise / fine)
        residual, core = compared["residual"], compared["core"]
        radii = np.array([1, 3]) * promise / fine
        ring = tuple(np.array([4, 6]) * promise / fine)
        energy = encircled_energy(band.output, x, y, radii=radii, annulus=ring)[:, 0]
        # Measured like the stars: pixels blur what an aperture cuts through.
        model = psf_image(promised, pixel_scale=fine, radius=int(np.ceil(ring[1])) + 1)
        centre = [model.shape[0] // 2]
        share = encircled_energy(model, centre, centre, radii=radii, annulus=ring)[0, 0]
    columns = (stars["x"], stars["y"], snr, scale * seen["fwhm"], fine * made["fwhm"])
    return [
        (band.name, *row, promise, *more, share)
        for row, more in zip(
            zip(*columns, strict=True), zip(residual, core, energy, strict=True), strict=True
        )
    ]


def checks_psf(
    stars: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the PSF of the output by its stars.

    Parameters
    ----------
    stars : `~astropy.table.QTable`
        As `psf_table` gives it; those of several fields stacked are better.
    bands : sequence of str, optional
        Bands to judge; by default those of the table.  A band without stars is "not
        measured".
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Medians, all of the topic morphology, for each band.  The FWHM is compared with that
        of the input only for stars that have 1.25 times the promised FWHM there: where the
        seeing was as good as the promise, there is nothing to gain.
    """
    checks = []
    for band in dict.fromkeys(stars["band"]) if bands is None else bands:
        mine = stars[stars["band"] == band]
        # Without a promise (NaN), every star counts.
        sharp = np.asarray(mine["fwhm_in"] < _ROOM * mine["fwhm_promised"], bool)
        ratio = np.asarray(mine["fwhm_out"] / mine["fwhm_in"], float)
        note = ""
        if sharp.any() and not np.isfinite(ratio[~sharp]).any():
            found = float(np.nanmedian(ratio[sharp])) if np.isfinite(ratio[sharp]).any() else np.nan
            note = f"the input is nearly as sharp as the promised PSF; found {found:.3g}"
        checks += [
            _check(limits["PSF over input"], band, np.where(sharp, np.nan, ratio), note),
            _check(limits["PSF width"], band, mine["fwhm_out"] / mine["fwhm_promised"]),
            _check(limits["PSF residual"], band, mine["residual"]),
            _check(limits["PSF energy"], band, mine["energy"] - mine["energy_promised"]),
        ]
    return checks


def _check(limit: Limit, band: str, values: Any, note: str = "") -> Check:
    """Median of what could be measured."""
    values = np.asarray(values, float)
    found = values[np.isfinite(values)]
    if not found.size and not note:
        note = "no stars" if not values.size else "the output promises no PSF, or the fits failed"
    value = np.median(found) if found.size else np.nan
    return limit.judge(band, value, error=median_error(found), count=found.size, note=note)
