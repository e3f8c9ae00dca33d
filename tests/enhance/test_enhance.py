# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""`SRGANEnhancer`: every call form, what must not change the result, and what must be said."""

import copy
import dataclasses
import threading
import warnings
from collections import OrderedDict

import numpy as np
import pytest
import torch
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import Quality, SRGANEnhancer, simulate_field, upsample_wcs
from splus_srgan.enhance.uncertainty import uncertainty_of
from splus_srgan.evaluation.shapes import round_psf
from splus_srgan.exceptions import (
    DomainWarning,
    NoSkyWarning,
    SplusSrganWarning,
    UncertaintyDroppedWarning,
    WeightsError,
)
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.images.unpack import unpack
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.pixels.psf import WING_SHARE

# The flux anchor has its own tests; with it, a pixel depends on more than the generator's reach.
OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32", "flux_anchor": 0}
SKY, SIGMA = {"g": 0.1, "r": 0.2, "z": 0.3}, {"g": 1.0, "r": 1.2, "z": 0.9}
GIVEN = {"sky": SKY, "sigma": SIGMA}


@pytest.fixture(scope="module")
def enhancer():
    return SRGANEnhancer(**OPTIONS)


@pytest.fixture(scope="module")
def field():
    """Simulated sky with one star; copies of it are changed, never itself."""
    simulated = simulate_field(22, shape=(48, 56), kind="blank")
    yy, xx = np.indices((48, 56))
    star = (1 + ((yy - 26.2) ** 2 + (xx - 17.7) ** 2) / 4) ** -3
    for band, image in simulated.observed.items():
        image.data += np.float32(100 * simulated.sigma[band]) * star.astype(np.float32)
    return simulated.observed


@pytest.fixture(scope="module")
def sharp(enhancer, field):
    return enhancer(field)


def cube_of(field, cls=NDData, **options):
    options = {"unit": u.adu, "wcs": field["r"].wcs, **options}
    return cls(np.stack([image.data for image in field.values()]), **options)


def changed(field, change):
    """A copy of the field whose images were changed by a function."""
    copies = {band: image.copy() for band, image in field.items()}
    return {band: change(image) for band, image in copies.items()}


# Call forms


def test_mapping_gives_a_mapping(field, sharp):
    assert list(sharp) == ["g", "r", "z"]
    for band, image in sharp.items():
        assert type(image) is CCDData
        assert image.shape == (96, 112)
        assert image.unit == u.adu
        assert image.data.dtype == np.float32
        assert image.data.dtype.isnative
        assert np.isfinite(image.data).all()
        assert not image.mask.any()
        assert image.uncertainty is None
        wanted = upsample_wcs(field[band].wcs)
        assert_allclose(image.wcs.wcs.crpix, wanted.wcs.crpix, atol=1e-9)
        assert_allclose(image.wcs.pixel_scale_matrix, wanted.pixel_scale_matrix, rtol=1e-12)


def test_flux_is_conserved(field, sharp):
    for band in field:
        assert_allclose(sharp[band].data.sum(), field[band].data.sum(), rtol=0.1)


def test_image_gives_an_image(enhancer, field):
    image = enhancer(field["r"])
    assert type(image) is CCDData
    assert image.shape == (96, 112)
    assert image.header["SRMODEL"] == "splus-any"


def test_stack_gives_a_stack(enhancer, field, sharp):
    named = enhancer(cube_of(field), bands=("g", "r", "z"))
    carded = enhancer(cube_of(field, CCDData, meta={"BANDS": "grz"}))
    assert type(named) is NDData
    assert type(carded) is CCDData
    for cube in (named, carded):
        assert cube.data.shape == (3, 96, 112)
        for plane, band in zip(cube.data, "grz", strict=True):
            assert_array_equal(plane, sharp[band].data)
    assert_array_equal(named.meta["QUALITY"], carded.flags)
    assert (named.meta["BANDS"], carded.meta["BANDS"]) == ("g,r,z", "grz")
    assert list(unpack(named).bands) == ["g", "r", "z"]


