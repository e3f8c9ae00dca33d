# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether a matched pair is fit to learn from, in numbers and in words.

The selection by eye, made repeatable: each pair is measured, every number is held
against a limit, and each limit that is exceeded is a reason to reject the pair.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan.pairs.quality.band import measure_band
from splus_srgan.pairs.quality.contact_sheet import contact_sheet
from splus_srgan.utils.floats import numpy_defaults

if TYPE_CHECKING:
    from astropy.units import UnitBase

    from splus_srgan.pairs.match import MatchedPair

__all__ = ["BandQuality", "PairLimits", "PairReport", "assess_pair", "contact_sheet"]

_SIGNIFICANT = 3  # standard errors


@dataclass(frozen=True)
class PairLimits:
    """
    Limits that a pair must meet to be accepted.

    Parameters
    ----------
    shift : float, optional
        Largest shift left between both sides, per axis (arcsec).
    rotation : float, optional
        Largest rotation left (deg).
    scale : float, optional
        Largest remaining error of the pixel scale, as a fraction.
    flux_ratio : tuple of float, optional
        Least and largest flux of the target over that of the input, both in one unit.
    missing : float, optional
        Largest share of pixels that either side lacks.
    saturated : float, optional
        Largest share of saturated pixels on either side.
    fwhm : float, optional
        Largest seeing FWHM of either side (arcsec).
    depth : float, optional
        Largest excess (mag) of the depth of the input over that of the target.
    different : int, optional
        Largest number of sources that only one side shows, or that differ strongly in flux.
    trail : float, optional
        Largest share of a line across the frame that only one side shows as bright;
        a satellite that crosses it has nearly 1.

    Notes
    -----
    Shift, rotation and scale count where they exceed 3 standard errors as well, the flux
    ratio where it is outside by as much. A pair whose shift is known in no band with an error
    below the limit is rejected: its alignment is not known.
    """

    shift: float = 0.1
    rotation: float = 0.1
    scale: float = 0.001
    flux_ratio: tuple[float, float] = (0.8, 1.25)
    missing: float = 0.02
    saturated: float = 0.001
    fwhm: float = 2.5
    depth: float = 0.0
    different: int = 0
    trail: float = 0.4


def _quantity(unit, **kwargs):
    return field(metadata={"unit": unit}, **kwargs)


@dataclass(frozen=True)
class BandQuality:
    """
    One band of a pair in numbers; NaN where something could not be measured.

    Attributes
    ----------
    shift_y, shift_x, shift_error : float
        Shift left of the target against the input along the axes of the grid, and its
        standard error (arcsec).
    found_y, found_x : float
        The shift before it was corrected (arcsec).
    rotation, rotation_error : float
        Rotation left (deg).
    scale, scale_error : float
        Pixel scale that the images show over the one that the WCS state, less 1.
    found_scale : float
        The same before it was corrected.
    flux_ratio, flux_ratio_error : float
        Flux of the target over that of the input.
    missing_input, missing_target : float
        Share of pixels without data.
    saturated_input, saturated_target : float
        Share of saturated pixels.
    fwhm_input, fwhm_target : float
        Seeing (arcsec): of the ``psf`` of the image, else of its header, else of its stars.
    depth_input, depth_target : float
        Magnitude of 5 sigma in an aperture of 3 arcsec.
    sources, different : int
        Sources that were compared, and those that one side lacks or that differ strongly.
    trail : float
        Share of a line across the frame that only one side shows as bright.
    """

    shift_y: float = _quantity(u.arcsec, default=math.nan)
    shift_x: float = _quantity(u.arcsec, default=math.nan)
    shift_error: float = _quantity(u.arcsec, default=math.nan)
    found_y: float = _quantity(u.arcsec, default=math.nan)
    found_x: float = _quantity(u.arcsec, default=math.nan)
    rotation: float = _quantity(u.deg, default=math.nan)
    rotation_error: float = _quantity(u.deg, default=math.nan)
    scale: float = math.nan
    scale_error: float = math.nan
    found_scale: float = math.nan
    flux_ratio: float = math.nan
    flux_ratio_error: float = math.nan
    missing_input: float = math.nan
    missing_target: float = math.nan
    saturated_input: float = math.nan
    saturated_target: float = math.nan
    fwhm_input: float = _quantity(u.arcsec, default=math.nan)
    fwhm_target: float = _quantity(u.arcsec, default=math.nan)
    depth_input: float = _quantity(u.Unit("mag"), default=math.nan)
    depth_target: float = _quantity(u.Unit("mag"), default=math.nan)
    sources: int = 0
    different: int = 0
    trail: float = math.nan

    @classmethod
    def units(cls) -> dict[str, UnitBase]:
        """
        Give the units of the numbers.

        Returns
        -------
        units : dict of str to `~astropy.units.UnitBase`
            Units of those numbers that have one.
        """
        return {f.name: f.metadata["unit"] for f in fields(cls) if "unit" in f.metadata}

    @classmethod
    def counts(cls) -> set[str]:
        """
        Give the names of the numbers that are counts.

        Returns
        -------
        names : set of str
            Of the fields that hold an `int`.
        """
        # Annotations of this module are not evaluated, so they are text.
        return {f.name for f in fields(cls) if f.type in (int, "int")}


