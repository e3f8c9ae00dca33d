# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Measure the sky level and the sky noise of an image, whatever is in it.

A sigma-clipped median and standard deviation describe the sky only where most
pixels are sky.  Here a galaxy may fill the frame:

* **sigma** comes from second differences, in which galaxies and stars all but
  vanish.  Their variance grows with the flux, since sources bring photon noise, so
  it is followed down to the flux of the sky (the photon transfer method).
* **sky** comes from small meshes that agree with each other as pure noise would.
  Where too few do, there is no sky in the frame, and it is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from splus_srgan.pixels.lazy import PlaneStack
from splus_srgan.pixels.meshes import SkyMeshes
from splus_srgan.pixels.noise import NoisePixels
from splus_srgan.pixels.sample import take_windows, valid_windows
from splus_srgan.pixels.wild import wild_pixels
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.threads import map_threads

if TYPE_CHECKING:
    from astropy.nddata import NDData
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["Background", "as_stack", "measure_background", "noise_pixels", "sky_of_enhanced"]

# What an enhanced image shows of sources, above the sky in sigma: closer from round to round.
_FAINT = (0.1, 0.06, 0.04, 0.03, 0.03)
_GROWTH = 4  # pixels around them, for their wings
_LEAST_FREE = 0.02  # of the image
_FAINTEST = 5  # percentile of an image, from which wild pixels are told
_BRIGHTEST = 3e4  # sigma: brighter pixels tell nothing about the sky


@dataclass(frozen=True)
class Background:
    """
    Sky and noise of an image, per band, in the unit of the image.

    Attributes
    ----------
    sky : `~numpy.ndarray`, shape (n_band,)
        Level of the sky; 0 where the frame has no sky.
    sigma : `~numpy.ndarray`, shape (n_band,)
        Standard deviation of the sky noise of a pixel, positive.  Photon noise of
        the sources is not part of it.
    has_sky : `~numpy.ndarray` of bool, shape (n_band,)
        Whether there is sky in the frame.
    sky_error : `~numpy.ndarray`, shape (n_band,)
        Standard error of ``sky``; NaN where the frame has no sky.
    """

    sky: FloatArray
    sigma: FloatArray
    has_sky: BoolArray
    sky_error: FloatArray


