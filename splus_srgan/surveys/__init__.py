# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Clients of survey services, and their zero points and catalogues."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
