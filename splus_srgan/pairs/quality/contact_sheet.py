# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""All pairs of a set in one picture: input, target and their difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pixels.robust import SIGMA_PER_DEVIATION
from splus_srgan.utils.files import atomic_path
from splus_srgan.utils.optional import import_optional

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from splus_srgan.utils.types import FilePath, Images

__all__ = ["contact_sheet", "is_contact_sheet"]

_MAKER = "splus_srgan contact sheet"  # by which a sheet is recognized
_THUMB = 1.6  # inches
_TEXT = 0.45  # inches above a row of thumbnails
_GAP = 0.15  # inches
_DPI = 100
_COLORS = {"accept": "#1a7f37", "reject": "#b35900", "failed": "#b00020"}
_TALLEST = 60000  # pixels that the PNG backend can draw


def contact_sheet(
    pairs: Iterable[tuple[str, Images | None, Images | None]],
    reports: Mapping[str, tuple[str, Sequence[str]]],
    path: FilePath,
    *,
    columns: int | None = None,
    band: str | None = None,
    overwrite: bool = False,
) -> Path:
    """
    Draw all pairs with their verdicts into a PNG file.

    Each pair is three thumbnails: the input; the target; and the input minus the target
    on the pixels of the input, in units of its noise from -5 to 5. Grays run as asinh
    from 2 sigma below the sky.

    Parameters
    ----------
    pairs : iterable of tuple
        ``(name, input, target)``, the latter two band to `~astropy.nddata.CCDData` of
        shape ``(ny, nx)`` and ``(2 ny, 2 nx)``, or `None` where there is no image. They
        are drawn one at a time.
    reports : mapping of str to tuple
        Name to ``(verdict, reasons)``: ``"accept"``, ``"reject"`` or ``"failed"``, and a
        sequence of str.
    path : path-like
        The file.
    columns : int, optional
        Pairs side by side; 1 up to 6 pairs, else 2 or 3.
    band : str, optional
        Band to draw; by default the middle one of each pair.
    overwrite : bool, optional
        Whether the file may exist.

    Returns
    -------
    path : `~pathlib.Path`
        The file.

    Raises
    ------
    FileExistsError
        If the file exists and ``overwrite`` is not set.
    ImportError
        If matplotlib is not installed.
    """
    path = Path(path)
    _check_replaceable(path, overwrite)
    import_optional("matplotlib", "plot")
    from matplotlib.figure import Figure

    columns = _columns(len(reports)) if columns is None else columns
    rows = max(1, -(-len(reports) // columns))
    cell = (3 * (_THUMB + 0.04) + _GAP, _THUMB + _TEXT + _GAP)
    size = (columns * cell[0] + _GAP, rows * cell[1] + _GAP)
    figure = Figure(figsize=size, dpi=min(_DPI, _TALLEST / size[1]), facecolor="white")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    for number, (name, first, second) in enumerate(pairs):
        row, column = divmod(number, columns)
        corner = column * cell[0] + _GAP, row * cell[1] + _GAP
        _draw_pair(axes, corner, name, reports[name])
        if first and second:
            _draw_thumbs(axes, corner, *_planes(first, second, band))
    axes.set(xlim=(0, size[0]), ylim=(size[1], 0))
    return _save(figure, path)


def is_contact_sheet(path):
    """
    Tell whether a file is a contact sheet drawn by this package.

    Parameters
    ----------
    path : path-like
        It need not exist.

    Returns
    -------
    known : bool
        `False` for anything else, and if there is no file.
    """
    path = Path(path)
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return _MAKER.encode() in file.read(4096)


def _check_replaceable(path, overwrite):
    if path.exists() and not path.is_file():
        raise FileExistsError(f"{path} is no regular file, and cannot be replaced")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; pass overwrite=True to replace it")


def _columns(count):
    return 1 if count <= 6 else 2 if count <= 40 else 3


def _save(figure, path):
    # Without the version of matplotlib in it, equal sheets are equal files.
    with atomic_path(path, overwrite=True) as temporary:
        metadata = {"Software": _MAKER}
        figure.savefig(temporary, dpi=figure.dpi, format="png", metadata=metadata)
    return path


def _draw_pair(axes, corner, name, report):
    verdict, reasons = report
    x, y = corner
    color = _COLORS.get(verdict, "black")
    axes.text(x, y, f"{name}: {verdict}", color=color, fontsize=9, weight="bold", va="top")
    text = "; ".join(reasons)
    if len(text) > 190:
        text = text[:187] + "..."
    axes.text(x, y + 0.17, _folded(text, 105), color=color, fontsize=6, va="top")


def _folded(text, width):
    import textwrap

    return "\n".join(textwrap.wrap(text, width))


def _planes(first, second, band):
    """The three images of a pair, with the gray limits of each."""
    names = [name for name in first if name in second]
    band = names[len(names) // 2] if band not in names else band
    coarse, fine = _filled(first[band]), _filled(second[band])
    ny, nx = coarse.shape
    binned = fine.reshape(ny, 2, nx, 2).sum(axis=(1, 3))
    (sky, sigma), (sky_fine, sigma_fine) = _sky_and_noise(coarse), _sky_and_noise(fine)
    residual = (coarse - sky - (binned - 4 * sky_fine) * _gain(first, second, band)) / sigma
    return band, (coarse - sky) / sigma, (fine - sky_fine) / sigma_fine, residual


def _gain(first, second, band):
    """Factor that brings the target to the unit of the input, from the brightest pixels of both."""
    if first[band].unit == second[band].unit:
        return 1.0
    sides = (_filled(side[band]) for side in (first, second))
    tops = [np.quantile(data[np.isfinite(data)], 0.99) for data in sides]
    return float(tops[0] / (4 * tops[1])) if tops[1] > 0 else 1.0


def _filled(image):
    data = np.array(image.data, dtype=float)
    if image.mask is not None:
        data[np.broadcast_to(image.mask, data.shape)] = np.nan
    return data


def _sky_and_noise(data):
    """Sky level and noise, as accurate as a picture needs, in a hundredth of the time."""
    edge = max(1, min(data.shape) // 10)
    frame = [data[:edge], data[-edge:], data[:, :edge], data[:, -edge:]]
    sky = _median(np.concatenate([part.ravel() for part in frame]))
    noise = SIGMA_PER_DEVIATION / np.sqrt(2) * _median(np.abs(np.diff(data, axis=1)))
    return sky, noise if noise > 0 else 1.0


def _median(values):
    values = values[np.isfinite(values)]
    return float(np.median(values)) if values.size else 0.0


def _draw_thumbs(axes, corner, band, first, second, residual):
    from matplotlib.colors import AsinhNorm, Normalize

    ny, nx = first.shape
    height, width = (_THUMB * n / max(ny, nx) for n in (ny, nx))
    titles = (f"input {band}", "target", "input - target")
    for index, (title, image) in enumerate(zip(titles, (first, second, residual), strict=True)):
        left, top = corner[0] + index * (_THUMB + 0.04), corner[1] + _TEXT
        if index < 2:
            lit = image[np.isfinite(image)]
            white = max(20.0, float(np.quantile(lit, 0.999))) if lit.size else 20.0
            norm, colors = AsinhNorm(linear_width=2, vmin=-2, vmax=white), "gray"
        else:
            norm, colors = Normalize(-5, 5), "RdBu_r"
        # Rows are drawn downwards here, and the first row of an image belongs at its bottom.
        box = (left, left + width, top + height, top)
        axes.imshow(image, norm=norm, cmap=colors, extent=box, origin="lower", aspect="auto")
        label = {"facecolor": "0.2", "linewidth": 0, "pad": 1}
        axes.text(left + 0.04, top + 0.13, title, fontsize=5.5, color="w", bbox=label)
