# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Spectra of stars and stellar populations, and their fluxes in any band of the survey.

The templates are simple: black bodies with the features that narrow bands are made for.
They give fluxes that are consistent from band to band, like those of real spectra.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.simulate.bandpasses import WAVELENGTHS, band_weights, bandpass, pivot

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "FITTED_BANDS",
    "LINES",
    "add_lines",
    "band_fluxes",
    "fit_colors",
    "line_fluxes",
    "population_spectrum",
    "star_spectrum",
    "star_temperature",
]

FITTED_BANDS = ("g", "r", "z")
"""Bands whose fluxes are drawn; spectra fitted to them give those of the others."""

LINES = {
    "halpha": ((6549.9, 1 / 4), (6564.6, 1.0), (6585.3, 3 / 4)),
    "hbeta": ((4862.7, 1.0),),
    "oiii": ((4960.3, 1 / 3), (5008.2, 1.0)),
    "oii": ((3727.1, 1.0), (3729.9, 1.0)),
}
"""
Emission lines: vacuum wavelengths (Angstrom) and strengths within a group.

The two lines of [NII] beside Halpha have the strengths that :math:`\\mathrm{[NII]} / H\\alpha = 1`
gives; `add_lines` scales them.
"""

_LINE_WIDTH = 4.0  # Angstrom, standard deviation: finer than any filter, coarser than the grid
_LINE_REACH = 10 * _LINE_WIDTH
_ROUNDS = 4  # of the fit to three fluxes: good to 1e-6


def _dip(wavelength: Any, centre: float, width: float) -> Any:
    return np.exp(-0.5 * ((wavelength - centre) / width) ** 2)


def _step(wavelength: Any, edge: float, width: float) -> Any:
    """1 blueward of an edge, 0 redward of it."""
    return 0.5 * (1 - np.tanh((wavelength - edge) / width))


def star_spectrum(wavelength: FloatArray, temperature: ArrayLike) -> FloatArray:
    r"""
    Spectrum of a star: a black body with the strong features of its type.

    Hot stars have the Balmer lines and the Balmer jump; cool ones the break at 4000
    Angstrom, Ca H and K, the G band, Mg b, Na D and the calcium triplet; the coolest ones
    the bands of TiO.

    Parameters
    ----------
    wavelength : `~numpy.ndarray`, shape (n_wavelength,)
        Angstrom, at rest.
    temperature : float or array-like, shape (n,)
        Kelvin, between 3000 and 12000.

    Returns
    -------
    spectrum : `~numpy.ndarray`, shape (n_wavelength,) or (n, n_wavelength)
        :math:`f_\lambda`, 1 in the mean of 5500 to 5600 Angstrom of the black body.

    Raises
    ------
    ValueError
        If a temperature is not possible.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.simulate.spectra import star_spectrum
    >>> wavelength = np.array([3850.0, 4200.0])
    >>> blue, red = star_spectrum(wavelength, 5000.0)
    >>> bool(blue < 0.7 * red)
    True
    """
    t = np.asarray(temperature, float)[..., None]
    if np.any((t < 3000) | (t > 12000)):
        raise ValueError(f"temperature must be between 3000 and 12000 K; got {temperature!r}")
    w = np.asarray(wavelength, float)
    x = 1.4388e8 / (w * t)
    spectrum = (5550 / w) ** 5 * np.expm1(1.4388e8 / (5550 * t)) / np.expm1(x)
    return spectrum * _balmer(w, t) * _metals(w, t) * _molecules(w, t)


def _balmer(w: Any, t: Any) -> Any:
    """Balmer lines and jump, strongest at 9500 K."""
    strength = np.exp(-0.5 * (np.log(t / 9500) / 0.25) ** 2)
    seen = 1 - strength * sum(
        depth * _dip(w, centre, 12)
        for centre, depth in (
            (6564.6, 0.45),
            (4862.7, 0.55),
            (4341.7, 0.6),
            (4102.9, 0.6),
            (3971.2, 0.6),
            (3890.2, 0.55),
            (3836.5, 0.45),
        )
    )
    return seen * 10 ** (-0.4 * 0.75 * strength * _step(w, 3700, 35))


