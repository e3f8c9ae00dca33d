# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Images with header, WCS and unit: how they are read, taken apart, put together and written."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
