# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Where an image is better: the whole frame, sources, sky, and at one PSF with its rivals.

A score of the whole frame mixes what denoising gains in the sky, what is done to sources, and
what sharpening gains; a method that leaves the PSF as it is cannot have the last of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.evaluation.apertures import blur_to_psf
from splus_srgan.evaluation.measure.metrics import psnr
from splus_srgan.evaluation.measure.spaces import to_space
from splus_srgan.pixels.psf import TARGET_PSF
from splus_srgan.splus import PIXEL_SCALE
from splus_srgan.utils.validate import check_positive

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["ISOPHOTE", "REGIONS", "SKY", "psnr_by_region", "regions"]

ISOPHOTE, SKY = 3.0, 0.3
"""S/N per input pixel above which there is a source, and below which there is sky."""

REGIONS = ("frame", "isophote", "sky", "matched")
"""Scores of `psnr_by_region`."""


def regions(truth: ArrayLike, sigma: float, *, factor: int = 2) -> dict[str, BoolArray]:
    r"""
    Split a frame by its truth into sources and sky.

    The isophote of sources is :math:`f^2 t > 3 \sigma`, the sky is :math:`f^2 t < 0.3 \sigma`,
    with the truth :math:`t` per pixel, of which :math:`f^2` make an input pixel.  What lies
    between belongs to neither.

    Parameters
    ----------
    truth : array_like, shape (factor ny, factor nx)
        Noise-free flux per pixel, without sky.
    sigma : float
        Noise of an input pixel in the unit of the truth; above 0.
    factor : int, optional
        Pixels of the truth per input pixel and axis.

    Returns
    -------
    inside : dict of str to `~numpy.ndarray` of bool
        ``"frame"``, ``"isophote"`` and ``"sky"``, of the shape of the truth.

    Raises
    ------
    ValueError
        If ``sigma`` is not above 0.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.regions import regions
    >>> inside = regions([[0.0, 0.2, 1.0]], sigma=1.0)
    >>> inside["isophote"].tolist(), inside["sky"].tolist()
    ([[False, False, True]], [[True, False, False]])
    """
    check_positive("sigma", sigma)
    sn = factor**2 * np.asarray(truth, float) / sigma
    return {"frame": np.isfinite(sn), "isophote": sn > ISOPHOTE, "sky": sn < SKY}


def psnr_by_region(
    truth: ArrayLike,
    image: ArrayLike,
    *,
    sigma: float,
    zero_point: float,
    psf: Sequence[float],
    image_psf: Sequence[float] | None = None,
) -> dict[str, float]:
    """
    PSNR of an image of the 2x grid in the whole frame, in sources, in the sky, at matched PSF.

    Pixels are compared after ``arcsinh(100 x / 3)``, *x* in nanomaggies
    (`~splus_srgan.evaluation.measure.spaces.to_space`).  The first three share the range of the
    truth, so that they differ by their errors alone.

    Parameters
    ----------
    truth, image : array_like, shape (2 ny, 2 nx)
        Flux per pixel without sky; the truth is noise-free and has
        `~splus_srgan.pixels.psf.TARGET_PSF`, with the wings of the input.
    sigma : float
        Noise of an input pixel, in the unit of both; above 0.
    zero_point : float
        AB magnitude of one unit of both.
    psf : tuple of float
        PSF of the input: FWHM (arcsec), Moffat beta and, if there are any, share of the wings.
    image_psf : tuple of float, optional
        PSF of the image, where it is not that of the input: the image is blurred to that of
        the input for ``"matched"``, as the truth always is.

    Returns
    -------
    psnr : dict of str to float
        In dB, by `REGIONS`; NaN where a region is empty or the truth has a range of 0.

    Raises
    ------
    ValueError
        If shapes differ, or ``sigma`` is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.regions import psnr_by_region
    >>> truth = np.zeros((64, 64))
    >>> truth[32, 32] = 100.0
    >>> known = {"sigma": 1.0, "zero_point": 22.5, "psf": (1.4, 3.0)}
    >>> scores = psnr_by_region(truth, truth + 0.01, **known)
    >>> sorted(scores), round(scores["frame"] - scores["sky"], 2)
    (['frame', 'isophote', 'matched', 'sky'], 0.0)
    """
    truth, image = (np.asarray(one, float) for one in (truth, image))
    inside = regions(truth, sigma)
    shown, made = (to_space(one, "asinh", zero_point=zero_point) for one in (truth, image))
    span = float(np.ptp(shown))
    scores = {
        name: psnr(shown, made, data_range=span, mask=~where) for name, where in inside.items()
    }
    return scores | {"matched": _matched(truth, image, zero_point, psf, image_psf)}


def _matched(
    truth: FloatArray,
    image: FloatArray,
    zero_point: float,
    psf: Sequence[float],
    image_psf: Sequence[float] | None,
) -> float:
    """PSNR with truth and image at the PSF of the input."""
    wings = psf[2:]
    blurred = blur_to_psf(truth, psf, psf=(*TARGET_PSF, *wings), pixel_scale=PIXEL_SCALE / 2)
    if image_psf is not None:
        image = blur_to_psf(image, psf, psf=image_psf, pixel_scale=PIXEL_SCALE / 2)
    shown, made = (to_space(one, "asinh", zero_point=zero_point) for one in (blurred, image))
    return psnr(shown, made, data_range=float(np.ptp(shown)))
