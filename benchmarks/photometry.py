# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Flux, position and width of sources: enhanced images against the truth and the input.

truth    simulated fields: r = 3" apertures on the output against the truth.
matched  output convolved to the PSF of the input (the core of the header's, and wings) against
         the input, r = 6".
stars    centroids and FWHM of isolated stars; a star's place is that of the same fit to the
         truth in its band, or to the input, whose own error then stands beside the shift.
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

import numpy as np
from _common import (
    BANDS,
    TILES,
    enhance,
    fields,
    make_enhancers,
    make_parser,
    parse,
    print_table,
    write_table,
)
from astropy.table import Table

from splus_srgan import SRGANEnhancer, measure_background, read_bands, simulate_field, write_bands
from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.evaluation.compared import ComparedBand, ComparedField
from splus_srgan.evaluation.measure.astrometry import compare_stars, summarize_shifts
from splus_srgan.evaluation.measure.photometry import compare_fluxes
from splus_srgan.evaluation.sources import detect
from splus_srgan.evaluation.statistics import excess_scatter, median_error
from splus_srgan.images.header import wing_share_from_header, winged_psf_from_header
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.pixels.robust import robust_std

REFERENCE = "(truth)"
SNR_BINS = ((20, 50), (50, 100), (100, 300), (300, np.inf))


def compared_band(name, image, output, mask, sky, sigma, *, truth=None):
    """One band of a field: the image, what was made of it, and what is known of both."""
    data = np.where(np.isfinite(image.data), image.data, 0).astype(float)
    level, gain = image.meta.get("SATURATE"), image.meta.get("GAIN")
    bad = image.data >= 0.9 * level if level else np.zeros(image.shape, bool)
    bad |= ~np.isfinite(image.data)
    if image.mask is not None:
        bad |= image.mask
    psf = winged_psf_from_header(image.meta)
    target = (*TARGET_PSF, wing_share_from_header(image.meta))
    return ComparedBand(
        name,
        data - sky,
        output,
        float(sigma),
        target=truth,
        electrons=float(gain) if gain and gain > 0 else 0.0,
        bad=bad,
        mask=mask,
        psf=psf,
        output_psf=target,
        target_psf=target,
    )


def measured_rows(band, sources, label):
    """Fluxes against target and input, and stars, as plain rows."""
    rows = []
    field = ComparedField(label["field"], {band.name: band})
    field.sources = sources
    for against, what in (("target", "truth"), ("input", "matched")):
        for row in compare_fluxes(field, against=against):
            offset = float(row["offset"])
            rows.append(
                {
                    "what": what,
                    "kind": str(row["kind"]),
                    "snr": float(row["snr"]),
                    "error": float(row["error"]),
                    "offset": offset if np.isfinite(offset) else -9.0,
                }
            )
    for row in compare_stars(field):
        names = [name for name in row.colnames if name not in ("band", "against", "field")]
        values = {name: float(row[name]) for name in names}
        if band.target is None:
            values |= window_effect(band.input, values["x"], values["y"])
        rows.append({"what": "stars", "kind": "star"} | values)
    return [label | {"band": band.name} | row for row in rows]


def window_effect(image, x, y):
    """Centroid of the input in a narrow window less that in a wide one, output pixels."""
    narrow, wide = (windowed_centroid(image, x, y, width) for width in (0.8, 2.0))
    effect = 2 * (narrow - wide)
    return {"window_x": float(effect[0]), "window_y": float(effect[1])}


def windowed_centroid(image, x, y, width, *, half=7):
    """Centroid under a Gaussian window that follows it, as SExtractor's XWIN (input pixels)."""
    column, row = round(x), round(y)
    cut = image[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
    if cut.shape != 2 * (2 * half + 1,):
        return np.full(2, np.nan)
    dy, dx = np.mgrid[-half : half + 1, -half : half + 1]
    place = np.array([x - column, y - row])
    for _ in range(30):
        off = np.stack([dx - place[0], dy - place[1]])
        weight = cut * np.exp(-np.sum(off**2, 0) / (2 * width**2))
        place = place + 2 * np.sum(weight * off, (1, 2)) / weight.sum()
        if not np.abs(place).max() < 3:
            return np.full(2, np.nan)
    return place + np.array([column, row])


def without_psf(images):
    """The images without what their headers say of the PSF."""
    bare = {}
    for band, image in images.items():
        bare[band] = image.copy()
        for name in [name for name in bare[band].meta if "FWHM" in name]:
            del bare[band].meta[name]
    return bare


def simulated_sources(field):
    """The catalogue of a simulated field, in ADU."""
    sources = Table({name: field.sources[name].value for name in ("x", "y")})
    sources["kind"] = np.asarray(field.sources["kind"])
    sources["size"] = field.sources["half_light_radius"].value
    for b in field.observed:
        flux = field.sources[f"flux_{b}"].value
        sources[f"flux_{b}"] = flux * field.conditions[b].adu_per_nmgy
    return sources


def measure_simulated(options, enhancers):
    """All rows of the simulated fields."""
    rows, drawn = [], {"shape": tuple(options.shape), "kind": options.kind, "bands": options.bands}
    for k, field in fields(options.fields, **drawn):
        sources = simulated_sources(field)
        given = without_psf(field.observed) if options.stripped else field.observed
        made = {name: enhance(e, given) for name, e in enhancers.items()}
        for b in options.bands:
            observed, truth = field.observed[b], np.asarray(field.target[b].data, float)
            # Brighter than 2.5 sigma a pixel without its noise: what annuli leave out.
            mask = field.noiseless[b] > 2.5 * field.sigma[b]
            images = {
                name: np.asarray(result[b].data, float) - stated_sky(result[b].meta) / 4
                for name, result in made.items()
            }
            for name, fine in ({REFERENCE: truth} | images).items():
                band = compared_band(
                    b, observed, fine, mask, field.sky[b], field.sigma[b], truth=truth
                )
                rows += measured_rows(band, sources, {"field": f"sim-{k}", "method": name})
    return rows


def real_files(folder, tile):
    """The files of a tile."""
    place = Path(folder) / "splus" / tile
    return [path for b in BANDS for path in sorted(place.glob(f"{tile}_{b.upper()}.fits*"))]


def real_sources(images, background):
    """Detect in r; give the list with aperture fluxes in each band, and the mask of sources."""
    nothing = {b: np.zeros([2 * n for n in images[b].shape]) for b in BANDS}
    levels = zip(BANDS, background.sky, background.sigma, strict=True)
    seen = {b: (b, images[b], nothing[b], None, sky, sigma) for b, sky, sigma in levels}
    r = compared_band(*seen["r"])
    mask = detect(r.input, r.sigma)[1]
    bands = {b: compared_band(*(*seen[b][:3], mask, *seen[b][4:])) for b in BANDS}
    return list_sources(bands, detection_band="r"), mask


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
                fine = np.where(made[b].mask, 0, made[b].data) - background.sky[j] / 4
                band = compared_band(
                    b, images[b], fine, mask, background.sky[j], background.sigma[j]
                )
                rows += measured_rows(band, sources, {"field": tile, "method": name})
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
        for b in dict.fromkeys(row["band"] for row in rows):
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
        for b in dict.fromkeys(row["band"] for row in rows):
            mine = [r for r in rows if r["method"] == method and r["band"] == b]
            for low, high in ((30, 100), (100, 300), (300, np.inf)):
                chosen = [r for r in mine if low <= r["snr"] < high]
                cells = _star_cells(chosen, simulated)
                lines.append((f"{method} {b}", f"{low}-{high:g}", len(chosen), *cells))
    against = "truth" if simulated else "input"
    print_table(
        f"Isolated stars: shift of the output against the {against} (output pixels, median "
        "in x and y, scatter per axis; error: of the input's centroid; pull: scatter of shifts "
        "over the input's errors; beyond: scatter beyond them; bound: what the input's noise "
        "allows at best), median FWHM (arcsec, Gaussian fit)",
        ("method, band", "S/N", "n", *_star_names(simulated)),
        lines,
    )


def report_tiles(rows):
    """Print shift and scatter of the bright stars of each tile, beside the input's own."""
    rows = [row for row in rows if row["what"] == "stars" and row["snr"] >= 80]
    lines = []
    for key in dict.fromkeys((r["method"], r["band"], r["field"]) for r in rows):
        stars = [r for r in rows if (r["method"], r["band"], r["field"]) == key]
        if len(stars) < 2:
            continue
        shifts = summarize_shifts(Table(rows=stars))[0]
        cells = [shifts[name] for name in ("shift_x", "shift_y")]
        cells += [np.nanmedian([r[f"window_{axis}"] for r in stars]) for axis in "xy"]
        names = ("scatter", "input_error", "pull")
        lines.append(
            (
                f"{key[0]} {key[1]}",
                key[2],
                len(stars),
                *(f"{value:+.3f}" for value in cells),
                *(f"{shifts[name]:.3f}" for name in names),
            )
        )
    print_table(
        "Bright stars (S/N > 80) of each tile: shift (output pixels, median in x and y); by how "
        "much the input's own centroid moves from a narrow window to a wide one (0.44 and 1.1 "
        "arcsec rms; PSFs are not symmetric); scatter about the tile's mean, error of the input's "
        "centroid, and their ratio",
        (
            *("method, band", "tile", "n", "dx", "dy", "window x", "window y"),
            *("scatter", "error", "pull"),
        ),
        lines,
    )


def _star_names(simulated):
    own = ("input's",) if simulated else ()
    truth = ("FWHM truth",) if simulated else ()
    names = ("dx", "dy", "+-", "scatter", *own, "error", "pull", "beyond", "bound")
    return (*names, "FWHM in", "FWHM out", *truth)


def _star_cells(chosen, simulated):
    if not chosen:
        return len(_star_names(simulated)) * ("",)
    stars = Table(rows=chosen)
    shifts = summarize_shifts(stars)[0]
    cells = [f"{shifts[name]:+.3f}" for name in ("shift_x", "shift_y")]
    cells += [f"{shifts[name]:.3f}" for name in ("shift_error", "scatter")]
    if simulated:
        own = [np.asarray(stars[f"input_shift_{axis}"]) for axis in "xy"]
        own = [s[np.isfinite(s)] for s in own]
        own = np.concatenate([s - np.median(s) if s.size else s for s in own])
        cells.append(f"{robust_std(own):.3f}")
    cells += [f"{shifts['input_error']:.3f}", f"{shifts['pull']:.2f}", f"{shifts['beyond']:.3f}"]
    cells.append(f"{np.median(stars['limit']):.3f}")
    names = ("fwhm_in", "fwhm_out") + (("fwhm_expected",) if simulated else ())
    return (*cells, *(f"{np.nanmedian(stars[name]):.3f}" for name in names))


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
    parser.add_argument("--bands", nargs="+", default=BANDS, help="of the simulated fields")
    parser.add_argument("--flux-anchor", type=float, help="strength; default: of the weights")
    parser.add_argument(
        "--stripped", action="store_true", help="simulated fields whose headers state no PSF"
    )
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
    enhancers = make_enhancers(options, flux_anchor=options.flux_anchor)
    title = 'Output at the PSF of the input against the input, r = 6"; target 10 and 30 beyond'
    if options.real:
        rows = measure_real(options, enhancers)
        report_fluxes(rows, "matched", title, by_field)
        report_stars(rows, simulated=False)
        report_tiles(rows)
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
    shifts = ("shift_x", "shift_y", "input_shift_x", "input_shift_y", "input_error", "limit")
    units = (
        {"offset": "mag", "error": "mag"}
        | dict.fromkeys(("fwhm_in", "fwhm_out", "fwhm_expected"), "arcsec")
        | dict.fromkeys(("x", "y", *shifts), "pix")
    )
    write_table(path, rows, units=units)


if __name__ == "__main__":
    main()
