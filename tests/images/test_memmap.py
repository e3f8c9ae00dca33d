# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Fields whose pixels stay in their files."""

import pickle
import time

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.testing import assert_array_equal

from splus_srgan import read_bands, simulate_field, write_bands
from splus_srgan.images.io.sections import FileImage, kept_open
from splus_srgan.images.unpack import unpack


def noise(shape=(90, 70), dtype=np.float32):
    data = np.random.default_rng(5).normal(100, 9, shape)
    return np.round(data).astype(dtype) if np.dtype(dtype).kind in "iu" else data.astype(dtype)


def header(**cards):
    return fits.Header([("BUNIT", "adu"), ("FILTER", "R"), ("EXPTIME", 3.5), *cards.items()])


def plain(path):
    data = noise()
    data[:12] = 0  # where no exposure is
    data[40, 30] = np.nan
    fits.writeto(path, data, header())


def double(path):
    fits.writeto(path, noise(dtype=np.float64), header())


def scaled(path):
    """Integers with a scale and a value for what is missing."""
    hdu = fits.ImageHDU(noise(dtype=np.int16), header())
    hdu.header.update(BSCALE=0.25, BZERO=7.0, BLANK=int(hdu.data[3, 4]))
    hdus = fits.HDUList([fits.PrimaryHDU(), hdu])
    hdus.writeto(path)


def unsigned(path):
    fits.writeto(path, noise(dtype=np.uint16), header())


def unseen_blank(path):
    """astropy overlooks a BLANK of 0."""
    data = noise(dtype=np.int32)
    data[5, 6:9] = 0
    fits.writeto(path, data, header(BLANK=0))


def tiled(path):
    fits.CompImageHDU(noise(), header(), compression_type="RICE_1").writeto(path)


def tiled_integers(path):
    tiles = {"compression_type": "GZIP_1", "tile_shape": (32, 32)}
    fits.CompImageHDU(noise(dtype=np.int16), header(), **tiles).writeto(path)


def tiled_unsigned(path):
    fits.CompImageHDU(noise(dtype=np.uint16), header(), compression_type="RICE_1").writeto(path)


def tiled_scaled(path):
    """Integers in tiles, with a scale and a value for what is missing."""
    data = noise(dtype=np.int16)
    hdu = fits.CompImageHDU(data, header(BLANK=int(data[3, 4])), compression_type="RICE_1")
    hdu.writeto(path)
    with fits.open(path, mode="update", disable_image_compression=True) as hdus:
        hdus[1].header.update(BSCALE=0.25, BZERO=7.0)


def beside_a_tiled_mask(path):
    """A mask of unsigned integers in tiles, which must not keep the image from being read."""
    mask = fits.CompImageHDU((noise() > 110).astype(np.uint16), name="MASK")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(noise(), header()), mask]).writeto(path)


def cube(path):
    fits.writeto(path, noise((2, 50, 40)), header(BANDS="GR"))


def flat_axes(path):
    fits.writeto(path, noise((1, 1, 50, 40)), header())


def masked(path):
    image = CCDData(noise(), unit="adu", mask=noise() > 110, meta=header())
    image.uncertainty = StdDevUncertainty(np.sqrt(noise()))
    image.write(path)


def legend(path):
    bits = noise(dtype=np.int32)
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(noise(), header())]
    mask = fits.ImageHDU(bits, fits.Header([("MP_BAD", 1), ("MP_DETEC", 5)]), name="MASK")
    fits.HDUList([*hdus, mask]).writeto(path)


def weighted(path):
    science = fits.ImageHDU(noise(), header(IMAGETYP="image", BAND="r"))
    weight = fits.ImageHDU(noise() - 95, fits.Header([("IMAGETYP", "invvar"), ("BAND", "r")]))
    fits.HDUList([fits.PrimaryHDU(), science, weight]).writeto(path)


def survey_cube(path):
    """S-Cubes: a plane a band, errors that are not finite, counts of bands without weight."""
    errors = noise((2, 50, 40))
    errors[1, 8:11, 9] = np.nan
    data = fits.ImageHDU(noise((2, 50, 40)), header(BUNIT="adu"), name="DATA")
    counts = np.zeros((50, 40), np.int64)
    counts[30:, 20:] = 2
    table = fits.BinTableHDU(np.rec.array([("G", 1.3), ("R", 1.4)], names="FILTER,PSFFWHM"))
    table.name = "METADATA"
    hdus = [fits.PrimaryHDU(), data, fits.ImageHDU(errors, name="ERRORS")]
    fits.HDUList([*hdus, fits.ImageHDU(counts, name="WEIMASK"), table]).writeto(path)


def ours(path):
    write_bands(path, simulate_field(3, shape=(50, 60), bands="gr").observed)


def ours_tiled(path):
    tiled = path.with_suffix(".fits.fz")
    write_bands(tiled, simulate_field(3, shape=(150, 60), bands="gr").observed)
    tiled.rename(path)


def packed(path):
    fits.writeto(path.with_suffix(".fits.gz"), noise(), header())
    path.with_suffix(".fits.gz").rename(path)


