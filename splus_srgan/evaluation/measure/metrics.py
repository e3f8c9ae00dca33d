# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
r"""
How far an image is from its truth: PSNR, SSIM, MS-SSIM and NRMSE in named spaces.

A score depends on the space in which pixels are compared, and on what counts as the range
of the data, so both are always given:

* ``"asinh"``: :math:`{\rm arcsinh}(100 x / 3)`, *x* in nanomaggies per pixel; one fixed stretch.
* ``"seed"``: the same, then brought to [0, 1] by the extremes of each image, all bands
  together, as in the paper that this package began with.  It hides offsets and factors.
* ``"noise"``: :math:`(x - {\rm sky}) / \sigma`, linear, in units of the noise of the input.

Masked and non-finite pixels never count.  The reference comes first, the image second.
"""

import numpy as np
from astropy import units as u
from astropy.table import QTable
from scipy import ndimage

from splus_srgan.evaluation.checks import Check
from splus_srgan.evaluation.compared import compared_bands
from splus_srgan.evaluation.measure.similarity import MS_REACH, WINDOW, multi_scale, plain_ssim
from splus_srgan.evaluation.measure.spectra import measure_amplitude, measure_shift
from splus_srgan.evaluation.statistics import judge, robust_std
from splus_srgan.pixels.stretch import AsinhStretch, MinMaxStretch
from splus_srgan.utils.elementwise import as_float
from splus_srgan.utils.validate import check_integer, check_one_of

__all__ = [
    "LIMITS",
    "MS_SSIM_WEIGHTS",
    "SPACES",
    "checks_metrics",
    "ms_ssim",
    "nrmse",
    "psnr",
    "scores",
    "ssim",
    "to_space",
]

SPACES = ("seed", "asinh", "noise")
"""Spaces in which pixels can be compared."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weight of each scale in MS-SSIM, finest first (Wang, Simoncelli and Bovik 2003)."""

LIMITS = {
    "flux on large scales, output / truth": (0.99, 1.01),
    "shift against the truth": 0.05,
    "contrast on the scale of the PSF, output / truth": (0.85, 1.15),
    "noise from pixel to pixel in the sky": 0.05,
    "PSNR ahead of bicubic": (0.0, np.inf),
    "SSIM ahead of bicubic": (0.0, np.inf),
}
"""Limits of `checks_metrics`: ratios, output pixels, sigma of the input, dB."""

_AB_OF_NANOMAGGIE = 22.5
# Cycles per output pixel: beyond five PSFs, and from there to what a PSF of four pixels passes.
_LARGE, _SMALL = 0.05, 0.15
_SMOOTH = 2.0  # pixels: what is wider is no noise from pixel to pixel
_FAINT = 0.5  # sigma of the input: the truth in what counts as sky


def to_space(
    image,
    space,
    *,
    zero_point=None,
    sky=0.0,
    sigma=None,
    scale=AsinhStretch.LEGACY_SCALE,
    mask=None,
):
    r"""
    Bring flux to the space in which it is compared.

    Parameters
    ----------
    image : array_like, shape (n_band, ny, nx) or (ny, nx)
        Flux per pixel.
    space : {"seed", "asinh", "noise"}
        One of `SPACES`.
    zero_point : float or array_like, shape (n_band,), optional
        AB magnitude of one unit of the image, for ``"asinh"`` (22.5 for nanomaggies).
        Without one, ``"seed"`` takes the values as they are: give the ``scale`` that suits.
    sky : float or array_like, shape (n_band,), optional
        What is subtracted first.
    sigma : float or array_like, shape (n_band,), optional
        Noise per pixel of the *image's* grid in its unit, for ``"noise"``; on the 2x grid a
        quarter of the input's.
    scale : float, optional
        Of the arcsinh, for ``"seed"``: 100/3 as for the paper's target, 10/3 as for its
        S-PLUS counts.
    mask : array_like of bool, optional
        `True` is left out of the extremes, for ``"seed"``.

    Returns
    -------
    values : `~numpy.ndarray`
        Double precision, of the shape of the image.  An image of one single value is 0
        in ``"seed"``.

    Raises
    ------
    ValueError
        If the space is unknown, or what it needs is not given.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.metrics import to_space
    >>> to_space([[0.0, 0.3]], "asinh", zero_point=22.5).round(3)
    array([[0.   , 2.998]])
    >>> to_space([[1.0, 3.0]], "noise", sky=1.0, sigma=0.5)
    array([[0., 4.]])
    """
    check_one_of("space", space, SPACES)
    flux = as_float(image) - _per_band("sky", sky, image)
    if space == "noise":
        if sigma is None:
            raise ValueError('sigma must be given for the space "noise"; got None')
        noise = _per_band("sigma", sigma, image)
        if not (noise > 0).all():
            raise ValueError(f"sigma must be above 0; got {sigma!r}")
        return flux / noise
    if zero_point is not None:
        magnitude = _per_band("zero_point", zero_point, image)
        flux = flux * 10 ** (-0.4 * (magnitude - _AB_OF_NANOMAGGIE))
    if space == "asinh":
        if zero_point is None:
            raise ValueError(
                'zero_point must be given for the space "asinh", which is one of nanomaggies '
                "(22.5 for these); got None"
            )
        return AsinhStretch.legacy()(flux)
    return _min_max(AsinhStretch(scale)(flux), mask)


