# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Matching of two surveys: milliseconds a pair, and a large field in blocks with its peak memory.

A pair is one band, 128 x 128 S-PLUS pixels and the cut at 0.262" that covers them, with
uncertainty and PSF.  Its steps are timed one by one on NumPy arrays, medians over
repetitions.  The field (4000 x 4000 pixels by default, from a memory map) is resampled in a
process of its own, whose peak resident memory is told with that of the same process before.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import busy_note, print_header, print_table, write_table
from astropy.nddata import CCDData, StdDevUncertainty
from astropy.wcs import WCS

from splus_srgan import match_pair, match_to_grid, upsample_wcs
from splus_srgan.pairs.registration.measure import measure_registration

NATIVE, COARSE = 0.262, 0.55


def make_wcs(shape, scale, *, rotation=0.0):
    """Gnomonic WCS around a fixed position."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = 30.0, -30.0
    wcs.wcs.crpix = [(n + 1) / 2 for n in shape[::-1]]
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    wcs.wcs.set()
    return wcs


def moffat(y, x, fwhm):
    """Moffat profile (beta 3) of unit flux per square arcsec."""
    gamma = fwhm / (2 * np.sqrt(2 ** (1 / 3) - 1))
    return 2 / (np.pi * gamma**2) * (1 + (y**2 + x**2) / gamma**2) ** -3


def make_image(shape, scale, fwhm, sigma, *, rotation=0.0, seed=0):
    """Stars at fixed places on the sky, as a survey sees them."""
    wcs = make_wcs(shape, scale, rotation=rotation)
    rng = np.random.default_rng(7)
    places = rng.uniform(-30, 30, (40, 2)) / 3600
    fluxes = rng.lognormal(5, 1, 40)
    sky = 30 + places[:, 0] / np.cos(np.radians(30)), -30 + places[:, 1]
    columns, rows = wcs.wcs_world2pix(*sky, 0)
    ys, xs = np.indices(shape)
    image = np.random.default_rng(seed).normal(0, sigma, shape)
    for y, x, flux in zip(rows, columns, fluxes, strict=True):
        image += flux * scale**2 * moffat((ys - y) * scale, (xs - x) * scale, fwhm)
    half = 20
    grid = (np.arange(-half, half + 1)) * scale
    psf = moffat(grid[:, None], grid[None], fwhm)
    return CCDData(
        image.astype(np.float32),
        unit="nmgy",
        wcs=wcs,
        uncertainty=StdDevUncertainty(np.full(shape, sigma, np.float32)),
        psf=psf / psf.sum(),
    )


def time_pair(repeat):
    """Median seconds of each step."""
    input = make_image((128, 128), COARSE, 1.4, 0.1)
    target = make_image((300, 300), NATIVE, 1.1, 0.01, rotation=0.4, seed=1)
    wcs = upsample_wcs(input.wcs)
    fine = match_to_grid(target, wcs, (256, 256))
    steps = {
        "match_to_grid interp, 256 x 256": lambda: match_to_grid(target, wcs, (256, 256)),
        "match_to_grid adaptive": lambda: match_to_grid(target, wcs, (256, 256), method="adaptive"),
        "match_to_grid exact": lambda: match_to_grid(target, wcs, (256, 256), method="exact"),
        "measure_registration": lambda: measure_registration(fine, input),
        "match_pair, PSF as it is": lambda: match_pair(
            {"r": input}, {"r": target}, target_psf=None
        ),
        "match_pair": lambda: match_pair({"r": input}, {"r": target}),
    }
    rows = []
    for name, step in steps.items():
        step()
        for k in range(repeat):
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            rows.append({"step": name, "run": k, "wall": 1e3 * wall, "cpu": 1e3 * cpu})
    return rows


def peak_memory():
    """Largest resident memory of this process so far, MiB."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def field(side, block_size, folder):
    """Resample a field from a memory map, in this process; print seconds and MiB."""
    path = Path(folder) / "field.npy"
    native = int(side * COARSE / 2 / NATIVE) + 64
    data = np.lib.format.open_memmap(path, "w+", np.float32, (native, native))
    rng = np.random.default_rng(1)
    for k in range(0, native, 256):
        data[k : k + 256] = rng.normal(0, 1, data[k : k + 256].shape)
    del data
    image = CCDData(
        np.load(path, mmap_mode="r"), unit="nmgy", wcs=make_wcs((native, native), NATIVE)
    )
    wcs = make_wcs((side, side), COARSE / 2, rotation=0.4)
    match_to_grid(image[:128, :128], make_wcs((64, 64), COARSE / 2), (64, 64), block_size=32)
    before = peak_memory()
    start = time.perf_counter(), time.process_time()
    match_to_grid(image, wcs, (side, side), block_size=block_size or None)
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    print(wall, cpu, before, peak_memory())


def run_field(side, block_size):
    """The same in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--field-in", folder]
        command += ["--side", str(side), "--block-size", str(block_size)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    wall, cpu, before, peak = map(float, answer.split()[-4:])
    return {
        "side": side,
        "block_size": block_size,
        "wall": wall,
        "cpu": cpu,
        "before": before,
        "peak": peak,
    }


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--repeat", type=int, default=10, metavar="N", help="repetitions; default %(default)s")
    add("--side", type=int, default=4000, metavar="N", help="of the field; default %(default)s")
    add("--block-size", type=int, default=1000, metavar="N", help="default %(default)s")
    add("--field-in", help=argparse.SUPPRESS)
    add("-o", "--output", type=Path, metavar="FILE.ecsv", help="every single measurement")
    options = parser.parse_args()
    if options.field_in:
        field(options.side, options.block_size, options.field_in)
        return
    print_header()
    rows = time_pair(options.repeat)
    lines = []
    for name in dict.fromkeys(row["step"] for row in rows):
        wall, cpu = (
            np.array([row[key] for row in rows if row["step"] == name]) for key in ("wall", "cpu")
        )
        lines.append((name, f"{np.median(wall):.0f}", f"{wall.min():.0f}", f"{np.median(cpu):.0f}"))
    print_table(
        "One band, 128 x 128 pixels",
        ("step", "median ms", "best ms", "median CPU ms"),
        lines,
    )
    fields = [run_field(options.side, size) for size in (options.block_size, 0)]
    print_table(
        f"A field of {options.side} x {options.side} pixels, from a memory map (0: not in blocks)",
        ("block size", "s", "CPU s", "MiB before", "MiB peak"),
        [
            (f["block_size"], f"{f['wall']:.1f}", f"{f['cpu']:.1f}", *(f"{f[k]:.0f}" for k in keys))
            for keys in [("before", "peak")]
            for f in fields
        ],
    )
    print(f"  ({busy_note()})")
    write_table(options.output, rows, units={"wall": "ms", "cpu": "ms"}, meta={"field": fields})


if __name__ == "__main__":
    main()
