# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The floating point state of the caller neither matters nor changes."""

import numpy as np
import pytest

from splus_srgan import match_pair, measure_background, simulate_field
from splus_srgan.enhance.guard import check_input
from splus_srgan.evaluation import psnr, ssim
from splus_srgan.images.stars import measure_psf
from splus_srgan.utils.floats import numpy_defaults


def simulated():
    return simulate_field(5, shape=(96, 96), bands=("g", "r"), kind="stars")


CALLS = {
    "simulate_field": lambda field: simulated().observed["r"].data,
    "measure_background": lambda field: measure_background(field.observed["r"].data).sky,
    "measure_psf": lambda field: measure_psf(field.observed["r"]),
    "check_input": lambda field: check_input(field.observed),
    "psnr": lambda field: psnr(*pair(field), data_range=1.0),
    "ssim": lambda field: ssim(*pair(field), data_range=1.0),
    "match_pair": lambda field: match_pair(field.observed, field.target).target["r"].data,
}


def pair(field):
    return field.observed["g"].data, field.observed["r"].data


@pytest.fixture(scope="module")
def field():
    return simulated()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_where_numpy_raises(field, call):
    expected = call(field)
    with np.errstate(all="raise"):
        found = call(field)
        assert set(np.geterr().values()) == {"raise"}
    assert repr(found) == repr(expected)


def test_what_is_wrong_is_warned_of_again():
    divide = numpy_defaults(lambda x: np.float64(1) / x)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="divide by zero"):
        divide(np.float64(0))