@dataclass(frozen=True)
class PairReport:
    """
    What is known about a pair, and the verdict.

    Parameters
    ----------
    bands : dict of str to `BandQuality`
        Measurements of each band.
    reasons : tuple of str
        Why it is rejected; empty for a good pair.
    notes : tuple of str
        Further remarks for the reader.

    Examples
    --------
    >>> from splus_srgan.pairs.quality.pair import BandQuality, PairReport
    >>> report = PairReport({"r": BandQuality(shift_y=0.3)}, ("r: the shift is too large",))
    >>> report.verdict
    'reject'
    """

    bands: dict[str, BandQuality]
    reasons: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """``"accept"`` or ``"reject"``."""
        return "reject" if self.reasons else "accept"

    def table(self) -> QTable:
        """
        Put the numbers into a table.

        Returns
        -------
        table : `~astropy.table.QTable`
            One row per band; columns as the attributes of `BandQuality`, with units.
        """
        rows = [{"band": band} | asdict(quality) for band, quality in self.bands.items()]
        table = QTable(rows, names=["band", *(f.name for f in fields(BandQuality))])
        for name, unit in BandQuality.units().items():
            table[name] = np.asarray(table[name], dtype=float) * unit
        return table


@numpy_defaults
def assess_pair(matched: MatchedPair, *, limits: PairLimits | None = None) -> PairReport:
    """
    Measure a pair and judge it.

    Parameters
    ----------
    matched : `~splus_srgan.pairs.match.MatchedPair`
        Input ``(ny, nx)`` and target ``(2 ny, 2 nx)`` per band, as
        `~splus_srgan.pairs.match.match_pair` gives them.
    limits : `PairLimits`, optional
        Limits; the default ones by default.

    Returns
    -------
    report : `PairReport`
        Numbers per band, verdict and reasons.

    Notes
    -----
    For the comparison of sources and the search for trails the target is binned to the
    pixels of the input, brought to its unit by the flux ratio, and the sharper of the two is
    blurred to the other by a Gaussian.

    Examples
    --------
    See :doc:`/user_guide/pairs`.
    """
    limits = PairLimits() if limits is None else limits
    bands, notes = {}, list(matched.notes)
    units = {matched.input[band].unit for band in matched.bands}
    units |= {matched.target[band].unit for band in matched.bands}
    if len(units) > 1:
        limits = replace(limits, flux_ratio=(0.0, math.inf))
        named = " and ".join(sorted(str(unit) for unit in units))
        notes.append(f"the sides are in {named}, so their flux ratio is not judged")
    for band in matched.bands:
        found = matched.registrations.get(band)
        numbers = measure_band(
            matched.input[band],
            matched.target[band],
            band,
            residual=matched.residuals.get(band, found),
            found=found,
            flux_ratio=matched.flux_ratios.get(band, (math.nan, math.nan)),
        )
        bands[band] = BandQuality(**numbers)
    reasons = _unregistered(bands, limits)
    for band, quality in bands.items():
        reasons += [f"{band}: {reason}" for reason in _reasons(quality, limits)]
    return PairReport(bands, tuple(reasons), tuple(notes))


