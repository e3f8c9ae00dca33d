# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The WCS in the cards of a header, on its way to finer pixels."""

from __future__ import annotations

import re
from string import ascii_uppercase
from typing import TYPE_CHECKING

from astropy.io import fits

from splus_srgan.images.cards import multiply, set_default, shift

if TYPE_CHECKING:
    from typing import Any

__all__ = [
    "SEQUENT",
    "alternates",
    "check_wcs_cards",
    "matrix_cards",
    "scale_physical_cards",
    "scale_sip_cards",
    "scale_wcs_cards",
]

# Projections with a distortion that wcslib applies, as it does CQDIS, between PC
# and CDELT.  Where such is in play PC takes the change of scale, not CDELT, for
# what reaches the distortion must stay as it is.
SEQUENT = "-(TPV|TNX|ZPX)"


def check_wcs_cards(header: Any) -> None:
    """Refuse what is no header of an image, and distortions that its cards do not describe."""
    if not isinstance(header, fits.Header):
        raise TypeError(
            f"header must be an astropy.io.fits.Header; got {type(header).__name__}: "
            "make one with fits.Header(meta)"
        )
    if header.get("XTENSION", "").strip() in ("BINTABLE", "TABLE"):
        raise ValueError(
            "header must be an image's; got a table's: open compressed files with astropy.io.fits, "
            "which shows the image's own header"
        )
    for keyword in header:
        if re.fullmatch(r"(CPDIS|D2IMDIS)\d[A-Z]?|AXISCORR|D2IMEXT", keyword):
            raise ValueError(
                f"header must not have distortions that its cards do not fully describe; got "
                f"{keyword}: read the WCS along with its tables, WCS(header, hdulist), and use "
                "upsample_wcs and WCS.to_fits"
            )
        if keyword == "AMDX1":
            raise ValueError(
                "header must not have a plate solution of the DSS; got AMDX1: remove the AMDXn and "
                "AMDYn cards where the header has an ordinary WCS as well"
            )


def alternates(header: Any) -> list[str]:
    """Letters of the descriptions of the WCS that there may be; "" is the main one."""
    last = {keyword[-1] for keyword in header if keyword}
    return ["", *(letter for letter in ascii_uppercase if letter in last)]


def scale_wcs_cards(header: Any, alternate: str, axes: Any, factor: float) -> None:
    """Reference pixel and matrix of one description of the WCS; ``axes`` are 1-based."""
    matrix = matrix_cards(header, "CD", alternate)
    # Any card of a WCS makes one; what it lacks has a default, which changes with the grid.
    given = bool(matrix or matrix_cards(header, "PC", alternate)) or any(
        f"{name}{axis}{alternate}" in header
        for axis in axes
        for name in ("CTYPE", "CRPIX", "CRVAL", "CDELT")
    )
    for axis in axes:
        if given:
            set_default(header, f"CRPIX{axis}{alternate}", 0.0)
        shift(header, f"CRPIX{axis}{alternate}", factor)
    for keyword, _, column in matrix:
        if column in axes:
            multiply(header, keyword, 1 / factor)
    if given and not matrix and _must_scale_pc(header, alternate, axes):
        for axis in axes:
            set_default(header, f"PC{axis}_{axis}{alternate}", 1.0)
        for keyword, _, column in matrix_cards(header, "PC", alternate):
            if column in axes:
                multiply(header, keyword, 1 / factor)
        return
    for axis in axes:
        if given and not matrix:
            set_default(header, f"CDELT{axis}{alternate}", 1.0)
        multiply(header, f"CDELT{axis}{alternate}", 1 / factor)


def matrix_cards(header: Any, name: str, alternate: str) -> list[tuple[str, int, int]]:
    """Keyword, row and column of the elements of the CD or PC matrix."""
    found = (re.fullmatch(rf"{name}(\d+)_(\d+){alternate}", keyword) for keyword in header)
    return [(m[0], int(m[1]), int(m[2])) for m in found if m]


def _must_scale_pc(header: Any, alternate: str, axes: Any) -> bool:
    """Whether the change of scale has to go to PC, as `upsample_wcs` finds it."""
    if _is_sequent(header, alternate, axes):
        for axis in axes:
            if header.get(f"CROTA{axis}{alternate}", 0):
                raise ValueError(
                    f"header must not have CROTA{axis} along with a distortion that follows the "
                    "matrix (CQDIS, TPV, TNX, ZPX); got both: write its rotation as PCi_j cards"
                )
        return True
    return any(
        header[keyword] != 0 and (row in axes) != (column in axes)
        for keyword, row, column in matrix_cards(header, "PC", alternate)
    )


def _is_sequent(header: Any, alternate: str, axes: Any) -> bool:
    # SCAMP once wrote TPV under the name of TAN; astropy reads it as TPV.
    scamp = any(re.fullmatch(rf"PV\d+_([5-9]|\d\d){alternate}", keyword) for keyword in header)
    return any(
        f"CQDIS{axis}{alternate}" in header
        or re.search(SEQUENT, ctype := str(header.get(f"CTYPE{axis}{alternate}", "")))
        or (scamp and "-TAN" in ctype)
        for axis in axes
    )


def scale_sip_cards(header: Any, factor: float) -> None:
    """Coefficients of the SIP polynomials."""
    for keyword in list(header):
        if match := re.fullmatch(r"[AB]P?_(\d)_(\d)", keyword):
            multiply(header, keyword, float(factor) ** (1 - int(match[1]) - int(match[2])))


def scale_physical_cards(header: Any, axes: Any, factor: float) -> None:
    """IRAF's affine map from physical (detector) to image pixels, LTM and LTV."""
    linear = [keyword for keyword in header if re.fullmatch(r"LTM\d_\d|LTV\d", keyword)]
    if not linear:
        return
    for axis in axes:
        set_default(header, f"LTV{axis}", 0.0)
        shift(header, f"LTV{axis}", factor)
        set_default(header, f"LTM{axis}_{axis}", 1.0)
    for keyword, row, _ in matrix_cards(header, "LTM", ""):
        if row in axes:
            multiply(header, keyword, factor)
