# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Cutouts of one field in one call of ``splus-srgan enhance --batch``, beside a call for each.

The calls for each are a sample, and the two ways run one after the other in processes of their own.
Three cutouts of the batch are broken: one beyond the image, one of a missing file, and one that is
no FITS file; the summary has to name them, and the exit status to be 3.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, busy_note, make_parser, parse, print_table
from astropy.io import fits
from astropy.table import Table

from splus_srgan import simulate_field

_SIZE, _SIDE = 128, 1000  # input pixels, of a cutout and of the field


def make_files(folder):
    """Write a field, one file per band, and give their names by band and the WCS."""
    field = simulate_field((TEST_SEED, 0), shape=(_SIDE, _SIDE), bands=BANDS, kind="fill").observed
    names = {}
    for band, image in field.items():
        header = image.meta.copy()
        header.update(image.wcs.to_header())
        names[band] = f"field_{band}.fits"
        fits.writeto(folder / names[band], image.data, header)
    return names, field[BANDS[0]].wcs


def make_table(folder, number):
    """Write the table of the cutouts, three of them broken."""
    names, wcs = make_files(folder)
    rng = np.random.default_rng(TEST_SEED)
    places = rng.uniform(_SIZE, _SIDE - _SIZE, (number, 2))
    places[0] = -200.0
    sky = wcs.pixel_to_world(*places.T)
    table = Table({"name": [f"cut{k:03d}" for k in range(number)]})
    for band, name in names.items():
        table[band] = np.array([name] * number, dtype="U40")
    table["ra"], table["dec"], table["size"] = sky.ra.deg, sky.dec.deg, _SIZE
    (folder / "text.fits").write_text("no FITS file")
    table[BANDS[0]][1], table[BANDS[0]][2] = "missing.fits", "text.fits"
    table.write(folder / "fields.ecsv")
    return table


def call(*typed):
    """Run a command: seconds and exit status."""
    start = time.perf_counter()
    command = [sys.executable, "-W", "ignore", "-m", "splus_srgan", "enhance", *map(str, typed)]
    done = subprocess.run(command, capture_output=True, check=False)
    return time.perf_counter() - start, done.returncode


def single(folder, table, k, weights):
    """One cutout as a file of its own, enhanced by a call of its own; its seconds."""
    one = folder / f"one{k}"
    one.mkdir()
    table[k : k + 1].write(folder / f"one{k}.ecsv")
    seconds, status = call("--batch", folder / f"one{k}.ecsv", "-o", one, "--weights", weights)
    if status:
        raise RuntimeError(f"cutout {k} failed with exit status {status}")
    return seconds


def main():
    """Run."""
    parser = make_parser(__doc__, fields=1)
    parser.set_defaults(weights=["splus-grz"])
    parser.add_argument("--cutouts", type=int, default=200, help="of the batch; %(default)s")
    parser.add_argument("--calls", type=int, default=10, help="calls for one each; %(default)s")
    options = parse(parser)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        table = make_table(folder, options.cutouts)
        out, weights = folder / "out", options.weights[0]
        total, status = call("--batch", folder / "fields.ecsv", "-o", out, "--weights", weights)
        summary = Table.read(out / "summary.ecsv")
        alone = [single(folder, table, k, weights) for k in range(3, 3 + options.calls)]
        each = np.median(alone)
        print_table(
            f"{options.cutouts} cutouts of {_SIZE} x {_SIZE} x {len(BANDS)}",
            ("way", "s per cutout", "ratio"),
            [
                ("one call each", f"{each:.2f}", "1.0"),
                (
                    "--batch",
                    f"{total / options.cutouts:.2f}",
                    f"{total / options.cutouts / each:.2f}",
                ),
            ],
        )
        failed = summary[summary["status"] == "failed"]
        print(f"  exit status {status}, done {np.sum(summary['status'] == 'done')}, failed:")
        for row in failed:
            print(f"  {row['name']}: {row['reason']}")
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
