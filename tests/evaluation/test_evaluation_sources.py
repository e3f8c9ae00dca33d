# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Detection, matching and choice of sources; bands made ready for comparison."""

import numpy as np
import pytest
from _scenes import PSF, broken, scene, star_list, verdicts, world
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import Table, vstack
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from splus_srgan import simulate_field
from splus_srgan.evaluation.catalog import list_sources, usable
from splus_srgan.evaluation.compared import ComparedBand
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.completeness import checks_completeness, find_and_match, rates
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.shapes import round_psf
from splus_srgan.evaluation.sources import (
    any_within,
    detect,
    inside,
    isolated,
    match_positions,
    smoothed_noise,
)
from splus_srgan.exceptions import GridMismatchError
from splus_srgan.pixels.coadd_noise import correlated_noise
from splus_srgan.pixels.psf import psf_image
from splus_srgan.surveys.calibration import calibrate_flux

PLACE = {"radius": 3.0, "annulus": (5.0, 8.0), "apart": 8.0}


@pytest.fixture(scope="module")
def stars():
    return star_list()


@pytest.fixture(scope="module")
def clean(stars):
    return scene(stars)


@pytest.fixture(scope="module")
def pair():
    field = simulate_field(5, shape=(96, 96), kind="stars", bands=("g", "r"))
    for image in field.target.values():
        image.meta["SRSKY"] = 0.0
    return EvaluationPair.from_simulation(field, name="stars")


def test_detect_finds_what_is_there(clean, stars):
    for image, factor in ((clean.input, 1), (clean.target, 2)):
        found, mask = detect(image, clean.sigma, factor=factor, threshold=5.0)
        index = match_positions(stars["x"], stars["y"], found["x"], found["y"], radius=0.3)
        assert len(found) == len(stars)
        assert (index >= 0).all()
        assert mask.shape == clean.input.shape
        assert mask[np.rint(stars["y"]).astype(int), np.rint(stars["x"]).astype(int)].all()


def test_detect_finds_nothing_in_noise_or_in_nothing():
    noise = np.random.default_rng(1).normal(0, 1, (128, 128))
    for image in (noise, np.zeros((64, 64))):
        found, mask = detect(image, 1.0, threshold=5.0)
        assert len(found) == 0
        assert set(found.colnames) == {"x", "y", "flux", "peak", "elongation"}
        assert not mask.any()


def test_peak_is_in_units_of_the_noise_of_a_smoothed_pixel():
    """Real coadds are correlated: the factor for it, against noise made as coadds are."""
    rng = np.random.default_rng(3)
    noise = correlated_noise(rng, (400, 400), [(0.3, -0.2), (-0.4, 0.1), (0.1, 0.4)])
    assert_allclose(ndimage.gaussian_filter(noise, 1.0).std(), smoothed_noise(1.0), rtol=0.15)


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6, unique=True),
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), max_size=6, unique=True),
)
def test_match_is_one_to_one_and_near(first, other):
    (x, y), (xo, yo) = (np.array(a, float).reshape(-1, 2).T for a in (first, other))
    index = match_positions(x, y, xo, yo, radius=1.5 * 0.55)
    taken = index[index >= 0]
    assert len(set(taken)) == len(taken)
    assert (np.hypot(x[index >= 0] - xo[taken], y[index >= 0] - yo[taken]) <= 1.5).all()
    free = np.setdiff1d(np.arange(len(xo)), taken)
    # What is left on both sides is far apart.
    apart = np.hypot(x[index < 0][:, None] - xo[free], y[index < 0][:, None] - yo[free])
    assert (apart > 1.5 - 1e-9).all()


def test_nearest_pair_goes_first():
    assert_array_equal(match_positions([0.0, 1.0], [0.0, 0.0], [0.9], [0.0]), [-1, 0])


def test_isolated_agrees_with_all_pairs():
    rng = np.random.default_rng(4)
    x, y, flux = rng.uniform(0, 100, 80), rng.uniform(0, 100, 80), rng.lognormal(0, 2, 80)
    apart = np.hypot(x[:, None] - x, y[:, None] - y) * 0.55
    near = (apart < 8) & (apart > 1e-6) & (flux > 0.03 * flux[:, None])
    assert_array_equal(isolated(x, y, flux, distance=8, share=0.03), ~near.any(axis=1))
    assert isolated([], [], [], distance=8, share=0.03).size == 0


