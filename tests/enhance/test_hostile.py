# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Input as it comes: every case has a clear error or a defined result."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import Quality, SRGANEnhancer, read_bands, write_bands
from splus_srgan.exceptions import GridMismatchError
from splus_srgan.models.weights import load_generator
from splus_srgan.pixels.missing import REACH

# Images of these tests are bare arrays: their pixel scale and PSF are not known.
pytestmark = pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")

RADIUS = load_generator("splus-any").receptive_field_radius


@pytest.fixture(scope="module")
def enhancer():
    return SRGANEnhancer(engine="torch", device="cpu", precision="float32", flux_anchor=0)


def noise(shape=(48, 52), seed=0, sigma=1.0):
    return np.random.default_rng(seed).normal(0, sigma, shape).astype(np.float32)


def image_of(data, **options):
    return CCDData(data, **{"unit": "adu", **options})


def make_wcs(ctype=("RA---TAN", "DEC--TAN"), shift=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = list(ctype), [10.0, -30.0]
    wcs.wcs.crpix = [20.0 + shift, 20.0]
    wcs.wcs.cdelt = [-0.55 / 3600, 0.55 / 3600]
    return wcs


# Pixel values


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_bad_pixels_do_not_spread(enhancer, value):
    """No further than the filled pixels, and the network's look at them."""
    data = noise((60, 150))
    bad = data.copy()
    bad[20:24, 10:14] = value
    clean, result = (enhancer(image_of(one), sky=0, sigma=1) for one in (data, bad))
    assert np.isfinite(result.data).all()
    assert result.mask.sum() == 4 * 16
    assert (result.flags[40:48, 20:28] & Quality.MISSING).all()
    far = 2 * (14 + RADIUS)
    assert_array_equal(result.data[:, far:], clean.data[:, far:])
    assert not (result.flags[:, far:] & Quality.NEAR_MISSING).any()


def test_far_away_does_not_matter_for_what_is_filled():
    """Filled pixels look no further than `REACH`."""
    options = {"engine": "torch", "device": "cpu", "precision": "float32", "flux_anchor": 0}
    enhancer = SRGANEnhancer(**options, check_input=False)  # half of the image is a step up
    data = noise((40, 150))
    data[10:30, 60:64] = np.nan
    other = data.copy()
    other[:, 64 + REACH + 1 :] += 100
    first, second = (enhancer(image_of(one), sky=0, sigma=1) for one in (data, other))
    until = 2 * (64 + REACH + 1 - RADIUS)
    # What is compared sees the hole.
    assert until > 2 * (63 - RADIUS) > 0
    assert_array_equal(first.data[:, :until], second.data[:, :until])


def test_values_under_the_mask_do_not_matter(enhancer):
    mask = np.zeros((40, 40), bool)
    mask[10:14, 20:25] = True
    results = []
    for value in (0.0, 1e30, np.nan):
        data = noise((40, 40))
        data[mask] = value
        results.append(enhancer(image_of(data, mask=mask), sky=0, sigma=1).data)
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])


def test_all_missing_is_refused(enhancer):
    empty = image_of(np.full((30, 30), np.nan))
    with pytest.raises(ValueError, match="has no valid pixel: all are masked, NaN or infinite"):
        enhancer(empty)
    with pytest.raises(ValueError, match="band 'r' has no valid pixel"):
        enhancer({"g": image_of(noise((30, 30))), "r": empty}, sky=0, sigma=1)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_constant_images_have_no_noise_to_measure(enhancer, value):
    with pytest.raises(ValueError, match="constant"):
        enhancer(image_of(np.full((40, 40), value, np.float32)))


@pytest.mark.parametrize("value", [0.0, 7.0])
def test_constant_image_is_enhanced_with_a_given_noise(enhancer, value):
    result = enhancer(image_of(np.full((40, 40), value, np.float32)), sky=value, sigma=1)
    assert result.shape == (80, 80)
    assert np.isfinite(result.data).all()
    assert_allclose(result.data, value / 4, atol=0.5)


def test_no_error_of_measurement_hides_the_way_out(enhancer):
    """Where noise cannot be measured, the message says so; given, everything works."""
    with pytest.raises(ValueError, match=r"sigma|valid pixels"):
        enhancer(image_of(noise((7, 3))))


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (1, 40), (33, 2), (17, 19), (45, 91)])
def test_any_shape_is_enhanced_with_a_given_noise(enhancer, shape):
    result = enhancer(image_of(noise(shape)), sky=0, sigma=1)
    assert result.shape == (2 * shape[0], 2 * shape[1])
    assert np.isfinite(result.data).all()
    assert (result.flags & Quality.EDGE).any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 3)])
