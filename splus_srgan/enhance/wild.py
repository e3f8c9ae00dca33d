# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pixels far beyond the range of the training: treated as missing, and reported."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.exceptions import DomainWarning
from splus_srgan.pixels.lazy import BitPlane, Missing, PlaneStack
from splus_srgan.pixels.wild import wild_pixels

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import FloatArray

__all__ = ["BRIGHTEST", "without_wild_pixels"]

BRIGHTEST = 1e6
"""Signal, in sigma of the sky, above which a pixel cannot be a source."""


def without_wild_pixels(
    stack: BandStack, sky: FloatArray, sigma: FloatArray, *, stacklevel: int
) -> BandStack:
    """
    Mask pixels that can be neither sky nor source, with a warning that says how many.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    sky, sigma : `~numpy.ndarray`, shape (n_band, 1, 1) or (n_band, ny, nx)
        As `~splus_srgan.enhance.sky.sky_and_sigma` gives them.
    stacklevel : int
        Stack level of the warning, as `warnings.warn` takes it, for the caller of this function.

    Returns
    -------
    stack : `~splus_srgan.images.unpack.BandStack`
        The input itself if there are none.
    """
    found = {}
    for k, band in enumerate(stack.bands):
        # A number is kept as one: a map would take memory.
        level, noise = (part[k].item() if part[k].size == 1 else part[k] for part in (sky, sigma))
        options = {"sky": level, "sigma": noise, "brightest": BRIGHTEST}
        wild = wild_pixels(stack.data[k], stack.mask[k], **options)
        if wild.any():
            found[band] = k, BitPlane.of(wild)
    if not found:
        return stack
    mask = list(stack.mask)
    for k, wild in found.values():
        mask[k] = Missing(stack.data[k], (mask[k], wild))
    lazy = isinstance(stack.mask, PlaneStack)
    mask = PlaneStack(mask) if lazy else np.stack([np.asarray(plane) for plane in mask])
    listed = ", ".join(f"{wild.count()} in {band}" for band, (_, wild) in found.items())
    warnings.warn(
        f"pixels that neither sky nor source can have are treated as missing: {listed} (more than "
        f"{BRIGHTEST:g} sigma above the sky, or far below it)",
        DomainWarning,
        stacklevel=stacklevel + 1,
    )
    whole: Any = mask
    return replace(stack, mask=whole)
