# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What runs the generator of a model card."""

from __future__ import annotations

import math
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.enhance.tiles import block_shape, generate_blocks, within
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.utils.windows import SIDE_MULTIPLE, windows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import FloatArray, ProgressBar

__all__ = ["Runner"]

_FIRST_PIXELS = 9 * 2**16  # of a block of the first stage; a square of a megapixel is two of them


class Runner:
    """
    A generator with its engine and its receptive field.

    Parameters
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Weights.
    device, precision, engine, uncertainty, turned
        As `~splus_srgan.enhance.enhancer.SRGANEnhancer` takes them.
    told : dict, optional
        ``bands``, ``psfs`` and ``sigmas`` of `~splus_srgan.models.stages.TwoStageEngine`, for a
        model card that ``takes_subsets``.
    made : dict, optional
        Engines and first stages by the hash of their model card's weights, shared by the runners
        of several fields; what is missing is built and added.
    """

    _largest: int | None = None  # largest block that fits into memory, once a larger one did not

    def __init__(
        self,
        card: WeightsCard,
        device: str,
        precision: Any,
        engine: Any,
        uncertainty: Any,
        turned: bool | None = None,
        told: Any = None,
        made: dict[Any, Any] | None = None,
    ) -> None:
        from splus_srgan.models.engines import make_engine
        from splus_srgan.models.stages import FirstStage, TwoStageEngine
        from splus_srgan.models.symmetries import EnsembleEngine, TurnedEngine
        from splus_srgan.models.weights import load_generator

        turned = card.turned if turned is None else turned
        made = {} if made is None else made
        options = {"device": device, "precision": precision, "engine": engine}
        if card.sha256 not in made:
            generator = load_generator(card)
            own = make_engine(generator, with_scale=uncertainty is True, **options)
            made[card.sha256] = generator.receptive_field_radius, own
        self.radius, self.engine = made[card.sha256]
        if card.takes_subsets:
            key = "first stage", card.sha256
            first = made[key] = made.get(key) or FirstStage(card, **options)
            self.engine = TwoStageEngine(
                first,
                self.engine,
                radius=self.radius,
                stretch=card.stretch,
                target=(card.target_psf["fwhm"], card.target_psf["beta"]),
                pixel_scale=card.pixel_scale,
                **told,
            )
            self.radius = self.engine.radius
        if uncertainty == "ensemble":
            self.engine = EnsembleEngine(self.engine, turned=turned)
        elif turned:
            self.engine = TurnedEngine(self.engine)

    @property
    def libraries(self) -> tuple[str, ...]:
        """Names and versions of what runs it."""
        import torch

        modules = [torch]
        if self.engine.name == "openvino":
            from splus_srgan.models.openvino_engine import load_openvino

            modules.append(load_openvino())  # which is not imported before it is needed
        return tuple(f"{one.__name__} {getattr(one, '__version__', '')}" for one in modules)

    def generate(
        self, y: FloatArray, *, block_size: Any, bar: ProgressBar | None, region: Any = None
    ) -> FloatArray:
        """Generate (a region) in blocks, in smaller ones if memory runs out."""
        from splus_srgan.models.stages import TwoStageEngine

        engine, everything = self.engine, tuple(slice(0, n) for n in y.shape[1:])
        region = region or everything
        if isinstance(engine, TwoStageEngine):
            return self._by_stages(engine, y, block_size, bar, region)
        blocks = _Blocks(engine, self.radius, y.shape[1:], region, block_size)
        if block_size == "auto":
            blocks = blocks.of(engine.pixels(whole=region == everything))
        return self._in_blocks(blocks, y, bar, _n_planes(engine, y))

    def _by_stages(
        self, engine: Any, y: FloatArray, block_size: Any, bar: ProgressBar | None, region: Any
    ) -> FloatArray:
        """Each stage in blocks of its own: the halo of both together is twice as wide."""
        from splus_srgan.models.stages import Restored

        radius, shape = engine.correct_radius, y.shape[1:]
        options = {"margin": radius, "multiple": SIDE_MULTIPLE}
        places = zip(region, shape, strict=True)
        wide = tuple(
            slice(*windows([(one.start, one.stop)], length=n, **options)[0]) for one, n in places
        )
        sides = tuple(part.stop - part.start for part in wide)
        first = [
            (own, _Blocks(one, reach, shape, wide, block_size))
            for own, one, reach in engine.first.parts(engine.bands)
        ]
        second = _Blocks(engine.correct, radius, sides, within(region, wide), block_size)
        if block_size == "auto":
            # What an engine takes for a shape of blocks it keeps, so they must not be the largest.
            limits = [min(_FIRST_PIXELS, one.engine.pixels(whole=True)) for _, one in first]
            first = [(own, one.of(n)) for (own, one), n in zip(first, limits, strict=True)]
            second = second.of(engine.pixels(whole=False))
        number = sum(one.number for _, one in first) + second.number
        made = np.empty((len(y), *(FACTOR * side for side in sides)), np.float32)
        with _shared(bar, number) as bar:
            for own, one in first:
                made[own] = self._in_blocks(one, y[own], bar, len(own))
            both = Restored(y[:, *wide], made)
            return self._in_blocks(second, both, bar, _n_planes(engine, y))

    def _in_blocks(
        self, blocks: _Blocks, image: Any, bar: ProgressBar | None, n_planes: int
    ) -> FloatArray:
        from splus_srgan.models.engines import is_out_of_memory

        sides = blocks.sides
        while True:
            if self._largest is not None:
                sides = min(sides[0], self._largest), min(sides[1], self._largest)
            try:
                return generate_blocks(
                    blocks.engine,
                    image,
                    radius=blocks.radius,
                    block_size=sides,
                    n_planes=n_planes,
                    region=blocks.region,
                    progress_bar=bar,
                )
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                self._take_smaller(max(sides), error)

    def _take_smaller(self, side: int, error: BaseException) -> None:
        """Halve the blocks, with a warning the first time; an error where that cannot help."""
        if side < 64:
            raise MemoryError(
                f"memory ran out ({error}) with blocks of only {side} pixels: close other "
                "programs, or use device='cpu' or another machine"
            ) from error
        if self._largest is None:
            warnings.warn(
                f"memory ran out with blocks of {side} pixels; smaller ones are tried and "
                f"kept (block_size={side // 2} avoids this message)",
                SplusSrganWarning,
                stacklevel=2,
            )
        self._largest = side // 2


