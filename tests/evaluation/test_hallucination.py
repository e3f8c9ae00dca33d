# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What was invented, what was lost, and whether the output agrees with the data."""

import numpy as np
import pytest
from _scenes import PSF, broken, only, replaced, scene, star, star_list, upsampled, verdicts, world
from astropy.nddata import CCDData
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan import measure_background, simulate_field
from splus_srgan.evaluation.compared import ComparedBand
from splus_srgan.evaluation.measure.consistency import checks_consistency, data_consistency
from splus_srgan.evaluation.measure.hallucination import (
    checks_details,
    checks_unmatched,
    detail_scores,
    unmatched_sources,
)
from splus_srgan.evaluation.measure.noise import checks_noise, noise_field, noise_only_detections
from splus_srgan.evaluation.measure.swap import checks_swaps, swap_test
from splus_srgan.evaluation.pairs import EvaluationPair


@pytest.fixture(scope="module")
def stars():
    return star_list()


@pytest.fixture(scope="module")
def clean(stars):
    return scene(stars)


@pytest.fixture
def noise():
    """A band of noise alone, whose output is empty."""
    image = np.random.default_rng(1).normal(0, 1, (96, 96))
    return ComparedBand("r", image, np.zeros((192, 192)), 1.0, psf=PSF)


def failing(checks):
    return {name for name, passed in verdicts(checks).items() if passed is False}


# Noise alone


def test_noise_field_is_noise_alone():
    field = simulate_field(3, shape=(96, 96), bands=("g", "r"), kind="galaxy")
    images = noise_field(field.observed, seed=3)
    assert set(images) == {"g", "r"}
    for band, image in images.items():
        assert image.shape == (128, 128)
        assert image.unit == field.observed[band].unit
        assert image.meta["FILTER"] == field.observed[band].meta["FILTER"]
        assert_allclose(image.data.std(), field.sigma[band], rtol=0.05)
        assert abs(image.data).max() < 6 * image.data.std()


def test_quiet_output_passes_and_a_source_out_of_noise_is_caught(noise):
    name = "detections in noise alone, 5 sigma of the input's noise, per field"
    found = noise_only_detections(world(noise))
    found.meta["n_field"] = 1
    checks = checks_noise(found, bands=["r"])
    assert len(found) == 0
    assert [check.passed for check in checks] == [True, None]
    assert checks[1].value == 0
    noise.output = star(noise.output.shape, 80, 90, 60.0)
    found = noise_only_detections(world(noise))
    found.meta["n_field"] = 1
    checks = checks_noise(found, bands=["r"])
    assert verdicts(checks)[name] is False
    assert_allclose(found[found["noise"] == "input"]["x"], [39.75], atol=0.1)


def test_output_is_searched_by_its_own_noise_for_information(noise):
    """A quiet output with faint blobs deceives whoever takes its own noise for the truth."""
    rng = np.random.default_rng(2)
    noise.output = 0.002 * rng.standard_normal(noise.output.shape)
    noise.output += star(noise.output.shape, 80, 90, 3.0)
    found = noise_only_detections(world(noise))
    assert list(found["noise"]) == ["own"]
    found.meta["n_field"] = 1
    checks = checks_noise(found, bands=["r"])
    assert [(check.passed, check.decides) for check in checks] == [(True, True), (None, False)]
    assert checks[1].value == 1
    assert "a source finder that measures the noise on the output itself will" in checks[1].note


def test_no_noise_field_is_not_measured(noise):
    found = noise_only_detections(world(noise))
    checks = checks_noise(found, bands=["r"])
    assert [check.passed for check in checks] == [None, None]


# Sources without counterpart


@pytest.mark.parametrize("with_target", [True, False])
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("clean", set()),
        ("flux", set()),
        ("shift", set()),
        ("blurred", set()),
        ("invented", {"invented sources"}),
        ("removed", {"removed sources"}),
    ],
)
def test_only_invented_and_removed_sources_count(clean, how, expected, with_target):
    band = broken(clean, how)
    if not with_target:
        band.target = None
    rows = unmatched_sources(world(band))
    assert failing(checks_unmatched(rows, bands=["r"])) == expected
    assert rows["unmatched"].sum() == len(expected)


