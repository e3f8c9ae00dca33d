# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Measure what a network may leave in an image: patterns, seams, clouds, rings, false colors.

Everything here is in *sky units*: surface brightness above the sky, divided by the sky's
noise in a pixel of the input,

.. math:: v = \frac{4 f - s}{\sigma}

for an output of flux :math:`f` per pixel, where :math:`s` and :math:`\sigma` are sky and
sigma per pixel of the input.  1 is as bright as one sigma of the input, on both grids.
"""

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands
from splus_srgan.evaluation.measure.artefacts_sky import (
    cloudiness,
    low_frequency_residual,
    mean_output,
    pattern_lines,
    seams,
    sky_pixels,
    sky_units,
)
from splus_srgan.evaluation.measure.artefacts_sources import (
    color_residual,
    ringing,
    symmetry_residual,
)
from splus_srgan.evaluation.statistics import judge

__all__ = [
    "ArtefactLimits",
    "artefact_table",
    "checks_artefacts",
    "checks_mean",
    "checks_symmetry",
    "cloudiness",
    "color_residual",
    "low_frequency_residual",
    "mean_output",
    "pattern_lines",
    "ringing",
    "seams",
    "sky_pixels",
    "sky_units",
    "symmetry_residual",
]

_SEAM = {False: 8.0, True: 5.0}  # least significance: of any row and column, of known borders
_STAR_PEAK = 50.0  # sky units; of a fainter star, noise rings
_BAD_VIEW = 10  # times its limit: a test that sees less well than that says nothing
_UNIT = "sigma"


@dataclass(frozen=True)
class ArtefactLimits:
    """
    What artefacts may reach; in sky units where nothing else is said.

    Parameters
    ----------
    line : float, optional
        Amplitude of a line in the power spectrum of the sky of one output.
    mean_line : float, optional
        The same in the mean of many outputs.
    seam : float, optional
        Step along a row or column.
    cloudiness : float, optional
        Blotches in the sky.
    low_frequency : float, optional
        Large-scale structure that the input does not have.
    mean_low_frequency : float, optional
        Large-scale structure of the mean of many outputs.
    ring : float, optional
        Rings around stars, as a fraction of the peak.
    color : float, optional
        Change of color in bright regions, mag.
    symmetry_sky : float, optional
        What turning the field changes in the sky.
    symmetry_sources : float, optional
        What it changes in sources, relative to these.
    """

    line: float = 0.001
    mean_line: float = 0.0005
    seam: float = 0.01
    cloudiness: float = 0.05
    low_frequency: float = 0.1
    mean_low_frequency: float = 0.05
    ring: float = 0.01
    color: float = 0.2
    symmetry_sky: float = 0.05
    symmetry_sources: float = 0.05


def artefact_table(output, *, pair=None, name="", periods=(2, 4), block_size=None):
    """
    Measure the artefacts of an output, band by band.

    Parameters
    ----------
    output : mapping of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``.
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`, optional
        What it was made from.  Without it sky and sigma are those of the cards SRFSKY (else
        SRSKY) and SRSIGMA, and what needs the input or stars is NaN.
    name : str, optional
        Of the field, where there is no pair.
    periods : sequence of float, optional
        Of patterns to look for, in output pixels.
    block_size : int, optional
        Side of the blocks in output pixels: a period more, and where seams may be.

    Returns
    -------
    table : `~astropy.table.QTable`
        A row per band: ``field, band``; ``free`` (share of the pixels that is sky); ``line``
        and ``faintest`` (amplitude found at the periods, and the least that would have
        been; ``any_line`` and ``any_faintest`` at others); ``seam`` and its error; ``cloudiness``;
        ``low_frequency`` and its error; ``ring`` (median of ``n_star`` stars); ``color``
        (mag, largest significant change in ``n_bright`` input pixels).  NaN is not
        measured.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.measure.artefacts import artefact_table
    >>> field = simulate_field(4, shape=(64, 64), kind="blank", bands=("r",))
    >>> table = artefact_table(SRGANEnhancer(device="cpu")(field.observed), name="blank")
    >>> float(table["line"][0]), bool(table["cloudiness"][0] < 0.05)
    (0.0, True)
    """
    if block_size is not None:
        periods = (*periods, block_size)
    bands = {} if pair is None else compared_bands(pair, output)
    if pair is None:
        images = sky_units(output)
    else:
        images = {b: _seen(output[b], 4 * one.output / one.sigma) for b, one in bands.items()}
    colors, stars = _worst_colors(bands), _stars(bands, pair)
    rows = []
    for band, image in images.items():
        row = {"field": name if pair is None else pair.name, "band": band}
        row |= _sky_row(image, bands.get(band), periods, block_size)
        row["ring"], row["n_star"] = _ring(image, stars)
        row["color"], row["n_bright"] = colors.get(band, (math.nan, 0))
        rows.append(row)
    table = QTable(rows=rows)
    table["color"].unit = u.mag
    return table


def _seen(image, values):
    """Missing pixels as NaN."""
    missing = ~np.isfinite(np.asarray(image.data, float))
    return np.where(missing if image.mask is None else missing | image.mask, np.nan, values)


def _sky_row(image, band, periods, block_size):
    """What the sky of a band shows."""
    free = sky_pixels(image)
    lines = pattern_lines(image, free=free, periods=periods)
    row = {"free": float(free.mean())}
    for key, mine in (("line", lines[:-1]), ("any_line", lines[-1:])):
        found = np.where(mine["found"], mine["amplitude"], 0.0)
        row[key] = float(found.max()) if np.isfinite(mine["faintest"]).all() else math.nan
        row[key.replace("line", "faintest")] = float(np.max(mine["faintest"]))
    borders = seams(image, free=free, block_size=block_size)
    row["seam"], row["seam_error"] = math.nan, math.nan
    if len(borders):
        real = borders["significance"][0] > _SEAM[block_size is not None]
        row["seam"], row["seam_error"] = (
            (float(borders["step"][0]), float(borders["error"][0])) if real else (0.0, math.nan)
        )
    row["cloudiness"] = cloudiness(image, free=free)
    observed = None if band is None else np.where(band.bad, np.nan, band.image / band.sigma)
    rms = low_frequency_residual(image, observed, free=free)
    row["low_frequency"], row["low_frequency_error"] = (math.nan,) * 2 if band is None else rms
    return row


def _worst_colors(bands):
    """Largest change of color beyond 5 errors, for each band, and how many pixels it is from."""
    worst = {}
    for pair, (change, error) in color_residual(bands).items() if len(bands) > 1 else ():
        bright = np.isfinite(change)
        real = np.where(np.abs(change) > 5 * error, np.abs(change), 0.0)[bright]
        for band in pair if bright.any() else ():
            old = worst.get(band, (0.0, 0))
            worst[band] = max(old[0], float(real.max())), int(bright.sum())
    return worst


def _stars(bands, pair):
    """Positions of unsaturated stars on the output's grid."""
    if pair is None:
        return np.empty((2, 0))
    sources = list_sources(bands, known=pair.sources)
    sources = sources[sources["kind"] == "star"]
    bad = np.any([band.bad for band in bands.values()], axis=0)
    places = np.array([sources["x"], sources["y"]], float).reshape(2, -1)
    keep = ((places > 11) & (places < np.array(bad.shape)[::-1, None] - 12)).all(axis=0)
    places = places[:, keep]
    from splus_srgan.evaluation.sources import any_within

    return 2 * places[:, ~any_within(bad, *places, 4.0)] + 0.5


def _ring(image, stars):
    """Median ring of the bright stars, and their number."""
    table = ringing(image, *stars)
    rings = np.asarray(table["ring"])[np.asarray(table["peak"]) > _STAR_PEAK]
    return (float(np.median(rings)), len(rings)) if len(rings) else (math.nan, 0)


def checks_artefacts(table, *, bands=None, limits=ArtefactLimits()):
    """
    Judge the artefacts of one field or many.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Rows of `artefact_table`, of all fields.
    bands : sequence of str, optional
        Bands to judge; those of the table.
    limits : `ArtefactLimits`, optional
        Limits.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: the worst field's patterns, seams, clouds and large-scale structure; the
        median ring; the worst color.  The error of a pattern is the faintest one that would
        have shown.  Not measured where no field can tell.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.measure.artefacts import artefact_table, checks_artefacts
    >>> field = simulate_field(4, shape=(64, 64), kind="blank", bands=("r",))
    >>> table = artefact_table(SRGANEnhancer(device="cpu")(field.observed), name="blank")
    >>> [check.name for check in checks_artefacts(table) if check.passed]
    ['pattern at given periods', 'pattern at any period', 'seam', 'clouds in the sky']
    """
    bands = list(dict.fromkeys(table["band"])) if bands is None else bands
    checks = []
    for band in bands:
        rows = table[table["band"] == band]
        checks += [
            _line_check("pattern at given periods", band, rows, "line", limits.line),
            _line_check("pattern at any period", band, rows, "any_line", limits.line),
            _worst_check("seam", band, rows, "seam", limits.seam, errors="seam_error"),
            _worst_check("clouds in the sky", band, rows, "cloudiness", limits.cloudiness),
            _worst_check(
                "large-scale residual",
                band,
                rows,
                "low_frequency",
                limits.low_frequency,
                errors="low_frequency_error",
            ),
            _ring_check(band, rows, limits.ring),
            _worst_check("change of color", band, rows, "color", limits.color, unit="mag"),
        ]
    return checks


_REASONS = {
    "seam": "too little sky",
    "cloudiness": "too little sky",
    "low_frequency": "no input, or too little sky",
    "color": "no input, a single band, or nothing bright",
}


def _column(rows, name):
    return np.array([getattr(value, "value", value) for value in rows[name]], float)


def _line_check(name, band, rows, key, limit):
    """A line, where the noise of the sky lets one see it."""
    amplitude = _column(rows, key)
    faintest = _column(rows, key.replace("line", "faintest"))
    telling = np.isfinite(amplitude) & ((faintest < _BAD_VIEW * limit) | (amplitude > 0))
    if not telling.any():
        note = "too little sky, or too noisy to tell"
        return Check("artefacts", name, band, math.nan, limit, _UNIT, note=note)
    value, error = float(amplitude[telling].max()), float(np.median(faintest[telling]))
    note = f"fainter than {error:.1g} would not show" if error > limit and not value else ""
    return Check("artefacts", name, band, value, limit, _UNIT, error, int(telling.sum()), note)


def _worst_check(name, band, rows, key, limit, unit=_UNIT, errors=None):
    """The worst field; where errors are known, the worst that is beyond its error."""
    values = _column(rows, key)
    good = np.isfinite(values)
    values = values[good]
    if not len(values):
        return Check("artefacts", name, band, math.nan, limit, unit, note=_REASONS[key])
    if errors is not None:
        return _pooled_check(name, band, values, _column(rows, errors)[good], limit, unit)
    return Check("artefacts", name, band, float(values.max()), limit, unit, count=len(values))


def _pooled_check(name, band, values, errors, limit, unit):
    """The worst field if it is beyond the limit for sure, else the mean of all."""
    known = np.nan_to_num(errors)
    options = {"unit": unit, "count": len(values)}
    worst = int(np.argmax(values - 3 * known))
    if values[worst] - 3 * known[worst] > limit or len(values) == 1:
        error, value = errors[worst], values[worst]
    else:
        # The largest of many noisy values is large by chance.
        value, error = values.mean(), float(np.sqrt(np.sum(known**2))) / len(values)
        options["note"] = "mean of all fields; none is beyond the limit by three errors"
    return judge(
        "artefacts", name, band, value, limit, error=np.nan_to_num(error), known=True, **options
    )


def _ring_check(band, rows, limit):
    rings, number = _column(rows, "ring"), _column(rows, "n_star")
    good = np.isfinite(rings)
    value = float(np.median(rings[good])) if good.any() else math.nan
    note = "" if good.any() else "no bright, unsaturated star"
    count = int(number[good].sum())
    return Check("artefacts", "rings around stars", band, value, limit, count=count, note=note)


def checks_mean(outputs, *, periods=(2, 4), limits=ArtefactLimits()):
    """
    Judge the mean of many outputs, in which what all have in common shows.

    Parameters
    ----------
    outputs : sequence of mappings of str to `~astropy.nddata.CCDData`
        Outputs of different fields.  Those of the most frequent shape are averaged.
    periods : sequence of float, optional
        Of patterns to look for, in output pixels.
    limits : `ArtefactLimits`, optional
        Limits.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: patterns, and large-scale structure.  The count is that of the outputs;
        with fewer than 4 nothing is measured.
    """
    checks = []
    for band in dict.fromkeys(band for output in outputs for band in output):
        images = [sky_units({band: one[band]})[band] for one in outputs if band in one]
        shape = Counter(image.shape for image in images).most_common(1)[0][0]
        checks += _mean_checks(band, [i for i in images if i.shape == shape], periods, limits)
    return checks


def _mean_checks(band, images, periods, limits):
    names = ("pattern in the mean output", "large-scale structure of the mean output")
    if len(images) < 4:
        note = f"needs at least 4 fields of one shape; got {len(images)}"
        own = (limits.mean_line, limits.mean_low_frequency)
        return [
            Check("artefacts", name, band, math.nan, limit, _UNIT, note=note)
            for name, limit in zip(names, own, strict=True)
        ]
    mean, count = mean_output(images)
    # Where a single galaxy left sky in few images, the mean is not one of many.
    free = count >= max(2, len(images) // 4)
    lines = pattern_lines(mean, free=free, periods=periods)
    found = np.where(lines["found"], lines["amplitude"], 0.0)
    rows = QTable({"line": [found.max()], "faintest": [np.max(lines["faintest"])]})
    pattern = _line_check(names[0], band, rows, "line", limits.mean_line)
    rms, error = low_frequency_residual(mean - np.nanmedian(mean), free=free)
    limit, number = limits.mean_low_frequency, len(images)
    options = {"unit": _UNIT, "error": error, "count": number, "known": True}
    wide = judge("artefacts", names[1], band, rms, limit, **options)
    return [pattern, wide]


def checks_symmetry(table, *, bands=None, limits=ArtefactLimits()):
    """
    Judge what turning the field changes.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Rows of `symmetry_residual`, of one field or many.
    bands : sequence of str, optional
        Bands to judge; those of the table.
    limits : `ArtefactLimits`, optional
        Limits.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: the worst turn of the worst field, in the sky and in sources.
    """
    checks = []
    for band in list(dict.fromkeys(table["band"])) if bands is None else bands:
        rows = table[table["band"] == band]
        for key, limit, unit in (
            ("sky", limits.symmetry_sky, _UNIT),
            ("sources", limits.symmetry_sources, ""),
        ):
            values = _column(rows, key)
            values = values[np.isfinite(values)]
            value = float(values.max()) if len(values) else math.nan
            note = "" if len(values) else f"no {key}"
            name = f"change by turning, {key}"
            checks.append(
                Check("artefacts", name, band, value, limit, unit, count=len(values), note=note)
            )
    return checks
