# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Images of data release 1 over the Virtual Observatory, against a replayed service."""

from io import BytesIO
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from numpy.testing import assert_allclose
from replay import Sky, Source, to_bytes
from replay_splus import ZERO_POINT, Tile, splus_stamp
from werkzeug import Response

from splus_srgan.exceptions import GridMismatchError, ServiceError
from splus_srgan.surveys.splus_vo import fetch_vo, search_vo
from splus_srgan.surveys.zero_points import calibrate_flux
from splus_srgan.utils import optional as _optional

pytest.importorskip("pyvo", reason="the VO client needs pyvo (extra splus)")
pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")

TARGET = SkyCoord(27.952, 0.2635, unit="deg")
FAST = {"backoff": 0.01, "min_interval": 0.0, "timeout": 5.0}


def fetch(service, position=TARGET, *, size=48, **options):
    return fetch_vo(position, size=size, service=service.url, **{**FAST, **options})


def images_asked(service):
    return [request for request in service.requests if request.startswith("/svc")]


# What comes


def bright(service, n=1):
    """Only the galaxy, or the stars too; 50 times as bright, so that noise does not count."""
    del service.sky.sources[n:]
    for source in service.sky.sources:
        source.flux = {band: 50 * flux for band, flux in source.flux.items()}


def test_images_are_those_of_the_position(splus_service):
    bright(splus_service)
    images = fetch(splus_service)
    assert list(images) == ["g", "r", "z"]
    for band, image in images.items():
        assert image.shape == (48, 48)
        assert image.unit == u.adu
        assert image.data.dtype == np.dtype("=f4")
        assert image.mask is None
        assert image.uncertainty is None
        assert image.meta["FILTER"] == band.upper()
        assert image.meta["SRRELEAS"] == "dr1"
        x, y = image.wcs.world_to_pixel(TARGET)
        assert max(abs(x - 23.5), abs(y - 23.5)) <= 0.5
        # The flux-weighted center of the galaxy is where the WCS says.
        cut = image.data[12:36, 12:36]
        yy, xx = np.mgrid[12:36, 12:36]
        assert (xx * cut).sum() / cut.sum() == pytest.approx(float(x), abs=0.02)
        assert (yy * cut).sum() / cut.sum() == pytest.approx(float(y), abs=0.02)


def test_flux_in_nanomaggies_is_that_of_the_sky(splus_service):
    bright(splus_service, 3)
    for band, image in fetch(splus_service, size=64).items():
        calibrated = calibrate_flux(image, ZERO_POINT[band.upper()])
        total = sum(source.flux[band] for source in splus_service.sky.sources)
        assert calibrated.data.sum() == pytest.approx(total, rel=0.01)


def test_size_is_counted_in_degrees_of_right_ascension(splus_service):
    """SIZE is in coordinate degrees, so the first number grows with 1 / cos(dec)."""
    splus_service.tiles = [Tile("SPLUS-s50s01", 27.9, -60.1)]
    splus_service.sky.sources.clear()
    images = fetch(splus_service, (27.952, -60.0), size=40)
    query = parse_qs(urlsplit(splus_service.requests[0]).query)
    width, height = (float(v) for v in query["SIZE"][0].split(","))
    assert query["POS"] == ["27.952,-60.0"]
    assert height == pytest.approx(48 * 0.55 / 3600, rel=1e-4)
    assert width / height == pytest.approx(2.0, rel=1e-3)
    assert images["r"].shape == (40, 40)


@pytest.mark.parametrize(
    ("size", "pixels"), [(32, 32), (17.6 * u.arcsec, 32), (17.61 * u.arcsec, 33), (33, 33)]
)
def test_sizes(splus_service, size, pixels):
    image = fetch(splus_service, size=size, bands="r")["r"]
    assert image.shape == (pixels, pixels)
    x, y = image.wcs.world_to_pixel(TARGET)
    assert max(abs(x - (pixels - 1) / 2), abs(y - (pixels - 1) / 2)) <= 0.5


