# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Parts of images, with all that belongs to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from astropy.nddata import CCDData

__all__ = ["central_part"]


def central_part(images: dict[str, CCDData], size: int, *, factor: int = 1) -> dict[str, CCDData]:
    """
    Cut the central part out of images that are larger.

    Parameters
    ----------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``.
    size : int
        Largest side in input pixels.
    factor : int, optional
        Pixels of the images per input pixel and axis: parts of both grids show the same.

    Returns
    -------
    part : dict of str to `~astropy.nddata.CCDData`
        Images with WCS, mask, uncertainty, PSF and flags; the same ones where they are
        small enough.
    """
    shape = np.shape(next(iter(images.values())).data)
    if max(shape) <= factor * size:
        return images
    window = []
    for length in shape:
        first = max(0, length // factor - size) // 2
        window.append(slice(factor * first, factor * min(length // factor, first + size)))
    return {band: _cut(image, tuple(window)) for band, image in images.items()}


def _cut(image: CCDData, window: tuple[slice, ...]) -> CCDData:
    part = image[window]
    # Slicing forgets these.
    part.psf = getattr(image, "psf", None)
    flags = getattr(image, "flags", None)
    part.flags = None if flags is None else np.asarray(flags)[window]
    return part
