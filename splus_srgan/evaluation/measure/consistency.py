# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Whether the output, seen as the input was, is the input without its noise.

The output is convolved to the PSF of the input and sampled on its pixels, and compared
with the input in units of the noise there.  A right output leaves the noise: a mean
square of 1, no mean, and no trend with flux.  This needs no truth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy import ndimage

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.statistics import pooled
from splus_srgan.pixels.coadd_noise import area_noise, smoothed_noise
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import FloatArray

__all__ = [
    "checks_consistency",
    "data_consistency",
    "residuals",
]

_EDGE = 8  # input pixels at the border, into which the PSF brings what is not known
_SMOOTHING = 1.5  # input pixels
_PSF_ERROR = 0.08  # of the model: what a circular PSF is wrong by within a star
_NEAR = 0.005  # of the brightest pixel near: what the wings of a PSF are wrong by
_REACH = 2.5  # FWHM, of what is near
_CUT = 3  # times as far reaches a star that the border cuts: what it is beyond, nobody knows
_BLOCK = 11  # input pixels, 6 arcsec
_BLOCK_ERROR = 0.01  # of the flux of a block: what the PSF carries over its border
_LEAST_INFORMATION = 400  # for a slope: an error of 5 %
_FLUX_LEVEL = 5.0  # sigma per pixel, above which a pixel belongs to a bright source


