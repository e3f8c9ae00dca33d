# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The configuration of a whole run, and the rules that involve several sections."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from splus_srgan.training.config.networks import (
    DISCRIMINATOR_TERMS,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
)
from splus_srgan.training.config.run import DataConfig, RunConfig
from splus_srgan.utils.files import check_name

__all__ = ["SECTIONS", "TrainingConfig"]

# These compare linear fluxes, which the seed paper's stretch does not keep.
_LINEAR_TERMS = ("bright", "flux", "aperture", "binned_flux")

# Samples of subsets are of some of the bands, drawn anew each time, without the noisy input.
_NOT_OF_SUBSETS = {
    "binned_flux": "the noisy input, which samples of subsets do not have",
}


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """
    A whole training run.

    Parameters
    ----------
    name : str, optional
        Name of the recipe; presets give their own.
    generator : `GeneratorConfig`, optional
        The generator.
    discriminator : `DiscriminatorConfig`, optional
        The discriminator.
    losses : `LossConfig`, optional
        Terms of the loss.
    optimizer : `OptimizerConfig`, optional
        Optimizers and schedule.
    data : `DataConfig`, optional
        Pairs.
    run : `RunConfig`, optional
        Length, devices, output.

    Examples
    --------
    >>> from splus_srgan.training.config.training import load_config
    >>> config = load_config({"preset": "fidelity", "data": {"batch_size": 8}})
    >>> config.data.batch_size, config.losses.adversarial
    (8, 0.0)
    """

    name: str = "fidelity"
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    data: DataConfig = field(default_factory=DataConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def __post_init__(self):
        check_name(self.name)  # of the weights
        for name, kind in SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(
                    f"{name} must be a {kind.__name__}; got {type(getattr(self, name)).__name__}"
                )
        if (self.generator.kind == "joint") != self.data.subsets:
            raise ValueError(
                "generator.kind='joint' and data.subsets go together; got "
                f"{self.generator.kind!r} and {self.data.subsets!r}"
            )
        if self.losses.response > 0 and not self.data.subsets:
            raise ValueError(
                "losses.response compares bands with sources that others lack, and needs "
                f"data.subsets; got losses.response={self.losses.response!r} without it"
            )
        self._check_subsets()
        self._check_space()
        self._check_scale()
        self._check_phases()

    def to_dict(self) -> dict[str, Any]:
        """
        The configuration as nested plain data, fit for YAML, TOML and JSON.

        Returns
        -------
        content : dict
            `load_config` makes the same configuration of it.
        """
        return _plain(dataclasses.asdict(self))

    def _check_subsets(self):
        for name, need in _NOT_OF_SUBSETS.items() if self.data.subsets else ():
            if (weight := getattr(self.losses, name)) > 0:
                raise ValueError(
                    f"losses.{name} must be 0 with data.subsets, since it needs {need}; got "
                    f"{weight!r}"
                )

    def _check_space(self):
        if self.data.space == "noise":
            return
        wrong = [name for name in _LINEAR_TERMS if getattr(self.losses, name) > 0]
        if self.losses.pixel > 0 and self.losses.pixel_kind == "noise":
            wrong.append("pixel (of the kind 'noise')")
        if self.losses.pixel > 0 and self.losses.pixel_softening is not None:
            wrong.append("pixel_softening (of pixel)")
        if self.losses.feature > 0 and self.losses.feature_softening is not None:
            wrong.append("feature_softening (of feature)")
        if self.losses.needs_discriminator and self.losses.adversarial_softening is not None:
            wrong.append("adversarial_softening (of adversarial)")
        if wrong:
            raise ValueError(
                f"losses.{wrong[0]} needs linear fluxes, which data.space='seed' does not keep: "
                "set its weight to 0, or take data.space='noise'"
            )

    def _check_scale(self):
        if (self.generator.scale is None) != (self.losses.nll == 0):
            raise ValueError(
                "generator.scale and losses.nll go together: one predicts what the other "
                f"teaches; got scale={self.generator.scale!r} and nll={self.losses.nll!r}"
            )

    def _check_phases(self):
        if not self.losses.needs_discriminator:
            return
        run, weights = self.run, self.losses.weights
        if run.pretrain_epochs + run.ramp_epochs > run.epochs:
            raise ValueError(
                "run.pretrain_epochs and run.ramp_epochs together must be at most run.epochs; "
                f"got {run.pretrain_epochs} + {run.ramp_epochs} > {run.epochs}"
            )
        others = [w for name, w in weights.items() if name not in DISCRIMINATOR_TERMS]
        if run.pretrain_epochs and not any(others):
            raise ValueError(
                "run.pretrain_epochs must be 0 where all losses need the discriminator; "
                f"got {run.pretrain_epochs}"
            )


SECTIONS = {
    "generator": GeneratorConfig,
    "discriminator": DiscriminatorConfig,
    "losses": LossConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
    "run": RunConfig,
}


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
