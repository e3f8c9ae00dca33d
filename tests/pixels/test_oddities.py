# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What is odd about an image, on noise of known properties."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from splus_srgan.pixels import oddities, sky_levels
from splus_srgan.pixels.inspection import inspect_band, local_oddities, locally_faint
from splus_srgan.pixels.psf import psf_image


@pytest.fixture
def noise():
    return np.random.default_rng(3).normal(size=(96, 96))


def inspected(data, mask=None, sigma=1.0):
    mask = np.zeros(data.shape, bool) if mask is None else mask
    return inspect_band(data.astype(np.float32), mask, 0.0, sigma)


def test_white_noise_is_not_odd(noise):
    values = inspected(noise)
    assert values["blank"] == values["grid"] == values["spikes"] == values["repeated"] == 0
    assert values["floor"] < 0.01
    assert values["texture"] == pytest.approx(1, abs=0.06)
    assert values["tilt"] < 0.3
    assert values["step"] < 4
    assert values["banding"] < 1.4


@settings(max_examples=12)
@given(scale=st.floats(1e-12, 1e12), level=st.floats(-5, 5))
def test_units_and_levels_do_not_matter(scale, level):
    data = np.random.default_rng(3).normal(size=(48, 56))
    plain = inspect_band(data, np.zeros(data.shape, bool), 0.0, 1.0)
    moved = inspect_band(scale * (data + level), np.zeros(data.shape, bool), scale * level, scale)
    for name, value in plain.items():
        assert moved[name] == pytest.approx(value, rel=1e-3, abs=1e-3, nan_ok=True), name


@pytest.mark.parametrize("floor", [-1.5, 0.0, 0.5])
def test_clipped_noise(noise, floor):
    assert inspected(np.maximum(noise, floor))["floor"] > 0.05
    assert inspected(np.abs(noise))["floor"] > 0.1


@pytest.mark.parametrize("part", [np.s_[:48], np.s_[:, 48:], np.s_[48:, :48]])
@pytest.mark.parametrize("floor", [-1.0, 0.0])
def test_noise_that_is_clipped_in_a_part(noise, part, floor):
    noise[part] = np.maximum(noise[part], floor)
    assert inspected(noise)["floor"] > 0.02
    large = np.random.default_rng(1).normal(size=(700, 700))
    assert inspected(large)["floor"] < 0.01
    large[:, 350:] = np.maximum(large[:, 350:], floor)
    assert inspected(large)["floor"] > 0.02


@pytest.mark.parametrize("step", [0.5, 1.0, 2.5])
def test_step_of_a_grid_is_measured(noise, step):
    assert inspected(step * np.round(noise / step))["grid"] == pytest.approx(step, rel=0.01)


@pytest.mark.parametrize(("width", "expected"), [(0.5, 0.87), (0.7, 0.6), (1.0, 0.37)])
def test_texture_is_that_of_the_correlation(noise, width, expected):
    r"""Against the variance of second differences, 6 - 8 rho(k) + 2 rho(2 k)."""
    smooth = ndimage.gaussian_filter(noise, width)
    kernel = ndimage.gaussian_filter1d(np.eye(1, 41, 20)[0], width)
    rho = np.convolve(kernel, kernel[::-1])[40:] / np.sum(kernel**2)
    variance = [6 - 8 * rho[k] + 2 * rho[2 * k] for k in (1, 3)]
    theory = np.sqrt(variance[0] / variance[1])
    assert theory == pytest.approx(expected, abs=0.12)
    everywhere = np.ones(noise.shape, bool)
    ratios, error = oddities.noise_texture(smooth, everywhere)
    assert ratios == pytest.approx([theory] * 2, abs=5 * error)


def test_mottle_is_that_of_the_correlation(noise):
    """1 for white noise; sharpening takes the noise of means, a pattern adds to it."""
    ratio, error = oddities.noise_mottle(noise, noise == noise)
    assert ratio == pytest.approx(1, abs=4 * error)
    wide = ndimage.gaussian_filter(noise, 1)
    assert inspected(2 * noise - wide)["mottle"] < ratio - 3 * error
    pattern = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=noise.shape), 1.5)
    assert inspected(noise + 0.5 * pattern / pattern.std())["mottle"] > ratio + 6 * error
    assert np.isnan(oddities.noise_mottle(noise, noise > 0)[0])


def test_dark_sources_and_single_dark_pixels(noise):
    y, x = np.indices(noise.shape)
    star = 60 * np.exp(-np.hypot(y - 40, x - 30) / 2)
    assert inspected(noise + star)["dark"] < 2
    assert inspected(noise - star)["dark"] > 8
    assert inspected(noise - 20)["dark"] < 2
    assert inspected(noise - star - 20)["dark"] > 8
    noise[20, 20], noise[:, 70] = -1000, -50
    assert inspected(noise)["dark"] < 2


