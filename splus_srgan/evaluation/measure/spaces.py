# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Spaces in which pixels are compared.

* ``"asinh"``: :math:`{\rm arcsinh}(100 x / 3)`, *x* in nanomaggies per pixel; one fixed stretch.
* ``"seed"``: the same, then brought to [0, 1] by the extremes of each image, all bands
  together, as in the seed paper, *Improving S-PLUS Image Quality with SRGANs*.
  It hides offsets and factors.
* ``"noise"``: :math:`(x - {\rm sky}) / \sigma`, linear, in units of the noise of the input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch
from splus_srgan.utils.elementwise import as_float, unit_of
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from typing import Any, Literal

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = ["SPACES", "to_space"]

SPACES: tuple[Literal["seed", "asinh", "noise"], ...] = ("seed", "asinh", "noise")
"""Spaces in which pixels can be compared."""

_AB_OF_NANOMAGGIE = 22.5


def to_space(
    image: ArrayLike,
    space: Literal["seed", "asinh", "noise"],
    *,
    zero_point: ArrayLike | None = None,
    sky: ArrayLike = 0.0,
    sigma: ArrayLike | None = None,
    scale: float = AsinhStretch.LEGACY_SCALE,
    mask: ArrayLike | None = None,
) -> FloatArray:
    r"""
    Bring flux to the space in which it is compared.

    Parameters
    ----------
    image : array_like, shape (n_band, ny, nx) or (ny, nx)
        Flux per pixel.
    space : {"seed", "asinh", "noise"}
        One of `SPACES`.
    zero_point : float or array_like, shape (n_band,), optional
        AB magnitude of one unit of the image, for ``"asinh"`` (22.5 for nanomaggies).
        Without one, ``"seed"`` takes the values as they are: give the ``scale`` that suits.
    sky : float or array_like, shape (n_band,), optional
        What is subtracted first.
    sigma : float or array_like, shape (n_band,), optional
        Noise per pixel of the *image's* grid in its unit, for ``"noise"``; on the 2x grid a
        quarter of the input's.
    scale : float, optional
        Of the arcsinh, for ``"seed"``: 100/3 as for the seed paper's target, 10/3 as for its
        S-PLUS counts.
    mask : array_like of bool, optional
        `True` is left out of the extremes, for ``"seed"``.

    Returns
    -------
    values : `~numpy.ndarray`
        Double precision, of the shape of the image.  An image of one single value is 0
        in ``"seed"``.

    Raises
    ------
    ValueError
        If the space is unknown, or what it needs is not given.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.spaces import to_space
    >>> to_space([[0.0, 0.3]], "asinh", zero_point=22.5).round(3)
    array([[0.   , 2.998]])
    >>> to_space([[1.0, 3.0]], "noise", sky=1.0, sigma=0.5)
    array([[0., 4.]])
    """
    check_one_of("space", space, SPACES)
    given: Any = image
    flux = as_float(given, unit=unit_of(given)) - _per_band("sky", sky, given)
    if space == "noise":
        if sigma is None:
            raise ValueError('sigma must be given for the space "noise"; got None')
        noise = _per_band("sigma", sigma, given)
        if not (noise > 0).all():
            raise ValueError(f"sigma must be above 0; got {sigma!r}")
        return flux / noise
    if zero_point is not None:
        magnitude = _per_band("zero_point", zero_point, given)
        flux = flux * 10 ** (-0.4 * (magnitude - _AB_OF_NANOMAGGIE))
    if space == "asinh":
        if zero_point is None:
            raise ValueError(
                'zero_point must be given for the space "asinh", which is one of nanomaggies '
                "(22.5 for these); got None"
            )
        return AsinhStretch.legacy()(flux)
    return _min_max(AsinhStretch(scale)(flux), mask)


def _min_max(values: FloatArray, mask: ArrayLike | None) -> FloatArray:
    """To [0, 1] by the extremes over all bands."""
    valid = np.isfinite(values)
    if mask is not None:
        valid &= ~np.asarray(mask, bool)
    if not valid.any() or np.ptp(values[valid]) == 0:
        return np.where(np.isfinite(values), 0.0, np.nan)
    return MinMaxStretch().fit(values, mask=~valid)(values)


def _per_band(name: str, value: Any, image: FloatArray) -> Any:
    """A number, or one for each band, that broadcasts against the image."""
    unit = None if name == "zero_point" else unit_of(image)
    value, shape = as_float(value, name=name, unit=unit), np.shape(image)
    if value.ndim == 0 or (value.ndim == 1 and len(shape) == 3 and len(value) == shape[0]):
        return value if value.ndim == 0 else value[:, None, None]
    raise ValueError(
        f"{name} must be one number, or one for each band of an image of shape {shape}; got shape "
        f"{value.shape}"
    )
