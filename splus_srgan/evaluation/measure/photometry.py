# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Fluxes of sources in the output, against the truth and against the input.

A sharper image rightly has more flux within a small aperture, so nothing is compared
naively: output and truth are at one PSF, and the output is convolved to the PSF of the
input before it is compared with that, in wide apertures.  Offsets are
``2.5 log10(made / reference)``: positive is too bright.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise, area_noise
from splus_srgan.evaluation.catalog import usable
from splus_srgan.evaluation.statistics import excess_scatter, judge, median_error, robust_std
from splus_srgan.utils.validate import check_one_of

__all__ = [
    "APERTURES",
    "PhotometryLimits",
    "checks_photometry",
    "compare_colors",
    "compare_fluxes",
    "curve_of_growth",
]

APERTURES = {
    "truth": {"radius": 3.0, "annulus": (5.0, 8.0), "apart": 8.0},
    "input": {"radius": 6.0, "annulus": (8.0, 12.0), "apart": 10.0},
}
"""Radius, annulus, and distance of neighbors (arcsec) by what the output is compared with."""
"""Bins of the signal-to-noise ratio of a source in the input."""

RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_MAG = 2.5 / np.log(10)
_LEAST_SNR = 20
_COLUMNS = ("x", "y", "reference", "snr", "error", "offset")


@dataclass(frozen=True)
class PhotometryLimits:
    """
    What photometry has to keep to count as safe.

    Parameters
    ----------
    offset : float, optional
        Largest median offset of a flux, mag.
    scatter : float, optional
        Largest scatter of a flux beyond the input's noise, mag.
    color : float, optional
        Largest median offset of a color, mag.
    growth : float, optional
        Largest median offset in any aperture of a curve of growth, mag.
    """

    offset: float = 0.01
    scatter: float = 0.03
    color: float = 0.01
    growth: float = 0.02


def compare_fluxes(band, sources, *, against="truth", least_snr=_LEAST_SNR, share=0.03, **aperture):
    r"""
    Compare the fluxes of a band's sources with those of the truth or of the input.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band.
    sources : `~astropy.table.Table`
        As of `~splus_srgan.evaluation.catalog.list_sources`.
    against : {"truth", "input"}, optional
        What to compare with.  The truth: both at one PSF, radius 3 arcsec.  The input:
        the output at its PSF, radius 6 arcsec.
    least_snr : float, optional
        Sources with less in the aperture (by the reference's flux and the input's noise)
        are left out.
    share : float, optional
        Flux that a neighbor may have, as a share of the source's.
    **aperture
        ``radius``, ``annulus`` and ``apart`` (arcsec), where not those of ``APERTURES``.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source: ``band, against, kind, x, y, reference`` (flux), ``snr``,
        ``error`` (mag, what the input's noise does to the flux) and ``offset`` (mag,
        NaN where the output has no flux).  Empty where there is no source, or no truth.

    Notes
    -----
    The error of an offset against the input is ``error``, since the input's noise is in
    one of both only.  Against the truth, ``error`` is what an ideal output would have.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.compared import compared_bands
    >>> from splus_srgan.evaluation.catalog import list_sources
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> from splus_srgan.evaluation.measure.photometry import compare_fluxes
    >>> field = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(field, name="stars")
    >>> bands = compared_bands(pair, pair.target, output_psf=(1.0, 3.0))
    >>> bands["r"].output = 1.02 * bands["r"].truth  # 2 % too bright
    >>> rows = compare_fluxes(bands["r"], list_sources(bands, known=pair.sources))
    >>> len(rows) > 0, round(float(rows["offset"][0]), 3)
    (True, 0.022)
    """
    return _compare(band, sources, against, least_snr, share, aperture, coarse=False)


def _compare(band, sources, against, least_snr, share, aperture, *, coarse):
    """Rows of `compare_fluxes`; ``coarse``: the output on the pixels of the input."""
    check_one_of("against", against, tuple(APERTURES))
    place = APERTURES[against] | aperture
    if against == "truth" and band.truth is None:
        return _rows(band, against)
    good = usable(band, sources, share=share, **place)
    # What could be bright enough, by the list of sources; the aperture decides.
    area = np.pi * (place["radius"] / band.pixel_scale) ** 2
    good &= np.asarray(sources[f"flux_{band.name}"]) > least_snr / 4 * band.sigma * area_noise(area)
    chosen = sources[good]
    made, reference, made_factor, factor = _images(band, against, coarse)
    expected, free = _flux(band, reference, chosen, place, factor)
    found, _ = _flux(band, made, chosen, place, made_factor)
    noise = _noise(band, expected, free, place["radius"])
    with np.errstate(invalid="ignore", divide="ignore"):
        keep = (expected > least_snr * noise) & (free > 0.25 * area)
    chosen, expected, found, noise = (a[keep] for a in (chosen, expected, found, noise))
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = np.where(found > 0, _MAG * np.log(found / expected), np.nan)
    values = (chosen["x"], chosen["y"], expected, expected / noise, _MAG * noise / expected, offset)
    return _rows(band, against, chosen["kind"], *values)


