# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Two images compared scale by scale: what comes through, what is added, what is moved.

The Fourier transforms of both, under a window that is flat but for its edges and without
masked pixels, are compared in rings of frequency.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy import fft, signal

from splus_srgan.utils.elementwise import both_as_float
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["Amplitude", "Shift", "measure_amplitude", "measure_shift", "power_spectrum_ratio"]

_MIN_SIDE = 8  # pixels
_TAPER = 0.4  # share of the window that falls off, both ends together


@dataclass(frozen=True)
class Amplitude:
    """
    How strong an image is compared with its reference, and the standard error of that.

    Attributes
    ----------
    value, error : float
        1 is equal strength; NaN where the reference is empty.
    """

    value: float
    error: float


@dataclass(frozen=True)
class Shift:
    """
    How far an image lies from its reference, and the standard error of that.

    Attributes
    ----------
    y, x : float
        Pixels; NaN where the reference is empty.
    error : float
        Per axis, pixels.
    """

    y: float
    x: float
    error: float


def power_spectrum_ratio(
    reference: ArrayLike, image: ArrayLike, *, n_ring: int = 32, mask: ArrayLike | None = None
) -> QTable:
    r"""
    Power of an image relative to its reference, by frequency.

    With the transforms :math:`\hat R` and :math:`\hat I`, sums over a ring of
    frequencies give

    .. math:: \frac{\sum |\hat I|^2}{\sum |\hat R|^2}, \qquad
              t = \frac{\sum {\rm Re}(\hat I \hat R^*)}{\sum |\hat R|^2}, \qquad
              c = \frac{\sum {\rm Re}(\hat I \hat R^*)}{\sqrt{\sum |\hat I|^2 \sum |\hat R|^2}}

    A ratio above :math:`t^2` is power that the reference does not have: noise, or patterns.

    Parameters
    ----------
    reference, image : array_like, shape (ny, nx)
        In the same linear unit, at least 8 pixels on each side.
    n_ring : int, optional
        Rings up to the Nyquist frequency, 0.5 cycles per pixel, at least 1; the corners
        beyond go into as many more as needed.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    table : `~astropy.table.QTable`
        For each ring that has modes: mean ``frequency`` (cycles per pixel), number of
        ``modes``, ``ratio``, ``transfer`` (*t*) and ``coherence`` (*c*).  They are NaN
        where the reference has no power.

    Raises
    ------
    ValueError
        If the shapes do not fit, or images are too small.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.spectra import power_spectrum_ratio
    >>> image = np.random.default_rng(1).normal(size=(32, 32))
    >>> table = power_spectrum_ratio(image, 1.02 * image, n_ring=4)
    >>> table["ratio"].round(4).tolist()
    [1.0404, 1.0404, 1.0404, 1.0404, 1.0404, 1.0404]
    """
    both = _CrossSpectrum(reference, image, mask)
    ring = (both.radius * 2 * check_integer("n_ring", n_ring, minimum=1)).astype(int)

    def total(values: FloatArray) -> FloatArray:
        return np.asarray(np.bincount(ring.ravel(), (both.weight * values).ravel()), float)

    modes = total(both.used)
    has = modes > 0
    power_r, power_i, cross = (
        total(one)[has] for one in (both.power_reference, both.power_image, both.cross.real)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        power_r = np.where(power_r > 1e-28 * both.total, power_r, np.nan)
        table = QTable(
            {
                "frequency": total(both.used * both.radius)[has] / modes[has] / u.pix,
                "modes": modes[has].astype(int),
                "ratio": power_i / power_r,
                "transfer": cross / power_r,
                "coherence": cross / np.sqrt(power_r * power_i),
            }
        )
    return table


def measure_amplitude(
    reference: ArrayLike,
    image: ArrayLike,
    *,
    low: float = 0.0,
    high: float = 0.5,
    mask: ArrayLike | None = None,
) -> Amplitude:
    r"""
    Strength of an image relative to its reference, over a range of frequencies.

    The *t* of `power_spectrum_ratio`.  Noise in the image widens its error, and leaves
    it where it is; noise in the reference lowers it.

    Parameters
    ----------
    reference, image : array_like, shape (ny, nx)
        In the same linear unit.
    low, high : float, optional
        Range of frequencies, cycles per pixel; zero itself (the sky) is left out.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    amplitude : `Amplitude`
        With the error that what is left, taken for noise, gives.

    Raises
    ------
    ValueError
        If the shapes do not fit, images are too small, or the range holds no frequency.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.spectra import measure_amplitude
    >>> image = np.random.default_rng(1).normal(size=(32, 32))
    >>> round(measure_amplitude(image, 1.02 * image).value, 4)
    1.02
    """
    both = _CrossSpectrum(reference, image, mask)
    within = both.within(low, high)
    power = both.sum(both.power_reference, within)
    if not power > 1e-28 * max(both.total, 1e-300):
        return Amplitude(np.nan, np.nan)
    value = both.sum(both.cross.real, within) / power
    left = np.abs(both.image - value * both.reference) ** 2
    error = np.sqrt(both.sum(left * both.power_reference, within)) / power
    return Amplitude(float(value), float(error))


def measure_shift(
    reference: ArrayLike, image: ArrayLike, *, high: float = 0.25, mask: ArrayLike | None = None
) -> Shift:
    r"""
    Shift of an image against its reference.

    The least-squares solution of :math:`{\rm Im}(\hat I \hat R^*) = -2 \pi \, {\bf k \cdot d}
    \, t \, |\hat R|^2`, repeated on the image moved back: an image that is also blurred or fainter
    is not shifted.  It holds for shifts of less than about a FWHM of what is in the image.

    Parameters
    ----------
    reference, image : array_like, shape (ny, nx)
        In the same linear unit.
    high : float, optional
        Highest frequency used, cycles per pixel.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    shift : `Shift`
        Pixels, positive where the image lies further up and right.

    Raises
    ------
    ValueError
        If the shapes do not fit, images are too small, or ``high`` leaves no frequency.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.spectra import measure_shift
    >>> y, x = np.mgrid[:48, :48]
    >>> star, moved = (np.exp(-((x - x0) ** 2 + (y - 24) ** 2) / 8) for x0 in (24, 24.2))
    >>> found = measure_shift(star, moved)
    >>> round(found.x, 3), abs(round(found.y, 3))
    (0.2, 0.0)
    """
    both = _CrossSpectrum(reference, image, mask)
    within = both.within(0.0, high)
    power = both.sum(both.power_reference, within)
    if not power > 1e-28 * max(both.total, 1e-300):
        return Shift(np.nan, np.nan, np.nan)
    ky, kx = (np.broadcast_to(k, within.shape) for k in (both.fy, both.fx))
    moved = np.zeros(2)
    for _ in range(3):
        back = np.exp(2j * np.pi * (ky * moved[0] + kx * moved[1]))
        cross = both.cross * back
        strength = both.sum(cross.real, within) / power
        if strength <= 0:
            return Shift(np.nan, np.nan, np.nan)
        waves = [2 * np.pi * strength * k for k in (ky, kx)]
        normal = np.array(
            [[both.sum(a * b * both.power_reference, within) for b in waves] for a in waves]
        )
        moved += np.linalg.solve(normal, [-both.sum(a * cross.imag, within) for a in waves])
    left = np.abs(both.image * back - strength * both.reference) ** 2
    noise = [both.sum(a**2 * both.power_reference * left, within) / 2 for a in waves]
    error = np.sqrt(np.mean(np.array(noise) / np.diag(normal) ** 2))
    return Shift(float(moved[0]), float(moved[1]), float(error))


class _CrossSpectrum:
    """Transforms of two images under one window, and their products."""

    def __init__(self, reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None) -> None:
        reference, image = both_as_float(reference, image)
        if reference.shape != image.shape or reference.ndim != 2:
            raise ValueError(
                "reference and image must have one shape (ny, nx); got "
                f"{reference.shape} and {image.shape}"
            )
        if min(image.shape) < _MIN_SIDE:
            raise ValueError(
                f"images must have at least {_MIN_SIDE} pixels on each side; got {image.shape}"
            )
        free = np.isfinite(reference) & np.isfinite(image)
        if mask is not None:
            if np.shape(mask) != image.shape:
                raise ValueError(
                    f"mask must have the shape of the images, {image.shape}; got {np.shape(mask)}"
                )
            free &= ~np.asarray(mask, bool)
        # Flat over most of the image: a slope would draw shifts towards its middle.
        window = np.outer(*(signal.windows.tukey(n + 2, _TAPER)[1:-1] for n in image.shape))
        window = window * free
        self.reference, self.image = (_transform(one, free, window) for one in (reference, image))
        self.power_reference, self.power_image = (
            np.abs(one) ** 2 for one in (self.reference, self.image)
        )
        self.cross = self.image * np.conj(self.reference)
        self.fy = fft.fftfreq(image.shape[0])[:, None]
        self.fx = fft.rfftfreq(image.shape[1])[None, :]
        self.radius = np.hypot(self.fy, self.fx)
        # A mode stands for its negative too, except where that is itself.
        self.weight = np.where((self.fx > 0) & (self.fx < 0.5), 2.0, 1.0) * np.ones_like(self.fy)
        self.used = (self.radius > 0).astype(float)
        self.weight[0, 0] = 0.0
        # What rounding leaves of an empty reference counts as nothing.
        self.total = float(np.sum(self.weight * (self.power_reference + self.power_image)))

    def within(self, low: float, high: float) -> BoolArray:
        within = (self.radius >= low) & (self.radius < high) & (self.radius > 0)
        if not within.any():
            raise ValueError(
                f"low and high must enclose a frequency of the images; got {low!r} and {high!r}"
            )
        return within

    def sum(self, values: FloatArray, within: BoolArray) -> float:
        return float(np.sum((self.weight * values)[within]))


def _transform(image: FloatArray, free: BoolArray, window: FloatArray) -> NDArray[Any]:
    if not free.any():
        return np.zeros((image.shape[0], image.shape[1] // 2 + 1), complex)
    values = np.where(free, image, 0.0)
    return fft.rfft2((values - np.sum(values * window) / np.sum(window)) * window)
