# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bring an image to another PSF, with kernels that raise the noise no more than allowed."""

import numpy as np
from scipy import ndimage, signal

from splus_srgan.images.header import psf_from_header
from splus_srgan.pixels.psf import psf_image

__all__ = ["convolve", "image_psf", "matching_kernel", "resample_psf"]

_REGULARIZATIONS = 10.0 ** np.arange(-7, 0.5, 0.5)
_NOISE = 2.0  # largest growth of the noise


def image_psf(image, pixel_scale):
    """
    Find the PSF of an image: its ``psf``, or the seeing in its header.

    Parameters
    ----------
    image : `~astropy.nddata.CCDData`
        Image.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    psf : `~numpy.ndarray` or None
        Odd square image on the pixels of the image, centered, sum 1; `None` where unknown.
    """
    psf = getattr(image, "psf", None)
    if psf is not None:
        return _odd_square(np.nan_to_num(np.asarray(psf, float)))
    seeing = psf_from_header(image.meta)
    if seeing is None:
        return None
    fwhm = seeing[0] / pixel_scale
    return psf_image((fwhm, seeing[1]), pixel_scale=1.0, radius=int(6 * fwhm))


def _odd_square(psf):
    """Center a PSF on the middle pixel of an odd square; its flux is scaled to 1."""
    size = max(psf.shape) | 1
    y, x = np.indices(psf.shape)
    # The centroid of the core: noise in the wings would drive a plain one.
    core = np.where(psf > 0.1 * psf.max(), psf, 0)
    middle = [np.sum(axis * core) / core.sum() for axis in (y, x)]
    rows, columns = np.indices((size, size)) - size // 2
    places = np.stack([rows + middle[0], columns + middle[1]])
    if np.allclose(middle, size // 2, atol=1e-3) and psf.shape == (size, size):
        centered = psf
    else:
        centered = ndimage.map_coordinates(psf, places, order=3, mode="constant")
    return centered / centered.sum()


def resample_psf(psf, matrix, size):
    """
    Sample a PSF on the pixels of another grid.

    Parameters
    ----------
    psf : `~numpy.ndarray`
        Odd square, centered.
    matrix : array_like, shape (2, 2)
        Step ``(y, x)`` in old pixels of one new pixel along each axis, in its columns.
    size : int
        Odd side of the result.

    Returns
    -------
    psf : `~numpy.ndarray`, shape (size, size)
        Sum 1.
    """
    steps = np.indices((size, size)) - size // 2
    places = np.tensordot(np.asarray(matrix, float), steps, 1) + psf.shape[0] // 2
    sampled = ndimage.map_coordinates(psf, places, order=3, mode="constant")
    return sampled / sampled.sum()


def matching_kernel(source, target):
    r"""
    Kernel that brings one PSF to another.

    Wiener-regularized, by `photutils.psf_matching.make_wiener_kernel`, with the least
    regularization for which white noise grows by :math:`\sqrt{\sum K^2} \leq 2`
    at most; this matters where the target is the sharper PSF.

    Parameters
    ----------
    source, target : `~numpy.ndarray`
        Odd square images of one shape, centered, sum 1.

    Returns
    -------
    kernel : `~numpy.ndarray`
        Of the same shape, sum 1.
    error : float
        Largest difference between ``source`` convolved with the kernel and ``target``,
        as a share of the target's peak.
    """
    for regularization in _REGULARIZATIONS:
        kernel = _wiener_kernel(source, target, regularization)
        if np.sqrt(np.sum(kernel**2)) <= _NOISE:
            break
    matched = signal.fftconvolve(source, kernel, mode="same")
    return kernel, float(np.max(np.abs(matched - target)) / target.max())


def _wiener_kernel(source, target, regularization):
    try:
        from photutils.psf_matching import make_wiener_kernel
    except ImportError:  # before photutils 3.0
        return _plain_wiener(source, target, regularization)
    return make_wiener_kernel(source, target, regularization=regularization, penalty="laplacian")


def _plain_wiener(source, target, regularization):
    cross = np.array([[0, -1, 0], [-1, 4, -1], [0, -1, 0]], float)
    laplacian = np.pad(cross, source.shape[0] // 2 - 1)
    have, want, rough = (np.fft.fft2(part) for part in (source, target, laplacian))
    ratio = want * have.conj() / (np.abs(have) ** 2 + regularization * np.abs(rough) ** 2)
    kernel = np.fft.fftshift(np.fft.ifft2(ratio).real)
    return kernel / kernel.sum()


def convolve(data, kernel):
    """Convolve an image without missing pixels; beyond the edge its last pixels are repeated."""
    padded = np.pad(data.astype(float), [(n // 2, n // 2) for n in kernel.shape], mode="edge")
    return signal.oaconvolve(padded, kernel, mode="valid")
