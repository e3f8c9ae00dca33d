# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Stretches between flux and the space a network works in, and their inverses.

Every class here is an `astropy.visualization.BaseStretch`, with one
difference from astropy's own: nothing is clipped unless asked for, so that
``stretch.inverse(stretch(x))`` gives ``x`` back for negative, zero and very
bright pixels alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, overload

import numpy as np
from astropy.visualization import BaseStretch, CompositeStretch

from splus_srgan.utils.elementwise import (
    apply,
    as_real,
    brief,
    check_out,
    finite_array,
    is_scalar,
)
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from typing import Any, Self

    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "AsinhStretch",
    "ChainedStretch",
    "InverseStretch",
    "MinMaxStretch",
    "NoiseAsinhStretch",
]


class _Stretch(BaseStretch, ABC):
    """
    What the stretches of this module share.

    Subclasses give ``_forward`` and ``_backward``, which write double
    precision results into their second argument, and ``_parameters``, the
    arrays that those two take besides the data.
    """

    @overload
    def __call__(
        self, values: NDArray[Any], clip: bool = False, out: FloatArray | None = None
    ) -> FloatArray: ...

    @overload
    def __call__(
        self, values: ArrayLike, clip: bool = False, out: FloatArray | None = None
    ) -> Any: ...

    def __call__(self, values: ArrayLike, clip: bool = False, out: FloatArray | None = None) -> Any:
        """
        Stretch values.

        Parameters
        ----------
        values : array_like
            Numbers of any real type, without unit; scalars and arrays of any
            shape.  Masked elements count as NaN.
        clip : bool, optional
            Limit the values to [0, 1] first, as astropy's stretches do by
            default.  Here the default is `False`: nothing is lost.
        out : `~numpy.ndarray`, optional
            Floating point array of the shape of ``values`` that receives the
            result; it may be ``values`` itself.

        Returns
        -------
        result : `~numpy.ndarray` or numpy scalar
            ``out`` where given, otherwise a new value of the shape of
            ``values``: float32 where that is float32 (or float16), else
            float64.  NaN and infinity pass through.

        Raises
        ------
        TypeError
            If ``values`` are not real numbers, carry a unit, or if ``out`` is
            not a floating point array.
        ValueError
            If the shapes of ``values``, ``out`` and the parameters disagree.
        """
        return apply(self._forward, self._parameters(), values, clip, out)

    def __add__(self, other: BaseStretch) -> ChainedStretch:
        if not isinstance(other, BaseStretch):
            return NotImplemented
        return ChainedStretch(other, self)

    def __repr__(self):
        options = ", ".join(f"{name}={brief(value)}" for name, value in vars(self).items())
        return f"{type(self).__name__}({options})"

    def _parameters(self):
        return ()

    @abstractmethod
    def _forward(self, x, y, *parameters):
        """Write the stretched ``x`` into ``y``."""

    @abstractmethod
    def _backward(self, y, x, *parameters):
        """Write what ``y`` was before the stretch into ``x``."""

    @property
    def inverse(self) -> _Stretch:
        """The stretch that undoes this one (`InverseStretch`)."""
        return InverseStretch(self)


