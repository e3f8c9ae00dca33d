# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The terms of the generator loss, of one batch."""

import torch

from splus_srgan.models.features import VGGFeatures
from splus_srgan.training import losses
from splus_srgan.training.config.networks import DISCRIMINATOR_TERMS

__all__ = ["GeneratorTerms", "with_added"]

_RESTORED = 0.3  # sky noises of the input that may be left in the output
_PRECISION = 0.05  # of what is bright
_RARE = 0.25  # weight of the pixels of fields with added sources: there are more than in the sky


def with_added(batch):
    """
    Put fields with added sources after those without, as samples of their own.

    Parameters
    ----------
    batch : dict of str to `~torch.Tensor`
        A batch of the training data.

    Returns
    -------
    batch : dict of str to `~torch.Tensor`
        The same if it has no such fields; else tensors of twice the length, except the
        ``aperture``, where they differ, and ``index``.  The pixels of the added sources, which
        are more than the sky has, have a quarter of the weight.
    """
    if "aperture" not in batch:
        return batch
    names = ("input", "target", "truth", "electrons")
    doubled = {
        name: torch.cat((batch[name], batch.get(f"added_{name}", batch[name]))) for name in names
    }
    doubled["weight"] = torch.cat((batch["weight"], _RARE * batch["weight"]))
    doubled["counts"] = batch["counts"].repeat(2)
    return {"index": batch["index"], "aperture": batch["aperture"], **doubled}


class GeneratorTerms:
    """
    Compute the terms whose weight is above 0.

    Parameters
    ----------
    config : `~splus_srgan.training.config.training.TrainingConfig`
        Weights, kinds, and the stretch of the data.
    """

    def __init__(self, config):
        self.options, self.data, self.scale = config.losses, config.data, config.generator.scale
        self.vgg = None
        if self.options.feature > 0:
            self.vgg = VGGFeatures(
                network=self.options.vgg_network,
                weights=self.options.vgg_weights,
                layer=self.options.vgg_layer,
                normalize=self.options.vgg_normalize,
            )
            if config.run.precision == "bfloat16":
                self.vgg.to(memory_format=torch.channels_last)

    def to(self, device):
        """Move the networks of the terms to a device."""
        if self.vgg is not None:
            self.vgg.to(device)

    def weights(self, progress, ramp):
        """
        Weights at some point of a run.

        Parameters
        ----------
        progress : float
            Finished fraction of the run, 0 to 1.
        ramp : float
            Fraction of their weight that the adversarial terms have, 0 to 1.

        Returns
        -------
        weights : dict of str to float
            Weights of all terms.
        """
        weights = self.options.weights
        # The flux counts more once the images look right.
        weights["flux"] *= 1 + self.options.flux_growth * min(1.0, progress)
        for name in DISCRIMINATOR_TERMS:
            weights[name] *= ramp
        return weights

    def __call__(self, batch, generated, log_scale=None, *, precision="float32"):
        """
        Terms that need no discriminator.

        Parameters
        ----------
        batch : dict of str to `~torch.Tensor`
            A batch of the training data.
        generated, log_scale : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            Generated images for ``batch["input"]``.
        precision : {"bfloat16", "float32"}, optional
            Precision of the VGG network.

        Returns
        -------
        terms : dict of str to `~torch.Tensor`
            Scalars.
        """
        compute = {
            "pixel": self._pixel,
            "bright": self._bright,
            "feature": lambda *args: self._feature(*args, precision),
            "flux": self._flux,
            "aperture": self._aperture,
            "binned_flux": self._binned_flux,
            "response": self._response,
            "spectrum": self._spectrum,
            "starlet": self._starlet,
            "nll": lambda batch, made: self._nll(batch, made, log_scale),
        }
        return {
            name: function(batch, generated)
            for name, function in compute.items()
            if getattr(self.options, name) > 0
        }

    def linear(self, images):
        """Stretched images in sky noises."""
        return losses.unstretch(images, self.data.softening, self.data.range)

    def judged(self, images):
        """Images as the discriminator sees them."""
        return self._as_seen(images, self.options.adversarial_softening)

    def _as_seen(self, images, softening):
        """Images in the stretch that a network sees."""
        if softening is not None:
            images = losses.stretch(self.linear(images), softening, self.data.range)
        return images

    def _pixel(self, batch, made):
        if self.options.pixel_kind == "noise":
            # The noise of the input per pixel of the truth.
            truth = batch["truth"]
            variance = 1 + truth.clamp(min=0) / batch["electrons"][..., None, None]
            return losses.noise_weighted_loss(
                self.linear(made), truth, variance, batch["weight"], kind="l2"
            )
        target, softening = batch["target"], self.options.pixel_softening
        if softening is not None:
            target = losses.stretch(batch["truth"], softening, self.data.range)
            made = losses.stretch(self.linear(made), softening, self.data.range)
        return losses.pixel_loss(
            made,
            target,
            batch["weight"],
            kind=self.options.pixel_kind,
            epsilon=self.options.charbonnier_epsilon,
        )

    def _bright(self, batch, made):
        truth = batch["truth"]
        light = truth.clamp(min=0)
        variance = _RESTORED**2 + light / batch["electrons"][..., None, None]
        variance = variance + (_PRECISION * light) ** 2
        return losses.noise_weighted_loss(
            self.linear(made),
            truth,
            variance,
            batch["weight"],
            kind="charbonnier",
            epsilon=_RESTORED,
        )

    def _feature(self, batch, made, precision):
        seen = [
            self._as_seen(images, self.options.feature_softening)
            for images in (batch["target"], made)
        ]
        with torch.autocast(made.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
            with torch.no_grad():
                wanted = self.vgg(seen[0])
            found = self.vgg(seen[1])
        return losses.feature_loss(found, wanted, kind=self.options.feature_kind)

    def _flux(self, batch, made):
        return losses.flux_loss(
            self.linear(made),
            batch["truth"],
            batch["electrons"],
            batch["weight"],
            sizes=self.options.flux_sizes,
            snr=self.options.flux_snr,
        )

    def _aperture(self, batch, made):
        return losses.aperture_loss(
            self.linear(made),
            batch["truth"],
            batch["electrons"],
            batch["weight"],
            radii=self.options.aperture_radii,
        )

    def _binned_flux(self, batch, made):
        return losses.binned_flux_loss(
            self.linear(made),
            batch["noisy"],
            batch["electrons"],
            batch["weight"],
            sizes=self.options.binned_sizes,
        )

    def _response(self, batch, made):
        without, made = self.linear(made).chunk(2)
        truth_without, truth = batch["truth"].chunk(2)
        return losses.response_loss(made, without, truth, truth_without, batch["aperture"])

    def _spectrum(self, batch, made):
        return losses.spectrum_loss(made, batch["target"], floor=self.options.spectrum_floor)

    def _starlet(self, batch, made):
        return losses.starlet_loss(
            made, batch["target"], batch["weight"], n_scales=self.options.starlet_scales
        )

    def _nll(self, batch, made, log_scale):
        kinds = {"laplace": losses.laplace_nll, "gaussian": losses.gaussian_nll}
        return kinds[self.scale](made, log_scale, batch["target"], batch["weight"])
