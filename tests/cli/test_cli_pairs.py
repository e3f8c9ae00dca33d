# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""``splus-srgan fetch`` and ``match`` from end to end, against servers that replay the services."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from astropy.config import set_temp_cache
from astropy.nddata import CCDData
from astropy.table import QTable, Table
from pair_helpers import simulated
from replay import LegacyReplay, Sky, Source
from replay_splus import ZERO_POINT, SplusReplay, Tile

from splus_srgan.cli.main import main
from splus_srgan.exceptions import ServiceError
from splus_srgan.images.io.fields import write_bands
from splus_srgan.pairs.folder.pairs import PairFolder

BANDS = ["r"]
SIZE = 48
CENTERS = {  # one lies outside of the survey
    "NGC_1": (27.60, 0.10),
    "NGC_2": (27.70, -0.20),
    "NGC_3": (27.50, 0.30),
    "NGC_4": (27.40, -0.10),
    "NGC_5": (35.00, 0.00),
    "NGC_6": (27.80, 0.20),
}
VARIABLE = "NGC_4"


def make_skies():
    """A galaxy and some stars around each position; in one place, a star that S-PLUS alone saw."""
    rng = np.random.default_rng(8)
    sources, new = [], []
    for name, (ra, dec) in CENTERS.items():
        sources.append(Source(ra, dec, {"g": 20.0, "r": 40.0}, 2.5))
        for _ in range(10):
            dx, dy = rng.uniform(-12, 12, 2) / 3600
            flux = rng.uniform(8, 30)
            sources.append(Source(ra + dx, dec + dy, {"g": 0.7 * flux, "r": flux}))
        if name == VARIABLE:
            new.append(Source(ra + 8 / 3600, dec - 9 / 3600, {"g": 30.0, "r": 30.0}))
    legacy = Sky(sources)
    return replace(legacy, sources=sources + new), legacy


@pytest.fixture
def services(replay_server):
    """Both services on one server, each with its log of requests."""
    splus_sky, legacy_sky = make_skies()
    splus = SplusReplay(replay_server, splus_sky, [Tile("STRIPE82-0059", 27.6, 0.0)])
    legacy = LegacyReplay(replay_server, legacy_sky)
    yield splus, legacy
    for service in (splus, legacy):
        service.over.set()
    replay_server.check_handler_errors()


@pytest.fixture
def arguments(services, tmp_path):
    """The command line but for the folder."""
    splus, legacy = services
    ra, dec = np.transpose(list(CENTERS.values()))
    table = Table({"name": list(CENTERS), "ra": ra, "dec": dec})
    table.write(tmp_path / "galaxies.ecsv")
    zero_points = {"Field": ["STRIPE82-0059"]}
    zero_points |= {f"ZP_{band}": [ZERO_POINT[band.upper()]] for band in BANDS}
    Table(zero_points).write(tmp_path / "zero_points.csv", format="ascii.csv")
    return [
        "fetch", str(tmp_path / "galaxies.ecsv"), "--bands", *BANDS, "--size", str(SIZE),
        "--splus-service", splus.url, "--legacy-service", legacy.url,
        "--zero-points", str(tmp_path / "zero_points.csv"),
    ]  # fmt: skip


def requests_of(services):
    return Counter(request for service in services for request in service.requests)


CHILD = """
import sys
from astropy.config import set_temp_cache
from splus_srgan.cli.main import main
with set_temp_cache(sys.argv[1]):
    sys.exit(main(sys.argv[2:]))
"""


def start(cache, arguments):
    cache.mkdir(exist_ok=True)
    command = [sys.executable, "-c", CHILD, str(cache), *arguments]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL)


def kill_at_request(service, count, how, cache, arguments):
    """Run until a service gets a request of that number, let it hang, and kill the program."""
    service.failures.extend([None] * (count - len(service.requests) - 1) + [how])
    process = start(cache, arguments)
    try:
        deadline = time.monotonic() + 240
        while len(service.requests) < count:
            assert process.poll() is None, "it ended by itself"
            assert time.monotonic() < deadline
            time.sleep(0.02)
        time.sleep(0.1)  # half of the answer is on its way
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(60) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait(60)
    return service.requests[count - 1]


