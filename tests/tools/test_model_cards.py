# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The pages of the model cards say what these say."""

import subprocess
import sys
from pathlib import Path

import pytest

from splus_srgan.models.weights import available

TOOL = Path(__file__).parents[2] / "tools" / "model_cards.py"


def test_pages_are_those_of_the_cards():
    done = subprocess.run(
        [sys.executable, str(TOOL), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_page_of_another_card_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(TOOL.parent)
    import model_cards

    for path in model_cards.FOLDER.glob("splus*.rst"):
        (tmp_path / path.name).write_text(path.read_text().replace("Version ", "Version 9"))
    monkeypatch.setattr(model_cards, "FOLDER", tmp_path)
    assert model_cards.main(["--check"])
    assert "splus-grz.rst" in capsys.readouterr().out
    assert not model_cards.main([])
    assert not model_cards.main(["--check"])


@pytest.mark.parametrize("name", available())
def test_each_shipped_card_has_a_page(name):
    page = TOOL.parents[1] / "docs" / "model_cards" / f"{name}.rst"
    assert name in page.read_text()