def test_tiny_images_have_no_noise_to_measure(enhancer, shape):
    with pytest.raises(ValueError, match="valid"):
        enhancer(image_of(noise(shape)))


@pytest.mark.parametrize("shape", [(47, 53), (90, 41)])
def test_odd_shapes_are_measured(enhancer, shape):
    result = enhancer(image_of(noise(shape, sigma=3)))
    assert result.shape == (2 * shape[0], 2 * shape[1])
    assert_allclose(result.header["SRSIGMA"], 3, rtol=0.2)


def test_empty_image_is_refused(enhancer):
    with pytest.raises(ValueError, match="must hold at least one pixel"):
        enhancer(image_of(np.zeros((0, 5))))


# Types


@pytest.mark.parametrize("dtype", [">f4", "<f8", ">f8", "<i2", ">i2", "<i4", "<u2", "u1"])
def test_types_do_not_matter(dtype):
    options = {"engine": "torch", "device": "cpu", "precision": "float32", "flux_anchor": 0}
    enhancer = SRGANEnhancer(**options, check_input=False)  # 8 bits may be a picture
    whole = np.round(100 + noise(sigma=9)).clip(0, 255)
    expected = enhancer(image_of(whole.astype(np.float32)))
    result = enhancer(image_of(whole.astype(dtype)))
    assert result.data.dtype == np.float32
    assert result.data.dtype.isnative
    assert_array_equal(result.data, expected.data)


@pytest.mark.parametrize("dtype", [complex, bool])
def test_types_that_are_no_numbers_are_refused(enhancer, dtype):
    with pytest.raises(TypeError, match="must hold integers or real numbers; got dtype"):
        enhancer(NDData(np.ones((30, 30), dtype)))


def test_numbers_beyond_float32_are_refused(enhancer):
    data = noise((30, 30)).astype(float)
    data[3, 3] = 1e39
    with pytest.raises(ValueError, match=r"must stay within float32.*rescale"):
        enhancer(image_of(data))


def test_memory_order_does_not_matter(enhancer):
    data = noise((40, 44))
    expected = enhancer(image_of(data))
    for same in (np.asfortranarray(data), np.repeat(data, 2, 1)[:, ::2]):
        assert_array_equal(enhancer(image_of(same)).data, expected.data)


# Masks and edges


def test_masked_border_is_masked_again(enhancer):
    data = noise((60, 60))
    mask = np.zeros((60, 60), bool)
    mask[:9], mask[:, 55:] = True, True
    data[mask] = 0
    result = enhancer(image_of(data, mask=mask))
    assert_array_equal(result.mask, mask.repeat(2, 0).repeat(2, 1))
    assert np.isfinite(result.data).all()
    assert_allclose(result.header["SRSIGMA"], 1, rtol=0.15)


def test_saturated_star_stays_within_bounds(enhancer):
    yy, xx = np.indices((60, 60)) - 30
    data = noise((60, 60)) + 1e5 * (1 + (yy**2 + xx**2) / 4) ** -3
    data = np.minimum(data, 4000).astype(np.float32)
    result = enhancer(image_of(data, meta=fits.Header({"SATURATE": 4000.0})), sky=0, sigma=1)
    assert np.isfinite(result.data).all()
    assert result.flags[60, 60] & Quality.SATURATED
    assert result.data.max() < 1e5
    assert result.header["SATURATE"] == 1000


# Headers


@pytest.mark.parametrize(
    "card", ["FOO     = 1 2 3", "SATURATE= 'value", "FO$O    = 1", "PIXSCALE= 1,5", "FOO     =\x07"]
)
@pytest.mark.filterwarnings("ignore::astropy.utils.exceptions.AstropyUserWarning")
def test_unreadable_card_in_memory_does_not_stop_the_enhancer(enhancer, card, tmp_path):
    header = fits.Header([("OBJECT", "M1"), ("GAIN", 0.9)])
    header.append(fits.Card.fromstring(card))
    image = image_of(noise(), header=header)
    result = enhancer(image, bands="r")
    assert (result.header["OBJECT"], result.header["GAIN"]) == ("M1", 0.9)
    assert len(image.header) == 3
    with fits.open(write_bands(tmp_path / "r.fits", {"r": result})) as hdus:
        hdus.verify("exception")
        assert card[:4].strip() in str(hdus["SCI"].header)
    plain = enhancer(image_of(noise(), header=fits.Header([("OBJECT", "M1")])), bands="r")
    assert_array_equal(result.data, plain.data)


