# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulate a field as S-PLUS sees it, and the sharp, noise-free image behind it.

Both are made from one scene: convolved with each PSF in Fourier space, where a
Moffat profile has a closed form, and sampled at the pixel centres of each grid.
The PSFs here are effective ones, which include the response of the pixel, as in the seeing
that the survey measures on its images.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import QTable
from scipy import fft

from splus_srgan import splus
from splus_srgan.images.bands import listed_bands, tidy_band
from splus_srgan.pixels.coadd_noise import correlated_noise, noise_variance
from splus_srgan.simulate.conditions import draw_conditions, with_wide_psf
from splus_srgan.simulate.headers import FieldHeaders
from splus_srgan.simulate.observe import FINE, FineGrid, observe
from splus_srgan.simulate.scene import draw_scene
from splus_srgan.simulate.spectra import FITTED_BANDS
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.notebook import html_picture, html_table
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from astropy.wcs import WCS

    from splus_srgan.simulate.conditions import BandConditions
    from splus_srgan.simulate.scene import Scene
    from splus_srgan.utils.types import Bands, FloatArray

__all__ = [
    "KINDS",
    "PSFS",
    "SimulatedField",
    "simulate_field",
]

KINDS = ("galaxy", "fill", "cluster", "stars", "blank")
"""Kinds of field: a galaxy, one larger than the frame, several, a crowded star field, blank sky."""

PSFS = ("real", "wide", "moffat")
"""Kinds of PSF: lopsided and with wide wings, as real ones are; or Moffat profiles alone."""

_KIND_SHARES = (0.52, 0.12, 0.14, 0.12, 0.10)
_SPECTRAL = 2**32 - 1  # far from the keys that `spawn` gives
_MARGIN = 24  # S-PLUS pixels around the frame, for light that the PSF scatters in


@dataclass
class SimulatedField:
    """
    A simulated field: the S-PLUS images and the truth.

    Attributes
    ----------
    observed : dict of str to `~astropy.nddata.CCDData`
        Band to S-PLUS image: ``(ny, nx)``, ADU per pixel at 0.55 arcsec.
    target : dict of str to `~astropy.nddata.CCDData`
        Band to noise-free image: ``(2 ny, 2 nx)``, ADU per pixel at 0.275 arcsec,
        PSF `~splus_srgan.pixels.psf.TARGET_PSF` and the wings of the S-PLUS image, without the
        left-over sky.
    noiseless : dict of str to `~numpy.ndarray`
        Band to the S-PLUS image without noise and left-over sky, in ADU.
    sources : `~astropy.table.QTable`
        The drawn sources: kind, position (S-PLUS pixels, 0-based, and sky), flux per
        band (nmgy) and half-light radius.
    conditions : dict of str to `BandConditions`
        Observing conditions of each band.
    kind : str
        One of `KINDS`.
    """

    observed: dict[str, CCDData]
    target: dict[str, CCDData]
    noiseless: dict[str, FloatArray]
    sources: QTable
    conditions: dict[str, BandConditions] = field(repr=False)
    kind: str = "galaxy"

    def __repr__(self) -> str:
        ny, nx = next(iter(self.observed.values())).shape
        return (
            f"SimulatedField({self.kind!r}, bands {', '.join(self.observed)}, shape ({ny}, {nx}), "
            f"{len(self.sources)} sources)"
        )

    def _repr_html_(self) -> str:
        band = "r" if "r" in self.observed else next(iter(self.observed))
        pictures = [
            html_picture(
                image[band].data - level, softening=self.sigma[band] / parts, alt=f"{what}, {band}"
            )
            for what, image, level, parts in (
                ("as S-PLUS sees it", self.observed, self.sky[band], 1),
                ("truth", self.target, 0, 4),
            )
        ]
        rows = {
            name: f"seeing {one.fwhm:.2f} arcsec, zero point {one.zero_point:.2f} mag"
            for name, one in self.conditions.items()
        }
        return "".join(pictures) + html_table(repr(self), rows)

    @property
    def sky(self) -> dict[str, float]:
        """Left-over sky per band, ADU per pixel."""
        return {band: c.sky * c.adu_per_nmgy for band, c in self.conditions.items()}

    @property
    def sigma(self) -> dict[str, float]:
        """Sky noise per band, ADU per pixel."""
        return {band: c.sigma * c.adu_per_nmgy for band, c in self.conditions.items()}


def _source_table(scene: Scene, wcs: WCS, offset: Any) -> QTable:
    """The drawn sources on S-PLUS pixels, with their sky positions."""
    rows = scene.sources
    x = (np.array([row["x"] for row in rows]) - (FINE - 1) / 2) / FINE - offset[1]
    y = (np.array([row["y"] for row in rows]) - (FINE - 1) / 2) / FINE - offset[0]
    table = QTable()
    table["kind"] = np.array([row["kind"] for row in rows], dtype="U6")
    table["x"], table["y"] = x * u.pix, y * u.pix
    ra, dec = wcs.wcs_pix2world(x, y, 0) if len(x) else (x, y)
    table["ra"], table["dec"] = ra * u.deg, dec * u.deg
    radius = np.array([row["half_light_radius"] for row in rows], dtype=float)
    table["half_light_radius"] = radius * u.arcsec
    for band in scene.bands:
        table[f"flux_{band}"] = np.array([row[f"flux_{band}"] for row in rows], float) * u.nmgy
    return table


