# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Runs that are killed go on, to the same bytes."""

import hashlib
import json
import os
import signal
import time
import warnings

import numpy as np
import pytest
from small_weights import save_small

from splus_srgan import SRGANEnhancer, read_bands, simulate_field
from splus_srgan.enhance import restart
from splus_srgan.enhance.field import Enhancement
from splus_srgan.enhance.planes import Planes
from splus_srgan.enhance.restart import clean
from splus_srgan.exceptions import SplusSrganWarning, UnusualInputWarning
from splus_srgan.images.unpack import unpack
from splus_srgan.models.weights import load_card

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
    pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning"),
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]
OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32", "uncertainty": "ensemble"}


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    known = load_card("splus-any").uncertainty
    entries = {"uncertainty": known | {"ensemble": known["calibration"]}, "domain": {}}
    return save_small(tmp_path_factory.mktemp("weights"), n_features=8, **entries)


@pytest.fixture(scope="module")
def images():
    return simulate_field((4, 1), shape=(110, 96), bands=("r",), kind="galaxy").observed


@pytest.fixture(autouse=True)
def six_sections(small_sections, one_thread):
    """Several sections of a field, and one thread, which survives a fork."""


@pytest.fixture
def made(monkeypatch, tmp_path):
    """A file that grows by a byte with each section that is made, in any process."""
    count, compute = tmp_path / "count", Enhancement.compute_section
    count.write_bytes(b"")

    def counted(self, part, bar=None):
        result = compute(self, part, bar)
        with count.open("ab") as file:
            file.write(b".")
        return result

    monkeypatch.setattr(Enhancement, "compute_section", counted)
    return count


def run(enhancer, images, path, seconds=None, **options):
    """Write in a process of its own, which is killed after some seconds; whether it was."""
    process = os.fork()
    if not process:
        try:
            enhancer.to_file(images, path, **options)
        finally:
            os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(process, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(process, 0)[1])


def without_date(path):
    """Hash of a file without the cards that depend on when it was made."""
    from astropy.io import fits

    total = hashlib.sha256()
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        for hdu in hdus:
            changing = ("SRDATE", "CHECKSUM")
            total.update(repr([c for c in hdu.header.cards if c.keyword not in changing]).encode())
            total.update(b"" if hdu.data is None else np.ascontiguousarray(hdu.data))
    return total.hexdigest()


def hidden(folder):
    return sorted(file.name for file in folder.iterdir() if file.name.startswith("."))


def test_kills_at_any_moment_change_nothing(card, images, made, tmp_path):
    enhancer = SRGANEnhancer(card, **OPTIONS)
    start = time.monotonic()
    expected = without_date(enhancer.to_file(images, tmp_path / "whole.fits"))
    seconds = time.monotonic() - start
    made.write_bytes(b"")
    rng, path, killed, dates = np.random.default_rng(1), tmp_path / "sharp.fits", 0, set()
    for _ in range(6):
        killed += run(enhancer, images, path, seconds * rng.uniform(0.1, 0.7))
        if path.exists() and killed:
            break
        if path.exists():  # it was faster than the run that was measured
            path.unlink()
            made.write_bytes(b"")
            seconds /= 3
            continue
        if hidden(tmp_path):
            dates.add(
                json.loads((tmp_path / hidden(tmp_path)[-1]).read_text().split("\n")[0])["date"]
            )
    if not path.exists():
        enhancer.to_file(images, path)
    assert killed
    assert without_date(path) == expected
    # A kill while the space was being taken leaves a file without a journal, which `clean` knows.
    clean(path)
    assert hidden(tmp_path) == []
    # A section is made twice where its run was killed before it was written down.
    assert 6 <= made.stat().st_size <= 6 + killed
    assert read_bands(path)["r"].header["SRDATE"] in dates
    assert len(dates) == 1


@pytest.mark.parametrize("step", ["made", "calibrated"])
def test_no_section_is_made_twice_but_the_one_in_work(
    card, images, made, tmp_path, monkeypatch, step
):
    """Killed right after the third section was written down, or calibrated in part."""
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    note = restart.Journal.note

    def last_words(self, what, section, planes, place):
        if what == step and section == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        note(self, what, section, planes, place)

    with monkeypatch.context() as patch:
        patch.setattr(restart.Journal, "note", last_words)
        assert run(enhancer, images, path)
    assert hidden(tmp_path) == [".sharp.fits.unfinished.fits", ".sharp.fits.unfinished.json"]
    enhancer.to_file(images, path)
    assert made.stat().st_size == 6 + 1
    assert hidden(tmp_path) == []
    assert without_date(path) == without_date(enhancer.to_file(images, tmp_path / "two.fits"))


@pytest.mark.parametrize("what", ["input", "options"])
def test_other_input_or_options_start_anew_and_say_so(card, images, made, tmp_path, what):
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    started = _left_by_a_kill(enhancer, images, path)
    assert started
    if what == "input":
        images = {"r": images["r"].copy()}
        images["r"].data[3, 3] += 0.01
    else:
        enhancer = SRGANEnhancer(card, **OPTIONS, flux_anchor=0.5)
    expected = without_date(enhancer.to_file(images, tmp_path / "whole.fits"))
    made.write_bytes(b"")
    with pytest.warns(
        SplusSrganWarning, match=rf"a run with \w+ {what} left an unfinished .*starts again"
    ):
        enhancer.to_file(images, path)
    assert made.stat().st_size == 6
    assert without_date(path) == expected


