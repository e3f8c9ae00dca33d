# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Everything that travels with an image comes to the new grid along with its pixels."""

import warnings

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    FlagCollection,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS, DistortionLookupTable
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.exceptions import SplusSrganWarning, UncertaintyDroppedWarning
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.images.wcs import upsample_wcs
from splus_srgan.pairs.match import match_to_grid
from splus_srgan.pairs.registration.measure import (
    approximate_wcs,
    measure_registration,
    register_images,
)
from splus_srgan.simulate.field import simulate_field

HERE = (150.0, -30.0)
WCS_32 = approximate_wcs((32, 32), 0.55, position=HERE)
FINE = upsample_wcs(WCS_32)


def flat(value=10.0, unit="nmgy", **parts):
    return CCDData(np.full((32, 32), value), unit=unit, wcs=WCS_32, **parts)


def turned(matrix, shape=(64, 64), scale=0.275):
    """A grid whose axes are those of ``matrix``, in steps of x and y on the sky."""
    wcs = approximate_wcs(shape, scale, position=HERE)
    wcs.wcs.cd = wcs.wcs.cd @ np.array(matrix, float)
    wcs.wcs.set()
    return wcs


# Uncertainty


def uncertainty_of(kind, deviation):
    """One standard deviation in each of the ways to state it."""
    array = np.full((32, 32), deviation)
    if kind is VarianceUncertainty:
        return kind(array**2)
    return kind(array**-2.0) if kind is InverseVariance else kind(array)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
@pytest.mark.parametrize("unit", ["nmgy", "adu", "erg / (s cm2 Hz)"])
@settings(max_examples=12, deadline=None)
@given(exponent=st.integers(-30, 30))
def test_uncertainty_does_not_depend_on_the_unit(kind, unit, exponent):
    """Variances from 1e-60 to 1e60 are the same image in another unit."""
    size = 10.0**exponent
    image = flat(10 * size, unit=unit, uncertainty=uncertainty_of(kind, size))
    out = match_to_grid(image, FINE, (64, 64))
    plain = match_to_grid(flat(unit=unit, uncertainty=uncertainty_of(kind, 1.0)), FINE, (64, 64))
    found = out.uncertainty.array.astype(float) / size
    assert_allclose(found, plain.uncertainty.array, rtol=1e-5)
    assert_allclose(np.median(found), 0.2177, rtol=1e-3)


def test_values_beyond_float32_are_an_error_and_not_infinite():
    with pytest.raises(ValueError, match="image must stay within float32"):
        match_to_grid(flat(1e40), FINE, (64, 64))


def test_pixels_without_weight_stay_missing():
    weight = np.ones((32, 32))
    weight[10, 12] = 0
    out = match_to_grid(flat(uncertainty=InverseVariance(weight)), FINE, (64, 64))
    assert out.mask[20:22, 24:26].all()
    assert not out.mask[:16].any()


def test_an_uncertainty_of_unknown_kind_is_left_out_with_a_warning():
    image = flat(uncertainty=UnknownUncertainty(np.ones((32, 32))))
    with pytest.warns(UncertaintyDroppedWarning, match="got UnknownUncertainty"):
        out = match_to_grid(image, FINE, (64, 64))
    assert out.uncertainty is None


# Flags


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, bool])
def test_flags_reach_the_last_ring(dtype):
    flags = np.full((32, 32), 7, dtype)
    out = match_to_grid(flat(flags=flags), FINE, (64, 64))
    assert out.flags.dtype == dtype
    assert_array_equal(out.flags[~out.mask], flags[0, 0])
    assert (~out.mask).all()