def test_inside_and_any_within():
    assert_array_equal(inside([5, 1, 50], [5, 5, 5], (20, 60), 1.65), [True, False, True])
    flags = np.zeros((20, 60), bool)
    flags[5, 8] = True
    assert_array_equal(any_within(flags, [5.0, 50.0], [5.0, 5.0], 2.0), [True, False])
    assert not any_within(np.zeros((4, 4), bool), [1.0], [1.0], 9.0).any()


def test_usable_leaves_out_border_neighbors_and_saturation(clean, stars):
    sources = vstack([stars, stars[:1], stars[:1]])
    sources["x"][-2] = 2.0  # at the border
    sources["x"][-1] += 6.0  # 3.3 arcsec from the first star
    assert_array_equal(usable(clean, sources, **PLACE), [False, *8 * [True], False, False])
    clean = scene(stars)
    clean.bad[round(stars["y"][3]), round(stars["x"][3])] = True
    assert_array_equal(np.flatnonzero(~usable(clean, stars, **PLACE)), [3])


def test_sources_are_found_and_stars_told_from_galaxies():
    both = vstack([star_list()[:5], star_list(kind="galaxy", flux=4000.0)[5:]])
    for truth in (True, False):
        band = scene(both)
        if not truth:
            band.target = None
        found = list_sources({"r": band})
        index = match_positions(both["x"], both["y"], found["x"], found["y"])
        assert len(found) == len(both)
        assert_array_equal(found["kind"][index], both["kind"])
        assert_allclose(found["flux_r"][index][:5], both["flux_r"][:5], rtol=0.08)


def test_known_sources_come_in_the_unit_of_the_image(pair):
    bands = compare_field(pair, pair.target, output_psf=(1.0, 3.0)).bands
    sources = list_sources(bands, known=pair.sources)
    for band in bands.values():
        band.zero_point = np.nan
    guessed = list_sources(bands, known=pair.sources)
    for name in pair.bands:
        factor = sources[f"flux_{name}"] / pair.sources[f"flux_{name}"].value
        assert_allclose(factor, 10 ** (0.4 * (pair.zero_points[name] - 22.5)))
        # Without a zero point: from apertures, which miss a little and hold neighbors.
        assert_allclose(guessed[f"flux_{name}"], sources[f"flux_{name}"], rtol=0.25)


def test_magnitudes_come_from_the_zero_point(clean, stars):
    clean.zero_point = 25.0
    rows = find_and_match(world(clean))
    rows = rows[rows["list"] == "target"]
    brightest = stars["flux_r"].max()
    # An aperture of 1.65 arcsec has nine tenths of the light.
    assert_allclose(rows["mag"].min(), 25 - 2.5 * np.log10(0.92 * brightest), atol=0.05)
    table = rates(rows, by="mag", edges=(10, 16, 20))
    assert table["n_target"].sum() == 9


def test_no_sources_is_an_empty_list():
    empty = ComparedBand("r", np.zeros((48, 48)), np.zeros((96, 96)), 1.0, psf=PSF)
    sources = list_sources({"r": empty})
    assert len(sources) == 0
    assert {"x", "y", "kind", "size", "flux_r"} <= set(sources.colnames)
    assert usable(empty, sources, **PLACE).size == 0


def test_compared_bands_remove_sky_and_keep_what_is_known(pair):
    bands = compare_field(pair, pair.target, output_psf=(1.0, 3.0)).bands
    assert list(bands) == ["g", "r"]
    for name, band in bands.items():
        assert_allclose(band.output, pair.target[name].data)
        assert_allclose(band.input, pair.input[name].data - pair.sky[name], atol=1e-4)
        assert band.sigma == pair.sigma[name]
        assert band.electrons == pair.input[name].meta["GAIN"]
        assert_allclose(band.pixel_scale, 0.55, rtol=1e-6)
        # The truth seen by the input's telescope is the input without its noise.
        pull = ((band.input - band.seen_target) / band.sigma)[~band.bad & ~band.mask]
        assert abs(pull.mean()) < 0.05
        assert abs(pull.std() - 1) < 0.1


