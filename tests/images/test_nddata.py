# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""NDData in, NDData out: `unpack`, `repack`, and the filling of missing pixels."""

import copy
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    NDData,
    NDDataArray,
    NDDataRef,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.exceptions import GridMismatchError, SplusSrganWarning, UncertaintyDroppedWarning
from splus_srgan.images.grid import fits_wcs
from splus_srgan.images.meta import upsample_meta
from splus_srgan.images.unpack import repack, uncertainty_array, unpack
from splus_srgan.pairs.match import match_to_grid
from splus_srgan.pixels.missing import REACH, blank_border, fill_missing, without_exposure
from splus_srgan.simulate.field import simulate_field


def make_wcs(*, shift=0.0, scale=0.55, frame="ICRS"):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [10.0, -30.0]
    wcs.wcs.crpix = [50.5 + shift, 40.5]
    wcs.wcs.cd = np.diag([-scale / 3600, scale / 3600])
    wcs.wcs.radesys = frame
    wcs.wcs.set()
    return wcs


def make_image(seed=0, shape=(20, 30), cls=CCDData, **options):
    options = {"unit": u.adu, "wcs": make_wcs(), **options}
    data = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return cls(data, **options)


def make_field(bands="grz", **options):
    return {band: make_image(i, **options) for i, band in enumerate(bands)}


def pack_again(stack, uncertainty=None, psfs=None, wcs=None):
    """Do what the enhancer does, with a nearest-neighbour network."""
    data, mask = (plane.repeat(2, axis=1).repeat(2, axis=2) for plane in (stack.data, stack.mask))
    return repack(
        stack,
        data / 4,
        mask=mask,
        quality=mask.astype(np.uint8),
        wcs=stack.wcs if wcs is None else wcs,
        metas=stack.metas,
        psfs=stack.psfs if psfs is None else psfs,
        uncertainty=None if uncertainty is None else np.full(data.shape, uncertainty),
    )


# The forms of input


def test_mapping_is_stacked_in_order():
    field = make_field("zgr")
    stack = unpack(field)
    assert stack.bands == ("z", "g", "r")
    assert stack.form == "mapping"
    assert stack.data.shape == (3, 20, 30)
    assert stack.data.dtype == np.float32
    assert stack.data.flags.c_contiguous
    assert stack.unit == u.adu
    assert not stack.mask.any()
    for plane, image in zip(stack.data, field.values(), strict=True):
        assert_array_equal(plane, image.data)


def test_bands_choose_and_order_a_mapping():
    field = make_field("griz")
    assert unpack(field, bands=["z", "g"]).bands == ("z", "g")
    assert unpack(field, bands="rz").bands == ("r", "z")
    assert unpack(field, bands="r").bands == ("r",)
    with pytest.raises(
        ValueError, match=r"bands must be among .*'g', 'r', 'i', 'z'.*; got \['u'\]"
    ):
        unpack(field, bands=["g", "u"])


@pytest.mark.parametrize("cls", [CCDData, NDData, NDDataArray, NDDataRef])
def test_single_image(cls):
    stack = unpack(make_image(cls=cls), bands="r")
    assert stack.bands == ("r",)
    assert stack.form == "image"
    assert stack.data.shape == (1, 20, 30)


@pytest.mark.parametrize(
    ("meta", "band"),
    [({"FILTER": "R"}, "r"), ({"BAND": "zSDSS"}, "z"), ({"BANDS": "g"}, "g"), ({}, "unknown")],
)
def test_band_of_a_single_image_comes_from_its_header(meta, band):
    assert unpack(make_image(meta=meta)).bands == (band,)


@pytest.mark.parametrize("bands", ["grz", "g,r,z", "g r z", ("g", "r", "z"), ["g", "r", "z"]])
def test_stack_takes_names_from_keyword_or_meta(bands):
    cube = make_image(shape=(3, 20, 30))
    assert unpack(cube, bands=bands).bands == ("g", "r", "z")
    if not isinstance(bands, tuple):
        cube.meta["BANDS"] = bands
        stack = unpack(cube)
        assert stack.bands == ("g", "r", "z")
        assert stack.form == "stack"
        assert len(stack.metas) == len(stack.psfs) == 3


