# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Registration: against known shifts, turned arrays, and images without a WCS."""

import numpy as np
import pytest
from astropy.nddata import CCDData
from astropy.wcs import WCS
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan import simulate_field
from splus_srgan.exceptions import RegistrationError
from splus_srgan.pairs.registration.measure import (
    Registration,
    approximate_wcs,
    measure_registration,
    register_images,
)
from splus_srgan.pairs.registration.pixel_map import (
    ORIENTATIONS,
    PixelMap,
    mapped_fits_wcs,
    nearest_orientation,
)


def stars(shape, places, fwhm, flux=500.0):
    """Gaussian stars drawn at exact places."""
    ys, xs = np.indices(shape)
    sigma = fwhm / 2.3548
    image = np.zeros(shape)
    for y, x in places:
        image += np.exp(-((ys - y) ** 2 + (xs - x) ** 2) / (2 * sigma**2))
    return flux * image / (2 * np.pi * sigma**2)


@pytest.fixture(scope="module")
def places():
    rng = np.random.default_rng(5)
    return rng.uniform(12, 84, (14, 2))


@pytest.fixture(scope="module")
def reference(places):
    noise = np.random.default_rng(6).normal(0, 0.3, (96, 96))
    return stars((96, 96), places, 3.4) + noise


def moved(places, *, shift=(0.0, 0.0), rotation=0.0, scale=1.0):
    """Positions by the formula in words: turn and stretch about the center, then shift."""
    angle = np.radians(rotation)
    y, x = places.T - 47.5
    return np.stack(
        [
            47.5 + shift[0] + scale * (np.cos(angle) * y + np.sin(angle) * x),
            47.5 + shift[1] + scale * (np.cos(angle) * x - np.sin(angle) * y),
        ],
        axis=1,
    )


@pytest.mark.parametrize(
    "truth",
    [
        {"shift": (0.0, 0.0)},
        {"shift": (0.43, -1.27)},
        {"shift": (-7.2, 5.6)},
        {"shift": (0.3, 0.2), "rotation": 0.4, "scale": 1.003},
    ],
)
def test_known_transformation_is_recovered(places, reference, truth):
    """Within 0.02 px, though the image is sharper and in another unit."""
    image = 7.3 * stars((96, 96), moved(places, **truth), 2.9) + 3
    found = measure_registration(image, reference)
    assert found.measured
    assert_allclose(found.shift, truth["shift"], atol=0.02)
    assert_allclose(found.rotation, truth.get("rotation", 0), atol=0.03)
    assert_allclose(found.scale, truth.get("scale", 1), atol=6e-4)
    assert max(found.shift_error) < 0.02
    assert_allclose(found.flux_ratio, 7.3, rtol=0.01)
    assert found.significant == ("rotation" in truth)


def test_the_blurred_image_may_be_the_one_that_is_moved(places, reference):
    image = stars((96, 96), moved(places, shift=(0.4, -0.3)), 4.2)
    found = measure_registration(image, reference)
    assert_allclose(found.shift, (0.4, -0.3), atol=0.02)


def test_errors_are_those_of_the_noise(places):
    """Pulls over noise realizations, of white and of correlated noise."""
    clean = stars((96, 96), places, 3.4)
    image = stars((96, 96), moved(places, shift=(0.2, -0.1)), 3.4)
    for smoothing in (0, 0.7):
        pulls = []
        for seed in range(8):
            noise = np.random.default_rng(seed).normal(0, 4, (96, 96))
            noise = ndimage.gaussian_filter(noise, smoothing) if smoothing else noise
            found = measure_registration(image, clean + noise)
            pulls.append((np.array(found.shift) - (0.2, -0.1)) / found.shift_error)
        assert 0.6 < np.sqrt(np.mean(np.square(pulls))) < 1.5


