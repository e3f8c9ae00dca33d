# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The harder classical methods against closed forms and libraries, and scores by region."""

import importlib.util

import numpy as np
import pytest
from astropy.nddata import CCDData
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from splus_srgan.evaluation.baselines import block_matching
from splus_srgan.evaluation.baselines.methods import (
    BM3D,
    LowRank,
    PeronaMalik,
    TotalVariation,
    WeightedSum,
)
from splus_srgan.evaluation.measure.regions import psnr_by_region, regions
from splus_srgan.pixels.coadd_noise import CORRELATION, noise_spectrum, weighted_noise
from splus_srgan.pixels.psf import TARGET_PSF, psf_image

needs_bm3d = pytest.mark.skipif(
    importlib.util.find_spec("bm3d") is None, reason="bm3d is not installed (extra benchmark)"
)
joint = pytest.mark.parametrize("cls", [LowRank, WeightedSum])


def denoised(method, stack):
    """A stack of bands of noise 1 in, and its noise units out, on the grid of the input."""
    return method._clean(np.arcsinh(np.asarray(stack, float) / 3))


# Total variation and diffusion


def test_total_variation_is_that_of_scikit_image():
    from skimage.restoration import denoise_tv_chambolle

    image = np.random.default_rng(1).normal(size=(2, 24, 32))
    wanted = denoise_tv_chambolle(
        np.arcsinh(image / 3), weight=0.4, eps=1e-6, max_num_iter=300, channel_axis=0
    )
    # All channels of theirs stop together: ours each for itself, at the same small change.
    assert_allclose(denoised(TotalVariation(strength=1.2), image), wanted, atol=2e-3)


def test_total_variation_of_a_step_is_the_closed_form():
    """Both sides of a step of n columns each come nearer by w / n, as long as they do not meet."""
    image = np.zeros((1, 16, 16))
    image[..., 8:] = 3 * np.sinh(2.0)
    clean = denoised(TotalVariation(strength=0.9), image)[0]  # w = 0.3
    assert_allclose(clean[:, :8], 0.3 / 8, atol=1e-3)
    assert_allclose(clean[:, 8:], 2 - 0.3 / 8, atol=1e-3)


def test_diffusion_without_edges_is_the_heat_equation():
    """A cosine that fits the frame falls by (1 - sin(k / 2)^2) at every step."""
    wave = np.cos(np.pi * 3 * (np.arange(40) + 0.5) / 40)
    image = 3 * np.sinh(1e-3 * np.tile(wave, (1, 30, 1)))
    clean = denoised(PeronaMalik(contrast=1e6, iterations=7), image)
    factor = (1 - np.sin(np.pi * 3 / 80) ** 2) ** 7
    assert_allclose(clean, 1e-3 * factor * np.tile(wave, (1, 30, 1)), rtol=1e-9)


def test_diffusion_keeps_mean_range_and_edges():
    rng = np.random.default_rng(2)
    step = np.zeros((1, 32, 48))
    step[..., 24:] = 100
    image = step + rng.normal(size=step.shape)
    before, after = np.arcsinh(image / 3), denoised(PeronaMalik(), image)
    assert_allclose(after.mean(), before.mean(), rtol=1e-12)
    assert before.min() <= after.min() < after.max() <= before.max()
    assert np.std(after[..., :20]) < 0.5 * np.std(before[..., :20])
    assert np.mean(after[..., 24] - after[..., 23]) > 0.97 * np.arcsinh(100 / 3)


# Noise told


@pytest.mark.parametrize("weights", [np.ones((3, 4)), [[0, 1, 0], [1, 4, 1], [0, 1, 0]]])
def test_noise_spectrum_gives_the_noise_of_sums(weights):
    """Parseval: the variance of a weighted sum from the spectrum, and from the correlation."""
    weights = np.asarray(weights, float)
    passed = np.abs(np.fft.fft2(weights, (32, 40))) ** 2
    variance = np.mean(passed * noise_spectrum((32, 40)))
    assert_allclose(np.sqrt(variance), weighted_noise(weights), rtol=1e-12)


def test_a_correlation_that_no_noise_has_is_refused():
    with pytest.raises(ValueError, match=r"correlation must be that of some noise.*negative"):
        noise_spectrum((16, 16), {(0, 1): 0.9})


