# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Enhance images: the one entry point, from NDData to NDData."""

import re
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
from astropy import units as u
from astropy.io.fits import Header
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy import ndimage

from splus_srgan import __version__
from splus_srgan._bands import tidy_band
from splus_srgan._nddata import fill_missing, repack, unpack
from splus_srgan._uncertainty import MODES, calibrate_std, linear_std
from splus_srgan._units import flux_per_pixel_factor
from splus_srgan._validate import check_integer
from splus_srgan.background import measure_background, sky_of_enhanced
from splus_srgan.exceptions import DomainWarning, NoSkyWarning
from splus_srgan.flux_anchor import anchor_flux, check_strength
from splus_srgan.io import add_provenance
from splus_srgan.models.weights import choose_card, load_card
from splus_srgan.psf import psf_image
from splus_srgan.quality import quality_plane
from splus_srgan.stretch import NoiseAsinhStretch
from splus_srgan.surveys.splus import (
    psf_from_header,
    wing_share_from_header,
    winged_psf_from_header,
)
from splus_srgan.wcs import upsample_header, upsample_wcs

__all__ = ["SRGANEnhancer"]

_FACTOR = 2
_PSF_RADIUS = 40  # output pixels: 98 % of the light, wings included
_NEAR_SATURATION = 0.95  # of the level in the header: coadds saturate a little below it
_SCALE_TOLERANCE = 0.03  # pixel scales this close to the card's are inside its domain
# Side of the blocks: with a halo of 45, 384 costs 1.5 times the work of one piece.
_BLOCK_SIZE = {"cpu": 384, "cuda": 1024}
_MIN_BLOCK = 16


