# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Files that are odd, damaged, hostile or not there: right numbers or clear words."""

import gzip
import io
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from astropy.wcs import WCS, DistortionLookupTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from splus_srgan.exceptions import ChecksumWarning, SplusSrganWarning
from splus_srgan.images.grid import header_wcs
from splus_srgan.images.io import plausible
from splus_srgan.images.io.fields import read_bands, write_bands

CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRPIX1": 16.5,
    "CRPIX2": 16.5,
    "CRVAL1": 150.0,
    "CRVAL2": -30.0,
    "CD1_1": -1.5e-4,
    "CD2_2": 1.5e-4,
    "FILTER": "R",
    "BUNIT": "adu",
}


def file_bytes(extra=(), replaced=None, hdus=()):
    """A small FITS file whose first header is written card by card, unchecked."""
    rng = np.random.default_rng(1)
    data = rng.normal(size=(32, 32)).astype("f4")
    buffer = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(data, fits.Header(CARDS)), *hdus]).writeto(buffer)
    content = buffer.getvalue()
    end = content.index(b"END".ljust(80))
    start = -(-(end + 80) // 2880) * 2880
    cards = [content[i : i + 80].decode() for i in range(0, end, 80)]
    cards = [(replaced or {}).get(card[:8].rstrip(), card) for card in cards] + list(extra)
    header = "".join(card.ljust(80) for card in [*cards, "END"])
    return header.ljust(-(-len(header) // 2880) * 2880).encode() + content[start:]


def table():
    column = fits.Column("a", "J", array=np.arange(3))
    return fits.BinTableHDU.from_columns([column])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"extra": ["WCSAXES =                65536"]}, "WCSAXES of at least 0 and at most 9"),
        ({"extra": ["WCSAXESA=                   -1"]}, "WCSAXESA of at least 0"),
        ({"extra": ["LONPOLE =                    F"] * 36}, "a finite number as LONPOLE; got F"),
        ({"extra": ["LONPOLE =                180.0"] * 36}, "LONPOLE once"),
        ({"extra": ["PV1_1   =               1E400"]}, "a finite number as PV1_1; got 1E400"),
        ({"extra": ["A_ORDER =             1000000"]}, "A_ORDER of at least 0 and at most 19"),
        ({"replaced": {"NAXIS": "NAXIS   =            999999999"}}, "NAXIS of at least 0"),
        ({"replaced": {"NAXIS": "NAXIS   =                    3"}}, "NAXIS3; it is missing"),
        ({"replaced": {"NAXIS": "NAXIS   = 'two'"}}, "an integer as NAXIS"),
        ({"replaced": {"NAXIS2": "NAXIS2  =                  -32"}}, "NAXIS2 of at least 0"),
        ({"replaced": {"NAXIS2": "NAXIS2  =           4294967296"}}, "within the data of HDU 0"),
        ({"replaced": {"BITPIX": "BITPIX  =                   17"}}, "BITPIX among 8, 16"),
        ({"extra": ["NAXIS1  =           4294967296"]}, "one NAXIS1; got 32 and 4294967296"),
        ({"replaced": {"CRVAL1": "CRVAL1  =                  NaN"}}, "a finite number as CRVAL1"),
    ],
)
def test_header_that_cannot_be_true_is_refused_before_it_is_used(tmp_path, options, words):
    for name, pack in (("a.fits", bytes), ("a.fits.gz", gzip.compress)):
        path = tmp_path / name
        path.write_bytes(pack(file_bytes(**options)))
        if name.endswith("gz") and "within the data" in words:
            words = "it is truncated"
        with pytest.raises(OSError, match=words) as caught:
            read_bands(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"TFIELDS =                    1", b"TFIELDS =           4294967296", "TFIELDS of at"),
        (b"NAXIS2  =                    3", b"NAXIS2  =                  -32", "NAXIS2 of at"),
        (b"PCOUNT  =                    0", b"PCOUNT  =                   -8", "PCOUNT of at"),
    ],
)
def test_table_that_cannot_be_true_is_refused(tmp_path, old, new, words):
    content = file_bytes(hdus=[table()])
    place = content.rindex(old)
    (tmp_path / "a.fits").write_bytes(content[:place] + new + content[place + len(new) :])
    with pytest.raises(OSError, match=words):
        read_bands(tmp_path / "a.fits")


