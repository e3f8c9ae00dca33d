# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
PSNR and SSIM against the noise-free truth of simulated fields, side by side.

Images are compared after y = arcsinh(100 x / 3), with x the flux in nanomaggies per
OUTPUT pixel (0.275"); the data range is that of the stretched truth, per field and band.
Every pixel counts, saturated ones too.  The truth has no left-over sky: in the first table the
classical methods are given the true sky and sigma, and ours subtract the sky that they measured.
How far ours are ahead is told for this, and with the same knowledge for all: both measured, as
on real images, or both given.
Fields whose truth is empty (range 0, blank sky) have no PSNR; their errors are given
as rms in units of the input's sigma per pixel instead.

Three more scores say where the difference lies: inside the isophote of S/N > 3, in the sky, and
over the frame with truth and outputs all at the PSF of the input, where sharpening does not count.

Sharpness is the power spectrum of the stretched image over that of the truth, its geometric mean
over rings of frequency: 1 is as much detail as there is, right or wrong.  The target's PSF passes
34 % at 0.35 and 5 % at 0.8 cycles per arcsec, its cut-off.

--tune N chooses the classical methods' parameters on N validation fields, seeds (2, k).
"""

import time
from itertools import product

import numpy as np
from _common import (
    BANDS,
    VALIDATION_SEED,
    busy_note,
    by_region,
    enhance,
    fields,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
    sharpened,
    without_sky,
    write_table,
)

from splus_srgan.evaluation.baselines.methods import (
    BM3D,
    Bicubic,
    Gaussian,
    LowRank,
    NLMeans,
    PeronaMalik,
    RichardsonLucy,
    TotalVariation,
    Wavelet,
    WeightedSum,
    Wiener,
    default_baselines,
)
from splus_srgan.evaluation.measure.metrics import nrmse, psnr, ssim
from splus_srgan.evaluation.measure.regions import REGIONS
from splus_srgan.evaluation.measure.spaces import to_space
from splus_srgan.evaluation.measure.spectra import power_spectrum_ratio
from splus_srgan.models.weights import load_card
from splus_srgan.pixels.coadd_noise import CORRELATION
from splus_srgan.splus import PIXEL_SCALE


def _grid(cls, **values):
    """A method with every combination of parameters."""
    return [cls(**dict(zip(values, row, strict=True))) for row in product(*values.values())]


GRIDS = {
    "bicubic": [Bicubic()],
    "Gaussian": _grid(
        Gaussian, width=(0.4, 0.55, 0.7, 0.85, 1.0, 1.2, 1.5), space=("linear", "noise")
    ),
    "wavelet": _grid(
        Wavelet,
        rule=("BayesShrink", "VisuShrink"),
        strength=(0.5, 0.75, 1.0, 1.3),
        basis=("db2", "sym4"),
    ),
    "NL-means": _grid(NLMeans, strength=(0.5, 0.65, 0.8, 1.0), patch=(3, 5)),
    "NL-means, joint": _grid(NLMeans, strength=(0.5, 0.65, 0.8, 1.0), patch=(3, 5), joint=(True,)),
    "BM3D": _grid(BM3D, strength=(1.0, 1.2, 1.4, 1.7)),
    "BM3D, joint": _grid(BM3D, strength=(1.0, 1.2, 1.4, 1.7), joint=(True,)),
    "BM3D, correlated noise": _grid(
        BM3D, strength=(0.9, 1.0, 1.1, 1.2, 1.4), correlation=(CORRELATION,)
    ),
    "BM3D, correlated noise, joint": _grid(
        BM3D, strength=(0.9, 1.0, 1.1, 1.2, 1.4), correlation=(CORRELATION,), joint=(True,)
    ),
    "weighted sum": _grid(WeightedSum, strength=(0.9, 1.0, 1.1, 1.3), width=(1.5, 2.5, 4.0)),
    "low rank": _grid(LowRank, strength=(0.9, 1.0, 1.1, 1.3)),
    "total variation": _grid(TotalVariation, strength=(0.7, 0.85, 1.0, 1.15, 1.4)),
    "Perona-Malik": _grid(
        PeronaMalik, contrast=(0.35, 0.5, 0.7, 1.0), iterations=(10, 15, 20, 30, 40)
    ),
    "Wiener": _grid(Wiener, strength=(1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)),
    "Richardson-Lucy": _grid(RichardsonLucy, iterations=(1, 2, 3, 5, 10, 20)),
}
"""What ``--tune N`` tries on validation fields; the methods' defaults were chosen so."""

METHODS = default_baselines()
OURS = "ours: "
TARGETS = (4, 6.49)
"""Gains (dB) to be reached: the first for any weights, the second the seed paper's own."""

SCALES = {"coarse": (0.1, 0.35), "fine": (0.35, 0.8)}
"""Ranges of frequency, cycles per arcsec."""

JOINT = (
    "NL-means, joint",
    "BM3D, joint",
    "BM3D, correlated noise, joint",
    "weighted sum",
    "low rank",
)
"""Methods that look at all bands at once, as three-band weights do."""


def score(field, fine, *, sharp=False):
    """PSNR (dB), SSIM, and rms error in input sigmas, per band; NaN where the truth is empty."""
    rows = []
    for band, image in fine.items():
        zero_point, target = field.conditions[band].zero_point, field.target[band].data
        images = [np.asarray(one, float) for one in (target, image)]
        truth, made = (to_space(one, "asinh", zero_point=zero_point) for one in images)
        # An empty truth has a range of 0, and no PSNR.
        options = {"data_range": float(np.ptp(truth))}
        regions = by_region(field, band, image, sharp=sharp)
        rows.append(
            {f"psnr_{region}": regions[region] for region in REGIONS[1:]}
            | {
                "band": band,
                "psnr": psnr(truth, made, **options),
                "ssim": ssim(truth, made, **options),
                "rms": nrmse(*images, data_range=field.sigma[band] / 4),
            }
            | power(truth, made)
        )
    return rows


def power(truth, made):
    """Natural logarithm of the power over the truth's, per range of frequency."""
    table = power_spectrum_ratio(truth, made)
    frequency = table["frequency"].value / (PIXEL_SCALE / 2)
    with np.errstate(divide="ignore"):
        ratio = np.log(table["ratio"])
    return {
        f"power_{name}": float(np.mean(ratio[(frequency >= low) & (frequency < high)]))
        for name, (low, high) in SCALES.items()
    }


def given(field, method):
    """Output of a method on a field, with its true sky and sigma."""
    with quiet():
        return method(field.observed, sky=field.sky, sigma=field.sigma)


def measured(field, method):
    """Output of a method on a field, which measures sky and sigma."""
    return enhance(method, field.observed)


def tune(number, methods):
    """Try the grids on validation fields, and print the best parameters."""
    total = {m: np.zeros(len(GRIDS[m])) for m in methods}
    count = 0
    for _, field in fields(number, seed=VALIDATION_SEED):
        if field.kind == "blank":
            continue
        count += 1
        for method in methods:
            for i, candidate in enumerate(GRIDS[method]):
                rows = score(field, without_sky(given(field, candidate)))
                total[method][i] += np.nanmean([row["psnr"] for row in rows])
    for method in methods:
        order = np.argsort(-total[method])
        print_table(
            f"{method}: mean PSNR (dB) on {count} validation fields, best five",
            ("parameters", "PSNR"),
            [(GRIDS[method][i], f"{total[method][i] / count:.2f}") for i in order[:5]],
        )


def compare(options):
    """Score all methods; a row per field, band and method."""
    methods = {name: METHODS[name] for name in options.methods}
    mine = {f"{OURS}{name}": one for name, one in make_enhancers(options).items()}
    rows = []
    for k, field in fields(options.fields):
        for name, method in (methods | mine).items():
            for sky, make in (("given", given), ("measured", measured)):
                start = time.perf_counter()
                fine = make(field, method)
                facts = {"seconds": time.perf_counter() - start, "sky": sky}
                facts |= {"field": k, "kind": field.kind, "method": name}
                scores = score(field, without_sky(fine), sharp=sharpened(fine))
                rows += [facts | row for row in scores]
    return rows


def usual(rows):
    """The rows of the first table: the true sky for the classical methods alone."""
    return [
        row
        for row in rows
        if row["sky"] == ("measured" if row["method"].startswith(OURS) else "given")
    ]


def mean(rows, method, band, what):
    """Mean over the fields."""
    values = [r[what] for r in rows if r["method"] == method and band in (None, r["band"])]
    return np.nanmean(values)


def report(every, options):
    """Print the scores, and how far ours are ahead."""
    rows = usual(every)
    names = list(dict.fromkeys(row["method"] for row in rows))
    scored = [row for row in rows if np.isfinite(row["psnr"])]
    kinds = {row["field"]: row["kind"] for row in scored}
    empty = {row["field"] for row in rows} - set(kinds)
    print_table(
        f"Mean over {len(kinds)} fields; {len(empty)} fields are empty and left out "
        "(PSNR in dB; seconds per three-band field, median)",
        (
            "method",
            *(f"PSNR {b}" for b in BANDS),
            "mean",
            *(f"SSIM {b}" for b in BANDS),
            "mean",
            "s",
        ),
        [
            (
                name,
                *(f"{mean(scored, name, band, 'psnr'):.2f}" for band in (*BANDS, None)),
                *(f"{mean(scored, name, band, 'ssim'):.4f}" for band in (*BANDS, None)),
                f"{np.median([r['seconds'] for r in rows if r['method'] == name]):.2f}",
            )
            for name in names
        ],
    )
    print(f"  ({busy_note()})")
    for text, part in (
        ("the others with the true sky and sigma, ours with what they measured", rows),
        ("all with what they measured", [row for row in every if row["sky"] == "measured"]),
        ("all with the true sky and sigma", [row for row in every if row["sky"] == "given"]),
    ):
        report_margins([row for row in part if np.isfinite(row["psnr"])], names, options, text)
    report_regions(scored, names)
    report_sharpness(scored, names)
    chosen = sorted(set(kinds.values()))
    print_table(
        "Mean PSNR (dB) over bands, by kind of field",
        ("method", *(f"{kind} ({list(kinds.values()).count(kind)})" for kind in chosen)),
        [
            (
                name,
                *(
                    f"{mean([r for r in scored if r['kind'] == kind], name, None, 'psnr'):.2f}"
                    for kind in chosen
                ),
            )
            for name in names
        ],
    )
    if empty:
        blank = [row for row in rows if row["field"] in empty]
        print_table(
            f"Blank sky, {len(empty)} fields: rms error in units of the input's sigma per pixel",
            ("method", *BANDS),
            [
                (name, *(f"{mean(blank, name, band, 'rms'):.4f}" for band in BANDS))
                for name in names
            ],
        )


def report_margins(scored, names, options, knowledge):
    """Print how far ours are ahead of the best other method, per band."""
    mine = [name for name in names if name.startswith(OURS)]
    others = [name for name in names if name not in mine]
    if not others:
        return
    one_band = [
        f"{OURS}{card.name}" for card in map(load_card, options.weights) if card.takes_any_band
    ]
    alone = [other for other in others if other not in JOINT]
    lines = []
    for name in mine:
        groups = {"every method": others}
        if name in one_band and alone != others:
            groups = {"methods of one band": alone} | groups
        for text, group in groups.items():
            cells, worst = [], np.inf
            for band in BANDS:
                best = max(group, key=lambda other, b=band: mean(scored, other, b, "psnr"))
                margin = mean(scored, name, band, "psnr") - mean(scored, best, band, "psnr")
                worst = min(worst, margin)
                cells.append(f"{margin:+.2f} ({best})")
            reached = ("yes" if worst >= target else "NO" for target in TARGETS)
            lines.append((name, text, *cells, *reached))
    print_table(
        "Ahead of the best other method by (dB), and whether by so much in every band; "
        + knowledge,
        ("ours", "against", *BANDS, *(f"{target} dB" for target in TARGETS)),
        lines,
    )


def report_regions(scored, names):
    """Print PSNR inside sources, in the sky, and with all at the PSF of the input."""
    finite = {
        region: [row for row in scored if np.isfinite(row[f"psnr_{region}"])]
        for region in REGIONS[1:]
    }
    print_table(
        "PSNR (dB) inside the isophote of S/N > 3, in the sky (S/N < 0.3), and of the frame with "
        "all at the PSF of the input",
        ("method", *(f"{region} {band}" for region in finite for band in BANDS)),
        [
            (
                name,
                *(
                    f"{mean(rows, name, band, f'psnr_{region}'):.2f}"
                    for region, rows in finite.items()
                    for band in BANDS
                ),
            )
            for name in names
        ],
    )


def report_sharpness(scored, names):
    """Print the power spectra over that of the truth."""
    cells = []
    for name in names:
        ratios = [
            np.exp(mean(scored, name, band, f"power_{scale}")) for scale in SCALES for band in BANDS
        ]
        cells.append((name, *(f"{ratio:.2f}" for ratio in ratios)))
    titles = [f"{scale} {band}" for scale in SCALES for band in BANDS]
    ranges = ", ".join(f"{name} {low} to {high}" for name, (low, high) in SCALES.items())
    print_table(
        f"Power spectrum over the truth's, geometric mean over fields ({ranges} cycles/arcsec)",
        ("method", *titles),
        cells,
    )


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--methods",
        nargs="+",
        default=list(METHODS),
        metavar="METHOD",
        choices=list(METHODS),
        help="classical methods; default: all",
    )
    parser.add_argument(
        "--tune",
        type=int,
        metavar="N",
        default=0,
        help="only tune the methods on N validation fields",
    )
    options = parse(parser)
    if options.tune:
        tune(options.tune, options.methods)
        return
    rows = compare(options)
    report(rows, options)
    write_table(
        options.output,
        rows,
        units={"psnr": "dB", "seconds": "s"},
        meta={"parameters": {name: repr(METHODS[name]) for name in options.methods}},
    )


if __name__ == "__main__":
    main()
