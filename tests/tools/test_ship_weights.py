# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The commands that make the shipped weights work, from the first pair to the last card."""

import subprocess
import sys
from pathlib import Path

import pytest

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.models.weights import available, load_card

TOOL = Path(__file__).parents[2] / "tools" / "ship_weights.py"


def rehearse(step, work):
    command = [sys.executable, TOOL, step, work, "--rehearse", "--version", "9"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_three_commands_make_measure_and_install_all_weights(tmp_path):
    rehearse("make", tmp_path)
    plain = {name for name in available() if not load_card(name).takes_subsets}
    assert {path.stem for path in (tmp_path / "cards").glob("*.json")} == plain
    # What was made is not made again.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    rehearse("make", tmp_path)
    after = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before
    pytest.importorskip("bm3d", reason="the model cards state what BM3D reaches: needs bm3d")
    rehearse("measure", tmp_path)
    rehearse("install", tmp_path)
    for name in plain:
        card = load_card(tmp_path / "installed" / f"{name}.json")
        assert (card.name, card.version) == (name, "9")
        assert card.sha256 != load_card(name).sha256
        assert set(card.scores) == set(load_card(name).scores)
    field = simulate_field(5, shape=(48, 48)).observed
    enhancer = SRGANEnhancer(tmp_path / "installed" / "splus-grz.json", uncertainty=True)
    made = enhancer(field, sky=0.0)["r"]
    assert (made.meta["SRMODEL"], made.meta["SRMODVER"]) == ("splus-grz", "9")
    assert (made.uncertainty.array > 0).all()
