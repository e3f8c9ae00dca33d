# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Where a part of an image lies against its reference.

A part that is cut out has edges: what a transform sees of smooth light is the cut, which does not
move.  So this looks at the pixels themselves, where the gradient of the reference says what a
shift does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft, ndimage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["Displacement", "measure_displacement"]

_MARGIN = 6  # pixels around a part, for the reference that is moved
_BLOCK = 6  # pixels along a side, beyond which what is left over is independent
_FEWEST = 64  # pixels
_ROUNDS = 3


@dataclass(frozen=True)
class Displacement:
    """
    How far a part of an image lies from its reference.

    Attributes
    ----------
    dy, dx : float
        Pixels, positive where the image lies further up and right; NaN where nothing tells.
    error : float
        Standard error along the axis that is known less well, pixels.
    y, x : float
        Pixel of what tells: the mean place, weighted with the square of the gradient.
    response : `~numpy.ndarray`, shape (n, 2)
        ``dy, dx`` that each of the errors of the reference would be taken for, pixels.
    strength : float
        How bright the image is beside its reference, :math:`t`.
    blur, blur_error : float
        Blur :math:`b / t` of the image beside its reference, square pixels, and its error:
        half of the variance that a kernel has; negative where the image is sharper.
    """

    dy: float
    dx: float
    error: float
    y: float
    x: float
    response: FloatArray = field(default_factory=lambda: np.zeros((0, 2)))
    strength: float = np.nan
    blur: float = np.nan
    blur_error: float = np.nan


_NOTHING = Displacement(np.nan, np.nan, np.nan, np.nan, np.nan)


def measure_displacement(
    reference: FloatArray,
    image: FloatArray,
    part: tuple[slice, slice],
    *,
    good: BoolArray,
    wrong: Sequence[FloatArray] = (),
) -> Displacement:
    r"""
    Measure the shift of a part of an image by the gradient of its reference.

    The least-squares solution of :math:`I = c + t R(x - d) + b \nabla^2 R(x - d)` for level
    :math:`c`, strength :math:`t`, blur :math:`b` and shift :math:`d`, linear in :math:`d` and
    repeated on the reference moved there.  So an image that is fainter or blurred, or has another
    sky, is not shifted.

    Parameters
    ----------
    reference, image : `~numpy.ndarray`, shape (ny, nx)
        Whole images in the same linear unit; the reference smooth on the scale of a pixel.
    part : tuple of slice
        Rows and columns of the part.
    good : `~numpy.ndarray` of bool, shape (ny, nx)
        Pixels that count.
    wrong : sequence of `~numpy.ndarray`, shape (ny, nx), optional
        What the reference may be wrong by, such as that of a PSF: the shift that each would be
        taken for is given as the ``response``.

    Returns
    -------
    found : `Displacement`
        With the error that what is left, independent over 6 pixels, gives.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.displacement import measure_displacement
    >>> y, x = np.mgrid[:64, :64]
    >>> wide, moved = (np.exp(-((x - x0) ** 2 + (y - 30) ** 2) / 800) for x0 in (30, 30.2))
    >>> found = measure_displacement(wide, moved, np.s_[24:48, 24:48], good=np.ones(x.shape, bool))
    >>> round(found.dx, 3), abs(round(found.dy, 3))
    (0.2, 0.0)
    """
    starts = [max(0, one.start - _MARGIN) for one in part]
    around = tuple(
        slice(start, one.stop + _MARGIN) for start, one in zip(starts, part, strict=True)
    )
    inner = tuple(slice(p.start - s, p.stop - s) for p, s in zip(part, starts, strict=True))
    whole, use = reference[around], good[part].ravel()
    if use.sum() < _FEWEST or not np.ptp(whole[inner].ravel()[use]) > 0:
        return _NOTHING
    values, moved = image[part].ravel()[use], np.zeros(2)
    for _ in range(_ROUNDS):
        there = ndimage.shift(whole, moved, order=3, mode="nearest")
        columns = [there, *np.gradient(there), ndimage.laplace(there)]
        columns = [column[inner].ravel()[use] for column in columns]
        signs = np.array([1, 1, -1, -1, 1])
        design = np.stack([np.ones(values.size), *columns], 1) * signs
        scale = np.sqrt(np.mean(design**2, axis=0))
        if not (scale > 1e-12 * scale[1]).all():
            return _NOTHING
        design = design / scale
        solution = np.linalg.lstsq(design, values, rcond=None)[0] / scale
        if not solution[1] > 0:
            return _NOTHING
        moved = moved + solution[2:4] / solution[1]
        if not (np.abs(moved) < _MARGIN).all():
            return _NOTHING
    left = values - design @ (solution * scale)
    solver = np.linalg.pinv(design)[2:] / scale[2:, None]
    error = _errors(solver, left, good[part]) / solution[1]
    response = [solver[:2] @ one[part].ravel()[use] / solution[1] for one in wrong]
    y, x = (place.ravel()[use] for place in np.mgrid[part])
    weight = columns[1] ** 2 + columns[2] ** 2
    y, x = (float(np.average(place, weights=weight)) for place in (y, x))
    dy, dx = map(float, moved)
    return Displacement(
        dy, dx, float(error[:2].max()), y, x, np.reshape(response, (-1, 2)),
        float(solution[1]), float(solution[4] / solution[1]), float(error[2]),
    )  # fmt: skip


def _errors(solver: Any, left: FloatArray, use: BoolArray) -> FloatArray:
    """
    Standard errors of a solution, for what is left over in the pixels that count.

    The larger of two: noise as it is where the pixels tell, and, since of the noise of a single
    star too little is known, what the left-over would give if it lay anywhere else in the part.
    """
    planes = np.zeros((len(solver) + 1, *use.shape))
    planes[:, use] = *solver, left
    y, x = np.indices(use.shape) // _BLOCK
    block = y * (x.max() + 1) + x
    here = [
        ndimage.sum_labels(plane * planes[-1], block, np.unique(block)) for plane in planes[:-1]
    ]
    power = np.abs(fft.fft2(planes)) ** 2
    elsewhere = np.sum(power[:-1] * power[-1], axis=(1, 2)) / use.size**2
    return np.sqrt(np.maximum(np.sum(np.square(here), axis=1), elsewhere))
