# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Two versions of the package, side by side: time of a field, and its fluxes.

    git worktree add ../older v0.6.1
    python benchmarks/versions.py ../older

Each run is a process of its own, the versions take turns, and what counts is the second call
within it: imports and the preparation of the engine are not measured.  Also the command line, from
its start to the file.  Differences are those of fluxes in boxes of 8 x 8 output pixels whose
signal to noise is above 50, in millimagnitudes.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, busy_note, make_parser, parse, print_table
from astropy.io import fits

from splus_srgan import simulate_field

HERE = Path(__file__).parents[1]
_BOX = 8  # output pixels, four input pixels
_SIGNIFICANT = 50

_CALL = """
import json, sys, time
import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData
from splus_srgan import SRGANEnhancer
files, weights, options, out = json.loads(sys.argv[1])
field = {band: CCDData.read(path, unit="adu") for band, path in files.items()}
enhancer, seconds = SRGANEnhancer(weights, **options), []
for _ in range(2):
    start = time.perf_counter()
    made = enhancer(field)
    seconds.append(time.perf_counter() - start)
np.save(out, np.stack([made[band].data - made[band].meta["SRSKY"] / 4 for band in files]))
print(json.dumps(seconds[-1]))
"""


def run(tree, command):
    """Run a command with the package of a tree; its output and its seconds."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *map(str, command)],
        env=os.environ | {"PYTHONPATH": str(tree)},
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed in {tree}: {done.stderr}")
    return done.stdout, time.perf_counter() - start


def make_files(folder, side, bands):
    """A simulated field, one file per band; paths and sky noises."""
    field = simulate_field((TEST_SEED, 0), shape=(side, side), bands=bands, kind="fill")
    paths = {}
    for band, image in field.observed.items():
        header = image.meta.copy()
        header.update(image.wcs.to_header())
        paths[band] = folder / f"field_{side}_{band}.fits"
        fits.writeto(paths[band], image.data, header)
    return paths, np.array([field.sigma[band] for band in bands])


def boxes(images):
    """Sums over boxes, ``(n_band, n_boxes)``."""
    n_band, ny, nx = images.shape
    cut = images[:, : ny - ny % _BOX, : nx - nx % _BOX].astype(float)
    return cut.reshape(n_band, ny // _BOX, _BOX, nx // _BOX, _BOX).sum((2, 4)).reshape(n_band, -1)


def differences(one, two, sigma):
    """Millimagnitudes between the boxes of two results that are bright enough."""
    one, two = boxes(one), boxes(two)
    noise = sigma[:, None] * _BOX / 2  # of as many input pixels as a box covers
    bright = np.minimum(one, two) > _SIGNIFICANT * noise
    return np.abs(2500 * np.log10(one[bright] / two[bright]))


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.set_defaults(weights=["splus-grz"])
    parser.add_argument("tree", type=Path, help="folder of the other version")
    parser.add_argument("--bands", nargs="+", default=BANDS, help="default g r z")
    parser.add_argument("--side", type=int, default=1000, help="of the field; default %(default)s")
    parser.add_argument("--runs", type=int, default=3, help="of each; default %(default)s")
    parser.add_argument("--cli-side", type=int, default=400, help="for the command line")
    options = parse(parser)
    trees = {"other": options.tree.resolve(), "this": HERE}
    settings = {"engine": options.engine, "precision": options.precision}
    variants = {"other": ("other", settings), "this": ("this", settings)}
    variants["this, turned=False"] = "this", settings | {"turned": False}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        files, sigma = make_files(folder, options.side, options.bands)
        small, _ = make_files(folder, options.cli_side, options.bands)
        seconds, line, made = {name: [] for name in variants}, {name: [] for name in trees}, {}
        for k in range(options.runs):
            for name, (tree, chosen) in variants.items():
                out = folder / f"{len(made)}.npy"
                given = {band: str(path) for band, path in files.items()}
                told = json.dumps([given, options.weights[0], chosen, str(out)])
                seconds[name].append(float(run(trees[tree], ["-c", _CALL, told])[0]))
                made[name] = np.load(out)
            for name, tree in trees.items():
                target = folder / f"{name}{k}"
                command = ["-m", "splus_srgan", "enhance", *small.values(), "-o", target]
                line[name].append(run(tree, [*command, "--weights", options.weights[0]])[1])
    rows = []
    for name, found in seconds.items():
        off = differences(made[name], made["other"], sigma)
        ratio = np.median(np.array(found) / seconds["other"])
        rows.append(
            (
                name,
                f"{np.median(found):.1f}",
                f"{ratio:.2f}",
                f"{np.median(off):.2f}",
                f"{np.percentile(off, 99):.2f}",
            )
        )
    heads = ("version", "s", "ratio", "median difference (mmag)", "99 %")
    number = len(options.bands)
    print_table(f"{options.side} x {options.side} x {number}", heads, rows)
    print_table(
        f"command line, {options.cli_side} x {options.cli_side} x {number}, start to file",
        ("version", "s"),
        [(name, f"{np.median(found):.1f}") for name, found in line.items()],
    )
    print(f"  ({busy_note()})")


if __name__ == "__main__":
    main()
