# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Sources that few bands show, added to a field: what one band shows is not in the others.

Real light of this kind is emission lines, and transients where bands were taken on different
nights.  It is rare, so that simulated fields alone teach a generator to distrust it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from splus_srgan.pixels.psf import TARGET_PSF, psf_transfer
from splus_srgan.simulate.bandpasses import NARROW_BANDS
from splus_srgan.splus import PIXEL_SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = ["APERTURE", "added_sources", "aperture_of", "draw_added"]

APERTURE = 3.0
"""Radius (arcsec) of the aperture in which a source is measured."""

_CELL = 32  # input pixels: one source in each
_ROOM = 9  # of its side, where none lies
_SN = (5.0, 60.0)
_WIDTH = (0.2, 1.2)  # arcsec, standard deviation of half of them; the others are points
_FEW, _SOME = 0.6, 0.15  # shares of one band, and of two or three; the rest lack one band
_NARROW = 0.75  # of those of one band, at least
_COLOR = 0.6  # spread of ln S/N between bands


def draw_added(
    rng: np.random.Generator, bands: Sequence[str], psfs: FloatArray, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """
    Draw sources that shine in one band, in two or three, or in all but one.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the draw.
    bands : sequence of str
        Names of the bands.
    psfs : `~numpy.ndarray`, shape (n_band, 3)
        FWHM (arcsec) and beta of the core of each band's PSF, and share of the wings.
    shape : tuple of int
        ``(ny, nx)`` of the input.

    Returns
    -------
    sources : `~numpy.ndarray`, shape (n, 4 + n_band)
        Row and column (input pixels), standard deviation (arcsec), S/N by a matched filter in
        white noise (5 to 60, of several bands a mean), and flux in each band in sky noises, 0
        where there is none.
    """
    n_band, cells = len(bands), [max(1, n // _CELL) for n in shape]
    narrow = [k for k, band in enumerate(bands) if band in NARROW_BANDS] or range(n_band)
    size = np.array(shape) / cells
    sources = []
    for cell in np.ndindex(*cells):
        place = (cell + rng.uniform(_ROOM / _CELL, 1 - _ROOM / _CELL, 2)) * size - 0.5
        width = rng.choice((0, rng.uniform(*_WIDTH)))
        sn = float(np.exp(rng.uniform(*np.log(_SN))))
        colors = np.ones(n_band)
        kind = rng.random()
        if kind < _FEW or n_band == 1:
            shines = [rng.choice(narrow if rng.random() < _NARROW else range(n_band))]
        else:
            number = rng.integers(2, 4) if kind < _FEW + _SOME else n_band - 1
            shines = rng.choice(n_band, min(number, n_band - 1), replace=False)
            colors = np.exp(_COLOR * rng.standard_normal(n_band))
        flux = np.zeros(n_band)
        for band in shines:
            image = _image(psfs[band], width, place, shape, 1)
            flux[band] = sn * colors[band] / np.sqrt(np.sum(image**2))
        sources.append([*place, width, sn, *flux])
    return np.array(sources)


def added_sources(
    sources: FloatArray, psfs: FloatArray, shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """
    Draw sources as an input and as a target show them, without noise.

    Parameters
    ----------
    sources : `~numpy.ndarray`, shape (n, 4 + n_band)
        Result of `draw_added`.
    psfs, shape
        As for `draw_added`.

    Returns
    -------
    observed, truth : `~numpy.ndarray`, shape (n_band, ny, nx) and (n_band, 2 ny, 2 nx)
        Sky noises per input pixel; float32.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.training.data.added import added_sources
    >>> sources = np.array([[15.5, 15.5, 0.0, 20.0, 100.0, 0.0]])  # of two bands, in one alone
    >>> psfs = np.array([[1.3, 3.5, 0.28], [1.4, 3.5, 0.28]])
    >>> observed, truth = added_sources(sources, psfs, (32, 32))
    >>> observed.sum((1, 2)).round(3).tolist(), (truth.sum((1, 2)) / 4).round(3).tolist()
    ([100.0, 0.0], [100.0, 0.0])
    """
    n_band = len(psfs)
    observed = np.zeros((n_band, *shape), np.float32)
    truth = np.zeros((n_band, *(2 * n for n in shape)), np.float32)
    for y, x, width, _, *flux in sources:
        for band in np.flatnonzero(flux):
            seen, wanted = psfs[band], (*TARGET_PSF, psfs[band][2])
            observed[band] += flux[band] * _image(seen, width, (y, x), shape, 1)
            truth[band] += 4 * flux[band] * _image(wanted, width, (y, x), shape, 2)
    return observed, truth


def aperture_of(source: FloatArray, shape: tuple[int, int]) -> NDArray[np.float32]:
    """
    Give the output pixels of a source's aperture.

    Parameters
    ----------
    source : sequence of float
        Row and column (input pixels), and more.
    shape : tuple of int
        ``(ny, nx)`` of the input.

    Returns
    -------
    inside : `~numpy.ndarray`, shape (2 ny, 2 nx)
        1 within `APERTURE`, else 0; float32.
    """
    y, x = (
        PIXEL_SCALE * ((np.arange(2 * n) + 0.5) / 2 - 0.5 - middle)
        for n, middle in zip(shape, source[:2], strict=True)
    )
    return (np.hypot(y[:, None], x) < APERTURE).astype(np.float32)


def _image(psf, width, place, shape, zoom):
    """A source of unit flux on the pixels of the input (``zoom`` 1) or of the output (2)."""
    scale = PIXEL_SCALE / zoom
    ny, nx = (zoom * n for n in shape)
    fy, fx = fft.fftfreq(ny, scale)[:, None], fft.rfftfreq(nx, scale)[None]
    y, x = ((middle + 0.5) * PIXEL_SCALE - 0.5 * scale for middle in place)
    transfer = psf_transfer(fy, fx, *psf) * np.exp(-2 * (np.pi * width) ** 2 * (fy**2 + fx**2))
    return fft.irfft2(transfer * np.exp(-2j * np.pi * (fy * y + fx * x)), s=(ny, nx))
