# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Metrics against scikit-image and closed forms, and that each one sees what it should."""

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.utils.masked import Masked
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage import metrics as oracle

from splus_srgan import simulate_field
from splus_srgan.evaluation.baselines.methods import Bicubic
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.agreement import checks_metrics, pixel_table, scores
from splus_srgan.evaluation.measure.metrics import MS_SSIM_WEIGHTS, ms_ssim, nrmse, psnr, ssim
from splus_srgan.evaluation.measure.spaces import SPACES, to_space
from splus_srgan.evaluation.measure.spectra import (
    measure_amplitude,
    measure_shift,
    power_spectrum_ratio,
)
from splus_srgan.evaluation.pairs import EvaluationPair

KEYS = ("large scales", "shift", "contrast", "rough sky", "PSNR", "SSIM")
NAMES = FLUX, SHIFT, CONTRAST, SKY_NOISE, PSNR, SSIM = [LIMITS[key].name for key in KEYS]


def textured(shape=(40, 52), seed=0):
    noise = np.random.default_rng(seed).normal(size=shape)
    return ndimage.gaussian_filter(noise, 1.5, axes=(-2, -1)) * 4 + 1


def two(shape=(40, 52)):
    truth = textured(shape)
    return truth, truth + 0.1 * textured(shape, seed=1)


# Against scikit-image


def test_psnr_agrees_with_skimage():
    truth, made = two()
    wanted = oracle.peak_signal_noise_ratio(truth, made, data_range=3.3)
    assert_allclose(psnr(truth, made, data_range=3.3), wanted, rtol=1e-12)


def test_nrmse_agrees_with_skimage():
    truth, made = two()
    wanted = oracle.normalized_root_mse(truth, made, normalization="min-max")
    assert_allclose(nrmse(truth, made, data_range=np.ptp(truth)), wanted, rtol=1e-12)


def test_ssim_agrees_with_skimage():
    truth, made = two()
    wanted = oracle.structural_similarity(truth, made, data_range=3.3)
    assert_allclose(ssim(truth, made, data_range=3.3), wanted, rtol=1e-12)


def test_joint_ssim_is_that_of_skimage_over_channels():
    truth, made = two((3, 24, 30))
    wanted = oracle.structural_similarity(truth, made, data_range=3.3, channel_axis=0)
    assert_allclose(ssim(truth, made, data_range=3.3), wanted, rtol=1e-12)


def test_ms_ssim_of_one_scale_is_skimage_ssim_with_gaussian_weights():
    truth, made = two()
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 3.3}
    wanted = oracle.structural_similarity(truth, made, **options)
    assert_allclose(ms_ssim(truth, made, data_range=3.3, n_scale=1), wanted, rtol=1e-10)


def test_ms_ssim_of_two_scales_from_skimage():
    """Without differences of the local mean, SSIM is its contrast and structure part."""
    truth = textured((64, 64)) + 1000  # with such a pedestal the luminance part is 1
    made = truth + 0.1 * textured((64, 64), seed=1)
    half = [one.reshape(32, 2, 32, 2).mean(axis=(1, 3)) for one in (truth, made)]
    options = {"gaussian_weights": True, "use_sample_covariance": False, "data_range": 3.3}
    fine = oracle.structural_similarity(truth, made, **options)
    coarse = oracle.structural_similarity(*half, **options)
    weights = np.array(MS_SSIM_WEIGHTS[:2]) / sum(MS_SSIM_WEIGHTS[:2])
    wanted = fine ** weights[0] * coarse ** weights[1]
    assert_allclose(ms_ssim(truth, made, data_range=3.3, n_scale=2), wanted, rtol=1e-4)


def test_bands_are_scored_apart_or_together():
    truth, made = two((3, 32, 32))
    each = psnr(truth, made, data_range=[1.0, 2.0, 3.0], per_band=True)
    alone = [
        psnr(one, other, data_range=span)
        for one, other, span in zip(truth, made, (1, 2, 3), strict=True)
    ]
    assert_allclose(each, alone)
    assert_allclose(10 ** (-psnr(truth, made, data_range=1.0) / 10), np.mean((made - truth) ** 2))
    assert ssim(truth, made, data_range=3.0, per_band=True).shape == (3,)


