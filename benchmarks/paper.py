# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The seed paper's own protocol (its Table 3.1) on 25 simulated fields.

The input is stretched with arcsinh(10 x / 3), x in counts, the target and the outputs with
arcsinh(100 x / 3), x in nanomaggies; each image is then brought to [0, 1] by its own extremes
(of one band for g, r and z, of all bands together for All), and compared by PSNR with range 1.
The target has the noise of the Legacy Surveys, as the seed paper's had.

What these numbers mean: min-max ties an image to its brightest pixel and to the deepest
excursion of its noise.  An output without noise lacks that excursion, so its sky lies at another
level than the target's, and it is punished for being right; the row "truth" shows how far even the
noise-free truth gets.  This is a check of the seed paper's result, and says little of an image's
quality: see quality.py for that.
"""

import numpy as np
from _common import (
    BANDS,
    TEST_SEED,
    enhance,
    fields,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    write_table,
)
from scipy import ndimage

from splus_srgan.evaluation.baselines.methods import BM3D, Gaussian, NLMeans
from splus_srgan.evaluation.measure.metrics import psnr
from splus_srgan.evaluation.measure.spaces import to_space
from splus_srgan.pixels.stretch import AsinhStretch
from splus_srgan.simulate.reference import reference_images

COLUMNS = (*BANDS, "All")
INPUT = "S-PLUS (bicubic)"


def scores(target, image, *, scale):
    """PSNR per band and of all bands together; each image has its own normalisation."""
    parts = [(band, target[k], image[k]) for k, band in enumerate(BANDS)]
    return {
        name: psnr(to_space(truth, "seed"), to_space(made, "seed", scale=scale), data_range=1.0)
        for name, truth, made in [*parts, ("All", target, image)]
    }


def in_nanomaggies(field, made):
    """An output in nanomaggies, with its sky as it came."""
    return np.stack(
        [np.asarray(made[b].data, float) / field.conditions[b].adu_per_nmgy for b in BANDS]
    )


def stretched_bicubic(field):
    """The input as the seed paper shows it: stretched counts, on the fine grid."""
    counts = np.stack([np.asarray(field.observed[b].data, float) for b in BANDS])
    stretched = AsinhStretch(AsinhStretch.SPLUS_SCALE)(counts, clip=False)
    return ndimage.zoom(stretched, (1, 2, 2), order=3, mode="nearest", grid_mode=True)


def compare(options, generators):
    """A row for each field, method and column."""
    enhancers = make_enhancers(options)
    classical = {"Gaussian": Gaussian(), "NL-means": NLMeans(), "BM3D": BM3D()}
    rows = []
    for k, field in fields(options.fields, kind="galaxy"):
        images = reference_images(field, seed=(TEST_SEED, k))
        target = np.stack([np.asarray(images[b].data, float) for b in BANDS])
        shown = stretched_bicubic(field)
        made = {INPUT: scores_of_stretched(target, shown)}
        for name, method in classical.items():
            output = in_nanomaggies(field, enhance(method, field.observed))
            made[name] = scores(target, output, scale=AsinhStretch.LEGACY_SCALE)
        for name, enhancer in enhancers.items():
            output = in_nanomaggies(field, enhance(enhancer, field.observed))
            made[f"ours: {name}"] = scores(target, output, scale=AsinhStretch.LEGACY_SCALE)
        for name, generator in generators.items():
            made[name] = scores_of_stretched(target, seed_output(generator, field))
        truth = in_nanomaggies(field, field.target)
        made["truth, without noise"] = scores(target, truth, scale=AsinhStretch.LEGACY_SCALE)
        rows += [
            {"field": k, "method": method, "column": column, "psnr": value}
            for method, row in made.items()
            for column, value in row.items()
        ]
    return rows


def scores_of_stretched(target, stretched):
    """As `scores`, for an image that is stretched already."""
    parts = [(band, target[k], stretched[k]) for k, band in enumerate(BANDS)]
    return {
        name: psnr(to_space(truth, "seed"), min_max(made), data_range=1.0)
        for name, truth, made in [*parts, ("All", target, stretched)]
    }


def min_max(image):
    """To [0, 1] by the image's own extremes."""
    return (image - image.min()) / max(np.ptp(image), np.finfo(float).tiny)


def seed_output(generator, field):
    """What a generator of the seed preset makes of a field."""
    import torch

    counts = np.stack([np.asarray(field.observed[b].data, float) for b in BANDS])
    y = min_max(AsinhStretch(AsinhStretch.SPLUS_SCALE)(counts, clip=False))
    with torch.inference_mode():
        return generator(torch.from_numpy(y.astype(np.float32))[None])[0].numpy()


def load_seed_generators(paths):
    """Averaged generators of runs of the seed preset."""
    if not paths:
        return {}
    from splus_srgan.training.export import load_average

    return {f"seed preset: {path}": load_average(path).eval() for path in paths}


def mean(rows, method, column):
    """Mean PSNR over the fields."""
    return np.mean([r["psnr"] for r in rows if (r["method"], r["column"]) == (method, column)])


def main():
    """Run."""
    parser = make_parser(__doc__, fields=25)
    parser.add_argument(
        "--seed-runs",
        nargs="*",
        default=[],
        metavar="CHECKPOINT",
        help="checkpoints of `splus-srgan train --preset seed`",
    )
    options = parse(parser)
    rows = compare(options, load_seed_generators(options.seed_runs))
    names = list(dict.fromkeys(row["method"] for row in rows))
    means = {
        name: {
            column: np.mean(
                [r["psnr"] for r in rows if (r["method"], r["column"]) == (name, column)]
            )
            for column in COLUMNS
        }
        for name in names
    }
    print_table(
        f"Mean PSNR (dB) over {options.fields} fields in the seed paper's space",
        ("method", *COLUMNS, "gain (All)"),
        [
            (
                name,
                *(f"{row[column]:.2f}" for column in COLUMNS),
                f"{row['All'] - means[INPUT]['All']:+.2f}",
            )
            for name, row in means.items()
        ],
    )
    write_table(options.output, rows, units={"psnr": "dB"})


if __name__ == "__main__":
    main()
