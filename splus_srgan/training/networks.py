# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The networks of a configuration, and the weights that a run starts from."""

import os
from pathlib import Path

import torch

from splus_srgan.exceptions import WeightsError
from splus_srgan.models.discriminator import PatchDiscriminator, UNetDiscriminator
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.joint import JointResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.training.checkpoints import averaged_weights, chosen_checkpoint, read_checkpoint

__all__ = ["MODULE_STATE", "make_discriminator", "make_generator", "read_start"]

MODULE_STATE = "splus_srgan_module"
"""Key of what `SRGANModule` adds to a checkpoint."""


def make_generator(config):
    """Make the generator of a configuration."""
    if config.generator.kind == "joint":
        stretch = {name: getattr(config.data, name) for name in ("softening", "range")}
        generator = JointResNet(**config.generator.options(config.data.bands), **stretch)
    else:
        generator = SRResNet(**config.generator.options(config.data.n_bands))
    if config.generator.initialization == "glorot":
        _glorot(generator)
    return generator


def make_discriminator(config):
    """Make the discriminator of a configuration, or give `None` if no loss needs one."""
    # Of subsets, each band is judged by itself.
    own, n_bands = config.discriminator, 1 if config.data.subsets else config.data.n_bands
    if not config.losses.needs_discriminator:
        return None
    if own.kind == "unet":
        return UNetDiscriminator(n_bands, n_features=own.n_features)
    return PatchDiscriminator(n_bands, n_features=own.n_features, n_dense=own.n_dense)


def _glorot(network):
    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.xavier_uniform_(layer.weight)
            torch.nn.init.zeros_(layer.bias)


def read_start(source):
    """Give averaged weights and the stages that led to them; of several sources their mean."""
    sources = [source] if isinstance(source, str | os.PathLike) else list(source)
    if not sources:
        raise WeightsError("run.start_from must name at least one run or model card; got none")
    states, histories = zip(*map(_read_one, sources), strict=True)
    for one, state in zip(sources, states, strict=True):
        if _shapes(state) != _shapes(states[0]):
            raise WeightsError(
                f"run.start_from must name generators of one kind; got {str(sources[0])!r} and "
                f"{str(one)!r}, whose weights differ in shape"
            )
    mean = {
        name: torch.stack([state[name].double() for state in states]).mean(0).to(value.dtype)
        for name, value in states[0].items()
        if all(name in state for state in states)
    }
    stages = []
    for history in histories:
        stages += [stage for stage in history if stage not in stages]
    return mean, stages


def _shapes(state):
    """Of the generator itself: a head for its uncertainty is there or not."""
    return {name: part.shape for name, part in state.items() if not name.startswith("scale.")}


def _read_one(source):
    path = Path(source)
    path = chosen_checkpoint(path / "checkpoints") or path
    if path.suffix != ".ckpt":
        try:
            card = load_card(source)
        except WeightsError as error:
            raise WeightsError(
                f"run.start_from is no run, checkpoint or model card: {error}"
            ) from error
        return load_generator(card).state_dict(), list(card.training.get("stages", []))
    checkpoint = read_checkpoint(path)
    stages = checkpoint[MODULE_STATE]["stages"]
    return averaged_weights(checkpoint), stages
