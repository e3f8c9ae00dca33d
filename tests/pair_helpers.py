# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated pairs of both surveys, for the tests of pairs."""

import functools

import numpy as np
from astropy import units as u
from astropy.nddata import CCDData

from splus_srgan.pairs.match import MatchedPair
from splus_srgan.pairs.registration.measure import Registration
from splus_srgan.simulate.field import simulate_field

NOISE = {"g": 0.0025, "r": 0.004, "z": 0.012}  # nmgy per pixel of 0.275 arcsec


@functools.cache
def simulated(seed, *, shape=(64, 64), bands=("r",), kind="galaxy"):
    """Input (nmgy, 0.55 arcsec) and target (0.275 arcsec) of one simulated field."""
    field = simulate_field(seed, shape=shape, bands=bands, kind=kind, psf="moffat")
    rng = np.random.default_rng(seed)
    first, second = {}, {}
    for band in bands:
        scale = field.conditions[band].adu_per_nmgy
        observed, target = field.observed[band], field.target[band]
        data = (observed.data / scale).astype(np.float32)
        first[band] = CCDData(data, unit=u.nmgy, wcs=observed.wcs, meta=observed.meta)
        noisy = target.data / scale + rng.normal(0, NOISE[band], target.shape)
        second[band] = CCDData(noisy.astype(np.float32), unit=u.nmgy, wcs=target.wcs)
        second[band].psf = target.psf
    return first, second


def registration(**changes):
    """What a good pair's registration looks like."""
    values = {
        "shift": (0.02, -0.01),
        "shift_error": (0.02, 0.02),
        "rotation": 0.0,
        "rotation_error": 0.02,
        "scale": 1.0,
        "scale_error": 2e-4,
        "rms": 0.05,
    }
    return Registration(**(values | changes))


def as_matched(first, second, **changes):
    """Put images that are on one grid already into a matched pair."""
    good = {band: registration() for band in first}
    values = {
        "registrations": good,
        "residuals": good,
        "flux_ratios": dict.fromkeys(first, (1.0, 0.01)),
    }
    return MatchedPair(first, second, **(values | changes))


def copy_pair(first, second):
    """Copies that a test may change."""
    return tuple({b: i.copy() for b, i in side.items()} for side in (first, second))
