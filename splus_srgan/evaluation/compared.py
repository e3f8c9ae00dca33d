# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
One band of a field, made ready for comparison.

Input, output and truth are in one unit and without sky, with what is known of their noise
and their PSFs.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.wcs.utils import proj_plane_pixel_scales
from scipy import optimize

from splus_srgan.evaluation.apertures import blur_to_psf, to_input_grid
from splus_srgan.evaluation.sources import detect
from splus_srgan.exceptions import GridMismatchError
from splus_srgan.images.header import states_own_unit, winged_psf_from_header
from splus_srgan.images.io.fields import stated_sky
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.psf import TARGET_PSF, psf_profile
from splus_srgan.splus import PIXEL_SCALE

__all__ = ["ComparedBand", "compared_bands", "fit_psf"]

_NEAR_SATURATION = 0.9  # of the level in the header
_SOURCE_LEVEL = 2.5  # sigma per pixel, of what annuli leave out


@dataclass
class ComparedBand:
    """
    One band of a field: what was seen, what was made of it, and what there is.

    Parameters
    ----------
    name : str
        Band.
    image : `~numpy.ndarray`, shape (ny, nx)
        Input without sky, flux per input pixel; 0 where it is missing.
    output : `~numpy.ndarray`, shape (2 ny, 2 nx)
        Enhanced image without sky, flux per fine pixel.
    sigma : float
        Sky noise per input pixel.
    truth : `~numpy.ndarray`, shape (2 ny, 2 nx), optional
        Truth or reference without sky, flux per fine pixel.
    noise_free : bool, optional
        Whether that is a truth without noise.
    electrons : float, optional
        Electrons per unit of the flux; 0 where unknown.
    bad : `~numpy.ndarray` of bool, shape (ny, nx), optional
        Missing and saturated pixels.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        Pixels of sources: what annuli leave out.
    psf : tuple of float or None, optional
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_transfer`) of the input.
    output_psf, truth_psf : tuple of float or None, optional
        The same of the output, and of the truth.
    pixel_scale : float, optional
        Arcsec per input pixel.
    zero_point : float, optional
        AB magnitude of one unit of flux; NaN where unknown.
    notes : list of str, optional
        What a reader must know of the comparison.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> band = ComparedBand("r", np.zeros((32, 32)), np.zeros((64, 64)), 1.0, psf=(1.4, 3.0))
    >>> band.blurred_output.shape, band.seen_output.shape
    ((64, 64), (32, 32))
    """

    name: str
    image: np.ndarray
    output: np.ndarray
    sigma: float
    truth: np.ndarray | None = None
    noise_free: bool = True
    electrons: float = 0.0
    bad: np.ndarray | None = None
    mask: np.ndarray | None = None
    psf: tuple | None = None
    output_psf: tuple | None = TARGET_PSF
    truth_psf: tuple | None = TARGET_PSF
    pixel_scale: float = PIXEL_SCALE
    zero_point: float = np.nan
    notes: list = field(default_factory=list)

    def __post_init__(self):
        shape = np.shape(self.image)
        self.bad = np.zeros(shape, bool) if self.bad is None else self.bad
        self.mask = np.zeros(shape, bool) if self.mask is None else self.mask
        wanted = tuple(2 * n for n in shape)
        for name in ("output", "truth"):
            image = getattr(self, name)
            if image is not None and image.shape != wanted:
                raise GridMismatchError(
                    f"{name} of band {self.name!r} must have shape {wanted}, twice that of the "
                    f"image; got {image.shape}"
                )

    @property
    def fine_scale(self):
        """Arcsec per fine pixel."""
        return self.pixel_scale / 2

    @cached_property
    def blurred_output(self):
        """Output at the PSF of the input, fine grid; as it is where a PSF is not known."""
        if self.psf is None or self.output_psf is None:
            return self.output
        return self._blurred(self.output, self.psf, self.output_psf)

    @cached_property
    def seen_output(self):
        """Output at the PSF and on the pixels of the input."""
        return self._seen(self.output, self.output_psf)

    @cached_property
    def seen_truth(self):
        """Truth at the PSF and on the pixels of the input: the input without its noise."""
        return None if self.truth is None else self._seen(self.truth, self.truth_psf)

    def _seen(self, image, psf):
        wanted = None if psf is None else self.psf
        return to_input_grid(image, wanted, psf=psf or TARGET_PSF, pixel_scale=self.fine_scale)

    @cached_property
    def blurred_truth(self):
        """Truth at the PSF of the input, fine grid."""
        return self._blurred(self.truth, self.psf, self.truth_psf)

    def _blurred(self, image, wanted, psf):
        return blur_to_psf(image, wanted, psf=psf, pixel_scale=self.fine_scale)

    @cached_property
    def matched(self):
        """Output and truth at one PSF, the broader one of both."""
        have, want = self.output_psf, self.truth_psf
        if None in (have, want) or np.allclose(have[:2], want[:2], rtol=0.01):
            return self.output, self.truth
        if have[0] < want[0]:
            return self._blurred(self.output, want, have), self.truth
        return self.output, self._blurred(self.truth, have, want)


