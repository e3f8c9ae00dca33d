# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Small helpers that know nothing of images."""
