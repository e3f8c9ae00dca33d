# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Reading of survey files as they are in the wild, and writing of results."""

import errno
import gzip
import os
import resource
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.utils.exceptions import AstropyUserWarning
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.exceptions import GridMismatchError, SplusSrganWarning
from splus_srgan.images.bands import describe_plane
from splus_srgan.images.grid import grid_shift
from splus_srgan.images.header import psf_from_header
from splus_srgan.images.io.fields import (
    add_provenance,
    check_writable,
    provenance_cards,
    read_bands,
    write_bands,
)
from splus_srgan.images.unpack import unpack

NOISE = np.random.default_rng(0).normal(size=(24, 32)).astype(np.float32)


def make_header(band="R", *, shift=0.0, splus=True, **cards):
    """A header like those of S-PLUS: CD matrix, half-integer CRPIX, HIERARCH cards, no BUNIT."""
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"], header["CUNIT2"] = "deg", "deg"
    header["CRVAL1"], header["CRVAL2"] = 26.37931041670, -29.575695
    header["CRPIX1"], header["CRPIX2"] = 3218.228759765625 + shift, -4724.910888671875
    header["CD1_1"], header["CD1_2"] = -1.527777777778e-04, 0.0
    header["CD2_1"], header["CD2_2"] = 0.0, 1.527777777778e-04
    header["MJD-OBS"] = 58785.0
    header["OBJECT"] = "SPLUS-s23s18"
    header["PIXSCALE"] = 0.55
    if splus:
        header["INSTRUME"] = "T80Cam"
        header["HIERARCH OAJ PRO FWHMMEAN"] = (1.535, "PSFex FWHM")
        header["HIERARCH OAJ PRO FWHMBETA"] = 2.79
        header["HIERARCH OAJ PRO Ellipmean"] = 0.0034
    if band:
        header["FILTER"] = band
    header.add_comment("Propagated FITS keywords")
    header.add_blank("STATS 2019-12-09T18:52:24.756160")
    header.update(cards)
    return header


def make_file(path, band="R", data=NOISE, **options):
    fits.PrimaryHDU(data, make_header(band, **options)).writeto(path)
    return path


def make_field(bands="gr", **options):
    wcs = WCS(make_header())
    return {
        band: CCDData(NOISE + i, unit="adu", wcs=wcs, meta=make_header(band), **options)
        for i, band in enumerate(bands)
    }


pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")


# Files as they are


def test_planes_of_a_cube_of_twelve_bands_keep_no_list_of_bands():
    meta = fits.Header({"NAXIS3": 12, "BANDS": "ugriz"} | {f"BAND{k}": "r" for k in range(12)})
    meta["BANDWID"] = 1400.0
    describe_plane(meta, "r")
    assert dict(meta) == {"BANDWID": 1400.0, "BAND": "r"}


def test_splus_file(tmp_path):
    image = read_bands(make_file(tmp_path / "r.fits"))["r"]
    assert isinstance(image, CCDData)
    assert image.data.dtype == np.dtype("=f4")
    assert_array_equal(image.data, NOISE)
    assert image.unit == u.adu
    assert image.mask is None
    assert_allclose(image.wcs.wcs.crpix, [3218.228759765625, -4724.910888671875], rtol=0)
    assert psf_from_header(image.meta) == (1.535, 2.79)
    assert image.meta["OBJECT"] == "SPLUS-s23s18"
    assert "CD1_1" not in image.meta


def test_compressed_file_with_the_image_in_hdu_1(tmp_path):
    hdu = fits.CompImageHDU(
        NOISE, make_header("Z"), compression_type="RICE_1", quantize_level=-1e-3, dither_seed=1
    )
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "z.fits.fz")
    image = read_bands(tmp_path / "z.fits.fz")["z"]
    assert_allclose(image.data, NOISE, atol=2e-3)
    assert image.unit == u.adu
    assert image.meta["OAJ PRO FWHMMEAN"] == 1.535


def test_gzip(tmp_path):
    make_file(tmp_path / "r.fits")
    (tmp_path / "r.fits.gz").write_bytes(gzip.compress((tmp_path / "r.fits").read_bytes()))
    assert_array_equal(read_bands(tmp_path / "r.fits.gz")["r"].data, NOISE)


@pytest.mark.parametrize("dtype", [">f4", "<f8", "i2", "u2", "i4", "u1"])
def test_kinds_of_pixels(tmp_path, dtype):
    data = np.arange(24 * 32).reshape(24, 32).astype(dtype)
    image = read_bands(make_file(tmp_path / "r.fits", data=data))["r"]
    assert image.data.dtype == np.dtype("=f4")
    assert_array_equal(image.data, data)


