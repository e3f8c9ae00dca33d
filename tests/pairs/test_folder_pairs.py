# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Matched pairs to train on: flux scales, holes, damage, and which are held out."""

import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.nddata import CCDData
from numpy.testing import assert_allclose, assert_array_equal
from pair_helpers import as_matched, copy_pair, simulated

from splus_srgan.images.io.fields import write_bands
from splus_srgan.pairs.folder.pairs import PairFolder
from splus_srgan.pairs.folder.records import file_hash
from splus_srgan.pairs.folder.schema import sealed
from splus_srgan.pairs.quality.pair import BandQuality, PairReport
from splus_srgan.pixels.background import measure_background
from splus_srgan.simulate.field import simulate_field
from splus_srgan.training.config.training import load_config
from splus_srgan.training.data.dataset import FolderPairs, make_dataset
from splus_srgan.training.data.module import PairsDataModule

EXACT = {"sigma_error": 0.0, "sky_error": 0.0, "depth": 0.0, "augmentation": "none"}
SHAPE = (40, 40)


def add(folder, name, sides, *, ra=None, reasons=(), **quality):
    """Add a pair without measuring what is known of it."""
    position = None if ra is None else SkyCoord(ra, 0.5, unit="deg")
    bands = {band: BandQuality(**quality) for band in sides[0]}
    folder.add(name, as_matched(*sides), PairReport(bands, tuple(reasons)), position=position)


def pair_of(seed, bands=("g", "r"), shape=SHAPE):
    return copy_pair(*simulated(seed, shape=shape, bands=bands))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Six accepted pairs a degree apart, one rejected and one failed."""
    folder = PairFolder(tmp_path_factory.mktemp("matched"), create=True)
    for k in range(6):
        add(folder, f"p{k}", pair_of(k), ra=10.0 + k)
    add(folder, "bad", pair_of(6), ra=16.0, reasons=["shifted"])
    folder.add_failure("lost", "no image", position=SkyCoord(17.0, 0.5, unit="deg"))
    return PairFolder(folder.path)


def one_pair(path, sides, **quality):
    folder = PairFolder(path, create=True)
    add(folder, "only", sides, **quality)
    return folder


# What a sample holds


def test_sample_is_the_pair_in_noises_of_its_input(folder):
    pairs = FolderPairs(folder, **EXACT)
    assert pairs.names == ("p0", "p1", "p2", "p3", "p4", "p5")
    assert pairs.bands == ("g", "r")
    sample = pairs[2]
    first, second = simulated(2, shape=SHAPE, bands=("g", "r"))
    for b, band in enumerate("gr"):
        data = first[band].data
        background = measure_background(data)
        sky, sigma = background.sky[0], background.sigma[0]
        assert_allclose(sample["noisy"][b], (data - sky) / sigma, rtol=1e-4, atol=1e-4)
        truth = (second[band].data - measure_background(second[band].data).sky[0]) * 4 / sigma
        assert_allclose(sample["truth"][b], truth, rtol=1e-4, atol=1e-4)
    assert_allclose(sample["input"], np.arcsinh(sample["noisy"].numpy() / 3) / 2, atol=1e-6)
    assert (sample["weight"] == 1).all()
    assert sample["input"].dtype == torch.float32


def test_flux_of_the_truth_is_that_of_the_input(folder):
    """A galaxy's flux is the same number on both sides, whatever the noise."""
    pairs = FolderPairs(folder, bands=("r",), **EXACT)
    ratios = []
    for sample in pairs:
        noisy, truth = (sample[key][0].numpy().astype(float) for key in ("noisy", "truth"))
        bright = noisy.sum()
        if bright > 2000:
            ratios.append(truth.sum() / 4 / bright)
    assert len(ratios) >= 3
    assert_allclose(ratios, 1, atol=0.1)


def test_sky_of_either_side_is_taken_off(tmp_path):
    first, second = copy_pair(*simulated(1, shape=(96, 96), kind="blank"))
    plain = FolderPairs(one_pair(tmp_path / "plain", (first, second)), **EXACT)[0]
    first["r"].data += 3.0
    second["r"].data += 2.0
    risen = FolderPairs(one_pair(tmp_path / "risen", (first, second)), **EXACT)[0]
    for side in ("noisy", "truth"):
        assert_allclose(risen[side], plain[side], atol=0.4)


