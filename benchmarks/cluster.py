# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
A batch of fields here, and on one worker and two of dask.distributed, one thread each.

Prints how long each takes without the start of its processes, and whether the outputs are
the same (but for the cards of the date); then how much memory a scheduler has, which runs in a
process of its own, while its workers cut many small parts out of a field and enhance them.
The same follows for the sections of one field, also where a worker is killed half way.
"""

import functools
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path

from _common import TEST_SEED, busy_note, make_parser, parse, print_table
from astropy.io.fits import FITSDiff
from astropy.table import Table
from distributed import Client

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.enhance import field as enhancement
from splus_srgan.enhance.batch import enhance_batch
from splus_srgan.enhance.batch_list import list_fields
from splus_srgan.enhance.tiles import sections
from splus_srgan.images.io.fields import read_bands, write_bands

_SMALL = 24  # side of a small part, input pixels


@contextmanager
def cluster(folder, number):
    """A scheduler and workers as ``dask scheduler`` and ``dask worker`` start them."""
    file = folder / f"scheduler_{number}.json"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    where = ["--scheduler-file", file]
    commands = [["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", *where]]
    commands += number * [["worker", "--nthreads", "1", "--no-dashboard", *where]]
    with ExitStack() as stack:
        for command in commands:
            process = subprocess.Popen(
                [sys.executable, "-m", "dask", *command],
                env=environment,
                cwd=folder,
                stderr=subprocess.DEVNULL,
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
        while not file.exists():
            time.sleep(0.1)
        client = stack.enter_context(Client(scheduler_file=str(file)))
        client.wait_for_workers(number)
        yield client


def same_outputs(one, two):
    """Whether two folders hold equal outputs, except for the cards of the date."""
    names = [sorted(path.name for path in folder.glob("*.fits")) for folder in (one, two)]
    return names[0] == names[1] and all(
        FITSDiff(one / name, two / name, ignore_keywords=["SRDATE", "CHECKSUM"]).identical
        for name in names[0]
    )


def timed(enhancer, fields, folder, client):
    """Seconds of a batch, after one field that loads the weights."""
    enhance_batch(enhancer, fields[:1], folder, client=client)
    start = time.perf_counter()
    enhance_batch(enhancer, fields, folder, overwrite=True, client=client)
    return time.perf_counter() - start


def compare(enhancer, fields, folder):
    """Rows of the table of times."""
    rows, first = [], None
    for number in (0, 1, 2):
        with cluster(folder, number) if number else nullcontext() as client:
            seconds = timed(enhancer, fields, folder / f"out_{number}", client)
        first = first or seconds
        same = "yes" if same_outputs(folder / "out_0", folder / f"out_{number}") else "NO"
        name = f"{number} workers" if number else "none"
        rows.append((name, f"{seconds:.1f}", f"{first / seconds:.2f}", same))
    return rows


def memory():
    """Resident memory of a process, MiB."""
    import psutil

    return psutil.Process().memory_info().rss / 2**20


def watch(enhancer, path, folder, number):
    """Memory of a scheduler while many parts of one field are enhanced."""
    center = simulate_field((TEST_SEED, 0)).observed["r"].wcs.pixel_to_world(60, 60)
    table = Table({"name": [f"part{k:04d}" for k in range(number)]})
    table["ra"], table["dec"], table["size"] = center.ra.deg, center.dec.deg, _SMALL
    fields, rows = list_fields(table, files=[path]), []

    with cluster(folder, 2) as client:
        bar = watching(client, rows)
        enhance_batch(enhancer, fields, folder / "parts", client=client, progress_bar=bar)
    return rows


def watching(client, rows):
    """A progress bar that notes the memory of the scheduler nine times."""

    def bar(items):
        number = len(items)
        for k, item in enumerate(items):
            if k % max(1, number // 8) == 0 or k == number - 1:
                rows.append((k, f"{client.run_on_scheduler(memory):.1f}"))
            yield item

    return bar


def kill_one(client):
    """A progress bar that kills a worker half way."""

    def bar(items):
        for k, item in enumerate(items):
            if k == len(items) // 2:
                busy = [worker for worker, keys in client.processing().items() if keys]
                os.kill(client.run(os.getpid, workers=busy[:1])[busy[0]], signal.SIGKILL)
            yield item

    return bar


def field_timed(options, path, output, client, bar=None):
    """Seconds of one field, with what it takes to load the weights."""
    enhancer = SRGANEnhancer(**options, client=client, progress_bar=bar)
    output.parent.mkdir()
    start = time.perf_counter()
    enhancer.to_file(read_bands(path, memmap=True), output)
    return time.perf_counter() - start


def compare_sections(options, path, folder):
    """Rows of the table of times for the sections of one field."""
    rows, first = [], None
    for number, name in enumerate(("none", "1 workers", "2 workers", "2, one killed")):
        with cluster(folder, min(number, 2)) if number else nullcontext() as client:
            bar = kill_one(client) if number == 3 else None
            seconds = field_timed(options, path, folder / f"one_{number}" / "a.fits", client, bar)
        first = first or seconds
        same = "yes" if same_outputs(folder / "one_0", folder / f"one_{number}") else "NO"
        rows.append((name, f"{seconds:.1f}", f"{first / seconds:.2f}", same))
    return rows


def watch_sections(options, path, folder):
    """Memory of a scheduler while the sections of one field are enhanced."""
    rows = []
    with cluster(folder, 2) as client:
        bar = watching(client, rows)
        field_timed(options, path, folder / "watched" / "a.fits", client, bar)
    return rows


def with_sections(side):
    """Have fields cut into sections of at most a side; here alone, for workers are given theirs."""
    enhancement.sections = functools.partial(sections, side=side)


def main():
    """Run."""
    parser = make_parser(__doc__, fields=12)
    parser.add_argument("--side", type=int, default=256, help="of a field, input pixels")
    parser.add_argument("--parts", type=int, default=200, help="small tasks")
    parser.add_argument("--field", type=int, default=2048, help="side of the one field")
    parser.add_argument("--section", type=int, default=512, help="side of its sections")
    options = parse(parser)
    chosen = {"precision": options.precision, "engine": options.engine, "device": "cpu"}
    chosen["weights"] = options.weights[0]
    enhancer = SRGANEnhancer(**chosen)
    # Not quiet(), which holds the filters of this thread: those that read would wait for it.
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "fields").mkdir()
        for k in range(options.fields):
            field = simulate_field((TEST_SEED, k), shape=2 * (options.side,)).observed
            write_bands(folder / "fields" / f"field{k:03d}.fits", field)
        fields = list_fields(folder / "fields")
        print_table(
            f"{len(fields)} fields of {options.side} x {options.side} x 3",
            ("cluster", "s", "times as fast", "same bytes"),
            compare(enhancer, fields, folder),
        )
        print_table(
            f"scheduler, {options.parts} parts of {_SMALL} x {_SMALL} x 3",
            ("done", "resident MiB"),
            watch(enhancer, fields[0].paths, folder, options.parts),
        )
        path = folder / "field.fits"
        write_bands(path, simulate_field((TEST_SEED, 0), shape=2 * (options.field,)).observed)
        with_sections(options.section)
        print_table(
            f"{options.field} x {options.field} x 3 in sections of {options.section}",
            ("cluster", "s", "times as fast", "same bytes"),
            compare_sections(chosen, path, folder),
        )
        side = max(16, int(options.field / options.parts**0.5))
        with_sections(side)
        print_table(
            f"scheduler, the same field in sections of {side}",
            ("done", "resident MiB"),
            watch_sections(chosen, path, folder),
        )
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