def test_scaled_integers_with_blank(tmp_path):
    hdu = fits.PrimaryHDU(np.arange(24 * 32, dtype="i2").reshape(24, 32), make_header())
    hdu.header["BLANK"] = 5
    hdu.writeto(tmp_path / "r.fits")
    raw = (tmp_path / "r.fits").read_bytes()
    card = f"{'BSCALE':8}= {0.5:>20}".ljust(80) + f"{'BZERO':8}= {10.0:>20}".ljust(80)
    at = raw.index(b"PIXSCALE")
    raw = raw[:at] + card.encode() + raw[at + 160 :]
    (tmp_path / "r.fits").write_bytes(raw)
    image = read_bands(tmp_path / "r.fits", unit="adu")["r"]
    assert image.data[0, 4] == 12.0
    assert np.isnan(image.data[0, 5])
    assert unpack(image, bands="r").mask.sum() == 1
    for key in ("BSCALE", "BZERO", "BLANK"):
        assert key not in image.meta


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize(
    ("dtype", "zero", "blank"),
    [
        ("i2", 0, -7),
        ("i2", 32768, -32768),
        ("i2", 32768, 5),
        ("i4", 2147483648, -2147483648),
        ("i2", 0, 0),
        ("i2", 10.5, 0),
        ("i2", 32768, 0),
    ],
)
def test_blank_of_any_integers_is_missing(tmp_path, dtype, zero, blank, compressed):
    stored = np.arange(1000, 1768, dtype=dtype).reshape(24, 32)
    stored[2:4, 5] = blank
    header = make_header()
    header["BLANK"], header["SCALED1"], header["SCALED2"] = blank, 0, 0
    if compressed:
        hdus = [fits.PrimaryHDU(), fits.CompImageHDU(stored, header, compression_type="RICE_1")]
    else:
        hdus = [fits.PrimaryHDU(stored, header)]
    path = tmp_path / "r.fits"
    fits.HDUList(hdus).writeto(path)
    # Astropy would write the scale along with scaled pixels.
    raw = path.read_bytes()
    at = raw.index(b"SCALED1 =")
    cards = f"{'BSCALE':8}= {1:>20}".ljust(80) + f"{'BZERO':8}= {zero:>20}".ljust(80)
    path.write_bytes(raw[:at] + cards.encode() + raw[at + 160 :])
    data = read_bands(path)["r"].data
    expected = np.where(stored == blank, np.nan, stored + float(zero))
    assert_array_equal(data, expected.astype(np.float32))


def test_masked_border(tmp_path):
    data = NOISE.copy()
    data[:3] = 0
    mask = read_bands(make_file(tmp_path / "r.fits", data=data))["r"].mask
    assert mask[:3].all()
    assert not mask[3:].any()


def test_zeros_of_integers_are_values(tmp_path):
    data = np.zeros((24, 32), dtype="i2")
    assert read_bands(make_file(tmp_path / "r.fits", data=data))["r"].mask is None


def test_nan_and_inf_are_left_to_unpack(tmp_path):
    data = NOISE.copy()
    data[5, 5], data[6, 6] = np.nan, np.inf
    field = read_bands(make_file(tmp_path / "r.fits", data=data))
    assert unpack(field).mask.sum() == 2


@pytest.mark.parametrize("value", [np.nan, 0.0])
def test_band_without_pixels_is_read_and_then_refused(tmp_path, value):
    field = read_bands(make_file(tmp_path / "r.fits", data=np.full((24, 32), value)))
    with pytest.raises(ValueError, match="band 'r' has no valid pixel"):
        unpack(field)


def test_one_pixel(tmp_path):
    field = read_bands(make_file(tmp_path / "r.fits", data=np.ones((1, 1))))
    assert unpack(field).data.shape == (1, 1, 1)


def test_leading_axes_of_length_one_are_dropped(tmp_path):
    data = NOISE[np.newaxis, np.newaxis]
    assert read_bands(make_file(tmp_path / "r.fits", data=data))["r"].shape == NOISE.shape


# Legacy Surveys


def legacy_header(**cards):
    cards = {"SURVEY": "DECaLS", "IMAGETYP": "image", **cards}
    return make_header(None, splus=False, **cards)


def test_legacy_cube(tmp_path):
    cube = np.stack([NOISE, NOISE + 1, NOISE + 2])
    cube[2, 0, :20] = 0
    header = legacy_header(BANDS="grz", BAND0="g", BAND1="r", BAND2="z")
    fits.PrimaryHDU(cube, header).writeto(tmp_path / "cube.fits")
    field = read_bands(tmp_path / "cube.fits")
    assert list(field) == ["g", "r", "z"]
    assert_array_equal(field["r"].data, NOISE + 1)
    assert field["r"].unit == u.nmgy
    assert field["r"].wcs.naxis == 2
    assert field["z"].mask.sum() == 20
    assert unpack(field["g"]).bands == ("g",)
    assert list(read_bands(tmp_path / "cube.fits", bands=["z", "R"])) == ["z", "R"]
    with pytest.raises(ValueError, match=r"bands must be among .*cube.fits \(r\).*; got 'i'"):
        read_bands(tmp_path / "cube.fits", bands="i")


def test_legacy_single_band_and_its_weights(tmp_path):
    invvar = np.ones_like(NOISE)
    invvar[2, 3] = 0
    hdus = [
        fits.PrimaryHDU(NOISE, legacy_header(BANDS="r", BAND0="r")),
        fits.ImageHDU(invvar, legacy_header(IMAGETYP="invvar", BANDS="r", BAND0="r")),
        fits.ImageHDU(NOISE.astype("i2"), legacy_header(IMAGETYP="maskbits")),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "r.fits")
    field = read_bands(tmp_path / "r.fits")
    assert list(field) == ["r"]
    assert np.argwhere(field["r"].mask).tolist() == [[2, 3]]


def native_cutout(path, bricks):
    hdus = [fits.PrimaryHDU(header=fits.Header([("IMAGETYP", "image")]))]
    for brick in bricks:
        for band in "gr":
            for kind in ("image", "invvar"):
                header = legacy_header(BAND=band, BRICK=brick, IMAGETYP=kind)
                hdus.append(fits.ImageHDU(NOISE**2 + 1, header))
    fits.HDUList(hdus).writeto(path)
    return path


