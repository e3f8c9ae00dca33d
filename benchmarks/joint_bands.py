# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
What bands gain from each other, and whether they stay honest.

``gains``
    PSNR of each band in sets of bands (grz, gri, griz, ugriz, all twelve, each alone), beside
    the classical methods: NL-means and BM3D band by band; BM3D told the power spectrum of the
    noise; and jointly, the S/N-weighted sum of all bands denoised and given back with smooth
    colours, and the bands' main components denoised one by one.
``stars``
    Lone stars against the Cramer-Rao bound with the PSF known, in every band.
``lines``
    Maps of Halpha of simulated spirals from r, J0660 and i, beside those of the inputs brought
    to the worst PSF: rms error, and the flux of the whole line.
``honesty``
    An HII region in J0660 alone, a star that one band lacks, blank fields, and what happens to
    the other bands when g is that of another field.

Weights are those of any card that takes the bands: ``--weights runs/twelve/.../twelve.json``.
"""

import numpy as np
from _common import (
    TEST_SEED,
    enhance,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
    write_table,
)
from astropy.nddata import CCDData
from noise_limit import bound, noise_power
from scipy import fft, ndimage

from splus_srgan import simulate_field
from splus_srgan.evaluation.baselines.methods import BM3D, NLMeans
from splus_srgan.evaluation.measure.lines import line_map
from splus_srgan.evaluation.measure.metrics import psnr
from splus_srgan.evaluation.measure.spaces import to_space
from splus_srgan.exceptions import WeightsError
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.pixels.psf import core_profile, matching_transfer
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.simulate.noise import correlated_noise
from splus_srgan.splus import BANDS as FACTS
from splus_srgan.splus import PIXEL_SCALE

ALL = ("g", "r", "z", *(band for band in FACTS if band not in ("g", "r", "z")))
SETS = {name: tuple(name) for name in ("grz", "gri", "griz", "ugriz")} | {"twelve": ALL}
STRETCH = {"softening": 3.0, "range": 2.0}
NOISE = 1 / (STRETCH["softening"] * STRETCH["range"])  # of the sky, stretched


# Classical methods that look at all bands


def stretched(field, bands):
    """Bands in noise units, stretched, and what takes them back."""
    sky = np.array([field.sky[b] for b in bands])[:, None, None]
    sigma = np.array([field.sigma[b] for b in bands])[:, None, None]
    stretch = NoiseAsinhStretch(sky, sigma, **STRETCH)
    return stretch, stretch(np.stack([field.observed[b].data for b in bands]).astype(np.float32))


def correlated_bm3d(plane):
    """BM3D told the power spectrum of the noise of a coadd of three exposures."""
    import bm3d

    rng = np.random.default_rng(0)
    power = np.mean(
        [
            np.abs(fft.fft2(correlated_noise(rng, plane.shape, rng.uniform(-0.5, 0.5, (3, 2)))))
            ** 2
            for _ in range(200)
        ],
        axis=0,
    )
    return bm3d.bm3d(plane, power * NOISE**2).reshape(plane.shape)


def weighted_sum(y):
    """Denoise the S/N-weighted sum, and give it back to the bands with smooth colours."""
    linear = np.sinh(y * STRETCH["range"]) * STRETCH["softening"]
    signal = np.maximum(linear.mean(axis=(1, 2)), 1e-3)
    weight = signal / np.sqrt(np.sum(signal**2))
    white = np.tensordot(weight, linear, 1)
    scale = STRETCH["softening"]
    clean = correlated_bm3d(np.arcsinh(white / scale) / STRETCH["range"])
    clean = np.sinh(clean * STRETCH["range"]) * scale
    smooth = [ndimage.gaussian_filter(one, 2.5) for one in (*linear, clean)]
    floor = 0.3
    colour = np.array(smooth[:-1]) / np.maximum(smooth[-1], floor)
    made = np.where(smooth[-1] > floor, colour * clean, np.array(smooth[:-1]))
    return np.arcsinh(made / scale) / STRETCH["range"]


def low_rank(y):
    """Denoise the main components of the bands one by one; the noise stays white among them."""
    n_band, *shape = y.shape
    _, axes = np.linalg.eigh(np.cov(y.reshape(n_band, -1)) + 1e-9 * np.eye(n_band))
    parts = (axes.T @ y.reshape(n_band, -1)).reshape(n_band, *shape)
    clean = np.stack([correlated_bm3d(part) for part in parts])
    return (axes @ clean.reshape(n_band, -1)).reshape(y.shape)


def classical(field, bands, options):
    """Fine images by each classical method, without sky, in ADU per output pixel."""
    observed = {band: field.observed[band] for band in bands}
    given = {"sky": {b: field.sky[b] for b in bands}, "sigma": {b: field.sigma[b] for b in bands}}
    made = {}
    for name, method in (("NL-means", NLMeans()), ("BM3D", BM3D())):
        with quiet():
            made[name] = without_sky(method(observed, **given))
    stretch, y = stretched(field, bands)
    ways = {"BM3D, told": lambda y: np.stack([correlated_bm3d(plane) for plane in y])}
    if len(bands) > 1:
        ways |= {"weighted sum": weighted_sum, "low rank": low_rank}
    for name, way in ways.items():
        linear = stretch.inverse(np.float32(way(y))) - [[[field.sky[b]]] for b in bands]
        fine = [ndimage.zoom(one, 2, order=3, mode="nearest", grid_mode=True) / 4 for one in linear]
        made[name] = dict(zip(bands, fine, strict=True))
    return (
        {name: made[name] for name in made if name in options.methods} if options.methods else made
    )


def without_sky(made):
    """Outputs without the sky that their headers state."""
    return {b: np.asarray(one.data, float) - stated_sky(one.meta) / 4 for b, one in made.items()}


# Gains


def score(field, band, made):
    """PSNR of a band in dB, as `quality.py` has it; NaN where the truth is empty."""
    options = {"zero_point": field.conditions[band].zero_point}
    target, made = (
        to_space(np.asarray(one, float), "asinh", **options)
        for one in (field.target[band].data, made)
    )
    return psnr(target, made, data_range=float(np.ptp(target)))


def gains(options, enhancers):
    """Rows of PSNR per field, set, band and method."""
    rows = []
    for k in range(options.fields):
        field = simulate_field((TEST_SEED, k), shape=options.shape, bands=ALL)
        if field.kind == "blank":
            continue
        for name, bands in (SETS | {f"{b} alone": (b,) for b in ALL}).items():
            made = classical(field, bands, options)
            for mine, enhancer in enhancers.items():
                try:
                    images = enhance(enhancer, {band: field.observed[band] for band in bands})
                except WeightsError:
                    continue  # a card of other bands
                made[mine] = without_sky(images)
            for method, images in made.items():
                rows += [
                    {"field": k, "set": name, "band": b, "method": method}
                    | {"psnr": score(field, b, images[b])}
                    for b in bands
                ]
    ours = set(enhancers)
    for name in dict.fromkeys(row["set"] for row in rows):
        table = []
        for band in dict.fromkeys(row["band"] for row in rows if row["set"] == name):
            own = [row for row in rows if (row["set"], row["band"]) == (name, band)]
            values = {
                method: np.array([row["psnr"] for row in own if row["method"] == method])
                for method in dict.fromkeys(row["method"] for row in own)
            }
            best = max((np.nanmean(v), m) for m, v in values.items() if m not in ours)
            cells = [band, best[1], f"{best[0]:.2f}"]
            for mine in enhancers:
                if mine in values:
                    gain = values[mine] - values[best[1]]
                    error = np.nanstd(gain) / np.sqrt(np.isfinite(gain).sum())
                    cells += [
                        f"{np.nanmean(values[mine]):.2f}",
                        f"{np.nanmean(gain):+.2f}+-{error:.2f}",
                    ]
                else:
                    cells += ["-", "-"]
            table.append(cells)
        heads = [text for mine in enhancers for text in (mine, "gain")]
        print_table(f"{name}: PSNR (dB)", ("band", "best classical", "dB", *heads), table)
    return rows


# Lone stars


def as_image(adu, band, conditions):
    """An image with the cards that tell its band and PSF."""
    template = simulate_field(0, shape=(16, 16), bands=(band,), kind="blank").observed[band]
    image = template.copy()
    image.data, image.wcs = np.asarray(adu, np.float32), None
    image.meta = template.meta.copy()
    for card, value in (
        ("HIERARCH OAJ PRO FWHMMEAN", conditions["fwhm"]),
        ("HIERARCH OAJ PRO FWHMBETA", conditions["beta"]),
        ("PSFWINGS", conditions["share"]),
    ):
        image.meta[card] = value
    return image


def stars(options, enhancers):
    """Rows of squared errors of lone stars, over the bound with the PSF known."""
    from noise_limit import HALF, SIZE, noise, star

    seeing = {"fwhm": 1.35, "beta": 2.9, "share": 0.28}
    core = dict(zip(("fwhm", "beta"), core_profile(*seeing.values()), strict=True))
    core["share"] = seeing["share"]
    power, rows = noise_power(np.random.default_rng(1), 100), []
    matched = np.sqrt(np.mean(np.abs(fft.fft2(star(1, 0, 0, **core))) ** 2 / power))
    window = np.s_[SIZE - HALF : SIZE + HALF, SIZE - HALF : SIZE + HALF]
    for band in ALL:
        for sn in (6, 16, 60, 160):
            rng = np.random.default_rng(2)
            for _ in range(options.draws):
                (y, x), flux = rng.uniform(-0.3, 0.3, 2), sn / matched
                image = as_image(flux * star(1, y, x, **core) + noise(rng), band, seeing)
                truth = flux * star(2, y, x, 1.0, 3.0, core["share"])
                least = bound(flux, y, x, core, power, psf_known=True)
                for mine, enhancer in enhancers.items():
                    with quiet():
                        made = enhancer(image, sky=0.0, sigma=1.0).data
                    found = float(np.sum((made - truth)[window].astype(float) ** 2))
                    rows.append({"band": band, "sn": sn, "method": mine, "ratio": found / least})
    for mine in enhancers:
        table = []
        for band in ALL:
            own = [
                [r["ratio"] for r in rows if (r["band"], r["sn"], r["method"]) == (band, sn, mine)]
                for sn in (6, 16, 60, 160)
            ]
            table.append((band, *(f"{10 * np.log10(np.mean(one)):+.2f}" for one in own)))
        print_table(
            f"{mine}: squared error over the bound (dB) at S/N", ("band", 6, 16, 60, 160), table
        )
    return rows


# Lines


def halpha(images, conditions):
    """Map of Halpha in 1e-18 erg / (s cm2), from images in ADU."""
    field = {
        b: CCDData(images[b] / conditions[b].adu_per_nmgy, unit="nmgy") for b in ("r", "J0660", "i")
    }
    return line_map(field).data * 1e18


def lines(options, enhancers):
    """Rows of errors of Halpha maps of spirals."""
    rows, bands, k, done = [], ("r", "J0660", "i"), 0, 0
    while done < options.fields:
        field = simulate_field(
            (TEST_SEED, 1000 + k), shape=options.shape, bands=bands, kind="galaxy"
        )
        k += 1
        seen = {b: field.conditions[b] for b in bands}
        truth = halpha({b: field.target[b].data for b in bands}, seen)
        sigma = halpha({"r": 0.0 * truth, "i": 0.0 * truth, "J0660": 0.0 * truth + 1}, seen)[0, 0]
        sigma *= field.sigma["J0660"] / 4
        if (truth > 2 * sigma).sum() < 50:
            continue
        done += 1
        worst = max(bands, key=lambda b: seen[b].fwhm)
        made = {"inputs at the worst PSF": at_one_psf(field, bands, seen[worst])}
        for mine, enhancer in enhancers.items():
            try:
                images = enhance(enhancer, {b: field.observed[b] for b in bands})
            except WeightsError:
                continue
            made[mine] = halpha(without_sky(images), seen)
        bright = truth > sigma
        for name, image in made.items():
            error = float(np.sqrt(np.mean((image - truth) ** 2)))
            flux = float(image[bright].sum() / truth[bright].sum() - 1)
            rows.append({"field": k, "method": name, "rms": error, "flux": flux})
    names = list(dict.fromkeys(row["method"] for row in rows))
    print_table(
        "Halpha maps: rms error (1e-18 erg / (s cm2) per pixel) and error of the flux (median, %)",
        ("method", "rms", "flux"),
        [
            (
                name,
                f"{np.mean([r['rms'] for r in rows if r['method'] == name]):.5f}",
                f"{100 * np.median([r['flux'] for r in rows if r['method'] == name]):+.1f}",
            )
            for name in names
        ],
    )
    return rows


def at_one_psf(field, bands, worst):
    """The line map of the inputs, all convolved to the worst PSF, on the fine grid."""
    images, to = {}, core_profile(worst.fwhm, worst.beta, worst.wings)
    for band in bands:
        seen, data = field.conditions[band], field.observed[band].data - field.sky[band]
        fy = fft.fftfreq(data.shape[0], PIXEL_SCALE)[:, None]
        fx = fft.rfftfreq(data.shape[1], PIXEL_SCALE)[None]
        own = (*core_profile(seen.fwhm, seen.beta, seen.wings), seen.wings)
        kernel = matching_transfer(fy, fx, own, (*to, worst.wings))
        blurred = fft.irfft2(fft.rfft2(data) * kernel, s=data.shape)
        images[band] = ndimage.zoom(blurred, 2, order=3, mode="nearest", grid_mode=True) / 4
    return halpha(images, field.conditions)


# Honesty


def honesty(options, enhancers):
    """Rows of what bands do to each other that they should not."""
    rows = []
    for mine, enhancer in enhancers.items():
        kept, leaked, painted, moved, false = [], [], [], [], 0
        for k in range(options.fields):
            blank = simulate_field((TEST_SEED, 2000 + k), shape=(64, 64), bands=ALL, kind="blank")
            try:
                plain = without_sky(enhance(enhancer, blank.observed))
            except WeightsError:
                break
            for band in ALL:
                noise = blank.sigma[band] / 4
                false += int((plain[band] > 5 * noise).sum() > 0)
            one, other = added(enhancer, blank, plain, ("J0660",), 10)
            kept.append(one["J0660"])
            leaked.append(max(abs(other["r"]), abs(other["i"])))
            one, other = added(enhancer, blank, plain, [b for b in ALL if b != "J0515"], 100)
            painted.append(other["J0515"])
            moved.append(swapped(enhancer, k))
        if not kept:
            continue
        rows.append(
            {
                "method": mine,
                "kept": np.mean(kept),
                "leaked": np.mean(leaked),
                "painted": np.mean(painted),
                "moved": np.nanmedian(moved),
                "false": false,
            }
        )
    print_table(
        "HII region of S/N 10 in J0660: flux kept and leaked to r and i; a star of S/N 100 painted "
        "into J0515, which lacks it; change of the others' flux with a foreign g (all in %); "
        "bands of blank fields with anything above 5 sigma",
        ("weights", "kept", "leaked", "painted", "moved", "false"),
        [
            (
                r["method"],
                *(f"{100 * r[c]:.1f}" for c in ("kept", "leaked", "painted", "moved")),
                r["false"],
            )
            for r in rows
        ],
    )
    return rows


def added(enhancer, blank, plain, bands, sn):
    """What a star of some bands adds: flux found by flux put in, there; and elsewhere, in sigma."""
    from noise_limit import star

    images, put = {}, {}
    for band, image in blank.observed.items():
        images[band] = image.copy()
        seen = blank.conditions[band]
        core = core_profile(seen.fwhm, seen.beta, seen.wings)
        point = star(1, 0, 0, *core, seen.wings)
        put[band] = sn * blank.sigma[band] / np.sqrt(np.sum(point**2))
        if band in bands:
            images[band].data = (image.data + put[band] * point).astype(np.float32)
    made = without_sky(enhance(enhancer, images))
    middle = np.hypot(*(np.indices((128, 128)) - 63.5)) < 3 / (PIXEL_SCALE / 2)
    found = {b: float((made[b] - plain[b])[middle].sum() / put[b]) for b in ALL}
    return found, found


def swapped(enhancer, k):
    """Median change of the flux of the other bands when g is that of another field."""
    one, two = (
        simulate_field((TEST_SEED, 3000 + n), shape=(64, 64), bands=ALL, kind="galaxy")
        for n in (k, k + 5000)
    )
    right = without_sky(enhance(enhancer, one.observed))
    wrong = without_sky(enhance(enhancer, one.observed | {"g": two.observed["g"]}))
    changes = [abs(wrong[b].sum() / right[b].sum() - 1) for b in ALL if b != "g"]
    return float(np.median(changes))


PARTS = {"gains": gains, "stars": stars, "lines": lines, "honesty": honesty}


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.set_defaults(weights=["splus-any"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--methods", nargs="*", help="classical methods; default: all")
    parser.add_argument("--draws", type=int, default=30, help="stars per S/N; default %(default)s")
    parser.add_argument("--shape", type=int, nargs=2, default=(128, 128))
    options = parse(parser)
    enhancers, rows = make_enhancers(options), []
    for part in options.parts:
        rows = PARTS[part](options, enhancers)
        if options.output is not None:
            write_table(options.output.with_stem(f"{options.output.stem}-{part}"), rows)


if __name__ == "__main__":
    main()
