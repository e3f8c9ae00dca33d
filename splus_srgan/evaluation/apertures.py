# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Fluxes measured alike on coarse and fine images, their noise, and matched PSFs.

Everything is linear in the pixels (sums in apertures, plain means in annuli, one mask
for both images), so that noise in one and none in the other leaves no offset.  Positions
are in pixels of the input grid, 0-based; ``factor`` is how many times finer an image is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.pixels.psf import TARGET_PSF, matching_transfer
from splus_srgan.splus import PIXEL_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["aperture_flux", "aperture_noise", "blur_to_psf", "to_input_grid"]

_MARGIN = 56  # fine pixels: the wings of the kernel beyond the border
_TAPER = 28  # of them, over which what is beyond the border falls to the level of the image


def fine_places(x: ArrayLike, y: ArrayLike, factor: int) -> FloatArray:
    """Positions on the fine grid, shape (n, 2), from those in input pixels."""
    offset = (factor - 1) / 2
    return np.transpose(
        [factor * np.asarray(x, float) + offset, factor * np.asarray(y, float) + offset]
    )


def aperture_flux(
    image: FloatArray,
    x: ArrayLike,
    y: ArrayLike,
    *,
    radius: float,
    annulus: tuple[float, float] | None = None,
    factor: int = 1,
    mask: BoolArray | None = None,
    pixel_scale: float = PIXEL_SCALE,
) -> tuple[FloatArray, FloatArray]:
    """
    Measure the flux in apertures, less the mean of the unmasked part of annuli.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Flux per pixel.
    x, y : array_like, shape (n,)
        Positions in input pixels.
    radius : float
        Radius of the aperture, arcsec.
    annulus : tuple of float, optional
        Radii of the annulus, arcsec.  `None`: nothing is subtracted.
    factor : int, optional
        Pixels of the image per input pixel and axis.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        What annuli leave out.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    flux, free_area : `~numpy.ndarray`, shape (n,)
        Flux (NaN where no pixel of the annulus is free), and the unmasked area of the
        annulus in input pixels (infinite without annulus).

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.apertures import aperture_flux
    >>> flux, _ = aperture_flux(np.ones((21, 21)), [10], [10], radius=1.1)
    >>> bool(np.isclose(flux[0], np.pi * (1.1 / 0.55) ** 2))
    True
    """
    from photutils.aperture import CircularAnnulus, CircularAperture

    places = fine_places(x, y, factor)
    if not len(places):
        return np.empty(0), np.empty(0)
    scale = pixel_scale / factor
    image = np.asarray(image, float)
    disc = CircularAperture(places, radius / scale)
    total, _ = disc.do_photometry(image)
    if annulus is None:
        return total, np.full(len(places), np.inf)
    ring = CircularAnnulus(places, annulus[0] / scale, annulus[1] / scale)
    free = np.ones(image.shape)
    if mask is not None:
        free[mask.repeat(factor, 0).repeat(factor, 1)] = 0
    around, _ = ring.do_photometry(image * free)
    area, _ = ring.do_photometry(free)
    with np.errstate(invalid="ignore", divide="ignore"):
        flux = total - around / area * disc.area
    return flux, area / factor**2


