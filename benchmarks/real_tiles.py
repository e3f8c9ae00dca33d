# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Real tiles without a truth: ours and the classical methods, by what can be judged anyway.

chi2    mean square of input less output, as the input's telescope would see it, in units of
        the noise; 1 where the output agrees with the data.
least   the same of noise alone; peak: largest smoothed residual over its noise.
shift   of isolated stars (S/N > 30) against the input, output pixels: largest median of both
        axes, and the scatter per axis; width: their FWHM over that in the input.
line    strongest line of a periodic pattern in the sky's power spectrum; clouds, slow: scatter
        of the sky from pixel to pixel, and of what is left on large scales (in sigma).
found   sources that the output has and the input has not, per tile: at 5 sigma of the input.

Median over tiles and bands (found: mean); the middle --size pixels of each tile.
"""

import numpy as np
from _common import (
    TILES,
    add_real,
    enhance,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    quiet,
    write_table,
)
from astropy.table import vstack

from splus_srgan import read_bands
from splus_srgan.evaluation.baselines.methods import default_baselines
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.artefacts import artefact_table
from splus_srgan.evaluation.measure.astrometry import compare_stars
from splus_srgan.evaluation.measure.consistency import data_consistency
from splus_srgan.evaluation.measure.hallucination import unmatched_sources
from splus_srgan.evaluation.pairs import EvaluationPair


def read_tile(folder, size):
    """The bands g, r, z of a tile, cut to its middle."""
    paths = [path for b in "GRZ" for path in sorted(folder.glob(f"*_{b}.fits*"))]
    field = read_bands(paths)
    ny, nx = next(iter(field.values())).shape
    y, x = max(0, (ny - size) // 2), max(0, (nx - size) // 2)
    return {band: image[y : y + size, x : x + size] for band, image in field.items()}


def measure(name, method, pair, output):
    """A row for each band, and the stars."""
    field = compare_field(pair, output)
    fits = {row["band"]: row for row in data_consistency(field)}
    unmatched = unmatched_sources(field)
    invented = unmatched["unmatched"] & (unmatched["list"] == "output")
    rows = []
    for row in artefact_table(field):
        band = row["band"]
        rows.append(
            {"tile": name, "method": method, "band": band}
            | {key: fits[band][key] for key in ("chi2", "chi2_least", "peak")}
            | {key: float(row[key]) for key in ("line", "cloudiness", "low_frequency")}
            | {"found": int(np.sum(invented & (unmatched["band"] == band)))}
        )
    return rows, compare_stars(field, least_snr=30)


def report(rows, stars):
    """Print a line for each method."""
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["method"] == method]
        table = stars[method]

        def middle(key, mine=mine):
            return f"{np.nanmedian([abs(row[key]) for row in mine]):.4f}"

        shifts = [np.asarray(table[key], float) for key in ("shift_x", "shift_y")]
        width = np.asarray(table["fwhm_out"], float) / np.asarray(table["fwhm_in"], float)
        scatter = [1.4826 * np.nanmedian(np.abs(s - np.nanmedian(s))) for s in shifts]
        lines.append(
            (
                method,
                *(middle(key) for key in ("chi2", "chi2_least", "peak")),
                str(len(table)),
                f"{max(abs(np.nanmedian(s)) for s in shifts):.3f}",
                f"{np.mean(scatter):.3f}",
                f"{np.nanmedian(width):.3f}",
                *(middle(key) for key in ("line", "cloudiness", "low_frequency")),
                f"{np.mean([row['found'] for row in mine]):.2f}",
            )
        )
    names = ("method", "chi2", "least", "peak", "stars", "shift", "scatter", "width")
    print_table(
        f"Real tiles, {len({row['tile'] for row in rows})}, three bands",
        (*names, "line", "clouds", "slow", "found"),
        lines,
    )


def main():
    """Run."""
    parser = make_parser(__doc__)
    add_real(parser)
    parser.add_argument("--tiles", nargs="+", default=TILES)
    parser.add_argument("--size", type=int, default=200, help="side of what is used, pixels")
    parser.add_argument("--methods", nargs="*", help="classical methods; default: all")
    options = parse(parser)
    methods = default_baselines(3)
    if options.methods is not None:
        methods = {name: methods[name] for name in options.methods}
    methods |= {f"ours: {name}": e for name, e in make_enhancers(options).items()}
    rows, stars = [], {}
    for tile in options.tiles:
        pair = EvaluationPair(tile, read_tile(options.real / "splus" / tile, options.size))
        for name, method in methods.items():
            with quiet():
                new, found = measure(tile, name, pair, enhance(method, pair.input))
            rows += new
            stars.setdefault(name, []).append(found)
    with quiet():
        report(rows, {k: vstack(v, metadata_conflicts="silent") for k, v in stars.items()})
    write_table(options.output, rows)


if __name__ == "__main__":
    main()
