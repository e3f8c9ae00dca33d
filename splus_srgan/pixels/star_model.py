# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The profile of stars: a core that is elliptical and lopsided, with wings beside it."""

from dataclasses import dataclass, replace

import numpy as np

from splus_srgan.pixels.psf import WING_FWHM, WINGS, moffat_alpha, moffat_profile

__all__ = ["CORE_NODES", "WING_NODES", "StarModel"]

CORE_NODES = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0)
"""Radii between which the departure of a core from its profile is linear, in FWHM of the core."""
WING_NODES = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
"""The same of the wings, in FWHM of the wings."""

_MIDDLE = 1e-9  # pixels
_SIGMA = 1 / np.sqrt(8 * np.log(2))  # of a Gaussian, in FWHM


@dataclass(frozen=True)
class StarModel:
    r"""
    PSF of an image, at any offset from the middle of a star.

    .. math:: P = (1 - w) \left[1 - s^3 (\kappa \cdot \nabla) \nabla^2
              - 2 s\, (\kappa \cdot \nabla)\right] C + w\, M, \qquad
              s = \mathrm{FWHM} / \sqrt{8 \ln 2}

    with an elliptical Moffat profile :math:`C`, the wings :math:`M`
    (`~splus_srgan.pixels.psf.psf_profile`), and to first order in :math:`\kappa` what
    `~splus_srgan.pixels.psf.coma_transfer` does to the core: the middle is where a Gaussian is
    found by a fit.  Stars that depart from this profile have a core of
    :math:`[1 + d_c(r)]` and wings of :math:`[1 + d_w(r)]` of it, with :math:`d` linear between a
    few radii and 0 beyond them; without, the total is 1.

    Attributes
    ----------
    fwhm, beta : float
        FWHM (pixels, the geometric mean of both axes) and Moffat beta of the core.
    wings : float
        Share of the light in the wings.
    wing_fwhm : float
        FWHM of the wings, pixels.
    shape : tuple of float
        Ellipticity, as :math:`e \cos 2\theta` and :math:`e \sin 2\theta`, with
        :math:`e = 1 - b/a` and the angle :math:`\theta` from x to y.
    coma : tuple of float
        :math:`\kappa` along x and y.
    core_departure, wing_departure : tuple of float
        :math:`d_c` at `CORE_NODES`, :math:`d_w` at `WING_NODES`; 0 where they are empty.
    gain : float
        Light of the core, in parts of what it is without departure.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.pixels.star_model import StarModel
    >>> y, x = np.mgrid[-40:41, -40:41]
    >>> star = StarModel(3.0, 3.5, coma=(0.03, 0.0))(x, y)
    >>> round(float(star.sum()), 3), bool((x * star).sum() > 0)
    (1.0, True)
    """

    fwhm: float
    beta: float
    wings: float = 0.0
    wing_fwhm: float = 1.0
    shape: tuple[float, float] = (0.0, 0.0)
    coma: tuple[float, float] = (0.0, 0.0)
    core_departure: tuple[float, ...] = ()
    wing_departure: tuple[float, ...] = ()
    gain: float = 1.0

    @classmethod
    def of_psf(cls, psf, *, pixel_scale):
        """Round profile of a PSF as `~splus_srgan.pixels.psf.psf_profile` takes it."""
        fwhm, beta, wings = (*psf, 0.0)[:3]
        return cls(fwhm / pixel_scale, beta, wings, WING_FWHM / pixel_scale)

    @classmethod
    def of_fit(cls, found, *, pixel_scale):
        """Profile that a `~splus_srgan.pixels.star_psf.StarPSF` found."""
        fwhm, beta, wings, e1, e2, *coma = found.core
        wing_fwhm = WING_FWHM / pixel_scale
        return cls(fwhm, beta, wings, wing_fwhm, (e1, e2), tuple(coma), *found.departures)

    def with_core(self, fwhm, beta, *, factor):
        """
        The same stars with another core, round, on finer pixels.

        Parameters
        ----------
        fwhm, beta : float
            Of the core, in the finer pixels.
        factor : int
            Finer pixels along each axis for one.

        Returns
        -------
        model : `StarModel`
            With as much light in the core, and the same wings.
        """
        return replace(
            self,
            fwhm=fwhm,
            beta=beta,
            wing_fwhm=factor * self.wing_fwhm,
            shape=(0.0, 0.0),
            coma=(0.0, 0.0),
            core_departure=(),
            gain=self.gain + self._added_light(),
        )

    def __call__(self, dx, dy):
        """
        Brightness per pixel of a star of unit flux.

        Parameters
        ----------
        dx, dy : `~numpy.ndarray`
            Offsets of pixels from the middle of the star.

        Returns
        -------
        profile : `~numpy.ndarray`
            Of the shape of ``dx``.
        """
        dx, dy = (np.asarray(part, float) for part in (dx, dy))
        return self.columns(dx.ravel(), dy.ravel())[:, 0].reshape(dx.shape)

    def columns(self, dx, dy):
        """
        Profile, and its slopes against the position of the star.

        Parameters
        ----------
        dx, dy : `~numpy.ndarray`, shape (n,)
            Offsets of pixels from the middle of the star.

        Returns
        -------
        columns : `~numpy.ndarray`, shape (n, 3)
            Profile, and minus its derivatives by ``dx`` and ``dy``.
        """
        return sum(self.parts(dx, dy))

    def parts(self, dx, dy):
        """
        Core and wings by themselves.

        Parameters
        ----------
        dx, dy
            As for `columns`, which is the sum of both.

        Returns
        -------
        core, wings : `~numpy.ndarray`, shape (n, 3)
            Columns of each.
        """
        core = self.gain * _moffat(dx, dy, self.fwhm, self.beta, self.shape)
        if any(self.coma):
            core[:, 0] += _lopsided(dx, dy, self.fwhm, self.beta, self.coma)
        wings = _moffat(dx, dy, self.wing_fwhm, WINGS[1])
        return (
            (1 - self.wings) * _departed(core, dx, dy, self.fwhm, CORE_NODES, self.core_departure),
            self.wings * _departed(wings, dx, dy, self.wing_fwhm, WING_NODES, self.wing_departure),
        )

    def _added_light(self):
        """Light that the departure adds to the core."""
        if not self.core_departure:
            return 0.0
        half = int(np.ceil(CORE_NODES[-1] * self.fwhm)) + 1
        dy, dx = np.mgrid[-half : half + 1, -half : half + 1].reshape(2, -1).astype(float)
        core, bare = (one.parts(dx, dy)[0] for one in (self, replace(self, core_departure=())))
        return float(np.sum(core[:, 0] - bare[:, 0])) / (1 - self.wings)

    def wider(self, factor):
        """The same with a core that is so many times as wide."""
        return replace(self, fwhm=factor * self.fwhm)


