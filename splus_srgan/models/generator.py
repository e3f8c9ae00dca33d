# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The generator: a residual network that doubles the number of pixels per axis."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

__all__ = ["Generator", "ResidualBlock", "SRResNet", "ScaleHead", "low_pass", "reach"]

_UPSCALING = 2
_SCALE_FEATURES = 32
_SCALE_DILATION = 4
_SCALE_START = -3.0
_CHOICES = {
    "norm": ("batch", None),
    "output": ("residual", "tanh"),
    "scale": ("laplace", "gaussian", None),
}


def low_pass(images: torch.Tensor, order: int) -> torch.Tensor:
    r"""
    Remove structure on the scale of single pixels, and leave broader structure.

    Along each axis, with the frequency :math:`\nu` in cycles per pixel,

    .. math:: H(\nu) = 1 - \sin^{2n}(\pi \nu)

    the maximally flat low pass of :math:`2n + 1` taps that is 0 at the Nyquist frequency.
    The border is repeated.

    Parameters
    ----------
    images : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images.
    order : int
        Order :math:`n`; 0 leaves the images as they are.

    Returns
    -------
    filtered : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Filtered images; a constant is not changed.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.generator import low_pass
    >>> stripes = torch.tensor([1.0, -1.0]).repeat(4).expand(1, 1, 8, 8)
    >>> float(low_pass(3 + stripes, 2)[0, 0, 4, 4])
    3.0
    """
    if not order:
        return images
    size, choices = 2 * order + 1, 4**order
    taps = [
        -((-1) ** k) * math.comb(2 * order, order + k) / choices for k in range(-order, order + 1)
    ]
    taps[order] += 1
    padded = functional.pad(images, 4 * [order], mode="replicate")
    ny, nx = images.shape[-2:]
    # Sums of shifted images, since the rounding of a convolution depends on the size.
    rows = sum(taps[k] * padded[..., k : k + ny, :] for k in range(size))
    return sum(taps[k] * rows[..., k : k + nx] for k in range(size))


