# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Images of the DESI Legacy Imaging Surveys, from the cutout service of its viewer.

The service has habits that spoil measurements silently: values stay per native pixel
whatever pixel scale is asked for, large sizes are cut, unknown bands are replaced by others,
and errors come as text with the status of success. Every answer is checked here before it
counts, and values are brought to nanomaggies per pixel of the image itself.
"""

from __future__ import annotations

from enum import IntFlag
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from splus_srgan.exceptions import ServiceError
from splus_srgan.surveys import legacy_request
from splus_srgan.surveys._legacy_files import read_pieces
from splus_srgan.surveys._legacy_images import NATIVE_SCALE, to_images
from splus_srgan.surveys._many import fetch_many, list_positions
from splus_srgan.surveys.legacy_request import CutoutRequest, PSFRequest
from splus_srgan.utils.download import MAX_PARALLEL, fetch_file
from splus_srgan.utils.validate import check_integer, check_one_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    from astropy.coordinates import SkyCoord
    from astropy.nddata import CCDData
    from astropy.table import Table

    from splus_srgan.utils.types import Bands, FilePath, FloatArray, Position, ProgressBar

__all__ = [
    "LAYERS",
    "MAX_SIZE",
    "PIXEL_SCALE",
    "SERVICE",
    "MaskBits",
    "fetch_cutout",
    "fetch_cutouts",
    "fetch_psf",
    "read_cutout",
]

PIXEL_SCALE = NATIVE_SCALE
"""Pixel scale of the coadded images in arcsec per pixel."""

SERVICE = "https://www.legacysurvey.org/viewer"
"""Address of the viewer."""

LAYERS = legacy_request.LAYERS
"""
Data releases and their bands. Each is also there as ``-model`` and ``-resid``; others,
which the service may have by now, can be asked for as well.
"""

MAX_SIZE = legacy_request.MAX_SIZE
"""Largest side of a cutout in pixels; the service cuts larger ones without a word."""


class MaskBits(IntFlag):
    """
    What the bits of MASKBITS mean (Data Releases 8 to 10).

    ``SATUR`` bits say that a pixel is saturated in one exposure at least, ``ALLMASK``
    bits that it is bad in all.

    Examples
    --------
    >>> from splus_srgan.surveys.legacy import MaskBits
    >>> MaskBits(10)
    <MaskBits.BRIGHT|SATUR_R: 10>
    """

    NPRIMARY = 1 << 0
    BRIGHT = 1 << 1
    SATUR_G = 1 << 2
    SATUR_R = 1 << 3
    SATUR_Z = 1 << 4
    ALLMASK_G = 1 << 5
    ALLMASK_R = 1 << 6
    ALLMASK_Z = 1 << 7
    WISEM1 = 1 << 8
    WISEM2 = 1 << 9
    BAILOUT = 1 << 10
    MEDIUM = 1 << 11
    GALAXY = 1 << 12
    CLUSTER = 1 << 13
    SATUR_I = 1 << 14
    ALLMASK_I = 1 << 15
    SUB_BLOB = 1 << 16


def read_cutout(path: FilePath, *, bands: Bands | None = None) -> dict[str, CCDData]:
    """
    Read a cutout of the Legacy Surveys that lies on disk.

    Parameters
    ----------
    path : path-like
        A cube or one-band image of the viewer, or native pixels (``subimage``) with an
        HDU per band and brick.
    bands : str or sequence of str, optional
        The bands to return, in this order; by default all.

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        Float32 of shape ``(ny, nx)``, on one grid, in nanomaggies per pixel *of that
        grid* (AB zero point 22.5). Masked is what has no image (exactly 0, not finite, or
        without weight). ``uncertainty`` is the standard deviation from the
        inverse variances, infinite where there is no weight; ``flags`` are the
        `MaskBits`; both `None` where the file has none. ``meta`` is the header, with
        the area factor in ``LSAREA``.

    Raises
    ------
    OSError
        If the file is missing, damaged, or no FITS.
    ValueError
        If it is no cutout, or lacks a band.

    Notes
    -----
    The viewer interpolates the coadds (Lanczos-3) and keeps their values, so an image at
    pixel scale :math:`p` holds nanomaggies per pixel of 0.262". It is multiplied by
    :math:`(p / 0.262'')^2` here; so is its uncertainty, which stays that of one
    pixel: neighbours are correlated. Bricks overlap; where one has no pixels, they
    are taken from the next, resampled onto the grid of the brick with most of the area.
    """
    return _chosen(to_images(read_pieces(Path(path))), bands, str(path))


def _chosen(images: Mapping[str, CCDData], bands: Bands | None, name: object) -> dict[str, CCDData]:
    wanted = list(images) if bands is None else list(bands)
    missing = [band for band in wanted if band not in images]
    if missing:
        raise ValueError(f"bands must be among those of {name}, {list(images)}; got {missing}")
    return {band: images[band] for band in wanted}


def fetch_cutout(
    position: Position,
    *,
    size: int | tuple[int, int],
    pixel_scale: float = PIXEL_SCALE,
    layer: str = "ls-dr10",
    bands: Bands = "grz",
    native: bool = False,
    invvar: bool = True,
    maskbits: bool = True,
    psf: bool = False,
    service: str = SERVICE,
    cache: bool = True,
    **network: Any,
) -> dict[str, CCDData]:
    """
    Fetch an image of the Legacy Surveys around a position.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple of float
        Or ``(ra, dec)`` in degrees (ICRS).
    size : int or tuple of int
        Pixels along each side, or ``(ny, nx)``; at most 3000.
    pixel_scale : float, optional
        Arcsec per pixel. At the native 0.262" nothing but a fraction of a pixel is
        interpolated.
    layer : str, optional
        Data release, see `LAYERS`.
    bands : str or sequence of str, optional
        Their names, in small letters.
    native : bool, optional
        Whether to get the pixels of the coadds as they are, which lie on the grid of a
        brick: the position is then up to half a pixel off the centre, and
        there are no mask bits.
    invvar, maskbits : bool, optional
        Whether to fetch the inverse variances, for the uncertainty and the mask, and
        the mask bits, for the flags.
    psf : bool, optional
        Whether to fetch the PSF as well (``CCDData.psf``); at 0.262" only.
    service : str, optional
        Address of the viewer.
    cache : bool, optional
        Whether to keep the file in, and take it from, the cache of astropy.
    **network
        ``timeout`` (120 s), ``retries`` (4), ``backoff`` (2 s, doubled each time),
        ``min_interval`` (0.25 s between requests), ``deadline`` (ten times ``timeout``),
        ``stop`` (a `threading.Event` that ends it).

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        As for `read_cutout`, in the order of ``bands``. ``meta`` says where they are
        from in ``LSLAYER`` and ``LSURL``.

    Raises
    ------
    ValueError
        If a parameter is not one that the service can answer.
    ServiceError
        If the service does not answer, answers something else than was asked for, or
        has no image there.

    Examples
    --------
    >>> from splus_srgan.surveys.legacy import fetch_cutout
    >>> images = fetch_cutout((27.952, 0.2635), size=420)  # doctest: +SKIP
    >>> images["r"].unit, images["r"].shape  # doctest: +SKIP
    (Unit("nmgy"), (420, 420))
    """
    request = CutoutRequest(
        position, layer, bands, size, pixel_scale, native, invvar, maskbits and not native
    )
    if psf and abs(request.pixel_scale / PIXEL_SCALE - 1) > 1e-4:
        raise ValueError(f"pixel_scale must be {PIXEL_SCALE} with psf=True; got {pixel_scale}")
    url, pieces = _fetch(request, service, cache, network)
    images = _chosen(to_images(pieces), request.bands, url)
    psfs = {}
    if psf:
        options = {
            "layer": layer,
            "bands": request.bands,
            "service": service,
            "cache": cache,
            **network,
        }
        psfs = fetch_psf(position, **options)
    for band, image in images.items():
        image.meta["LSLAYER"] = (layer, "Legacy Surveys layer")
        image.meta["LSURL"] = url
        image.psf = psfs.get(band)
    return images


def _fetch(request: Any, service: str, cache: bool, network: Mapping[str, Any]) -> tuple[str, Any]:
    """Fetch a request; give the address and the parsed answer."""
    answers: list[Any] = []

    def validate(path: Path) -> None:
        answers[:] = [request.check(path)]

    url = request.url(service)
    try:
        path = fetch_file(url, validate=validate, cache=cache, **network)
    except ServiceError as error:
        if error.status != 500:
            raise
        reason = f"{error.reason}, as for positions outside the footprint of {request.layer!r}"
        raise ServiceError(url, reason, 500) from error
    if not cache:
        path.unlink()
    return url, answers[0]


def fetch_cutouts(
    positions: SkyCoord | Table | Sequence[Position],
    *,
    size: int | tuple[int, int],
    on_error: Literal["raise", "return"] = "raise",
    n_parallel: int = MAX_PARALLEL,
    progress_bar: ProgressBar | None = None,
    **options: Any,
) -> list[Any]:
    """
    Fetch images around many positions.

    Stopped half way and called again, it takes from the cache what it has already.

    Parameters
    ----------
    positions : `~astropy.coordinates.SkyCoord`, `~astropy.table.Table` or sequence
        Several positions; a table has them in the columns ``ra`` and ``dec`` (degrees),
        a sequence as `~astropy.coordinates.SkyCoord` or ``(ra, dec)``.
    size : int or tuple of int
        As for `fetch_cutout`.
    on_error : {'raise', 'return'}, optional
        Whether to raise the first `~splus_srgan.exceptions.ServiceError` once all others
        are fetched, or to return it in the place of the images.
    n_parallel : int, optional
        Downloads at once, from 1 to 4.
    progress_bar : callable, optional
        Wraps an iterable, such as ``tqdm.tqdm``. `None` is silent.
    **options
        As for `fetch_cutout`.

    Returns
    -------
    cutouts : list
        In the order of the positions: a dictionary of band to
        `~astropy.nddata.CCDData`, or an error.

    Raises
    ------
    ServiceError
        If a position failed and ``on_error`` is ``'raise'``.
    ValueError
        If ``on_error`` or ``n_parallel`` is not possible.
    """
    check_one_of("on_error", on_error, ("raise", "return"))
    if check_integer("n_parallel", n_parallel, minimum=1) > MAX_PARALLEL:
        raise ValueError(f"n_parallel must be at most {MAX_PARALLEL}; got {n_parallel}")
    if "bands" in options:
        options["bands"] = tuple(options["bands"])  # an iterator would serve one position alone
    cutouts = fetch_many(
        partial(fetch_cutout, size=size, **options),
        list_positions(positions),
        n_parallel=n_parallel,
        progress_bar=progress_bar,
    )
    failed = [one for one in cutouts if isinstance(one, ServiceError)]
    if failed and on_error == "raise":
        reason = f"{len(failed)} of {len(cutouts)} positions failed; the first: {failed[0].reason}"
        raise ServiceError(failed[0].url, reason, failed[0].status) from failed[0]
    return cutouts


def fetch_psf(
    position: Position,
    *,
    layer: str = "ls-dr10",
    bands: Bands = "grz",
    service: str = SERVICE,
    cache: bool = True,
    **network: Any,
) -> dict[str, FloatArray]:
    """
    Fetch the PSF of the coadded images at a position.

    Parameters
    ----------
    position : `~astropy.coordinates.SkyCoord` or tuple of float
        Or ``(ra, dec)`` in degrees.
    layer, bands, service, cache, **network : optional
        As for `fetch_cutout`.

    Returns
    -------
    psfs : dict of str to `~numpy.ndarray`
        Odd-sized float32 images at 0.262" per pixel, centred, of sum 1.

    Raises
    ------
    ValueError
        If a parameter is not one that the service can answer.
    ServiceError
        If the service does not answer, or has no PSF there.
    """
    request = PSFRequest(position, layer, bands)
    return _fetch(request, service, cache, network)[1]
