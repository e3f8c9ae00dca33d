# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cosmic rays are masked, stars are not."""

import numpy as np
import pytest

from splus_srgan import simulate_field
from splus_srgan.images.spikes import mask_spikes


@pytest.fixture
def image():
    return simulate_field((7, 6), kind="stars", shape=(96, 96), bands=("r",)).observed["r"]


def test_spikes_are_masked_and_pixels_kept(image):
    pytest.importorskip("astroscrappy")
    sigma = image.header["HIERARCH OAJ QC NCNOISE"]
    clean = mask_spikes(image)
    assert clean.mask.mean() < 0.002
    spoilt = image.copy()
    places = [(15, 70), (40, 12), (81, 50)]
    for place in places:
        spoilt.data[place] += 60 * sigma
    before = spoilt.data.copy()
    masked = mask_spikes(spoilt)
    assert all(masked.mask[place] for place in places)
    assert np.array_equal(masked.data, before)
    assert spoilt.mask is None
    assert type(masked) is type(image)
    assert masked.wcs is not None
    assert masked.unit == image.unit


def test_own_mask_stays(image):
    pytest.importorskip("astroscrappy")
    image.mask = np.zeros(image.shape, bool)
    image.mask[:5] = True
    assert mask_spikes(image).mask[:5].all()


@pytest.mark.parametrize("option", ["significance", "contrast"])
def test_numbers_are_positive(image, option):
    with pytest.raises(ValueError, match=option):
        mask_spikes(image, **{option: 0.0})


def test_what_is_no_image_is_refused(image):
    with pytest.raises(TypeError, match="image must be an NDData or CCDData; got ndarray"):
        mask_spikes(image.data)
