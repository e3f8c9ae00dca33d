# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Legacy Surveys cutouts: every layout read, every trap of the service caught."""

import gzip
import io
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable, Table
from astropy.utils.masked import Masked
from astropy.wcs.utils import proj_plane_pixel_scales
from numpy.testing import assert_allclose, assert_array_equal
from photutils.aperture import SkyCircularAperture, aperture_photometry
from replay import NATIVE, SILENT, cached, native_file, tan_wcs, viewer_file, viewer_resample
from werkzeug import Response

from splus_srgan.exceptions import ServiceError
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.surveys import legacy
from splus_srgan.surveys.legacy import (
    LAYERS,
    MaskBits,
    fetch_cutout,
    fetch_cutouts,
    fetch_psf,
    read_cutout,
)

GALAXY = (27.952, 0.2635)
FLUX = {"g": 20.0, "r": 40.0, "z": 60.0}
# Patient enough for a busy machine; tests of silence have less patience.
FAST = {"timeout": 30, "retries": 2, "backoff": 0.01, "min_interval": 0}


def flux(image, radius=6.0, position=GALAXY):
    """Flux of the galaxy in a circle (arcsec) by photutils."""
    aperture = SkyCircularAperture(SkyCoord(*position, unit="deg"), radius * u.arcsec)
    return float(aperture_photometry(image.data, aperture, wcs=image.wcs)["aperture_sum"][0])


def fetch(service, position=GALAXY, **options):
    return fetch_cutout(position, **{"size": 64, "service": service.url, **FAST, **options})


@pytest.fixture
def quiet(legacy_service):
    """The same sky with hardly any noise."""
    legacy_service.sky.sigma = 1e-5
    return legacy_service


def write(tmp_path, content, name="cutout.fits"):
    path = tmp_path / name
    path.write_bytes(content)
    return path


# What a good answer gives


def test_cutout_is_calibrated(legacy_service):
    images = fetch(legacy_service, bands="rg", size=(60, 72))
    assert list(images) == ["r", "g"]
    for band, image in images.items():
        assert (image.shape, image.unit, image.mask) == ((60, 72), u.nmgy, None)
        assert image.data.dtype == np.dtype("float32")
        assert isinstance(image.uncertainty, StdDevUncertainty)
        assert_allclose(image.uncertainty.array, 0.003, rtol=1e-5)
        assert image.flags.dtype == np.dtype("int32")
        assert_allclose(image.wcs.world_to_pixel_values(*GALAXY), (35.5, 29.5), atol=1e-3)
        assert_allclose(flux(image), FLUX[band], rtol=0.01)


def test_provenance_is_kept(legacy_service):
    image = fetch(legacy_service, layer="ls-dr9")["z"]
    meta = image.meta
    assert (meta["SURVEY"], meta["VERSION"], meta["BAND"]) == ("LegacySurvey", "DR10", "z")
    assert (meta["LSLAYER"], meta["LSAREA"], meta["LSFLAGS"]) == ("ls-dr9", 1.0, "MASKBITS")
    assert meta["LSURL"].startswith(legacy_service.url + "/fits-cutout?ra=27.9520000&dec=0.2635000")
    assert not {"BANDS", "BAND0", "CTYPE1", "CD1_1", "NAXIS3"} & set(meta)


def test_cutout_survives_a_file(legacy_service, tmp_path):
    images = fetch(legacy_service)
    again = read_bands(write_bands(tmp_path / "kept.fits", images))
    for band, image in images.items():
        assert_array_equal(again[band].data, image.data)
        assert_array_equal(again[band].flags, image.flags)
        assert again[band].meta["LSURL"] == image.meta["LSURL"]
        assert again[band].unit == u.nmgy


@pytest.mark.parametrize("scale", [0.131, 0.262, 0.275, 0.277, 0.35])
def test_flux_does_not_depend_on_the_pixel_scale(quiet, scale):
    """The service keeps values per native pixel; without the factor, 0.275" is 0.1 mag off."""
    size = int(24 / scale)
    image = fetch(quiet, size=size, pixel_scale=scale)["r"]
    assert_allclose(proj_plane_pixel_scales(image.wcs) * 3600, scale, rtol=1e-6)
    assert_allclose(flux(image), FLUX["r"], rtol=1e-3)
    assert_allclose(image.meta["LSAREA"], (scale / 0.262) ** 2, rtol=1e-9)
    assert_allclose(image.uncertainty.array, 1e-5 * (scale / 0.262) ** 2, rtol=1e-5)


