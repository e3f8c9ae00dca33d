# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Wild pixels: values that neither sky nor source has, and that must not speak for the rest."""

import numpy as np

from splus_srgan.pixels.lazy import row_strips

__all__ = ["DARKEST", "wild_pixels"]

DARKEST = 50.0
"""How far below the sky a pixel can lie, in sigma of the sky; noise reaches 6."""

_MOST = 0.01  # of an image: more than that is an odd image, not odd pixels in it


def wild_pixels(data, missing, *, sky, sigma, brightest):
    """
    Find pixels far outside what an image of the sky can hold.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (..., ny, nx)
        Image, or windows of one.
    missing : `~numpy.ndarray` of bool, same shape
        Pixels that are known to be missing; none of them is wild.
    sky, sigma : float or `~numpy.ndarray`
        Level of the sky and its noise; maps have the shape of ``data``.
    brightest : float
        How far above the sky a pixel can lie, in sigma; `DARKEST` is how far below.

    Returns
    -------
    wild : `~numpy.ndarray` of bool, same shape
        None at all where more than 1 % of the image would be: then ``sky`` or ``sigma`` are
        not those of the image.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.wild import wild_pixels
    >>> image = np.random.default_rng(1).normal(10.0, 2.0, (64, 64))
    >>> image[7, 9] = 1e30
    >>> missing = np.zeros(image.shape, bool)
    >>> np.argwhere(wild_pixels(image, missing, sky=10.0, sigma=2.0, brightest=1e6))
    array([[7, 9]])
    """
    wild, valid = np.zeros(data.shape, bool), 0
    lowest, highest = sky - DARKEST * sigma, sky + brightest * sigma
    for strip in row_strips(data.shape[-2]):
        rows = np.s_[..., strip, :]
        low, high = (limit if np.ndim(limit) < 2 else limit[rows] for limit in (lowest, highest))
        there, part = ~missing[rows], data[rows]
        with np.errstate(invalid="ignore"):
            wild[rows] = ((part < low) | (part > high)) & there
        valid += np.count_nonzero(there)
    return wild if np.count_nonzero(wild) <= max(1, _MOST * valid) else np.zeros_like(wild)
