# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Classical ways to a finer, less noisy image, called like the enhancer.

Each stands for what is to be had without a network, so that every table can have it
beside the enhancer.  All measure sky and sigma as the enhancer does, fill missing pixels as
it does, and write the same header cards, so that all are scored alike.

Denoising works in noise units, ``y = arcsinh((x - sky) / (3 sigma))``, where the sky has a
standard deviation of 1/3 and bright sources keep their contrast.  Only the methods that work
on flux itself (`Bicubic`, `Gaussian` in linear space, `Wiener`, `RichardsonLucy`) conserve
it by construction, over the whole image.  The defaults were chosen by the mean PSNR on
simulated validation fields (those of `PeronaMalik`, `TotalVariation` and the forms of `BM3D` that
are told the correlation of the noise on a few small ones), except that `RichardsonLucy` is there to
show what sharpening costs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from scipy import ndimage

from splus_srgan.evaluation.baselines.block_matching import BM3D, LowRank, WeightedSum
from splus_srgan.evaluation.baselines.deconvolution import RichardsonLucy, Wiener
from splus_srgan.evaluation.baselines.diffusion import PeronaMalik, TotalVariation
from splus_srgan.evaluation.baselines.method import NOISE, _Baseline, _InNoiseUnits, interpolate
from splus_srgan.pixels.coadd_noise import CORRELATION
from splus_srgan.utils.optional import has, import_optional
from splus_srgan.utils.validate import check_integer, check_one_of, check_positive

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = [
    "BM3D",
    "Bicubic",
    "Gaussian",
    "LowRank",
    "NLMeans",
    "PeronaMalik",
    "RichardsonLucy",
    "TotalVariation",
    "Wavelet",
    "WeightedSum",
    "Wiener",
    "default_baselines",
]


@dataclass(frozen=True, kw_only=True)
class Bicubic(_Baseline):
    """
    Interpolation with cubic splines, and nothing else: what the enhancer starts from.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.baselines.methods import Bicubic
    >>> field = simulate_field(4, shape=(32, 48))
    >>> fine = Bicubic()(field.observed, sky=field.sky, sigma=field.sigma)
    >>> fine["r"].shape, fine["r"].unit, fine["r"].meta["SRMODEL"]
    ((64, 96), Unit("adu"), 'bicubic')
    """

    name: ClassVar[str] = "bicubic"

    def _enhance(self, flux: FloatArray, sigma: FloatArray, psfs: Any) -> FloatArray:
        return interpolate(flux)


@dataclass(frozen=True, kw_only=True)
class Gaussian(_InNoiseUnits):
    """
    Blur with a Gaussian, then interpolate.

    Parameters
    ----------
    width : float, optional
        Standard deviation in input pixels, above 0.
    space : {"noise", "linear"}, optional
        Whether to blur in noise units, which spares bright sources, or in flux, which
        conserves it.

    Raises
    ------
    ValueError
        If an option is none of those above.

    Examples
    --------
    >>> from splus_srgan.evaluation.baselines.methods import Gaussian
    >>> Gaussian(width=1.0)
    Gaussian(width=1.0, space='noise')
    """

    width: float = 0.85
    space: str = "noise"
    name: ClassVar[str] = "Gaussian"

    def __post_init__(self) -> None:
        check_positive("width", self.width)
        check_one_of("space", self.space, ("noise", "linear"))

    def _enhance(self, flux: FloatArray, sigma: FloatArray, psfs: Any) -> FloatArray:
        if self.space == "linear":
            return interpolate(self._clean(flux))
        return super()._enhance(flux, sigma, psfs)

    def _clean(self, image: FloatArray) -> FloatArray:
        return ndimage.gaussian_filter(image, (0, self.width, self.width))