def _departed(columns, dx, dy, fwhm, nodes, departure):
    """A profile and its slopes, with its departure."""
    if not departure:
        return columns
    r, radii = np.hypot(dx, dy), fwhm * np.array(nodes)
    # The last one is that beyond the nodes, and before them.
    slopes = np.append(np.diff(departure) / np.diff(radii), 0.0)
    slope = slopes[np.searchsorted(radii, r, side="right") - 1]
    outward = columns[:, 0] * slope / np.maximum(r, _MIDDLE)
    columns = columns * (1 + np.interp(r, radii, departure)[:, None])
    columns[:, 1] -= outward * dx
    columns[:, 2] -= outward * dy
    return columns


def _moffat(dx, dy, fwhm, beta, shape=(0.0, 0.0)):
    """An elliptical Moffat profile of unit flux and its slopes, as columns."""
    alpha = moffat_alpha(fwhm, beta)
    stretch, twice = 1 - min(np.hypot(*shape), 0.9), np.arctan2(shape[1], shape[0])
    # The squared radius, in units of alpha, as a quadratic form; the area is kept.
    mean, half = (stretch + 1 / stretch) / 2, (stretch - 1 / stretch) / 2
    xx, yy, xy = mean + half * np.cos(twice), mean - half * np.cos(twice), half * np.sin(twice)
    along_x, along_y = (xx * dx + xy * dy) / alpha**2, (yy * dy + xy * dx) / alpha**2
    r2 = dx * along_x + dy * along_y
    profile = moffat_profile(r2, beta) / alpha**2
    slope = 2 * beta * profile / (1 + r2)
    return np.stack([profile, slope * along_x, slope * along_y], axis=1)


def _lopsided(dx, dy, fwhm, beta, coma):
    """What coma adds to a round Moffat profile, by its derivatives against the squared radius."""
    alpha2, s = moffat_alpha(fwhm, beta) ** 2, _SIGMA * fwhm
    v = dx**2 + dy**2
    below = 1 / (alpha2 + v)
    first = -beta * below * moffat_profile(v / alpha2, beta) / alpha2
    second = -(beta + 1) * below * first
    third = -(beta + 2) * below * second
    along = 2 * (coma[0] * dx + coma[1] * dy)
    return -along * (s**3 * (8 * second + 4 * v * third) + 2 * s * first)
