# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Artefacts: each is put into a clean output, and has to be found; a clean one passes."""

import dataclasses
import math

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import Table, vstack
from astropy.wcs import WCS
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation.compared import ComparedBand, ComparedField
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts import (
    artefact_table,
    checks_artefacts,
)
from splus_srgan.evaluation.measure.artefacts_sky import (
    cloudiness,
    low_frequency_residual,
    mean_output,
    sky_pixels,
)
from splus_srgan.evaluation.measure.artefacts_sources import color_residual, ringing
from splus_srgan.evaluation.measure.common import checks_mean, sky_of
from splus_srgan.evaluation.measure.patterns import pattern_lines, seams
from splus_srgan.evaluation.measure.turning import checks_symmetry, symmetry_residual
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.pixels.psf import psf_image

Y, X = np.mgrid[:256, :256]


@pytest.fixture(scope="module")
def field():
    """A field with a galaxy and stars; input, output."""
    simulated = simulate_field((77, 15), kind="galaxy", psf="moffat")
    pair = EvaluationPair.from_simulation(simulated, name="galaxy")
    return pair, SRGANEnhancer(device="cpu")(pair.input)


def in_sigma(output, band, pattern):
    """The output with a pattern, given in sky units, added to one band."""
    image = output[band].copy()
    image.data = image.data + pattern * image.meta["SRSIGMA"] / 4
    return output | {band: image}


def verdicts(pair, output, **options):
    """Name to whether it passed, of all bands."""
    checks = checks_artefacts(artefact_table(compare_field(pair, output)))
    names = dict.fromkeys(check.name for check in checks)
    return {n: [check.passed for check in checks if check.name == n] for n in names}


def failed(pair, output, **options):
    return {name for name, passed in verdicts(pair, output, **options).items() if False in passed}


def gaussian_noise(sigma, seed=3, shape=(256, 256)):
    return np.random.default_rng(seed).normal(0, sigma, shape)