def test_legacy_native_cutout(tmp_path):
    field = read_bands(native_cutout(tmp_path / "cutout.fits", ["0591m305"]))
    assert list(field) == ["g", "r"]
    path = native_cutout(tmp_path / "several.fits", ["0591m305", "0594m305"])
    with pytest.raises(
        ValueError, match=r"native pixels from several bricks \(0591m305, 0591m305, 0"
    ):
        read_bands(path)
    assert list(read_bands(path, hdu=7)) == ["r"]


# Several files


def test_several_files_and_ways_to_name_them(tmp_path):
    paths = [make_file(tmp_path / f"{band}.fits", band) for band in ("G", "rSDSS", "F660")]
    assert list(read_bands(paths)) == ["g", "r", "J0660"]
    assert list(read_bands(map(str, paths))) == ["g", "r", "J0660"]
    assert list(read_bands(paths, bands=("F660", "G"))) == ["F660", "G"]
    assert list(read_bands(paths, bands="F660, G")) == ["F660", "G"]
    assert list(read_bands(paths, bands="rg")) == ["r", "g"]
    assert list(read_bands({"R": paths[1], "G": paths[0]})) == ["R", "G"]
    unnamed = make_file(tmp_path / "x.fits", None)
    assert list(read_bands({"i": unnamed})) == ["i"]
    with pytest.raises(ValueError, match=r"x.fits does not say its band .*read_bands\({'r': "):
        read_bands(unnamed)


def test_bands_name_files_whose_headers_do_not(tmp_path):
    red = make_file(tmp_path / "red.fits", "R", data=NOISE + 1)
    paths = [make_file(tmp_path / f"{i}.fits", None, data=NOISE + i) for i in (2, 3)]
    opened = [make_file(tmp_path / f"{i}.fits", "OPEN", data=NOISE + i) for i in (4, 5)]
    for files, bands, values in (
        (paths[0], "i", [2]),
        (paths, ["z", "i"], [2, 3]),
        ([paths[1], red], ["g", "r"], [3, 1]),
        (opened, ("B", "V"), [4, 5]),
        ([red, opened[0]], ["OPEN", "r"], [4, 1]),
    ):
        field = read_bands(files, bands=bands)
        assert list(field) == list(bands)
        for image, value in zip(field.values(), values, strict=True):
            assert_array_equal(image.data, NOISE + np.float32(value))
    with pytest.raises(ValueError, match=r"red.fits: band 'g' must be what its header says, 'r'"):
        read_bands([paths[1], red], bands=["r", "g"])
    with pytest.raises(ValueError, match=r"2.fits does not say its band .* give bands= with"):
        read_bands([*paths, red], bands=["i", "r"])
    with pytest.raises(ValueError, match=r"each band may occur once; got 'i' and 'I'"):
        read_bands(paths, bands=["i", "I"])


def test_band_missing_twice_or_wrong(tmp_path):
    one, two = (make_file(tmp_path / name, "R") for name in ("one.fits", "two.fits"))
    with pytest.raises(
        ValueError, match=r"occur once; got '.*one.fits' and '.*two.fits' for .* 'r'"
    ):
        read_bands([one, two])
    with pytest.raises(ValueError, match=r"bands must be among those in the files, .*one.fits"):
        read_bands([one], bands=["r", "z"])
    with pytest.raises(ValueError, match=r"one.fits: band 'g' must be what its header says, 'r'"):
        read_bands({"g": one})
    cube = tmp_path / "cube.fits"
    fits.PrimaryHDU(np.stack([NOISE, NOISE]), legacy_header(BANDS="gr")).writeto(cube)
    assert list(read_bands({"g": cube})) == ["g"]
    with pytest.raises(ValueError, match=r"paths\['z'\] must be a file with that band"):
        read_bands({"z": cube})
    with pytest.raises(ValueError, match="paths must name at least one file; got"):
        read_bands([])


def test_different_grids_name_the_files_and_match(tmp_path):
    good = make_file(tmp_path / "g.fits", "G")
    near = make_file(tmp_path / "i.fits", "I", shift=0.04)
    off = make_file(tmp_path / "r.fits", "R", shift=0.06)
    small = make_file(tmp_path / "z.fits", "Z", data=NOISE[:20])
    assert list(read_bands([good, near])) == ["g", "i"]
    with pytest.raises(GridMismatchError) as caught:
        read_bands([good, near, off, small])
    message = str(caught.value)
    assert "files must share one pixel grid, within 0.05 px; against" in message
    assert "g.fits (g)" in message
    assert "i.fits" not in message
    assert "r.fits (r) is 0.06 px off" in message
    assert "z.fits (z) has shape (20, 32) instead of (24, 32)" in message
    assert "splus_srgan.pairs.match" in message


# Calibration


def test_missing_wcs_is_none(tmp_path):
    header = make_header()
    for key in ("CTYPE1", "CTYPE2"):
        del header[key]
    fits.PrimaryHDU(NOISE, header).writeto(tmp_path / "r.fits")
    assert read_bands(tmp_path / "r.fits")["r"].wcs is None


def test_non_celestial_wcs_is_kept_for_unpack_to_refuse(tmp_path):
    path = make_file(tmp_path / "r.fits", CTYPE1="FREQ", CTYPE2="LINEAR", CUNIT1="Hz", CUNIT2="")
    field = read_bands(path)
    with pytest.raises(ValueError, match="must be celestial along x and y; got CTYPE"):
        unpack(field)


