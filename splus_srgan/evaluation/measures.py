# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What is measured on each field, and the checks that all fields together give.

All measures have one call, ``measure(field) -> table``, and all checks another,
``check(table, bands=...) -> checks``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from astropy.table import vstack

from splus_srgan.evaluation.measure.agreement import checks_metrics, pixel_table
from splus_srgan.evaluation.measure.artefacts import artefact_table, checks_artefacts
from splus_srgan.evaluation.measure.astrometry import checks_stars, compare_stars
from splus_srgan.evaluation.measure.colors import (
    checks_colors,
    checks_fluxes,
    checks_growth,
    compare_colors,
)
from splus_srgan.evaluation.measure.common import Sky, checks_mean, sky_of
from splus_srgan.evaluation.measure.completeness import checks_completeness, find_and_match
from splus_srgan.evaluation.measure.consistency import checks_consistency, data_consistency
from splus_srgan.evaluation.measure.frame import checks_frame, shift_map
from splus_srgan.evaluation.measure.hallucination import (
    checks_details,
    checks_unmatched,
    detail_scores,
    unmatched_sources,
)
from splus_srgan.evaluation.measure.holes import checks_holes, hole_table
from splus_srgan.evaluation.measure.morphology import checks_shapes, compare_shapes
from splus_srgan.evaluation.measure.noise import checks_noise
from splus_srgan.evaluation.measure.photometry import compare_fluxes, curve_of_growth
from splus_srgan.evaluation.measure.psf import checks_psf, psf_table
from splus_srgan.evaluation.measure.recovery import checks_injection
from splus_srgan.evaluation.measure.repeat import checks_repeats, untried
from splus_srgan.evaluation.measure.swap import checks_swaps
from splus_srgan.evaluation.measure.turning import checks_symmetry
from splus_srgan.evaluation.measure.uncertainty import checks_uncertainty, coverage_table
from splus_srgan.evaluation.measure.widths import checks_widths, width_table
from splus_srgan.utils.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedField

__all__ = ["ALONE", "MEASURES", "TRIALS", "Measurements"]

ALONE: dict[str, tuple[Callable[[ComparedField], Table], Callable[..., list[Check]]]] = {
    "holes": (hole_table, checks_holes),
    "artefacts": (artefact_table, checks_artefacts),
}
"""Measures of an output that need nothing else, and their checks."""

MEASURES: dict[str, tuple[Callable[[ComparedField], Table], Callable[..., list[Check]]]] = {
    "fluxes": (compare_fluxes, checks_fluxes),
    "colors": (compare_colors, checks_colors),
    "growth": (curve_of_growth, checks_growth),
    "stars": (compare_stars, checks_stars),
    "places": (shift_map, checks_frame),
    "shapes": (compare_shapes, checks_shapes),
    "psf": (psf_table, checks_psf),
    "widths": (width_table, checks_widths),
    "pixels": (pixel_table, checks_metrics),
    "consistency": (data_consistency, checks_consistency),
    "unmatched": (unmatched_sources, checks_unmatched),
    "detections": (find_and_match, checks_completeness),
    "details": (detail_scores, checks_details),
    "coverage": (coverage_table, checks_uncertainty),
}
"""Measures that need the input, and their checks."""

TRIALS: dict[str, Callable[..., list[Check]]] = {
    "symmetry": checks_symmetry,
    "injected": checks_injection,
    "swaps": checks_swaps,
    "noise": checks_noise,
    "repeats": checks_repeats,
}
"""Checks of the enhancer's results for changed images."""


@dataclass
class Measurements:
    """
    Rows of all fields by what was measured, and the checks that they give.

    Parameters
    ----------
    tables : dict of str to list of `~astropy.table.Table`, optional
        Rows by measure.
    skies : list of dict of str to `~splus_srgan.evaluation.measure.common.Sky`, optional
        The sky of each field.
    """

    tables: dict[str, list[Table]] = field(default_factory=dict)
    skies: list[dict[str, Sky]] = field(default_factory=list)

    def add(self, compared: ComparedField) -> None:
        """
        Measure a field.

        Parameters
        ----------
        compared : `~splus_srgan.evaluation.compared.ComparedField`
            Field.
        """
        measures = ALONE | (MEASURES if compared.has_input else {})
        with quiet():
            for name, (measure, _) in measures.items():
                self.keep(name, measure(compared))
        if any(band.std is not None for band in compared.bands.values()):
            # Stated uncertainties are needed to be tried, whether or not that is done later.
            self.keep("repeats", untried(compared))
        self.skies.append({name: sky_of(band) for name, band in compared.bands.items()})

    def keep(self, name: str, table: Table) -> None:
        """Keep rows of a table."""
        self.tables.setdefault(name, []).append(table)

    def take(self, other: Measurements) -> None:
        """Take over the rows that others measured."""
        for name, tables in other.tables.items():
            for table in tables:
                self.keep(name, table)
        self.skies += other.skies

    def table(self, name: str) -> Table:
        """All rows of one kind."""
        parts = self.tables[name]
        whole = vstack(parts, metadata_conflicts="silent")
        for key in {key for part in parts for key in part.meta}:
            whole.meta[key] = sum(part.meta.get(key, 0) for part in parts)
        return whole

    def joined(self) -> dict[str, Table]:
        """All tables, each with the rows of all fields."""
        return {name: self.table(name) for name in self.tables}

    def checks(self, bands: Sequence[str]) -> list[Check]:
        """
        Judge what was measured.

        Parameters
        ----------
        bands : sequence of str
            Bands to judge.

        Returns
        -------
        checks : list of `~splus_srgan.evaluation.checks.Check`
            Checks of all measures.
        """
        judges = {name: check for name, (_, check) in (ALONE | MEASURES).items()} | TRIALS
        checks = []
        with quiet():
            for name, check in judges.items():
                if name in self.tables:
                    checks += check(self.table(name), bands=bands)
            return checks + checks_mean(self.skies)
