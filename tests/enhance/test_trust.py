# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What must never happen: wild results without a word, and a world that is not left alone."""

import copy
import locale
import os
import pickle
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from small_weights import save_small

from splus_srgan import Quality, SRGANEnhancer, simulate_field
from splus_srgan.exceptions import DomainWarning, WeightsError

pytestmark = [
    pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning"),
    pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning"),
]
OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def field():
    return simulate_field(3, shape=(64, 72), bands=("r",), kind="galaxy").observed


@pytest.fixture(scope="module")
def enhancer():
    return SRGANEnhancer("splus-any", **OPTIONS)


# Wild pixels


@pytest.mark.parametrize("height", [-3e38, -1e5, -1e3, 1e7, 1e33, 3e38])
def test_wild_pixel_is_missing_and_changes_nothing_far_away(small_weights, height):
    images = simulate_field(3, shape=(60, 190), bands=("r",), kind="stars").observed
    # The check of the input would warn about the pixel, and the PSF of stars is that of all.
    enhancer = SRGANEnhancer(small_weights, **OPTIONS, check_input=False, fit_stars=False)
    data = images["r"].data
    clean = enhancer(images, sky=0, sigma=0.15)["r"]
    data[20, 20] = height
    with pytest.warns(DomainWarning, match="treated as missing: 1 in r"):
        result = enhancer(images, sky=0, sigma=0.15)["r"]
    assert result.mask.sum() == 4
    assert (result.flags[40:42, 40:42] & Quality.MISSING).all()
    assert np.isfinite(result.data).all()
    assert_array_equal(result.data[:, 200:], clean.data[:, 200:])


def test_pixel_beyond_training_is_flagged_and_anchors_nothing(small_weights):
    images = simulate_field(3, shape=(60, 190), bands=("r",), kind="stars").observed
    # The check of the input would warn about the pixel, and the PSF of stars is that of all.
    enhancer = SRGANEnhancer(small_weights, **OPTIONS, check_input=False, fit_stars=False)
    data = images["r"].data
    clean = enhancer(images, sky=0, sigma=0.15)["r"]
    data[20, 20] = 1e5
    result = enhancer(images, sky=0, sigma=0.15)["r"]
    assert (result.flags[40:42, 40:42] & Quality.EXTRAPOLATED).all()
    assert not result.mask.any()
    assert_array_equal(result.data[:, 200:], clean.data[:, 200:])


def test_wild_pixel_does_not_take_the_sky_away(enhancer):
    images = simulate_field(3, shape=(128, 128), bands=("r",), kind="galaxy").observed
    small = SRGANEnhancer("splus-any", **OPTIONS, flux_anchor=0)
    work = small._prepare
    from splus_srgan.images.unpack import unpack

    clean = work(unpack(images), None, None)
    images["r"].data[20, 20] = -1e4 * clean.sigma.item()
    with pytest.warns(DomainWarning, match="treated as missing"):
        found = work(unpack(images), None, None)
    assert_allclose(found.sky, clean.sky, atol=2e-3 * clean.sigma.item())
    assert found.sky_measured.all()
    assert found.stack.mask.sum() == 1


# Results that are not finite


@pytest.mark.parametrize("value", [1e38, 3e38])
def test_weights_that_make_nonsense_are_an_error(field, tmp_path, value):
    bad = save_small(tmp_path, last=value, name="bad")
    with pytest.raises(
        WeightsError, match=r"band 'r' came out as NaN .* weights 'bad' are damaged"
    ):
        SRGANEnhancer(bad, **OPTIONS)(field)
    path = tmp_path / "sharp.fits"
    with pytest.raises(WeightsError, match="band 'r'"):
        SRGANEnhancer(bad, **OPTIONS).to_file(field, path)
    assert not list(tmp_path.glob("*.fits*")) + list(tmp_path.glob(".*"))


@pytest.mark.parametrize("card", ["FWHMMEAN", "FWHMBETA"])
@pytest.mark.parametrize("value", [1e38, 1e-38, 1e300, 5e-324, -1.0, 0.0])
def test_headers_of_any_psf_give_a_result_or_an_error_by_name(field, small_weights, card, value):
    images = {"r": field["r"].copy()}
    key = next(key for key in images["r"].header if card in key)
    images["r"].header[key] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DomainWarning)
        try:
            result = SRGANEnhancer(small_weights, **OPTIONS)(images)
        except ValueError as error:
            assert "FWHM" in str(error)  # noqa: PT017
        else:
            assert np.isfinite(result["r"].data[~result["r"].mask]).all()


