# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Artefacts in the sky of an output: patterns, seams, clouds, large-scale structure."""

import math

import numpy as np
from astropy import units as u
from astropy.nddata import block_reduce
from astropy.table import QTable
from scipy import ndimage

from splus_srgan.evaluation.measure.spectrum import SkySpectrum, named_frequencies
from splus_srgan.utils.validate import check_integer, check_positive

__all__ = [
    "cloudiness",
    "low_frequency_residual",
    "mean_output",
    "pattern_lines",
    "seams",
    "sky_pixels",
    "sky_units",
]

_FACTOR = 2
_LEAST_FREE = 0.2  # of the pixels: with less sky, nothing is said about the sky
_FAINTEST = 0.25  # sky units: what is brighter after smoothing is a source
_MOST = 0.49  # quantile of the pieces of a border: just below the median, the least of three
_EDGE = 16  # output pixels: a network treats the border of the image in its own way
_CLOUD = (2.0, 8.0)  # output pixels
_NOISE_OF_AREA = 1.1  # noise of the sum over an area, of S-PLUS images, over that of white noise


def sky_units(images, *, sky=None, sigma=None, factor=_FACTOR):
    """
    Bring images to sky units, so that bands, fields and grids can be compared.

    Parameters
    ----------
    images : mapping of str to `~astropy.nddata.CCDData`
        Band to image ``(ny, nx)``, in flux per pixel.
    sky, sigma : mapping of str to float, optional
        Sky and its noise per *input* pixel.  `None`: the cards SRFSKY, or where it
        is missing SRSKY, and SRSIGMA.
    factor : int, optional
        How many times finer than the input's the pixels are, per axis; 1 for the input.

    Returns
    -------
    units : dict of str to `~numpy.ndarray`, shape (ny, nx)
        float64; NaN where masked.

    Raises
    ------
    ValueError
        If sky or sigma are neither given nor in the header.

    Examples
    --------
    >>> import numpy as np
    >>> from astropy.nddata import CCDData
    >>> from splus_srgan.evaluation.measure.artefacts import sky_units
    >>> image = CCDData(np.full((4, 4), 3.0), unit="adu", meta={"SRSKY": 4.0, "SRSIGMA": 2.0})
    >>> sky_units({"r": image})["r"][0, 0]
    np.float64(4.0)
    """
    check_integer("factor", factor, minimum=1)
    result = {}
    for band, image in images.items():
        card = "SRFSKY" if "SRFSKY" in image.meta else "SRSKY"
        level = _from_card("sky", sky, card, band, image)
        noise = check_positive("sigma", _from_card("sigma", sigma, "SRSIGMA", band, image))
        values = (np.asarray(image.data, float) * factor**2 - level) / noise
        result[band] = values if image.mask is None else np.where(image.mask, np.nan, values)
    return result


def _from_card(name, given, card, band, image):
    if given is not None:
        if band not in given:
            raise ValueError(f"{name} must have every band of images; got none for {band!r}")
        return float(given[band])
    if card not in image.meta:
        raise ValueError(
            f"{name} must be given for band {band!r}, as its header has no card {card}; "
            "splus_srgan.measure_background measures it on the input"
        )
    return float(image.meta[card])


def sky_pixels(image, *, threshold=_FAINTEST, grow=4):
    """
    Find the pixels that show sky alone.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units; NaN is missing.
    threshold : float, optional
        Least smoothed surface brightness (Gaussian of 2 pixels) of a source, in sky units;
        raised to 5 times the smoothed noise of the quieter parts, where that is more.
    grow : int, optional
        Pixels by which sources grow.

    Returns
    -------
    free : `~numpy.ndarray` of bool, shape (ny, nx)
        `True` where there is sky.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import sky_pixels
    >>> image = np.zeros((32, 32))
    >>> image[16, 16] = 100
    >>> free = sky_pixels(image)
    >>> bool(free[16, 16]), bool(free[0, 0])
    (False, True)
    """
    valid = np.isfinite(image)
    smooth, wide = (smoothed(image, valid, size) for size in _CLOUD)
    bright = smooth > max(threshold, 5 * _quiet_spread(smooth - wide, valid))
    reach = ndimage.generate_binary_structure(2, 1)
    return valid & ~ndimage.binary_dilation(bright, reach, iterations=check_integer("grow", grow))


