# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Losses that compare features, wavelet scales, and power spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from splus_srgan.models.features import starlet, starlet_noise
from splus_srgan.training.losses.pixel import check_shapes, difference
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

__all__ = ["feature_loss", "feature_matching_loss", "spectrum_loss", "starlet_loss"]

# Of the target's mean power. Noise-free targets fall to 1e-9 of it: ripples that faint are
# beyond any eye and any photometry.
_POWER_FLOOR = 1e-6


def feature_loss(
    a: torch.Tensor | Sequence[torch.Tensor],
    b: torch.Tensor | Sequence[torch.Tensor],
    *,
    kind: Literal["mse", "l1"] = "mse",
) -> torch.Tensor:
    """
    Difference of the features of two images.

    Parameters
    ----------
    a, b : `~torch.Tensor` or sequence of `~torch.Tensor`, shape (n, n_channel, my, mx)
        Features, such as those of `~splus_srgan.models.features.VGGFeatures`, of one layer or
        of several; each layer counts alike.
    kind : {"mse", "l1"}, optional
        Mean squared or mean absolute difference.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over the layers of the means.

    Raises
    ------
    ValueError
        If the kind is unknown, or the features of both differ in number or shape.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import feature_loss
    >>> one, two = torch.zeros(1, 4, 2, 2), torch.full((1, 4, 2, 2), 3.0)
    >>> feature_loss(one, two).item(), feature_loss([one, one], [two, one], kind="l1").item()
    (9.0, 1.5)
    """
    check_one_of("kind", kind, ("mse", "l1"))
    a, b = ([part] if isinstance(part, torch.Tensor) else list(part) for part in (a, b))
    if len(a) != len(b) or not a:
        raise ValueError(f"a and b must have as many layers, at least 1; got {len(a)} and {len(b)}")
    off = []
    for one, other in zip(a, b, strict=True):
        check_shapes(a=one, b=other)
        off.append(difference(one, other))
    return sum((d.square() if kind == "mse" else d.abs()).mean() for d in off) / len(off)


def feature_matching_loss(
    real_activations: Sequence[torch.Tensor], fake_activations: Sequence[torch.Tensor]
) -> torch.Tensor:
    """
    Difference of the discriminator's activations for targets and for generated images.

    The mean absolute difference (Wang et al. 2018), with equal weight for each layer: a perceptual
    loss that needs no external weights.

    Parameters
    ----------
    real_activations, fake_activations : sequence of `~torch.Tensor`
        ``discriminator.activations`` for the targets and for the generated images of the same
        samples.  The first are constants: no gradient flows into them.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar.

    Raises
    ------
    ValueError
        If both differ in number or shape.
    """
    return feature_loss([real.detach() for real in real_activations], fake_activations, kind="l1")


def starlet_loss(
    generated: torch.Tensor, target: torch.Tensor, weight: torch.Tensor, *, n_scales: int = 4
) -> torch.Tensor:
    r"""
    Difference of two images scale by scale, each in units of white noise on that scale.

    .. math:: L = \frac{1}{J + 1} \sum_{j=0}^{J}
        \frac{\langle |\mathcal{W}_j (w (g - t))| \rangle}{s_j}

    with the planes :math:`\mathcal{W}_j` of `~splus_srgan.models.features.starlet` and the
    standard deviation :math:`s_j` of white noise of unit variance in each.  The coarse planes see
    faint errors of the sky and of extended light that vanish in the noise of single pixels.

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images in the same space, usually stretched.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Weight :math:`w` of the difference of each pixel, at least 0.
    n_scales : int, optional
        Wavelet scales :math:`J`; the coarsest reaches :math:`2^{J+1}` pixels at most.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over all pixels.

    Raises
    ------
    ValueError
        If shapes differ, or the image is too small for so many scales.
    """
    check_shapes(generated=generated, target=target, weight=weight)
    planes = starlet(weight.float() * difference(generated, target), n_scales=n_scales)
    sizes = planes.abs().flatten(1).mean(dim=1)
    return (sizes / torch.tensor(starlet_noise(n_scales), device=sizes.device)).mean()


def spectrum_loss(
    generated: torch.Tensor, target: torch.Tensor, *, floor: float = 0.0
) -> torch.Tensor:
    r"""
    Difference of the power spectra of two images.

    .. math:: L = \langle |\ln P_g(k) - \ln P_t(k)| \rangle

    where :math:`P(k)` is the power in rings of one frequency step around zero frequency, up to
    the Nyquist frequency, of the image less its mean times a Hann window.  Zero frequency is
    left out.

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images in the same space, usually stretched; at least 4 pixels along each side.
    floor : float, optional
        Standard deviation of the white noise whose power is added to both, at least 0.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over samples, bands and rings; 1 is a factor of e in power.

    Raises
    ------
    ValueError
        If shapes differ, or images are too small.

    Notes
    -----
    A millionth of the mean of the target's power is added to both: noise-free targets have
    hardly any power at high frequencies.  For an empty target this is nothing, and the loss is
    larger than anywhere else: give a ``floor`` below which power does not matter.
    """
    check_shapes(generated=generated, target=target)
    ny, nx = target.shape[-2:]
    if min(ny, nx) < 4:
        raise ValueError(f"images must have at least 4 pixels along each side; got {(ny, nx)}")
    # A common scale for both cancels in the difference of the logarithms.
    largest = torch.maximum(generated.detach().abs(), target.detach().abs()).float()
    scale = largest.amax(dim=(-2, -1), keepdim=True).clamp(min=1e-6)
    rings, window = _rings(ny, nx, target.device), _window(ny, nx, target.device)
    powers = [_ring_power(image.float() / scale, window, rings) for image in (generated, target)]
    added = _POWER_FLOOR * powers[1].mean(dim=-1, keepdim=True) + 1e-20
    added = added + window.square().mean() * (floor / scale[..., 0]).square()
    logs = [torch.log(power + added) for power in powers]
    return (logs[0] - logs[1]).abs().mean()


def _rings(ny, nx, device):
    """Matrix (ring, pixel) that takes the mean of a full transform in each ring."""
    fy, fx = torch.fft.fftfreq(ny, device=device), torch.fft.fftfreq(nx, device=device)
    radius = torch.hypot(fy[:, None], fx).flatten() * min(ny, nx)
    number = torch.arange(1, min(ny, nx) // 2 + 1, device=device)
    inside = (radius.round() == number[:, None]).float()
    return inside / inside.sum(dim=1, keepdim=True)


def _window(ny, nx, device):
    options = {"periodic": False, "device": device}
    return torch.outer(*(torch.hann_window(n + 2, **options)[1:-1] for n in (ny, nx)))


def _ring_power(image, window, rings):
    flat = image - image.mean(dim=(-2, -1), keepdim=True)
    found = torch.fft.fft2(flat * window, norm="ortho")
    power = found.real.square() + found.imag.square()
    return power.flatten(-2) @ rings.T