def test_stack_without_names_is_refused():
    with pytest.raises(ValueError, match=r"bands must name the 3 planes .* meta\['BANDS'\]"):
        unpack(make_image(shape=(3, 20, 30)))
    with pytest.raises(ValueError, match=r"bands must name 3 planes; got \['g', 'r'\]"):
        unpack(make_image(shape=(3, 20, 30)), bands=["g", "r"])


def test_three_axes_of_wcs_lose_the_band_axis():
    header = make_wcs().to_header()
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = "", 0, 1, 1
    stack = unpack(make_image(shape=(3, 20, 30), wcs=WCS(header, naxis=3)), bands="grz")
    assert stack.wcs.naxis == 2
    assert stack.wcs.has_celestial
    result = pack_again(stack)
    assert result.wcs.naxis == 3
    assert_allclose(result.wcs.wcs.crpix[:2], [50.5, 40.5])


@pytest.mark.parametrize(
    "data",
    [
        np.zeros((4, 4)),
        np.ma.zeros((4, 4)),
        np.zeros((4, 4)) * u.adu,
        [[1.0]],
        "field.fits",
        None,
        fits.PrimaryHDU(np.zeros((4, 4))),
    ],
)
def test_bare_arrays_are_refused_with_a_recipe(data):
    with pytest.raises(TypeError, match=r"data must be an NDData .* wrap it: CCDData\(array"):
        unpack(data)
    with pytest.raises(TypeError, match=r"data\['r'\] must be an NDData .* wrap it"):
        unpack({"r": data})


@pytest.mark.parametrize("shape", [(5,), (2, 3, 4, 5)])
def test_wrong_number_of_axes_is_refused(shape):
    with pytest.raises(ValueError, match=r"must have shape \(ny, nx\) or \(n_band, ny, nx\); got"):
        unpack(NDData(np.zeros(shape)))


def test_cube_in_a_mapping_is_refused():
    with pytest.raises(
        ValueError, match=r"data\['r'\] must have shape \(ny, nx\); got \(1, 3, 4\)"
    ):
        unpack({"r": NDData(np.zeros((1, 3, 4)))})


def test_empty_input_is_refused():
    with pytest.raises(ValueError, match="data must hold at least one band; got an empty mapping"):
        unpack({})
    with pytest.raises(ValueError, match=r"at least one pixel; got the shape \(0, 4\)"):
        unpack(NDData(np.zeros((0, 4))))


def test_one_pixel_is_enough():
    assert unpack(NDData(np.ones((1, 1)))).data.shape == (1, 1, 1)


# Kinds of numbers


@pytest.mark.parametrize("dtype", [">f4", "<f4", ">f8", "f2", ">i2", "u2", "i8", "u1"])
def test_real_numbers_become_native_float32(dtype):
    data = np.arange(12).reshape(3, 4).astype(dtype)
    stack = unpack(NDData(data))
    assert stack.data.dtype == np.dtype("=f4")
    assert_array_equal(stack.data[0], np.arange(12).reshape(3, 4))


@pytest.mark.parametrize("dtype", [complex, bool, "S3"])
def test_other_kinds_are_refused(dtype):
    with pytest.raises(TypeError, match="must hold integers or real numbers; got dtype"):
        unpack({"r": NDData(np.ones((3, 4)).astype(dtype))})


def test_numbers_beyond_float32_are_refused():
    with pytest.raises(ValueError, match="band 'r' must stay within float32"):
        unpack({"r": NDData(np.full((3, 4), 1e39))})


def test_strided_and_read_only_input_is_fine():
    data = np.asfortranarray(np.arange(24.0).reshape(4, 6))[::-1]
    data.flags.writeable = False
    assert_array_equal(unpack(NDData(data)).data[0], data)


# Missing pixels


