# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Enhance images: the one entry point, from NDData to NDData."""

from __future__ import annotations

from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING, overload

import numpy as np

from splus_srgan.enhance.domain import outside_domain
from splus_srgan.enhance.fallbacks import warn_of_fallbacks
from splus_srgan.enhance.field import Enhancement
from splus_srgan.enhance.flux_anchor import check_strength
from splus_srgan.enhance.guard import InputReport, check_stack, warn_of_unusual
from splus_srgan.enhance.options import check_head, check_options, check_uncertainty
from splus_srgan.enhance.output import by_band, call_record, outline, result
from splus_srgan.enhance.planes import FACTOR, Planes
from splus_srgan.enhance.psf import check_psf, input_psfs
from splus_srgan.enhance.remote import RemoteRunner
from splus_srgan.enhance.restart import unfinished_file
from splus_srgan.enhance.restorers import Restorer
from splus_srgan.enhance.runner import Runner
from splus_srgan.enhance.sky import sky_and_sigma
from splus_srgan.enhance.stars import field_stars
from splus_srgan.enhance.wild import without_wild_pixels
from splus_srgan.images.bands import tidy_band
from splus_srgan.images.io.fields import check_writable, write_bands
from splus_srgan.images.io.reserve import reserve_bands
from splus_srgan.images.io.sections import kept_open
from splus_srgan.images.io.write import check_names
from splus_srgan.images.units import flux_per_pixel_factor, nanomaggies_of
from splus_srgan.images.unpack import unpack
from splus_srgan.models.choice import card_or_auto, choose_cards
from splus_srgan.utils.cluster import check_client
from splus_srgan.utils.floats import NUMPY_DEFAULTS
from splus_srgan.utils.notebook import html_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Any, Literal, TypedDict, Unpack

    from astropy.nddata import NDData
    from astropy.units import UnitBase
    from astropy.wcs import WCS

    from splus_srgan.images.stars import MeasuredPSF
    from splus_srgan.images.unpack import BandStack
    from splus_srgan.models.weights import WeightsCard
    from splus_srgan.utils.types import (
        Bands,
        FilePath,
        FloatArray,
        Image,
        Images,
        Level,
        ProgressBar,
    )

    class Given(TypedDict, total=False):
        """What the data of a call do not say themselves."""

        bands: Bands | None
        mask: Level | None
        unit: UnitBase | str | None
        wcs: WCS | None
        sky: Level | None
        sigma: Level | None


__all__ = ["SRGANEnhancer"]


