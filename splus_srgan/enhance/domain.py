# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whether an input lies within the training range of the weights."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.exceptions import DomainWarning
from splus_srgan.images.grid import pixel_sides

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splus_srgan.enhance.psf import InputPSF
    from splus_srgan.images.unpack import BandStack
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import BoolArray

__all__ = ["check_domain", "outside_domain"]

_SCALE_TOLERANCE = 0.03  # pixel scales this close to the model card's are inside its domain


def outside_domain(
    stack: BandStack, cards: Sequence[WeightsCard], psfs: Sequence[InputPSF], *, stacklevel: int
) -> BoolArray:
    """
    Tell which bands lie outside the domain of their weights, with a warning that says why.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    cards : list of `~splus_srgan.models.weights.WeightsCard`
        Weights of each band.
    psfs : list of `~splus_srgan.enhance.psf.InputPSF`
        PSF of each band.
    stacklevel : int
        Stack level of the warning, as `warnings.warn` takes it, for the caller of this function.

    Returns
    -------
    outside : `~numpy.ndarray` of bool, shape (n_band,)
        `True` is outside.
    """
    outside = check_domain(stack, cards, psfs)
    reasons = sorted({reason for band in outside for reason in band})
    if reasons:
        names = dict.fromkeys(
            repr(card.name) for card, band in zip(cards, outside, strict=True) if band
        )
        warnings.warn(
            f"input outside the domain of weights {', '.join(names)}: {'; '.join(reasons)}. The "
            "result is flagged EXTRAPOLATED and may be wrong",
            DomainWarning,
            stacklevel=stacklevel + 1,
        )
    return np.array([bool(band) for band in outside])


def check_domain(
    stack: BandStack, cards: Sequence[WeightsCard], psfs: Sequence[InputPSF]
) -> list[list[str]]:
    """
    Compare each band of the input with the training range of its weights.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    cards : list of `~splus_srgan.models.weights.WeightsCard`
        Weights of each band.
    psfs : list of `~splus_srgan.enhance.psf.InputPSF`
        PSF of each band.

    Returns
    -------
    reasons : list of list of str
        For each band, the reasons why it lies outside.
    """
    scales = []
    if stack.wcs is not None and stack.wcs.has_celestial:
        scales = pixel_sides(stack.wcs).tolist()
    result = []
    for band, card, own in zip(stack.bands, cards, psfs, strict=True):
        reasons, psf = [], own.stated
        if any(abs(s / card.pixel_scale - 1) > _SCALE_TOLERANCE for s in scales):
            reasons.append(
                f"pixel scale {scales[0]:.3f} x {scales[1]:.3f} arcsec, trained for "
                f"{card.pixel_scale} arcsec"
            )
        low, high = card.domain.get("fwhm", (0, np.inf))
        if psf is not None and not low <= psf[0] <= high:
            reasons.append(f"seeing {psf[0]:.2f} arcsec in {band}, trained for {low} to {high}")
        result.append(reasons)
    return result
