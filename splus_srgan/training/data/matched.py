# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Matched pairs of a folder: their preparation for training, and which are held out."""

import numpy as np
from astropy import units as u
from astropy.table import Table

from splus_srgan.images.bands import same_band
from splus_srgan.images.header import gain_from_header
from splus_srgan.images.units import flux_per_pixel_factor
from splus_srgan.pairs.quality.band import known_saturated
from splus_srgan.pixels.background import measure_background
from splus_srgan.pixels.missing import fill_missing, missing_pixels
from splus_srgan.surveys.catalog import split_by_sky, split_random
from splus_srgan.training.data.crops import SATURATION_REACH, Linear, grow, refine
from splus_srgan.utils.validate import is_number

__all__ = ["check_pairs", "hold_out", "read_pair", "read_sides"]

_NOISE_ELECTRONS = 17.0  # sky noise of S-PLUS in electrons, within a factor 1.6
_SURE = 0.1  # relative error of a flux ratio that calibrates a target
_DIRECTIONS = ("N", "NE", "E", "SE", "S", "SW", "W", "NW")


def describe(folder, name):
    """Name a pair and where it lies, for messages."""
    return f"the pair {name!r} ({folder.path / name})"


def _origins(folder):
    """The pair that each is an offset copy of, or the pair itself."""
    origins = {name: name for name in sorted(folder.names)}
    for name in origins:
        stem, _, direction = name.rpartition("_")
        if direction in _DIRECTIONS and stem in origins:
            # A copy of a copy shows the same galaxy; the stem comes before it in this order.
            origins[name] = origins[stem]
    return origins


def _groups(folder):
    """
    Divide the accepted pairs into those that show the same galaxy.

    Returns
    -------
    groups : dict of str to list of str
        The original, or where that is not accepted its first copy, to all that are.
    """
    origins, found = _origins(folder), {}
    for name in folder:
        found.setdefault(origins[name], []).append(name)
    return {
        origin if origin in members else members[0]: members for origin, members in found.items()
    }


def check_pairs(folder, names, bands, crop):
    """
    Refuse pairs that cannot be trained on, before any image is read.

    Parameters
    ----------
    folder : `~splus_srgan.pairs.folder.pairs.PairFolder`
        The folder.
    names : sequence of str
        Pairs.
    bands : sequence of str
        Bands that each must have.
    crop : int or None
        Side of the crop in input pixels.

    Returns
    -------
    ratios : dict of str to list of float
        Pair to flux of the target over that of the input in each band, NaN where unsure.

    Raises
    ------
    ValueError
        If there are no pairs, one lacks a band, or one is smaller than the crop.
    """
    index = {row["name"]: row for row in folder.index}
    if not names:
        verdicts = [str(row["verdict"]) for row in index.values()]
        raise ValueError(
            f"{folder.path} must have accepted pairs to train on; of its {len(verdicts)} pairs "
            f"{verdicts.count('reject')} are rejected and {verdicts.count('failed')} failed"
        )
    for name in names:
        row = index[name]
        there = str(row["bands"]).split(",")
        missing = [b for b in bands if not any(same_band(b, known) for known in there)]
        if missing:
            raise ValueError(
                f"{describe(folder, name)} must have the bands {', '.join(bands)}; it has "
                f"{', '.join(there)}: leave out {missing[0]}, or the pair"
            )
        shape = int(row["ny"]), int(row["nx"])
        if crop is not None and crop > min(shape):
            raise ValueError(
                f"crop must be at most the smaller side of every input; got {crop}, but "
                f"{describe(folder, name)} has the shape {shape}"
            )
    return {name: [_flux_ratio(index[name], band) for band in bands] for name in names}


def hold_out(folder, n_pairs, *, how, seed):
    """
    Divide the accepted pairs into those to train on and those to validate with.

    Parameters
    ----------
    folder : `~splus_srgan.pairs.folder.pairs.PairFolder`
        The folder.
    n_pairs : int
        Pairs to hold out.  Offset copies do not count, and stay on the side of
        their originals; those of held-out pairs are left out.  Where an original was not
        accepted, its first copy stands for it.
    how : {"sky", "random"}
        Method: by region of the sky, or at random.
    seed : int
        Number of the split.

    Returns
    -------
    train, validation : list of str
        Names.

    Raises
    ------
    ValueError
        If there are too few pairs, or they have no positions to be divided by.
    """
    names = list(folder)
    if n_pairs == 0 or not names:
        return names, []
    groups = _groups(folder)
    rows = [row for row in folder.index if row["name"] in groups]
    if n_pairs >= len(rows):
        raise ValueError(
            f"n_validation must leave pairs of {folder.path} to train on, which has {len(rows)} "
            f"accepted ones, offset copies not counted; got {n_pairs}"
        )
    table = Table({"name": [str(row["name"]) for row in rows]})
    for axis in ("ra", "dec"):
        table[axis] = [row[axis].to_value(u.deg) for row in rows]
    train, held = _split(table, n_pairs, how, seed, folder)
    train, held = ({str(name) for name in side["name"]} for side in (train, held))
    if not train:
        raise ValueError(
            f"the pairs of {folder.path} lie too close together on the sky to hold out {n_pairs} "
            "by region; take validation='random'"
        )
    chosen = {name for first in train for name in groups[first]}
    return [name for name in names if name in chosen], sorted(held)


def _split(table, n_pairs, how, seed, folder):
    placed = np.isfinite(table["ra"]) & np.isfinite(table["dec"])
    if how == "sky":
        if not placed.all():
            raise ValueError(
                f"validation='sky' needs the position of every pair of {folder.path}; "
                f"{str(table['name'][~placed][0])!r} has none: take validation='random'"
            )
        return split_by_sky(table, n_test=n_pairs, seed=seed)
    if not placed.all():
        # Without positions, neighbors are unknown.
        table["ra"], table["dec"] = 0.0, 0.0
        return split_random(table, n_test=n_pairs, seed=seed, together=0 * u.deg)
    return split_random(table, n_test=n_pairs, seed=seed)


