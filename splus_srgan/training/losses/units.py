# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The stretch of the model card, for tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    pass

__all__ = ["stretch", "unstretch"]


def stretch(x: torch.Tensor, softening: float, output_range: float) -> torch.Tensor:
    """
    The arcsinh stretch of `splus_srgan.NoiseAsinhStretch` for tensors.

    Parameters
    ----------
    x : `~torch.Tensor`
        Linear values in sky noises, the sky subtracted.
    softening, output_range : float
        Softening and range of the stretch, above 0.

    Returns
    -------
    y : `~torch.Tensor`
        ``asinh(x / softening) / output_range``.
    """
    return torch.asinh(x / softening) / output_range


def unstretch(y: torch.Tensor, softening: float, output_range: float) -> torch.Tensor:
    """
    Inverse of `stretch`, bounded beyond any survey's range to avoid overflow.

    Parameters
    ----------
    y : `~torch.Tensor`
        Stretched values.
    softening, output_range : float
        Softening and range of the stretch, above 0.

    Returns
    -------
    x : `~torch.Tensor`
        Linear values in sky noises, within 6e5 times the softening.
    """
    return softening * torch.sinh((output_range * y).clamp(-14, 14))