@pytest.mark.parametrize("kind", ["same", "mgy", "counts"])
def test_targets_in_other_units_come_to_the_scale_of_the_input(tmp_path, kind):
    """Megas of nanomaggies are converted; ADU and nanomaggies need the measured ratio."""
    first, second = pair_of(1, ("r",))
    plain = FolderPairs(one_pair(tmp_path / "plain", (first, second)), **EXACT)[0]
    if kind == "mgy":
        changed = CCDData(second["r"].data * 1e-9, unit=u.Unit("mgy"), wcs=second["r"].wcs)
        sides, quality = (first, {"r": changed}), {}
    elif kind == "counts":
        changed = CCDData(first["r"].data * 7, unit="adu", wcs=first["r"].wcs)
        changed.meta["FILTER"] = "r"
        sides, quality = ({"r": changed}, second), {"flux_ratio": 1 / 7, "flux_ratio_error": 1e-3}
    else:
        sides, quality = (first, second), {"flux_ratio": 1.4, "flux_ratio_error": 0.01}
    sample = FolderPairs(one_pair(tmp_path / "other", sides, **quality), **EXACT)[0]
    assert_allclose(sample["truth"], plain["truth"], rtol=2e-3, atol=2e-3)
    assert_allclose(sample["noisy"], plain["noisy"], rtol=2e-3, atol=2e-3)


def test_units_without_known_ratio_are_refused(tmp_path):
    first, second = pair_of(1, ("r",))
    first = {"r": CCDData(first["r"].data * 7, unit="adu", wcs=first["r"].wcs)}
    pairs = FolderPairs(one_pair(tmp_path, (first, second), flux_ratio=0.1), **EXACT)
    message = r"the pair 'only' \(.*only\) cannot be trained on: the input is in adu and the target"
    with pytest.raises(ValueError, match=message):
        pairs[0]


def test_surface_brightness_is_not_shared_by_finer_pixels(tmp_path):
    rng = np.random.default_rng(1)
    unit = u.nmgy / u.arcsec**2
    first = {"r": CCDData(rng.normal(5, 1, SHAPE).astype("f4"), unit=unit, meta={"FILTER": "r"})}
    flat = np.full((80, 80), 3.0, np.float32)
    second = {"r": CCDData(flat, unit=unit, meta={"FILTER": "r"})}
    sample = FolderPairs(one_pair(tmp_path, (first, second)), **EXACT)[0]
    sigma = measure_background(first["r"].data).sigma[0]
    assert_allclose(sample["truth"], 3 / sigma, rtol=1e-5)


def test_electrons_come_from_the_gain_or_are_the_usual_ones(tmp_path):
    first, second = pair_of(1, ("r",))
    sigma = measure_background(first["r"].data).sigma[0]
    for name, gain, wanted in (("with", 250.0, 250 * sigma), ("without", None, 17.0)):
        first["r"].meta.pop("GAIN", None)
        if gain:
            # In nanomaggies the card holds for what was calibrated along with it alone.
            first["r"].meta["GAIN"], first["r"].meta["SRZP"] = gain, 22.5
        sample = FolderPairs(one_pair(tmp_path / name, (first, second)), **EXACT)[0]
        assert_allclose(sample["electrons"], wanted, rtol=1e-5)


def test_holes_have_no_weight_and_nothing_that_is_not_finite(tmp_path):
    first, second = pair_of(1, ("r",))
    first["r"].data[5:8, 10:12] = np.nan
    first["r"].mask = np.zeros(SHAPE, bool)
    first["r"].mask[20, 20] = True
    first["r"].data[20, 20] = 1e8
    second["r"].data[60:64, 3] = np.inf
    sample = FolderPairs(one_pair(tmp_path, (first, second)), **EXACT)[0]
    weight = np.ones((80, 80))
    weight[10:16, 20:24] = weight[40:42, 40:42] = weight[60:64, 3] = 0
    assert_array_equal(sample["weight"][0], weight)
    for name in ("input", "target", "noisy", "truth"):
        assert torch.isfinite(sample[name]).all()
    # Filled from the neighbors, not with what was there.
    assert sample["noisy"][0, 20, 20] < sample["noisy"].max() + 1
    assert sample["noisy"].max() < 1e5


