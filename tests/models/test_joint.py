# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The second stage for any subset of the bands: order, blocks, what it is told, weights."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from torch.nn.functional import pixel_shuffle

from splus_srgan import SRGANEnhancer, simulate_field, splus
from splus_srgan.enhance.tiles import generate_blocks
from splus_srgan.exceptions import WeightsError
from splus_srgan.models.joint import PLANES, TOLD, JointResNet, told_values
from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.stages import FirstStage
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import choose_cards, load_card, load_generator, save_weights

BANDS = tuple(splus.BANDS)
PSFS = [(1.0 + 0.05 * k, 3.0 + 0.1 * k, 0.2) for k in range(len(BANDS))]
SIGMAS = [0.05 + 0.01 * k for k in range(len(BANDS))]
OPTIONS = {"device": "cpu", "engine": "torch", "precision": "float32"}


def make(dilations=(2, 3)):
    """A generator in which every layer matters."""
    torch.manual_seed(3)
    generator = JointResNet(BANDS, n_features=16, n_blocks=2, dilations=dilations)
    for name, parameter in generator.named_parameters():
        if name.startswith("last") or "tell" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    return generator.eval()


@pytest.fixture(scope="module")
def generator():
    return make()


def tell(generator, bands):
    places = [BANDS.index(band) for band in bands]
    return generator.tell(
        bands, psfs=[PSFS[k] for k in places], sigmas=[SIGMAS[k] for k in places]
    ).eval()


def images(n_band, shape=(21, 26), seed=0):
    """Planes of so many bands: the input, and the phases of what was made of it."""
    size = (1, PLANES * n_band, *shape)
    return torch.from_numpy(np.random.default_rng(seed).normal(size=size)).float()


def planes_of(bands, n_band=12):
    """Where the planes of some bands are among those of all."""
    places = [BANDS.index(band) for band in bands]
    return [*places, *(n_band + 4 * place + k for place in places for k in range(4))]


def swapped(y, order):
    """The planes of bands in another order."""
    n = len(order)
    return y[:, [*order, *(n + 4 * place + k for place in order for k in range(4))]]


# Subsets


