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


def test_the_error_is_that_of_the_axis_that_is_known_less_well():
    """The flank of an edge along y tells dx alone: of dy there is only a faint trace."""
    rng, pulls = np.random.default_rng(5), []
    edge = 1 / (1 + np.exp((24 - X) / 2)) + 0.1 * galaxy(48, 48, 6.0)
    for _ in range(60):
        noisy = edge + 0.02 * rng.standard_normal(edge.shape)
        found = measure_displacement(edge, noisy, PART, good=GOOD)
        pulls.append(found.dy / found.error)
    assert 0.5 < np.std(pulls) < 1.15


def test_a_wrong_psf_is_a_shift_of_the_flank_of_a_star_and_not_of_a_whole_one():
    """Closed form: of a Gaussian that is wider along x than the reference, nothing moves."""
    width, x = 2.0, 20.0
    star = galaxy(x, 48, width) + galaxy(48, 48, width)
    wider = sum(
        np.exp(-((X - at) ** 2) / (2.0 * 1.05**2 * width**2) - (Y - 48) ** 2 / (2 * width**2))
        for at in (x, 48)
    )
    found = {}
    for name, part in (("flank", np.s_[24:72, 22:40]), ("whole", np.s_[24:72, 40:58])):
        one = measure_displacement(star, star, part, good=GOOD, wrong=[wider - star])
        moved = measure_displacement(star, wider, part, good=GOOD)
        assert_allclose(one.response[0], [moved.dy, moved.dx], atol=0.05)
        found[name] = abs(one.response[0, 1])
    assert found["whole"] < 1e-6
    assert found["flank"] > 0.1
