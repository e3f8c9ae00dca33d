# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What one call of the enhancer does: section by section, then the whole."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy import fft, ndimage

from splus_srgan.enhance.blocks import MIN_BLOCK
from splus_srgan.enhance.flux_anchor import REACH as ANCHOR_REACH
from splus_srgan.enhance.flux_anchor import anchor_flux
from splus_srgan.enhance.sections import sections, within
from splus_srgan.enhance.uncertainty import calibrate_std, linear_std
from splus_srgan.images.bands import describe_plane, tidy_band
from splus_srgan.images.header import wing_share_from_header, winged_psf_from_header
from splus_srgan.images.io.fields import add_provenance
from splus_srgan.images.meta import upsample_meta
from splus_srgan.images.quality import quality_plane
from splus_srgan.images.unpack import fill_missing, repack
from splus_srgan.images.wcs import upsample_wcs
from splus_srgan.pixels.background import sky_of_enhanced
from splus_srgan.pixels.missing import REACH as FILL_REACH
from splus_srgan.pixels.psf import psf_image
from splus_srgan.pixels.stretch import NoiseAsinhStretch

__all__ = [
    "FACTOR",
    "Enhancement",
    "Planes",
    "band_record",
    "fine_meta",
    "input_psfs",
    "saturated_pixels",
    "upsample",
]

FACTOR = 2
_PSF_RADIUS = 40  # output pixels: 98 % of the light, wings included
_NEAR_SATURATION = 0.95  # of the level in the header: coadds saturate a little below it
# Side of the blocks: with a halo of 45, 384 costs 1.5 times the work of one piece.
_BLOCK_SIZE = {"cpu": 384, "cuda": 1024}


@dataclass
class Planes:
    """
    Where the output goes: for each band a plane ``(2 ny, 2 nx)`` that takes slices.

    Attributes
    ----------
    image, mask, quality, uncertainty : sequence of array-like
        In memory they are arrays ``(n_band, 2 ny, 2 nx)``; they can be in a file
        (`~splus_srgan.images.io.reserve.FilePlane`).
        ``uncertainty`` is `None` where it is not asked for.
    """

    image: Any
    mask: Any
    quality: Any
    uncertainty: Any = None

    @classmethod
    def in_memory(cls, shape, *, uncertainty, allocate=np.empty):
        """Arrays for an output of a shape ``(n_band, 2 ny, 2 nx)``."""
        kinds = (np.float32, bool, np.uint8, np.float32 if uncertainty else None)
        return cls(*(None if kind is None else allocate(shape, kind) for kind in kinds))


