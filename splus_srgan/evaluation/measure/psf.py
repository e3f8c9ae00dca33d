# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The PSF that stars have in an image: its width, its encircled energy, and what it is not.

Positions are 0-based pixels of the image itself, and a PSF is the one that the pixels
sample: their own response is part of it, as in the seeing that surveys state.  `psf_table`
and `checks_psf` do all of it for a pair and its enhanced image.
"""

from dataclasses import replace

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan.evaluation.apertures import area_noise
from splus_srgan.evaluation.catalog import list_sources
from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands
from splus_srgan.evaluation.measure import starfit as _starfit
from splus_srgan.evaluation.sources import any_within, inside, isolated
from splus_srgan.evaluation.statistics import judge, median_error
from splus_srgan.pixels.psf import psf_image
from splus_srgan.utils.validate import check_positive

__all__ = [
    "LIMITS",
    "checks_psf",
    "encircled_energy",
    "fit_stars",
    "psf_residual",
    "psf_table",
]

_MIN_SNR = 30.0  # of stars whose profile tells the PSF
_NEAR = 6.0  # arcsec: a neighbour within it disturbs, if it has more than this share of the flux
_SHARE = 0.02
_CLEAR = 4.0  # arcsec to missing and saturated pixels, and to the border
_REACH = 2.0  # FWHM within which a star is compared with the PSF
_ROOM = 1.25  # times the promised FWHM: of sharper inputs, nobody can tell whether they got sharper

LIMITS = {
    "FWHM out / in": (0.0, 1.0),
    "FWHM out / promised": (0.95, 1.05),
    "residual against the promised PSF": 0.1,
    "encircled energy within the promised FWHM, out - promised": 0.03,
}
"""Limits of `checks_psf`: ratios, and shares of a star's flux; medians over stars."""


def fit_stars(image, x, y, *, fwhm, mask=None):
    r"""
    Fit a circular Moffat profile on a constant sky to each star, for its effective FWHM.

    All pixels within two ``fwhm`` have equal weight.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions, right to about a pixel.
    fwhm : float
        FWHM to start from, pixels.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``flux`` (in the unit of the image), ``fwhm`` (pixels), ``beta`` and
        ``sky``, a row for each star; NaN where a star lies at the border, is largely
        masked, or the fit failed.

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``fwhm`` is not above 0.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.psf import fit_stars
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image = 1000 * psf_image((3.6, 3.0), pixel_scale=1.0, radius=20)
    >>> star = fit_stars(image, [20.4], [19.7], fwhm=3.0)
    >>> [round(float(star[name][0]), 2) for name in ("x", "y", "fwhm", "beta")]
    [20.0, 20.0, 3.6, 3.0]
    """
    image, mask, places = _starfit.prepared(image, x, y, mask)
    half = _starfit.half_width(check_positive("fwhm", fwhm))
    rows = np.full((len(places), 6), np.nan)
    for row, place in zip(rows, places, strict=True):
        cut = _starfit.cutout(image, mask, place, half)
        if cut is not None:
            row[:] = _starfit.fit_moffat(cut, fwhm)
    return QTable(rows, names=("x", "y", "flux", "fwhm", "beta", "sky"))


def psf_residual(image, x, y, psf, *, radius, mask=None):
    r"""
    Compare stars with a PSF: what is left when it is fitted to them.

    Flux, position and sky are free, the shape is not.  The residual is
    :math:`\sum |I - M| / \sum M` within the radius, with the fitted model :math:`M`.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions, right to about a pixel.
    psf : array_like, shape (m, m)
        PSF on the same pixels, centred on the central one; `~astropy.nddata.CCDData.psf`
        of an enhanced image.
    radius : float
        Pixels, above 0.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out.

    Returns
    -------
    stars : `~astropy.table.QTable`
        ``x, y``, ``flux``, ``residual`` and ``core`` (what is left at the brightest pixel
        of the model, in units of that: positive where the star is sharper than the PSF);
        NaN where a star could not be fitted.

    Raises
    ------
    ValueError
        If shapes do not fit, or ``psf`` is no square image of odd side with a positive sum.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.psf import psf_residual
    >>> from splus_srgan.pixels.psf import psf_image
    >>> image, other = (psf_image((f, 3.0), pixel_scale=1.0, radius=20) for f in (3.6, 4.0))
    >>> star = psf_residual(1000 * image, [20.0], [20.0], other, radius=6)
    >>> bool(star["residual"][0] > 0.05), bool(star["core"][0] > 0.05)
    (True, True)
    """
    image, mask, places = _starfit.prepared(image, x, y, mask)
    model = _starfit.ImageProfile(psf)
    half = int(np.ceil(check_positive("radius", radius)))
    rows = np.full((len(places), 5), np.nan)
    for row, place in zip(rows, places, strict=True):
        cut = _starfit.cutout(image, mask, place, half, radius)
        if cut is not None:
            row[:] = _starfit.fit_psf(cut, model)
    return QTable(rows, names=("x", "y", "flux", "residual", "core"))


