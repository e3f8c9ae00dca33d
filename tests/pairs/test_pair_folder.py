# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A folder of pairs is whole, resumable and the same however often it was interrupted."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import numpy.ma as ma
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from pair_helpers import as_matched, copy_pair, registration, simulated
from replay import NATIVE, tan_wcs, viewer_file

from splus_srgan.exceptions import ServiceError
from splus_srgan.images.io.fields import write_bands
from splus_srgan.pairs.folder import store
from splus_srgan.pairs.folder.pairs import PairFolder, fetch_pairs, match_files
from splus_srgan.pairs.folder.staging import stage
from splus_srgan.pairs.quality.pair import PairLimits, assess_pair

SHAPE = (40, 40)
SEEDS = {"a": 1, "b": 2, "c": 3, "d": 4}


def table_of(names=SEEDS):
    """A list of galaxies, a degree apart."""
    ra = [10.0 + SEEDS[name] for name in names]
    return Table({"name": list(names), "ra": ra, "dec": [0.5] * len(ra)})


class LocalSurveys:
    """Both sources without a network; counts what is asked, and fails on demand."""

    def __init__(self, fail=None):
        self.asked = []
        self.fail = fail or {}

    def source(self, side):
        def get(position):
            seed = round(position.ra.deg - 10)
            self.asked.append((side, seed))
            error = self.fail.get((side, seed))
            if error is not None:
                raise error
            return copy_pair(*simulated(seed, shape=SHAPE))[0 if side == "input" else 1]

        get.release = {"input": "dr1", "target": "ls-dr10"}[side]
        return get

    def fetch(self, folder, *, table=None, match=as_matched, **options):
        return fetch_pairs(
            table_of() if table is None else table,
            folder,
            input_source=self.source("input"),
            target_source=self.source("target"),
            match=match,
            **options,
        )


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """What a run gives that nobody interrupts."""
    return LocalSurveys().fetch(tmp_path_factory.mktemp("unbroken"))


def files_of(folder):
    """All files with their hashes."""
    root = Path(folder)
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def test_index_has_a_row_per_pair_with_units(unbroken):
    index = QTable.read(unbroken.path / "index.ecsv")
    assert list(index["name"]) == list("abcd")
    assert index["ra"].unit == u.deg
    assert index["ra"][1] == 12 * u.deg
    assert index["shift_y_r"].unit == u.arcsec
    assert index["depth_input_r"].unit == u.mag
    assert set(index["input_release"]) == {"dr1"}
    assert set(index["target_release"]) == {"ls-dr10"}
    assert list(index["bands"]) == ["r"] * 4
    assert list(index["ny"]) == [SHAPE[0]] * 4
    path = unbroken.path / index["target_file"][2]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == index["target_sha256"][2]


def test_loaded_pair_is_what_was_fetched(unbroken):
    first, second = unbroken.load("b")
    wanted = simulated(2, shape=SHAPE)
    np.testing.assert_array_equal(first["r"].data, wanted[0]["r"].data)
    np.testing.assert_array_equal(second["r"].data, wanted[1]["r"].data)
    assert first["r"].unit == u.nmgy
    corner = [side["r"].wcs.pixel_to_world(0, 79) for side in (second, wanted[1])]
    assert corner[0].separation(corner[1]).arcsec < 1e-6


def test_folder_is_a_mapping_of_accepted_pairs(unbroken):
    folder = PairFolder(unbroken.path)
    assert list(folder) == ["a", "b", "c", "d"]
    assert len(folder) == 4
    assert "a" in folder
    assert "z" not in folder
    assert [first["r"].shape for first, _ in folder.values()] == [SHAPE] * 4
    assert repr(folder).endswith("4 of 4 accepted>")
    folder.verify()
    with pytest.raises(KeyError, match="no images of 'z'"):
        folder.load("z")


def test_second_call_asks_nothing_and_changes_nothing(unbroken):
    before = files_of(unbroken.path)
    surveys = LocalSurveys()
    surveys.fetch(unbroken.path)
    assert surveys.asked == []
    assert files_of(unbroken.path) == before


def test_order_of_the_list_does_not_matter(unbroken, tmp_path):
    LocalSurveys().fetch(tmp_path, table=table_of("dbca"))
    assert files_of(tmp_path) == files_of(unbroken.path)