def test_stack_that_ccddata_writes_is_read_by_band(enhancer, field, tmp_path):
    holed = cube_of(field, CCDData)
    holed.mask = np.zeros(holed.shape, bool)
    holed.mask[1, 5:9, 6:8] = True
    cube = enhancer(holed, bands=("g", "r", "z"))
    cube.write(tmp_path / "cube.fits")
    back = read_bands(tmp_path / "cube.fits")
    assert list(back) == ["g", "r", "z"]
    for k, image in enumerate(back.values()):
        assert_array_equal(image.data, cube.data[k])
        assert_array_equal(image.mask, cube.mask[k])
        assert_array_equal(image.psf, cube.psf[k])


def test_nddata_gives_nddata(enhancer, field):
    plain = {b: NDData(i.data, unit=i.unit, wcs=i.wcs, meta=dict(i.meta)) for b, i in field.items()}
    result = enhancer(plain)
    assert {type(image) for image in result.values()} == {NDData}
    assert result["g"].meta["QUALITY"].shape == (96, 112)
    assert result["g"].meta["SRMODEL"] == "splus-grz"


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_subclasses_stay_what_they_are(enhancer, field):
    class MyCCDData(CCDData):
        pass

    image = enhancer(MyCCDData(field["r"].data, unit="adu"), **GIVEN | {"sky": 0, "sigma": 1})
    assert type(image) is MyCCDData


def test_bare_arrays_are_refused(enhancer):
    with pytest.raises(TypeError, match=r"wrap it: CCDData\(array, unit='adu', wcs=wcs\)"):
        enhancer(np.zeros((20, 20)))


# Bands


def test_order_of_the_bands_does_not_matter(enhancer, field, sharp):
    turned = enhancer({band: field[band] for band in "zgr"})
    assert list(turned) == ["z", "g", "r"]
    for band in "grz":
        assert_array_equal(turned[band].data, sharp[band].data)


def test_spelling_of_the_bands_is_kept(enhancer, field, sharp):
    spelled = enhancer({"GSDSS": field["g"], "R": field["r"], "zSDSS": field["z"]})
    assert list(spelled) == ["GSDSS", "R", "zSDSS"]
    assert_array_equal(spelled["R"].data, sharp["r"].data)


def test_bands_of_the_survey_are_restored_together(enhancer, field):
    pair = enhancer({"g": field["g"], "r": field["r"]})
    assert {image.header["SRMODEL"] for image in pair.values()} == {"splus"}
    assert np.any(pair["r"].data != enhancer(field["r"]).data)
    named = SRGANEnhancer("splus", **OPTIONS, uncertainty=True)
    both = named({band: field[band] for band in ("r", "g")})
    for band, image in pair.items():
        assert_array_equal(image.data, both[band].data)
    # Errors are alike, as the model card has it, and nothing is said where there are none.
    alike = uncertainty_of(named.weights.uncertainty, 2)["correlation"]["g"]["r"]
    assert alike != named.weights.uncertainty["correlation"]["g"]["r"]  # that of all bands
    assert both["g"].header["SRCR"] == both["r"].header["SRCG"] == alike
    assert not any(card.startswith("SRC") for card in pair["g"].header)


def test_the_result_does_not_depend_on_the_number_of_threads():
    """Fluxes of several bands are anchored at once: more of them than threads."""
    bands = ("u", "g", "J0515", "r", "J0660")
    field = simulate_field(7, shape=(40, 36), bands=bands, kind="galaxy")
    given = {"sky": field.sky, "sigma": field.sigma}
    options = OPTIONS | {"flux_anchor": 1, "uncertainty": True, "check_input": False}
    before, made = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            made.append(SRGANEnhancer("splus", **options)(field.observed, **given))
    finally:
        torch.set_num_threads(before)
    for other in made[1:]:
        for band in bands:
            # But for the rounding of the networks, which share their sums among threads.
            image, std = made[0][band].data, made[0][band].uncertainty.array
            assert_allclose(other[band].data, image, rtol=1e-4, atol=1e-5 * np.ptp(image))
            assert_allclose(other[band].uncertainty.array, std, rtol=1e-3)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_weights_restore_what_they_cover_of_a_larger_set(enhancer, field, tmp_path):
    larger = {"VR": field["z"].copy(), **field}
    larger["VR"].meta["FILTER"] = "VR"
    given = {name: values | {"VR": values["z"]} for name, values in GIVEN.items()}
    made = enhancer(larger, **given)
    joint = enhancer(field, **GIVEN)
    alone = enhancer(larger["VR"], bands="VR", sky=SKY["z"], sigma=SIGMA["z"])
    for band in field:
        assert_array_equal(made[band].data, joint[band].data)
        assert_array_equal(made[band].flags, joint[band].flags)
        assert made[band].meta["SRMODEL"] == "splus-grz"
    assert_array_equal(made["VR"].data, alone.data)
    assert_array_equal(made["VR"].flags, alone.flags)
    assert made["VR"].meta["SRMODEL"] == "splus-any"
    assert load_card("splus-any").sha256.startswith(made["VR"].meta["SRSHA256"])
    read = read_bands(enhancer.to_file(larger, tmp_path / "made.fits", **given))
    for band, image in made.items():
        assert_array_equal(read[band].data, image.data)
        assert read[band].meta["SRMODEL"] == image.meta["SRMODEL"]


