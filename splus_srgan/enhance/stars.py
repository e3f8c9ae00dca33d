# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Lone stars of a field: taken off before the generator, and put back at the PSF of the output.

No generator finds the light of each pixel of a star as well as a fit finds its flux and place.
What the fit leaves of a star stays in the image, and is the generator's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.enhance.planes import FACTOR, fine_place
from splus_srgan.images.header import saturation_level
from splus_srgan.images.stars import star_model
from splus_srgan.pixels.lone_stars import LoneStars, find_lone_stars

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import FloatArray

__all__ = ["FieldStars", "field_stars"]

_RELATIVE_ERROR = 0.012  # of the PSF's peak, for 68 % of the pixels of simulated stars


@dataclass(frozen=True)
class FieldStars:
    """
    Lone stars of each band of a field.

    Attributes
    ----------
    stars : list of `~splus_srgan.pixels.lone_stars.LoneStars`
        Fluxes and places in the input.
    models : list of `~splus_srgan.pixels.star_model.StarModel`
        PSF of each band of the input, in its pixels.
    targets : list of `~splus_srgan.pixels.star_model.StarModel`
        PSF of each band of the output, in its pixels: with the wings of that of the input, so that
        light far from a star stays what it is, whatever the fit makes of it.
    origin : tuple of int
        Row and column of the input from which places are counted.
    """

    stars: list[LoneStars]
    models: list[Any]
    targets: list[Any]
    origin: tuple[int, int] = (0, 0)

    def seen(self, k: int, place: tuple[slice, ...]) -> FloatArray:
        """Light of the stars of a band in a part of the input."""
        return self.stars[k].draw(self.models[k], self._from_origin(place)).astype(np.float32)

    def shown(self, k: int, place: tuple[slice, ...]) -> FloatArray:
        """Their light at the PSF of the output in that part, in flux per input pixel."""
        return (FACTOR**2 * self._fine(k, place)).astype(np.float32)

    def std(self, k: int, place: tuple[slice, ...]) -> FloatArray:
        """Standard deviation of that light."""
        variance = self._fine(k, place, relative_error=_RELATIVE_ERROR)
        return (FACTOR**2 * np.sqrt(variance)).astype(np.float32)

    def _fine(self, k: int, place: tuple[slice, ...], **options: float) -> FloatArray:
        place = fine_place(self._from_origin(place))
        return self.stars[k].draw(self.targets[k], place, factor=FACTOR, **options)

    def _from_origin(self, place: tuple[slice, ...]) -> tuple[slice, ...]:
        return tuple(
            slice(part.start + first, part.stop + first)
            for part, first in zip(place, self.origin, strict=True)
        )


def field_stars(
    stack: BandStack,
    sky: FloatArray,
    sigma: FloatArray,
    *,
    psfs: Sequence[Any],
    target_psfs: Sequence[Any],
    pixel_scale: float,
) -> FieldStars:
    """
    Find the lone stars of a field.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    sky, sigma : `~numpy.ndarray`, shape (n_band, 1, 1) or (n_band, ny, nx)
        Sky and noise of each band.
    psfs : sequence of tuple of float or None
        Core and wings of the PSF of each band, for bands that have too few stars to tell.
    target_psfs : sequence of tuple of float
        The same of the output.
    pixel_scale : float
        Arcsec per input pixel.

    Returns
    -------
    stars : `FieldStars`
        None of them where the PSF of a band is not known.
    """
    levels = [saturation_level(meta, stack.unit) for meta in stack.metas]
    if any(psf is None for psf in psfs):
        nothing = [LoneStars.of_rows([])] * len(psfs)
        return FieldStars(nothing, [None] * len(psfs), [None] * len(psfs))
    models = [
        star_model(
            stack.data[k],
            stack.mask[k],
            float(np.median(sky[k])),
            float(np.median(sigma[k])),
            psf,
            pixel_scale=pixel_scale,
            saturation=levels[k],
        )
        for k, psf in enumerate(psfs)
    ]
    targets = [
        model.with_core(FACTOR * psf[0] / pixel_scale, psf[1], factor=FACTOR)
        for psf, model in zip(target_psfs, models, strict=True)
    ]
    stars = find_lone_stars(stack.data, sky, sigma, models, mask=stack.mask, saturation=levels)
    return FieldStars(stars, models, targets)