def test_a_clean_output_passes(field):
    """The shipped weights leave none of the artefacts, and every check could tell."""
    assert verdicts(*field) == {
        "pattern at given periods": [True] * 3,
        "pattern at any period": [True] * 3,
        "seam": [True] * 3,
        "clouds in the sky": [True] * 3,
        "large-scale residual": [True] * 3,
        "rings around stars": [True] * 3,
        "change of color": [True] * 3,
    }


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        (0.1 * ((X + Y) % 2), "pattern at given periods"),
        (0.1 * (X % 2), "pattern at given periods"),
        (0.1 * np.cos(np.pi * Y / 2), "pattern at given periods"),
        (0.1 * ((X % 8 == 0) | (Y % 8 == 0)), "pattern at any period"),
        (0.01 * np.cos(2 * np.pi * (X / 5 + Y / 7)), "pattern at any period"),
        (0.1 * (X >= 128), "seam"),
        (0.1 * ((X // 128 + Y // 128) % 2), "seam"),
        (0.4 * np.sin(2 * np.pi * X / 128), "large-scale residual"),
        (1.2 * ndimage.gaussian_filter(gaussian_noise(1.0), 3), "clouds in the sky"),
    ],
    ids=[
        "checkerboard",
        "stripes",
        "half of Nyquist",
        "grid of lines",
        "tilted wave",
        "seam",
        "uneven blocks",
        "slow wave",
        "clouds",
    ],
)
def test_what_is_added_to_the_sky_is_caught(field, pattern, name):
    pair, output = field
    assert name in failed(pair, in_sigma(output, "r", pattern))


def test_rings_around_stars_are_caught(field):
    """A dark ring of 3 % of the peak, 8 pixels from each star."""
    pair, output = field
    stars = pair.sources[pair.sources["kind"] == "star"]
    image = np.asarray(output["r"].data)
    ring = np.zeros(image.shape)
    for x, y in zip(2 * stars["x"].value + 0.5, 2 * stars["y"].value + 0.5, strict=True):
        if 0 < round(x) < 255 and 0 < round(y) < 255:
            peak = image[round(y), round(x)]
            ring -= 0.03 * peak * np.exp(-((np.hypot(X - x, Y - y) - 8) ** 2) / 4)
    ringed = output["r"].copy()
    ringed.data = image + ring.astype(np.float32)
    assert "rings around stars" in failed(pair, output | {"r": ringed})


def test_a_color_outlier_is_caught(field):
    """A patch of 8 x 8 pixels of a galaxy turns 0.75 mag bluer."""
    pair, output = field
    bright = ndimage.gaussian_filter(output["z"].data[60:-60, 60:-60], 4)
    y, x = np.array(np.unravel_index(np.argmax(bright), bright.shape)) + 60
    patched = output["g"].copy()
    patched.data[y - 4 : y + 4, x - 4 : x + 4] *= 2
    assert failed(pair, output | {"g": patched}) == {"change of color"}


def test_every_field_counts(field):
    """One bad field among good ones fails, and the count says how many could tell."""
    pair, output = field
    good = artefact_table(compare_field(pair, output))
    bad = artefact_table(compare_field(pair, in_sigma(output, "r", 0.1 * (X % 2))))
    checks = checks_artefacts(vstack([good, good, bad]), bands=["r"])
    pattern = next(check for check in checks if check.name == "pattern at given periods")
    assert pattern.passed is False
    assert pattern.count == 3
    assert_allclose(pattern.value, 0.05, rtol=0.03)


# The measurements, one by one, against closed forms.


@pytest.mark.parametrize(
    ("fy", "fx"), [(0.5, 0.5), (0, 0.25), (0.25, 0.25), (1 / 3, 0.2), (0, 0.4)]
)
def test_amplitude_of_a_line_is_that_of_the_wave(fy, fx):
    """Holes in the sky do not change it."""
    image = gaussian_noise(0.02) + 0.05 * np.cos(2 * np.pi * (fy * Y + fx * X))
    free = np.hypot(Y - 100, X - 150) > 40
    lines = pattern_lines(np.where(free, image, 100), free=free, periods=(2, 4))
    strongest = lines[np.argmax(lines["amplitude"])]
    assert strongest["found"]
    assert_allclose(strongest["amplitude"], 0.05, rtol=0.03)
    assert_allclose([abs(strongest["fy"].value), strongest["fx"].value], [fy, fx], atol=0.003)


def test_lines_at_the_limit_show_in_a_quiet_sky():
    """0.001 sigma is found where the sky of the output is as quiet as ours, 0.04 sigma."""
    quiet = ndimage.gaussian_filter(gaussian_noise(0.4), 3) + gaussian_noise(0.005, 5)
    found = pattern_lines(quiet + 0.001 * (-1.0) ** X, free=np.ones(X.shape, bool))
    assert found["found"].tolist() == [True, False, False]


def test_noise_has_no_lines():
    """White or red: one false alarm in thousands of images, so none in 20."""
    for seed in range(10):
        white = gaussian_noise(1.0, seed, (96, 128))
        for image in (white, ndimage.gaussian_filter(white, 2) + 0.1 * white):
            assert not pattern_lines(image, free=np.ones(image.shape, bool))["found"].any()


def test_period_of_blocks_is_looked_at():
    image = gaussian_noise(0.02) + 0.05 * np.cos(2 * np.pi * X / 32)
    lines = pattern_lines(image, periods=(2, 4, 32))
    assert lines["name"][lines["found"]].tolist() == ["period 32"]


def test_period_below_two_is_refused():
    with pytest.raises(ValueError, match=r"periods must be at least 2 pixels; got 1.5"):
        pattern_lines(gaussian_noise(1.0), periods=(1.5,))


def test_mean_output_keeps_what_is_common():
    """Noise falls with the number of images, the pattern stays."""
    common = 0.02 * np.cos(2 * np.pi * X / 64)
    images = [gaussian_noise(0.1, seed) + common for seed in range(25)]
    free = [np.ones(X.shape, bool)] * 25
    mean, count = mean_output(images, free=free)
    assert count.min() == count.max() == 25
    assert_allclose((mean - common).std(), 0.02, rtol=0.02)
    images[3][10, 10], free[3] = np.nan, np.isfinite(np.where((X == 10) & (Y == 10), np.nan, X))
    mean, count = mean_output(images, free=free)
    assert np.isfinite(mean).all()
    assert count[10, 10] == 24


def test_mean_output_leaves_out_frames_without_sky():
    full = np.zeros(X.shape, bool)
    full[:20] = True
    mean, count = mean_output([X * 0.0, X + 5.0], free=[~full, full])
    assert count.max() == 1
    assert np.nanmax(mean) == 0


@pytest.mark.parametrize("images", [[], [np.zeros((8, 8)), np.zeros((8, 9))]])
def test_mean_output_needs_one_shape(images):
    with pytest.raises(ValueError, match="images must be at least one, all of one shape"):
        mean_output(images)


@pytest.mark.parametrize("step", [0.05, 0.3])
def test_seam_is_found_and_measured(step):
    image = gaussian_noise(0.02)
    image[170:] += step
    first = seams(image, free=np.ones(X.shape, bool))[0]
    assert (int(first["axis"]), int(first["position"])) == (0, 170)
    assert_allclose(first["step"], step, rtol=0.1)


def test_a_faint_source_at_a_border_is_no_seam():
    """A straight edge in two pieces of eight, as the wings of stars leave in a quiet sky."""
    image = gaussian_noise(0.002)
    image[170:180, 30:90] += 0.1
    first = seams(image, free=np.ones(X.shape, bool))[0]
    assert first["step"] < 0.01
    assert 0 < first["error"] < 0.001


def growing_noise(seed, share=0.02):
    """Left over beside a truth: 2 % of the light of a galaxy that fills half of the frame."""
    galaxy = 40 * np.exp(-((X - 140) ** 2 + (Y - 110) ** 2) / 2e3)
    galaxy += 400 * np.exp(-((X - 140) ** 2 + (Y - 110) ** 2) / 140)
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.standard_normal(X.shape), 1.0, mode="wrap")
    return (share + share * galaxy) * smooth / smooth.std()


