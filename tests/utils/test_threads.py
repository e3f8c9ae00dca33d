# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Bands are worked on at once, with the results of one after the other."""

import threading

import numpy as np
import pytest
import torch
from numpy.testing import assert_equal

from splus_srgan import measure_background, simulate_field
from splus_srgan.enhance.guard import check_input
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.threads import map_threads


@pytest.fixture(params=[1, 3])
def n_threads(request):
    """As many threads as the caller wants."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def test_results_are_in_order_and_no_thread_stays(n_threads):
    before, together = set(threading.enumerate()), threading.Barrier(n_threads)

    def work(k):
        together.wait(30)  # of so many at once
        return k, threading.current_thread()

    found = map_threads(work, range(2 * n_threads if n_threads > 1 else 4))
    assert [k for k, _ in found] == list(range(len(found)))
    assert len({thread for _, thread in found}) == n_threads
    assert set(threading.enumerate()) == before


def test_the_first_error_is_raised(n_threads):
    def fail(k):
        if k:
            raise ValueError(f"band {k}")

    with pytest.raises(ValueError, match="band 1"):
        map_threads(fail, range(6))


def test_numpy_is_as_in_the_thread_of_the_caller(n_threads):
    before = np.geterr()
    np.seterr(all="raise")
    try:
        state = np.geterr()
        with pytest.warns(RuntimeWarning, match="divide"):
            found = measured_with(np.float64(1))
        assert np.geterr() == state
    finally:
        np.seterr(**before)
    assert_equal(found, [np.inf] * 3)


def measured_with(one):
    return numpy_defaults(lambda: map_threads(lambda k: one / np.float64(0), range(3)))()


def test_nothing_measured_depends_on_the_number_of_threads():
    field = simulate_field(11, shape=(96, 96), bands=("u", "g", "J0660", "z")).observed
    stack = np.stack([image.data for image in field.values()])
    before, found = torch.get_num_threads(), []
    try:
        for number in (1, 4):
            torch.set_num_threads(number)
            found.append((vars(measure_background(stack)), check_input(field).table))
    finally:
        torch.set_num_threads(before)
    (one, report), (other, other_report) = found
    assert_equal(one, other)
    for name in report.colnames:
        assert_equal(np.array(report[name]), np.array(other_report[name]))