def test_coarser_reference_is_compared_at_its_own_pixels(places):
    """Twice the pixel size: both begin at the same edge."""
    fine = stars((96, 96), moved(places, shift=(0.6, -0.8)), 5.0)
    coarse = stars((96, 96), places, 5.0).reshape(48, 2, 48, 2).sum((1, 3))
    coarse += np.random.default_rng(1).normal(0, 0.1, coarse.shape)
    found = measure_registration(fine, coarse)
    assert_allclose(found.shift, (0.6, -0.8), atol=0.03)
    assert_allclose(found.flux_ratio, 1, atol=0.02)


def test_one_galaxy_will_do():
    field = simulate_field(11, shape=(64, 64), bands="r", kind="galaxy")
    target = field.target["r"]
    shifted = ndimage.shift(target.data, (1.3, -0.7), order=5, mode="nearest")
    found = measure_registration(shifted, field.observed["r"])
    off = np.array(found.shift) - (1.3, -0.7)
    assert (np.abs(off) < 4 * np.array(found.shift_error) + 0.01).all()


def test_masked_and_missing_pixels_do_not_count(places, reference):
    image = stars((96, 96), moved(places, shift=(0.5, 0.5)), 3.0)
    image[10:30, 40:60] = 1e6
    mask = np.zeros((96, 96), bool)
    mask[10:30, 40:60] = True
    broken = reference.copy()
    broken[60:70, 20:24] = np.nan
    found = measure_registration(image, broken, mask=mask)
    assert_allclose(found.shift, (0.5, 0.5), atol=0.03)


def test_nothing_in_common_is_said():
    rng = np.random.default_rng(3)
    found = measure_registration(rng.normal(size=(64, 64)), rng.normal(size=(64, 64)))
    assert not found.measured
    assert np.isnan(found.shift).all()
    assert str(found) == "not measured: the images have too little in common"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.ones((4, 4, 4)), np.ones((4, 4))), r"image must have shape \(ny, nx\); got \(4,"),
        ((np.ones((32, 32)), np.full((32, 32), np.nan)), "reference must have at least 64 valid"),
        ((np.ones((32, 32)), np.ones((20, 20))), "reference must have the shape of image, or a"),
    ],
)
def test_bad_images_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        measure_registration(*arguments)


# Without a WCS


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_every_orientation_is_found(name):
    """The array is laid down in each way; the WCS found puts its pixels where they belong."""
    rng = np.random.default_rng(8)
    spots = rng.uniform(10, 54, (12, 2))
    fluxes = rng.uniform(0.3, 1.5, 12)
    data = sum(f * stars((64, 64), [s], 3.2) for f, s in zip(fluxes, spots, strict=True))
    reference = CCDData(data, unit="adu", wcs=approximate_wcs((64, 64), 0.5, position=(40, -20)))
    array = np.array(data) + rng.normal(0, 0.2, data.shape)
    # Index map: the array that, by the matrix, lies so on the reference.
    matrix = np.array(ORIENTATIONS[name])
    places = np.tensordot(np.linalg.inv(matrix), np.indices((64, 64)) - 31.5, 1) + 31.5
    turned = ndimage.map_coordinates(array, places, order=0)
    wcs, found = register_images(turned, reference, scale=0.51)
    assert found.orientation == name
    y, x = np.array([20.0, 40.0]), np.array([15.0, 50.0])
    sky = reference.wcs.pixel_to_world(x, y)
    expected = np.tensordot(matrix, np.array([y, x]) - 31.5, 1) + 31.5
    assert_allclose(wcs.world_to_pixel(sky)[::-1], expected, atol=0.05)


def test_scale_may_be_approximate(places):
    """Pixels of another size, whose scale is given 4 % wrong."""
    reference = CCDData(
        stars((96, 96), places, 5.0), unit="adu", wcs=approximate_wcs((96, 96), 0.2)
    )
    inside = (places - 47.5) * 0.2 / 0.339 + 29.5
    image = stars((60, 60), inside, 3.2) + np.random.default_rng(2).normal(0, 0.2, (60, 60))
    wcs, found = register_images(image, reference, scale=0.339 * 1.04)
    scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
    assert scale == pytest.approx(0.339, rel=2e-3)
    assert found.scale == pytest.approx(1.04, rel=2e-3)