def test_each_of_a_collection_of_flags_comes_along(tmp_path):
    flags = FlagCollection(shape=(32, 32))
    flags["cosmic"], flags["edge"] = np.ones((32, 32), int), np.arange(1024).reshape(32, 32)
    image = flat(flags=flags)
    out = match_to_grid(image, FINE, (64, 64))
    assert isinstance(out.flags, FlagCollection)
    for name, plane in flags.items():
        assert_array_equal(out.flags[name], np.kron(plane, np.ones((2, 2), int)))
    with pytest.warns(SplusSrganWarning, match="flags of the CCDData cannot be written"):
        write_bands(tmp_path / "a.fits", {"r": image})


def test_flags_keep_all_their_bits_and_their_pixels():
    rng = np.random.default_rng(1)
    flags = rng.integers(0, 2**62, (32, 32))
    out = match_to_grid(flat(flags=flags), FINE, (64, 64))
    assert_array_equal(out.flags, flags.repeat(2, 0).repeat(2, 1))


def test_flags_outside_of_the_image_are_zero():
    wide = approximate_wcs((96, 96), 0.55, position=HERE)
    out = match_to_grid(flat(flags=np.full((32, 32), 3, np.uint8)), wide, (96, 96))
    assert_array_equal(out.flags, np.where(out.mask, 0, 3))
    assert (~out.mask).sum() == 32 * 32


@pytest.mark.parametrize("shape", [(32, 32), (1, 32, 32)])
def test_quality_of_plain_nddata_comes_along(shape):
    quality = np.arange(32 * 32, dtype=np.uint16).reshape(shape)
    meta = {"QUALITY": quality, "FILTER": "R"}
    image = NDData(np.ones((32, 32)), unit="adu", wcs=WCS_32, meta=meta)
    out = match_to_grid(image, FINE, (64, 64))
    assert_array_equal(out.meta["QUALITY"], quality.repeat(2, -1).repeat(2, -2))
    assert image.meta["QUALITY"] is quality
    image.meta["QUALITY"] = np.zeros((5, 5), int)  # of some other grid
    assert "QUALITY" not in match_to_grid(image, FINE, (64, 64)).meta


# PSF

AXES = {
    "as it is": [[1, 0], [0, 1]],
    "mirrored": [[-1, 0], [0, 1]],
    "upside down": [[1, 0], [0, -1]],
    "turned by 90 degrees": [[0, -1], [1, 0]],
    "transposed": [[0, 1], [1, 0]],
    "turned by 30 degrees": [[0.75**0.5, -0.5], [0.5, 0.75**0.5]],
}


@pytest.mark.parametrize("name", AXES)
def test_the_psf_turns_with_the_grid(name):
    """The PSF that comes along is what a point source looks like on the new grid."""
    y, x = np.indices((41, 41)) - 20
    psf = np.exp(-((x - 0.6 * y) ** 2) / 18 - y**2 / 50) * (1 + 0.3 * np.tanh(x / 4 + y / 9))
    middle = [np.sum(axis * psf) / psf.sum() for axis in (y, x)]
    psf = np.roll(psf, [-round(m) for m in middle], (0, 1))
    wcs = approximate_wcs((41, 41), 0.275, position=HERE)
    image = CCDData(psf, unit="adu", wcs=wcs, psf=psf)
    out = match_to_grid(image, turned(AXES[name], (41, 41)), (41, 41))
    seen = np.where(out.mask, 0, out.data)[8:33, 8:33]
    told = out.psf[8:33, 8:33]
    size = told.shape[0] // 2
    shift = max(abs(np.array(np.unravel_index(seen.argmax(), seen.shape)) - size))
    assert shift <= 1
    assert np.corrcoef(seen.ravel(), told.ravel())[0, 1] > 0.99
    others = [np.fliplr(told), np.flipud(told), told.T]
    assert all(np.corrcoef(seen.ravel(), one.ravel())[0, 1] < 0.97 for one in others)


def moffat(y, x, fwhm, beta=3.0):
    return (1 + 4 * (2 ** (1 / beta) - 1) * (x**2 + y**2) / fwhm**2) ** -beta


