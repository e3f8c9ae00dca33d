# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The module in training: phases, one step worked out by hand, numbers, and optimizers."""
# ruff: noqa: E402 - what needs lightning is imported where lightning is

import copy
import logging
import math

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional

L = pytest.importorskip("lightning")

from splus_srgan.models.features import VGGFeatures
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import load_generator, save_weights
from splus_srgan.training import module
from splus_srgan.training import terms as _terms
from splus_srgan.training.config.training import DataConfig, load_config
from splus_srgan.training.data.restored import join_fields
from splus_srgan.training.module import SRGANModule, trainer_options
from splus_srgan.training.optimizers import (
    BodyMuon,
    clip_gradients,
    grow,
    learning_rate,
    make_optimizer,
    update_average,
)
from splus_srgan.training.scores import field_scores, flux_aware_score, flux_bias

pytestmark = [
    # Lightning 2.6 with PyTorch 2.13.
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*:FutureWarning"),
    pytest.mark.filterwarnings("ignore:.*does not have many workers.*"),
]

TINY = {
    "generator.n_features": 4,
    "generator.n_blocks": 1,
    "generator.n_tail_features": 4,
    "generator.dilations": [2],
    "discriminator.n_features": 2,
    "discriminator.n_dense": 4,
    "optimizer.name": "adam",
    "optimizer.warm_up_steps": 0,
    "losses.flux_sizes": [6],
    "data.bands": ["g", "r"],
    "data.crop": 16,
    "run.epochs": 3,
    "run.steps_per_epoch": 2,
    "run.pretrain_epochs": 1,
    "run.ramp_epochs": 1,
    "run.validate_every": 3,
    "run.precision": "float32",
    "run.accelerator": "cpu",
}


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """One thread, since tiny networks are slower with more; no advertisements."""
    threads, logger = torch.get_num_threads(), logging.getLogger("lightning.pytorch")
    level = logger.level
    torch.set_num_threads(1)
    logger.setLevel(logging.WARNING)
    yield
    torch.set_num_threads(threads)
    logger.setLevel(level)


def sample(k, *, side=16, n_band=2):
    """Blobs with noise, as the data gives them."""
    rng = torch.Generator().manual_seed(k)
    truth = 60 * torch.rand(n_band, 2 * side, 2 * side, generator=rng) ** 4
    noise = torch.randn(n_band, side, side, generator=rng)
    noisy = functional.avg_pool2d(truth[None], 2)[0] + noise
    return {
        "input": torch.asinh(noisy / 3) / 2,
        "target": torch.asinh(truth / 3) / 2,
        "weight": torch.ones_like(truth),
        "noisy": noisy,
        "truth": truth,
        "electrons": torch.full((n_band,), 20.0),
        "index": k,
    }


def loader(samples, batch_size=2):
    return torch.utils.data.DataLoader(samples, batch_size=batch_size)


class Recorder(L.Callback):
    """Keep what each step logs, and copies of the weights after it."""

    def __init__(self):
        self.logged, self.weights = [], []

    def on_train_batch_end(self, trainer, module, *args):
        """Record."""
        self.logged.append({k: float(v) for k, v in trainer.logged_metrics.items()})
        self.weights.append({k: v.clone() for k, v in module.state_dict().items()})


def fit(config, samples=None, *, prepare=lambda module: None):
    """Train on the same few samples in each epoch; give the module and what was recorded."""
    trained, recorder = SRGANModule(config), Recorder()
    prepare(trained)
    recorder.weights.append({k: v.clone() for k, v in trained.state_dict().items()})
    trainer = L.Trainer(
        **trainer_options(config),
        logger=False,
        log_every_n_steps=1,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[recorder],
    )
    samples = [sample(k) for k in range(4)] if samples is None else samples
    trainer.fit(
        trained,
        loader(samples, config.data.batch_size),
        loader([sample(k, n_band=config.data.n_bands) for k in (9, 10)], 1),
    )
    return trained, recorder


def tiny(**overrides):
    return load_config({"data.batch_size": 2} | TINY, overrides)


def changed(before, after, part):
    """Names of the weights of a part that differ."""
    return {k for k in before if k.startswith(part) and not torch.equal(before[k], after[k])}


# The seed paper's networks.


def test_seed_networks_have_the_papers_layers():
    networks = SRGANModule(load_config({"preset": "seed", "losses.vgg_weights": "random"}))
    generator, discriminator = networks.generator, networks.discriminator
    assert sum(p.numel() for p in generator.parameters()) == 1_448_387
    assert _kernels(generator) == (
        [(64, 3, 9, 9)] + 33 * [(64, 64, 3, 3)] + [(256, 64, 3, 3), (3, 256, 9, 9)]
    )
    wide = [(64, 3, 1), (64, 64, 2), (128, 64, 1), (128, 128, 2)]
    wide += [(256, 128, 1), (256, 256, 2), (512, 256, 1), (512, 512, 2)]
    assert _kernels(discriminator) == [
        *[(n, m, 3, 3) for n, m, _ in wide],
        (1024, 512, 1, 1),
        (1, 1024, 1, 1),
    ]
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 16, 16)
    momenta = {m.momentum for m in networks.modules() if isinstance(m, torch.nn.BatchNorm2d)}
    assert momenta == {0.2}
    assert networks._terms.vgg(torch.zeros(1, 3, 64, 64)).shape == (1, 256, 16, 16)
    assert not networks._terms.vgg.normalize


