# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Whether everything is in its place, over the whole frame.

The output is cut into tiles, and the shift of each is measured on its pixels
(`~splus_srgan.evaluation.measure.displacement.measure_displacement`).  A plane through the shifts
tells rotation and scale, and what is left over tells places that were moved on their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import numpy as np
from astropy.table import Table
from scipy import ndimage

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts_sky import smoothed
from splus_srgan.evaluation.measure.displacement import Displacement, measure_displacement
from splus_srgan.evaluation.measure.psf_errors import FWHM_OF_SIGMA, psf_errors
from splus_srgan.evaluation.statistics import pooled
from splus_srgan.pixels.coadd_noise import weighted_noise
from splus_srgan.pixels.psf import TARGET_PSF, WINGS
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["checks_frame", "shift_map"]

_TILE = 48  # output pixels, the least side
_MOST = 8  # tiles along an axis
_SMOOTHING = {1: 0.75, 2: 1.25}  # pixels, on the grid of the input and of the output
_REACH = 4  # of that smoothing, to what is missing and to the border
_USABLE = 0.1  # output pixels: a tile with a larger error tells nothing
_TELLING = 0.05  # output pixels: the largest error of a tile that can speak for an output
_FLANK = 1.5  # input pixels, half a PSF: nearer to a border, it is the flank of a star beyond
_CLEAR = 5.0  # errors of a tile, beyond which it was moved
_SYSTEMATIC = 0.02  # output pixels: what one PSF for the frame is wrong by
# What is not known of the PSF: ellipticity, coma (as `splus_srgan.pixels.psf.coma_transfer`), share
# of the light in wings.  The header has a round one; an output has about that of the target.
_PSF_ERRORS = {"input": (0.05, 0.02, 0.05), "target": (0.02, 0.01, 0.0)}
_FEWEST_STRENGTHS = 4  # of tiles, whose median tells how much noise there is in an output
_MEDIAN = 0.6745  # of the absolute value of a normal deviate
_NAMES = ("band", "x", "y", "shift_x", "shift_y", "error")


def shift_map(field: ComparedField) -> Table:
    """
    Measure the shift of each tile of an output against the target, or else the input.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.  Output and target are compared at one PSF; without a target, the output as
        the input's telescope would see it is compared with the input.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per tile that shows enough to tell: ``field, band``; ``x, y``, the place of what it
        shows less the centre of the frame, in units of half the diagonal; ``shift_x, shift_y``
        and their ``error`` (output pixels).

    Notes
    -----
    The error has what the noise does, and what the PSF does to this tile beside the others: of a
    whole star only its centre counts, which a wrong ellipticity leaves where it is, but it moves
    the flank of one that the tile cuts; a lopsided PSF moves stars and galaxies differently.

    An enhancer smooths the noise of the sky away, and not what the noise did to sources: beside a
    target the error also has the least that the noise of the input does to a place (Cramer-Rao), as
    far as the brightness of the tiles shows that it did.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.frame import shift_map
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> simulated = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(simulated, name="stars")
    >>> rows = shift_map(compare_field(pair, pair.target, output_psf=(1.0, 3.0)))
    >>> len(rows) > 4, bool(abs(rows["shift_x"]).max() < 1e-6)
    (True, True)
    """
    return field.each(_map_of_band)


