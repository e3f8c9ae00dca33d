# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Color pictures keep the color at any brightness."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from splus_srgan.pixels.picture import color_picture

LIMITS = {"black": -1.0, "white": 200.0, "softening": 3.0}


def test_color_is_the_same_at_any_brightness():
    light = np.geomspace(0.1, 1e5, 40)[None] * np.array([3.0, 2.0, 1.0])[:, None]
    shown = color_picture(*(light[:, None] - 1), **LIMITS)[0]
    assert_allclose(shown[:, 1] / shown[:, 0], 2 / 3, rtol=1e-12)
    assert_allclose(shown[:, 2] / shown[:, 0], 1 / 3, rtol=1e-12)
    assert shown.max() == 1
    assert (np.diff(shown[:, 0]) >= 0).all()


def test_gray_runs_as_the_stretch():
    """The formula of Lupton et al. (2004), written out."""
    values = np.linspace(-1, 200, 50)[None]
    wanted = np.arcsinh((values + 1) / 3) / np.arcsinh(201 / 3)
    for shown in np.moveaxis(color_picture(values, values, values, **LIMITS), -1, 0):
        assert_allclose(shown, wanted, atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_missing_pixels_are_gray(bad):
    bands = np.full((3, 4, 5), 20.0)
    bands[1, 2, 3] = bad
    shown = color_picture(*bands, **LIMITS)
    assert_allclose(shown[2, 3], 0.5)
    assert np.isfinite(shown).all()
    assert shown[0, 0, 0] != 0.5


def test_what_is_below_black_is_black():
    bands = np.full((3, 2, 2), -50.0)
    assert (color_picture(*bands, **LIMITS) == 0).all()
