# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What a training run is made of: nested dataclasses, presets, and files that fill them.

A configuration is read from YAML or TOML, or from a dictionary::

    preset: default          # what the rest of the file changes
    name: mine
    data:
      source: [rendered/one, rendered/two]
      batch_size: 8
    run:
      output: runs/mine

Keys that the dataclasses below do not have are refused.  This module does not import torch.
"""

import dataclasses
import difflib
import tomllib
from argparse import SUPPRESS, ArgumentError
from dataclasses import dataclass, field
from pathlib import Path

from splus_srgan.splus import BANDS
from splus_srgan.training.config.networks import (
    DISCRIMINATOR_TERMS,
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
)
from splus_srgan.training.config.run import DataConfig, RunConfig
from splus_srgan.utils.bounded_yaml import LIMITS, load_yaml, parser_mode, read_text
from splus_srgan.utils.files import check_name
from splus_srgan.utils.validate import check_one_of

__all__ = [
    "PRESETS",
    "DataConfig",
    "DiscriminatorConfig",
    "GeneratorConfig",
    "LossConfig",
    "OptimizerConfig",
    "RunConfig",
    "TrainingConfig",
    "add_config_arguments",
    "dump_config",
    "load_config",
    "preset",
]

PRESETS = ("seed", "default", "fidelity", "twelve")
"""Names that `preset` knows."""

# These compare linear fluxes, which the seed paper's stretch does not keep.
_LINEAR_TERMS = ("flux", "aperture", "binned_flux")


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
        for name, kind in _SECTIONS.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(
                    f"{name} must be a {kind.__name__}; got {type(getattr(self, name)).__name__}"
                )
        if (self.generator.kind == "joint") != self.data.subsets:
            raise ValueError(
                "generator.kind='joint' and data.subsets go together; got "
                f"{self.generator.kind!r} and {self.data.subsets!r}"
            )
        self._check_space()
        self._check_scale()
        self._check_phases()

    def to_dict(self):
        """
        The configuration as nested plain data, fit for YAML, TOML and JSON.

        Returns
        -------
        content : dict
            `load_config` makes the same configuration of it.
        """
        return _plain(dataclasses.asdict(self))

    def _check_space(self):
        if self.data.space == "noise":
            return
        wrong = [name for name in _LINEAR_TERMS if getattr(self.losses, name) > 0]
        if self.losses.pixel > 0 and self.losses.pixel_kind == "noise":
            wrong.append("pixel (of the kind 'noise')")
        if self.losses.pixel > 0 and self.losses.pixel_softening is not None:
            wrong.append("pixel_softening (of pixel)")
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


_SECTIONS = {
    "generator": GeneratorConfig,
    "discriminator": DiscriminatorConfig,
    "losses": LossConfig,
    "optimizer": OptimizerConfig,
    "data": DataConfig,
    "run": RunConfig,
}


def preset(name):
    """
    A configuration that is ready to run.

    Parameters
    ----------
    name : {"seed", "default", "fidelity", "twelve"}
        ``"seed"`` is the seed paper's recipe.  ``"fidelity"`` is pixels and fluxes, no
        discriminator.  ``"default"`` is the same followed by a discriminator of patches, which
        sees faint light amplified, and power spectra.  ``"twelve"`` is pixels and fluxes for
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
            epsilon=1e-7,  # Keras' own
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
        # Without spectral norm: differences are so faint that a U-Net with it tells none.
        discriminator=DiscriminatorConfig(kind="patch", n_features=24, n_dense=128),
        losses=LossConfig(
            adversarial=0.01, adversarial_softening=0.3, spectrum=0.1, spectrum_floor=0.002
        ),
        run=RunConfig(pretrain_epochs=50, ramp_epochs=10),
    )


def _twelve():
    return TrainingConfig(
        name="twelve",
        generator=GeneratorConfig(kind="joint", n_features=32, n_blocks=4, dilations=()),
        # Quadratic in faint light, whose mean it keeps; linear in bright.
        losses=LossConfig(
            pixel=1.0, pixel_kind="charbonnier", pixel_softening=0.7, charbonnier_epsilon=0.05
        ),
        data=DataConfig(
            bands=tuple(BANDS), subsets=True, shape=(96, 96), crop=48, depth=0.35, n_pairs=1200
        ),
        run=RunConfig(epochs=400, steps_per_epoch=100, validate_every=5),
    )


def load_config(source=None, overrides=None, *, base=None):
    """
    Read a configuration.

    Parameters
    ----------
    source : path-like, dict or None, optional
        A YAML file (``.yaml``, ``.yml``), a TOML file (``.toml``), or nested keys.  Its
        key ``preset`` names what it changes, ``"default"`` where it has none.
    overrides : dict, optional
        Keys that win over those of the file, nested or dotted (``"data.crop"``).
    base : str, optional
        Preset to change; wins over the key ``preset``.

    Returns
    -------
    config : `TrainingConfig`
        The whole configuration, checked.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If a key is unknown or a value is not allowed.

    Examples
    --------
    >>> from splus_srgan.training.config.training import load_config
    >>> load_config({"preset": "seed"}, {"data.batch_size": 1}).data.batch_size
    1
    >>> load_config({"data": {"batchsize": 1}})
    Traceback (most recent call last):
    ...
    ValueError: unknown key 'data.batchsize' in the configuration; did you mean 'data.batch_size'?
    """
    where = "the configuration" if source is None or isinstance(source, dict) else repr(str(source))
    content = _read(source)
    named = content.pop("preset", "default")
    merged = preset(base or named).to_dict()
    _merge(merged, content, where)
    _merge(merged, _nest(overrides or {}), "the overrides")
    return _build(merged)


