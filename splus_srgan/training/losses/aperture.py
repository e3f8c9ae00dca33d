# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Loss of the flux of sources in circular apertures, in linear images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from splus_srgan.training.losses.flux import (
    LEAK,
    LEAK_PIXELS,
    floor_variance,
    mean_error,
    noise_variance,
    on_input_grid,
)
from splus_srgan.training.losses.pixel import check_shapes
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["aperture_loss"]

# Apertures: the brightest peaks of a band, not nearer to each other than this (output pixels).
_N_APERTURES, _SEPARATION = 16, 8
_SIGNIFICANT = 10.0  # least S/N of an aperture to compare


def aperture_loss(
    generated: torch.Tensor,
    reference: torch.Tensor,
    electrons: torch.Tensor,
    weight: torch.Tensor,
    *,
    radii: Sequence[float] = (8.0, 16.0),
) -> torch.Tensor:
    r"""
    Errors of the flux of sources in circular apertures.

    Up to 16 peaks of each band of the reference, the brightest and at least 9 output pixels
    apart, are measured in both images.  Those whose sum :math:`S` is above
    :math:`10 \epsilon_0` count, with

    .. math:: \epsilon^2 = \epsilon_0^2 + (f S)^2, \qquad
        \epsilon_0^2 = c \frac{\pi r^2}{4} + \frac{S_+}{e}

    as in `flux_loss`; the loss is the smooth L1 of :math:`(\hat{S} - S) / \epsilon`.  Against
    the input, :math:`(0.2\,B)^2` is added as in `binned_flux_loss`, with the light :math:`B` within
    two input pixels of the aperture's border.

    Parameters
    ----------
    generated : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Linear image in sky noises *per input pixel*; four output pixels make one.
    reference : `~torch.Tensor`, shape (n, n_band, ny, nx) or (n, n_band, ny / 2, nx / 2)
        The linear truth in the same units; or the linear input, on whose grid both are then
        compared.  It has a wider PSF: radii below twice its FWHM constrain little.
    electrons : `~torch.Tensor`, shape (n, n_band)
        Electrons per sky noise.
    weight : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Apertures with any pixel of weight 0 are left out.
    radii : sequence of float, optional
        Radii in output pixels, above 0.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar: of each band of each sample the sum over its apertures divided by 16, in the
        mean over bands, samples and radii.

    Raises
    ------
    ValueError
        If shapes do not fit each other, or a radius is not above 0.

    Notes
    -----
    A pixel counts by how far its centre lies inside the border of the aperture: fully from half a
    pixel on, not at all from half a pixel outside on, and linearly in between.
    """
    radii = [check_positive("radii", float(radius)) for radius in radii]
    if not radii:
        raise ValueError("radii must hold at least one radius; got none")
    zoom = 2 if reference.shape[-1] != generated.shape[-1] else 1
    if zoom == 2:
        made, reference, weight = on_input_grid(generated, reference, weight)
    else:
        check_shapes(generated=generated, reference=reference, weight=weight)
        made, reference, weight = generated.float(), reference.float(), weight.float()
    places, peaks = _peaks(reference.detach(), max(1, _SEPARATION // zoom))
    electrons = electrons[..., None]
    total = generated.new_zeros(())
    for radius in radii:
        found, given, noise, whole = _measured(
            made, reference, weight, electrons, places, radius / zoom, zoom**2 / 4
        )
        variance = noise + floor_variance(given)
        if zoom == 2:
            variance = variance + (LEAK * _edge_light(reference, places, radius / 2)) ** 2
        counts = peaks & whole & (given > _SIGNIFICANT * noise.sqrt())
        total = total + mean_error(found, given, variance, counts.float())
    return total / len(radii)


def _measured(made, reference, weight, electrons, places, radius, share):
    """
    Sums in apertures ``(n, n_band, k)``.

    The sums of both images, their noise variance, and whether all pixels have weight; ``share``
    is the number of input pixels per pixel.
    """
    inside = _disks(places, radius, reference.shape[-2:])
    found, given, positive, area, bad = (
        share * _disk_sums(inside, image)
        for image in (
            made,
            reference,
            reference.clamp(min=0),
            torch.ones_like(reference),
            (weight <= 0).float(),
        )
    )
    return found, given, noise_variance(area, positive, electrons), bad == 0


def _peaks(image, separation):
    """
    Brightest peaks of the smoothed image.

    Their rows and columns ``(n, n_band, k, 2)``, and which of these are peaks: where there
    are fewer than ``k``, the rest of the list is arbitrary.
    """
    ny, nx = image.shape[-2:]
    smooth = functional.avg_pool2d(image, 3, 1, 1, count_include_pad=False)
    # Of equal pixels only the first counts: no plateau has two peaks.
    _, highest = functional.max_pool2d(
        smooth, 2 * separation + 1, 1, separation, return_indices=True
    )
    here = torch.arange(ny * nx, device=image.device).reshape(ny, nx)
    height = torch.where(highest == here, smooth, -torch.inf).flatten(-2)
    found, index = height.topk(min(_N_APERTURES, ny * nx))
    return torch.stack([index // nx, index % nx], dim=-1), torch.isfinite(found)


def _disks(places, radius, shape):
    """Part of each pixel ``(n, n_band, k, ny, nx)`` that lies in an aperture."""
    y, x = (torch.arange(n, device=places.device) for n in shape)
    dy, dx = y - places[..., :1], x - places[..., 1:]
    distance = torch.hypot(dy[..., :, None].float(), dx[..., None, :].float())
    return (radius + 0.5 - distance).clamp(0, 1)


def _disk_sums(inside, image):
    return torch.einsum("nbkyx,nbyx->nbk", inside, image)


def _edge_light(image, places, radius):
    """Light on both sides of the border of each aperture, 0 where noise makes it negative."""
    outer, inner = (
        _disk_sums(_disks(places, edge, image.shape[-2:]), image)
        for edge in (radius + LEAK_PIXELS, max(radius - LEAK_PIXELS, -0.5))
    )
    return (outer - inner).clamp(min=0)