@pytest.mark.parametrize("seed", range(8))
def test_noise_that_grows_with_brightness_is_no_seam(seed):
    free = np.ones(X.shape, bool)
    assert seams(growing_noise(seed), free=free)["significance"].max() < 8
    known = seams(growing_noise(seed), free=free, block_size=64)
    assert known["significance"].max() < 5


@pytest.mark.parametrize("step", [0.1, 0.5])
def test_seam_in_noise_that_grows_with_brightness_is_found_and_measured(step):
    image = growing_noise(3)
    image[:, 140:] += step
    first = seams(image, free=np.ones(X.shape, bool))[0]
    assert (int(first["axis"]), int(first["position"])) == (1, 140)
    assert first["significance"] > 8
    assert abs(first["step"] - step) < max(4 * first["error"], 0.1 * step)


@pytest.mark.parametrize(("error", "passed"), [(0.003, False), (0.01, None), (0.2, None)])
def test_large_scale_residual_fails_only_clearly_beyond_its_limit(field, error, passed):
    table = artefact_table(compare_field(field[0], field[1]))
    table["low_frequency"], table["low_frequency_error"] = 0.118, error
    found = {check.name: check for check in checks_artefacts(table, bands=["r"])}
    check = found["large-scale residual"]
    assert check.passed is passed
    assert ("0.118 +- " in check.note) is (passed is None)


def test_one_bad_field_of_many_shows(field):
    one = artefact_table(compare_field(field[0], field[1]))
    table = vstack([one] * 8)
    table["low_frequency"], table["low_frequency_error"] = 0.03, 0.03
    table["low_frequency"][-2] = 0.11  # by chance
    check = checks_artefacts(table, bands=["r"])[4]
    assert (check.name, check.passed) == ("large-scale residual", True)
    table["low_frequency"][-1] = 0.3
    assert checks_artefacts(table, bands=[table["band"][-1]])[4].passed is False


def test_seam_is_looked_for_at_the_borders_of_blocks_alone():
    image = gaussian_noise(0.02)
    image[:, 100:] += 0.3
    borders = seams(image, free=np.ones(X.shape, bool), block_size=64)
    assert set(borders["position"]) == {64, 128, 192}
    assert borders["significance"].max() < 5


