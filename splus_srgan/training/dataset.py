# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulated pairs for training: scenes rendered once, noise drawn anew for every crop.

A set is a folder of two memory-mapped arrays (noise-free S-PLUS images and
targets, in nanomaggies) and one table of observing conditions, so that several
training runs can share it.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from splus_srgan.simulate import correlated_noise, noise_variance, simulate_field

__all__ = ["SEEDS", "PairSet", "render_pairs"]

SEEDS = {"train": 1, "validation": 2, "test": 3}
"""First number of the seed pairs of `splus_srgan.simulate_field`, one per purpose."""

_FILES = ("clean.npy", "sharp.npy", "conditions.json")


def render_pairs(
    folder, n_pairs, *, purpose="train", shape=(128, 128), bands=("g", "r", "z"), first=0
):
    """
    Render noise-free pairs into a folder.

    Parameters
    ----------
    folder : path-like
        Where the set goes; created.
    n_pairs : int
        Fields to render; field ``k`` has the seed ``(SEEDS[purpose], first + k)``.
    purpose : {"train", "validation", "test"}, optional
        Picks the seeds.
    shape : tuple of int, optional
        ``(ny, nx)`` of the S-PLUS image.
    bands : sequence of str, optional
        Bands.
    first : int, optional
        Number of the first field.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ny, nx = shape
    layout = {"mode": "w+", "dtype": np.float32}
    clean = np.lib.format.open_memmap(
        folder / _FILES[0], shape=(n_pairs, len(bands), ny, nx), **layout
    )
    sharp = np.lib.format.open_memmap(
        folder / _FILES[1], shape=(n_pairs, len(bands), 2 * ny, 2 * nx), **layout
    )
    table = []
    for k in range(n_pairs):
        field = simulate_field((SEEDS[purpose], first + k), shape=shape, bands=bands)
        for b, band in enumerate(bands):
            scale = field.conditions[band].adu_per_nmgy
            clean[k, b] = field.noiseless[band] / scale
            sharp[k, b] = field.target[band].data / scale
        table.append(
            [
                {
                    "sigma": c.sigma,
                    "electrons": c.electrons,
                    "saturation": c.saturation / c.adu_per_nmgy,
                    "dithers": c.dithers,
                }
                for c in (field.conditions[band] for band in bands)
            ]
        )
    clean.flush()
    sharp.flush()
    (folder / _FILES[2]).write_text(json.dumps({"bands": list(bands), "conditions": table}))


@dataclass
class PairSet:
    """
    Crops of simulated pairs with fresh noise, in units of the sky noise.

    Parameters
    ----------
    folders : sequence of path-like
        Sets made by `render_pairs`.
    crop : int
        Side of the input crop in S-PLUS pixels.
    sigma_error, sky_error : float
        Spread of the error of the measured noise (relative) and of the measured
        sky (in sigma) that the generator is trained to live with.
    single_band : bool
        Give one band, drawn at random, instead of all.
    """

    folders: list
    crop: int = 48
    sigma_error: float = 0.03
    sky_error: float = 0.05
    single_band: bool = False

    def __post_init__(self):
        self.clean = [np.load(Path(f) / _FILES[0], mmap_mode="r") for f in self.folders]
        self.sharp = [np.load(Path(f) / _FILES[1], mmap_mode="r") for f in self.folders]
        tables = [json.loads((Path(f) / _FILES[2]).read_text()) for f in self.folders]
        self.conditions = [table["conditions"] for table in tables]
        self.index = [(s, k) for s, table in enumerate(self.conditions) for k in range(len(table))]

    def draw(self, rng):
        """
        Draw one crop.

        Returns
        -------
        noisy : `~numpy.ndarray`, shape (n_band, crop, crop)
            Input in units of the measured sky noise, the measured sky subtracted.
        truth : `~numpy.ndarray`, shape (n_band, 2 crop, 2 crop)
            Target in the same units and per input pixel (that is, times four); it
            holds the same error of the sky as the input.
        electrons : `~numpy.ndarray`, shape (n_band,)
            Electrons per unit of the input, for the photon noise.
        weight : `~numpy.ndarray`, shape (n_band, 2 crop, 2 crop)
            0 around saturated pixels, 1 elsewhere.
        """
        which, k = self.index[rng.integers(len(self.index))]
        clean, sharp = self.clean[which][k], self.sharp[which][k]
        y, x = rng.integers(0, np.array(clean.shape[1:]) - self.crop + 1)
        bands = range(clean.shape[0])
        if self.single_band:
            bands = [rng.integers(clean.shape[0])]
        rows = [
            self._draw_band(
                rng,
                clean[b, y : y + self.crop, x : x + self.crop],
                sharp[b, 2 * y : 2 * (y + self.crop), 2 * x : 2 * (x + self.crop)],
                self.conditions[which][k][b],
            )
            for b in bands
        ]
        noisy, truth, electrons, weight = (np.stack(part) for part in zip(*rows, strict=True))
        turns, flip = rng.integers(4), rng.random() < 0.5
        images = [np.rot90(image, turns, (1, 2)) for image in (noisy, truth, weight)]
        if flip:
            images = [image[:, :, ::-1] for image in images]
        noisy, truth, weight = (np.ascontiguousarray(image) for image in images)
        return noisy, truth, electrons.astype(np.float32), weight

    def _draw_band(self, rng, clean, sharp, conditions):
        sigma = conditions["sigma"] * rng.lognormal(0, 0.2)
        noise = correlated_noise(rng, clean.shape, conditions["dithers"])
        noise *= np.sqrt(noise_variance(clean, sigma, conditions["electrons"]))
        image = np.minimum(clean + noise, conditions["saturation"])
        saturated = clean > 0.9 * conditions["saturation"]
        measured = sigma * rng.lognormal(0, self.sigma_error)
        sky = rng.normal(0, self.sky_error) * sigma
        near = np.repeat(np.repeat(_grow(saturated, 3), 2, 0), 2, 1)
        return (
            ((image - sky) / measured).astype(np.float32),
            ((4 * sharp - sky) / measured).astype(np.float32),
            conditions["electrons"] * measured,
            1 - near.astype(np.float32),
        )


def _grow(mask, pixels):
    """Grow a mask by a square of this many pixels on each side."""
    if not mask.any():
        return mask
    grown = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask), strict=True):
        grown[max(0, y - pixels) : y + pixels + 1, max(0, x - pixels) : x + pixels + 1] = True
    return grown
