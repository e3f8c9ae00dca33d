# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
PSFs in Fourier space: Moffat profiles, and what real ones have besides.

A PSF here is the one that pixels sample, with the pixel's own response in it, as in the
seeing that the survey measures on its images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.validate import check_finite, check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import ArrayLike, NDArray

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "TARGET_PSF",
    "WINGS",
    "WING_FWHM",
    "WING_SHARE",
    "coma_phase",
    "coma_transfer",
    "core_profile",
    "matching_transfer",
    "moffat_alpha",
    "moffat_profile",
    "moffat_transfer",
    "psf_image",
    "psf_profile",
    "psf_transfer",
    "wing_transfer",
]

TARGET_PSF = (1.0, 3.0)
"""FWHM (arcsec) and Moffat beta of the target image, whose wings are those of the input."""

WINGS = (3.0, 2.0)
"""Moffat alpha (arcsec) and beta of the wings of real PSFs (`wing_transfer`)."""

WING_FWHM = 2 * WINGS[0] * np.sqrt(2 ** (1 / WINGS[1]) - 1)
"""FWHM (arcsec) of these wings."""

WING_SHARE = 0.28
"""Share of the light that is in the wings of S-PLUS images (`wing_transfer`)."""

_STEEP = 30.0  # Moffat beta


def core_profile(fwhm: float, beta: float, share: float = WING_SHARE) -> tuple[float, float]:
    r"""
    Profile of the core of a PSF, from that of one Moffat fitted to core and wings.

    .. math:: \mathrm{FWHM}_c = (1 - 0.18\, w)\, \mathrm{FWHM}, \qquad
              \beta_c = (1 + 1.25\, w)\, \beta

    Parameters
    ----------
    fwhm, beta : float
        What a fit of a single profile gives, as headers state it.
    share : float, optional
        Share :math:`w` of the light that is in the wings (`wing_transfer`), 0 to 1.

    Returns
    -------
    fwhm, beta : float
        FWHM and beta of the core; the FWHM in the unit of the one given.

    Notes
    -----
    Measured as the share was, see `wing_transfer`.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import core_profile
    >>> [round(value, 3) for value in core_profile(1.4, 2.9)]
    [1.329, 3.915]
    """
    return fwhm * (1 - 0.18 * share), beta * (1 + 1.25 * share)


def moffat_transfer(
    fy: FloatArray,
    fx: FloatArray,
    fwhm: float,
    beta: float,
    *,
    ellipticity: float = 0.0,
    position_angle: float = 0.0,
    fast: bool = False,
) -> FloatArray:
    r"""
    Fourier transform of a Moffat PSF of unit flux.

    .. math:: \hat{I}(\nu) = \frac{2}{\Gamma(\beta - 1)} \left(\frac{q}{2}\right)^{\beta - 1}
              K_{\beta - 1}(q), \qquad q = 2 \pi \alpha \nu, \qquad
              \alpha = \frac{\mathrm{FWHM}}{2 \sqrt{2^{1 / \beta} - 1}}

    with the modified Bessel function :math:`K`.  An ellipticity stretches one axis
    and shrinks the other, and keeps the area.

    Parameters
    ----------
    fy, fx : `~numpy.ndarray`
        Frequencies in cycles per arcsec; they broadcast against each other.
    fwhm : float
        FWHM in arcsec (the geometric mean of both axes).
    beta : float
        Moffat beta, above 1: at 1 the light has no end.
    ellipticity : float, optional
        ``1 - b/a``.
    position_angle : float, optional
        Angle of the major axis in radians, from x to y.
    fast : bool, optional
        Compute in the precision of the frequencies, which is twice as fast for float32; it is
        then exact to 1e-6 instead of 1e-7.

    Returns
    -------
    transfer : `~numpy.ndarray`
        Real, 1 at frequency zero.

    Raises
    ------
    ValueError
        If ``fwhm`` is not above 0, or ``beta`` not above 1.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import moffat_transfer
    >>> round(float(moffat_transfer(0.0, 0.5, 1.0, 3.0)), 4)
    0.2625
    """
    check_positive("fwhm", fwhm)
    if check_finite("beta", beta) <= 1:
        raise ValueError(f"beta must be above 1, as that of a Moffat profile; got {beta!r}")
    alpha = moffat_alpha(fwhm, beta)
    scalars = (
        alpha, np.sqrt(1 - ellipticity), np.cos(position_angle), np.sin(position_angle)
    )  # fmt: skip
    # NumPy's own floats would make double precision of it.
    alpha, stretch, cos, sin = map(float, scalars) if fast else scalars
    major, minor = (cos * fx + sin * fy) / stretch, (cos * fy - sin * fx) * stretch
    q = 2 * np.pi * alpha * np.hypot(major, minor)
    # The Bessel function is slow: a fine table of it is exact to 1e-7.
    table_q = np.linspace(0, max(1e-3, float(np.max(q))), 8192)
    table = np.ones_like(table_q)
    table[1:] = (_by_bessel if beta <= _STEEP else _by_gaussians)(table_q[1:], beta - 1)
    if fast:
        return _look_up(np.asarray(q), table_q[-1], table)
    return np.interp(q, table_q, table).astype(np.float32)


