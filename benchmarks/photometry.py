# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Flux, position and width of sources: enhanced images against the truth and the input.

truth    simulated fields: r = 3" apertures on the output against the truth.
matched  output convolved to the PSF of the input (header) against the input, r = 6".
stars    centroids and FWHM of isolated stars.
grid     seams between blocks, WCS round trip, FITS verification.

Offsets are 2.5 log10(made / reference), so positive is too bright.  "noise" is the
median error that the input's noise (sky with its correlation, photons) gives in the same
aperture, "beyond" the scatter that is left when each source's error is taken off in
quadrature.  The row "(truth)" puts the noise-free truth through the same measurement: what
it shows is the measurement's own, not the enhancer's.

Isolated: no other source brighter than 3 % within 8" (truth) or 10" (matched).  Sources with
saturated pixels are left out.  Local annuli, 5" to 8" and 8" to 12": plain means of
pixels outside detected sources, in the same places on both images.

--real [DIR] measures real tiles (default: environment variable SPLUS_SRGAN_REAL_DATA)
instead of simulated fields.
"""

import os
import tempfile
from pathlib import Path

import _measure as measure
import numpy as np
from _common import (
    BANDS,
    enhance,
    excess_scatter,
    fields,
    make_enhancers,
    make_parser,
    median_error,
    parse,
    print_table,
    quiet,
    robust_std,
    write_table,
)

from splus_srgan import SRGANEnhancer, measure_background, read_bands, simulate_field, write_bands
from splus_srgan.surveys.splus import psf_from_header

TILES = (
    "MC0050",
    "SPLUS-s23s18",
    "SPLUS-s25s12",
    "SPLUS-s25s14",
    "SPLUS-s26s19",
    "SPLUS-s28s28",
    "STRIPE82-0019",
    "SPLUS-s24s32",
    "blank-0.1+0.1",
)
SNR_BINS = ((20, 50), (50, 100), (100, 300), (300, np.inf))
SETTINGS = {
    "truth": {"radius": 3.0, "annulus": (5.0, 8.0), "apart": 8.0},
    "matched": {"radius": 6.0, "annulus": (8.0, 12.0), "apart": 10.0},
}
SHARE = 0.03
LEAST_SNR, LEAST_STAR_SNR = 20, 30
REFERENCE = "(truth)"
MAG = 2.5 / np.log(10)


class Band:
    """One band of a field: the image, and what is known of it."""

    def __init__(self, name, image, mask, sky, sigma):
        self.name = name
        self.image = np.where(np.isfinite(image.data), image.data, 0).astype(float) - sky
        self.sigma, self.mask = float(sigma), mask
        gain = image.meta.get("GAIN")
        self.electrons = float(gain) if gain and gain > 0 else 0.0
        level = image.meta.get("SATURATE")
        full = image.data >= 0.9 * level if level else np.zeros(image.shape, bool)
        self.bad = full | ~np.isfinite(image.data)
        if image.mask is not None:
            self.bad |= image.mask
        self.psf = psf_from_header(image.meta)


def usable(band, sources, what):
    """Sources that are isolated, unsaturated and away from the border."""
    settings = SETTINGS[what]
    x, y, flux = sources["x"], sources["y"], sources[f"flux_{band.name}"]
    good = measure.inside(x, y, band.image.shape, settings["annulus"][1] + 0.6)
    good &= flux > 0
    good &= measure.isolated(
        x, y, flux, x_all=x, y_all=y, flux_all=flux, distance=settings["apart"], share=SHARE
    )
    good &= ~measure.any_within(band.bad, x, y, settings["annulus"][1])
    good &= sources["size"] < 2 * settings["radius"]
    return good


def compare_fluxes(what, band, sources, made, reference, *, made_factor=2, reference_factor=2):
    """Rows of offsets (mag) of the usable sources, with their S/N and error."""
    settings = SETTINGS[what]
    good = usable(band, sources, what)
    # What could be bright enough, by the catalogue; the aperture decides.
    area = np.pi * (settings["radius"] / measure.SCALE) ** 2
    good &= sources[f"flux_{band.name}"] > 5 * band.sigma * measure.area_noise(area)
    x, y = sources["x"][good], sources["y"][good]
    if not len(x):
        return []
    place = {"radius": settings["radius"], "annulus": settings["annulus"], "mask": band.mask}
    expected, free = measure.fluxes(reference, x, y, factor=reference_factor, **place)
    found, _ = measure.fluxes(made, x, y, factor=made_factor, **place)
    noise = measure.flux_noise(
        expected, free, radius=settings["radius"], sigma=band.sigma, electrons=band.electrons
    )
    keep = (expected > LEAST_SNR * noise) & (free > 0.25 * area)
    rows = zip(sources["kind"][good][keep], found[keep], expected[keep], noise[keep], strict=True)
    return [
        {
            "what": what,
            "kind": str(kind),
            "snr": float(e / n),
            "error": float(MAG * n / e),
            "offset": float(MAG * np.log(f / e)) if f > 0 else -9.0,
        }
        for kind, f, e, n in rows
    ]


def compare_stars(band, sources, made, *, reference=None):
    """Rows of centroids and widths of isolated stars in (``reference``) truth, input and output."""
    good = usable(band, sources, "truth") & (sources["kind"] == "star")
    area = np.pi * (3.0 / measure.SCALE) ** 2
    flux = sources[f"flux_{band.name}"]
    noise = np.sqrt(
        (band.sigma * measure.area_noise(area)) ** 2
        + (flux.clip(0) / band.electrons if band.electrons else 0)
    )
    good &= flux > LEAST_STAR_SNR * noise
    x, y = sources["x"][good], sources["y"][good]
    if not len(x) or band.psf is None:
        return []
    with quiet():
        seen = measure.centroids(band.image, x, y)
        fine = measure.centroids(made, x, y, factor=2)
        columns = {
            "x_in": 2 * (seen[0] - x),
            "y_in": 2 * (seen[1] - y),
            "x_out": 2 * (fine[0] - x),
            "y_out": 2 * (fine[1] - y),
            "limit": 2 * measure.centroid_limit(flux[good], *band.psf, band.sigma, band.electrons),
            "fwhm_in": measure.widths(band.image, x, y),
            "fwhm_out": measure.widths(made, x, y, factor=2),
            "snr": (flux / noise)[good],
        }
        if reference is not None:
            columns["fwhm_truth"] = measure.widths(reference, x, y, factor=2)
    return [
        {"what": "stars", "kind": "star"} | {name: float(c[k]) for name, c in columns.items()}
        for k in range(len(x))
    ]


def simulated_sources(field):
    """The catalogue of a simulated field in ADU, as plain arrays."""
    table = field.sources
    sources = {
        "x": table["x"].value,
        "y": table["y"].value,
        "kind": np.asarray(table["kind"]),
        "size": table["half_light_radius"].value,
    }
    for band in BANDS:
        sources[f"flux_{band}"] = table[f"flux_{band}"].value * field.conditions[band].adu_per_nmgy
    return sources


def measure_simulated(options, enhancers):
    """All rows of the simulated fields."""
    rows = []
    for k, field in fields(options.fields, shape=tuple(options.shape), kind=options.kind):
        sources = simulated_sources(field)
        made = {name: enhance(e, field.observed) for name, e in enhancers.items()}
        for b in BANDS:
            observed, truth = field.observed[b], np.asarray(field.target[b].data, float)
            # Brighter than 2.5 sigma a pixel without its noise: what annuli leave out.
            mask = field.noiseless[b] > 2.5 * field.sigma[b]
            band = Band(b, observed, mask, field.sky[b], field.sigma[b])
            images = {
                name: np.asarray(result[b].data, float) - result[b].meta["SRSKY"] / 4
                for name, result in made.items()
            }
            for name, fine in ({REFERENCE: truth} | images).items():
                new = compare_fluxes("truth", band, sources, fine, truth)
                blurred = measure.blurred_to(fine, *band.psf)
                new += compare_fluxes(
                    "matched", band, sources, blurred, band.image, reference_factor=1
                )
                new += compare_stars(band, sources, fine, reference=truth)
                rows += [{"field": f"sim-{k}", "band": b, "method": name} | row for row in new]
    return rows


def real_files(folder, tile):
    """The files of a tile."""
    place = Path(folder) / "splus" / tile
    return [path for b in BANDS for path in sorted(place.glob(f"{tile}_{b.upper()}.fits*"))]


def real_sources(images, background):
    """Detect in r; give the list with aperture fluxes in each band, and the mask of sources."""
    k = BANDS.index("r")
    valid = np.where(np.isfinite(images["r"].data), images["r"].data, 0)
    with quiet():
        found, mask = measure.detect(valid - background.sky[k], background.sigma[k])
        fwhm = measure.widths(valid - background.sky[k], found["x"], found["y"])
    seeing = psf_from_header(images["r"].meta)[0]
    # The Gaussian fitted to a Moffat star is a little wider than its FWHM.
    pointlike = (abs(fwhm / seeing - 1.05) < 0.2) & (found["elongation"] < 1.3)
    sources = {
        "x": found["x"],
        "y": found["y"],
        "size": np.zeros(len(fwhm)),
        "kind": np.where(pointlike, "star", "galaxy"),
    }
    for j, b in enumerate(BANDS):
        image = np.where(np.isfinite(images[b].data), images[b].data, 0) - background.sky[j]
        sources[f"flux_{b}"] = (
            measure.fluxes(
                image, found["x"], found["y"], radius=3.0, annulus=(5.0, 8.0), mask=mask
            )[0]
            if len(fwhm)
            else np.empty(0)
        )
    return sources, mask


def measure_real(options, enhancers):
    """All rows of the real tiles."""
    rows = []
    for tile in options.tiles:
        files = real_files(options.real, tile)
        if len(files) != len(BANDS):
            print(f"{tile}: not all bands are in {options.real}: left out")
            continue
        images = read_bands(files)
        cube = np.stack([images[b].data for b in BANDS])
        holes = np.stack(
            [
                np.zeros(cube.shape[1:], bool) if images[b].mask is None else images[b].mask
                for b in BANDS
            ]
        )
        background = measure_background(cube, mask=holes)
        sources, mask = real_sources(images, background)
        for name, enhancer in enhancers.items():
            made = enhance(enhancer, images)
            check_file(made, f"{tile} {name}")
            for j, b in enumerate(BANDS):
                band = Band(b, images[b], mask, background.sky[j], background.sigma[j])
                fine = np.where(made[b].mask, 0, made[b].data) - background.sky[j] / 4
                blurred = measure.blurred_to(fine, *band.psf)
                new = compare_fluxes(
                    "matched", band, sources, blurred, band.image, reference_factor=1
                )
                new += compare_stars(band, sources, fine)
                rows += [{"field": tile, "band": b, "method": name} | row for row in new]
    return rows


def check_file(made, label):
    """Write an enhanced field and verify the file; raises if anything is wrong."""
    from astropy.io import fits

    with tempfile.TemporaryDirectory() as folder:
        path = write_bands(Path(folder) / "enhanced.fits", made)
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            names = [hdu.name for hdu in hdus]
    shapes = {image.shape for image in made.values()}
    print(f"{label}: wrote and verified {len(names)} HDUs, shape {shapes.pop()}")


def flux_line(chosen):
    """Number, median, its error, scatter, noise, scatter beyond it, in millimagnitudes."""
    offset = np.array([row["offset"] for row in chosen])
    error = np.array([row["error"] for row in chosen])
    values = (
        (
            np.median(offset),
            median_error(offset),
            robust_std(offset),
            np.median(error),
            excess_scatter(offset, error),
        )
        if len(chosen)
        else 5 * (np.nan,)
    )
    return (len(chosen), f"{1000 * values[0]:+.1f}", *(f"{1000 * v:.1f}" for v in values[1:]))


_FLUX_COLUMNS = ("n", "median", "+-", "scatter", "noise", "beyond")


def report_fluxes(rows, what, title, groups):
    """Print offsets of each method and band, and of groups of sources."""
    rows = [row for row in rows if row["what"] == what]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    lines = []
    for method in methods:
        for b in BANDS:
            mine = [r for r in rows if r["method"] == method and r["band"] == b]
            for label, chosen in groups(mine):
                lines.append((f"{method} {b}", label, *flux_line(chosen)))
    print_table(f"{title} (mmag)", ("method, band", "sources", *_FLUX_COLUMNS), lines)


def by_kind_and_snr(rows):
    """All, stars, galaxies, and bins of S/N."""
    yield "all", rows
    for kind in ("star", "galaxy"):
        yield kind, [row for row in rows if row["kind"] == kind]
    for low, high in SNR_BINS:
        yield f"S/N {low}-{high:g}", [row for row in rows if low <= row["snr"] < high]


def by_field(rows):
    """All, stars, galaxies, bins of S/N, and each tile."""
    yield from by_kind_and_snr(rows)
    for tile in dict.fromkeys(row["field"] for row in rows):
        yield tile, [row for row in rows if row["field"] == tile]


def report_stars(rows, *, simulated):
    """Print shifts (output pixels, against truth or input) and widths of stars."""
    rows = [row for row in rows if row["what"] == "stars"]
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        for b in BANDS:
            for low, high in ((30, 100), (100, 300), (300, np.inf)):
                chosen = [
                    r
                    for r in rows
                    if r["method"] == method and r["band"] == b and low <= r["snr"] < high
                ]
                lines.append(
                    (
                        f"{method} {b}",
                        f"{low}-{high:g}",
                        len(chosen),
                        *_star_cells(chosen, simulated),
                    )
                )
    against = "truth" if simulated else "input"
    own = ("input's",) if simulated else ()
    print_table(
        f"Isolated stars: shift of the output against the {against} (output pixels, median "
        "in x and y, scatter per axis; the bound is what the input's noise allows at best), "
        "median FWHM (arcsec, Gaussian fit)",
        (
            "method, band",
            "S/N",
            "n",
            "dx",
            "dy",
            "scatter",
            *own,
            "bound",
            "FWHM in",
            "FWHM out",
            *(("FWHM truth",) if simulated else ()),
        ),
        lines,
    )


def _star_cells(chosen, simulated):
    if not chosen:
        return (8 if simulated else 6) * ("",)
    get = {
        name: np.array([row[name] for row in chosen])
        for name in chosen[0]
        if name not in ("field", "band", "method", "what", "kind")
    }
    shift = [get[f"{a}_out"] - (0 if simulated else get[f"{a}_in"]) for a in "xy"]
    shift = [s[np.isfinite(s)] for s in shift]
    own = [get[f"{a}_in"][np.isfinite(get[f"{a}_in"])] for a in "xy"]
    cells = [f"{np.median(s):+.3f}" if s.size else "" for s in shift]
    cells.append(f"{robust_std(np.concatenate(shift)):.3f}")
    if simulated:
        cells.append(f"{robust_std(np.concatenate(own)):.3f}")
    cells.append(f"{np.median(get['limit']):.3f}")
    names = ("fwhm_in", "fwhm_out") + (("fwhm_truth",) if simulated else ())
    return (*cells, *(f"{np.nanmedian(get[name]):.3f}" for name in names))


def report_grid(options):
    """Print whether blocks leave seams, and whether the WCS fits."""
    field = simulate_field((3, 0), shape=(150, 171), bands=BANDS, kind="cluster")
    lines = []
    for name in options.weights:
        whole = enhance(
            SRGANEnhancer(name, precision="float32", engine="torch", block_size=512), field.observed
        )
        for size in (32, 61, 100):
            made = enhance(
                SRGANEnhancer(name, precision="float32", engine="torch", block_size=size),
                field.observed,
            )
            pairs = [(np.asarray(made[b].data), np.asarray(whole[b].data)) for b in BANDS]
            same = all(np.array_equal(a, b) for a, b in pairs)
            lines.append(
                (
                    name,
                    size,
                    "yes" if same else "NO",
                    f"{max(seam_ratio(a, b, size) for a, b in pairs):.9f}",
                )
            )
    print_table(
        "Blocks against the whole image, float32: bit for bit the same, and jumps (rms) across "
        "block borders over those of the whole image in the same places",
        ("weights", "block", "same", "seam ratio"),
        lines,
    )
    rng = np.random.default_rng(3)
    ny, nx = field.observed["r"].shape
    x, y = rng.uniform(-0.5, nx - 0.5, 1000), rng.uniform(-0.5, ny - 0.5, 1000)
    fine = whole["r"].wcs.all_world2pix(*field.observed["r"].wcs.all_pix2world(x, y, 0), 0)
    worst = max(np.abs(fine[0] - 2 * x - 0.5).max(), np.abs(fine[1] - 2 * y - 0.5).max())
    print(f"\nWCS, input pixel -> sky -> output pixel, 1000 points: worst {worst:.1e} px (1e-6)")
    check_file(whole, "simulated field")


def seam_ratio(made, whole, block_size):
    """Rms jump across the borders between blocks, over that of the whole image there."""
    squares = np.zeros(2)
    for axis in (0, 1):
        length = made.shape[axis] // 2
        n_block = -(-length // block_size)
        borders = [2 * (length * k // n_block) for k in range(1, n_block)]
        for i, image in enumerate((made, whole)):
            jump = np.diff(np.asarray(image, float), axis=axis)
            squares[i] += np.sum(np.take(jump, np.array(borders) - 1, axis=axis) ** 2)
    return np.sqrt(squares[0] / squares[1])


def main():
    """Run."""
    parser = make_parser(__doc__)
    parser.add_argument(
        "--shape",
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=("NY", "NX"),
        help="of the simulated fields; default %(default)s",
    )
    parser.add_argument("--kind", help="kind of simulated field; default: drawn")
    parser.add_argument(
        "--real",
        nargs="?",
        const=os.environ.get("SPLUS_SRGAN_REAL_DATA", ""),
        metavar="DIR",
        help="measure real tiles in DIR/splus",
    )
    parser.add_argument("--tiles", nargs="+", default=TILES, metavar="TILE")
    options = parse(parser)
    if options.real == "":
        parser.error("--real needs a folder, or the environment variable SPLUS_SRGAN_REAL_DATA")
    enhancers = make_enhancers(options)
    title = 'Output at the PSF of the input against the input, r = 6"; target 10 and 30 beyond'
    if options.real:
        rows = measure_real(options, enhancers)
        report_fluxes(rows, "matched", title, by_field)
        report_stars(rows, simulated=False)
    else:
        rows = measure_simulated(options, enhancers)
        report_fluxes(
            rows,
            "truth",
            'Output against the truth, r = 3"; target 10 and 30 beyond',
            by_kind_and_snr,
        )
        report_fluxes(rows, "matched", title, by_kind_and_snr)
        report_stars(rows, simulated=True)
        report_grid(options)
    write_rows(options.output, rows)


def write_rows(path, rows):
    """Write all rows with the same columns."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    rows = [{name: row.get(name, np.nan) for name in names} for row in rows]
    units = (
        {"offset": "mag", "error": "mag"}
        | dict.fromkeys(("fwhm_in", "fwhm_out", "fwhm_truth"), "arcsec")
        | dict.fromkeys(("x_in", "y_in", "x_out", "y_out", "limit"), "pix")
    )
    write_table(path, rows, units=units)


if __name__ == "__main__":
    main()
