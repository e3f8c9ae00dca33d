# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Tie the local flux of an enhanced image to that of its input.

The enhanced image, convolved to the PSF of the input, should be the input without
its noise.  Where it is not, and where there is significant flux, it is multiplied by
a smooth factor, as in an iteration of Richardson and Lucy: the generator determines the
shape of a source, the observation its flux.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage, signal

from splus_srgan.pixels.coadd_noise import smoothed_noise
from splus_srgan.pixels.fine_grid import FACTOR, to_fine_grid
from splus_srgan.pixels.psf import matching_transfer
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_finite

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["REACH", "anchor_flux", "moffat_matching_kernel"]

_KERNEL_SIZE = 65  # output pixels, odd: 9 arcsec to each side, for the wings of the PSF
_SMOOTHING = 2.5  # input pixels, about two PSFs: narrower structure is set by noise and PSF alone
_TRUNCATE = 2.0  # of the smoothing, in its own sigma
_SIGNIFICANCE = 8.0  # smoothed flux, in sigma, at which half of the correction is applied
_LIMITS = (-0.5, 1.0)  # of the correction

REACH = _KERNEL_SIZE // 4 + 1 + 2 * int(_TRUNCATE * _SMOOTHING + 0.5) + 1
"""Reach of the correction of a pixel (input pixels, along each axis)."""


def moffat_matching_kernel(
    source: Sequence[float],
    wanted: Sequence[float],
    *,
    pixel_scale: float = PIXEL_SCALE / 2,
    phase: float = 0.0,
) -> FloatArray:
    r"""
    Kernel of `~splus_srgan.pixels.psf.matching_transfer`, on pixels.

    Parameters
    ----------
    source, wanted : tuple of float
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings of the given
        PSF and of the wanted one (`~splus_srgan.pixels.psf.psf_transfer`).
    pixel_scale : float, optional
        Arcsec per pixel.
    phase : float, optional
        Shift of the result, in pixels along both axes.

    Returns
    -------
    kernel : `~numpy.ndarray`, shape (65, 65)
        Sum 1.

    Examples
    --------
    >>> from splus_srgan.enhance.flux_anchor import moffat_matching_kernel
    >>> kernel = moffat_matching_kernel((1.0, 3.0), (1.4, 3.0))
    >>> kernel.shape, round(float(kernel.sum()), 6)
    ((65, 65), 1.0)
    """
    fy = fft.fftfreq(_KERNEL_SIZE, pixel_scale)[:, None]
    fx = fft.rfftfreq(_KERNEL_SIZE, pixel_scale)[None, :]
    ratio = matching_transfer(fy, fx, source, wanted)
    ratio = ratio * np.exp(-2j * np.pi * phase * pixel_scale * (fy + fx))
    kernel = fft.fftshift(fft.irfft2(ratio, s=(_KERNEL_SIZE, _KERNEL_SIZE)))
    return kernel / kernel.sum()