def _min_max(values, mask):
    """To [0, 1] by the extremes over all bands."""
    valid = np.isfinite(values)
    if mask is not None:
        valid &= ~np.asarray(mask, bool)
    if not valid.any() or np.ptp(values[valid]) == 0:
        return np.where(np.isfinite(values), 0.0, np.nan)
    return MinMaxStretch().fit(values, mask=~valid)(values)


def _per_band(name, value, image):
    """A number, or one for each band, that broadcasts against the image."""
    value, shape = np.asarray(value, float), np.shape(image)
    if value.ndim == 0 or (value.ndim == 1 and len(shape) == 3 and len(value) == shape[0]):
        return value if value.ndim == 0 else value[:, None, None]
    raise ValueError(
        f"{name} must be one number, or one for each band of an image of shape {shape}; got shape "
        f"{value.shape}"
    )


def psnr(reference, image, *, data_range, mask=None, per_band=False):
    r"""
    Peak signal-to-noise ratio in dB, :math:`20 \log_{10}(R / \sqrt{\rm MSE})`.

    Parameters
    ----------
    reference, image : array_like, shape (ny, nx) or (n_band, ny, nx)
        Truth, and what is compared with it.
    data_range : float or array_like, shape (n_band,)
        :math:`R`: what the values span.  It has no default, because it decides the result;
        the extent of the reference is a usual choice.
    mask : array_like of bool, optional
        `True` is left out; it broadcasts against the images.
    per_band : bool, optional
        Whether to give a score for each band, instead of one for all pixels together.

    Returns
    -------
    psnr : float or `~numpy.ndarray`, shape (n_band,)
        Infinite for equal images; NaN where no pixel is left or the range is 0.

    Raises
    ------
    ValueError
        If the shapes differ, or the range is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import psnr
    >>> psnr(np.zeros((8, 8)), np.full((8, 8), 0.1), data_range=1.0)
    20.0
    """
    error = nrmse(reference, image, data_range=data_range, mask=mask, per_band=per_band)
    with np.errstate(divide="ignore"):
        result = -20 * np.log10(error)
    return result if per_band else float(result)