def test_repeated_pixels(noise):
    assert inspected(noise[:48, :48].repeat(2, 0).repeat(2, 1))["repeated"] > 0.4


@pytest.mark.parametrize("height", [1.0, -2.0, 20.0])
def test_step_between_amplifiers(noise, height):
    noise[:, 40:] += height
    assert inspected(noise)["step"] > 6.0
    assert inspected(noise.T)["step"] > 6.0


@pytest.mark.parametrize("height", [5.0, -8.0, 50.0])
@pytest.mark.parametrize("part", [np.s_[:48, :48], np.s_[40:, 48:], np.s_[:55, 20]])
def test_step_of_one_of_four_amplifiers_and_part_of_a_column(noise, part, height):
    noise[part] += height
    assert inspected(noise)["step"] > 6.0


@pytest.mark.parametrize("angle", [0, 2, 90])
@pytest.mark.parametrize("fwhm", [1.8, 3.0])
def test_galaxy_on_edge_is_no_step(noise, angle, fwhm):
    """As long as half of the frame, along its rows, and as thin as a PSF."""
    y, x = np.indices(noise.shape) - 25.0
    across = y * np.cos(np.radians(angle)) - x * np.sin(np.radians(angle))
    along = np.hypot(y, x)
    light = 40 * np.exp(-4 * np.log(2) * (across / fwhm) ** 2) / (1 + np.exp((along - 25) / 3))
    found = inspected(noise + light)
    assert found["step"] < 6.0
    assert found["spikes"] == 0


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("width", [3, 4])
def test_edge_of_a_smooth_band_of_light_is_no_step(noise, axis, width):
    """A spiral arm across the frame; a step on a tilted sky is one all the same."""
    everywhere = np.ones(noise.shape, bool)
    level = 4.0 * (np.arange(96) > 48)
    smooth = noise + np.expand_dims(ndimage.gaussian_filter1d(level, width), axis)
    assert sky_levels.sky_steps(smooth, everywhere) < 6.0
    tilted = noise + np.expand_dims(level + np.linspace(0, 4, 96), axis)
    assert sky_levels.sky_steps(tilted, everywhere) > 10


def test_banding(noise):
    noise += np.random.default_rng(5).normal(0, 0.6, (96, 1))
    assert inspected(noise)["banding"] > 2


@pytest.mark.parametrize("rise", [1.0, 4.0, 100.0])
def test_tilt_is_measured(noise, rise):
    noise[50:54, 20:24] += 500
    found = inspected(noise + np.linspace(-rise / 2, rise / 2, 96))
    assert found["tilt"] == pytest.approx(rise, rel=0.02, abs=4 * found["tilt_error"])
    assert 0 < found["tilt_error"] < 0.1 + 0.01 * rise


def test_tilt_of_a_large_frame_is_that_between_its_windows():
    y, x = np.mgrid[:700, :600]
    image = np.random.default_rng(1).normal(size=x.shape) + 3 * x / 600 + 4 * y / 700
    assert inspected(image)["tilt"] == pytest.approx(5, abs=0.1)
    assert inspected(image)["step"] < 6.0


@pytest.mark.parametrize("rise", [2.0, 6.0])
def test_sky_that_rises_to_all_sides_is_measured(noise, rise):
    noise[50:54, 20:24] += 500
    place = np.linspace(-1, 1, 96)
    bowl = rise * (place**2 + place[:, None] ** 2)
    found = inspected(noise + bowl)
    assert found["bowl"] == pytest.approx(rise, rel=0.02, abs=4 * found["bowl_error"])
    assert inspected(noise - bowl)["bowl"] < 0.3
    assert inspected(noise + rise * place)["bowl"] < 0.3


@pytest.mark.parametrize("place", [(20, 30), (48, 48), (48, -10), (96, 96)])
def test_galaxy_is_no_tilt_and_no_bowl_and_no_step(noise, place):
    y, x = np.indices(noise.shape)
    found = inspected(noise + 200 * np.exp(-np.hypot(y - place[0], x - place[1]) / 25))
    assert found["tilt"] < 0.5 + 4 * found["tilt_error"]
    assert found["bowl"] < 0.25 + 4 * found["bowl_error"]
    assert found["step"] < 6.0


def test_a_level_without_a_sky(noise):
    y, x = np.indices(noise.shape)
    galaxy = 300 * np.exp(-np.hypot(y - 40, x - 50) / 20)
    assert inspected(noise + galaxy)["pedestal"] < 0.1
    assert inspected(noise + galaxy + 200)["pedestal"] > 0.2