@pytest.mark.parametrize(
    ("bands", "keys"),
    [
        ("zr", ["z", "r"]),
        ("J0660", ["J0660"]),
        (("F660", "G"), ["F660", "G"]),
        ("g, r", ["g", "r"]),
    ],
)
def test_bands_keep_order_and_spelling(splus_service, bands, keys):
    assert list(fetch(splus_service, bands=bands)) == keys


def test_stamp_keeps_its_own_center_card(splus_service):
    image = fetch(splus_service, bands="r")["r"]
    assert image.meta["NAXIS1"] == 48
    # The middle of the larger stamp, in pixels of the cut one.
    assert abs(image.meta["X01TILE"] - 23.5) <= 1.5


def test_beyond_the_edge_of_the_tile_pixels_are_masked(splus_service):
    tile = splus_service.tiles[0]
    corner = tile.wcs.pixel_to_world(5, 400)
    image = fetch(splus_service, corner, bands="r", size=40)["r"]
    assert image.shape == (40, 40)
    missing = image.mask.sum(axis=1)
    assert_allclose(missing, missing[0])
    assert 13 <= missing[0] <= 16
    assert np.isnan(image.data[image.mask]).all()
    assert np.isfinite(image.data[~image.mask]).all()
    assert image.wcs.world_to_pixel(corner)[0] == pytest.approx(19.5, abs=0.5)


# Which tile


def test_all_bands_are_of_the_nearest_tile_that_has_them(splus_service):
    splus_service.tiles = [
        Tile("STRIPE82-0060", 28.6, 0.0),
        Tile("STRIPE82-0061", 28.0, 0.3, bands=("G", "R")),
        Tile("STRIPE82-0059", 27.6, 0.0),
    ]
    found = search_vo(TARGET, size=40, service=splus_service.url, **FAST)
    assert all("STRIPE82-0059_" in url for url in found.values())
    found = search_vo(TARGET, size=40, bands="gr", service=splus_service.url, **FAST)
    assert all("STRIPE82-0061_" in url for url in found.values())


def test_previews_and_weight_maps_are_not_taken(splus_service):
    found = search_vo(TARGET, size=40, service=splus_service.url, **FAST)
    assert {band: parse_qs(urlsplit(url).query)["siaRef"][0] for band, url in found.items()} == {
        band: f"STRIPE82-0059_{band.upper()}_swp.fz" for band in "grz"
    }
    assert not any("preview" in url for url in found.values())


@pytest.mark.parametrize("left", ["swpweight", "preview"])
def test_band_with_a_weight_map_or_a_preview_alone_is_missing(splus_service, left):
    rows = splus_service.rows

    def answer(*where):
        return [row for row in rows(*where) if "_Z_" not in row[1] or left in row[1]]

    splus_service.rows = answer
    with pytest.raises(ServiceError, match="there are J0660, g, i, r, u;"):
        search_vo(TARGET, size=40, service=splus_service.url, **FAST)


def test_columns_are_also_found_by_their_meaning(splus_service):
    """The standard fixes the UCDs of the columns, not their names."""

    def answer(request):
        response = splus_service._search(request)
        for name in ("access_url", "access_format", "obs_bandpass", "s_ra", "s_dec"):
            response.set_data(response.get_data().replace(name.encode(), b"col_" + name.encode()))
        return response

    splus_service.serve("/sia/other", answer)
    url = splus_service.server.url_for("/sia/other")
    assert list(search_vo(TARGET, size=40, service=url, **FAST)) == ["g", "r", "z"]


# What goes wrong


def test_position_outside_of_the_survey(splus_service):
    with pytest.raises(
        ServiceError, match=r"no tile with images of g, r, z at 180 45; there are none"
    ):
        fetch(splus_service, (180.0, 45.0))
    assert not images_asked(splus_service)
    # The next answer may be another: nothing was kept.
    splus_service.tiles.append(Tile("X", 180.0, 45.0))
    splus_service.sky.sources.clear()
    assert list(fetch(splus_service, (180.0, 45.0), bands="r")) == ["r"]


