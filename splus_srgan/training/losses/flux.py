# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Losses of the flux, in linear images.

All compare sums over some area in units of the error :math:`\epsilon` that the noise of the
input allows; improving beyond it gains little.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.training.losses.pixel import check_shapes
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["binned_flux_loss", "flux_loss"]

# Sums need not be better than this part of the flux.
_RELATIVE_FLOOR = 0.002
# A blur moves light over the border of a box: at worst this part of what lies within so many
# input pixels of it (a star seen at 2.4" and at 1.0" on either side).
LEAK, LEAK_PIXELS = 0.2, 2


def flux_loss(
    generated: torch.Tensor,
    truth: torch.Tensor,
    electrons: torch.Tensor,
    weight: torch.Tensor,
    *,
    sizes: Sequence[int] = (6, 12, 24),
    snr: float = 0.0,
) -> torch.Tensor:
    r"""
    Errors of the flux in boxes, in units of the error that the noise of the input allows.

    For boxes of :math:`k \times k` output pixels, half of them overlapping,

    .. math:: \epsilon^2 = n(k^2 / 4)^2 + \frac{S_+}{e} + (f S)^2

    where :math:`S` is the true flux in sky noises of an input pixel, :math:`S_+` its
    positive part, :math:`e` the electrons per such unit, :math:`n` the noise of an area in
    coadds (`~splus_srgan.pixels.coadd_noise.area_noise`) and :math:`f = 0.002` a floor.
    The loss is the smooth L1 of :math:`(\hat{S} - S) / \epsilon`.  With ``snr`` it is multiplied by
    :math:`\min(1, S_+ / (\epsilon\, {\rm snr}))^2`: what is faint is best shrunk, so that its
    flux costs PSNR.

    Parameters
    ----------
    generated, truth : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Linear images in sky noises *per input pixel*; four output pixels make one.
    electrons : `~torch.Tensor`, shape (n, n_band)
        Electrons per sky noise.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Boxes with any pixel of weight 0 are left out.
    sizes : sequence of int, optional
        Sides of the boxes in output pixels, at least 2 and at most the image's.
    snr : float, optional
        Signal to noise from which on a box counts fully, at least 0.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over all boxes and over the sizes.

    Raises
    ------
    ValueError
        If shapes differ or a size does not fit.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import flux_loss
    >>> truth, electrons = torch.ones(1, 1, 8, 8), torch.ones(1, 1)
    >>> flux_loss(truth, truth, electrons, torch.ones_like(truth), sizes=[4]).item()
    0.0
    """
    check_shapes(generated=generated, truth=truth, weight=weight)
    generated, truth, weight = generated.float(), truth.float(), weight.float()
    total = generated.new_zeros(())
    for size in _checked("sizes", sizes, truth, step=1):
        area = size**2 / 4
        made, true, positive = (
            functional.avg_pool2d(image, size, size // 2) * area
            for image in (generated, truth, truth.clamp(min=0))
        )
        whole = -functional.max_pool2d(-weight, size, size // 2)
        variance = noise_variance(area, positive, electrons[..., None, None]) + floor_variance(true)
        if snr:
            whole = whole * (positive / variance.sqrt() / snr).clamp(max=1).square()
        total = total + mean_error(made, true, variance, whole)
    return total / len(sizes)


def binned_flux_loss(
    generated: torch.Tensor,
    noisy: torch.Tensor,
    electrons: torch.Tensor,
    weight: torch.Tensor,
    *,
    sizes: Sequence[int] = (24, 48),
) -> torch.Tensor:
    r"""
    Errors of the flux in boxes against the *input*, without a truth.

    The sums of the output in boxes must be those of the input, within its noise and within the
    light that its wider PSF carries over the borders of a box:

    .. math:: \epsilon^2 = n(A)^2 + \frac{S_+}{e} + (f S)^2 + (0.2\,B)^2

    for boxes of :math:`A` input pixels with the sum :math:`S`; :math:`B` is the light of the
    input within two input pixels of the border, and the rest is as in `flux_loss`.

    Parameters
    ----------
    generated : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
        Linear image in sky noises *per input pixel*; four output pixels make one.
    noisy : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Linear input in sky noises, its sky subtracted.
    electrons : `~torch.Tensor`, shape (n, n_band)
        Electrons per sky noise.
    weight : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
        Boxes with any pixel of weight 0 are left out.
    sizes : sequence of int, optional
        Sides of the boxes in output pixels: even, at least 4 and at most the image's.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the smooth L1 of the errors, in the mean over all boxes and over the sizes.

    Raises
    ------
    ValueError
        If shapes do not fit each other or a size does not fit.

    Notes
    -----
    Boxes of a few FWHM are all border, and only show that the light of a star is there; those of
    the default detect errors of 2 % in sources near their middle.
    """
    made, noisy, weight = on_input_grid(generated, noisy, weight)
    total = generated.new_zeros(())
    for size in _checked("sizes", sizes, generated, step=2):
        side = size // 2
        found, given, positive = (
            _box_sums(image, side) for image in (made, noisy, noisy.clamp(min=0))
        )
        whole = -functional.max_pool2d(-weight, side, side // 2)
        variance = noise_variance(side**2, positive, electrons[..., None, None])
        variance = variance + floor_variance(given) + (LEAK * _border_light(noisy, side)) ** 2
        total = total + mean_error(found, given, variance, whole)
    return total / len(sizes)


def noise_variance(area, positive, electrons):
    """Variance of a sum over so many input pixels: of the sky, and of the photons."""
    return area_noise(area) ** 2 + positive / electrons.float().clamp(min=1e-6)


def floor_variance(total):
    """Variance that even the brightest sum may have."""
    return (_RELATIVE_FLOOR * total) ** 2


def mean_error(made, true, variance, whole):
    """Smooth L1 of errors in units of their size; the mean over all, including those left out."""
    error = (made - true) / variance.sqrt()
    zero = torch.zeros_like(error)
    return (whole * functional.smooth_l1_loss(error, zero, reduction="none")).mean()


def _checked(name, sizes, image, *, step):
    """Sizes of boxes that fit the image: multiples of the step, at least two of them."""
    largest = min(image.shape[-2:])
    for size in sizes:
        check_integer(name, size, minimum=2 * step)
        if size > largest or size % step:
            even = "even and " if step == 2 else ""
            raise ValueError(
                f"{name} must be {even}at most the side of the image, {largest} output pixels; "
                f"got {size}"
            )
    if not len(sizes):
        raise ValueError(f"{name} must hold at least one size; got none")
    return sizes


def on_input_grid(generated, noisy, weight):
    """Generated image and weight as the input sees them: four output pixels in each."""
    check_shapes(generated=generated, weight=weight)
    if tuple(generated.shape) != (*noisy.shape[:2], 2 * noisy.shape[2], 2 * noisy.shape[3]):
        raise ValueError(
            "the generated image must have twice the pixels of the input along each side; got "
            f"{tuple(generated.shape)} for an input of {tuple(noisy.shape)}"
        )
    made = functional.avg_pool2d(generated.float(), 2)
    return made, noisy.float(), -functional.max_pool2d(-weight.float(), 2)


def _box_sums(image, side):
    return functional.avg_pool2d(image, side, side // 2) * side**2


def _border_light(image, side):
    """Light on both sides of the border of each box, 0 where noise makes it negative."""
    near, stride = LEAK_PIXELS, side // 2
    outer = functional.avg_pool2d(functional.pad(image, [near] * 4), side + 2 * near, stride)
    light = outer * (side + 2 * near) ** 2
    if side > 2 * near:
        inner = image[..., near:-near, near:-near]
        inner = functional.avg_pool2d(inner, side - 2 * near, stride) * (side - 2 * near) ** 2
        light = light - inner
    return light.clamp(min=0)
