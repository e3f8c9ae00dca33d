# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Losses that compare pixel by pixel, and the likelihoods of a predicted scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from splus_srgan.utils.validate import check_one_of, check_positive

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["gaussian_nll", "laplace_nll", "noise_weighted_loss", "pixel_loss"]

KINDS = ("l1", "l2", "charbonnier")
# Of the logarithm of a scale: exp(-2 * 15) and its square still fit into float32.
_LOG_LIMIT = 15.0
_LEAST_VARIANCE = 1e-12


def pixel_loss(
    generated: torch.Tensor,
    target: torch.Tensor,
    weight: torch.Tensor,
    *,
    kind: Literal["l1", "l2", "charbonnier"] = "l1",
    epsilon: float = 1e-3,
) -> torch.Tensor:
    r"""
    Weighted difference of two images.

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images in the same space, usually stretched.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Weight of each pixel, at least 0.
    kind : {"l1", "l2", "charbonnier"}, optional
        Penalty of a difference :math:`d`: :math:`|d|`, whose minimum is the median of the
        possible targets; :math:`d^2`, whose minimum is their mean; or
        :math:`\sqrt{d^2 + \epsilon^2} - \epsilon` (Charbonnier et al. 1994), which is
        :math:`|d|` without the kink.
    epsilon : float, optional
        Difference at which the Charbonnier loss turns from quadratic to linear, in the unit of the
        images.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean of weight times penalty over all pixels, including those of weight 0.

    Raises
    ------
    ValueError
        If the kind is unknown, epsilon is not above 0, or shapes differ.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import pixel_loss
    >>> target = torch.zeros(1, 1, 2, 2)
    >>> float(pixel_loss(target + 3, target, torch.ones_like(target), kind="l2"))
    9.0
    """
    check_shapes(generated=generated, target=target, weight=weight)
    return (weight.float() * penalty(difference(generated, target), kind, epsilon)).mean()


def noise_weighted_loss(
    generated: torch.Tensor,
    target: torch.Tensor,
    variance: torch.Tensor,
    weight: torch.Tensor,
    *,
    kind: Literal["l1", "l2", "charbonnier"] = "l2",
    epsilon: float = 1e-3,
) -> torch.Tensor:
    r"""
    Difference of two images in units of the noise of each pixel.

    With :math:`d / \sqrt{V}` in place of :math:`d` this is `pixel_loss`; with ``"l2"``,
    half of it is the negative log-likelihood of Gaussian noise.

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images in the same space.
    variance : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Variance :math:`V` of the difference, in the unit of the images squared; at least 1e-12
        is taken.  Pixels where it is not finite and above 0 are left out.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Weight of each pixel, at least 0.
    kind, epsilon
        As for `pixel_loss`; epsilon in standard deviations.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over all pixels.

    Raises
    ------
    ValueError
        If the kind is unknown, epsilon is not above 0, or shapes differ.
    """
    check_shapes(generated=generated, target=target, variance=variance, weight=weight)
    variance = variance.float()
    known = torch.isfinite(variance) & (variance > 0)
    sigma = torch.where(known, variance, 1.0).clamp(min=_LEAST_VARIANCE).sqrt()
    found = penalty(difference(generated, target) / sigma, kind, epsilon)
    return (torch.where(known, weight.float(), 0.0) * found).mean()


def laplace_nll(
    generated: torch.Tensor, log_scale: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    r"""
    Negative log-likelihood of a Laplace distribution around the generated image.

    .. math:: -\ln p = \frac{|t - g|}{b} + \ln b + \ln 2

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Stretched images :math:`g` and :math:`t`.
    log_scale : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Natural logarithm of the scale :math:`b`, in the unit of the images; the standard
        deviation is :math:`\sqrt{2} b`.  Limited to -15 to 15.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Weight of each pixel, at least 0.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over all pixels; it may be negative.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    check_shapes(generated=generated, log_scale=log_scale, target=target, weight=weight)
    log_scale = log_scale.float().clamp(-_LOG_LIMIT, _LOG_LIMIT)
    off = difference(generated, target).abs() * torch.exp(-log_scale)
    return (weight.float() * (off + log_scale + math.log(2))).mean()


def gaussian_nll(
    generated: torch.Tensor, log_scale: torch.Tensor, target: torch.Tensor, weight: torch.Tensor
) -> torch.Tensor:
    r"""
    Negative log-likelihood of a normal distribution around the generated image.

    .. math:: -\ln p = \frac{(t - g)^2}{2 \sigma^2} + \ln \sigma + \frac{1}{2} \ln 2 \pi

    Parameters
    ----------
    generated, target : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Stretched images :math:`g` and :math:`t`.
    log_scale : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Natural logarithm of the standard deviation :math:`\sigma`, in the unit of the
        images.  Limited to -15 to 15.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Weight of each pixel, at least 0.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over all pixels; it may be negative.

    Raises
    ------
    ValueError
        If shapes differ.
    """
    check_shapes(generated=generated, log_scale=log_scale, target=target, weight=weight)
    log_scale = log_scale.float().clamp(-_LOG_LIMIT, _LOG_LIMIT)
    off = 0.5 * (difference(generated, target) * torch.exp(-log_scale)) ** 2
    return (weight.float() * (off + log_scale + 0.5 * math.log(2 * math.pi))).mean()


def difference(generated, target):
    """Generated less target, in float32."""
    return generated.float() - target.float()


def penalty(difference, kind, epsilon):
    """Penalty of a difference, element by element."""
    check_one_of("kind", kind, KINDS)
    if kind == "l1":
        return difference.abs()
    if kind == "l2":
        return difference.square()
    epsilon = check_positive("epsilon", epsilon)
    return torch.hypot(difference, torch.full_like(difference, epsilon)) - epsilon


def check_shapes(**tensors):
    """Refuse tensors of different shapes: broadcasting would hide a mistake."""
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"{' and '.join(shapes)} must have one shape; got {listed}")