def test_empty_fields_have_no_unmatched_sources():
    band = ComparedBand("r", np.zeros((48, 48)), np.zeros((96, 96)), 1.0, target=np.zeros((96, 96)))
    rows = unmatched_sources(world(band))
    checks = checks_unmatched(rows, bands=["r"])
    assert len(rows) == 0
    assert [check.passed for check in checks] == [None, None]


def test_masked_fields_have_no_unmatched_sources(stars):
    band = scene(stars, bad=np.ones((138, 138), bool))
    assert len(unmatched_sources(world(band))) == 0
    assert np.isnan(only(data_consistency(world(band)))["chi2"])
    assert np.isnan(only(detail_scores(world(band)))["hallucination"])


# Detail


def test_details_of_a_perfect_and_of_a_lazy_output(clean):
    perfect = only(detail_scores(world(clean)))
    assert_allclose(
        [perfect[n] for n in ("improvement", "omission", "hallucination")], [1, 0, 0], atol=1e-9
    )
    lazy = replaced(clean, clean.blurred_output)
    scores = only(detail_scores(world(lazy)))
    assert_allclose(
        [scores[n] for n in ("improvement", "omission", "hallucination")], [0, 1, 0], atol=1e-6
    )
    assert failing(checks_details([perfect], bands=["r"])) == set()
    assert failing(checks_details([scores], bands=["r"])) == {
        "improvement, as a share of the detail that the input lacks"
    }


def test_details_are_those_of_opensr_test(clean):
    """Hallucination is what both distances have beyond the triangle of truth and input."""
    output = clean.target + 0.5 * np.random.default_rng(9).standard_normal(clean.target.shape)
    band = replaced(clean, output)
    truth, low, made = (
        4 * clean.target,
        4 * replaced(clean, clean.target).blurred_output,
        4 * output,
    )
    d_ref, d_im, d_om = abs(truth - low), abs(made - truth), abs(made - low)
    counts = np.maximum(d_ref, d_om) > 1
    expected = np.sum((d_im + d_om - d_ref)[counts] / 2) / d_ref[counts].sum()
    scores = only(detail_scores(world(band)))
    assert_allclose(scores["hallucination"], expected, rtol=1e-6)
    assert_allclose(scores["improvement"] + scores["omission"], 1)


@pytest.mark.parametrize(("how", "passes"), [("clean", True), ("invented", False)])
def test_invented_detail_is_caught(clean, how, passes):
    output = clean.target.copy()
    if how == "invented":  # structure at the size of the PSF, a tenth as bright as the stars
        wave = np.sin(np.arange(output.shape[1]) * 2 * np.pi / 5)
        output += 0.3 * output * wave
    checks = checks_details([only(detail_scores(world(replaced(clean, output))))], bands=["r"])
    title = "hallucination, as a share of the detail that the input lacks"
    assert verdicts(checks)[title] is passes


def test_details_without_truth_are_not_measured(clean):
    alone = ComparedBand("r", clean.input, clean.output, 1.0, psf=PSF)
    checks = checks_details([only(detail_scores(world(alone)))], bands=["r"])
    assert [check.passed for check in checks] == [None, None]


# Swap of the noise


def sharpened(images, *, amount):
    """An enhancer that sharpens what it is given: its noise too, if that is not removed."""
    result = {}
    for band, image in images.items():
        fine = upsampled(image.data)
        fine += amount * (fine - ndimage.gaussian_filter(fine, 2.0))
        result[band] = CCDData(fine, unit=image.unit)
        result[band].psf = _psf_image()
    return result


def _psf_image():
    y, x = np.mgrid[-20:21, -20:21]
    alpha = 1.0 / 0.275 / (2 * np.sqrt(2 ** (1 / 3) - 1))
    return (1 + (x**2 + y**2) / alpha**2) ** -3.0


def swap_pair(name, seed, *, flux):
    """A star field without truth problems: one band, simulated."""
    field = simulate_field(seed, shape=(96, 96), kind="galaxy" if flux else "blank", bands=("r",))
    return EvaluationPair.from_simulation(field, name=name)


def noisy_structure(images):
    """An enhancer that makes structure out of the noise, whatever is there."""
    result = sharpened(images, amount=0.0)
    for band, image in images.items():
        data = np.asarray(image.data, float)
        signs = np.sign(data - ndimage.median_filter(data, 5)).repeat(2, 0).repeat(2, 1)
        result[band].data = 30 * measure_background(data).sigma[0] * signs
    return result


