# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Galaxies: ellipticals, and discs with a bulge, arms, clumps, dust, knots and a bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, special

from splus_srgan.simulate.profiles import REACH, deposit, disc_plane, sersic, window_around
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.simulate.light import Light
    from splus_srgan.utils.types import FloatArray

__all__ = ["add_disc_galaxy", "add_elliptical", "add_galaxy"]

# Reddening of a band relative to r, a standard Galactic extinction curve.
_EXTINCTION = {
    "u": 1.83,
    "J0378": 1.76,
    "J0395": 1.69,
    "J0410": 1.62,
    "J0430": 1.54,
    "g": 1.40,
    "J0515": 1.27,
    "r": 1.00,
    "J0660": 0.92,
    "i": 0.75,
    "J0861": 0.61,
    "z": 0.56,
}
_MOST_KNOTS = 60


def _clumps(rng: np.random.Generator, shape: tuple[int, ...], strength: float) -> FloatArray:
    """A smooth random field of mean about 1: the flocculent texture of a disc."""
    coarse = ndimage.gaussian_filter(rng.standard_normal((48, 48)), rng.uniform(0.8, 2.0))
    coarse *= strength / coarse.std()
    zoom = (shape[0] / 48, shape[1] / 48)
    smooth = ndimage.zoom(coarse.astype(np.float32), zoom, order=1)[: shape[0], : shape[1]]
    return np.exp(smooth - np.float32(strength**2 / 2))


def _spiral(
    rng: np.random.Generator, major: FloatArray, minor: FloatArray, radius: float
) -> tuple[FloatArray, FloatArray]:
    """Log-spiral arms as a factor of mean 1 on every circle, and their phase."""
    pitch, n_arm = np.deg2rad(rng.uniform(10, 30)), rng.choice([2, 2, 2, 3, 4])
    distance = np.hypot(major, minor) + np.float32(0.05 * radius)
    winding = np.log(distance / np.float32(radius)) / np.float32(np.tan(pitch))
    phase = n_arm * (np.arctan2(minor, major) - np.float32(rng.choice([-1, 1])) * winding)
    sharpness = np.float32(rng.uniform(0.3, 1.8))
    return np.exp(sharpness * np.cos(phase)) / np.float32(special.i0(sharpness)), phase


