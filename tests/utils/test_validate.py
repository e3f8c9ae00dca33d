# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What counts as a number."""

from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from splus_srgan.utils.validate import check_finite, is_number


@pytest.mark.parametrize(
    "value", [0, 1.5, np.float32(1), np.int16(3), np.float64("nan"), float("inf"), Fraction(1, 2)]
)
def test_numbers(value):
    assert is_number(value)


@pytest.mark.parametrize(
    "value", [True, np.True_, "1", None, 1j, np.array(1.0), [1], b"1", Decimal(1)]
)
def test_no_numbers(value):
    assert not is_number(value)
    with pytest.raises(TypeError, match="must be a real number"):
        check_finite("value", value)
