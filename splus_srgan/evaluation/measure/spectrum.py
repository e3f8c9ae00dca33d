# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Lines in the power spectrum of a sky with holes."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["SkySpectrum"]

_BOX = 11  # frequencies around a line that tell how strong its surroundings are
_FALSE_ALARM = 1e-4  # of a whole search
_LOWEST = 8  # waves across the sky: fewer are structure, not a pattern


class SkySpectrum:
    """
    Amplitudes of waves in the free pixels of an image.

    The image is multiplied with a Hann window and with the free pixels, so that a wave
    ``a cos(2 pi f x)`` has amplitude ``a`` whatever is masked.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Image.
    free : `~numpy.ndarray` of bool, shape (ny, nx)
        Pixels to use.
    """

    def __init__(self, image: FloatArray, free: BoolArray) -> None:
        window = np.outer(*(np.hanning(n + 2)[1:-1] for n in image.shape)) * free
        self.shape, self._weight = image.shape, window.sum()
        self._side = max(np.sqrt(np.mean(free)), 1e-6)  # of a square of as much sky
        values = np.where(free, image, 0.0)
        self._values = (values - (window * values).sum() / self._weight) * window
        self.frequencies = fft.fftfreq(image.shape[0]), fft.rfftfreq(image.shape[1])
        spectrum = np.abs(fft.rfft2(self._values)) / self._weight
        self.amplitude = spectrum * self._sides()
        self.level = _surroundings(spectrum, self.frequencies) * self._sides()

    def _sides(self) -> FloatArray:
        """2 for a frequency that stands for itself and its negative, 1 for its own negative."""
        own = [np.isin(np.abs(f), (0, 0.5)) for f in self.frequencies]
        return 2.0 - np.logical_and.outer(*own)

    def at(self, fy: float, fx: float) -> tuple[float, float]:
        """Amplitude at any frequency (cycles per pixel), and the level around it."""
        wave_y = np.exp(-2j * np.pi * fy * np.arange(self.shape[0]))
        wave_x = np.exp(-2j * np.pi * fx * np.arange(self.shape[1]))
        own = all(2 * f == int(2 * f) for f in (fy, fx))
        amplitude = (1 if own else 2) * abs(wave_y @ self._values @ wave_x) / self._weight
        row = round(fy * self.shape[0]) % self.shape[0]
        column = min(round(fx * self.shape[1]), len(self.frequencies[1]) - 1)
        return amplitude, self.level[row, column]

    def search(self, number: int = 5) -> list[tuple[float, ...]]:
        """Strongest lines above their surroundings: ``(fy, fx, amplitude, level)``, best first."""
        ratio = np.where(self._searched(), self.amplitude / self.level, 0)
        ratio[ratio < ndimage.maximum_filter(ratio, 5, mode=["wrap", "nearest"])] = 0
        fy, fx = self.frequencies
        rows, columns = np.unravel_index(np.argsort(-ratio, axis=None)[:number], ratio.shape)
        return [
            (fy[j], fx[i], self.amplitude[j, i], self.level[j, i])
            for j, i in zip(rows, columns, strict=True)
            if ratio[j, i] > 0
        ]

    def refined(self, fy: float, fx: float) -> tuple[float, ...]:
        """The line between the frequencies of the transform, which lie too far apart."""
        offsets = np.linspace(-0.5, 0.5, 9)
        rows, columns = fy + offsets / self.shape[0], fx + offsets / self.shape[1]
        places = list(product(rows, columns))
        amplitude, best = max((self.at(*place)[0], place) for place in places)
        return (*best, amplitude, self.at(fy, fx)[1])

    def threshold(self, number: int | None = None) -> float:
        """Ratio of amplitude to level that noise reaches in 1 of 10000 looks at so many places."""
        return np.sqrt(np.log((number or self._searched().sum()) / _FALSE_ALARM))

    @property
    def typical_level(self) -> float:
        """Median level of what is searched."""
        return float(np.median(self.level[self._searched()]))

    def _searched(self) -> BoolArray:
        steps = [np.abs(f) * n for f, n in zip(self.frequencies, self.shape, strict=True)]
        # Across the frame there are as many more as there is less sky in it, in pieces.
        return np.hypot(steps[0][:, None], steps[1]) >= _LOWEST / self._side


def _surroundings(amplitude: FloatArray, frequencies: Any) -> FloatArray:
    """Root mean square amplitude around each frequency, whatever single lines there are."""
    power = amplitude**2
    half = _BOX // 2
    padded = np.pad(power, ((half, half), (0, 0)), mode="wrap")
    # The median of an exponential distribution is ln 2 of its mean.
    box = ndimage.median_filter(padded, _BOX, mode="mirror")[half:-half] / np.log(2)
    radius = np.hypot(frequencies[0][:, None], frequencies[1])
    # The corners beyond the Nyquist frequency are too few to make rings of their own.
    step = 1 / max(amplitude.shape[0], 2 * amplitude.shape[1])
    rings = np.rint(np.minimum(radius, 0.5) / step).astype(int)
    number = np.arange(rings.max() + 1)
    # Steep spectra: a box centred on a frequency sees more of the weaker side.
    ring = np.nan_to_num(ndimage.median(power, rings, number))[rings] / np.log(2)
    level = np.sqrt(np.maximum(box, ring))
    return np.maximum(level, 1e-12 * max(float(amplitude.max()), 1e-300))


def named_frequencies(period: float) -> list[tuple[float, float]]:
    """Frequencies of a pattern of this period: along x, along y and both diagonals."""
    f = 1 / period
    found = {(0.0, f), (f, 0.0), (f, f), (f, -f)} if f != 0.5 else {(0.0, f), (f, 0.0), (f, f)}
    if period == 4:
        found |= {(a, b) for a, b in product((0.25, 0.5), repeat=2) if a != b}
    return sorted((fy, fx) if fx >= 0 else (-fy, -fx) for fy, fx in found)