def test_weights_can_be_given(field, sharp):
    card = load_card("splus-grz")
    assert_array_equal(SRGANEnhancer(card, **OPTIONS)(field)["g"].data, sharp["g"].data)
    with pytest.raises(WeightsError, match="weights 'splus-grz' need the bands g, r, z; got r"):
        SRGANEnhancer("splus-grz", **OPTIONS)(field["r"])


# What must not change the result


@pytest.mark.parametrize("factor", [1000.0, 1e-9])
def test_scale_goes_through(enhancer, field, sharp, factor):
    def scale(image):
        image.data *= np.float32(factor)
        image.header.remove("SATURATE")
        return image

    scaled = enhancer(changed(field, scale))
    for band in field:
        peak = np.abs(sharp[band].data).max()
        assert_allclose(scaled[band].data / factor, sharp[band].data, rtol=1e-5, atol=1e-5 * peak)


@pytest.mark.parametrize("unit", ["electron", "nmgy", "Jy", "ct / s", None, ""])
def test_unit_goes_through(enhancer, field, sharp, unit):
    if unit is None:
        images = {b: NDData(i.data, wcs=i.wcs, meta=i.meta) for b, i in field.items()}
    else:
        images = {b: CCDData(i.data, unit=unit, wcs=i.wcs, meta=i.meta) for b, i in field.items()}
    result = enhancer(images)
    for band in field:
        assert result[band].unit == (None if unit is None else u.Unit(unit))
        assert_array_equal(result[band].data, sharp[band].data)


def test_surface_brightness_is_not_divided(enhancer, field, sharp):
    unit = u.adu / u.arcsec**2
    images = {b: CCDData(i.data, unit=unit, wcs=i.wcs, meta=i.meta) for b, i in field.items()}
    result = enhancer(images)
    assert_allclose(result["r"].data, 4 * sharp["r"].data, rtol=1e-6)
    assert result["r"].header["SRPIXFLX"] is False
    assert result["r"].header["SATURATE"] == field["r"].header["SATURATE"]


@pytest.mark.parametrize("matrix", [[[1, 0], [0, 1]], [[0.6, -0.8], [0.8, 0.6]], [[0, 1], [1, 0]]])
def test_orientation_on_the_sky_does_not_matter(enhancer, field, sharp, matrix):
    def turn(image):
        wcs = WCS(naxis=2)
        wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [10, -3], [20, -7]
        wcs.wcs.cd = 0.55 / 3600 * np.array(matrix)
        image.wcs = wcs
        return image

    turned = enhancer(changed(field, turn))
    assert_array_equal(turned["g"].data, sharp["g"].data)
    back = turned["g"].wcs.pixel_to_world_values(0.5, 2.5)
    assert_allclose(back, turn(field["g"].copy()).wcs.pixel_to_world_values(0, 1), atol=1e-10)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_cutout_equals_the_field_outside_the_halo(enhancer):
    """Bit for bit, given the field's sky and sigma."""
    data = np.random.default_rng(0).normal(0, 1, (3, 100, 120)).astype(np.float32)
    data[:, 40:50, 50:60] += 50
    whole = {band: CCDData(plane, unit="adu") for band, plane in zip("grz", data, strict=True)}
    cut = {b: CCDData(i.data[7:93, 11:101], unit="adu") for b, i in whole.items()}
    radius = load_generator("splus-grz").receptive_field_radius
    inner = np.s_[2 * radius : -2 * radius, 2 * radius : -2 * radius]
    large, small = enhancer(whole, **GIVEN), enhancer(cut, **GIVEN)
    width = 2 * load_card("splus-grz").edge_reach
    for band in "grz":
        part = large[band].data[14:186, 22:202]
        assert_array_equal(small[band].data[inner], part[inner])
        edge = (small[band].flags & Quality.EDGE) != 0
        assert not edge[width:-width, width:-width].any()
        sides = edge[:width], edge[-width:], edge[:, :width], edge[:, -width:]
        assert all(side.all() for side in sides)


