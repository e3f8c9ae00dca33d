# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What can be wrong without the data is refused before they are read, and before the network is asked.

Every call here names files that do not exist, or a table that is fine: status 2 and the message say
that the options were looked at first.
"""

import re
import socket
import sys

import pytest
from astropy.table import Table

from splus_srgan.cli.main import main
from splus_srgan.models.weights import available

NO_FILE = "nowhere.fits -o out"
UNKNOWN = r"must be one of 'auto', 'splus', .*\(\*\.json\); got 'mine'"
UNKNOWN_CARD = r"must be one of 'splus', .*\(\*\.json\); got 'mine'"
ONCE = "--bands must name each band once; got r R"

WRONG = {
    f"enhance {NO_FILE} --weights mine": f"--weights {UNKNOWN}",
    f"enhance {NO_FILE} --weights mine/card.json": "--weights must be one of 'auto', ",
    f"enhance {NO_FILE} --weights splus-grz --bands g r": "need the bands g, r, z; got g, r",
    f"enhance {NO_FILE} --device tpu": "--device must be 'auto', .*; got 'tpu'",
    f"enhance {NO_FILE} --device cuda:x": "--device must be 'auto', .*; got 'cuda:x'",
    f"enhance {NO_FILE} --sky g": r"--sky must be a number, or BAND=NUMBER \.\.\.; got 'g'",
    f"enhance {NO_FILE} --sky g=dark": r"--sky must be a number, or BAND=NUMBER .*; got 'dark'",
    f"enhance {NO_FILE} --sky =1": "--sky must be like 0.1, or g=0.1 r=0.2; got =1",
    f"enhance {NO_FILE} --sky 1 2": "--sky must be like 0.1, or g=0.1 r=0.2; got 1 2",
    f"enhance {NO_FILE} --sky g=1 g=2": "--sky must name each band once; got 'g' again",
    f"enhance {NO_FILE} --sky g=1 --bands r": r"--sky must name bands of the field \(r\); got 'g'",
    f"enhance {NO_FILE} --sigma r=1 --bands r z": "--sigma must have every band; got none for z",
    f"enhance {NO_FILE} --sigma -1": "--sigma must be above 0; got -1",
    f"enhance {NO_FILE} --psf 1,": "--psf must be one of auto, header, measure, .*; got '1,'",
    f"enhance {NO_FILE} --psf g": "--psf must be one of auto, header, measure, .*; got 'g'",
    f"enhance {NO_FILE} --psf header measure": "--psf must be like .*; got header measure",
    f"enhance {NO_FILE} --psf 0,3": "--psf must be a FWHM in arcsec above 0, .*; got 0,3",
    f"enhance {NO_FILE} --psf 1,2,3,4": "--psf must be a FWHM in .*; got 1,2,3,4",
    f"enhance {NO_FILE} --hdu SCI,x": "--hdu must be a number from 0 on, EXTNAME, .*; got SCI,x",
    f"enhance {NO_FILE} --hdu -1": "--hdu must be a number from 0 on, .*; got -1",
    f"enhance {NO_FILE} --unit furlong": "--unit must be one that .*; got 'furlong'",
    f"enhance {NO_FILE} --unit mag": "--unit must be linear in flux",
    f"enhance {NO_FILE} --bands r R": ONCE,
    f"enhance {NO_FILE} --bands VR --format scubes": "--bands must be among u, J0378, .*; got VR",
    "enhance --batch nowhere -o out --weights mine": f"--weights {UNKNOWN}",
    "enhance --batch nowhere -o out --device tpu": "--device must be",
    "enhance --batch nowhere -o out --hdu SCI,x": "--hdu must be",
    "enhance --batch nowhere -o out --psf auto header": "--psf must be one of auto, .* --batch",
    "enhance --batch nowhere -o out.fits": "--output must be a folder with --batch; got out.fits",
    f"evaluate {NO_FILE} --weights mine": f"--weights {UNKNOWN}",
    f"evaluate {NO_FILE} --unit furlong": "--unit must be one that .*; got 'furlong'",
    f"evaluate {NO_FILE} --bands r R": ONCE,
    "evaluate --simulate 1 -o out --device tpu": "--device must be 'auto', .*; got 'tpu'",
    "evaluate --simulate 1 -o out --bands r R": ONCE,
    "evaluate --pairs nowhere -o out --weights splus-grz --bands r": "need the bands g, r, z",
    "demo -o out --weights mine": f"--weights {UNKNOWN}",
    "demo -o out --device tpu": "--device must be 'auto', .*; got 'tpu'",
    "simulate -o out --bands r R": ONCE,
    "simulate -o out field": "unknown arguments: field",
    "simulate -o out --fields 2": "unknown options: --fields 2",
    "simulate --config galaxies.csv -o out": "--config must name a YAML file of options",
    "simulate -o out --bands": "--bands needs at least one value",
    "simulate -o out --shape 64": "--shape needs 2 values",
    "simulate -o out --seed": "--seed needs one value",
    "fetch galaxies.csv -o out --bands q": "--bands must be among g, r, i, z for layer .*; got q",
    "fetch galaxies.csv -o out --bands r r": "--bands must be different; got r, r",
    "fetch galaxies.csv -o out --zero-points nowhere": "--zero-points must be 'dr4', .*'nowhere'",
    "fetch galaxies.csv -o out --zero-points service": "--zero-points must be dr4, a table or none",
    "fetch galaxies.csv -o out --zero-points service --release DR1": "--zero-points must be dr4",
    "fetch galaxies.csv -o out --size 1414": "--size must be at most 1413 pixels of S-PLUS",
    "fetch galaxies.csv -o out --target-psf 3 0.5": "--target-psf must have a .*; got 3.0 0.5",
    "fetch galaxies.csv -o out --splus-service here": "--splus-service must begin with http://",
    "fetch galaxies.csv -o out --legacy-service ftp://a": "--legacy-service must begin with http://",
    "match a.fits --target b.fits -o out --bands r R": ONCE,
    "match a.fits --target b.fits -o out --unit furlong": "--unit must be one that .*'furlong'",
    "match a.fits --target b.fits -o out --name a/b": "--name must begin with a letter",
    "match a.fits --target b.fits -o out --zero-points g": "--zero-points must be like .*; got g",
    "match a.fits --target b.fits -o out --zero-points g=x": "must be like .*; got 'x'",
    "match a.fits --target b.fits -o out --zero-points g=inf": "--zero-points must be finite",
    "match a.fits --target b.fits -o out --zero-points g=1 --bands g r": "got none for r",
    "match a.fits --target b.fits -o out --target-psf 1 1": "--target-psf must have a Moffat beta",
    "calibrate mine -o out": f"WEIGHTS {UNKNOWN_CARD}",
    "calibrate mine -o out --minutes 0": f"WEIGHTS {UNKNOWN_CARD}",
    "weights show mine": UNKNOWN_CARD,
    "weights verify mine": UNKNOWN_CARD,
    "weights list mine": UNKNOWN_CARD,
    "train --preset fidelity --data.bands r -o out": "--data.bands must be a list, such as",
    "train --preset fidelity --data.bands [q] -o out": "--data.bands must be among u, .*'q'",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder but for a table of galaxies, and no network."""

    def refuse(*args, **kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.chdir(tmp_path)
    for name in ("getaddrinfo", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)
    Table({"ra": [10.0], "dec": [-1.0]}).write("galaxies.csv")
    return tmp_path


def told(capsys):
    """Standard error, which has to be one line in the words of the command line."""
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("splus-srgan: error: ")
    assert not re.search(r"\w+=(True|False|None|\b')|<class|typing\.|\bstr\b|tuple", error)
    return error


@pytest.mark.parametrize("call", WRONG)
def test_wrong_options_are_refused_before_anything_is_read(call, here, capsys):
    assert main(call.split()) == 2
    assert re.search(WRONG[call], told(capsys))
    assert [path.name for path in here.iterdir()] == ["galaxies.csv"]


@pytest.mark.parametrize(
    "call",
    [
        "enhance nowhere.fits",
        "evaluate --simulate 1",
        "simulate",
        "demo",
        "fetch galaxies.csv",
        "match a.fits --target b.fits",
        "train --preset fidelity",
        "calibrate splus-any --minutes 0",
        "doctor",
    ],
)
def test_an_empty_name_of_the_output_is_no_name(call, here, capsys):
    """A variable of the shell that is not set must not send files to the working folder."""
    assert main([*call.split(), "-o", ""]) == 2
    assert "--output must name a folder; got an empty text" in told(capsys)


def test_a_file_that_is_no_image_is_told_in_plain_words(here, capsys):
    (here / "page.fits").write_text("<html>")
    assert main(["enhance", "page.fits", "-o", "out"]) == 1
    error = told(capsys)
    assert "page.fits cannot be read as FITS" in error
    assert "it begins with '<html>'" in error
    assert "Error:" not in error


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("lacking.csv", "x,y\n1,2\n", "must have the columns ra and dec (deg); it lacks ra, dec"),
        ("wild.csv", "ra,dec\n10,-100\n", "dec must be degrees on the sky; got -100.0 in row 0"),
        ("words.fits", "hello\n", "words.fits cannot be read: it is no table in ECSV, CSV or FITS"),
        ("gone.csv", None, "gone.csv does not exist; give a table (ECSV, CSV or FITS)"),
    ],
)
def test_the_table_is_looked_at_before_zero_points_are_asked_for(
    name, content, message, here, capsys
):
    if content is not None:
        (here / name).write_text(content)
    assert main(["fetch", name, "-o", "out"]) == 1
    assert message in told(capsys)
    assert not (here / "out").exists()