def test_low_frequency_residual_ignores_the_noise_of_the_input():
    """Output 0, input pure noise: nothing. A wave of rms 0.2 in the output: 0.2."""
    noise = gaussian_noise(1.0, shape=(128, 128))
    rms, error = low_frequency_residual(np.zeros(X.shape), noise, free=np.ones(X.shape, bool))
    assert rms < 0.05
    assert error < 0.03
    wave = 0.2 * np.sqrt(2) * np.sin(2 * np.pi * Y / 256)
    rms, _ = low_frequency_residual(wave, noise, free=np.ones(X.shape, bool))
    assert_allclose(rms, 0.2, rtol=0.15)


def test_low_frequency_structure_of_the_input_is_its_own():
    """What the input has too is no artefact."""
    wave = np.sin(2 * np.pi * Y / 256)
    noise = gaussian_noise(1.0, shape=(128, 128))
    observed = wave.reshape(128, 2, 128, 2).mean(axis=(1, 3)) + noise
    assert low_frequency_residual(wave, observed, free=np.ones(X.shape, bool))[0] < 0.05


def test_large_scale_structure_beside_light_is_what_the_light_does_not_explain():
    """A wave shows beside a galaxy; 1 % of the galaxy's flux does not."""
    free, zero = np.ones(X.shape, bool), np.zeros((128, 128))
    galaxy = 100 * np.exp(-((X - 70) ** 2 + (Y - 90) ** 2) / 2000)
    light = galaxy.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert low_frequency_residual(0.01 * galaxy, zero, free=free, light=light)[0] < 0.02
    wave = 0.2 * np.sqrt(2) * np.sin(2 * np.pi * Y / 256)
    rms, error = low_frequency_residual(wave, zero, free=free, light=light)
    assert abs(rms - 0.2) < 3 * error < 0.06


def test_cloudiness_of_smoothed_noise_is_the_closed_form():
    """White noise smoothed to s between s1 and s2: variances of a difference of Gaussians."""
    image = ndimage.gaussian_filter(gaussian_noise(1.0, shape=(512, 512)), 3)
    a, b = 3**2 + 2**2, 3**2 + 8**2
    expected = math.sqrt((1 / (2 * a) + 1 / (2 * b) - 2 / (a + b)) / (2 * math.pi))
    assert_allclose(cloudiness(image, free=np.ones(image.shape, bool)), expected, rtol=0.05)


def test_faint_sources_that_nobody_knows_of_are_no_clouds():
    """The truth of a crowded field of stars; clouds on top of it are still seen."""
    field = simulate_field((7, 35), shape=(96, 96), kind="stars", bands=("r",))
    sky = 4 * np.asarray(field.target["r"].data, float) / field.sigma["r"]
    clouds = ndimage.gaussian_filter(gaussian_noise(1.0, shape=sky.shape), 3)
    assert cloudiness(sky) > 0.05
    assert cloudiness(sky, sources=True) < 0.03
    alone, both = (cloudiness(one, sources=True) for one in (clouds, sky + 3 * clouds))
    assert_allclose(alone, cloudiness(clouds), rtol=0.1)
    assert_allclose(both, 3 * alone, rtol=0.25)


def test_outskirts_of_galaxies_beside_little_sky_are_no_pattern():
    """What is left of a smooth galaxy in the third of the frame that is sky."""
    outskirts = 0.2 * np.exp(-np.hypot(X - 128, Y - 128) / 40) * (1 + 0.5 * np.cos(X / 5))
    free = np.hypot(X - 128, Y - 128) > 117
    lines = pattern_lines(outskirts, free=free)
    assert 0.2 < free.mean() < 0.4
    assert np.isnan(lines["amplitude"][-1])
    assert np.isfinite(lines["amplitude"][:-1]).all()


@pytest.mark.parametrize(("number", "judged"), [(2, False), (3, True)])
def test_without_a_truth_rings_need_three_stars(number, judged):
    """The neighbor of one star of two looked like a ring around stars."""
    places = [(60, 60), (180, 60), (60, 180)][:number]
    image = sum(500 * (1 + ((X - x) ** 2 + (Y - y) ** 2) / 9.0) ** -3 for x, y in places)
    image += 60 * np.exp(-((np.hypot(X - 60, Y - 60) - 6) ** 2) / 2)
    known = Table(
        {"x": [(x - 0.5) / 2 for x, _ in places], "y": [(y - 0.5) / 2 for _, y in places]}
    )
    known["kind"], known["flux_r"] = "star", 5000.0
    seen = 4 * image.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    band = ComparedBand("r", seen, image / 4, 1.0)
    row = artefact_table(ComparedField("stars", {"r": band}, known=known))[0]
    assert np.isfinite(row["ring"]) == judged
    assert not judged or row["ring"] < 0.005


