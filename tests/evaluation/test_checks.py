# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Checks and evaluation pairs: what verdicts are made of."""

import math

import pytest

from splus_srgan.evaluation.checks import Check, check_table
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.exceptions import GridMismatchError
from splus_srgan.simulate.field import simulate_field


@pytest.mark.parametrize(
    ("value", "limit", "passed"),
    [
        (0.01, 0.01, True),
        (-0.011, 0.01, False),
        (0.7, (0.65, 0.71), True),
        (0.72, (0.65, 0.71), False),
        (-0.7, (0.65, 0.71), False),
        (math.nan, 0.01, None),
        (math.inf, 0.01, None),
    ],
)
def test_check_passes_within_its_limit(value, limit, passed):
    assert Check("photometry", "offset", "r", value, limit).passed is passed


def test_topic_must_be_known():
    with pytest.raises(ValueError, match=r"topic must be one of 'photometry'.*got 'beauty'"):
        Check("beauty", "offset", "r", 0.0, 1.0)


def test_table_has_a_verdict_for_each():
    checks = [
        Check("photometry", "offset", "r", 0.02, 0.01, unit="mag", error=0.001, count=4),
        Check("honesty", "invented", "", math.nan, 0, note="no blank sky"),
        Check("morphology", "FWHM", "g", 0.7, (0.5, 0.8)),
        Check("honesty", "by its own noise", "g", 3.0, None, note="decides nothing"),
        Check("honesty", "by its own noise", "r", math.nan, None),
    ]
    table = check_table(checks)
    told = ["fail", "not measured", "pass", "information", "not measured"]
    assert list(table["verdict"]) == told
    assert (table["low"][3], table["high"][3]) == (-math.inf, math.inf)
    assert (table["low"][0], table["high"][0]) == (-0.01, 0.01)
    assert (table["low"][2], table["high"][2]) == (0.5, 0.8)
    assert table["note"][1] == "no blank sky"
    assert len(check_table([])) == 0


@pytest.fixture(scope="module")
def field():
    return simulate_field(3, shape=(24, 32), bands=("g", "r"))


def test_pair_of_a_simulation_has_its_truth(field):
    pair = EvaluationPair.from_simulation(field, name="three")
    assert (pair.bands, pair.shape, pair.noise_free) == (("g", "r"), (24, 32), True)
    assert pair.sigma == field.sigma


def test_pair_refuses_other_bands_and_other_grids(field):
    with pytest.raises(ValueError, match=r"must have the bands of the image, \['g', 'r'\]"):
        EvaluationPair("p", field.observed, {"g": field.target["g"]})
    with pytest.raises(GridMismatchError, match=r"'p' must be on the grid .* \(48, 64\); band 'g'"):
        EvaluationPair("p", field.observed, field.observed)


def test_pair_needs_no_target(field):
    assert EvaluationPair("p", field.observed).target is None
