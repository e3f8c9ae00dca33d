# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The uncertainty head: generator, engines, blocks, card, enhancer and files."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from splus_srgan import SRGANEnhancer, read_bands, simulate_field, write_bands
from splus_srgan._uncertainty import calibrate_std, linear_std
from splus_srgan.blocks import generate_blocks
from splus_srgan.models.engines import EnsembleEngine, TorchEngine, TurnedEngine, make_engine
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import load_card, load_generator, save_weights
from splus_srgan.stretch import NoiseAsinhStretch

SMALL = {"n_features": 8, "n_blocks": 1, "n_tail_features": 8}
OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32", "flux_anchor": 0}


def make(n_bands=2, *, scale="laplace", seed=1, **options):
    """A small generator whose result and scale both vary over the image."""
    torch.manual_seed(seed)
    generator = SRResNet(n_bands, scale=scale, **{**SMALL, **options}).eval()
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    if scale is not None:
        torch.nn.init.normal_(generator.scale.last.weight, std=0.05)
    return generator


def picture(n_bands=2, shape=(24, 31), seed=0):
    return np.random.default_rng(seed).normal(size=(n_bands, *shape)).astype(np.float32)


@pytest.fixture(scope="module")
def generator():
    return make()


# Generator


@pytest.mark.parametrize("scale", ["laplace", "gaussian"])
def test_the_trunk_is_the_same_with_and_without_the_head(scale):
    """Bit for bit: from one seed, and with the weights of the other loaded."""
    torch.manual_seed(3)
    plain = SRResNet(2, **SMALL)
    torch.manual_seed(3)
    headed = SRResNet(2, scale=scale, **SMALL)
    for name, value in plain.state_dict().items():
        assert torch.equal(headed.state_dict()[name], value), name
    torch.nn.init.normal_(plain.last.weight, std=0.05)
    headed.load_state_dict(plain.state_dict(), strict=False)
    image = torch.from_numpy(picture())[None]
    with torch.inference_mode():
        wanted = plain(image)
        assert torch.equal(headed(image), wanted)
        generated, log_scale = headed.forward_with_scale(image)
    assert torch.equal(generated, wanted)
    assert log_scale.shape == generated.shape == (1, 2, 48, 62)


def test_the_head_is_two_layers_of_the_features_and_the_image(generator):
    """Written out with plain functions of torch."""
    image = torch.from_numpy(picture())[None]
    functional = torch.nn.functional
    with torch.inference_mode():
        features = generator.features(image)
        made, log_scale = generator.forward_with_scale(image)
        state = {name.removeprefix("scale."): v for name, v in generator.state_dict().items()}
        hidden = functional.conv2d(
            features, state["of_features.weight"], state["of_features.bias"], padding=1
        )
        hidden += functional.conv2d(made, state["of_generated.weight"], state["of_generated.bias"])
        wanted = functional.conv2d(
            hidden.clamp(min=0), generator.scale.last.weight, generator.scale.last.bias, padding=1
        )
    assert_allclose(log_scale, wanted, atol=1e-5)
    assert log_scale.std() > 0.01


def test_the_scale_stays_float32_under_autocast(generator):
    image = torch.from_numpy(picture())[None]
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        made, log_scale = generator.forward_with_scale(image)
    assert made.dtype == log_scale.dtype == torch.float32


def test_gradients_reach_the_trunk_and_the_head():
    generator = make()
    generator.forward_with_scale(torch.from_numpy(picture())[None])[1].sum().backward()
    assert all(p.grad is not None for p in generator.parameters() if p is not None)
    assert generator.first[0].weight.grad.abs().max() > 0


@pytest.mark.parametrize("last_kernel", [1, 3, 7])
def test_the_radius_covers_what_the_scale_reads(last_kernel):
    generator = make(1, last_kernel=last_kernel)
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(0.02 + 0.01 * torch.rand_like(parameter))
    radius, reached = generator.receptive_field_radius, []
    side, here = 2 * radius + 7, radius + 3
    for shift in (0, 1):
        image = torch.full((1, 1, side, side), 0.3, requires_grad=True)
        generator.forward_with_scale(image)[1][0, 0, 2 * here + shift, 2 * here].backward()
        rows = np.nonzero(image.grad[0, 0].abs().sum(1).numpy())[0]
        reached += [here - rows.min(), rows.max() - here]
    assert max(reached) == radius


def test_a_generator_without_a_head_says_so():
    with pytest.raises(ValueError, match="predicts no scale; make it with scale='laplace'"):
        make(scale=None).forward_with_scale(torch.zeros(1, 2, 8, 8))
    with pytest.raises(ValueError, match="scale must be one of 'laplace', 'gaussian', None; got"):
        SRResNet(1, scale="cauchy")


def test_options_rebuild_the_head(generator):
    again = SRResNet(**generator.options)
    again.load_state_dict(generator.state_dict())
    assert again.options["scale"] == "laplace"


