# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One total of all terms."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from splus_srgan.utils.validate import check_finite

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

__all__ = ["total_loss"]


def total_loss(terms: Mapping[str, torch.Tensor], weights: Mapping[str, float]) -> torch.Tensor:
    r"""
    Weighted sum of named terms, :math:`\sum_k w_k L_k`.

    Parameters
    ----------
    terms : dict of str to `~torch.Tensor`
        Scalar losses.
    weights : dict of str to float
        Weight of each, at least 0; a weight of 0 removes the term, even if it is NaN.  Terms
        of weight 0 need not be given.

    Returns
    -------
    loss : `~torch.Tensor`
        Scalar.

    Raises
    ------
    ValueError
        If a term has no weight, a weight above 0 has no term, no weight is above 0, or a weight
        is negative or not finite.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.training.losses import total_loss
    >>> terms = {"pixel": torch.tensor(2.0), "flux": torch.tensor(10.0)}
    >>> total_loss(terms, {"pixel": 1.0, "flux": 0.03, "spectrum": 0.0}).item()
    2.3
    """
    for name, weight in weights.items():
        if check_finite(f"weights[{name!r}]", weight) < 0:
            raise ValueError(f"weights[{name!r}] must be at least 0; got {weight!r}")
    used = {name: weight for name, weight in weights.items() if weight > 0}
    if not used:
        raise ValueError(f"weights must hold one above 0; got {weights!r}")
    _refuse_strangers("terms", terms, weights, "weight")
    _refuse_strangers("weights", used, terms, "term")
    first, *others = (weight * terms[name] for name, weight in used.items())
    return sum(others, start=first)


def _refuse_strangers(where, names, known, what):
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ValueError(
                f"{where} has {name!r}, for which there is no {what}{hint} "
                f"(there are {', '.join(map(repr, known)) or 'none'})"
            )
