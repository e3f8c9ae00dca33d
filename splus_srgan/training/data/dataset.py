# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Pairs to train on: rendered, simulated as training goes, or matched ones from a folder.

All are endless map-style datasets of torch: ``pairs[k]`` exists for every ``k``, and
depends on ``k`` and the seed alone.  So neither the number of workers or devices nor an
interruption changes what a run sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pairs.folder.pairs import PairFolder
from splus_srgan.training.data.crops import add_noise
from splus_srgan.training.data.fields import CLEAN, CONDITIONS, SEEDS, render_pairs
from splus_srgan.training.data.matched import check_pairs, hold_out, read_pair, read_sides
from splus_srgan.training.data.restored import RestoredPairs
from splus_srgan.training.data.samples import Pairs
from splus_srgan.training.data.simulated import RenderedPairs, SimulatedPairs
from splus_srgan.utils.files import home_path
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from splus_srgan.training.config.training import TrainingConfig
    from splus_srgan.utils.types import FilePath

__all__ = [
    "SEEDS",
    "FolderPairs",
    "Pairs",
    "RenderedPairs",
    "RestoredPairs",
    "SimulatedPairs",
    "make_dataset",
    "render_pairs",
]

_MEMORY = 2**29  # bytes of matched pairs that a process keeps


class FolderPairs(Pairs):
    """
    Matched pairs of real images.

    Sky and its noise are measured on each input as a whole
    (`~splus_srgan.pixels.background.measure_background`); where the input has sky, the target's
    own is subtracted, too.  Missing and saturated pixels have no weight (in ``"noise"``), and
    missing ones are filled from their neighbors before a network sees them.

    Parameters
    ----------
    folder : path-like or `~splus_srgan.pairs.folder.pairs.PairFolder`
        The folder; only accepted pairs are taken.  With ``augmentation="paper"`` it must
        hold the moved copies as pairs of their own, named as
        `~splus_srgan.surveys.catalog.offset_copies` names them: each pair counts fourfold.
    bands : sequence of str, optional
        Bands, by default those of the first pair.
    names : sequence of str, optional
        Pairs to take; all accepted ones by default.
    **options
        Those of `Pairs`.

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or it is empty.
    OSError
        On reading a pair whose files are missing or have changed.
    ValueError
        If no pair was accepted; if a pair lacks a band, is smaller than the crop, or its
        images do not fit each other.  The message names the pair and the file.

    Notes
    -----
    A target in another unit than the input is converted; where there is no conversion (ADU
    and nanomaggies) it is divided by the flux ratio that the matching has measured.  The
    electrons come from the GAIN card, or from the usual 17 electrons of sky noise.
    """

    def __init__(
        self,
        folder: FilePath | PairFolder,
        *,
        bands: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        self.folder = folder if isinstance(folder, PairFolder) else PairFolder(folder)
        self.names = tuple(self.folder if names is None else names)
        unknown = [name for name in self.names if name not in self.folder]
        if unknown:
            raise ValueError(
                f"names must be accepted pairs of {self.folder.path}; got {unknown[0]!r}"
            )
        if bands is None and self.names:
            bands = self._first_bands()
        super().__init__(bands or (), **options)
        self._ratios = check_pairs(self.folder, self.names, self.bands, self.crop)
        self._check_one_shape()
        self.n_pairs = len(self.names)
        self._known: dict[str, Any] = {}
        self._room = _MEMORY

    def __getstate__(self):
        return self.__dict__ | {"_known": {}, "_room": _MEMORY}

    def verify(self) -> None:
        """
        Read all files once, so that a damaged one is found before the training.

        Raises
        ------
        OSError, ValueError
            As when the pair is read.
        """
        for name in self.names:
            read_sides(self.folder, name, self.bands)

    def _first_bands(self):
        first = next(row for row in self.folder.index if row["name"] == self.names[0])
        return str(first["bands"]).split(",")

    def _check_one_shape(self):
        if self.crop is not None or self.augmentation == "none":
            return
        index = self.folder.index
        shapes = {str(r["name"]): (int(r["ny"]), int(r["nx"])) for r in index}
        shapes = {name: shapes[name] for name in self.names}
        first = next(iter(shapes.values()))
        for name, shape in shapes.items():
            self._check_square(shape, self.folder.path / name)
            if shape != first:
                raise ValueError(
                    f"crop must be given where pairs have several shapes; {self.names[0]!r} of "
                    f"{self.folder.path} has {first} and {name!r} has {shape}"
                )

    def _pair(self, pair):
        """Read a pair, or take it from memory."""
        if pair in self._known:
            return self._known[pair]
        name = self.names[pair]
        read = read_pair(self.folder, name, self.bands, self._ratios[name])
        if self.space == "seed" and not np.isfinite([read.counts, read.nanomaggies]).all():
            raise ValueError(
                f"space='seed' needs inputs in ADU, or calibrated from it (card SRZP), and "
                f"targets in nanomaggies; {read.name} has not"
            )
        if read.n_bytes <= self._room:
            self._known[pair] = read
            self._room -= read.n_bytes
        return read

    def _linear(self, place, bands):
        pair = self._pair(place.pair)
        linear = pair.cut(*self._window(place, pair.image.shape[1:]), bands)
        if not self.fresh or self.depth == 0 or self.space == "seed":
            return linear
        rng = self._rng("depth", place.k)
        return add_noise(rng, linear, np.exp(self.depth * np.abs(rng.standard_normal(len(bands)))))


def make_dataset(config: TrainingConfig, purpose: Literal["train", "validation"]) -> Pairs | None:
    """
    Make the pairs that a configuration describes.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        Its ``data`` and ``run.seed`` are used.
    purpose : {"train", "validation"}
        Pairs to train on, or pairs to validate with: whole images in order, without
        augmentation.  Those are the held-out ones of a folder of matched pairs, else
        fields simulated with the seeds ``(SEEDS["validation"], k)``.

    Returns
    -------
    pairs : `Pairs` or None
        `None` for a validation with no pairs.

    Raises
    ------
    OSError, ValueError
        As by the classes of pairs.
    """
    check_one_of("purpose", purpose, ("train", "validation"))
    data = config.data
    validation = purpose == "validation"
    if validation and data.n_validation == 0:
        return None
    names = "single_band", "space", "softening", "range", "sigma_error", "sky_error"
    options = {name: getattr(data, name) for name in names}
    options |= {"bands": data.bands, "seed": config.run.seed}
    if validation:
        options |= {"crop": None, "augmentation": "none"}
    else:
        names = "crop", "augmentation", "depth", "zero_point"
        options |= {name: getattr(data, name) for name in names}
    kind = "simulation" if data.simulated else _kind_of(data.sources)
    if kind == "folder":
        held = {"how": data.validation, "seed": config.run.seed}
        folder = PairFolder(data.sources[0])
        chosen = hold_out(folder, data.n_validation, **held)[validation]
        return FolderPairs(folder, names=chosen, **options)
    if kind == "rendered" and not validation:
        return RenderedPairs(data.sources, **options)
    number = data.n_validation if validation else data.n_pairs
    kept: dict[str, Any] = {"shape": data.shape, "cache": data.cache}
    if data.subsets:
        kept |= {"first_stage": data.first_stage, "purpose": purpose}
        added = config.losses.response > 0 and not validation
        return RestoredPairs(number, added=added, **kept, **options)
    return SimulatedPairs(number, purpose=purpose, **kept, **options)


def _kind_of(sources):
    """Tell folders of `render_pairs` from a folder of matched pairs."""
    for source in sources:
        if not home_path(source).is_dir():
            raise FileNotFoundError(f"data.source: the folder {source} does not exist")
    rendered = [any((home_path(s) / f).exists() for f in (CLEAN, CONDITIONS)) for s in sources]
    if all(rendered):
        return "rendered"
    if len(sources) > 1:
        raise ValueError(
            "data.source must be one folder of matched pairs, or folders that render_pairs made; "
            f"got {len(sources)} folders, of which {sources[rendered.index(False)]} is another kind"
        )
    return "folder"
