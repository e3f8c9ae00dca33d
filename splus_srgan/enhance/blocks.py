# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Generate large images block by block, with the result of the whole image.

Each block is generated with a halo as wide as the generator's receptive field,
which is then cut off: what is left does not depend on where the blocks lie.
"""

from itertools import pairwise, product

import dask
import dask.array as da
import numpy as np

from splus_srgan.utils.validate import check_integer

__all__ = ["MIN_BLOCK", "equal_parts", "generate_blocks", "lazy_blocks", "window"]

_FACTOR = 2
MIN_BLOCK = 16
"""Smallest side of a block, input pixels."""


def lazy_blocks(engine, image, *, radius, block_size, n_planes=None, region=None):
    """
    Describe the generated image as a dask array; nothing is computed yet.

    Parameters
    ----------
    engine : callable
        Takes a float32 `~numpy.ndarray` ``(n_band, ny, nx)`` and returns
        ``(n_band, 2 ny, 2 nx)``.
    image : array-like, shape (n_band, ny, nx)
        Stretched image; anything that dask can slice, such as a memory map.
    radius : int
        Radius of the engine's receptive field in input pixels.
    block_size : int
        Side of a block in input pixels, without its halo.
    n_planes : int, optional
        Planes that the engine gives, where they are not ``n_band``: twice as many with
        the scale of the errors.
    region : tuple of slice, optional
        Rows and columns of the image to generate; what lies around them is seen, as far as
        the image goes.  All by default.

    Returns
    -------
    generated : `dask.array.Array`, shape (n_planes, 2 ny, 2 nx)
        float32, ``(n_planes, ...)`` of the region; its chunks are the blocks.
    """
    n_planes = len(image) if n_planes is None else n_planes
    region = (slice(None), slice(None)) if region is None else region
    ends = [part.indices(n)[:2] for part, n in zip(region, image.shape[1:], strict=True)]
    rows, columns = (
        _with_windows(*end, block_size, radius, n)
        for end, n in zip(ends, image.shape[1:], strict=True)
    )
    blocks = [[_block(engine, image, row, column) for column in columns] for row in rows]
    return da.block(
        [
            [
                da.from_delayed(block, _fine_shape(n_planes, row[0], column[0]), dtype=np.float32)
                for block, column in zip(line, columns, strict=True)
            ]
            for line, row in zip(blocks, rows, strict=True)
        ]
    )


def generate_blocks(
    engine, image, *, radius, block_size, n_planes=None, region=None, progress_bar=None, out=None
):
    """
    Generate an image block by block.

    Parameters
    ----------
    engine, image, radius, block_size, n_planes, region
        As for `lazy_blocks`.
    progress_bar : callable, optional
        Wraps the iterable over the blocks, as ``tqdm.tqdm`` does.
    out : array-like, optional
        Where the result goes, such as a memory map ``(n_planes, 2 ny, 2 nx)`` (of the region).

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
    >>> from splus_srgan.enhance.blocks import generate_blocks
    >>> def engine(image):
    ...     return image.repeat(2, 1).repeat(2, 2)
    >>> image = np.arange(900, dtype=np.float32).reshape(1, 30, 30)
    >>> result = generate_blocks(engine, image, radius=0, block_size=16)
    >>> bool((result == engine(image)).all())
    True
    """
    check_integer("block_size", block_size, minimum=MIN_BLOCK)
    check_integer("radius", radius, minimum=0)
    options = {"radius": radius, "block_size": block_size}
    lazy = lazy_blocks(engine, image, **options, n_planes=n_planes, region=region)
    if out is None:
        out = np.empty(lazy.shape, np.float32)
    places = list(product(*(range(n) for n in lazy.numblocks[1:])))
    starts = [np.concatenate(([0], np.cumsum(sizes))) for sizes in lazy.chunks[1:]]
    for i, j in places if progress_bar is None else progress_bar(places):
        here = slice(*starts[0][i : i + 2]), slice(*starts[1][j : j + 2])
        # One block at a time: the engine uses every core by itself.
        out[(slice(None), *here)] = lazy.blocks[0, i, j].compute(scheduler="synchronous")
    return out


def equal_parts(length, largest):
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
    >>> from splus_srgan.enhance.blocks import equal_parts
    >>> equal_parts(100, 40)
    [(0, 33), (33, 66), (66, 100)]
    """
    number = -(-length // largest)
    return list(pairwise(length * k // number for k in range(number + 1)))


def _fine_shape(n_band, row, column):
    return (n_band, _FACTOR * (row[1] - row[0]), _FACTOR * (column[1] - column[0]))


def window(part, *, largest, margin, length):
    """
    Where to look for a part of an axis: around it, as far as a margin.

    Parameters
    ----------
    part : tuple of int
        Start and stop.
    largest : int
        Length of the largest part.
    margin : int
        How far to look to each side.
    length : int
        Pixels along the axis.

    Returns
    -------
    start, stop : int
        They have one distance for all parts, since engines prepare themselves for each shape
        of image: at the ends of the axis, a window reaches farther to the inside.

    Examples
    --------
    >>> from splus_srgan.enhance.blocks import window
    >>> window((33, 66), largest=34, margin=5, length=100)
    (28, 72)
    >>> window((0, 33), largest=34, margin=5, length=100)
    (0, 44)
    """
    size = min(length, largest + 2 * margin)
    start = min(max(part[0] - margin, 0), length - size)
    return start, start + size


def _with_windows(start, stop, block_size, radius, length):
    """Parts of an axis between two pixels, each with its window."""
    parts = [(start + first, start + last) for first, last in equal_parts(stop - start, block_size)]
    largest = max(last - first for first, last in parts)
    options = {"largest": largest, "margin": radius, "length": length}
    return [(part, window(part, **options)) for part in parts]


@dask.delayed(pure=False, traverse=False)
def _block(engine, image, row, column):
    """One block: cut it out with its halo, generate, cut the halo off."""
    (rows, (top, bottom)), (columns, (left, right)) = row, column
    # A copy, since torch takes no array that cannot be written to, as of a file.
    fine = engine(np.array(image[:, top:bottom, left:right], dtype=np.float32, order="C"))
    first_y, first_x = _FACTOR * (rows[0] - top), _FACTOR * (columns[0] - left)
    _, height, width = _fine_shape(1, rows, columns)
    return fine[:, first_y : first_y + height, first_x : first_x + width]