def dump_config(config):
    """
    A configuration as YAML text, whole: every key, whatever preset it came from.

    Parameters
    ----------
    config : `TrainingConfig`
        The configuration.

    Returns
    -------
    text : str
        `load_config` of a file with this text gives the same configuration.
    """
    import yaml

    return yaml.safe_dump(config.to_dict(), sort_keys=False)


def add_config_arguments(parser):
    """
    Add one option per key (``--data.batch_size 8``) to a command.

    What is not given on the command line is not in the result, so that what is there
    can be the ``overrides`` of `load_config`.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    parser.add_argument("--name", type=str, default=SUPPRESS, help="name of the recipe")
    for section, kind in _SECTIONS.items():
        documented = _documentation(kind)
        for key in dataclasses.fields(kind):
            parser.add_argument(
                f"--{section}.{key.name}",
                type=key.type,
                default=SUPPRESS,
                help=documented.get(key.name),
            )


def _documentation(kind):
    """First description of each parameter in a numpydoc docstring; none under ``python -OO``."""
    found, names = {}, []
    for line in (kind.__doc__ or "").partition("----------\n")[2].splitlines():
        if line.startswith("    ") and line[4:5].strip():
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        elif line.strip():
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip().replace("%", "%%")
    return found


def _read(source):
    if source is None:
        return {}
    if isinstance(source, dict):
        return _nest(source)
    path = Path(source)
    if path.suffix not in (".yaml", ".yml", ".toml"):
        raise ValueError(f"a configuration must be a .yaml, .yml or .toml file; got {str(path)!r}")
    text = read_text(path)
    try:
        content = tomllib.loads(text) if path.suffix == ".toml" else load_yaml(text)
    except RecursionError:
        raise ValueError(f"configuration {str(path)!r} is nested too deep") from None
    except ValueError as error:
        raise ValueError(
            f"configuration {str(path)!r} is not valid {path.suffix[1:].upper()}: {error}"
        ) from error
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"configuration {str(path)!r} must hold keys and values; got {content!r}")
    return _nest(content)


def _nest(content, depth=0):
    """Dotted keys as nested dictionaries; the argument is not modified."""
    if depth > LIMITS["depth"]:
        raise ValueError(f"keys must be nested at most {LIMITS['depth']} deep")
    nested = {}
    for key, value in content.items():
        *sections, name = str(key).split(".")
        place = nested
        for section in sections:
            place = place.setdefault(section, {})
            if not isinstance(place, dict):
                raise TypeError(f"{section} must hold keys and values; got {place!r}")
        if isinstance(value, dict):
            known = place.setdefault(name, {})
            if not isinstance(known, dict):
                raise TypeError(f"{name} must hold keys and values; got {known!r}")
            known.update(_nest(value, depth + 1))
        else:
            place[name] = value
    return nested


def _merge(known, content, where, prefix=""):
    """Put values in the place of the known ones; unknown keys are refused."""
    for key, value in content.items():
        full = f"{prefix}{key}"
        if key not in known:
            raise ValueError(f"unknown key {full!r} in {where}; {_suggestion(full)}")
        if not isinstance(known[key], dict):
            known[key] = value
        elif isinstance(value, dict):
            _merge(known[key], value, where, f"{full}.")
        else:
            raise TypeError(f"{full} in {where} must hold keys and values; got {value!r}")


def _suggestion(key):
    keys = {
        f"{section}.{entry.name}": entry.name
        for section, kind in _SECTIONS.items()
        for entry in dataclasses.fields(kind)
    } | {name: name for name in ("preset", "name", *_SECTIONS)}
    section, _, last = key.rpartition(".")
    # A right name in the wrong section is as common a mistake as a misspelled one.
    own = [name for full, name in keys.items() if full.startswith(f"{section}.")]
    for names in ([last], difflib.get_close_matches(last, own or keys.values(), n=1)):
        near = [full for full, name in keys.items() if name in names]
        near.sort(key=lambda full: not full.startswith(f"{section}."))
        if near:
            return f"did you mean {near[0]!r}?"
    known = [full for full in keys if full.startswith(f"{section}.")]
    return f"known are {', '.join(known or ['preset', 'name', *_SECTIONS])}"


def _build(content):
    """Let jsonargparse turn plain values into those that the fields are annotated with."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, parser_mode=parser_mode())
    add_config_arguments(parser)
    try:
        parsed = parser.parse_object(content, defaults=False)
    except ArgumentError as error:
        raise ValueError(" ".join(str(error).split())) from error
    sections = {name: kind(**vars(parsed[name])) for name, kind in _SECTIONS.items()}
    return TrainingConfig(name=parsed["name"], **sections)


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
