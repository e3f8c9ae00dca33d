# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulated pairs a second, three bands of 128 x 128 S-PLUS pixels, on one core.

CPU time of this process counts, since the simulator runs in one thread; wall time
is given beside it.  The target is 5 pairs a second.

Then the same fields in all twelve bands beside g, r, z, in turn, medians of several repeats: the
target is at most 2.5 times the cost.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, busy_note, print_header, print_table, write_table

from splus_srgan import simulate_field
from splus_srgan.splus import BANDS as FACTS

TWELVE = (*BANDS, *(band for band in FACTS if band not in BANDS))


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--fields",
        type=int,
        default=40,
        metavar="N",
        help="fields to simulate, seeds (3, k); default 40",
    )
    parser.add_argument(
        "--repeats", type=int, default=3, metavar="N", help="of the twelve bands; default 3"
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE.ecsv")
    options = parser.parse_args()
    print_header()
    rows = []
    simulate_field((TEST_SEED, 0), bands=BANDS)  # imports and caches
    for k in range(options.fields):
        start = time.process_time(), time.perf_counter()
        field = simulate_field((TEST_SEED, k), bands=BANDS)
        rows.append(
            {
                "field": k,
                "kind": field.kind,
                "cpu": time.process_time() - start[0],
                "wall": time.perf_counter() - start[1],
                "sources": len(field.sources),
            }
        )
    lines = []
    for kind in ("all", *dict.fromkeys(row["kind"] for row in rows)):
        mine = [row for row in rows if kind in ("all", row["kind"])]
        cpu, wall = (np.array([row[name] for row in mine]) for name in ("cpu", "wall"))
        lines.append(
            (
                kind,
                len(mine),
                f"{1 / cpu.mean():.2f}",
                f"{1 / wall.mean():.2f}",
                f"{np.median(cpu):.3f}",
                f"{cpu.max():.3f}",
            )
        )
    print_table(
        "Pairs of three bands, 128 x 128 and 256 x 256 pixels",
        ("kind", "n", "pairs / CPU s", "pairs / s", "median CPU s", "worst CPU s"),
        lines,
    )
    print(f"  ({busy_note()})")
    report_twelve(options)
    write_table(options.output, rows, units={"cpu": "s", "wall": "s"})


def report_twelve(options):
    """Print what twelve bands cost beside three."""
    cost = np.empty((2, options.repeats, options.fields))
    for repeat in range(options.repeats):
        for k in range(options.fields):
            for which, bands in enumerate((BANDS, TWELVE)):
                start = time.process_time()
                simulate_field((TEST_SEED, k), bands=bands)
                cost[which, repeat, k] = time.process_time() - start
    three, twelve = np.median(cost, axis=1)
    ratio = twelve / three
    print_table(
        f"Twelve bands beside three, {options.fields} fields, medians of {options.repeats} repeats",
        ("three, CPU s", "twelve, CPU s", "ratio: median", "16 %", "84 %", "of sums"),
        [
            (
                f"{np.median(three):.3f}",
                f"{np.median(twelve):.3f}",
                *(f"{np.percentile(ratio, part):.2f}" for part in (50, 16, 84)),
                f"{twelve.sum() / three.sum():.2f}",
            )
        ],
    )


if __name__ == "__main__":
    main()
