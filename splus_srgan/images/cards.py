# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cards of image headers outside the WCS, on their way to finer pixels."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from astropy.io import fits

from splus_srgan.images.header import LEVELS, last_word
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = [
    "finer",
    "fitting_comment",
    "is_section",
    "multiply",
    "regrid_cards",
    "rescale_card",
    "set_default",
    "shift",
]

# Compared with the last word of a keyword: powers of the factor by which these go.
_SIZES = {
    re.compile("IMAGE[WH]|[AB]DMAX|CNPIX[12]"): 1,
    re.compile("[XY]?(PIX(EL|L)?|PX)(SCA?L?E?|SIZE?|SZ)[12XYN]?"): -1,
    re.compile(r"(SEC(PER|P)?|A(RC)?SEC|ARC)PIX[12XY]?|(CCD|IDC)SCALE?|D\d\d\dSCAL"): -1,
    re.compile("PIX(EL)?AR(EA|SR|A2)?"): -2,
}
# Centers in S-PLUS stamps: 0-based pixel of the stamp.
_ZERO_BASED = {"X01TILE", "Y01TILE"}
# With a letter or number behind it, of one amplifier. Sections of the detector are not of it.
_SECTIONS = re.compile(
    r"(DATA?|TRIM|BIAS|PRE|POST|OVE?R|GOOD|STAT|SCI|ILLUM|IMA?G?E?|[DTB])SEC[A-Z]?\d*"
)
_MEASURED = re.compile(
    r"NC(MODE|MIDPT|MIDRMS|NOISE|NOIRMS)|[SAB]NOIFIT|SKY(SIG(MA)?|RMS|VAR|LEVEL|BRITE)?"
    r"|(EFF)?(READ|RD|R)(NOI(SE?)?|NSE?)[A-H]?\d?|(EFF)?RON(EFF|OISE)?[A-H]?\d?|EFFRN|ENOISE"
    r"|BACK(GND|RMS)|DATA(MIN|MAX|MEAN)|GOOD(MIN|MAX)|BRICK[XY]0|SRFLAGS"
    r"|FULLWELL|MAXLIN(EA)?|(FWHM|SEEING|SEE)PI?X"
)
_OF_PSF = re.compile(r"(?!SR).*FWHM.*|SEEING\w?|ELLIPMEAN|IQIMAGE")
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
    for key in dict.fromkeys(meta):
        if not isinstance(key, str) or key not in meta or key in ("", "COMMENT", "HISTORY"):
            continue
        word = last_word(key)
        if key.upper().startswith("INPUT "):
            continue
        if _OF_GRID.fullmatch(key.split(" ")[-1].upper()) or _STORAGE.fullmatch(key):
            del meta[key]
        elif LEVELS.fullmatch(word) or (power := _power(word)) < 0:
            change = level if LEVELS.fullmatch(word) else lambda value, p=power: value * ratio**-p
            if not _changed(meta, key, change):
                _rename_to_input(meta, key)
        elif (
            power > 0
            or _MEASURED.fullmatch(word)
            or (new_psf and _OF_PSF.fullmatch(word))
            or word in _ZERO_BASED
            or is_section(key)
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
    word = last_word(keyword)
    measured = _MEASURED.fullmatch(word) or (new_psf and _OF_PSF.fullmatch(word))
    if _STORAGE.fullmatch(keyword) or header[keyword] == "COMPRESSED_IMAGE":
        header.remove(keyword, remove_all=True)
    elif measured or not _rescaled(header, keyword, axes, factor, flux_scale):
        _mark_as_input(header, keyword)


def is_section(keyword: str) -> bool:
    """
    Tell whether a keyword is that of a section of this image, and not of its detector.

    Parameters
    ----------
    keyword : str
        Of a card.

    Returns
    -------
    section : bool
        `True` for ``DATASEC``, ``TRIMSECA``, ``BIASSEC1`` and the like; not for ``CCDSEC``.

    Examples
    --------
    >>> from splus_srgan.images.cards import is_section
    >>> is_section("TRIMSECA"), is_section("DETSEC")
    (True, False)
    """
    return _SECTIONS.fullmatch(last_word(keyword)) is not None


def _power(word: str) -> int:
    return next((power for pattern, power in _SIZES.items() if pattern.fullmatch(word)), 0)


def _rescaled(header: Any, keyword: str, axes: Any, factor: float, flux_scale: float) -> bool:
    """Rescale a card if it needs that; `False` if it does and cannot be."""
    value = header[keyword]
    if power := _power(word := last_word(keyword)):
        return multiply(header, keyword, float(factor) ** power)
    if LEVELS.fullmatch(word):
        return multiply(header, keyword, flux_scale)
    if keyword in _ZERO_BASED:
        return shift(header, keyword, factor, origin=-0.5)
    if is_section(keyword):
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

    def product(value: Any) -> Any:
        new = value * factor
        return round(new) if isinstance(value, int) and new == round(new) else new

    return keyword not in header or _changed(header, keyword, product)


def _changed(meta: Any, keyword: str, change: Callable[[float], float]) -> bool:
    """Change a card and those of the same name; `False` if a value is no number."""
    places: Any = [keyword]
    if isinstance(meta, fits.Header):
        places = [(keyword, i) for i in range(meta.count(keyword))]
    numbers = {place: meta[place] for place in places if meta[place] is not None}
    if not all(map(is_number, numbers.values())):
        return False
    for place, value in numbers.items():
        meta[place] = change(value)
    return True