# What is missing


@pytest.mark.parametrize("metric", [psnr, nrmse, ssim, lambda *a, **k: ms_ssim(*a, n_scale=2, **k)])
def test_what_is_masked_or_not_finite_does_not_count(metric):
    truth, made = two()
    mask = np.zeros(truth.shape, bool)
    mask[5:9, 10:14] = True
    broken = made.copy()
    broken[6, 11] = np.nan
    broken[5:9, 12:14] += 1e9
    wanted = metric(truth, made, data_range=3.0, mask=mask)
    assert np.isfinite(wanted)
    assert_allclose(metric(truth, broken, data_range=3.0, mask=mask), wanted, rtol=1e-9)
    assert metric(truth, broken, data_range=3.0) != pytest.approx(wanted)


@pytest.mark.parametrize("masked", [np.ma.MaskedArray, Masked])
@pytest.mark.parametrize("metric", [psnr, nrmse, ssim])
def test_masks_of_the_arrays_count(metric, masked):
    truth, made = two()
    mask = np.zeros(truth.shape, bool)
    mask[5:9, 10:14] = True
    broken = np.where(mask, 1e6, made)
    wanted = metric(truth, made, data_range=3.0, mask=mask)
    both = masked(truth, mask=mask), masked(broken, mask=mask)
    assert_allclose(metric(*both, data_range=3.0), wanted, rtol=1e-12)
    assert_allclose(metric(truth, both[1], data_range=3.0), wanted, rtol=1e-12)
    seen = to_space(masked(broken, mask=mask), "noise", sigma=0.5)
    assert np.isnan(seen[mask]).all()
    assert_allclose(seen[~mask], made[~mask] / 0.5)
    strength = measure_amplitude(truth, masked(np.where(mask, 1e6, 1.1 * truth), mask=mask))
    assert strength.value == pytest.approx(1.1, abs=1e-6)


@pytest.mark.parametrize("sigma", [0.0, -1.0, np.nan])
def test_noise_space_needs_noise(sigma):
    with pytest.raises(ValueError, match="sigma must be above 0; got"):
        to_space(np.ones((8, 8)), "noise", sigma=sigma)


def test_masked_psnr_is_that_of_the_rest():
    truth, made = two()
    mask = np.zeros(truth.shape, bool)
    mask[:20] = True
    rest = psnr(truth[20:], made[20:], data_range=3.0)
    assert_allclose(psnr(truth, made, data_range=3.0, mask=mask), rest)


@pytest.mark.parametrize("metric", [psnr, nrmse, ssim])
def test_without_a_pixel_or_a_range_there_is_no_score(metric):
    truth, made = two()
    assert np.isnan(metric(truth, made, data_range=3.0, mask=True))
    assert np.isnan(metric(truth, made, data_range=0.0))
    each = metric(
        np.stack([truth, truth]), np.stack([made, made]), data_range=[3, 0], per_band=True
    )
    assert np.isfinite(each).tolist() == [True, False]


def test_equal_images():
    truth, _ = two()
    assert psnr(truth, truth, data_range=1.0) == np.inf
    assert nrmse(truth, truth, data_range=1.0) == 0
    assert ssim(truth, truth, data_range=1.0) == pytest.approx(1)
    assert ms_ssim(truth, truth, data_range=1.0, n_scale=2) == pytest.approx(1)