@needs_bm3d
def test_bm3d_checks_the_correlation_at_construction():
    with pytest.raises(ValueError, match="correlation must be that of some noise"):
        BM3D(correlation={(0, 1): 0.9})


@needs_bm3d
def test_bm3d_that_knows_the_correlation_beats_one_that_does_not():
    """Noise with its power at large scales, as of drizzled or smoothed images."""
    correlation = {(0, 1): 0.4, (1, 0): 0.4, (1, 1): 0.16}
    rng = np.random.default_rng(3)
    power = noise_spectrum((32, 32), correlation)
    noise = np.fft.ifft2(np.sqrt(power) * np.fft.fft2(rng.normal(size=(32, 32)))).real
    truth = np.zeros((1, 32, 32))
    truth[:, 10:22, 10:22] = 6
    rms = [
        np.std(denoised(method, truth + noise) - np.arcsinh(truth / 3))
        for method in (BM3D(strength=1.0), BM3D(strength=1.0, correlation=correlation))
    ]
    assert rms[1] < 0.75 * rms[0]


@needs_bm3d
@pytest.mark.parametrize("method", [BM3D, LowRank, WeightedSum])
def test_images_smaller_than_a_block_are_refused(method):
    told = r"data must have at least 8 pixels along each side for .*; got shape \(7, 9\)"
    with pytest.raises(ValueError, match=told):
        denoised(method(), np.ones((1, 7, 9)))


# Joint over the bands


@pytest.fixture(scope="module")
def bands():
    """One source of different S/N in three bands, and what stands in the last alone."""
    y, x = np.indices((32, 32))
    source = np.exp(-((y - 15) ** 2 + (x - 14) ** 2) / 18)
    truth = np.array([40, 20, 5])[:, None, None] * source
    truth[2, 24:27, 24:27] += 30
    return truth, truth + np.random.default_rng(4).normal(size=truth.shape)


@pytest.fixture
def smoothing(monkeypatch):
    """Median filter in place of BM3D, which is slow: what is done with the bands stays."""
    _smooth(monkeypatch)


def _smooth(monkeypatch):
    monkeypatch.setattr(block_matching, "import_optional", lambda *names: None)
    monkeypatch.setattr(
        block_matching._BlockMatching,
        "_denoise",
        lambda self, plane: ndimage.median_filter(plane, 3, axes=(0, 1)),
    )


@joint
def test_one_band_is_denoised_as_by_bm3d(cls, bands, smoothing):
    alone = bands[1][:1]
    assert_allclose(denoised(cls(), alone), denoised(BM3D(), alone), rtol=1e-12)


@joint
@pytest.mark.parametrize("levels", [(0, 0, 0), (30, 5, 1), (4, 0, -1), (-1, -2, -3)])
def test_a_constant_field_stays_constant(cls, levels, smoothing):
    field = np.broadcast_to(np.reshape(levels, (3, 1, 1)), (3, 24, 24))
    assert_allclose(3 * np.sinh(denoised(cls(), field)), field, atol=1e-9)


@joint
@given(order=st.permutations(range(3)))
def test_bands_keep_their_order(cls, bands, order):
    with pytest.MonkeyPatch.context() as monkeypatch:
        _smooth(monkeypatch)
        made, other = (denoised(cls(), bands[1][list(way)]) for way in (range(3), order))
    assert_allclose(other, made[list(order)], atol=1e-9)


def test_colors_fall_to_the_mean_one_where_it_is_faint(smoothing):
    """A faint source beside a bright one gets its color, and a bright one keeps its own."""
    y, x = np.indices((24, 64))
    near, far = (np.exp(-((y - 12) ** 2 + (x - at) ** 2) / 18) for at in (14, 48))
    made = 3 * np.sinh(denoised(WeightedSum(), np.stack([50 * near + 40 * far, 50 * near])))
    assert_allclose(made[1, 12, 14] / made[0, 12, 14], 1, rtol=0.01)
    assert abs(made[1, 12, 48]) < 0.5
    faint = 3 * np.sinh(denoised(WeightedSum(), np.stack([50 * near + 0.05 * far, 50 * near])))
    assert_allclose(faint[1, 12, 48], faint[0, 12, 48], rtol=0.3)


