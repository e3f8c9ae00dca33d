# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The PSF measured on the stars of an image, against the one that was simulated.

Star fields of 160 x 160 pixels (seeds (3, k)), and fields of all kinds of 256 x 256; by the
number of stars found, how far FWHM, wings, beta and ellipticity are off, and whether their
errors say so.  Real tiles (environment variable SPLUS_SRGAN_REAL_DATA, if set) are compared
with their headers.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, print_header, print_table, quiet

from splus_srgan import read_bands, simulate_field
from splus_srgan.images.header import psf_from_header
from splus_srgan.images.stars import measure_psf

BINS = ((3, 5), (5, 10), (10, 1000))


def simulated(number, psf, **options):
    """Rows (stars, offsets of four values, two of them in their errors)."""
    rows, without = [], 0
    for k in range(number):
        field = simulate_field((TEST_SEED, k), bands=BANDS, psf=psf, **options)
        for band, image in field.observed.items():
            truth = field.conditions[band]
            with quiet():
                found = measure_psf(image)
            if not found.measured:
                without += 1
                continue
            offset = np.array([found.fwhm / truth.fwhm - 1, found.wings - truth.wings])
            errors = found.fwhm_error / truth.fwhm, found.wings_error
            beta, shape = found.beta / truth.beta - 1, found.ellipticity - truth.ellipticity
            rows.append((found.n_stars, *offset, beta, shape, *(offset / errors)))
    return np.array(rows).reshape(-1, 7), without


def report(title, rows, without):
    """Medians and scatter by the number of stars."""
    cells = []
    for low, high in BINS:
        mine = rows[(rows[:, 0] >= low) & (rows[:, 0] < high)]
        if not len(mine):
            continue
        fwhm, wings, beta, shape, *pulls = mine[:, 1:].T
        cells.append(
            (
                f"{low} to {high - 1}" if high < 1000 else f"{low} or more",
                len(mine),
                f"{100 * np.median(fwhm):+.2f}",
                *(f"{100 * np.percentile(abs(fwhm), p):.2f}" for p in (68, 95)),
                f"{100 * np.mean(abs(fwhm) < 0.02):.0f}",
                f"{np.median(wings):+.3f}",
                *(f"{np.percentile(abs(wings), p):.3f}" for p in (68, 95)),
                f"{100 * np.mean(abs(wings) < 0.05):.0f}",
                f"{100 * np.percentile(abs(beta), 68):.0f}",
                f"{np.percentile(abs(shape), 68):.3f}",
                *(f"{np.percentile(abs(pull), 68):.2f}" for pull in pulls),
            )
        )
    names = ("stars", "bands", "FWHM %", "68 %", "95 %", "% < 2 %", "wings", "68 %", "95 %")
    names += ("% < 0.05", "beta 68 %", "e 68 %", "FWHM / error", "wings / error")
    print_table(f"{title}: {len(rows)} bands, {without} without an answer", names, cells)


def real(folder):
    """A row per real image."""
    for path in sorted(Path(folder, "splus").glob("*/*_[A-Z].fits*")):
        if path.parent.name == "stamps_R":
            continue
        with quiet():
            ((band, image),) = read_bands(path).items()
            found, stated = measure_psf(image), psf_from_header(image.meta)
        ratio = f"{found.fwhm / stated[0]:.3f}" if found.measured else ""
        yield path.parent.name, band, f"{stated[0]:.3f}", f"{stated[1]:.2f}", str(found), ratio


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=40, help="simulated fields of each sort")
    options = parser.parse_args()
    print_header()
    for psf in ("real", "moffat"):
        stars = simulated(options.fields, psf, kind="stars", shape=(160, 160))
        report(f"Star fields, psf={psf!r}", *stars)
    report("All kinds, 256 x 256", *simulated(options.fields, "real", shape=(256, 256)))
    folder = os.environ.get("SPLUS_SRGAN_REAL_DATA")
    if folder:
        names = ("tile", "band", "header", "beta", "measured", "FWHM / header's")
        print_table("Real tiles", names, list(real(folder)))


if __name__ == "__main__":
    main()