def _kernels(network):
    return [tuple(m.weight.shape) for m in network.modules() if isinstance(m, torch.nn.Conv2d)]


# One step of the seed preset, from the recipe alone.


class Recipe:
    """
    Forward passes of the seed paper written out with plain functions, on given tensors.

    Every tensor is taken in the order in which the recipe lists the layers.
    """

    def __init__(self, state):
        self.state = {k: v for k, v in state.items() if v.is_floating_point() and v.ndim}
        self.kernels = iter([])
        self.norms = iter([])

    def begin(self):
        self.kernels = iter([k for k in self.state if self.state[k].ndim == 4])
        self.norms = iter([k[:-12] for k in self.state if k.endswith("running_mean")])

    def conv(self, x, stride=1, pads=None):
        kernel = next(self.kernels)
        weight, bias = self.state[kernel], self.state[kernel.replace("weight", "bias")]
        side = weight.shape[-1] // 2
        x = functional.pad(x, [side] * 4 if pads is None else pads)
        return functional.conv2d(x, weight, bias, stride)

    def norm(self, x):
        """Batch normalisation by the batch's own mean and variance, epsilon 0.001."""
        name = next(self.norms)
        mean = x.mean((0, 2, 3), keepdim=True)
        variance = ((x - mean) ** 2).mean((0, 2, 3), keepdim=True)
        gain, shift = (self.state[f"{name}{part}"][:, None, None] for part in ("weight", "bias"))
        return gain * (x - mean) / torch.sqrt(variance + 1e-3) + shift

    def generate(self, y, n_blocks):
        self.begin()
        first = x = self.conv(y).relu()
        for _ in range(n_blocks):
            body = self.norm(self.conv(x).relu())
            x = x + self.norm(self.conv(body))
        x = self.norm(self.conv(x)) + first
        x = functional.interpolate(x, scale_factor=2, mode="bilinear")
        return torch.tanh(self.conv(self.conv(x).relu()))

    def judge(self, x):
        """Probabilities, position by position."""
        self.begin()
        for k in range(8):
            # "same" padding of an even side with stride 2 puts the zeros behind.
            x = self.conv(x, stride=2, pads=[0, 1, 0, 1]) if k % 2 else self.conv(x)
            x = functional.leaky_relu(x, 0.2)
            x = self.norm(x) if k else x
        x = functional.leaky_relu(self.conv(x), 0.2)
        return torch.sigmoid(self.conv(x))

    def leaves(self):
        return {k: v for k, v in self.state.items() if "running" not in k}


def adam(leaves, gradients):
    """The first step of Adam: both moments are the gradient's, and their bias is taken off."""
    moved = {}
    for (name, value), gradient in zip(leaves.items(), gradients, strict=True):
        first, second = 0.5 * gradient / (1 - 0.5), 0.001 * gradient**2 / (1 - 0.999)
        moved[name] = value - 2e-4 * first / (torch.sqrt(second) + 1e-7)
    return moved


def doubled(state, prefix):
    """Tensors of one network in double precision, ready for gradients."""
    found = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    found = {k: v.double() if v.is_floating_point() else v for k, v in found.items()}
    return {
        k: v.requires_grad_(v.is_floating_point() and "running" not in k) for k, v in found.items()
    }


def vgg_block3_conv3(state, x):
    """VGG19 up to the rectifier after the third convolution of the third block."""
    convs = [name for name in state if name.endswith("weight")]
    for k, name in enumerate(convs):
        x = functional.conv2d(x, state[name], state[name.replace("weight", "bias")], padding=1)
        x = x.relu()
        if k in (1, 3):
            x = functional.max_pool2d(x, 2)
    return x


def clear(gradients):
    """
    Where each gradient is well above what rounding leaves.

    Of others the sign, which the first step of Adam is, means nothing; those of a bias before
    a normalisation are zero altogether.
    """
    largest = max(float(g.abs().max()) for g in gradients)
    return [g.abs() > max(1e-3 * float(g.abs().max()), 1e-7 * largest) for g in gradients]