def files_of(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_fetch_is_killed_goes_on_and_gives_the_same_index(services, arguments, tmp_path):
    """Six galaxies from both services; nothing that had come is asked for again."""
    splus, legacy = services
    whole, broken, cache = (tmp_path / name for name in ("whole", "broken", "cache_broken"))
    with set_temp_cache(str(tmp_path / "cache")):
        assert main([*arguments, "-o", str(whole)]) == 3
    wanted = requests_of(services)
    assert set(wanted.values()) == {1}
    # A query and an image per band; the cutout and its PSF; one galaxy is outside of S-PLUS.
    assert len(splus.requests) == 5 * (1 + len(BANDS)) + 1
    assert len(legacy.requests) == 5 * 2
    splus.requests.clear()
    legacy.requests.clear()

    again = [*arguments, "-o", str(broken)]
    # While the image of the second galaxy is on its way, and before the PSF of the third comes.
    hanging = [
        kill_at_request(splus, 4, "stall", cache, again),
        kill_at_request(legacy, 6, "mute", cache, again),
    ]
    assert not (broken / "contact_sheet.png").exists()
    assert start(cache, again).wait(240) == 3
    assert requests_of(services) == wanted + Counter(hanging)

    assert (broken / "index.ecsv").read_bytes() == (whole / "index.ecsv").read_bytes()
    assert files_of(broken) == files_of(whole)
    check_pairs(whole)
    assert main(again) == 3, "once more, with nothing to do"
    assert requests_of(services) == wanted + Counter(hanging)


def check_pairs(path):
    """What the whole way from the services to the index must give."""
    folder = PairFolder(path)
    folder.verify()
    assert list(folder) == ["NGC_1", "NGC_2", "NGC_3", "NGC_6"]
    index = QTable.read(path / "index.ecsv")
    index.add_index("name")
    assert index.loc[VARIABLE]["verdict"] == "reject"
    assert "1 of " in index.loc[VARIABLE]["reasons"]
    outside = index.loc["NGC_5"]
    assert outside["verdict"] == "failed"
    assert "there is no tile with images of r at 35 0" in outside["reasons"]
    good = index[index["verdict"] == "accept"]
    assert set(good["input_release"]) == {"dr1"}
    assert set(good["target_release"]) == {"ls-dr10"}
    # Both skies are the same, and nothing was shifted between them.
    assert np.all(np.abs(good["found_x_r"]) < 4 * good["shift_error_r"])
    assert np.all(np.abs(good["flux_ratio_r"] - 1) < 4 * good["flux_ratio_error_r"])
    first, second = folder["NGC_1"]
    assert first["r"].unit == second["r"].unit == "nmgy"
    assert (first["r"].shape, second["r"].shape) == ((SIZE, SIZE), (2 * SIZE, 2 * SIZE))


def test_failed_galaxy_is_tried_again_on_request(services, arguments, tmp_path, capsys):
    splus, _ = services
    fetch = [*arguments, "-o", str(tmp_path / "pairs"), "--no-sheet"]
    Table.read(tmp_path / "galaxies.ecsv")[:1].write(tmp_path / "galaxies.ecsv", overwrite=True)
    splus.fail("no such collection")
    assert main(fetch) == 3
    assert "NGC_1: failed: the answer is no VOTable" in capsys.readouterr().out
    assert main(fetch) == 3
    assert len(splus.requests) == 1
    assert main([*fetch, "--retry-failed"]) == 0
    assert "1 pairs: 1 accepted, 0 rejected, 0 failed" in capsys.readouterr().out
    assert not (tmp_path / "pairs" / "contact_sheet.png").exists()


def test_fetch_refuses_to_mix_settings(services, arguments, tmp_path, capsys):
    Table.read(tmp_path / "galaxies.ecsv")[4:5].write(tmp_path / "galaxies.ecsv", overwrite=True)
    fetch = [*arguments, "-o", str(tmp_path / "pairs"), "--no-sheet"]
    assert main(fetch) == 3
    assert main([*fetch, "--size", "40"]) == 1
    assert f"size must be {SIZE}, as for the pairs that are in" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "status", "message"),
    [
        (["--zero-points", "nowhere.csv"], 2, "path or URL of a table; got 'nowhere.csv'"),
        (["--bands", "g", "H"], 2, "bands must be among g, r, i, z for layer 'ls-dr10'"),
        (["--size", "16"], 2, "--size must be at least 32; got 16"),
        (["--size", "1414"], 2, "size must be at most 1413 pixels of S-PLUS"),
        (["--zero-points", "service"], 2, "--zero-points must be dr4, a table or none"),
    ],
)
def test_wrong_options_are_told_before_anything_is_fetched(
    services, arguments, tmp_path, capsys, options, status, message
):
    fetch = [*arguments, "-o", str(tmp_path / "pairs")]
    assert main([*fetch, *options]) == status
    error = capsys.readouterr().err
    assert error.startswith("splus-srgan: error: ")
    assert message in error
    assert not requests_of(services)
    assert not (tmp_path / "pairs").exists()


