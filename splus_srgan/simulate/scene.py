# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The sky outside the telescope: galaxies and stars drawn on a fine grid.

Everything here is in nanomaggies and in fine pixels.  `splus_srgan.simulate.field`
places the scene on the sky and convolves it with a PSF.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.simulate.galaxies import add_galaxy
from splus_srgan.simulate.light import Light
from splus_srgan.simulate.profiles import deposit, sersic

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["Scene", "draw_scene"]

_HOT_STARS, _LINE_SOURCES = 0.4, 3.0  # per square arcmin


@dataclass
class Scene:
    """
    Light per fine pixel in each band, and the list of the drawn sources.

    Attributes
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        Flux per fine pixel in nanomaggies.
    fine_scale : float
        Arcsec per fine pixel.
    light : `~splus_srgan.simulate.light.Light`
        Turns magnitudes into fluxes.
    sources : list of dict
        Kind, position (fine pixels, 0-based) and flux per band.
    """

    bands: tuple
    image: np.ndarray
    fine_scale: float
    light: Light
    sources: list = field(default_factory=list)

    def add(self, profile: FloatArray, window: tuple[slice, slice], fluxes: FloatArray) -> None:
        """Add a profile of unit flux with the given flux per band."""
        for plane, flux in zip(self.image, fluxes, strict=True):
            plane[window] += np.float32(flux) * profile

    def note(
        self, kind: str, x: float, y: float, fluxes: FloatArray, half_light_radius: float = 0.0
    ) -> None:
        """Add a source to the list."""
        self.sources.append(
            {"kind": kind, "x": x, "y": y, "half_light_radius": half_light_radius}
            | {f"flux_{band}": flux for band, flux in zip(self.bands, fluxes, strict=True)}
        )


def add_background_galaxies(rng: np.random.Generator, scene: Scene, number: int) -> None:
    """Faint galaxies: r = 17.5 to 24, counts rising as 10^(0.4 r), plain profiles."""
    ny, nx = scene.image.shape[1:]
    for _ in range(number):
        magnitude = 24 + np.log10(rng.uniform(10 ** (0.4 * -6.5), 1)) / 0.4
        radius = 0.45 * 10 ** (-0.12 * (magnitude - 22)) * rng.lognormal(0, 0.4)
        x, y = rng.uniform(0, nx), rng.uniform(0, ny)
        g_r, r_z = rng.normal(0.7, 0.3), rng.normal(0.6, 0.3)
        galaxy = scene.light.galaxy()
        width = 100 * scene.light.rng.random() ** 3
        fluxes = scene.light.population(magnitude, g_r, r_z, galaxy, halpha=width)
        scene.note("galaxy", x, y, fluxes, radius)
        drawn = sersic(
            scene.image.shape[1:],
            x,
            y,
            radius / scene.fine_scale,
            rng.choice([1, 1, 1, 2, 4]),
            rng.uniform(0.3, 1),
            rng.uniform(0, np.pi),
            reach=8 * radius / scene.fine_scale + 4,
        )
        if drawn is not None:
            scene.add(*drawn, fluxes)


def add_stars(rng: np.random.Generator, scene: Scene, number: int, brightest: float) -> None:
    """Stars between ``brightest`` and r = 23, counts rising as 10^(0.2 r)."""
    if not number:
        return
    ny, nx = scene.image.shape[1:]
    magnitude = 23 + np.log10(rng.uniform(10 ** (0.2 * (brightest - 23)), 1, number)) / 0.2
    x, y = rng.uniform(0, nx, number), rng.uniform(0, ny, number)
    g_r = rng.triangular(0.2, 0.5, 1.5, number)
    r_z = 0.1 + 0.6 * g_r + np.maximum(0, g_r - 1.1) * rng.uniform(0, 2, number)
    _put_points(scene, "star", x, y, scene.light.stars(magnitude, g_r, r_z))


def _put_points(scene: Scene, kind: str, x: FloatArray, y: FloatArray, fluxes: FloatArray) -> None:
    deposit(scene.image, x, y, fluxes)
    for place in zip(x, y, fluxes.T, strict=True):
        scene.note(kind, *place)


def add_hot_stars(scene: Scene, number: int) -> None:
    """Stars of 7000 to 12000 K, between r = 13 and 22."""
    rng, (ny, nx) = scene.light.rng, scene.image.shape[1:]
    magnitude = 22 + np.log10(rng.uniform(10 ** (0.2 * -9), 1, number)) / 0.2
    temperature = rng.uniform(7000, 12000, number)
    x, y = rng.uniform(0, nx, number), rng.uniform(0, ny, number)
    if number:
        _put_points(scene, "star", x, y, scene.light.hot_stars(magnitude, temperature))