def test_saturated_pixels_have_no_weight(tmp_path):
    first, second = pair_of(1, ("r",))
    first["r"].meta["SATURATE"], first["r"].meta["SRZP"] = 50.0, 23.0
    first["r"].data[30, 10] = 49.9
    sample = FolderPairs(one_pair(tmp_path, (first, second)), **EXACT)[0]
    weight = np.ones((80, 80))
    weight[2 * 27 : 2 * 34, 2 * 7 : 2 * 14] = 0
    assert_array_equal(sample["weight"][0], weight)


def test_seed_space_takes_counts_and_nanomaggies(tmp_path):
    first, second = pair_of(1, ("g", "r"))
    options = EXACT | {"space": "seed", "bands": ("g", "r")}
    pairs = FolderPairs(one_pair(tmp_path / "without", (first, second)), **options)
    for band in first:
        first[band].meta["SRZP"] = 23.5
    with pytest.raises(ValueError, match=r"needs inputs in ADU, or calibrated .*'only'"):
        pairs[0]
    sample = FolderPairs(one_pair(tmp_path / "with", (first, second)), **options)[0]
    counts = np.stack([first[band].data for band in "gr"]) * 10**0.4
    stretched = np.arcsinh(10 / 3 * counts)
    wanted = (stretched - stretched.min()) / np.ptp(stretched)
    assert_allclose(sample["input"], wanted, atol=2e-6)
    sky = [measure_background(second[band].data).sky[0] for band in "gr"]
    stretched = np.arcsinh(
        100 / 3 * (np.stack([second[band].data for band in "gr"]) - np.array(sky)[:, None, None])
    )
    assert_allclose(sample["target"], (stretched - stretched.min()) / np.ptp(stretched), atol=2e-6)


def test_depth_makes_real_pairs_shallower_and_keeps_the_truth(folder):
    options = EXACT | {"augmentation": "symmetries", "crop": 32, "bands": ("r",)}
    plain = FolderPairs(folder, **options)
    deep = FolderPairs(folder, **(options | {"depth": 0.5}))
    shallower = 0
    for k in range(6):
        one, other = plain[k], deep[k]
        factor = (one["truth"].abs().max() / other["truth"].abs().max()).item()
        assert factor >= 1
        shallower += factor > 1.2
        assert_allclose(other["truth"] * factor, one["truth"], rtol=1e-3, atol=1e-3)
        # The added noise is that which was missing.
        added = (other["noisy"] * factor - one["noisy"]).numpy()
        assert_allclose(added.std(), np.sqrt(factor**2 - 1), rtol=0.15)
    assert shallower >= 2


# Order and copies


def test_symmetries_crop_and_turn_each_pair_once_an_epoch(folder):
    pairs = FolderPairs(folder, crop=24, bands=("r",), seed=1)
    assert len(pairs) == 6
    shapes = {tuple(pairs[k]["target"].shape) for k in range(12)}
    assert shapes == {(1, 48, 48)}
    assert torch.equal(
        pairs[9]["input"], FolderPairs(folder, crop=24, bands=("r",), seed=1)[9]["input"]
    )


def test_paper_turns_every_pair_of_the_folder_four_ways(folder):
    pairs = FolderPairs(folder, bands=("r",), **(EXACT | {"augmentation": "paper"}))
    assert len(pairs) == 24
    upright = [s["noisy"][0].numpy() for s in FolderPairs(folder, bands=("r",), **EXACT)]
    wanted = [f(image) for image in upright for f in (np.array, np.flipud, np.fliplr, np.rot90)]
    for epoch in range(2):
        seen = [pairs[24 * epoch + k]["noisy"][0].numpy() for k in range(24)]
        found = [next(i for i, w in enumerate(wanted) if np.array_equal(w, s)) for s in seen]
        assert sorted(found) == list(range(24))
        assert found != sorted(found)


