# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Block matching and 3-D filtering, band by band and jointly over the bands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import ndimage

from splus_srgan.evaluation.baselines.method import NOISE, SOFTENING, _InNoiseUnits
from splus_srgan.pixels.coadd_noise import CORRELATION, noise_spectrum, smoothed_noise
from splus_srgan.utils.optional import import_optional
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["BM3D", "LowRank", "WeightedSum"]

_THRESHOLDS = {"lambda_thr3d": 3.0, "mu2": 0.4, "lambda_thr3d_re": 2.5, "mu2_re": 3.6}
_BLOCK = 8  # pixels along the side of the blocks of `bm3d`
_SMALL = (32, 32)  # enough to see whether a correlation is one


@dataclass(frozen=True, kw_only=True)
class _BlockMatching(_InNoiseUnits):
    """A method that needs the package ``bm3d``."""

    strength: float = 1.1
    correlation: Mapping | None = field(default_factory=lambda: CORRELATION)
    _reach: ClassVar[int] = 24

    def __post_init__(self) -> None:
        import_optional("bm3d", "benchmark")
        check_positive("strength", self.strength)
        if self.correlation is not None:
            noise_spectrum(_SMALL, self.correlation)

    def _noise(self, shape: tuple[int, int]) -> Any:
        """The noise as ``bm3d`` takes it: its standard deviation, or its power spectrum."""
        if min(shape) < _BLOCK:
            raise ValueError(
                f"data must have at least {_BLOCK} pixels along each side for {self.name}, which "
                f"matches blocks; got shape {tuple(shape)}"
            )
        noise = self.strength * NOISE
        if self.correlation is None:
            return noise
        return noise**2 * np.prod(shape) * noise_spectrum(shape, self.correlation)

    def _denoise(self, plane: FloatArray) -> FloatArray:
        """One plane ``(ny, nx)``, or planes ``(ny, nx, n)`` whose blocks the first one matches."""
        bm3d = import_optional("bm3d", "benchmark")
        if not plane.any():
            return plane.copy()  # of which `bm3d` gives no matches
        clean = bm3d.bm3d(plane, self._noise(plane.shape[:2]), _profile(bm3d))
        return clean.reshape(plane.shape)


def _profile(bm3d: Any) -> Any:
    """
    Default settings, with the thresholds for white noise.

    Not given, they are chosen by the power spectrum, with a function that NumPy 2.4 has no more.
    """
    profile = bm3d.BM3DProfile()
    for name, value in _THRESHOLDS.items():
        setattr(profile, name, value)
    return profile


@dataclass(frozen=True, kw_only=True)
class BM3D(_BlockMatching):
    """
    Block matching and 3-D filtering (Dabov et al. 2007), then interpolation.

    It needs the package ``bm3d``, which the extra ``benchmark`` brings.

    Parameters
    ----------
    strength : float, optional
        Noise assumed, in units of the real one; above 0.
    correlation : mapping of tuple to float, optional
        Correlation of the noise by distance ``(dy, dx)`` in input pixels, as
        `~splus_srgan.pixels.coadd_noise.CORRELATION`: the filter is told the power spectrum
        (Makinen, Azzari and Foi 2020).  `None`: the noise is taken to be white.
    joint : bool, optional
        Match the blocks of three bands in their mean, as for color images.

    Raises
    ------
    ImportError
        If ``bm3d`` is not installed.
    ValueError
        If ``strength`` is not above 0, or no noise has such a correlation; at the call, if
        ``joint`` is set and the bands are not three, or a side has less than 8 pixels.
    """

    strength: float = 1.2
    correlation: Mapping | None = None
    joint: bool = False

    @property
    def name(self) -> str:  # type: ignore[override]  # of an object here, else of its class
        """What tables call the method."""
        words = ["BM3D"]
        words += [] if self.correlation is None else ["correlated noise"]
        return ", ".join([*words, "joint"] if self.joint else words)

    def _clean(self, image: FloatArray) -> FloatArray:
        if not self.joint:
            return np.stack([self._denoise(plane) for plane in image])
        if len(image) != 3:
            raise ValueError(f"joint=True of BM3D needs three bands; got {len(image)}")
        bm3d = import_optional("bm3d", "benchmark")
        stack, noise = np.moveaxis(image, 0, -1), self._noise(image.shape[1:])
        return np.moveaxis(bm3d.bm3d_rgb(stack, noise, _profile(bm3d)), -1, 0)


