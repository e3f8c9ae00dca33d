# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Units of pixels, and the small checks and imports that everything uses."""

import sys

import pytest
from astropy import units as u
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from splus_srgan import splus
from splus_srgan.images.units import flux_per_pixel_factor, nanomaggies_of, parse_unit
from splus_srgan.simulate.bandpasses import pivot
from splus_srgan.utils.optional import has, import_optional
from splus_srgan.utils.validate import check_finite, check_integer, check_one_of, check_positive

BANDS = tuple(splus.BANDS)


@pytest.mark.parametrize(
    "unit",
    [
        None,
        "",
        "adu",
        "ADU",
        "electron",
        "ct / s",
        "nmgy",
        "Jy",
        "mJy",
        "AB",
        "erg / (s cm2)",
        "W / (m2 um)",
        "photon / (s cm2 AA)",
        "1 / s",
        "adu / pix",
        u.nmgy,
        u.electron / u.s,
    ],
)
def test_flux_per_pixel_is_shared_out(unit):
    assert flux_per_pixel_factor(unit) == 0.25
    assert flux_per_pixel_factor(unit, factor=3) == pytest.approx(1 / 9)


@pytest.mark.parametrize("unit", ["MJy / sr", "nmgy / arcsec2", "adu / deg2", "Jy / beam"])
def test_surface_brightness_stays(unit):
    assert flux_per_pixel_factor(unit) == 1.0


@pytest.mark.parametrize("unit", [u.mag, u.ABmag, u.dex, u.dB, "mag / arcsec2"])
def test_logarithmic_units_are_refused(unit):
    with pytest.raises(ValueError, match=r"unit must be (linear in flux|a flux)"):
        flux_per_pixel_factor(unit)


@pytest.mark.parametrize("unit", ["km / s", "K", "deg", "adu / arcsec", "adu2", "Jy / (sr beam)"])
def test_units_that_are_no_flux_are_refused(unit):
    with pytest.raises(ValueError, match=r"unit must be a flux per pixel .* got '.*'; convert"):
        flux_per_pixel_factor(unit)


def test_unrecognised_units_are_refused():
    with pytest.raises(ValueError, match="got the unrecognised 'furlong'; give the data a known"):
        flux_per_pixel_factor(u.Unit("furlong", parse_strict="silent"))
    with pytest.raises(
        ValueError, match=r"unit must be one that astropy.units knows, .* 'furlong'"
    ):
        flux_per_pixel_factor("furlong")


def test_factor_must_be_a_positive_integer():
    with pytest.raises(ValueError, match="factor must be at least 1; got 0"):
        flux_per_pixel_factor("adu", factor=0)
    with pytest.raises(TypeError, match=r"factor must be an integer; got 2.0"):
        flux_per_pixel_factor("adu", factor=2.0)


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("ADU", u.adu),
        (" counts ", u.ct),
        ("COUNTS/SEC", u.ct / u.s),
        ("e-", u.electron),
        ("ELECTRONS/S", u.electron / u.s),
        ("nanomaggy", u.nmgy),
        ("nanomaggies", u.nmgy),
        ("erg/s/cm2", u.erg / u.s / u.cm**2),
        ("MJy/sr", u.MJy / u.sr),
        ("counts s-1", u.ct / u.s),
        ("ADU s**-1", u.adu / u.s),
        ("erg s-1 cm-2 / pixel", u.erg / u.s / u.cm**2 / u.pix),
        ("JY", u.Jy),
        ("JY/BEAM", u.Jy / u.beam),
        ("muJy", u.uJy),
        ("mJy", u.mJy),
        ("MJY/SR", u.MJy / u.sr),
        ("nMgy", u.nmgy),
        ("", u.dimensionless_unscaled),
    ],
)
def test_spellings_of_files_are_understood(text, unit):
    assert parse_unit(text) == unit


@pytest.mark.parametrize("text", ["MJY", "mJY", "furlong s-1"])
def test_doubtful_spellings_are_refused(text):
    with pytest.raises(ValueError, match=r"unit must be one that astropy.units knows"):
        parse_unit(text)


def test_no_unit_stays_none():
    assert parse_unit(None) is None


def test_check_one_of_names_every_option():
    with pytest.raises(ValueError, match="edge must be one of") as caught:
        check_one_of("edge", "wrap", ("reflect", "constant", "replicate"))
    assert str(caught.value) == (
        "edge must be one of 'reflect', 'constant', 'replicate'; got 'wrap'"
    )
    assert check_one_of("edge", "reflect", ("reflect",)) == "reflect"


def test_numbers_are_checked():
    assert check_positive("sigma", 2) == 2.0
    assert check_integer("radius", 3, minimum=0) == 3
    with pytest.raises(ValueError, match="sigma must be above 0; got -1"):
        check_positive("sigma", -1)
    with pytest.raises(ValueError, match="sky must be finite; got nan"):
        check_finite("sky", float("nan"))
    with pytest.raises(TypeError, match="sky must be a real number; got 'a'"):
        check_finite("sky", "a")
    with pytest.raises(TypeError, match="sky must be a real number; got True"):
        check_finite("sky", True)
    with pytest.raises(TypeError, match="radius must be an integer; got True"):
        check_integer("radius", True)


def test_missing_package_says_how_to_install_it():
    assert has("numpy")
    assert not has("no_such_package")
    assert not has("no_such_package.part")
    assert import_optional("json", "plot") is sys.modules["json"]
    with pytest.raises(ImportError, match=r"extra 'fast' .*: pip install \"openvino>=[\d.]+\"$"):
        import_optional("no_such_package", "fast")


# Flux densities


@given(st.sampled_from(BANDS), st.floats(1e-20, 1e20))
def test_a_flux_density_is_the_same_in_any_unit(band, factor):
    """Against constants: 1 nmgy is 3.631e-29 erg / (s cm2 Hz), and c is 2.998e18 Angstrom/s."""
    per_frequency = nanomaggies_of(factor * u.erg / u.s / u.cm**2 / u.Hz, band)
    assert_allclose(per_frequency, factor / 3.630780548e-29, rtol=1e-6)
    per_wavelength = nanomaggies_of(factor * u.erg / u.s / u.cm**2 / u.AA, band)
    expected = factor * pivot(band) ** 2 / 2.99792458e18 / 3.630780548e-29
    assert_allclose(per_wavelength, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "unit", ["adu", "electron / s", "", None, "nmgy / arcsec2", "mag(AB)", "K"]
)
def test_what_is_no_flux_density_has_no_nanomaggies(unit):
    assert nanomaggies_of(unit, "r") is None


def test_a_foreign_band_has_no_wavelength():
    assert nanomaggies_of("erg / (s cm2 Angstrom)", "F814W") is None
    assert nanomaggies_of("Jy", "F814W") > 0


@pytest.mark.parametrize("band", BANDS)
def test_the_stated_pivot_is_that_of_the_curve(band):
    assert_allclose(splus.PIVOTS[band], pivot(band), atol=0.00051)
