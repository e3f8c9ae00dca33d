# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether an input looks like the images that the generator was trained on.

An image that could be right is never refused.  Unusual properties are reported, flagged and
recorded.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import Table

from splus_srgan.enhance.kinds import KINDS
from splus_srgan.enhance.psf import input_psfs
from splus_srgan.enhance.sky import sky_and_sigma
from splus_srgan.exceptions import (
    NoSkyWarning,
    PSFMismatchWarning,
    UncertaintyDroppedWarning,
    UnusualInputWarning,
)
from splus_srgan.images.header import NEAR_SATURATION, saturation_level
from splus_srgan.images.unpack import unpack
from splus_srgan.pixels.inspection import inspect_band
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.quiet import own_filters
from splus_srgan.utils.threads import map_threads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from astropy.nddata import NDData
    from astropy.units import UnitBase
    from astropy.wcs import WCS

    from splus_srgan.enhance.psf import InputPSF
    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import Bands, FloatArray, Images, Level

__all__ = ["Finding", "InputReport", "check_input", "check_stack", "warn_of_unusual"]


@dataclass(frozen=True)
class Finding:
    """
    Result of one check in one band.

    Attributes
    ----------
    kind : str
        Name of the check, one of `~splus_srgan.enhance.kinds.KINDS`.
    band : str
        Band.
    value : float
        Measured value; NaN if it could not be measured.
    usual : tuple of float
        Lowest and highest value for images like those of the training.
    unusual : bool
        Whether the value lies outside.
    """

    kind: str
    band: str
    value: float
    usual: tuple[float | None, float | None]
    unusual: bool

    @property
    def advice(self) -> str:
        """What to do about it."""
        return KINDS[self.kind].advice


class InputReport:
    """
    Results of all checks of an input.

    Parameters
    ----------
    findings : sequence of `Finding`
        One for each check and band.

    Attributes
    ----------
    findings : tuple of `Finding`
        All of them.

    Examples
    --------
    >>> from splus_srgan.enhance.guard import Finding, InputReport
    >>> report = InputReport([Finding("floor", "r", 0.47, (0, 0.012), True)])
    >>> print(report)
    one-sided noise (r)
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)

    @property
    def unusual(self) -> list[Finding]:
        """The findings that are unusual."""
        return [finding for finding in self.findings if finding.unusual]

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Unusual kinds, each with its bands."""
        kinds: dict[str, list[str]] = {}
        for finding in self.unusual:
            kinds.setdefault(finding.kind, []).append(finding.band)
        return kinds

    def of_band(self, band: str) -> list[str]:
        """Names of the unusual kinds of a band."""
        return [finding.kind for finding in self.unusual if finding.band == band]

    @property
    def table(self) -> Table:
        """`~astropy.table.Table` with a row for each check and band."""
        rows = [
            (
                f.kind,
                f.band,
                KINDS[f.kind].title,
                f.value,
                *f.usual,
                "unusual" if f.unusual else "usual" if np.isfinite(f.value) else "not measured",
                f.advice if f.unusual else "",
            )
            for f in self.findings
        ]
        names = ("kind", "band", "what", "value", "lowest", "highest", "verdict", "advice")
        return Table(rows=rows or None, names=names)

    def __bool__(self) -> bool:
        return not self.unusual

    def __str__(self) -> str:
        listed = [f"{KINDS[kind].title} ({', '.join(bands)})" for kind, bands in self.kinds.items()]
        return "; ".join(listed) or "nothing unusual"

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def _repr_html_(self) -> str:
        return self.table._repr_html_()


@numpy_defaults
def check_input(
    data: Images | NDData,
    *,
    bands: Bands | None = None,
    mask: Level | None = None,
    unit: UnitBase | str | None = None,
    wcs: WCS | None = None,
    sky: Level | None = None,
    sigma: Level | None = None,
) -> InputReport:
    """
    Check whether an input looks like the images that the weights were trained on.

    Parameters
    ----------
    data, bands, mask, unit, wcs, sky, sigma
        As `~splus_srgan.enhance.enhancer.SRGANEnhancer` takes them at a call.

    Returns
    -------
    report : `InputReport`
        Table of checks with value, usual range, verdict and advice; true where
        nothing is unusual.

    Raises
    ------
    TypeError, ValueError
        As by a call of the enhancer.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.enhance import check_input
    >>> field = simulate_field(4, shape=(64, 64)).observed
    >>> check_input(field)
    <InputReport: nothing unusual>
    >>> field["r"].data = field["r"].data.clip(0)
    >>> check_input(field).kinds["floor"]
    ['r']
    """
    with own_filters():
        for kind in (NoSkyWarning, PSFMismatchWarning, UncertaintyDroppedWarning):
            warnings.simplefilter("ignore", kind)
        stack = unpack(data, bands=bands, mask=mask, unit=unit, wcs=wcs)
        sky, sigma, _, unlike = sky_and_sigma(stack, sky, sigma, stacklevel=1)
        psfs = input_psfs(stack, "auto", sky=sky, sigma=sigma, default_scale=PIXEL_SCALE)
    return check_stack(stack, sky, sigma, unlike, psfs)


def check_stack(
    stack: BandStack,
    sky: FloatArray,
    sigma: FloatArray,
    unlike: FloatArray,
    psfs: Sequence[InputPSF] | None = None,
) -> InputReport:
    """
    Check an unpacked input.

    Parameters
    ----------
    stack : `~splus_srgan.images.unpack.BandStack`
        Input.
    sky, sigma, unlike : `~numpy.ndarray`
        As `~splus_srgan.enhance.sky.sky_and_sigma` gives them.
    psfs : list of `~splus_srgan.enhance.psf.InputPSF`, optional
        PSF of each band.

    Returns
    -------
    report : `InputReport`
        Results for all bands.
    """

    def inspect(k: int) -> dict[str, float]:
        level = NEAR_SATURATION * saturation_level(stack.metas[k], stack.unit)
        return inspect_band(stack.data[k], stack.mask[k], sky[k], sigma[k], saturation=level)

    findings = []
    inspected = map_threads(inspect, range(len(stack.bands)))
    for k, (band, values) in enumerate(zip(stack.bands, inspected, strict=True)):
        values["asinh"] = float("BSOFTEN" in stack.metas[k])
        values["sky"] = float(unlike[k])
        if psfs is not None:
            values["psf"] = psfs[k].width_of_stars
        findings += [Finding(name, band, *kind.judge(values)) for name, kind in KINDS.items()]
    return InputReport(findings)


def warn_of_unusual(report: InputReport, stacklevel: int) -> None:
    """
    Warn about unusual properties, with one line for each kind.

    Parameters
    ----------
    report : `InputReport`
        Results of the checks.
    stacklevel : int
        As ``warnings.warn`` takes it, for the caller of this function.
    """
    for name, bands in report.kinds.items():
        kind = KINDS[name]
        if kind.warns:
            warnings.warn(
                f"unusual input: {kind.title} in {', '.join(bands)}: {kind.advice}",
                UnusualInputWarning,
                stacklevel=stacklevel + 1,
            )
