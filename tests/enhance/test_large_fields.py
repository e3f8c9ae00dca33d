# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Fields larger than the memory: sections, and files that take their pixels piece by piece."""

import errno
import functools
import os
import signal
import time
import tracemalloc

import numpy as np
import pytest
from astropy.io import fits
from astropy.nddata import CCDData, NDData
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import SRGANEnhancer, read_bands, simulate_field, write_bands
from splus_srgan.cli import main as cli
from splus_srgan.enhance import field as _enhancement
from splus_srgan.enhance.runner import Runner
from splus_srgan.enhance.tiles import sections, within
from splus_srgan.images.io.reserve import reserve_bands
from splus_srgan.pixels import sample

OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32"}


@pytest.fixture(scope="module")
def field():
    """A field with missing pixels, a saturated star and a hole larger than a section."""
    images = simulate_field((4, 1), shape=(110, 96), kind="galaxy").observed
    for band, image in images.items():
        image.mask = np.zeros(image.shape, bool)
        image.mask[50:100, 52:] = True
        image.data[20:24, 30:33] = np.nan
        image.data[89:92, 19:22] = 2 * image.header["SATURATE"]
        image.data[:, 5 if band == "g" else 6] = np.inf
    return images


# Sections


@given(
    st.tuples(st.integers(1, 300), st.integers(1, 300)),
    st.integers(0, 30),
    st.integers(0, 60),
    st.integers(1, 200),
)
def test_sections_cover_each_pixel_once(shape, margin, halo, side):
    covered = np.zeros(shape, int)
    for part in sections(shape, margin=margin, halo=halo, side=side):
        covered[part.kept] += 1
        places = zip(part.kept, part.generated, part.needed, shape, strict=True)
        for kept, generated, needed, length in places:
            assert 0 <= generated.start <= max(kept.start - margin, 0)
            assert length >= generated.stop >= min(kept.stop + margin, length)
            assert 0 <= needed.start <= max(generated.start - halo, 0)
            assert length >= needed.stop >= min(generated.stop + halo, length)
            assert kept.stop - kept.start <= 1.4 * side
    # Engines prepare themselves for each shape of what is generated.
    parts = sections(shape, margin=margin, halo=halo, side=side)
    for place in ("generated", "needed"):
        sizes = {tuple(s.stop - s.start for s in getattr(part, place)) for part in parts}
        assert len(sizes) == 1
    assert (covered == 1).all()


@given(st.integers(2, 40), st.integers(2, 40), st.integers(0, 9), st.integers(1, 3))
def test_section_finds_its_place(ny, nx, halo, factor):
    image = np.arange(ny * nx).reshape(ny, nx)
    for part in sections(image.shape, margin=2, halo=halo, side=7):
        fine = image[part.needed].repeat(factor, 0).repeat(factor, 1)
        expected = image[part.kept].repeat(factor, 0).repeat(factor, 1)
        assert_array_equal(fine[within(part.kept, part.needed, factor)], expected)


def compare(whole, parts, *, exact):
    for band, one in whole.items():
        two = parts[band]
        assert_array_equal(one.mask, two.mask)
        assert_array_equal(one.flags, two.flags)
        valid, sigma = ~one.mask, one.header["SRSIGMA"]
        if exact:
            assert_array_equal(one.data, two.data)
        else:
            # The anchor's transforms round otherwise in an image of another size.
            assert_allclose(two.data, one.data, rtol=2e-6, atol=2e-6 * sigma)
        if one.uncertainty is not None:
            error = one.uncertainty.array
            assert_allclose(two.uncertainty.array[valid], error[valid], rtol=2e-5)
        assert_allclose(two.header["SRFSKY"], one.header["SRFSKY"], atol=1e-5 * sigma)
        assert one.header["SRSKY"] == two.header["SRSKY"]


@pytest.mark.parametrize("options", [{"flux_anchor": 0}, {}, {"uncertainty": True}])
def test_sections_give_what_the_whole_gives(field, options, request):
    enhancer = SRGANEnhancer("splus-grz", **OPTIONS | options)
    whole = enhancer(field)
    request.getfixturevalue("small_sections")
    parts = enhancer(field)
    compare(whole, parts, exact=options.get("flux_anchor") == 0)


