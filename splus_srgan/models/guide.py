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
    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = ["GUIDED_PLANES", "PHASES", "REACH", "guided_planes"]

SCALES = (1.5, 3.0, 6.0)
"""Standard deviations of the Gaussians (output pixels) on whose scales spectra are measured."""

FAINT = 0.3
"""Softening of the stretch of faint light, in sky noises of an input pixel."""

_TRUNCATE = 3.0
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
    planes : `~numpy.ndarray`, shape (n_band, 21, ny, nx)
        float32.  The input; the phases of the fine grid of the first stage; the same as
        :math:`f(x_b) = {\rm arcsinh}(x_b / 0.3)`; and of :math:`f(p_b) - f(x_b)` for each scale.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.models.guide import guided_planes
    >>> flat = np.full((2, 8, 6), 0.5, np.float32)
    >>> planes = guided_planes(flat, flat.repeat(2, 1).repeat(2, 2), softening=3.0, range=2.0)
    >>> planes.shape, bool(np.abs(planes[:, 9:]).max() < 1e-6)
    ((2, 21, 8, 6), True)
    """
    made = np.asarray(made, np.float32)
    linear = np.float32(softening) * np.sinh(np.float32(range) * made)
    linear = np.clip(linear, -_BRIGHTEST, _BRIGHTEST)
    faint = _faint(linear)
    parts = [np.asarray(y, np.float32)[:, None], _phases(made), _phases(faint)]
    for scale in SCALES:
        parts.append(_phases(_faint(_guide(linear, scale)) - faint))
    return np.concatenate(parts, 1)


def _guide(linear: FloatArray, scale: float) -> FloatArray:
    axes = (0, scale, scale)
    mean = ndimage.gaussian_filter(linear, axes, mode="nearest", truncate=_TRUNCATE)
    shared = (mean * (linear - mean)).sum(0) / (mean**2 + np.float32(_NOISE**2)).sum(0)
    return mean * (1 + shared)


def _faint(linear: FloatArray) -> FloatArray:
    return np.arcsinh(linear / np.float32(FAINT))


def _phases(images: FloatArray) -> FloatArray:
    """The phases of fine images on the coarse grid, ``(n_band, 4, ny, nx)``."""
    n_band, ny, nx = images.shape
    cut = images.reshape(n_band, ny // _UPSCALING, _UPSCALING, nx // _UPSCALING, _UPSCALING)
    return cut.transpose(0, 2, 4, 1, 3).reshape(n_band, PHASES, ny // _UPSCALING, nx // _UPSCALING)
