# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training: pairs, losses, and a run that is stopped, goes on, and is exported."""

import json

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.simulate import simulate_field
from splus_srgan.stretch import NoiseAsinhStretch
from splus_srgan.training.dataset import SEEDS, PairSet, _grow, render_pairs
from splus_srgan.training.losses import flux_loss, pixel_loss, stretch, unstretch
from splus_srgan.training.supervised import (
    BodyMuon,
    export,
    grow,
    learning_rate,
    losses,
    main,
    make_optimizer,
    train,
)

OPTIONS = {
    "single_band": False,
    "n_features": 4,
    "n_blocks": 1,
    "batch_size": 2,
    "crop": 24,
    "flux_weight": 0.03,
    "peak_rate": 1e-3,
    "seed": 0,
    "precision": "float32",
    "device": "cpu",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    render_pairs(folder, 3, shape=(32, 32), bands=("g", "r"))
    return folder


# Pairs


def test_seeds_of_each_purpose_differ():
    assert len(set(SEEDS.values())) == len(SEEDS) == 3


def test_pairs_are_the_simulated_fields(folder):
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


@pytest.mark.parametrize(("single_band", "n_band"), [(False, 2), (True, 1)])
def test_crops_have_noise_of_one(folder, single_band, n_band):
    pairs = PairSet([folder, folder], crop=24, single_band=single_band)
    rng = np.random.default_rng(0)
    assert len(pairs.index) == 6
    noisy, truth, electrons, weight = pairs.draw(rng)
    assert noisy.shape == (n_band, 24, 24)
    assert truth.shape == weight.shape == (n_band, 48, 48)
    assert electrons.shape == (n_band,)
    assert all(part.dtype == np.float32 for part in (noisy, truth, electrons, weight))
    assert set(np.unique(weight)) <= {0.0, 1.0}


def test_truth_and_input_are_aligned_and_per_input_pixel(folder):
    """However the crop is turned: the mean of four true pixels follows the input."""
    pairs = PairSet([folder], crop=24)
    rng = np.random.default_rng(1)
    excess = []
    for _ in range(20):
        noisy, truth, _, _ = pairs.draw(rng)
        coarse = truth.reshape(2, 24, 2, 24, 2).mean(axis=(2, 4))
        faint = np.abs(coarse) < 3
        excess.append((noisy - coarse)[faint])
    excess = np.concatenate(excess)
    assert_allclose(np.median(excess), 0, atol=0.15)
    assert_allclose(1.4826 * np.median(np.abs(excess)), 1, atol=0.15)


def test_draws_repeat_with_the_seed(folder):
    pairs = PairSet([folder], crop=24)
    one, again = (pairs.draw(np.random.default_rng(5)) for _ in range(2))
    for a, b in zip(one, again, strict=True):
        assert_array_equal(a, b)


def test_saturated_pixels_grow_to_squares():
    mask = np.zeros((9, 9), bool)
    mask[4, 1] = True
    grown = _grow(mask, 2)
    assert grown.sum() == 5 * 4
    assert grown[2:7, 0:4].all()
    assert not _grow(np.zeros((3, 3), bool), 2).any()


# Losses


def test_pixel_loss_is_a_weighted_mean():
    made, true = torch.tensor([[[[1.0, 5.0]]]]), torch.tensor([[[[0.0, 2.0]]]])
    assert pixel_loss(made, true, torch.tensor([[[[1.0, 1.0]]]])) == 2.0
    assert pixel_loss(made, true, torch.tensor([[[[1.0, 0.0]]]])) == 1.0
    assert pixel_loss(made, true, torch.zeros(1, 1, 1, 2)) == 0.0


def test_flux_loss_is_zero_for_the_truth_and_grows_with_the_error():
    torch.manual_seed(0)
    truth, electrons = 10 * torch.rand(2, 1, 48, 48), torch.full((2, 1), 20.0)
    weight = torch.ones_like(truth)
    found = [float(flux_loss(truth * f, truth, electrons, weight)) for f in (1.0, 1.02, 1.1)]
    assert found[0] == 0
    assert 0 < found[1] < found[2]
    assert flux_loss(truth * 1.1, truth, electrons, torch.zeros_like(weight)) == 0


def test_flux_loss_does_not_see_where_within_a_box_the_light_is():
    truth = torch.zeros(1, 1, 12, 12)
    moved = truth.clone()
    truth[..., 5, 5], moved[..., 6, 6] = 100.0, 100.0
    electrons, weight = torch.ones(1, 1), torch.ones_like(truth)
    assert flux_loss(moved, truth, electrons, weight, sizes=(12,)) == 0
    assert flux_loss(moved, truth, electrons, weight, sizes=(2,)) > 0


def test_flux_loss_leaves_out_boxes_with_bad_pixels():
    truth, electrons = torch.ones(1, 1, 24, 24), torch.ones(1, 1)
    weight, made = torch.ones_like(truth), torch.ones(1, 1, 24, 24)
    weight[..., 3, 3], made[..., 3, 3] = 0, 1e4
    assert flux_loss(made, truth, electrons, weight, sizes=(6,)) == 0


def test_stretch_is_that_of_the_enhancer():
    x = np.linspace(-5, 1e5, 1001, dtype=np.float32)
    ours = stretch(torch.from_numpy(x), 3.0, 2.0)
    theirs = NoiseAsinhStretch(0.0, 1.0, softening=3.0, range=2.0)
    assert_allclose(ours, theirs(x), rtol=1e-5, atol=1e-6)
    assert_allclose(unstretch(ours, 3.0, 2.0), x, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(unstretch(torch.tensor([1e6, -1e6]), 3.0, 2.0)).all()


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(p, 10_000, 1.0) for p in (0, 0.25, 0.5, 1, 2)]
    assert rates == sorted(rates, reverse=True)
    assert_allclose([rates[0], rates[2], rates[3]], [1, 0.505, 0.01])
    assert learning_rate(0, 0, 1.0) < learning_rate(0, 100, 1.0) < 1


# A run


def test_losses_reach_every_weight(folder):
    from splus_srgan.models.generator import SRResNet
    from splus_srgan.training.supervised import batch

    torch.manual_seed(0)
    generator = SRResNet(2, n_features=4, n_blocks=1)
    torch.nn.init.normal_(generator.last.weight, std=0.01)
    parts = batch(PairSet([folder], crop=24), np.random.default_rng(0), 2)
    pixel, flux = losses(generator, *parts, precision="float32")
    (pixel + flux).backward()
    assert torch.isfinite(pixel)
    assert torch.isfinite(flux)
    assert all(torch.any(parameter.grad != 0) for parameter in generator.parameters())


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run of half a second, stopped and gone on with for as long again."""
    output = tmp_path_factory.mktemp("run")
    steps = []
    for minutes in (0.01, 0.02):
        train([folder], output, minutes=minutes, **OPTIONS)
        state = torch.load(output / "checkpoint.pt", weights_only=True)
        steps.append((state["step"], state["spent"]))
    return output, steps


def test_run_goes_on_where_it_stopped(run):
    output, (first, second) = run
    assert second[0] > first[0] > 0
    assert second[1] > first[1]
    assert not list(output.glob("*.part"))


def test_run_is_exported_with_its_card(run, tmp_path):
    output, steps = run
    card = export(output, tmp_path, name="tried", version="0.0")
    assert load_card(tmp_path / "tried.json") == card
    assert [stage["steps"] for stage in card.training["stages"]] == [steps[-1][0]]
    assert card.target_psf["fwhm"] == 1.0
    generator = load_generator(card)
    state = torch.load(output / "checkpoint.pt", weights_only=True)["average"]
    for key, value in generator.state_dict().items():
        assert torch.equal(value, state[key])


def test_command_line_renders(tmp_path, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        "splus_srgan.training.supervised.render_pairs",
        lambda folder, number, **options: asked.update(folder=folder, number=number, **options),
    )
    main(["render", str(tmp_path), "--number", "4", "--first", "10"])
    assert asked == {"folder": str(tmp_path), "number": 4, "first": 10}


def test_fine_tuning_starts_from_the_average_and_tells_so(run, folder, tmp_path):
    output, steps = run
    options = OPTIONS | {"peak_rate": 0.0, "power": 2}
    train([folder], tmp_path / "fine", minutes=0.005, start_from=output, **options)
    fine = torch.load(tmp_path / "fine" / "checkpoint.pt", weights_only=True)
    first = torch.load(output / "checkpoint.pt", weights_only=True)
    for key, value in first["average"].items():
        assert_allclose(fine["generator"][key].numpy(), value.numpy())
    card = export(tmp_path / "fine", tmp_path, name="fine", version="0.0")
    assert [stage["power"] for stage in card.training["stages"]] == [1, 2]
    assert card.training["stages"][0]["steps"] == steps[-1][0]


def test_a_larger_generator_starts_as_the_smaller_one():
    torch.manual_seed(3)
    small = SRResNet(1, n_features=4, n_blocks=1)
    torch.nn.init.normal_(small.last.weight)
    large = SRResNet(1, n_features=4, n_blocks=1, dilations=(2, 4))
    torch.nn.init.normal_(large.last.weight)
    image = torch.randn(1, 1, 12, 12)
    grow(large, small.state_dict())
    assert torch.equal(large(image), small(image))


def test_another_kind_of_generator_is_refused():
    large = SRResNet(1, n_features=4, n_blocks=2)
    with pytest.raises(ValueError, match=r"another kind of generator: .*blocks.1"):
        grow(SRResNet(1, n_features=4, n_blocks=1), large.state_dict())


needs_muon = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason=f"torch {torch.__version__} has no Muon"
)


def test_muon_is_refused_where_torch_lacks_it(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ValueError, match=r"optimizer='muon' needs torch 2.9 or newer"):
        make_optimizer(SRResNet(1, n_features=4, n_blocks=1), "muon", 1e-3)


@needs_muon
def test_muon_steps_are_orthogonal_and_of_the_size_of_adams():
    """0.2 sqrt(larger side) times a matrix with singular values near 1, as published."""
    torch.manual_seed(5)
    generator = SRResNet(1, n_features=8, n_blocks=1).to(memory_format=torch.channels_last)
    torch.nn.init.normal_(generator.last.weight)
    optimizer = BodyMuon(generator, 1e-2)
    kernel = generator.blocks[0].body[0].weight
    before = kernel.detach().clone()
    generator(torch.randn(2, 1, 12, 12)).square().mean().backward()
    optimizer.step()
    step = (before - kernel.detach()).permute(0, 2, 3, 1).flatten(1)
    singular = torch.linalg.svdvals(step) / (1e-2 * 0.2 * np.sqrt(72))
    assert singular.min() > 0.5
    assert singular.max() < 1.3
    assert not torch.equal(generator.first[0].weight.grad, torch.zeros(1))
    optimizer.zero_grad()
    assert all(p.grad is None for p in generator.parameters())


@needs_muon
def test_muon_goes_on_where_it_stopped(folder, tmp_path):
    for minutes in (0.005, 0.01):
        train([folder], tmp_path / "muon", minutes=minutes, optimizer="muon", **OPTIONS)
    state = torch.load(tmp_path / "muon" / "checkpoint.pt", weights_only=True)
    assert state["recipe"]["optimizer"] == "muon"
    assert len(state["optimizer"]["parts"]) == 2
