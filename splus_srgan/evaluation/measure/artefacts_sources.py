# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Artefacts of sources in an output: rings, false colors, and what turning changes."""

import math
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
from astropy import units as u
from astropy.table import QTable
from astropy.wcs import WCS
from scipy import ndimage

from splus_srgan.evaluation.measure.artefacts_sky import sky_pixels, sky_units, smoothed
from splus_srgan.evaluation.measure.consistency import residuals
from splus_srgan.utils.validate import check_one_of

__all__ = ["color_residual", "ringing", "symmetry_residual"]

_FACTOR = 2
_MAG = 2.5 / math.log(10)  # magnitudes per relative change
_NOISE_OF_AREA = 1.2  # over that of white noise, in coadds
_PSF_ERROR = 0.05  # of the width of a PSF
_SOURCE = 5.0  # sky units per pixel, of sources whose change counts
_FEWEST = 20  # of their pixels
_TURNS = {
    "turned by 90": (1, False),
    "turned by 180": (2, False),
    "turned by 270": (3, False),
    "mirrored": (0, True),
    "mirrored, turned by 90": (1, True),
    "mirrored, turned by 180": (2, True),
    "mirrored, turned by 270": (3, True),
}


def ringing(image, x, y, *, radius=20, annulus=1.0):
    r"""
    Rings around stars: how much brighter than further in it gets further out.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    x, y : array_like, shape (n,)
        Centers of the stars, 0-based output pixels.
    radius : int, optional
        How far to look, in output pixels.
    annulus : float, optional
        Width of the annuli, in output pixels.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``peak`` (sky units), ``ring`` (fraction of the peak) and ``radius``
        (of the deepest point inside the ring).

    Notes
    -----
    The median :math:`p(r)` of annuli, which a neighbor moves little, falls outwards around
    a star.  :math:`\mathrm{ring} = \max_{r_2 > r_1} (p(r_2) - p(r_1)) / p(0)`: dark and bright
    rings alike, and no profile is assumed.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import ringing
    >>> yy, xx = np.mgrid[:65, :65] - 32
    >>> star = 500 * (1 + (xx**2 + yy**2) / 9.0) ** -3
    >>> bool(ringing(star, [32], [32])["ring"][0] < 1e-6)
    True
    """
    from photutils.aperture import ApertureStats, CircularAnnulus, CircularAperture

    places = np.transpose(np.atleast_1d([x, y]).astype(float)).reshape(-1, 2)
    if not len(places):
        names, types = ("x", "y", "peak", "ring", "radius"), (float,) * 5
        return QTable(names=names, dtype=types)
    values = np.where(np.isfinite(image), image, 0.0)
    edges = np.arange(annulus, radius + annulus / 2, annulus)
    shapes = [CircularAperture(places, 1.0)]
    shapes += [CircularAnnulus(places, r, r + annulus) for r in edges]
    profile = np.array(
        [np.atleast_1d(ApertureStats(values, s, mask=~np.isfinite(image)).median) for s in shapes]
    ).T
    deepest = np.minimum.accumulate(profile, axis=1)
    rise = profile - deepest
    worst = np.argmax(rise, axis=1)
    inside = [int(np.argmin(p[: k + 1])) for p, k in zip(profile, worst, strict=True)]
    radii = np.r_[0, edges + annulus / 2]
    # The peak of 4 pixels' mean: what a pixel's noise does to it is small.
    peak = profile[:, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        ring = rise[np.arange(len(rise)), worst] / peak
    columns = [places[:, 0] * u.pix, places[:, 1] * u.pix, peak, ring, radii[inside] * u.pix]
    return QTable(columns, names=("x", "y", "peak", "ring", "radius"))


def color_residual(bands, *, brightest=20.0, smooth=1.5):
    r"""
    Change of color in bright regions, as the input's telescope would see it.

    Parameters
    ----------
    bands : mapping of str to `~splus_srgan.evaluation.compared.ComparedBand`
        Bands of a field, as `~splus_srgan.evaluation.compared.compared_bands` gives them.
    brightest : float, optional
        Smoothed surface brightness (sky units) in every band from which on a region is
        bright.
    smooth : float, optional
        Gaussian sigma of the smoothing, in input pixels.

    Returns
    -------
    colors : dict of tuple of str to tuple of `~numpy.ndarray`, shape (ny, nx)
        Pair of neighboring bands to the change of their color and its error, in
        magnitudes; NaN outside bright regions.  Empty for a single band.

    Notes
    -----
    :math:`\Delta = -2.5 \log_{10} (G[o_1] / G[i_1] \cdot G[i_2] / G[o_2])` with the input
    :math:`i` and the output :math:`o` at the PSF and on the pixels of the input, band by
    band, so that bands of different seeing have no false colors.  What a PSF that is 5 % wider
    or narrower would explain,
    :math:`0.05 \, \sigma_\mathrm{PSF}^2 \, |\nabla^2 G[o]| / G[o]` of each band, is taken off.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import color_residual
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> image, output = np.full((64, 64), 40.0), np.full((128, 128), 10.0)
    >>> bands = {"g": ComparedBand("g", image, 1.1 * output, 1.0)}
    >>> bands["r"] = ComparedBand("r", image, output, 1.0)
    >>> change, error = color_residual(bands)["g", "r"]
    >>> round(float(change[32, 32]), 3)
    -0.103
    """
    ratios, errors, shapes, bright = {}, {}, {}, True
    for name, band in bands.items():
        residual, noise, model = residuals(band)
        good = np.isfinite(residual)
        before = smoothed(residual + model, good, smooth)
        after = smoothed(model, good, smooth)
        bright = bright & good & (before > brightest * band.sigma)
        least = 0.1 * brightest * band.sigma
        ratios[name] = 2.5 * np.log10(np.maximum(after, least) / np.maximum(before, least))
        # Noise of a Gaussian mean, and what the correlation of the noise adds.
        blurred = _NOISE_OF_AREA * smoothed(noise, good, smooth) / (2 * math.sqrt(math.pi) * smooth)
        errors[name] = _MAG * blurred / np.maximum(before, least)
        width = 0.0 if band.psf is None else band.psf[0] / band.pixel_scale / 2.355
        curved = np.abs(ndimage.laplace(after)) / np.maximum(after, least)
        shapes[name] = _MAG * _PSF_ERROR * width**2 * curved
    result = {}
    for one, two in pairwise(bands):
        change = ratios[two] - ratios[one]
        less = np.maximum(np.abs(change) - np.hypot(shapes[one], shapes[two]), 0)
        error = np.hypot(errors[one], errors[two])
        planes = (np.copysign(less, change), error)
        result[one, two] = tuple(np.where(bright, plane, np.nan) for plane in planes)
    return result


def symmetry_residual(enhancer, data, *, turns=tuple(_TURNS)):
    r"""
    Compare what an enhancer makes of a turned field with the turned result.

    Parameters
    ----------
    enhancer : callable
        Takes a mapping of band to `~astropy.nddata.CCDData` and gives the same on the
        finer grid, as `~splus_srgan.SRGANEnhancer` does.
    data : mapping of str to `~astropy.nddata.CCDData`, or `~astropy.nddata.CCDData`
        The field, ``(ny, nx)``.
    turns : sequence of str, optional
        Which of the seven: ``"turned by 90"`` (180, 270), ``"mirrored"``, or ``"mirrored,
        turned by 90"`` (180, 270).

    Returns
    -------
    table : `~astropy.table.QTable`
        ``turn, band``; ``sky``, the root mean square of the difference in the sky, in sky
        units; ``sources``, that where the output is above 5 sky units, as a fraction of its
        own root mean square there.  NaN where there is no sky, or no source.

    Notes
    -----
    The difference is :math:`f(Tx) - T f(x)` for the enhancer :math:`f`, the field :math:`x`
    and a turn :math:`T`, turned back.

    Raises
    ------
    ValueError
        If a turn is unknown, or the enhancer does not state sky and sigma in its cards.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.measure.artefacts import symmetry_residual
    >>> field = simulate_field(4, shape=(48, 48), kind="blank").observed
    >>> table = symmetry_residual(SRGANEnhancer(device="cpu"), field, turns=["mirrored"])
    >>> table["band"].tolist(), bool(table["sky"].max() < 0.05)
    (['g', 'r', 'z'], True)
    """
    for turn in turns:
        check_one_of("turns", turn, tuple(_TURNS))
    single = not isinstance(data, Mapping)
    field = {"": data} if single else dict(data)
    plain = _enhanced(enhancer, field, single)
    images = sky_units(plain)
    rows = []
    for name in turns:
        turned = {band: _turned_image(image, *_TURNS[name]) for band, image in field.items()}
        result = _enhanced(enhancer, turned, single)
        for band, image in images.items():
            back = _turned_back(np.asarray(result[band].data, float), *_TURNS[name])
            difference = _FACTOR**2 * (back - plain[band].data) / plain[band].meta["SRSIGMA"]
            free = sky_pixels(image)
            # Not every faint bump that is no sky: what it is changes with the noise.
            there = np.nan_to_num(image) > _SOURCE
            if there.sum() < _FEWEST:
                there[:] = False
            rows.append((name, band, _rms(difference[free]), _rms(difference[there], image[there])))
    return QTable(rows=rows, names=("turn", "band", "sky", "sources"))


def _enhanced(enhancer, field, single):
    return {"": enhancer(field[""])} if single else enhancer(field)


def _rms(values, reference=None):
    """Root mean square, as a fraction of that of a reference; NaN of nothing."""
    if not len(values):
        return math.nan
    rms = math.sqrt(np.mean(values**2))
    return rms if reference is None else rms / math.sqrt(np.mean(reference**2))


def _turned(array, quarters, mirrored):
    return np.rot90(array[:, ::-1] if mirrored else array, quarters)


def _turned_back(array, quarters, mirrored):
    back = np.rot90(array, -quarters)
    return back[:, ::-1] if mirrored else back


def _turned_image(image, quarters, mirrored):
    """An image turned, with a WCS of the same scale so that nobody sees another domain."""
    mask = None if image.mask is None else _turned(np.asarray(image.mask), quarters, mirrored)
    data = np.ascontiguousarray(_turned(np.asarray(image.data), quarters, mirrored))
    wcs = None if image.wcs is None else _turned_wcs(image.wcs, data.shape, quarters, mirrored)
    return type(image)(data, unit=image.unit, mask=mask, meta=image.meta.copy(), wcs=wcs)


def _turned_wcs(wcs, shape, quarters, mirrored):
    """The linear part of a WCS on the turned grid."""
    old = shape if quarters % 2 == 0 else shape[::-1]
    places = [_turned(grid, quarters, mirrored) for grid in np.indices(old)[::-1].astype(float)]
    start = np.array([p[0, 0] for p in places])
    # Columns: what a step along the new x and the new y is on the old grid.
    steps = np.transpose([[p[0, 1] - p[0, 0] for p in places], [p[1, 0] - p[0, 0] for p in places]])
    turned = WCS(naxis=2)
    turned.wcs.ctype = [str(kind).removesuffix("-SIP") for kind in wcs.wcs.ctype]
    turned.wcs.crval, turned.wcs.cunit = wcs.wcs.crval, wcs.wcs.cunit
    turned.wcs.cd = wcs.pixel_scale_matrix @ steps
    turned.wcs.crpix = np.linalg.solve(steps, wcs.wcs.crpix - 1 - start) + 1
    return turned
