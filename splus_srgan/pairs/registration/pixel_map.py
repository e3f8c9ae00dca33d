# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Affine maps of pixel positions, and a WCS seen through one."""

from dataclasses import dataclass, field

import numpy as np
from astropy.wcs import WCS
from astropy.wcs.utils import fit_wcs_from_points
from astropy.wcs.wcsapi import HighLevelWCSWrapper
from astropy.wcs.wcsapi.wrappers.base import BaseWCSWrapper

__all__ = ["ORIENTATIONS", "PixelMap", "mapped_fits_wcs", "mapped_wcs", "nearest_orientation"]

ORIENTATIONS = {
    "as it is": ((1, 0), (0, 1)),
    "transposed": ((0, 1), (1, 0)),
    "flipped left to right": ((1, 0), (0, -1)),
    "flipped upside down": ((-1, 0), (0, 1)),
    "rotated by 180 degrees": ((-1, 0), (0, -1)),
    "rotated by 90 degrees": ((0, 1), (-1, 0)),
    "rotated by 270 degrees": ((0, -1), (1, 0)),
    "transposed about the other diagonal": ((0, -1), (-1, 0)),
}
"""The eight orientations of a square array, as matrices on ``(y, x)``."""


@dataclass(frozen=True, eq=False)
class PixelMap:
    r"""
    Affine map of positions ``(y, x)``: :math:`r' = c' + M (r - c)`.

    Attributes
    ----------
    matrix : `~numpy.ndarray`, shape (2, 2)
        :math:`M`, on ``(y, x)``.
    center, image : `~numpy.ndarray`, shape (2,)
        :math:`c` and its image, :math:`c'`.
    """

    matrix: np.ndarray = field(default_factory=lambda: np.eye(2))
    center: np.ndarray = field(default_factory=lambda: np.zeros(2))
    image: np.ndarray = field(default_factory=lambda: np.zeros(2))

    def __call__(self, positions):
        """Map positions of shape ``(2, ...)``."""
        positions = np.asarray(positions, float)
        column = (2,) + (1,) * (positions.ndim - 1)
        offset = positions - np.reshape(self.center, column)
        return np.tensordot(self.matrix, offset, 1) + np.reshape(self.image, column)

    @property
    def inverse(self):
        """The map back."""
        return PixelMap(np.linalg.inv(self.matrix), self.image, self.center)

    def after(self, first):
        """The map that applies ``first`` and then this one."""
        return PixelMap(self.matrix @ first.matrix, first.center, self(first.image))

    @classmethod
    def similarity(cls, center, *, shift=(0.0, 0.0), rotation=0.0, scale=1.0):
        """Shift (pixels), rotation (radians, from x to y) and scale about a center."""
        cos, sin = scale * np.cos(rotation), scale * np.sin(rotation)
        center = np.asarray(center, float)
        return cls(np.array([[cos, sin], [-sin, cos]]), center, center + shift)


def nearest_orientation(matrix):
    """Name of that of the `ORIENTATIONS` which a matrix resembles most."""
    matrix = np.asarray(matrix) / np.sqrt(abs(np.linalg.det(matrix)))
    return max(ORIENTATIONS, key=lambda name: np.sum(matrix * np.array(ORIENTATIONS[name])))


def mapped_wcs(wcs, pixel_map):
    """
    Give a two-dimensional WCS whose pixels are first sent through a `PixelMap`.

    Parameters
    ----------
    wcs : object
        WCS of the mapped pixels; of either interface of astropy.
    pixel_map : `PixelMap`
        From the pixels of the new WCS to those of ``wcs``.

    Returns
    -------
    mapped : `~astropy.wcs.wcsapi.HighLevelWCSWrapper`
        It has no FITS header; `mapped_fits_wcs` makes one that has.
    """
    return HighLevelWCSWrapper(_MappedWCS(getattr(wcs, "low_level_wcs", wcs), pixel_map))


class _MappedWCS(BaseWCSWrapper):
    def __init__(self, wcs, pixel_map):
        super().__init__(wcs)
        self._map, self._back = pixel_map, pixel_map.inverse

    @property
    def pixel_n_dim(self):
        """Two."""
        return 2

    @property
    def world_n_dim(self):
        """Two."""
        return 2

    def pixel_to_world_values(self, *pixel_arrays):
        """Sky position of pixels ``x, y``."""
        y, x = self._map(np.stack(np.broadcast_arrays(*pixel_arrays[::-1])))
        return self._wcs.pixel_to_world_values(x, y)

    def world_to_pixel_values(self, *world_arrays):
        """Pixels ``x, y`` of a sky position."""
        if isinstance(self._wcs, WCS):
            # In silence where the inverse of a distortion does not converge, unlike
            # world_to_pixel_values; who needs to know goes the way back.
            pixels = self._wcs.wcs_world2pix(*world_arrays, 0)
            if np.isfinite(pixels).any():  # numpy warns of sky where there is none at all
                pixels = self._wcs.all_world2pix(*world_arrays, 0, quiet=True)
        else:
            pixels = self._wcs.world_to_pixel_values(*world_arrays)
        y, x = self._back(np.stack(np.broadcast_arrays(*pixels[::-1])))
        return x, y


def mapped_fits_wcs(wcs, pixel_map, shape):
    """
    Give the FITS WCS of pixels that a map brings to those of another WCS.

    Parameters
    ----------
    wcs : `~astropy.wcs.WCS`
        Celestial, two-dimensional.
    pixel_map : `PixelMap`
        From the new pixels to those of ``wcs``.
    shape : tuple of int
        ``(ny, nx)`` of the new image.

    Returns
    -------
    mapped : `~astropy.wcs.WCS`
        Exact where ``wcs`` has no distortion; otherwise fitted, with SIP terms of the
        same degree, to about a thousandth of a pixel.
    """
    if wcs.sip is not None or wcs.has_distortion:
        return _fitted(wcs, pixel_map, shape)
    mapped = WCS(naxis=2)
    for name in ("ctype", "cunit", "crval", "lonpole", "latpole", "radesys", "equinox"):
        setattr(mapped.wcs, name, getattr(wcs.wcs, name))
    for value in wcs.wcs.get_pv():
        mapped.wcs.set_pv([*mapped.wcs.get_pv(), value])
    swap = pixel_map.matrix[::-1, ::-1]
    mapped.wcs.cd = wcs.pixel_scale_matrix @ swap
    y, x = pixel_map.inverse(np.array(wcs.wcs.crpix[::-1]) - 1)
    mapped.wcs.crpix = x + 1, y + 1
    mapped.wcs.set()
    mapped.array_shape = shape
    return mapped


def _fitted(wcs, pixel_map, shape):
    rows, columns = (np.linspace(0, n - 1, 12) for n in shape)
    y, x = (part.ravel() for part in np.meshgrid(rows, columns, indexing="ij"))
    sky = _MappedWCS(wcs, pixel_map).pixel_to_world_values(x, y)
    frame = wcs.pixel_to_world(0, 0)
    sky = frame.__class__(*sky, unit="deg", frame=frame.frame.replicate_without_data())
    degree = None if wcs.sip is None else max(wcs.sip.a_order, wcs.sip.b_order)
    mapped = fit_wcs_from_points((x, y), sky, projection="TAN", sip_degree=degree)
    mapped.array_shape = shape
    return mapped