def test_contradictory_wcs_names_the_file(tmp_path):
    path = make_file(tmp_path / "r.fits", CTYPE2="RA---TAN")
    with pytest.raises(ValueError, match=r"r.fits has a WCS that cannot be understood"):
        read_bands(path)


def test_units(tmp_path):
    known = make_file(tmp_path / "a.fits", BUNIT="COUNTS/S")
    assert read_bands(known)["r"].unit == u.ct / u.s
    with pytest.raises(ValueError, match=r"unit must equal BUNIT of .*a.fits, ct / s; got adu"):
        read_bands(known, unit="adu")
    odd = make_file(tmp_path / "b.fits", BUNIT="furlong")
    with pytest.raises(ValueError, match=r"b.fits has the unknown unit BUNIT = 'furlong'; pass"):
        read_bands(odd)
    assert read_bands(odd, unit="adu")["r"].unit == u.adu
    none = make_file(tmp_path / "c.fits", splus=False)
    with pytest.raises(
        ValueError, match=r"c.fits has no BUNIT card and is no known .*; pass unit="
    ):
        read_bands(none)
    assert read_bands(none, unit=u.Jy)["r"].unit == u.Jy
    mar = make_file(tmp_path / "d.fits", splus=False, **{"HIERARCH MAR PRO FWHMMEAN": 1.2})
    assert read_bands(mar)["r"].unit == u.adu


LEGACY = ("DECaLS", "LegacySurvey", "MzLS", "MzLS+BASS", "ls-dr10-south", "DESI Legacy Surveys")


@pytest.mark.parametrize("survey", LEGACY)
def test_legacy_surveys_are_in_nanomaggies(tmp_path, survey):
    path = make_file(tmp_path / "r.fits", splus=False, SURVEY=survey)
    assert read_bands(path)["r"].unit == u.nmgy


@pytest.mark.parametrize(
    "survey", ["DES", "DES DR2", "DESI", "Medes", "WIDESURVEY", "CODES", "BASS", "SDSS legacy", ""]
)
def test_unit_of_other_surveys_must_be_given(tmp_path, survey):
    path = make_file(tmp_path / "r.fits", splus=False, SURVEY=survey)
    with pytest.raises(ValueError, match=r"r.fits has no BUNIT card and is no .*; pass unit="):
        read_bands(path)
    assert read_bands(path, unit="adu")["r"].unit == u.adu


# Files that are none


def test_file_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no.fits does not exist"):
        read_bands(tmp_path / "no.fits")
    with pytest.raises(IsADirectoryError, match="is a folder; give the FITS files in it"):
        read_bands(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_file_that_may_not_be_read(tmp_path):
    path = make_file(tmp_path / "r.fits")
    path.chmod(0)
    with pytest.raises(PermissionError, match=r"r.fits cannot be read: permission denied"):
        read_bands(path)


def test_permission_error_is_worded(tmp_path, monkeypatch):
    path = make_file(tmp_path / "r.fits")

    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(fits, "open", refuse)
    with pytest.raises(PermissionError, match=r"r.fits cannot be read: permission denied"):
        read_bands(path)


@pytest.mark.parametrize("kept", [0, 100, 2880, 6000, 7200, -1])
@pytest.mark.parametrize("packing", ["plain", "gzip", "tiles"])
def test_truncated_file(tmp_path, kept, packing):
    path = tmp_path / "r.fits"
    if packing == "tiles":
        hdu = fits.CompImageHDU(NOISE, make_header(), compression_type="GZIP_2", quantize_level=0)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    else:
        make_file(path)
    raw = path.read_bytes()
    raw = gzip.compress(raw, 0) if packing == "gzip" else raw
    # Of the last block only zeros could be missing, without harm; leave data out.
    raw = raw[: len(raw) - 2881] if kept == -1 else raw[:kept]
    path.write_bytes(raw)
    with pytest.raises((OSError, ValueError), match=r"r.fits (cannot be read as FITS|has no HDU)"):
        read_bands(path)


def test_answer_of_a_service_in_plain_text(tmp_path):
    (tmp_path / "r.fits").write_text("no such layer")
    with pytest.raises(OSError, match=r"cannot be read as FITS: .*it begins with b'no such layer'"):
        read_bands(tmp_path / "r.fits")


def test_file_without_image(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "t.fits")
    with pytest.raises(ValueError, match=r"t.fits has no HDU with image data"):
        read_bands(tmp_path / "t.fits")


def test_image_with_a_wrong_number_of_axes(tmp_path):
    with pytest.raises(ValueError, match=r"must have an image \(ny, nx\) or .*; got \(7,\)"):
        read_bands(make_file(tmp_path / "a.fits", data=np.ones(7)))
    with pytest.raises(
        ValueError, match=r"has 2 planes and must name them in a BANDS card; got None"
    ):
        read_bands(make_file(tmp_path / "b.fits", data=np.ones((2, 5, 6))))


def test_several_candidates_are_listed(tmp_path):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(NOISE, make_header(), name=n) for n in ("A", "B"))]
    fits.HDUList(hdus).writeto(tmp_path / "r.fits")
    with pytest.raises(
        ValueError, match=r"2 images .* by hdu=: 1 A \(24x32\) FILTER=R; 2 B \(24x32\)"
    ):
        read_bands(tmp_path / "r.fits")
    assert list(read_bands(tmp_path / "r.fits", hdu="b")) == ["r"]
    assert list(read_bands(tmp_path / "r.fits", hdu=1)) == ["r"]
    with pytest.raises(ValueError, match=r"hdu must be an image of .*: 1 A .*; got 0"):
        read_bands(tmp_path / "r.fits", hdu=0)


