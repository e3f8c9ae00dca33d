# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Common base of all pairs to train on: order, crops, augmentation, stretches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Dataset

from splus_srgan.training.data.crops import PAPER_SYMMETRIES, noise_sample, seed_sample, turn
from splus_srgan.utils.validate import check_finite, check_integer, check_one_of, check_positive

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Literal

__all__ = ["Pairs", "Place"]

_SPACES = ("noise", "seed")
_AUGMENTATIONS = ("symmetries", "paper", "none")
# Streams of random numbers, so that draws for one purpose do not affect another.  The position
# is part of the seed, so new ones go to the end.
_STREAMS = (
    "order",
    "symmetry",
    "band",
    "crop",
    "flux",
    "offset",
    "depth",
    "noise",
    "errors",
    "noise of pair",
    "errors of pair",
    "target",
    "target of pair",
    "subset",
    "told",
    "told of pair",
    "added",
    "added of pair",
)


@dataclass(frozen=True)
class Place:
    """Which view of which pair a sample is, and the seed of its random numbers."""

    k: int
    pair: int
    symmetry: tuple = (0, False)
    copy: bool = False


class Pairs(Dataset, ABC):
    """
    Common base of all pairs; use one of its subclasses.

    Parameters
    ----------
    bands : tuple of str
        Bands of the pairs.
    crop : int or None, optional
        Side of the crop in input pixels; `None` for whole images.
    single_band : bool, optional
        Give one band, drawn at random, instead of all.
    space : {"noise", "seed"}, optional
        Arcsinh stretch in units of the measured sky noise, or the seed paper's:
        ``arcsinh(10 x / 3)`` of the counts, ``arcsinh(100 x / 3)`` of the target in
        nanomaggies, then minimum to maximum over all pixels and bands of the image.
    softening, range : float, optional
        Softening and range of the stretch in ``"noise"``, see `~splus_srgan.NoiseAsinhStretch`.
    augmentation : {"symmetries", "paper", "none"}, optional
        ``"symmetries"``: a random one of the eight symmetries of the square, a random
        crop, noise drawn anew, and the spreads below.  ``"paper"``: each image as it is,
        upside down, mirrored, and turned by 90 deg, and the same of a copy whose center is
        moved by 0.005 deg in a random one of eight directions; each once an epoch.
        ``"none"``: pairs in order, always the same.  Crops of the last two are central.
    sigma_error : float, optional
        Relative spread of the error of the measured sky noise, at least 0.
    sky_error : float, optional
        Spread of the error of the measured sky, in sky noises, at least 0.
    depth : float, optional
        Spread of the natural logarithm of the sky noise, at least 0; only with
        ``"symmetries"``.  Real images only become shallower.
    zero_point : float, optional
        Spread of the zero point per band in magnitudes, at least 0; only with
        ``"symmetries"``.  In ``"noise"`` it changes the flux of simulated sources, but not
        the noise; real images are not changed there.
    seed : int, optional
        Seed of everything random, at least 0.

    Attributes
    ----------
    n_pairs : int
        Number of different pairs.

    Raises
    ------
    TypeError, ValueError
        If an option is not possible.

    Notes
    -----
    A sample is a dict of float32 tensors: ``input`` (n_band, ny, nx), ``target`` and
    ``weight`` (n_band, 2 ny, 2 nx), the weight 0 for pixels that are not learned from; and
    ``index``, the number of the sample.  In ``"noise"`` also ``noisy`` and ``truth``, the
    same without stretch in sky noises, the truth per *input* pixel (four output pixels
    make one), and ``electrons`` (n_band,) per sky noise.
    """

    def __init__(
        self,
        bands: Sequence[str],
        *,
        crop: int | None = None,
        single_band: bool = False,
        space: Literal["noise", "seed"] = "noise",
        softening: float = 3.0,
        range: float = 2.0,
        augmentation: Literal["symmetries", "paper", "none"] = "symmetries",
        sigma_error: float = 0.03,
        sky_error: float = 0.05,
        depth: float = 0.2,
        zero_point: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.bands = tuple(bands)
        self.crop = None if crop is None else check_integer("crop", crop, minimum=1)
        self.single_band = bool(single_band)
        self.space = check_one_of("space", space, _SPACES)
        self.augmentation = check_one_of("augmentation", augmentation, _AUGMENTATIONS)
        self.stretch = {
            "softening": check_positive("softening", softening),
            "range": check_positive("range", range),
        }
        self.sigma_error = _spread("sigma_error", sigma_error)
        self.sky_error = _spread("sky_error", sky_error)
        self.depth = _spread("depth", depth)
        self.zero_point = _spread("zero_point", zero_point)
        self.seed = check_integer("seed", seed, minimum=0)
        self.n_pairs = 0
        self._shuffled = (None, None)

    @property
    def n_bands(self) -> int:
        """Bands of a sample."""
        return 1 if self.single_band else len(self.bands)

    @property
    def fresh(self) -> bool:
        """Whether everything is drawn anew each time."""
        return self.augmentation == "symmetries"

    @property
    def _n_views(self):
        """Images of a pair per epoch."""
        return len(PAPER_SYMMETRIES) if self.augmentation == "paper" else 1

    def __len__(self) -> int:
        """Samples of one epoch; later ones are drawn anew or in another order."""
        return self.n_pairs * self._n_views

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """One epoch."""
        return (self[k] for k in range(len(self)))

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        place = self._place(check_integer("k", k, minimum=0))
        bands = self._choose_bands(place)
        linear = self._linear(place, bands)
        if not (np.isfinite(linear.image).all() and np.isfinite(linear.target).all()):
            raise ValueError(f"{linear.name} must be finite everywhere; make it again")
        sample = self._stretched(place, linear)
        for name, value in sample.items():
            image = turn(value, *place.symmetry) if value.ndim == 3 else value
            sample[name] = torch.from_numpy(np.ascontiguousarray(image, np.float32))
        return sample | {"index": place.k}

    def _place(self, k):
        n = len(self)
        epoch, position = divmod(k, n)
        if self.augmentation == "none":
            return Place(k, position)
        shuffled = int(self._order(epoch, n)[position])
        if self.augmentation == "paper":
            pair, view = divmod(shuffled, self._n_views)
            copy, which = divmod(view, len(PAPER_SYMMETRIES))
            return Place(k, pair, PAPER_SYMMETRIES[which], bool(copy))
        turns, flip = self._rng("symmetry", k).integers((4, 2))
        return Place(k, shuffled, (int(turns), bool(flip)))

    def _order(self, epoch, n):
        if self._shuffled[0] != epoch:
            self._shuffled = epoch, self._rng("order", epoch).permutation(n)
        return self._shuffled[1]

    def _rng(self, stream, number, band=0):
        return np.random.default_rng([self.seed, _STREAMS.index(stream), number, band])

    def _rng_of(self, place, stream, band=0):
        """Random numbers of a sample, or of a pair if all its samples share them."""
        if self.fresh:
            return self._rng(stream, place.k, band)
        return self._rng(f"{stream} of pair", place.pair, band)

    def _choose_bands(self, place):
        every = list(range(len(self.bands)))
        if not self.single_band:
            return every
        if self.augmentation == "none":
            return [place.k % len(every)]
        return [int(self._rng("band", place.k).integers(len(every)))]

    def _window(self, place, shape):
        """First pixel and size of the crop, ``(y, x, ny, nx)``."""
        size = np.array(shape if self.crop is None else (self.crop, self.crop))
        room = np.array(shape) - size
        first = self._rng("crop", place.k).integers(0, room + 1) if self.fresh else room // 2
        return *first.tolist(), *size.tolist()

    @abstractmethod
    def _linear(self, place, bands):
        """The pair of a sample in a linear unit."""

    def _stretched(self, place, linear):
        rng, n = self._rng_of(place, "errors"), len(linear.image)
        sigma_error = np.exp(self.sigma_error * rng.standard_normal(n))
        sky_error = self.sky_error * rng.standard_normal(n)
        if self.space == "noise":
            errors = {"sigma_error": sigma_error, "sky_error": sky_error}
            return noise_sample(linear, **errors, stretch=self.stretch)
        return seed_sample(linear, sky_error=sky_error, flux=self._flux(place, n))

    def _flux(self, place, n):
        """Factor on the flux of each band."""
        if not self.fresh:
            return np.ones(n)
        return 10 ** (-0.4 * self.zero_point * self._rng("flux", place.k).standard_normal(n))

    def _check_square(self, shape, what):
        if self.crop is None and self.augmentation != "none" and shape[0] != shape[1]:
            raise ValueError(
                f"crop must be given where images are turned and not square; {what} has the "
                f"shape {tuple(shape)}"
            )


def _spread(name, value):
    if check_finite(name, value) < 0:
        raise ValueError(f"{name} must be at least 0; got {value!r}")
    return float(value)
