# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Times that are followed from version to version, with asv."""
