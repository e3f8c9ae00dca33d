# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
S-PLUS images from the cloud of the survey, through its client ``splusdata``.

All data releases, with weight maps and, from release 6 on, zero points that vary over
a field. Credentials come from the caller, the environment or the keyring of the system.
They are passed on to the client at once: never asked for, kept, logged or written.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from splus_srgan.exceptions import GridMismatchError
from splus_srgan.images.bands import meta_band
from splus_srgan.images.grid import check_common_grid
from splus_srgan.images.header import gain_from_header
from splus_srgan.splus import canonical_band
from splus_srgan.surveys._position import one_position
from splus_srgan.surveys._splus_client import call, find_credentials, make_client
from splus_srgan.surveys._stamp import MARGIN, band_list, cut_stamps, pixel_count, read_stamp
from splus_srgan.surveys.calibration import weight_to_uncertainty
from splus_srgan.surveys.zero_points import ZeroPointModel, field_name, plain_field
from splus_srgan.utils.download import fetch_file
from splus_srgan.utils.transfer import Failure
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, NoReturn

    from astropy.coordinates import SkyCoord
    from astropy.nddata import CCDData, NDData
    from astropy.units import Quantity

    from splus_srgan.utils.types import Bands, FloatArray, Position, T

__all__ = ["SERVER", "SplusCloud"]

SERVER = "https://splus.cloud"
"""Address of the S-PLUS cloud."""


