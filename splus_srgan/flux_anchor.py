# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Tie the local flux of an enhanced image to that of its input.

The enhanced image, convolved to the PSF of the input, should be the input without
its noise.  What differs on scales larger than the PSF, where there is significant
flux, is added back.
"""

import numpy as np
from scipy import fft, ndimage, signal

from splus_srgan.simulate import moffat_transfer

__all__ = ["anchor_flux", "matching_kernel"]

_KERNEL_SIZE = 65  # output pixels: 9 arcsec to each side
_SIGNIFICANCE = 5.0  # smoothed flux, in units of its noise, where half of the difference counts
_SMOOTHING = 2.5  # input pixels; wider than the PSF, so that its errors average out


def matching_kernel(source, wanted, *, phase=0.0):
    r"""
    Kernel that brings one Moffat PSF to another, broader one.

    The ratio of both transfer functions, :math:`\min(\hat{W} / \hat{S}, 1)`.

    Parameters
    ----------
    source, wanted : tuple of float
        FWHM in pixels, and beta, of the PSF at hand and of the one wanted.
    phase : float, optional
        Shift of the result, in pixels along both axes.

    Returns
    -------
    kernel : `~numpy.ndarray`, shape (65, 65)
        Sum 1; float32.

    Examples
    --------
    >>> from splus_srgan.flux_anchor import matching_kernel
    >>> kernel = matching_kernel((3.6, 3.0), (5.0, 3.0))
    >>> kernel.shape, round(float(kernel.sum()), 6)
    ((65, 65), 1.0)
    """
    fy = fft.fftfreq(_KERNEL_SIZE)[:, None]
    fx = fft.rfftfreq(_KERNEL_SIZE)[None, :]
    have = moffat_transfer(fy, fx, *source).astype(float)
    want = moffat_transfer(fy, fx, *wanted).astype(float)
    ratio = np.minimum(want / np.maximum(have, 1e-12), 1)
    ratio = ratio * np.exp(-2j * np.pi * phase * (fy + fx))
    kernel = fft.fftshift(fft.irfft2(ratio, s=(_KERNEL_SIZE, _KERNEL_SIZE)))
    return (kernel / kernel.sum()).astype(np.float32)


def anchor_flux(image, observed, sky, sigma, *, psfs, card, strength):
    """
    Add back the low-frequency part of the input that the enhanced image lacks.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Enhanced image, in flux per *input* pixel.
    observed : `~numpy.ndarray`, shape (n_band, ny, nx)
        Input, without missing pixels.
    sky, sigma : `~numpy.ndarray`
        Sky and noise of the input; they broadcast against it.
    psfs : list of tuple of float or None
        FWHM (input pixels) and Moffat beta of the input per band.
    card : `~splus_srgan.models.weights.WeightsCard`
        Its target PSF is that of ``image``.
    strength : float
        0 (nothing) to 1.

    Returns
    -------
    anchored : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        float32.

    Raises
    ------
    ValueError
        If the PSF of a band is not known, or ``strength`` is not within 0 and 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"flux_anchor must be between 0 and 1; got {strength!r}")
    if None in psfs:
        raise ValueError(
            "flux_anchor needs the PSF of every band, from the cards FWHMMEAN and FWHMBETA of its "
            "header; use flux_anchor=False where it is not known"
        )
    target = card.target_psf["fwhm"] / (card.pixel_scale / 2), card.target_psf["beta"]
    anchored = np.empty_like(image)
    for k, (fwhm, beta) in enumerate(psfs):
        # An input pixel is centred between output pixels 2 i and 2 i + 1.
        kernel = matching_kernel(target, (2 * fwhm, beta), phase=-0.5)
        level, noise = (np.broadcast_to(part, observed.shape)[k] for part in (sky, sigma))
        fine = np.pad(image[k] - np.median(level), _KERNEL_SIZE // 2, mode="edge")
        blurred = signal.oaconvolve(fine, kernel, mode="valid")[::2, ::2]
        signal_flux = observed[k] - level
        lacking = ndimage.gaussian_filter(signal_flux - blurred, _SMOOTHING)
        smooth = ndimage.gaussian_filter(signal_flux, _SMOOTHING)
        significance = smooth / (noise * _smoothed_noise()) / _SIGNIFICANCE
        weight = strength * np.maximum(significance, 0) ** 2 / (1 + significance**2)
        correction = ndimage.zoom(lacking * weight, 2, order=1, mode="nearest", grid_mode=True)
        anchored[k] = image[k] + correction
    return anchored


def _smoothed_noise():
    """Noise of a smoothed image of unit white noise, a little more for its correlation."""
    return 1.15 / (2 * np.sqrt(np.pi) * _SMOOTHING)
