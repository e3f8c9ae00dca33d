# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated fields as the first stage restores them, to train a joint generator."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from splus_srgan.models.choice import choose_among, restored_together
from splus_srgan.models.engines import make_engine
from splus_srgan.models.guide import REACH, guided_planes
from splus_srgan.models.joint import joint_planes
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.models.wiener import restored_phases, wiener_kernels
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.training.data.added import (
    APERTURE,
    added_sources,
    aperture_of,
    draw_added,
)
from splus_srgan.training.data.crops import turn
from splus_srgan.training.data.simulated import SimulatedPairs
from splus_srgan.training.data.subsets import draw_subset, tell_bands
from splus_srgan.utils.files import atomic_path
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import FilePath

__all__ = ["EDGE", "RestoredPairs", "join_fields"]

EDGE = 8
"""Input pixels beside a crop that the filter may read."""

_TRIES = 50  # draws of a subset that holds a certain band
_ENOUGH = 10.0  # S/N of a source that should be kept whole
_MEMORY = 2**29  # bytes of fields that a process keeps in memory


class RestoredPairs(SimulatedPairs):
    """
    Simulated pairs whose bands were restored by the first stage, for subsets of the bands.

    Each field is observed and restored once, whole, when it is first asked for; crops, turns,
    subsets of the bands and what is told about them are drawn anew each time.

    Parameters
    ----------
    n_pairs : int
        As for `~splus_srgan.training.data.simulated.SimulatedPairs`.
    first_stage : sequence of str or path-like
        Weights of the first stage, in the order in which they are to be chosen
        (`~splus_srgan.models.choice.choose_among`).
    crop : int or None, optional
        Side of the crop in input pixels; `None` for whole images.  The fields have to be 16
        pixels larger, so that filter and guides see no border.
    added : bool, optional
        Give each sample with a source of few bands added, too
        (`~splus_srgan.training.data.added.draw_added`); needs ``augmentation="symmetries"``.
    cache : path-like, optional
        Folder that keeps the fields and the restored bands (4.5 MB for twelve bands of 96 x 96
        pixels; twice as much with ``added``).
    **options
        Those of `~splus_srgan.training.data.simulated.SimulatedPairs`.

    Raises
    ------
    ValueError
        If an option is not possible, such as copies as in the seed paper.

    Notes
    -----
    A sample is as in `~splus_srgan.training.data.samples.Pairs`, but for its bands, those of a
    subset that `~splus_srgan.training.data.subsets.draw_subset` draws, and for ``input``
    (n_band, 37, ny, nx), which is what `~splus_srgan.models.joint.JointResNet` reads for each
    band; there is no ``noisy``.  With ``added`` also ``added_input``, ``added_target`` and
    ``added_truth``, with the same noise and a source more, and ``aperture``, as
    `~splus_srgan.training.losses.response_loss` takes it; one of the bands shows the source, or
    is the one that lacks it.  `join_fields` makes batches of samples.

    Examples
    --------
    >>> from splus_srgan.training.data.restored import RestoredPairs
    >>> pairs = RestoredPairs(1, first_stage=["splus-any"], shape=(24, 24), bands=("g", "r"))
    >>> pairs[0]["input"].shape, pairs[0]["target"].shape
    (torch.Size([2, 37, 24, 24]), torch.Size([2, 48, 48]))
    """

    def __init__(
        self,
        n_pairs: int,
        *,
        first_stage: Sequence[FilePath],
        crop: int | None = None,
        added: bool = False,
        cache: FilePath | None = None,
        **options: Any,
    ) -> None:
        self._side = None if crop is None else check_integer("crop", crop, minimum=1) + 2 * EDGE
        super().__init__(n_pairs, cache=cache, **options)
        if self.augmentation == "paper" or self.single_band or self.space != "noise":
            raise ValueError(
                "pairs for a joint generator need augmentation 'symmetries' or 'none', all bands, "
                f"and space 'noise'; got {self.augmentation!r}, single_band={self.single_band!r} "
                f"and {self.space!r}"
            )
        if added and not self.fresh:
            raise ValueError(
                f"added needs augmentation 'symmetries'; got {self.augmentation!r}: validate with "
                "fields as they are"
            )
        self.added = bool(added)
        self._marks = ("", "added_") if added else ("",)
        if self._side is not None and self._side > min(self.shape):
            raise ValueError(
                f"crop must be at most the smaller side of the shape {self.shape} less {2 * EDGE} "
                f"pixels; got {crop}"
            )
        self.cards = [load_card(weights) for weights in first_stage]
        key = options | ({"added": True} if added else {})
        self._folder = None if cache is None else self._named(Path(cache), key)
        self._purpose = options.get("purpose", "train")
        self._engines: dict[str, Any] = {}
        self._known: dict[int, Any] = {}
        self._room = _MEMORY

    def _check_square(self, shape, what):
        if self._side is None:  # else only crops are turned
            super()._check_square(shape, what)

    def _named(self, cache, options):
        """Folder of these fields as restored by these weights."""
        key = options | {"n_pairs": self.n_pairs, "cards": [card.sha256 for card in self.cards]}
        digest = hashlib.sha256(json.dumps(key, default=str, sort_keys=True).encode())
        return cache / f"restored-{digest.hexdigest()[:12]}"

    def __getitem__(self, k: int) -> dict[str, torch.Tensor]:
        place = self._place(check_integer("k", k, minimum=0))
        whole = self._whole(place.pair)
        source, main = self._source(k, whole)
        names = self._subset(k, main)
        bands = [self.bands.index(name) for name in names]
        window = self._cut(k, whole["input"].shape[1:], source)
        wide, inner = _surroundings(window, whole["input"].shape[1:], place.symmetry)
        seen = [{"psf": psf} for psf in whole["psf"][bands]]
        told, psfs = tell_bands(
            self._rng_of(place, "told"),
            names,
            seen,
            whole["sigma"][bands],
            restored_together(self.cards, names),
        )
        kernels = np.stack([_kernels(psf) for psf in psfs])
        sample = {"weight": turn(whole["weight"][bands][:, *_fine(window)], *place.symmetry)}
        for mark in self._marks:
            y = turn(whole[f"{mark}input"][bands][:, *wide], *place.symmetry)
            made = self._made(whole, names, mark)[:, *_fine(wide)]
            target = whole[f"{mark}target"][bands][:, *_fine(window)]
            guided = guided_planes(y, turn(made, *place.symmetry), **self.stretch)
            filtered = restored_phases(y[:, *inner], kernels, **self.stretch)
            sample[f"{mark}input"] = joint_planes(guided[:, :, *inner], filtered, told)
            sample[f"{mark}target"] = turn(target, *place.symmetry)
        if self.added:
            inside = self._aperture(source, whole)[None, *_fine(window)]
            sample["aperture"] = turn(inside, *place.symmetry).repeat(len(bands), 0)
        if self._side is not None:
            sample = {name: _inner(name, value) for name, value in sample.items()}
        stretch = NoiseAsinhStretch(0.0, 1.0, **self.stretch)
        for mark in self._marks:
            sample[f"{mark}truth"] = stretch.inverse(sample[f"{mark}target"])
        sample["electrons"] = whole["electrons"][bands]
        for name, value in sample.items():
            sample[name] = torch.from_numpy(np.ascontiguousarray(value, np.float32))
        return sample | {"index": place.k}

    def _subset(self, k, main):
        """Names of the bands of a sample, among them the one that matters most."""
        if not self.fresh:
            return draw_subset(None, self.bands, k)
        rng = self._rng("subset", k)
        for _ in range(_TRIES):
            names = draw_subset(rng, self.bands)
            if main is None or self.bands[main] in names:
                return names
        return list(self.bands)

    def _source(self, k, whole):
        """One of the added sources, and a band that shows it or the only one that does not."""
        if not self.added:
            return None, None
        rng = self._rng("added", k)
        source = rng.choice(whole["sources"])
        shines = source[4:] > 0
        lacking = np.flatnonzero(~shines)
        alone = len(lacking) == 1 and len(shines) > 2 and rng.random() < 0.5
        return source, int(rng.choice(lacking if alone else np.flatnonzero(shines)))

    def _aperture(self, source, whole):
        """Weights of `response_loss`: faint sources, which cannot be kept, count less."""
        part = min(1, source[3] / _ENOUGH) ** 2 / max(source[4:])
        return aperture_of(source, whole["input"].shape[1:]) * np.float32(part / 4)

    def _cut(self, k, shape, source):
        """Rows and columns of the crop, which holds the source."""
        size = np.array(shape if self._side is None else (self._side, self._side))
        room = np.array(shape) - size
        low, high = 0 * room, room
        if source is not None:
            inner = EDGE + APERTURE / PIXEL_SCALE
            low = np.clip(np.ceil(source[:2] + inner - size + 1).astype(int), 0, room)
            high = np.clip(np.floor(source[:2] - inner).astype(int), low, room)
        first = self._rng("crop", k).integers(low, high + 1) if self.fresh else room // 2
        return tuple(slice(int(a), int(a + n)) for a, n in zip(first, size, strict=True))

    def _made(self, whole, names, mark):
        """Result of the first stage for these bands together."""
        made = np.empty((len(names), *whole["target"].shape[1:]), np.float32)
        for card, places in choose_among(self.cards, names):
            made[places] = whole[f"{mark}{card.name}"][self._rows(card, [names[k] for k in places])]
        return made

    def _rows(self, card, names):
        known = self.bands if card.takes_any_band else card.bands
        return [known.index(name) for name in names]

    def _whole(self, number):
        """A field and its restored bands: from memory, from a file, or computed now."""
        if number in self._known:
            return self._known[number]
        whole = self._read_or_make(number)
        size = sum(part.nbytes for part in whole.values())
        if size <= self._room:
            self._known[number], self._room = whole, self._room - size
        return whole

    def _read_or_make(self, number):
        if self._folder is None:
            return self._make(number)
        path = self._folder / f"{self._purpose}-{number:06d}.npz"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            whole = self._make(number)
            with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as file:
                np.savez(file, **whole)
        with np.load(path) as kept:
            return {name: kept[name] for name in kept.files}

    def _make(self, number):
        place = self._place(number)
        linear = self._linear(place, list(range(len(self.bands))))
        sample = self._stretched(place, linear)
        whole = {name: np.float32(sample[name]) for name in ("input", "target", "electrons")}
        whole["weight"] = np.uint8(sample["weight"] > 0)
        whole["sigma"] = np.asarray(linear.sigma)
        whole["psf"] = np.array([one["psf"] for one in self._field(place.pair).conditions])
        if self.added:
            whole |= self._with_sources(number, sample, whole)
        for mark in self._marks:
            for card in self.cards:
                whole[f"{mark}{card.name}"] = self._restore(card, whole[f"{mark}input"])
        return whole

    def _with_sources(self, number, sample, whole):
        """The field with added sources and their photon noise, and what they are."""
        shape, rng = whole["input"].shape[1:], self._rng("added of pair", number)
        sources = draw_added(rng, self.bands, whole["psf"], shape)
        observed, truth = added_sources(sources, whole["psf"], shape)
        photons = np.maximum(observed, 0) / whole["electrons"][:, None, None]
        observed += np.sqrt(photons) * rng.standard_normal(photons.shape, np.float32)
        stretch = NoiseAsinhStretch(0.0, 1.0, **self.stretch)
        return {
            "sources": sources,
            "added_input": np.float32(stretch(sample["noisy"] + observed)),
            "added_target": np.float32(stretch(sample["truth"] + truth)),
        }

    def _restore(self, card, y):
        """Restore each band, or the bands of the weights together (empty if one is missing)."""
        if card.name not in self._engines:
            generator = load_generator(card)
            self._engines[card.name] = make_engine(generator, device="cpu", precision="float32")
        engine = self._engines[card.name]
        if card.takes_any_band:
            return np.concatenate([engine(plane[None]) for plane in y])
        if not set(card.bands) <= set(self.bands):
            return np.empty((0, 0, 0), np.float32)
        return engine(y[[self.bands.index(band) for band in card.bands]])