@dataclass(frozen=True, kw_only=True)
class WeightedSum(_BlockMatching):
    r"""
    BM3D of the S/N-weighted sum of all bands, which gets the bands' smooth colors back.

    With the bands :math:`x_k` in units of their noise, and weights :math:`w` of unit length in
    proportion to their mean, the sum :math:`s = \sum_k w_k x_k` has unit noise, and

    .. math::
        \hat{x}_k = c_k \, {\rm BM3D}(s), \quad
        c_k = \frac{(G x_k)(G s) + \lambda^2 \bar{c}_k}{(G s)^2 + \lambda^2}

    where :math:`G` is a Gaussian, :math:`\lambda` the noise after it, and :math:`\bar{c}_k` the
    color of the whole image: the color that fits best to the pixels around, drawn to the mean
    one where they are faint.  Of one band, it is `BM3D`.

    Parameters
    ----------
    strength : float, optional
        Noise assumed, in units of the real one; above 0.
    correlation : mapping of tuple to float, optional
        As for `BM3D`.
    width : float, optional
        Standard deviation of :math:`G` in input pixels, above 0.

    Raises
    ------
    ImportError
        If ``bm3d`` is not installed.
    ValueError
        If an option is none of those above; at the call, if a side has less than 8 pixels.
    """

    width: float = 2.5
    name: ClassVar[str] = "weighted sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("width", self.width)

    def _clean(self, image: FloatArray) -> FloatArray:
        bands = SOFTENING * np.sinh(image)
        total = np.tensordot(_weights(bands), bands, 1)
        clean = SOFTENING * np.sinh(self._denoise(np.arcsinh(total / SOFTENING)))
        return np.arcsinh(self._colors(bands, total) * clean / SOFTENING)

    def _colors(self, bands: FloatArray, total: FloatArray) -> FloatArray:
        """Ratio of each band to the sum, smooth, and that of the whole image where it is faint."""
        bands = ndimage.gaussian_filter(bands, (0, self.width, self.width))
        total = ndimage.gaussian_filter(total, self.width)
        mean = np.sum(bands * total, axis=(1, 2)) / max(np.sum(total**2), np.finfo(float).tiny)
        floor = smoothed_noise(self.width) ** 2
        return (bands * total + floor * mean[:, None, None]) / (total**2 + floor)


def _weights(bands: FloatArray) -> FloatArray:
    """Weights of unit length in proportion to the mean S/N; equal where there is no signal."""
    signal = np.maximum(bands.mean(axis=(1, 2)), 0)
    if not signal.any():
        signal = np.ones(len(bands))
    return signal / np.linalg.norm(signal)


@dataclass(frozen=True, kw_only=True)
class LowRank(_BlockMatching):
    """
    BM3D of the principal components of the bands, instead of the bands.

    In noise units the bands have the same noise, so their components have it too, and it stays
    uncorrelated among them; what bands have in common lies in the first few.  Blocks are
    matched in the first one.  Of one band, it is `BM3D`.

    Parameters
    ----------
    strength : float, optional
        Noise assumed, in units of the real one; above 0.
    correlation : mapping of tuple to float, optional
        As for `BM3D`.

    Raises
    ------
    ImportError
        If ``bm3d`` is not installed.
    ValueError
        If an option is none of those above; at the call, if a side has less than 8 pixels.
    """

    name: ClassVar[str] = "low rank"

    def _clean(self, image: FloatArray) -> FloatArray:
        axes = _principal_axes(image)
        parts = np.tensordot(axes, image, 1)
        parts = self._denoise(np.moveaxis(parts, 0, -1))
        return np.tensordot(axes.T, np.moveaxis(parts, -1, 0), 1)


def _principal_axes(image: FloatArray) -> FloatArray:
    """Rows of unit length, of the largest variance first, with a positive sum each."""
    flat = image.reshape(len(image), -1)
    _, axes = np.linalg.eigh(flat @ flat.T)
    axes = axes.T[::-1]
    return axes * np.where(axes.sum(axis=1) < 0, -1, 1)[:, None]
