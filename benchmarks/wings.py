# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The wings of real PSFs, and of those that are simulated.

Bright peaks (above 100 sigma, below 0.6 of saturation) are fitted with a Moffat profile, and
wings beside it: a share of the light in a second one, alpha and beta of
`splus_srgan.pixels.psf.WINGS`.  Where the FWHM is not within 30 % of that of the header, it was no
star, and is left out.

Real images: those in environment variable SPLUS_SRGAN_REAL_DATA; without it, simulated ones alone.
"""

import argparse
import os
from pathlib import Path

import numpy as np
from _common import BANDS, TEST_SEED, TILES, print_header, print_table, quiet
from scipy import ndimage, optimize

from splus_srgan import measure_background, read_bands, simulate_field
from splus_srgan.images.header import psf_from_header
from splus_srgan.pixels.psf import psf_profile
from splus_srgan.splus import PIXEL_SCALE

HALF = 26  # pixels, half the side of a stamp
APART = 25  # pixels, no brighter pixel within half of that
FITTED = 18.0  # pixels, radius


def stars(image, sigma, saturation):
    """Stamps around bright stars, and their peaks."""
    peaks = (image == ndimage.maximum_filter(image, APART)) & (image > 100 * sigma)
    for y, x in np.argwhere(peaks & (image < 0.6 * saturation)):
        stamp = image[max(y - HALF, 0) : y + HALF + 1, max(x - HALF, 0) : x + HALF + 1]
        if stamp.shape == (2 * HALF + 1,) * 2:
            yield stamp


def fit(stamp, sigma, header_psf):
    """FWHM and beta of the core, and share of the wings."""
    y, x = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    inside = np.hypot(y, x) < FITTED
    # Real PSFs are not round: 3 % of the flux are allowed for it, and neighbours are outliers.
    error = np.hypot(sigma, 0.03 * np.clip(stamp, 0, None))

    def misfit(parameters):
        flux, dy, dx, fwhm, beta, share, sky = parameters
        r = PIXEL_SCALE * np.hypot(y - dy, x - dx)
        model = psf_profile(r, fwhm, beta, share)
        return ((stamp - flux * model - sky) / error)[inside]

    peak = stamp[HALF, HALF]
    found = optimize.least_squares(
        misfit,
        [2 * peak, 0, 0, header_psf[0], 3.5, 0.1, 0],
        bounds=([0, -2, -2, 0.6, 1.5, 0, -sigma], [np.inf, 2, 2, 4, 15, 0.8, sigma]),
        x_scale=[peak, 0.1, 0.1, 0.1, 1, 0.1, 0.1 * sigma],
        loss="arctan",
        f_scale=4.0,
    )
    return found.x[3:6]


def measure(name, band, image):
    """A row for one image, or None where it has no such star."""
    with quiet():
        background = measure_background(image.data)
        header_psf = psf_from_header(image.meta)
        data = np.nan_to_num(np.asarray(image.data, float) - background.sky[0])
        level = image.meta.get("SATURATE", np.inf)
        found = [
            fit(s, background.sigma[0], header_psf) for s in stars(data, background.sigma[0], level)
        ]
    found = [row for row in found if abs(row[0] / header_psf[0] - 1) < 0.3]
    if not found:
        return None
    return name, band, len(found), *header_psf, *np.median(found, axis=0)


def real_images(root):
    """Bands of the real tiles."""
    for tile in TILES:
        paths = sorted(Path(root, "splus", tile).glob("*.fits*"))
        with quiet():
            images = {k: v for p in paths for k, v in read_bands([p]).items()} if paths else {}
        for band, image in images.items():
            yield tile, band, image


def report(title, rows):
    """Print a row per image, and medians."""
    cells = [(*row[:3], *(f"{value:.2f}" for value in row[3:])) for row in rows]
    names = ("image", "band", "stars", "FWHM", "beta", "core FWHM", "core beta", "share")
    print_table(title, names, cells)
    many = np.array([row[3:] for row in rows])
    share = many[:, 4]
    print(
        f"  median: core FWHM / header's {np.median(many[:, 2] / many[:, 0]):.3f}, beta / header's "
        f"{np.median(many[:, 3] / many[:, 1]):.2f}, share {np.median(share):.3f} "
        f"(16 to 84 %: {np.percentile(share, 16):.3f} to {np.percentile(share, 84):.3f})"
    )


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fields", type=int, default=6, help="simulated star fields")
    options = parser.parse_args()
    print_header()
    root = os.environ.get("SPLUS_SRGAN_REAL_DATA")
    if root:
        rows = (measure(*one) for one in real_images(root))
        report("Real images", [row for row in rows if row])
    for psf in ("real", "moffat"):
        rows = []
        for k in range(options.fields):
            field = simulate_field(
                (TEST_SEED, k), kind="stars", shape=(200, 200), bands=BANDS, psf=psf
            )
            rows += [measure(f"(3, {k})", *item) for item in field.observed.items()]
        report(f"Simulated star fields, psf={psf!r}", [row for row in rows if row])


if __name__ == "__main__":
    main()