@pytest.mark.parametrize("metric", [psnr, nrmse, ssim])
def test_units_are_converted_or_refused(metric):
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(2, 16, 16))
    expected = metric(one, other, data_range=9.0)
    for image in (other * u.Jy, other * 1e3 * u.mJy, CCDData(other * 1e3, unit="mJy")):
        for reference in (one * u.Jy, CCDData(one, unit="Jy")):
            assert metric(reference, image, data_range=9.0) == pytest.approx(expected)
            assert metric(reference, image, data_range=9e3 * u.mJy) == pytest.approx(expected)
    with pytest.raises(ValueError, match="must both have a unit, or neither; got none and Jy"):
        metric(one, other * u.Jy, data_range=9.0)
    with pytest.raises(ValueError, match="image must be in Jy, or convertible to that; got adu"):
        metric(one * u.Jy, other * u.adu, data_range=9.0)
    with pytest.raises(ValueError, match="data_range must be plain numbers"):
        metric(one, other, data_range=9.0 * u.Jy)


def test_messages_name_parameter_rule_and_value():
    truth, made = two()
    with pytest.raises(ValueError, match=r"reference and image must have one shape.*\(40, 52\)"):
        psnr(truth, made[1:], data_range=1.0)
    with pytest.raises(ValueError, match=r"data_range must be one number, finite.*got -1.0"):
        psnr(truth, made, data_range=-1.0)
    with pytest.raises(ValueError, match=r"mask must broadcast to the shape.*got \(3, 3\)"):
        nrmse(truth, made, data_range=1.0, mask=np.zeros((3, 3), bool))
    with pytest.raises(ValueError, match="at least 176 pixels on each side"):
        ms_ssim(truth, made, data_range=1.0)
    with pytest.raises(ValueError, match="n_scale must be at most 5; got 6"):
        ms_ssim(truth, made, data_range=1.0, n_scale=6)
    with pytest.raises(TypeError, match="data_range"):
        psnr(truth, made)


# Spaces


def test_asinh_space_is_that_of_nanomaggies():
    flux = np.array([[-0.1, 0.0, 2.0]])
    counts = flux * 10 ** (0.4 * (23.4 - 22.5))
    made = to_space(counts, "asinh", zero_point=23.4)
    assert_allclose(made, np.arcsinh(100 * flux / 3))


def test_seed_space_is_one_range_for_all_bands_of_an_image():
    cube = textured((3, 16, 16))
    made = to_space(cube, "seed", zero_point=22.5)
    stretched = np.arcsinh(100 * cube / 3)
    assert_allclose(made, (stretched - stretched.min()) / np.ptp(stretched))
    assert (made.min(), made.max()) == (0, 1)


def test_seed_space_of_counts_as_in_the_paper():
    counts = textured((16, 16))
    stretched = np.arcsinh(10 * counts / 3)
    made = to_space(counts, "seed", scale=10 / 3)
    assert_allclose(made, (stretched - stretched.min()) / np.ptp(stretched))


def test_seed_space_leaves_masked_pixels_out_of_the_range():
    image = textured((16, 16))
    broken = image.copy()
    broken[3, 3] = 1e6
    mask = broken > 1e5
    made = to_space(broken, "seed", zero_point=22.5, mask=mask)
    assert made[~mask].max() == 1


def test_seed_space_of_an_empty_image_is_defined():
    assert_allclose(to_space(np.zeros((8, 8)), "seed", zero_point=22.5), 0)


def test_noise_space_is_in_sigma_per_band():
    cube = textured((2, 8, 8))
    made = to_space(cube, "noise", sky=[1.0, 2.0], sigma=[0.5, 0.25])
    assert_allclose(made[1], (cube[1] - 2) / 0.25)


def test_spaces_say_what_they_need():
    with pytest.raises(ValueError, match='zero_point must be given for the space "asinh"'):
        to_space(np.zeros((4, 4)), "asinh")
    with pytest.raises(ValueError, match='sigma must be given for the space "noise"; got None'):
        to_space(np.zeros((4, 4)), "noise")
    with pytest.raises(ValueError, match="one of 'seed', 'asinh', 'noise'; got 'log'"):
        to_space(np.zeros((4, 4)), "log")
    with pytest.raises(ValueError, match=r"zero_point must be one number, or one for each band"):
        to_space(np.zeros((3, 4, 4)), "asinh", zero_point=[22.5, 22.5])


