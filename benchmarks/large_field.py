# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Time and memory of ``splus-srgan enhance`` on a field as large as S-PLUS's own.

The field is made of simulated ones side by side, written as one FITS file per band, and
enhanced by the command line in a process of its own.  "Memory" is the most anonymous memory
that the process had, what it cannot give back; pages of files come on top, as far as there is
room, and are part of "resident".  Linux only, since it is read from /proc.

A part of a larger field is then cut out and enhanced by itself, with the field's sky and noise:
"cutout" is the largest difference from the field, away from the ends of the part, in sky noises.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import (
    BANDS,
    TEST_SEED,
    busy_note,
    make_parser,
    parse,
    print_table,
)
from astropy.io import fits

from splus_srgan import SRGANEnhancer, read_bands, simulate_field

_PATCH = 500  # pixels; the field is made of such simulated ones
_PATCHES = 11  # different ones, then they repeat; no divisor of the patches in a row
_GIB = 2**30
_CUTOUT, _MARGIN = 2048, 200  # pixels; what sees the ends of a part is not compared


def make_field(folder, side):
    """Write a field of ``side`` pixels squared, one file per band."""
    number = -(-side // _PATCH)
    shape = (_PATCH, _PATCH)
    patches = [
        simulate_field((TEST_SEED, k), shape=shape, bands=BANDS).observed
        for k in range(min(number**2, _PATCHES))
    ]
    paths = []
    for band in BANDS:
        plane = np.empty((side, side), np.float32)
        for k in range(number**2):
            top, left = (_PATCH * n for n in divmod(k, number))
            here = plane[top : top + _PATCH, left : left + _PATCH]
            patch = patches[k % len(patches)][band].data
            here[...] = patch[: here.shape[0], : here.shape[1]]
        header = patches[0][band].meta.copy()
        header.update(patches[0][band].wcs.to_header())
        paths.append(folder / f"field_{band}.fits")
        fits.writeto(paths[-1], plane, header)
    return paths


def watch(command):
    """Run a command; its seconds, and the most anonymous and resident memory (bytes)."""
    start, peak = time.perf_counter(), {"RssAnon": 0, "VmRSS": 0}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        except OSError:
            break
        for line in lines:
            name, _, value = line.partition(":")
            if name in peak:
                peak[name] = max(peak[name], 1024 * int(value.split()[0]))
        time.sleep(0.05)
    if process.wait():
        raise RuntimeError(f"{command} failed with status {process.returncode}")
    return time.perf_counter() - start, peak["RssAnon"], peak["VmRSS"]


def check(path):
    """Open a result as a reader would: checksums right, every HDU sound."""
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        return len(hdus), path.stat().st_size


def compare(paths, made, options):
    """Largest difference of a part enhanced by itself from the field, in sky noises."""
    fields = read_bands(dict(zip(BANDS, paths, strict=True)), memmap=True)
    whole = read_bands(made, memmap=True)
    start = [(n - _CUTOUT) // 2 for n in fields[BANDS[0]].shape]
    cut = tuple(slice(first, first + _CUTOUT) for first in start)
    inner = slice(2 * _MARGIN, 2 * (_CUTOUT - _MARGIN))
    levels = {
        name: [whole[band].meta[card] for band in BANDS]
        for name, card in {"sky": "SRSKY", "sigma": "SRSIGMA"}.items()
    }
    part = SRGANEnhancer(**options)({band: image[cut] for band, image in fields.items()}, **levels)
    worst = 0.0
    for band, sigma in zip(BANDS, levels["sigma"], strict=True):
        fine = tuple(slice(2 * a.start + inner.start, 2 * a.start + inner.stop) for a in cut)
        difference = part[band].data[inner, inner] - np.asarray(whole[band].data[fine])
        worst = max(worst, float(np.abs(difference).max() / (sigma / 4)))
    return worst


def main():
    """Run."""
    parser = make_parser(__doc__, fields=1)
    parser.add_argument(
        "--sides",
        type=int,
        nargs="+",
        default=[2000, 4000, 11000],
        metavar="N",
        help="sides of the fields in S-PLUS pixels; default %(default)s, the last a whole field",
    )
    parser.add_argument("--uncertainty", default="none", choices=("none", "generator"))
    options = parse(parser)
    rows = []
    for side in options.sides:
        for weights in options.weights:
            with tempfile.TemporaryDirectory() as folder:
                folder = Path(folder)
                paths = make_field(folder, side)
                command = [sys.executable, "-m", "splus_srgan", "enhance", *map(str, paths)]
                command += ["-o", str(folder), "--weights", weights]
                command += ["--precision", options.precision]
                seconds, memory, resident = watch([*command, "--uncertainty", options.uncertainty])
                size = sum(path.stat().st_size for path in paths)
                _, made = check(folder / "field_sr.fits")
                worst = "-"
                if side > _CUTOUT:
                    own = {"weights": weights, "precision": options.precision}
                    worst = f"{compare(paths, folder / 'field_sr.fits', own):.2g}"
            rows.append(
                (
                    f"{side} x {side}, {weights}",
                    f"{seconds:.1f}",
                    f"{len(BANDS) * side**2 / 1e6 / seconds:.3f}",
                    *(f"{n / _GIB:.2f}" for n in (size, made, memory, resident)),
                    worst,
                )
            )
            print_table("so far", ("field", "s"), [rows[-1][:2]])
    print_table(
        f"{len(BANDS)} bands; files, memory and resident in GiB",
        ("field", "s", "Mpx/s", "files in", "file out", "memory", "resident", "cutout"),
        rows,
    )
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
