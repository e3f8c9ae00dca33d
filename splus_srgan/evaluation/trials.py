# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Tests that need the enhancer itself: it is given changed images, and noise alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.noise import noise_field, noise_only_detections
from splus_srgan.evaluation.measure.recovery import injection_test
from splus_srgan.evaluation.measure.repeat import repeat_test
from splus_srgan.evaluation.measure.swap import swap_test
from splus_srgan.evaluation.measure.turning import symmetry_residual
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.utils.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from splus_srgan.evaluation.measures import Measurements

__all__ = ["run_trials"]

_TURNS = ("turned by 90", "mirrored", "mirrored, turned by 180")
_SHAPE = (128, 128)  # of the fields of noise alone
_SEED = 41


def run_trials(
    enhancer: Callable[..., Any],
    pairs: Sequence[EvaluationPair],
    measured: Measurements,
    *,
    number: int,
) -> None:
    """
    Enhance fields turned, with sources and noise added and with swapped noise, and noise alone.

    Parameters
    ----------
    enhancer : callable
        What is evaluated.
    pairs : list of `~splus_srgan.evaluation.pairs.EvaluationPair`
        Fields; the first ``number`` that are not blank are taken.
    measured : `~splus_srgan.evaluation.measures.Measurements`
        What takes the results.
    number : int
        How many fields of each kind.
    """
    chosen = [pair for pair in pairs if pair.kind != "blank"][:number]
    with quiet():
        for k, pair in enumerate(chosen):
            measured.keep("symmetry", symmetry_residual(enhancer, pair, turns=_TURNS))
            measured.keep("injected", injection_test(enhancer, pair, seed=_SEED + k))
            other = _donor(pair, pairs)
            measured.keep("repeats", repeat_test(enhancer, pair, seed=_SEED + k))
            if other is not None:
                measured.keep("swaps", swap_test(enhancer, pair, other))
        _noise_alone(enhancer, pairs, measured, number)


def _donor(pair: EvaluationPair, pairs: Sequence[EvaluationPair]) -> EvaluationPair | None:
    """Another field to take the noise from, a blank one rather than others."""
    others = [
        other
        for other in pairs
        if other is not pair and other.shape == pair.shape and set(other.bands) == set(pair.bands)
    ]
    return min(others, key=lambda other: other.kind != "blank", default=None)


def _noise_alone(
    enhancer: Callable[..., Any],
    pairs: Sequence[EvaluationPair],
    measured: Measurements,
    number: int,
) -> None:
    """What is detected in noise like that of the fields."""
    for k in range(number):
        images = noise_field(pairs[k % len(pairs)].input, seed=(_SEED, k), shape=_SHAPE)
        pair = EvaluationPair(f"noise {k}", images)
        rows = noise_only_detections(compare_field(pair, enhancer(images)))
        rows.meta["n_field"] = 1
        measured.keep("noise", rows)