def test_ring_is_measured_as_a_fraction_of_the_peak():
    r2 = (X - 100) ** 2 + (Y - 120) ** 2
    star = 1000 * (1 + r2 / 4) ** -3
    bright = 20 * np.exp(-((np.sqrt(r2) - 8.5) ** 2) / 2)
    table = ringing(star + bright, [100], [120])
    assert_allclose(table["ring"][0], 0.018 * 1000 / table["peak"][0], rtol=0.15)
    assert_allclose(table["radius"][0].to_value(u.pix), 5, atol=1.5)


def test_neighbor_of_a_star_is_no_ring():
    star = 1000 * (1 + ((X - 100) ** 2 + (Y - 120) ** 2) / 9.0) ** -3
    neighbor = 500 * (1 + ((X - 110) ** 2 + (Y - 126) ** 2) / 9.0) ** -3
    assert ringing(star + neighbor, [100], [120])["ring"][0] < 0.005


def test_no_stars_give_an_empty_table():
    assert len(ringing(np.zeros((32, 32)), [], [])) == 0


def test_color_residual_knows_different_seeing():
    """The truth, seen through a seeing of 1.2 and 1.6 arcsec, changes no color."""
    simulated = simulate_field((77, 6), kind="fill", bands=("g", "r"))
    assert abs(simulated.conditions["g"].fwhm / simulated.conditions["r"].fwhm - 1) > 0.05
    pair = EvaluationPair.from_simulation(simulated, name="fill")
    bands = compare_field(pair, pair.target, output_psf=(1.0, 3.0)).bands
    change, error = color_residual(bands)["g", "r"]
    bright = np.isfinite(change)
    assert bright.sum() > 1000
    assert np.quantile(np.abs(change[bright]), 0.99) < 0.06
    assert np.median(error[bright]) < 0.05


def test_an_elliptical_and_lopsided_psf_gives_a_bright_star_no_false_color():
    """The PSF of g, of which the header tells only the width, has an ellipticity of 0.1."""
    simulated = simulate_field((33, 4), shape=(96, 96), kind="fill", bands=("g", "r"))
    seen = simulated.conditions["g"]
    assert seen.ellipticity > 0.09
    assert np.hypot(*seen.coma) > 0.03
    pair = EvaluationPair.from_simulation(simulated, name="star")
    made = {band: image.copy() for band, image in pair.target.items()}
    for band, image in made.items():
        psf = 1.0, 3.0, simulated.conditions[band].wings
        image.psf = psf_image(psf, pixel_scale=0.275, radius=40)
    change, error = color_residual(compare_field(pair, made).bands)["g", "r"]
    assert np.max(np.abs(change)[np.abs(change) > 5 * error]) < 0.2
    # And a color that is wrong in one place is still seen.
    made["r"].data[100:140, 100:140] *= 1.5
    change, error = color_residual(compare_field(pair, made).bands)["g", "r"]
    assert np.abs(np.nanmedian(change[52:68, 52:68])) > 0.35
    assert np.nanmedian(error[52:68, 52:68]) < 0.03


# Symmetry.


def shifting(data):
    """A bicubic-like enhancer that moves everything by a pixel: not symmetric."""
    return {band: replicated(image, shift=1) for band, image in data.items()}


def plain(data):
    """An enhancer that knows no direction."""
    return {band: replicated(image) for band, image in data.items()}


def replicated(image, *, shift=0):
    fine = np.roll(np.kron(image.data, np.ones((2, 2))) / 4, shift, axis=1)
    return CCDData(fine, unit=image.unit, meta={"SRSKY": 0.0, "SRSIGMA": 1.0})


@pytest.fixture
def small():
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:48, :40]
    star = 200 * (1 + ((x - 15) ** 2 + (y - 30) ** 2) / 4.0) ** -3
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [10, -30]
    wcs.wcs.crpix, wcs.wcs.cdelt = [20, 3], [-0.55 / 3600, 0.55 / 3600]
    return {"r": CCDData(star + rng.normal(0, 1, star.shape), unit="adu", wcs=wcs)}


