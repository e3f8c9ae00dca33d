# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What turning a field changes in its output."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable
from astropy.wcs import WCS

from splus_srgan.evaluation.comparison import compare_field, fine_scale
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.artefacts_sky import sky_pixels
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.images.repack import made_like
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from astropy.nddata import CCDData
    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.limits import Limit
    from splus_srgan.utils.types import FloatArray

__all__ = ["checks_symmetry", "symmetry_residual"]

_SOURCE = 5.0  # sky units per pixel, of sources whose change counts
_FEWEST = 20  # of their pixels
_SINGLE = "image"  # band of an image that comes without a name
_TURNS = {
    "turned by 90": (1, False),
    "turned by 180": (2, False),
    "turned by 270": (3, False),
    "mirrored": (0, True),
    "mirrored, turned by 90": (1, True),
    "mirrored, turned by 180": (2, True),
    "mirrored, turned by 270": (3, True),
}


def symmetry_residual(
    enhancer: Callable[..., Any],
    data: EvaluationPair | Mapping[str, CCDData] | CCDData,
    *,
    turns: Sequence[str] = tuple(_TURNS),
) -> QTable:
    r"""
    Compare the result for a turned field with the turned result.

    Parameters
    ----------
    enhancer : callable
        Takes a mapping of band to `~astropy.nddata.CCDData` and gives the same on the
        finer grid, as `~splus_srgan.SRGANEnhancer` does.
    data : `~splus_srgan.evaluation.pairs.EvaluationPair`, mapping or `~astropy.nddata.CCDData`
        The field, ``(ny, nx)``: a pair, of which the input is turned; band to image, or one image.
    turns : sequence of str, optional
        Which of the seven: ``"turned by 90"`` (180, 270), ``"mirrored"``, or ``"mirrored,
        turned by 90"`` (180, 270).

    Returns
    -------
    table : `~astropy.table.QTable`
        ``turn, band``; ``sky``, the root mean square of the difference in the sky, in sky
        units; ``sources``, that where the output is above 5 sky units, as a fraction of its
        own root mean square there.  NaN where there is no sky, or no source.

    Notes
    -----
    The difference is :math:`f(Tx) - T f(x)` for the enhancer :math:`f`, the field :math:`x`
    and a turn :math:`T`, turned back.

    Raises
    ------
    ValueError
        If a turn is unknown, or the output lacks a band or is in another unit.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.measure.turning import symmetry_residual
    >>> field = simulate_field(4, shape=(48, 48), kind="blank").observed
    >>> table = symmetry_residual(SRGANEnhancer(device="cpu"), field, turns=["mirrored"])
    >>> table["band"].tolist(), bool(table["sky"].max() < 0.05)
    (['g', 'r', 'z'], True)
    """
    for turn in turns:
        check_one_of("turns", turn, tuple(_TURNS))
    single = not isinstance(data, EvaluationPair | Mapping)
    if not isinstance(data, EvaluationPair):
        data = EvaluationPair("", dict(data) if isinstance(data, Mapping) else {_SINGLE: data})
    images = data.input
    plain = _enhanced(enhancer, images, single)
    # With the input at hand, an output need not state sky and sigma.
    bands = compare_field(data, plain).bands
    rows = []
    for name in turns:
        turned = {band: _turned_image(image, *_TURNS[name]) for band, image in images.items()}
        result = _enhanced(enhancer, turned, single)
        for band, one in bands.items():
            back = _turned_back(np.asarray(result[band].data, float), *_TURNS[name])
            difference = back - np.asarray(plain[band].data, float)
            difference *= 4 * fine_scale(plain[band].unit) / one.sigma
            image = np.where(np.isfinite(difference), one.sky_units, np.nan)
            free = sky_pixels(image)
            # Not every faint bump that is no sky: what it is changes with the noise.
            there = np.nan_to_num(image) > _SOURCE
            if there.sum() < _FEWEST:
                there[:] = False
            changes = _rms(difference[free]), _rms(difference[there], image[there])
            rows.append((name, "" if single else band, *changes))
    return QTable(rows=rows, names=("turn", "band", "sky", "sources"))


def _enhanced(enhancer: Callable[..., Any], images: Mapping[str, CCDData], single: bool) -> Any:
    return {_SINGLE: enhancer(images[_SINGLE])} if single else enhancer(images)


def _rms(values: FloatArray, reference: FloatArray | None = None) -> float:
    """Root mean square, as a fraction of that of a reference; NaN of nothing."""
    if not len(values):
        return math.nan
    rms = math.sqrt(np.mean(values**2))
    return rms if reference is None else rms / math.sqrt(np.mean(reference**2))


def _turned(array: FloatArray, quarters: int, mirrored: bool) -> FloatArray:
    return np.rot90(array[:, ::-1] if mirrored else array, quarters)


def _turned_back(array: FloatArray, quarters: int, mirrored: bool) -> FloatArray:
    back = np.rot90(array, -quarters)
    return back[:, ::-1] if mirrored else back


def _turned_image(image: CCDData, quarters: int, mirrored: bool) -> CCDData:
    """An image turned, with a WCS of the same scale so that nobody sees another domain."""
    mask = None if image.mask is None else _turned(np.asarray(image.mask), quarters, mirrored)
    data = np.ascontiguousarray(_turned(np.asarray(image.data), quarters, mirrored))
    wcs = None if image.wcs is None else _turned_wcs(image.wcs, data.shape, quarters, mirrored)
    parts = {"unit": image.unit, "mask": mask, "meta": image.meta.copy(), "wcs": wcs}
    return made_like(image, data, parts)


def _turned_wcs(wcs: WCS, shape: tuple[int, ...], quarters: int, mirrored: bool) -> WCS:
    """The linear part of a WCS on the turned grid."""
    old = shape if quarters % 2 == 0 else shape[::-1]
    places = [_turned(grid, quarters, mirrored) for grid in np.indices(old)[::-1].astype(float)]
    start = np.array([p[0, 0] for p in places])
    # Columns: what a step along the new x and the new y is on the old grid.
    steps = np.transpose([[p[0, 1] - p[0, 0] for p in places], [p[1, 0] - p[0, 0] for p in places]])
    turned = WCS(naxis=2)
    turned.wcs.ctype = [str(kind).removesuffix("-SIP") for kind in wcs.wcs.ctype]
    turned.wcs.crval, turned.wcs.cunit = wcs.wcs.crval, wcs.wcs.cunit
    turned.wcs.cd = wcs.pixel_scale_matrix @ steps
    turned.wcs.crpix = np.linalg.solve(steps, wcs.wcs.crpix - 1 - start) + 1
    return turned


def checks_symmetry(
    table: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge what turning the field changes.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Rows of `symmetry_residual`, of one field or many.
    bands : sequence of str, optional
        Bands to judge; those of the table.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Per band: the worst turn of the worst field, in the sky and in sources.
    """
    checks = []
    for band in dict.fromkeys(table["band"]) if bands is None else bands:
        rows = table[table["band"] == band]
        for key in ("sky", "sources"):
            values = np.asarray(rows[key], float)
            values = values[np.isfinite(values)]
            value = float(values.max()) if len(values) else math.nan
            note = "" if len(values) else f"no {key}"
            checks.append(limits[f"turned {key}"].check(band, value, count=len(values), note=note))
    return checks