class AsinhStretch(_Stretch):
    r"""
    Inverse hyperbolic sine of scaled flux.

    .. math::
        y = {\rm arcsinh}({\rm scale} \, x)

    Linear for ``|x|`` well below ``1 / scale``, logarithmic well above, odd
    about zero.  Unlike `astropy.visualization.AsinhStretch` it is not
    normalized to map 1 onto 1 and does not clip.

    Parameters
    ----------
    scale : float
        Inverse of the flux where the stretch turns from linear to
        logarithmic, above 0.

    Raises
    ------
    ValueError
        If ``scale`` is not a positive finite number.

    Notes
    -----
    `SPLUS_SCALE` and `LEGACY_SCALE` are the scales that the first published
    S-PLUS super-resolution GAN used for its input and for its target.  There
    each image was afterwards brought to [0, 1] by its own extremes, which
    `MinMaxStretch` does.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch
    >>> image = np.array([[-0.1, 0.0], [0.5, 20.0]])
    >>> asinh = AsinhStretch.splus()
    >>> asinh(image).round(3)
    array([[-0.327,  0.   ],
           [ 1.284,  4.893]])
    >>> paper = MinMaxStretch().fit(asinh(image)) + asinh
    >>> paper(image).round(3)
    array([[0.   , 0.063],
           [0.309, 1.   ]])
    >>> np.allclose(paper.inverse(paper(image)), image)
    True
    """

    SPLUS_SCALE = 10 / 3
    """Scale of the seed paper's S-PLUS input."""

    LEGACY_SCALE = 100 / 3
    """Scale of the seed paper's Legacy Survey target."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = check_positive("scale", scale)

    @classmethod
    def splus(cls) -> Self:
        """The seed paper's stretch of the S-PLUS input, ``arcsinh(10 x / 3)``."""
        return cls(cls.SPLUS_SCALE)

    @classmethod
    def legacy(cls) -> Self:
        """The seed paper's stretch of the Legacy target, ``arcsinh(100 x / 3)``."""
        return cls(cls.LEGACY_SCALE)

    def _forward(self, x, y):
        np.multiply(x, self.scale, out=y)
        np.arcsinh(y, out=y)

    def _backward(self, y, x):
        np.sinh(y, out=x)
        np.divide(x, self.scale, out=x)


class MinMaxStretch(_Stretch):
    r"""
    Bring the range of an image, or of each of its bands, to [0, 1].

    .. math::
        y = \frac{x - v_{\rm min}}{v_{\rm max} - v_{\rm min}}

    Parameters
    ----------
    vmin, vmax : float or array_like, optional
        Values mapped to 0 and 1.  One number, or with ``per_band`` one per
        band.  A limit left out is found by `fit`.
    per_band : bool, optional
        Keep a pair of limits for each band, the third axis from the end of
        ``(n_band, ny, nx)`` data, instead of one pair for all (default).

    Raises
    ------
    ValueError
        If a limit is not finite or has the wrong shape, or ``vmax`` is not
        above ``vmin``.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.stretch import MinMaxStretch
    >>> cube = np.arange(8.0).reshape(2, 2, 2)
    >>> MinMaxStretch().fit(cube)
    MinMaxStretch(per_band=False, vmin=0.0, vmax=7.0)
    >>> stretch = MinMaxStretch(per_band=True).fit(cube)
    >>> stretch.vmin
    array([0., 4.])
    >>> float(stretch(cube).max())
    1.0
    """

    def __init__(
        self, vmin: ArrayLike | None = None, vmax: ArrayLike | None = None, per_band: bool = False
    ) -> None:
        super().__init__()
        self.per_band = bool(per_band)
        self.vmin = None if vmin is None else self._limit("vmin", vmin)
        self.vmax = None if vmax is None else self._limit("vmax", vmax)
        if self.vmin is not None and self.vmax is not None:
            with np.errstate(over="ignore"):
                span = np.subtract(self.vmax, self.vmin)
            if not (np.all(span > 0) and np.all(np.isfinite(span))):
                raise ValueError(
                    f"vmax must be above vmin, by a finite amount; got vmin={vmin!r}, vmax={vmax!r}"
                )

    def fit(self, data: ArrayLike, mask: ArrayLike | None = None) -> MinMaxStretch:
        """
        Find the limits that were not given, from the pixels of an image.

        Parameters
        ----------
        data : array_like
            Image or stack; with ``per_band`` at least 3-D,
            ``(n_band, ny, nx)``.
        mask : array_like of bool, optional
            `True` for pixels to leave out, broadcastable to ``data``.  Masked
            and non-finite elements of ``data`` are left out in any case.

        Returns
        -------
        fitted : `MinMaxStretch`
            New stretch with both limits; this one is not changed.

        Raises
        ------
        ValueError
            If no valid pixel is left, all have the same value, or ``data``
            have no band axis although ``per_band`` is set.
        """
        data, dtype = as_real("data", data)
        data = data.astype(dtype, copy=False)
        valid = np.isfinite(data)
        if mask is not None:
            valid = valid & ~np.broadcast_to(np.asarray(mask, dtype=bool), data.shape)
        if not self.per_band:
            low, high = self._extremes(data, valid, "data")
        elif data.ndim < 3:
            raise ValueError(
                f"data must be (n_band, ny, nx) to fit each band; got shape {data.shape}: "
                "use per_band=False for one image"
            )
        else:
            bands = range(data.shape[-3])
            found = [
                self._extremes(data[..., i, :, :], valid[..., i, :, :], f"band {i} of data")
                for i in bands
            ]
            low, high = map(list, zip(*found, strict=True))
        vmin = low if self.vmin is None else self.vmin
        vmax = high if self.vmax is None else self.vmax
        return MinMaxStretch(vmin, vmax, per_band=self.per_band)

    def _limit(self, name, value):
        value = finite_array(name, value)
        if value.ndim != int(self.per_band) or value.size == 0:
            rule = "one number per band" if self.per_band else "one number (or set per_band=True)"
            raise ValueError(f"{name} must be {rule}; got shape {value.shape}")
        return value if self.per_band else float(value)

    def _extremes(self, data, valid, what):
        if not valid.any():
            raise ValueError(f"{what} must have a finite, unmasked pixel to fit; got none")
        low = float(data.min(where=valid, initial=np.inf))
        high = float(data.max(where=valid, initial=-np.inf))
        if low == high and (self.vmin is None or self.vmax is None):
            raise ValueError(
                f"{what} must not be constant to fit a range; every valid pixel is {low!r}: "
                "give vmin and vmax instead"
            )
        return low, high

    def _parameters(self):
        if self.vmin is None or self.vmax is None:
            raise ValueError(
                "vmin and vmax must be known before use; got "
                f"vmin={self.vmin!r}, vmax={self.vmax!r}: use what stretch.fit(data) returns"
            )
        return (
            ("vmin", np.asarray(self.vmin)),
            ("vmax", np.asarray(np.subtract(self.vmax, self.vmin))),
        )

    def _forward(self, x, y, vmin, span):
        np.subtract(x, vmin, out=y)
        np.divide(y, span, out=y)

    def _backward(self, y, x, vmin, span):
        np.multiply(y, span, out=x)
        np.add(x, vmin, out=x)


