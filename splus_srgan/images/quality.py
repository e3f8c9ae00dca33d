# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bits of the QUALITY plane: which output pixels to trust, and why not."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.utils.types import BoolArray

__all__ = ["Quality", "describe", "quality_plane"]


class Quality(enum.IntFlag):
    """
    What may be wrong with an output pixel; 0 is a pixel without remarks.

    *Near* a pixel is what the network may compute from it: within its reach, the radius of its
    receptive field, and not that pixel itself.  The network looks at all bands that it restores
    together, so a pixel that is missing in one of them is `NEAR_MISSING` in the others.

    Examples
    --------
    >>> from splus_srgan import Quality
    >>> bad = Quality.MISSING | Quality.SATURATED
    >>> int(bad), bool(5 & bad)
    (5, True)
    """

    MISSING = 1
    """No valid input here: the value was filled in and is masked."""
    NEAR_MISSING = 2
    """Within reach of a missing pixel of this band, or of one that is restored with it."""
    SATURATED = 4
    """The input has 95 % of the level in the card SATURATE or more."""
    NEAR_SATURATED = 8
    """Within reach of a saturated pixel of this band, or of one that is restored with it."""
    EDGE = 16
    """So near the border that what lies beyond it may change the value by more than 0.1 of its
    uncertainty, as measured for the weights; without a measurement, within their reach."""
    EXTRAPOLATED = 32
    """The input lies outside what the weights were trained for."""
    UNUSUAL = 64
    """No pixel of a sound image: a spike, or in an area of one value."""
    FITTED_STAR = 128
    """Most of what is above the sky here is a star that was fitted, at the PSF of the output:
    its flux and place were measured, its shape was not."""


def describe(value: int) -> str:
    """
    Put a value of the QUALITY plane into words.

    Parameters
    ----------
    value : int
        Sum of `Quality` bits, 0 to 255.

    Returns
    -------
    text : str
        Names of the bits, joined by ``" | "``; ``"GOOD"`` for 0.

    Raises
    ------
    TypeError
        If ``value`` is not an integer.
    ValueError
        If it has bits that mean nothing.

    Examples
    --------
    >>> from splus_srgan.images.quality import describe
    >>> describe(0), describe(18)
    ('GOOD', 'NEAR_MISSING | EDGE')
    """
    value = check_integer("value", value, minimum=0)
    known = sum(Quality)
    if value & ~known:
        raise ValueError(f"value must be a sum of Quality bits, 0 to {known}; got {value!r}")
    return " | ".join(str(bit.name) for bit in Quality if value & bit) or "GOOD"


def quality_plane(
    missing: BoolArray,
    saturated: BoolArray | None = None,
    *,
    radius: int,
    edge: int | None = None,
    extrapolated: ArrayLike | None = None,
    unusual: BoolArray | None = None,
    factor: int = 2,
) -> NDArray[np.uint8]:
    r"""
    Build the QUALITY plane of an enhanced image.

    A pixel is *near* another when their Chebyshev distance
    :math:`\max(|\Delta x|, |\Delta y|)` is at most ``radius``, for the
    receptive field of a convolutional network is a square.

    Parameters
    ----------
    missing : `~numpy.ndarray` of bool, shape (n_band, ny, nx)
        Input pixels without a valid value.
    saturated : `~numpy.ndarray` of bool, shape (n_band, ny, nx), optional
        Input pixels at or above saturation.
    radius : int
        Reach of the network in input pixels, at least 0.
    edge : int, optional
        How far from the border pixels are `Quality.EDGE`, in input pixels, at most ``radius``,
        which is the default.
    extrapolated : array_like of bool, optional
        Whatever broadcasts to ``(n_band, ny, nx)``, such as one flag per band
        of shape ``(n_band, 1, 1)``.
    unusual : `~numpy.ndarray` of bool, shape (n_band, ny, nx), optional
        Input pixels that are `Quality.UNUSUAL`.
    factor : int, optional
        Output pixels per input pixel along each axis, at least 1. With 1 the
        plane is on the input grid, for those who expand it block by block.

    Returns
    -------
    quality : `~numpy.ndarray` of uint8, shape (n_band, factor * ny, factor * nx)
        Sum of `Quality` bits. A ``NEAR_`` bit is not set on the bad pixel itself.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``radius``, ``edge`` or ``factor`` is too small.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.images.quality import quality_plane
    >>> missing = np.zeros((1, 1, 5), dtype=bool)
    >>> missing[0, 0, 2] = True
    >>> quality_plane(missing, radius=0, factor=1)
    array([[[0, 0, 1, 0, 0]]], dtype=uint8)
    """
    radius = check_integer("radius", radius, minimum=0)
    edge = radius if edge is None else min(check_integer("edge", edge, minimum=0), radius)
    factor = check_integer("factor", factor, minimum=1)
    missing = np.asarray(missing, dtype=bool)
    if missing.ndim != 3:
        raise ValueError(f"missing must have shape (n_band, ny, nx); got {missing.shape}")
    plane = np.zeros(missing.shape, dtype=np.uint8)
    _flag(plane, missing, Quality.MISSING, Quality.NEAR_MISSING, radius)
    if saturated is not None:
        saturated = np.asarray(saturated, dtype=bool)
        if saturated.shape != missing.shape:
            raise ValueError(
                f"saturated must have the shape of missing, {missing.shape}; got {saturated.shape}"
            )
        _flag(plane, saturated, Quality.SATURATED, Quality.NEAR_SATURATED, radius)
    _flag_edge(plane, edge)
    if extrapolated is not None:
        plane[np.broadcast_to(extrapolated, plane.shape)] |= np.uint8(Quality.EXTRAPOLATED)
    if unusual is not None:
        plane[unusual] |= np.uint8(Quality.UNUSUAL)
    return plane.repeat(factor, axis=1).repeat(factor, axis=2)


def _flag(plane: NDArray[Any], bad: BoolArray, here: Any, near: Any, radius: int) -> None:
    if not bad.any():
        return
    anywhere = bad.any(axis=0)
    reached = ndimage.maximum_filter(anywhere, size=2 * radius + 1, mode="constant", cval=0)
    plane[bad] |= np.uint8(here)
    plane[reached & ~bad] |= np.uint8(near)


def _flag_edge(plane: NDArray[Any], width: int) -> None:
    for axis in (1, 2):
        along = np.moveaxis(plane, axis, 0)
        along[:width] |= np.uint8(Quality.EDGE)
        along[max(along.shape[0] - width, 0) :] |= np.uint8(Quality.EDGE)
