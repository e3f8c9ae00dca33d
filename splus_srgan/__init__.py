# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Super-resolution of S-PLUS images that keeps flux, WCS, masks and units.

The names are imported on first use, so that ``import splus_srgan`` stays cheap and in
particular does not load PyTorch.
"""

import lazy_loader

from splus_srgan._version import __citation__, __version__

__getattr__, __dir__, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = [*_names, "__citation__", "__version__"]
