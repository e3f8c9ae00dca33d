# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cards of image headers outside the WCS, on their way to finer pixels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astropy.io import fits

from splus_srgan.images.header import LEVEL_CARDS
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "SECTIONS",
    "finer",
    "fitting_comment",
    "multiply",
    "regrid_cards",
    "rescale_card",
    "set_default",
    "shift",
]

# Powers of the factor by which these go. Compared with the last word of a keyword, as pipelines
# differ in the words before it.
_SIZES = {
    **dict.fromkeys(("IMAGEW", "IMAGEH", "A_DMAX", "B_DMAX", "CNPIX1", "CNPIX2"), 1),
    **dict.fromkeys(("PIXSCALE", "PIXSCAL1", "PIXSCAL2", "PIXSCALX", "PIXSCALY"), -1),
    **dict.fromkeys(("PIXSCL", "PIXELSCL", "SECPPIX", "SECPPIX1", "SECPPIX2"), -1),
    **dict.fromkeys(("SECPIX", "SECPIX1", "SECPIX2", "PIXSIZE", "PIXSIZE1", "PIXSIZE2"), -1),
    **dict.fromkeys(("XPIXSIZE", "YPIXSIZE", "XPIXSZ", "YPIXSZ", "XPIXELSZ", "YPIXELSZ"), -1),
    **dict.fromkeys(("PIXAR_SR", "PIXAR_A2", "PIXAREA"), -2),
}
# Centers in S-PLUS stamps: 0-based pixel of the stamp.
_ZERO_BASED = {"X01TILE", "Y01TILE"}
SECTIONS = re.compile(r"(DATA|TRIM|BIAS)SEC[A-Z0-9]?")
"""Keywords of sections of this image."""
# Compared with the last word as well.
_MEASURED = {
    *("NCMODE", "NCMIDPT", "NCMIDRMS", "NCNOISE", "NCNOIRMS", "SNOIFIT", "ANOIFIT", "BNOIFIT"),
    # With a letter behind it, of one amplifier.
    *(f"{word}{amp}" for word in ("RDNOISE", "RDNOIS", "READNOI", "RON") for amp in ("", *"ABCD")),
    *("READNOIS", "READNOISE", "READNSE", "SKYSIGMA", "SKYSIG", "SKYRMS", "SKYVAR"),
    *("SKY", "SKYLEVEL", "SKYBRITE", "BACKGND", "BACKRMS", "DATAMIN", "DATAMAX", "DATAMEAN"),
    *("GOODMIN", "GOODMAX", "BRICK_X0", "BRICK_Y0", "SRFLAGS"),
}
_OF_PSF = {
    *("FWHM", "FWHMMEAN", "FWHMBETA", "FWHMSEXT", "FWHMSRMS", "FWHMNSTARS", "ELLIPMEAN"),
    *("SEEING", "PSF_FWHM", "PSFFWHM", "IQIMAGE"),
}
_STORAGE = re.compile(
    r"BSCALE|BZERO|BLANK|CHECKSUM|DATASUM|ZIMAGE|ZSIMPLE|ZEXTEND|ZTENSION|ZBITPIX|ZPCOUNT|ZGCOUNT"
    r"|ZHECKSUM|ZDATASUM|ZCMPTYPE|ZMASKCMP|ZQUANTIZ|ZDITHER0|ZBLANK|ZBLOCKED|ZSCALE|ZZERO"
    r"|Z(NAXIS|TILE|NAME|VAL)\d*"
)


# All that says where pixels lie: primary and alternate WCS, their distortions, physical pixels.
_OF_GRID = re.compile(
    r"(WCSAXES|WCSNAME|VELREF|LONPOLE|LATPOLE|RADESYS|EQUINOX|SPECSYS|SSYSOBS|VELOSYS|ZSOURCE)[A-Z]?"
    r"|(CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CRDER|CSYER|CNAME|CPDIS|CQDIS|CPERR|CQERR)\d+[A-Z]?"
    r"|(CD|PC|PV|PS)\d+_\d+[A-Z]?|(DP|DQ)\d+(\..*)?|D2IM.*|AXISCORR|WAT\d_\d+|WCSDIM|LTV\d|LTM\d_\d"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)|RADECSYS|NAXIS\d*|WCSVAL.*"
)


def regrid_cards(
    meta: Any, *, ratio: float, level: Callable[[float], float], new_psf: bool = False
) -> None:
    """
    Bring what a header says outside its WCS to another grid, and take the old WCS out.

    Parameters
    ----------
    meta : `~astropy.io.fits.Header` or dict
        Changed in place. Its cards of WCS, primary and alternate, of distortions and of physical
        pixels are removed: they hold for the old pixels alone
        (`~splus_srgan.images.moved_cards.moved_cards` gives those for the new ones).
    ratio : float
        Size of a new pixel in old ones.
    level : callable
        What a pixel value becomes; the levels of saturation become the same.
    new_psf : bool, optional
        Whether the PSF is another one too.

    Notes
    -----
    What depends on the old pixels in another way (sections, read noise, levels of the sky) is
    kept as ``INPUT ...``.
    """
    for key in list(meta):
        if not isinstance(key, str) or key not in meta or key in ("", "COMMENT", "HISTORY"):
            continue
        word = _last_word(key)
        if key.upper().startswith("INPUT "):
            continue
        if _OF_GRID.fullmatch(word) or _STORAGE.fullmatch(key):
            del meta[key]
        elif word in LEVEL_CARDS or (power := _SIZES.get(word, 0)) < 0:
            change = level if word in LEVEL_CARDS else lambda value, p=power: value * ratio**-p
            value = meta[key]
            if is_number(value):
                meta[key] = change(value)
            else:
                _rename_to_input(meta, key)
        elif (
            power > 0
            or word in _MEASURED
            or (new_psf and word in _OF_PSF)
            or key in _ZERO_BASED
            or SECTIONS.fullmatch(word)
        ):
            _rename_to_input(meta, key)


