# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Images brought to the PSF of the output by finite kernels, for a generator to choose from.

A linear filter cannot take the noise away as a generator does, but it knows the PSF.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from splus_srgan.models.guide import PHASES
from splus_srgan.pixels.psf import psf_transfer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = ["REACH", "restored_phases", "wiener_kernels"]

REACH = 7
"""Input pixels that a kernel reads to each side."""

_UPSCALING = 2
_NOISE_POWER = 1e-3  # over that of the source, at every frequency
_UNKNOWN = (1.2, 3.6)  # a PSF that is sharpened little
_FWHM, _BETA = (0.7, 3.5), (2.0, 8.0)
_SIDE = 64  # output pixels of the grid that kernels are computed on
_BRIGHTEST = 1e6  # sky noises


def wiener_kernels(
    psf: Sequence[float] | None, *, target: Sequence[float], pixel_scale: float
) -> NDArray[np.float32]:
    r"""
    Kernels that bring the core of a PSF to that of the output, on the grid of the output.

    With the Fourier transforms :math:`\hat{S}` of the PSF's core and :math:`\hat{T}` of the
    target's, the Wiener filter for a constant ratio :math:`K = 10^{-3}` of the power of noise
    and source,

    .. math:: \hat{W} = (1 + K)\, \frac{\hat{S} \hat{T}}{\hat{S}^2 + K}

    cut to 15 x 15 input pixels and normalized there, so a constant is not changed.

    Parameters
    ----------
    psf : tuple of float or None
        FWHM (arcsec, 0.7 to 3.5 are taken) and Moffat beta (2 to 8) of the core; `None` where
        not known, for a filter that hardly sharpens.
    target : tuple of float
        FWHM (arcsec) and Moffat beta of the output.
    pixel_scale : float
        Arcsec per input pixel.

    Returns
    -------
    kernels : `~numpy.ndarray`, shape (4, 15, 15)
        For the output pixels of an input pixel, row by row; float32.

    Examples
    --------
    >>> from splus_srgan.models.wiener import wiener_kernels
    >>> kernels = wiener_kernels((1.4, 3.5), target=(1.0, 3.0), pixel_scale=0.55)
    >>> kernels.shape, kernels.sum((1, 2)).round(3).tolist()
    ((4, 15, 15), [1.0, 1.0, 1.0, 1.0])
    """
    fwhm, beta = _UNKNOWN if psf is None else psf[:2]
    fwhm, beta = float(np.clip(fwhm, *_FWHM)), float(np.clip(beta, *_BETA))
    pixel = pixel_scale / _UPSCALING
    source = _transfer(fwhm, beta, pixel)
    wanted = _transfer(*map(float, target), pixel)
    # Half an output pixel: their centers lie beside those of input pixels.
    frequency = np.fft.fftfreq(_SIDE)
    shift = np.exp(1j * np.pi * (frequency[:, None] + frequency))
    filtered = (1 + _NOISE_POWER) * source * wanted / (source**2 + _NOISE_POWER) * shift
    fine = PHASES * np.fft.fftshift(np.fft.ifft2(filtered).real)
    away = _UPSCALING * np.arange(-REACH, REACH + 1)
    first = _SIDE // 2 - away - 1
    phases = [fine[np.ix_(first + p, first + q)] for p in (0, 1) for q in (0, 1)]
    kernels = np.array(phases)
    # What was cut off is given back broadly.
    broad = np.exp(-0.5 * (away[:, None] ** 2 + away**2) / REACH**2)
    lost = 1 - kernels.sum((1, 2))
    kernels = kernels + lost[:, None, None] * broad / broad.sum()
    return kernels.astype(np.float32)


@lru_cache(maxsize=1024)
def _transfer(fwhm: float, beta: float, pixel: float) -> FloatArray:
    frequency = np.fft.fftfreq(_SIDE, pixel)
    return psf_transfer(frequency[:, None], frequency, fwhm, beta).astype(float)


def restored_phases(
    y: FloatArray, kernels: NDArray[np.float32], *, softening: float, range: float
) -> NDArray[np.float32]:
    """
    Filter stretched images by kernels that double the number of pixels per axis.

    Parameters
    ----------
    y : `~numpy.ndarray`, shape (n_band, ny, nx)
        Stretched images; their border is repeated.
    kernels : `~numpy.ndarray`, shape (n_band, 4, 15, 15)
        See `wiener_kernels`.
    softening, range : float
        Softening and range of the stretch, see `~splus_srgan.NoiseAsinhStretch`.

    Returns
    -------
    phases : `~numpy.ndarray`, shape (n_band, 4, ny, nx)
        Without stretch, in sky noises: the four output pixels of each input pixel, row by row, as
        `torch.nn.functional.pixel_shuffle` takes them.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.models.wiener import restored_phases, wiener_kernels
    >>> kernels = wiener_kernels((1.4, 3.5), target=(1.0, 3.0), pixel_scale=0.55)
    >>> flat = np.full((1, 8, 9), np.arcsinh(10 / 3) / 2, np.float32)
    >>> phases = restored_phases(flat, kernels[None], softening=3.0, range=2.0)
    >>> phases.shape, bool(np.allclose(phases, 10, atol=1e-4))
    ((1, 4, 8, 9), True)
    """
    with torch.inference_mode():
        images = torch.from_numpy(np.ascontiguousarray(y, np.float32))
        linear = (softening * torch.sinh(range * images)).clamp(-_BRIGHTEST, _BRIGHTEST)
        padded = functional.pad(linear[None], [REACH] * 4, mode="replicate")
        weights = torch.from_numpy(np.ascontiguousarray(kernels).reshape(-1, 1, *kernels.shape[2:]))
        fine = functional.conv2d(padded, weights, groups=len(images))[0]
        return fine.reshape(len(images), PHASES, *images.shape[1:]).numpy()
