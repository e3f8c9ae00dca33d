# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sky level of an image, from meshes that agree with each other."""

import numpy as np
from scipy import ndimage, special

from splus_srgan.pixels.noise import smooth

__all__ = ["SkyMeshes"]

# The variance of the mean of n pixels of sky noise is this / n (resampling correlates them).
_MEAN_INFLATION = 1.3
_SCALES = (1.5, 3.0, 6.0)  # Gaussian sigmas (pixels) on which sources are looked for
_THRESHOLDS = (2.5, 2.5, 2.0)
_MESH_FLOOR = 0.02  # smallest error of a mesh level, in sigma: the sky is not perfectly flat
_MAX_MESHES = 256
_LEAST_SHARE = 0.3  # of the meshes, below which a level away from 0 is not believed
# Sky that the survey's own subtraction leaves, in sigma (S-PLUS, measured on its headers).
_RESIDUAL_SKY = 0.04
_LEAST_WEIGHT = 0.1  # of the level measured against the level expected, below which it is left
# Grids of the mixture that `_common_level` fits.
_SHARES = np.array([0.0, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.97])
_EXCESSES = np.geomspace(0.04, 30, 9)


class SkyMeshes:
    """
    Search for the sky in windows of an image.

    Parameters
    ----------
    windows : `~numpy.ndarray`, shape (n_window, ny, nx)
        Finite everywhere, 0 where missing.
    missing : `~numpy.ndarray` of bool, shape (n_window, ny, nx)
        Pixels without data.
    zero : float
        Where the sky of a sky-subtracted image lies.
    """

    def __init__(self, windows, missing, zero):
        self.windows, self.missing, self.zero = windows, missing, zero
        self.smooth = [smooth(windows, missing, width) for width in _SCALES]
        n, ny, nx = windows.shape
        side = 8 if windows.size < 200**2 else 16 if windows.size < 300**2 else 32
        rows, columns = np.arange(ny) // side, np.arange(nx) // side
        cells = np.ix_(np.arange(n), rows, columns)
        self._cell = np.ravel_multi_index(cells, (n, rows[-1] + 1, columns[-1] + 1)).ravel()
        self._needed = max(16, 0.2 * side**2)
        self._possible = np.count_nonzero(self._count(~missing) >= self._needed)

    def _count(self, pixels):
        return np.bincount(self._cell[pixels.ravel()])

    def level(self, sigma):
        """
        Sky level and its error, for a noise per pixel of ``sigma``.

        Returns
        -------
        level, error : float
            `None` and NaN where there is no sky.
        """
        shared = self._shared_level(sigma, 4)
        if shared is None:
            return None, np.nan
        start, error, flat, number = shared
        if error > 0.05 or flat * number < 8 or flat < 0.15:
            return None, np.nan
        level, error = self._with_prior(start, error, number / self._possible, sigma)
        return (None, np.nan) if level is None else (level * sigma, error * sigma)

    def level_nevertheless(self, sigma, *, subtracted):
        """
        Sky level where it is known that there is sky, from however few meshes.

        Parameters
        ----------
        sigma : float
            Noise per pixel.
        subtracted : bool
            Whether the sky was subtracted, so that a level off zero is rather light of sources:
            it is then believed only of many meshes.

        Returns
        -------
        level, error : float
            `None` and NaN where it cannot be told.
        off_zero : bool
            Whether the level is clearly not zero.
        """
        shared = self._shared_level(sigma, 2)
        if shared is None:
            return None, np.nan, False
        level, error, flat, number = shared
        share = number / self._possible
        error, total = _errors(error, share)
        zero = self.zero / sigma
        if abs(level - zero) < 4 * total:
            shrink = (_RESIDUAL_SKY / total) ** 2
            level, error = zero + shrink * (level - zero), error * np.sqrt(shrink)
            return level * sigma, error * sigma, False
        if subtracted and (share < _LEAST_SHARE or flat * number < 8):
            return None, np.nan, False
        return level * sigma, error * sigma, True

    def _shared_level(self, sigma, least):
        """
        Level that meshes share, in sigma; its error, their share, and the number of meshes.

        `None` of less than ``least`` meshes.
        """
        start, covered = None, self.missing
        for _ in range(3):
            if start is not None:
                covered = self.missing | self.sources(start, sigma)
            levels, errors = self._mesh_levels(covered, sigma)
            if levels.size < least:
                return None
            start, error, flat = _common_level(*_thin(levels, errors), start)
        return start, error, flat, levels.size

    def _with_prior(self, level, error, share, sigma):
        """Draw a level near zero to it; distrust another where most of the frame is covered."""
        error, total = _errors(error, share)
        zero = self.zero / sigma
        if abs(level - zero) >= 4 * total:
            return (level, error) if share >= _LEAST_SHARE else (None, np.nan)
        shrink = (_RESIDUAL_SKY / total) ** 2
        if shrink < _LEAST_WEIGHT:
            return None, np.nan
        return zero + shrink * (level - zero), error * np.sqrt(shrink)

    def sources(self, level, sigma):
        """Pixels that stand out of a level (sigma) on some scale, (n_window, ny, nx)."""
        found = np.zeros(self.missing.shape, bool)
        for image, width, threshold in zip(self.smooth, _SCALES, _THRESHOLDS, strict=True):
            noise = np.hypot(np.sqrt(_MEAN_INFLATION / (4 * np.pi)) / width, 0.01) * sigma
            excess = image - level * sigma
            # Negative peaks too: noise is then masked evenly. On the widest scale noise is so
            # low that this does not matter, and faint halos do.
            peaks = (np.abs(excess) if width < _SCALES[-1] else excess) > threshold * noise
            size = 2 * int(np.ceil(0.7 * width)) + 1
            found |= ndimage.maximum_filter(peaks.view(np.uint8), (1, size, size)).view(bool)
        return found

    def _mesh_levels(self, covered, sigma):
        """Mean level of each mesh with enough free pixels, and its error, in sigma."""
        free = ~covered.ravel()
        cell = self._cell[free]
        number = np.bincount(cell)
        kept = number >= self._needed
        levels = np.bincount(cell, self.windows.ravel()[free])[kept] / number[kept] / sigma
        return levels, np.hypot(np.sqrt(_MEAN_INFLATION / number[kept]), _MESH_FLOOR)


