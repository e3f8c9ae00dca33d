# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Lower bounds of dependencies are those that are tested, wherever they stand."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONDA_NAMES = {"astropy-base": "astropy", "dask-core": "dask", "pytorch": "torch"}


def test_the_conda_recipe_has_the_bounds_that_are_tested(tmp_path):
    tool = ROOT / "tools" / "oldest_requirements.py"
    subprocess.run([sys.executable, tool, "--output", tmp_path / "oldest.txt"], check=True)
    lines = (tmp_path / "oldest.txt").read_text(encoding="utf-8").split()
    tested = dict(line.split("==") for line in lines)
    recipe = (ROOT / "conda" / "meta.yaml").read_text(encoding="utf-8").partition("run:")[2]
    told = dict(re.findall(r"- ([\w-]+) >=([\d.]+)", recipe))
    assert told.pop("python") == "3.11"
    assert {CONDA_NAMES.get(name, name): version for name, version in told.items()} == tested
