# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""YAML of configurations, within limits: whatever it says, reading it ends, and soon."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FilePath

__all__ = ["LIMITS", "check_yaml", "load_yaml", "parser_mode", "read_text"]

LIMITS = {"bytes": 1_000_000, "depth": 20, "values": 100_000}
"""What a configuration may have at most: bytes, levels of nesting, and values."""

_MODE = "bounded_yaml"


def read_text(path: FilePath) -> str:
    """
    Read a text file that has to be of a sensible size, and a file.

    Parameters
    ----------
    path : path-like
        File.

    Returns
    -------
    text : str
        Its content.

    Raises
    ------
    OSError
        If it cannot be read, or is a pipe or a device.
    ValueError
        If it is too large, or no text in UTF-8.
    """
    path = Path(path)
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        what = "a folder" if path.is_dir() else "a pipe or a device"
        raise OSError(f"{path} is {what}; give a regular file")
    with path.open("rb") as file:
        content = file.read(LIMITS["bytes"] + 1)
    if len(content) > LIMITS["bytes"]:
        raise ValueError(f"{path} must have at most {LIMITS['bytes']} bytes to be a configuration")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} must be text in UTF-8: {error}") from None


def check_yaml(text: str) -> None:
    """
    Refuse a YAML text that would unfold beyond all limits.

    Parameters
    ----------
    text : str
        YAML.

    Raises
    ------
    ValueError
        If it is no YAML, is too long or nested too deep, has a key twice, or refers to
        itself: anchors and aliases are not needed in a configuration, and not taken.
    """
    import yaml

    if len(text) > LIMITS["bytes"]:
        raise ValueError(f"the text must have at most {LIMITS['bytes']} characters")
    depth, values = 0, 0
    try:
        # Events come one after the other: nothing is built, nothing recurses.
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if getattr(event, "anchor", None) is not None:
                raise ValueError(
                    f"anchors and aliases (&{event.anchor}, *{event.anchor}) are not taken; "
                    "write the value out"
                )
            values += isinstance(event, yaml.ScalarEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > LIMITS["depth"] or values > LIMITS["values"]:
                raise ValueError(
                    f"values must be nested at most {LIMITS['depth']} deep, and be at most "
                    f"{LIMITS['values']}"
                )
    except yaml.YAMLError as error:
        raise ValueError(" ".join(str(error).split())) from error


def load_yaml(text: str) -> Any:
    """
    Read a YAML text, within limits.

    Parameters
    ----------
    text : str
        YAML.

    Returns
    -------
    content : object
        Plain values, lists and dictionaries.

    Raises
    ------
    ValueError
        As `check_yaml`.

    Examples
    --------
    >>> from splus_srgan.utils.bounded_yaml import load_yaml
    >>> load_yaml("{crop: 48, bands: [g, r]}")
    {'crop': 48, 'bands': ['g', 'r']}
    >>> load_yaml("a: &a [*a]")
    Traceback (most recent call last):
    ...
    ValueError: anchors and aliases (&a, *a) are not taken; write the value out
    """
    import yaml

    check_yaml(text)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def parser_mode() -> str:
    """
    Let the parsers of jsonargparse read values and files within these limits.

    Returns
    -------
    mode : str
        Value of ``parser_mode`` for a `jsonargparse.ArgumentParser`.
    """
    import yaml
    from jsonargparse import get_loader, set_loader

    inner = get_loader("yaml")

    def load(text: str) -> Any:
        check_yaml(text)
        try:
            return inner(text)
        except yaml.YAMLError as error:
            raise ValueError(" ".join(str(error).split())) from error

    set_loader(_MODE, load, exceptions=(ValueError,))
    return _MODE