def test_longer_list_adds_to_the_folder(unbroken, tmp_path):
    LocalSurveys().fetch(tmp_path, table=table_of("ac"))
    surveys = LocalSurveys()
    surveys.fetch(tmp_path)
    assert surveys.asked == [(side, n) for n in (2, 4) for side in ("input", "target")]
    assert files_of(tmp_path) == files_of(unbroken.path)


@pytest.mark.parametrize("side", ["input", "target"])
def test_interrupted_call_goes_on_where_it_stopped(unbroken, tmp_path, side):
    """Ctrl-C while one side of the third pair is asked for: nothing is asked for twice."""
    broken = LocalSurveys({(side, 3): KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        broken.fetch(tmp_path)
    assert list(QTable.read(tmp_path / "index.ecsv")["name"]) == ["a", "b"]
    again = LocalSurveys()
    again.fetch(tmp_path)
    assert again.asked[0] == (side, 3)
    done = broken.asked[:-1] + again.asked
    assert sorted(done) == sorted((s, n) for s in ("input", "target") for n in SEEDS.values())
    assert files_of(tmp_path) == files_of(unbroken.path)


def test_interrupted_while_a_pair_is_written(unbroken, tmp_path, monkeypatch):
    """A pair is there as a whole or not at all, wherever the run dies."""

    calls = []

    def stop(path, field, **options):
        calls.append(path)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return write_bands(path, field, **options)

    monkeypatch.setattr(store, "write_bands", stop)
    with pytest.raises(KeyboardInterrupt):
        LocalSurveys().fetch(tmp_path)
    monkeypatch.undo()
    assert PairFolder(tmp_path).names == ("a",)
    surveys = LocalSurveys()
    surveys.fetch(tmp_path)
    assert surveys.asked[0] == ("input", 3), "the second pair was fetched before"
    assert files_of(tmp_path) == files_of(unbroken.path)


def test_half_fetched_images_of_another_place_do_not_count(tmp_path):
    """A corrected list has the old name at the place of the fourth galaxy."""
    with pytest.raises(KeyboardInterrupt):
        LocalSurveys({("target", 3): KeyboardInterrupt()}).fetch(tmp_path, table=table_of("c"))
    table = table_of("d")
    table["name"] = ["c"]
    surveys = LocalSurveys()
    first, _ = surveys.fetch(tmp_path, table=table)["c"]
    assert surveys.asked == [("input", 4), ("target", 4)]
    np.testing.assert_array_equal(first["r"].data, simulated(4, shape=SHAPE)[0]["r"].data)
    assert not (tmp_path / ".unfinished").exists()


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        ("nothing", 1),
        ("a thousandth of an arcsec", 1),
        ("an arcsec", 2),
        ("release", 2),
        ("settings", 2),
        ("no note", 2),
        ("torn note", 2),
    ],
)
def test_half_fetched_images_count_for_what_was_asked_alone(tmp_path, change, asked):
    places = []

    def source(position):
        places.append(position)
        return simulated(1, shape=SHAPE)[0]

    source.release = "dr1"
    here = SkyCoord(10, 0, unit="deg")
    stage(tmp_path, "A", "input", source, here)
    note = tmp_path / ".unfinished" / "A" / "input.json"
    if change == "release":
        source.release = "dr2"
    elif change == "settings":
        (tmp_path / "settings.json").write_text('{"size": 128}')
    elif change == "no note":
        note.unlink()
    elif change == "torn note":
        note.write_text('{"ra": 10.')
    elif "arcsec" in change:
        away = (1.0 if change == "an arcsec" else 1e-3) * u.arcsec
        here = here.directional_offset_by(0 * u.deg, away)
    stage(tmp_path, "A", "input", source, here)
    assert len(places) == asked


KILLED = """
import sys, time
sys.path[:0] = {tests!r}
from pathlib import Path
import test_pair_folder as t
surveys = t.LocalSurveys()
inner = surveys.source
def slow(side):
    get = inner(side)
    def ask(position):
        with open({log!r}, "a") as log:
            print(side, round(position.ra.deg - 10), file=log, flush=True)
        if {stop!r} == f"{{side}} {{round(position.ra.deg - 10)}}":
            time.sleep(60)
        return get(position)
    ask.release = get.release
    return ask
surveys.source = slow
surveys.fetch({folder!r})
"""


