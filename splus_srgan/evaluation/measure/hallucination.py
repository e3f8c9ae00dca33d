# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether the output shows what is not there, or hides what is.

Everything is in units of the input's noise: a source that the input could not have
shown cannot be told from noise, so it does not count for or against an output.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table, vstack

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.sources import any_within, detect, inside
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_details", "checks_unmatched", "detail_scores", "unmatched_sources"]

_RADIUS = 1.1  # arcsec, of the aperture that confirms a source
_EDGE = _RADIUS  # to the border: up to there both have the whole aperture
_CLEAR = 3.0  # arcsec to what is missing or saturated
_FEWEST = 20  # fine pixels with detail
_LEAST_DETAIL = 1.0  # sigma of the input, of a fine pixel that counts


def unmatched_sources(field: ComparedField, *, threshold: float = 5.0) -> Table:
    r"""
    Find sources of the output that the reference lacks, and the other way round.

    Sources are detected in both, and the flux within 1.1 arcsec is measured in both at
    each.  A source of the output is *invented* where that exceeds the reference's by
    ``threshold`` times the input's noise and the reference has less than half of it;
    one of the reference is *removed* likewise.  So neither deblending nor a faint
    neighbor makes one.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.  Output and target are compared at one PSF; without a target, the output as
        the input's telescope would see it is compared with the input.
    threshold : float, optional
        In units of the noise.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source: ``field, band``; ``list`` (``"output"`` or ``"reference"``), ``x, y``
        (input pixels), ``flux_output, flux_reference, noise``, ``excess`` (output less
        reference, in units of the noise) and ``unmatched`` (bool).

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    >>> from splus_srgan.evaluation.measure.hallucination import unmatched_sources
    >>> from splus_srgan.evaluation.shapes import star_image
    >>> star = 200 * star_image((1.0, 3.0), shape=(48, 48), factor=2)
    >>> band = ComparedBand("r", np.zeros((48, 48)), star, 1.0, target=np.zeros((96, 96)))
    >>> rows = unmatched_sources(ComparedField("one star", {"r": band}))
    >>> print(rows["list"][0], rows["unmatched"][0])
    output True
    """
    return field.each(lambda band: _unmatched_of_band(band, threshold))


def _unmatched_of_band(band: ComparedBand, threshold: float) -> Table:
    """Rows of one band."""
    if band.target is None:
        made, reference, factor = band.seen_output, band.input, 1
    else:
        (made, reference), factor = band.matched, 2
    tables = []
    for name, image in (("output", made), ("reference", reference)):
        found, _ = detect(present(image), band.sigma, factor=factor, threshold=threshold)
        tables.append(
            _confirmed(band, found, present(made), present(reference), factor, name, threshold)
        )
    return vstack(tables)


def _confirmed(
    band: ComparedBand,
    found: Table,
    made: FloatArray,
    reference: FloatArray,
    factor: int,
    name: str,
    threshold: float,
) -> Table:
    """Sources of one list, with their fluxes in both images."""
    scale: dict[str, Any] = {"pixel_scale": band.pixel_scale}
    keep = inside(found["x"], found["y"], band.shape, _EDGE, **scale)
    keep &= ~any_within(band.spoiled, found["x"], found["y"], _CLEAR, **scale)
    x, y = np.asarray(found["x"])[keep], np.asarray(found["y"])[keep]
    flux = [
        aperture_flux(image, x, y, radius=_RADIUS, factor=factor, **scale)[0]
        for image in (made, reference)
    ]
    noise = aperture_noise(
        np.maximum(*flux) if len(x) else np.empty(0),
        np.full(len(x), np.inf),
        radius=_RADIUS,
        sigma=band.sigma,
        electrons=band.electrons,
        **scale,
    )
    excess = (flux[0] - flux[1]) / noise
    own, other = flux if name == "output" else flux[::-1]
    table = Table({"band": np.full(len(x), band.name, "U16"), "list": np.full(len(x), name, "U9")})
    table["x"], table["y"] = x, y
    table["flux_output"], table["flux_reference"] = flux
    table["noise"], table["excess"] = noise, excess
    table["unmatched"] = (own - other > threshold * noise) & (other < own / 2)
    return table


