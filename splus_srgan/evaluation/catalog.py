# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The list of a field's sources, known or found, and which of them can be measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.evaluation.apertures import aperture_flux
from splus_srgan.evaluation.shapes import fwhm, star_image
from splus_srgan.evaluation.sources import any_within, detect, inside, isolated
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["list_sources", "usable"]

_POINTLIKE = (0.2, 1.3)  # tolerance of the width, relative to that of the PSF; largest elongation


def list_sources(
    bands: Mapping[str, ComparedBand],
    *,
    known: Table | None = None,
    detection_band: str | None = None,
) -> Table:
    """
    List the sources of a field, with fluxes in the unit of its images.

    Known sources are taken as they are, their fluxes brought to the unit of the images
    by the zero point, or where that is not known, by the brightest of them.  Otherwise
    sources are found in one band (of the truth where it has no noise, else of the input),
    stars told by their width, and fluxes measured in apertures of 3 arcsec.

    Parameters
    ----------
    bands : dict of str to `~splus_srgan.evaluation.compared.ComparedBand`
        Bands of a field.
    known : `~astropy.table.Table`, optional
        Columns ``kind``, ``x``, ``y`` and ``flux_<band>``; others are not needed.
    detection_band : str, optional
        Band to find sources in; by default ``"r"``, or the first.

    Returns
    -------
    sources : `~astropy.table.Table`
        ``x, y`` (input pixels), ``kind`` (``"star"`` or another), ``size`` (half-light
        radius in arcsec, 0 where not known) and ``flux_<band>``.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> from splus_srgan.evaluation.catalog import list_sources
    >>> empty = ComparedBand("r", np.zeros((32, 32)), np.zeros((64, 64)), 1.0)
    >>> len(list_sources({"r": empty}))
    0
    """
    if known is not None:
        return _known_sources(bands, known)
    if detection_band is None:
        detection_band = "r" if "r" in bands else next(iter(bands))
    chosen = bands[detection_band]
    use_truth = chosen.target is not None and chosen.noise_free
    image = present(chosen.seen_target if use_truth else chosen.input)
    found, _ = detect(image, chosen.sigma)
    sources = Table({"x": found["x"], "y": found["y"]})
    sources["size"] = np.zeros(len(found))
    sources["kind"] = np.where(_is_pointlike(chosen, image, found), "star", "galaxy").astype("U8")
    for name, band in bands.items():
        image = present(band.seen_target if use_truth else band.input)
        sources[f"flux_{name}"] = _own_flux(band, image, sources)
    return sources


def _own_flux(band: ComparedBand, image: FloatArray, sources: Table) -> FloatArray:
    return aperture_flux(
        image,
        sources["x"],
        sources["y"],
        radius=3.0,
        annulus=(5.0, 8.0),
        mask=band.mask,
        pixel_scale=band.pixel_scale,
    )[0]


def _is_pointlike(band: ComparedBand, image: FloatArray, found: Table) -> BoolArray:
    if band.psf is None or not len(found):
        return np.zeros(len(found), bool)
    tolerance, elongation = _POINTLIKE
    scale: dict[str, Any] = {"pixel_scale": band.pixel_scale}
    width = fwhm(image, found["x"], found["y"], **scale)
    # A Gaussian fitted to a star is a little wider than its FWHM: by how much, the PSF tells.
    star = star_image(band.psf, **scale)
    middle = [star.shape[0] // 2]
    expected = fwhm(star, middle, middle, **scale)
    return (abs(width / expected - 1) < tolerance) & (found["elongation"] < elongation)


def _known_sources(bands: Mapping[str, ComparedBand], known: Table) -> Table:
    """A catalog with the same columns, in the unit of the images."""
    plain = {name: getattr(known[name], "value", known[name]) for name in known.colnames}
    sources = Table({"x": np.asarray(plain["x"], float), "y": np.asarray(plain["y"], float)})
    size = plain.get("half_light_radius", np.zeros(len(known)))
    sources["size"] = np.asarray(size, float)
    sources["kind"] = np.asarray(plain["kind"]).astype("U8")
    for name, band in bands.items():
        flux = np.asarray(plain[f"flux_{name}"], float)
        sources[f"flux_{name}"] = flux * _unit_of_catalog(band, sources, flux)
    return sources


def _unit_of_catalog(band: ComparedBand, sources: Table, flux: FloatArray) -> float:
    """Flux in the image for each nanomaggie of the catalog."""
    if np.isfinite(band.zero_point):
        return 10 ** (0.4 * (band.zero_point - 22.5))
    image = present(band.input if band.target is None else band.seen_target)
    good = inside(sources["x"], sources["y"], image.shape, 3.0, pixel_scale=band.pixel_scale)
    good &= (flux > 0) & ~any_within(
        band.bad, sources["x"], sources["y"], 3.0, pixel_scale=band.pixel_scale
    )
    chosen = np.flatnonzero(good)[np.argsort(-flux[good])[:5]]
    if not len(chosen):
        return 1.0
    measured = _own_flux(band, image, sources[chosen])
    measured, flux = measured[np.isfinite(measured)], flux[chosen][np.isfinite(measured)]
    if not len(measured):
        return 1.0
    return float(np.median(measured / flux))


def usable(
    band: ComparedBand,
    sources: Table,
    *,
    radius: float,
    annulus: tuple[float, float],
    apart: float,
    share: float = 0.03,
) -> BoolArray:
    """
    Tell which sources can be measured in apertures.

    Those that are isolated, without saturated or missing pixels, away from the border,
    and not much larger than the aperture.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band.
    sources : `~astropy.table.Table`
        As of `list_sources`.
    radius : float
        Radius of the aperture, arcsec.
    annulus : tuple of float
        Radii of the annulus, arcsec.
    apart : float
        Within how many arcsec no other source may be brighter than ``share``.
    share : float, optional
        Share of a source's flux.

    Returns
    -------
    usable : `~numpy.ndarray` of bool, shape (n,)
        Which.
    """
    x, y, flux = (np.asarray(sources[name]) for name in ("x", "y", f"flux_{band.name}"))
    scale: dict[str, Any] = {"pixel_scale": band.pixel_scale}
    good = inside(x, y, band.shape, annulus[1] + 0.6, **scale) & (flux > 0)
    good &= isolated(x, y, flux, distance=apart, share=share, **scale)
    good &= ~any_within(band.bad, x, y, annulus[1], **scale)
    return good & (np.asarray(sources["size"]) < 2 * radius)