def test_what_ccddata_writes_is_read_whole(tmp_path):
    mask = NOISE > 1
    image = make_field("r", mask=mask, psf=np.eye(3), uncertainty=InverseVariance(NOISE**2))["r"]
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del image.meta[key]
    image.write(tmp_path / "r.fits")
    back = read_bands(tmp_path / "r.fits")["r"]
    assert_array_equal(back.data, image.data)
    assert_array_equal(back.mask, mask)
    assert_array_equal(back.psf, np.eye(3))
    assert isinstance(back.uncertainty, InverseVariance)


@pytest.mark.parametrize("psf", [np.eye(3), np.arange(27.0).reshape(3, 3, 3)])
def test_cube_that_ccddata_writes_is_read_whole(tmp_path, psf):
    data = np.stack([NOISE, NOISE + 1, NOISE + 2])
    std = StdDevUncertainty(np.abs(data))
    image = CCDData(data, unit="adu", mask=data > 1, psf=psf, uncertainty=std)
    image.meta["BANDS"] = "grz"
    image.write(tmp_path / "grz.fits")
    field = read_bands(tmp_path / "grz.fits")
    assert list(field) == ["g", "r", "z"]
    for i, back in enumerate(field.values()):
        assert_array_equal(back.data, data[i])
        assert_array_equal(back.mask, data[i] > 1)
        assert_array_equal(back.uncertainty.array, np.abs(data[i]))
        assert_array_equal(back.psf, np.broadcast_to(psf, (3, 3, 3))[i])


def test_planes_that_do_not_fit_the_image_name_the_file(tmp_path):
    cube = fits.PrimaryHDU(np.stack([NOISE, NOISE]), make_header(None, BANDS="gr", BUNIT="adu"))
    mask = fits.ImageHDU(np.zeros((3, 24, 32), "u1"), name="MASK")
    fits.HDUList([cube, mask]).writeto(tmp_path / "gr.fits")
    message = r"gr.fits must have MASK in the shape of its image, \(2, 24, 32\); got \(3, 24, 32\)"
    with pytest.raises(ValueError, match=message):
        read_bands(tmp_path / "gr.fits")
    assert list(read_bands(tmp_path / "gr.fits", hdu=0)) == ["g", "r"]


def test_leading_axes_of_length_one_are_dropped_from_the_mask_too(tmp_path):
    cube = NOISE[np.newaxis, np.newaxis]
    hdus = [fits.PrimaryHDU(cube, make_header()), fits.ImageHDU(cube.astype("i4"), name="MASK")]
    fits.HDUList(hdus).writeto(tmp_path / "r.fits")
    assert_array_equal(read_bands(tmp_path / "r.fits")["r"].mask, NOISE.astype("i4") != 0)


# Writing


def test_field_comes_back_the_same(tmp_path):
    mask = NOISE > 1
    field = make_field("gr", mask=mask, psf=np.eye(5) / 5, flags=mask.astype("u1") * 3)
    field["r"].uncertainty = StdDevUncertainty(np.abs(NOISE))
    field["g"].mask = None
    path = write_bands(tmp_path / "field.fits", field)
    with fits.open(path) as hdus:
        names = [(hdu.name, hdu.ver, hdu.header.get("BAND")) for hdu in hdus]
    assert names == [
        ("PRIMARY", 1, None),
        *((name, 1, "g") for name in ("SCI", "DQ", "PSF")),
        *((name, 2, "r") for name in ("SCI", "ERR", "DQ", "BPM", "PSF")),
    ]
    back = read_bands(path)
    assert list(back) == ["g", "r"]
    assert back["g"].mask is None
    assert_array_equal(back["r"].mask, mask)
    assert_array_equal(back["r"].uncertainty.array, np.abs(NOISE))
    assert isinstance(back["r"].uncertainty, StdDevUncertainty)
    for band, image in field.items():
        assert_array_equal(back[band].data, image.data)
        assert_array_equal(back[band].flags, image.flags)
        assert_array_equal(back[band].psf, image.psf)
        assert back[band].unit == u.adu
        assert grid_shift(image.wcs, back[band].wcs, image.shape) < 1e-9
        assert back[band].meta["OAJ PRO Ellipmean"] == 0.0034


@pytest.mark.parametrize(
    ("kind", "unit"),
    [
        (StdDevUncertainty, "mJy"),
        (VarianceUncertainty, "mJy2"),
        (InverseVariance, "1 / mJy2"),
        (StdDevUncertainty, "Jy"),
    ],
)
def test_uncertainty_is_written_in_the_unit_of_the_image(tmp_path, kind, unit):
    given = u.Quantity(NOISE**2, unit)
    image = CCDData(NOISE, unit="Jy", uncertainty=kind(given.value, unit=unit))
    back = read_bands(write_bands(tmp_path / "r.fits", {"r": image}))["r"].uncertainty
    assert isinstance(back, kind)
    assert_allclose(back.array, given.to_value(back.unit), rtol=1e-6)
    assert_array_equal(image.uncertainty.array, given.value)


