# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Where an output shows sky, its clouds and its large-scale structure, in sky units."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import block_reduce
from scipy import ndimage

from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.pixels.robust import robust_std

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["LEAST_FREE", "cloudiness", "low_frequency_residual", "mean_output", "sky_pixels"]

LEAST_FREE = 0.2
"""Share of the pixels: with less sky, the sky is not judged."""

_FAINTEST = 0.25  # sky units: brighter pixels, after smoothing, belong to a source
_GROW = 4  # pixels by which sources grow
_CLOUD = (2.0, 8.0)  # output pixels
_ONE_SIGMA = (0.1587, 0.5, 0.8413)  # quantiles of a normal distribution
_SKEW = 2.0  # times as far as down, faint sources scatter up
_MESH = 32  # output pixels, along a side
_FLUX_ERROR = 0.01  # of the light in a mesh: what passes for right fluxes


def sky_pixels(image: FloatArray) -> BoolArray:
    """
    Find the pixels that show sky alone.

    Sources are brighter than 0.25 sky units after smoothing by a Gaussian of 2 pixels, or than 5
    times the smoothed noise of the quieter parts, where that is more; they grow by 4 pixels.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units; NaN is missing.

    Returns
    -------
    free : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` where there is sky.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sky import sky_pixels
    >>> image = np.zeros((32, 32))
    >>> image[16, 16] = 100
    >>> free = sky_pixels(image)
    >>> bool(free[16, 16]), bool(free[0, 0])
    (False, True)
    """
    valid = np.isfinite(image)
    smooth, wide = (smoothed(image, valid, size) for size in _CLOUD)
    bright = smooth > max(_FAINTEST, 5 * _quiet_spread(smooth - wide, valid))
    reach = ndimage.generate_binary_structure(2, 1)
    return valid & ~ndimage.binary_dilation(bright, reach, iterations=_GROW)


def smoothed(image: FloatArray, valid: BoolArray, size: float) -> FloatArray:
    """Gaussian mean of the valid pixels; 0 where there are none near."""
    weight = ndimage.gaussian_filter(valid.astype(float), size)
    total = ndimage.gaussian_filter(np.where(valid, image, 0.0), size)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-3)