def _left_by_a_kill(enhancer, images, path):
    """A run that is killed when its second section is to be written down."""
    with pytest.MonkeyPatch.context() as patch:
        note = restart.Journal.note

        def last_words(self, what, section, planes, place):
            if section == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            note(self, what, section, planes, place)

        patch.setattr(restart.Journal, "note", last_words)
        return run(enhancer, images, path)


@pytest.mark.parametrize("damage", ["pixels", "journal", "torn", "file"])
def test_what_is_damaged_is_made_again(card, images, tmp_path, damage):
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    expected = without_date(enhancer.to_file(images, tmp_path / "whole.fits"))
    assert _left_by_a_kill(enhancer, images, path)
    data, log = (tmp_path / f".sharp.fits.unfinished.{end}" for end in ("fits", "json"))
    if damage == "pixels":
        content = bytearray(data.read_bytes())
        content[20000:20400] = bytes(400)
        data.write_bytes(content)
    elif damage == "journal":
        log.write_bytes(b'{"journal": 2}\n[]\n')
    elif damage == "torn":
        log.write_bytes(log.read_bytes()[:-20])
    else:
        data.unlink()
    enhancer.to_file(images, path)
    assert without_date(path) == expected
    assert hidden(tmp_path) == []


def test_a_line_that_a_kill_cut_off_spoils_no_later_one(card, images, tmp_path):
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    assert _left_by_a_kill(enhancer, images, path)
    log = tmp_path / ".sharp.fits.unfinished.json"
    log.write_bytes(log.read_bytes() + b'{"step": "ma')
    kept = len(restart._read(log))
    work = enhancer._prepare(unpack(images, lazy=True), None, None)
    planes = Planes.of_zeros((1, 8, 8), uncertainty=None)

    def go_on():
        with restart.unfinished_file(path, work) as (_, journal):
            journal.note("calibrated", 0, planes, np.s_[0:2, 0:2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on()
    assert len(restart._read(log)) == kept + 1


def test_what_the_check_of_the_input_finds_belongs_to_the_options(card, images):
    spiked = {"r": images["r"].copy()}
    spiked["r"].data[40:44, 40] += 400
    found = []
    for check_input in (True, False):
        enhancer = SRGANEnhancer(card, **OPTIONS, check_input=check_input)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnusualInputWarning)
            work = enhancer._prepare(unpack(spiked), None, None)
        found.append((work.report.of_band("r"), restart._identity(work)["options"]))
    assert found[0][0]
    assert not found[1][0]
    assert found[0][1] != found[1][1]


@pytest.mark.parametrize("kind", [KeyboardInterrupt, ConnectionError])
def test_interrupt_keeps_what_is_made_and_says_so(card, images, made, tmp_path, monkeypatch, kind):
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    note = restart.Journal.note

    def interrupted(self, what, section, planes, place):
        note(self, what, section, planes, place)
        if section == 2:
            raise kind("terminated")

    with monkeypatch.context() as patch:
        patch.setattr(restart.Journal, "note", interrupted)
        with pytest.raises(kind, match=r"terminated; the finished part of .* resumes"):
            enhancer.to_file(images, path)
    enhancer.to_file(images, path)
    assert made.stat().st_size == 6


def test_error_leaves_nothing(card, images, tmp_path, monkeypatch):
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"

    def fail(self, what, section, planes, place):
        raise RuntimeError("broken")

    monkeypatch.setattr(restart.Journal, "note", fail)
    with pytest.raises(RuntimeError, match="broken"):
        enhancer.to_file(images, path)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_do_not_write_one_output(card, images, tmp_path, monkeypatch):
    pytest.importorskip("fcntl")
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    note, told = restart.Journal.note, []

    def second(self, what, section, planes, place):
        if not told:
            told.append(clean(path))
            with pytest.raises(OSError, match="is being written by another process"):
                enhancer.to_file(images, path)
        note(self, what, section, planes, place)

    monkeypatch.setattr(restart.Journal, "note", second)
    enhancer.to_file(images, path)
    assert told == [[]]  # nothing that is in work is cleaned away
    assert path.exists()


def test_links_are_not_followed(card, images, tmp_path):
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    for end in ("fits", "json"):
        (tmp_path / f".sharp.fits.unfinished.{end}").symlink_to(precious)
    enhancer, path = SRGANEnhancer(card, **OPTIONS), tmp_path / "sharp.fits"
    with pytest.raises(OSError, match=r"symbolic link|could not be written"):
        enhancer.to_file(images, path)
    assert precious.read_bytes() == b"precious"


def test_clean_removes_what_is_ours_and_tells(tmp_path):
    ours = [
        ".a.fits.unfinished.fits",
        ".a.fits.unfinished.json",
        f".a.fits.{'0af' * 10}12.fits",
    ]
    others = [".b.fits.unfinished.fits", ".a.fits.notes", "a.fits", f".{'0' * 32}.fits", ".x.json"]
    for name in ours + others:
        (tmp_path / name).write_bytes(b"")
    assert [file.name for file in clean(tmp_path / "a.fits")] == sorted(ours)
    assert clean(tmp_path / "a.fits") == []
    assert [file.name for file in clean(tmp_path)] == [".b.fits.unfinished.fits"]
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(others[1:])
    with pytest.raises(FileNotFoundError, match="does not exist"):
        clean(tmp_path / "no" / "a.fits")