def _images(band, against, coarse):
    """The output and what it is compared with, at one PSF, and how fine each is."""
    if against == "truth":
        return (*band.matched, 2, 2)
    # Coarse pixels blur the edge of an aperture: 1.5 % of the flux within 1 arcsec, nothing
    # within 6.
    if coarse:
        return band.seen_output, band.image, 1, 1
    return band.blurred_output, band.image, 2, 1


def _flux(band, image, chosen, place, factor):
    return aperture_flux(
        image,
        np.asarray(chosen["x"]),
        np.asarray(chosen["y"]),
        radius=place["radius"],
        annulus=place["annulus"],
        factor=factor,
        mask=band.mask,
        pixel_scale=band.pixel_scale,
    )


def _noise(band, flux, free, radius):
    return aperture_noise(
        flux,
        free,
        radius=radius,
        sigma=band.sigma,
        electrons=band.electrons,
        pixel_scale=band.pixel_scale,
    )


def _rows(band, against, kind=(), *values):
    """A table of results, with the same columns where it is empty."""
    table = Table()
    table["band"] = np.full(len(kind), band.name, "U16")
    table["against"] = np.full(len(kind), against, "U8")
    table["kind"] = np.asarray(kind, "U8")
    for name, column in zip(_COLUMNS, values or len(_COLUMNS) * ((),), strict=True):
        table[name] = np.asarray(column, float)
    for name, unit in {"x": u.pix, "y": u.pix, "error": u.mag, "offset": u.mag}.items():
        table[name].unit = unit
    return table


def curve_of_growth(band, sources, *, against="truth", radii=RADII, least_snr=_LEAST_SNR):
    """
    Compare fluxes in apertures of several radii.

    Parameters
    ----------
    band, sources, against, least_snr
        As for `compare_fluxes`.
    radii : sequence of float, optional
        Of the apertures, arcsec.

    Returns
    -------
    rows : `~astropy.table.Table`
        As of `compare_fluxes`, with a column ``radius`` (arcsec).  All radii have the
        same annulus and the same isolated sources; a source counts where its flux in the
        aperture has the signal-to-noise ratio.
    """
    place = APERTURES["input"] | {"annulus": (max(8.0, max(radii)), max(12.0, max(radii) + 4))}
    tables = []
    for radius in radii:
        own = place | {"radius": radius}
        rows = _compare(band, sources, against, least_snr, 0.03, own, coarse=True)
        rows["radius"] = np.full(len(rows), float(radius)) * u.arcsec
        tables.append(rows)
    return vstack(tables, metadata_conflicts="silent")


def compare_colors(rows, *, bands):
    """
    Compare colors of neighboring bands, from the offsets of fluxes.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_fluxes` for several bands, of one field (or with a column ``field``).
    bands : sequence of str
        Bands in order; each gives a color with the next one.

    Returns
    -------
    colors : `~astropy.table.Table`
        A row per source and color: ``band`` (such as ``"g-r"``), ``against, kind, x, y``,
        ``snr`` (the lower one), ``error`` and ``offset`` (mag; positive is too red).

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.evaluation.measure.photometry import compare_colors
    >>> rows = Table({"band": ["g", "r"], "kind": ["star"] * 2, "x": [5.0] * 2, "y": [6.0] * 2,
    ...               "snr": [30.0, 50.0], "error": [0.03, 0.04], "offset": [0.01, 0.03]})
    >>> colors = compare_colors(rows, bands="gr")
    >>> str(colors["band"][0]), round(float(colors["offset"][0]), 3)
    ('g-r', 0.02)
    """
    result = []
    keys = [key for key in ("field", "against", "x", "y") if key in rows.colnames]
    places = {
        band: {tuple(row[key] for key in keys): row for row in rows[rows["band"] == band]}
        for band in bands
    }
    for blue, red in pairwise(bands):
        for place in places[blue].keys() & places[red].keys():
            one, other = places[blue][place], places[red][place]
            result.append(
                {
                    "band": f"{blue}-{red}",
                    "against": one["against"] if "against" in keys else "",
                    "kind": one["kind"],
                    "x": place[-2],
                    "y": place[-1],
                    "snr": min(one["snr"], other["snr"]),
                    "error": np.hypot(one["error"], other["error"]),
                    # Magnitude blue minus red: too much red light makes it larger.
                    "offset": other["offset"] - one["offset"],
                }
            )
    names = ("band", "against", "kind", "x", "y", "snr", "error", "offset")
    if not result:
        return Table(names=names, dtype=("U33", "U8", "U8", *(5 * [float])))
    result.sort(key=lambda row: (row["band"], row["against"], row["x"], row["y"]))
    return Table(rows=result, names=names)


