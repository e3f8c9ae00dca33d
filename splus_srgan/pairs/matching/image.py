# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One image onto another grid, with everything that an NDData carries."""

import copy
import warnings

import numpy as np
from astropy.io.fits import Header
from astropy.nddata import FlagCollection, NDData, NDDataArray, StdDevUncertainty

from splus_srgan.exceptions import UncertaintyDroppedWarning
from splus_srgan.images.cards import regrid_cards
from splus_srgan.images.grid import check_frame, image_wcs, pixel_scale
from splus_srgan.images.io.write import set_card
from splus_srgan.images.moved_cards import moved_cards
from splus_srgan.images.repack import made_like
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.images.unpack import uncertainty_array, warn_of_coordinates
from splus_srgan.pairs.matching.positions import linear_map, outside_of, pixel_positions
from splus_srgan.pairs.matching.psf_matching import convolve, image_psf
from splus_srgan.pairs.matching.reprojection import Plane, Resampling, resample, resample_blocks
from splus_srgan.pairs.matching.resampled_psf import keeps_psf, resampled_psf
from splus_srgan.pairs.registration.pixel_map import mapped_wcs
from splus_srgan.pixels.missing import fill_missing, missing_pixels

__all__ = ["deviation_of", "image_plane", "resample_image"]

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
        As in `splus_srgan.pairs.match.match_to_grid`.
    move : `~splus_srgan.pairs.registration.pixel_map.PixelMap`, optional
        From the new pixels to the pixels of ``wcs`` that really show the same sky.
    kernel : `~numpy.ndarray`, optional
        Kernel with which the image is convolved beforehand, on its own pixels.
    correlation : `~numpy.ndarray`, optional
        Correlation of its noise.
    factor, sky : float, optional
        The image becomes ``factor * (image - sky)``.
    cards : sequence of tuple, optional
        ``(keyword, value, comment)`` for the header.
    """
    plane, conserve, unit = image_plane(image, sky, kernel)
    warn_of_coordinates([image])
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
        uncertainty = StdDevUncertainty(np.float32(abs(factor) * unit) * np.sqrt(variance))
    new = wcs.deepcopy()
    new.array_shape = shape
    parts = {"mask": mask, "uncertainty": uncertainty, "wcs": new, "unit": image.unit}
    places = None
    if _carries_flags(image):
        places, _ = pixel_positions(plane.wcs, target, shape)
    parts["meta"] = _meta(image, plane.wcs, wcs, shape, options, factor, sky, cards, places)
    if not isinstance(image, NDDataArray):
        return made_like(image, data, parts)
    flags = _nearest(image.flags, places) if _fits(image.flags, image) else None
    psf = _psf(image, options, plane.wcs, target)
    return made_like(image, data, {"flags": flags, "psf": psf, **parts})


def image_plane(image, sky=0.0, kernel=None):
    """
    Prepare the arrays to be resampled, without sky and convolved.

    Returns
    -------
    plane : `~splus_srgan.pairs.matching.reprojection.Plane`
        The variance in its own unit, so that squares stay within float32.
    conserve : bool
        Whether values are per pixel.
    unit : float
        Factor for the roots of the variance.
    """
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
    check_frame(wcs, name="wcs of image")
    conserve = flux_per_pixel_factor(image.unit) != 1
    missing = False if image.mask is None else np.asarray(image.mask, bool)
    mask = np.broadcast_to(missing, image.data.shape)
    deviation, variance, unit = deviation_of(image), None, 1.0
    if deviation is not None:
        # Without weight, or with infinite uncertainty.
        mask = mask | ~np.isfinite(deviation)
        unit = _usual_size(deviation)
        variance = np.float32(np.where(np.isfinite(deviation), deviation / unit, 0)) ** 2
    data = image.data
    if kernel is not None or sky:
        data, mask = _convolved(data, mask, sky, kernel)
    return Plane(data, mask, variance, wcs), conserve, unit


def _usual_size(values):
    """A power of two near the median of the finite values above 0; 1 without any."""
    some = values[np.isfinite(values) & (values > 0)]
    return 2.0 ** np.round(np.log2(np.median(some))) if some.size else 1.0


def deviation_of(image):
    """
    Give the standard deviation of the pixels of an image, in its unit.

    Parameters
    ----------
    image : `~astropy.nddata.NDData`
        Image with a standard deviation, a variance or an inverse variance.

    Returns
    -------
    deviation : `~numpy.ndarray` of float64, shape (ny, nx), or None
        Never squared on the way, which float32 cannot hold in units such as erg / (s cm2 Hz);
        infinite where there is no weight. `None` without an uncertainty, or, with a warning,
        with one of another kind.
    """
    if image.uncertainty is None:
        return None
    kind = image.uncertainty.uncertainty_type
    if kind not in ("std", "var", "ivar") or image.uncertainty.array is None:
        warnings.warn(
            f"the uncertainty of the image is left out: it must be a standard deviation, variance "
            f"or inverse variance; got {type(image.uncertainty).__name__}",
            UncertaintyDroppedWarning,
            stacklevel=2,
        )
        return None
    array = np.asarray(uncertainty_array(image), float)
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind != "std":
            array = np.sqrt(array) if kind == "var" else 1 / np.sqrt(array)
    return np.broadcast_to(array, np.shape(image.data))


def _convolved(data, mask, sky, kernel):
    data = np.asarray(data, float) - sky
    missing = missing_pixels(data, mask)
    if kernel is None or missing.all():
        return data, missing
    if missing.any():
        data = fill_missing(data, missing)
        weight = np.abs(kernel) / np.sum(np.abs(kernel))
        missing = missing | (convolve(missing, weight) > _SPOILT)
    return convolve(data, kernel), missing


def _changes_psf(options):
    return options.kernel is not None or not keeps_psf(options.method, options.order)


def _psf(image, options, wcs_in, wcs_out):
    """PSF of the result on its own pixels; without a PSF of its own, where the header's changes."""
    if image.psf is None and not _changes_psf(options):
        return None
    psf, kernel = image_psf(image, pixel_scale(image_wcs(image.wcs))), options.kernel
    if psf is None:
        return None
    if kernel is not None:
        half = kernel.shape[0] // 2
        psf = convolve(np.pad(psf, max(0, half - psf.shape[0] // 2)), kernel)
    shape, way = np.shape(image.data), (options.method, options.order)
    psf = resampled_psf(psf, wcs_in, wcs_out, shape, *way)
    return None if psf is None else psf.astype(np.float32)


def _fits(flags, image):
    """Whether flags are one array for the pixels of an image."""
    return flags is not None and np.shape(flags)[-2:] == np.shape(image.data)


def _carries_flags(image):
    own = getattr(image, "flags", None)
    return _fits(own, image) or _fits(_quality(image), image)


def _quality(image):
    """The flags of an image whose class keeps them in its metadata only."""
    quality = None if isinstance(image.meta, Header) else (image.meta or {}).get("QUALITY")
    return quality if isinstance(quality, np.ndarray) else None


def _nearest(flags, places):
    """Flags of the input pixel that each output pixel lies in; 0 outside of the input."""
    if isinstance(flags, FlagCollection):
        new = FlagCollection(shape=places.shape[1:])
        new.update({name: _nearest(plane, places) for name, plane in flags.items()})
        return new
    flags = np.asarray(flags)
    inside = ~outside_of(flags.shape[-2:], places)
    rows, columns = np.floor(np.where(inside, places, 0) + 0.5).astype(int)
    # The upper edge of the last pixel is rounded up, out of the image.
    rows, columns = np.minimum(rows, flags.shape[-2] - 1), np.minimum(columns, flags.shape[-1] - 1)
    return np.where(inside, flags[..., rows, columns], flags.dtype.type(0))


def _meta(image, wcs_in, wcs_out, shape, options, factor, sky, cards, places):
    meta = copy.deepcopy(image.meta)
    ratio = pixel_scale(wcs_out) / pixel_scale(wcs_in)

    def level(value):
        return factor * (value - sky) * (ratio**2 if options.conserve else 1.0)

    linear = linear_map(wcs_in, wcs_out, shape)
    moved = {} if linear is None else moved_cards(meta, *linear, shape)
    regrid_cards(meta, ratio=ratio, level=level, new_psf=_changes_psf(options))
    meta.update(moved)
    for keyword in moved:
        meta.pop(f"INPUT {keyword}", None)
    if (quality := _quality(image)) is not None:
        if _fits(quality, image):
            meta["QUALITY"] = _nearest(quality, places)
        else:
            del meta["QUALITY"]
    for keyword, value, comment in cards:
        if isinstance(meta, Header):
            set_card(meta, keyword, value, comment)
        else:
            meta[keyword] = value
    return meta