def test_unrelated_image_is_refused(places):
    reference = CCDData(stars((96, 96), places, 3.0), unit="adu", wcs=approximate_wcs((96, 96), 1))
    noise = np.random.default_rng(4).normal(size=(96, 96))
    with pytest.raises(RegistrationError, match="none of the eight orientations fits at 1 arcsec"):
        register_images(noise, reference, scale=1.0)


def test_what_is_missing_is_named(reference):
    with pytest.raises(TypeError, match="reference must be a CCDData or another NDData with a WCS"):
        register_images(reference, reference)
    with pytest.raises(ValueError, match="reference must have a celestial WCS; got None"):
        register_images(reference, CCDData(reference, unit="adu"))
    image = CCDData(reference, unit="adu", wcs=approximate_wcs((96, 96), 1.0))
    with pytest.raises(ValueError, match="scale must be given"):
        register_images(reference, image)


# Maps and WCS


def test_map_and_its_inverse():
    pixel_map = PixelMap.similarity((10, 20), shift=(1, 2), rotation=0.3, scale=1.1)
    points = np.random.default_rng(1).uniform(0, 50, (2, 7))
    assert_allclose(pixel_map.inverse(pixel_map(points)), points)
    assert_allclose(pixel_map.after(pixel_map.inverse)(points), points)
    assert nearest_orientation(pixel_map.matrix) == "as it is"


@pytest.mark.parametrize("sip", [False, True])
def test_mapped_wcs_is_that_of_the_mapped_pixels(sip):
    wcs = approximate_wcs((100, 100), 0.5, position=(30, -40))
    if sip:
        from astropy.wcs import Sip

        wcs.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
        terms = np.zeros((3, 3))
        terms[2, 0], terms[1, 1] = 1e-5, -2e-5
        wcs.sip = Sip(terms, terms.T.copy(), None, None, wcs.wcs.crpix)
        wcs.wcs.set()
    pixel_map = PixelMap.similarity((49.5, 49.5), shift=(3, -2), rotation=0.01, scale=0.8)
    mapped = mapped_fits_wcs(wcs, pixel_map, (100, 100))
    assert isinstance(mapped, WCS)
    points = np.random.default_rng(2).uniform(0, 99, (2, 20))
    y, x = pixel_map(points)
    apart = mapped.pixel_to_world(*points[::-1]).separation(wcs.pixel_to_world(x, y))
    assert apart.arcsec.max() < (1e-3 if sip else 1e-8)


def test_registration_reads_well():
    found = Registration((0.1, -0.2), (0.01, 0.02), 0.4, 0.05, 1.002, 0.0003, 0, "image", 1.0)
    assert str(found) == (
        "dy +0.100 ± 0.010, dx -0.200 ± 0.020 px, rotation +0.400 ± 0.050 deg, "
        "scale 1.0020 ± 0.0003"
    )


# Real images