def smoothed(image, valid, size):
    """Gaussian mean of the valid pixels; 0 where there are none near."""
    weight = ndimage.gaussian_filter(valid.astype(float), size)
    total = ndimage.gaussian_filter(np.where(valid, image, 0.0), size)
    return np.divide(total, weight, out=np.zeros_like(total), where=weight > 1e-3)


def _quiet_spread(image, valid, mesh=32):
    """Standard deviation in the quieter meshes, where there are least sources."""
    image = np.where(valid, image, np.nan)
    places = [range(0, max(1, n - mesh // 2), mesh) for n in image.shape]
    cuts = [image[j : j + mesh, i : i + mesh].ravel() for j in places[0] for i in places[1]]
    spreads = [_spread(cut[np.isfinite(cut)]) for cut in cuts if np.isfinite(cut).mean() > 0.5]
    # Noisy images reach 0.3; what lies far above is a galaxy that fills the frame.
    return min(float(np.quantile(spreads, 0.2)), 0.4) if spreads else 0.0


def _spread(values):
    """Standard deviation from the median absolute deviation; NaN of nothing."""
    if not len(values):
        return math.nan
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))


def mean_output(images, *, free=None):
    """
    Average the sky of many outputs, in which only what all have in common survives.

    Images of which less than a fifth is sky are left out.

    Parameters
    ----------
    images : sequence of `~numpy.ndarray`, shape (ny, nx)
        Outputs in sky units, all of one shape.
    free : sequence of `~numpy.ndarray` of bool, optional
        Their sky; found with `sky_pixels` where not given.

    Returns
    -------
    mean : `~numpy.ndarray`, shape (ny, nx)
        NaN where no image has sky.
    count : `~numpy.ndarray` of int, shape (ny, nx)
        Images in the mean.

    Raises
    ------
    ValueError
        If there are no images, or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import mean_output
    >>> mean, count = mean_output([np.full((16, 16), 0.1), np.full((16, 16), -0.1)])
    >>> float(mean[0, 0]), int(count[0, 0])
    (0.0, 2)
    """
    images = list(images)
    shapes = {np.shape(image) for image in images}
    if len(shapes) != 1:
        raise ValueError(f"images must be at least one, all of one shape; got {sorted(shapes)}")
    free = [sky_pixels(image) for image in images] if free is None else free
    # What seems to be sky in a frame that is full of sources is the rest of these.
    free = [part if part.mean() >= _LEAST_FREE else np.zeros_like(part) for part in free]
    count = np.sum(free, axis=0)
    total = sum(np.where(part, image, 0.0) for image, part in zip(images, free, strict=True))
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0), count


def pattern_lines(image, *, free=None, periods=(2, 4)):
    r"""
    Look for periodic patterns: lines in the power spectrum of the sky.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    periods : sequence of float, optional
        Periods (output pixels, at least 2) to look at in any case: 2 is the Nyquist
        frequency, 4 half of it; add the side of the blocks.

    Returns
    -------
    lines : `~astropy.table.QTable`
        For each period its strongest frequency (``name`` is ``"period 2"`` ...), and
        the strongest line at any other frequency (``"any"``).  Columns: ``fy, fx``
        (1 / pix); ``amplitude`` of the wave; ``level``, the amplitude of the noise there;
        ``faintest``, the least amplitude that cannot be noise; ``found``.  NaN where there
        is too little sky.

    Raises
    ------
    ValueError
        If a period is below 2.

    Notes
    -----
    The sky is weighted with a Hann window, so :math:`a \cos(2\pi f x)` has amplitude
    :math:`a`.  A line counts where its power is :math:`\ln(N / 10^{-4})` times that of
    its surroundings, which noise reaches once in 10000 looks at :math:`N` frequencies.
    Waves of fewer than 8 periods across the image are left to `low_frequency_residual`.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import pattern_lines
    >>> y, x = np.mgrid[:64, :64]
    >>> noise = np.random.default_rng(1).normal(0, 0.01, (64, 64))
    >>> lines = pattern_lines(noise + 0.1 * (-1.0) ** (x + y))
    >>> lines["name"][lines["found"]].tolist(), round(float(lines["amplitude"][0]), 2)
    (['period 2'], 0.1)
    """
    free = sky_pixels(image) if free is None else free
    rows = []
    for period in periods:
        if not period >= 2:
            raise ValueError(f"periods must be at least 2 pixels; got {period!r}")
    if free.mean() < _LEAST_FREE:
        rows = [(_period_name(p), *(math.nan,) * 4, math.nan, False) for p in periods]
        return _line_table([*rows, ("any", *(math.nan,) * 5, False)])
    spectrum = SkySpectrum(np.asarray(image, float), free)
    named = []
    for period in periods:
        places = named_frequencies(period)
        lines = [(fy, fx, *spectrum.at(fy, fx)) for fy, fx in places]
        least = spectrum.threshold(len(places))
        rows.append(_line_row(_period_name(period), max(lines, key=_strength), least))
        named += places
    step = 3 / min(image.shape)  # the window spreads a line over two frequencies
    others = [
        line
        for line in spectrum.search(number=5 + len(named))
        if not any(_near(line[:2], place, step) for place in named)
    ]
    least = spectrum.threshold()
    found = [line for line in others if _strength(line) > least]
    strongest = max(found, key=lambda line: line[2], default=None)
    if strongest is not None:
        strongest = spectrum.refined(*strongest[:2])
    nothing = (math.nan, math.nan, 0.0, spectrum.typical_level)
    rows.append(_line_row("any", strongest or nothing, least))
    return _line_table(rows)