def test_sections_follow_a_sky_map(field, request):
    y, x = np.indices((110, 96))
    sky = {band: 1e-3 * y + 2e-3 * x + k for k, band in enumerate("grz")}
    enhancer = SRGANEnhancer("splus-grz", **OPTIONS)
    images = {band: image.copy() for band, image in field.items()}
    for band, image in images.items():
        image.data += sky[band].astype(np.float32)
    whole = enhancer(images, sky=sky)
    request.getfixturevalue("small_sections")
    parts = enhancer(images, sky=sky)
    for band in "grz":
        assert_allclose(parts[band].data, whole[band].data, rtol=1e-5, atol=1e-6)


def test_reach_is_not_too_small(field, monkeypatch):
    """With half the halo, sections would differ."""
    enhancer = SRGANEnhancer("splus-grz", **OPTIONS, flux_anchor=0)
    whole = enhancer(field)

    def narrow(shape, *, margin, halo):
        return sections(shape, margin=margin, halo=halo // 3, side=48)

    monkeypatch.setattr(_enhancement, "sections", narrow)
    assert (enhancer(field)["r"].data != whole["r"].data).any()


def test_progress_is_told_once(field, small_sections):
    seen = []

    def bar(parts):
        seen.append(len(parts))
        return parts

    SRGANEnhancer("splus-grz", **OPTIONS, progress_bar=bar)(field)
    assert seen == [6]


# Files


def cards(header):
    changing = ("SRDATE", "CHECKSUM")
    return [tuple(card) for card in header.cards if card.keyword not in changing]


@pytest.mark.parametrize(("bands", "uncertainty"), [("grz", True), ("r", False)])
def test_file_is_that_of_write_bands(field, tmp_path, small_sections, bands, uncertainty):
    images = {band: field[band] for band in bands}
    enhancer = SRGANEnhancer(uncertainty=uncertainty, **OPTIONS)
    expected = write_bands(tmp_path / "one.fits", enhancer(images))
    path = enhancer.to_file(images, tmp_path / "two.fits")
    assert sorted(tmp_path.iterdir()) == [expected, path]
    with fits.open(expected) as one, fits.open(path) as two:
        two.verify("exception")
        assert [hdu.name for hdu in one] == [hdu.name for hdu in two]
        for a, b in zip(one, two, strict=True):
            assert cards(a.header) == cards(b.header)
            if a.data is not None:
                assert a.data.dtype == b.data.dtype
                assert_array_equal(a.data, b.data)
            assert b.verify_checksum() == b.verify_datasum() == 1
    assert path.stat().st_size == expected.stat().st_size


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_file_of_every_form(field, tmp_path):
    enhancer = SRGANEnhancer("splus-any", **OPTIONS)
    image = field["r"]
    expected = enhancer(image)
    made = read_bands(enhancer.to_file(image, tmp_path / "image.fits"))
    assert list(made) == ["r"]
    assert_array_equal(made["r"].data, expected.data)
    cube = NDData(
        np.stack([field[band].data for band in "gr"]),
        unit=image.unit,
        mask=np.stack([field[band].mask for band in "gr"]),
        wcs=image.wcs,
        meta={"BANDS": "gr", "SATURATE": image.header["SATURATE"]},
    )
    expected = enhancer(cube)
    made = read_bands(enhancer.to_file(cube, tmp_path / "cube.fits"))
    assert list(made) == ["g", "r"]
    assert_array_equal(np.stack([one.data for one in made.values()]), expected.data)
    cards = [*cube.meta.items(), ("NAXIS", 3), ("NAXIS3", 2)]
    cube = CCDData(cube, meta=fits.Header(cards))
    made = read_bands(enhancer.to_file(cube, tmp_path / "ccd.fits"))
    assert "NAXIS3" not in made["g"].header
    assert "BANDS" not in made["g"].header
    assert_array_equal(made["r"].data, expected.data[1])


def test_file_can_be_compressed(field, tmp_path):
    enhancer = SRGANEnhancer("splus-any", **OPTIONS)
    expected = enhancer(field["r"])
    for end in (".gz", ".fz"):
        path = enhancer.to_file(field["r"], tmp_path / f"sharp.fits{end}")
        assert_array_equal(read_bands(path)["r"].data, expected.data)


def test_files_are_not_replaced_unasked(field, tmp_path):
    enhancer, path = SRGANEnhancer("splus-any", **OPTIONS), tmp_path / "sharp.fits"
    path.write_bytes(b"precious")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        enhancer.to_file(field["r"], path)
    assert path.read_bytes() == b"precious"
    enhancer.to_file(field["r"], path, overwrite=True)
    assert read_bands(path)["r"].shape == (220, 192)


@pytest.mark.parametrize("error", [RuntimeError("broken"), KeyboardInterrupt()])
def test_nothing_is_left_of_an_interrupted_run(field, tmp_path, monkeypatch, error):
    def fail(*args, **options):
        raise error

    path = tmp_path / "sharp.fits"
    path.write_bytes(b"precious")
    monkeypatch.setattr(Runner, "generate", fail)
    with pytest.raises(type(error)):
        SRGANEnhancer("splus-any", **OPTIONS).to_file(field["r"], path, overwrite=True)
    assert [one.name for one in tmp_path.iterdir()] == ["sharp.fits"]
    assert path.read_bytes() == b"precious"


def test_nothing_is_left_where_the_time_is_up(field, tmp_path, monkeypatch, capsys):
    """Batch systems send SIGTERM; the command line takes it as it takes Ctrl-C."""

    def terminated(*args, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)

    monkeypatch.setattr(Runner, "generate", terminated)
    path = write_bands(tmp_path / "field.fits", {"r": field["r"]})
    before = signal.getsignal(signal.SIGTERM)
    assert cli.main(["enhance", str(path), "-o", str(tmp_path / "out"), "--device", "cpu"]) == 130
    assert "interrupted: terminated" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="space is taken otherwise here")
