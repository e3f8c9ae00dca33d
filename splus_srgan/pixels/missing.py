# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Missing pixels: where a survey has none, and what to put there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage, sparse

from splus_srgan.pixels.lazy import row_strips
from splus_srgan.utils.floats import numpy_defaults

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from splus_srgan.utils.types import BoolArray, FloatArray

__all__ = ["REACH", "blank_border", "fill_missing", "missing_pixels", "without_exposure"]

_SCALES = (1, 2, 4, 8)
_TRUNCATE = 3
_MIN_BLANK = 8
_BLOCK = 128
_MESH = 8
_STRIP = 128  # rows that are looked at together, of whole meshes
_QUIET = 0.25  # of the usual noise; one exposure instead of six has 2.4 times the noise

REACH = _TRUNCATE * _SCALES[-1]
"""How far (pixels, along each axis) a filled pixel looks for valid ones."""


def missing_pixels(data: ArrayLike, mask: ArrayLike | None = None) -> BoolArray:
    """
    Find the pixels without a value: masked, NaN or infinite.

    Parameters
    ----------
    data : array_like, shape (..., ny, nx)
        Any numbers.
    mask : array_like of bool or None, optional
        `True` is missing; broadcasts to the shape of ``data``.

    Returns
    -------
    missing : `~numpy.ndarray` of bool, shape (..., ny, nx)
        A new array.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.missing import missing_pixels
    >>> missing_pixels([1.0, np.nan, -np.inf, 4.0], [True, False, False, False])
    array([ True,  True,  True, False])
    """
    missing = ~np.isfinite(data)
    if mask is not None:
        missing |= np.asarray(mask, bool)
    return missing


def blank_border(data):
    """
    Find the pixels that a survey filled with zero where its image ends.

    A block counts if it is at least 8 connected pixels of exactly 0 and
    touches the border. Where single zeros are common, zero is an ordinary
    value of coarsely quantised data, and nothing counts.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Floating-point image; real noise is hardly ever exactly 0.

    Returns
    -------
    blank : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` where there is no image.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.missing import blank_border
    >>> data = np.random.default_rng(1).normal(size=(20, 20))
    >>> data[:3] = 0
    >>> int(blank_border(data).sum())
    60
    """
    zero = np.zeros(data.shape, dtype=bool)
    strips = row_strips(len(zero), _STRIP)
    for rows in strips:
        zero[rows] = data[rows] == 0
    border = np.concatenate([zero[0], zero[-1], zero[:, 0], zero[:, -1]])
    found = _Regions(zero, strips) if border.any() else None
    if found is None or found.lone > 1e-3 * (zero.size - np.count_nonzero(zero)):
        zero[...] = False
        return zero
    kept = found.touching & (found.sizes >= _MIN_BLANK)
    for k, rows in enumerate(strips):
        zero[rows] = kept[found.labels(k)]
    return zero


class _Regions:
    """
    Connected zeros of a large image: strip by strip, since labels take four times its memory.

    Attributes
    ----------
    sizes, touching : `~numpy.ndarray`
        By number of a region: its pixels, and whether it touches the border.
    lone : int
        Pixels of regions that are too small to count.
    """

    def __init__(self, zero, strips):
        self._zero, self._strips = zero, strips
        self._first, sizes, touching, pairs, last = [], [np.zeros(1, int)], [[0]], [], None
        number = 1  # no region has the number 0
        for k, rows in enumerate(strips):
            labels, count = ndimage.label(zero[rows])
            self._first.append(number - 1)
            sizes.append(np.bincount(labels.ravel(), minlength=count + 1)[1:])
            labels[labels > 0] += number - 1
            ends = [labels[:, 0], labels[:, -1]]
            ends += [labels[0]] if k == 0 else []
            ends += [labels[-1]] if k == len(strips) - 1 else []
            touching.append(np.unique(np.concatenate(ends)))
            if last is not None:
                both = (last > 0) & (labels[0] > 0)
                pairs.append(np.unique(np.stack([last[both], labels[0][both]]), axis=1))
            last = labels[-1].copy()
            number += count
        self._region = _joined(pairs, number)
        self.sizes = np.bincount(self._region, np.concatenate(sizes)).astype(int)
        self.touching = np.zeros(len(self.sizes), bool)
        self.touching[self._region[np.unique(np.concatenate(touching))]] = True
        self.touching[0] = False
        self.lone = self.sizes[self.sizes < _MIN_BLANK].sum()

    def labels(self, k):
        """Numbers of the regions in a strip; 0 is none."""
        labels, _ = ndimage.label(self._zero[self._strips[k]])
        labels[labels > 0] += self._first[k]
        return self._region[labels]