# Spectra


def test_power_of_white_noise_is_the_ratio_of_variances():
    rng = np.random.default_rng(3)
    truth, made = rng.normal(0, 1, (128, 128)), rng.normal(0, 2, (128, 128))
    table = power_spectrum_ratio(truth, made, n_ring=8)
    assert_allclose(table["ratio"], 4, rtol=0.35)
    assert np.all(abs(table["coherence"]) < 5 / np.sqrt(table["modes"]))
    assert table["modes"].sum() == 128**2 - 1
    assert table["frequency"].unit == 1 / u.pix


def test_blur_is_seen_as_its_transfer_function():
    truth = np.random.default_rng(4).normal(size=(128, 128))
    made = ndimage.gaussian_filter(truth, 1.5, mode="wrap")
    table = power_spectrum_ratio(truth, made)
    k = table["frequency"].value
    wanted = np.exp(-2 * (np.pi * 1.5 * k) ** 2)
    assert_allclose(table["transfer"][k < 0.3], wanted[k < 0.3], atol=0.02)
    assert_allclose(table["ratio"][k < 0.2], wanted[k < 0.2] ** 2, atol=0.02)


def test_added_noise_widens_the_error_of_the_amplitude():
    truth = textured((96, 96))
    noisy = truth + np.random.default_rng(5).normal(0, 0.5, truth.shape)
    rngs = [np.random.default_rng(100 + k) for k in range(40)]
    found = [
        measure_amplitude(truth, truth + rng.normal(0, 0.5, truth.shape), high=0.2) for rng in rngs
    ]
    values = np.array([one.value for one in found])
    error = np.mean([one.error for one in found])
    assert abs(values.mean() - 1) < 4 * error / np.sqrt(40)
    assert values.std() == pytest.approx(error, rel=0.35)
    assert measure_amplitude(truth, truth).error < 1e-10
    assert abs(measure_amplitude(truth, 1.02 * noisy, high=0.2).value - 1.02) < 5 * error


@pytest.mark.parametrize("moved", [(0.2, 0.0), (-0.1, 0.35)])
def test_shift_is_found_also_in_a_blurred_fainter_image(moved):
    y, x = np.mgrid[:96, :96]

    def stars(dy, dx, width):
        places = [(40, 50), (55.3, 41.6), (50, 60.2)]
        return sum(
            f * np.exp(-((y - py - dy) ** 2 + (x - px - dx) ** 2) / (2 * width**2)) / width**2
            for f, (py, px) in zip((1, 2, 3), places, strict=True)
        )

    found = measure_shift(stars(0, 0, 1.6), 0.7 * stars(*moved, 2.0))
    assert_allclose([found.y, found.x], moved, atol=0.01)


def test_spectra_of_an_empty_reference_are_nan():
    noise = np.random.default_rng(1).normal(size=(32, 32))
    empty = np.full((32, 32), 0.3)
    assert np.isnan(measure_amplitude(empty, noise).value)
    assert np.isnan(measure_shift(empty, noise).x)
    assert np.isnan(power_spectrum_ratio(empty, noise)["ratio"]).all()
    assert np.isnan(measure_amplitude(noise, noise, mask=np.ones(noise.shape, bool)).value)


def test_spectra_of_masked_images():
    truth = textured((64, 64))
    broken = 1.1 * truth
    broken[20:24, 30:34] = np.nan
    broken[40, 40] = 1e9
    mask = broken > 1e8
    assert measure_amplitude(truth, broken, mask=mask).value == pytest.approx(1.1, abs=1e-6)


def test_spectra_messages():
    with pytest.raises(ValueError, match=r"must have one shape \(ny, nx\); got \(8, 8\) and"):
        measure_amplitude(np.zeros((8, 8)), np.zeros((8, 9)))
    with pytest.raises(ValueError, match=r"at least 8 pixels on each side; got \(4, 8\)"):
        measure_shift(np.zeros((4, 8)), np.zeros((4, 8)))
    with pytest.raises(ValueError, match="low and high must enclose a frequency"):
        measure_amplitude(np.zeros((8, 8)), np.zeros((8, 8)), low=0.4, high=0.4)


