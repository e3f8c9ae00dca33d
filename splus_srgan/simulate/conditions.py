# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Effects of sky and telescope on one band: PSF, noise, zero point, errors of the position."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan import splus
from splus_srgan.pixels.psf import WING_SHARE
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BandConditions", "draw_conditions", "with_wide_psf"]

_COMA = (0.02, 0.05)  # standard deviation and limit, see coma_transfer

_WINGS = (WING_SHARE, 0.05, 0.40)  # mean, standard deviation and limit

# Of PSFs far from the usual: spread of ln FWHM, range of beta, spread and limit of the ellipticity,
# range of the share of the wings.  In corners of real fields beta is up to 12, ellipticity to 0.25.
_WIDE = 0.25, (2.0, 9.0), (0.1, 0.3), (0.0, 0.45)

_WIDE_STREAM = 7

_OFFSET = 0.06  # arcsec, largest standard deviation of a band's astrometric error


@dataclass(frozen=True)
class BandConditions:
    """
    Effects of sky and telescope on one band.

    Attributes
    ----------
    fwhm, beta : float
        PSF: FWHM (arcsec) and Moffat beta of the single profile that the header states; for its
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
    def adu_per_nmgy(self) -> float:
        """ADU that one nanomaggie gives."""
        return 10 ** (0.4 * (self.zero_point - 22.5))


def draw_conditions(rng: np.random.Generator, band: str) -> BandConditions:
    """
    Draw conditions over the range of S-PLUS images of a band, and somewhat beyond.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the draw.
    band : str
        One of `splus_srgan.splus.BANDS`, whose medians are used.

    Returns
    -------
    conditions : `BandConditions`
        Seeing, noise, zero point and the rest.
    """
    facts = splus.BANDS[check_one_of("band", band, tuple(splus.BANDS))]
    mode = rng.integers(2)
    sigma = np.clip(facts.noise[0] * rng.lognormal(0.05, 0.22), facts.noise[0] * 0.6, None)
    n_dither = rng.choice([3, 3, 3, 4, 6])
    # Separate streams, so that all other draws of a seed stay the same.
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


def with_wide_psf(
    conditions: BandConditions, seed: int | Sequence[int], band: str
) -> BandConditions:
    """
    Give conditions another PSF, of a wider range than is usual.

    Parameters
    ----------
    conditions : `BandConditions`
        Conditions as drawn.
    seed : int or sequence of int
        Seed of the field.
    band : str
        One of `splus_srgan.splus.BANDS`.

    Returns
    -------
    conditions : `BandConditions`
        The same but for ``fwhm``, ``beta``, ``ellipticity`` and ``wings``.
    """
    number = list(splus.BANDS).index(check_one_of("band", band, tuple(splus.BANDS)))
    # Of its own, so that all other draws of a seed stay the same.
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(_WIDE_STREAM, number)))
    spread, betas, (elongation, most), wings = _WIDE
    fwhm = splus.BANDS[band].fwhm[0] * rng.lognormal(0, spread)
    return replace(
        conditions,
        fwhm=float(np.clip(fwhm, 0.95, 2.4)),
        beta=float(np.exp(rng.uniform(*np.log(betas)))),
        ellipticity=float(min(abs(rng.normal(0, elongation)), most)),
        wings=float(rng.uniform(*wings)),
    )
