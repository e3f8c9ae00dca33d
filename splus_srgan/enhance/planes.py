# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Arrays on the input's grid and on the fine one, whole or cut to a section."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from splus_srgan.pixels.fine_grid import FACTOR, to_fine_grid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = ["FACTOR", "Planes", "cut", "fine_place", "repeat", "upsample"]


@dataclass
class Planes:
    """
    Planes of the output: for each band one ``(2 ny, 2 nx)`` that takes slices.

    Attributes
    ----------
    image, mask, quality, uncertainty : sequence of array-like
        In memory they are arrays ``(n_band, 2 ny, 2 nx)``; they can be in a file
        (`~splus_srgan.images.io.reserve.FilePlane`).
        ``uncertainty`` is `None` if not requested.
    """

    image: Any
    mask: Any
    quality: Any
    uncertainty: Any = None

    @classmethod
    def in_memory(
        cls, shape: tuple[int, ...], *, uncertainty: object, allocate: Callable[..., Any] = np.empty
    ) -> Planes:
        """Arrays for an output of a shape ``(n_band, 2 ny, 2 nx)``."""
        kinds = (np.float32, bool, np.uint8, np.float32 if uncertainty else None)
        return cls(*(None if kind is None else allocate(shape, kind) for kind in kinds))

    @classmethod
    def of_zeros(cls, shape: tuple[int, ...], *, uncertainty: object) -> Planes:
        """Arrays that hold zeros and take no memory."""
        return cls.in_memory(shape, uncertainty=uncertainty, allocate=_zeros)

    def write(self, place: tuple[slice, ...], made: Sequence[Any]) -> None:
        """
        Write the result for a part of the input to its place.

        Parameters
        ----------
        place : tuple of slice
            Rows and columns of the input.
        made : sequence of `~numpy.ndarray` or None
            Image, mask, quality and standard deviations of that place, on the fine grid.
        """
        rows, columns = fine_place(place)
        wholes = self.image, self.mask, self.quality, self.uncertainty
        for whole, own in zip(wholes, made, strict=True):
            if own is not None:
                for k, plane in enumerate(own):
                    whole[k][rows, columns] = plane

    def digest(self, place: tuple[slice, ...]) -> str:
        """
        Hash the pixels of a part of the input, as they are.

        Parameters
        ----------
        place : tuple of slice
            Rows and columns of the input.

        Returns
        -------
        sha256 : str
            64 hexadecimal digits.
        """
        where, total = fine_place(place), hashlib.sha256()
        for whole in (self.image, self.mask, self.quality, self.uncertainty):
            for plane in () if whole is None else whole:
                part: Any = np.ascontiguousarray(plane[where]).view(np.uint8)
                total.update(part)
        return total.hexdigest()


def _zeros(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    return np.broadcast_to(np.zeros((), kind), shape)


def fine_place(place: tuple[slice, ...]) -> tuple[slice, ...]:
    """Rows and columns on the fine grid of a place on the input's."""
    return tuple(slice(FACTOR * part.start, FACTOR * part.stop) for part in place)


def cut(array: Any, where: tuple[slice, ...]) -> Any:
    """Part of a stack; numbers per band ``(n_band, 1, 1)`` are left alone."""
    return array if array.shape[1:] == (1, 1) else array[(slice(None), *where)]


def repeat(planes: NDArray[Any]) -> NDArray[Any]:
    """Each pixel of a stack as the fine ones that it consists of."""
    return planes.repeat(FACTOR, 1).repeat(FACTOR, 2)


def upsample(values: FloatArray) -> FloatArray:
    """A map on the fine grid, linear between the pixel centres; numbers per band are left alone."""
    if values.shape[1:] == (1, 1):
        return values
    return to_fine_grid(values, order=1)
