# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Weights and their model cards: what is shipped, what is refused, what is downloaded."""

import hashlib
import json
import shutil
import time
import urllib.request

import pytest
import torch
from astropy.utils.data import conf as data_conf
from astropy.utils.data import get_cached_urls
from safetensors.torch import load_file, save_file
from werkzeug import Response

from splus_srgan.exceptions import WeightsError
from splus_srgan.models import weights
from splus_srgan.models.choice import choose_cards, first_stage_of
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import (
    ANY_BAND,
    WeightsCard,
    available,
    load_card,
    load_generator,
    save_weights,
    verify,
)
from splus_srgan.splus import BANDS

ENTRIES = {
    "version": "1.2",
    "pixel_scale": 0.55,
    "stretch": {"softening": 3.0, "range": 2.0},
    "target_psf": {"profile": "Moffat", "fwhm": 1.0, "beta": 3.0},
}


def make_card(folder, name="small", bands=("g", "r"), **entries):
    torch.manual_seed(0)
    generator = SRResNet(len(bands), n_features=4, n_blocks=1)
    torch.nn.init.normal_(generator.last.weight, std=0.1)
    return save_weights(generator, folder, name=name, bands=list(bands), **{**ENTRIES, **entries})


@pytest.fixture
def card(tmp_path):
    return make_card(tmp_path / "weights")


def edit(card, **changes):
    """Change entries of a model card's file; `None` takes one out."""
    path = card.path.with_suffix(".json")
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    return path


# What is shipped


def test_three_bands_and_any_band_are_shipped():
    cards = [load_card(name) for name in available()]
    assert ["g", "r", "z"] in [card.bands for card in cards]
    assert [ANY_BAND] in [card.bands for card in cards]


@pytest.mark.parametrize("name", available())
def test_shipped_cards_hold(name):
    """Their hash is right, their generator can be built, and they say what they must."""
    card = verify(name)
    generator = load_generator(card)
    assert not generator.training
    if card.takes_subsets:
        assert generator.bands == tuple(card.bands) == tuple(BANDS)
        assert [one.name for one in first_stage_of(card)] == list(card.first_stage)
    else:
        assert generator.options["n_bands"] == len(card.bands)
    assert all(torch.isfinite(parameter).all() for parameter in generator.parameters())
    assert card.name == name
    assert card.pixel_scale == 0.55
    assert set(card.stretch) == {"softening", "range"}
    assert {"fwhm", "beta"} <= set(card.target_psf)
    assert card.license
    assert card.path.stat().st_size < 4e6


def test_shipped_weights_state_the_uncertainties_that_were_measured():
    """A coverage in the scores is that of a calibration which is there; `splus` has both."""
    for name in available():
        card = load_card(name)
        assert ("coverage" in card.scores) == ("calibration" in card.uncertainty), name
        assert ("coverage_ensemble" in card.scores) == ("ensemble" in card.uncertainty), name
    assert {"calibration", "ensemble", "few"} <= set(load_card("splus").uncertainty)


def test_shipped_weights_are_small():
    assert sum(load_card(name).path.stat().st_size for name in available()) < 12e6


# Save and load


def test_saved_weights_come_back(card):
    again = load_card(card.path.with_suffix(".json"))
    assert again == card
    torch.manual_seed(0)
    generator = SRResNet(2, n_features=4, n_blocks=1)
    torch.nn.init.normal_(generator.last.weight, std=0.1)
    loaded = load_generator(again).state_dict()
    for key, value in generator.state_dict().items():
        assert torch.equal(loaded[key], value)


def test_card_is_found_by_every_path(card):
    for path in (card.folder, card.path, card.path.with_suffix(".json"), str(card.path)):
        assert load_card(path) == card
    assert load_card(card) is card
    assert isinstance(card, WeightsCard)
    assert "folder" not in card.to_dict()


def test_weights_are_readable_for_all(card):
    assert card.path.stat().st_mode & 0o777 == 0o644


# What is refused


def test_changed_weights_are_refused(card):
    content = bytearray(card.path.read_bytes())
    content[-1] ^= 1
    card.path.write_bytes(content)
    for load in (verify, load_generator):
        with pytest.raises(WeightsError, match=r"has sha256 [0-9a-f]{64}, its model card says"):
            load(card)


def test_missing_weights_are_named(card):
    card.path.unlink()
    with pytest.raises(WeightsError, match=r"small\.safetensors' of model card 'small' is missing"):
        verify(card)


def test_unknown_name_lists_the_shipped_ones():
    with pytest.raises(WeightsError, match=r"one of .*'splus-grz'.*; got 'splus-xyz'"):
        load_card("splus-xyz")


