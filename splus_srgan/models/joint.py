# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The second stage for any subset of the twelve bands: what each learns from the others.

Weights of few bands come first; what they make of every band is then corrected by all bands
together, by a generator that is told the PSF and the depth of each.
"""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from splus_srgan import splus
from splus_srgan.models.generator import ResidualBlock, low_pass, reach

__all__ = ["PLANES", "TOLD", "JointResNet", "ToldGenerator", "told_values"]

TOLD = ("present", "psf known", "fwhm", "beta", "wings", "depth known", "depth")
"""What the generator is told of each band, in the order of its last axis; 0 where not known."""

_UPSCALING = 2
_PHASES = _UPSCALING**2
PLANES = 1 + _PHASES
"""Planes that the second stage reads of each band: the input, and the four phases of the first."""

# Middle and spread of what is told, so that it is of order one.
_FWHM, _BETA, _WINGS, _DEPTH = (1.35, 0.3), (3.7, 0.9), (0.25, 0.1), 0.5


def told_values(band, *, psf=None, sigma=None):
    """
    Put what is known of a band into the numbers that the generator reads.

    Parameters
    ----------
    band : str
        One of `splus_srgan.splus.BANDS`.
    psf : tuple of float or None, optional
        FWHM (arcsec) and beta of the core, and share of the wings (none by default), as
        `~splus_srgan.pixels.psf.psf_transfer` takes them; `None` where not known.
    sigma : float or None, optional
        Sky noise in nanomaggies per input pixel; `None` where there is no zero point.

    Returns
    -------
    told : `~numpy.ndarray`, shape (7,)
        In the order of `TOLD`, float32.

    Examples
    --------
    >>> from splus_srgan.models.joint import told_values
    >>> told_values("r", psf=(1.35, 3.7, 0.25), sigma=0.06).tolist()
    [1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
    """
    told = np.zeros(len(TOLD), np.float32)
    told[0] = 1
    if psf is not None:
        values = (*psf, 0.0)[:3]
        told[1] = 1
        middles = zip(values, (_FWHM, _BETA, _WINGS), strict=True)
        told[2:5] = [np.clip((value - m) / spread, -5, 5) for value, (m, spread) in middles]
    if sigma is not None:
        told[5] = 1
        told[6] = np.clip(np.log(sigma / splus.BANDS[band].noise[0]) / _DEPTH, -5, 5)
    return told


class JointResNet(nn.Module):
    r"""
    Residual generator for any subset of its bands, told what it looks at.

    It reads the input :math:`y` of all bands and what the first stage made of each of them,
    :math:`x`, as four images on the grid of the input, one for each phase of the fine grid.
    It gives, with `~splus_srgan.models.generator.low_pass` :math:`L`,

    .. math:: G(y, x) = x + L\,R(y, x)

    Each residual block scales and shifts the channels between its convolutions by what it is
    told of all bands (`TOLD`, through one linear layer a block).  Everything happens on the
    grid of the input, so that it costs a fraction of the first stage.

    Parameters
    ----------
    bands : sequence of str
        Bands, in the order of the planes.
    n_features, n_blocks, dilations, low_pass
        As for `~splus_srgan.models.generator.SRResNet`.

    Notes
    -----
    Nothing is averaged over the map, so blocks of an image, with a halo of
    `receptive_field_radius`, agree with the whole one.  The value of absent planes does not
    matter.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.joint import PLANES, JointResNet, told_values
    >>> generator = JointResNet(("g", "r", "J0660"), n_features=8, n_blocks=2)
    >>> told = torch.zeros(1, 3, 7)
    >>> told[0, 1] = torch.from_numpy(told_values("r", psf=(1.3, 3.5)))
    >>> generator(torch.zeros(1, 3 * PLANES, 16, 19), told).shape
    torch.Size([1, 3, 32, 38])
    """

    def __init__(self, bands, *, n_features=48, n_blocks=6, dilations=(2, 4), low_pass=2):
        super().__init__()
        bands = _checked_bands(bands)
        self.bands, self.low_pass = bands, low_pass
        self.options = {
            "kind": "joint",
            "bands": list(bands),
            "n_features": n_features,
            "n_blocks": n_blocks,
            "dilations": list(dilations),
            "low_pass": low_pass,
        }
        n_band = len(bands)
        self.first = nn.Sequential(_conv(PLANES * n_band, n_features), nn.ReLU(inplace=True))
        steps = [1] * n_blocks + list(dilations)
        n_told = n_band * len(TOLD)
        self.blocks = nn.ModuleList(_ToldBlock(n_features, n_told, step) for step in steps)
        self.join = _conv(n_features, n_features)
        self.last = _conv(n_features, _PHASES * n_band)
        # Starts as the first stage itself.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    @property
    def receptive_field_radius(self):
        """Input pixels on which an output pixel depends, on each side, from the layers."""
        return _radius(self)

    def forward(self, planes, told):
        """
        Generate.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 5 n_band, ny, nx)
            Stretched images of the bands, then the four phases of each that the first stage
            made (`~torch.nn.functional.pixel_unshuffle`); those of absent bands may hold
            anything.
        told : `~torch.Tensor`, shape (n, n_band, 7)
            See `TOLD`.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            float32; 0 in absent bands.
        """
        present = told[:, :, 0] > 0
        planes = _where(torch.cat((present, present.repeat_interleave(_PHASES, 1)), 1), planes)
        # What is told of an absent band says only that it is absent.
        known = (told * present[..., None]).flatten(1)
        first = x = self.first(planes)
        for block in self.blocks:
            x = block(x, known)
        features = self.join(x) + first
        with torch.autocast(planes.device.type, enabled=False):
            return _where(present, _finish(self, planes.float(), features.float()))

    def tell(self, bands, *, psfs=None, sigmas=None):
        """
        Bind the generator to the bands of a field.

        Parameters
        ----------
        bands : sequence of str
            Bands that are there, in any order.
        psfs : sequence of tuple or None, optional
            PSF of each, see `told_values`.
        sigmas : sequence of float or None, optional
            Sky noise of each, see `told_values`.

        Returns
        -------
        generator : `ToldGenerator`
            Takes and gives these bands, in this order.

        Raises
        ------
        ValueError
            If a band is none of the generator's, or named twice.
        """
        return ToldGenerator(self, bands, psfs=psfs, sigmas=sigmas)


class ToldGenerator(nn.Module):
    """
    A `JointResNet` for the bands of one field, with what is known of them.

    Absent bands and what is told are worked into the kernels, so that it is a plain residual
    network, used as a `~splus_srgan.models.generator.SRResNet` is.

    Parameters
    ----------
    generator : `JointResNet`
        Generator; its weights are copied.
    bands, psfs, sigmas
        As for `JointResNet.tell`.
    """

    feature_factor = 1
    """Side of the features over that of the input."""
    scale = None

    def __init__(self, generator, bands, *, psfs=None, sigmas=None):
        super().__init__()
        self.bands = bands = _checked_bands(bands, generator.bands)
        self.low_pass = generator.low_pass
        psfs, sigmas = (given or [None] * len(bands) for given in (psfs, sigmas))
        places = [generator.bands.index(band) for band in bands]
        self.told = torch.zeros(1, len(generator.bands), len(TOLD))
        for place, band, psf, sigma in zip(places, bands, psfs, sigmas, strict=True):
            self.told[0, place] = torch.from_numpy(told_values(band, psf=psf, sigma=sigma))
        phases = [_PHASES * place + k for place in places for k in range(_PHASES)]
        read = [*places, *(len(generator.bands) + phase for phase in phases)]
        first = generator.first[0]
        with torch.no_grad():
            self.first = nn.Sequential(
                _filled(first.weight[:, read], first.bias), nn.ReLU(inplace=True)
            )
            known = self.told.flatten(1)
            self.blocks = nn.Sequential(*(block.tell_once(known) for block in generator.blocks))
            self.join = _filled(generator.join.weight, generator.join.bias)
            self.last = _filled(generator.last.weight[phases], generator.last.bias[phases])

    @property
    def in_channels(self):
        """Planes that it reads."""
        return PLANES * len(self.bands)

    @property
    def receptive_field_radius(self):
        """That of the generator."""
        return _radius(self)

    def features(self, planes):
        """
        Everything before the last convolution; this part may run in bfloat16.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 5 n_band, ny, nx)
            As for `JointResNet.forward`, of the bands of the field alone.

        Returns
        -------
        features : `~torch.Tensor`, shape (n, n_features, ny, nx)
            What the last convolution reads.
        """
        first = self.first(planes)
        return self.join(self.blocks(first)) + first

    def finish(self, planes, features):
        """
        The last convolution, the low pass and what the first stage made, in float32.

        Parameters
        ----------
        planes : `~torch.Tensor`, shape (n, 5 n_band, ny, nx)
            As for `features`.
        features : `~torch.Tensor`, shape (n, n_features, ny, nx)
            Result of `features`.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            Generated images.
        """
        return _finish(self, planes, features)

    def forward(self, planes):
        """Generate the bands of the field, ``(n, n_band, 2 ny, 2 nx)``."""
        features = self.features(planes)
        with torch.autocast(planes.device.type, enabled=False):
            return self.finish(planes.float(), features.float())


class _ToldBlock(nn.Module):
    """Convolution, what is told as scale and shift, ReLU, convolution, and the input added."""

    def __init__(self, n_features, n_told, dilation):
        super().__init__()
        self.one = _conv(n_features, n_features, dilation)
        self.two = _conv(n_features, n_features)
        self.tell = nn.Linear(n_told, 2 * n_features)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, x, told):
        factor, shift = self.tell(told)[..., None, None].chunk(2, 1)
        return x + self.two(functional.relu((1 + factor) * self.one(x) + shift))

    def tell_once(self, told):
        """The block for one field, as one that need not be told."""
        factor, shift = self.tell(told)[0].chunk(2)
        block = ResidualBlock(len(shift), dilation=self.one.dilation[0])
        one, _, two = block.body
        one.weight.copy_((1 + factor)[:, None, None, None] * self.one.weight)
        one.bias.copy_((1 + factor) * self.one.bias + shift)
        two.load_state_dict(self.two.state_dict())
        return block


def _finish(network, planes, features):
    n_band = network.last.out_channels // _PHASES
    made = functional.pixel_shuffle(planes[:, n_band:], _UPSCALING)
    correction = functional.pixel_shuffle(network.last(features), _UPSCALING)
    return made + low_pass(correction, network.low_pass)


def _radius(network):
    coarse = sum(
        reach(part) for part in (network.first, network.blocks, network.join, network.last)
    )
    return coarse + -(-network.low_pass // _UPSCALING)


def _where(present, planes):
    """Planes with 0 in those that are not there, whatever these held."""
    return torch.where(present[..., None, None], planes, torch.zeros((), dtype=planes.dtype))


def _conv(n_in, n_out, dilation=1):
    return nn.Conv2d(n_in, n_out, 3, padding=dilation, dilation=dilation)


def _filled(weight, bias):
    layer = _conv(weight.shape[1], weight.shape[0])
    layer.weight.copy_(weight)
    layer.bias.copy_(bias)
    return layer


def _checked_bands(bands, known=tuple(splus.BANDS)):
    bands = tuple(bands)
    for band in bands:
        if band not in known:
            raise ValueError(f"bands must be among {', '.join(known)}; got {band!r}")
    if not bands or len(set(bands)) < len(bands):
        raise ValueError(f"bands must name at least one band, each once; got {bands!r}")
    return bands
