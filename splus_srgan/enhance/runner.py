# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What runs the generator of a card."""

__all__ = ["Runner"]


class Runner:
    """A generator with its engine and its receptive field."""

    def __init__(self, card, device, precision, engine, uncertainty):
        from splus_srgan.models.engines import make_engine
        from splus_srgan.models.symmetries import EnsembleEngine, TurnedEngine
        from splus_srgan.models.weights import load_generator

        generator = load_generator(card)
        self.radius = generator.receptive_field_radius
        self.engine = make_engine(
            generator,
            device=device,
            precision=precision,
            engine=engine,
            with_scale=uncertainty is True,
        )
        if uncertainty == "ensemble":
            self.engine = EnsembleEngine(self.engine, turned=card.turned)
        elif card.turned:
            self.engine = TurnedEngine(self.engine)

    @property
    def threads(self):
        """Number of threads that work on the CPU may take: those of the generator."""
        import torch

        return torch.get_num_threads()

    def generate(self, y, *, block_size, bar, region=None):
        """Generate (a region) in blocks, in smaller ones if memory runs out."""
        from splus_srgan.enhance.tiles import generate_blocks
        from splus_srgan.models.engines import is_out_of_memory

        while True:
            try:
                return generate_blocks(
                    self.engine,
                    y,
                    radius=self.radius,
                    block_size=block_size,
                    n_planes=_n_planes(self.engine, y),
                    region=region,
                    progress_bar=bar,
                )
            except (MemoryError, RuntimeError) as error:
                if block_size < 64 or not is_out_of_memory(error):
                    raise
                block_size //= 2


def _n_planes(engine, y):
    """Planes that an engine gives: with the scale of the errors, two for each band."""
    return 2 * len(y) if getattr(engine, "with_scale", False) else len(y)
