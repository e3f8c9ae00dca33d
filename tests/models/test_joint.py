# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The second stage for any subset of the bands: guides, order, blocks, what it is told, weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage
from torch.nn.functional import pixel_shuffle

from splus_srgan import NoiseAsinhStretch, SRGANEnhancer, simulate_field, splus
from splus_srgan.enhance.runner import Runner
from splus_srgan.enhance.tiles import generate_blocks
from splus_srgan.exceptions import WeightsError
from splus_srgan.models.choice import choose_cards
from splus_srgan.models.generator import low_pass
from splus_srgan.models.guide import GUIDED_PLANES, REACH, guided_planes
from splus_srgan.models.joint import (
    PLANES,
    TOLD,
    Exchange,
    JointResNet,
    joint_planes,
    told_values,
)
from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.stages import FirstStage, TwoStageEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import load_card, load_generator, save_weights
from splus_srgan.models.wiener import restored_phases, wiener_kernels

BANDS = tuple(splus.BANDS)
STRETCH = {"softening": 3.0, "range": 2.0}
OUTPUT = {"target": (1.0, 3.0), "pixel_scale": 0.55}
OPTIONS = {"device": "cpu", "engine": "torch", "precision": "float32"}


def make():
    """A generator in which every layer matters."""
    torch.manual_seed(3)
    options = {"n_features": 16, "n_blocks": 2, "dilations": (2,), "exchanges": (1, 3)}
    generator = JointResNet(BANDS, **options, scale="laplace")
    parameters = [generator.last.weight, generator.guided.weight, generator.gate.weight]
    parameters.append(generator.scale.last.weight)
    for exchange in generator.exchanges.values():
        parameters += [exchange.own.weight, exchange.own.bias, exchange.shared.weight]
    for parameter in parameters:
        torch.nn.init.normal_(parameter, std=0.02)
    return generator.eval()


@pytest.fixture(scope="module")
def generator():
    return make()


def bands_of(n_band, shape=(21, 26), seed=0):
    """Stretched images, and what a first stage may have made of them."""
    rng = np.random.default_rng(seed)
    y = rng.normal(0, 0.2, (n_band, *shape)).astype(np.float32)
    fine = rng.normal(0, 0.1, (n_band, 2 * shape[0], 2 * shape[1])).astype(np.float32)
    return y, np.kron(y, np.ones((1, 2, 2), np.float32)) + fine


def planes_of(n_band, shape=(21, 26), seed=0):
    y, made = bands_of(n_band, shape, seed)
    told = np.array([told_values("r", n_bands=n_band, psf=(1.3, 3.5, 0.2))] * n_band)
    return put_together(y, made, told, psf=(1.3, 3.5))


def put_together(y, made, told, *, psf=None):
    """Planes of images and what a first stage made of them."""
    kernels = np.stack([wiener_kernels(psf, **OUTPUT)] * len(y))
    filtered = restored_phases(y, kernels, **STRETCH)
    return joint_planes(guided_planes(y, made, **STRETCH), filtered, np.float32(told))


# Guides


