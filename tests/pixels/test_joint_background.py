# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The sky of the bands of one field, where a deep band sees sources everywhere."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from splus_srgan import measure_background
from splus_srgan.pixels.joint_background import measure_joint_background
from splus_srgan.pixels.psf import psf_image

SHAPE = (64, 96)


@pytest.fixture(scope="module")
def bands():
    """Noise of 1 in each band; the second sees the sources 30 times as bright."""
    rng = np.random.default_rng(1)
    star = psf_image((1.5, 3.0), pixel_scale=0.55, radius=10)
    stars = np.zeros(SHAPE)
    places = [rng.integers(10, n - 10, 20) for n in SHAPE]
    for y, x, flux in zip(*places, rng.pareto(1, 20), strict=True):
        stars[y - 10 : y + 11, x - 10 : x + 11] += 100 * (0.5 + min(flux, 20)) * star
    return np.stack([stars / 30, stars]) + rng.normal(size=(2, *SHAPE))


def test_band_between_whose_sources_no_sky_is_seen_follows_the_other(bands):
    alone = measure_background(bands)
    assert alone.has_sky.tolist() == [True, False]
    joint, unlike = measure_joint_background(bands)
    assert joint.has_sky.all()
    assert joint.sky == pytest.approx([0, 0], abs=0.05)
    assert unlike.tolist() == [0, 0]
    assert joint.sky[0] == alone.sky[0]


@pytest.mark.parametrize("level", [-30.0, 1000.0])
def test_pedestal_is_taken_off_and_told(bands, level):
    joint, unlike = measure_joint_background(level + bands)
    assert joint.has_sky.all()
    assert joint.sky == pytest.approx([level] * 2, abs=0.3)
    assert joint.sigma == pytest.approx([1, 1], rel=0.1)
    assert unlike == pytest.approx([0, abs(level)], rel=0.1)


def test_pedestal_of_a_band_without_any_gap_is_told(bands):
    """A galaxy fills the second band, which then has no sky that could be measured."""
    y, x = np.indices(SHAPE)
    galaxy = 1e4 * np.exp(-np.hypot(y - 30, x - 50) / 40)
    _, unlike = measure_joint_background(100 + bands + np.stack([np.zeros(SHAPE), galaxy]))
    assert unlike[1] > 50
    assert unlike[0] == 0


def test_nothing_changes_where_bands_agree(bands):
    for images in (bands[:1], bands[[0, 0]], bands[[1, 1]]):
        joint, unlike = measure_joint_background(images)
        assert not unlike.any()
        for name, value in vars(measure_background(images)).items():
            assert_array_equal(getattr(joint, name), value)
