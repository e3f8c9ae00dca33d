# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bytes of a FITS file to headers and arrays, and clear words where that fails."""

from __future__ import annotations

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits
from astropy.io.fits.verify import VerifyWarning

from splus_srgan.exceptions import ChecksumWarning, printable
from splus_srgan.images.grid import header_wcs
from splus_srgan.images.io.plausible import check_headers, check_regular
from splus_srgan.images.io.sections import FileImage
from splus_srgan.utils.files import local_path
from splus_srgan.utils.quiet import own_filters
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from typing import IO, Any

    from astropy.io.fits import Header

    from splus_srgan.utils.types import FilePath

__all__ = ["ImageHDU", "OtherHDU", "check_source", "load_images"]

_TABLES = ("WCSDVARR", "D2IMARR")  # EXTNAME of lookup tables of a WCS
_LOOKUP = re.compile(r"(CPDIS|D2IMDIS)\d|AXISCORR|D2IMEXT")
_READ_TABLES = ("METADATA",)  # others beside an image may be large, and say nothing of it
_BARE_TEXT = re.compile(r"[A-Za-z][^'/]*")


@dataclass(frozen=True, eq=False)
class ImageHDU:
    """
    One HDU that holds pixels.

    Attributes
    ----------
    index : int
        Its number in the file.
    name : str
        Its EXTNAME, maybe empty.
    header : `~astropy.io.fits.Header`
        Its own copy; with ``INHERIT = T`` joined by the primary's cards.
    data : `~numpy.ndarray` or `~splus_srgan.images.io.sections.FileImage`
        As stored, scaled by BSCALE and BZERO; integers that equal BLANK are NaN.
    floating : bool
        Whether the file stores floating-point numbers.
    wcs : `~astropy.wcs.WCS` or None
        Where the header needs lookup tables of the file: with them.
    """

    index: int
    name: str
    header: fits.Header
    data: np.ndarray | FileImage
    floating: bool
    wcs: object = None

    @property
    def version(self) -> Any:
        """Its EXTVER."""
        return self.header.get("EXTVER", 1)

    def __str__(self) -> str:
        shape = "x".join(map(str, self.data.shape))
        keys = ("IMAGETYP", "BAND", "FILTER", "BRICK")
        cards = [f"{key}={self.header[key]}" for key in keys if key in self.header]
        name = self.name if self.version == 1 else f"{self.name},{self.version}"
        return " ".join([f"{self.index} {name}".strip(), f"({shape})", *cards])


@dataclass(frozen=True, eq=False)
class OtherHDU:
    """
    One HDU without pixels that may belong to an image.

    Attributes
    ----------
    name : str
        Its EXTNAME, maybe empty.
    header : `~astropy.io.fits.Header`
        Its own copy.
    rows : `~astropy.io.fits.FITS_rec` or None
        Of a table called ``METADATA``.
    """

    name: str
    header: fits.Header
    rows: object = None

    @property
    def version(self) -> Any:
        """Its EXTVER."""
        return self.header.get("EXTVER", 1)


