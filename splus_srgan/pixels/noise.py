# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sky noise of an image, from second differences and the photon transfer method."""

import numpy as np
from scipy import ndimage

from splus_srgan.pixels.robust import robust_std

__all__ = ["NoisePixels", "smooth"]

# Spacings (y, x) of the two second differences of each filter, and the weights that turn the
# variances of the filtered noise into that of the noise itself.  Neighbouring pixels of a
# coadd are correlated, which lowers the first variance and raises the last one.  With these
# weights sigma is right within 0.5 % for white noise and for Lanczos-3 coadds of 3 random dithers,
# and 2 % low for rho(0,1), rho(1,1), rho(0,2) = 0.12, 0.035, -0.045.
_SPACINGS = ((1, 1), (1, 2), (2, 1), (2, 2))
_WEIGHTS = np.array([0.22, 0.17, 0.17, 0.45])
_REACH = 2  # pixels from the centre of a filter to its end
_MIN_PIXELS = 64  # with fewer, sigma would be off by more than 10 % (counting statistics)
# Filtered pixels are correlated: that many have the weight of one independent pixel.
_REDUNDANCY = 3.8

# sigma in electrons, 10 (u, narrow bands) to 35 (z) in S-PLUS: sets how fast photon noise rises
# with flux.  It only matters where the frame itself does not tell.
_LOG_ELECTRONS, _LOG_ELECTRONS_ERROR = np.log(17.0), 0.45
# A given gain is believed within 15 %, and nine times in ten: headers may be wrong by 2.
_GAIN_ERROR, _GAIN_TRUST = 0.15, 0.9


def _second_difference(image, step, axis):
    """[1, -2, 1] along one axis with ``step`` pixels in between, without the outer 2 pixels."""
    image = np.moveaxis(image, axis, -1)
    size = image.shape[-1] - 2 * _REACH
    low, mid, high = (image[..., _REACH + k : _REACH + k + size] for k in (-step, 0, step))
    return np.moveaxis(low - 2 * mid + high, -1, axis)


def smooth(windows, missing, width):
    """Gaussian smoothing of each window that ignores missing pixels (which are 0)."""
    result = ndimage.gaussian_filter(windows, (0, width, width), truncate=3)
    if missing.any():
        valid = (~missing).astype(windows.dtype)
        weight = ndimage.gaussian_filter(valid, (0, width, width), truncate=3)
        result /= np.maximum(weight, 1e-3)
    return result


def _clipped_variance(values):
    """Variance of Gaussian noise, from the values within 3 sigma of 0."""
    squares = values**2
    variance = robust_std(values, center=0) ** 2 or np.mean(squares)
    for _ in range(3):
        # 0.97334 is the variance of a unit Gaussian cut at 3.
        variance = np.mean(squares[squares <= 9 * variance]) / 0.97334
    return variance


