# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Align two images: search, then fit, holding rotation and scale where they cannot be measured."""

from dataclasses import dataclass, replace

import numpy as np

from splus_srgan.pairs.registration.cross_correlation import Picture, correlate
from splus_srgan.pairs.registration.image_fit import Fit, fit_map
from splus_srgan.pairs.registration.pixel_map import ORIENTATIONS, PixelMap

__all__ = ["Alignment", "align", "centered_map", "find_orientation"]

_SIGNIFICANT = 5.0  # rotation and scale below this many standard errors are held at 0 and 1
_POSITIVE = 4.0  # amplitude, in standard errors
_DETECTED = 8.0  # significance of the resemblance of the images
_SIDE = 128  # pixels; images larger than this are binned in the search for the orientation
_ALIKE = 0.5  # least correlation coefficient of binned images
_BINS = (1, 2, 4)
_SCALES = (0.97, 1.03, 0.94, 1.06)  # factors on the scale, tried in the best orientation


@dataclass(frozen=True, eq=False)
class Alignment:
    """
    Result of `align`.

    Attributes
    ----------
    map : `PixelMap`
        From the pixels of the reference to those of the image.
    change : `PixelMap`
        From the expected to the actual position of a source, in pixels of the image.
    center : `~numpy.ndarray`, shape (2,)
        Center of the image.
    values, errors : `~numpy.ndarray`, shape (4,)
        Shift ``dy, dx`` (pixels of the image), rotation (degrees), scale of ``change``.
    ratio, ratio_error : float
        Flux of the image over that of the reference, pixel by pixel of each.
    fit : `Fit`
        Details.
    peak : float
        Correlation coefficient at whole pixels.
    held : bool
        Whether rotation and scale were not significant, and are not part of the maps.
    """

    map: PixelMap
    change: PixelMap
    center: np.ndarray
    values: np.ndarray
    errors: np.ndarray
    ratio: float
    ratio_error: float
    fit: Fit
    peak: float
    held: bool

    def relative_to(self, prior):
        """The same alignment, with the change given relative to another prior."""
        change = self.map.after(prior.inverse)
        values = _values(change, self.center)
        if self.held:
            # The measured values, though they are not in the map.
            values[2:] = self.values[2], self.values[3] * values[3]
        return replace(self, change=change, values=values)


def align(image, reference, prior, *, reach, significance=_SIGNIFICANT):
    """
    Align an image with a reference.

    Parameters
    ----------
    image, reference : `~splus_srgan.pairs.registration.cross_correlation.Picture`
        Images.
    prior : `PixelMap`
        From the pixels of the reference to where they should be in the image.
    reach : float
        Largest shift, in pixels of the coarser image.
    significance : float, optional
        Standard errors below which rotation and scale are held.

    Returns
    -------
    alignment : `Alignment` or None
        `None` if nothing in one is found in the other.
    """
    for bins in _BINS:
        # Where pixels are much smaller than the PSF, they show nothing but noise.
        found = _align_binned(image, reference, prior, bins, reach, significance)
        if found is not None and bins > 1 and found.fit.correlation < _ALIKE:
            # With few pixels, chance resemblances are the rule.
            found = None
        if found is not None or min(*image.data.shape, *reference.data.shape) < 32 * bins:
            return found
    return None


def _align_binned(image, reference, prior, bins, reach, significance):
    one, two = _binned(image, bins), _binned(reference, bins)
    small = _grown(prior, 1 / bins)
    swap = abs(np.linalg.det(prior.matrix)) < 1
    coarse, fine, start = (one, two, small.inverse) if swap else (two, one, small)
    shift, peak = correlate(coarse, fine, start, reach=reach / bins)
    if np.isnan(peak):
        return None
    start = start.after(PixelMap(image=shift))
    # The measured scale and rotation are kept also where they are held.
    full = fit = fit_map(coarse, fine, start)
    measured = fit is not None and _found(fit)
    held = not measured or bool(np.all(np.abs(fit.values[2:]) < significance * fit.errors[2:]))
    if held:
        fit = fit_map(coarse, fine, start, free=(True, True, False, False))
        if fit is None or not _found(fit):
            return None
    found = _describe(fit, full if measured else fit, small, one, swap, peak, held)
    return found if bins == 1 else _enlarged(found, prior, image, bins)