def test_seed_step_is_the_recipes():
    """
    Generator, then discriminator on targets, then on generated images, from plain functions.

    The recipe has 16 blocks; two are enough to see that they are chained as it says.
    """
    overrides = {
        "generator.n_blocks": 2,
        "generator.n_features": 8,
        "generator.n_tail_features": 16,
        "discriminator.n_features": 4,
        "discriminator.n_dense": 8,
        "losses.vgg_weights": "random",
        # Else the adversarial part would drown in the features of random weights.
        "losses.adversarial": 10.0,
        "run.epochs": 1,
        "run.steps_per_epoch": 1,
        "run.accelerator": "cpu",
    }
    config = load_config({"preset": "seed"}, overrides)
    rng = torch.Generator().manual_seed(1)
    samples = [
        {
            "input": torch.rand(3, 16, 16, generator=rng),
            "target": torch.rand(3, 32, 32, generator=rng),
            "weight": torch.ones(3, 32, 32),
        }
        for _ in range(2)
    ]
    trained, recorder = fit(config, samples)
    before, after = recorder.weights
    y, target = (torch.stack([s[k] for s in samples]).double() for k in ("input", "target"))

    vgg = {k: v.double() for k, v in trained._terms.vgg.layers.state_dict().items()}
    generator = Recipe(doubled(before, "generator."))
    judge = Recipe(doubled(before, "discriminator."))
    generated = generator.generate(y, 2)
    feature = ((vgg_block3_conv3(vgg, generated) - vgg_block3_conv3(vgg, target)) ** 2).mean()
    adversarial = -torch.log(judge.judge(generated)).mean()
    leaves = generator.leaves()
    gradients = torch.autograd.grad(feature + 10.0 * adversarial, list(leaves.values()))
    logged = recorder.logged[0]
    assert_allclose(logged["loss/feature"], feature.item(), rtol=1e-4)
    assert_allclose(logged["loss/adversarial"], adversarial.item(), rtol=1e-4)
    assert_allclose(logged["loss/total"], (feature + 10.0 * adversarial).item(), rtol=1e-4)
    norm = math.sqrt(sum(float((g**2).sum()) for g in gradients))
    assert_allclose(logged["gradient"], norm, rtol=1e-3)
    found = {k.removeprefix("generator."): v for k, v in after.items()}
    still = []
    moved = adam(leaves, gradients)
    for (name, value), sure in zip(moved.items(), clear(gradients), strict=True):
        ours, theirs = ((v.double() - leaves[name]).detach() / 2e-4 for v in (found[name], value))
        assert_allclose(ours[sure], theirs[sure], atol=0.02, err_msg=name)
        still += [] if sure.any() else [name]
    assert still == ["blocks.0.body.3.bias", "blocks.1.body.3.bias", "join.0.bias"]

    of_real = ((1 - judge.judge(target)) ** 2).mean()
    leaves = judge.leaves()
    gradients = torch.autograd.grad(of_real, list(leaves.values()))
    halfway = adam(leaves, gradients)
    second = Recipe(judge.state | {k: v.detach().requires_grad_() for k, v in halfway.items()})
    of_fake = (second.judge(generated.detach()) ** 2).mean()
    assert_allclose(logged["loss/discriminator"], (of_real + of_fake).item(), rtol=2e-3)
    more = torch.autograd.grad(of_fake, list(second.leaves().values()))
    # The second step of Adam, from the moments that the first one left.
    found = {k.removeprefix("discriminator."): v for k, v in after.items()}
    sure = [a & b for a, b in zip(clear(gradients), clear(more), strict=True)]
    pairs = zip(second.leaves().items(), gradients, more, sure, strict=True)
    for (name, value), g, h, where in pairs:
        first, square = 0.5 * (0.5 * g) + 0.5 * h, 0.999 * 0.001 * g**2 + 0.001 * h**2
        scaled = torch.sqrt(square / (1 - 0.999**2)) + 1e-7
        wanted = (-first / (1 - 0.5**2) / scaled).detach()
        ours = (found[name].double() - value.detach()) / 2e-4
        assert where.any()
        assert_allclose(ours[where], wanted[where], atol=0.05, err_msg=name)


# Phases.


def test_discriminator_waits_and_then_ramps_up():
    """Two steps alone, two of the ramp, two whole."""
    trained, recorder = fit(tiny(**{"losses.feature_matching": 0.1}))
    weights = recorder.weights
    for step in range(6):
        moved = changed(weights[step], weights[step + 1], "discriminator.")
        assert bool(moved) == (step >= 2)
        assert changed(weights[step], weights[step + 1], "generator.")
    assert ["loss/adversarial" in row for row in recorder.logged] == 2 * [False] + 4 * [True]
    assert trained.step == trained.trainer.global_step == 6
    weights = trained.config.losses.weights
    for row, ramp in zip(recorder.logged[2:], [0.5, 1, 1, 1], strict=True):
        flux = 0.03 * (1 + 3 * recorder.logged.index(row) / 6)
        wanted = 2 * row["loss/pixel"] + flux * row["loss/flux"]
        wanted += weights["spectrum"] * row["loss/spectrum"]
        wanted += ramp * weights["adversarial"] * row["loss/adversarial"]
        wanted += ramp * weights["feature_matching"] * row["loss/feature_matching"]
        assert_allclose(row["loss/total"], wanted, rtol=1e-5)