def test_uncertainty_of_unknown_kind_is_written_as_it_is(tmp_path):
    image = CCDData(NOISE, unit="Jy")
    image.uncertainty = UnknownUncertainty(NOISE**2)
    back = read_bands(write_bands(tmp_path / "r.fits", {"r": image}))["r"].uncertainty
    assert isinstance(back, UnknownUncertainty)
    assert_array_equal(back.array, NOISE**2)


def test_file_is_sound(tmp_path):
    field = make_field("grz", mask=NOISE > 1)
    path = write_bands(tmp_path / "field.fits", field)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with fits.open(path, checksum=True) as hdus:
            hdus.verify("exception")
            for hdu in hdus:
                assert hdu.verify_checksum() == hdu.verify_datasum() == 1
            assert [hdu.name for hdu in hdus][::2] == ["PRIMARY", "BPM", "BPM", "BPM"]


def test_header_keeps_every_card(tmp_path):
    before = make_header("r")
    path = write_bands(tmp_path / "field.fits", make_field("r"))
    after = fits.getheader(path, "SCI")
    for card in before.cards:
        assert card.keyword in after
        if card.keyword not in ("COMMENT", ""):
            assert after[card.keyword] == card.value
    assert "Propagated FITS keywords" in str(after["COMMENT"])
    assert "STATS 2019" in str(after[""])
    assert after.comments["OAJ PRO FWHMMEAN"] == "PSFex FWHM"
    assert "PC1_1" not in after
    assert after["BUNIT"] == "adu"


def test_wcs_wins_over_stale_cards(tmp_path):
    field = make_field("r")
    field["r"].meta["A_ORDER"], field["r"].meta["A_2_0"] = 2, 1e-5
    field["r"].wcs.wcs.crpix = [1.25, 2.5]
    after = fits.getheader(write_bands(tmp_path / "r.fits", field), "SCI")
    assert (after["CRPIX1"], after["CRPIX2"]) == (1.25, 2.5)
    assert "A_ORDER" not in after


@pytest.mark.parametrize("matrix", ["CDELT", "CD"])
def test_image_with_four_axes_of_wcs_is_written_with_two(tmp_path, matrix):
    axes = [("RA---SIN", 10, -1.5e-4), ("DEC--SIN", -30, 1.5e-4), ("FREQ", 1.4e9, 1e6)]
    header = fits.Header({"FILTER": "R", "BUNIT": "Jy/beam"})
    for i, (ctype, value, step) in enumerate([*axes, ("STOKES", 1, 1)], 1):
        header[f"CTYPE{i}"], header[f"CRVAL{i}"], header[f"CRPIX{i}"] = ctype, value, 1.0
        header[f"CDELT{i}" if matrix == "CDELT" else f"CD{i}_{i}"] = step
    fits.PrimaryHDU(NOISE[np.newaxis, np.newaxis], header).writeto(tmp_path / "r.fits")
    field = read_bands(tmp_path / "r.fits")
    after = fits.getheader(write_bands(tmp_path / "out.fits", field), "SCI")
    assert WCS(after).naxis == after["NAXIS"] == 2
    expected = WCS(header).celestial.pixel_to_world(7, 5)
    assert WCS(after).pixel_to_world(7, 5).separation(expected).arcsec < 1e-6


def test_rotated_pc_and_sip_wcs_survive(tmp_path):
    header = fits.Header(
        {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 359.99, "CRVAL2": -60.0}
    )
    header.update({"CRPIX1": 10.123456789012, "CRPIX2": 7.0, "CDELT1": -1.5e-4, "CDELT2": 1.5e-4})
    header.update({"PC1_1": 0.8, "PC1_2": -0.6, "PC2_1": 0.6, "PC2_2": 0.8})
    header.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_1_1": -2e-5})
    wcs = WCS(header)
    field = {"r": CCDData(NOISE, unit="adu", wcs=wcs)}
    back = read_bands(write_bands(tmp_path / "r.fits", field))["r"].wcs
    assert back.sip.a_order == 2
    x, y = np.random.default_rng(0).uniform(0, 24, size=(2, 1000))
    there = back.all_world2pix(*wcs.all_pix2world(x, y, 0), 0, tolerance=1e-8)
    assert_allclose(there, [x, y], atol=1e-6)


def test_lookup_table_distortion_is_refused(tmp_path):
    field = make_field("r")
    from astropy.wcs import DistortionLookupTable

    table = DistortionLookupTable(np.zeros((2, 2), dtype=np.float32), (1, 1), (1, 1), (1, 1))
    field["r"].wcs.cpdis1 = table
    with pytest.raises(ValueError, match="wcs must have no lookup-table distortion"):
        write_bands(tmp_path / "r.fits", field)
    assert list(tmp_path.iterdir()) == []


def test_plain_nddata_and_gzip(tmp_path):
    meta = {"QUALITY": np.ones(NOISE.shape, dtype="u1"), "a long keyword": 1, "BAD": np.nan}
    meta |= {"NUMBER": np.float32(2), "NOTHING": None, "HISTORY": ["one", "two"]}
    path = write_bands(tmp_path / "r.fits.gz", {"r": NDData(NOISE, meta=meta)})
    assert path.read_bytes().startswith(b"\x1f\x8b")
    back = read_bands(path)["r"]
    assert back.unit == u.dimensionless_unscaled
    assert back.flags.all()
    assert back.meta["a long keyword".upper()] == 1
    assert back.meta["BAD"] == "nan"
    assert back.meta["NUMBER"] == 2
    assert list(back.meta["HISTORY"]) == ["one", "two"]


