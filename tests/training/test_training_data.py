# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated pairs to train on: what a sample holds, in which order, and in which batches."""

import json
import pickle
from collections import Counter

import lightning as L
import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.simulate.field import simulate_field
from splus_srgan.simulate.reference import reference_noise
from splus_srgan.splus import BANDS
from splus_srgan.training.config.training import load_config
from splus_srgan.training.data import fields as _fields
from splus_srgan.training.data import simulated as _simulated
from splus_srgan.training.data.crops import grow, turn
from splus_srgan.training.data.dataset import (
    SEEDS,
    RenderedPairs,
    SimulatedPairs,
    make_dataset,
    render_pairs,
)
from splus_srgan.training.data.module import PairsDataModule, StepSampler
from splus_srgan.utils import files

pytestmark = [
    # Lightning counts the processors of the machine and finds the loaders of a test slow.
    pytest.mark.filterwarnings("ignore:.*does not have many workers"),
    # Lightning 2.6 uses what torch 2.13 deprecates.
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec:FutureWarning"),
]

# Neither sky nor sigma measured wrong, no spread of anything.
EXACT = {"sigma_error": 0.0, "sky_error": 0.0, "depth": 0.0}
SMALL = {"shape": (16, 16), "bands": ("r",)}
SYMMETRIES = [(turns, flip) for turns in range(4) for flip in (False, True)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    render_pairs(folder, 3, shape=(32, 32), bands=("g", "r"))
    return folder


def write_fields(folder, clean, sharp, **conditions):
    """A folder as render_pairs makes it, of images of one's own."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"sigma": 1.0, "electrons": 1e9, "saturation": 1e9, "dithers": [[0.0, 0.0]]}
    rows = [[known | conditions] * clean.shape[1]] * len(clean)
    np.save(folder / "clean.npy", clean.astype(np.float32))
    np.save(folder / "sharp.npy", sharp.astype(np.float32))
    bands = ["g", "r", "z"][: clean.shape[1]]
    (folder / "conditions.json").write_text(json.dumps({"bands": bands, "conditions": rows}))
    return folder


@pytest.fixture(scope="module")
def coded(tmp_path_factory):
    """Twelve fields of 84 x 84 pixels whose target says which pixel of which field it is."""
    n, side = 12, 84
    code = np.arange(n * 4 * side**2, dtype=float).reshape(n, 1, 2 * side, 2 * side) / 4
    clean = code.reshape(n, 1, side, 2, side, 2).sum(axis=(3, 5))
    return write_fields(tmp_path_factory.mktemp("coded"), clean, code)


def views_of(sample, side=84):
    """Field, first input pixel and symmetry that a sample of the coded fields must be of."""
    truth = sample["truth"].numpy()[0].astype(float)
    found = []
    for turns, flip in SYMMETRIES:
        upright = truth[:, ::-1] if flip else truth
        upright = np.rot90(upright, -turns)
        if upright[0, 1] - upright[0, 0] == 1 and upright[1, 0] - upright[0, 0] == 2 * side:
            field, rest = divmod(int(upright[0, 0]), 4 * side**2)
            y, x = divmod(rest, 2 * side)
            found.append((field, y // 2, x // 2, turns, flip))
    assert len(found) == 1
    return found[0]


# What a sample holds


def test_seeds_of_each_purpose_differ():
    assert len(set(SEEDS.values())) == len(SEEDS) == 3


def test_rendered_pairs_are_the_simulated_fields(folder):
    clean, sharp = (np.load(folder / name) for name in ("clean.npy", "sharp.npy"))
    table = json.loads((folder / "conditions.json").read_text())
    assert clean.shape == (3, 2, 32, 32)
    assert sharp.shape == (3, 2, 64, 64)
    assert table["bands"] == ["g", "r"]
    field = simulate_field((SEEDS["train"], 1), shape=(32, 32), bands=("g", "r"))
    conditions = field.conditions["r"]
    assert_allclose(clean[1, 1] * conditions.adu_per_nmgy, field.noiseless["r"], rtol=1e-5)
    assert_allclose(sharp[1, 1] * conditions.adu_per_nmgy, field.target["r"].data, rtol=1e-5)
    assert table["conditions"][1][1]["sigma"] == conditions.sigma
    assert table["conditions"][1][1]["adu_per_nmgy"] == conditions.adu_per_nmgy


def test_some_training_fields_have_no_wings(tmp_path):
    render_pairs(tmp_path, 2, shape=(16, 16), bands=("r",), first=10)
    clean = np.load(tmp_path / "clean.npy")
    for k, psf in enumerate(("moffat", "real")):
        field = simulate_field((SEEDS["train"], 10 + k), shape=(16, 16), bands=("r",), psf=psf)
        wanted = field.noiseless["r"] / field.conditions["r"].adu_per_nmgy
        assert_allclose(clean[k, 0], wanted, rtol=1e-5)


def content_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", ["clean.npy", "sharp.npy", "conditions.json"])
def test_files_of_others_are_not_replaced_by_a_render(tmp_path, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(FileExistsError, match=rf"{name} exists; pass overwrite=True"):
        render_pairs(folder, 1, **SMALL)
    assert content_of(folder) == {name: b"mine"}
    render_pairs(folder, 1, overwrite=True, **SMALL)
    render_pairs(tmp_path / "fresh", 1, **SMALL)
    assert content_of(folder) == content_of(tmp_path / "fresh")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_pairs": 0}, "n_pairs must be at least 1; got 0"),
        ({"first": -1}, "first must be at least 0; got -1"),
        ({"purpose": "play"}, "purpose must be one of 'train'.*got 'play'"),
        ({"bands": ("rr",)}, "bands must be one of 'u'.*got 'rr'"),
        ({"bands": ()}, r"bands must name at least one band.*got \(\)"),
        ({"bands": ("r", "r")}, "bands must name .* each once; got"),
        ({"shape": (16, 8)}, "every entry of shape must be at least 16; got 8"),
        ({"shape": (16, 16, 16)}, r"shape must be two numbers, \(ny, nx\)"),
    ],
)
def test_what_cannot_be_rendered_leaves_an_earlier_render(options, message, tmp_path):
    render_pairs(tmp_path / "old", 1, **SMALL)
    before = content_of(tmp_path / "old")
    for folder, overwrite in (("old", True), ("new", False)):
        with pytest.raises(ValueError, match=message):
            render_pairs(
                tmp_path / folder, **{"n_pairs": 1, "overwrite": overwrite, **SMALL, **options}
            )
    assert content_of(tmp_path / "old") == before
    assert not (tmp_path / "new").exists()


def test_an_interrupted_render_leaves_nothing_of_its_own(tmp_path, monkeypatch):
    render_pairs(tmp_path / "old", 1, **SMALL)
    before = content_of(tmp_path / "old")
    original = _fields.render_field

    def render_field(seed, **options):
        if seed[1] == 1:
            raise KeyboardInterrupt
        return original(seed, **options)

    monkeypatch.setattr(_fields, "render_field", render_field)
    for folder, overwrite in (("old", True), ("new", False)):
        with pytest.raises(KeyboardInterrupt):
            render_pairs(tmp_path / folder, 2, overwrite=overwrite, **SMALL)
    assert content_of(tmp_path / "old") == before
    assert content_of(tmp_path / "new") == {}


def test_a_render_stopped_between_its_files_does_not_pass_for_whole(tmp_path, monkeypatch):
    """The images of one render and the conditions of another have the same shapes."""
    render_pairs(tmp_path, 1, **SMALL)
    original, placed = files._take_place, []

    def take_place(temporary, target, *rest):
        if placed:
            raise KeyboardInterrupt
        placed.append(target.name)
        original(temporary, target, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_take_place", take_place)
        with pytest.raises(KeyboardInterrupt):
            render_pairs(tmp_path, 1, first=5, overwrite=True, **SMALL)
    assert placed == ["clean.npy"]
    with pytest.raises(FileNotFoundError, match="render it again"):
        RenderedPairs(tmp_path)


@pytest.mark.parametrize(("single_band", "n_band"), [(False, 2), (True, 1)])
def test_sample_has_the_parts_that_training_reads(folder, single_band, n_band):
    pairs = RenderedPairs([folder, folder], crop=24, single_band=single_band)
    assert len(pairs) == 6
    sample = pairs[4]
    shapes = {name: tuple(value.shape) for name, value in sample.items() if name != "index"}
    coarse, fine = (n_band, 24, 24), (n_band, 48, 48)
    assert shapes == {
        "input": coarse,
        "noisy": coarse,
        "target": fine,
        "truth": fine,
        "weight": fine,
        "electrons": (n_band,),
    }
    assert sample["index"] == 4
    assert all(sample[name].dtype == torch.float32 for name in shapes)
    assert set(sample["weight"].unique().tolist()) <= {0.0, 1.0}


def test_truth_is_the_target_in_noises_of_an_input_pixel():
    pairs = SimulatedPairs(3, shape=(32, 32), bands=("g", "r"), augmentation="none", **EXACT)
    field = simulate_field((SEEDS["train"], 2), shape=(32, 32), bands=("g", "r"))
    sample = pairs[2]
    for b, band in enumerate("gr"):
        c = field.conditions[band]
        target = field.target[band].data / c.adu_per_nmgy
        assert_allclose(sample["truth"][b], 4 * target / c.sigma, rtol=1e-4, atol=1e-4)
        assert_allclose(sample["electrons"][b], c.electrons * c.sigma, rtol=1e-6)
    assert_allclose(sample["input"], np.arcsinh(sample["noisy"].numpy() / 3) / 2, rtol=1e-5)
    assert_allclose(sample["target"], np.arcsinh(sample["truth"].numpy() / 3) / 2, rtol=1e-5)


def test_stretch_has_the_softening_and_range_asked_for(folder):
    sample = RenderedPairs(folder, softening=2.0, range=5.0)[0]
    assert_allclose(sample["input"], np.arcsinh(sample["noisy"].numpy() / 2) / 5, rtol=1e-5)


def test_noise_is_that_of_sky_and_photons(tmp_path):
    """A flat field of 300 nmgy at 2 electrons per nmgy: variance 4**2 + 300 / 2."""
    flat = np.full((1, 1, 96, 96), 300.0)
    sharp = np.full((1, 1, 192, 192), 75.0)
    write_fields(tmp_path, flat, sharp, sigma=4.0, electrons=2.0)
    samples = [RenderedPairs(tmp_path, **EXACT)[k] for k in range(4)]
    noise = np.stack([s["noisy"].numpy() for s in samples]) - 300 / 4
    assert_allclose(noise.mean(), 0, atol=0.1)
    assert_allclose(noise.std(), np.sqrt(16 + 150) / 4, rtol=0.02)
    assert_allclose(samples[0]["truth"], 300 / 4)


def test_truth_and_input_are_aligned_however_they_are_turned(folder):
    """The mean of four true pixels follows the input, with noise of one between them."""
    pairs = RenderedPairs(folder, crop=24)
    excess = []
    for k in range(20):
        sample = pairs[k]
        coarse = sample["truth"].numpy().reshape(2, 24, 2, 24, 2).mean(axis=(2, 4))
        faint = np.abs(coarse) < 3
        excess.append((sample["noisy"].numpy() - coarse)[faint])
    excess = np.concatenate(excess)
    assert_allclose(np.median(excess), 0, atol=0.15)
    assert_allclose(1.4826 * np.median(np.abs(excess)), 1, atol=0.15)


def test_saturated_pixels_and_their_neighbors_have_no_weight(tmp_path):
    clean = np.zeros((1, 1, 32, 32))
    clean[0, 0, 10, 20] = 1000.0
    write_fields(tmp_path, clean, np.zeros((1, 1, 64, 64)), saturation=500.0)
    sample = RenderedPairs(tmp_path, augmentation="none", **EXACT)[0]
    assert sample["noisy"].max() == 500.0
    weight = np.ones((64, 64))
    weight[2 * 7 : 2 * 14, 2 * 17 : 2 * 24] = 0
    assert_array_equal(sample["weight"][0], weight)


def test_masks_grow_to_squares():
    mask = np.zeros((9, 9), bool)
    mask[4, 1] = True
    grown = grow(mask, 2)
    assert grown.sum() == 5 * 4
    assert grown[2:7, 0:4].all()
    assert not grow(np.zeros((3, 3), bool), 2).any()


@pytest.mark.parametrize("single_band", [False, True])
def test_seed_space_is_that_of_the_paper(folder, single_band, monkeypatch):
    """From the same pair in linear units: arcsinh, then the range of all bands together."""
    monkeypatch.setattr(_simulated, "reference_noise", lambda rng, shape, band: (0.0, 0.0))
    options = EXACT | {"augmentation": "none", "single_band": single_band}
    linear, seed = (RenderedPairs(folder, space=s, **options)[1] for s in ("noise", "seed"))
    assert set(seed) == {"input", "target", "weight", "index"}
    bands = ("r",) if single_band else ("g", "r")
    conditions = simulate_field((1, 1), shape=(32, 32), bands=("g", "r")).conditions
    sigma, adu = (
        np.array([getattr(conditions[band], name) for band in bands])[:, None, None]
        for name in ("sigma", "adu_per_nmgy")
    )
    for key, stretched in (
        ("input", np.arcsinh(10 / 3 * linear["noisy"].numpy() * sigma * adu)),
        ("target", np.arcsinh(100 / 3 * linear["truth"].numpy() * sigma / 4)),
    ):
        wanted = (stretched - stretched.min()) / (stretched.max() - stretched.min())
        assert_allclose(seed[key], wanted, atol=2e-6)
        assert seed[key].min() == 0
        assert seed[key].max() == 1
    assert (seed["weight"] == 1).all()


def test_targets_of_the_seed_space_have_noise(tmp_path):
    """Those of the seed paper are Legacy Surveys images; copies of a pair share the noise."""
    blank = np.zeros((1, 1, 24, 24)), np.zeros((1, 1, 48, 48))
    write_fields(tmp_path, *blank, adu_per_nmgy=1.0)
    drawn = []

    def noise_in_nanomaggies(rng, shape, band):
        drawn.append(reference_noise(rng, shape, band)[0])
        return drawn[-1], 1.0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_simulated, "reference_noise", noise_in_nanomaggies)
        options = {"space": "seed", "augmentation": "none"}
        first, again = (RenderedPairs(tmp_path, **options)[k]["target"] for k in (0, 1))
    assert_array_equal(first, again)
    stretched = np.arcsinh(100 / 3 * drawn[0])
    wanted = (stretched - stretched.min()) / np.ptp(stretched)
    assert_allclose(first[0], wanted, atol=2e-6)


def test_seed_space_of_a_constant_target_is_finite(tmp_path, monkeypatch):
    monkeypatch.setattr(_simulated, "reference_noise", lambda rng, shape, band: (0.0, 0.0))
    write_fields(tmp_path, np.zeros((1, 1, 16, 16)), np.zeros((1, 1, 32, 32)), adu_per_nmgy=1.0)
    assert (RenderedPairs(tmp_path, space="seed")[0]["target"] == 0).all()


def test_folders_without_gain_have_that_of_the_saturation(tmp_path):
    """Every band saturates at one number of ADU, so older folders need no other record."""
    clean = np.ones((1, 1, 16, 16))
    levels = {"saturation": BANDS["g"].saturation / 7.0, "sigma": 1e-6, "electrons": 1e15}
    for name, more in (("old", {}), ("new", {"adu_per_nmgy": 7.0})):
        clean[0, 0, 0] = 3.0
        write_fields(tmp_path / name, clean, np.zeros((1, 1, 32, 32)), **levels, **more)
    options = {"space": "seed", "augmentation": "none"}
    old, new = (RenderedPairs(tmp_path / name, **options)[0] for name in ("old", "new"))
    assert_array_equal(old["input"], new["input"])


# Spreads


@pytest.fixture(scope="module")
def flat(tmp_path_factory):
    return write_fields(
        tmp_path_factory.mktemp("flat"),
        np.full((1, 2, 16, 16), 100.0),
        np.full((1, 2, 32, 32), 25.0),
        sigma=2.0,
        electrons=3.0,
    )


def spread_of(folder, **options):
    """Truth, and electrons per sky noise, of many samples of a flat field of 50 sigma."""
    samples = [RenderedPairs(folder, **(EXACT | options))[k] for k in range(150)]
    truth = np.array([s["truth"].numpy()[:, 0, 0] for s in samples])
    return truth / 50, np.array([s["electrons"].numpy() for s in samples]) / 6


def test_depth_spreads_the_noise_of_each_band(flat):
    truth, electrons = spread_of(flat, depth=0.2)
    assert_allclose(np.log(truth).std(axis=0), 0.2, rtol=0.2)
    assert_allclose(truth * electrons, 1, rtol=1e-5)
    assert abs(np.corrcoef(truth.T)[0, 1]) < 0.3


def test_sigma_error_moves_both_sides_alike(flat):
    truth, electrons = spread_of(flat, sigma_error=0.1)
    assert_allclose(np.log(truth).std(axis=0), 0.1, rtol=0.2)
    assert_allclose(truth * electrons, 1, rtol=1e-5)


def test_sky_error_is_in_input_and_truth(flat):
    pairs = RenderedPairs(flat, **(EXACT | {"sky_error": 0.5}))
    samples = [pairs[k] for k in range(150)]
    truth = np.array([s["truth"].numpy()[:, 0, 0] for s in samples]) - 50
    noisy = np.array([s["noisy"].numpy().mean(axis=(1, 2)) for s in samples]) - 50
    assert_allclose(truth.std(axis=0), 0.5, rtol=0.2)
    assert_allclose((noisy - truth).mean(axis=0), 0, atol=0.1)


def test_zero_point_changes_the_flux_and_not_the_noise(flat):
    truth, electrons = spread_of(flat, zero_point=0.1)
    assert_allclose((-2.5 * np.log10(truth)).std(axis=0), 0.1, rtol=0.2)
    assert_allclose(electrons, 1, rtol=1e-6)


# Order


def test_a_sample_depends_on_its_number_and_the_seed_alone(folder):
    options = {"crop": 24, "augmentation": "symmetries"}
    one, other = (RenderedPairs(folder, seed=3, **options) for _ in range(2))
    for k in (2**40, 7, 0):
        other[k]
    for k in (0, 7, 2**40):
        assert_array_equal(one[k]["input"], other[k]["input"])
        assert_array_equal(one[k]["target"], other[k]["target"])
    assert not torch.equal(one[0]["input"], one[3]["input"])
    assert not torch.equal(one[0]["input"], RenderedPairs(folder, seed=4, **options)[0]["input"])


def test_symmetries_give_each_pair_once_an_epoch_in_any_orientation(coded):
    pairs = RenderedPairs(coded, crop=16, **EXACT)
    views = [views_of(pairs[k]) for k in range(12 * 30)]
    epochs = [[view[0] for view in views[i : i + 12]] for i in range(0, len(views), 12)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 30
    assert {view[3:] for view in views} == set(SYMMETRIES)
    for axis in (1, 2):
        first = [view[axis] for view in views]
        assert (min(first), max(first)) == (0, 84 - 16)


def test_paper_gives_its_eightfold(coded):
    """Original and offset copy, each upright, upside down, mirrored, and turned by 90 deg."""
    pairs = RenderedPairs(coded, crop=16, augmentation="paper", **EXACT)
    assert len(pairs) == 8 * 12
    epochs = [[views_of(pairs[k]) for k in range(e * 96, (e + 1) * 96)] for e in range(2)]
    assert set(epochs[0]) == set(epochs[1])
    assert epochs[0] != epochs[1]
    directions = set()
    for field in range(12):
        views = Counter(view[1:] for view in epochs[0] if view[0] == field)
        centers = {view[:2] for view in views} - {(34, 34)}
        assert len(centers) == 1
        offset = np.array(centers.pop()) - 34
        directions.add(tuple(offset))
        assert_allclose(np.hypot(*offset) * 0.55 / 3600, 0.005, rtol=0.01)
        wanted = [(0, False), (2, True), (0, True), (1, False)]
        assert views == Counter(
            {(*center, *s): 1 for center in ((34, 34), tuple(offset + 34)) for s in wanted}
        )
    assert len(directions) > 3


def test_symmetries_of_the_paper_are_the_ones_it_names():
    image = np.arange(6.0).reshape(1, 2, 3)
    assert_array_equal(turn(image, 2, True)[0], np.flipud(image[0]))
    assert_array_equal(turn(image, 0, True)[0], np.fliplr(image[0]))
    assert_array_equal(turn(image, 1, False)[0], np.rot90(image[0]))


def test_paper_shows_the_same_noise_in_all_views_of_a_pair(coded):
    """As cutouts of one image do: where original and copy overlap they are equal."""
    pairs = RenderedPairs(coded, crop=18, augmentation="paper", **EXACT)
    noise = {}
    for k in range(2 * len(pairs)):
        sample = pairs[k]
        field, y, x, turns, flip = views_of(sample)
        image = sample["noisy"][0].numpy()
        upright = np.rot90(image[:, ::-1] if flip else image, -turns)
        known = noise.setdefault((field, y, x), upright)
        assert_array_equal(known, upright)
    assert len(noise) == 24


def test_simulated_copy_is_the_same_field_seen_from_beside():
    pairs = SimulatedPairs(1, shape=(64, 64), bands=("r",), augmentation="paper", **EXACT)
    assert len(pairs) == 8
    fields = {tuple(np.sort(pairs[k]["truth"].numpy().ravel())[:9]) for k in range(8)}
    assert len(fields) == 2
    assert {tuple(pairs[k]["input"].shape) for k in range(8)} == {(1, 64, 64)}


def test_none_gives_the_pairs_in_order_and_always_the_same(coded):
    pairs = RenderedPairs(coded, crop=16, augmentation="none")
    assert_array_equal(pairs[5]["noisy"], pairs[5 + 12]["noisy"])
    exact = RenderedPairs(coded, crop=16, augmentation="none", **EXACT)
    assert [views_of(sample) for sample in exact] == [(k, 34, 34, 0, False) for k in range(12)]


def test_single_bands_are_drawn_all(folder):
    pairs = RenderedPairs(folder, crop=24, single_band=True, **EXACT)
    whole = RenderedPairs(folder, crop=24, **EXACT)
    drawn = []
    for k in range(30):
        both = whole[k]["electrons"].tolist()
        drawn.append(both.index(pairs[k]["electrons"].item()))
    assert set(drawn) == {0, 1}
    assert 6 < sum(drawn) < 24


# Keeping


def test_datasets_travel_to_workers_without_their_images(folder):
    pairs = RenderedPairs(folder, crop=24)
    first = pairs[0]["input"]
    sent = pickle.dumps(pairs)
    assert len(sent) < 10_000
    assert torch.equal(pickle.loads(sent)[0]["input"], first)


def test_cache_keeps_rendered_fields_and_replaces_damaged_ones(tmp_path, monkeypatch):
    options = {"shape": (16, 16), "bands": ("r",), "augmentation": "none"}
    plain = [sample["input"] for sample in SimulatedPairs(2, **options)]
    for sample, wanted in zip(SimulatedPairs(2, cache=tmp_path, **options), plain, strict=True):
        assert torch.equal(sample["input"], wanted)
    files = sorted(tmp_path.rglob("*.npz"))
    assert len(files) == 2
    files[1].write_bytes(files[1].read_bytes()[:500])
    rendered = []
    real = _fields.render_field
    monkeypatch.setattr(
        _fields, "render_field", lambda seed, **k: rendered.append(seed) or real(seed, **k)
    )
    for sample, wanted in zip(SimulatedPairs(2, cache=tmp_path, **options), plain, strict=True):
        assert torch.equal(sample["input"], wanted)
    assert rendered == [(SEEDS["train"], 1)]
    assert sorted(tmp_path.rglob("*.npz")) == files


# What is refused


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crop": 40}, r"crop must be at most .*; got 40, but .*clean.npy holds the shape \(32, 3"),
        ({"augmentation": "paper", "crop": 8}, "needs 66 pixels around the crop .* got crop=8"),
        ({"bands": ("r", "z")}, "bands must be among those of .*, g, r; got 'z'"),
        ({"space": "log"}, "space must be one of 'noise', 'seed'; got 'log'"),
        ({"depth": -1.0}, r"depth must be at least 0; got -1.0"),
        ({"augmentation": "all"}, "augmentation must be one of 'symmetries', 'paper', 'none'"),
    ],
)
def test_wrong_options_are_refused(folder, options, message):
    with pytest.raises(ValueError, match=message):
        RenderedPairs(folder, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": ("r", "v")}, "bands must be one of .*'z'; got 'v'"),
        ({"purpose": "exam"}, "purpose must be one of 'train', 'validation', 'test'; got 'exam'"),
        ({"crop": 20}, r"crop must be at most .*; got 20, but the simulation holds .*16, 16"),
        ({"shape": (16, 8)}, "shape must be at least 16; got 8"),
    ],
)
def test_simulations_that_are_not_possible_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SimulatedPairs(1, **({"shape": (16, 16)} | options))


def test_numbers_of_samples_count_from_zero(folder):
    with pytest.raises(ValueError, match="k must be at least 0; got -1"):
        RenderedPairs(folder)[-1]


def test_images_that_are_not_square_need_a_crop(tmp_path):
    write_fields(tmp_path, np.zeros((1, 1, 16, 20)), np.zeros((1, 1, 32, 40)))
    with pytest.raises(ValueError, match=r"crop must be given where images are turned .*\(16, 20"):
        RenderedPairs(tmp_path)
    assert RenderedPairs(tmp_path, augmentation="none")[0]["input"].shape == (1, 16, 20)


def test_damaged_folders_are_named(folder, tmp_path):
    whole = {name: (folder / name).read_bytes() for name in ("clean.npy", "conditions.json")}
    whole["sharp.npy"] = (folder / "sharp.npy").read_bytes()

    def write(**changes):
        for name, content in (whole | changes).items():
            (tmp_path / name).write_bytes(content)

    write()
    (tmp_path / "conditions.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"conditions.json is missing: .* render it again"):
        RenderedPairs(tmp_path)
    write(**{"sharp.npy": whole["sharp.npy"][:5000]})
    with pytest.raises(ValueError, match=r"sharp.npy is damaged \(.*; render .* again"):
        RenderedPairs(tmp_path)
    write(**{"sharp.npy": whole["clean.npy"]})
    with pytest.raises(ValueError, match=r"must fit each other; .* 3 fields of 2 bands,"):
        RenderedPairs(tmp_path)
    write(**{"conditions.json": b'{"bands": ["g", "r"'})
    with pytest.raises(ValueError, match=r"conditions.json is damaged"):
        RenderedPairs(tmp_path)
    write(**{"conditions.json": b'{"bands": ["g", "r"], "conditions": []}'})
    with pytest.raises(ValueError, match=r"conditions.json is damaged \(it is empty\)"):
        RenderedPairs(tmp_path)


def test_values_that_are_not_finite_name_their_field(tmp_path):
    sharp = np.zeros((2, 1, 32, 32))
    sharp[1, 0, 3, 3] = np.nan
    pairs = RenderedPairs(
        write_fields(tmp_path, np.zeros((2, 1, 16, 16)), sharp), augmentation="none"
    )
    assert torch.isfinite(pairs[0]["target"]).all()
    with pytest.raises(ValueError, match=r"field 1 of .* must be finite everywhere"):
        pairs[1]


# As a configuration describes them


def config_of(folder, **keys):
    known = {
        "preset": "fidelity",
        "data.source": str(folder),
        "data.bands": ["g", "r"],
        "data.shape": [24, 24],
        "data.crop": 16,
        "data.batch_size": 4,
        "data.n_validation": 2,
        "run.steps_per_epoch": 4,
        "run.epochs": 3,
    }
    return load_config(known | keys)


def test_configuration_makes_the_pairs_it_describes(folder):
    config = config_of(folder, **{"data.depth": 0.0, "run.seed": 5, "data.softening": 2.0})
    train = make_dataset(config, "train")
    assert isinstance(train, RenderedPairs)
    own = RenderedPairs(folder, crop=16, depth=0.0, seed=5, softening=2.0)
    assert torch.equal(train[11]["input"], own[11]["input"])
    simulated = make_dataset(config_of("simulation", **{"data.n_pairs": 7}), "train")
    assert isinstance(simulated, SimulatedPairs)
    assert (len(simulated), simulated.shape, simulated.crop) == (7, (24, 24), 16)


@pytest.mark.parametrize("source", ["rendered", "simulation"])
def test_validation_has_whole_fields_of_seeds_of_its_own(folder, source):
    exact = {"data.sigma_error": 0.0, "data.sky_error": 0.0}
    config = config_of(folder if source == "rendered" else source, **exact)
    pairs = make_dataset(config, "validation")
    assert len(pairs) == 2
    field = simulate_field((SEEDS["validation"], 1), shape=(24, 24), bands=("g", "r"))
    conditions = field.conditions["g"]
    wanted = 4 * field.target["g"].data / conditions.adu_per_nmgy / conditions.sigma
    assert_allclose(pairs[1]["truth"][0], wanted, rtol=1e-4, atol=1e-4)


def test_validation_may_be_left_out(folder):
    config = config_of(folder, **{"data.n_validation": 0})
    assert make_dataset(config, "validation") is None
    module = PairsDataModule(config)
    module.setup()
    assert module.val_dataloader() == []


def test_source_that_is_no_folder_is_named(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"data.source: the folder .* does not exist"):
        make_dataset(config_of(tmp_path / "nowhere"), "train")
    with pytest.raises(FileNotFoundError, match="has no pairs; make some"):
        make_dataset(config_of(tmp_path), "train")
    both = config_of(folder, **{"data.source": [str(folder), str(tmp_path)]})
    with pytest.raises(ValueError, match=r"got 2 folders, of which .* is another kind"):
        make_dataset(both, "train")


# Batches


def batches_of(module, which="train"):
    module.setup()
    return list(getattr(module, f"{which}_dataloader")())


def test_batches_are_the_samples_in_order_whatever_the_workers(folder):
    pairs = RenderedPairs(folder, crop=16)
    state = torch.random.get_rng_state()
    for workers in (0, 2):
        batches = batches_of(PairsDataModule(config_of(folder, **{"data.workers": workers})))
        assert [b["index"].tolist() for b in batches] == [
            [4 * s + j for j in range(4)] for s in range(4)
        ]
        for b, batch in enumerate(batches):
            assert torch.equal(batch["input"][3], pairs[4 * b + 3]["input"])
    assert torch.equal(torch.random.get_rng_state(), state)


def test_validation_gives_the_same_fields_each_time(folder):
    module = PairsDataModule(config_of(folder))
    one, again = (batches_of(module, "val") for _ in range(2))
    assert [b["index"].tolist() for b in one] == [[0], [1]]
    assert one[0]["input"].shape == (1, 2, 24, 24)
    for a, b in zip(one, again, strict=True):
        assert torch.equal(a["noisy"], b["noisy"])


def test_an_epoch_without_given_length_is_all_pairs(folder):
    module = PairsDataModule(config_of(folder, **{"run.steps_per_epoch": None}))
    module.setup()
    assert module.steps_per_epoch == 1
    module.config = config_of(folder, **{"run.steps_per_epoch": None, "data.batch_size": 2})
    assert module.steps_per_epoch == 2


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("done", [0, 3, 5, 12])
def test_devices_share_each_batch_without_gap_or_overlap(world, done):
    samplers = [
        StepSampler(
            [0],
            batch_size=8,
            steps_per_epoch=5,
            steps_done=lambda: done,
            num_replicas=world,
            rank=rank,
        )
        for rank in range(world)
    ]
    shares = [np.reshape(list(sampler), (-1, 8 // world)) for sampler in samplers]
    together = np.concatenate(shares, axis=1).ravel()
    assert_array_equal(together, np.arange(8 * done, 8 * 5 * (done // 5 + 1)))
    assert {len(sampler) for sampler in samplers} == {5 * 8 // world}


def test_batches_that_do_not_divide_are_refused():
    options = {"batch_size": 6, "steps_per_epoch": 5, "steps_done": lambda: 0}
    with pytest.raises(ValueError, match="must be a multiple of the number of devices, 4; got 6"):
        StepSampler([0], num_replicas=4, **options)


class Recorder(L.LightningModule):
    """Two optimizers, as in adversarial training; remembers what it was given."""

    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.scale = torch.nn.Parameter(torch.zeros(1))
        self.given, self.validated = [], []

    def configure_optimizers(self):
        return [torch.optim.SGD([self.scale], 0.1) for _ in range(2)]

    def training_step(self, batch, batch_idx):
        self.given.append(batch["index"].tolist())
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.scale.sum())
            optimizer.step()

    def validation_step(self, batch, batch_idx):
        self.validated.append(batch["index"].item())


class SaveAt(L.Callback):
    """Write a checkpoint at the end of a step, an epoch or a validation."""

    def __init__(self, path, hook, step):
        self.path, self.hook, self.step = path, hook, step

    def _save(self, hook, trainer, module):
        if hook == self.hook and len(module.given) == self.step:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True

    def on_train_batch_end(self, trainer, module, *parts):
        self._save("batch", trainer, module)

    def on_train_epoch_end(self, trainer, module):
        self._save("epoch", trainer, module)

    def on_validation_end(self, trainer, module):
        self._save("validation", trainer, module)


def fit(config, *callbacks, checkpoint=None):
    module = Recorder()
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=3,
        callbacks=list(callbacks),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=PairsDataModule(config), ckpt_path=checkpoint)
    return module


@pytest.mark.parametrize(
    ("hook", "step", "workers"),
    [
        ("batch", 2, 0),
        ("batch", 2, 2),
        ("batch", 4, 0),
        ("batch", 6, 0),
        ("epoch", 4, 0),
        ("validation", 8, 0),
    ],
)
def test_a_run_goes_on_with_the_batch_at_which_it_stopped(folder, tmp_path, hook, step, workers):
    config = config_of(folder, **{"data.workers": workers})
    path = tmp_path / "stopped.ckpt"
    fit(config, SaveAt(path, hook, step))
    later = fit(config, checkpoint=path)
    assert later.given == [[4 * s + j for j in range(4)] for s in range(step, 12)]
    # Saved before an epoch's validation, its validation may or may not be taken again.
    left = 3 - step // 4
    assert later.validated[-2 * left :] == [0, 1] * left
