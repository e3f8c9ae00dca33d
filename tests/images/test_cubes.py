# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cubes in the layout of S-Cubes: read and written."""

import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, NDData, StdDevUncertainty, VarianceUncertainty
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import SRGANEnhancer, read_bands, write_bands
from splus_srgan.exceptions import GridMismatchError, NoSkyWarning
from splus_srgan.images import add_provenance, write_cube
from splus_srgan.images.header import psf_from_header
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.splus import BANDS as ALL_BANDS

FILTERS = ("gSDSS", "rSDSS", "F660")
BANDS = ["g", "r", "J0660"]
FWHM = (1.31, 1.22, 1.44)
SCALE = 1e-19


def cube_header():
    """As S-Cubes writes it: the header of the first band, CD and PC, and a third axis of ones."""
    header = fits.Header()
    header["TELESCOP"] = "T80Cam"
    header["OBJECT"] = "NGC3312"
    header["GAINCOR"] = 1.0
    header["HIERARCH OAJ PRO FWHMBETA"] = 2.33
    header["PIXSCALE"] = 0.55
    header["DATE-OBS"] = "2017-02-19"
    for k, (kind, value) in enumerate((("RA---TAN", 159.292), ("DEC--TAN", -28.077)), 1):
        header[f"CTYPE{k}"] = kind
        header[f"CUNIT{k}"] = "deg"
        header[f"CRVAL{k}"], header[f"CRPIX{k}"] = value, 68.5
        header[f"CD{k}_{k}"] = header[f"PC{k}_{k}"] = (-1, 1)[k - 1] * 0.55 / 3600
        header[f"CDELT{k}"] = 1.0
    header.insert(0, ("WCSAXES", 3))
    header["CRPIX3"], header["CDELT3"], header["CRVAL3"] = 0.0, 1.0, 0.0
    return header


def metadata(filters=FILTERS):
    n = len(filters)
    columns = {
        "FILTER": list(filters),
        "CENTWAVE": np.linspace(4774.02604026, 6613.99318993, n),
        "PIVOTWAVE": np.linspace(4758.4878587, 6613.87556039, n) * u.AA,
        "EXPTIME": np.arange(n) + 195,
        "GAIN": np.linspace(370.91141421, 2904.99319306, n),
        "PSFFWHM": np.resize(FWHM, n),
        "DATE-OBS": ["2017-02-19"] * n,
    }
    return Table(columns)


def cube_file(path, data, *, errors=None, weimask=None, filters=FILTERS, table=None, names=None):
    """A file as S-Cubes writes it; ``data`` are what is stored, in units of 1e-19."""
    primary = fits.PrimaryHDU()
    cards = {"TILE": "HYDRA-0045", "GALAXY": "NGC3312", "RA": 159.26, "DEC": -27.56}
    primary.header.update(cards | {"SIZE": data.shape[-1], "X0TILE": 5683.9, "Y0TILE": 8849.9})
    images = {"DATA": data, "ERRORS": errors, "WEIMASK": weimask}
    hdus = [primary]
    for name, array in images.items():
        if array is not None and name in (names or images):
            hdu = fits.ImageHDU(array, None if name == "WEIMASK" else cube_header(), name=name)
            if name != "WEIMASK":
                hdu.header["BUNIT"] = "erg / (Angstrom s cm2)"
                hdu.header["BSCALE"], hdu.header["BZERO"] = SCALE, 0
            hdus.append(hdu)
    if names is None or "METADATA" in names:
        table = metadata(filters) if table is None else table
        hdus.append(fits.BinTableHDU(table, name="METADATA"))
    fits.HDUList(hdus).writeto(path)
    return path


def noise(shape=(3, 20, 24), seed=3):
    return np.random.default_rng(seed).normal(0, 2, shape).astype(np.float32)


@pytest.fixture
def cube(tmp_path):
    counts = np.zeros((20, 24), np.int64)
    counts[4, 5], counts[9:11, 3] = 1, 3
    errors = np.abs(noise(seed=4)) + 1
    errors[1, 7, 7] = np.inf
    return cube_file(tmp_path / "NGC3312_cube.fits", noise(), errors=errors, weimask=counts)


