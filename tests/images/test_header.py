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
from splus_srgan.images.header import gain_from_header, saturated_pixels, saturation_level
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
