# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The filter that brings images to the PSF of the output."""

import numpy as np
import pytest
import torch
from astropy.modeling.functional_models import Moffat2D
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from torch.nn.functional import pixel_shuffle

from splus_srgan import NoiseAsinhStretch
from splus_srgan.models.wiener import REACH, restored_phases, wiener_kernels

STRETCH = {"softening": 3.0, "range": 2.0}
KNOWN = {"target": (1.0, 3.0), "pixel_scale": 0.55}
SCALE = KNOWN["pixel_scale"]


def moffat(fwhm, beta, positions, center):
    """Flux per square arcsec at positions in arcsec, by astropy, of unit flux."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / beta) - 1)
    peak = (beta - 1) / (np.pi * alpha**2)
    y, x = np.meshgrid(positions, positions, indexing="ij")
    return Moffat2D(peak, center[1], center[0], alpha, beta)(x, y)


def restored(image, kernels):
    """The filtered image on the grid of the output, in the unit of the input."""
    stretch = NoiseAsinhStretch(0.0, 1.0, **STRETCH)
    phases = restored_phases(stretch(np.float32(image))[None], kernels[None], **STRETCH)
    return pixel_shuffle(torch.from_numpy(phases), 2)[0, 0].numpy()


@pytest.mark.parametrize(("fwhm", "beta"), [(1.2, 4.0), (1.6, 3.0), (2.0, 3.5)])
@pytest.mark.parametrize("center", [(0.0, 0.0), (0.21, -0.13)])
def test_a_star_comes_near_the_target(fwhm, beta, center):
    """Far nearer than it was, with its flux, and where it was."""
    coarse = SCALE * np.arange(-24, 25)
    fine = SCALE * (np.arange(98) / 2 - 24.25)
    seen = 1e4 * moffat(fwhm, beta, coarse, center)
    wanted = 1e4 * moffat(*KNOWN["target"], fine, center)
    made = restored(seen, wiener_kernels((fwhm, beta), **KNOWN))
    upsampled = ndimage.map_coordinates(seen, np.indices((98, 98)) / 2 - 0.25, mode="nearest")
    assert np.std(made - wanted) < 0.55 * np.std(upsampled - wanted)
    assert_allclose(made.sum(), wanted.sum(), rtol=0.01)
    for axis in (0, 1):
        profile = made.sum(1 - axis)
        assert_allclose((profile * fine).sum() / profile.sum(), center[axis], atol=0.03)


@given(st.floats(0.3, 5), st.floats(1.5, 20), st.tuples(st.floats(-20, 300), st.integers(1, 9)))
@settings(max_examples=20, deadline=None)
def test_a_constant_stays(fwhm, beta, constant):
    level, side = constant
    made = restored(np.full((side, side + 1), level), wiener_kernels((fwhm, beta), **KNOWN))
    assert_allclose(made, level, rtol=2e-3, atol=2e-3)


def test_sharp_and_unknown_images_are_hardly_sharpened():
    """Noise comes out with about the same spread, or less."""
    noise = np.random.default_rng(0).normal(0, 1, (60, 60))
    spread = {psf: restored(noise, wiener_kernels(psf, **KNOWN)).std() for psf in (None, (1, 3))}
    assert max(spread.values()) < 1.1
    assert restored(noise, wiener_kernels((2.0, 3.0), **KNOWN)).std() > 1.5


def test_kernels_have_the_symmetries_of_a_round_psf():
    kernels = wiener_kernels((1.5, 3.0), **KNOWN)
    assert kernels.shape == (4, 2 * REACH + 1, 2 * REACH + 1)
    for phase, (flip, transpose) in enumerate([(0, 0), (1, 0), (2, 1), (3, 0)]):
        other = kernels[phase][:: -1 if flip & 2 else 1, :: -1 if flip & 1 else 1]
        assert_allclose(other, kernels[0], atol=1e-6)
        if transpose:
            assert_allclose(kernels[2].T, kernels[1], atol=1e-6)


def test_blocks_are_the_whole_image():
    rng = np.random.default_rng(1)
    y = rng.normal(0, 1, (3, 60, 70)).astype(np.float32)
    kernels = np.stack([wiener_kernels((1 + 0.3 * k, 3.0), **KNOWN) for k in range(3)])
    whole = restored_phases(y, kernels, **STRETCH)
    part = restored_phases(y[:, 5:50, 11:64], kernels, **STRETCH)
    inner = np.s_[..., REACH:-REACH, REACH:-REACH]
    assert_array_equal(part[inner], whole[..., 5:50, 11:64][inner])


@pytest.mark.parametrize("value", [30.0, -30.0])
def test_what_is_far_too_bright_stays_finite(value):
    y = np.full((1, 20, 20), value, np.float32)
    kernels = wiener_kernels(None, **KNOWN)[None]
    assert np.isfinite(restored_phases(y, kernels, **STRETCH)).all()
