# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Errors of scatters and of values of many fields: few or noisy ones pass nothing by chance."""

import numpy as np
import pytest
from astropy.table import Table
from numpy.testing import assert_allclose

from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.astrometry import checks_stars
from splus_srgan.evaluation.measure.colors import checks_fluxes
from splus_srgan.evaluation.measure.widths import checks_widths
from splus_srgan.evaluation.statistics import excess_scatter, pooled, scatter_error, worst_part
from splus_srgan.pixels.robust import robust_std

LIMIT = LIMITS["flux scatter"].high


def test_error_of_a_robust_scatter_is_what_draws_show():
    values = np.random.default_rng(1).normal(0, 3.0, (2000, 100))
    drawn = np.std([robust_std(one) for one in values])
    assert_allclose(scatter_error(3.0, 100), drawn, rtol=0.05)


def test_error_of_a_scatter_beyond_the_noise_is_what_draws_show():
    """The difference of two squares: the noise makes it worse."""
    values = np.random.default_rng(2).normal(0, 5.0, (300, 400))
    drawn = np.std([excess_scatter(one, np.full(400, 4.0)) for one in values])
    assert_allclose(scatter_error(3.0, 400, noise=4.0), drawn, rtol=0.15)


def test_a_scatter_with_a_limit_has_the_error_of_the_limit():
    for scatter in (0.0, 0.1, 0.2):
        assert scatter_error(scatter, 25, limit=0.1) == scatter_error(0.1, 25)
    assert np.isnan(scatter_error(np.nan, 25, limit=0.1))
    assert np.isnan(scatter_error(0.1, 0, limit=0.1))


def fluxes(offset, error=1e-3):
    """Sources of one band with these offsets."""
    n = len(offset)
    columns = {"band": ["r"] * n, "against": ["target"] * n, "offset": offset}
    return Table(columns | {"error": np.full(n, error)})


def verdict(rows):
    checks = {check.name: check for check in checks_fluxes(rows, bands=["r"])}
    return checks["flux scatter beyond the noise against the target"]


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_scatter_of_few_never_passes(n):
    """Of three values with twice the scatter that passes, half did."""
    rng = np.random.default_rng(3)
    for _ in range(100):
        assert verdict(fluxes(rng.normal(0, 2 * LIMIT, n))).passed is not True
    assert "too few sources" in verdict(fluxes(np.zeros(n))).note


@pytest.mark.parametrize(("scatter", "passed"), [(0.0, True), (0.3, True), (2.0, False)])
def test_the_scatter_of_many_is_judged(scatter, passed):
    offset = np.random.default_rng(4).normal(0, np.hypot(scatter * LIMIT, 1e-3), 60)
    assert verdict(fluxes(offset)).passed is passed


def test_true_fluxes_are_never_called_scattered():
    rng = np.random.default_rng(5)
    for n in rng.integers(3, 40, 200):
        assert verdict(fluxes(rng.normal(0, LIMIT, n), LIMIT)).passed is not False


def stars(numbers):
    """Stars that are where they are, so many in each field."""
    fields = np.repeat(np.arange(len(numbers)), numbers)
    n = len(fields)
    names = ("shift_x", "shift_y", "fwhm_in", "fwhm_out", "fwhm_expected")
    columns = {"band": ["r"] * n, "field": fields, "input_error": np.full(n, 0.01)}
    columns["snr"] = np.full(n, 100.0)
    return Table(columns | {name: np.full(n, float(name[0] == "f")) for name in names})


@pytest.mark.parametrize(
    ("numbers", "count", "passed"),
    [([6], 6, True), ([3], 3, None), ([2] * 3, 6, True), ([2, *[1] * 9], 2, None)],
)
def test_only_stars_of_fields_with_several_tell_their_scatter(numbers, count, passed):
    """One alone is its own mean: nine of them made two stars enough."""
    (check,) = [c for c in checks_stars(stars(numbers)) if c.name.startswith("scatter of stars")]
    assert (check.count, check.passed) == (count, passed)


