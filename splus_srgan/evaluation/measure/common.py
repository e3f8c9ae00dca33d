# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What all outputs have in common: a mean in which nothing of any single field survives."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.nddata import block_reduce
from astropy.table import QTable

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts import line_check
from splus_srgan.evaluation.measure.artefacts_sky import (
    low_frequency_residual,
    mean_output,
    sky_pixels,
)
from splus_srgan.evaluation.measure.patterns import pattern_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["Sky", "checks_mean", "sky_of"]

_FEWEST = 4  # fields


class Sky(NamedTuple):
    """
    The sky of a band of an output.

    Attributes
    ----------
    image : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Output in sky units (`~splus_srgan.evaluation.compared.ComparedBand.sky_units`), less the
        truth where there is one without noise.
    free : `~numpy.ndarray` of bool, shape (2 ny, 2 nx)
        Where it is sky: whole pixels of the input.
    observed : `~numpy.ndarray`, shape (ny, nx), or `None`
        What the input shows of faint light, in sky units, where the truth is not known.
    """

    image: FloatArray
    free: BoolArray
    observed: FloatArray | None = None


def sky_of(band: ComparedBand) -> Sky:
    """
    Find the sky of a band.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band of a compared field.

    Returns
    -------
    sky : `Sky`
        For `checks_mean`.  Faint light around galaxies, which stand in the middle of many fields,
        is nothing that outputs have in common.
    """
    image, observed = band.sky_units, None
    free = sky_pixels(image)
    if band.target is not None and band.noise_free:
        free = free & ~band.hidden
        image = image - 4 * band.target / band.sigma
    elif band.input is not None:
        observed = band.shown_light
        free = free & np.isfinite(observed).repeat(2, 0).repeat(2, 1)
    whole = block_reduce(free, 2, np.all)
    return Sky(image, whole.repeat(2, 0).repeat(2, 1), observed)


def checks_mean(
    skies: Sequence[Mapping[str, Sky]],
    *,
    bands: Sequence[str] | None = None,
    periods: Sequence[float] = (2, 4),
    limits: Mapping[str, Limit] = LIMITS,
) -> list[Check]:
    """
    Judge the mean of many outputs, in which what all have in common shows.

    Parameters
    ----------
    skies : sequence of mapping of str to `Sky`
        Band to the sky of an output, of different fields.  Those of the most frequent shape are
        averaged.
    bands : sequence of str, optional
        Bands to judge; those of the outputs.
    periods : sequence of float, optional
        Periods of patterns to look for, in output pixels.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: patterns, and large-scale structure.  The count is that of the outputs;
        with fewer than 4 nothing is measured.
    """
    checks = []
    for band in dict.fromkeys(b for one in skies for b in one) if bands is None else bands:
        mine = [one[band] for one in skies if band in one]
        shape = Counter(sky.image.shape for sky in mine).most_common(1)[0][0]
        mine = [sky for sky in mine if sky.image.shape == shape]
        if len(mine) < _FEWEST:
            note = f"needs at least {_FEWEST} fields of one shape; got {len(mine)}"
            checks += [
                limits[name].check(band, math.nan, note=note)
                for name in ("mean line", "mean low frequency")
            ]
        else:
            checks += _mean_checks(band, mine, periods, limits)
    return checks


def _mean_checks(
    band: str, skies: Sequence[Sky], periods: Sequence[float], limits: Mapping[str, Limit]
) -> list[Check]:
    mean, count = mean_output([sky.image for sky in skies], free=[sky.free for sky in skies])
    # Where a single galaxy left sky in few images, the mean is not one of many.
    free = count >= max(2, len(skies) // 4)
    lines = pattern_lines(mean, free=free, periods=periods)
    found = np.where(lines["found"], lines["amplitude"], 0.0)
    rows = QTable({"line": [found.max()], "faintest": [np.max(lines["faintest"])]})
    rms, error = low_frequency_residual(*_levelled(mean, skies), free=free, n_images=len(skies))
    options: dict[str, Any] = {"error": error, "count": len(skies), "known": True}
    return [
        line_check(limits["mean line"], band, rows, "line"),
        limits["mean low frequency"].judge(band, rms, **options),
    ]


def _levelled(mean: FloatArray, skies: Sequence[Sky]) -> tuple[FloatArray, FloatArray | None]:
    """The mean, and that of what the inputs show, where all have one, less a common level."""
    observed = [sky.observed for sky in skies if sky.observed is not None]
    if len(observed) < len(skies):
        return mean - np.nanmedian(mean), None
    free = [sky.free[::2, ::2] for sky in skies]
    shown, _ = mean_output(observed, free=free)
    level = np.nanmedian(block_reduce(mean, 2, np.mean) - shown)
    return mean - level, shown