@needs_bm3d
@pytest.mark.slow
@pytest.mark.parametrize(("cls", "gain"), [(LowRank, 0.85), (WeightedSum, 0.8)])
def test_bands_help_each_other(cls, gain, bands):
    truth, seen = bands
    made = denoised(cls(), seen)
    alone = denoised(BM3D(strength=1.1, correlation=CORRELATION), seen[1:2])[0]
    rms = [np.std(one - np.arcsinh(truth[1] / 3)) for one in (made[1], alone)]
    assert rms[0] < gain * rms[1]
    # What one band has alone is not shared out, nor lost; but smooth colors blur it.
    assert made[2, 24:27, 24:27].mean() > (0.85 if cls is LowRank else 0.6) * np.arcsinh(30 / 3)
    assert abs(made[:2, 24:27, 24:27]).max() < 0.3 * np.arcsinh(30 / 3)


@joint
def test_joint_methods_are_called_as_all_others(cls, bands, smoothing):
    images = {band: CCDData(one, unit="adu") for band, one in zip("gri", bands[1], strict=True)}
    made = cls()(images, sky=0.0, sigma=1.0)
    assert list(made) == list("gri")
    assert all(image.shape == (64, 64) for image in made.values())
    assert made["g"].meta["SRMODEL"] == cls.name
    flux = 2 * np.pi * 9 * np.array([40, 20])
    assert_allclose([made[band].data[:48, :48].sum() for band in "gr"], flux, rtol=0.1)


def test_options_of_joint_methods_are_checked(smoothing):
    with pytest.raises(ValueError, match="width must be above 0; got 0"):
        WeightedSum(width=0)
    with pytest.raises(ValueError, match="strength must be above 0; got -1"):
        LowRank(strength=-1)


# Scores by region


def test_regions_are_those_of_signal_to_noise():
    truth = np.array([[0.0, 0.07, 0.08, 0.74, 0.76, np.nan]])
    inside = regions(truth, 1.0)
    assert_array_equal(inside["sky"], [[True, True, False, False, False, False]])
    assert_array_equal(inside["isophote"], [[False, False, False, False, True, False]])
    assert_array_equal(inside["frame"], [[True] * 5 + [False]])


def test_errors_count_where_they_are():
    truth = np.zeros((64, 64))
    truth[:, 32:] = 10
    image = truth.copy()
    image[:, :32] += 0.01
    known = {"sigma": 1.0, "zero_point": 22.5, "psf": (1.4, 3.0)}
    scores = psnr_by_region(truth, image, **known)
    assert scores["isophote"] == np.inf
    error, span = np.arcsinh(1 / 3), np.arcsinh(1000 / 3)
    assert_allclose(scores["sky"], 20 * np.log10(span / error))
    assert_allclose(scores["frame"], scores["sky"] + 10 * np.log10(2))


@pytest.mark.parametrize("wings", [(), (0.28,)])
def test_at_matched_psf_sharpness_does_not_count(wings):
    """A star as the input shows it, and one as the truth has it, are both right."""
    psf, target = (1.5, 3.0, *wings), (*TARGET_PSF, *wings)
    truth, blurred = (
        100 * psf_image(one, pixel_scale=0.275, radius=64).astype(float) for one in (target, psf)
    )
    known = {"sigma": 1.0, "zero_point": 22.5, "psf": psf}
    plain = psnr_by_region(truth, blurred, **known)
    sharp = psnr_by_region(truth, truth, image_psf=target, **known)
    assert plain["frame"] < plain["matched"] - 15
    assert plain["matched"] > 60
    assert sharp["frame"] == np.inf
    assert sharp["matched"] == np.inf
    wrong = psnr_by_region(truth, truth, **known)
    assert wrong["matched"] < 42


def test_an_empty_truth_has_no_score():
    known = {"sigma": 1.0, "zero_point": 22.5, "psf": (1.4, 3.0)}
    scores = psnr_by_region(np.zeros((64, 64)), np.ones((64, 64)), **known)
    assert np.isnan(list(scores.values())).all()
