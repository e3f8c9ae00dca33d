# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The guard at the door: what it catches, what that would cost, and its false alarms.

Clean fields: simulated (seeds (5, k)), of all kinds, 48 to 256 pixels a side, one to three of the
five broad bands, both kinds of PSF; how many of them are not silent, by kind, and the largest
values against the limits.  Defects: each kind in rising strengths, on fields of seeds (3, k)
with sky; how many are caught, and what the defect costs: error of the enhanced image against
the truth (dB, median over the fields), and the median change of the flux of sources above
S/N 20 within 3 arcsec (mmag).  Real tiles (environment variable SPLUS_SRGAN_REAL_DATA, if set):
what is told of them.
"""

import argparse
import os
import time
from collections import Counter
from pathlib import Path

import numpy as np
from _common import TEST_SEED, print_header, print_table, quiet
from astropy.nddata import CCDData
from scipy import ndimage

from splus_srgan import SRGANEnhancer, measure_background, read_bands, simulate_field
from splus_srgan.enhance.guard import check_input
from splus_srgan.enhance.kinds import KINDS
from splus_srgan.evaluation.apertures import aperture_flux

CLEAN_SEED = 5
SIDES = (48, 64, 96, 128, 192, 256)


def clipped(data, sigma, strength, rng):
    """Values below -strength sigma are that."""
    return np.maximum(data, -strength * sigma)


def gridded(data, sigma, strength, rng):
    """A grid of steps."""
    return strength * sigma * np.round(data / (strength * sigma))


def stretched(data, sigma, strength, rng):
    """An asinh that bends at 10 / strength sigma."""
    bend = 10 / strength * sigma
    return bend * np.arcsinh(data / bend)


def smoothed(data, sigma, strength, rng):
    """A Gaussian of that many pixels."""
    return ndimage.gaussian_filter(data, strength)


def moved(data, sigma, strength, rng):
    """Bilinear resampling by that part of a pixel."""
    return ndimage.shift(data, (strength, strength), order=1, mode="nearest")


def repeated(data, sigma, strength, rng):
    """Rows of that share of the frame doubled."""
    result = data.copy()
    rows = 2 * np.arange(int(strength * len(data) / 2))
    result[rows + 1] = result[rows]
    return result


def sharpened(data, sigma, strength, rng):
    """What a Gaussian of one pixel takes away, added that many times."""
    return data + strength * (data - ndimage.gaussian_filter(data, 1))


def mottled(data, sigma, strength, rng):
    """Noise of that many sigma, correlated over 1.5 pixels."""
    noise = ndimage.gaussian_filter(rng.normal(size=data.shape), 1.5)
    return data + strength * sigma * noise / noise.std()


def half_clipped(data, sigma, strength, rng):
    """As floor, in one half of the frame."""
    half = np.arange(data.shape[1]) >= data.shape[1] // 2
    return np.where(half, clipped(data, sigma, strength, rng), data)


def cut_off(data, sigma, strength, rng):
    """Values above that many sigma are that."""
    return np.minimum(data, strength * sigma)


def bowled(data, sigma, strength, rng):
    """A sky that rises by that many sigma to each side."""
    y, x = (np.linspace(-1, 1, n) for n in data.shape)
    return data + strength * sigma * (y[:, None] ** 2 + x**2)


def quarter_stepped(data, sigma, strength, rng):
    """As step, of a quarter of the frame."""
    quarter = np.arange(data.shape[0])[:, None] >= data.shape[0] // 2 - 3
    return np.where(quarter, stepped(data, sigma, strength, rng), data)


def half_column(data, sigma, strength, rng):
    """Half of a column is that many sigma too bright."""
    result = data.copy()
    result[: len(data) // 2, data.shape[1] // 3] += strength * sigma
    return result


def tracked(data, sigma, strength, rng):
    """Three tracks of 15 pixels, that many sigma too bright."""
    result = data.copy()
    for y, x in rng.integers(16, min(data.shape) - 16, (3, 2)):
        angle, place = rng.uniform(0, np.pi), np.arange(0, 15, 0.5)
        track = (y + place * np.sin(angle)).astype(int), (x + place * np.cos(angle)).astype(int)
        result[track] = data[track] + strength * sigma
    return result


def darkened(data, sigma, strength, rng):
    """The negative."""
    return -strength * data


def tilted(data, sigma, strength, rng):
    """A plane that rises by that many sigma."""
    return data + np.linspace(-0.5, 0.5, data.shape[1]) * strength * sigma


def stepped(data, sigma, strength, rng):
    """A step of that many sigma between two halves."""
    return data + strength * sigma * (np.arange(data.shape[1]) >= data.shape[1] // 2 + 3)


def banded(data, sigma, strength, rng):
    """Levels of the rows with that scatter."""
    return data + rng.normal(0, strength * sigma, (len(data), 1))


def spiked(data, sigma, strength, rng):
    """One pixel in 500 is that many sigma too bright."""
    return data + strength * sigma * (rng.random(data.shape) < 0.002)


def blanked(data, sigma, strength, rng):
    """A square of that side is 0."""
    result = data.copy()
    start = (len(data) - int(strength)) // 2
    result[start : start + int(strength), start : start + int(strength)] = 0
    return result


def pictured(data, sigma, strength, rng):
    """A picture of 8 bits, steps of that many sigma."""
    return np.clip(np.round(30 + data / (strength * sigma)), 0, 255)


DEFECTS = {
    "floor": (clipped, (3, 2, 1, 0)),
    "grid": (gridded, (0.25, 0.5, 1, 2, 4)),
    "stretched": (stretched, (0.1, 0.3, 1, 3)),
    "picture": (pictured, (0.1, 0.3, 1)),
    "texture": (smoothed, (0.3, 0.4, 0.5, 0.7, 1)),
    "texture ": (moved, (0.1, 0.25, 0.5)),
    "mottle": (sharpened, (0.3, 0.6, 1)),
    "mottle ": (mottled, (0.3, 0.5, 1)),
    "floor ": (half_clipped, (1, 0)),
    "dark": (darkened, (1,)),
    "bowl": (bowled, (0.5, 1, 3)),
    "step ": (quarter_stepped, (1, 2, 5)),
    "step  ": (half_column, (1, 3, 10)),
    "spikes ": (tracked, (10, 30, 100)),
    "blank ": (cut_off, (10, 100)),
    "repeated": (repeated, (0.05, 0.25, 1)),
    "tilt": (tilted, (1, 3, 6, 12, 30)),
    "step": (stepped, (0.3, 1, 2, 5)),
    "banding": (banded, (0.1, 0.3, 1)),
    "spikes": (spiked, (5, 10, 20, 50)),
    "blank": (blanked, (3, 4, 6, 24)),
}


def clean_field(k):
    """A clean field, as different from others as can be."""
    rng = np.random.default_rng((CLEAN_SEED, 99, k))
    shape = tuple(int(n) for n in rng.choice(SIDES, 2, p=(0.2, 0.25, 0.25, 0.15, 0.1, 0.05)))
    bands = tuple(rng.choice(list("ugriz"), rng.integers(1, 4), replace=False).tolist())
    psf = str(rng.choice(["real", "moffat"]))
    return simulate_field((CLEAN_SEED, k), shape=shape, bands=bands, psf=psf)


def false_alarms(number, first=0):
    """Kinds that clean fields were suspected of, and the values of all."""
    told, values, loud, seconds = Counter(), {name: [] for name in KINDS}, 0, []
    for k in range(first, first + number):
        field = clean_field(k)
        with quiet():
            start = time.process_time()
            report = check_input(field.observed)
            seconds.append(time.process_time() - start)
        kinds = [name for name in report.kinds if KINDS[name].warns]
        loud += bool(kinds)
        told.update(list(report.kinds))
        for finding in report.findings:
            values[finding.kind].append(finding.value)
        for finding in report.unusual:
            print(f"  told: {k} {field.kind} {finding}", flush=True)
    rows = []
    for name, kind in KINDS.items():
        own = np.array(values[name])
        own = own[np.isfinite(own)]
        ends = np.percentile(own, (0, 50, 100)) if own.size else (np.nan,) * 3
        limits = kind.lowest, kind.highest
        rows.append((name, told[name], *(f"{v:.3g}" for v in (*ends, *limits))))
    names = ("kind", "fields told", "lowest", "median", "highest", "limit", "limit")
    print_table(f"{number} clean fields, {loud} with a warning", names, rows)
    print(f"  processor time of a check: median {np.median(seconds):.3f} s a field")


def defect_fields(number, side):
    """Fields with sky, whose sources are known."""
    found, k = [], 0
    while len(found) < number:
        kind = ("galaxy", "stars")[k % 2]
        field = simulate_field((TEST_SEED, k), shape=(side, side), bands=("r",), kind=kind)
        if measure_background(field.observed["r"].data).has_sky[0]:
            found.append(field)
        k += 1
    return found


def bright(field, sigma):
    """Positions of sources above S/N 20 that are inside."""
    table = field.sources
    x, y = (np.asarray(table[name].value) for name in ("x", "y"))
    image = field.noiseless["r"]
    flux = aperture_flux(image, x, y, radius=3.0, annulus=(5.0, 8.0))[0]
    good = flux > 20 * sigma * 1.33 * np.sqrt(np.pi) * 3 / 0.55
    return x[good], y[good]


def cost(field, plain, spoilt, sigma):
    """Loss in dB, and change of flux in mmag."""
    truth = field.target["r"].data
    errors = [np.sqrt(np.mean((one.data - truth) ** 2)) for one in (plain, spoilt)]
    x, y = bright(field, sigma)
    if not len(x):
        return 20 * np.log10(errors[1] / errors[0]), np.nan
    before, after = (
        aperture_flux(np.asarray(one.data, float), x, y, radius=3.0, annulus=(5.0, 8.0), factor=2)[
            0
        ]
        for one in (plain, spoilt)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        change = -2500 * np.log10(after / before)
    return 20 * np.log10(errors[1] / errors[0]), float(np.nanmedian(np.abs(change)))


def catches(number, side):
    """A row for each kind and strength."""
    enhancer = SRGANEnhancer("splus-any", device="cpu")
    fields = defect_fields(number, side)
    with quiet():
        plain = [enhancer(field.observed["r"]) for field in fields]
    for name, (spoil, strengths) in DEFECTS.items():
        for strength in strengths:
            caught, costs = 0, []
            for k, (field, sharp) in enumerate(zip(fields, plain, strict=True)):
                image = field.observed["r"]
                conditions = field.conditions["r"]
                sigma = conditions.sigma * conditions.adu_per_nmgy
                data = spoil(image.data, sigma, strength, np.random.default_rng(k))
                data = data.astype(np.float32)
                spoilt = CCDData(data, unit=image.unit, wcs=image.wcs, header=image.header)
                with quiet():
                    try:
                        kinds = check_input(spoilt).kinds
                        costs.append(cost(field, sharp, enhancer(spoilt), sigma))
                    except ValueError:  # it cannot be measured: told in another way
                        caught += 1
                        continue
                caught += any(KINDS[kind].warns for kind in kinds)
            db, mmag = np.nanmedian(np.array(costs or [(np.nan, np.nan)]), axis=0)
            doing = (spoil.__doc__ or "").strip(".")
            yield name, doing, strength, f"{caught}/{number}", f"{db:+.2f}", f"{mmag:.1f}"
            print(".", end="", flush=True)


def real(folder):
    """What is told of real images."""
    for path in sorted(Path(folder, "splus").glob("*/*.fits*")):
        names = {"r": path} if path.parent.name == "stamps_R" else path
        with quiet():
            report = check_input(read_bands(names))
        yield path.name, str(report)


def main():
    """Run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=int, default=1000, help="clean fields")
    parser.add_argument("--first", type=int, default=0, help="number of the first clean field")
    parser.add_argument("--fields", type=int, default=6, help="fields for each defect")
    parser.add_argument("--side", type=int, default=96, help="of these, pixels")
    options = parser.parse_args()
    print_header()
    if options.clean:
        false_alarms(options.clean, options.first)
    if options.fields:
        names = ("kind", "defect", "strength", "caught", "dB", "mmag")
        print_table("Defects", names, list(catches(options.fields, options.side)))
    folder = os.environ.get("SPLUS_SRGAN_REAL_DATA")
    if folder:
        print_table("Real images", ("file", "told"), list(real(folder)))


if __name__ == "__main__":
    main()
