# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""One image of a pair on the grid and at the PSF of the other."""
