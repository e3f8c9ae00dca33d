# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
All limits of the evaluation, in one table.

A *needed* check is one that its topic is safe only with, made in every band; the others can
only speak against it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.statistics import judged

__all__ = ["LIMITS", "Limit", "limits_table"]

_OPEN = math.inf


@dataclass(frozen=True)
class Limit:
    """
    What a measured value has to keep.

    Parameters
    ----------
    topic : str
        One of ``TOPICS`` of `splus_srgan.evaluation.checks`.
    name : str
        Name of the check; words in braces are put in by the measure, as in ``"offset of {color}"``.
    low, high : float or None
        The range that passes; `None`: the value informs and decides nothing.
    unit : str, optional
        Unit of the value; ``""`` for a pure number.
    fault : str, optional
        What is wrong where it fails, in plain words.
    of : str, optional
        What is counted.
    least : int, optional
        How many of them there must be.
    needed : bool, optional
        Whether its topic is safe only where this check was made, in every band.

    Examples
    --------
    >>> from splus_srgan.evaluation.limits import LIMITS
    >>> check = LIMITS["star shift"].judge("r", 0.01, error=0.002, count=20, axis="x")
    >>> check.name, check.passed
    ('median shift of stars in x', True)
    """

    topic: str
    name: str
    low: float | None
    high: float | None
    unit: str = ""
    fault: str = ""
    of: str = "pixels"
    least: int = 1
    needed: bool = False

    @property
    def range(self) -> tuple[float, float] | None:
        """``(low, high)``, or `None` where the value decides nothing."""
        if self.low is None or self.high is None:
            return None
        return self.low, self.high

    def judge(
        self,
        band: str,
        value: float,
        *,
        error: float = math.nan,
        count: int = 0,
        note: str = "",
        known: bool = False,
        needed: bool | None = None,
        **words: object,
    ) -> Check:
        """
        Make a check whose value counts only where its error allows a verdict.

        Parameters
        ----------
        band : str
            Band, or ``""`` for all together.
        value, error, count, note, known
            As for `~splus_srgan.evaluation.statistics.judged`.
        needed : bool, optional
            Whether the topic is safe only with this check; that of the limit by default.
        **words
            For the braces of the name.

        Returns
        -------
        check : `~splus_srgan.evaluation.checks.Check`
            "Not measured" where there is too little for a verdict.
        """
        value, note = judged(
            value, self.range, error=error, count=count, note=note, known=known,
            least=self.least, of=self.of,
        )  # fmt: skip
        return self.check(band, value, error=error, count=count, note=note, needed=needed, **words)

    def check(
        self,
        band: str,
        value: float,
        *,
        error: float = math.nan,
        count: int = 0,
        note: str = "",
        needed: bool | None = None,
        **words: object,
    ) -> Check:
        """Make a check of a value that counts as it is; arguments as for `judge`."""
        return Check(
            self.topic,
            self.name.format(**words),
            band,
            float(value),
            self.range,
            self.unit,
            float(error),
            int(count),
            note,
            needed=self.needed if needed is None else needed,
            of=self.of,
            fault=self.fault,
        )


_STARS: dict[str, Any] = {"of": "stars", "least": 3}
_SOURCES: dict[str, Any] = {"of": "sources", "least": 3}

