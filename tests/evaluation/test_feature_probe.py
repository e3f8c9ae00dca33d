# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The probe of channels, on networks whose answers are known."""

import numpy as np
import pytest
from astropy.nddata import CCDData
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import simulate_field
from splus_srgan.evaluation.measure.features import FeatureProbe, strongest_channels
from splus_srgan.evaluation.measure.networks import answering_layers
from splus_srgan.models.features import load_vgg19
from splus_srgan.models.weights import load_generator

torch = pytest.importorskip("torch")
nn = torch.nn


def fixed_filters():
    """Four channels: what is bright over 7 x 7 pixels, what differs from neighbor to neighbor,
    the image itself, and nothing.
    """
    conv = nn.Conv2d(1, 4, 7, padding=3, bias=True)
    with torch.no_grad():
        conv.weight.zero_()
        conv.bias.zero_()
        conv.weight[0] = 1 / 49
        conv.weight[1, 0, 3, 3], conv.weight[1, 0, 3, 4] = 1.0, -1.0
        conv.weight[2, 0, 3, 3] = 1.0
    return nn.Sequential(conv)


def galaxies(number=4, n_band=1):
    """Smooth blobs in units of sigma, without noise."""
    y, x = np.mgrid[:48, :48]
    rng = np.random.default_rng(2)
    blobs = [
        30 * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 60)
        for cx, cy in rng.uniform(15, 33, (number, 2))
    ]
    return [np.stack([blob] * n_band) for blob in blobs]


def test_channels_of_known_filters_are_ranked():
    """A mean over 49 pixels answers to galaxies, a difference to noise, the image to both."""
    table = FeatureProbe(fixed_filters(), bands="r")(galaxies())
    assert table["channel"].tolist() == [0, 2, 1, 3]
    assert table["answers_to"].tolist() == ["galaxies", "both", "noise", "nothing"]
    assert table["rank"].tolist() == [1, 2, 3, 4]
    assert_allclose(table["preference"][1], 0, atol=1e-6)
    assert np.isnan(table["preference"][3])
    assert (table["error"][[0, 2]] < 0.2).all()


def test_gains_are_those_of_the_closed_form():
    """For white noise: 1/7 of a mean over 49 pixels, sqrt(2) of a difference of two."""
    noise = [np.random.default_rng(k).normal(0, 0.01, (1, 96, 96)) for k in range(6)]
    table = FeatureProbe(fixed_filters(), bands="r")(galaxies(), noise=noise)
    gain = dict(zip(table["channel"].tolist(), table["noise"], strict=True))
    assert_allclose([gain[0], gain[1], gain[2]], [1 / 7, np.sqrt(2), 1], rtol=0.1)


def test_answer_to_an_empty_sky_does_not_count():
    """A bias is no answer."""
    network = fixed_filters()
    plain = FeatureProbe(network, bands="r")(galaxies(), n_noise=2)
    with torch.no_grad():
        network[0].bias += 5
    biased = FeatureProbe(network, bands="r")(galaxies(), n_noise=2)
    assert_allclose(biased["galaxy"], plain["galaxy"], atol=1e-5)


def test_probe_leaves_the_network_alone():
    network = fixed_filters()
    FeatureProbe(network, bands="r")(galaxies(), n_noise=1)
    assert not network[0]._forward_hooks


def test_maps_are_what_the_channels_show():
    probe = FeatureProbe(fixed_filters(), bands="r")
    field = galaxies(1)[0]
    itself, difference = probe.maps(field, [("0", 2), ("0", 1)])
    stretched = probe.stretch(field[0])
    assert_allclose(itself, stretched, atol=1e-6)
    assert_allclose(difference[:, :-1], stretched[:, :-1] - stretched[:, 1:], atol=1e-5)