class SRGANEnhancer:
    """
    Turn survey images into sharper, less noisy ones with twice the pixels per axis.

    Options are given here, data at the call.  Flux is conserved: a flux per pixel
    is shared among four pixels, a surface brightness is kept.

    Parameters
    ----------
    weights : str, path-like or `~splus_srgan.models.weights.WeightsCard`, optional
        Name of shipped weights, path or URL of a model card, or ``"auto"``:
        ``splus-grz`` for just g, r and z, ``splus`` for two or more other bands of S-PLUS, and
        ``splus-any`` for one band (`~splus_srgan.models.choice.choose_cards`).
    device : str, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: CUDA where it is.
    precision : {"auto", "float32", "bfloat16"}, optional
        Precision of the generator's body; its last layer is always float32.  ``"auto"`` takes
        bfloat16 where the hardware has it; that moves magnitudes by 0.1 mmag, at worst by 2.
    block_size : "auto" or int, optional
        Side of the blocks (input pixels, at least 16) in which a large image is
        generated.  The result does not depend on it.
    flux_anchor : float or bool, optional
        Strength (0 to 1) of the correction that ties the flux of sources to the
        input's (`splus_srgan.enhance.flux_anchor`); `None` follows the model card.  It
        needs the PSF of the input, and is only as good as that; a band whose PSF is unknown is
        not corrected, and its header card SRANCHOR is 0.
    psf : {"auto", "header", "measure"} or mapping, optional
        Where the PSF of each band of the input comes from.  ``"header"``: the cards FWHMMEAN and
        FWHMBETA (beta is 3 without it), if there is a WCS.  ``"measure"``: its stars
        (`~splus_srgan.images.stars.measure_psf`), at least three.  ``"auto"``: the header,
        compared with the stars, or these where it says nothing.  Or a mapping of band to
        ``(FWHM in arcsec, Moffat beta)`` as headers state them, or to a
        `~splus_srgan.images.stars.MeasuredPSF`; the share of the wings may be a third number.
        The header cards SRPSFIN, SRPSFFWH, SRPSFBET and SRPSFWNG say what was taken.
    fit_stars : bool, optional
        Whether stars that stand alone are fitted, and shown at the PSF of the output with the
        flux and at the place that the fit gives them (`splus_srgan.enhance.stars`).  What the fit
        leaves of them is the generator's, as everything else is.  Pixels in which they are above
        the sky noise have the flag ``FITTED_STAR``, and the card SRNSTARS says how many there are.
    check_input : bool, optional
        Whether to look first if the input is an image as the generator learned it
        (`splus_srgan.enhance.guard.check_input`): an `~splus_srgan.exceptions.UnusualInputWarning`
        for each kind of defect, the card SRUNUSUL, and the flag ``UNUSUAL`` where it is local.
        No pixel of the output depends on it.
    uncertainty : {False, True, "ensemble"}, optional
        Whether to give the standard deviation of each pixel
        (`~astropy.nddata.StdDevUncertainty`): half the width of the interval that holds
        68 % of the truths, in the unit of the data, infinite where the input is missing.
        `True` needs weights that predict it; ``"ensemble"`` takes the spread of the
        results in the eight symmetries of a square, with any weights, in four times the
        time, with ``splus`` in eight times.  The image itself is the same either way.
    engine : {"auto", "torch", "openvino"}, optional
        What runs the generator.  ``"auto"`` takes OpenVINO for bfloat16 on the CPU,
        where it is installed.
    turned : bool, optional
        Whether to take the mean of the image and of the image turned by 180 degrees, which
        cancels shifts, in twice the time; `None` follows the model card.
    progress_bar : callable, optional
        Wraps the iterable over the blocks, as ``tqdm.tqdm`` does; over the sections where an image
        is larger than one, or with a client.
    client : `distributed.Client`, optional
        Client of a cluster whose workers run the generator, a section of the image at a time, on
        the device that they have.  This process finds sky, noise and PSF, and writes the output,
        the bytes of which do not depend on the workers.  For `to_file`, the pixels of files
        (``memmap=True``) are read by the workers, under the same paths; others are sent to them.

    Raises
    ------
    WeightsError
        If the weights are unknown, damaged or not for the bands.
    ConnectionError
        If the client is closed.
    TypeError
        If an option is of a wrong type.
    ValueError
        If an option is none of those above.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> field = simulate_field(4, shape=(64, 64)).observed
    >>> sharp = SRGANEnhancer()(field)
    >>> sharp["r"].shape, sharp["r"].unit, round(sharp["r"].wcs.wcs.cd[1, 1] * 3600, 3)
    ((128, 128), Unit("adu"), np.float64(0.275))
    """

    def __init__(
        self,
        weights: FilePath | WeightsCard = "auto",
        *,
        device: str = "auto",
        precision: Literal["auto", "float32", "bfloat16"] = "auto",
        block_size: int | Literal["auto"] = "auto",
        flux_anchor: float | None = None,
        psf: Literal["auto", "header", "measure"]
        | Mapping[str, Sequence[float] | MeasuredPSF] = "auto",
        fit_stars: bool = True,
        check_input: bool = True,
        uncertainty: bool | Literal["ensemble"] = False,
        engine: Literal["auto", "torch", "openvino"] = "auto",
        turned: bool | None = None,
        progress_bar: ProgressBar | None = None,
        client: Any = None,
    ) -> None:
        # Fail here, near the cause, and not after the data have been read.
        self.weights = card_or_auto(weights)
        check_options(device, precision, engine, block_size, turned, progress_bar)
        self.device, self.precision, self.engine = device, precision, engine
        self.block_size, self.turned = block_size, turned
        self.flux_anchor = None if flux_anchor is None else check_strength(flux_anchor)
        self.psf = check_psf(psf)
        for name, value in (("check_input", check_input), ("fit_stars", fit_stars)):
            if not isinstance(value, bool):
                raise TypeError(f"{name} must be True or False; got {value!r}")
        self.check_input, self.fit_stars = check_input, fit_stars
        self.uncertainty = check_uncertainty(uncertainty)
        if self.weights != "auto":
            check_head(self.weights, self.uncertainty)
        self.progress_bar = progress_bar
        if client is not None:
            check_client(client, idle=True)
        self.client = client
        self._runners: dict[Any, Any] = {}
        self._engines: dict[Any, Any] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        weights = self.weights if self.weights == "auto" else self.weights.name
        return f"SRGANEnhancer({weights!r}, device={self.device!r}, precision={self.precision!r})"

    def _repr_html_(self) -> str:
        options = ("device", "precision", "block_size", "flux_anchor", "psf", "fit_stars")
        options += ("uncertainty",)
        rows = {name: getattr(self, name) for name in options}
        weights = self.weights if self.weights == "auto" else self.weights.name
        return html_table("SRGANEnhancer", {"weights": weights} | rows)

    def __getstate__(self) -> dict[str, Any]:
        """What another process needs to build an equal enhancer: options, and no engines."""
        made = "_runners", "_engines", "_lock"
        # A client belongs to its process.
        return {key: part for key, part in vars(self).items() if key not in made} | {"client": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _runners={}, _engines={}, _lock=Lock())

    @overload
    def __call__(self, data: Mapping[str, Image], **given: Unpack[Given]) -> dict[str, Image]: ...

    @overload
    def __call__(self, data: Image, **given: Unpack[Given]) -> Image: ...

    def __call__(
        self,
        data: Any,
        *,
        bands: Bands | None = None,
        mask: Level | None = None,
        unit: UnitBase | str | None = None,
        wcs: WCS | None = None,
        sky: Level | None = None,
        sigma: Level | None = None,
    ) -> Any:
        """
        Enhance an image, a stack of bands, or a mapping of bands.

        Parameters
        ----------
        data : mapping of str to NDData, or `~astropy.nddata.NDData`
            Band to image ``(ny, nx)``, all on one grid; one image; or a stack
            ``(n_band, ny, nx)``.  `~astropy.nddata.CCDData` is an NDData.  The data are
            not modified.
        bands : str or sequence of str, optional
            Names of the bands of a stack, where its ``meta["BANDS"]`` does not have
            them; or which bands of a mapping to take.
        mask : array-like of bool, optional
            `True` is missing; only where the data have no mask.
        unit : unit or str, optional
            Only where the data have none.  `None` means flux per pixel.
        wcs : `~astropy.wcs.WCS`, optional
            Only where the data have none.
        sky, sigma : float, sequence, array, mapping or Quantity, optional
            Sky and its noise per pixel (standard deviation), in the unit of the data:
            one number, one per band, a map ``(ny, nx)``, or a mapping from band to
            either.  Measured where not given.

        Returns
        -------
        enhanced : same class and form as ``data``
            Images ``(2 ny, 2 nx)`` with mask, WCS, PSF, quality flags (`Quality`, in
            ``flags`` or ``meta["QUALITY"]``) and provenance in the header.

        Raises
        ------
        TypeError
            If the data are no NDData (a plain array has no unit), or hold no real numbers.
        ValueError
            If data, bands or keywords do not fit each other, a unit is no linear flux,
            or the noise cannot be measured.
        GridMismatchError
            If the bands are not on one grid.
        WeightsError
            If the weights are for other bands.
        ConnectionError
            If the client is closed or has no workers, or they or their scheduler are lost.
        """
        given: Any = {"bands": bands, "mask": mask, "unit": unit, "wcs": wcs}
        # The caller may have told numpy to raise: harmless events must not.
        with np.errstate(**NUMPY_DEFAULTS):
            stack = unpack(data, **given, new_uncertainty=bool(self.uncertainty))
            return self._call(stack, sky, sigma)

    def _call(self, stack: BandStack, sky: Level | None, sigma: Level | None) -> Any:
        work = self._prepare(stack, sky, sigma)
        planes = Planes.in_memory(work.shape, uncertainty=self.uncertainty)
        return result(work, planes, work.compute(planes, self.progress_bar))

    def to_file(
        self,
        data: Images | NDData,
        path: FilePath,
        *,
        bands: Bands | None = None,
        mask: Level | None = None,
        unit: UnitBase | str | None = None,
        wcs: WCS | None = None,
        sky: Level | None = None,
        sigma: Level | None = None,
        overwrite: bool = False,
    ) -> Path:
        """
        Enhance a field straight into a FITS file, which may be larger than the memory.

        The file is that of `~splus_srgan.images.io.fields.write_bands`: it is made beside its
        place, section by section, and complete or not there.  The space is taken before the
        work begins.

        Parameters
        ----------
        data, bands, mask, unit, wcs, sky, sigma
            As for a call, except that pixels may stay in their files
            (``read_bands(..., memmap=True)``): no copy of them is made.  What a call would
            return in one object is written band by band.
        path : path-like
            ``.fits``; or ``.fits.gz`` or ``.fits.fz`` (compressed tile by tile, without loss), for
            which the output has to fit into memory.
        overwrite : bool, optional
            Whether an existing file may be replaced.

        Returns
        -------
        path : `~pathlib.Path`
            The file.

        Raises
        ------
        FileExistsError
            If the file exists and ``overwrite`` is not set.
        OSError
            If it cannot be written, or has not enough space; nothing is left behind.
        ConnectionError
            As by a call; the same call resumes, with or without a client.
        GridMismatchError, TypeError, ValueError, WeightsError
            As by a call.

        Examples
        --------
        >>> from tempfile import TemporaryDirectory
        >>> from splus_srgan import SRGANEnhancer, simulate_field
        >>> from splus_srgan.images.io.fields import read_bands
        >>> field = simulate_field(4, shape=(64, 64)).observed
        >>> with TemporaryDirectory() as folder:
        ...     path = SRGANEnhancer().to_file(field, f"{folder}/sharp.fits")
        ...     sharp = read_bands(path)
        >>> sharp["r"].shape
        (128, 128)
        """
        path = check_writable(path, overwrite)
        given: Any = {"bands": bands, "mask": mask, "unit": unit, "wcs": wcs}
        with np.errstate(**NUMPY_DEFAULTS):
            stack = unpack(data, **given, lazy=True, new_uncertainty=bool(self.uncertainty))
            check_names(stack.bands)
            return self._write(stack, path, sky, sigma, overwrite)

    def _write(
        self, stack: BandStack, path: Path, sky: Level | None, sigma: Level | None, overwrite: bool
    ) -> Path:
        with kept_open():
            work = self._prepare(stack, sky, sigma)
        if path.suffix.lower() in (".gz", ".fz"):
            planes = Planes.in_memory(work.shape, uncertainty=self.uncertainty)
            field = by_band(work, planes, work.compute(planes, self.progress_bar))
            return write_bands(path, field, overwrite=overwrite)
        with self._file(path, work, overwrite) as (file, journal):
            planes = Planes(*(file.planes(part) for part in ("SCI", "BPM", "DQ", "ERR")))
            fine_sky = work.compute(planes, self.progress_bar, journal)
            for band, level in zip(stack.bands, fine_sky, strict=True):
                file.set_card(band, "SRFSKY", level)
        return path

    @staticmethod
    @contextmanager
    def _file(path: Path, work: Enhancement, overwrite: bool) -> Iterator[tuple[Any, Any]]:
        """The file to be and the journal of its sections, where there are several."""
        if work.several:
            with unfinished_file(path, work, overwrite=overwrite) as both:
                yield both
        else:
            with reserve_bands(path, outline(work), overwrite=overwrite) as file:
                yield file, None

    def _prepare(self, stack: BandStack, sky: Level | None, sigma: Level | None) -> Enhancement:
        """Everything that precedes the pixels of the output."""
        if self.client is not None:
            check_client(self.client)
        flux_factor = flux_per_pixel_factor(stack.unit, FACTOR)
        chosen = choose_cards(self.weights, stack.bands)
        for card, _ in chosen:
            check_head(card, self.uncertainty)
        cards = [next(c for c, own in chosen if k in own) for k in range(len(stack.bands))]
        # Warnings are for the caller of the method that called this one.
        sky, sigma, sky_measured, unlike = sky_and_sigma(stack, sky, sigma, stacklevel=4)
        stack = without_wild_pixels(stack, sky, sigma, stacklevel=4)
        psfs = input_psfs(
            stack, self.psf, sky=sky, sigma=sigma, default_scale=cards[0].pixel_scale, stacklevel=4
        )
        report = InputReport(())
        if self.check_input:
            report = check_stack(stack, sky, sigma, unlike, psfs)
            warn_of_unusual(report, stacklevel=4)
        restorers = [
            Restorer(card, self._runner(card, _told(card, stack, psfs, sigma, own)), own)
            for card, own in chosen
        ]
        strength = cards[0].flux_anchor if self.flux_anchor is None else self.flux_anchor
        work = Enhancement(
            stack=stack,
            restorers=restorers,
            flux_factor=flux_factor,
            sky=sky,
            sigma=sigma,
            sky_measured=sky_measured,
            outside=outside_domain(stack, cards, psfs, stacklevel=4),
            input_psfs=psfs,
            report=report,
            strength=check_strength(strength),
            uncertainty=self.uncertainty,
            block_size=self.block_size,
            record=call_record(restorers[0].runner, flux_factor, stack.bands, self),
            client=self.client,
        )
        if self.fit_stars:
            work.stars = field_stars(
                stack,
                sky,
                sigma,
                psfs=work.psfs,
                target_psfs=work.target_psfs,
                pixel_scale=work.pixel_scale,
            )
        warn_of_fallbacks(work, automatic=self.weights == "auto", psf=self.psf, stacklevel=4)
        return work

    def _runner(self, card: WeightsCard, told: Any) -> Any:
        """
        The engine of a model card, built once, also where several threads ask for it.

        One that is told about a field is built for this field; the last one is kept.
        """
        with self._lock:
            key = card.sha256, str(told) if told else None
            if key not in self._runners:
                if told is not None:
                    kept = {k: runner for k, runner in self._runners.items() if k[1] is None}
                    self._runners = kept
                self._runners[key] = self._new_runner(card, told)
            return self._runners[key]

    def _new_runner(self, card: WeightsCard, told: Any) -> Any:
        options = {
            "card": card,
            "device": self.device,
            "precision": self.precision,
            "engine": self.engine,
            "uncertainty": self.uncertainty,
            "turned": self.turned,
            "told": told,
        }
        if self.client is not None:
            return RemoteRunner(self.client, **options)
        return Runner(**options, made=self._engines)


def _told(
    card: WeightsCard,
    stack: BandStack,
    psfs: Sequence[Any],
    sigma: FloatArray,
    places: Sequence[int],
) -> dict[str, Any] | None:
    """What a generator that takes subsets is told about its bands of a field."""
    if not card.takes_subsets:
        return None
    bands = [tidy_band(stack.bands[k]) for k in places]
    # In ADU the depth is unknown: it takes a zero point.
    known = [one for band in bands if (one := nanomaggies_of(stack.unit, band)) is not None]
    sigmas = None
    if len(known) == len(bands):
        sigmas = [float(np.median(sigma[k])) * one for k, one in zip(places, known, strict=True)]
    return {"bands": bands, "psfs": [psfs[k].core for k in places], "sigmas": sigmas}
