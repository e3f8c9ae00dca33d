# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""S-PLUS images from ADU to nanomaggies, and their weight maps to uncertainties."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import (
    CCDData,
    NDData,
    StdDevUncertainty,
)

from splus_srgan.images.bands import meta_band
from splus_srgan.images.header import LEVELS, last_word
from splus_srgan.images.unpack import UNCERTAINTY_POWERS, uncertainty_array
from splus_srgan.splus import BANDS
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_finite, check_positive, is_number

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray

__all__ = ["calibrate_flux", "gain_from_zero_point", "weight_to_uncertainty"]

_NMGY = 22.5  # AB magnitude of one nanomaggie
_PLAUSIBLE = (10.0, 35.0)
# Last words of keywords whose values are in ADU per pixel, beside the levels of saturation.
_IN_ADU = ("NCMODE", "NCMIDPT", "NCMIDRMS", "NCNOISE", "NCNOIRMS", "SNOIFIT")


def check_zero_point(name: str, value: Any) -> float:
    """Return an AB magnitude of 1 ADU as `float`, or refuse what cannot be one."""
    if isinstance(value, u.Quantity):
        value = value.value if value.unit == u.Unit("mag(AB)") else value.to_value("mag")
    number = check_finite(name, value if np.ndim(value) else np.asarray(value).item())
    if not _PLAUSIBLE[0] < number < _PLAUSIBLE[1]:
        raise ValueError(
            f"{name} must be the AB magnitude of 1 ADU, between {_PLAUSIBLE[0]:g} and "
            f"{_PLAUSIBLE[1]:g}; got {number:g}"
        )
    return number


@numpy_defaults
def calibrate_flux(image: NDData, zero_point: Any) -> CCDData:
    r"""
    Turn ADU into nanomaggies.

    .. math:: f_\mathrm{nmgy} = f_\mathrm{ADU} \; 10^{0.4 \, (22.5 - \mathrm{ZP})}

    Parameters
    ----------
    image : `~astropy.nddata.CCDData` or `~astropy.nddata.NDData`
        S-PLUS image ``(ny, nx)`` in ADU (of one second). It is not modified.
    zero_point : float, array_like, or object with a method ``of_image``
        AB magnitude of 1 ADU: one number, or one per pixel ``(ny, nx)``. A
        `~splus_srgan.surveys.zero_points.ZeroPointTable` is asked for the field and band in
        the header, a `~splus_srgan.surveys.zero_point_model.ZeroPointModel` for each
        pixel's position, a `~splus_srgan.surveys.splus_cloud.SplusCloud` for the model.

    Returns
    -------
    calibrated : `~astropy.nddata.CCDData`
        In nmgy per pixel, float32; magnitudes are ``22.5 - 2.5 log10(flux)``. Mask,
        WCS, PSF and flags are kept, the uncertainty is scaled. The header gets
        ``SRZP``, the zero point (the median where it varies), and ``MAGZERO`` of 22.5;
        its levels in ADU (saturation, noise) and its gain are converted.

    Raises
    ------
    TypeError
        If the image is no NDData.
    ValueError
        If its unit is not ADU (or it is calibrated already), or the zero point is
        unknown or no magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.surveys.calibration import calibrate_flux
    >>> image = CCDData(np.full((2, 2), 100.0), unit="adu", meta={"FILTER": "R"})
    >>> calibrated = calibrate_flux(image, 23.5)
    >>> round(float(calibrated.data[0, 0]), 4), calibrated.unit
    (39.8107, Unit("nmgy"))
    """
    if not isinstance(image, NDData):
        raise TypeError(f"image must be a CCDData or NDData; got {type(image).__name__}")
    if image.unit not in (u.adu, u.DN, u.ct):
        hint = "; it is calibrated already" if image.unit == u.nmgy else ""
        raise ValueError(f"image must be in adu; got the unit {image.unit}{hint}")
    data = np.asarray(image.data)
    magnitudes = _magnitudes(image, zero_point)
    factor = np.power(10.0, 0.4 * (_NMGY - magnitudes))
    calibrated = CCDData(
        np.asarray(data * factor, dtype=np.float32),
        unit=u.nmgy,
        mask=None if image.mask is None else np.array(image.mask),
        wcs=None if image.wcs is None else image.wcs.deepcopy(),
        uncertainty=_scaled(image, factor),
        meta=_calibrated_meta(image.meta, magnitudes),
    )
    for name in ("psf", "flags"):
        value = getattr(image, name, None)
        if value is not None:
            setattr(calibrated, name, np.array(value))
    return calibrated


def _magnitudes(image: Any, zero_point: Any) -> Any:
    """Find the zero point of an image: a number, or one per pixel."""
    if hasattr(zero_point, "of_image"):
        return zero_point.of_image(image)
    if np.ndim(zero_point) == 0:
        return check_zero_point("zero_point", zero_point)
    magnitudes = np.array(zero_point, dtype=float)
    if magnitudes.shape != np.shape(image.data):
        raise ValueError(
            f"zero_point must be one number or have the shape of the image, "
            f"{np.shape(image.data)}; got {magnitudes.shape}"
        )
    for extreme in (magnitudes.min(), magnitudes.max()):
        check_zero_point("zero_point", extreme)
    return magnitudes


def _scaled(image: Any, factor: Any) -> Any:
    if image.uncertainty is None:
        return None
    kind = type(image.uncertainty)
    power = UNCERTAINTY_POWERS.get(image.uncertainty.uncertainty_type)
    if power is None:
        raise ValueError(
            "the uncertainty of image must be a StdDevUncertainty, VarianceUncertainty, "
            f"InverseVariance; got {kind.__name__}; remove or convert it"
        )
    scaled = np.asarray(uncertainty_array(image)) * factor**power
    return kind(np.asarray(scaled, dtype=np.float32))