@pytest.mark.realdata
def test_sdss_and_des_agree_once_the_wcs_is_repaired(real_data):
    """Transposed, and with a CRPIX of another cut: refused, repaired, and then right."""
    from astropy.io import fits

    from splus_srgan import match_pair

    folder = real_data / "pairs" / "sn2006bh"
    with fits.open(folder / "SDSS_r.fits") as hdus, pytest.warns(match="RADECSYS|datfix"):
        sdss = CCDData(hdus[0].data.astype("f4"), unit="nmgy", wcs=WCS(hdus[0].header))
    with fits.open(folder / "DES_r.fits") as hdus:
        cards = {k: v for k, v in hdus[0].header.items() if k not in ("MJD-OBS", "DATE-OBS", "")}
        header = fits.Header({k: v for k, v in cards.items() if k[:2] in ("CT", "CR", "CD", "CU")})
        # Zero point 30.
        des = CCDData(hdus[0].data.astype("f4") / 1000, unit="nmgy", wcs=WCS(header))
    with pytest.raises(RegistrationError, match="the array of input is transposed") as caught:
        match_pair({"r": sdss}, {"r": des})
    assert "CRPIX should be (580." in str(caught.value)
    array = sdss.data.T.copy()
    wcs, found = register_images(array, des, scale=0.396)
    assert found.orientation == "as it is"
    repaired = {"r": CCDData(array, unit="nmgy", wcs=wcs)}
    pair = match_pair(repaired, {"r": des}, target_psf=None, band_terms="measure")
    assert max(np.abs(pair.residuals["r"].shift)) < 0.05
    assert max(pair.residuals["r"].shift_error) < 0.05
    # DES r is redder: for g - r = 0.93, some 0.1 mag of difference.
    term = -2.5 * np.log10(pair.target["r"].meta["MTTERM"])
    assert term == pytest.approx(0.09, abs=0.03)
    difference = aperture_difference(pair, "r", radius=5.0, scale=0.396)
    assert abs(difference) < 0.02


def aperture_difference(pair, band, *, radius, scale):
    from photutils.aperture import CircularAperture, aperture_photometry

    fine, coarse = pair.target[band], pair.input[band]
    y, x = np.unravel_index(np.argmax(np.where(fine.mask, 0, fine.data)), fine.shape)
    sums = []
    for data, place, step in (
        (fine.data, (x, y), scale / 2),
        (coarse.data, ((x - 0.5) / 2, (y - 0.5) / 2), scale),
    ):
        table = aperture_photometry(data, CircularAperture(place, radius / step))
        sums.append(table["aperture_sum"][0])
    return -2.5 * np.log10(sums[0] / sums[1])


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["G265911", "G266033", "G266662", "G267489", "G278109"])
def test_sdss_and_kids_register_on_the_image_alone(real_data, name):
    from astropy.io import fits

    folder = real_data / "pairs" / "gama"
    sdss, kids = (
        fits.getdata(folder / f"{survey}_{name}fitim.fits") * 1e9 for survey in ("SDSS", "KiDS")
    )
    reference = CCDData(kids, unit="nmgy", wcs=approximate_wcs(kids.shape, 0.2))
    _, found = register_images(sdss, reference, scale=0.339)
    assert found.orientation == "as it is"
    assert max(found.shift_error) < 0.06
    assert max(np.abs(found.shift)) < 2
    assert found.scale == pytest.approx(1, abs=0.01)
    # The bands differ by a few percent.
    assert found.flux_ratio == pytest.approx(0.95, abs=0.05)


@pytest.mark.realdata
def test_hsc_on_the_grid_of_hst(real_data):
    from astropy.io import fits

    from splus_srgan import match_to_grid

    folder = real_data / "pairs" / "cosmos"
    header = fits.getheader(folder / "Cut_HSC.fits")
    del header["NAXIS3"]
    header["NAXIS"] = 2
    hsc = fits.getdata(folder / "Cut_HSC.fits")[2].astype("f4")
    psf = fits.getdata(folder / "PSF_HSC.fits")[2]
    hsc = CCDData(hsc, unit="adu", wcs=WCS(header), psf=psf)
    hst_wcs = WCS(fits.getheader(folder / "Cut_HST.fits"))
    hst = CCDData(fits.getdata(folder / "Cut_HST.fits"), unit="adu", wcs=hst_wcs)
    matched = match_to_grid(hsc, hst_wcs, hst.shape)
    assert not matched.mask.any()
    found = measure_registration(hst, matched)
    assert found.measured
    assert max(np.abs(found.shift)) * 0.03 < 0.3
