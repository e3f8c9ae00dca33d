# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The generator for any subset of the bands: subsets, order, blocks, what it is told, weights."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import SRGANEnhancer, simulate_field, splus
from splus_srgan.enhance.tiles import generate_blocks, window
from splus_srgan.exceptions import WeightsError
from splus_srgan.models.joint import TOLD, JointResNet, told_values
from splus_srgan.models.openvino_engine import OpenVINOEngine
from splus_srgan.models.torch_engine import TorchEngine
from splus_srgan.models.weights import choose_cards, load_card, load_generator, save_weights

BANDS = tuple(splus.BANDS)
PSFS = [(1.0 + 0.05 * k, 3.0 + 0.1 * k, 0.2) for k in range(len(BANDS))]
SIGMAS = [0.05 + 0.01 * k for k in range(len(BANDS))]


def make(coarse_blocks=2, dilations=(), scale="laplace"):
    """A generator in which every layer matters."""
    torch.manual_seed(3)
    generator = JointResNet(
        BANDS,
        n_features=16,
        n_blocks=2,
        dilations=dilations,
        coarse_blocks=coarse_blocks,
        n_tail_features=8,
        scale=scale,
    )
    for name, parameter in generator.named_parameters():
        if name.startswith("last") or "tell" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    if scale is not None:
        torch.nn.init.normal_(generator.scale.last.weight, std=0.05)
    return generator.eval()


@pytest.fixture(
    scope="module", params=[{"coarse_blocks": 2}, {"coarse_blocks": 0, "dilations": (2, 3)}]
)
def generator(request):
    return make(**request.param)


def tell(generator, bands):
    places = [BANDS.index(band) for band in bands]
    return generator.tell(
        bands, psfs=[PSFS[k] for k in places], sigmas=[SIGMAS[k] for k in places]
    ).eval()


def images(n_band, shape=(21, 26), seed=0):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(1, n_band, *shape))).float()


# Subsets


@torch.inference_mode()
@settings(max_examples=20, deadline=None)
@given(bands=st.lists(st.sampled_from(BANDS), min_size=1, unique=True), data=st.data())
def test_order_of_the_bands_does_not_matter(bands, data):
    generator = make()
    y = images(len(bands))
    order = data.draw(st.permutations(range(len(bands))))
    straight = tell(generator, bands)(y)
    shuffled = tell(generator, [bands[k] for k in order])(y[:, order])
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
    filled[:, absent] = fill
    other[:, absent, 1:] = 3.0  # nor what is said of them
    for made, same in zip(
        generator.forward_with_scale(y, told),
        generator.forward_with_scale(filled, other),
        strict=True,
    ):
        assert_array_equal(made[:, present], same[:, present])
    assert_array_equal(generator(filled, other)[:, absent], 0)


@torch.inference_mode()
def test_a_bound_generator_is_the_generator(generator):
    bands = ["J0660", "u", "z"]
    places = [BANDS.index(band) for band in bands]
    y, bound = images(3), tell(generator, bands)
    whole = torch.zeros(1, len(BANDS), *y.shape[-2:])
    whole[:, places] = y
    for one, two in zip(
        bound.forward_with_scale(y), generator.forward_with_scale(whole, bound.told), strict=True
    ):
        assert_allclose(one, two[:, places], atol=1e-5)
    assert_allclose(bound(y), generator(whole, bound.told)[:, places], atol=1e-5)


@torch.inference_mode()
def test_bands_see_each_other(generator):
    y, other = images(2), images(2)
    other[:, 1] += 1
    bound = tell(generator, ["g", "r"])
    assert not np.allclose(bound(y)[:, 0], bound(other)[:, 0], atol=1e-4)


def test_a_new_generator_upsamples_each_band():
    """Before training it is bicubic interpolation and the low pass, whatever it is told."""
    fresh = JointResNet(BANDS, n_features=8, n_blocks=1, coarse_blocks=1, low_pass=0).eval()
    y = images(2)
    with torch.inference_mode():
        made = tell(fresh, ["r", "J0378"])(y)
    expected = torch.nn.functional.interpolate(
        y, scale_factor=2, mode="bicubic", align_corners=False
    )
    assert_allclose(made, expected, atol=1e-6)


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
    engine = TorchEngine(
        tell(generator, ["g", "r", "J0660"]), device="cpu", precision="float32", with_scale=True
    )
    y = images(3, shape).numpy()[0]
    options = {"radius": generator.receptive_field_radius, "align": generator.alignment}
    made = generate_blocks(engine, y, block_size=40, n_planes=6, **options)
    # Sums of convolutions with a stride may be taken in another order.
    assert_allclose(made, engine(y), rtol=0, atol=3e-6)


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
    assert reached <= radius
    assert reached >= radius - 6


@given(st.integers(20, 90), st.integers(5, 40), st.integers(0, 12), st.integers(0, 60))
def test_windows_begin_where_they_are_told_to(length, largest, margin, first):
    first = min(first, length - 1)
    part = (first, min(length, first + largest))
    start, stop = window(part, largest=largest, margin=margin, length=length, align=2)
    assert start % 2 == 0
    assert 0 <= start <= max(0, part[0] - margin)
    assert min(length, part[1] + margin) <= stop <= length


# Engines and weights


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_openvino_gives_the_same(generator):
    pytest.importorskip("openvino")
    bound = tell(generator, ["u", "J0660"])
    engine = OpenVINOEngine(bound, precision="float32", with_scale=True)
    y = images(2, (24, 31))
    with torch.inference_mode():
        expected = torch.cat(bound.forward_with_scale(y), 1)[0]
    assert_allclose(engine(y[0].numpy()), expected, atol=2e-4)


@pytest.fixture
def card(generator, tmp_path):
    """Weights as somebody's own."""
    return save_weights(
        generator,
        tmp_path,
        name="mine",
        version="1",
        bands=list(BANDS),
        pixel_scale=0.55,
        stretch={"softening": 3.0, "range": 2.0},
        target_psf={"profile": "Moffat", "fwhm": 1.0, "beta": 3.0},
    )


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


def test_the_enhancer_runs_it(card):
    bands = ("J0660", "r", "u")
    field = simulate_field(5, shape=(48, 40), bands=bands, kind="blank").observed
    enhancer = SRGANEnhancer(card, device="cpu", engine="torch", precision="float32")
    made = enhancer(field)
    assert list(made) == list(bands)
    assert made["u"].shape == (96, 80)
    swapped = enhancer({band: field[band] for band in ("u", "J0660", "r")})
    alone = enhancer(field["u"])
    assert_allclose(swapped["u"].data, made["u"].data, rtol=1e-6)
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
    field = simulate_field(6, shape=(75, 93), bands=("g", "J0515"), kind="blank").observed
    whole, parts = (
        SRGANEnhancer(card, device="cpu", engine="torch", precision="float32", block_size=size)(
            field
        )
        for size in (96, 31)
    )
    for band in field:
        scale = np.abs(whole[band].data).max()
        assert_allclose(parts[band].data, whole[band].data, rtol=0, atol=1e-5 * scale)
