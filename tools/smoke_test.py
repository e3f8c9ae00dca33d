# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Do the main job with an installed package that has its core dependencies alone.

Run it isolated and outside the source tree: ``python -I tools/smoke_test.py``.
"""

import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path

import numpy as np

import splus_srgan
from splus_srgan.models import weights

SOURCE = Path(__file__).resolve().parents[1]


def check_files():
    """The installed copy is complete and is not the source tree."""
    package = files("splus_srgan")
    assert Path(str(package)).parent != SOURCE, "the source tree was imported, not the wheel"
    assert package.joinpath("__init__.pyi").is_file()
    names = [str(path) for path in distribution("splus_srgan").files]
    assert any(name.endswith("LICENSE.rst") for name in names)
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/")) for name in names)


def check_weights():
    """Every shipped model card has its weights file, with the hash it states."""
    assert weights.available(), "no weights are shipped"
    for name in weights.available():
        weights.verify(name)


def check_enhance():
    """A simulated field comes back on twice the grid with its flux."""
    observed = splus_srgan.simulate_field(3, shape=(96, 96), kind="galaxy").observed
    sharp = splus_srgan.SRGANEnhancer(device="cpu")(observed)
    for band, image in observed.items():
        assert sharp[band].shape == (192, 192)
        assert np.isfinite(sharp[band].data).all()
        np.testing.assert_allclose(sharp[band].data.sum(), image.data.sum(), rtol=0.05)


def check_command_line():
    """The console script does the same from files to files."""
    script = Path(sys.executable).with_name("splus-srgan")
    with tempfile.TemporaryDirectory() as folder:

        def run(*arguments):
            subprocess.run([script, *arguments], check=True, cwd=folder, stdin=subprocess.DEVNULL)

        run("--version")
        run("simulate", "--seed", "1", "--shape", "48", "64", "-o", "field")
        run("enhance", "field/input.fits", "-o", "out")
        assert Path(folder, "out", "input_sr.fits").stat().st_size > 0


if __name__ == "__main__":
    for check in (check_files, check_weights, check_enhance, check_command_line):
        print(f"{check.__name__}: {check.__doc__}")
        check()
    print(f"splus_srgan {splus_srgan.__version__}: the wheel works")
