# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Files that are whole or absent, and as private as what they replace."""

import errno
import os
import re
import socket
import stat
from pathlib import Path

import pytest

from splus_srgan.utils.files import (
    UNFINISHED,
    atomic_path,
    check_not_read,
    check_target,
    replace_file,
)

posix = pytest.mark.skipif(os.name != "posix", reason="modes, pipes and links are of POSIX")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("content", ["λ\n", b"\x00\xff"])
def test_content_takes_its_place(tmp_path, content):
    path = tmp_path / "file.txt"
    replace_file(path, content, overwrite=False)
    assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
    assert os.listdir(tmp_path) == ["file.txt"]


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt, SystemExit, ValueError("x"), OSError(errno.ENOSPC, "No space")]
)
@pytest.mark.parametrize("old", [None, "old"])
def test_nothing_is_left_behind_and_the_old_file_stays(tmp_path, error, old):
    path = tmp_path / "file.txt"
    if old:
        path.write_text(old)
    kind = error if isinstance(error, type) else type(error)

    def interrupted():
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(kind):
        interrupted()
    assert os.listdir(tmp_path) == (["file.txt"] if old else [])
    assert not old or path.read_text() == old


def test_full_disk_is_told_with_its_number(tmp_path):
    with (
        pytest.raises(OSError, match=r"file.txt could not be written \(No space\)") as caught,
        atomic_path(tmp_path / "file.txt"),
    ):
        raise OSError(errno.ENOSPC, "No space")
    assert caught.value.errno == errno.ENOSPC


def test_existing_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(FileExistsError, match="pass overwrite=True"), atomic_path(path):
        pytest.fail("nothing must be written")
    replace_file(path, "new")
    assert path.read_text() == "new"


def test_file_that_came_meanwhile_is_kept(tmp_path):
    path = tmp_path / "file.txt"

    def beaten():
        with atomic_path(path) as temporary:
            temporary.write_text("mine")
            path.write_text("theirs")

    with pytest.raises(FileExistsError):
        beaten()
    assert path.read_text() == "theirs"
    assert os.listdir(tmp_path) == ["file.txt"]


@posix
@pytest.mark.parametrize("old", [0o600, 0o640, 0o644, 0o400])
def test_file_is_never_more_open_than_the_one_it_replaces(tmp_path, old):
    path = tmp_path / "file.txt"
    path.write_text("old")
    path.chmod(old)
    with atomic_path(path, overwrite=True) as temporary:
        assert mode(temporary) & ~old & ~stat.S_IWUSR == 0
        temporary.write_text("new")
    assert mode(path) == old


@posix
def test_new_file_has_the_mode_of_any_new_file(tmp_path):
    replace_file(tmp_path / "one", "")
    (tmp_path / "two").write_text("")
    assert mode(tmp_path / "one") == mode(tmp_path / "two")


@posix
def test_link_as_target_is_followed_and_stays(tmp_path):
    (tmp_path / "there").mkdir()
    real, link = tmp_path / "there" / "file.txt", tmp_path / "link.txt"
    real.write_text("old")
    link.symlink_to(real)
    replace_file(link, "new")
    assert link.is_symlink()
    assert real.read_text() == "new"
    assert os.listdir(real.parent) == ["file.txt"]


@posix
def test_planted_link_is_not_followed(tmp_path, monkeypatch):
    """Not even where somebody knows the name of the temporary file."""
    victim = tmp_path / "victim"
    victim.write_text("precious")

    class Known:
        hex = "0"

    monkeypatch.setattr("splus_srgan.utils.files.uuid.uuid4", Known)
    (tmp_path / ".file.txt.0.txt").symlink_to(victim)
    with pytest.raises(FileExistsError):
        replace_file(tmp_path / "file.txt", "x")
    assert victim.read_text() == "precious"


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_what_is_no_regular_file_is_refused(tmp_path, overwrite):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(tmp_path)  # names of sockets are short
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
        for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/null")):
            with pytest.raises(OSError, match="is a device, a pipe or a socket"):
                check_target(path, overwrite=overwrite)
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path, "x", overwrite=overwrite)
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        replace_file(tmp_path / "no" / "file.txt", "x", overwrite=overwrite)
    assert (tmp_path / "pipe").is_fifo()


@posix
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_that_leads_back_to_itself_is_refused_before_the_work(tmp_path, overwrite):
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(OSError, match="a is a link that leads back to itself"):
        check_target(tmp_path / "a", overwrite=overwrite)
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]


@posix
def test_no_file_is_made_of_itself(tmp_path):
    read, folder = tmp_path / "in.fits", tmp_path / "folder"
    read.write_text("x")
    folder.mkdir()
    (tmp_path / "soft").symlink_to("in.fits")
    (tmp_path / "hard").hardlink_to(read)
    for name in ("in.fits", "folder/../in.fits", "soft", "hard"):
        with pytest.raises(ValueError, match=r"must not be a file that is read; it is .*in.fits"):
            check_not_read([tmp_path / "new", tmp_path / name], ["gone", read, "http://x/y"])
    check_not_read([tmp_path / "new"], [read])


def test_endings_stay(tmp_path):
    for name, ending in (("a.fits.gz", ".fits.gz"), ("a.png", ".png"), ("a.v2.json", ".json")):
        with atomic_path(tmp_path / name) as temporary:
            assert temporary.name.endswith(ending)
            assert re.fullmatch(UNFINISHED, temporary.name)
            assert temporary.stat().st_size == 0


def test_long_names(tmp_path):
    name = "x" * 240 + ".fits"
    replace_file(tmp_path / name, "x")
    assert os.listdir(tmp_path) == [name]
