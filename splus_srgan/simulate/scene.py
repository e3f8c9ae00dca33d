# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The sky before any telescope: galaxies and stars drawn on a fine grid.

Everything here is in nanomaggies and in fine pixels.  `splus_srgan.simulate.field`
places the scene on the sky and looks at it through a PSF.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import ndimage, special

from splus_srgan.simulate.light import Light

__all__ = ["Scene", "draw_scene"]

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
# Largest radius (in effective radii) to which a profile is drawn: 99.9 % of the light of n = 1.
_REACH = 6.0
_MOST_KNOTS = 60
_HOT_STARS, _LINE_SOURCES = 0.4, 3.0  # per square arcmin


@dataclass
class Scene:
    """
    Light per fine pixel in each band, and the list of what was drawn.

    Attributes
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        Flux per fine pixel in nanomaggies.
    fine_scale : float
        Arcsec per fine pixel.
    light : `~splus_srgan.simulate.light.Light`
        What turns magnitudes into fluxes.
    sources : list of dict
        Kind, position (fine pixels, 0-based) and flux per band.
    """

    bands: tuple
    image: np.ndarray
    fine_scale: float
    light: Light
    sources: list = field(default_factory=list)

    def add(self, profile, window, fluxes):
        """Add a profile of unit flux with the given flux per band."""
        for plane, flux in zip(self.image, fluxes, strict=True):
            plane[window] += np.float32(flux) * profile

    def note(self, kind, x, y, fluxes, half_light_radius=0.0):
        """Enter a source into the list."""
        self.sources.append(
            {"kind": kind, "x": x, "y": y, "half_light_radius": half_light_radius}
            | {f"flux_{band}": flux for band, flux in zip(self.bands, fluxes, strict=True)}
        )


def _window(shape, x, y, reach):
    """The part of the grid within ``reach`` of a position, with its pixel coordinates."""
    ny, nx = shape
    y0, y1 = max(0, int(y - reach)), min(ny, int(y + reach) + 2)
    x0, x1 = max(0, int(x - reach)), min(nx, int(x + reach) + 2)
    if y0 >= y1 or x0 >= x1:
        return None
    yy = np.arange(y0, y1, dtype=np.float32)[:, None] - np.float32(y)
    xx = np.arange(x0, x1, dtype=np.float32)[None, :] - np.float32(x)
    return (slice(y0, y1), slice(x0, x1)), yy, xx


def _disc_plane(yy, xx, axis_ratio, angle):
    """Coordinates in the plane of an inclined disc, along its major and minor axis."""
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    return cos * xx + sin * yy, (cos * yy - sin * xx) / np.float32(axis_ratio)


def _sersic_profile(radius, index):
    """Sersic profile of a radius in units of the half-light radius, not normalised."""
    # Ciotti & Bertin 1999, good to 1e-4 for index > 0.4.
    b = 2 * index - 1 / 3 + 4 / (405 * index) + 46 / (25515 * index**2)
    power = np.sqrt(np.sqrt(radius)) if index == 4 else radius ** np.float32(1 / index)
    norm = 2 * np.pi * index * special.gamma(2 * index) * b ** (-2 * index)
    return np.exp(np.float32(-b) * power) / np.float32(norm)


def sersic(shape, x, y, radius, index, axis_ratio, angle, *, reach=None):
    """
    Draw a Sersic profile of unit total flux.

    The profile is sampled at the pixel centres, and averaged over 9 x 9 points a
    pixel close to the centre, where it is too steep for that.

    Returns
    -------
    profile, window : `~numpy.ndarray`, tuple of slice
        `None` where nothing of it falls on the grid.
    """
    if reach is None:
        reach = radius * (_REACH if index <= 1 else 4 * _REACH) + 4
    found = _window(shape, x, y, reach)
    if found is None:
        return None
    window, yy, xx = found
    scale = np.float32(1 / (radius**2 * axis_ratio))
    major, minor = _disc_plane(yy, xx, axis_ratio, angle)
    profile = _sersic_profile(np.hypot(major, minor) / np.float32(radius), index) * scale

    core_y = np.flatnonzero(np.abs(yy[:, 0]) < 6)
    core_x = np.flatnonzero(np.abs(xx[0]) < 6)
    if core_y.size and core_x.size:
        offsets = ((np.arange(9) - 4) / 9).astype(np.float32)
        sub_y = (yy[core_y, 0][:, None] + offsets).reshape(-1, 1)
        sub_x = (xx[0, core_x][:, None] + offsets).reshape(1, -1)
        major, minor = _disc_plane(sub_y, sub_x, axis_ratio, angle)
        core = _sersic_profile(np.hypot(major, minor) / np.float32(radius), index)
        core = core.reshape(core_y.size, 9, core_x.size, 9).mean(axis=(1, 3))
        profile[np.ix_(core_y, core_x)] = core * scale
    return profile, window