def nrmse(reference, image, *, data_range, mask=None, per_band=False):
    r"""
    Root mean square error in units of the data range, :math:`\sqrt{\rm MSE} / R`.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`.

    Returns
    -------
    nrmse : float or `~numpy.ndarray`, shape (n_band,)
        NaN where no pixel is left or the range is 0.

    Raises
    ------
    ValueError
        If the shapes differ, or the range is negative or not finite.

    Examples
    --------
    >>> from splus_srgan.evaluation.measure.metrics import nrmse
    >>> nrmse([[0.0, 0.0]], [[3.0, 4.0]], data_range=5.0) ** 2
    0.5
    """
    truth, made, missing = _compared(reference, image, mask)
    spans = _ranges(data_range, len(truth), per_band)
    squares = np.where(missing, 0, (made - truth) ** 2).sum(axis=(1, 2))
    count = (~missing).sum(axis=(1, 2))
    if not per_band:
        squares, count, spans = squares.sum(), count.sum(), spans[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        result = np.where(spans > 0, np.sqrt(squares / count) / spans, np.nan)
    return result if per_band else float(result)


def ssim(reference, image, *, data_range, mask=None, per_band=False):
    """
    Structural similarity (Wang et al. 2004), by scikit-image: windows of 7 x 7 pixels.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`, at least 7 x 7 pixels.  A window with a masked pixel is left out.

    Returns
    -------
    ssim : float or `~numpy.ndarray`, shape (n_band,)
        At most 1; of several bands together, the mean.  NaN where no window is left or the
        range is 0.

    Raises
    ------
    ValueError
        If the shapes differ, images are too small, or the range is negative or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import ssim
    >>> image = np.random.default_rng(1).normal(size=(16, 16))
    >>> round(ssim(image, image, data_range=6.0), 6)
    1.0
    """
    return _by_band(plain_ssim, reference, image, data_range, mask, per_band, WINDOW)


def ms_ssim(reference, image, *, data_range, n_scale=5, mask=None, per_band=False):
    r"""
    Multi-scale structural similarity (Wang, Simoncelli and Bovik 2003).

    .. math:: \prod_{j=1}^{m-1} c_j^{w_j} \cdot s_m^{w_m}

    with SSIM :math:`s` on the coarsest scale, its contrast and structure part :math:`c` on
    the others (0 where their mean is negative), Gaussian windows of 1.5 pixels, and means
    over 2 x 2 pixels from scale to scale.

    Parameters
    ----------
    reference, image, data_range, mask, per_band
        As for `psnr`.  A window with a masked pixel is left out.
    n_scale : int, optional
        :math:`m`, 1 to 5.  Five need 176 pixels on each side, each one less half as many.
        With fewer, the weights are those of the finest scales, brought to a sum of 1.

    Returns
    -------
    ms_ssim : float or `~numpy.ndarray`, shape (n_band,)
        As for `ssim`.

    Raises
    ------
    ValueError
        If the shapes differ, images are too small for the scales, or the range is negative
        or not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.metrics import ms_ssim
    >>> image = np.random.default_rng(1).normal(size=(48, 48))
    >>> round(ms_ssim(image, image, data_range=6.0, n_scale=3), 6)
    1.0
    """
    if check_integer("n_scale", n_scale, minimum=1) > len(MS_SSIM_WEIGHTS):
        raise ValueError(f"n_scale must be at most {len(MS_SSIM_WEIGHTS)}; got {n_scale}")
    weights = np.array(MS_SSIM_WEIGHTS[:n_scale]) / sum(MS_SSIM_WEIGHTS[:n_scale])

    def of_band(truth, made, missing, span):
        return multi_scale(truth, made, missing, span, weights)

    smallest = (2 * MS_REACH + 1) * 2 ** (n_scale - 1)
    return _by_band(of_band, reference, image, data_range, mask, per_band, smallest)


def _compared(reference, image, mask):
    """Both as ``(n_band, ny, nx)``, and where they cannot be compared."""
    truth, made = as_float(reference), as_float(image)
    if truth.shape != made.shape or truth.ndim not in (2, 3) or not truth.size:
        raise ValueError(
            "reference and image must have one shape, (ny, nx) or (n_band, ny, nx); got "
            f"{truth.shape} and {made.shape}"
        )
    missing = ~(np.isfinite(truth) & np.isfinite(made))
    if mask is not None:
        try:
            missing |= np.broadcast_to(np.asarray(mask, bool), truth.shape)
        except ValueError:
            raise ValueError(
                f"mask must broadcast to the shape of the images, {truth.shape}; got "
                f"{np.shape(mask)}"
            ) from None
    shape = (-1, *truth.shape[-2:])
    truth, made = (np.where(missing, 0, one).reshape(shape) for one in (truth, made))
    return truth, made, missing.reshape(shape)


def _ranges(data_range, n_band, per_band):
    """One range for each band; all together they have a single one."""
    spans = np.asarray(data_range, float)
    allowed = ((), (n_band,)) if per_band else ((),)
    if spans.shape not in allowed or not np.isfinite(spans).all() or (spans < 0).any():
        rule = f"one number, or one for each of {n_band} bands" if per_band else "one number"
        raise ValueError(f"data_range must be {rule}, finite and at least 0; got {data_range!r}")
    return np.broadcast_to(spans, (n_band,))


def _by_band(function, reference, image, data_range, mask, per_band, smallest):
    """Apply to each band, and average where they are scored together."""
    truth, made, missing = _compared(reference, image, mask)
    spans = _ranges(data_range, len(truth), per_band)
    if min(truth.shape[1:]) < smallest:
        raise ValueError(
            f"images must have at least {smallest} pixels on each side here; got {truth.shape[1:]}"
        )
    values = np.array(
        [
            function(*planes) if planes[3] > 0 else np.nan
            for planes in zip(truth, made, missing, spans, strict=True)
        ]
    )
    if per_band:
        return values
    return float(values[np.isfinite(values)].mean()) if np.isfinite(values).any() else np.nan


def scores(pair, output, *, zero_point=None):
    """
    Score an output against the truth of its pair, in every space, per band and joint.

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input and truth.  Pixels that are missing or saturated in the input do not count.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image; the sky of its header (``SRFSKY`` or ``SRSKY``) is taken off first.
    zero_point : float or mapping of str to float, optional
        AB magnitude of one unit of the images, per band.  Not needed where they are in
        nanomaggies or another physical unit; where it is not known, ``"seed"`` and
        ``"asinh"`` are NaN.

    Returns
    -------
    table : `~astropy.table.QTable`
        Columns ``space, band, psnr, ssim, ms_ssim, nrmse, data_range``; band ``"joint"``
        is all of them, where there are several.  The range is the extent of the truth,
        1 in ``"seed"``.  Without a truth the table has no rows.

    Raises
    ------
    ValueError
        If the output lacks a band.
    GridMismatchError
        If the output is not on the grid that is twice as fine.

    Examples
    --------
    >>> from splus_srgan import simulate_field
    >>> from splus_srgan.evaluation.baselines.methods import Bicubic
    >>> from splus_srgan.evaluation.measure.metrics import scores
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> pair = EvaluationPair.from_simulation(simulate_field(1, shape=(32, 32)), name="one")
    >>> output = Bicubic()(pair.observed, sky=pair.sky, sigma=pair.sigma)
    >>> table = scores(pair, output)
    >>> len(table), str(table["space"][-1]), str(table["band"][-1])
    (12, 'noise', 'joint')
    """
    names = ("space", "band", "psnr", "ssim", "ms_ssim", "nrmse", "data_range")
    table = QTable(names=names, dtype=["U8", "U16", *5 * [float]])
    bands = compared_bands(pair, output)
    if pair.target is not None:
        known = _zero_points(pair, zero_point)
        for space in SPACES:
            for row in _space_rows(bands, space, known):
                table.add_row((space, *row))
    table["psnr"].unit = "dB"
    return table


def _zero_points(pair, zero_point):
    """AB magnitude of one unit, per band; NaN where it is not known."""
    given = zero_point if hasattr(zero_point, "get") else dict.fromkeys(pair.bands, zero_point)
    result = {}
    for band, image in pair.observed.items():
        value = given.get(band)
        if value is None and image.unit is not None and image.unit.is_equivalent(u.nmgy):
            value = _AB_OF_NANOMAGGIE - 2.5 * np.log10(image.unit.to(u.nmgy))
        result[band] = np.nan if value is None else float(value)
    return result


def _space_rows(bands, space, zero_points):
    """``(band, psnr, ssim, ms_ssim, nrmse, data_range)`` for each band, and joint."""
    zero_point = [zero_points[name] for name in bands]
    if space != "noise" and not np.isfinite(zero_point).all():
        return [(name, *5 * [np.nan]) for name in (*bands, *(["joint"] if len(bands) > 1 else []))]
    sigma = [band.sigma / 4 for band in bands.values()]
    mask = np.stack([band.bad.repeat(2, 0).repeat(2, 1) for band in bands.values()])
    truth, made = (
        to_space(
            np.stack([getattr(band, what) for band in bands.values()]),
            space,
            zero_point=zero_point,
            sigma=sigma,
            mask=mask,
        )
        for what in ("truth", "output")
    )
    rows = [
        (name, *_row(*planes, space))
        for name, planes in zip(bands, zip(truth, made, mask, strict=True), strict=True)
    ]
    return [*rows, ("joint", *_row(truth, made, mask, space))] if len(bands) > 1 else rows


def _row(truth, made, mask, space):
    valid = truth[~mask]
    span = 1.0 if space == "seed" else float(np.ptp(valid)) if valid.size else 0.0
    options = {"data_range": span, "mask": mask}
    side = min(truth.shape[-2:])
    n_scale = int(np.clip(np.log2(side / (2 * MS_REACH + 1)) + 1, 0, len(MS_SSIM_WEIGHTS)))
    return (
        psnr(truth, made, **options),
        ssim(truth, made, **options) if side >= WINDOW else np.nan,
        ms_ssim(truth, made, n_scale=n_scale, **options) if n_scale else np.nan,
        nrmse(truth, made, **options),
        span,
    )


def checks_metrics(pair, output, *, bicubic=None, zero_point=None):
    """
    Judge an output by its pixels against the truth.

    Strength and position come from spectra (`splus_srgan.evaluation.measure.spectra`), with the
    errors that noise gives them: what they are too large for counts as "not measured".

    Parameters
    ----------
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`
        Input and truth.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image.
    bicubic : dict of str to `~astropy.nddata.CCDData`, optional
        Band to what `~splus_srgan.evaluation.baselines.methods.Bicubic` makes of the input, with
        sky and sigma of the output's header; made here where not given.
    zero_point : float or mapping of str to float, optional
        As for `scores`; where it is not known, PSNR and SSIM are compared in ``"noise"``
        instead of ``"asinh"``.

    Returns
    -------
    checks : list of `~splus_srgan.evaluation.checks.Check`
        One of each of `LIMITS` for each band; "not measured" without a truth without noise.

    Raises
    ------
    ValueError
        If the output lacks a band.
    GridMismatchError
        If the output is not on the grid that is twice as fine.
    """
    bands = compared_bands(pair, output)
    if pair.target is None or not pair.noise_free:
        note = "there is no truth without noise"
        return [
            Check(_topic(name), name, band, np.nan, limit, note=note)
            for band in bands
            for name, limit in LIMITS.items()
        ]
    if bicubic is None:
        bicubic = _bicubic(pair, output)
    known = _zero_points(pair, zero_point)
    space = "asinh" if np.isfinite(list(known.values())).all() else "noise"
    ours = _two_scores(bands, space, known)
    others = _two_scores(compared_bands(pair, bicubic), space, known)
    checks = []
    for name, band in bands.items():
        checks += _spectral_checks(band)
        checks.append(_sky_check(band))
        note = f"in the space {space!r}"
        for k, title in enumerate(("PSNR ahead of bicubic", "SSIM ahead of bicubic")):
            ahead = ours[name][k] - others[name][k]
            # Equal to the truth is infinitely far ahead; of an empty truth there is no score.
            ahead = 999.0 if ahead == np.inf else ahead
            unit = "dB" if k == 0 else ""
            limit, topic = LIMITS[title], _topic(title)
            checks.append(Check(topic, title, name, float(ahead), limit, unit, note=note))
    return checks


def _two_scores(bands, space, zero_points):
    """PSNR and SSIM of each band."""
    found = {}
    for name, band in bands.items():
        options = {"zero_point": zero_points[name], "sigma": band.sigma / 4}
        truth, made = (to_space(one, space, **options) for one in (band.truth, band.output))
        mask = band.bad.repeat(2, 0).repeat(2, 1)
        span = float(np.ptp(truth[~mask])) if not mask.all() else 0.0
        options = {"data_range": span, "mask": mask}
        found[name] = psnr(truth, made, **options), ssim(truth, made, **options)
    return found


def _topic(name):
    words = {"flux": "photometry", "shift": "astrometry", "noise": "artefacts"}
    return words.get(name.split()[0], "morphology")


def _bicubic(pair, output):
    """Interpolation with the sky and sigma that the output was made with."""
    from splus_srgan.evaluation.baselines.methods import Bicubic

    metas = {name: output[name].meta for name in pair.bands}
    sky = {name: meta.get("SRSKY", pair.sky.get(name)) for name, meta in metas.items()}
    sigma = {name: meta.get("SRSIGMA", pair.sigma.get(name)) for name, meta in metas.items()}
    known = {"sky": sky, "sigma": sigma}
    levels = {key: value for key, value in known.items() if None not in value.values()}
    return Bicubic()(pair.observed, **levels)


def _spectral_checks(band):
    """Strength on two scales, and position."""
    large, moved, small = tuple(LIMITS)[:3]
    mask = band.bad.repeat(2, 0).repeat(2, 1)
    options = {"mask": mask, "reference": band.truth, "image": band.output}
    checks = []
    for name, low, high in ((large, 0.0, _LARGE), (small, _LARGE, _SMALL)):
        found = measure_amplitude(low=low, high=high, **options)
        checks.append(_judged(name, band, found.value, found.error))
    found = measure_shift(high=_SMALL, **options)
    size = float(np.hypot(found.y, found.x))
    checks.insert(1, _judged(moved, band, size, found.error, unit="pix"))
    return checks


def _judged(name, band, value, error, unit=""):
    note = "" if np.isfinite(value) else "the truth is empty"
    limit, number = LIMITS[name], band.output.size
    return judge(
        _topic(name), name, band.name, value, limit, error=error, count=number, unit=unit, note=note
    )


def _sky_check(band):
    """Robust scatter of what differs from pixel to pixel, where the truth is empty."""
    name = "noise from pixel to pixel in the sky"
    sigma = band.sigma / 4
    rough = band.output - ndimage.gaussian_filter(band.output, _SMOOTH, mode="nearest")
    smooth_truth = ndimage.maximum_filter(band.truth, 9)
    free = (smooth_truth < _FAINT * sigma) & ~band.bad.repeat(2, 0).repeat(2, 1)
    value = robust_std(rough[free]) / sigma if free.sum() > 100 else np.nan
    note = "" if np.isfinite(value) else "no sky in the frame"
    limit = LIMITS[name]
    return Check(
        _topic(name),
        name,
        band.name,
        float(value),
        limit,
        "sigma",
        count=int(free.sum()),
        note=note,
    )
