# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Positions and widths of stars in the output.

With a target, a star's position is that of the same fit to the target, in the same band:
bands lie up to 0.1 arcsec apart on the sky.  Without one, it is the input's, which has
an error of its own; each star's shift stands beside that error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table

from splus_srgan.evaluation.catalog import usable
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.photometry import APERTURES
from splus_srgan.evaluation.positions import centroid_error, centroid_limit, centroids
from splus_srgan.evaluation.shapes import fwhm, star_image
from splus_srgan.evaluation.sources import quadrants
from splus_srgan.evaluation.statistics import (
    excess_scatter,
    finite_median,
    median_error,
    scatter_error,
    worst_part,
)
from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.pixels.robust import robust_std
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_stars", "compare_stars", "summarize_shifts"]

_LEAST_SNR = 30
_OF_NOISE = 1.5  # over the S/N: what the noise of the input does to the width of a star
_ROOM = 1.25  # times the expected FWHM: of sharper inputs, nobody can tell what got sharper
_COLUMNS = (
    "x",
    "y",
    "snr",
    "shift_x",
    "shift_y",
    "input_shift_x",
    "input_shift_y",
    "input_error",
    "limit",
    "fwhm_in",
    "fwhm_out",
    "fwhm_expected",
)


def compare_stars(field: ComparedField, *, least_snr: float = _LEAST_SNR) -> Table:
    """
    Measure positions and widths of isolated stars in input, output and target.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field; of its sources those of kind ``"star"``.
    least_snr : float, optional
        Stars with less (within 3 arcsec) are left out.

    Returns
    -------
    stars : `~astropy.table.Table`
        A row per star: ``field, band, against, x, y, snr``; the shift of the output and of
        the input, ``shift_x, shift_y, input_shift_x, input_shift_y`` (output pixels),
        against the target's centroid, or the input's where there is no target (then the
        input's shift is 0); ``input_error``, the error of the input's centroid per axis,
        and ``limit``, the smallest one possible (output pixels); ``fwhm_in, fwhm_out,
        fwhm_expected`` (arcsec, Gaussian fit; expected from the target, or the output's
        PSF); ``quadrant`` (`~splus_srgan.evaluation.sources.quadrants`).  Empty without
        stars, or where the PSF of the input is not known.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.astrometry import compare_stars
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> simulated = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(simulated, name="stars")
    >>> stars = compare_stars(compare_field(pair, pair.target, output_psf=(1.0, 3.0)))
    >>> len(stars) > 0, bool(abs(stars["shift_x"]).max() < 1e-6)
    (True, True)
    """
    return field.each(lambda band: _stars_of_band(band, field.sources, least_snr))


def _stars_of_band(band: ComparedBand, sources: Table, least_snr: float) -> Table:
    """Rows of one band."""
    against = "input" if band.target is None else "target"
    if band.psf is None:
        return _star_table(band, against, {})
    chosen, flux, snr = _chosen_stars(band, sources, least_snr)
    x, y = np.asarray(chosen["x"]), np.asarray(chosen["y"])
    scale: dict[str, Any] = {"pixel_scale": band.pixel_scale}
    observed = present(band.input)
    seen = centroids(observed, x, y)
    fine = centroids(band.output, x, y, factor=2)
    zero = seen if band.target is None else centroids(band.target, x, y, factor=2)
    noise = {"sigma": band.sigma, "electrons": band.electrons} | scale
    if band.target is None:
        expected = np.full(len(x), _expected_width(band))
    else:
        expected = fwhm(band.target, x, y, factor=2, **scale)
    columns = {
        "x": x,
        "y": y,
        "snr": snr,
        "shift_x": 2 * (fine[0] - zero[0]),
        "shift_y": 2 * (fine[1] - zero[1]),
        "input_shift_x": 2 * (seen[0] - zero[0]),
        "input_shift_y": 2 * (seen[1] - zero[1]),
        "input_error": 2 * centroid_error(flux, band.psf, **noise) if len(x) else [],
        "limit": 2 * centroid_limit(flux, band.psf, **noise) if len(x) else [],
        "fwhm_in": fwhm(observed, x, y, **scale),
        "fwhm_out": fwhm(band.output, x, y, factor=2, **scale),
        "fwhm_expected": expected,
    }
    return _star_table(band, against, columns)


