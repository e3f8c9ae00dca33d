# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Warnings and errors of `splus_srgan`.

Every warning descends from `SplusSrganWarning`, so one filter silences them
all; errors descend from the builtin a caller would expect.
"""

from astropy.utils.exceptions import AstropyUserWarning

__all__ = [
    "DomainWarning",
    "GridMismatchError",
    "NoSkyWarning",
    "SplusSrganWarning",
    "UncertaintyDroppedWarning",
    "WeightsError",
]


class SplusSrganWarning(AstropyUserWarning):
    """
    Base class of all warnings of this package.

    Examples
    --------
    >>> import warnings
    >>> from splus_srgan.exceptions import SplusSrganWarning
    >>> warnings.simplefilter("ignore", SplusSrganWarning)
    >>> warnings.resetwarnings()
    """


class UncertaintyDroppedWarning(SplusSrganWarning):
    """The uncertainty of the input does not hold for the output and is left out."""


class DomainWarning(SplusSrganWarning):
    """The input lies outside what the weights were trained for."""


class NoSkyWarning(SplusSrganWarning):
    """No blank sky was found in the frame, so its level is left as it is."""


class GridMismatchError(ValueError):
    """Bands that must share one pixel grid do not."""


class WeightsError(ValueError):
    """Weights are damaged, unknown, or do not suit the data."""
