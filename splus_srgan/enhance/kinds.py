# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The kinds of unusual input: limits, and what to do about each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KINDS", "Kind"]


@dataclass(frozen=True)
class Kind:
    """
    A check of the input.

    Attributes
    ----------
    title : str
        Name of the unusual property.
    value : str
        Value of `~splus_srgan.pixels.inspection.inspect_band` that it uses.
    lowest, highest : float
        Range for clean images.
    advice : str
        What to do about it.
    errors : float
        Number of standard errors of the value by which the limits are widened.
    warns : bool
        Whether the enhancer warns about it; another warning may do so already.
    """

    title: str
    value: str
    lowest: float
    highest: float
    advice: str
    errors: float = 0.0
    warns: bool = True

    def judge(self, values: Mapping[str, float]) -> tuple[float, tuple[float, float], bool]:
        """
        Judge the values of a band.

        Parameters
        ----------
        values : dict of str to float
            Values of the band; missing ones were not measured.

        Returns
        -------
        value : float
            The value to judge.
        usual : tuple of float
            Limits.
        unusual : bool
            Whether it lies outside.
        """
        value = values.get(self.value, np.nan)
        margin = self.errors * values.get(f"{self.value}_error", 0.0)
        low, high = self.lowest - margin, self.highest + margin
        return value, (low, high), bool(value < low or value > high)


_RAW = "take the image as the survey gives it, with its negative pixels"
_LINEAR = "take linear data: fluxes, not a picture of them"

KINDS = {
    "floor": Kind(
        "one-sided noise",
        "floor",
        0.0,
        0.012,
        f"the lowest values are cut off, so the noise is underestimated; {_RAW}",
    ),
    "grid": Kind(
        "values on a coarse grid",
        "grid",
        0.0,
        0.5,
        "steps as large as the noise look like structure; take data of full precision",
    ),
    "stretched": Kind(
        "a stretched image",
        "slope",
        1.0,
        np.inf,
        f"noise falls where it is bright, as in a picture with asinh or gamma; {_LINEAR}",
    ),
    "picture": Kind(
        "an 8-bit picture",
        "picture",
        0.0,
        0.5,
        f"there are only the values 0 to 255, or their 255ths; {_LINEAR}",
    ),
    "asinh": Kind(
        "asinh magnitudes (card BSOFTEN)",
        "asinh",
        0.0,
        0.5,
        "fluxes are BOFFSET + 2 BSOFTEN sinh(value ln(10) / 2.5); convert them first",
    ),
    "texture": Kind(
        "noise correlated unlike that of a coadd",
        "texture",
        0.80,
        1.05,
        "the image was smoothed, sharpened or resampled; take it as the survey gives it",
        errors=1.5,
    ),
    "mottle": Kind(
        "noise over some pixels unlike that of a coadd",
        "mottle",
        1.0,
        1.5,
        "the image was sharpened, or has a pattern; take it as the survey gives it",
        errors=3.5,
    ),
    "repeated": Kind(
        "repeated pixels",
        "repeated",
        0.0,
        0.03,
        "the image was enlarged without interpolation; take it on its own pixels",
    ),
    "pedestal": Kind(
        "a high level without a sky",
        "pedestal",
        0.0,
        0.2,
        "nothing in the frame is as faint as the sky should be, so its level was taken as 0; "
        "give sky=",
    ),
    "dark": Kind(
        "areas far below the sky",
        "dark",
        0.0,
        4.0,
        "a negative or a difference of images has dark sources, which are no sources here; take "
        "the image itself",
    ),
    "tilt": Kind(
        "a gradient of the sky",
        "tilt",
        0.0,
        0.5,
        "one level of the sky does not fit the frame; subtract the background, or give its map: "
        "enhancer(field, sky=map)",
        errors=4.0,
    ),
    "bowl": Kind(
        "a sky that rises to all sides",
        "bowl",
        0.0,
        0.25,
        "one level of the sky does not fit the frame; subtract the background, or give its map: "
        "enhancer(field, sky=map)",
        errors=4.0,
    ),
    "step": Kind(
        "a step between rows or columns",
        "step",
        0.0,
        6.0,
        "amplifiers or frames differ in level; match their backgrounds first",
    ),
    "banding": Kind(
        "rows or columns that differ in level",
        "banding",
        0.0,
        2.0,
        "subtract the median of each row or column without sources first",
    ),
    "spikes": Kind(
        "single bright or dark pixels",
        "spikes",
        0.0,
        0.5,
        "cosmic rays and hot pixels are taken for stars; mask them "
        "(splus_srgan.images.mask_spikes)",
    ),
    "blank": Kind(
        "areas of one value without a mask",
        "blank",
        0.0,
        0.0,
        "mask what was not observed: CCDData(data, mask=data == value, ...)",
    ),
    "sky": Kind(
        "a sky decided unlike that of other bands",
        "sky",
        0.0,
        0.1,
        "it was measured between the sources of the others, or not at all; give sky= if it is "
        "wrong",
    ),
    "psf": Kind(
        "a header with another seeing than the stars",
        "psf",
        0.9,
        1.1,
        "psf='measure' takes the seeing of the stars",
        warns=False,
    ),
}
"""All `Kind` of checks by name."""
