# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A band of a scene, convolved with its PSF and sampled on the pixels of S-PLUS and the target."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from scipy import fft

from splus_srgan.pixels.psf import (
    TARGET_PSF,
    coma_phase,
    core_profile,
    moffat_transfer,
    wing_transfer,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

    from splus_srgan.simulate.conditions import BandConditions
    from splus_srgan.utils.types import FloatArray

__all__ = ["FINE", "FineGrid", "observe"]

FINE = 4  # fine pixels per S-PLUS pixel and axis


class FineGrid:
    """
    Frequencies of the scene's grid, and the transfer functions that all bands share.

    Parameters
    ----------
    shape : tuple of int
        Fine pixels ``(ny, nx)``.
    scale : float
        Arcsec per fine pixel.
    """

    def __init__(self, shape: tuple[int, int], scale: float) -> None:
        self.shape, self.scale = shape, scale
        self.fy = fft.fftfreq(shape[0], scale).astype(np.float32)[:, None]
        self.fx = fft.rfftfreq(shape[1], scale).astype(np.float32)[None, :]

    @cached_property
    def target(self) -> FloatArray:
        """Transfer function of the target's PSF, without wings."""
        return moffat_transfer(self.fy, self.fx, *TARGET_PSF)

    @cached_property
    def wings(self) -> FloatArray:
        """Transfer function of the wings alone."""
        return wing_transfer(self.fy, self.fx, np.asarray(0, np.float32), 1.0)

    def seeing(self, conditions: BandConditions, *, fast: bool) -> tuple[Any, float]:
        """Transfer function of a band's PSF, without wings and coma; and the FWHM of this core."""
        fwhm, beta = core_profile(conditions.fwhm, conditions.beta, conditions.wings)
        angles: dict[str, Any] = {
            "ellipticity": conditions.ellipticity,
            "position_angle": conditions.position_angle,
            "fast": fast,
        }
        return moffat_transfer(self.fy, self.fx, fwhm, beta, **angles), fwhm

    def convolve(self, spectrum: NDArray[Any], core: Any, wings: Any, shift: Any) -> NDArray[Any]:
        """The scene's spectrum, seen through a PSF and moved by ``shift`` arcsec (y, x)."""
        move_y, move_x = (
            np.exp(np.complex64(2j * np.pi * s) * f)
            for s, f in zip(shift, (self.fy, self.fx), strict=True)
        )
        transfer = (1 - wings) * core + wings * self.wings if wings else core
        transfer = transfer * (move_y * move_x)
        return spectrum * transfer.astype(np.complex64)


def _sample(spectrum: NDArray[Any], shape: tuple[int, int], step: int) -> FloatArray:
    """
    Every ``step``-th pixel of an image, from its spectrum.

    The spectrum of the samples is that of the image with all its aliases added up.
    """
    ny, nx = shape[0] // step, shape[1] // step
    rows = spectrum.reshape(step, ny, -1).sum(axis=0)
    # The half of the frequencies along x that need not be stored for a real image.
    mirrored = np.conj(np.roll(rows[::-1], 1, axis=0)[:, -2:0:-1])
    whole = np.concatenate([rows, mirrored], axis=1).reshape(ny, step, nx).sum(axis=1)
    return fft.irfft2(whole[:, : nx // 2 + 1], s=(ny, nx)) / np.float32(step**2)


def observe(
    plane: FloatArray,
    conditions: BandConditions,
    shape: tuple[int, int],
    grid: FineGrid,
    *,
    fold: bool = True,
) -> Any:
    """
    One band of the scene on the S-PLUS grid and on the target grid, nanomaggies per pixel.

    Sampling in the Fourier domain, with transfer functions in single precision, is fast and
    equal to within rounding; without ``fold`` the fine image is made first.
    """
    spectrum = fft.rfft2(plane)
    seeing, fwhm = grid.seeing(conditions, fast=fold)
    if any(conditions.coma):
        phase = coma_phase(grid.fy, grid.fx, fwhm, conditions.coma)
        seeing = _turned(seeing, phase) if fold else seeing * np.exp(1j * phase)
    images = []
    for step, core in ((FINE, seeing), (FINE // 2, grid.target)):
        # The centre of a pixel of `step` fine pixels lies between two of them.
        shift = [(step - 1) / 2 * grid.scale - error for error in conditions.offset]
        seen = grid.convolve(spectrum, core, conditions.wings, shift)
        if fold:
            image = _sample(seen, grid.shape, step)
        else:
            image = fft.irfft2(seen, overwrite_x=True)[::step, ::step]
        size = np.array(shape) * (FINE // step)
        # The same place on both grids, also where the margins are not even.
        first = (np.array(grid.shape) // FINE - shape) // 2 * (FINE // step)
        cut = image[first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
        images.append(cut * np.float32(step**2))
    return images


def _turned(real: Any, phase: Any) -> Any:
    """``real * exp(1j * phase)``, part by part."""
    turned = np.empty(phase.shape, np.complex64)
    turned.real, turned.imag = real * np.cos(phase), real * np.sin(phase)
    return turned
