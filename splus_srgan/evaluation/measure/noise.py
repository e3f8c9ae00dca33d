# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What is found in the output of an image of noise alone."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import vstack
from scipy import ndimage

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.sources import detect, smoothed_noise
from splus_srgan.images.repack import made_like
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.coadd_noise import DITHERS, correlated_noise
from splus_srgan.pixels.robust import robust_std
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from astropy.nddata import CCDData
    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.compared import ComparedBand, ComparedField
    from splus_srgan.evaluation.limits import Limit

__all__ = ["checks_noise", "noise_field", "noise_only_detections"]

_OWN_NOISE = (
    "decides nothing, but a source finder that measures the noise on the output itself will find "
    "these false sources: give it the input's noise"
)


def noise_field(
    images: Mapping[str, CCDData],
    *,
    seed: int | Sequence[int] = 0,
    shape: tuple[int, int] = (128, 128),
) -> dict[str, CCDData]:
    """
    Draw an image of nothing: noise alone, like that of a field.

    The sky noise of each band is measured and drawn anew, correlated as in a coadd.  Unit, header,
    WCS and PSF are those of the field.

    Parameters
    ----------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)`` of the field.
    seed : int or sequence of int, optional
        Seed of the noise.
    shape : tuple of int, optional
        ``(ny, nx)`` of the noise.

    Returns
    -------
    noise : dict of str to `~astropy.nddata.CCDData`
        Band to image of that shape.

    Raises
    ------
    ValueError
        If the noise of a band cannot be measured.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.measure.noise import noise_field
    >>> field = simulate_field(1, shape=(64, 64), bands=("r",))
    >>> noise_field(field.observed, shape=(32, 32))["r"].shape
    (32, 32)
    """
    rng = np.random.default_rng(seed)
    noise = {}
    for band, image in images.items():
        sigma = measure_background(image.data, mask=image.mask).sigma[0]
        data = np.float32(sigma) * correlated_noise(rng, shape, DITHERS)
        kept = {"unit": image.unit, "wcs": image.wcs, "psf": image.psf}
        noise[band] = made_like(image, data, {"meta": image.meta.copy(), **kept})
    return noise


def noise_only_detections(field: ComparedField, *, threshold: float = 5.0) -> Table:
    """
    Find sources in the output of an input that holds nothing but noise.

    Parameters
    ----------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Such a field.
    threshold : float, optional
        Threshold of a detection, in units of the noise of a smoothed pixel.

    Returns
    -------
    found : `~astropy.table.Table`
        A row per detection: ``field, band``; ``noise``, whose noise it is measured by:
        ``"input"`` (of the input, for a detection in the output), ``"own"`` (of the
        output itself, as by a source finder without further knowledge), or
        ``"control"`` (the input itself, by its own noise); ``x, y`` (input pixels) and
        ``peak`` (in units of that noise).
    """
    return field.each(lambda band: _noise_of_band(band, threshold))


def _noise_of_band(band: ComparedBand, threshold: float) -> Table:
    """Rows of one band."""
    smooth = 4 * ndimage.gaussian_filter(np.asarray(band.output, float), 2.0)
    own = float(robust_std(smooth[~band.hidden])) / smoothed_noise(1.0)
    searches = [("input", band.output, 2, band.sigma), ("control", band.input, 1, band.sigma)]
    # An output that is constant has no noise to measure by.
    if own > 1e-6 * band.sigma:
        searches.append(("own", band.output, 2, own))
    tables = []
    for name, image, factor, sigma in searches:
        found, _ = detect(present(image), sigma, factor=factor, threshold=threshold)
        table = found["x", "y", "peak"]
        table["noise"] = np.full(len(found), name, "U8")
        tables.append(table)
    rows = vstack(tables)
    rows["band"] = np.full(len(rows), band.name, "U16")
    return rows["band", "noise", "x", "y", "peak"]


def checks_noise(
    rows: Table, *, bands: Sequence[str] | None = None, limits: Mapping[str, Limit] = LIMITS
) -> list[Check]:
    """
    Judge what was found in noise alone: by the input's noise it must be nothing.

    Parameters
    ----------
    rows : `~astropy.table.Table`
        As of `noise_only_detections`, of one or many fields; ``meta["n_field"]`` says of how
        many, since a field without detections has no row.
    bands : sequence of str, optional
        Bands to judge; those of the rows.
    limits : dict of str to `~splus_srgan.evaluation.limits.Limit`, optional
        What to keep.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band, detections by the input's noise, and by the output's own.  The latter
        is what the network left of the noise: no measure of what is significant, but the one
        that a source finder takes by itself.
    """
    number = rows.meta.get("n_field", 0)
    checks = []
    for band in dict.fromkeys(rows["band"]) if bands is None else bands:
        mine = rows[rows["band"] == band]
        for name, noise in (("noise alone", "input"), ("own noise", "own")):
            count = int(np.sum(mine["noise"] == noise)) if len(mine) else 0
            note = "" if number else "no field of noise alone"
            if count and noise == "own":
                note = _OWN_NOISE
            value = count / number if number else math.nan
            checks.append(limits[name].check(band, value, count=number, note=note))
    return checks