def test_full_disk_is_told_before_the_work(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*args, **options):
        raise AssertionError("the generator ran before the disk was known to have room")

    monkeypatch.setattr(os, "posix_fallocate", full)
    monkeypatch.setattr(Runner, "generate", fail)
    data = np.random.default_rng(1).normal(size=(900, 900)).astype(np.float32)
    image = CCDData(data, unit="adu", meta={"FILTER": "R"})
    with pytest.raises(OSError, match=r"sharp.fits could not be written \(No space") as caught:
        SRGANEnhancer("splus-any", **OPTIONS).to_file(image, tmp_path / "sharp.fits")
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("system", ["none", "not on this file system"])
def test_space_is_taken_where_the_system_cannot_reserve_it(tmp_path, monkeypatch, system):
    def refuse(*args):
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    if system == "none":
        monkeypatch.delattr(os, "posix_fallocate", raising=False)
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    path = tmp_path / "field.fits"
    data = np.broadcast_to(np.float32(0), (2000, 2100))
    with reserve_bands(path, {"r": CCDData(data, unit="adu")}) as file:
        file.planes("SCI")[0][5:7, 2000:] = 3
    with fits.open(path, checksum=True) as hdus:
        assert hdus["SCI"].data.sum() == 600
    assert path.stat().st_size == 2 * 2880 + 2880 * -(-4 * data.size // 2880)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.FallbackWarning")
def test_memory_does_not_grow_with_the_output(tmp_path, monkeypatch):
    """Of a field six times as large, little more is in memory, be it in a file or an array."""

    def nearest(self, y, *, region, **options):
        return y[(slice(None), *region)].repeat(2, 1).repeat(2, 2)

    monkeypatch.setattr(_enhancement, "sections", functools.partial(sections, side=200))
    monkeypatch.setattr(Runner, "generate", nearest)
    monkeypatch.setattr(sample, "_MAX_PIXELS", 2**17)  # of which the sky is measured
    enhancer = SRGANEnhancer("splus-any", **OPTIONS, check_input=False)
    rng, paths = np.random.default_rng(1), {}
    for side in (400, 1000):
        data = rng.normal(size=(side, side)).astype(np.float32)
        data[:50] = 0
        paths[side] = tmp_path / f"{side}.fits"
        fits.writeto(paths[side], data, fits.Header({"BUNIT": "adu", "FILTER": "R"}))
    enhancer(read_bands(paths[400])["r"][:64, :64], sky=0, sigma=1)  # makes the engine
    peaks, made = [], []
    for side, memmap in ((400, True), (1000, True), (1000, False)):
        held = None if memmap else read_bands(paths[side])["r"]
        tracemalloc.start()
        image = read_bands(paths[side], memmap=True)["r"] if memmap else held
        made.append(enhancer.to_file(image, tmp_path / f"{len(made)}.fits", sky=0, sigma=1))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A copy of the input would be 4 bytes a pixel, the output 24.
    for peak in peaks[1:]:
        assert peak - peaks[0] < 3 * (1000**2 - 400**2)
    with fits.open(made[1]) as one, fits.open(made[2]) as two:
        for part in ("SCI", "BPM", "DQ"):
            assert_array_equal(one[part].data, two[part].data)