def add_line_sources(scene: Scene, number: int) -> None:
    """Sources that shine in one narrow band alone: points, and small discs."""
    rng, shape = scene.light.rng, scene.image.shape[1:]
    for _ in range(number):
        x, y = rng.uniform(0, shape[1]), rng.uniform(0, shape[0])
        fluxes, radius = scene.light.line_source(), rng.uniform(0.3, 2.0)
        if rng.random() < 0.5:
            _put_points(scene, "line", np.array([x]), np.array([y]), fluxes[:, None])
            continue
        scene.note("line", x, y, fluxes, radius)
        drawn = sersic(shape, x, y, radius / scene.fine_scale, 1, rng.uniform(0.4, 1), np.pi / 4)
        if drawn is not None:
            scene.add(*drawn, fluxes)


def _typical_radius(rng: np.random.Generator, magnitude: float) -> float:
    """Half-light radius (arcsec) of a galaxy of this r magnitude."""
    return 2.9 * 10 ** (-0.175 * (magnitude - 15.5)) * rng.lognormal(0, 0.35)


def _add_main(rng: np.random.Generator, scene: Scene, kind: str, centre: Any, frame: Any) -> None:
    """The main galaxies of a field."""
    x, y = centre
    if kind == "galaxy":
        magnitude = rng.uniform(12.5, 18.5)
        radius = _typical_radius(rng, magnitude) / scene.fine_scale
        jitter = rng.normal(0, 8, 2)
        add_galaxy(rng, scene, x + jitter[0], y + jitter[1], magnitude, radius)
    elif kind == "fill":
        radius = min(frame) * rng.uniform(0.25, 0.6)
        surface_brightness = rng.uniform(20.3, 22.3)
        area = 2 * np.pi * (radius * scene.fine_scale) ** 2
        magnitude = surface_brightness - 2.5 * np.log10(area)
        offset = rng.uniform(-0.2, 0.2, 2) * min(frame)
        add_galaxy(rng, scene, x + offset[0], y + offset[1], magnitude, radius)
    elif kind == "cluster":
        spread = 0.12 * min(frame)
        for _ in range(rng.integers(2, 9)):
            magnitude = rng.uniform(13.0, 19.0)
            radius = _typical_radius(rng, magnitude) / scene.fine_scale
            dx, dy = rng.normal(0, spread, 2)
            add_galaxy(rng, scene, x + dx, y + dy, magnitude, radius)


def draw_scene(
    rng: np.random.Generator,
    *,
    shape: tuple[int, int],
    frame: tuple[int, int],
    fine_scale: float,
    bands: Sequence[str],
    kind: str,
    spectra: np.random.Generator,
) -> Scene:
    """
    Draw a field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of every random choice.
    shape : tuple of int
        Fine grid ``(ny, nx)``, margin included.
    frame : tuple of int
        Fine pixels of the visible part, which is centred.
    fine_scale : float
        Arcsec per fine pixel.
    bands : sequence of str
        Among `splus_srgan.splus.BANDS`.
    kind : {"galaxy", "fill", "cluster", "stars", "blank"}
        Kind of field.
    spectra : `~numpy.random.Generator`
        Source of the random numbers that only bands other than g, r and z depend on.

    Returns
    -------
    scene : `Scene`
        The light of the field.
    """
    bands = tuple(bands)
    light = Light(bands, spectra)
    scene = Scene(bands, np.zeros((len(bands), *shape), np.float32), fine_scale, light)
    arcmin2 = shape[0] * shape[1] * fine_scale**2 / 3600
    _add_main(rng, scene, kind, ((shape[1] - 1) / 2, (shape[0] - 1) / 2), frame)
    density = 0.0 if kind == "blank" else rng.lognormal(np.log(12), 0.5)
    add_background_galaxies(rng, scene, rng.poisson(density * arcmin2))
    if kind == "stars":
        density = rng.lognormal(np.log(40), 0.6)
    elif kind != "blank":
        density = rng.lognormal(np.log(2.5), 0.8)
    if kind != "blank":
        add_stars(rng, scene, rng.poisson(density * arcmin2), rng.choice([11.0, 13.5, 15.0]))
    if light.beyond_fitted and kind != "blank":
        add_hot_stars(scene, spectra.poisson(_HOT_STARS * arcmin2))
        add_line_sources(scene, spectra.poisson(_LINE_SOURCES * arcmin2))
    return scene