def read_pair(folder, name, bands, flux_ratios):
    """
    Read a pair and measure the quantities that its stretch needs.

    Parameters
    ----------
    folder : `~splus_srgan.pairs.folder.pairs.PairFolder`
        The folder.
    name : str
        Name of the pair.
    bands : sequence of str
        Bands, in the order of the result.
    flux_ratios : sequence of float
        Per band, as `check_pairs` gives them.

    Returns
    -------
    pair : `~splus_srgan.training.data.crops.Linear`
        Pair that is finite everywhere: missing pixels are filled, and have no weight.

    Raises
    ------
    OSError
        If a file is missing or was changed.
    ValueError
        If the images do not fit each other, or flux cannot be compared.
    """
    where, sides = describe(folder, name), read_sides(folder, name, bands)
    try:
        rows = [_read_band(*parts) for parts in zip(*sides, flux_ratios, bands, strict=True)]
    except ValueError as error:
        raise ValueError(f"{where} cannot be trained on: {error}") from error
    parts = [np.stack(part) for part in zip(*rows, strict=True)]
    return Linear(*(p.astype(np.float32) for p in parts[:3]), *parts[3:], where)


def read_sides(folder, name, bands):
    """
    Read the images of a pair, and refuse those that are damaged or do not fit each other.

    Parameters
    ----------
    folder, name, bands
        As for `read_pair`.

    Returns
    -------
    input, target : list of `~astropy.nddata.CCDData`
        Images in the order of the bands.
    """
    where = describe(folder, name)
    try:
        sides = [_of_bands(side, bands) for side in folder.load(name)]
    except ValueError as error:
        raise ValueError(f"{where} cannot be read: {error}") from error
    _check_shapes(sides, bands, where)
    return sides


def _of_bands(side, bands):
    found = [[image for known, image in side.items() if same_band(known, band)] for band in bands]
    for band, images in zip(bands, found, strict=True):
        if not images:
            raise ValueError(f"it has the bands {', '.join(side)}, not {band}")
    return [images[0] for images in found]


def _check_shapes(sides, bands, where):
    shape = sides[0][0].shape
    for what, images, wanted in (
        ("input", sides[0], shape),
        ("target", sides[1], tuple(2 * n for n in shape)),
    ):
        for band, image in zip(bands, images, strict=True):
            if image.shape != wanted:
                raise ValueError(
                    f"{where}: {what}.fits must have the shape {wanted} in {band}, since the "
                    f"input has {shape}; got {image.shape}"
                )


def _flux_ratio(row, band):
    """Flux of the target over that of the input as the record has it, NaN where unsure."""
    for known in str(row["bands"]).split(","):
        if same_band(known, band):
            ratio = float(row[f"flux_ratio_{known}"])
            error = float(row[f"flux_ratio_error_{known}"])
            return ratio if ratio > 0 and error < _SURE * ratio else np.nan
    return np.nan


def _read_band(image, target, flux_ratio, band):
    """One band as the parts of a `Linear`, in their order."""
    missing, target_missing = (
        missing_pixels(image.data, image.mask),
        missing_pixels(target.data, target.mask),
    )
    data = fill_missing(np.asarray(image.data, np.float32), missing)
    fine = fill_missing(np.asarray(target.data, np.float32), target_missing)
    background = measure_background(data, mask=missing)
    sky, sigma = float(background.sky[0]), float(background.sigma[0])
    factor = _target_factor(image.unit, target.unit, flux_ratio, band)
    if background.has_sky[0]:
        fine = fine - _sky_of_target(fine, target_missing)
    fine = fine * np.float32(factor)
    fine *= np.float32(1 / flux_per_pixel_factor(image.unit))
    saturated = grow(known_saturated(image, data, band), SATURATION_REACH)
    bad = refine(missing | saturated).astype(bool) | target_missing
    bad |= known_saturated(target, np.asarray(target.data), band)
    gain, nanomaggies = _gain(image, sigma), _nanomaggies(target.unit) / factor
    return data, fine, 1.0 - bad, sky, sigma, gain, _counts(image), nanomaggies


def _sky_of_target(data, missing):
    """Level of the sky; 0 if there is none in the frame, or if the image has no noise."""
    try:
        return np.float32(measure_background(data, mask=missing).sky[0])
    except ValueError:
        return np.float32(0)


def _target_factor(unit, target_unit, flux_ratio, band):
    """Factor that brings the target to the unit of the input."""
    if unit == target_unit or unit is None or target_unit is None:
        return 1.0
    try:
        return float(target_unit.to(unit))
    except u.UnitConversionError:
        if np.isfinite(flux_ratio):
            return 1 / flux_ratio
    raise ValueError(
        f"the input is in {unit} and the target in {target_unit} in {band}, and the flux ratio of "
        "the record is not known within 10 %; calibrate the input (zero_points=) and match again"
    )


def _gain(image, sigma):
    """Electrons per unit of the image."""
    return gain_from_header(image.meta, image.unit) or _NOISE_ELECTRONS / sigma


def _counts(image):
    """ADU per unit of the image, NaN where unknown."""
    if image.unit in (u.adu, u.DN, u.ct):
        return 1.0
    zero_point = image.meta.get("SRZP")
    if image.unit == u.nmgy and is_number(zero_point):
        return 10 ** (0.4 * (zero_point - 22.5))
    return np.nan


def _nanomaggies(unit):
    try:
        return float(unit.to(u.nmgy))
    except (u.UnitConversionError, AttributeError):
        return np.nan
