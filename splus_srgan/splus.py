# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Facts about S-PLUS.

The numbers were measured on the headers and the noise of public S-PLUS images
(zero points: DR4 tables; an opportunistic sample of 9 to 32 tiles per broad band).
Of the narrow bands one field was at hand: the noise of the four blue ones, and the spread
of seeing and noise of all seven, are estimates.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "BANDS",
    "PIVOTS",
    "PIXEL_SCALE",
    "BandFacts",
    "canonical_band",
]

PIXEL_SCALE = 0.55
"""Pixel scale of S-PLUS images in arcsec per pixel."""

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
    "J0378": BandFacts(
        (1.55, 1.2, 2.2), (2.6, 2.2, 3.4), (0.115, 0.090, 0.145), (19.25, 20.07), 20.02, 660, 292
    ),
    "J0395": BandFacts(
        (1.54, 1.2, 2.1), (2.6, 2.2, 3.4), (0.180, 0.140, 0.225), (19.23, 20.06), 20.01, 354, 544
    ),
    "J0410": BandFacts(
        (1.53, 1.2, 2.1), (2.7, 2.2, 3.4), (0.160, 0.125, 0.200), (20.30, 21.07), 21.02, 177, 1088
    ),
    "J0430": BandFacts(
        (1.52, 1.2, 2.0), (2.7, 2.2, 3.4), (0.140, 0.110, 0.175), (20.45, 21.19), 21.14, 171, 1126
    ),
    "g": BandFacts(
        (1.51, 1.2, 1.9), (2.8, 2.2, 3.4), (0.050, 0.045, 0.089), (22.90, 23.56), 23.50, 99, 1946
    ),
    "J0515": BandFacts(
        (1.42, 1.1, 1.9), (2.9, 2.2, 3.6), (0.119, 0.100, 0.150), (20.73, 21.50), 21.45, 183, 1052
    ),
    "r": BandFacts(
        (1.36, 1.0, 1.95), (3.0, 2.2, 4.4), (0.060, 0.052, 0.150), (22.79, 23.58), 23.55, 120, 1605
    ),
    "J0660": BandFacts(
        (1.40, 1.0, 1.9), (2.9, 2.2, 4.2), (0.061, 0.052, 0.090), (20.28, 21.11), 21.06, 870, 221
    ),
    "i": BandFacts(
        (1.22, 1.0, 1.7), (2.9, 2.2, 4.0), (0.086, 0.075, 0.110), (22.56, 23.37), 23.30, 138, 1393
    ),
    "J0861": BandFacts(
        (1.34, 1.05, 1.7), (2.8, 2.2, 4.2), (0.212, 0.180, 0.265), (20.84, 21.66), 21.61, 240, 803
    ),
    "z": BandFacts(
        (1.28, 1.05, 1.60), (2.6, 2.2, 4.4), (0.172, 0.155, 0.220), (21.97, 22.81), 22.75, 168, 1141
    ),
}
"""`BandFacts` of the twelve bands, by wavelength."""

# fmt: off
PIVOTS = {
    "u": 3533.441, "J0378": 3773.126, "J0395": 3940.695, "J0410": 4094.956, "J0430": 4292.053,
    "g": 4758.650, "J0515": 5133.143, "r": 6251.813, "J0660": 6613.875,
    "i": 7670.634, "J0861": 8607.255, "z": 8941.728,
}
# fmt: on
"""Pivot wavelengths (Angstrom) of the survey's curves (`splus_srgan.simulate.bandpasses.pivot`)."""


def canonical_band(name: object) -> str:
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
