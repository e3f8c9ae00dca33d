# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
The PSF of an image, fitted to all of its stars together.

Stars are the compact sources of one width.  Their common profile is a Moffat core, elliptical,
lopsided, with wings beside it (`~splus_srgan.pixels.star_model.StarModel`); each star has a
flux, a position and a sky of its own, all of which enter linearly.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import WING_FWHM, WING_SHARE, psf_image
from splus_srgan.pixels.star_model import DEPARTURE_RADII, StarModel
from splus_srgan.pixels.starfit import cutout, fit_moffat, half_maximum_width, half_width
from splus_srgan.utils.quiet import quiet

__all__ = ["MIN_STARS", "StarPSF", "expected_width", "find_stars", "fit_star_psf"]

MIN_STARS = 3
"""Fewer stars give no PSF: one of them may be a galaxy."""

_THRESHOLD = 12.0  # sigma of the sky, of the peak of a star
_FULL_WELL = 0.6  # of saturation, above which a peak is left out
_RADIUS = 16  # pixels around a star that are fitted
_EDGE = 6  # pixels
_STAMP = 12  # pixels from the middle of a PSF's image to its border, at least
_APART = 8.0  # pixels to a source at least a tenth as bright
_WIDTH = 0.12  # half the range of widths of stars, relative
_MANY = 25  # stars are enough
_NEAR_ENOUGH = 0.25  # of a width that peaks are found with, relative
_MODEL_ERROR = 0.03  # of the flux in a pixel: real PSFs are no Moffat profiles
_WING_PRIOR = (WING_SHARE, 0.15)
_KNOWN_WINGS = 0.03
_BETA_PRIOR = (np.log(3.9), 0.4)
_SHAPE_PRIOR = (0.1, 0.1, 0.05, 0.05)  # ellipticity, coma
_DEPARTURE_PRIOR = 0.08  # at the middle, and so much more a FWHM farther
_STEPS = (0.1, 0.3, 0.1, 0.1, 0.1, 0.03, 0.03)


@dataclass(frozen=True)
class StarPSF:
    r"""
    What the stars of an image say of its PSF.

    Attributes
    ----------
    core : tuple of float
        FWHM (pixels) and Moffat beta of the core, share of the light in the wings, the two
        components of the ellipticity, :math:`e \cos 2\theta` and :math:`e \sin 2\theta`, and of
        the coma, :math:`\kappa_x` and :math:`\kappa_y`.
    covariance : `~numpy.ndarray`, shape (7, 7)
        Covariance of these, from the scatter between stars and the noise within; 0 for what was
        known.
    n_stars : int
        Stars that were fitted.
    departure : tuple of float
        What is left of the stars beside that profile, in parts of it, at the radii of
        `~splus_srgan.pixels.star_model.DEPARTURE_RADII`; empty where the core was known.
    """

    core: tuple
    covariance: np.ndarray
    n_stars: int
    departure: tuple = ()