def test_missing_band_is_named_with_those_that_are_there(splus_service):
    splus_service.tiles = [Tile("STRIPE82-0059", 27.6, 0.0, bands=("G", "R"))]
    with pytest.raises(ServiceError, match=r"images of g, r, z at .*; there are g, r;"):
        fetch(splus_service)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("<html>maintenance</html>", "no VOTable of images .*it begins with b'<html>"),
        ("", "no VOTable of images"),
        ("not xml at all", "no VOTable of images"),
    ],
)
def test_other_answers_than_a_votable(splus_service, answer, message):
    splus_service.fail(answer)
    with pytest.raises(ServiceError, match=message):
        fetch(splus_service)
    assert len(fetch(splus_service)) == 3


def test_error_told_in_the_votable(splus_service):
    def answer(request):
        return splus_service.votable([], status="ERROR", message="USAGE: bad POS")

    splus_service.serve("/sia/bad", answer)
    with pytest.raises(ServiceError, match="the service refuses the query: USAGE: bad POS"):
        fetch_vo(TARGET, size=40, service=splus_service.server.url_for("/sia/bad"), **FAST)


def test_votable_without_the_columns(splus_service):
    def answer(request):
        text = splus_service._search(request).get_data().replace(b"obs_bandpass", b"color")
        return Response(text.replace(b"VOX:BandPass_ID", b"meta"), content_type="text/xml")

    splus_service.serve("/sia/other", answer)
    with pytest.raises(ServiceError, match=r"must have the columns \['obs_bandpass'\]"):
        fetch_vo(TARGET, size=40, service=splus_service.server.url_for("/sia/other"), **FAST)


@pytest.mark.parametrize("failure", [503, (429, {"Retry-After": "0"}), "truncated", "reset", "cut"])
@pytest.mark.parametrize("before", [0, 1])
def test_busy_and_broken_answers_are_asked_for_again(splus_service, failure, before):
    """Of the search (the first request), and of an image (the second)."""
    if before:
        search_vo(TARGET, size=56, bands="r", service=splus_service.url, **FAST)
    splus_service.fail(failure)
    assert fetch(splus_service, bands="r")["r"].shape == (48, 48)
    assert len(splus_service.requests) == 3


def test_stalled_image_is_asked_for_again(splus_service):
    search_vo(TARGET, size=56, bands="r", service=splus_service.url, **FAST)
    splus_service.fail("stall")
    assert len(fetch(splus_service, bands="r", timeout=0.5)) == 1


def test_service_that_stays_down(splus_service):
    splus_service.fail(*[503] * 3)
    with pytest.raises(
        ServiceError, match=r"HTTP 503 .*\(after 3 attempts\); asked http"
    ) as caught:
        fetch(splus_service, retries=2)
    assert caught.value.status == 503


def with_card(**cards):
    def change(data, header):
        header.update(cards)
        return data, header

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (with_card(FILTER="G"), "band 'r' was asked for, and 'g' came"),
        (
            with_card(FILENAME="STRIPE82-0059_R_swpweight.fits"),
            "an image was asked for, and a weight map came: FILENAME is",
        ),
        (lambda data, header: (data * 0, header), "the image is empty"),
        (with_card(CRVAL1=12.0), "does not hold the position 27.952 0.2635, which would be at"),
        (with_card(CTYPE1="LINEAR", CTYPE2="LINEAR"), "no celestial WCS"),
        (with_card(BUNIT="nanomaggy"), "unit must equal BUNIT"),
    ],
)
def test_image_that_is_not_the_one_asked_for(splus_service, change, message):
    """It is refused and not kept: the next call gets the right one."""
    original = splus_service._cutout
    changes = [change]

    def answer(request):
        response = original(request)
        if not changes:
            return response
        with fits.open(BytesIO(response.get_data())) as hdus:
            data, header = changes.pop()(hdus[0].data.copy(), hdus[0].header.copy())
        return Response(to_bytes([fits.PrimaryHDU(data, header)]), content_type="image/fits")

    splus_service.server.clear()
    splus_service.serve("/sia/splus_dr1", splus_service._search)
    splus_service.serve("/svc/cutout", answer)
    with pytest.raises(ServiceError, match=message):
        fetch(splus_service, bands="r")
    assert fetch(splus_service, bands="r")["r"].meta["FILTER"] == "R"


