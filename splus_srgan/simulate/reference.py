# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A simulated field as in the Legacy Surveys: the truth, with their noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData, StdDevUncertainty
from scipy import ndimage

from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from splus_srgan.simulate.field import SimulatedField
    from splus_srgan.utils.types import FloatArray

__all__ = ["REFERENCE_SIGMA", "reference_images", "reference_noise"]

REFERENCE_SIGMA = {"g": (0.0018, 0.0029), "r": (0.0023, 0.0066), "z": (0.0079, 0.016)}
"""
Sky noise of the Legacy Surveys per pixel of 0.262 arcsec, in nanomaggies: in deep fields
(Data Release 9, 5-sigma depths 25.3, 25.1 and 23.7), and after two exposures.
"""

_SCALE_RATIO = 0.275 / 0.262
# Three taps of a resampled image: neighbours correlate by 0.18, as was measured.
_TAPS = np.array([0.0915, 1.0, 0.0915])


@numpy_defaults
def reference_images(field: SimulatedField, *, seed: int | Sequence[int]) -> dict[str, CCDData]:
    """
    Add the noise of the Legacy Surveys to the target of a simulated field.

    The PSF is still the target's, which is close to theirs; the noise is that of their sky,
    slightly correlated, without photon noise of the sources.

    Parameters
    ----------
    field : `~splus_srgan.simulate.field.SimulatedField`
        Field whose bands are all in `REFERENCE_SIGMA`.
    seed : int or sequence of int
        The same seed gives the same noise.

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(2 ny, 2 nx)``, in nanomaggies per pixel of 0.275 arcsec, with its
        uncertainty.

    Raises
    ------
    ValueError
        If the Legacy Surveys lack a band.

    Examples
    --------
    >>> from splus_srgan.simulate.field import simulate_field
    >>> from splus_srgan.simulate.reference import reference_images
    >>> field = simulate_field(1, shape=(64, 48))
    >>> image = reference_images(field, seed=1)["r"]
    >>> image.shape, image.unit
    ((128, 96), Unit("nmgy"))
    """
    rng = np.random.default_rng(seed)
    return {band: _reference_image(field, band, rng) for band in field.target}


def reference_noise(
    rng: np.random.Generator, shape: tuple[int, int], band: str
) -> tuple[FloatArray, float]:
    """
    Draw the noise of the Legacy Surveys in one band.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the noise.
    shape : tuple of int
        ``(ny, nx)``, in pixels of 0.275 arcsec.
    band : str
        One of `REFERENCE_SIGMA`.

    Returns
    -------
    noise : `~numpy.ndarray`, shape (ny, nx)
        In nanomaggies; float32.
    sigma : float
        Its standard deviation.

    Raises
    ------
    ValueError
        If the Legacy Surveys lack the band.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.simulate.reference import reference_noise
    >>> noise, sigma = reference_noise(np.random.default_rng(0), (64, 64), "r")
    >>> 0.0023 < sigma < 0.007
    True
    """
    low, high = REFERENCE_SIGMA[check_one_of("band", band, tuple(REFERENCE_SIGMA))]
    # The noise is known for pixels of another size; white noise scales with their side.
    sigma = _SCALE_RATIO * np.exp(rng.uniform(np.log(low), np.log(high)))
    noise = rng.standard_normal(shape, dtype=np.float32)
    taps = _TAPS / np.sqrt(np.sum(_TAPS**2))
    for axis in (0, 1):
        noise = ndimage.correlate1d(noise, taps, axis=axis, mode="wrap")
    return np.float32(sigma) * noise, float(sigma)


def _reference_image(field: SimulatedField, band: str, rng: np.random.Generator) -> CCDData:
    target = field.target[band]
    noise, sigma = reference_noise(rng, target.shape, band)
    image = target.data / field.conditions[band].adu_per_nmgy + noise
    uncertainty = StdDevUncertainty(np.full(target.shape, sigma, np.float32))
    image = image.astype(np.float32)
    return CCDData(image, unit=u.nmgy, wcs=target.wcs, uncertainty=uncertainty)
