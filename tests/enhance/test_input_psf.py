# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Where the enhancer takes the PSF of its input from."""

import warnings

import numpy as np
import pytest
from astropy.nddata import CCDData

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.exceptions import FallbackWarning, PSFMismatchWarning
from splus_srgan.images.stars import measure_psf

FWHM = "HIERARCH OAJ PRO FWHMMEAN"


@pytest.fixture(scope="module")
def field():
    return simulate_field((7, 4), kind="stars", shape=(96, 96), bands=("r",))


def enhanced(image, **options):
    return SRGANEnhancer("splus-any", device="cpu", precision="float32", **options)(image, sky=0.0)


def with_cards(image, **cards):
    header = image.header.copy()
    for key in ("FWHMMEAN", "FWHMBETA"):
        del header[f"HIERARCH OAJ PRO {key}"]
    header.update(cards)
    return CCDData(image.data, unit=image.unit, wcs=image.wcs, header=header)


def test_header_is_taken_where_stars_agree(field):
    image = field.observed["r"]
    auto, header = enhanced(image), enhanced(image, psf="header")
    assert np.array_equal(auto.data, header.data)
    for result in (auto, header):
        assert result.header["SRPSFIN"] == "header"
        assert result.header["SRPSFFWH"] == image.header[FWHM]


def test_stars_are_measured_where_the_header_says_nothing(field):
    image = field.observed["r"]
    result = enhanced(with_cards(image))
    own = measure_psf(image)
    assert result.header["SRPSFIN"] == "measured"
    assert result.header["SRPSFFWH"] == pytest.approx(own.fwhm, rel=1e-3)
    assert result.header["SRPSFWNG"] == pytest.approx(own.wings, abs=1e-3)
    with pytest.warns(FallbackWarning, match="PSF of r is not known"):
        assert enhanced(with_cards(image), psf="header").header["SRPSFIN"] == "none"


@pytest.mark.parametrize("factor", [0.8, 1.3])
def test_a_wrong_header_is_told_by_name(field, factor):
    image = field.observed["r"]
    wrong = with_cards(image, FWHMMEAN=factor * field.conditions["r"].fwhm)
    with pytest.warns(PSFMismatchWarning, match=r"r: .* arcsec, of the stars .* times that"):
        result = enhanced(wrong)
    assert result.header["SRPSFIN"] == "header"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert enhanced(wrong, psf="measure").header["SRPSFIN"] == "measured"


def test_given_psf_stands_in_the_header(field):
    image = field.observed["r"]
    result = enhanced(image, psf={"R": (1.3, 2.9)})
    assert result.header["SRPSFIN"] == "given"
    assert (result.header["SRPSFFWH"], result.header["SRPSFBET"]) == (1.3, 2.9)
    own = measure_psf(image)
    assert enhanced(image, psf={"r": own}).header["SRPSFFWH"] == pytest.approx(own.fwhm)


def test_too_few_stars_give_no_psf():
    image = simulate_field((7, 2), kind="blank", shape=(64, 64), bands=("r",)).observed["r"]
    with pytest.warns(FallbackWarning, match="PSF of r is not known"):
        result = enhanced(with_cards(image))
    assert result.header["SRPSFIN"] == "none"
    assert "SRPSFFWH" not in result.header


def test_a_measurement_without_stars_is_refused_as_that():
    nothing = measure_psf(simulate_field(22, shape=(48, 48), kind="blank").observed["r"])
    with pytest.raises(
        ValueError, match=r"psf\['r'\] must be known; measure_psf found too few stars: \d, of at"
    ):
        SRGANEnhancer(psf={"r": nothing})


def test_every_band_needs_its_psf(field):
    with pytest.raises(ValueError, match="psf must have every band of data; got none for 'r'"):
        enhanced(field.observed["r"], psf={"g": (1.3, 3.0)})


@pytest.mark.parametrize(
    "psf", ["stars", None, 1.3, {}, {"r": (0.0, 3.0)}, {"r": (1.3, 1.0)}, {"r": "1.3"}, {"r": ()}]
)
def test_what_is_no_psf_is_refused_at_construction(psf):
    with pytest.raises(ValueError, match="psf"):
        SRGANEnhancer(psf=psf)