def run_killed(folder, log, stop):
    """Run a fetch in another process; kill it without warning when it asks for ``stop``."""
    tests = [str(Path(__file__).parents[k]) for k in (0, 1)]
    code = KILLED.format(tests=tests, log=str(log), folder=str(folder), stop=stop)
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while stop and stop not in (log.read_text() if log.exists() else ""):
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        if stop:
            os.kill(process.pid, signal.SIGKILL)
        process.wait(120)
    finally:
        process.kill()
        process.wait()


def test_killed_call_goes_on_and_gives_the_same_folder(unbroken, tmp_path):
    """SIGKILL leaves no time to tidy up."""
    folder, log = tmp_path / "pairs", tmp_path / "log"
    run_killed(folder, log, "target 3")
    asked = log.read_text().split("\n")[:-1]
    surveys = LocalSurveys()
    surveys.fetch(folder)
    again = [f"{side} {seed}" for side, seed in surveys.asked]
    assert again[0] == "target 3", "what had not come is asked for again, and first"
    assert sorted(asked[:-1] + again) == sorted(
        f"{side} {seed}" for side in ("input", "target") for seed in SEEDS.values()
    )
    assert files_of(folder) == files_of(unbroken.path)


def test_half_written_files_of_a_killed_call_never_count(unbroken, tmp_path):
    LocalSurveys().fetch(tmp_path, table=table_of("ab"))
    # What dies while writing leaves: a temporary file, and a half-made pair.
    staging = tmp_path / ".unfinished" / "c"
    (staging / "pair").mkdir(parents=True)
    (staging / "pair" / "input.fits").write_bytes(b"SIMPLE  =")
    (staging / ".input.fits.0123.fits").write_bytes(b"SIMPLE  =")
    assert PairFolder(tmp_path).names == ("a", "b")
    LocalSurveys().fetch(tmp_path)
    assert files_of(tmp_path) == files_of(unbroken.path)


@pytest.mark.parametrize("damage", ["change", "remove"])
def test_damaged_pair_is_noticed_and_fetched_again(unbroken, tmp_path, damage):
    LocalSurveys().fetch(tmp_path)
    victim = tmp_path / "b" / "target.fits"
    if damage == "change":
        content = bytearray(victim.read_bytes())
        content[-3000] ^= 1
        victim.write_bytes(content)
    else:
        victim.unlink()
    folder = PairFolder(tmp_path)
    said = "does not have the sha256" if damage == "change" else "is missing"
    with pytest.raises(OSError, match=said):
        folder.verify()
    with pytest.raises(OSError, match=f"target.fits {said}.*; remove .*b and fetch it again"):
        folder.load("b")
    surveys = LocalSurveys()
    surveys.fetch(tmp_path)
    assert surveys.asked == [("input", 2), ("target", 2)]
    assert files_of(tmp_path) == files_of(unbroken.path)


def test_failed_pair_is_in_the_index_and_the_others_go_on(tmp_path):
    error = ServiceError("https://me:secret@example.org/cutout", "no image\nthere")
    surveys = LocalSurveys({("target", 2): error})
    folder = surveys.fetch(tmp_path)
    row = folder.index[1]
    assert (row["name"], row["verdict"]) == ("b", "failed")
    assert row["reasons"] == "no image there; asked https://example.org/cutout"
    assert row["input_file"] == row["input_sha256"] == ""
    assert np.isnan(row["shift_y_r"])
    assert list(folder) == ["a", "c", "d"]
    assert not (tmp_path / "b" / "input.fits").exists()
    with pytest.raises(KeyError, match="it failed: no image there"):
        folder.load("b")
    assert "secret" not in (tmp_path / "index.ecsv").read_text()


def test_failed_pair_is_tried_again_only_on_request(unbroken, tmp_path):
    LocalSurveys({("target", 2): ServiceError("http://x", "busy")}).fetch(tmp_path)
    patient = LocalSurveys()
    patient.fetch(tmp_path)
    assert patient.asked == []
    assert PairFolder(tmp_path).names == ("a", "b", "c", "d")
    patient.fetch(tmp_path, retry_failed=True)
    assert {seed for _, seed in patient.asked} == {2}
    assert files_of(tmp_path) == files_of(unbroken.path)


