# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sky and sigma, on whatever may be in the frame."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.pixels.background import measure_background, sky_of_enhanced
from splus_srgan.pixels.coadd_noise import correlated_noise
from splus_srgan.simulate.field import KINDS, simulate_field

# Kinds of frame that may hold no sky at all.
CROWDED = ("fill", "cluster", "stars", "galaxy")


def white(shape=(128, 128), *, sky=0.0, sigma=1.0, seed=0):
    return np.random.default_rng(seed).normal(sky, sigma, shape)


def smooth_galaxy(shape, peak, scale):
    y, x = np.indices(shape)
    return peak * np.exp(-np.hypot(y - shape[0] / 2, x - shape[1] / 2) / scale)


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= 12)) for seed in range(40)]
)
def test_simulated_fields(seed):
    """Galaxies that fill the frame, crowded fields, blank sky: sigma 5 %, sky 0.1 sigma."""
    field = simulate_field([11, seed], kind=KINDS[seed % len(KINDS)])
    stack = np.stack([image.data for image in field.observed.values()])
    true_sky, true_sigma = (np.array(list(d.values())) for d in (field.sky, field.sigma))

    background = measure_background(stack)

    assert_allclose(background.sigma, true_sigma, rtol=0.05)
    offset = np.abs(background.sky - true_sky) / true_sigma
    assert np.all(offset[background.has_sky] < 0.1)
    assert_array_equal(background.sky[~background.has_sky], 0)
    assert_array_equal(np.isnan(background.sky_error), ~background.has_sky)
    assert background.has_sky.all() or field.kind in CROWDED


@pytest.mark.parametrize("pedestal", [0.0, 3.0, 450.0, -450.0])
@pytest.mark.parametrize("sigma", [0.06, 5.0])
@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (150, 90)])
def test_noise_alone(pedestal, sigma, shape):
    """Blank sky of any level; tolerances are 3.5 times the statistical errors."""
    background = measure_background(white(shape, sky=pedestal, sigma=sigma))

    assert background.has_sky[0]
    rtol = 3.5 * 0.7 / np.sqrt(np.prod(shape))
    assert_allclose(background.sigma, sigma, rtol=max(rtol, 0.03))
    assert abs(background.sky[0] - pedestal) < 0.1 * sigma


@pytest.mark.parametrize(
    "dithers", [[(0, 0)], [(0.5, 0.5)] * 3, [(0.1, 0.4), (0.8, 0.6), (0.3, 0)]]
)
def test_sigma_includes_the_correlation_of_coadds(dithers):
    """Noise resampled by Lanczos-3 with any offsets."""
    noise = correlated_noise(np.random.default_rng(3), (256, 256), dithers)
    assert_allclose(measure_background(noise).sigma, 1, rtol=0.04)


def test_sigma_with_the_correlation_measured_on_splus():
    """rho(0,1), rho(1,1), rho(0,2) = 0.12, 0.035, -0.045, made in Fourier space."""
    correlation = np.zeros((256, 256))
    for dy, dx, rho in ((0, 0, 1), (0, 1, 0.12), (1, 1, 0.035), (0, 2, -0.045)):
        for y, x in {
            (a * p, b * q) for a, b in ((dy, dx), (dx, dy)) for p in (1, -1) for q in (1, -1)
        }:
            correlation[y, x] = rho
    power = np.fft.fft2(correlation).real
    noise = np.fft.ifft2(np.fft.fft2(white((256, 256))) * np.sqrt(power)).real
    assert_allclose(measure_background(noise).sigma, 1, rtol=0.035)


def test_photon_noise_of_a_galaxy_is_not_sky_noise():
    """Over the galaxy the noise is up to twice the sky's."""
    galaxy = smooth_galaxy((256, 256), 60, 60)
    image = galaxy + white((256, 256)) * np.sqrt(1 + galaxy / 20)
    assert_allclose(measure_background(image).sigma, 1, rtol=0.05)


@pytest.mark.parametrize("factor", [2.0**-40, 2.0**20])
def test_scaling_by_a_power_of_two_is_exact(factor):
    image = white(sky=3) + smooth_galaxy((128, 128), 50, 10)
    one, other = measure_background(image), measure_background(factor * image)
    assert_array_equal(other.sigma, factor * one.sigma)
    assert_array_equal(other.sky, factor * one.sky)


