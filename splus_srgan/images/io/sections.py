# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pixels that stay in their FITS file until a part of them is asked for."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.io import fits

from splus_srgan.pixels.lazy import LazyPlane

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import DTypeLike, NDArray

    from splus_srgan.utils.types import FilePath

__all__ = ["FileImage", "kept_open"]

_KEPT: ContextVar[dict[Any, Any] | None] = ContextVar("kept", default=None)
_SCALES = ("BSCALE", "BZERO", "BLANK")
_NAN = np.float32(np.nan)


@dataclass(frozen=True, eq=False)
class FileImage(LazyPlane):
    """
    An image in a FITS file, plain or compressed tile by tile, that is read by sections.

    The file is opened anew for each (but see `kept_open`), so nothing has to be closed, and
    another process can be given an image by its name alone.

    Attributes
    ----------
    path : `~pathlib.Path`
        The file.
    index : int
        Number of the HDU.
    shape : tuple of int
        Shape of the image, or of a plane of it.
    dtype : `~numpy.dtype`
        What parts are given as, in native byte order.
    place : tuple of int
        Which plane it is, where the HDU has more than two axes.
    blank : int or None
        Value of missing pixels, where astropy does not make them NaN.
    mapped : bool
        Whether the file may be mapped into memory; astropy does not, where it scales numbers.
    tiled : bool
        Whether it is compressed tile by tile.
    stamp : tuple of int
        Size and time of the file, which is not to change.
    """

    path: Path
    index: int
    shape: tuple
    dtype: np.dtype
    place: tuple = ()
    blank: int | None = None
    mapped: bool = True
    tiled: bool = False
    stamp: tuple = ()
    in_file = True

    @classmethod
    def of(cls, path: FilePath, index: int, hdu: Any, blank: int | None) -> FileImage | None:
        """Of an HDU of an open file; `None` where it has no pixels."""
        if not hdu.shape:
            return None
        compressed = isinstance(hdu, fits.CompImageHDU)
        scaled = any(card in hdu.header for card in _SCALES)
        image = cls(
            Path(path).absolute(),  # other processes may have another working folder
            index,
            tuple(hdu.shape),
            np.dtype(np.float32),
            blank=blank,
            mapped=not scaled,  # else astropy refuses, compressed or not
            tiled=compressed,
            stamp=_stamp(path),
        )
        if 0 in image.shape:
            return image
        first = image._stored((slice(0, 1),) * image.ndim)
        return replace(image, dtype=first.dtype.newbyteorder("="))

    @property
    def ndim(self) -> int:  # type: ignore[override]
        """Number of axes."""
        return len(self.shape)

    def astype(self, dtype: DTypeLike, **_: object) -> FileImage:
        """The same with its parts as numbers of another kind."""
        return replace(self, dtype=np.dtype(dtype))

    def __getitem__(self, where: Any) -> Any:
        if self.ndim == 2:
            return super().__getitem__(where)
        if isinstance(where, int):
            return replace(self, shape=self.shape[1:], place=(*self.place, where))
        return np.asarray(self)[where]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if self.ndim == 2:
            return super().__array__(dtype, copy)
        return self._stored((slice(None),) * self.ndim, self.dtype if dtype is None else dtype)

    def _part(self, rows: Any, columns: Any) -> NDArray[Any]:
        return self._stored((rows, columns), self.dtype)

    def _stored(self, where: tuple[Any, ...], dtype: DTypeLike | None = None) -> NDArray[Any]:
        """A part as the file has it, scaled, or as numbers of a kind."""
        if _stamp(self.path) != self.stamp:
            raise OSError(f"{self.path} changed while it was read; begin again")
        with self._opened() as hdus:
            section = hdus[self.index].section
            if self.mapped and not self.tiled:
                # Whole rows are one piece of the file, of which only what is used is read.
                data = section[(*self.place, where[0])][(slice(None), *where[1:])]
            else:
                data = section[(*self.place, *where)]
            if self.blank is not None:
                data = np.where(data == self.blank, _NAN, data)
            return np.array(data, dtype, order="C")

    @contextmanager
    def _opened(self) -> Iterator[fits.HDUList]:
        kept, key = _KEPT.get(), (self.path, self.stamp, self.mapped)
        if kept is None:
            with fits.open(self.path, memmap=self.mapped) as hdus:
                yield hdus
        else:
            if key not in kept:
                kept[key] = fits.open(self.path, memmap=self.mapped)
            yield kept[key]


@contextmanager
def kept_open() -> Iterator[None]:
    """
    Open files once, for all parts that are read within and in this thread.

    To open a file takes longer than to read a small part of it.
    """
    kept: dict[Any, Any] = {}
    token = _KEPT.set(kept)
    try:
        yield
    finally:
        _KEPT.reset(token)
        for hdus in kept.values():
            hdus.close()


def _stamp(path: FilePath) -> tuple[int, int]:
    state = Path(path).stat()
    return state.st_size, state.st_mtime_ns