@numpy_defaults
def measure_background(
    data: ArrayLike | NDData, *, mask: ArrayLike | None = None, gain: ArrayLike | None = None
) -> Background:
    r"""
    Measure sky level and sky noise per pixel, also where a galaxy fills the frame.

    Parameters
    ----------
    data : array_like, shape (ny, nx) or (n_band, ny, nx)
        Image or stack of images in any linear unit; not modified.  Non-finite
        pixels count as masked, as do patches of one single value and what is masked in a
        `~numpy.ma.MaskedArray` or an `~astropy.nddata.NDData`.
    mask : array_like of bool, optional
        `True` for pixels to ignore; it broadcasts against ``data``.

    gain : float or array_like, shape (n_band,), optional
        Electrons per unit of the data, NaN where unknown.  It is not needed: where a
        galaxy fills a frame of 128 x 128 pixels it lowers the error of sigma from 2.0
        to 1.7 %, and a gain wrong by a factor 2 raises it to 2.4 %.

    Returns
    -------
    background : `Background`
        With ``n_band`` 1 for a 2-D image.

    Raises
    ------
    TypeError
        If ``data`` is not real numbers.
    ValueError
        If a shape is wrong, ``gain`` is not positive, a band has too few valid
        pixels, or a band is constant, so that its noise would be 0.

    Notes
    -----
    The image is filtered with products of second differences,

    .. math:: h_{pq} = \tfrac{1}{6} \, (1, 0_{p-1}, -2, 0_{p-1}, 1)_y
              \otimes (1, 0_{q-1}, -2, 0_{q-1}, 1)_x, \qquad p, q \in \{1, 2\}

    with unit variance for white noise of unit variance.  Pixels around compact
    sources are left out, the others sorted by smoothed flux :math:`F` into bins,
    and the clipped variances :math:`v_{pq}` of the bins described by

    .. math:: v_{pq}(F) = a_{pq} \left(1 + \frac{F}{N \sigma}\right) + c_{pq} F^2

    where :math:`N` is the sky noise in electrons, common to all filters, and the
    last term stands for what structure is left.  The result is averaged over
    :math:`N`, whose prior is log-normal (17 within a factor 1.6).  Then
    :math:`\sigma^2 = 0.22 a_{11} + 0.17 (a_{12} + a_{21}) + 0.45 a_{22}`, weights
    that are right for white noise and for resampled coadds alike.  :math:`F` counts
    from the sky, or from 0 where the frame has none; but from the faintest pixels if these
    are further above that than the brightest are above them, as in an image that has
    no sky and was not sky-subtracted.

    For the sky, sources are masked on three scales, noise peaks of both signs alike
    so that the mask leaves no bias.  The mean levels of the meshes that remain
    are described as a common level plus an exponential tail, which sources cause.
    There is sky if at least a few meshes share the level.  Surveys subtract the sky
    to about 0.04 sigma, so a level near 0 is drawn towards 0 as far as
    its own error, and the part of the frame that sources cover, justify; where that
    leaves less than a tenth of it, the sky is left alone.  Any other level is
    believed if at least 30 % of the meshes are free of sources.

    Errors of sigma (standard deviation, simulated S-PLUS fields) are 1 % for 128 x 128
    pixels and 2 to 3 % for 64 x 64; 2 % and 6 % where a galaxy fills the frame.
    An image of more than
    2**20 pixels is sampled with 64 windows of 128 x 128 pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.background import measure_background
    >>> image = np.random.default_rng(1).normal(100.0, 2.0, (128, 128))
    >>> background = measure_background(image)
    >>> background.has_sky
    array([ True])
    >>> bool(abs(background.sky[0] - 100) < 0.2), bool(abs(background.sigma[0] - 2) < 0.1)
    (True, True)
    """
    data, mask = as_stack(data, mask)
    gain = _as_gain(gain, len(data))

    def measure(k):
        windows, missing = take_windows(data[k], mask[k], valid_windows(data[k], mask[k]))
        return _measure_band(windows, missing, k, gain[k])

    rows = map_threads(measure, range(len(data)))
    sky, sigma, has_sky, sky_error = (np.array(column) for column in zip(*rows, strict=True))
    return Background(sky, sigma, has_sky, sky_error)


