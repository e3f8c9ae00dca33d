# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Folders to write to, and names that can be those of files."""

import re
from pathlib import Path

__all__ = ["check_folder", "check_name", "make_folder", "safe_name"]

_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+-]*")
_LONGEST = 200  # bytes; file systems take 255, and an ending and the mark of a temporary file
_OF_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def check_name(name, *, parameter="name"):
    """
    Return a name that can be that of a file or folder anywhere, or refuse it.

    Parameters
    ----------
    name : str
        Name, which must not lead out of the folder that it is used in.
    parameter : str, optional
        What the message calls it.

    Returns
    -------
    name : str
        The same.

    Raises
    ------
    ValueError
        If it is empty, too long, a path, hidden, or has letters that some system refuses.

    Examples
    --------
    >>> from splus_srgan.utils.files import check_name
    >>> check_name("NGC_1365")
    'NGC_1365'
    >>> check_name("../NGC_1365")
    Traceback (most recent call last):
    ...
    ValueError: name must begin with a letter, digit, '_' or '+' and ...; got '../NGC_1365'
    """
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name.endswith("."):
        raise ValueError(
            f"{parameter} must begin with a letter, digit, '_' or '+' and have only these, '.' "
            f"and '-' (not at its end: '.'); got {name!r}"
        )
    if len(name) > _LONGEST:
        raise ValueError(
            f"{parameter} must have at most {_LONGEST} letters; got {len(name)}: {name[:40]!r}..."
        )
    if _OF_WINDOWS.fullmatch(name):
        raise ValueError(f"{parameter} must not be the name of a device on Windows; got {name!r}")
    return name


def safe_name(name):
    """
    Make of any text a name that `check_name` takes.

    Parameters
    ----------
    name : object
        Text; runs of letters that a name cannot have become ``_``.

    Returns
    -------
    name : str
        The name.

    Raises
    ------
    ValueError
        If nothing is left that could be one.
    """
    return check_name(re.sub(r"[^A-Za-z0-9_.+-]+", "_", str(name).strip()))


def check_folder(folder):
    """
    Make sure, before any work is done, that nothing stands in the place of a folder.

    Parameters
    ----------
    folder : path-like
        It need not exist.

    Raises
    ------
    NotADirectoryError
        If it, or what it is to be in, is a file.
    """
    folder = Path(folder)
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(
                f"cannot write to {folder}: {place} is a file; choose another folder"
            )


def make_folder(folder):
    """
    Make a folder, and those that it is in, where they are missing.

    Parameters
    ----------
    folder : path-like
        It may exist.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the folder {folder} cannot be made ({error.strerror or error}); choose another"
        ) from error
