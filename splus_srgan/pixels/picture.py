# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Color pictures of three bands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.utils.floats import numpy_defaults

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray

__all__ = ["color_picture"]


@numpy_defaults
def color_picture(
    red: FloatArray,
    green: FloatArray,
    blue: FloatArray,
    *,
    black: float,
    white: float,
    softening: float,
) -> FloatArray:
    """
    Make a color picture of three bands.

    The mean of the bands is stretched with an inverse hyperbolic sine, and their ratios are kept
    (Lupton et al. 2004), so that a color means the same at any brightness; a pixel that would be
    too bright keeps its hue.

    Parameters
    ----------
    red, green, blue : `~numpy.ndarray`, shape (ny, nx)
        Bands on one scale, on which the usual source is white.
    black, white : float
        Values that are shown as black and as white.
    softening : float
        Value above black at which linear turns into logarithmic; at most that of white.

    Returns
    -------
    picture : `~numpy.ndarray` of float, shape (ny, nx, 3)
        0 to 1; pixels of which a band is not finite are gray.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.picture import color_picture
    >>> band = np.array([[0.0, 1.0, 10.0, np.nan]])
    >>> color_picture(band, band, band, black=0, white=10, softening=1)[..., 0].round(2)
    array([[0.  , 0.29, 1.  , 0.5 ]])
    """
    from astropy.visualization import AsinhStretch, LinearStretch, ManualInterval
    from astropy.visualization.lupton_rgb import RGBImageMappingLupton

    bands = np.array([red, green, blue], float)
    missing = ~np.isfinite(bands).all(axis=0)
    depth = white - black
    mapping = RGBImageMappingLupton(
        interval=ManualInterval(vmin=black),
        stretch=AsinhStretch(softening / depth) + LinearStretch(1 / depth),
    )
    with np.errstate(divide="ignore", invalid="ignore"):  # where all bands are black
        shown = np.where(missing, black, bands)
        picture = mapping.make_rgb_image(shown[0], shown[1], shown[2], output_dtype=float)
    picture[missing] = 0.5
    return picture
