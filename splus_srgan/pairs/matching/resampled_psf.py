# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
PSF of resampled pixels: that of the image, broadened by the kernel of the resampling.

Splines of second and third order keep it.  The other kernels are boxes, one with the other, or a
Gaussian, and have a Fourier transform in closed form.  A kernel is sampled at input
pixels, so its transform is repeated at whole frequencies, with phases that depend on
where between the input pixels the new ones fall: where all fall onto input
pixels, the average over the area of an equally large pixel changes nothing.
"""

from itertools import product

import numpy as np

from splus_srgan.pairs.matching.positions import local_map
from splus_srgan.pairs.matching.psf_matching import resample_psf
from splus_srgan.pairs.matching.resampled_noise import ADAPTIVE_SIGMA

__all__ = ["keeps_psf", "resampled_psf"]

_SPLINES = ("biquadratic", "bicubic")
_REPEATS = 5  # cycles per input pixel; the transforms fall off with at least their inverse
_PATCH = 64  # output pixels across, in the middle of the image, over which phases are averaged
_FEW = 1e-3  # mean phase factor that does not count


def keeps_psf(method, order):
    """Whether a method of resampling leaves the PSF as it is."""
    return method == "interp" and order in _SPLINES


def resampled_psf(psf, wcs_in, wcs_out, shape, method, order):
    """
    Give the PSF that a resampled image has in the middle, on average over the phases there.

    Parameters
    ----------
    psf : `~numpy.ndarray`
        PSF of the image on its own pixels: odd square, centered, sum 1.
    wcs_in, wcs_out : object
        WCS of either interface of astropy.
    shape : tuple of int
        ``(ny, nx)`` of the input.
    method, order
        As for `splus_srgan.pairs.match.match_to_grid`.

    Returns
    -------
    psf : `~numpy.ndarray` or None
        Odd square on the pixels of the output, which may be turned and mirrored; sum 1. `None`
        where the output does not know the sky there.
    """
    matrix, middle = local_map(wcs_in, wcs_out, shape)
    if not np.isfinite(matrix).all():
        return None
    if not keeps_psf(method, order):
        psf = _broadened(psf, matrix, middle, method, order)
    ratio = np.sqrt(abs(np.linalg.det(matrix)))
    return resample_psf(psf, matrix, 2 * int(psf.shape[0] / ratio / 2) + 1)


def _broadened(psf, matrix, middle, method, order):
    steps = np.linalg.norm(matrix, 2)
    # As far as the kernel reaches, so that it does not come back on the other side.
    psf = np.pad(psf, int(np.ceil(1 + 2 * max(steps, 1))))
    frequency = np.stack(np.meshgrid(*(np.fft.fftfreq(n) for n in psf.shape), indexing="ij"))
    places = np.indices((_PATCH, _PATCH)).reshape(2, -1) - _PATCH // 2
    places = matrix @ places + middle[:, None]
    transfer = np.zeros(psf.shape, complex)
    for repeat in product(range(-_REPEATS, _REPEATS + 1), repeat=2):
        phase = np.mean(np.exp(2j * np.pi * (np.array(repeat) @ places)))
        if abs(phase) > _FEW:
            shifted = frequency + np.reshape(repeat, (2, 1, 1))
            transfer += phase * _transfer(shifted, matrix, method, order)
    return np.fft.ifft2(np.fft.fft2(psf) * transfer).real


def _transfer(frequency, matrix, method, order):
    """Fourier transform of a kernel, at frequencies (y, x) in cycles per input pixel."""
    if method == "adaptive":
        # Never narrower than for pixels as large as those of the input.
        axes, steps, _ = np.linalg.svd(matrix)
        along = np.tensordot(axes.T, frequency, 1)
        widths = ADAPTIVE_SIGMA * np.maximum(steps, 1)
        return np.exp(-2 * np.pi**2 * np.tensordot(widths**2, along**2, 1))
    pixel = np.eye(2)
    if method == "exact":
        boxes = [pixel, matrix]
    else:
        boxes = [pixel] if order == "nearest-neighbor" else [pixel, pixel]
    sides = np.concatenate([box.T for box in boxes])
    return np.sinc(np.tensordot(sides, frequency, 1)).prod(axis=0)
