# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulated fields with the noise of real tiles in place of the simulated one.

The noise is what a tile holds beyond its enhanced image, seen through its PSF
(`splus_srgan.evaluation.measure.consistency.residuals`), in windows in which few pixels belong to
sources; it is scaled to the sky and photon noise of the field.  So scene, truth, PSF and depth
are the same, and what changes are the correlation, the distribution and the flatness of the noise.

PSNR and SSIM are those of quality.py; sigma is the measured sky noise over the true one.
False sources are those at 5 sigma of the input in the enhanced image of nothing but noise.
"""

import copy

import numpy as np
from _common import (
    BANDS,
    TILES,
    add_real,
    enhance,
    fields,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
    write_table,
)
from quality import score, without_sky
from real_tiles import read_tile

from splus_srgan.evaluation.baselines.methods import BM3D
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.consistency import residuals
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.sources import detect
from splus_srgan.pixels.coadd_noise import noise_variance

_SIDE = 128
_FEW = 0.04  # share of a window's pixels above 3 sigma of the model
_FAINT = 30  # sigma, largest model


def real_noise(folder, enhancer):
    """Windows of noise ``(n_band, 128, 128)`` over the sky noise, and the tile of each."""
    windows = []
    for tile in TILES:
        with quiet():
            pair = EvaluationPair(tile, read_tile(folder / "splus" / tile, 10**6))
            bands = compare_field(pair, enhance(enhancer, pair.input)).bands
            parts = [residuals(bands[band]) for band in BANDS]
        sigmas = [bands[band].sigma for band in BANDS]
        noise = np.stack([part[0] / s for part, s in zip(parts, sigmas, strict=True)])
        model = np.stack([part[2] / s for part, s in zip(parts, sigmas, strict=True)])
        ny, nx = noise.shape[1:]
        for y in range(0, ny - _SIDE + 1, _SIDE // 2):
            for x in range(0, nx - _SIDE + 1, _SIDE // 2):
                here = np.s_[:, y : y + _SIDE, x : x + _SIDE]
                few = np.mean(model[here] > 3, axis=(1, 2)).max() < _FEW
                if few and model[here].max() < _FAINT and np.isfinite(noise[here]).all():
                    windows.append((tile, noise[here]))
    return windows


def deviation(field, band):
    """Standard deviation of each pixel of a band, of sky and photons, in ADU."""
    c = field.conditions[band]
    flux = field.noiseless[band] / c.adu_per_nmgy
    return c.adu_per_nmgy * np.sqrt(noise_variance(flux, c.sigma, c.electrons))


def with_noise(field, noise):
    """The observed images of a field, with other noise (in units of the sky noise)."""
    observed = {}
    for plane, band in zip(noise, BANDS, strict=True):
        image = field.noiseless[band] + field.sky[band] + plane * deviation(field, band)
        saturation = field.conditions[band].saturation
        observed[band] = copy.copy(field.observed[band])
        observed[band].data = np.minimum(image, saturation).astype(np.float32)
    return observed


def simulated_noise(field):
    """The noise that the images of a field have, in units of the sky noise."""
    planes = (
        (field.observed[band].data - field.noiseless[band] - field.sky[band])
        / deviation(field, band)
        for band in BANDS
    )
    return np.stack(list(planes))


def false_sources(field, noise, method):
    """How many sources are in the enhanced image of nothing but noise, in all bands."""
    empty = copy.copy(field)
    empty.noiseless = {band: np.zeros_like(plane) for band, plane in field.noiseless.items()}
    images = without_sky(enhance(method, with_noise(empty, noise)))
    return sum(
        len(detect(image, field.sigma[band], factor=2, threshold=5)[0])
        for band, image in zip(BANDS, images, strict=True)
    )


def compare(options, methods, windows):
    """A row for each field, band, method and kind of noise."""
    rows = []
    for k, field in fields(options.fields):
        tile, noise = windows[k % len(windows)]
        for kind, plane in (("simulated", simulated_noise(field)), ("real", noise)):
            observed = with_noise(field, plane)
            for name, method in methods.items():
                made = enhance(method, observed)
                facts = {"field": k, "method": name, "noise": kind, "tile": tile}
                facts["false"] = false_sources(field, plane, method)
                for row in score(field, without_sky(made)):
                    sigma = made[row["band"]].meta["SRSIGMA"] / field.sigma[row["band"]]
                    rows.append(facts | row | {"sigma": sigma})
    return rows


def report(rows):
    """Print means, and the differences between the two kinds of noise."""
    lines, found = [], []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        for what in ("psnr", "ssim", "sigma"):
            cells = []
            for band in BANDS:
                simulated, real = (
                    np.array([r[what] for r in mine if (r["band"], r["noise"]) == (band, kind)])
                    for kind in ("simulated", "real")
                )
                good = np.isfinite(simulated)  # an empty truth has no PSNR
                change = (real - simulated)[good]
                error = np.std(change, ddof=1) / np.sqrt(len(change))
                cells += [
                    f"{np.mean(simulated[good]):.3f}",
                    f"{np.mean(change):+.3f} +- {error:.3f}",
                ]
            lines.append((f"{method}, {what}", *cells))
        counts = (
            sum(r["false"] for r in mine if (r["band"], r["noise"]) == (BANDS[0], kind))
            for kind in ("simulated", "real")
        )
        found.append((method, *map(str, counts)))
    titles = [f"{band}: {text}" for band in BANDS for text in ("simulated", "real, change")]
    print_table("Mean over fields", ("", *titles), lines)
    number = len({row["field"] for row in rows})
    print_table(
        f"False sources in {number} fields of nothing but noise, all bands",
        ("method", "simulated", "real"),
        found,
    )


def main():
    """Run."""
    parser = make_parser(__doc__)
    add_real(parser)
    options = parse(parser)
    enhancers = make_enhancers(options)
    windows = real_noise(options.real, next(iter(enhancers.values())))
    tiles = [tile for tile, _ in windows]
    print(f"noise    {len(windows)} windows:", *(f"{t} {tiles.count(t)}" for t in TILES))
    # Windows of one tile overlap: neighbours in the list are to be of different ones.
    order = np.random.default_rng(0).permutation(len(windows))
    methods = {"BM3D": BM3D()} | {f"ours: {name}": one for name, one in enhancers.items()}
    with quiet():
        rows = compare(options, methods, [windows[i] for i in order])
    report(rows)
    write_table(options.output, rows, units={"psnr": "dB"})


if __name__ == "__main__":
    main()