def _errors(error, share):
    """Error of a level, also together with what is left of a sky that was subtracted."""
    # What masked sources leave between them grows with the part of the frame they cover.
    error = np.hypot(error, 0.2 * (1 - share) ** 2)
    return error, np.hypot(error, _RESIDUAL_SKY)


def _thin(levels, errors):
    """An even sample of many meshes: 256 of them give the level to 0.003 sigma."""
    if levels.size <= _MAX_MESHES:
        return levels, errors
    chosen = np.linspace(0, levels.size - 1, _MAX_MESHES).astype(int)
    return levels[chosen], errors[chosen]


def _common_level(levels, errors, start):
    """
    The level that meshes share, its error, and the share of meshes that share it.

    A share of the meshes has this level, the others lie above it by an exponentially
    distributed excess; both blurred by the errors.  Posterior means with flat priors on
    level, share and the logarithm of the mean excess.
    """
    if start is None:
        low, third = np.percentile(levels, [0, 30])
        low, high = low - 0.1, low + np.clip(third - low, 1, 10)
    else:
        low, high = start - 1, start + 1
    for _ in range(2):
        grid = np.linspace(low, high, 41)
        posterior = np.exp(_log_posterior(levels, errors, grid))
        posterior /= posterior.sum()
        by_level = posterior.sum((1, 2))
        mean = by_level @ grid
        error = np.sqrt(by_level @ (grid - mean) ** 2)
        flat = posterior.sum((0, 2)) @ _SHARES
        half = 5 * max(error, 0.005)
        low, high = mean - half, mean + half
    return mean, error, flat


def _log_posterior(levels, errors, grid):
    """Log of the posterior, up to a constant, on a grid of (level, share, mean excess)."""
    offset = (levels - grid[:, None]) / errors
    common = np.exp(-0.5 * offset**2) / (errors * np.sqrt(2 * np.pi))
    posterior = np.empty((grid.size, _SHARES.size, _EXCESSES.size))
    for j, excess in enumerate(_EXCESSES):
        ratio = errors / excess
        log_tail = 0.5 * ratio**2 - offset * ratio + special.log_ndtr(offset - ratio)
        tail = np.exp(np.minimum(log_tail, 50)) / excess
        for i, share in enumerate(_SHARES):
            # A little is added for stray meshes, which would rule everything out.
            likelihood = share * common + (1 - share) * tail + 1e-6
            # One logarithm for 16 meshes: their product is far from underflow.
            products = np.multiply.reduceat(likelihood, np.arange(0, levels.size, 16), axis=1)
            posterior[:, i, j] = np.log(products).sum(axis=1)
    return posterior - posterior.max()
