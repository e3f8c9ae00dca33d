# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command line, in this process where possible: starting one anew costs seconds."""

import errno
import io
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import QTable

import splus_srgan
from splus_srgan import SRGANEnhancer, read_bands
from splus_srgan.cli import doctor
from splus_srgan.cli.bar import progress
from splus_srgan.cli.common import output_stem
from splus_srgan.cli.main import COMMANDS, main
from splus_srgan.images.quality import Quality
from splus_srgan.models import weights

# The frames are small, to be fast: a galaxy may well leave no sky in them.
pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")


@pytest.fixture(scope="module")
def field_file(tmp_path_factory):
    """A simulated field in one file, as `splus-srgan simulate` writes it."""
    folder = tmp_path_factory.mktemp("field")
    assert main(["simulate", "--shape", "32", "40", "-o", str(folder)]) == 0
    return folder / "input.fits"


def single_files(field_file, folder, names="GRZ"):
    """Split a field into one plain file per band, as the survey delivers them."""
    paths = []
    with fits.open(field_file) as hdus:
        for number, name in enumerate(names, 1):
            path = folder / f"tile_{name}.fits"
            science = hdus["SCI", number]
            header = science.header.copy()
            header["FILTER"] = name
            fits.PrimaryHDU(science.data, header).writeto(path)
            paths.append(str(path))
    return paths


@pytest.mark.parametrize("command", [(), *[(name,) for name in COMMANDS]])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*command, "--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert "usage: splus-srgan" in told
    # No name of a type, no default that says nothing, no mark-up.
    assert not re.search(r"IntFrom|NonNegative|Positive|type:|default: (null|False|\[)|`", told)


def test_version(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--version"])
    assert caught.value.code == 0
    assert splus_srgan.__version__ in capsys.readouterr().out


def test_python_m_runs_the_same_command():
    result = subprocess.run(
        [sys.executable, "-m", "splus_srgan", "--version"],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    assert splus_srgan.__version__ in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "a command is needed"),
        (["sharpen"], "invalid choice: 'sharpen'; the commands are 'enhance', "),
        (["enhance", "a.fits"], "required: --output .see splus-srgan enhance --help"),
        (["enhance", "-o", "out"], "enhance needs at least one FILE, or --batch TABLE"),
        (
            ["enhance", "a.fits", "-o", "out", "--precision", "float16"],
            "--precision must be one of 'auto', 'float32', 'bfloat16'; got 'float16'",
        ),
        (["simulate", "-o", "out", "--kind", "disc"], "--kind must be one of .*; got 'disc'"),
        (["evaluate", "-o", "out", "--simulate", "1", "--bands", "q"], "--bands must be among u"),
        (["enhance", "a.fits", "-o", "out", "--resume"], "--resume goes with --batch only"),
        (
            ["enhance", "a.fits", "-o", "out", "--scheduler", "local"],
            "--scheduler must be tcp://HOST:PORT, .*; got 'local'",
        ),
        (
            ["enhance", "--batch", "a", "-o", "o", "--scheduler", "local:0"],
            "--scheduler must be tcp://HOST:PORT, .*; got 'local:0'",
        ),
        (["enhance", "--batch", "a", "-o", "o", "--sky", "0"], "--sky does not go with --batch"),
        (
            ["enhance", "a.fits", "-o", "out", "--block-size", "big"],
            "--block-size must be an integer of at least 16 or auto; got big",
        ),
        (["enhance", "a.fits", "-o", "out", "--blocks", "2"], "unknown options: --blocks"),
        (["simulate", "-o", "out", "--shape", "3"], "--shape"),
        (["simulate", "-o", "out", "--seed", "-1"], "--seed must be at least 0; got -1"),
        (
            ["enhance", "a.fits", "-o", "out", "--uncertainty", "maybe"],
            "--uncertainty must be none or generator or ensemble; got maybe",
        ),
        (["calibrate"], "required: WEIGHTS, --output"),
    ],
)
def test_wrong_arguments_are_told_in_one_line(arguments, message, capsys):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("splus-srgan: error: ")
    assert re.search(message, error)
    for word in ("typing", "class", "Parser key"):
        assert word not in error


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("calibrate splus --minutes -1", "at least 0; got -1"),
        ("calibrate splus --minutes soon", "a number; got soon"),
        ("calibrate splus --steps 0", "at least 1; got 0"),
        ("calibrate splus --crop 8", "at least 16; got 8"),
        ("calibrate splus --fields 0", "at least 1; got 0"),
        ("calibrate splus --test -1", "at least 0; got -1"),
        ("demo --shape 96 15", "at least 16; got 15"),
        ("simulate --seed 1.5", "an integer; got 1.5"),
        ("evaluate --simulate 0", "at least 1; got 0"),
        ("evaluate --simulate 1 --seed -1", "at least 0; got -1"),
        ("evaluate --simulate 1 --shape 96 -96", "at least 16; got -96"),
        ("evaluate --simulate 1 --trials -1", "at least 0; got -1"),
        ("evaluate --simulate 1 --size 31", "at least 32; got 31"),
        ("fetch a.ecsv --size -128", "at least 32; got -128"),
        ("fetch a.ecsv --target-psf 0 3", "above 0; got 0"),
        ("match a.fits --target b.fits --target-psf 1.0 -3", "above 0; got -3"),
        ("enhance FIELD --block-size 8", "an integer of at least 16 or auto; got 8"),
        ("enhance FIELD --sigma 0", "above 0; got 0"),
        ("enhance FIELD --sigma g=0.1 r=-1 z=1", "above 0; got -1"),
        ("enhance FIELD --sky nan", "finite; got nan"),
        ("enhance FIELD --psf 1.4,0.5", "a FWHM in arcsec above 0, a Moffat beta above 1"),
        ("train --preset fidelity --data.batch_size 0", "at least 1; got 0"),
    ],
)
def test_a_number_out_of_range_is_a_wrong_command_line(command, told, field_file, tmp_path, capsys):
    out = tmp_path / "out"
    words = command.replace("FIELD", str(field_file)).split()
    assert main([*words, "-o", str(out)]) == 2
    option = next(word for word in reversed(words) if word.startswith("--"))
    assert f"splus-srgan: error: {option} must be {told}" in capsys.readouterr().err
    assert not out.exists()