def _chosen_stars(
    band: ComparedBand, sources: Table, least_snr: float
) -> tuple[Table, FloatArray, FloatArray]:
    """Isolated stars that are bright enough, their fluxes and S/N within 3 arcsec."""
    place: dict[str, Any] = APERTURES["target"]
    good = usable(band, sources, **place) & (np.asarray(sources["kind"]) == "star")
    area = np.pi * (place["radius"] / band.pixel_scale) ** 2
    flux = np.asarray(sources[f"flux_{band.name}"], float)
    photons = np.maximum(flux, 0) / band.electrons if band.electrons else 0
    noise = np.sqrt((band.sigma * area_noise(area)) ** 2 + photons)
    good &= flux > least_snr * noise
    return sources[good], flux[good], (flux / noise)[good]


def _expected_width(band: ComparedBand) -> float:
    """FWHM of the fit to a star with the PSF that the output should have."""
    if band.output_psf is None:
        return np.nan
    star = star_image(band.output_psf, factor=2, pixel_scale=band.pixel_scale)
    return fwhm(star, [10], [10], factor=2, pixel_scale=band.pixel_scale)[0]


def _star_table(band: ComparedBand, against: str, columns: Mapping[str, Any]) -> Table:
    n = len(columns.get("x", ()))
    table = Table({"band": np.full(n, band.name, "U16"), "against": np.full(n, against, "U8")})
    for name in _COLUMNS:
        table[name] = np.asarray(columns.get(name, ()), float)
        if name.startswith("fwhm"):
            table[name].unit = u.arcsec
        elif name != "snr":
            table[name].unit = u.pix
    table["quadrant"] = quadrants(np.asarray(table["x"]), np.asarray(table["y"]), band.shape)
    return table


def summarize_shifts(stars: Table) -> Table:
    """
    Summarize the shifts of stars by band.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As of `compare_stars`; a column ``field`` tells the fields of several apart.

    Returns
    -------
    summary : `~astropy.table.Table`
        ``band, n``; ``shift_x, shift_y`` (medians) and ``shift_error``; ``scatter``
        per axis; ``input_error`` (median), ``pull`` (scatter of shift over the input's
        error: 1 where the output moves a star by as much as the input's noise does) and
        ``beyond`` (scatter beyond the input's errors).  Output pixels.

    Notes
    -----
    Scatter is that of the stars of one band and field about their mean.  What all of them
    share is no scatter: a real PSF is not symmetric, so that where a star "is" depends on how
    wide one looks, in the input already, and by the same amount for all stars of an image.
    """
    names = ("band", "n", "shift_x", "shift_y", "shift_error", "scatter", "input_error", "pull")
    names += ("beyond",)
    types = ("U16", int, *(7 * [float]))
    lines = []
    for band in dict.fromkeys(stars["band"]):
        mine = stars[stars["band"] == band]
        lines.append((band, *_shift_line(mine)))
    return Table(rows=lines, names=names, dtype=types) if lines else Table(names=names, dtype=types)


def _shift_line(stars: Table) -> tuple[Any, ...]:
    stars = _measured(stars)
    if not len(stars):
        return (0, *(7 * (np.nan,)))
    sx, sy, error = (np.asarray(stars[n], float) for n in ("shift_x", "shift_y", "input_error"))
    fields = _fields(stars)
    centred = np.concatenate([_about_fields(shift, fields) for shift in (sx, sy)])
    known = np.isfinite(centred)
    centred, both = centred[known], np.tile(error, 2)[known]
    return (
        len(stars),
        np.median(sx),
        np.median(sy),
        max(median_error(sx), median_error(sy)),
        robust_std(centred),
        np.median(error),
        robust_std(centred / both),
        excess_scatter(centred, both),
    )


