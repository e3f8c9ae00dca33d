# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whether an enhanced image may be trusted, and for what."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
