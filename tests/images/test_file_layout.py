# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Files of bands, as other readers see them."""

import astropy
import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import (
    CCDData,
    InverseVariance,
    StdDevUncertainty,
    UnknownUncertainty,
    VarianceUncertainty,
)
from astropy.utils import minversion
from astropy.wcs import WCS
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import Quality, read_bands, write_bands
from splus_srgan.images.io.reserve import reserve_bands
from splus_srgan.images.quality import describe

ASTROPY_READS_FLAGS = minversion(astropy, "8.0")
NOISE = np.random.default_rng(5).normal(size=(12, 16)).astype(np.float32)


def make_wcs():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix = (59.1, -30.5), (8.5, 6.5)
    wcs.wcs.cd = np.diag([-7.6e-5, 7.6e-5])
    return wcs


def make_field(bands="grz", uncertainty=StdDevUncertainty):
    field = {}
    for k, band in enumerate(bands, 1):
        image = CCDData(
            k * NOISE,
            unit="adu",
            wcs=make_wcs(),
            mask=k * NOISE > 1.5,
            uncertainty=uncertainty(k + NOISE**2),
            psf=np.full((5, 5), 0.04, np.float32),
        )
        image.flags = np.uint8(Quality.EDGE) * (image.data < 0) + np.uint8(1) * image.mask
        image.meta["SRMODEL"] = "some"
        image.meta["SRFWHM"], image.meta["SRBETA"], image.meta["SRWING"] = 1.0, 3.0, 0.05
        field[band] = image
    return field


@pytest.fixture
def path(tmp_path):
    return write_bands(tmp_path / "field.fits", make_field())


def assert_same(one, other):
    assert_array_equal(one.data, other.data)
    assert_array_equal(one.mask, other.mask)
    assert_array_equal(one.flags, other.flags)
    assert_array_equal(one.psf, other.psf)
    assert_array_equal(one.uncertainty.array, other.uncertainty.array)
    assert type(one.uncertainty) is type(other.uncertainty)
    assert one.unit == other.unit
    assert_allclose(one.wcs.wcs.crpix, other.wcs.wcs.crpix)


def test_names_of_planes(path):
    with fits.open(path) as hdus:
        assert [hdu.name for hdu in hdus[1:]] == ["SCI", "ERR", "DQ", "BPM", "PSF"] * 3
        for hdu in hdus[1:]:
            assert hdu.header["BAND"] == "grz"[hdu.ver - 1]
            if hdu.name != "PSF":
                assert_allclose(WCS(hdu.header).wcs.crval, (59.1, -30.5))
        assert hdus["ERR", 3].header["BUNIT"] == "adu"


def test_bits_have_a_legend(path):
    header = fits.getheader(path, "DQ", 2)
    bits = {Quality[header[f"DQBIT{k}"]] for k in range(8)}
    assert bits == set(Quality)
    assert all(header[f"DQBIT{bit.bit_length() - 1}"] == describe(int(bit)) for bit in Quality)
    assert header.comments["DQBIT4"].startswith("value 16: ")


def test_no_legend_for_flags_of_others(tmp_path):
    field = make_field("r")
    del field["r"].meta["SRMODEL"]
    path = write_bands(tmp_path / "r.fits", field)
    assert "DQBIT0" not in fits.getheader(path, "DQ")


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
@pytest.mark.parametrize("number", [1, 2])
def test_astropy_reads_all(tmp_path, kind, number):
    field = make_field("gr", kind)
    path = write_bands(tmp_path / "field.fits", field)
    name = {StdDevUncertainty: "ERR", VarianceUncertainty: "VAR", InverseVariance: "IVAR"}[kind]
    image = CCDData.read(
        path,
        hdu=("SCI", number),
        hdu_uncertainty=(name, number),
        hdu_mask=("BPM", number),
        hdu_psf=("PSF", number),
        **({"hdu_flags": ("DQ", number)} if ASTROPY_READS_FLAGS else {}),
    )
    expected = list(field.values())[number - 1]
    if not ASTROPY_READS_FLAGS:
        expected.flags = None
    assert_same(image, expected)
    assert image.uncertainty.unit == u.adu ** {"ERR": 1, "VAR": 2, "IVAR": -2}[name]


def test_astropy_takes_any_remark_as_mask(path):
    image = CCDData.read(path, hdu=("SCI", 2), hdu_mask=("DQ", 2))
    assert_array_equal(image.mask, make_field()["r"].flags != 0)


def test_read_bands_gives_back_what_was_written(path):
    for band, image in read_bands(path).items():
        assert_same(image, make_field()[band])


@pytest.mark.parametrize("hdu", [("SCI", 2), "SCI,2", "sci, 2", 6])
def test_one_band_by_hdu_keeps_its_planes(path, hdu):
    (band,) = read_bands(path, hdu=hdu)
    assert band == "r"
    assert_same(read_bands(path, hdu=hdu)["r"], make_field()["r"])


