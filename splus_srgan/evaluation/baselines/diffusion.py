# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Smoothing that spares edges: total variation, and anisotropic diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from splus_srgan.evaluation.baselines.method import NOISE, _InNoiseUnits
from splus_srgan.utils.validate import check_integer, check_positive

if TYPE_CHECKING:
    from splus_srgan.utils.types import FloatArray

__all__ = ["PeronaMalik", "TotalVariation"]


@dataclass(frozen=True, kw_only=True)
class TotalVariation(_InNoiseUnits):
    r"""
    The image of least total variation near the data, then interpolation.

    It minimizes :math:`\int |\nabla u| + \frac{1}{2 w} (u - y)^2` over the image, by
    ``skimage.restoration.denoise_tv_chambolle`` (Chambolle 2004; Rudin, Osher and Fatemi 1992).

    Parameters
    ----------
    strength : float, optional
        :math:`w` in units of the noise; above 0.  The more, the smoother.

    Raises
    ------
    ValueError
        If ``strength`` is not above 0.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.baselines.methods import TotalVariation
    >>> field = simulate_field(4, shape=(32, 48))
    >>> fine = TotalVariation()(field.observed, sky=field.sky, sigma=field.sigma)
    >>> fine["r"].shape, fine["r"].meta["SRMODEL"]
    ((64, 96), 'total variation')
    """

    strength: float = 1.0
    name: ClassVar[str] = "total variation"
    _reach: ClassVar[int] = 24

    def __post_init__(self) -> None:
        check_positive("strength", self.strength)

    def _clean(self, image: FloatArray) -> FloatArray:
        from skimage.restoration import denoise_tv_chambolle

        # It stops by its own change of energy, and too early by default.
        options = {"weight": self.strength * NOISE, "eps": 1e-6, "max_num_iter": 300}
        return np.stack([denoise_tv_chambolle(plane, **options) for plane in image])


@dataclass(frozen=True, kw_only=True)
class PeronaMalik(_InNoiseUnits):
    r"""
    Anisotropic diffusion (Perona and Malik 1990, IEEE PAMI 12, 629), then interpolation.

    Each step adds to a pixel, over its four neighbors,

    .. math:: \frac{1}{4} \sum_n g(d_n) \, d_n, \quad g(d) = \frac{1}{1 + (d / \kappa)^2}

    with the differences :math:`d_n` to them: small ones are smoothed, edges stay.  Nothing
    flows over the border, so the mean of the image in noise units stays as it is.

    Parameters
    ----------
    contrast : float, optional
        :math:`\kappa` in units of the noise; above 0.
    iterations : int, optional
        Steps, at least 1.

    Raises
    ------
    TypeError, ValueError
        If an option is none of those above.

    Examples
    --------
    >>> from splus_srgan.evaluation.baselines.methods import PeronaMalik
    >>> PeronaMalik(contrast=1.0)
    PeronaMalik(contrast=1.0, iterations=20)
    """

    contrast: float = 0.5
    iterations: int = 20
    name: ClassVar[str] = "Perona-Malik"

    def __post_init__(self) -> None:
        check_positive("contrast", self.contrast)
        check_integer("iterations", self.iterations, minimum=1)

    def _clean(self, image: FloatArray) -> FloatArray:
        image = image.copy()
        for _ in range(self.iterations):
            image += sum(self._gain(image, axis) for axis in (1, 2))
        return image

    def _gain(self, image: FloatArray, axis: int) -> FloatArray:
        """What flows into each pixel along an axis, less what flows out."""
        step = np.diff(image, axis=axis)
        flow = step / (4 * (1 + (step / (self.contrast * NOISE)) ** 2))
        edge = np.zeros_like(np.take(image, [0], axis=axis))
        return np.diff(flow, axis=axis, prepend=edge, append=edge)
