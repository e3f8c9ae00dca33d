# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Planes of which parts are made when they are asked for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal
from scipy import ndimage

from splus_srgan.pixels import missing as _missing
from splus_srgan.pixels.lazy import BitPlane, Converted, Missing, PlaneStack, Weightless
from splus_srgan.pixels.missing import blank_border, without_exposure

planes = hnp.arrays(bool, st.tuples(st.integers(1, 12), st.integers(1, 30)))


def steps(index):
    """Whether an index is one that numpy reads forwards."""
    parts = index if isinstance(index, tuple) else (index,)
    return all(not isinstance(one, slice) or (one.step or 1) > 0 for one in parts)


@given(planes, st.data())
def test_parts_are_those_of_the_array(plane, data):
    index = data.draw(hnp.basic_indices(plane.shape, allow_newaxis=False).filter(steps))
    values = np.where(plane, np.inf, 1.5).astype(">f8")
    bits = BitPlane.of(plane)
    assert bits.count() == np.count_nonzero(plane)
    for lazy, whole in (
        (bits, plane),
        (Converted(values, np.float32), values.astype(np.float32)),
        (Missing(np.ones(plane.shape), (bits, plane[::-1])), plane | plane[::-1]),
        (Missing(values), plane),
        (Weightless(values - 1.5), ~plane),
    ):
        assert_array_equal(lazy[index], whole[index])
        assert_array_equal(np.asarray(lazy), whole)
        assert (lazy.shape, lazy.size, len(lazy)) == (whole.shape, whole.size, len(whole))
        assert np.asarray(lazy[:, :]).dtype == lazy.dtype
    stack = PlaneStack([bits, BitPlane.of(~plane)])
    whole = np.stack([plane, ~plane])
    for where in ((slice(None), slice(1), slice(2)), 1, (0, slice(2), slice(None))):
        assert_array_equal(stack[where], whole[where])
    assert_array_equal(np.asarray(stack), whole)


def test_indices_are_those_of_numpy():
    plane = BitPlane((4, 5))
    with pytest.raises(IndexError):
        plane[4]
    with pytest.raises(IndexError, match="step of at least 1; got -1"):
        plane[::-1]


def labelled_at_once(data):
    """Blank border by the labels of the whole image."""
    labels, _ = ndimage.label(data == 0)
    sizes = np.bincount(labels.ravel())
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    if sizes[1:][sizes[1:] < 8].sum() > 1e-3 * np.count_nonzero(data):
        return np.zeros(data.shape, bool)
    return np.isin(labels, np.setdiff1d(rim, 0)) & (sizes >= 8)[labels]


@given(st.integers(0, 2**32 - 1), st.floats(0, 3), st.integers(8, 24))
def test_border_of_strips_is_that_of_the_whole(seed, width, strip):
    """Snakes of zeros go through many strips, forth and back."""
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.normal(size=(50, 40)), width)
    data = np.where(noise > np.median(noise), 0, noise)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_missing, "_STRIP", strip)
        assert_array_equal(blank_border(data), labelled_at_once(data))


@pytest.mark.parametrize("shape", [(203, 100), (64, 77)])
def test_exposure_of_strips_is_that_of_the_whole(shape, monkeypatch):
    rng = np.random.default_rng(2)
    data = rng.normal(size=shape).astype(np.float32)
    data[-14:] *= 0.05
    data[20:33, :30] = 0
    data[:9, 40:] = np.nan
    whole = without_exposure(data)
    monkeypatch.setattr(_missing, "_STRIP", 16)
    assert_array_equal(without_exposure(data), whole)
    assert whole[-8:].all()
    assert whole[20:33, :30].all()
