# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Losses of the generator, as pure functions of images in units of the sky noise."""

import torch
from torch.nn import functional

__all__ = ["flux_loss", "pixel_loss"]

# A sum over pixels of correlated noise varies more than over white noise: S-PLUS coadds have
# about 1.3 times the variance in boxes of a few pixels.
_NOISE_CORRELATION = 1.3
# Sums are asked for no better than this part of the flux.
_RELATIVE_FLOOR = 0.002


def pixel_loss(generated, truth, weight, *, power=1):
    """
    Weighted mean absolute or squared difference of two stretched images.

    Parameters
    ----------
    generated, truth, weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Stretched images, and the weight of each pixel (at least 0).
    power : {1, 2}, optional
        1 asks for the median of what the truth may be, 2 for its mean.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar.
    """
    return (weight * (generated - truth).abs() ** power).sum() / weight.sum().clamp(min=1)


def flux_loss(generated, truth, electrons, weight, *, sizes=(6, 12, 24)):
    r"""
    Errors of the flux in boxes, in units of what the noise of the input allows.

    For boxes of :math:`k \times k` output pixels, half of them overlapping,

    .. math:: \epsilon^2 = c \frac{k^2}{4} + \frac{S_+}{e} + (f S)^2

    where :math:`S` is the true flux in sky noises of an input pixel, :math:`S_+` its
    positive part, :math:`e` the electrons per such unit, :math:`c = 1.3` the effect of
    the correlation and :math:`f = 0.002` a floor.  The loss is the smooth L1 of
    :math:`(\hat{S} - S) / \epsilon`.

    Parameters
    ----------
    generated, truth : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Linear images in sky noises *per input pixel*; four output pixels make one.
    electrons : `~torch.Tensor`, shape (n, n_band)
        Electrons per sky noise.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Boxes with any pixel of weight 0 are left out.
    sizes : sequence of int, optional
        Sides of the boxes in output pixels.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over the sizes.
    """
    total = 0.0
    for size in sizes:
        area = size**2 / 4
        made, true, positive = (
            functional.avg_pool2d(image, size, size // 2) * area
            for image in (generated, truth, truth.clamp(min=0))
        )
        whole = -functional.max_pool2d(-weight, size, size // 2)
        variance = (
            _NOISE_CORRELATION * area
            + positive / electrons[..., None, None]
            + (_RELATIVE_FLOOR * true) ** 2
        )
        error = functional.smooth_l1_loss(
            made / variance.sqrt(), true / variance.sqrt(), reduction="none"
        )
        total = total + (whole * error).sum() / whole.sum().clamp(min=1)
    return total / len(sizes)


def stretch(x, softening, output_range):
    """The arcsinh stretch of `splus_srgan.NoiseAsinhStretch` for tensors in sky noises."""
    return torch.asinh(x / softening) / output_range


def unstretch(y, softening, output_range):
    """Inverse of `stretch`; beyond any survey's range it stops growing, so no overflow."""
    return softening * torch.sinh((output_range * y).clamp(-14, 14))
