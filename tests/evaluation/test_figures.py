# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""How figures look, beside how they looked: ``pytest --mpl``; without it, that they are drawn."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import QTable

from splus_srgan import simulate_field
from splus_srgan.evaluation import Bicubic, EvaluationPair, plot_histogram, plot_sample

pytest.importorskip("matplotlib")

looks = pytest.mark.mpl_image_compare(
    baseline_dir="baseline", style="classic", tolerance=12, savefig_kwargs={"dpi": 60}
)


@looks
def test_histogram():
    """Two methods, two bands, and no text that depends on the machine."""
    rng = np.random.default_rng(1)
    rows = [
        (f"field {k}", band, method, (level + rng.normal()) * u.dB)
        for k in range(20)
        for band in "gr"
        for method, level in (("new", 40), ("old", 30))
    ]
    table = QTable(rows=rows, names=("field", "band", "method", "psnr_asinh"))
    return plot_histogram(table, score="psnr_asinh")


@looks
def test_sample():
    """Input, output and target below each other, in one stretch."""
    field = simulate_field((7, 1), shape=(48, 48), kind="cluster", bands=("r",))
    pair = EvaluationPair.from_simulation(field, name="simulated")
    return plot_sample([pair], [Bicubic()(field.observed, sky=field.sky)], width=3)
