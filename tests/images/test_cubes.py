# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cubes in the layout of S-Cubes: read and written."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import read_bands
from splus_srgan.images.header import psf_from_header

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