def test_swap_test_tells_structure_of_the_object_from_that_of_the_noise():
    bright, blank = swap_pair("object", 3, flux=True), swap_pair("sky", 4, flux=False)
    honest = swap_test(lambda images: sharpened(images, amount=0.5), bright, blank)
    wild = swap_test(noisy_structure, bright, blank)
    assert honest[0]["correlation"] > 0.9
    assert wild[0]["correlation"] < 0.7
    assert wild[0]["follows_noise"] > honest[0]["follows_noise"]
    assert failing(checks_swaps(honest, bands=["r"])) == set()
    assert failing(checks_swaps(wild, bands=["r"])) == {
        "correlation of details under a swap of the noise"
    }


def test_swap_needs_an_object_and_equal_fields():
    blank = swap_pair("sky", 4, flux=False)
    results = swap_test(lambda images: sharpened(images, amount=0.5), blank, blank)
    checks = checks_swaps(results, bands=["r"])
    assert [check.passed for check in checks] == [None]
    other = EvaluationPair("odd", {"r": CCDData(np.ones((8, 8)), unit="adu")})
    with pytest.raises(ValueError, match=r"other must have the shape and bands.*got \(8, 8\)"):
        swap_test(sharpened, blank, other)


# Consistency with the data


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ("clean", set()),
        ("flux", {"trend of input less blurred output with flux"}),
        ("invented", {"largest smoothed residual of the input"}),
        ("removed", {"largest smoothed residual of the input"}),
    ],
)
def test_consistency_fails_when_it_should(clean, how, expected):
    # Two fields: of one alone, a flux that is off by 2 % is not for sure above the limit of 1 %.
    checks = checks_consistency(
        2 * [only(data_consistency(world(broken(clean, how))))], bands=["r"]
    )
    assert failing(checks) >= expected
    assert expected or all(check.passed for check in checks)


def test_consistency_sees_blurred_bright_sources():
    """A shift of 0.2 pixels is for the centroids of stars: a PSF is not known that well."""
    band = scene(star_list(flux=10000.0))
    good = checks_consistency([only(data_consistency(world(band)))], bands=["r"])
    bad = checks_consistency([only(data_consistency(world(broken(band, "blurred"))))], bands=["r"])
    assert all(check.passed for check in good)
    # What is near a bright source may be wrong by more than elsewhere; its trend may not.
    assert failing(bad) & {
        "mean square of input less blurred output",
        "largest smoothed residual of the input",
        "trend of input less blurred output with flux",
    }


def test_bright_fields_are_not_blamed_for_what_the_psf_may_be_wrong_by():
    """Of a galaxy that fills the frame, the allowance for the PSF is most of the variance."""
    noise = np.random.default_rng(1).normal(0, 1, (96, 96))
    band = ComparedBand("r", noise + 20, np.full((192, 192), 5.0), 1.0)
    found = only(data_consistency(world(band)))
    assert found["chi2"] < 0.5
    assert_allclose(found["chi2"], found["chi2_least"], rtol=0.05)
    assert checks_consistency([found], bands=["r"])[0].passed
    copied = only(data_consistency(world(ComparedBand("r", 0.5 * noise + 20, band.output, 1.0))))
    assert (
        checks_consistency([copied], bands=["r"])[0].passed is False
    )  # the output holds the noise


def test_chi2_is_that_of_the_noise(clean):
    """1 for the truth, less for an output that kept the noise, by closed form."""
    assert_allclose(only(data_consistency(world(clean)))["chi2"], 1, atol=0.05)
    doubled = replaced(clean, clean.target)
    doubled.sigma = 2.0
    assert_allclose(only(data_consistency(world(doubled)))["chi2"], 0.25, atol=0.03)


def test_slope_is_the_flux_that_lacks(clean):
    summary = only(data_consistency(world(replaced(clean, clean.target / 1.05))))
    assert_allclose(summary["slope"], 0.05, atol=4 * summary["slope_error"])
    assert summary["slope_error"] < 0.01


def test_consistency_of_nothing_is_not_measured():
    band = ComparedBand(
        "r", np.zeros((16, 16)), np.zeros((32, 32)), 1.0, bad=np.ones((16, 16), bool)
    )
    checks = checks_consistency([only(data_consistency(world(band)))], bands=["r"])
    assert [check.passed for check in checks] == [None] * 5
    assert all(check.note for check in checks)
