# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Many fields, here or on the workers of a cluster: one that fails does not stop the others."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import time
import uuid
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.table import Table

from splus_srgan.enhance.batch_list import MADE, FieldReader
from splus_srgan.images.io.plausible import check_headers, check_regular
from splus_srgan.utils.cluster import (
    calls_as_completed,
    check_client,
    one_at_a_time,
    unpickle_once,
)
from splus_srgan.utils.files import (
    atomic_path,
    check_folder,
    check_not_read,
    check_target,
    home_path,
    make_folder,
)
from splus_srgan.utils.quiet import about, names_shown
from splus_srgan.utils.tables import read_table

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence
    from typing import Any

    from splus_srgan.enhance.batch_list import BatchField
    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.utils.types import FilePath, ProgressBar

__all__ = ["SUMMARY", "enhance_batch"]

SUMMARY = "summary.ecsv"
"""Name of the table of the outcome for each field."""

_COLUMNS = ("name", "status", "reason", "seconds", "output")
_OF_THE_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def enhance_batch(
    enhancer: SRGANEnhancer,
    fields: Sequence[BatchField],
    folder: FilePath,
    *,
    resume: bool = False,
    overwrite: bool = False,
    progress_bar: ProgressBar | None = None,
    client: Any = None,
    **options: Any,
) -> Table:
    """
    Enhance many fields into files, and continue if one fails.

    While one field is enhanced and written, the next one is read.  With a cluster, each worker
    reads, enhances and writes one field at a time; the files differ in their dates only.  Warnings
    begin with the name of their field.

    Parameters
    ----------
    enhancer : `~splus_srgan.enhance.enhancer.SRGANEnhancer`
        Enhancer.
    fields : list of `~splus_srgan.enhance.batch_list.BatchField`
        As of `~splus_srgan.enhance.batch_list.list_fields`.
    folder : path-like
        Where ``<name>_sr.fits`` and ``summary.ecsv`` go; made if needed.
    resume : bool, optional
        Skip fields whose output exists and is complete.
    overwrite : bool, optional
        Whether outputs of other runs may be replaced.
    progress_bar : callable, optional
        Wraps the list of fields.
    client : `distributed.Client`, optional
        Client of a cluster, whose workers find input and output under the same paths as this
        process.  A field whose worker is lost is started again on another, at most three times.
    **options
        ``bands``, ``hdu`` and ``unit`` of `~splus_srgan.images.io.fields.read_bands` for fields
        that do not state their own.

    Returns
    -------
    summary : `~astropy.table.Table`
        A row per field: ``name, status`` (``"done"``, ``"failed"`` or ``"skipped"``),
        ``reason, seconds, output``.  It is written to the folder as well, after each field.

    Raises
    ------
    FileExistsError
        If an output exists, and neither ``resume`` nor ``overwrite`` is set; or if ``summary.ecsv``
        is there, but is none.
    ValueError
        If an output would be one of the files that are read.
    OSError
        If the folder cannot be made, the disk is full, the client is closed, or the scheduler is
        lost: errors that do not come from a field.
    """
    if client is not None:
        check_client(client, idle=True)
    folder = home_path(folder)
    check_folder(folder)
    outputs = {field.name: folder / f"{field.name}{MADE}.fits" for field in fields}
    check_not_read(outputs.values(), (path for field in fields for path in field.files()))
    _check_summary(folder / SUMMARY, overwrite)
    there = [name for name, path in outputs.items() if path.exists()]
    if there and not (resume or overwrite):
        raise FileExistsError(
            f"{outputs[there[0]]} exists; pass resume=True to skip what is done, or "
            "overwrite=True to replace it"
        )
    make_folder(folder)
    rows, todo = [], []
    for field in fields:
        output = outputs[field.name]
        if resume and field.name in there and _is_made(output):
            rows.append(_row(field, "skipped", "it is there", 0.0, output))
        elif field.name in there and not overwrite:
            reason = f"{output} is not a complete output; remove it, or overwrite it"
            rows.append(_row(field, "failed", reason, 0.0, output))
        else:
            todo.append(field)
    if client is None:
        ends = _here(enhancer, todo, outputs, overwrite, options)
    else:
        ends = _on_workers(client, enhancer, todo, outputs, options)
    by_name = {field.name: field for field in todo}
    with closing(ends):
        for _ in progress_bar(todo) if progress_bar else todo:
            name, status, reason, seconds = next(ends)
            rows.append(_row(by_name[name], status, reason, seconds, outputs[name]))
            _write(folder / SUMMARY, rows, fields)
    return _write(folder / SUMMARY, rows, fields)