def test_calibrated_images_keep_their_saturation_and_photons():
    field = simulate_field(5, shape=(96, 96), kind="stars", bands=("r",))
    pairs = []
    for of in (lambda image: image, lambda i: calibrate_flux(i, field.conditions["r"].zero_point)):
        images = [{"r": of(side["r"])} for side in (field.observed, field.target)]
        pairs.append(EvaluationPair("stars", *images))
    counts, flux = (compare_field(pair, pair.target).bands["r"] for pair in pairs)
    assert counts.bad.sum() > 0
    assert_array_equal(flux.bad, counts.bad)
    # Electrons of the whole image are the same, whatever its unit.
    electrons = [band.electrons * band.target.sum() for band in (counts, flux)]
    assert electrons[0] > 0
    assert_allclose(*electrons, rtol=1e-4)


@pytest.mark.parametrize("side", ["target", "output"])
@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (("crval", [30, 0]), GridMismatchError, "is nowhere near|px off"),
        (("crpix", 0.5), GridMismatchError, r"is 0\.71 px off"),
        ("ct", ValueError, "must have the unit of the image, adu; band 'r' is in ct"),
    ],
)
def test_another_place_or_unit_is_refused(pair, side, spoil, error, message):
    wrong = {name: image.copy() for name, image in pair.target.items()}
    if spoil == "ct":
        wrong["r"].unit = spoil
    else:
        wcs, (name, change) = wrong["r"].wcs.deepcopy(), spoil
        setattr(wcs.wcs, name, getattr(wcs.wcs, name) + change)
        wrong["r"].wcs = wcs
    judge = {
        "target": lambda: EvaluationPair("one", pair.input, wrong),
        "output": lambda: compare_field(pair, wrong).bands,
    }
    with pytest.raises(error, match=f"(?s){side} of '.*({message})"):
        judge[side]()


def test_output_psf_is_that_of_its_image(pair):
    output = {name: image.copy() for name, image in pair.target.items()}
    for image in output.values():
        image.psf = psf_image((1.0, 3.0, 0.28), pixel_scale=0.275, radius=40)
    band = compare_field(pair, output).bands["r"]
    assert_allclose(band.output_psf, (1.0, 3.0, 0.28), rtol=1e-3)
    bare = compare_field(pair, pair.target).bands["r"]
    assert bare.output_psf == bare.psf


def test_surface_brightness_is_compared_as_flux(pair):
    """The same field per arcsec2 gives the same numbers."""
    area = 0.55**2
    unit = u.adu / u.arcsec**2
    bright = EvaluationPair(
        "sb",
        {
            n: CCDData(i.data / area, unit=unit, wcs=i.wcs, meta=i.meta)
            for n, i in pair.input.items()
        },
        {
            n: CCDData(i.data * 4 / area, unit=unit, wcs=i.wcs, meta=i.meta)
            for n, i in pair.target.items()
        },
        sky={n: v / area for n, v in pair.sky.items()},
        sigma={n: v / area for n, v in pair.sigma.items()},
    )
    plain = compare_field(pair, pair.target, output_psf=(1.0, 3.0)).bands["r"]
    other = compare_field(bright, bright.target, output_psf=(1.0, 3.0)).bands["r"]
    for name in ("input", "output", "target"):
        expected = getattr(plain, name)
        assert_allclose(getattr(other, name) * area, expected, rtol=1e-4, atol=1e-3)


def test_band_without_psf_or_truth_or_valid_output_is_defined(pair):
    observed = {n: CCDData(i.data, unit="adu") for n, i in pair.input.items()}
    bare = EvaluationPair("bare", observed, sky=pair.sky, sigma=pair.sigma)
    output = {
        n: CCDData(i.data, unit="adu", mask=np.ones(i.shape, bool)) for n, i in pair.target.items()
    }
    band = compare_field(bare, output).bands["r"]
    assert band.psf is None
    assert band.target is None
    assert not band.output.any()
    assert band.blurred_output is band.output
    assert band.seen_output.shape == (96, 96)


def test_errors_say_what_is_wrong(pair):
    with pytest.raises(ValueError, match=r"output must have every band of the pair.*\['g'\]"):
        compare_field(pair, {"r": pair.target["r"]})
    with pytest.raises(GridMismatchError, match=r"output of band 'r' must have shape \(8, 8\)"):
        ComparedBand("r", np.zeros((4, 4)), np.zeros((4, 4)), 1.0)