def test_generator_step_leaves_no_gradient_in_the_discriminator(monkeypatch):
    """Its own step sees its own loss alone, and it stays trainable."""
    seen = []

    def step(self, batch, generated):
        seen.append([p.grad is None or not p.grad.any() for p in self.discriminator.parameters()])
        assert all(p.requires_grad for p in self.discriminator.parameters())
        assert not generated.requires_grad

    monkeypatch.setattr(SRGANModule, "_discriminator_step", step)
    fit(tiny(**{"run.pretrain_epochs": 0, "run.epochs": 1}))
    assert len(seen) == 2
    assert all(map(all, seen))


def test_no_discriminator_is_made_where_none_is_needed():
    none = {"losses.adversarial": 0, "losses.feature_matching": 0}
    trained, recorder = fit(tiny(**none))
    assert trained.discriminator is None
    assert not any("discriminator" in name for row in recorder.logged for name in row)


@pytest.mark.parametrize("kind", ["bce", "least_squares", "relativistic"])
@pytest.mark.parametrize(("network", "layer"), [("patch", "layers.0.conv"), ("unet", "first")])
def test_each_kind_of_adversary_trains_both(kind, network, layer):
    overrides = {"losses.adversarial_kind": kind, "losses.discriminator_kind": kind}
    overrides |= {"discriminator.kind": network, "run.pretrain_epochs": 0, "run.epochs": 1}
    _, recorder = fit(tiny(**overrides))
    first, last = recorder.weights[0], recorder.weights[-1]
    assert changed(first, last, f"discriminator.{layer}")
    assert changed(first, last, "generator.last")


# Every term.

TERMS = {
    "pixel": {"losses.pixel_kind": "charbonnier"},
    "flux": {},
    "aperture": {"losses.aperture_radii": [4]},
    "binned_flux": {"losses.binned_sizes": [8]},
    "spectrum": {},
    "starlet": {"losses.starlet_scales": 3},
    "nll": {"generator.scale": "gaussian"},
    "feature": {
        "losses.vgg_network": "vgg16",
        "losses.vgg_weights": "random",
        "data.single_band": True,
    },
    "adversarial": {},
    "feature_matching": {},
}


@pytest.mark.parametrize("term", TERMS)
def test_each_term_alone_reaches_every_weight(term):
    """And is the loss that is logged under its name."""
    overrides = {f"losses.{name}": 0 for name in TERMS} | {f"losses.{term}": 1.0}
    overrides |= {"losses.flux_growth": 0, "run.pretrain_epochs": 0, "run.ramp_epochs": 0}
    config = tiny(**overrides, **TERMS[term], **{"run.epochs": 1})
    samples = [sample(k, n_band=config.data.n_bands) for k in range(4)]

    def prepare(trained):
        torch.nn.init.normal_(trained.generator.last.weight, std=0.05)

    _, recorder = fit(config, samples, prepare=prepare)
    first, last = recorder.weights[0], recorder.weights[-1]
    names = {k for k in first if k.startswith("generator.")}
    assert changed(first, last, "generator.") == names
    named = {k for k in recorder.logged[0] if k.startswith("loss/")} - {"loss/discriminator"}
    assert named == {f"loss/{term}", "loss/total"}
    assert_allclose(recorder.logged[0]["loss/total"], recorder.logged[0][f"loss/{term}"])


def test_noise_weighted_pixels_are_worked_out_by_hand():
    config = tiny(**{"losses.pixel_kind": "noise"})
    terms = _terms.GeneratorTerms(config)
    batch = {k: v[None] if k != "index" else v for k, v in sample(3).items()}
    made = batch["target"] + 0.01
    linear, truth = 3 * np.sinh(2 * made.numpy()), batch["truth"].numpy()
    wanted = ((linear - truth) ** 2 / (1 + truth / 20)).mean()
    assert_allclose(terms(batch, made)["pixel"].item(), wanted, rtol=1e-3)


def test_softer_pixels_are_worked_out_by_hand():
    config = tiny(**{"losses.pixel_kind": "l2", "losses.pixel_softening": 0.5})
    terms = _terms.GeneratorTerms(config)
    batch = {k: v[None] if k != "index" else v for k, v in sample(3).items()}
    made = batch["target"] + 0.01
    linear, truth = 3 * np.sinh(2 * made.numpy()), batch["truth"].numpy()
    wanted = ((np.arcsinh(linear / 0.5) - np.arcsinh(truth / 0.5)) ** 2 / 4).mean()
    assert_allclose(terms(batch, made)["pixel"].item(), wanted, rtol=1e-3)