@pytest.mark.parametrize("name", ["splus-grz", "splus-any"])
def test_border_changes_little_where_there_is_no_edge_flag(name):
    """At most one pixel in a thousand by more than 0.1 of its uncertainty."""
    field = simulate_field((8, 11), shape=(180, 180), bands=("g", "r", "z"), kind="stars").observed
    field = field if name == "splus-grz" else {"r": field["r"]}
    # The PSF of stars that are fitted is that of all of them.
    enhancer = SRGANEnhancer(name, **OPTIONS, uncertainty=True, fit_stars=False)
    whole = enhancer(field, sky=0)
    levels = {"sky": 0, "sigma": {band: image.meta["SRSIGMA"] for band, image in whole.items()}}
    inner, fine = np.s_[30:-30, 30:-30], np.s_[60:-60, 60:-60]
    alone = enhancer({band: image[inner] for band, image in field.items()}, **levels)
    for band, image in alone.items():
        moved = np.abs(image.data - whole[band].data[fine]) / whole[band].uncertainty.array[fine]
        edge = (image.flags & Quality.EDGE) != 0
        assert 0.05 < edge.mean() < 0.95
        assert (moved[~edge] > 0.1).mean() <= 1e-3
        assert (moved[edge] > 0.1).mean() > 0.05


def test_block_size_does_not_matter(enhancer, field, sharp):
    blocks = SRGANEnhancer(block_size=28, **OPTIONS)(field)
    for band in field:
        assert_array_equal(blocks[band].data, sharp[band].data)


def test_precision_hardly_matters(field, sharp):
    narrow = SRGANEnhancer(**OPTIONS | {"precision": "bfloat16"})(field)
    assert narrow["r"].header["SRPREC"] == "bfloat16"
    sigma = sharp["r"].header["SRSIGMA"]
    difference = narrow["r"].data - sharp["r"].data
    bright = np.abs(sharp["r"].data) > 20 * sigma
    assert_allclose(difference[~bright], 0, atol=0.5 * sigma)
    assert_allclose(difference[bright] / sharp["r"].data[bright], 0, atol=0.05)


def test_input_is_not_modified(enhancer, field):
    images = changed(field, lambda image: image)
    images["g"].mask = np.zeros(images["g"].shape, bool)
    images["g"].mask[3, 4] = True
    images["g"].data[3, 4] = np.nan
    before = copy.deepcopy(images)
    sky, sigma = dict(SKY), dict(SIGMA)
    enhancer(images, sky=sky, sigma=sigma)
    assert (sky, sigma) == (SKY, SIGMA)
    for band, image in images.items():
        assert_array_equal(image.data, before[band].data)
        assert image.header == before[band].header
        assert image.wcs.to_header() == before[band].wcs.to_header()
        assert image.flags is None
    assert_array_equal(images["g"].mask, before["g"].mask)


