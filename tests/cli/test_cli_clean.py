# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""``splus-srgan enhance --clean``: what killed runs left behind goes, and nothing else."""

import pytest

from splus_srgan.cli.main import main

LEFT = ".field_sr.fits.unfinished.fits"


@pytest.fixture
def folder(tmp_path):
    for name in (LEFT, "field_sr.fits", ".other", "notes.txt"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize("target", ["", "field_sr.fits"])
def test_clean_removes_debris_alone_and_says_so(folder, capsys, target):
    assert main(["enhance", "--clean", "-o", str(folder / target)]) == 0
    assert LEFT in capsys.readouterr().out
    assert {path.name for path in folder.iterdir()} == {"field_sr.fits", ".other", "notes.txt"}
    assert main(["enhance", "--clean", "-o", str(folder / target)]) == 0
    assert "nothing was left behind" in capsys.readouterr().out


def test_debris_of_another_output_stays(folder):
    assert main(["enhance", "--clean", "-o", str(folder / "other_sr.fits")]) == 0
    assert (folder / LEFT).exists()


def test_clean_goes_with_no_batch(folder, capsys):
    assert main(["enhance", "--clean", "--batch", "x.csv", "-o", str(folder)]) == 2
    assert "--clean" in capsys.readouterr().err
