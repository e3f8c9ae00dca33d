# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Which matched pairs are trained on and which are held out, with offset copies among them."""

import pytest
from astropy.coordinates import SkyCoord
from pair_helpers import as_matched, simulated

from splus_srgan.pairs.folder.pairs import PairFolder
from splus_srgan.pairs.quality.pair import BandQuality, PairReport
from splus_srgan.training.data.matched import hold_out

PLACES = {
    "A": (10.0, 0.0),
    "A_NE": (10.004, 0.004),
    "A_S": (10.0, -0.005),
    "A_S_E": (10.005, -0.005),
}
PLACES |= {"B": (20.0, 0.0), "C": (30.0, 0.0), "D": (40.0, 0.0)}
SPLITS = [(how, seed) for how in ("sky", "random") for seed in range(8)]


@pytest.fixture
def folder(tmp_path):
    """Make folders of pairs of the same images, some of them rejected, or without a position."""

    def make(names, rejected=(), nowhere=()):
        made = PairFolder(tmp_path, create=True)
        for name in names:
            reasons = ("blurred",) if name in rejected else ()
            report = PairReport({"r": BandQuality(fwhm_target=1.2)}, reasons)
            position = None if name in nowhere else SkyCoord(*PLACES[name], unit="deg")
            made.add(name, as_matched(*simulated(0, shape=(40, 40))), report, position=position)
        return made

    return make


@pytest.mark.parametrize("nowhere", [(), ("A",)])
def test_a_copy_stands_for_an_original_that_was_rejected(folder, nowhere):
    pairs = folder(("A", "A_NE", "B", "C", "D"), rejected=("A",), nowhere=nowhere)
    held = set()
    for how, seed in SPLITS:
        train, validation = hold_out(pairs, 1, how=how, seed=seed)
        assert len(validation) == 1
        assert sorted(train + validation) == ["A_NE", "B", "C", "D"]
        held |= set(validation)
    assert held == {"A_NE", "B", "C", "D"}


def test_copies_of_one_galaxy_are_on_one_side(folder):
    pairs = folder(("A", "A_NE", "A_S", "B", "C"), rejected=("A",))
    trained = set()
    for how, seed in SPLITS:
        train, validation = hold_out(pairs, 1, how=how, seed=seed)
        left = {"B", "C", "A_NE", "A_S"} - set(validation)
        # Of a galaxy that is held out, the other copies are left out.
        assert set(train) == (left - {"A_S"} if validation == ["A_NE"] else left)
        trained |= set(validation)
    assert trained == {"A_NE", "B", "C"}


def test_copies_follow_an_original_that_was_accepted(folder):
    pairs = folder(("A", "A_NE", "B", "C"))
    for how, seed in SPLITS:
        train, validation = hold_out(pairs, 1, how=how, seed=seed)
        wanted = {"A": ["B", "C"], "B": ["A", "A_NE", "C"], "C": ["A", "A_NE", "B"]}
        assert train == wanted[validation[0]]


def test_a_copy_of_a_copy_shows_the_same_galaxy(folder):
    pairs = folder(("A", "A_S", "A_S_E", "B", "C"), rejected=("A_S",))
    for how, seed in SPLITS:
        train, validation = hold_out(pairs, 1, how=how, seed=seed)
        wanted = {"A": ["B", "C"], "B": ["A", "A_S_E", "C"], "C": ["A", "A_S_E", "B"]}
        assert train == wanted[validation[0]]


def test_copies_do_not_count(folder):
    pairs = folder(("A", "A_NE", "A_S", "B"), rejected=("A",))
    with pytest.raises(ValueError, match=r"has 2 accepted ones, offset copies not counted; got 2"):
        hold_out(pairs, 2, how="sky", seed=0)