# WCS, units and bands


def test_missing_wcs_stays_missing(enhancer):
    assert enhancer(image_of(noise())).wcs is None


def test_wcs_that_is_not_celestial_is_refused(enhancer):
    with pytest.raises(ValueError, match="must be celestial along x and y; got CTYPE"):
        enhancer(image_of(noise(), wcs=make_wcs(("LINEAR", "LINEAR"))))


def test_missing_band_is_named(enhancer):
    field = {band: image_of(noise()) for band in "gr"}
    with pytest.raises(ValueError, match=r"bands must be among those of data.*got \['z'\]"):
        enhancer(field, bands=("g", "r", "z"))


def test_bands_on_different_grids_are_refused(enhancer):
    shifted = {
        "g": image_of(noise(), wcs=make_wcs()),
        "r": image_of(noise(), wcs=make_wcs(shift=0.3)),
        "z": image_of(noise(), wcs=make_wcs()),
    }
    with pytest.raises(GridMismatchError, match=r"band 'r' is 0\.30 px off; .*match"):
        enhancer(shifted)
    shapes = {"g": image_of(noise()), "r": image_of(noise((48, 50))), "z": image_of(noise())}
    with pytest.raises(GridMismatchError, match="band 'r' has shape"):
        enhancer(shapes)


@pytest.mark.parametrize(
    ("unit", "message"),
    [
        (u.mag(u.AB), "unit must be linear in flux"),
        (u.Unit("furlong_counts", parse_strict="silent"), "unrecognised 'furlong_counts'"),
        (u.m, "unit must be a flux per pixel .*; got 'm'"),
    ],
)
def test_units_that_are_no_flux_are_refused(enhancer, unit, message):
    with pytest.raises(ValueError, match=message):
        enhancer(NDData(noise(), unit=unit))


def test_empty_mapping_is_refused(enhancer):
    with pytest.raises(ValueError, match="data must hold at least one band"):
        enhancer({})


# Real images


def check_real(enhancer, paths, folder):
    """Enhance, write, read, and compare positions of the grids."""
    field = read_bands(paths)
    cut = np.s_[:160, :150]
    # A corner is enough: the whole tiles are the business of the benchmarks.
    field = {band: image[cut] for band, image in field.items()}
    sharp = enhancer(field)
    for band, image in sharp.items():
        assert image.shape == tuple(2 * n for n in field[band].shape)
        assert np.isfinite(image.data).all()
        missing = np.broadcast_to(
            False if field[band].mask is None else field[band].mask, (160, 150)
        )
        assert_array_equal(image.mask, missing.repeat(2, 0).repeat(2, 1))
        x, y = np.random.default_rng(0).uniform(0, 299, (2, 1000))
        ra, dec = image.wcs.pixel_to_world_values(x, y)
        coarse = field[band].wcs.world_to_pixel_values(ra, dec)
        assert_allclose(coarse, ((x - 0.5) / 2, (y - 0.5) / 2), rtol=0, atol=1e-6)
    path = write_bands(folder / "sharp.fits", sharp)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
        for number in range(1, len(sharp) + 1):
            wcs = WCS(hdus["SCI", number].header)
            assert_allclose(wcs.world_to_pixel_values(ra, dec), (x, y), rtol=0, atol=1e-6)
    return field, sharp


@pytest.mark.realdata
def test_tile_edge_with_blank_rows(enhancer, real_data, tmp_path):
    paths = sorted((real_data / "splus" / "SPLUS-s23s18").glob("*.fits"))
    field = read_bands(paths)
    blank = {band: image.mask.mean() for band, image in field.items()}
    # 8 % blank rows, and as many again without an exposure.
    assert all(0.18 < share < 0.22 for share in blank.values())
    field, sharp = check_real(enhancer, paths, tmp_path)
    assert list(sharp) == ["g", "r", "z"]


@pytest.mark.realdata
@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")
def test_compressed_spiral(enhancer, real_data, tmp_path):
    folder = real_data / "splus" / "SPLUS-s24s32"
    paths = [folder / f"SPLUS-s24s32_{band}.fits.fz" for band in "GRZ"]
    _, sharp = check_real(enhancer, paths, tmp_path)
    assert list(sharp) == ["g", "r", "z"]
    assert sharp["r"].header["SRMODEL"] == "splus-grz"
