# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Where the pixels of one grid lie on another."""

import numpy as np
from scipy.interpolate import RectBivariateSpline

from splus_srgan.pairs.registration.pixel_map import PixelMap, mapped_wcs

__all__ = ["linear_map", "local_map", "outside_of", "pixel_positions"]

_NODE = 16  # output pixels between the nodes at which the map of pixels is computed
_SMOOTH = 1e-3  # input pixels by which the interpolated map may miss
_LINEAR = 0.01  # input pixels by which a linear map may miss
_ASTRAY = 0.1  # input pixels between a position and its way there and back


def outside_of(shape, coordinates):
    """
    Tell which output pixels have their center outside the input, or no position at all.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the input.
    coordinates : `~numpy.ndarray`, shape (2, ...)
        Input position ``(y, x)`` of each output pixel.

    Returns
    -------
    outside : `~numpy.ndarray` of bool
        `True` also where a position is NaN.
    """
    y, x = coordinates
    return ~((y >= -0.5) & (y <= shape[0] - 0.5) & (x >= -0.5) & (x <= shape[1] - 0.5))


def pixel_positions(wcs_in, wcs_out, shape, *, start=(0, 0)):
    """
    Input position and size of each output pixel.

    Parameters
    ----------
    wcs_in, wcs_out : object
        WCS of either interface of astropy.
    shape : tuple of int
        ``(ny, nx)`` of the output.
    start : tuple of int, optional
        First pixel of the output that is wanted.

    Returns
    -------
    coordinates : `~numpy.ndarray`, shape (2, ny, nx)
        ``(y, x)``.
    area : `~numpy.ndarray`, shape (ny, nx)
        Input pixels per output pixel: the determinant of the map's derivatives.

    Notes
    -----
    The map is smooth: it is computed at every 16th pixel and interpolated by a cubic
    spline, which agrees with the exact position to about 1e-6 pixels. Where a part of the
    output has no position in the input (beyond the horizon of a projection, or where the
    inverse of a distortion does not converge), it is computed at every pixel, and is NaN there.
    So it is where the spline misses the position in the middle between its nodes: where
    pixels are so large that a distortion changes much from one to the next.
    """
    nodes = [_nodes(first, n) for first, n in zip(start, shape, strict=True)]
    y, x = np.meshgrid(*nodes, indexing="ij")
    places = _positions(wcs_in, wcs_out, y, x)
    rows, columns = (first + np.arange(n) for first, n in zip(start, shape, strict=True))
    if not np.isfinite(places).all():
        return _every_position(wcs_in, wcs_out, rows, columns)
    splines = [RectBivariateSpline(*nodes, part) for part in places]
    middles = [(part[1:] + part[:-1]) / 2 for part in nodes]
    exact = _positions(wcs_in, wcs_out, *np.meshgrid(*middles, indexing="ij"))
    if not np.abs(exact - [spline(*middles) for spline in splines]).max() < _SMOOTH:
        return _every_position(wcs_in, wcs_out, rows, columns)
    coordinates = np.stack([spline(rows, columns) for spline in splines])
    (yy, yx), (xy, xx) = (
        (spline(rows, columns, dx=1), spline(rows, columns, dy=1)) for spline in splines
    )
    return coordinates, np.abs(yy * xx - yx * xy)


def local_map(wcs_in, wcs_out, shape):
    """
    Give the local map between the pixels of two grids, in the middle of the input.

    Parameters
    ----------
    wcs_in, wcs_out : object
        WCS of either interface of astropy.
    shape : tuple of int
        ``(ny, nx)`` of the input.

    Returns
    -------
    matrix : `~numpy.ndarray`, shape (2, 2)
        Step ``(y, x)`` in input pixels of one output pixel along y and x, in its columns.
    place : `~numpy.ndarray`, shape (2,)
        Input position ``(y, x)`` of the output pixel in the middle of the input.
    """
    ny, nx = shape
    here = mapped_wcs(wcs_in, PixelMap())
    there = mapped_wcs(wcs_out, PixelMap())
    y, x = np.array([0, 1, -1, 0, 0]) / 2, np.array([0, 0, 0, 1, -1]) / 2
    # From the input, whose every pixel is on the sky, and then inverted.
    sky = here.pixel_to_world(x + (nx - 1) / 2, y + (ny - 1) / 2)
    places = np.array(there.world_to_pixel(sky)[::-1], float)
    steps = np.stack([places[:, 1] - places[:, 2], places[:, 3] - places[:, 4]], 1)
    matrix = np.linalg.inv(steps)
    middle = places[:, 0]
    return matrix, np.array([ny - 1, nx - 1]) / 2 + matrix @ (np.rint(middle) - middle)


