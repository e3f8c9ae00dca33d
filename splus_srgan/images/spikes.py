# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Mask cosmic rays and hot pixels (L.A.Cosmic, by astroscrappy)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData

from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.header import gain_from_header, psf_from_header, saturation_level
from splus_srgan.images.repack import made_like
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.optional import import_optional
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from splus_srgan.utils.types import Image

__all__ = ["mask_spikes"]

_ELECTRONS = 17.0  # of the sky noise, where the header states no gain: see measure_background
_FWHM = 1.4  # arcsec, where the header states none


@numpy_defaults
def mask_spikes(image: Image, *, significance: float = 6.0, contrast: float = 5.0) -> Image:
    r"""
    Mask cosmic rays and hot pixels.

    L.A.Cosmic (van Dokkum 2001, PASP 113, 1420): a Laplacian edge is a spike where it is
    ``significance`` times the noise and ``contrast`` times what stars show there.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`, shape (ny, nx)
        Such as a `~astropy.nddata.CCDData`; it is not modified.
    significance : float, optional
        In units of the noise, above 0.
    contrast : float, optional
        Against the fine structure of the image, above 0.  Undersampled stars need more.

    Returns
    -------
    masked : same class
        A copy with the spikes in its mask, beside what was there; its pixels are the same.

    Raises
    ------
    ImportError
        If astroscrappy is not installed (extra ``cosmic``).
    TypeError
        If the image is no NDData.
    ValueError
        If it is not two-dimensional, or a number is not positive.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.images import mask_spikes
    >>> image = simulate_field(4, shape=(64, 64)).observed["r"]
    >>> image.data[20, 30] += 50
    >>> mask_spikes(image).mask[20, 28:33]  # doctest: +SKIP
    array([False, False,  True, False, False])
    """
    if not isinstance(image, NDData):
        raise TypeError(f"image must be an NDData or CCDData; got {type(image).__name__}")
    if np.ndim(image.data) != 2:
        raise ValueError(f"image must have shape (ny, nx), one band; got {np.shape(image.data)}")
    check_positive("significance", significance)
    check_positive("contrast", contrast)
    astroscrappy = import_optional("astroscrappy", "cosmic")
    missing = missing_pixels(image.data, image.mask)
    background = measure_background(image.data, mask=missing)
    sky, sigma = float(background.sky[0]), float(background.sigma[0])
    above = np.where(missing, 0, np.asarray(image.data, float) - sky) / sigma
    level = (saturation_level(image.meta, image.unit) - sky) / sigma
    electrons = _electrons(image, sigma)
    spikes, _ = astroscrappy.detect_cosmics(
        np.ascontiguousarray(above, np.float32),
        inmask=np.ascontiguousarray(missing),
        # In units of sigma, with the photon noise of sources.
        invar=np.ascontiguousarray(1 + np.maximum(above, 0) / electrons, np.float32),
        sigclip=float(significance),
        objlim=float(contrast),
        satlevel=float(min(level, 1e9)),
        psffwhm=_fwhm_pixels(image),
        fsmode="convolve",
        cleantype="median",
    )
    masked = made_like(image, image, {"copy": True})
    masked.mask = missing | spikes
    return masked


def _electrons(image: NDData, sigma: float) -> float:
    """Electrons of the sky noise of a pixel."""
    gain = gain_from_header(image.meta, image.unit)
    if gain is None or not np.isfinite(gain) or not 1 < gain * sigma < 1000:
        return _ELECTRONS
    return gain * sigma


def _fwhm_pixels(image: NDData) -> float:
    psf = psf_from_header(image.meta or {})
    fwhm = _FWHM if psf is None else psf[0]
    return float(fwhm / pixel_scale(image.wcs, default=PIXEL_SCALE))
