# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What precision and engine change: magnitudes against float32 in torch, and speed.

Sources of simulated fields with S/N > 20 in r = 3" apertures on the output; the absolute
difference in millimagnitudes.  Targets for bfloat16: median 1, 99 % within 5, and 1 for
S/N > 100.  Speed is that of the generator alone, median of repeats in turn, after a
warm-up.
"""

import time

import numpy as np
from _common import (
    BANDS,
    busy_note,
    enhance,
    fields,
    make_parser,
    parse,
    print_table,
    write_table,
)

from splus_srgan import SRGANEnhancer
from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.sources import any_within, inside
from splus_srgan.models.engines import make_engine
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.utils.optional import has

RADIUS = 3.0
REFERENCE = ("torch", "float32")


def variants(options):
    """Engines and precisions to compare, the reference first."""
    engines = ["torch"] + ["openvino"] * has("openvino")
    if options.engine != "auto":
        engines = [options.engine]
    precisions = ("float32", "bfloat16") if options.precision == "auto" else (options.precision,)
    rest = [(engine, precision) for engine in engines for precision in precisions]
    return [REFERENCE, *(variant for variant in rest if variant != REFERENCE)]


def bright_sources(field, band):
    """Positions and S/N (input, r = 3") of sources above S/N 20, without saturated ones."""
    x, y = field.sources["x"].value, field.sources["y"].value
    conditions, image = field.conditions[band], field.observed[band].data
    full = image >= 0.9 * conditions.saturation
    good = inside(x, y, image.shape, RADIUS) & ~any_within(full, x, y, RADIUS)
    x, y = x[good], y[good]
    if not len(x):
        return x, y, x
    place = {"radius": RADIUS, "annulus": (5.0, 8.0), "factor": 2}
    flux, free = aperture_flux(field.target[band].data, x, y, **place)
    noise = aperture_noise(
        flux,
        free,
        radius=RADIUS,
        sigma=field.sigma[band],
        electrons=conditions.electrons / conditions.adu_per_nmgy,
    )
    keep = flux > 20 * noise
    return x[keep], y[keep], (flux / noise)[keep]


def plain_sums(image, x, y):
    """Sums in apertures on the fine grid."""
    return aperture_flux(image, x, y, radius=RADIUS, factor=2)[0]


def compare(options):
    """Differences of magnitude of each variant, source by source."""
    chosen, rows = variants(options), []
    enhancers = {
        (name, *variant): SRGANEnhancer(name, engine=variant[0], precision=variant[1])
        for name in options.weights
        for variant in chosen
    }
    for k, field in fields(options.fields):
        sources = {b: bright_sources(field, b) for b in BANDS}
        for name in options.weights:
            sums = {}
            for variant in chosen:
                made = enhance(enhancers[name, *variant], field.observed)
                sums[variant] = {
                    b: plain_sums(made[b].data - field.sky[b] / 4, *sources[b][:2])
                    for b in BANDS
                    if len(sources[b][0])
                }
            for variant in chosen[1:]:
                for b, reference in sums[REFERENCE].items():
                    with np.errstate(invalid="ignore", divide="ignore"):
                        change = -2500 * np.log10(sums[variant][b] / reference)
                    rows += [
                        {
                            "field": k,
                            "weights": load_card(name).name,
                            "engine": variant[0],
                            "precision": variant[1],
                            "band": b,
                            "snr": s,
                            "change": c,
                        }
                        for s, c in zip(sources[b][2], change, strict=True)
                    ]
    return rows


def report(rows):
    """Print the differences."""
    lines = []
    for key in dict.fromkeys((r["weights"], r["engine"], r["precision"]) for r in rows):
        mine = [r for r in rows if (r["weights"], r["engine"], r["precision"]) == key]
        change = np.abs([r["change"] for r in mine])
        bright = np.abs([r["change"] for r in mine if r["snr"] > 100])
        signed = np.median([r["change"] for r in mine])
        cells = [
            np.median(change),
            np.percentile(change, 99),
            change.max(),
            *((np.median(bright), np.percentile(bright, 99)) if bright.size else (np.nan, np.nan)),
        ]
        lines.append(
            (
                " ".join(key),
                len(mine),
                f"{signed:+.3f}",
                *(f"{c:.3f}" for c in cells[:3]),
                len(bright),
                *(f"{c:.3f}" for c in cells[3:]),
            )
        )
    print_table(
        "Change of magnitude (mmag) against torch float32",
        (
            "weights, engine, precision",
            "n S/N>20",
            "median",
            "median |.|",
            "99 %",
            "worst",
            "n S/N>100",
            "median |.|",
            "99 %",
        ),
        lines,
    )


def speed(options):
    """Time every engine in turn on the same image."""
    side, lines = options.side, []
    rng = np.random.default_rng(3)
    for name in options.weights:
        card = load_card(name)
        image = rng.normal(size=(len(card.bands), side, side)).astype(np.float32)
        engines = {
            variant: make_engine(
                load_generator(card), device="cpu", engine=variant[0], precision=variant[1]
            )
            for variant in variants(options)
        }
        times = {variant: [] for variant in engines}
        for repeat in range(options.repeats + 1):
            for variant, engine in engines.items():
                start = time.perf_counter()
                engine(image)
                if repeat:
                    times[variant].append(time.perf_counter() - start)
        base = np.median(times[REFERENCE])
        for variant, values in times.items():
            median = np.median(values)
            lines.append(
                (
                    f"{card.name} {' '.join(variant)}",
                    f"{median:.4f}",
                    f"{min(values):.4f}",
                    f"{side**2 / median / 1e6:.3f}",
                    f"{base / median:.2f}",
                )
            )
    print_table(
        f"Seconds per {side} x {side} image (three bands, or one for one-band weights), "
        f"{options.repeats} repeats",
        ("weights, engine, precision", "median s", "least s", "Mpx/s", "times faster"),
        lines,
    )
    print(f"  ({busy_note()})")


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.add_argument("--repeats", type=int, default=15, help="of each timing; default 15")
    parser.add_argument("--side", type=int, default=128, help="of the timed image; default 128")
    options = parse(parser)
    rows = compare(options)
    if rows:
        report(rows)
        write_table(options.output, rows, units={"change": "mmag"})
    else:
        print("no source above S/N 20 in these fields")
    speed(options)


if __name__ == "__main__":
    main()