def test_guides_are_the_fit_of_one_image_to_all_bands():
    """The formula, worked out pixel by pixel."""
    y, made = bands_of(3, (14, 15))
    planes = guided_planes(y, made, **STRETCH)
    linear = NoiseAsinhStretch(0.0, 1.0, **STRETCH).inverse(made).astype(float)
    scale, reach = 1.5, 5
    offsets = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (offsets / scale) ** 2)
    weight = np.outer(taps, taps) / taps.sum() ** 2
    for row, column in ((12, 14), (9, 11)):
        cut = np.s_[:, row - reach : row + reach + 1, column - reach : column + reach + 1]
        mean = (linear[cut] * weight).sum((1, 2))
        detail = linear[:, row, column] - mean
        expected = mean * (1 + (mean * detail).sum() / (mean**2 + 0.02**2).sum())
        stretched = np.arcsinh(expected / 0.3) - np.arcsinh(linear[:, row, column] / 0.3)
        phase = 2 * (row % 2) + column % 2
        assert_allclose(planes[:, 9 + phase, row // 2, column // 2], stretched, atol=2e-5)
    assert_array_equal(planes[:, 0], y)
    assert_array_equal(pixel_shuffle(torch.from_numpy(planes[:, 1:5]), 2)[:, 0], made)


def test_the_broadest_guide_is_that_of_a_gaussian():
    """Its means are those of the grid of the input, which are nearly those of the fine one."""
    y, made = bands_of(3, (40, 44))
    made = 0.5 + ndimage.gaussian_filter(made, (0, 2, 2))
    planes = guided_planes(y, made, **STRETCH)
    linear = NoiseAsinhStretch(0.0, 1.0, **STRETCH).inverse(made).astype(float)
    mean = ndimage.gaussian_filter(linear, (0, 16, 16), mode="nearest", truncate=3)
    excess = (mean * (linear - mean)).sum(0) / (mean**2 + 0.02**2).sum(0)
    guide = np.arcsinh(mean * (1 + excess) / 0.3) - np.arcsinh(linear / 0.3)
    found = pixel_shuffle(torch.from_numpy(planes[:, -4:]), 2)[:, 0]
    assert_allclose(found, guide, atol=0.2 * np.std(guide))
    assert np.corrcoef(found.ravel(), guide.ravel())[0, 1] > 0.999


@given(order=st.permutations(range(4)), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_order_of_the_bands_does_not_matter(order, seed):
    y, made = bands_of(4, (9, 8), seed)
    straight = guided_planes(y, made, **STRETCH)
    shuffled = guided_planes(y[order], made[order], **STRETCH)
    # Not to the last bit: sums over the bands are rounded in another order.
    assert_allclose(shuffled, straight[order], rtol=0, atol=1e-5)


def test_bands_of_one_shape_are_averaged():
    """What differs from band to band is noise there, and most of it goes."""
    rng = np.random.default_rng(2)
    shape = np.exp(-0.5 * ((np.indices((40, 40)) - 20) ** 2).sum(0) / 36)
    flux = np.array([3.0, 6.0, 9.0, 5.0, 7.0, 4.0])[:, None, None]
    noisy = (flux * shape + rng.normal(0, 0.2, (6, 40, 40))).astype(np.float32)
    made = NoiseAsinhStretch(0.0, 1.0, **STRETCH)(noisy)
    planes = guided_planes(np.zeros((6, 20, 20), np.float32), made, **STRETCH)
    faint = pixel_shuffle(torch.from_numpy(planes[:, 5:9] + planes[:, 9 + 8 : 9 + 12]), 2)[:, 0]
    guide, middle = 0.3 * np.sinh(faint.numpy()), np.s_[:, 12:28, 12:28]
    before, after = (np.std((image - flux * shape)[middle]) for image in (noisy, guide))
    assert after < 0.6 * before


def test_a_guide_reaches_as_far_as_it_says():
    y, made = bands_of(2, (8, 60))
    changed = made.copy()
    changed[:, :, 60] += 1
    planes, other = (guided_planes(y, image, **STRETCH) for image in (made, changed))
    columns = np.flatnonzero((planes != other).any((0, 1, 2)))
    assert columns.min() in (30 - REACH, 31 - REACH)
    assert columns.max() in (29 + REACH, 30 + REACH)


@pytest.mark.parametrize("value", [20.0, -20.0])
def test_what_is_far_too_bright_stays_finite(generator, value):
    y, made = bands_of(2)
    made[:, 10, 10] = value
    planes = put_together(y, made, np.zeros((2, 8)))
    assert np.isfinite(planes).all()
    with torch.inference_mode():
        assert torch.isfinite(generator(torch.from_numpy(planes))).all()


# The generator


def test_a_new_generator_leaves_what_the_first_stage_made():
    y, made = bands_of(3)
    planes = torch.from_numpy(put_together(y, made, np.ones((3, 8))))
    generator = JointResNet(BANDS, n_features=8, n_blocks=1)
    with torch.inference_mode():
        assert np.abs(generator(planes)[:, 0].numpy() - made).max() < 0.05
        generator.gate.bias.fill_(-40)  # nothing of the filter
        assert_allclose(generator(planes)[:, 0], made, rtol=0, atol=1e-6)


@torch.inference_mode()
def test_the_gate_leads_to_the_filter():
    """Smoothed as all that is made; bright pixels as well as faint ones."""
    rng = np.random.default_rng(3)
    y = rng.normal(0, 0.2, (1, 20, 24)).astype(np.float32)
    y[0, 8:12, 8:12] = 3.0
    made = np.kron(y, np.ones((1, 2, 2), np.float32))
    planes = torch.from_numpy(put_together(y, made, np.ones((1, 8)), psf=(1.4, 3.5)))
    generator = JointResNet(BANDS, n_features=8, n_blocks=1)
    generator.gate.bias.fill_(40)
    linear = 3.0 * np.sinh(2.0 * generator(planes)[0, 0].numpy())
    kernels = wiener_kernels((1.4, 3.5), **OUTPUT)[None]
    filtered = pixel_shuffle(torch.from_numpy(restored_phases(y, kernels, **STRETCH)), 2)
    before, wanted = (
        torch.asinh(torch.as_tensor(x) / 0.3) for x in (3.0 * np.sinh(2.0 * made[None]), filtered)
    )
    wanted = before + low_pass(wanted - before, 2)
    assert_allclose(np.arcsinh(linear / 0.3), wanted[0, 0], atol=1e-4)


@torch.inference_mode()
def test_bands_of_samples_are_made_alike(generator):
    planes = torch.from_numpy(planes_of(6))
    together = generator(planes.reshape(2, 3, *planes.shape[1:])).reshape(6, 1, 42, 52)
    assert_allclose(together, generator(planes, [3, 3]), atol=1e-6)
    for counts in ([1, 5], [2, 4], [6]):
        each = torch.cat([generator(part) for part in planes.split(counts)])
        assert_allclose(generator(planes, counts), each, atol=1e-6)


@torch.inference_mode()
def test_an_exchange_is_a_weighted_mean_over_the_bands():
    """The formula, with kernels that read one pixel."""
    exchange, x = Exchange(4), torch.randn(3, 4, 6, 7, generator=torch.Generator().manual_seed(1))
    assert_array_equal(exchange(x), x)  # as it starts
    exchange.shared.weight[:, :, 1, 1] = torch.eye(4)
    exchange.own.bias.fill_(0.5)
    key = np.einsum("oi,bihw->bohw", exchange.key.weight[..., 0, 0], x)
    value = np.einsum("oi,bihw->bohw", exchange.value.weight[..., 0, 0], x)
    key, value = (
        part + one.bias.numpy()[:, None, None]
        for part, one in ((key, exchange.key), (value, exchange.value))
    )
    mean = np.average(value, axis=0, weights=np.exp(key))
    assert_allclose(exchange(x), x.numpy() + 0.5 + mean, atol=1e-5)
    order = [2, 0, 1]
    assert_allclose(exchange(x[order]), exchange(x)[order], atol=1e-6)
    assert torch.isfinite(exchange(1e4 * x)).all()


@torch.inference_mode()
def test_exchanges_let_bands_see_each_other():
    """More than by the planes: what one band is told changes the others."""
    planes = torch.from_numpy(planes_of(3))
    other = planes.clone()
    other[0, GUIDED_PLANES + 4 :] += 1
    with_exchange, without = make(), make()
    without.exchanges = torch.nn.ModuleDict()
    changes = [(net(other) - net(planes)).abs().amax((1, 2, 3)) for net in (with_exchange, without)]
    assert changes[0].min() > 1e-4
    assert_array_equal(changes[1] > 0, [True, False, False])


@torch.inference_mode()
def test_band_by_band_is_the_same(generator):
    """As an engine does that has not the memory for all bands at once."""
    planes = torch.from_numpy(planes_of(3))
    each, given = [(one,) for one in planes[:, None]], ()
    for number, exchange in enumerate(generator.exchanges.values()):
        made = [generator.before_exchange(number, x, *given) for (x,) in each]
        each = [(x,) for x, _, _ in made]
        given = (exchange.share(sum(one[1] for one in made), sum(one[2] for one in made)),)
    found = [
        generator.after_exchanges(one[None], x, *given)
        for one, (x,) in zip(planes, each, strict=True)
    ]
    assert_allclose(torch.cat(found), generator.trunk(planes), atol=1e-5)


@pytest.mark.parametrize("numbers", [(0,), (3,), (2, 1), (1, 1), (1.0,)])
def test_exchanges_that_cannot_be_are_refused(numbers):
    with pytest.raises(ValueError, match="exchanges must be rising numbers of residual blocks, f"):
        JointResNet(BANDS, n_blocks=2, exchanges=numbers)


@torch.inference_mode()
def test_bands_see_each_other(generator):
    y, made = bands_of(2)
    other = made.copy()
    other[0] += 0.5
    one, two = (
        generator(torch.from_numpy(put_together(y, image, np.zeros((2, 8)))))
        for image in (made, other)
    )
    assert not np.allclose(one[1], two[1], atol=1e-4)


@pytest.mark.parametrize(
    ("bands", "text"),
    [
        (("g", "Y"), "bands must be among u, .*; got 'Y'"),
        (("g", "g"), "bands must name at least one band, each once; got"),
        ((), "bands must name at least one band, each once; got"),
    ],
)
def test_wrong_bands_are_refused(bands, text):
    with pytest.raises(ValueError, match=text):
        JointResNet(bands)


@torch.inference_mode()
def test_what_is_bright_is_left_to_its_band(generator):
    """Above 150 sky noises ever more, so that bright lines and stars are their own."""
    stretch = NoiseAsinhStretch(0.0, 1.0, **STRETCH)
    wide, change = JointResNet(BANDS, n_features=8, n_blocks=1, bright=1e9), {}
    narrow = JointResNet(BANDS, n_features=8, n_blocks=1)
    for network in (wide, narrow):
        network.guided.weight.fill_(0.1)
        network.gate.bias.fill_(-40)
    for level in (1.0, 150.0, 5000.0):
        spread = np.random.default_rng(0).uniform(0.9, 1.1, (2, 24, 24))
        made = stretch(np.float32(level * spread))
        planes = torch.from_numpy(put_together(made[:, ::2, ::2], made, np.ones((2, 8))))
        faint = [
            np.arcsinh(stretch.inverse(image.numpy()) / 0.3)
            for image in (narrow(planes)[:, 0], wide(planes)[:, 0], torch.from_numpy(made))
        ]
        change[level] = np.abs(faint[0] - faint[2]).max() / np.abs(faint[1] - faint[2]).max()
    assert change[1.0] > 0.99
    assert 0.4 < change[150.0] < 0.6
    assert change[5000.0] < 2e-3


# What it is told


def test_told_values_are_of_order_one_and_say_what_is_missing():
    for band in BANDS:
        facts = splus.BANDS[band]
        for fwhm in facts.fwhm:
            told = told_values(band, n_bands=5, psf=(fwhm, 3.5, 0.28), sigma=facts.noise[0])
            assert np.abs(told).max() < 4
        assert told_values(band, sigma=facts.noise[0])[2] == 0
        assert told_values(band, psf=(1.3, 3.0))[6] == 0
    assert_array_equal(told_values("g"), np.zeros(len(TOLD)))


@torch.inference_mode()
def test_psf_and_depth_change_what_is_made(generator):
    def made(**known):
        planes = put_together(*bands_of(1), told_values("r", **known)[None])
        return generator(torch.from_numpy(planes))

    plain = made(psf=(1.2, 3.5, 0.28), sigma=0.06)
    for changes in (
        {"psf": (1.8, 3.5, 0.28), "sigma": 0.06},
        {"psf": (1.2, 3.5, 0.28), "sigma": 0.12},
        {},
        {"psf": (1.2, 3.5, 0.28), "sigma": 0.06, "n_bands": 12},
        {"psf": (1.2, 3.5, 0.28), "sigma": 0.06, "together": True},
    ):
        assert not np.allclose(plain, made(**changes))


# Blocks


@pytest.mark.parametrize("shape", [(110, 101), (93, 120)])
def test_blocks_are_the_whole_image(generator, shape):
    engine = two_stages(generator, ("g", "r", "J0660"))
    y = bands_of(3, shape)[0]
    radius = generator.receptive_field_radius + REACH + 1
    made = generate_blocks(engine, y, radius=radius, block_size=40, n_planes=6)
    # Convolutions of old versions of torch round by the size of the image.
    assert_allclose(made, engine(y), rtol=0, atol=1e-6)


class Means:
    """A first stage that reads two pixels to each side; restores the first two bands together."""

    cards, radius = (load_card("splus-any"),), 2

    def __init__(self):
        self.seen = []

    def __call__(self, y, bands=None):
        self.seen.append(y.shape)
        means = ndimage.uniform_filter(y, (0, 5, 5), mode="nearest")
        return np.kron(means, np.ones((1, 2, 2), np.float32))

    def parts(self, bands):
        yield [0, 2], self, 2
        yield [1], self, 2

    def pixels(self, *, whole):
        return 5000


@pytest.mark.parametrize("block_size", ["auto", 40])
@pytest.mark.parametrize("region", [np.s_[0:130, 0:121], np.s_[0:30, 60:110], np.s_[50:90, 40:121]])
def test_stages_in_blocks_of_their_own_are_those_of_the_whole_image(generator, block_size, region):
    """Each with its halo: what lies farther from the region than both is not read."""
    first, ticks = Means(), []
    runner, y = object.__new__(Runner), bands_of(3, (130, 121))[0]
    runner.engine = two_stages(generator, ("g", "J0660", "z"), first=first)
    runner.engine.pixels = lambda whole: 9000
    whole = runner.engine(y)
    first.seen.clear()
    radius = runner.engine.radius + 2 * 8  # both round up to a multiple of 8
    near = [slice(max(0, part.start - radius), part.stop + radius) for part in region]
    given = np.full_like(y, np.nan)
    given[:, *near] = y[:, *near]

    def bar(blocks):
        for block in blocks:
            ticks.append(block)
            yield block
        ticks.append("end")

    made = runner.generate(given, block_size=block_size, bar=bar, region=region)
    fine = (slice(2 * part.start, 2 * part.stop) for part in region)
    assert_allclose(made, whole[:, *fine], rtol=0, atol=1e-6)
    assert ticks == [*range(len(ticks) - 1), "end"]
    most = 5000 if block_size == "auto" else (40 + 2 * 2 + 7) ** 2
    assert max(ny * nx for _, ny, nx in first.seen) <= most
    assert {n_band for n_band, _, _ in first.seen} == {1, 2}


@torch.inference_mode()
def test_scales_of_the_errors_follow_the_bands(generator):
    """Each is what the generator says of its band; the images are those without them."""
    bands, y = ("g", "r", "J0660"), bands_of(3, (20, 23))[0]
    made = two_stages(generator, bands)(y)
    assert_array_equal(made[:3], two_stages(generator, bands, with_scale=False)(y))
    told = np.stack([told_values(band, n_bands=3) for band in bands])
    planes = put_together(y, np.kron(y, np.ones((1, 2, 2), np.float32)), told)
    _, log_scale = generator.forward_with_scale(torch.from_numpy(planes))
    assert_allclose(made[3:], log_scale[:, 0], atol=1e-5)
    assert np.ptp(made[3:]) > 0.01


def test_without_a_head_there_is_no_scale():
    generator = JointResNet(BANDS, n_features=8, n_blocks=1)
    with pytest.raises(ValueError, match="predicts no scale; make it with scale='laplace'"):
        generator.forward_with_scale(torch.zeros(1, PLANES, 8, 8))


class Repeat:
    """A first stage that reads one pixel."""

    cards = (load_card("splus-any"),)

    def __call__(self, y, *, bands):
        assert len(bands) == len(y)
        return np.kron(y, np.ones((1, 2, 2), np.float32))


def two_stages(generator, bands, *, with_scale=True, first=None, **options):
    second = TorchEngine(generator, device="cpu", precision="float32", with_scale=with_scale)
    options |= {"stretch": STRETCH, "bands": bands, **OUTPUT}
    options["radius"] = generator.receptive_field_radius
    return TwoStageEngine(first or Repeat(), second, **options)


@torch.inference_mode()
def test_receptive_field_radius_is_enough_and_not_wasteful(generator):
    """What lies beyond it changes nothing; not far inside, something does."""
    radius = generator.receptive_field_radius
    side = 2 * radius + 16
    planes = torch.from_numpy(planes_of(1, (side, side)))
    fine, reached = torch.cat(generator.forward_with_scale(planes)), 0
    for distance in range(radius + 6):
        other = planes.clone()
        other[..., side // 2 + distance] += 10
        changed = torch.cat(generator.forward_with_scale(other)) - fine
        if changed[..., side : side + 2].abs().max() > 0:
            reached = distance
    assert radius - 2 <= reached <= radius


# Engines and weights


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_gives_the_same(generator):
    pytest.importorskip("openvino")
    engine = OpenVINOEngine(generator, precision="float32", with_scale=True)
    planes = planes_of(3, (24, 31))
    with torch.inference_mode():
        expected = torch.cat(generator.forward_with_scale(torch.from_numpy(planes)), 1)
        alone = torch.cat(generator.forward_with_scale(torch.from_numpy(planes[:1])), 1)
    assert planes.shape[1] == PLANES == GUIDED_PLANES + 4 + len(TOLD)
    assert_allclose(engine(planes), expected, atol=2e-4)
    assert_allclose(engine(planes[0]), alone[0], atol=2e-4)


def write(generator, folder, **changes):
    """Weights as somebody's own."""
    card = {
        "name": "mine",
        "version": "1",
        "bands": list(BANDS),
        "pixel_scale": 0.55,
        "stretch": {"softening": 3.0, "range": 2.0},
        "target_psf": {"profile": "Moffat", "fwhm": 1.0, "beta": 3.0},
        "first_stage": {name: load_card(name).sha256 for name in ("splus-grz", "splus-any")},
    }
    return save_weights(generator, folder, **card | changes)


@pytest.fixture
def card(generator, tmp_path):
    return write(generator, tmp_path)


def test_weights_come_back_as_they_went(card, generator):
    again = load_generator(load_card(card.path.with_suffix(".json")))
    assert again.options == generator.options
    for name, value in generator.state_dict().items():
        assert_array_equal(again.state_dict()[name], value)


def test_a_card_takes_any_subset_of_its_bands(card):
    for bands in (("r",), ("F660", "gSDSS"), BANDS[::-1]):
        assert choose_cards(card, bands) == [(card, list(range(len(bands))))]
    for bands in (("r", "Y"), ("r", "R")):
        with pytest.raises(WeightsError, match=r"need bands among u, .* each once; got"):
            choose_cards(card, bands)


@pytest.mark.parametrize("bands", [("z", "J0660", "g", "r"), ("i", "u")])
def test_an_untrained_second_stage_is_the_first(tmp_path, bands):
    """What the shipped weights make of these bands, by themselves or together."""
    generator = JointResNet(BANDS, n_features=8, n_blocks=1, scale="laplace")
    torch.nn.init.constant_(generator.gate.bias, -40)
    card = write(generator, tmp_path)
    field = simulate_field(5, shape=(48, 40), bands=bands, kind="blank")
    known = {"sky": field.sky, "sigma": field.sigma}
    plainly = OPTIONS | {"turned": False, "flux_anchor": 0.0, "check_input": False}
    made = SRGANEnhancer(card, **plainly, uncertainty=True)(field.observed, **known)
    together = {"g", "r", "z"} <= set(bands)
    for weights, chosen in (("splus-grz", "grz"), ("splus-any", set(bands) - set("grz"))):
        if weights == "splus-grz" and not together:
            continue
        images = {band: field.observed[band] for band in chosen}
        given = {name: {b: values[b] for b in chosen} for name, values in known.items()}
        for band, image in SRGANEnhancer(weights, **plainly)(images, **given).items():
            scale = np.abs(image.data).max()
            assert_allclose(made[band].data, image.data, rtol=0, atol=1e-6 * scale)
    assert FirstStage(card, device="cpu", engine="torch", precision="float32").radius == 48


def test_weights_of_another_version_are_refused(generator, tmp_path):
    card = write(generator, tmp_path, first_stage={"splus-any": "0" * 64})
    with pytest.raises(WeightsError, match=r"'mine' build on 'splus-any' with sha256 000.* has "):
        FirstStage(card)
    card = write(generator, tmp_path, first_stage={"old": "0" * 64})
    with pytest.raises(WeightsError, match=r"'old' .* this version has none of that name"):
        FirstStage(card)


@pytest.mark.parametrize("first_stage", [{}, {"splus-any": "abc"}, ["splus-any"]])
def test_model_cards_say_what_they_stand_on(card, first_stage):
    path = card.path.with_suffix(".json")
    path.write_text(json.dumps(card.to_dict() | {"first_stage": first_stage}))
    with pytest.raises(WeightsError, match="first_stage"):
        load_card(path)
    plain = load_card("splus-any")
    path.write_text(json.dumps(dataclasses.replace(plain, first_stage={"a": "0" * 64}).to_dict()))
    with pytest.raises(WeightsError, match="given for a joint generator, and for no other"):
        load_card(path)


def test_the_enhancer_runs_it(card):
    bands = ("J0660", "r", "u")
    field = simulate_field(5, shape=(48, 40), bands=bands, kind="blank").observed
    enhancer = SRGANEnhancer(card, **OPTIONS)
    made = enhancer(field)
    assert list(made) == list(bands)
    assert made["u"].shape == (96, 80)
    other = enhancer({band: field[band] for band in ("u", "J0660", "r")})
    alone = enhancer(field["u"])
    assert_allclose(other["u"].data, made["u"].data, rtol=1e-5, atol=1e-8)
    assert not np.allclose(alone.data, made["u"].data)


def test_the_enhancer_tells_it_the_psf(card):
    field = simulate_field(5, shape=(48, 40), bands=("r",), kind="blank").observed["r"]
    enhancer = SRGANEnhancer(card, device="cpu", engine="torch", flux_anchor=0.0)
    one = enhancer(field)
    other = field.copy()
    other.meta = field.meta.copy()
    other.meta["HIERARCH OAJ PRO FWHMMEAN"] = 2.2
    assert not np.allclose(enhancer(other).data, one.data, rtol=1e-4)


def test_blocks_of_the_enhancer_are_the_whole_field(card):
    field = simulate_field(6, shape=(60, 73), bands=("g", "J0515"), kind="blank").observed
    whole, parts = (SRGANEnhancer(card, **OPTIONS, block_size=size)(field) for size in (80, 40))
    for band in field:
        assert_array_equal(parts[band].data, whole[band].data)


TABLE = {"signal_to_noise": [0.0, 9.0], "relative_noise": [0.1, 1.0], "factor": [[1.0, 1.0]] * 2}
TWICE = TABLE | {"factor": [[2.0, 2.0]] * 2}


def test_each_band_may_have_its_own_calibration(generator, tmp_path):
    field = simulate_field(5, shape=(40, 40), bands=("r", "u"), kind="blank").observed
    made = []
    for calibration in (TABLE, TABLE | {"bands": {"u": TWICE}}):
        card = write(
            generator, tmp_path, uncertainty={"kind": "laplace", "calibration": calibration}
        )
        made.append(SRGANEnhancer(card, **OPTIONS, uncertainty=True, check_input=False)(field))
    for band, ratio in (("r", 1), ("u", 2)):
        one, two = (images[band].uncertainty.array for images in made)
        assert_allclose(two, ratio * one, rtol=1e-5)


@pytest.mark.parametrize(
    ("bands", "text"),
    [
        ({"u": {}}, "calibration.bands.u.signal_to_noise must be a list of rising numbers"),
        ({"u": TABLE | {"bands": {}}}, "calibration.bands.u must be one table"),
        (["u"], "calibration.bands must be an object"),
    ],
)
def test_wrong_calibrations_of_bands_are_named(card, bands, text):
    path = card.path.with_suffix(".json")
    uncertainty = {"kind": "laplace", "calibration": TABLE | {"bands": bands}}
    path.write_text(json.dumps(card.to_dict() | {"uncertainty": uncertainty}))
    with pytest.raises(WeightsError, match=text):
        load_card(path)
