# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Maps of an emission line from images in three bands."""

from __future__ import annotations

import warnings
from functools import cache
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty

from splus_srgan.exceptions import PSFMismatchWarning
from splus_srgan.images.bands import tidy_band
from splus_srgan.images.header import stated_fwhm
from splus_srgan.images.io.fields import correlation_card
from splus_srgan.images.stacks import split_stack
from splus_srgan.images.units import nanomaggies_of
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.simulate.bandpasses import WAVELENGTHS, bandpass
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_finite, check_one_of, is_number, present

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from splus_srgan.utils.types import BoolArray, FloatArray, Images

__all__ = ["line_map", "line_weights"]

_BANDS = ("r", "J0660", "i")
_WAVELENGTH = {"halpha": 6564.6}  # Angstrom, in vacuum
_LEAST = 0.5  # of the peak of J0660 at the line: below, the curve of the continuum counts more
_ALIKE = 1.05  # ratio of the widths of PSFs
_FLUX = u.erg / u.s / u.cm**2
_DENSITY = _FLUX / u.AA


@cache
def line_weights(line: Literal["halpha"] = "halpha", redshift: float = 0.0) -> tuple[float, ...]:
    r"""
    Weights of the flux densities in r, J0660 and i that give the flux of a line.

    The continuum is taken as linear in wavelength, and the line as narrow, so that the mean
    flux density in a band of response :math:`T` is

    .. math:: \bar{F} = M \alpha + N + \beta F, \qquad
              \alpha = \frac{\int \lambda^2 T d\lambda}{\int \lambda T d\lambda}, \qquad
              \beta = \frac{\lambda_l T(\lambda_l)}{\int \lambda T d\lambda}

    and three bands give :math:`M`, :math:`N` and the flux :math:`F` (the three-filter method,
    Vilella-Rojo et al. 2015, A&A 580, A47).

    Parameters
    ----------
    line : {"halpha"}, optional
        Line: :math:`H\alpha`, with [NII] beside it.
    redshift : float, optional
        Redshift of the line.

    Returns
    -------
    weights : tuple of float
        Weights of r, J0660 and i, in Angstrom.

    Raises
    ------
    ValueError
        If the line is unknown, or not in J0660 at this redshift.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.lines import line_weights
    >>> [round(weight) for weight in line_weights()]
    [-128, 165, -37]
    """
    check_one_of("line", line, tuple(_WAVELENGTH))
    place = _WAVELENGTH[line] * (1 + check_finite("redshift", redshift))
    if not bandpass("J0660", place) > _LEAST:
        raise ValueError(
            f"redshift must leave {line} in J0660 (6540 to 6687 Angstrom); got {redshift!r}, which "
            f"puts it at {place:.0f}"
        )
    rows = []
    for band in _BANDS:
        photons = WAVELENGTHS * bandpass(band, WAVELENGTHS)
        total = photons.sum() * (WAVELENGTHS[1] - WAVELENGTHS[0])
        alpha = (WAVELENGTHS * photons).sum() / photons.sum()
        rows.append((alpha / 1000, 1.0, place * float(bandpass(band, place)) / total))
    return tuple(np.linalg.inv(rows)[2].tolist())


@numpy_defaults
def line_map(
    images: Images,
    *,
    line: Literal["halpha"] = "halpha",
    redshift: float = 0.0,
    correlation: float | None = None,
) -> CCDData:
    r"""
    Map the flux of a line from images in r, J0660 and i.

    Parameters
    ----------
    images : mapping of str to `~astropy.nddata.NDData`, or `~astropy.nddata.NDData`
        Band to image, ``(ny, nx)``, or a stack ``(n_band, ny, nx)`` with the names of its bands in
        ``meta["BANDS"]``: on one grid and *at one PSF*, with a unit of flux density per pixel
        (such as nmgy, or erg / (s cm2 Angstrom)); sky subtracted.  Other bands may be there, too.
    line : {"halpha"}, optional
        Line: :math:`H\alpha`, with [NII] beside it.
    redshift : float, optional
        Redshift of the line.
    correlation : float, optional
        Correlation of the errors of any two of the bands, from -0.5 to 1.  By default that of
        the cards ``SRCR``, ``SRCJ0660`` and ``SRCI`` of the images, with which the enhancer says
        how alike the errors of bands are that were restored together, and 0 where there are none.

    Returns
    -------
    flux : `~astropy.nddata.CCDData`
        Flux per pixel in erg / (s cm2), ``(ny, nx)``, with WCS and PSF of the J0660 image, the
        masks and flags of all three, and, where all three have uncertainties, its standard
        deviation.  The header names line and redshift, and how the images were made, as far as
        their headers agree on it.

    Raises
    ------
    ValueError
        If a band is missing, shapes differ, a unit is no flux density, the line is not in
        J0660 at this redshift, or the correlation is out of range.

    Notes
    -----
    See `line_weights`.  [NII] leaves the filter before the line does: above a redshift of 0.014 the
    map holds a part of it, at 0.016 two fifths.  A continuum that is curved counts as line, the
    more the less of the line the filter lets through.  Dust and the light of old stars under the
    line are not corrected.  With weights :math:`w_i`, standard deviations :math:`\sigma_i` and
    correlations :math:`\rho_{ij}`, the variance is
    :math:`\sum_{ij} w_i w_j \rho_{ij} \sigma_i \sigma_j`.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.evaluation.measure.lines import line_map
    >>> flat = {band: CCDData(np.ones((2, 2)), unit="erg/(s cm2 AA)") for band in ("r", "i")}
    >>> flat["J0660"] = CCDData(np.full((2, 2), 2.0), unit="erg/(s cm2 AA)")
    >>> round(float(line_map(flat).data[0, 0]))
    165
    """
    weights = line_weights(line, redshift)
    if isinstance(images, NDData):
        images = split_stack(images)
    known = {tidy_band(band): image for band, image in images.items()}
    missing = [band for band in _BANDS if band not in known]
    if missing:
        raise ValueError(f"images must have the bands r, J0660 and i; {missing[0]} is missing")
    chosen = [known[band] for band in _BANDS]
    if len({np.shape(image.data) for image in chosen}) > 1:
        shapes = ", ".join(f"{b} {np.shape(known[b].data)}" for b in _BANDS)
        raise ValueError(f"images must have one shape; got {shapes}")
    _warn_of_seeing(chosen)
    factors = [_density_factor(band, known[band].unit) for band in _BANDS]
    parts = [w * f for w, f in zip(weights, factors, strict=True)]
    flux = sum(p * np.asarray(one.data, float) for p, one in zip(parts, chosen, strict=True))
    narrow = known["J0660"]
    return CCDData(
        flux,
        unit=_FLUX,
        wcs=narrow.wcs,
        mask=_any_mask(chosen),
        uncertainty=_deviation(parts, chosen, _correlations(chosen, correlation)),
        flags=_any_flags(chosen),
        psf=getattr(narrow, "psf", None),
        meta=_header(chosen, line, redshift),
    )


