# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What tells where pixels lie, moved to another grid: wcslib and painted pixels are the judges."""

import itertools

import numpy as np
import pytest
from astropy.io.fits import Header
from astropy.wcs import WCS
from numpy.testing import assert_allclose

from splus_srgan.images.moved_cards import moved_cards

# New pixels to old ones: twice as fine, mirrored, transposed, turned by 30 degrees.
GRIDS = {
    "fine": (np.eye(2) / 2, np.full(2, -0.25)),
    "mirrored": (np.diag([-1.0, 1.0]), np.array([39.0, 0.0])),
    "transposed": (np.array([[0.0, 1.0], [1.0, 0.0]]), np.array([3.0, -4.0])),
    "turned": (
        0.7 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]),
        np.array([5.0, 11.0]),
    ),
}
SKY = {
    "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": -30.0,
    "CRPIX1": 12.0, "CRPIX2": 17.5,
}  # fmt: skip
LATITUDE_FIRST = SKY | {
    "CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -30.0, "CRVAL2": 150.0
}  # fmt: skip
STEPS = {"CDELT1": -1.6e-4, "CDELT2": 1.5e-4}
SKEWED = {"1_1": 0.98, "1_2": 0.11, "2_1": -0.21, "2_2": 1.02}
PC = {f"PC{cell}": value for cell, value in SKEWED.items()}
CD = {f"CD{cell}": 1.5e-4 * value for cell, value in SKEWED.items()}
FORMS = {
    "CD": SKY | CD,
    "CD without zeros": SKY | {"CD1_1": -1.5e-4, "CD2_2": 1.5e-4},
    "PC": SKY | STEPS | PC,
    "steps alone": SKY | STEPS,
    "PC beside CD": SKY | STEPS | PC | CD,
    "CROTA2": SKY | STEPS | {"CROTA2": 33.0},
    "CROTA1, latitude first": LATITUDE_FIRST | STEPS | {"CROTA1": 33.0},
    "PC beside CROTA2": SKY | STEPS | PC | {"CROTA2": 33.0},
    "no CRPIX": {key: value for key, value in (SKY | CD).items() if "CRPIX" not in key},
    "PV": SKY | CD | {"CTYPE1": "RA---ZPN", "CTYPE2": "DEC--ZPN", "PV2_1": 1.0, "PV2_3": 50.0},
    "WCSAXES": {"WCSAXES": 2} | SKY | CD,
    "a name": SKY | CD | {"WCSNAME": "by eye", "RADESYS": "FK5", "EQUINOX": 1975.0},
    "no steps": {"CTYPE1": "X", "CTYPE2": "Y", "CRPIX1": 3.0, "CRPIX2": 5.0} | PC,
}


def lettered(cards):
    return {f"{key}B": value for key, value in cards.items()}


def places(cards, x, y):
    """Where pixels, from 0, lie by wcslib; as the main WCS, for which it takes CROTA in silence."""
    main = Header({key.removesuffix("B"): value for key, value in cards.items()})
    return np.array(WCS(main, fix=False).all_pix2world(x, y, 0))


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("form", FORMS)
def test_alternate_wcs_stay_on_the_sky(form, grid):
    matrix, offset = GRIDS[grid]
    old = lettered(FORMS[form])
    moved = moved_cards(old, matrix, offset, (64, 64))
    x, y = np.random.default_rng(5).uniform(0, 40, (2, 20))
    there = places(old, *(matrix @ np.array([x, y]) + offset[:, None]))
    assert_allclose(places(moved, x, y), there, rtol=0, atol=1e-9)
    kept = {"WCSNAMEB", "RADESYSB", "EQUINOXB", "WCSAXESB"} & set(old)
    assert {key: moved.get(key) for key in kept} == {key: old[key] for key in kept}


@pytest.mark.parametrize(
    "mixed",
    [
        {"CTYPE3": "FREQ", "CRPIX3": 1.0, "CDELT3": 1e6, "PC1_3": 0.5},
        {"CPDIS1": "LOOKUP"},
        {"CRPIX1": "there"},
    ],
)
def test_an_alternate_wcs_that_more_goes_into_is_left_out(mixed):
    """Another axis, a lookup table; and what is no number."""
    old = lettered(SKY | STEPS | PC | mixed)
    assert moved_cards(old, *GRIDS["fine"], (64, 64)) == {}


