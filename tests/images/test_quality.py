# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The QUALITY plane and its bits."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from splus_srgan.images.quality import Quality, describe, quality_plane


def test_bits_have_fixed_values():
    """Files carry these numbers, so they can never change."""
    assert {bit.name: int(bit) for bit in Quality} == {
        "MISSING": 1,
        "NEAR_MISSING": 2,
        "SATURATED": 4,
        "NEAR_SATURATED": 8,
        "EDGE": 16,
        "EXTRAPOLATED": 32,
        "UNUSUAL": 64,
        "FITTED_STAR": 128,
    }


def test_describe_names_the_bits():
    assert describe(0) == "GOOD"
    assert describe(np.uint8(5)) == "MISSING | SATURATED"
    with pytest.raises(ValueError, match="value must be a sum of Quality bits, 0 to 255; got 256"):
        describe(256)
    with pytest.raises(TypeError, match=r"value must be an integer; got 1\.5"):
        describe(1.5)


def test_missing_pixel_is_a_block_and_reaches_a_square():
    missing = np.zeros((1, 21, 25), dtype=bool)
    missing[0, 10, 12] = True
    plane = quality_plane(missing, radius=3)

    assert plane.shape == (1, 42, 50)
    assert plane.dtype == np.uint8
    expected = np.zeros((42, 50), dtype=np.uint8)
    expected[14:28, 18:32] = Quality.NEAR_MISSING
    expected[20:22, 24:26] = Quality.MISSING
    inside = (slice(6, -6), slice(6, -6))
    np.testing.assert_array_equal(plane[0][inside], expected[inside])


def test_missing_in_one_band_is_near_in_the_others():
    missing = np.zeros((2, 30, 30), dtype=bool)
    missing[0, 15, 15] = True
    plane = quality_plane(missing, radius=2, factor=1)
    assert plane[0, 15, 15] == Quality.MISSING
    assert plane[1, 15, 15] == Quality.NEAR_MISSING
    assert plane[1, 13, 17] == Quality.NEAR_MISSING
    assert plane[1, 12, 15] == 0


def test_saturation_edge_and_extrapolation_add_up():
    missing = np.zeros((2, 12, 12), dtype=bool)
    saturated = missing.copy()
    saturated[1, 0, 0] = True
    plane = quality_plane(
        missing, saturated, radius=2, factor=1, extrapolated=np.array([True, False])[:, None, None]
    )
    assert plane[1, 0, 0] == Quality.SATURATED | Quality.EDGE
    assert plane[1, 2, 2] == Quality.NEAR_SATURATED
    assert plane[0, 6, 6] == Quality.EXTRAPOLATED
    assert plane[0, 1, 6] == Quality.EXTRAPOLATED | Quality.EDGE
    assert plane[1, 6, 10] == Quality.EDGE


def test_edge_goes_as_far_as_it_is_said_to():
    missing = np.zeros((1, 20, 24), dtype=bool)
    missing[0, 10, 12] = True
    edge = np.ones((20, 24), dtype=bool)
    edge[3:-3, 3:-3] = False
    plane = quality_plane(missing, radius=5, edge=3, factor=1)[0]
    np.testing.assert_array_equal((plane & Quality.EDGE) != 0, edge)
    assert plane[5, 7] == Quality.NEAR_MISSING
    np.testing.assert_array_equal(
        quality_plane(missing, radius=5, edge=9), quality_plane(missing, radius=5)
    )
    assert not (quality_plane(missing, radius=5, edge=0) & Quality.EDGE).any()


def test_small_image_is_all_edge():
    assert np.all(quality_plane(np.zeros((1, 1, 1), dtype=bool), radius=5) == Quality.EDGE)


def test_no_reach_has_no_neighbours():
    missing = np.random.default_rng(0).random((2, 9, 7)) < 0.3
    plane = quality_plane(missing, radius=0, factor=1)
    np.testing.assert_array_equal(plane & Quality.MISSING, missing)
    assert not np.any(plane & (Quality.EDGE | Quality.MISSING) & ~np.uint8(1))


@given(st.integers(0, 6), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_near_is_exactly_the_chebyshev_ball(radius, factor, seed):
    """Compared with the definition, written out."""
    missing = np.random.default_rng(seed).random((1, 11, 14)) < 0.02
    plane = quality_plane(missing, radius=radius, factor=factor)[0]
    for y in range(11):
        for x in range(14):
            ball = missing[
                0, max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1
            ]
            near = bool(ball.any()) and not missing[0, y, x]
            block = plane[factor * y : factor * (y + 1), factor * x : factor * (x + 1)]
            assert np.all((block & Quality.NEAR_MISSING > 0) == near)


def test_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"missing must have shape \(n_band, ny, nx\); got \(3,"):
        quality_plane(np.zeros((3, 3), dtype=bool), radius=1)
    with pytest.raises(ValueError, match=r"saturated must have the shape of missing, \(1, 3, 3\)"):
        quality_plane(np.zeros((1, 3, 3), dtype=bool), np.zeros((1, 3, 4), dtype=bool), radius=1)
    with pytest.raises(ValueError, match="radius must be at least 0; got -1"):
        quality_plane(np.zeros((1, 3, 3), dtype=bool), radius=-1)
