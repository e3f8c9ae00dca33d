# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Files of bands whose pixels come piece by piece, so that they never are in memory at once."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from splus_srgan.images.io.write import CHECKSUM_OF, build_hdus, check_writable
from splus_srgan.utils.files import atomic_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, Any

    from astropy.io.fits import HDUList
    from numpy.typing import NDArray

    from splus_srgan.utils.types import FilePath, Images

__all__ = ["FilePlane", "ReservedFile", "reserve_bands"]

_UNIT = 2880  # bytes; FITS headers and data fill whole ones
_ZEROS = bytes(_UNIT * 2**12)
_NOT_HERE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)  # file systems that reserve nothing


@contextmanager
def reserve_bands(
    path: FilePath, field: Images, *, overwrite: bool = False
) -> Iterator[ReservedFile]:
    """
    Lay out a file of `~splus_srgan.images.io.fields.write_bands`, and let its pixels follow.

    All its space is taken from the disk at once.  It is beside its place until the end,
    where it gets its checksums, and is then renamed.

    Parameters
    ----------
    path : path-like
        ``.fits``.
    field : mapping of str to `~astropy.nddata.NDData`
        What the file will hold: headers, PSFs, and the shapes of the other arrays.
    overwrite : bool, optional
        Whether an existing file may be replaced.

    Yields
    ------
    file : `ReservedFile`
        Takes pixels and cards.

    Raises
    ------
    OSError
        If there is not enough space, or the file cannot be written. Nothing is left behind.
    """
    hdus = build_hdus(field)
    hdus.verify("exception")
    hdus.update_extend()
    with atomic_path(check_writable(path, overwrite), overwrite=overwrite) as temporary:
        file = ReservedFile(temporary, list(field), hdus)
        yield file
        file.finish()


@dataclass(frozen=True)
class FilePlane:
    """
    Pixels in a file, which can be set and read by slices as those of an array.

    Attributes
    ----------
    path : `~pathlib.Path`
        The file.
    offset : int
        Where they begin, in bytes.
    dtype : `~numpy.dtype`
        What they are.
    shape : tuple of int
        ``(ny, nx)``.
    """

    path: Path
    offset: int
    dtype: np.dtype
    shape: tuple

    def _mapped(self) -> NDArray[Any]:
        # Anew each time: while a file is mapped, what was seen of it counts as memory.
        return np.memmap(self.path, self.dtype, "r+", self.offset, self.shape)

    def __getitem__(self, where: Any) -> Any:
        return self._mapped()[where]

    def __setitem__(self, where: Any, values: Any) -> None:
        self._mapped()[where] = values


class ReservedFile:
    """
    A file whose pixels are still to come.

    Parameters
    ----------
    path : `~pathlib.Path`
        It is empty yet.
    bands : list of str
        The bands.
    hdus : `~astropy.io.fits.HDUList`
        Its headers, and the data of HDUs of which no planes are asked for.
    keep : bool, optional
        Whether the file has this layout already, and pixels that stay.
    """

    def __init__(self, path: Path, bands: list[str], hdus: HDUList, *, keep: bool = False) -> None:
        self._path, self._bands = path, bands
        self._cards: dict[tuple[str, str], Any] = {}
        self._number = len(hdus)
        self._places = _lay_out(path, hdus, keep)

    def planes(self, part: str) -> list[FilePlane] | None:
        """
        The pixels of a part in the file.

        Parameters
        ----------
        part : {"SCI", "ERR", "DQ", "BPM"}
            The part.

        Returns
        -------
        planes : list of `FilePlane` or None
            One ``(ny, nx)`` for each band; `None` where the file has no such part.
        """
        keys = [(part, number) for number in range(1, len(self._bands) + 1)]
        if not set(keys) <= set(self._places):
            return None
        return [FilePlane(self._path, *self._places[key]) for key in keys]

    def set_card(self, band: str, keyword: str, value: Any) -> None:
        """Change the value of a card that the header of a band has; at the end of the work."""
        self._cards[band, keyword] = value

    def finish(self) -> None:
        """Write the cards and the checksums."""
        headers = [self._summed(index) for index in range(self._number)]
        # Not in the mode "update" of astropy, which makes the checksums anew, with the date.
        with self._path.open("r+b") as file:
            for place, text in headers:
                file.seek(place)
                file.write(text.encode("ascii"))

    def _summed(self, index: int) -> tuple[int, str]:
        """Where the header of an HDU stands, and its text with cards and checksums."""
        # Opened anew for each: what is mapped counts as memory until the file is closed.
        with fits.open(self._path, memmap=True) as hdus:
            hdu = hdus[index]
            for (band, keyword), value in self._cards.items():
                # What all bands have in common stands in the first header, too.
                common = index == 0 and len(self._bands) == 1 and keyword in hdu.header
                number = self._bands.index(band) + 1
                if common or (hdu.name, hdu.ver) == ("SCI", number):
                    hdu.header[keyword] = value
            hdu.add_checksum(when=CHECKSUM_OF)
            return hdu.fileinfo()["hdrLoc"], hdu.header.tostring(padding=True)


def _lay_out(path: Path, hdus: Any, keep: bool) -> dict[tuple[str, int], Any]:
    """Write headers and PSFs, take the space of the rest; where the data of each HDU are."""
    places = {}
    with Path(path).open("r+b" if keep else "wb") as file:
        for hdu in hdus:
            # With these two a header keeps its length when the sums are known.
            hdu.header["CHECKSUM"] = ("0" * 16, CHECKSUM_OF)
            hdu.header["DATASUM"] = ("0", CHECKSUM_OF)
            file.write(hdu.header.tostring(padding=True).encode("ascii"))
            if hdu.data is None:
                continue
            dtype = hdu.data.dtype.newbyteorder(">")
            places[hdu.name, hdu.ver] = file.tell(), dtype, hdu.data.shape
            if hdu.name == "PSF":
                file.write(hdu.data.astype(dtype).tobytes())
                size = -hdu.data.nbytes % _UNIT
            else:
                size = hdu.data.nbytes + -hdu.data.nbytes % _UNIT
            if keep:
                file.seek(size, os.SEEK_CUR)
            else:
                _reserve(file, size)
    return places


def _reserve(file: IO[bytes], size: int) -> None:
    """Add zeros to a file, so that no pixel will find the disk full."""
    file.flush()
    start = file.tell()
    if hasattr(os, "posix_fallocate") and size > len(_ZEROS):
        try:
            os.posix_fallocate(file.fileno(), start, size)
            file.seek(start + size)
            return
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
    for first in range(0, size, len(_ZEROS)):
        file.write(_ZEROS[: size - first])
    file.flush()