def _metals(w: Any, t: Any) -> Any:
    """The break at 4000 Angstrom and lines of metals, below 7000 K."""
    strength = 1 / (1 + np.exp((t - 5900) / 500))
    lines = (
        (3934.8, 9, 0.55),
        (3969.6, 9, 0.5),
        (4305.0, 14, 0.3),
        (5176.0, 18, 0.28),
        (5894.0, 8, 0.25),
        (8500.0, 5, 0.25),
        (8544.0, 6, 0.4),
        (8664.0, 6, 0.35),
    )
    seen = 1 - strength * sum(depth * _dip(w, centre, width) for centre, width, depth in lines)
    return seen * 10 ** (-0.4 * strength * (0.45 * _step(w, 4000, 30) + 0.25 * _step(w, 3800, 60)))


def _molecules(w: Any, t: Any) -> Any:
    """Bands of TiO below 4200 K: each a sharp head, fading to the red."""
    strength = np.clip((4200 - t) / 1200, 0, 1)
    depth = 0.0
    for head in (4955, 5450, 5850, 6160, 6650, 7055, 7590, 8435):
        behind = np.clip(w - head, 0, None)
        depth = depth + 0.5 * np.exp(-behind / 120) * (1 - _step(w, head, 8))
    return 1 - strength * np.clip(depth, 0, 0.8)


@cache
def _temperature_table() -> tuple[FloatArray, FloatArray]:
    temperature = np.geomspace(3000, 12000, 120)
    g, r = band_weights(("g", "r")) @ star_spectrum(WAVELENGTHS, temperature).T
    # Falls with the temperature; made monotonic, since features disturb it where it is flat.
    return np.maximum.accumulate(-2.5 * np.log10(g / r)[::-1]), temperature[::-1]


def star_temperature(g_r: ArrayLike) -> FloatArray:
    """
    Temperature (K) of the star with a color g - r, between 3000 and 12000.

    Examples
    --------
    >>> from splus_srgan.simulate.spectra import star_temperature
    >>> bool(star_temperature(0.0) > 7000 > 4000 > star_temperature(1.4))
    True
    """
    return np.interp(np.asarray(g_r, float), *_temperature_table())


_REST = np.arange(2600.0, 10700.0, 5.0)
_OLD = ((4300, 0.55), (5000, 0.25), (6000, 0.20))  # temperature and share of the light at 5550
_YOUNG = ((12000, 0.55), (9000, 0.30), (4200, 0.15))


@cache
def _populations() -> FloatArray:
    """Old and young stars at rest, of unit mean flux between 5500 and 5600 Angstrom."""
    made = [sum(share * star_spectrum(_REST, t) for t, share in mix) for mix in (_OLD, _YOUNG)]
    return np.array(made)


def population_spectrum(g_r: float, *, redshift: float = 0.0, reddening: float = 0.0) -> FloatArray:
    r"""
    Spectrum of a mix of old and young stars behind dust, with a color g - r.

    Parameters
    ----------
    g_r : float
        Wanted color; the nearest possible one is taken.
    redshift : float, optional
        Between 0 and 0.1.
    reddening : float, optional
        Optical depth of the dust at 5500 Angstrom; it falls as :math:`\lambda^{-1}`.

    Returns
    -------
    spectrum : `~numpy.ndarray`, shape (n_wavelength,)
        :math:`f_\lambda` at `~splus_srgan.simulate.bandpasses.WAVELENGTHS`.

    Raises
    ------
    ValueError
        If the redshift is not possible.

    Examples
    --------
    >>> from splus_srgan.simulate.spectra import population_spectrum
    >>> population_spectrum(0.7, redshift=0.02).shape
    (1520,)
    """
    if not 0 <= redshift <= 0.1:
        raise ValueError(f"redshift must be between 0 and 0.1; got {redshift!r}")
    rest = WAVELENGTHS / (1 + redshift)
    old, young = (np.interp(rest, _REST, part) for part in _populations())
    dust = np.exp(-reddening * 5500 / rest)
    old, young = old * dust, young * dust
    weights = band_weights(("g", "r"))
    (old_g, old_r), (young_g, young_r) = weights @ old, weights @ young
    ratio = 10 ** (-0.4 * g_r)
    # Flux is linear in the share of the young stars.
    share = (ratio * old_r - old_g) / ((young_g - old_g) - ratio * (young_r - old_r))
    share = float(np.clip(share, 0, 1))
    return share * young + (1 - share) * old


