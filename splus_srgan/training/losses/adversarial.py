# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Losses between the generator and the discriminator."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from typing import Literal

__all__ = ["discriminator_adversarial", "generator_adversarial"]


def generator_adversarial(
    fake_logits: torch.Tensor,
    real_logits: torch.Tensor | None = None,
    *,
    kind: Literal["bce", "least_squares", "relativistic"] = "bce",
) -> torch.Tensor:
    r"""
    How far the discriminator is from taking generated images for targets.

    With the logits :math:`f` of generated images and :math:`r` of targets, and the softplus
    :math:`s(x) = \ln(1 + e^x)`:

    - ``"bce"``: :math:`\langle s(-f) \rangle`, the binary cross-entropy against ones
      (Goodfellow et al. 2014, non-saturating);
    - ``"least_squares"``: :math:`\langle (f - 1)^2 \rangle` (Mao et al. 2017);
    - ``"relativistic"``: :math:`\langle s(r - f) \rangle`, each generated image against its own
      target (Jolicoeur-Martineau 2018, the pairwise form).

    Parameters
    ----------
    fake_logits : `~torch.Tensor`, shape (n, 1, my, mx)
        Logits of generated images.
    real_logits : `~torch.Tensor`, shape (n, 1, my, mx), optional
        Logits of the targets of the same samples; needed by ``"relativistic"`` alone.
    kind : {"bce", "least_squares", "relativistic"}, optional
        Kind of loss.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over samples and positions.

    Raises
    ------
    ValueError
        If the kind is unknown, or the logits that it needs are missing or of other shape.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import generator_adversarial
    >>> generator_adversarial(torch.zeros(2, 1, 4, 4), kind="least_squares").item()
    1.0
    """
    check_one_of("kind", kind, ("bce", "least_squares", "relativistic"))
    if kind == "relativistic":
        return functional.softplus(_lead(real_logits, fake_logits)).mean()
    return _towards(fake_logits, 1.0, kind)


def discriminator_adversarial(
    real_logits: torch.Tensor | None,
    fake_logits: torch.Tensor | None,
    *,
    kind: Literal["bce", "least_squares", "relativistic", "mse"] = "bce",
) -> torch.Tensor:
    r"""
    How badly the discriminator tells targets from generated images.

    A sum of one part for the targets and one for the generated images:

    - ``"bce"``: :math:`\langle s(-r) \rangle + \langle s(f) \rangle`;
    - ``"least_squares"``: :math:`\langle (r - 1)^2 \rangle + \langle f^2 \rangle`;
    - ``"mse"``: the same of the probabilities :math:`1 / (1 + e^{-r})`, as the seed paper
      trains;
    - ``"relativistic"``: :math:`\langle s(f - r) \rangle`, which has no parts.

    Parameters
    ----------
    real_logits, fake_logits : `~torch.Tensor`, shape (n, 1, my, mx), or `None`
        Logits of the targets, and of the generated images of the same samples.  With one of them
        `None`, the loss is the part of the other: the seed paper takes a step on each.
    kind : {"bce", "least_squares", "relativistic", "mse"}, optional
        Kind of loss.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar, the mean over samples and positions.

    Raises
    ------
    ValueError
        If the kind is unknown, or the logits that it needs are missing or of other shape.
    """
    check_one_of("kind", kind, ("bce", "least_squares", "relativistic", "mse"))
    if kind == "relativistic":
        return functional.softplus(-_lead(real_logits, fake_logits)).mean()
    given = [(real_logits, 1.0), (fake_logits, 0.0)]
    parts = [_towards(logits, goal, kind) for logits, goal in given if logits is not None]
    if not parts:
        raise ValueError("real_logits or fake_logits must be given; got None for both")
    return sum(parts)


def _lead(real_logits, fake_logits):
    """Differences between the logits of targets and of their generated partners."""
    if real_logits is None or fake_logits is None:
        raise ValueError(
            "kind='relativistic' compares the logits of target and generated image; give both "
            "real_logits and fake_logits, got None for one"
        )
    if real_logits.shape != fake_logits.shape:
        raise ValueError(
            f"real_logits and fake_logits must have one shape; got {tuple(real_logits.shape)} and "
            f"{tuple(fake_logits.shape)}"
        )
    return real_logits.float() - fake_logits.float()


def _towards(logits, goal, kind):
    """Loss of logits whose probability should be ``goal``, 0 or 1."""
    logits = logits.float()
    if kind == "bce":
        return functional.softplus(-logits if goal else logits).mean()
    values = torch.sigmoid(logits) if kind == "mse" else logits
    return (values - goal).square().mean()
