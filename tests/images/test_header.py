# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What a header says of its image, and that all rooms ask it in the same way."""

import math

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from splus_srgan.enhance.section import band_saturation
from splus_srgan.images.grid import pixel_scale
from splus_srgan.images.header import (
    gain_from_header,
    psf_from_header,
    saturated_pixels,
    saturation_level,
    wing_share_from_header,
    winged_psf_from_header,
)
from splus_srgan.images.unpack import unpack
from splus_srgan.pairs.quality import band as quality_band
from splus_srgan.surveys.calibration import calibrate_flux


@pytest.mark.parametrize("unit", [None, u.dimensionless_unscaled, u.adu, u.ct, u.DN, u.electron])
def test_level_of_counts_is_that_of_the_header(unit):
    assert saturation_level({"SATURATE": 1605}, unit) == 1605


@pytest.mark.parametrize("unit", [u.nmgy, u.Jy, u.adu / u.s, u.adu / u.arcsec**2, u.MJy / u.sr])
def test_level_in_another_unit_is_no_level(unit):
    assert saturation_level({"SATURATE": 1605.0}, unit) == math.inf
    assert not saturated_pixels([1e30], {"SATURATE": 1605.0}, unit).any()


def test_level_of_a_calibrated_image_is_converted_with_it():
    image = CCDData(np.full((4, 4), 1605.0), unit="adu", meta={"SATURATE": 1605.0, "SATLEVEL": 9.0})
    calibrated = calibrate_flux(image, 23.5)
    assert saturation_level(calibrated.meta, calibrated.unit) == pytest.approx(
        float(calibrated.data[0, 0]), rel=1e-6
    )
    assert calibrated.meta["SATLEVEL"] == pytest.approx(9 * 10**-0.4, rel=1e-6)
    assert saturated_pixels(calibrated.data, calibrated.meta, calibrated.unit).all()


@pytest.mark.parametrize("value", [True, np.True_, "1605", None, 0, -5, math.nan, math.inf, "T"])
def test_what_is_no_number_above_zero_is_no_level(value):
    assert saturation_level({"SATURATE": value}) == math.inf
    assert saturation_level({"SATURATE": value, "SATLEVEL": 7.0}) == 7


def test_level_under_its_other_names():
    header = fits.Header({"SATURATA": 900.0, "SATURATB": 950.0})
    assert saturation_level(header) == 900
    header["SATURATE"] = 1000
    assert saturation_level(header) == 1000
    header = fits.Header()
    header["HIERARCH OAJ QC SATURATE"] = 1200.0
    assert saturation_level(header) == 1200
    header = fits.Header()
    header["HIERARCH INPUT SATURATE"] = 1200.0
    assert saturation_level(header) == math.inf
    assert saturation_level(None) == saturation_level({}) == math.inf


@given(
    level=st.floats(1e-3, 1e6),
    share=st.floats(0, 2).filter(lambda share: abs(share - 0.95) > 1e-5),
)
def test_pixels_are_saturated_from_95_percent_of_the_level(level, share):
    data = np.array([share * level, np.nan, -level])
    for dtype in (np.float32, np.float64):
        found = saturated_pixels(data.astype(dtype), {"SATURATE": level})
        assert found.tolist() == [share > 0.95, False, False]


def test_all_rooms_judge_a_pixel_alike():
    """46 of a level of 50 is below 0.95 of it, 47.5 is not."""
    from splus_srgan.pairs.matching.bands import _missing

    values = np.array([[40.0, 46.0, 47.5, 50.0]], np.float32)
    for meta, unit, expected in (
        ({"SATURATE": 50.0}, "adu", [0, 0, 1, 1]),
        ({"SATURATE": 50.0}, "nmgy", [0, 0, 0, 0]),
        ({"SATURATE": 50.0, "SRZP": 22.5}, "nmgy", [0, 0, 1, 1]),
        ({"SATURATE": True}, "adu", [0, 0, 0, 0]),
        ({"SATURATA": 50.0}, "adu", [0, 0, 1, 1]),
    ):
        image = CCDData(values, unit=unit, meta=dict(meta))
        stack = unpack(image)
        found = [
            saturated_pixels(image.data, image.meta, image.unit),
            band_saturation(stack, stack.data)[0],
            quality_band.known_saturated(image, image.data.astype(float), "r"),
            _missing(image),
        ]
        for one in found:
            assert one.astype(int).tolist() == [expected], (meta, unit)


