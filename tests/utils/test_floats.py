# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The floating point state of the caller neither matters nor changes, nor the rest of the world."""

import locale
import os
import random
import shutil
import subprocess
import tempfile
import warnings

import numpy as np
import pytest
import torch

from splus_srgan import match_pair, measure_background, read_bands, simulate_field, write_bands
from splus_srgan.enhance.guard import check_input
from splus_srgan.evaluation import psnr, ssim
from splus_srgan.images.stars import measure_psf
from splus_srgan.utils.floats import numpy_defaults


def simulated():
    return simulate_field(5, shape=(96, 96), bands=("g", "r"), kind="stars")


def through_a_file(field):
    with tempfile.TemporaryDirectory() as folder:
        return read_bands(write_bands(f"{folder}/field.fits", field.observed))["r"].data


CALLS = {
    "write_bands, read_bands": through_a_file,
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


def world():
    return (
        np.geterr(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),  # noqa: NPY002
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.random.get_rng_state().tolist(),
        list(warnings.filters),
        locale.setlocale(locale.LC_ALL),
        dict(os.environ),
        os.getcwd(),
    )


@pytest.fixture
def odd_world():
    """Numbers of a caller who has numpy raise, and torch make float64."""
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with np.errstate(all="raise"):
        yield
    torch.set_default_dtype(dtype)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_world_of_the_caller_neither_matters_nor_changes(field, call, request):
    expected = call(field)
    request.getfixturevalue("odd_world")
    before = world()
    assert set(before[0].values()) == {"raise"}
    found = call(field)
    assert world() == before
    assert repr(found) == repr(expected)


@pytest.fixture
def comma(tmp_path, monkeypatch):
    """A locale in which one and a half is 1,5; made if there is none."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    except locale.Error:
        made, tool = tmp_path / "de_DE.UTF-8", shutil.which("localedef")
        if tool is None or subprocess.run([tool, "-i", "de_DE", "-f", "UTF-8", made]).returncode:
            pytest.skip("there is no locale with a comma")
        monkeypatch.setenv("LOCPATH", str(tmp_path))
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    assert locale.localeconv()["decimal_point"] == ","
    yield
    locale.setlocale(locale.LC_ALL, before)


def test_files_have_points_where_the_caller_has_commas(field, tmp_path, request):
    def written(folder):
        folder.mkdir()
        write_bands(folder / "field.fits", field.observed)
        field.sources.write(folder / "sources.ecsv")
        wcs = read_bands(folder / "field.fits")["r"].wcs.wcs
        assert wcs.crval.tolist() == field.observed["r"].wcs.wcs.crval.tolist()
        return [file.read_bytes() for file in sorted(folder.iterdir())]

    expected = written(tmp_path / "points")
    request.getfixturevalue("comma")
    assert written(tmp_path / "commas") == expected


def test_what_is_wrong_is_warned_of_again():
    divide = numpy_defaults(lambda x: np.float64(1) / x)
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning, match="divide by zero"):
        divide(np.float64(0))
