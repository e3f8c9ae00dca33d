# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The steps of `splus_srgan.pairs.match.match_pair`, band by band."""

from dataclasses import dataclass, replace

import numpy as np
from astropy import units as u
from astropy.nddata import NDData, NDDataArray, StdDevUncertainty
from astropy.wcs import WCS

from splus_srgan.images.grid import image_wcs, pixel_scale
from splus_srgan.images.header import saturated_pixels
from splus_srgan.images.repack import made_like
from splus_srgan.images.units import pixels_for_pixel
from splus_srgan.pairs.matching.diagnosis import check_described, check_hemisphere
from splus_srgan.pairs.matching.image import deviation_of, image_plane, resample_image
from splus_srgan.pairs.matching.psf_matching import image_psf, matching_kernel
from splus_srgan.pairs.matching.reprojection import Resampling, resample
from splus_srgan.pairs.matching.resampled_noise import measure_noise_correlation
from splus_srgan.pairs.registration.align import align, centered_map
from splus_srgan.pairs.registration.cross_correlation import make_picture
from splus_srgan.pairs.registration.measure import Registration, from_alignment
from splus_srgan.pairs.registration.pixel_map import PixelMap
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import psf_image

__all__ = [
    "Setup",
    "brightest_band",
    "choose_corrections",
    "match_band",
    "measure_bands",
    "prepare",
    "with_wcs",
]

_FINE_AREA = 4  # fine pixels per pixel of the input
_PRECISE = 0.3  # fine pixels: a shift with a larger error is taken from the other bands
_PSF_REACH = 5.0  # FWHM of the target PSF, to each side


@dataclass(frozen=True, eq=False)
class Setup:
    """Shared by all bands: the fine grid and the options of `match_pair`."""

    wcs: WCS
    shape: tuple
    method: str
    order: str
    max_shift: float
    target_psf: tuple | None
    subtract_sky: bool


def brightest_band(side):
    """Band with the highest signal to noise in its brightest percent."""

    def strength(band):
        picture = make_picture(side[band].data, _missing(side[band]))
        return np.quantile(picture.data[~picture.mask], 0.99) / picture.sigma

    return max(side, key=strength)


def with_wcs(image, wcs):
    """A copy of an image, without its data, that has a WCS."""
    return _rebuilt(image, wcs=wcs)


def _rebuilt(image, **changes):
    """An image with some parts replaced; astropy's own methods lose the PSF."""
    names = ["unit", "wcs", "mask", "meta", "uncertainty"]
    if isinstance(image, NDDataArray):
        names += ["flags", "psf"]
    parts = {name: getattr(image, name) for name in names} | changes
    return made_like(image, parts.pop("data", image.data), parts)


@dataclass(frozen=True, eq=False)
class Prepared:
    """
    One band of ``target``, ready to be resampled.

    Attributes
    ----------
    image : `~astropy.nddata.NDData`
        In the unit of the input.
    sky : float
        Its sky, per pixel.
    kernel : `~numpy.ndarray` or None
        Kernel that brings it to the target PSF.
    psf_error : float
        Remaining difference, as a share of the target PSF's peak; NaN without kernel.
    """

    image: NDData
    sky: float
    kernel: np.ndarray | None
    psf_error: float


def prepare(input, target, band, setup, notes):
    """Bring a band of ``target`` to the unit of ``input``; measure its sky, and make its kernel."""
    image = _same_unit(target, input, band, notes)
    sky = _sky(image, band, notes) if setup.subtract_sky else 0.0
    return Prepared(image, sky, *_kernel(image, setup, band, notes))


def _missing(image):
    """Masked, or so bright that the detector may not have been linear."""
    data = np.asarray(image.data)
    return missing_pixels(data, image.mask) | saturated_pixels(data, image.meta, image.unit)


def _valid_share(mask):
    return float(1 - mask.mean())


def measure_bands(input, prepared, setup, notes):
    """
    Compare both sides where, by their WCS, they show the same sky.

    Returns
    -------
    measured : dict of str to `~splus_srgan.pairs.registration.align.Alignment` or None
        Alignment of the images on the fine grid.

    Raises
    ------
    RegistrationError
        If the WCS do not describe the images.
    """
    first = next(iter(prepared))
    check_hemisphere(input[first], prepared[first].image)
    measured, covered = {}, {}
    for band, one in prepared.items():
        plane, conserve, _ = image_plane(one.image, one.sky, one.kernel)
        plane = replace(plane, mask=plane.mask | _missing(one.image), variance=None)
        data, _, mask = resample(plane, setup.wcs, setup.shape, Resampling(conserve=conserve))
        covered[band] = _valid_share(mask)
        measured[band] = _align_pair(data, mask, input[band], setup)
    target = {band: one.image for band, one in prepared.items()}
    check_described(input, target, measured, covered, setup.max_shift, _missing)
    lost = [band for band, found in measured.items() if found is None]
    if lost:
        notes.append(
            f"nothing in common was found in {', '.join(lost)}, so the registration there rests on "
            "the WCS" + ("" if len(lost) == len(measured) else " and on the other bands")
        )
    return measured


def _align_pair(data, mask, input, setup):
    """Alignment of an image on the fine grid with one on the coarse grid."""
    if (~mask).sum() < 256:
        return None
    missing = _missing(input)
    if (~missing).sum() < 64:
        return None
    image, reference = make_picture(data, mask), make_picture(input.data, missing)
    prior = centered_map(np.shape(input.data), setup.shape, 2 * np.eye(2))
    return align(image, reference, prior, reach=setup.max_shift / pixel_scale(image_wcs(input.wcs)))