@pytest.mark.parametrize("hdu", ["SCI", ("SCI", 4), "SCI,4", 99, ("SCI",), None])
def test_hdu_that_means_no_image_or_several(path, hdu):
    if hdu is None:
        assert list(read_bands(path, hdu=hdu)) == ["g", "r", "z"]
        return
    with pytest.raises(ValueError, match="hdu must be an image of"):
        read_bands(path, hdu=hdu)


def test_bands_in_an_order_of_their_own(tmp_path):
    path = write_bands(tmp_path / "field.fits", make_field("zgr"))
    with fits.open(path) as hdus:
        primary, *planes = list(hdus)
        fits.HDUList([primary, *planes[::-1]]).writeto(tmp_path / "turned.fits")
    for band, image in read_bands(tmp_path / "turned.fits").items():
        assert_same(image, make_field("zgr")[band])


def test_no_band_is_read_with_the_mask_of_another(path):
    for number in (1, 2, 3):
        assert CCDData.read(path, hdu=("SCI", number)).mask is None
    assert CCDData.read(path).mask is None


def test_pieces_make_the_same_file(tmp_path, path):
    field = make_field()
    with reserve_bands(tmp_path / "pieces.fits", field) as file:
        for part, planes in (
            ("SCI", [i.data for i in field.values()]),
            ("ERR", [i.uncertainty.array for i in field.values()]),
            ("DQ", [i.flags for i in field.values()]),
            ("BPM", [i.mask for i in field.values()]),
        ):
            for plane, pixels in zip(file.planes(part), planes, strict=True):
                plane[:, :] = pixels
    assert (tmp_path / "pieces.fits").read_bytes() == path.read_bytes()


def test_layout_of_before_is_read(tmp_path):
    hdus = [fits.PrimaryHDU(header=fits.Header({"SRBANDS": "g,r", "NEXTEND": 10}))]
    field = make_field("gr")
    for band, image in field.items():
        header = image.wcs.to_header()
        header["SRBAND"], header["BUNIT"] = band, "adu"
        hdus.append(fits.ImageHDU(image.data, header, name=f"SCI_{band}"))
        planes = {"MASK": image.mask.view("u1"), "QUALITY": image.flags}
        planes |= {"UNCERT": image.uncertainty.array, "PSF": image.psf}
        for name, plane in planes.items():
            hdus.append(fits.ImageHDU(plane, name=f"{name}_{band}"))
        hdus[-2].header["UTYPE"] = "StdDevUncertainty"
    fits.HDUList(hdus).writeto(tmp_path / "old.fits")
    read = read_bands(tmp_path / "old.fits")
    assert list(read) == ["g", "r"]
    for band, image in read.items():
        assert_same(image, field[band])
    assert_same(read_bands(tmp_path / "old.fits", hdu="sci_r")["r"], field["r"])
    hdus.pop(6)
    hdus[0].header["NEXTEND"] = 9
    fits.HDUList(hdus).writeto(tmp_path / "torn.fits")
    with pytest.raises(OSError, match=r"lacks the bands \['r'\]"):
        read_bands(tmp_path / "torn.fits")


def test_uncertainty_of_unknown_kind_is_no_standard_deviation(tmp_path):
    path = write_bands(tmp_path / "r.fits", make_field("r", UnknownUncertainty))
    with fits.open(path) as hdus:
        assert "ERR" not in hdus
    assert isinstance(read_bands(path)["r"].uncertainty, UnknownUncertainty)


def test_fitsio_reads_all(path):
    fitsio = pytest.importorskip("fitsio")
    image = make_field()["r"]
    with fitsio.FITS(path) as file:
        assert_array_equal(file["SCI", 2].read(), image.data)
        assert_array_equal(file["ERR", 2].read(), image.uncertainty.array)
        assert_array_equal(file["DQ", 2].read(), image.flags)
        assert_array_equal(file["BPM", 2].read(), image.mask)
        assert_array_equal(file["PSF", 2].read(), image.psf)
        header = file["SCI", 2].read_header()
    assert (header["BAND"], header["CRVAL1"], header["SRFWHM"]) == ("r", 59.1, 1.0)


def test_sep_takes_planes_as_they_are_read(path):
    sep = pytest.importorskip("sep")
    fitsio = pytest.importorskip("fitsio")
    with fitsio.FITS(path) as file:
        data, err, mask = (file[name, 3].read() for name in ("SCI", "ERR", "BPM"))
    flux, error, _ = sep.sum_circle(data, [8.0], [6.0], 3.0, err=err, mask=mask.astype(bool))
    image = make_field()["z"]
    other = sep.sum_circle(
        image.data, [8.0], [6.0], 3.0, err=image.uncertainty.array, mask=image.mask
    )
    assert_allclose((flux, error), other[:2], rtol=1e-6)