def test_an_axis_that_nothing_goes_into_is_dropped():
    old = {"WCSAXES": 3} | SKY | STEPS | {"CTYPE3": "FREQ", "CRPIX3": 1.0, "CDELT3": 1e6}
    moved = moved_cards(lettered(old), *GRIDS["fine"], (64, 64))
    assert moved["WCSAXESB"] == 2
    assert not [key for key in moved if "3" in key]


@pytest.mark.parametrize("grid", ["fine", "mirrored", "both"])
@pytest.mark.parametrize("text", ["[3:20,5:30]", "[20:3,5:30]", "[3:20,30:5]", " [ 3:20, 5:30 ] "])
def test_sections_name_the_same_pixels(grid, text):
    """The pixels of the old section, painted and looked up from the new grid."""
    finer, mirror = GRIDS["fine"], (np.diag([-1.0, -1.0]), np.array([39.0, 39.0]))
    both = mirror[0] @ finer[0], mirror[0] @ finer[1] + mirror[1]
    matrix, offset = both if grid == "both" else GRIDS[grid]
    side = 40 if grid == "mirrored" else 80
    moved = moved_cards({"DATASEC": text}, matrix, offset, (side, side))["DATASEC"]
    painted = np.zeros((40, 40), bool)
    painted[named(text)] = True
    y, x = np.mgrid[:side, :side]
    columns, rows = np.rint(np.tensordot(matrix, np.array([x, y]), 1) + offset[:, None, None])
    expected = painted[rows.astype(int), columns.astype(int)]
    found = np.zeros((side, side), bool)
    found[named(moved)] = True
    assert np.array_equal(found, expected)
    # A section that runs backwards does so on the sky.
    for axis, (old, new) in enumerate(zip(ends(text), ends(moved), strict=True)):
        assert (old[0] > old[1]) == ((new[0] > new[1]) != (matrix[axis, axis] < 0))


def ends(text):
    x, y = text.strip(" []").split(",")
    return [tuple(map(int, part.split(":"))) for part in (x, y)]


def named(text):
    (x1, x2), (y1, y2) = (sorted(pair) for pair in ends(text))
    return slice(y1 - 1, y2), slice(x1 - 1, x2)


def test_sections_are_cut_to_the_grid():
    half = np.eye(2), np.array([10.0, 0.0])  # the new grid begins at the eleventh column
    cards = {"DATASEC": "[1:32,1:30]", "BIASSEC": "[1:10,1:30]", "TRIMSEC": "[11:11,1:1]"}
    moved = moved_cards(cards, *half, (30, 22))
    assert moved == {"DATASEC": "[1:22,1:30]", "TRIMSEC": "[1:1,1:1]"}


@pytest.mark.parametrize("grid", [(np.eye(2) / 2, np.full(2, -0.2)), GRIDS["turned"]])
def test_sections_whose_edges_are_within_new_pixels_are_left_out(grid):
    assert moved_cards({"DATASEC": "[1:32,1:30]"}, *grid, (60, 64)) == {}


@pytest.mark.parametrize("text", ["", "[1:32]", "[a:b,1:2]", "1:32,1:30"])
def test_a_section_that_is_none_is_left_out(text):
    assert moved_cards({"DATASEC": text}, *GRIDS["fine"], (60, 64)) == {}


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize(
    "cards",
    [
        {"LTV1": -100.0, "LTV2": 7.5, "LTM1_1": 0.5, "LTM2_2": 0.25},
        {"LTV1": -100.0},
        {"LTM1_1": 2.0, "LTM1_2": 0.1, "LTM2_1": -0.3, "LTM2_2": 3.0},
    ],
)
def test_physical_pixels_stay_where_they_are(cards, grid):
    """Of IRAF: pixels from 1 are LTM times physical ones, plus LTV."""
    matrix, offset = GRIDS[grid]
    moved = moved_cards(cards, matrix, offset, (64, 64))
    physical = np.random.default_rng(3).uniform(-50, 50, (2, 9))
    old, new = (seen(one, physical) - 1 for one in (cards, moved))
    assert_allclose(matrix @ new + offset[:, None], old, atol=1e-9)


def seen(cards, physical):
    linear = np.eye(2)
    for row, column in itertools.product((1, 2), repeat=2):
        default = float(row == column)
        linear[row - 1, column - 1] = cards.get(f"LTM{row}_{column}", default)
    shift = np.array([[cards.get("LTV1", 0.0)], [cards.get("LTV2", 0.0)]])
    return linear @ physical + shift