def test_discriminator_sees_images_in_its_own_stretch(monkeypatch):
    keys = {"losses.adversarial": 0.1, "losses.adversarial_softening": 0.5}
    network = module.SRGANModule(tiny(**keys))
    seen = []
    monkeypatch.setattr(network.discriminator, "forward_with_activations", seen.append)
    images = sample(3)["target"][None]
    network._judge(images)
    linear = 3 * np.sinh(2 * images.numpy())
    assert_allclose(seen[0].numpy(), np.arcsinh(linear / 0.5) / 2, rtol=1e-4, atol=1e-6)


def test_networks_see_each_band_of_a_subset_alone():
    losses = {"adversarial": 0.1, "feature": 1.0, "feature_softening": 0.5}
    losses |= {"vgg_network": "vgg16", "vgg_weights": "random", "vgg_layer": "block1_conv2"}
    keys = {f"losses.{name}": value for name, value in losses.items()}
    keys |= {"generator.n_blocks": 1, "generator.exchanges": [], "run.precision": "float32"}
    config = load_config({"preset": "twelve"}, keys | {"discriminator.kind": "patch"})
    network = module.SRGANModule(config)
    rng = np.random.default_rng(1)
    samples = [
        {name: torch.from_numpy(rng.random((4, 32, 32), np.float32)) for name in ("made", "target")}
        for _ in range(2)
    ]
    batch = join_fields(samples)
    made, target = batch["made"], batch["target"]
    logits, _ = network._judge(made)
    alone, _ = network.discriminator.forward_with_activations(
        torch.cat([one[None, None] for sample in samples for one in sample["made"]])
    )
    assert_allclose(logits.detach(), alone.detach(), rtol=1e-5, atol=1e-6)
    seen = [
        torch.asinh(3 * torch.sinh(2 * one.reshape(8, 1, 32, 32)) / 0.5) / 2
        for one in (made, target)
    ]
    features = VGGFeatures(network="vgg16", weights="random", layer="block1_conv2")
    wanted = (features(seen[0]) - features(seen[1])).square().mean()
    found = network._terms._feature({"target": target}, made, "float32")
    assert_allclose(found.item(), wanted.item(), rtol=1e-4)


def test_scale_alone_gets_no_weight_without_its_likelihood():
    """The head is trained with the rest, and the generated image is what it was."""
    config = tiny(**{"generator.scale": "laplace", "losses.nll": 0.1})
    trained, recorder = fit(config)
    assert changed(recorder.weights[0], recorder.weights[-1], "generator.scale.")
    assert "loss/nll" in recorder.logged[0]
    assert trained.average.options["scale"] == "laplace"