def _line(rows):
    """Median, its error, scatter, noise and the scatter beyond it."""
    offset, error = np.asarray(rows["offset"], float), np.asarray(rows["error"], float)
    finite = np.isfinite(offset)
    offset, error = offset[finite], error[finite]
    if not offset.size:
        return 5 * (np.nan,)
    return (
        np.median(offset),
        median_error(offset),
        robust_std(offset),
        np.median(error),
        excess_scatter(offset, error),
    )


def checks_photometry(rows, *, bands, colors=None, growth=None, limits=PhotometryLimits()):
    """
    Judge fluxes, colors and the curve of growth.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `compare_fluxes`, of one or many fields, against the truth, the input or both.
    bands : sequence of str
        Bands to judge; one without sources is "not measured".
    colors : `~astropy.table.Table`, optional
        As of `compare_colors`.
    growth : `~astropy.table.Table`, optional
        As of `curve_of_growth`.
    limits : `PhotometryLimits`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Median offset, scatter beyond the noise, and lost sources, for each band and
        reference; then the colors and the curve of growth.
    """
    checks = []
    for against in dict.fromkeys(rows["against"]) if len(rows) else ("truth",):
        for band in bands:
            mine = rows[(rows["band"] == band) & (rows["against"] == against)]
            checks += _flux_checks(mine, band, against, limits)
    for pair, against in _groups_of_colors(colors):
        chosen = (colors["band"] == pair) & (colors["against"] == against)
        name = f"median offset of {pair} against the {against}"
        checks.append(_median_check(name, "", _finite_offsets(colors[chosen]), limits.color))
    for band in bands if growth is not None else ():
        checks.append(_growth_check(growth[growth["band"] == band], band, limits))
    return checks


def _groups_of_colors(colors):
    """Each color and what it was compared with."""
    if colors is None:
        return ()
    return dict.fromkeys(zip(colors["band"], colors["against"], strict=True))


def _finite_offsets(rows):
    offset = np.asarray(rows["offset"], float)
    return offset[np.isfinite(offset)]


def _median_check(name, band, values, limit, note=""):
    return judge(
        "photometry",
        name,
        band,
        np.median(values) if values.size else np.nan,
        limit,
        unit="mag",
        error=median_error(values),
        count=values.size,
        note=note,
    )


def _flux_checks(rows, band, against, limits):
    """Median, scatter and losses of one band against one reference."""
    values = _finite_offsets(rows)
    _, _, scatter, _, beyond = _line(rows)
    lost = len(rows) - values.size
    return [
        _median_check(f"median flux offset against the {against}", band, values, limits.offset),
        judge(
            "photometry",
            f"flux scatter beyond the noise against the {against}",
            band,
            beyond,
            limits.scatter,
            unit="mag",
            error=scatter / np.sqrt(2 * max(values.size, 1)),
            count=values.size,
        ),
        judge(
            "photometry",
            f"sources without flux against the {against}",
            band,
            float(lost) if len(rows) else np.nan,
            0.5,
            error=0.0,
            count=len(rows),
        ),
    ]


def _growth_check(rows, band, limits):
    """The aperture with the largest median offset of those with a usable error."""
    worst, error, count, note = np.nan, np.nan, 0, ""
    for radius in np.unique(np.asarray(rows["radius"])) if len(rows) else ():
        values = _finite_offsets(rows[np.asarray(rows["radius"]) == radius])
        if values.size < 3 or not median_error(values) < limits.growth:
            continue
        if not abs(np.median(values)) <= abs(worst):
            worst, error = np.median(values), median_error(values)
            count, note = values.size, f"in r = {radius:g} arcsec"
    return judge(
        "photometry",
        "worst median offset of the curve of growth",
        band,
        worst,
        limits.growth,
        unit="mag",
        error=error,
        count=count,
        note=note,
    )
