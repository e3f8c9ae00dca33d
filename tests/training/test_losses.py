# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Losses: against numbers worked out otherwise, sample by sample, and for hostile values."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from photutils.aperture import CircularAperture
from scipy import ndimage, stats

from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.training import losses
from splus_srgan.training.losses import (
    aperture_loss,
    binned_flux_loss,
    discriminator_adversarial,
    feature_loss,
    feature_matching_loss,
    flux_loss,
    gaussian_nll,
    generator_adversarial,
    laplace_nll,
    noise_weighted_loss,
    pixel_loss,
    response_loss,
    spectrum_loss,
    starlet_loss,
    stretch,
    total_loss,
    unstretch,
)


def image(*values):
    """One sample, one band, one row."""
    return torch.tensor([[[list(values)]]], dtype=torch.float32)


def smooth_l1(error):
    error = np.abs(error)
    return np.where(error < 1, 0.5 * error**2, error - 0.5)


# Every loss as a function of one generated tensor and the rest of a batch.

KINDS = ("l1", "l2", "charbonnier")
BOXES = {"sizes": (4, 12)}
CALLS = {
    **{
        f"pixel {kind}": lambda g, b, kind=kind: pixel_loss(g, b["t"], b["w"], kind=kind)
        for kind in KINDS
    },
    "noise_weighted": lambda g, b: noise_weighted_loss(g, b["t"], b["variance"], b["w"]),
    "laplace": lambda g, b: laplace_nll(g, b["log_scale"], b["t"], b["w"]),
    "gaussian": lambda g, b: gaussian_nll(g, b["log_scale"], b["t"], b["w"]),
    "feature": lambda g, b: feature_loss([g, g[..., ::2]], [b["t"], b["t"][..., ::2]]),
    "feature_matching": lambda g, b: feature_matching_loss([b["t"]], [g]),
    "starlet": lambda g, b: starlet_loss(g, b["t"], b["w"], n_scales=3),
    "spectrum": lambda g, b: spectrum_loss(g, b["t"]),
    **{
        f"generator {kind}": lambda g, b, kind=kind: generator_adversarial(g, b["t"], kind=kind)
        for kind in ("bce", "least_squares", "relativistic")
    },
    **{
        f"discriminator {kind}": lambda g, b, kind=kind: discriminator_adversarial(
            b["t"], g, kind=kind
        )
        for kind in ("bce", "least_squares", "relativistic", "mse")
    },
    "flux": lambda g, b: flux_loss(g, b["t"], b["e"], b["w"], **BOXES),
    "binned_flux": lambda g, b: binned_flux_loss(g, b["noisy"], b["e"], b["w"], **BOXES),
    "aperture": lambda g, b: aperture_loss(g, b["t"], b["e"], b["w"], radii=(3, 5.5)),
    "aperture of the input": lambda g, b: aperture_loss(
        g, b["noisy"], b["e"], b["w"], radii=(3, 5.5)
    ),
    "response": lambda g, b: response_loss(
        g, torch.zeros_like(g), b["t"], torch.zeros_like(g), 2.0**-16 * b["w"]
    ),
}
every_loss = pytest.mark.parametrize("name", CALLS)