@numpy_defaults
def simulate_field(
    seed: int | Sequence[int],
    *,
    shape: tuple[int, int] = (128, 128),
    bands: Bands = ("g", "r", "z"),
    kind: Literal["galaxy", "fill", "cluster", "stars", "blank"] | None = None,
    psf: Literal["real", "wide", "moffat"] = "real",
) -> SimulatedField:
    """
    Simulate a field as S-PLUS sees it, and the sharp, noise-free image of it.

    Galaxies (bulge and disc, spiral arms, bars, dust, knots; ellipticals), faint
    galaxies behind them and stars up to saturation, with the magnitudes, sizes and
    colors of the bright galaxies of the survey; the seeing, noise (correlated,
    and photon noise), zero point and left-over sky are drawn per band.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same field.
    shape : tuple of int, optional
        ``(ny, nx)`` of the S-PLUS image, at least 16 pixels each.
    bands : str or sequence of str, optional
        Any of the twelve of `splus_srgan.splus.BANDS`, as names, or in one text such as ``"gri"``
        or ``"r, J0660"``.  Fluxes in g, r and z are drawn;
        those in the others follow from spectra that are fitted to them: populations of old and
        young stars, dust, redshifts up to 0.1, emission lines, stars from 3000 to 12000 K.
        Where a band beyond g, r and z is asked for, the field also has a few hot stars, and
        sources that shine in one narrow band alone.
    kind : str, optional
        One of `KINDS`; drawn when `None`.
    psf : {"real", "wide", "moffat"}, optional
        PSFs as real ones are: lopsided (`~splus_srgan.pixels.psf.coma_transfer`), so that the
        position of a source depends on how it is measured, and with wide wings
        (`~splus_srgan.pixels.psf.wing_transfer`), which the target has too.  The same of a wider
        range, as in corners of some fields (`~splus_srgan.simulate.conditions.with_wide_psf`).
        Or Moffat profiles alone.

    Returns
    -------
    field : `SimulatedField`
        Observed and target images, and the list of sources.

    Raises
    ------
    ValueError
        If a band, the kind or the kind of PSF is unknown, or the shape is too small.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> field = simulate_field(1, shape=(64, 48))
    >>> field.observed["r"].shape, field.target["r"].shape, field.observed["r"].unit
    ((64, 48), (128, 96), Unit("adu"))
    """
    shape = _check_shape(shape)
    bands = _check_bands(bands)
    check_one_of("psf", psf, PSFS)
    rng = np.random.default_rng(seed)
    kind = rng.choice(KINDS, p=_KIND_SHARES) if kind is None else check_one_of("kind", kind, KINDS)
    padded = tuple(fft.next_fast_len(n + 2 * _MARGIN, real=True) for n in shape)
    offset = tuple((big - n) // 2 for big, n in zip(padded, shape, strict=True))
    fine_scale = splus.PIXEL_SCALE / FINE
    scene = draw_scene(
        rng,
        shape=tuple(FINE * n for n in padded),
        frame=(FINE * shape[0], FINE * shape[1]),
        fine_scale=fine_scale,
        bands=bands,
        kind=str(kind),
        spectra=_spectral_rng(seed),
    )
    grid = FineGrid(scene.image.shape[1:], fine_scale)
    crpix = rng.integers(-4000, 4000, 2) + 0.5
    pointing = (float(rng.uniform(0, 360)), float(rng.uniform(-60, 0)), crpix)
    observed, target, noiseless, drawn, headers = {}, {}, {}, {}, None
    for band, plane in zip(scene.bands, scene.image, strict=True):
        conditions = draw_conditions(rng, band)
        if psf == "moffat":
            conditions = dataclasses.replace(conditions, coma=(0.0, 0.0), wings=0.0)
        elif psf == "wide":
            conditions = with_wide_psf(conditions, seed, band)
        drawn[band] = conditions
        clean, sharp = observe(plane, conditions, shape, grid, fold=band not in FITTED_BANDS)
        deviation = np.sqrt(noise_variance(clean, conditions.sigma, conditions.electrons))
        noise = correlated_noise(rng, shape, conditions.dithers)
        image = (clean + conditions.sky + noise * deviation) * conditions.adu_per_nmgy
        image = np.minimum(image, conditions.saturation).astype(np.float32)
        scale = np.float32(conditions.adu_per_nmgy)
        headers = headers or FieldHeaders(band, shape, conditions, pointing)
        header, fine = headers.of(band, conditions)
        observed[band] = CCDData(image, unit=u.adu, meta=header, wcs=headers.wcs.deepcopy())
        target[band] = CCDData(
            sharp * scale, unit=u.adu, meta=fine, wcs=headers.fine_wcs.deepcopy()
        )
        noiseless[band] = clean * scale
    sources = _source_table(scene, next(iter(observed.values())).wcs, offset)
    return SimulatedField(observed, target, noiseless, sources, drawn, str(kind))


def _spectral_rng(seed: Any) -> np.random.Generator:
    """A separate stream, so that g, r and z of a seed do not depend on spectra."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPECTRAL,)))


def _check_bands(bands: Bands) -> tuple[str, ...]:
    named = map(tidy_band, listed_bands(bands))
    names = tuple(check_one_of("band", band, tuple(splus.BANDS)) for band in named)
    if not names:
        raise ValueError(f"bands must name at least one band; got {bands!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"bands must name each band once; got {bands!r}")
    return names


def _check_shape(shape: Sequence[int]) -> tuple[int, int]:
    ny, nx = (int(n) for n in shape)
    if min(ny, nx) < 16:
        raise ValueError(f"shape must be at least 16 pixels on each side; got {tuple(shape)!r}")
    return ny, nx