def find_stars(image, sigma, *, mask=None, saturation=np.inf, fwhm=2.6, most=_MANY):
    """
    Find the stars of an image: compact, alone, neither faint nor saturated, and of one width.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Image without sky.
    sigma : float
        Sky noise per pixel.
    mask : `~numpy.ndarray` of bool, shape (ny, nx), optional
        `True` is missing.
    saturation : float, optional
        Level above which a pixel is saturated.
    fwhm : float, optional
        FWHM to start from, pixels.
    most : int, optional
        Number of stars, of which half as many candidates more are looked at.

    Returns
    -------
    stars : `~numpy.ndarray`, shape (n, 4)
        x, y, flux and FWHM (pixels) of a Moffat profile, the brightest first.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.psf import psf_image
    >>> from splus_srgan.pixels.star_psf import find_stars
    >>> image = np.random.default_rng(1).normal(size=(96, 96))
    >>> for y, x in ((20, 25), (22, 70), (65, 40), (75, 80)):
    ...     image[y - 12 : y + 13, x - 12 : x + 13] += 2000 * psf_image(
    ...         (2.6, 3.5), pixel_scale=1.0, radius=12
    ...     )
    >>> len(find_stars(image, 1.0))
    4
    """
    image = np.asarray(image, float)
    missing = missing_pixels(image, mask)
    image = np.where(missing, 0.0, image)
    for _ in range(2):
        places = _candidates(image, sigma, missing, saturation, fwhm)[: most + most // 2]
        stars = _of_one_width(_fitted(image, missing, sigma, places, fwhm))
        found = float(np.median(stars[:, 3])) if len(stars) else fwhm
        if abs(np.log(found / fwhm)) < _NEAR_ENOUGH:
            break
        fwhm = found  # and once more with it
    return stars[np.argsort(-stars[:, 2])][:most]


def _candidates(image, sigma, missing, saturation, fwhm):
    """Positions (n, 2) of compact peaks that have no bright neighbor."""
    from photutils.detection import DAOStarFinder

    with quiet():
        found = DAOStarFinder(5 * sigma, fwhm).find_stars(image, mask=missing)
    if found is None:
        return np.empty((0, 2))
    names = (
        ("x_centroid", "y_centroid")
        if "x_centroid" in found.colnames
        else (
            "xcentroid",
            "ycentroid",
        )
    )
    places = np.transpose([np.asarray(found[name], float) for name in names])
    peak = np.asarray(found["peak"], float)
    distance = np.hypot(*(places[:, None] - places[None]).T)
    near = (distance < _APART) & (distance > 0) & (peak[:, None] > 0.1 * peak[None])
    size = np.array(image.shape[::-1])
    inside = ((places > _EDGE) & (places < size - 1 - _EDGE)).all(axis=1)
    bright = (peak > _THRESHOLD * sigma) & (peak < _FULL_WELL * saturation)
    chosen = inside & bright & ~near.any(axis=0)
    order = np.argsort(-peak[chosen])
    return places[chosen][order]


def _fitted(image, missing, sigma, places, fwhm):
    """Moffat profiles of the candidates that stand on an even background."""
    rows = []
    for place in places:
        cut = cutout(image, missing, place, half_width(fwhm))
        if cut is None:
            continue
        x, y, flux, width, beta, sky = np.broadcast_to(fit_moffat(cut, fwhm), 6)
        # A profile of beta 100 or 1.2 is no star; nor is what stands on a galaxy.
        peak = np.max(cut.values) - sky
        if np.isfinite(flux) and 1.3 < beta < 90 and abs(sky) < 0.1 * peak + 2 * sigma:
            rows.append((x, y, flux, width))
    return np.array(rows).reshape(-1, 4)


def _of_one_width(stars):
    """Those of the commonest width; of two as common, the smaller: galaxies are wider."""
    width = stars[:, 3]
    if not width.size:
        return stars
    like = np.abs(np.log(width[:, None] / width[None])) < _WIDTH
    number = like.sum(axis=1)
    best = np.flatnonzero(number >= 0.7 * number.max())
    middle = np.median(width[like[best[np.argmin(width[best])]]])
    return stars[np.abs(np.log(width / middle)) < _WIDTH]


def fit_star_psf(image, sigma, stars, *, pixel_scale, mask=None, core=None, wings=None):
    """
    Fit one profile to all stars.

    Parameters
    ----------
    image, sigma, mask
        As for `find_stars`.
    stars : `~numpy.ndarray`, shape (n, 4)
        As `find_stars` gives them.
    pixel_scale : float
        Arcsec per pixel: the size of the wings is known in arcsec.
    core : tuple of float, optional
        FWHM (arcsec) and beta of the core, and share of the wings, if they are known: only
        ellipticity and coma are fitted then.
    wings : float, optional
        Share of the wings, if it is known to 0.03.

    Returns
    -------
    psf : `StarPSF` or None
        `None` where fewer than `MIN_STARS` agree with it, or none at all with a known core.
    """
    least = MIN_STARS if core is None else 1
    image = np.asarray(image, float)
    missing = missing_pixels(image, mask)
    stamps = [_Stamp(image, missing, sigma, star, stars) for star in stars]
    for _ in range(2):
        if len(stamps) < least:
            return None
        fit = _JointFit(stamps, pixel_scale, float(np.median(stars[:, 3])), core, wings)
        misfit = fit.misfit()
        sound = misfit < max(3.0, 3 * np.median(misfit))
        if sound.all():
            break
        stamps = [stamp for stamp, good in zip(stamps, sound, strict=True) if good]
    if len(stamps) < least:
        return None
    return fit.result()


class _Stamp:
    """Pixels around a star, without those of its neighbors."""

    def __init__(self, image, missing, sigma, star, stars):
        x, y, self.flux, fwhm = star
        column, row = round(float(x)), round(float(y))
        ny, nx = image.shape
        rows = slice(max(row - _RADIUS, 0), min(row + _RADIUS + 1, ny))
        columns = slice(max(column - _RADIUS, 0), min(column + _RADIUS + 1, nx))
        yy, xx = np.mgrid[rows, columns].astype(float)
        used = (np.hypot(yy - y, xx - x) <= _RADIUS) & ~missing[rows, columns]
        for other in stars:
            distance = np.hypot(other[0] - x, other[1] - y)
            if 0 < distance < 2 * _RADIUS:
                used &= np.hypot(yy - other[1], xx - other[0]) > min(3 * fwhm, 0.6 * distance)
        self.values = image[rows, columns][used]
        self.dx, self.dy = (xx - x)[used], (yy - y)[used]
        self.error = np.hypot(sigma, _MODEL_ERROR * np.clip(self.values, 0, None))
        self.sigma = sigma

    def model(self, p, pixel_scale):
        """Profile, its slopes along x and y, and a level, as columns (n, 4)."""
        profile = StarModel(*np.exp(p[:2]), p[2], WING_FWHM / pixel_scale, p[3:5], p[5:])
        columns = np.ones((self.values.size, 4))
        columns[:, :3] = profile.columns(self.dx, self.dy)
        return columns


class _JointFit:
    """Least squares over the common profile; what belongs to one star is solved for inside."""

    def __init__(self, stamps, pixel_scale, fwhm, core=None, wings=None):
        self.wings = _WING_PRIOR if wings is None else (wings, _KNOWN_WINGS)
        self.stamps, self.scale, self.fixed = stamps, pixel_scale, ()
        start = np.array([np.log(0.95 * fwhm), _BETA_PRIOR[0], self.wings[0], 0, 0, 0, 0])
        low = np.array([start[0] - 0.7, np.log(1.5), 0.0, -0.5, -0.5, -0.2, -0.2])
        high = np.array([start[0] + 0.7, np.log(20.0), 0.8, 0.5, 0.5, 0.2, 0.2])
        if core is not None:
            self.fixed = np.log(core[0] / pixel_scale), np.log(core[1]), core[2]
        free = slice(len(self.fixed), None)
        self.found = optimize.least_squares(
            self._residual,
            start[free],
            bounds=(low[free], high[free]),
            x_scale=_STEPS[free],
            ftol=1e-5,
        )
        self.solution = np.array([*self.fixed, *self.found.x])

    def _one(self, stamp, p):
        """Weighted residual of a star, robust."""
        design = stamp.model(p, self.scale) / stamp.error[:, None]
        values = stamp.values / stamp.error
        normal = design.T @ design
        # The sky was taken off: what is left of it is small.
        normal[3, 3] += 1 / (0.3 * stamp.sigma) ** 2
        left = values - design @ np.linalg.solve(normal, design.T @ values)
        # As of the loss soft_l1, with a scale of three sigma: neighbors have little weight.
        return 3 * np.sign(left) * np.sqrt(2 * (np.sqrt(1 + (left / 3) ** 2) - 1))

    def _residual(self, free):
        p = np.array([*self.fixed, *free])
        priors = [
            (p[2] - self.wings[0]) / self.wings[1],
            (p[1] - _BETA_PRIOR[0]) / _BETA_PRIOR[1],
            *(p[3:] / _SHAPE_PRIOR),
        ]
        return np.concatenate([*(self._one(stamp, p) for stamp in self.stamps), priors])

    def misfit(self):
        """Mean squared residual within the core of each star."""
        near = [np.hypot(s.dx, s.dy) < np.exp(self.solution[0]) * 1.5 for s in self.stamps]
        residuals = [self._one(stamp, self.solution) for stamp in self.stamps]
        return np.array([np.mean(r[n] ** 2) for r, n in zip(residuals, near, strict=True)])

    def result(self):
        """The profile, with errors that hold the scatter between stars."""
        jacobian, residual = self.found.jac, self.found.fun
        inverse = np.linalg.inv(jacobian.T @ jacobian)
        ends = np.cumsum([stamp.values.size for stamp in self.stamps])
        gradients = [
            j.T @ r
            for j, r in zip(
                np.split(jacobian, ends)[:-1], np.split(residual, ends)[:-1], strict=True
            )
        ]
        number = len(self.stamps)
        scatter = np.einsum("ki,kj->ij", gradients, gradients) * number / max(number - 2, 1)
        covariance = np.zeros((len(_STEPS),) * 2)
        free = slice(len(self.fixed), None)
        covariance[free, free] = inverse @ scatter @ inverse + inverse
        fwhm, beta = np.exp(self.solution[:2])
        scale = np.array([fwhm, beta, 1, 1, 1, 1, 1])
        core = (float(fwhm), float(beta), *map(float, self.solution[2:]))
        departure = () if self.fixed else self._departure()
        return StarPSF(core, covariance * np.outer(scale, scale), number, departure)

    def _departure(self):
        """What stars have in common that the profile lacks, by radius; linear least squares."""
        radii = np.array(DEPARTURE_RADII)
        number = len(radii)
        normal = np.diag(1 / (_DEPARTURE_PRIOR * (1 + radii)) ** 2)
        target = np.zeros(number)
        for stamp in self.stamps:
            design = stamp.model(self.solution, self.scale) / stamp.error[:, None]
            own = design.T @ design
            own[3, 3] += 1 / (0.3 * stamp.sigma) ** 2
            values = stamp.values / stamp.error
            solved = np.linalg.solve(own, design.T @ values)
            left = values - design @ solved
            flux = max(solved[0], 0.0)
            r = np.hypot(stamp.dx - solved[1] / solved[0], stamp.dy) / np.exp(self.solution[0])
            hats = np.stack([np.interp(r, radii, one) for one in np.eye(number)], axis=1)
            hats *= flux * design[:, :1]
            weight = 1 / np.sqrt(1 + (left / 3) ** 2)
            # Flux, place and sky of a star may be others with another profile.
            across = design.T @ (weight[:, None] * hats)
            inner = (design * weight[:, None]).T @ design
            inner[3, 3] += 1 / (0.3 * stamp.sigma) ** 2
            freed = hats - design @ np.linalg.solve(inner, across)
            normal += freed.T @ (weight[:, None] * hats)
            target += freed.T @ (weight * left)
        return tuple(map(float, np.linalg.solve(normal, target)))


def expected_width(psf, *, pixel_scale):
    """
    Width that `find_stars` gives a star without noise.

    Parameters
    ----------
    psf : tuple of float
        FWHM (arcsec) and beta of the core, and share of the wings.
    pixel_scale : float
        Arcsec per pixel.

    Returns
    -------
    fwhm : float
        Pixels; NaN where the PSF has no width that could be measured.
    """
    # The wings widen what is fitted, by less than a half.
    middle = max(_STAMP, half_width(1.5 * psf[0] / pixel_scale))
    image = psf_image(psf, pixel_scale=pixel_scale, radius=middle)
    fwhm = half_maximum_width(image, factor=1)
    if not np.isfinite(fwhm):
        return np.nan
    place = np.array([middle, middle])
    cut = cutout(image, np.zeros(image.shape, bool), place, half_width(fwhm))
    return np.nan if cut is None else float(fit_moffat(cut, fwhm)[3])
