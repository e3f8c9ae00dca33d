# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pixels of an output against its target: scores, strength, position, and noise of the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable, Table
from scipy import ndimage

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.metrics import MS_SSIM_WEIGHTS, ms_ssim, nrmse, psnr, ssim
from splus_srgan.evaluation.measure.similarity import MS_REACH, WINDOW
from splus_srgan.evaluation.measure.spaces import SPACES, to_space
from splus_srgan.evaluation.measure.spectra import Shift, measure_amplitude, measure_shift
from splus_srgan.evaluation.statistics import pooled
from splus_srgan.pixels.robust import robust_std
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, TypeAlias

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

    Space: TypeAlias = Literal["seed", "asinh", "noise"]

__all__ = ["checks_metrics", "pixel_table", "scores"]

# Cycles per output pixel: beyond five PSFs, and from there to what a PSF of four pixels passes.
_LARGE, _SMALL = 0.05, 0.15
_SMOOTH = 2.0  # pixels: what is wider is no noise from pixel to pixel
_BLOCK = 16  # pixels: noise in a small part of the frame shows
_LEAST_SKY = 32  # pixels of a block
_FAINT = 0.5  # sigma of the input: the truth in what counts as sky
_SYSTEMATIC = 0.02  # output pixels: what one PSF for the frame is wrong by
_CLEAR = 3.0  # errors of the shift of the input
_AHEAD = 999.0  # dB: equal to the truth is infinitely far ahead


def scores(field: ComparedField) -> QTable:
    """
    Score an output against the target, in every space, per band and joint.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.  Pixels that are missing or saturated in the input do not count.

    Returns
    -------
    table : `~astropy.table.QTable`
        Columns ``field, space, band, psnr, ssim, ms_ssim, nrmse, data_range``; band
        ``"joint"`` is all of them, where there are several.  The range is the extent of the
        target, 1 in ``"seed"``.  Where zero points are not known, ``"seed"`` and ``"asinh"``
        are NaN.  Without a target the table has no rows.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.baselines.methods import Bicubic
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.agreement import scores
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> pair = EvaluationPair.from_simulation(simulate_field(1, shape=(32, 32)), name="one")
    >>> output = Bicubic()(pair.input, sky=pair.sky, sigma=pair.sigma)
    >>> table = scores(compare_field(pair, output))
    >>> len(table), str(table["space"][-1]), str(table["band"][-1])
    (12, 'noise', 'joint')
    """
    names = ("space", "band", "psnr", "ssim", "ms_ssim", "nrmse", "data_range")
    table = QTable(names=names, dtype=["U8", "U16", *5 * [float]])
    if field.has_target:
        for space in SPACES:
            for row in _space_rows(field.bands, space):
                table.add_row((space, *row))
    table["psnr"].unit = "dB"
    table["field"] = np.full(len(table), field.name, "U64")
    return table


def _space_rows(bands: Mapping[str, ComparedBand], space: Space) -> list[tuple[Any, ...]]:
    """``(band, psnr, ssim, ms_ssim, nrmse, data_range)`` for each band, and joint."""
    zero_point = [band.zero_point for band in bands.values()]
    if space != "noise" and not np.isfinite(zero_point).all():
        return [(name, *5 * [np.nan]) for name in (*bands, *(["joint"] if len(bands) > 1 else []))]
    sigma = [band.sigma / 4 for band in bands.values()]
    mask = np.stack([band.hidden for band in bands.values()])
    target, made = (
        to_space(
            np.stack([getattr(band, what) for band in bands.values()]),
            space,
            zero_point=zero_point,
            sigma=sigma,
            mask=mask,
        )
        for what in ("target", "output")
    )
    rows = [
        (name, *_row(*planes, space))
        for name, planes in zip(bands, zip(target, made, mask, strict=True), strict=True)
    ]
    return [*rows, ("joint", *_row(target, made, mask, space))] if len(bands) > 1 else rows


def _row(target: FloatArray, made: FloatArray, mask: BoolArray, space: Space) -> tuple[Any, ...]:
    valid = target[~mask]
    span = 1.0 if space == "seed" else float(np.ptp(valid)) if valid.size else 0.0
    options: dict[str, Any] = {"data_range": span, "mask": mask}
    side = min(target.shape[-2:])
    n_scale = int(np.clip(np.log2(side / (2 * MS_REACH + 1)) + 1, 0, len(MS_SSIM_WEIGHTS)))
    return (
        psnr(target, made, **options),
        ssim(target, made, **options) if side >= WINDOW else np.nan,
        ms_ssim(target, made, n_scale=n_scale, **options) if n_scale else np.nan,
        nrmse(target, made, **options),
        span,
    )


