# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the figures share: size, style, panels."""

from __future__ import annotations

import math
from functools import wraps
from typing import TYPE_CHECKING

from splus_srgan.evaluation.report.display import field_panels, picture, white_level
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from matplotlib.figure import Figure

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.report.display import Panels
    from splus_srgan.utils.types import FloatArray, Images, P, T

__all__ = [
    "COLORS",
    "COLUMN_WIDTH",
    "LABELS",
    "PAGE_WIDTH",
    "draw_field",
    "make_figure",
    "make_panels",
    "scale_bar",
    "styled",
    "tighten",
]

COLUMN_WIDTH = 3.46
"""Inches of a column of a journal, 88 mm."""

PAGE_WIDTH = 7.09
"""Inches of a page of a journal, 180 mm."""

LABELS = ("Input", "Enhanced", "Reference")
# Okabe and Ito's colors, told apart by everyone.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
STYLE = {
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.0,
}


def make_figure(width: float, height: float) -> Figure:
    """A figure without pyplot: nothing global is touched."""
    figure = import_optional("matplotlib.figure", "plot").Figure
    return figure(figsize=(width, height), dpi=200, layout="constrained")


def styled(function: Callable[P, T]) -> Callable[P, T]:
    """Draw in the style of a journal, and leave the user's own style alone."""

    @wraps(function)
    def drawn(*args: P.args, **options: P.kwargs) -> T:
        matplotlib = import_optional("matplotlib", "plot")
        with matplotlib.rc_context(STYLE):
            return function(*args, **options)

    return drawn


def make_panels(
    pairs: Sequence[EvaluationPair], outputs: Sequence[Images], labels: Sequence[str]
) -> list[Panels]:
    """Panels of each field, in sky units."""
    pairs, outputs = list(pairs), list(outputs)
    if not pairs or len(pairs) != len(outputs):
        raise ValueError(
            f"pairs and outputs must be as many, at least one; got {len(pairs)} and {len(outputs)}"
        )
    return [field_panels(p, o, labels=labels) for p, o in zip(pairs, outputs, strict=True)]


def draw_field(axes: Any, one: Panels, weights: FloatArray) -> None:
    """The images of a field, with one stretch."""
    white = white_level(list(one.images.values())[1:])
    for axis, image in zip(axes, one.images.values(), strict=False):
        axis.imshow(picture(image, weights=weights, white=white), origin="lower")
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])
        for spine in axis.spines.values():
            spine.set_visible(False)
    for axis in axes[len(one.images) :]:
        axis.set_axis_off()


def scale_bar(axis: Any, one: Panels, *, share: float = 0.3) -> None:
    """A bar of a round length in the lower left corner."""
    from matplotlib import patheffects

    ny, nx = next(iter(one.images.values())).shape[1:]
    scale, unit = (one.pixel_scale, "″") if one.pixel_scale else (1.0, " px")
    length = share * nx * scale
    step = 10 ** math.floor(math.log10(length))
    length = max(k * step for k in (1, 2, 5) if k * step <= length)
    x, y = 0.06 * nx, 0.08 * ny
    around = [patheffects.withStroke(linewidth=2.5, foreground="black")]
    end = x + length / scale
    axis.plot([x, end], [y, y], color="white", linewidth=1.2, path_effects=around)
    place = {"x": (x + end) / 2, "y": y + 0.02 * ny, "ha": "center", "va": "bottom"}
    text = f"{length:g}{unit}"
    axis.text(s=text, **place, color="white", fontsize=7, path_effects=around)


def tighten(figure: Figure) -> None:
    """Leave little space between panels."""
    layout: Any = figure.get_layout_engine()
    layout.set(w_pad=0.01, h_pad=0.01, wspace=0.005, hspace=0.005)
