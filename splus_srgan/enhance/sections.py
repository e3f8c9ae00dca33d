# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Sections of a large image, which are enhanced one after the other.

What lies farther away than a section looks has no say in it, so it comes out as it would of
the whole image, and the memory that it takes does not grow with the image.
"""

from dataclasses import dataclass
from itertools import product

from splus_srgan.enhance.blocks import equal_parts, window

__all__ = ["SIDE", "Section", "sections", "within"]

SIDE = 1024
"""Side of a section, input pixels."""

_ONE_PIECE = 1.4  # images not much larger than a section are one


@dataclass(frozen=True)
class Section:
    """
    A part of an image: rows and columns of the input.

    Attributes
    ----------
    kept : tuple of slice
        What the section is made for.
    generated : tuple of slice
        What is generated, of which ``kept`` depends.
    needed : tuple of slice
        What that depends on.
    """

    kept: tuple
    generated: tuple
    needed: tuple


def sections(shape, *, margin, halo, side=SIDE):
    """
    Cut an image into sections.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the input.
    margin : int
        How far (input pixels, along each axis) a pixel of the output depends on others that
        are generated.
    halo : int
        How far a pixel that is generated depends on the input.
    side : int, optional
        Largest side of a section; an image up to 1.4 times as large stays whole.

    Returns
    -------
    parts : list of `Section`
        What they keep covers the image, each pixel once.

    Examples
    --------
    >>> from splus_srgan.enhance.sections import sections
    >>> for part in sections((50, 200), margin=3, halo=8, side=100):
    ...     print(part.kept[1], part.generated[1], part.needed[1])
    slice(0, 100, None) slice(0, 106, None) slice(0, 122, None)
    slice(100, 200, None) slice(94, 200, None) slice(78, 200, None)
    """
    side = max(side, *shape) if max(shape) <= _ONE_PIECE * side else side
    axes = [_along(length, margin, halo, side) for length in shape]
    return [Section(*zip(*places, strict=True)) for places in product(*axes)]


def _along(length, margin, halo, side):
    """What is kept, generated and needed along an axis, for each part of it."""
    parts = equal_parts(length, side)
    largest = max(stop - start for start, stop in parts)
    places = []
    for part in parts:
        generated = window(part, largest=largest, margin=margin, length=length)
        size = generated[1] - generated[0]
        needed = window(generated, largest=size, margin=halo, length=length)
        places.append(tuple(slice(*ends) for ends in (part, generated, needed)))
    return places


def within(place, outer, factor=1):
    """
    Rows and columns of a place, counted from those of a larger one.

    Parameters
    ----------
    place, outer : tuple of slice
        Rows and columns.
    factor : int, optional
        Pixels per row and column in what they are used on.

    Returns
    -------
    inner : tuple of slice
        Of an array that holds ``outer`` alone.

    Examples
    --------
    >>> from splus_srgan.enhance.sections import within
    >>> within((slice(5, 9), slice(4, 6)), (slice(3, 12), slice(0, 7)), 2)
    (slice(4, 12, None), slice(8, 12, None))
    """
    return tuple(
        slice(factor * (part.start - wide.start), factor * (part.stop - wide.start))
        for part, wide in zip(place, outer, strict=True)
    )