def encircled_energy(image, x, y, *, radii, annulus, mask=None):
    """
    Share of each star's flux within radii, of that within the largest (curve of growth).

    Sums in apertures with exact overlap (photutils), less the mean in an annulus.

    Parameters
    ----------
    image : array_like, shape (ny, nx)
        Image in any linear unit.
    x, y : array_like, shape (n,)
        Positions.
    radii : array_like, shape (m,)
        Rising radii in pixels, above 0; the last one stands for the whole.
    annulus : tuple of float
        Inner and outer radius (pixels) of where the sky is taken from.
    mask : array_like of bool, shape (ny, nx), optional
        `True` is left out of the annulus; a star with a masked pixel within the largest
        radius is not measured.

    Returns
    -------
    energy : `~numpy.ndarray`, shape (n, m)
        Rows that could not be measured are NaN.

    Raises
    ------
    ValueError
        If shapes do not fit, or radii do not rise.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.psf import encircled_energy
    >>> from splus_srgan.pixels.psf import psf_image
    >>> psf = psf_image((3.6, 4.0), pixel_scale=1.0, radius=40)
    >>> energy = encircled_energy(psf, [40], [40], radii=[3.6, 12, 24], annulus=(30, 38))
    >>> energy.round(2)
    array([[0.81, 1.  , 1.  ]])
    """
    from photutils.aperture import CircularAnnulus, CircularAperture

    radii = np.asarray(radii, float)
    if radii.ndim != 1 or not radii.size or radii[0] <= 0 or np.any(np.diff(radii) <= 0):
        raise ValueError(f"radii must rise, from above 0; got {radii.tolist()!r}")
    image, mask, places = _starfit.prepared(image, x, y, mask)
    if not len(places):
        return np.empty((0, radii.size))
    ring = CircularAnnulus(places, *annulus)
    area = ring.do_photometry((~mask).astype(float))[0]
    plain = np.where(mask, 0, image)
    with np.errstate(invalid="ignore", divide="ignore"):
        sky = ring.do_photometry(plain)[0] / area
        sums = [CircularAperture(places, r).do_photometry(plain)[0] for r in radii]
        growth = np.transpose(sums) - sky[:, None] * np.pi * radii**2
        energy = growth / growth[:, -1:]
    energy[_starfit.touched(mask, places, radii[-1]) | ~(growth[:, -1] > 0)] = np.nan
    return energy


def psf_table(pair, output, *, min_snr=_MIN_SNR):
    """
    Measure the bright, isolated stars of a field in its input and its output.

    Stars are those of the pair's list of sources, else point-like sources found in it
    (``splus_srgan.evaluation.catalog``).

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input; its truth is not needed.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``, whose ``psf`` is what it promises.
    min_snr : float, optional
        Faintest star, signal to noise within 1.5 arcsec of the input.

    Returns
    -------
    stars : `~astropy.table.QTable`
        A row for each band and star: ``band``, ``x``, ``y`` (input pixels), ``snr``,
        ``fwhm_in``, ``fwhm_out``, ``fwhm_promised`` (arcsec), ``residual`` and ``core``
        (`psf_residual`), ``energy`` and ``energy_promised`` (share of the flux within the
        promised FWHM, of that within three).  What is not known is NaN.

    Raises
    ------
    ValueError
        If the output lacks a band.
    GridMismatchError
        If the output is not on the grid that is twice as fine.
    """
    bands = compared_bands(pair, output)
    sources = list_sources(bands, known=pair.sources)
    rows = []
    for name, band in bands.items():
        chosen, snr = _bright_stars(band, sources, name, min_snr)
        psf = getattr(output[name], "psf", None)
        rows += _measure_stars(band, psf, sources[chosen], snr[chosen])
    names = ("band", "x", "y", "snr", "fwhm_in", "fwhm_out", "fwhm_promised")
    names += ("residual", "core", "energy", "energy_promised")
    table = QTable(names=names, dtype=["U16"] + 10 * [float])
    for row in rows:
        table.add_row(row)
    for name in ("fwhm_in", "fwhm_out", "fwhm_promised"):
        table[name].unit = u.arcsec
    for name in ("x", "y"):
        table[name].unit = u.pix
    return table