def test_error_text_in_place_of_an_image(splus_service):
    search_vo(TARGET, size=56, bands="r", service=splus_service.url, **FAST)
    splus_service.fail(*["Could not open file"] * 2)
    with pytest.raises(ServiceError, match="it begins with b'Could not open file'"):
        fetch(splus_service, bands="r", retries=1)
    assert len(fetch(splus_service, bands="r")) == 1


def test_bands_on_different_grids_are_refused(splus_service):
    def answer(request):
        shift = (0, 0) if "_G_" in request.args["siaRef"] else (0.4, 0)
        response = splus_service._cutout(request)
        with fits.open(BytesIO(response.get_data())) as hdus:
            hdus[0].header["CRPIX1"] += shift[0]
            return Response(to_bytes([hdus[0].copy()]), content_type="image/fits")

    splus_service.server.clear()
    splus_service.serve("/sia/splus_dr1", splus_service._search)
    splus_service.serve("/svc/cutout", answer)
    with pytest.raises(GridMismatchError, match="band 'g'"):
        fetch(splus_service, bands="gr")


# The cache


def test_nothing_is_fetched_twice(splus_service):
    first = fetch(splus_service)
    count = len(splus_service.requests)
    assert count == 4
    again = fetch(splus_service)
    assert len(splus_service.requests) == count
    for band in "grz":
        np.testing.assert_array_equal(again[band].data, first[band].data)
    fetch(splus_service, cache=False)
    assert len(splus_service.requests) == 2 * count


def test_half_done_fetch_goes_on(splus_service):
    search_vo(TARGET, size=56, service=splus_service.url, **FAST)
    fetch(splus_service, bands="g")
    asked = len(images_asked(splus_service))
    assert asked == 1
    # The second image fails for good; the first is not asked for again afterwards.
    splus_service.fail(404)
    with pytest.raises(ServiceError, match="HTTP 404"):
        fetch(splus_service)
    fetch(splus_service)
    refs = [parse_qs(urlsplit(r).query)["siaRef"][0] for r in images_asked(splus_service)]
    assert sum("_G_" in ref for ref in refs) == 1


# Parameters


def test_bad_parameters():
    with pytest.raises(ValueError, match="position must be one finite position"):
        fetch_vo(SkyCoord([1, 2], [3, 4], unit="deg"), size=40)
    with pytest.raises(ValueError, match="position must be a SkyCoord, or right ascension"):
        fetch_vo("somewhere", size=40)
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        fetch_vo(TARGET, size=0)
    with pytest.raises(TypeError, match="size must be an integer; got 12"):
        fetch_vo(TARGET, size=12.5)
    with pytest.raises(ValueError, match="size must be a number of pixels or an angle; got 3"):
        fetch_vo(TARGET, size=3 * u.Jy)
    with pytest.raises(ValueError, match="band must be one of u, g"):
        fetch_vo(TARGET, size=40, bands="gy")
    with pytest.raises(ValueError, match="each once; got"):
        fetch_vo(TARGET, size=40, bands=["g", "G"])


def test_without_pyvo_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(_optional, "has", lambda name: False)
    with pytest.raises(ImportError, match=r'needs pyvo.*pip install "splusdata>=[\d.]+" "pyvo'):
        fetch_vo(TARGET, size=40)


def test_replayed_stamps_are_like_real_ones():
    """The helper itself: the target is up to 1.4 pixels off, the bands share one grid."""
    tile = Tile("STRIPE82-0059", 27.6, 0.0)
    sky = Sky([Source(27.952, 0.2635, {"g": 1.0, "r": 1.0})])
    data, header = splus_stamp(sky, tile, "R", 27.952, 0.2635, 40)
    assert data.shape == (40, 40)
    assert header["CD2_2"] == pytest.approx(1.527777777778e-4)
    assert header["FILENAME"] == "STRIPE82-0059_R_swp.fits"