def deposit(image, x, y, fluxes):
    """
    Put point sources between the pixels, by cubic convolution weights.

    The weights (Keys 1981, a = -1/2) keep the flux, the centroid and the width of
    each point exactly.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        Changed in place.
    x, y : `~numpy.ndarray`, shape (n,)
        Positions in pixels, 0-based.
    fluxes : `~numpy.ndarray`, shape (n_band, n)
        Flux of each point.
    """
    ny, nx = image.shape[1:]
    x, y = np.atleast_1d(x).astype(float), np.atleast_1d(y).astype(float)
    inside = (x > 2) & (x < nx - 3) & (y > 2) & (y < ny - 3)
    x, y, fluxes = x[inside], y[inside], fluxes[:, inside]
    ix, iy = np.floor(x).astype(int), np.floor(y).astype(int)
    wx, wy = _cubic_weights(x - ix), _cubic_weights(y - iy)
    for dy in range(4):
        for dx in range(4):
            weight = wy[dy] * wx[dx]
            for plane, flux in zip(image, fluxes, strict=True):
                np.add.at(plane, (iy + dy - 1, ix + dx - 1), (flux * weight).astype(plane.dtype))


def _cubic_weights(t):
    return (
        -0.5 * t + t**2 - 0.5 * t**3,
        1 - 2.5 * t**2 + 1.5 * t**3,
        0.5 * t + 2 * t**2 - 1.5 * t**3,
        -0.5 * t**2 + 0.5 * t**3,
    )


def _clumps(rng, shape, strength):
    """A smooth random field of mean about 1: the flocculent texture of a disc."""
    coarse = ndimage.gaussian_filter(rng.standard_normal((48, 48)), rng.uniform(0.8, 2.0))
    coarse *= strength / coarse.std()
    zoom = (shape[0] / 48, shape[1] / 48)
    smooth = ndimage.zoom(coarse.astype(np.float32), zoom, order=1)[: shape[0], : shape[1]]
    return np.exp(smooth - np.float32(strength**2 / 2))


def _spiral(rng, major, minor, radius):
    """Log-spiral arms as a factor of mean 1 on every circle, and their phase."""
    pitch, n_arm = np.deg2rad(rng.uniform(10, 30)), rng.choice([2, 2, 2, 3, 4])
    distance = np.hypot(major, minor) + np.float32(0.05 * radius)
    winding = np.log(distance / np.float32(radius)) / np.float32(np.tan(pitch))
    phase = n_arm * (np.arctan2(minor, major) - np.float32(rng.choice([-1, 1])) * winding)
    sharpness = np.float32(rng.uniform(0.3, 1.8))
    return np.exp(sharpness * np.cos(phase)) / np.float32(special.i0(sharpness)), phase


def _add_knots(rng, scene, disc, window, fluxes):
    """Star-forming knots, drawn where the disc is bright; their summed flux."""
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


def _components(rng, light, magnitude):
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


def add_disc_galaxy(rng, scene, x, y, magnitude, radius):
    """A bulge, a disc with arms, clumps, dust and knots, and sometimes a bar."""
    axis_ratio, angle = rng.uniform(0.25, 1.0), rng.uniform(0, np.pi)
    bulge_share = rng.beta(1.2, 5) * 0.7
    bar_share = rng.uniform(0.03, 0.15) if rng.random() < 0.35 else 0.0
    knot_share = rng.uniform(0.03, 0.10) if rng.random() < 0.7 else 0.0
    old, young, blue = _components(rng, scene.light, magnitude)
    knots = blue * knot_share
    share = 1 - bulge_share - bar_share - knot_share

    def note(left, of_knots):
        flux = old * (bulge_share + bar_share) + of_knots + young * share * left
        scene.note("galaxy", x, y, flux, radius * scene.fine_scale)

    shape = scene.image.shape[1:]
    drawn = sersic(shape, x, y, radius, 1, axis_ratio, angle)
    if drawn is None:
        note(1.0, knots.mean(axis=1))
        return
    disc, window = drawn
    plain = disc.sum(dtype=float)
    found = _window(shape, x, y, radius * _REACH + 4)
    major, minor = _disc_plane(found[1], found[2], axis_ratio, angle)
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
    # Arms and clumps lie where the disc is bright or not, and dust takes light away.
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


