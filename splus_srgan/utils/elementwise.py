# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Formulas over arrays in double precision, whatever the type of the data.

Work goes chunk by chunk, so a float32 field needs no float64 copy of itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.utils.masked import Masked

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from astropy.units import UnitBase
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "align",
    "apply",
    "as_float",
    "as_real",
    "both_as_float",
    "brief",
    "check_out",
    "finite_array",
    "is_scalar",
    "unit_of",
]

# Elements worked on at a time: the intermediates stay in the processor's cache.
_CHUNK = 32768


def apply(
    kernel: Callable[..., Any],
    parameters: Sequence[Any],
    values: ArrayLike,
    clip: bool,
    out: FloatArray | None,
) -> Any:
    """Run ``kernel`` in double precision, chunk by chunk, into ``out``."""
    data, dtype = as_real("values", values)
    aligned = [align(name, parameter, data.shape) for name, parameter in parameters]
    result = np.empty(data.shape, dtype) if out is None else check_out(out, data.shape)
    operands: list[Any] = [data, *aligned, result]
    flags: Any = ["external_loop", "buffered", "zerosize_ok", "copy_if_overlap"]
    op_flags: Any = [["readonly"]] * (len(operands) - 1) + [["writeonly", "no_broadcast"]]
    with np.nditer(
        operands,
        flags=flags,
        op_flags=op_flags,
        op_dtypes=[np.float64] * len(operands),
        casting="same_kind",
        buffersize=_CHUNK,
    ) as chunks:
        for x, *rest, y in chunks:
            kernel(np.clip(x, 0.0, 1.0) if clip else x, y, *rest)
    if out is not None:
        return out
    return result[()] if is_scalar(values) else result


def is_scalar(values: ArrayLike) -> bool:
    """Whether values are one bare number, to be answered by one."""
    return np.ndim(values) == 0 and not isinstance(values, np.ndarray)


def as_real(name: str, values: Any) -> tuple[FloatArray, np.dtype[np.floating[Any]]]:
    """Values as an array with NaN where masked, and the type of the result."""
    # Not every object with a unit is a Quantity: CCDData has one, too, and
    # numpy would silently strip either, along with the mask of the latter.
    unit = getattr(values, "unit", None)
    if unit is not None and str(unit) != "":
        raise TypeError(
            f"{name} must be plain numbers; got {type(values).__name__} in {unit}: "
            "convert it to the stretch's unit and pass the array"
        )
    mask, array = _parts(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be real numbers; got dtype {array.dtype}")
    dtype = np.float32 if array.dtype.kind == "f" and array.dtype.itemsize <= 4 else np.float64
    if mask is not None and np.any(mask):
        array = np.where(mask, np.array(np.nan, dtype), array)
    return array, np.dtype(dtype)


def unit_of(values: object) -> UnitBase | None:
    """Unit of values, `None` for plain numbers and those without dimension."""
    unit = getattr(values, "unit", None)
    return None if unit is None or str(unit) == "" else u.Unit(unit)


def both_as_float(reference: Any, image: Any) -> tuple[FloatArray, FloatArray]:
    """Two images in the unit of the first; either both have one, or neither."""
    unit, other = unit_of(reference), unit_of(image)
    if (unit is None) != (other is None):
        raise ValueError(
            "reference and image must both have a unit, or neither; got "
            f"{unit or 'none'} and {other or 'none'}"
        )
    first = as_float(reference, name="reference", unit=unit)
    return first, as_float(image, name="image", unit=unit)


def as_float(values: Any, *, name: str = "values", unit: UnitBase | None = None) -> FloatArray:
    """Values in a unit and in double precision, NaN where masked; plain numbers are in it."""
    own = unit_of(values)
    mask, array = _parts(values)
    array = np.asarray(array, float)
    if own is not None and own != unit:
        try:
            array = own.to(unit or u.dimensionless_unscaled, array)
        except u.UnitsError:
            expected = "plain numbers" if unit is None else f"in {unit}"
            raise ValueError(
                f"{name} must be {expected}, or convertible to that; got {own}"
            ) from None
    return np.where(mask, np.nan, array) if mask is not None and np.any(mask) else array


def _parts(values: Any) -> tuple[Any, Any]:
    """Mask, if there is one, and what it lies on."""
    mask = getattr(values, "mask", None)
    return mask, np.asarray(values.unmasked if isinstance(values, Masked) else values)


def align(name: str, parameter: FloatArray, shape: tuple[int, ...]) -> FloatArray:
    """Give a parameter the axes of the data: 1-D means along the band axis."""
    if parameter.size == 1:
        return parameter.reshape(())
    aligned = parameter[:, np.newaxis, np.newaxis] if parameter.ndim == 1 else parameter
    try:
        fits = np.broadcast_shapes(aligned.shape, shape) == tuple(shape)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name} must be one number, one per band, or a map of the data; got shape "
            f"{parameter.shape} for data of shape {tuple(shape)}"
        )
    return aligned


def check_out(out: Any, shape: tuple[int, ...]) -> FloatArray:
    """Return ``out`` if it can take a floating point result of this shape."""
    if not isinstance(out, np.ndarray) or out.dtype.kind != "f":
        kind = getattr(out, "dtype", type(out).__name__)
        raise TypeError(f"out must be a floating point array; got {kind}")
    if out.shape != tuple(shape):
        raise ValueError(f"out must have the shape of values, {tuple(shape)}; got {out.shape}")
    return out


def finite_array(name: str, value: Any) -> FloatArray:
    """Own, read-only double precision copy of a finite parameter."""
    array = np.array(as_real(name, value)[0], dtype=np.float64)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite everywhere; got {value!r}")
    array.flags.writeable = False
    return array


def brief(value: object) -> str:
    """Representation of a parameter, with maps told by their shape alone."""
    if isinstance(value, np.ndarray) and (value.ndim > 1 or value.size > 20):
        return f"<array of shape {value.shape}>"
    return repr(value.tolist() if isinstance(value, np.ndarray | np.generic) else value)
