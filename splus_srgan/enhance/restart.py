# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Files of large fields that survive a killed run: repeating the call resumes it.

Beside the hidden output lies a journal with one line per step: the section, and a hash of its
bytes, of the input and of the options.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.enhance.output import outline
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.images.io.reserve import ReservedFile
from splus_srgan.images.io.write import build_hdus, check_writable
from splus_srgan.pixels.lazy import row_strips
from splus_srgan.utils.files import atomic_path, home_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

    from splus_srgan.enhance.field import Enhancement
    from splus_srgan.enhance.planes import Planes
    from splus_srgan.utils.types import FilePath

__all__ = ["Journal", "clean", "unfinished_file"]

_DATA, _JOURNAL = ".unfinished.fits", ".unfinished.json"
# File names of `atomic_path` and of this module.
_DEBRIS = r"\.{name}\.([0-9a-f]{{32}}(\.fits|\.fit|\.fts)(\.[gf]z)?|unfinished\.(fits|json))"
_ANY = r".{1,200}"


class Journal:
    """
    Finished steps of an output; each is recorded once it is in the file.

    Parameters
    ----------
    path : `~pathlib.Path`
        File of the journal, with its first line.
    lines : list of dict
        Lines that it has already.
    """

    def __init__(self, path: Path, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        self._path = path
        self._made: dict[Any, Any] = {}
        self._calibrated: dict[Any, Any] = {}
        for line in lines:
            self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        place = self._made if line["step"] == "made" else self._calibrated
        place[line["section"]] = line["sha256"]
        if line["step"] == "made":
            self._calibrated.pop(line["section"], None)

    @property
    def started(self) -> bool:
        """Whether any section is made."""
        return bool(self._made)

    def has(self, section: int, planes: Planes, place: tuple[slice, ...]) -> bool:
        """Whether a section is made, and its bytes are unchanged."""
        known = {self._made.get(section), self._calibrated.get(section)} - {None}
        return bool(known) and planes.digest(place) in known

    def calibrated(self, section: int) -> bool:
        """Whether the standard deviations of a section are final."""
        return section in self._calibrated

    def note(self, step: str, section: int, planes: Planes, place: tuple[slice, ...]) -> None:
        """Write down that a section is ``"made"`` or ``"calibrated"``."""
        line = {"step": step, "section": section, "sha256": planes.digest(place)}
        with self._path.open("ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
        self._take(line)


@contextmanager
def unfinished_file(
    path: FilePath, work: Enhancement, *, overwrite: bool = False
) -> Iterator[tuple[ReservedFile, Journal]]:
    """
    Lay out the output of a field, or continue the one that a killed run left.

    Parameters
    ----------
    path : path-like
        ``.fits``.
    work : `~splus_srgan.enhance.field.Enhancement`
        The work; its date becomes that of the first run.
    overwrite : bool, optional
        Whether the file may exist.

    Yields
    ------
    file : `~splus_srgan.images.io.reserve.ReservedFile`
        Takes pixels and cards.
    journal : `Journal`
        Journal of the finished sections.

    Raises
    ------
    OSError
        If the file cannot be written, or another process writes it.
    KeyboardInterrupt, ConnectionError
        If an interrupt comes after the first section, or a cluster is lost; the message says what
        is kept.  After any other error nothing is left behind.
    """
    path = check_writable(path, overwrite)
    target = Path(os.path.realpath(path))  # through a link, not over it
    data, log = (target.with_name(f".{target.name}{end}") for end in (_DATA, _JOURNAL))
    with _locked(log, path):
        journal = Journal(log)
        try:
            journal = _begin(data, log, work, path)
            hdus = build_hdus(outline(work))
            hdus.verify("exception")
            hdus.update_extend()
            file = ReservedFile(data, list(work.stack.bands), hdus, keep=journal.started)
            yield file, journal
            file.finish()
            with atomic_path(path, overwrite=overwrite) as temporary:
                data.replace(temporary)
        except (KeyboardInterrupt, ConnectionError) as error:
            if journal.started:
                interrupted = isinstance(error, KeyboardInterrupt)
                raise (KeyboardInterrupt if interrupted else ConnectionError)(
                    f"{str(error) or 'interrupted'}; the finished part of {path} is kept in "
                    "hidden files beside it; the same call resumes from there"
                ) from error
            _remove(data, log)
            raise
        except OSError as error:
            _remove(data, log)
            if "could not be written" in str(error) or error.errno is None:
                raise
            raise OSError(
                error.errno,
                f"{path} could not be written ({error.strerror or error}); nothing was left "
                "behind; free some space or choose another folder",
            ) from error
        except BaseException:
            _remove(data, log)
            raise
        _remove(log)


def _begin(data: Path, log: Path, work: Enhancement, path: Path) -> Journal:
    """The journal of a killed run of this same call, else a new one."""
    wanted = {"journal": 2, "date": work.record["date"]} | _identity(work)
    first, *lines = _read(log) or [{}]
    if first:
        other = next((key for key in ("input", "options") if first.get(key) != wanted[key]), None)
        if other is None and _is_plain_file(data):
            work.record["date"] = first["date"]
            # A line that the kill cut off must not be continued by the next one.
            os.truncate(log, log.read_bytes().rfind(b"\n") + 1)
            return Journal(log, lines)
        if _is_plain_file(data):
            said = "another input" if other == "input" else "other options"
            warnings.warn(
                f"a run with {said} left an unfinished {path}; it starts again",
                SplusSrganWarning,
                stacklevel=2,
            )
    _remove(data)
    target = path if path.exists() else None
    mode = 0o666 if target is None else (target.stat().st_mode & 0o777) | stat.S_IWUSR
    os.close(os.open(data, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))
    log.write_bytes(json.dumps(wanted).encode() + b"\n")
    return Journal(log)


def _read(log: Path) -> list[dict[str, Any]]:
    """Complete lines of a journal."""
    lines = []
    try:
        for text in log.read_bytes().split(b"\n")[:-1]:
            lines.append(json.loads(text))
        keys = {"step", "section", "sha256"}
        sound = lines[0]["journal"] == 2 and all(keys <= set(line) for line in lines[1:])
    except (ValueError, LookupError, TypeError):
        return []
    return lines if sound and isinstance(lines[0].get("date"), str) else []


def _is_plain_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _remove(*paths: Path) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


@contextmanager
def _locked(log: Path, path: Path) -> Iterator[None]:
    """Keep other processes from the same output, where the system can."""
    if log.is_symlink():
        raise OSError(errno.ELOOP, f"{path} cannot be written: {log} is a symbolic link; remove it")
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    handle = os.open(log, flags, 0o600)
    try:
        if not _lock(handle):
            raise BlockingIOError(f"{path} is being written by another process; wait for it")
        yield
    finally:
        os.close(handle)


def _lock(handle: Any) -> bool:
    try:
        import fcntl
    except ImportError:  # Windows
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _identity(work: Enhancement) -> dict[str, str]:
    """Hashes of the input, and of everything else on which the bytes of the output depend."""
    stack, record = work.stack, {k: v for k, v in work.record.items() if k != "date"}
    wcs = None if stack.wcs is None else stack.wcs.to_header_string(relax=True)
    given = hashlib.sha256(repr((stack.bands, str(stack.unit), wcs, stack.form)).encode())
    for meta in stack.metas:
        given.update(repr(meta).encode())
    for planes in (stack.data, stack.mask):
        for plane in planes:
            for rows in row_strips(len(plane)):
                strip: Any = np.ascontiguousarray(plane[rows])
                given.update(strip)
    libraries = [restorer.runner.libraries for restorer in work.restorers]
    unusual = [work.report.of_band(band) for band in stack.bands]
    options = (record, work.strength, work.uncertainty, work.block_size, _cards(work))
    options = (*options, unusual, work.sky_measured, work.stars)
    chosen = hashlib.sha256(repr((*options, work.input_psfs, libraries, np.__version__)).encode())
    for planes in (work.sky, work.sigma):
        level: Any = np.ascontiguousarray(planes)
        chosen.update(level)
    return {"input": given.hexdigest(), "options": chosen.hexdigest()}


def _cards(work: Enhancement) -> list[tuple[Any, ...]]:
    return [(restorer.card.to_dict(), restorer.places) for restorer in work.restorers]


def clean(path: FilePath) -> list[Path]:
    """
    Remove the hidden files that killed runs left behind.

    Parameters
    ----------
    path : path-like
        The output that they were to write, or a folder of outputs.  Files that another process is
        writing are left alone as far as that can be known: not for outputs of less than about
        1400 pixels squared, so clean up when no run is writing there.

    Returns
    -------
    removed : list of `~pathlib.Path`
        The removed files.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from splus_srgan.enhance.restart import clean
    >>> with TemporaryDirectory() as folder:
    ...     _ = Path(folder, ".sharp.fits.unfinished.fits").write_bytes(b"")
    ...     [file.name for file in clean(f"{folder}/sharp.fits")]
    ['.sharp.fits.unfinished.fits']
    """
    path = home_path(path)
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        raise FileNotFoundError(f"the folder {folder} does not exist")
    names = [_ANY] if path.is_dir() else [re.escape(path.name), re.escape(path.name[:40])]
    patterns = [re.compile(_DEBRIS.format(name=name), re.IGNORECASE) for name in names]
    removed = []
    for file in sorted(folder.iterdir()):
        ours = any(pattern.fullmatch(file.name) for pattern in patterns)
        if ours and _is_plain_file(file) and not _is_written(file):
            file.unlink()
            removed.append(file)
    return removed


def _is_written(file: Path) -> bool:
    """Whether a process holds the journal of an unfinished output."""
    for end in (_DATA, _JOURNAL):
        if file.name.endswith(end):
            log = file.with_name(file.name.removesuffix(end) + _JOURNAL)
            with suppress(OSError):
                handle = os.open(log, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    return not _lock(handle)
                finally:
                    os.close(handle)
    return False
