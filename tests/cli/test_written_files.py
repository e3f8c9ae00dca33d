# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Every writer leaves whole files, as private as what they replace, and follows no planted link."""

import os
import stat
from collections import defaultdict

import pytest
from small_weights import save_small

from splus_srgan import SRGANEnhancer, simulate_field, write_bands
from splus_srgan.cli.main import main
from splus_srgan.utils.files import replace_file

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes and links are of POSIX")

OLD = b"old and private"


@pytest.fixture(scope="module")
def field():
    return simulate_field((4, 1), shape=(110, 96), bands=("r",), kind="galaxy").observed


@pytest.fixture(autouse=True)
def in_sections(small_sections):
    """So that the enhanced file is laid out before it is filled."""


def bands(path, field, card, look):
    write_bands(path, field, overwrite=True)


def to_file(path, field, card, look):
    def between(steps, **options):
        for step in steps:
            look()
            yield step

    options = {"device": "cpu", "engine": "torch", "turned": False, "progress_bar": between}
    SRGANEnhancer(card, **options).to_file(field, path, overwrite=True)


def weights(path, field, card, look):
    save_small(path.parent)


def command(path, field, card, look):
    assert main(["simulate", "--shape", "32", "32", "-o", str(path.parent), "--overwrite"]) == 0


def text(path, field, card, look):
    replace_file(path, "new")


WRITERS = {
    "bands.fits": bands,
    "bands.fits.gz": bands,
    "bands.fits.fz": bands,
    "enhanced.fits": to_file,
    "small.safetensors": weights,
    "small.json": weights,
    "input.fits": command,
    "sources.ecsv": command,
    "config.yaml": text,
}


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_no_byte_of_a_private_file_can_be_read_by_others(
    name, write, field, small_weights, tmp_path, monkeypatch
):
    """Looked at between the steps of the work, and when each file is brought to the disk."""
    path, seen, fsync = tmp_path / name, defaultdict(set), os.fsync
    path.write_bytes(OLD)
    path.chmod(0o600)

    def look(handle=None):
        for file in tmp_path.iterdir():
            seen[file.name].add(stat.S_IMODE(file.stat().st_mode))
        return handle is None or fsync(handle)

    monkeypatch.setattr(os, "fsync", look)
    write(path, field, small_weights, look)
    look()
    assert path.read_bytes() != OLD
    modes = {file: found for file, found in seen.items() if name in file}
    assert len(modes) > 1  # also the one beside it
    assert set().union(*modes.values()) == {0o600}


PLANTED = ("{}.part", ".{}.part", "{}.tmp", "{}~", ".{}.unfinished.fits", ".{}.unfinished.json")


@pytest.mark.parametrize(("name", "write"), WRITERS.items(), ids=WRITERS)
def test_planted_links_lead_nowhere(name, write, field, small_weights, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "folder"
    folder.mkdir()
    victim.write_bytes(OLD)
    links = [folder / pattern.format(name) for pattern in PLANTED]
    for link in links:
        link.symlink_to(victim)
    if write is to_file:
        with pytest.raises(OSError, match=r"unfinished\.json is a symbolic link; remove it"):
            write(folder / name, field, small_weights, lambda: None)
        links.pop().unlink()
    write(folder / name, field, small_weights, lambda: None)
    assert victim.read_bytes() == OLD
    assert not (folder / name).is_symlink()
    assert all(link.is_symlink() for link in links[:4])
