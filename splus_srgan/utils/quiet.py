# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Silence what fits to good and bad sources alike bring."""

import warnings
from contextlib import contextmanager

from astropy.utils.exceptions import AstropyWarning

__all__ = ["quiet"]


@contextmanager
def quiet():
    """Without warnings of astropy, photutils and numpy; results say themselves what failed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        yield
