# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Figures of what is wrong with outputs, and of what the channels of a network answer to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.artefacts_sky import cloudiness, mean_output, smoothed
from splus_srgan.evaluation.measure.artefacts_sources import color_residual
from splus_srgan.evaluation.measure.consistency import residuals
from splus_srgan.evaluation.measure.patterns import pattern_lines
from splus_srgan.evaluation.measure.spectrum import SkySpectrum
from splus_srgan.evaluation.report.display import color_weights, picture, white_level
from splus_srgan.evaluation.report.plotting import (
    COLORS,
    COLUMN_WIDTH,
    LABELS,
    make_figure,
    make_panels,
    scale_bar,
    styled,
    tighten,
)
from splus_srgan.pixels.coadd_noise import smoothed_noise
from splus_srgan.utils.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, TypeAlias

    from matplotlib.figure import Figure

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.evaluation.report.display import Panels
    from splus_srgan.utils.types import FloatArray, Images

    _Finding: TypeAlias = tuple[float, str, tuple[int, ...] | None]

__all__ = ["plot_limitations", "plot_mean_output"]

_CROP = 32  # input pixels
_BRIGHT = 5.0  # sigma per pixel
_FLUX_ERROR = 0.03  # of the flux, which no eye sees


@styled
def plot_limitations(
    pairs: Sequence[EvaluationPair],
    outputs: Sequence[Images],
    *,
    labels: Sequence[str] = LABELS,
    width: float = COLUMN_WIDTH,
) -> Figure:
    """
    Show the worst places: unnatural structure, false color, and the cloudiest sky.

    Figure A.3.1 of the seed paper, from your fields; the places are found by measurement,
    and each title says what was measured, also where that is harmless.

    Parameters
    ----------
    pairs : sequence of `~splus_srgan.evaluation.pairs.EvaluationPair`
        Fields.
    outputs : sequence of mappings of str to `~astropy.nddata.CCDData`
        Their enhanced images.
    labels : tuple of str, optional
        Labels of input, output and target.
    width : float, optional
        Width of the figure, in inches.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        Columns: the largest residual against the input in a bright region (in units of its
        noise and 3 % of the flux), the largest change of color, and the cloudiest field,
        whose stretch shows the sky.
    """
    panels = make_panels(pairs, outputs, labels)
    found = [_findings(p, o) for p, o in zip(pairs, outputs, strict=True)]
    weights = color_weights(panels)
    rows = max(len(one.images) for one in panels)
    figure = make_figure(width, (width - 0.2) / 3 * rows + 0.3)
    axes = figure.subplots(rows, 3, squeeze=False)
    for column, kind in enumerate(("structure", "color", "clouds")):
        worst = int(np.argmax([one[kind][0] for one in found]))
        value, text, place = found[worst][kind]
        title = text if value > 0 else _NOTHING[kind]
        axes[0, column].set_title(title, fontsize=7)
        _draw_place(
            axes[:, column], panels[worst], place if value > 0 else None, weights[worst], kind
        )
    for axis, label in zip(axes[:, 0], labels, strict=False):
        axis.set_ylabel(label)
    tighten(figure)
    return figure


_NOTHING = {"structure": "no bright region", "color": "no change of color", "clouds": "no sky"}


def _findings(pair: EvaluationPair, output: Images) -> dict[str, _Finding]:
    """Kind to (how bad, in words, where on the output's grid) for one field."""
    bands = compare_field(pair, output).bands
    structure: _Finding = (0.0, "", None)
    color, cloud = structure, structure
    for name, band in bands.items():
        residual, noise, model = residuals(band)
        good = np.isfinite(residual)
        size = 1.5
        expected = smoothed_noise(size) * smoothed(noise, good, size)
        expected = np.hypot(expected, _FLUX_ERROR * smoothed(model, good, size))
        ratio = np.abs(smoothed(residual, good, size)) / np.maximum(expected, 1e-30)
        ratio[~good | (model < _BRIGHT * band.sigma)] = 0
        if ratio.max() > structure[0]:
            text = f"Structure ({name})\n{ratio.max():.1f}σ off the input"
            structure = float(ratio.max()), text, _place(ratio)
        rms = cloudiness(band.sky_units)
        if np.isfinite(rms) and rms > cloud[0]:
            cloud = rms, f"Clouds ({name})\n{rms:.3f}σ rms", None
    for (one, two), (change, _) in color_residual(bands).items() if len(bands) > 1 else ():
        size = np.nan_to_num(np.abs(change))
        if size.max() > color[0]:
            value = change.flat[np.argmax(size)]
            color = float(size.max()), f"Color\nΔ({one}−{two}) = {value:+.2f} mag", _place(size)
    return {"structure": structure, "color": color, "clouds": cloud}


def _place(image: FloatArray) -> tuple[int, ...]:
    """Row and column of the largest value, on the output's grid."""
    return tuple(2 * int(k) for k in np.unravel_index(np.argmax(image), image.shape))


