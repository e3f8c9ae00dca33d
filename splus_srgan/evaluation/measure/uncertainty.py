# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether stated uncertainties are true, and how the noise of an image is correlated.

An uncertainty is true if 68 % of the truths lie within one of it at every brightness, not
only on average.  Where neighbours are correlated, as in every enhanced image, the noise of an
aperture is not that of a pixel times the root of the area: `aperture_noise_curve` measures it.
"""

from itertools import pairwise

import numpy as np
from astropy import units as u
from astropy.nddata import StdDevUncertainty
from astropy.table import QTable
from scipy import fft, signal, stats

from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands
from splus_srgan.evaluation.statistics import robust_std
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.images.unpack import uncertainty_array
from splus_srgan.utils.validate import check_integer

__all__ = [
    "LIMITS",
    "SNR_EDGES",
    "aperture_noise_curve",
    "checks_uncertainty",
    "coverage",
    "noise_correlation",
    "pit_histogram",
]

LIMITS = {"coverage_68": (0.65, 0.71), "coverage_95": (0.93, 0.97), "pit": 0.15}
"""Limits of `checks_uncertainty`: shares of pixels, and largest relative excess of PIT bins."""

SNR_EDGES = (-np.inf, 1.0, 3.0, 10.0, 30.0, np.inf)
"""Bins of signal to noise, per pixel."""

_LEVELS = (0.68, 0.95)
_MIN_PIXELS = 200  # in a bin, for a verdict
_VALID = 0.999  # of an aperture's area


def coverage(truth, image, uncertainty, *, signal_to_noise=None, edges=SNR_EDGES, mask=None):
    r"""
    Share of truths within 68 % and 95 % intervals, by signal to noise.

    The interval of a share *p* is :math:`\pm \Phi^{-1}((1 + p) / 2) \, \sigma` around the
    image: 0.994 and 1.960 sigma.

    Parameters
    ----------
    truth, image : array_like, any one shape
        In the same unit.
    uncertainty : array_like, same shape
        Standard deviations, above 0; other pixels are left out.
    signal_to_noise : array_like, same shape, optional
        What to bin by; by default ``truth / uncertainty``.  See the notes.
    edges : sequence of float, optional
        Rising edges of the bins.
    mask : array_like of bool, optional
        `True` is left out, as are pixels that are not finite.

    Returns
    -------
    table : `~astropy.table.QTable`
        For each bin ``low, high, count, coverage_68, coverage_95`` and ``bias`` (mean of
        (image - truth) / uncertainty); NaN in empty bins.

    Raises
    ------
    ValueError
        If the shapes differ.

    Notes
    -----
    Whatever bins pixels has errors that choose the bin.  A source too faint to be seen, where the
    uncertainty is that of blank sky, is bright by its truth over that uncertainty: for an image
    that leaves out what cannot be seen, divide the truth by the noise of the *input*, as
    `checks_uncertainty` does.  The image over its uncertainty is what its reader knows; an image
    that was not denoised is above the truth wherever it is bright by chance.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import coverage
    >>> truth = np.zeros(100000)
    >>> image = np.random.default_rng(1).normal(size=100000)
    >>> table = coverage(truth, image, np.ones(100000), edges=(-1, 1))
    >>> round(float(table["coverage_68"][0]), 2), round(float(table["coverage_95"][0]), 2)
    (0.68, 0.95)
    """
    pulls, used, sigma, truth = _pulls(truth, image, uncertainty, mask)
    if signal_to_noise is None:
        snr = truth[used] / sigma[used]
    else:
        snr = _like("signal_to_noise", signal_to_noise, truth.shape)[used]
    limits = stats.norm.ppf((1 + np.array(_LEVELS)) / 2)
    rows = []
    for low, high in pairwise(edges):
        mine = pulls[(snr >= low) & (snr < high)]
        if mine.size:
            shares = [float(np.mean(np.abs(mine) <= limit)) for limit in limits]
            rows.append((low, high, mine.size, *shares, float(mine.mean())))
        else:
            rows.append((low, high, 0, np.nan, np.nan, np.nan))
    names = ("low", "high", "count", "coverage_68", "coverage_95", "bias")
    return QTable(rows=rows, names=names, dtype=(float, float, int, float, float, float))


def pit_histogram(truth, image, uncertainty, *, n_bin=10, mask=None):
    r"""
    Histogram of the probability integral transform, :math:`\Phi((t - x) / \sigma)`.

    It is flat if the uncertainties are true; a hump in the middle means that they are
    too large, a bowl that they are too small, a slope that the image is biased.

    Parameters
    ----------
    truth, image, uncertainty, mask
        As for `coverage`.
    n_bin : int, optional
        At least 2.

    Returns
    -------
    table : `~astropy.table.QTable`
        For each bin ``low, high, count`` and ``density``, which is 1 where flat; NaN without
        pixels.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import pit_histogram
    >>> image = np.random.default_rng(1).normal(size=100000)
    >>> table = pit_histogram(0 * image, image, 2 + 0 * image, n_bin=2)
    >>> table["density"].round(1)
    array([1., 1.])
    """
    check_integer("n_bin", n_bin, minimum=2)
    pulls = _pulls(truth, image, uncertainty, mask)[0]
    edges = np.linspace(0, 1, n_bin + 1)
    count, _ = np.histogram(stats.norm.cdf(-pulls), edges)
    density = count * n_bin / pulls.size if pulls.size else np.full(n_bin, np.nan)
    return QTable({"low": edges[:-1], "high": edges[1:], "count": count, "density": density})


def noise_correlation(image, *, max_lag=8, mask=None):
    r"""
    Correlation of the noise of pixels, by their distance.

    .. math:: \rho(\Delta) = \frac{\langle n(x) \, n(x + \Delta) \rangle}{\langle n^2 \rangle}

    over the pairs of unmasked pixels, averaged over directions.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Blank sky, or output less truth, in any unit; its mean is taken off.
    max_lag : int, optional
        Largest distance in pixels, at least 1.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out: sources.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``lag`` (mean distance in pixels of a ring), ``correlation`` and number of
        ``pairs``; NaN where there are none, or the image is constant.

    Raises
    ------
    ValueError
        If the shapes do not fit, or the image is no larger than ``max_lag``.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import noise_correlation
    >>> table = noise_correlation(np.random.default_rng(1).normal(size=(64, 64)), max_lag=2)
    >>> table["correlation"].round(1).tolist()[0]
    1.0
    """
    values, free = _sky(image, mask)
    if check_integer("max_lag", max_lag, minimum=1) >= min(values.shape):
        raise ValueError(f"max_lag must be below the size of the image; got {max_lag!r}")
    sums, pairs = (_autocorrelation(one, max_lag) for one in (values, free.astype(float)))
    dy, dx = np.mgrid[-max_lag : max_lag + 1, -max_lag : max_lag + 1]
    distance = np.hypot(dy, dx)
    ring = np.rint(distance).astype(int).ravel()
    count, lag, total = (
        np.bincount(ring, one.ravel())[: max_lag + 1]
        for one in (np.rint(pairs), np.rint(pairs) * distance, sums)
    )
    variance = total[0] / count[0] if count[0] else np.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = total / count / variance if variance > 0 else np.full(count.shape, np.nan)
        table = QTable(
            {"lag": lag / count, "correlation": correlation, "pairs": (count / 2).astype(int)}
        )
    table["lag"].unit = u.pix
    return table


def aperture_noise_curve(image, radii, *, mask=None):
    r"""
    Noise of the sum in an aperture, :math:`\sigma(R)`, at all places of a sky.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Blank sky, or output less truth.
    radii : array_like, shape (n,)
        Radii in pixels, above 0.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out: sources.  An aperture with a masked pixel does not count.

    Returns
    -------
    table : `~astropy.table.QTable`
        ``radius`` and ``area`` (pixels), ``sigma`` (robust scatter of the sums, in the unit
        of the image), ``white`` (what it would be without correlation) and ``error`` (of
        ``sigma``, from the number of apertures that do not overlap); NaN where fewer than
        ten of these fit in.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a radius is not above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.uncertainty import aperture_noise_curve
    >>> sky = np.random.default_rng(1).normal(size=(200, 200))
    >>> table = aperture_noise_curve(sky, [3.0])
    >>> bool(abs(table["sigma"][0] / table["white"][0] - 1) < 0.1)
    True
    """
    from photutils.aperture import CircularAperture

    values, free = _sky(image, mask)
    radii = np.atleast_1d(np.asarray(radii, float))
    if radii.ndim != 1 or not (radii > 0).all():
        raise ValueError(f"radii must be above 0; got {radii.tolist()!r}")
    pixel = robust_std(values[free])
    rows = []
    for radius in radii:
        area, sigma, count = np.pi * radius**2, np.nan, 0.0
        disc = CircularAperture((0, 0), radius).to_mask(method="exact").data
        if all(n >= m for n, m in zip(values.shape, disc.shape, strict=True)):
            sums, share = (
                signal.oaconvolve(one, disc, mode="valid") for one in (values, free.astype(float))
            )
            sums = sums[share > _VALID * area]
            count = sums.size / area
            sigma = robust_std(sums) if count >= 10 else np.nan
        error = sigma / np.sqrt(2 * count) if count >= 10 else np.nan
        rows.append((radius, area, sigma, pixel * np.sqrt(area), error))
    return QTable(rows=rows, names=("radius", "area", "sigma", "white", "error"))


def checks_uncertainty(pair, output):
    """
    Judge the uncertainties of an output against the truth.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input and truth.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image with its uncertainty, of any kind that astropy can turn
        into standard deviations.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band the coverage at 68 and 95 % in each bin of `SNR_EDGES`, of the truth over
        the noise of the sky in the input, and the largest excess of a PIT bin, against `LIMITS`.
        Without uncertainty or truth, "not measured".

    Raises
    ------
    ValueError
        If the output lacks a band.
    GridMismatchError
        If the output is not on the grid that is twice as fine.
    """
    checks = []
    for name, band in compared_bands(pair, output).items():
        sigma = _standard_deviation(output[name])
        if sigma is None or band.truth is None or not pair.noise_free:
            missing = "the output has no uncertainty" if sigma is None else "there is no truth"
            checks.append(_nothing("coverage at 68 %", name, "coverage_68", missing))
            continue
        options = {"mask": band.bad.repeat(2, 0).repeat(2, 1)}
        # The flux of an input pixel, and its noise, are shared by four.
        ratio = 4 * band.truth / band.sigma
        table = coverage(band.truth, band.output, sigma, signal_to_noise=ratio, **options)
        for level in (68, 95):
            checks += [_coverage_check(row, level, name) for row in table]
        checks.append(_pit_check(band, sigma, options))
    return checks


def _coverage_check(row, level, band):
    key = f"coverage_{level}"
    title = f"coverage at {level} %, S/N {row['low']:g} to {row['high']:g}"
    count = int(row["count"])
    if count < _MIN_PIXELS:
        return _nothing(title, band, key, f"only {count} pixels", count)
    return Check("uncertainty", title, band, float(row[key]), LIMITS[key], count=count)


def _pit_check(band, sigma, options):
    table = pit_histogram(band.truth, band.output, sigma, **options)
    title, count = "largest excess of a PIT bin", int(table["count"].sum())
    if count < _MIN_PIXELS:
        return _nothing(title, band.name, "pit", f"only {count} pixels", count)
    excess = float(np.max(np.abs(table["density"] - 1)))
    return Check("uncertainty", title, band.name, excess, LIMITS["pit"], count=count)


def _nothing(title, band, key, note, count=0):
    return Check("uncertainty", title, band, np.nan, LIMITS[key], count=count, note=note)


def _standard_deviation(image):
    """Standard deviation per pixel, flux per fine pixel; `None` where there is none."""
    if getattr(image, "uncertainty", None) is None:
        return None
    sigma = np.asarray(uncertainty_array(image, StdDevUncertainty), float)
    # As `compared_bands` does with surface brightness.
    return sigma * 0.25 / flux_per_pixel_factor(image.unit, 2)


def _pulls(truth, image, uncertainty, mask):
    """(image - truth) / uncertainty where it is defined, where that is, sigma and truth."""
    truth = np.asarray(truth, float)
    image = _like("image", image, truth.shape)
    sigma = _like("uncertainty", uncertainty, truth.shape)
    used = np.isfinite(truth) & np.isfinite(image) & np.isfinite(sigma) & (sigma > 0)
    if mask is not None:
        used &= ~_like("mask", mask, truth.shape, bool)
    return (image[used] - truth[used]) / sigma[used], used, sigma, truth


def _like(name, values, shape, dtype=float):
    values = np.asarray(values, dtype)
    if values.shape != shape:
        raise ValueError(f"{name} must have the shape {shape}; got {values.shape}")
    return values


def _sky(image, mask):
    """Values less their mean, 0 where they do not count, and where they do."""
    image = np.asarray(image, float)
    if image.ndim != 2:
        raise ValueError(f"image must have shape (ny, nx); got {image.shape}")
    free = np.isfinite(image)
    if mask is not None:
        free &= ~_like("mask", mask, image.shape, bool)
    mean = image[free].mean() if free.any() else 0.0
    return np.where(free, image - mean, 0.0), free


def _autocorrelation(values, max_lag):
    """Sums over all pairs of pixels for lags up to ``max_lag`` along both axes."""
    shape = [fft.next_fast_len(n + max_lag, real=True) for n in values.shape]
    power = np.abs(fft.rfft2(values, shape)) ** 2
    lags = np.arange(-max_lag, max_lag + 1)
    return fft.irfft2(power, shape)[np.ix_(lags, lags)]
