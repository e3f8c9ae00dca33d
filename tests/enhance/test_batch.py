# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Many fields: what is listed, what is done, and what becomes of those that fail."""

import errno
import os
import re
import shutil
import threading
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable, Table

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.enhance.batch import enhance_batch
from splus_srgan.enhance.batch_list import FieldReader, list_fields
from splus_srgan.exceptions import FallbackWarning
from splus_srgan.images.io.fields import read_bands, write_bands

BANDS = ("g", "r")


class Copier:
    """Stands for the enhancer: it writes what it is given, and keeps the order."""

    def __init__(self, error=None):
        self.seen, self.error = [], error

    def to_file(self, images, path, *, overwrite):
        self.seen.append(path.name)
        if self.error is not None:
            raise self.error
        write_bands(path, images, overwrite=overwrite)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three fields: one in a file, one in a file per band, and one that is damaged."""
    folder = tmp_path_factory.mktemp("tiles")
    for k, name in enumerate("ab"):
        field = simulate_field(k, shape=(40, 48), bands=BANDS, kind="stars").observed
        write_bands(folder / f"{name}.fits", field)
        for band in BANDS:
            write_bands(folder / f"{name}_{band}.fits", {band: field[band]})
    (folder / "broken.fits").write_bytes(b"SIMPLE  = nothing")
    return folder


def test_rows_with_files_per_band_or_one(folder, tmp_path):
    table = Table({"name": ["one", "two words"], "file": ["a.fits", ""], "g": ["", "b_g.fits"]})
    table["r"] = np.ma.array(["x", "b_r.fits"], mask=[True, False])
    table.write(folder / "list.ecsv", overwrite=True)
    fields = list_fields(folder / "list.ecsv")
    assert [field.name for field in fields] == ["one", "two_words"]
    summary = enhance_batch(Copier(), fields, tmp_path)
    assert list(summary["status"]) == ["done", "done"]
    made = read_bands(tmp_path / "two_words_sr.fits")
    assert list(made) == ["g", "r"]
    np.testing.assert_array_equal(made["r"].data, read_bands(folder / "b.fits")["r"].data)
    assert (Table.read(tmp_path / "summary.ecsv")["name"] == summary["name"]).all()


def test_what_fails_is_a_row_and_not_the_end(folder, tmp_path):
    fields = list_fields(folder / "*.fits")
    assert [f.name for f in fields] == ["a", "a_g", "a_r", "b", "b_g", "b_r", "broken"]
    fields = [fields[-1], *fields[:2]]
    enhancer = Copier()
    summary = enhance_batch(enhancer, fields, tmp_path)
    assert list(summary["status"]) == ["failed", "done", "done"]
    assert "broken.fits" in summary["reason"][0]
    assert enhancer.seen == ["a_sr.fits", "a_g_sr.fits"]
    with pytest.raises(FileExistsError, match="resume=True to skip what is done"):
        enhance_batch(enhancer, fields, tmp_path)
    again = Copier()
    summary = enhance_batch(again, fields, tmp_path, resume=True)
    assert list(summary["status"]) == ["failed", "skipped", "skipped"]
    assert again.seen == []
    summary = enhance_batch(again, fields, tmp_path, overwrite=True)
    assert list(summary["status"]) == ["failed", "done", "done"]


def test_parts_of_one_image(folder, tmp_path):
    image = read_bands(folder / "a.fits")["r"]
    sky = image.wcs.pixel_to_world([15.5, 30.5, 2.0, 500.0], [15.5, 20.5, 2.0, 2.0])
    table = Table({"name": list("abcd"), "ra": sky.ra.deg, "dec": sky.dec.deg, "size": 4 * [20]})
    fields = list_fields(table, files=[folder / "a.fits"])
    summary = enhance_batch(Copier(), fields, tmp_path)
    assert list(summary["status"]) == ["done", "done", "failed", "failed"]
    assert "20 pixels around ra" in summary["reason"][2]
    part = read_bands(tmp_path / "b_sr.fits")["r"]
    np.testing.assert_array_equal(part.data, image.data[11:31, 21:41])
    assert part.wcs.pixel_to_world(9.5, 9.5).separation(sky[1]).arcsec < 0.01


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("size", value) for value in (np.inf, np.nan, 20.5, 0, -20, 1e30)),
        *(("dec", 91), ("dec", np.nan), ("ra", np.inf)),
    ],
)
def test_a_row_without_sense_is_not_the_end_of_the_others(folder, tmp_path, column, value):
    center = read_bands(folder / "a.fits")["r"].wcs.pixel_to_world(20, 20)
    table = Table({"name": ["good", "bad"], "ra": 2 * [center.ra.deg], "dec": 2 * [center.dec.deg]})
    table["size"] = [20.0, 20.0]
    table[column][1] = value
    table.write(tmp_path / "list.csv")
    fields = list_fields(tmp_path / "list.csv", files=[folder / "a.fits"])
    summary = enhance_batch(Copier(), fields, tmp_path / "out")
    assert list(summary["status"]) == ["done", "failed"]
    assert len(summary["reason"][1]) > 10


def test_an_hdu_is_a_number_of_plain_digits(folder, tmp_path):
    table = Table({"name": ["a", "b"], "file": 2 * [str(folder / "a.fits")], "hdu": ["SCI,²", "²"]})
    summary = enhance_batch(Copier(), list_fields(table), tmp_path)
    assert list(summary["status"]) == ["failed", "failed"]
    assert all("²" in reason and "hdu" in reason.lower() for reason in summary["reason"])


@pytest.mark.parametrize("link", ["same", os.symlink, os.link])
def test_no_field_is_written_over_a_file_of_another(folder, tmp_path, link):
    precious = tmp_path / "mine_sr.fits"
    shutil.copy(folder / "a.fits", precious)
    if link != "same":
        link(precious, tmp_path / "other_sr.fits")
    name = "mine" if link == "same" else "other"
    table = Table({"name": ["x", name], "file": [str(precious), str(folder / "b.fits")]})
    enhancer = Copier()
    with pytest.raises(ValueError, match=r"_sr\.fits must not be a file that is read"):
        enhance_batch(enhancer, list_fields(table), tmp_path, overwrite=True)
    assert enhancer.seen == []
    assert precious.read_bytes() == (folder / "a.fits").read_bytes()


def identity(path):
    """What changes if a file is written or replaced, but not if it is read."""
    found = path.lstat()
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns


THINGS = {
    "notes": lambda path: path.write_text("my notes"),
    "cut": lambda path: path.write_bytes(path.with_name("whole").read_bytes()[:9000]),
    "folder": lambda path: path.mkdir(),
    "device": lambda path: path.symlink_to(os.devnull),
    "pipe": os.mkfifo,
}


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")
@pytest.mark.parametrize("thing", THINGS)
def test_only_a_whole_output_counts_as_done(folder, tmp_path, thing):
    shutil.copy(folder / "a.fits", tmp_path / "whole")
    THINGS[thing](tmp_path / "a_sr.fits")
    fields = list_fields(folder / "[ab].fits")
    before = identity(tmp_path / "a_sr.fits")
    summary = enhance_batch(Copier(), fields, tmp_path, resume=True)
    assert list(summary["status"]) == ["failed", "done"]
    assert "is not a complete output; remove it" in summary["reason"][0]
    assert identity(tmp_path / "a_sr.fits") == before
    if thing in ("notes", "cut"):
        summary = enhance_batch(Copier(), fields, tmp_path, resume=True, overwrite=True)
        assert list(summary["status"]) == ["done", "skipped"]


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")
@pytest.mark.parametrize("thing", THINGS)
def test_a_summary_that_is_none_is_told_before_the_work(folder, tmp_path, thing):
    (tmp_path / "whole").write_bytes(b"a,b\n1,2\n")
    THINGS[thing](tmp_path / "summary.ecsv")
    enhancer, before = Copier(), identity(tmp_path / "summary.ecsv")
    with pytest.raises(OSError, match=r"summary\.ecsv is (a folder|a device|not the summary)"):
        enhance_batch(enhancer, list_fields(folder / "a.fits*"), tmp_path)
    assert enhancer.seen == []
    assert identity(tmp_path / "summary.ecsv") == before


def test_the_file_of_many_parts_is_read_once(folder, tmp_path, monkeypatch):
    calls = []

    def counted(*args, **kwargs):
        calls.append(args)
        return read_bands(*args, **kwargs)

    monkeypatch.setattr("splus_srgan.enhance.batch_list.read_bands", counted)
    center = read_bands(folder / "a.fits")["r"].wcs.pixel_to_world(20, 20)
    names = [f"n{k}" for k in range(5)]
    table = Table({"name": names, "ra": 5 * [center.ra.deg], "dec": 5 * [center.dec.deg]})
    table["size"] = 16
    enhance_batch(Copier(), list_fields(table, files=[folder / "a.fits"]), tmp_path)
    assert len(calls) == 1


def test_a_full_disk_is_no_fault_of_a_field(folder, tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        enhance_batch(Copier(full), list_fields(folder), tmp_path)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"file": ["a.fits"]}, "must have the columns name; it has file"),
        ({"name": ["a"]}, "must have the columns file, or one per band"),
        ({"name": ["a", "a"], "file": ["a", "b"]}, "names of their own; twice there: a"),
        ({"name": ["a"], "file": ["x"], "ra": [1.0]}, "must have the columns dec, size"),
        ({"name": ["../a/.."], "file": ["x"]}, "name must begin with"),
    ],
)
def test_tables_that_are_none(table, message):
    with pytest.raises(ValueError, match=message):
        list_fields(Table(table))


def test_sources_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError, match="give a table, a folder or a pattern"):
        list_fields(tmp_path / "gone.ecsv")
    with pytest.raises(ValueError, match="at least one field; got none"):
        list_fields(tmp_path)
    (tmp_path / "list.ecsv").write_text("nothing of the kind")
    with pytest.raises(OSError, match="cannot be read as a table"):
        list_fields(tmp_path / "list.ecsv")


def test_columns_of_bands_may_be_spelled_as_headers_do():
    table = Table({"name": ["a"], "g": ["g.fits"], "F660": ["h.fits"], "I": ["i.fits"]})
    (field,) = list_fields(table)
    assert field.paths == {"g": "g.fits", "J0660": "h.fits", "i": "i.fits"}
    table["J0660"] = ["other.fits"]
    with pytest.raises(ValueError, match="one column per band; got 'F660' and 'J0660' for J0660"):
        list_fields(table)


def test_outputs_in_the_folder_of_the_inputs_are_no_fields(folder, tmp_path):
    for name in ("a.fits", "b.fits.fz", "a_sr.fits", "lone_sr.fits"):
        (tmp_path / name).write_bytes(b"")
    assert [field.name for field in list_fields(tmp_path)] == ["a", "b", "lone_sr"]


@pytest.mark.parametrize("kind", [Table, QTable])
def test_positions_and_sizes_have_their_units(kind, tmp_path):
    columns = {"name": ["a"], "file": ["a.fits"], "ra": [10.5] * u.hourangle}
    table = kind(columns | {"dec": [-1800.0] * u.arcmin, "size": [64] * u.pix})
    table.write(tmp_path / "list.ecsv")
    for source in (table, tmp_path / "list.ecsv"):
        (field,) = list_fields(source)
        np.testing.assert_allclose([field.center.ra.deg, field.center.dec.deg], [157.5, -30])
        assert field.size == 64
    for size in ([64] * u.arcsec, [64.5], ["many"]):
        table["size"] = size
        (field,) = list_fields(table)
        assert re.match("ra and dec must be degrees, or .* size must", field.fault)


def test_a_folder_may_lie_at_home(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    summary = enhance_batch(Copier(), list_fields(folder / "a.fits*"), "~/out")
    assert list(summary["status"]) == ["done"]
    assert (tmp_path / "out" / "a_sr.fits").exists()


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.SplusSrganWarning")
def test_a_batch_leaves_the_filters_of_warnings_alone(tmp_path):
    """The next field is read in a thread, and each of the two threads has filters of its own."""
    image = simulate_field(0, shape=(40, 48), bands=("r",), kind="stars").observed
    for k in range(6):
        write_bands(tmp_path / f"{k}.fits", image)
    enhancer = SRGANEnhancer("splus-any", engine="torch", device="cpu")
    enhancer(image)  # torch sets filters of its own as it is imported
    before = list(warnings.filters)
    summary = enhance_batch(enhancer, list_fields(tmp_path), tmp_path / "out")
    assert set(summary["status"]) == {"done"}
    assert list(warnings.filters) == before


def test_warnings_name_their_field(folder, tmp_path, monkeypatch):
    """Whether of the field that is enhanced, or of the next one, which is read meanwhile."""

    class Warns(Copier):
        def to_file(self, images, path, *, overwrite):
            warnings.warn("is enhanced", FallbackWarning, stacklevel=2)
            # A file that is written changes filters, which belong to the whole process.
            assert is_read.wait(20)
            super().to_file(images, path, overwrite=overwrite)

    def read(self, field):
        warnings.warn("is read", UserWarning, stacklevel=2)
        images = original(self, field)
        if field.name == "b":
            is_read.set()
        return images

    is_read = threading.Event()
    original, shown = FieldReader.read, warnings.showwarning
    monkeypatch.setattr(FieldReader, "read", read)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        enhance_batch(Warns(), list_fields(folder / "[ab].fits"), tmp_path)
        warnings.warn("afterwards", UserWarning, stacklevel=1)
    # Not those of files that another test left open.
    ours = [one for one in caught if issubclass(one.category, UserWarning)]
    told = sorted((str(one.message), one.category) for one in ours)
    assert told == [
        *(("a: is enhanced", FallbackWarning), ("a: is read", UserWarning)),
        ("afterwards", UserWarning),
        *(("b: is enhanced", FallbackWarning), ("b: is read", UserWarning)),
    ]
    assert warnings.showwarning is shown


def test_files_beside_a_folder_are_refused(folder):
    with pytest.raises(ValueError, match=r"files are what the parts .* got \['x.fits'\]"):
        list_fields(folder, files=["x.fits"])
