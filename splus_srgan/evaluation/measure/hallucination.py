# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Whether the output shows what is not there, or hides what is.

Everything is in units of the input's noise: a source that the input could not have
shown cannot be told from noise, so it does not count for or against an output.
"""

import math

import numpy as np
from astropy.table import Table, vstack
from scipy import ndimage

from splus_srgan.evaluation.apertures import aperture_flux, aperture_noise
from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands
from splus_srgan.evaluation.sources import any_within, detect, inside, smoothed_noise
from splus_srgan.evaluation.statistics import robust_std
from splus_srgan.simulate.field import simulate_field

__all__ = [
    "checks_hallucination",
    "detail_scores",
    "noise_field",
    "noise_only_detections",
    "swap_test",
    "unmatched_sources",
]

_RADIUS = 1.1  # arcsec, of the aperture that confirms a source
_EDGE = 3.0  # arcsec
_LEAST_DETAIL = 1.0  # sigma of the input, of a fine pixel that counts
_OBJECT = 2.5  # sigma per pixel, above which there is an object
_OWN_NOISE = (
    "decides nothing, but a source finder that measures the noise on the output itself will find "
    "these false sources: give it the input's noise"
)
_SOURCE = 10.0  # sigma per pixel, above which a residual is no pure noise


def noise_field(seed, *, shape=(128, 128), bands=("g", "r", "z")):
    """
    Simulate an S-PLUS image of nothing: left-over sky and noise alone.

    Parameters
    ----------
    seed, shape, bands
        As for `~splus_srgan.simulate.field.simulate_field`.

    Returns
    -------
    images : dict of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``, with the headers of a simulated field.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.hallucination import noise_field
    >>> noise_field(1, shape=(32, 32), bands=("r",))["r"].shape
    (32, 32)
    """
    field = simulate_field(seed, shape=shape, bands=bands, kind="blank")
    images = {}
    for band, image in field.observed.items():
        images[band] = image.copy()
        images[band].data = (image.data - field.noiseless[band]).astype(np.float32)
    return images


def noise_only_detections(band, *, threshold=5.0):
    """
    Find sources in the output of an input that holds nothing but noise.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band of such a field.
    threshold : float, optional
        Of a detection, in units of the noise of a smoothed pixel.

    Returns
    -------
    found : `~astropy.table.Table`
        A row per detection: ``band``; ``noise``, whose noise it is measured by:
        ``"input"`` (of the input, for a detection in the output), ``"own"`` (of the
        output itself, as of somebody who does not know where it comes from), or
        ``"control"`` (the input itself, by its own noise); ``x, y`` (input pixels) and
        ``peak`` (in units of that noise).
    """
    smooth = 4 * ndimage.gaussian_filter(np.asarray(band.output, float), 2.0)
    own = float(robust_std(smooth[~band.bad.repeat(2, 0).repeat(2, 1)])) / smoothed_noise(1.0)
    searches = [("input", band.output, 2, band.sigma), ("control", band.image, 1, band.sigma)]
    # An output that is constant has no noise to measure by.
    if own > 1e-6 * band.sigma:
        searches.append(("own", band.output, 2, own))
    tables = []
    for name, image, factor, sigma in searches:
        found, _ = detect(image, sigma, factor=factor, threshold=threshold)
        table = found["x", "y", "peak"]
        table["noise"] = np.full(len(found), name, "U8")
        tables.append(table)
    rows = vstack(tables)
    rows["band"] = np.full(len(rows), band.name, "U16")
    return rows["band", "noise", "x", "y", "peak"]


def unmatched_sources(band, *, threshold=5.0):
    r"""
    Find sources of the output that the reference lacks, and the other way round.

    Sources are detected in both, and the flux within 1.1 arcsec is measured in both at
    each.  A source of the output is *invented* where that exceeds the reference's by
    ``threshold`` times the input's noise and the reference has less than half of it;
    one of the reference is *removed* likewise.  So neither deblending nor a faint
    neighbor makes one.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band.  Output and truth are compared at one PSF; without a truth, the output as
        the input's telescope would see it is compared with the input.
    threshold : float, optional
        In units of the noise.

    Returns
    -------
    rows : `~astropy.table.Table`
        A row per source: ``band``; ``list`` (``"output"`` or ``"reference"``), ``x, y``
        (input pixels), ``flux_output, flux_reference, noise``, ``excess`` (output less
        reference, in units of the noise) and ``unmatched`` (bool).

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.compared import ComparedBand
    >>> from splus_srgan.evaluation.measure.hallucination import unmatched_sources
    >>> from splus_srgan.evaluation.shapes import moffat_image
    >>> star = 200 * moffat_image((1.0, 3.0), shape=(48, 48), factor=2)
    >>> band = ComparedBand("r", np.zeros((48, 48)), star, 1.0, truth=np.zeros((96, 96)))
    >>> rows = unmatched_sources(band)
    >>> print(rows["list"][0], rows["unmatched"][0])
    output True
    """
    if band.truth is None:
        made, reference, factor = band.seen_output, band.image, 1
    else:
        (made, reference), factor = band.matched, 2
    tables = []
    for name, image in (("output", made), ("reference", reference)):
        found, _ = detect(image, band.sigma, factor=factor, threshold=threshold)
        tables.append(_confirmed(band, found, made, reference, factor, name, threshold))
    return vstack(tables)


def _confirmed(band, found, made, reference, factor, name, threshold):
    """Sources of one list, with their fluxes in both images."""
    scale = {"pixel_scale": band.pixel_scale}
    keep = inside(found["x"], found["y"], band.image.shape, _EDGE, **scale)
    keep &= ~any_within(band.bad, found["x"], found["y"], _EDGE, **scale)
    x, y = np.asarray(found["x"])[keep], np.asarray(found["y"])[keep]
    flux = [
        aperture_flux(image, x, y, radius=_RADIUS, factor=factor, **scale)[0]
        for image in (made, reference)
    ]
    noise = aperture_noise(
        np.maximum(*flux) if len(x) else np.empty(0),
        np.full(len(x), np.inf),
        radius=_RADIUS,
        sigma=band.sigma,
        electrons=band.electrons,
        **scale,
    )
    excess = (flux[0] - flux[1]) / noise
    own, other = flux if name == "output" else flux[::-1]
    table = Table({"band": np.full(len(x), band.name, "U16"), "list": np.full(len(x), name, "U9")})
    table["x"], table["y"] = x, y
    table["flux_output"], table["flux_reference"] = flux
    table["noise"], table["excess"] = noise, excess
    table["unmatched"] = (own - other > threshold * noise) & (other < own / 2)
    return table


def detail_scores(band):
    r"""
    Split the detail that the output adds into what is right, missing, and invented.

    With the truth :math:`T`, what the input would show of it without noise, :math:`L`
    (the truth at the PSF of the input), and the output :math:`S`, each pixel of :math:`S`
    is brought to the nearest value :math:`P` between :math:`L` and :math:`T`:

    .. math:: \mathrm{improvement} = \frac{\sum |P - L|}{\sum |T - L|}, \quad
              \mathrm{omission} = \frac{\sum |T - P|}{\sum |T - L|}, \quad
              \mathrm{hallucination} = \frac{\sum |S - P|}{\sum |T - L|}

    over pixels where :math:`|T - L|` or :math:`|S - L|` is above the noise of an input
    pixel.  The first two add up to 1.  These are the distances of opensr-test
    (:math:`d_{im} = |S - T|/|T - L|`, :math:`d_{om} = |S - L|/|T - L|`; hallucination is
    :math:`(d_{im} + d_{om} - 1)/2` for each pixel), on fluxes in units of the noise and
    without matching of histograms, which would hide errors of flux.

    Parameters
    ----------
    band : `~splus_srgan.evaluation.compared.ComparedBand`
        Band, with a truth without noise and the PSF of the input.

    Returns
    -------
    scores : dict
        ``band``, ``n`` (pixels that count), ``detail`` (sum of :math:`|T - L|` in units of
        the noise), ``improvement, omission, hallucination``, and ``hallucination_rms``
        (of :math:`S - P` over all pixels, in units of the noise of an input pixel).  NaN
        where there is no such truth, or no detail.
    """
    names = ("detail", "improvement", "omission", "hallucination", "hallucination_rms")
    scores = {"band": band.name, "n": 0} | dict.fromkeys(names, math.nan)
    if band.truth is None or not band.noise_free or band.psf is None:
        return scores
    planes = (band.truth, band.blurred_truth, band.output)
    truth, low, made = (4 / band.sigma * plane for plane in planes)
    good = ~band.bad.repeat(2, 0).repeat(2, 1)
    if not good.any():
        return scores
    between = np.clip(made, np.minimum(low, truth), np.maximum(low, truth))
    counts = good & (np.maximum(abs(truth - low), abs(made - low)) > _LEAST_DETAIL)
    detail = float(np.sum(abs(truth - low)[counts]))
    scores |= {"n": int(counts.sum()), "detail": detail}
    scores["hallucination_rms"] = float(np.sqrt(np.mean((made - between)[good] ** 2)))
    if not detail > 0:
        return scores
    parts = (abs(between - low), abs(truth - between), abs(made - between))
    for name, part in zip(names[1:4], parts, strict=True):
        scores[name] = float(np.sum(part[counts])) / detail
    return scores


def swap_test(enhancer, pair, other):
    r"""
    Give an object the noise of another field: structure that follows the noise is invented.

    The object is a field without its noise (the truth at the PSF and on the pixels of
    the input; without a truth, the enhanced image there).  It is enhanced with its own
    noise and with that of the other field.  The detail of both outputs, what blurring
    to the PSF of the input takes away, is compared where there is an object.

    Parameters
    ----------
    enhancer : callable
        Called with a dict of band to `~astropy.nddata.CCDData`.
    pair, other : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Object and donor of the noise, of the same shape and bands.  Noise is taken
        from where the donor has no bright source; best is blank sky.

    Returns
    -------
    results : list of dict
        For each band: ``band, n`` (fine pixels), ``detail`` (rms of the mean detail, in
        units of the input's noise), ``follows_noise`` (rms of what differs, per
        output) and ``correlation`` of both details: 1 where the structure is the
        object's, 0 where it is the noise's.  NaN where there is no object, or the PSF is
        not known.

    Raises
    ------
    ValueError
        If both fields differ in shape or bands.
    """
    if pair.shape != other.shape or set(pair.bands) != set(other.bands):
        raise ValueError(
            f"other must have the shape and bands of the pair, {pair.shape} {list(pair.bands)}; "
            f"got {other.shape} {list(other.bands)}"
        )
    own, donor = (compared_bands(p, enhancer(p.observed)) for p in (pair, other))
    inputs = [{}, {}]
    for name, band in own.items():
        for images, giver in zip(inputs, (band, donor[name]), strict=True):
            images[name] = pair.observed[name].copy()
            # The sky comes back, so that it is measured as ever.
            sky = np.median(np.asarray(pair.observed[name].data)[~band.bad] - band.image[~band.bad])
            noise = _noise_of(giver) * (band.sigma / giver.sigma)
            images[name].data = (_model(band) + noise + sky).astype(np.float32)
    made = [compared_bands(pair, enhancer(images)) for images in inputs]
    return [_swapped(own[name], *(bands[name] for bands in made)) for name in own]


def _model(band):
    """The input without noise."""
    use_truth = band.truth is not None and band.noise_free
    return band.seen_truth if use_truth else band.seen_output


def _noise_of(band):
    """The input's noise; nothing where there are bright sources or holes."""
    model = _model(band)
    return np.where(band.bad | (model > _SOURCE * band.sigma), 0, band.image - model)