def batch(seed, n=4, n_band=2, ny=24, nx=32):
    """Sources in noise, some pixels without weight."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((n, n_band, ny, nx))
    for plane in truth.reshape(-1, ny, nx):
        rows, columns = rng.integers(0, ny, 4), rng.integers(0, nx, 4)
        plane[rows, columns] = rng.lognormal(7, 1, 4)
    truth = ndimage.gaussian_filter(truth, (0, 0, 1.5, 1.5))
    shape = truth.shape
    coarse = truth.reshape(n, n_band, ny // 2, 2, nx // 2, 2).mean(axis=(3, 5))
    arrays = {
        "g": truth * rng.normal(1, 0.1, (n, 1, 1, 1)) + rng.normal(0, 0.3, shape),
        "t": truth,
        "noisy": coarse + rng.normal(size=coarse.shape),
        "w": (rng.random(shape) < 0.999) * rng.uniform(0.5, 1, (n, 1, 1, 1)),
        "e": rng.uniform(5, 50, (n, n_band)),
        "variance": rng.uniform(0.5, 2, shape) * (rng.random(shape) < 0.99),
        "log_scale": rng.normal(size=shape),
    }
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in arrays.items()}


@every_loss
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_loss_of_a_batch_is_the_mean_over_its_samples(name, seed):
    """Also over its halves, so that two machines with half of it each do the same."""
    whole, call = batch(seed), CALLS[name]
    expected = call(whole["g"], whole)
    for size in (1, 2):
        parts = [
            {key: value[k : k + size] for key, value in whole.items()} for k in range(0, 4, size)
        ]
        found = torch.stack([call(part["g"], part) for part in parts]).mean()
        assert_allclose(found, expected, rtol=2e-5, atol=1e-7)


@every_loss
def test_loss_is_a_differentiable_scalar(name):
    """Gradients are finite and not all 0, and agree with what a small step changes."""
    whole = batch(3)
    start = whole["g"].clone().requires_grad_()
    loss = CALLS[name](start, whole)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    (slope,) = torch.autograd.grad(loss, start)
    assert torch.isfinite(slope).all()
    steepest = slope.square().sum()
    assert steepest > 0
    # Downhill by a hundredth of the loss, if it were straight.
    step = 0.01 * loss.detach().abs() / steepest
    lower = CALLS[name](whole["g"] - step * slope, whole)
    assert_allclose((loss - lower).detach(), 0.01 * loss.detach().abs(), rtol=0.4)


HOSTILE = {
    "zeros": 0.0,
    "flat": 7.0,
    "large": 1e7,
    "negative": -1e7,
    "tiny": 1e-30,
}


@every_loss
@pytest.mark.parametrize("made", HOSTILE)
@pytest.mark.parametrize("target", HOSTILE)
def test_hostile_values_stay_finite(name, made, target):
    whole = batch(0, n=1, n_band=1)
    for key in ("t", "noisy"):
        whole[key] = torch.full_like(whole[key], HOSTILE[target])
    for key in ("e", "variance"):
        whole[key] = torch.full_like(whole[key], abs(HOSTILE[made]))
    whole["log_scale"] = torch.full_like(whole["log_scale"], HOSTILE[made])
    start = torch.full_like(whole["g"], HOSTILE[made], requires_grad=True)
    loss = CALLS[name](start, whole)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(start.grad).all()


@every_loss
def test_what_is_not_a_number_is_not_hidden(name):
    """A run that went wrong must be noticed, wherever the pixel is."""
    whole = batch(1)
    whole["g"][0, 0, 0, 0] = math.nan
    assert torch.isnan(CALLS[name](whole["g"], whole))


@every_loss
def test_half_precision_is_brought_to_float32(name):
    whole = {key: value.bfloat16() for key, value in batch(1).items()}
    full = {key: value.float() for key, value in whole.items()}
    found = CALLS[name](whole["g"], whole)
    assert found.dtype == torch.float32
    assert_allclose(found, CALLS[name](full["g"], full), rtol=1e-5)


@pytest.mark.parametrize("name", ["pixel l1", "noise_weighted", "starlet", "feature", "spectrum"])
def test_loss_of_the_target_is_zero(name):
    whole = batch(2)
    assert CALLS[name](whole["t"], whole) == 0


WEIGHTED = ["pixel l1", "noise_weighted", "laplace", "gaussian", "starlet"]
WEIGHTED += ["flux", "binned_flux", "aperture", "aperture of the input"]


@pytest.mark.parametrize("name", WEIGHTED)
def test_pixels_without_weight_do_not_count(name):
    whole = batch(4)
    bad = whole["w"] == 0
    assert bad.any()
    worse = torch.where(bad, 1e4, whole["g"])
    assert CALLS[name](worse, whole) == CALLS[name](whole["g"], whole)
    whole["w"] = torch.zeros_like(whole["w"])
    assert CALLS[name](whole["g"], whole) == 0


# Pixel by pixel.


def test_pixel_losses_by_hand():
    made, target = image(1.0, 5.0), image(0.0, 2.0)
    ones, half = image(1.0, 1.0), image(1.0, 0.0)
    assert pixel_loss(made, target, ones) == 2.0
    assert pixel_loss(made, target, ones, kind="l2") == 5.0
    # Divided by the pixels, not by the weights.
    assert pixel_loss(made, target, half) == 0.5
    expected = np.mean([math.hypot(1, 2) - 2, math.hypot(3, 2) - 2])
    assert_allclose(pixel_loss(made, target, ones, kind="charbonnier", epsilon=2), expected)


def test_charbonnier_is_the_absolute_difference_without_the_kink():
    start = torch.zeros(1, 1, 1, 3, requires_grad=True)
    target = image(0.0, 1e-6, -50.0)
    pixel_loss(start, target, torch.ones_like(target), kind="charbonnier").backward()
    assert_allclose(3 * start.grad.flatten(), [0, -1e-3, 1], rtol=1e-3)


def test_noise_weighted_loss_is_chi_square():
    rng = np.random.default_rng(0)
    variance = rng.uniform(0.1, 9, (1, 1, 64, 64))
    off = rng.normal(0, np.sqrt(variance))
    target = torch.zeros(1, 1, 64, 64)
    arguments = [torch.from_numpy(v).float() for v in (off, variance)]
    found = noise_weighted_loss(arguments[0], target, arguments[1], torch.ones_like(target))
    assert_allclose(found, np.mean(off**2 / variance), rtol=1e-5)
    assert_allclose(found, 1, atol=0.1)


@pytest.mark.parametrize("unknown", [0.0, -1.0, math.nan, math.inf])
def test_pixels_of_unknown_noise_are_left_out(unknown):
    made, target, ones = image(3.0, 4.0), image(0.0, 0.0), image(1.0, 1.0)
    assert noise_weighted_loss(made, target, image(4.0, unknown), ones, kind="l1") == 0.75


@pytest.mark.parametrize(
    ("loss", "distribution"), [(laplace_nll, stats.laplace), (gaussian_nll, stats.norm)]
)
def test_likelihoods_are_those_of_scipy(loss, distribution):
    whole = {key: value.double().numpy() for key, value in batch(5).items()}
    expected = -distribution.logpdf(whole["t"], whole["g"], np.exp(whole["log_scale"]))
    tensors = batch(5)
    found = loss(tensors["g"], tensors["log_scale"], tensors["t"], tensors["w"])
    assert_allclose(found, np.mean(tensors["w"].numpy() * expected), rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "best"),
    [(laplace_nll, lambda d: d.abs().mean()), (gaussian_nll, lambda d: d.square().mean().sqrt())],
)
def test_likelihood_is_best_at_the_scale_of_the_errors(loss, best):
    off = torch.randn(1, 1, 32, 32)
    target, ones = torch.zeros_like(off), torch.ones_like(off)
    scales = best(off) * torch.tensor([0.9, 1.0, 1.1])
    found = [loss(off, torch.full_like(off, s.log().item()), target, ones) for s in scales]
    assert found[1] < min(found[0], found[2])


def test_shapes_that_would_broadcast_are_refused():
    one, two = torch.zeros(2, 1, 4, 4), torch.zeros(2, 3, 4, 4)
    told = r"generated and target and weight must have one shape; got generated \(2, 1, 4, 4\), "
    with pytest.raises(ValueError, match=told):
        pixel_loss(one, two, two)
    with pytest.raises(ValueError, match=r"generated and log_scale and target and weight must"):
        laplace_nll(two, one, two, two)
    with pytest.raises(ValueError, match="generated and target must have one shape"):
        spectrum_loss(one, two)
    with pytest.raises(ValueError, match="kind must be one of 'l1', 'l2', 'charbonnier'; got 'l3'"):
        pixel_loss(one, one, one, kind="l3")
    with pytest.raises(ValueError, match="epsilon must be above 0; got 0"):
        pixel_loss(one, one, one, kind="charbonnier", epsilon=0)


# Features and scales.


def test_features_count_layer_by_layer():
    """However many channels a layer has."""
    a = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 50, 2, 2)]
    b = [a[0] + 2, a[1] - 4]
    assert feature_loss(a, b) == (4 + 16) / 2
    assert feature_loss(a, b, kind="l1") == (2 + 4) / 2
    assert feature_loss(a[0], b[0]) == 4
    assert feature_matching_loss(a, b) == 3
    with pytest.raises(ValueError, match="as many layers, at least 1; got 2 and 1"):
        feature_loss(a, b[:1])
    with pytest.raises(ValueError, match="as many layers, at least 1; got 0 and 0"):
        feature_loss([], [])
    with pytest.raises(ValueError, match="a and b must have one shape"):
        feature_loss(a[0], b[1])
    with pytest.raises(ValueError, match="kind must be one of 'mse', 'l1'; got 'l2'"):
        feature_loss(a, b, kind="l2")


def test_matching_teaches_the_generator_alone():
    real, fake = (torch.randn(1, 2, 3, 3, requires_grad=True) for _ in range(2))
    feature_matching_loss([real], [fake]).backward()
    assert real.grad is None
    assert (fake.grad != 0).all()


def test_starlet_loss_counts_noise_of_every_scale_alike():
    """White noise has the mean absolute value of a unit normal in each plane."""
    torch.manual_seed(0)
    noise = torch.randn(8, 1, 128, 128)
    found = starlet_loss(noise, torch.zeros_like(noise), torch.ones_like(noise))
    assert_allclose(found, math.sqrt(2 / math.pi), rtol=0.05)


def test_starlet_loss_sees_a_faint_offset_more_than_pixels_do():
    target = torch.zeros(1, 1, 64, 64)
    ones = torch.ones_like(target)
    assert pixel_loss(target + 0.01, target, ones) < 0.011
    assert starlet_loss(target + 0.01, target, ones) > 0.05


def test_spectrum_loss_of_a_gain_is_its_logarithm():
    """Power goes with the square, in every ring that has power."""
    torch.manual_seed(0)
    target = torch.randn(2, 2, 32, 48)
    for gain in (0.5, 3.0):
        expected = 2 * abs(math.log(gain))
        assert_allclose(spectrum_loss(gain * target, target), expected, rtol=1e-3)


def test_spectrum_loss_in_numpy():
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 20, 26))
    images[1] = ndimage.gaussian_filter(images[1], 0.8)
    window = np.outer(np.hanning(22)[1:-1], np.hanning(28)[1:-1])
    frequency = np.hypot(np.fft.fftfreq(20)[:, None], np.fft.fftfreq(26))
    logs = []
    for plane in images:
        power = np.abs(np.fft.fft2((plane - plane.mean()) * window)) ** 2
        rings = [power[np.rint(20 * frequency) == k].mean() for k in range(1, 11)]
        logs.append(np.log(rings))
    found = spectrum_loss(*(torch.from_numpy(plane).float()[None, None] for plane in images))
    assert_allclose(found, np.abs(logs[0] - logs[1]).mean(), rtol=1e-3)


def test_spectrum_loss_counts_from_its_floor_up():
    """As much noise as the floor doubles the power of an empty image."""
    noise = 0.003 * torch.randn(200, 1, 48, 40, generator=torch.Generator().manual_seed(1))
    empty = torch.zeros_like(noise)
    assert spectrum_loss(noise, empty, floor=0.003).item() == pytest.approx(math.log(2), rel=0.02)
    assert spectrum_loss(noise, empty, floor=3.0) < 1e-4
    assert spectrum_loss(noise, empty) > 20
    # Far above it nothing changes.
    assert_allclose(spectrum_loss(2 * noise, noise, floor=1e-6), math.log(4), rtol=1e-3)


def test_spectrum_loss_does_not_see_where_the_light_is():
    torch.manual_seed(0)
    target = torch.zeros(1, 1, 64, 64)
    target[..., 24:40, 24:40] = torch.randn(16, 16)
    turned = target.flip(-1)
    assert spectrum_loss(turned, target) < 0.05
    assert pixel_loss(turned, target, torch.ones_like(target)) > 0.05
    smooth = torch.from_numpy(ndimage.gaussian_filter(target.numpy(), (0, 0, 1, 1)))
    assert spectrum_loss(smooth, target) > 1
    with pytest.raises(ValueError, match=r"at least 4 pixels along each side; got \(3, 9\)"):
        spectrum_loss(torch.zeros(1, 1, 3, 9), torch.zeros(1, 1, 3, 9))


# Adversarial.


def numbers(seed, *shape):
    values = np.random.default_rng(seed).normal(0, 2, shape)
    return values, torch.from_numpy(values).float()


def test_adversarial_losses_in_numpy():
    (r, real), (f, fake) = numbers(0, 3, 1, 4, 4), numbers(1, 3, 1, 4, 4)
    p_real, p_fake = 1 / (1 + np.exp(-r)), 1 / (1 + np.exp(-f))
    p_order = 1 / (1 + np.exp(-(r - f)))
    generator = {
        "bce": -np.log(p_fake).mean(),
        "least_squares": ((f - 1) ** 2).mean(),
        "relativistic": -np.log(1 - p_order).mean(),
    }
    discriminator = {
        "bce": -np.log(p_real).mean() - np.log(1 - p_fake).mean(),
        "least_squares": ((r - 1) ** 2).mean() + (f**2).mean(),
        "relativistic": -np.log(p_order).mean(),
        "mse": ((p_real - 1) ** 2).mean() + (p_fake**2).mean(),
    }
    for kind, expected in generator.items():
        assert_allclose(generator_adversarial(fake, real, kind=kind), expected, rtol=1e-5)
    for kind, expected in discriminator.items():
        assert_allclose(discriminator_adversarial(real, fake, kind=kind), expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ["bce", "least_squares", "mse"])
def test_steps_on_targets_and_on_generated_images_add_up(kind):
    """The seed paper takes one step on each."""
    real, fake = numbers(0, 3, 1, 4, 4)[1], numbers(1, 2, 1, 4, 4)[1]
    both = discriminator_adversarial(real, fake, kind=kind)
    one = discriminator_adversarial(real, None, kind=kind)
    other = discriminator_adversarial(None, fake, kind=kind)
    assert_allclose(one + other, both, rtol=1e-6)


@pytest.mark.parametrize("kind", ["bce", "least_squares", "relativistic"])
def test_generator_and_discriminator_pull_apart(kind):
    real, fake = (torch.zeros(2, 1, 3, 3, requires_grad=True) for _ in range(2))
    generator_adversarial(fake, real.detach(), kind=kind).backward()
    assert (fake.grad < 0).all()
    fake.grad = None
    discriminator_adversarial(real, fake + 0.5, kind=kind).backward()
    assert (fake.grad > 0).all()
    assert (real.grad < 0).all()


def test_certain_logits_do_not_overflow():
    """Where a sigmoid before the logarithm would be 0."""
    certain = torch.full((1, 1, 2, 2), 300.0)
    assert generator_adversarial(-certain) == 300
    assert discriminator_adversarial(-certain, certain) == 600
    assert discriminator_adversarial(certain, -certain) == 0


def test_wrong_adversarial_calls_are_refused():
    logits = torch.zeros(2, 1, 3, 3)
    with pytest.raises(ValueError, match="kind must be one of 'bce', 'least_squares', 'relativ"):
        generator_adversarial(logits, kind="mse")
    with pytest.raises(ValueError, match="'relativistic', 'mse'; got 'wgan'"):
        discriminator_adversarial(logits, logits, kind="wgan")
    for call in (generator_adversarial, discriminator_adversarial):
        with pytest.raises(ValueError, match=r"kind='relativistic' compares .* give both"):
            call(logits, None, kind="relativistic")
    with pytest.raises(ValueError, match=r"one shape; got \(2, 1, 3, 3\) and \(1, 1, 3, 3\)"):
        generator_adversarial(logits[:1], logits, kind="relativistic")
    with pytest.raises(ValueError, match="real_logits or fake_logits must be given"):
        discriminator_adversarial(None, None)


# Flux.


def test_flux_loss_is_zero_for_the_truth_and_grows_with_the_error():
    torch.manual_seed(0)
    truth, electrons = 10 * torch.rand(2, 1, 48, 48), torch.full((2, 1), 20.0)
    weight = torch.ones_like(truth)
    found = [float(flux_loss(truth * f, truth, electrons, weight)) for f in (1.0, 1.02, 1.1)]
    assert found[0] == 0
    assert 0 < found[1] < found[2]


@pytest.mark.parametrize("snr", [0.0, 3.0])
def test_flux_loss_in_numpy(snr):
    """Boxes of 4 in steps of 2, by sums over slices."""
    whole = {key: value.double().numpy() for key, value in batch(6).items()}
    errors = []
    for sample, band, y, x in np.ndindex(4, 2, 11, 15):
        box = np.s_[sample, band, 2 * y : 2 * y + 4, 2 * x : 2 * x + 4]
        made, true = (whole[key][box].sum() / 4 for key in "gt")
        variance = 4 * 1.082**2 + true / whole["e"][sample, band] + (0.002 * true) ** 2
        part = min(1, true / np.sqrt(variance) / snr) ** 2 if snr else 1
        error = smooth_l1((made - true) / np.sqrt(variance))
        errors.append(part * whole["w"][box].min() * error)
    tensors = batch(6)
    found = flux_loss(*(tensors[key] for key in "gtew"), sizes=[4], snr=snr)
    # Sums here are 4 times the mean flux per input pixel of 16 output pixels.
    assert_allclose(found, np.mean(errors), rtol=1e-4)


def test_flux_loss_does_not_see_where_within_a_box_the_light_is():
    truth = torch.zeros(1, 1, 12, 12)
    moved = truth.clone()
    truth[..., 5, 5], moved[..., 6, 6] = 100.0, 100.0
    electrons, weight = torch.ones(1, 1), torch.ones_like(truth)
    assert flux_loss(moved, truth, electrons, weight, sizes=(12,)) == 0
    assert flux_loss(moved, truth, electrons, weight, sizes=(2,)) > 0


def test_flux_loss_leaves_out_boxes_with_bad_pixels():
    truth, electrons = torch.ones(1, 1, 24, 24), torch.ones(1, 1)
    weight, made = torch.ones_like(truth), torch.ones(1, 1, 24, 24)
    weight[..., 3, 3], made[..., 3, 3] = 0, 1e4
    assert flux_loss(made, truth, electrons, weight, sizes=(6,)) == 0


def scene(fluxes, positions, sigma, shape=(96, 96)):
    """Gaussian stars of known flux (sky noises of an input pixel), per input pixel."""
    y, x = np.indices(shape)
    total = np.zeros(shape)
    for flux, (py, px) in zip(fluxes, positions, strict=True):
        total += flux * np.exp(-((y - py) ** 2 + (x - px) ** 2) / (2 * sigma**2))
    # Four output pixels make one input pixel, and carry 4 times their flux.
    return torch.from_numpy(4 * total / (2 * np.pi * sigma**2)).float()[None, None]


def on_input_grid(fine):
    return fine.reshape(1, 1, 48, 2, 48, 2).mean(dim=(3, 5))


STARS = ([3000.0, 800.0, 1500.0], [(30, 30), (60.5, 62), (24, 70)])


def test_binned_flux_needs_no_truth():
    """The same light, sharper, is right within the noise; 5 % less is not, nor is a pedestal."""
    sharp, wide = scene(*STARS, 1.6), scene(*STARS, 3.0)
    electrons, weight = torch.full((1, 1), 100.0), torch.ones_like(sharp)
    call = {"electrons": electrons, "weight": weight, "sizes": (48,)}
    right = binned_flux_loss(sharp, on_input_grid(wide), **call)
    faint = binned_flux_loss(0.95 * sharp, on_input_grid(wide), **call)
    offset = binned_flux_loss(sharp + 0.5, on_input_grid(wide), **call)
    assert right < 0.2
    assert faint > 4 * right
    assert offset > 4 * right


def test_binned_flux_in_numpy():
    """Boxes of 6 input pixels in steps of 3, and the light near their borders."""
    fine = batch(7, n=1, n_band=1)
    made, noisy = (fine[key].double().numpy()[0, 0] for key in ("g", "noisy"))
    made = made.reshape(12, 2, 16, 2).mean(axis=(1, 3))
    edged = np.pad(noisy, 2)
    errors = []
    for y in range(0, 7, 3):
        for x in range(0, 11, 3):
            box = np.s_[y : y + 6, x : x + 6]
            outer = edged[y : y + 10, x : x + 10].sum()
            border = max(0, outer - noisy[y + 2 : y + 4, x + 2 : x + 4].sum())
            given, photons = noisy[box].sum(), np.maximum(noisy[box], 0).sum()
            variance = 36 * 1.106**2 + photons / fine["e"].item() + (0.002 * given) ** 2
            variance += (0.2 * border) ** 2
            errors.append(smooth_l1((made[box].sum() - given) / np.sqrt(variance)))
    ones = torch.ones_like(fine["t"])
    found = binned_flux_loss(fine["g"], fine["noisy"], fine["e"], ones, sizes=[12])
    assert_allclose(found, np.mean(errors), rtol=1e-4)


def test_errors_are_in_units_of_the_noise():
    """Fresh noise around the right flux scores as a unit normal does, at any box size."""
    torch.manual_seed(0)
    normal = smooth_l1(np.random.default_rng(0).normal(size=100_000)).mean()
    made = torch.zeros(16, 1, 96, 96)
    for size in (4, 16):
        noisy = (1.07 + 0.006 * size / 2) * torch.randn(16, 1, 48, 48)
        found = binned_flux_loss(
            made, noisy, torch.full((16, 1), 1e9), torch.ones_like(made), sizes=(size,)
        )
        # The light at the borders, here noise, gives some leeway.
        assert 0.8 * normal < found < 1.05 * normal


@pytest.mark.parametrize("radius", [4.0, 9.0])
def test_aperture_sums_are_those_of_photutils(radius):
    """A generated image of nothing: what is lost is what photutils measures."""
    truth = scene(*STARS, 1.6)
    plane = truth[0, 0].double().numpy()
    # The second star lies between two rows: the first of them has its peak.
    positions = [(30, 30), (62, 60), (70, 24)]
    sums = [CircularAperture(p, radius).do_photometry(plane)[0][0] / 4 for p in positions]
    sums = np.array(sums)
    area = np.pi * radius**2 / 4
    variance = area * (1.07 + 0.006 * np.sqrt(area)) ** 2 + sums / 20 + (0.002 * sums) ** 2
    expected = smooth_l1(sums / np.sqrt(variance)).sum() / 16
    found = aperture_loss(
        torch.zeros_like(truth),
        truth,
        torch.full((1, 1), 20.0),
        torch.ones_like(truth),
        radii=[radius],
    )
    assert_allclose(found, expected, rtol=0.02)


def test_aperture_loss_counts_sources_alone():
    """Errors away from them are not seen, nor are peaks of noise."""
    truth = scene(*STARS, 1.6)
    electrons, weight = torch.full((1, 1), 1e3), torch.ones_like(truth)
    away = truth.clone()
    away[..., 80:, :] += 100
    assert aperture_loss(truth, truth, electrons, weight) == 0
    assert aperture_loss(away, truth, electrons, weight) == 0
    assert aperture_loss(0.97 * truth, truth, electrons, weight) > 0
    torch.manual_seed(0)
    noise = torch.randn_like(truth)
    assert aperture_loss(truth, noise, electrons, weight) == 0
    weight[..., 30, 30] = 0
    lost = truth.clone()
    lost[..., 20:40, 20:40] = 0
    assert aperture_loss(lost, truth, electrons, weight) == 0


def test_aperture_loss_against_the_input():
    """Wide apertures agree whatever the PSF; 10 % of the flux is missed."""
    sharp, wide = scene(*STARS, 1.6), scene(*STARS, 2.5)
    electrons, weight = torch.full((1, 1), 1e3), torch.ones_like(sharp)
    call = {"electrons": electrons, "weight": weight, "radii": (16.0,)}
    right = aperture_loss(sharp, on_input_grid(wide), **call)
    faint = aperture_loss(0.9 * sharp, on_input_grid(wide), **call)
    assert faint > 0.05
    assert right < 0.05 * faint


@pytest.mark.parametrize("sizes", [(25,), (4, 26)])
@pytest.mark.parametrize(("loss", "other"), [(flux_loss, "t"), (binned_flux_loss, "noisy")])
def test_boxes_that_do_not_fit_are_refused(loss, other, sizes):
    whole = batch(0, n=1)
    told = rf"sizes must be .*at most the side of the image, 24 output pixels; got {sizes[-1]}"
    with pytest.raises(ValueError, match=told):
        loss(whole["g"], whole[other], whole["e"], whole["w"], sizes=sizes)


def test_boxes_that_divide_pixels_are_refused():
    whole = batch(0, n=1)
    with pytest.raises(ValueError, match=r"sizes must be even and at most .*; got 7"):
        binned_flux_loss(whole["g"], whole["noisy"], whole["e"], whole["w"], sizes=(7,))
    with pytest.raises(ValueError, match="sizes must be at least 4; got 2"):
        binned_flux_loss(whole["g"], whole["noisy"], whole["e"], whole["w"], sizes=(2,))
    with pytest.raises(ValueError, match="sizes must be at least 2; got 1"):
        flux_loss(whole["g"], whole["t"], whole["e"], whole["w"], sizes=(1,))


def test_flux_of_images_that_do_not_fit_is_refused():
    whole = batch(0, n=1)
    told = r"twice the pixels of the input .*got \(1, 2, 24, 32\) for an input of \(1, 2, 12, 15\)"
    for loss in (binned_flux_loss, aperture_loss):
        with pytest.raises(ValueError, match=told):
            loss(whole["g"], whole["noisy"][..., 1:], whole["e"], whole["w"])
    with pytest.raises(ValueError, match="radii must be above 0; got 0"):
        aperture_loss(whole["g"], whole["t"], whole["e"], whole["w"], radii=[0])
    with pytest.raises(ValueError, match="radii must hold at least one radius"):
        aperture_loss(whole["g"], whole["t"], whole["e"], whole["w"], radii=[])
    with pytest.raises(ValueError, match="sizes must hold at least one size"):
        flux_loss(whole["g"], whole["t"], whole["e"], whole["w"], sizes=[])


# The stretch, and the total.


def test_stretch_is_that_of_the_enhancer():
    x = np.linspace(-5, 1e5, 1001, dtype=np.float32)
    ours = stretch(torch.from_numpy(x), 3.0, 2.0)
    theirs = NoiseAsinhStretch(0.0, 1.0, softening=3.0, range=2.0)
    assert_allclose(ours, theirs(x), rtol=1e-5, atol=1e-6)
    assert_allclose(unstretch(ours, 3.0, 2.0), x, rtol=1e-4, atol=1e-4)
    assert torch.isfinite(unstretch(torch.tensor([1e6, -1e6]), 3.0, 2.0)).all()


def test_total_is_the_weighted_sum():
    terms = {"pixel": torch.tensor(2.0), "flux": torch.tensor(10.0), "nll": torch.tensor(math.nan)}
    found = total_loss(terms, {"pixel": 0.5, "flux": 0.03, "nll": 0.0, "spectrum": 0})
    assert_allclose(found, 1.3)


def test_total_refuses_names_and_weights_that_do_not_fit():
    terms = {"pixel": torch.tensor(2.0)}
    with pytest.raises(ValueError, match=r"terms has 'pixel', for which there is no weight; did"):
        total_loss(terms, {"pixels": 1.0})
    with pytest.raises(ValueError, match=r"weights has 'flux', for which there is no term \(there"):
        total_loss(terms, {"pixel": 1.0, "flux": 1.0})
    with pytest.raises(ValueError, match=r"weights\['pixel'\] must be at least 0; got -1"):
        total_loss(terms, {"pixel": -1.0})
    with pytest.raises(ValueError, match=r"weights\['pixel'\] must be finite; got nan"):
        total_loss(terms, {"pixel": math.nan})
    with pytest.raises(ValueError, match="weights must hold one above 0"):
        total_loss(terms, {"pixel": 0.0})


def test_every_public_loss_is_tried_here():
    """What is added to the module is added to the table above."""
    names = set(losses.__all__) - {"stretch", "unstretch", "total_loss"}
    used = {name for call in CALLS.values() for name in call.__code__.co_names}
    assert names == used & names
