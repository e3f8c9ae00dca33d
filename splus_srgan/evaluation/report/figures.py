# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The figures of the report, as data addresses."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.statistics import finite_values, plain_values
from splus_srgan.utils.quiet import quiet
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from astropy.table import Table
    from matplotlib.figure import Figure

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.result import Evaluation
    from splus_srgan.utils.types import FloatArray

__all__ = ["report_figures"]

_GALLERY = 20  # fields on one page
_SPACES = {
    "psnr_seed": "stretches of the seed paper",
    "psnr_asinh": "arcsinh(100 x / 3), x in nanomaggies",
    "psnr_noise": "units of the noise",
}

_INK = "#1b1f24"
_COLORS = ("#24509a", "#c4622d", "#3d8a5f", "#8a5aa8", "#8c7a2b", "#4b9bb5", "#b34c72", "#6d7681")
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.edgecolor": "#8a9199",
    "axes.labelcolor": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dfe2e5",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "xtick.color": "#59616b",
    "ytick.color": "#59616b",
    "text.color": _INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "splus_srgan",
    "figure.dpi": 100,
}


def report_figures(evaluation: Evaluation) -> list[dict[str, str]]:
    """
    Draw what can be drawn from an evaluation.

    Parameters
    ----------
    evaluation : `~splus_srgan.evaluation.result.Evaluation`
        What was measured.

    Returns
    -------
    figures : list of dict
        ``source`` (data address), ``alt``, ``title``, ``caption`` and ``style`` of each.
    """
    from matplotlib import rc_context

    figures = []
    with rc_context(_STYLE):
        for draw in (_draw_scores, _draw_fluxes, _draw_stars):
            made = draw(evaluation)
            if made is not None:
                figure, title, caption = made
                figures.append(
                    {
                        "source": as_svg(figure),
                        "alt": f"{title}. {caption}",
                        "title": title,
                        "caption": caption,
                        "style": "",
                    }
                )
    return figures + _paper_figures(evaluation)


def _paper_figures(evaluation: Evaluation) -> list[dict[str, str]]:
    """The pictures of the seed paper, from these fields."""
    from splus_srgan.evaluation.report import plots

    fields = [one for one in evaluation.fields if one.pair is not None]
    if not fields:
        return []
    pairs, outputs = [present(one.pair) for one in fields], [one.output for one in fields]
    labels = ("input", evaluation.method, _target_name(pairs))
    with quiet():
        made = [
            (
                plots.plot_sample(pairs, outputs, labels=labels),
                "A sample",
                "Input, output and target of some fields, in one stretch for each field.",
            ),
            (
                plots.plot_gallery(pairs[:_GALLERY], outputs[:_GALLERY], labels=labels),
                "All fields" if len(pairs) <= _GALLERY else f"The first {_GALLERY} fields",
                "Input, output and target side by side.",
            ),
            (
                plots.plot_limitations(pairs, outputs, labels=labels),
                "The worst places",
                "The largest residual, the largest change of color, and the cloudiest sky, "
                "also where they are harmless.",
            ),
        ]
        made += _histogram(evaluation, plots)
        if len({np.shape(image.data) for one in outputs for image in one.values()}) == 1:
            made += [
                (
                    plots.plot_mean_output(outputs),
                    "The mean of all outputs",
                    "What all have in common is the network's own: it should be nothing.",
                )
            ] * (len(outputs) >= 4)
    return [
        {
            "source": as_jpeg(figure),
            "alt": f"{title}. {caption}",
            "title": title,
            "caption": caption,
            "style": "sheet wide" if figure.get_figwidth() > 5 else "sheet",
        }
        for figure, title, caption in made
    ]


def _target_name(pairs: Sequence[EvaluationPair]) -> str:
    return "truth" if all(pair.noise_free for pair in pairs) else "target"


def _histogram(evaluation: Evaluation, plots: Any) -> list[tuple[Figure, str, str]]:
    """The scores of all fields before and after, where there are enough of both."""
    table = evaluation.table
    methods = set(map(str, table["method"])) if len(table) else set()
    if len(evaluation.fields) < 2 or not {"bicubic", evaluation.method} <= methods:
        return []
    column = _score_column(table)
    if column is None:
        return []
    figure = plots.plot_histogram(
        table[table["band"] != "joint"],
        score=column,
        baseline="bicubic",
        method=evaluation.method,
    )
    return [(figure, "Scores before and after", f"PSNR of all fields ({_SPACES[column]}).")]


def _score_column(table: Table) -> str | None:
    """The PSNR to draw: that of the seed paper where zero points are known."""
    for column in _SPACES:
        if column in table.colnames and np.isfinite(plain_values(table[column])).any():
            return column
    return None


def as_svg(figure: Figure) -> str:
    """Give a figure as the data address of an SVG, for line drawings."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def as_jpeg(figure: Figure) -> str:
    """Give a figure as the data address of a JPEG, for pictures, whose noise PNG cannot pack."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="jpeg", dpi=150, pil_kwargs={"quality": 88})
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _new_figure(n_axes: int = 1, **options: Any) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.3), layout="constrained")
    return figure, figure.subplots(1, n_axes, squeeze=False, **options)[0]


