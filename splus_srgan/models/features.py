# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Features for perceptual losses: those of VGG networks, and wavelets, which need no weights.

VGG19 and VGG16 are networks of Simonyan & Zisserman (2015).  VGG19 was trained with the photographs
of ImageNet.  VGG16 is the form of Zhang (2019), which blurs before it halves the image, so that its
features change little when an image moves by less than a pixel; its weights are those of Ghildyal &
Liu (2022), who trained it to judge as people do which of two photographs is more like a third.  The
starlet is the isotropic undecimated wavelet transform of Starck & Murtagh (2006).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from splus_srgan.models import _vgg
from splus_srgan.utils.validate import check_integer, check_one_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Self

    from splus_srgan.utils.types import FilePath

__all__ = [
    "IMAGENET",
    "NETWORKS",
    "VGGFeatures",
    "load_vgg16",
    "load_vgg19",
    "starlet",
    "starlet_noise",
]

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""
Mean and standard deviation of the images that VGG networks were trained with, scaled to 0 ... 1:
red, green, blue.
"""

NETWORKS = ("vgg19", "vgg16")
"""Networks of `VGGFeatures`."""

_SPLINE = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class VGGFeatures(nn.Module):
    """
    Features of images in one layer of VGG19 or VGG16.

    Parameters
    ----------
    network : {"vgg19", "vgg16"}, optional
        One of `NETWORKS`.
    weights : str or path-like, optional
        As for `load_vgg19` or `load_vgg16`.
    layer : str, optional
        A convolution by block and number, ``"block3_conv3"`` or ``"relu3_3"``; its output after
        the rectifier is taken.
    normalize : bool, optional
        Bring the images to the mean and deviation of ImageNet (`IMAGENET`).
        The seed paper does not.

    Raises
    ------
    ImportError
        If torchvision or stlpips-pytorch is needed and cannot be imported.
    OSError
        If the weights cannot be downloaded, or the file cannot be read.
    WeightsError
        If the file does not hold the network.
    ValueError
        If there is no such network or layer.

    Notes
    -----
    Its parameters are frozen, and it stays in evaluation mode.  Gradients flow to the images.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.features import VGGFeatures
    >>> features = VGGFeatures(weights="random")
    >>> features(torch.rand(1, 3, 32, 32)).shape
    torch.Size([1, 256, 8, 8])
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(
        self,
        *,
        network: Literal["vgg19", "vgg16"] = "vgg19",
        weights: FilePath | None = None,
        layer: str = "block3_conv3",
        normalize: bool = True,
    ) -> None:
        super().__init__()
        place = _place(layer, check_one_of("network", network, NETWORKS))
        load = {"vgg19": load_vgg19, "vgg16": load_vgg16}[network]
        self.layers = load(weights)[: place + 1].requires_grad_(False)
        self.layer, self.normalize = layer, normalize
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        self.eval()

    def train(self, mode: bool = True) -> Self:
        """Stay in evaluation mode, whatever the mode of the parent module."""
        return super().train(False)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """
        Compute the features.

        Parameters
        ----------
        images : `~torch.Tensor`, shape (n, n_band, ny, nx)
            Images from 0 to 1.  Three bands stand for red, green and blue in the order given;
            one is shown thrice.

        Returns
        -------
        features : `~torch.Tensor`, shape (n, n_channel, my, mx)
            Activations; block b halves the sides b - 1 times (in VGG16 to ``n // 2 + 1``).

        Raises
        ------
        ValueError
            If there are other numbers of bands, or images too small for the layer.
        """
        if images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                "images must have 1 or 3 bands, as VGG networks see them, in the shape (n, n_band, "
                f"ny, nx); got shape {tuple(images.shape)}. Give three of the bands, one at a "
                "time, or take what sees any number: feature matching or the starlet loss"
            )
        smallest = _smallest(self.layers)
        if min(images.shape[-2:]) < smallest:
            raise ValueError(
                f"images must have at least {smallest} pixels along each side for "
                f"{self.layer}; got {tuple(images.shape[-2:])}"
            )
        images = images.expand(-1, 3, -1, -1)
        if self.normalize:
            images = (images - self.mean) / self.deviation
        return self.layers(images)


def _smallest(layers: nn.Sequential) -> int:
    """Least number of pixels along a side that the layers can take."""
    halved = sum(isinstance(layer, nn.MaxPool2d | _vgg.BlurPool) for layer in layers)
    # A blur mirrors two pixels, and needs at least three.
    blurs = any(isinstance(layer, _vgg.BlurPool) for layer in layers)
    return 2**halved + (2 if blurs else 0)


def _place(layer: str, network: str) -> int:
    """Number of the rectifier among the layers."""
    places, block, number = {}, 1, 0
    index = 0
    for channels in _vgg.LAYERS[network]:
        if channels is None:
            block, number, index = block + 1, 0, index + 1
            continue
        number, index = number + 1, index + 2
        places[block, number] = index - 1
    found = re.fullmatch(r"(?:block(\d)_conv|relu(\d)_)(\d)", str(layer))
    key = found and (int(found[1] or found[2]), int(found[3]))
    if key not in places:
        last = max(number for _, number in places)
        raise ValueError(
            f"layer must be a convolution of {network.upper()}, 'block1_conv1' to "
            f"'block5_conv{last}' or 'relu1_1' to 'relu5_{last}' (2 in blocks 1 and 2, {last} in "
            f"the others); got {layer!r}"
        )
    return places[key]


