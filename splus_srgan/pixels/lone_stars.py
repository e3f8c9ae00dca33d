# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Lone stars of a known PSF: found, fitted, and drawn.

Of a star, only flux and place are unknown.  A fit of these is as good as the noise allows, which
no method is that has to find the light of each pixel.
"""

from dataclasses import dataclass

import numpy as np

from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.utils.quiet import quiet
from splus_srgan.utils.windows import windows

__all__ = ["LEAST_SIGNAL", "LoneStars", "find_lone_stars"]

LEAST_SIGNAL = 40.0
"""S/N below which a star is not told from a small galaxy."""

_FULL_WELL = 0.6  # of saturation, above which a peak is left out
_PEAK = 5.0  # sky noises
_APART = 8.0  # pixels to a source at least a tenth as bright
_RADIUS = 3.0  # FWHM that a fit looks at
_CORE = 1.5  # FWHM that decide
_MODEL_ERROR = 0.02  # of the flux in a pixel, in a fit: real PSFs are no Moffat profiles
_SKY_ERROR = 0.3  # sky noises
_MISFIT = 0.07, 2.5  # of the flux in a pixel, beside the noise; mean square in units of both
_WIDTH = 0.04, 2.0  # relative width, and its errors, by which a star may differ
_FARTHEST = 1.0  # pixels from the peak
_OFFSET = 0.1  # pixels between bands
_FAINT = 1.0  # S/N below which a band does not show the star
_PLACED = 3.0  # S/N from which on it has a place of its own
_STEPS = 8
_ENOUGH = 1e-4  # pixels
_WINDOW, _MARGIN = 320, 32  # pixels that are looked at together
_LOOK = 5  # FWHM from a star to what it depends on, at most
_FAINTEST = 0.01  # sky noises: where a drawn star ends
_REACHES = np.geomspace(8, 160, 27)  # pixels


@dataclass(frozen=True)
class LoneStars:
    """
    Stars that were fitted, in pixels of the image they were found in.

    Attributes
    ----------
    x, y, flux : `~numpy.ndarray`, shape (n,)
        Places and fluxes.
    errors : `~numpy.ndarray`, shape (n, 3)
        Standard errors of flux, x and y.
    reach : `~numpy.ndarray`, shape (n,)
        Pixels from the middle, beyond which their light is lost in the noise.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    errors: np.ndarray
    reach: np.ndarray

    @classmethod
    def of_rows(cls, rows):
        """Stars of rows of x, y, flux, their three errors, and reach."""
        table = np.array(rows, float).reshape(-1, 7)
        return cls(table[:, 0], table[:, 1], table[:, 2], table[:, 3:6], table[:, 6])

    def __len__(self):
        return len(self.flux)

    def draw(self, model, place, *, factor=1, relative_error=None):
        """
        Draw the stars, or the variance of what is drawn.

        Parameters
        ----------
        model : `~splus_srgan.pixels.star_model.StarModel`
            PSF, in pixels of what is drawn.
        place : tuple of slice
            Rows and columns to be drawn, of pixels that are ``factor`` times finer than those
            of the image.
        factor : int, optional
            Pixels along each axis for one of the image.
        relative_error : float, optional
            Draw variances: those of flux and place, and of what is not known of the PSF :math:`P`,
            such a part of :math:`F P^{0.7} P_0^{0.3}`: the wings are known less well than the core.

        Returns
        -------
        light : `~numpy.ndarray`
            Flux per pixel that is drawn, as if each star were alone in the image; or its
            variance.
        """
        rows, columns = place
        light = np.zeros((rows.stop - rows.start, columns.stop - columns.start))
        for x, y, flux, errors, reach in zip(
            self.x, self.y, self.flux, self.errors, self.reach, strict=True
        ):
            # A pixel of the image is as wide as so many, of which the first has its center there.
            x, y = (factor * middle + (factor - 1) / 2 for middle in (x, y))
            own = _around(y, factor * reach, rows), _around(x, factor * reach, columns)
            if any(part.stop <= part.start for part in own):
                continue
            dy, dx = np.ogrid[own]
            dy, dx = np.broadcast_arrays(dy - y, dx - x)
            shown = np.hypot(dy, dx) <= factor * reach
            seen = model.columns(dx[shown], dy[shown])
            inner = tuple(
                slice(a.start - b.start, a.stop - b.start) for a, b in zip(own, place, strict=True)
            )
            if relative_error is None:
                light[inner][shown] += flux * seen[:, 0]
            else:
                scales = errors * (1, factor * flux, factor * flux)
                variance = np.square(seen * scales).sum(axis=1)
                peak = model(np.zeros(1), np.zeros(1))
                unknown = relative_error * flux * np.maximum(seen[:, 0], 0) ** 0.7 * peak**0.3
                light[inner][shown] += variance + np.square(unknown)
        return light


