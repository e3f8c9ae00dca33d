# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Cut a large image into sections, and sections into blocks; the result is that of the whole image.

A section is in memory as a whole; a block is what the generator sees at once.  Each is processed
with a margin as wide as its result depends on, which is then cut off: so the result does not
depend on where sections and blocks lie, and memory does not grow with the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from splus_srgan.utils.types import FloatArray, ProgressBar

__all__ = [
    "MIN_BLOCK",
    "SIDE",
    "Section",
    "equal_parts",
    "generate_blocks",
    "sections",
    "window",
    "within",
]

MIN_BLOCK = 16
"""Smallest side of a block, input pixels."""

SIDE = 1024
"""Side of a section, input pixels."""

_ONE_PIECE = 1.4  # images not much larger than a section are a single one


@dataclass(frozen=True)
class Section:
    """
    A part of an image: rows and columns of the input.

    Attributes
    ----------
    kept : tuple of slice
        Pixels for which the section is made.
    generated : tuple of slice
        Generated pixels, on which ``kept`` depends.
    needed : tuple of slice
        Pixels on which the generated ones depend.
    """

    kept: tuple
    generated: tuple
    needed: tuple


def sections(shape: tuple[int, ...], *, margin: int, halo: int, side: int = SIDE) -> list[Section]:
    """
    Cut an image into sections.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the input.
    margin : int
        Distance (input pixels, along each axis) within which a pixel of the output depends on other
        generated pixels.
    halo : int
        Distance within which a generated pixel depends on the input.
    side : int, optional
        Largest side of a section; an image up to 1.4 times as large stays whole.

    Returns
    -------
    parts : list of `Section`
        Their kept parts cover the image, each pixel once.

    Examples
    --------
    >>> from splus_srgan.enhance.tiles import sections
    >>> for part in sections((50, 200), margin=3, halo=8, side=100):
    ...     print(part.kept[1], part.generated[1], part.needed[1])
    slice(0, 100, None) slice(0, 106, None) slice(0, 122, None)
    slice(100, 200, None) slice(94, 200, None) slice(78, 200, None)
    """
    side = max(side, *shape) if max(shape) <= _ONE_PIECE * side else side
    axes = [_along(length, margin, halo, side) for length in shape]
    return [Section(*zip(*places, strict=True)) for places in product(*axes)]


def _along(length: int, margin: int, halo: int, side: int) -> list[tuple[slice, ...]]:
    """Kept, generated and needed pixels along an axis, for each part of it."""
    parts = equal_parts(length, side)
    largest = max(stop - start for start, stop in parts)
    places = []
    for part in parts:
        generated = window(part, largest=largest, margin=margin, length=length)
        size = generated[1] - generated[0]
        needed = window(generated, largest=size, margin=halo, length=length)
        places.append(tuple(slice(*ends) for ends in (part, generated, needed)))
    return places


def within(
    place: tuple[slice, ...], outer: tuple[slice, ...], factor: int = 1
) -> tuple[slice, ...]:
    """
    Rows and columns of a region, counted from those of a larger one.

    Parameters
    ----------
    place, outer : tuple of slice
        Rows and columns.
    factor : int, optional
        Pixels of the array per row and column.

    Returns
    -------
    inner : tuple of slice
        The same region in an array that holds ``outer`` alone.

    Examples
    --------
    >>> from splus_srgan.enhance.tiles import within
    >>> within((slice(5, 9), slice(4, 6)), (slice(3, 12), slice(0, 7)), 2)
    (slice(4, 12, None), slice(8, 12, None))
    """
    return tuple(
        slice(factor * (part.start - wide.start), factor * (part.stop - wide.start))
        for part, wide in zip(place, outer, strict=True)
    )


