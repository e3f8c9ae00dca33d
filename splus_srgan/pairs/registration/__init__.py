# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Where one image lies on another."""