def _around(middle, reach, bounds):
    """Pixels of an axis that are within reach."""
    start = max(int(np.ceil(middle - reach)), bounds.start)
    return slice(start, max(start, min(int(np.floor(middle + reach)) + 1, bounds.stop)))


def find_lone_stars(images, sky, sigma, models, *, mask=None, saturation=None):
    r"""
    Find the stars that stand alone on an even background in all bands, and fit them.

    Parameters
    ----------
    images : `~numpy.ndarray`, shape (n_band, ny, nx)
        Images on one grid; they may lie in files, and are read in windows.
    sky, sigma : `~numpy.ndarray`, shape (n_band, 1, 1) or (n_band, ny, nx)
        Sky and its noise per pixel.
    models : sequence of `~splus_srgan.pixels.star_model.StarModel`
        PSF of each band, in pixels.
    mask : array_like of bool, shape (n_band, ny, nx), optional
        `True` is missing.
    saturation : sequence of float, optional
        Level in each image at which pixels saturate; stars with 0.6 of it are left out.

    Returns
    -------
    stars : list of `LoneStars`
        Those of each band, by row and column.

    Notes
    -----
    A star is a peak that has no other a tenth as high within 8 pixels, with S/N of
    `LEAST_SIGNAL` or more in a band.  With the PSF :math:`P`, its flux and place, and a sky of
    :math:`0 \pm 0.3` sky noises, are fitted within 3 FWHM by least squares,

    .. math:: \sum_i \left(\frac{d_i - F P_i(x, y) - s}{\epsilon_i}\right)^2, \qquad
              \epsilon^2 = \sigma^2 + (0.02\, F P)^2

    It has to be as wide as the PSF, to 4 % and two standard errors of its width, and within 1.5
    FWHM what is left has a mean square of at most 2.5 in units of
    :math:`\sigma^2 + (0.07\, F P)^2`.  In the other bands the star is fitted where it was found,
    to 0.1 pixels.  Where one of them shows something else there, it is left alone in all; a band
    that has nothing of S/N 1 at its place does not show it.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.lone_stars import find_lone_stars
    >>> from splus_srgan.pixels.star_model import StarModel
    >>> y, x = np.mgrid[:48, :48]
    >>> model = StarModel(2.6, 3.5)
    >>> image = np.random.default_rng(1).normal(size=(48, 48)) + 1000 * model(x - 20.3, y - 25)
    >>> one = np.ones((1, 1, 1))
    >>> (stars,) = find_lone_stars(image[None], 0 * one, one, [model])
    >>> len(stars), abs(float(stars.x[0]) - 20.3) < 0.1, abs(float(stars.flux[0]) - 1000) < 30
    (1, True, True)
    """
    n_band, *shape = images.shape
    rows = [[] for _ in range(n_band)]
    limits = np.full(n_band, np.inf) if saturation is None else np.asarray(saturation)
    margin = max(_MARGIN, int(_LOOK * max(model.fwhm for model in models)))
    for cut, own in _windows(shape, margin):
        seen = [
            _Band(
                *(_cut(part, k, cut) for part in (images, mask)),
                *(_level(part, k, cut) for part in (sky, sigma)),
                models[k],
                limits[k],
            )
            for k in range(n_band)
        ]
        origin = cut[1].start, cut[0].start
        for star in _stars(seen):
            x, y = (a + b for a, b in zip(star.place, origin, strict=True))
            if all(a.start <= round(v) < a.stop for a, v in zip(own, (y, x), strict=True)):
                for k, fit in star.fits.items():
                    rows[k].append(fit.row(origin))
    return [LoneStars.of_rows(sorted(one, key=lambda row: (row[1], row[0]))) for one in rows]


