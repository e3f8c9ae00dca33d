# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Engines that see an image in several orientations, and take the mean or the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from splus_srgan.models.openvino_engine import OpenVINOEngine
    from splus_srgan.models.stages import TwoStageEngine
    from splus_srgan.models.torch_engine import TorchEngine
    from splus_srgan.utils.types import FloatArray

__all__ = ["EnsembleEngine", "TurnedEngine"]


class TurnedEngine:
    r"""
    Mean of the results of an engine for an image and for the image turned by 180 degrees.

    Any shift of sources that training left in a generator cancels exactly.  Scales
    :math:`s_1, s_2` of the errors become that of an even mixture,
    :math:`s^2 = (s_1^2 + s_2^2) / 2 + (y_1 - y_2)^2 / 4`.

    Parameters
    ----------
    engine : callable
        `TorchEngine`, `OpenVINOEngine` or `TwoStageEngine`.
    """

    def __init__(self, engine: TorchEngine | OpenVINOEngine | TwoStageEngine) -> None:
        self.engine, self.with_scale = engine, getattr(engine, "with_scale", False)
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.pixels = engine.pixels

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image."""
        straight = self.engine(y)
        turned = self.engine(y[:, ::-1, ::-1].copy())[:, ::-1, ::-1]
        n_band = len(y)
        if self.with_scale:
            half = np.float32(0.5) * (straight[:n_band] - turned[:n_band])
            power = 0.5 * (np.exp(2 * straight[n_band:]) + np.exp(2 * turned[n_band:])) + half**2
            straight[n_band:] = 0.5 * np.log(power)
        straight[:n_band] += turned[:n_band]
        straight[:n_band] *= np.float32(0.5)
        return straight


class EnsembleEngine:
    """
    Result of an engine for an image, and its spread over the symmetries of a square.

    A perfect generator would treat an image and its mirror image alike: the differences
    are a measure of its errors.

    Parameters
    ----------
    engine : callable
        `TorchEngine`, `OpenVINOEngine` or `TwoStageEngine`, without the scale.
    turned : bool
        Whether the image is the mean of two, as in `TurnedEngine`; the image does not
        depend on the other six.
    """

    with_scale = True

    def __init__(
        self, engine: TorchEngine | OpenVINOEngine | TwoStageEngine, *, turned: bool
    ) -> None:
        self.engine, self.turned = engine, turned
        self.name, self.device, self.precision = engine.name, engine.device, engine.precision
        self.pixels = engine.pixels

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate, and give the logarithm of the standard deviation of the eight results."""
        # The first two of them are those of `TurnedEngine`.
        results = [_undo(self.engine(_turn(y, *how)), *how) for how in _SYMMETRIES]
        image = results[0]
        if self.turned:
            image = np.float32(0.5) * (results[0] + results[1])
        spread = np.maximum(np.std(results, axis=0), _SMALLEST_SPREAD)
        return np.concatenate((image, np.log(spread))).astype(np.float32)


_SYMMETRIES = tuple((turns, flip) for flip in (False, True) for turns in (0, 2, 1, 3))
_SMALLEST_SPREAD = np.float32(1e-6)  # rounding; a logarithm needs something


def _turn(y: FloatArray, turns: int, flip: bool) -> FloatArray:
    y = np.rot90(y, turns, axes=(1, 2))
    return np.ascontiguousarray(y[:, :, ::-1] if flip else y)


def _undo(y: FloatArray, turns: int, flip: bool) -> FloatArray:
    y = y[:, :, ::-1] if flip else y
    return np.rot90(y, -turns, axes=(1, 2))