def _n_planes(engine: Any, y: FloatArray) -> int:
    """Number of planes that an engine returns: with the scale of the errors, two for each band."""
    return 2 * len(y) if getattr(engine, "with_scale", False) else len(y)


@dataclass(frozen=True)
class _Blocks:
    """An engine, and the blocks in which it generates a region of an image of some shape."""

    engine: Any
    radius: int
    shape: tuple[int, ...]
    region: tuple[slice, ...]
    block_size: Any

    def of(self, pixels: int) -> _Blocks:
        """The blocks of at most so many pixels in which the least is seen twice."""
        sides = block_shape(self.region, self.shape, radius=self.radius, pixels=pixels)
        return replace(self, block_size=sides)

    @property
    def sides(self) -> tuple[int, int]:
        one = self.block_size
        return one if isinstance(one, tuple) else (one, one)

    @property
    def number(self) -> int:
        lengths = (part.stop - part.start for part in self.region)
        return math.prod(-(-n // side) for n, side in zip(lengths, self.sides, strict=True))


@contextmanager
def _shared(bar: ProgressBar | None, number: int) -> Iterator[ProgressBar | None]:
    """One bar for the blocks of several passes."""
    if bar is None:
        yield None
        return
    ticks = iter(bar(range(number)))

    def share(blocks: Iterable[Any]) -> Iterator[Any]:
        for block in blocks:
            next(ticks, None)
            yield block

    yield share
    next(ticks, None)  # so that it ends