@pytest.mark.parametrize("factor", [1e-9, 1000.0])
def test_any_unit_gives_the_same(factor):
    image = (white(sky=3) + smooth_galaxy((128, 128), 50, 10)).astype(np.float32)
    one, other = measure_background(image), measure_background(image * np.float32(factor))
    assert_allclose(other.sigma, factor * one.sigma, rtol=1e-5)
    assert_allclose(other.sky, factor * one.sky, rtol=1e-5)


def test_frame_without_sky_is_left_alone():
    galaxy = 5 + smooth_galaxy((128, 128), 200, 60)
    background = measure_background(galaxy + white())
    assert not background.has_sky[0]
    assert background.sky[0] == 0
    assert np.isnan(background.sky_error[0])


def test_missing_pixels_do_not_matter():
    """NaN, infinity and mask are the same; what lies under the mask is not seen."""
    image, hole = white(sky=7, sigma=2), np.zeros((128, 128), bool)
    hole[:30], hole[50:70, 60:90] = True, True
    background = measure_background(np.where(hole, np.nan, image))
    for value in (np.inf, -np.inf):
        other = measure_background(np.where(hole, value, image))
        assert_array_equal(other.sigma, background.sigma)
    masked = measure_background(np.where(hole, 1e6, image), mask=hole)
    assert_array_equal(masked.sigma, background.sigma)
    assert_array_equal(masked.sky, background.sky)
    assert_allclose(background.sigma, 2, rtol=0.04)
    assert_allclose(background.sky, 7, atol=0.2)


def test_borders_filled_with_zero_hold_no_noise_and_no_sky():
    image = white((200, 200), sky=20)
    image[:, :120] = 0
    background = measure_background(image)
    assert_allclose(background.sigma, 1, rtol=0.04)
    assert_allclose(background.sky, 20, atol=0.1)


def test_integers_and_quantised_data():
    image = white((256, 256), sky=1000, sigma=4)
    rounded = measure_background(np.rint(image).astype(np.int16))
    assert_allclose(rounded.sigma, 4, rtol=0.03)
    assert_allclose(rounded.sky, 1000, atol=0.4)
    # The step of the RICE compression of S-PLUS is sigma / 4.
    assert_allclose(measure_background(np.rint(image)).sigma, 4, rtol=0.03)
    big_endian = image.astype(">f4")
    assert_allclose(
        measure_background(big_endian).sigma, measure_background(image).sigma, rtol=1e-4
    )


def test_bands_are_measured_one_by_one():
    stack = np.stack([white(sigma=1), white(sky=500, sigma=3, seed=1)])
    before = stack.copy()
    both = measure_background(stack, mask=np.zeros((128, 128), bool))
    alone = [measure_background(image) for image in stack]
    assert_array_equal(both.sigma, [a.sigma[0] for a in alone])
    assert_array_equal(both.sky, [a.sky[0] for a in alone])
    assert_array_equal(stack, before)


def test_large_image_is_sampled():
    """Empty borders and all: as in a tile of 11000 x 11000, of which the middle is valid."""
    image = np.zeros((1600, 1500), np.float32)
    image[100:1500, 100:1400] = white((1400, 1300), sky=30, sigma=2)
    background = measure_background(image)
    assert_allclose(background.sigma, 2, rtol=0.01)
    assert_allclose(background.sky, 30, atol=0.05)


@pytest.mark.parametrize("gain", [20.0, [20.0], 40.0, 10.0, np.nan])
def test_gain_helps_and_a_wrong_one_does_no_harm(gain):
    galaxy = smooth_galaxy((200, 200), 300, 50)
    image = galaxy + white((200, 200)) * np.sqrt(1 + galaxy / 20)
    assert_allclose(measure_background(image, gain=gain).sigma, 1, rtol=0.06)


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (11, 11), (4, 5000)])
def test_tiny_images_say_what_to_do(shape):
    with pytest.raises(
        ValueError, match=r"valid 5 x 5 neighbourhoods, but 64 .* give sky= and sigma="
    ):
        measure_background(white(shape))