def test_incomplete_card_is_refused(card):
    path = edit(card, stretch=None, sha256=None)
    with pytest.raises(WeightsError, match=r"small\.json' lacks sha256, stretch"):
        load_card(path)


def test_card_with_unknown_entries_is_refused(card):
    path = edit(card, color="red")
    with pytest.raises(WeightsError, match="has unknown entries: color"):
        load_card(path)


@pytest.mark.parametrize("text", ["{", "[]", "5", "\xff"])
def test_broken_card_is_refused(card, text):
    path = card.path.with_suffix(".json")
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(WeightsError, match=r"model card .* is not valid JSON"):
        load_card(path)


@pytest.mark.parametrize("change", [{"n_features": 5}, {"n_blocks": 0}, {"color": 1}])
def test_weights_that_do_not_fit_their_card_are_refused(card, change):
    path = edit(card, generator=card.generator | change)
    with pytest.raises(WeightsError, match="weights 'small' do not fit their model card"):
        load_generator(path)


def test_weights_file_that_is_no_safetensors_is_refused(card):
    """Also where the hash is right: nothing is ever unpickled."""
    import hashlib

    card.path.write_bytes(b"\x80\x04 no tensors here")
    path = edit(card, sha256=hashlib.sha256(card.path.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match="weights 'small' do not fit their model card"):
        load_generator(path)


def test_folder_must_hold_one_card(tmp_path, card):
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"must hold one model card \(\*\.json\); found 0"):
        load_card(tmp_path / "empty")
    shutil.copy(card.path.with_suffix(".json"), card.path.with_name("second.json"))
    with pytest.raises(WeightsError, match="found 2"):
        load_card(card.folder)


# The choice


@pytest.mark.parametrize(
    ("bands", "name", "together"),
    [
        (("g", "r", "z"), "splus-grz", [0, 1, 2]),
        (("z", "g", "r"), "splus-grz", [1, 2, 0]),
        (("gSDSS", "rSDSS", "zSDSS"), "splus-grz", [0, 1, 2]),
        (("z", "VR", "g", "r"), "splus-grz", [2, 3, 0]),
        (("i", "Z", "J0660", "R", "G"), "splus", [0, 1, 2, 3, 4]),
        (("g", "r"), "splus", [0, 1]),
        (("i", "VR", "J0378"), "splus", [0, 2]),
        (("g", "G", "r", "z"), "splus", [2, 3]),
        (tuple(BANDS), "splus", list(range(12))),
        (("r",), None, []),
        (("r", "VR"), None, []),
        (("unknown",), None, []),
    ],
)
def test_auto_restores_bands_of_the_survey_together(bands, name, together):
    chosen = [(card.name, places) for card, places in choose_cards("auto", bands)]
    rest = [k for k in range(len(bands)) if k not in together]
    expected = [(name, together)] if name else []
    assert chosen == expected + ([("splus-any", rest)] if rest else [])


def test_weights_that_are_chosen_together_fit_each_other():
    one, two = (card for card, _ in choose_cards("auto", ("g", "r", "VR")))
    for name in ("pixel_scale", "stretch", "target_psf", "flux_anchor"):
        assert getattr(one, name) == getattr(two, name)


def test_given_weights_must_be_for_these_bands(card):
    assert choose_cards(card, ("R", "G")) == [(card, [1, 0])]
    with pytest.raises(WeightsError, match="weights 'small' need the bands g, r; got g, r, z"):
        choose_cards(card, ("g", "r", "z"))
    with pytest.raises(WeightsError, match="need the bands g, r, z; got r"):
        choose_cards("splus-grz", ("r",))


def test_weights_for_any_band_take_any(tmp_path):
    card = make_card(tmp_path, bands=(ANY_BAND,))
    assert choose_cards(card, ("J0861", "r")) == [(card, [0, 1])]


# Download; the server is on this machine, which pytest-remotedata lets through


@pytest.fixture
def server(request, tmp_path, monkeypatch):
    """A web server, and an empty download cache."""
    pytest.importorskip("pytest_httpserver")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "cache" / "astropy").mkdir(parents=True)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)
    with data_conf.set_temp("remote_timeout", 5):
        yield request.getfixturevalue("httpserver")


def serve(server, card, *, content=None):
    server.expect_request("/small.json").respond_with_data(
        card.path.with_suffix(".json").read_bytes()
    )
    content = card.path.read_bytes() if content is None else content
    server.expect_request("/small.safetensors").respond_with_data(content)
    return server.url_for("/small.json")


def test_url_is_fetched_once(server, card):
    url = serve(server, card)
    fetched = load_card(url)
    assert fetched.to_dict() | {"file": card.file} == card.to_dict()
    assert load_generator(fetched).options == card.generator
    count = len(server.log)
    load_card(url)
    assert len(server.log) == count == 2