@torch.inference_mode()
@settings(max_examples=20, deadline=None)
@given(bands=st.lists(st.sampled_from(BANDS), min_size=1, unique=True), data=st.data())
def test_order_of_the_bands_does_not_matter(bands, data):
    generator = make()
    y = images(len(bands))
    order = data.draw(st.permutations(range(len(bands))))
    straight = tell(generator, bands)(y)
    shuffled = tell(generator, [bands[k] for k in order])(swapped(y, order))
    # Not to the last bit: how sums over the bands are rounded depends on the threads.
    assert_allclose(shuffled, straight[:, order], rtol=0, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("fill", [7.0, np.nan, np.inf])
def test_what_absent_planes_hold_does_not_matter(generator, fill):
    y = images(len(BANDS))
    told = torch.zeros(1, len(BANDS), len(TOLD))
    present = [BANDS.index(band) for band in ("g", "J0660", "i")]
    for k in present:
        told[0, k] = torch.from_numpy(told_values(BANDS[k], psf=PSFS[k], sigma=SIGMAS[k]))
    absent = [k for k in range(len(BANDS)) if k not in present]
    filled, other = y.clone(), told.clone()
    filled[:, planes_of([BANDS[k] for k in absent])] = fill
    other[:, absent, 1:] = 3.0  # nor what is said of them
    assert_array_equal(generator(y, told)[:, present], generator(filled, other)[:, present])
    assert_array_equal(generator(filled, other)[:, absent], 0)


@torch.inference_mode()
def test_a_bound_generator_is_the_generator(generator):
    bands = ["J0660", "u", "z"]
    y, bound = images(3), tell(generator, bands)
    whole = torch.zeros(1, PLANES * len(BANDS), *y.shape[-2:])
    whole[:, planes_of(bands)] = y
    places = [BANDS.index(band) for band in bands]
    assert_allclose(bound(y), generator(whole, bound.told)[:, places], atol=1e-5)
    assert bound.in_channels == y.shape[1]


@torch.inference_mode()
def test_bands_see_each_other(generator):
    y, other = images(2), images(2)
    other[:, planes_of(["u"], 2)] += 1  # the first of the two
    bound = tell(generator, ["g", "r"])
    assert not np.allclose(bound(y)[:, 1], bound(other)[:, 1], atol=1e-4)


def test_a_new_generator_leaves_what_the_first_stage_made():
    y = images(2)
    with torch.inference_mode():
        made = tell(JointResNet(BANDS, n_features=8, n_blocks=1).eval(), ["r", "J0378"])(y)
    assert_array_equal(made, pixel_shuffle(y[:, 2:], 2))


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
    with pytest.raises(ValueError, match=text):
        make().tell(bands)


# What it is told


def test_told_values_are_of_order_one_and_say_what_is_missing():
    for band in BANDS:
        facts = splus.BANDS[band]
        for fwhm in facts.fwhm:
            told = told_values(band, psf=(fwhm, 3.5, 0.28), sigma=facts.noise[0])
            assert np.abs(told).max() < 4
        assert told_values(band, sigma=facts.noise[0])[1] == 0
        assert told_values(band, psf=(1.3, 3.0))[5] == 0
    assert_array_equal(told_values("g"), [1, 0, 0, 0, 0, 0, 0])


@torch.inference_mode()
def test_psf_and_depth_change_what_is_made(generator):
    y = images(1)
    plain = generator.tell(["r"], psfs=[(1.2, 3.5, 0.28)], sigmas=[0.06])(y)
    for psfs, sigmas in (([(1.8, 3.5, 0.28)], [0.06]), ([(1.2, 3.5, 0.28)], [0.12]), (None, None)):
        assert not np.allclose(plain, generator.tell(["r"], psfs=psfs, sigmas=sigmas)(y))


# Blocks


@pytest.mark.parametrize("shape", [(150, 141), (133, 160)])
def test_blocks_are_the_whole_image(generator, shape):
    engine = TorchEngine(tell(generator, ["g", "r", "J0660"]), device="cpu", precision="float32")
    y = images(3, shape).numpy()[0]
    radius = generator.receptive_field_radius
    made = generate_blocks(engine, y, radius=radius, block_size=40, n_planes=3)
    assert_array_equal(made, engine(y))


@torch.inference_mode()
def test_receptive_field_radius_is_enough_and_not_wasteful(generator):
    """What lies beyond it changes nothing; not far inside, something does."""
    radius, bound = generator.receptive_field_radius, tell(generator, ["r"])
    side = 2 * radius + 16
    y = images(1, (side, side))
    fine, reached = bound(y), 0
    for distance in range(radius + 6):
        other = y.clone()
        other[..., side // 2 + distance] += 10
        changed = (bound(other) - fine)[..., side : side + 2].abs().max() > 0
        if changed:
            reached = distance
    assert radius - 2 <= reached <= radius


# Engines and weights


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_gives_the_same(generator):
    pytest.importorskip("openvino")
    bound = tell(generator, ["u", "J0660"])
    engine = OpenVINOEngine(bound, precision="float32")
    y = images(2, (24, 31))
    with torch.inference_mode():
        expected = bound(y)[0]
    assert_allclose(engine(y[0].numpy()), expected, atol=2e-4)


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


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
@pytest.mark.parametrize("bands", [("z", "J0660", "g", "r"), ("i", "u")])
def test_an_untrained_second_stage_is_the_first(tmp_path, bands):
    """What the shipped weights make of these bands, by themselves or together."""
    card = write(JointResNet(BANDS, n_features=8, n_blocks=1), tmp_path)
    field = simulate_field(5, shape=(48, 40), bands=bands, kind="blank").observed
    plainly = {"turned": False, "flux_anchor": 0.0}
    first = FirstStage(card, device="cpu", engine="torch", precision="float32")
    made = SRGANEnhancer(card, **OPTIONS, **plainly, uncertainty=True)(field)
    plain = SRGANEnhancer(**OPTIONS, **plainly)
    for band, image in plain(field).items():
        assert_array_equal(made[band].data, image.data)
    assert first.radius < made[band].data.shape[0]


def test_weights_of_another_version_are_refused(generator, tmp_path):
    card = write(generator, tmp_path, first_stage={"splus-any": "0" * 64})
    with pytest.raises(WeightsError, match=r"'mine' stand on 'splus-any' with sha256 000.* has "):
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
