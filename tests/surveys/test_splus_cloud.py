# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The S-PLUS cloud through its client, of which a stand-in has the names and the habits."""

import builtins
import getpass
import io
import json
import logging
import pickle
import sys
import threading
import traceback
from importlib.machinery import ModuleSpec
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import StdDevUncertainty
from numpy.testing import assert_allclose, assert_array_equal
from replay import default_sky, to_bytes
from replay_splus import Tile, splus_stamp

from splus_srgan.exceptions import GridMismatchError, ServiceError
from splus_srgan.images.io.fields import write_bands
from splus_srgan.surveys._splus_client import make_client
from splus_srgan.surveys.splus_cloud import SplusCloud
from splus_srgan.surveys.zero_points import calibrate_flux
from splus_srgan.utils import optional as _optional

pytestmark = pytest.mark.filterwarnings("ignore::astropy.wcs.FITSFixedWarning")

TARGET = SkyCoord(27.952, 0.2635, unit="deg")
FAST = {"backoff": 0.01, "min_interval": 0.0, "timeout": 5.0}
SECRET = "correct horse battery staple"
TOKEN = "token-of-the-replayed-session"


# A stand-in for the client


class ADSSClientError(Exception):
    def __init__(self, message, response=None):
        self.message, self.response = message, response
        super().__init__(message)


class ResourceNotFoundError(ADSSClientError):
    """What the real client makes of everything that goes wrong with images."""


class AuthenticationError(ADSSClientError):
    pass


class PermissionDeniedError(ADSSClientError):
    pass


class ServerError(ADSSClientError):
    pass


class SplusdataError(Exception):
    pass


class Service:
    """What the stand-in talks to: releases, tiles, a log, and failures to come."""

    def __init__(self):
        self.collections = ["dr4_vacs", "dr4", "idr5", "dr6"]
        self.tile = Tile("STRIPE82-0059", 27.6, 0.0)
        self.sky = default_sky()
        self.log, self.failures, self.logins = [], [], []
        self.accounts = {"ana": SECRET}
        self.models = {}
        self.change = lambda weight, data, header: (data, header)

    def request(self, *what, token=None):
        self.log.append((*what, token))
        if self.failures:
            failure = self.failures.pop(0)
            if failure is not None:
                raise failure

    def stamp(self, band, ra, dec, size, weight):
        data, header = splus_stamp(self.sky, self.tile, band, ra, dec, size, weight=weight)
        data, header = self.change(weight, data, header)
        hdu = fits.ImageHDU(data, header)
        return to_bytes([fits.PrimaryHDU(), hdu])


def response(status):
    return SimpleNamespace(status_code=status)