def _draw_place(
    axes: Any, one: Panels, place: tuple[int, ...] | None, weights: FloatArray, kind: str
) -> None:
    """The images of a field around a place, or all of them."""
    cut = np.s_[:, :, :]
    if place is not None:
        shape = next(iter(one.images.values())).shape[1:]
        starts = [
            int(np.clip(at - _CROP, 0, max(0, n - 2 * _CROP)))
            for at, n in zip(place, shape, strict=True)
        ]
        cut = np.s_[:, starts[0] : starts[0] + 2 * _CROP, starts[1] : starts[1] + 2 * _CROP]
    images = {label: image[cut] for label, image in one.images.items()}
    white = 6.0 if kind == "clouds" else white_level(list(images.values())[1:])
    for axis, image in zip(axes, images.values(), strict=False):
        shown = picture(image, weights=weights, white=white)
        axis.imshow(shown, origin="lower", interpolation="nearest")
    scale_bar(axes[0], type(one)(one.name, images, one.pixel_scale))
    for axis in axes:
        axis.set_xticks([])
        axis.set_yticks([])


@styled
def plot_mean_output(
    outputs: Sequence[Images],
    *,
    periods: Sequence[float] = (2, 4),
    limit: float = 0.0005,
    width: float = COLUMN_WIDTH,
) -> Figure:
    """
    Show what all outputs have in common: their mean sky, and its power spectrum.

    Figure A.3.2 of the seed paper, from your fields.

    Parameters
    ----------
    outputs : sequence of mappings of str to `~astropy.nddata.CCDData`
        Enhanced images of different fields, of one shape, with the cards SRFSKY (else SRSKY) and
        SRSIGMA.  Not all need have all bands.
    periods : sequence of float, optional
        Periods of patterns to look for, in output pixels.
    limit : float, optional
        Amplitude to mark, in units of the input's sky noise.
    width : float, optional
        Width of the figure, in inches.

    Returns
    -------
    figure : `~matplotlib.figure.Figure`
        A column per band.  Below each mean, the amplitude of its waves, root mean square
        and largest at each frequency; a line found is ringed.
    """
    bands = list(dict.fromkeys(band for one in outputs for band in one))
    figure = make_figure(width, 1.4 + 1.8 * (width - 0.5) / max(2, len(bands)))
    axes = figure.subplots(2, len(bands), squeeze=False, height_ratios=(1, 0.8))
    means = {}
    for band in bands:
        mine = [{band: one[band]} for one in outputs if band in one]
        alone = [compare_field(None, one).bands[band] for one in mine]
        means[band], count = mean_output([one.sky_units for one in alone])
        means[band] = np.where(count >= max(1, len(mine) // 4), means[band], np.nan)
    reach = max(float(np.nanquantile(np.abs(m), 0.99)) for m in means.values()) or 0.01
    for (top, bottom), (band, mean) in zip(axes.T, means.items(), strict=True):
        shown = top.imshow(mean, origin="lower", cmap="PuOr", vmin=-reach, vmax=reach)
        top.set_facecolor("0.6")
        top.set_title(band)
        top.set_xticks([])
        top.set_yticks([])
        _draw_spectrum(bottom, mean, periods, limit)
        bottom.sharey(axes[1, 0])
    for axis in axes[1, 1:]:
        axis.tick_params(labelleft=False)
    label = f"mean sky of {len(outputs)} outputs (σ of the input)"
    figure.colorbar(shown, ax=list(axes[0]), location="bottom", label=label, aspect=40, pad=0.02)
    axes[1, 0].set_ylabel("amplitude (σ)")
    axes[1, len(bands) // 2].set_xlabel("frequency (1 / output pixel)")
    handles, names = axes[1, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _draw_spectrum(axis: Any, mean: FloatArray, periods: Sequence[float], limit: float) -> None:
    free = np.isfinite(mean)
    spectrum = SkySpectrum(np.nan_to_num(mean), free)
    fy, fx = spectrum.frequencies
    step = 1 / min(mean.shape)
    ring = np.rint(np.hypot(fy[:, None], fx) / step).astype(int)
    index = np.arange(1, round(0.5 / step) + 1)
    amplitude = spectrum.amplitude
    typical = [np.sqrt(np.mean(amplitude[ring == k] ** 2)) for k in index]
    largest = [amplitude[ring == k].max() for k in index]
    axis.semilogy(index * step, largest, color=COLORS[5], label="largest")
    axis.semilogy(index * step, typical, color=COLORS[0], label="rms")
    axis.axhline(limit, color=COLORS[1], linestyle="--", linewidth=0.8, label="limit for a line")
    for line in rows_of(pattern_lines(np.nan_to_num(mean), free=free, periods=periods)):
        if line["found"]:
            frequency = np.hypot(line["fy"].value, line["fx"].value)
            axis.plot(frequency, line["amplitude"], "o", mfc="none", mec=COLORS[1], ms=6)
    axis.set_xlim(0, 0.52)
    axis.set_xticks([0, 0.25, 0.5], ["0", "1/4", "1/2"])
    axis.spines[["top", "right"]].set_visible(False)