def _check_summary(path: Path, overwrite: bool) -> None:
    """Refuse to write over a file that only happens to have this name."""
    if path.exists() or path.is_symlink():
        check_target(path, overwrite=True)
        try:
            ours = set(read_table(path).colnames) == set(_COLUMNS)
        except OSError:
            ours = not path.exists()
        if not (ours or overwrite):
            raise FileExistsError(
                f"{path} is not the summary of a batch; choose another folder, or pass "
                "overwrite=True to replace it"
            )


def _is_made(path: Path) -> bool:
    """Whether an output is there from its beginning to its end."""
    try:
        check_regular(path)
        headers = check_headers(path)
    except (OSError, ValueError):
        return False
    return bool(headers) and "SRBANDS" in headers[0]


def _here(
    enhancer: SRGANEnhancer,
    todo: Sequence[BatchField],
    outputs: Mapping[str, Path],
    overwrite: bool,
    options: Mapping[str, Any],
) -> Generator[Any, None, None]:
    """Enhance in this process; the pixels of the next field are read meanwhile."""
    source = FieldReader(options)

    def read(field: BatchField) -> Any:
        with about(field.name):
            return source.read(field)

    with names_shown(), ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(read, field) for field in todo[:1]]
        for k, field in enumerate(todo):
            coming += [reader.submit(read, later) for later in todo[k + 1 : k + 2]]
            result = coming.pop(0).result
            with about(field.name):
                end = _attempt(enhancer, result, outputs[field.name], overwrite)
            yield field.name, *end


def _attempt(
    enhancer: SRGANEnhancer, read: Callable[[], Any], output: Path, overwrite: bool
) -> tuple[str, str, float]:
    """Read a field, enhance it and write it: status, reason, seconds."""
    start = time.perf_counter()
    status, reason = "done", ""
    try:
        enhancer.to_file(read(), output, overwrite=overwrite)
    except Exception as error:
        if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
            raise
        status, reason = "failed", " ".join(str(error).split()) or type(error).__name__
    return status, reason, time.perf_counter() - start


def _on_workers(
    client: Any,
    enhancer: SRGANEnhancer,
    todo: Sequence[BatchField],
    outputs: Mapping[str, Path],
    options: Any,
) -> Generator[Any, None, None]:
    """Enhance on the workers of a cluster: only rows of the summary come back."""
    enhancer = copy.copy(enhancer)
    enhancer.progress_bar = None  # of blocks, which nobody would see there
    # A unique name, so that no result of another batch is reused.
    pickled = pickle.dumps((enhancer, FieldReader(options), uuid.uuid4().hex))
    calls = (
        (field.name, (pickled, field.absolute(), os.path.abspath(outputs[field.name])))
        for field in todo
    )
    for name, end in calls_as_completed(client, _on_worker, calls):
        told, *end = end or ((), "failed", "its workers were lost, one after the other", 0.0)
        for category, text in told:
            warnings.warn(f"{name}: {text}", category, stacklevel=4)
        yield name, *end


def _on_worker(pickled: bytes, field: BatchField, output: Path) -> tuple[Any, ...]:
    """Work of a worker: gives the warnings of this package, status, reason and seconds."""
    with one_at_a_time() as told:
        enhancer, source, _ = unpickle_once(pickled)
        # An existing output may be replaced, or was made by a worker that was lost afterwards.
        end = _attempt(enhancer, lambda: source.read(field), Path(output), overwrite=True)
    return told, *end


def _row(
    field: BatchField, status: str, reason: str, seconds: float, output: Path
) -> dict[str, Any]:
    made = "" if status == "failed" else output.name
    return dict(zip(_COLUMNS, (field.name, status, reason, round(seconds, 3), made), strict=True))


def _write(path: FilePath, rows: Any, fields: Sequence[BatchField]) -> Table:
    """Write the table, in the order of the fields."""
    order = {field.name: k for k, field in enumerate(fields)}
    table = Table(rows=sorted(rows, key=lambda row: order[row["name"]]))
    table["seconds"].unit = "s"
    with atomic_path(path, overwrite=True) as temporary:
        table.write(temporary, format="ascii.ecsv", overwrite=True)
    return table
