# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Discriminators: the seed paper's, layer by layer, and the U-Net's norms, sizes and reach."""

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch.nn import functional

from splus_srgan.models.discriminator import PatchDiscriminator, UNetDiscriminator

# Of the seed paper: channels and strides.
PAPER = [(64, 1), (64, 2), (128, 1), (128, 2), (256, 1), (256, 2), (512, 1), (512, 2)]


def make(kind, n_bands=2, *, seed=0, **options):
    torch.manual_seed(seed)
    if kind == "patch":
        return PatchDiscriminator(n_bands, **{"n_features": 4, "n_dense": 8} | options)
    return UNetDiscriminator(n_bands, **{"n_features": 4} | options)


# The seed paper's.


def test_paper_discriminator_has_its_layers():
    """256 x 256 pixels become a map of 16 x 16."""
    discriminator = PatchDiscriminator(3)
    with torch.device("meta"):
        shapes = PatchDiscriminator(3).activations(torch.empty(2, 3, 256, 256))
    side, expected = 256, []
    for channels, stride in PAPER:
        side //= stride
        expected.append((2, channels, side, side))
    assert [tuple(part.shape) for part in shapes] == [*expected, (2, 1024, 16, 16)]
    norms = [m for m in discriminator.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [norm.num_features for norm in norms] == [channels for channels, _ in PAPER[1:]]
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.2, 1e-3)}


def test_paper_discriminator_has_its_size():
    """9 n_in n_out + n_out a convolution, 2 n a normalisation, and two dense layers."""
    n_in, expected = 3, 0
    for k, (n_out, _) in enumerate(PAPER):
        expected += 9 * n_in * n_out + n_out + (2 * n_out if k else 0)
        n_in = n_out
    expected += (512 + 1) * 1024 + 1024 + 1
    found = sum(parameter.numel() for parameter in PatchDiscriminator(3).parameters())
    assert found == expected == 5_215_425