def _unregistered(bands, limits):
    if any(quality.shift_error <= limits.shift for quality in bands.values()):
        return []
    return [
        f'the shift is known to {limits.shift:g}" in no band: too few sources that both sides share'
    ]


def _reasons(quality, limits):
    """List the limits that a band exceeds; NaN exceeds none."""
    return [
        *_geometry_reasons(quality, limits),
        *_side_reasons(quality, limits),
        *_content_reasons(quality, limits),
    ]


def _beyond(value, error, limit):
    """Whether a value is significant and above its limit."""
    return abs(value) > limit and abs(value) > _SIGNIFICANT * np.nan_to_num(error)


def _geometry_reasons(q, limits):
    reasons = []
    shift = max(abs(q.shift_y), abs(q.shift_x))
    if _beyond(shift, q.shift_error, limits.shift):
        reasons.append(
            f'shift of {shift:.2f} ± {q.shift_error:.2f}" is left, above {limits.shift:g}"'
        )
    if _beyond(q.rotation, q.rotation_error, limits.rotation):
        reasons.append(
            f"rotation of {q.rotation:.2f} ± {q.rotation_error:.2f} deg is left, "
            f"above {limits.rotation:g} deg"
        )
    if _beyond(q.scale, q.scale_error, limits.scale):
        reasons.append(
            f"pixel scale is off by {100 * q.scale:.2f} ± {100 * q.scale_error:.2f} %, "
            f"above {100 * limits.scale:g} %"
        )
    return reasons


def _side_reasons(q, limits):
    """List the faults of the input alone or of the target alone."""
    reasons = []
    for side in ("input", "target"):
        missing = getattr(q, f"missing_{side}")
        if missing > limits.missing:
            reasons.append(
                f"{100 * missing:.1f} % of the {side} is missing, above {100 * limits.missing:g} %"
            )
        saturated = getattr(q, f"saturated_{side}")
        if saturated > limits.saturated:
            reasons.append(
                f"{100 * saturated:.2f} % of the {side} is saturated, "
                f"above {100 * limits.saturated:g} %"
            )
        fwhm = getattr(q, f"fwhm_{side}")
        if fwhm > limits.fwhm:
            reasons.append(f'seeing of the {side} is {fwhm:.2f}", above {limits.fwhm:g}"')
    return reasons


def _content_reasons(q, limits):
    reasons = []
    low, high = limits.flux_ratio
    error = _SIGNIFICANT * np.nan_to_num(q.flux_ratio_error)
    if q.flux_ratio + error < low or q.flux_ratio - error > high:
        reasons.append(
            f"flux ratio of {q.flux_ratio:.3f} ± {q.flux_ratio_error:.3f} "
            f"is outside {low:g} to {high:g}"
        )
    if q.depth_input - q.depth_target > limits.depth:
        reasons.append(
            f"the target is shallower than the input: {q.depth_target:.2f} against "
            f"{q.depth_input:.2f} mag"
        )
    if q.different > limits.different:
        reasons.append(
            f"{q.different} of {q.sources} sources are on one side alone or differ strongly "
            f"(variable, moving, artefact), above {limits.different}"
        )
    if q.trail > limits.trail:
        reasons.append(
            f"a trail is on one side alone: {100 * q.trail:.0f} % of a line across the frame, "
            f"above {100 * limits.trail:g} %"
        )
    return reasons
