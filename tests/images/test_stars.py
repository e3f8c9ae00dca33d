# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The PSF by the stars of an image, against what was simulated, and against galsim."""

import numpy as np
import pytest
from astropy.nddata import CCDData

from splus_srgan import simulate_field
from splus_srgan.images.stars import MeasuredPSF, measure_psf, measure_psf_array, width_ratio
from splus_srgan.pixels.psf import psf_profile
from splus_srgan.pixels.star_psf import expected_width

SCALE = 0.55


@pytest.fixture(scope="module")
def crowded():
    return simulate_field((7, 6), kind="stars", shape=(160, 160), bands=("g", "r"))


def starfield(number, *, shape=(128, 128), psf=(1.3, 3.5, 0.2), seed=1, flux=3000.0):
    """Stars on noise of 1, at least 25 pixels apart."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=shape)
    y, x = np.indices(shape)
    cells = [(a, b) for a in range(18, shape[0] - 12, 28) for b in range(18, shape[1] - 12, 28)]
    for a, b in cells[:number]:
        dy, dx = rng.uniform(-0.5, 0.5, 2)
        star = psf_profile(SCALE * np.hypot(y - a - dy, x - b - dx), *psf)
        image += flux * SCALE**2 * star
    return image


@pytest.mark.parametrize("band", ["g", "r"])
def test_simulated_stars_give_the_psf_they_were_drawn_with(crowded, band):
    truth = crowded.conditions[band]
    psf = measure_psf(crowded.observed[band])
    assert psf.n_stars >= 10
    assert psf.fwhm == pytest.approx(truth.fwhm, rel=0.02)
    assert psf.wings == pytest.approx(truth.wings, abs=0.05)
    assert psf.ellipticity == pytest.approx(truth.ellipticity, abs=0.02)
    assert psf.beta == pytest.approx(truth.beta, rel=0.15)
    assert 0 < psf.fwhm_error < 0.03 * psf.fwhm


def test_core_is_the_profile_that_was_drawn():
    image = starfield(12)
    psf = measure_psf(CCDData(image, unit="adu"), pixel_scale=SCALE)
    fwhm, beta, wings = psf.core
    assert fwhm == pytest.approx(1.3, rel=0.02)
    assert beta == pytest.approx(3.5, rel=0.15)
    assert wings == pytest.approx(0.2, abs=0.05)


def test_elongated_stars_of_galsim(galsim):
    image = np.random.default_rng(5).normal(size=(150, 150))
    profile = galsim.Moffat(beta=3.5, fwhm=1.4, flux=20000.0).shear(
        g=0.08, beta=30 * galsim.degrees
    )
    for a in range(20, 140, 36):
        for b in range(20, 140, 36):
            stamp = profile.drawImage(nx=33, ny=33, scale=SCALE, method="no_pixel").array
            image[a - 16 : a + 17, b - 16 : b + 17] += stamp[: 150 - a + 16, : 150 - b + 16]
    psf = measure_psf(CCDData(image, unit="adu"), pixel_scale=SCALE)
    q = (1 - 0.08) / (1 + 0.08)
    assert psf.ellipticity == pytest.approx(1 - q, abs=0.01)
    assert np.rad2deg(psf.position_angle) == pytest.approx(30, abs=4)


@pytest.mark.parametrize("number", [0, 1, 2])
def test_fewer_than_three_stars_give_no_answer(number):
    psf = measure_psf(CCDData(starfield(number), unit="adu"), pixel_scale=SCALE)
    assert not psf.measured
    assert np.isnan(psf.fwhm)
    assert np.isnan(psf.wings)
    assert str(psf).startswith("too few stars")


def test_galaxies_are_no_stars():
    """Round galaxies of many sizes have no common width."""
    image = np.random.default_rng(2).normal(size=(128, 128))
    y, x = np.indices(image.shape)
    sizes = iter(np.geomspace(1.0, 6.0, 9))
    for a in (22, 62, 102):
        for b in (22, 62, 102):
            image += 100 * np.exp(-np.hypot(y - a, x - b) / next(sizes))
    psf = measure_psf(CCDData(image, unit="adu"), pixel_scale=SCALE)
    assert not psf.measured or psf.fwhm_error > 0.1


@pytest.mark.parametrize(("number", "stars"), [(21, False), (24, False), (28, False), (19, True)])
def test_a_few_galaxies_of_one_width_are_no_stars(number, stars):
    """Members of a cluster may be as compact and as alike as stars; no star has their profile."""
    field = simulate_field((78, number), shape=(200, 200), bands="r", kind="cluster")
    given = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
    psf = measure_psf(field.observed["r"], **given)
    assert psf.measured == stars
    if stars:
        assert psf.n_stars < 6
        assert psf.fwhm == pytest.approx(field.conditions["r"].fwhm, rel=0.04)


def test_masked_and_saturated_stars_are_left_out():
    image = starfield(3)
    level = image.max() / 0.61
    flat = CCDData(np.minimum(image, level), unit="adu", meta={"SATURATE": level})
    assert not measure_psf(flat, pixel_scale=SCALE).measured
    mask = np.zeros(image.shape, bool)
    mask[10:26, 10:26] = True
    assert not measure_psf(CCDData(image, unit="adu", mask=mask), pixel_scale=SCALE).measured


def test_units_do_not_matter(crowded):
    image = crowded.observed["r"]
    scaled = CCDData(image.data * 1e-12, unit="Jy", wcs=image.wcs)
    plain = CCDData(image.data, unit="adu", wcs=image.wcs)
    assert measure_psf(scaled).fwhm == pytest.approx(measure_psf(plain).fwhm, rel=1e-3)


def test_a_large_image_is_sampled():
    tile = starfield(12, shape=(120, 120))
    image = np.tile(tile, (13, 13)).astype(np.float32)
    psf = measure_psf(CCDData(image, unit="adu"), pixel_scale=SCALE)
    assert psf.core[0] == pytest.approx(1.3, rel=0.02)


def test_quick_comparison_of_widths(crowded):
    image, truth = crowded.observed["r"], crowded.conditions["r"]
    psf = measure_psf(image)
    sigma = truth.sigma * truth.adu_per_nmgy
    mask = np.zeros(image.shape, bool)
    for factor in (1.0, 0.8, 1.3):
        stated = (factor * psf.core[0], *psf.core[1:])
        ratio, error = width_ratio(image.data, mask, 0.0, sigma, stated, pixel_scale=SCALE)
        assert ratio * factor == pytest.approx(1, abs=0.03)
        assert error < 0.03


@pytest.mark.parametrize(
    ("image", "kind", "told"),
    [
        (np.zeros((9, 9)), TypeError, "image must be an NDData or CCDData"),
        (CCDData(np.zeros((2, 9, 9)), unit="adu"), ValueError, r"image must have shape \(ny, nx\)"),
        (CCDData(np.zeros((9, 9)), unit="adu"), ValueError, "image must have a celestial WCS"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, kind, told):
    with pytest.raises(kind, match=told):
        measure_psf(image)


def test_sigma_must_be_positive():
    with pytest.raises(ValueError, match="sigma must be"):
        measure_psf_array(np.zeros((9, 9)), np.zeros((9, 9), bool), 0.0, 0.0, pixel_scale=SCALE)


def test_psf_in_words():
    psf = MeasuredPSF(1.3, 0.01, 3.0, 0.1, 0.28, 0.02, 0.05, 0.01, 0.3, 12)
    assert str(psf) == (
        "FWHM 1.300 +- 0.010 arcsec, beta 3.000 +- 0.100, wings 0.280 +- 0.020, "
        "ellipticity 0.050 +- 0.010 (12 stars)"
    )


@pytest.mark.parametrize("fwhm", [0.9, 2.2, 3.8, 6.0, 20.0, 60.0])
@pytest.mark.parametrize("scale", [0.27, 0.55])
def test_the_width_of_a_psf_is_known_however_wide_it_is(fwhm, scale):
    """Without wings and well sampled it is the FWHM itself."""
    found = expected_width((fwhm, 3.0), pixel_scale=scale)
    assert found * scale == pytest.approx(fwhm, rel=0.02)


@pytest.mark.parametrize(("stated", "expected"), [(3.4, 1.3 / 3.4), (6.0, np.nan), (15.0, np.nan)])
def test_stars_are_compared_with_a_psf_that_is_far_too_wide(stated, expected):
    """Where it is so wide that none would be found, there is no answer."""
    image = starfield(9)
    ratio, error = width_ratio(
        image, np.zeros(image.shape, bool), 0, 1, (stated, 3.5, 0.2), pixel_scale=SCALE
    )
    assert ratio == pytest.approx(expected, rel=0.03, nan_ok=True)
    assert error < 0.02 or np.isnan(expected)