def _look_up(q, largest, table):
    """Linear interpolation in a table of equal steps from 0 on, in single precision."""
    last = len(table) - 1
    place = (q * float(last / largest)).astype(np.float32)
    below = np.minimum(np.floor(place), np.float32(last - 1))
    index, step = below.astype(np.int32), np.diff(table).astype(np.float32)
    return table.astype(np.float32).take(index) + (place - below) * step.take(index)


def moffat_alpha(fwhm: float, beta: float) -> float:
    r"""
    Give the :math:`\alpha` of a Moffat profile, in the unit of its FWHM.

    .. math:: \alpha = \frac{\mathrm{FWHM}}{2 \sqrt{2^{1 / \beta} - 1}}

    Parameters
    ----------
    fwhm, beta : float
        FWHM and beta of the profile.

    Returns
    -------
    alpha : float
        In the unit of ``fwhm``.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import moffat_alpha
    >>> round(float(moffat_alpha(2.0, 1.0)), 6)
    1.0
    """
    return fwhm / (2 * np.sqrt(np.expm1(np.log(2) / beta)))


def moffat_profile(r2: ArrayLike, beta: float) -> Any:
    r"""
    Moffat profile of unit flux and :math:`\alpha = 1`.

    .. math:: M(r) = \frac{\beta - 1}{\pi} \left(1 + r^2\right)^{-\beta}

    That of another :math:`\alpha` is :math:`M(r / \alpha) / \alpha^2`.

    Parameters
    ----------
    r2 : array_like
        Square of the radius, in units of :math:`\alpha^2`.
    beta : float
        Moffat beta, above 1.

    Returns
    -------
    profile : `~numpy.ndarray`
        Flux per area.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import moffat_profile
    >>> round(float(moffat_profile(1.0, 2.0) / moffat_profile(0.0, 2.0)), 6)
    0.25
    """
    return (beta - 1) / np.pi * np.exp(-beta * np.log1p(r2))


def _by_bessel(q, order):
    return 2 / special.gamma(order) * (q / 2) ** order * special.kv(order, q)


def _by_gaussians(q, order):
    """The same where the Bessel function overflows: a Moffat is a mixture of Gaussians."""
    u = np.linspace(-9, 9, 73)
    weight = np.exp(np.sqrt(order) * u - order * np.expm1(u / np.sqrt(order)))
    inverse = np.exp(-u / np.sqrt(order)) / (4 * order)
    return weight @ np.exp(-inverse[:, None] * q**2) / weight.sum()


