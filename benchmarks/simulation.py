# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulated pairs a second, three bands of 128 x 128 S-PLUS pixels, on one core.

CPU time of this process counts, since the simulator runs in one thread; wall time
is given beside it.  The target is 5 pairs a second.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, busy_note, print_header, print_table, write_table

from splus_srgan import simulate_field


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
    write_table(options.output, rows, units={"cpu": "s", "wall": "s"})


if __name__ == "__main__":
    main()