def test_symmetric_enhancer_passes(small):
    table = symmetry_residual(plain, small)
    assert len(table) == 7
    assert table["sky"].max() == table["sources"].max() == 0
    assert all(check.passed for check in checks_symmetry(table))


def test_asymmetry_is_caught(small):
    checks = checks_symmetry(symmetry_residual(shifting, small))
    assert [check.passed for check in checks] == [False, False]
    assert [check.name for check in checks] == [
        "change by turning, sky",
        "change by turning, sources",
    ]


def test_a_shift_along_x_shows_where_x_is_turned(small):
    """Mirrored upside down, the two agree: what is not symmetric is told by the turn."""
    table = symmetry_residual(shifting, small, turns=["mirrored", "mirrored, turned by 180"])
    assert table["sources"][0] > 0.05
    assert table["sources"][1] == 0


def test_turned_field_keeps_its_place_on_the_sky(small):
    """The WCS that the enhancer sees gives every pixel its old position."""
    seen = []

    def listening(data):
        seen.append(data["r"])
        return plain(data)

    symmetry_residual(listening, small)
    star = small["r"].wcs.pixel_to_world(15, 30)
    for image in seen[1:]:
        y, x = np.unravel_index(np.argmax(image.data), image.shape)
        assert image.wcs.pixel_to_world(x, y).separation(star) < 1e-4 * u.arcsec


def test_symmetry_of_one_image(small):
    table = symmetry_residual(lambda image: replicated(image), small["r"], turns=["turned by 90"])
    assert table["band"].tolist() == [""]


@pytest.mark.parametrize("as_pair", [True, False])
def test_turning_needs_no_cards_of_the_output(small, as_pair):
    """Stripes 2 sigma of the input apart: mirrored, each pixel of the sky is off by these."""

    def striped(data):
        images = plain(data)
        for image in images.values():
            image.meta.clear()
            image.data[:, ::2] += 2 * 3.0 / 4
        return images

    small["r"].data *= 3.0
    field = EvaluationPair("small", small, sigma={"r": 3.0}) if as_pair else small
    table = symmetry_residual(striped, field, turns=["mirrored"])
    assert_allclose(table["sky"], 2, rtol=0.15)


def test_unknown_turn_is_refused(small):
    with pytest.raises(ValueError, match=r"turns must be one of 'turned by 90', .*; got 'upside"):
        symmetry_residual(plain, small, turns=["upside down"])


# Units, and what cannot be measured.


@pytest.mark.parametrize("unit", ["adu", "nmgy", "adu / arcsec2", "MJy / sr"])
def test_sky_units_are_the_same_in_any_unit(unit):
    """7 above a sky of 1, in units of a sigma of 3: flux per fine pixel is a quarter of it."""
    value = 7.0 if "/" in unit else 7.0 / 4
    fine = CCDData(np.full((8, 8), value), unit=unit, meta={"SRSKY": 1.0, "SRSIGMA": 3.0})
    assert_allclose(compare_field(None, {"r": fine}).bands["r"].sky_units, 2)


@pytest.mark.parametrize("alone", [True, False])
def test_pure_sky_of_a_surface_brightness_is_no_artefact(alone):
    """A sky of 4 sigma in adu / arcsec2 lies at 0, not at 12 sigma."""
    unit, sky, sigma = u.adu / u.arcsec**2, 8.0, 2.0
    noise = gaussian_noise(sigma, shape=(64, 64))
    seen = CCDData(sky + noise, unit=unit)
    meta = {"SRSKY": sky, "SRSIGMA": sigma}
    fine = CCDData(sky + gaussian_noise(0.01, shape=(128, 128)), unit=unit, meta=meta)
    pair = None if alone else EvaluationPair("sky", {"r": seen}, sky={"r": sky})
    field = compare_field(pair, {"r": fine})
    assert abs(np.mean(field.bands["r"].sky_units)) < 0.01
    checks = checks_artefacts(artefact_table(field)) + checks_mean(
        [{"r": sky_of(field.bands["r"])}] * 4
    )
    assert not any(check.passed is False for check in checks)
    turned = symmetry_residual(lambda images: plain_brightness(images, meta), {"r": seen})
    assert turned["sky"].max() == 0


