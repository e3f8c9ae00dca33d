# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What runs the generator of a model card."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from splus_srgan.exceptions import SplusSrganWarning

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import FloatArray, ProgressBar

__all__ = ["Runner"]


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
            self.radius += first.radius + TwoStageEngine.reach
            self.engine = TwoStageEngine(
                first,
                self.engine,
                stretch=card.stretch,
                target=(card.target_psf["fwhm"], card.target_psf["beta"]),
                pixel_scale=card.pixel_scale,
                **told,
            )
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
        from splus_srgan.enhance.tiles import block_shape, generate_blocks
        from splus_srgan.models.engines import is_out_of_memory

        everything = tuple(slice(0, n) for n in y.shape[1:])
        region = region or everything
        if block_size == "auto":
            pixels = self.engine.pixels(whole=region == everything)
            sides = block_shape(region, y.shape[1:], radius=self.radius, pixels=pixels)
        else:
            sides = block_size, block_size
        while True:
            if self._largest is not None:
                sides = min(sides[0], self._largest), min(sides[1], self._largest)
            try:
                return generate_blocks(
                    self.engine,
                    y,
                    radius=self.radius,
                    block_size=sides,
                    n_planes=_n_planes(self.engine, y),
                    region=region,
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
