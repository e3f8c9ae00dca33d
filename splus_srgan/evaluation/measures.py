# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What is measured on each field, and the checks that all fields together give."""

import math
from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table, vstack

from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands, fit_psf
from splus_srgan.evaluation.measure.artefacts import (
    artefact_table,
    checks_artefacts,
    checks_mean,
    checks_symmetry,
)
from splus_srgan.evaluation.measure.astrometry import checks_stars, compare_stars
from splus_srgan.evaluation.measure.completeness import checks_completeness, find_and_match
from splus_srgan.evaluation.measure.consistency import checks_consistency, data_consistency
from splus_srgan.evaluation.measure.hallucination import (
    checks_hallucination,
    detail_scores,
    unmatched_sources,
)
from splus_srgan.evaluation.measure.injection import checks_injection
from splus_srgan.evaluation.measure.metrics import checks_metrics, scores
from splus_srgan.evaluation.measure.morphology import checks_shapes, compare_shapes
from splus_srgan.evaluation.measure.photometry import (
    checks_photometry,
    compare_colors,
    compare_fluxes,
    curve_of_growth,
)
from splus_srgan.evaluation.measure.psf import checks_psf, psf_table
from splus_srgan.evaluation.measure.uncertainty import checks_uncertainty
from splus_srgan.evaluation.quiet import quiet
from splus_srgan.evaluation.statistics import judge, median_error
from splus_srgan.pixels.psf import TARGET_PSF

__all__ = ["SCORES", "Measurements", "score_rows"]

SCORES = {
    f"{score}_{space}": unit
    for space in ("noise", "asinh", "seed")
    for score, unit in (("psnr", "dB"), ("ssim", ""), ("ms_ssim", ""), ("nrmse", ""))
}
"""Columns of scores and their units."""


def score_rows(pair, output):
    """
    Score an output against the target of its pair.

    Returns
    -------
    rows : dict of str to dict
        Band (and ``"joint"``) to score by column name; empty without a target.
    """
    if pair.target is None:
        return {}
    rows = {}
    with quiet():
        for one in scores(pair, output, zero_point=pair.zero_points or None):
            row = rows.setdefault(str(one["band"]), {})
            for name in ("psnr", "ssim", "ms_ssim", "nrmse"):
                value = one[name]
                row[f"{name}_{one['space']}"] = float(getattr(value, "value", value))
    return rows


