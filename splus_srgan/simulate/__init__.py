# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated fields, as S-PLUS and the Legacy Surveys see them, with their truth."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
