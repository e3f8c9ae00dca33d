# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Units of pixel values: how they are spelled in files, and how they scale with pixel size."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from astropy import units as u

from splus_srgan import splus
from splus_srgan.utils.quiet import own_filters
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.units import UnitBase

__all__ = ["flux_per_pixel_factor", "nanomaggies_of", "parse_unit", "pixels_for_pixel"]

# Spellings met in BUNIT cards that astropy does not take.
_SPELLINGS = {
    "count": "ct",
    "counts": "ct",
    "cts": "ct",
    "e-": "electron",
    "e": "electron",
    "electrons": "electron",
    "photons": "ph",
    "photon": "ph",
    "dn": "DN",
    "adu": "adu",
    "adus": "adu",
    "maggies": "mgy",
    "maggy": "mgy",
    "nanomaggies": "nmgy",
    "nanomaggy": "nmgy",
    "nmgys": "nmgy",
    "nmgy": "nmgy",
    "jy": "Jy",
    "mujy": "uJy",
    "beam": "beam",
    "sr": "sr",
    "s": "s",  # capitals would make it siemens
    "sec": "s",
    "second": "s",
    "pixel": "pix",
}
# Capitals alone leave open whether M is milli or mega; of a surface brightness it is mega.
_PHRASES = {"MJY/SR": "MJy / sr"}


def parse_unit(text: str | UnitBase | None) -> Any:
    """
    Read a unit as it is spelled in FITS headers.

    Parameters
    ----------
    text : str or `~astropy.units.UnitBase` or None
        Such as ``"ADU"``, ``"counts/s"``, ``"nanomaggy"``. An empty string is
        dimensionless; `None` stays `None`.

    Returns
    -------
    unit : `~astropy.units.UnitBase` or `~astropy.units.function.FunctionUnitBase` or None
        The unit.

    Raises
    ------
    ValueError
        If it cannot be understood.

    Examples
    --------
    >>> from splus_srgan.images.units import parse_unit
    >>> parse_unit("ADU"), parse_unit("nanomaggies"), parse_unit("e-/sec")
    (Unit("adu"), Unit("nmgy"), Unit("electron / s"))
    """
    if text is None:
        return None
    if not isinstance(text, str):
        return u.Unit(text)
    parts = [" ".join(map(_spell, part.split())) for part in text.split("/")]
    phrase = _PHRASES.get("".join(text.split()), "/".join(parts))
    for candidate in (phrase, text.strip()):
        try:
            with own_filters():
                # Deprecated spellings and double slashes are the file's business.
                warnings.simplefilter("ignore", u.UnitsWarning)
                return u.Unit(candidate)
        except (ValueError, TypeError):
            continue
    raise ValueError(
        f"unit must be one that astropy.units knows, such as 'adu' or 'nmgy'; got {text!r}"
    )


def _spell(word: str) -> str:
    return _SPELLINGS.get(word.lower(), word)


def nanomaggies_of(unit: Any, band: str) -> float | None:
    r"""
    Give the nanomaggies in one unit of a pixel's flux.

    A nanomaggy is the flux density per frequency of AB magnitude 22.5, 3.631 uJy.  One per
    wavelength is converted at the band's pivot wavelength,
    :math:`f_\nu = f_\lambda\, \lambda_p^2 / c`.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or str or None
        Unit of the data.
    band : str
        Name of the band.

    Returns
    -------
    nanomaggies : float or None
        `None` where the unit is no flux density, such as ADU, or the band is none of S-PLUS
        and its wavelength is needed.

    Examples
    --------
    >>> from splus_srgan.images.units import nanomaggies_of
    >>> nanomaggies_of("nmgy", "r"), nanomaggies_of("adu", "r")
    (1.0, None)
    >>> round(nanomaggies_of("uJy", "r"), 4)
    0.2754
    >>> round(nanomaggies_of("erg / (s cm2 Angstrom)", "r") / 1e17, 3)
    3.591
    """
    try:
        unit = parse_unit(unit)
        if not isinstance(unit, u.UnitBase):  # None, or logarithmic
            return None
        if unit.is_equivalent(u.mgy):
            return float(unit.to(u.nmgy))
        flux: Any = 1 * unit
        if not unit.is_equivalent(u.Jy):
            pivot = splus.PIVOTS[splus.canonical_band(band)] * u.AA
            flux = flux.to(u.Jy, u.spectral_density(pivot))
        return float(flux.to_value(u.nmgy, u.zero_point_flux(1 * u.AB)))
    except (ValueError, u.UnitConversionError):
        return None


