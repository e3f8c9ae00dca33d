# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From the grid of the input to the twice finer one of the output."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray

__all__ = ["FACTOR", "to_fine_grid"]

FACTOR = 2
"""Output pixels per input pixel, along each axis."""


def to_fine_grid(planes: FloatArray, *, order: int) -> FloatArray:
    """
    Sample images at the pixels of the fine grid.

    Output pixels ``2 i`` and ``2 i + 1`` share input pixel ``i``, whose centre lies at
    ``2 i + 0.5``.  Values are sampled, so a flux per pixel has to be divided by 4 besides.

    Parameters
    ----------
    planes : `~numpy.ndarray`, shape (..., ny, nx)
        One image or a stack.
    order : int
        Order of the splines: 1 is linear, 3 is cubic.

    Returns
    -------
    fine : `~numpy.ndarray`, shape (..., 2 ny, 2 nx)
        Beyond the outermost centres, images go on as they end.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.fine_grid import to_fine_grid
    >>> to_fine_grid(np.array([[0.0, 4.0]]), order=1)
    array([[0., 1., 3., 4.],
           [0., 1., 3., 4.]])
    """
    zoom = (1,) * (np.ndim(planes) - 2) + (FACTOR, FACTOR)
    return ndimage.zoom(planes, zoom, order=order, mode="nearest", grid_mode=True)
