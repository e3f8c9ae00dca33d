# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
Register one image on another: cross-correlation first, then least squares.

The finer image is sampled at the pixels of the coarser one, which is never resampled,
and shift, rotation and scale are varied until

.. math:: \sum_k c_k \, (G_k * I)(T(x)) + b

describes it best (Lucas and Kanade 1981, with the kernel of Alard and Lupton 1998).  The
Gaussians :math:`G_k` and two even derivatives take up the difference of the PSFs, which
need not be known; being even, they leave the shift alone.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from splus_srgan.pairs.registration.cross_correlation import valid_places
from splus_srgan.pairs.registration.pixel_map import PixelMap

__all__ = ["Fit", "fit_map"]

_WIDTHS = (0.0, 0.7, 1.2, 2.0, 3.5)  # sigma of the Gaussians, pixels of the coarse image
_SHARES = (np.inf, np.inf, np.inf, 0.3, 0.03)  # of the flux: expected to lie in each of them
_MODEL_ERROR = 0.03  # of the flux: PSFs and bands differ, so that bright cores are not perfect
_HUBER = 2.5  # in units of the expected deviation
_LAGS = 3
_STEPS = 30


@dataclass(frozen=True, eq=False)
class Fit:
    """
    Result of `fit_map`.

    Attributes
    ----------
    map : `PixelMap`
        From pixels of the coarse image to those of the fine one.
    values : `~numpy.ndarray`, shape (4,)
        ``dy, dx`` (pixels of the fine image), rotation (radians), log of the scale: the
        map is the initial one, followed by this similarity about ``center``.
    errors : `~numpy.ndarray`, shape (4,)
        Standard errors; NaN where held.
    amplitude, amplitude_error : float
        Coarse over fine image, per pixel of each.
    rms : float
        Residual in units of the expected noise.
    correlation : float
        Correlation coefficient of image and model.
    significance : float
        Significance of the resemblance: the coefficient times the root of the number of pixels.
    center : `~numpy.ndarray`, shape (2,)
        ``(y, x)`` in the fine image.
    converged : bool
        Whether the fit converged.
    """

    map: PixelMap
    values: np.ndarray
    errors: np.ndarray
    amplitude: float
    amplitude_error: float
    rms: float
    correlation: float
    significance: float
    center: np.ndarray
    converged: bool


def fit_map(coarse, fine, start, *, free=(True, True, True, True)):
    """
    Fit shift, rotation and scale.

    Parameters
    ----------
    coarse, fine : `~splus_srgan.pairs.registration.cross_correlation.Picture`
        Images.
    start : `PixelMap`
        First guess, good to about the width of the PSF.
    free : tuple of bool, optional
        Which of ``dy, dx``, rotation and scale to fit; the others are held.

    Returns
    -------
    fit : `Fit`
        Result.
    """
    problem = _Problem(coarse, fine, start, free)
    values, mixture, converged = np.zeros(4), None, False
    for step in range(_STEPS):
        system = problem.system(values, mixture)
        if system is None:
            return None
        solution = system.solve()
        change = np.zeros(4)
        change[problem.free] = solution[_FIRST_MOTION:]
        change = np.clip(change, -_LARGEST, _LARGEST)
        values, mixture = values + change, solution[: len(_WIDTHS)]
        if step > 2 and np.all(np.abs(change) < _SMALL):
            converged = True
            break
    return problem.result(values, solution, system, converged)


_FIRST_MOTION = len(_WIDTHS) + 3  # after them: constant, two even derivatives
_LARGEST = np.array([2.0, 2.0, 0.05, 0.05])
_SMALL = np.array([3e-4, 3e-4, 5e-6, 5e-6])


