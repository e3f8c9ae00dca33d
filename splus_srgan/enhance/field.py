# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The work of one call of the enhancer: section by section, then as a whole."""

from __future__ import annotations

import copy
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from splus_srgan.enhance.flux_anchor import REACH as ANCHOR_REACH
from splus_srgan.enhance.planes import FACTOR, cut, fine_place, upsample
from splus_srgan.enhance.remote import sections_on_workers
from splus_srgan.enhance.section import finish, generate, prepare
from splus_srgan.enhance.tiles import sections, within
from splus_srgan.enhance.uncertainty import calibrate_std, table_of, uncertainty_of
from splus_srgan.images.bands import tidy_band
from splus_srgan.images.grid import pixel_scale
from splus_srgan.pixels.background import sky_of_enhanced
from splus_srgan.pixels.missing import REACH as FILL_REACH
from splus_srgan.utils.memory import give_back

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from splus_srgan.enhance.planes import Planes
    from splus_srgan.enhance.restart import Journal
    from splus_srgan.enhance.restorers import Restorer
    from splus_srgan.enhance.tiles import Section
    from splus_srgan.utils.types import FloatArray, ProgressBar

__all__ = ["Enhancement"]


@dataclass
class Enhancement:
    """
    One field on its way to the fine grid.

    Attributes
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    restorers : list of `~splus_srgan.enhance.restorers.Restorer`
        Weights, with what runs their generator and the bands that it restores.
    flux_factor : float
        Factor for the values on the fine grid.
    sky, sigma : `~numpy.ndarray`
        As `~splus_srgan.enhance.sky.sky_and_sigma` gives them.
    sky_measured : `~numpy.ndarray` of bool, shape (n_band,)
        Whether the sky of a band was measured.
    outside : `~numpy.ndarray` of bool, shape (n_band,)
        Whether a band lies outside the domain of the weights.
    input_psfs : list of `~splus_srgan.enhance.psf.InputPSF`
        PSF of each band of the input.
    report : `~splus_srgan.enhance.guard.InputReport`
        Unusual properties of the input.
    strength : float
        Strength of the flux anchor.
    uncertainty : {False, True, "ensemble"}
        Whether to give standard deviations.
    block_size : "auto" or int
        Side of the generator's blocks.
    record : dict
        Entries for the headers of all bands.
    client : `distributed.Client` or None
        Client of the cluster whose workers compute the sections; `None` for this process.
    stars : `~splus_srgan.enhance.stars.FieldStars` or None
        Stars that are fitted; `None` leaves them to the generator.
    """

    stack: Any
    restorers: list[Restorer]
    flux_factor: float
    sky: np.ndarray
    sigma: np.ndarray
    sky_measured: np.ndarray
    outside: np.ndarray
    input_psfs: list
    report: Any
    strength: float
    uncertainty: bool | str
    block_size: int | str
    record: dict
    client: Any = None
    stars: Any = None

    @cached_property
    def shape(self) -> tuple[int, ...]:
        """Shape of the output, ``(n_band, 2 ny, 2 nx)``."""
        n_band, ny, nx = self.stack.data.shape
        return n_band, FACTOR * ny, FACTOR * nx

    @cached_property
    def levels(self) -> FloatArray:
        """Sky of each band of the input, per input pixel; the median of a map."""
        return np.median(self.sky, axis=(1, 2))

    @cached_property
    def psfs(self) -> list[tuple[float, ...] | None]:
        """Core and wings of the PSF of each band of the input; `None` where not known."""
        return [psf.core for psf in self.input_psfs]

    @cached_property
    def target_psfs(self) -> list[tuple[float, ...]]:
        """PSF of each band of the output: the core of the model card, the wings of the input."""
        cards = [self.restorer_of(k).card for k in range(len(self.input_psfs))]
        cores = [(card.target_psf["fwhm"], card.target_psf["beta"]) for card in cards]
        return [(*core, psf.wings) for core, psf in zip(cores, self.input_psfs, strict=True)]

    @cached_property
    def pixel_scale(self) -> float:
        """Arcsec per input pixel; without a WCS, that of the model card."""
        return pixel_scale(self.stack.wcs, default=self.restorers[0].card.pixel_scale)

    @property
    def with_stars(self) -> list[int]:
        """Indices of the bands in which stars are fitted."""
        found = [] if self.stars is None else self.stars.stars
        return [k for k, own in enumerate(found) if len(own)]

    @property
    def stretch(self) -> dict[str, float]:
        """Options of the stretch; weights that are chosen together share them."""
        return self.restorers[0].card.stretch

    def restorer_of(self, k: int) -> Restorer:
        """The restorer of the band at an index."""
        return next(restorer for restorer in self.restorers if k in restorer.places)

    @cached_property
    def _parts(self) -> list[Section]:
        anchored = self.strength and any(psf is not None for psf in self.psfs)
        margin = ANCHOR_REACH if anchored else 0
        halo = max(restorer.runner.radius for restorer in self.restorers) + FILL_REACH
        return sections(self.stack.data.shape[1:], margin=margin, halo=halo)

    @property
    def several(self) -> bool:
        """Whether the field is enhanced in several sections."""
        return len(self._parts) > 1

    def compute(
        self,
        planes: Planes,
        progress_bar: ProgressBar | None = None,
        journal: Journal | None = None,
    ) -> list[float]:
        """
        Fill the planes, except for sections that are in a journal already.

        Parameters
        ----------
        planes : `~splus_srgan.enhance.planes.Planes`
            Takes the pixels.
        progress_bar : callable, optional
            Wraps one iterable: the blocks of an image that is one section and made here, else the
            sections.
        journal : `~splus_srgan.enhance.restart.Journal`, optional
            Journal of the finished sections; each new one is added.

        Returns
        -------
        fine_sky : list of float
            Sky of each enhanced band, per input pixel.
        """
        is_one = self.client is None and not self.several
        inner, outer = (progress_bar, None) if is_one else (None, progress_bar)
        with closing(self._ends(planes, journal, inner)) as ends:
            for _ in self._parts if outer is None else outer(self._parts):
                k, made = next(ends)
                if made is None:
                    continue
                planes.write(self._parts[k].kept, made)
                if journal is not None:
                    journal.note("made", k, planes, self._parts[k].kept)
        fine_sky = self._fine_sky(planes)
        if self.uncertainty:
            self._calibrate(planes, fine_sky, journal)
        return fine_sky

    def _ends(
        self, planes: Planes, journal: Journal | None, bar: ProgressBar | None
    ) -> Generator[Any, None, None]:
        """Number and pixels of each section as it ends; no pixels of those in the journal."""
        todo = {}
        for k, part in enumerate(self._parts):
            if journal is not None and journal.has(k, planes, part.kept):
                yield k, None
            else:
                todo[k] = part
        if self.client is not None:
            yield from sections_on_workers(self.client, self, todo)
            return
        for k, part in todo.items():
            yield k, self.compute_section(part, bar)

    def compute_section(self, part: Section, bar: ProgressBar | None = None) -> tuple[Any, ...]:
        """Image, mask, quality and standard deviations of the kept part of a section."""
        view = prepare(self, part)
        give_back()
        made = generate(self, view, bar)
        give_back()
        return finish(self, view, *made)

    def without_pixels(self) -> Enhancement:
        """What all sections have in common, for another process."""
        work: Any = copy.copy(self)
        for name in ("levels", "psfs", "target_psfs", "pixel_scale"):
            setattr(work, name, getattr(self, name))
        nothing = {"data": None, "mask": None, "wcs": None, "psfs": (), "source": None}
        work.stack = replace(self.stack, **nothing)
        work.sky = work.sigma = work.client = None
        return work

    def origin_of_errors(self, k: int) -> str | None:
        """
        Origin of the standard deviations of a band, for the header.

        Parameters
        ----------
        k : int
            Index of the band.

        Returns
        -------
        origin : str or None
            ``"generator"`` or ``"ensemble"``, and whether the model card lacks their calibration.
        """
        if not self.uncertainty:
            return None
        origin = "generator" if self.uncertainty is True else "ensemble"
        return origin if self._calibration(k) else f"{origin} (not calibrated)"

    def _calibration(self, k: int) -> Any:
        name = "calibration" if self.uncertainty is True else "ensemble"
        restorer = self.restorer_of(k)
        stated = uncertainty_of(restorer.card.uncertainty, len(restorer.places))
        return table_of(stated.get(name), tidy_band(self.stack.bands[k]))

    def _calibrate(
        self, planes: Planes, fine_sky: Sequence[float], journal: Journal | None
    ) -> None:
        """Calibrate the standard deviations on the final image, above its own sky."""
        tables = [self._calibration(k) for k in range(len(self.stack.bands))]
        if not any(tables) and not self.with_stars:
            return
        raised = np.array(fine_sky) - self.levels
        sky = self.flux_factor * (self.sky + raised[:, None, None])
        sigma = self.flux_factor * self.sigma
        for number, part in enumerate(self._parts):
            if journal is not None and journal.calibrated(number):
                continue
            place, kept = fine_place(part.kept), within(part.kept, part.needed, FACTOR)
            levels, noise = (cut(upsample(cut(a, part.needed)), kept) for a in (sky, sigma))
            for k, (image, std) in enumerate(zip(planes.image, planes.uncertainty, strict=True)):
                one = np.array(std[place], np.float32)[None]
                stars = self.stars if k in self.with_stars else None
                if table := tables[k]:
                    signal = image[place] - levels[k]
                    if stars:
                        signal = signal - self.flux_factor * stars.shown(k, part.kept)
                    one = calibrate_std(one, signal[None], noise[k : k + 1], table)
                if stars:
                    one = np.hypot(one, self.flux_factor * stars.std(k, part.kept))
                if table or stars:
                    std[place] = one[0]
            if journal is not None:
                journal.note("calibrated", number, planes, part.kept)

    def _fine_sky(self, planes: Planes) -> list[float]:
        """
        Sky of each enhanced band, per input pixel.

        Measured on it where that of the input was, else the given one; the median of a map.
        """
        levels = self.levels.tolist()
        for k in np.flatnonzero(self.sky_measured):
            # The planes hold flux per output pixel.
            level, sigma = (self.flux_factor * np.median(a[k]) for a in (self.sky, self.sigma))
            found = sky_of_enhanced(planes.image[k], level, sigma, mask=self.stack.mask[k])
            levels[k] = float(found / self.flux_factor)
        return levels