@dataclass
class Enhancement:
    """
    One field on its way to the fine grid.

    Attributes
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    card : `~splus_srgan.models.weights.WeightsCard`
        Weights.
    runner : `~splus_srgan.enhance.runner.Runner`
        What runs their generator.
    flux_factor : float
        What a value is multiplied with on the fine grid.
    sky, sigma : `~numpy.ndarray`
        As `~splus_srgan.enhance.sky.sky_and_sigma` gives them.
    sky_measured : `~numpy.ndarray` of bool, shape (n_band,)
        Whether the sky of a band was measured.
    outside : `~numpy.ndarray` of bool, shape (n_band,)
        Whether a band lies outside the domain of the weights.
    strength : float
        Of the flux anchor.
    uncertainty : {False, True, "ensemble"}
        Whether to give standard deviations.
    block_size : "auto" or int
        Side of the generator's blocks.
    record : dict
        What goes into the header of all bands.
    """

    stack: Any
    card: Any
    runner: Any
    flux_factor: float
    sky: np.ndarray
    sigma: np.ndarray
    sky_measured: np.ndarray
    outside: np.ndarray
    strength: float
    uncertainty: bool | str
    block_size: int | str
    record: dict

    @cached_property
    def shape(self):
        """Shape of the output, ``(n_band, 2 ny, 2 nx)``."""
        n_band, ny, nx = self.stack.data.shape
        return n_band, FACTOR * ny, FACTOR * nx

    @cached_property
    def psfs(self):
        """PSF of each band of the input; `None` where not known."""
        return input_psfs(self.stack)

    @cached_property
    def target_psfs(self):
        """PSF of each band of the output: the core of the card, the wings of the input."""
        core = self.card.target_psf["fwhm"], self.card.target_psf["beta"]
        return [(*core, wing_share_from_header(meta)) for meta in self.stack.metas]

    @cached_property
    def _parts(self):
        anchored = self.strength and any(psf is not None for psf in self.psfs)
        margin = ANCHOR_REACH if anchored else 0
        halo = self.runner.radius + FILL_REACH
        return sections(self.stack.data.shape[1:], margin=margin, halo=halo)

    @cached_property
    def missing_value(self):
        """What a pixel far from any valid one most likely holds, per band."""
        return np.median(self.sky, axis=(1, 2))

    def compute(self, planes, progress_bar=None):
        """Fill the planes; the sky of each enhanced band, per input pixel."""
        # One bar: over the blocks of an image that is one section, else over the sections.
        several = len(self._parts) > 1
        inner = None if several else progress_bar
        outer = progress_bar if several and progress_bar is not None else iter
        for part in outer(self._parts):
            self._write(planes, part, self._compute_section(part, inner))
        fine_sky = self._fine_sky(planes)
        if self.uncertainty:
            self._calibrate(planes, fine_sky)
        return fine_sky

    @staticmethod
    def _write(planes, part, made):
        rows, columns = _fine(part.kept)
        wholes = planes.image, planes.mask, planes.quality, planes.uncertainty
        for whole, own in zip(wholes, made, strict=True):
            if own is not None:
                for k, plane in enumerate(own):
                    whole[k][rows, columns] = plane

    def _compute_section(self, part, bar):
        """Image, mask, quality and standard deviations of what is kept of a section."""
        data, mask = (_cut(array, part.needed) for array in (self.stack.data, self.stack.mask))
        sky, sigma = (_cut(array, part.needed) for array in (self.sky, self.sigma))
        filled = fill_missing(data, mask, default=self.missing_value)
        saturated = saturated_pixels(self.stack.metas, filled)
        quality = self._quality(filled, mask, saturated, sky, sigma)
        kept = within(part.kept, part.needed, FACTOR)
        quality, missing = _cut(quality, kept), _cut(_repeat(mask), kept)
        y = NoiseAsinhStretch(sky, sigma, **self.card.stretch)(filled)
        # From here on, what is generated is enough.
        region = within(part.generated, part.needed)
        filled, told = _cut(filled, region), _cut(mask | saturated, region)
        sky, sigma = _cut(sky, region), _cut(sigma, region)
        fine, std = self._generate(y, region, sky, sigma, bar)
        with fft.set_workers(self.runner.threads):
            fine = anchor_flux(
                fine,
                filled,
                sky,
                sigma,
                psfs=self.psfs,
                target_psfs=self.target_psfs,
                pixel_scale=self._pixel_scale,
                strength=self.strength,
                mask=told,
            )
        kept = within(part.kept, part.generated, FACTOR)
        if std is not None:
            std = _cut(std, kept)
            std = np.where(missing, np.float32(np.inf), std * np.float32(self.flux_factor))
        return _cut(fine, kept) * np.float32(self.flux_factor), missing, quality, std

    def _quality(self, filled, mask, saturated, sky, sigma):
        extrapolated, brightest = self.outside[:, None, None], self.card.domain.get("signal")
        if brightest is not None:
            extrapolated = extrapolated | (filled > sky + brightest * sigma)
        radius = self.runner.radius
        return quality_plane(
            mask, saturated, radius=radius, extrapolated=extrapolated, factor=FACTOR
        )

    def _generate(self, y, region, sky, sigma, bar):
        """
        Linear images of a region of the stretched ones, still per input pixel.

        With them, if asked for, their standard deviations before calibration.
        """
        groups = [[k] for k in range(len(y))]
        if not self.card.takes_any_band:
            names = [tidy_band(band) for band in self.stack.bands]
            groups = [[names.index(band) for band in self.card.bands]]
        shape = tuple(part.stop - part.start for part in region)
        fine = np.empty((len(y), *(FACTOR * n for n in shape)), np.float32)
        log_scale = np.empty_like(fine) if self.uncertainty else None
        size = self._block_size(shape)
        for group in groups:
            planes = self.runner.generate(y[group], block_size=size, bar=bar, region=region)
            fine[group] = planes[: len(group)]
            if self.uncertainty:
                log_scale[group] = planes[len(group) :]
        fine_sigma, std = upsample(sigma), None
        if self.uncertainty:
            kind = self.card.generator["scale"] if self.uncertainty is True else "ensemble"
            std = linear_std(fine, log_scale, fine_sigma, kind=kind, **self.card.stretch)
        stretch = NoiseAsinhStretch(upsample(sky), fine_sigma, **self.card.stretch)
        return stretch.inverse(fine), std

    def _block_size(self, shape):
        if self.block_size != "auto":
            return self.block_size
        size = _BLOCK_SIZE.get(self.runner.engine.device.type, _BLOCK_SIZE["cpu"])
        # One piece where it is not much larger than a block.
        return max(MIN_BLOCK, *shape) if max(shape) <= 1.4 * size else size

    def _calibrate(self, planes, fine_sky):
        """Make standard deviations hold what they say of the final image, above its own sky."""
        table = self.card.uncertainty.get("calibration" if self.uncertainty is True else "ensemble")
        if not table:
            return
        raised = np.array(fine_sky) - np.median(self.sky, axis=(1, 2))
        sky = self.flux_factor * (self.sky + raised[:, None, None])
        sigma = self.flux_factor * self.sigma
        for part in self._parts:
            place, kept = _fine(part.kept), within(part.kept, part.needed, FACTOR)
            levels, noise = (_cut(upsample(_cut(a, part.needed)), kept) for a in (sky, sigma))
            for k, (image, std) in enumerate(zip(planes.image, planes.uncertainty, strict=True)):
                one = np.array(std[place], np.float32)[None]
                signal = image[place] - levels[k]
                std[place] = calibrate_std(one, signal[None], noise[k : k + 1], table)[0]

    @cached_property
    def _pixel_scale(self):
        """Arcsec per input pixel; without a WCS, that of the card."""
        wcs = self.stack.wcs
        if wcs is None or not wcs.has_celestial:
            return self.card.pixel_scale
        return float(np.mean(proj_plane_pixel_scales(wcs.celestial))) * 3600

    def _fine_sky(self, planes):
        """
        Sky of each enhanced band, per input pixel.

        Measured on it where that of the input was, else the one given; of a map, the median.
        """
        levels = np.median(self.sky, axis=(1, 2)).tolist()
        for k in np.flatnonzero(self.sky_measured):
            # The planes hold flux per output pixel.
            level, sigma = (self.flux_factor * np.median(a[k]) for a in (self.sky, self.sigma))
            found = sky_of_enhanced(planes.image[k], level, sigma, mask=self.stack.mask[k])
            levels[k] = float(found / self.flux_factor)
        return levels

    def result(self, planes, fine_sky):
        """The output in the class and form of the input."""
        return self._repack(self.stack, planes, fine_sky)

    def by_band(self, planes, fine_sky):
        """The output as a mapping, whatever the form of the input: what a file holds."""
        stack = self.stack
        if stack.form != "mapping":
            stack = replace(stack, form="mapping", source=dict.fromkeys(stack.bands, stack.source))
        if self.stack.form == "stack":
            stack = replace(stack, metas=tuple(meta.copy() for meta in stack.metas))
            for meta, band in zip(stack.metas, stack.bands, strict=True):
                describe_plane(meta, band)
        return self._repack(stack, planes, fine_sky)

    def outline(self):
        """
        The output by band, with all but its pixels.

        Returns
        -------
        field : dict of str to NDData
            Their arrays hold zeros and take no memory.  The sky of the enhanced image is not
            known yet; what stands for it differs from band to band.
        """
        planes = Planes.in_memory(self.shape, uncertainty=self.uncertainty, allocate=_zeros)
        return self.by_band(planes, [float(k) for k in range(self.shape[0])])

    def _repack(self, stack, planes, fine_sky):
        metas = []
        for k, (band, meta) in enumerate(zip(stack.bands, stack.metas, strict=True)):
            own = band_record(band, k, self.sky, self.sigma) | {"fine_sky": fine_sky[k]}
            own["flux_anchor"] = self.strength if self.psfs[k] else 0.0
            metas.append(fine_meta(meta, self.record | own, self.flux_factor))
        scale = self.card.pixel_scale / FACTOR
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
                for psf in self.target_psfs
            ],
        )