def fit_psf(psf, *, pixel_scale):
    """
    Give the round PSF with wings that is nearest to a PSF image.

    Parameters
    ----------
    psf : array_like, shape (ny, nx)
        PSF centred on the central pixel.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    psf : tuple of float
        FWHM (arcsec), Moffat beta and share of the wings (`~splus_srgan.pixels.psf.psf_profile`).

    Examples
    --------
    >>> from splus_srgan.evaluation.compared import fit_psf
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image = psf_image((1.0, 3.0, 0.28), pixel_scale=0.275, radius=30)
    >>> [round(value, 3) for value in fit_psf(image, pixel_scale=0.275)]
    [1.0, 3.0, 0.28]
    """
    psf = np.asarray(psf, float) / np.max(psf)
    y, x = (
        axis - (size - 1) / 2 for axis, size in zip(np.indices(psf.shape), psf.shape, strict=True)
    )
    r = pixel_scale * np.hypot(y, x)

    def residual(parameters):
        height, fwhm, beta, wings = parameters
        profile = psf_profile(r, fwhm, beta, wings)
        return (height * profile / profile.max() - psf).ravel()

    # The FWHM of as many pixels as are above half of the peak.
    start = max(2 * pixel_scale * np.sqrt(np.count_nonzero(psf > 0.5) / np.pi), pixel_scale)
    bounds = ([0.2, 0.1 * start, 1.05, 0], [5, 10 * start, 50, 0.95])
    found = optimize.least_squares(residual, [1, start, 3, 0.1], bounds=bounds, xtol=1e-12).x
    return tuple(float(value) for value in found[1:])


def compared_bands(pair, output, *, output_psf=None, truth_psf=TARGET_PSF):
    """
    Make the bands of a pair and its enhanced image ready for comparison.

    The sky of the input is the pair's, else that of the output's header (``SRSKY``),
    else it is measured; that of the output is ``SRFSKY``, else ``SRSKY``, else the input's.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input, and truth or reference where there is one.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``.  The card ``SRFSKY`` or ``SRSKY`` (sky
        per input pixel) says how much of it is sky; set it to 0 for an image without.
    output_psf : tuple of float, optional
        FWHM (arcsec), Moffat beta and share of the wings of the output; without the last,
        it has those of the input.  `None`: fitted to its ``psf``; an output without one
        counts as having the PSF of the input.
    truth_psf : tuple of float or None, optional
        The same of the truth.

    Returns
    -------
    bands : dict of str to `ComparedBand`
        A band each.

    Raises
    ------
    ValueError
        If the output lacks a band, or is in another unit.
    GridMismatchError
        If the output is not on the grid that is twice as fine, by its shape or its WCS.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.compared import compared_bands
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> pair = EvaluationPair.from_simulation(simulate_field(1, shape=(32, 32)), name="one")
    >>> bands = compared_bands(pair, pair.target)  # the truth as a perfect output
    >>> sorted(bands), bands["r"].image.shape
    (['g', 'r', 'z'], (32, 32))
    """
    lacking = [band for band in pair.bands if band not in output]
    if lacking:
        raise ValueError(
            f"output must have every band of the pair, {list(pair.bands)}; got none for {lacking}"
        )
    pair.check_fine("output", output)
    return {
        band: _compared_band(pair, band, output[band], output_psf, truth_psf) for band in pair.bands
    }