def _calibrated_meta(meta: Any, magnitudes: Any) -> Any:
    """Copy a header; what it holds in ADU becomes nanomaggies."""
    meta = meta.copy()
    middle = float(np.median(magnitudes))
    factor = 10 ** (0.4 * (_NMGY - middle))
    for key in list(meta):
        word, value = last_word(key), meta[key]
        if not is_number(value) or key.upper().startswith("INPUT "):
            continue
        if not (word in _IN_ADU or word == "GAIN" or LEVELS.fullmatch(word)):
            continue
        value = value / factor if word == "GAIN" else value * factor
        meta[key] = float(f"{value:.8g}")  # all digits would not leave room for the comment
        comments = getattr(meta, "comments", None)
        if comments is not None:
            meta.comments[key] = re.sub(r"\bADU\b", "nmgy", comments[key])
    cards = {
        "SRZP": (round(middle, 6), "AB magnitude of 1 ADU of the input"),
        "MAGZERO": (_NMGY, "AB magnitude of 1 nanomaggie"),
    }
    for key, (value, comment) in cards.items():
        meta[key] = (value, comment) if hasattr(meta, "comments") else value
    if "BUNIT" in meta:
        meta["BUNIT"] = "nmgy"
    return meta


def weight_to_uncertainty(
    weight: ArrayLike, data: ArrayLike, *, gain: float | None
) -> tuple[StdDevUncertainty, BoolArray]:
    r"""
    Turn an S-PLUS weight map into an uncertainty.

    .. math:: \sigma = \sqrt{\frac{1}{|w|} + \frac{|f|}{g}}

    The weight :math:`w` is the inverse variance of the sky, its sign says whether
    the pixel is good; the second term is the photon noise of the sources.

    Parameters
    ----------
    weight : array_like, shape (ny, nx)
        Weight map, in ADU\ :sup:`-2`.
    data : array_like, shape (ny, nx)
        The image it belongs to, in ADU.
    gain : float or None
        Electrons per ADU. The GAIN card of the image is native gain times exposure
        time, and in some images half of what it should be: compare it with
        `gain_from_zero_point`. `None` leaves the photon noise of the sources out.

    Returns
    -------
    uncertainty : `~astropy.nddata.StdDevUncertainty`
        Of shape ``(ny, nx)``, in ADU, float32; infinite where the weight is zero.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` where the weight is negative (masked by the survey), zero or not finite.

    Raises
    ------
    ValueError
        If shapes differ, or the gain is not above 0.

    Notes
    -----
    The formula is that of ``splusdata`` (``scubes``). Pixels of S-PLUS images are
    correlated, so the noise of a sum over n pixels exceeds sigma times the root of n.

    Examples
    --------
    >>> from splus_srgan.surveys.calibration import weight_to_uncertainty
    >>> uncertainty, mask = weight_to_uncertainty([[100.0, -4.0]], [[0.0, 0.0]], gain=240.0)
    >>> uncertainty.array, mask
    (array([[0.1, 0.5]], dtype=float32), array([[False,  True]]))
    """
    weight = np.asarray(weight, dtype=float)
    data = np.asarray(data, dtype=float)
    if weight.shape != data.shape:
        raise ValueError(
            f"weight must have the shape of the data, {data.shape}; got {weight.shape}"
        )
    good = np.isfinite(weight) & (weight != 0)
    variance = np.full(weight.shape, np.inf)
    np.divide(1.0, np.abs(weight), out=variance, where=good)
    if gain is not None:
        photons = np.abs(data) / check_positive("gain", gain)
        variance += np.where(np.isfinite(photons), photons, np.inf)
    sigma = np.sqrt(variance).astype(np.float32)
    return StdDevUncertainty(sigma), ~(good & (weight > 0))


def gain_from_zero_point(meta: Mapping[str, Any], zero_point: float) -> float:
    r"""
    Work out the gain that the zero point implies.

    .. math:: g = t \; 10^{0.4 \, (\mathrm{ZP}_e - \mathrm{ZP})}

    with the magnitude :math:`\mathrm{ZP}_e` that gives one electron per second
    (`~splus_srgan.splus.BANDS`, good to about 20 %). The camera was used with
    0.96 and 2.06 electrons per ADU, and the GAIN card does not always say which.

    Parameters
    ----------
    meta : mapping
        Header of an S-PLUS image, with FILTER (one of the twelve bands) and TEXPOSED.
    zero_point : float
        AB magnitude of 1 ADU.

    Returns
    -------
    gain : float
        Electrons per ADU of the image, as in its GAIN card.

    Raises
    ------
    ValueError
        If the band is none of the survey, or there is no exposure time.

    Examples
    --------
    >>> from splus_srgan.surveys.calibration import gain_from_zero_point
    >>> header = {"FILTER": "R", "TEXPOSED": 120.0, "GAIN": 115.0}
    >>> round(gain_from_zero_point(header, 22.75))
    251
    """
    band = meta_band(meta)
    if band not in BANDS:
        raise ValueError(f"meta must have a FILTER among {', '.join(BANDS)}; got {band!r}")
    exposure = meta.get("TEXPOSED")
    if not is_number(exposure) or not exposure > 0:
        raise ValueError(f"meta must have the exposure time (s) as TEXPOSED; got {exposure!r}")
    zero_point = check_zero_point("zero_point", zero_point)
    return float(exposure * 10 ** (0.4 * (BANDS[band].electron_zero_point - zero_point)))