@pytest.mark.parametrize(
    ("meta", "unit", "expected"),
    [
        ({"GAIN": 115}, u.adu, 115.0),
        ({"GAIN": 0.5}, u.adu, 0.5),
        ({"GAIN": 0}, u.adu, None),
        ({"GAIN": math.inf}, u.adu, None),
        ({"GAIN": 115.0}, u.nmgy, None),
        ({"GAIN": 115.0, "SRZP": 23.5}, u.nmgy, 115.0),
        ({"GAIN": 115.0}, u.electron, 1.0),
        ({"GAIN": True}, u.adu, None),
        ({"GAIN": -1.0}, u.adu, None),
        ({"GAIN": "2.0"}, u.adu, None),
        ({"GAIN": math.nan}, u.adu, None),
        ({}, u.adu, None),
        (None, u.adu, None),
    ],
)
def test_gain(meta, unit, expected):
    assert gain_from_header(meta, unit) == expected


def test_pixel_scale_is_that_of_the_area():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.cd = np.array([[-3, 4], [4, 3]]) * 0.55 / 3600 / 5
    assert pixel_scale(wcs) == pytest.approx(0.55, rel=1e-12)
    wcs.wcs.cd = np.array([[-3, 0], [0, 12]]) / 3600
    assert pixel_scale(wcs) == pytest.approx(6, rel=1e-12)
    assert pixel_scale(None, default=0.55) == 0.55
    with pytest.raises(ValueError, match="wcs must be celestial"):
        pixel_scale(WCS(naxis=2))


_FWHM, _BETA = "HIERARCH OAJ PRO FWHMMEAN", "HIERARCH OAJ PRO FWHMBETA"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({_FWHM: 1.4, _BETA: 2.9}, (1.4, 2.9)),
        ({_FWHM.lower(): 1.4, "FWHMBETA": 2.9}, (1.4, 2.9)),
        ({_FWHM: 1.4}, (1.4, 3.0)),
        ({"FWHMMEAN": 1.4, _FWHM: 1.7}, (1.4, 3.0)),
        ({"INPUT FWHMMEAN": 1.4}, None),
        ({"INPUT FWHMMEAN": 1.4, _FWHM: 1.1, "input FWHMBETA": 4.0}, (1.1, 3.0)),
        ({7: 1.4, _FWHM: 1.1}, (1.1, 3.0)),
        ({_BETA: 2.9}, None),
        ({}, None),
        *(({_FWHM: value}, None) for value in (0.0, -1.4, True, "1.4", None, math.nan, math.inf)),
        *(({_FWHM: 1.4, _BETA: value}, (1.4, 3.0)) for value in (0.0, -3.0, True, "2.9", math.nan)),
    ],
)
def test_psf(header, expected):
    assert psf_from_header(header) == expected
    found = winged_psf_from_header(header | {"PSFWINGS": 0.0})
    assert found == (None if expected is None else (*expected, 0.0))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, 0), (0.1, 0.1), (1, 1), (-0.01, 0.28), (1.01, 0.28), (True, 0.28), ("0.1", 0.28)],
)
def test_share_of_the_wings(value, expected):
    assert wing_share_from_header({"PSFWINGS": value}) == expected
    assert winged_psf_from_header({_FWHM: 1.4, "PSFWINGS": value})[2] == expected


def test_wings_make_a_narrower_core_with_steeper_sides():
    fwhm, beta, share = winged_psf_from_header({_FWHM: 1.36, _BETA: 2.9})
    assert (fwhm, beta, share) == pytest.approx((1.291, 3.915, 0.28), abs=5e-4)