KINDS = [plain, double, scaled, unsigned, unseen_blank, tiled, tiled_integers, cube, flat_axes]
KINDS += [tiled_unsigned, tiled_scaled, beside_a_tiled_mask]
KINDS += [masked, legend, weighted, survey_cube, ours, ours_tiled, packed]


@pytest.mark.filterwarnings("ignore:.*blank.*:astropy.io.fits.verify.VerifyWarning")
@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.UncertaintyDroppedWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_left_in_the_file_or_read_it_is_the_same(kind, tmp_path):
    path = tmp_path / "field.fits"
    kind(path)
    read, left = read_bands(path), read_bands(path, memmap=True)
    assert list(read) == list(left)
    for band, image in read.items():
        other = left[band]
        assert isinstance(other.data, np.ndarray if kind is packed else FileImage)
        assert other.data.dtype == np.float32
        assert (other.shape, other.unit, repr(other.wcs)) == (
            image.shape,
            image.unit,
            repr(image.wcs),
        )
        assert repr(other.meta).rstrip() == repr(image.meta).rstrip()
        part = np.s_[3:31, 7:44]
        assert_array_equal(other.data[part], image.data[part])
        assert_array_equal(np.asarray(other.data), image.data)
        if image.mask is None:
            assert other.mask is None
        else:
            assert_array_equal(np.asarray(other.mask), image.mask)
            assert_array_equal(other[part].mask, image[part].mask)
        if image.uncertainty is not None:
            assert type(other.uncertainty) is type(image.uncertainty)
            assert_array_equal(np.asarray(other.uncertainty.array), image.uncertainty.array)
    whole, lazy = unpack(read), unpack(left, lazy=True)
    assert_array_equal(np.asarray(lazy.data), whole.data)
    assert_array_equal(np.asarray(lazy.mask), whole.mask)
    assert_array_equal(lazy.data[:, 5:9, 3:30], whole.data[:, 5:9, 3:30])


def test_another_process_takes_it_by_name(tmp_path):
    plain(tmp_path / "field.fits")
    image = read_bands(tmp_path / "field.fits", memmap=True)["r"].data
    text = pickle.dumps(image)
    assert len(text) < 2000
    assert_array_equal(np.asarray(pickle.loads(text)), np.asarray(image))


def test_file_must_stay_as_it_is(tmp_path):
    path = tmp_path / "field.fits"
    plain(path)
    image = read_bands(path, memmap=True)["r"]
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(OSError, match=r"field.fits changed while it was read; begin again"):
        image.data[0]


def test_values_beyond_float32_are_refused(tmp_path):
    data = noise(dtype=np.float64)
    data[80, 3] = 1e39
    with pytest.raises(ValueError, match="'r' must stay within float32"):
        unpack({"r": CCDData(data, unit="adu")}, lazy=True)
    with pytest.raises(ValueError, match="'r' has no valid pixel"):
        unpack({"r": CCDData(data * np.nan, unit="adu")}, lazy=True)


def test_compressed_by_tiles_nothing_is_lost(tmp_path, monkeypatch):
    """Every bit comes back, in astropy too; damage is told."""
    field = simulate_field(3, shape=(150, 60), bands="gr").observed
    for image in field.values():
        image.data[3, 4:7] = np.nan, np.inf, -0.0
        image.mask = ~np.isfinite(image.data)
        image.psf = noise((7, 7))
    plain, tiled = (write_bands(tmp_path / f"field.fits{end}", field) for end in ("", ".fz"))
    monkeypatch.setattr(time, "time", lambda: 1e9)  # which gzip writes into each tile
    again = write_bands(tmp_path / "again.fits.fz", field)
    assert again.read_bytes() == tiled.read_bytes()
    with fits.open(plain) as one, fits.open(tiled, checksum=True) as two:
        two.verify("exception")
        for a, b in zip(one, two, strict=True):
            assert (a.name, a.ver, a.header.get("BAND")) == (b.name, b.ver, b.header.get("BAND"))
            assert isinstance(b, fits.CompImageHDU) == (a.name in ("SCI", "BPM"))
            if a.data is not None:
                assert a.data.tobytes() == b.data.astype(a.data.dtype).tobytes()
    bytes_ = bytearray(tiled.read_bytes())
    bytes_[len(bytes_) // 2] ^= 1
    tiled.write_bytes(bytes_)
    with pytest.raises(OSError, match=r"not as it was written|cannot be read"):
        read_bands(tiled, checksum="error")


@pytest.mark.parametrize("make", [plain, scaled])
def test_files_kept_open_are_opened_once_and_closed(tmp_path, monkeypatch, make):
    make(tmp_path / "image.fits")
    (image,) = read_bands({"r": tmp_path / "image.fits"}, memmap=True).values()
    opened = []
    really = fits.open

    def counting(*arguments, **options):
        opened.append(really(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(fits, "open", counting)
    cuts = [np.s_[k : k + 20, 3 * k : 40 + k] for k in range(10)]
    with kept_open():
        parts = [np.array(image.data[cut]) for cut in cuts]
    assert len(opened) == 1
    assert opened[0]._file.closed
    for cut, part in zip(cuts, parts, strict=True):
        assert_array_equal(part, image.data[cut])
    assert len(opened) > 10  # each by itself again
    assert all(hdus._file.closed for hdus in opened)