@pytest.mark.parametrize("command", ["fetch", "match"])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "folder of the pairs" in capsys.readouterr().out


def test_other_releases_come_through_the_client(services, arguments, tmp_path, monkeypatch):
    """With an account; the client itself is tested elsewhere."""
    made = []

    class Client:
        def __init__(self, **options):
            made.append(options)

        def fetch(self, position, *, size, bands):
            raise ServiceError("https://splus.cloud", f"no {size} pixels in {bands}")

    monkeypatch.setattr("splus_srgan.surveys.splus_cloud.SplusCloud", Client)
    options = ["-o", str(tmp_path / "pairs"), "--release", "dr5", "--splus-service", "http://x"]
    assert main([*arguments, *options]) == 3
    assert made == [{"release": "dr5", "server": "http://x"}]
    index = PairFolder(tmp_path / "pairs").index
    assert set(index["reasons"]) == {f"no {SIZE} pixels in ('r',); asked https://splus.cloud"}
    assert not requests_of(services)


def test_example_is_the_list_of_the_original_study(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["fetch", "--example", "-o", "elsewhere"]) == 2
    assert "nothing to --output" in capsys.readouterr().err
    assert main(["fetch", "--example"]) == 0
    assert "galaxies.ecsv: 150 galaxies; splus-srgan fetch galaxies" in capsys.readouterr().out
    assert len(Table.read("galaxies.ecsv")) == 150
    assert main(["fetch", "--example"]) == 1
    assert "exists" in capsys.readouterr().err
    assert main(["fetch", "galaxies.ecsv"]) == 2
    assert "fetch needs --output; --example writes a table" in capsys.readouterr().err


def test_missing_table_is_told(capsys, tmp_path):
    assert main(["fetch", str(tmp_path / "gone.ecsv"), "-o", str(tmp_path / "pairs")]) == 1
    assert "gone.ecsv" in capsys.readouterr().err


@pytest.fixture
def files(tmp_path):
    """A field of both surveys in files, the coarser one in ADU."""
    first, second = simulated(5, kind="stars")
    adu = {b: CCDData(i.data * 10 ** (0.4 * 1.5), unit="adu", wcs=i.wcs) for b, i in first.items()}
    write_bands(tmp_path / "splus.fits", adu)
    write_bands(tmp_path / "sharp.fits", second)
    reference = str(tmp_path / "sharp.fits")
    output = str(tmp_path / "pairs")
    return [str(tmp_path / "splus.fits"), "--target", reference, "-o", output, "--keep-psf"]


def test_match_adds_a_pair_to_a_folder(files, tmp_path, capsys):
    assert main(["match", *files, "--zero-points", "r=24"]) == 0
    said = capsys.readouterr().out
    assert "splus: accept" in said
    assert "flux ratio" in said
    assert (tmp_path / "pairs" / "contact_sheet.png").is_file()
    folder = PairFolder(tmp_path / "pairs")
    assert list(folder) == ["splus"]
    assert abs(folder.index["flux_ratio_r"][0] - 1) < 0.03
    assert main(["match", *files, "--zero-points", "r=24"]) == 1
    assert "has a pair 'splus'; --overwrite replaces" in capsys.readouterr().err
    assert main(["match", *files, "--zero-points", "r=24", "--name", "b", "--no-sheet"]) == 0
    assert PairFolder(tmp_path / "pairs").names == ("b", "splus")


def test_match_takes_the_names_of_bands_as_they_are_spelled_elsewhere(files, tmp_path):
    assert main(["match", *files, "--no-sheet", "--zero-points", "R=24"]) == 0
    assert abs(PairFolder(tmp_path / "pairs").index["flux_ratio_r"][0] - 1) < 0.03


@pytest.mark.parametrize("wrong", [["--bands", "g"], ["--target", "gone.fits"]])
def test_match_that_fails_leaves_no_folder(files, tmp_path, wrong):
    assert main(["match", *files, *wrong]) == 1
    assert not (tmp_path / "pairs").exists()


def test_match_without_zero_points_says_so(files, capsys):
    """The flux ratio is then the calibration, and not judged."""
    assert main(["match", *files, "--no-sheet"]) == 0
    assert "adu and nmgy, so their flux ratio is not judged" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["r", "=24", "r=deep"])
def test_match_says_how_to_give_zero_points(files, capsys, text):
    assert main(["match", *files, "--zero-points", text]) == 2
    assert "--zero-points must be like g=23.5 r=23.4; got " in capsys.readouterr().err