def test_a_file_in_the_place_of_the_folder_is_told_at_once(here, capsys):
    (here / "out").write_text("a file")
    for call in ("fetch galaxies.csv", "calibrate splus-any --minutes 0", "evaluate --simulate 1"):
        assert main([*call.split(), "-o", "out"]) == 1
        assert "out is a file" in told(capsys)


def test_the_example_advises_no_option_that_fetch_lacks(here, capsys):
    assert main(["fetch", "--example", "galaxies.csv"]) == 1
    assert told(capsys).endswith("galaxies.csv exists; choose another name\n")


def test_a_device_that_is_not_there_is_told_before_reading(here, capsys, monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for call in ("enhance nowhere.fits", "evaluate --simulate 1", "demo"):
        assert main([*call.split(), "-o", "out", "--device", "cuda"]) == 2
        assert "torch finds no CUDA here; got 'cuda'; use 'cpu'" in told(capsys)


@pytest.mark.parametrize(
    ("call", "module"),
    [
        ("enhance nowhere.fits --preview", "matplotlib"),
        ("evaluate nowhere.fits", "jinja2"),
        ("evaluate --simulate 1", "matplotlib"),
        ("demo", "matplotlib"),
    ],
)
def test_a_missing_package_is_told_before_any_work(call, module, here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    assert main([*call.split(), "-o", "out"]) == 1
    assert "plot" in told(capsys)


def test_damaged_weights_are_an_error_and_no_wrong_call(here, capsys):
    (here / "card.json").write_text("{}")
    assert main(["enhance", "nowhere.fits", "-o", "out", "--weights", "card.json"]) == 1
    assert "model card 'card.json' lacks name" in told(capsys)


def test_names_of_model_cards_are_offered_where_one_is_wanted(here, capsys):
    """`auto` is a choice among model cards, and none itself."""
    assert main(["weights", "show", "auto"]) == 2
    error = told(capsys)
    assert all(f"'{name}'" in error for name in available())
    assert error.count("'auto'") == 1
    assert "got 'auto'" in error
