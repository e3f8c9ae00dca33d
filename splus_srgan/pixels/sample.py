# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A bounded sample of a large image."""

import numpy as np

__all__ = ["valid_windows", "gather_windows", "take_windows", "window_cuts"]

_MAX_PIXELS = 2**20  # larger images are sampled
_WINDOW = 128


def window_cuts(shape, *, side, most):
    """
    Choose windows evenly over an image; a small image is one window.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``.
    side : int
        Side of a window, pixels.
    most : int
        Windows at most; an image of no more than their pixels is taken whole.

    Returns
    -------
    cuts : list of tuple of slice
        Rows and columns.

    Examples
    --------
    >>> from splus_srgan.pixels.sample import window_cuts
    >>> window_cuts((40, 60), side=32, most=4)
    [(slice(0, 40, None), slice(0, 60, None))]
    >>> len(window_cuts((4000, 6000), side=500, most=8))
    8
    """
    if np.prod(shape) <= most * side**2:
        return [tuple(slice(0, n) for n in shape)]
    sides = [min(side, n) for n in shape]
    rows = max(1, min(shape[0] // sides[0], round(np.sqrt(most * shape[0] / shape[1]))))
    columns = max(1, min(shape[1] // sides[1], most // rows))
    starts = [
        np.linspace(0, n - own, number + 2).astype(int)[1:-1]
        for n, own, number in zip(shape, sides, (rows, columns), strict=True)
    ]
    return [
        (slice(int(y), int(y) + sides[0]), slice(int(x), int(x) + sides[1]))
        for y in starts[0]
        for x in starts[1]
    ]


def gather_windows(image, mask, *, side=512, most=8, gap=8):
    """
    Put windows of a large image one above the other, a masked gap between them.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Image; it may be a memory map.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.
    side, most
        As for `window_cuts`.
    gap : int, optional
        Rows between two windows.

    Returns
    -------
    sample : `~numpy.ndarray`, shape (my, mx)
        The image itself, if it is small.
    mask : `~numpy.ndarray` of bool, shape (my, mx)
        With the gaps.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.sample import gather_windows
    >>> image = np.zeros((3000, 3000), np.float32)
    >>> sample, mask = gather_windows(image, image != 0, side=500, most=4)
    >>> sample.shape, int(mask.any(axis=1).sum())
    ((2032, 500), 32)
    """
    cuts = window_cuts(image.shape, side=side, most=most)
    if len(cuts) == 1:
        return image[cuts[0]], mask[cuts[0]]
    width = cuts[0][1].stop - cuts[0][1].start
    between = np.zeros((gap, width), image.dtype), np.ones((gap, width), bool)
    parts = [part for cut in cuts for part in ((image[cut], mask[cut]), between)]
    images, masks = zip(*parts, strict=True)
    return np.concatenate(images), np.concatenate(masks)


def valid_windows(image, mask):
    """
    Choose where to sample a large image: evenly, among windows that are mostly valid.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Image; of more than 2**20 pixels, 64 windows of 128 x 128 are taken.
    mask : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` is missing.

    Returns
    -------
    cuts : list of tuple of slice
        Rows and columns.
    """
    if image.size <= _MAX_PIXELS:
        return [np.s_[:, :]]
    side = min(_WINDOW, *image.shape)
    ny, nx = (size // side for size in image.shape)
    ny = min(ny, max(12, 144 // nx))
    nx = min(nx, 144 // ny)
    starts = [
        np.linspace(0, size - side, count).astype(int)
        for size, count in zip(image.shape, (ny, nx), strict=True)
    ]
    cuts = [np.s_[y : y + side, x : x + side] for y in starts[0] for x in starts[1]]
    valid = [np.mean(np.isfinite(image[cut]) & ~mask[cut] & (image[cut] != 0)) for cut in cuts]
    good = [cut for cut, share in zip(cuts, valid, strict=True) if share > 0.5] or cuts
    number = min(len(good), _MAX_PIXELS // side**2)
    return [good[k] for k in np.linspace(0, len(good) - 1, number).astype(int)]


def take_windows(image, mask, cuts):
    """
    Take windows out of an image.

    Parameters
    ----------
    image, mask
        As for `valid_windows`.
    cuts : list of tuple of slice
        Rows and columns, all of one size.

    Returns
    -------
    windows : `~numpy.ndarray`, shape (n_window, ny, nx)
        float64.
    missing : `~numpy.ndarray` of bool, shape (n_window, ny, nx)
        Where they have no valid data.
    """
    windows = np.stack([image[cut] for cut in cuts]).astype(float)
    return windows, ~np.isfinite(windows) | np.stack([mask[cut] for cut in cuts])