def add_lines(
    spectrum: FloatArray,
    halpha: ArrayLike,
    *,
    redshift: float = 0.0,
    nii: float = 0.4,
    oiii: float = 1.0,
    oii: float = 2.0,
) -> FloatArray:
    r"""
    Add emission lines to spectra.

    Parameters
    ----------
    spectrum : `~numpy.ndarray`, shape (n_wavelength,) or (n, n_wavelength)
        Continua at `~splus_srgan.simulate.bandpasses.WAVELENGTHS`.
    halpha : float or array-like, shape (n,)
        Equivalent width of :math:`H\alpha` and [NII] together, Angstrom at rest.
    redshift : float, optional
        Redshift of the lines.
    nii : float, optional
        Flux of both lines of [NII] over that of :math:`H\alpha`.
    oiii, oii : float, optional
        Flux of [OIII] 5007 and of [OII] over that of :math:`H\beta`, which is that of
        :math:`H\alpha` over 2.86.

    Returns
    -------
    spectrum : `~numpy.ndarray`
        Spectra of the same shape, or ``(n, n_wavelength)`` for several equivalent widths.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.simulate.bandpasses import WAVELENGTHS
    >>> from splus_srgan.simulate.spectra import add_lines
    >>> flat = np.ones_like(WAVELENGTHS)
    >>> lines = add_lines(flat, 100.0, oiii=0.0, oii=0.0) - flat
    >>> near = abs(WAVELENGTHS - 6563) < 100
    >>> round(float(lines[near].sum() * 5), 3)
    100.0
    """
    shape, width = _line_shape(redshift, nii, oiii, oii), np.asarray(halpha, float)[..., None]
    place = np.searchsorted(WAVELENGTHS, 6564.6 * (1 + redshift))
    level = spectrum[..., place, None]
    return spectrum + width * (1 + redshift) * level * shape


def _line_shape(redshift: float, nii: float, oiii: float, oii: float) -> FloatArray:
    """All lines, for a flux of 1 of Halpha and [NII] together."""
    own = 1 / (1 + nii)
    hbeta = own / 2.86
    centres, fluxes = [], []
    for flux, lines in (
        (own, LINES["halpha"][1:2]),
        (own * nii, LINES["halpha"][::2]),
        (hbeta, LINES["hbeta"]),
        (hbeta * oiii * 4 / 3, LINES["oiii"]),
        (hbeta * oii, LINES["oii"]),
    ):
        total = sum(strength for _, strength in lines)
        centres += [centre for centre, _ in lines]
        fluxes += [flux * strength / total for _, strength in lines]
    centres, fluxes = np.array(centres) * (1 + redshift), np.array(fluxes)
    shape = np.zeros_like(WAVELENGTHS)
    for centre, flux in zip(centres, fluxes, strict=True):
        near = slice(*np.searchsorted(WAVELENGTHS, (centre - _LINE_REACH, centre + _LINE_REACH)))
        shape[near] += flux * _dip(WAVELENGTHS[near], centre, _LINE_WIDTH)
    return shape / (_LINE_WIDTH * np.sqrt(2 * np.pi))


