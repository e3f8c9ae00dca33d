# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bytes of a FITS file to headers and arrays, and clear words where that fails."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

__all__ = ["ImageHDU", "load_images"]


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
    data : `~numpy.ndarray`
        As stored, scaled by BSCALE and BZERO; integers that equal BLANK are NaN.
    floating : bool
        Whether the file stores floating-point numbers.
    """

    index: int
    name: str
    header: fits.Header
    data: np.ndarray
    floating: bool

    def __str__(self):
        shape = "x".join(map(str, self.data.shape))
        keys = ("IMAGETYP", "BAND", "FILTER", "BRICK")
        cards = [f"{key}={self.header[key]}" for key in keys if key in self.header]
        return " ".join([f"{self.index} {self.name}".strip(), f"({shape})", *cards])


def load_images(path):
    """
    Read every image of a FITS file.

    Parameters
    ----------
    path : `~pathlib.Path`
        Plain, compressed as a whole (gzip) or tile by tile (``.fz``).

    Returns
    -------
    primary : `~astropy.io.fits.Header`
        Header of the first HDU.
    images : list of `ImageHDU`
        HDUs that have pixels, in order.

    Raises
    ------
    OSError
        If the file is missing, not readable, no FITS, or damaged. Its
        message names the file.
    """
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give the FITS files in it")
    try:
        # Opened here, for astropy leaves damaged files open.
        with path.open("rb") as stream, warnings.catch_warnings():
            # astropy warns of a truncated file, and fails later or not at all.
            warnings.filterwarnings("error", message=".*truncated.*")
            with fits.open(stream, memmap=False, lazy_load_hdus=False) as hdus:
                primary = hdus[0].header.copy()
                images = [_image(i, hdu, primary) for i, hdu in enumerate(hdus)]
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} does not exist") from None
    except PermissionError as error:
        raise PermissionError(f"{path} cannot be read: permission denied") from error
    except MemoryError:
        raise
    except Exception as error:  # damage shows as nearly any kind of exception
        raise OSError(
            f"{path} cannot be read as FITS: it is damaged, truncated or something else "
            f"({_beginning(path)}{type(error).__name__}: {error})"
        ) from error
    return primary, [image for image in images if image is not None]


def _image(index, hdu, primary):
    if not hdu.is_image:
        return None
    floating = hdu.header["BITPIX"] < 0
    # Before the data are asked for, which takes the cards of their scale away.
    blank = None if floating else _unseen_blank(hdu.header)
    data = hdu.data
    if data is None:
        return None
    if blank is not None:
        data = np.where(data == blank, np.float32(np.nan), data)
    header = hdu.header.copy()
    if header.get("INHERIT") is True and index:
        header.extend(primary, unique=True)
    return ImageHDU(index, hdu.name, header, np.asarray(data), floating)


def _unseen_blank(header):
    """Value of the pixels that BLANK calls missing, where astropy does not make them NaN."""
    blank, zero = header.get("BLANK"), header.get("BZERO", 0)
    if not isinstance(blank, int):
        return None
    # Unsigned integers have no NaN, and a BLANK of 0 is overlooked.
    unsigned = zero == 2 ** (header["BITPIX"] - 1) and header.get("BSCALE", 1) == 1
    return blank + int(zero) if unsigned else zero if blank == 0 else None


def _beginning(path):
    """Quote how a file begins that is no FITS; services answer errors in plain text."""
    try:
        with Path(path).open("rb") as file:
            start = file.read(24)
    except OSError:
        return ""
    return "" if start.startswith((b"SIMPLE", b"\x1f\x8b")) else f"it begins with {start!r}; "
