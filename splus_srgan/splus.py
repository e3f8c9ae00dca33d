# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Facts about S-PLUS, and how to read them off its image headers.

The numbers were measured on the headers and the noise of public S-PLUS images
(zero points: DR4 tables; an opportunistic sample of 9 to 32 tiles per band).
"""

import math
from dataclasses import dataclass
from numbers import Real

import numpy as np
from astropy import units as u

from splus_srgan.pixels.psf import WING_SHARE, core_profile

__all__ = [
    "BANDS",
    "PIXEL_SCALE",
    "WING_CARD",
    "BandFacts",
    "canonical_band",
    "psf_from_header",
    "states_own_unit",
    "wing_share_from_header",
    "winged_psf_from_header",
]

PIXEL_SCALE = 0.55
"""Pixel scale of S-PLUS images in arcsec per pixel."""

WING_CARD = "PSFWINGS"
"""Keyword that states the share of the light in the wings of the PSF, in simulated images."""

_BROAD = ("u", "g", "r", "i", "z")
_NARROW = ("0378", "0395", "0410", "0430", "0515", "0660", "0861")


@dataclass(frozen=True)
class BandFacts:
    """
    What S-PLUS images of one band look like.

    Attributes
    ----------
    fwhm : tuple of float
        Median, lower and upper end of the seeing FWHM (arcsec), of the PSF as
        sampled by the pixels.
    beta : tuple of float
        Median, lower and upper end of the PSF's Moffat beta.
    noise : tuple of float
        Median, lower and upper end of the sky noise (nanomaggies per pixel).
    zero_points : tuple of float
        The two common AB zero points (mag of 1 ADU), one per gain mode of the
        camera.
    electron_zero_point : float
        AB magnitude that gives one electron in one second.
    exposure : float
        Summed exposure time (s) of the three exposures of a tile.
    saturation : float
        Saturation level (ADU per pixel) of a coadded tile.
    """

    fwhm: tuple[float, float, float]
    beta: tuple[float, float, float]
    noise: tuple[float, float, float]
    zero_points: tuple[float, float]
    electron_zero_point: float
    exposure: float
    saturation: float


BANDS = {
    "u": BandFacts(
        (1.55, 1.3, 2.4), (2.5, 2.2, 3.0), (0.071, 0.055, 0.085), (20.10, 20.90), 20.85, 681, 283
    ),
    "g": BandFacts(
        (1.51, 1.2, 1.9), (2.8, 2.2, 3.4), (0.050, 0.045, 0.089), (22.90, 23.56), 23.50, 99, 1946
    ),
    "r": BandFacts(
        (1.36, 1.0, 1.95), (3.0, 2.2, 4.4), (0.060, 0.052, 0.150), (22.79, 23.58), 23.55, 120, 1605
    ),
    "i": BandFacts(
        (1.22, 1.0, 1.7), (2.9, 2.2, 4.0), (0.086, 0.075, 0.110), (22.56, 23.37), 23.30, 138, 1393
    ),
    "z": BandFacts(
        (1.28, 1.05, 1.60), (2.6, 2.2, 4.4), (0.172, 0.155, 0.220), (21.97, 22.81), 22.75, 168, 1141
    ),
}
"""`BandFacts` of the broad bands."""


def canonical_band(name):
    """
    Give the S-PLUS name of a band, whatever spelling a file uses.

    Parameters
    ----------
    name : str
        Such as ``"R"``, ``"rSDSS"``, ``"F378"`` or ``"J0378"``.

    Returns
    -------
    band : str
        One of ``u, J0378, J0395, J0410, J0430, g, J0515, r, J0660, i, J0861, z``.

    Raises
    ------
    ValueError
        If the name is none of a band of S-PLUS.

    Examples
    --------
    >>> from splus_srgan.splus import canonical_band
    >>> canonical_band("R"), canonical_band("F378"), canonical_band("gSDSS")
    ('r', 'J0378', 'g')
    """
    text = str(name).strip()
    plain = text.lower().removesuffix("_splus").removesuffix("sdss").removesuffix("java")
    if plain in _BROAD:
        return plain
    digits = plain.lstrip("fj").zfill(4)
    if plain[:1] in ("f", "j") and digits in _NARROW:
        return f"J{digits}"
    allowed = ", ".join((*_BROAD, *(f"J{digits}" for digits in _NARROW)))
    raise ValueError(f"band must be one of {allowed} (or a usual spelling of it); got {name!r}")


def psf_from_header(header):
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
        alone, or a beta that no PSF has (1 or less). `None` where it has no usable FWHM.

    Examples
    --------
    >>> from splus_srgan.splus import psf_from_header
    >>> psf_from_header({"HIERARCH OAJ PRO FWHMMEAN": 1.36, "OAJ PRO FWHMBETA": 2.9})
    (1.36, 2.9)
    """
    values = {}
    for key, value in header.items():
        # Cards that an enhanced image keeps about its input are not about itself.
        if not isinstance(key, str) or key.upper().startswith("INPUT "):
            continue
        for word, lowest in (("FWHMMEAN", 0), ("FWHMBETA", 1)):
            if word in key.upper() and _is_number(value) and lowest < value < math.inf:
                values.setdefault(word, float(value))
    if "FWHMMEAN" not in values:
        return None
    return values["FWHMMEAN"], values.get("FWHMBETA", 3.0)


def winged_psf_from_header(header):
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
        FWHM (arcsec) and Moffat beta of the core (`~splus_srgan.pixels.psf.core_profile`), and share of
        the wings (`wing_share_from_header`). `None` where the header has no usable FWHM.

    Examples
    --------
    >>> from splus_srgan.splus import winged_psf_from_header
    >>> header = {"HIERARCH OAJ PRO FWHMMEAN": 1.36, "OAJ PRO FWHMBETA": 2.9}
    >>> [round(value, 3) for value in winged_psf_from_header(header)]
    [1.291, 3.915, 0.28]
    >>> winged_psf_from_header(header | {"PSFWINGS": 0.0})
    (1.36, 2.9, 0.0)
    """
    psf, share = psf_from_header(header), wing_share_from_header(header)
    return None if psf is None else (*core_profile(*psf, share), share)


def wing_share_from_header(header):
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
    >>> from splus_srgan.splus import wing_share_from_header
    >>> wing_share_from_header({}), wing_share_from_header({"PSFWINGS": 0.1})
    (0.28, 0.1)
    """
    share = header.get(WING_CARD)
    return float(share) if _is_number(share) and 0 <= share <= 1 else WING_SHARE


def states_own_unit(image):
    """
    Tell whether the levels and the gain in a header are in the unit of the image.

    They are in the unit of the camera; `~splus_srgan.surveys.calibration.calibrate`
    converts them with the pixels, and leaves ``SRZP`` behind.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        With a unit and a header.

    Returns
    -------
    own : bool
        `True` for counts, for no unit, and for what was calibrated.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.surveys.calibration import calibrate
    >>> from splus_srgan.splus import states_own_unit
    >>> image = simulate_field(1, shape=(32, 32)).observed["r"]
    >>> states_own_unit(image), states_own_unit(calibrate(image, 23.5))
    (True, True)
    """
    counts = (None, u.dimensionless_unscaled, u.adu, u.ct, u.DN, u.electron)
    return getattr(image, "unit", None) in counts or "SRZP" in (image.meta or {})


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)
