# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Super-resolution of S-PLUS images that keeps flux, WCS, masks and units.

The names below are imported on first use, so that ``import splus_srgan``
stays cheap and in particular does not load PyTorch.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from splus_srgan.enhance.enhancer import SRGANEnhancer
    from splus_srgan.images.io.fields import read_bands, write_bands
    from splus_srgan.images.quality import Quality
    from splus_srgan.images.wcs import upsample_wcs
    from splus_srgan.pairs.match import match_pair, match_to_grid
    from splus_srgan.pixels.background import measure_background
    from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch, NoiseAsinhStretch
    from splus_srgan.simulate.field import simulate_field

__all__ = [
    "SRGANEnhancer",
    "read_bands",
    "write_bands",
    "AsinhStretch",
    "MinMaxStretch",
    "NoiseAsinhStretch",
    "upsample_wcs",
    "match_pair",
    "match_to_grid",
    "measure_background",
    "simulate_field",
    "Quality",
    "__version__",
]

__version__ = version("splus_srgan")

# Public name -> module that defines it.
_HOMES = {
    "SRGANEnhancer": "enhance",
    "read_bands": "io",
    "write_bands": "io",
    "AsinhStretch": "stretch",
    "MinMaxStretch": "stretch",
    "NoiseAsinhStretch": "stretch",
    "upsample_wcs": "wcs",
    "match_pair": "match",
    "match_to_grid": "match",
    "measure_background": "background",
    "simulate_field": "simulate",
    "Quality": "quality",
}


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    # Kept, so that the next access does not come through here.
    globals()[name] = value
    return value


def __dir__():
    return sorted({*globals(), *_HOMES})
