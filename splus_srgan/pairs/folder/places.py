# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The files in a folder of pairs, and which of them may be replaced or removed.

Only files made by this package are touched: the folder of a pair, recognized by its record; the
files of an unfinished pair, by their names; the index and the contact sheet, by their content.
No folder is removed together with unknown files in it.
"""

from contextlib import suppress

from splus_srgan.pairs.folder import records
from splus_srgan.pairs.folder.schema import SIDES
from splus_srgan.utils.files import check_name

__all__ = [
    "INDEX",
    "RECORD",
    "SETTINGS",
    "SHEET",
    "STAGING",
    "building_folder",
    "check_index",
    "check_pair_name",
    "check_replaceable",
    "list_sides",
    "put_in_place",
    "unstage",
]

INDEX, RECORD, SETTINGS = "index.ecsv", "record.json", "settings.json"
SHEET = "contact_sheet.png"
STAGING = ".unfinished"
"""Folder, within that of the pairs, of pairs that are fetched but not finished."""

_BUILDING, _REPLACED = "pair", "replaced"
_FILES = (*(f"{side}.fits" for side in SIDES), RECORD)
_OURS = (*_FILES, *(f"{side}.json" for side in SIDES))  # with notes of what is fetched


def check_pair_name(name):
    """Return a name if it can be that of a pair, else refuse it."""
    if check_name(name).lower() in (INDEX, SETTINGS, SHEET):
        raise ValueError(f"name must not be that of a file of the folder; got {name!r}")
    return name


def list_sides(folder, name):
    """Give the files of a pair by side."""
    return {side: folder / name / f"{side}.fits" for side in SIDES}


def check_replaceable(folder, name):
    """
    Make sure that the place of a pair is free, or holds a pair made by this package.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the pairs.
    name : str
        Name of the pair.

    Raises
    ------
    FileExistsError
        If there is something else in that place, or more than the files of a pair.
    """
    place = folder / name
    if place.is_symlink() or (place.exists() and not place.is_dir()):
        raise FileExistsError(f"{place} is not the folder of a pair; choose another name")
    if not place.exists():
        return
    if not _is_pair(place):
        raise FileExistsError(
            f"{place} is a folder that is not a pair (it has no sound {RECORD}), and is left "
            "alone; choose another name or another folder for the pairs"
        )
    others = sorted(one.name for one in place.iterdir() if one.name not in _FILES)
    if others:
        raise FileExistsError(
            f"{place} holds more than its pair, {', '.join(others[:5])}, which would be lost; move "
            "that elsewhere, or choose another name"
        )


def _is_pair(place):
    try:
        return records.read_record(place / RECORD) is not None
    except ValueError:
        return False


def check_index(folder):
    """
    Make sure that the index and the unfinished pairs are absent or made by this package.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the pairs.

    Raises
    ------
    FileExistsError
        If a file of that name is not an index of pairs, or the folder of unfinished
        pairs is a link or a file.
    """
    index, staging = folder / INDEX, folder / STAGING
    if (index.exists() or index.is_symlink()) and not records.is_index(index):
        raise FileExistsError(
            f"{index} is not an index of pairs, and is left alone; choose another folder"
        )
    if staging.is_symlink() or (staging.exists() and not staging.is_dir()):
        raise FileExistsError(f"{staging} is not a folder; remove it, or choose another folder")


def building_folder(folder, name):
    """
    Make an empty folder to build a pair in, beside what was fetched for it.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the pairs.
    name : str
        Name of the pair.

    Returns
    -------
    building : `~pathlib.Path`
        The folder, without what a killed run may have left there.
    """
    building = folder / STAGING / name / _BUILDING
    _remove_files(building)
    building.mkdir(parents=True, exist_ok=True)
    return building


def put_in_place(folder, name):
    """
    Move a complete pair to its place; the one that it replaces stays until then.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the pairs.
    name : str
        Name of the pair.

    Raises
    ------
    FileExistsError
        If what is there is not a pair of this package.
    """
    place, replaced = folder / name, folder / STAGING / name / _REPLACED
    check_replaceable(folder, name)
    _remove_files(replaced)
    if place.exists():
        place.rename(replaced)
    try:
        (folder / STAGING / name / _BUILDING).rename(place)
    except OSError:
        if replaced.exists():
            replaced.rename(place)
        raise
    unstage(folder, name)


def unstage(folder, name=None):
    """Remove the files fetched for one pair or for all, and nothing else."""
    staging = folder / STAGING
    if staging.is_symlink() or not staging.is_dir():
        return
    for one in [staging / name] if name is not None else list(staging.iterdir()):
        if one.is_symlink():
            continue
        _remove_files(one / _BUILDING)
        _remove_files(one / _REPLACED)
        _remove_files(one)
    with suppress(OSError):  # of other pairs, or foreign
        staging.rmdir()


def _remove_files(folder):
    """Remove the files of a pair from a folder, finished or not, and then the folder."""
    if folder.is_symlink() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if path.name in _OURS or _is_temporary(path.name):
            path.unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()


def _is_temporary(name):
    """Whether a name is that of a temporary file, to be renamed to a file of a pair."""
    return name.startswith(tuple(f".{one}." for one in _OURS))
