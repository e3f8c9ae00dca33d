# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Stars and galaxies of known flux, put into the images of a field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Table
from scipy import fft

from splus_srgan.pixels.coadd_noise import area_noise
from splus_srgan.pixels.psf import psf_transfer
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.nddata import CCDData

    from splus_srgan.evaluation.compared import ComparedBand
    from splus_srgan.utils.types import FloatArray

__all__ = ["APERTURE", "draw_injections", "inject", "render_source"]

APERTURE: dict[str, Any] = {"radius": 6.0, "annulus": (8.0, 12.0)}
"""Where an injected source is measured, arcsec."""

_FINE = 4  # samples per input pixel
_STAMP = 64  # input pixels
_APART = 14.0  # arcsec, between injected sources
_CLEAR = 4.0  # arcsec, from what is there


def render_source(
    shape: tuple[int, ...],
    x: float,
    y: float,
    flux: float,
    psf: Sequence[float],
    *,
    half_light_radius: float = 0.0,
    axis_ratio: float = 1.0,
    angle: float = 0.0,
    factor: int = 1,
    pixel_scale: float = PIXEL_SCALE,
) -> FloatArray:
    r"""
    Draw a star or an exponential disc, convolved with a Moffat PSF.

    It is made in Fourier space, where an exponential disc of scale length
    :math:`h = R_e / 1.678` is :math:`[1 + (2 \pi h \nu)^2]^{-3/2}`, and sampled at the
    centers of the pixels: the PSF holds their response.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` in input pixels.
    x, y : float
        Position in input pixels.
    flux : float
        Total flux.
    psf : tuple of float
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings
        (`~splus_srgan.pixels.psf.psf_transfer`).
    half_light_radius : float, optional
        Half-light radius of the disc along its major axis, arcsec; 0: a star.
    axis_ratio : float, optional
        Minor over major axis.
    angle : float, optional
        Angle of the major axis, radians, from x to y.
    factor : int, optional
        1, 2 or 4 pixels of the result per input pixel and axis.
    pixel_scale : float, optional
        Arcsec per input pixel.

    Returns
    -------
    image : `~numpy.ndarray`, shape (factor ny, factor nx)
        Flux per pixel; 0 beyond 17 arcsec from the source.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.injection import render_source
    >>> disc = render_source((64, 64), 30.2, 31.7, 100.0, (1.4, 3.0), half_light_radius=1.5)
    >>> round(float(disc.sum()))
    100
    """
    side, step = _STAMP * _FINE, _FINE // factor
    column, row = int(np.rint(x)) - _STAMP // 2, int(np.rint(y)) - _STAMP // 2
    fy = fft.fftfreq(side, pixel_scale / _FINE)[:, None]
    fx = fft.rfftfreq(side, pixel_scale / _FINE)[None, :]
    spectrum = psf_transfer(fy, fx, *psf).astype(complex)
    if half_light_radius > 0:
        spectrum *= _disc(fy, fx, half_light_radius / 1.678, axis_ratio, angle)
    # Every `step`-th sample lies at the center of a pixel of the result.
    offset = (1 / factor - 1) / 2
    for frequency, place in ((fy, y - row - offset), (fx, x - column - offset)):
        spectrum = spectrum * np.exp(-2j * np.pi * frequency * place * pixel_scale)
    stamp = fft.irfft2(spectrum, s=(side, side))[::step, ::step] * step**2 * flux
    return _placed(stamp, shape, row, column, factor)


def _disc(
    fy: FloatArray, fx: FloatArray, scale: float, axis_ratio: float, angle: float
) -> FloatArray:
    """Fourier transform of an exponential disc of unit flux."""
    cos, sin = np.cos(angle), np.sin(angle)
    major, minor = cos * fx + sin * fy, (cos * fy - sin * fx) * axis_ratio
    return (1 + (2 * np.pi * scale) ** 2 * (major**2 + minor**2)) ** -1.5


def _placed(
    stamp: FloatArray, shape: tuple[int, ...], row: int, column: int, factor: int
) -> FloatArray:
    """The stamp in an image of zeros, cut at the border."""
    image = np.zeros([factor * n for n in shape])
    row, column, size = row * factor, column * factor, len(stamp)
    top, left = max(row, 0), max(column, 0)
    bottom, right = min(row + size, image.shape[0]), min(column + size, image.shape[1])
    if bottom > top and right > left:
        image[top:bottom, left:right] = stamp[
            top - row : bottom - row, left - column : right - column
        ]
    return image