class SRGANEnhancer:
    """
    Turn survey images into sharper, less noisy ones with twice the pixels per axis.

    Options are given here, data at the call.  Flux is conserved: a value per pixel
    is shared by four pixels, a surface brightness stays what it is.

    Parameters
    ----------
    weights : str, path-like or `~splus_srgan.models.weights.WeightsCard`, optional
        Name of shipped weights, path or URL of a card, or ``"auto"``: the shipped
        weights for exactly the bands given, else those that take any one band.
    device : str, optional
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: CUDA where it is.
    precision : {"auto", "float32", "bfloat16"}, optional
        Of the generator's body; its last layer is always float32.  ``"auto"`` takes
        bfloat16 where the hardware has it; that moves magnitudes by about 1 mmag.
    block_size : "auto" or int, optional
        Side of the blocks (input pixels, at least 16) in which a large image is
        generated.  The result does not depend on it.
    flux_anchor : float or bool, optional
        Strength (0 to 1) of the correction that ties the flux of sources to the
        input's (`splus_srgan.flux_anchor`); `None` follows the card.  It needs the
        PSF of the input, from the cards FWHMMEAN and FWHMBETA and the WCS, and is only as
        good as they are; a band without them goes without, and its card SRANCHOR says 0.
    uncertainty : {False, True, "ensemble"}, optional
        Whether to give the standard deviation of each pixel
        (`~astropy.nddata.StdDevUncertainty`): half the width of the interval that holds
        68 % of the truths, in the unit of the data, infinite where the input is missing.
        `True` needs weights that predict it; ``"ensemble"`` takes the spread of what the
        eight symmetries of a square make of the image, with any weights, in four times
        the time.  The image itself is the same either way.
    engine : {"auto", "torch", "openvino"}, optional
        What runs the generator.  ``"auto"`` takes OpenVINO for bfloat16 on the CPU,
        where it is installed.
    progress_bar : callable, optional
        Wraps the iterable over the blocks, as ``tqdm.tqdm`` does.

    Raises
    ------
    WeightsError
        If the weights are unknown, damaged or not for the bands.
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
        weights="auto",
        *,
        device="auto",
        precision="auto",
        block_size="auto",
        flux_anchor=None,
        uncertainty=False,
        engine="auto",
        progress_bar=None,
    ):
        # Fail here, near the cause, and not after the data were read.
        self.weights = weights if str(weights) == "auto" else load_card(weights)
        if block_size != "auto":
            check_integer("block_size", block_size, minimum=_MIN_BLOCK)
        if progress_bar is not None and not callable(progress_bar):
            raise TypeError(f"progress_bar must be callable or None; got {progress_bar!r}")
        self.device, self.precision, self.engine = device, precision, engine
        self.block_size = block_size
        self.flux_anchor = None if flux_anchor is None else check_strength(flux_anchor)
        self.uncertainty = _check_uncertainty(uncertainty)
        if self.weights != "auto":
            _check_head(self.weights, self.uncertainty)
        self.progress_bar = progress_bar
        self._runners = {}
        _check_runner_options(device, precision, engine)

    def __call__(self, data, *, bands=None, mask=None, unit=None, wcs=None, sky=None, sigma=None):
        """
        Enhance an image, a stack of bands, or a mapping of bands.

        Parameters
        ----------
        data : mapping of str to NDData, or `~astropy.nddata.NDData`
            Band to image ``(ny, nx)``, all on one grid; one image; or a stack
            ``(n_band, ny, nx)``.  `~astropy.nddata.CCDData` is an NDData.  It is not
            modified.
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
        ValueError
            If data, bands or keywords do not fit each other, a unit is no linear flux,
            or the noise cannot be measured.
        GridMismatchError
            If the bands are not on one grid.
        WeightsError
            If the weights are for other bands.
        """
        stack = unpack(data, bands=bands, mask=mask, unit=unit, wcs=wcs)
        flux_factor = flux_per_pixel_factor(stack.unit, _FACTOR)
        card = choose_card(self.weights, stack.bands)
        _check_head(card, self.uncertainty)
        sky, sigma, sky_measured = self._sky_and_sigma(stack, sky, sigma)
        runner = self._runner(card)
        # The sky is what a pixel far from any valid one most likely holds.
        filled = fill_missing(stack.data, stack.mask, default=np.median(sky, axis=(1, 2)))
        saturated = _saturated(stack, filled)
        quality = self._quality(stack, card, filled, saturated, sky, sigma, runner.radius)
        fine, std = self._generate(runner, card, stack, filled, sky, sigma)
        strength, psfs = self._anchor_strength(card), _input_psfs(stack)
        target_psfs = [_target_psf(card, meta) for meta in stack.metas]
        fine = anchor_flux(
            fine,
            filled,
            sky,
            sigma,
            psfs=psfs,
            target_psfs=target_psfs,
            pixel_scale=_pixel_scale(stack, card),
            strength=strength,
            mask=stack.mask | saturated,
        )
        del filled
        fine_sky = [
            _fine_sky(*band)
            for band in zip(fine, sky, sigma, stack.mask, sky_measured, strict=True)
        ]
        missing = stack.mask.repeat(_FACTOR, 1).repeat(_FACTOR, 2)
        if std is not None:
            std = self._calibrate(std, fine, card, stack, sky, sigma)
            std *= np.float32(flux_factor)
            std[missing] = np.inf
        fine *= np.float32(flux_factor)
        record = self._record(runner, card, flux_factor, stack.bands)
        metas = []
        for k, (band, meta) in enumerate(zip(stack.bands, stack.metas, strict=True)):
            own = _band_record(band, k, sky, sigma) | {"fine_sky": fine_sky[k]}
            own["flux_anchor"] = strength if psfs[k] else 0.0
            metas.append(_fine_meta(meta, record | own, flux_factor))
        return repack(
            stack,
            fine,
            mask=missing,
            quality=quality,
            uncertainty=std,
            wcs=None if stack.wcs is None else upsample_wcs(stack.wcs, factor=_FACTOR),
            metas=metas,
            psfs=[_psf_image(psf, card) for psf in target_psfs],
        )

    def _runner(self, card):
        """The engine of a card, built once."""
        if card.sha256 not in self._runners:
            self._runners[card.sha256] = _Runner(
                card, self.device, self.precision, self.engine, self.uncertainty
            )
        return self._runners[card.sha256]

    @staticmethod
    def _sky_and_sigma(stack, sky, sigma):
        """
        Sky and sigma as arrays that broadcast against the data, measured where not given.

        With them, for each band, whether its sky was measured.
        """
        sky = _broadcastable("sky", sky, stack)
        sigma = _broadcastable("sigma", sigma, stack)
        if sigma is not None and not (np.isfinite(sigma).all() and (sigma > 0).all()):
            raise ValueError("sigma must be finite and above 0 everywhere; got other values")
        if sky is not None and not np.isfinite(sky).all():
            raise ValueError("sky must be finite everywhere; got other values")
        sky_measured = np.zeros(len(stack.bands), bool)
        if sky is None or sigma is None:
            measured = measure_background(stack.data, mask=stack.mask)
            if sky is None:
                _warn_without_sky(stack.bands, measured.has_sky)
                sky, sky_measured = np.asarray(measured.sky)[:, None, None], measured.has_sky
            if sigma is None:
                sigma = np.asarray(measured.sigma)[:, None, None]
        return sky, sigma, sky_measured

    def _quality(self, stack, card, filled, saturated, sky, sigma, radius):
        """QUALITY plane, after a warning of what lies outside the card's domain."""
        outside = check_domain(stack, card)
        brightest = card.domain.get("signal")
        extrapolated = np.array([bool(reasons) for reasons in outside])[:, None, None]
        if brightest is not None:
            extrapolated = extrapolated | (filled > sky + brightest * sigma)
        reasons = sorted({reason for band in outside for reason in band})
        if reasons:
            warnings.warn(
                f"input outside the domain of weights {card.name!r}: {'; '.join(reasons)}. The "
                "result is flagged EXTRAPOLATED and may be wrong",
                DomainWarning,
                stacklevel=3,
            )
        return quality_plane(
            stack.mask, saturated, radius=radius, extrapolated=extrapolated, factor=_FACTOR
        )

    def _generate(self, runner, card, stack, filled, sky, sigma):
        """
        Linear images on the fine grid, still per input pixel.

        With them, if asked for, their standard deviations before calibration.
        """
        stretch = NoiseAsinhStretch(sky, sigma, **card.stretch)
        order = list(range(len(stack.bands)))
        if not card.takes_any_band:
            names = [tidy_band(band) for band in stack.bands]
            order = [names.index(band) for band in card.bands]
        size = self._block_size(runner, filled.shape)
        y = stretch(filled)
        shape = (len(order), *(_FACTOR * n for n in filled.shape[1:]))
        fine = np.empty(shape, np.float32)
        log_scale = np.empty(shape, np.float32) if self.uncertainty else None
        groups = [[k] for k in order] if card.takes_any_band else [order]
        for group in groups:
            planes = runner.generate(y[group], block_size=size, bar=self.progress_bar)
            fine[group] = planes[: len(group)]
            if self.uncertainty:
                log_scale[group] = planes[len(group) :]
        del y
        fine_sigma = _upsample(sigma)
        std = None
        if self.uncertainty:
            kind = card.generator["scale"] if self.uncertainty is True else "ensemble"
            std = linear_std(fine, log_scale, fine_sigma, kind=kind, **card.stretch)
        return NoiseAsinhStretch(_upsample(sky), fine_sigma, **card.stretch).inverse(fine), std

    def _calibrate(self, std, fine, card, stack, sky, sigma):
        """Standard deviations that hold what they say of the final image."""
        name = "calibration" if self.uncertainty is True else "ensemble"
        table = card.uncertainty.get(name)
        if not table:
            return std
        return calibrate_std(std, fine - _upsample(sky), _upsample(sigma), table)

    def _anchor_strength(self, card):
        return card.flux_anchor if self.flux_anchor is None else check_strength(self.flux_anchor)

    def _block_size(self, runner, shape):
        if self.block_size != "auto":
            return self.block_size
        size = _BLOCK_SIZE[
            runner.engine.device.type if runner.engine.device.type in _BLOCK_SIZE else "cpu"
        ]
        # One piece where it is not much larger than a block.
        return max(_MIN_BLOCK, *shape[1:]) if max(shape[1:]) <= 1.4 * size else size

    def _record(self, runner, card, flux_factor, bands):
        """What went into the result, for the provenance cards."""
        return {
            "version": __version__,
            "model": card.name,
            "model_version": card.version,
            "sha256": card.sha256,
            "bands": ",".join(bands),
            "stretch": "NoiseAsinhStretch",
            "softening": card.stretch["softening"],
            "range": card.stretch["range"],
            "precision": runner.engine.precision,
            "engine": runner.engine.name,
            "device": str(runner.engine.device),
            "block_size": self.block_size,
            "factor": _FACTOR,
            "flux_per_pixel": flux_factor != 1,
            "date": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        }


