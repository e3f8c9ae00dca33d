# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Names for types that annotations have in common; nothing imports them when it runs."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.nddata import NDData
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Bands",
    "BoolArray",
    "FilePath",
    "FloatArray",
    "Image",
    "Images",
    "Level",
    "Numbers",
    "P",
    "Position",
    "ProgressBar",
    "T",
]

P = ParamSpec("P")
"""What a function takes."""

T = TypeVar("T")
"""What a function gives."""

Image = TypeVar("Image", bound=NDData)
"""The class of an image: what a function takes it also gives."""

FilePath: TypeAlias = str | os.PathLike[str]
"""Name of a file or folder."""

Bands: TypeAlias = str | Sequence[str]
"""One band, or several; a string of single letters such as ``"grz"`` is several."""

Images: TypeAlias = Mapping[str, NDData]
"""Band to image ``(ny, nx)``."""

Level: TypeAlias = ArrayLike | Mapping[str, ArrayLike]
"""A sky or its noise: one number, one per band, a map, or one of these for each band."""

FloatArray: TypeAlias = NDArray[np.floating[Any]]
"""Real numbers, of either precision."""

Numbers: TypeAlias = Sequence[float] | NDArray[Any]
"""Several numbers, one after the other."""

BoolArray: TypeAlias = NDArray[np.bool_]
"""A mask."""

Position: TypeAlias = SkyCoord | tuple[float, float]
"""A place in the sky; of numbers, right ascension and declination in degrees."""

ProgressBar: TypeAlias = Callable[[Any], Iterable[Any]]
"""Wraps an iterable and shows its progress, as ``tqdm.tqdm`` does."""
