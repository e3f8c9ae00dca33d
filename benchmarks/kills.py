# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Kill ``SRGANEnhancer.to_file`` with SIGKILL at random moments, each time followed by the same call.

Prints, for each run until one comes to its end, how long it ran and how many sections it made;
then how many sections were made twice, and whether the bytes are those of a run that nobody
disturbed (both without the date, which is that of the first run).  Linux and macOS.
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


def main():
    """Run."""
    parser = make_parser(__doc__, fields=1)
    parser.add_argument("--side", type=int, default=3000, help="of the field, input pixels")
    parser.add_argument("--kills", type=int, default=20, help="at most")
    options = parse(parser)
    context = multiprocessing.get_context("spawn")
    told = {"weights": options.weights[0], "precision": options.precision}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        paths = make_field(folder, options.side)
        start = time.perf_counter()
        whole = context.Process(target=work, args=(paths, folder / "whole.fits", told))
        whole.start()
        whole.join()
        seconds, rows, rng = time.perf_counter() - start, [], np.random.default_rng(TEST_SEED)
        target = folder / "sharp.fits"
        for k in range(options.kills + 1):
            process = context.Process(target=work, args=(paths, target, told))
            before, begun = lines(folder), time.perf_counter()
            process.start()
            last = k == options.kills
            process.join(None if last else seconds * rng.uniform(0.05, 0.6))
            if process.is_alive():
                os.kill(process.pid, signal.SIGKILL)
                process.join()
            made = lines(folder) - before if not target.exists() else "rest"
            rows.append((k + 1, f"{time.perf_counter() - begun:.1f}", made, process.exitcode))
            if target.exists():
                break
        same = digest(target) == digest(folder / "whole.fits")
        print_table(
            f"{options.side} x {options.side}, undisturbed {seconds:.1f} s; "
            f"{'the same bytes' if same else 'OTHER BYTES'}; left behind: {len(clean(folder))}",
            ("run", "s", "sections", "exit status"),
            rows,
        )
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
