# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Fluxes of the drawn sources in the bands of a field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.simulate.bandpasses import NARROW_BANDS, WAVELENGTHS, band_weights, bandpass
from splus_srgan.simulate.spectra import (
    FITTED_BANDS,
    add_lines,
    band_fluxes,
    fit_colors,
    line_fluxes,
    population_spectrum,
    star_spectrum,
    star_temperature,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["Light"]

_NEAR = 0.016  # redshift at which Halpha leaves J0660


class Light:
    """
    Turn magnitudes and colors into fluxes, through a spectrum where one is needed.

    The fluxes in g, r and z are those of the magnitude and the colors.  Other bands
    follow from a template that is bent until it has these.

    Parameters
    ----------
    bands : sequence of str
        Bands of the field.
    rng : `~numpy.random.Generator`
        Source of the random numbers that only spectra need: redshifts, dust, lines.
    """

    def __init__(self, bands: Sequence[str], rng: np.random.Generator) -> None:
        self.bands, self.rng = tuple(bands), rng
        self._fitted = [k for k, band in enumerate(self.bands) if band in FITTED_BANDS]
        self._others = [k for k in range(len(self.bands)) if k not in self._fitted]

    @property
    def beyond_fitted(self) -> bool:
        """Whether any of the bands needs spectra."""
        return bool(self._others)

    def galaxy(self) -> dict[str, float]:
        """Draw the redshift of a galaxy, and the strengths of its lines."""
        rng = self.rng
        near = rng.random() < 0.5
        return {
            "redshift": float(rng.uniform(0, _NEAR if near else 0.1)),
            "nii": float(rng.uniform(0.1, 0.8)),
            "oiii": float(10 ** rng.uniform(-0.7, 0.7)),
            "oii": float(10 ** rng.uniform(-0.2, 0.7)),
        }

    def population(
        self,
        magnitude: float,
        g_r: float,
        r_z: float,
        galaxy: Mapping[str, float],
        *,
        reddening: float = 0.0,
        halpha: float | FloatArray = 0.0,
    ) -> FloatArray:
        """
        Fluxes of stars of a galaxy, with the lines of its gas.

        Parameters
        ----------
        magnitude, g_r, r_z : float
            Magnitude in r, and colors.
        galaxy : dict
            Result of `galaxy`.
        reddening : float, optional
            Optical depth at 5500 Angstrom of the dust in front of them.
        halpha : float or `~numpy.ndarray`, shape (n,), optional
            Equivalent width of Halpha and [NII], Angstrom at rest.

        Returns
        -------
        fluxes : `~numpy.ndarray`, shape (n_band,) or (n_band, n)
            Nanomaggies.
        """
        wanted = band_fluxes(FITTED_BANDS, magnitude, g_r, r_z)

        def spectrum() -> FloatArray:
            stars = population_spectrum(g_r, redshift=galaxy["redshift"], reddening=reddening)
            stars = np.broadcast_to(stars, (*np.shape(halpha), WAVELENGTHS.size))
            return add_lines(stars, halpha, **galaxy)

        if np.ndim(halpha):
            wanted = np.repeat(wanted[:, None], np.size(halpha), 1)
        return self._complete(wanted, spectrum)

    def stars(self, magnitude: Any, g_r: Any, r_z: Any) -> FloatArray:
        """Fluxes ``(n_band, n)`` of stars, from arrays of their r magnitudes and colors."""
        each = zip(magnitude, g_r, r_z, strict=True)
        wanted = np.array([band_fluxes(FITTED_BANDS, *star) for star in each]).T
        return self._complete(wanted, lambda: star_spectrum(WAVELENGTHS, star_temperature(g_r)))

    def hot_stars(self, magnitude: Any, temperature: Any) -> FloatArray:
        """Fluxes ``(n_band, n)`` of stars, from arrays of r magnitudes and temperatures."""
        spectrum = star_spectrum(WAVELENGTHS, temperature)
        in_r = band_weights(("r",)) @ spectrum.T
        return band_weights(self.bands) @ spectrum.T * 10 ** (-0.4 * (magnitude - 22.5)) / in_r

    def line_source(self) -> Any:
        """Draw a source that shines in one narrow band, and in the wide bands around it."""
        band = str(self.rng.choice(NARROW_BANDS))
        inside = WAVELENGTHS[bandpass(band, WAVELENGTHS) > 0.5]
        flux = 10 ** self.rng.uniform(-0.3, 1.7)
        return line_fluxes(self.bands, self.rng.uniform(inside[0], inside[-1]), band, flux)

    def _complete(self, wanted: FloatArray, spectrum: Callable[[], FloatArray]) -> FloatArray:
        """Fluxes in all bands, from those in `FITTED_BANDS` and, where needed, the spectrum."""
        made = np.empty((len(self.bands), *wanted.shape[1:]))
        for k in self._fitted:
            made[k] = wanted[FITTED_BANDS.index(self.bands[k])]
        if self._others:
            weights = band_weights([self.bands[k] for k in self._others])
            made[self._others] = weights @ fit_colors(spectrum(), wanted).T
        return made