def load_vgg19(weights: FilePath | None = None) -> nn.Sequential:
    """
    The convolutional part of VGG19.

    Parameters
    ----------
    weights : str or path-like, optional
        File with torchvision's names of the tensors (``.pth`` or ``.safetensors``), or
        ``"random"``: untrained, as a control.  `None`: those of torchvision, ``IMAGENET1K_V1``.

    Returns
    -------
    features : `~torch.nn.Sequential`
        In evaluation mode, on the CPU.

    Raises
    ------
    ImportError
        If torchvision is needed and cannot be imported.
    OSError
        If the weights cannot be downloaded, or the file cannot be read.
    WeightsError
        If the file holds no VGG19.
    """
    return _load("vgg19", weights, _vgg.from_torchvision)


def load_vgg16(weights: FilePath | None = None) -> nn.Sequential:
    """
    The convolutional part of VGG16 with blurs before the halvings.

    Parameters
    ----------
    weights : str or path-like, optional
        File with torchvision's names of the tensors (``.pth`` or ``.safetensors``), or
        ``"random"``: untrained, as a control.  `None`: those that the package
        ``stlpips-pytorch`` ships, which the extra ``perceptual`` brings; nothing is downloaded.

    Returns
    -------
    features : `~torch.nn.Sequential`
        In evaluation mode, on the CPU.

    Raises
    ------
    ImportError
        If the package is needed and not installed.
    OSError
        If the file cannot be read.
    WeightsError
        If the file holds no VGG16.

    Notes
    -----
    The package ships a pickle.  It is read restricted to tensors, none of the package's code
    is run, and the convolutions are kept as safetensors in astropy's cache.
    """
    return _load("vgg16", weights, _vgg.from_stlpips)


def _load(network: str, weights: Any, default: Callable[[], nn.Sequential]) -> nn.Sequential:
    if weights is None:
        return default().eval()
    if str(weights) == "random":
        return _vgg.untrained(network).eval()
    return _vgg.from_file(Path(weights), network).eval()


def starlet(images: torch.Tensor, *, n_scales: int = 4) -> torch.Tensor:
    r"""
    Starlet transform: planes of finer and coarser structure that add up to the image.

    With :math:`c_0` the image and :math:`c_j` the image :math:`c_{j-1}` smoothed by the B3-spline
    (1, 4, 6, 4, 1) / 16 along both axes, its elements :math:`2^{j-1}` pixels apart, the planes
    are :math:`w_j = c_{j-1} - c_j` and, last, :math:`c_J`.  Borders are mirrored about the
    outermost pixels.

    Parameters
    ----------
    images : `~torch.Tensor`, shape (n, n_band, ny, nx)
        Images, in any unit; computed in float32 or float64.
    n_scales : int, optional
        Number :math:`J` of wavelet planes, at least 1; sides must be above :math:`2^J`.

    Returns
    -------
    planes : `~torch.Tensor`, shape (n_scales + 1, n, n_band, ny, nx)
        The wavelets from fine to coarse and the smooth rest; their sum is the image.

    Raises
    ------
    ValueError
        If the images are too small for so many scales.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.features import starlet
    >>> image = torch.rand(1, 1, 32, 32)
    >>> planes = starlet(image)
    >>> planes.shape
    torch.Size([5, 1, 1, 32, 32])
    >>> torch.allclose(planes.sum(dim=0), image, atol=1e-6)
    True
    """
    check_integer("n_scales", n_scales, minimum=1)
    if min(images.shape[-2:]) <= 2**n_scales:
        raise ValueError(
            f"n_scales={n_scales} needs images of more than {2**n_scales} pixels along each side; "
            f"got {tuple(images.shape[-2:])}"
        )
    smooth = images if images.dtype == torch.float64 else images.float()
    planes = []
    with torch.autocast(images.device.type, enabled=False):
        for scale in range(n_scales):
            coarser = _smoothed(smooth, 2**scale)
            planes.append(smooth - coarser)
            smooth = coarser
    return torch.stack([*planes, smooth])


def _smoothed(images: torch.Tensor, step: int) -> torch.Tensor:
    """B3-spline along both axes, its elements a step apart."""
    n, n_band, ny, nx = images.shape
    kernel = images.new_tensor(_SPLINE)
    flat = functional.pad(images.reshape(n * n_band, 1, ny, nx), [2 * step] * 4, mode="reflect")
    flat = functional.conv2d(flat, kernel.reshape(1, 1, 5, 1), dilation=(step, 1))
    flat = functional.conv2d(flat, kernel.reshape(1, 1, 1, 5), dilation=(1, step))
    return flat.reshape(images.shape)


def starlet_noise(n_scales: int = 4) -> list[float]:
    """
    Standard deviation of white noise of unit variance in each plane of `starlet`.

    Parameters
    ----------
    n_scales : int, optional
        Number of wavelet planes, at least 1.

    Returns
    -------
    sigma : list of float
        One for each of the ``n_scales + 1`` planes, away from the borders.

    Examples
    --------
    >>> from splus_srgan.models.features import starlet_noise
    >>> [round(sigma, 3) for sigma in starlet_noise(2)]
    [0.891, 0.201, 0.123]
    """
    check_integer("n_scales", n_scales, minimum=1)
    line, found = np.ones(1), []
    for scale in range(n_scales):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = _SPLINE
        coarser = np.convolve(line, kernel)
        wide = np.pad(line, 2 * 2**scale)
        # Of the difference of two separable filters: (a a' - b b')^2 summed over both axes.
        found.append((wide @ wide) ** 2 - 2 * (wide @ coarser) ** 2 + (coarser @ coarser) ** 2)
        line = coarser
    return [float(v) ** 0.5 for v in (*found, (line @ line) ** 2)]
