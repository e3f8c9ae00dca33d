# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether an output is as sharp as it promises, by all its bright sources beside the truth.

Stars that stand alone are few.  Beside a truth every source tells: what its neighbors and its arms
are is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy import ndimage

from splus_srgan.evaluation.apertures import blur_to_psf
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.displacement import Displacement, measure_displacement
from splus_srgan.evaluation.sources import any_within, inside, quadrants
from splus_srgan.evaluation.statistics import finite_median, median_error, worst_part
from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.table import Row

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["checks_widths", "width_table"]

_LEAST_SNR = 30.0
_RADIUS = 1.5  # arcsec, of the aperture of that S/N
_HALF = 2.2  # FWHM to each side that a source is compared within
_CLEAR = 4.0  # arcsec to missing and saturated pixels, and to the border
_STEP = 0.05  # of the width, with which a source is blurred to see what that does to it
_OF_NOISE = 1.5  # over the S/N: what the noise of the input does to the width of a star
_MARGIN = 6  # output pixels around a source
_SYSTEMATIC = 0.025  # of the width and the ellipticity of a single source
_USABLE = 0.02  # largest error of a width


def width_table(field: ComparedField) -> Table:
    r"""
    Measure how much wider or narrower than promised each bright source of an output is.

    Output and truth are brought to one PSF, by what the output promises, and compared around each
    source (`~splus_srgan.evaluation.measure.displacement.measure_displacement`), which gives a
    blur :math:`b`.  The truth with a PSF that is 5 and 10 % wider says which blur that is there,
    :math:`b(w - 1)` to the second order, from which the width :math:`w` follows.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source: ``field, band, kind, x, y`` (input pixels), ``snr`` (within 1.5 arcsec),
        ``width`` (FWHM of the PSF over that of the truth at the promised PSF) and its ``error``;
        ``e1, e2``, the ellipticity of the PSF, along x and along the diagonal; ``quadrant``
        (`~splus_srgan.evaluation.sources.quadrants`).
        Empty without a truth free of noise.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.widths import width_table
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> simulated = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(simulated, name="stars")
    >>> rows = width_table(compare_field(pair, pair.target, output_psf=(1.0, 3.0)))
    >>> len(rows) > 3, bool(abs(rows["width"] - 1).max() < 1e-6)
    (True, True)
    """
    return field.each(lambda band: _widths_of_band(band, field.sources))


def _widths_of_band(band: ComparedBand, sources: Table) -> Table:
    """Rows of one band."""
    rows = []
    if band.target is not None and band.noise_free and band.target_psf is not None:
        made, target = band.matched
        psf = band.target_psf
        if band.output_psf is not None and band.output_psf[0] > psf[0]:
            psf = band.output_psf
        wider = [
            blur_to_psf(target, (psf[0] * (1 + n * _STEP), *psf[1:]), psf=psf,
                        pixel_scale=band.fine_scale)
            for n in (1, 2)
        ]  # fmt: skip
        half = round(_HALF * psf[0] / band.fine_scale)
        good, snr = _bright(band, sources)
        for source, one in zip(sources[good], snr[good], strict=True):
            found = _width(made, target, wider, source, half, ~band.hidden)
            if found is not None and found[1] < _USABLE:
                rows.append((band.name, source["kind"], source["x"], source["y"], one, *found))
    names = ("band", "kind", "x", "y", "snr", "width", "error", "e1", "e2")
    types = ("U16", "U8", *(7 * [float]))
    table = Table(rows=rows or None, names=names, dtype=types)
    table["quadrant"] = quadrants(np.asarray(table["x"]), np.asarray(table["y"]), band.shape)
    return table


def _bright(band: ComparedBand, sources: Table) -> tuple[BoolArray, FloatArray]:
    """Which sources are bright enough and wholly there, and the S/N of all."""
    scale = {"pixel_scale": band.pixel_scale}
    x, y = (np.asarray(sources[name], float) for name in ("x", "y"))
    flux = np.asarray(sources[f"flux_{band.name}"], float)
    snr = flux / (band.sigma * area_noise(np.pi * (_RADIUS / band.pixel_scale) ** 2))
    good = (snr > _LEAST_SNR) & inside(x, y, band.shape, _CLEAR, **scale)
    return good & ~any_within(band.bad, x, y, _CLEAR, **scale), snr


