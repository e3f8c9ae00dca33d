# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The finer grid: world coordinates and header cards, against outside oracles."""

import warnings

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, FITSFixedWarning, Wcsprm
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from splus_srgan.images.wcs import upsample_header, upsample_wcs

SCALE = 0.55 / 3600

SIP_CARDS = {
    "CTYPE1": "RA---TAN-SIP",
    "CTYPE2": "DEC--TAN-SIP",
    "A_ORDER": 3,
    "B_ORDER": 2,
    "A_DMAX": 1.5,
    "A_0_2": 2.1e-6,
    "A_2_0": -3.0e-5,
    "A_1_1": 4.0e-6,
    "A_3_0": 3.0e-8,
    "B_0_2": 1.5e-5,
    "B_1_1": -2.0e-6,
    "AP_ORDER": 3,
    "BP_ORDER": 2,
    "AP_0_0": 0.02,
    "AP_1_0": 1.0e-5,
    "AP_2_0": 3.0e-5,
    "AP_3_0": -2.5e-8,
    "BP_0_1": -2.0e-5,
    "BP_0_2": -1.5e-5,
}
PV_CARDS = {
    "PV1_0": 0.0,
    "PV1_1": 1.001,
    "PV1_4": 0.05,
    "PV1_7": 0.4,
    "PV2_1": 0.998,
    "PV2_4": 0.07,
}


