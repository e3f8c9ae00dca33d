# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the classical methods share: their call, and noise units."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from splus_srgan._version import __version__
from splus_srgan.enhance.output import band_record, fine_meta
from splus_srgan.enhance.planes import FACTOR, upsample
from splus_srgan.enhance.section import band_saturation
from splus_srgan.enhance.sky import sky_and_sigma
from splus_srgan.images.quality import quality_plane
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.images.unpack import fill_missing, repack, unpack
from splus_srgan.images.wcs import upsample_wcs
from splus_srgan.pixels.fine_grid import to_fine_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.units import UnitBase
    from astropy.wcs import WCS

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import Bands, FloatArray, Level

__all__ = ["FACTOR", "NOISE", "SOFTENING", "_Baseline", "_InNoiseUnits", "interpolate"]

SOFTENING = 3.0
NOISE = 1 / SOFTENING  # standard deviation of the sky in noise units


@dataclass(frozen=True, kw_only=True)
class _Baseline(ABC):
    """
    What all baselines share: the call.  Options are given to the classes derived from it.

    Attributes
    ----------
    name : str
        What tables call the method.
    """

    name: ClassVar[str] = ""
    _reach: ClassVar[int] = 8  # input pixels over which a missing one is felt

    def __call__(
        self,
        data: Any,
        *,
        bands: Bands | None = None,
        mask: Level | None = None,
        unit: UnitBase | str | None = None,
        wcs: WCS | None = None,
        sky: Level | None = None,
        sigma: Level | None = None,
    ) -> Any:
        """
        Bring an image, a stack of bands, or a mapping of bands onto the 2x grid.

        Parameters
        ----------
        data : mapping of str to NDData, or `~astropy.nddata.NDData`
            Band to image ``(ny, nx)``, one image, or a stack ``(n_band, ny, nx)``; not modified.
        bands, mask, unit, wcs : optional
            As for `~splus_srgan.enhance.enhancer.SRGANEnhancer`.
        sky, sigma : float, sequence, array, mapping or Quantity, optional
            Sky and its noise per pixel, in the unit of the data; measured where not given.

        Returns
        -------
        fine : same class and form as ``data``
            Images ``(2 ny, 2 nx)`` with mask, WCS, quality flags and provenance (the cards
            ``SRMODEL``, ``SRSKY``, ``SRSIGMA``); the sky is left in, as by the enhancer.

        Raises
        ------
        ValueError
            If data and keywords do not fit each other, or the noise cannot be measured.
        GridMismatchError
            If the bands are not on one grid.
        """
        stack = unpack(data, bands=bands, mask=mask, unit=unit, wcs=wcs)
        flux_factor = flux_per_pixel_factor(stack.unit, FACTOR)
        sky, sigma, *_ = sky_and_sigma(stack, sky, sigma, stacklevel=2)
        filled = fill_missing(stack.data, stack.mask, default=np.median(sky, axis=(1, 2)))
        saturated = band_saturation(stack, filled)
        fine = self._enhance(filled.astype(float) - sky, sigma, self._psfs(stack))
        fine = (flux_factor * (fine + upsample(sky))).astype(np.float32)
        record = self._record(stack.bands, flux_factor)
        metas = [
            fine_meta(meta, record | band_record(band, k, sky, sigma), flux_factor)
            for k, (band, meta) in enumerate(zip(stack.bands, stack.metas, strict=True))
        ]
        return repack(
            stack,
            fine,
            mask=stack.mask.repeat(FACTOR, 1).repeat(FACTOR, 2),
            quality=quality_plane(stack.mask, saturated, radius=self._reach),
            wcs=None if stack.wcs is None else upsample_wcs(stack.wcs, factor=FACTOR),
            metas=metas,
            psfs=self._output_psfs(stack),
        )

    @abstractmethod
    def _enhance(self, flux: FloatArray, sigma: FloatArray, psfs: Any) -> FloatArray:
        """Sky-free flux per input pixel, on the fine grid."""

    def _psfs(self, stack: BandStack) -> Any:
        """PSFs of the input, for the methods that need them."""
        return None

    def _output_psfs(self, stack: BandStack) -> list[Any]:
        """PSF image of each band of the output, where it is known."""
        return [None] * len(stack.bands)

    def _record(self, bands: Sequence[str], flux_factor: float) -> dict[str, Any]:
        return {
            "version": __version__,
            "model": self.name,
            "bands": ",".join(bands),
            "factor": FACTOR,
            "flux_per_pixel": flux_factor != 1,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        }


def interpolate(images: FloatArray) -> FloatArray:
    """Cubic splines: output ``2 i + 0.5`` is at the centre of input pixel ``i``."""
    return to_fine_grid(images, order=3)


class _InNoiseUnits(_Baseline):
    """A method that denoises in noise units, on the grid of the input."""

    def _enhance(self, flux: FloatArray, sigma: FloatArray, psfs: Any) -> FloatArray:
        clean = self._clean(np.arcsinh(flux / (SOFTENING * sigma)))
        # Interpolated in noise units, splines do not ring around stars.
        return SOFTENING * upsample(sigma) * np.sinh(interpolate(clean))

    @abstractmethod
    def _clean(self, image: FloatArray) -> FloatArray:
        """Denoised image, in noise units."""
