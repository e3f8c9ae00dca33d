# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What an image is wrong by where what is known of its PSF is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray

__all__ = ["FWHM_OF_SIGMA", "psf_errors"]

FWHM_OF_SIGMA = 2.355
"""FWHM of a Gaussian of unit width."""


def psf_errors(
    image: FloatArray, width: float, *, ellipticity: float, coma: float
) -> list[FloatArray]:
    r"""
    Images of what an elliptical and a lopsided PSF would add.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Image, taken to have a round PSF.
    width : float
        Standard deviation :math:`s` of that PSF in pixels.
    ellipticity, coma : float
        Of the PSF, :math:`e`, and :math:`c` as `splus_srgan.pixels.psf.coma_transfer` has it.

    Returns
    -------
    errors : list of `~numpy.ndarray`, shape (ny, nx)
        Of the ellipticity along the axes and along the diagonals,
        :math:`e s^2 (f_{xx} - f_{yy}) / 2` and :math:`e s^2 f_{xy}`, and of the coma along y and
        along x, :math:`c s^3 \nabla^2 f_y` and :math:`c s^3 \nabla^2 f_x`.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.psf_errors import psf_errors
    >>> flat = psf_errors(np.ones((8, 8)), 2.0, ellipticity=0.1, coma=0.02)
    >>> len(flat), float(np.abs(flat).max())
    (4, 0.0)
    """
    slopes = np.gradient(image)
    (yy, yx), (_, xx) = (np.gradient(one) for one in slopes)
    errors = [ellipticity * width**2 * (xx - yy) / 2, ellipticity * width**2 * yx]
    return errors + [coma * width**3 * ndimage.laplace(one) for one in slopes]
