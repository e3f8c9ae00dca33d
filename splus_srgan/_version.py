# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Version of the installed package."""

from importlib.metadata import version

__all__ = ["__version__"]

__version__ = version("splus_srgan")