def plain_brightness(images, meta):
    """An enhancer that repeats the pixels of a surface brightness."""
    return {
        band: CCDData(np.kron(image.data, np.ones((2, 2))), unit=image.unit, meta=meta)
        for band, image in images.items()
    }


def test_an_output_alone_needs_its_cards():
    bare = {"r": CCDData(np.zeros((4, 4)), unit="adu")}
    with pytest.raises(ValueError, match="band 'r' lacks SRSKY and SRSIGMA: give the image that"):
        compare_field(None, bare)


def test_sky_pixels_leave_out_sources_and_holes():
    image = gaussian_noise(0.03)
    image[100:110, 100:110] += 5
    image[200] = np.nan
    free = sky_pixels(image)
    assert not free[105, 105]
    assert not free[96, 105]  # around it, too
    assert not free[200].any()
    assert free.mean() > 0.98


def test_output_alone_is_judged_by_itself(field):
    """Without the input: patterns, seams and clouds; the rest is not measured, and says why."""
    _, output = field
    checks = checks_artefacts(artefact_table(compare_field(None, output, name="alone")))
    passed = {check.name: check.passed for check in checks}
    assert passed["pattern at given periods"] is passed["seam"] is True
    assert passed["large-scale residual"] is passed["change of color"] is None
    assert all(check.note for check in checks if not check.measured)


def test_single_band_has_no_color(field):
    pair, output = field
    one = EvaluationPair("one", {"r": pair.input["r"]}, zero_points=pair.zero_points)
    table = artefact_table(compare_field(one, {"r": output["r"]}))
    assert np.isnan(table["color"][0])
    assert table["n_bright"][0] == 0


def test_all_masked_is_not_measured():
    """Nothing but holes: no crash, no verdict."""
    image = CCDData(np.ones((64, 64)), unit="adu", mask=np.ones((64, 64), bool))
    image.meta |= {"SRSKY": 0.0, "SRSIGMA": 1.0}
    checks = checks_artefacts(artefact_table(compare_field(None, {"r": image})))
    assert [check.passed for check in checks] == [None] * 7


def test_galaxy_that_fills_the_frame_has_no_sky_to_judge():
    image = CCDData(50 + 10 * np.cos(X / 40), unit="adu", meta={"SRSKY": 0.0, "SRSIGMA": 1.0})
    table = artefact_table(compare_field(None, {"r": image}))
    assert table["free"][0] < 0.2
    assert np.isnan(table["line"][0])
    assert np.isnan(table["cloudiness"][0])


def test_seam_under_a_galaxy_shows_beside_the_truth():
    galaxy = 40 * np.exp(-((X - 120) ** 2 + (Y - 90) ** 2) / 2e4)
    image = galaxy + 0.1 / 4 * (X >= 128)
    band = ComparedBand("r", None, image, 1.0, target=galaxy)
    table = artefact_table(ComparedField("galaxy", {"r": band}))
    assert table["free"][0] < 0.2
    assert_allclose(table["seam"][0], 0.1, rtol=1e-3)
    alone = artefact_table(ComparedField("galaxy", {"r": dataclasses.replace(band, target=None)}))
    assert np.isnan(alone["seam"][0])


@pytest.mark.parametrize(
    ("pattern", "column"), [(0.4 * (-1.0) ** (X + Y), "line"), (0.5 * (X >= 128), "seam")]
)
def test_what_is_strong_beside_the_truth_is_not_taken_for_sources(pattern, column):
    """All of the frame was left out as too different from the truth, and nothing was found."""
    galaxy = 40 * np.exp(-((X - 120) ** 2 + (Y - 90) ** 2) / 2e4)
    band = ComparedBand("r", None, galaxy + pattern / 4, 1.0, target=galaxy)
    table = artefact_table(ComparedField("galaxy", {"r": band}))
    assert_allclose(table[column][0], np.ptp(pattern) / (2 if column == "line" else 1), rtol=1e-2)