def linear_map(wcs_in, wcs_out, shape):
    """
    Give the map from the pixels of one grid to those of another, where it is linear.

    Parameters
    ----------
    wcs_in, wcs_out : object
        WCS of either interface of astropy.
    shape : tuple of int
        ``(ny, nx)`` of the output.

    Returns
    -------
    linear : tuple of `~numpy.ndarray`, or None
        Matrix and offset in the order (x, y): output pixel ``p`` lies on the input pixel
        ``matrix @ p + offset``. `None` where that misses a position by more than 0.01 input
        pixels, or a part of the output is not on the input's sky.
    """
    y, x = (part.ravel() for part in np.meshgrid(*(_few(n) for n in shape), indexing="ij"))
    places = _positions(wcs_in, wcs_out, y, x)[::-1]
    if not np.isfinite(places).all():
        return None
    terms = np.stack([x, y, np.ones_like(x)], 1)
    found = np.linalg.lstsq(terms, places.T, rcond=None)[0]
    if np.abs(terms @ found - places.T).max() > _LINEAR:
        return None
    # Without the noise of the fit, so that cards read well.
    return np.round(found[:2].T, 10), np.round(found[2], 8)


def _few(n):
    return np.linspace(0, n - 1, 5)


def _positions(wcs_in, wcs_out, y, x):
    """Input position ``(y, x)`` of output pixels; NaN where the inverse does not lead back."""
    wcs_in = mapped_wcs(wcs_in, PixelMap())
    sky = wcs_out.pixel_to_world(x, y)
    places = np.array(wcs_in.world_to_pixel(sky)[::-1], float)
    with np.errstate(invalid="ignore", divide="ignore"):
        back = wcs_in.pixel_to_world(*places[::-1])
        beside = wcs_in.pixel_to_world(places[1] + 1, places[0])
        error = sky.separation(back).deg / back.separation(beside).deg
    places[:, ~(error < _ASTRAY)] = np.nan
    return places


def _every_position(wcs_in, wcs_out, rows, columns):
    """As `pixel_positions`, at every pixel by itself."""
    y, x = np.meshgrid(
        *(np.arange(part[0] - 1, part[-1] + 2) for part in (rows, columns)), indexing="ij"
    )
    places = _positions(wcs_in, wcs_out, y, x)
    (yy, yx), (xy, xx) = ((_slope(part, 0), _slope(part, 1)) for part in places)
    area = np.abs(yy * xx - yx * xy)
    places[:, ~np.isfinite(area)] = np.nan
    inner = np.s_[1:-1, 1:-1]
    usual = np.median(area[np.isfinite(area)]) if np.isfinite(area).any() else 1.0
    return places[:, *inner], np.where(np.isfinite(area), area, usual)[inner]


def _slope(values, axis):
    """Difference to the neighboring pixels, on both sides where both have a value."""
    step = np.diff(values, axis=axis)
    blank = np.full_like(np.take(values, [0], axis), np.nan)
    sides = np.concatenate([blank, step], axis), np.concatenate([step, blank], axis)
    both = (sides[0] + sides[1]) / 2
    one = np.where(np.isfinite(sides[0]), *sides)
    return np.where(np.isfinite(both), both, one)


def _nodes(start, length):
    count = max(4, -(-length // _NODE) + 1)
    return np.linspace(start - 0.5, start + length - 0.5, count)