def stars_on(wcs, places):
    """An image of 1" stars on pixels of 0.262", each of flux 1, and their PSF."""
    y, x = np.indices((81, 81)) - 40
    psf = moffat(y, x, 1 / 0.262)
    rows, columns = np.indices((200, 200))
    stars = sum(moffat(rows - y, columns - x, 1 / 0.262) for x, y in zip(*places, strict=True))
    return CCDData(stars / psf.sum(), unit="nmgy", wcs=wcs, psf=psf / psf.sum())


@pytest.mark.parametrize(
    ("method", "order"),
    [("interp", "bicubic"), ("interp", "bilinear"), ("exact", "bicubic"), ("adaptive", "bicubic")],
)
@pytest.mark.parametrize(("scale", "name"), [(0.72, "turned by 30 degrees"), (0.4, "mirrored")])
def test_the_psf_is_that_of_a_resampled_star(method, order, scale, name):
    """Nine stars that lie on pixels of the new grid, and anywhere between those of the old one."""
    wcs = approximate_wcs((200, 200), 0.262, position=HERE)
    n = 2 * int(200 * 0.262 / scale / 2) + 1
    grid = turned(AXES[name], (n, n), scale)
    steps = np.rint(np.array([-1, 0, 1]) * 40 * 0.262 / scale).astype(int) + n // 2
    rows, columns = (part.ravel() for part in np.meshgrid(steps, steps, indexing="ij"))
    image = stars_on(wcs, wcs.world_to_pixel(grid.pixel_to_world(columns, rows)))
    out = match_to_grid(image, grid, (n, n), method=method, order=order)
    seen = np.array(
        [out.data[y - 5 : y + 6, x - 5 : x + 6] for y, x in zip(rows, columns, strict=True)]
    )
    middle = out.psf.shape[0] // 2
    told = out.psf[middle - 5 : middle + 6, middle - 5 : middle + 6]
    assert_allclose(seen.mean(0), told, atol=0.02 * told.max())
    assert np.abs(seen - told).max() < 0.07 * told.max()
    assert_allclose(out.psf.sum(), 1, rtol=1e-5)


@pytest.mark.parametrize("block_size", [None, 16])
def test_adaptive_images_of_mirrored_grids_are_mirrored_images(block_size):
    """The kernel of reproject itself depends on the direction of the axes."""
    wcs = approximate_wcs((200, 200), 0.262, position=HERE)
    image = stars_on(wcs, ([90.3, 110.2], [95.1, 120.4]))
    plain, flipped = (
        match_to_grid(
            image,
            turned(AXES[name], (41, 41), 0.72),
            (41, 41),
            method="adaptive",
            block_size=block_size,
        )
        for name in ("as it is", "mirrored")
    )
    assert_allclose(flipped.data, plain.data[:, ::-1], atol=1e-3 * plain.data.max())