@pytest.mark.parametrize("noise", [0.25, 0.004])
def test_a_seam_that_noise_hides_is_not_measured(noise):
    """A step of 5 times the limit in a sky of 0.25 sigma was 0 +- 0, and passed."""
    image = gaussian_noise(noise) + 5 * LIMITS["seam"].high * (X >= 128) * (noise > 0.1)
    quiet = noise < 0.1
    table = artefact_table(ComparedField("sky", {"r": ComparedBand("r", None, image / 4, 1.0)}))
    (check,) = [check for check in checks_artefacts(table) if check.name == "seam"]
    assert check.passed is (True if quiet else None)
    assert table["seam"][0] == 0
    # What is clearly above that is found; the noise of a border is known to half of it.
    step = 5 * table["seam_error"][0]
    found = seams(gaussian_noise(noise) + step * (X >= 128), free=np.ones(X.shape, bool))[0]
    assert (found["found"], found["position"]) == (True, 128)
    assert_allclose(found["faintest"] / 2, table["seam_error"][0], rtol=0.5)


def test_little_sky_between_stars_has_no_seam():
    """The truth of a crowded field, without the truth: faint stars made a seam of 0.03 sigma."""
    field = simulate_field((9, 38), shape=(96, 96), kind="stars", bands=("g", "r"))
    band = ComparedBand("g", None, np.asarray(field.target["g"].data, float), field.sigma["g"])
    table = artefact_table(ComparedField("stars", {"g": band}))
    assert table["free"][0] < 0.5
    assert table["seam"][0] == 0


def test_noisy_output_cannot_tell():
    """A check that would not see a line at its limit does not pass."""
    noise = gaussian_noise(1.0, shape=(64, 64)) / 4
    image = CCDData(noise, unit="adu", meta={"SRSKY": 0.0, "SRSIGMA": 1.0})
    pattern = checks_artefacts(artefact_table(compare_field(None, {"r": image})))[0]
    assert pattern.passed is None
    assert "too noisy" in pattern.note


def test_mean_of_outputs_is_judged():
    """0.002 sigma of a checkerboard, which hides in each output, shows in the mean of many."""
    meta = {"SRSKY": 0.0, "SRSIGMA": 1.0}
    quiet = [ndimage.gaussian_filter(gaussian_noise(0.25, s), 2) / 4 for s in range(12)]
    clean = [{"r": CCDData(image, unit="adu", meta=meta)} for image in quiet]
    bad = [{"r": CCDData(i + 0.002 / 4 * (-1.0) ** (X + Y), unit="adu", meta=meta)} for i in quiet]
    slow = [{"r": CCDData(i + 0.1 / 4 * np.sin(X / 30), unit="adu", meta=meta)} for i in quiet]

    def passed(outputs, **options):
        fields = [compare_field(None, one) for one in outputs]
        skies = [{"r": sky_of(field.bands["r"])} for field in fields]
        return [check.passed for check in checks_mean(skies, **options)]

    assert passed(clean) == [True, True]
    assert passed(bad) == [False, True]
    assert passed(slow) == [True, False]
    assert passed(clean[:3]) == [None, None]
    key = "mean low frequency"
    strict = LIMITS | {key: dataclasses.replace(LIMITS[key], high=1e-6)}
    assert passed(clean, limits=strict)[1] is False


@pytest.mark.parametrize("known", [True, False], ids=["truth", "input"])
def test_halos_in_the_middle_of_all_fields_are_nothing_that_outputs_add(known):
    rise = 0.3 * (np.arange(192) / 192 - 0.5)
    skies, sloping = [], []
    for k in range(4):
        simulated = simulate_field((34, k), shape=(96, 96), kind="galaxy", bands=("r",))
        pair = EvaluationPair.from_simulation(simulated, name=str(k))
        made = pair.target
        if not known:
            pair = EvaluationPair(str(k), pair.input, sky=pair.sky)
        band = compare_field(pair, made, output_psf=(1.0, 3.0)).bands["r"]
        skies.append({"r": sky_of(band)})
        sloping.append({"r": skies[-1]["r"]._replace(image=skies[-1]["r"].image + rise)})
    assert [check.passed for check in checks_mean(skies)] == [True, True]
    assert checks_mean(sloping)[1].passed is False
    assert (skies[0]["r"].observed is None) == known