def test_concurrent_calls_equal_serial_ones(enhancer, field, sharp):
    images = [field["g"], field["r"], field["z"]]
    serial = [enhancer(image).data for image in images]
    results = [None] * 3

    def work(k):
        results[k] = enhancer(images[k], **{"sky": None}).data

    threads = [threading.Thread(target=work, args=(k,)) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for result, expected in zip(results, serial, strict=True):
        assert_array_equal(result, expected)


# Sky and sigma


def test_every_form_of_sky_and_sigma_gives_the_same(enhancer, field):
    expected = enhancer(field, **GIVEN)
    shape = field["g"].shape
    forms = [
        (list(SKY.values()), np.array(list(SIGMA.values()))),
        (np.array(list(SKY.values())) * u.adu, list(SIGMA.values()) * u.adu),
        (
            {band: value * u.adu for band, value in SKY.items()},
            {band: np.full(shape, value) for band, value in SIGMA.items()},
        ),
    ]
    for sky, sigma in forms:
        result = enhancer(field, sky=sky, sigma=sigma)
        for band in field:
            # A map is interpolated to the finer grid, in double precision.
            assert_allclose(result[band].data, expected[band].data, rtol=1e-6, atol=1e-6)
            assert_allclose(result[band].header["SRSKY"], SKY[band])
            assert_allclose(result[band].header["SRFSKY"], SKY[band])
            assert_allclose(result[band].header["SRSIGMA"], SIGMA[band])
    one = enhancer(field, sky=0.5, sigma=2.0)
    maps = enhancer(field, sky=np.full((3, *shape), 0.5), sigma=np.full(shape, 2.0))
    assert_allclose(one["z"].data, maps["z"].data, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_sky_map_is_followed(enhancer):
    """A slope that is given as the sky comes out as it is."""
    yy, xx = np.indices((60, 64))
    slope = 3.0 * yy - 2.0 * xx
    noise = np.random.default_rng(1).normal(size=slope.shape)
    flat = enhancer(CCDData(noise, unit="adu"), sky=0, sigma=1)
    tilted = enhancer(CCDData(noise + slope, unit="adu"), sky=slope, sigma=1)
    yy, xx = (np.indices((120, 128)) - 0.5) / 2
    expected = flat.data + (3.0 * yy - 2.0 * xx) / 4
    assert_allclose(tilted.data[4:-4, 4:-4], expected[4:-4, 4:-4], atol=2e-3)


def test_levels_of_bands_may_be_spelled_as_headers_do(enhancer, field):
    named = enhancer(field, sky={"G": 1, "rSDSS": 2, "z": 3}, sigma=1)
    listed = enhancer(field, sky=[1, 2, 3], sigma=1)
    for band in field:
        assert np.array_equal(named[band].data, listed[band].data)


def test_traps_of_numpy_do_not_reach_the_writing_of_files(enhancer, field, tmp_path):
    tiny = {band: image.copy() for band, image in field.items()}
    for image in tiny.values():
        image.data = image.data.astype(float)
        image.data[5, 5] = 1e-50  # too small for float32
    with np.errstate(all="raise"):
        path = enhancer.to_file(tiny, tmp_path / "sharp.fits")
    assert path.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": 0}, "sigma must be finite and above 0 everywhere"),
        ({"sigma": np.nan}, "sigma must be finite and above 0 everywhere"),
        ({"sky": np.inf}, "sky must be finite everywhere"),
        ({"sky": {"g": 1, "r": 2}}, r"sky must have every band of data; got none for 'z'"),
        ({"sigma": [1, 2]}, r"sigma must be one number, one per band \(3\), or a map of shape"),
        ({"sky": np.zeros((9, 9))}, r"a map of shape \(48, 56\); got shape \(9, 9\)"),
        ({"sky": np.zeros((2, 48, 56))}, "sky must have 3 bands; got 2"),
        ({"sky": 1 * u.m}, "sky must be in adu, or convertible to that; got m"),
        ({"sky": "a"}, "sky must be real numbers; got 'a'; leave it out"),
        ({"sigma": {"g": 1, "r": 2, "z": 1j}}, "sigma must be real numbers; got 1j; leave it out"),
    ],
)
def test_wrong_sky_or_sigma_is_named(enhancer, field, options, message):
    with pytest.raises(ValueError, match=message):
        enhancer(field, **GIVEN | options)


def test_quantity_needs_data_with_a_unit(enhancer, field):
    image = NDData(field["r"].data)
    with pytest.raises(ValueError, match="sky has the unit adu, but the data have none"):
        enhancer(image, sky=1 * u.adu, sigma=1)


# Keywords against objects