class SplusCloud:
    """
    Images of one data release.

    Parameters
    ----------
    username, password : str, optional
        Account at splus.cloud. Where they are not given, the environment variables
        SPLUS_USERNAME and SPLUS_PASSWORD are read, then the keyring of the system
        (service ``splus.cloud``). Without any the access is anonymous.
    release : str, optional
        Exact name of the data release, in any capitals.
    server : str, optional
        Address of the service.
    cache : bool, optional
        Whether to keep images in, and take them from, the cache of astropy.
    **network
        ``timeout`` (60 s), ``retries`` (2, besides those of the client itself),
        ``backoff`` (2 s, doubled each time), ``min_interval`` (0.25 s between requests),
        ``deadline`` (ten times ``timeout``).

    Raises
    ------
    ImportError
        If splusdata is not installed.
    ServiceError
        If the login fails.
    ValueError
        If there is a name without a password, or the other way round.

    Notes
    -----
    An object holds an open session, so it cannot be pickled; make one in each process.

    Examples
    --------
    >>> from splus_srgan.surveys.splus_cloud import SplusCloud
    >>> cloud = SplusCloud(release="dr4")  # doctest: +SKIP
    >>> images = cloud.fetch((0.5, -0.4), size=128, bands="grz")  # doctest: +SKIP
    """

    def __init__(
        self,
        username: str | None = None,
        password: str | None = None,
        *,
        release: str = "dr4",
        server: str = SERVER,
        cache: bool = True,
        **network: Any,
    ) -> None:
        if not isinstance(release, str) or not release.strip():
            raise ValueError(f"release must be the name of a data release; got {release!r}")
        self._release = release.strip()
        self._server = server.rstrip("/")
        self._network = {"timeout": 60.0, "retries": 2, **network, "cache": cache}
        timeout = check_positive("timeout", self._network["timeout"])
        credentials = find_credentials(username, password)
        self._anonymous = credentials is None
        self._client = make_client(credentials, self._server, self._release, timeout)

    def __repr__(self) -> str:
        how = "anonymous" if self._anonymous else "logged in"
        return f"<SplusCloud {self._release} at {self._server}, {how}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "SplusCloud holds an open session and cannot be pickled; make one in each process"
        )

    @property
    def release(self) -> str:
        """Name of the data release."""
        return self._release

    @property
    def anonymous(self) -> bool:
        """Whether it works without an account."""
        return self._anonymous

    def fetch(
        self,
        position: Position,
        *,
        size: int | Quantity,
        bands: Bands = "grz",
        weights: bool = True,
        gain: float | Mapping[str, float] | None = None,
        field: str | None = None,
    ) -> dict[str, CCDData]:
        """
        Fetch images of one position in several bands.

        Parameters
        ----------
        position : `~astropy.coordinates.SkyCoord` or tuple of float
            Center, or ``(ra, dec)`` in degrees (ICRS).
        size : int or `~astropy.units.Quantity`
            Side of the square, in pixels of 0.55 arcsec or as an angle.
        bands : str or sequence of str, optional
            Such as ``"grz"`` or ``("g", "J0660")``.
        weights : bool, optional
            Whether to fetch the weight maps, for the uncertainty and the mask.
        gain : float or mapping of str to float, optional
            Electrons per ADU, for all bands or each, instead of the GAIN card. The card
            is wrong by two in some images: see
            `~splus_srgan.surveys.calibration.gain_from_zero_point`.
        field : str, optional
            Name of the field to take the images from, where fields overlap.

        Returns
        -------
        images : dict of str to `~astropy.nddata.CCDData`
            Band to image of shape ``(size, size)`` in ADU, target in the middle to half a
            pixel, all on one grid; with `~astropy.nddata.StdDevUncertainty` by
            `~splus_srgan.surveys.calibration.weight_to_uncertainty`. Masked are pixels of
            weight zero or below, and NaN ones beyond the edge of the field.

        Raises
        ------
        ServiceError
            If the service has no such images, or does not answer properly.
        ValueError
            If position, size or bands are not usable, or an image has no GAIN card and ``gain``
            is not given (with weights).
        GridMismatchError
            If bands or weight maps come from different fields, or lie on different grids.
        """
        sky, pixels, names = one_position(position), pixel_count(size), band_list(bands)
        ask = partial(self._stamp, sky, pixels + 2 * MARGIN, field=field)
        stamps = {}
        for name in names:
            stamps[name] = ask(name)
            if weights:
                _add_uncertainty(stamps[name], ask(name, weight=True), name, _of(gain, name))
            stamps[name].meta["SRRELEAS"] = (self._release, "S-PLUS data release")
        _check_fields(stamps, field)
        return cut_stamps(stamps, sky, pixels)

    def zero_point_model(self, field: str, band: str) -> ZeroPointModel:
        """
        Fetch the position-dependent zero point of a field (data release 6).

        Parameters
        ----------
        field : str
            Name of the field, with hyphens or underscores.
        band : str
            Band.

        Returns
        -------
        model : `~splus_srgan.surveys.zero_points.ZeroPointModel`
            For `~splus_srgan.surveys.calibration.calibrate_flux`.

        Raises
        ------
        ServiceError
            If this release has none, or the service does not answer properly.
        """
        name = _api_band(band)
        url = self._url("zero_points", field=field, band=name)

        # Headers and files of one field do not always agree on its hyphens.
        spellings = dict.fromkeys((field, field.replace("_", "-"), field.replace("-", "_")))

        def transport(url: str, file: Any, timeout: float, end: float) -> None:
            failures = []
            for spelling in spellings:
                options: dict[str, Any] = {"data_release": self._release, "end": end}
                try:
                    model = call(self._client.get_zp_file, spelling, name, **options)
                except Failure as failure:
                    failures.append(failure)
                    if failure.retry:
                        break
                else:
                    file.write(json.dumps(model).encode())
                    return
            raise next((f for f in failures if f.retry), failures[0])

        return self._get(url, ZeroPointModel.read, transport)

    def of_image(self, image: NDData) -> FloatArray:
        """
        Give the zero point of each pixel of an image of this release.

        So ``calibrate_flux(image, cloud)`` takes the model of the image's own field and band.

        Parameters
        ----------
        image : `~astropy.nddata.NDData`
            Image ``(ny, nx)`` with WCS; its header names field and band.

        Returns
        -------
        zero_points : `~numpy.ndarray`, shape (ny, nx)
            AB magnitudes of 1 ADU.

        Raises
        ------
        ServiceError
            If this release has no such model (those before 6 have tables instead).
        ValueError
            If the header does not name field and band, or there is no WCS.
        """
        band = meta_band(image.meta)
        if band is None:
            raise ValueError("image must name its band in a FILTER card to look up its zero point")
        return self.zero_point_model(field_name(image.meta), band).of_image(image)

    def _stamp(
        self, sky: SkyCoord, size: int, band: str, *, field: str | None = None, weight: bool = False
    ) -> CCDData:
        """Fetch an image, or its weight map, through the cache."""
        wanted = {"ra": f"{sky.ra.deg:.7f}", "dec": f"{sky.dec.deg:.7f}", "size": size}
        wanted |= {"band": _api_band(band), "weight": int(weight)}
        wanted |= {} if field is None else {"field": field}

        def transport(url: str, file: Any, timeout: float, end: float) -> None:
            with tempfile.TemporaryDirectory(prefix="splus_srgan-") as folder:
                path = os.path.join(folder, "stamp.fits")
                options: dict[str, Any] = {"weight": weight, "field_name": field}
                options |= {"size_unit": "pixels"}
                options |= {"outfile": path, "data_release": self._release, "timeout": timeout}
                options |= {"end": end}
                hdus = call(
                    self._client.stamp, sky.ra.deg, sky.dec.deg, size, _api_band(band), **options
                )
                hdus.close()
                # What the client wrote are the bytes of the service, compressed as they were.
                with open(path, "rb") as stamp:
                    shutil.copyfileobj(stamp, file)

        read = partial(read_stamp, band=band, position=sky, weight=weight)
        return self._get(self._url("stamp", **wanted), read, transport)

    def _url(self, what: str, **wanted: Any) -> str:
        """Name an answer for the cache and for messages."""
        return f"{self._server}/{self._release.lower()}/{what}?{urlencode(wanted)}"

    def _get(self, url: str, read: Callable[[Path], T], transport: Callable[..., object]) -> T:
        path = fetch_file(url, validate=read, transport=transport, **self._network)
        try:
            return read(path)
        finally:
            if not self._network["cache"]:
                Path(path).unlink(missing_ok=True)


