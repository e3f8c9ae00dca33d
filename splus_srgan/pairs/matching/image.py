# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One image onto another grid, with everything that an NDData carries."""

import copy

import numpy as np
from astropy.io.fits import Header
from astropy.nddata import NDData, NDDataArray, StdDevUncertainty, VarianceUncertainty
from scipy import ndimage

from splus_srgan.images.grid import image_wcs, pixel_scale, strip_wcs_cards
from splus_srgan.images.io.write import set_card
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.pairs.matching.psf_matching import convolve, image_psf, resample_psf
from splus_srgan.pairs.matching.reprojection import (
    Plane,
    Resampling,
    pixel_positions,
    resample,
    resample_blocks,
)
from splus_srgan.pairs.registration.pixel_map import mapped_wcs

__all__ = ["image_plane", "resample_image", "variance_of"]

_SPOILT = 0.1  # share of a kernel's weight on missing pixels from which a pixel is missing


def resample_image(
    image,
    wcs,
    shape,
    *,
    method="interp",
    order="bicubic",
    move=None,
    kernel=None,
    correlation=None,
    factor=1.0,
    sky=0.0,
    block_size=None,
    progress_bar=None,
    cards=(),
):
    """
    Resample an image; see `splus_srgan.pairs.match.match_to_grid`.

    Parameters
    ----------
    image, wcs, shape, method, order, block_size, progress_bar
        As there.
    move : `~splus_srgan.pairs.registration.pixel_map.PixelMap`, optional
        From the new pixels to those of ``wcs`` where the image shows what they should.
    kernel : `~numpy.ndarray`, optional
        What the image is convolved with beforehand, on its own pixels.
    correlation : `~numpy.ndarray`, optional
        Correlation of its noise.
    factor, sky : float, optional
        The image becomes ``factor * (image - sky)``.
    cards : sequence of tuple, optional
        ``(keyword, value, comment)`` for the header.
    """
    plane, conserve = image_plane(image, sky, kernel)
    options = Resampling(method, order, conserve, kernel, correlation)
    target = wcs if move is None else mapped_wcs(wcs, move)
    if block_size is None:
        data, variance, mask = resample(plane, target, shape, options)
    else:
        data, variance, mask = resample_blocks(
            plane, target, shape, options, block_size=block_size, progress_bar=progress_bar
        )
    data *= np.float32(factor)
    uncertainty = None
    if variance is not None:
        uncertainty = StdDevUncertainty(np.float32(abs(factor)) * np.sqrt(variance))
    new = wcs.deepcopy()
    new.array_shape = shape
    parts = {"mask": mask, "uncertainty": uncertainty, "wcs": new, "unit": image.unit}
    parts["meta"] = _meta(image, plane.wcs, wcs, conserve, factor, kernel, cards)
    if not isinstance(image, NDDataArray):
        return type(image)(data, **parts)
    flags = _flags(image, plane.wcs, target, shape)
    return type(image)(data, flags=flags, psf=_psf(image, kernel, plane.wcs, wcs), **parts)


def image_plane(image, sky=0.0, kernel=None):
    """What is resampled, sky off and convolved, and whether its values are per pixel."""
    if not isinstance(image, NDData):
        raise TypeError(f"image must be a CCDData or another NDData; got {type(image).__name__}")
    if np.ndim(image.data) != 2:
        raise ValueError(f"image must have shape (ny, nx); got {np.shape(image.data)}")
    wcs = image_wcs(image.wcs, name="wcs of image")
    if wcs is None:
        raise ValueError(
            "image must have a celestial WCS; got None: splus_srgan.pairs.register_images "
            "finds one by another image of the same field"
        )
    conserve = flux_per_pixel_factor(image.unit) != 1
    missing = False if image.mask is None else np.asarray(image.mask, bool)
    mask = np.broadcast_to(missing, image.data.shape)
    variance = variance_of(image)
    if variance is not None and not np.isfinite(variance).all():
        # Without weight, or with infinite uncertainty.
        mask = mask | ~np.isfinite(variance)
    data = image.data
    if kernel is not None or sky:
        data, mask = _convolved(data, mask, sky, kernel)
    return Plane(data, mask, variance, wcs), conserve


def variance_of(image):
    """Variance per pixel of an image's uncertainty, in its unit squared, or None."""
    if image.uncertainty is None:
        return None
    return np.asarray(uncertainty_array(image, VarianceUncertainty), np.float32)


def _convolved(data, mask, sky, kernel):
    from splus_srgan.pixels.missing import fill_missing

    data = np.asarray(data, float) - sky
    missing = mask | ~np.isfinite(data)
    if kernel is None or missing.all():
        return data, missing
    if missing.any():
        data = fill_missing(np.where(missing, 0, data), missing)
        weight = np.abs(kernel) / np.sum(np.abs(kernel))
        missing = missing | (convolve(missing, weight) > _SPOILT)
    return convolve(data, kernel), missing


def _psf(image, kernel, wcs_in, wcs_out):
    """PSF of the result on its own pixels."""
    ratio = pixel_scale(wcs_out) / pixel_scale(wcs_in)
    if image.psf is None and kernel is None:
        return None
    psf = image_psf(image, pixel_scale(wcs_in))
    if kernel is not None:
        half = kernel.shape[0] // 2
        psf = convolve(np.pad(psf, max(0, half - psf.shape[0] // 2)), kernel)
    size = 2 * int(psf.shape[0] / ratio / 2) + 1
    return resample_psf(psf, ratio, size).astype(np.float32)


def _flags(image, wcs_in, wcs_out, shape):
    flags = getattr(image, "flags", None)
    if flags is None or np.shape(flags) != np.shape(image.data):
        return None
    places, _ = pixel_positions(wcs_in, wcs_out, shape)
    nearest = ndimage.map_coordinates(np.asarray(flags), np.nan_to_num(places, nan=-9), order=0)
    return nearest.astype(np.asarray(flags).dtype)


def _meta(image, wcs_in, wcs_out, conserve, factor, kernel, cards):
    meta = copy.deepcopy(image.meta)
    if isinstance(meta, Header):
        strip_wcs_cards(meta)
    ratio = pixel_scale(wcs_out) / pixel_scale(wcs_in)
    scale = factor * (ratio**2 if conserve else 1.0)
    if isinstance(meta.get("SATURATE"), int | float):
        meta["SATURATE"] = meta["SATURATE"] * scale
    if "PIXSCALE" in meta:
        meta["PIXSCALE"] = pixel_scale(wcs_out)
    if kernel is not None:
        # What the header says of the seeing was true of the input.
        for key in [key for key in meta if "FWHMMEAN" in key or "FWHMBETA" in key]:
            value = meta.pop(key)
            meta[f"HIERARCH INPUT {key}" if isinstance(meta, Header) else f"INPUT {key}"] = value
    for keyword, value, comment in cards:
        if isinstance(meta, Header):
            set_card(meta, keyword, value, comment)
        else:
            meta[keyword] = value
    return meta