def make_header(matrix="CD", angle=0.0, crpix=(70.5, 55.25), **cards):
    """Header of a 150 x 120 image; ``cards`` replace others."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": 150, "NAXIS2": 120})
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 37.1, "CRVAL2": -30.2})
    header.update({"CRPIX1": crpix[0], "CRPIX2": crpix[1], "CUNIT1": "deg", "CUNIT2": "deg"})
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    rotation = np.array([[cos, -sin], [sin, cos]])
    if matrix == "CD":
        header.update(elements("CD", rotation * [[-SCALE], [SCALE]]))
    else:
        header.update({"CDELT1": -SCALE, "CDELT2": SCALE})
    if matrix == "PC":
        header.update(elements("PC", rotation))
    if matrix == "CROTA":
        header["CROTA2"] = angle
    header.update({key.replace("__", "."): value for key, value in cards.items()})
    return header


def elements(name, matrix):
    return {f"{name}{i + 1}_{j + 1}": matrix[i, j] for i, j in np.ndindex(*matrix.shape)}


def cube_header(order, matrix="CDELT", **cards):
    """Header of a cube with axes in the given order out of ``xyb``."""
    header = fits.Header({"NAXIS": len(order)})
    about = {
        "x": ("RA---TAN", 37.1, 70.5, -SCALE, 150),
        "y": ("DEC--TAN", -30.2, 55.0, SCALE, 120),
        "b": ("FREQ", 5e14, 1.0, 1e13, 3),
        "s": ("STOKES", 1.0, 1.0, 1.0, 1),
    }
    for i, axis in enumerate(order, 1):
        for key, value in zip(
            ("CTYPE", "CRVAL", "CRPIX", "CDELT", "NAXIS"), about[axis], strict=True
        ):
            header[f"{key}{i}"] = value
    header.update(cards)
    return header


HEADERS = {
    "cd": make_header(),
    "cd rotated": make_header(angle=31.0),
    "cd flipped and skewed": make_header(CD1_1=1e-4, CD1_2=4e-5, CD2_1=-1e-5, CD2_2=2e-4),
    "negative crpix": make_header(crpix=(-464.0970458984375, -2263.05810546875)),
    "cdelt": make_header("CDELT"),
    "pc": make_header("PC", angle=-12.0),
    "pc without cdelt": make_header("CDELT", PC1_1=-SCALE, PC2_2=SCALE, CDELT1=1.0, CDELT2=1.0),
    "crota": make_header("CROTA", angle=25.0),
    "sip": make_header(angle=5.0, **SIP_CARDS),
    "sip on pc": make_header("PC", angle=5.0, **SIP_CARDS),
    "tpv": make_header(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", **PV_CARDS),
    # Wcslib's terms are in pixels here, before CDELT.
    "tpv on pc": make_header(
        "PC", angle=9.0, CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0, PV1_4=1e-5, PV2_1=1.0
    ),
    "scamp": make_header(**PV_CARDS),
    "scamp on pc": make_header("PC", angle=9.0, PV1_1=1.0, PV1_5=1e-5, PV2_1=1.0),
    "zpn": make_header(CTYPE1="RA---ZPN", CTYPE2="DEC--ZPN", PV2_1=1.0, PV2_3=40.0),
    "galactic": make_header(CTYPE1="GLON-CAR", CTYPE2="GLAT-CAR"),
    "latitude first": make_header(
        CTYPE1="DEC--TAN", CTYPE2="RA---TAN", CRVAL1=-30.2, CRVAL2=37.1, CD1_1=1e-4, CD2_2=-2e-4
    ),
    "linear": make_header("PC", angle=40.0, CTYPE1="LINEAR", CTYPE2="LINEAR", CUNIT1="mm"),
    "slit": make_header("CDELT", CTYPE1="WAVE", CTYPE2="LINEAR", CUNIT1="nm", CDELT1=0.1),
}

CUBES = {
    "xyb": (cube_header("xyb"), [0, 1]),
    "bxy": (cube_header("bxy"), [1, 2]),
    "ybx": (cube_header("ybx"), [0, 2]),
    "xysb": (cube_header("xysb"), [0, 1]),
    "xyb rotated": (cube_header("xyb", PC1_2=0.3, PC2_1=-0.3), [0, 1]),
    "xyb, x bends b": (cube_header("xyb", PC3_1=0.2), [0, 1]),
    "xyb, crossed axes": (
        cube_header("bxy", PC1_1=0.0, PC1_2=1.0, PC2_2=0.0, PC2_1=1.0),
        [0, 2],
    ),
    "legacy": (make_header(NAXIS=3, NAXIS3=3, BANDS="grz"), [0, 1]),
    "no wcs": (fits.Header({"NAXIS": 3, "NAXIS1": 9, "NAXIS2": 8, "NAXIS3": 3}), [0, 1]),
    "linear": (cube_header("xyb", CTYPE1="LINEAR", CTYPE2="LINEAR"), [0, 1]),
}

any_header = pytest.mark.parametrize("header", HEADERS.values(), ids=HEADERS)
any_cube = pytest.mark.parametrize(("header", "axes"), CUBES.values(), ids=CUBES)


def read_wcs(header):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(header)


def random_pixels(wcs, n=1000, seed=3):
    shape = wcs.pixel_shape or (150,) * wcs.naxis
    return np.random.default_rng(seed).uniform(-0.5, np.array(shape) - 0.5, (n, wcs.naxis))


def to_fine(pixels, axes=(0, 1), factor=2):
    """0-based positions on the finer grid, from the pixel edge up."""
    fine = np.array(pixels, dtype=float)
    fine[:, list(axes)] = factor * (fine[:, list(axes)] + 0.5) - 0.5
    return fine


def distance_in_pixels(wcs, one, other):
    """Largest distance of world positions in pixels, and what rounding them can do to it."""
    steps = np.linalg.norm(wcs.pixel_scale_matrix, axis=1)
    # Angles are computed within a turn of 360 degrees, even where the result is near 0.
    rounding = np.finfo(float).eps * np.maximum(np.max(np.abs(one), axis=0), 360) / steps
    return np.max(np.abs(one - other) / steps), np.max(rounding)


def assert_same_sky(coarse, fine, *, axes=(0, 1), factor=2, atol=1e-9):
    """Positions of both are one, to ``atol`` of a fine pixel."""
    pixels = random_pixels(coarse)
    expected = coarse.all_pix2world(pixels, 0)
    found = fine.all_pix2world(to_fine(pixels, axes, factor), 0)
    distance, rounding = distance_in_pixels(fine, expected, found)
    assert distance <= atol + rounding


def assert_equal_wcs(one, other, atol=1e-9):
    assert one.pixel_shape == other.pixel_shape
    pixels = random_pixels(one)
    worlds = one.all_pix2world(pixels, 0), other.all_pix2world(pixels, 0)
    distance, rounding = distance_in_pixels(one, *worlds)
    assert distance <= atol + rounding


def lookup_wcs(**tables):
    """WCS with lookup tables of up to three pixels, on a grid coarser than the image."""
    wcs = WCS(make_header())
    rng = np.random.default_rng(4)
    for name in tables:
        values = rng.normal(0, 1, (7, 9)).astype(np.float32)
        table = DistortionLookupTable(values, (2.0, 3.0), (31.0, 40.5), (20.5, 19.25))
        setattr(wcs, name, table)
    return wcs


# upsample_wcs


@any_header
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_sky_stays_where_it_is(header, factor):
    coarse = read_wcs(header)
    assert_same_sky(coarse, upsample_wcs(coarse, factor=factor), factor=factor)


@any_header
def test_agrees_with_ndcube(header):
    """An implementation we did not write gives the same coordinates."""
    wrappers = pytest.importorskip("ndcube.wcs.wrappers")
    coarse = read_wcs(header)
    fine = upsample_wcs(coarse)
    oracle = wrappers.ResampledLowLevelWCS(coarse, 0.5)
    pixels = random_pixels(fine).T
    assert_allclose(
        fine.pixel_to_world_values(*pixels),
        oracle.pixel_to_world_values(*pixels),
        rtol=0,
        atol=1e-9 * SCALE if fine.has_celestial else 1e-9,
    )
    assert fine.pixel_shape == oracle.pixel_shape


@any_header
def test_round_trip_of_1000_points(header):
    fine = upsample_wcs(read_wcs(header))
    pixels = random_pixels(fine)
    back = fine.all_world2pix(fine.all_pix2world(pixels, 0), 0, tolerance=1e-8)
    assert np.max(np.abs(back - pixels)) < 1e-6


def test_corners_stay_on_the_sky():
    coarse = WCS(HEADERS["sip"])
    fine = upsample_wcs(coarse)
    before = coarse.pixel_to_world([-0.5, 149.5, -0.5], [-0.5, -0.5, 119.5])
    after = fine.pixel_to_world([-0.5, 299.5, -0.5], [-0.5, -0.5, 239.5])
    assert np.max(before.separation(after).mas) < 1e-3


def test_input_pixel_is_centered_between_its_four():
    fine = upsample_wcs(WCS(make_header(angle=20.0)))
    coarse = WCS(make_header(angle=20.0))
    i, j = 17, 31
    assert_allclose(
        fine.pixel_to_world_values(2 * i + 0.5, 2 * j + 0.5), coarse.pixel_to_world_values(i, j)
    )


@given(
    crpix=st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)),
    angle=st.floats(0, 360),
    declination=st.floats(-88, 88),
    factor=st.integers(1, 8),
)
def test_any_tangent_plane(crpix, angle, declination, factor):
    coarse = WCS(make_header(angle=angle, crpix=crpix, CRVAL2=declination))
    fine = upsample_wcs(coarse, factor=factor)
    pixels = random_pixels(coarse, 20)
    world = coarse.all_pix2world(pixels, 0)
    assert_allclose(fine.all_world2pix(world, 0), to_fine(pixels, factor=factor), rtol=0, atol=1e-6)


@given(st.integers(1, 5), st.integers(1, 5))
def test_two_steps_equal_one(first, second):
    coarse = WCS(HEADERS["sip"])
    twice = upsample_wcs(upsample_wcs(coarse, factor=first), factor=second)
    assert_equal_wcs(twice, upsample_wcs(coarse, factor=first * second))


@any_header
def test_input_is_not_modified(header):
    wcs, untouched = read_wcs(header), read_wcs(header)
    before = header.tostring()
    wcs.pixel_bounds = [(-0.5, 149.5), (-0.5, 119.5)]
    upsample_wcs(wcs, factor=3)
    upsample_header(header)
    assert header.tostring() == before
    assert wcs.to_header_string(relax=True) == untouched.to_header_string(relax=True)
    assert wcs.pixel_shape == (150, 120)
    assert wcs.pixel_bounds == [(-0.5, 149.5), (-0.5, 119.5)]


def test_shapes_and_bounds_go_along():
    wcs = WCS(make_header())
    wcs.pixel_bounds = [(-0.5, 149.5), (10.0, 20.0)]
    fine = upsample_wcs(wcs)
    assert fine.array_shape == (240, 300)
    assert fine.pixel_bounds == [(-0.5, 299.5), (20.5, 40.5)]


def test_no_shape_gives_no_shape():
    fine = upsample_wcs(WCS(naxis=2))
    assert fine.array_shape is None
    assert fine.pixel_bounds is None


def test_subclass_stays():
    class MyWCS(WCS):
        pass

    assert type(upsample_wcs(MyWCS(make_header()))) is MyWCS


# Distortions


def test_inverse_sip_polynomials_are_right():
    """AP and BP alone, without iteration, lead to the finer pixel."""
    coarse = WCS(HEADERS["sip"])
    fine = upsample_wcs(coarse)
    focal = random_pixels(coarse)
    # What goes in counts from CRPIX, what comes out from the first pixel.
    assert_allclose(
        fine.sip_foc2pix(2 * (focal - coarse.sip.crpix), 1),
        to_fine(coarse.sip_foc2pix(focal - coarse.sip.crpix, 1) - 1) + 1,
        rtol=0,
        atol=1e-9,
    )


def test_sip_coefficients_follow_their_order():
    fine = upsample_wcs(WCS(HEADERS["sip"]))
    assert_allclose(fine.sip.a[2, 0], -3.0e-5 / 2)
    assert_allclose(fine.sip.a[3, 0], 3.0e-8 / 4)
    assert_allclose(fine.sip.ap[0, 0], 0.02 * 2)
    assert_allclose(fine.sip.ap[1, 0], 1.0e-5)


@pytest.mark.parametrize("factor", [2, 3])
@pytest.mark.parametrize(
    "names", [("cpdis1", "cpdis2"), ("det2im1", "det2im2"), ("cpdis2",), ("cpdis1", "det2im2")]
)
def test_lookup_tables(names, factor):
    coarse = lookup_wcs(**dict.fromkeys(names))
    fine = upsample_wcs(coarse, factor=factor)
    bare = WCS(make_header())
    pixels = random_pixels(coarse)
    assert np.ptp(coarse.all_pix2world(pixels, 0) - bare.all_pix2world(pixels, 0)) > SCALE
    # The tables are in single precision.
    assert_same_sky(coarse, fine, factor=factor, atol=1e-6)


def test_lookup_tables_along_with_sip_survive_a_file(tmp_path):
    coarse = lookup_wcs(cpdis1=1, cpdis2=1, det2im1=1, det2im2=1)
    coarse.sip = WCS(make_header(**SIP_CARDS)).sip
    coarse.wcs.ctype = "RA---TAN-SIP", "DEC--TAN-SIP"
    fine = upsample_wcs(coarse)
    assert_same_sky(coarse, fine, atol=1e-6)
    fine.to_fits(relax=True).writeto(tmp_path / "fine.fits")
    with fits.open(tmp_path / "fine.fits") as hdulist:
        hdulist[0].header.update({"NAXIS": 2, "NAXIS1": 300, "NAXIS2": 240})
        assert_same_sky(coarse, WCS(hdulist[0].header, hdulist), atol=1e-4)


def sequent_cards(kind="CQDIS", letter="DQ"):
    cards = "".join(
        f"{kind}{i}  = 'TPD'\n"
        f"{letter}{i}     = 'NAXES: 2'\n{letter}{i}     = 'AXIS.1: 1'\n"
        f"{letter}{i}     = 'AXIS.2: 2'\n{letter}{i}     = 'DOCORR: 1'\n"
        f"{letter}{i}     = 'TPD.FWD.1: 1.0'\n{letter}{i}     = 'TPD.FWD.4: 1.0E-03'\n"
        for i in (1, 2)
    )
    return fits.Header.fromstring(cards, sep="\n")


@pytest.mark.parametrize("matrix", ["CD", "PC", "CDELT", "CROTA"])
def test_sequent_distortions_stay(matrix):
    """They stand between PC and CDELT, so the latter must not change."""
    header = make_header(matrix, angle=8.0)
    header.extend(sequent_cards(), unique=False)
    coarse = WCS(header)
    fine = upsample_wcs(coarse)
    assert_same_sky(coarse, fine)
    if matrix == "CROTA":
        with pytest.raises(ValueError, match="must not have CROTA2 along with a distortion"):
            upsample_header(header)
    else:
        assert_equal_wcs(fine, WCS(upsample_header(header)))


@pytest.mark.parametrize("matrix", ["CD", "PC", "CDELT", "CROTA"])
def test_tnx(matrix):
    header = make_header(matrix, angle=8.0, CTYPE1="RA---TNX", CTYPE2="DEC--TNX")
    for axis, name in (1, "axtype=ra lngcor"), (2, "axtype=dec latcor"):
        text = (
            f'wtype=tnx {name} = "3. 3. 3. 2. -0.03 0.03 -0.03 0.03 '
            '1.0E-4 2.0E-4 3.0E-3 1.0E-4 2.0E-4 3.0E-3 "'
        )
        for i in range(0, len(text), 68):
            header[f"WAT{axis}_{i // 68 + 1:03d}"] = text[i : i + 68]
    coarse = read_wcs(header)
    difference = coarse.all_pix2world([[3, 4]], 0) - WCS(
        make_header(matrix, angle=8.0)
    ).all_pix2world([[3, 4]], 0)
    assert np.max(np.abs(difference)) > 1e-6
    fine = upsample_wcs(coarse)
    assert_same_sky(coarse, fine)
    if matrix != "CROTA":
        assert_equal_wcs(fine, read_wcs(upsample_header(header)))


def test_prior_distortions_out_of_sight_are_refused():
    header = make_header()
    header.extend(sequent_cards("CPDIS", "DP"), unique=False)
    wcs = WCS(naxis=2)
    wcs.wcs = Wcsprm(header=header.tostring(endcard=False, padding=False).encode())
    with pytest.raises(ValueError, match="wcs must not have a prior distortion held by wcslib"):
        upsample_wcs(wcs)
    with pytest.raises(ValueError, match=r"header must not have distortions .* got CPDIS1"):
        upsample_header(header)


def test_headers_with_plate_solutions_are_refused():
    header = make_header()
    header.update({f"AMD{axis}{i}": 67.2 if i == 1 else 0.01 for axis in "XY" for i in (1, 2)})
    header.update({"XPIXELSZ": 25.28445, "YPIXELSZ": 25.28445, "PPO3": 1.775e5, "PPO6": 1.775e5})
    header.update({"CNPIX1": 100, "CNPIX2": 200, "PLTRAH": 12, "PLTRAM": 1, "PLTRAS": 1.0})
    header.update({"PLTDECSN": "+", "PLTDECD": 30, "PLTDECM": 1, "PLTDECS": 1.0})
    with pytest.raises(ValueError, match=r"header must not have a plate solution .* got AMDX1"):
        upsample_header(header)
    # Once read it is a sequent distortion like others.
    coarse = read_wcs(header)
    assert abs(coarse.wcs.crval[0] - header["CRVAL1"]) > 1
    assert_same_sky(coarse, upsample_wcs(coarse))


@pytest.mark.parametrize("keyword", ["CPDIS2", "D2IMDIS1", "AXISCORR", "D2IMEXT"])
def test_headers_with_tables_elsewhere_are_refused(keyword):
    with pytest.raises(ValueError, match=rf"got {keyword}: read the WCS along with its tables"):
        upsample_header(make_header(**{keyword: "LOOKUP"}))


# More axes than two


@any_cube
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_only_the_image_axes_of_a_cube_are_refined(header, axes, factor):
    coarse = read_wcs(header)
    fine = upsample_wcs(coarse, factor=factor)
    assert_same_sky(coarse, fine, axes=axes, factor=factor, atol=1e-8)
    expected = list(coarse.pixel_shape)
    for axis in axes:
        expected[axis] *= factor
    assert list(fine.pixel_shape) == expected


@any_cube
def test_cube_headers_agree(header, axes):
    fine = upsample_header(header)
    if "CRPIX1" in header:
        assert_equal_wcs(read_wcs(fine), upsample_wcs(read_wcs(header)))
    for axis in range(header["NAXIS"]):
        key = f"NAXIS{axis + 1}"
        assert fine[key] == header[key] * (2 if axis in axes else 1)


def test_matrix_of_a_cube_is_left_clean():
    fine = upsample_header(cube_header("bxy", PC2_3=0.1, PC3_2=-0.1))
    assert (fine["CDELT2"], fine["PC2_3"]) == (-SCALE / 2, 0.1)
    assert (fine["CDELT1"], fine["CRPIX1"]) == (1e13, 1.0)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            cube_header("xyb", PC1_3=0.1),
            r"must have celestial axes that depend on two.*axes \[1, 2, 3\]",
        ),
        (cube_header("bxs", CTYPE2="LINEAR"), "must have celestial axes, or two linear ones first"),
        (fits.Header({"NAXIS": 1, "NAXIS1": 5, "CTYPE1": "WAVE"}), "two axes or more; got 1"),
    ],
)
def test_unclear_images_are_refused(header, message):
    with pytest.raises(ValueError, match=message):
        upsample_wcs(WCS(header))
    with pytest.raises(ValueError, match=message):
        upsample_header(header)


# Arguments


def test_what_is_no_fits_wcs_is_named_by_its_package():
    other = type("WCS", (), {"__module__": "gwcs.wcs"})()
    with pytest.raises(TypeError, match=r"got a gwcs\.WCS: convert it, for example by its method"):
        upsample_wcs(other)


def test_what_is_no_wcs_is_refused():
    with pytest.raises(TypeError, match=r"must be an astropy.wcs.WCS, .*got a builtins.NoneType"):
        upsample_wcs(None)
    with pytest.raises(TypeError, match=r"got a astropy.Sliced(LowLevel|FITS)WCS"):
        upsample_wcs(WCS(cube_header("xyb"))[0].low_level_wcs)


@pytest.mark.parametrize("function", [upsample_wcs, upsample_header])
def test_factor_is_checked(function):
    value = WCS(make_header()) if function is upsample_wcs else make_header()
    for factor in (0, -2):
        with pytest.raises(ValueError, match=f"factor must be at least 1; got {factor}"):
            function(value, factor=factor)
    for factor in (2.0, True, "2", None):
        with pytest.raises(TypeError, match=f"factor must be an integer; got {factor!r}"):
            function(value, factor=factor)
    assert function(value, factor=np.int64(2)) is not value


def test_what_is_no_image_header_is_refused():
    with pytest.raises(TypeError, match=r"header must be an astropy\.io\.fits\.Header; got dict"):
        upsample_header({"NAXIS1": 3})
    with pytest.raises(ValueError, match="header must be an image's; got a table's"):
        upsample_header(fits.Header({"XTENSION": "BINTABLE"}))
    with pytest.raises(ValueError, match="flux_scale must be above 0; got 0"):
        upsample_header(make_header(), flux_scale=0)


# upsample_header


@any_header
@pytest.mark.parametrize("factor", [1, 2, 3])
def test_header_and_wcs_agree(header, factor):
    fine = upsample_header(header, factor=factor)
    assert_equal_wcs(read_wcs(fine), upsample_wcs(read_wcs(header), factor=factor))
    fits.ImageHDU(np.zeros((factor * 120, factor * 150), np.float32), fine).verify("exception")


@pytest.mark.parametrize("matrix", ["CD", "PC", "CDELT"])
def test_cards_that_may_be_absent(matrix):
    header = make_header(matrix)
    for keyword in ("CRPIX1", "CD1_2", "CD2_1", "CDELT1", "PC1_2", "PC2_2"):
        header.remove(keyword, ignore_missing=True)
    assert_equal_wcs(WCS(upsample_header(header)), upsample_wcs(WCS(header)))


def test_header_without_wcs_gets_none():
    fine = upsample_header(fits.Header({"NAXIS": 2, "NAXIS1": 5, "NAXIS2": 4, "OBJECT": "a"}))
    assert dict(fine) == {"NAXIS": 2, "NAXIS1": 10, "NAXIS2": 8, "OBJECT": "a"}
    assert len(upsample_header(fits.Header())) == 0


def test_alternate_wcs_go_along():
    header = make_header("PC", angle=10.0)
    for i, (ctype, step) in enumerate([("XDETECT", 0.01), ("YDETECT", 0.02)], 1):
        header.update({f"CTYPE{i}D": ctype, f"CRPIX{i}D": 5.0, f"CRVAL{i}D": 1.0})
        header.update({f"CDELT{i}D": step, f"CTYPE{i}P": "PHYSICAL", f"CRPIX{i}P": 3.0})
        header.update({f"CD{i}_{j}P": 1.0 + i + j * j for j in (1, 2)})
    fine = upsample_header(header)
    for key in "DP":
        coarse, finer = WCS(header, key=key), WCS(fine, key=key)
        assert_same_sky(coarse, finer)
    assert_same_sky(WCS(header), WCS(fine))


@pytest.mark.parametrize(
    "cards",
    [
        {"CRVAL1P": 101.0, "CRVAL2P": 201.0, "CDELT1P": 1.0, "CDELT2P": 1.0},
        {"CRVAL1P": 101.0, "CRVAL2P": 201.0},
        {"CDELT1P": 2.0, "CDELT2P": 3.0},
        {"PC1_1P": 2.0, "PC2_2P": 3.0},
        {"CD1_1P": 2.0, "CD2_2P": 3.0},
    ],
)
def test_alternate_wcs_of_few_cards_go_along(cards):
    header = make_header(WCSNAMEP="PHYSICAL", **cards)
    assert_same_sky(WCS(header, key="P"), WCS(upsample_header(header), key="P"))


def test_physical_coordinates_stay():
    header = make_header(LTV1=-300.0, LTV2=12.5, LTM1_1=0.5, LTM2_2=1.0)
    fine = upsample_header(header)

    def physical(header, x, axis):
        return (x - header[f"LTV{axis}"]) / header[f"LTM{axis}_{axis}"]

    for axis in (1, 2):
        for edge in (0.5, 40.0):
            assert physical(fine, 2 * (edge - 0.5) + 0.5, axis) == physical(header, edge, axis)


def test_physical_cards_are_completed():
    fine = upsample_header(make_header(LTV1=-300.0))
    assert (fine["LTM1_1"], fine["LTM2_2"]) == (2.0, 2.0)
    assert (fine["LTV1"], fine["LTV2"]) == (-600.5, -0.5)
    assert "LTV1" not in upsample_header(make_header())


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("[1:150,1:120]", "[1:300,1:240]"),
        ("[ 11:20, 3:3 ]", "[21:40,5:6]"),
        ("[20:11,1:2]", "[40:21,1:4]"),
        ("[1:5,1:5,2:3]", "[1:10,1:10,2:3]"),
    ],
)
def test_sections_of_the_image(section, expected):
    fine = upsample_header(make_header(DATASEC=section, TRIMSEC=section, CCDSEC=section))
    assert fine["DATASEC"] == fine["TRIMSEC"] == expected
    assert fine["CCDSEC"] == section


def test_unreadable_section_is_marked():
    fine = upsample_header(make_header(DATASEC="all"))
    assert fine["INPUT DATASEC"] == "all"
    assert "DATASEC" not in fine


def test_sizes_of_pixels_and_image():
    header = make_header(PIXSCALE=0.55, PIXAR_SR=4.0, IMAGEW=150.0, IMAGEH=120, X01TILE=74.5)
    fine = upsample_header(header)
    assert (fine["PIXSCALE"], fine["PIXAR_SR"]) == (0.275, 1.0)
    assert (fine["IMAGEW"], fine["IMAGEH"]) == (300.0, 240)
    assert isinstance(fine["IMAGEH"], int)
    assert fine["X01TILE"] == 149.5


def test_pixel_scales_of_other_names_and_twice_the_same():
    header = make_header(SECPPIX=0.55, PIXSCALX=-0.55, PIXSCALY=0.55)
    header["HIERARCH ESO INS PixScale"] = (0.55, "arcsec")
    header["HIERARCH ESO DET PIXSCALE"] = "fine"
    header.extend([("PIXSCALE", 0.55, "first"), ("PIXSCALE", 0.5, "second")], unique=False)
    header.extend([("SATURATE", 1600), ("SATURATE", "none")], unique=False)
    fine = upsample_header(header)
    assert (fine["SECPPIX"], fine["PIXSCALX"], fine["PIXSCALY"]) == (0.275, -0.275, 0.275)
    assert fine["ESO INS PIXSCALE"] == 0.275
    assert fine["INPUT ESO DET PIXSCALE"] == "fine"
    assert [fine["PIXSCALE", i] for i in range(fine.count("PIXSCALE"))] == [0.275, 0.25]
    assert fine.comments["PIXSCALE", 1] == "second"
    assert "SATURATE" not in fine
    assert fine["INPUT SATURATE"] == 1600


@pytest.mark.parametrize(
    ("keywords", "value", "expected"),
    [
        ("PXSCAL1 PIXSCAL CCDSCALE PIXELSCALE PIXEL_SCALE PIXLSIZE SECPERPIX D001SCAL", 0.54, 0.27),
        ("PIXSCALE1 XPIXSCAL PIXSCL2 PIXSCALN ASECPIX", 0.54, 0.27),
        ("PIXAREA PIX_AREA PIXELAREA", 0.4, 0.1),
        ("SATURATC SATURAT SATURAT1 SATURATE2 SATLEV SATVAL SATURATION CELL.SATURATION", 64, 16),
        ("SATUR_LEVEL SAT_LEVEL SATLEVEL4 SATURLEVB", 64, 16),
        ("RDNOISE1 READNSEC READNOI2 CELL.READNOISE RON_EFF RNOISE READ_NOISE EFFRON", 5.0, None),
        ("FULLWELL MAXLIN FWHMPIX SEEPIX", 5.0, None),
        ("DATASEC11 PRESECA POSTSECB OVERSEC DSECA TSECB STATSEC", "[1:32,3:30]", "[1:64,5:60]"),
        ("CCDSECA DETSEC AMPSECA CSECA ORGSEC", "[1:32,3:30]", "[1:32,3:30]"),
        ("SATURATED NSATUR GAINA EGAIN PLTSCALE FSCALE RONDO", 5.0, 5.0),
    ],
)
def test_cards_under_other_names(keywords, value, expected):
    for keyword in keywords.split():
        header = make_header()
        plain = len(keyword) <= 8 and "." not in keyword
        header[keyword if plain else f"HIERARCH {keyword}"] = value
        header[f"HIERARCH ESO DET {keyword}"] = value
        fine = upsample_header(header)
        for said in (keyword, f"ESO DET {keyword}"):
            found = fine.get(said), fine.get(f"INPUT {said}")
            assert found == ((None, value) if expected is None else (expected, None)), said


def test_flux_cards():
    header = make_header(SATURATE=1600, SATLEVEL=10.0, GAIN=115.0, MAGZERO=23.5, BUNIT="adu")
    fine = upsample_header(header)
    assert (fine["SATURATE"], fine["SATLEVEL"]) == (400, 2.5)
    assert (fine["GAIN"], fine["MAGZERO"], fine["BUNIT"]) == (115.0, 23.5, "adu")
    assert upsample_header(header, flux_scale=1)["SATURATE"] == 1600


def test_comments_stay():
    header = make_header()
    header["SATURATE"] = (1600.0, "Saturation Level (ADU)")
    assert upsample_header(header).comments["SATURATE"] == "Saturation Level (ADU)"


def splus_like_header():
    header = make_header()
    header["PIXSCALE"] = 0.55
    header["HIERARCH OAJ QC NCNOISE"] = (0.0601, "Noise estim (ADU)")
    header["HIERARCH MAR QC NCMIDPT"] = (0.001, "Level estim (ADU), fills the card to its end")
    header["HIERARCH OAJ PRO FWHMMEAN"] = (1.335889494419098, "PSFex FWHM")
    header["HIERARCH OAJ PRO FWHMnstars"] = (422, "PSFex nstars")
    header["OBJECT"] = "MC0050"
    return header


def test_measurements_on_input_pixels_are_marked():
    fine = upsample_header(splus_like_header())
    assert "OAJ QC NCNOISE" not in fine
    assert fine["INPUT OAJ QC NCNOISE"] == 0.0601
    assert fine.comments["INPUT OAJ QC NCNOISE"] == "Noise estim (ADU)"
    assert fine["INPUT MAR QC NCMIDPT"] == 0.001
    assert fine.comments["INPUT MAR QC NCMIDPT"] == "Level estim (ADU), fills the card to its"
    assert fine["OAJ PRO FWHMMEAN"] == 1.335889494419098
    assert list(fine).index("INPUT OAJ QC NCNOISE") == list(fine).index("OBJECT") - 4


def test_cards_of_the_psf_are_marked_when_it_is_new():
    fine = upsample_header(splus_like_header(), new_psf=True)
    assert fine["INPUT OAJ PRO FWHMMEAN"] == 1.335889494419098
    assert not [keyword for keyword in fine if keyword.upper().startswith("OAJ PRO")]


def test_marks_survive_a_second_step():
    header = splus_like_header()
    twice = upsample_header(upsample_header(header, new_psf=True), new_psf=True)
    assert twice["INPUT OAJ QC NCNOISE"] == 0.0601
    assert twice["PIXSCALE"] == 0.55 / 4
    assert [key for key in twice if "INPUT INPUT" in key] == []
    twice["HIERARCH OAJ QC NCNOISE"] = 7.0
    thrice = upsample_header(twice)
    assert thrice["INPUT OAJ QC NCNOISE"] == 0.0601
    assert "OAJ QC NCNOISE" not in thrice


@pytest.mark.parametrize("keyword", ["PIXSCALE", "SATURATE", "RDNOISE", "X01TILE"])
def test_cards_without_a_number_are_marked(keyword):
    fine = upsample_header(make_header(**{keyword: "unknown"}))
    assert fine[f"INPUT {keyword}"] == "unknown"
    assert keyword not in fine


def test_storage_of_the_input_is_left_out():
    stale = {"BSCALE": 2.0, "BZERO": 32768, "BLANK": -1, "CHECKSUM": "a", "DATASUM": "1"}
    stale |= {"ZDITHER0": 4291, "ZNAXIS1": 150, "ZTILE1": 150, "ZVAL2": 4, "ZQUANTIZ": "x"}
    stale["EXTNAME"] = "COMPRESSED_IMAGE"
    fine = upsample_header(make_header(ZP=16.4, **stale))
    assert not set(stale) & set(fine)
    assert fine["ZP"] == 16.4


def test_commentary_and_undefined_cards_stay():
    header = make_header()
    header["HISTORY"] = "Image was compressed"
    header["COMMENT"] = "Axis-dependent config parameters"
    header[""] = "STATS 2020-02-16T11:42:07"
    header["AIRMASS"] = None
    fine = upsample_header(header)
    assert fine["HISTORY"] == header["HISTORY"]
    assert fine["AIRMASS"] is None
    assert len(fine) == len(header)


def test_factor_one_changes_nothing():
    header = splus_like_header()
    fine = upsample_header(header, factor=1)
    assert fine.tostring() == header.tostring()
    assert fine is not header


# Real headers


def real_image_headers(folder):
    for path in sorted(folder.rglob("*.f*")):
        with fits.open(path) as hdulist:
            for hdu in hdulist:
                if hdu.is_image and hdu.header.get("NAXIS", 0) >= 2:
                    yield path, hdu.header.copy()


@pytest.mark.realdata
@pytest.mark.parametrize("survey", ["splus", "legacy"])
def test_real_headers(real_data, survey):
    count = 0
    for path, header in real_image_headers(real_data / survey):
        with warnings.catch_warnings():
            # Old cards of those files, which astropy repairs and says so.
            warnings.simplefilter("ignore")
            fine = upsample_header(header, new_psf=True)
            coarse = WCS(header)
            if "CTYPE1" in header:
                assert_equal_wcs(WCS(fine), upsample_wcs(coarse))
        shape = tuple(fine[f"NAXIS{i}"] for i in range(fine["NAXIS"], 0, -1))
        assert shape[-2:] == (2 * header["NAXIS2"], 2 * header["NAXIS1"]), path
        hdu = fits.PrimaryHDU(np.zeros(shape, np.float32), fine)
        hdu.verify("exception")
        words = {keyword.split(" ")[-1] for keyword in fine if not keyword.startswith("INPUT ")}
        assert not words & {"NCNOISE", "NCMIDPT", "FWHMMEAN", "CHECKSUM", "ZDITHER0", "BRICK_X0"}
        if "PIXSCALE" in header:
            assert fine["PIXSCALE"] == 0.275
            assert fine["INPUT OAJ QC NCNOISE"] == header["OAJ QC NCNOISE"]
            assert fine["SATURATE"] == header["SATURATE"] / 4
        count += 1
    assert count > 10


@pytest.mark.realdata
def test_real_positions_round_trip(real_data):
    for path, header in real_image_headers(real_data / "splus"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FITSFixedWarning)
            fine = WCS(upsample_header(header))
        pixels = random_pixels(fine)
        back = fine.all_world2pix(fine.all_pix2world(pixels, 0), 0)
        assert np.max(np.abs(back - pixels)) < 1e-6, path


def test_celestial_wcs_of_the_header_of_a_cube():
    """astropy keeps its three sizes, though the WCS has two axes."""
    header = fits.Header(
        {"NAXIS": 3, "NAXIS1": 30, "NAXIS2": 20, "NAXIS3": 4}
        | {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 10.5, "CRPIX2": 7.0}
        | {"CRVAL1": 10.0, "CRVAL2": -30.0, "CDELT1": -1e-4, "CDELT2": 1e-4}
    )
    fine = upsample_wcs(WCS(header, naxis=2))
    assert tuple(fine.pixel_shape) == (60, 40)
    assert_allclose(fine.wcs.crpix, [20.5, 13.5])


def test_cd_beside_pc_follows_pc_as_wcslib_does():
    """Headers that old versions of CCDData wrote: PC, CDELT and CD, all of the same scale."""
    plain = WCS(naxis=2)
    plain.wcs.ctype = "RA---TAN", "DEC--TAN"
    plain.wcs.crval, plain.wcs.crpix = (150, -30), (32.5, 32.5)
    plain.wcs.cd = np.diag([-1.5e-4, 1.5e-4])
    header = plain.to_header()
    header.update(CD1_1=-1.5e-4, CD2_2=1.5e-4, CD1_2=0.0, CD2_1=0.0)
    expected = upsample_wcs(plain)
    for fine in (upsample_wcs(WCS(header)), WCS(upsample_header(header))):
        for position in ((-0.5, -0.5), (100, 3)):
            there = fine.pixel_to_world(*position)
            assert there.separation(expected.pixel_to_world(*position)).arcsec < 1e-9


@pytest.mark.parametrize("keyword", ["RDNOISE", "RDNOISEA", "RDNOISEB", "READNOISE"])
def test_read_noise_is_of_the_input_under_all_its_names(keyword):
    header = fits.Header()
    header["HIERARCH " + keyword if len(keyword) > 8 else keyword] = 5.0
    fine = upsample_header(header)
    assert fine[f"INPUT {keyword}"] == 5
    assert keyword not in fine
