# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Features: VGG networks and where their weights come from; the starlet against another one."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy import ndimage
from torch.nn import functional

from splus_srgan.exceptions import WeightsError
from splus_srgan.models import _vgg
from splus_srgan.models.features import (
    VGGFeatures,
    load_vgg16,
    load_vgg19,
    starlet,
    starlet_noise,
)


@pytest.fixture(scope="module")
def random_vgg():
    return load_vgg19("random")


# Where the weights come from.


def test_untrained_vgg19_is_the_same_every_time(random_vgg):
    state = torch.random.get_rng_state()
    assert torch.equal(load_vgg19("random")[0].weight, random_vgg[0].weight)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("name", ["vgg.pth", "vgg.safetensors"])
def test_vgg19_from_a_file_needs_no_torchvision(name, tmp_path, random_vgg, monkeypatch):
    """With or without the classifier's tensors, which are not used."""
    monkeypatch.setitem(sys.modules, "torchvision", None)
    state = {f"features.{key}": 2 * value for key, value in random_vgg.state_dict().items()}
    state["classifier.0.weight"] = torch.zeros(2, 2)
    if name.endswith("pth"):
        torch.save(state, tmp_path / name)
    else:
        from safetensors.torch import save_file

        save_file(state, tmp_path / name)
    loaded = load_vgg19(tmp_path / name)
    assert torch.equal(loaded[0].weight, 2 * random_vgg[0].weight)
    assert not loaded.training