def residuals(band: ComparedBand) -> tuple[FloatArray, FloatArray, FloatArray]:
    """
    Give the input less the output as the input's telescope would see it.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band.

    Returns
    -------
    residual, noise, model : `~numpy.ndarray`, shape (ny, nx)
        Input less model, the noise of a pixel (sky, and photons of the model), and the
        model.  NaN in the residual where the input is missing or saturated, and at
        the border.
    """
    model = band.seen_output
    photons = np.maximum(model, 0) / band.electrons if band.electrons else np.zeros(model.shape)
    noise = np.sqrt(band.sigma**2 + photons)
    residual = np.where(band.spoiled, np.nan, present(band.input) - model)
    edge = min(_EDGE, (min(residual.shape) - 1) // 4)
    inner = np.zeros(residual.shape, bool)
    inner[edge : residual.shape[0] - edge, edge : residual.shape[1] - edge] = True
    # What is missing reaches its surroundings through the PSF.
    inner &= ~ndimage.binary_dilation(band.bad, iterations=6)
    return np.where(inner, residual, np.nan), noise, model


def data_consistency(field: ComparedField) -> Table:
    r"""
    Compare the output, as the input's telescope would see it, with the input.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per band: ``field, band``; ``n`` (pixels), ``chi2`` (mean square of
        :math:`(O - B) / n`), ``chi2_least`` (the same of noise alone where the PSF is right),
        ``chi2_bright`` and ``chi2_bright_error`` (where the model is above 5 sigma, and what chance
        does to it where it is at its limit), ``mean`` (of the same) and
        ``mean_error``, ``slope`` (of sums of :math:`O - B` over blocks of 11 x 11 pixels
        against those of :math:`B`: the relative flux that the output lacks) and
        ``slope_error``, ``peak`` (largest smoothed residual over its noise, with its
        sign).  NaN where no pixel can be compared.

    Notes
    -----
    Noise of neighbors is correlated; errors are enlarged by what the survey's headers
    say of it.  To :math:`n`, 8 % of the model is added in quadrature: the header has the
    PSF as a circular one, and within bright stars that is wrong by about as much.  The
    PSF does not matter to ``slope``.  To the noise of ``peak``, half a percent of the
    brightest pixel within 2.5 FWHM is added as well: so well is the PSF known there; and of one at
    the border three times as far, since nobody knows how the star goes on beyond.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    >>> from splus_srgan.evaluation.measure.consistency import data_consistency
    >>> noise = np.random.default_rng(1).normal(0.0, 1.0, (64, 64))
    >>> band = ComparedBand("r", noise, np.zeros((128, 128)), 1.0)
    >>> rows = data_consistency(ComparedField("noise", {"r": band}))
    >>> bool(abs(rows["chi2"][0] - 1) < 0.1), bool(abs(rows["mean"][0]) < 0.1)
    (True, True)
    """
    return field.each(lambda band: Table(rows=[_summary(band)]))


def _summary(band: ComparedBand) -> dict[str, Any]:
    """Results of one band, by name."""
    residual, noise, model = residuals(band)
    good = np.isfinite(residual)
    summary = {"band": band.name, "n": int(good.sum())}
    names = (
        "chi2",
        "chi2_least",
        "chi2_bright",
        "chi2_bright_error",
        "mean",
        "mean_error",
        "slope",
        "slope_error",
        "peak",
    )
    if not good.any():
        return summary | dict.fromkeys(names, np.nan)
    allowed = np.hypot(noise, _PSF_ERROR * model)
    pull = (residual / allowed)[good]
    bright = model[good] > _FLUX_LEVEL * band.sigma
    slope, slope_error = _slope(residual, model, noise, band.sigma)
    correlated = area_noise(_BLOCK**2) / _BLOCK  # over the noise of a mean of white noise
    values = (
        np.mean(pull**2),
        np.mean((noise / allowed)[good] ** 2),
        np.mean(pull[bright] ** 2) if bright.any() else np.nan,
        correlated * present(LIMITS["bright chi2"].high) * np.sqrt(2 / max(1, bright.sum())),
        np.mean(pull),
        correlated * np.std(pull) / np.sqrt(pull.size),
        slope,
        slope_error,
        _peak(residual, noise, model, _reach(band)),
    )
    return summary | dict(zip(names, map(float, values), strict=True))


def _slope(
    residual: FloatArray, model: FloatArray, noise: FloatArray, sigma: float
) -> tuple[float, float]:
    """Relative flux that the model lacks, from sums over blocks, and its error."""
    shape = [n // _BLOCK for n in residual.shape]
    cut = np.s_[: shape[0] * _BLOCK, : shape[1] * _BLOCK]

    def sums(plane: FloatArray) -> FloatArray:
        return plane[cut].reshape(shape[0], _BLOCK, shape[1], _BLOCK).sum(axis=(1, 3))

    lacking, flux = sums(residual), sums(model)
    variance = (sigma * area_noise(_BLOCK**2)) ** 2 + sums(noise**2 - sigma**2)
    variance += (_BLOCK_ERROR * flux) ** 2
    good = np.isfinite(lacking) & (flux > 0)
    information = np.sum(flux[good] ** 2 / variance[good])
    if not information > _LEAST_INFORMATION:
        return np.nan, np.nan
    return np.sum((lacking * flux / variance)[good]) / information, information**-0.5


def _reach(band: ComparedBand) -> int:
    """Input pixels within which the wings of a source are seen."""
    fwhm = 1.4 if band.psf is None else band.psf[0]
    return int(np.ceil(_REACH * fwhm / band.pixel_scale))


def _peak(residual: FloatArray, noise: FloatArray, model: FloatArray, reach: int) -> float:
    """Largest smoothed residual, in units of its noise; beside bright sources, of their flux."""
    good = np.isfinite(residual)
    light = np.maximum(model, 0)
    near = ndimage.maximum_filter(light, 2 * reach + 1)
    rim = np.where(ndimage.binary_erosion(np.ones(light.shape), iterations=reach // 2), 0, light)
    near = np.maximum(near, ndimage.maximum_filter(rim, 2 * _CUT * reach + 1))
    allowed = np.sqrt(noise**2 + (_PSF_ERROR * model) ** 2 + (_NEAR * near) ** 2)
    pull = np.where(good, residual / allowed, 0)
    smooth = ndimage.gaussian_filter(pull, _SMOOTHING)
    smooth /= smoothed_noise(_SMOOTHING)
    return smooth.flat[np.argmax(np.abs(np.where(good, smooth, 0)))]


def checks_consistency(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the consistency with the data.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `data_consistency`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: mean square (over ``chi2_least`` where it is below that, 1 between
        that and 1), the same in bright sources (the worst field if that is beyond the limit for
        sure, else the mean of all), mean, trend with flux (fields weighted by their errors), and
        the largest residual of all.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = [row for row in rows_of(rows) if row["band"] == band]
        measured = [row for row in mine if np.isfinite(row["chi2"])]
        count = sum(row["n"] for row in mine)
        weights = [row["n"] for row in measured]
        chi2 = np.average([_relative(s) for s in measured], weights=weights) if measured else np.nan
        error = area_noise(_BLOCK**2) / _BLOCK * np.sqrt(2 / count) if count else np.nan
        options = {"count": count, "note": "" if measured else "no pixel to compare"}
        checks.append(limits["chi2"].judge(band, chi2, error=error, **options))
        limit = limits["bright chi2"]
        bright, errors = (
            [row[n] for row in measured] for n in ("chi2_bright", "chi2_bright_error")
        )
        found = pooled(bright, errors, present(limit.range))
        found["note"] = found["note"] if found["count"] else "nothing bright"
        checks.append(limit.judge(band, known=True, **found))
        for name, column in (("mean residual", "mean"), ("trend", "slope")):
            value, error = _weighted(measured, column)
            checks.append(limits[name].judge(band, value, error=error, **options))
        peak = max((row["peak"] for row in measured), key=abs, default=np.nan)
        checks.append(limits["peak residual"].check(band, peak, **options))
    return checks


def _relative(summary: Any) -> float:
    """Mean square over that of a right output: from the least, of a right PSF, up to 1."""
    chi2, least = summary["chi2"], summary["chi2_least"]
    return chi2 / least if chi2 < least else max(chi2, 1.0)


def _weighted(summaries: Sequence[Any], name: str) -> tuple[float, float]:
    """Mean of many fields, weighted by their errors, and its error."""
    values = np.array([s[name] for s in summaries], float)
    errors = np.array([s[f"{name}_error"] for s in summaries], float)
    good = np.isfinite(values) & (errors > 0)
    if not good.any():
        return np.nan, np.nan
    weight = errors[good] ** -2
    return np.sum(weight * values[good]) / weight.sum(), weight.sum() ** -0.5