def _measured(stars: Table) -> Table:
    """Stars whose shift is known."""
    found = np.isfinite(stars["shift_x"]) & np.isfinite(stars["shift_y"])
    return stars[np.asarray(found)]


def _fields(stars: Table) -> Any:
    """Field of each star; those of one field need not name it."""
    return np.asarray(stars["field"] if "field" in stars.colnames else np.zeros(len(stars)))


def _about_fields(values: FloatArray, fields: Any) -> FloatArray:
    """
    Deviations from the mean of each field, as large as if that were known.

    NaN where a field has one value only.
    """
    result = np.full(len(values), np.nan)
    for name in dict.fromkeys(fields):
        mine = fields == name
        n = np.count_nonzero(mine)
        if n > 1:
            result[mine] = (values[mine] - values[mine].mean()) * np.sqrt(n / (n - 1))
    return result


def checks_stars(
    stars: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge positions and widths of stars.

    Parameters
    ----------
    stars : `~astropy.table.Table`
        As of `compare_stars`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; one without stars is "not measured".
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: median shift in x and y and scatter beyond the input's error
        (astrometry), width against the expected one and the input's, and of the worst part against
        the expected one (morphology).
    """
    checks = []
    for band in dict.fromkeys(stars["band"]) if bands is None else bands:
        mine = stars[stars["band"] == band]
        count, sx, sy, *_, beyond = _shift_line(mine)
        for axis, value in (("x", sx), ("y", sy)):
            column = np.asarray(mine[f"shift_{axis}"], float)
            error = median_error(column[np.isfinite(column)])
            checks.append(
                limits["star shift"].judge(band, value, error=error, count=count, axis=axis)
            )
        checks.append(_scatter_check(mine, band, beyond, limits["star scatter"]))
        checks += _width_checks(mine, band, limits)
    return checks


def _scatter_check(stars: Table, band: str, beyond: float, limit: Limit) -> Check:
    """Scatter about the means of the fields, from the stars of fields with several."""
    stars = _measured(stars)
    _, numbers = np.unique(_fields(stars), return_counts=True)
    numbers = numbers[numbers > 1]
    # Along both axes; each mean is taken from the stars themselves.
    free, noise = 2 * (numbers - 1).sum(), finite_median(stars["input_error"])
    error = scatter_error(beyond, free, limit=present(limit.high), noise=noise)
    return limit.judge(band, beyond, error=error, count=numbers.sum(), known=True)


def _width_checks(stars: Table, band: str, limits: Mapping[str, Limit]) -> list[Check]:
    made, expected, seen = (
        np.asarray(stars[f"fwhm_{n}"], float) for n in ("out", "expected", "in")
    )
    checks = []
    # Where the seeing was about as good as the output's PSF, stars cannot get sharper.
    blurred = np.where(seen < _ROOM * expected, np.nan, seen)
    for name, reference, offset in (("width", expected, 1), ("sharpening", blurred, 0)):
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = made / reference - offset
        ratio = ratio[np.isfinite(ratio)]
        value = np.median(ratio) if ratio.size else np.nan
        note = ""
        if not ratio.size and np.isfinite(seen).any():
            note = "the input is nearly as sharp as the output should be"
        options = {"error": median_error(ratio), "count": ratio.size, "note": note}
        checks.append(limits[name].judge(band, value, **options))
    with np.errstate(invalid="ignore", divide="ignore"):
        width, noise = made / expected - 1, _OF_NOISE / np.asarray(stars["snr"], float)
    limit = limits["part width"]
    worst = worst_part(stars, width, noise, present(limit.range))
    return [*checks, limit.check(band, **worst)]