def _map_of_band(band: ComparedBand) -> Table:
    """Rows of one band."""
    if band.target is None:
        reference, image, factor, hidden = band.seen_output, band.input, 1, band.spoiled
        sign = -2.0  # output pixels, of the output against the input
    else:
        image, reference = band.matched
        factor, hidden, sign = 2, band.hidden, 1.0
    reference, image, good = _smooth(present(reference), present(image), hidden, _SMOOTHING[factor])
    wrong = _psf_errors(reference, band, factor)
    depth = ndimage.distance_transform_edt(np.pad(good, 1))[1:-1, 1:-1]
    found = []
    for cut in _tiles(reference.shape, _TILE * factor // 2):
        if good[cut].mean() < 0.5:
            continue
        one = measure_displacement(reference, image, cut, good=good, wrong=wrong)
        if np.isfinite(one.dx + one.dy) and _inside(one, cut, depth, _FLANK * factor):
            found.append((cut, one))
    rows = []
    centre = (np.array(reference.shape) - 1) / 2
    errors = np.hypot(_with_psf([one for _, one in found]), _with_noise(band, found))
    for (_, one), error in zip(found, abs(sign) * errors, strict=True):
        if error < _USABLE:
            y, x = (np.array([one.y, one.x]) - centre) / np.hypot(*centre)
            rows.append((band.name, x, y, sign * one.dx, sign * one.dy, error))
    types = ("U16", *(5 * [float]))
    return Table(rows=rows or None, names=_NAMES, dtype=types)


def _inside(found: Displacement, cut: tuple[slice, slice], depth: FloatArray, flank: float) -> bool:
    """Whether what tells lies within its tile, and not on the rim of what is missing."""
    place = (found.y, found.x)
    near = any(not p.start + flank <= at < p.stop - flank for at, p in zip(place, cut, strict=True))
    return not near and depth[tuple(round(at) for at in place)] > flank


def _psf_errors(reference: FloatArray, band: ComparedBand, factor: int) -> Any:
    """Images of what the reference is wrong by where its PSF is."""
    known = "input" if band.target is None else "target"
    ellipticity, coma, wings = _PSF_ERRORS[known]
    psf = (band.psf if band.target is None else band.target_psf) or TARGET_PSF
    width = factor * psf[0] / band.pixel_scale / FWHM_OF_SIGMA
    errors = psf_errors(reference, width, ellipticity=ellipticity, coma=coma)
    if wings:
        wide = ndimage.gaussian_filter(reference, factor * WINGS[0] / band.pixel_scale)
        errors.append(wings * (wide - reference))
    return errors


def _with_psf(found: Sequence[Displacement]) -> FloatArray:
    """Errors of tiles, with what the PSF would move each of them by beside the others."""
    if not found:
        return np.zeros(0)
    response = np.array([one.response for one in found])
    apart = response - np.median(response, axis=0)
    moved = np.sqrt(np.sum(apart**2, axis=1)).max(axis=1)
    return np.hypot(moved, [one.error for one in found])


def _with_noise(
    band: ComparedBand, found: Sequence[tuple[tuple[slice, slice], Displacement]]
) -> FloatArray:
    """
    Errors of tiles that the noise of the input gives an output, which hides it from the sky.

    As large as they are at least (Cramer-Rao), times what the strengths of the tiles are off by in
    units of the same: nothing in an output that the noise of the input did not touch.
    """
    if band.target is None or len(found) < _FEWEST_STRENGTHS:
        return np.zeros(len(found))
    seen = present(band.seen_target)
    slopes, limits, pulls = cast("list[FloatArray]", np.gradient(seen)), [], []
    for cut, one in found:
        part = tuple(slice(edge.start // 2, edge.stop // 2) for edge in cut)
        limits.append(2 * max(_least_error(slope[part]) for slope in slopes))
        light = _least_error(seen[part] - seen[part].min())
        pulls.append(abs(one.strength - 1) / (band.sigma * light))
    return np.median(pulls) / _MEDIAN * band.sigma * np.array(limits)


def _least_error(slope: FloatArray) -> float:
    """Error of a parameter by which the image changes so, for noise of 1 in a pixel."""
    return weighted_noise(slope) / max(float(np.sum(slope**2)), 1e-30)


def _smooth(
    reference: FloatArray, image: FloatArray, hidden: BoolArray, size: float
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Both without what differs from pixel to pixel, and where they are not spoiled by it."""
    frame = np.pad(~hidden, 1)
    good = ndimage.binary_erosion(frame, iterations=round(_REACH * size))[1:-1, 1:-1]
    return *(smoothed(one, ~hidden, size) for one in (reference, image)), good


def _tiles(shape: tuple[int, ...], side: int) -> Iterator[tuple[slice, slice]]:
    """Slices of equal tiles."""
    edges = []
    for size in shape:
        number = int(np.clip(size // side, 1, _MOST))
        edges.append(np.linspace(0, size, number + 1).astype(int))
    for top, bottom in zip(edges[0][:-1], edges[0][1:], strict=True):
        for left, right in zip(edges[1][:-1], edges[1][1:], strict=True):
            if min(bottom - top, right - left) >= 8:
                yield np.s_[top:bottom, left:right]


def checks_frame(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the places over the frame.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `shift_map`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band: rotation and scale, as the shift that they make at the corners, and the
        largest local shift of a tile beside what all tiles share, if it is clear of its error.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        fields = [mine[mine["field"] == name] for name in dict.fromkeys(mine["field"])]
        fits = [_fit(one) for one in fields if len(one) >= limits["local shift"].least]
        for name, k in (("rotation", 0), ("scale", 1)):
            found = pooled([f[k] for f in fits], [f[2] for f in fits], present(limits[name].range))
            found["count"] = sum(f[4] for f in fits)
            checks.append(limits[name].judge(band, known=True, **found))
        worst = max((f[3] for f in fits), default=np.nan)
        count = sum(f[4] for f in fits)
        enough = any(f[5] >= limits["local shift"].least for f in fits)
        if not (enough or worst > present(limits["local shift"].high)):
            worst = np.nan
        note = "" if np.isfinite(worst) else "too few tiles that show enough to tell"
        checks.append(limits["local shift"].check(band, worst, count=count, note=note))
    return checks


def _fit(rows: Table) -> Any:
    """Rotation, scale, their error, the largest local shift, all tiles and the telling ones."""
    telling = int(np.count_nonzero(np.asarray(rows["error"], float) < _TELLING))
    x, y, dx, dy = (np.asarray(rows[name], float) for name in ("x", "y", "shift_x", "shift_y"))
    error = np.hypot(np.asarray(rows["error"], float), _SYSTEMATIC)
    # Shift, scale and rotation: dx = a + s x - r y, dy = b + s y + r x.
    one, zero = np.ones_like(x), np.zeros_like(x)
    design = np.vstack([np.stack([one, zero, x, -y], 1), np.stack([zero, one, y, x], 1)])
    values, weight = np.concatenate([dx, dy]), np.concatenate([error, error]) ** -1.0
    # Robust, so that a part that was moved does not turn the rest.
    trust = np.ones_like(weight)
    for _ in range(10):
        scaled = weight * np.sqrt(trust)
        solution = np.linalg.lstsq(design * scaled[:, None], values * scaled, rcond=None)[0]
        left = (values - design @ solution) * weight
        trust = 1 / np.maximum(1, np.abs(left) / 2)
    covariance = np.linalg.pinv((design * weight[:, None]).T @ (design * weight[:, None]))
    # The place of single tiles is judged beside their median: a plane would follow a corner.
    apart = np.hypot(dx - np.median(dx), dy - np.median(dy))
    apart = np.minimum(apart, np.hypot(*(left / weight).reshape(2, -1)))
    local = np.max(np.where(apart > _CLEAR * error, apart, 0.0))
    spread = float(np.sqrt(covariance[3, 3]))
    return float(solution[3]), float(solution[2]), spread, float(local), len(x), telling
