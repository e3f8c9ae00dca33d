# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Servers on this machine that answer like the survey services, at their best and worst.

Layouts and headers follow files of the real services; the sky is made up. The
fixtures `replay_server` and `legacy_service` are there for every test.
"""

import io
import threading
import warnings
from collections import deque
from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.config import set_temp_cache
from astropy.io import fits
from astropy.utils.data import CacheMissingWarning, cache_contents
from astropy.wcs import WCS
from pytest_httpserver import HTTPServer
from werkzeug import Response

NATIVE = 0.262
FITS_TYPE = "image/fits"
SILENT = ("stall", "mute", "drip", "drip header")  # failures that only patience's end reveals


def tan_wcs(ra, dec, shape, scale, *, crpix=None):
    """A TAN projection with CD cards, the position in the centre."""
    ny, nx = shape
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = ra, dec
    wcs.wcs.crpix = crpix or ((nx + 1) / 2, (ny + 1) / 2)
    wcs.wcs.cd = np.diag([-scale, scale]) / 3600
    return wcs


@dataclass
class Source:
    """A round Gaussian source; fluxes in nanomaggies, FWHM in arcsec."""

    ra: float
    dec: float
    flux: dict
    fwhm: float = 1.3


@dataclass
class Sky:
    """What the services see: sources, noise per native pixel, and where there is an image."""

    sources: list = field(default_factory=list)
    sigma: float = 0.003
    footprint: object = None  # function of (ra, dec) arrays; None is everywhere

    def covered(self, wcs, shape):
        """`True` where the survey has an image."""
        if self.footprint is None:
            return np.ones(shape, bool)
        y, x = np.indices(shape)
        return np.broadcast_to(self.footprint(*wcs.pixel_to_world_values(x, y)), shape)

    def image(self, wcs, shape, band, *, noise=True):
        """Nanomaggies per native pixel on any grid, as the viewer gives them."""
        scale = np.sqrt(abs(np.linalg.det(wcs.pixel_scale_matrix))) * 3600
        y, x = np.indices(shape, sparse=True)
        image = np.zeros(shape)
        for source in self.sources:
            x0, y0 = wcs.world_to_pixel_values(source.ra, source.dec)
            width = source.fwhm / 2.3548 / scale
            profile = np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / width**2)
            image += source.flux[band] * profile * (NATIVE / scale) ** 2 / (2 * np.pi * width**2)
        if noise:
            seed = [int(abs(value) * 1e6) for value in wcs.wcs.crval] + [ord(band)]
            image += np.random.default_rng(seed).normal(0, self.sigma, shape)
        return np.where(self.covered(wcs, shape), image, 0).astype(">f4")


def viewer_resample(image, wcs, fine, shape):
    """
    Lanczos-3 interpolation as the viewer does it: values are kept, whatever the pixel scale.

    The kernel is centred on the nearest pixel and normalised.
    """
    y, x = np.indices(shape)
    x, y = wcs.world_to_pixel_values(*fine.pixel_to_world_values(x, y))
    i, j = np.rint(x).astype(int), np.rint(y).astype(int)
    steps = range(-3, 4)

    def kernel(offset):
        return np.where(abs(offset) < 3, np.sinc(offset) * np.sinc(offset / 3), 0)

    total, norm = np.zeros(shape), np.zeros(shape)
    for dj in steps:
        for di in steps:
            inside = (
                (i + di >= 0)
                & (i + di < image.shape[1])
                & (j + dj >= 0)
                & (j + dj < image.shape[0])
            )
            weight = kernel(i + di - x) * kernel(j + dj - y) * inside
            value = image[np.where(inside, j + dj, 0), np.where(inside, i + di, 0)]
            total += weight * value
            norm += weight
    seen = (i >= 0) & (i < image.shape[1]) & (j >= 0) & (j < image.shape[0])
    return np.where(seen, total / np.where(norm == 0, 1, norm), 0).astype(">f4")


def _cards(header, wcs, shape, **cards):
    """Cards in the way of the viewer: no BUNIT, no EXTNAME, no MAGZERO."""
    header.update(cards)
    for i in (1, 2):
        header[f"CTYPE{i}"] = wcs.wcs.ctype[i - 1]
        header[f"CRVAL{i}"] = wcs.wcs.crval[i - 1]
        header[f"CRPIX{i}"] = wcs.wcs.crpix[i - 1]
    for i in (1, 2):
        for j in (1, 2):
            header[f"CD{i}_{j}"] = wcs.wcs.cd[i - 1, j - 1]
    header["IMAGEW"], header["IMAGEH"] = float(shape[1]), float(shape[0])
    return header


def to_bytes(hdus):
    buffer = io.BytesIO()
    fits.HDUList(hdus).writeto(buffer)
    return buffer.getvalue()


def viewer_file(images, wcs, *, invvar=None, maskbits=None, kinds=("IMAGE", "INVVAR", "MASKBITS")):
    """The file of a viewer cutout from arrays per band."""
    bands = "".join(images)

    def hdu(cls, planes, kind):
        data = np.array(planes)
        data = data[0] if len(data) == 1 else data
        names = {f"BAND{i}": band for i, band in enumerate(bands)}
        said = {"SURVEY": "LegacySurvey", "VERSION": "DR10", "IMAGETYP": kind, "BANDS": bands}
        made = cls(data)
        _cards(made.header, wcs, data.shape[-2:], **said, **names)
        return made

    hdus = [hdu(fits.PrimaryHDU, list(images.values()), kinds[0])]
    if invvar is not None:
        hdus.append(hdu(fits.ImageHDU, list(invvar.values()), kinds[1]))
    if maskbits is not None:
        hdus.append(hdu(fits.ImageHDU, [maskbits], kinds[2]))
    return to_bytes(hdus)


def native_file(pieces):
    """The file of a ``subimage`` cutout from (band, brick, image, invvar, wcs) tuples."""
    primary = fits.PrimaryHDU()
    primary.header.update({"SURVEY": "DECaLS", "VERSION": "DR9-south", "IMAGETYP": "image"})
    hdus = [primary]
    for band, brick, image, invvar, wcs in pieces:
        for kind, data in (("image", image), ("invvar", invvar)):
            if data is None:
                continue
            hdu = fits.ImageHDU(np.asarray(data, ">f4"))
            said = {"SURVEY": "DECaLS", "VERSION": "DR9-south", "IMAGETYP": kind, "BRICK": brick}
            _cards(hdu.header, wcs, data.shape, **said, BRICK_X0=0, BRICK_Y0=0, BAND=band)
            hdus.append(hdu)
    return to_bytes(hdus)


def psf_file(bands, *, size=63, fwhm=4.5):
    """PSF stamps, one HDU per band, the first in the primary."""
    y, x = np.indices((size, size)) - size // 2
    hdus = []
    for i, band in enumerate(bands):
        psf = np.exp(-4 * np.log(2) * (x**2 + y**2) / (fwhm + 0.1 * i) ** 2)
        hdu = (fits.ImageHDU if i else fits.PrimaryHDU)((psf / psf.sum()).astype(">f4"))
        if not i:
            hdu.header["BANDS"] = "".join(bands)
        hdu.header["BAND"] = band
        hdus.append(hdu)
    return to_bytes(hdus)


class Replay:
    """
    What all services have in common: a log of the requests, and failures on demand.

    `fail` queues failures for the next requests: ``"stall"`` (half the body, then
    silence), ``"mute"`` (silence before the header), ``"drip"`` (a few bytes at a time, without
    end), ``"drip header"``, ``"truncated"`` (half of the announced length), ``"cut"`` (half
    the body, no length announced), ``"reset"``, an HTTP status as an integer, ``(status,
    headers)``, or a text that is sent with status 200.
    """

    def __init__(self, server):
        self.server = server
        self.requests = []
        self.failures = deque()
        self.over = threading.Event()
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def fail(self, *kinds):
        self.failures.extend(kinds)

    def serve(self, path, answer):
        """Answer requests for a path with ``answer(request)``, unless a failure is due."""

        def handler(request):
            with self._lock:
                self.requests.append(request.full_path.rstrip("?"))
                failure = self.failures.popleft() if self.failures else None
                self.at_once += 1
                self.most_at_once = max(self.most_at_once, self.at_once)
            try:
                if failure is None:
                    return answer(request)
                return self._fail(failure, request, answer)
            finally:
                with self._lock:
                    self.at_once -= 1

        self.server.expect_request(path).respond_with_handler(handler)

    def _fail(self, failure, request, answer):
        if isinstance(failure, int):
            failure = (failure, {})
        if isinstance(failure, tuple):
            status, headers = failure
            page = f"<html><h1>Server Error ({status})</h1></html>"
            return Response(page, status, headers, content_type="text/html")
        if failure not in ("stall", "mute", "drip", "drip header", "truncated", "cut", "reset"):
            return Response(failure, content_type="text/html; charset=utf-8")
        self._broken(failure, request.environ["werkzeug.socket"], answer(request).get_data())
        return Response()

    def _broken(self, failure, sock, body):
        """Write to the socket itself what no sound server would."""
        half = body[: len(body) // 2]
        start = b"HTTP/1.1 200 OK\r\nContent-Type: image/fits\r\nConnection: close\r\n"
        full = start + f"Content-Length: {len(body)}\r\n\r\n".encode()
        try:
            if failure == "stall":
                sock.sendall(full + half)
                self.over.wait(20)
            elif failure == "mute":
                self.over.wait(20)
            elif failure == "truncated":
                sock.sendall(full + half)
            elif failure == "cut":
                sock.sendall(start + b"\r\n" + half)
            elif failure == "drip":
                sock.sendall(full)
                self._drip(sock, body)
            elif failure == "drip header":
                self._drip(sock, start + b"X-Padding: " + b"x" * 10_000)
            sock.shutdown(2)
        except OSError:  # the client gave up first, as it should
            pass

    def _drip(self, sock, data):
        for i in range(len(data)):
            if self.over.wait(0.05):
                return
            sock.sendall(data[i : i + 1])


class LegacyReplay(Replay):
    """
    The viewer of the Legacy Surveys.

    Attributes
    ----------
    url : str
        To be given as ``service``.
    sky : Sky
        What it shows.
    max_size : int
        Larger cutouts are silently clipped.
    layers : dict
        Layer to bands; other layers do not exist.
    brick_edge : float or None
        Right ascension where one brick ends and the next begins (20 pixels overlap).
    """

    def __init__(self, server, sky):
        super().__init__(server)
        self.url = server.url_for("/viewer")
        self.sky = sky
        self.max_size = 3000
        self.layers = {"ls-dr9": "grz", "ls-dr10": "griz"}
        self.brick_edge = None
        self.serve("/viewer/fits-cutout", self._cutout)
        self.serve("/viewer/coadd-psf/", self._psf)

    def _where(self, args):
        """Position and bands, or an error in the way of the viewer."""
        if args.get("layer") not in self.layers:
            return Response("no such layer", content_type="text/html; charset=utf-8")
        try:
            ra, dec = float(args["ra"]), float(args["dec"])
        except (KeyError, ValueError):
            return Response("bad ra,dec", 400)
        known = self.layers[args["layer"]]
        bands = args.get("bands", known)
        return ra, dec, bands if set(bands) <= set(known) else known

    def _cutout(self, request):
        args = request.args
        where = self._where(args)
        if isinstance(where, Response):
            return where
        ra, dec, bands = where
        size = args.get("size", 256)
        shape = tuple(min(int(args.get(key, size)), self.max_size) for key in ("height", "width"))
        scale = float(args.get("pixscale", NATIVE))
        wcs = tan_wcs(ra, dec, shape, scale)
        if not self.sky.covered(wcs, shape).any():
            return Response("<h1>Server Error (500)</h1>", 500, content_type="text/html")
        if "subimage" in args:
            return Response(self._native(ra, dec, bands, shape), content_type=FITS_TYPE)
        images = {band: self.sky.image(wcs, shape, band) for band in bands}
        extras = {}
        if scale < 0.371:
            covered = self.sky.covered(wcs, shape)
            weight = (covered / self.sky.sigma**2).astype(">f4")
            extras["invvar"] = dict.fromkeys(bands, weight) if "invvar" in args else None
            bits = np.where(covered, 0, 1).astype(">i4")
            extras["maskbits"] = bits if "maskbits" in args else None
        return Response(viewer_file(images, wcs, **extras), content_type=FITS_TYPE)

    def _native(self, ra, dec, bands, shape):
        """Pixels of one brick, or of two that meet at `brick_edge`."""
        half = (3600 - 20) / 2 * NATIVE / 3600 / np.cos(np.radians(dec))
        edge = self.brick_edge
        bricks = {"0001p000": ra + 0.01} if edge is None else {"w": edge - half, "e": edge + half}
        pieces = []
        for name, centre in bricks.items():
            for band in bands:
                brick = tan_wcs(centre, np.rint(dec * 4) / 4, (3600, 3600), NATIVE)
                x, y = (int(np.rint(v)) for v in brick.world_to_pixel_values(ra, dec))
                x0, x1 = np.clip([x - shape[1] // 2, x + (shape[1] + 1) // 2], 0, 3600)
                y0, y1 = np.clip([y - shape[0] // 2, y + (shape[0] + 1) // 2], 0, 3600)
                if x1 - x0 < 2 or y1 - y0 < 2:
                    continue
                brick.wcs.crpix -= x0, y0
                image = self.sky.image(brick, (y1 - y0, x1 - x0), band)
                weight = np.where(image == 0, 0, self.sky.sigma**-2)
                pieces.append((band, name, image, weight, brick))
        return native_file(pieces)

    def _psf(self, request):
        where = self._where(request.args)
        if isinstance(where, Response):
            return where
        return Response(psf_file(where[2]), content_type=FITS_TYPE)


def default_sky():
    """A galaxy at (27.952, 0.2635) and two stars, 11" from it."""
    flux = {"g": 20.0, "r": 40.0, "i": 50.0, "z": 60.0}
    faint = {band: value / 4 for band, value in flux.items()}
    return Sky(
        [
            Source(27.952, 0.2635, flux, 2.5),
            Source(27.9545, 0.2615, faint),
            Source(27.9495, 0.2655, faint),
        ]
    )


def cached():
    """What the download cache holds: URL to path."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CacheMissingWarning)  # a cache that is not there is empty
        return dict(cache_contents())


@pytest.fixture(scope="session")
def _server():
    # Starting and stopping takes half a second, so all tests share one.
    server = HTTPServer(host="127.0.0.1", port=0, threaded=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def replay_server(_server, tmp_path, monkeypatch):
    """A server with many threads, and a download cache of one's own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    (tmp_path / "cache").mkdir()
    with set_temp_cache(str(tmp_path / "cache")):
        yield _server
    _server.clear()


@pytest.fixture
def legacy_service(replay_server):
    """The viewer of the Legacy Surveys, showing `default_sky`."""
    service = LegacyReplay(replay_server, default_sky())
    yield service
    service.over.set()
    service.server.check_handler_errors()