# What must not go wrong.


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("target", math.nan, r"loss/pixel is nan at step 1 \(samples 2, 3\); the weights are "),
        ("truth", math.inf, r"loss/flux is (nan|inf) at step 1 .*last checkpoint with a lower"),
    ],
)
def test_loss_that_is_not_finite_is_named_before_it_does_harm(key, value, message):
    samples = [sample(k) for k in range(4)]
    samples[3][key] = samples[3][key].clone()
    samples[3][key][0, 5, 5] = value
    recorders = []

    class Kept(SRGANModule):
        def training_step(self, *args):
            self.before = copy.deepcopy(self.state_dict())
            recorders.append(self)
            return super().training_step(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("test_training_module.SRGANModule", Kept)
        with pytest.raises(FloatingPointError, match=message):
            fit(tiny(), samples)
    last = recorders[-1]
    assert last.step == 1
    for name, wanted in last.before.items():
        assert torch.equal(last.state_dict()[name], wanted)


def test_gradient_that_is_not_finite_is_told(monkeypatch):
    """A finite loss may have one: the square root at zero."""
    original = _terms.GeneratorTerms.__call__

    def terms(self, batch, generated, *args, **kwargs):
        found = original(self, batch, generated, *args, **kwargs)
        return found | {"pixel": (generated - generated.detach()).square().mean().sqrt()}

    monkeypatch.setattr(_terms.GeneratorTerms, "__call__", terms)
    with pytest.raises(FloatingPointError, match=r"the gradient is nan at step 0 \(samples 0, 1\)"):
        fit(tiny())


def test_bfloat16_keeps_the_last_layers_in_float32():
    trained, recorder = fit(tiny(**{"run.precision": "bfloat16"}))
    made = trained(sample(0)["input"][None])
    assert made.dtype == torch.float32
    assert all(v.dtype == torch.float32 for v in trained.parameters())
    kernel = trained.generator.blocks[0].body[0].weight
    assert kernel.is_contiguous(memory_format=torch.channels_last)
    reference, ours = fit(tiny())[1].logged, recorder.logged
    for one, other in zip(reference, ours, strict=True):
        assert_allclose(one["loss/total"], other["loss/total"], rtol=0.05)
    assert any(a["loss/total"] != b["loss/total"] for a, b in zip(reference, ours, strict=True))


def test_networks_depend_on_the_seed_alone():
    state = torch.get_rng_state()
    one = SRGANModule(tiny()).state_dict()
    torch.rand(3)
    again, other = SRGANModule(tiny()).state_dict(), SRGANModule(tiny(**{"run.seed": 1}))
    assert all(torch.equal(one[k], again[k]) for k in one)
    assert not torch.equal(one["generator.first.0.weight"], other.generator.first[0].weight)
    torch.set_rng_state(state)


# Rates and averages.


def test_rates_follow_the_schedule_and_the_discriminators_start():
    overrides = {"optimizer.warm_up_steps": 2, "optimizer.rate": 1.0e-3}
    _, recorder = fit(tiny(**overrides))
    wanted = [learning_rate(s / 6, s, 1e-3, warm_up=2) for s in range(6)]
    assert_allclose([row["rate"] for row in recorder.logged], wanted, rtol=1e-6)
    trained, _ = fit(tiny(**overrides, **{"run.ramp_epochs": 2}))
    rate = trained.trainer.optimizers[1].param_groups[0]["lr"]
    assert_allclose(rate, learning_rate(5 / 6, 3, 2e-4, warm_up=2))


def test_learning_rate_rises_and_falls():
    rates = [learning_rate(p, 10_000, 1.0) for p in (0, 0.25, 0.5, 1, 2)]
    assert rates == sorted(rates, reverse=True)
    assert_allclose([rates[0], rates[2], rates[3]], [1, 0.505, 0.01])
    assert learning_rate(0, 0, 1.0) < learning_rate(0, 100, 1.0) < 1
    assert learning_rate(0.9, 5, 1.0, schedule="constant", warm_up=0) == 1.0


def test_average_follows_its_formula():
    _, recorder = fit(tiny(**{"optimizer.ema": 0.1}))
    name = "first.0.weight"
    average = recorder.weights[0][f"average.{name}"]
    for step, weights in enumerate(recorder.weights[1:], start=1):
        keep = min(0.1, step / (step + 20))
        average = keep * average + (1 - keep) * weights[f"generator.{name}"]
        assert_allclose(weights[f"average.{name}"], average, atol=1e-7)


def test_no_memory_is_the_generator_itself_with_its_running_means():
    overrides = {"optimizer.ema": 0, "generator.norm": "batch"}
    trained, _ = fit(tiny(**overrides))
    state = trained.generator.state_dict()
    for name, value in trained.average.state_dict().items():
        assert torch.equal(value, state[name])
    assert state["join.1.running_mean"].any()


def test_average_of_networks_keeps_integers():
    one, other = (torch.nn.BatchNorm2d(2) for _ in range(2))
    other.num_batches_tracked += 7
    update_average(one, other, 100, 0.5)
    assert one.num_batches_tracked == 7


def test_gradients_are_clipped_to_the_norm():
    layer = torch.nn.Linear(2, 1, bias=False)
    layer.weight.grad = torch.tensor([[3.0, 4.0]])
    assert clip_gradients(layer, 0) == 5
    assert_allclose(layer.weight.grad, [[3, 4]])
    assert clip_gradients(layer, 1.0) == 5
    assert_allclose(layer.weight.grad, [[0.6, 0.8]], rtol=1e-5)


# Validation.


def test_validation_scores_the_average_field_by_field():
    trained, _ = fit(tiny(**{"run.n_pictures": 1}))
    logged = trained.trainer.callback_metrics
    rows = trained.validation_rows
    assert [row["index"] for row in rows] == [9, 10]
    for name in ("psnr", "ssim", "flux_bias"):
        assert_allclose(float(logged[f"val/{name}"]), np.mean([r[name] for r in rows]), rtol=1e-5)
    score = flux_aware_score(float(logged["val/psnr"]), float(logged["val/flux_bias"]))
    assert_allclose(float(logged["score"]), score, rtol=1e-5)
    assert len(trained.pictures) == 1
    picture = trained.pictures[0]
    made = trained.average.eval()(sample(9)["input"][None])[0].detach()
    assert_allclose(picture["generated"], made, atol=1e-6)
    assert picture["input"].shape == (2, 16, 16)
    assert picture["target"].shape == (2, 32, 32)


def test_scores_are_those_of_scikit_image():
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    field = sample(4)
    made = field["target"] + 0.05 * torch.randn(field["target"].shape)
    scores = field_scores(made, field, DataConfig())
    pairs = list(zip(field["target"].numpy(), made.numpy(), strict=True))
    for name, function in (("psnr", peak_signal_noise_ratio), ("ssim", structural_similarity)):
        wanted = np.mean([function(t, m, data_range=np.ptp(t)) for t, m in pairs])
        assert_allclose(scores[name], wanted, rtol=1e-5)


def test_scores_in_the_papers_space_bring_the_image_to_its_range_first():
    field = sample(4)
    field["target"] = (field["target"] - field["target"].min()) / np.ptp(field["target"].numpy())
    scores = field_scores(0.3 * field["target"] - 0.2, field, DataConfig(space="seed"))
    assert scores["psnr"] > 100
    assert_allclose(scores["ssim"], 1, atol=1e-5)
    assert "flux_bias" not in scores


def test_scores_leave_out_pixels_without_weight():
    field = sample(4)
    made = field["target"].clone()
    made[:, 3, 3], field["weight"][:, 3, 3] = 50, 0
    assert field_scores(made, field, DataConfig())["psnr"] > 100


def test_flux_bias_is_in_millimagnitudes():
    truth = torch.full((1, 48, 48), 20.0)
    electrons, weight = torch.tensor([50.0]), torch.ones(1, 48, 48)
    for factor in (1.01, 0.98):
        bias = flux_bias(factor * truth, truth, electrons, weight)
        assert_allclose(bias, -2500 * np.log10(factor), rtol=0.02)
    # S/N: 144 pixels of x against the root of 1.3 x 144 + 144 x / 50, so 20 at x = 1.93.
    assert math.isnan(flux_bias(truth, 0 * truth + 1.88, electrons, weight))
    assert_allclose(flux_bias(0 * truth + 1.98, 0 * truth + 1.98, electrons, weight), 0, atol=1e-4)
    # The wrong box has a pixel without weight.
    made = truth.clone()
    made[0, :24, :24], weight[0, 2, 2] = 100, 0
    assert_allclose(flux_bias(made, truth, electrons, weight), 0, atol=1e-4)


def test_score_is_the_psnr_but_for_flux_that_is_off():
    assert flux_aware_score(40.0, 4.0) == flux_aware_score(40.0, -5.0) == 40.0
    assert_allclose(flux_aware_score(40.0, -25.0), 38.0)
    assert flux_aware_score(40.0, math.nan) == 40.0


# Starting from other weights.


def test_a_larger_generator_starts_as_the_smaller_one():
    torch.manual_seed(3)
    small = SRResNet(1, n_features=4, n_blocks=1)
    torch.nn.init.normal_(small.last.weight)
    large = SRResNet(1, n_features=4, n_blocks=1, dilations=(2, 4), scale="laplace")
    torch.nn.init.normal_(large.last.weight)
    image = torch.randn(1, 1, 12, 12)
    grow(large, small.state_dict())
    assert torch.equal(large(image), small(image))
    # And back: the head is left over.
    again = SRResNet(1, n_features=4, n_blocks=1, dilations=(2, 4))
    grow(again, large.state_dict())
    assert torch.equal(again(image), small(image))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_blocks": 2}, r"another kind of generator: .*unexpected \['blocks.1.*as many residual"),
        ({"norm": "batch"}, r"another kind of generator: .*running_mean"),
        ({"n_tail_features": 8}, r"shapes \['tail.0.weight \(8, 4, 3, 3\) for \(32, 4, 3, 3\)"),
    ],
)
def test_another_kind_of_generator_is_refused(options, message):
    other = SRResNet(1, **{"n_features": 4, "n_blocks": 1} | options)
    own = SRResNet(1, n_features=4, n_blocks=1)
    before = copy.deepcopy(own.state_dict())
    with pytest.raises(ValueError, match=message):
        grow(own, other.state_dict())
    assert all(torch.equal(value, before[name]) for name, value in own.state_dict().items())