def _windows(shape, margin):
    """Rows and columns that are read together, and which of them are looked at there."""
    sides = [[(start, min(start + _WINDOW, n)) for start in range(0, n, _WINDOW)] for n in shape]
    wide = [windows(part, margin=margin, length=n) for part, n in zip(sides, shape, strict=True)]
    for own_y, read_y in zip(sides[0], wide[0], strict=True):
        for own_x, read_x in zip(sides[1], wide[1], strict=True):
            yield (slice(*read_y), slice(*read_x)), (slice(*own_y), slice(*own_x))


def _cut(array, k, cut):
    """Part of a band."""
    return None if array is None else np.asarray(array[k][cut])


def _level(array, k, cut):
    """Part of a map of each band, or the number that a band has."""
    return float(array[k, 0, 0]) if array.shape[1:] == (1, 1) else array[k][cut]


@dataclass
class _Star:
    """A star: place in the band where it is brightest, and its fit in each band that shows it."""

    place: tuple
    fits: dict


def _stars(bands):
    """Stars of a window that all bands agree on."""
    found = [(k, fit) for k, band in enumerate(bands) for fit in band.bright()]
    found.sort(key=lambda one: -one[1].signal)
    places, stars = [], []
    for k, fit in found:
        if any(np.hypot(fit.x - x, fit.y - y) < _FARTHEST for x, y in places):
            continue
        places.append((fit.x, fit.y))
        fits = {k: fit}
        for other, band in enumerate(bands):
            if other != k:
                fits[other] = band.fit((fit.x, fit.y), offset=_OFFSET)
        if all(one is not None for one in fits.values()):
            shown = {other: one for other, one in fits.items() if one.signal >= _FAINT}
            stars.append(_Star((fit.x, fit.y), shown))
    return stars


@dataclass
class _Fit:
    """Flux and place of a star in a band, with errors of flux, x and y."""

    x: float
    y: float
    flux: float
    signal: float
    errors: tuple
    reach: float

    def row(self, origin):
        return (self.x + origin[0], self.y + origin[1], self.flux, *self.errors, self.reach)


