# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Show on a simulated field what enhancing gains, with numbers and a picture.

The field is simulated, so the truth is known: scores compare with what is there,
not with another image of it.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from scipy import ndimage

from splus_srgan.simulate.field import simulate_field
from splus_srgan.utils.files import check_folder, make_folder
from splus_srgan.utils.optional import import_optional

__all__ = ["DemoResult", "run_demo"]

APERTURE = 3.0  # arcsec
LEAST_SNR = 20
FINE_SCALE = 0.275  # arcsec per pixel

_FILES = {
    "input": "input.fits",
    "enhanced": "enhanced.fits",
    "truth": "truth.fits",
    "picture": "comparison.png",
}


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
        image, and median and scatter (per cent) of their errors of flux.
    seconds : float
        Time that enhancing took.
    """

    paths: dict
    scores: Table
    seconds: float

    def report(self):
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
            f"PSNR and SSIM against the truth, after asinh(100 x / 3) with x in nanomaggies; "
            f'flux errors in r = {APERTURE:g}" of sources with S/N > {LEAST_SNR}, in per cent.',
            f"Enhancing took {self.seconds:.2f} s and gained {gain:+.1f} dB over bicubic.",
            "",
            *(f"{what:9s} {path}" for what, path in self.paths.items()),
        ]
        return "\n".join(lines)


def run_demo(
    outdir,
    *,
    seed=15,
    shape=(256, 256),
    bands=("g", "r", "z"),
    kind="cluster",
    weights="auto",
    device="auto",
    overwrite=False,
    progress_bar=None,
):
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
    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.images.io.fields import write_bands

    import_optional("matplotlib", "plot")
    outdir = Path(outdir)
    check_folder(outdir)
    paths = {what: outdir / name for what, name in _FILES.items()}
    for path in paths.values():
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; overwrite=True (--overwrite) replaces it")

    field = simulate_field(seed, shape=shape, bands=bands, kind=kind)
    enhancer = SRGANEnhancer(weights, device=device, progress_bar=progress_bar)
    start = time.perf_counter()
    enhanced = enhancer(field.observed)
    seconds = time.perf_counter() - start

    make_folder(outdir)
    for what, images in (
        ("input", field.observed),
        ("enhanced", enhanced),
        ("truth", field.target),
    ):
        write_bands(paths[what], images, overwrite=overwrite)
    rows = {
        "bicubic": {band: bicubic(image.data) for band, image in field.observed.items()},
        "enhanced": {band: np.asarray(image.data) for band, image in enhanced.items()},
        "truth": {band: image.data for band, image in field.target.items()},
    }
    scores = _measure(field, rows)
    _draw(paths["picture"], field, rows, scores)
    return DemoResult(paths, scores, seconds)


def bicubic(image):
    """
    Interpolate onto a grid of half the pixel size, with a quarter of the flux per pixel.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Flux per pixel.

    Returns
    -------
    fine : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Flux per finer pixel.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.cli.demo import bicubic
    >>> float(bicubic(np.full((3, 4), 8.0)).sum().round(6))
    96.0
    """
    return ndimage.zoom(image, 2, order=3, mode="nearest", grid_mode=True) / 4


def _measure(field, rows):
    """Score the bicubic and the enhanced image of each band against the truth."""
    scores = []
    for band in field.observed:
        truth = rows["truth"][band]
        score = {"band": band}
        for what in ("bicubic", "enhanced"):
            image = rows[what][band]
            to_nmgy = field.conditions[band].adu_per_nmgy
            psnr, ssim = _similarity(truth / to_nmgy, image / to_nmgy)
            errors = _flux_errors(field, band, truth, image)
            score |= {f"psnr_{what}": psnr, f"ssim_{what}": ssim}
            score |= {
                f"flux_{what}": np.median(errors) if errors.size else np.nan,
                f"scatter_{what}": 1.4826 * _mad(errors),
            }
        score["sources"] = errors.size
        scores.append(score)
    table = Table(scores)
    order = ["psnr", "ssim", "flux", "scatter"]
    names = [f"{name}_{what}" for name in order for what in ("bicubic", "enhanced")]
    table = table["band", *names, "sources"]
    for name in names:
        table[name].format = {"psnr": ".2f", "ssim": ".4f"}.get(name.split("_")[0], "+.2f")
    return table


def _similarity(truth, image):
    """PSNR and SSIM after the stretch of the published scores."""
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    truth, image = np.arcsinh(100 * truth / 3), np.arcsinh(100 * image / 3)
    data_range = float(truth.max() - truth.min())
    return (
        float(peak_signal_noise_ratio(truth, image, data_range=data_range)),
        float(structural_similarity(truth, image, data_range=data_range)),
    )


def _flux_errors(field, band, truth, image):
    """Relative errors (per cent) of the fluxes of bright, unsaturated sources."""
    from photutils.aperture import CircularAperture

    radius = APERTURE / FINE_SCALE
    ny, nx = truth.shape
    x = 2 * field.sources["x"].value + 0.5
    y = 2 * field.sources["y"].value + 0.5
    inside = (np.minimum(x, nx - 1 - x) > radius) & (np.minimum(y, ny - 1 - y) > radius)
    if not inside.any():
        return np.empty(0)
    apertures = CircularAperture(np.transpose([x[inside], y[inside]]), radius)

    def total(pixels):
        return apertures.do_photometry(pixels)[0]

    # Pixels of the fine grid hold a quarter of the sky of an input pixel, whose noise adds
    # up over the area (a tenth more, since neighbours are correlated).
    expected = total(truth)
    noise = 1.1 * field.sigma[band] * np.sqrt(apertures.area / 4)
    saturation = field.conditions[band].saturation
    full = (field.observed[band].data >= saturation).repeat(2, axis=0).repeat(2, axis=1)
    good = (expected > LEAST_SNR * noise) & (total(full.astype(float)) == 0)
    found = total(image - field.sky[band] / 4)
    return 100 * (found[good] / expected[good] - 1)


def _mad(values):
    return np.median(np.abs(values - np.median(values))) if values.size else np.nan


def _draw(path, field, rows, scores):
    """Draw the rows of images, every column in one stretch."""
    from matplotlib.figure import Figure

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


def _draw_band(ax, field, band, truth, image):
    from matplotlib.colors import AsinhNorm

    sigma = field.sigma[band] / 4
    brightest = max(float(np.quantile(truth, 0.9995)), 10 * sigma)
    norm = AsinhNorm(linear_width=2 * sigma, vmin=-2 * sigma, vmax=brightest)
    ax.imshow(image, origin="lower", cmap="gray", norm=norm, interpolation="nearest")


def _color_bands(field):
    """Bands shown as red, green and blue: the reddest, the middle and the bluest."""
    bands = list(field.observed)
    return bands[-1], bands[len(bands) // 2], bands[0]


def _color_limits(field, truth):
    """Softening and white point, in nanomaggies, that all rows share."""
    bands = _color_bands(field)
    # Twice the noise of a finer pixel.
    softening = np.mean([field.conditions[band].sigma for band in bands]) / 2
    nmgy = [truth[band] / field.conditions[band].adu_per_nmgy for band in bands]
    return softening, max(np.quantile(np.mean(nmgy, axis=0), 0.9995), 20 * softening)


def _color(field, images, limits):
    """Color image that keeps colors at any brightness, after Lupton et al. (2004)."""
    softening, white = limits
    # A galaxy of usual color comes out white: it is brighter in z than in g.
    usual = {"u": 0.3, "g": 0.6, "r": 1.0, "i": 1.4, "z": 1.6}
    planes = [
        images[band] / field.conditions[band].adu_per_nmgy / usual.get(band, 1.0)
        for band in _color_bands(field)
    ]
    # The sky is dark gray, so that noise below it is seen as well.
    rgb = np.maximum(np.array(planes) + softening, 1e-3 * softening)
    mean = rgb.mean(axis=0)
    rgb *= np.arcsinh(mean / softening) / (mean * np.arcsinh(white / softening))
    # Where one color saturates, the pixel keeps its hue.
    rgb /= np.maximum(rgb.max(axis=0), 1)
    return np.moveaxis(rgb, 0, -1)
