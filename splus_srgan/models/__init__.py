# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Networks, their weights, and the engines that run them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
