# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Facts about the surveys: bands, pixel scales, seeing, noise and zero points."""