def coma_transfer(
    fy: FloatArray, fx: FloatArray, fwhm: float, coma: tuple[float, float]
) -> NDArray[np.complexfloating[Any, Any]]:
    r"""
    Factor on the Fourier transform of a PSF that makes it lopsided.

    .. math:: T(\nu) = \exp\left[i\, (\kappa \cdot x) (x^2 - 2)\right],
              \qquad x = 2 \pi \nu\, \frac{\mathrm{FWHM}}{\sqrt{8 \ln 2}}

    The cubic phase draws a tail towards :math:`\kappa`, which moves the peak the other way; the
    linear one moves a Gaussian of this FWHM back to where a fit of that Gaussian finds it
    at the origin, to first order.  Positions of catalogues, and so the WCS, are measured that
    way; the mean position of the light, wings included, is
    :math:`2 \kappa\, \mathrm{FWHM} / \sqrt{8 \ln 2}` towards the tail.

    Parameters
    ----------
    fy, fx : `~numpy.ndarray`
        Frequencies in cycles per arcsec; they broadcast against each other.
    fwhm : float
        FWHM in arcsec.
    coma : tuple of float
        :math:`\kappa` along ``(y, x)``, without unit.

    Returns
    -------
    transfer : `~numpy.ndarray`
        Complex, of modulus 1, and 1 at frequency zero.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import coma_transfer
    >>> complex(coma_transfer(0.1, 0.2, 1.5, (0.0, 0.0)))
    (1+0j)
    """
    return np.exp(1j * coma_phase(fy, fx, fwhm, coma))


def coma_phase(fy, fx, fwhm, coma):
    """
    Phase of `coma_transfer`, in radians.

    Parameters
    ----------
    fy, fx, fwhm, coma
        As for `coma_transfer`.

    Returns
    -------
    phase : `~numpy.ndarray`
        float32.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import coma_phase
    >>> float(coma_phase(0.1, 0.2, 1.5, (0.0, 0.0)))
    0.0
    """
    sigma = 2 * np.pi * fwhm / np.sqrt(8 * np.log(2))
    y, x = sigma * fy, sigma * fx
    return np.asarray((coma[0] * y + coma[1] * x) * (y**2 + x**2 - 2), np.float32)


def wing_transfer(fy: FloatArray, fx: FloatArray, core: FloatArray, share: float) -> FloatArray:
    r"""
    Fourier transform of a PSF of which a share of the light is in wide wings.

    .. math:: \hat{I}(\nu) = (1 - w)\, \hat{C}(\nu) + w\, \hat{M}(\nu)

    with the transfer :math:`\hat{C}` of the core and that of a Moffat profile of
    :math:`\alpha = 3` arcsec and :math:`\beta = 2` (`WINGS`), :math:`\hat{M}`.

    Parameters
    ----------
    fy, fx : `~numpy.ndarray`
        Frequencies in cycles per arcsec; they broadcast against each other.
    core : `~numpy.ndarray`
        Transfer of the core (`moffat_transfer`).
    share : float
        Share :math:`w` of the light that is in the wings, 0 to 1.

    Returns
    -------
    transfer : `~numpy.ndarray`
        1 at frequency zero.

    Notes
    -----
    Fitted to stars of 21 real images (g, r, z; peak above 100 sigma, not saturated): the share
    is 0.28, with a scatter of 0.05, whatever the band and the seeing.  The core falls off more
    steeply than the one profile that the header states (`core_profile`): 0.95 of its FWHM,
    1.3 of its beta.  ``benchmarks/wings.py`` repeats the fit.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import moffat_transfer, wing_transfer
    >>> core = moffat_transfer(0.0, 0.5, 1.0, 3.0)
    >>> round(float(wing_transfer(0.0, 0.5, core, 0.28)), 4)
    0.1891
    """
    return (1 - share) * core + share * moffat_transfer(fy, fx, WING_FWHM, WINGS[1])


