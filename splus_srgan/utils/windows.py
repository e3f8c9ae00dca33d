# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Parts of an axis, and what each of them must see of its surroundings."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SIDE_MULTIPLE", "equal_parts", "windows"]

SIDE_MULTIPLE = 8
"""
Pixels of which the sides of windows that an engine sees are a multiple: threads share them evenly.

Else oneDNN sums in another order, where a layer reads pixels far apart.
"""


def equal_parts(length: int, largest: int) -> list[tuple[int, int]]:
    """
    Cut an axis into parts of the same length, so that none is a sliver.

    Parameters
    ----------
    length : int
        Pixels along the axis.
    largest : int
        Largest part.

    Returns
    -------
    parts : list of tuple of int
        Start and stop of each.

    Examples
    --------
    >>> from splus_srgan.utils.windows import equal_parts
    >>> equal_parts(100, 40)
    [(0, 33), (33, 66), (66, 100)]
    """
    number = -(-length // largest)
    return list(pairwise(length * k // number for k in range(number + 1)))


def windows(
    parts: Sequence[tuple[int, int]], *, margin: int, length: int, multiple: int = 1
) -> list[tuple[int, int]]:
    """
    Windows around parts of an axis, which reach a margin to each side, as far as the axis goes.

    Parameters
    ----------
    parts : list of tuple of int
        Start and stop of each.
    margin : int
        Margin on each side.
    length : int
        Pixels along the axis.
    multiple : int, optional
        The length of a window is a multiple of it, unless it is that of the axis.

    Returns
    -------
    windows : list of tuple of int
        Start and stop of each.  All are as long as the longest must be, since engines prepare
        themselves for each shape of image: at the ends of the axis, a window may reach farther
        inwards.

    Examples
    --------
    >>> from splus_srgan.utils.windows import windows
    >>> windows([(0, 33), (33, 66), (66, 100)], margin=5, length=100)
    [(0, 43), (28, 71), (57, 100)]
    """
    ends = [(max(start - margin, 0), min(stop + margin, length)) for start, stop in parts]
    size = max(stop - start for start, stop in ends)
    size = min(-(-size // multiple) * multiple, length)
    starts = [min(start, length - size) for start, _ in ends]
    return [(start, start + size) for start in starts]
