# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pairs to train on, made from noise-free simulated fields."""

from __future__ import annotations

import os
from abc import abstractmethod
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.simulate.reference import reference_noise
from splus_srgan.training.data.crops import OFFSETS, simulate_band, stack_bands
from splus_srgan.training.data.fields import CLEAN, FieldStore, RenderedFolder
from splus_srgan.training.data.samples import Pairs
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from splus_srgan.utils.types import FilePath

__all__ = ["RenderedPairs", "SimulatedPairs"]

_FURTHEST = max(max(map(abs, offset)) for offset in OFFSETS)


class _FieldPairs(Pairs):
    """Pairs made from noise-free fields."""

    @abstractmethod
    def _field(self, pair):
        """The noise-free field of a pair."""

    @property
    def _n_views(self):
        return 2 * super()._n_views if self.augmentation == "paper" else 1

    def _window(self, place, shape):
        y, x, ny, nx = super()._window(place, shape)
        if place.copy:
            dy, dx = OFFSETS[self._rng("offset", place.pair).integers(len(OFFSETS))]
            y, x = y + dy, x + dx
        return y, x, ny, nx

    def _linear(self, place, bands):
        field = self._field(place.pair)
        window = self._window(place, field.clean.shape[1:])
        if self.fresh:
            return self._seen(place, field.cut(*window), bands)
        # Copies are cut from one image, so they share its noise.
        return self._seen(place, field, bands).cut(*window)

    def _seen(self, place, field, bands):
        flux = np.ones(len(bands))
        if self.space == "noise":
            flux = self._flux(place, len(bands))
        rows = []
        for b, factor in zip(bands, flux, strict=True):
            rng = self._rng_of(place, "noise", b)
            depth = np.exp(self.depth * rng.standard_normal()) if self.fresh else 1.0
            sharp = field.sharp[b]
            if self.space == "seed":  # the seed paper's targets are real images
                source = self._rng_of(place, "target", b)
                sharp = sharp + reference_noise(source, sharp.shape, self.bands[b])[0]
            parts = field.clean[b], sharp, field.conditions[b]
            rows.append(simulate_band(rng, *parts, depth=depth, flux=factor))
        return stack_bands(rows, field.name)

    def _check_room(self, shape, what):
        """Refuse a crop that does not fit."""
        crop = min(shape) if self.crop is None else self.crop
        if crop > min(shape):
            raise ValueError(
                f"crop must be at most the smaller side of every input; got {crop}, but {what} "
                f"holds the shape {tuple(shape)}"
            )
        if self.augmentation == "paper" and crop + 2 * _FURTHEST > min(shape):
            raise ValueError(
                f"augmentation='paper' needs {2 * _FURTHEST} pixels around the crop for the copies "
                f"that are moved by 0.005 deg; got crop={self.crop}, and {what} holds the shape "
                f"{tuple(shape)}: take a smaller crop, or render larger images"
            )
        self._check_square(shape, what)


class RenderedPairs(_FieldPairs):
    """
    Pairs from folders of `render_pairs`.

    Parameters
    ----------
    folders : path-like or sequence of path-like
        The folders, all with the bands asked for.
    bands : sequence of str, optional
        Bands, by default those of the first folder.
    **options
        Those of `Pairs`.

    Raises
    ------
    FileNotFoundError
        If a folder is not one of `render_pairs`, or incomplete.
    ValueError
        If a file is damaged, files do not fit each other, a band is missing, or the crop is
        too large; the message names the folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from splus_srgan.training.data.dataset import RenderedPairs, render_pairs
    >>> with TemporaryDirectory() as folder:
    ...     render_pairs(folder, 2, shape=(32, 32), bands=("r",))
    ...     pairs = RenderedPairs(folder, crop=24)
    ...     sample = pairs[0]
    >>> len(pairs), sample["input"].shape, sample["target"].shape
    (2, torch.Size([1, 24, 24]), torch.Size([1, 48, 48]))
    """

    def __init__(
        self,
        folders: FilePath | Sequence[FilePath],
        *,
        bands: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        paths = [folders] if isinstance(folders, str | os.PathLike) else list(folders)
        if not paths:
            raise ValueError("folders must name at least one folder; got none")
        first = RenderedFolder(paths[0], bands)
        self.folders = [first, *(RenderedFolder(path, first.bands) for path in paths[1:])]
        super().__init__(first.bands, **options)
        for folder in self.folders:
            self._check_room(folder.shape, folder.path / CLEAN)
        shapes = {folder.shape for folder in self.folders}
        if self.crop is None and len(shapes) > 1:
            raise ValueError(f"crop must be given where folders have several shapes; got {shapes}")
        self._ends = np.cumsum([len(folder) for folder in self.folders])
        self.n_pairs = int(self._ends[-1])

    def _field(self, pair):
        which = int(np.searchsorted(self._ends, pair, side="right"))
        return self.folders[which][pair - int(self._ends[which]) + len(self.folders[which])]


class SimulatedPairs(_FieldPairs):
    """
    Pairs simulated when they are first needed.

    Parameters
    ----------
    n_pairs : int
        Number of different fields, at least 1; field ``k`` has the seed ``(SEEDS[purpose], k)``.
    purpose : {"train", "validation", "test"}, optional
        Purpose, which selects the seeds.
    shape : tuple of int, optional
        ``(ny, nx)`` of the S-PLUS image.  With ``augmentation="paper"`` a larger field is
        simulated, and image and moved copy are cut from it.
    bands : sequence of str, optional
        Bands.
    cache : path-like, optional
        Folder that keeps rendered fields (1 MB for three bands of 128 x 128 pixels), for
        all workers and later runs; 512 MB are kept in memory in any case.  Empty it after
        an update of this package that changes the simulation.
    **options
        Those of `Pairs`.

    Raises
    ------
    ValueError
        If the number, purpose, shape, a band or the crop is not possible.

    Examples
    --------
    >>> from splus_srgan.training.data.dataset import SimulatedPairs
    >>> pairs = SimulatedPairs(4, shape=(32, 32), bands=("g", "r"), augmentation="none")
    >>> sorted(pairs[0])
    ['electrons', 'index', 'input', 'noisy', 'target', 'truth', 'weight']
    """

    def __init__(
        self,
        n_pairs: int,
        *,
        purpose: Literal["train", "validation", "test"] = "train",
        shape: tuple[int, int] = (128, 128),
        bands: Sequence[str] = ("g", "r", "z"),
        cache: FilePath | None = None,
        **options: Any,
    ) -> None:
        super().__init__(bands, **options)
        self.n_pairs = check_integer("n_pairs", n_pairs, minimum=1)
        self.shape = tuple(check_integer("shape", n, minimum=16) for n in shape)
        if self.augmentation == "paper":
            if self.crop is None:
                self._check_square(self.shape, "shape")
                self.crop = min(self.shape)
            self.shape = tuple(n + 2 * _FURTHEST for n in self.shape)
        self._check_room(self.shape, "the simulation")
        self._store = FieldStore(purpose, self.shape, self.bands, cache)

    def _field(self, pair):
        return self._store[pair]
