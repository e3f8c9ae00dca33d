# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training of generators and discriminators, from a configuration to weights."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