@numpy_defaults
def sky_of_enhanced(
    fine: FloatArray, sky: float, sigma: float, *, mask: BoolArray | None = None
) -> float:
    """
    Measure the sky once more, where an enhanced image shows no source.

    With far less noise, faint sources and the wings of bright ones stand out of the sky that
    they raised before.  The level is the median of what lies less than 0.03 sigma above it,
    and four pixels away from everything else; it starts at the first quartile of the image.

    Parameters
    ----------
    fine : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Enhanced image of one band, flux per *input* pixel.
    sky, sigma : float
        Sky and noise of the input.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    sky : float
        Level of the sky per input pixel; the one given where less than 2 % of the image is
        free of sources.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.background import sky_of_enhanced
    >>> y, x = np.mgrid[:128, :128]
    >>> star = 100 * np.exp(-((x - 60) ** 2 + (y - 70) ** 2) / 30)
    >>> round(sky_of_enhanced(star + 10.1, 10.0, 2.0), 3)
    10.1
    """
    mask = np.zeros([n // 2 for n in fine.shape], bool) if mask is None else mask
    cuts = valid_windows(fine[::2, ::2], mask)
    windows, free = [], []
    for rows, columns in cuts:
        window = fine[_twice(rows), _twice(columns)]
        ny, nx = (n // 2 for n in window.shape)
        windows.append((window.reshape(ny, 2, nx, 2).mean((1, 3), dtype=float) - sky) / sigma)
        free.append(~mask[rows, columns])
    windows, free = np.stack(windows), np.stack(free)
    if free.mean() < _LEAST_FREE:
        return sky
    level = np.percentile(windows[free], 25)
    smooth = ndimage.gaussian_filter(windows, (0, 1, 1))
    brightest = ndimage.maximum_filter(smooth, (1, 2 * _GROWTH + 1, 2 * _GROWTH + 1))
    for faint in _FAINT:
        empty = free & (brightest <= level + faint)
        if empty.mean() < _LEAST_FREE:
            return sky
        level = np.median(windows[empty])
    return float(sky + level * sigma)


def _twice(cut):
    """The same part of the fine grid."""
    start, stop = (None if end is None else 2 * end for end in (cut.start, cut.stop))
    return slice(start, stop)


def as_stack(data, mask):
    """
    Give data and mask three axes; the data are not copied.

    Parameters
    ----------
    data, mask
        As for `measure_background`.

    Returns
    -------
    data, mask : `~numpy.ndarray`, shape (n_band, ny, nx)
        Of any real type, and of bool; a `~splus_srgan.pixels.lazy.PlaneStack` stays one.

    Raises
    ------
    TypeError, ValueError
        As by `measure_background`.
    """
    if isinstance(data, PlaneStack):
        return data, np.broadcast_to(False, data.shape) if mask is None else mask
    own = getattr(data, "mask", None)
    data = np.asarray(getattr(data, "data", data) if isinstance(own, np.ndarray) else data)
    if data.dtype.kind not in "fiu":
        raise TypeError(f"data must be real numbers; got an array of dtype {data.dtype}")
    if data.ndim not in (2, 3) or 0 in data.shape:
        raise ValueError(
            "data must have shape (ny, nx) or (n_band, ny, nx) and hold at least one pixel; "
            f"got shape {data.shape}"
        )
    try:
        mask = np.broadcast_to(False if mask is None else np.asarray(mask, bool), data.shape)
        if own is not None and np.any(own):
            mask = mask | np.broadcast_to(np.asarray(own, bool), data.shape)
    except ValueError:
        raise ValueError(
            f"mask must broadcast to the shape of data, {data.shape}; got {np.shape(mask)}"
        ) from None
    shape = (-1, *data.shape[-2:])
    return data.reshape(shape), mask.reshape(shape) if data.ndim == 3 else mask[None]


def _as_gain(gain, n_band):
    """Gain per band, NaN where unknown."""
    gain = np.asarray(np.nan if gain is None else gain, dtype=float)
    if gain.shape not in ((), (n_band,)) or np.any(gain <= 0) or np.isinf(gain).any():
        raise ValueError(
            "gain must be positive (electrons per unit of the data), one number or one for each "
            f"of the {n_band} bands, NaN where unknown; got {gain.tolist()!r}"
        )
    return np.broadcast_to(gain, (n_band,))


def noise_pixels(windows, missing, band):
    """
    Take the bulk off windows of a band, and leave out what is wild.

    Parameters
    ----------
    windows : `~numpy.ndarray`, shape (n_window, ny, nx)
        float64.
    missing : `~numpy.ndarray` of bool, shape (n_window, ny, nx)
        Pixels without data.
    band : int
        Number of the band, for messages.

    Returns
    -------
    base : float
        What was taken off.
    noise : `~splus_srgan.pixels.noise.NoisePixels`
        Of the rest.
    """
    # Differences of large numbers: the bulk is taken off in float64 first.
    base = np.median(windows[~missing]) if not missing.all() else 0.0
    windows = np.where(missing, 0.0, windows - base)
    noise = NoisePixels(windows, missing, band)
    # A single one could hide the sky of all the others.
    faint = np.percentile(windows[~missing], _FAINTEST)
    limits = {"sky": faint, "sigma": noise.rough_sigma, "brightest": _BRIGHTEST}
    wild = wild_pixels(windows, missing, **limits)
    if wild.any():
        missing = missing | wild
        noise = NoisePixels(np.where(missing, 0.0, windows), missing, band)
    return base, noise


def _measure_band(windows, missing, band, gain):
    """Sky, sigma, whether there is sky, and the error of the sky, of one band."""
    base, noise = noise_pixels(windows, missing, band)
    meshes = SkyMeshes(noise.windows, noise.missing, -base)
    sigma = noise.rough_sigma
    for _ in range(2):
        level, error = meshes.level(sigma)
        sigma = noise.sigma(-base if level is None else level, gain)
    if level is None:
        return 0.0, sigma, False, np.nan
    return level + base, sigma, True, error