def test_pixels_beyond_float32_are_a_result_or_an_error_by_name(field, small_weights):
    images = {"r": field["r"].copy()}
    images["r"].data[10, 10:18] = 1e38
    with pytest.warns(DomainWarning, match="8 in r"):
        result = SRGANEnhancer(small_weights, **OPTIONS)(images)["r"]
    assert np.isfinite(result.data).all()
    images["r"].data[:] = 3e38
    images["r"].data[::2] = -3e38
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match=r"band 'r' .* check the data, sky= and sigma="):
            SRGANEnhancer(small_weights, **OPTIONS)(images, sky=0, sigma=1)


# Turned or not


def test_second_pass_can_be_left_out(field):
    """The mean of an image and of it turned is what two single passes give."""
    options = OPTIONS | {"flux_anchor": 0}
    both, one = (SRGANEnhancer("splus-any", **options, turned=k)(field)["r"] for k in (None, False))
    turned = {"r": field["r"].copy()}
    turned["r"].data = field["r"].data[::-1, ::-1].copy()
    turned["r"].wcs = None
    other = SRGANEnhancer("splus-any", **options, turned=False)
    sky = {"sky": one.header["SRSKY"], "sigma": one.header["SRSIGMA"]}
    straight, other = other(field, **sky)["r"].data, other(turned, **sky)["r"].data[::-1, ::-1]
    scale = 3 * one.header["SRSIGMA"] / 4  # of the stretch
    level = one.header["SRSKY"] / 4
    both, straight, other = both.data - level, straight - level, other - level
    mean = np.sinh((np.arcsinh(straight / scale) + np.arcsinh(other / scale)) / 2) * scale
    assert_allclose(both, mean, atol=1e-4 * scale, rtol=1e-4)
    assert (both != straight).any()
    with pytest.raises(TypeError, match="turned must be True, False or None; got 'no'"):
        SRGANEnhancer(turned="no")


# The world of the caller


def world():
    return (
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.backends.cudnn.allow_tf32,
        torch.random.get_rng_state().tolist(),
        str(np.random.get_state()),  # noqa: NPY002
        np.geterr(),
        list(warnings.filters),
        dict(os.environ),
        os.getcwd(),
        locale.setlocale(locale.LC_ALL),
        random.getstate(),
    )


def test_world_of_the_caller_is_left_alone(field):
    """A new enhancer, so that its weights are read too."""
    SRGANEnhancer("splus-any", **OPTIONS)  # imports
    before = world()
    SRGANEnhancer("splus-any", **OPTIONS, uncertainty=True)(field)
    assert world() == before


def test_world_of_the_caller_does_not_matter(field, enhancer):
    expected = enhancer(field)["r"]
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"), np.errstate(all="raise"), torch.enable_grad():
            result = SRGANEnhancer("splus-any", **OPTIONS)(field)["r"]
    finally:
        torch.set_default_dtype(dtype)
    assert_array_equal(result.data, expected.data)
    assert_array_equal(result.flags, expected.flags)


def test_enhancer_goes_to_other_processes(field, small_weights):
    """It is pickled without its engines, which are made anew there."""
    enhancer = SRGANEnhancer(small_weights, **OPTIONS)
    expected = enhancer(field)["r"].data
    for again in (pickle.loads(pickle.dumps(enhancer)), copy.deepcopy(enhancer)):
        assert_array_equal(again(field)["r"].data, expected)


@pytest.mark.slow
def test_python_without_docstrings_and_asserts():
    program = (
        "from splus_srgan import SRGANEnhancer, simulate_field\n"
        "field = simulate_field(3, shape=(40, 40), bands=('r',)).observed\n"
        "print(SRGANEnhancer(device='cpu')(field)['r'].shape)\n"
    )
    done = subprocess.run(
        [sys.executable, "-OO", "-W", "ignore", "-c", program],
        capture_output=True,
        text=True,
        timeout=600,  # all libraries are compiled anew
    )
    assert done.stdout == "(80, 80)\n", done.stderr
