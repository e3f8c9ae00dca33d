# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan doctor``: what this machine has, and what is amiss."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan._version import __version__
from splus_srgan.cli.output import say

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "say what this installation has: devices, engines, weights, folders, versions"

_NEEDED = ("numpy", "scipy", "astropy", "torch", "safetensors", "photutils", "reproject")
_OPTIONAL = (
    "openvino",
    "lightning",
    "matplotlib",
    "jinja2",
    "splusdata",
    "pyvo",
    "shtab",
    "distributed",
)


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    parser.add_argument(
        "-o", "--output", type=str, metavar="DIR", default=".",
        help="folder that is to be written to",
    )  # fmt: skip


def run(options: Namespace) -> int:
    """
    Look at everything and say what was found.

    Parameters
    ----------
    options : namespace
        Of the command.

    Returns
    -------
    status : int
        0 where all is well, 1 where something is amiss.
    """
    amiss = 0
    for name, look in _LOOKS.items():
        try:
            found = look(options)
        except Exception as error:  # any error is the answer here
            amiss += 1
            found = f"AMISS: {' '.join(str(error).split()) or type(error).__name__}"
        say(f"{name:10s} {found}")
    return min(amiss, 1)


def _program(options: Namespace) -> str:
    return f"splus_srgan {__version__}, Python {platform.python_version()}, {platform.platform()}"


def _versions(options: Namespace) -> str:
    missing = [name for name in _NEEDED if not _version(name)]
    if missing:
        raise ImportError(f"{', '.join(missing)} not installed: install splus_srgan anew")
    return ", ".join(f"{name} {_version(name)}" for name in _NEEDED)


def _extras(options: Namespace) -> str:
    return ", ".join(f"{name} {_version(name) or 'absent'}" for name in _OPTIONAL)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _devices(options: Namespace) -> str:
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = [f"cpu ({cores} cores, {torch.get_num_threads()} threads)"]
    for number in range(torch.cuda.device_count()):
        found.append(f"cuda:{number} ({torch.cuda.get_device_name(number)})")
    return ", ".join(found)


def _engine(options: Namespace) -> str:
    """Make a small image with the shipped weights, as `SRGANEnhancer` does by default."""
    import warnings

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.exceptions import SplusSrganWarning
    from splus_srgan.simulate.field import simulate_field

    field = simulate_field(4, shape=(48, 48), bands=("r",), kind="stars").observed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SplusSrganWarning)
        made = SRGANEnhancer()(field)["r"].meta
    return f"{made['SRENGINE']} in {made['SRPREC']} on {made['SRDEVICE']}, and works"


def _weights(options: Namespace) -> str:
    from splus_srgan.models.weights import available, verify

    for name in available():
        verify(name)
    return f"{', '.join(available())}: all whole"


def _cache(options: Namespace) -> str:
    from astropy.config.paths import get_cache_dir

    folder = Path(get_cache_dir())
    _write_in(folder)
    return f"{folder} can be written to"


def _output(options: Namespace) -> str:
    folder = Path(options.output)
    _write_in(folder)
    return f"{folder.resolve()} can be written to"


def _write_in(folder: Path) -> None:
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")


_LOOKS = {
    "program": _program,
    "versions": _versions,
    "extras": _extras,
    "devices": _devices,
    "engine": _engine,
    "weights": _weights,
    "cache": _cache,
    "output": _output,
}