def _joined(pairs, number):
    """One number for all labels that belong together; that of label 0 is 0."""
    if not pairs:
        return np.arange(number)
    one, other = np.concatenate(pairs, axis=1)
    graph = sparse.coo_array((np.ones(len(one), bool), (one, other)), shape=(number, number))
    return sparse.csgraph.connected_components(graph, directed=False)[1]


def without_exposure(data):
    """
    Find the pixels at the border of an image that no exposure reached.

    They are exact zeros (`blank_border`) or, where zeros went through resampling and
    lossy compression, next to noise-free: meshes of 8 x 8 pixels with less than a
    quarter of the noise of the median mesh, at least 1 % of the image, connected to the
    border or to the zeros.
    No number of exposures makes sky that quiet.

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (ny, nx)
        Floating-point image.

    Returns
    -------
    missing : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` where there is no image.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.missing import without_exposure
    >>> data = np.random.default_rng(1).normal(size=(64, 64))
    >>> data[:16] *= 0.07
    >>> without_exposure(data)[:, 5].sum()
    np.int64(16)
    """
    blank = blank_border(data)
    rows, columns = (n // _MESH for n in data.shape)
    if min(rows, columns) < 3:
        return blank
    noise = np.concatenate(
        [_mesh_noise(data, blank, some, columns) for some in row_strips(rows, _STRIP // _MESH)]
    )
    if np.isnan(noise).all():
        return blank
    with np.errstate(invalid="ignore"):
        quiet = noise < _QUIET * np.nanmedian(noise)
    # A few quiet meshes are chance, where the pixels are finer than the image, or a saturated star.
    fewest = max(3, 0.01 * rows * columns)
    labels, count = ndimage.label(quiet | np.isnan(noise))
    sizes = np.bincount(labels[quiet], minlength=count + 1)
    quiet &= _at_the_border(labels, sizes, fewest)
    if quiet.any():
        # Rows and columns beyond the last whole mesh are of it.
        y, x = (np.minimum(np.arange(n) // _MESH, n // _MESH - 1) for n in data.shape)
        for part in row_strips(len(blank), _STRIP):
            blank[part] |= quiet[np.ix_(y[part], x)]
    return blank


def _at_the_border(labels, sizes, least):
    """Where the labelled regions are that touch the border and are of at least this size."""
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    selected = np.zeros(len(sizes), dtype=bool)
    selected[[label for label in touching if label and sizes[label] >= least]] = True
    return selected[labels]


def _mesh_noise(data, blank, rows, columns):
    """Noise of each mesh, from second differences along x: no slope counts; NaN where all blank."""
    here = slice(rows.start * _MESH, rows.stop * _MESH), slice(0, columns * _MESH)
    rows = rows.stop - rows.start
    cut = np.array(data[here], np.float32)
    cut[~np.isfinite(cut)] = 0
    blank = _meshes(blank[here], rows, columns)
    cut = _meshes(cut, rows, columns)
    curve = np.abs(cut[..., 1:-1] - (cut[..., :-2] + cut[..., 2:]) / 2).reshape(rows, columns, -1)
    blank = (blank[..., 1:-1] | blank[..., :-2] | blank[..., 2:]).reshape(rows, columns, -1)
    noise = np.median(curve, axis=-1)
    # Few meshes are partly blank; the median without NaN is much faster.
    partly = blank.any(axis=-1) & ~blank.all(axis=-1)
    noise[partly] = np.nanmedian(np.where(blank[partly], np.nan, curve[partly]), axis=-1)
    noise[blank.all(axis=-1)] = np.nan
    return noise


def _meshes(plane, rows, columns):
    """View ``(rows, columns, 8, 8)`` of a plane cut into meshes."""
    return plane.reshape(rows, _MESH, columns, _MESH).transpose(0, 2, 1, 3)


@numpy_defaults
def fill_missing(
    data: FloatArray, mask: BoolArray, *, default: ArrayLike | None = None
) -> FloatArray:
    r"""
    Replace missing pixels by what lies around them.

    A normalised convolution: over the valid pixels :math:`v` with weights
    :math:`w = 1`, missing ones with :math:`w = 0`,

    .. math:: d(x) = (G * w v)(x) / (G * w)(x),

    with a Gaussian :math:`G` of 1 pixel, and of 2, 4 and 8 where too
    little is valid within the narrower one (Knutsson and Westin 1993).

    Parameters
    ----------
    data : `~numpy.ndarray`, shape (n_band, ny, nx) or (ny, nx)
        Floating; not modified. Bands are filled separately.
    mask : `~numpy.ndarray` of bool
        `True` is missing; same shape. Pixels that are not finite must be among them.
    default : float or array_like of shape (n_band,), optional
        Value of pixels further than `REACH` from any valid one. By default
        they take the value of the nearest pixel that has one; with a value
        here the result depends on nothing further away than `REACH`, so that
        blocks with such a margin are filled like the whole image.

    Returns
    -------
    filled : `~numpy.ndarray`
        Finite everywhere, of the shape and dtype of ``data``; valid pixels are untouched.

    Raises
    ------
    ValueError
        If shapes differ, an unmasked pixel is not finite, or a band has no
        valid pixel and no ``default``.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.missing import fill_missing
    >>> data = np.array([[1.0, np.nan, 1.0]])
    >>> fill_missing(data, np.isnan(data))
    array([[1., 1., 1.]])
    """
    data, mask = np.asarray(data), np.asarray(mask, dtype=bool)
    if data.shape != mask.shape:
        raise ValueError(f"mask must have the shape of data, {data.shape}; got {mask.shape}")
    filled = np.array(data)
    planes = filled.reshape(-1, *data.shape[-2:])
    masks = mask.reshape(planes.shape)
    defaults = [None] * len(planes) if default is None else np.broadcast_to(default, len(planes))
    for plane, missing, value in zip(planes, masks, defaults, strict=True):
        if missing.any():
            _fill_plane(plane, missing, value)
        if not np.isfinite(plane).all():
            raise ValueError("mask must cover every pixel that is not finite; got one that is not")
    return filled


def _fill_plane(plane, missing, default):
    if missing.all():
        if default is None:
            raise ValueError("mask must leave a valid pixel in every band; got none in one")
        plane[...] = default
        return
    todo = missing.copy()
    for scale in _SCALES:
        for block in _blocks(todo):
            _smooth_into(plane, missing, todo, block, scale)
    if todo.any():
        if default is None:
            nearest = ndimage.distance_transform_edt(
                todo, return_distances=False, return_indices=True
            )
            plane[...] = plane[tuple(nearest)]
        else:
            plane[todo] = default


def _blocks(todo):
    """Give the parts of the plane in which pixels are to do; most of an image has none."""
    ny, nx = todo.shape
    for y in range(0, ny, _BLOCK):
        for x in range(0, nx, _BLOCK):
            block = slice(y, y + _BLOCK), slice(x, x + _BLOCK)
            if todo[block].any():
                yield block


def _smooth_into(plane, missing, todo, block, scale):
    # With a margin as wide as the kernel, a block is filled as the whole plane would be.
    margin = _TRUNCATE * scale
    window = tuple(slice(max(part.start - margin, 0), part.stop + margin) for part in block)
    valid = ~missing[window]
    if not valid.any():
        return
    values = np.where(valid, plane[window], 0).astype(float)
    weight, total = (
        ndimage.gaussian_filter(array, scale, truncate=_TRUNCATE, mode="constant")
        for array in (valid.astype(float), values)
    )
    inner = tuple(
        slice(part.start - wide.start, part.stop - wide.start)
        for part, wide in zip(block, window, strict=True)
    )
    weight, total = weight[inner], total[inner]
    # A last resort takes what it gets; before, a wider average beats a few stray pixels.
    enough = 1e-12 if scale == _SCALES[-1] else 0.05
    here = todo[block] & (weight > enough)
    plane[block][here] = total[here] / weight[here]
    todo[block] &= ~here