def test_simulate_writes_input_target_and_sources(field_file):
    folder = field_file.parent
    assert fits.getdata(folder / "input.fits", "SCI", 2).shape == (32, 40)
    assert fits.getdata(folder / "target.fits", "SCI", 2).shape == (64, 80)
    assert {"x", "y", "flux_r"} <= set(QTable.read(folder / "sources.ecsv").colnames)


def test_simulate_is_repeatable(field_file, tmp_path):
    assert main(["simulate", "--shape", "32", "40", "-o", str(tmp_path)]) == 0
    again = fits.getdata(tmp_path / "input.fits", "SCI")
    np.testing.assert_array_equal(again, fits.getdata(field_file, "SCI"))


@pytest.mark.parametrize("bands", [["gr"], ["g,R"], ["g", "r"]])
def test_bands_of_the_command_line_are_those_of_python(field_file, tmp_path, capsys, bands):
    options = ["-o", str(tmp_path), "--dry-run", "--bands", *bands]
    assert main(["enhance", str(field_file), *options]) == 0
    assert re.findall(r"^(\w+): 32 x 40 pixels", capsys.readouterr().out, re.MULTILINE) in (
        ["g", "r"],
        ["g", "R"],
    )


def test_simulate_refuses_what_exists(field_file, capsys):
    assert main(["simulate", "-o", str(field_file.parent)]) == 1
    assert "input.fits exists; give --overwrite to replace it" in capsys.readouterr().err


def test_enhance_files_of_single_bands(field_file, tmp_path, capsys):
    paths = single_files(field_file, tmp_path)
    out = tmp_path / "made" / "out"
    assert main(["enhance", *paths, "-o", str(out), "--device", "cpu"]) == 0
    printed = capsys.readouterr()
    assert str(out / "tile_sr.fits") in printed.out
    assert "[" not in printed.err, "no progress bar in a pipe"
    for number in (1, 2, 3):
        assert fits.getdata(out / "tile_sr.fits", "SCI", number).shape == (64, 80)


@pytest.mark.parametrize(
    ("filters", "bands"),
    [
        (("",), "g"),
        (("OPEN", "OPEN"), "gr"),
        (("", "R"), "gr"),
        (("G", "R"), "rg"),
        (("G", "R"), "r"),
    ],
)
def test_enhance_takes_or_names_bands(field_file, tmp_path, filters, bands):
    paths = single_files(field_file, tmp_path, "GR"[: len(filters)])
    for path, name in zip(paths, filters, strict=True):
        with fits.open(path, mode="update") as hdus:
            hdus[0].header.remove("SRBAND", ignore_missing=True)
            hdus[0].header["FILTER"] = name
    out = ["-o", str(tmp_path), "--precision", "float32"]
    assert main(["enhance", *paths, "--bands", *bands, *out]) == 0
    (written,) = tmp_path.glob("*_sr.fits")
    with fits.open(written) as hdus:
        assert hdus[0].header["SRBANDS"] == ",".join(bands)
        for name, path in zip("gr", paths, strict=False):
            if name in bands:
                flux = fits.getdata(path).sum()
                assert abs(hdus["SCI", bands.index(name) + 1].data.sum() / flux - 1) < 0.1


