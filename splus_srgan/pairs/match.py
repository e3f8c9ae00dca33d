# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Two surveys on one grid: reprojection, registration, PSF, sky and band-pass.

`match_to_grid` resamples one image; `match_pair` makes a training pair of two fields: the
sharper survey on the grid of the other one, with pixels half as large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy.nddata import NDData

from splus_srgan.images.bands import same_band
from splus_srgan.images.grid import check_common_grid, check_frame, image_wcs
from splus_srgan.images.wcs import upsample_wcs
from splus_srgan.pairs.matching import bands as steps
from splus_srgan.pairs.matching.image import resample_image
from splus_srgan.pairs.matching.resampled_noise import ORDERS
from splus_srgan.pairs.registration.measure import register_images
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_finite, check_integer, check_one_of, check_positive

if TYPE_CHECKING:
    from typing import Literal

    from astropy.nddata import CCDData
    from astropy.wcs import WCS

    from splus_srgan.pairs.registration.measure import Registration
    from splus_srgan.utils.types import FloatArray, Image, Images, ProgressBar

__all__ = ["MatchedPair", "match_pair", "match_to_grid"]

_METHODS = ("interp", "adaptive", "exact")


@dataclass
class MatchedPair:
    """
    A field seen by two surveys, on one grid.

    Parameters
    ----------
    input : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``, as it was given, with a WCS.
    target : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(2 ny, 2 nx)`` on the grid of ``input`` with pixels half as large: masked
        where the survey has no image, with uncertainty and PSF as far as known.
    registrations : dict of str to `~splus_srgan.pairs.registration.measure.Registration`
        Registration of ``target`` on ``input`` by their WCS alone; pixels of the
        fine grid.
    residuals : dict of str to `~splus_srgan.pairs.registration.measure.Registration`
        The same for the images of this pair; equal to ``registrations`` where not corrected.
    flux_ratios : dict of str to tuple of float
        Flux of ``target`` over that of ``input`` at the same PSF, and its error; after the
        band-pass term.
    sky : dict of str to float
        Pedestal subtracted from ``target``, per fine pixel.
    coverage : dict of str to float
        Share of the fine grid that ``target`` covers with valid pixels.
    psf_errors : dict of str to float
        Residual of the PSF match: largest difference between the PSF of ``target`` and
        the target, as a share of the target's peak; NaN where not matched.
    corrected : bool
        Whether the measured shift and rotation were corrected, in any band.
    notes : list of str
        Remarks for the reader, in plain words.
    """

    input: dict[str, CCDData]
    target: dict[str, CCDData]
    registrations: dict[str, Registration]
    residuals: dict[str, Registration] = field(default_factory=dict)
    flux_ratios: dict[str, tuple[float, float]] = field(default_factory=dict)
    sky: dict[str, float] = field(default_factory=dict)
    coverage: dict[str, float] = field(default_factory=dict)
    psf_errors: dict[str, float] = field(default_factory=dict)
    corrected: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands, in order."""
        return tuple(self.target)


@numpy_defaults
def match_to_grid(
    image: Image,
    wcs: WCS,
    shape: tuple[int, int],
    *,
    method: Literal["interp", "adaptive", "exact"] = "interp",
    order: Literal["bicubic", "biquadratic", "bilinear", "nearest-neighbor"] = "bicubic",
    noise_correlation: FloatArray | None = None,
    block_size: int | None = None,
    progress_bar: ProgressBar | None = None,
) -> Image:
    r"""
    Resample an image onto another pixel grid; flux is conserved.

    Parameters
    ----------
    image : `~astropy.nddata.CCDData`, shape (ny, nx)
        Image with a celestial WCS. Its mask, uncertainty, flags and PSF are carried along.
    wcs : `~astropy.wcs.WCS`
        WCS of the new grid.
    shape : tuple of int
        ``(ny, nx)`` of the new grid.
    method : {"interp", "adaptive", "exact"}, optional
        Function of reproject. The first keeps the PSF, the others average over the new
        pixels, which broadens it, and are the right choice for a much coarser grid.
    order : {"bicubic", "biquadratic", "bilinear", "nearest-neighbor"}, optional
        Order of ``"interp"``.
    noise_correlation : `~numpy.ndarray`, odd shape, optional
        Correlation of the image's noise by lag, 1 at the center. By default it is white.
    block_size : int, optional
        Side of the blocks, in new pixels, into which large images are cut, on dask. Only the
        part of the image that a block needs is read, so the image may be a memory map.
    progress_bar : callable, optional
        Wraps the iterable over groups of blocks, as ``tqdm.tqdm`` does.

    Returns
    -------
    matched : `~astropy.nddata.CCDData`, shape (ny, nx)
        float32, of the class of the image, in its unit; masked where the image has nothing.

    Raises
    ------
    TypeError
        If ``image`` is not an NDData or ``wcs`` not an `~astropy.wcs.WCS`.
    ValueError
        If the image has no celestial WCS, is not two-dimensional, is in no linear unit, or an
        option is unknown.

    Notes
    -----
    Values per pixel are multiplied by the ratio of areas, the determinant of the derivatives
    of the map of pixels, which with distortions varies over the image. Surface brightness
    (per square arcsec, per steradian) is not.

    A new pixel is a weighted sum of old ones, and its variance that of the weights,
    :math:`\sum_i w_i^2 \sigma_i^2`. For cubic splines that is 1 at the center of an old
    pixel, 0.57 at its corner, 0.78 on average. The rest is in the correlation of
    neighbors: errors of sums over many pixels must *not* be computed from the standard
    deviations of the pixels alone. The error of a sum over an aperture much larger than a pixel
    it is that of the original pixels.

    ``psf`` of the result is that of its pixels: with methods that broaden it, as broad as that
    makes it, on average over where a star may lie between the pixels. A header's seeing becomes
    ``psf`` then, and its cards are kept as ``INPUT ...``.

    Missing pixels are filled from their neighbors before the resampling; new pixels whose
    four nearest old ones include a missing one are masked. Pixels farther away
    see the filled value only with the weight of the kernel's tails.

    Examples
    --------
    >>> from splus_srgan import match_to_grid, simulate_field, upsample_wcs
    >>> image = simulate_field(1, shape=(32, 32)).observed["r"]
    >>> fine = match_to_grid(image, upsample_wcs(image.wcs), (64, 64))
    >>> fine.shape, bool(abs(fine.data.sum() / image.data.sum() - 1) < 0.05)
    ((64, 64), True)
    """
    _check_options(method, order)
    wcs = _target_wcs(wcs)
    if np.shape(shape) != (2,):
        raise ValueError(f"shape must be (ny, nx) of the new grid; got {shape!r}")
    shape = tuple(check_integer("shape", n, minimum=1) for n in shape)
    if block_size is not None:
        check_integer("block_size", block_size, minimum=16)
    return resample_image(
        image,
        wcs,
        shape,
        method=method,
        order=order,
        correlation=noise_correlation,
        block_size=block_size,
        progress_bar=progress_bar,
    )


def _check_options(method, order):
    check_one_of("method", method, _METHODS)
    check_one_of("order", order, ORDERS)


def _target_wcs(wcs):
    wcs = image_wcs(wcs)
    if wcs is None:
        raise TypeError("wcs must be an astropy.wcs.WCS; got None")
    check_frame(wcs)
    return wcs


@numpy_defaults
def match_pair(
    input: Images,
    target: Images,
    *,
    correct: bool = True,
    target_psf: tuple[float, float] | None = TARGET_PSF,
    band_terms: Mapping[str, float] | Literal["measure"] | None = None,
    subtract_sky: bool = True,
    method: Literal["interp", "adaptive", "exact"] = "interp",
    order: Literal["bicubic", "biquadratic", "bilinear", "nearest-neighbor"] = "bicubic",
    max_shift: float = 5.0,
    input_scale: float | None = None,
    target_scale: float | None = None,
    progress_bar: ProgressBar | None = None,
) -> MatchedPair:
    r"""
    Make a pair of two images of one field: the sharper one on a grid twice as fine.

    Parameters
    ----------
    input, target : mapping of str to `~astropy.nddata.CCDData`
        Band to image, of the survey that is to be enhanced and of the sharper one. Bands that
        only one side has are left out. The bands of a side share one grid.
    correct : bool, optional
        Whether the shift measured on the images is corrected, per band, and with it rotation
        and scale where they are significant (5 standard errors).
    target_psf : tuple of float or None, optional
        FWHM (arcsec) and Moffat beta that ``target`` is brought to, by default the one of the
        shipped weights; `None` leaves its PSF alone. The PSF of ``target`` has to be known: its
        ``psf``, or the seeing in its header.
    band_terms : mapping of str to float, or "measure", optional
        Factor by which ``target`` is multiplied, per band, as if it were seen through
        the filter of ``input``; ``"measure"`` takes the inverse of the measured flux ratio.
    subtract_sky : bool, optional
        Whether the sky of ``target`` is subtracted, where there is sky in the frame.
    method, order
        As for `match_to_grid`.
    max_shift : float, optional
        Shift in arcsec beyond which the WCS are taken to be wrong.
    input_scale, target_scale : float, optional
        Pixel scale (arcsec, good to 6 %) of a side that has no WCS; it is then registered on
        the other side by the images alone.
    progress_bar : callable, optional
        Wraps the iterable over the bands, as ``tqdm.tqdm`` does.

    Returns
    -------
    pair : `MatchedPair`
        Images, measurements and notes.

    Raises
    ------
    TypeError
        If a side is not a mapping of NDData.
    ValueError
        If no band is common, no side has a WCS, or an option is wrong.
    GridMismatchError
        If the bands of a side are on different grids.
    RegistrationError
        If the WCS do not describe the images: they do not overlap, are further apart than
        ``max_shift``, or one array is transposed or flipped. The message says which.

    Notes
    -----
    First ``target`` is convolved on its own pixels; then the registration is measured on the images
    (`~splus_srgan.pairs.registration.measure.measure_registration`), and ``target`` resampled
    once, onto the corrected positions. The kernel is that of
    `photutils.psf_matching.make_wiener_kernel`, with the least regularization for which the
    noise at most doubles; ``psf`` of the result is the PSF that is reached.

    The uncertainty of ``target`` is propagated through both steps, with the correlation
    of its noise, which is measured on blank sky. It holds for single pixels: noise of
    neighbors is correlated, over about the width of the kernel.

    Examples
    --------
    >>> from splus_srgan import match_pair, simulate_field
    >>> field = simulate_field(1, shape=(64, 64), bands="r", kind="cluster")
    >>> pair = match_pair(field.observed, field.target, target_psf=None)
    >>> pair.target["r"].shape, pair.corrected
    ((128, 128), True)
    """
    _check_options(method, order)
    max_shift = check_positive("max_shift", max_shift)
    target_psf = check_target_psf(target_psf)
    input, target, notes = _common_bands(input, target)
    _check_terms(band_terms, target)
    _find_missing_wcs(input, target, input_scale, target_scale, notes)
    shape = tuple(2 * n for n in np.shape(next(iter(input.values())).data))
    wcs = upsample_wcs(_plain(image_wcs(next(iter(input.values())).wcs)))
    wcs.array_shape = shape
    setup = steps.Setup(wcs, shape, method, order, max_shift, target_psf, subtract_sky)
    pair = MatchedPair(input, {}, {}, notes=notes)
    prepared = {
        band: steps.prepare(input[band], target[band], band, setup, notes) for band in target
    }
    measured = steps.measure_bands(input, prepared, setup, notes)
    moves = steps.choose_corrections(measured, notes) if correct else {}
    for band in target if progress_bar is None else progress_bar(list(target)):
        move = moves.get(band)
        steps.match_band(pair, band, prepared[band], setup, measured[band], move, band_terms)
    pair.corrected = bool(moves)
    return pair


def _plain(wcs):
    """A copy without its shape, which has an axis too many when read from the header of a cube."""
    wcs = wcs.deepcopy()
    wcs.pixel_shape = None
    return wcs


def check_target_psf(psf):
    """Return the option ``target_psf`` of `match_pair` as numbers, or refuse it."""
    if psf is None:
        return None
    try:
        fwhm, beta = psf
    except (TypeError, ValueError):
        raise ValueError(
            f"target_psf must be FWHM (arcsec) and Moffat beta, such as (1.0, 3.0); got {psf!r}"
        ) from None
    check_positive("target_psf", fwhm)
    if check_finite("target_psf", beta) <= 1:
        raise ValueError(f"target_psf must have a Moffat beta above 1; got {psf!r}")
    return float(fwhm), float(beta)


def _check_terms(terms, target):
    if terms is None or (isinstance(terms, str) and terms == "measure"):
        return
    if not isinstance(terms, Mapping):
        raise TypeError(
            f'band_terms must be a mapping of band to factor, or "measure"; got {terms!r}'
        )
    for band, term in terms.items():
        check_positive(f"band_terms[{band!r}]", term)
        if band not in target:
            raise ValueError(
                f"band_terms must name bands of the pair, {list(target)}; got {band!r}"
            )


def _common_bands(input, target):
    for name, side in (("input", input), ("target", target)):
        if not isinstance(side, Mapping) or not all(isinstance(i, NDData) for i in side.values()):
            raise TypeError(
                f"{name} must be a mapping of band to CCDData; got {type(side).__name__}"
            )
        for band, image in side.items():
            if np.ndim(image.data) != 2:
                raise ValueError(
                    f"{name}[{band!r}] must have shape (ny, nx); got {np.shape(image.data)}"
                )
    partners = {band: [other for other in target if same_band(band, other)] for band in input}
    common = {band: found[0] for band, found in partners.items() if found}
    if not common:
        raise ValueError(
            f"input and target must have a band in common; got {sorted(input)} and {sorted(target)}"
        )
    notes = []
    alone = [f"input has {band}" for band in input if band not in common]
    alone += [f"target has {band}" for band in target if band not in common.values()]
    if alone:
        notes.append(f"bands of one side only are left out: {', '.join(alone)}")
    input = {band: input[band] for band in common}
    target = {band: target[other] for band, other in common.items()}
    for name, side in (("input", input), ("target", target)):
        wcses = [image_wcs(i.wcs, name=f"wcs of {name}[{b!r}]") for b, i in side.items()]
        labels = [f"{name}[{band!r}]" for band in side]
        check_common_grid(labels, [np.shape(i.data) for i in side.values()], wcses)
    return input, target, notes


def _find_missing_wcs(input, target, input_scale, target_scale, notes):
    """Give the side without a WCS the one found from the images, in place."""
    sides = {"input": (input, input_scale), "target": (target, target_scale)}
    missing = [name for name, (side, _) in sides.items() if next(iter(side.values())).wcs is None]
    if len(missing) == 2:
        raise ValueError(
            "input or target must have a WCS; got none on either side: give one of them an "
            "approximate one, splus_srgan.pairs.approximate_wcs(shape, pixel_scale)"
        )
    if not missing:
        return
    name = missing[0]
    side, scale = sides[name]
    if scale is None:
        raise ValueError(f"{name}_scale must be given (arcsec per pixel), since {name} has no WCS")
    other = target if name == "input" else input
    band = steps.brightest_band(side)
    wcs, found = register_images(side[band], other[band], scale=scale)
    for key, image in side.items():
        side[key] = steps.with_wcs(image, wcs)
    notes.append(
        f"{name} has no WCS: it was registered on the image alone, in {band}, from an approximate "
        f"scale of {scale:g} arcsec per pixel ({found.orientation}; {found})"
    )