def test_run_starts_from_a_card_and_tells_so(tmp_path):
    earlier = SRResNet(2, n_features=4, n_blocks=1, n_tail_features=4, low_pass=2)
    torch.nn.init.normal_(earlier.last.weight)
    card = save_weights(
        earlier,
        tmp_path,
        name="earlier",
        version="0",
        bands=["g", "r"],
        pixel_scale=0.55,
        stretch={"softening": 3.0, "range": 2.0},
        target_psf={"fwhm": 1.0, "beta": 3.0},
        training={"stages": [{"steps": 7}]},
    )
    config = tiny(**{"run.start_from": str(tmp_path / "earlier.json"), "optimizer.rate": 1e-30})
    trained, _ = fit(config)
    stages = trained.stages()
    assert [stage["steps"] for stage in stages] == [7, 6]
    assert stages[1]["optimizer"]["rate"] == 1e-30
    image = sample(2)["input"][None]
    assert_allclose(trained(image).detach(), load_generator(card)(image).detach(), atol=1e-6)


def test_of_several_starts_the_mean_is_taken(tmp_path):
    """Of their weights; what led to both is told once."""
    cards, shared = [], {"steps": 7}
    for k in range(3):
        generator = SRResNet(2, n_features=4, n_blocks=1, n_tail_features=4, low_pass=2)
        for value in generator.parameters():
            torch.nn.init.normal_(value)
        cards.append(
            save_weights(
                generator,
                tmp_path,
                name=f"start{k}",
                version="0",
                bands=["g", "r"],
                pixel_scale=0.55,
                stretch={"softening": 3.0, "range": 2.0},
                target_psf={"fwhm": 1.0, "beta": 3.0},
                training={"stages": [shared, {"steps": k}]},
            )
        )
    paths = [str(tmp_path / f"start{k}.json") for k in range(3)]
    trained = SRGANModule(tiny(**{"run.start_from": paths}))
    trained.start_from(trained.config.run.start_from)
    assert trained.history == [shared, *({"steps": k} for k in range(3))]
    states = [load_generator(card).state_dict() for card in cards]
    taken = trained.generator.state_dict()
    for name in states[0]:
        mean = sum(state[name] for state in states) / 3
        assert_allclose(taken[name], mean, rtol=1e-6, atol=1e-6)