def test_coarse_pixels_have_no_weights(quiet):
    with pytest.raises(
        ValueError, match=r"pixel_scale must be below 0\.371 with invvar=True.*0\.5"
    ):
        fetch(quiet, pixel_scale=0.524)
    image = fetch(quiet, pixel_scale=0.524, invvar=False, size=48)["r"]
    assert image.uncertainty is None
    assert image.flags is None
    assert_allclose(flux(image), FLUX["r"], rtol=2e-3)


def test_one_band_is_an_image_and_not_a_cube(legacy_service):
    (image,) = fetch(legacy_service, bands="r").values()
    assert image.shape == (64, 64)
    assert image.uncertainty.array.shape == (64, 64)
    assert_allclose(flux(image), FLUX["r"], rtol=0.01)


def test_position_forms_are_equal(legacy_service):
    forms = [
        GALAXY,
        [27.952 * u.deg, 0.2635 * u.deg],
        SkyCoord(*GALAXY, unit="deg"),
        SkyCoord(*GALAXY, unit="deg").galactic,
    ]
    urls = {fetch(legacy_service, form, bands="g")["g"].meta["LSURL"] for form in forms}
    assert len(urls) == 1
    assert len(legacy_service.requests) == 1


def test_asking_again_takes_the_cache(legacy_service):
    first, second = fetch(legacy_service), fetch(legacy_service)
    assert len(legacy_service.requests) == 1
    for band in first:
        assert_array_equal(first[band].data, second[band].data)


def test_without_cache_nothing_is_kept(legacy_service, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = set(tmp_path.rglob("*"))
    fetch(legacy_service, cache=False)
    assert set(tmp_path.rglob("*")) == before


# Missing pixels


def test_exact_zeros_are_missing_pixels(legacy_service):
    legacy_service.sky.footprint = lambda ra, dec: ra < GALAXY[0] + 5 / 3600
    for image in fetch(legacy_service).values():
        outside = (
            image.wcs.pixel_to_world_values(*np.indices((64, 64))[::-1])[0] >= 27.952 + 5 / 3600
        )
        assert outside.any()
        assert_array_equal(image.mask, outside)
        assert np.isinf(image.uncertainty.array[outside]).all()
        assert np.isfinite(image.uncertainty.array[~outside]).all()
        assert_array_equal(image.flags[outside], MaskBits.NPRIMARY)


def test_pixels_without_weight_are_missing(tmp_path):
    """Interpolated weights can be negative, and then say nothing."""
    wcs, data = tan_wcs(10, 0, (8, 8), NATIVE), np.ones((8, 8), ">f4")
    weight = np.full((8, 8), 4, ">f4")
    weight[2, 3], weight[5, 6] = 0, -1
    data[0, 0] = np.nan
    content = viewer_file({"g": data, "r": data}, wcs, invvar={"g": weight, "r": weight})
    image = read_cutout(write(tmp_path, content))["r"]
    assert np.argwhere(image.mask).tolist() == [[0, 0], [2, 3], [5, 6]]
    assert image.uncertainty.array[2, 3] == image.uncertainty.array[5, 6] == np.inf
    assert image.uncertainty.array[1, 1] == 0.5


def test_zeros_are_missing_also_without_weights(tmp_path):
    wcs, data = tan_wcs(10, 0, (8, 8), 0.2), np.ones((8, 8), ">f4")
    data[0], data[4, 4] = 0, -1
    image = read_cutout(write(tmp_path, viewer_file({"g": data}, wcs)))["g"]
    assert_array_equal(image.mask, np.arange(8)[:, np.newaxis] == np.zeros(8))
    assert image.uncertainty is None


def test_nothing_there_is_an_error(legacy_service):
    """Zeros in one band alone: the survey did not observe it."""
    real = legacy_service.sky.image
    legacy_service.sky.image = lambda wcs, shape, band: real(wcs, shape, band) * (band != "z")
    message = r"'ls-dr10' has no pixels in 'z' there \(all are 0\); choose a position"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service)
    assert list(fetch(legacy_service, bands="gr")) == ["g", "r"]


