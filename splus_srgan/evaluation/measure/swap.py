# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whether detail is the object's or the noise's: one object with the noise of two fields."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_swaps", "swap_test"]

_OBJECT = 2.5  # sigma per pixel, above which there is an object
_SOURCE = 10.0  # sigma per pixel, above which a residual is no pure noise


def swap_test(enhancer: Callable[..., Any], pair: EvaluationPair, other: EvaluationPair) -> Table:
    r"""
    Give an object the noise of another field: structure that follows the noise is invented.

    The object is a field without its noise (the truth at the PSF and on the pixels of
    the input; without a truth, the enhanced image there).  It is enhanced with its own
    noise and with that of the other field.  The detail of both outputs, what blurring
    to the PSF of the input takes away, is compared where there is an object.

    Parameters
    ----------
    enhancer : callable
        Called with a dict of band to `~astropy.nddata.CCDData`.
    pair, other : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Object and donor of the noise, of the same shape and bands.  Noise is taken
        from where the donor has no bright source; best is blank sky.

    Returns
    -------
    rows : `~astropy.table.Table`
        For each band: ``field, band, n`` (fine pixels), ``detail`` (rms of the mean detail, in
        units of the input's noise), ``follows_noise`` (rms of what differs, per
        output) and ``correlation`` of both details: 1 where the structure is the
        object's, 0 where it is the noise's.  NaN where there is no object, or the PSF is
        not known.

    Raises
    ------
    ValueError
        If both fields differ in shape or bands.
    """
    if pair.shape != other.shape or set(pair.bands) != set(other.bands):
        raise ValueError(
            f"other must have the shape and bands of the pair, {pair.shape} {list(pair.bands)}; "
            f"got {other.shape} {list(other.bands)}"
        )
    own, donor = (compare_field(p, enhancer(p.input)).bands for p in (pair, other))
    inputs: tuple[dict[str, Any], ...] = ({}, {})
    for name, band in own.items():
        for images, giver in zip(inputs, (band, donor[name]), strict=True):
            images[name] = pair.input[name].copy()
            # The sky comes back, so that it is measured as ever.
            observed = present(band.input)[~band.bad]
            sky = np.median(np.asarray(pair.input[name].data)[~band.bad] - observed)
            noise = _noise_of(giver) * (band.sigma / giver.sigma)
            images[name].data = (_model(band) + noise + sky).astype(np.float32)
    made = [compare_field(pair, enhancer(images)).bands for images in inputs]
    rows = [_swapped(own[name], *(bands[name] for bands in made)) for name in own]
    table = Table(rows=rows)
    table["field"] = np.full(len(rows), pair.name, "U64")
    return table


def _model(band: ComparedBand) -> FloatArray:
    """The input without noise."""
    use_truth = band.target is not None and band.noise_free
    return present(band.seen_target) if use_truth else band.seen_output


def _noise_of(band: ComparedBand) -> FloatArray:
    """The input's noise; nothing where there are bright sources or holes."""
    model = _model(band)
    return np.where(band.bad | (model > _SOURCE * band.sigma), 0, present(band.input) - model)


def _swapped(band: ComparedBand, one: Any, other: Any) -> dict[str, Any]:
    """Compare the details of two outputs of one object."""
    result = {"band": band.name, "n": 0}
    result |= dict.fromkeys(("detail", "follows_noise", "correlation"), math.nan)
    if band.psf is None or band.output_psf is None:
        return result
    chosen = (_model(band) > _OBJECT * band.sigma) & ~band.spoiled
    chosen = chosen.repeat(2, 0).repeat(2, 1)
    if chosen.sum() < 50:
        return result
    first, second = ((4 / band.sigma * (b.output - b.blurred_output))[chosen] for b in (one, other))
    spread = np.std(first) * np.std(second)
    if not spread > 0:
        return result
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    return result | {
        "n": int(chosen.sum()),
        "detail": float(np.sqrt(np.mean(((first + second) / 2) ** 2))),
        "follows_noise": float(np.sqrt(np.mean((first - second) ** 2) / 2)),
        "correlation": float(covariance / spread),
    }


def checks_swaps(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge how much of the detail stays with the object.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `swap_test`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Median correlation of details, for each band.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        values = np.asarray(rows["correlation"][rows["band"] == band], float)
        values = values[np.isfinite(values)]
        note = "" if values.size else "no object to give another noise"
        value = np.median(values) if values.size else math.nan
        checks.append(limits["swap"].check(band, value, count=values.size, note=note))
    return checks
