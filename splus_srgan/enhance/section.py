# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
One section of a field on its way to the fine grid: read, generated, and trimmed.

The generator has a step of its own, so that the steps before and after it can run at the same
time for other sections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from splus_srgan.enhance.finite import check_finite_output
from splus_srgan.enhance.flux_anchor import anchor_flux
from splus_srgan.enhance.planes import FACTOR, cut, repeat, upsample
from splus_srgan.enhance.tiles import Section, within
from splus_srgan.enhance.uncertainty import linear_std
from splus_srgan.images.header import NEAR_SATURATION, saturated_pixels, saturation_level
from splus_srgan.images.quality import Quality, quality_plane
from splus_srgan.images.unpack import fill_missing
from splus_srgan.pixels.inspection import local_oddities
from splus_srgan.pixels.stretch import NoiseAsinhStretch
from splus_srgan.utils.threads import map_threads, thread_count

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from splus_srgan.enhance.field import Enhancement
    from splus_srgan.utils.types import BoolArray, FloatArray, ProgressBar

__all__ = ["Prepared", "band_saturation", "finish", "generate", "prepare"]

_MODEL_ERROR = 0.03  # of the light of a fitted star in a pixel


@dataclass
class Prepared:
    """
    A section before the generator.

    Attributes
    ----------
    part : `~splus_srgan.enhance.tiles.Section`
        Place of the section.
    y : `~numpy.ndarray`, shape (n_band, ny, nx)
        Stretched image of the needed pixels.
    filled, sky, sigma : `~numpy.ndarray`
        Image without missing pixels, its sky and noise, for the generated pixels.
    useless : `~numpy.ndarray` of bool
        Generated pixels without information on the flux: missing, saturated, or beyond the range
        of the training.
    quality, missing : `~numpy.ndarray`
        Flags and mask of the kept part of the output, on the fine grid.
    """

    part: Section
    y: np.ndarray
    filled: np.ndarray
    sky: np.ndarray
    sigma: np.ndarray
    useless: np.ndarray
    quality: np.ndarray
    missing: np.ndarray

    @property
    def region(self) -> tuple[slice, ...]:
        """Generated pixels, counted from the first needed one."""
        return within(self.part.generated, self.part.needed)


def prepare(work: Enhancement, part: Section) -> Prepared:
    """
    Cut a section out of the input, fill and stretch it.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options.
    part : `~splus_srgan.enhance.tiles.Section`
        Place of the section.

    Returns
    -------
    view : `Prepared`
        Data for the generator, and for the steps after it.
    """
    data, mask = (cut(array, part.needed) for array in (work.stack.data, work.stack.mask))
    sky, sigma = (cut(array, part.needed) for array in (work.sky, work.sigma))
    # The most likely value of a pixel far from any valid one.
    filled = fill_missing(data, mask, default=work.levels)
    saturated = band_saturation(work.stack, filled)
    unusual = _unusual(work, filled, mask, sky, sigma)
    left = _without_stars(work, filled, part, sky, sigma)
    beyond = _beyond(work, left, sky, sigma)
    quality = _quality(work, mask, saturated, beyond, unusual)
    kept = within(part.kept, part.needed, FACTOR)
    quality = cut(quality, kept)
    _flag_stars(work, part, quality)
    # After the stretch, the generated pixels are enough.
    region = within(part.generated, part.needed)
    return Prepared(
        part=part,
        y=NoiseAsinhStretch(sky, sigma, **work.stretch)(left),
        filled=cut(filled, region),
        sky=cut(sky, region),
        sigma=cut(sigma, region),
        useless=cut(mask | saturated | beyond, region),
        quality=quality,
        missing=cut(repeat(mask), kept),
    )


def generate(
    work: Enhancement, view: Prepared, bar: ProgressBar | None = None
) -> tuple[FloatArray, FloatArray | None]:
    """
    Run the generator on a section.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options.
    view : `Prepared`
        The section.
    bar : callable, optional
        Wraps the iterable over the blocks.

    Returns
    -------
    generated : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Stretched generated image.
    log_scale : `~numpy.ndarray` or None
        Logarithm of the scale of its errors, if standard deviations are requested.
    """
    shape = tuple(part.stop - part.start for part in view.region)
    fine = np.empty((len(view.y), *(FACTOR * n for n in shape)), np.float32)
    log_scale = np.empty_like(fine) if work.uncertainty else None
    options = {"block_size": work.block_size, "bar": bar, "region": view.region}
    for restorer in work.restorers:
        for group in restorer.groups:
            planes = restorer.runner.generate(view.y[group], **options)
            fine[group] = planes[: len(group)]
            if log_scale is not None:
                log_scale[group] = planes[len(group) :]
    return fine, log_scale


def finish(
    work: Enhancement, view: Prepared, generated: FloatArray, log_scale: FloatArray | None
) -> tuple[Any, ...]:
    """
    Turn the generated images into linear ones with the observed flux.

    Parameters
    ----------
    work : `~splus_srgan.enhance.field.Enhancement`
        Field and options.
    view : `Prepared`
        The section.
    generated, log_scale
        As `generate` gives them; the first becomes the image, in place.

    Returns
    -------
    image, missing, quality, std : `~numpy.ndarray`
        Kept part, ``(n_band, 2 ny, 2 nx)``; ``std`` is not calibrated yet, and `None`
        if not requested.

    Raises
    ------
    WeightsError, ValueError
        If pixels that are not missing would not be finite.
    """
    kept = within(view.part.kept, view.part.generated, FACTOR)
    fine_sigma, std = upsample(view.sigma), None
    # Pixels that are not finite are reported below, with the cause.
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if log_scale is not None:
            std = _std(work, generated, log_scale, fine_sigma)
            std = cut(std, kept) * np.float32(work.flux_factor)
            check_finite_output(work, std, view.missing, "generator")
            std = np.where(view.missing, np.float32(np.inf), std)
        _to_linear(work, view, generated, fine_sigma)
        check_finite_output(work, cut(generated, kept), view.missing, "generator")
        # The anchor sees all light: what a fit takes for that of a star may be a percent too much.
        _add_stars(work, view, generated)
        _anchor(work, view, generated)
        fine = cut(generated, kept) * np.float32(work.flux_factor)
        check_finite_output(work, fine, view.missing, "anchor")
    return fine, view.missing, view.quality, std


