# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Folders to write to: clear words where there is none and none can be made."""

from pathlib import Path

__all__ = ["check_folder", "make_folder"]


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
