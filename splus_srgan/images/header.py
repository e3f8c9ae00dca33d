# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What a header says of its image: PSF, levels, unit."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u

from splus_srgan.pixels.psf import WING_SHARE, core_profile
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.units import UnitBase
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray

__all__ = [
    "LEVELS",
    "NEAR_SATURATION",
    "WING_CARD",
    "gain_from_header",
    "last_word",
    "psf_from_header",
    "saturated_pixels",
    "saturation_level",
    "states_own_unit",
    "wing_share_from_header",
    "winged_psf_from_header",
]

WING_CARD = "PSFWINGS"
"""Keyword that states the share of the light in the wings of the PSF, in simulated images."""

NEAR_SATURATION = 0.95
"""Share of the level of saturation from which a pixel counts as saturated."""

LEVELS = re.compile(r"SATUR(AT([A-H]|E|ION)?)?\d?|SAT(UR)?(LEV(EL)?|LVL|VAL(UE)?|LIM(IT)?)[A-H\d]?")
"""Last words (`last_word`) of keywords of a level of saturation, maybe of one amplifier."""

_COUNTS = (None, u.dimensionless_unscaled, u.adu, u.ct, u.DN, u.electron)


_PLAUSIBLE = {"FWHMMEAN": (0.05, 100.0), "FWHMBETA": (1.0, 100.0)}


def psf_from_header(header: Mapping[str, Any]) -> tuple[float, float] | None:
    """
    Read the seeing that the S-PLUS pipeline measured.

    The cards are called ``HIERARCH OAJ PRO FWHMMEAN`` or ``HIERARCH MAR PRO
    FWHMMEAN``, depending on who reduced the tile, so any keyword that holds
    ``FWHMMEAN`` or ``FWHMBETA`` counts.

    Parameters
    ----------
    header : mapping
        FITS header or ``meta`` dictionary.

    Returns
    -------
    psf : tuple of float or None
        FWHM (arcsec) and Moffat beta; beta is 3.0 where the header has the FWHM
        alone, or a beta that no PSF has (1 or less, above 100). `None` where it has no usable
        FWHM (0.05 to 100).

    Examples
    --------
    >>> from splus_srgan.images.header import psf_from_header
    >>> psf_from_header({"HIERARCH OAJ PRO FWHMMEAN": 1.36, "OAJ PRO FWHMBETA": 2.9})
    (1.36, 2.9)
    """
    values: dict[str, float] = {}
    for key, value in header.items():
        # Cards that an enhanced image keeps about its input are not about itself.
        if not isinstance(key, str) or key.upper().startswith("INPUT "):
            continue
        for word, (lowest, highest) in _PLAUSIBLE.items():
            if word in key.upper() and is_number(value) and lowest < value <= highest:
                values.setdefault(word, float(value))
    if "FWHMMEAN" not in values:
        return None
    return values["FWHMMEAN"], values.get("FWHMBETA", 3.0)


def stated_fwhm(header: Any) -> float:
    """
    Give the FWHM of an image itself, be it an input or an enhanced one.

    Parameters
    ----------
    header : mapping
        As for `psf_from_header`.

    Returns
    -------
    fwhm : float
        In arcsec: the card ``SRFWHM`` of enhanced images, else that of the pipeline; NaN where
        there is none.

    Examples
    --------
    >>> from splus_srgan.images.header import stated_fwhm
    >>> stated_fwhm({"HIERARCH OAJ PRO FWHMMEAN": 1.36}), stated_fwhm({"SRFWHM": 1.0})
    (1.36, 1.0)
    """
    output = header.get("SRFWHM")
    if is_number(output):
        return float(output)
    psf = psf_from_header(header)
    return np.nan if psf is None else psf[0]


