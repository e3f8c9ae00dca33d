# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Discriminators: networks that tell targets from generated images, used in training only."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm

from splus_srgan.utils.validate import check_integer, check_one_of

if TYPE_CHECKING:
    from typing import Any, Literal

__all__ = ["PatchDiscriminator", "UNetDiscriminator"]

_SLOPE = 0.2  # slope of the leaky rectifiers below 0
_LEVELS = 3  # halvings of the U-Net
_SMALLEST = 16  # pixels along a side, at least, of an image for the U-Net


class _Discriminator(nn.Module, ABC):
    """Common base: a list of activations, and logits from the last, in float32."""

    last: nn.Conv2d

    @abstractmethod
    def activations(self, x: torch.Tensor) -> list[torch.Tensor]:
        """
        Outputs of the layers before the last, for feature matching.

        Parameters
        ----------
        x : `~torch.Tensor`, shape (n, n_bands, ny, nx)
            Targets or generated images, stretched.

        Returns
        -------
        activations : list of `~torch.Tensor`, shape (n, n_channel, my, mx)
            From the first layer to the last but one.
        """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """
        Judge images.

        Parameters
        ----------
        x : `~torch.Tensor`, shape (n, n_bands, ny, nx)
            Targets or generated images, stretched.

        Returns
        -------
        logits : `~torch.Tensor`, shape (n, 1, my, mx)
            float32; their sigmoid is the probability of being a target, position by position.
        """
        return self.forward_with_activations(x)[0]

    def forward_with_activations(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """
        Judge images, and give the activations as well, in one pass.

        Parameters
        ----------
        x : `~torch.Tensor`, shape (n, n_bands, ny, nx)
            Targets or generated images, stretched.

        Returns
        -------
        logits : `~torch.Tensor`, shape (n, 1, my, mx)
            As from the call.
        activations : list of `~torch.Tensor`
            As from `activations`.
        """
        kept = self.activations(x)
        # bfloat16 would round the logits too much near certainty.
        with torch.autocast(x.device.type, enabled=False):
            return self.last(kept[-1].to(self.last.weight.dtype)), kept


class PatchDiscriminator(_Discriminator):
    """
    Discriminator of the seed paper: one judgement per patch of 16 x 16 pixels.

    Eight convolutions of 3 x 3 with ``n_features`` (1, 1, 2, 2, 4, 4, 8, 8) channels, every
    second one with stride 2, each followed by a leaky rectifier of slope 0.2 and then (but for
    the first) by batch normalisation; two dense layers at each position follow.

    Parameters
    ----------
    n_bands : int
        Bands of the images.
    n_features : int, optional
        Channels of the first convolution.
    norm : {"batch", None}, optional
        Normalisation.
    n_dense : int, optional
        Channels of the first dense layer.

    Raises
    ------
    TypeError, ValueError
        If a number is no integer or below 1, or the normalisation is unknown.

    Notes
    -----
    The seed paper trained with Keras, and this is what Keras does: batch normalisation with an
    epsilon of 1e-3, of whose running values 0.8 are kept; weights uniform as Glorot & Bengio
    (2010) have them, biases 0; and strided convolutions that pad an even side by one pixel at its
    end alone.

    The receptive field is 61 pixels wide.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.discriminator import PatchDiscriminator
    >>> discriminator = PatchDiscriminator(3, n_features=4, n_dense=8)
    >>> discriminator(torch.zeros(2, 3, 64, 64)).shape
    torch.Size([2, 1, 4, 4])
    """

    def __init__(
        self,
        n_bands: int,
        *,
        n_features: int = 64,
        norm: Literal["batch"] | None = "batch",
        n_dense: int = 1024,
    ) -> None:
        super().__init__()
        for name, value in (("n_bands", n_bands), ("n_features", n_features), ("n_dense", n_dense)):
            check_integer(name, value, minimum=1)
        check_one_of("norm", norm, ("batch", None))
        widths = [n_bands] + [n_features * 2 ** (k // 2) for k in range(8)]
        self.layers = nn.ModuleList(
            _PatchLayer(widths[k], widths[k + 1], stride=1 + k % 2, norm=norm if k else None)
            for k in range(8)
        )
        self.dense = nn.Sequential(nn.Conv2d(widths[-1], n_dense, 1), nn.LeakyReLU(_SLOPE, True))
        self.last = nn.Conv2d(n_dense, 1, 1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def activations(self, x: torch.Tensor) -> list[torch.Tensor]:  # noqa: D102
        kept = []
        for layer in (*self.layers, self.dense):
            x = layer(x)
            kept.append(x)
        return kept


class _PatchLayer(nn.Module):
    """Convolution, leaky rectifier, normalisation, in the seed paper's order."""

    def __init__(self, n_in: int, n_out: int, *, stride: int, norm: Any) -> None:
        super().__init__()
        # With stride 1 the padding is the same on both sides, and costs nothing within.
        self.conv = nn.Conv2d(n_in, n_out, 3, stride=stride, padding=int(stride == 1))
        # Keras' momentum 0.8 keeps 0.8 of the running value; torch's is the other part.
        self.norm = nn.Identity() if norm is None else nn.BatchNorm2d(n_out, momentum=0.2, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.conv.stride[0] == 2:
            x = _padded_as_keras(x)
        return self.norm(_leaky(self.conv(x)))


def _padded_as_keras(x: torch.Tensor) -> torch.Tensor:
    """
    Zero padding for a kernel of 3 and a stride of 2, which leaves ``ceil(side / 2)`` positions.

    One on both ends of an odd side; one at the far end of an even side.
    """
    ny, nx = x.shape[-2:]
    return functional.pad(x, [nx % 2, 1, ny % 2, 1])


class UNetDiscriminator(_Discriminator):
    """
    U-Net with spectral normalisation: one judgement per pixel.

    A first convolution, three that halve the image (1, 2, 4, 8 times ``n_features`` channels),
    three upsamplings with a convolution each, to which the features of the same size on the way
    down are added, and two more convolutions (Schoenfeld et al. 2020, Wang et al. 2021).  It sees
    faint, extended structure and single pixels, and shows where an image looks generated.

    Parameters
    ----------
    n_bands : int
        Bands of the images.
    n_features : int, optional
        Channels of the first convolution.

    Raises
    ------
    TypeError, ValueError
        If a number is no integer or below 1, or, at the call, an image has a side below 16.

    Notes
    -----
    Spectral normalisation (Miyato et al. 2018) divides each kernel by its largest singular value,
    so that the discriminator cannot become arbitrarily steep.  There is no batch normalisation:
    the judgement of an image depends on no other image.

    Sides that are not multiples of 8 are extended by mirroring to the next multiple.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.discriminator import UNetDiscriminator
    >>> discriminator = UNetDiscriminator(3, n_features=4)
    >>> discriminator(torch.zeros(2, 3, 33, 48)).shape
    torch.Size([2, 1, 33, 48])
    """

    def __init__(self, n_bands: int, *, n_features: int = 32) -> None:
        super().__init__()
        check_integer("n_bands", n_bands, minimum=1)
        check_integer("n_features", n_features, minimum=1)
        widths = [n_features * 2**level for level in range(_LEVELS + 1)]
        steps = list(itertools.pairwise(widths))
        self.first = _spectral(n_bands, n_features)
        self.down = nn.ModuleList(_spectral(n, m, kernel=4, stride=2) for n, m in steps)
        self.up = nn.ModuleList(_spectral(m, n) for n, m in reversed(steps))
        self.refine = nn.ModuleList(_spectral(n_features, n_features) for _ in range(2))
        self.last = nn.Conv2d(n_features, 1, 1)

    def activations(self, x: torch.Tensor) -> list[torch.Tensor]:  # noqa: D102
        ny, nx = x.shape[-2:]
        if min(ny, nx) < _SMALLEST:
            raise ValueError(
                f"images must have at least {_SMALLEST} pixels along each side; got {(ny, nx)}"
            )
        step = 2**_LEVELS
        x = functional.pad(x, [0, -nx % step, 0, -ny % step], mode="reflect")
        way_down = [_leaky(self.first(x))]
        for layer in self.down:
            way_down.append(_leaky(layer(way_down[-1])))
        x, way_up = way_down[-1], []
        for layer, seen in zip(self.up, reversed(way_down[:-1]), strict=True):
            x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = _leaky(layer(x)) + seen
            way_up.append(x)
        for layer in self.refine:
            x = _leaky(layer(x))
            way_up.append(x)
        # The rest of the mirrored part would only count some pixels twice.
        return [_cropped(part, ny, nx, x.shape) for part in way_down + way_up]


def _cropped(part: torch.Tensor, ny: int, nx: int, padded: torch.Size) -> torch.Tensor:
    """Crop a map of the padded image, at its size or a smaller one, to the image itself."""
    zoom = padded[-1] // part.shape[-1]
    return part[..., : -(-ny // zoom), : -(-nx // zoom)]


class _Float32Conv(nn.Conv2d):
    """Convolution that computes its (normalised) kernel in float32, whatever the precision."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # Under autocast the power iteration would run, or fail, in half precision.
        with torch.autocast(x.device.type, enabled=False):
            weight = self.weight
        return self._conv_forward(x, weight, self.bias)


def _spectral(n_in: int, n_out: int, *, kernel: int = 3, stride: int = 1) -> nn.Module:
    return spectral_norm(_Float32Conv(n_in, n_out, kernel, stride=stride, padding=1))


def _leaky(x: torch.Tensor) -> torch.Tensor:
    """Leaky rectifier of a convolution's output, in place."""
    return functional.leaky_relu(x, _SLOPE, inplace=True)