def _width(
    made: FloatArray,
    target: FloatArray,
    wider: Sequence[FloatArray],
    source: Row,
    half: int,
    good: BoolArray,
) -> tuple[float, float, float, float] | None:
    """Width of a source over that of the truth, its error, and the ellipticity of the PSF."""
    column, row = (round(2 * float(source[name]) + 0.5) for name in ("x", "y"))
    part = np.s_[max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1]
    if not good[part].all():
        return None
    blurs = [measure_displacement(target, one, part, good=good) for one in (made, *wider)]
    found, (once, twice) = blurs[0], (one.blur / _STEP for one in blurs[1:])
    # b = slope (w - 1) + bend (w - 1)^2, and for small ones the slope alone.
    slope, bend = 2 * once - twice / 2, (twice / 2 - once) / _STEP
    root = slope**2 + 4 * bend * found.blur
    if not (slope > 0 and root > 0):
        return None
    width = 1 + 2 * found.blur / (slope + np.sqrt(root))
    # A PSF of variance s^2 gives the slope s^2, and an ellipticity e half of e s^2.
    e1, e2 = 2 * _stretch(target, made, part, found) / slope
    return width, found.blur_error / slope, float(e1), float(e2)


def _stretch(
    target: FloatArray, made: FloatArray, part: tuple[slice, slice], found: Displacement
) -> FloatArray:
    """Half of the difference of the variances along x and y, and along the diagonals, of a PSF."""
    around = tuple(slice(max(0, edge.start - _MARGIN), edge.stop + _MARGIN) for edge in part)
    inner = tuple(
        slice(edge.start - wide.start, edge.stop - wide.start)
        for edge, wide in zip(part, around, strict=True)
    )
    there = ndimage.shift(target[around], (found.dy, found.dx), order=3, mode="nearest")
    dy, dx = np.gradient(there)
    (yy, yx), (_, xx) = np.gradient(dy), np.gradient(dx)
    columns = [np.ones(there.shape), there, dy, dx, ndimage.laplace(there), xx - yy, 2 * yx]
    design = np.stack([column[inner].ravel() for column in columns], 1)
    design /= (scale := np.sqrt(np.mean(design**2, axis=0)))
    solution = np.linalg.lstsq(design, made[part].ravel(), rcond=None)[0] / scale
    return solution[5:] / solution[1]


def checks_widths(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the sharpness by all bright sources.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `width_table`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        The median width for each band, less 1: of stars, and of all other sources, whose fine
        detail is harder to tell from noise; of the stars of the worst part; and the larger
        component of the PSF's ellipticity.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        stars = np.asarray(mine["kind"]) == "star"
        for name, chosen in (("star width", stars), ("galaxy width", ~stars)):
            width = np.asarray(mine["width"], float)[chosen] - 1
            checks.append(_check(limits[name], band, width, mine[chosen]))
        width, limit = np.asarray(mine["width"], float)[stars] - 1, limits["part star width"]
        noise = _noise(mine[stars])
        worst = worst_part(mine[stars], width, noise, present(limit.range))
        checks.append(limit.check(band, **worst))
        shapes = [np.asarray(mine[name], float) for name in ("e1", "e2")]
        worst = max(shapes, key=lambda e: abs(np.median(e)) if e.size else 0)
        checks.append(_check(limits["PSF ellipticity"], band, worst, mine))
    return checks


def _check(limit: Limit, band: str, values: FloatArray, rows: Table) -> Check:
    """Median of a value of some sources."""
    # Of few sources the scatter tells little, but each has an error of its own.
    few = values.size < limit.least
    noise = _noise(rows)
    error = np.hypot(noise.max(initial=0.0), _SYSTEMATIC) if few else median_error(values)
    return limit.judge(band, finite_median(values), error=error, known=few, count=values.size)


def _noise(rows: Table) -> FloatArray:
    """What the noise of output and input does to each width."""
    return np.hypot(np.asarray(rows["error"], float), _OF_NOISE / np.asarray(rows["snr"], float))