def test_pair_that_cannot_be_matched_fails_with_the_class_of_the_error(tmp_path):
    def match(first, second):
        raise ZeroDivisionError("no sources")

    folder = LocalSurveys().fetch(tmp_path, table=table_of("a"), match=match)
    assert folder.index["reasons"][0] == "ZeroDivisionError: no sources"


@pytest.mark.parametrize("error", [ImportError("no pyvo"), OSError(28, "No space left on device")])
def test_what_would_stop_every_pair_stops_the_call(tmp_path, error):
    with pytest.raises(type(error)):
        LocalSurveys({("input", 2): error}).fetch(tmp_path)
    assert list(QTable.read(tmp_path / "index.ecsv")["name"]) == ["a"]


def test_service_that_is_down_stops_the_call(tmp_path, monkeypatch):
    monkeypatch.setattr("splus_srgan.pairs.folder.fetch._GIVE_UP_AFTER", 2)
    down = {("input", n): ServiceError("http://x", "HTTP 503", 503) for n in (2, 3, 4)}
    with pytest.raises(ServiceError, match=r"2 pairs in a row could not be fetched.*HTTP 503"):
        LocalSurveys(down).fetch(tmp_path)
    assert list(PairFolder(tmp_path).index["verdict"]) == ["accept", "failed", "failed"]


def test_rejected_pair_keeps_its_images_and_reasons(tmp_path):
    def match(first, second):
        wrong = {"r": registration(shift=(2.0, 0.0))}
        return as_matched(first, second, registrations=wrong, residuals=wrong)

    folder = LocalSurveys().fetch(tmp_path, table=table_of("a"), match=match)
    row = folder.index[0]
    assert row["verdict"] == "reject"
    assert 'shift of 0.55 ± 0.01" is left' in row["reasons"]
    assert row["shift_y_r"].to_value(u.arcsec) == pytest.approx(0.55, rel=1e-3)
    assert len(folder) == 0
    assert "a" not in folder
    assert folder.load("a")[0]["r"].shape == SHAPE


def test_other_settings_are_refused(tmp_path):
    LocalSurveys().fetch(tmp_path, table=table_of("a"), settings={"size": 64})
    with pytest.raises(ValueError, match=r"size must be 64, as for the pairs .*; got 128"):
        LocalSurveys().fetch(tmp_path, settings={"size": 128})
    with pytest.raises(ValueError, match="limits must be"):
        LocalSurveys().fetch(tmp_path, settings={"size": 64}, limits=PairLimits(shift=0.2))