def test_masked_and_non_finite_pixels_are_missing():
    image = make_image(mask=np.zeros((20, 30), dtype=bool))
    image.data[2, 3], image.data[4, 5], image.data[6, 7] = np.nan, np.inf, -np.inf
    image.mask[8, 9] = True
    missing = np.argwhere(unpack(image, bands="r").mask[0])
    assert missing.tolist() == [[2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize("how", ["nan", "mask"])
def test_band_without_a_valid_pixel_is_refused(how):
    field = make_field()
    if how == "nan":
        field["r"].data[:] = np.nan
    else:
        field["r"].mask = np.ones((20, 30), dtype=bool)
    with pytest.raises(ValueError, match="band 'r' has no valid pixel"):
        unpack(field)


def test_scalar_mask_is_for_all_pixels():
    image = NDData(np.ones((3, 4)), mask=False)
    assert not unpack(image).mask.any()


def test_mask_keyword():
    mask = np.zeros((20, 30), dtype=bool)
    mask[0] = True
    assert unpack(make_field(), mask=mask).mask.sum() == 3 * 30
    per_band = unpack(make_field(), mask={"g": mask, "r": False, "z": False}).mask
    assert per_band.sum(axis=(1, 2)).tolist() == [30, 0, 0]
    spelled = unpack(make_field(), mask={"G": mask, "rSDSS": False, "Z": False}).mask
    assert spelled.sum(axis=(1, 2)).tolist() == [30, 0, 0]
    with pytest.raises(ValueError, match=r"mask of g must fit the shape \(20, 30\); got \(3, 3\)"):
        unpack(make_field(), mask={"g": mask[:3, :3], "r": mask, "z": mask})
    with pytest.raises(ValueError, match=r"mask must have every band of data; got none for 'z'"):
        unpack(make_field(), mask={"g": mask, "r": mask})
    with pytest.raises(ValueError, match=r"mask must fit the shape \(3, 20, 30\); got \(4,\)"):
        unpack(make_field(), mask=np.zeros(4, dtype=bool))


def test_input_is_not_modified():
    field = make_field(mask=np.zeros((20, 30), dtype=bool))
    field["g"].data[3, 3] = np.nan
    before = copy.deepcopy(field)
    stack = unpack(field)
    stack.data[:], stack.mask[:] = -1, True
    stack.metas[0]["NEW"] = 1
    stack.wcs.wcs.crpix = [0, 0]
    for band, image in field.items():
        assert_array_equal(image.data, before[band].data)
        assert not image.mask.any()
        assert "NEW" not in image.meta
        assert_allclose(image.wcs.wcs.crpix, before[band].wcs.wcs.crpix)


# Conflicts


def test_equal_keywords_are_fine_and_others_raise():
    image = make_image(mask=np.zeros((20, 30), dtype=bool), meta={"FILTER": "R"})
    unpack(image, bands="r", mask=np.zeros((20, 30), dtype=bool), unit="adu", wcs=make_wcs())
    with pytest.raises(ValueError, match="unit must equal that of the data, adu; got Jy"):
        unpack(image, unit="Jy")
    with pytest.raises(ValueError, match="mask must equal the mask that the data already have"):
        unpack(image, mask=np.ones((20, 30), dtype=bool))
    with pytest.raises(ValueError, match="wcs must equal that of the data, but differs for band"):
        unpack(image, wcs=make_wcs(shift=0.01))
    with pytest.raises(
        ValueError, match=r"bands must agree with the metadata .*\['r'\]; got \['g'\]"
    ):
        unpack(image, bands="g")


def test_keywords_fill_in_what_is_missing():
    stack = unpack(NDData(np.ones((20, 30))), bands="r", unit="adu", wcs=make_wcs())
    assert stack.unit == u.adu
    assert stack.wcs.has_celestial


def test_swapped_bands_are_noticed():
    field = {"g": make_image(meta={"FILTER": "R"})}
    with pytest.raises(ValueError, match="band 'g' must be what its header says, 'r'; use that"):
        unpack(field)


def test_filters_that_are_not_splus_contradict_nothing():
    unpack({"g": make_image(meta={"FILTER": "g DECam SDSS c0001 4720.0 1520.0"})})


def test_two_spellings_of_one_band_are_refused():
    with pytest.raises(ValueError, match="each band may occur once; got 'R' and 'r'"):
        unpack({"R": make_image(), "r": make_image()})


def test_names_must_be_strings():
    with pytest.raises(TypeError, match="names of bands must be non-empty str; got 1"):
        unpack({1: make_image()})
    with pytest.raises(TypeError, match=r"bands must be names \(str\); got 7"):
        unpack(make_image(), bands=7)


def test_different_units_are_refused():
    field = {"g": make_image(), "r": make_image(unit="Jy")}
    with pytest.raises(ValueError, match="bands must have one unit; got g: adu, r: Jy; convert"):
        unpack(field)


# Grids


def test_small_differences_of_the_grid_are_fine():
    field = {"g": make_image(), "r": make_image(wcs=make_wcs(shift=0.04))}
    assert unpack(field).wcs is not None


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (make_image(wcs=make_wcs(shift=0.06)), r"band 'r' is 0.06 px off"),
        (make_image(wcs=make_wcs(scale=0.56)), r"band 'r' is 1\.\d+ px off"),
        (make_image(wcs=None), "band 'r' has no WCS"),
        (make_image(shape=(20, 31)), r"band 'r' has shape \(20, 31\) instead of \(20, 30\)"),
    ],
)
def test_different_grids_name_the_band_and_match(image, message):
    field = {"g": make_image(), "z": make_image(), "r": image}
    with pytest.raises(
        GridMismatchError, match=f"against band 'g': {message}; .*splus_srgan.pairs.match"
    ):
        unpack(field)


