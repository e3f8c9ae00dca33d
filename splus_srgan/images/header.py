# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What a header says of its image: PSF, levels, unit."""

import math
from numbers import Real

import numpy as np
from astropy import units as u

from splus_srgan.pixels.psf import WING_SHARE, core_profile

__all__ = [
    "WING_CARD",
    "psf_from_header",
    "states_own_unit",
    "wing_share_from_header",
    "winged_psf_from_header",
]

WING_CARD = "PSFWINGS"
"""Keyword that states the share of the light in the wings of the PSF, in simulated images."""


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
    >>> from splus_srgan.images.header import psf_from_header
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
    >>> from splus_srgan.images.header import wing_share_from_header
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
    >>> from splus_srgan.images.header import states_own_unit
    >>> image = simulate_field(1, shape=(32, 32)).observed["r"]
    >>> states_own_unit(image), states_own_unit(calibrate(image, 23.5))
    (True, True)
    """
    counts = (None, u.dimensionless_unscaled, u.adu, u.ct, u.DN, u.electron)
    return getattr(image, "unit", None) in counts or "SRZP" in (image.meta or {})


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool | np.bool_)
