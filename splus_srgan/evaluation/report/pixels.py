# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Images as the viewer of the report takes them: few bytes, in units of the input's noise.

A value is the surface brightness above the sky in units of sigma of an input pixel.
It is kept as the integer nearest to ``steps * arcsinh(value / softening)``: the step is
1/32 sigma at the sky and 0.2 % of bright pixels, finer than a display shows.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = ["ENCODING", "color_balance", "encode_bits", "encode_plane", "thumbnail", "white_level"]

ENCODING = {"softening": 16.0, "steps": 512, "missing": -32768}
_BLACK, _SOFTENING = -1.5, 2.0  # sigma; those that the viewer starts with
_THUMBNAIL = 96


def encode_plane(values: NDArray[Any]) -> str:
    """
    Write a plane as base64 of compressed 16-bit differences along its rows.

    Parameters
    ----------
    values : `~numpy.ndarray`, shape (ny, nx)
        In units of sigma; what is not finite is missing.

    Returns
    -------
    text : str
        ASCII.
    """
    values = np.asarray(values, float)
    finite = np.isfinite(values)
    scaled = np.arcsinh(np.where(finite, values, 0) / ENCODING["softening"]) * ENCODING["steps"]
    whole = np.clip(np.rint(scaled), -32767, 32767).astype(np.int16)
    whole[~finite] = ENCODING["missing"]
    # Differences wrap around, and so does the sum that undoes them.
    unsigned = whole.view(np.uint16)
    steps = np.diff(unsigned, axis=1, prepend=np.uint16(0)).astype("<u2")
    # Low bytes first, then high ones: like with like compresses better.
    halves = steps.reshape(-1).view(np.uint8).reshape(-1, 2).T
    return _pack(halves.tobytes())


def encode_bits(plane: ArrayLike) -> str:
    """Write a plane of bytes, such as quality bits, as compressed base64."""
    return _pack(np.asarray(plane).astype(np.uint8).tobytes())


def _pack(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, 9)).decode("ascii")


def white_level(planes: Iterable[FloatArray]) -> float:
    """Level (sigma) to show as white: few pixels are brighter, and noise stays dark."""
    tops = [np.nanquantile(plane, 0.997) for plane in planes if np.isfinite(plane).any()]
    return float(np.clip(max(tops, default=10.0), 10.0, 3e4))


def color_balance(planes: Sequence[FloatArray]) -> list[float]:
    """
    Factors that make the usual source of an image white.

    Parameters
    ----------
    planes : sequence of three `~numpy.ndarray`
        Red, green and blue, in units of their sigma.

    Returns
    -------
    factors : list of float
        Of mean 1; all 1 where nothing is bright.
    """
    stack = np.array([np.nan_to_num(plane) for plane in planes])
    bright = stack.min(axis=0) > 3
    if bright.sum() < 20:
        return [1.0, 1.0, 1.0]
    usual = np.array([np.median(plane[bright] / stack.mean(axis=0)[bright]) for plane in stack])
    factors = 1 / np.maximum(usual, 0.05)
    return [float(f) for f in factors / factors.mean()]


def thumbnail(before: FloatArray, after: FloatArray) -> str:
    """
    Draw the input beside the output, as a data address of a small JPEG.

    Parameters
    ----------
    before, after : `~numpy.ndarray`, shape (ny, nx) and (2 ny, 2 nx)
        In units of sigma.

    Returns
    -------
    address : str
        ``data:image/jpeg;base64,...``.
    """
    from matplotlib.image import imsave

    white = white_level([after])
    halves = [_gray(_resized(plane), white) for plane in (before, after)]
    halves[1][:, :1] = 255
    buffer = io.BytesIO()
    picture = np.repeat(np.hstack(halves)[::-1, :, None], 3, axis=2)
    imsave(buffer, picture, format="jpeg", pil_kwargs={"quality": 78})
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _resized(plane: FloatArray) -> FloatArray:
    """The central square, sampled at the size of a thumbnail; means where it is larger."""
    side = min(plane.shape)
    top, left = ((n - side) // 2 for n in plane.shape)
    square = np.asarray(plane, float)[top : top + side, left : left + side]
    edges = np.arange(_THUMBNAIL) * side // _THUMBNAIL
    if side >= 2 * _THUMBNAIL:
        step = side // _THUMBNAIL
        cut = np.nan_to_num(square)[: step * _THUMBNAIL, : step * _THUMBNAIL]
        return cut.reshape(_THUMBNAIL, step, _THUMBNAIL, step).mean(axis=(1, 3))
    return np.nan_to_num(square)[np.ix_(edges, edges)]


def _gray(plane: FloatArray, white: float) -> NDArray[np.uint8]:
    level = np.arcsinh((plane - _BLACK) / _SOFTENING) / np.arcsinh((white - _BLACK) / _SOFTENING)
    return (255 * np.clip(level, 0, 1)).astype(np.uint8)
