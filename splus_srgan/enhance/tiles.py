# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Cut a large image into sections, and sections into blocks; the result is that of the whole image.

A section is in memory as a whole; a block is what the generator sees at once.  Each is processed
with a margin as wide as its result depends on, which is then cut off: so the result does not
depend on where sections and blocks lie, and memory does not grow with the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.pixels.fine_grid import FACTOR
from splus_srgan.utils.validate import check_integer
from splus_srgan.utils.windows import SIDE_MULTIPLE, equal_parts, windows

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from splus_srgan.utils.types import FloatArray, ProgressBar

__all__ = [
    "MIN_BLOCK",
    "SIDE",
    "Section",
    "block_shape",
    "generate_blocks",
    "sections",
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
    slice(0, 100, None) slice(0, 103, None) slice(0, 111, None)
    slice(100, 200, None) slice(97, 200, None) slice(89, 200, None)
    """
    side = max(side, *shape) if max(shape) <= _ONE_PIECE * side else side
    axes = [_along(length, margin, halo, side) for length in shape]
    return [Section(*zip(*places, strict=True)) for places in product(*axes)]


def _along(length: int, margin: int, halo: int, side: int) -> list[tuple[slice, ...]]:
    """Kept, generated and needed pixels along an axis, for each part of it."""
    kept = equal_parts(length, side)
    generated = windows(kept, margin=margin, length=length)
    needed = windows(generated, margin=halo, length=length)
    places = zip(kept, generated, needed, strict=True)
    return [tuple(slice(*ends) for ends in place) for place in places]


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
    block_size: int | tuple[int, int],
    n_planes: int | None = None,
    region: tuple[slice, ...] | None = None,
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
    block_size : int or tuple of int
        Side of a block in input pixels, or its rows and columns, without its halo; at least 16.
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
    sides = block_size if isinstance(block_size, tuple) else (block_size, block_size)
    for side in sides:
        check_integer("block_size", side, minimum=MIN_BLOCK)
    check_integer("radius", radius, minimum=0)
    region = (slice(None), slice(None)) if region is None else region
    ends = [part.indices(n)[:2] for part, n in zip(region, image.shape[1:], strict=True)]
    region = tuple(slice(*part) for part in ends)
    axes = [
        _windowed(*part, side, radius, n)
        for part, side, n in zip(ends, sides, image.shape[1:], strict=True)
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
    seen = windows(parts, margin=radius, length=length, multiple=SIDE_MULTIPLE)
    return [(slice(*part), slice(*ends)) for part, ends in zip(parts, seen, strict=True)]


def block_shape(
    region: tuple[slice, ...], shape: tuple[int, ...], *, radius: int, pixels: int
) -> tuple[int, int]:
    """
    Shape of the blocks in which the least is seen twice.

    Parameters
    ----------
    region : tuple of slice
        Rows and columns to generate.
    shape : tuple of int
        ``(ny, nx)`` of the image.
    radius : int
        Radius of the engine's receptive field in input pixels.
    pixels : int
        Input pixels that the engine may see at once, with the halo.

    Returns
    -------
    shape : tuple of int
        Rows and columns of a block without its halo, at least 16.

    Examples
    --------
    >>> from splus_srgan.enhance.tiles import block_shape
    >>> whole = slice(0, 1000), slice(0, 1000)
    >>> block_shape(whole, (1000, 1000), radius=48, pixels=1_000_000)
    (1000, 1000)
    >>> block_shape(whole, (1000, 1000), radius=48, pixels=600_000)
    (500, 1000)
    """
    axes = [
        _choices(part.start, part.stop, radius, n) for part, n in zip(region, shape, strict=True)
    ]
    # Rows first where two are alike: a wide block lies in memory in one piece.
    fit = [
        (ny * seen_y * nx * seen_x, -size_x, size_y)
        for ny, seen_y, size_y in axes[0]
        for nx, seen_x, size_x in axes[1]
        if seen_y * seen_x <= pixels
    ]
    if not fit:
        return axes[0][-1][2], axes[1][-1][2]
    _, size_x, size_y = min(fit)
    return size_y, -size_x


def _choices(start: int, stop: int, radius: int, length: int) -> list[tuple[int, int, int]]:
    """Number of parts of an axis, length of their windows and of the longest, in each way."""
    choices = []
    for number in range(1, (stop - start) // MIN_BLOCK + 2):
        size = max(MIN_BLOCK, -(-(stop - start) // number))
        parts = _windowed(start, stop, size, radius, length)
        seen = parts[0][1]
        choices.append((len(parts), seen.stop - seen.start, size))
    return choices