def join_fields(samples: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """
    Make a batch of samples of `RestoredPairs`, whose numbers of bands differ.

    Parameters
    ----------
    samples : sequence of dict
        Samples.

    Returns
    -------
    batch : dict of str to `~torch.Tensor`
        The bands of all samples one after the other: ``input`` and ``added_input``
        (n, 37, ny, nx), ``electrons`` (n, 1), the others (n, 1, 2 ny, 2 nx); ``counts``, how many
        each sample has; and ``index``, where samples have it.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.data.restored import join_fields
    >>> fields = [{"target": torch.zeros(n, 8, 8), "index": n} for n in (3, 1)]
    >>> batch = join_fields(fields)
    >>> batch["target"].shape, batch["counts"].tolist()
    (torch.Size([4, 1, 8, 8]), [3, 1])
    """
    batch = {"counts": torch.tensor([len(sample["target"]) for sample in samples])}
    for name in samples[0]:
        values = [torch.as_tensor(sample[name]) for sample in samples]
        if name == "index":
            batch[name] = torch.stack(values)
        else:
            joined = torch.cat(values)
            batch[name] = joined if name.endswith("input") else joined[:, None]
    return batch


def _surroundings(window, shape, symmetry):
    """Pixels on which guides depend, as far as the field goes; where they hold the turned crop."""
    ends = zip(window, shape, strict=True)
    wide = tuple(slice(max(0, w.start - REACH), min(n, w.stop + REACH)) for w, n in ends)
    mark = np.zeros((1, *shape), bool)
    mark[0, *window] = True
    mark = turn(mark[:, *wide], *symmetry)[0]
    places = (np.flatnonzero(mark.any(axis)) for axis in (1, 0))
    return wide, tuple(slice(int(one[0]), int(one[-1]) + 1) for one in places)


def _fine(window):
    return tuple(slice(2 * part.start, 2 * part.stop) for part in window)


def _inner(name, value):
    """What lies within the edge of a crop."""
    cut = EDGE if name.endswith("input") else 2 * EDGE
    return value[..., cut:-cut, cut:-cut]


def _kernels(psf):
    """Kernels of a PSF, rounded to less than the error of what is told, so that they are kept."""
    return _kept_kernels(psf and (round(psf[0] / 0.02), round(psf[1] / 0.2)))


@lru_cache(maxsize=4096)
def _kept_kernels(steps):
    psf = steps and (0.02 * steps[0], 0.2 * steps[1])
    return wiener_kernels(psf, target=TARGET_PSF, pixel_scale=PIXEL_SCALE)
