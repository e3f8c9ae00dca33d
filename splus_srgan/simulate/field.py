# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Simulate a field as S-PLUS sees it, and the sharp, noise-free image behind it.

Both are made from one scene: convolved with each PSF in Fourier space, where a
Moffat profile has a closed form, and sampled at the pixel centres of each grid.
A PSF here is the one that the pixels sample, so the pixel's own response is part
of it, as in the seeing that the survey measures on its images.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import QTable
from scipy import fft

from splus_srgan import splus
from splus_srgan.pixels.psf import (
    TARGET_PSF,
    WING_SHARE,
    coma_phase,
    core_profile,
    moffat_transfer,
    wing_transfer,
)
from splus_srgan.simulate.headers import FieldHeaders
from splus_srgan.simulate.noise import correlated_noise, noise_variance
from splus_srgan.simulate.scene import draw_scene
from splus_srgan.simulate.spectra import FITTED_BANDS
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.notebook import html_picture, html_table
from splus_srgan.utils.validate import check_one_of

__all__ = [
    "KINDS",
    "PSFS",
    "BandConditions",
    "SimulatedField",
    "draw_conditions",
    "simulate_field",
]

KINDS = ("galaxy", "fill", "cluster", "stars", "blank")
"""Kinds of field: a galaxy, one larger than the frame, several, a crowded star field, blank sky."""

PSFS = ("real", "moffat")
"""Kinds of PSF: lopsided and with wide wings, as real ones are; or Moffat profiles alone."""

_KIND_SHARES = (0.52, 0.12, 0.14, 0.12, 0.10)
_FINE = 4  # fine pixels per S-PLUS pixel and axis
_COMA = (0.02, 0.05)  # standard deviation and limit, see coma_transfer
_WINGS = (WING_SHARE, 0.05, 0.40)  # mean, standard deviation and limit
_OFFSET = 0.06  # arcsec, largest standard deviation of a band's astrometric error
_SPECTRAL = 2**32 - 1  # far from the numbers that `spawn` gives
_MARGIN = 24  # S-PLUS pixels around the frame, for light that the PSF brings in


@dataclass(frozen=True)
class BandConditions:
    """
    What the sky and the telescope did to one band.

    Attributes
    ----------
    fwhm, beta : float
        PSF: FWHM (arcsec) and Moffat beta of the one profile that the header states; of its
        core, see `~splus_srgan.pixels.psf.core_profile`.
    ellipticity, position_angle : float
        PSF: ``1 - b/a``, and the angle of the major axis (radians, from x to y).
    sigma : float
        Sky noise, nanomaggies per pixel.
    electrons : float
        Electrons per nanomaggie in the whole exposure.
    sky : float
        Sky left over by the survey's sky subtraction, nanomaggies per pixel.
    zero_point : float
        AB magnitude of 1 ADU.
    saturation : float
        Saturation level, ADU per pixel.
    dithers : tuple of tuple of float
        Fractional offsets ``(dy, dx)`` of the exposures that were resampled and
        averaged.  They set the correlation of the noise.
    coma : tuple of float
        PSF: its lopsidedness ``(y, x)``, see `~splus_srgan.pixels.psf.coma_transfer`.
    wings : float
        PSF: share of the light in its wings, see `~splus_srgan.pixels.psf.wing_transfer`.
    offset : tuple of float
        Astrometric error ``(dy, dx)`` of the band, arcsec: its images, the target
        included, are moved by it.  Bands of real tiles lie up to 0.1 arcsec apart.
    """

    fwhm: float
    beta: float
    ellipticity: float
    position_angle: float
    sigma: float
    electrons: float
    sky: float
    zero_point: float
    saturation: float
    dithers: tuple[tuple[float, float], ...]
    coma: tuple[float, float] = (0.0, 0.0)
    wings: float = 0.0
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def adu_per_nmgy(self):
        """ADU that one nanomaggie gives."""
        return 10 ** (0.4 * (self.zero_point - 22.5))


@dataclass
class SimulatedField:
    """
    A simulated field: what S-PLUS sees, and the truth.

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
        What was drawn: kind, position (S-PLUS pixels, 0-based, and sky), flux per
        band (nmgy) and half-light radius.
    conditions : dict of str to `BandConditions`
        What each band was seen through.
    kind : str
        One of `KINDS`.
    """

    observed: dict
    target: dict
    noiseless: dict
    sources: QTable
    conditions: dict = field(repr=False)
    kind: str = "galaxy"

    def __repr__(self):
        ny, nx = next(iter(self.observed.values())).shape
        return (
            f"SimulatedField({self.kind!r}, bands {', '.join(self.observed)}, shape ({ny}, {nx}), "
            f"{len(self.sources)} sources)"
        )

    def _repr_html_(self):
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
    def sky(self):
        """Left-over sky per band, ADU per pixel."""
        return {band: c.sky * c.adu_per_nmgy for band, c in self.conditions.items()}

    @property
    def sigma(self):
        """Sky noise per band, ADU per pixel."""
        return {band: c.sigma * c.adu_per_nmgy for band, c in self.conditions.items()}


