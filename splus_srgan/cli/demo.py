# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Show on a simulated field what enhancing gains, with numbers and a picture.

The field is simulated, so the truth is known: scores compare with what is there,
not with another image of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.cli.bar import progress
from splus_srgan.cli.checks import check_engine
from splus_srgan.cli.common import add_config, add_engine, add_field, add_output
from splus_srgan.cli.output import say
from splus_srgan.utils.files import atomic_path, check_folder, check_targets, make_folder
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.simulate.field import SimulatedField
    from splus_srgan.utils.types import FilePath, FloatArray, Images, ProgressBar

__all__ = ["DESCRIPTION", "DemoResult", "add_arguments", "run", "run_demo"]

DESCRIPTION = "simulate a field, enhance it, and show what was gained"

_BANDS = ("g", "r", "z")
_FILES = {
    "input": "input.fits",
    "enhanced": "enhanced.fits",
    "truth": "truth.fits",
    "picture": "comparison.png",
}
_FORMATS = {"psnr": ".2f", "ssim": ".4f", "flux": "+.1f", "scatter": ".1f"}


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    add_output(parser, default="splus-srgan-demo")
    add_field(parser, 15, [256, 256])
    add_engine(parser)


def run(options: Namespace) -> None:
    """
    Run the demo and print what was gained.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    check_engine(options, bands=_BANDS)
    result = run_demo(
        options.output,
        seed=options.seed,
        shape=tuple(options.shape),
        weights=options.weights,
        device=options.device,
        overwrite=options.overwrite,
        progress_bar=progress,
    )
    say(result.report())


@dataclass(frozen=True)
class DemoResult:
    """
    What `run_demo` made and measured.

    Attributes
    ----------
    paths : dict of str to `~pathlib.Path`
        Files written: ``input``, ``enhanced``, ``truth``, ``picture``.
    scores : `~astropy.table.Table`
        One row per band: PSNR (dB) and SSIM of the bicubic and of the enhanced
        image, median and scatter (mmag) of the offsets of their fluxes, and the number of
        sources behind these.
    seconds : float
        Time that enhancing took.
    """

    paths: dict
    scores: Table
    seconds: float

    def report(self) -> str:
        """
        Put the scores into words.

        Returns
        -------
        text : str
            A table, the gain, and the paths of the files.
        """
        gain = np.mean(self.scores["psnr_enhanced"] - self.scores["psnr_bicubic"])
        lines = [
            *self.scores.pformat(max_lines=-1, max_width=-1),
            "",
            "PSNR (dB) and SSIM against the truth, after asinh(100 x / 3) with x in nanomaggies; "
            "offset and scatter of fluxes in mmag (r = 3 arcsec, S/N > 20, at the truth's PSF).",
            f"Enhancing took {self.seconds:.2f} s and gained {gain:+.1f} dB over bicubic.",
            "",
            *(f"{what:9s} {path}" for what, path in self.paths.items()),
        ]
        return "\n".join(lines)


def run_demo(
    outdir: FilePath,
    *,
    seed: int = 15,
    shape: tuple[int, int] = (256, 256),
    bands: Sequence[str] = _BANDS,
    kind: Literal["galaxy", "fill", "cluster", "stars", "blank"] | None = "cluster",
    weights: FilePath | WeightsCard = "auto",
    device: str = "auto",
    overwrite: bool = False,
    progress_bar: ProgressBar | None = None,
) -> DemoResult:
    """
    Simulate a field, enhance it, and write and measure what was gained.

    Parameters
    ----------
    outdir : str or path-like
        Folder to write to; made if needed.
    seed : int, optional
        Seed of the field.
    shape : tuple of int, optional
        ``(ny, nx)`` of the simulated S-PLUS image.
    bands : sequence of str, optional
        Bands to simulate.
    kind : str, optional
        One of `splus_srgan.simulate.field.KINDS`.
    weights, device, progress_bar : optional
        As in `~splus_srgan.enhance.enhancer.SRGANEnhancer`.
    overwrite : bool, optional
        Replace the files of an earlier run.

    Returns
    -------
    result : `DemoResult`
        Paths, scores and time.

    Raises
    ------
    FileExistsError
        If one of the files exists and ``overwrite`` is false.
    OSError
        If ``outdir`` is a file or cannot be made.
    ImportError
        If matplotlib, which draws the picture, is not installed.
    """
    paths = _free_paths(Path(outdir), overwrite)

    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.evaluation.baselines.methods import Bicubic
    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.images.io.fields import write_bands
    from splus_srgan.simulate.field import simulate_field

    field = simulate_field(seed, shape=shape, bands=bands, kind=kind)
    enhancer = SRGANEnhancer(weights, device=device, progress_bar=progress_bar)
    start = time.perf_counter()
    enhanced = enhancer(field.observed)
    seconds = time.perf_counter() - start

    make_folder(outdir)
    written = {"input": field.observed, "enhanced": enhanced, "truth": field.target}
    for what, images in written.items():
        write_bands(paths[what], images, overwrite=overwrite)
    made = {"bicubic": Bicubic()(field.observed, sky=field.sky, sigma=field.sigma)}
    made["enhanced"] = enhanced
    scores = _measure(EvaluationPair.from_simulation(field, name="demo"), made)
    with atomic_path(paths["picture"], overwrite=overwrite) as temporary:
        _draw(temporary, field, made | {"truth": field.target}, scores)
    return DemoResult(paths, scores, seconds)


def _free_paths(outdir: Path, overwrite: bool) -> dict[str, Path]:
    """Files of the demo, where all can be written."""
    import_optional("matplotlib", "plot")
    check_folder(outdir)
    paths = {what: outdir / name for what, name in _FILES.items()}
    check_targets(paths.values(), overwrite=overwrite)
    return paths


def _measure(pair: EvaluationPair, made: Mapping[str, Images]) -> Table:
    """Score the bicubic and the enhanced image of each band against the truth."""
    rows = {band: {"band": band} for band in pair.bands}
    for what, images in made.items():
        for band, found in _scores(pair, images).items():
            rows[band] |= {f"{name}_{what}": value for name, value in found.items()}
    names = [f"{name}_{what}" for name in _FORMATS for what in made]
    table = Table(rows=list(rows.values()))["band", *names, "sources_enhanced"]
    table.rename_column("sources_enhanced", "sources")
    for name in names:
        table[name].format = _FORMATS[name.split("_")[0]]
    return table


def _scores(pair: EvaluationPair, images: Images) -> dict[str, dict[str, Any]]:
    """Band to the scores of one image."""
    from splus_srgan.evaluation.comparison import compare_field
    from splus_srgan.evaluation.measure.agreement import scores
    from splus_srgan.evaluation.measure.photometry import compare_fluxes
    from splus_srgan.pixels.robust import robust_std

    compared = compare_field(pair, images)
    # Neighbors are in both images: sources in a crowd count as well.
    fluxes = compare_fluxes(compared, against="target", share=np.inf)
    similarity = scores(compared)
    found = {}
    for row in similarity[similarity["space"] == "asinh"]:
        band = str(row["band"])
        if band not in compared.bands:  # all of them together
            continue
        offsets = fluxes["offset"][fluxes["band"] == band]
        offsets = 1000 * np.asarray(offsets, float)
        offsets = offsets[np.isfinite(offsets)]
        found[band] = {
            "psnr": row["psnr"].value,
            "ssim": row["ssim"],
            "flux": np.median(offsets) if offsets.size else np.nan,
            "scatter": robust_std(offsets) if offsets.size else np.nan,
            "sources": offsets.size,
        }
    return found


def _draw(path: FilePath, field: SimulatedField, rows: Mapping[str, Images], scores: Table) -> None:
    """Draw the rows of images, every column in one stretch."""
    from matplotlib.figure import Figure

    rows = {
        what: {band: np.asarray(image.data) for band, image in images.items()}
        for what, images in rows.items()
    }
    bands = list(field.observed)
    height, width = rows["truth"][bands[0]].shape
    figure = Figure(figsize=(3.2 * (1 + len(bands)), 3.2 * len(rows) * height / width + 0.3))
    grid = figure.subplots(len(rows), 1 + len(bands), squeeze=False)
    figure.set_layout_engine("constrained")
    color_limits = _color_limits(field, rows["truth"])
    for axes, (what, images) in zip(grid, rows.items(), strict=True):
        axes[0].imshow(_color(field, images, color_limits), origin="lower")
        axes[0].set_ylabel(what, fontsize=13)
        for ax, (index, band) in zip(axes[1:], enumerate(bands), strict=True):
            _draw_band(ax, field, band, rows["truth"][band], images[band])
            if what != "truth":
                text = f"{scores[f'psnr_{what}'][index]:.1f} dB"
                ax.text(0.03, 0.03, text, color="w", fontsize=11, transform=ax.transAxes)
    for ax, title in zip(grid[0], ["/".join(reversed(bands)), *bands], strict=True):
        ax.set_title(title)
    for ax in grid.flat:
        ax.set_xticks([])
        ax.set_yticks([])
    figure.savefig(path, dpi=120)


def _draw_band(
    ax: Any, field: SimulatedField, band: str, truth: FloatArray, image: FloatArray
) -> None:
    from matplotlib.colors import AsinhNorm

    sigma = field.sigma[band] / 4
    brightest = max(float(np.quantile(truth, 0.9995)), 10 * sigma)
    norm = AsinhNorm(linear_width=2 * sigma, vmin=-2 * sigma, vmax=brightest)
    ax.imshow(image, origin="lower", cmap="gray", norm=norm, interpolation="nearest")


def _color_bands(field: SimulatedField) -> tuple[str, str, str]:
    """Bands shown as red, green and blue: the reddest, the middle and the bluest."""
    bands = list(field.observed)
    return bands[-1], bands[len(bands) // 2], bands[0]


def _color_limits(field: SimulatedField, truth: Mapping[str, FloatArray]) -> tuple[float, float]:
    """Softening and white point, in nanomaggies, that all rows share."""
    bands = _color_bands(field)
    # Twice the noise of a finer pixel.
    softening = float(np.mean([field.conditions[band].sigma for band in bands])) / 2
    nmgy = [truth[band] / field.conditions[band].adu_per_nmgy for band in bands]
    brightest = float(np.quantile(np.mean(nmgy, axis=0), 0.9995))
    return softening, max(brightest, 20 * softening)


def _color(
    field: SimulatedField, images: Mapping[str, FloatArray], limits: tuple[float, float]
) -> FloatArray:
    """Color image on which a galaxy of usual color is white: it is brighter in z than in g."""
    from splus_srgan.pixels.picture import color_picture

    softening, white = limits
    usual = {"u": 0.3, "g": 0.6, "r": 1.0, "i": 1.4, "z": 1.6}
    planes = [
        images[band] / field.conditions[band].adu_per_nmgy / usual.get(band, 1.0)
        for band in _color_bands(field)
    ]
    # The sky is dark gray, so that noise below it is seen as well.
    return color_picture(*planes, black=-softening, white=white, softening=softening)