def test_outside_the_footprint_the_service_fails(legacy_service):
    legacy_service.sky.footprint = lambda ra, dec: ra < 0
    message = (
        r"HTTP 500 .* \(after 3 attempts\), as for positions outside the footprint of 'ls-dr10'"
    )
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service)


# Wrong answers


def test_unknown_layer_comes_as_text_with_status_200(legacy_service):
    message = "the service says 'no such layer'; layer must be one that the service has; asked"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service, layer="ls-dr99")
    assert len(legacy_service.requests) == 1
    assert cached() == {}


def test_unknown_band_is_refused_before_asking(legacy_service):
    for bands in ("gxz", "GRZ", ["g", "rz"]):
        message = "bands must be among g, r, z for layer 'ls-dr9', in this spelling; got "
        with pytest.raises(ValueError, match=message):
            fetch(legacy_service, bands=bands, layer="ls-dr9")
    assert legacy_service.requests == []


def test_silent_fallback_to_other_bands_is_noticed(legacy_service):
    """For a band it does not know the service gives all those that it has."""
    legacy_service.layers["ls-dr11"] = "griz"
    message = r"the service must give the bands g, Y; got g, r, i, z; the layer may not have them"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service, layer="ls-dr11", bands="gY")
    assert cached() == {}
    assert list(fetch(legacy_service, layer="ls-dr11", bands="zg")) == ["z", "g"]


def test_large_sizes_are_refused_before_they_are_clipped(legacy_service):
    for size in (3001, (64, 4000)):
        with pytest.raises(ValueError, match="size must be at most 3000 pixels, since the service"):
            fetch(legacy_service, size=size)
    assert legacy_service.requests == []


def test_silent_clipping_is_noticed(legacy_service):
    legacy_service.max_size = 50
    message = r"the service must give the size \(64, 64\); got \(50, 50\); ask for less"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service)
    assert cached() == {}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (tan_wcs(27.952, 0.2635, (64, 64), 0.3), r"must give 0\.262 arcsec/pixel; got 0\.3"),
        (
            tan_wcs(27.953, 0.2635, (64, 64), 0.262),
            r"must center the position; got it 13\.7 pixels",
        ),
    ],
)
def test_another_piece_of_sky_is_noticed(legacy_service, answer, message):
    legacy_service.server.clear()
    body = viewer_file({"g": np.ones((64, 64), ">f4")}, answer)
    legacy_service.serve("/viewer/fits-cutout", lambda request: Response(body))
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service, bands="g", invvar=False)


def test_missing_weights_and_missing_bits_are_errors(legacy_service):
    """An answer that was cut at the end of one of its parts looks like one without the rest."""
    legacy_service.server.clear()
    wcs = tan_wcs(*GALAXY, (64, 64), 0.262)
    body = viewer_file({"g": np.ones((64, 64), ">f4")}, wcs)
    legacy_service.serve("/viewer/fits-cutout", lambda request: Response(body))
    message = "the service sent no inverse variances for 'ls-dr10'; pass invvar=False"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service, bands="g")
    with pytest.raises(ServiceError, match=r"sent no mask bits .* pass maskbits=False"):
        fetch(legacy_service, bands="g", invvar=False)
    image = fetch(legacy_service, bands="g", invvar=False, maskbits=False)["g"]
    assert image.flags is None
    assert "LSFLAGS" not in image.meta


def test_an_answer_cut_before_its_mask_bits_is_refused(legacy_service):
    """At every length at which the rest is a sound FITS file."""
    wcs = tan_wcs(*GALAXY, (64, 64), 0.262)
    planes = {"g": np.ones((64, 64), ">f4")}
    bits = np.zeros((64, 64), ">i4")
    whole = viewer_file(planes, wcs, invvar=planes, maskbits=bits)
    legacy_service.server.clear()
    answers = [whole]
    legacy_service.serve("/viewer/fits-cutout", lambda request: Response(answers[0]))
    with fits.open(io.BytesIO(whole)) as hdus:
        ends = [hdu.fileinfo()["datLoc"] + hdu.fileinfo()["datSpan"] for hdu in hdus][:-1]
    assert len(ends) >= 2
    for end in ends:
        answers[:] = [whole[:end]]
        with pytest.raises(ServiceError, match=r"no inverse variances|no mask bits|no image"):
            fetch(legacy_service, bands="g")
    answers[:] = [whole]
    assert fetch(legacy_service, bands="g")["g"].flags is not None


def test_bad_position_is_refused(legacy_service):
    for position in (
        (10, 95),
        (10,),
        ("a", "b"),
        (np.nan, 0),
        SkyCoord([1, 2], [1, 2], unit="deg"),
    ):
        with pytest.raises(ValueError, match="position must be"):
            fetch(legacy_service, position)
    assert legacy_service.requests == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size must be at least 1; got 0"),
        ({"size": (1, 2, 3)}, r"size must be an integer or \(ny, nx\); got \(1, 2, 3\)"),
        ({"pixel_scale": -1}, "pixel_scale must be above 0; got -1"),
        ({"bands": ""}, "bands must be among g, r, i, z"),
        ({"bands": "gg"}, "bands must be different; got g, g"),
        ({"layer": ""}, "layer must be a name such as 'ls-dr10'; got ''"),
        ({"native": True, "pixel_scale": 0.275}, r"pixel_scale must be 0\.262 with native=True"),
        ({"psf": True, "pixel_scale": 0.275}, r"pixel_scale must be 0\.262 with psf=True"),
    ],
)
def test_odd_options_are_refused(legacy_service, options, message):
    with pytest.raises(ValueError, match=message):
        fetch(legacy_service, **options)
    assert legacy_service.requests == []


@pytest.mark.parametrize(
    "failure",
    ["stall", "mute", "drip", "truncated", "cut", "reset", "<html>busy</html>", 500, 503, 429],
    ids=str,
)
def test_passing_failures_of_the_service_are_retried(legacy_service, failure):
    legacy_service.fail(failure)
    images = fetch(legacy_service, timeout=1 if failure in SILENT else 30)
    assert_allclose(flux(images["r"]), FLUX["r"], rtol=0.01)
    assert len(legacy_service.requests) == 2
    (path,) = cached().values()
    assert list(read_cutout(path)) == ["g", "r", "z"]


def test_compressed_answer_is_read(legacy_service):
    """Some proxies compress whether asked to or not."""
    body = gzip.compress(
        viewer_file({"g": np.ones((64, 64), ">f4")}, tan_wcs(*GALAXY, (64, 64), NATIVE))
    )
    legacy_service.server.clear()
    headers = {"Content-Encoding": "gzip"}
    legacy_service.serve("/viewer/fits-cutout", lambda request: Response(body, headers=headers))
    images = fetch(legacy_service, bands="g", invvar=False, maskbits=False)
    assert_array_equal(images["g"].data, 1)


def test_lasting_nonsense_is_quoted(legacy_service):
    legacy_service.fail(*["<html>come back later</html>"] * 3)
    message = "the service sent no FITS file but '<html>come back later</html>' .after 3 attempts"
    with pytest.raises(ServiceError, match=message):
        fetch(legacy_service)
    assert cached() == {}


# Native pixels


def test_native_pixels_are_untouched(legacy_service, tmp_path):
    """One brick: the very numbers of the file."""
    images = fetch(legacy_service, native=True, size=50)
    (path,) = cached().values()
    with fits.open(path) as hdus:
        raw = {hdu.header["BAND"]: hdu.data for hdu in hdus[1::2]}
    for band, image in images.items():
        assert_array_equal(image.data, raw[band])
        assert_allclose(image.uncertainty.array, 0.003, rtol=1e-5)
        assert (image.mask, image.meta["LSAREA"]) == (None, 1.0)
        assert image.meta["BRICK"] == "0001p000"


@pytest.mark.parametrize("where", [-3, 0, 4])
def test_bricks_are_put_together(quiet, where):
    """A galaxy on the edge of a brick is whole, and what was there is not resampled."""
    quiet.brick_edge = GALAXY[0] + where / 3600
    images = fetch(quiet, native=True, size=120, bands="gr")
    (path,) = cached().values()
    with fits.open(path) as hdus:
        shapes = [hdu.data.shape for hdu in hdus[1:]]
    assert len(set(shapes)) == 2, "the server must have sent two bricks"
    for band, image in images.items():
        assert image.mask is None or image.mask.mean() < 0.02
        assert_allclose(flux(image), FLUX[band], rtol=2e-3)
        assert abs(image.shape[1] - 120) <= 2
        assert "put together from the bricks" in str(image.meta["HISTORY"])


def test_own_pixels_of_the_main_brick_stay(tmp_path):
    """Two bricks with their own tangent points; one band is in one of them alone."""
    rng = np.random.default_rng(5)
    east, west = tan_wcs(150.0, 30, (40, 60), NATIVE), tan_wcs(149.98, 30, (40, 30), NATIVE)
    # Its centre lies 40 pixels to the right of the other's.
    west.wcs.crpix[0] += 0.02 * 3600 * np.cos(np.radians(30)) / NATIVE - 40
    big, small = rng.normal(size=(40, 60)), rng.normal(size=(40, 30))
    ones = np.ones_like
    pieces = [
        ("g", "east", big, ones(big), east),
        ("r", "east", big, ones(big), east),
        ("g", "west", small, ones(small), west),
    ]
    images = read_cutout(write(tmp_path, native_file(pieces)))
    assert images["g"].shape == images["r"].shape
    x, y = np.rint(images["g"].wcs.wcs.crpix - east.wcs.crpix).astype(int)
    own = slice(y, y + 40), slice(x, x + 60)
    assert_array_equal(images["g"].data[own], big.astype("f4"))
    assert_array_equal(images["r"].data[own], big.astype("f4"))
    assert images["r"].mask[:, x + 60 :].all()
    mask = images["g"].mask
    assert mask is None or not mask[5:-5, x + 60 : x + 80].any()


def test_native_pixels_of_another_place_are_noticed(legacy_service):
    legacy_service.server.clear()
    body = native_file([("g", "b", *np.ones((2, 64, 64)), tan_wcs(28, 0.2635, (64, 64), NATIVE))])
    legacy_service.serve("/viewer/fits-cutout", lambda request: Response(body))
    with pytest.raises(ServiceError, match="must give pixels around the position; got others"):
        fetch(legacy_service, bands="g", native=True)


def test_native_file_without_weights_or_names(tmp_path):
    """Older files lack IMAGETYP and BRICK cards."""
    wcs = tan_wcs(10, 0, (8, 8), NATIVE)
    hdus = fits.HDUList.fromstring(native_file([("r", "b", np.ones((8, 8)), None, wcs)]))
    del hdus[1].header["IMAGETYP"], hdus[1].header["BRICK"]
    hdus.writeto(tmp_path / "old.fits")
    image = read_cutout(tmp_path / "old.fits")["r"]
    assert image.uncertainty is None
    assert_array_equal(image.data, 1)


# Files on disk


@pytest.mark.parametrize("kinds", ["IMAGE INVVAR MASKBITS", "image invvar maskbits"])
def test_all_spellings_of_the_viewer_are_read(tmp_path, kinds):
    """Releases of the viewer differ; `read_bands` takes both as well."""
    wcs, data = tan_wcs(10, 0, (8, 8), NATIVE), np.ones((8, 8), ">f4")
    bits = np.full((8, 8), 2, ">i2")
    planes = {"g": data, "r": 2 * data}
    kinds = kinds.split()
    path = write(tmp_path, viewer_file(planes, wcs, invvar=planes, maskbits=bits, kinds=kinds))
    image = read_cutout(path, bands="r")["r"]
    assert_array_equal(image.data, 2)
    assert_array_equal(image.uncertainty.array, np.float32(0.5**0.5))
    assert MaskBits(int(image.flags[0, 0])) is MaskBits.BRIGHT
    assert_array_equal(read_bands(path)["r"].data, 2)


