# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Make a pair and its enhanced image ready for comparison.

This is where units become flux per pixel, and nowhere else: an input pixel is the unit of
area of a surface brightness, so that four fine pixels make one input pixel in any unit.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import StdDevUncertainty

from splus_srgan.evaluation.compared import ComparedBand, ComparedField
from splus_srgan.evaluation.shapes import round_psf
from splus_srgan.evaluation.sources import detect
from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.header import gain_from_header, saturated_pixels, winged_psf_from_header
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.images.units import flux_per_pixel_factor, nanomaggies_of
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from astropy.nddata import NDData
    from astropy.units import UnitBase

    from splus_srgan.evaluation.pairs import EvaluationPair
    from splus_srgan.utils.types import BoolArray, FloatArray, Images

__all__ = ["compare_field", "fine_scale", "is_own_target"]

_SOURCE_LEVEL = 2.5  # sigma per pixel, of what annuli leave out
_LEAST_OF_STATED = 0.8  # of the noise that an output states: what the input must have of it


def fine_scale(unit: UnitBase | None) -> float:
    """
    Factor that makes a value of a fine image flux per fine pixel.

    Parameters
    ----------
    unit : `~astropy.units.UnitBase` or None
        Unit of the image.

    Returns
    -------
    scale : float
        1 for flux per pixel; 1/4 for a surface brightness, with an input pixel as its area.

    Examples
    --------
    >>> from astropy import units as u
    >>> from splus_srgan.evaluation.comparison import fine_scale
    >>> fine_scale(u.adu), fine_scale(u.adu / u.arcsec**2)
    (1.0, 0.25)
    """
    return 0.25 / flux_per_pixel_factor(unit, 2)


@numpy_defaults
def compare_field(
    pair: EvaluationPair | None,
    output: Images,
    *,
    name: str = "image",
    output_psf: tuple[float, ...] | None = None,
) -> ComparedField:
    """
    Make a pair and its enhanced image ready for comparison.

    The sky of the input is the pair's, else that of the output's header (``SRSKY``),
    else it is measured; that of the output is ``SRFSKY``, else ``SRSKY``, else the input's.
    A target that is the output itself (`is_own_target`) cannot judge it, and is left out.
    The noise of the input is the pair's, else that of the output's header (``SRSIGMA``) where the
    input has at least 0.8 of it, else it is measured.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair` or None
        Input, and target where there is one.  `None`: the output stands alone.
    output : mapping of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``.  The card ``SRFSKY`` or ``SRSKY`` (sky
        per input pixel) says how much of it is sky; set it to 0 for an image without.
    name : str, optional
        What to call an output that stands alone.
    output_psf : tuple of float, optional
        FWHM (arcsec), Moffat beta and share of the wings of the output; without the last,
        it has those of the input.  `None`: fitted to its ``psf``; an output without one
        counts as having the PSF of the input.

    Returns
    -------
    field : `~splus_srgan.evaluation.compared.ComparedField`
        Ready for all measures.

    Raises
    ------
    ValueError
        If the output lacks a band, is in another unit, or stands alone without the cards of
        an enhanced image.
    GridMismatchError
        If the output is not on the grid that is twice as fine, by its shape or its WCS.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.comparison import compare_field
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> pair = EvaluationPair.from_simulation(simulate_field(1, shape=(32, 32)), name="one")
    >>> field = compare_field(pair, pair.target)  # the truth as a perfect output
    >>> sorted(field.bands), field.bands["r"].shape
    (['g', 'r', 'z'], (32, 32))
    """
    if pair is None:
        return ComparedField(name, {band: _band_alone(band, output[band]) for band in output})
    lacking = [band for band in pair.bands if band not in output]
    if lacking:
        raise ValueError(
            f"output must have every band of the pair, {list(pair.bands)}; got none for {lacking}"
        )
    pair.check_fine("output", output)
    if is_own_target(pair, output):
        pair = dataclasses.replace(pair, target=None)
    bands = {band: _band_of_pair(pair, band, output[band], output_psf) for band in pair.bands}
    return ComparedField(pair.name, bands, known=pair.sources)


def is_own_target(pair: EvaluationPair, output: Images) -> bool:
    """
    Tell whether the target is the output itself, to the bit, in any band.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input and target.
    output : mapping
        Enhanced images by band.

    Returns
    -------
    same : bool
        Never for a truth without noise; of an image with noise of its own that is no chance.
    """
    if pair.target is None or pair.noise_free:
        return False
    return any(
        np.array_equal(image.data, output[band].data, equal_nan=True)
        for band, image in pair.target.items()
        if band in output
    )


def _band_alone(name: str, made: NDData) -> ComparedBand:
    """A band without its input: sky and sigma are those of the cards."""
    meta = getattr(made, "meta", None) or {}
    lacking = [card for card in ("SRSKY", "SRSIGMA") if card not in meta]
    if lacking:
        raise ValueError(
            f"output must have the cards of an enhanced image; band {name!r} lacks "
            f"{' and '.join(lacking)}: give the image that it was made from as pair="
        )
    sky, sigma = float(present(stated_sky(meta))), float(meta["SRSIGMA"])
    psf = None
    if getattr(made, "psf", None) is not None:
        psf = round_psf(made.psf, pixel_scale=pixel_scale(made.wcs, default=PIXEL_SCALE / 2))
    return ComparedBand(
        name, None, sigma=sigma, output_psf=psf, **_of_output(made, sky),
        pixel_scale=2 * pixel_scale(made.wcs, default=PIXEL_SCALE / 2),
    )  # fmt: skip


