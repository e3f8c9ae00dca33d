# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Figures and the table of the seed paper, from your own data.

Each function returns a `matplotlib.figure.Figure`, made without pyplot: it can be made
anywhere, and is written with its ``savefig``.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.report.display import color_weights
from splus_srgan.evaluation.report.plots_findings import plot_limitations, plot_mean_output
from splus_srgan.evaluation.report.plots_scores import plot_histogram, score_summary
from splus_srgan.evaluation.report.plotting import (
    COLUMN_WIDTH,
    LABELS,
    PAGE_WIDTH,
    draw_field,
    make_figure,
    make_panels,
    scale_bar,
    styled,
    tighten,
)
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.utils.types import Images

__all__ = [
    "COLUMN_WIDTH",
    "PAGE_WIDTH",
    "plot_gallery",
    "plot_histogram",
    "plot_limitations",
    "plot_mean_output",
    "plot_sample",
    "score_summary",
]


@styled
def plot_sample(
    pairs: Sequence[EvaluationPair],
    outputs: Sequence[Images],
    *,
    number: int = 4,
    labels: Sequence[str] = LABELS,
    width: float = PAGE_WIDTH,
) -> Figure:
    """
    Show a few fields: a column each, with input, output and target below each other.

    Figure 3.1 of the seed paper, from your fields.

    Parameters
    ----------
    pairs : sequence of `~splus_srgan.evaluation.pairs.EvaluationPair`
        Fields.
    outputs : sequence of mappings of str to `~astropy.nddata.CCDData`
        Their enhanced images.
    number : int, optional
        Fields to show, evenly from all.
    labels : tuple of str, optional
        Labels of input, output and target.
    width : float, optional
        Width of the figure, in inches.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        The panels of a field have one stretch, in units of the sky noise of the input.  The
        usual source is white: of all fields, where zero points or units give the flux
        scale of all, else of each field.
    """
    pairs, outputs = list(pairs), list(outputs)
    number = min(check_integer("number", number, minimum=1), len(pairs))
    if pairs and len(pairs) == len(outputs):  # else the panels say what is wrong
        kept = np.linspace(0, len(pairs) - 1, number).astype(int)
        pairs, outputs = [pairs[k] for k in kept], [outputs[k] for k in kept]
    chosen = make_panels(pairs, outputs, labels)
    rows = max(len(one.images) for one in chosen)
    side = (width - 0.25) / number
    figure = make_figure(width, side * rows + 0.2)
    axes = figure.subplots(rows, number, squeeze=False)
    for column, one, weights in zip(axes.T, chosen, color_weights(chosen), strict=True):
        draw_field(column, one, weights)
        column[0].set_title(one.name)
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.set_ylabel(label)
    scale_bar(axes[0, 0], chosen[0])
    tighten(figure)
    return figure


@styled
def plot_gallery(
    pairs: Sequence[EvaluationPair],
    outputs: Sequence[Images],
    *,
    labels: Sequence[str] = LABELS,
    n_columns: int = 2,
    width: float = PAGE_WIDTH,
) -> Figure:
    """
    Show all fields: input, output and target of each side by side.

    Figures A.1 (fields that the network never saw) and A.2 (fields it was trained with) of the
    seed paper, from your fields.

    Parameters
    ----------
    pairs : sequence of `~splus_srgan.evaluation.pairs.EvaluationPair`
        Fields; give those of one page (about 20).
    outputs : sequence of mappings of str to `~astropy.nddata.CCDData`
        Their enhanced images.
    labels : tuple of str, optional
        Labels of input, output and target.
    n_columns : int, optional
        Fields side by side.
    width : float, optional
        Width of the figure, in inches.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Stretch and colors as in `plot_sample`.
    """
    panels = make_panels(pairs, outputs, labels)
    weights = color_weights(panels)
    n_columns = min(check_integer("n_columns", n_columns, minimum=1), len(panels))
    n_rows, n_images = math.ceil(len(panels) / n_columns), len(panels[0].images)
    side = (width - 0.2 * n_columns) / (n_columns * n_images)
    figure = make_figure(width, side * n_rows + 0.25)
    blocks = figure.subfigures(1, n_columns, wspace=0.01, squeeze=False)[0]
    for k, block in enumerate(blocks):
        mine, balance = panels[k::n_columns], weights[k::n_columns]
        axes = block.subplots(n_rows, n_images, squeeze=False)
        for axis in axes[len(mine) :].flat:
            axis.set_axis_off()
        for row, one, own in zip(axes, mine, balance, strict=False):
            draw_field(row, one, own)
            row[0].set_ylabel(one.name)
        for axis, label in zip(axes[0], labels, strict=False):
            axis.set_title(label)
    scale_bar(blocks[0].axes[0], panels[0])
    tighten(figure)
    return figure
