# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Register two images by the centroids of their compact sources."""

import numpy as np
from scipy import ndimage

__all__ = ["find_peaks", "fit_sources"]

_THRESHOLD = 10.0  # sigma, of a peak
_BOX = 9  # pixels of the coarser image; no other peak lies in it
_CLIP = 4.0
_MINIMUM = 3


def find_peaks(picture, *, threshold=_THRESHOLD, box=_BOX):
    """Brightest pixels of isolated sources: `~numpy.ndarray` of shape (n, 2), ``(y, x)``."""
    smooth = ndimage.gaussian_filter(picture.data, 0.8)
    top = smooth == ndimage.maximum_filter(smooth, box, mode="constant")
    top &= picture.data > threshold * picture.sigma
    top &= ~ndimage.binary_dilation(picture.mask, np.ones((box, box)))
    half = box // 2
    inside = np.zeros_like(top)
    inside[half:-half, half:-half] = True
    return np.argwhere(top & inside)


def fit_sources(image, reference, prior, found):
    """
    Fit a similarity to the positions of sources.

    Parameters
    ----------
    image, reference : `~splus_srgan.pairs.registration.cross_correlation.Picture`
        Images.
    prior : `PixelMap`
        From reference to where sources should be in the image.
    found : `PixelMap`
        From reference to where they are, good to a pixel.

    Returns
    -------
    values, errors : `~numpy.ndarray`, shape (4,)
        Shift ``dy, dx`` (pixels of the image), rotation (degrees) and scale.
    count : int
        Sources used.
    rms : float
        Residual per axis, pixels.

    `None` is returned if there are too few sources.
    """
    from photutils.centroids import centroid_2dg, centroid_sources

    step = np.sqrt(abs(np.linalg.det(prior.matrix)))
    peaks = find_peaks(reference).astype(float)
    if len(peaks) < _MINIMUM:
        return None
    there = found(peaks.T).T
    box = 2 * int(np.ceil(_BOX * max(step, 1) / 2)) + 1
    margin = box // 2 + 1
    size = np.array(image.data.shape)
    keep = np.all((there >= margin) & (there <= size - 1 - margin), axis=1)
    peaks, there = peaks[keep], there[keep]
    if len(peaks) < _MINIMUM:
        return None
    positions = []
    for picture, guess, side in ((reference, peaks, _BOX), (image, there, box)):
        x, y = centroid_sources(
            picture.data, *guess.T[::-1], box_size=side, centroid_func=centroid_2dg
        )
        positions.append(np.array([y, x]))
    expected, measured = prior(positions[0]), positions[1]
    good = np.isfinite(expected).all(0) & np.isfinite(measured).all(0)
    good &= np.hypot(*(measured - there.T)) < 2 * max(step, 1)
    return _similarity(expected[:, good], measured[:, good], (size - 1) / 2)


def _similarity(expected, measured, center):
    """Least squares with outliers left out."""
    for _ in range(5):
        if expected.shape[1] < _MINIMUM:
            return None
        y, x = expected - center[:, None]
        one, zero = np.ones_like(y), np.zeros_like(y)
        # To first order: rotation from x to y, and scale less 1.
        design = np.concatenate([np.stack([one, zero, x, y], 1), np.stack([zero, one, -y, x], 1)])
        target = (measured - expected).ravel()
        solution = np.linalg.lstsq(design, target, rcond=None)[0]
        residual = (target - design @ solution).reshape(2, -1)
        rms = float(np.sqrt(np.sum(residual**2) / max(1, target.size - 4)))
        off = np.hypot(*residual)
        good = off <= _CLIP * max(np.median(off) / 1.18, 1e-6)
        if good.all():
            break
        expected, measured = expected[:, good], measured[:, good]
    covariance = np.linalg.inv(design.T @ design) * rms**2
    errors = np.sqrt(np.diag(covariance))
    a, b = 1 + solution[3], solution[2]
    scale = np.hypot(a, b)
    values = np.array([*solution[:2], np.degrees(np.arctan2(b, a)), scale])
    errors[2] = np.degrees(errors[2])
    return values, errors, expected.shape[1], rms
