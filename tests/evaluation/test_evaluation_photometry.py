# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Fluxes, colors, positions and shapes: against closed forms, GalSim and photutils."""

import numpy as np
import pytest
from _scenes import (
    PSF,
    SCALE,
    SHARP,
    broken,
    draw,
    replaced,
    scene,
    star_list,
    upsampled,
    verdicts,
    world,
)
from astropy.nddata import CCDData
from astropy.table import Table, vstack
from numpy.testing import assert_allclose
from photutils.aperture import CircularAperture
from scipy import ndimage

from splus_srgan import read_bands
from splus_srgan.evaluation.apertures import (
    aperture_flux,
    aperture_noise,
    area_noise,
    blur_to_psf,
    to_input_grid,
)
from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.evaluation.compared import ComparedBand
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.astrometry import checks_stars, compare_stars, summarize_shifts
from splus_srgan.evaluation.measure.colors import (
    checks_colors,
    checks_fluxes,
    checks_growth,
    colors_of,
)
from splus_srgan.evaluation.measure.morphology import checks_shapes, compare_shapes
from splus_srgan.evaluation.measure.photometry import (
    compare_fluxes,
    curve_of_growth,
)
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.positions import centroid_error, centroid_limit, centroids
from splus_srgan.evaluation.shapes import fwhm, moments, star_image
from splus_srgan.evaluation.statistics import excess_scatter, median_error
from splus_srgan.pixels.coadd_noise import correlated_noise
from splus_srgan.pixels.robust import robust_std

DITHERS = [(0.3, -0.2), (-0.4, 0.1), (0.1, 0.4)]


@pytest.fixture(scope="module")
def stars():
    return star_list()


@pytest.fixture(scope="module")
def clean(stars):
    return scene(stars)


@pytest.fixture(scope="module")
def empty():
    return ComparedBand("r", np.zeros((64, 64)), np.zeros((128, 128)), 1.0, psf=PSF)


@pytest.fixture(scope="module")
def no_stars(stars):
    return stars[:0]


# Apertures and PSFs


def test_aperture_flux_is_that_of_the_closed_form():
    """Light of a Moffat star within a radius, on both grids."""
    fwhm_in, beta = PSF
    alpha = fwhm_in / (2 * np.sqrt(2 ** (1 / beta) - 1))
    expected = 1 - (1 + (3.0 / alpha) ** 2) ** (1 - beta)
    for factor in (1, 2):
        image = 5.0 + star_image(PSF, shape=(61, 61), x=30.3, y=29.6, factor=factor)
        flux, area = aperture_flux(
            image, [30.3], [29.6], radius=3.0, annulus=(12.0, 15.0), factor=factor
        )
        assert_allclose(flux, expected, atol=0.004)
        assert_allclose(area, np.pi * (15.0**2 - 12.0**2) / SCALE**2, rtol=1e-3)


def test_masked_pixels_of_the_annulus_do_not_count():
    image, mask = np.zeros((41, 41)), np.zeros((41, 41), bool)
    image[20, 32:], mask[20, 32:] = 1e6, True
    flux, area = aperture_flux(image, [20], [20], radius=2.0, annulus=(5.0, 8.0), mask=mask)
    assert flux == 0
    assert area < np.pi * (8.0**2 - 5.0**2) / SCALE**2
    mask[:] = True
    flux, area = aperture_flux(image, [20], [20], radius=2.0, annulus=(5.0, 8.0), mask=mask)
    assert np.isnan(flux)
    assert area == 0


def test_no_positions_no_fluxes():
    flux, area = aperture_flux(np.zeros((9, 9)), [], [], radius=1.0, annulus=(2.0, 3.0))
    assert flux.shape == area.shape == (0,)


def test_noise_law_holds_for_noise_made_as_coadds_are():
    """Scatter of fluxes in blank sky against the noise that is claimed for them."""
    noise = correlated_noise(np.random.default_rng(5), (640, 640), DITHERS)
    y, x = np.mgrid[20:620:24, 20:620:24].reshape(2, -1)
    flux, area = aperture_flux(noise, x, y, radius=3.0, annulus=(5.0, 8.0))
    claimed = aperture_noise(flux, area, radius=3.0, sigma=1.0)
    assert_allclose(flux.std() / claimed.mean(), 1, atol=0.15)
    assert_allclose(area_noise(1.0), 1.076)