def _swapped(band, one, other):
    """Compare the details of two outputs of one object."""
    result = {"band": band.name, "n": 0}
    result |= dict.fromkeys(("detail", "follows_noise", "correlation"), math.nan)
    if band.psf is None or band.output_psf is None:
        return result
    chosen = (_model(band) > _OBJECT * band.sigma) & ~band.bad
    chosen = chosen.repeat(2, 0).repeat(2, 1)
    if chosen.sum() < 50:
        return result
    first, second = ((4 / band.sigma * (b.output - b.blurred_output))[chosen] for b in (one, other))
    spread = np.std(first) * np.std(second)
    if not spread > 0:
        return result
    covariance = np.mean((first - first.mean()) * (second - second.mean()))
    return result | {
        "n": int(chosen.sum()),
        "detail": float(np.sqrt(np.mean(((first + second) / 2) ** 2))),
        "follows_noise": float(np.sqrt(np.mean((first - second) ** 2) / 2)),
        "correlation": float(covariance / spread),
    }


def checks_hallucination(
    *,
    bands,
    noise_only=None,
    n_noise_fields=0,
    unmatched=None,
    details=None,
    swaps=None,
    hallucination=0.25,
    improvement=0.5,
    correlation=0.7,
):
    """
    Judge what was invented and what was lost.

    Parameters
    ----------
    bands : sequence of str
        Bands to judge.
    noise_only : `~astropy.table.Table`, optional
        As of `noise_only_detections`, of ``n_noise_fields`` fields.
    n_noise_fields : int, optional
        How many fields of noise alone there were.
    unmatched : `~astropy.table.Table`, optional
        As of `unmatched_sources`, of one or many fields.
    details, swaps : iterable of dict, optional
        As of `detail_scores` and of `swap_test`.
    hallucination : float, optional
        Largest detail that is invented, as a share of what the input lacks.
    improvement : float, optional
        Least share of the detail that the input lacks which is given back.
    correlation : float, optional
        Least correlation of details under a swap of the noise.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        For each band and each of the results given.  Detections in noise alone by the
        input's noise must be none; those by the output's own noise have no limit, and
        tell what a source finder will find that is not given the input's.
    """
    checks = []
    for band in bands:
        if noise_only is not None:
            checks += _noise_checks(noise_only[noise_only["band"] == band], band, n_noise_fields)
        if unmatched is not None:
            checks += _unmatched_checks(unmatched[unmatched["band"] == band], band)
        if details is not None:
            mine = [d for d in details if d["band"] == band and d["detail"] > 0]
            checks += _detail_checks(mine, band, hallucination, improvement)
        if swaps is not None:
            values = [s["correlation"] for s in swaps if s["band"] == band]
            values = [value for value in values if math.isfinite(value)]
            checks.append(
                Check(
                    "honesty",
                    "correlation of details under a swap of the noise",
                    band,
                    float(np.median(values)) if values else math.nan,
                    (correlation, 1.0),
                    count=len(values),
                    note="" if values else "no object to give another noise",
                )
            )
    return checks


