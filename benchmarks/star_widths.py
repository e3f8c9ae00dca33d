# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The PSF of the output, from its stars, beside that of the model card and that of the input.

Stars of S/N above 30 in real tiles; medians and their errors over the stars of all tiles, and
whether the limits of `splus_srgan.evaluation.limits.LIMITS` are met.  --simulated N takes
N simulated star fields instead, of 200 x 200 pixels and test seeds, with the PSFs of --psf.
"""

import numpy as np
from _common import (
    BANDS,
    TEST_SEED,
    TILES,
    add_real,
    enhance,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
)
from astropy.table import vstack
from real_tiles import read_tile

from splus_srgan import simulate_field
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.psf import checks_psf, psf_table
from splus_srgan.evaluation.pairs import EvaluationPair

FIRST = 5000  # number of the first star field, beyond those of the other benchmarks


def main():
    """Run."""
    parser = make_parser(__doc__)
    add_real(parser)
    parser.add_argument("--simulated", type=int, metavar="N", default=0)
    options = parse(parser)
    for name, enhancer in make_enhancers(options).items():
        with quiet():
            pairs = (
                simulated(options.simulated, options.psf)
                if options.simulated
                else real(options.real)
            )
            tables = [
                psf_table(compare_field(pair, enhance(enhancer, pair.input))) for pair in pairs
            ]
        report(name, vstack(tables), len(tables))


def real(folder):
    """Whole tiles."""
    for tile in TILES:
        field = read_tile(folder / "splus" / tile, 10_000)
        yield EvaluationPair(tile, field)


def simulated(number, psf):
    """Star fields."""
    for k in range(number):
        field = simulate_field((TEST_SEED, FIRST + k), shape=(200, 200), kind="stars", psf=psf)
        yield EvaluationPair.from_simulation(field, name=str(k))


def report(name, stars, number):
    """Print medians of all, and what is judged."""
    rows = []
    for check in checks_psf(stars):
        value = check.note if not check.measured else f"{check.value:.3f} +- {check.error:.3f}"
        rows.append((check.name, check.band, value, str(check.limit), str(check.count)))
    for band in BANDS:
        mine = stars[stars["band"] == band]
        for what in ("fwhm_in", "fwhm_out"):
            width = float(np.nanmedian(mine[what].value))
            rows.append((f"{what}, all (arcsec)", band, f"{width:.3f}", "", str(len(mine))))
    print_table(f"{name}: {number} fields", ("what", "band", "median", "limit", "stars"), rows)


if __name__ == "__main__":
    main()