def _bright_stars(band, sources, name, min_snr):
    """Which sources are stars that tell the PSF, and the S/N of all."""
    x, y, scale = sources["x"], sources["y"], band.pixel_scale
    flux = np.asarray(sources[f"flux_{name}"], float)
    snr = flux / (band.sigma * area_noise(np.pi * (1.5 / scale) ** 2))
    good = (sources["kind"] == "star") & (snr > min_snr)
    good &= inside(x, y, band.image.shape, _CLEAR, pixel_scale=scale)
    good &= isolated(x, y, flux, distance=_NEAR, share=_SHARE, pixel_scale=scale)
    good &= ~any_within(band.bad, x, y, _CLEAR, pixel_scale=scale)
    return np.asarray(good, bool), snr


def _measure_stars(band, psf, stars, snr):
    """Rows of `psf_table`."""
    if not len(stars):
        return []
    scale, fine = band.pixel_scale, band.fine_scale
    x, y = 2 * np.asarray(stars["x"]) + 0.5, 2 * np.asarray(stars["y"]) + 0.5
    seeing = band.psf[0] if band.psf else 1.4
    seen = fit_stars(band.image, stars["x"], stars["y"], fwhm=seeing / scale)
    promised = band.output_psf if psf is not None else None
    made = fit_stars(band.output, x, y, fwhm=(promised[0] if promised else seeing) / fine)
    nothing = np.full(len(stars), np.nan)
    residual = core = energy = nothing
    promise = share = np.nan
    if promised:
        # The FWHM of a star is that of a fit to it, wings included.
        middle = [np.shape(psf)[0] // 2]
        promise = fine * fit_stars(psf, middle, middle, fwhm=promised[0] / fine)["fwhm"][0]
        compared = psf_residual(band.output, x, y, psf, radius=_REACH * promise / fine)
        residual, core = compared["residual"], compared["core"]
        radii = np.array([1, 3]) * promise / fine
        ring = tuple(np.array([4, 6]) * promise / fine)
        energy = encircled_energy(band.output, x, y, radii=radii, annulus=ring)[:, 0]
        # Measured like the stars: pixels blur what an aperture cuts through.
        model = psf_image(promised, pixel_scale=fine, radius=int(np.ceil(ring[1])) + 1)
        centre = [model.shape[0] // 2]
        share = encircled_energy(model, centre, centre, radii=radii, annulus=ring)[0, 0]
    columns = (stars["x"], stars["y"], snr, scale * seen["fwhm"], fine * made["fwhm"])
    return [
        (band.name, *row, promise, *more, share)
        for row, more in zip(
            zip(*columns, strict=True), zip(residual, core, energy, strict=True), strict=True
        )
    ]


def checks_psf(stars, *, bands=None):
    """
    Judge the PSF of the output by its stars.

    Parameters
    ----------
    stars : `~astropy.table.QTable`
        As `psf_table` gives it; those of several fields stacked are better.
    bands : sequence of str, optional
        Bands to speak of; by default those of the table.  A band without stars is "not
        measured".

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Medians against `LIMITS`, all of the topic morphology, for each band.  The FWHM is
        compared with that of the input only for stars that have 1.25 times the promised FWHM
        there: where the seeing was as good as the promise, there is nothing to gain.
    """
    if bands is None:
        bands = list(dict.fromkeys(stars["band"]))
    checks = []
    for band in bands:
        mine = stars[stars["band"] == band]
        promised = mine["energy"] - mine["energy_promised"]
        # Without a promise (NaN), every star counts.
        sharp = np.asarray(mine["fwhm_in"] < _ROOM * mine["fwhm_promised"], bool)
        ratio = np.asarray(mine["fwhm_out"] / mine["fwhm_in"], float)
        values = (
            np.where(sharp, np.nan, ratio),
            mine["fwhm_out"] / mine["fwhm_promised"],
            mine["residual"],
            promised,
        )
        for (name, limit), value in zip(LIMITS.items(), values, strict=True):
            checks.append(_check(name, band, np.asarray(value, float), limit))
        if sharp.any() and not checks[-len(LIMITS)].measured:
            found = float(np.nanmedian(ratio[sharp])) if np.isfinite(ratio[sharp]).any() else np.nan
            note = f"the input is nearly as sharp as the promised PSF; found {found:.3g}"
            checks[-len(LIMITS)] = replace(checks[-len(LIMITS)], note=note)
    return checks


def _check(name, band, values, limit):
    """Median of what could be measured."""
    found = values[np.isfinite(values)]
    if not found.size:
        note = "no stars" if not values.size else "the output promises no PSF, or the fits failed"
        return Check("morphology", name, band, np.nan, limit, note=note)
    error = median_error(found)
    return judge("morphology", name, band, np.median(found), limit, error=error, count=found.size)