def _api_band(band: str) -> str:
    """Spell a band as the service does: G, R, F378."""
    return canonical_band(band).upper().replace("J0", "F")


def _of(gain: Any, band: str) -> float | None:
    if hasattr(gain, "get"):
        return gain.get(band)
    return gain


def _add_uncertainty(stamp: CCDData, weight: CCDData, band: str, gain: float | None) -> None:
    """Turn a weight map into the uncertainty and the mask of its image."""
    pair = {f"image of {band}": stamp, f"weight map of {band}": weight}
    _check_fields(pair, None)
    parts = pair.values()
    check_common_grid(
        list(pair), [p.shape for p in parts], [p.wcs for p in parts], what="image and weight map"
    )
    if gain is None:
        gain = gain_from_header(stamp.meta, stamp.unit)
        if gain is None:
            raise ValueError(
                f"the image of band {band!r} must have a GAIN card; got "
                f"{stamp.meta.get('GAIN')!r}; pass gain="
            )
    uncertainty, bad = weight_to_uncertainty(weight.data, stamp.data, gain=gain)
    stamp.uncertainty = uncertainty
    bad = bad if stamp.mask is None else bad | stamp.mask
    stamp.mask = bad if bad.any() else None
    stamp.meta["SRGAIN"] = (float(gain), "electrons per ADU in the uncertainty")


def _check_fields(stamps: Mapping[str, CCDData], field: str | None) -> None:
    """Refuse images of different fields: the service chooses the nearest file for each."""
    fields = {} if field is None else {"asked for": field}
    for band, stamp in stamps.items():
        try:
            fields[band] = field_name(stamp.meta)
        except ValueError:
            continue
    if len({plain_field(name) for name in fields.values()}) > 1:
        listed = ", ".join(f"{band}: {name}" for band, name in fields.items())
        raise GridMismatchError(
            f"all images must come from one field; got {listed}; choose one by field="
        )