@dataclass
class Measurements:
    """Rows of all fields by what was measured, and the checks that they give."""

    tables: dict = field(default_factory=dict)
    dicts: dict = field(default_factory=dict)
    checked: list = field(default_factory=list)
    outputs: list = field(default_factory=list)
    n_noise_fields: int = 0

    def add(self, one):
        """Measure a field."""
        with quiet():
            self.keep("artefacts", artefact_table(one.output, pair=one.pair, name=one.name))
            self.outputs.append(one.output)
            if one.pair is not None:
                self._compare(one.pair, one.output)

    def _compare(self, pair, output):
        """Measure what needs the input, and the truth where there is one."""
        bands = compared_bands(pair, output, truth_psf=_truth_psf(pair))
        sources = list_sources(bands, known=pair.sources)
        fluxes = []
        for band in bands.values():
            fluxes += [compare_fluxes(band, sources, against=what) for what in ("truth", "input")]
            self.keep("growth", curve_of_growth(band, sources))
            stars = compare_stars(band, sources)
            stars["field"] = np.full(len(stars), pair.name, "U64")
            self.keep("stars", stars)
            self.keep("shapes", compare_shapes(band, sources))
            self.keep("detections", find_and_match(band))
            self.keep("unmatched", unmatched_sources(band))
            self.note("details", [detail_scores(band)])
            self.note("consistency", [data_consistency(band)])
        self.keep("fluxes", vstack(fluxes))
        self.keep("colors", compare_colors(vstack(fluxes), bands=tuple(bands)))
        self.keep("psf", psf_table(pair, output))
        zero_point = pair.zero_points or None
        self.checked += checks_metrics(pair, output, zero_point=zero_point)
        self.checked += checks_uncertainty(pair, output)

    def keep(self, name, table):
        """Keep rows of a table."""
        self.tables.setdefault(name, []).append(table)

    def note(self, name, dicts):
        """Keep results that are dictionaries."""
        self.dicts.setdefault(name, []).extend(dicts)

    def table(self, name):
        """All rows of one kind; `None` where there are none."""
        if name not in self.tables:
            return None
        return vstack(self.tables[name], metadata_conflicts="silent")

    def joined(self):
        """All tables, each with the rows of all fields."""
        tables = {name: self.table(name) for name in self.tables}
        return tables | {name: Table(rows=rows) for name, rows in self.dicts.items() if rows}

    def checks(self, bands):
        """Judge what was measured."""
        with quiet():
            checks = checks_artefacts(self.table("artefacts"), bands=bands)
            # Images of others have no cards; their sky is not known without their input.
            checks += checks_mean([one for one in self.outputs if _has_cards(one)])
            if "symmetry" in self.tables:
                checks += checks_symmetry(self.table("symmetry"), bands=bands)
            if "fluxes" in self.tables:
                checks += self._compared_checks(bands)
            return checks

    def _compared_checks(self, bands):
        checks = checks_photometry(
            self.table("fluxes"),
            bands=bands,
            colors=self.table("colors") if len(bands) > 1 else None,
            growth=self.table("growth"),
        )
        if "injected" in self.tables:
            checks += checks_injection(self.table("injected"), bands=bands)
        checks += checks_stars(self.table("stars"), bands=bands)
        checks += checks_shapes(self.table("shapes"), bands=bands)
        checks += checks_psf(self.table("psf"), bands=bands)
        checks += checks_completeness(self.table("detections"), bands=bands)
        checks += checks_consistency(self.dicts["consistency"])
        checks += checks_hallucination(
            bands=bands,
            noise_only=self.table("noise"),
            n_noise_fields=self.n_noise_fields,
            unmatched=self.table("unmatched"),
            details=self.dicts["details"],
            swaps=self.dicts.get("swaps"),
        )
        return checks + together(self.checked)


def _has_cards(output):
    """Whether all bands say what their sky and its noise are."""
    return all({"SRSKY", "SRSIGMA"} <= set(image.meta or {}) for image in output.values())


def _truth_psf(pair):
    """PSF of the target: that of a truth is known, that of an image may be."""
    if pair.target is None or pair.noise_free:
        return TARGET_PSF
    first = next(iter(pair.target.values()))
    if getattr(first, "psf", None) is None:
        return None
    scale = np.mean(np.abs(first.wcs.celestial.proj_plane_pixel_scales()[0].to_value("arcsec")))
    return fit_psf(first.psf, pixel_scale=float(scale))


def together(checks):
    """
    Add up checks of the same thing in different fields.

    Parameters
    ----------
    checks : iterable of `~splus_srgan.evaluation.checks.Check`
        Of single fields.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        One for each name and band: the median of those that were measured, with its
        error; of the uncertainty, the mean weighted by the pixels.
    """
    groups = {}
    for check in checks:
        groups.setdefault((check.topic, check.name, check.band), []).append(check)
    return [group[0] if len(group) == 1 else _of_fields(group) for group in groups.values()]


def _of_fields(group):
    first, known = group[0], [check for check in group if check.measured]
    parts = (first.topic, first.name, first.band)
    if not known:
        notes = dict.fromkeys(check.note for check in group if check.note)
        return Check(*parts, math.nan, first.limit, first.unit, note="; ".join(list(notes)[:2]))
    values = np.array([check.value for check in known])
    weights = np.array([max(check.count, 1) for check in known], float)
    options = {"unit": first.unit, "count": len(known), "error": median_error(values)}
    if first.topic == "uncertainty":  # shares of pixels add up
        total, note = np.average(values, weights=weights), f"all pixels of {len(known)} fields"
        return judge(*parts, total, first.limit, note=note, **options)
    note = f"median of {len(known)} fields"
    return judge(*parts, np.median(values), first.limit, note=note, **options)
