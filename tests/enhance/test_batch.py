# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Many fields: what is listed, what is done, and what becomes of those that fail."""

import errno
import os

import numpy as np
import pytest
from astropy.table import Table

from splus_srgan import simulate_field
from splus_srgan.enhance.batch import enhance_batch
from splus_srgan.enhance.batch_list import list_fields
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
        ({"name": ["a"], "file": ["x"], "ra": ["?"], "dec": [0], "size": [9]}, "must be numbers"),
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
