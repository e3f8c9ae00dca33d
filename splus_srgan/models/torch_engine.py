# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Run a generator with torch."""

from __future__ import annotations

import copy
from contextlib import nullcontext
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from splus_srgan.models.processes import note_threads

if TYPE_CHECKING:
    from typing import Literal

    from numpy.typing import NDArray

    from splus_srgan.models.generator import Generator
    from splus_srgan.utils.types import FloatArray

__all__ = ["TorchEngine"]


class TorchEngine:
    """
    Run a generator with torch.

    Parameters
    ----------
    generator : `~torch.nn.Module`
        Generator with its weights.
    device : str
        Such as ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision : {"float32", "bfloat16"}
        Precision of the body; the last layer is always float32.
    with_scale : bool, optional
        Whether to give the scale of the errors too; the generator must have it.
    """

    name = "torch"

    def __init__(
        self,
        generator: Generator,
        *,
        device: str,
        precision: Literal["float32", "bfloat16"],
        with_scale: bool = False,
    ) -> None:
        self.with_scale = with_scale
        self.device = torch.device(device)
        self.precision = precision
        # float32 with channels last is three times slower on CPUs, bfloat16 twice faster.
        fast = precision == "bfloat16" or self.device.type == "cuda"
        self._format = torch.channels_last if fast else torch.contiguous_format
        generator = copy.deepcopy(generator).eval()
        if not fast:
            _keep_rounding(generator)
            _save_memory(generator)
        self._generator = generator.to(self.device).to(memory_format=self._format)

    def pixels(self, *, whole: bool) -> int:
        """Input pixels that it may see at once, of a whole image or not: 500 MB, 2 GB on a GPU."""
        return 2**20 if self.device.type == "cuda" else 2**18

    @property
    def exchanges(self) -> bool:
        """Whether bands of a field see each other, so that they have to be given together."""
        return bool(getattr(self._generator, "exchanges", ()))

    @property
    def band_pixels(self) -> int:
        """Input pixels, of all bands, that a joint generator may see at once: 1 GB."""
        return 2**23 if self.device.type == "cuda" else 2**21

    def __call__(self, y: FloatArray) -> NDArray[np.float32]:
        """Generate from one stretched image, or from the planes of each band of a field."""
        note_threads(self.device.type == "cpu" and torch.get_num_threads() > 1)
        tensor = torch.from_numpy(np.ascontiguousarray(y, dtype=np.float32))
        if y.ndim == 3:
            tensor = tensor[None]
        tensor = tensor.to(self.device).contiguous(memory_format=self._format)
        bfloat16 = self.precision == "bfloat16"
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=bfloat16),
            self._all_digits(),
        ):
            if self.with_scale:
                fine = torch.cat(self._generator.forward_with_scale(tensor), 1)
            else:
                fine = self._generator(tensor)
            return (fine[0] if y.ndim == 3 else fine).contiguous().cpu().numpy()

    def _all_digits(self):
        """Keep all float32 digits on a GPU during a call; it would silently drop half of them."""
        if self.device.type != "cuda" or self.precision != "float32":
            return nullcontext()
        cudnn = torch.backends.cudnn
        kept = {"enabled": cudnn.enabled, "benchmark": cudnn.benchmark}
        return cudnn.flags(**kept, deterministic=cudnn.deterministic, allow_tf32=False)


def _keep_rounding(generator):
    """
    Make blocks agree with the whole image to the last bit, in float32 on the CPU.

    oneDNN sums in an order that depends on the width of the image where a layer has few
    input channels or reads pixels far apart, and not elsewhere; so such layers are computed
    as layers of many channels and of adjacent pixels, with the same result.
    """
    generator.first[0] = _ManyChannels(generator.first[0])
    if generator.scale is not None:
        generator.scale.of_generated = _ManyChannels(generator.scale.of_generated)
        generator.scale.wide = _Phases(generator.scale.wide)
    for block in generator.blocks:
        for name, layer in block.body.named_children():
            if max(getattr(layer, "dilation", (1,))) > 1:
                setattr(block.body, name, _Phases(layer))


def _save_memory(generator):
    """Upsample and convolve strip by strip: the upsampled features would be the largest array."""
    if generator.feature_factor > 1:
        generator.tail = _InStrips(generator.upsample, generator.tail)
        generator.upsample = torch.nn.Identity()


class _InStrips(torch.nn.Module):
    """Bilinear upsampling by two and layers that reach one pixel, to the same last bit."""

    pixels = 2**15  # of the input, in a strip; of few, oneDNN sums in another order

    def __init__(self, upsample, layers):
        super().__init__()
        self.upsample, self.layers = upsample, layers

    def forward(self, x):
        strips, (ny, nx) = [], x.shape[-2:]
        number = max(1, ny * nx // self.pixels)
        for start, stop in pairwise(ny * k // number for k in range(number + 1)):
            # A fine pixel and its neighbors are interpolated between it and one row beside it.
            first, last = max(start - 1, 0), min(stop + 1, ny)
            fine = self.layers(self.upsample(x[..., first:last, :].contiguous()))
            strips.append(fine[..., 2 * (start - first) : 2 * (stop - first), :])
        return torch.cat(strips, -2)


class _ManyChannels(torch.nn.Module):
    """A convolution with as many input channels as it has output channels; the added are 0."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer
        self.added = max(0, layer.out_channels - layer.in_channels)
        pad = (0, 0, 0, 0, 0, self.added)
        layer.weight = torch.nn.Parameter(functional.pad(layer.weight.detach(), pad))

    def forward(self, x):
        return self.layer(functional.pad(x, (0, 0, 0, 0, 0, self.added)))


class _Phases(torch.nn.Module):
    """A convolution of pixels ``d`` apart: every d-th pixel of each axis forms its own image."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.step = layer, layer.dilation[0]
        self.padding = tuple(n // self.step for n in layer.padding)

    def forward(self, x):
        n, channels, ny, nx = x.shape
        d, rows, columns = self.step, -(-ny // self.step), -(-nx // self.step)
        x = functional.pad(x, (0, columns * d - nx, 0, rows * d - ny))
        x = x.reshape(n, channels, rows, d, columns, d).permute(0, 3, 5, 1, 2, 4)
        x = functional.conv2d(
            x.reshape(n * d * d, channels, rows, columns),
            self.layer.weight,
            self.layer.bias,
            padding=self.padding,
        )
        x = x.reshape(n, d, d, -1, rows, columns).permute(0, 3, 4, 1, 5, 2)
        return x.reshape(n, -1, rows * d, columns * d)[..., :ny, :nx].contiguous()
