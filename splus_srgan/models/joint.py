# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The second stage for any subset of the twelve bands: what each learns from the others.

Weights of few bands restore each band first; the result is then corrected by what all bands
show together (`splus_srgan.models.guide`) and by what a linear filter makes of the band, which
knows its PSF (`splus_srgan.models.wiener`), by a generator that is told the PSF and the depth.  One
generator serves all bands, so their number and order do not matter.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from splus_srgan import splus
from splus_srgan.models.generator import (
    Generator,
    ResidualBlock,
    ScaleHead,
    low_pass,
    reach,
)
from splus_srgan.models.guide import FAINT, GUIDED_PLANES, PHASES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from numpy.typing import NDArray

__all__ = ["PLANES", "TOLD", "Exchange", "JointResNet", "joint_planes", "told_values"]

TOLD = ("bands", "together", "psf known", "fwhm", "beta", "wings", "depth known", "depth")
"""What the generator is told about a band, in this order; 0 where not known."""

PLANES = GUIDED_PLANES + PHASES + len(TOLD)
"""Planes that the generator reads for each band."""

_UPSCALING = 2
_MADE, _FAINT, _GUIDES = (slice(1 + k * PHASES, 1 + (k + 1) * PHASES) for k in range(3))
_GUIDES = slice(_GUIDES.start, GUIDED_PLANES)
_FILTERED = slice(GUIDED_PLANES, GUIDED_PLANES + PHASES)
_LARGEST = 20.0  # of a faint stretch: 7e7 sky noises; a hyperbolic sine must not overflow
_BRIGHT = 150.0
_GATE = -4.0  # of the filter at the start
_LARGEST_KEY = 30.0  # of a band: sums of its exponential over bands must not overflow
# Mean and spread of these values, which bring them to order one.
_FWHM, _BETA, _WINGS, _DEPTH = (1.35, 0.3), (3.7, 0.9), (0.25, 0.1), 0.5


