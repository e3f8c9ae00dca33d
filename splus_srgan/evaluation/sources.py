# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Find sources, match lists of them, and choose those that can be measured.

Positions are in input pixels, 0-based, whatever grid an image is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table
from scipy import ndimage, spatial

from splus_srgan.pixels import coadd_noise
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.quiet import quiet

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from splus_srgan.utils.types import BoolArray, FloatArray, Numbers

__all__ = [
    "any_within",
    "detect",
    "inside",
    "isolated",
    "match_positions",
    "quadrants",
    "smoothed_noise",
]

_SMOOTHING = 1.0  # input pixels
_N_PIXEL = 6  # input pixels, of the smallest source
_MARGIN = 1.12  # thresholds are higher by this than the correlation of neighbours asks for
_MATCH_RADIUS = 1.5  # arcsec, of lists


def smoothed_noise(sigma: float) -> float:
    r"""
    Noise of an input image after the smoothing of `detect`.

    That of a coadd and a Gaussian of one pixel (`splus_srgan.pixels.coadd_noise.smoothed_noise`),
    and a margin of 12 %.

    Parameters
    ----------
    sigma : float
        Sky noise per input pixel.

    Returns
    -------
    noise : float
        In the same unit.
    """
    return sigma * _MARGIN * coadd_noise.smoothed_noise(_SMOOTHING)


