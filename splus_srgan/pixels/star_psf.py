# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
The PSF of an image, fitted to all of its stars together.

Stars are the compact sources of one width.  Their common profile is a Moffat core, elliptical,
lopsided, with wings beside it (`~splus_srgan.pixels.star_model.StarModel`); each star has a
flux, a position and a sky of its own, all of which enter linearly.  What they have in common
that this profile lacks is found last, as departures of core and wings.
"""

from dataclasses import dataclass

import numpy as np
from scipy import optimize

from splus_srgan.pixels.missing import missing_pixels
from splus_srgan.pixels.psf import WING_FWHM, WING_SHARE, psf_image
from splus_srgan.pixels.star_model import CORE_NODES, WING_NODES, StarModel
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
_KNOWN_WINGS = 0.03  # error of a share that is told
_BETA_PRIOR = (np.log(3.9), 0.4)
_SHAPE_PRIOR = (0.1, 0.1, 0.05, 0.05)  # ellipticity, coma
_SKY_ERROR = 0.3  # sky noises
_DEPARTURES = 0.06, 0.4  # prior errors, of core and wings
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
    departures : tuple of tuple of float
        Those of core and wings of the stars from that profile, as
        `~splus_srgan.pixels.star_model.StarModel` takes them; empty where the core was known.
    misfit : float
        Mean squared residual within the cores of the stars, in its error; 1 for noise.
    """

    core: tuple
    covariance: np.ndarray
    n_stars: int
    departures: tuple = ((), ())
    misfit: float = 1.0


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
        # The sky was taken off: what is left of it is small.
        self.sky_prior = np.diag([0, 0, 0, 1 / (_SKY_ERROR * sigma) ** 2])

    def solve(self, p, pixel_scale):
        """Design of flux, place and sky in units of the errors, their best values, and the rest."""
        profile = _profile(p, pixel_scale)
        design = np.ones((self.values.size, 4))
        design[:, :3] = profile.columns(self.dx, self.dy)
        design /= self.error[:, None]
        values = self.values / self.error
        solved = np.linalg.solve(design.T @ design + self.sky_prior, design.T @ values)
        return design, solved, values - design @ solved

    def departing(self, p, pixel_scale):
        """Design and rest as of `solve`, and between them the light of departures of 1."""
        design, (flux, *shift, _), left = self.solve(p, pixel_scale)
        profile, flux = _profile(p, pixel_scale), max(flux, 1e-3 * self.flux)
        dx, dy = self.dx - shift[0] / flux, self.dy - shift[1] / flux
        r, (core, wings) = np.hypot(dx, dy), profile.parts(dx, dy)
        added = np.hstack(
            [
                core[:, :1] * _hats(r / profile.fwhm, CORE_NODES),
                wings[:, :1] * _hats(r / profile.wing_fwhm, WING_NODES),
            ]
        )
        return design, flux * added / self.error[:, None], left


def _hats(r, nodes):
    """Functions (n, n_node) that are 1 at one of the nodes, linear, and 0 at all others."""
    return np.stack([np.interp(r, nodes, one) for one in np.eye(len(nodes))], axis=1)


def _profile(p, pixel_scale):
    """Profile of the parameters of a fit."""
    return StarModel(*np.exp(p[:2]), p[2], WING_FWHM / pixel_scale, tuple(p[3:5]), tuple(p[5:]))


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
        left = stamp.solve(p, self.scale)[2]
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
        departures = ((), ()) if self.fixed else self._departures()
        covariance = covariance * np.outer(scale, scale)
        return StarPSF(core, covariance, number, departures, float(self.misfit().mean()))

    def _departures(self):
        """What stars have in common that the profile lacks; linear least squares."""
        shape = (len(CORE_NODES), len(WING_NODES))
        prior = np.repeat(_DEPARTURES, shape)
        normal, target = np.diag(prior**-2.0), np.zeros(len(prior))
        for stamp in self.stamps:
            design, wanted, left = stamp.departing(self.solution, self.scale)
            weight = 1 / np.sqrt(1 + (left / 3) ** 2)[:, None]
            own = (weight * design).T @ design + stamp.sky_prior
            # Flux, place and sky of a star may be others with another profile.
            freed = wanted - design @ np.linalg.solve(own, (weight * design).T @ wanted)
            normal += freed.T @ (weight * wanted)
            target += freed.T @ (weight[:, 0] * left)
        # Beyond the last nodes, and before the first of the wings, there is none.
        free = np.setdiff1d(np.arange(len(prior)), (shape[0] - 1, shape[0], len(prior) - 1))
        found = np.zeros(len(prior))
        found[free] = np.linalg.solve(normal[np.ix_(free, free)], target[free])
        core, wings = np.split(np.maximum(found, -1), shape[:1])  # light is not negative
        return tuple(map(float, core)), tuple(map(float, wings))


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