def test_conflicts_raise(enhancer, field):
    shifted = field["r"].wcs.deepcopy()
    shifted.wcs.crpix = shifted.wcs.crpix + 3
    with pytest.raises(ValueError, match="unit must equal that of the data, adu; got electron"):
        enhancer(field, unit="electron")
    with pytest.raises(ValueError, match="wcs must equal that of the data"):
        enhancer(field, wcs=shifted)
    with pytest.raises(ValueError, match="bands must agree with the metadata"):
        enhancer(field["r"], bands="g")
    masked = changed(field, lambda image: image)
    masked["g"].mask = np.eye(48, 56, dtype=bool)
    with pytest.raises(ValueError, match="mask must equal the mask that the data already have"):
        enhancer(masked, mask=np.zeros((48, 56), bool))


def test_keywords_fill_in(enhancer, field, sharp):
    bare = {band: NDData(image.data) for band, image in field.items()}
    result = enhancer(bare, unit="adu", wcs=field["r"].wcs)
    assert result["g"].unit == u.adu
    assert_allclose(result["g"].wcs.wcs.crpix, sharp["g"].wcs.wcs.crpix)
    assert_array_equal(result["g"].data, sharp["g"].data)


# Warnings


def test_given_uncertainty_is_dropped_with_a_warning(enhancer, field):
    images = changed(field, lambda image: image)
    images["g"].uncertainty = StdDevUncertainty(np.ones((48, 56)))
    with pytest.warns(UncertaintyDroppedWarning, match="the uncertainty of 'g' does not hold"):
        result = enhancer(images)
    assert result["g"].uncertainty is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertaintyDroppedWarning)
        enhancer(images)


def test_other_pixel_scales_are_extrapolation(enhancer, field):
    def zoom(image):
        image.wcs.wcs.cd = image.wcs.wcs.cd * 1.5
        return image

    with pytest.warns(
        DomainWarning, match=r"pixel scale 0\.825 x 0\.825 arcsec, trained for 0\.55"
    ):
        result = enhancer(changed(field, zoom))
    assert (result["r"].flags & Quality.EXTRAPOLATED).all()


def test_other_seeing_is_extrapolation(enhancer, field):
    images = changed(field, lambda image: image)
    images["z"].header["OAJ PRO FWHMMEAN"] = 4.2
    with pytest.warns(DomainWarning, match=r"seeing 4\.20 arcsec in z, trained for 0\.95 to 2\.4"):
        result = enhancer(images)
    assert (result["z"].flags & Quality.EXTRAPOLATED).all()
    assert not (result["g"].flags & Quality.EXTRAPOLATED).any()


def test_missing_sky_is_told(enhancer, field, monkeypatch):
    from splus_srgan.enhance import sky as _field_sky

    real = _field_sky.measure_joint_background

    def without_sky(*args, **options):
        found, unlike = real(*args, **options)
        return dataclasses.replace(found, has_sky=np.zeros(3, bool), sky=np.zeros(3)), unlike

    monkeypatch.setattr(_field_sky, "measure_joint_background", without_sky)
    with pytest.warns(NoSkyWarning, match="no sky found in the frame of g, r, z: its level is"):
        result = enhancer(field)
    assert result["g"].header["SRSKY"] == result["g"].header["SRFSKY"] == 0


@pytest.mark.slow
def test_sky_of_the_enhanced_image_is_the_better_one(enhancer):
    before, after = [], []
    for k in range(8):
        field = simulate_field((2, k), kind="galaxy")
        for band, image in enhancer(field.observed).items():
            true, sigma = field.sky[band], field.sigma[band]
            before.append((image.header["SRSKY"] - true) / sigma)
            after.append((image.header["SRFSKY"] - true) / sigma)
    assert np.std(after) < 0.8 * np.std(before)
    assert np.max(np.abs(after)) < 0.1


def test_nothing_is_warned_of_within_the_domain(enhancer, field):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enhancer(field)


# What goes along


