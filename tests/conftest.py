# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What all tests share: the report's header, hypothesis profiles, real data."""

import functools
import os
from pathlib import Path

import hypothesis
import pytest
from pytest_astropy_header.display import PYTEST_HEADER_MODULES, TESTED_VERSIONS
from replay import _server, legacy_service, replay_server  # noqa: F401 - fixtures for all tests
from replay_splus import splus_service  # noqa: F401 - one more

import splus_srgan

REAL_DATA_VARIABLE = "SPLUS_SRGAN_REAL_DATA"

# No deadline: the first example pays for imports. Derandomized, so that a run can be repeated.
hypothesis.settings.register_profile("default", deadline=None, derandomize=True, max_examples=50)
hypothesis.settings.register_profile("thorough", deadline=None, max_examples=1000)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config):
    """Say in the report's header which versions were tested."""
    config.option.astropy_header = True
    PYTEST_HEADER_MODULES.clear()
    for name in ("numpy", "scipy", "astropy", "photutils", "reproject", "dask", "torch"):
        PYTEST_HEADER_MODULES[name] = name
    TESTED_VERSIONS["splus_srgan"] = splus_srgan.__version__


@pytest.fixture(scope="session")
def real_data():
    """Folder of real survey images; the test skips where there is none."""
    folder = os.environ.get(REAL_DATA_VARIABLE)
    if not folder:
        pytest.skip(f"{REAL_DATA_VARIABLE} is not set: it names the folder of real survey images")
    path = Path(folder)
    if not path.is_dir():
        pytest.skip(f"{REAL_DATA_VARIABLE} names {folder!r}, which is not a folder")
    return path


@pytest.fixture(scope="session")
def galsim():
    """The test oracle for profiles and PSFs; tests skip where it is not installed."""
    return pytest.importorskip("galsim")


@pytest.fixture(scope="module")
def one_thread():
    """Tiny networks are slower with more threads of torch than one."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def small_sections(monkeypatch):
    """Sections of at most 48 pixels, so that small fields have several."""
    from splus_srgan.enhance import field
    from splus_srgan.enhance.tiles import sections

    monkeypatch.setattr(field, "sections", functools.partial(sections, side=48))


@pytest.fixture(scope="session")
def small_weights(tmp_path_factory):
    """Weights of a small generator, which is quick and sees 8 pixels far."""
    from small_weights import save_small

    return save_small(tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def rendered(tmp_path_factory):
    """Folder of a few small rendered pairs in g and r."""
    from splus_srgan.training.data.dataset import render_pairs

    folder = tmp_path_factory.mktemp("rendered")
    render_pairs(folder, 3, shape=(32, 32), bands=("g", "r"))
    return folder