class NoisePixels:
    """
    Filtered pixels away from compact sources, in bins of rising smoothed flux.

    Parameters
    ----------
    windows : `~numpy.ndarray`, shape (n_window, ny, nx)
        Finite everywhere, 0 where missing.
    missing : `~numpy.ndarray` of bool, shape (n_window, ny, nx)
        Pixels without data.
    band : int
        Number of the band, for messages.

    Attributes
    ----------
    windows, missing : `~numpy.ndarray`
        As given, with patches of one single value made missing.
    rough_sigma : float
        Noise of the faintest quarter of the image.
    """

    def __init__(self, windows, missing, band):
        if min(windows.shape[1:]) <= 2 * _REACH:
            raise ValueError(_too_few(band, 0))
        inner = np.s_[:, _REACH:-_REACH, _REACH:-_REACH]
        valid = np.count_nonzero(~_grown(missing)[inner])
        if valid < _MIN_PIXELS:
            raise ValueError(_too_few(band, valid))
        filtered = np.stack(
            [_second_difference(_second_difference(windows, p, 1), q, 2) / 6 for p, q in _SPACINGS]
        )
        # Patches of one value (borders filled with 0, saturated cores) hold no noise, nor sky.
        flat = np.zeros_like(missing)
        flat[inner] = ~filtered.any(axis=0)
        self.missing = missing = missing | _grown(flat)
        self.windows = windows = np.where(missing, 0, windows)
        usable = ~_grown(missing)[inner]
        if np.count_nonzero(usable) < _MIN_PIXELS:
            raise ValueError(
                f"data of band {band} (counted from 0) are constant: sigma, the noise per pixel, "
                "would be 0; give sky= and sigma= instead of measuring them"
            )
        flux = smooth(windows, missing, 2.0)[inner]
        faint = usable & (flux <= np.percentile(flux[usable], 25))
        self.rough_sigma = np.sqrt(_WEIGHTS @ [_clipped_variance(h[faint]) for h in filtered])
        peaks = smooth(windows, missing, 1.2) - smooth(windows, missing, 3.5)
        usable = self._without_compact(np.abs(peaks)[inner], flux, usable)
        self._bin(filtered[:, usable], flux[usable])

    def _without_compact(self, peaks, flux, usable):
        """Leave out pixels whose filter would see a star or a knot."""
        above = np.maximum(flux - np.percentile(flux[usable], 1), 0)
        photons = above / (np.exp(_LOG_ELECTRONS) * self.rough_sigma)
        significance = peaks / (0.2 * self.rough_sigma * np.sqrt(1 + photons))
        side = 2 * _REACH + 3
        significance = ndimage.maximum_filter(significance, (1, side, side))
        clean = usable & (significance < 4.5)
        enough = max(600, 0.05 * np.count_nonzero(usable))
        if np.count_nonzero(clean) < enough:
            limit = max(4.5, np.percentile(significance[usable], 25))
            clean = usable & (significance <= limit)
        return clean if np.count_nonzero(clean) >= _MIN_PIXELS else usable

    def _bin(self, filtered, flux):
        edges = np.linspace(0, flux.size, np.clip(flux.size // 150, 3, 16) + 1).astype(int)
        bins = np.split(np.argpartition(flux, edges[1:-1]), edges[1:-1])
        self.flux = np.array([flux[k].mean() for k in bins])
        variance = np.array([[_clipped_variance(h[k]) for k in bins] for h in filtered])
        self.variance = np.maximum(variance, 1e-6 * np.median(variance))
        self.number = np.array([k.size for k in bins])

    def sigma(self, zero, gain):
        """
        Sky noise per pixel.

        Parameters
        ----------
        zero : float
            Where flux counts from.  If this is further below the faintest pixels than
            those are below the brightest, flux counts from the faintest instead.
        gain : float
            Electrons per unit of the data, or NaN.
        """
        faintest, brightest = self.flux[0], self.flux[-1]
        if faintest - zero > brightest - faintest:
            zero = faintest
        return self._photon_transfer(zero, gain)

    def _photon_transfer(self, zero, gain):
        """Fit variance against flux for a grid of gains; mean sigma."""
        scale = np.sqrt(np.median(self.variance, axis=1).min())
        flux = np.maximum(self.flux - zero, 0) / scale
        rise = np.geomspace(1.5, 1000, 64)  # flux at which photon noise equals sky noise
        linear = 1 + flux / rise[:, None]
        curve = (flux / max(flux[-1], 1e-9)) ** 2
        misfit, floors = np.zeros(rise.size), []
        for variance, spacing in zip(self.variance / scale**2, _SPACINGS, strict=True):
            # The finest filter sees no structure in an image that is not undersampled.
            bend = np.zeros_like(curve) if spacing == (1, 1) else curve
            floor, ratio = _fit_floor(variance, self.number, linear, bend)
            misfit += np.sum(self.number / (2 * _REDUNDANCY) * np.log(ratio) ** 2, axis=1)
            floors.append(floor)
        sigma = np.sqrt(np.maximum(_WEIGHTS @ floors, 1e-6))
        misfit -= 2 * _log_prior(np.log(rise / sigma), np.log(sigma * scale * gain))
        weight = np.exp(-0.5 * (misfit - misfit.min()))
        return scale * np.average(sigma, weights=weight)


def _log_prior(log_electrons, expected):
    """Log of the prior of the sky noise in electrons; ``expected`` from the gain, or NaN."""
    plain = -0.5 * ((log_electrons - _LOG_ELECTRONS) / _LOG_ELECTRONS_ERROR) ** 2
    if np.isnan(expected).any():
        return plain
    close = -0.5 * ((log_electrons - expected) / _GAIN_ERROR) ** 2
    return np.logaddexp(
        close + np.log(_GAIN_TRUST / _GAIN_ERROR),
        plain + np.log((1 - _GAIN_TRUST) / _LOG_ELECTRONS_ERROR),
    )


def _grown(missing):
    """Pixels whose filter reaches a missing one."""
    if not missing.any():
        return missing
    size = 2 * _REACH + 1
    return ndimage.maximum_filter(missing.view(np.uint8), (1, size, size)).view(bool)


def _fit_floor(variance, number, linear, curve):
    """
    Fit ``variance = floor * linear + bend * curve`` with neither negative.

    For each row of ``linear`` (n_gain, n_bin) at once; a weak prior holds ``bend`` at 0.
    Returns the floors, and the ratio of data and model.
    """
    model = np.broadcast_to(variance, linear.shape)
    for _ in range(4):
        weight = number / (2 * _REDUNDANCY) / model**2
        ll, lc = np.sum(weight * linear**2, 1), np.sum(weight * linear * curve, 1)
        cc = np.sum(weight * curve**2, 1) + (3 / variance[0]) ** 2
        lv, cv = np.sum(weight * linear * variance, 1), np.sum(weight * curve * variance, 1)
        bend = np.maximum((ll * cv - lc * lv) / (ll * cc - lc**2), 0)
        floor = np.maximum((lv - bend * lc) / ll, 0)
        model = floor[:, None] * linear + bend[:, None] * curve
        model = np.maximum(model, 0.01 * variance)
    return floor, variance / model


def _too_few(band, number):
    return (
        f"data of band {band} (counted from 0) have {number} valid 5 x 5 neighbourhoods, but "
        f"{_MIN_PIXELS} are needed to measure the noise; give sky= and sigma= instead"
    )