def _of_output(made: NDData, sky: float) -> dict[str, Any]:
    """What the enhanced image says of itself: arguments of a `ComparedBand`."""
    scale, missing, masked = (
        fine_scale(made.unit),
        missing_pixels(made.data, made.mask),
        _masked(made),
    )
    data = np.where(missing, 0, np.asarray(made.data, float)) * scale
    return {
        "output": data - 0.25 * sky * ~missing,
        "missing": missing,
        "lost": missing & ~masked,
        "promised": getattr(made, "psf", None),
        "std": _standard_deviation(made),
    }


def _band_of_pair(
    pair: EvaluationPair, name: str, made: NDData, output_psf: tuple[float, ...] | None
) -> ComparedBand:
    """One band of a pair."""
    seen = pair.input[name]
    missing = missing_pixels(seen.data, seen.mask)
    meta = getattr(made, "meta", None) or {}
    sky, sigma = _sky_and_sigma(pair, name, meta, seen, missing)
    psf = winged_psf_from_header(seen.meta)
    scale = pixel_scale(seen.wcs, default=PIXEL_SCALE)
    if output_psf is None:
        output_psf = psf
        if getattr(made, "psf", None) is not None:
            output_psf = round_psf(made.psf, pixel_scale=scale / 2)
    target, hole = _target(pair, name)
    band = ComparedBand(
        name,
        np.where(missing, 0, np.asarray(seen.data, float) - sky),
        sigma=sigma,
        target=target,
        noise_free=pair.noise_free,
        electrons=gain_from_header(seen.meta, seen.unit) or 0.0,
        bad=missing | hole,
        saturated=saturated_pixels(seen.data, seen.meta, seen.unit) & ~missing,
        psf=psf,
        output_psf=_with_wings(output_psf, psf),
        target_psf=_with_wings(_target_psf(pair, name, scale), psf),
        pixel_scale=scale,
        zero_point=_zero_point(pair, name, seen),
        **_of_output(made, float(present(stated_sky(meta, sky)))),
    )
    band.mask = _source_mask(band)
    return band


def _target(pair: EvaluationPair, name: str) -> tuple[FloatArray | None, BoolArray | bool]:
    """Target without holes, and where these are on the grid of the input."""
    if pair.target is None:
        return None, False
    image = pair.target[name]
    hole = missing_pixels(image.data, image.mask)
    data = np.where(hole, 0, np.asarray(image.data, float)) * fine_scale(image.unit)
    ny, nx = pair.shape
    return data, np.any(hole.reshape(ny, 2, nx, 2), axis=(1, 3))


def _target_psf(pair: EvaluationPair, name: str, pixel_scale: float) -> tuple[float, ...] | None:
    """PSF of the target: that of a truth is known, that of an image may be."""
    if pair.target is None:
        return None
    if pair.noise_free:
        return TARGET_PSF
    psf = getattr(pair.target[name], "psf", None)
    return None if psf is None else round_psf(psf, pixel_scale=pixel_scale / 2)


def _with_wings(
    psf: tuple[float, ...] | None, seen: tuple[float, ...] | None
) -> tuple[float, ...] | None:
    """A PSF, with the wings of the input's if it has none of its own."""
    if psf is None or seen is None:
        return psf
    return (*psf, *seen[len(psf) :])


def _source_mask(band: ComparedBand) -> BoolArray:
    """Pixels of sources: of the target where it has no noise, else of the input."""
    if band.target is not None and band.noise_free:
        return present(band.seen_target) > _SOURCE_LEVEL * band.sigma
    return detect(present(band.input), band.sigma)[1]


def _masked(image: NDData) -> BoolArray:
    if image.mask is None:
        return np.zeros(np.shape(image.data), bool)
    return np.asarray(image.mask, bool)


def _zero_point(pair: EvaluationPair, name: str, seen: NDData) -> float:
    """AB magnitude of one unit of flux; NaN where it is not known."""
    nanomaggies = nanomaggies_of(getattr(seen, "unit", None), name)
    if nanomaggies is not None:
        return 22.5 - 2.5 * np.log10(nanomaggies)
    return float(pair.zero_points.get(name, np.nan))


def _sky_and_sigma(
    pair: EvaluationPair, name: str, meta: Mapping[str, Any], seen: NDData, missing: BoolArray
) -> tuple[float, float]:
    sky, sigma, stated = pair.sky.get(name, meta.get("SRSKY")), pair.sigma.get(name), None
    if sky is None or sigma is None:
        if sigma is None:
            stated = meta.get("SRSIGMA")
        try:
            measured = measure_background(np.asarray(seen.data, float), mask=missing)
        except ValueError:  # too few pixels: what the output says has to do
            if sky is None or stated is None:
                raise
            return float(sky), float(stated)
        sky = measured.sky[0] if sky is None else sky
        if sigma is None:
            sigma = measured.sigma[0]
            # An output that states more noise than the input has would be judged mildly.
            if stated is not None and sigma > _LEAST_OF_STATED * float(stated):
                sigma = stated
    return float(sky), float(sigma)


def _standard_deviation(made: NDData) -> FloatArray | None:
    """Stated standard deviation, flux per fine pixel; `None` where there is none."""
    if getattr(made, "uncertainty", None) is None:
        return None
    return np.asarray(uncertainty_array(made, StdDevUncertainty), float) * fine_scale(made.unit)