def test_starts_of_several_kinds_are_refused():
    with pytest.raises(
        ValueError, match=r"generators of one kind; got 'splus-grz' and 'splus-any'"
    ):
        SRGANModule(tiny()).start_from(["splus-grz", "splus-any"])
    with pytest.raises(ValueError, match=r"must name at least one run or model card; got none"):
        SRGANModule(tiny()).start_from([])


def test_start_that_is_missing_is_told(tmp_path):
    trained = SRGANModule(tiny())
    with pytest.raises(ValueError, match=r"run.start_from is no run, .* card: .*got 'nowhere'"):
        trained.start_from("nowhere")
    with pytest.raises(FileNotFoundError, match=r"nowhere.ckpt' does not exist"):
        trained.start_from(tmp_path / "nowhere.ckpt")


# Optimizers.

needs_muon = pytest.mark.skipif(
    not hasattr(torch.optim, "Muon"), reason=f"torch {torch.__version__} has no Muon"
)


def test_muon_is_refused_where_torch_lacks_it(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ValueError, match=r"optimizer='muon' needs torch 2.9 or newer"):
        make_optimizer(SRResNet(1, n_features=4, n_blocks=1), "muon", 1e-3)


def muon_step(layout):
    """Kernel, and what a step does to it, as a matrix."""
    torch.manual_seed(5)
    generator = SRResNet(1, n_features=8, n_blocks=1).to(memory_format=layout)
    torch.nn.init.normal_(generator.last.weight)
    optimizer = BodyMuon(generator, 1e-2)
    kernel = generator.blocks[0].body[0].weight
    before = kernel.detach().clone()
    generator(torch.randn(2, 1, 12, 12)).square().mean().backward()
    optimizer.step()
    return generator, optimizer, (before - kernel.detach()).flatten(1)


@needs_muon
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_muon_steps_are_orthogonal_and_of_the_size_of_adams(layout):
    """0.2 sqrt(larger side) times a matrix with singular values near 1, as published."""
    generator, optimizer, step = muon_step(layout)
    singular = torch.linalg.svdvals(step) / (1e-2 * 0.2 * np.sqrt(72))
    assert singular.min() > 0.5
    assert singular.max() < 1.3
    assert generator.first[0].weight.grad.any()
    optimizer.zero_grad()
    assert all(p.grad is None for p in generator.parameters())


@needs_muon
def test_muon_goes_on_where_it_stopped():
    """Its state travels, its rate is set in one place, and its steps are then the same."""
    first, optimizer, _ = muon_step(torch.channels_last)
    second = copy.deepcopy(first)
    other = BodyMuon(second, 1e-2)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for generator, own in ((first, optimizer), (second, other)):
        for group in own.param_groups:
            group["lr"] = 3e-3
        own.zero_grad()
        generator(torch.ones(1, 1, 12, 12)).square().mean().backward()
        assert own.step(lambda: "closed") == "closed"
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


@needs_muon
def test_muon_trains_through_lightning():
    _, recorder = fit(tiny(**{"optimizer.name": "muon", "run.precision": "bfloat16"}))
    first, last = recorder.weights[0], recorder.weights[-1]
    assert changed(first, last, "generator.") == {k for k in first if k.startswith("generator.")}


# The trainer.


def test_trainer_options_know_when_there_are_several_processes():
    one, two = tiny(), tiny(**{"run.devices": 2})
    assert trainer_options(one)["strategy"] == "auto"
    assert trainer_options(two)["strategy"] == "ddp_find_unused_parameters_true"
    assert trainer_options(two)["precision"] == "32-true"


def test_missing_lightning_is_told_with_its_extra(monkeypatch):
    import importlib

    monkeypatch.setattr("splus_srgan.utils.optional.has", lambda name: name != "lightning")
    with pytest.raises(ImportError, match=r"needs lightning, .*extra 'train' .*pip install"):
        importlib.reload(module)