def detect(
    image: FloatArray, sigma: float, *, factor: int = 1, threshold: float = 2.5
) -> tuple[Table, BoolArray]:
    r"""
    Find sources in a sky-subtracted image.

    The image is smoothed by a Gaussian of one input pixel; a source is what has at least
    six connected input pixels above the threshold.  A fine image is judged by the noise
    of the *input*: one surface brightness has one significance on both grids.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Flux per pixel, without sky.
    sigma : float
        Sky noise per input pixel.
    factor : int, optional
        Pixels of the image per input pixel and axis.
    threshold : float, optional
        In units of the noise of a smoothed input pixel.

    Returns
    -------
    table : `~astropy.table.Table`
        ``x, y`` (input pixels), ``flux`` (of the segment), ``peak`` (of the smoothed
        image, in units of its noise) and ``elongation``; without rows where nothing is.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        The segments, grown by two input pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.sources import detect
    >>> y, x = np.mgrid[:40, :40]
    >>> star = 50 * np.exp(-((x - 12.3) ** 2 + (y - 20.0) ** 2) / 4)
    >>> table, mask = detect(star, 1.0)
    >>> len(table), round(float(table["x"][0]), 1), round(float(table["y"][0]), 1)
    (1, 12.3, 20.0)
    """
    from photutils.segmentation import SourceCatalog, deblend_sources, detect_sources

    image = np.asarray(image, float)
    # Per input pixel, so that thresholds are those of the input.
    smooth = factor**2 * ndimage.gaussian_filter(image, _SMOOTHING * factor)
    noise = smoothed_noise(sigma)
    with quiet():  # where nothing is found
        segments = detect_sources(smooth, threshold * noise, _N_PIXEL * factor**2)
        if segments is None:
            return _no_sources(), np.zeros([n // factor for n in image.shape], bool)
        segments = deblend_sources(
            smooth, segments, _N_PIXEL * factor**2, contrast=0.003, progress_bar=False
        )
        table = _measure(SourceCatalog(image, segments), segments.data, smooth / noise, factor)
    coarse = segments.data.reshape(len(image) // factor, factor, -1, factor).any(axis=(1, 3))
    mask = ndimage.binary_dilation(coarse, iterations=2)
    return table[np.isfinite(table["x"] + table["y"])], mask


def _no_sources() -> Table:
    return Table({name: np.empty(0) for name in ("x", "y", "flux", "peak", "elongation")})


def _measure(catalog: Any, segments: NDArray[Any], significance: FloatArray, factor: int) -> Table:
    """Plain columns of a photutils catalogue."""
    x, y = np.transpose(np.atleast_2d(catalog.centroid))
    elongation = np.atleast_1d(getattr(catalog.elongation, "value", catalog.elongation))
    labels = np.atleast_1d(catalog.labels)
    peak = ndimage.maximum(significance, segments, labels)
    offset = (factor - 1) / 2
    return Table(
        {
            "x": (np.asarray(x, float) - offset) / factor,
            "y": (np.asarray(y, float) - offset) / factor,
            "flux": np.atleast_1d(np.asarray(catalog.segment_flux, float)),
            "peak": np.asarray(peak, float),
            "elongation": np.asarray(elongation, float),
        }
    )


def match_positions(
    x: Numbers,
    y: Numbers,
    x_other: Numbers,
    y_other: Numbers,
    *,
    radius: float = _MATCH_RADIUS,
    pixel_scale: float = PIXEL_SCALE,
) -> NDArray[np.intp]:
    """
    Match two lists one to one, nearest pairs first.

    Parameters
    ----------
    x, y : array_like, shape (n,)
        Positions in input pixels.
    x_other, y_other : array_like, shape (m,)
        Positions of the other list.
    radius : float, optional
        Largest distance of a pair, arcsec.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    index : `~numpy.ndarray` of int, shape (n,)
        Index in the other list; -1 without counterpart.

    Examples
    --------
    >>> from splus_srgan.evaluation.sources import match_positions
    >>> match_positions([1.0, 30.0], [1.0, 30.0], [29.5, 1.2, 9.0], [30.0, 1.0, 9.0])
    array([1, 0])
    >>> match_positions([1.0], [1.0], [], [])
    array([-1])
    """
    index = np.full(len(x), -1)
    if not len(x) or not len(x_other):
        return index
    first = spatial.cKDTree(np.transpose([x, y]))
    other = spatial.cKDTree(np.transpose([x_other, y_other]))
    near = first.sparse_distance_matrix(other, radius / pixel_scale, output_type="ndarray")
    taken = set()
    for pair in near[np.argsort(near["v"], kind="stable")]:
        if index[pair["i"]] < 0 and pair["j"] not in taken:
            index[pair["i"]] = pair["j"]
            taken.add(pair["j"])
    return index


def inside(
    x: FloatArray,
    y: FloatArray,
    shape: tuple[int, ...],
    distance: float,
    *,
    pixel_scale: float = PIXEL_SCALE,
) -> BoolArray:
    """
    Tell which positions are at least a distance from the border.

    Parameters
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Positions in input pixels.
    shape : tuple of int
        ``(ny, nx)`` of the input.
    distance : float
        Arcsec.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    inside : `~numpy.ndarray` of bool, shape (n,)
        Which.
    """
    gap = distance / pixel_scale
    x, y = np.asarray(x), np.asarray(y)
    return (x > gap) & (y > gap) & (x < shape[1] - 1 - gap) & (y < shape[0] - 1 - gap)


def quadrants(x: FloatArray, y: FloatArray, shape: tuple[int, ...]) -> NDArray[np.intp]:
    """
    Tell in which quadrant of the frame positions lie.

    Parameters
    ----------
    x, y : `~numpy.ndarray`, shape (n,)
        Positions in input pixels.
    shape : tuple of int
        ``(ny, nx)`` of the input.

    Returns
    -------
    quadrants : `~numpy.ndarray` of int, shape (n,)
        0 to 3: lower left, lower right, upper left, upper right.

    Examples
    --------
    >>> from splus_srgan.evaluation.sources import quadrants
    >>> quadrants([3.0, 3.0, 30.0], [3.0, 15.0, 15.0], (20, 40)).tolist()
    [0, 2, 3]
    """
    right = 2 * np.asarray(x, float) > shape[1] - 1
    upper = 2 * np.asarray(y, float) > shape[0] - 1
    return right + 2 * upper


def isolated(
    x: FloatArray,
    y: FloatArray,
    flux: FloatArray,
    *,
    distance: float,
    share: float,
    x_all: FloatArray | None = None,
    y_all: FloatArray | None = None,
    flux_all: FloatArray | None = None,
    pixel_scale: float = PIXEL_SCALE,
) -> BoolArray:
    """
    Tell which sources have no other one near that is brighter than a share of their flux.

    Parameters
    ----------
    x, y, flux : `~numpy.ndarray`, shape (n,)
        Sources: positions in input pixels, fluxes in any unit.
    distance : float
        What is near, arcsec.
    share : float
        Share of the source's flux that a neighbour may have.
    x_all, y_all, flux_all : `~numpy.ndarray`, shape (m,), optional
        All sources; by default those same ones.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    isolated : `~numpy.ndarray` of bool, shape (n,)
        Which.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.sources import isolated
    >>> x, flux = np.array([10.0, 14.0, 60.0]), np.array([100.0, 10.0, 50.0])
    >>> isolated(x, x, flux, distance=8.0, share=0.03)
    array([False, False,  True])
    """
    x, y, flux = (np.asarray(a, float) for a in (x, y, flux))
    x_all, y_all, flux_all = (
        own if other is None else np.asarray(other, float)
        for own, other in ((x, x_all), (y, y_all), (flux, flux_all))
    )
    result = np.ones(len(x), bool)
    if not len(x) or not len(x_all):
        return result
    own, other = (spatial.cKDTree(np.transpose(xy)) for xy in ((x, y), (x_all, y_all)))
    near = own.sparse_distance_matrix(other, distance / pixel_scale, output_type="ndarray")
    apart = near["v"] * pixel_scale
    disturbs = (apart > 1e-6) & (apart < distance)
    disturbs &= flux_all[near["j"]] > share * flux[near["i"]]
    result[near["i"][disturbs]] = False
    return result


def any_within(
    flags: BoolArray, x: Numbers, y: Numbers, radius: float, *, pixel_scale: float = PIXEL_SCALE
) -> BoolArray:
    """
    Tell whether any flagged pixel lies near each position.

    Parameters
    ----------
    flags : `~numpy.ndarray` of bool, shape (ny, nx)
        Such as missing and saturated pixels.
    x, y : array_like, shape (n,)
        Positions in input pixels.
    radius : float
        Arcsec.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    near : `~numpy.ndarray` of bool, shape (n,)
        Which.
    """
    if not flags.any() or not len(x):
        return np.zeros(len(x), bool)
    distance = ndimage.distance_transform_edt(~flags) * pixel_scale
    row = np.clip(np.rint(y).astype(int), 0, flags.shape[0] - 1)
    column = np.clip(np.rint(x).astype(int), 0, flags.shape[1] - 1)
    return distance[row, column] < radius