LIMITS = {
    # Photometry
    "flux": Limit(
        "photometry", "median flux offset against the {against}", -0.01, 0.01, "mag",
        "wrong fluxes", needed=True, **_SOURCES,
    ),
    "flux scatter": Limit(
        "photometry", "flux scatter beyond the noise against the {against}", 0.0, 0.03, "mag",
        "scattered fluxes", needed=True, **_SOURCES,
    ),
    "flux lost": Limit(
        "photometry", "sources without flux against the {against}", 0.0, 0.5, "",
        "sources without flux", of="sources",
    ),
    "part flux": Limit(
        "photometry", "median flux offset of the worst part against the {against}", -0.03, 0.03,
        "mag", "wrong fluxes in a part of the frame", **_SOURCES,
    ),
    "color": Limit(
        "photometry", "median offset of {color} against the {against}", -0.01, 0.01, "mag",
        "wrong colors", **_SOURCES,
    ),
    "growth": Limit(
        "photometry", "worst median offset of the curve of growth", -0.02, 0.02, "mag",
        "wrong fluxes in some apertures", **_SOURCES,
    ),
    "injected flux": Limit(
        "photometry", "median flux offset of injected {kind}", -0.01, 0.01, "mag",
        "wrong fluxes of injected sources", **_SOURCES,
    ),
    "large scales": Limit(
        "photometry", "flux on large scales, output / target", 0.99, 1.01, "",
        "wrong flux on large scales",
    ),
    "trend": Limit(
        "photometry", "trend of input less blurred output with flux", -0.01, 0.01, "",
        "flux that the input does not have",
    ),
    # Astrometry
    "star shift": Limit(
        "astrometry", "median shift of stars in {axis}", -0.05, 0.05, "output pix",
        "shifted stars", needed=True, **_STARS,
    ),
    "star scatter": Limit(
        "astrometry", "scatter of stars beyond the input's error", 0.0, 0.1, "output pix",
        "scattered positions", needed=True, **_STARS,
    ),
    "shift": Limit(
        "astrometry", "shift against the target beyond that of the input", 0.0, 0.05, "output pix",
        "shifted image",
    ),
    "rotation": Limit(
        "astrometry", "shift at the corners by a rotation", -0.1, 0.1, "output pix",
        "a turned image", of="tiles", least=4,
    ),
    "scale": Limit(
        "astrometry", "shift at the corners by another scale", -0.1, 0.1, "output pix",
        "an image of another scale", of="tiles", least=4,
    ),
    "local shift": Limit(
        "astrometry", "largest shift of a part of the frame", 0.0, 0.15, "output pix",
        "a part of the frame that was moved", needed=True, of="tiles", least=4,
    ),
    # Morphology
    "width": Limit(
        "morphology", "FWHM of stars over the expected one, less 1", -0.05, 0.05, "",
        "stars of another width than promised", needed=True, **_STARS,
    ),
    "part width": Limit(
        "morphology", "FWHM of stars of the worst part over the expected one, less 1", -0.1, 0.1,
        "", "stars of another width in a part of the frame", **_STARS,
    ),
    "sharpening": Limit(
        "morphology", "FWHM of stars over the input's", 0.0, 1.0, "",
        "stars that are no sharper", **_STARS,
    ),
    "size": Limit(
        "morphology", "median size over the target's, less 1", -0.03, 0.03, "", "wrong sizes",
        **_SOURCES,
    ),
    "ellipticity": Limit(
        "morphology", "median change of ellipticity", -0.01, 0.01, "", "wrong ellipticities",
        **_SOURCES,
    ),
    "ellipticity scatter": Limit(
        "morphology", "scatter of ellipticity", 0.0, 0.05, "", "scattered ellipticities",
        **_SOURCES,
    ),
    "contrast": Limit(
        "morphology", "contrast on the scale of the PSF, output / target", 0.85, 1.15, "",
        "wrong contrast of fine detail",
    ),
    "PSNR": Limit(
        "morphology", "PSNR ahead of bicubic", -0.01, _OPEN, "dB", "no better than interpolation",
    ),
    "SSIM": Limit(
        "morphology", "SSIM ahead of bicubic", -0.001, _OPEN, "", "no better than interpolation",
    ),
    "PSF over input": Limit(
        "morphology", "FWHM out / in", 0.0, 1.0, "", "stars that are no sharper", **_STARS,
    ),
    "PSF width": Limit(
        "morphology", "FWHM out / promised", 0.95, 1.05, "",
        "stars of another width than promised", **_STARS,
    ),
    "star width": Limit(
        "morphology", "width of stars over the truth's at the promised PSF, less 1", -0.05, 0.05,
        "", "stars of another width than promised", **_STARS,
    ),
    "part star width": Limit(
        "morphology",
        "width of stars of the worst part over the truth's at the promised PSF, less 1", -0.1, 0.1,
        "", "stars of another width in a part of the frame", **_STARS,
    ),
    "galaxy width": Limit(
        "morphology", "width of other sources over the truth's at the promised PSF, less 1",
        -0.15, 0.15, "", "another sharpness than promised", **_SOURCES,
    ),
    "PSF ellipticity": Limit(
        "morphology", "ellipticity of the PSF, by sources beside the truth", -0.05, 0.05, "",
        "a PSF that is not round", **_SOURCES,
    ),
    "PSF residual": Limit(
        "morphology", "residual against the promised PSF", 0.0, 0.1, "",
        "another PSF than promised", **_STARS,
    ),
    "PSF energy": Limit(
        "morphology", "encircled energy within the promised FWHM, out - promised", -0.03, 0.03,
        "", "another PSF than promised", **_STARS,
    ),
    # Honesty
    "chi2": Limit(
        "honesty", "mean square of input less blurred output", 0.8, 1.2, "",
        "disagreement with the input", needed=True,
    ),
    "bright chi2": Limit(
        "honesty", "mean square of input less blurred output in bright sources", 0.0, 2.0, "",
        "disagreement with the input in bright sources", of="fields",
    ),
    "mean residual": Limit(
        "honesty", "mean of input less blurred output", -0.1, 0.1, "sigma",
        "sky that was added or lost", needed=True,
    ),
    "peak residual": Limit(
        "honesty", "largest smoothed residual of the input", -7.0, 7.0, "sigma",
        "disagreement with the input at one place", needed=True,
    ),
    "invented": Limit(
        "honesty", "invented sources", 0.0, 0.0, "", "invented sources", of="sources",
    ),
    "removed": Limit(
        "honesty", "removed sources", 0.0, 0.0, "", "removed sources", of="sources",
    ),
    "hallucination": Limit(
        "honesty", "hallucination, as a share of the detail that the input lacks", 0.0, 0.25, "",
        "invented detail",
    ),
    "improvement": Limit(
        "honesty", "improvement, as a share of the detail that the input lacks", 0.5, 1.0, "",
        "missing detail",
    ),
    "completeness": Limit(
        "honesty", "completeness at S/N > {snr}", 0.95, 1.0, "", "removed sources", of="sources",
    ),
    "purity": Limit(
        "honesty", "purity at S/N > {snr}", 0.95, 1.0, "", "invented sources", of="sources",
    ),
    "noise alone": Limit(
        "honesty", "detections in noise alone, 5 sigma of the input's noise, per field", 0.0, 0.0,
        "", "sources made of noise", of="fields",
    ),
    "own noise": Limit(
        "honesty", "detections in noise alone, 5 sigma of the output's own noise, per field",
        None, None, of="fields",
    ),
    "swap": Limit(
        "honesty", "correlation of details under a swap of the noise", 0.7, 1.0, "",
        "detail made of noise", of="fields",
    ),
    "injected found": Limit(
        "honesty", "share of injected sources found", 0.95, 1.0, "", "removed sources",
        of="sources", least=3,
    ),
    # Artefacts
    "lost": Limit(
        "artefacts", "unmasked pixels without a value", 0.0, 0.0, "",
        "unmasked holes", needed=True,
    ),
    "line": Limit(
        "artefacts", "pattern at given periods", 0.0, 0.001, "sigma", "a periodic pattern",
    ),
    "any line": Limit(
        "artefacts", "pattern at any period", 0.0, 0.001, "sigma", "a periodic pattern",
    ),
    "seam": Limit("artefacts", "seam", 0.0, 0.01, "sigma", "seams", of="fields", needed=True),
    "clouds": Limit(
        "artefacts", "clouds in the sky", 0.0, 0.05, "sigma", "clouds in the sky", needed=True,
    ),
    "low frequency": Limit(
        "artefacts", "large-scale residual", 0.0, 0.1, "sigma", "large-scale structure",
    ),
    "ring": Limit(
        "artefacts", "rings around stars", 0.0, 0.01, "", "rings around stars", of="stars",
    ),
    "color change": Limit(
        "artefacts", "change of color", 0.0, 0.2, "mag", "false colors",
    ),
    "rough sky": Limit(
        "artefacts", "noise from pixel to pixel in the sky", 0.0, 0.05, "sigma",
        "noise from pixel to pixel",
    ),
    "mean line": Limit(
        "artefacts", "pattern in the mean output", 0.0, 0.0005, "sigma",
        "a pattern that all outputs have", of="fields",
    ),
    "mean low frequency": Limit(
        "artefacts", "large-scale structure of the mean output", 0.0, 0.05, "sigma",
        "structure that all outputs have", of="fields",
    ),
    "turned sky": Limit(
        "artefacts", "change by turning, sky", 0.0, 0.05, "sigma", "sky that depends on the turn",
        of="fields",
    ),
    "turned sources": Limit(
        "artefacts", "change by turning, sources", 0.0, 0.05, "",
        "sources that depend on the turn", of="fields",
    ),
    # Uncertainty
    "unstated": Limit(
        "uncertainty", "unmasked pixels without an uncertainty", 0.0, 0.0, "",
        "pixels without an uncertainty",
    ),
    "coverage 68": Limit(
        "uncertainty", "coverage at 68 %, S/N {low} to {high}", 0.65, 0.71, "",
        "wrong uncertainties", needed=True, least=200,
    ),
    "coverage 95": Limit(
        "uncertainty", "coverage at 95 %, S/N {low} to {high}", 0.93, 0.97, "",
        "wrong uncertainties", least=200,
    ),
    "PIT": Limit(
        "uncertainty", "largest excess of a PIT bin", 0.0, 0.15, "", "wrong uncertainties",
        needed=True, least=200,
    ),
    "repeat": Limit(
        "uncertainty", "scatter under repeated noise over the stated error, S/N {low} to {high}",
        0.0, 1.2, "", "uncertainties smaller than what noise does", needed=True, least=200,
    ),
}  # fmt: skip
"""
Limits by a short name.

In the artefacts *sigma* is the sky noise of an input pixel, as surface brightness.
"""