def make_modules(service):
    """Modules with the interface of splusdata 5.56 and adss 1.46, as far as it matters."""

    def wrapped(what, function):
        try:
            return function()
        except Exception as error:
            raise ResourceNotFoundError(f"Failed to {what}: {error}")  # noqa: B904 - as they do

    class ADSSClient:
        def __init__(self, base_url, username=None, password=None, verify_ssl=True, **kwargs):
            self.base_url, self.token = base_url, None
            if not username:
                username = input("Username: ")
            if not password:
                password = getpass.getpass("Password: ")
            self.login(username, password, **kwargs)

        def login(self, username, password, **kwargs):
            service.logins.append(username)
            service.request("login")
            if service.accounts.get(username) != password:
                raise AuthenticationError(f"no user {username} with {password}", response(401))
            self.token = TOKEN

        def get_collections(self, skip=0, limit=100, **kwargs):
            def ask():
                service.request("collections", kwargs.get("timeout"), token=self.token)
                return [{"id": i, "name": name} for i, name in enumerate(service.collections)]

            return wrapped("get image collections", ask)

        def create_stamp_by_coordinates(self, output_path=None, **k):
            def ask():
                release = service.collections[k["collection_id"]]
                what = ("stamp", release, k["filter"], k["pattern"], k["timeout"])
                service.request(*what, token=self.token)
                size = k["size"]
                content = service.stamp(k["filter"], k["ra"], k["dec"], size, bool(k["pattern"]))
                if output_path:
                    with open(output_path, "wb") as file:
                        file.write(content)
                return content

            return wrapped("create stamp by coordinates", ask)

    class Core:
        def __init__(self, username=None, password=None, SERVER_IP="https://splus.cloud"):
            if not username:
                username = input("splus.cloud username: ")
            if not password:
                password = getpass.getpass("splus.cloud password: ")
            self.client = ADSSClient(SERVER_IP, username=username, password=password)
            self.collections, self.verbose = [], 0

        def get_collection_id_by_pattern(self, pattern):
            for collection in self.client.get_collections():
                if pattern in collection["name"]:
                    return collection
            raise SplusdataError("Collection not found")

        def stamp(
            self,
            ra,
            dec,
            size,
            band,
            weight=False,
            field_name=None,
            size_unit="pixels",
            outfile=None,
            data_release="dr4",
            timeout=60,
        ):
            collection = self.get_collection_id_by_pattern(data_release)
            service.field_name, service.size_unit = field_name, size_unit
            content = self.client.create_stamp_by_coordinates(
                collection_id=collection["id"],
                ra=ra,
                dec=dec,
                size=size,
                filter=band,
                pattern="weight" if weight else "",
                output_path=outfile,
                timeout=timeout,
            )
            return fits.open(io.BytesIO(content))

        def get_zp_file(self, field, band, data_release="dr6"):
            self.get_collection_id_by_pattern(data_release)
            service.request("zero point", field, band, token=self.client.token)
            if (field, band) not in service.models:
                raise SplusdataError(f"No zp model found for field {field} in band {band}")
            return service.models[field, band]

    adss, splusdata, core = (ModuleType(n) for n in ("adss", "splusdata", "splusdata.core"))
    adss.ADSSClient = ADSSClient
    splusdata.Core = core.Core = Core
    splusdata.core = core
    core.SplusdataError = SplusdataError
    return {"adss": adss, "splusdata": splusdata, "splusdata.core": core}