def test_cut_off_download_is_refused_and_forgotten(server, card):
    """It does not stay in the cache: once the file is whole, it loads."""
    whole = card.path.read_bytes()
    url = serve(server, card, content=whole[:-100])
    with pytest.raises(WeightsError, match=r"the file was changed or did not arrive whole"):
        load_card(url)
    assert get_cached_urls() == []
    server.clear()
    load_generator(load_card(serve(server, card)))


def test_card_that_is_no_card_is_forgotten(server):
    server.expect_request("/small.json").respond_with_data(b"<html>sign in</html>")
    with pytest.raises(WeightsError, match="is not valid JSON"):
        load_card(server.url_for("/small.json"))
    assert get_cached_urls() == []


def test_url_without_a_card_says_so(server):
    server.expect_request("/small.json").respond_with_data(b"", status=404)
    with pytest.raises(WeightsError, match=r"could not be fetched .* by hand"):
        load_card(server.url_for("/small.json"))


def test_answers_without_end_are_refused(server, card, monkeypatch):
    """Neither a model card nor weights are taken beyond their size, whatever the server says."""
    for part, limits in (("json", "_CARD_LIMITS"), ("safetensors", "_WEIGHTS_LIMITS")):
        server.clear()
        url = server.url_for("/small.json")
        contents = {
            one: card.path.with_suffix(f".{one}").read_bytes() for one in ("json", "safetensors")
        }

        def endless(request):
            return Response((bytes(1 << 16) for _ in range(1000)), direct_passthrough=True)

        for one, content in contents.items():
            expected = server.expect_request(f"/small.{one}")
            if one == part:
                expected.respond_with_handler(endless)
            else:
                expected.respond_with_data(content)
        monkeypatch.setitem(getattr(weights, limits), "largest", 1 << 20)
        with pytest.raises(WeightsError, match="too large: more than 1048576 bytes"):
            load_card(url)
        assert get_cached_urls() == []
        monkeypatch.undo()


def test_a_card_that_drips_ends_at_its_deadline(server, monkeypatch):
    def drip(request):
        def letters():
            for _ in range(100):
                time.sleep(0.05)
                yield b" "

        return Response(letters(), direct_passthrough=True)

    server.expect_request("/small.json").respond_with_handler(drip)
    monkeypatch.setitem(weights._CARD_LIMITS, "deadline", 0.4)
    start = time.monotonic()
    with pytest.raises(WeightsError, match="not complete by the deadline"):
        load_card(server.url_for("/small.json"))
    assert time.monotonic() - start < 4


@pytest.mark.parametrize(
    "url", ["http://me:hunter2@localhost:1/a.json", "http://h/a.json?token=hunter2"]
)
def test_passwords_of_urls_are_in_no_message(url):
    with pytest.raises(WeightsError) as caught:
        load_card(url)
    chain = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert "hunter2" not in "".join(map(str, chain))


@pytest.mark.parametrize("file", ["../up.safetensors", "/etc/passwd", "http://h/x", "a/b"])
def test_a_card_names_a_file_beside_itself(server, card, file):
    content = json.loads(card.path.with_suffix(".json").read_text()) | {"file": file}
    server.expect_request("/small.json").respond_with_data(json.dumps(content))
    with pytest.raises(WeightsError, match="file of the model card must begin with"):
        load_card(server.url_for("/small.json"))
    assert [request.path for request, _ in server.log] == ["/small.json"]


# What a model card says is checked


