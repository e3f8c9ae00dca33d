# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Classical methods that know the PSF of the input."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import fft

from splus_srgan.enhance.flux_anchor import moffat_matching_kernel
from splus_srgan.enhance.psf import input_psfs
from splus_srgan.evaluation.baselines.method import FACTOR, _Baseline, interpolate
from splus_srgan.images.grid import pixel_scale
from splus_srgan.pixels.psf import TARGET_PSF, psf_image, psf_transfer
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.validate import check_integer, check_positive

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.images.unpack import BandStack
    from splus_srgan.utils.types import FloatArray

__all__ = ["RichardsonLucy", "Wiener"]

_PSF_RADIUS = 40  # output pixels
_MARGIN = 32  # input pixels around the image, against the wrap-around of transforms


@dataclass(frozen=True, kw_only=True)
class _Deconvolution(_Baseline):
    """A method that knows the PSF of the input, and brings it to another one."""

    psf: tuple[float, float] | None = None
    target_psf: tuple[float, float] = TARGET_PSF
    _reach: ClassVar[int] = 24

    def __post_init__(self) -> None:
        given = {} if self.psf is None else {"psf": self.psf}
        for name, value in (given | {"target_psf": self.target_psf}).items():
            if np.shape(value) != (2,) or not (value[0] > 0 and value[1] > 1):
                raise ValueError(
                    f"{name} must be FWHM (arcsec, above 0) and beta (above 1); got {value!r}"
                )

    def _psfs(self, stack: BandStack) -> list[Any]:
        """PSFs of input and output, and arcsec per output pixel, per band."""
        if self.psf is not None:
            found: list[Any] = [self.psf] * len(stack.bands)
        else:
            found = [psf.core for psf in input_psfs(stack)]
        unknown = [band for band, one in zip(stack.bands, found, strict=True) if one is None]
        if unknown:
            raise ValueError(
                f"psf must be given, as the header of {', '.join(unknown)} has no FWHMMEAN or the "
                f"data have no WCS: {type(self).__name__}(psf=(fwhm in arcsec, beta))"
            )
        # Only the core is sharpened: the target has the wings of the input.
        scale = pixel_scale(stack.wcs, default=PIXEL_SCALE) / FACTOR
        return [(psf, (*self.target_psf, *psf[2:]), scale) for psf in found]

    def _output_psfs(self, stack: BandStack) -> list[Any]:
        return [
            psf_image(target, pixel_scale=scale, radius=_PSF_RADIUS)
            for _, target, scale in self._psfs(stack)
        ]

    @abstractmethod
    def _deconvolve(
        self,
        plane: FloatArray,
        sigma: float,
        psf: tuple[float, ...],
        target: tuple[float, ...],
        pixel_scale: float,
    ) -> FloatArray:
        """Bring a plane from its PSF to the target's, on the fine grid."""

    def _enhance(self, flux: FloatArray, sigma: FloatArray, psfs: Any) -> FloatArray:
        margin = [(0, 0), *(2 * [(_MARGIN, _MARGIN)])]
        padded = np.pad(flux, margin, mode="symmetric")
        noise = np.median(sigma, axis=(1, 2))
        fine = [
            self._deconvolve(plane, level, *psf)
            for plane, level, psf in zip(padded, noise, psfs, strict=True)
        ]
        cut = slice(FACTOR * _MARGIN, -FACTOR * _MARGIN)
        return np.stack(fine)[:, cut, cut]