def test_an_error_stays_in_one_line_whatever_the_file_begins_with(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(file_bytes().replace(b"SIMPLE", b"SI\nNLE", 1))
    with pytest.raises(OSError, match="HDU 0 must begin with SIMPLE") as caught:
        read_bands(path)
    assert str(caught.value).isprintable()


def test_compressed_image_that_unfolds_without_end_is_refused(tmp_path):
    path = tmp_path / "a.fits.fz"
    image = fits.CompImageHDU(np.zeros((32, 32), "i2"), fits.Header(CARDS))
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(path)
    content = path.read_bytes()
    for axis in b"12":
        old = b"ZNAXIS" + bytes([axis]) + b" =                   32"
        content = content.replace(old, old[:-7] + b"3000000")
    path.write_bytes(content)
    with pytest.raises(OSError, match="must unfold to at most"):
        read_bands(path)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_truncated_file_is_an_error_or_whole(tmp_path_factory, data):
    """Of our own files nothing may be missing, wherever they end."""
    folder = tmp_path_factory.mktemp("cut")
    image = CCDData(
        np.ones((9, 9), "f4"), unit="adu", mask=np.eye(9, dtype=bool), flags=np.ones((9, 9), "u1")
    )
    content = Path(write_bands(folder / "whole.fits", {"r": image, "g": image})).read_bytes()
    end = data.draw(
        st.one_of(
            st.integers(0, len(content) - 1),
            st.integers(0, len(content) // 2880 - 1).map(lambda block: 2880 * block),
        )
    )
    (folder / "cut.fits").write_bytes(content[:end])
    # Zeros that fill the last block tell nothing.
    if content[end:].strip(b"\0"):
        with pytest.raises(OSError, match=r"cut\.fits"):
            read_bands(folder / "cut.fits")


def test_missing_extensions_of_our_files_are_an_error(tmp_path):
    image = CCDData(np.ones((9, 9), "f4"), unit="adu", mask=np.eye(9, dtype=bool))
    write_bands(tmp_path / "a.fits", {"r": image, "g": image})
    with fits.open(tmp_path / "a.fits") as hdus:
        assert hdus[0].header["NEXTEND"] == len(hdus) - 1
        fits.HDUList(hdus[:-1]).writeto(tmp_path / "b.fits")
        del hdus[0].header["NEXTEND"]  # as files of earlier versions
        fits.HDUList(hdus[:3]).writeto(tmp_path / "c.fits")
    with pytest.raises(OSError, match="3 extensions of 4: it did not arrive whole"):
        read_bands(tmp_path / "b.fits")
    with pytest.raises(OSError, match=r"lacks the bands \['g'\]"):
        read_bands(tmp_path / "c.fits")


def test_wrong_checksum_is_told_or_an_error(tmp_path):
    path = write_bands(tmp_path / "a.fits", {"r": CCDData(np.ones((9, 9), "f4"), unit="adu")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_bands(path, checksum="error")
    content = bytearray(path.read_bytes())
    content[-2880] ^= 1
    path.write_bytes(content)
    with pytest.warns(ChecksumWarning, match=r"a\.fits is not as it was written"):
        read_bands(path)
    with pytest.raises(OSError, match="is not as it was written"):
        read_bands(path, checksum="error")
    read_bands(path, checksum="ignore")
    with pytest.raises(ValueError, match="checksum must be one of 'warn', 'error', 'ignore'"):
        read_bands(path, checksum=True)


@pytest.mark.parametrize(
    "options",
    [
        {"replaced": {"FILTER": "FILTER  = R"}},
        {"replaced": {"CTYPE1": "CTYPE1  = RA---TAN"}},
        {"extra": ["OBJECT  = NGC 1365 / a galaxy"]},
        {"extra": ["NAXIS3  =                    5"]},
        {"extra": ["NAXIS3  =                    5", "NAXIS4  =                    1"]},
        {"extra": ["FOO     = 1 2 3", "BAR     = 'open"]},
    ],
)
def test_headers_seen_in_the_wild_are_read_and_written(tmp_path, options):
    (tmp_path / "a.fits").write_bytes(file_bytes(**options))
    field = read_bands(tmp_path / "a.fits")
    write_bands(tmp_path / "b.fits", field)
    again = read_bands(tmp_path / "b.fits")["r"]
    assert (again.data == field["r"].data).all()
    assert again.wcs.wcs.ctype[0] == "RA---TAN"
    assert "NAXIS3" not in fits.getheader(tmp_path / "b.fits", 1)


def test_text_without_quotes_is_its_text(tmp_path):
    (tmp_path / "a.fits").write_bytes(file_bytes(["OBJECT  = NGC 1365 / a galaxy"]))
    assert read_bands(tmp_path / "a.fits")["r"].meta["OBJECT"] == "NGC 1365"


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices are of POSIX")
def test_what_is_no_regular_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    for path in ("/dev/zero", tmp_path / "pipe.fits"):
        with pytest.raises(OSError, match="is a device, a pipe or a socket"):
            read_bands(path)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read_bands(tmp_path)


def test_what_names_a_file(tmp_path, monkeypatch):
    path = tmp_path / "a.fits"
    path.write_bytes(file_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    for given_path in (str(path), os.fsencode(path), "~/a.fits", [path]):
        assert list(read_bands(given_path)) == ["r"]
    written = write_bands("~/b.fits", read_bands(path))
    assert written == tmp_path / "b.fits"
    assert written.is_file()
    with pytest.raises(FileNotFoundError, match=r"give .*a\.fits and hdu=0"):
        read_bands(f"{path}[0]")
    with pytest.raises(FileNotFoundError, match=r"and hdu='SCI'"):
        read_bands(f"{path}[SCI]")
    for name in ("https://host/a.fits", "s3://bucket/a.fits"):
        with pytest.raises(FileNotFoundError, match=f"^{name} is not on this machine"):
            read_bands(name)
    with pytest.raises(FileNotFoundError, match="got an empty one"):
        read_bands("")


def test_what_names_no_file(tmp_path):
    path = tmp_path / "a.fits"
    path.write_bytes(file_bytes())
    with path.open("rb") as stream, fits.open(path) as hdus:
        image = CCDData(np.ones((4, 6)), unit="adu", wcs=WCS(naxis=2))
        others = (3, hdus[0], hdus[0].header, image, {"r": image})
        for given_object in (stream, io.BytesIO(path.read_bytes()), hdus, None, [3], *others):
            with pytest.raises(TypeError, match="paths must be names of FITS files; got"):
                read_bands(given_object)


@pytest.mark.parametrize("path", [io.BytesIO(), None, 5])
def test_what_names_no_file_to_write(path):
    image = CCDData(np.ones((4, 6)), unit="adu")
    with pytest.raises(TypeError, match="path must be the name of a file; got"):
        write_bands(path, {"r": image})


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("https://host/a.fits", r"https://host/a.fits is not on this machine \(https\)"),
        ("a\0b.fits", "must hold no null character"),
        ("~nobody-of-this-name/a.fits", "~nobody-of-this-name.* does not exist"),
    ],
)
def test_names_that_no_file_here_can_have(path, said):
    with pytest.raises(FileNotFoundError, match=said):
        read_bands(path)
    with pytest.raises(FileNotFoundError, match=said):
        write_bands(path, {"r": CCDData(np.ones((4, 6)), unit="adu")})


def test_a_name_of_bytes_is_written(tmp_path):
    write_bands(bytes(tmp_path / "a.fits"), {"r": CCDData(np.ones((4, 6)), unit="adu")})
    assert list(read_bands(tmp_path / "a.fits")) == ["r"]


@pytest.mark.parametrize("names", [("det2im1", "det2im2"), ("cpdis1", "cpdis2")])
def test_lookup_distortions_are_read_from_their_file(tmp_path, names):
    wcs = WCS(fits.Header({key: CARDS[key] for key in CARDS if key not in ("FILTER", "BUNIT")}))
    lookup = DistortionLookupTable(np.full((9, 9), 3, "f4"), (1.0, 1.0), (1.0, 1.0), (7.9, 7.9))
    for name in names:
        setattr(wcs, name, lookup)
    hdus = wcs.to_fits(relax=True)
    hdus[0].data = np.random.default_rng(1).normal(size=(64, 64)).astype("f4")
    hdus[0].header.update(FILTER="R", BUNIT="adu")
    hdus.writeto(tmp_path / "a.fits")
    image = read_bands(tmp_path / "a.fits")["r"]
    with fits.open(tmp_path / "a.fits") as again:
        truth = WCS(again[0].header, again)
        expected = truth.pixel_to_world(30, 30)
    assert image.wcs.pixel_to_world(30, 30).separation(expected).arcsec < 1e-9
    assert wcs.celestial.all_pix2world(30, 30, 0)[0] == pytest.approx(expected.ra.deg)
    assert not [key for key in image.meta if key.startswith(("CPDIS", "DP", "D2IM"))]


@pytest.mark.parametrize("kind", ["LINEAR", "PIXEL", "XPIXEL", "CCD_X", "DETX", "Physical"])
def test_wcs_of_pixels_is_no_calibration(tmp_path, kind):
    cards = {f"CTYPE{axis}": f"CTYPE{axis}  = '{kind}'" for axis in (1, 2)}
    (tmp_path / "a.fits").write_bytes(file_bytes(replaced=cards))
    assert read_bands(tmp_path / "a.fits")["r"].wcs is None


TNX = (
    'wtype=tnx axtype={0} {1}cor = "3. 3. 3. 2. -0.1 0.1 -0.1 0.1 1e-4 -2e-3 1e-4 3e-3 -1e-3 2e-3 "'
)


def test_distortion_of_tnx_goes_through_a_file(tmp_path):
    """Wcslib writes it as CQDIS: beside the cards it came from, reading that corrupts memory."""
    header = WCS(naxis=2).to_header()
    header.update(CRVAL1=150.0, CRVAL2=-30.0, CRPIX1=32.5, CRPIX2=32.5)
    header.update(CDELT1=-1.5e-4, CDELT2=1.5e-4, CTYPE1="RA---TAN", CTYPE2="DEC--TAN")
    pixels = np.array([0, 60.0]), np.array([3, 9.0])
    plain = WCS(header).pixel_to_world(*pixels)
    header.update(CTYPE1="RA---TNX", CTYPE2="DEC--TNX", WCSDIM=2)
    for axis, text in ((1, TNX.format("ra", "lng")), (2, TNX.format("dec", "lat"))):
        header[f"WAT{axis}_001"], header[f"WAT{axis}_002"] = text[:68], text[68:]
    wcs = WCS(header)
    sky = wcs.pixel_to_world(*pixels)
    assert plain.separation(sky).arcsec.max() > 1
    image = CCDData(np.ones((64, 64)), unit="adu", wcs=wcs, meta=header)
    write_bands(tmp_path / "a.fits", {"r": image})
    said = fits.getheader(tmp_path / "a.fits", 1)
    assert not [key for key in said if key.startswith("WAT")]
    assert WCS(said).pixel_to_world(*pixels).separation(sky).arcsec.max() < 1e-6
    back = read_bands(tmp_path / "a.fits")["r"]
    assert not [key for key in back.meta if key.startswith(("CQDIS", "DQ"))]
    said.extend(card for card in header.cards if card.keyword.startswith("WAT"))
    for _ in range(20):
        found = header_wcs(said).pixel_to_world(*pixels)
        assert found.separation(sky).arcsec.max() < 1e-6


def test_vector_beside_an_image_is_no_image(tmp_path):
    (tmp_path / "a.fits").write_bytes(file_bytes(hdus=[fits.ImageHDU(np.ones(64, "f4"))]))
    assert read_bands(tmp_path / "a.fits")["r"].shape == (32, 32)


def test_values_scaled_by_asinh_are_told(tmp_path):
    content = file_bytes(["BSOFTEN =                 12.5", "BOFFSET =                  1.5"])
    (tmp_path / "a.fits").write_bytes(content)
    with pytest.warns(SplusSrganWarning, match=r"is scaled by asinh \(BSOFTEN, BOFFSET\)"):
        read_bands(tmp_path / "a.fits")


@pytest.mark.parametrize("dtype", [bool, "f2", "g", "u2", "i1", "f8"])
def test_any_kind_of_real_number_is_written(tmp_path, dtype):
    data = np.arange(81).reshape(9, 9).astype(dtype)
    image = CCDData(data.astype("f4"), unit="adu", flags=data)
    write_bands(tmp_path / "a.fits", {"r": image})
    assert (read_bands(tmp_path / "a.fits")["r"].flags == data).all()
    if dtype is not bool:
        write_bands(tmp_path / "b.fits", {"r": CCDData(data, unit="adu")})
        assert (read_bands(tmp_path / "b.fits")["r"].data == data).all()


def test_complex_numbers_are_refused(tmp_path):
    image = NDData(np.ones((9, 9), complex), unit="adu")
    with pytest.raises(TypeError, match="integers or real numbers in all its planes"):
        write_bands(tmp_path / "a.fits", {"r": image})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("letter", ["\t", "\x01", "\x7f"])
def test_a_letter_that_no_card_may_hold_costs_that_card_alone(tmp_path, letter):
    (tmp_path / "a.fits").write_bytes(file_bytes([f"OBSERVER= 'a{letter}b'", "OBJECT  = 'NGC'"]))
    image = read_bands(tmp_path / "a.fits")["r"]
    assert image.meta["OBJECT"] == "NGC"
    write_bands(tmp_path / "b.fits", {"r": image})
    said = fits.getheader(tmp_path / "b.fits", 1)
    assert "unreadable card: OBSERVER" in "".join(said["HISTORY"])


@pytest.mark.parametrize("kind", [dict, fits.Header])
def test_leftover_axes_in_metadata_are_not_written(tmp_path, kind):
    meta = kind({"NAXIS": 2, "NAXIS1": 9, "NAXIS2": 9, "NAXIS3": 1, "OBJECT": "NGC"})
    write_bands(tmp_path / "a.fits", {"r": CCDData(np.ones((9, 9)), unit="adu", meta=meta)})
    said = fits.getheader(tmp_path / "a.fits", 1)
    assert (said["NAXIS"], said["OBJECT"], "NAXIS3" in said) == (2, "NGC", False)


def test_headers_of_what_is_no_fits_pass(tmp_path):
    (tmp_path / "a").write_bytes(b"no such layer")
    assert plausible.check_headers(tmp_path / "a") == []


def test_mask_is_read_by_the_legend_of_its_bits(tmp_path):
    """As of LSST: DETECTED says what a pixel shows, and hides nothing."""
    planes = np.zeros((32, 32), "i4")
    planes[0, 0], planes[1, 1], planes[2, 2] = 1 << 0, 1 << 5, (1 << 5) | (1 << 8)
    header = fits.Header({"MP_BAD": 0, "HIERARCH MP_DETECTED": 5, "HIERARCH MP_NO_DATA": 8})
    hdus = [fits.ImageHDU(planes, header, name="MASK")]
    (tmp_path / "a.fits").write_bytes(file_bytes(hdus=hdus))
    mask = read_bands(tmp_path / "a.fits")["r"].mask
    assert np.argwhere(mask).tolist() == [[0, 0], [2, 2]]


@pytest.mark.parametrize("value", [63, 70, -3, 1e300])
def test_legend_of_impossible_bits_is_named(tmp_path, value):
    hdus = [fits.ImageHDU(np.eye(32, dtype="i4"), fits.Header({"MP_BAD": value}), name="MASK")]
    (tmp_path / "a.fits").write_bytes(file_bytes(hdus=hdus))
    with pytest.raises(ValueError, match="must number the bits of its mask from 0 to 62; got MP_B"):
        read_bands(tmp_path / "a.fits")


def test_legend_may_be_in_the_header_of_the_image(tmp_path):
    mask = np.zeros((32, 32), "i4")
    mask[3, 3], mask[4, 4] = 1 << 2, 1 << 5
    hdus = [fits.ImageHDU(mask, name="MASK")]
    cards = ["MP_SAT  =                    2", "MP_DETEC=                    5"]
    (tmp_path / "a.fits").write_bytes(file_bytes(cards, hdus=hdus))
    assert np.argwhere(read_bands(tmp_path / "a.fits")["r"].mask).tolist() == [[3, 3]]


def test_mask_without_a_legend_is_true_or_false(tmp_path):
    hdus = [fits.ImageHDU(np.eye(32, dtype="u1"), name="MASK")]
    (tmp_path / "a.fits").write_bytes(file_bytes(hdus=hdus))
    assert (read_bands(tmp_path / "a.fits")["r"].mask == np.eye(32, dtype=bool)).all()


@pytest.mark.parametrize(("telescope", "expected"), [("JWST", [[0, 0]]), ("ELSE", None)])
def test_data_quality_by_the_convention_of_its_telescope(tmp_path, telescope, expected):
    """JWST: bit 0 is DO_NOT_USE; bit 2 says that a cosmic ray was corrected."""
    quality = np.zeros((32, 32), "i4")
    quality[0, 0], quality[1, 1] = 1 | 4, 4
    hdus = [
        fits.ImageHDU(quality, name="DQ"),
        fits.ImageHDU(np.full((32, 32), 2, "f4"), name="ERR"),
    ]
    content = file_bytes([f"TELESCOP= '{telescope}    '"], hdus=hdus)
    (tmp_path / "a.fits").write_bytes(content)
    if expected is None:
        with pytest.warns(SplusSrganWarning, match="bits in DQ and no legend"):
            image = read_bands(tmp_path / "a.fits")["r"]
        expected = [[0, 0], [1, 1]]
    else:
        image = read_bands(tmp_path / "a.fits")["r"]
    assert np.argwhere(image.mask).tolist() == expected
    assert type(image.uncertainty).__name__ == "StdDevUncertainty"
    assert (image.uncertainty.array == 2).all()


def test_variance_beside_an_image_is_one(tmp_path):
    hdus = [fits.ImageHDU(np.full((32, 32), 4, "f4"), name="VARIANCE")]
    (tmp_path / "a.fits").write_bytes(file_bytes(hdus=hdus))
    image = read_bands(tmp_path / "a.fits")["r"]
    assert type(image.uncertainty).__name__ == "VarianceUncertainty"


def test_an_extension_that_does_not_begin_as_one_is_told(tmp_path):
    """Else astropy takes what comes after it for a header, whatever it says."""
    path = tmp_path / "two.fits"
    fits.HDUList([fits.PrimaryHDU(np.zeros((4, 4))), fits.ImageHDU(np.zeros((4, 4)))]).writeto(path)
    raw = path.read_bytes().replace(b"XTENSION=", b"CD1_1   =", 1)
    path.write_bytes(raw)
    with pytest.raises((ValueError, OSError), match="HDU 1 must begin with XTENSION; got 'CD1_1'"):
        read_bands(path)