def winged_psf_from_header(header: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """
    Read the seeing, and take core and wings of that PSF apart.

    What the pipeline fits is one profile to both together.

    Parameters
    ----------
    header : mapping
        As for `psf_from_header`.

    Returns
    -------
    psf : tuple of float or None
        FWHM (arcsec) and Moffat beta of the core (`~splus_srgan.pixels.psf.core_profile`), and
        share of the wings (`wing_share_from_header`). `None` where the header has no usable FWHM.

    Examples
    --------
    >>> from splus_srgan.images.header import winged_psf_from_header
    >>> header = {"HIERARCH OAJ PRO FWHMMEAN": 1.36, "OAJ PRO FWHMBETA": 2.9}
    >>> [round(value, 3) for value in winged_psf_from_header(header)]
    [1.291, 3.915, 0.28]
    >>> winged_psf_from_header(header | {"PSFWINGS": 0.0})
    (1.36, 2.9, 0.0)
    """
    psf, share = psf_from_header(header), wing_share_from_header(header)
    return None if psf is None else (*core_profile(*psf, share), share)


def wing_share_from_header(header: Mapping[str, Any]) -> float:
    """
    Give the share of the light that is in the wings of the PSF.

    Parameters
    ----------
    header : mapping
        As for `psf_from_header`.

    Returns
    -------
    share : float
        What the card `WING_CARD` says, if it is within 0 and 1; without it, that of S-PLUS
        images, `~splus_srgan.pixels.psf.WING_SHARE`.

    Examples
    --------
    >>> from splus_srgan.images.header import wing_share_from_header
    >>> wing_share_from_header({}), wing_share_from_header({"PSFWINGS": 0.1})
    (0.28, 0.1)
    """
    share = header.get(WING_CARD)
    return float(share) if is_number(share) and 0 <= share <= 1 else WING_SHARE


def states_own_unit(meta: Mapping[str, Any] | None, unit: UnitBase | None) -> bool:
    """
    Tell whether the levels and the gain in a header are in the unit of the pixels.

    They are in the unit of the camera; `~splus_srgan.surveys.calibration.calibrate_flux`
    converts them with the pixels, and leaves ``SRZP`` behind.

    Parameters
    ----------
    meta : mapping or None
        FITS header or ``meta`` dictionary.
    unit : `~astropy.units.UnitBase` or None
        Unit of the pixels.

    Returns
    -------
    own : bool
        `True` for counts per pixel, for no unit, and for what was calibrated.

    Examples
    --------
    >>> from astropy import units as u
    >>> from splus_srgan.images.header import states_own_unit
    >>> states_own_unit({}, u.adu), states_own_unit({}, u.nmgy)
    (True, False)
    >>> states_own_unit({"SRZP": 23.5}, u.nmgy)
    True
    """
    return unit in _COUNTS or is_number((meta or {}).get("SRZP"))


def saturation_level(meta: Mapping[str, Any] | None, unit: UnitBase | None = None) -> float:
    """
    Give the level at which the pixels of an image saturate.

    The rule, for all that asks whether a pixel is saturated:

    * The level is that of the card ``SATURATE``, also as the last word of a ``HIERARCH``
      keyword; where that is no use, the lowest of ``SATURATA``, ``SATURATB`` (one for each
      amplifier), ``SATLEVEL``, ``SATURLEV``, ``SATUR`` and the like. What the header says of the
      input of an enhanced image (``INPUT ...``) does not count.
    * It is a finite number above 0: ``SATURATE = T`` is no level, nor is a text.
    * It is on the grid of the pixels: whatever changes the pixels changes the card.
    * It is in the unit of the pixels, or ignored: a header in ADU does not apply to pixels in
      nanomaggies, unless the calibration converted both (`states_own_unit`).
    * A pixel is saturated from 0.95 of the level on (`saturated_pixels`), for coadds saturate
      a little below it.

    Parameters
    ----------
    meta : mapping or None
        FITS header or ``meta`` dictionary.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the pixels.

    Returns
    -------
    level : float
        In the unit of the pixels; infinite where it is not known.

    Examples
    --------
    >>> from astropy import units as u
    >>> from splus_srgan.images.header import saturation_level
    >>> header = {"SATURATE": 1605.0}
    >>> saturation_level(header, u.adu), saturation_level(header, u.nmgy)
    (1605.0, inf)
    >>> saturation_level({"SATURATE": True, "SATURATA": 900.0, "SATURATB": 950.0})
    900.0
    """
    if not states_own_unit(meta, unit):
        return math.inf
    for words in (re.compile("SATURATE"), LEVELS):
        levels = [v for v in _stated(meta, words) if 0 < v < math.inf]
        if levels:
            return float(min(levels))
    return math.inf


def saturated_pixels(
    data: ArrayLike, meta: Mapping[str, Any] | None, unit: UnitBase | None = None
) -> BoolArray:
    """
    Tell which pixels are saturated, by the rule of `saturation_level`.

    Parameters
    ----------
    data : array_like
        Pixel values, of any shape, as they are in the image.
    meta : mapping or None
        FITS header or ``meta`` dictionary.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the pixels.

    Returns
    -------
    saturated : `~numpy.ndarray` of bool
        `True` at 0.95 of the level or more; `False` where a value is NaN.

    Examples
    --------
    >>> from splus_srgan.images.header import saturated_pixels
    >>> saturated_pixels([46.0, 47.5, 50.0], {"SATURATE": 50})
    array([False,  True,  True])
    """
    limit = NEAR_SATURATION * saturation_level(meta, unit)
    # In single precision, like images, so that all callers judge a pixel alike.
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(data).astype(np.float32, copy=False) >= np.float32(limit)


def last_word(keyword: str) -> str:
    """
    Give the word of a keyword that says what it is; pipelines differ in the words before it.

    Parameters
    ----------
    keyword : str
        Of a card, or key of a dictionary.

    Returns
    -------
    word : str
        In capitals, without underscores.

    Examples
    --------
    >>> from splus_srgan.images.header import last_word
    >>> last_word("OAJ QC SATURATE"), last_word("CELL.READNOISE"), last_word("Pixel_Scale")
    ('SATURATE', 'READNOISE', 'PIXELSCALE')
    """
    return re.split(r"[ .]", keyword)[-1].upper().replace("_", "")


def gain_from_header(meta: Mapping[str, Any] | None, unit: UnitBase | None = None) -> float | None:
    """
    Give the electrons per unit of the pixels, as the card GAIN states them.

    Parameters
    ----------
    meta : mapping or None
        FITS header or ``meta`` dictionary.
    unit : `~astropy.units.UnitBase`, optional
        Unit of the pixels.

    Returns
    -------
    gain : float or None
        Above 0; 1 for pixels in electrons. `None` where there is no such number, or it is for
        another unit (`states_own_unit`).

    Examples
    --------
    >>> from astropy import units as u
    >>> from splus_srgan.images.header import gain_from_header
    >>> gain_from_header({"GAIN": 115.0}, u.adu), gain_from_header({"GAIN": 115.0}, u.electron)
    (115.0, 1.0)
    >>> gain_from_header({"GAIN": 115.0}, u.nmgy), gain_from_header({"GAIN": True}, u.adu)
    (None, None)
    """
    if unit == u.electron:
        return 1.0
    gain = (meta or {}).get("GAIN")
    if is_number(gain) and 0 < gain < math.inf and states_own_unit(meta, unit):
        return float(gain)
    return None


def _stated(meta: Mapping[str, Any] | None, words: Any) -> Any:
    """Numbers of the cards whose keyword ends in such a word."""
    found = []
    for key, value in (meta or {}).items():
        named = isinstance(key, str) and words.fullmatch(last_word(key))
        if named and not key.upper().startswith("INPUT ") and is_number(value):
            found.append(value)
    return found
