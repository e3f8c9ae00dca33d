# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated images of the Legacy Surveys: the truth with noise of the right size."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.simulate.field import simulate_field
from splus_srgan.simulate.reference import REFERENCE_SIGMA, reference_images


@pytest.fixture(scope="module")
def field():
    return simulate_field(5, shape=(96, 96), kind="blank")


def noise_of(field, band, image):
    return image.data - field.target[band].data / field.conditions[band].adu_per_nmgy


@pytest.mark.parametrize("band", ["g", "r", "z"])
def test_noise_is_that_of_the_survey(field, band):
    image = reference_images(field, seed=3)[band]
    low, high = np.array(REFERENCE_SIGMA[band]) * 0.275 / 0.262
    noise = noise_of(field, band, image)
    assert low <= image.uncertainty.array[0, 0] <= high
    assert_allclose(noise.std(), image.uncertainty.array[0, 0], rtol=0.03)
    assert abs(noise.mean()) < 4 * noise.std() / np.sqrt(noise.size / 1.6)
    neighbours = np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var()
    assert neighbours == pytest.approx(0.18, abs=0.02)


def test_on_the_grid_of_the_target(field):
    image = reference_images(field, seed=3)["g"]
    pixels = np.array([[0.0, 0.0], [191.0, 100.0]])
    assert_allclose(
        image.wcs.all_pix2world(pixels, 0), field.target["g"].wcs.all_pix2world(pixels, 0)
    )


def test_seed(field):
    first, same, other = (reference_images(field, seed=s)["z"].data for s in (1, 1, 2))
    assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_band_without_noise():
    field = simulate_field(1, shape=(16, 16), bands=("u",))
    with pytest.raises(ValueError, match=r"band must be one of .*'u'"):
        reference_images(field, seed=0)
