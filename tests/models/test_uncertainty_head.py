# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The uncertainty head: generator, engines, blocks, model card, enhancer and files."""

import dataclasses

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from splus_srgan import SRGANEnhancer, read_bands, simulate_field, write_bands
from splus_srgan.enhance.tiles import generate_blocks
from splus_srgan.enhance.uncertainty import linear_std
from splus_srgan.models.engines import make_engine
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.symmetries import EnsembleEngine, TurnedEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import load_card, load_generator, save_weights
from splus_srgan.pixels.stretch import NoiseAsinhStretch

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


def test_the_head_reads_the_features_and_the_image(generator):
    """Written out with plain functions of torch."""
    image = torch.from_numpy(picture())[None]
    functional = torch.nn.functional
    with torch.inference_mode():
        features = generator.features(image)
        made, log_scale = generator.forward_with_scale(image)
        state = generator.scale.state_dict()
        hidden = functional.conv2d(
            features, state["of_features.weight"], state["of_features.bias"], padding=1
        )
        hidden += functional.conv2d(made, state["of_generated.weight"], state["of_generated.bias"])
        hidden = hidden.clamp(min=0)
        wide = functional.conv2d(
            hidden, state["wide.weight"], state["wide.bias"], padding=4, dilation=4
        )
        hidden = (hidden + wide).clamp(min=0)
        wanted = functional.conv2d(hidden, state["last.weight"], state["last.bias"], padding=1)
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
        assert np.isfinite(std).all()
        assert (std >= 0).all()


