# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Names that can be those of files, folders to write to, and files that are whole or absent."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from splus_srgan.utils.types import FilePath

__all__ = [
    "FITS_ENDINGS",
    "UNFINISHED",
    "atomic_path",
    "check_folder",
    "check_name",
    "check_not_read",
    "check_target",
    "check_targets",
    "fits_stem",
    "home_path",
    "local_path",
    "make_folder",
    "replace_file",
    "safe_name",
]

FITS_ENDINGS = (".fits", ".fit", ".fts", ".fits.gz", ".fits.fz", ".fit.gz", ".fts.gz")
"""Endings of the FITS files that are written, in small letters."""

UNFINISHED = r"\..*\.[0-9a-f]{32}(\.\w+)*"
"""Names of the files that a kill leaves of `atomic_path`, as a regular expression."""

_NAME = re.compile(r"[A-Za-z0-9_+][A-Za-z0-9_.+-]*")
_LONGEST = 200  # bytes; file systems take 255, and an ending and the mark of a temporary file
_OF_WINDOWS = re.compile(r"(?i)(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?")


def fits_stem(name: str) -> str:
    """
    Take the ending of a FITS file off its name.

    Parameters
    ----------
    name : str
        Name of the file.

    Returns
    -------
    stem : str
        The rest; the name itself if it has no such ending.

    Examples
    --------
    >>> from splus_srgan.utils.files import fits_stem
    >>> fits_stem("NGC_1365.fits.fz"), fits_stem("NGC_1365.fits"), fits_stem("NGC.1365")
    ('NGC_1365', 'NGC_1365', 'NGC.1365')
    """
    for endings in ((".gz", ".fz", ".bz2"), (".fits", ".fit", ".fts")):
        ending = next((one for one in endings if name.lower().endswith(one)), "")
        name = name.removesuffix(name[len(name) - len(ending) :])
    return name


def check_name(name: str, *, parameter: str = "name") -> str:
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


def safe_name(name: object) -> str:
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


def check_folder(folder: FilePath) -> None:
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
    folder = home_path(folder)
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(
                f"cannot write to {folder}: {place} is a file; choose another folder"
            )


def make_folder(folder: FilePath) -> None:
    """
    Make a folder, and those that it is in, where they are missing.

    Parameters
    ----------
    folder : path-like
        It may exist.

    Raises
    ------
    OSError
        If it cannot be made, as where a file stands in its place.
    """
    check_folder(folder)
    try:
        home_path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            f"the folder {folder} cannot be made ({error.strerror or error}); choose another"
        ) from error


def home_path(name: FilePath) -> Path:
    """
    Make a path of a name, whose leading ``~`` is the home folder.

    Parameters
    ----------
    name : path-like
        Of a file or folder.

    Returns
    -------
    path : `~pathlib.Path`
        As it was named where a user is unknown: that is a name like any other, while
        `pathlib.Path.expanduser` raises.

    Examples
    --------
    >>> from splus_srgan.utils.files import home_path
    >>> home_path("~nobody-of-that-name/a.fits").parts[0]
    '~nobody-of-that-name'
    """
    return Path(os.path.expanduser(name))