def choose_corrections(measured, notes):
    """Pixel map that corrects each band; a band that could not be measured follows the others."""
    good = {
        band: found
        for band, found in measured.items()
        if found is not None and max(found.errors[:2]) <= _PRECISE
    }
    if not good:
        notes.append("no shift was measured well enough to be corrected")
        return {}
    weights = np.array([found.errors[:2] ** -2 for found in good.values()])
    shifts = np.array([found.values[:2] for found in good.values()])
    mean = np.sum(weights * shifts, 0) / weights.sum(0)
    moves = {}
    for band in measured:
        moves[band] = good[band].change if band in good else PixelMap(image=mean)
        if band not in good:
            notes.append(f"{band} was moved like the other bands, its own shift being uncertain")
    return moves


def match_band(pair, band, prepared, setup, found, move, band_terms):
    """Resample one band, measure the result, and add it to the pair."""
    input, notes, target, sky = pair.input[band], pair.notes, prepared.image, prepared.sky
    center = (np.array(setup.shape) - 1) / 2
    area = pixels_for_pixel(target.unit, _FINE_AREA)
    before = from_alignment(found, area=area) if found else Registration.none(center)
    term = _band_term(band, band_terms, before, notes)
    correlation = None
    if target.uncertainty is not None:
        correlation = measure_noise_correlation(
            np.asarray(target.data, float) - sky, _missing(target)
        )
    image = resample_image(
        target,
        setup.wcs,
        setup.shape,
        method=setup.method,
        order=setup.order,
        move=move,
        kernel=prepared.kernel,
        correlation=correlation,
        factor=term,
        sky=sky,
        cards=_cards(before, move, term, sky, setup),
    )
    after = _align_pair(image.data, np.asarray(image.mask), input, setup)
    residual = from_alignment(after, area=area) if after else Registration.none(center)
    pair.target[band] = image
    pair.registrations[band] = before
    pair.residuals[band] = residual
    pair.flux_ratios[band] = (residual.flux_ratio, residual.flux_ratio_error)
    ratio = pixel_scale(setup.wcs) / pixel_scale(image_wcs(target.wcs))
    pair.sky[band] = float(sky * pixels_for_pixel(target.unit, ratio**2) * term)
    pair.coverage[band] = _valid_share(np.asarray(image.mask))
    pair.psf_errors[band] = prepared.psf_error


def _same_unit(target, input, band, notes):
    if target.unit == input.unit or target.unit is None or input.unit is None:
        return target
    try:
        factor = target.unit.to(input.unit)
    except (u.UnitConversionError, AttributeError):
        notes.append(
            f"{band}: input is in {input.unit} and target in {target.unit}, so the flux "
            "ratio includes the calibration"
        )
        return target
    deviation, meta = deviation_of(target), target.meta.copy()
    if isinstance(meta.get("SATURATE"), int | float):
        meta["SATURATE"] = meta["SATURATE"] * factor
    return _rebuilt(
        target,
        data=np.asarray(target.data, float) * factor,
        unit=input.unit,
        meta=meta,
        uncertainty=None if deviation is None else StdDevUncertainty(deviation * factor),
    )


def _sky(target, band, notes):
    data = np.asarray(target.data, float)
    try:
        background = measure_background(data, mask=_missing(target))
    except ValueError as error:
        notes.append(f"{band}: the sky of the target was not measured: {error}")
        return 0.0
    if not background.has_sky[0]:
        notes.append(f"{band}: no blank sky in the frame of the target, whose sky is left as it is")
        return 0.0
    return float(background.sky[0])


def _kernel(target, setup, band, notes):
    """Kernel that brings an image to the target PSF, and the error that remains."""
    if setup.target_psf is None:
        return None, float("nan")
    scale = pixel_scale(image_wcs(target.wcs))
    psf = image_psf(target, scale)
    if psf is None:
        notes.append(
            f"{band}: the PSF of the target is not known (set its psf, or the seeing in its "
            "header), and was left as it is"
        )
        return None, float("nan")
    fwhm, beta = setup.target_psf
    reach = int(np.ceil(_PSF_REACH * fwhm / scale))
    size = 2 * max(reach, psf.shape[0] // 2) + 1
    source = np.pad(psf, (size - psf.shape[0]) // 2)
    kernel, error = matching_kernel(
        source, psf_image((fwhm, beta), pixel_scale=scale, radius=size // 2)
    )
    if error > 0.05:
        notes.append(
            f"{band}: the PSF of the target differs from the wanted one by {100 * error:.0f} % of "
            "the peak; to come closer would raise the noise too much"
        )
    cut = size // 2 - reach
    kernel = kernel[cut : size - cut, cut : size - cut]
    return kernel / kernel.sum(), error


def _band_term(band, terms, before, notes):
    if terms is None:
        return 1.0
    if not isinstance(terms, str):
        return float(terms.get(band, 1.0))
    if not before.measured or not before.flux_ratio > 0:
        notes.append(f"{band}: the band-pass term was not measured, and is 1")
        return 1.0
    return 1 / before.flux_ratio


def _cards(before, move, term, sky, setup):
    """What was done, for the header."""
    cards = [
        ("MTGRID", f"{setup.method} {setup.order}", "resampled by"),
        ("MTTERM", term, "band-pass term, multiplied"),
        ("MTSKY", sky, "sky subtracted, per original pixel"),
        ("MTCORR", move is not None, "shift corrected"),
    ]
    if move is not None:
        cards += [
            ("MTDY", float(move(before.center)[0] - before.center[0]), "[pix] shift corrected"),
            ("MTDX", float(move(before.center)[1] - before.center[1]), "[pix] shift corrected"),
        ]
    return cards
