# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""FITS files: read, write, and reserve for what is written piece by piece."""
