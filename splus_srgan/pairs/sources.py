# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The surveys as sources of pairs: give a position, get its bands."""

import math
from dataclasses import dataclass

from splus_srgan import splus
from splus_srgan.surveys import legacy
from splus_srgan.surveys.legacy_request import MAX_SIZE, CutoutRequest
from splus_srgan.utils.files import home_path
from splus_srgan.utils.validate import check_integer

__all__ = ["CloudSource", "LegacySource", "VOSource", "check_zero_points", "load_zero_points"]

_MARGIN = 8  # S-PLUS pixels around the frame: stamps are off center, and turned by up to 1 deg
_SMALLEST = 32  # S-PLUS pixels: less shows too few sources to register on
_LARGEST = math.floor(MAX_SIZE * legacy.PIXEL_SCALE / splus.PIXEL_SCALE) - 2 * _MARGIN


@dataclass(frozen=True)
class VOSource:
    """
    S-PLUS images of data release 1, from the Virtual Observatory.

    Parameters
    ----------
    size : int
        Side in S-PLUS pixels.
    bands : tuple of str
        Bands.
    service : str or None
        Address; that of `splus_srgan.surveys.splus_vo` by default.
    zero_points : `~splus_srgan.surveys.zero_points.ZeroPointTable` or None
        To calibrate with; `None` leaves images in ADU.
    """

    size: int
    bands: tuple
    service: str | None = None
    zero_points: object = None
    release = "dr1"

    def __post_init__(self):
        _check_frame(self.size, self.bands)

    def __call__(self, position):
        """Images of the bands around a position."""
        from splus_srgan.surveys.splus_vo import SERVICE, fetch_vo

        service = self.service or SERVICE
        images = fetch_vo(position, size=self.size, bands=self.bands, service=service)
        return _calibrated(images, self.zero_points)


@dataclass
class CloudSource:
    """
    S-PLUS images of other releases, through the survey's own client.

    Parameters
    ----------
    release : str
        Data release, such as ``"dr4"``.
    size : int
        Side in S-PLUS pixels.
    bands : tuple of str
        Bands.
    zero_points : object or None
        To calibrate with, as for `~splus_srgan.surveys.calibration.calibrate_flux`;
        ``"service"`` for the model that the service has; `None` leaves images in ADU.
    service : str or None
        Address; that of the client by default.

    Raises
    ------
    ImportError
        If the client is not installed.
    ServiceError
        If the login fails.
    """

    release: str
    size: int
    bands: tuple
    zero_points: object = None
    service: str | None = None

    def __post_init__(self):
        from splus_srgan.surveys.splus_cloud import SplusCloud

        _check_frame(self.size, self.bands)
        options = {} if self.service is None else {"server": self.service}
        self._client = SplusCloud(release=self.release, **options)
        if self.zero_points == "service":
            self.zero_points = self._client

    def __call__(self, position):
        """Images of the bands around a position."""
        images = self._client.fetch(position, size=self.size, bands=self.bands)
        return _calibrated(images, self.zero_points)


@dataclass(frozen=True)
class LegacySource:
    """
    Legacy Surveys images at their native pixel scale, with a margin around the S-PLUS frame.

    Parameters
    ----------
    size : int
        Side of the S-PLUS frame in S-PLUS pixels.
    bands : tuple of str
        Bands.
    layer : str
        Data release, such as ``"ls-dr10"``.
    service : str or None
        Address; that of `splus_srgan.surveys.legacy` by default.
    """

    size: int
    bands: tuple
    layer: str = "ls-dr10"
    service: str | None = None

    def __post_init__(self):
        # Layer, bands and size are checked like those of a request, before the first one.
        if check_integer("size", self.size, minimum=_SMALLEST) > _LARGEST:
            raise ValueError(
                f"size must be at most {_LARGEST} pixels of S-PLUS, since the service of the "
                f"Legacy Surveys cuts larger images without a word; got {self.size}"
            )
        scale = legacy.PIXEL_SCALE
        CutoutRequest((0, 0), self.layer, self.bands, self._side, scale, False, True, True)

    @property
    def _side(self):
        """Side of the cutout in its own pixels."""
        return math.ceil((self.size + 2 * _MARGIN) * splus.PIXEL_SCALE / legacy.PIXEL_SCALE)

    @property
    def release(self):
        """The layer."""
        return self.layer

    def __call__(self, position):
        """Images of the bands around a position."""
        return legacy.fetch_cutout(
            position,
            size=self._side,
            layer=self.layer,
            bands=self.bands,
            psf=True,
            service=self.service or legacy.SERVICE,
        )


def _check_frame(size, bands):
    check_integer("size", size, minimum=_SMALLEST)
    for band in bands:
        splus.canonical_band(band)


def _calibrated(images, zero_points):
    if zero_points is None:
        return images
    from splus_srgan.surveys.zero_points import calibrate_flux

    return {
        band: calibrate_flux(image, zero_points) if image.unit == "adu" else image
        for band, image in images.items()
    }


def check_zero_points(text):
    """
    Refuse what names no source of zero points, before anything is asked for.

    Parameters
    ----------
    text : str
        As for `load_zero_points`.

    Raises
    ------
    ValueError
        If it is no word for one, no address, and no file that exists.
    """
    if not (text in ("dr4", "none", "service") or _is_address(text) or home_path(text).is_file()):
        raise ValueError(
            "zero_points must be 'dr4', 'none', 'service', or the path or URL of a table; "
            f"got {text!r}"
        )


def _is_address(text):
    return text.startswith(("http://", "https://"))


def load_zero_points(text):
    """
    Get zero points from the source that a user names.

    Parameters
    ----------
    text : str
        ``"dr4"`` for the table of data release 4, the address or the path of such a
        table, ``"service"`` for those of the service, or ``"none"``.

    Returns
    -------
    zero_points : `~splus_srgan.surveys.zero_points.ZeroPointTable` or str or None
        The table, or ``"service"``.

    Raises
    ------
    ValueError
        If ``text`` is none of these, or the file is no such table.
    """
    check_zero_points(text)
    if text in ("none", "service"):
        return None if text == "none" else text
    from splus_srgan.surveys.zero_points import ZeroPointTable, fetch_zero_points

    if text == "dr4":
        return fetch_zero_points()
    if _is_address(text):
        return fetch_zero_points(url=text)
    return ZeroPointTable.read(text)
