# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Losses, as pure functions of tensors ``(n, n_band, ny, nx)``.

Each is the mean over the samples of one term per sample that depends on no other sample, divided
by a number that no sample changes (pixels, boxes): the mean of the losses of two halves of a
batch is the loss of the whole batch, so that training on several machines is the training on one.
All compute in float32, whatever the precision of their input.
"""

from splus_srgan.training.losses.adversarial import (
    discriminator_adversarial,
    generator_adversarial,
)
from splus_srgan.training.losses.aperture import aperture_loss
from splus_srgan.training.losses.flux import binned_flux_loss, flux_loss
from splus_srgan.training.losses.pixel import (
    gaussian_nll,
    laplace_nll,
    noise_weighted_loss,
    pixel_loss,
)
from splus_srgan.training.losses.response import response_loss
from splus_srgan.training.losses.scales import (
    feature_loss,
    feature_matching_loss,
    spectrum_loss,
    starlet_loss,
)
from splus_srgan.training.losses.total import total_loss
from splus_srgan.training.losses.units import stretch, unstretch

__all__ = [
    "pixel_loss",
    "noise_weighted_loss",
    "laplace_nll",
    "gaussian_nll",
    "feature_loss",
    "feature_matching_loss",
    "starlet_loss",
    "spectrum_loss",
    "generator_adversarial",
    "discriminator_adversarial",
    "flux_loss",
    "aperture_loss",
    "binned_flux_loss",
    "response_loss",
    "stretch",
    "unstretch",
    "total_loss",
]