@numpy_defaults
def anchor_flux(
    image: FloatArray,
    observed: FloatArray,
    sky: FloatArray,
    sigma: FloatArray,
    *,
    psfs: Sequence[Sequence[float] | None],
    target_psfs: Sequence[Sequence[float]],
    pixel_scale: float = PIXEL_SCALE,
    strength: float = 1.0,
    mask: BoolArray | None = None,
) -> FloatArray:
    r"""
    Give the sources of an enhanced image their observed flux.

    With the observed image :math:`O` and the enhanced one, convolved to its PSF,
    :math:`B` (both without sky), a Gaussian smoothing :math:`G` and the noise
    :math:`n` of a smoothed pixel, the image is multiplied by :math:`1 + r`,

    .. math:: r = G\left[ \frac{(O - B)\, g}{g^2 + (8 n)^2} \right], \qquad g = G[\max(B, 0)]

    Where there is no significant flux, :math:`r` vanishes, so blank sky is
    left alone.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Enhanced image, in flux per *input* pixel.
    observed : `~numpy.ndarray`, shape (n_band, ny, nx)
        Input, without missing pixels.
    sky, sigma : `~numpy.ndarray`
        Sky and noise of the input; they broadcast against it.
    psfs : sequence of tuple of float or None
        PSF of the input, per band: FWHM (arcsec), Moffat beta and, if there are any, share of
        the wings (`~splus_srgan.pixels.psf.psf_transfer`).  A band for which it is not known stays
        as it is.
    target_psfs : sequence of tuple of float
        The same of ``image``.
    pixel_scale : float, optional
        Arcsec per input pixel.
    strength : float, optional
        0 (nothing) to 1.
    mask : `~numpy.ndarray` of bool, shape (n_band, ny, nx), optional
        Pixels of the input without information on the flux: missing or saturated.

    Returns
    -------
    anchored : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        float32.

    Raises
    ------
    ValueError
        If ``strength`` is not within 0 and 1.
    """
    check_strength(strength)
    anchored = np.array(image, dtype=np.float32)
    sky, sigma = (np.broadcast_to(part, observed.shape) for part in (sky, sigma))
    for k, psf in enumerate(psfs):
        if psf is None or not strength:
            continue
        # An input pixel is centred between output pixels 2 i and 2 i + 1.
        kernel = moffat_matching_kernel(
            target_psfs[k], psf, pixel_scale=pixel_scale / 2, phase=-0.5
        )
        fine_sky = _on_fine_grid(sky[k]).astype(np.float32)
        plane = anchored[k] - fine_sky
        usable = None if mask is None else ~mask[k]
        ratio = _correction(plane, observed[k] - sky[k], sigma[k], kernel, usable)
        ratio = _on_fine_grid(strength * ratio)
        plane += np.maximum(plane, 0) * ratio
        anchored[k] = plane + fine_sky
    return anchored


def check_strength(strength: float) -> float:
    """Return the strength as `float` if it is within 0 and 1."""
    strength = check_finite(
        "flux_anchor", int(strength) if isinstance(strength, bool) else strength
    )
    if not 0 <= strength <= 1:
        raise ValueError(f"flux_anchor must be within 0 and 1; got {strength!r}")
    return strength


def _correction(
    plane: FloatArray, observed: FloatArray, sigma: Any, kernel: Any, usable: BoolArray | None
) -> FloatArray:
    """The factor, less 1, on the input's grid."""
    blurred = _at_input_pixels(plane, kernel)
    lacking = observed - blurred
    if usable is not None:
        lacking = np.where(usable, lacking, 0)
    noise = _SIGNIFICANCE * sigma * smoothed_noise(_SMOOTHING)
    flux = _smooth(np.maximum(blurred, 0))
    ratio = _smooth(lacking * flux / (flux**2 + noise**2))
    return np.clip(ratio, *_LIMITS)


def _at_input_pixels(plane: FloatArray, kernel: FloatArray) -> FloatArray:
    """The convolution of a fine image, at every other row and column of it."""
    padded = np.pad(plane, _KERNEL_SIZE // 2, mode="edge")
    ny, nx = (n // FACTOR for n in plane.shape)
    result = np.zeros((ny, nx))
    # Phase by phase: three of four values of the whole would not be used.
    for place in product(range(FACTOR), range(FACTOR)):
        phase = tuple(slice(start, None, FACTOR) for start in place)
        # Double precision: the transform would spread a bright star's rounding over the sky.
        part = padded[phase].astype(np.float64)
        result += signal.oaconvolve(part, kernel[phase], mode="valid")[:ny, :nx]
    return result


def _on_fine_grid(plane: FloatArray) -> FloatArray:
    """Linear between the centres of input pixels; one number for all of them stays one."""
    if not any(plane.strides):
        return plane[:1, :1]
    return to_fine_grid(plane, order=1)


def _smooth(plane: FloatArray) -> FloatArray:
    return ndimage.gaussian_filter(plane, _SMOOTHING, truncate=_TRUNCATE, mode="nearest")
