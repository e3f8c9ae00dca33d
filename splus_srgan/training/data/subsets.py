# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Subsets of the bands, as people bring them, and what is told of each band."""

import numpy as np

from splus_srgan.models.joint import TOLD, told_values

__all__ = ["SETS", "draw_subset", "spread_planes", "tell_bands"]

SETS = ("grz", "gri", "griz", "ugriz")
"""Sets of broad bands that are common."""

_BROAD = "ugriz"
# How often a sample is of one band, of one of `SETS`, of narrow bands, any, or all.
_KINDS = ("one", "set", "narrow", "any", "all")
_SHARES = (0.2, 0.25, 0.1, 0.2, 0.25)
_KNOWN = 0.85  # share of the bands of which PSF or depth are told
_PSF_ERROR, _DEPTH_ERROR = 0.02, 0.05  # relative


def draw_subset(rng, bands, number=0):
    """
    Draw bands that somebody may bring.

    Parameters
    ----------
    rng : `~numpy.random.Generator` or None
        Source of the draw; `None` for one set after the other.
    bands : sequence of str
        All bands.
    number : int, optional
        Which set, without ``rng``.

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
    # Where the bands are but a few of the survey's, a set may be none of them.
    return [band for band in bands if band in chosen] or bands


def spread_planes(sample, bands, n_band):
    """
    Put the planes of a subset to their places among all.

    Parameters
    ----------
    sample : dict of str to `~numpy.ndarray`
        Arrays whose first axis are the bands of the subset.
    bands : sequence of int
        Their places.
    n_band : int
        Bands in all.

    Returns
    -------
    spread : dict of str to `~numpy.ndarray`
        Arrays of ``n_band`` planes; ``electrons`` are 1 and the rest is 0 elsewhere.
    """
    spread = {}
    for name, values in sample.items():
        fill = np.ones if name == "electrons" else np.zeros
        spread[name] = fill((n_band, *values.shape[1:]), np.float32)
        spread[name][bands] = values
    return spread


def tell_bands(rng, bands, conditions, sigmas, places, n_band):
    """
    Tell of bands what a header would, with its errors and gaps.

    Parameters
    ----------
    rng : `~numpy.random.Generator`
        Source of errors and gaps.
    bands, conditions, sigmas : sequence
        Name of each band of a subset, its ``psf`` (see
        `~splus_srgan.models.joint.told_values`), and its sky noise in nanomaggies.
    places : sequence of int
        Places of these bands among all.
    n_band : int
        Bands in all.

    Returns
    -------
    told : `~numpy.ndarray`, shape (n_band, 7)
        float32.
    """
    told = np.zeros((n_band, len(TOLD)), np.float32)
    psf_known, depth_known = rng.random(2) < _KNOWN  # a header has all or nothing
    for place, band, seen, sigma in zip(places, bands, conditions, sigmas, strict=True):
        wrong = rng.standard_normal(4)
        fwhm, beta, wings = seen["psf"]
        psf = fwhm * (1 + _PSF_ERROR * wrong[0]), beta * (1 + 3 * _PSF_ERROR * wrong[1]), wings
        sigma = sigma * np.exp(_DEPTH_ERROR * wrong[2])
        told[place] = told_values(
            band, psf=psf if psf_known else None, sigma=sigma if depth_known else None
        )
    return told
