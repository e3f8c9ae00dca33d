# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sersic profiles and point sources on the pixels of a grid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray

__all__ = ["REACH", "deposit", "disc_plane", "sersic", "window_around"]

# Largest radius (in effective radii) to which a profile is drawn: 99.9 % of the light of n = 1.
REACH = 6.0


def window_around(
    shape: tuple[int, ...], x: float, y: float, reach: float
) -> tuple[tuple[slice, slice], FloatArray, FloatArray] | None:
    """The part of the grid within ``reach`` of a position, with its pixel coordinates."""
    ny, nx = shape
    y0, y1 = max(0, int(y - reach)), min(ny, int(y + reach) + 2)
    x0, x1 = max(0, int(x - reach)), min(nx, int(x + reach) + 2)
    if y0 >= y1 or x0 >= x1:
        return None
    yy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)
    xx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(x)
    return (slice(y0, y1), slice(x0, x1)), yy, xx


def disc_plane(
    yy: FloatArray, xx: FloatArray, axis_ratio: float, angle: float
) -> tuple[FloatArray, FloatArray]:
    """Coordinates in the plane of an inclined disc, along its major and minor axis."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * xx + sin * yy, (cos * yy - sin * xx) / np.float32(axis_ratio)


def _sersic_profile(radius: FloatArray, index: float) -> FloatArray:
    """Sersic profile of a radius in units of the half-light radius, not normalised."""
    # Ciotti & Bertin 1999, good to 1e-4 for index > 0.4.
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    power = np.sqrt(np.sqrt(radius)) if index == 4 else radius ** np.float32(1 / index)
    norm = 2 * np.pi * index * special.gamma(2 * index) * b ** (-2 * index)
    return np.exp(np.float32(-b) * power) / np.float32(norm)


def sersic(
    shape: tuple[int, ...],
    x: float,
    y: float,
    radius: float,
    index: float,
    axis_ratio: float,
    angle: float,
    *,
    reach: float | None = None,
) -> tuple[FloatArray, tuple[slice, slice]] | None:
    """
    Draw a Sersic profile of unit total flux.

    The profile is sampled at the pixel centres, and averaged over 9 x 9 points a
    pixel close to the centre, where it is too steep for that.

    Returns
    -------
    profile, window : `~numpy.ndarray`, tuple of slice
        `None` if the profile lies outside the grid.
    """
    if reach is None:
        reach = radius * (REACH if index <= 1 else 4 * REACH) + 4
    found = window_around(shape, x, y, reach)
    if found is None:
        return None
    window, yy, xx = found
    scale = np.float32(1 / (radius**2 * axis_ratio))
    major, minor = disc_plane(yy, xx, axis_ratio, angle)
    profile = _sersic_profile(np.hypot(major, minor) / np.float32(radius), index) * scale

    core_y = np.flatnonzero(np.abs(yy[:, 0]) < 6)
    core_x = np.flatnonzero(np.abs(xx[0]) < 6)
    if core_y.size and core_x.size:
        offsets = ((np.arange(9) - 4) / 9).astype(np.float32)
        sub_y = (yy[core_y, 0][:, None] + offsets).reshape(-1, 1)
        sub_x = (xx[0, core_x][:, None] + offsets).reshape(1, -1)
        major, minor = disc_plane(sub_y, sub_x, axis_ratio, angle)
        core = _sersic_profile(np.hypot(major, minor) / np.float32(radius), index)
        core = core.reshape(core_y.size, 9, core_x.size, 9).mean(axis=(1, 3))
        profile[np.ix_(core_y, core_x)] = core * scale
    return profile, window


def deposit(image: FloatArray, x: FloatArray, y: FloatArray, fluxes: FloatArray) -> None:
    """
    Put point sources between the pixels, by cubic convolution weights.

    The weights (Keys 1981, a = -1/2) keep the flux, the centroid and the width of
    each point exactly.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        Changed in place.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions in pixels, 0-based.
    fluxes : `~numpy.ndarray`, shape (n_band, n)
        Flux of each point.
    """
    ny, nx = image.shape[1:]
    x, y = np.atleast_1d(x).astype(float), np.atleast_1d(y).astype(float)
    inside = (x > 2) & (x < nx - 3) & (y > 2) & (y < ny - 3)
    x, y, fluxes = x[inside], y[inside], fluxes[:, inside]
    ix, iy = np.floor(x).astype(int), np.floor(y).astype(int)
    wx, wy = _cubic_weights(x - ix), _cubic_weights(y - iy)
    for dy in range(4):
        for dx in range(4):
            weight = wy[dy] * wx[dx]
            for plane, flux in zip(image, fluxes, strict=True):
                np.add.at(plane, (iy + dy - 1, ix + dx - 1), (flux * weight).astype(plane.dtype))


def _cubic_weights(t: FloatArray) -> tuple[FloatArray, ...]:
    return (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )
