# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Nothing is replaced or removed that is not a pair of ours; records are checked when read."""

import copy
import hashlib
import json
import os
import resource
from pathlib import Path

import pytest
from astropy.coordinates import SkyCoord
from astropy.table import QTable, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pair_helpers import as_matched, copy_pair, simulated

from splus_srgan.images.io.fields import write_bands
from splus_srgan.pairs.folder import staging
from splus_srgan.pairs.folder.pairs import PairFolder, fetch_pairs, match_files
from splus_srgan.pairs.folder.schema import check_record, sealed
from splus_srgan.pairs.folder.staging import list_positions
from splus_srgan.pairs.quality.pair import BandQuality, PairReport
from splus_srgan.utils.files import check_name, safe_name

SHAPE = (40, 40)
GOOD = PairReport({"r": BandQuality(shift_y=0.01, sources=3)})


def contents(folder):
    """Every path below a folder, with the content of files and the aim of links."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        key = str(path.relative_to(folder))
        found[key] = os.readlink(path) if path.is_symlink() else None
        if path.is_file():
            found[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def files(tmp_path):
    """Two files of a field in a folder of their own."""
    first, second = simulated(2, shape=SHAPE)
    (tmp_path / "in").mkdir()
    write_bands(tmp_path / "in" / "input.fits", first)
    write_bands(tmp_path / "in" / "target.fits", second)
    return tmp_path / "in" / "input.fits", tmp_path / "in" / "target.fits"


def add(folder, name="mine", **options):
    pairs = PairFolder(folder, create=True)
    position = SkyCoord(11.0, 0.5, unit="deg")
    pairs.add(name, as_matched(*simulated(1, shape=SHAPE)), GOOD, position=position, **options)
    pairs.write_index()
    return pairs


def fetch(folder, name, **options):
    def source(side):
        return lambda position: copy_pair(*simulated(1, shape=SHAPE))[side]

    table = Table({"name": [name], "ra": [11.0], "dec": [0.5]})
    sources = {"input_source": source(0), "target_source": source(1)}
    return fetch_pairs(table, folder, match=as_matched, **sources | options)


# Data loss


def a_folder(place):
    place.mkdir()
    (place / "chapter1.tex").write_text("precious")


def a_folder_with_a_json(place):
    a_folder(place)
    (place / "record.json").write_text(json.dumps({"name": "thesis", "songs": []}))


def an_empty_folder(place):
    place.mkdir()


def a_file(place):
    place.write_text("precious")


def a_link(place):
    (place.parent.parent / "elsewhere").mkdir()
    (place.parent.parent / "elsewhere" / "precious").write_text("precious")
    place.symlink_to(place.parent.parent / "elsewhere")


def a_torn_record(place):
    place.mkdir()
    (place / "record.json").write_text('{"name": "thesis", "verd')


def a_pair_of_another_name(place):
    add(place.parent / ".hidden", "other")
    (place.parent / ".hidden" / "other").rename(place)


def a_pair_with_notes(place):
    add(place.parent, place.name)
    (place / "notes.txt").write_text("precious")


THINGS = [
    a_folder,
    a_folder_with_a_json,
    an_empty_folder,
    a_file,
    a_link,
    a_torn_record,
    a_pair_of_another_name,
    a_pair_with_notes,
]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("thing", THINGS)
def test_match_replaces_nothing_but_pairs(tmp_path, files, thing, overwrite):
    folder = tmp_path / "out"
    folder.mkdir()
    thing(folder / "thesis")
    before = contents(tmp_path)
    with pytest.raises((FileExistsError, ValueError)):
        match_files(*files, folder, name="thesis", match=as_matched, overwrite=overwrite)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("thing", THINGS)
def test_fetch_replaces_nothing_but_pairs(tmp_path, thing):
    folder = tmp_path / "out"
    folder.mkdir()
    thing(folder / "thesis")
    if thing is a_pair_with_notes:
        (folder / "thesis" / "target.fits").unlink()  # so that it would be made again
    before = contents(tmp_path)
    with pytest.raises((FileExistsError, ValueError)):
        fetch(folder, "thesis")
    after = contents(tmp_path)
    after.pop("out/settings.json", None)
    after.pop("out/index.ecsv", None)
    before.pop("out/index.ecsv", None)
    assert after == before


def test_the_folder_of_the_files_themselves_is_refused(tmp_path, files):
    """The default name may be that of the folder which the files lie in."""
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="is a folder that is not a pair"):
        match_files(*files, tmp_path, name="in", match=as_matched, overwrite=True)
    assert contents(tmp_path) == before


def test_a_pair_is_not_replaced_by_one_made_of_its_files(tmp_path):
    place = add(tmp_path).path / "mine"
    before = contents(tmp_path)
    sides = place / "input.fits", place / "target.fits"
    with pytest.raises(FileExistsError, match=r"would be replaced by the pair made of it"):
        match_files(*sides, tmp_path, name="mine", match=as_matched, overwrite=True)
    assert contents(tmp_path) == before


def test_a_pair_is_replaced_where_that_was_asked_for(tmp_path, files):
    add(tmp_path / "out")
    with pytest.raises(FileExistsError, match="has a pair 'mine'"):
        match_files(*files, tmp_path / "out", name="mine", match=as_matched)
    match_files(*files, tmp_path / "out", name="mine", match=as_matched, overwrite=True)
    assert PairFolder(tmp_path / "out").names == ("mine",)
    assert sorted(os.listdir(tmp_path / "out")) == ["index.ecsv", "mine"]


def test_the_old_pair_stays_where_the_new_one_cannot_come(tmp_path, monkeypatch):
    pairs = add(tmp_path)
    before = contents(tmp_path / "mine")
    rename = Path.rename

    def fail(self, target):
        if self.name == "pair":
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="Input/output"):
        pairs.add_failure("mine", "because", overwrite=True)
    assert contents(tmp_path / "mine") == before


@pytest.mark.parametrize("name", ["index.ecsv", "settings.json"])
def test_pipes_are_neither_waited_for_nor_replaced(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises((FileExistsError, ValueError), match=r"not an index|must be a file"):
        fetch(tmp_path, "new")
    assert (tmp_path / name).is_fifo()


@pytest.mark.parametrize("name", ["index.ecsv", "contact_sheet.png", "settings.json"])
def test_files_that_are_not_ours_stay(tmp_path, files, name):
    (tmp_path / name).write_text("precious")
    before = contents(tmp_path)
    if name == "contact_sheet.png":
        match_files(*files, tmp_path, name="new", match=as_matched)
        with pytest.raises(FileExistsError, match="exists; pass overwrite"):
            PairFolder(tmp_path).contact_sheet()
    elif name == "index.ecsv":
        with pytest.raises(FileExistsError, match="is not an index of pairs"):
            match_files(*files, tmp_path, name="new", match=as_matched)
        assert contents(tmp_path) == before
    else:
        with pytest.raises(ValueError, match="cannot be read as JSON"):
            fetch(tmp_path, "new")
    assert (tmp_path / name).read_text() == "precious"


def test_our_own_index_and_sheet_are_replaced(tmp_path):
    add(tmp_path).contact_sheet()
    pairs = add(tmp_path, "more")
    pairs.contact_sheet()
    assert list(QTable.read(tmp_path / "index.ecsv")["name"]) == ["mine", "more"]


def test_a_sheet_elsewhere_is_replaced_on_request_alone(tmp_path):
    pairs = add(tmp_path / "out")
    (tmp_path / "mine.png").write_text("precious")
    with pytest.raises(FileExistsError):
        pairs.contact_sheet(tmp_path / "mine.png")
    assert (tmp_path / "mine.png").read_text() == "precious"
    pairs.contact_sheet(tmp_path / "mine.png", overwrite=True)
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(FileExistsError, match="no regular file"):
        pairs.contact_sheet(tmp_path / "fifo.png", overwrite=True)


def test_what_is_unfinished_is_removed_by_name(tmp_path):
    """Files that a pair does not have stay in the folder of what is unfinished."""
    staged = tmp_path / ".unfinished" / "one"
    staged.mkdir(parents=True)
    (staged / "diary.txt").write_text("precious")
    (tmp_path / ".unfinished" / "more.txt").write_text("precious")
    fetch(tmp_path, "one")
    assert sorted(contents(tmp_path / ".unfinished")) == ["more.txt", "one", "one/diary.txt"]


def test_a_link_in_the_place_of_what_is_unfinished_is_not_followed(tmp_path):
    (tmp_path / "elsewhere" / "one" / "pair").mkdir(parents=True)
    (tmp_path / "elsewhere" / "one" / "pair" / "input.fits").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".unfinished").symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match="is not a folder"):
        fetch(tmp_path / "out", "one")
    assert contents(tmp_path) == before


# Names as paths

BAD_NAMES = ["", ".", "..", "../up", "a/b", "a\\b", "/abs", ".hidden", "-o", "a\0b", "a\n", "x."]
BAD_NAMES += ["ä", "CON", "nul.fits", "a" * 300, "index.ecsv", "settings.json"]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_names_that_are_paths_are_refused_before_the_work(tmp_path, files, name):
    def never(*sides):
        raise AssertionError("the work was done")

    with pytest.raises(ValueError, match="name must"):
        match_files(*files, tmp_path / "out", name=name, match=never)
    with pytest.raises(ValueError, match="name must"):
        PairFolder(tmp_path / "b", create=True).add_failure(name, "because")
    assert sorted(os.listdir(tmp_path)) == ["b", "in"]
    assert os.listdir(tmp_path / "b") == []


@pytest.mark.parametrize("name", ["index.ecsv", "Settings.json", "contact_sheet.png", "nul", ".a"])
def test_names_of_a_table_are_refused_before_anything_is_written(tmp_path, name):
    with pytest.raises(ValueError, match="name must"):
        list_positions(Table({"name": ["good", name], "ra": [10, 20], "dec": [0, 0]}))


@given(st.text(max_size=40))
def test_safe_names_stay_in_their_folder(text):
    try:
        name = safe_name(text)
    except ValueError:
        return
    assert check_name(name) == name
    assert Path("folder", name).resolve().parent == Path("folder").resolve()


# The machine's fault is never the pair's


def chained(error):
    try:
        try:
            raise error
        except OSError as cause:
            raise OSError("input.fits could not be written") from cause
    except OSError as outer:
        return outer


MACHINE = [
    OSError(28, "No space left on device"),
    OSError(122, "Disk quota exceeded"),
    OSError(24, "Too many open files"),
    OSError(5, "Input/output error"),
    OSError("Not enough space on disk: requested 4, available 0. "),
    chained(OSError(28, "No space left on device")),
    MemoryError(),
    ImportError("no pyvo"),
]


@pytest.mark.parametrize("error", MACHINE, ids=str)
@pytest.mark.parametrize("where", ["source", "stage", "match"])
def test_the_fault_of_the_machine_is_not_recorded_as_the_pairs(tmp_path, monkeypatch, error, where):
    def fail(*args, **kwargs):
        raise error

    options = {"input_source": fail} if where == "source" else {}
    options |= {"match": fail} if where == "match" else {}
    if where == "stage":
        monkeypatch.setattr(staging, "write_bands", fail)
    table = Table({"name": ["one"], "ra": [11.0], "dec": [0.5]})
    source = {side: lambda position: simulated(1, shape=SHAPE)[0] for side in ("input", "target")}
    sources = {f"{side}_source": get for side, get in source.items()}
    with pytest.raises(type(error)):
        fetch_pairs(table, tmp_path, **{"match": as_matched} | sources | options)
    monkeypatch.undo()
    assert PairFolder(tmp_path, create=True).names == ()
    assert fetch(tmp_path, "one").names == ("one",)


def test_a_disk_that_takes_no_more_stops_the_call(tmp_path):
    """The limit of the process on the size of files does what a full disk does."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match=r"large|space"):
            fetch(tmp_path, "one")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    pairs = fetch(tmp_path, "one")
    assert list(pairs.index["verdict"]) == ["accept"]


