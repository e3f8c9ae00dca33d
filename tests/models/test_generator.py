# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The generator: its size, its receptive field, where it starts, and its options."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from splus_srgan.models.generator import Generator, SRResNet, low_pass

PAPER = {
    "norm": "batch",
    "first_kernel": 9,
    "last_kernel": 9,
    "n_tail_features": 256,
    "output": "tanh",
}

ARCHITECTURES = {
    "plain": {"n_blocks": 2},
    "one block": {"n_blocks": 1, "last_kernel": 1},
    "wide kernels": {"n_blocks": 1, "first_kernel": 7, "last_kernel": 9},
    "point kernels": {"n_blocks": 1, "first_kernel": 1, "last_kernel": 1},
    "batch": {"n_blocks": 2, "norm": "batch", "last_kernel": 5},
    "dilations": {"n_blocks": 1, "dilations": (2, 3)},
    "low pass": {"n_blocks": 1, "low_pass": 2},
    "tanh": {"n_blocks": 2, "output": "tanh", "first_kernel": 9, "last_kernel": 9},
}


def make(n_bands=1, *, seed=0, **options):
    """A small generator with all its weights positive, so that nothing cancels."""
    torch.manual_seed(seed)
    generator = SRResNet(n_bands, **{"n_features": 4, "n_tail_features": 4, **options}).eval()
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.copy_(0.02 + 0.01 * torch.rand_like(parameter))
    return generator


def support(generator, side, position):
    """Rows and columns of the input on which one output pixel depends."""
    image = torch.full((1, 1, side, side), 0.3, requires_grad=True)
    generator, wide = generator.double(), image.double()
    features = generator.features(wide)
    # `forward` would go to float32, and the hyperbolic tangent is flat far from 0.
    tanh = generator.output == "tanh"
    fine = generator.last(features) if tanh else generator.finish(wide, features)
    fine[0, 0, position[0], position[1]].backward()
    rows, columns = np.nonzero(image.grad[0, 0].numpy())
    return rows.min(), rows.max(), columns.min(), columns.max()


def test_paper_generator_has_its_size():
    generator = SRResNet(3, **PAPER)
    assert sum(p.numel() for p in generator.parameters() if p.requires_grad) == 1_448_387
    assert generator.receptive_field_radius == 40


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_radius_is_what_an_output_pixel_reaches(name):
    """No output pixel of a 2 x 2 block depends on more, and one of them on all of it."""
    generator = make(**ARCHITECTURES[name])
    radius = generator.receptive_field_radius
    side, here = 2 * radius + 7, radius + 3
    reached = []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        top, bottom, left, right = support(generator, side, (2 * here + dy, 2 * here + dx))
        reached.append((here - top, bottom - here, here - left, right - here))
    assert np.max(reached) == radius


def test_radius_covers_the_bicubic_skip():
    """An output pixel of the skip alone depends on 2 input pixels to a side."""
    generator = SRResNet(1, n_features=2, n_blocks=1).eval()
    reached = []
    for position in (20, 21):
        image = torch.rand(1, 1, 20, 20, requires_grad=True)
        generator(image)[0, 0, position, position].backward()
        rows = np.nonzero(image.grad[0, 0].abs().sum(1).numpy())[0]
        reached += [10 - rows.min(), rows.max() - 10]
    assert max(reached) == 2 <= generator.receptive_field_radius


def test_default_generator_has_the_radius_of_its_layers():
    assert SRResNet(3).receptive_field_radius == 1 + 2 * 16 + 1 + 2


def bicubic(image):
    """Keys' cubic convolution with a = -0.75 at quarters of a pixel, edges repeated."""

    def kernel(t):
        t, a = np.abs(t), -0.75
        near = (a + 2) * t**3 - (a + 3) * t**2 + 1
        far = a * (t**3 - 5 * t**2 + 8 * t - 4)
        return np.where(t <= 1, near, np.where(t < 2, far, 0))

    def along(axis, values):
        parts = []
        for shift in (-0.25, 0.25):
            weights = kernel(np.arange(-2, 3) - shift)
            parts.append(ndimage.correlate1d(values, weights, axis=axis, mode="nearest"))
        shape = list(values.shape)
        shape[axis] *= 2
        return np.stack(parts, axis=axis + 1).reshape(shape)

    return along(1, along(0, image.astype(float)))