def _compared_band(pair, name, made, output_psf, truth_psf):
    """One band of a pair."""
    observed = pair.observed[name]
    bad = _bad_pixels(observed)
    meta = getattr(made, "meta", None) or {}
    sky, sigma = _sky_and_sigma(pair, name, meta, observed, bad)
    # Surface brightness is brought to flux per pixel, with an input pixel as the unit of area.
    scale = 0.25 / flux_per_pixel_factor(observed.unit, 2)
    image = np.where(bad.missing, 0, np.asarray(observed.data, float) - sky)
    fine_sky = 0.25 * float(stated_sky(meta, sky))
    output = _filled(made, scale) - fine_sky * ~_missing(made)
    truth = None if pair.target is None else _filled(pair.target[name], scale)
    psf = winged_psf_from_header(observed.meta)
    pixel_scale = _pixel_scale(observed)
    notes = [] if psf else ["the PSF of the input is not known: no PSF was matched"]
    if output_psf is None:
        output_psf = psf
        if getattr(made, "psf", None) is not None:
            output_psf = fit_psf(made.psf, pixel_scale=pixel_scale / 2)
    flags = bad.any
    if truth is not None:
        hole = _missing(pair.target[name])
        flags = flags | hole.reshape(flags.shape[0], 2, flags.shape[1], 2).any(axis=(1, 3))
    band = ComparedBand(
        name,
        image,
        output,
        sigma,
        truth=truth,
        noise_free=pair.noise_free,
        electrons=_electrons(observed),
        bad=flags,
        psf=psf,
        output_psf=_with_wings(output_psf, psf),
        truth_psf=_with_wings(truth_psf, psf) if truth is not None else None,
        pixel_scale=pixel_scale,
        zero_point=_zero_point(pair, name, observed),
        notes=notes,
    )
    band.mask = _source_mask(band)
    return band


def _with_wings(psf, seen):
    """A PSF with the wings of the input's where nothing is said of them."""
    if psf is None or seen is None:
        return psf
    return (*psf, *seen[len(psf) :])


def _source_mask(band):
    """Pixels of sources: of the truth where it has no noise, else of the input."""
    if band.truth is not None and band.noise_free:
        return band.seen_truth > _SOURCE_LEVEL * band.sigma
    return detect(band.image, band.sigma)[1]


@dataclass
class _Bad:
    missing: np.ndarray
    any: np.ndarray


def _missing(image):
    """Masked and non-finite pixels."""
    missing = ~np.isfinite(np.asarray(image.data, float))
    return missing if image.mask is None else missing | np.asarray(image.mask, bool)


def _filled(image, scale):
    return np.where(_missing(image), 0, np.asarray(image.data, float)) * scale


def _bad_pixels(observed):
    missing = _missing(observed)
    level = (observed.meta or {}).get("SATURATE")
    full = np.zeros(missing.shape, bool)
    if isinstance(level, int | float) and level > 0 and states_own_unit(observed):
        full = np.asarray(observed.data, float) >= _NEAR_SATURATION * level
    return _Bad(missing, missing | full)


def _electrons(observed):
    """Electrons per unit of the image; 0 where not known."""
    if getattr(observed, "unit", None) == u.electron:
        return 1.0
    gain = (observed.meta or {}).get("GAIN")
    stated = isinstance(gain, int | float) and gain > 0 and states_own_unit(observed)
    return float(gain) if stated else 0.0


def _zero_point(pair, name, observed):
    """AB magnitude of one unit of flux; NaN where it is not known."""
    if str(getattr(observed, "unit", "")) == "nmgy":
        return 22.5
    return float(pair.zero_points.get(name, np.nan))


def _sky_and_sigma(pair, name, meta, observed, bad):
    sky, sigma = pair.sky.get(name, meta.get("SRSKY")), pair.sigma.get(name, meta.get("SRSIGMA"))
    if sky is None or sigma is None:
        measured = measure_background(np.asarray(observed.data, float), mask=bad.missing)
        sky = measured.sky[0] if sky is None else sky
        sigma = measured.sigma[0] if sigma is None else sigma
    return float(sky), float(sigma)


def _pixel_scale(observed):
    if observed.wcs is None or not observed.wcs.has_celestial:
        return PIXEL_SCALE
    return float(np.mean(proj_plane_pixel_scales(observed.wcs.celestial))) * 3600
