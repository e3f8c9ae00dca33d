# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""An output that is not finite is an error, which names the band and the cause."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.exceptions import WeightsError
from splus_srgan.pixels.lazy import row_strips

if TYPE_CHECKING:
    from typing import Literal, NoReturn

    from splus_srgan.enhance.field import Enhancement
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["check_finite_output"]


def check_finite_output(
    work: Enhancement, planes: FloatArray, missing: BoolArray, step: Literal["generator", "anchor"]
) -> None:
    """
    Refuse pixels that are neither missing nor finite.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options.
    planes : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Pixels to check.
    missing : `~numpy.ndarray` of bool, same shape
        Missing pixels, which may have any value.
    step : {"generator", "anchor"}
        Step that made them from finite numbers.

    Raises
    ------
    WeightsError
        If the generator did.
    ValueError
        If the flux anchor did, or the pixels are too large for float32.
    """
    if np.isfinite(planes.sum(dtype=np.float64)):
        return  # a single one that is not finite would show
    for k, band in enumerate(work.stack.bands):
        bad = ~np.isfinite(planes[k]) & ~missing[k]
        if bad.any():
            _fail(work, k, band, int(np.count_nonzero(bad)), step)


def _fail(work: Enhancement, k: int, band: str, number: int, step: str) -> NoReturn:
    found = f"{number} pixels of band {band!r} came out as NaN or infinite"
    if step == "anchor":
        fwhm, beta = (work.psfs[k] or (np.nan, np.nan))[:2]
        raise ValueError(
            f"{found} from the flux anchor, with the PSF of the header (FWHM {fwhm:g} arcsec, beta "
            f"{beta:g}): correct FWHMMEAN and FWHMBETA there, or use flux_anchor=0"
        )
    data, mask = work.stack.data[k], work.stack.mask[k]
    strips = row_strips(len(data))
    brightest = max(np.max(np.abs(np.where(mask[rows], 0, data[rows]))) for rows in strips)
    signal = float(brightest / np.median(work.sigma[k]))
    if signal > 1e12:
        raise ValueError(
            f"{found}: its pixels reach {brightest:g}, {signal:.0e} times its noise, which no "
            "image of the sky has; check the data, sky= and sigma="
        )
    name = work.restorer_of(k).card.name
    raise WeightsError(
        f"{found} from the generator, of finite pixels: weights {name!r} are damaged or "
        "were not trained to the end; use others"
    )