def test_image_without_data_says_what_to_do():
    stack = np.stack([white(), np.full((128, 128), np.nan)])
    with pytest.raises(ValueError, match=r"band 1 \(counted from 0\) have 0 valid .* give sky="):
        measure_background(stack)


@pytest.mark.parametrize("value", [0, 3.7])
def test_constant_image_says_what_to_do(value):
    with pytest.raises(ValueError, match=r"band 0 .* are constant.* give sky= and sigma="):
        measure_background(np.full((64, 64), value))


@pytest.mark.parametrize("data", [np.ones((8, 8), complex), np.ones((8, 8), bool), [["a"]]])
def test_what_is_no_image_is_refused(data):
    with pytest.raises(TypeError, match="data must be real numbers; got an array of dtype"):
        measure_background(data)


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4), (0, 5), (0, 9, 9)])
def test_wrong_shapes_are_refused(shape):
    with pytest.raises(ValueError, match=r"data must have shape \(ny, nx\) or"):
        measure_background(np.ones(shape))


def test_wrong_mask_and_gain_are_refused():
    with pytest.raises(ValueError, match=r"mask must broadcast .*\(128, 128\); got \(3, 3\)"):
        measure_background(white(), mask=np.zeros((3, 3), bool))
    for gain in (0, -1, np.inf, [1.0, 2.0]):
        with pytest.raises(ValueError, match=r"gain must be positive .* 1 bands"):
            measure_background(white(), gain=gain)


@pytest.mark.realdata
@pytest.mark.parametrize("band", ["G", "R", "Z"])
def test_real_tiles_agree_with_their_pipeline(real_data, band):
    """NCNOISE is the pipeline's own noise estimate; it is right to about 10 %."""
    paths = sorted((real_data / "splus").glob(f"S*/*_{band}.fits"))
    assert paths
    for path in paths:
        with fits.open(path) as hdus:
            data, header = hdus[0].data, hdus[0].header
        expected = [value for key, value in header.items() if "NCNOISE" in key]
        background = measure_background(data)
        assert abs(background.sky[0]) < background.sigma[0]
        if expected:
            assert_allclose(background.sigma, expected[0], rtol=0.15, err_msg=path.name)


def enhanced(shape, level, *, peak=50.0, scale=6.0):
    """A smooth galaxy on a sky, as flux per input pixel on the fine grid."""
    return smooth_galaxy(shape, peak, scale) + level


@pytest.mark.parametrize("offset", [-0.08, 0.0, 0.08])
@pytest.mark.parametrize("shape", [(256, 256), (90, 400), (2304, 2304)])
def test_sky_of_an_enhanced_image_is_that_between_its_sources(shape, offset):
    level = sky_of_enhanced(enhanced(shape, 100 + 2 * offset), 100.0, 2.0)
    assert_allclose(level, 100 + 2 * offset, atol=2 * 0.02)


def test_sky_of_an_enhanced_image_leaves_out_the_mask():
    mask = np.zeros((64, 64), bool)
    mask[:40] = True
    fine = np.where(mask.repeat(2, 0).repeat(2, 1), 3.0, 3.1)
    assert_allclose(sky_of_enhanced(fine, 3.0, 1.0, mask=mask), 3.1)


def test_where_an_enhanced_image_has_no_sky_the_level_stays():
    everywhere = np.cumsum(np.full((128, 128), 0.5), axis=0)
    assert sky_of_enhanced(everywhere, 7.0, 1.0) == 7.0
    nothing = np.ones((32, 32), bool)
    assert sky_of_enhanced(np.zeros((64, 64)), 7.0, 1.0, mask=nothing) == 7.0


def test_masks_of_the_data_themselves_count():
    rng = np.random.default_rng(1)
    image, mask = rng.normal(5, 2, (128, 128)), np.zeros((128, 128), bool)
    mask[:64] = True
    image[:64] = rng.normal(900, 300, (64, 128))
    expected = measure_background(image, mask=mask)
    for data in (np.ma.array(image, mask=mask), CCDData(image, unit="adu", mask=mask)):
        for extra in (None, mask, np.zeros_like(mask)):
            found = measure_background(data, mask=extra)
            assert found.sky == expected.sky
            assert found.sigma == expected.sigma
