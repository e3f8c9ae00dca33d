# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the viewer of the report is given: fields, their layers and their pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.report.pixels import (
    ENCODING,
    color_balance,
    encode_bits,
    encode_plane,
    thumbnail,
    white_level,
)
from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.quality import Quality
from splus_srgan.pixels.fine_grid import FACTOR

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.wcs import WCS

    from splus_srgan.evaluation.result import EvaluatedField

__all__ = ["LARGEST", "ShownField", "show_field", "viewer_data"]

LARGEST = 1024
"""Largest side that is shown, output pixels: what is larger is cut from the centre."""

_LABELS = {"input": "Input", "output": "Output", "target": "Target", "truth": "Truth"}
# Colors that the color-blind tell apart; alpha as strong as the reason to worry.
_FLAGS = {
    Quality.MISSING: ((213, 94, 0), 190, "no valid input, filled in"),
    Quality.SATURATED: ((204, 121, 167), 190, "input at or above saturation"),
    Quality.EXTRAPOLATED: ((0, 158, 115), 90, "outside what the weights were trained for"),
    Quality.UNUSUAL: ((0, 114, 178), 190, "a spike, or in an area of one value"),
    Quality.FITTED_STAR: ((148, 103, 189), 70, "a star that was fitted"),
    Quality.NEAR_MISSING: ((230, 159, 0), 70, "the network saw a missing pixel"),
    Quality.NEAR_SATURATED: ((240, 228, 66), 60, "the network saw a saturated pixel"),
    Quality.EDGE: ((86, 180, 233), 60, "the border may change it"),
}


@dataclass
class ShownField:
    """
    A field as the viewer takes it.

    Attributes
    ----------
    name, remark : str
        Name, and what is told beside it.
    meta : dict
        What the viewer needs to know, in JSON types.
    blocks : dict of tuple to str
        Encoded pixels by ``(layer, index of the band)``.
    thumbnail : str
        Data address of a small picture.
    """

    name: str
    remark: str
    meta: dict
    blocks: dict
    thumbnail: str


def viewer_data(shown: Sequence[ShownField]) -> dict[str, Any]:
    """What all fields of a page share, and the fields, in JSON types."""
    flags = [
        {"bit": int(bit), "name": bit.name, "rgb": rgb, "alpha": alpha, "text": text}
        for bit, (rgb, alpha, text) in _FLAGS.items()
    ]
    return {
        "encoding": ENCODING,
        "flags": flags,
        "labels": {"input": "input", "output": "output", "target": "target"},
        "fields": [one.meta for one in shown],
    }


def show_field(one: EvaluatedField, *, remark: str = "") -> ShownField:
    """
    Prepare a field for the viewer.

    Parameters
    ----------
    one : `~splus_srgan.evaluation.result.EvaluatedField`
        Field.
    remark : str, optional
        What to tell beside its name.

    Returns
    -------
    shown : `ShownField`
        Field, cut to `LARGEST`.
    """
    planes = _planes(one)
    shape = np.shape(one.output[one.bands[0]].data)
    window = _window(shape)
    layers = ["input", "output", "target"]
    layers = [layer for layer in layers if all(layer in plane for plane in planes.values())]
    blocks, cut = {}, {}
    for k, (band, own) in enumerate(planes.items()):
        for layer, plane in own.items():
            piece = plane[_coarse(window) if layer == "input" else window]
            cut[band, layer] = piece
            encode = encode_bits if layer == "quality" else encode_plane
            blocks[layer, k] = encode(piece)
    meta = _meta(one, window, shape, layers, cut)
    first = one.bands[meta["firstBand"]]
    before = cut.get((first, "input"), cut[first, "output"])
    return ShownField(one.name, remark, meta, blocks, thumbnail(before, cut[first, "output"]))


def _planes(one: EvaluatedField) -> dict[str, dict[str, Any]]:
    """Band to its layers, in sky units; NaN where missing."""
    field = compare_field(one.pair, one.output, name=one.name)
    planes = {}
    for name, band in field.bands.items():
        own = {"output": band.sky_units}
        if band.input is not None:
            empty = band.bad & ~band.saturated
            own["input"] = np.where(empty, np.nan, band.input / band.sigma)
        if band.target is not None:
            own["target"] = 4 * band.target / band.sigma
        flags = getattr(one.output[name], "flags", None)
        if flags is not None:
            own["quality"] = np.asarray(flags)
        if band.std is not None:
            own["uncertainty"] = 4 * band.std / band.sigma
        planes[name] = own
    return planes


def _window(shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The central part of the output that is shown; starts on whole input pixels."""
    slices = []
    for size in shape:
        first = max(0, size - LARGEST) // 2 // FACTOR * FACTOR
        slices.append(slice(first, min(size, first + LARGEST)))
    return tuple(slices)


def _coarse(window: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(slice(part.start // FACTOR, part.stop // FACTOR) for part in window)


def _meta(
    one: EvaluatedField, window: tuple[slice, ...], shape: tuple[int, ...], layers: Any, cut: Any
) -> dict[str, Any]:
    """What the viewer needs to know about a field."""
    bands = list(one.bands)
    height, width = (part.stop - part.start for part in window)
    wcs = one.output[bands[0]].wcs
    celestial = wcs is not None and wcs.has_celestial
    color = [len(bands) - 1, len(bands) // 2, 0] if len(bands) >= 3 else None
    red_green_blue = [cut[bands[k], "output"] for k in color] if color else []
    notes = list(one.warnings)
    if (height, width) != tuple(shape):
        notes.append(f"Shown are the central {width} × {height} of {shape[1]} × {shape[0]} pixels.")
    truth = one.pair is not None and one.pair.noise_free
    labels = _LABELS | {"target": "Truth" if truth else "Target"}
    entries = [{"id": layer, "label": labels[layer]} for layer in layers]
    if "target" in layers:
        entries.append({"id": "difference", "label": f"Output − {labels['target'].lower()} (±3 σ)"})
    return {
        "name": one.name,
        "width": width,
        "height": height,
        "factor": FACTOR,
        "bands": [{"name": band} for band in bands],
        "firstBand": bands.index("r") if "r" in bands else len(bands) // 2,
        "layers": entries,
        "color": color,
        "balance": color_balance(red_green_blue) if color else None,
        "white": white_level([cut[band, "output"] for band in bands]),
        "pixelScale": round(pixel_scale(wcs), 5) if celestial else None,
        "wcs": _wcs_numbers(wcs, window) if celestial else None,
        "notes": notes,
    }


def _wcs_numbers(wcs: WCS, window: tuple[slice, ...]) -> Any:
    """What a plain gnomonic WCS is made of; `None` for others."""
    if list(wcs.wcs.ctype) != ["RA---TAN", "DEC--TAN"] or wcs.has_distortion:
        return None
    crpix = [float(c) - part.start for c, part in zip(wcs.wcs.crpix, window[::-1], strict=True)]
    numbers = {
        "crpix": crpix,
        "crval": [float(value) for value in wcs.wcs.crval],
        "cd": [float(value) for value in wcs.pixel_scale_matrix.ravel()],
    }
    finite = all(math.isfinite(v) for values in numbers.values() for v in values)
    return numbers if finite else None