def test_planes_of_an_s_cubes_file(cube):
    field = read_bands(cube)
    assert list(field) == BANDS
    wanted = fits.getdata(cube, "DATA")
    errors, counts = fits.getdata(cube, "ERRORS"), fits.getdata(cube, "WEIMASK")
    for k, image in enumerate(field.values()):
        assert image.unit == u.erg / u.s / u.cm**2 / u.AA
        assert_allclose(image.data, wanted[k], rtol=1e-6)
        assert_allclose(np.abs(image.data).max(), 8 * SCALE, rtol=0.5)
        assert isinstance(image.uncertainty, StdDevUncertainty)
        assert_allclose(image.uncertainty.array, errors[k], rtol=1e-6)
        assert_array_equal(image.flags, counts)
        # What has no weight in any band, or no finite error.
        assert_array_equal(image.mask, (counts > 0) | ~np.isfinite(errors[k]))
    assert field["r"].mask[7, 7]
    assert not field["g"].mask[7, 7]


def test_world_coordinates_of_an_s_cubes_file(cube):
    wcs = read_bands(cube)["r"].wcs
    assert wcs.naxis == 2
    ra, dec = wcs.all_pix2world([[67.5, 67.5]], 0)[0]
    assert_allclose((ra, dec), (159.292, -28.077))
    x, y = wcs.all_world2pix([[159.292, -28.077 + 0.55 / 3600]], 0)[0]
    assert_allclose((x, y), (67.5, 68.5), atol=1e-6)


def test_header_of_a_band_is_what_the_table_says(cube):
    """The header of the cube is that of its first band, beta of the PSF among it."""
    metas = [image.meta for image in read_bands(cube).values()]
    assert [psf_from_header(meta) for meta in metas] == [(1.31, 2.33), (1.22, 3.0), (1.44, 3.0)]
    assert [meta["FILTER"] for meta in metas] == list(FILTERS)
    assert [meta["BAND"] for meta in metas] == BANDS
    assert [meta["METADATA EXPTIME"] for meta in metas] == [195, 196, 197]
    assert metas[2]["METADATA PIVOTWAVE"] == 6613.87556039
    assert metas[2].comments["METADATA PIVOTWAVE"] == "[Angstrom]"
    assert metas[1]["PRIMARY GALAXY"] == "NGC3312"
    assert not {"CRPIX3", "CD1_1", "BSCALE"} & set(metas[0])


@pytest.mark.parametrize("dtype", ["i2", "i4"])
def test_scaled_integers(tmp_path, dtype):
    stored = np.arange(3 * 16 * 16).reshape(3, 16, 16).astype(dtype)
    path = cube_file(tmp_path / "cube.fits", stored, weimask=np.zeros((16, 16), np.uint8))
    field = read_bands(path, bands=["J0660", "g"])
    assert list(field) == ["J0660", "g"]
    assert_allclose(field["J0660"].data, SCALE * stored[2], rtol=1e-6)
    assert field["g"].uncertainty is None
    assert field["g"].mask is None


def test_mask_of_each_band(tmp_path):
    bad = noise() > 3
    path = cube_file(tmp_path / "cube.fits", noise(), weimask=bad.astype(np.int16))
    for k, image in enumerate(read_bands(path).values()):
        assert_array_equal(image.mask, bad[k])


def test_table_without_a_seeing_leaves_it_open(tmp_path):
    table = metadata()
    table["PSFFWHM"][1] = np.nan
    path = cube_file(tmp_path / "a.fits", noise(), table=table)
    psfs = [psf_from_header(image.meta) for image in read_bands(path).values()]
    assert psfs == [(1.31, 2.33), None, (1.44, 3.0)]
    table.remove_column("PSFFWHM")
    path = cube_file(tmp_path / "b.fits", noise(), table=table)
    assert [psf_from_header(image.meta) for image in read_bands(path).values()] == [None] * 3


def test_one_hdu_of_a_cube(cube):
    assert list(read_bands(cube, hdu="DATA")) == BANDS
    weights = read_bands({"r": cube}, hdu="WEIMASK", unit="")
    assert weights["r"].data.max() == 3