def _noise_checks(rows, band, n_fields):
    checks = []
    # The output's own noise is what the network left of it: no measure of what is significant,
    # but the one that a source finder takes by itself.
    for name, text, limit in (("input", "the input's", 0.0), ("own", "the output's own", None)):
        count = int(np.sum(rows["noise"] == name))
        value = count / n_fields if n_fields else math.nan
        note = "" if n_fields else "no field of noise alone"
        if count and limit is None:
            note = _OWN_NOISE
        title = f"detections in noise alone, 5 sigma of {text} noise, per field"
        checks.append(Check("honesty", title, band, value, limit, count=n_fields, note=note))
    return checks


def _unmatched_checks(rows, band):
    checks = []
    for name, title in (("output", "invented sources"), ("reference", "removed sources")):
        mine = rows[rows["list"] == name]
        # No source at all in an output is as it should be, if the reference has none.
        value = float(np.sum(mine["unmatched"])) if len(rows) else math.nan
        note = "" if len(rows) else "no sources in output and reference"
        checks.append(Check("honesty", title, band, value, 0.0, count=len(mine), note=note))
    return checks


def _detail_checks(scores, band, hallucination, improvement):
    total = sum(s["detail"] for s in scores)
    note = "" if scores else "no detail, or no truth without noise"
    checks = []
    for name, bounds in (
        ("hallucination", (0.0, hallucination)),
        ("improvement", (improvement, 1.0)),
    ):
        value = sum(s[name] * s["detail"] for s in scores) / total if scores else math.nan
        title = f"{name}, as a share of the detail that the input lacks"
        count = sum(s["n"] for s in scores)
        checks.append(Check("honesty", title, band, value, bounds, count=count, note=note))
    return checks