def test_same_name_at_another_position_is_refused(unbroken):
    table = table_of("a")
    table["dec"] += 0.1
    with pytest.raises(ValueError, match=r"'a' of .* must be at the position in the list"):
        LocalSurveys().fetch(unbroken.path, table=table)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"], "ra": [1.0]}, "it lacks dec and has name, ra"),
        ({"name": ["a", "a"], "ra": [1.0, 2.0], "dec": [0.0, 0.0]}, "twice there: a"),
        ({"ra": [1.0, np.nan], "dec": [0.0, 0.0]}, "ra must be degrees on the sky; got nan in row"),
        ({"ra": [1.0], "dec": [95.0]}, "dec must be degrees on the sky; got 95.0 in row 0"),
        ({"name": ["../up"], "ra": [1.0], "dec": [0.0]}, "name must begin with"),
        ({"ra": ["1.0", "1h"], "dec": [0.0, 0.0]}, "as numbers; got '1h' in row 1"),
        ({"ra": ma.array(["1", ""], mask=[0, 1]), "dec": [0.0, 0.0]}, "got nan in row 1"),
    ],
)
def test_wrong_lists_are_refused(tmp_path, columns, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        LocalSurveys().fetch(tmp_path / "pairs", table=Table(columns))
    assert not (tmp_path / "pairs").exists()


def test_names_come_from_positions_and_odd_letters_are_replaced(tmp_path):
    surveys = LocalSurveys({(s, n): ValueError("x") for s in ("input", "target") for n in (1, 2)})
    folder = surveys.fetch(tmp_path, table=Table({"RA": [11.0, 12.0] * u.deg, "DEC": [0.5, -0.5]}))
    assert folder.names == ("J004400.00+003000.0", "J004800.00-003000.0")
    named = Table({"name": ["NGC 1/x"], "ra": [11.0], "dec": [0.5]})
    assert surveys.fetch(tmp_path / "b", table=named).names == ("NGC_1_x",)


def test_whole_way_without_services(tmp_path):
    """Local functions as sources, the default matching: a wrong WCS is found and taken out."""
    first, second = copy_pair(*simulated(5, shape=(64, 64), kind="stars"))
    second["r"].wcs.wcs.crpix += 1.5, -2.0

    folder = fetch_pairs(
        table_of("a"),
        tmp_path,
        input_source=lambda position: first,
        target_source=lambda position: second,
    )
    assert list(folder) == ["a"]
    row = folder.index[0]
    assert row["found_x_r"].to_value(u.arcsec) == pytest.approx(-1.5 * 0.275, abs=0.02)
    assert row["found_y_r"].to_value(u.arcsec) == pytest.approx(2.0 * 0.275, abs=0.02)
    assert abs(row["shift_x_r"].to_value(u.arcsec)) < 0.02
    assert row["flux_ratio_r"] == pytest.approx(1, abs=0.03)
    assert folder["a"][1]["r"].shape == (128, 128)


def test_progress_bar_wraps_what_is_left(unbroken, tmp_path):
    seen = []

    def bar(items):
        seen.append([name for name, _ in items])
        return items

    LocalSurveys().fetch(tmp_path, table=table_of("b"), progress_bar=bar)
    LocalSurveys().fetch(tmp_path, progress_bar=bar)
    assert seen == [["b"], ["a", "c", "d"]]


def test_added_pairs_are_not_replaced_by_accident(tmp_path):
    folder = PairFolder(tmp_path / "new", create=True)
    matched = as_matched(*simulated(1, shape=SHAPE))
    report = assess_pair(matched)
    folder.add("mine", matched, report, position=SkyCoord(1, 2, unit="deg"))
    with pytest.raises(FileExistsError, match="has a pair 'mine'; overwrite=True"):
        folder.add("mine", matched, report)
    folder.add("mine", matched, report, overwrite=True)
    assert np.isnan(folder.index["ra"][0])
    with pytest.raises(ValueError, match="name must begin with"):
        folder.add("../mine", matched, report)


def test_a_folder_without_pairs_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        PairFolder(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="has no pairs; make some"):
        PairFolder(tmp_path)


def test_contact_sheet_of_a_folder_shows_failed_pairs_too(tmp_path):
    surveys = LocalSurveys({("target", 2): ServiceError("http://x", "busy")})
    folder = surveys.fetch(tmp_path, table=table_of("ab"))
    path = folder.contact_sheet()
    assert path == tmp_path / "contact_sheet.png"
    assert path.read_bytes().startswith(b"\x89PNG")


def test_records_hold_no_dates(unbroken):
    record = json.loads((unbroken.path / "a" / "record.json").read_text())
    assert not any("date" in key.lower() for key in record)
    with fits.open(unbroken.path / "a" / "input.fits") as hdus:
        comments = [hdu.header.comments["CHECKSUM"] for hdu in hdus]
    assert not any(re.search(r"\d{4}-\d\d-\d\d", comment) for comment in comments)


def test_match_files_adds_a_pair(tmp_path):
    first, second = simulated(2, shape=SHAPE)
    write_bands(tmp_path / "splus.fits", first)
    write_bands(tmp_path / "other.fits", second)
    arguments = tmp_path / "splus.fits", tmp_path / "other.fits", tmp_path / "pairs"
    report = match_files(*arguments, name="mine", match=as_matched)
    assert report.verdict == "accept"
    folder = PairFolder(tmp_path / "pairs")
    assert folder.index["name"][0] == "mine"
    assert folder.index["ra"][0] > 0 * u.deg
    np.testing.assert_array_equal(folder["mine"][1]["r"].data, second["r"].data)
    with pytest.raises(FileExistsError, match="has a pair 'mine'"):
        match_files(*arguments, name="mine", match=as_matched)


def test_match_files_says_which_band_is_missing(tmp_path):
    first, second = simulated(2, shape=SHAPE)
    write_bands(tmp_path / "splus.fits", first)
    write_bands(tmp_path / "other.fits", {"g": second["r"]})
    arguments = tmp_path / "splus.fits", tmp_path / "other.fits", tmp_path / "pairs"
    with pytest.raises(ValueError, match="the input files must have the bands g; they have r"):
        match_files(*arguments, name="mine", match=as_matched)
    with pytest.raises(ValueError, match="the target files must have the bands r; they have g"):
        match_files(*arguments, name="mine", bands=["r"], match=as_matched)


# Files of the Legacy Surveys


class TakenError(Exception):
    """Says that the files were read; has the target."""


def taken_of(tmp_path, targets):
    """The target that `match_files` makes of files."""
    inputs = simulated(2, shape=SHAPE, bands=("g", "r"))[0]
    write_bands(tmp_path / "splus.fits", inputs, overwrite=True)

    def match(first, second):
        raise TakenError(second)

    with pytest.raises(TakenError) as caught:
        match_files(tmp_path / "splus.fits", targets, tmp_path / "pairs", name="x", match=match)
    return caught.value.args[0]


def viewer(path, band, *, scale=2 * NATIVE, **parts):
    """A file of the viewer with one band: 3 nanomaggies in each *native* pixel."""
    wcs = tan_wcs(27.95, 0.26, (20, 20), scale)
    path.write_bytes(viewer_file({band: np.full((20, 20), 3.0)}, wcs, **parts))
    return path


def test_legacy_files_of_a_band_each_are_what_they_are_in_one(tmp_path):
    bits = np.arange(400).reshape(20, 20)
    files = [viewer(tmp_path / f"{band}.fits", band, maskbits=bits) for band in "gr"]
    seen = taken_of(tmp_path, files)
    assert list(seen) == ["g", "r"]
    for image in seen.values():
        # Four native pixels in each.
        np.testing.assert_allclose(image.data, 12.0, rtol=1e-6)
        assert image.meta["LSAREA"] == pytest.approx(4)
        np.testing.assert_array_equal(image.flags, bits)
    single = taken_of(tmp_path, files[0])
    np.testing.assert_array_equal(single["g"].data, seen["g"].data)


def test_legacy_files_are_not_mixed_with_others(tmp_path):
    first = viewer(tmp_path / "g.fits", "g")
    other = write_bands(tmp_path / "other.fits", {"r": simulated(2, shape=SHAPE)[1]["r"]})
    again, finer = tmp_path / "again.fits", tmp_path / "finer.fits"
    again.write_bytes(first.read_bytes())
    viewer(finer, "r", scale=1.5 * NATIVE)
    for second, message in (
        (other, "target_files must all be of the Legacy Surveys, or none .*other.fits is not"),
        (again, "each band may occur once; got .*g.fits' and .*again.fits' for the band 'g'"),
        (finer, "target_files must share one pixel grid"),
    ):
        with pytest.raises(ValueError, match=message):
            match_files(other, [first, second], tmp_path / "pairs", name="x")


@pytest.mark.parametrize("card", [("BANDS", "r"), ("IMAGETYP", "object")])
def test_files_with_cards_like_those_of_the_viewer_keep_their_unit(tmp_path, card):
    for band in "gr":
        wcs = tan_wcs(27.95, 0.26, (20, 20), 2 * NATIVE)
        hdu = fits.PrimaryHDU(np.full((1, 20, 20), 3.0), wcs.to_header())
        hdu.header["BUNIT"], hdu.header["FILTER"] = "adu", band
        hdu.header[card[0]] = band if card[0] == "BANDS" else card[1]
        hdu.writeto(tmp_path / f"{band}.fits")
    seen = taken_of(tmp_path, [tmp_path / "g.fits", tmp_path / "r.fits"])
    assert {band: (image.unit, image.data[0, 0]) for band, image in seen.items()} == {
        "g": (u.adu, 3.0),
        "r": (u.adu, 3.0),
    }