@dataclass(frozen=True, kw_only=True)
class Wavelet(_InNoiseUnits):
    """
    Soft thresholds of wavelet coefficients, averaged over 4 x 4 shifts against artefacts.

    It needs PyWavelets, which the extra ``benchmark`` brings, for
    ``skimage.restoration.denoise_wavelet``.

    Parameters
    ----------
    rule : {"BayesShrink", "VisuShrink"}, optional
        How thresholds are set.
    strength : float, optional
        Noise assumed, in units of the real one; above 0.
    basis : str, optional
        Name of a wavelet of PyWavelets.

    Raises
    ------
    ImportError
        If PyWavelets is not installed.
    ValueError
        If an option is none of those above.
    """

    rule: str = "BayesShrink"
    strength: float = 1.0
    basis: str = "db2"
    name: ClassVar[str] = "wavelet"
    _reach: ClassVar[int] = 16

    def __post_init__(self) -> None:
        pywt = import_optional("pywt", "benchmark")
        check_one_of("rule", self.rule, ("BayesShrink", "VisuShrink"))
        check_positive("strength", self.strength)
        check_one_of("basis", self.basis, pywt.wavelist(kind="discrete"))

    def _clean(self, image: FloatArray) -> FloatArray:
        from skimage.restoration import denoise_wavelet

        run = partial(
            denoise_wavelet,
            sigma=self.strength * NOISE,
            method=self.rule,
            wavelet=self.basis,
            mode="soft",
            rescale_sigma=False,
        )
        total = np.zeros_like(image)
        for plane, out in zip(image, total, strict=True):
            padded = np.pad(plane, 4, mode="symmetric")
            for dy, dx in product(range(4), repeat=2):
                clean = np.roll(run(np.roll(padded, (dy, dx), (0, 1))), (-dy, -dx), (0, 1))
                out += clean[4:-4, 4:-4] / 16
        return total


@dataclass(frozen=True, kw_only=True)
class NLMeans(_InNoiseUnits):
    """
    Non-local means (``skimage.restoration.denoise_nl_means``), then interpolation.

    Parameters
    ----------
    strength : float, optional
        Cut-off in the distance of patches, in units of the noise; above 0.
    patch : int, optional
        Side of the patches, at least 1.
    joint : bool, optional
        Compare the patches of all bands at once.

    Raises
    ------
    TypeError, ValueError
        If an option is none of those above.
    """

    strength: float = 0.8
    patch: int = 3
    joint: bool = False
    _reach: ClassVar[int] = 12

    def __post_init__(self) -> None:
        check_positive("strength", self.strength)
        check_integer("patch", self.patch, minimum=1)

    @property
    def name(self) -> str:  # type: ignore[override]  # of an object here, else of its class
        """What tables call the method."""
        return "NL-means, joint" if self.joint else "NL-means"

    def _clean(self, image: FloatArray) -> FloatArray:
        from skimage.restoration import denoise_nl_means

        run = partial(
            denoise_nl_means,
            patch_size=self.patch,
            patch_distance=8,
            h=self.strength * NOISE,
            sigma=NOISE,
            fast_mode=True,
        )
        if self.joint:
            return run(image, channel_axis=0)
        return np.stack([run(plane) for plane in image])


def default_baselines(n_band: int = 3, *, psf_known: bool = True) -> dict[str, Any]:
    """
    Give every baseline that can run, with its default options.

    Parameters
    ----------
    n_band : int, optional
        Number of bands, at least 1: what looks at several bands at once is left out for
        one, and the joint `BM3D` for other numbers than three.
    psf_known : bool, optional
        Whether the PSF of the input is known: `Wiener` and `RichardsonLucy` need it.

    Returns
    -------
    baselines : dict
        By name, simplest first.  Methods whose package is not installed are left out.

    Examples
    --------
    >>> from splus_srgan.evaluation.baselines.methods import default_baselines
    >>> list(default_baselines())[:3]
    ['bicubic', 'Gaussian', 'Perona-Malik']
    """
    check_integer("n_band", n_band, minimum=1)
    made = [Bicubic(), Gaussian(), PeronaMalik(), TotalVariation()]
    if has("pywt"):
        made.append(Wavelet())
    made += [NLMeans(joint=joint) for joint in (False, True) if n_band > 1 or not joint]
    if has("bm3d"):
        made += _block_matching(n_band)
    if psf_known:
        made += [Wiener(), RichardsonLucy()]
    return {one.name: one for one in made}


def _block_matching(n_band: int) -> list[Any]:
    """BM3D in all its forms, those of several bands where there are several."""
    made: list[Any] = []
    known: dict[str, Any] = {"correlation": CORRELATION, "strength": 1.1}
    for told in ({}, known):
        made += [BM3D(joint=joint, **told) for joint in (False, True) if n_band == 3 or not joint]
    return made + ([WeightedSum(), LowRank()] if n_band > 1 else [])
