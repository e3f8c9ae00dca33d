# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The layers of VGG networks, and the sources of their weights."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from astropy.config import get_cache_dir
from torch import nn
from torch.nn import functional

from splus_srgan.exceptions import WeightsError
from splus_srgan.utils.files import replace_file
from splus_srgan.utils.optional import import_optional
from splus_srgan.utils.validate import present

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LAYERS", "BlurPool", "from_file", "from_stlpips", "from_torchvision", "untrained"]

# Convolutions of 3 x 3 with so many channels; None halves the image.
LAYERS = {
    "vgg19": (
        *(64, 64, None, 128, 128, None),
        *(*4 * (256,), None, *4 * (512,), None, *4 * (512,), None),
    ),
    "vgg16": (
        *(64, 64, None, 128, 128, None),
        *(*3 * (256,), None, *3 * (512,), None, *3 * (512,), None),
    ),
}
_ELSEWHERE = (
    "give weights= the path of a VGG19 file that you have (it needs no torchvision), or take "
    "what needs no download: VGG16 (extra 'perceptual'), feature matching or the starlet loss"
)
_PACKAGE, _PICKLE = "stlpips_pytorch", "weights/vST0.0/vgg_shift_tolerant.pth"


class BlurPool(nn.Module):
    """
    Halve an image without aliasing (Zhang 2019): maximum of 2 x 2, blur, every second pixel.

    The blur is (1, 2, 1) / 4 along both axes, and reaches two mirrored pixels beyond the border, so
    that ``n`` pixels become ``n // 2 + 1``.
    """

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Images of half the sides."""
        peaks = functional.pad(functional.max_pool2d(images, 2, stride=1), [2] * 4, mode="reflect")
        line = images.new_tensor([0.25, 0.5, 0.25])
        kernel = torch.outer(line, line).expand(images.shape[1], 1, 3, 3)
        return functional.conv2d(peaks, kernel, stride=2, groups=images.shape[1])


def from_torchvision() -> nn.Sequential:
    """Let torchvision load its weights: from its cache, or by download."""
    try:
        from torchvision.models import VGG19_Weights, vgg19
    except Exception as error:  # a build for another torch fails with RuntimeError or OSError
        raise ImportError(
            f"VGG19 with its own weights comes from torchvision, which cannot be imported "
            f"({type(error).__name__}: {_first_line(error)}); install the torchvision that belongs "
            f"to torch {torch.__version__}, or {_ELSEWHERE}"
        ) from error
    entry = VGG19_Weights.IMAGENET1K_V1
    try:
        return vgg19(weights=entry).features
    except (OSError, RuntimeError) as error:
        raise OSError(
            f"the weights of VGG19 (IMAGENET1K_V1, about 550 MB) could not be fetched from "
            f"{entry.url} ({type(error).__name__}: {_first_line(error)}); download that file where "
            f"there is a network and give its path as weights=, or {_ELSEWHERE}"
        ) from error


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0]


def _plain(network: str) -> nn.Sequential:
    """The layers, numbered as in torchvision, without values."""
    layers: list[nn.Module] = []
    n_in = 3
    with torch.device("meta"):
        for n_out in LAYERS[network]:
            if n_out is None:
                layers.append(nn.MaxPool2d(2) if network == "vgg19" else BlurPool())
                continue
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(inplace=True)]
            n_in = n_out
    return nn.Sequential(*layers)


def untrained(network: str) -> nn.Sequential:
    """Untrained: random weights of a fixed seed, no bias."""
    features = _plain(network).to_empty(device="cpu")
    source = torch.Generator().manual_seed(19)
    for name, tensor in features.state_dict().items():
        tensor.zero_()
        if name.endswith("weight"):
            # Keeps the variance of the activations from layer to layer (He et al. 2015).
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=source)
    return features


def from_stlpips() -> nn.Sequential:
    """
    VGG16 with the weights shipped by the package ``stlpips-pytorch``, whose code is not run.

    They come as a pickle, which is read once, restricted to tensors; the needed ones are then
    kept as safetensors in astropy's cache.
    """
    found = importlib.util.find_spec(_PACKAGE)
    if found is None:
        import_optional(_PACKAGE, "perceptual")
    source = Path(str(present(found).origin)).parent / _PICKLE
    if not source.is_file():
        raise WeightsError(
            f"the package stlpips-pytorch should have {_PICKLE}, and has not; install its version "
            "0.0.2, or give weights= the path of a file"
        )
    with source.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kept = Path(get_cache_dir()) / "splus_srgan" / f"vgg16-{digest[:16]}.safetensors"
    if kept.is_file():
        with suppress(WeightsError):  # damaged: it is written again
            return from_file(kept, "vgg16")
    state = _convolutions(_read_state(source))
    features = _filled(state, "vgg16", source.name)
    with suppress(OSError):  # without a cache it is converted every time
        _keep(state, kept)
    return features


def _convolutions(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The convolutions, under torchvision's names; the numbers of the package include the blurs."""
    found = (re.fullmatch(r"net\.(slice\d\.(\d+))\.weight", str(name)) for name in state)
    theirs = [match[1] for match in sorted((m for m in found if m), key=lambda m: int(m[2]))]
    ours = [
        name.removesuffix(".weight") for name in _plain("vgg16").state_dict() if "weight" in name
    ]
    return {
        f"{place}.{kind}": state[f"net.{old}.{kind}"].contiguous()
        for place, old in zip(ours, theirs, strict=False)
        for kind in ("weight", "bias")
        if f"net.{old}.{kind}" in state
    }


def _keep(state: Mapping[str, torch.Tensor], path: Path) -> None:
    from safetensors.torch import save

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, save(dict(state)))


def from_file(path: Path, network: str) -> nn.Sequential:
    """The layers with the values of a file."""
    return _filled(_read_state(path), network, path.name)


def _filled(state: Mapping[str, torch.Tensor], network: str, source: str) -> nn.Sequential:
    """The layers with the values of named tensors."""
    features = _plain(network)
    prefix = "features." if any(str(name).startswith("features.") for name in state) else ""
    wanted = features.state_dict()
    found = {name: state[prefix + name] for name in wanted if prefix + name in state}
    try:
        features.load_state_dict(found, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"weights must be a file of {network.upper()} with torchvision's names, "
            f"'features.0.weight' ...; {source} has {len(found)} of its {len(wanted)} tensors, or "
            "of other shapes"
        ) from error
    return features.float()


def _read_state(path: Path) -> dict[str, torch.Tensor]:
    if not path.is_file():
        raise FileNotFoundError(f"weights must be an existing file, or 'random'; got {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Tensors only: a pickle could run any code.
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many ways
        raise WeightsError(
            f"weights must be a .pth or .safetensors file of tensors; {path.name} cannot be read "
            f"({type(error).__name__}: {_first_line(error)})"
        ) from error
    if not isinstance(state, dict):
        raise WeightsError(
            f"weights must hold named tensors; {path.name} holds a {type(state).__name__}"
        )
    return state