def keras_same(image, kernel, bias, stride):
    """Convolution with the padding "same" of Keras, pixel by pixel, for one image."""
    n_out, _, size, _ = kernel.shape
    sides = [-(-n // stride) for n in image.shape[1:]]
    totals = [
        max((o - 1) * stride + size - n, 0) for o, n in zip(sides, image.shape[1:], strict=True)
    ]
    padded = np.pad(image, [(0, 0)] + [(total // 2, total - total // 2) for total in totals])
    result = np.zeros((n_out, *sides))
    for i, j in np.ndindex(*sides):
        part = padded[:, i * stride : i * stride + size, j * stride : j * stride + size]
        result[:, i, j] = np.einsum("chw,ochw->o", part, kernel) + bias
    return result


@pytest.mark.parametrize("shape", [(16, 16), (19, 22)])
def test_logits_are_worked_out_by_hand(shape):
    """In evaluation mode, in numpy: convolution, leaky rectifier, normalisation."""
    discriminator = make("patch", n_features=2, n_dense=3)
    for buffer in discriminator.buffers():
        if buffer.is_floating_point():
            buffer.copy_(0.5 + torch.rand_like(buffer))
    for parameter in discriminator.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter)
    discriminator = discriminator.eval()
    image = torch.randn(1, 2, *shape)
    state = {name: value.double().numpy() for name, value in discriminator.state_dict().items()}
    x = image[0].double().numpy()
    for k, (_, stride) in enumerate(PAPER):
        at = f"layers.{k}."
        x = keras_same(x, state[at + "conv.weight"], state[at + "conv.bias"], stride)
        x = np.where(x > 0, x, 0.2 * x)
        if k:
            weight, bias, mean, variance = (
                state[f"{at}norm.{name}"][:, None, None]
                for name in ("weight", "bias", "running_mean", "running_var")
            )
            x = weight * (x - mean) / np.sqrt(variance + 1e-3) + bias
    x = np.einsum("chw,oc->ohw", x, state["dense.0.weight"][:, :, 0, 0])
    x = x + state["dense.0.bias"][:, None, None]
    x = np.where(x > 0, x, 0.2 * x)
    x = np.einsum("chw,oc->ohw", x, state["last.weight"][:, :, 0, 0]) + state["last.bias"]
    with torch.no_grad():
        found = discriminator(image)[0].numpy()
    assert found.shape == x.shape == (1, -(-shape[0] // 16), -(-shape[1] // 16))
    assert_allclose(found, x, rtol=1e-4, atol=1e-5)


def test_normalisation_uses_the_batch_in_training():
    """And keeps 0.8 of its running values, as Keras' momentum 0.8 says."""
    discriminator = make("patch").train()
    image = torch.randn(3, 2, 32, 32)
    norm = discriminator.layers[1].norm
    norm.running_mean.fill_(10.0)
    seen = []
    handle = norm.register_forward_hook(lambda _, given, answer: seen.append((given[0], answer)))
    discriminator(image)
    handle.remove()
    given, answer = seen[0]
    assert_allclose(answer.mean(dim=(0, 2, 3)).detach(), 0, atol=1e-5)
    expected = 0.8 * 10 + 0.2 * given.mean(dim=(0, 2, 3))
    assert_allclose(norm.running_mean, expected.detach(), rtol=1e-5)


def test_without_norm_no_image_matters_to_another():
    discriminator = make("patch", norm=None).train()
    images = torch.randn(3, 2, 32, 32)
    whole, parts = discriminator(images), [discriminator(image[None]) for image in images]
    assert_allclose(whole.detach(), torch.cat(parts).detach(), rtol=1e-4, atol=1e-6)


def test_weights_start_as_those_of_keras():
    """Uniform within sqrt(6 / (fan in + fan out)), no bias."""
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(3, n_features=8)
    kernel = discriminator.layers[4].conv.weight.detach()
    limit = np.sqrt(6 / (9 * 16 + 9 * 32))
    assert 0.98 * limit < kernel.abs().max() <= limit
    assert_allclose(kernel.std(), limit / np.sqrt(3), rtol=0.03)
    assert all((layer.conv.bias == 0).all() for layer in discriminator.layers)


def test_receptive_field_is_as_documented():
    discriminator = make("patch", norm=None).double()
    image = torch.randn(1, 2, 160, 160, dtype=torch.float64, requires_grad=True)
    discriminator(image)[0, 0, 5, 5].backward()
    rows = torch.nonzero(image.grad.abs().sum(dim=(0, 1, 3))).flatten()
    assert rows.max() - rows.min() + 1 == 61


# The U-Net.


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (48, 24), (63, 40)])
def test_unet_judges_every_pixel(shape):
    logits, activations = make("unet").forward_with_activations(torch.randn(2, 2, *shape))
    assert logits.shape == (2, 1, *shape)
    assert torch.isfinite(logits).all()
    assert len(activations) == 4 + 3 + 2
    zooms = [1, 2, 4, 8, 4, 2, 1, 1, 1]
    for part, zoom in zip(activations, zooms, strict=True):
        assert part.shape[-2:] == (-(-shape[0] // zoom), -(-shape[1] // zoom))


def test_unet_pads_by_mirroring():
    """Of an image mirrored to sides that 8 divides, the same part is judged alike."""
    discriminator = make("unet").eval()
    image = torch.randn(1, 2, 19, 30)
    mirrored = np.pad(image.numpy(), [(0, 0)] * 2 + [(0, 5), (0, 2)], mode="reflect")
    mirrored = torch.from_numpy(mirrored)
    with torch.no_grad():
        assert_allclose(discriminator(image), discriminator(mirrored)[..., :19, :30], atol=1e-6)


def test_unet_sees_fine_and_coarse():
    """A pixel is judged by itself and by what is far from it."""
    discriminator = make("unet").double().eval()
    image = torch.randn(1, 2, 96, 96, dtype=torch.float64, requires_grad=True)
    discriminator(image)[0, 0, 48, 48].backward()
    slope = image.grad.abs().sum(dim=(0, 1))
    rows = torch.nonzero(slope.sum(dim=1)).flatten()
    assert rows.max() - rows.min() > 40
    assert slope[48, 48] > 3 * slope[48, 60] > 0


def test_kernels_have_unit_norm():
    """Largest singular value 1 in every convolution but the last, after some steps of training."""
    discriminator = make("unet", n_features=8).train()
    for _ in range(20):
        discriminator(torch.randn(1, 2, 16, 16))
    layers = [discriminator.first, *discriminator.down, *discriminator.up, *discriminator.refine]
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), 2)
        assert_allclose(largest, 1, rtol=0.02)


def test_kernels_are_normalised_in_float32_under_autocast():
    """Half precision neither fails nor changes the state of the normalisation."""
    discriminator = make("unet").train()
    other = copy.deepcopy(discriminator)
    image = torch.randn(1, 2, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half = discriminator(image)
    full = other(image)
    assert half.dtype == torch.float32
    assert_allclose(half.detach(), full.detach(), atol=0.02)
    for name, value in other.state_dict().items():
        assert torch.equal(discriminator.state_dict()[name], value), name


def test_unet_depends_on_no_other_image():
    discriminator = make("unet").eval()
    images = torch.randn(3, 2, 24, 24)
    with torch.no_grad():
        parts = torch.cat([discriminator(image[None]) for image in images])
        assert_allclose(discriminator(images), parts, atol=1e-6)


# Both.


@pytest.mark.parametrize("kind", ["patch", "unet"])
def test_activations_come_with_the_logits(kind):
    discriminator = make(kind).eval()
    image = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        logits, activations = discriminator.forward_with_activations(image)
        assert torch.equal(logits, discriminator(image))
        alone = discriminator.activations(image)
    assert all(torch.equal(a, b) for a, b in zip(activations, alone, strict=True))


@pytest.mark.parametrize(("kind", "options"), [("patch", {"norm": None}), ("unet", {})])
def test_both_learn_to_tell_images_apart(kind, options):
    """Noise from smooth images, in a few steps; every weight takes part."""
    discriminator = make(kind, **options).train()
    optimizer = torch.optim.Adam(discriminator.parameters(), lr=1e-2)
    torch.manual_seed(1)
    for step in range(40):
        real = torch.randn(4, 2, 32, 32)
        fake = functional.avg_pool2d(real, 5, 1, 2)
        loss = functional.softplus(-discriminator(real)).mean()
        loss = loss + functional.softplus(discriminator(fake)).mean()
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            first = loss.item()
            assert all((p.grad != 0).any() for p in discriminator.parameters())
        optimizer.step()
    assert loss.item() < 0.5 * first


@pytest.mark.parametrize("kind", ["patch", "unet"])
def test_state_is_restored(kind):
    one, other = make(kind), make(kind, seed=1)
    one.train()(torch.randn(2, 2, 32, 32))
    other.load_state_dict(one.state_dict())
    image = torch.randn(1, 2, 32, 32)
    with torch.no_grad():
        assert torch.equal(one.eval()(image), other.eval()(image))


def test_what_cannot_be_made_or_judged_is_refused():
    with pytest.raises(ValueError, match="n_features must be at least 1; got 0"):
        PatchDiscriminator(3, n_features=0)
    with pytest.raises(TypeError, match=r"n_bands must be an integer; got 2\.5"):
        UNetDiscriminator(2.5)
    with pytest.raises(ValueError, match="norm must be one of 'batch', None; got 'layer'"):
        PatchDiscriminator(3, norm="layer")
    with pytest.raises(ValueError, match=r"at least 16 pixels along each side; got \(15, 40\)"):
        UNetDiscriminator(1, n_features=2)(torch.zeros(1, 1, 15, 40))
