# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Names of the planes in a file of bands, and what their bits mean.

The EXTNAME says what a plane is, its EXTVER and its BAND card of which band: ``SCI`` the image,
``ERR`` its standard deviations, ``DQ`` the flags, ``BPM`` (bad pixel mask) what is
missing, ``PSF`` the PSF.  A mask called ``MASK`` would be taken by ``CCDData.read`` for the mask of
whichever band it reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from splus_srgan.images.quality import Quality

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ERRORS_LEGEND",
    "ERROR_NAMES",
    "MEANINGS",
    "Candidate",
    "group_planes",
    "quality_legend",
]

ERROR_NAMES = {"std": "ERR", "var": "VAR", "ivar": "IVAR"}
"""EXTNAME by kind of uncertainty: ``ERR`` is a standard deviation for all readers."""

ERRORS_LEGEND = "of single pixels; neighbours are correlated: do not add in quadrature"
"""Comment in the header of the errors of an enhanced image."""

_PARTS = {
    **{part: part for part in ("SCI", "ERR", "DQ", "PSF")},
    **{"BPM": "MASK", "VAR": "ERR", "IVAR": "ERR", "UNCERT": "ERR"},
}
# As they were named before, followed by the band: SCI_R.
_OLD_PARTS = {"SCI": "SCI", "MASK": "MASK", "QUALITY": "DQ", "UNCERT": "ERR", "PSF": "PSF"}

MEANINGS = {
    Quality.MISSING: "no valid input, filled in",
    Quality.NEAR_MISSING: "the network saw a missing pixel",
    Quality.SATURATED: "input at or near saturation",
    Quality.NEAR_SATURATED: "the network saw a saturated pixel",
    Quality.EDGE: "border matters: over 0.1 of its error",
    Quality.EXTRAPOLATED: "outside what weights were made for",
    Quality.UNUSUAL: "a spike, or an area of one value",
    Quality.FITTED_STAR: "a star that was fitted",
}
"""Comments of the legend, by bit."""


@dataclass(eq=False)
class Candidate:
    """
    An image HDU with the planes that go with it.

    Attributes
    ----------
    hdu : `~splus_srgan.images.io.fitsfile.ImageHDU`
        The image, or a plane for each band.
    missing : list of array-like of bool or None
        What the survey marks as missing in each plane, beside a mask of its own.
    parts : dict
        HDU by part: ``"ERR"``, ``"DQ"``, ``"MASK"`` and ``"PSF"``.
    ours : bool
        Whether this package wrote the file: what has no mask then has no missing pixels.
    names : list of str or None
        Bands of the planes, where something else than the header of the image names them.
    metas : list of `~astropy.io.fits.Header` or None
        Headers of the planes, where they are not all that of the image.
    psfs : list of `~splus_srgan.images.io.fitsfile.ImageHDU` or None
        PSF of each plane; `None` where it has none.
    """

    hdu: Any
    missing: list | None = None
    parts: dict = field(default_factory=dict)
    ours: bool = False
    names: list | None = None
    metas: list | None = None
    psfs: list | None = None


def quality_legend() -> list[tuple[str, Any, str]]:
    """
    Say in cards what the bits of `~splus_srgan.images.quality.Quality` are.

    Returns
    -------
    cards : list of tuple
        ``(keyword, value, comment)``: ``DQBIT4 = 'EDGE'`` is the bit of value ``2**4``.

    Examples
    --------
    >>> from splus_srgan.images.io.layout import quality_legend
    >>> quality_legend()[0]
    ('DQBIT0', 'MISSING', 'value 1: no valid input, filled in')
    """
    return [
        (f"DQBIT{bit.bit_length() - 1}", bit.name, f"value {int(bit)}: {MEANINGS[bit]}")
        for bit in Quality
    ]


def group_planes(images: Sequence[Any]) -> list[dict[str, Any]]:
    """
    Find what belongs together in a file of bands, of this layout or the one before.

    Parameters
    ----------
    images : list of object
        HDUs with ``name`` and ``header``.

    Returns
    -------
    groups : list of dict
        For each band in the order of the file, its HDU by part: ``"SCI"``, and as far as they
        are there ``"ERR"``, ``"DQ"``, ``"MASK"`` and ``"PSF"``.
    """
    groups: dict[Any, dict[str, Any]] = {}
    for image in images:
        part, which = _part(image)
        if part is not None:
            groups.setdefault(which, {}).setdefault(part, image)
    return [g for g in groups.values() if "SCI" in g and "SRBAND" in g["SCI"].header]


def _part(image: Any) -> tuple[str | None, Any]:
    name = image.name.upper()
    if name in _PARTS:
        return _PARTS[name], image.header.get("EXTVER", 1)
    head, _, band = name.partition("_")
    return _OLD_PARTS.get(head) if band else None, band