def test_far_apart_on_the_sky_is_a_mismatch():
    wcs = make_wcs()
    wcs.wcs.crval = [190.0, 30.0]
    wcs.wcs.set()
    with pytest.raises(GridMismatchError, match=r"band 'r' is (nowhere near|.* px off)"):
        unpack({"g": make_image(), "r": make_image(wcs=wcs)})


def test_frames_are_compared_on_the_sky():
    """FK5 and ICRS differ by 20 mas, which is 0.04 of these pixels."""
    unpack({"g": make_image(), "r": make_image(wcs=make_wcs(frame="FK5"))})


def test_no_wcs_anywhere_is_fine():
    assert unpack(make_field(wcs=None)).wcs is None


def test_non_celestial_wcs_is_refused():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["WAVE", "OFFSET"]
    with pytest.raises(ValueError, match=r"wcs of 'r' must be celestial along x and y; got CTYPE"):
        unpack({"r": make_image(wcs=wcs)})


def test_sliced_nddata_keeps_its_place_on_the_sky():
    """Slicing plain NDData wraps the WCS; the pixels must stay where they were."""
    image = make_image(cls=NDDataRef)
    stack = unpack(image[3:15, 4:20], bands="r")
    assert isinstance(stack.wcs, WCS)
    assert_allclose(stack.wcs.wcs.crpix, [46.5, 37.5])


def test_plane_of_a_sliced_cube():
    header = make_wcs().to_header()
    header["CTYPE3"], header["CRVAL3"], header["CDELT3"], header["CRPIX3"] = "WAVE", 5e-7, 1e-9, 1
    cube = make_image(shape=(3, 20, 30), wcs=WCS(header, naxis=3), cls=NDDataRef)
    stack = unpack(cube[1, 2:, 5:], bands="r")
    assert_allclose(stack.wcs.wcs.crpix, [45.5, 38.5])