def test_what_no_card_can_hold_is_warned_of(tmp_path):
    field = {"r": NDData(NOISE, meta={"LIST": [1, 2]})}
    with pytest.warns(SplusSrganWarning, match=r"meta\['LIST'\] cannot be written as a FITS card"):
        write_bands(tmp_path / "r.fits", field)


@pytest.mark.parametrize(
    "card", ["BROKEN  = 'value    ", "BRO$EN  = 1", "BROKEN  = 1,5 apples", "BROKEN  =\x07"]
)
def test_unreadable_card_of_the_input_does_not_stop_the_output(tmp_path, card):
    path = make_file(tmp_path / "r.fits", PLACE="here")
    raw = path.read_bytes()
    at = raw.index(b"PLACE   =")
    path.write_bytes(raw[:at] + card.encode().ljust(80) + raw[at + 80 :])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyUserWarning)
        field = read_bands(path)
        out = write_bands(tmp_path / "out.fits", field)
    with fits.open(out, checksum=True) as hdus:
        hdus.verify("exception")
        assert card[:6] in str(hdus["SCI"].header)
        assert hdus["SCI"].header["OBJECT"] == "SPLUS-s23s18"


def test_file_that_appears_meanwhile_is_kept(tmp_path, monkeypatch):
    path, write = tmp_path / "field.fits", fits.HDUList.writeto

    def slow(self, name, *args, **kwargs):
        write(self, name, *args, **kwargs)
        path.write_text("precious")

    monkeypatch.setattr(fits.HDUList, "writeto", slow)
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        write_bands(path, make_field())
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


def test_odd_names_and_fields_are_refused(tmp_path):
    path = tmp_path / "x.fits"
    with pytest.raises(TypeError, match="field must be a mapping of band to CCDData; got CCDData"):
        write_bands(path, make_field()["g"])
    with pytest.raises(ValueError, match="field must hold at least one band"):
        write_bands(path, {})
    with pytest.raises(ValueError, match="each band may occur once; got 'x' and 'X'"):
        write_bands(path, {"x": NDData(NOISE), "X": NDData(NOISE)})
    for name in (" r", "r ", "\N{GREEK SMALL LETTER BETA}", "r\n"):
        with pytest.raises(ValueError, match=r"names of bands in a file must be printable ASCII"):
            write_bands(path, {name: NDData(NOISE)})
    with pytest.raises(ValueError, match=r"band 'r' must have shape \(ny, nx\); got \(1, 24, 32\)"):
        write_bands(path, {"r": NDData(NOISE[np.newaxis])})
    assert not path.exists()


# Where to write


def test_existing_file_is_kept_unless_told(tmp_path):
    path = tmp_path / "field.fits"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match=r"field.fits exists; pass overwrite=True to replace"):
        write_bands(path, make_field())
    assert path.read_text() == "precious"
    assert write_bands(path, make_field(), overwrite=True) == path
    assert list(read_bands(path)) == ["g", "r"]
    assert list(tmp_path.iterdir()) == [path]


def test_places_that_cannot_be_written(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"the folder .*nowhere does not exist"):
        check_writable(tmp_path / "nowhere" / "x.fits")
    (tmp_path / "folder.fits").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder; give the name of a file"):
        check_writable(tmp_path / "folder.fits")
    with pytest.raises(ValueError, match=r"path must end in .fits, .*; got '.*x.fits.bz2'"):
        check_writable(tmp_path / "x.fits.bz2")
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(PermissionError, match="is not writable; choose another"):
        check_writable(tmp_path / "x.fits")


def test_permissions_are_the_usual_ones_or_stay(tmp_path):
    path, usual = tmp_path / "field.fits", tmp_path / "usual"
    usual.touch()
    write_bands(path, make_field())
    assert path.stat().st_mode == usual.stat().st_mode
    path.chmod(0o640)
    write_bands(path, make_field(), overwrite=True)
    assert path.stat().st_mode & 0o777 == 0o640


def test_link_is_written_through(tmp_path):
    (tmp_path / "real").mkdir()
    target = write_bands(tmp_path / "real" / "a.fits", make_field("g"))
    link = tmp_path / "link.fits"
    link.symlink_to(target)
    write_bands(link, make_field("r"), overwrite=True)
    assert link.is_symlink()
    assert list(read_bands(target)) == ["r"]


@pytest.mark.parametrize("existing", [False, True])
def test_full_disk_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch, existing):
    path = tmp_path / "field.fits"
    if existing:
        path.write_text("precious")

    def half_written(self, name, *args, **kwargs):
        with open(name, "wb") as file:
            file.write(b"SIMPLE")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fits.HDUList, "writeto", half_written)
    with pytest.raises(
        OSError, match=r"field.fits could not be written .*No space.* left behind"
    ) as e:
        write_bands(path, make_field(), overwrite=existing)
    assert e.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == ([path] if existing else [])
    assert not existing or path.read_text() == "precious"


def test_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(self, name, *args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(fits.HDUList, "writeto", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_bands(tmp_path / "field.fits", make_field())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(signal, "SIGXFSZ"), reason="no limit on the size of files")
def test_real_limit_on_the_size_of_files(tmp_path):
    """The operating system itself refuses to write on, in the middle of the pixels."""
    script = (
        "import signal, resource, sys, numpy as np\n"
        "from astropy.nddata import CCDData\n"
        "from splus_srgan.images.io.fields import write_bands\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "image = CCDData(np.ones((400, 400)), unit='adu')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    write_bands(sys.argv[1], {'r': image}, overwrite=True)\n"
        "except OSError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "field.fits"
    path.write_text("precious")
    assert resource.RLIMIT_FSIZE is not None
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True
    )
    assert "field.fits could not be written" in done.stdout
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]