def psf_transfer(
    fy: FloatArray, fx: FloatArray, fwhm: float, beta: float, wings: float = 0.0
) -> FloatArray:
    """
    Fourier transform of a round PSF: a Moffat core, and wings beside it.

    Parameters
    ----------
    fy, fx : `~numpy.ndarray`
        Frequencies in cycles per arcsec; they broadcast against each other.
    fwhm, beta : float
        FWHM (arcsec) and Moffat beta of the core.
    wings : float, optional
        Share of the light that is in the wings (`wing_transfer`).

    Returns
    -------
    transfer : `~numpy.ndarray`
        Real, 1 at frequency zero.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import psf_transfer
    >>> round(float(psf_transfer(0.0, 0.5, 1.0, 3.0, 0.28)), 4)
    0.1891
    """
    core = moffat_transfer(fy, fx, fwhm, beta)
    return wing_transfer(fy, fx, core, wings) if wings else core


def matching_transfer(
    fy: FloatArray, fx: FloatArray, source: Sequence[float], wanted: Sequence[float]
) -> FloatArray:
    r"""
    Fourier transform of the kernel that brings one PSF to another, broader one.

    .. math:: \hat{K}(\nu) = \min\left(\hat{W}(\nu) / \hat{S}(\nu), 1\right)

    so what the sharper PSF has lost is not made up.

    Parameters
    ----------
    fy, fx
        As for `psf_transfer`.
    source, wanted : tuple of float
        FWHM (arcsec), beta and, if there are any, share of the wings of the PSF at hand
        and of the one wanted, as for `psf_transfer`.

    Returns
    -------
    transfer : `~numpy.ndarray`
        Real, 1 at frequency zero.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import matching_transfer
    >>> round(float(matching_transfer(0.0, 0.5, (1.0, 3.0), (1.4, 3.0))), 4)
    0.4225
    >>> round(float(matching_transfer(0.0, 0.5, (1.0, 3.0, 0.28), (1.4, 3.0, 0.28))), 4)
    0.4228
    """
    have, want = (psf_transfer(fy, fx, *psf).astype(float) for psf in (source, wanted))
    return np.minimum(want / np.maximum(have, 1e-12), 1)


def psf_profile(r: ArrayLike, fwhm: float, beta: float, wings: float = 0.0) -> Any:
    r"""
    Surface brightness of a round PSF of unit flux.

    .. math:: I(r) = (1 - w)\, M(r; \alpha_c, \beta) + w\, M(r; 3'', 2), \qquad
              M(r; \alpha, \beta) = \frac{\beta - 1}{\pi \alpha^2}
              \left(1 + \frac{r^2}{\alpha^2}\right)^{-\beta}

    Parameters
    ----------
    r : array_like
        Radius, arcsec.
    fwhm, beta, wings
        As for `psf_transfer`.

    Returns
    -------
    brightness : `~numpy.ndarray`
        Per square arcsec.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import psf_profile
    >>> round(float(psf_profile(0.5, 1.0, 3.0) / psf_profile(0.0, 1.0, 3.0)), 6)
    0.5
    """
    core = moffat_alpha(fwhm, beta), beta
    r2 = np.square(r)
    return sum(
        share * moffat_profile(r2 / alpha**2, b) / alpha**2
        for share, (alpha, b) in ((1 - wings, core), (wings, WINGS))
    )


@numpy_defaults
def psf_image(psf: Sequence[float], *, pixel_scale: float, radius: int) -> FloatArray:
    """
    Draw a PSF on pixels.

    Parameters
    ----------
    psf : tuple of float
        FWHM (arcsec), beta and, if there are any, share of the wings.
    pixel_scale : float
        Arcsec per pixel.
    radius : int
        Pixels to each side of the central one.

    Returns
    -------
    image : `~numpy.ndarray`, shape (2 radius + 1, 2 radius + 1)
        Sum 1, centred on the central pixel; a PSF holds the pixel's own response, so it is
        sampled at the pixel centres.

    Examples
    --------
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image = psf_image((1.0, 3.0, 0.28), pixel_scale=0.275, radius=20)
    >>> image.shape, round(float(image.sum()), 6)
    ((41, 41), 1.0)
    """
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    image = psf_profile(pixel_scale * np.hypot(y, x), *psf)
    return image / image.sum()
