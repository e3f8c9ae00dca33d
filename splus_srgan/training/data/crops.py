# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From fields and matched pairs to the networks' input: noise, errors, turns, stretches."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from splus_srgan.images.header import NEAR_SATURATION
from splus_srgan.pixels.coadd_noise import correlated_noise, noise_variance
from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch, NoiseAsinhStretch
from splus_srgan.splus import PIXEL_SCALE

__all__ = [
    "OFFSETS",
    "PAPER_SYMMETRIES",
    "SATURATION_REACH",
    "Linear",
    "add_noise",
    "grow",
    "noise_sample",
    "refine",
    "seed_sample",
    "simulate_band",
    "stack_bands",
    "turn",
]

_AREA = 4  # output pixels per input pixel
SATURATION_REACH = 3  # input pixels around a saturated one that are not trained on

# Quarter turns and whether a flip left-right follows: identity, flip up-down, flip left-right,
# and a quarter turn.
PAPER_SYMMETRIES = ((0, False), (2, True), (0, True), (1, False))

_OFFSET = 0.005 * 3600 / PIXEL_SCALE  # input pixels
OFFSETS = tuple(
    (round(_OFFSET * np.sin(angle)), round(_OFFSET * np.cos(angle)))
    for angle in np.arange(8) * np.pi / 4
)
"""The eight offsets ``(dy, dx)`` by 0.005 deg, to the nearest input pixel."""


@dataclass(frozen=True, eq=False)
class Linear:
    """
    A pair in a linear unit, before any stretch.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, ny, nx)
        Input, sky included.
    target : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Target, without sky, in the unit of the input *per input pixel*: four output pixels
        make one.
    weight : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        0 for pixels that are not learned from, else 1.
    sky, sigma : `~numpy.ndarray`, shape (n_band,)
        Sky and its noise per input pixel.
    electrons : `~numpy.ndarray`, shape (n_band,)
        Electrons per unit of the input.
    counts, nanomaggies : `~numpy.ndarray`, shape (n_band,)
        ADU and nanomaggies in one unit of the input; NaN where unknown.
    name : str
        Name of the pair in messages.
    """

    image: np.ndarray
    target: np.ndarray
    weight: np.ndarray
    sky: np.ndarray
    sigma: np.ndarray
    electrons: np.ndarray
    counts: np.ndarray
    nanomaggies: np.ndarray
    name: str

    @property
    def n_bytes(self):
        """Size in memory."""
        return self.image.nbytes + self.target.nbytes + self.weight.nbytes

    def cut(self, y, x, height, width, bands=slice(None)):
        """The part that begins at input pixel ``(y, x)``, of some bands."""
        fine = np.s_[bands, 2 * y : 2 * (y + height), 2 * x : 2 * (x + width)]
        return Linear(
            self.image[bands, y : y + height, x : x + width],
            self.target[fine],
            self.weight[fine],
            *(getattr(self, name)[bands] for name in _PER_BAND),
            self.name,
        )


_PER_BAND = ("sky", "sigma", "electrons", "counts", "nanomaggies")


def simulate_band(rng, clean, sharp, conditions, *, depth, flux):
    """
    Observe one band of a field.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the noise.
    clean, sharp : `~numpy.ndarray`, shape (ny, nx) and (2 ny, 2 nx)
        Images of a `~splus_srgan.training.data.fields.Field`.
    conditions : dict
        Observing conditions of the band.
    depth, flux : float
        Factors on the sky noise, and on the flux of the sources.

    Returns
    -------
    parts : tuple
        Image, target, weight, and the numbers of a `Linear` in their order.
    """
    sigma, clean = conditions["sigma"] * depth, clean * np.float32(flux)
    noise = correlated_noise(rng, clean.shape, conditions["dithers"])
    noise *= np.sqrt(noise_variance(clean, sigma, conditions["electrons"]))
    saturated = grow(clean >= NEAR_SATURATION * conditions["saturation"], SATURATION_REACH)
    image = np.minimum(clean + noise, conditions["saturation"])
    numbers = (0.0, sigma, conditions["electrons"], conditions["adu_per_nmgy"], 1.0)
    return image, sharp * np.float32(_AREA * flux), 1 - refine(saturated), *numbers