# Enhancer and files


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights with a head, for three bands."""
    entries = load_card("splus-grz").to_dict() | {"name": "headed", "uncertainty": {}}
    for worked_out in ("file", "sha256", "generator"):
        del entries[worked_out]
    return save_weights(make(3), tmp_path_factory.mktemp("weights"), **entries)


@pytest.fixture(scope="module")
def field():
    return simulate_field(22, shape=(48, 56), kind="blank").observed


@pytest.fixture(scope="module")
def sharp(weights, field):
    return SRGANEnhancer(weights, uncertainty=True, **OPTIONS)(field)


def test_the_image_does_not_depend_on_the_uncertainty(weights, field, sharp):
    plain = SRGANEnhancer(weights, **OPTIONS)(field)
    ensemble = SRGANEnhancer(weights, uncertainty="ensemble", **OPTIONS)(field)
    for band in field:
        assert plain[band].uncertainty is None
        for made in (sharp, ensemble):
            assert_array_equal(made[band].data, plain[band].data)
            assert isinstance(made[band].uncertainty, StdDevUncertainty)
            std = made[band].uncertainty.array
            assert (std.shape, std.dtype) == ((96, 112), np.float32)
            assert np.isfinite(std).all()
            assert (std > 0).all()


def test_deviations_are_those_of_the_generator_in_the_unit_of_the_data(weights, field, sharp):
    """By hand: both orientations, the mixture, the stretch, and a quarter for the finer pixels."""
    generator = load_generator(weights)
    sky, sigma = ([sharp[b].meta[card] for b in "grz"] for card in ("SRSKY", "SRSIGMA"))
    y = NoiseAsinhStretch(sky, sigma, softening=3, range=2)(
        np.stack([image.data for image in field.values()])
    )
    parts = []
    for turn in (slice(None), slice(None, None, -1)):
        image = torch.from_numpy(np.ascontiguousarray(y[:, turn, turn]))[None]
        with torch.inference_mode():
            parts.append(
                [one[0].numpy()[:, turn, turn] for one in generator.forward_with_scale(image)]
            )
    (one, log_one), (two, log_two) = parts
    scale = np.sqrt((np.exp(2 * log_one) + np.exp(2 * log_two)) / 2 + (one - two) ** 2 / 4)
    middle, factor = (one + two) / 2, stats.laplace.ppf(stats.norm.cdf(1))
    edges = [3 * np.sinh(2 * (middle + sign * factor * scale)) for sign in (1, -1)]
    for k, band in enumerate("grz"):
        wanted = 0.25 * sigma[k] * (edges[0][k] - edges[1][k]) / 2
        assert_allclose(sharp[band].uncertainty.array, wanted, rtol=2e-3)


def test_units_scale_the_uncertainty(weights, field, sharp):
    """Ten times the flux in another unit; and a surface brightness is not shared out."""
    enhancer = SRGANEnhancer(weights, uncertainty=True, **OPTIONS)
    for unit, factor, share in (
        (u.nmgy if hasattr(u, "nmgy") else u.mJy, 10, 1),
        (u.mJy / u.sr, 1, 4),
    ):
        images = {
            band: CCDData(factor * image.data, unit=unit, wcs=image.wcs)
            for band, image in field.items()
        }
        made = enhancer(images)
        for band in field:
            wanted = factor * share * sharp[band].uncertainty.array
            assert_allclose(made[band].uncertainty.array, wanted, rtol=1e-3)


def test_missing_pixels_are_infinitely_uncertain(weights, field):
    mask = np.zeros((48, 56), bool)
    mask[20:23, 30:34] = True
    images = {band: image.copy() for band, image in field.items()}
    images["r"].mask = mask
    made = SRGANEnhancer(weights, uncertainty=True, **OPTIONS)(images)
    fine = mask.repeat(2, 0).repeat(2, 1)
    assert_array_equal(np.isinf(made["r"].uncertainty.array), fine)
    assert np.isfinite(made["g"].uncertainty.array).all()


def test_blocks_do_not_change_the_uncertainty(weights, field, sharp):
    made = SRGANEnhancer(weights, uncertainty=True, block_size=28, **OPTIONS)(field)
    for band in field:
        assert_allclose(made[band].uncertainty.array, sharp[band].uncertainty.array, rtol=1e-5)


@pytest.mark.parametrize(("mode", "entry"), [(True, "calibration"), ("ensemble", "ensemble")])
def test_the_calibration_of_the_card_is_applied(weights, field, mode, entry):
    table = {"signal_to_noise": [0, 9], "relative_noise": [0.01, 1], "factor": [[3, 3], [3, 3]]}
    other = {"calibration": "ensemble", "ensemble": "calibration"}[entry]
    ones = {**table, "factor": [[1, 1], [1, 1]]}
    card = dataclasses.replace(weights, uncertainty={"kind": "laplace", entry: table, other: ones})
    raw = SRGANEnhancer(weights, uncertainty=mode, **OPTIONS)(field)
    made = SRGANEnhancer(card, uncertainty=mode, **OPTIONS)(field)
    for band in field:
        assert_allclose(made[band].uncertainty.array, 3 * raw[band].uncertainty.array, rtol=1e-5)
        assert_array_equal(made[band].data, raw[band].data)


@pytest.mark.parametrize("sky", [None, -0.002, "map"])
def test_the_calibration_goes_by_what_is_above_the_sky_of_the_image(sky):
    """Its factor rises from 1 to 4 with signal to noise, here by its formula."""
    field = simulate_field(4, shape=(64, 72), kind="galaxy").observed
    table = {"signal_to_noise": [-2, 2], "relative_noise": [0.01, 1], "factor": [[1, 1], [4, 4]]}
    cards = [
        dataclasses.replace(load_card("splus-grz"), uncertainty={"kind": "laplace"} | entry)
        for entry in ({}, {"calibration": table})
    ]
    given = {} if sky is None else {"sky": sky}
    if sky == "map":
        given["sky"] = np.broadcast_to(np.linspace(-1, 1, 64)[:, None], (64, 72))
    options = OPTIONS | {"uncertainty": True, "check_input": False}  # the map is not its sky
    raw, made = (SRGANEnhancer(c, **options)(field, **given) for c in cards)
    for band, image in made.items():
        level = np.full((128, 1), image.meta["SRFSKY"])
        if sky == "map":
            # Linear between the centres of input pixels, which lie between two finer ones.
            rows = np.clip((np.arange(128) + 0.5) / 2 - 0.5, 0, 63)
            level = (-1 + 2 * rows / 63)[:, None]
        elif sky is None:
            assert abs(level - image.meta["SRSKY"]).max() > 1e-3 * image.meta["SRSIGMA"]
        before = raw[band].uncertainty.array
        signal = np.clip((image.data - level / 4) / before, -2, 2)
        share = (np.arcsinh(signal) + np.arcsinh(2)) / (2 * np.arcsinh(2))
        assert np.ptp(share) > 0.9
        assert_allclose(image.uncertainty.array, before * 4**share, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_a_stack_gets_a_stack_of_uncertainties(weights, field, sharp):
    cube = CCDData(np.stack([image.data for image in field.values()]), unit="adu")
    made = SRGANEnhancer(weights, uncertainty=True, **OPTIONS)(cube, bands="grz")
    assert made.uncertainty.array.shape == (3, 96, 112)
    for plane, band in zip(made.uncertainty.array, "grz", strict=True):
        assert_allclose(plane, sharp[band].uncertainty.array, rtol=1e-6)


def test_files_keep_the_uncertainty(sharp, tmp_path):
    sharp["r"].uncertainty.array[3, 4] = np.inf
    path = write_bands(tmp_path / "sharp.fits", sharp)
    back = read_bands(path)
    for band in sharp:
        assert isinstance(back[band].uncertainty, StdDevUncertainty)
        assert_array_equal(back[band].uncertainty.array, sharp[band].uncertainty.array)


def test_the_card_keeps_what_it_says_of_uncertainties(weights, tmp_path):
    table = {
        "signal_to_noise": [0.0, 9.0],
        "relative_noise": [0.1, 1.0],
        "factor": [[1.0, 2.0]] * 2,
    }
    entries = weights.to_dict() | {"uncertainty": {"kind": "laplace", "calibration": table}}
    for worked_out in ("file", "sha256", "generator"):
        del entries[worked_out]
    save_weights(load_generator(weights), tmp_path, **entries)
    assert load_card(tmp_path).uncertainty == entries["uncertainty"]


def test_weights_without_a_head_name_the_alternative(weights, tmp_path):
    entries = weights.to_dict() | {"name": "plain"}
    for worked_out in ("file", "sha256", "generator"):
        del entries[worked_out]
    card = save_weights(make(3, scale=None), tmp_path, **entries)
    with pytest.raises(
        ValueError, match="uncertainty=True needs weights that predict it, and 'plain' do not: take"
    ):
        SRGANEnhancer(card, uncertainty=True)
    SRGANEnhancer(card, uncertainty="ensemble")


@pytest.mark.parametrize("value", [1, "head", None, 0.5])
def test_other_uncertainties_are_refused(value):
    with pytest.raises(ValueError, match="uncertainty must be one of False, True, 'ensemble'; got"):
        SRGANEnhancer(uncertainty=value)
