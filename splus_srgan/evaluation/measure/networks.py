# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Layers of networks whose channels can be probed."""

__all__ = ["answering_layers"]


def answering_layers(network):
    """
    Layers whose channels answer: the rectifiers, or the convolutions where there are none.

    Parameters
    ----------
    network : `~torch.nn.Module`
        Network.

    Returns
    -------
    layers : dict of str to `~torch.nn.Module`
        Name to layer, in order; those of VGG19 are ``relu1_1`` ... ``relu5_4``.

    Raises
    ------
    ValueError
        If it has neither.
    """
    from torch import nn

    modules = dict(network.named_modules())
    for kinds in ((nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.GELU, nn.SiLU), (nn.Conv2d,)):
        layers = {name: layer for name, layer in modules.items() if isinstance(layer, kinds)}
        if layers:
            break
    else:
        raise ValueError("network must have rectifiers or convolutions; it has neither")
    if isinstance(network, nn.Sequential) and any(
        isinstance(layer, nn.MaxPool2d) for layer in network
    ):
        return _numbered(network, layers)
    return layers


def _numbered(network, layers):
    """Rectifiers by the block that they are in, between two halvings."""
    from torch import nn

    named, block, place = {}, 1, 0
    for name, layer in network.named_children():
        if isinstance(layer, nn.MaxPool2d):
            block, place = block + 1, 0
        elif name in layers:
            place += 1
            named[f"relu{block}_{place}"] = layer
    return named