def limits_table() -> list[tuple[str, ...]]:
    """
    Give all limits as a table of text.

    Returns
    -------
    rows : list of tuple of str
        ``(topic, check, passes, counts, needed)`` of each limit.

    Examples
    --------
    >>> from splus_srgan.evaluation.limits import limits_table
    >>> limits_table()[0]
    ('photometry', 'median flux offset against the ...', '±0.01 mag', '3 sources', 'yes')
    """
    return [
        (
            limit.topic,
            _plain(limit.name),
            _passes(limit),
            f"{limit.least} {limit.of}",
            "yes" if limit.needed else "",
        )
        for limit in LIMITS.values()
    ]


def _plain(name: str) -> str:
    """A name with dots for what the measure puts in."""
    parts = [part.partition("}")[2] if k else part for k, part in enumerate(name.split("{"))]
    return "...".join(parts)


def _passes(limit: Limit) -> str:
    if limit.range is None:
        return "for information"
    low, high = limit.range
    unit = f" {limit.unit}" if limit.unit else ""
    if low == high:
        return f"{high:g} only{unit}"
    if low == -high:
        return f"±{high:g}{unit}"
    if math.isinf(high):
        return f"from {low:g}{unit}"
    return f"up to {high:g}{unit}" if low == 0 else f"{low:g} to {high:g}{unit}"