def draw_conditions(rng, band):
    """
    Draw what an S-PLUS image of a band may look like, and somewhat beyond.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the draw.
    band : str
        One of `splus_srgan.splus.BANDS`, whose medians are taken.

    Returns
    -------
    conditions : `BandConditions`
        Seeing, noise, zero point and the rest.
    """
    facts = splus.BANDS[check_one_of("band", band, tuple(splus.BANDS))]
    mode = rng.integers(2)
    sigma = np.clip(facts.noise[0] * rng.lognormal(0.05, 0.22), facts.noise[0] * 0.6, None)
    n_dither = rng.choice([3, 3, 3, 4, 6])
    # Streams of their own, so that they change nothing else of a seed.
    astrometry, optics = rng.spawn(2)
    wings, scatter, most = _WINGS
    offset = astrometry.normal(0, astrometry.uniform(0, _OFFSET), 2)
    coma = np.clip(optics.normal(0, _COMA[0], 2), -_COMA[1], _COMA[1])
    return BandConditions(
        fwhm=float(np.clip(facts.fwhm[0] * rng.lognormal(0, 0.17), 0.95, 2.4)),
        beta=float(np.clip(facts.beta[0] * rng.lognormal(0, 0.16), 2.1, 4.6)),
        ellipticity=float(min(abs(rng.normal(0, 0.045)), 0.15)),
        position_angle=float(rng.uniform(0, np.pi)),
        sigma=float(sigma),
        electrons=float(facts.exposure * 10 ** (0.4 * (facts.electron_zero_point - 22.5))),
        sky=float(rng.normal(0, 0.04) * sigma),
        zero_point=float(facts.zero_points[mode] + rng.normal(0, 0.05)),
        saturation=float(facts.saturation),
        dithers=tuple((float(dy), float(dx)) for dy, dx in rng.uniform(-0.5, 0.5, (n_dither, 2))),
        coma=(float(coma[0]), float(coma[1])),
        wings=float(np.clip(optics.normal(wings, scatter), 0, most)),
        offset=(float(offset[0]), float(offset[1])),
    )


class _FineGrid:
    """
    Frequencies of the scene's grid, and the transfer functions that all bands share.

    Parameters
    ----------
    shape : tuple of int
        Fine pixels ``(ny, nx)``.
    scale : float
        Arcsec per fine pixel.
    """

    def __init__(self, shape, scale):
        self.shape, self.scale = shape, scale
        self.fy = fft.fftfreq(shape[0], scale).astype(np.float32)[:, None]
        self.fx = fft.rfftfreq(shape[1], scale).astype(np.float32)[None, :]

    @cached_property
    def target(self):
        """Of the PSF of the target, without wings."""
        return moffat_transfer(self.fy, self.fx, *TARGET_PSF)

    @cached_property
    def wings(self):
        """Of the wings alone."""
        return wing_transfer(self.fy, self.fx, np.float32(0), 1.0)

    def seeing(self, conditions, *, fast):
        """Of the PSF of a band, without wings and without coma; and the FWHM of this core."""
        fwhm, beta = core_profile(conditions.fwhm, conditions.beta, conditions.wings)
        angles = {
            "ellipticity": conditions.ellipticity,
            "position_angle": conditions.position_angle,
            "fast": fast,
        }
        return moffat_transfer(self.fy, self.fx, fwhm, beta, **angles), fwhm

    def convolve(self, spectrum, core, wings, shift):
        """The scene's spectrum, seen through a PSF and moved by ``shift`` arcsec (y, x)."""
        move_y, move_x = (
            np.exp(np.complex64(2j * np.pi * s) * f)
            for s, f in zip(shift, (self.fy, self.fx), strict=True)
        )
        transfer = (1 - wings) * core + wings * self.wings if wings else core
        transfer = transfer * (move_y * move_x)
        return spectrum * transfer.astype(np.complex64)