def test_enhance_a_file_of_all_bands(field_file, tmp_path):
    assert main(["enhance", str(field_file), "-o", str(tmp_path), "--precision", "float32"]) == 0
    with fits.open(tmp_path / "input_sr.fits", checksum=True) as hdus:
        hdus.verify("exception")
        assert hdus["SCI", 2].header["BUNIT"] == "adu"
        assert hdus["SCI", 2].data.shape == (64, 80)


@pytest.mark.parametrize(
    ("asked", "stated"), [("ensemble", "ensemble (not calibrated)"), ("generator", "generator")]
)
def test_enhance_writes_the_uncertainty_asked_for(field_file, tmp_path, capsys, asked, stated):
    options = ["-o", str(tmp_path), "--uncertainty", asked]
    assert main(["enhance", str(field_file), *options]) == 0
    assert f"errors {stated}, masked" in capsys.readouterr().out
    with fits.open(tmp_path / "input_sr.fits") as hdus:
        deviation = hdus["ERR", 2].data
        assert hdus["SCI", 2].header["SRUNCERT"] == stated
        assert "do not add in quadrature" in str(hdus["ERR", 2].header["COMMENT"])
    assert deviation.shape == (64, 80)
    assert (deviation > 0).all()


def test_enhance_refuses_existing_output_before_reading(tmp_path, capsys):
    (tmp_path / "nowhere_sr.fits").write_text("precious")
    missing = str(tmp_path / "nowhere.fits")
    assert main(["enhance", missing, "-o", str(tmp_path)]) == 1
    assert "nowhere_sr.fits exists; give --overwrite" in capsys.readouterr().err
    assert (tmp_path / "nowhere_sr.fits").read_text() == "precious"


def test_enhance_overwrites_when_told(field_file, tmp_path):
    (tmp_path / "input_sr.fits").write_text("old")
    assert main(["enhance", str(field_file), "-o", str(tmp_path), "--overwrite"]) == 0
    assert fits.getdata(tmp_path / "input_sr.fits", "SCI", 2).shape == (64, 80)