@cache
def _nodes() -> FloatArray:
    """Functions of wavelength: 1 at one of the fitted bands, 0 at the others, linear between."""
    pivots = np.log([pivot(band) for band in FITTED_BANDS])
    return np.array([np.interp(np.log(WAVELENGTHS), pivots, one) for one in np.eye(3)])


def fit_colors(spectrum: FloatArray, fluxes: FloatArray) -> FloatArray:
    r"""
    Bend spectra until they have the given fluxes in g, r and z.

    A spectrum is multiplied by :math:`\exp p(\ln \lambda)`, where :math:`p` is linear
    between the pivot wavelengths of the three bands and constant beyond them.  Features and
    equivalent widths are kept.

    Parameters
    ----------
    spectrum : `~numpy.ndarray`, shape (n_wavelength,) or (n, n_wavelength)
        Spectra at `~splus_srgan.simulate.bandpasses.WAVELENGTHS`.
    fluxes : `~numpy.ndarray`, shape (3,) or (3, n)
        Wanted fluxes in `FITTED_BANDS`.

    Returns
    -------
    spectrum : `~numpy.ndarray`
        Bent spectra, in the unit of the fluxes.

    Examples
    --------
    >>> from splus_srgan.simulate.bandpasses import band_weights
    >>> from splus_srgan.simulate.spectra import fit_colors, population_spectrum
    >>> spectrum = fit_colors(population_spectrum(0.7), [1.0, 2.0, 3.5])
    >>> (band_weights(("g", "r", "z")) @ spectrum).round(4).tolist()
    [1.0, 2.0, 3.5]
    """
    weights, nodes = band_weights(FITTED_BANDS), _nodes()
    bent, wanted = np.atleast_2d(spectrum), np.atleast_2d(np.asarray(fluxes, float).T)
    found = bent @ weights.T
    # How much of the light of a band lies under each node: nearly the same for all spectra.
    part = np.einsum("bw,jw,nw->nbj", weights, nodes, bent) / found[..., None]
    for _ in range(_ROUNDS):
        step = np.linalg.solve(part, np.log(wanted / found)[..., None])[..., 0]
        bent = bent * np.exp(step @ nodes)
        found = bent @ weights.T
    return bent.reshape(np.broadcast_shapes(np.shape(spectrum), (WAVELENGTHS.size,)))


def band_fluxes(bands: Sequence[str], magnitude: Any, g_r: Any, r_z: Any) -> FloatArray:
    """Flux (nMgy) in some of `FITTED_BANDS`, from the r magnitude and two colors."""
    colors = {"g": g_r, "r": 0.0, "z": -r_z}
    return np.array([10 ** (-0.4 * (magnitude + colors[band] - 22.5)) for band in bands])


def line_fluxes(bands: Sequence[str], wavelength: float, band: str, flux: float) -> FloatArray:
    """
    Fluxes of a source that shines in one line alone.

    Parameters
    ----------
    bands : sequence of str
        Bands to give the flux in.
    wavelength : float
        Wavelength of the line, Angstrom.
    band : str
        Band in which its flux is known.
    flux : float
        Flux in that band.

    Returns
    -------
    fluxes : `~numpy.ndarray`, shape (n_band,)
        Fluxes; 0 where the line is outside the band.

    Raises
    ------
    ValueError
        If the line is outside that band.

    Examples
    --------
    >>> from splus_srgan.simulate.spectra import line_fluxes
    >>> line_fluxes(("g", "r", "J0660"), 6614.0, "J0660", 10.0).round(2).tolist()
    [0.0, 1.01, 10.0]
    """
    seen = {name: _line_response(name, wavelength) for name in {*bands, band}}
    if not seen[band] > 0:
        raise ValueError(f"wavelength must lie inside the band {band}; got {wavelength!r}")
    return np.array([flux * seen[name] / seen[band] for name in bands])


def _line_response(band: str, wavelength: float) -> float:
    """Flux in a band of a line of unit flux."""
    response = bandpass(band, WAVELENGTHS)
    return float(bandpass(band, wavelength)) * wavelength / (response / WAVELENGTHS).sum()
