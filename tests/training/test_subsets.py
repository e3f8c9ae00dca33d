# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training on subsets of the bands: what is drawn, what is told, what the loss sees."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import splus
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.joint import JointResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.pixels.psf import core_profile
from splus_srgan.simulate.field import simulate_field
from splus_srgan.training.config.training import load_config, preset
from splus_srgan.training.data.dataset import (
    FolderPairs,
    RenderedPairs,
    SimulatedPairs,
    render_pairs,
)
from splus_srgan.training.data.fields import CONDITIONS, SEEDS
from splus_srgan.training.data.samples import Pairs
from splus_srgan.training.data.subsets import SETS, draw_subset, spread_planes, tell_bands
from splus_srgan.training.networks import make_generator, widen
from splus_srgan.training.optimizers import grow
from splus_srgan.training.run import train
from splus_srgan.training.terms import GeneratorTerms

BANDS = tuple(splus.BANDS)
SHAPE = (24, 24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two rendered fields of four bands."""
    path = tmp_path_factory.mktemp("rendered")
    render_pairs(path, 2, shape=SHAPE, bands=("g", "r", "J0660", "z"))
    return path


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


def test_what_is_told_is_what_the_field_was_seen_through(folder):
    pairs = RenderedPairs(folder, subsets=True, augmentation="none")
    rows = pairs[0]["told"].numpy()
    conditions = simulate_field((SEEDS["train"], 0), shape=SHAPE, bands=pairs.bands).conditions
    for row, band in zip(rows, pairs.bands, strict=True):
        seen = conditions[band]
        assert row[0] == 1
        if row[1]:  # the field has the number 0: no wings
            expected = core_profile(seen.fwhm, seen.beta, 0.0)
            assert_allclose(row[2] * 0.3 + 1.35, expected[0], rtol=0.08)
            assert_allclose(row[4] * 0.1 + 0.25, 0, atol=1e-6)
        if row[5]:
            noise = splus.BANDS[band].noise[0]
            assert_allclose(np.exp(row[6] * 0.5) * noise, seen.sigma, rtol=0.2)


def test_sometimes_nothing_is_known():
    rng = np.random.default_rng(0)
    seen = [{"psf": (1.3, 3.5, 0.28)}] * 2
    rows = np.array(
        [tell_bands(rng, ("g", "r"), seen, (0.05, 0.06), (0, 2), 3) for _ in range(300)]
    )
    assert_array_equal(rows[:, 1], 0)  # absent
    assert_array_equal(rows[:, [0, 2], 0], 1)
    for column in (1, 5):
        assert_array_equal(rows[:, 0, column], rows[:, 2, column])
        assert 0.75 < rows[:, 0, column].mean() < 0.95
    assert_array_equal(rows[rows[:, 0, 1] == 0][:, 0, 2:5], 0)


def test_folders_that_know_no_psf_are_refused(folder, tmp_path):
    for name in ("clean.npy", "sharp.npy"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    text = (folder / CONDITIONS).read_text().replace('"psf"', '"other"')
    (tmp_path / CONDITIONS).write_text(text)
    with pytest.raises(ValueError, match=r"data.subsets needs fields that know their PSFs"):
        RenderedPairs(tmp_path, subsets=True)[0]


# Samples


def test_absent_bands_are_empty_and_have_no_weight(folder):
    pairs = RenderedPairs(folder, subsets=True, crop=16)
    seen = set()
    for k in range(24):
        sample = pairs[k]
        present = sample["told"][:, 0] > 0
        assert 1 <= int(present.sum()) <= 4
        for name in ("input", "target", "truth", "noisy", "weight"):
            assert sample[name].shape[0] == 4
            assert_array_equal(sample[name][~present], 0)
        assert torch.all(sample["electrons"][~present] == 1)
        assert torch.all(sample["weight"][present].amax((1, 2)) == 1)
        assert torch.all(sample["input"][present].std((1, 2)) > 0)
        seen.add(int(present.sum()))
    assert len(seen) > 2


def test_samples_depend_on_their_number_alone(folder):
    one, two = (RenderedPairs(folder, subsets=True, crop=16, seed=4) for _ in range(2))
    for k in (7, 3):
        for name, value in one[k].items():
            assert_array_equal(value, two[k][name])


def test_planes_go_to_their_places():
    sample = {"input": np.ones((2, 3, 3)), "electrons": np.array([5.0, 6.0])}
    spread = spread_planes(sample, [3, 1], 4)
    assert_array_equal(spread["input"][:, 0, 0], [0, 1, 0, 1])
    assert_array_equal(spread["electrons"], [1, 6, 1, 5])


def test_the_loss_does_not_see_absent_bands(folder):
    """Neither its value nor its gradient depends on what is made in them."""
    config = load_config({"preset": "twelve"}, {"losses.flux_sizes": [6]})
    terms = GeneratorTerms(config)
    pairs = RenderedPairs(folder, subsets=True, crop=16)
    sample = next(pairs[k] for k in range(30) if 0 < pairs[k]["told"][:, 0].sum() < 4)
    batch = {name: torch.as_tensor(value)[None] for name, value in sample.items()}
    made = (batch["target"] + 0.1).requires_grad_()
    found = terms(batch, made)
    sum(found.values()).backward()
    absent = batch["told"][0, :, 0] == 0
    assert_array_equal(made.grad[0, absent], 0)
    assert (made.grad[0, ~absent] != 0).any()
    changed = made.detach().clone()
    changed[0, absent] = 3.0
    for name, value in terms(batch, changed).items():
        assert_allclose(value, found[name].detach())


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
        ({"generator.coarse_blocks": -1}, "generator.coarse_blocks must be at least 0"),
    ],
)
def test_what_does_not_fit_is_refused(changes, text):
    with pytest.raises(ValueError, match=text):
        load_config({"preset": "twelve"}, changes)
    with pytest.raises(ValueError, match=r"coarse_blocks must be 0 where generator.kind"):
        load_config({"preset": "fidelity"}, {"generator.coarse_blocks": 2})


def test_a_run_ends_with_weights_for_any_subset(tmp_path):
    small = {"n_features": 8, "n_blocks": 1, "coarse_blocks": 1, "n_tail_features": 8}
    changes = {
        "generator": small,
        "data": {
            "bands": ["g", "r", "J0660"],
            "shape": [32, 32],
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
    assert not card.turned
    assert card.bands == ["g", "r", "J0660"]
    assert isinstance(load_generator(card), JointResNet)
    assert Path(result.last).is_file()


def test_simulated_pairs_have_subsets_too():
    pairs = SimulatedPairs(1, shape=SHAPE, bands=("r", "J0660"), subsets=True, augmentation="none")
    assert pairs[0]["told"].shape == (2, 7)
    assert pairs[0]["input"].shape == (2, *SHAPE)


def test_kinds_of_pairs_that_know_no_psf_refuse_subsets_before_any_work():
    """As folders of real pairs do; a training would otherwise end at its first sample."""

    class Real(Pairs):
        def _linear(self, place, bands):
            raise AssertionError("asked for a sample")

    with pytest.raises(ValueError, match=r"subsets must be False for pairs .* of Real; got True"):
        Real(BANDS, subsets=True)
    assert Real(BANDS).subsets is False
    assert FolderPairs._told is None


# Starting from a plain generator.


def test_joint_generator_starts_as_the_plain_one_for_its_bands():
    torch.manual_seed(2)
    options = {"n_features": 6, "n_blocks": 2, "n_tail_features": 5, "dilations": (2,)}
    plain = SRResNet(3, **options, low_pass=2, scale="laplace")
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    joint = JointResNet(("u", "g", "J0515", "r", "i", "z"), **options)
    grow(joint, widen(plain.state_dict(), ("z", "g", "r"), joint))
    y = torch.randn(2, 3, 12, 14)
    told = joint.tell(("z", "g", "r"), psfs=[(1.2, 3.0)] * 3, sigmas=[0.1] * 3)
    torch.testing.assert_close(told(y), plain(y))
    alone = joint.tell(("i",))(y[:, :1])
    assert torch.isfinite(alone).all()


def test_start_from_bands_that_the_run_has_not_is_told():
    joint = JointResNet(("g", "r"), n_features=4, n_blocks=1)
    weights = SRResNet(2, n_features=4, n_blocks=1, low_pass=2).state_dict()
    with pytest.raises(ValueError, match=r"data.bands must include .*'z' is missing"):
        widen(weights, ("g", "z"), joint)
