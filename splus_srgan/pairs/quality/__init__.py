# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whether a pair is good enough to learn or to judge from."""