class _Problem:
    """The compared pixels, and their equations."""

    def __init__(self, coarse, fine, start, free):
        self.coarse, self.fine, self.start = coarse, fine, start
        self.free = np.array(free, bool)
        self.center = (np.array(fine.data.shape) - 1) / 2
        self.base = start(np.indices(coarse.data.shape).astype(float))
        step = np.sqrt(abs(np.linalg.det(start.matrix)))
        self.planes = [fine.data] + [
            ndimage.gaussian_filter(fine.data, width * step, mode="nearest")
            for width in _WIDTHS[1:]
        ]
        self.splines = [ndimage.spline_filter(p, order=3, mode="nearest") for p in self.planes]

    def system(self, values, mixture):
        """Equations for the next step; `None` where the images do not overlap."""
        places = self._move(values)(self.base)
        valid = ~self.coarse.mask & valid_places(self.fine.mask, places)
        if valid.sum() < 64:
            return None
        inside = places[:, valid]
        parts = [
            ndimage.map_coordinates(spline, inside, order=3, prefilter=False, mode="nearest")
            for spline in self.splines
        ]
        truth = self.coarse.data[valid]
        if mixture is None:
            # The first guess is the image itself, blurred a little.
            mixture = np.zeros(len(parts))
            mixture[1] = max(np.sum(truth * parts[1]), 0) / max(np.sum(parts[1] ** 2), 1e-300)
        gy, gx, even, cross = (
            ndimage.map_coordinates(plane, inside, order=1, mode="nearest")
            for plane in self._slopes(mixture)
        )
        dy, dx = inside - (self.center + values[:2])[:, None]
        motion = np.stack([gy, gx, gy * dx - gx * dy, gy * dy + gx * dx])[self.free]
        design = np.vstack([*parts, np.ones_like(truth), even, cross, motion])
        model = np.tensordot(mixture, parts, 1)
        deviation = np.hypot(self.coarse.sigma, _MODEL_ERROR * model)
        # Otherwise, on a galaxy that fills the frame, the broadest Gaussian passes for sky.
        prior = np.zeros(len(design))
        least = 1e-3 * np.std(truth) / max(np.std(parts[0]), 1e-300)
        prior[: len(parts)] = 1 / (np.array(_SHARES) * max(abs(mixture.sum()), least, 1e-30))
        return _System(design, truth, valid, deviation, model, prior)

    def _slopes(self, mixture):
        """Derivatives of the fine image at the PSF of the coarse one."""
        plane = np.tensordot(mixture, self.planes, 1)
        gy, gx = np.gradient(plane)
        gyy, gyx = np.gradient(gy)
        return gy, gx, gyy - np.gradient(gx, axis=1), gyx

    def _move(self, values):
        return PixelMap.similarity(
            self.center, shift=values[:2], rotation=values[2], scale=np.exp(values[3])
        )

    def result(self, values, solution, system, converged):
        covariance, rms, correlation = system.errors(solution)
        errors = np.full(4, np.nan)
        mixed = len(_WIDTHS)
        # The larger of two estimates counts; rounding may make tiny ones negative.
        variances = np.max(np.diagonal(covariance, axis1=1, axis2=2), axis=0)
        errors[self.free] = np.sqrt(np.maximum(variances, 0))[_FIRST_MOTION:]
        ratio_variance = np.max(covariance[:, :mixed, :mixed].sum(axis=(1, 2)))
        return Fit(
            self._move(values).after(self.start),
            values,
            errors,
            float(solution[:mixed].sum()),
            float(np.sqrt(max(0, ratio_variance))),
            rms,
            correlation,
            correlation * np.sqrt(system.truth.size),
            self.center,
            converged,
        )


class _System:
    """Weighted linear equations of one step."""

    def __init__(self, design, truth, valid, deviation, model, prior):
        self.design, self.truth, self.valid, self.prior = design, truth, valid, prior
        level = np.average(truth - model, weights=deviation**-2)
        pull = np.abs(truth - model - level) / deviation
        robust = np.minimum(1, _HUBER / np.maximum(pull, 1e-12))
        self.root = np.sqrt(robust) / deviation

    def solve(self):
        """Amplitudes, constant and the step of the motion."""
        columns = self.design * self.root
        size = np.linalg.norm(columns, axis=1)
        size[size == 0] = 1
        equations = np.vstack([(columns / size[:, None]).T, np.diag(self.prior / size)])
        values = np.concatenate([self.truth * self.root, np.zeros(len(size))])
        return np.linalg.lstsq(equations, values, rcond=1e-8)[0] / size

    def errors(self, solution):
        """Covariance for residuals that are correlated, rms and correlation coefficient."""
        model = solution @ self.design
        whitened = (self.truth - model) * self.root
        columns = self.design * self.root
        size = np.linalg.norm(columns, axis=1)
        size[size == 0] = 1
        columns = columns / size[:, None]
        prior = np.diag((self.prior / size) ** 2)
        normal = np.linalg.pinv(columns @ columns.T + prior, rcond=1e-14, hermitian=True)
        scatter = float(np.sum(whitened**2) / max(1, whitened.size - len(self.design)))
        covariance = self._sandwich(normal, columns, whitened, scatter) / np.outer(size, size)
        with np.errstate(invalid="ignore", divide="ignore"):
            correlation = np.corrcoef(model * self.root, self.truth * self.root)[0, 1]
        return covariance, float(np.sqrt(scatter)), float(correlation)

    def _sandwich(self, normal, columns, whitened, scatter):
        """Two estimates: as if the noise were the same everywhere, and as it is."""
        plane = np.zeros(self.valid.shape)
        plane[self.valid] = whitened
        rho = _autocorrelation(plane)[None]
        even = ndimage.correlate(self._planes(columns), rho, mode="constant")
        near = 1 - np.abs(np.arange(-_LAGS, _LAGS + 1)) / (_LAGS + 1)
        local = self._planes(columns * whitened)
        spread = local
        for axis in (1, 2):
            spread = ndimage.correlate1d(spread, near, axis=axis, mode="constant")
        return np.stack(
            [
                normal @ (columns @ even[:, self.valid].T) @ normal * scatter,
                normal @ (local[:, self.valid] @ spread[:, self.valid].T) @ normal,
            ]
        )

    def _planes(self, columns):
        planes = np.zeros((len(columns), *self.valid.shape))
        planes[:, self.valid] = columns
        return planes


def _autocorrelation(plane):
    size = 2 * _LAGS + 1
    padded = np.pad(plane, _LAGS)
    ny, nx = plane.shape
    rho = [
        [np.sum(plane * padded[dy : dy + ny, dx : dx + nx]) for dx in range(size)]
        for dy in range(size)
    ]
    return np.array(rho) / max(np.sum(plane**2), 1e-300)
