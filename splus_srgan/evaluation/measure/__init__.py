# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What is measured of an enhanced image: one module a question."""
