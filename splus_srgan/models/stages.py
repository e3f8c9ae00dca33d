# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Two stages: weights of few bands, then a joint generator that corrects their result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.models.choice import choose_among, first_stage_of, restored_together
from splus_srgan.models.engines import make_engine
from splus_srgan.models.guide import PHASES, REACH, each_guided, from_phases, to_phases
from splus_srgan.models.joint import PLANES, joint_planes, told_values
from splus_srgan.models.weights import load_generator
from splus_srgan.models.wiener import restored_phases, wiener_kernels

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from splus_srgan.models.openvino_engine import OpenVINOEngine
    from splus_srgan.models.torch_engine import TorchEngine
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import FloatArray

__all__ = ["FirstStage", "Restored", "TwoStageEngine"]

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
        self._radii = {name: g.receptive_field_radius for name, g in generators.items()}
        self.radius = max(self._radii.values())
        self._engines = {name: make_engine(g, **options) for name, g in generators.items()}

    def parts(self, bands: Sequence[str]) -> Iterator[tuple[list[int], Any, int]]:
        """
        Which bands are restored together, or alone.

        Parameters
        ----------
        bands : sequence of str
            Names of the bands of a field.

        Yields
        ------
        places : list of int
            Indices of bands that an engine takes at a time.
        engine : callable
            The engine.
        radius : int
            Radius of its receptive field, input pixels.
        """
        for card, places in choose_among(self.cards, bands):
            for group in card.groups(places):
                yield group, self._engines[card.name], self._radii[card.name]

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
        for places, engine, _ in self.parts(bands):
            fine[places] = engine(y[places])
        return fine


class Restored:
    """
    An image and what the first stage made of it, on the grid of the image.

    It is sliced as an array is, so that the second stage may see it block by block.

    Parameters
    ----------
    y : `~numpy.ndarray`, shape (n_band, ny, nx)
        Stretched image.
    made : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Result of the first stage.

    Attributes
    ----------
    shape : tuple of int
        ``(5 n_band, ny, nx)``: the bands, then the four phases of each fine one.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.models.stages import Restored
    >>> both = Restored(np.zeros((3, 8, 9)), np.ones((3, 16, 18)))
    >>> both.shape, both[:, 2:6, :].shape
    ((15, 8, 9), (15, 4, 9))
    """

    def __init__(self, y: FloatArray, made: FloatArray) -> None:
        self._y, self._made = y, made
        self.shape = ((1 + PHASES) * len(y), *y.shape[1:])

    def __getitem__(self, place: tuple[slice, slice, slice]) -> FloatArray:
        """Planes of a block."""
        planes, *region = place
        ends = [part.indices(n)[:2] for part, n in zip(region, self.shape[1:], strict=True)]
        fine = (slice(_UPSCALING * a, _UPSCALING * b) for a, b in ends)
        made = map(to_phases, self._made[:, *fine])
        return np.concatenate((self._y[:, *region], *made), dtype=np.float32)[planes]


class TwoStageEngine:
    """
    An engine of the bands of one field: the first stage, and its correction.

    Parameters
    ----------
    first : `FirstStage`
        The first stage.
    second : callable
        Engine of a `~splus_srgan.models.joint.JointResNet`.
    radius : int
        Radius of its receptive field, input pixels.
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

    Attributes
    ----------
    correct_radius : int
        Radius of the receptive field of `correct`, guides included, input pixels.
    """

    def __init__(
        self,
        first: FirstStage,
        second: TorchEngine | OpenVINOEngine,
        *,
        radius: int,
        stretch: Mapping[str, float],
        bands: Sequence[str],
        target: Sequence[float],
        pixel_scale: float,
        psfs: Sequence[Sequence[float] | None] | None = None,
        sigmas: Sequence[float | None] | None = None,
    ) -> None:
        self.first, self.second, self.stretch = first, second, dict(stretch)
        self.correct_radius = radius + REACH
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

    @property
    def radius(self) -> int:
        """Radius of the receptive field of both stages, input pixels."""
        return self.first.radius + self.correct_radius

    def pixels(self, *, whole: bool) -> int:
        """Input pixels per band that it may see at once, of a whole image or not."""
        if not self.second.exchanges:
            return _PIXELS
        return min(_PIXELS, self.second.band_pixels // len(self.bands))

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image."""
        y = np.asarray(y, np.float32)
        return self._correct(y, self.first(y, bands=self.bands))

    def correct(self, planes: FloatArray) -> NDArray[np.float32]:
        """
        Run the second stage alone.

        Parameters
        ----------
        planes : `~numpy.ndarray`, shape (5 n_band, ny, nx)
            Planes of a `Restored`, or of a block of it.

        Returns
        -------
        fine : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
            As the engine gives it; twice as many planes with the scale of the errors.
        """
        n_band = len(self.bands)
        made = planes[n_band:].reshape(n_band, PHASES, *planes.shape[1:])
        return self._correct(planes[:n_band], np.stack([from_phases(one) for one in made]))

    def _correct(self, y: FloatArray, made: FloatArray) -> NDArray[np.float32]:
        # The bands, then the scales of their errors.
        fine = np.empty((len(y) * (1 + self.with_scale), *made.shape[1:]), np.float32)
        if self.second.exchanges:
            planes = np.empty((len(y), PLANES, *y.shape[1:]), np.float32)
            for k, band in enumerate(self._planes(y, made)):
                planes[k] = band
            for k, parts in enumerate(self.second(planes)):
                fine[k :: len(y)] = parts
        else:
            for k, band in enumerate(self._planes(y, made)):
                fine[k :: len(y)] = self.second(band)
        return fine

    def _planes(self, y: FloatArray, made: FloatArray) -> Iterator[NDArray[np.float32]]:
        """What the second stage reads of each band."""
        for k, guided in enumerate(each_guided(y, made, **self.stretch)):
            own = slice(k, k + 1)
            filtered = restored_phases(y[own], self._kernels[own], **self.stretch)
            yield joint_planes(guided[None], filtered, self._told[own])[0]