@pytest.fixture
def service(monkeypatch, replay_server):
    """The stand-in, without credentials anywhere, and nobody there to answer a question.

    The server of the other tests is there for its cache alone.
    """
    service = Service()
    for name, module in make_modules(service).items():
        module.__spec__ = ModuleSpec(name, None)
        monkeypatch.setitem(sys.modules, name, module)
    # A keyring that is installed here must not take part.
    keyring = ModuleType("keyring")
    keyring.__spec__ = ModuleSpec("keyring", None)
    keyring.entries, keyring.backend = {}, SimpleNamespace()
    keyring.get_keyring = lambda: keyring.backend
    keyring.get_credential = lambda name, user: (
        keyring.entries.get(user) if name == "splus.cloud" else None
    )
    monkeypatch.setitem(sys.modules, "keyring", keyring)
    service.keyring = keyring
    for name in ("SPLUS_USERNAME", "SPLUS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)

    def asked(*args, **kwargs):
        raise AssertionError("nobody may be asked for anything")

    monkeypatch.setattr(builtins, "input", asked)
    monkeypatch.setattr(getpass, "getpass", asked)
    return service


def cloud_of(service, *args, **options):
    return SplusCloud(*args, **{**FAST, **options})


def stamps_asked(service):
    return [entry[1:4] for entry in service.log if entry[0] == "stamp"]


# Images


def test_images_with_uncertainty(service):
    cloud = cloud_of(service)
    images = cloud.fetch(TARGET, size=48)
    assert list(images) == ["g", "r", "z"]
    for band, image in images.items():
        assert image.shape == (48, 48)
        assert image.unit == u.adu
        assert image.meta["FILTER"] == band.upper()
        assert image.meta["SRRELEAS"] == "dr4"
        x, y = image.wcs.world_to_pixel(TARGET)
        assert max(abs(x - 23.5), abs(y - 23.5)) <= 0.5
        assert isinstance(image.uncertainty, StdDevUncertainty)
        gain = image.meta["GAIN"]
        expected = np.sqrt(0.15**2 + np.abs(image.data) / gain)
        good = ~image.mask if image.mask is not None else np.ones((48, 48), bool)
        assert_allclose(image.uncertainty.array[good], expected[good], rtol=1e-5)
        assert image.meta["SRGAIN"] == gain
    assert stamps_asked(service) == [
        ("dr4", band, pattern) for band in "GRZ" for pattern in ("", "weight")
    ]
    assert service.size_unit == "pixels"


def test_what_the_survey_masked_is_masked(service):
    """A negative weight says that the pixel is bad; its size still tells the noise."""

    def change(weight, data, header):
        bad = np.arange(data.shape[1]) == 30
        return (np.where(bad, -abs(data), abs(data)) if weight else data), header

    service.change = change
    image = cloud_of(service).fetch(TARGET, size=48, bands="r")["r"]
    assert_array_equal(image.mask.all(axis=0), image.mask.any(axis=0))
    assert image.mask.any(axis=0).sum() == 1
    assert 0.14 < image.uncertainty.array[image.mask].min() < 0.2


def test_zero_weight_is_infinite_uncertainty(service):
    service.change = lambda weight, data, header: (data * 0 if weight else data, header)
    with pytest.raises(ServiceError, match="the image is empty"):
        cloud_of(service).fetch(TARGET, size=48, bands="r")
    service.change = lambda weight, data, header: (
        (np.where(np.arange(data.shape[1]) > 30, 0, data), header) if weight else (data, header)
    )
    image = cloud_of(service).fetch(TARGET, size=48, bands="r")["r"]
    assert np.isinf(image.uncertainty.array[image.mask]).all()
    assert 0.2 < image.mask.mean() < 0.6


def test_gain_of_the_caller_counts_before_that_of_the_header(service):
    cloud = cloud_of(service)
    ours = cloud.fetch(TARGET, size=48, bands="gr", gain={"r": 50.0})
    assert ours["r"].meta["SRGAIN"] == 50.0
    assert ours["g"].meta["SRGAIN"] == ours["g"].meta["GAIN"]
    peak = np.unravel_index(np.argmax(ours["r"].data), (48, 48))
    expected = np.sqrt(0.15**2 + ours["r"].data[peak] / 50.0)
    assert ours["r"].uncertainty.array[peak] == pytest.approx(expected, rel=1e-5)
    assert cloud.fetch(TARGET, size=48, bands="g", gain=77)["g"].meta["SRGAIN"] == 77.0


def test_missing_gain_is_asked_for(service):
    service.change = lambda weight, data, header: (header.remove("GAIN"), (data, header))[1]
    with pytest.raises(ValueError, match="band 'r' must have a GAIN card; got None; pass gain="):
        cloud_of(service).fetch(TARGET, size=48, bands="r")
    assert cloud_of(service).fetch(TARGET, size=48, bands="r", gain=200.0)["r"].uncertainty


def test_without_weights(service):
    image = cloud_of(service).fetch(TARGET, size=48, bands="J0660", weights=False)["J0660"]
    assert image.uncertainty is None
    assert stamps_asked(service) == [("dr4", "F660", "")]


def test_calibrated_and_written(service, tmp_path):
    images = cloud_of(service).fetch(TARGET, size=48, bands="gr")
    calibrated = {band: calibrate_flux(image, 23.5) for band, image in images.items()}
    write_bands(tmp_path / "field.fits", calibrated)
    with fits.open(tmp_path / "field.fits") as hdus:
        assert ("ERR", 1) in hdus
        assert hdus["SCI", 2].header["SRRELEAS"] == "dr4"


def test_compressed_stamps(service):
    def compress(band, ra, dec, size, weight):
        data, header = splus_stamp(service.sky, service.tile, band, ra, dec, size, weight=weight)
        hdu = fits.CompImageHDU(data.astype("f4"), header, quantize_level=4)
        return to_bytes([fits.PrimaryHDU(), hdu])

    plain = cloud_of(service, cache=False).fetch(TARGET, size=48, bands="r", weights=False)["r"]
    service.stamp = compress
    image = cloud_of(service).fetch(TARGET, size=48, bands="r", weights=False)["r"]
    assert_allclose(image.data, plain.data, atol=0.15 / 4)


def test_nothing_is_fetched_twice(service):
    cloud = cloud_of(service)
    cloud.fetch(TARGET, size=48)
    count = len(service.log)
    again = cloud.fetch(TARGET, size=48)
    assert len(service.log) == count
    # Another object of the same release takes it from there, too; another release does not.
    cloud_of(service).fetch(TARGET, size=48)
    assert len(service.log) == count
    other = cloud_of(service, release="dr6").fetch(TARGET, size=48, bands="r")
    assert other["r"].meta["SRRELEAS"] == "dr6"
    assert stamps_asked(service)[-1] == ("dr6", "R", "weight")
    assert len(again) == 3


# Releases


def test_release_is_matched_exactly(service):
    """The client itself would take dr4_vacs, the first whose name contains dr4."""
    cloud_of(service, release="DR4").fetch(TARGET, size=48, bands="r", weights=False)
    assert stamps_asked(service) == [("dr4", "R", "")]


def test_unknown_release(service):
    cloud = cloud_of(service, release="dr5")
    with pytest.raises(
        ServiceError, match="release must be one that the service has, dr4_vacs, dr4, idr5, dr6"
    ):
        cloud.fetch(TARGET, size=48)
    assert len(service.log) == 1
    with pytest.raises(ValueError, match="release must be the name of a data release; got ' '"):
        cloud_of(service, release=" ")


def test_client_gets_the_time_limit(service):
    cloud_of(service, timeout=7.0).fetch(TARGET, size=48, bands="r", weights=False)
    assert [entry[1] for entry in service.log if entry[0] == "collections"] == [7.0]
    assert [entry[4] for entry in service.log if entry[0] == "stamp"] == [7.0]


# Wrong answers


@pytest.mark.parametrize(
    ("asked", "said", "message"),
    [
        (False, "X_R_swpweight.fits", "an image was asked for, and a weight map came"),
        (True, "X_R_swp.fits", "a weight map was asked for, and an image came"),
    ],
)
def test_file_of_the_other_kind_is_refused(service, asked, said, message):
    """The client silently takes the first file where none has the name that it looks for."""

    def change(weight, data, header):
        if weight == asked:
            header["FILENAME"] = said
        return data, header

    original, service.change = service.change, change
    with pytest.raises(ServiceError, match=message):
        cloud_of(service).fetch(TARGET, size=48, bands="r")
    service.change = original
    assert cloud_of(service).fetch(TARGET, size=48, bands="r")["r"].uncertainty is not None


def test_bands_of_different_fields_are_refused(service):
    def change(weight, data, header):
        if header["FILTER"] == "R":
            header["OBJECT"] = "STRIPE82_0060"
        return data, header

    service.change = change
    with pytest.raises(
        GridMismatchError, match="from one field; got g: STRIPE82_0059, r: STRIPE82_0060; choose"
    ):
        cloud_of(service).fetch(TARGET, size=48, bands="gr")


def test_field_is_passed_on_and_checked(service):
    cloud = cloud_of(service)
    images = cloud.fetch(TARGET, size=48, bands="r", field="STRIPE82-0059")
    assert service.field_name == "STRIPE82-0059"
    assert images["r"].meta["OBJECT"] == "STRIPE82_0059"
    with pytest.raises(GridMismatchError, match="asked for: SPLUS-s01s01, r: STRIPE82_0059"):
        cloud.fetch(TARGET, size=48, bands="r", field="SPLUS-s01s01")


def test_weight_map_of_another_size(service):
    service.change = lambda weight, data, header: (data[:-1] if weight else data, header)
    with pytest.raises(GridMismatchError, match=r"weight map of r has shape .* instead of"):
        cloud_of(service).fetch(TARGET, size=48, bands="r")


@pytest.mark.parametrize(
    ("keyword", "change", "message"),
    [
        (
            "OBJECT",
            lambda name: "STRIPE82_0060",
            "image of r: STRIPE82_0059, weight map of r: STRIPE82_0060; choose one by field=",
        ),
        ("CRPIX1", lambda pixel: pixel + 3, "weight map of r is 3.00 px off"),
    ],
)
def test_weight_map_of_another_field(service, keyword, change, message):
    """Of the same shape, but not of the same pixels."""

    def answer(weight, data, header):
        if weight:
            header[keyword] = change(header[keyword])
        return data, header

    service.change = answer
    with pytest.raises(GridMismatchError, match=message):
        cloud_of(service).fetch(TARGET, size=48, bands="r")


def test_weight_map_need_not_name_its_field(service):
    def answer(weight, data, header):
        if weight:
            del header["OBJECT"]
        return data, header

    service.change = answer
    assert cloud_of(service).fetch(TARGET, size=48, bands="r")["r"].uncertainty is not None


def test_text_in_place_of_a_file(service):
    service.stamp = lambda *args: b"<html>busy</html>"
    with pytest.raises(ServiceError, match=r"\(after 3 attempts\)"):
        cloud_of(service).fetch(TARGET, size=48, bands="r")


# Failures: the client calls all of them "not found"


@pytest.mark.parametrize(
    ("failure", "attempts", "message"),
    [
        (ResourceNotFoundError("no image there", response(404)), 1, "no image there"),
        (ServerError("Server error: busy", response(503)), 3, "busy .*after 3 attempts"),
        (ADSSClientError("slow down", response(429)), 3, "slow down"),
        (ADSSClientError("bad size", response(422)), 1, "bad size"),
        (TimeoutError("read timed out"), 3, "read timed out"),
        (ConnectionError("connection reset"), 3, "connection reset"),
        (AuthenticationError("no token", response(401)), 1, "log in with an account that may see"),
        (PermissionDeniedError("private", response(403)), 1, "log in with an account"),
    ],
)
def test_failures_are_told_apart(service, failure, attempts, message):
    cloud = cloud_of(service)
    cloud.fetch(TARGET, size=32, bands="r", weights=False)
    service.log.clear()
    service.failures = [failure] * 5
    with pytest.raises(ServiceError, match=message) as caught:
        cloud.fetch(TARGET, size=48, bands="r", weights=False)
    assert len(stamps_asked(service)) == attempts
    assert caught.value.status == getattr(getattr(failure, "response", None), "status_code", None)
    assert "splus.cloud/dr4/stamp?ra=27.9520000" in str(caught.value)
    # It works as soon as the service does.
    service.failures = []
    assert len(cloud.fetch(TARGET, size=48, bands="r", weights=False)) == 1


def test_busy_list_of_releases_is_asked_for_again(service):
    service.failures = [ServerError("busy", response(502))]
    assert len(cloud_of(service).fetch(TARGET, size=48, bands="r")) == 1


def test_service_that_drips_does_not_hang(service):
    """The client limits the time of each part of an answer, and never that of all."""
    over = threading.Event()
    service.stamp = lambda *args: over.wait(20)
    with pytest.raises(ServiceError, match="not complete by the deadline"):
        cloud_of(service, deadline=0.3).fetch(TARGET, size=48, bands="r")
    over.set()


def test_interrupt_goes_through(service):
    service.failures = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        cloud_of(service).fetch(TARGET, size=48, bands="r")


# Credentials


def test_anonymous_without_credentials(service):
    cloud = cloud_of(service)
    assert cloud.anonymous
    assert repr(cloud) == "<SplusCloud dr4 at https://splus.cloud, anonymous>"
    cloud.fetch(TARGET, size=48, bands="r")
    assert service.logins == []
    assert {entry[-1] for entry in service.log} == {None}


def test_credentials_of_the_caller(service):
    cloud = cloud_of(service, "ana", SECRET)
    assert not cloud.anonymous
    cloud.fetch(TARGET, size=48, bands="r")
    assert service.logins == ["ana"]
    assert {entry[-1] for entry in service.log if entry[0] != "login"} == {TOKEN}


def test_credentials_of_the_environment(service, monkeypatch):
    monkeypatch.setenv("SPLUS_USERNAME", "ana")
    monkeypatch.setenv("SPLUS_PASSWORD", SECRET)
    assert not cloud_of(service).anonymous
    assert not cloud_of(service, "ana").anonymous
    # Those of the caller come first.
    service.accounts["ben"] = "x1"
    cloud_of(service, "ben", "x1")
    assert service.logins == ["ana", "ana", "ben"]


@pytest.mark.parametrize("username", [None, "ana"])
def test_credentials_of_the_keyring(service, username):
    service.keyring.entries[username] = SimpleNamespace(username="ana", password=SECRET)
    assert not cloud_of(service, username).anonymous
    assert service.logins == ["ana"]


def test_keyring_that_would_ask_is_left_alone(service):
    """Files encrypted by keyrings.alt ask for their password on the terminal."""

    class Encrypted:
        pass

    Encrypted.__module__ = "keyrings.alt.file"
    service.keyring.backend = Encrypted()
    service.keyring.get_credential = lambda *args: input("Password: ")
    assert cloud_of(service).anonymous


def test_locked_keyring_counts_as_none(service):
    def locked(*args):
        raise RuntimeError("Failed to unlock the keyring")

    service.keyring.get_credential = locked
    assert cloud_of(service).anonymous


@pytest.mark.parametrize(
    ("args", "environment", "message"),
    [
        (("ana",), {}, "username and password must come together.*got a name alone"),
        ((None, "x"), {}, "username must be given with a password; got None"),
        (("", ""), {}, "username and password must not be empty"),
        ((), {"SPLUS_USERNAME": "ana"}, "got a name alone"),
        ((), {"SPLUS_PASSWORD": "x"}, "got a password alone"),
        (("ben",), {"SPLUS_USERNAME": "ana", "SPLUS_PASSWORD": "x"}, "got a name alone"),
    ],
)
def test_half_credentials_are_an_error_and_no_question(
    service, monkeypatch, args, environment, message
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        cloud_of(service, *args)
    assert service.log == []


def everything(error):
    """All that a traceback shows of an error and of what led to it."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


def chain(error):
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_failed_login_tells_no_secret(service, caplog, capsys):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(ServiceError, match="no login to S-PLUS: AuthenticationError") as caught:
        cloud_of(service, "ana", SECRET + "!")
    assert caught.value.status == 401
    for error in chain(caught.value):
        assert SECRET not in everything(error)
        assert SECRET not in repr(error.args)
    output = capsys.readouterr()
    assert SECRET not in caplog.text + output.out + output.err


def test_token_is_taken_out_of_messages(service):
    """Messages of the client hold the address with the token of the session."""
    cloud = cloud_of(service, "ana", SECRET)
    text = f"https://splus.cloud/files/7/download?token={TOKEN} Authorization: Bearer {TOKEN}"
    service.failures = [None, ADSSClientError(text, response(404))]
    with pytest.raises(ServiceError, match=r"token=\.\.\. Authorization: Bearer \.\.\.") as caught:
        cloud.fetch(TARGET, size=48, bands="r")
    for error in chain(caught.value):
        assert TOKEN not in everything(error)


def test_credentials_stay_nowhere(service, replay_server, tmp_path):
    cloud = cloud_of(service, "ana", SECRET)
    images = cloud.fetch(TARGET, size=48, bands="r")
    assert repr(cloud) == "<SplusCloud dr4 at https://splus.cloud, logged in>"
    assert "ana" not in repr(vars(cloud)) + repr(vars(cloud._client)) + repr(cloud.__dict__)
    assert SECRET not in repr(vars(cloud)) + repr(vars(cloud._client.client))
    write_bands(tmp_path / "r.fits", images)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert SECRET.encode() not in content
            assert TOKEN.encode() not in content
            assert b"ana" not in content or path.suffix == ".fits"
    with pytest.raises(TypeError, match="holds an open session and cannot be pickled"):
        pickle.dumps(cloud)


# Zero points


def test_zero_point_model(service):
    grid = np.full((15, 15), 0.01)
    ra, dec = np.linspace(27, 28.5, 15), np.linspace(-0.8, 0.8, 15)
    model = {"global_median": 22.9, "grid": grid.tolist()}
    model |= {"ra_centers": ra.tolist(), "dec_centers": dec.tolist()}
    service.models["STRIPE82-0059", "R"] = json.loads(json.dumps(model))
    cloud = cloud_of(service, release="dr6")
    found = cloud.zero_point_model("STRIPE82-0059", "r")
    assert found.zero_point(TARGET) == pytest.approx(22.91)
    count = len(service.log)
    cloud.zero_point_model("STRIPE82-0059", "R")
    assert len(service.log) == count
    image = cloud.fetch(TARGET, size=32, bands="r", weights=False)["r"]
    factor = 10 ** (0.4 * (22.5 - 22.91))
    assert_allclose(calibrate_flux(image, found).data, image.data * factor, rtol=5e-6)
    # The header names the field as STRIPE82_0059.
    assert_array_equal(calibrate_flux(image, cloud).data, calibrate_flux(image, found).data)
    del image.meta["FILTER"]
    with pytest.raises(ValueError, match="must name its band in a FILTER card"):
        calibrate_flux(image, cloud)


def test_missing_or_broken_zero_point_model(service):
    cloud = cloud_of(service, release="dr6")
    with pytest.raises(ServiceError, match="No zp model found for field X in band F660"):
        cloud.zero_point_model("X", "J0660")
    service.failures = [None, ServerError("busy", response(503)), None]
    service.models["A_B", "G"] = {"global_median": 23.0, "grid": [[0, 0], [0, 0]]}
    service.models["A_B", "G"] |= {"ra_centers": [1, 2], "dec_centers": [1, 2]}
    assert cloud.zero_point_model("A-B", "g").global_median == 23.0
    service.models["X", "R"] = {"detail": "Not found"}
    with pytest.raises(ServiceError, match="is no model of zero points"):
        cloud.zero_point_model("X", "r")


# Parameters


def test_without_the_client_the_error_says_what_to_install(monkeypatch, service):
    monkeypatch.setattr(_optional, "has", lambda name: False)
    told = r'needs splusdata.*pip install "splusdata>=[\d.]+" "pyvo'
    with pytest.raises(ImportError, match=told):
        SplusCloud()


def test_bad_parameters(service):
    cloud = cloud_of(service)
    with pytest.raises(ValueError, match="position must be one finite position"):
        cloud.fetch((np.nan, 0.0), size=48)
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        cloud.fetch(TARGET, size=0)
    with pytest.raises(ValueError, match="band must be one of u, g"):
        cloud.fetch(TARGET, size=48, bands="xy")
    with pytest.raises(ValueError, match="timeout must be above 0; got 0"):
        cloud_of(service, timeout=0)
    assert service.log == []


@pytest.mark.parametrize(
    "server",
    [
        "http://splus.cloud",
        "HTTP://splus.cloud",
        "splus.cloud",
        "ftp://h",
        "http://localhost.evil.org",
    ],
)
def test_a_password_does_not_go_unencrypted_to_another_machine(server):
    with pytest.raises(ValueError, match=r"server must begin with https://") as caught:
        make_client(("ana", SECRET), server, "dr4", 1.0)
    assert SECRET not in str(caught.value)


def test_a_password_may_go_to_this_machine(monkeypatch):
    def stop(*args):
        raise ImportError("reached")

    monkeypatch.setattr("splus_srgan.surveys._splus_client.import_optional", stop)
    for credentials, server in [
        (("ana", SECRET), "https://splus.cloud"),
        (("ana", SECRET), "http://localhost:8000"),
        (("ana", SECRET), "http://127.0.0.1"),
        (None, "http://splus.cloud"),
    ]:
        with pytest.raises(ImportError, match="reached"):
            make_client(credentials, server, "dr4", 1.0)
