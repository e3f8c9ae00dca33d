# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The twelve bands as functions of wavelength, and the flux of a spectrum in them."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from splus_srgan import splus
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = ["NARROW_BANDS", "WAVELENGTHS", "band_weights", "bandpass", "pivot"]

WAVELENGTHS = np.arange(3000.0, 10600.0, 5.0)
"""Wavelengths (Angstrom) at which spectra are computed; all bands lie between its ends."""

NARROW_BANDS = tuple(band for band in splus.BANDS if band.startswith("J"))
"""Names of the seven narrow bands."""


@cache
def _curves() -> dict[str, tuple[FloatArray, FloatArray]]:
    text = files("splus_srgan.simulate").joinpath("bandpasses.ecsv").read_text(encoding="utf-8")
    table = QTable.read(text.splitlines(), format="ascii.ecsv")
    wavelength, names = table["wavelength"].to_value("Angstrom"), np.asarray(table["band"])
    response = np.asarray(table["response"], float)
    return {band: (wavelength[names == band], response[names == band]) for band in splus.BANDS}


def bandpass(band: str, wavelength: ArrayLike) -> FloatArray:
    """
    Response of a band, per photon.

    Parameters
    ----------
    band : str
        One of `splus_srgan.splus.BANDS`.
    wavelength : float or array-like
        Wavelengths in Angstrom.

    Returns
    -------
    response : `~numpy.ndarray`
        Between 0 and 1, the peak; atmosphere, mirrors and CCD are included.

    Raises
    ------
    ValueError
        If the band is unknown.

    Examples
    --------
    >>> from splus_srgan.simulate.bandpasses import bandpass
    >>> float(bandpass("J0660", 6614.0)) > 0.9, float(bandpass("J0660", 6800.0))
    (True, 0.0)
    """
    knots, response = _curves()[check_one_of("band", band, tuple(splus.BANDS))]
    return np.interp(np.asarray(wavelength, float), knots, response, left=0.0, right=0.0)


@cache
def pivot(band: str) -> float:
    r"""
    Pivot wavelength of a band in Angstrom.

    .. math:: \lambda_p^2 = \int T \lambda \, d\lambda \Big/ \int T / \lambda \, d\lambda

    Parameters
    ----------
    band : str
        One of `splus_srgan.splus.BANDS`.

    Returns
    -------
    pivot : float
        Wavelength.

    Examples
    --------
    >>> from splus_srgan.simulate.bandpasses import pivot
    >>> round(pivot("J0660"))
    6614
    """
    response = bandpass(band, WAVELENGTHS)
    return float(np.sqrt((response * WAVELENGTHS).sum() / (response / WAVELENGTHS).sum()))


@cache
def _weights_of(band: str) -> FloatArray:
    response = bandpass(band, WAVELENGTHS)
    return response * WAVELENGTHS / (response / WAVELENGTHS).sum()


def band_weights(bands: Sequence[str]) -> FloatArray:
    r"""
    Weights that turn a spectrum into its flux in each band.

    .. math:: F = \frac{\int f_\lambda\, T \lambda \, d\lambda}{\int T / \lambda \, d\lambda}

    the mean flux density per frequency that a photon counter measures, with the speed of
    light left out: a spectrum :math:`f_\lambda = F / \lambda^2` has the flux :math:`F` in
    every band.

    Parameters
    ----------
    bands : sequence of str
        Names among `splus_srgan.splus.BANDS`.

    Returns
    -------
    weights : `~numpy.ndarray`, shape (n_band, n_wavelength)
        Weights for spectra at `WAVELENGTHS`.

    Examples
    --------
    >>> from splus_srgan.simulate.bandpasses import WAVELENGTHS, band_weights
    >>> (band_weights(("g", "J0660")) @ WAVELENGTHS**-2).round(6).tolist()
    [1.0, 1.0]
    """
    return np.array([_weights_of(band) for band in bands]).reshape(len(bands), -1)
