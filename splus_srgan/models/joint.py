# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A generator for any of the survey's bands together, told the PSF and the depth of each."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from splus_srgan import splus
from splus_srgan.models.generator import ScaleHead, low_pass, reach

__all__ = ["TOLD", "JointResNet", "ToldGenerator", "told_values"]

TOLD = ("present", "psf known", "fwhm", "beta", "wings", "depth known", "depth")
"""What the generator is told of each band, in the order of its last axis; 0 where not known."""

_UPSCALING = 2
_COARSE = 2  # input pixels per pixel of the coarse level
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

    As `~splus_srgan.models.generator.SRResNet` with ``output="residual"``, but each block
    scales and shifts the channels between its convolutions by what it is told of all bands
    (`TOLD`, through one linear layer a block), and some of the blocks may work at half the
    resolution.

    Parameters
    ----------
    bands : sequence of str
        Bands, in the order of the planes.
    n_features, n_blocks, n_tail_features, dilations, low_pass, scale
        As for `~splus_srgan.models.generator.SRResNet`.
    coarse_blocks : int, optional
        Blocks at half the resolution: a wide view, each at a quarter of the cost.

    Notes
    -----
    Nothing is averaged over the map, so blocks of an image, with a halo of
    `receptive_field_radius`, agree with the whole one.  With ``coarse_blocks`` they have to
    begin at multiples of `alignment`.  The value of absent planes does not matter.

    Examples
    --------
    >>> import torch
    >>> from splus_srgan.models.joint import JointResNet, told_values
    >>> generator = JointResNet(("g", "r", "J0660"), n_features=8, n_blocks=2, coarse_blocks=1)
    >>> told = torch.zeros(1, 3, 7)
    >>> told[0, 1] = torch.from_numpy(told_values("r", psf=(1.3, 3.5)))
    >>> generator(torch.zeros(1, 3, 16, 19), told).shape
    torch.Size([1, 3, 32, 38])
    """

    def __init__(
        self,
        bands,
        *,
        n_features=48,
        n_blocks=8,
        n_tail_features=32,
        dilations=(),
        coarse_blocks=0,
        low_pass=2,
        scale=None,
    ):
        super().__init__()
        bands = _checked_bands(bands)
        self.bands, self.low_pass = bands, low_pass
        self.options = {
            "kind": "joint",
            "bands": list(bands),
            "n_features": n_features,
            "n_blocks": n_blocks,
            "n_tail_features": n_tail_features,
            "dilations": list(dilations),
            "coarse_blocks": coarse_blocks,
            "low_pass": low_pass,
            "scale": scale,
        }
        n_band, n_told = len(bands), len(bands) * len(TOLD)
        self.first = nn.Sequential(
            nn.Conv2d(n_band, n_features, 3, padding=1), nn.ReLU(inplace=True)
        )
        steps = [1] * n_blocks + list(dilations)
        self.blocks = nn.ModuleList(_ToldBlock(n_features, n_told, step) for step in steps)
        self.down = self.coarse = None
        if coarse_blocks:
            self.down = nn.Conv2d(n_features, n_features, _COARSE, stride=_COARSE)
            self.coarse = nn.ModuleList(
                _ToldBlock(n_features, n_told, 1) for _ in range(coarse_blocks)
            )
        self.join = nn.Conv2d(n_features, n_features, 3, padding=1)
        self.upsample = nn.Upsample(scale_factor=_UPSCALING, mode="bilinear", align_corners=False)
        self.tail = nn.Sequential(
            nn.Conv2d(n_features, n_tail_features, 3, padding=1), nn.ReLU(inplace=True)
        )
        self.last = nn.Conv2d(n_tail_features, n_band, 3, padding=1)
        # Starts as the bicubic upsampling itself.
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)
        self.scale = None if scale is None else ScaleHead(n_band, n_tail_features)

    @property
    def alignment(self):
        """Where a block of an image may begin: at multiples of so many input pixels."""
        return _COARSE if self.coarse is not None else 1

    @property
    def receptive_field_radius(self):
        """Input pixels on which an output pixel depends, on each side, from the layers."""
        radius = sum(reach(part) for part in (self.first, self.blocks, self.join))
        if self.coarse is not None:
            # Of the way down one pixel, of the bilinear way up one coarse pixel and a half.
            radius += 1 + _COARSE * reach(self.coarse) + math.ceil(1.5 * _COARSE)
        fine = reach(self.tail) + reach(self.last) + self.low_pass
        if self.scale is not None:
            fine += reach(self.scale)
        radius += math.ceil((fine + 0.5) / _UPSCALING)
        return radius + radius % self.alignment

    def forward(self, y, told):
        """
        Generate.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, n_band, ny, nx)
            Stretched images; planes of absent bands may hold anything.
        told : `~torch.Tensor`, shape (n, n_band, 7)
            See `TOLD`.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            float32; 0 in absent bands.
        """
        y = self.masked(y, told)
        features = self.features(y, told)
        with torch.autocast(y.device.type, enabled=False):
            return self.masked(self.finish(y.float(), features.float()), told)

    def forward_with_scale(self, y, told):
        """
        Generate, and say how far off each pixel may be.

        Parameters
        ----------
        y, told
            As for `forward`.

        Returns
        -------
        generated, log_scale : `~torch.Tensor`, shape (n, n_band, 2 ny, 2 nx)
            As `~splus_srgan.models.generator.SRResNet.forward_with_scale` gives them.
        """
        y = self.masked(y, told)
        features = self.features(y, told)
        with torch.autocast(y.device.type, enabled=False):
            features = features.float()
            generated = self.masked(self.finish(y.float(), features), told)
            return generated, self.scale(features, generated)

    @staticmethod
    def masked(planes, told):
        """Planes with 0 in those of absent bands, whatever these held."""
        present = told[:, :, 0, None, None] > 0
        return torch.where(present, planes, torch.zeros((), dtype=planes.dtype).to(planes))

    def features(self, y, told):
        """
        Everything before the last convolution; this part may run in bfloat16.

        Parameters
        ----------
        y, told
            As for `forward`, absent planes 0.

        Returns
        -------
        features : `~torch.Tensor`, shape (n, n_tail_features, 2 ny, 2 nx)
            What the last convolution reads.
        """
        # What is told of an absent band says only that it is absent.
        told = (told * (told[:, :, :1] > 0)).flatten(1)
        first = x = self.first(y)
        half = len(self.blocks) // 2
        for block in self.blocks[:half]:
            x = block(x, told)
        if self.coarse is not None:
            x = x + self._wide(x, told)
        for block in self.blocks[half:]:
            x = block(x, told)
        x = self.join(x) + first
        return self.tail(self.upsample(x))

    def _wide(self, x, told):
        """The level at half the resolution."""
        ny, nx = x.shape[-2:]
        coarse = self.down(functional.pad(x, (0, nx % _COARSE, 0, ny % _COARSE)))
        for block in self.coarse:
            coarse = block(coarse, told)
        wide = functional.interpolate(
            coarse, scale_factor=_COARSE, mode="bilinear", align_corners=False
        )
        return wide[..., :ny, :nx]

    def finish(self, y, features, planes=slice(None)):
        """
        The last convolution, the skip from the input and the low pass, in float32.

        Parameters
        ----------
        y : `~torch.Tensor`, shape (n, n_plane, ny, nx)
            Stretched images of the planes.
        features : `~torch.Tensor`, shape (n, n_tail_features, 2 ny, 2 nx)
            Result of `features`.
        planes : slice or list of int, optional
            Which of the bands to make.

        Returns
        -------
        fine : `~torch.Tensor`, shape (n, n_plane, 2 ny, 2 nx)
            Generated images.
        """
        made = functional.conv2d(
            features, self.last.weight[planes], self.last.bias[planes], padding=1
        )
        upsampled = functional.interpolate(
            y, scale_factor=_UPSCALING, mode="bicubic", align_corners=False
        )
        return low_pass(upsampled + made, self.low_pass)

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

    It takes ``(n, n_plane, ny, nx)`` and is used as a
    `~splus_srgan.models.generator.SRResNet` of these bands.

    Parameters
    ----------
    generator : `JointResNet`
        Generator.
    bands, psfs, sigmas
        As for `JointResNet.tell`.
    """

    def __init__(self, generator, bands, *, psfs=None, sigmas=None):
        super().__init__()
        bands = _checked_bands(bands, generator.bands)
        psfs, sigmas = (given or [None] * len(bands) for given in (psfs, sigmas))
        self.generator, self.bands = generator, bands
        self.planes = [generator.bands.index(band) for band in bands]
        told = torch.zeros(1, len(generator.bands), len(TOLD))
        for plane, band, psf, sigma in zip(self.planes, bands, psfs, sigmas, strict=True):
            told[0, plane] = torch.from_numpy(told_values(band, psf=psf, sigma=sigma))
        self.register_buffer("told", told)
        self.options = generator.options | {"n_bands": len(bands)}

    @property
    def receptive_field_radius(self):
        """That of the generator."""
        return self.generator.receptive_field_radius

    @property
    def alignment(self):
        """That of the generator."""
        return self.generator.alignment

    @property
    def last(self):
        """The last convolution of the generator."""
        return self.generator.last

    @property
    def scale(self):
        """The head of the generator that predicts a scale, or `None`."""
        return self.generator.scale

    def _all_planes(self, planes):
        empty = torch.zeros_like(planes[:, :1])
        places = {plane: k for k, plane in enumerate(self.planes)}
        every = range(len(self.generator.bands))
        return torch.cat(
            [planes[:, places[n] : places[n] + 1] if n in places else empty for n in every], 1
        )

    def features(self, y):
        """As `JointResNet.features`, of the bands of the field alone."""
        told = self.told.expand(y.shape[0], -1, -1)
        return self.generator.features(self._all_planes(y), told)

    def finish(self, y, features):
        """As `JointResNet.finish`, of the bands of the field alone."""
        return self.generator.finish(y, features, self.planes)

    def log_scale(self, features, generated):
        """As `~splus_srgan.models.generator.SRResNet.log_scale`, of the bands of the field."""
        return self.generator.scale(features, self._all_planes(generated))[:, self.planes]

    def forward(self, y):
        """Generate the bands of the field, ``(n, n_plane, 2 ny, 2 nx)``."""
        features = self.features(y)
        with torch.autocast(y.device.type, enabled=False):
            return self.finish(y.float(), features.float())

    def forward_with_scale(self, y):
        """Generate, and say how far off each pixel may be."""
        features = self.features(y)
        with torch.autocast(y.device.type, enabled=False):
            features = features.float()
            generated = self.finish(y.float(), features)
            return generated, self.log_scale(features, generated)


class _ToldBlock(nn.Module):
    """Convolution, what is told as scale and shift, ReLU, convolution, and the input added."""

    def __init__(self, n_features, n_told, dilation):
        super().__init__()
        self.one = nn.Conv2d(n_features, n_features, 3, padding=dilation, dilation=dilation)
        self.two = nn.Conv2d(n_features, n_features, 3, padding=1)
        self.tell = nn.Linear(n_told, 2 * n_features)
        nn.init.zeros_(self.tell.weight)
        nn.init.zeros_(self.tell.bias)

    def forward(self, x, told):
        factor, shift = self.tell(told)[..., None, None].chunk(2, 1)
        return x + self.two(functional.relu((1 + factor) * self.one(x) + shift))


def _checked_bands(bands, known=tuple(splus.BANDS)):
    bands = tuple(bands)
    for band in bands:
        if band not in known:
            raise ValueError(f"bands must be among {', '.join(known)}; got {band!r}")
    if not bands or len(set(bands)) < len(bands):
        raise ValueError(f"bands must name at least one band, each once; got {bands!r}")
    return bands