SHORT = np.zeros((3, 20, 23), np.float32)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"names": ("ERRORS", "WEIMASK", "METADATA")}, "must have the extension DATA"),
        ({"names": ("DATA", "ERRORS", "WEIMASK")}, "must have a table METADATA"),
        ({"data": noise()[0]}, r"DATA of shape \(n_band, ny, nx\).*got \(20, 24\)"),
        ({"filters": FILTERS[:2]}, r"a row of METADATA for each plane of DATA, 3; got 2"),
        ({"filters": ("gSDSS", "rSDSS", "F999")}, "FILTER in row 3 of METADATA.*'F999'"),
        ({"filters": ("gSDSS", "rSDSS", "R")}, "each band may occur once"),
        ({"errors": SHORT}, r"ERRORS of shape \(3, 20, 24\).*got \(3, 20, 23\)"),
        ({"weimask": SHORT[0]}, r"WEIMASK of shape .*\(20, 24\).*got \(20, 23\)"),
    ],
)
def test_what_is_no_s_cubes_file_is_told(tmp_path, options, words):
    defaults = {"data": noise(), "errors": noise(), "weimask": np.zeros((20, 24), np.int16)}
    path = cube_file(tmp_path / "cube.fits", **(defaults | options))
    with pytest.raises(
        ValueError, match=f"(?s)cube.fits.*{words}" if "once" not in words else words
    ):
        read_bands(path)


FLUX = u.erg / u.s / u.cm**2 / u.AA


def assert_same(one, other):
    """The same images, in all that belongs to them."""
    assert list(one) == list(other)
    for band in one:
        a, b = one[band], other[band]
        assert_array_equal(a.data, b.data)
        for part in ("mask", "flags", "psf"):
            x, y = getattr(a, part), getattr(b, part)
            assert (x is None) == (y is None)
            assert_array_equal(0 if x is None else x, 0 if y is None else y)
        assert (a.uncertainty is None) == (b.uncertainty is None)
        if a.uncertainty is not None:
            assert_array_equal(a.uncertainty.array, b.uncertainty.array)
        assert a.unit == b.unit
        assert (a.wcs is None) == (b.wcs is None)
        if a.wcs is not None:
            assert_array_equal(a.wcs.wcs.crpix, b.wcs.wcs.crpix)
            assert_allclose(a.wcs.pixel_scale_matrix, b.wcs.pixel_scale_matrix, rtol=1e-12)


def test_an_s_cubes_file_comes_back_as_it_was(cube, tmp_path):
    field = read_bands(cube)
    copy = write_cube(field, tmp_path / "copy.fits")
    assert_same(field, read_bands(copy))
    again = write_cube(read_bands(copy, memmap=True), tmp_path / "again.fits")
    assert_same(field, read_bands(again))
    with fits.open(cube) as before, fits.open(copy) as after:
        assert [hdu.name for hdu in after[1:5]] == ["DATA", "ERRORS", "WEIMASK", "METADATA"]
        for name in ("DATA", "ERRORS"):
            assert_allclose(after[name].data, before[name].data, rtol=1e-6)
            assert after[name].header["BUNIT"] == before[name].header["BUNIT"]
        assert_array_equal(after["WEIMASK"].data, before["WEIMASK"].data)
        for name in before["METADATA"].columns.names:
            assert_array_equal(after["METADATA"].data[name], before["METADATA"].data[name])
        assert after["METADATA"].columns["PIVOTWAVE"].unit == "Angstrom"
        lost = set(before[0].header) - set(after[0].header)
        assert not lost
        kept = {
            k: v
            for k, v in before["DATA"].header.items()
            if k[:2] not in ("CD", "PC", "BS", "BZ", "")
        }
        assert {key: after["DATA"].header.get(key) for key in kept} == {**kept, "BITPIX": -32}
        assert WCS(after["DATA"].header).naxis == 3


