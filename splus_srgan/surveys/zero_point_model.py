# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Zero points of S-PLUS images that vary over the field, as in data release 6."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.images.grid import fits_wcs
from splus_srgan.surveys._position import as_position
from splus_srgan.surveys.calibration import check_zero_point

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.nddata import NDData
    from numpy.typing import NDArray

    from splus_srgan.utils.types import FilePath, FloatArray, Position

__all__ = ["ZeroPointModel"]

_ROWS = 256  # rows of an image whose sky positions are in memory at once


@dataclass(frozen=True, eq=False)
class ZeroPointModel:
    r"""
    A zero point that varies over the field.

    .. math:: \mathrm{ZP}(\alpha, \delta) = \mathrm{ZP}_0 + c(\alpha, \delta)

    with a correction :math:`c` that is interpolated bilinearly between the centers
    of a grid in right ascension and declination (15 x 15 in data release 6).

    Parameters
    ----------
    global_median : float
        :math:`\mathrm{ZP}_0`, AB magnitude of 1 ADU.
    grid : array_like, shape (n_ra, n_dec)
        Corrections (mag). NaN where there were too few stars.
    ra, dec : array_like, shape (n_ra,) and (n_dec,)
        Centers of the grid (deg), increasing; right ascension may pass 360.

    Raises
    ------
    ValueError
        If shapes do not fit, centers do not increase or values are no magnitudes.

    Notes
    -----
    It is the form of the files ``<field>_<band>_zp`` of data release 6, as the
    survey's own client reads them; that one falls back to the median outside the
    grid when it calibrates images, whereas here it is an error.

    Examples
    --------
    >>> from splus_srgan.surveys.zero_point_model import ZeroPointModel
    >>> model = ZeroPointModel(22.9, [[0.0, 0.02], [0.04, 0.06]], [10.0, 11.0], [-1.0, 0.0])
    >>> round(model.zero_point((10.5, -0.5)), 3)
    22.93
    """

    global_median: float
    grid: FloatArray
    ra: FloatArray
    dec: FloatArray

    def __post_init__(self) -> None:
        median = check_zero_point("global_median", self.global_median)
        grid = np.array(self.grid, dtype=float)
        # A field at the origin has centers such as 359.5, 0.5.
        ra = np.unwrap(np.atleast_1d(np.array(self.ra, dtype=float)), period=360.0)
        dec = np.atleast_1d(np.array(self.dec, dtype=float))
        if grid.shape != (len(ra), len(dec)) or min(grid.shape) < 2:
            raise ValueError(
                f"grid must have the shape (n_ra, n_dec) of its centers, {(len(ra), len(dec))}, "
                f"at least 2 x 2; got {grid.shape}"
            )
        for name, centers in (("ra", ra), ("dec", dec)):
            if not np.all(np.diff(centers) > 0):
                raise ValueError(f"{name} must increase and be finite; got {centers}")
        for name, value in (("global_median", median), ("grid", grid), ("ra", ra), ("dec", dec)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_dict(cls, model: Mapping[str, Any]) -> ZeroPointModel:
        """
        Take a model as the survey's client gives it.

        Parameters
        ----------
        model : mapping
            ``global_median``, ``grid``, and either the centers ``ra_centers`` and
            ``dec_centers``, or the edges ``ra_min``, ``ra_max``, ``dec_min``,
            ``dec_max`` with ``bins`` (15) edges and ``padding`` (1) cells beyond each end.

        Returns
        -------
        model : `ZeroPointModel`
            The model.

        Raises
        ------
        ValueError
            If something is missing or does not fit.
        """
        missing = [key for key in ("global_median", "grid") if model.get(key) is None]
        if missing:
            raise ValueError(
                f"model must have 'global_median' and 'grid'; got none of {missing} in "
                f"{sorted(map(str, model))}"
            )
        grid = np.array(model["grid"], dtype=float)
        if grid.ndim != 2:
            raise ValueError(f"grid must be two-dimensional (n_ra, n_dec); got {grid.shape}")
        ra, dec = _centers(model, "ra", grid.shape[0]), _centers(model, "dec", grid.shape[1])
        return cls(model["global_median"], grid, ra, dec)

    @classmethod
    def read(cls, path: FilePath) -> ZeroPointModel:
        """
        Read a model from a JSON file.

        Parameters
        ----------
        path : path-like
            The file.

        Returns
        -------
        model : `ZeroPointModel`
            The model.

        Raises
        ------
        OSError
            If the file cannot be read.
        ValueError
            If it is no such model.
        """
        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(content, dict):
                raise ValueError(f"a JSON object is needed; got {type(content).__name__}")
            return cls.from_dict(content)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} is no model of zero points: {error}") from error

    def __repr__(self) -> str:
        n_ra, n_dec = self.grid.shape
        return f"<ZeroPointModel {self.global_median:.3f} mag, grid {n_ra} x {n_dec}>"

    def zero_point(self, position: Position) -> Any:
        """
        Interpolate the zero point.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord` or tuple
            One position or many; a tuple is right ascension and declination (deg).

        Returns
        -------
        zero_point : float or `~numpy.ndarray`
            AB magnitude of 1 ADU, in the shape of the positions.

        Raises
        ------
        ValueError
            If a position lies outside the grid, or in a part of it without stars.
        """
        position = as_position(position)
        value = self._interpolate(np.asarray(position.ra.deg), np.asarray(position.dec.deg))
        return value if value.ndim else float(value)

    def _interpolate(self, ra: FloatArray, dec: FloatArray) -> FloatArray:
        from scipy.interpolate import RegularGridInterpolator

        middle = 0.5 * (self.ra[0] + self.ra[-1])
        ra = middle + (ra - middle + 180.0) % 360.0 - 180.0
        # In this form also false for NaN, which a WCS gives beyond its half of the sky.
        inside = (ra >= self.ra[0]) & (ra <= self.ra[-1])
        inside &= (dec >= self.dec[0]) & (dec <= self.dec[-1])
        if not np.all(inside):
            raise ValueError(
                f"position must lie within the grid of the zero points, RA {self.ra[0]:.4f} to "
                f"{self.ra[-1]:.4f} and Dec {self.dec[0]:.4f} to {self.dec[-1]:.4f} deg; got "
                f"{_first(ra, dec, ~inside)}; use the model of that field, or the number "
                f"global_median ({self.global_median:.3f})"
            )
        grid = RegularGridInterpolator((self.ra, self.dec), self.grid, method="linear")
        points = np.stack([ra.ravel(), dec.ravel()], axis=-1)
        value = self.global_median + grid(points).reshape(ra.shape)
        if not np.all(np.isfinite(value)):
            raise ValueError(
                f"the model has no zero point at {_first(ra, dec, ~np.isfinite(value))}, where "
                f"its grid is NaN; use the number global_median ({self.global_median:.3f})"
            )
        return value

    def of_image(self, image: NDData) -> NDArray[np.float32]:
        """
        Give the zero point of each pixel of an image.

        Parameters
        ----------
        image : `~astropy.nddata.NDData`
            Image ``(ny, nx)`` with a celestial WCS.

        Returns
        -------
        zero_points : `~numpy.ndarray` of float32, shape (ny, nx)
            AB magnitudes of 1 ADU.

        Raises
        ------
        ValueError
            If there is no WCS, or the image reaches beyond the grid.
        """
        wcs, (ny, nx) = fits_wcs(image.wcs), np.shape(image.data)
        if wcs is None:
            raise ValueError("image must have a WCS, for the zero point depends on position")
        zero_points = np.empty((ny, nx), dtype=np.float32)
        for start in range(0, ny, _ROWS):
            y, x = np.mgrid[start : min(start + _ROWS, ny), 0:nx]
            zero_points[start : start + _ROWS] = self.zero_point(wcs.pixel_to_world(x, y))
        return zero_points


def _first(ra: FloatArray, dec: FloatArray, chosen: Any) -> str:
    """Name the first of the chosen positions."""
    i = np.flatnonzero(np.ravel(chosen))[0]
    return f"({np.ravel(ra)[i] % 360:.4f}, {np.ravel(dec)[i]:.4f})"


def _centers(model: Mapping[str, Any], axis: str, n: int) -> FloatArray:
    """Take the centers of a grid, or work them out: the files keep edges or centers of either."""
    stored = model.get(f"{axis}_centers")
    if stored is not None and len(stored) == n:
        return stored
    low, high = model.get(f"{axis}_min"), model.get(f"{axis}_max")
    if low is None or high is None:
        raise ValueError(
            f"model must have {n} numbers '{axis}_centers', or '{axis}_min' and '{axis}_max'"
        )
    bins, padding = int(model.get("bins", 15)), int(model.get("padding", 1))
    margin = padding * (high - low) / (bins - 1)
    edges = np.linspace(low - margin, high + margin, n + 1)
    return 0.5 * (edges[:-1] + edges[1:])
