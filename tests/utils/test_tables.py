# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Tables that somebody gives: read as they are, or refused in a line, whatever they hold."""

import bz2
import gzip
import os

import pytest

from splus_srgan.surveys.zero_points import ZeroPointTable
from splus_srgan.utils import tables
from splus_srgan.utils.files import check_not_read
from splus_srgan.utils.tables import read_table

HEAD = "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: a, datatype: string}\n"
HOSTILE = {
    "columns.ecsv": HEAD + "# meta: !!omap\n# - __serialized_columns__:\n#     a: {x: 1}\na\n1\n",
    "python.ecsv": HEAD + "# meta: !!python/object/apply:os.getcwd []\na\n1\n",
    "deep.ecsv": HEAD + "# meta: " + "[" * 3000 + "]" * 3000 + "\na\n1\n",
    "type.ecsv": HEAD.replace("string", "evil") + "a\n1\n",
    "empty.qdp": "! x",
    "ragged.csv": "a,b\n1\n2,3,4\n",
    "zero.csv": "name,file\na,x\0y\nb,z\n",
    "text.vot": "<VOTABLE><RESOURCE>",
    "page.html": "<html>no table</html>",
    "fits.fits": "SIMPLE  =                    T",
    "nothing.xyz": "?",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_table_is_refused_in_a_line(tmp_path, name):
    (tmp_path / name).write_text(HOSTILE[name])
    with pytest.raises(OSError, match=f"{name} cannot be read") as caught:
        read_table(tmp_path / name)
    assert len(str(caught.value)) < 500


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")
@pytest.mark.parametrize("read", [read_table, ZeroPointTable.read])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "gone"])
def test_what_is_no_regular_file_is_not_waited_for(tmp_path, read, kind):
    path = tmp_path / "list.csv"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(OSError, match=r"list\.csv (is a (device|folder)|does not exist)"):
        read(path)


@pytest.mark.parametrize("read", [read_table, ZeroPointTable.read])
@pytest.mark.parametrize(
    ("ending", "pack"), [("", bytes), (".gz", gzip.compress), (".bz2", bz2.compress)]
)
def test_small_files_that_unfold_without_end_are_refused(tmp_path, monkeypatch, read, ending, pack):
    monkeypatch.setattr(tables, "_LARGEST", 1 << 16)
    path = tmp_path / f"list.csv{ending}"
    path.write_bytes(pack(b"a,b\n" + b"1,2\n" * (1 << 15)))
    with pytest.raises(OSError, match="must have at most 65536 bytes, unfolded"):
        read(path)


def test_a_table_may_lie_at_home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / "list.csv").write_text("a,b\n1,2\n")
    assert read_table("~/list.csv").colnames == ["a", "b"]


def test_the_home_of_an_unknown_user_is_no_fault():
    with pytest.raises(FileNotFoundError, match="does not exist; give a table"):
        read_table("~no-such-user/a.csv")
    check_not_read(["~no-such-user/a.fits"], ["~no-such-user/a.fits"])
