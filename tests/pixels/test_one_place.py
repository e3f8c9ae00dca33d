# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What several rooms ask of arrays has one answer: scatter, profile, fine grid, coadd noise."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.modeling.models import Moffat2D
from astropy.stats import mad_std
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

import splus_srgan
from splus_srgan.pixels.coadd_noise import CORRELATION, area_noise, smoothed_noise, weighted_noise
from splus_srgan.pixels.fine_grid import to_fine_grid
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import moffat_alpha, moffat_profile, psf_profile
from splus_srgan.pixels.robust import robust_std

PACKAGE = Path(splus_srgan.__file__).parent


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30))
def test_robust_deviation_is_that_of_astropy(values):
    assert_allclose(robust_std(values), mad_std(values), rtol=1e-12, atol=1e-9)
    about = robust_std(values, center=0.0)
    assert_allclose(about, mad_std([*values, *(-v for v in values)]), rtol=1e-12, atol=1e-9)


def test_robust_deviation_of_nothing_is_unknown():
    assert np.isnan(robust_std([]))


@pytest.mark.parametrize(("fwhm", "beta"), [(1.0, 3.0), (2.6, 1.5), (4.0, 40.0)])
def test_moffat_profile_is_that_of_astropy(fwhm, beta):
    r = np.linspace(0, 20, 50)
    alpha = moffat_alpha(fwhm, beta)
    theirs = Moffat2D(amplitude=(beta - 1) / (np.pi * alpha**2), gamma=alpha, alpha=beta)
    assert_allclose(theirs.fwhm, fwhm)
    assert_allclose(moffat_profile((r / alpha) ** 2, beta) / alpha**2, theirs(r, 0), rtol=1e-9)
    assert_allclose(psf_profile(r, fwhm, beta), theirs(r, 0), rtol=1e-9)


@pytest.mark.parametrize("order", [1, 3])
def test_planes_of_a_stack_are_refined_each_for_itself(order):
    """Positions by a straight line, which splines of both orders keep inside."""
    line = np.add.outer(np.arange(20.0), 3 * np.arange(16.0))
    fine = to_fine_grid(np.stack([line, -line]), order=order)
    places = np.add.outer((np.arange(40) - 0.5) / 2, 3 * (np.arange(32) - 0.5) / 2)
    inner = np.s_[14:-14, 14:-14]
    assert_allclose(fine[0][inner], places[inner], atol=2e-3)
    assert_allclose(fine[1], -fine[0], rtol=1e-12)
    assert_allclose(fine[0], to_fine_grid(line, order=order), rtol=1e-12)


@pytest.mark.parametrize("width", [1.0, 1.5, 2.5])
def test_noise_of_a_gaussian_mean_is_the_weighted_sum(width):
    delta = np.zeros((41, 41))
    delta[20, 20] = 1
    kernel = ndimage.gaussian_filter(delta, width, truncate=6)
    assert_allclose(smoothed_noise(width), weighted_noise(kernel), rtol=2e-3)


def test_weighted_noise_by_the_whole_covariance():
    weights = np.random.default_rng(1).normal(size=(5, 7))
    places = np.argwhere(np.ones(weights.shape, bool))
    apart = np.abs(places[:, None] - places[None])
    covariance = np.eye(len(places))
    for one, two in np.ndindex(covariance.shape):
        covariance[one, two] += CORRELATION.get(tuple(map(int, apart[one, two])), 0.0)
    flat = weights.ravel()
    assert_allclose(weighted_noise(weights), np.sqrt(flat @ covariance @ flat))


@pytest.mark.parametrize("side", [2, 4, 8, 16])
def test_law_of_areas_and_correlation_of_neighbours_agree(side):
    """Two measurements of one noise: those of the headers, and of neighbours on tiles."""
    assert_allclose(area_noise(side**2), weighted_noise(np.ones((side, side))), rtol=0.07)


def test_missing_is_masked_or_not_finite():
    data = np.array([[1.0, np.nan], [np.inf, 4.0]])
    assert_array_equal(missing_pixels(data), [[False, True], [True, False]])
    mask = np.array([True, False])
    assert_array_equal(missing_pixels(data, mask), [[True, True], [True, False]])
    assert_array_equal(mask, [True, False])
    assert not missing_pixels(np.arange(3)).any()


@pytest.mark.parametrize(
    ("what", "home"),
    [
        (r"\b1\.4826\d*\s*\*|\*\s*1\.4826", set()),
        (r"^_?FACTOR = 2", {"pixels/fine_grid.py"}),
        (r"grid_mode=True", {"pixels/fine_grid.py", "pixels/starfit.py"}),
        (r"Moffat2D|2 \*\* \(1 / beta\)", set()),
        (r"proj_plane_pixel_scales\(", {"images/grid.py"}),
    ],
)
def test_nobody_answers_a_second_time(what, home):
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if re.search(what, path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert found <= home