def test_wrong_file_is_refused(tmp_path):
    torch.save({"features.0.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"weights must be a file of VGG19 .*; other.pth has 1"):
        load_vgg19(tmp_path / "other.pth")
    (tmp_path / "text.pth").write_text("no tensors")
    with pytest.raises(WeightsError, match=r"weights must be a .pth or .safetensors file"):
        load_vgg19(tmp_path / "text.pth")
    with pytest.raises(FileNotFoundError, match="weights must be an existing file, or 'random'"):
        load_vgg19(tmp_path / "nowhere.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match=r"must hold named tensors; list.pth holds a list"):
        load_vgg19(tmp_path / "list.pth")


def test_file_that_would_run_code_is_refused(tmp_path):
    """A pickle is not trusted."""
    torch.save({"features.0.weight": SimpleNamespace()}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match=r"code.pth cannot be read"):
        load_vgg19(tmp_path / "code.pth")


def fake_torchvision(monkeypatch, vgg19):
    """A torchvision with what its documentation promises: an entry of weights, and a builder."""
    models = ModuleType("torchvision.models")
    models.VGG19_Weights = SimpleNamespace(
        IMAGENET1K_V1=SimpleNamespace(url="https://example.org/vgg19.pth")
    )
    models.vgg19 = vgg19
    package = ModuleType("torchvision")
    package.models = models
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


def test_vgg19_of_torchvision_is_asked_for_its_imagenet_weights(monkeypatch, random_vgg):
    asked = []

    def vgg19(*, weights):
        asked.append(weights)
        return SimpleNamespace(features=random_vgg)

    models = fake_torchvision(monkeypatch, vgg19)
    features = VGGFeatures(layer="relu2_2")
    assert asked == [models.VGG19_Weights.IMAGENET1K_V1]
    assert features(torch.rand(1, 3, 8, 8)).shape == (1, 128, 4, 4)


@pytest.mark.parametrize(
    "error",
    [
        ModuleNotFoundError("No module named 'torchvision'"),
        RuntimeError("operator torchvision::nms does not exist\nand more"),
    ],
)
def test_missing_or_broken_torchvision_is_one_sentence(error, monkeypatch):
    """What is needed, why it is not there, and the ways around."""

    class Broken(ModuleType):
        def __getattr__(self, name):
            raise error

    package = ModuleType("torchvision")
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", Broken("torchvision.models"))
    with pytest.raises(ImportError) as caught:
        VGGFeatures()
    text = str(caught.value)
    assert text.startswith("VGG19 with its own weights comes from torchvision, which cannot be")
    assert str(error).split("\n")[0] in text
    assert f"that belongs to torch {torch.__version__}" in text
    assert "give weights= the path of a VGG19 file" in text
    assert "feature matching or the starlet loss" in text
    assert "\n" not in text


def test_failed_download_says_from_where(monkeypatch):
    from urllib.error import URLError

    def vgg19(*, weights):
        raise URLError("no route to host")

    fake_torchvision(monkeypatch, vgg19)
    told = r"could not be fetched from https://example.org/vgg19.pth \(URLError: .*no route to host"
    with pytest.raises(OSError, match=told):
        load_vgg19()


def test_real_torchvision_agrees(random_vgg):
    """Where it is installed, its layers are ours."""
    try:
        from torchvision.models import vgg19
    except Exception as error:
        pytest.skip(f"torchvision cannot be imported: {error}")
    with torch.device("meta"):
        theirs = vgg19(weights=None).features
    shapes = {name: value.shape for name, value in theirs.state_dict().items()}
    assert shapes == {name: value.shape for name, value in random_vgg.state_dict().items()}


# What a layer shows.


@pytest.mark.parametrize("name", ["block2_conv2", "relu2_2"])
@pytest.mark.parametrize("normalize", [True, False])
def test_layer_is_what_the_functions_give(random_vgg, name, normalize):
    """Block 2, convolution 2: four convolutions and one halving, worked out one by one."""
    images = torch.rand(2, 3, 16, 20)
    x = images
    if normalize:
        mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        x = (x - mean[:, None, None]) / deviation[:, None, None]
    state = random_vgg.state_dict()
    for place in (0, 2, 5, 7):
        if place == 5:
            x = functional.max_pool2d(x, 2)
        weight, bias = state[f"{place}.weight"], state[f"{place}.bias"]
        x = functional.conv2d(x, weight, bias, padding=1).clamp(min=0)
    found = VGGFeatures(weights="random", layer=name, normalize=normalize)(images)
    assert_allclose(found, x, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("layer", "channels", "size"),
    [("block1_conv1", 64, 32), ("block3_conv3", 256, 8), ("relu5_4", 512, 2)],
)
def test_layers_have_the_size_of_their_block(layer, channels, size):
    features = VGGFeatures(weights="random", layer=layer)
    assert features(torch.rand(1, 3, 32, 32)).shape == (1, channels, size, size)


def test_one_band_is_shown_thrice():
    features = VGGFeatures(weights="random", layer="relu1_2")
    image = torch.rand(1, 1, 16, 16)
    assert torch.equal(features(image), features(image.repeat(1, 3, 1, 1)))


def test_features_are_frozen_but_pass_gradients():
    features = VGGFeatures(weights="random", layer="relu2_1").train()
    assert not features.training
    assert not any(module.training for module in features.modules())
    assert not any(parameter.requires_grad for parameter in features.parameters())
    image = torch.rand(1, 3, 16, 16, requires_grad=True)
    features(image).square().mean().backward()
    assert torch.isfinite(image.grad).all()
    assert (image.grad != 0).any()


def test_features_do_not_change_their_input():
    image = torch.rand(1, 3, 16, 16)
    kept = image.clone()
    VGGFeatures(weights="random", layer="relu1_1", normalize=False)(image)
    assert torch.equal(image, kept)


def test_features_come_from_a_file(tmp_path, random_vgg, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    state = {f"features.{key}": 2 * value for key, value in random_vgg.state_dict().items()}
    torch.save(state, tmp_path / "vgg.pth")
    features = VGGFeatures(weights=tmp_path / "vgg.pth", layer="relu1_1", normalize=False)
    image = torch.rand(1, 3, 16, 16)
    single = VGGFeatures(weights="random", layer="relu1_1", normalize=False)
    assert_allclose(features(image), 2 * single(image), rtol=1e-5)


@pytest.mark.parametrize("layer", ["block3_conv5", "block1_conv3", "relu6_1", "conv3", 3])
def test_unknown_layer_is_refused(layer):
    with pytest.raises(ValueError, match=r"layer must be a convolution of VGG19, .*; got"):
        VGGFeatures(weights="random", layer=layer)


def test_images_that_vgg19_cannot_see_are_refused():
    features = VGGFeatures(weights="random")
    with pytest.raises(ValueError, match=r"1 or 3 bands.*\(1, 5, 32, 32\).*feature matching"):
        features(torch.zeros(1, 5, 32, 32))
    with pytest.raises(ValueError, match=r"got shape \(3, 32, 32\)"):
        features(torch.zeros(3, 32, 32))
    with pytest.raises(ValueError, match=r"at least 4 pixels along each side for block3_conv3"):
        features(torch.zeros(1, 3, 3, 32))


# VGG16, which blurs before it halves.


def test_blur_pool_is_the_peak_blurred():
    """Of a line: peaks of neighbours, mirrored, their (1, 2, 1) mean at every second place."""
    line = np.random.default_rng(1).normal(size=11).astype(np.float32)
    peaks = np.maximum(line[:-1], line[1:])
    mean = ndimage.correlate1d(np.pad(peaks, 2, mode="reflect"), [0.25, 0.5, 0.25])[1:-1:2]
    image = torch.tensor(np.tile(line, (1, 2, 8, 1)))
    found = _vgg.BlurPool()(image)
    assert found.shape == (1, 2, 5, 6)
    assert_allclose(found, np.broadcast_to(mean, found.shape), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("layer", "smallest"), [("relu1_2", 1), ("relu2_2", 4), ("relu5_3", 18)])
def test_vgg16_says_how_small_images_may_be(layer, smallest):
    features = VGGFeatures(network="vgg16", weights="random", layer=layer)
    assert torch.isfinite(features(torch.rand(1, 1, smallest, smallest))).all()
    if smallest > 1:
        with pytest.raises(ValueError, match=rf"at least {smallest} pixels along each side"):
            features(torch.rand(1, 1, smallest, smallest - 1))


def test_networks_and_their_layers_are_checked():
    with pytest.raises(ValueError, match="network must be one of 'vgg19', 'vgg16'; got 'vgg11'"):
        VGGFeatures(network="vgg11", weights="random")
    with pytest.raises(ValueError, match=r"of VGG16, .*'block5_conv3'.*got 'block3_conv4'"):
        VGGFeatures(network="vgg16", weights="random", layer="block3_conv4")


def as_shipped(state):
    """Names of the package, which count the blurs, beside what is no convolution."""
    counted = [0, 2, 6, 8, 12, 14, 16, 20, 22, 24, 28, 30, 32]
    ours = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]
    made = {"scaling_layer.shift": torch.zeros(1, 3, 1, 1), "net.slice2.5.filt": torch.ones(2)}
    for slice_, (place, number) in enumerate(zip(ours, counted, strict=True)):
        for kind in ("weight", "bias"):
            made[f"net.slice{1 + slice_ // 3}.{number}.{kind}"] = state[f"{place}.{kind}"]
    return made


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A package like the one that ships VGG16, whose code must not run, and an empty cache."""
    folder = tmp_path / "site" / "stlpips_pytorch"
    (folder / "weights/vST0.0").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(folder.parent))
    monkeypatch.setattr(_vgg, "get_cache_dir", lambda: tmp_path / "cache")
    return folder / "weights/vST0.0/vgg_shift_tolerant.pth"


def test_vgg16_of_the_package_is_converted_once(shipped, tmp_path, monkeypatch):
    wanted = load_vgg16("random").state_dict()
    torch.save(as_shipped(wanted), shipped)
    for _ in range(2):
        found = load_vgg16().state_dict()
        assert list(found) == list(wanted)
        assert all(torch.equal(found[name], wanted[name]) for name in wanted)
        # From now on, no pickle is read.
        monkeypatch.setattr(torch, "load", None)
    (kept,) = (tmp_path / "cache/splus_srgan").iterdir()
    monkeypatch.undo()
    assert torch.equal(load_vgg16(kept)[0].weight, wanted["0.weight"])


def test_damaged_or_forbidden_cache_does_no_harm(shipped, tmp_path, monkeypatch):
    torch.save(as_shipped(load_vgg16("random").state_dict()), shipped)
    load_vgg16()
    (kept,) = (tmp_path / "cache/splus_srgan").iterdir()
    size = kept.stat().st_size
    kept.write_bytes(b"damaged")
    assert load_vgg16()[0].weight.any()
    assert kept.stat().st_size == size
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(_vgg, "get_cache_dir", lambda: tmp_path / "file")
    assert load_vgg16()[0].weight.any()


def test_package_with_other_files_is_told(shipped, tmp_path):
    with pytest.raises(WeightsError, match=r"stlpips-pytorch should have .*install its version"):
        load_vgg16()
    torch.save({"net.slice1.0.weight": torch.zeros(64, 3, 3, 3)}, shipped)
    with pytest.raises(WeightsError, match=r"of VGG16 .*; vgg_shift_tolerant.pth has 1 of its 26"):
        load_vgg16()
    torch.save({"net.slice1.0.weight": SimpleNamespace()}, shipped)
    with pytest.raises(WeightsError, match=r"vgg_shift_tolerant.pth cannot be read"):
        load_vgg16()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"needs stlpips_pytorch, .*extra 'perceptual'"):
        load_vgg16()


def test_vgg16_is_what_the_functions_give_with_the_shipped_values(tmp_path, monkeypatch):
    """The first two blocks, worked out one by one from the tensors of the package."""
    spec = importlib.util.find_spec("stlpips_pytorch")
    if spec is None:
        pytest.skip("stlpips-pytorch is not installed (extra perceptual)")
    source = Path(spec.origin).parent / "weights/vST0.0/vgg_shift_tolerant.pth"
    state = torch.load(source, map_location="cpu", weights_only=True)
    monkeypatch.setattr(_vgg, "get_cache_dir", lambda: tmp_path)
    images = torch.rand(1, 3, 24, 20)
    x = (images - state["scaling_layer.shift"] / 2 - 0.5) / state["scaling_layer.scale"] * 2
    for place in ("1.0", "1.2", "2.5", "2.6", "2.8"):
        if place == "2.5":
            x = functional.pad(functional.max_pool2d(x, 2, 1), [2] * 4, mode="reflect")
            x = functional.conv2d(x, state["net.slice2.5.filt"], stride=2, groups=64)
            continue
        weight, bias = (state[f"net.slice{place}.{kind}"] for kind in ("weight", "bias"))
        x = functional.conv2d(x, weight, bias, padding=1).clamp(min=0)
    found = VGGFeatures(network="vgg16", layer="relu2_2")(images)
    # Their normalisation is that of ImageNet to three digits.
    assert_allclose(found, x, rtol=0.01, atol=0.01 * float(x.max()))


# Starlet.


def reference_starlet(image, n_scales):
    """By scipy, in float64: kernels with holes, borders mirrored about the outermost pixel."""
    smooth, planes = image.astype(np.float64), []
    for scale in range(n_scales):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1, 4, 6, 4, 1]) / 16
        coarser = ndimage.correlate1d(smooth, kernel, axis=0, mode="mirror")
        coarser = ndimage.correlate1d(coarser, kernel, axis=1, mode="mirror")
        planes.append(smooth - coarser)
        smooth = coarser
    return np.stack([*planes, smooth])


@pytest.mark.parametrize("n_scales", [1, 3, 4])
def test_starlet_is_that_of_scipy(n_scales):
    images = np.random.default_rng(1).normal(size=(2, 3, 17, 40))
    planes = starlet(torch.from_numpy(images), n_scales=n_scales)
    assert planes.shape == (n_scales + 1, 2, 3, 17, 40)
    assert_allclose(planes[:, 1, 2], reference_starlet(images[1, 2], n_scales), atol=1e-12)


def test_planes_add_up_to_the_image():
    images = torch.randn(1, 2, 48, 33) * torch.tensor([1.0, 1e5])[:, None, None]
    total = starlet(images).sum(dim=0)
    assert_allclose(total[:, 0], images[:, 0], atol=2e-6)
    assert_allclose(total[:, 1], images[:, 1], atol=0.2)


def test_flat_images_have_no_wavelets():
    planes = starlet(torch.full((1, 1, 20, 20), 7.0), n_scales=3)
    assert_allclose(planes[:3], 0, atol=1e-5)
    assert_allclose(planes[3], 7, rtol=1e-6)


def test_starlet_computes_in_float32():
    with torch.autocast("cpu", dtype=torch.bfloat16):
        planes = starlet(torch.randn(1, 1, 20, 20).bfloat16(), n_scales=1)
    assert planes.dtype == torch.float32


def test_noise_of_the_planes_is_that_of_an_impulse():
    """White noise: the root of the sum of squares of what one pixel makes of each plane."""
    image = np.zeros((257, 257))
    image[128, 128] = 1
    expected = np.sqrt((reference_starlet(image, 4) ** 2).sum(axis=(1, 2)))
    assert_allclose(starlet_noise(4), expected, rtol=1e-12)
    # As Starck & Murtagh tabulate them.
    assert_allclose(starlet_noise(4)[:3], [0.889, 0.200, 0.086], atol=0.003)


def test_starlet_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r"n_scales=4 needs images of more than 16 pixels.*16, 40"):
        starlet(torch.zeros(1, 1, 16, 40))
    with pytest.raises(ValueError, match="n_scales must be at least 1; got 0"):
        starlet(torch.zeros(1, 1, 16, 40), n_scales=0)
