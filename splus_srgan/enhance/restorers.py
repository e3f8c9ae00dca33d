# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Which weights restore which bands of a field."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["Restorer"]


@dataclass(frozen=True)
class Restorer:
    """
    Weights, the runner of their generator, and the bands of a field that it restores.

    Attributes
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Weights.
    runner : `~splus_srgan.enhance.runner.Runner`
        Runs their generator.
    places : list of int
        The bands, in the order in which the generator takes them.
    """

    card: Any
    runner: Any
    places: list

    @property
    def groups(self) -> list[list[int]]:
        """Indices of the bands that the generator takes at a time."""
        return self.card.groups(self.places)

    def record(self) -> dict[str, Any]:
        """Entries for the headers of these bands."""
        return {
            "model": self.card.name,
            "model_version": self.card.version,
            "sha256": self.card.sha256,
            "softening": self.card.stretch["softening"],
            "range": self.card.stretch["range"],
        }