# One schema for records


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("records")
    add(path)
    PairFolder(path, create=True).add_failure("lost", "no image")
    return path


def record_of(folder, name="mine"):
    return json.loads((folder / name / "record.json").read_text())


def places_of(value, path=()):
    """Every place in a record, the entries of its entries included."""
    items = value.items() if isinstance(value, dict) else ()
    items = enumerate(value) if isinstance(value, list) else items
    for key, one in items:
        yield (*path, key)
        yield from places_of(one, (*path, key))


def changed(record, path, value):
    record = copy.deepcopy(record)
    *parents, last = path
    inner = record
    for key in parents:
        inner = inner[key]
    if value is KeyError:
        del inner[last]
    else:
        inner[last] = value
    return record


WRONG = [KeyError, None, True, -1, 1e308, "", "x", [], {}, [[]], {"a": 1}, 10**400, "../../up"]


@pytest.mark.parametrize("name", ["mine", "lost"])
def test_every_change_of_a_record_is_noticed(folder, name):
    record = record_of(folder, name)
    assert check_record(record, name) is record
    tried = 0
    for path in places_of(record):
        for value in WRONG:
            one = changed(record, path, value)
            if one != record:
                tried += 1
                with pytest.raises(ValueError, match=r"must be|must begin|lacks|unknown|must have"):
                    check_record(one, name)
    assert tried > (300 if name == "mine" else 50)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("verdict",), "maybe"),
        (("verdict",), ["accept"]),
        (("verdict",), "reject"),
        (("verdict",), "failed"),
        (("name",), "other"),
        (("name",), "../mine"),
        (("ra",), 400.0),
        (("dec",), None),
        (("shape",), [40]),
        (("shape",), [40, 0]),
        (("shape",), [40, 40.0]),
        (("sha256",), KeyError),
        (("sha256", "input"), KeyError),
        (("sha256", "input"), "0"),
        (("sha256", "../../x"), "0" * 64),
        (("bands",), {}),
        (("bands", "r", "trail"), KeyError),
        (("bands", "r", "sources"), 1.5),
        (("bands", "r", "shift_y"), "0"),
        (("reasons",), "text"),
        (("format",), 1),
        (("more",), 1),
    ],
)
def test_a_wrong_record_is_refused_though_it_is_sealed(folder, path, value):
    """The schema holds by itself, also for who makes a record with another program."""
    with pytest.raises(ValueError, match=r"must be|must begin|lacks|unknown"):
        check_record(sealed(changed(record_of(folder), path, value)), "mine")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 2000), st.integers(0, 40))
def test_damaged_files_of_records_are_named(folder, tmp_path, new, start, length):
    text = (folder / "mine" / "record.json").read_bytes()
    damaged = text[:start] + new + text[start + length :]
    place = tmp_path / "mine"
    place.mkdir(exist_ok=True)
    (place / "record.json").write_bytes(damaged)
    if damaged == text:
        assert PairFolder(tmp_path).names == ("mine",)
        return
    with pytest.raises(ValueError, match=r"mine.record\.json (is not|cannot|must)"):
        PairFolder(tmp_path)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "[]", "3", "null", "", '{"ra": NaN}', " " * (1 << 23), "\ud800"]
)
def test_files_that_are_no_record_are_named(folder, tmp_path, text):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "record.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ValueError, match=r"mine.record\.json"):
        PairFolder(tmp_path)


def test_a_record_that_is_no_regular_file_is_not_waited_for(tmp_path):
    (tmp_path / "mine").mkdir()
    os.mkfifo(tmp_path / "mine" / "record.json")
    with pytest.raises(ValueError, match="must be a file of at most"):
        PairFolder(tmp_path)