# A whole field: each deliberate fault is caught by the check whose business it is


@pytest.fixture(scope="module")
def simulated():
    return simulate_field((2, 1), shape=(96, 96), bands=("r",), kind="stars", psf="moffat")


@pytest.fixture(scope="module")
def pair(simulated):
    return EvaluationPair.from_simulation(simulated, name="stars")


@pytest.fixture(scope="module")
def zero_point(simulated):
    return {band: one.zero_point for band, one in simulated.conditions.items()}


def output_of(pair, change=lambda image, sigma: image, noise=0.01):
    """The truth with a little smooth noise and the sky put back, and a fault."""
    made = {}
    for band, image in pair.target.items():
        sigma = pair.sigma[band] / 4
        smooth = ndimage.gaussian_filter(np.random.default_rng(8).normal(size=image.shape), 4)
        data = image.data + noise * sigma * smooth / smooth.std()
        data = change(np.asarray(data, float), sigma) + pair.sky[band] / 4
        meta = {"SRSKY": pair.sky[band], "SRSIGMA": pair.sigma[band]}
        made[band] = CCDData(data, unit=image.unit, wcs=image.wcs, meta=meta)
    return made


def grid(image, sigma):
    y, x = np.indices(image.shape)
    return image + 0.1 * sigma * (-1.0) ** (y + x)


FAULTS = {
    "flux x 1.02": (lambda image, sigma: 1.02 * image, FLUX),
    "moved by 0.2 pixels": (
        lambda image, sigma: ndimage.shift(image, (0.0, 0.2), order=5, mode="nearest"),
        SHIFT,
    ),
    "a grid of 0.1 sigma": (grid, SKY_NOISE),
    "blurred": (lambda image, sigma: ndimage.gaussian_filter(image, 2.0), CONTRAST),
    "very blurred": (lambda image, sigma: ndimage.gaussian_filter(image, 8.0), PSNR),
    "noisy": (
        lambda image, sigma: image + 4 * sigma * np.random.default_rng(1).normal(size=image.shape),
        SSIM,
    ),
}


def failed(checks):
    return {check.name for check in checks if check.passed is False}


def test_clean_output_passes_every_check(pair, zero_point):
    checks = checks_metrics(pixel_table(compare_field(pair, output_of(pair))))
    assert [check.name for check in checks] == NAMES
    assert all(check.passed for check in checks), checks


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught_by_its_check(pair, zero_point, fault):
    change, name = FAULTS[fault]
    checks = checks_metrics(pixel_table(compare_field(pair, output_of(pair, change))))
    assert name in failed(checks)


@pytest.mark.parametrize("fault", ["flux x 1.02", "moved by 0.2 pixels", "a grid of 0.1 sigma"])
def test_fault_is_caught_by_no_other_check(pair, zero_point, fault):
    change, name = FAULTS[fault]
    checks = checks_metrics(pixel_table(compare_field(pair, output_of(pair, change))))
    assert failed(checks) == {name}


@pytest.mark.parametrize("fault", FAULTS)
def test_every_score_falls_with_a_fault(pair, zero_point, fault):
    clean, broken = (
        scores(compare_field(pair, output_of(pair, change)))
        for change in (lambda image, sigma: image, FAULTS[fault][0])
    )
    for row, space in enumerate(clean["space"]):
        if space == "seed":  # its own extremes hide faults
            continue
        assert broken["psnr"][row] < clean["psnr"][row]
        assert broken["ssim"][row] < clean["ssim"][row]
        assert broken["nrmse"][row] > clean["nrmse"][row]
        if not (fault == "flux x 1.02" and space == "asinh"):  # almost an offset there
            assert broken["ms_ssim"][row] < clean["ms_ssim"][row]