def _zeros(shape, kind):
    return np.broadcast_to(np.zeros((), kind), shape)


def _fine(place):
    """Rows and columns on the fine grid."""
    return tuple(slice(FACTOR * part.start, FACTOR * part.stop) for part in place)


def _cut(array, where):
    """Part of a stack; numbers per band stay what they are."""
    return array if array.shape[1:] == (1, 1) else array[(slice(None), *where)]


def _repeat(plane):
    return plane.repeat(FACTOR, 1).repeat(FACTOR, 2)


def upsample(values):
    """A map on the fine grid, linear between the pixel centres; numbers stay."""
    if values.shape[1:] == (1, 1):
        return values
    zoom = (1, FACTOR, FACTOR)
    return ndimage.zoom(values, zoom, order=1, mode="nearest", grid_mode=True)


def _number(value):
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def saturated_pixels(metas, filled):
    """Pixels at or close to the saturation level that the header of their band states."""
    saturated = np.zeros(filled.shape, bool)
    for k, meta in enumerate(metas):
        level = _number(meta.get("SATURATE"))
        if level is not None and level > 0:
            saturated[k] = filled[k] >= _NEAR_SATURATION * level
    return saturated


def input_psfs(stack):
    """PSF of each band, from its header; `None` where not known."""
    if stack.wcs is None or not stack.wcs.has_celestial:
        return [None] * len(stack.bands)
    return [winged_psf_from_header(meta) for meta in stack.metas]


def band_record(band, index, sky, sigma):
    """Sky and sigma of a band; of a map, the median."""
    return {
        "band": band,
        "sky": float(np.median(sky[index])),
        "sigma": float(np.median(sigma[index])),
    }


def fine_meta(meta, record, flux_factor):
    """The input's metadata on the fine grid, with what was done to it."""
    meta = upsample_meta(meta, factor=FACTOR, flux_scale=flux_factor, new_psf=True)
    add_provenance(meta, record)
    return meta
