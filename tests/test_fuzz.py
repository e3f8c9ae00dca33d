# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Some hostile files of every kind; ``benchmarks/fuzz.py`` makes thousands of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzz.py"
CASES = dict.fromkeys(
    ("headers", "data", "model_cards", "configs", "tables", "pair_folders", "answers"), 20
) | {"pixels": 8}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a fork of the process")
@pytest.mark.parametrize("kind", CASES)
def test_hostile_files_give_a_result_or_a_named_error(kind):
    """No raw error, crash, hang or file left behind."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "--kinds", kind, "--cases", str(CASES[kind])],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