@pytest.mark.parametrize("scale", [1, 1 / 255])
def test_picture_of_8_bits(noise, scale):
    picture = np.clip(np.round(40 + 6 * noise), 0, 255)
    assert inspect_band(scale * picture, picture < 0, scale * 40, scale * 6)["picture"] == 1
    for other in (picture - 100, 300 + picture, picture + 0.3):
        assert inspect_band(scale * other, picture < 0, 0.0, scale * 6)["picture"] == 0


def test_picture_of_8_bits_in_other_units(noise):
    """At most 256 values, whatever they are, of which the highest was cut off."""
    noise[40:44, 40:44:2] += 500
    picture = np.clip(np.round(30 + 6 * noise), 0, 255)
    assert inspected(0.17 * (picture - 30.5))["picture"] == 1
    assert inspected(0.17 * (np.round(30 + 6 * noise) - 30.5))["picture"] == 0


@pytest.mark.parametrize(
    "area", [np.s_[40:43, 30:33], np.s_[20:28, 7], np.s_[95, 10:20], np.s_[0:4, 0:4]]
)
def test_small_areas_of_one_value_are_found_alone(noise, area):
    noise[area] = 0.0
    expected = np.zeros(noise.shape, bool)
    expected[area] = True
    assert np.array_equal(oddities.blank_pixels(noise), expected)


def test_chance_makes_no_area_of_one_value(noise):
    assert not oddities.blank_pixels(np.round(noise)).any()
    assert not oddities.blank_pixels(np.maximum(noise, 0)).any()


@pytest.mark.parametrize("value", [0.0, -3.0, 7.5])
def test_blank_areas_are_found_whole_and_alone(noise, value):
    noise[20:30, 50:70] = value
    blank = oddities.blank_pixels(noise)
    assert blank.sum() == 200
    assert blank[20:30, 50:70].all()
    mask = np.zeros(noise.shape, bool)
    mask[20:30, 50:70] = True
    assert inspected(noise)["blank"] > 0.02
    assert inspected(noise, mask)["blank"] == 0


@pytest.mark.parametrize("sign", [1, -1])
def test_spikes_are_found_where_they_are(noise, sign):
    places = [(10, 10), (50, 33), (80, 70)]
    for place in places:
        noise[place] += sign * 60
    odd = local_oddities(noise, np.zeros(noise.shape, bool), 0.0, 1.0)
    assert sorted(map(tuple, np.argwhere(odd).tolist())) == places


@pytest.mark.parametrize(
    "area", [np.s_[:45, 30], np.s_[50, 20:35], np.s_[:60, 40:42], np.s_[30:32, 60:62]]
)
def test_parts_of_columns_and_tracks_and_blocks_are_spikes(noise, area):
    noise[area] += 100
    odd = np.zeros(noise.shape, bool)
    odd[area] = True
    odd[:, [0, -1]] = odd[[0, -1]] = False  # at the border nothing shows what is around
    found = local_oddities(noise, np.zeros(noise.shape, bool), 0.0, 1.0)
    assert not (found & ~ndimage.binary_dilation(odd, np.ones((3, 3)))).any()
    assert found[odd].mean() > 0.8
    noise[area] -= 200
    assert local_oddities(noise, np.zeros(noise.shape, bool), 0.0, 1.0)[odd].mean() > 0.8


def test_one_value_is_a_star_only_with_light_around(noise):
    y, x = np.indices(noise.shape)
    star = 1e5 * (1 + np.hypot(y - 48, x - 48) ** 2 / 3) ** -3.0
    assert inspected(np.minimum(noise + star, 3000))["blank"] == 0
    assert inspected(np.minimum(noise + star, 100))["blank"] > 0
    for value in (30, 3000, 1e6):
        pasted = noise.copy()
        pasted[10:22, 70:82] = value
        assert inspected(pasted)["blank"] == pytest.approx(144 / noise.size)


@pytest.mark.parametrize("seed", range(8))
def test_crowded_sharp_stars_are_no_spikes(seed):
    """The gaps between stars are sharp, too."""
    rng = np.random.default_rng(seed)
    image = np.zeros((96, 96))
    star = psf_image((0.95, 4.0), pixel_scale=0.55, radius=10)
    for y, x in rng.uniform(12, 83, (150, 2)):
        moved = ndimage.shift(star, (y % 1, x % 1), order=3)
        part = np.s_[int(y) - 10 : int(y) + 11, int(x) - 10 : int(x) + 11]
        image[part] += 10 ** rng.uniform(2, 4) * moved
    image += rng.normal(0, np.sqrt(1 + np.maximum(image, 0) / 17))
    assert not oddities.spike_pixels(image, image == image, 0.0, 1.0).any()