def _without_stars(
    work: Enhancement, filled: FloatArray, part: Section, sky: FloatArray, sigma: FloatArray
) -> FloatArray:
    """The image without the stars that are fitted."""
    left = np.array(filled) if work.with_stars else filled
    for k in work.with_stars:
        seen = work.stars.seen(k, part.needed)
        # Of what is left, so much is likely more than what the model of the PSF lacks.
        likely = 1 / (1 + (_MODEL_ERROR * seen / sigma[k]) ** 2)
        left[k] = sky[k] + likely * (left[k] - seen - sky[k])
    return left


def _add_stars(work: Enhancement, view: Prepared, fine: FloatArray) -> None:
    """Put the stars that were fitted back, in place."""
    for k in work.with_stars:
        fine[k] += work.stars.shown(k, view.part.generated)


def _flag_stars(work: Enhancement, part: Section, quality: NDArray[Any]) -> None:
    """Flag the pixels in which a fitted star is above the sky noise, in place."""
    noise = upsample(cut(work.sigma, part.kept))
    for k in work.with_stars:
        quality[k][work.stars.shown(k, part.kept) > noise[k]] |= np.uint8(Quality.FITTED_STAR)


def _std(work: Enhancement, generated: Any, log_scale: Any, fine_sigma: Any) -> FloatArray:
    std = np.empty_like(generated)
    for restorer in work.restorers:
        card, own = restorer.card, restorer.places
        kind: Any = card.scale if work.uncertainty is True else "ensemble"
        std[own] = linear_std(
            generated[own], log_scale[own], fine_sigma[own], kind=kind, **card.stretch
        )
    return std


def _to_linear(work: Enhancement, view: Prepared, generated: Any, fine_sigma: Any) -> None:
    """Flux per input pixel of stretched values, band by band and in place."""
    fine_sky = upsample(view.sky)
    for k in range(len(generated)):
        band = slice(k, k + 1)
        stretch = NoiseAsinhStretch(fine_sky[band], fine_sigma[band], **work.stretch)
        generated[band] = stretch.inverse(generated[band])


def _anchor(work: Enhancement, view: Prepared, fine: FloatArray) -> None:
    """Anchor the flux, band by band and in place."""
    # What the threads of the bands leave.
    workers = max(1, thread_count() // len(fine))

    def anchor(k: int) -> None:
        band = slice(k, k + 1)
        with fft.set_workers(workers):
            fine[band] = anchor_flux(
                fine[band],
                view.filled[band],
                view.sky[band],
                view.sigma[band],
                psfs=work.psfs[band],
                target_psfs=work.target_psfs[band],
                pixel_scale=work.pixel_scale,
                strength=work.strength,
                mask=view.useless[band],
            )

    map_threads(anchor, range(len(fine)))


def _beyond(work: Enhancement, filled: FloatArray, sky: FloatArray, sigma: FloatArray) -> BoolArray:
    """Pixels brighter than those of the training."""
    beyond = np.zeros(filled.shape, bool)
    for restorer in work.restorers:
        brightest, own = restorer.card.domain.get("signal"), restorer.places
        if brightest is not None:
            beyond[own] = filled[own] > sky[own] + brightest * sigma[own]
    return beyond


def _quality(
    work: Enhancement,
    mask: BoolArray,
    saturated: BoolArray,
    beyond: BoolArray,
    unusual: BoolArray | None,
) -> NDArray[Any]:
    planes = np.empty((len(mask), *(FACTOR * n for n in mask.shape[1:])), np.uint8)
    extrapolated = work.outside[:, None, None] | beyond
    for restorer in work.restorers:
        own = restorer.places
        planes[own] = quality_plane(
            mask[own],
            saturated[own],
            radius=restorer.runner.radius,
            edge=restorer.card.edge_reach,
            extrapolated=extrapolated[own],
            unusual=None if unusual is None else unusual[own],
            factor=FACTOR,
        )
    return planes


def _unusual(
    work: Enhancement, filled: FloatArray, mask: BoolArray, sky: FloatArray, sigma: FloatArray
) -> BoolArray | None:
    """Spikes and blank pixels, in bands that have them; `None` if no band has."""
    odd = [bool({"spikes", "blank"} & set(work.report.of_band(b))) for b in work.stack.bands]
    if not any(odd):
        return None
    planes = np.zeros(filled.shape, bool)
    for k in np.flatnonzero(odd):
        level = NEAR_SATURATION * saturation_level(work.stack.metas[k], work.stack.unit)
        planes[k] = local_oddities(filled[k], mask[k], sky[k], sigma[k], saturation=level)
    return planes


def band_saturation(stack: Any, filled: FloatArray) -> BoolArray:
    """Saturated pixels of each band of a stack, ``(n_band, ny, nx)``, by its header."""
    return np.stack(
        [
            saturated_pixels(image, meta, stack.unit)
            for image, meta in zip(filled, stack.metas, strict=True)
        ]
    )