def test_changing_the_flags_of_one_band_leaves_the_others(tmp_path):
    wcs, data = tan_wcs(10, 0, (8, 8), NATIVE), np.ones((8, 8), ">f4")
    content = viewer_file({"g": data, "r": data}, wcs, maskbits=np.zeros((8, 8), ">i2"))
    images = read_cutout(write(tmp_path, content))
    images["g"].flags[:] = 1
    assert not images["r"].flags.any()


def broken_files():
    wcs, data = tan_wcs(10, 0, (8, 8), NATIVE), np.ones((8, 8), ">f4")
    good = viewer_file({"g": data, "r": data}, wcs, invvar={"g": data, "r": data})

    def changed(change):
        hdus = fits.HDUList.fromstring(good)
        change(hdus)
        buffer = io.BytesIO()
        hdus.writeto(buffer)
        return buffer.getvalue()

    def no_wcs(hdus):
        del hdus[0].header["CTYPE*"]

    def other_kind(hdus):
        hdus[0].header["IMAGETYP"] = "chi2"

    def no_bands(hdus):
        del hdus[0].header["BANDS"]

    def one_band(hdus):
        hdus[0].header["BANDS"] = "g"

    def short_weights(hdus):
        hdus[1] = fits.ImageHDU(hdus[1].data[:, :5], hdus[1].header)

    def twice(hdus):
        hdus[0].header["BANDS"] = "gg"

    def line(hdus):
        hdus[0].data = np.ones(8, "f4")

    yield changed(no_wcs), "must have a celestial WCS, which says how large its pixels are"
    yield changed(other_kind), "HDUs of IMAGETYP image, invvar, maskbits; got 'chi2'"
    yield changed(no_bands), "must name its 2 bands in BANDS or BAND; got None"
    yield changed(one_band), "must name its 2 bands in BANDS or BAND; got 'g'"
    yield changed(short_weights), "must have its invvar right after the image, in the same shape"
    yield changed(twice), r"must have each band once; got \['g', 'g'\]"
    yield changed(line), r"must hold \(ny, nx\) or \(n_band, ny, nx\); got \(8,\)"
    empty = io.BytesIO()
    fits.PrimaryHDU().writeto(empty)
    yield empty.getvalue(), "has no image: no survey pixels there, or no cutout at all"


@pytest.mark.parametrize(("content", "message"), list(broken_files()))
def test_odd_file_is_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_cutout(write(tmp_path, content))


def test_damaged_file_is_refused(tmp_path, legacy_service):
    fetch(legacy_service)
    (path,) = cached().values()
    with open(path, "rb") as file:
        content = file.read()
    for size in (0, 100, 2880, len(content) // 2, len(content) - 2880):
        with pytest.raises(OSError, match=r"cut\.fits cannot be read as FITS"):
            read_cutout(write(tmp_path, content[:size], "cut.fits"))
    with pytest.raises(FileNotFoundError, match=r"gone\.fits does not exist"):
        read_cutout(tmp_path / "gone.fits")


def test_missing_band_of_a_file_is_named(tmp_path):
    wcs = tan_wcs(10, 0, (8, 8), NATIVE)
    path = write(tmp_path, viewer_file({"g": np.ones((8, 8), ">f4")}, wcs))
    with pytest.raises(ValueError, match=r"bands must be among .*, \['g'\]; got \['r'\]"):
        read_cutout(path, bands="gr")


# PSF


def test_psf_is_fetched_and_normalised(legacy_service):
    psfs = fetch_psf(GALAXY, bands="zr", service=legacy_service.url, **FAST)
    assert list(psfs) == ["z", "r"]
    for psf in psfs.values():
        assert (psf.shape, psf.dtype) == ((63, 63), np.dtype("float32"))
        assert_allclose(psf.sum(), 1, rtol=1e-6)
        assert np.unravel_index(psf.argmax(), psf.shape) == (31, 31)
    image = fetch(legacy_service, bands="zr", psf=True)["r"]
    assert_array_equal(image.psf, psfs["r"])
    assert len(legacy_service.requests) == 2


def test_empty_psf_is_an_error(legacy_service):
    legacy_service.server.clear()
    empty = fits.PrimaryHDU(np.zeros((63, 63), "f4"), fits.Header({"BAND": "g"}))
    buffer = io.BytesIO()
    empty.writeto(buffer)
    legacy_service.serve("/viewer/coadd-psf/", lambda request: Response(buffer.getvalue()))
    for bands, message in (("g", "has no PSF in 'g' there"), ("r", "must give the bands r; got g")):
        with pytest.raises(ServiceError, match=message):
            fetch_psf(GALAXY, bands=bands, service=legacy_service.url, **FAST)


# Lists

POSITIONS = [(27.952 + i / 100, 0.2635) for i in range(6)]


def fetch_list(service, positions=POSITIONS, **options):
    options = {"size": 32, "bands": "g", "service": service.url, **FAST, **options}
    return fetch_cutouts(positions, **options)


GAPS = Table.read("ra,dec\n10.5,1.0\n,\n", format="ascii.csv")
MASKED = Masked([10.5, 20.0] * u.deg, mask=[False, True])


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (GAPS, "ra must be degrees on the sky; got nan in row 1"),
        (QTable({"ra": [1, 2] * u.deg, "dec": MASKED}), "dec must be degrees .* nan in row 1"),
        ([(row["ra"], row["dec"]) for row in GAPS], "position must be one finite position"),
        ([(MASKED[1], 1 * u.deg)], "position must be one finite position"),
    ],
)
def test_missing_coordinates_are_refused_before_anything_is_asked(positions, message):
    """A gap of a table is no position, least of all 0, 0."""
    with pytest.raises(ValueError, match=message):
        fetch_cutouts(positions, size=32, service="http://127.0.0.1:9/nobody")