@pytest.mark.parametrize("shape", [(9, 12), (1, 1), (3, 7)])
def test_new_generator_is_the_bicubic_upsampling(shape):
    image = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    generator = SRResNet(2, n_features=4, n_blocks=1).eval()
    with torch.inference_mode():
        result = generator(torch.from_numpy(image)[None])[0].numpy()
    assert_allclose(result, [bicubic(plane) for plane in image], rtol=0, atol=2e-6)


def test_upsampling_keeps_the_mean_of_a_slope():
    """The mean of the four fine pixels of an inclined plane is the coarse one."""
    yy, xx = np.indices((12, 14), dtype=np.float32)
    plane = 3 * yy - 2 * xx + 5
    generator = SRResNet(1, n_features=4, n_blocks=1).eval()
    with torch.inference_mode():
        fine = generator(torch.from_numpy(plane)[None, None])[0, 0].numpy()
    inner = fine.reshape(12, 2, 14, 2).mean(axis=(1, 3))[3:-3, 3:-3]
    assert_allclose(inner, plane[3:-3, 3:-3], rtol=0, atol=1e-4)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_low_pass_has_its_response(order):
    point = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    point[..., 16, 16] = 1
    found = np.fft.fft2(np.fft.ifftshift(low_pass(point, order)[0, 0].numpy()))
    response = 1 - np.sin(np.pi * np.fft.fftfreq(32)) ** (2 * order)
    assert_allclose(found, np.outer(response, response), atol=1e-12)


def test_low_pass_does_not_depend_on_the_size():
    image = torch.from_numpy(np.random.default_rng(3).normal(size=(1, 2, 61, 83)).astype("f4"))
    whole = low_pass(image, 2)
    part = low_pass(image[..., 10:41, 17:60], 2)
    assert torch.equal(part[..., 2:-2, 2:-2], whole[..., 12:39, 19:58])
    assert torch.equal(low_pass(image, 0), image)


@pytest.mark.parametrize("output", ["residual", "tanh"])
def test_generated_image_goes_through_the_filter(output):
    y = torch.from_numpy(np.random.default_rng(4).normal(size=(1, 1, 24, 24)).astype("f4"))
    plain, filtered = (make(output=output, low_pass=order) for order in (0, 2))
    assert torch.equal(filtered(y), low_pass(plain(y), 2))


def test_tanh_output_stays_within_one():
    generator = make(2, n_blocks=1, output="tanh")
    with torch.inference_mode():
        result = generator(1e3 * torch.randn(1, 2, 8, 8))
    assert result.abs().max() <= 1


def test_last_layer_stays_float32_under_autocast():
    generator = make(1, n_blocks=1)
    image = torch.rand(1, 1, 8, 8)
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        features = generator.features(image)
        result = generator(image)
    assert features.dtype == torch.bfloat16
    assert result.dtype == torch.float32
    with torch.inference_mode():
        assert_array_equal(result, generator.finish(image, features.float()))


def test_batch_images_do_not_mix():
    generator = make(1, n_blocks=2, norm="batch")
    images = torch.rand(3, 1, 8, 9)
    with torch.inference_mode():
        together = generator(images)
        assert_allclose(together[1:2], generator(images[1:2]), rtol=1e-5)


def test_options_rebuild_the_generator():
    options = {"n_bands": 2, "n_features": 6, "n_blocks": 3, "last_kernel": 5}
    generator = SRResNet(**options)
    again = SRResNet(**generator.options)
    again.load_state_dict(generator.state_dict())
    assert again.receptive_field_radius == generator.receptive_field_radius


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_bands": 0}, "n_bands must be an integer of at least 1; got 0"),
        ({"n_bands": 3.0}, "n_bands must be an integer of at least 1; got 3.0"),
        ({"n_features": -1}, "n_features must be an integer of at least 1; got -1"),
        ({"n_blocks": 0}, "n_blocks must be an integer of at least 1; got 0"),
        ({"n_tail_features": None}, "n_tail_features must be an integer of at least 1; got None"),
        ({"first_kernel": 4}, "first_kernel must be an odd integer of at least 1; got 4"),
        ({"last_kernel": -3}, "last_kernel must be an odd integer of at least 1; got -3"),
        ({"low_pass": -1}, "low_pass must be an integer of at least 0; got -1"),
        ({"norm": "layer"}, "norm must be one of 'batch', None; got 'layer'"),
        ({"output": "linear"}, "output must be one of 'residual', 'tanh'; got 'linear'"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        SRResNet(**{"n_bands": 3, **options})


def test_generators_must_say_what_they_read():
    """A form without its radii cannot be made, rather than fail in the middle of a field."""

    class Blind(Generator):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Blind()
