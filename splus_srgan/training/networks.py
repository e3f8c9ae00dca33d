# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The networks of a configuration, and the weights that a run starts from."""

import re
from pathlib import Path

import torch

from splus_srgan.exceptions import WeightsError
from splus_srgan.models.discriminator import PatchDiscriminator, UNetDiscriminator
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.joint import JointResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.splus import BANDS
from splus_srgan.training.checkpoints import averaged_weights, chosen_checkpoint, read_checkpoint

__all__ = ["MODULE_STATE", "make_discriminator", "make_generator", "read_start", "widen"]

MODULE_STATE = "splus_srgan_module"
"""Key of what `SRGANModule` adds to a checkpoint."""


def make_generator(config):
    """Make the generator of a configuration."""
    if config.generator.kind == "joint":
        generator = JointResNet(**config.generator.options(config.data.bands))
    else:
        generator = SRResNet(**config.generator.options(config.data.n_bands))
    if config.generator.initialization == "glorot":
        _glorot(generator)
    return generator


def make_discriminator(config):
    """Make the discriminator of a configuration, or give `None` where no loss needs one."""
    own, n_bands = config.discriminator, config.data.n_bands
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
    """Give averaged weights, their bands, and the stages that led to them."""
    path = Path(source)
    path = chosen_checkpoint(path / "checkpoints") or path
    if path.suffix != ".ckpt":
        try:
            card = load_card(source)
        except WeightsError as error:
            raise WeightsError(f"run.start_from is no run, checkpoint or card: {error}") from error
        return load_generator(card).state_dict(), card.bands, list(card.training.get("stages", []))
    checkpoint = read_checkpoint(path)
    stages = checkpoint[MODULE_STATE]["stages"]
    return averaged_weights(checkpoint), tuple(stages[-1]["data"]["bands"]), stages


def widen(weights, bands, generator):
    """
    Turn the weights of a plain generator of some bands into those of a joint one.

    Given these bands alone, and whatever it is told, the joint generator then does what the
    plain one did.  Bands that the plain one did not know are read and made as the nearest of
    its bands in order of wavelength, but faintly: their number must not drown the others.

    Parameters
    ----------
    weights : dict of str to `~torch.Tensor`
        State of a `~splus_srgan.models.generator.SRResNet` without normalisation.
    bands : sequence of str
        Its bands.
    generator : `~splus_srgan.models.joint.JointResNet`
        The joint one, as deep and as broad; its bands include these.

    Returns
    -------
    widened : dict of str to `~torch.Tensor`
        State for ``generator``; the head that predicts a scale is left out.

    Raises
    ------
    ValueError
        If a band is none of the joint generator's.
    """
    missing = [band for band in bands if band not in generator.bands]
    if missing:
        raise ValueError(
            f"data.bands must include those of the run to start from, {', '.join(bands)}; "
            f"{missing[0]!r} is missing"
        )
    order = list(BANDS)  # by wavelength
    nearest = [
        min(range(len(bands)), key=lambda k: abs(order.index(bands[k]) - order.index(band)))
        for band in generator.bands
    ]
    known = torch.tensor([1.0 if band in bands else _FAINT for band in generator.bands])
    state = {name: value for name, value in generator.state_dict().items() if ".tell." in name}
    for name, value in weights.items():
        if not name.startswith("scale."):
            state[_JOINT_NAMES.sub(_joint_name, name)] = value
    state["first.0.weight"] = weights["first.0.weight"][:, nearest] * known[:, None, None]
    state["last.weight"] = weights["last.weight"][nearest] * known[:, None, None, None]
    state["last.bias"] = weights["last.bias"][nearest] * known
    return state


_FAINT = 0.2
_JOINT_NAMES = re.compile(r"\.body\.([02])\.|^join\.0\.")


def _joint_name(found):
    return {"0": ".one.", "2": ".two.", None: "join."}[found[1]]