def test_pixels_that_stay_where_they_are_keep_the_psf():
    """The area of a pixel is averaged over where it is spread over several, and only there."""
    wcs = approximate_wcs((200, 200), 0.262, position=HERE)
    image = stars_on(wcs, ([100], [100]))
    out = match_to_grid(image, wcs, (200, 200), method="exact")
    told = out.psf[out.psf.shape[0] // 2 - 40 :][:81, out.psf.shape[1] // 2 - 40 :][:, :81]
    assert_allclose(out.data, image.data, atol=1e-6)
    assert_allclose(told, image.psf, atol=0.02 * image.psf.max())


@pytest.mark.parametrize("method", ["interp", "exact"])
def test_the_seeing_of_a_header_holds_as_long_as_the_psf_does(method):
    meta = fits.Header({"FWHMMEAN": 1.32, "FWHMBETA": 2.75})
    grid = approximate_wcs((16, 16), 1.1, position=HERE)
    out = match_to_grid(flat(meta=meta), grid, (16, 16), method=method)
    assert ("FWHMMEAN" in out.meta) == (out.psf is None) == (method == "interp")


# Where the target has no image


def with_sip(coefficient, shape=(200, 200)):
    header = approximate_wcs(shape, 2.0, position=HERE).to_header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    for key in ("A_3_0", "A_1_2", "B_0_3", "B_2_1"):
        header[key] = coefficient
    header["A_ORDER"] = header["B_ORDER"] = 3
    return WCS(header)


@pytest.mark.parametrize("block_size", [None, 256])
@pytest.mark.parametrize("coefficient", [4e-6, 1e-5, -2e-6])
def test_targets_wider_than_the_image_show_no_ghosts(coefficient, block_size):
    """Where the inverse of the distortion does not converge there is nothing, in silence."""
    y, x = np.mgrid[:200, :200]
    data = np.exp(-((x - 100) ** 2 + (y - 90) ** 2) / 18)
    image = CCDData(data, unit="nmgy", wcs=with_sip(coefficient))
    target = approximate_wcs((500, 500), 2.0, position=HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        out = match_to_grid(image, target, (500, 500), block_size=block_size)
    assert_allclose(out.data.sum() / data.sum(), 1, atol=2e-3)
    # An independent count: the sky of every pixel of the image, forwards.
    ny, nx = (part.ravel() for part in np.mgrid[:200:4, :200:4])
    seen = target.world_to_pixel(image.wcs.pixel_to_world(nx, ny))
    area = (~out.mask).sum()
    hull = np.ptp(seen[0]) * np.ptp(seen[1])
    assert 0.7 * hull < area < 1.2 * hull


@pytest.mark.parametrize("ctype", ["RA---TAN-SIP", "RA---TPV"])
def test_flux_is_conserved_where_pixels_are_large_for_the_distortion(ctype):
    """Three pixels of distortion at the edge of a small image, seen in pixels four times larger."""
    header = approximate_wcs((64, 64), 0.54, position=HERE).to_header()
    header["CTYPE1"], header["CTYPE2"] = ctype, ctype.replace("RA--", "DEC-")
    for axis, letter in ((1, "A"), (2, "B")):
        if ctype.endswith("SIP"):
            for key in ("3_0", "1_2") if axis == 1 else ("0_3", "2_1"):
                header[f"{letter}_{key}"] = 3e-5
            header[f"{letter}_ORDER"] = 3
        else:
            header[f"PV{axis}_1"], header[f"PV{axis}_7"] = 1.0, 4000.0
    y, x = np.mgrid[:64, :64]
    data = np.exp(-((x - 20) ** 2 + (y - 30) ** 2) / 8) + np.exp(
        -((x - 40) ** 2 + (y - 45) ** 2) / 18
    )
    target = approximate_wcs((40, 40), 2.16, position=HERE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        image = CCDData(data, unit="nmgy", wcs=WCS(header))
        out = match_to_grid(image, target, (40, 40), method="exact")
    assert_allclose(out.data.sum() / data.sum(), 1, atol=4e-3)


def test_the_other_side_of_the_sky_is_empty_in_silence():
    image = CCDData(np.ones((200, 200)), unit="nmgy", wcs=with_sip(4e-6))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for size, scale in ((50, 2.0), (90, 3600.0)):
            target = approximate_wcs((size, size), scale, position=(330, 30))
            assert match_to_grid(image, target, (size, size)).mask.all()
        whole = approximate_wcs((300, 300), 1500.0, position=HERE)
        whole.wcs.ctype = "RA---SIN", "DEC--SIN"
        assert (~match_to_grid(image, whole, (300, 300)).mask).sum() <= 4


@pytest.mark.parametrize("block_size", [None, 64])
def test_a_target_partly_off_the_sky_masks_that_part_only(block_size):
    image = CCDData(np.ones((200, 200)), unit="nmgy", wcs=approximate_wcs((200, 200), 360.0))
    whole = WCS(naxis=2)
    whole.wcs.ctype = "RA---AIT", "DEC--AIT"
    whole.wcs.crpix = 160.5, 90.5
    whole.wcs.cdelt = -1.1, 1.1
    out = match_to_grid(image, whole, (180, 320), block_size=block_size)
    valid = ~out.mask
    assert 200 < valid.sum() < 450  # 20 x 20 degrees
    assert valid[90, 160]
    assert not valid[0].any()
    assert_allclose(out.data.sum(), 200 * 200, rtol=0.15)


# Headers

OLD = {
    **{"CTYPE1A": "RA---TAN", "CTYPE2A": "DEC--TAN", "CRPIX1A": 16.5, "CRPIX2A": 16.5},
    **{"CRVAL1A": 150.0, "CRVAL2A": -30.0, "CD1_1A": -1.5e-4, "CD2_2A": 1.5e-4, "WCSNAMEB": "x"},
    **{"LTV1": -100.0, "LTM1_1": 1.0, "DATASEC": "[1:32,1:32]", "TRIMSEC": "[1:32,1:32]"},
    **{"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 5e-4, "B_0_2": 5e-4, "CPDIS1": "LOOKUP"},
    **{"D2IMDIS1": "LOOKUP", "PV2_1": 0.1, "CROTA2": 12.0, "WAT0_001": "system=image"},
    **{"PIXAR_SR": 6.85e-12, "SECPIX": 0.55, "PIXSCALE": 0.55, "RDNOISE": 5.0},
    **{"SATLEVEL": 1000.0, "SATURATE": 1000.0, "OAJ QC SATURATE": 1000.0, "CD1_1": 1.0},
}


@pytest.mark.parametrize("kind", [fits.Header, dict])
def test_headers_say_nothing_of_the_old_grid(kind, tmp_path):
    meta = {"FILTER": "R", "OBJECT": "NGC 1"} | OLD
    if kind is fits.Header:
        header = fits.Header()
        for key, value in meta.items():
            header[f"HIERARCH {key}" if " " in key else key] = value
        meta = header
    else:
        del meta["OAJ QC SATURATE"]  # astropy writes no number under a long name of a dictionary
    before = dict(meta)
    out = match_to_grid(flat(unit="adu", meta=meta), FINE, (64, 64))
    assert dict(meta) == before
    said = out.meta
    levels = [value for key, value in said.items() if key.split()[-1].startswith("SAT")]
    assert levels == pytest.approx([250] * (3 if kind is fits.Header else 2))
    assert said["SECPIX"] == said["PIXSCALE"] == pytest.approx(0.275)
    assert said["PIXAR_SR"] == pytest.approx(6.85e-12 / 4)
    assert said["FILTER"] == "R"
    assert said["OBJECT"] == "NGC 1"
    assert said.get("INPUT RDNOISE") == (5.0 if kind is fits.Header else None)
    kept = {"SATLEVEL", "SATURATE", "OAJ QC SATURATE", "SECPIX", "PIXSCALE", "PIXAR_SR"}
    moved = {key for key in OLD if key.endswith("A") or key.startswith(("LT", "DATASEC", "TRIM"))}
    gone = set(OLD) - kept - moved
    assert not gone & set(map(str, said))
    out.write(tmp_path / "out.fits")
    header = fits.getheader(tmp_path / "out.fits")
    x, y = np.array([3, 60, 3.0]), np.array([5, 5, 62.0])
    apart = WCS(header).pixel_to_world(x, y).separation(FINE.pixel_to_world(x, y))
    assert apart.arcsec.max() < 1e-6


def two_described(**more):
    """An image whose header also tells detector pixels, a section and a WCS named A."""
    wcs = approximate_wcs((40, 30), 0.55, position=HERE)
    header = wcs.to_header()
    header.update(wcs.to_header(key="A"))
    header.update({"LTV1": -100.0, "LTV2": 7.0, "LTM2_2": 0.5, "DATASEC": "[5:30,1:40]"} | more)
    data = np.random.default_rng(1).normal(size=(40, 30))
    return CCDData(data, unit="adu", wcs=wcs, meta=header)


def turned_grid(angle, scale=0.2, shape=(90, 100), flip=1):
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    return turned(np.array([[cos, -sin], [sin, cos]]) @ np.diag([flip, 1]), shape, scale)


@pytest.mark.parametrize("kind", [fits.Header, dict])
@pytest.mark.parametrize("angle", [0, 30, 180, -77])
@pytest.mark.parametrize("flip", [1, -1])
def test_alternate_wcs_and_physical_pixels_come_along(kind, angle, flip):
    image, target = two_described(), turned_grid(angle, flip=flip)
    old = WCS(image.meta, key="A")
    image.meta = kind(image.meta)
    out = match_to_grid(image, target, (90, 100))
    x, y = np.array([3, 60, 3.0]), np.array([5, 5, 80.0])
    said = fits.Header(out.meta)
    apart = WCS(said, key="A").pixel_to_world(x, y).separation(target.pixel_to_world(x, y))
    assert apart.arcsec.max() < 1e-5
    # A star keeps its place on the detector, seen through either image.
    places = np.array(old.world_to_pixel(target.pixel_to_world(x, y))) + 1
    detector = (places - [[-100], [7]]) / [[1], [0.5]]
    linear = [[said.get(f"LTM{r}_{c}", 0) for c in (1, 2)] for r in (1, 2)]
    shift = np.array([[said["LTV1"]], [said["LTV2"]]])
    assert_allclose(np.array(linear) @ detector + shift, np.array([x, y]) + 1, atol=1e-4)


HERE_A = {"CRPIX1A": 10.0, "CRPIX2A": 3, "CRVAL1A": 150.0, "CRVAL2A": -30.0}
SKY_A = {"CTYPE1A": "RA---TAN", "CTYPE2A": "DEC--TAN", "CDELT1A": -1.5e-4, "CDELT2A": 2e-4}
TURNED_SKY = {"CTYPE1A": "DEC--TAN", "CTYPE2A": "RA---TAN", "CRVAL1A": -30.0, "CRVAL2A": 150.0}


@pytest.mark.parametrize("kind", [fits.Header, dict, "small letters"])
@pytest.mark.parametrize(
    "cards",
    [
        SKY_A | {"CROTA2A": 20.0},
        SKY_A | TURNED_SKY | {"CROTA1A": -35.0},
        SKY_A | {"PC1_1A": 0.8, "PC1_2A": -0.6, "CD1_1A": -1.2e-4, "CD1_2A": 9e-5, "CD2_2A": 2e-4},
        SKY_A | {"CTYPE3A": "FREQ", "CRPIX3A": 1.0, "CDELT3A": 1e6, "CRVAL3A": 1e9, "WCSAXESA": 3},
        {"CRVAL1A": 101.0, "CRVAL2A": 201.0, "CDELT1A": 2.0, "WCSNAMEA": "PHYSICAL"},
    ],
)
def test_alternate_wcs_of_any_form_come_along(cards, kind):
    """A pixel keeps its place in it, by wcslib's reading of either header."""
    header = fits.Header(HERE_A | cards)
    old = WCS(fits.Header({key[:-1]: value for key, value in header.items()})).sub([1, 2])
    meta = {key.lower(): value for key, value in header.items()}
    meta = meta if kind == "small letters" else kind(header)
    target = turned_grid(40, flip=-1)
    said = match_to_grid(flat(meta=meta), target, (90, 100)).meta
    new = WCS(fits.Header({key: said[key] for key in said if isinstance(key, str)}), key="A")
    assert new.naxis == 2
    x, y = np.array([3, 60, 3.0]), np.array([5, 5, 80.0])
    places = WCS_32.world_to_pixel(target.pixel_to_world(x, y))
    missed = np.subtract(new.wcs_pix2world(x, y, 0), old.wcs_pix2world(*places, 0))
    assert np.abs(missed).max() < 1e-4 * np.abs(old.pixel_scale_matrix).max()


@pytest.mark.parametrize("key", [7, ("a", 1), None])
def test_keys_of_a_dictionary_that_are_no_keywords_stay(key):
    assert match_to_grid(flat(meta={key: "x"}), FINE, (64, 64)).meta[key] == "x"


def test_cards_that_are_there_twice_change_alike():
    header = fits.Header()
    cards = [("PIXSCALE", 0.55), ("PIXSCALE", 0.5), ("SATURATE", 100.0), ("SATURATE", 80.0)]
    header.extend(cards, unique=False)
    said = match_to_grid(flat(meta=header), FINE, (64, 64)).meta
    found = [said[key, i] for key in ("PIXSCALE", "SATURATE") for i in (0, 1)]
    assert_allclose(found, [0.275, 0.25, 25, 20])


def test_sections_come_along_where_their_edges_are_those_of_pixels():
    shown = match_to_grid(two_described(), turned_grid(0, 0.275, (80, 60)), (80, 60)).meta
    assert shown["DATASEC"] == "[9:60,1:80]"
    turned = match_to_grid(two_described(), turned_grid(180, 0.275, (80, 60)), (80, 60)).meta
    assert turned["DATASEC"] == "[52:1,80:1]"
    # Two pixels less on each side.
    cut = match_to_grid(two_described(), turned_grid(0, 0.55, (36, 26)), (36, 26)).meta
    assert cut["DATASEC"] == "[3:26,1:36]"
    for other in (turned_grid(0, 0.2), turned_grid(30, 0.55)):
        said = match_to_grid(two_described(), other, (90, 100)).meta
        assert "DATASEC" not in said
        assert said["INPUT DATASEC"] == "[5:30,1:40]"


@pytest.mark.parametrize(
    "more",
    [
        {"CTYPE1A": "RA---TAN-SIP", "CPDIS1A": "LOOKUP"},
        {"CTYPE3A": "FREQ", "PC1_3A": 0.5},
        {"CRPIX1A": "x"},
    ],
)
def test_alternate_wcs_that_no_change_of_pixels_brings_along_is_left_out(more):
    said = match_to_grid(two_described(**more), turned_grid(0), (90, 100)).meta
    assert not [key for key in said if key.endswith("A") and key.startswith(("C", "PC"))]


def test_a_curved_map_of_pixels_takes_cards_of_the_old_grid_out():
    meta = fits.Header({"LTV1": 3.0, "CTYPE1A": "LINEAR", "CRPIX1A": 2.0})
    wide = approximate_wcs((32, 32), 900.0, position=HERE)
    image = CCDData(np.ones((32, 32)), unit="adu", wcs=wide, meta=meta)
    elsewhere = approximate_wcs((32, 32), 900.0, position=(150.0, -34.0))
    said = match_to_grid(image, elsewhere, (32, 32)).meta
    assert not {"LTV1", "CTYPE1A", "CRPIX1A"} & set(said)


def test_lookup_distortions_are_taken_out_with_the_old_grid(tmp_path):
    wcs = approximate_wcs((64, 64), 0.55, position=HERE)
    table = DistortionLookupTable(np.full((9, 9), 0.3, "f4"), (1.0, 1.0), (1.0, 1.0), (7.9, 7.9))
    wcs.cpdis1 = wcs.cpdis2 = table
    hdus = wcs.to_fits(relax=True)
    meta = hdus[0].header
    data = np.random.default_rng(1).normal(size=(64, 64))
    image = CCDData(data, unit="adu", wcs=wcs, meta=meta)
    out = match_to_grid(image, approximate_wcs((64, 64), 0.55, position=HERE), (64, 64))
    assert not [key for key in out.meta if key.startswith(("CPDIS", "DP", "D2IM"))]
    out.write(tmp_path / "out.fits")
    assert not WCS(fits.getheader(tmp_path / "out.fits")).has_distortion


@pytest.mark.parametrize("name", ["det2im1", "det2im2"])
def test_a_detector_table_of_one_axis_counts(name, tmp_path):
    """Astropy applies it on the way to the sky, and not on the way back."""
    wcs = approximate_wcs((64, 64), 0.55, position=HERE)
    table = DistortionLookupTable(np.full((9, 9), 3.0, "f4"), (1.0, 1.0), (1.0, 1.0), (7.9, 7.9))
    setattr(wcs, name, table)
    data = np.zeros((64, 64))
    data[31, 30] = 1.0
    image = CCDData(data, unit="nmgy", wcs=wcs)
    out = match_to_grid(image, approximate_wcs((64, 64), 0.55, position=HERE), (64, 64))
    moved = {"det2im1": (0, 3), "det2im2": (3, 0)}[name]
    assert np.unravel_index(out.data.argmax(), out.shape) == (31 + moved[0], 30 + moved[1])
    assert (~out.mask).mean() > 0.9
    hdus = wcs.to_fits(relax=True)
    hdus[0].data = np.random.default_rng(1).normal(size=(64, 64)).astype("f4")
    hdus[0].header.update(BUNIT="adu")
    for band in "gr":
        hdus[0].header["FILTER"] = band
        hdus.writeto(tmp_path / f"{band}.fits")
    field = read_bands([tmp_path / "g.fits", tmp_path / "r.fits"])
    x, y = field["r"].wcs.world_to_pixel(wcs.pixel_to_world(20, 21))
    assert_allclose([x, y], [20, 21], atol=1e-3)


class Odd(CCDData):
    """A class whose constructor takes something of its own."""

    def __init__(self, data, telescope, **options):
        super().__init__(data, **options)
        self.telescope = telescope


def test_a_class_that_cannot_be_made_comes_back_plain():
    image = Odd(np.ones((32, 32)), "T80", unit="adu", wcs=WCS_32)
    with pytest.warns(SplusSrganWarning, match="a Odd cannot be made as CCDData is"):
        out = match_to_grid(image, FINE, (64, 64))
    assert type(out) is CCDData
    assert_allclose(out.data, 0.25, rtol=1e-5)


def test_further_coordinates_are_told_to_be_left_out():
    ndcube = pytest.importorskip("ndcube")
    cube = ndcube.NDCube(np.ones((32, 32)), wcs=WCS_32, unit="adu")
    cube.extra_coords.add("row", 0, np.arange(32) * units.pix)
    with pytest.warns(SplusSrganWarning, match="extra_coords of the NDCube are left out"):
        match_to_grid(cube, FINE, (64, 64))


@pytest.mark.parametrize("shape", [48, None, (4, 5, 6), ()])
def test_shapes_of_no_image_are_named(shape):
    with pytest.raises(ValueError, match=r"shape must be \(ny, nx\) of the new grid; got"):
        match_to_grid(flat(), FINE, shape)


# Masks


def test_masked_arrays_are_masked():
    field = simulate_field(4, shape=(64, 64), kind="stars")
    rng = np.random.default_rng(1)
    bad = np.zeros((64, 64), bool)
    bad[:30] = True
    image = np.where(bad, rng.normal(500, 2000, (64, 64)), field.observed["r"].data)
    target = field.target["r"]
    wanted = register_images(image, target, scale=0.55, mask=bad)[1]
    for given_image in (np.ma.array(image, mask=bad), CCDData(image, unit="adu", mask=bad)):
        assert register_images(given_image, target, scale=0.55)[1] == wanted
    seen = measure_registration(target, image, reference_mask=bad)
    assert measure_registration(target, np.ma.array(image, mask=bad)) == seen