def test_folder_travels_to_workers_without_images(folder):
    pairs = FolderPairs(folder, **EXACT)
    first = pairs[0]["input"]
    sent = pickle.dumps(pairs)
    assert len(sent) < 50_000
    assert torch.equal(pickle.loads(sent)[0]["input"], first)


# What is held out


def config_of(folder, **keys):
    known = {
        "preset": "fidelity",
        "data.source": str(folder.path),
        "data.bands": ["g", "r"],
        "data.crop": 24,
        "data.batch_size": 2,
        "data.n_validation": 2,
        "run.steps_per_epoch": None,
    }
    return load_config(known | keys)


@pytest.mark.parametrize("how", ["sky", "random"])
def test_held_out_pairs_are_not_trained_on(folder, how):
    config = config_of(folder, **{"data.validation": how})
    train, held = (make_dataset(config, purpose) for purpose in ("train", "validation"))
    assert len(held) == 2
    assert len(train) == 4
    assert sorted((*train.names, *held.names)) == [f"p{k}" for k in range(6)]
    assert held[0]["input"].shape == (2, 40, 40)
    assert train[0]["input"].shape == (2, 24, 24)
    if how == "sky":
        assert int(held.names[1][1]) - int(held.names[0][1]) == 1
    again = make_dataset(config_of(folder, **{"data.validation": how}), "validation")
    assert again.names == held.names


def test_copies_stay_with_their_originals_and_are_never_held_out(folder, tmp_path):
    shutil.copytree(folder.path, tmp_path / "both")
    both = PairFolder(tmp_path / "both")
    for k in range(6):
        add(both, f"p{k}_SW", pair_of(20 + k), ra=10.0 + k + 0.005)
    config = config_of(both)
    train, held = (make_dataset(config, purpose) for purpose in ("train", "validation"))
    assert len(held.names) == 2
    assert all("_" not in name for name in held.names)
    assert {name[:2] for name in train.names} == {f"p{k}" for k in range(6)} - set(held.names)
    assert len(train.names) == 8


def test_pairs_without_positions_are_split_at_random_only(tmp_path):
    folder = PairFolder(tmp_path, create=True)
    for k in range(3):
        add(folder, f"p{k}", pair_of(k))
    with pytest.raises(ValueError, match=r"'p0' has none: take validation='random'"):
        make_dataset(config_of(folder, **{"data.n_validation": 1}), "train")
    config = config_of(folder, **{"data.n_validation": 1, "data.validation": "random"})
    train, held = (make_dataset(config, purpose) for purpose in ("train", "validation"))
    assert sorted((*train.names, *held.names)) == ["p0", "p1", "p2"]


def test_too_many_held_out_pairs_are_refused(folder):
    with pytest.raises(ValueError, match=r"n_validation must leave pairs .* 6 accepted .* got 6"):
        make_dataset(config_of(folder, **{"data.n_validation": 6}), "train")


def test_regions_that_leave_nothing_are_refused(tmp_path):
    folder = PairFolder(tmp_path, create=True)
    for k in range(3):
        add(folder, f"p{k}", pair_of(k), ra=10 + 0.1 * k)
    with pytest.raises(ValueError, match=r"too close together .* take validation='random'"):
        make_dataset(config_of(folder, **{"data.n_validation": 2}), "train")


# What is refused