def _warn_of_seeing(images: Sequence[Any]) -> None:
    """Warn of images whose headers state PSFs of different widths."""
    widths = [stated_fwhm(image.meta or {}) for image in images]
    if max(widths) > _ALIKE * min(widths):  # not where one is unknown: NaN
        stated = ", ".join(f"{b} {w:.2f}" for b, w in zip(_BANDS, widths, strict=True))
        warnings.warn(
            f"images must be at one PSF, or the map has rings around all that is compact; their "
            f"headers state a FWHM of {stated} arcsec: enhance them, or bring them to the widest",
            PSFMismatchWarning,
            stacklevel=4,
        )


def _correlations(images: Any, given: Any) -> FloatArray:
    """Matrix of the correlations of the errors, ``(3, 3)``."""
    if given is not None and not -0.5 <= check_finite("correlation", given) <= 1:
        # Three errors cannot all be more opposed than that.
        raise ValueError(f"correlation must be from -0.5 to 1; got {given!r}")
    matrix = np.eye(len(images))
    for i, j in combinations(range(len(images)), 2):
        stated = (images[i].meta or {}).get(correlation_card(_BANDS[j]))
        # Another program's card of this name may say anything.
        known = stated if is_number(stated) and -1 <= stated <= 1 else 0.0
        matrix[i, j] = matrix[j, i] = known if given is None else given
    return matrix


def _density_factor(band: str, unit: Any) -> float:
    """What a value in a unit is multiplied with to be in erg / (s cm2 Angstrom)."""
    nanomaggies = nanomaggies_of(unit, band)
    if nanomaggies is None:
        raise ValueError(
            f"images must have a unit of flux density, such as nmgy; that of {band} is "
            f"{unit}: calibrate them with their zero points"
        )
    return nanomaggies / present(nanomaggies_of(_DENSITY, band))


def _header(images: Sequence[Any], line: str, redshift: float) -> fits.Header:
    """Line and redshift, and the provenance that the images have in common."""
    header = fits.Header()
    header["LINE"] = (line, "line of which this is the flux")
    header["REDSHIFT"] = (redshift, "of the line")
    first, *others = [image.meta or {} for image in images]
    for key, value in first.items():
        # Correlations belong to a band.
        ours = str(key).startswith("SR") and not str(key).startswith("SRC")
        if ours and all(other.get(key) == value for other in others):
            header[key] = (value, first.comments[key] if isinstance(first, fits.Header) else "")
    return header


def _any_flags(images: Sequence[Any]) -> Any:
    """Flags that any of the images has, `None` where none has flags."""
    planes: list[Any] = [getattr(image, "flags", None) for image in images]
    known = [plane for plane in planes if np.shape(plane) == np.shape(images[0].data)]
    return np.bitwise_or.reduce(known) if known else None


def _any_mask(images: Sequence[Any]) -> BoolArray | None:
    masks = [np.asarray(image.mask, bool) for image in images if image.mask is not None]
    return np.any(np.broadcast_arrays(*masks), axis=0) if masks else None


def _deviation(parts: Any, images: Any, correlations: Any) -> Any:
    if any(image.uncertainty is None for image in images):
        return None
    deviations = [np.asarray(uncertainty_array(one, StdDevUncertainty), float) for one in images]
    terms = [p * one for p, one in zip(parts, deviations, strict=True)]
    pairs = product(range(len(terms)), repeat=2)
    # Errors that are not known are infinite in one band, or NaN: then that of the line is, too.
    with np.errstate(invalid="ignore"):
        total = sum(correlations[i, j] * terms[i] * terms[j] for i, j in pairs)
    return StdDevUncertainty(np.sqrt(np.maximum(total, 0)))