def test_bicubic_is_not_ahead_of_itself(pair, zero_point):
    output = Bicubic()(pair.input, sky=pair.sky, sigma=pair.sigma)
    checks = {
        check.name: check for check in checks_metrics(pixel_table(compare_field(pair, output)))
    }
    assert checks[PSNR].value == pytest.approx(0, abs=1e-6)
    assert checks[SKY_NOISE].passed is False


def test_scores_have_every_space_and_band(pair, zero_point):
    table = scores(compare_field(pair, output_of(pair)))
    assert list(table["space"]) == list(SPACES)  # one band: no joint score
    assert table["psnr"].unit == u.dB
    assert np.isfinite(table["psnr"].value).all()


def test_scores_agree_with_their_parts(pair, zero_point):
    output = output_of(pair)
    table = scores(compare_field(pair, output))
    truth = np.asarray(pair.target["r"].data, float)
    made = output["r"].data - pair.sky["r"] / 4
    stretched = [to_space(one, "asinh", zero_point=zero_point["r"]) for one in (truth, made)]
    wanted = oracle.peak_signal_noise_ratio(*stretched, data_range=np.ptp(stretched[0]))
    assert_allclose(table["psnr"][1].value, wanted, rtol=1e-6)


def test_without_a_zero_point_only_the_noise_space_is_scored(pair):
    pair = dataclasses.replace(pair, zero_points={})
    table = scores(compare_field(pair, output_of(pair)))
    assert np.isfinite(table["psnr"].value).tolist() == [False, False, True]
    notes = {
        check.note for check in checks_metrics(pixel_table(compare_field(pair, output_of(pair))))
    }
    assert "in the space 'noise'" in notes


def test_an_image_in_nanomaggies_needs_no_zero_point(pair, simulated):
    counts = 10 ** (0.4 * (simulated.conditions["r"].zero_point - 22.5))

    def calibrated(images):
        return {
            band: CCDData(image.data / counts, unit=u.nmgy, wcs=image.wcs, meta=dict(image.meta))
            for band, image in images.items()
        }

    made = output_of(pair)
    made["r"].meta.update(SRSKY=pair.sky["r"] / counts, SRSIGMA=pair.sigma["r"] / counts)
    other = EvaluationPair("nmgy", calibrated(pair.input), calibrated(pair.target))
    table = scores(compare_field(other, calibrated(made)))
    wanted = scores(compare_field(pair, output_of(pair)))
    assert_allclose(table["psnr"][:2].value, wanted["psnr"][:2].value, rtol=2e-3)


def test_without_a_truth_nothing_is_measured(pair):
    blind = EvaluationPair("blind", pair.input, sky=pair.sky, sigma=pair.sigma)
    checks = checks_metrics(pixel_table(compare_field(blind, output_of(pair))))
    assert {check.passed for check in checks} == {None}
    assert len(checks) == len(NAMES)
    assert len(scores(compare_field(blind, output_of(pair)))) == 0


def test_an_empty_truth_is_defined(pair, zero_point):
    empty = {band: image.copy() for band, image in pair.target.items()}
    for image in empty.values():
        image.data[:] = 0
    blank = EvaluationPair("blank", pair.input, empty, sky=pair.sky, sigma=pair.sigma)
    checks = {
        one.name: one for one in checks_metrics(pixel_table(compare_field(blank, output_of(blank))))
    }
    assert checks[FLUX].passed is None
    assert checks[FLUX].note == "there is no truth without noise, or it is empty"
    assert checks[SKY_NOISE].passed
    assert np.isnan(scores(compare_field(blank, output_of(blank)))["psnr"].value[1])


def test_all_masked_is_defined(pair, zero_point):
    seen = {band: image.copy() for band, image in pair.input.items()}
    for image in seen.values():
        image.data[:] = 1e5  # all above saturation
    blind = EvaluationPair("masked", seen, pair.target, sky=pair.sky, sigma=pair.sigma)
    checks = checks_metrics(pixel_table(compare_field(blind, output_of(pair))))
    assert {check.passed for check in checks} == {None}