@pytest.mark.parametrize(
    ("entry", "value", "rule"),
    [
        ("pixel_scale", -1, "above 0"),
        ("pixel_scale", 0, "above 0"),
        ("pixel_scale", "0.55", "above 0"),
        ("pixel_scale", True, "above 0"),
        ("domain", [], "an object"),
        ("domain", {"fwhm": 1.0}, "a pair of numbers"),
        ("domain", {"fwhm": [2.0, 1.0]}, "a pair that rises"),
        ("domain", {"signal": "high"}, "a number"),
        ("stretch", [3.0, 2.0], "an object"),
        ("stretch", {"softening": 3.0}, "softening and range"),
        ("stretch", {"softening": 3.0, "range": 0}, "above 0"),
        ("target_psf", {"fwhm": -1.0, "beta": 3.0}, "above 0"),
        ("target_psf", {"fwhm": 1.0, "beta": 1.0}, "above 1"),
        ("target_psf", None, "an object"),
        ("generator", [], "an object"),
        ("generator", {"n_bands": "two"}, "an integer above 0"),
        ("generator", {"n_bands": 2, "n_features": 10**9}, "an integer of 0 to 10000"),
        ("generator", {"n_bands": 2, "dilations": [[1]]}, "a list of integers"),
        ("bands", "gr", "a list of different names"),
        ("bands", ["g", "g"], "a list of different names"),
        ("bands", [], "a list of different names"),
        ("file", "../small.safetensors", "begin with a letter"),
        ("file", 3, "begin with a letter"),
        ("sha256", "abc", "64 hexadecimal digits"),
        ("name", "", "printable text"),
        ("name", "a\x1b[31m", "printable text"),
        ("version", 1, "printable text"),
        ("flux_anchor", 2, "at most 1"),
        ("flux_anchor", True, "at most 1"),
        ("turned", "yes", "true or false"),
        ("edge_reach", -1, "from 0 to 4096"),
        ("edge_reach", True, "from 0 to 4096"),
        ("edge_reach", 3.5, "from 0 to 4096"),
        ("uncertainty", {"kind": "uniform"}, "one of laplace, gaussian"),
        ("uncertainty", {"calibration": {"signal_to_noise": [1, 0]}}, "rising numbers"),
        ("uncertainty", {"calibration": [1]}, "an object"),
        ("training", "long", "an object"),
        ("license", 3, "text"),
    ],
)
def test_wrong_entries_of_a_model_card_are_named(card, entry, value, rule):
    edit(card, **{entry: value if value is not None else []})
    with pytest.raises(WeightsError, match=rf"is wrong: {entry}.* must .*{rule}"):
        load_card(card.path.with_suffix(".json"))


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", '"text"', "1e999", "", "\xff\xfe", "{"])
def test_what_is_no_model_card_is_told(card, text):
    path = card.path.with_suffix(".json")
    path.write_text(text, encoding="latin1")
    with pytest.raises(WeightsError, match="is not valid JSON"):
        load_card(path)


def test_not_a_number_is_no_number(card):
    path = card.path.with_suffix(".json")
    text = path.read_text()
    path.write_text(text.replace('"pixel_scale": 0.55', '"pixel_scale": NaN'))
    with pytest.raises(WeightsError, match="NaN is no number of JSON"):
        load_card(path)
    path.write_text(text.replace('"pixel_scale": 0.55', '"pixel_scale": 1e400'))
    with pytest.raises(WeightsError, match="pixel_scale must be a number above 0"):
        load_card(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    generator = SRResNet(1, n_features=4, n_blocks=1)
    torch.nn.init.constant_(generator.last.bias, value)
    card = save_weights(generator, tmp_path, **ENTRIES, name="bad", bands=["any"])
    with pytest.raises(WeightsError, match=r"numbers that are not finite, in 'last\.bias'"):
        load_generator(card)


def test_loading_leaves_the_caller_alone(card):
    """Random numbers, and the types and devices that new tensors get."""
    before = torch.get_default_dtype(), torch.random.get_rng_state()
    expected = load_generator(card).state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            generator = load_generator(card)
    finally:
        torch.set_default_dtype(before[0])
    assert torch.equal(torch.random.get_rng_state(), before[1])
    for key, part in generator.state_dict().items():
        assert torch.equal(part, expected[key])
        assert part.device.type == "cpu"


def test_a_model_card_that_is_not_there_is_called_that(tmp_path):
    with pytest.raises(WeightsError, match=r"got '.*tiny\.json', where there is no file$"):
        load_card(tmp_path / "tiny.json")


def test_files_of_any_size_are_never_held_whole(card):
    """A file with holes is large, and takes no space."""
    path = card.path.with_suffix(".json")
    with path.open("r+b") as file:
        file.truncate(20 << 30)
    with pytest.raises(WeightsError, match="must have at most 10000000 bytes"):
        load_card(path)


def test_weights_of_any_size_are_not_waited_for(card):
    with card.path.open("r+b") as file:
        file.truncate(20 << 30)
    with pytest.raises(WeightsError, match="safetensors' must have at most"):
        verify(card)


@pytest.mark.parametrize("name", ["../up", "a/b", "/tmp/x", "nul", "a.", "x" * 300])
def test_the_name_of_weights_is_no_path(tmp_path, name):
    """A model card may come from anywhere, and calibrate writes files of its name."""
    with pytest.raises(ValueError, match="name of the weights must"):
        make_card(tmp_path / "new", name=name)
    assert not (tmp_path / "new").exists()


def test_complex_weights_are_refused_in_a_line(card):
    state = load_file(card.path)
    key = next(iter(state))
    save_file(state | {key: state[key].to(torch.complex64)}, card.path)
    path = edit(card, sha256=hashlib.sha256(card.path.read_bytes()).hexdigest())
    with pytest.raises(WeightsError, match="must be real numbers"):
        load_generator(path)
