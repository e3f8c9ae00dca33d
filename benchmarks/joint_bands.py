# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
What bands gain from each other, and whether they stay honest.

``gains``
    PSNR of each band in sets of bands (grz, gri, griz, ugriz, all twelve, each alone), beside
    the best of all classical methods of ``splus_srgan.evaluation.baselines``, band by band and
    joint over the bands: in the whole frame, inside the isophote of S/N > 3, in the sky, and with
    all at the PSF of the input.  All methods are told the sky and its noise; with ``--own-sky``
    ours measures both, as it does for a user.
``stars``
    Lone stars against the Cramer-Rao bound with the PSF known, in every band.
``lines``
    Maps of Halpha of simulated spirals from r, J0660 and i, beside those of the inputs brought
    to the worst PSF: rms error, and the flux of the whole line.
``honesty``
    An HII region in J0660 alone, a star that one band lacks, blank fields, and what happens to
    the other bands when g is that of another field.

Any weights that take the bands will do: ``--weights runs/twelve/.../twelve.json``.
"""

import copy

import numpy as np
from _common import (
    TEST_SEED,
    by_region,
    enhance,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
    sharpened,
    without_sky,
    write_table,
)
from astropy.nddata import CCDData, StdDevUncertainty
from noise_limit import bound, noise_power, wcs
from scipy import fft, ndimage

from splus_srgan import simulate_field
from splus_srgan.evaluation.baselines.methods import default_baselines
from splus_srgan.evaluation.measure.lines import line_map
from splus_srgan.evaluation.measure.regions import REGIONS
from splus_srgan.exceptions import WeightsError
from splus_srgan.pixels.psf import TARGET_PSF, core_profile, matching_transfer
from splus_srgan.splus import BANDS as FACTS
from splus_srgan.splus import PIXEL_SCALE

ALL = ("g", "r", "z", *(band for band in FACTS if band not in ("g", "r", "z")))
SETS = {name: tuple(name) for name in ("grz", "gri", "griz", "ugriz")} | {"twelve": ALL}


# Gains


def classical(observed, given, options):
    """Fine images by each classical method that can run, without sky, and whether it sharpens."""
    made = {}
    for name, method in default_baselines(len(observed)).items():
        if options.methods and name not in options.methods:
            continue
        with quiet():
            images = method(observed, **given)
        made[name] = (without_sky(images), sharpened(images))
    return made


def gains(options, enhancers):
    """Rows of PSNR per field, set, band and method."""
    rows = []
    for k in range(options.fields):
        field = simulate_field((TEST_SEED, k), shape=options.shape, bands=ALL)
        if field.kind == "blank":
            continue
        for name, bands in (SETS | {f"{b} alone": (b,) for b in ALL}).items():
            if options.sets and name not in options.sets:
                continue
            observed = {band: field.observed[band] for band in bands}
            given = {"sky": field.sky, "sigma": field.sigma}
            given = {key: {b: value[b] for b in bands} for key, value in given.items()}
            made = classical(observed, given, options)
            for mine, enhancer in enhancers.items():
                try:
                    images = enhance(enhancer, observed, **({} if options.own_sky else given))
                except WeightsError:
                    continue  # weights for other bands
                made[mine] = (without_sky(images), True)
            for method, (images, sharp) in made.items():
                rows += [
                    {"field": k, "set": name, "band": b, "method": method}
                    | by_region(field, b, images[b], sharp=sharp)
                    for b in bands
                ]
    for name in dict.fromkeys(row["set"] for row in rows):
        report_gains(name, [row for row in rows if row["set"] == name], enhancers)
    return rows


def report_gains(name, rows, enhancers):
    """Print the gains over the best classical method, region by region."""
    for region in REGIONS:
        table = []
        for band in dict.fromkeys(row["band"] for row in rows):
            own = [row for row in rows if row["band"] == band]
            values = {
                method: np.array([row[region] for row in own if row["method"] == method])
                for method in dict.fromkeys(row["method"] for row in own)
            }
            # Neither an error of 0 nor an empty region has a mean in dB.
            values = {m: np.where(np.isfinite(v), v, np.nan) for m, v in values.items()}
            with quiet():
                others = [(np.nanmean(v), m) for m, v in values.items() if m not in enhancers]
            best = max((one for one in others if np.isfinite(one[0])), default=None)
            if best is None:
                continue
            cells = [band, best[1], f"{best[0]:.2f}"]
            for mine in enhancers:
                cells += gain_over(values.get(mine), values[best[1]])
            table.append(cells)
        heads = [text for mine in enhancers for text in (mine, "gain")]
        print_table(f"{name}, {region}: PSNR (dB)", ("band", "best classical", "dB", *heads), table)


def gain_over(mine, best):
    """Cells of the PSNR of ours, and of how far it is ahead with the error of the mean."""
    if mine is None or not np.isfinite(mine - best).any():
        return ["-", "-"]
    gain, error = mean_and_error(mine - best)
    return [f"{np.nanmean(mine):.2f}", f"{gain:+.2f}+-{error:.2f}"]


def mean_and_error(values):
    """Mean of what is finite, and its standard error."""
    values = np.asarray(values)
    values = values[np.isfinite(values)]
    error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return float(values.mean()), float(error)


# Lone stars


def as_image(adu, band, conditions):
    """An image with the cards that tell its band and PSF."""
    template = simulate_field(0, shape=(16, 16), bands=(band,), kind="blank").observed[band]
    image = template.copy()
    # Without a pixel scale, no PSF would be known.
    image.data, image.wcs = np.asarray(adu, np.float32), wcs()
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

_LINE_BANDS = ("r", "J0660", "i")


def halpha(images, conditions, *, std=None, metas=None):
    """Map of Halpha in 1e-18 erg / (s cm2), from images in ADU; its deviation, if given theirs."""
    field = {}
    for band in _LINE_BANDS:
        per_nmgy = conditions[band].adu_per_nmgy
        own = None if std is None else StdDevUncertainty(std[band] / per_nmgy)
        meta = metas and metas[band]
        field[band] = CCDData(images[band] / per_nmgy, unit="nmgy", uncertainty=own, meta=meta)
    found = line_map(field)
    return (found.data if std is None else found.uncertainty.array) * 1e18


def lines(options, enhancers):
    """Rows of errors of Halpha maps of spirals."""
    rows, k, done = [], 0, 0
    enhancers = {name: copy.copy(enhancer) for name, enhancer in enhancers.items()}
    for enhancer in enhancers.values():
        enhancer.uncertainty = True
    while done < options.fields:
        field = simulate_field(
            (TEST_SEED, 1000 + k), shape=options.shape, bands=_LINE_BANDS, kind="galaxy"
        )
        k += 1
        seen = field.conditions
        truth = halpha({b: field.target[b].data for b in _LINE_BANDS}, seen)
        # Of an output pixel, which has a quarter of the flux of an input pixel and its noise.
        flat = {b: np.full((1, 1), field.sigma[b] / 4) for b in _LINE_BANDS}
        noise = float(halpha(flat, seen, std=flat)[0, 0])
        bright = truth > noise
        if (truth > 2 * noise).sum() < 50:
            continue
        done += 1
        # Noise of a sum over output pixels: four of them share one input pixel.
        total = {"sn": truth[bright].sum() / (2 * noise * np.sqrt(bright.sum()))}
        worst = max(_LINE_BANDS, key=lambda b: seen[b].fwhm)
        made = {"inputs at the worst PSF": (at_one_psf(field, _LINE_BANDS, seen[worst]), None)}
        for mine, enhancer in enhancers.items():
            try:
                images = enhance(enhancer, {b: field.observed[b] for b in _LINE_BANDS})
            except WeightsError:
                continue
            std = {b: images[b].uncertainty.array for b in _LINE_BANDS}
            metas = {b: images[b].meta for b in _LINE_BANDS}
            deviation = halpha(std, seen, std=std, metas=metas)
            made[mine] = halpha(without_sky(images), seen), deviation
        for name, (image, deviation) in made.items():
            off = image - truth
            row = {"field": k, "method": name, "rms": float(np.sqrt(np.mean(off**2)))}
            row["flux"] = float(image[bright].sum() / truth[bright].sum() - 1)
            row["within"] = np.nan
            if deviation is not None:
                row["within"] = float(np.mean(np.abs(off) < deviation))
            rows.append(row | total)
    report_lines(rows)
    return rows


def report_lines(rows):
    """Print the errors, and by how much they are smaller than those of the inputs."""
    names, table = list(dict.fromkeys(row["method"] for row in rows)), []
    first = np.array([row["rms"] for row in rows if row["method"] == names[0]])
    for name in names:
        own = [row for row in rows if row["method"] == name]
        rms, within = (np.array([row[c] for row in own]) for c in ("rms", "within"))
        flux = 100 * np.array([row["flux"] for row in own if row["sn"] > 20])
        low, high = np.percentile(flux, (16, 84)) if len(flux) else (np.nan, np.nan)
        table.append(
            (
                name,
                f"{np.median(rms):.3f}",
                f"{np.median(first / rms):.2f}",
                len(flux),
                f"{np.median(flux):+.1f}+-{1.25 * np.std(flux) / np.sqrt(len(flux)):.1f}",
                f"{low:+.0f} to {high:+.0f}",
                f"{100 * np.mean(within):.1f}",
            )
        )
    print_table(
        "Halpha maps: median rms error (1e-18 erg / (s cm2) per pixel), and how many times that "
        "of the inputs is larger; error of the flux (%) where S/N > 20; pixels within 1 sigma (%)",
        ("method", "rms", "times", "fields", "flux, median", "16 to 84 %", "within"),
        table,
    )


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
            found = added(enhancer, blank, plain, ("J0660",), 10)
            kept.append(found["J0660"])
            leaked.append((found["r"], found["i"]))
            found = added(enhancer, blank, plain, [b for b in ALL if b != "J0515"], 100)
            painted.append(found["J0515"])
            moved.append(swapped(enhancer, k))
        if not kept:
            continue
        in_r, in_i = np.transpose(leaked)
        columns = {"kept": kept, "in r": in_r, "in i": in_i, "painted": painted}
        means = {name: mean_and_error(values) for name, values in columns.items()}
        more = {"larger": np.abs(leaked).max(1).mean(), "moved": np.nanmedian(moved)}
        rows.append({"method": mine, **means, **more, "false": false})
    print_table(
        "HII region of S/N 10 in J0660: flux kept, and what r and i gain of that of such a source "
        "in them, means, and the larger of both without its sign; a star of S/N 100 painted into "
        "J0515, which lacks it; change of the others' flux with a foreign g (all in %); bands of "
        "blank fields with anything above 5 sigma",
        ("weights", *columns, "larger", "moved", "false"),
        [
            (
                row["method"],
                *("{:+.1f}+-{:.1f}".format(*(100 * x for x in row[name])) for name in columns),
                *(f"{100 * row[name]:.1f}" for name in more),
                row["false"],
            )
            for row in rows
        ],
    )
    return [
        {key: value[0] if isinstance(value, tuple) else value for key, value in row.items()}
        for row in rows
    ]


def added(enhancer, blank, plain, bands, sn):
    """What a star of some bands adds within 3 arcsec: flux found by what it should be there."""
    from noise_limit import star

    images, put = {}, {}
    middle = np.hypot(*(np.indices((128, 128)) - 63.5)) < 3 / (PIXEL_SCALE / 2)
    for band, image in blank.observed.items():
        images[band] = image.copy()
        seen = blank.conditions[band]
        core = core_profile(seen.fwhm, seen.beta, seen.wings)
        point = star(1, 0, 0, *core, seen.wings)
        flux = sn * blank.sigma[band] / np.sqrt(np.sum(point**2))
        # The aperture does not hold all of the wings.
        put[band] = flux * star(2, 0, 0, *TARGET_PSF, seen.wings)[middle].sum()
        if band in bands:
            images[band].data = (image.data + flux * point).astype(np.float32)
    made = without_sky(enhance(enhancer, images))
    return {band: float((made[band] - plain[band])[middle].sum() / put[band]) for band in ALL}


def swapped(enhancer, k):
    """Median change of the flux of the other bands when g is that of another field."""
    one, two = (
        simulate_field((TEST_SEED, 3000 + n), shape=(64, 64), bands=ALL, kind="galaxy")
        for n in (k, k + 5000)
    )
    right = without_sky(enhance(enhancer, one.observed))
    foreign = two.observed["g"].copy()
    foreign.wcs = one.observed["g"].wcs
    wrong = without_sky(enhance(enhancer, one.observed | {"g": foreign}))
    changes = [abs(wrong[b].sum() / right[b].sum() - 1) for b in ALL if b != "g"]
    return float(np.median(changes))


PARTS = {"gains": gains, "stars": stars, "lines": lines, "honesty": honesty}


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.set_defaults(weights=["splus-any"])
    parser.add_argument("--parts", nargs="+", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--methods", nargs="*", help="classical methods; default: all")
    parser.add_argument("--sets", nargs="*", help="sets of bands; default: all")
    parser.add_argument("--own-sky", action="store_true", help="gains: ours measures the sky")
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
