# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Kill ``SRGANEnhancer.to_file`` with SIGKILL at random moments, each time followed by the same call.

A series of kills goes on until a run comes to its end before it is killed; then another begins,
until there were enough kills.  Prints, for each run, how long it ran and how many sections it made,
and whether the bytes of each series are those of a run that nobody disturbed (without the date,
which is that of the first run).  Linux and macOS.
"""

import hashlib
import multiprocessing
import os
import signal
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import TEST_SEED, busy_note, make_parser, parse, print_table
from astropy.io import fits
from large_field import make_field

from splus_srgan import SRGANEnhancer, read_bands
from splus_srgan.enhance.restart import clean


def work(paths, target, options):
    """What is killed: read the field and enhance it into a file."""
    enhancer = SRGANEnhancer(options["weights"], precision=options["precision"], device="cpu")
    enhancer.to_file(read_bands(paths), target)


def lines(folder):
    """Sections that the journals in a folder say are made."""
    texts = [path.read_text() for path in folder.glob(".*.unfinished.json")]
    return sum(text.count('"made"') for text in texts)


def digest(path):
    """Hash of all pixels, and of all cards but the date."""
    total = hashlib.sha256()
    with fits.open(path, checksum=True) as hdus:
        for hdu in hdus:
            kept = [c for c in hdu.header.cards if c.keyword not in ("SRDATE", "CHECKSUM")]
            total.update(repr(kept).encode())
            if hdu.data is not None:
                total.update(np.ascontiguousarray(hdu.data))
    return total.hexdigest()[:16]


def run_to_the_end(context, paths, target, told):
    """Make a file that nobody disturbs."""
    process = context.Process(target=work, args=(paths, target, told))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the run that nobody disturbed ended with status {process.exitcode}")


def main():
    """Run."""
    parser = make_parser(__doc__, fields=1)
    parser.add_argument("--side", type=int, default=3000, help="of the field, input pixels")
    parser.add_argument("--kills", type=int, default=20, help="in all, at least")
    options = parse(parser)
    context = multiprocessing.get_context("spawn")
    told = {"weights": options.weights[0], "precision": options.precision}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = make_field(folder, options.side)
        start = time.perf_counter()
        run_to_the_end(context, paths, folder / "whole.fits", told)
        seconds, rng = time.perf_counter() - start, np.random.default_rng(TEST_SEED)
        rows, expected, same, left = [], digest(folder / "whole.fits"), True, 0
        kills = 0
        while kills < options.kills:
            target = folder / f"sharp{len(rows)}.fits"
            while not target.exists():
                process = context.Process(target=work, args=(paths, target, told))
                before, begun = lines(folder), time.perf_counter()
                process.start()
                enough = kills == options.kills
                process.join(None if enough else seconds * rng.uniform(0.05, 0.6))
                if process.is_alive():
                    os.kill(process.pid, signal.SIGKILL)
                    process.join()
                    kills += 1
                made = lines(folder) - before if not target.exists() else "rest"
                row = (f"{time.perf_counter() - begun:.1f}", made, process.exitcode)
                rows.append((len(rows) + 1, *row))
                if process.exitcode not in (0, -signal.SIGKILL):
                    raise SystemExit(f"a run ended by itself, with exit status {process.exitcode}")
            same &= digest(target) == expected
            left += len(clean(folder))
            target.unlink()
        print_table(
            f"{options.side} x {options.side}, undisturbed {seconds:.1f} s; "
            f"{'the same bytes' if same else 'OTHER BYTES'} each time; left behind: {left}",
            ("run", "s", "sections", "exit status"),
            rows,
        )
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
