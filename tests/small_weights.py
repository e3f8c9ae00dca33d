# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Weights of a small generator for one band."""

import torch

from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import load_card, save_weights


def save_small(folder, *, n_features=48, last=None, **entries):
    """Save them, with model card entries; random, or ``last`` for all weights of the last layer."""
    torch.manual_seed(1)
    generator = SRResNet(1, n_features=n_features, n_blocks=1)
    if last is None:
        torch.nn.init.normal_(generator.last.weight, std=0.05)
    else:
        torch.nn.init.constant_(generator.last.weight, last)
    like = load_card("splus-any")
    card = {"name": "small", "version": "1", "bands": ["any"], "pixel_scale": 0.55}
    card |= {"stretch": like.stretch, "target_psf": like.target_psf, "domain": like.domain}
    return save_weights(generator, folder, **card | {"flux_anchor": 1.0} | entries)