class NoiseAsinhStretch(_Stretch):
    r"""
    Inverse hyperbolic sine in units of the sky noise.

    .. math::
        y = \frac{1}{\rm range} \, {\rm arcsinh}
            \left(\frac{x - {\rm sky}}{{\rm softening} \; {\rm sigma}}\right)

    A network that sees ``y`` does not know the image's unit, zero point or
    depth: scaling ``x``, ``sky`` and ``sigma`` by one number leaves ``y`` as
    it is.

    Parameters
    ----------
    sky : float or array_like
        Sky, in the unit of the data: one number, one per band (1-D, along the
        third axis from the end of ``(n_band, ny, nx)`` data), or a map that
        broadcasts to the data.
    sigma : float or array_like
        Noise per pixel in the unit of the data, above 0, in the same forms.
    softening : float, optional
        Noise sigmas where the stretch turns from linear to logarithmic.
    range : float, optional
        Divisor of the result.  At the default 8, and softening 3, a pixel at
        4500 sigma comes out at 1.

    Raises
    ------
    ValueError
        If ``sky`` is not finite, or another parameter is not positive and
        finite.

    Notes
    -----
    The arithmetic is in double precision whatever the type of the data.  For
    float32 data the round trip is then exact to 1e-6 of ``x - sky`` from -5 to
    1e6 sigma, limited by the rounding of ``y`` to float32 alone: its relative
    error of 6e-8 is amplified ``arcsinh((x - sky) / (softening sigma))`` = 13.4
    times at the bright end.  The softening has to be above 0.3 for that.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.stretch import NoiseAsinhStretch
    >>> stretch = NoiseAsinhStretch(sky=[0.0, 1.0], sigma=[0.1, 0.2])
    >>> cube = np.array([[[0.0, 0.3]], [[1.0, 1.6]]], dtype=np.float32)
    >>> stretch(cube).round(4).tolist()
    [[[0.0, 0.11020000278949738]], [[0.0, 0.11020000278949738]]]
    >>> np.allclose(stretch.inverse(stretch(cube)), cube, rtol=1e-6)
    True
    """

    def __init__(
        self, sky: ArrayLike, sigma: ArrayLike, *, softening: float = 3.0, range: float = 8.0
    ) -> None:
        super().__init__()
        self.sky = finite_array("sky", sky)
        self.sigma = finite_array("sigma", sigma)
        if not np.all(self.sigma > 0):
            raise ValueError(f"sigma must be above 0 everywhere; got {float(self.sigma.min())!r}")
        self.softening = check_positive("softening", softening)
        self.range = check_positive("range", range)

    def _parameters(self):
        return ("sky", self.sky), ("sigma", self.sigma)

    def _forward(self, x, y, sky, sigma):
        np.subtract(x, sky, out=y)
        np.divide(y, self.softening * sigma, out=y)
        np.arcsinh(y, out=y)
        np.divide(y, self.range, out=y)

    def _backward(self, y, x, sky, sigma):
        np.multiply(y, self.range, out=x)
        np.sinh(x, out=x)
        np.multiply(x, self.softening * sigma, out=x)
        np.add(x, sky, out=x)


