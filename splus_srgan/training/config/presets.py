# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Configurations that are ready to run."""

from typing import Literal

from splus_srgan.splus import BANDS
from splus_srgan.training.config.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
)
from splus_srgan.training.config.run import DataConfig, RunConfig
from splus_srgan.training.config.whole import TrainingConfig
from splus_srgan.utils.validate import check_one_of

__all__ = ["PRESETS", "preset"]

PRESETS = ("seed", "default", "fidelity", "twelve")
"""Names that `preset` knows."""


def preset(name: Literal["seed", "default", "fidelity", "twelve"]) -> TrainingConfig:
    """
    A configuration that is ready to run.

    Parameters
    ----------
    name : {"seed", "default", "fidelity", "twelve"}
        ``"seed"`` is the seed paper's recipe.  ``"fidelity"`` trains on pixels and fluxes, without
        discriminator.  ``"default"`` is the same, followed by a discriminator of patches, which
        sees faint light amplified, and power spectra.  ``"twelve"`` trains on pixels and fluxes for
        any subset of the twelve bands, with a generator that is told their PSFs and depths.

    Returns
    -------
    config : `TrainingConfig`
        The configuration.

    Raises
    ------
    ValueError
        If there is no preset of that name.

    Examples
    --------
    >>> from splus_srgan.training.config.training import preset
    >>> preset("seed").optimizer.rate
    0.0002
    """
    check_one_of("preset", name, PRESETS)
    return {"seed": _seed, "default": _default, "fidelity": TrainingConfig, "twelve": _twelve}[
        name
    ]()


def _seed():
    return TrainingConfig(
        name="seed",
        generator=GeneratorConfig(
            n_features=64,
            n_blocks=16,
            norm="batch",
            first_kernel=9,
            last_kernel=9,
            n_tail_features=256,
            output="tanh",
            dilations=(),
            low_pass=0,
            initialization="glorot",
        ),
        discriminator=DiscriminatorConfig(kind="patch", n_features=64),
        losses=LossConfig(
            pixel=0.0,
            flux=0.0,
            feature=1.0,
            adversarial=1e-3,
            adversarial_kind="bce",
            discriminator_kind="mse",
            vgg_normalize=False,
        ),
        optimizer=OptimizerConfig(
            name="adam",
            rate=2e-4,
            discriminator_rate=2e-4,
            beta1=0.5,
            beta2=0.999,
            epsilon=1e-7,  # Keras' default
            schedule="constant",
            warm_up_steps=0,
            clip_norm=0.0,
            ema=0.0,
        ),
        data=DataConfig(
            space="seed",
            crop=None,
            batch_size=2,
            n_pairs=125,
            augmentation="paper",
            sigma_error=0.0,
            sky_error=0.0,
            depth=0.0,
            n_validation=25,
            validation="random",
        ),
        run=RunConfig(epochs=500, steps_per_epoch=None, validate_every=10, precision="float32"),
    )


def _default():
    return TrainingConfig(
        name="default",
        # Without spectral norm: with it, a U-Net does not see such faint differences.
        discriminator=DiscriminatorConfig(kind="patch", n_features=24, n_dense=128),
        losses=LossConfig(
            adversarial=0.01, adversarial_softening=0.3, spectrum=0.1, spectrum_floor=0.002
        ),
        run=RunConfig(pretrain_epochs=50, ramp_epochs=10),
    )


def _twelve():
    return TrainingConfig(
        name="twelve",
        generator=GeneratorConfig(
            kind="joint", n_features=32, n_blocks=6, dilations=(), exchanges=(2, 4, 6)
        ),
        # Quadratic for faint light, whose mean it preserves; linear for bright light.
        losses=LossConfig(
            pixel=4.0,
            pixel_kind="charbonnier",
            pixel_softening=0.7,
            charbonnier_epsilon=0.3,
            bright=0.15,
            response=0.3,
            flux=0.0,
        ),
        data=DataConfig(
            bands=tuple(BANDS),
            subsets=True,
            shape=(96, 96),
            crop=48,
            batch_size=2,
            depth=0.35,
            n_pairs=624,
            n_validation=17,
        ),
        optimizer=OptimizerConfig(rate=4e-4, warm_up_steps=100, ema=0.995),
        run=RunConfig(epochs=45, steps_per_epoch=250, validate_every=5),
    )
