# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A handful of the defects of benchmarks/evaluation_mutations.py; the truth passes."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "evaluation_mutations.py"


@pytest.fixture(scope="module")
def mutations():
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("evaluation_mutations", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def field(mutations):
    """A small field of stars."""
    return mutations.Field(3, shape=(64, 64))


def test_there_are_many_defects_each_in_three_strengths(mutations):
    assert len(mutations.DEFECTS) >= 40
    for _, strengths in mutations.DEFECTS.values():
        assert len(set(strengths)) == 3


def test_the_truth_fails_no_check(mutations, field):
    assert mutations.failures((field, field.output())) == set()


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("fluxes too high", "wrong flux on large scales"),
        ("an invented star", "invented sources"),
        ("an invented star in one band", "invented sources"),
        ("a hole of NaN", "unmasked holes"),
        ("rows of their own level", "noise from pixel to pixel"),
        ("warped", "a part of the frame that was moved"),
    ],
)
def test_a_defect_of_middle_strength_is_noticed(mutations, field, name, fault):
    make, strengths = mutations.DEFECTS[name]
    output = make(field, strengths[1], mutations.random_of(name, 1))
    assert fault in mutations.failures((field, output))


def test_fields_can_be_judged_together(mutations, field):
    other = mutations.Field(0, shape=(64, 64))
    group = [other, field]
    mutations.look_for_false_alarms([group])
    assert all(one.clean == set() for one in group)
    found = mutations.try_defect("an invented star", 1, [group])
    assert "invented sources" in found.pop("2 fields")
    assert not found