def test_psf_is_what_the_card_promises(sharp, field):
    card = load_card("splus-grz")
    for band in sharp:
        psf = sharp[band].psf
        assert psf.dtype == np.float32
        assert_allclose(psf.sum(), 1, rtol=1e-5)
        assert np.unravel_index(psf.argmax(), psf.shape) == (40, 40)
        fwhm, beta, wings = round_psf(psf, pixel_scale=0.275)
        assert_allclose((fwhm, beta), (card.target_psf["fwhm"], card.target_psf["beta"]), rtol=1e-3)
        assert_allclose(wings, field[band].meta["PSFWINGS"], atol=1e-3)


def test_psf_of_a_survey_image_has_the_wings_of_the_survey(field):
    image = field["r"].copy()
    del image.meta["PSFWINGS"]
    psf = SRGANEnhancer("splus-any", **OPTIONS)(image, bands="r").psf
    assert_allclose(round_psf(psf, pixel_scale=0.275)[2], WING_SHARE, atol=1e-3)


def test_header_says_what_made_the_image(field, sharp):
    card = load_card("splus-grz")
    for band, image in sharp.items():
        header = image.header
        assert header["SRMODEL"] == card.name
        assert header["SRMODVER"] == card.version
        assert header["SRSHA256"] == card.sha256[:16]
        assert f"sha256:{card.sha256}" in str(header["HISTORY"]).replace("\n", "")
        assert header["SRSTRTCH"] == "NoiseAsinhStretch"
        assert (header["SRSOFT"], header["SRRANGE"]) == tuple(card.stretch.values())
        assert (header["SRPREC"], header["SRENGINE"], header["SRDEVICE"]) == (
            "float32",
            "torch",
            "cpu",
        )
        assert (header["SRBAND"], header["SRBANDS"]) == (band, "g,r,z")
        assert (header["SRFACTOR"], header["SRPIXFLX"]) == (2, True)
        assert header["SRBLOCK"] == "auto"
        assert header["SRSIGMA"] > 0
        assert "SRVERS" in header
        assert "SRDATE" in header
        assert header["OBJECT"] == field[band].header["OBJECT"]
        assert header["SATURATE"] == field[band].header["SATURATE"] / 4
        assert header["PIXSCALE"] == 0.275