def flux_per_pixel_factor(unit: UnitBase | str | None, factor: int = 2) -> float:
    r"""
    Give what a pixel value is multiplied by when pixels are split.

    Splitting a pixel into ``factor`` x ``factor`` finer ones shares its flux,
    so a value per pixel is multiplied by :math:`1 / \mathrm{factor}^2` and
    sums over the sky are conserved; a surface brightness is kept.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or str or None
        Unit of the data. `None` and dimensionless mean flux per pixel.
    factor : int, optional
        Output pixels per input pixel along each axis, at least 1.

    Returns
    -------
    scale : float
        ``1 / factor**2`` for counts, fluxes and energies, also per second,
        area, frequency or wavelength; 1.0 per solid angle (``/arcsec2``,
        ``/sr``) or per beam.

    Raises
    ------
    ValueError
        If the unit is logarithmic, not recognised, or no flux.

    Examples
    --------
    >>> from splus_srgan.images.units import flux_per_pixel_factor
    >>> flux_per_pixel_factor("adu"), flux_per_pixel_factor("MJy / sr")
    (0.25, 1.0)
    """
    factor = check_integer("factor", factor, minimum=1)
    unit = parse_unit(unit)
    if unit is None:
        return 1.0 / factor**2
    powers = _powers(unit)
    per_area = powers.pop("rad", 0), powers.pop("beam", 0)
    if not _is_flux(powers) or per_area not in ((0, 0), (-2, 0), (0, -1)):
        raise ValueError(
            f"unit must be a flux per pixel (adu, electron, nmgy, Jy, ...) or per solid angle "
            f"(/arcsec2, /sr); got {unit.to_string()!r}; convert the data or correct its unit"
        )
    return 1.0 / factor**2 if per_area == (0, 0) else 1.0


def pixels_for_pixel(unit: UnitBase | str | None, area: float) -> float:
    """
    Give by how much values grow where pixels grow to ``area`` of what they were.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or str or None
        As for `flux_per_pixel_factor`.
    area : float
        Ratio of the areas.

    Returns
    -------
    ratio : float
        ``area`` for a flux per pixel, 1.0 for a surface brightness.

    Raises
    ------
    ValueError
        As by `flux_per_pixel_factor`.

    Examples
    --------
    >>> from splus_srgan.images.units import pixels_for_pixel
    >>> pixels_for_pixel("nmgy", 4), pixels_for_pixel("nJy / arcsec2", 4)
    (4.0, 1.0)
    """
    return 1.0 if flux_per_pixel_factor(unit) == 1 else float(area)


def _powers(unit: Any) -> dict[str, Any]:
    if isinstance(unit, u.function.FunctionUnitBase) or unit.is_equivalent(u.Unit("dex")):
        raise ValueError(
            f"unit must be linear in flux; got the logarithmic {unit.to_string()!r}; "
            f"convert magnitudes to fluxes first"
        )
    if isinstance(unit, u.UnrecognizedUnit):
        raise ValueError(
            f"unit must be one that astropy.units knows; got the unrecognised "
            f"{unit.to_string()!r}; give the data a known unit, such as 'adu'"
        )
    bases = unit.decompose()
    return {str(base): power for base, power in zip(bases.bases, bases.powers, strict=True)}


def _is_flux(powers: Mapping[str, Any]) -> bool:
    """Tell whether the powers of the base units, less solid angle, can be a flux."""
    powers = {base: power for base, power in powers.items() if base != "pix"}
    metre, second = powers.pop("m", 0), powers.pop("s", 0)
    # Everything made of energy (Jy, W/m2, erg/s/cm2/AA, AB) has kilogram to the first power.
    if powers == {"kg": 1}:
        return True
    counted = not powers or (len(powers) == 1 and powers.popitem() in _COUNTED)
    return counted and metre in (0, -2, -3) and second in (0, -1)


_COUNTED = {(base, 1) for base in ("adu", "ct", "electron", "ph", "DN", "mgy")}