class Generator(nn.Module, ABC):
    """
    What all generators share: a body, and an end that always runs in float32.

    Subclasses give ``trunk`` and ``widen``, the body, which may run in bfloat16; ``finish``,
    which makes images of its result; ``finish_with_scale``, which adds the scale of their
    errors; and ``scale``, the head for it, or `None`.
    """

    feature_factor: int
    in_channels: int
    options: dict[str, Any]
    last: nn.Conv2d
    scale: ScaleHead | None

    @property
    @abstractmethod
    def receptive_field_radius(self) -> int:
        """Input pixels on which an output pixel depends, on each side."""

    @abstractmethod
    def end_radius(self, with_scale: bool) -> int:
        """Those on which the layers after the trunk depend, or those that give no scale."""

    @abstractmethod
    def trunk(self, y: torch.Tensor, *told: Any) -> torch.Tensor:
        """The wide part of the body, on the grid of the input, ``(n, n_features, ny, nx)``."""

    def widen(self, x: torch.Tensor) -> torch.Tensor:
        """The rest of the body: from the result of `trunk` to the features."""
        return x

    def features(self, y: torch.Tensor, *told: Any) -> torch.Tensor:
        """
        Everything before the last convolution; this part may run in bfloat16.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, in_channels, ny, nx)
            Stretched images.
        *told
            What `trunk` takes besides.

        Returns
        -------
        features : `~torch.Tensor`, shape (n, n_features, factor ny, factor nx)
            Input of the last convolution; the factor is ``feature_factor``.
        """
        return self.widen(self.trunk(y, *told))

    def forward(self, y: torch.Tensor) -> torch.Tensor:
        """
        Generate.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, in_channels, ny, nx)
            Stretched images.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_bands, 2 ny, 2 nx)
            float32.
        """
        return self._ended(self.finish, y)

    def forward_with_scale(self, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Generate, and predict the scale of the error of each pixel.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, in_channels, ny, nx)
            Stretched images.

        Returns
        -------
        generated, log_scale : `~torch.Tensor`, shape (n, n_bands, 2 ny, 2 nx)
            Result of `forward`, and the natural logarithm of the scale of its errors, in
            stretched units; float32.

        Raises
        ------
        ValueError
            If the generator was made without ``scale``.
        """
        return self._ended(self.finish_with_scale, y)

    def _ended(self, finish, y, *told):
        features = self.features(y, *told)
        with torch.autocast(y.device.type, enabled=False):
            return finish(y.float(), features.float())

    # A method, since tracing reads every property, and this one may raise.
    def head(self) -> ScaleHead:
        """The head for the scale of the errors; `ValueError` where there is none."""
        if self.scale is None:
            raise ValueError(
                "this generator predicts no scale; make it with scale='laplace' or 'gaussian', or "
                "train a head for it with splus_srgan.training.calibration"
            )
        return self.scale


class SRResNet(Generator):
    r"""
    Residual super-resolution generator (Ledig et al. 2017), without strides.

    A first convolution, ``n_blocks`` residual blocks, a convolution whose output is
    added to that of the first, a bilinear upsampling by two, and two more
    convolutions.  With ``output="residual"`` the result is added to the bicubic
    upsampling of the input:

    .. math:: G(y) = \mathrm{bicubic}(y) + R(y)

    Parameters
    ----------
    n_bands : int
        Bands of the input and of the output.
    n_features : int, optional
        Channels of the body.
    n_blocks : int, optional
        Residual blocks.
    norm : {"batch", None}, optional
        Normalisation after the convolutions of the body.
    first_kernel, last_kernel : int, optional
        Kernel sizes (odd) of the first and of the last convolution.
    n_tail_features : int, optional
        Channels between the upsampling and the last convolution.
    dilations : sequence of int, optional
        Adds a residual block for each, whose first convolution reads pixels this far
        apart: a wide field of view for faint, extended light at the cost of a narrow one.
    output : {"residual", "tanh"}, optional
        ``"tanh"`` has no skip from the input and ends in a hyperbolic tangent.
    low_pass : int, optional
        Order of `low_pass`, the filter applied to the generated image; 0: none.  A target
        with a well-sampled PSF has no power near the Nyquist frequency: any power of the
        generator there is a pattern with the period of its upsampling.
    scale : {"laplace", "gaussian"} or None, optional
        Adds a head, for `Generator.forward_with_scale`, that predicts the scale of the error of
        each pixel, of a Laplace or of a Gaussian distribution.  The result of
        `Generator.forward` does not depend on it.

    Notes
    -----
    The last convolution and the bicubic skip always run in float32, whatever the
    precision of the body: bfloat16 there costs 19 mmag.

    ``SRResNet(3, norm="batch", first_kernel=9, last_kernel=9, n_tail_features=256,
    output="tanh")`` is the generator of the seed paper.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.generator import SRResNet
    >>> generator = SRResNet(3, n_features=8, n_blocks=2)
    >>> generator(torch.zeros(1, 3, 16, 20)).shape
    torch.Size([1, 3, 32, 40])
    >>> generator.receptive_field_radius
    8
    """

    feature_factor = _UPSCALING
    """Ratio of the sides of the features and of the input."""

    def __init__(
        self,
        n_bands: int,
        *,
        n_features: int = 64,
        n_blocks: int = 16,
        norm: Literal["batch"] | None = None,
        first_kernel: int = 3,
        last_kernel: int = 3,
        n_tail_features: int = 32,
        output: Literal["residual", "tanh"] = "residual",
        dilations: Sequence[int] = (),
        low_pass: int = 0,
        scale: Literal["laplace", "gaussian"] | None = None,
    ) -> None:
        super().__init__()
        self.options = {
            "n_bands": n_bands,
            "n_features": n_features,
            "n_blocks": n_blocks,
            "norm": norm,
            "first_kernel": first_kernel,
            "last_kernel": last_kernel,
            "n_tail_features": n_tail_features,
            "output": output,
            "dilations": list(dilations),
            "low_pass": low_pass,
            "scale": scale,
        }
        _check_options(self.options)
        self.output, self.low_pass = output, low_pass
        self.in_channels = n_bands
        self.first = nn.Sequential(_conv(n_bands, n_features, first_kernel), nn.ReLU(inplace=True))
        steps = [1] * n_blocks + list(dilations)
        self.blocks = nn.Sequential(*(ResidualBlock(n_features, norm, step) for step in steps))
        self.join = nn.Sequential(*_conv_norm(n_features, norm))
        self.upsample = nn.Upsample(scale_factor=_UPSCALING, mode="bilinear", align_corners=False)
        self.tail = nn.Sequential(_conv(n_features, n_tail_features, 3), nn.ReLU(inplace=True))
        self.last = _conv(n_tail_features, n_bands, last_kernel)
        if output == "residual":
            # Starts as the bicubic upsampling itself.
            nn.init.zeros_(self.last.weight)
            nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]
        # Created last, so that a seed gives the trunk the same weights with and without it.
        self.scale = None if scale is None else ScaleHead(n_bands, n_tail_features)

    @property
    def receptive_field_radius(self) -> int:
        """
        Input pixels on which an output pixel depends, on each side, from the layers.

        An output pixel of the last layers reaches ``r`` fine pixels, which the
        bilinear upsampling reads from ``ceil((r + 1/2) / 2)`` input pixels; the
        layers before it add their own radii.
        """
        trunk = sum(reach(part) for part in (self.first, self.blocks, self.join))
        return max(trunk + self._read_by_end(self.scale is not None), self._read_by_skip())

    def end_radius(self, with_scale: bool) -> int:
        """Those on which the layers after the trunk depend, or those that give no scale."""
        return max(self._read_by_end(with_scale), self._read_by_skip())

    def _read_by_end(self, with_scale):
        made = reach(self.last) + self.low_pass
        fine = reach(self.tail) + made
        if with_scale and self.scale is not None:
            # The scale reads the features, and the image generated by the last layer.
            read = max(made, reach(self.scale.of_features))
            fine = reach(self.tail) + read + reach(self.scale.wide) + reach(self.scale.last)
        return math.ceil((fine + 0.5) / _UPSCALING)

    def _read_by_skip(self):
        return 2 + math.ceil(self.low_pass / _UPSCALING) if self.output == "residual" else 0

    def trunk(self, y: torch.Tensor) -> torch.Tensor:
        """The layers before the upsampling, ``(n, n_features, ny, nx)``."""
        first = self.first(y)
        return self.join(self.blocks(first)) + first

    def widen(self, x: torch.Tensor) -> torch.Tensor:
        """The upsampling, and the layers from there to the last, ``(n, n_tail_features, ...)``."""
        return self.tail(self.upsample(x))

    def finish(self, y: torch.Tensor, features: torch.Tensor) -> torch.Tensor:
        """
        The last convolution, the skip from the input and the low pass, in float32.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, n_bands, ny, nx)
            Stretched images.
        features : `~torch.Tensor`, shape (n, n_tail_features, 2 ny, 2 nx)
            Result of `Generator.features`.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_bands, 2 ny, 2 nx)
            Generated images.
        """
        result = self.last(features)
        if self.output == "tanh":
            return low_pass(torch.tanh(result), self.low_pass)
        upsampled = functional.interpolate(
            y, scale_factor=_UPSCALING, mode="bicubic", align_corners=False
        )
        return low_pass(upsampled + result, self.low_pass)

    def finish_with_scale(
        self, y: torch.Tensor, features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        What `finish` gives, and the scale of its errors, in float32.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, n_bands, ny, nx)
            Stretched images.
        features : `~torch.Tensor`, shape (n, n_tail_features, 2 ny, 2 nx)
            Result of `Generator.features`.

        Returns
        -------
        generated, log_scale : `~torch.Tensor`, shape (n, n_bands, 2 ny, 2 nx)
            As `Generator.forward_with_scale` gives them.

        Raises
        ------
        ValueError
            If the generator was made without ``scale``.
        """
        head, generated = self.head(), self.finish(y, features)
        # How bright a pixel is says much of its error.
        return generated, head(features, generated)