def _add_dusty(rng, scene, disc, window, fluxes, phase):
    """A disc with dust lanes along the inner edge of its arms, redder where dusty; its sums."""
    depth = np.float32(rng.uniform(0.2, 0.9))
    lane = depth * np.exp(4 * (np.cos(phase + np.float32(0.8)) - 1))
    sums = []
    for plane, flux, band in zip(scene.image, fluxes, scene.bands, strict=True):
        seen = np.exp(np.float32(-_EXTINCTION[band]) * lane)
        plane[window] += np.float32(flux) * disc * seen
        sums.append(np.sum(disc * seen, dtype=float))
    return np.array(sums)


def add_elliptical(rng, scene, x, y, magnitude, radius):
    """An elliptical, sometimes with a fainter disc."""
    colours = rng.normal(0.80, 0.06), rng.normal(0.66, 0.06)
    fluxes = scene.light.population(magnitude, *colours, scene.light.galaxy())
    scene.note("galaxy", x, y, fluxes, radius * scene.fine_scale)
    axis_ratio, angle = rng.uniform(0.5, 1.0), rng.uniform(0, np.pi)
    share = rng.uniform(0.6, 1.0)
    shape = scene.image.shape[1:]
    body = sersic(shape, x, y, radius, rng.choice([2.5, 4, 4, 5]), axis_ratio, angle)
    halo = sersic(shape, x, y, radius * rng.uniform(1.0, 1.8), 1, axis_ratio, angle)
    for drawn, part in ((body, share), (halo, 1 - share)):
        if drawn is not None:
            scene.add(*drawn, fluxes * part)


def add_galaxy(rng, scene, x, y, magnitude, radius):
    """A disc galaxy or an elliptical, as often as bright galaxies are."""
    kind = add_disc_galaxy if rng.random() < 0.62 else add_elliptical
    kind(rng, scene, x, y, magnitude, radius)


def add_background_galaxies(rng, scene, number):
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


def add_stars(rng, scene, number, brightest):
    """Stars between ``brightest`` and r = 23, counts rising as 10^(0.2 r)."""
    if not number:
        return
    ny, nx = scene.image.shape[1:]
    magnitude = 23 + np.log10(rng.uniform(10 ** (0.2 * (brightest - 23)), 1, number)) / 0.2
    x, y = rng.uniform(0, nx, number), rng.uniform(0, ny, number)
    g_r = rng.triangular(0.2, 0.5, 1.5, number)
    r_z = 0.1 + 0.6 * g_r + np.maximum(0, g_r - 1.1) * rng.uniform(0, 2, number)
    _put_points(scene, "star", x, y, scene.light.stars(magnitude, g_r, r_z))


def _put_points(scene, kind, x, y, fluxes):
    deposit(scene.image, x, y, fluxes)
    for place in zip(x, y, fluxes.T, strict=True):
        scene.note(kind, *place)


def add_hot_stars(scene, number):
    """Stars of 7000 to 12000 K, between r = 13 and 22."""
    rng, (ny, nx) = scene.light.rng, scene.image.shape[1:]
    magnitude = 22 + np.log10(rng.uniform(10 ** (0.2 * -9), 1, number)) / 0.2
    temperature = rng.uniform(7000, 12000, number)
    x, y = rng.uniform(0, nx, number), rng.uniform(0, ny, number)
    if number:
        _put_points(scene, "star", x, y, scene.light.hot_stars(magnitude, temperature))


def add_line_sources(scene, number):
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


def _typical_radius(rng, magnitude):
    """Half-light radius (arcsec) of a galaxy of this r magnitude."""
    return 2.9 * 10 ** (-0.175 * (magnitude - 15.5)) * rng.lognormal(0, 0.35)


def _add_main(rng, scene, kind, centre, frame):
    """The galaxies that a field is about."""
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


def draw_scene(rng, *, shape, frame, fine_scale, bands, kind, spectra):
    """
    Draw a field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of every random choice.
    shape : tuple of int
        Fine grid ``(ny, nx)``, margin included.
    frame : tuple of int
        Fine pixels of the part that will be seen; it is centred.
    fine_scale : float
        Arcsec per fine pixel.
    bands : sequence of str
        Among `splus_srgan.splus.BANDS`.
    kind : {"galaxy", "fill", "cluster", "stars", "blank"}
        What the field is about.
    spectra : `~numpy.random.Generator`
        Source of what shows in other bands than g, r and z alone.

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
