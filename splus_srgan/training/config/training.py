# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Configuration of a training run: nested dataclasses, presets, and files that fill them.

A configuration is read from YAML or TOML, or from a dictionary::

    preset: default          # the rest of the file changes it
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
from typing import Any

from jsonargparse import ArgumentParser

from splus_srgan.training.config.networks import (
    DiscriminatorConfig,
    GeneratorConfig,
    LossConfig,
    OptimizerConfig,
)
from splus_srgan.training.config.presets import PRESETS, preset
from splus_srgan.training.config.run import DataConfig, RunConfig
from splus_srgan.training.config.whole import SECTIONS, TrainingConfig
from splus_srgan.utils.bounded_yaml import LIMITS, load_yaml, parser_mode, read_text
from splus_srgan.utils.files import home_path
from splus_srgan.utils.types import FilePath

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
    "read_keys",
]


def load_config(
    source: FilePath | dict[str, Any] | None = None,
    overrides: dict[str, Any] | None = None,
    *,
    base: str | None = None,
) -> TrainingConfig:
    """
    Read a configuration.

    Parameters
    ----------
    source : path-like, dict or None, optional
        A YAML file (``.yaml``, ``.yml``), a TOML file (``.toml``), or nested keys.  Its
        key ``preset`` names the preset that it changes, ``"default"`` if it has none.
    overrides : dict, optional
        Keys that override those of the file, nested or dotted (``"data.crop"``).
    base : str, optional
        Preset to change; overrides the key ``preset``.

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
    content = read_keys(source)
    named = content.pop("preset", "default")
    merged = preset(base or named).to_dict()  # type: ignore[arg-type]
    _merge(merged, content, where)
    _merge(merged, _nest(overrides or {}), "the overrides")
    return _build(merged)


def dump_config(config: TrainingConfig) -> str:
    """
    A configuration as YAML text with every key, whatever preset it came from.

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


def add_config_arguments(parser: ArgumentParser) -> None:
    """
    Add one option per key (``--data.batch_size 8``) to a command.

    Options that are not given on the command line are not in the result, which can thus be
    the ``overrides`` of `load_config`.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    parser.add_argument("--name", type=str, default=SUPPRESS, help="name of the recipe")
    for section, kind in SECTIONS.items():
        documented = _documentation(kind)
        for key in dataclasses.fields(kind):
            parser.add_argument(
                f"--{section}.{key.name}",
                type=key.type,
                default=SUPPRESS,
                help=documented.get(key.name),
            )


def _documentation(kind):
    """First sentences on each parameter in a numpydoc docstring; empty under ``python -OO``."""
    found, names = {}, []
    for line in (kind.__doc__ or "").partition("----------\n")[2].splitlines():
        if line.startswith("    ") and line[4:5].strip():
            names = [name.strip() for name in line.partition(" : ")[0].split(",")]
        elif line.strip():
            for name in names:
                found[name] = f"{found.get(name, '')} {line.strip()}".strip().replace("%", "%%")
    return found


def read_keys(source: FilePath | dict[str, Any] | None) -> dict[str, Any]:
    """
    Read the keys that a file or a dictionary has, without those of a preset.

    Parameters
    ----------
    source : path-like, dict or None
        As for `load_config`.

    Returns
    -------
    keys : dict
        Nested; neither names nor values are checked.

    Raises
    ------
    OSError
        If the file cannot be read.
    TypeError, ValueError
        If it does not hold keys and values.
    """
    if source is None:
        return {}
    if isinstance(source, dict):
        return _nest(source)
    path = home_path(source)
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
    """Replace known values by others; unknown keys are refused."""
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
        for section, kind in SECTIONS.items()
        for entry in dataclasses.fields(kind)
    } | {name: name for name in ("preset", "name", *SECTIONS)}
    section, _, last = key.rpartition(".")
    # A right name in the wrong section is as common as a misspelled one.
    own = [name for full, name in keys.items() if full.startswith(f"{section}.")]
    for names in ([last], difflib.get_close_matches(last, own or keys.values(), n=1)):
        near = [full for full, name in keys.items() if name in names]
        near.sort(key=lambda full: not full.startswith(f"{section}."))
        if near:
            return f"did you mean {near[0]!r}?"
    known = [full for full in keys if full.startswith(f"{section}.")]
    return f"known are {', '.join(known or ['preset', 'name', *SECTIONS])}"


def _build(content):
    """Let jsonargparse convert plain values to the types of the fields."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False, parser_mode=parser_mode())
    add_config_arguments(parser)
    try:
        parsed = parser.parse_object(content, defaults=False)
    except ArgumentError as error:
        raise ValueError(" ".join(str(error).split())) from error
    sections = {name: kind(**vars(parsed[name])) for name, kind in SECTIONS.items()}
    return TrainingConfig(name=parsed["name"], **sections)
