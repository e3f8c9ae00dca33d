# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The recipe of the twelve bands: it begins, and goes on where it was stopped."""

import importlib.util
from pathlib import Path

import pytest

PATH = Path(__file__).parents[2] / "tools" / "train_twelve.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("train_twelve", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_new_run_begins_and_a_stopped_one_goes_on(tool, tmp_path):
    typed = tool.command(tmp_path, minutes=5, changes=["--data.batch_size", "8"])
    assert typed[typed.index("--preset") + 1] == "twelve"
    assert typed[-2:] == ["--data.batch_size", "8"]
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    (folder / "last.ckpt").touch()
    again = tool.command(tmp_path, minutes=5)
    assert again[again.index("--resume") + 1] == str(tmp_path / "run")
    assert again[again.index("--run.max_minutes") + 1] == "5"
    assert "--preset" not in again


def test_the_srgan_form_goes_on_from_the_shipped_weights(tool, tmp_path):
    typed = tool.command(tmp_path, form="srgan")
    assert typed[typed.index("--name") + 1] == "splus-srgan"
    assert typed[typed.index("--run.start_from") + 1] == "splus"
    assert float(typed[typed.index("--losses.adversarial") + 1]) > 0


@pytest.mark.slow
def test_rehearsal_ends_with_weights(tool, tmp_path):
    assert tool.main([str(tmp_path), "--rehearse"]) == 0
    assert (tmp_path / "run" / "weights" / "splus.json").is_file()
    assert tool.main([str(tmp_path), "--rehearse"]) == 0