@pytest.mark.parametrize("psf", [(1.0, 3.0, 0.0), (1.0, 3.0, 0.28), (1.8, 2.2, 0.1)])
def test_fit_recovers_a_psf(psf):
    image = psf_image(psf, pixel_scale=0.275, radius=40)
    assert_allclose(round_psf(image, pixel_scale=0.275), psf, rtol=1e-3, atol=1e-3)


def test_parts_told_apart_in_the_output_alone_are_pure_and_new_ones_are_not():
    y, x = np.mgrid[:128, :128]
    bar = 20 * np.exp(-((x - 64) ** 2 / 800 + (y - 64) ** 2 / 50))
    parts = bar * (1 + 0.4 * np.cos((x - 64) / 4))
    new = 20 * np.exp(-((x - 64) ** 2 + (y - 100) ** 2) / 20)
    coarse = bar.reshape(64, 2, 64, 2).sum(axis=(1, 3))
    band = ComparedBand("r", coarse, parts + new, 1.0, target=bar)
    rows = find_and_match(world(band))
    of_output = rows[rows["list"] == "output"]
    assert np.sum(rows["list"] == "target") == 1
    assert len(of_output) > 3
    assert_allclose(of_output["y"][~of_output["in_target"]], [49.75], atol=0.3)


def test_parts_told_apart_in_the_target_alone_are_not_lost():
    y, x = np.mgrid[:128, :128]
    bar = 20 * np.exp(-((x - 64) ** 2 / 800 + (y - 64) ** 2 / 50))
    parts = bar * (1 + 0.4 * np.cos((x - 64) / 4))
    gone = 20 * np.exp(-((x - 64) ** 2 + (y - 100) ** 2) / 20)
    coarse = bar.reshape(64, 2, 64, 2).sum(axis=(1, 3))
    rows = find_and_match(world(ComparedBand("r", coarse, bar, 1.0, target=parts + gone)))
    of_target = rows[rows["list"] == "target"]
    assert len(of_target) > 3
    assert_allclose(of_target["y"][~of_target["in_output"]], [49.75], atol=0.3)


@pytest.mark.parametrize(
    ("how", "failing"),
    [
        ("clean", set()),
        ("removed", {"completeness at S/N > 10"}),
        ("invented", {"purity at S/N > 10"}),
    ],
)
def test_completeness_and_purity_fail_when_they_should(clean, how, failing):
    rows = find_and_match(world(broken(clean, how)))
    checks = checks_completeness(rows, bands=["r"])
    assert {name for name, passed in verdicts(checks).items() if passed is False} == failing


def test_a_field_without_a_target_is_not_blamed_for_invented_sources(clean):
    """Beside one with a target: nobody knows what is true of its sources."""
    alone = ComparedBand("r", clean.input, clean.output, 1.0)
    rows, wanted = (
        vstack([find_and_match(world(band)) for band in bands])
        for bands in ([clean, alone], [clean])
    )
    assert all(check.passed for check in checks_completeness(rows, bands=["r"]))
    names = ["n_target", "n_output", "purity", "purity_input"]
    for name in names:
        assert_allclose(rates(rows)[name], rates(wanted)[name])
    # An empty target is one: what stands there was invented.
    empty = ComparedBand("r", clean.input, clean.output, 1.0, target=np.zeros_like(clean.output))
    rows = vstack([find_and_match(world(band)) for band in (clean, empty)])
    assert verdicts(checks_completeness(rows, bands=["r"]))["purity at S/N > 10"] is False


def test_rates_count_by_bin(clean):
    table = rates(find_and_match(world(broken(clean, "removed"))))
    found = np.nansum(table["n_target"] * np.nan_to_num(table["completeness"]))
    assert table["n_target"].sum() == 9
    assert round(found) == 8  # one of nine was removed
    assert_allclose(np.nansum(table["n_input"] * np.nan_to_num(table["purity_input"])), 9)


def test_completeness_without_sources_or_truth_is_not_measured(clean):
    empty = ComparedBand(
        "r", np.zeros((48, 48)), np.zeros((96, 96)), 1.0, target=np.zeros((96, 96))
    )
    alone = ComparedBand("r", clean.input, clean.output, 1.0)
    for band in (empty, alone):
        rows = find_and_match(world(band))
        checks = checks_completeness(rows, bands=["r"])
        assert [check.passed for check in checks] == [None, None]
        assert isinstance(rates(rows), Table)
