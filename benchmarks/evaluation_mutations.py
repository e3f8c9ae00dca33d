# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Break the truth in many ways, each in three strengths, and see whether the evaluation notices.

The truth of simulated fields is taken for an output: it must fail no check.  Then a defect is put
into it; it is caught if a check fails that the truth of that field passes.  --per-defect says on
how many of the fields each defect is tried (in turn), and --only tries some of the defects.  With
--together the fields are judged in one evaluation, as a user judges an enhancer, not one by one.
"""

import sys
import time
import zlib

import numpy as np
from astropy.nddata import StdDevUncertainty
from scipy import fft, ndimage

from splus_srgan.evaluation import sources
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure import completeness, hallucination
from splus_srgan.evaluation.measures import Measurements
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.images.header import wing_share_from_header
from splus_srgan.pixels.psf import TARGET_PSF, psf_image
from splus_srgan.simulate.field import simulate_field
from splus_srgan.utils.quiet import quiet

SEED = 9  # of the fields, which no training touches
BANDS = ("g", "r")
KINDS = ("stars", "galaxy", "cluster", "stars", "fill")
FINE = 0.275  # arcsec


class Field:
    """A clean field: its pair, and where its sources are on the fine grid."""

    def __init__(self, k, *, shape=(96, 96), seed=SEED):
        simulated = simulate_field((seed, k), shape=shape, bands=BANDS, kind=KINDS[k % len(KINDS)])
        self.name, self.clean = f"{simulated.kind} {k}", set()
        self.pair = EvaluationPair.from_simulation(simulated, name=self.name)
        self.sigma = {band: value / 4 for band, value in self.pair.sigma.items()}
        side = np.array(shape)[::-1, None]
        places = np.array([simulated.sources["x"], simulated.sources["y"]], float)
        inner = ((places > 10) & (places < side - 11)).all(axis=0)
        flux = np.asarray(simulated.sources["flux_r"], float)[inner]
        order = np.argsort(-flux)
        self.places = np.rint(2 * places[:, inner][:, order] + 0.5).astype(int).T
        smooth = ndimage.gaussian_filter(self.truth()["r"], 4)
        self.empty = np.unravel_index(
            np.argmin(smooth[24:-24, 24:-24]), np.array(smooth.shape) - 48
        )
        self.empty = np.array(self.empty)[::-1] + 24

    def truth(self):
        """Band to the pixels of the truth."""
        return {b: np.array(image.data, float) for b, image in self.pair.target.items()}

    def output(self, images=None):
        """An enhanced image with these pixels, and with true uncertainties."""
        images = self.truth() if images is None else images
        made = {}
        for band, target in self.pair.target.items():
            image = target.copy()
            image.data = images[band]
            image.meta = dict(self.pair.input[band].meta)
            image.meta |= {"SRSKY": 0.0, "SRSIGMA": self.pair.sigma[band]}
            psf = (*TARGET_PSF, wing_share_from_header(image.meta))
            image.psf = psf_image(psf, pixel_scale=FINE, radius=40)
            made[band] = image
        return made


def every(change):
    """A defect of all bands: ``change(image, sigma, strength, rng, field)``."""

    def broken(field, strength, rng):
        truth = field.truth()
        return field.output(
            {b: change(image, field.sigma[b], strength, rng, field) for b, image in truth.items()}
        )

    return broken


def red(change):
    """A defect of the band r alone."""

    def broken(field, strength, rng):
        truth = field.truth()
        truth["r"] = change(truth["r"], field.sigma["r"], strength, rng, field)
        return field.output(truth)

    return broken


def grid(image):
    """Rows and columns."""
    return np.indices(image.shape).astype(float)


def moved(image, dy, dx):
    """An image moved by fractions of a pixel."""
    return ndimage.shift(image, (dy, dx), order=5, mode="nearest")


def about_centre(image, matrix):
    """A linear map about the centre of the frame."""
    centre = (np.array(image.shape) - 1) / 2
    return ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=5,
                                    mode="nearest")  # fmt: skip


def part_moved(image, sigma, s, rng, field):
    """A quadrant moved."""
    ny, nx = image.shape
    image[: ny // 2, : nx // 2] = moved(image, 0, s)[: ny // 2, : nx // 2]
    return image


def in_a_quadrant(change):
    """A change of one quadrant alone, that with the most bright sources."""

    def broken(image, sigma, s, rng, field):
        ny, nx = image.shape
        right, upper = (field.places[:30] > np.array([nx, ny]) / 2).T
        up, on = divmod(int(np.argmax(np.bincount(2 * upper + right, minlength=4))), 2)
        part = np.s_[up * ny // 2 : (up + 1) * ny // 2, on * nx // 2 : (on + 1) * nx // 2]
        made = change(image.copy(), sigma, s, rng)
        image[part] = made[part]
        return image

    return broken


def sharp_source(image, sigma, s, rng, field):
    """The brightest source sharpened on its own."""
    cut = window(image, field.places[0], 10)
    image[cut] += s * (image - ndimage.gaussian_filter(image, 2.0))[cut]
    return image


def near_the_border(image, sigma, s, rng, field):
    """A source four input pixels from the border, where the truth is darkest."""
    dark = np.argmin(ndimage.gaussian_filter1d(image[8], 6)[24:-24]) + 24
    return image + 4 * s * sigma * spot(image, (dark, 8), 1.6)


def noisy_border(image, sigma, s, rng, field):
    """Noise from pixel to pixel in a border of 12 pixels."""
    noise = s * sigma * rng.standard_normal(image.shape)
    noise[12:-12, 12:-12] = 0
    return image + noise


def warped(image, sigma, s, rng, field):
    """A wave of displacements."""
    y, x = grid(image)
    places = [y, x + s * np.sin(2 * np.pi * y / image.shape[0])]
    return ndimage.map_coordinates(image, places, order=5, mode="nearest")


def window(image, place, half):
    """Pixels around a place."""
    x, y = place
    return np.s_[max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1]


def source_moved(image, sigma, s, rng, field):
    """The brightest sources moved on their own, each elsewhere."""
    out = image.copy()
    for place in field.places[:6]:
        cut = window(image, place, 8)
        angle = rng.uniform(0, 2 * np.pi)
        out[cut] = moved(image, s * np.sin(angle), s * np.cos(angle))[cut]
    return out


def source_scaled(image, sigma, s, rng, field):
    """Each source brighter or fainter by chance."""
    factor = np.ones(image.shape)
    y, x = grid(image)
    for px, py in field.places[:30]:
        near = np.exp(-(np.hypot(y - py, x - px) ** 4) / 2e4)
        factor *= 1 + s * rng.choice([-1, 1]) * near
    return image * factor


def spot(image, place, width):
    """A blob of unit sum."""
    y, x = grid(image)
    blob = np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / (2 * width**2))
    return blob / blob.sum()


def added(width):
    """A source put into empty sky; strength in sigma of an input pixel."""
    return lambda image, sigma, s, rng, field: (
        image + 4 * s * sigma * spot(image, field.empty, width)
    )


def removed(image, sigma, s, rng, field):
    """A clear, single source taken away."""
    place = max(field.places[:12], key=lambda p: _apart(field, p))
    y, x = grid(image)
    near = np.exp(-(np.hypot(y - place[1], x - place[0]) ** 4) / 3e3)
    return image * (1 - s * near)


def _apart(field, place):
    others = field.places[:40]
    others = others[(others != place).any(axis=1)]
    return np.min(np.hypot(*(others - place).T)) if len(others) else np.inf


def copied(image, sigma, s, rng, field):
    """The brightest source once more."""
    out, half = image.copy(), 8
    cut, to = window(image, field.places[0], half), window(image, field.empty, half)
    out[to] += s * image[cut][: out[to].shape[0], : out[to].shape[1]]
    return out


def sharpened(image, sigma, s, rng, field):
    return image + s * (image - ndimage.gaussian_filter(image, 1.5))


def rings(sign):
    """Rings around sources, of a share of their peak."""

    def change(image, sigma, s, rng, field):
        y, x = grid(image)
        out = image.copy()
        for px, py in field.places[:20]:
            peak = image[py, px]
            out += sign * s * peak * np.exp(-((np.hypot(y - py, x - px) - 8) ** 2) / 4)
        return out

    return change


def halo(image, sigma, s, rng, field):
    return (1 - s) * image + s * ndimage.gaussian_filter(image, 6)


def blocks_of(size, mix):
    def change(image, sigma, s, rng, field):
        small = image.reshape(image.shape[0] // size, size, -1, size).mean(axis=(1, 3))
        return (1 - mix(s)) * image + mix(s) * np.kron(small, np.ones((size, size)))

    return change


def compressed(image, sigma, s, rng, field):
    bright = np.maximum(image / (40 * sigma), 1)
    return image * bright**-s


def faint_lost(image, sigma, s, rng, field):
    faint = np.exp(-((np.maximum(image, 0) / (20 * sigma)) ** 2))
    return image * (1 - s * faint)


def smooth_noise(shape, rng, width):
    noise = ndimage.gaussian_filter(rng.standard_normal(shape), width, mode="wrap")
    return noise / noise.std()


def bright_blotches(image, sigma, s, rng, field):
    """Unnatural structure in bright regions."""
    return image * (1 + s * smooth_noise(image.shape, rng, 2.5) * (image > 20 * sigma))


def arms(image, sigma, s, rng, field):
    y, x = grid(image)
    px, py = field.places[0]
    r, phi = np.hypot(y - py, x - px), np.arctan2(y - py, x - px)
    return image * (1 + s * np.cos(2 * phi + 3 * np.log(r + 1)) * np.exp(-((r / 30) ** 2)))


def false_color(field, s, rng):
    """A bright region in which a band is brighter, by magnitudes."""
    truth = field.truth()
    px, py = field.places[0]
    y, x = grid(truth["g"])
    near = np.exp(-(np.hypot(y - py, x - px) ** 2) / (2 * 8**2))
    truth["g"] *= 10 ** (0.4 * s * near)
    return field.output(truth)


def galaxy_color(field, s, rng):
    """All bright regions in which a band is brighter, by magnitudes."""
    truth = field.truth()
    truth["g"] *= 10 ** (0.4 * s * (truth["g"] > 20 * field.sigma["g"]))
    return field.output(truth)


def input_noise(field, s, rng):
    """The noise of the input, interpolated."""
    truth = field.truth()
    for band, image in field.pair.input.items():
        noise = np.asarray(image.data, float) - field.pair.sky[band]
        noise -= truth[band].reshape(image.shape[0], 2, -1, 2).sum(axis=(1, 3))
        noise = np.clip(noise, *(sign * 4 * field.pair.sigma[band] for sign in (-1, 1)))
        truth[band] += s * ndimage.zoom(noise, 2, order=3, grid_mode=True, mode="nearest") / 4
    return field.output(truth)


def input_blur(image, sigma, s, rng, field):
    return (1 - s) * image + s * ndimage.gaussian_filter(image, 1.9)


def spikes(image, sigma, s, rng, field):
    out = image.copy()
    rows, columns = rng.integers(20, np.array(image.shape)[:, None] - 20, (2, int(s)))
    out[rows, columns] += 200 * sigma
    return out


def hole(value):
    def change(image, sigma, s, rng, field):
        out, half = image.copy(), int(s) // 2
        x, y = field.places[0] if value == 0 else field.empty
        out[y - half : y - half + int(s), x - half : x - half + int(s)] = value
        return out

    return change


def wave(period, diagonal=False):
    """A pattern of a period, of an amplitude in sky units."""

    def change(image, sigma, s, rng, field):
        y, x = grid(image)
        return image + s * sigma * np.cos(2 * np.pi * ((x + y) if diagonal else x) / period)

    return change


def lines(image, sigma, s, rng, field):
    y, x = grid(image)
    return image + s * sigma * ((x % 8 == 0) | (y % 8 == 0))


def seam(image, sigma, s, rng, field):
    image[:, image.shape[1] // 2 :] += s * sigma
    return image


def uneven(image, sigma, s, rng, field):
    y, x = grid(image)
    return image + s * sigma * ((x // 48 + y // 48) % 2)


def rows_off(image, sigma, s, rng, field):
    return image + s * sigma * rng.standard_normal(image.shape[0])[:, None]


def clouds(image, sigma, s, rng, field):
    return image + s * sigma * smooth_noise(image.shape, rng, 3.5)


def common_structure(image, sigma, s, rng, field):
    y, _ = grid(image)
    return image + s * sigma * np.sin(2 * np.pi * y / 96)


def border(image, sigma, s, rng, field):
    out = image + s * sigma
    out[8:-8, 8:-8] = image[8:-8, 8:-8]
    return out


def cut_off(image, sigma, s, rng, field):
    """A sharp end of the spectrum, which rings."""
    fy, fx = fft.fftfreq(image.shape[0])[:, None], fft.rfftfreq(image.shape[1])
    return fft.irfft2(fft.rfft2(image) * (np.hypot(fy, fx) < s), s=image.shape)


def stated(field, s, rng):
    """Uncertainties of a noisy truth, wrong by a factor."""
    images = field.truth()
    made = {}
    for band, image in images.items():
        std = 0.03 * np.sqrt(field.sigma[band] ** 2 + np.maximum(image, 0) * field.sigma[band])
        made[band] = image + std * rng.standard_normal(image.shape)
        images[band] = std
    output = field.output(made)
    for band, image in output.items():
        image.uncertainty = StdDevUncertainty(s * images[band])
    return output


def promised(field, s, rng):
    """A PSF that is promised and not kept."""
    output = field.output()
    for image in output.values():
        psf = (s * TARGET_PSF[0], TARGET_PSF[1], wing_share_from_header(image.meta))
        image.psf = psf_image(psf, pixel_scale=FINE, radius=40)
    return output


def turn(s):
    return np.array([[np.cos(s), -np.sin(s)], [np.sin(s), np.cos(s)]])


DEFECTS = {
    # Fluxes and colors
    "fluxes too high": (every(lambda i, g, s, r, f: i * (1 + s)), (0.005, 0.03, 0.1)),
    "fluxes too high in one band": (red(lambda i, g, s, r, f: i * (1 + s)), (0.005, 0.03, 0.1)),
    "fluxes too low": (every(lambda i, g, s, r, f: i * (1 - s)), (0.005, 0.03, 0.1)),
    "bright sources compressed": (every(compressed), (0.01, 0.1, 0.2)),
    "faint light lost": (every(faint_lost), (0.05, 0.3, 0.8)),
    "fluxes wrong by chance": (every(source_scaled), (0.02, 0.1, 0.3)),
    "fluxes too high in a quadrant": (
        every(in_a_quadrant(lambda i, g, s, r: i * (1 + s))), (0.01, 0.1, 0.3)
    ),
    "light thrown into a halo": (every(halo), (0.02, 0.2, 0.4)),
    "sky too bright": (every(lambda i, g, s, r, f: i + s * g), (0.05, 0.3, 1.0)),
    "sky with a gradient": (
        every(lambda i, g, s, r, f: i + s * g * (grid(i)[1] / i.shape[1] - 0.5)), (0.1, 1.0, 3.0)
    ),
    # Places
    "moved along x": (every(lambda i, g, s, r, f: moved(i, 0, s)), (0.03, 0.2, 1.0)),
    "moved along y": (every(lambda i, g, s, r, f: moved(i, s, 0)), (0.03, 0.2, 1.0)),
    "one band moved": (red(lambda i, g, s, r, f: moved(i, s, s)), (0.03, 0.2, 1.0)),
    "a quadrant moved": (every(part_moved), (0.05, 0.3, 1.0)),
    "turned": (every(lambda i, g, s, r, f: about_centre(i, turn(s))), (0.0003, 0.002, 0.01)),
    "another scale": (
        every(lambda i, g, s, r, f: about_centre(i, (1 + s) * np.eye(2))), (0.0003, 0.002, 0.01)
    ),
    "warped": (every(warped), (0.05, 0.4, 1.0)),
    "single sources moved": (every(source_moved), (0.1, 0.6, 2.0)),
    # Shapes and sharpness
    "blurred": (every(lambda i, g, s, r, f: ndimage.gaussian_filter(i, s)), (0.3, 1.0, 2.0)),
    "blurred along x": (
        every(lambda i, g, s, r, f: ndimage.gaussian_filter1d(i, s, axis=1)), (0.3, 1.0, 2.0)
    ),
    "oversharpened": (every(sharpened), (0.03, 0.8, 1.5)),
    "as blurred as the input": (every(input_blur), (0.1, 0.6, 1.0)),
    "median filtered": (
        every(lambda i, g, s, r, f: ndimage.median_filter(i, int(s))), (2, 5, 9)
    ),
    "pixels repeated": (every(blocks_of(2, lambda s: s)), (0.1, 0.6, 1.0)),
    "spectrum cut off": (every(cut_off), (0.4, 0.2, 0.1)),
    "another PSF than promised": (promised, (1.02, 1.15, 1.5)),
    "a quadrant blurred": (
        every(in_a_quadrant(lambda i, g, s, r: ndimage.gaussian_filter(i, s))), (0.3, 1.5, 3.0)
    ),
    "one source oversharpened": (every(sharp_source), (0.1, 1.5, 4.0)),
    # Invented and lost
    "an invented star near the border": (every(near_the_border), (5, 60, 300)),
    "an invented star": (every(added(1.6)), (5, 60, 300)),
    "an invented star in one band": (red(added(1.6)), (5, 60, 300)),
    "an invented galaxy": (every(added(5.0)), (20, 200, 1000)),
    "a removed source": (every(removed), (0.1, 0.8, 1.0)),
    "a source twice": (every(copied), (0.01, 0.3, 1.0)),
    "invented spiral arms": (every(arms), (0.03, 0.3, 0.8)),
    "unnatural structure in bright regions": (every(bright_blotches), (0.03, 0.2, 0.6)),
    "noise of the input left": (input_noise, (0.02, 0.3, 1.0)),
    "spikes of single pixels": (every(spikes), (1, 8, 60)),
    "a hole of NaN": (red(hole(np.nan)), (1, 20, 40)),
    "a pixel of infinity": (red(hole(np.inf)), (1, 2, 3)),
    "a hole of zeros in a source": (every(hole(0)), (1, 5, 15)),
    # Artefacts
    "checkerboard": (every(wave(2, diagonal=True)), (0.0003, 0.03, 0.3)),
    "stripes of four pixels": (every(wave(4)), (0.0003, 0.03, 0.3)),
    "tilted wave of seven pixels": (every(wave(7, diagonal=True)), (0.0003, 0.03, 0.3)),
    "grid of lines": (every(lines), (0.001, 0.03, 0.3)),
    "a seam": (every(seam), (0.003, 0.1, 0.5)),
    "uneven blocks": (every(uneven), (0.003, 0.1, 0.5)),
    "rows of their own level": (every(rows_off), (0.005, 0.2, 1.0)),
    "a noisy quadrant": (
        every(in_a_quadrant(lambda i, g, s, r: i + s * g * r.standard_normal(i.shape))),
        (0.01, 0.3, 1.0),
    ),
    "a noisy border": (every(noisy_border), (0.01, 0.3, 1.0)),
    "cloudy sky": (every(clouds), (0.03, 0.3, 1.0)),
    "large-scale structure": (every(common_structure), (0.05, 0.5, 2.0)),
    "a frame": (every(border), (0.1, 1.0, 4.0)),
    "bright rings": (every(rings(1)), (0.003, 0.03, 0.1)),
    "dark rings": (every(rings(-1)), (0.003, 0.03, 0.1)),
    "false color of one region": (false_color, (0.05, 0.5, 1.5)),
    "false color of all bright regions": (galaxy_color, (0.01, 0.1, 0.5)),
    # Uncertainties
    "uncertainties too small": (stated, (0.9, 0.5, 0.2)),
    "uncertainties too large": (stated, (1.1, 2.0, 5.0)),
}  # fmt: skip
"""Defect to how it is made, and its weak, middle and strong form."""

NEEDS_STARS = ("another PSF than promised", "a removed source", "checkerboard", "cloudy sky")
NEEDS_STARS += ("stripes of four pixels", "tilted wave of seven pixels", "a quadrant blurred")
NEEDS_STARS += ("a noisy quadrant", "a noisy border")


def noisy(field, rng):
    """The truth with as much smooth noise as a very good output has."""
    made = {
        band: image + 0.02 * field.sigma[band] * smooth_noise(image.shape, rng, 2.0)
        for band, image in field.truth().items()
    }
    return field.output(made)


class Remembered:
    """Detection that remembers what it found in the same pixels: most of the time goes there."""

    def __init__(self, detect):
        self.detect, self.found = detect, {}

    def __call__(self, image, sigma, **options):
        image = np.ascontiguousarray(image, float)
        key = (hash(image.tobytes()), float(sigma), *sorted(options.items()))
        if key not in self.found:
            self.found[key] = self.detect(image, sigma, **options)
        table, mask = self.found[key]
        return table.copy(), mask.copy()


def checks_of(outputs):
    """All checks of a list of fields with their outputs, judged together."""
    measured = Measurements()
    with quiet():
        for field, output in outputs:
            measured.add(compare_field(field.pair, output))
    return measured.checks(outputs[0][0].pair.bands)


def failures(*outputs):
    """What fails, as plain words of each failed check."""
    return {check.fault for check in checks_of(outputs) if check.passed is False}


def random_of(name, *numbers):
    """Random numbers of a defect, the same at every run."""
    return np.random.default_rng((zlib.crc32(name.encode()), *numbers))


def try_defect(name, level, groups):
    """By what a defect of a level (0 to 2) is caught in each group of fields judged together."""
    make, strengths = DEFECTS[name]
    found = {}
    for group in groups:
        outputs = [(f, make(f, strengths[level], random_of(name, level))) for f in group]
        found[name_of(group)] = failures(*outputs) - group[0].clean
    return found


def name_of(group):
    """Name of a field, or how many there are."""
    return group[0].name if len(group) == 1 else f"{len(group)} fields"


def look_for_false_alarms(groups):
    """Judge what has no defect, and print what fails all the same."""
    clean = {
        "truth": lambda field: field.output(),
        "noisy truth": lambda field: noisy(field, random_of(field.name)),
    }
    for kind, make in clean.items():
        wrong, number = [], 0
        for group in groups:
            outputs = [(field, make(field)) for field in group]
            checks = [check for check in checks_of(outputs) if check.passed is not None]
            if kind == "truth":
                for field in group:
                    field.clean = {check.fault for check in checks if not check.passed}
            number += len(checks)
            wrong += [(name_of(group), check) for check in checks if not check.passed]
        print(f"{kind}: {len(wrong)} false alarms in {number} checks")
        for name, check in wrong:
            print(f"    {name}: {check.name} in {check.band}, {check.value:.3g}")
        sys.stdout.flush()


def main():
    """Run."""
    from _common import make_parser, parse, write_table

    parser = make_parser(__doc__, fields=10)
    parser.add_argument("--per-defect", type=int, default=1, help="fields on which each is tried")
    parser.add_argument("--seed", type=int, default=SEED, help="of the fields")
    parser.add_argument("--only", nargs="*", help="names of defects")
    parser.add_argument("--together", action="store_true", help="judge all fields at once")
    parser.add_argument(
        "--levels", type=int, nargs="*", default=[1, 0, 2], help="0 weak, 1 middle, 2 strong"
    )
    options = parse(parser)
    completeness.detect = hallucination.detect = Remembered(sources.detect)
    fields = [Field(k, seed=options.seed) for k in range(options.fields)]
    look_for_false_alarms([fields] if options.together else [[field] for field in fields])
    rows = []
    for level in options.levels:
        for k, name in enumerate(options.only or DEFECTS):
            fitting = [f for f in fields if name not in NEEDS_STARS or "stars" in f.name]
            number = min(options.per_defect, len(fitting))
            chosen = [[fitting[(k + j) % len(fitting)]] for j in range(number)]
            if options.together:
                chosen = [fitting]
            start = time.perf_counter()
            found = try_defect(name, level, chosen)
            caught = sum(bool(faults) for faults in found.values())
            faults = sorted(set().union(*found.values()))
            rows.append(
                {
                    "defect": name,
                    "level": ("weak", "middle", "strong")[level],
                    "strength": float(DEFECTS[name][1][level]),
                    "trials": len(chosen),
                    "caught": caught,
                    "by": "; ".join(faults)[:200],
                }
            )
            print(f"{name}, {rows[-1]['level']} ({rows[-1]['strength']:g}): {caught} of "
                  f"{len(chosen)} on {', '.join(found)}: {rows[-1]['by'] or '-'} "
                  f"[{time.perf_counter() - start:.0f} s]")  # fmt: skip
            sys.stdout.flush()
    for level in ("weak", "middle", "strong"):
        mine = [row for row in rows if row["level"] == level]
        print(f"{level}: {sum(r['caught'] == r['trials'] for r in mine)} of {len(mine)} caught")
    write_table(options.output, rows)


if __name__ == "__main__":
    main()