def pixel_table(field: ComparedField) -> Table:
    """
    Compare the pixels of an output with a truth without noise.

    Strength and position come from spectra (`splus_srgan.evaluation.measure.spectra`), with the
    errors that noise gives them.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per band: ``field, band``; strength on large scales and on that of the PSF,
        ``large, contrast``, and ``shift`` (output pixels, beyond what the input is shifted by),
        each with its ``_error``; ``rough`` (noise from pixel to pixel in the worst block of the
        sky, in sigma of the input, from ``n_sky`` pixels in all);
        ``psnr`` (dB) and ``ssim`` ahead of bicubic interpolation, in the ``space`` "asinh", or
        "noise" where the zero point is not known.  NaN where there is no such truth.
    """
    known = all(np.isfinite(band.zero_point) for band in field.bands.values())
    space: Space = "asinh" if known else "noise"

    def measure(band: ComparedBand) -> Table:
        row = {"band": band.name, "space": space}
        if not (field.noise_free and field.has_input):
            return Table(rows=[row | dict.fromkeys(_COLUMNS, np.nan)])
        bicubic = field.bicubic[band.name]
        return Table(rows=[row | _strength(band) | _sky(band) | _ahead(band, bicubic, space)])

    return field.each(measure)


_COLUMNS = ("large", "large_error", "contrast", "contrast_error", "shift", "shift_error")
_COLUMNS += ("rough", "n_sky", "psnr", "ssim")


def _strength(band: ComparedBand) -> dict[str, float]:
    """Strength on two scales, and position."""
    options: dict[str, Any] = {"mask": band.hidden, "reference": band.target, "image": band.output}
    row: dict[str, float] = {}
    for name, low, high in (("large", 0.0, _LARGE), ("contrast", _LARGE, _SMALL)):
        found = measure_amplitude(low=low, high=high, **options)
        row |= {name: found.value, f"{name}_error": found.error}
    return row | _shift(band, measure_shift(high=_SMALL, **options))


def _shift(band: ComparedBand, made: Shift) -> dict[str, float]:
    """
    How far the output lies from the way between the truth's place and the input's.

    A lopsided PSF moves all that is in the input, and what is made of it: that is not held against
    an output, as far as the input shows it clearly.
    """
    seen = measure_shift(present(band.seen_target), present(band.input), high=2 * _SMALL,
                         mask=band.spoiled)  # fmt: skip
    moved, inherited = np.array([made.y, made.x]), 2 * np.array([seen.y, seen.x])
    share, length = 0.0, float(np.hypot(*inherited))
    if length > _CLEAR * 2 * seen.error:
        share = float(np.clip(moved @ inherited / length**2, 0, 1))
    error = np.hypot(made.error, _SYSTEMATIC)
    if share:
        error = np.hypot(error, 2 * share * seen.error)
        moved = moved - share * inherited
    return {"shift": float(np.hypot(*moved)), "shift_error": float(error)}


def _sky(band: ComparedBand) -> dict[str, float]:
    """Robust scatter of what differs from pixel to pixel, in the worst block of empty sky."""
    sigma = band.sigma / 4
    rough = band.output - ndimage.gaussian_filter(band.output, _SMOOTH, mode="nearest")
    free = (ndimage.maximum_filter(band.target, 9) < _FAINT * sigma) & ~band.hidden
    ny, nx = free.shape
    cuts = [
        np.s_[y : y + _BLOCK, x : x + _BLOCK]
        for y in range(0, ny, _BLOCK)
        for x in range(0, nx, _BLOCK)
    ]
    found = [robust_std(rough[cut][free[cut]]) for cut in cuts if free[cut].sum() >= _LEAST_SKY]
    return {"rough": max(found, default=np.nan) / sigma, "n_sky": float(free.sum())}


def _ahead(band: ComparedBand, bicubic: FloatArray, space: Space) -> dict[str, float]:
    """PSNR and SSIM less those of the interpolation."""
    known: dict[str, Any] = {"zero_point": band.zero_point, "sigma": band.sigma / 4}
    target, *images = (
        to_space(one, space, **known) for one in (present(band.target), band.output, bicubic)
    )
    span = float(np.ptp(target[~band.hidden])) if not band.hidden.all() else 0.0
    options: dict[str, Any] = {"data_range": span, "mask": band.hidden}
    ahead = {}
    for name, score in (("psnr", psnr), ("ssim", ssim)):
        ours, other = (score(target, image, **options) for image in images)
        ahead[name] = _AHEAD if ours == np.inf else float(ours - other)
    return ahead


def checks_metrics(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge an output by its pixels against the truth.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `pixel_table`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: strength and position (the worst field if it is clearly beyond the
        limit, else the mean by their errors), noise of the sky (the worst field), PSNR and SSIM
        ahead of bicubic (medians of the fields).
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        empty = "there is no truth without noise, or it is empty"
        for name, column in (("large scales", "large"), ("shift", "shift"), ("contrast",) * 2):
            found = pooled(mine[column], mine[f"{column}_error"], present(limits[name].range))
            found["note"] = found["note"] or ("" if found["count"] else empty)
            checks.append(limits[name].judge(band, known=True, **found))
        for name, column in (("rough sky", "rough"), ("PSNR", "psnr"), ("SSIM", "ssim")):
            values = np.asarray(mine[column], float)
            values = values[np.isfinite(values)]
            value = np.nan
            if values.size:  # the worst field of what must not be there, else the median
                value = values.max() if column == "rough" else np.median(values)
            note = "" if values.size else empty if column != "rough" else "no sky in the frame"
            if values.size and column in ("psnr", "ssim"):
                note = f"in the space {str(mine['space'][0])!r}"
            checks.append(limits[name].check(band, value, count=values.size, note=note))
    return checks