@dataclass(frozen=True, kw_only=True)
class Wiener(_Deconvolution):
    r"""
    Wiener deconvolution to a sharper PSF.

    In Fourier space the interpolated image is multiplied by

    .. math:: W = \frac{\hat{T}}{\hat{H}} \, \max\left(1 - \frac{s \, \sigma^2}{P}, 0\right)

    with the transfer functions :math:`\hat{H}` of the input's PSF and :math:`\hat{T}` of
    the wanted one, and the image's own power spectrum :math:`P`, averaged over rings.

    Parameters
    ----------
    psf : tuple of float, optional
        FWHM (arcsec) and Moffat beta of the input, without wings; from the header (cards
        FWHMMEAN and FWHMBETA), with wings, where not given.
    target_psf : tuple of float, optional
        FWHM (arcsec) and Moffat beta to reach.
    strength : float, optional
        :math:`s`: noise power assumed, in units of the real one; above 0.  A few bright
        sources make up most of the power of a field, so the best value is far above 1.

    Raises
    ------
    ValueError
        If an option is none of those above; at the call, if the PSF is not known.
    """

    strength: float = 300.0
    name: ClassVar[str] = "Wiener"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive("strength", self.strength)

    def _deconvolve(
        self,
        plane: FloatArray,
        sigma: float,
        psf: tuple[float, ...],
        target: tuple[float, ...],
        pixel_scale: float,
    ) -> FloatArray:
        fine = interpolate(plane[None])[0]
        fy = fft.fftfreq(fine.shape[0], pixel_scale)[:, None]
        fx = fft.rfftfreq(fine.shape[1], pixel_scale)[None, :]
        have, want = (psf_transfer(fy, fx, *one).astype(float) for one in (psf, target))
        rings, power = _ring_power(plane)
        keep = np.maximum(1 - self.strength * sigma**2 / power, 0)
        # Signal fades with frequency; a ring that gains by chance must not come back.
        keep = np.minimum.accumulate(keep)
        frequency = FACTOR * pixel_scale * np.hypot(fy, fx)  # cycles per input pixel
        keep = np.interp(frequency, rings, keep, right=0.0)
        keep[0, 0] = 1.0
        return fft.irfft2(fft.rfft2(fine) * keep * want / np.maximum(have, 1e-9), s=fine.shape)


def _ring_power(plane: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Mean power per pixel in rings of frequency (cycles per pixel), and their mean frequency."""
    window = np.hanning(plane.shape[0])[:, None] * np.hanning(plane.shape[1])
    power = np.abs(fft.fft2(plane * window)) ** 2 / np.sum(window**2)
    radius = np.hypot(fft.fftfreq(plane.shape[0])[:, None], fft.fftfreq(plane.shape[1]))
    ring = np.minimum(radius * 64, 45).astype(int).ravel()  # 45: the corners, at 0.707
    count = np.bincount(ring)
    mean = [np.bincount(ring, one.ravel()) / np.maximum(count, 1) for one in (radius, power)]
    return mean[0][count > 0], np.maximum(mean[1][count > 0], np.finfo(float).tiny)


@dataclass(frozen=True, kw_only=True)
class RichardsonLucy(_Deconvolution):
    """
    Richardson-Lucy deconvolution to a sharper PSF, after interpolation.

    The kernel is the one that turns the wanted PSF into that of the input, so the image is
    not sharpened beyond it.  A pedestal keeps all pixels positive.

    Parameters
    ----------
    psf : tuple of float, optional
        FWHM (arcsec) and Moffat beta of the input, without wings; from the header (cards
        FWHMMEAN and FWHMBETA), with wings, where not given.
    target_psf : tuple of float, optional
        FWHM (arcsec) and Moffat beta to reach.
    iterations : int, optional
        At least 1.  The first merely blurs; each one after it sharpens, the noise too, so
        PSNR falls with every one.

    Raises
    ------
    TypeError, ValueError
        If an option is none of those above; at the call, if the PSF is not known.
    """

    iterations: int = 10
    name: ClassVar[str] = "Richardson-Lucy"

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("iterations", self.iterations, minimum=1)

    def _deconvolve(
        self,
        plane: FloatArray,
        sigma: float,
        psf: tuple[float, ...],
        target: tuple[float, ...],
        pixel_scale: float,
    ) -> FloatArray:
        from skimage.restoration import richardson_lucy

        fine = interpolate(plane[None])[0]
        kernel = np.maximum(moffat_matching_kernel(target, psf, pixel_scale=pixel_scale), 0)
        kernel /= kernel.sum()
        pedestal = max(10 * sigma, sigma - fine.min())
        scale = fine.max() + pedestal
        sharp = richardson_lucy(
            (fine + pedestal) / scale, kernel, num_iter=self.iterations, clip=False
        )
        return scale * sharp - pedestal
