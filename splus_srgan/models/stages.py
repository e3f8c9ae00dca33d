# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Two stages: weights of few bands, then a joint generator that corrects their result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.models.choice import choose_among, first_stage_of, restored_together
from splus_srgan.models.engines import make_engine
from splus_srgan.models.guide import REACH, each_guided
from splus_srgan.models.joint import joint_planes, told_values
from splus_srgan.models.weights import load_generator
from splus_srgan.models.wiener import restored_phases, wiener_kernels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from splus_srgan.models.openvino_engine import OpenVINOEngine
    from splus_srgan.models.torch_engine import TorchEngine
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import FloatArray

__all__ = ["FirstStage", "TwoStageEngine"]

_UPSCALING = 2
_PIXELS = 2**19  # seen at once: what twelve bands are guided by takes 1 kB for each


class FirstStage:
    """
    The weights of few bands that a joint generator builds on.

    Parameters
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Model card of the joint generator.
    **options
        ``device``, ``precision`` and ``engine`` of `~splus_srgan.models.engines.make_engine`.

    Raises
    ------
    WeightsError
        If weights are missing, or not those that the joint generator was trained on.
    """

    def __init__(self, card: WeightsCard, **options: Any) -> None:
        self.cards = first_stage_of(card)
        generators = {one.name: load_generator(one) for one in self.cards}
        self.radius = max(g.receptive_field_radius for g in generators.values())
        self._engines = {name: make_engine(g, **options) for name, g in generators.items()}

    def __call__(self, y: NDArray[np.float32], *, bands: Sequence[str]) -> NDArray[np.float32]:
        """
        Restore each band alone, or together with the others that its weights take.

        Parameters
        ----------
        y : `~numpy.ndarray`, shape (n_band, ny, nx)
            Stretched image.
        bands : sequence of str
            Their names.

        Returns
        -------
        fine : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
            Generated bands.
        """
        n_band, ny, nx = y.shape
        fine = np.empty((n_band, _UPSCALING * ny, _UPSCALING * nx), np.float32)
        for card, places in choose_among(self.cards, bands):
            for group in card.groups(places):
                fine[group] = self._engines[card.name](y[group])
        return fine


class TwoStageEngine:
    """
    An engine of the bands of one field: the first stage, and its correction.

    Parameters
    ----------
    first : `FirstStage`
        The first stage.
    second : callable
        Engine of a `~splus_srgan.models.joint.JointResNet`.
    stretch : dict
        ``softening`` and ``range``, see `~splus_srgan.NoiseAsinhStretch`.
    bands : sequence of str
        Bands, in their order.
    target : tuple of float
        FWHM (arcsec) and Moffat beta of the output's PSF.
    pixel_scale : float
        Arcsec per input pixel.
    psfs, sigmas : sequence or None, optional
        PSF and sky noise of each, see `~splus_srgan.models.joint.told_values`.
    """

    reach = REACH
    """Input pixels that the guides add to the receptive fields of both stages."""

    def __init__(
        self,
        first: FirstStage,
        second: TorchEngine | OpenVINOEngine,
        *,
        stretch: Mapping[str, float],
        bands: Sequence[str],
        target: Sequence[float],
        pixel_scale: float,
        psfs: Sequence[Sequence[float] | None] | None = None,
        sigmas: Sequence[float | None] | None = None,
    ) -> None:
        self.first, self.second, self.stretch = first, second, dict(stretch)
        self.bands, n_bands = tuple(bands), len(bands)
        unknown = [None] * n_bands
        together = restored_together(first.cards, bands)
        known = zip(bands, together, psfs or unknown, sigmas or unknown, strict=True)
        self._told = np.stack(
            [
                told_values(band, n_bands=n_bands, together=shared, psf=psf, sigma=sigma)
                for band, shared, psf, sigma in known
            ]
        )
        self._kernels = np.stack(
            [wiener_kernels(psf, target=target, pixel_scale=pixel_scale) for psf in psfs or unknown]
        )
        self.with_scale = second.with_scale
        self.name, self.device, self.precision = second.name, second.device, second.precision

    def pixels(self, *, whole: bool) -> int:
        """Input pixels per band that it may see at once, of a whole image or not."""
        return _PIXELS

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image."""
        y = np.asarray(y, np.float32)
        made = self.first(y, bands=self.bands)
        fine = np.empty((len(y) * (1 + self.with_scale), *made.shape[1:]), np.float32)
        for k, guided in enumerate(each_guided(y, made, **self.stretch)):
            own = slice(k, k + 1)
            filtered = restored_phases(y[own], self._kernels[own], **self.stretch)
            planes = joint_planes(guided[None], filtered, self._told[own])
            fine[k :: len(y)] = self.second(planes[0])
        return fine