# Engines and blocks


def test_engines_give_the_scale_only_when_asked(generator):
    image = picture()
    plain = TorchEngine(generator, device="cpu", precision="float32")(image)
    both = TorchEngine(generator, device="cpu", precision="float32", with_scale=True)(image)
    assert plain.shape == (2, 48, 62)
    assert both.shape == (4, 48, 62)
    assert_array_equal(both[:2], plain)
    with torch.inference_mode():
        wanted = generator.forward_with_scale(torch.from_numpy(image)[None])[1][0]
    assert_allclose(both[2:], wanted, atol=1e-5)


def test_openvino_gives_the_scale_too(generator):
    pytest.importorskip("openvino")
    image = picture()
    options = {"precision": "float32", "device": "cpu", "with_scale": True}
    wanted = make_engine(generator, engine="torch", **options)(image)
    assert_allclose(make_engine(generator, engine="openvino", **options)(image), wanted, atol=1e-4)


@pytest.mark.parametrize("turned", [False, True])
def test_blocks_are_exact(turned):
    generator = make(2, n_features=16, dilations=(2,), n_tail_features=16)
    engine = TorchEngine(generator, device="cpu", precision="float32", with_scale=True)
    engine = TurnedEngine(engine) if turned else engine
    image = picture(2, (70, 83))
    options = {"radius": generator.receptive_field_radius, "n_planes": 4}
    whole = engine(image)
    for block_size in (30, 41):  # narrower ones would differ in the trunk by rounding
        assert_array_equal(generate_blocks(engine, image, block_size=block_size, **options), whole)


def test_turned_scales_are_those_of_a_mixture(generator):
    """Variance of an even mixture of two Gaussians, by its definition."""
    engine = TorchEngine(generator, device="cpu", precision="float32", with_scale=True)
    image = picture()
    one = engine(image)
    two = engine(image[:, ::-1, ::-1])[:, ::-1, ::-1]
    made = TurnedEngine(engine)(image)
    mean = (one[:2] + two[:2]) / 2
    second = (one[:2] ** 2 + np.exp(2 * one[2:]) + two[:2] ** 2 + np.exp(2 * two[2:])) / 2
    assert_allclose(made[:2], mean, atol=1e-6)
    assert_allclose(np.exp(2 * made[2:]), second - mean**2, rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize("turned", [False, True])
def test_ensemble_is_the_spread_of_eight_and_keeps_the_image(generator, turned):
    engine = TorchEngine(generator, device="cpu", precision="float32")
    image = picture()
    results = []
    for flipped in (image, image[:, ::-1]):
        for turns in range(4):
            result = np.rot90(engine(np.rot90(flipped, turns, (1, 2))), -turns, (1, 2))
            results.append(result if flipped is image else result[:, ::-1])
    made = EnsembleEngine(engine, turned=turned)(image)
    wanted = (TurnedEngine(engine) if turned else engine)(image)
    assert_array_equal(made[:2], wanted)
    assert_allclose(np.exp(made[2:]), np.std(results, axis=0), rtol=1e-3, atol=2e-6)


# Linear flux


def test_small_scales_go_to_first_order_through_the_stretch():
    stretch = NoiseAsinhStretch(0.0, 2.0, softening=3.0, range=2.0)
    y, step = np.linspace(-2, 3, 11)[None, None], 1e-4
    slope = (stretch.inverse(y + step) - stretch.inverse(y - step)) / (2 * step)
    std = linear_std(y, np.full(y.shape, np.log(1e-3)), 2.0, softening=3, range=2, kind="gaussian")
    assert_allclose(std, 1e-3 * slope, rtol=1e-4)


def test_large_scales_are_half_the_interval():
    stretch = NoiseAsinhStretch(0.0, 2.0, softening=3.0, range=2.0)
    y, scale = np.linspace(-2, 3, 11)[None, None], 0.6
    std = linear_std(y, np.full(y.shape, np.log(scale)), 2.0, softening=3, range=2, kind="gaussian")
    assert_allclose(std, (stretch.inverse(y + scale) - stretch.inverse(y - scale)) / 2, rtol=1e-4)


def test_the_width_of_a_laplace_interval_is_scipys():
    wanted = stats.laplace.ppf(stats.norm.cdf(1)) * 1e-4 * 6
    std = linear_std(
        np.zeros((1, 1, 1)), np.log([[[1e-4]]]), 1.0, softening=3, range=2, kind="laplace"
    )
    assert std.item() == pytest.approx(wanted, rel=1e-3)


def test_hostile_scales_stay_finite():
    y = np.array([[[-50.0, 0.0, 50.0]]])
    for log_scale in (-200.0, 0.0, 200.0):
        std = linear_std(y, np.full(y.shape, log_scale), 1.0, softening=3, range=2, kind="laplace")
        assert np.isfinite(std).all() or log_scale == 200.0
        assert not np.isnan(std).any()