def _draw_scores(evaluation: Evaluation) -> tuple[Figure, str, str] | None:
    """PSNR of every field, a line for each method."""
    table = evaluation.table
    column = "psnr_asinh"
    if column not in table.colnames or not np.isfinite(plain_values(table[column])).any():
        column = "psnr_noise"
    if column not in table.colnames or len(evaluation.fields) < 2:
        return None
    band = "joint" if "joint" in table["band"] else table["band"][0]
    table = table[table["band"] == band]
    methods = list(dict.fromkeys(map(str, table["method"])))
    ours = dict(zip(*_columns(table, evaluation.method, column), strict=True))
    names = sorted((n for n in ours if np.isfinite(ours[n])), key=lambda name: -ours[name])
    if len(names) < 2:
        return None
    figure, (ax,) = _new_figure()
    for k, method in enumerate(
        [evaluation.method, *[m for m in methods if m != evaluation.method]]
    ):
        found = dict(zip(*_columns(table, method, column), strict=True))
        values = [found.get(name, np.nan) for name in names]
        ax.plot(
            range(1, len(names) + 1),
            values,
            "o-" if k == 0 else ".-",
            label=method,
            color=_COLORS[k % len(_COLORS)],
            lw=0.7 if k else 1.6,
            ms=4.5,
            zorder=2 if k else 3,
        )
    ax.xaxis.get_major_locator().set_params(integer=True)
    ax.set_xlabel("field, the best first")
    ax.set_ylabel("PSNR (dB)")
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=8.5)
    space = (
        "arcsinh(100 x / 3), x in nanomaggies" if column == "psnr_asinh" else "units of the noise"
    )
    bands = "all bands together" if band == "joint" else f"band {band}"
    return figure, "PSNR of each field", f"Against the target in {space}, {bands}."


def _columns(table: Table, method: str, column: str) -> tuple[list[str], FloatArray]:
    mine = table[table["method"] == method]
    return list(map(str, mine["field"])), plain_values(mine[column])


def _draw_fluxes(evaluation: Evaluation) -> tuple[Figure, str, str] | None:
    """Offsets of fluxes against signal to noise."""
    rows = evaluation.measurements.get("fluxes")
    if rows is None or not len(rows):
        return None
    against = "target" if "target" in rows["against"] else "input"
    rows = rows[(rows["against"] == against) & np.isfinite(rows["offset"])]
    if len(rows) < 3:
        return None
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    figure, (ax,) = _new_figure()
    snr, offset, error = (plain_values(rows[name]) for name in ("snr", "offset", "error"))
    for k, band in enumerate(evaluation.bands):
        mine = np.asarray(rows["band"]) == band
        ax.scatter(snr[mine], 1e3 * offset[mine], s=11, label=band, alpha=0.75, lw=0,
                   color=_COLORS[k % len(_COLORS)])  # fmt: skip
    order = np.argsort(snr)
    for sign in (-1, 1):
        ax.plot(snr[order], sign * 1e3 * error[order], color="#59616b", lw=0.8, ls=":",
                label="the input's noise" if sign > 0 else None)  # fmt: skip
    ax.axhline(0, color="#59616b", lw=0.8)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    ax.xaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    reach = np.clip(1.3 * np.quantile(np.abs(1e3 * offset), 0.97), 20, 1000)
    ax.set_ylim(-reach, reach)
    ax.set_xlabel("signal to noise in the input")
    ax.set_ylabel("flux offset (mmag), up is brighter")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8.5)
    return figure, f"Fluxes against the {against}", (
        f"A point for each isolated source ({len(rows)}); dotted is what the noise of the input "
        "does to a flux in the same aperture."
    )  # fmt: skip


def _draw_stars(evaluation: Evaluation) -> tuple[Figure, str, str] | None:
    """Shifts and widths of stars."""
    stars = evaluation.measurements.get("stars")
    if stars is None or len(stars) < 3:
        return None
    names = ("shift_x", "shift_y", "fwhm_in", "fwhm_out")
    figure, (left, right) = _new_figure(2)
    for k, band in enumerate(dict.fromkeys(map(str, stars["band"]))):
        mine = stars[np.asarray(stars["band"]) == band]
        color = _COLORS[k % len(_COLORS)]
        shift_x, shift_y, before, after = (plain_values(mine[name]) for name in names)
        left.scatter(shift_x, shift_y, s=11, lw=0, alpha=0.75, color=color, label=band)
        right.scatter(before, after, s=11, lw=0, alpha=0.75, color=color)
    shifts = [finite_values(plain_values(stars[name])) for name in names[:2]]
    finite = np.abs(np.concatenate(shifts))
    reach = 1.2 * max(0.05, np.quantile(finite, 0.97)) if finite.size else 0.1
    left.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")
    left.axhline(0, color="#59616b", lw=0.8)
    left.axvline(0, color="#59616b", lw=0.8)
    left.set_xlabel("shift in x (output pixels)")
    left.set_ylabel("shift in y")
    ends = np.array([0.8, 2.6])
    right.plot(ends, ends, color="#59616b", lw=0.8, ls=":")
    right.set(xlim=ends, ylim=ends, aspect="equal")
    right.set_xlabel("FWHM in (arcsec)")
    right.set_ylabel("FWHM out (arcsec)")
    figure.legend(loc="outside lower center", ncols=5, frameon=False, fontsize=8.5)
    return figure, "Stars", (
        f"Left: shifts of {len(stars)} measured stars. Right: their widths; below the dotted line "
        "the output is sharper than the input."
    )  # fmt: skip
