# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Fluxes of sources in the output, against the target and against the input.

A sharper image rightly has more flux within a small aperture, so nothing is compared
naively: output and target are at one PSF, and the output is convolved to the PSF of the
input before it is compared with that, in wide apertures.  Offsets are
``2.5 log10(made / reference)``: positive is too bright.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table, vstack

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.catalog import usable
from splus_srgan.evaluation.sources import quadrants
from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.utils.types import FloatArray

__all__ = [
    "APERTURES",
    "compare_fluxes",
    "curve_of_growth",
]

APERTURES: dict[str, dict[str, Any]] = {
    "target": {"radius": 3.0, "annulus": (5.0, 8.0), "apart": 8.0},
    "input": {"radius": 6.0, "annulus": (8.0, 12.0), "apart": 10.0},
}
"""Radius, annulus, and distance of neighbors (arcsec) by what the output is compared with."""

RADII = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
_MAG = 2.5 / np.log(10)
_LEAST_SNR = 20
_COLUMNS = ("x", "y", "reference", "snr", "error", "offset")


def compare_fluxes(
    field: ComparedField,
    *,
    against: Literal["target", "input"] | None = None,
    least_snr: float = _LEAST_SNR,
    share: float = 0.03,
    **aperture: Any,
) -> Table:
    r"""
    Compare the fluxes of a field's sources with those of the target or of the input.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.
    against : {"target", "input"}, optional
        What to compare with; both by default.  The target: both at one PSF, radius 3 arcsec.
        The input: the output at its PSF, radius 6 arcsec.
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
        A row per source: ``field, band, against, kind, x, y, reference`` (flux), ``snr``,
        ``error`` (mag, what the input's noise does to the flux), ``offset`` (mag,
        NaN where the output has no flux) and ``quadrant``
        (`~splus_srgan.evaluation.sources.quadrants`).  Empty where there is no source, or no
        target.

    Notes
    -----
    The error of an offset against the input is ``error``, since the input's noise is in
    one of both only.  Against the target, ``error`` is what an ideal output would have.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.measure.photometry import compare_fluxes
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> simulated = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    >>> pair = EvaluationPair.from_simulation(simulated, name="stars")
    >>> field = compare_field(pair, pair.target, output_psf=(1.0, 3.0))
    >>> field.bands["r"].output = 1.02 * field.bands["r"].target  # 2 % too bright
    >>> rows = compare_fluxes(field, against="target")
    >>> len(rows) > 0, round(float(rows["offset"][0]), 3)
    (True, 0.022)
    """
    references = tuple(APERTURES) if against is None else (against,)

    def measure(band: ComparedBand) -> Table:
        tables = [
            _compare(band, field.sources, one, least_snr, share, aperture, coarse=False)
            for one in references
        ]
        return vstack(tables)

    return field.each(measure)


def _compare(
    band: ComparedBand,
    sources: Table,
    against: str,
    least_snr: float,
    share: float,
    aperture: Mapping[str, Any],
    *,
    coarse: bool,
) -> Table:
    """Rows of `compare_fluxes`; ``coarse``: the output on the pixels of the input."""
    check_one_of("against", against, tuple(APERTURES))
    place = {**APERTURES[against], **aperture}
    if against == "target" and band.target is None:
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


def _images(band: ComparedBand, against: str, coarse: bool) -> tuple[Any, ...]:
    """The output and what it is compared with, at one PSF, and how fine each is."""
    if against == "target":
        return (*band.matched, 2, 2)
    # Coarse pixels blur the edge of an aperture: 1.5 % of the flux within 1 arcsec, nothing
    # within 6.
    if coarse:
        return band.seen_output, band.input, 1, 1
    return band.blurred_output, band.input, 2, 1


def _flux(
    band: ComparedBand, image: FloatArray, chosen: Table, place: Mapping[str, Any], factor: int
) -> Any:
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


def _noise(band: ComparedBand, flux: FloatArray, free: Any, radius: float) -> FloatArray:
    return aperture_noise(
        flux,
        free,
        radius=radius,
        sigma=band.sigma,
        electrons=band.electrons,
        pixel_scale=band.pixel_scale,
    )


def _rows(band: ComparedBand, against: str, kind: Any = (), *values: Any) -> Table:
    """A table of results, with the same columns where it is empty."""
    table = Table()
    table["band"] = np.full(len(kind), band.name, "U16")
    table["against"] = np.full(len(kind), against, "U8")
    table["kind"] = np.asarray(kind, "U8")
    for name, column in zip(_COLUMNS, values or len(_COLUMNS) * ((),), strict=True):
        table[name] = np.asarray(column, float)
    table["quadrant"] = quadrants(np.asarray(table["x"]), np.asarray(table["y"]), band.shape)
    for name, unit in {
        "x": u.pix,
        "y": u.pix,
        "error": u.Unit("mag"),
        "offset": u.Unit("mag"),
    }.items():
        table[name].unit = unit
    return table


def curve_of_growth(
    field: ComparedField, *, radii: Sequence[float] = RADII, least_snr: float = _LEAST_SNR
) -> Table:
    """
    Compare fluxes with the target's in apertures of several radii.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Field.
    radii : sequence of float, optional
        Radii of the apertures, arcsec.
    least_snr : float, optional
        As for `compare_fluxes`.

    Returns
    -------
    rows : `~astropy.table.Table`
        As of `compare_fluxes`, with a column ``radius`` (arcsec).  All radii have the
        same annulus and the same isolated sources; a source counts where its flux in the
        aperture has the signal-to-noise ratio.
    """
    place = APERTURES["input"] | {"annulus": (max(8.0, max(radii)), max(12.0, max(radii) + 4))}

    def measure(band: ComparedBand) -> Table:
        tables = []
        for radius in radii:
            own = place | {"radius": radius}
            rows = _compare(band, field.sources, "target", least_snr, 0.03, own, coarse=True)
            rows["radius"] = np.full(len(rows), float(radius)) * u.arcsec
            tables.append(rows)
        return vstack(tables, metadata_conflicts="silent")

    return field.each(measure)
