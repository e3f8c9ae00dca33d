# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The enhancer: from images to sharper ones on a grid of half the pixel size."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