class _Runner:
    """A generator with its engine and its receptive field."""

    def __init__(self, card, device, precision, engine, uncertainty):
        from splus_srgan.models.engines import EnsembleEngine, TurnedEngine, make_engine
        from splus_srgan.models.weights import load_generator

        generator = load_generator(card)
        self.radius = generator.receptive_field_radius
        self.engine = make_engine(
            generator,
            device=device,
            precision=precision,
            engine=engine,
            with_scale=uncertainty is True,
        )
        if uncertainty == "ensemble":
            self.engine = EnsembleEngine(self.engine, turned=card.turned)
        elif card.turned:
            self.engine = TurnedEngine(self.engine)

    def generate(self, y, *, block_size, bar):
        """Generate in blocks, in smaller ones if memory runs out."""
        from splus_srgan.blocks import generate_blocks
        from splus_srgan.models.engines import is_out_of_memory

        while True:
            try:
                return generate_blocks(
                    self.engine,
                    y,
                    radius=self.radius,
                    block_size=block_size,
                    n_planes=_n_planes(self.engine, y),
                    progress_bar=bar,
                )
            except (MemoryError, RuntimeError) as error:
                if block_size < 64 or not is_out_of_memory(error):
                    raise
                block_size //= 2


def _n_planes(engine, y):
    """Planes that an engine gives: with the scale of the errors, two for each band."""
    return 2 * len(y) if getattr(engine, "with_scale", False) else len(y)