def local_path(path: FilePath | bytes) -> Path:
    """
    Make a path of what names a file, or say what to do.

    Parameters
    ----------
    path : path-like or bytes
        A leading ``~`` is the home folder.

    Returns
    -------
    path : `~pathlib.Path`
        Without ``~``; it need not exist.

    Raises
    ------
    TypeError
        If it is no name, such as an open file.
    FileNotFoundError
        If it is not on this machine, or no name can be so.

    Examples
    --------
    >>> from splus_srgan.utils.files import local_path
    >>> local_path(b"a.fits").name
    'a.fits'
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(
            f"path must be the name of a file; got {type(path).__name__}; give the name instead"
        )
    name = os.fsdecode(path)
    if "\0" in name:
        raise FileNotFoundError(f"a path must hold no null character; got {name!r}")
    if found := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/", name):
        raise FileNotFoundError(
            f"{name} is not on this machine ({found[1]}); use a file here, downloaded for example "
            "by astropy.utils.data.download_file"
        )
    return home_path(name)


def check_target(path: FilePath, *, overwrite: bool = False) -> Path:
    """
    Make sure, before any work is done, that a file can be written.

    Parameters
    ----------
    path : path-like
        The file to be. A leading ``~`` is the home folder.
    overwrite : bool, optional
        Whether it may exist.

    Returns
    -------
    path : `~pathlib.Path`
        The same path, without ``~``.

    Raises
    ------
    FileExistsError
        If it exists and ``overwrite`` is not set.
    OSError
        If it is a folder, a device, a pipe, a socket or a link in a circle, or its folder is
        missing or not writable.
    """
    path = local_path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the name of a file")
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is a device, a pipe or a socket; give the name of a file")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")
    target = Path(os.path.realpath(path))  # through a link, not over it
    if target.is_symlink():
        raise OSError(
            f"{path} is a link that leads back to itself; remove it, or give another name"
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(f"the folder {target.parent} does not exist; create it first")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"the folder {target.parent} is not writable; choose another")
    return path


def check_targets(paths: Iterable[Path], *, overwrite: bool = False) -> None:
    """
    Make sure that files can be written to a folder that may still have to be made.

    Parameters
    ----------
    paths : iterable of `~pathlib.Path`
        Files to be.
    overwrite : bool, optional
        Whether they may exist.

    Raises
    ------
    OSError
        As by `check_target`, for what is there.
    """
    for path in paths:
        if os.path.lexists(path):  # also a link that leads nowhere
            check_target(path, overwrite=overwrite)


def check_not_read(targets: Iterable[FilePath], sources: Iterable[FilePath]) -> None:
    """
    Make sure, before any work is done, that no file is written over one that it is made of.

    Parameters
    ----------
    targets, sources : iterable of path-like
        Files to be, and files to read, under whatever names and through whatever links.

    Raises
    ------
    ValueError
        If a file is among both.
    """
    read = {}
    for source in sources:
        with contextlib.suppress(OSError, ValueError):  # told when it is read
            found = os.stat(home_path(source))
            read[found.st_dev, found.st_ino] = source
    for target in targets:
        with contextlib.suppress(OSError):
            found = os.stat(home_path(target))
            if (found.st_dev, found.st_ino) in read:
                raise ValueError(
                    f"{target} must not be a file that is read; it is "
                    f"{read[found.st_dev, found.st_ino]}; choose another name or folder"
                )


@contextlib.contextmanager
def atomic_path(path: FilePath, *, overwrite: bool = False) -> Iterator[Path]:
    """
    Give the name of a file to write, which then takes its place at once.

    The file is whole or not there: it is written beside its place under a name that nobody can
    know before, brought to the disk, and renamed. Whatever interrupts the work, nothing is left
    behind, and an old file stays as it is. It can be read by those alone who may read the old
    file, from its first byte on.

    Parameters
    ----------
    path : path-like
        The file to be. If it is a link, the file that it leads to.
    overwrite : bool, optional
        Whether it may exist.

    Yields
    ------
    temporary : `~pathlib.Path`
        An empty file beside it with the same ending. Whoever writes to it must take what exists.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not set, also if it came meanwhile.
    OSError
        If it cannot be written, for example on a full disk, or is no regular file.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from splus_srgan.utils.files import atomic_path
    >>> with TemporaryDirectory() as folder:
    ...     with atomic_path(f"{folder}/notes.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     [file.name for file in Path(folder).iterdir()]
    ['notes.txt']
    """
    path = check_target(path, overwrite=overwrite)
    target = Path(os.path.realpath(path))
    ending = "".join(target.suffixes[-2:]) if target.suffix in (".gz", ".fz") else target.suffix
    # Not longer than the name itself may be: file systems take 255 bytes.  See UNFINISHED.
    temporary = target.with_name(f".{target.name[:40]}.{uuid.uuid4().hex}{ending[:20]}")
    try:
        mode = _create(temporary, target)
        yield temporary
        _to_disk(temporary)
        temporary.chmod(mode)
        _take_place(temporary, target, path, overwrite)
    except (FileExistsError, ConnectionError):  # a lost cluster is not the disk's fault
        raise
    except OSError as error:
        message = (
            f"{path} could not be written ({error.strerror or error}); nothing was left behind; "
            f"free some space or choose another folder"
        )
        raise OSError(*([error.errno] if error.errno else []), message) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_file(path: FilePath, content: str | bytes, *, overwrite: bool = True) -> None:
    """
    Write a whole file at once, as `atomic_path` does.

    Parameters
    ----------
    path : path-like
        The file to be.
    content : str or bytes
        What it holds; text is written as UTF-8 with the line ends that it has.
    overwrite : bool, optional
        Whether it may exist.

    Raises
    ------
    OSError
        As by `atomic_path`.
    """
    content = content.encode("utf-8") if isinstance(content, str) else content
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_bytes(content)


def _create(temporary: Path, target: Path) -> int:
    """Make an empty file that is as private as the one to be, and give the final mode."""
    old = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(temporary, flags, 0o666 if old is None else (old & 0o777) | stat.S_IWUSR)
    try:
        return stat.S_IMODE(os.fstat(handle).st_mode) if old is None else old
    finally:
        os.close(handle)


def _to_disk(path: Path) -> None:
    """Make sure the bytes are on the disk before the old file goes."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _take_place(temporary: Path, target: Path, path: Path, overwrite: bool) -> None:
    check_target(path, overwrite=overwrite)  # another process may have been faster
    if overwrite:
        temporary.replace(target)
    else:
        _link(temporary, target, path)
    if hasattr(os, "O_DIRECTORY"):
        # The name is on the disk as well; not all file systems can say so.
        with contextlib.suppress(OSError):
            handle = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)


def _link(temporary: Path, target: Path, path: Path) -> None:
    """Rename a file to a name that must be free."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it") from None
    except (OSError, AttributeError):  # a file system without hard links
        temporary.replace(target)