def aperture_noise(
    flux: ArrayLike,
    free_area: ArrayLike,
    *,
    radius: float,
    sigma: float,
    electrons: float = 0.0,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    r"""
    Give the noise that an input image brings to `aperture_flux`.

    .. math:: n^2 = \sigma(A)^2 + \left(\frac{A}{A_f} \sigma(A_f)\right)^2 + \frac{F}{g}

    with the area :math:`A` of the aperture, :math:`A_f` of the annulus, the noise of an area
    (`~splus_srgan.pixels.coadd_noise.area_noise`), and :math:`g` electrons per unit of flux.

    Parameters
    ----------
    flux : array_like, shape (n,)
        Flux in the aperture.
    free_area : array_like, shape (n,)
        Unmasked area of the annulus in input pixels.
    radius : float
        Radius of the aperture, arcsec.
    sigma : float
        Sky noise per input pixel.
    electrons : float, optional
        Electrons per unit of the flux; 0: photon noise is left out.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    noise : `~numpy.ndarray`, shape (n,)
        Standard deviation, in the unit of the flux.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.apertures import aperture_noise
    >>> noise = aperture_noise([100.0], [np.inf], radius=3.0, sigma=1.0, electrons=1.0)
    >>> round(float(noise[0]), 2)
    14.8
    """
    area = np.pi * (radius / pixel_scale) ** 2
    free_area = np.asarray(free_area, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        sky = np.where(np.isinf(free_area), 0, area / free_area * area_noise(free_area))
    photon = np.maximum(flux, 0) / electrons if electrons else 0
    return np.sqrt((sigma * area_noise(area)) ** 2 + (sigma * sky) ** 2 + photon)


def blur_to_psf(
    image: ArrayLike,
    wanted: Sequence[float],
    *,
    psf: Sequence[float] = TARGET_PSF,
    pixel_scale: float = PIXEL_SCALE / 2,
    phase: float = 0.0,
) -> FloatArray:
    """
    Bring an image from one PSF to another, broader one.

    With the kernel of `~splus_srgan.pixels.psf.matching_transfer`.  The border is reflected.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image.
    wanted : tuple of float
        PSF to reach: FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_transfer`).
    psf : tuple of float, optional
        The same of the image.
    pixel_scale : float, optional
        Arcsec per pixel of the image.
    phase : float, optional
        Shift of the result in pixels along both axes.

    Returns
    -------
    blurred : `~numpy.ndarray`, shape (ny, nx)
        float64.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.apertures import blur_to_psf
    >>> point = np.zeros((65, 65))
    >>> point[32, 32] = 1.0
    >>> blurred = blur_to_psf(point, (1.4, 3.0))
    >>> round(float(blurred.sum()), 2), bool(blurred.max() < 0.2)
    (1.0, True)
    """
    padded = _padded(np.asarray(image, float))
    fy = fft.fftfreq(padded.shape[0], pixel_scale)[:, None]
    fx = fft.rfftfreq(padded.shape[1], pixel_scale)[None, :]
    ratio = matching_transfer(fy, fx, psf, wanted)
    if phase:
        ratio = ratio * np.exp(-2j * np.pi * phase * pixel_scale * (fy + fx))
    result = fft.irfft2(fft.rfft2(padded) * ratio, s=padded.shape)
    return result[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]


def _padded(image: FloatArray) -> FloatArray:
    """
    Image with a reflected border that ends at one level on all sides.

    The transform is periodic: the mirror image of a bright star, cut in two by the end of the
    border, would ring through the whole frame.
    """
    padded = np.pad(image, _MARGIN, mode="reflect")
    level = np.median(image)
    ramp = np.sin(np.linspace(0, np.pi / 2, _TAPER)) ** 2
    sides = [np.r_[ramp, np.ones(n - 2 * _TAPER), ramp[::-1]] for n in padded.shape]
    return level + (padded - level) * np.outer(*sides)


def to_input_grid(
    image: ArrayLike,
    wanted: Sequence[float] | None,
    *,
    psf: Sequence[float] = TARGET_PSF,
    pixel_scale: float = PIXEL_SCALE / 2,
) -> FloatArray:
    """
    Show a fine image as the input's telescope would: its PSF, its pixels.

    A PSF holds the pixel's own response, so an input pixel is the blurred image at its
    centre, times the ratio of the areas.

    Parameters
    ----------
    image : array_like, shape (2 ny, 2 nx)
        Flux per fine pixel.
    wanted : tuple of float or None
        PSF of the input, as for `blur_to_psf`.  `None`, where it is not known: 2 x 2 pixels
        are summed, and the PSF is left as it is.
    psf : tuple of float, optional
        The same of the image.
    pixel_scale : float, optional
        Arcsec per fine pixel.

    Returns
    -------
    coarse : `~numpy.ndarray`, shape (ny, nx)
        Flux per input pixel, float64.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.apertures import to_input_grid
    >>> coarse = to_input_grid(np.ones((100, 80)), (1.4, 3.0))
    >>> coarse.shape, bool(np.allclose(coarse, 4))
    ((50, 40), True)
    """
    if wanted is None:
        image = np.asarray(image, float)
        return image.reshape(image.shape[0] // 2, 2, image.shape[1] // 2, 2).sum(axis=(1, 3))
    # An input pixel is centred between fine pixels 2 i and 2 i + 1.
    blurred = blur_to_psf(image, wanted, psf=psf, pixel_scale=pixel_scale, phase=-0.5)
    return 4 * blurred[::2, ::2]