# Provenance


RECORD = {
    "model": "grz-1",
    "version": "0.1",
    "sha256": "0123456789abcdef" * 4,
    "stretch": "NoiseAsinhStretch",
    "softening": 3.0,
    "range": 8.0,
    "sky": np.float32(0.5),
    "sigma": float("nan"),
    "precision": "bfloat16",
    "block_size": (256, 256),
    "device": "cpu",
    "engine": "torch",
    "date": "2026-01-01T00:00:00",
    "factor": 2,
    "flux_per_pixel": True,
    "flux_anchor": None,
    "bands": ("g", "r"),
}


def test_provenance_has_short_keywords_and_the_whole_hash():
    cards = provenance_cards(RECORD)
    keys = [key for key, _, _ in cards]
    assert all(len(key) <= 8 for key in keys)
    assert "SRANCHOR" not in keys
    assert ("SRSHA256", "0123456789abcdef", "weights: sha256, first 16 digits") in cards
    assert ("SRBANDS", "g,r", "bands enhanced together") in cards
    with pytest.raises(ValueError, match=r"record must have only model, .*; got \['weather'\]"):
        provenance_cards({"weather": "fine"})


def test_provenance_is_written_common_and_per_band(tmp_path):
    field = make_field("gr")
    for sky, image in enumerate(field.values()):
        add_provenance(image.meta, {**RECORD, "sky": float(sky)})
    path = write_bands(tmp_path / "field.fits", field)
    primary = fits.getheader(path, 0)
    assert primary["SRMODEL"] == "grz-1"
    assert primary["SRPIXFLX"] is True
    assert "SRSKY" not in primary
    header = fits.getheader(path, "SCI", 2)
    assert header["SRSKY"] == 1.0
    assert header["SRSIGMA"] == "nan"
    assert f"sha256:{RECORD['sha256']}" in list(header["HISTORY"])


def test_provenance_in_a_dictionary():
    meta = {"HISTORY": "old"}
    add_provenance(meta, RECORD)
    assert meta["SRFACTOR"] == 2
    assert meta["HISTORY"] == ["old", f"sha256:{RECORD['sha256']}"]


@pytest.mark.parametrize("kind", [dict, fits.Header])
def test_what_is_not_known_now_does_not_stay_from_before(kind):
    meta = kind()
    add_provenance(meta, {"uncertainty": "generator", "turned": True, "correlation": {"r": 0.4}})
    assert meta["SRUNCERT"] == "generator"
    add_provenance(meta, {"uncertainty": None, "correlation": None, "sky": 1.0})
    assert set(meta) == {"SRTURNED", "SRSKY"}


# Real files


def check_real(paths, tmp_path):
    field = read_bands(paths)
    stack = unpack(field)
    assert np.isfinite(stack.data[~stack.mask]).all()
    path = write_bands(tmp_path / "out.fits", field)
    with fits.open(path, checksum=True) as hdus:
        hdus.verify("exception")
    back = read_bands(path)
    for band, image in field.items():
        assert_array_equal(back[band].data, image.data)
        assert_array_equal(back[band].mask, image.mask)
        assert image.unit == back[band].unit
        assert grid_shift(image.wcs, back[band].wcs, image.shape) < 1e-6
        path.unlink(missing_ok=True)
    return field, stack


@pytest.mark.realdata
def test_every_real_tile(real_data, tmp_path):
    tiles = [path for path in (real_data / "splus").iterdir() if path.is_dir()]
    for tile in tiles:
        if not list(tile.glob("*_[GR].fits*")):
            continue
        field, stack = check_real(sorted(tile.glob("*.fits*")), tmp_path)
        assert set(field) >= {"g", "r"}
        assert stack.unit == u.adu
        assert all(1 < psf_from_header(image.meta)[0] < 2.5 for image in field.values())
        # 37 to 40 rows of zeros, and what lies next to them without an exposure.
        blank = {"g": 50496, "r": 50496, "z": 48256} if tile.name == "SPLUS-s23s18" else {}
        masked = dict(zip(stack.bands, stack.mask.sum(axis=(1, 2)), strict=True))
        assert all(masked[band] == blank.get(band, 0) for band in field)


@pytest.mark.realdata
def test_every_real_stamp(real_data, tmp_path):
    for path in sorted((real_data / "splus" / "stamps_R").iterdir()):
        field, stack = check_real(path, tmp_path)
        assert list(field) == ["r"]
        assert stack.unit == (u.nmgy if path.name.endswith("-rep.fits") else u.adu)


@pytest.mark.realdata
def test_real_legacy_files(real_data, tmp_path):
    for path in sorted((real_data / "legacy").glob("decals_*.fits")):
        field, stack = check_real(path, tmp_path)
        assert list(field) == ["g", "r", "z"]
        assert stack.unit == u.nmgy
        assert stack.mask.sum() == (238 if path.name == "decals_d.fits" else 0)
    for path in (real_data / "legacy").glob("cutout_*.fits"):
        assert list(check_real(path, tmp_path)[0]) == ["g", "r", "z"]
    for path in (real_data / "legacy").glob("copsf_*.fits"):
        with pytest.raises(ValueError, match="has 3 images and none is obviously meant"):
            read_bands(path)
