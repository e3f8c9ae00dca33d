# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What is held against the shipped weights beside PSNR: a table of limits, met or not.

noise       tiles of sky and noise alone, all patterns and detections are invented: detections
            at 5 sigma of the input's noise, lines in the power spectrum of each sky and of the
            mean of all outputs (in sky noises of the input).
turns       the same field turned and mirrored: rms of the change in the sky (in sky noises).
depth       stars and small galaxies on tiles of noise: S/N (within 3", by the input's noise)
            down to which 90 % of them are found, input over output, in magnitudes.  Both are
            searched down to the lowest threshold at which 95 % of what is found was put there.
uncertainty share of truths in the intervals of 68 and 95 %, by S/N of the pixel: the truth over
            the sky noise of the input, and the image over its stated uncertainty.
flux        median offset (mmag) and scatter beyond the noise against the truth, r = 3", of
            sources with S/N above 20; with the flux anchor and without it.
kron        the same in elliptical apertures of 2.5 Kron radii, drawn on the truth, and of
            colors in them.

Fields are simulated with test seeds, (3, k), which no training touches.
"""

from argparse import Namespace
from collections import defaultdict

import numpy as np
from _common import (
    BANDS,
    TEST_SEED,
    enhance,
    fields,
    make_parser,
    parse,
    print_table,
    quiet,
    write_table,
)
from photometry import measure_simulated
from photutils.segmentation import SourceCatalog, detect_sources
from scipy import optimize, special, stats

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.artefacts_sky import mean_output
from splus_srgan.evaluation.measure.injection import draw_injections, inject
from splus_srgan.evaluation.measure.noise import noise_field, noise_only_detections
from splus_srgan.evaluation.measure.patterns import pattern_lines
from splus_srgan.evaluation.measure.turning import symmetry_residual
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.sources import detect, match_positions
from splus_srgan.evaluation.statistics import excess_scatter, median_error
from splus_srgan.models.weights import load_card
from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.training.calibration import measure_coverage

FIRST_NOISE = 10_000  # test seeds of the noise tiles, beyond those of the fields
FIRST_INJECTED = 20_000
THRESHOLDS = (5.0, 4.0, 3.5, 3.0, 2.7, 2.4, 2.1, 1.8, 1.5, 1.2, 1.0, 0.8, 0.6, 0.5, 0.4)
PURITY, COMPLETENESS = 0.95, 0.9
RADIUS = 3.0  # arcsec, of the aperture that S/N is stated in
EDGE = 4  # input pixels: sources that the frame cuts are left out
SECTIONS = ("noise", "turns", "depth", "uncertainty", "flux", "kron")


class Limits:
    """Collects lines of the table, each with its limit."""

    def __init__(self):
        self.rows = []

    def add(self, name, section, what, band, value, limit, kind="at most"):
        """A measured value and what it has to keep."""
        met = value <= limit if kind == "at most" else value >= limit
        self.rows.append(
            {
                "weights": name,
                "section": section,
                "what": what,
                "band": band,
                "value": float(value),
                "limit": f"{kind} {limit:g}",
                "met": bool(met),
            }
        )

    def show(self, name, section):
        """Print the lines of a section."""
        mine = [r for r in self.rows if (r["weights"], r["section"]) == (name, section)]
        cells = [
            (r["what"], r["band"], f"{r['value']:.4g}", r["limit"], "yes" if r["met"] else "NO")
            for r in mine
        ]
        print_table(f"{name}: {section}", ("what", "band", "value", "limit", "met"), cells)


def noise_alone(seed, *, shape=(128, 128)):
    """Noise like that of a simulated field."""
    field = simulate_field(seed, shape=(128, 128), bands=BANDS, kind="blank")
    return noise_field(field.observed, seed=seed, shape=shape)


def judge_noise(name, make, options, limits):
    """Detections and patterns in tiles of noise alone."""
    enhancer = make()
    outputs, lines, number = [], defaultdict(list), defaultdict(int)
    for k in range(options.noise_tiles):
        images = noise_alone((TEST_SEED, FIRST_NOISE + k))
        made = enhance(enhancer, images)
        field = compare_field(EvaluationPair(f"noise {k}", images), made)
        with quiet():
            found = noise_only_detections(field)
        for band in BANDS:
            mine = found["noise"][found["band"] == band]
            number[band, "output"] += int(np.sum(mine == "input"))
            number[band, "input"] += int(np.sum(mine == "control"))
        sky = {band: one.sky_units for band, one in field.bands.items()}
        outputs.append(sky)
        for band, image in sky.items():
            lines[band].append(strongest_line(pattern_lines(image)))
    text = f"sources in {options.noise_tiles} tiles"
    for band in BANDS:
        limits.add(name, "noise", text, band, number[band, "output"], 0)
        limits.add(name, "noise", "strongest line in a tile", band, max(lines[band]), 1e-3)
        mean, count = mean_output([one[band] for one in outputs])
        table = pattern_lines(mean, free=count >= max(2, len(outputs) // 4))
        line = strongest_line(table)
        limits.add(name, "noise", "line in the mean of all", band, line, 5e-4)
    print(f"\n(in the inputs: {[number[band, 'input'] for band in BANDS]} sources)")


def strongest_line(table):
    """Amplitude of the strongest line, or where none was found the least that would have been."""
    return float(np.max(np.where(table["found"], table["amplitude"], table["faintest"])))


def judge_turns(name, make, options, limits):
    """Change of the sky where the field is turned."""
    enhancer = make()
    worst = defaultdict(list)
    for _, field in fields(options.turned_fields):
        with quiet():
            table = symmetry_residual(enhancer, field.observed)
        for row in table:
            worst[row["band"]].append(float(row["sky"]))
    for band in BANDS:
        value = np.nanmax(worst[band])
        limits.add(name, "turns", "largest rms change in the sky", band, value, 0.1)


def search(image, sigma, factor, threshold):
    """Sources away from the edges."""
    with quiet():
        table, _ = detect(image, sigma, factor=factor, threshold=threshold)
    ny, nx = (n // factor for n in image.shape)
    inside = (np.minimum(table["x"], nx - 1 - table["x"]) > EDGE) & (
        np.minimum(table["y"], ny - 1 - table["y"]) > EDGE
    )
    return table[inside]


def judge_depth(name, make, options, limits):
    """Completeness and purity of detections in output and input."""
    enhancer = make()
    pure, complete = defaultdict(list), defaultdict(list)
    for k in range(options.fields):
        sources, bands = injected_tile(enhancer, k)
        places = np.asarray(sources["x"]), np.asarray(sources["y"])
        for band, compared in bands.items():
            noise = compared.sigma * area_noise(np.pi * (RADIUS / compared.pixel_scale) ** 2)
            complete[band].append(np.asarray(sources[f"flux_{band}"]) / noise)
            for what, image, factor in (
                ("output", compared.output, 2),
                ("input", compared.input, 1),
            ):
                for threshold in THRESHOLDS:
                    found = search(image, compared.sigma, factor, threshold)
                    index = match_positions(found["x"], found["y"], *places)
                    back = match_positions(*places, found["x"], found["y"])
                    pure[band, what, threshold].append((np.sum(index >= 0), len(found)))
                    complete[band, what, threshold].append(back >= 0)
    for band in BANDS:
        depth, snr = {}, np.concatenate(complete[band])
        for what in ("input", "output"):
            threshold, share = _lowest_pure(pure, band, what)
            depth[what] = depth_of(snr, np.concatenate(complete[band, what, threshold]))
            print(
                f"  {band} {what}: threshold {threshold}, purity {share:.3f}, "
                f"{100 * COMPLETENESS:.0f} % complete down to S/N {depth[what]:.2f}"
            )
            if what == "output":
                limits.add(name, "depth", "purity", band, share, PURITY, "at least")
        gain = 2.5 * np.log10(depth["input"] / depth["output"])
        limits.add(name, "depth", "gain in magnitudes", band, gain, 0.3, "at least")


def injected_tile(enhancer, k):
    """Stars and small galaxies put on a tile of noise, and what was made of it."""
    pair = EvaluationPair(
        name=f"tile {k}",
        input=noise_alone((TEST_SEED, FIRST_INJECTED + k), shape=(256, 256)),
    )
    bare = compare_field(pair, enhance(enhancer, pair.input)).bands
    sources = draw_injections(bare, n=40, seed=k, snr=(2, 60))
    injected = inject(
        pair.input,
        sources,
        psfs={band: one.psf for band, one in bare.items()},
        electrons={band: one.electrons for band, one in bare.items()},
        seed=k,
        pixel_scale=next(iter(bare.values())).pixel_scale,
    )
    pair = EvaluationPair(pair.name, injected)
    return sources, compare_field(pair, enhance(enhancer, injected)).bands


def _lowest_pure(pure, band, what):
    """The lowest threshold whose detections are pure, and their purity."""
    best = None
    for threshold in THRESHOLDS:
        right, all_found = np.sum(pure[band, what, threshold], axis=0)
        share = right / max(all_found, 1)
        if best is not None and share < PURITY:
            break
        best = threshold, share
    return best


def depth_of(snr, found):
    """The S/N down to which so many are found."""
    # Logistic in the logarithm of S/N, by maximum likelihood.
    logs = np.log(snr)

    def surprise(parameters):
        middle, log_width = parameters
        steps = (logs - middle) / np.exp(log_width)
        return -np.sum(stats.logistic.logcdf(np.where(found, steps, -steps)))

    best = optimize.minimize(surprise, (np.log(8.0), np.log(0.2)), method="Nelder-Mead")
    middle, log_width = best.x
    return float(np.exp(middle + np.exp(log_width) * special.logit(COMPLETENESS)))


def judge_uncertainty(name, make, options, limits):
    """Coverage of the intervals, all fields together."""
    with quiet():
        table = measure_coverage(
            make(uncertainty=True), (field for _, field in fields(options.fields))
        )
    for row in table:
        for level, slack in ((68, 3), (95, 2)):
            share = 100 * float(row[f"coverage_{level}"])
            bins = f"{row['by']} {row['low']:g} to {row['high']:g}"
            what = f"{level} %, {bins}: {share:.1f}, off by"
            limits.add(name, "uncertainty", what, row["band"], abs(share - level), slack)


def judge_flux(name, make, options, limits):
    """Flux against the truth, with the anchor and without."""
    enhancers = {"anchored": make(), "alone": make(flux_anchor=0)}
    asked = Namespace(fields=options.flux_fields, shape=(256, 256), kind=None)
    rows = measure_simulated(asked, enhancers)
    for method in enhancers:
        for band in BANDS:
            mine = [
                r
                for r in rows
                if (r["what"], r["method"], r["band"]) == ("truth", method, band)
                and r["snr"] > 20
                and r["offset"] > -9
            ]
            offset = np.array([r["offset"] for r in mine])
            error = np.array([r["error"] for r in mine])
            text = f"{method}: {len(mine)} sources, error {1000 * median_error(offset):.1f}, "
            median = 1000 * abs(np.median(offset))
            limits.add(name, "flux", text + "median (mmag)", band, median, 5)
            beyond = 1000 * float(excess_scatter(offset, error))
            limits.add(name, "flux", f"{method}: scatter beyond (mmag)", band, beyond, 20)


def judge_kron(name, make, options, limits):
    """Flux and color in Kron apertures, against the truth."""
    for method, enhancer in (("anchored", make()), ("alone", make(flux_anchor=0))):
        offsets = [kron_offsets(field, enhancer) for _, field in fields(options.fields)]
        table = np.concatenate(offsets)
        for k, band in enumerate(BANDS):
            mine = table[np.isfinite(table[:, k]), k]
            text = f"{method}: {len(mine)} sources, error {1000 * median_error(mine):.1f}"
            median = 1000 * abs(np.median(mine))
            limits.add(name, "kron", text + ", median (mmag)", band, median, 5)
        for one, two in ((0, 1), (1, 2)):
            colors = table[:, one] - table[:, two]
            colors = colors[np.isfinite(colors)]
            text = f"{method}: {len(colors)} colors, median (mmag)"
            median = 1000 * abs(np.median(colors))
            limits.add(name, "kron", text, f"{BANDS[one]}-{BANDS[two]}", median, 5)


def kron_offsets(field, enhancer, *, least_snr=20):
    """``2.5 log10(output / truth)`` of the sources (rows) in each band; NaN where too faint."""
    made = enhance(enhancer, field.observed)
    pair = EvaluationPair.from_simulation(field, name="field")
    bands = compare_field(pair, made).bands
    truth = bands["r"].target
    # As bright as the input's noise in a pixel: what can be seen of a source in the input.
    segments = detect_sources(4 * truth, bands["r"].sigma, 40)
    if segments is None:
        return np.full((0, len(BANDS)), np.nan)
    with quiet():
        catalog = SourceCatalog(truth, segments)
        apertures = [one for one in catalog.kron_aperture if one is not None]
    rows = np.full((len(apertures), len(BANDS)), np.nan)
    for k, band in enumerate(BANDS):
        one = bands[band]
        bad = one.bad.repeat(2, 0).repeat(2, 1)
        for row, aperture in zip(rows, apertures, strict=True):
            mask = aperture.to_mask("exact")
            if mask.to_image(truth.shape) is None or mask.multiply(bad).any():
                continue
            true, found = (np.sum(mask.multiply(image)) for image in (one.target, one.output))
            noise = one.sigma * np.sqrt(aperture.area / 4)
            if true > least_snr * noise and found > 0:
                row[k] = 2.5 * np.log10(found / true)
    return rows


def main():
    """Run."""
    parser = make_parser(__doc__, fields=20)
    add = parser.add_argument
    add("--only", nargs="+", default=SECTIONS, choices=SECTIONS, metavar="SECTION")
    add("--noise-tiles", type=int, default=200, metavar="N", help="default %(default)s")
    add("--turned-fields", type=int, default=4, metavar="N", help="default %(default)s")
    add("--flux-fields", type=int, default=12, metavar="N", help="default %(default)s")
    options = parse(parser)
    limits = Limits()
    judges = {
        "noise": judge_noise,
        "turns": judge_turns,
        "depth": judge_depth,
        "uncertainty": judge_uncertainty,
        "flux": judge_flux,
        "kron": judge_kron,
    }
    for weights in options.weights:
        name = load_card(weights).name
        for section in options.only:
            judges[section](name, make_one(weights, options), options, limits)
            limits.show(name, section)
    missed = sum(not row["met"] for row in limits.rows)
    print(f"\n{len(limits.rows) - missed} of {len(limits.rows)} limits are met")
    write_table(options.output, limits.rows)


def make_one(weights, options):
    """A maker of enhancers of these weights."""
    chosen = {"precision": options.precision, "engine": options.engine}
    return lambda **keywords: SRGANEnhancer(weights, **(chosen | keywords))


if __name__ == "__main__":
    main()