def _add_knots(
    rng: np.random.Generator, scene: Any, disc: Any, window: Any, fluxes: FloatArray
) -> FloatArray:
    """Draw star-forming knots where the disc is bright; their summed flux."""
    coarse = disc[::4, ::4]
    chance = np.cumsum(coarse.ravel().astype(float) ** 0.8)
    n_knot = rng.integers(10, _MOST_KNOTS)
    cell = np.searchsorted(chance, rng.uniform(0, chance[-1], n_knot))
    cell = np.minimum(cell, coarse.size - 1)
    y = window[0].start + 4 * (cell // coarse.shape[1]) + rng.uniform(0, 4, n_knot)
    x = window[1].start + 4 * (cell % coarse.shape[1]) + rng.uniform(0, 4, n_knot)
    share = rng.exponential(size=n_knot)
    share *= 1 / share.sum()
    # Each has its own lines, and so its own fluxes.
    fluxes = fluxes[:, :n_knot] * share
    deposit(scene.image, x, y, fluxes)
    return fluxes.sum(axis=1)


def _components(rng: np.random.Generator, light: Light, magnitude: float) -> tuple[Any, ...]:
    """Fluxes of the old and young stars of a galaxy, and of each of its knots."""
    galaxy, own = light.galaxy(), light.rng
    dust, width = own.uniform(0, 0.6), 10 ** own.normal(1.2, 0.4)
    # From 0 to 1000 Angstrom, few of them large.
    widths = 1000 * own.random(_MOST_KNOTS) ** 2
    old = magnitude, rng.normal(0.80, 0.06), rng.normal(0.66, 0.06)
    young = magnitude, rng.normal(0.50, 0.12), rng.normal(0.45, 0.12)
    blue = magnitude, rng.normal(0.15, 0.1), rng.normal(0.1, 0.15)
    return (
        light.population(*old, galaxy),
        light.population(*young, galaxy, reddening=dust, halpha=width),
        light.population(*blue, galaxy, halpha=widths),
    )


def add_disc_galaxy(
    rng: np.random.Generator, scene: Any, x: float, y: float, magnitude: float, radius: float
) -> None:
    """A bulge, a disc with arms, clumps, dust and knots, and sometimes a bar."""
    axis_ratio, angle = rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    bulge_share = rng.beta(1.2, 5) * 0.7
    bar_share = rng.uniform(0.03, 0.15) if rng.random() < 0.35 else 0.0
    knot_share = rng.uniform(0.03, 0.10) if rng.random() < 0.7 else 0.0
    old, young, blue = _components(rng, scene.light, magnitude)
    knots = blue * knot_share
    share = 1 - bulge_share - bar_share - knot_share

    def note(left: Any, of_knots: Any) -> None:
        flux = old * (bulge_share + bar_share) + of_knots + young * share * left
        scene.note("galaxy", x, y, flux, radius * scene.fine_scale)

    shape = scene.image.shape[1:]
    drawn = sersic(shape, x, y, radius, 1, axis_ratio, angle)
    if drawn is None:
        note(1.0, knots.mean(axis=1))
        return
    disc, window = drawn
    plain = disc.sum(dtype=float)
    found = present(window_around(shape, x, y, radius * REACH + 4))
    major, minor = disc_plane(found[1], found[2], axis_ratio, angle)
    phase = None
    if rng.random() < 0.75:
        arms, phase = _spiral(rng, major, minor, radius)
        disc *= arms
    if rng.random() < 0.5:
        disc *= _clumps(rng, disc.shape, rng.uniform(0.1, 0.45))
    if phase is not None and rng.random() < 0.5:
        total = _add_dusty(rng, scene, disc, window, young * share, phase)
    else:
        scene.add(disc, window, young * share)
        total = disc.sum(dtype=float)
    of_knots = _add_knots(rng, scene, disc, window, knots) if knot_share else 0.0
    # Arms and clumps change the light of the disc, and dust absorbs some of it.
    note(total / plain if plain > 0 else 1.0, of_knots)
    if bar_share:
        bar = sersic(
            shape,
            x,
            y,
            radius * rng.uniform(0.4, 0.8),
            0.5,
            axis_ratio * rng.uniform(0.25, 0.5),
            angle + rng.uniform(-0.5, 0.5),
        )
        if bar is not None:
            scene.add(*bar, old * bar_share)
    bulge = sersic(
        shape,
        x,
        y,
        radius * rng.uniform(0.12, 0.4),
        rng.choice([1, 2, 4]),
        max(axis_ratio, rng.uniform(0.6, 1.0)),
        angle,
    )
    if bulge is not None:
        scene.add(*bulge, old * bulge_share)


def _add_dusty(
    rng: np.random.Generator, scene: Any, disc: Any, window: Any, fluxes: FloatArray, phase: Any
) -> FloatArray:
    """A disc with dust lanes along the inner edge of its arms, redder where dusty; its sums."""
    depth = np.float32(rng.uniform(0.2, 0.9))
    lane = depth * np.exp(4 * (np.cos(phase + np.float32(0.8)) - 1))
    sums = []
    for plane, flux, band in zip(scene.image, fluxes, scene.bands, strict=True):
        seen = np.exp(np.float32(-_EXTINCTION[band]) * lane)
        plane[window] += np.float32(flux) * disc * seen
        sums.append(np.sum(disc * seen, dtype=float))
    return np.array(sums)


def add_elliptical(
    rng: np.random.Generator, scene: Any, x: float, y: float, magnitude: float, radius: float
) -> None:
    """An elliptical, sometimes with a fainter disc."""
    colors = rng.normal(0.80, 0.06), rng.normal(0.66, 0.06)
    fluxes = scene.light.population(magnitude, *colors, scene.light.galaxy())
    scene.note("galaxy", x, y, fluxes, radius * scene.fine_scale)
    axis_ratio, angle = rng.uniform(0.5, 1.0), rng.uniform(0, np.pi)
    share = rng.uniform(0.6, 1.0)
    shape = scene.image.shape[1:]
    body = sersic(shape, x, y, radius, rng.choice([2.5, 4, 4, 5]), axis_ratio, angle)
    halo = sersic(shape, x, y, radius * rng.uniform(1.0, 1.8), 1, axis_ratio, angle)
    for drawn, part in ((body, share), (halo, 1 - share)):
        if drawn is not None:
            scene.add(*drawn, fluxes * part)


def add_galaxy(
    rng: np.random.Generator, scene: Any, x: float, y: float, magnitude: float, radius: float
) -> None:
    """A disc galaxy or an elliptical, as often as bright galaxies are."""
    kind = add_disc_galaxy if rng.random() < 0.62 else add_elliptical
    kind(rng, scene, x, y, magnitude, radius)