def test_enhance_says_which_file_is_missing(tmp_path, capsys):
    assert main(["enhance", str(tmp_path / "gone.fits"), "-o", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "gone.fits" in error
    assert not (tmp_path / "out").exists()


def test_enhance_refuses_an_output_folder_that_is_a_file(field_file, tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert main(["enhance", str(field_file), "-o", str(tmp_path / "out")]) == 1
    assert "is a file" in capsys.readouterr().err


def test_demo_refuses_a_file_as_folder_before_any_work(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("splus_srgan.simulate.field.simulate_field", pytest.fail)
    (tmp_path / "out").write_text("a file")
    for place in ("out", "out/deeper"):
        assert main(["demo", "-o", str(tmp_path / place)]) == 1
        assert "out is a file; choose another folder" in capsys.readouterr().err


def test_folder_that_cannot_be_made_is_named(tmp_path, monkeypatch, capsys):
    def refuse(self, *args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.mkdir", refuse)
    out = str(tmp_path / "new")
    assert main(["simulate", "--shape", "32", "32", "-o", out]) == 1
    error = capsys.readouterr().err
    assert f"the folder {out} cannot be made (Permission denied); choose another" in error


def test_debug_shows_where_an_error_arose(tmp_path):
    with pytest.raises(OSError, match="gone"):
        main(["enhance", str(tmp_path / "gone.fits"), "-o", str(tmp_path), "--debug"])


def test_unknown_weights_are_named(field_file, tmp_path, capsys):
    arguments = ["enhance", str(field_file), "-o", str(tmp_path), "--weights", "no-such"]
    assert main(arguments) == 2
    assert "no-such" in capsys.readouterr().err


def test_interrupt_gives_the_usual_status(monkeypatch, tmp_path, capsys):
    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("splus_srgan.simulate.field.simulate_field", interrupt)
    assert main(["simulate", "-o", str(tmp_path / "out")]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_warnings_are_told_in_one_line(monkeypatch, tmp_path, capsys):
    def warn(*args, **kwargs):
        import warnings

        warnings.simplefilter("always")
        warnings.warn("the sky\n is falling", stacklevel=2)
        raise ValueError("and fell")

    monkeypatch.setattr("splus_srgan.simulate.field.simulate_field", warn)
    assert main(["simulate", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == (
        "splus-srgan: warning: the sky is falling\nsplus-srgan: error: and fell\n"
    )


def test_options_from_a_file(tmp_path):
    config = tmp_path / "simulate.yaml"
    config.write_text(f"output: {tmp_path / 'out'}\nshape: [24, 20]\nbands: [r]\n")
    assert main(["simulate", "--config", str(config)]) == 0
    with fits.open(tmp_path / "out" / "input.fits") as hdus:
        assert hdus["SCI"].data.shape == (24, 20)
        assert [hdu.name for hdu in hdus].count("SCI") == 1


def test_weights_are_listed(capsys):
    assert main(["weights"]) == 0
    listed = capsys.readouterr().out
    assert weights.available()
    assert all(name in listed for name in weights.available())


def test_weights_card_is_json(capsys):
    name = weights.available()[0]
    assert main(["weights", "show", name]) == 0
    assert json.loads(capsys.readouterr().out)["bands"]


def test_weights_verify(capsys):
    assert main(["weights", "verify"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(weights.available())


def test_weights_show_needs_a_name(capsys):
    assert main(["weights", "show"]) == 2
    assert f"needs a name: one of {weights.available()[0]}" in capsys.readouterr().err


def test_demo_writes_and_measures(tmp_path, capsys):
    arguments = ["demo", "-o", str(tmp_path), "--shape", "64", "64", "--device", "cpu"]
    assert main(arguments) == 0
    report = capsys.readouterr().out
    for name in ("input.fits", "enhanced.fits", "truth.fits", "comparison.png"):
        assert (tmp_path / name).stat().st_size > 1000
        assert name in report
    assert "dB" in report
    assert fits.getdata(tmp_path / "enhanced.fits", "SCI", 2).shape == (128, 128)
    assert main(arguments) == 1, "a second run needs --overwrite"
    assert "exists" in capsys.readouterr().err
    assert main([*arguments, "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("paths", "stem"),
    [
        (["a/SPLUS-s23s18_G.fits", "b/SPLUS-s23s18_R.fits"], "SPLUS-s23s18"),
        (["t_G_swp.fits.fz", "t_R_swp.fits.fz"], "t"),
        (["field.fits.gz"], "field"),
        (["G.FITS", "R.FITS"], "G_R"),
        (["v1.2_G.fits", "v1.2_R.fits"], "v1.2"),
    ],
)
def test_output_stem(paths, stem):
    assert output_stem(paths) == stem


class Terminal(io.StringIO):
    """What pretends to be a terminal."""

    def isatty(self):
        return True


def drawn(monkeypatch, iterable):
    """What the bar draws while an iterable is passed on, drawing by drawing."""
    monkeypatch.setattr(sys, "stderr", Terminal())
    list(progress(iterable, width=4))
    return [text.replace("\x1b[K", "") for text in sys.stderr.getvalue().split("\r")[1:]]


def test_progress_draws_on_a_terminal(monkeypatch):
    told = drawn(monkeypatch, [1, 2])
    assert [text[:6] for text in told] == ["[....]", "[##..]", "[####]"]
    assert "1/2 0:00, 0:00 left" in told[1]
    assert told[-1].endswith("2/2 0:00\n")


def test_progress_counts_what_has_no_length(monkeypatch):
    assert "3 done" in drawn(monkeypatch, iter("abc"))[-1]


def test_progress_moves_while_one_item_takes_long(monkeypatch):
    monkeypatch.setattr("splus_srgan.cli.bar._PAUSE", 0.01)
    monkeypatch.setattr(sys, "stderr", Terminal())
    for _ in progress([1], width=4):
        time.sleep(0.3)
    assert sys.stderr.getvalue().count(" 0/1 ") > 3


def test_progress_is_silent_in_a_pipe(capsys):
    assert list(progress(iter("ab"))) == ["a", "b"]
    assert capsys.readouterr().err == ""


def test_enhance_into_a_named_file_with_what_is_known(field_file, tmp_path, capsys):
    """Sky, sigma and PSF given, a picture, and a line a band."""
    target = tmp_path / "sharp.fits"
    known = ["--sky", "0.5", "--sigma", "g=0.1", "r=0.2", "Z=0.4", "--psf", "1.4,3"]
    arguments = ["enhance", str(field_file), "-o", str(target), "--device", "cpu", *known]
    assert main([*arguments, "--dry-run"]) == 0
    assert "nothing was done" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
    assert main([*arguments, "--preview"]) == 0
    told = capsys.readouterr().out
    assert re.search(
        r"^r: weights splus-grz, sky 0.5 adu, sigma 0.2 adu, PSF given, FWHM 1.4 arcsec",
        told,
        re.MULTILINE,
    )
    with fits.open(target) as hdus:
        assert [hdus["SCI", k].header["SRSIGMA"] for k in (1, 2, 3)] == [0.1, 0.2, 0.4]
        flags = hdus["DQ", 2].data
    shares = [100 * ((flags & bit) != 0).mean() for bit in (Quality.MISSING, Quality.SATURATED)]
    line = "flux anchor 1, masked {:.1f} %, saturated {:.1f} %, flagged {:.1f} % (most: EDGE)"
    assert line.format(*shares, 100 * (flags != 0).mean()) in told
    assert (tmp_path / "sharp.png").read_bytes().startswith(b"\x89PNG")


def test_enhance_in_half_the_time_and_with_another_anchor(field_file, tmp_path):
    made = tmp_path / "made.fits"
    options = ["--no-turned", "--flux-anchor", "0.5", "--precision", "float32", "--device", "cpu"]
    assert main(["enhance", str(field_file), "-o", str(made), *options]) == 0
    options = {"turned": False, "flux_anchor": 0.5, "precision": "float32", "device": "cpu"}
    expected = SRGANEnhancer(**options)(read_bands(field_file))
    for band, image in read_bands(made).items():
        assert np.array_equal(image.data, expected[band].data)
        assert image.meta["SRANCHOR"] == 0.5
        assert image.meta["SRTURNED"] is False


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sky", "deep"], "--sky must be a number, or BAND=NUMBER ...; got 'deep'"),
        (["--sky", "1", "2"], "--sky must be like 0.1, or g=0.1 r=0.2; got 1 2"),
        (["--sigma", "H=1"], "--sigma must name bands of the field (g, r, z); got 'H'"),
        (["--sigma", "g=1"], "--sigma must have every band; got none for r"),
        (["--psf", "g=1.4", "G=1.5", "r=1", "z=1"], "--psf must name each band once (g, r, z)"),
        (["--psf", "sharp"], "--psf must be one of auto, header, measure, or FWHM,BETA, or BAND="),
        (["--flux-anchor", "2"], "--flux-anchor must be within 0 and 1; got 2.0"),
    ],
)
def test_enhance_says_how_to_give_what_is_known(field_file, tmp_path, capsys, options, message):
    assert main(["enhance", str(field_file), "-o", str(tmp_path / "out"), *options]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_quiet_says_errors_alone(tmp_path, capsys):
    arguments = ["simulate", "--shape", "32", "32", "-o", str(tmp_path), "--quiet"]
    assert main(arguments) == 0
    assert capsys.readouterr() == ("", "")
    assert main(arguments) == 1
    assert "exists" in capsys.readouterr().err


def test_doctor_looks_at_everything(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(doctor._LOOKS, "engine", lambda options: "not tried")
    assert main(["doctor", "-o", str(tmp_path)]) == 0
    told = capsys.readouterr().out
    for word in ("splus_srgan", "numpy", "cpu", "splus-grz", "can be written to"):
        assert word in told
    assert main(["doctor", "-o", str(tmp_path / "gone")]) == 1
    assert "output     AMISS: " in capsys.readouterr().out


def test_completion_of_the_shell(capsys):
    pytest.importorskip("shtab")
    with pytest.raises(SystemExit) as caught:
        main(["--completion", "bash"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert "--block-size" in told
    assert "enhance" in told


def test_enhance_a_batch(field_file, tmp_path, capsys):
    """A broken field is a row with its reason; what is done is not done again."""
    (tmp_path / "broken.fits").write_text("nothing")
    table = tmp_path / "fields.csv"
    table.write_text(f"name,file\ngood,{field_file}\nbad,broken.fits\n")
    out = tmp_path / "out"
    arguments = ["enhance", "--batch", str(table), "-o", str(out), "--bands", "r"]
    assert main(arguments) == 3
    told = capsys.readouterr()
    assert f"{out / 'summary.ecsv'}: 1 done, 0 skipped, 1 failed" in told.out
    assert "bad: " in told.err
    assert fits.getdata(out / "good_sr.fits", "SCI", 1).shape == (64, 80)
    assert main(arguments) == 1
    assert "pass --resume to skip what is done, or --overwrite" in capsys.readouterr().err
    assert main([*arguments, "--resume"]) == 3
    assert "0 done, 1 skipped, 1 failed" in capsys.readouterr().out