@pytest.mark.parametrize("word", ["CRPIX", "CRVAL", "matrix", "PV"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_wcs_with_a_number_that_is_not_finite_is_refused(word, value):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---ZPN", "DEC--ZPN"
    wcs.wcs.set_pv([(2, 1, value if word == "PV" else 1.0)])
    if word == "matrix":
        wcs.wcs.cd = [[value, 0], [0, 1]]
    elif word != "PV":
        setattr(wcs.wcs, word.lower(), [value, 1.0])
    with pytest.raises(ValueError, match=f"must be of finite numbers; got {word}"):
        unpack(CCDData(np.ones((4, 6)), unit="adu", wcs=wcs))


def test_bands_in_a_frame_that_astropy_does_not_know_are_on_one_grid():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt, wcs.wcs.radesys = ("RA---TAN", "DEC--TAN"), (-1e-4, 1e-4), "FOO"
    field = {band: CCDData(np.ones((4, 6)), unit="adu", wcs=wcs) for band in "gr"}
    assert unpack(field).wcs.wcs.radesys == "FOO"
    with pytest.raises(ValueError, match="wcs of image must be in a celestial frame that astropy"):
        match_to_grid(field["g"], make_wcs(), (8, 12))
    with pytest.raises(ValueError, match="wcs must be in a celestial frame that astropy knows"):
        match_to_grid(CCDData(np.ones((4, 6)), unit="adu", wcs=make_wcs()), wcs, (8, 12))


def test_wcs_that_is_no_fits_wcs_is_refused():
    with pytest.raises(TypeError, match=r"wcs must be an astropy\.wcs.WCS"):
        unpack(make_image(wcs=None), wcs="TAN")


# Uncertainty


def test_uncertainty_is_dropped_with_a_warning_that_can_be_filtered():
    field = make_field()
    field["r"].uncertainty = StdDevUncertainty(np.ones((20, 30)))
    with pytest.warns(UncertaintyDroppedWarning, match="the uncertainty of 'r' does not hold"):
        stack = unpack(field)
    assert pack_again(stack)["r"].uncertainty is None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UncertaintyDroppedWarning)
        unpack(field)


# The way back


@pytest.mark.parametrize("cls", [CCDData, NDData, NDDataArray, NDDataRef])
@pytest.mark.parametrize("form", ["mapping", "image", "stack"])
def test_class_and_form_come_back(cls, form):
    shape = (3, 20, 30) if form == "stack" else (20, 30)
    image = make_image(cls=cls, shape=shape, meta={"KEY": 1})
    stack = unpack(
        {"r": image} if form == "mapping" else image,
        bands="grz"[: len(shape) * 2 - 3] if form == "stack" else "r",
    )
    result = pack_again(stack, uncertainty=0.5)
    result = result["r"] if form == "mapping" else result
    assert type(result) is cls
    assert result.data.shape == (*shape[:-2], 40, 60)
    assert result.unit == u.adu
    assert result.meta["KEY"] == 1
    assert result.mask.shape == result.data.shape
    assert isinstance(result.uncertainty, StdDevUncertainty)
    assert np.all(result.uncertainty.array == 0.5)
    quality = result.flags if isinstance(result, NDDataArray) else result.meta["QUALITY"]
    assert quality.shape == result.data.shape
    assert quality.dtype == np.uint8


def test_subclass_comes_back():
    class MyImage(CCDData):
        pass

    assert type(pack_again(unpack(make_image(cls=MyImage), bands="r"))) is MyImage


def test_ndcube_comes_back():
    ndcube = pytest.importorskip("ndcube")
    cube = ndcube.NDCube(np.ones((20, 30)), wcs=make_wcs(), unit=u.adu)
    result = pack_again(unpack(cube, bands="r"))
    assert type(result) is ndcube.NDCube


def test_psf_goes_along():
    psf = np.eye(5)
    field = make_field(psf=psf)
    stack = unpack(field)
    assert_array_equal(stack.psfs[1], psf)
    assert_array_equal(pack_again(stack)["z"].psf, psf)
    cube = make_image(shape=(2, 20, 30), psf=np.stack([psf, 2 * psf]))
    stack = unpack(cube, bands="gr")
    assert_array_equal(stack.psfs[1], 2 * psf)
    assert pack_again(stack).psf.shape == (2, 5, 5)
    with pytest.raises(ValueError, match="psfs of a stack must have one shape"):
        pack_again(stack, psfs=(psf, None))


def test_metas_of_a_stack_are_merged():
    for meta in (fits.Header([("OBJECT", "M1")]), {"OBJECT": "M1"}):
        stack = unpack(make_image(shape=(2, 20, 30), meta=meta), bands="gr")
        for sky, one in enumerate(stack.metas):
            one["SRSKY"] = float(sky)
        merged = pack_again(stack).meta
        assert merged["OBJECT"] == "M1"
        assert (merged["SRSKY1"], merged["SRSKY2"]) == (0.0, 1.0)
        assert "SRSKY" not in merged


def test_written_file_has_one_form_of_the_wcs(tmp_path):
    """CD cards left in the header beside CCDData's PC cards would be no valid FITS."""
    header = fits.Header([("CD1_1", -1e-4), ("CD2_2", 1e-4), ("CRPIX1", 3.0), ("OBJECT", "M1")])
    result = pack_again(unpack(make_image(meta=header), bands="r"))
    result.write(tmp_path / "r.fits")
    written = fits.getheader(tmp_path / "r.fits")
    assert "CD1_1" not in written
    assert written["OBJECT"] == "M1"
    assert_allclose(WCS(written).wcs.crpix, [50.5, 40.5])


def test_wrong_shapes_of_results_are_named():
    stack = unpack(make_image(), bands="r")
    with pytest.raises(ValueError, match=r"quality must have the shape of data, \(1, 40, 60\)"):
        repack(
            stack,
            np.zeros((1, 40, 60)),
            mask=np.zeros((1, 40, 60), dtype=bool),
            quality=np.zeros((1, 20, 30), dtype=np.uint8),
            wcs=None,
            metas=stack.metas,
            psfs=stack.psfs,
        )


# Filling


def test_filling_leaves_valid_pixels_and_is_finite():
    rng = np.random.default_rng(1)
    data = rng.normal(100, 1, size=(2, 60, 70)).astype(np.float32)
    mask = np.zeros(data.shape, dtype=bool)
    mask[0, 10:12, 10:12] = True
    mask[0, :8] = True
    mask[1, 5:50, 5:60] = True
    hurt = np.where(mask, np.nan, data)
    filled = fill_missing(hurt, mask)
    assert filled.dtype == np.float32
    assert_array_equal(filled[~mask], data[~mask])
    assert np.all(np.abs(filled - 100) < 5)
    assert np.isnan(hurt[0, 0, 0])


def test_filling_of_nothing_changes_nothing():
    data = np.ones((3, 4), dtype=np.float32)
    assert_array_equal(fill_missing(data, data < 0), data)


def test_filling_follows_a_slope():
    y, x = np.mgrid[:30, :30].astype(float)
    mask = np.zeros((30, 30), dtype=bool)
    mask[15, 15] = True
    assert_allclose(fill_missing(x + y, mask)[15, 15], 30, atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_filling_looks_no_further_than_its_reach(seed):
    """A change further away changes not a bit, so that blocks agree with the whole."""
    rng = np.random.default_rng(seed)
    data = rng.normal(size=(150, 40))
    mask = rng.random((150, 40)) < 0.1
    mask[60:140] = True
    one = fill_missing(data, mask, default=0.0)
    changed = data.copy()
    changed[:10] += 1e6
    other = fill_missing(changed, mask, default=0.0)
    assert_array_equal(one[10 + REACH :], other[10 + REACH :])


def test_filling_does_not_depend_on_its_blocks(monkeypatch):
    rng = np.random.default_rng(3)
    data = rng.normal(size=(150, 170))
    mask = rng.random(data.shape) < 0.2
    mask[100:140, 20:90] = True
    whole = fill_missing(data, mask)
    monkeypatch.setattr("splus_srgan.pixels.missing._BLOCK", 37)
    assert_array_equal(fill_missing(data, mask), whole)


def test_deep_holes_take_the_default_or_the_nearest():
    data = np.full((1, 5, 300), 7.0)
    mask = np.ones(data.shape, dtype=bool)
    mask[..., :5] = False
    assert_allclose(fill_missing(data, mask), 7.0)
    filled = fill_missing(data, mask, default=[-1.0])
    assert filled[0, 2, 20] == pytest.approx(7.0)
    assert filled[0, 2, -1] == -1.0


def test_filling_refuses_what_it_cannot_do():
    data = np.ones((1, 3, 4))
    with pytest.raises(ValueError, match="mask must leave a valid pixel in every band"):
        fill_missing(data, np.ones(data.shape, dtype=bool))
    assert np.all(fill_missing(data, np.ones(data.shape, dtype=bool), default=3.0) == 3)
    with pytest.raises(ValueError, match=r"mask must have the shape of data, \(1, 3, 4\)"):
        fill_missing(data, np.ones((3, 4), dtype=bool))
    with pytest.raises(ValueError, match="mask must cover every pixel that is not finite"):
        fill_missing(data * np.nan, np.zeros(data.shape, dtype=bool))


# Blank borders


def test_blank_border_is_found_and_nothing_else():
    data = np.random.default_rng(0).normal(size=(50, 60)).astype(np.float32)
    data[:4] = 0
    data[10:30, -3:] = 0
    data[20:25, 20:25] = 0
    data[-1, 5] = 0
    blank = blank_border(data)
    expected = np.zeros(data.shape, dtype=bool)
    expected[:4] = True
    expected[10:30, -3:] = True
    assert_array_equal(blank, expected)


def test_zeros_of_coarse_data_are_values():
    data = np.round(np.random.default_rng(0).normal(size=(50, 60)) * 2)
    assert not blank_border(data).any()


def test_all_zero_image_is_all_blank():
    assert blank_border(np.zeros((9, 9))).all()
    assert not blank_border(np.zeros((1, 1))).any()


@pytest.mark.parametrize("zeros", [0, 5])
def test_quiet_border_is_missing(zeros):
    """Zeros that were compressed with dithering, below or without exact ones."""
    data = np.random.default_rng(3).normal(size=(80, 100))
    data[:, :24] *= 0.08
    data[:, :zeros] = 0
    missing = without_exposure(data)
    assert missing[:, :24].all()
    assert not missing[:, 24:].any()


def test_quiet_rest_of_a_mesh_is_missing_too():
    data = np.random.default_rng(4).normal(size=(83, 64))
    data[64:] *= 0.05
    assert_array_equal(without_exposure(data)[:, 7], np.arange(83) >= 64)


@pytest.mark.parametrize("kind", ["galaxy", "fill", "cluster", "stars", "blank"])
def test_whole_exposures_have_no_quiet_border(kind):
    """Not where photon noise, structure or saturation make most of the frame louder either."""
    for seed in range(6):
        field = simulate_field((3, seed), kind=kind, shape=(96, 96), bands=("g", "z"))
        for image in field.observed.values():
            assert not without_exposure(image.data).any()


def test_noise_beside_zeros_is_no_missing_image():
    data = np.random.default_rng(6).normal(size=(64, 240))
    data[:3, :200] = 0
    assert_array_equal(without_exposure(data), data == 0)


def test_deeper_part_is_no_missing_one():
    """Six exposures beside one: 2.4 times less noise."""
    data = np.random.default_rng(5).normal(size=(64, 64))
    data[:, 40:] /= 2.45
    assert not without_exposure(data).any()


@pytest.mark.parametrize("shape", [(1, 1), (7, 40), (23, 23), (24, 25)])
def test_constant_images_are_no_missing_ones(shape):
    assert not without_exposure(np.ones(shape)).any()
    assert without_exposure(np.zeros(shape)).all() == (np.prod(shape) >= 8)


def test_lookup_cards_of_metadata_go_to_the_wcs():
    """As of an image of HST, whose WCS was made with the tables of its file."""
    for meta in (fits.Header({"CPDIS1": "LOOKUP", "FILTER": "r"}), {"D2IMDIS1": "LOOKUP"}):
        fine = upsample_meta(meta)
        assert not [key for key in fine if "DIS" in key]
        assert len(meta) > 0


class Odd(NDData):
    """A class whose constructor takes nothing but data."""

    def __init__(self, data):
        super().__init__(data, unit="adu")


def test_class_that_cannot_be_made_comes_back_plain():
    stack = unpack(Odd(np.ones((4, 6))))
    planes = {"mask": np.zeros((1, 8, 12), bool), "quality": np.zeros((1, 8, 12), np.uint8)}
    with pytest.warns(SplusSrganWarning, match="a Odd cannot be made as NDData is"):
        fine = repack(stack, np.ones((1, 8, 12)), wcs=None, metas=[{}], psfs=[None], **planes)
    assert type(fine) is NDData
    assert fine.unit == "adu"


def test_further_coordinates_are_told_to_be_left_out():
    ndcube = pytest.importorskip("ndcube")
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.cdelt = ("RA---TAN", "DEC--TAN"), (-1e-4, 1e-4)
    cube = ndcube.NDCube(np.ones((4, 6)), wcs=wcs, unit="adu")
    unpack(cube)
    cube.global_coords.add("time", "time", 5 * u.s)
    with pytest.warns(SplusSrganWarning, match="global_coords of the NDCube are left out"):
        unpack(cube)


def test_uncertainty_of_unknown_kind_is_refused_in_words():
    image = CCDData(np.ones((4, 6)), unit="adu", uncertainty=UnknownUncertainty(np.ones((4, 6))))
    with pytest.raises(ValueError, match="must be a standard deviation, variance or inverse"):
        uncertainty_array(image, VarianceUncertainty)


def test_wcs_that_is_no_fits_wcs_is_named_by_its_package():
    class Other:
        __module__ = "gwcs.wcs"

    with pytest.raises(TypeError, match=r"got a gwcs\.Other: convert it, for example by its"):
        fits_wcs(Other())