def _sample(spectrum, shape, step):
    """
    Every ``step``-th pixel of an image, from its spectrum.

    The spectrum of the samples is the one of the image with all its orders on each other.
    """
    ny, nx = shape[0] // step, shape[1] // step
    rows = spectrum.reshape(step, ny, -1).sum(axis=0)
    # The half of the frequencies along x that a real image needs not store.
    mirrored = np.conj(np.roll(rows[::-1], 1, axis=0)[:, -2:0:-1])
    whole = np.concatenate([rows, mirrored], axis=1).reshape(ny, step, nx).sum(axis=1)
    return fft.irfft2(whole[:, : nx // 2 + 1], s=(ny, nx)) / np.float32(step**2)


def _observe(plane, conditions, shape, grid, *, fold=True):
    """
    One band of the scene on the S-PLUS grid and on the target grid, nanomaggies per pixel.

    To sample in the Fourier domain, and a transfer function in single precision, are the fast
    way, and equal to rounding; without ``fold`` the fine image is made first.
    """
    spectrum = fft.rfft2(plane)
    seeing, fwhm = grid.seeing(conditions, fast=fold)
    if any(conditions.coma):
        phase = coma_phase(grid.fy, grid.fx, fwhm, conditions.coma)
        seeing = _turned(seeing, phase) if fold else seeing * np.exp(1j * phase)
    images = []
    for step, core in ((_FINE, seeing), (_FINE // 2, grid.target)):
        # The centre of a pixel of `step` fine pixels lies between two of them.
        shift = [(step - 1) / 2 * grid.scale - error for error in conditions.offset]
        seen = grid.convolve(spectrum, core, conditions.wings, shift)
        if fold:
            image = _sample(seen, grid.shape, step)
        else:
            image = fft.irfft2(seen, overwrite_x=True)[::step, ::step]
        size = np.array(shape) * (_FINE // step)
        # The same place on both grids, also where the margins are not even.
        first = (np.array(grid.shape) // _FINE - shape) // 2 * (_FINE // step)
        cut = image[first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
        images.append(cut * np.float32(step**2))
    return images


def _turned(real, phase):
    """``real * exp(1j * phase)``, part by part."""
    turned = np.empty(phase.shape, np.complex64)
    turned.real, turned.imag = real * np.cos(phase), real * np.sin(phase)
    return turned


def _source_table(scene, wcs, offset):
    """The drawn sources on S-PLUS pixels, with their sky positions."""
    rows = scene.sources
    x = (np.array([row["x"] for row in rows]) - (_FINE - 1) / 2) / _FINE - offset[1]
    y = (np.array([row["y"] for row in rows]) - (_FINE - 1) / 2) / _FINE - offset[0]
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
def simulate_field(seed, *, shape=(128, 128), bands=("g", "r", "z"), kind=None, psf="real"):
    """
    Simulate a field as S-PLUS sees it, and the image to be had from it.

    Galaxies (bulge and disc, spiral arms, bars, dust, knots; ellipticals), faint
    galaxies behind them and stars up to saturation, with the magnitudes, sizes and
    colours of the bright galaxies of the survey; the seeing, noise (correlated,
    and photon noise), zero point and left-over sky are drawn per band.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed gives the same field.
    shape : tuple of int, optional
        ``(ny, nx)`` of the S-PLUS image, at least 16 pixels each.
    bands : sequence of str, optional
        Any of the twelve of `splus_srgan.splus.BANDS`.  Fluxes in g, r and z are drawn;
        those in the others follow from spectra that are fitted to them: populations of old and
        young stars, dust, redshifts up to 0.1, emission lines, stars from 3000 to 12000 K.
        Where a band beyond g, r and z is asked for, the field also has a few hot stars, and
        sources that shine in one narrow band alone.
    kind : str, optional
        One of `KINDS`; drawn when `None`.
    psf : {"real", "moffat"}, optional
        PSFs as real ones are: lopsided (`~splus_srgan.pixels.psf.coma_transfer`), so that the
        position of a source depends on how it is measured, and with wide wings
        (`~splus_srgan.pixels.psf.wing_transfer`), which the target has too.  Or Moffat
        profiles alone.

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
    fine_scale = splus.PIXEL_SCALE / _FINE
    scene = draw_scene(
        rng,
        shape=tuple(_FINE * n for n in padded),
        frame=tuple(_FINE * n for n in shape),
        fine_scale=fine_scale,
        bands=bands,
        kind=str(kind),
        spectra=_spectral_rng(seed),
    )
    grid = _FineGrid(scene.image.shape[1:], fine_scale)
    crpix = rng.integers(-4000, 4000, 2) + 0.5
    pointing = (float(rng.uniform(0, 360)), float(rng.uniform(-60, 0)), crpix)
    observed, target, noiseless, drawn, headers = {}, {}, {}, {}, None
    for band, plane in zip(scene.bands, scene.image, strict=True):
        conditions = draw_conditions(rng, band)
        if psf == "moffat":
            conditions = dataclasses.replace(conditions, coma=(0.0, 0.0), wings=0.0)
        drawn[band] = conditions
        clean, sharp = _observe(plane, conditions, shape, grid, fold=band not in FITTED_BANDS)
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
    sources = _source_table(scene, headers.wcs, offset)
    return SimulatedField(observed, target, noiseless, sources, drawn, str(kind))


def _spectral_rng(seed):
    """A stream of its own, so that g, r and z of a seed do not depend on spectra."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_SPECTRAL,)))


def _check_bands(bands):
    names = tuple(check_one_of("band", band, tuple(splus.BANDS)) for band in bands)
    if not names:
        raise ValueError(f"bands must name at least one band; got {bands!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"bands must name each band once; got {bands!r}")
    return names


def _check_shape(shape):
    ny, nx = (int(n) for n in shape)
    if min(ny, nx) < 16:
        raise ValueError(f"shape must be at least 16 pixels on each side; got {tuple(shape)!r}")
    return ny, nx