class ScaleHead(nn.Module):
    """
    Logarithm of a scale, from the features of the tail and the generated image.

    Parameters
    ----------
    n_bands, n_tail_features : int
        Bands, and channels of the tail.
    """

    def __init__(self, n_bands: int, n_tail_features: int) -> None:
        super().__init__()
        self.of_features = _conv(n_tail_features, _SCALE_FEATURES, 3)
        self.of_generated = _conv(n_bands, _SCALE_FEATURES, 1)
        self.wide = _conv(_SCALE_FEATURES, _SCALE_FEATURES, 3, _SCALE_DILATION)
        self.last = _conv(_SCALE_FEATURES, n_bands, 3)
        # Starts as about the noise of the sky: ln(0.05) in stretched units.
        nn.init.zeros_(self.last.weight)
        nn.init.constant_(self.last.bias, _SCALE_START)

    def forward(self, features: torch.Tensor, generated: torch.Tensor) -> torch.Tensor:
        """Logarithm of the scale of each pixel, ``(n, n_band, 2 ny, 2 nx)``."""
        hidden = functional.relu(self.of_features(features) + self.of_generated(generated))
        return self.last(functional.relu(hidden + self.wide(hidden)))


class ResidualBlock(nn.Module):
    """
    Convolution, ReLU, convolution, and the input added.

    Parameters
    ----------
    n_features : int
        Channels.
    norm : {"batch", None}, optional
        Normalisation after both convolutions.
    dilation : int, optional
        The first convolution reads pixels this far apart.
    """

    def __init__(
        self, n_features: int, norm: Literal["batch"] | None = None, dilation: int = 1
    ) -> None:
        super().__init__()
        # The seed paper's order: the rectifier comes before the first normalisation.
        conv, *normalise = _conv_norm(n_features, norm, dilation)
        self.body = nn.Sequential(
            conv, nn.ReLU(inplace=True), *normalise, *_conv_norm(n_features, norm)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Input plus the convolved input, ``(n, n_features, ny, nx)``."""
        return x + self.body(x)


def _conv(n_in, n_out, kernel, dilation=1):
    padding = dilation * (kernel // 2)
    return nn.Conv2d(n_in, n_out, kernel, padding=padding, dilation=dilation)


def _conv_norm(n_features, norm, dilation=1):
    layers = [_conv(n_features, n_features, 3, dilation)]
    if norm == "batch":
        # Keras' momentum 0.8 keeps 0.8 of the running value; torch's is the other part.
        layers.append(nn.BatchNorm2d(n_features, momentum=0.2, eps=1e-3))
    return layers


def reach(part: nn.Module) -> int:
    """
    Pixels that successive convolutions read to each side.

    Parameters
    ----------
    part : `~torch.nn.Module`
        Layers.

    Returns
    -------
    reach : int
        Sum of their radii.
    """
    return sum(_radius(layer) for layer in part.modules())


def _radius(layer):
    if not isinstance(layer, nn.Conv2d):
        return 0
    return layer.dilation[0] * (layer.kernel_size[0] - 1) // 2


def _check_options(options):
    for name in ("n_bands", "n_features", "n_blocks", "n_tail_features"):
        value = options[name]
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1; got {value!r}")
    order = options["low_pass"]
    if not isinstance(order, int) or order < 0:
        raise ValueError(f"low_pass must be an integer of at least 0; got {order!r}")
    for step in options["dilations"]:
        if not isinstance(step, int) or step < 1:
            raise ValueError(f"dilations must be integers of at least 1; got {step!r}")
    for name in ("first_kernel", "last_kernel"):
        value = options[name]
        if not isinstance(value, int) or value < 1 or value % 2 == 0:
            raise ValueError(f"{name} must be an odd integer of at least 1; got {value!r}")
    for name, allowed in _CHOICES.items():
        if options[name] not in allowed:
            text = ", ".join(repr(option) for option in allowed)
            raise ValueError(f"{name} must be one of {text}; got {options[name]!r}")
