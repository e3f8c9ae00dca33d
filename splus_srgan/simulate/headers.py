# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Headers of a simulated field, like those of real tiles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from astropy.io import fits
from astropy.wcs import WCS

from splus_srgan import splus
from splus_srgan.images.header import WING_CARD
from splus_srgan.images.wcs import upsample_header

if TYPE_CHECKING:
    from typing import Any

    from astropy.io.fits import Header

    from splus_srgan.simulate.conditions import BandConditions

__all__ = ["FieldHeaders"]

_FLUX_SCALE = 0.25  # of a target pixel


class FieldHeaders:
    """
    Headers of a band on both grids.

    They are built and brought to the finer grid once; those of the other bands differ in a few
    values only.

    Parameters
    ----------
    band : str
        First band.
    shape : tuple of int
        ``(ny, nx)`` of the S-PLUS image.
    conditions : `~splus_srgan.simulate.conditions.BandConditions`
        Observing conditions of the first band.
    pointing : tuple
        RA and Dec (deg) of the reference pixel, and the pixel ``(x, y)``, 1-based.

    Attributes
    ----------
    wcs, fine_wcs : `~astropy.wcs.WCS`
        WCS of both grids; all bands have the same.
    """

    def __init__(
        self, band: str, shape: tuple[int, int], conditions: BandConditions, pointing: Any
    ) -> None:
        self._seen = _header(band, shape, conditions, pointing)
        self._fine = upsample_header(self._seen, flux_scale=_FLUX_SCALE, new_psf=True)
        self.wcs, self.fine_wcs = _wcs(self._seen), _wcs(self._fine)

    def of(self, band: str, conditions: BandConditions) -> tuple[Header, Header]:
        """Header of the S-PLUS image, and that of the target."""
        seen, fine = self._seen.copy(), self._fine.copy()
        for keyword, value in _band_cards(band, conditions).items():
            seen[keyword] = value
            if keyword == "SATURATE":
                fine[keyword] = value * _FLUX_SCALE
            else:
                fine[keyword if keyword in fine else f"INPUT {keyword}"] = value
        return seen, fine


def _header(band: str, shape: tuple[int, int], conditions: BandConditions, pointing: Any) -> Header:
    """Header with the cards of a real S-PLUS tile."""
    header = fits.Header()
    ra, dec, crpix = pointing
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"], header["NAXIS2"] = shape[1], shape[0]
    header["EQUINOX"], header["RADESYS"] = 2000.0, "ICRS"
    for axis, kind, value in ((1, "RA---TAN", ra), (2, "DEC--TAN", dec)):
        header[f"CTYPE{axis}"], header[f"CUNIT{axis}"] = kind, "deg"
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = value, crpix[axis - 1]
    step = splus.PIXEL_SCALE / 3600
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -step, 0.0, 0.0, step
    header["EXPTIME"] = (1.0, "Normalized exposure time")
    of_band = _band_cards(band, conditions)
    header["GAIN"] = (of_band["GAIN"], "Maximum equivalent gain (e-/ADU)")
    header["SATURATE"] = (of_band["SATURATE"], "Saturation Level (ADU)")
    header["OBJECT"] = ("SIMULATED", "simulated by splus_srgan, not a real field")
    header["TELESCOP"], header["INSTRUME"] = "T80", "T80Cam"
    header["FILTER"] = (of_band["FILTER"], "Filter used for this observation")
    header["PIXSCALE"], header["NCOMBINE"] = splus.PIXEL_SCALE, of_band["NCOMBINE"]
    header["TEXPOSED"] = of_band["TEXPOSED"]
    header["HIERARCH OAJ QC NCNOISE"] = (of_band["OAJ QC NCNOISE"], "Noise estim (ADU)")
    header["HIERARCH OAJ PRO FWHMMEAN"] = (of_band["OAJ PRO FWHMMEAN"], "PSFex FWHM")
    header["HIERARCH OAJ PRO FWHMBETA"] = (of_band["OAJ PRO FWHMBETA"], "PSFex beta")
    header["HIERARCH OAJ PRO ELLIPMEAN"] = (of_band["OAJ PRO ELLIPMEAN"], "PSFex Ellip")
    header[WING_CARD] = (of_band[WING_CARD], "share of the light in the wings of the PSF")
    return header


def _band_cards(band: str, conditions: BandConditions) -> dict[str, Any]:
    """Values of the cards in which the bands of a field differ."""
    scale = conditions.adu_per_nmgy
    return {
        "GAIN": round(conditions.electrons / scale, 6),
        "SATURATE": conditions.saturation,
        "FILTER": band.upper(),
        "NCOMBINE": len(conditions.dithers),
        "TEXPOSED": float(splus.BANDS[band].exposure),
        "OAJ QC NCNOISE": round(conditions.sigma * scale, 6),
        "OAJ PRO FWHMMEAN": conditions.fwhm,
        "OAJ PRO FWHMBETA": conditions.beta,
        "OAJ PRO ELLIPMEAN": conditions.ellipticity,
        WING_CARD: conditions.wings,
    }


def _wcs(header: Header) -> WCS:
    with fits.conf.set_temp("enable_record_valued_keyword_cards", False):
        return WCS(header)
