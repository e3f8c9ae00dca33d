# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Standard deviations of an enhanced image, from the errors that its generator predicts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, Literal

    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "MODES",
    "calibrate_std",
    "linear_std",
    "table_of",
    "table_weights",
    "uncertainty_of",
]

MODES = (False, True, "ensemble")
"""Modes: no uncertainty, the generator's own scale, the spread of eight symmetries."""

# Half the width of the central 68.27 %, in scales of each distribution.
_HALF_WIDTH = {"laplace": 1.1478, "gaussian": 1.0, "ensemble": 1.0}
_LARGEST = 5.0  # half-width in arcsinh units: the flux within a factor of 150, so unknown
_BRIGHTEST = 40.0  # arcsinh units, beyond all that float32 data hold: no overflow
_ROWS = 256  # rows of a plane that are calibrated at a time


def linear_std(
    generated: FloatArray,
    log_scale: FloatArray,
    sigma: FloatArray,
    *,
    softening: float,
    range: float,
    kind: Literal["laplace", "gaussian", "ensemble"],
) -> FloatArray:
    r"""
    Standard deviations in linear flux, before calibration.

    Half the distance between the linear fluxes at the ends of the interval :math:`y \pm s` of
    stretched values,

    .. math:: \frac{x(y + s) - x(y - s)}{2} =
              a \, \sigma \cosh(r y) \, \sinh(r s)

    with the softening :math:`a` and range :math:`r` of the stretch; for small :math:`s` it
    is :math:`s \, dx / dy`.

    Parameters
    ----------
    generated, log_scale : `~numpy.ndarray`, shape (n_band, ny, nx)
        Generated image in stretched units, and the logarithm of the scale of its errors.
    sigma : `~numpy.ndarray`
        Sky noise of the input; it broadcasts against them.
    softening, range : float
        Softening and range of the stretch.
    kind : {"laplace", "gaussian", "ensemble"}
        Distribution that the scale describes.

    Returns
    -------
    std : `~numpy.ndarray`, shape (n_band, ny, nx)
        float32, in the unit of ``sigma``.
    """
    half = _HALF_WIDTH[kind] * np.exp(np.minimum(log_scale, 10))
    half = np.sinh(np.minimum(range * half, _LARGEST))
    half *= np.cosh(np.clip(range * generated, -_BRIGHTEST, _BRIGHTEST))
    return (softening * sigma * half).astype(np.float32)


def calibrate_std(
    std: FloatArray, signal: FloatArray, sigma: FloatArray, table: Mapping[str, Any]
) -> FloatArray:
    r"""
    Multiply standard deviations by a calibration, in place.

    Its factor depends on the signal to noise of a pixel, image over ``std``, and on how its
    ``std`` compares with the sky noise: :math:`\ln f` is bilinear between the knots in
    :math:`{\rm arcsinh}({\rm S/N})` and :math:`\ln({\rm std} / {\rm sigma})`, and constant
    beyond them.

    Parameters
    ----------
    std : `~numpy.ndarray`, shape (n_band, ny, nx)
        Standard deviations as `linear_std` gives them; changed.
    signal : `~numpy.ndarray`, shape (n_band, ny, nx)
        The image without its sky, in the same unit.
    sigma : `~numpy.ndarray`
        Sky noise of the input; it broadcasts against them.
    table : dict
        ``signal_to_noise`` and ``relative_noise``: rising knots; ``factor``: a list for
        each knot of the first, with a factor for each of the second.

    Returns
    -------
    std : `~numpy.ndarray`, shape (n_band, ny, nx)
        The same array.
    """
    factors = np.log(np.asarray(table["factor"], float)).ravel()
    sigma = np.broadcast_to(sigma, std.shape)
    for plane, flux, noise in zip(std, signal, sigma, strict=True):
        for start in range(0, len(plane), _ROWS):
            rows = slice(start, start + _ROWS)
            index, weight = table_weights(plane[rows], flux[rows], noise[rows], table)
            plane[rows] *= np.exp(np.sum(weight * factors[index], axis=0))
    return std


def uncertainty_of(stated: Mapping[str, Any], n_bands: int) -> Mapping[str, Any]:
    """
    Find what a model card states about the uncertainty where so many bands are restored together.

    The fewer bands there are, the less is known about each, and a single calibration cannot be
    right for one band and for twelve.

    Parameters
    ----------
    stated : dict
        ``uncertainty`` of a model card.
    n_bands : int
        Bands that the weights restore together.

    Returns
    -------
    stated : dict
        Calibrations and correlation: as far as there are any, those for ``few`` bands, if there
        are at ``most`` so many.

    Examples
    --------
    >>> from splus_srgan.enhance.uncertainty import uncertainty_of
    >>> stated = {"calibration": 1, "ensemble": 2, "few": {"most": 5, "calibration": 3}}
    >>> found = uncertainty_of(stated, 5)
    >>> found["calibration"], found["ensemble"]
    (3, 2)
    >>> uncertainty_of(stated, 6)["calibration"]
    1
    """
    few = stated.get("few")
    return {**stated, **few} if few and n_bands <= few["most"] else stated


def table_of(calibration: Mapping[str, Any] | None, band: str) -> Mapping[str, Any] | None:
    """
    Find the table for a band in a calibration.

    Parameters
    ----------
    calibration : dict or None
        Of a model card: a table for `calibrate_std`, perhaps with ``bands``, a table for each.
    band : str
        Canonical name.

    Returns
    -------
    table : dict or None
        The one of the band, else that of all bands.

    Examples
    --------
    >>> from splus_srgan.enhance.uncertainty import table_of
    >>> table_of({"factor": 1, "bands": {"u": {"factor": 2}}}, "u")
    {'factor': 2}
    """
    return (calibration or {}).get("bands", {}).get(band, calibration)


def table_weights(
    std: FloatArray, signal: FloatArray, sigma: FloatArray, table: Mapping[str, Any]
) -> tuple[NDArray[Any], FloatArray]:
    """
    Entries of a calibration around a pixel, and their weights.

    Parameters
    ----------
    std, signal, sigma, table
        As for `calibrate_std`; arrays of any one shape.

    Returns
    -------
    index, weight : `~numpy.ndarray`, shape (4, ...)
        Indices into the flattened ``factor``, and weights that sum to 1.
    """
    columns = len(table["relative_noise"])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        i, u = _between(np.arcsinh(signal / std), np.arcsinh(table["signal_to_noise"]))
        j, v = _between(np.log(std / sigma), np.log(table["relative_noise"]))
    corner = i * columns + j
    index = np.stack((corner, corner + 1, corner + columns, corner + columns + 1))
    weight = np.stack(((1 - u) * (1 - v), (1 - u) * v, u * (1 - v), u * v))
    return index, weight


def _between(values: FloatArray, knots: FloatArray) -> tuple[NDArray[Any], FloatArray]:
    """Number of the knot below each value, and how far it is to the next one, 0 to 1."""
    values = np.clip(np.nan_to_num(values), knots[0], knots[-1])
    below = np.clip(np.searchsorted(knots, values, side="right") - 1, 0, len(knots) - 2)
    return below, (values - knots[below]) / np.diff(knots)[below]
