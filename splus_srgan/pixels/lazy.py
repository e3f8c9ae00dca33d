# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Planes of which a part is made when it is asked for, so that a large field is never whole."""

import math

import numpy as np

__all__ = [
    "ROWS",
    "BitPlane",
    "Converted",
    "LazyPlane",
    "Missing",
    "PlaneStack",
    "Weightless",
    "planes_of",
    "row_strips",
]

ROWS = 128
"""Rows of a plane that are looked at together."""


def row_strips(ny, rows=ROWS):
    """
    Cut a plane into strips.

    Parameters
    ----------
    ny : int
        Rows of the plane.
    rows : int, optional
        Rows of a strip.

    Returns
    -------
    strips : list of slice
        They cover all rows, in order.

    Examples
    --------
    >>> from splus_srgan.pixels.lazy import row_strips
    >>> row_strips(5, rows=3)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    return [slice(start, min(start + rows, ny)) for start in range(0, ny, rows)]


def planes_of(image):
    """
    The planes of an image of any number of axes.

    Parameters
    ----------
    image : array-like, shape (..., ny, nx)
        What can be indexed by numbers.

    Returns
    -------
    planes : list of array-like, shape (ny, nx)
        In the order of the image, without copies.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.lazy import planes_of
    >>> [plane.shape for plane in planes_of(np.zeros((3, 1, 4, 6)))]
    [(4, 6), (4, 6), (4, 6)]
    """
    if image.ndim <= 2:
        return [image]
    return [plane for k in range(len(image)) for plane in planes_of(image[k])]


class LazyPlane:
    """
    What stands for an array ``(ny, nx)``: indexing it by slices or integers gives an array.

    Subclasses have ``shape``, ``dtype`` and ``_part(rows, columns)``, which takes slices with
    start and stop.
    """

    ndim = 2
    in_file = False
    """Whether its pixels are in a file that another process may read."""

    @property
    def size(self):
        """Number of pixels."""
        return math.prod(self.shape)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, where):
        where = where if isinstance(where, tuple) else (where,)
        if Ellipsis in where:
            k = where.index(Ellipsis)
            where = where[:k] + (slice(None),) * (3 - len(where)) + where[k + 1 :]
        where += (slice(None),) * (2 - len(where))
        spans, inner = zip(*map(_span, where, self.shape), strict=True)
        return self._part(*spans)[inner]

    def __array__(self, dtype=None, copy=None):
        whole = np.empty(self.shape, self.dtype)
        for rows in row_strips(len(self)):
            whole[rows] = self[rows]
        return whole if dtype is None else whole.astype(dtype, copy=False)


def _span(index, length):
    """What to ask for along an axis, and what to take of that."""
    if not isinstance(index, slice):
        index = range(length)[index]  # an IndexError beyond the end
        return slice(index, index + 1), 0
    start, stop, step = index.indices(length)
    if step < 0:
        raise IndexError(f"slices must have a step of at least 1; got {step}")
    return slice(start, max(start, stop)), slice(None, None, step)


class BitPlane(LazyPlane):
    """
    A plane of booleans in an eighth of their memory.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``; all are `False` at first.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.lazy import BitPlane
    >>> plane = BitPlane((2, 9))
    >>> plane[1:2] = np.arange(9) > 6
    >>> plane[:, 5:9].astype(int)
    array([[0, 0, 0, 0],
           [0, 0, 1, 1]])
    """

    dtype = np.dtype(bool)

    def __init__(self, shape):
        self.shape = tuple(shape)
        self._bits = np.zeros((shape[0], -(-shape[1] // 8)), np.uint8)

    @classmethod
    def of(cls, plane):
        """Of a plane of booleans."""
        bits = cls(plane.shape)
        for rows in row_strips(len(plane)):
            bits[rows] = plane[rows]
        return bits

    def count(self):
        """How many are `True`."""
        return sum(np.count_nonzero(self[rows]) for rows in row_strips(len(self)))

    def __setitem__(self, rows, values):
        """Set whole rows, by a slice."""
        first = self._bits[rows]
        values = np.broadcast_to(values, (len(first), self.shape[1]))
        self._bits[rows] = np.packbits(values, axis=1)

    def _part(self, rows, columns):
        first = columns.start // 8
        bits = np.unpackbits(self._bits[rows, first : -(-columns.stop // 8)], axis=1)
        return bits[:, columns.start - 8 * first : columns.stop - 8 * first].view(bool)


class Converted(LazyPlane):
    """
    A plane as numbers of another kind, in native byte order.

    Parameters
    ----------
    plane : array-like, shape (ny, nx)
        What can be indexed by slices.
    dtype : `~numpy.dtype`
        What its parts become.
    """

    def __init__(self, plane, dtype):
        self._plane, self.dtype, self.shape = plane, np.dtype(dtype), plane.shape
        self.in_file = getattr(plane, "in_file", False)

    def _part(self, rows, columns):
        return np.asarray(self._plane[rows, columns], self.dtype)


class Missing(LazyPlane):
    """
    Where a plane has no value: not finite, or masked.

    Parameters
    ----------
    plane : array-like, shape (ny, nx)
        Pixels.
    masks : sequence of array-like of bool, same shape
        Each may be indexed by slices.
    """

    dtype = np.dtype(bool)

    def __init__(self, plane, masks=()):
        self._plane, self._masks, self.shape = plane, tuple(masks), plane.shape

    def _part(self, rows, columns):
        missing = ~np.isfinite(self._plane[rows, columns])
        for mask in self._masks:
            missing |= mask[rows, columns]
        return missing


class Weightless(LazyPlane):
    """
    Where a plane of weights is not above 0.

    Parameters
    ----------
    weight : array-like, shape (ny, nx)
        What can be indexed by slices.
    """

    dtype = np.dtype(bool)

    def __init__(self, weight):
        self._weight, self.shape = weight, weight.shape

    def _part(self, rows, columns):
        return ~(self._weight[rows, columns] > 0)


class PlaneStack:
    """
    Planes of one shape as an array ``(n_band, ny, nx)``.

    Parameters
    ----------
    planes : sequence of array-like, shape (ny, nx)
        Of one dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.lazy import PlaneStack
    >>> stack = PlaneStack([np.zeros((4, 6)), np.ones((4, 6))])
    >>> stack.shape, stack[:, 1:3, 2:3].shape, stack[1].shape
    ((2, 4, 6), (2, 2, 1), (4, 6))
    """

    ndim = 3

    def __init__(self, planes):
        self._planes = tuple(planes)

    @property
    def shape(self):
        """Number of planes, rows and columns."""
        return len(self), *self._planes[0].shape

    @property
    def dtype(self):
        """Kind of the pixels."""
        return self._planes[0].dtype

    def __len__(self):
        return len(self._planes)

    def __iter__(self):
        return iter(self._planes)

    def __getitem__(self, where):
        if not isinstance(where, tuple):
            return self._planes[where]
        planes = self._planes[where[0]]
        if not isinstance(planes, tuple):
            return planes[where[1:]]
        return np.stack([plane[where[1:]] for plane in planes])

    def __array__(self, dtype=None, copy=None):
        return np.stack([np.asarray(plane, dtype) for plane in self._planes])