def test_photon_noise_adds_in_quadrature():
    dark = aperture_noise([100.0], [np.inf], radius=3.0, sigma=1.0)
    bright = aperture_noise([100.0], [np.inf], radius=3.0, sigma=1.0, electrons=4.0)
    assert_allclose(bright**2 - dark**2, 25.0)
    assert_allclose(aperture_noise([-9.0], [np.inf], radius=3.0, sigma=1.0, electrons=4.0), dark)


def test_blurring_gives_the_other_psf_of_galsim(stars):
    sharp, wanted = draw((138, 138), stars, SHARP, factor=2), draw((138, 138), stars, PSF, factor=2)
    made = blur_to_psf(sharp, PSF, psf=SHARP)
    assert_allclose(made, wanted, atol=0.003 * wanted.max())
    coarse = to_input_grid(sharp, PSF, psf=SHARP)
    assert_allclose(coarse, draw((138, 138), stars, PSF), atol=0.003 * coarse.max())


def test_unknown_psf_sums_pixels():
    image = np.arange(16.0).reshape(4, 4)
    assert_allclose(to_input_grid(image, None), [[10, 18], [42, 50]])


# Fluxes


@pytest.mark.parametrize("against", ["target", "input"])
def test_clean_output_passes_and_two_percent_is_caught(clean, stars, against):
    for how, passes in (("clean", True), ("flux", False)):
        rows = compare_fluxes(world(broken(clean, how), stars), against=against)
        found = verdicts(checks_fluxes(rows, bands=["r"]))
        assert len(rows) == 9
        assert found[f"median flux offset against the {against}"] is passes
        assert found[f"flux scatter beyond the noise against the {against}"]
        assert found[f"sources without flux against the {against}"]


def test_offset_is_that_of_photutils_on_the_truth(clean, stars):
    """Noise-free: the ratio of two sums by photutils, without any of our own steps."""
    rng = np.random.default_rng(6)
    output = clean.target * (1 + 0.1 * rng.standard_normal(clean.target.shape))
    rows = compare_fluxes(
        world(replaced(clean, output), stars),
        against="target",
        radius=2.0,
        annulus=(5.0, 8.0),
        apart=8.0,
    )
    places = np.transpose([2 * stars["x"] + 0.5, 2 * stars["y"] + 0.5])
    disc = CircularAperture(places, 2.0 / 0.275)
    expected = 2.5 * np.log10(disc.do_photometry(output)[0] / disc.do_photometry(clean.target)[0])
    assert_allclose(rows["offset"], expected, atol=2e-3)


def test_errors_are_honest(stars):
    """The pulls of a perfect output against noisy inputs have unit width."""
    pulls = []
    for seed in range(6):
        rows = compare_fluxes(world(scene(stars, seed=seed, electrons=2.0), stars), against="input")
        pulls.extend(rows["offset"] / rows["error"])
    # White noise has less than the law of coadds, whose neighbors are correlated.
    assert len(pulls) == 54
    assert 0.6 < np.std(pulls) < 1.15
    assert abs(np.mean(pulls)) < 0.4


def test_lost_source_is_caught_whatever_the_others_do(clean, stars):
    output = clean.target.copy()
    output[:94, :94] = -0.01
    rows = compare_fluxes(world(replaced(clean, output), stars), against="target")
    checks = checks_fluxes(rows, bands=["r"])
    assert verdicts(checks)["sources without flux against the target"] is False


def test_a_sharper_output_is_no_error_at_matched_psf(clean, stars):
    """Naively, the same comparison would be off by per cents."""
    rows = compare_fluxes(world(clean, stars), against="input", radius=2.0)
    naive = replaced(clean, clean.target)
    naive.output_psf = None
    wrong = compare_fluxes(world(naive, stars), against="input", radius=2.0)
    assert abs(np.median(rows["offset"])) < 0.01
    assert np.median(wrong["offset"]) > 0.04