@pytest.fixture
def spoiled(folder, tmp_path):
    """A copy of the folder that a test may damage."""
    shutil.copytree(folder.path, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_corrupt_pair_stops_before_the_training(spoiled, damage):
    path = spoiled / "p3" / "target.fits"
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(content[:4000] if damage == "cut" else content[:-1] + b"?")
    fault = "(is missing|does not have the sha256 .*)"
    message = rf"p3.target.fits {fault}; remove .*p3 and fetch it again"
    with pytest.raises(OSError, match=message):
        PairsDataModule(config_of(PairFolder(spoiled))).prepare_data()
    pairs = FolderPairs(spoiled)
    assert pairs.names[3] == "p3"
    with pytest.raises(OSError, match=message):
        [pairs[k] for k in range(6)]


def rewrite(folder, name, side, field, **changes):
    """Replace a file of a pair, and its hash."""
    path = folder / name / f"{side}.fits"
    write_bands(path, field, overwrite=True)
    record = json.loads((folder / name / "record.json").read_text())
    record["sha256"][side] = file_hash(path)
    (folder / name / "record.json").write_text(json.dumps(sealed(record | changes)))


def test_sides_that_do_not_fit_are_named(spoiled):
    _, target = pair_of(3, shape=(32, 32))
    rewrite(spoiled, "p3", "target", target)
    message = r"'p3' \(.*p3\): target.fits must have the shape \(80, 80\) in g, .*got \(64, 64\)"
    with pytest.raises(ValueError, match=message):
        FolderPairs(spoiled).verify()


def test_bands_that_are_not_in_a_file_are_named(spoiled):
    first, _ = pair_of(3)
    rewrite(spoiled, "p3", "input", {"g": first["g"]})
    with pytest.raises(ValueError, match=r"'p3' .* cannot be read: it has the bands g, not r"):
        FolderPairs(spoiled).verify()


def test_bands_that_a_pair_lacks_are_named(folder):
    with pytest.raises(ValueError, match=r"'p0' .* must have the bands g, z; it has g, r: leave"):
        FolderPairs(folder, bands=("g", "z"))


def test_crops_larger_than_a_pair_are_refused(spoiled):
    folder = PairFolder(spoiled)
    add(folder, "small", pair_of(30, shape=(32, 32)), ra=30.0)
    with pytest.raises(ValueError, match=r"got 36, but the pair 'small' .* the shape \(32, 32\)"):
        FolderPairs(folder, crop=36)
    with pytest.raises(ValueError, match=r"crop must be given .*'p0' .* 'small' has \(32, 32\)"):
        FolderPairs(folder)
    assert len(FolderPairs(folder, augmentation="none")) == 7


def test_images_without_noise_are_named(tmp_path):
    first, second = pair_of(1, ("r",))
    first["r"].data[:] = 1.0
    pairs = FolderPairs(one_pair(tmp_path, (first, second)), **EXACT)
    with pytest.raises(ValueError, match=r"'only' .* cannot be trained on: .*constant"):
        pairs[0]


def test_folders_without_accepted_pairs_are_told(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no pairs"):
        FolderPairs(tmp_path)
    folder = PairFolder(tmp_path, create=True)
    add(folder, "bad", pair_of(6), reasons=["shifted"])
    folder.add_failure("lost", "no image")
    with pytest.raises(ValueError, match="of its 2 pairs 1 are rejected and 1 failed"):
        FolderPairs(folder)
    with pytest.raises(ValueError, match="of its 2 pairs 1 are rejected and 1 failed"):
        PairsDataModule(config_of(folder)).prepare_data()
    with pytest.raises(ValueError, match=r"names must be accepted pairs of .*; got 'bad'"):
        FolderPairs(folder, names=["bad"])


def test_an_empty_folder_is_told_at_the_start_of_a_run(tmp_path):
    folder = PairFolder(tmp_path, create=True)
    with pytest.raises(FileNotFoundError, match="has no pairs"):
        PairsDataModule(config_of(folder)).prepare_data()


def test_whole_folders_pass_the_check(folder):
    PairsDataModule(config_of(folder)).prepare_data()


def test_simulated_saturation_and_units_agree_with_the_enhancer(tmp_path):
    """ADU on both sides, as simulated: the truth is the noise-free target over the noise."""
    field = simulate_field((2, 4), shape=(48, 48), bands=("r",), kind="galaxy")
    sides = field.observed, field.target
    sample = FolderPairs(one_pair(tmp_path, sides), **EXACT)[0]
    wanted = 4 * field.target["r"].data / field.sigma["r"]
    bright = wanted > 20
    assert bright.sum() > 50
    assert_allclose(np.median(sample["truth"][0].numpy()[bright] / wanted[bright]), 1, atol=0.1)