def random_field(draw):
    """Any bands with anything that belongs to an image."""
    bands = draw(st.lists(st.sampled_from(list(ALL_BANDS)), min_size=1, max_size=4, unique=True))
    shape = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    has = {part: draw(st.booleans()) for part in ("error", "mask", "flags", "psf", "wcs", "psfs")}
    common = rng.random(shape) > 0.5
    field = {}
    for band in bands:
        image = CCDData((rng.normal(size=shape) * 1e-19).astype(np.float32), unit=FLUX)
        image.data[rng.random(shape) > 0.9] = np.nan
        if has["wcs"]:
            header = cube_header()
            del header["DATE-OBS"]
            image.wcs = WCS(header).celestial
        if has["error"]:
            # Squares of them are too small for single precision.
            image.uncertainty = StdDevUncertainty(rng.random(shape).astype(np.float32) * 1e-21)
        if has["mask"]:
            image.mask = common if draw(st.booleans()) else rng.random(shape) > 0.5
        if has["flags"]:
            image.flags = rng.integers(0, 255, shape).astype(np.uint8)
        if has["psf"]:
            image.psf = rng.random((len(field) + 2, 3)).astype(np.float32)
        image.meta["EXPTIME"] = float(rng.normal())
        image.meta["SRFWHM" if has["psfs"] else "FWHMMEAN"] = 1 + rng.random()
        field[band] = image
    return field


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_nothing_is_lost_on_the_way_through_a_cube(tmp_path_factory, data):
    field = random_field(data.draw)
    path = tmp_path_factory.mktemp("cube") / "cube.fits"
    back = read_bands(write_cube(field, path))
    assert_same(field, back)
    table = fits.getdata(path, "METADATA")
    for k, (band, image) in enumerate(field.items()):
        kept = {key: image.meta[key] for key in image.meta}
        assert kept.items() <= dict(back[band].meta).items()
        assert table["PSFFWHM"][k] == kept.get("SRFWHM", kept.get("FWHMMEAN"))


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory):
    """A cube of two bands, enhanced: the input and the output."""
    path = tmp_path_factory.mktemp("cube") / "cube.fits"
    data = 5 * noise((2, 48, 48))
    y, x = np.indices((48, 48))
    data += 2000 * np.exp(-((y - 22) ** 2 + (x - 21) ** 2) / 2.2)
    counts = np.zeros((48, 48), np.int64)
    counts[2, 3] = 1
    files = {"errors": np.full((2, 48, 48), 10.0), "weimask": counts, "filters": FILTERS[:2]}
    field = read_bands(cube_file(path, data, **files))
    # The FWHM of the header, for there are no stars to compare with.
    enhancer = SRGANEnhancer("splus-any", device="cpu", psf="header", uncertainty=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NoSkyWarning)
        return field, enhancer(field)


def test_enhanced_cube(enhanced, tmp_path):
    field, sharp = enhanced
    path = write_cube(sharp, tmp_path / "sharp.fits")
    assert_same(sharp, read_bands(path))
    again = write_cube(read_bands(path, memmap=True), tmp_path / "again.fits")
    assert_same(sharp, read_bands(again))
    # The counts of the input are not the flags of the output.
    assert "SRFLAGS" in field["g"].meta
    assert "SRFLAGS" not in sharp["g"].meta
    with fits.open(path) as hdus:
        assert hdus["DATA"].data.shape == hdus["ERRORS"].data.shape == (2, 96, 96)
        assert hdus["WEIMASK"].data.shape == (96, 96)
        assert_array_equal(hdus["WEIMASK"].data[4:6, 6:8], 2)
        table = hdus["METADATA"].data
        assert list(table["FILTER"]) == ["gSDSS", "rSDSS"]
        assert_array_equal(table["PSFFWHM"], 1.0)
        assert_array_equal(table["EXPTIME"], [195, 196])
        assert hdus[0].header["SIZE"] == 96
        assert hdus[0].header["GALAXY"] == "NGC3312"
        header = hdus["DATA"].header
        wcs = WCS(header)
        assert wcs.naxis == 3
        # The same sky: the middle of the first pixel is now the corner of four.
        x, y = wcs.celestial.world_to_pixel(field["g"].wcs.pixel_to_world(0, 0))
        assert_allclose((x, y), 0.5, atol=1e-6)
        assert "SRSIGMA" not in header
        # Flux per pixel, so that sums are kept.
        before = [image.data[14:30, 14:30].sum() for image in field.values()]
        after = hdus["DATA"].data[:, 28:60, 28:60].sum(axis=(1, 2))
        assert_allclose(after, before, rtol=0.05)


