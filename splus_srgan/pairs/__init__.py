# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Pairs of images of one field by two surveys: registered, matched, judged and kept."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