def test_output_with_a_broader_psf_is_compared_at_that_psf(clean, stars):
    output = draw((138, 138), stars, (1.2, 3.0), factor=2)
    band = replaced(clean, output)
    band.output_psf = (1.2, 3.0)
    rows = compare_fluxes(world(band, stars), against="target", radius=1.5)
    assert_allclose(rows["offset"], 0, atol=5e-3)


@pytest.mark.parametrize(("how", "passes"), [("clean", True), ("blurred", False)])
@pytest.mark.parametrize("against", ["target", "input"])
def test_blurred_output_is_caught_by_the_curve_of_growth(clean, stars, how, passes, against):
    growth = curve_of_growth(world(broken(clean, how), stars))
    checks = checks_growth(growth, bands=["r"])
    assert verdicts(checks)["worst median offset of the curve of growth"] is passes
    assert set(np.unique(growth["radius"])) == {1.0, 1.5, 2.0, 3.0, 4.0, 6.0}


@pytest.mark.parametrize(("factor", "passes"), [(1.0, True), (1.02, False)])
def test_color_fails_where_one_band_is_off(clean, stars, factor, passes):
    other = replaced(clean, factor * clean.target)
    other.name = "g"
    sources = Table(stars)
    sources["flux_g"] = sources["flux_r"]
    rows = vstack(
        [
            compare_fluxes(world(other, sources), against="target"),
            compare_fluxes(world(clean, sources), against="target"),
        ]
    )
    colors = colors_of(rows, bands=("g", "r"))
    checks = checks_colors(colors)
    assert len(colors) == 9
    assert verdicts(checks)["median offset of g-r against the target"] is passes
    both = colors_of(
        vstack([rows, compare_fluxes(world(clean, sources), against="input")]), bands=("g", "r")
    )
    assert len(both) == 9  # references are not mixed
    # Too much blue light is too blue.
    assert_allclose(colors["offset"], -2.5 * np.log10(factor), atol=1e-6)


def test_nothing_to_measure_is_not_measured(empty, no_stars, stars):
    rows = compare_fluxes(world(empty, no_stars), against="target")
    assert len(rows) == 0
    assert len(compare_fluxes(world(empty, stars), against="target")) == 0  # no truth
    assert len(compare_fluxes(world(empty, no_stars), against="input")) == 0
    growth = curve_of_growth(world(empty, no_stars))
    colors = colors_of(rows, bands=("g", "r"))
    checks = checks_fluxes(rows, bands=["g", "r"])
    checks += checks_growth(growth, bands=["g", "r"]) + checks_colors(colors)
    checks += checks_stars(compare_stars(world(empty, no_stars)), bands=["r"])
    checks += checks_shapes(compare_shapes(world(empty, no_stars)), bands=["r"])
    assert checks
    assert all(check.passed is None and check.note for check in checks)
    assert len(colors) == 0
    assert len(summarize_shifts(compare_stars(world(empty, no_stars)))) == 0


def test_all_masked_is_not_measured(stars):
    band = scene(stars, bad=np.ones((138, 138), bool))
    rows = vstack([compare_fluxes(world(band, stars), against=a) for a in ("target", "input")])
    assert (
        len(rows)
        == len(compare_stars(world(band, stars)))
        == len(compare_shapes(world(band, stars)))
        == 0
    )


def test_unknown_reference_is_an_error(clean, stars):
    with pytest.raises(ValueError, match="against must be one of 'target', 'input'; got 'me'"):
        compare_fluxes(world(clean, stars), against="me")


# Stars


@pytest.mark.parametrize(
    ("how", "failing"),
    [
        ("clean", set()),
        ("shift", {"median shift of stars in x"}),
        (
            "blurred",
            {
                "FWHM of stars over the expected one, less 1",
                "FWHM of stars of the worst part over the expected one, less 1",
            },
        ),
    ],
)
@pytest.mark.parametrize("with_target", [True, False])
def test_stars_fail_when_they_should(clean, stars, how, failing, with_target):
    band = broken(clean, how)
    if not with_target:
        band.target = None
    table = compare_stars(world(band, stars))
    checks = checks_stars(table, bands=["r"])
    assert len(table) == 9
    assert {name for name, passed in verdicts(checks).items() if passed is False} == failing