def _rename_to_input(meta: Any, key: str) -> None:
    if isinstance(meta, fits.Header):
        _mark_as_input(meta, key)
        return
    value = meta.pop(key)
    # CCDData.write takes no long name from a dictionary in silence: what it took stays so.
    if len(key) > 8:
        meta.setdefault(f"INPUT {key}", value)


def rescale_card(
    header: Any, keyword: str, axes: Any, factor: float, flux_scale: float, new_psf: bool
) -> None:
    """Treat a card outside the WCS."""
    if keyword in ("", "COMMENT", "HISTORY") or keyword.startswith("INPUT "):
        return
    word = _last_word(keyword)
    measured = word in _MEASURED or (new_psf and word in _OF_PSF)
    if _STORAGE.fullmatch(keyword) or header[keyword] == "COMPRESSED_IMAGE":
        header.remove(keyword, remove_all=True)
    elif measured or not _rescaled(header, keyword, axes, factor, flux_scale):
        _mark_as_input(header, keyword)


def _last_word(keyword: str) -> str:
    return keyword.split(" ")[-1].upper()


def _rescaled(header: Any, keyword: str, axes: Any, factor: float, flux_scale: float) -> bool:
    """Rescale a card if it needs that; `False` if it does and cannot be."""
    value = header[keyword]
    if (word := _last_word(keyword)) in _SIZES:
        return multiply(header, keyword, float(factor) ** _SIZES[word])
    if word in LEVEL_CARDS:
        return multiply(header, keyword, flux_scale)
    if keyword in _ZERO_BASED:
        return shift(header, keyword, factor, origin=-0.5)
    if SECTIONS.fullmatch(keyword):
        section = _scale_section(str(value), axes, factor)
        header[keyword] = section or value
        return section is not None
    return True


def _scale_section(text: str, axes: Any, factor: float) -> str | None:
    """FITS section ``[x1:x2,y1:y2]``, both ends included, on the finer grid."""
    if not re.fullmatch(r"\[\d+:\d+(,\d+:\d+)*\]", text := re.sub(r"\s", "", text)):
        return None
    ranges = [list(map(int, part.split(":"))) for part in text[1:-1].split(",")]
    for axis in (axis for axis in axes if axis <= len(ranges)):
        low, high = sorted(ranges[axis - 1])
        ends = [factor * (low - 1) + 1, factor * high]
        ranges[axis - 1] = ends if ranges[axis - 1] == [low, high] else ends[::-1]
    return f"[{','.join(f'{first}:{last}' for first, last in ranges)}]"


def _mark_as_input(header: Any, keyword: str) -> None:
    """Rename a card, so that nobody takes it for a statement on the finer pixels."""
    card = header.cards[keyword]
    index = header.index(keyword)
    header.remove(keyword, remove_all=True)
    # What is marked already comes from an earlier, coarser grid: it stays.
    if f"INPUT {card.keyword}" not in header:
        marked = f"HIERARCH INPUT {card.keyword}"
        comment = fitting_comment(marked, card.value, card.comment)
        header.insert(index, fits.Card(marked, card.value, comment))


def fitting_comment(keyword: str, value: object, comment: str) -> str:
    """
    Give as much of a comment as fits behind a value: astropy warns of each that does not.

    Parameters
    ----------
    keyword, value
        Of the card.
    comment : str
        What it would say.

    Returns
    -------
    comment : str
        Its beginning, or all of it where the value takes more than one card.
    """
    length = len(str(fits.Card(keyword, value)).rstrip())
    room = 80 - length - len(" / ")
    return comment if length > 80 or len(comment) <= room else comment[: max(0, room)].rstrip()


def finer(position: Any, factor: float) -> Any:
    """1-based pixel position, in pixels ``factor`` times finer."""
    return factor * (position - 0.5) + 0.5


def set_default(header: Any, keyword: str, value: Any) -> None:
    """Write a card that is not there, with the value its absence stands for."""
    if keyword not in header:
        header[keyword] = value


def shift(header: Any, keyword: str, factor: float, origin: float = 0.5) -> bool:
    """Move a pixel position, counted from ``origin`` at the image's edge."""
    value = header.get(keyword)
    if not is_number(value):
        return value is None
    header[keyword] = factor * (value - origin) + origin
    return True


def multiply(header: Any, keyword: str, factor: float) -> bool:
    """Multiply a card and those of the same name, if there; `False` if a value is no number."""
    places = [(keyword, i) for i in range(header.count(keyword))] if keyword in header else []
    numbers = {place: header[place] for place in places if header[place] is not None}
    if not all(map(is_number, numbers.values())):
        return False
    for place, value in numbers.items():
        product = value * factor
        whole = isinstance(value, int) and product == round(product)
        header[place] = round(product) if whole else product
    return True
