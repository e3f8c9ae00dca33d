# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What all outputs have in common: a mean in which nothing of any single field survives."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts import line_check
from splus_srgan.evaluation.measure.artefacts_sky import low_frequency_residual, mean_output
from splus_srgan.evaluation.measure.patterns import pattern_lines

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_mean"]

_FEWEST = 4  # fields


def checks_mean(
    images: Sequence[Mapping[str, FloatArray]],
    *,
    bands: Sequence[str] | None = None,
    periods: Sequence[float] = (2, 4),
    limits: Mapping[str, Limit] = LIMITS,
) -> list[Check]:
    """
    Judge the mean of many outputs, in which what all have in common shows.

    Parameters
    ----------
    images : sequence of mapping of str to `~numpy.ndarray`, shape (2 ny, 2 nx)
        Band to output in sky units
        (`~splus_srgan.evaluation.compared.ComparedBand.sky_units`), of different fields.
        Those of the most frequent shape are averaged.
    bands : sequence of str, optional
        Bands to judge; those of the images.
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
    for band in dict.fromkeys(b for one in images for b in one) if bands is None else bands:
        mine = [one[band] for one in images if band in one]
        shape = Counter(image.shape for image in mine).most_common(1)[0][0]
        mine = [image for image in mine if image.shape == shape]
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
    band: str, images: Sequence[FloatArray], periods: Sequence[float], limits: Mapping[str, Limit]
) -> list[Check]:
    mean, count = mean_output(images)
    # Where a single galaxy left sky in few images, the mean is not one of many.
    free = count >= max(2, len(images) // 4)
    lines = pattern_lines(mean, free=free, periods=periods)
    found = np.where(lines["found"], lines["amplitude"], 0.0)
    rows = QTable({"line": [found.max()], "faintest": [np.max(lines["faintest"])]})
    rms, error = low_frequency_residual(mean - np.nanmedian(mean), free=free)
    options: dict[str, Any] = {"error": error, "count": len(images), "known": True}
    return [
        line_check(limits["mean line"], band, rows, "line"),
        limits["mean low frequency"].judge(band, rms, **options),
    ]