def check_domain(stack, card):
    """
    Compare the input with what a card was trained for.

    Parameters
    ----------
    stack : `~splus_srgan._nddata.BandStack`
        Input.
    card : `~splus_srgan.models.weights.WeightsCard`
        Weights.

    Returns
    -------
    reasons : list of list of str
        For each band, what lies outside.
    """
    common = []
    if stack.wcs is not None and stack.wcs.has_celestial:
        scales = [float(s) * 3600 for s in proj_plane_pixel_scales(stack.wcs.celestial)]
        if any(abs(s / card.pixel_scale - 1) > _SCALE_TOLERANCE for s in scales):
            common.append(
                f"pixel scale {scales[0]:.3f} x {scales[1]:.3f} arcsec, trained for "
                f"{card.pixel_scale} arcsec"
            )
    result = []
    for band, meta in zip(stack.bands, stack.metas, strict=True):
        reasons, psf = list(common), psf_from_header(meta)
        low, high = card.domain.get("fwhm", (0, np.inf))
        if psf is not None and not low <= psf[0] <= high:
            reasons.append(f"seeing {psf[0]:.2f} arcsec in {band}, trained for {low} to {high}")
        result.append(reasons)
    return result


def _check_uncertainty(value):
    """Return what is asked for, if it is among `MODES`."""
    # 1 is equal to True, but nobody means that by it.
    if not (isinstance(value, bool | str) and value in MODES):
        raise ValueError(f"uncertainty must be one of False, True, 'ensemble'; got {value!r}")
    return value


def _check_head(card, uncertainty):
    """Raise `ValueError` if the generator of a card lacks the head that is asked for."""
    if uncertainty is True and not card.generator.get("scale"):
        raise ValueError(
            f"uncertainty=True needs weights that predict it, and {card.name!r} do not: take "
            "uncertainty='ensemble', or train a head for them with "
            "splus_srgan.training.calibration"
        )


def _check_runner_options(device, precision, engine):
    """Check the names of options without importing torch; the engine checks the hardware."""
    from splus_srgan._validate import check_one_of

    check_one_of("precision", precision, ("auto", "float32", "bfloat16"))
    check_one_of("engine", engine, ("auto", "torch", "openvino"))
    if not isinstance(device, str) and not hasattr(device, "type"):
        raise TypeError(f"device must be a string such as 'cpu' or 'cuda:0'; got {device!r}")
    if not re.fullmatch(r"auto|[a-z]+(:\d+)?", str(device)):
        raise ValueError(f"device must be 'auto', 'cpu', 'cuda' or 'cuda:N'; got {device!r}")


