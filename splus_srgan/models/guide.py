# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What the bands of a field tell about each other: the local spectrum, and a guide made with it.

Around every pixel the bands are assumed to differ only in brightness, as measured on some scale:
all bands together then give an image of each, with far less noise.  Where they do differ, as in
an emission line, the generator has to learn not to trust the guide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "GUIDED_PLANES",
    "PHASES",
    "REACH",
    "each_guided",
    "from_phases",
    "guided_planes",
    "to_phases",
]

SCALES = (1.5, 3.0, 6.0, 16.0)
"""Standard deviations of the Gaussians (output pixels) on whose scales spectra are measured."""

FAINT = 0.3
"""Softening of the stretch of faint light, in sky noises of an input pixel."""

_TRUNCATE = 3.0
_BROAD = 8.0  # output pixels: means on larger scales need no more than the grid of the input
_NOISE = 0.02  # of the smoothed first stage, in sky noises
_BRIGHTEST = 1e6  # sky noises; squares of more could overflow
_UPSCALING = 2
PHASES = _UPSCALING**2
"""Output pixels for each input pixel."""

GUIDED_PLANES = 1 + PHASES * (2 + len(SCALES))
"""Planes of each band: the input, the phases of the first stage, twice, and those of the guides."""

REACH = -(-int(_TRUNCATE * max(SCALES) + 0.5) // _UPSCALING)
"""Input pixels on which a guide depends, on each side."""


def guided_planes(
    y: FloatArray, made: FloatArray, *, softening: float, range: float
) -> NDArray[np.float32]:
    r"""
    Images of each band, and their guides from all bands.

    With the result :math:`x_b` of the first stage for band :math:`b`, in sky noises, and
    :math:`\langle\,\rangle_s` a mean with Gaussian weights, the guide of scale :math:`s` is

    .. math:: p_b = \langle x_b \rangle_s \left(1 + \frac{\sum_a \langle x_a \rangle_s
              (x_a - \langle x_a \rangle_s)}{\sum_a (\langle x_a \rangle_s^2 + \epsilon^2)}\right)

    the least-squares fit of one image to all bands, with the local spectrum
    :math:`\langle x_a \rangle_s`.

    Parameters
    ----------
    y : `~numpy.ndarray`, shape (n_band, ny, nx)
        Stretched input.
    made : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Stretched result of the first stage.
    softening, range : float
        Softening and range of the stretch, see `~splus_srgan.NoiseAsinhStretch`.

    Returns
    -------
    planes : `~numpy.ndarray`, shape (n_band, 25, ny, nx)
        float32.  The input; the phases of the fine grid of the first stage; the same as
        :math:`f(x_b) = {\rm arcsinh}(x_b / 0.3)`; and of :math:`f(p_b) - f(x_b)` for each scale.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.models.guide import guided_planes
    >>> flat = np.full((2, 8, 6), 0.5, np.float32)
    >>> planes = guided_planes(flat, flat.repeat(2, 1).repeat(2, 2), softening=3.0, range=2.0)
    >>> planes.shape, bool(np.abs(planes[:, 9:]).max() < 1e-6)
    ((2, 25, 8, 6), True)
    """
    return np.stack(list(each_guided(y, made, softening=softening, range=range)))


def each_guided(
    y: FloatArray, made: FloatArray, *, softening: float, range: float
) -> Iterator[NDArray[np.float32]]:
    """
    What `guided_planes` gives, one band after the other: all at once are much larger.

    Parameters
    ----------
    y, made, softening, range
        As `guided_planes` takes them.

    Yields
    ------
    planes : `~numpy.ndarray`, shape (25, ny, nx)
        Planes of a band, float32.
    """
    made = np.asarray(made, np.float32)
    linear = np.float32(softening) * np.sinh(np.float32(range) * made)
    linear = np.clip(linear, -_BRIGHTEST, _BRIGHTEST)
    fits = [_fit(linear, scale) for scale in SCALES]
    for k, one in enumerate(linear):
        faint = _faint(one)
        parts = [np.asarray(y[k], np.float32)[None], to_phases(made[k]), to_phases(faint)]
        for means, ratio in fits:
            parts.append(to_phases(_faint(_on_fine_grid(means[k], one.shape) * ratio) - faint))
        yield np.concatenate(parts)


def _fit(linear: FloatArray, scale: float) -> tuple[FloatArray, FloatArray]:
    """Local means of the bands, and the ratio of the fit to them, which is that of all bands."""
    means = _smoothed(linear, scale)
    excess, power = np.zeros_like(linear[0]), np.zeros_like(linear[0])
    for mean, one in zip(means, linear, strict=True):
        mean = _on_fine_grid(mean, one.shape)
        excess += mean * (one - mean)
        power += mean**2 + np.float32(_NOISE**2)
    return means, 1 + excess / power


def _smoothed(linear: FloatArray, scale: float) -> FloatArray:
    if scale <= _BROAD:
        return _filtered(linear, scale)
    binned = linear[:, ::2] + linear[:, 1::2]
    return _filtered((binned[:, :, ::2] + binned[:, :, 1::2]) / PHASES, scale / _UPSCALING)


def _on_fine_grid(mean: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    return mean if mean.shape == shape else mean.repeat(2, 0).repeat(2, 1)


def _filtered(images: FloatArray, scale: float) -> FloatArray:
    axes = (0, scale, scale)
    return ndimage.gaussian_filter(images, axes, mode="nearest", truncate=_TRUNCATE)


def _faint(linear: FloatArray) -> FloatArray:
    return np.arcsinh(linear / np.float32(FAINT))


def to_phases(image: FloatArray) -> FloatArray:
    """
    Sort the pixels of a fine image by their place within a pixel of the coarse grid.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Image on the fine grid.

    Returns
    -------
    phases : `~numpy.ndarray`, shape (4, ny, nx)
        Its phases.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.models.guide import from_phases, to_phases
    >>> fine = np.arange(8).reshape(2, 4)
    >>> to_phases(fine).tolist()
    [[[0, 2]], [[1, 3]], [[4, 6]], [[5, 7]]]
    >>> bool((from_phases(to_phases(fine)) == fine).all())
    True
    """
    ny, nx = (n // _UPSCALING for n in image.shape)
    cut = image.reshape(ny, _UPSCALING, nx, _UPSCALING)
    return cut.transpose(1, 3, 0, 2).reshape(PHASES, ny, nx)


def from_phases(phases: FloatArray) -> FloatArray:
    """
    Put an image together that `to_phases` took apart.

    Parameters
    ----------
    phases : `~numpy.ndarray`, shape (4, ny, nx)
        Phases of an image.

    Returns
    -------
    image : `~numpy.ndarray`, shape (2 ny, 2 nx)
        The image.
    """
    ny, nx = phases.shape[1:]
    cut = phases.reshape(_UPSCALING, _UPSCALING, ny, nx)
    return cut.transpose(2, 0, 3, 1).reshape(_UPSCALING * ny, _UPSCALING * nx)
