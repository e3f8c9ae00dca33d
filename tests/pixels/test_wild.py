# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Wild pixels: found, and without a say in sky and noise of the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from splus_srgan import simulate_field
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.wild import DARKEST, wild_pixels


@given(
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 1e3),
    st.lists(st.integers(0, 899), min_size=1, max_size=5, unique=True),
    st.sampled_from([-1e30, -60.0, 2e6, 1e37]),
)
def test_they_are_found_wherever_they_are(sky, sigma, places, height):
    image = sky + sigma * np.random.default_rng(1).normal(size=(30, 30))
    image.flat[places] = sky + height * sigma
    missing = np.zeros(image.shape, bool)
    found = wild_pixels(image, missing, sky=sky, sigma=sigma, brightest=1e6)
    assert sorted(np.flatnonzero(found)) == sorted(places)
    found = wild_pixels(image, ~missing, sky=sky, sigma=sigma, brightest=1e6)
    assert not found.any()


def test_maps_are_followed_and_nan_is_not_wild():
    image = np.zeros((600, 20))
    sky = np.zeros(image.shape)
    sky[550:] = 1000 * DARKEST
    image[560, 3] = np.nan
    image[570:, :] = sky[570:, :]
    missing = np.isnan(image)
    found = wild_pixels(image, missing, sky=sky, sigma=np.ones_like(sky), brightest=10)
    assert not found.any()  # 20 rows are too many to be odd pixels
    image[550:570] = sky[550:570]
    image[555, 7] = 0
    found = wild_pixels(image, missing, sky=sky, sigma=np.ones_like(sky), brightest=10)
    assert np.argwhere(found).tolist() == [[555, 7]]


@pytest.mark.parametrize("height", [-3e38, -1e4, -60, 5e4, 1e30, 3e38])
def test_one_does_not_change_the_sky(height):
    """Before, a dark one took the sky away from the whole image."""
    image = simulate_field(3, shape=(128, 128), bands=("r",), kind="galaxy").observed["r"].data
    clean = measure_background(image)
    sigma = clean.sigma[0]
    image = image.astype(float)
    image[20, 20] = height * sigma
    found = measure_background(image)
    assert found.has_sky == clean.has_sky
    assert_allclose(found.sky, clean.sky, atol=2e-3 * sigma)
    assert_allclose(found.sigma, clean.sigma, rtol=2e-3)
