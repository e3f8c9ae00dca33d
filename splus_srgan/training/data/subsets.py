# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Subsets of the bands as users may have them, and what the generator is told about each band."""

import numpy as np

from splus_srgan.models.joint import TOLD, told_values
from splus_srgan.simulate.field import simulate_field

__all__ = ["FEW", "SETS", "draw_subset", "split_bands", "subset_field", "tell_bands"]

SETS = ("grz", "gri", "griz", "ugriz")
"""Sets of broad bands that are common."""

FEW = 5
"""Bands of the largest of the parts that `split_bands` gives."""

_BROAD = "ugriz"
# How often a sample is of one band, of one of `SETS`, of narrow bands, any, or all.
_KINDS = ("one", "set", "narrow", "any", "all")
_SHARES = (0.15, 0.2, 0.1, 0.15, 0.4)
_LINE = ("r", "J0660", "i")
_APART = 3  # bands of a part at most that is none of the common sets
_SUBSET = 1  # stream of random numbers, apart from those of the simulation
_KNOWN = 0.85  # share of the bands of which PSF or depth are told
_PSF_ERROR, _DEPTH_ERROR = 0.02, 0.05  # relative


def draw_subset(rng, bands, number=0):
    """
    Draw a set of bands that a user may have.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or None
        Source of the draw; `None` for one set after the other.
    bands : sequence of str
        All bands.
    number : int, optional
        Number of the set, without ``rng``.

    Returns
    -------
    subset : list of str
        At least one of the bands, in their order.

    Examples
    --------
    >>> from splus_srgan.training.data.subsets import draw_subset
    >>> draw_subset(None, ("u", "g", "r", "J0660", "i", "z"), 1)
    ['g', 'r', 'z']
    """
    bands = list(bands)
    narrow = [band for band in bands if band not in _BROAD]
    if rng is None:
        fixed = [bands, *map(list, SETS), narrow, *([band] for band in bands)]
        fixed = [found for one in fixed if (found := [band for band in bands if band in one])]
        return fixed[number % len(fixed)]
    kind = rng.choice(_KINDS, p=_SHARES)
    if kind == "one":
        chosen = [rng.choice(bands)]
    elif kind == "set":
        chosen = list(rng.choice(SETS))
    elif kind == "all":
        chosen = bands
    else:
        among = narrow if kind == "narrow" and narrow else bands
        chosen = rng.choice(among, rng.integers(1, len(among) + 1), replace=False)
    # If only a few bands are given, a set may contain none of them.
    return [band for band in bands if band in chosen] or bands


def subset_field(card, seed, *, shape, bands):
    """
    Simulate a field as users of weights may have it.

    Parameters
    ----------
    card : `~splus_srgan.models.weights.WeightsCard`
        Weights; those that take subsets of their bands see one that `draw_subset` gives.
    seed : tuple of int
        Seed of the simulation, and of the subset.
    shape : tuple of int
        ``(ny, nx)`` in input pixels.
    bands : sequence of str
        Bands, or those from which the subset is drawn.

    Returns
    -------
    field : `~splus_srgan.simulate.field.SimulatedField`
        The field.
    """
    if card.takes_subsets:
        bands = draw_subset(np.random.default_rng([*seed, _SUBSET]), bands)
    return simulate_field(seed, shape=shape, bands=tuple(bands))


def split_bands(rng, bands):
    """
    Split bands into parts as users of few bands may have them.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of the draw.
    bands : sequence of str
        All bands.

    Returns
    -------
    parts : list of list of str
        Each band is in one of them: a common set (`SETS`, or r, J0660 and i for maps of Halpha),
        as far as it is there, and parts of one to three bands.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.training.data.subsets import split_bands
    >>> parts = split_bands(np.random.default_rng(1), ("u", "g", "r", "J0660", "i", "z"))
    >>> sorted(sum(parts, [])), max(map(len, parts)) <= 5
    (['J0660', 'g', 'i', 'r', 'u', 'z'], True)
    """
    common = (*map(list, SETS), _LINE)[rng.integers(len(SETS) + 1)]
    parts = [[band for band in bands if band in common]]
    others = [str(band) for band in rng.permutation([band for band in bands if band not in common])]
    while others:
        size = rng.integers(1, _APART + 1)
        parts.append([band for band in bands if band in others[:size]])
        others = others[size:]
    return [part for part in parts if part]


def tell_bands(rng, bands, conditions, sigmas, together):
    """
    Make the numbers that a header gives about bands, with its errors and gaps.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of errors and gaps.
    bands, conditions, sigmas, together : sequence
        Name of each band of a subset, its ``psf`` (see
        `~splus_srgan.models.joint.told_values`), its sky noise in nanomaggies, and whether the
        first stage restored it with others.

    Returns
    -------
    told : `~numpy.ndarray`, shape (n_band, 8)
        float32.
    psfs : list of tuple of float or None
        The PSFs as told.
    """
    psfs = []
    told = np.zeros((len(bands), len(TOLD)), np.float32)
    psf_known, depth_known = rng.random(2) < _KNOWN  # a header has all or nothing
    every = zip(told, bands, conditions, sigmas, together, strict=True)
    for row, band, seen, sigma, with_others in every:
        wrong = rng.standard_normal(4)
        fwhm, beta, wings = seen["psf"]
        psf = fwhm * (1 + _PSF_ERROR * wrong[0]), beta * (1 + 3 * _PSF_ERROR * wrong[1]), wings
        sigma = sigma * np.exp(_DEPTH_ERROR * wrong[2])
        psfs.append(psf if psf_known else None)
        row[:] = told_values(
            band,
            n_bands=len(bands),
            together=with_others,
            psf=psfs[-1],
            sigma=sigma if depth_known else None,
        )
    return told, psfs
