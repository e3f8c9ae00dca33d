# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The PSF of each band of an input: stated, measured on its stars, or given."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.exceptions import PSFMismatchWarning
from splus_srgan.images.bands import named_as
from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.header import (
    psf_from_header,
    saturation_level,
    wing_share_from_header,
    winged_psf_from_header,
)
from splus_srgan.images.stars import MeasuredPSF, measure_psf_array, width_ratio
from splus_srgan.pixels.psf import WING_SHARE, core_profile
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import FloatArray

__all__ = ["PSF_MODES", "InputPSF", "check_psf", "input_psfs"]

PSF_MODES = ("auto", "header", "measure")
"""Where the PSF of the input may come from, if it is not given."""

_TOLERANCE = 0.1  # of the FWHM, between header and stars
_SURE = 4.0  # standard errors, by which they have to differ
_DEFAULT_BETA = 3.0
_LEAST_BETA = 1.6  # of stars


@dataclass(frozen=True)
class InputPSF:
    """
    The PSF of a band, and its origin.

    Attributes
    ----------
    source : {"header", "measured", "given", "none"}
        Origin of the PSF.
    core : tuple of float or None
        FWHM (arcsec) and Moffat beta of the core, and share of the wings, as
        `~splus_srgan.pixels.psf.psf_profile` takes them; `None` where not known.
    wings : float
        Share of the light in the wings, also of the output.
    stated : tuple of float or None
        FWHM (arcsec) and beta of one profile for core and wings, as headers have it.
    width_of_stars : float
        FWHM of the stars over that stated, where they clearly disagree; else NaN.
    """

    source: str
    core: tuple | None
    wings: float
    stated: tuple | None
    width_of_stars: float = np.nan

    @classmethod
    def of_header(cls, meta: Mapping[str, Any]) -> InputPSF:
        """PSF as stated by a header."""
        psf, wings = winged_psf_from_header(meta), wing_share_from_header(meta)
        return cls("none" if psf is None else "header", psf, wings, psf_from_header(meta))

    @classmethod
    def of_profile(cls, source: str, fwhm: float, beta: float, wings: float) -> InputPSF:
        """PSF from a single profile for core and wings, and the share of the wings."""
        return cls(source, (*core_profile(fwhm, beta, wings), wings), wings, (fwhm, beta))

    def record(self) -> dict[str, Any]:
        """Entries for the header of the output."""
        known = self.core is not None and self.stated is not None
        fwhm, beta, wings = (*present(self.stated), self.wings) if known else (None,) * 3
        return {"psf": self.source, "psf_fwhm": fwhm, "psf_beta": beta, "psf_wings": wings}


def check_psf(psf: Any) -> str | dict[str, tuple[float, float, float]]:
    """
    Check the option ``psf`` of the enhancer.

    Parameters
    ----------
    psf : str or mapping
        As `~splus_srgan.enhance.enhancer.SRGANEnhancer` takes it.

    Returns
    -------
    psf : str or dict
        A mapping becomes one of band to FWHM, beta and share of the wings.

    Raises
    ------
    ValueError
        If it is not a known mode, or a value is not a PSF.
    """
    if isinstance(psf, str) and psf in PSF_MODES:
        return psf
    if isinstance(psf, Mapping) and psf:
        return {band: _given(band, value) for band, value in psf.items()}
    raise ValueError(
        f"psf must be one of {', '.join(map(repr, PSF_MODES))}, or a mapping from band to (FWHM in "
        f"arcsec, Moffat beta); got {psf!r}"
    )


def _given(band: str, value: Any) -> tuple[float, float, float]:
    """FWHM, beta and share of the wings of what was given for a band."""
    if isinstance(value, MeasuredPSF):
        if not value.measured:
            raise ValueError(
                f"psf[{band!r}] must be known; measure_psf found {value}; take psf='auto', which "
                "looks at the header too, or give a FWHM in arcsec"
            )
        value = value.fwhm, value.beta, value.wings
    several: Any = value
    values = tuple(np.atleast_1d(several)) if isinstance(value, Real | tuple | list) else ()
    if not all(isinstance(v, Real) and not isinstance(v, bool | np.bool_) for v in values):
        values = ()
    full = (*map(float, values), *(np.nan, _DEFAULT_BETA, WING_SHARE)[len(values) :])
    fwhm, beta, wings = full if len(full) == 3 else (np.nan,) * 3
    if not (0 < fwhm < np.inf and 1 < beta < np.inf and 0 <= wings <= 1):
        raise ValueError(
            f"psf[{band!r}] must be a FWHM in arcsec above 0, a Moffat beta above 1, and a share "
            f"of the wings from 0 to 1, of which the last two may be left out; got {value!r}"
        )
    return fwhm, beta, wings