def told_values(
    band: str,
    *,
    n_bands: int = 1,
    together: bool = False,
    psf: Sequence[float] | None = None,
    sigma: float | None = None,
) -> NDArray[np.float32]:
    """
    Put what is known about a band into the numbers that the generator reads.

    Parameters
    ----------
    band : str
        One of `splus_srgan.splus.BANDS`.
    n_bands : int, optional
        Bands of the field.
    together : bool, optional
        Whether the first stage restored the band together with others.
    psf : tuple of float or None, optional
        FWHM (arcsec) and beta of the core, and share of the wings (none by default), as
        `~splus_srgan.pixels.psf.psf_transfer` takes them; `None` where not known.
    sigma : float or None, optional
        Sky noise in nanomaggies per input pixel; `None` where there is no zero point.

    Returns
    -------
    told : `~numpy.ndarray`, shape (8,)
        In the order of `TOLD`, float32.

    Examples
    --------
    >>> from splus_srgan.models.joint import told_values
    >>> told_values("r", n_bands=12, psf=(1.35, 3.7, 0.25), sigma=0.06).tolist()
    [1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    told = np.zeros(len(TOLD), np.float32)
    told[:2] = np.log(n_bands) / np.log(len(splus.BANDS)), together
    if psf is not None:
        values = (*psf, 0.0)[:3]
        told[2] = 1
        middles = zip(values, (_FWHM, _BETA, _WINGS), strict=True)
        told[3:6] = [np.clip((value - m) / spread, -5, 5) for value, (m, spread) in middles]
    if sigma is not None:
        told[6] = 1
        told[7] = np.clip(np.log(sigma / splus.BANDS[band].noise[0]) / _DEPTH, -5, 5)
    return told


def joint_planes(
    guided: NDArray[np.float32], filtered: NDArray[np.float32], told: NDArray[np.float32]
) -> NDArray[np.float32]:
    """
    Images, and what is known about each band as images of constant value.

    Parameters
    ----------
    guided : `~numpy.ndarray`, shape (n_band, 25, ny, nx)
        As `~splus_srgan.models.guide.guided_planes` gives them.
    filtered : `~numpy.ndarray`, shape (n_band, 4, ny, nx)
        As `~splus_srgan.models.wiener.restored_phases` gives them.
    told : `~numpy.ndarray`, shape (n_band, 8)
        See `told_values`.

    Returns
    -------
    planes : `~numpy.ndarray`, shape (n_band, 37, ny, nx)
        What a `JointResNet` reads.
    """
    told = np.broadcast_to(told[..., None, None], (*told.shape, *guided.shape[-2:]))
    return np.concatenate((guided, np.arcsinh(filtered / np.float32(FAINT)), told), 1)


class JointResNet(Generator):
    r"""
    Residual generator that corrects a band by what all bands show together.

    From the image of the first stage, :math:`x` in units of the sky noise,
    :math:`f(x) = {\rm arcsinh}(x / 0.3)`, guides :math:`p_s`, the filtered input :math:`w`, and
    `~splus_srgan.models.generator.low_pass` :math:`L`, it gives the image

    .. math:: f^{-1}\left(f(x) + L\,\bigl(g\,[f(w) - f(x)]\bigr) + \frac{
              L\,\bigl(R + \sum_s w_s [f(p_s) - f(x)]\bigr)}{1 + (x / x_0)^2}\right)

    stretched as the input is; :math:`R` and :math:`g`, between 0 and 1, come from the residual
    blocks, which see all planes, and :math:`x_0` is ``bright``: brighter pixels are known well
    enough from the band itself, as the first stage or the filter restores it.
    Everything happens on the grid of the input, at a fraction of the cost of the first stage.

    Parameters
    ----------
    bands : sequence of str
        Bands for which it was trained.
    n_features, n_blocks, dilations, low_pass
        As for `~splus_srgan.models.generator.SRResNet`.
    exchanges : sequence of int, optional
        After which residual blocks, counted from 1 and rising, the bands of a field see each
        other's features (`Exchange`); by default nowhere.
    softening, range : float, optional
        Softening and range of the stretch of input and output, see
        `~splus_srgan.NoiseAsinhStretch`.
    bright : float, optional
        Brightness, in sky noises of an input pixel, at which half of the correction is left.
    scale : {"laplace", "gaussian"} or None, optional
        Adds a head, for `Generator.forward_with_scale`, as in
        `~splus_srgan.models.generator.SRResNet`.

    Notes
    -----
    Nothing is averaged over the map, so blocks of an image, with a halo of
    `receptive_field_radius` and that of the guides, agree with the whole one.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.joint import PLANES, JointResNet
    >>> generator = JointResNet(("g", "r", "J0660"), n_features=8, n_blocks=2)
    >>> generator(torch.zeros(1, PLANES, 16, 19)).shape
    torch.Size([1, 1, 32, 38])
    """

    feature_factor = 1
    """Ratio of the sides of the features and of the input."""
    in_channels = PLANES
    """Number of planes that it reads."""

    def __init__(
        self,
        bands: Sequence[str],
        *,
        n_features: int = 32,
        n_blocks: int = 6,
        dilations: Sequence[int] = (),
        exchanges: Sequence[int] = (),
        low_pass: int = 2,
        softening: float = 3.0,
        range: float = 2.0,
        bright: float = _BRIGHT,
        scale: Literal["laplace", "gaussian"] | None = None,
    ) -> None:
        super().__init__()
        self.bands, self.low_pass = _checked_bands(bands), low_pass
        self.softening, self.range, self.bright = softening, range, bright
        self.options = {
            "kind": "joint",
            "bands": list(self.bands),
            "n_features": n_features,
            "n_blocks": n_blocks,
            "dilations": list(dilations),
            "exchanges": list(exchanges),
            "low_pass": low_pass,
            "softening": softening,
            "range": range,
            "bright": bright,
            "scale": scale,
        }
        self.first = nn.Sequential(_conv(PLANES, n_features), nn.ReLU(inplace=True))
        steps = [1] * n_blocks + list(dilations)
        self.blocks = nn.Sequential(*(ResidualBlock(n_features, None, step) for step in steps))
        _check_exchanges(exchanges, len(steps))
        self.exchanges = nn.ModuleDict({str(number): Exchange(n_features) for number in exchanges})
        self.join = _conv(n_features, n_features)
        self.last, self.gate = (_conv(n_features, PHASES) for _ in ("correction", "gate"))
        self.guided = nn.Conv2d(GUIDED_PLANES - _GUIDES.start, PHASES, 1, bias=False)
        # Starts as the first stage itself.
        zero = self.last.weight, self.last.bias, self.guided.weight, self.gate.weight
        for parameter in zero:
            nn.init.zeros_(parameter)  # type: ignore[arg-type]
        nn.init.constant_(self.gate.bias, _GATE)  # type: ignore[arg-type]
        # It works on phases of the fine grid, and reads what is told of the band, too.
        self.scale = None if scale is None else ScaleHead(PHASES, n_features + PLANES)

    @property
    def receptive_field_radius(self) -> int:
        """Input pixels on which an output pixel depends, on each side, from the layers."""
        parts = [self.first, self.blocks, self.join, *(one.own for one in self._exchanges)]
        trunk = sum(reach(part) for part in parts)
        return trunk + self.end_radius(self.scale is not None)

    def end_radius(self, with_scale: bool) -> int:
        """Those on which the layers after the trunk depend, or those that give no scale."""
        made = reach(self.last) - (-self.low_pass // _UPSCALING)
        if not with_scale or self.scale is None:
            return made
        read = max(made, reach(self.scale.of_features))
        return read + reach(self.scale.wide) + reach(self.scale.last)

    def forward(self, planes: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
        """
        Generate.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 37, ny, nx) or (n_field, n_band, 37, ny, nx)
            See `joint_planes`.
        counts : sequence of int, optional
            How many of ``n`` bands each field has, one field after the other; by default all are
            bands of one field.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, 1, 2 ny, 2 nx) or (n_field, n_band, 2 ny, 2 nx)
            Stretched, float32.
        """
        if planes.ndim == 5:
            n_field, n_band = planes.shape[:2]
            fine = self(planes.flatten(0, 1), [n_band] * n_field)
            return fine.reshape(n_field, n_band, *fine.shape[2:])
        return self._ended(self.finish, planes, counts)

    def trunk(self, planes: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
        """All layers before the last, ``(n, n_features, ny, nx)``."""
        first = self.first(planes)
        x = self._between(0, first)
        for number, exchange in enumerate(self._exchanges, 1):
            x = self._between(number, exchange(x, counts))
        return self.join(x) + first

    @property
    def _exchanges(self) -> list[Exchange]:
        return cast("list[Exchange]", list(self.exchanges.values()))

    def _between(self, number, x):
        """Blocks from one exchange to the next."""
        ends = [0, *map(int, self.exchanges), len(self.blocks)]
        for block in self.blocks[ends[number] : ends[number + 1]]:
            x = block(x)
        return x

    # The same band by band, for engines in which all bands at once would take too much memory.

    def before_exchange(
        self, number: int, x: torch.Tensor, shared: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """
        Layers of one band up to an exchange, counted from 0.

        Parameters
        ----------
        number : int
            Which exchange.
        x : `~torch.Tensor`, shape (1, 37, ny, nx) or (1, n_features, ny, nx)
            Planes of the band; its features, after the first exchange.
        shared : `~torch.Tensor`, optional
            What the exchange before gives to all bands (`Exchange.share`).

        Returns
        -------
        x, weighted, weight : `~torch.Tensor`, shape (1, n_features, ny, nx)
            Its features, and what is to be summed over the bands (`Exchange.weigh`).
        """
        each = self._exchanges
        x = self.first(x) if shared is None else each[number - 1].add(x, shared)
        x = self._between(number, x)
        return x, *each[number].weigh(x)

    def after_exchanges(
        self, planes: torch.Tensor, x: torch.Tensor, shared: torch.Tensor
    ) -> torch.Tensor:
        """Layers of one band after the last exchange; what `trunk` gives for it."""
        x = self._exchanges[-1].add(x, shared)
        return self.join(self._between(len(self.exchanges), x)) + self.first(planes)

    def finish(self, planes: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """
        The last convolutions, guides, filter, low pass and what the first stage made, in float32.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 37, ny, nx)
            See `joint_planes`.
        features : `~torch.Tensor`, shape (n, n_features, ny, nx)
            Result of `Generator.features`.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, 1, 2 ny, 2 nx)
            Generated image, stretched.
        """
        correction = self.last(features) + self.guided(planes[:, _GUIDES])
        mixed = torch.sigmoid(self.gate(features)) * (planes[:, _FILTERED] - planes[:, _FAINT])
        made, faint, correction, mixed = (
            functional.pixel_shuffle(part, _UPSCALING)
            for part in (planes[:, _MADE], planes[:, _FAINT], correction, mixed)
        )
        # Bright pixels are known from the band itself, and must not follow the others.
        share = 1 / (1 + (self._linear(faint) / self.bright) ** 2)
        corrected = faint + share * low_pass(correction, self.low_pass)
        corrected = corrected + low_pass(mixed, self.low_pass)
        # Not f and its inverse: pixels that are not corrected keep all their digits.
        return made + self._stretched(corrected) - self._stretched(faint)

    def finish_with_scale(
        self, planes: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        What `finish` gives, and the scale of its errors, in float32.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 37, ny, nx)
            See `joint_planes`.
        features : `~torch.Tensor`, shape (n, n_features, ny, nx)
            Result of `Generator.features`.

        Returns
        -------
        generated, log_scale : `~torch.Tensor`, shape (n, 1, 2 ny, 2 nx)
            As `Generator.forward_with_scale` gives them.

        Raises
        ------
        ValueError
            If the generator was made without ``scale``.
        """
        head, generated = self.head(), self.finish(planes, features)
        phases = functional.pixel_unshuffle(generated, _UPSCALING)
        log_scale = head(torch.cat((features, planes), 1), phases)
        return generated, functional.pixel_shuffle(log_scale, _UPSCALING)

    def _stretched(self, faint: torch.Tensor) -> torch.Tensor:
        return torch.asinh(self._linear(faint) / self.softening) / self.range

    @staticmethod
    def _linear(faint: torch.Tensor) -> torch.Tensor:
        return FAINT * torch.sinh(faint.clamp(-_LARGEST, _LARGEST))


