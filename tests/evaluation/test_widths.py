# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Widths of all bright sources beside the truth, against profiles whose width is drawn."""

import dataclasses

import numpy as np
import pytest
from astropy.table import Table
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan.evaluation.compared import ComparedBand, ComparedField
from splus_srgan.evaluation.measure.widths import checks_widths, width_table
from splus_srgan.pixels.psf import TARGET_PSF

SIDE, SCALE = 192, 0.275
Y, X = np.mgrid[:SIDE, :SIDE]
# Pairs of neighbors, which no measure of stars that stand alone would take.
STARS = [(40.3, 50.0), (49.1, 54.2), (120.0, 60.4), (126.4, 52.9), (60.7, 130.2), (140.5, 140.5)]
FLUX = 4000.0  # sigma


def star(x, y, fwhm, beta=TARGET_PSF[1]):
    """A Moffat star of unit flux: the closed form, per pixel."""
    alpha = fwhm / SCALE / 2 / np.sqrt(2 ** (1 / beta) - 1)
    r2 = (X - x) ** 2 + (Y - y) ** 2
    return (beta - 1) / np.pi / alpha**2 * (1 + r2 / alpha**2) ** -beta


def frame(factor, kinds=("star",), number=6):
    """A field of stars that are wider than the truth by a factor."""
    chosen = STARS[:number]
    target, made = (
        sum(FLUX * star(x, y, width * TARGET_PSF[0]) for x, y in chosen) for width in (1, factor)
    )
    x, y = np.transpose(chosen)
    known = Table({"x": (x - 0.5) / 2, "y": (y - 0.5) / 2})
    known["kind"] = [kinds[k % len(kinds)] for k in range(number)]
    known["flux_r"], known["half_light_radius"] = FLUX, 0.0
    seen = target.reshape(SIDE // 2, 2, -1, 2).sum(axis=(1, 3))
    band = ComparedBand("r", seen, made, 1.0, target=target, psf=(1.4, 3.0), zero_point=22.5)
    return ComparedField("stars", {"r": band}, known=known)


def found(field):
    names = ("stars", "other", "part", "ellipticity")
    return dict(zip(names, checks_widths(width_table(field)), strict=True))


@pytest.mark.parametrize("factor", [0.93, 1.0, 1.04, 1.1])
def test_the_width_is_the_one_drawn(factor):
    rows = width_table(frame(factor))
    assert len(rows) == len(STARS)
    assert_allclose(rows["width"], factor, atol=0.1 * abs(factor - 1) + 1e-6)


@pytest.mark.parametrize(
    ("factor", "passed"), [(0.9, False), (1, True), (1.03, True), (1.1, False)]
)
def test_stars_keep_five_percent_and_other_sources_fifteen(factor, passed):
    checks = found(frame(factor, kinds=("star", "galaxy")))
    assert checks["stars"].passed is passed
    assert checks["other"].passed is True


def test_a_promise_that_is_not_kept_shows_in_a_single_star():
    """An image at the PSF of the truth that says that it is 15 % wider."""
    for number in (1, 6):
        field = frame(1.0, number=number)
        field.bands["r"].output_psf = (1.15 * TARGET_PSF[0], TARGET_PSF[1])
        check = found(field)["stars"]
        assert check.count == number
        assert check.passed is False
        assert_allclose(check.value, 1 / 1.15 - 1, atol=0.03)


@pytest.mark.parametrize("number", [1, 6])
def test_an_image_blurred_along_x_has_a_psf_that_is_not_round(number):
    """One pixel of blur over twice the variance of a Gaussian; of a Moffat a little more."""
    field = frame(1.0, kinds=("galaxy",), number=number)
    band = field.bands["r"]
    band.output = ndimage.gaussian_filter1d(band.output, 1.0, axis=1)
    check = found(field)["ellipticity"]
    assert check.passed is False
    assert_allclose(check.value, 1 / (2 * (TARGET_PSF[0] / SCALE / 2.355) ** 2), rtol=0.35)
    assert found(frame(1.0, number=number))["ellipticity"].passed is not False


def test_a_single_star_near_the_limit_says_nothing():
    assert found(frame(1.08, number=1))["stars"].passed is None


def test_without_a_truth_nothing_is_measured():
    band = frame(1.1).bands["r"]
    for changed in ({"target": None}, {"noise_free": False}):
        other = dataclasses.replace(band, **changed)
        field = dataclasses.replace(frame(1.1), bands={"r": other})
        assert len(width_table(field)) == 0
        checks = checks_widths(width_table(field), bands=["r"])
        assert [check.passed for check in checks] == 4 * [None]