@pytest.mark.parametrize("name", ["sharp.fits", "sharp.fits.gz"])
def test_names_that_a_file_cannot_hold_are_refused_before_any_work(field, tmp_path, name):
    image = field["r"].copy()
    del image.header["FILTER"]
    enhancer = SRGANEnhancer(**OPTIONS, progress_bar=pytest.fail)
    with pytest.raises(ValueError, match=r"without spaces around them; got ' r '; rename"):
        enhancer.to_file({" r ": image}, tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("as_class", [fits.Header, dict])
@pytest.mark.parametrize("cls", [CCDData, NDData])
def test_history_and_comments_reach_the_file(enhancer, field, tmp_path, cls, as_class):
    image = field["r"]
    header = image.header.copy()
    for line in ("one", "two"):
        header.add_history(line)
        header.add_comment(line * 20)
        header.add_blank(f"-- {line}")
    given = cls(image.data, unit=u.adu, wcs=image.wcs, meta=as_class(header))
    written = write_bands(tmp_path / "call.fits", {"r": enhancer(given, bands="r")})
    for path in (written, enhancer.to_file({"r": given}, tmp_path / "file.fits")):
        made = fits.getheader(path, "SCI")
        assert [line for line in made["HISTORY"] if line in ("one", "two")] == ["one", "two"]
        assert any("sha256:" in line for line in made["HISTORY"])
        assert list(made["COMMENT"]) == list(header["COMMENT"])
        assert [line for line in made[""] if line] == ["-- one", "-- two"]


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
@pytest.mark.parametrize("cls", [CCDData, NDData])
@pytest.mark.parametrize("has_wcs", [False, True])
def test_dictionaries_are_adapted_like_headers(enhancer, field, tmp_path, cls, has_wcs):
    image = field["r"]
    own = {"my notes on it": [1, 2], "Note": "any", "SKYSIGMA": np.nan, "arrays": np.eye(2)}
    meta = OrderedDict({**image.header, **own})
    options = {"unit": u.adu, "wcs": image.wcs if has_wcs else None}
    made = enhancer(cls(image.data, meta=meta, **options), bands="r")
    header = enhancer(CCDData(image.data, header=image.header, **options), bands="r").header
    assert type(made.meta) is (OrderedDict if cls is CCDData else dict)
    assert meta["SATURATE"] == image.header["SATURATE"]
    expected = {card.keyword: card.value for card in header.cards if card.keyword != "HISTORY"}
    assert expected["SATURATE"] == image.header["SATURATE"] / 4
    assert ("CRPIX1" in expected) == (not has_wcs)
    assert {key: made.meta[key] for key in expected} | {"SRDATE": 0} == expected | {"SRDATE": 0}
    assert "OAJ PRO FWHMMEAN" not in made.meta
    for key in ("my notes on it", "Note", "arrays"):
        assert_array_equal(made.meta[key], own[key])
    assert np.isnan(made.meta["INPUT SKYSIGMA"])
    assert "SKYSIGMA" not in made.meta
    with pytest.warns(SplusSrganWarning, match="cannot be written as a FITS card"):
        back = read_bands(write_bands(tmp_path / "r.fits", {"r": made}))["r"]
    assert_allclose(back.wcs.wcs.crpix, upsample_wcs(WCS(image.header)).wcs.crpix)


def test_missing_pixels_are_masked_and_flagged(enhancer, field):
    images = changed(field, lambda image: image)
    images["g"].data[20:22, 30] = np.nan
    result = enhancer(images)
    mask = np.zeros((96, 112), bool)
    mask[40:44, 60:62] = True
    assert_array_equal(result["g"].mask, mask)
    assert not result["r"].mask.any()
    assert_array_equal((result["g"].flags & Quality.MISSING) > 0, mask)
    # The generator looks at all bands at once.
    assert (result["r"].flags[mask] & Quality.NEAR_MISSING).all()
    assert np.isfinite(result["g"].data).all()


def test_saturated_pixels_are_flagged(field):
    # One alone is no star, which the guard would say.
    enhancer = SRGANEnhancer(**OPTIONS, check_input=False)
    images = changed(field, lambda image: image)
    images["r"].data[10, 12] = images["r"].header["SATURATE"]
    images["r"].data[10, 12] *= 0.96
    result = enhancer(images, **GIVEN)
    assert (result["r"].flags[20:22, 24:26] & Quality.SATURATED).all()
    assert result["r"].flags[22, 26] & Quality.NEAR_SATURATED
    assert result["g"].flags[20, 24] & Quality.NEAR_SATURATED
    assert not (result["g"].flags & Quality.SATURATED).any()


# Options


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"weights": "splus-xyz"},
            WeightsError,
            "weights must be one of 'auto', .*got 'splus-xyz'",
        ),
        ({"device": "the fast one"}, ValueError, "device must be 'auto', 'cpu'.*'the fast one'"),
        ({"device": "gpu"}, ValueError, "device must be 'auto', 'cpu', 'cuda' .* got 'gpu'"),
        ({"weights": 3}, TypeError, "weights must be a str, path or WeightsCard; got 3; take"),
        ({"weights": None}, TypeError, "weights must be a str, path or .*; got None; take one of"),
        ({"device": 3}, TypeError, "device must be a string such as 'cpu' or 'cuda:0'; got 3"),
        ({"precision": "int8"}, ValueError, "precision must be one of .*; got 'int8'"),
        ({"engine": "tpu"}, ValueError, "engine must be one of 'auto', 'torch', 'openvino'"),
        ({"block_size": 8}, ValueError, "block_size must be at least 16; got 8"),
        ({"block_size": 64.5}, TypeError, "block_size must be an integer; got 64.5"),
        ({"progress_bar": True}, TypeError, "progress_bar must be callable or None; got True"),
    ],
)
def test_wrong_options_raise_at_construction(options, error, message):
    with pytest.raises(error, match=message):
        SRGANEnhancer(**options)


def test_options_are_keyword_only():
    with pytest.raises(TypeError, match="positional"):
        SRGANEnhancer("auto", "cpu")


def test_progress_bar_sees_every_block(field):
    seen = []

    def bar(places):
        seen.append(len(places))
        return places

    SRGANEnhancer(block_size=28, progress_bar=bar, **OPTIONS)(field)
    assert seen == [4]