def test_stack_of_bands_is_written_as_the_bands_are(enhanced, tmp_path):
    _, sharp = enhanced
    meta = {"BANDS": "g,r", **{f"SRFWHM{k}": 1.1 for k in (1, 2)}, "SRSKY1": 0.5, "SRSKY2": 0.25}
    images = sharp.values()
    stack = NDData(
        np.stack([image.data for image in images]),
        unit=FLUX,
        wcs=sharp["g"].wcs,
        mask=np.stack([image.mask for image in images]),
        uncertainty=StdDevUncertainty(np.stack([image.uncertainty.array for image in images])),
        meta=meta | {"QUALITY": np.stack([image.flags for image in images])},
    )
    path = write_cube(stack, tmp_path / "stack.fits")
    back = read_bands(path)
    for band, image in sharp.items():
        for part in ("data", "mask", "flags"):
            assert_array_equal(getattr(back[band], part), getattr(image, part))
        assert_array_equal(back[band].uncertainty.array, image.uncertainty.array)
    assert [back[band].meta["SRSKY"] for band in "gr"] == [0.5, 0.25]
    assert_array_equal(fits.getdata(path, "METADATA")["PSFFWHM"], 1.1)


def image_of(unit=FLUX, shape=(4, 6), **options):
    return CCDData(np.ones(shape), unit=unit, **options)


def test_other_units_of_flux_per_wavelength_are_converted(tmp_path):
    images = {"r": image_of("W / (m2 um)", uncertainty=VarianceUncertainty(np.full((4, 6), 4.0)))}
    back = read_bands(write_cube(images, tmp_path / "cube.fits"))["r"]
    assert_allclose(back.data, 0.1)
    assert_allclose(back.uncertainty.array, 0.2)


@pytest.mark.parametrize(
    ("result", "kind", "words"),
    [
        ([1], TypeError, "result must be a mapping"),
        ({"r": np.ones((4, 6))}, TypeError, r"result\['r'\] must be an NDData; got ndarray"),
        ({}, ValueError, "bands must be among those of result"),
        ({"r": image_of("adu")}, ValueError, "must be a flux per wavelength.*got adu"),
        ({"V": image_of()}, ValueError, "bands of S-PLUS alone.*'V'"),
        (image_of(), ValueError, "bands of S-PLUS alone"),
        ({"r": image_of(shape=(2, 4, 6))}, ValueError, r"must have shape \(ny, nx\)"),
        ({"r": image_of(), "i": image_of(shape=(4, 5))}, GridMismatchError, "one pixel grid"),
        (
            {"r": image_of(), "i": image_of(uncertainty=StdDevUncertainty(np.ones((4, 6))))},
            ValueError,
            r"got none for \['r'\]",
        ),
    ],
)
def test_what_makes_no_cube_leaves_no_file(tmp_path, result, kind, words):
    with pytest.raises(kind, match=f"(?s){words}"):
        write_cube(result, tmp_path / "cube.fits")
    assert not list(tmp_path.iterdir())


def test_a_cube_is_not_overwritten_unasked(cube):
    before = cube.read_bytes()
    with pytest.raises(FileExistsError):
        write_cube({"r": image_of()}, cube)
    assert cube.read_bytes() == before
    assert list(read_bands(write_cube({"r": image_of()}, cube, overwrite=True))) == ["r"]


def test_small_errors_are_not_squared():
    """In single precision their squares would be 0."""
    image = image_of(uncertainty=StdDevUncertainty(np.full((4, 6), 1e-23, np.float32)))
    assert_array_equal(uncertainty_array(image, StdDevUncertainty), np.float32(1e-23))


def test_twelve_bands_fit_the_cards_that_name_them(tmp_path):
    """Without a warning, which would be an error here, of a comment that has no room."""
    field = {band: image_of() for band in ALL_BANDS}
    for image in field.values():
        add_provenance(image.meta, {"bands": ",".join(ALL_BANDS)})
    for path in (
        write_cube(field, tmp_path / "cube.fits"),
        write_bands(tmp_path / "bands.fits", field),
    ):
        assert list(read_bands(path)) == list(ALL_BANDS)


def test_bands_from_elsewhere_get_their_wavelengths(tmp_path):
    image = CCDData(np.full((4, 6), 2e-18), unit="erg / (Angstrom s cm2)")
    path = write_cube({"F660": image, "rSDSS": image}, tmp_path / "cube.fits")
    table = Table.read(path, "METADATA")
    assert table["PIVOTWAVE"].unit == u.AA
    assert_allclose(table["PIVOTWAVE"], [6614, 6252], atol=1)
    again = Table.read(write_cube(read_bands(path), tmp_path / "again.fits"), "METADATA")
    assert again.colnames == table.colnames
    assert_array_equal(again["PIVOTWAVE"], table["PIVOTWAVE"])