def _strength(line):
    return line[2] / line[3]


def _near(one, other, step):
    """Whether two frequencies are one, a period of 1 apart included."""
    return all(abs((a - b + 0.5) % 1 - 0.5) < step for a, b in zip(one, other, strict=True))


def _period_name(period):
    return f"period {period:g}"


def _line_row(name, line, least):
    fy, fx, amplitude, level = line
    return (name, fy, fx, amplitude, level, least * level, amplitude > least * level)


def _line_table(rows):
    names = ("name", "fy", "fx", "amplitude", "level", "faintest", "found")
    table = QTable(rows=rows, names=names)
    table["fy"].unit = table["fx"].unit = 1 / u.pix
    return table


def seams(image, *, free=None, block_size=None):
    r"""
    Look for steps along rows and columns, as blocks leave that were put side by side.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    block_size : int, optional
        Side of the blocks in output pixels: only their borders are looked at.
        `None`: every row and column.

    Returns
    -------
    borders : `~astropy.table.QTable`
        Sorted, the most significant first: ``axis`` (0: between rows), ``position`` (first
        pixel behind the border), ``step`` and its ``error`` (sky units), ``significance``.

    Notes
    -----
    At the border before pixel :math:`k` (none of the outermost 16) the step is
    :math:`D_k = (v_k - v_{k-1}) - (v_{k+1} - v_{k-2}) / 3`, which a smooth sky does
    not have.  Its mean is taken over pieces of 32 pixels along the border, and the root of the
    lower median square of these is compared with that of all other rows or columns: blocks
    that are too bright and too dark in turn do not hide, and a faint source, which is in one
    piece alone, is no seam.  Rows and columns with less than half of sky are left out.
    ``significance`` is in standard deviations of the other borders.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import seams
    >>> image = np.random.default_rng(1).normal(0, 0.02, (64, 64))
    >>> image[:, 40:] += 0.1
    >>> found = seams(image)[0]
    >>> int(found["axis"]), int(found["position"]), bool(abs(found["step"] - 0.1) < 0.02)
    (1, 40, True)
    """
    free = sky_pixels(image) if free is None else free
    rows = []
    for axis in (0, 1):
        rms = _border_steps(*(np.moveaxis(a, axis, 0) for a in (image, free)))
        usable = np.isfinite(rms)
        usable[: _EDGE - 2] = usable[len(usable) - _EDGE + 1 :] = False
        if usable.sum() < 8:
            continue
        typical = float(np.median(rms[usable]))
        scatter = max(_spread(rms[usable]), 1e-9, 1e-3 * typical)
        for k in np.flatnonzero(usable):
            position = int(k) + 2
            if block_size is not None and position % block_size:
                continue
            step = math.sqrt(max(rms[k] ** 2 - typical**2, 0.0))
            error = scatter * rms[k] / step if step else scatter
            rows.append((axis, position, step, error, (rms[k] - typical) / scatter))
    names = ("axis", "position", "step", "error", "significance")
    types = (int, int, float, float, float)
    table = QTable(rows=rows or None, names=names, dtype=types)
    table.sort("significance", reverse=True)
    return table