class InverseStretch(_Stretch):
    """
    The inverse of one of this module's stretches.

    Usually had from the ``inverse`` property.

    Parameters
    ----------
    stretch : stretch of this module
        What to undo.

    Raises
    ------
    TypeError
        If ``stretch`` is of another kind: use its own ``inverse``.

    Examples
    --------
    >>> from splus_srgan.pixels.stretch import AsinhStretch
    >>> inverse = AsinhStretch(2.0).inverse
    >>> inverse
    AsinhStretch(scale=2.0).inverse
    >>> inverse.inverse
    AsinhStretch(scale=2.0)
    """

    def __init__(self, stretch: _Stretch) -> None:
        super().__init__()
        if not isinstance(stretch, _Stretch) or isinstance(stretch, InverseStretch):
            raise TypeError(
                "stretch must be one of this module's forward stretches; got "
                f"{type(stretch).__name__}: use its own inverse property"
            )
        self._stretch = stretch

    def __repr__(self):
        return f"{self._stretch!r}.inverse"

    @property
    def inverse(self) -> _Stretch:
        """The stretch that this one undoes."""
        return self._stretch

    def _parameters(self):
        return self._stretch._parameters()

    def _forward(self, x, y, *parameters):
        self._stretch._backward(x, y, *parameters)

    def _backward(self, y, x, *parameters):
        self._stretch._forward(y, x, *parameters)


class ChainedStretch(CompositeStretch):
    """
    Two stretches, one after the other.

    Usually had by adding them.  As with astropy's stretches ``second +
    first`` applies ``first`` first, like the composition of functions.

    Parameters
    ----------
    first, second : `~astropy.visualization.BaseStretch`
        The stretches in the order in which they are applied.

    Notes
    -----
    This is `astropy.visualization.CompositeStretch` that does not clip by
    default.  Where the stretch on the left of the ``+`` is one of astropy's
    own, Python asks that one to compose, and the result clips unless called
    with ``clip=False``.

    Examples
    --------
    >>> from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch
    >>> chain = MinMaxStretch(0.0, 4.0) + AsinhStretch(10.0)
    >>> round(float(chain(1.0)), 4)
    0.7496
    >>> round(float(chain.inverse(chain(-3.0))), 4)
    -3.0
    """

    def __init__(self, first: BaseStretch, second: BaseStretch) -> None:
        super().__init__(first, second)

    @overload
    def __call__(
        self, values: NDArray[Any], clip: bool = False, out: FloatArray | None = None
    ) -> FloatArray: ...

    @overload
    def __call__(
        self, values: ArrayLike, clip: bool = False, out: FloatArray | None = None
    ) -> Any: ...

    def __call__(self, values: ArrayLike, clip: bool = False, out: FloatArray | None = None) -> Any:
        """
        Apply both stretches; see ``AsinhStretch`` for the arguments.

        ``clip`` is passed to both, so with it each one's input is limited
        to [0, 1].
        """
        # Between the two the values stay in double precision: rounding them
        # twice would cost float32 data their round trip.
        middle, dtype = as_real("values", values)
        scalar = is_scalar(values)
        middle = self.transform_1(middle.astype(np.float64), clip=clip)
        result = np.asarray(self.transform_2(middle, clip=clip))
        if out is not None:
            check_out(out, result.shape)
            out[...] = result
            return out
        result = result.astype(dtype)
        return result[()] if scalar else result

    __add__ = _Stretch.__add__

    def __repr__(self):
        return f"{self.transform_2!r} + {self.transform_1!r}"
