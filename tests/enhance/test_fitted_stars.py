# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Stars that are fitted: their flux, place and width in the output, and who says so."""

import numpy as np
import pytest
from astropy.nddata import CCDData
from numpy.testing import assert_array_equal

from splus_srgan import Quality, SRGANEnhancer, simulate_field
from splus_srgan.evaluation.measure.starprofile import fit_stars
from splus_srgan.exceptions import FallbackWarning

OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32"}
SHAPE = (96, 96)


@pytest.fixture(scope="module")
def field():
    return simulate_field((7, 4), kind="stars", shape=SHAPE, bands=("g", "r", "z"))


@pytest.fixture(scope="module")
def both(field):
    made = [
        SRGANEnhancer("splus-grz", **OPTIONS, uncertainty=True, fit_stars=fitted)(
            field.observed, sky=field.sky
        )
        for fitted in (True, False)
    ]
    assert made[0]["r"].header["SRNSTARS"] >= 3
    assert "SRNSTARS" not in made[1]["r"].header
    return made


def test_stars_are_nearer_to_the_truth(field, both):
    for band in "grz":
        truth = field.target[band].data
        flagged = (both[0][band].flags & Quality.FITTED_STAR) != 0
        assert 20 < flagged.sum() < 0.3 * flagged.size
        left = [np.mean((made[band].data - truth)[flagged] ** 2) for made in both]
        assert left[0] < 0.8 * left[1]
        assert not (both[1][band].flags & Quality.FITTED_STAR).any()


def test_far_from_stars_little_changes(both):
    for band in "grz":
        fitted, plain = (made[band] for made in both)
        sky = (fitted.flags & Quality.FITTED_STAR) == 0
        moved = np.abs(fitted.data - plain.data)[sky] / plain.uncertainty.array[sky]
        assert np.quantile(moved, 0.9) < 0.7


def test_errors_hold_the_truth(field, both):
    pulls = []
    for band in "grz":
        made = both[0][band]
        flagged = (made.flags & Quality.FITTED_STAR) != 0
        off = made.data - field.target[band].data
        pulls.append((off / made.uncertainty.array)[flagged])
    inside = np.mean(np.abs(np.concatenate(pulls)) < 1)
    assert 0.4 < inside < 0.95


def test_stars_have_the_promised_width(both):
    image = both[0]["r"]
    flux = np.where((image.flags & Quality.FITTED_STAR) != 0, image.data, 0)
    y, x = np.unravel_index(np.argmax(flux), flux.shape)
    promised = image.header["SRFWHM"] / 0.275
    measured = fit_stars(image.data, [x], [y], fwhm=promised)[0]["fwhm"]
    assert measured == pytest.approx(promised, rel=0.02)


def test_stars_that_are_no_moffat_profiles(field):
    rng = np.random.default_rng(3)
    sides = np.arange(-20, 21)
    y, x = np.meshgrid(sides, sides, indexing="ij")
    data, stars = rng.normal(size=(240, 240)), []
    for row in range(5):
        for column in range(5):
            place = 40 + 40 * np.array([column, row]) + rng.uniform(-0.5, 0.5, 2)
            j, i = np.round(place).astype(int)
            r2 = (x + j - place[0]) ** 2 + (y + i - place[1]) ** 2
            flux = 10 ** rng.uniform(3.3, 4.3)
            for share, width in ((0.5, 0.9), (0.38, 1.6), (0.12, 4.0)):
                light = share * flux * np.exp(-r2 / (2 * width**2)) / (2 * np.pi * width**2)
                data[i - 20 : i + 21, j - 20 : j + 21] += light
            stars.append((*place, flux))
    given = field.observed["r"]
    image = CCDData(data.astype(np.float32), unit="adu", wcs=given.wcs, meta={"FILTER": "r"})
    made = SRGANEnhancer("splus-any", **OPTIONS, psf="measure")(image, sky=0.0, sigma=1.0)
    assert made.header["SRNSTARS"] > 15
    apart = [
        abs(aperture(made.data, 2 * px + 0.5, 2 * py + 0.5, 22) / aperture(data, px, py, 11) - 1)
        for px, py, _ in stars
    ]
    assert np.median(apart) < 0.01
    promised = made.header["SRFWHM"] / 0.275
    widths = [
        fit_stars(made.data, [2 * px + 0.5], [2 * py + 0.5], fwhm=promised)[0]["fwhm"]
        for px, py, _ in stars
    ]
    assert np.median(widths) == pytest.approx(promised, rel=0.02)


def aperture(image, x, y, radius):
    """Flux within a radius."""
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    return image[np.hypot(rows - y, columns - x) <= radius].sum()


def test_turned_images_have_turned_stars(field):
    enhancer = SRGANEnhancer("splus-any", **OPTIONS, psf="header", check_input=False)
    image = field.observed["r"]
    level = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
    plain = enhancer(image, **level)
    turned = CCDData(image.data[::-1, ::-1].copy(), unit=image.unit, header=image.header)
    turned.wcs = image.wcs
    again = enhancer(turned, **level)
    assert again.header["SRNSTARS"] == plain.header["SRNSTARS"] > 0
    off = np.abs(again.data[::-1, ::-1] - plain.data)
    assert off.max() < 0.01 * plain.data.max()


def test_no_psf_no_stars(field):
    image = CCDData(field.observed["r"].data, unit="adu")
    with pytest.warns(FallbackWarning, match="PSF|pixel scale"):
        made = SRGANEnhancer("splus-any", **OPTIONS)(image, sky=0.0)
    assert made.meta["SRNSTARS"] == 0
    assert not (made.flags & Quality.FITTED_STAR).any()


def test_without_stars_nothing_changes():
    field = simulate_field((7, 2), kind="blank", shape=(64, 64), bands=("r",)).observed
    made = [SRGANEnhancer("splus-any", **OPTIONS, fit_stars=on)(field) for on in (True, False)]
    assert made[0]["r"].header["SRNSTARS"] == 0
    assert_array_equal(made[0]["r"].data, made[1]["r"].data)


def test_option_is_checked():
    with pytest.raises(TypeError, match="fit_stars must be True or False; got 'yes'"):
        SRGANEnhancer(fit_stars="yes")


@pytest.mark.parametrize("shape", [(1, 1), (2, 40), (12, 12)])
def test_small_cutouts(field, shape):
    image = field.observed["r"][: shape[0], : shape[1]]
    made = SRGANEnhancer("splus-any", **OPTIONS, check_input=False)(image, sky=0.0, sigma=0.1)
    assert made.shape == (2 * shape[0], 2 * shape[1])
    assert np.isfinite(made.data).all()


def test_maps_of_sky_and_noise_find_the_same_stars(field):
    enhancer, image = SRGANEnhancer("splus-any", **OPTIONS), field.observed["r"]
    sigma = field.sigma["r"]
    plain = enhancer(image, sky=0.0, sigma=sigma)
    maps = enhancer(image, sky=np.zeros(SHAPE), sigma=np.full(SHAPE, sigma))
    assert maps.header["SRNSTARS"] == plain.header["SRNSTARS"] > 0
    np.testing.assert_allclose(maps.data, plain.data, atol=1e-3 * sigma, rtol=1e-4)
