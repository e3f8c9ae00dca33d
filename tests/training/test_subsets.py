# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training on subsets of the bands: what is drawn, what is told, what the loss sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import pixel_shuffle

from splus_srgan import splus
from splus_srgan.cli.main import main
from splus_srgan.models.guide import GUIDED_PLANES, REACH
from splus_srgan.models.joint import PLANES, JointResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.models.wiener import restored_phases, wiener_kernels
from splus_srgan.pixels.psf import core_profile
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.simulate.field import simulate_field
from splus_srgan.training.config.training import load_config, preset
from splus_srgan.training.data.crops import turn
from splus_srgan.training.data.fields import SEEDS
from splus_srgan.training.data.restored import RestoredPairs, _surroundings, join_fields
from splus_srgan.training.data.subsets import SETS, draw_subset, tell_bands
from splus_srgan.training.networks import make_generator
from splus_srgan.training.run import train
from splus_srgan.training.terms import GeneratorTerms

BANDS = tuple(splus.BANDS)
SHAPE = (40, 40)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Two fields of four bands, drawn anew each time."""
    return make_pairs(cache=tmp_path_factory.mktemp("cache"), crop=16)


def make_pairs(*, bands=("g", "r", "J0660", "z"), number=2, **options):
    first = ("splus-grz", "splus-any")
    return RestoredPairs(number, shape=SHAPE, bands=bands, first_stage=first, **options)


# What is drawn


@given(st.integers(0, 2**31))
def test_a_subset_is_some_of_the_bands_in_their_order(seed):
    chosen = draw_subset(np.random.default_rng(seed), BANDS)
    assert chosen
    assert chosen == [band for band in BANDS if band in chosen]


def test_every_common_case_is_drawn():
    rng = np.random.default_rng(0)
    drawn = [tuple(draw_subset(rng, BANDS)) for _ in range(2000)]
    for common in (BANDS, *(tuple(sorted(one, key=BANDS.index)) for one in SETS)):
        assert drawn.count(common) > 40
    assert {one[0] for one in drawn if len(one) == 1} == set(BANDS)
    assert any(len(one) > 2 and not set(one) & set("ugriz") for one in drawn)


def test_validation_goes_through_fixed_sets():
    drawn = [draw_subset(None, BANDS, k) for k in range(20)]
    assert drawn[0] == list(BANDS)
    assert drawn[1] == ["g", "r", "z"]
    assert drawn[6:18] == [[band] for band in BANDS]
    assert drawn[18] == drawn[0]


# What is told


def test_what_is_told_is_what_the_field_was_seen_through():
    every = make_pairs(augmentation="none", number=1)
    rows = every[0]["input"][:, GUIDED_PLANES + 4 :, 0, 0].numpy()
    conditions = simulate_field((SEEDS["train"], 0), shape=SHAPE, bands=every.bands).conditions
    for row, band in zip(rows, every.bands, strict=True):
        seen = conditions[band]
        assert_allclose(row[0], np.log(4) / np.log(12))
        assert row[1] == (band != "J0660")
        if row[2]:  # the field has the number 0: no wings
            expected = core_profile(seen.fwhm, seen.beta, 0.0)
            assert_allclose(row[3] * 0.3 + 1.35, expected[0], rtol=0.08)
            assert_allclose(row[5] * 0.1 + 0.25, 0, atol=1e-6)
        if row[6]:
            noise = splus.BANDS[band].noise[0]
            assert_allclose(np.exp(row[7] * 0.5) * noise, seen.sigma, rtol=0.2)


def test_sometimes_nothing_is_known():
    rng = np.random.default_rng(0)
    seen = [{"psf": (1.3, 3.5, 0.28)}] * 2
    rows = np.array(
        [tell_bands(rng, ("g", "r"), seen, (0.05, 0.06), (False, True))[0] for _ in range(300)]
    )
    assert_array_equal(rows[:, :, 1], np.broadcast_to([0, 1], (300, 2)))
    for column in (2, 6):
        assert_array_equal(rows[:, 0, column], rows[:, 1, column])
        assert 0.75 < rows[:, 0, column].mean() < 0.95
    assert_array_equal(rows[rows[:, 0, 2] == 0][:, 0, 3:6], 0)


# Samples


def test_samples_are_of_bands_of_a_subset(pairs):
    seen = set()
    for k in range(24):
        sample = pairs[k]
        number = round(np.exp(float(sample["input"][0, GUIDED_PLANES + 4, 0, 0]) * np.log(12)))
        assert sample["input"].shape == (number, PLANES, 16, 16)
        different = {tuple(image.ravel().tolist()) for image in sample["target"]}
        assert len(different) == len(sample["target"]) == number
        assert torch.all(sample["weight"].amax((1, 2)) == 1)
        seen.add(number)
    assert len(seen) > 2


def test_a_batch_holds_the_bands_of_its_samples(pairs):
    samples = [pairs[k] for k in range(6)]
    batch = join_fields(samples)
    assert batch["counts"].tolist() == [len(sample["target"]) for sample in samples]
    assert len(set(batch["counts"].tolist())) > 1
    assert_array_equal(batch["index"], range(6))
    counts = batch["counts"].tolist()
    for name in ("input", "target", "truth", "weight", "electrons"):
        for part, sample in zip(batch[name].split(counts), samples, strict=True):
            expected = sample[name] if name == "input" else sample[name][:, None]
            assert_array_equal(part, expected)


def test_the_first_stage_is_the_shipped_weights(pairs):
    """Of the whole field, together where all their bands are there; crops and turns follow."""
    whole = make_pairs(augmentation="none", number=3)
    for k, bands in ((0, ("g", "r", "J0660", "z")), (2, ("g", "r"))):
        planes = whole[k]["input"]
        assert len(planes) == len(bands)
        y, made = planes[:, 0], pixel_shuffle(planes[:, 1:5], 2)[:, 0]
        with torch.inference_mode():
            if "z" in bands:
                expected = load_generator("splus-grz")(y[[0, 1, 3]][None])[0]
                assert_allclose(made[[0, 1, 3]], expected, atol=1e-5)
            alone = 2 if "J0660" in bands else 1
            expected = load_generator("splus-any")(y[alone][None, None])[0, 0]
            assert_allclose(made[alone], expected, atol=1e-5)
    for k in range(6):  # what is made lies over what was there, however it is turned
        sample = pairs[k]
        made = pixel_shuffle(sample["input"][:, 1:5], 2)[:, 0]
        for name in ("target", "truth"):
            assert sample[name].shape == made.shape
        for one, two in zip(made, sample["target"], strict=True):
            assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.5


def test_the_filter_is_that_of_the_psf_and_knows_no_border():
    """In a crop as in the whole field, and in a field that was turned as well."""
    whole = make_pairs(augmentation="none", number=1)[0]
    part = make_pairs(augmentation="none", number=1, crop=16)[0]
    assert_allclose(part["input"], whole["input"][:, :, 12:28, 12:28], rtol=0, atol=1e-5)
    assert_array_equal(part["truth"], whole["truth"][:, 24:56, 24:56])
    planes, told = whole["input"][:, GUIDED_PLANES:], whole["input"][:, GUIDED_PLANES + 4 :, 0, 0]
    for k, row in enumerate(told.numpy()):
        psf = (row[3] * 0.3 + 1.35, row[4] * 0.9 + 3.7) if row[2] else None
        kernels = wiener_kernels(psf, target=(1.0, 3.0), pixel_scale=0.55)[None]
        y = whole["input"][k : k + 1, 0].numpy()
        expected = np.arcsinh(restored_phases(y, kernels, softening=3.0, range=2.0)[0] / 0.3)
        # The kernels of training are those of a rounded PSF.
        assert np.std(planes[k, :4].numpy() - expected) < 0.1 * np.std(expected)


@given(
    first=st.tuples(st.integers(0, 70), st.integers(0, 60)),
    symmetry=st.tuples(st.integers(0, 3), st.integers(0, 1)),
)
def test_the_surroundings_of_a_crop_are_turned_with_it(first, symmetry):
    shape, side = (90, 80), 20
    field = np.arange(90 * 80, dtype=np.float32).reshape(1, *shape)
    window = tuple(slice(start, start + side) for start in first)
    wide, inner = _surroundings(window, shape, symmetry)
    turned = turn(field[:, *wide], *symmetry)
    assert_array_equal(turned[:, *inner], turn(field[:, *window], *symmetry))
    for part, around, length in zip(window, wide, shape, strict=True):
        assert around.start == max(0, part.start - REACH)
        assert around.stop == min(length, part.stop + REACH)


def test_truth_is_the_target_without_stretch(pairs):
    sample = pairs[3]
    expected = NoiseAsinhStretch(0.0, 1.0, softening=3.0, range=2.0).inverse(sample["target"])
    assert_allclose(sample["truth"], np.asarray(expected), rtol=1e-5, atol=1e-6)


def test_samples_depend_on_their_number_alone(pairs, tmp_path):
    one, two = (make_pairs(crop=16, seed=4, cache=cache) for cache in (None, tmp_path))
    again = make_pairs(crop=16, seed=4, cache=tmp_path)
    for k in (7, 3):
        for name, value in one[k].items():
            assert_array_equal(value, two[k][name])
            assert_array_equal(value, again[k][name])


def test_what_is_kept_is_of_these_weights_and_options(tmp_path):
    kept = {make_pairs(cache=tmp_path, **changes)._folder for changes in ({}, {"depth": 0.5})}
    first = {"shape": SHAPE, "bands": ("g", "r", "J0660", "z"), "cache": tmp_path}
    kept.add(RestoredPairs(2, first_stage=["splus-any"], **first)._folder)
    assert len(kept) == 3


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"augmentation": "paper"}, "augmentation 'symmetries' or 'none'"),
        (
            {"crop": 25},
            r"crop must be at most the smaller side of the shape \(40, 40\) less 16 pixels; got 25",
        ),
    ],
)
def test_pairs_that_cannot_be_are_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        make_pairs(**changes)


def test_matched_pairs_cannot_tell(tmp_path):
    with pytest.raises(ValueError, match=r"generator.kind='joint' and data.subsets go together"):
        load_config({"preset": "fidelity"}, {"data.subsets": True})


# The recipe


def test_twelve_is_the_joint_generator_of_all_bands():
    config = preset("twelve")
    generator = make_generator(config)
    assert isinstance(generator, JointResNet)
    assert generator.bands == BANDS
    assert not config.losses.needs_discriminator


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        (
            {"generator.norm": "batch"},
            "generator.norm must be None where generator.kind is 'joint'",
        ),
        ({"data.single_band": True}, "data.subsets needs data.single_band=False"),
        ({"generator.scale": "laplace"}, "generator.scale must be None where generator.kind"),
        ({"data.source": "pairs"}, "data.subsets needs .* data.source='simulation'; got"),
        (
            {"data.crop": 81},
            r"less 16 pixels with data.subsets; got 81",
        ),
        ({"data.first_stage": []}, "data.first_stage must be a list of names of weights"),
        (
            {"generator.exchanges": [2, 7]},
            r"generator.exchanges must rise, .* number of residual blocks, 6; got \(2, 7\)",
        ),
        ({"generator.exchanges": [4, 2]}, r"generator.exchanges must rise, .*; got \(4, 2\)"),
        ({"generator.exchanges": [0]}, "generator.exchanges"),
    ],
)
def test_what_does_not_fit_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        load_config({"preset": "twelve"}, changes)


def test_only_a_joint_generator_exchanges():
    with pytest.raises(ValueError, match=r"generator.exchanges needs generator.kind 'joint'; got"):
        load_config({"preset": "fidelity"}, {"generator.exchanges": [2]})


SEEN = {  # what only networks see
    "adversarial": 0.01,
    "adversarial_softening": 0.3,
    "feature": 0.1,
    "feature_softening": 0.3,
    "feature_matching": 0.1,
    "vgg_network": "vgg16",
    "vgg_weights": "random",
    "spectrum": 0.1,
}


@pytest.mark.parametrize("losses", [{}, SEEN], ids=["fidelity", "srgan"])
def test_a_run_ends_with_weights_for_any_subset(tmp_path, capsys, losses):
    small = {"n_features": 8, "n_blocks": 1, "exchanges": [1]}
    changes = {
        "generator": small,
        "discriminator": {"kind": "patch", "n_features": 4, "n_dense": 8},
        "losses": losses,
        "optimizer": {"name": "muon" if hasattr(torch.optim, "Muon") else "adam"},
        "data": {
            "bands": ["g", "r", "J0660"],
            "shape": [40, 40],
            "crop": 24,
            "batch_size": 2,
            "n_pairs": 2,
            "n_validation": 1,
        },
        "run": {
            "output": str(tmp_path / "run"),
            "epochs": 1,
            "steps_per_epoch": 3,
            "validate_every": 1,
            "precision": "float32",
            "accelerator": "cpu",
        },
    }
    result = train(load_config({"preset": "twelve"}, changes), progress_bar=False)
    card = load_card(result.card)
    assert card.takes_subsets
    assert list(card.first_stage) == ["splus-grz", "splus-any"]
    assert not card.turned
    assert card.bands == ["g", "r", "J0660"]
    generator = load_generator(card)
    assert isinstance(generator, JointResNet)
    assert Path(result.last).is_file()
    # Its head is trained after it, with the calibration, on the same pairs.
    out = ["-o", str(tmp_path / "made"), "--steps", "2", "--fields", "2"]
    assert main(["calibrate", str(result.last), *out, "--precision", "float32"]) == 0
    headed = load_card(tmp_path / "made" / "twelve.json")
    assert headed.scale == headed.uncertainty["kind"] == "laplace"
    own = set(headed.uncertainty["calibration"]["bands"])  # of the subsets that were drawn
    assert own
    assert own <= {"g", "r", "J0660"}
    state = load_generator(headed).state_dict()
    for name, value in generator.state_dict().items():
        assert_array_equal(state[name], value)
    assert main(["calibrate", str(result.card), "pairs", *out]) == 2
    assert "give its checkpoint (.ckpt), or --minutes 0" in capsys.readouterr().err


def test_the_loss_of_bright_sources_weighs_errors_by_noise_and_light():
    """The formula, pixel by pixel; missing pixels do not count."""
    config = load_config({"preset": "twelve"}, {"losses.pixel": 0.0, "losses.response": 0.0})
    terms = GeneratorTerms(config)
    truth = torch.tensor([-2.0, 0.0, 5.0, 300.0, 9.0]).reshape(1, 1, 1, 5)
    linear = truth + torch.tensor([0.2, -0.4, 1.0, -20.0, 50.0]).reshape(1, 1, 1, 5)
    weight = torch.tensor([1.0, 1.0, 1.0, 1.0, 0.0]).reshape(1, 1, 1, 5)
    batch = {"truth": truth, "weight": weight, "electrons": torch.tensor([[17.0]])}
    made = torch.asinh(linear / 3) / 2
    found = terms({**batch, "target": torch.asinh(truth / 3) / 2}, made)
    assert list(found) == ["bright"]
    light = np.maximum(truth.numpy().ravel(), 0)
    sigma = np.sqrt(0.3**2 + light / 17 + (0.05 * light) ** 2)
    chi = (linear - truth).numpy().ravel() / sigma
    expected = (weight.numpy().ravel() * (np.sqrt(chi**2 + 0.3**2) - 0.3)).mean()
    assert_allclose(found["bright"], expected, rtol=1e-4)