@pytest.mark.parametrize("fwhm", [0.95, 1.2, 2.0])
@pytest.mark.parametrize("flux", [100.0, 3000.0, 3e5])
def test_stars_are_no_spikes(fwhm, flux):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        star = psf_image((fwhm, 3.0), pixel_scale=0.55, radius=20)
        star = ndimage.shift(star, rng.uniform(-0.5, 0.5, 2), order=3)
        image = rng.normal(0, np.sqrt(1 + np.maximum(flux * star, 0) / 17))
        image += flux * star
        assert not oddities.spike_pixels(image, image == image, 0.0, 1.0).any()


def bright_galaxy(peak=300):
    y, x = np.indices((128, 128))
    return peak * np.exp(-np.hypot(y - 64, x - 64) / 12)


def crowd():
    """Stars of 30 to 3000 sigma."""
    rng, image = np.random.default_rng(4), np.zeros((128, 128))
    star = psf_image((2.4, 3.0), pixel_scale=1.0, radius=12)
    for place, flux in zip(
        rng.integers(13, 115, (25, 2)), np.geomspace(200, 20000, 25), strict=True
    ):
        y, x = place
        image[y - 12 : y + 13, x - 12 : x + 13] += flux * star
    return image


STRETCHES = {
    "asinh at 3 sigma": lambda x: 3 * np.arcsinh(x / 3),
    "asinh at 10 sigma": lambda x: 10 * np.arcsinh(x / 10),
    "logarithm": lambda x: 8 * np.log1p(np.maximum(x + 5, 0) / 8),
    "gamma": lambda x: np.maximum(x + 5, 0) ** 0.3,
}


@pytest.mark.parametrize("stretch", STRETCHES.values(), ids=STRETCHES)
@pytest.mark.parametrize("scene", [bright_galaxy, crowd])
def test_noise_of_a_stretched_image_falls(scene, stretch):
    truth = scene()
    image = truth + np.random.default_rng(2).normal(0, np.sqrt(1 + truth / 30))
    assert inspected(image)["slope"] > 1
    stretched = stretch(image)
    stretched = stretched - np.median(stretched)
    noise = np.abs(np.diff(stretched[:, :16], axis=0))
    sigma = np.median(noise) / 0.6745 / np.sqrt(2)
    assert inspected(stretched, sigma=sigma)["slope"] < 0.7


def test_noise_that_does_not_rise_is_no_stretch():
    """Where the sky has far more photons than the sources."""
    for seed in range(20):
        galaxy = bright_galaxy(30 * 2 ** (seed % 5))
        image = galaxy + np.random.default_rng(seed).normal(size=galaxy.shape)
        assert oddities.noise_slope(image, galaxy >= 0, galaxy < 1, 1.0) > 1


def test_flat_cores_of_saturated_stars_are_no_stretch(noise):
    y, x = np.indices(noise.shape)
    star = 1e5 * (1 + np.hypot(y - 48, x - 48) ** 2 / 9) ** -3.0
    image = star + noise * np.sqrt(1 + star / 30)
    flat = star > 290
    image = np.where(flat, 300, np.minimum(image, 300))
    assert oddities.noise_slope(image, ~flat, star < 1, 1.0) > 1
    assert inspected(image)["slope"] > 1


def test_nothing_bright_shows_no_slope(noise):
    assert np.isnan(inspected(noise)["slope"])


def test_little_that_is_valid_is_not_judged(noise):
    mask = np.ones(noise.shape, bool)
    mask[:15, :15] = False
    assert inspected(noise, mask) == {}


@pytest.mark.parametrize("shape", [(1, 500), (2, 500), (500, 1), (3, 500), (5, 200), (200, 7)])
def test_narrow_images_are_looked_at_too(noise, shape):
    plane = noise.ravel()[: shape[0] * shape[1]].reshape(shape)
    values = inspected(plane)
    assert values["spikes"] == 0
    assert not values["tilt"] > 1
    faint = locally_faint(plane, np.ones(shape, bool), 1.0)
    assert faint.shape == shape
    assert faint.mean() > 0.5


def test_an_area_that_is_known_to_be_saturated_is_not_blank():
    """Survey images cut bright cores off at a level that the header states."""
    data = np.random.default_rng(8).normal(0, 1, (80, 80)).astype(np.float32)
    data[30:34, 40:44] = 300.0
    nothing = np.zeros(data.shape, bool)
    assert inspect_band(data, nothing, 0.0, 1.0)["blank"] > 0
    assert inspect_band(data, nothing, 0.0, 1.0, saturation=290.0)["blank"] == 0
    flat = np.s_[31:33, 41:43]
    assert local_oddities(data, nothing, 0.0, 1.0)[flat].all()
    assert not local_oddities(data, nothing, 0.0, 1.0, saturation=290.0)[flat].any()