def _quiet_spread(image: FloatArray, valid: BoolArray) -> float:
    """Standard deviation in the quieter meshes, where there are least sources."""
    image = np.where(valid, image, np.nan)
    places = [range(0, max(1, n - _MESH // 2), _MESH) for n in image.shape]
    cuts = [image[j : j + _MESH, i : i + _MESH].ravel() for j in places[0] for i in places[1]]
    spreads = [robust_std(cut[np.isfinite(cut)]) for cut in cuts if np.isfinite(cut).mean() > 0.5]
    # Noisy images reach 0.3; what lies far above is a galaxy that fills the frame.
    return min(float(np.quantile(spreads, 0.2)), 0.4) if spreads else 0.0


def mean_output(images: Sequence[FloatArray], *, free: Sequence[BoolArray] | None = None) -> Any:
    """
    Average the sky of many outputs, in which only what all have in common survives.

    Images of which less than a fifth is sky are left out.

    Parameters
    ----------
    images : sequence of `~numpy.ndarray`, shape (ny, nx)
        Outputs in sky units, all of one shape.
    free : sequence of `~numpy.ndarray` of bool, optional
        Their sky; found with `sky_pixels` where not given.

    Returns
    -------
    mean : `~numpy.ndarray`, shape (ny, nx)
        NaN where no image has sky.
    count : `~numpy.ndarray` of int, shape (ny, nx)
        Images in the mean.

    Raises
    ------
    ValueError
        If there are no images, or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sky import mean_output
    >>> mean, count = mean_output([np.full((16, 16), 0.1), np.full((16, 16), -0.1)])
    >>> float(mean[0, 0]), int(count[0, 0])
    (0.0, 2)
    """
    images = list(images)
    shapes = {np.shape(image) for image in images}
    if len(shapes) != 1:
        raise ValueError(f"images must be at least one, all of one shape; got {sorted(shapes)}")
    free = [sky_pixels(image) for image in images] if free is None else free
    # What seems to be sky in a frame that is full of sources is the rest of these.
    free = [part if part.mean() >= LEAST_FREE else np.zeros_like(part) for part in free]
    count = np.sum(free, axis=0)
    parts = [np.where(part, image, 0.0) for image, part in zip(images, free, strict=True)]
    total = np.sum(parts, axis=0)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), count


def cloudiness(image: FloatArray, *, free: BoolArray | None = None, sources: bool = False) -> float:
    """
    Blotches that noise leaves in the sky of an output.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    sources : bool, optional
        Whether the sky has faint sources that nobody knows of: what scatters upwards more than
        downwards is not counted.

    Returns
    -------
    rms : float
        Robust standard deviation of the sky on scales of 2 to 8 output pixels, in sky units; NaN
        where there is too little sky.  A bicubic upsampling of the input has about 0.28.

    Notes
    -----
    With ``sources``, from the scatter :math:`d` downwards and :math:`u` upwards,
    :math:`c^2 = (4 d^2 - u^2) / 3`, at least 0 and at most :math:`d^2`: all of it for clouds, which
    scatter alike, and nothing of faint sources, which scatter at least twice as far upwards.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sky import cloudiness
    >>> cloudiness(np.zeros((32, 32)))
    0.0
    """
    free = sky_pixels(image) if free is None else free
    if free.mean() < LEAST_FREE:
        return math.nan
    small, large = (smoothed(image, free, size) for size in _CLOUD)
    values = (small - large)[free]
    if not sources:
        return float(robust_std(values))
    low, middle, high = np.quantile(values, _ONE_SIGMA)
    down, up = middle - low, high - middle
    return math.sqrt(np.clip((_SKEW**2 * down**2 - up**2) / (_SKEW**2 - 1), 0, down**2))


def low_frequency_residual(
    image: FloatArray,
    observed: FloatArray | None = None,
    *,
    free: BoolArray | None = None,
    light: FloatArray | None = None,
    n_images: int = 1,
) -> tuple[float, float]:
    r"""
    Large-scale structure that the sky of an output should not have.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    observed : `~numpy.ndarray`, shape (ny / 2, nx / 2), optional
        Input in sky units.  Given, only structure that the input does not have counts.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    light : `~numpy.ndarray`, shape (ny / 2, nx / 2), optional
        What sources give, in sky units, where ``free`` is not sky alone.
    n_images : int, optional
        Images of which these are the mean.

    Returns
    -------
    rms, error : float
        Root mean square of the means in meshes of 32 output pixels, in sky units, less what the
        noise of the input and an error of 1 % of the light explain; and its standard error.  NaN
        with fewer than 4 meshes of sky.

    Notes
    -----
    :math:`r^2 = \langle (\bar{v}_\mathrm{out} - \bar{v}_\mathrm{in})^2 - e^2 \rangle` with
    :math:`e^2 = (\sigma(n) / n)^2 + (0.01 \, \bar{l})^2`, weighted with :math:`e^{-4}`, 0 where
    negative, for :math:`n` input pixels in a mesh, their noise :math:`\sigma(n)`
    (`~splus_srgan.pixels.coadd_noise.area_noise`), and the light :math:`l` there or in the
    brightest mesh beside.  The error is that which :math:`e` gives.  Without an input, nothing is
    subtracted, and the error is that of the root mean square of so few meshes.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts_sky import low_frequency_residual
    >>> rms, error = low_frequency_residual(np.full((128, 128), 0.1))
    >>> round(rms, 6), round(error, 3)
    (0.1, 0.018)
    """
    free = sky_pixels(image) if free is None else free
    image = np.where(free, image, np.nan)
    mesh = _MESH
    if observed is not None:
        image = block_reduce(image, FACTOR, np.mean) - observed
        mesh = mesh // FACTOR
    good = np.isfinite(image)
    total = block_reduce(np.where(good, image, 0.0), mesh, np.sum)
    count = block_reduce(good.astype(float), mesh, np.sum)
    enough = count >= mesh**2 / 2
    if enough.sum() < 4:
        return math.nan, math.nan
    squares = (total[enough] / count[enough]) ** 2
    if observed is None:
        power = float(squares.mean())
        error = power * math.sqrt(2 / enough.sum())
    else:
        noise = (area_noise(count[enough]) / count[enough]) ** 2 / n_images
        if light is not None:
            # The PSF carries light over the borders of the meshes, too.
            near = ndimage.maximum_filter(block_reduce(light, mesh, np.mean), 3)
            noise = noise + (_FLUX_ERROR * near[enough]) ** 2
        weight = noise**-2 / np.sum(noise**-2)
        power = max(float(np.sum(weight * (squares - noise))), 0.0)
        # Of the squares of structure and noise, of which the structure is what it is.
        error = math.sqrt(float(np.sum(weight**2 * (2 * noise**2 + 4 * noise * power))))
    return math.sqrt(power), error / (2 * math.sqrt(max(power, error)) or 1.0)