def input_psfs(
    stack: BandStack,
    psf: str | Mapping[str, tuple[float, float, float]] = "header",
    *,
    sky: FloatArray | None = None,
    sigma: FloatArray | None = None,
    default_scale: float | None = None,
    stacklevel: int = 1,
) -> list[InputPSF]:
    """
    Find the PSF of each band.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    psf : str or dict, optional
        As `check_psf` gives it.
    sky, sigma : `~numpy.ndarray`, shape (n_band, 1, 1) or (n_band, ny, nx), optional
        Needed to look at stars.
    default_scale : float, optional
        Arcsec per pixel, for an input without a WCS.
    stacklevel : int, optional
        Stack level of the warning that header and stars disagree, for the caller.

    Returns
    -------
    psfs : list of `InputPSF`
        One for each band.

    Raises
    ------
    ValueError
        If a band is not in the mapping.
    """
    if isinstance(psf, Mapping):
        return [
            InputPSF.of_profile("given", *named_as(band, psf, name="psf")) for band in stack.bands
        ]
    known = stack.wcs is not None and stack.wcs.has_celestial
    scale = pixel_scale(stack.wcs, default=default_scale) if known else default_scale
    found = [InputPSF.of_header(meta) for meta in stack.metas]
    if not known:  # without a pixel scale the cards have no meaning
        found = [InputPSF("none", None, one.wings, one.stated) for one in found]
    if psf == "header" or (psf == "auto" and not known):
        return found
    stars = _Stars(stack, sky, sigma, scale)
    look = stars.measured if psf == "measure" else stars.compared
    found = [look(k, one) for k, one in enumerate(found)]
    _warn_of_mismatch(stack.bands, found, stacklevel + 1)
    return found


class _Stars:
    """The stars of a field, band by band."""

    def __init__(self, stack: BandStack, sky: Any, sigma: Any, scale: float | None) -> None:
        self.stack, self.pixel_scale = stack, scale
        self.sky, self.sigma = (np.median(a, axis=(1, 2)) for a in (sky, sigma))

    def _band(self, k: int) -> tuple[Any, ...]:
        stack = self.stack
        return stack.data[k], stack.mask[k], float(self.sky[k]), float(self.sigma[k])

    def _options(self, k: int) -> dict[str, Any]:
        level = saturation_level(self.stack.metas[k], self.stack.unit)
        return {"pixel_scale": self.pixel_scale, "saturation": level}

    def measured(self, k: int, stated: InputPSF) -> InputPSF:
        """PSF of a band from its stars; the wings of the header if they are too few."""
        psf = measure_psf_array(*self._band(k), **self._options(k))
        if not psf.measured:
            return InputPSF("none", None, stated.wings, None)
        return InputPSF.of_profile("measured", psf.fwhm, psf.beta, psf.wings)

    def compared(self, k: int, stated: InputPSF) -> InputPSF:
        """The stated PSF of a band with what its stars say of it, or the PSF of these."""
        if stated.core is None:
            return self.measured(k, stated)
        return replace(stated, width_of_stars=self.disagreement(k, stated.core))

    def disagreement(self, k: int, core: tuple[float, ...]) -> float:
        """FWHM of the stars over the stated one, if they clearly differ; else NaN."""
        data, mask, sky, sigma = self._band(k)
        ratio, error = width_ratio(data, mask, sky, sigma, core, **self._options(k))
        if not abs(ratio - 1) > max(_TOLERANCE, _SURE * error):
            return np.nan
        psf = measure_psf_array(*self._band(k), **self._options(k))
        # Profiles with wings like that are those of galaxies.
        if not psf.measured or psf.beta < _LEAST_BETA:
            return np.nan
        ratio, error = (value / core[0] for value in (psf.core[0], psf.fwhm_error))
        return ratio if abs(ratio - 1) > max(_TOLERANCE, _SURE * error) else np.nan


def _warn_of_mismatch(bands: Sequence[str], found: Sequence[InputPSF], stacklevel: int) -> None:
    off = [
        f"{band}: {present(one.stated)[0]:.2f} arcsec, of the stars {one.width_of_stars:.2f} "
        "times that"
        for band, one in zip(bands, found, strict=True)
        if np.isfinite(one.width_of_stars)
    ]
    if off:
        warnings.warn(
            f"the seeing in the header does not fit the stars ({'; '.join(off)}); it is taken as "
            "it is: psf='measure' takes that of the stars",
            PSFMismatchWarning,
            stacklevel=stacklevel,
        )
