# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Sky and sigma of simulated fields against the truth, beside the usual estimators.

Run ``python benchmarks/background.py`` (options: ``--fields 40 --size 128``).  Errors
of sigma are relative, those of the sky in units of the true sigma.  "left" counts the
bands in which no sky was found, so that the sky was left alone.
"""

import argparse
import platform
import time

import astropy
import numpy as np
import photutils
import scipy
from astropy.stats import SigmaClip, sigma_clipped_stats
from photutils.background import Background2D, MADStdBackgroundRMS, SExtractorBackground

from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.coadd_noise import correlated_noise
from splus_srgan.simulate.field import KINDS, simulate_field


def ours(image):
    """The package's own measurement: sky, sigma, and whether there is sky."""
    background = measure_background(image)
    return background.sky[0], background.sigma[0], background.has_sky[0]


def clipped(image):
    """Sigma-clipped median and standard deviation."""
    _, median, deviation = sigma_clipped_stats(image)
    return median, deviation, True


def meshes(image):
    """Background2D of photutils with SExtractor's estimator, medians over the frame."""
    background = Background2D(
        image,
        32,
        sigma_clip=SigmaClip(3.0),
        bkg_estimator=SExtractorBackground(),
        bkg_rms_estimator=MADStdBackgroundRMS(),
        exclude_percentile=100.0,
    )
    return background.background_median, background.background_rms_median, True


METHODS = {"ours": ours, "sigma clip": clipped, "Background2D": meshes}


def frames(number, size):
    """Simulated fields as they are, with white noise, and with a pedestal; with their truths."""
    for seed in range(number):
        kind = KINDS[seed % len(KINDS)]
        field = simulate_field([7, seed], shape=(size, size), kind=kind)
        rng = np.random.default_rng([8, seed])
        for band, image in field.observed.items():
            sky, sigma, pixels = field.sky[band], field.sigma[band], image.data
            yield "as S-PLUS", kind, pixels, sky, sigma
            clean = field.noiseless[band]
            electrons = field.conditions[band].electrons / field.conditions[band].adu_per_nmgy
            deviation = np.sqrt(sigma**2 + np.maximum(clean, 0) / electrons)
            white = clean + sky + deviation * rng.standard_normal(clean.shape)
            yield "white noise", kind, white, sky, sigma
            yield "pedestal 500", kind, pixels + np.float32(500), sky + 500, sigma


def collect(number, size):
    """Errors per (case, kind, method): rows of sigma error, sky error, has_sky."""
    errors, seconds = {}, dict.fromkeys(METHODS, 0.0)
    for case, kind, image, sky, sigma in frames(number, size):
        for name, method in METHODS.items():
            start = time.process_time()
            level, noise, has_sky = method(image)
            seconds[name] += time.process_time() - start
            row = (noise / sigma - 1, (level - sky) / sigma, has_sky)
            errors.setdefault((case, kind, name), []).append(row)
    return {key: np.array(rows, dtype=float) for key, rows in errors.items()}, seconds


def print_table(errors):
    """One line per case, kind and method."""
    print(
        f"\n{'case':13}{'kind':9}{'method':13}{'bands':>6}{'sigma: worst':>14}{'median':>8}"
        f"{'sky: worst':>12}{'median':>8}{'left':>6}{'outside':>9}"
    )
    for (case, kind, name), rows in sorted(errors.items()):
        sigma, sky, found = np.abs(rows[:, 0]), np.abs(rows[:, 1]), rows[:, 2] == 1
        worst, median = (sky[found].max(), np.median(sky[found])) if found.any() else (0, 0)
        outside = np.sum((sigma > 0.05) | (found & (sky > 0.1)))
        print(
            f"{case:13}{kind:9}{name:13}{len(rows):6d}{sigma.max():13.1%} {np.median(sigma):7.1%}"
            f"{worst:12.3f}{median:8.3f}{np.sum(~found):6d}{outside:9d}"
        )


def print_speed():
    """CPU time on noise alone."""
    rng = np.random.default_rng(1)
    for side in (128, 500, 2000, 11000):
        image = rng.standard_normal((side, side), dtype=np.float32)
        start = time.process_time()
        measure_background(image)
        print(f"{side} x {side}: {time.process_time() - start:.2f} s of CPU a band")
        del image
    noise = correlated_noise(rng, (512, 512), [(0.1, 0.4), (0.8, 0.6), (0.3, 0.9)])
    print(f"correlated noise of sigma 1: {measure_background(noise).sigma[0]:.4f}")


def main():
    """Print machine and versions, then the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--fields", type=int, default=40)
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    print(platform.platform(), platform.processor() or platform.machine(), sep=", ")
    print(
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}, "
        f"astropy {astropy.__version__}, photutils {photutils.__version__}"
    )
    print(f"{options.fields} fields of {options.size} x {options.size} pixels, 3 bands")
    errors, seconds = collect(options.fields, options.size)
    print_table(errors)
    for name, total in seconds.items():
        print(f"{name}: {total / (9 * options.fields):.3f} s of CPU a band")
    print_speed()


if __name__ == "__main__":
    main()