class Exchange(nn.Module):
    r"""
    Give each band of a field what the features of all of them show.

    With the features :math:`x_b` of the bands, and :math:`k` and :math:`v` linear in them, each
    channel and pixel by itself,

    .. math:: x_b \leftarrow x_b + A * x_b + B * \frac{\sum_a v_a \exp k_a}{\sum_a \exp k_a}

    with kernels :math:`A` and :math:`B` of 3 x 3 pixels: a mean over the bands, weighted by what
    is known of each.  The number of bands, and their order, do not matter; nothing is averaged
    over the map.

    Parameters
    ----------
    n_features : int
        Channels.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.joint import Exchange
    >>> Exchange(8)(torch.zeros(5, 8, 16, 16), [3, 2]).shape  # of two fields
    torch.Size([5, 8, 16, 16])
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.key, self.value = (nn.Conv2d(n_features, n_features, 1) for _ in ("key", "value"))
        self.own = _conv(n_features, n_features)
        self.shared = nn.Conv2d(n_features, n_features, 3, padding=1, bias=False)
        # Starts as no exchange at all.
        for parameter in (self.own.weight, self.own.bias, self.shared.weight):
            nn.init.zeros_(parameter)  # type: ignore[arg-type]

    def forward(self, x: torch.Tensor, counts: Sequence[int] | None = None) -> torch.Tensor:
        """
        Exchange.

        Parameters
        ----------
        x : `~torch.Tensor`, shape (n, n_features, ny, nx)
            Features of the bands.
        counts : sequence of int, optional
            How many of ``n`` bands each field has; by default all are bands of one field.

        Returns
        -------
        x : `~torch.Tensor`, shape (n, n_features, ny, nx)
            Features of the bands.
        """
        weighted, weight = self.weigh(x)
        if counts is None:
            return self.add(x, self.share(_total(weighted), _total(weight)))
        sums = (
            torch.cat([_total(one) for one in part.split(list(counts))])
            for part in (weighted, weight)
        )
        shared = self.share(*sums)
        number = torch.tensor(list(counts), device=x.device)
        return self.add(x, shared.repeat_interleave(number, 0, output_size=len(x)))

    def weigh(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What is summed over the bands, float32: value times weight, and weight."""
        weight = self.key(x).float().clamp(-_LARGEST_KEY, _LARGEST_KEY).exp()
        return self.value(x) * weight, weight

    def share(self, weighted: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """What is added to each band of a field, ``(n_field, n_features, ny, nx)``, from sums."""
        return self.shared(weighted / weight)

    def add(self, x: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        """The features with what is shared."""
        return x + self.own(x) + shared


def _total(bands: torch.Tensor) -> torch.Tensor:
    return bands.sum(0, keepdim=True)


def _check_exchanges(numbers: Sequence[int], n_blocks: int) -> None:
    rising = all(
        isinstance(number, int) and last < number <= n_blocks
        for last, number in pairwise((0, *numbers))
    )
    if not rising:
        raise ValueError(
            f"exchanges must be rising numbers of residual blocks, from 1 to {n_blocks}; got "
            f"{numbers!r}"
        )


def _conv(n_in: int, n_out: int) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, padding=1)


def _checked_bands(
    bands: Sequence[str], known: Sequence[str] = tuple(splus.BANDS)
) -> tuple[str, ...]:
    bands = tuple(bands)
    for band in bands:
        if band not in known:
            raise ValueError(f"bands must be among {', '.join(known)}; got {band!r}")
    if not bands or len(set(bands)) < len(bands):
        raise ValueError(f"bands must name at least one band, each once; got {bands!r}")
    return bands