def _border_steps(image, free, piece=32):
    """Root median square over pieces of the mean step before each row from the third on."""
    image = np.where(free, image, np.nan)
    step = (image[2:-1] - image[1:-2]) - (image[3:] - image[:-3]) / 3
    step *= 1.5  # a sharp step of 1 gives 2/3
    pieces = np.array_split(np.arange(step.shape[1]), max(1, step.shape[1] // piece))
    means, weights = [], []
    for columns in pieces:
        part = step[:, columns]
        good = np.isfinite(part)
        weights.append(good.sum(axis=1))
        with np.errstate(invalid="ignore"):
            means.append(np.where(good, part, 0).sum(axis=1) / weights[-1])
    means, weights = np.array(means), np.array(weights)
    enough = weights >= piece // 4
    count = enough.sum(axis=0)
    with np.errstate(invalid="ignore"):
        squares = np.where(enough, means**2, np.nan)
    rms = np.full(count.shape, np.nan)
    # What shows in half of the pieces, or where sources leave no more, may be one of them.
    told = count >= len(pieces) / 2
    rms[told] = np.sqrt(np.nanquantile(squares[:, told], _MOST, axis=0, method="lower"))
    return rms


def cloudiness(image, *, free=None, scales=_CLOUD):
    """
    Blotches that noise leaves in the sky of an output.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    scales : tuple of float, optional
        Sizes (Gaussian sigma, output pixels) between which a blotch lies.

    Returns
    -------
    rms : float
        Robust standard deviation of the sky between the scales, in sky units; NaN where there
        is too little sky.  A bicubic upsampling of the input has about 0.28.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import cloudiness
    >>> cloudiness(np.zeros((32, 32)))
    0.0
    """
    free = sky_pixels(image) if free is None else free
    if free.mean() < _LEAST_FREE:
        return math.nan
    small, large = (smoothed(image, free, size) for size in scales)
    return _spread((small - large)[free])


def low_frequency_residual(image, observed=None, *, free=None, mesh=32):
    r"""
    Large-scale structure that the sky of an output should not have.

    Parameters
    ----------
    image : `~numpy.ndarray`, shape (ny, nx)
        Output in sky units.
    observed : `~numpy.ndarray`, shape (ny / 2, nx / 2), optional
        Input in sky units.  Given, only structure that the input does not have counts.
    free : `~numpy.ndarray` of bool, optional
        The sky; `sky_pixels` where not given.
    mesh : int, optional
        Side of the meshes that are averaged, in output pixels.

    Returns
    -------
    rms, error : float
        Root mean square of the means of the meshes, in sky units, less what the noise of
        the input explains; and its standard error.  NaN with fewer than 4 meshes of sky.

    Notes
    -----
    :math:`r^2 = \langle (\bar{v}_\mathrm{out} - \bar{v}_\mathrm{in})^2 \rangle
    - 1.1^2 / n` with :math:`n` input pixels in a mesh, 0 where negative; 1.1 is what the
    correlation of the noise of S-PLUS images adds.  Without an input, nothing is subtracted.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.evaluation.measure.artefacts import low_frequency_residual
    >>> rms, error = low_frequency_residual(np.full((128, 128), 0.1))
    >>> round(rms, 6), round(error, 3)
    (0.1, 0.018)
    """
    free = sky_pixels(image) if free is None else free
    image = np.where(free, image, np.nan)
    noise_area = math.inf
    if observed is not None:
        image = block_reduce(image, _FACTOR, np.mean) - observed
        mesh, noise_area = mesh // _FACTOR, 1.0
    good = np.isfinite(image)
    total = block_reduce(np.where(good, image, 0.0), mesh, np.sum)
    count = block_reduce(good.astype(float), mesh, np.sum)
    enough = count >= mesh**2 / 2
    if enough.sum() < 4:
        return math.nan, math.nan
    squares = (total[enough] / count[enough]) ** 2
    noise = np.mean(_NOISE_OF_AREA**2 / (noise_area * count[enough]))
    power = max(float(squares.mean() - noise), 0.0)
    # Of the mean of squares of normal deviates.
    error = float(squares.mean()) * math.sqrt(2 / enough.sum())
    return math.sqrt(power), error / (2 * math.sqrt(max(power, error)) or 1.0)