def draw_injections(
    bands: Mapping[str, ComparedBand],
    *,
    n: int = 20,
    seed: int = 0,
    snr: tuple[float, float] = (20.0, 300.0),
    star_share: float = 0.5,
) -> Table:
    """
    Draw sources at free places of a field.

    Parameters
    ----------
    bands : dict of str to `~splus_srgan.evaluation.compared.ComparedBand`
        Field; places near its sources, missing pixels and border are not taken.
    n : int, optional
        How many at most; fewer where there is no room.
    seed : int, optional
        The same seed gives the same sources.
    snr : tuple of float, optional
        Least and largest signal-to-noise ratio within 3 arcsec, in each band;
        drawn log-uniformly.
    star_share : float, optional
        Share of stars; the others are exponential discs with half-light radii of 0.8 to
        2.5 arcsec.

    Returns
    -------
    sources : `~astropy.table.Table`
        ``x, y`` (input pixels), ``kind``, ``half_light_radius`` (arcsec), ``axis_ratio``,
        ``angle`` (radians), and ``flux_<band>`` in the unit of the images.
    """
    check_integer("n", n, minimum=1)
    rng = np.random.default_rng(seed)
    first = next(iter(bands.values()))
    places = _free_places(rng, bands, n)
    count = len(places)
    star = rng.random(count) < star_share
    table = Table({"x": places[:, 0], "y": places[:, 1]})
    table["kind"] = np.where(star, "star", "galaxy").astype("U8")
    table["half_light_radius"] = np.where(star, 0.0, rng.uniform(0.8, 2.5, count)) * u.arcsec
    table["axis_ratio"] = np.where(star, 1.0, rng.uniform(0.4, 1.0, count))
    table["angle"] = rng.uniform(0, np.pi, count)
    low, high = np.log(snr)
    wanted = np.exp(rng.uniform(low, high, count))
    area = np.pi * (3.0 / first.pixel_scale) ** 2
    for name, band in bands.items():
        noise = band.sigma * area_noise(area)
        photon = 1 / band.electrons if band.electrons else 0.0
        # flux / sqrt(noise**2 + photon flux) = wanted
        table[f"flux_{name}"] = (
            wanted**2 / 2 * (photon + np.sqrt(photon**2 + (2 * noise / wanted) ** 2))
        )
    return table


def _free_places(rng: np.random.Generator, bands: Mapping[str, ComparedBand], n: int) -> FloatArray:
    """Random positions, shape (count, 2), away from everything and from each other."""
    from scipy import ndimage

    first = next(iter(bands.values()))
    taken = np.any([band.bad | band.mask for band in bands.values()], axis=0)
    ny, nx = taken.shape
    gap = int(np.ceil((APERTURE["annulus"][1] + 0.6) / first.pixel_scale))
    free = np.zeros(taken.shape, bool)
    free[gap : ny - gap, gap : nx - gap] = True
    if taken.any():
        free &= ndimage.distance_transform_edt(~taken) * first.pixel_scale > _CLEAR
    rows, columns = np.nonzero(free)
    chosen: list[FloatArray] = []
    for k in rng.permutation(len(rows)):
        place = np.array([columns[k], rows[k]]) + rng.uniform(-0.5, 0.5, 2)
        if all(np.hypot(*(place - p)) * first.pixel_scale > _APART for p in chosen):
            chosen.append(place)
        if len(chosen) == n:
            break
    return np.array(chosen).reshape(-1, 2)


def inject(
    images: Mapping[str, CCDData],
    sources: Table,
    *,
    psfs: Mapping[str, Sequence[float]],
    electrons: Mapping[str, float] | None = None,
    seed: int = 0,
    pixel_scale: float = PIXEL_SCALE,
) -> dict[str, CCDData]:
    """
    Add sources to the images of a field.

    Parameters
    ----------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``, flux per pixel; not modified.
    sources : `~astropy.table.Table`
        As of `draw_injections`.
    psfs : dict of str to tuple of float
        FWHM (arcsec), Moffat beta and, if there are any, share of the wings of each band.
    electrons : dict of str to float, optional
        Electrons per unit of the flux: the photon noise of the sources is added too.
        Bands without, or with 0, get none.
    seed : int, optional
        Seed of the photon noise.
    pixel_scale : float, optional
        Arcsec per pixel.

    Returns
    -------
    injected : dict of str to `~astropy.nddata.CCDData`
        Copies with the sources.

    Raises
    ------
    ValueError
        If a band has no PSF.
    """
    lacking = [band for band in images if psfs.get(band) is None]
    if lacking:
        raise ValueError(
            f"psfs must have the FWHM and beta of every band; got none for {lacking}. Real sources "
            "have the PSF of the image: give it, or put the card FWHMMEAN into the header"
        )
    rng, result = np.random.default_rng(seed), {}
    for band, image in images.items():
        added = _render_all(np.shape(image.data), sources, band, psfs[band], pixel_scale)
        per_unit = (electrons or {}).get(band, 0)
        if per_unit:
            added += rng.normal(size=added.shape) * np.sqrt(np.maximum(added, 0) / per_unit)
        copy = image.copy()
        copy.data = (np.asarray(image.data) + added).astype(np.float32)
        result[band] = copy
    return result


def _render_all(
    shape: tuple[int, ...], sources: Table, band: str, psf: Sequence[float], pixel_scale: float
) -> FloatArray:
    """All sources in one image."""
    total = np.zeros(shape)
    for row in rows_of(sources):
        total += render_source(
            shape,
            float(row["x"]),
            float(row["y"]),
            float(row[f"flux_{band}"]),
            psf,
            half_light_radius=float(row["half_light_radius"]),
            axis_ratio=float(row["axis_ratio"]),
            angle=float(row["angle"]),
            pixel_scale=pixel_scale,
        )
    return total
