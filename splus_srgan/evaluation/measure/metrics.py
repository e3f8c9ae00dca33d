# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
How far an image is from its target: PSNR, SSIM, MS-SSIM and NRMSE.

A score depends on the space in which pixels are compared
(`splus_srgan.evaluation.measure.spaces`), and on what counts as the range of the data, so both
are always given.  Masked and non-finite pixels never count.  The reference comes first, the
image second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.measure.similarity import MS_REACH, WINDOW, multi_scale, plain_ssim
from splus_srgan.utils.elementwise import as_float, both_as_float, unit_of
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["MS_SSIM_WEIGHTS", "ms_ssim", "nrmse", "psnr", "ssim"]

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weight of each scale in MS-SSIM, finest first (Wang, Simoncelli and Bovik 2003)."""


@numpy_defaults
def psnr(
    reference: ArrayLike,
    image: ArrayLike,
    *,
    data_range: ArrayLike,
    mask: ArrayLike | None = None,
    per_band: bool = False,
) -> Any:
    r"""
    Peak signal-to-noise ratio in dB, :math:`20 \log_{10}(R / \sqrt{\rm MSE})`.

    Parameters
    ----------
    reference, image : array_like, shape (ny, nx) or (n_band, ny, nx)
        Truth, and what is compared with it, converted to its unit.  Either both have a unit, as
        a `~astropy.units.Quantity` and `~astropy.nddata.CCDData` have, or neither has.
    data_range : float, array_like or `~astropy.units.Quantity`, shape (n_band,)
        :math:`R`: what the values span, in the unit of the reference where it has none of its own.
        It has no default, because it decides the result; the extent of the reference is a
        usual choice.
    mask : array_like of bool, optional
        `True` is left out; it broadcasts against the images.
    per_band : bool, optional
        Whether to give a score for each band, instead of one for all pixels together.

    Returns
    -------
    psnr : float or `~numpy.ndarray`, shape (n_band,)
        Infinite for equal images; NaN where no pixel is left or the range is 0.

    Raises
    ------
    ValueError
        If shapes or units differ, or the range is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import psnr
    >>> psnr(np.zeros((8, 8)), np.full((8, 8), 0.1), data_range=1.0)
    20.0
    """
    error = nrmse(reference, image, data_range=data_range, mask=mask, per_band=per_band)
    with np.errstate(divide="ignore"):
        result = -20 * np.log10(error)
    return result if per_band else float(result)


@numpy_defaults
def nrmse(
    reference: ArrayLike,
    image: ArrayLike,
    *,
    data_range: ArrayLike,
    mask: ArrayLike | None = None,
    per_band: bool = False,
) -> Any:
    r"""
    Root mean square error in units of the data range, :math:`\sqrt{\rm MSE} / R`.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`.

    Returns
    -------
    nrmse : float or `~numpy.ndarray`, shape (n_band,)
        NaN where no pixel is left or the range is 0.

    Raises
    ------
    ValueError
        If shapes or units differ, or the range is negative or not finite.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.metrics import nrmse
    >>> nrmse([[0.0, 0.0]], [[3.0, 4.0]], data_range=5.0) ** 2
    0.5
    """
    truth, made, missing = _compared(reference, image, mask)
    spans = _ranges(data_range, unit_of(reference), len(truth), per_band)
    squares = np.where(missing, 0, (made - truth) ** 2).sum(axis=(1, 2))
    count = (~missing).sum(axis=(1, 2))
    if not per_band:
        squares, count, spans = squares.sum(), count.sum(), spans[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(spans > 0, np.sqrt(squares / count) / spans, np.nan)
    return result if per_band else float(result)


@numpy_defaults
def ssim(
    reference: ArrayLike,
    image: ArrayLike,
    *,
    data_range: ArrayLike,
    mask: ArrayLike | None = None,
    per_band: bool = False,
) -> Any:
    """
    Structural similarity (Wang et al. 2004), by scikit-image: windows of 7 x 7 pixels.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`, at least 7 x 7 pixels.  A window with a masked pixel is left out.

    Returns
    -------
    ssim : float or `~numpy.ndarray`, shape (n_band,)
        At most 1; of several bands together, the mean.  NaN where no window is left or the
        range is 0.

    Raises
    ------
    ValueError
        If shapes or units differ, images are too small, or the range is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import ssim
    >>> image = np.random.default_rng(1).normal(size=(16, 16))
    >>> round(ssim(image, image, data_range=6.0), 6)
    1.0
    """
    return _by_band(plain_ssim, reference, image, data_range, mask, per_band, WINDOW)


@numpy_defaults
def ms_ssim(
    reference: ArrayLike,
    image: ArrayLike,
    *,
    data_range: ArrayLike,
    n_scale: int = 5,
    mask: ArrayLike | None = None,
    per_band: bool = False,
) -> Any:
    r"""
    Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003).

    .. math:: \prod_{j=1}^{m-1} c_j^{w_j} \cdot s_m^{w_m}

    with SSIM :math:`s` on the coarsest scale, its contrast and structure part :math:`c` on
    the others (0 where their mean is negative), Gaussian windows of 1.5 pixels, and means
    over 2 x 2 pixels from scale to scale.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`.  A window with a masked pixel is left out.
    n_scale : int, optional
        :math:`m`, 1 to 5.  Five need 176 pixels on each side, each one less half as many.
        With fewer, the weights are those of the finest scales, brought to a sum of 1.

    Returns
    -------
    ms_ssim : float or `~numpy.ndarray`, shape (n_band,)
        As for `ssim`.

    Raises
    ------
    ValueError
        If shapes or units differ, images are too small for the scales, or the range is negative
        or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import ms_ssim
    >>> image = np.random.default_rng(1).normal(size=(48, 48))
    >>> round(ms_ssim(image, image, data_range=6.0, n_scale=3), 6)
    1.0
    """
    if check_integer("n_scale", n_scale, minimum=1) > len(MS_SSIM_WEIGHTS):
        raise ValueError(f"n_scale must be at most {len(MS_SSIM_WEIGHTS)}; got {n_scale}")
    weights = np.array(MS_SSIM_WEIGHTS[:n_scale]) / sum(MS_SSIM_WEIGHTS[:n_scale])

    def of_band(truth: FloatArray, made: FloatArray, missing: BoolArray, span: float) -> float:
        return multi_scale(truth, made, missing, span, weights.tolist())

    smallest = (2 * MS_REACH + 1) * 2 ** (n_scale - 1)
    return _by_band(of_band, reference, image, data_range, mask, per_band, smallest)


def _compared(
    reference: ArrayLike, image: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Both as ``(n_band, ny, nx)``, and where they cannot be compared."""
    truth, made = both_as_float(reference, image)
    if truth.shape != made.shape or truth.ndim not in (2, 3) or not truth.size:
        raise ValueError(
            "reference and image must have one shape, (ny, nx) or (n_band, ny, nx); got "
            f"{truth.shape} and {made.shape}"
        )
    missing = ~(np.isfinite(truth) & np.isfinite(made))
    if mask is not None:
        try:
            missing |= np.broadcast_to(np.asarray(mask, bool), truth.shape)
        except ValueError:
            raise ValueError(
                f"mask must broadcast to the shape of the images, {truth.shape}; got "
                f"{np.shape(mask)}"
            ) from None
    shape = (-1, *truth.shape[-2:])
    truth, made = (np.where(missing, 0, one).reshape(shape) for one in (truth, made))
    return truth, made, missing.reshape(shape)


def _ranges(data_range: Any, unit: Any, n_band: int, per_band: bool) -> FloatArray:
    """One range for each band, in the unit of the reference; all together have a single one."""
    spans = as_float(data_range, name="data_range", unit=unit)
    allowed = ((), (n_band,)) if per_band else ((),)
    if spans.shape not in allowed or not np.isfinite(spans).all() or (spans < 0).any():
        rule = f"one number, or one for each of {n_band} bands" if per_band else "one number"
        raise ValueError(f"data_range must be {rule}, finite and at least 0; got {data_range!r}")
    return np.broadcast_to(spans, (n_band,))


def _by_band(
    function: Callable[..., Any],
    reference: ArrayLike,
    image: ArrayLike,
    data_range: Any,
    mask: ArrayLike | None,
    per_band: bool,
    smallest: int,
) -> Any:
    """Apply to each band, and average where they are scored together."""
    truth, made, missing = _compared(reference, image, mask)
    spans = _ranges(data_range, unit_of(reference), len(truth), per_band)
    if min(truth.shape[1:]) < smallest:
        raise ValueError(
            f"images must have at least {smallest} pixels on each side here; got {truth.shape[1:]}"
        )
    values = np.array(
        [
            function(*planes) if planes[3] > 0 else np.nan
            for planes in zip(truth, made, missing, spans, strict=True)
        ]
    )
    if per_band:
        return values
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else np.nan