def test_shift_stands_beside_the_input_s_own_error(clean, stars):
    band = broken(clean, "shift")
    band.target = None
    table = compare_stars(world(band, stars))
    line = summarize_shifts(table)[0]
    assert_allclose(line["shift_x"], 0.2, atol=0.03)
    assert (table["input_error"] > table["limit"] / 1.07).all()
    # The output is the truth: it is off by the error of the input alone.
    assert 0.5 < line["pull"] < 1.6
    assert line["beyond"] < line["input_error"]


def test_scatter_is_about_the_mean_of_each_field():
    """Two fields, each shifted as a whole, by drawn errors: only the errors are scatter."""
    rng, n = np.random.default_rng(3), 400
    fields = np.repeat(["a", "b"], [n // 4, 3 * n // 4])
    common = np.where(fields == "a", 0.08, -0.05)
    stars = Table({"band": np.full(n, "r"), "field": fields, "input_error": np.full(n, 0.02)})
    for axis in "xy":
        stars[f"shift_{axis}"] = common + rng.normal(0, 0.02, n)
    line = summarize_shifts(stars)[0]
    assert_allclose([line["scatter"], line["pull"]], [0.02, 1.0], rtol=0.1)
    # Pairs have the scatter of their difference over the square root of two.
    stars["field"] = np.arange(n) // 2
    for axis in "xy":
        stars[f"shift_{axis}"] = rng.normal(0, 0.02, n)
    assert_allclose(summarize_shifts(stars)[0]["scatter"], 0.02, rtol=0.12)
    del stars["field"]
    stars["shift_x"] = common
    assert summarize_shifts(stars)["scatter"][0] > 0.02


def test_centroid_error_is_what_noise_does_to_the_fit():
    rng, star = np.random.default_rng(7), star_image(PSF)
    flux, electrons, shifts = 300.0, 3.0, []
    for _ in range(300):
        noise = correlated_noise(rng, star.shape, DITHERS)
        image = flux * star + noise * np.sqrt(1 + flux * star / electrons)
        shifts.append(centroids(image, [10], [10])[:, 0] - 10)
    claimed = centroid_error(flux, PSF, sigma=1.0, electrons=electrons)[0]
    limit = centroid_limit(flux, PSF, sigma=1.0, electrons=electrons)[0]
    assert_allclose(robust_std(np.ravel(shifts)) / claimed, 1, atol=0.15)
    assert limit < 1.1 * claimed


def test_centroid_limit_is_the_closed_form_of_a_gaussian():
    """Beta large: a Gaussian, whose bound with sky noise is 2 sqrt(2 pi) s^2 (n / f) sqrt(2)."""
    s = 1.4 / SCALE / 2.3548
    expected = np.sqrt(8 * np.pi) * s**2 * 1.07 / 100
    assert_allclose(centroid_limit(100.0, (1.4, 60.0), sigma=1.0), expected, rtol=0.03)


def test_centroids_and_widths_of_galsim_stars(stars):
    for factor in (1, 2):
        image = draw((138, 138), stars, PSF, factor=factor)
        x, y = centroids(image, stars["x"], stars["y"], factor=factor)
        assert_allclose(x, stars["x"], atol=0.01)
        assert_allclose(y, stars["y"], atol=0.01)
        assert_allclose(fwhm(image, stars["x"], stars["y"], factor=factor), 1.4, rtol=0.15)


def test_centroid_over_the_border_or_of_nothing_is_nan():
    image = np.zeros((20, 20))
    assert np.isnan(centroids(image, [10.0, 1.0, -5.0], [10.0, 10.0, 30.0])).all()


# Shapes


def test_moments_are_those_of_the_closed_form():
    """Of an elliptical Gaussian C under a Gaussian weight W: (C^-1 + W^-1)^-1."""
    covariance = np.array([[2.0, 0.5], [0.5, 1.0]])  # arcsec**2, x first
    yy, xx = (np.mgrid[:120, :120] - 60.5) * SCALE / 2
    inverse = np.linalg.inv(covariance)
    image = np.exp(
        -(inverse[0, 0] * xx**2 + 2 * inverse[0, 1] * xx * yy + inverse[1, 1] * yy**2) / 2
    )
    expected = np.linalg.inv(inverse + np.eye(2) / 1.5**2)
    found = moments(image, [30.0], [30.0], factor=2)
    trace = np.trace(expected)
    assert_allclose(found["size"], np.sqrt(trace / 2), rtol=1e-3)
    assert_allclose(found["e1"], (expected[0, 0] - expected[1, 1]) / trace, atol=1e-3)
    assert_allclose(found["e2"], 2 * expected[0, 1] / trace, atol=1e-3)


def test_moments_without_flux_or_over_the_border_are_nan():
    found = moments(np.zeros((60, 60)), [30.0, 1.0], [30.0, 30.0])
    assert all(np.isnan(column).all() for column in found.values())


@pytest.mark.parametrize(
    ("sigma", "failing"),
    [
        ((0.0, 0.0), set()),
        ((1.5, 1.5), {"median size over the target's, less 1"}),
        ((0.0, 1.5), {"median change of ellipticity"}),
    ],
)
def test_smeared_galaxies_are_caught(sigma, failing):
    galaxies = star_list(kind="galaxy", flux=6000.0)
    band = scene(galaxies)
    band = replaced(band, ndimage.gaussian_filter(band.target, sigma))
    rows = compare_shapes(world(band, galaxies), kind="galaxy")
    checks = checks_shapes(rows, bands=["r"])
    assert len(rows) == 9
    assert {name for name, passed in verdicts(checks).items() if passed is False} >= failing
    assert failing or all(check.passed for check in checks)


# Statistics


def test_statistics_agree_with_numpy_on_normal_values():
    values = np.random.default_rng(8).normal(3.0, 2.0, 40000)
    assert_allclose(robust_std(values), values.std(), rtol=0.02)
    assert_allclose(median_error(values[:100]), 0.25, rtol=0.3)
    assert_allclose(excess_scatter(values, np.full(40000, 1.2)), 1.6, rtol=0.03)
    assert excess_scatter(values, np.full(40000, 2.5)) == 0
    assert np.isnan(robust_std([]))
    assert np.isnan(median_error([1.0]))
    assert np.isnan(excess_scatter([1.0, 2.0], [1.0, 1.0]))


@pytest.mark.parametrize(
    ("value", "error", "count", "passed"),
    [
        (0.005, 0.001, 50, True),
        (0.02, 0.001, 50, False),
        (0.011, 0.002, 50, None),  # beyond the limit, but not for sure
        (0.005, 0.02, 4, None),  # cannot pass on so few
        (0.2, 0.02, 4, False),  # but this is clear
        (0.02, 0.001, 2, None),  # two values agree by chance
        (0.005, np.nan, 1, None),
        (np.nan, np.nan, 0, None),
    ],
)
def test_judge_counts_only_what_the_error_allows(value, error, count, passed):
    check = LIMITS["flux"].judge("r", value, error=error, count=count, against="target")
    assert check.passed is passed
    assert bool(check.note) is (passed is None)


# Real images


@pytest.mark.realdata
def test_real_tile_against_itself(real_data):
    """Interpolated, a real tile keeps the flux and the places of its stars."""
    paths = [real_data / "splus" / "MC0050" / f"MC0050_{band}.fits" for band in "GR"]
    observed = {name: image[60:310, 60:310] for name, image in read_bands(paths).items()}
    pair = EvaluationPair("tile", observed)
    output = {n: CCDData(upsampled(i.data), unit=i.unit) for n, i in observed.items()}
    bands = compare_field(pair, output).bands
    sources = list_sources(bands)
    assert all(band.psf is not None for band in bands.values())
    assert len(sources) > 10
    fluxes = vstack(
        [compare_fluxes(world(band, sources), against="input") for band in bands.values()]
    )
    stars = vstack([compare_stars(world(band, sources)) for band in bands.values()])
    assert abs(np.median(fluxes["offset"])) < 2e-3
    # The same noise in both: far less than it does to a centroid.
    assert np.nanmedian(abs(stars["shift_x"])) < 0.5 * np.median(stars["input_error"])
