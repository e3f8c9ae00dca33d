# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Loss of what a source adds to the output, in the band that shows it and in the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splus_srgan.training.losses.pixel import check_shapes

if TYPE_CHECKING:
    import torch

__all__ = ["response_loss"]

_LARGEST = 2.0


def response_loss(
    generated: torch.Tensor,
    without: torch.Tensor,
    truth: torch.Tensor,
    truth_without: torch.Tensor,
    aperture: torch.Tensor,
) -> torch.Tensor:
    r"""
    Error of the flux that a source adds, from two fields that differ by it alone.

    With the generated images :math:`x` and :math:`x_0` of the field with the source and without
    it, their truths :math:`t` and :math:`t_0`, and the weights :math:`a` of an aperture,

    .. math:: \left\langle \left(\sum_p a_p \left[(x_p - x_{0,p}) - (t_p - t_{0,p})\right]
              \right)^2 \right\rangle

    in the mean over bands and samples.  A band in which the source does not shine has the same
    truth with and without it, so this is also what leaks there.  Both fields have the same
    noise, so hardly any of it is left in the difference.

    Parameters
    ----------
    generated, without, truth, truth_without : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Linear images.
    aperture : `~torch.Tensor`, shape (n, n_band, ny, nx)
        The weights: 0 outside the aperture, inside one over the flux of the source.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar.  Errors above 2 count as 2.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import response_loss
    >>> none = torch.zeros(1, 2, 4, 4)
    >>> source = none.clone()
    >>> source[:, 0, 1, 2] = 10.0  # in one band of two
    >>> aperture = torch.full_like(none, 1 / 10)
    >>> response_loss(0.8 * source, none, source, none, aperture).item()  # (0.2^2 + 0^2) / 2
    0.019999997690320015
    """
    check_shapes(
        generated=generated,
        without=without,
        truth=truth,
        truth_without=truth_without,
        aperture=aperture,
    )
    added, wanted = generated.float() - without.float(), truth.float() - truth_without.float()
    error = (aperture.float() * (added - wanted)).sum((-1, -2))
    return error.clamp(-_LARGEST, _LARGEST).square().mean()
