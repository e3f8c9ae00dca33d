# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sky and sky noise of a field, given or measured."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.exceptions import NoSkyWarning
from splus_srgan.images.bands import named_as
from splus_srgan.pixels.joint_background import measure_joint_background
from splus_srgan.utils.elementwise import as_float, unit_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["sky_and_sigma"]


def sky_and_sigma(
    stack: BandStack, sky: Any, sigma: Any, *, stacklevel: int
) -> tuple[FloatArray, FloatArray, BoolArray, FloatArray]:
    """
    Sky and sigma as arrays that broadcast against the data, measured where not given.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    sky, sigma : optional
        As `~splus_srgan.enhance.enhancer.SRGANEnhancer` takes them.
    stacklevel : int
        Stack level of the warning that there is no sky, as `warnings.warn` takes it, for callers.

    Returns
    -------
    sky, sigma : `~numpy.ndarray`, shape (n_band, 1, 1) or (n_band, ny, nx)
        float64, in the unit of the data.
    measured : `~numpy.ndarray` of bool, shape (n_band,)
        Whether the sky of a band was measured.
    unlike : `~numpy.ndarray`, shape (n_band,)
        Difference, in sigma, of bands whose sky was decided unlike that of the others, as given
        by `~splus_srgan.pixels.joint_background.measure_joint_background`.

    Raises
    ------
    ValueError
        If one of them does not fit the data, or the noise cannot be measured.
    """
    sky = _broadcastable("sky", sky, stack)
    sigma = _broadcastable("sigma", sigma, stack)
    if sigma is not None and not (np.isfinite(sigma).all() and (sigma > 0).all()):
        raise ValueError("sigma must be finite and above 0 everywhere; got other values")
    if sky is not None and not np.isfinite(sky).all():
        raise ValueError("sky must be finite everywhere; got other values")
    sky_measured, unlike = np.zeros(len(stack.bands), bool), np.zeros(len(stack.bands))
    if sky is None or sigma is None:
        measured, differing = measure_joint_background(stack.data, mask=stack.mask)
        if sky is None:
            unlike = differing
            _warn_without_sky(stack.bands, measured.has_sky, stacklevel + 2)
            sky, sky_measured = np.asarray(measured.sky)[:, None, None], measured.has_sky
        if sigma is None:
            sigma = np.asarray(measured.sigma)[:, None, None]
    return sky, sigma, sky_measured, unlike


def _warn_without_sky(bands: Sequence[str], has_sky: ArrayLike, stacklevel: int) -> None:
    lacking = [band for band, found in zip(bands, np.atleast_1d(has_sky), strict=True) if not found]
    if lacking:
        warnings.warn(
            f"no sky found in the frame of {', '.join(lacking)}: its level is taken as 0, as in a "
            "sky-subtracted image; give sky= if that is wrong",
            NoSkyWarning,
            stacklevel=stacklevel,
        )


def _broadcastable(name: str, value: Any, stack: BandStack) -> FloatArray | None:
    """A given sky or sigma as ``(n_band, 1, 1)`` or ``(n_band, ny, nx)``; `None` stays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        rows = [_plain(name, named_as(band, value, name=name), stack) for band in stack.bands]
    else:
        plain = _plain(name, value, stack)
        per_band = plain.ndim == 3 or (plain.ndim == 1 and plain.size == len(stack.bands))
        rows = list(plain) if per_band else [plain] * len(stack.bands)
    rows = [row[..., None, None] if row.ndim == 0 else row for row in rows]
    for row in rows:
        if row.shape not in ((1, 1), stack.data.shape[1:]):
            raise ValueError(
                f"{name} must be one number, one per band ({len(stack.bands)}), or a map of shape "
                f"{stack.data.shape[1:]}; got shape {np.shape(value)}"
            )
    if len(rows) != len(stack.bands):
        raise ValueError(f"{name} must have {len(stack.bands)} bands; got {len(rows)}")
    return np.stack(np.broadcast_arrays(*rows)).astype(np.float64)


def _plain(name: str, value: Any, stack: BandStack) -> FloatArray:
    unit = unit_of(value)
    if unit is not None:
        # A map may also be a CCDData, whose unit numpy would drop.
        if stack.unit is None:
            raise ValueError(f"{name} has the unit {unit}, but the data have none")
        value = as_float(value, name=name, unit=stack.unit)
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be real numbers; got {value!r}; leave it out to have it measured"
        ) from None