def _grown(pixel_map, bins):
    """The same map for pixels that are ``bins`` times smaller."""
    grow = PixelMap(bins * np.eye(2), np.zeros(2), np.full(2, (bins - 1) / 2))
    return grow.after(pixel_map).after(grow.inverse)


def _enlarged(found, prior, image, bins):
    center = (np.array(image.data.shape) - 1) / 2
    pixel_map = _grown(found.map, bins)
    change = pixel_map.after(prior.inverse)
    values = _values(change, center)
    values[2:] = found.values[2:]
    errors = found.errors * [bins, bins, 1, 1]
    return replace(found, map=pixel_map, change=change, center=center, values=values, errors=errors)


def _found(fit):
    return (
        fit.converged
        and fit.amplitude > _POSITIVE * fit.amplitude_error
        and fit.significance > _DETECTED
        and np.all(fit.errors[:2] < 1)
    )


def _describe(fit, full, prior, image, swap, peak, held):
    center = (np.array(image.data.shape) - 1) / 2
    found = fit.map.inverse if swap else fit.map
    change = found.after(prior.inverse)
    size = np.sqrt(abs(np.linalg.det(prior.matrix))) if swap else 1.0
    sign = -1 if swap else 1
    values = _values(change, center)
    if held:
        values[2:] = np.degrees(sign * full.values[2]), np.exp(sign * full.values[3])
    spread = np.degrees(full.errors[2]), full.errors[3] * values[3]
    errors = np.array([*fit.errors[:2] * size, *spread])
    ratio = fit.amplitude if swap else 1 / fit.amplitude
    ratio_error = fit.amplitude_error * (1 if swap else ratio**2)
    return Alignment(found, change, center, values, errors, ratio, ratio_error, fit, peak, held)


def _values(change, center):
    """Shift, rotation in degrees and scale of a map that is nearly a similarity."""
    scale = np.sqrt(abs(np.linalg.det(change.matrix)))
    rotation = np.degrees(np.arctan2(change.matrix[0, 1], change.matrix[0, 0]))
    return np.array([*(change(center) - center), rotation, scale])


def centered_map(reference_shape, image_shape, matrix):
    """Map that puts the centers of two images on each other."""
    centers = [(np.array(shape) - 1) / 2 for shape in (reference_shape, image_shape)]
    return PixelMap(np.array(matrix, float), *centers)


def find_orientation(image, reference, scale):
    """
    Find how one image lies on another of which only the pixel scale is known.

    Parameters
    ----------
    image, reference : `~splus_srgan.pairs.registration.cross_correlation.Picture`
        Images.
    scale : float
        Pixels of the image per pixel of the reference.

    Returns
    -------
    peaks : dict of str to float
        Correlation coefficient for each of `ORIENTATIONS`, weighed by the overlap, of the image to
        the reference.
    prior : `PixelMap`
        From reference to image in the best one, good to a pixel.
    """
    # Whole pixels will do here: large images are binned.
    bins = 1 + max(*image.data.shape, *reference.data.shape) // _SIDE
    image, reference = _binned(image, bins), _binned(reference, bins)

    def attempt(name, factor):
        matrix = np.array(ORIENTATIONS[name], float) * scale * factor
        prior = centered_map(reference.data.shape, image.data.shape, matrix)
        swap = scale < 1
        pair = (image, reference, prior.inverse) if swap else (reference, image, prior)
        reach = max(*pair[0].data.shape, *pair[1].data.shape) / 2
        shift, peak = correlate(*pair, reach=reach, anywhere=True)
        if np.isnan(peak):
            return -1.0, prior
        moved = pair[2].after(PixelMap(image=shift))
        return peak, moved.inverse if swap else moved

    tried = {name: attempt(name, 1.0) for name in ORIENTATIONS}
    best = max(tried, key=lambda name: tried[name][0])
    refined = [attempt(best, factor) for factor in _SCALES]
    better = max(refined, key=lambda one: one[0])
    chosen = better if better[0] > tried[best][0] + 0.01 else tried[best]
    return {name: peak for name, (peak, _) in tried.items()}, _grown(chosen[1], bins)


def _binned(picture, bins):
    if bins == 1:
        return picture
    ny, nx = (n // bins * bins for n in picture.data.shape)

    def blocks(plane):
        return plane[:ny, :nx].reshape(ny // bins, bins, nx // bins, bins)

    data, mask = blocks(picture.data).mean((1, 3)), blocks(picture.mask).mean((1, 3)) > 0.5
    return Picture(data, mask, picture.sigma / bins)
