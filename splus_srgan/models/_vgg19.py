# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Where the weights of VGG19 come from."""

import torch
from torch import nn

from splus_srgan.exceptions import WeightsError

__all__ = ["LAYERS", "from_file", "from_torchvision", "untrained"]

# Convolutions of 3 x 3 with so many channels; None halves the image.
LAYERS = (64, 64, None, 128, 128, None, *4 * (256,), None, *4 * (512,), None, *4 * (512,), None)
_ELSEWHERE = (
    "give weights= the path of a VGG19 file that you have (it needs no torchvision), or take "
    "what needs no download: feature matching or the starlet loss"
)


def from_torchvision():
    """Let torchvision find its weights: from its cache, else from its address."""
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


def _first_line(error):
    return str(error).strip().split("\n")[0]


def _plain_vgg19():
    """The layers, numbered as torchvision numbers them, without values."""
    layers, n_in = [], 3
    with torch.device("meta"):
        for n_out in LAYERS:
            if n_out is None:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1), nn.ReLU(inplace=True)]
            n_in = n_out
    return nn.Sequential(*layers)


def untrained():
    """Untrained: random weights of a fixed seed, no bias."""
    features = _plain_vgg19().to_empty(device="cpu")
    source = torch.Generator().manual_seed(19)
    for name, tensor in features.state_dict().items():
        tensor.zero_()
        if name.endswith("weight"):
            # So that the answers keep their size from layer to layer (He et al. 2015).
            tensor.normal_(0, (2 / tensor[0].numel()) ** 0.5, generator=source)
    return features


def from_file(path):
    """The layers with the values of a file."""
    state, features = _read_state(path), _plain_vgg19()
    prefix = "features." if any(str(name).startswith("features.") for name in state) else ""
    wanted = features.state_dict()
    found = {name: state[prefix + name] for name in wanted if prefix + name in state}
    try:
        features.load_state_dict(found, assign=True)
    except RuntimeError as error:
        raise WeightsError(
            f"weights must be a file of VGG19 with torchvision's names, 'features.0.weight' ...; "
            f"{path.name} has {len(found)} of its {len(wanted)} tensors, or of other shapes"
        ) from error
    return features.float()


def _read_state(path):
    if not path.is_file():
        raise FileNotFoundError(f"weights must be an existing file, or 'random'; got {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # Without code in it: a pickle may run anything.
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