def generate_blocks(
    engine: Callable[[FloatArray], FloatArray],
    image: Any,
    *,
    radius: int,
    block_size: int,
    n_planes: int | None = None,
    region: tuple[slice, slice] | None = None,
    progress_bar: ProgressBar | None = None,
    out: Any = None,
) -> Any:
    """
    Generate an image block by block.

    Of blocks that hold a single value in each band, as in the filled blank border of a field, the
    engine sees only the first.

    Parameters
    ----------
    engine : callable
        Takes a float32 `~numpy.ndarray` ``(n_band, ny, nx)`` and returns
        ``(n_planes, 2 ny, 2 nx)``, always the same for the same image.
    image : array-like, shape (n_band, ny, nx)
        Stretched image; anything that can be sliced, such as a memory map.
    radius : int
        Radius of the engine's receptive field in input pixels.
    block_size : int
        Side of a block in input pixels, without its halo; at least 16.
    n_planes : int, optional
        Number of planes that the engine returns, if it is not ``n_band``: twice as many with
        the scale of the errors.
    region : tuple of slice, optional
        Rows and columns of the image to generate; their surroundings are seen, as far as
        the image goes.  All by default.
    progress_bar : callable, optional
        Wraps the iterable over the blocks, as ``tqdm.tqdm`` does.
    out : array-like, optional
        Array for the result, such as a memory map ``(n_planes, 2 ny, 2 nx)`` (of the region).

    Returns
    -------
    generated : `~numpy.ndarray`, shape (n_planes, 2 ny, 2 nx)
        float32, of the region; ``out`` where it was given.

    Raises
    ------
    ValueError
        If ``block_size`` is below 16, or ``radius`` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.enhance.tiles import generate_blocks
    >>> def engine(image):
    ...     return image.repeat(2, 1).repeat(2, 2)
    >>> image = np.arange(900, dtype=np.float32).reshape(1, 30, 30)
    >>> result = generate_blocks(engine, image, radius=0, block_size=16)
    >>> bool((result == engine(image)).all())
    True
    """
    check_integer("block_size", block_size, minimum=MIN_BLOCK)
    check_integer("radius", radius, minimum=0)
    region = (slice(None), slice(None)) if region is None else region
    ends = [part.indices(n)[:2] for part, n in zip(region, image.shape[1:], strict=True)]
    region = tuple(slice(*part) for part in ends)
    axes = [
        _windowed(*part, block_size, radius, n)
        for part, n in zip(ends, image.shape[1:], strict=True)
    ]
    blocks = [tuple(zip(*places, strict=True)) for places in product(*axes)]
    if out is None:
        n_planes = len(image) if n_planes is None else n_planes
        out = np.empty((n_planes, *(FACTOR * (last - first) for first, last in ends)), np.float32)
    engine = _blank_once(engine)
    # One block at a time: the engine uses every core by itself.
    for kept, seen in blocks if progress_bar is None else progress_bar(blocks):
        # A copy, since torch takes no read-only array, such as one of a file.
        given = np.array(image[(slice(None), *seen)], dtype=np.float32, order="C")
        fine = engine(given)[(slice(None), *within(kept, seen, FACTOR))]
        out[(slice(None), *within(kept, region, FACTOR))] = fine
    return out


def _blank_once(engine: Callable[..., Any]) -> Callable[..., Any]:
    """
    Run an engine, but only once for all blocks of the same single value in each band.

    Such blocks are the blank border of a field, filled with the sky.  The result is the same to the
    bit, since an engine gives the same output for the same input.
    """
    known: dict[Any, Any] = {}

    def generate(given: FloatArray) -> FloatArray:
        bits, first = given.view(np.uint32), given[:, :1, :1]
        if (bits[:, -1, -1] != bits[:, 0, 0]).any() or (bits != bits[:, :1, :1]).any():
            return engine(given)
        key = given.shape, first.tobytes()
        if key not in known:
            known.clear()  # the last alone, for the sake of memory
            known[key] = np.array(engine(given))  # engines may use their buffer again
        return known[key]

    return generate


def _windowed(
    start: int, stop: int, block_size: int, radius: int, length: int
) -> list[tuple[slice, slice]]:
    """Parts of an axis between two pixels, each with its window."""
    parts = [(start + first, start + last) for first, last in equal_parts(stop - start, block_size)]
    largest = max(last - first for first, last in parts)
    options = {"largest": largest, "margin": radius, "length": length}
    return [(slice(*part), slice(*window(part, **options))) for part in parts]


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
    >>> from splus_srgan.enhance.tiles import equal_parts
    >>> equal_parts(100, 40)
    [(0, 33), (33, 66), (66, 100)]
    """
    number = -(-length // largest)
    return list(pairwise(length * k // number for k in range(number + 1)))


def window(part: tuple[int, int], *, largest: int, margin: int, length: int) -> tuple[int, int]:
    """
    Window around a part of an axis, which reaches a margin to each side.

    Parameters
    ----------
    part : tuple of int
        Start and stop.
    largest : int
        Length of the largest part.
    margin : int
        Margin on each side.
    length : int
        Pixels along the axis.

    Returns
    -------
    start, stop : int
        The length is the same for all parts, since engines prepare themselves for each shape
        of image: at the ends of the axis, a window reaches farther inwards.

    Examples
    --------
    >>> from splus_srgan.enhance.tiles import window
    >>> window((33, 66), largest=34, margin=5, length=100)
    (28, 72)
    >>> window((0, 33), largest=34, margin=5, length=100)
    (0, 44)
    """
    size = min(length, largest + 2 * margin)
    start = min(max(part[0] - margin, 0), length - size)
    return start, start + size