def test_list_keeps_its_order_and_shows_progress(legacy_service):
    seen = []

    def bar(iterable):
        for item in iterable:
            seen.append(item)
            yield item

    cutouts = fetch_list(legacy_service, progress_bar=bar)
    centres = [one["g"].wcs.pixel_to_world_values(15.5, 15.5) for one in cutouts]
    assert_allclose(centres, POSITIONS, atol=1e-6)
    assert len(seen) == len(POSITIONS)
    assert 1 <= legacy_service.most_at_once <= 4


def test_list_goes_on_where_it_stopped(legacy_service):
    """Nothing is fetched twice, whatever made it stop."""
    legacy_service.sky.footprint = lambda ra, dec: abs(ra - POSITIONS[3][0]) > 0.004
    message = "1 of 6 positions failed; the first: HTTP 500"
    with pytest.raises(ServiceError, match=message):
        fetch_list(legacy_service)
    assert len(cached()) == 5
    partly = fetch_list(legacy_service, on_error="return")
    assert [isinstance(one, ServiceError) for one in partly] == [i == 3 for i in range(6)]
    legacy_service.sky.footprint = None
    legacy_service.requests.clear()
    assert len(fetch_list(legacy_service)) == 6
    assert len(legacy_service.requests) == 1


def test_interrupted_list_starts_nothing_new(legacy_service):
    def bar(iterable):
        yield next(iter(iterable))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_list(legacy_service, [(10 + i, 0) for i in range(40)], progress_bar=bar, n_parallel=1)
    time.sleep(0.3)
    asked = len(legacy_service.requests)
    assert asked < 10
    time.sleep(0.3)
    assert len(legacy_service.requests) == asked == len(cached())


def test_tables_and_coordinates_are_lists(legacy_service):
    ra, dec = np.transpose(POSITIONS[:2])
    forms = [
        QTable({"name": ["a", "b"], "ra": ra * u.deg, "dec": dec * u.deg}),
        QTable({"ra": ra, "dec": dec}),
        QTable({"ra": (ra * u.deg).to(u.hourangle), "dec": dec * u.deg}),
        SkyCoord(ra, dec, unit="deg"),
    ]
    for form in forms:
        fetch_list(legacy_service, form)
    assert len(legacy_service.requests) == 2
    with pytest.raises(ValueError, match=r"positions must have columns ra, dec; got \['RA'\]"):
        fetch_list(legacy_service, QTable({"RA": ra}))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_parallel": 5}, "n_parallel must be at most 4; got 5"),
        ({"n_parallel": 0}, "n_parallel must be at least 1; got 0"),
        ({"on_error": "ignore"}, "on_error must be one of 'raise', 'return'; got 'ignore'"),
    ],
)
def test_odd_list_options_are_refused(legacy_service, options, message):
    with pytest.raises(ValueError, match=message):
        fetch_list(legacy_service, **options)