def _warn_without_sky(bands, has_sky):
    lacking = [band for band, found in zip(bands, np.atleast_1d(has_sky), strict=True) if not found]
    if lacking:
        warnings.warn(
            f"no sky found in the frame of {', '.join(lacking)}: its level is taken as 0, as in a "
            "sky-subtracted image; give sky= if that is wrong",
            NoSkyWarning,
            stacklevel=4,
        )


def _broadcastable(name, value, stack):
    """A given sky or sigma as ``(n_band, 1, 1)`` or ``(n_band, ny, nx)``; `None` stays."""
    if value is None:
        return None
    if isinstance(value, Mapping):
        missing = [band for band in stack.bands if band not in value]
        if missing:
            raise ValueError(f"{name} must have every band of data; got none for {missing}")
        rows = [_plain(name, value[band], stack) for band in stack.bands]
    else:
        plain = _plain(name, value, stack)
        per_band = plain.ndim == 3 or (plain.ndim == 1 and plain.size == len(stack.bands))
        rows = list(plain) if per_band else [plain] * len(stack.bands)
    rows = [row[..., None, None] if row.ndim == 0 else row for row in rows]
    for row in rows:
        if row.shape not in ((1, 1), stack.data.shape[1:]):
            raise ValueError(
                f"{name} must be one number, one per band ({len(stack.bands)}), or a map of shape "
                f"{stack.data.shape[1:]}; got shape {np.shape(value)}"
            )
    if len(rows) != len(stack.bands):
        raise ValueError(f"{name} must have {len(stack.bands)} bands; got {len(rows)}")
    return np.stack(np.broadcast_arrays(*rows)).astype(np.float64)


def _plain(name, value, stack):
    if isinstance(value, u.Quantity):
        if stack.unit is None:
            raise ValueError(f"{name} has the unit {value.unit}, but the data have none")
        value = value.to_value(stack.unit)
    return np.asarray(value, dtype=np.float64)


def _upsample(values):
    """A map on the fine grid, linear between the pixel centres; numbers stay."""
    if values.shape[1:] == (1, 1):
        return values
    zoom = (1, _FACTOR, _FACTOR)
    return ndimage.zoom(values, zoom, order=1, mode="nearest", grid_mode=True)


def _number(value):
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _saturated(stack, filled):
    """Pixels at or close to the saturation level that their header states."""
    saturated = np.zeros(filled.shape, bool)
    for k, meta in enumerate(stack.metas):
        level = _number(meta.get("SATURATE"))
        if level is not None and level > 0:
            saturated[k] = filled[k] >= _NEAR_SATURATION * level
    return saturated


def _input_psfs(stack):
    """PSF of each band, from its header; `None` where not known."""
    if stack.wcs is None or not stack.wcs.has_celestial:
        return [None] * len(stack.bands)
    return [winged_psf_from_header(meta) for meta in stack.metas]


def _psf_image(psf, card):
    scale = card.pixel_scale / _FACTOR
    return psf_image(psf, pixel_scale=scale, radius=_PSF_RADIUS).astype(np.float32)


def _target_psf(card, meta):
    """PSF of an enhanced band: the core that the card promises, and the wings of the input."""
    return card.target_psf["fwhm"], card.target_psf["beta"], wing_share_from_header(meta)


def _pixel_scale(stack, card):
    """Arcsec per input pixel; without a WCS, that of the card."""
    if stack.wcs is None or not stack.wcs.has_celestial:
        return card.pixel_scale
    return float(np.mean(proj_plane_pixel_scales(stack.wcs.celestial))) * 3600


def _band_record(band, index, sky, sigma):
    """Sky and sigma of a band; of a map, the median."""
    return {
        "band": band,
        "sky": float(np.median(sky[index])),
        "sigma": float(np.median(sigma[index])),
    }


def _fine_sky(fine, sky, sigma, mask, measured):
    """Sky of an enhanced band, measured on it where that of the input was; of a map, the median."""
    level = float(np.median(sky))
    return sky_of_enhanced(fine, level, float(np.median(sigma)), mask=mask) if measured else level


def _fine_meta(meta, record, flux_factor):
    """The input's metadata on the fine grid, with what was done to it."""
    if isinstance(meta, Header):
        meta = upsample_header(meta, factor=_FACTOR, flux_scale=flux_factor, new_psf=True)
    add_provenance(meta, record)
    return meta
