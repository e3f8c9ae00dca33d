# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A picture of a field before and after, for the eye."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.report.display import Panels, color_weights, picture, white_level
from splus_srgan.utils.files import atomic_path
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.nddata import CCDData

    from splus_srgan.utils.types import FilePath, FloatArray

__all__ = ["draw_preview"]

_LARGEST = 1024  # output pixels of each side that are shown


def draw_preview(
    path: FilePath, field: Mapping[str, CCDData], enhanced: Mapping[str, CCDData]
) -> None:
    """
    Draw input and output side by side, in color where there are three bands or more.

    Parameters
    ----------
    path : path-like
        PNG file to write.
    field : dict of str to `~astropy.nddata.CCDData`
        Band to input ``(ny, nx)``.
    enhanced : dict of str to `~astropy.nddata.CCDData`
        Band to output ``(2 ny, 2 nx)``, with the cards ``SRSKY`` and ``SRSIGMA``.
    """
    pyplot_image = import_optional("matplotlib.image", "plot")
    bands = list(field)
    shape = field[bands[0]].shape
    before = np.array([_in_sigma(field[b], enhanced[b].meta, 1, _central(shape, 1)) for b in bands])
    after = np.array(
        [_in_sigma(enhanced[b], enhanced[b].meta, 4, _central(shape, 2)) for b in bands]
    )
    before = before.repeat(2, axis=1).repeat(2, axis=2)
    chosen = np.rint(np.linspace(0, len(bands) - 1, min(len(bands), 3))).astype(int)
    panels = Panels("", {"before": before[chosen], "after": after[chosen]})
    weights, white = color_weights([panels])[0], white_level([after[chosen]])
    pictures = [picture(one, weights=weights, white=white) for one in panels.images.values()]
    gap = np.ones((pictures[0].shape[0], 4, 3))
    with atomic_path(path, overwrite=True) as temporary:
        # Row 0 is at the bottom.
        pyplot_image.imsave(
            temporary, np.hstack([pictures[0], gap, pictures[1]])[::-1], format="png"
        )


def _in_sigma(
    image: CCDData, meta: Mapping[str, Any], share: float, part: tuple[slice, ...]
) -> FloatArray:
    """Brightness above the sky, in units of the input's noise per area of an input pixel."""
    data = np.array(image.data[part], np.float32)
    if image.mask is not None:
        data[image.mask[part]] = np.nan
    flux = share if meta.get("SRPIXFLX", True) else 1
    return (data * flux - meta.get("SRSKY", 0.0)) / meta["SRSIGMA"]


def _central(shape: tuple[int, ...], factor: int) -> tuple[slice, ...]:
    """The middle of an image of this shape, on a finer grid, if it is too large to be looked at."""
    most = _LARGEST // 2
    starts = [max((n - most) // 2, 0) for n in shape]
    return tuple(slice(factor * start, factor * (start + most)) for start in starts)