def check_source(path: FilePath | bytes) -> Path:
    """
    Make a path of what names a file to read, or say what to do.

    Parameters
    ----------
    path : path-like or bytes
        A leading ``~`` is the home folder.

    Returns
    -------
    path : `~pathlib.Path`
        A regular file.

    Raises
    ------
    TypeError
        If it is no name: an open file, an `~astropy.io.fits.HDUList`, ...
    OSError
        If it is missing, no regular file, or not on this machine.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise TypeError(
            f"paths must be names of FITS files; got {type(path).__name__}; give the name of the "
            "file, or make an image of an open HDU: "
            "CCDData(hdu.data, unit=..., wcs=WCS(hdu.header), meta=hdu.header)"
        )
    name = os.fsdecode(path)
    if not name.strip():
        raise FileNotFoundError("paths must be names of FITS files; got an empty one")
    place = local_path(name)
    part = re.fullmatch(r"(.+)\[([^\[\]]+)\]", name)
    if part and not place.exists() and local_path(part[1]).is_file():
        hdu = part[2] if part[2].isdecimal() else repr(part[2])
        raise FileNotFoundError(f"{name} does not exist; give {part[1]} and hdu={hdu}")
    check_regular(place)
    return place


def load_images(
    path: Path, *, checksum: Any = "warn", memmap: bool = False
) -> tuple[Header, list[ImageHDU], list[OtherHDU]]:
    """
    Read every image of a FITS file.

    Parameters
    ----------
    path : path-like
        Plain, compressed as a whole (gzip) or tile by tile (``.fz``).
    checksum : {"warn", "error", "ignore"}, optional
        What happens where a checksum in a file of this package does not hold.
    memmap : bool, optional
        Whether pixels stay in the file; those of a file that is compressed as a whole cannot.

    Returns
    -------
    primary : `~astropy.io.fits.Header`
        Header of the first HDU.
    images : list of `ImageHDU`
        HDUs that have pixels, in order.
    others : list of `OtherHDU`
        Of those that have none: tables called ``METADATA``, and extensions of headers alone.

    Raises
    ------
    OSError
        If the file is missing, not readable, no FITS, or damaged; if planes of a file of this
        package are missing; or, where that is asked for, if a checksum does not hold. Its
        message names the file.
    """
    check_one_of("checksum", checksum, ("warn", "error", "ignore"))
    path = check_source(path)
    try:
        headers = check_headers(path)
        ours = bool(headers) and "SRBANDS" in headers[0]
        # Opened here, for astropy leaves damaged files open.
        with path.open("rb") as stream, own_filters(record=True) as caught:
            warnings.simplefilter("always")
            # astropy warns of a truncated file, and fails later or not at all.
            warnings.filterwarnings("error", message=".*truncated.*")
            stays = path if memmap and not _is_packed(stream) else None
            options = {"checksum": ours and checksum != "ignore", "memmap": stays is not None}
            with fits.open(stream, lazy_load_hdus=False, **options) as hdus:
                primary = _repaired(hdus[0].header)
                images = [_image(i, hdu, primary, hdus, stays) for i, hdu in enumerate(hdus)]
                others = [_other(hdu) for hdu in hdus[1:]]
                if ours:
                    _check_whole(primary, hdus)
    except PermissionError as error:
        raise PermissionError(f"{path} cannot be read: permission denied") from error
    except MemoryError:
        raise
    except IsADirectoryError:
        raise
    except Exception as error:  # damage shows as nearly any kind of exception
        raise OSError(
            f"{path} cannot be read as FITS: it is damaged, truncated or something else "
            f"({_beginning(path)}{type(error).__name__}: {printable(str(error))})"
        ) from error
    _pass_on(caught, path, checksum)
    kept = [image for image in images if image is not None]
    return primary, kept, [other for other in others if other is not None]


def _is_packed(stream: IO[bytes]) -> bool:
    """Whether a file is compressed as a whole, so that no part of it can be read alone."""
    start = stream.read(2)
    stream.seek(0)
    return start != b"SI"


def _pass_on(caught: Any, path: Path, checksum: str) -> None:
    """Warnings of astropy, those of checksums under a name of their own."""
    broken = [one for one in caught if re.match("(Checksum|Datasum) verif", str(one.message))]
    for one in caught:
        # Cards against the standard are mended where they matter.
        if one not in broken and not issubclass(one.category, VerifyWarning):
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    if broken:
        what = "; ".join(dict.fromkeys(str(one.message).strip().rstrip(".") for one in broken))
        text = f"{path} is not as it was written: {what}; get it again, or compare it with a copy"
        if checksum == "error":
            raise OSError(text)
        warnings.warn(text, ChecksumWarning, stacklevel=5)


def _check_whole(primary: Any, hdus: Any) -> None:
    """Make sure that all HDUs announced by the first one are there."""
    told = primary.get("NEXTEND")
    if isinstance(told, int) and len(hdus) - 1 < told:
        raise ValueError(
            f"it has {len(hdus) - 1} extensions of {told}: it did not arrive whole; get it again"
        )
    images = [hdu for hdu in hdus if hdu.name.partition("_")[0] == "SCI"]
    if primary.get("NAXIS") == 0 and images:
        there = {str(hdu.header.get("SRBAND")).upper() for hdu in images}
        lacking = [band for band in str(primary["SRBANDS"]).split(",") if band.upper() not in there]
        if lacking:
            raise ValueError(f"it lacks the bands {lacking}: it did not arrive whole; get it again")


def _repaired(header: Header) -> Header:
    """A copy of a header, with quotes where a text has none, and no axes that are not there."""
    header = header.copy()
    for index, card in enumerate(header.cards):
        try:
            _ = card.value
        except fits.VerifyError:
            try:
                text = card.image[10:].split("/")[0].strip()
            except ValueError:  # letters that astropy takes in no card, such as tabs
                del header[index]
                header.insert(index, ("HISTORY", f"unreadable card: {card.keyword}"))
                continue
            if card.image[8:10] == "= " and _BARE_TEXT.fullmatch(text):
                del header[index]
                header.insert(index, fits.Card(card.keyword, text))
    axes = header.get("NAXIS")
    for keyword in [key for key in header if re.fullmatch(r"NAXIS\d+", key)]:
        if isinstance(axes, int) and int(keyword[5:]) > axes:
            header.remove(keyword, remove_all=True)
    return header


def _image(index: int, hdu: Any, primary: Any, hdus: Any, stays: Any) -> ImageHDU | None:
    if not hdu.is_image or hdu.name.upper() in _TABLES:
        return None
    floating = hdu.header["BITPIX"] < 0
    # Before the data are asked for, which takes the cards of their scale away.
    blank = None if floating else _unseen_blank(hdu.header)
    data = _data(hdu, blank) if stays is None else FileImage.of(stays, index, hdu, blank)
    if data is None:
        return None
    header = _repaired(hdu.header)
    if stays is not None and blank is None:  # as astropy says it of data that it has scaled
        header["BITPIX"] = fits.DTYPE2BITPIX[data.dtype.name]
    if header.get("INHERIT") is True and index:
        header.extend(primary, unique=True)
    wcs = None
    if any(map(_LOOKUP.fullmatch, header)):
        wcs = header_wcs(header, name=f"HDU {index}", hdus=hdus)
    return ImageHDU(index, hdu.name, header, data, floating, wcs)


def _data(hdu: Any, blank: Any) -> Any:
    """Pixels of an HDU, in memory."""
    data = hdu.data
    if data is None or blank is None:
        return data
    return np.where(data == blank, np.float32(np.nan), data)


def _other(hdu: Any) -> OtherHDU | None:
    if isinstance(hdu, fits.BinTableHDU | fits.TableHDU) and hdu.name.upper() in _READ_TABLES:
        return OtherHDU(hdu.name, hdu.header.copy(), hdu.data)
    if isinstance(hdu, fits.ImageHDU) and hdu.header["NAXIS"] == 0:
        return OtherHDU(hdu.name, _repaired(hdu.header))
    return None


def _unseen_blank(header: Header) -> Any:
    """Value of the pixels that BLANK calls missing, where astropy does not make them NaN."""
    blank, zero = header.get("BLANK"), header.get("BZERO", 0)
    if not isinstance(blank, int):
        return None
    # Unsigned integers have no NaN, and a BLANK of 0 is overlooked.
    unsigned = zero == 2 ** (header["BITPIX"] - 1) and header.get("BSCALE", 1) == 1
    return blank + int(zero) if unsigned else zero if blank == 0 else None


def _beginning(path: FilePath) -> str:
    """Quote how a file begins that is no FITS; services answer errors in plain text."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(24)
    except OSError:
        return ""
    return "" if start.startswith((b"SIMPLE", b"\x1f\x8b")) else f"it begins with {start!r}; "
