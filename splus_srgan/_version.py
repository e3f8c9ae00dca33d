# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Version of the installed package, and how to cite it."""

from importlib.metadata import version

__all__ = ["__citation__", "__version__"]

__version__ = version("splus_srgan")

__citation__ = f"""@software{{splus_srgan,
  author = {{{{splus_srgan developers}}}},
  title = {{splus_srgan: super-resolution of S-PLUS images}},
  version = {{{__version__}}},
  license = {{BSD-3-Clause}},
}}"""
"""BibTeX entry of this version."""