def test_a_field_with_next_to_no_error_does_not_speak_for_all():
    found = pooled([0.015] * 19 + [0.0], [0.0019] * 19 + [0.0], (0, 0.01))
    assert found["value"] > 0.0125
    assert 0.0019 / 20 < found["error"] < 0.0019 / 4


def test_a_field_without_an_error_does_not_speak_for_others():
    wanted = pooled([0.02, 0.024], [0.02, 0.01], (0, 0.01))
    found = pooled([0.02, 0.024, 0.0], [0.02, 0.01, np.nan], (0, 0.01))
    assert found == wanted
    assert found["count"] == 2
    assert_allclose(found["value"], (0.02 + 4 * 0.024) / 5)
    assert pooled([0.0], [np.nan], (0, 0.01))["count"] == 0


# A part of the frame


def in_parts(numbers, offset, *, noise=0.002, seed=6):
    """Values of so many sources in each quadrant of two fields; those of one part are off."""
    rng = np.random.default_rng(seed)
    rows = Table(rows=[(f, q) for f in "ab" for q in range(4) for _ in range(numbers)],
                 names=("field", "quadrant"))  # fmt: skip
    values = rng.normal(0, noise, len(rows))
    for (field, quadrant), by in offset.items():
        mine = np.ones(len(rows), bool)
        mine &= rows["field"] == field if field else mine
        mine &= rows["quadrant"] == quadrant if quadrant is not None else mine
        values[mine] += by
    return rows, values, np.full(len(rows), noise)


@pytest.mark.parametrize("part", [("a", 2), ("", 2), ("b", None)])
def test_what_is_wrong_in_a_part_alone_is_found(part):
    """The median of all sources passes what is wrong with a quarter of them."""
    rows, values, errors = in_parts(8, {part: 0.05})
    found = worst_part(rows, values, errors, (-0.03, 0.03))
    assert found["value"] == pytest.approx(0.05, abs=0.003)
    if part != ("b", None):
        assert abs(np.median(values)) < 0.005


def test_a_part_of_few_or_noisy_sources_says_nothing():
    limits = (-0.03, 0.03)
    assert np.isnan(worst_part(*in_parts(0, {}), limits)["value"])
    rows, values, errors = in_parts(2, {("a", 2): 0.2})
    assert abs(worst_part(rows[:4], values[:4], errors[:4], limits)["value"]) < 0.01
    failed = 0
    for seed in range(300):
        worst = worst_part(*in_parts(4, {}, noise=0.04, seed=seed), limits)["value"]
        failed += abs(worst) > 0.03
    assert failed == 0


def test_fluxes_and_widths_are_judged_in_parts():
    rows, values, _ = in_parts(8, {("a", 2): 0.06})
    rows["band"], rows["against"] = "r", "target"
    rows["offset"], rows["error"] = values, 0.002
    failed = [check.fault for check in checks_fluxes(rows, bands=["r"]) if check.passed is False]
    assert failed == ["wrong fluxes in a part of the frame"]
    rows["input_error"], rows["snr"], rows["fwhm_in"], rows["fwhm_expected"] = 0.01, 300.0, 2.0, 1.0
    rows["shift_x"] = rows["shift_y"] = 0.0
    rows["fwhm_out"] = 1 + 3 * values
    failed = [check.fault for check in checks_stars(rows, bands=["r"]) if check.passed is False]
    assert failed == ["stars of another width in a part of the frame"]
    rows["kind"], rows["width"], rows["error"], rows["e1"], rows["e2"] = "star", 1.0, 0.01, 0.0, 0.0
    rows["width"] += 4 * values
    failed = [check.fault for check in checks_widths(rows, bands=["r"]) if check.passed is False]
    assert failed == ["stars of another width in a part of the frame"]
