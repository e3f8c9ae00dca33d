# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The shift of a part of an image, against images whose shift is known."""

import numpy as np
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan.evaluation.measure.displacement import measure_displacement

Y, X = np.mgrid[:96, :96].astype(float)
GOOD = np.ones(X.shape, bool)
PART = np.s_[24:72, 24:72]


def galaxy(x, y, width=20.0):
    return np.exp(-((X - x) ** 2 + (Y - y) ** 2) / (2 * width**2))


def test_smooth_light_that_a_part_cuts_is_seen_to_move():
    """Its edges stay where they are: to a transform of the part, it hardly moves."""
    found = measure_displacement(galaxy(20, 30), galaxy(20.3, 29.8), PART, good=GOOD)
    assert_allclose([found.dx, found.dy], [0.3, -0.2], atol=1e-3)


def test_what_is_fainter_blurred_or_on_another_sky_has_not_moved():
    star = galaxy(40, 50, 2.0)
    changed = 0.8 * ndimage.gaussian_filter(star, 0.7) + 0.3
    found = measure_displacement(star, changed, PART, good=GOOD)
    assert_allclose([found.dx, found.dy], 0, atol=1e-6)
    assert_allclose([found.x, found.y], [40, 50], atol=0.01)


def test_the_error_is_that_of_the_noise():
    rng, pulls = np.random.default_rng(3), []
    star = galaxy(47.3, 48.8, 2.5)
    for _ in range(60):
        noisy = star + 0.02 * rng.standard_normal(star.shape)
        found = measure_displacement(star, noisy, PART, good=GOOD)
        pulls += [found.dx / found.error, found.dy / found.error]
    # 120 pulls; the larger of two estimates of the error is too large, if anything.
    assert 0.5 < np.std(pulls) < 1.15


def test_nothing_is_told_where_nothing_is_seen():
    for reference, good in ((np.zeros(X.shape), GOOD), (galaxy(48, 48), np.zeros(X.shape, bool))):
        found = measure_displacement(reference, galaxy(48, 48), PART, good=good)
        assert np.isnan([found.dx, found.dy, found.error]).all()
