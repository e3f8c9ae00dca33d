# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From planes on the fine grid to the objects for the caller, with header, WCS and PSF."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan._version import __version__
from splus_srgan.enhance.planes import FACTOR, Planes
from splus_srgan.enhance.uncertainty import uncertainty_of
from splus_srgan.images.bands import describe_plane, tidy_band
from splus_srgan.images.io.fields import add_provenance
from splus_srgan.images.meta import upsample_meta
from splus_srgan.images.unpack import repack
from splus_srgan.images.wcs import upsample_wcs
from splus_srgan.pixels.psf import psf_image

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from splus_srgan.enhance.field import Enhancement
    from splus_srgan.utils.types import FloatArray

__all__ = ["band_record", "by_band", "call_record", "fine_meta", "outline", "result"]

_PSF_RADIUS = 40  # output pixels: 98 % of the light, wings included


def result(work: Enhancement, planes: Planes, fine_sky: Sequence[float]) -> Any:
    """
    The output in the class and form of the input.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        The finished work.
    planes : `~splus_srgan.enhance.planes.Planes`
        Pixels of the output.
    fine_sky : sequence of float
        Sky of each enhanced band, per input pixel.

    Returns
    -------
    enhanced : object
        Output in the class and form of the input.
    """
    return _repack(work, work.stack, planes, fine_sky)


def by_band(work: Enhancement, planes: Planes, fine_sky: Sequence[float]) -> dict[str, Any]:
    """
    The output as a mapping, whatever the form of the input, as for a file.

    Parameters
    ----------
    work, planes, fine_sky
        As for `result`.

    Returns
    -------
    field : dict of str to NDData
        Image of each band.
    """
    stack = work.stack
    if stack.form != "mapping":
        stack = replace(stack, form="mapping", source=dict.fromkeys(stack.bands, stack.source))
    if work.stack.form == "stack":
        stack = replace(stack, metas=tuple(meta.copy() for meta in stack.metas))
        for meta, band in zip(stack.metas, stack.bands, strict=True):
            describe_plane(meta, band)
    return _repack(work, stack, planes, fine_sky)


def outline(work: Enhancement) -> dict[str, Any]:
    """
    The output by band, with everything except its pixels.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        The work to be done.

    Returns
    -------
    field : dict of str to NDData
        Their arrays hold zeros and take no memory.  The sky of the enhanced image is not
        known yet; its placeholder differs from band to band.
    """
    planes = Planes.of_zeros(work.shape, uncertainty=work.uncertainty)
    return by_band(work, planes, [float(k) for k in range(work.shape[0])])


def _repack(work: Enhancement, stack: Any, planes: Planes, fine_sky: Sequence[float]) -> Any:
    metas = []
    for k, (band, meta) in enumerate(zip(stack.bands, stack.metas, strict=True)):
        own = band_record(band, k, work.sky, work.sigma) | {"fine_sky": fine_sky[k]}
        own |= work.restorer_of(k).record()
        own["flux_anchor"] = work.strength if work.psfs[k] else 0.0
        names = ("output_fwhm", "output_beta", "output_wings")
        own |= dict(zip(names, work.target_psfs[k], strict=True)) | work.input_psfs[k].record()
        own["uncertainty"] = work.origin_of_errors(k)
        own["correlation"] = _correlation(work, k)
        own["n_stars"] = len(work.stars.stars[k]) if work.stars else None
        own["unusual"] = ",".join(work.report.of_band(band)) or None
        metas.append(fine_meta(meta, work.record | own, work.flux_factor))
    scale = work.restorers[0].card.pixel_scale / FACTOR
    return repack(
        stack,
        planes.image,
        mask=planes.mask,
        quality=planes.quality,
        uncertainty=planes.uncertainty,
        wcs=None if stack.wcs is None else upsample_wcs(stack.wcs, factor=FACTOR),
        metas=metas,
        psfs=[
            psf_image(psf, pixel_scale=scale, radius=_PSF_RADIUS).astype(np.float32)
            for psf in work.target_psfs
        ],
    )


def _correlation(work: Enhancement, k: int) -> Any:
    """Correlation of the errors of a band with those of the others that have the same weights."""
    restorer, bands = work.restorer_of(k), work.stack.bands
    stated = uncertainty_of(restorer.card.uncertainty, len(restorer.places))
    known = stated.get("correlation") if work.uncertainty else None
    if not known:
        return None
    found = {}
    for other in restorer.places:
        one, two = tidy_band(bands[k]), tidy_band(bands[other])
        value = known.get(one, {}).get(two, known.get(two, {}).get(one))
        if other != k and value is not None:
            found[two] = value
    return found


def call_record(
    runner: Any, flux_factor: float, bands: Sequence[str], options: Any
) -> dict[str, Any]:
    """Origin of the result of all bands, for the provenance cards."""
    return {
        "version": __version__,
        "bands": ",".join(bands),
        "stretch": "NoiseAsinhStretch",
        "precision": runner.engine.precision,
        "engine": runner.engine.name,
        "device": str(runner.engine.device),
        "block_size": options.block_size,
        "turned": options.turned,
        "factor": FACTOR,
        "flux_per_pixel": flux_factor != 1,
        "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
    }


def band_record(band: str, index: int, sky: FloatArray, sigma: FloatArray) -> dict[str, Any]:
    """Sky and sigma of a band; the median of a map."""
    return {
        "band": band,
        "sky": float(np.median(sky[index])),
        "sigma": float(np.median(sigma[index])),
    }


def fine_meta(meta: Any, record: Mapping[str, Any], flux_factor: float) -> Any:
    """The input's metadata on the fine grid, with a record of the processing."""
    meta = upsample_meta(meta, factor=FACTOR, flux_scale=flux_factor, new_psf=True)
    add_provenance(meta, record)
    return meta