class _Band:
    """A part of an image, without sky."""

    def __init__(self, image, mask, sky, sigma, model, saturation):
        self.missing = missing_pixels(image, mask)
        self.image = np.where(self.missing, 0, image.astype(float) - sky)
        self.sigma = np.broadcast_to(sigma, image.shape)
        self.limit = np.broadcast_to(_FULL_WELL * (saturation - sky), image.shape)
        self.model = model

    def bright(self):
        """Fits of the peaks that are lone stars."""
        fits = (self.fit(place) for place in self._peaks())
        return [fit for fit in fits if fit is not None and fit.signal >= LEAST_SIGNAL]

    def _peaks(self):
        """Places of peaks that have no bright neighbor."""
        from photutils.detection import find_peaks

        with quiet():
            found = find_peaks(self.image, _PEAK * self.sigma, box_size=3, mask=self.missing)
        if found is None:
            return []
        places = np.transpose([np.asarray(found[name]) for name in ("x_peak", "y_peak")])
        height = np.asarray(found["peak_value"])
        distance = np.hypot(*(places[:, None] - places[None]).T)
        near = (distance < _APART) & (distance > 0) & (height[:, None] > 0.1 * height[None])
        # The peak of a star at the limit, between four pixels.
        norm = np.sqrt(np.sum(np.square(self.model(*np.mgrid[-9:10, -9:10]))))
        least = 0.7 * LEAST_SIGNAL * self.model(0.5, 0.5) / norm
        bright = height > least * self.sigma[places[:, 1], places[:, 0]]
        return places[bright & ~near.any(axis=0)]

    def fit(self, place, *, offset=np.inf):
        """Fit of a star to what is there; `None` if that is something else."""
        (x, y), radius = map(float, place), _RADIUS * self.model.fwhm
        column, row = round(x), round(y)
        half, (ny, nx), edge = int(np.ceil(radius)) + 1, self.image.shape, self.model.fwhm
        if not (edge <= x <= nx - 1 - edge and edge <= y <= ny - 1 - edge):
            return None
        cut = np.s_[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        if self.missing[cut].any() or (self.image[cut] > self.limit[cut]).any():
            return None
        yy, xx = np.mgrid[cut[0].start : min(cut[0].stop, ny), cut[1].start : min(cut[1].stop, nx)]
        sigma = self.sigma[row, column]
        weights = np.array([0, 0, 0, 1 / (_SKY_ERROR * sigma) ** 2])
        shape = self.model(xx - x, yy - y)
        flux = max(np.sum(shape * self.image[cut]) / np.sum(shape**2), 0.0)
        for number in range(_STEPS):
            used = np.hypot(yy - y, xx - x) <= radius
            values, dx, dy = self.image[cut][used], xx[used] - x, yy[used] - y
            design = np.ones((values.size, 4))
            design[:, :3] = self.model.columns(dx, dy)
            error = np.hypot(sigma, _MODEL_ERROR * flux * design[:, 0])
            scale = max(flux, sigma)
            weights[1:3] = 1 / (offset * scale) ** 2
            pull = weights[1:3] * scale * (place - np.array([x, y]))
            normal = (design / error[:, None] ** 2).T @ design + np.diag(weights)
            target = (design / error[:, None] ** 2).T @ values + (0, *pull, 0)
            solved = np.linalg.solve(normal, target)
            flux = max(solved[0], 0.0)
            norm = np.sqrt(np.sum(design[:, 0] ** 2))
            if flux * norm < _PLACED * sigma:
                step = np.zeros(2)
            else:
                step = np.clip(solved[1:3] / flux, -0.5, 0.5)
            x, y = x + step[0], y + step[1]
            if np.hypot(x - place[0], y - place[1]) > _FARTHEST:
                return None
            if number and np.hypot(*step) < _ENOUGH:
                break
        left, light = values - design @ solved, flux * design[:, 0]
        near = np.hypot(dx, dy) < _CORE * self.model.fwhm
        share, most = _MISFIT
        if np.mean(left[near] ** 2 / (sigma**2 + (share * light[near]) ** 2)) > most:
            return None
        if flux and not self._is_as_wide(dx, dy, left, error, design, flux, normal):
            return None
        excess = max(1.0, np.mean((left[near] / error[near]) ** 2))
        errors = np.sqrt(excess * np.diag(np.linalg.inv(normal)))[:3]
        errors[1:] /= max(flux, sigma)
        return _Fit(x, y, flux, flux * norm / sigma, tuple(errors), self._reach(flux, sigma))

    def _is_as_wide(self, dx, dy, left, error, design, flux, normal):
        """Whether the width that would fit best is that of the PSF."""
        step = 0.01
        slope = (self.model.wider(1 + step).columns(dx, dy)[:, 0] - design[:, 0]) / step
        weighted = flux * slope / error
        against = (design / error[:, None]).T @ weighted
        # What flux, place and sky can do in its stead does not count.
        own = weighted @ weighted - against @ np.linalg.solve(normal, against)
        width = (weighted @ (left / error)) / own
        share, times = _WIDTH
        return abs(width) < share + times / np.sqrt(own)

    def _reach(self, flux, sigma):
        seen = flux * self.model(_REACHES, np.zeros(len(_REACHES))) < _FAINTEST * sigma
        return _REACHES[np.argmax(seen)] if seen.any() else _REACHES[-1]
