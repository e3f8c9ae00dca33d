# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Missing pixels: where a survey has none, and what to put there."""

import numpy as np
from scipy import ndimage

__all__ = ["REACH", "blank_border", "fill_missing"]

_SCALES = (1, 2, 4, 8)
_TRUNCATE = 3
_MIN_BLANK = 8
_BLOCK = 128

REACH = _TRUNCATE * _SCALES[-1]
"""How far (pixels, along each axis) a filled pixel looks for valid ones."""


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
    >>> from splus_srgan._fill import blank_border
    >>> data = np.random.default_rng(1).normal(size=(20, 20))
    >>> data[:3] = 0
    >>> int(blank_border(data).sum())
    60
    """
    zero = data == 0
    border = np.concatenate([zero[0], zero[-1], zero[:, 0], zero[:, -1]])
    if not border.any():
        return np.zeros(data.shape, dtype=bool)
    labels, count = ndimage.label(zero)
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    lone = sizes[1:][sizes[1:] < _MIN_BLANK].sum()
    if lone > 1e-3 * (data.size - zero.sum()):
        return np.zeros(data.shape, dtype=bool)
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    wanted = [label for label in touching if label and sizes[label] >= _MIN_BLANK]
    selected = np.zeros(count + 1, dtype=bool)
    selected[wanted] = True
    return selected[labels]


def fill_missing(data, mask, *, default=None):
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
    >>> from splus_srgan._fill import fill_missing
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