def test_layers_and_bits():
    assert legacy.PIXEL_SCALE == 0.262
    assert all(set("grz") <= set(bands) for bands in LAYERS.values())
    assert MaskBits.ALLMASK_Z == 2**7
    assert MaskBits.SUB_BLOB == 2**16


# Real files


@pytest.mark.realdata
@pytest.mark.parametrize("scale", [0.262, 0.131, 0.275, 0.277])
def test_native_and_viewer_files_have_the_same_flux(real_data, tmp_path, scale):
    """
    A real native file, and what the viewer makes of it, to 0.5 %.

    No cube of the test data shows the sky of the native file, so the viewer's interpolation is
    done here, with its values left per native pixel.
    """
    native = read_cutout(real_data / "legacy" / "cutout_59.1067_-30.4848.fits")
    y, x = np.unravel_index(native["r"].data.argmax(), native["r"].shape)
    where = [float(v) for v in native["r"].wcs.pixel_to_world_values(x, y)]
    size = int(24 / scale)
    fine = tan_wcs(*where, (size, size), scale)
    cube = {
        band: viewer_resample(image.data, image.wcs, fine, (size, size))
        for band, image in native.items()
    }
    viewer = read_cutout(write(tmp_path, viewer_file(cube, fine)))
    for band, image in native.items():
        assert_allclose(
            flux(viewer[band], 8, where), flux(image, 8, where), rtol=5e-3, err_msg=band
        )


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["decals_a", "decals_b", "decals_c", "decals_d"])
def test_real_viewer_cubes_are_read(real_data, name):
    path = real_data / "legacy" / f"{name}.fits"
    images = read_cutout(path)
    with fits.open(path) as hdus:
        header, cube = hdus[0].header, hdus[0].data
    factor = (abs(header["CD2_2"]) * 3600 / 0.262) ** 2
    for image, plane in zip(images.values(), cube, strict=True):
        assert image.unit == u.nmgy
        assert_allclose(image.data, plane * factor, rtol=1e-5)
        mask = np.zeros(plane.shape, bool) if image.mask is None else image.mask
        assert_array_equal(mask, plane == 0)
        assert_allclose(image.wcs.wcs.crpix, 212.5)


@pytest.mark.realdata
def test_real_native_file_is_read(real_data):
    images = read_cutout(real_data / "legacy" / "cutout_59.1067_-30.4848.fits")
    assert list(images) == ["g", "r", "z"]
    for image in images.values():
        assert image.mask is None
        # The weights leave out the photons of the sources, so the sky's scatter is theirs.
        sky = image.data[np.abs(image.data) < 3 * np.median(image.uncertainty.array)]
        assert_allclose(sky.std(), np.median(image.uncertainty.array), rtol=0.25)


@pytest.mark.realdata
def test_real_psf_file_is_read(real_data):
    request = legacy.PSFRequest((59.1067, -30.4848), "ls-dr9", "rzg")
    psfs = request.check(real_data / "legacy" / "copsf_59.1067_-30.4848.fits")
    assert list(psfs) == ["r", "z", "g"]
    for psf in psfs.values():
        assert psf.shape == (63, 63)
        assert_allclose(psf.sum(), 1, rtol=1e-6)


def test_bands_may_be_an_iterator(legacy_service):
    images = fetch(legacy_service, bands=iter("gr"), psf=True)
    assert list(images) == ["g", "r"]
    assert all(image.psf is not None for image in images.values())
    where = [GALAXY, (GALAXY[0] + 0.01, GALAXY[1])]
    options = {"service": legacy_service.url, "n_parallel": 1, "min_interval": 0}
    lists = fetch_cutouts(where, size=32, bands=iter("gr"), **options)
    assert [list(one) for one in lists] == [["g", "r"]] * 2