def detail_scores(field: ComparedField) -> Table:
    r"""
    Split the detail that the output adds into what is right, missing, and invented.

    With the truth :math:`T`, what the input would show of it without noise, :math:`L`
    (the truth at the PSF of the input), and the output :math:`S`, each pixel of :math:`S`
    is brought to the nearest value :math:`P` between :math:`L` and :math:`T`:

    .. math:: \mathrm{improvement} = \frac{\sum |P - L|}{\sum |T - L|}, \quad
              \mathrm{omission} = \frac{\sum |T - P|}{\sum |T - L|}, \quad
              \mathrm{hallucination} = \frac{\sum |S - P|}{\sum |T - L|}

    over pixels where :math:`|T - L|` or :math:`|S - L|` is above the noise of an input
    pixel.  The first two add up to 1.  These are the distances of opensr-test
    (:math:`d_{im} = |S - T|/|T - L|`, :math:`d_{om} = |S - L|/|T - L|`; hallucination is
    :math:`(d_{im} + d_{om} - 1)/2` for each pixel), on fluxes in units of the noise and
    without matching of histograms, which would hide errors of flux.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field, with a truth without noise and the PSFs of the input.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per band: ``field, band``, ``n`` (pixels that count), ``detail`` (sum of
        :math:`|T - L|` in units of the noise), ``improvement, omission, hallucination``, and
        ``hallucination_rms`` (of :math:`S - P` over all pixels, in units of the noise of an
        input pixel).  NaN where there is no such truth, or no detail.
    """
    return field.each(lambda band: Table(rows=[_details(band)]))


def _details(band: ComparedBand) -> dict[str, Any]:
    """Results of one band, by name."""
    names = ("detail", "improvement", "omission", "hallucination", "hallucination_rms")
    scores = {"band": band.name, "n": 0} | dict.fromkeys(names, math.nan)
    if band.target is None or not band.noise_free or band.psf is None:
        return scores
    planes = (band.target, band.blurred_target, band.output)
    truth, low, made = (4 / band.sigma * plane for plane in planes)
    good = ~band.hidden
    if not good.any():
        return scores
    between = np.clip(made, np.minimum(low, truth), np.maximum(low, truth))
    counts = good & (np.maximum(abs(truth - low), abs(made - low)) > _LEAST_DETAIL)
    # Of a few pixels of detail no share can be told.
    few = np.count_nonzero(good & (abs(truth - low) > _LEAST_DETAIL)) < _FEWEST
    detail = 0.0 if few else float(np.sum(abs(truth - low)[counts]))
    scores |= {"n": int(counts.sum()), "detail": detail}
    scores["hallucination_rms"] = float(np.sqrt(np.mean((made - between)[good] ** 2)))
    if not detail > 0:
        return scores
    parts = (abs(between - low), abs(truth - between), abs(made - between))
    for name, part in zip(names[1:4], parts, strict=True):
        scores[name] = float(np.sum(part[counts])) / detail
    return scores


def checks_unmatched(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge sources without counterpart: there must be none.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `unmatched_sources`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Invented and removed sources, for each band.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        for name, which in (("invented", "output"), ("removed", "reference")):
            chosen = mine[mine["list"] == which]
            # No source at all in an output is as it should be, if the reference has none.
            value = float(np.sum(chosen["unmatched"])) if len(mine) else math.nan
            note = "" if len(mine) else "no sources in output and reference"
            checks.append(limits[name].check(band, value, count=len(chosen), note=note))
    return checks


def checks_details(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge the detail that was invented, and the one that is missing.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `detail_scores`, of one or many fields.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Hallucination and improvement, for each band; fields count by their detail.
    """
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = [row for row in rows_of(rows) if row["band"] == band and row["detail"] > 0]
        total = sum(row["detail"] for row in mine)
        note = "" if mine else "no detail, or no truth without noise"
        options = {"count": sum(row["n"] for row in mine), "note": note}
        for name in ("hallucination", "improvement"):
            value = sum(row[name] * row["detail"] for row in mine) / total if mine else math.nan
            checks.append(limits[name].check(band, value, **options))
    return checks