def stack_bands(rows, name):
    """Combine the results of `simulate_band` for each band into one `Linear`."""
    parts = [np.stack(part) for part in zip(*rows, strict=True)]
    return Linear(*(np.asarray(p, np.float32) for p in parts[:3]), *parts[3:], name)


def add_noise(rng, linear, depth):
    """
    Make a pair shallower; a real image cannot be made deeper.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the noise.
    linear : `Linear`
        The pair.
    depth : `~numpy.ndarray`, shape (n_band,)
        Factor on the sky noise, at least 1.

    Returns
    -------
    shallower : `Linear`
        Pair with noise of ``sigma depth``.
    """
    image = linear.image.copy()
    for plane, extra in zip(image, linear.sigma * np.sqrt(depth**2 - 1), strict=True):
        dithers = rng.uniform(-0.5, 0.5, (3, 2))  # like the exposures of S-PLUS
        plane += np.float32(extra) * correlated_noise(rng, plane.shape, dithers)
    parts = {"image": image, "sigma": linear.sigma * depth}
    return Linear(**(vars(linear) | parts))


def noise_sample(linear, *, sigma_error, sky_error, stretch):
    """
    Bring a pair to units of the measured sky noise, and stretch it.

    Parameters
    ----------
    linear : `Linear`
        The pair.
    sigma_error, sky_error : `~numpy.ndarray`, shape (n_band,)
        Errors of the measured noise (a factor) and of the measured sky (in sigma).
    stretch : dict
        Options of `~splus_srgan.NoiseAsinhStretch`.

    Returns
    -------
    sample : dict of str to `~numpy.ndarray`
        ``input``, ``target``, ``weight``, ``noisy``, ``truth``, ``electrons``; the truth
        holds the same error of the sky as the input.
    """
    sigma = linear.sigma * sigma_error
    offset = sky_error * linear.sigma
    noisy = (linear.image - _planes(linear.sky + offset)) / _planes(sigma)
    truth = (linear.target - _planes(offset)) / _planes(sigma)
    apply = NoiseAsinhStretch(0.0, 1.0, **stretch)
    return {
        "input": apply(noisy),
        "target": apply(truth),
        "weight": linear.weight,
        "noisy": noisy,
        "truth": truth,
        "electrons": np.float32(linear.electrons * sigma),
    }


def seed_sample(linear, *, sky_error, flux):
    """
    Stretch a pair as the seed paper does: arcsinh, then minimum to maximum of the image.

    Parameters
    ----------
    linear : `Linear`
        The pair.
    sky_error : `~numpy.ndarray`, shape (n_band,)
        Error of the sky in sigma.
    flux : `~numpy.ndarray`, shape (n_band,)
        Factor on the counts.

    Returns
    -------
    sample : dict of str to `~numpy.ndarray`
        ``input``, ``target`` and ``weight`` (1), with images between 0 and 1.
    """
    counts = _planes(linear.counts * flux) * (linear.image - _planes(sky_error * linear.sigma))
    target = linear.target * _planes(linear.nanomaggies / _AREA)
    return {
        "input": _to_unit_range(AsinhStretch.splus()(counts)),
        "target": _to_unit_range(AsinhStretch.legacy()(target)),
        "weight": np.ones_like(linear.weight),
    }


def _to_unit_range(image):
    if image.min() == image.max():
        return np.zeros_like(image)
    # Rounding may exceed the range by one step of float32.
    return np.clip(MinMaxStretch().fit(image)(image), 0, 1)


def _planes(values):
    """Numbers per band, in a shape that broadcasts with images."""
    return np.asarray(values, np.float32)[:, None, None]


def turn(image, turns, flip):
    """Quarter turns of the last two axes, then a flip left-right."""
    image = np.rot90(image, turns, (1, 2))
    return np.ascontiguousarray(image[:, :, ::-1] if flip else image)


def refine(mask):
    """A mask on the pixels of the target, as float32."""
    return np.repeat(np.repeat(mask, 2, -2), 2, -1).astype(np.float32)


def grow(mask, pixels):
    """Grow a mask by a square of this many pixels on each side."""
    return ndimage.binary_dilation(mask, np.ones((2 * pixels + 1,) * 2)) if mask.any() else mask