def test_generator_is_probed_without_a_download():
    """The shipped generator has channels for galaxies and channels for noise."""
    fields = [simulate_field(seed, shape=(48, 48), kind="fill").observed for seed in (1, 2, 3)]
    probe = FeatureProbe("generator")
    seen = []
    table = probe(fields, n_noise=3, progress_bar=lambda images: seen.append(len(images)) or images)
    assert seen == [6]
    assert next(iter(probe.layers)) == "first.1"
    generator = load_generator("splus-grz")
    assert len(table) == 48 * (1 + len(generator.blocks)) + 32
    assert {"galaxies", "noise"} <= set(table["answers_to"])
    assert_array_equal(np.sort(table["rank"]), np.arange(len(table)) + 1)
    finite = np.asarray(table["preference"])[np.isfinite(table["preference"])]
    assert (np.diff(finite) <= 1e-12).all()


def test_generator_of_one_band_takes_one_band():
    probe = FeatureProbe("generator", weights="splus-any", bands="r", layers=["tail.1"])
    assert len(probe(galaxies(2), n_noise=1)) > 8


def test_answer_does_not_depend_on_the_unit_of_the_field():
    """Fields are brought to units of their noise: counts and nanomaggies are alike."""
    field = simulate_field(3, shape=(48, 48), bands=("r",)).observed
    scaled = {"r": CCDData(field["r"].data * 40, unit="adu")}
    probe = FeatureProbe(fixed_filters(), bands="r")
    one, other = (probe([f], n_noise=1)["galaxy"] for f in (field, scaled))
    assert_allclose(one, other, rtol=0.02)


def test_strongest_channels_are_chosen_by_their_answer():
    table = FeatureProbe(fixed_filters(), bands="r")(galaxies(), n_noise=2)
    assert strongest_channels(table, "galaxies") == [("0", 0)]
    assert strongest_channels(table, "noise", number=3) == [("0", 1)]
    with pytest.raises(ValueError, match="answers_to must be one of 'galaxies', 'noise'; got 'a'"):
        strongest_channels(table, "a")


def test_what_cannot_be_probed_is_refused():
    probe = FeatureProbe(fixed_filters(), bands="r")
    with pytest.raises(ValueError, match="galaxies must hold at least one field; got none"):
        probe([])
    with pytest.raises(ValueError, match="noise must hold at least one field; got none"):
        probe(galaxies(1), noise=[])
    with pytest.raises(ValueError, match="galaxies and noise must not be blank"):
        probe([np.zeros((1, 8, 8))])
    with pytest.raises(ValueError, match=r"with the 1 band\(s\) r; got shape \(3, 48, 48\)"):
        probe(galaxies(1, n_band=3))
    with pytest.raises(ValueError, match="network must be 'generator', 'vgg19' or a torch module"):
        FeatureProbe("resnet")
    with pytest.raises(ValueError, match=r"layers must be among 0; got \['relu9_9'\]"):
        FeatureProbe(fixed_filters(), bands="r", layers=["relu9_9"])
    with pytest.raises(ValueError, match="network must have rectifiers or convolutions"):
        FeatureProbe(nn.Sequential(nn.Flatten()))


# VGG19.


@pytest.fixture(scope="module")
def random_vgg():
    return load_vgg19("random")


def test_vgg19_has_its_layers(random_vgg):
    """16 convolutions, named as in the papers that use them; 5504 channels."""
    layers = answering_layers(random_vgg)
    expected = [
        f"relu{b}_{k}"
        for b, n in zip(range(1, 6), (2, 2, 4, 4, 4), strict=True)
        for k in range(1, n + 1)
    ]
    assert list(layers) == expected
    assert sum(p.numel() for p in random_vgg.parameters()) == 20_024_384  # that of torchvision's


def test_vgg19_is_probed_by_layer():
    probe = FeatureProbe("vgg19", weights="random", layers=["relu1_1", "relu2_2"])
    table = probe(galaxies(2, n_band=3), n_noise=2)
    assert len(table) == 64 + 128


def test_vgg19_sees_red_green_blue():
    """The reddest band is red, and the sky is black as ImageNet has it."""
    probe = FeatureProbe("vgg19", weights="random", layers=["relu1_1"])
    y = np.stack([np.full((8, 8), value, np.float32) for value in (0.1, 0.2, 0.3)])
    shown = probe._as_input(y)[0, :, 0, 0].numpy()
    mean, deviation = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    assert_allclose(shown, (np.array([0.3, 0.2, 0.1]) - mean) / deviation, rtol=1e-5)
