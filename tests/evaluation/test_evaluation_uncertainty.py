# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Uncertainties and noise against what was drawn and closed forms; wrong ones are seen."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, InverseVariance, StdDevUncertainty
from astropy.table import Table, vstack
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan import measure_background, read_bands
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.repeat import checks_repeats, repeat_test
from splus_srgan.evaluation.measure.skynoise import aperture_noise_curve, noise_autocorrelation
from splus_srgan.evaluation.measure.uncertainty import (
    checks_uncertainty,
    coverage,
    coverage_table,
    pit_histogram,
)
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.run import evaluate_images
from splus_srgan.evaluation.sources import detect


def white(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


# Coverage and PIT


def test_true_uncertainties_cover_what_they_say_at_every_brightness():
    truth = np.random.default_rng(1).exponential(60, 400000)
    sigma = np.sqrt(1 + truth / 5)
    table = coverage(truth, truth + sigma * white(truth.shape), sigma)
    assert_allclose(table["coverage_68"], 0.68, atol=0.02)
    assert_allclose(table["coverage_95"], 0.95, atol=0.02)
    assert_allclose(table["bias"], 0, atol=0.05)
    assert table["count"].sum() == truth.size


@pytest.mark.parametrize("factor", [0.5, 2.0])
def test_wrong_uncertainties_cover_what_normal_theory_says(factor):
    from scipy.stats import norm

    noise = white(100000)
    table = coverage(0 * noise, noise, np.full(noise.shape, factor), edges=(-1, 1))
    for level in (68, 95):
        wanted = 2 * norm.cdf(factor * norm.ppf((1 + level / 100) / 2)) - 1
        assert table[f"coverage_{level}"][0] == pytest.approx(wanted, abs=0.01)


def test_a_fault_of_bright_pixels_alone_is_seen_in_their_bin():
    truth = np.repeat([0.0, 50.0], 20000)
    noise = white(truth.shape)
    noise[truth > 0] *= 2
    table = coverage(truth, truth + noise, np.ones(truth.shape))
    assert table["coverage_68"][0] == pytest.approx(0.68, abs=0.01)
    assert table["coverage_68"][-1] < 0.45
    assert np.isnan(table["coverage_68"][1:4]).all()
    assert table["count"].tolist() == [20000, 0, 0, 0, 20000]


def test_what_cannot_be_used_is_left_out():
    truth, image, sigma = np.zeros(6), np.array([0, 0, np.nan, 9, 9, 0.0]), np.ones(6)
    sigma[3], sigma[4] = 0, np.inf
    table = coverage(truth, image, sigma, mask=[0, 1, 0, 0, 0, 0], edges=(-1, 1))
    assert (table["count"][0], table["coverage_68"][0]) == (2, 1.0)


def test_pit_is_flat_for_true_uncertainties():
    table = pit_histogram(np.zeros(100000), white(100000), np.ones(100000))
    assert_allclose(table["density"], 1, atol=0.05)
    assert table["count"].sum() == 100000


def test_pit_has_a_hump_a_bowl_or_a_slope():
    noise, zero = white(50000), np.zeros(50000)
    hump = pit_histogram(zero, noise, zero + 2)["density"]
    assert hump[4:6].min() > 1.3 > hump[[0, -1]].max()
    bowl = pit_histogram(zero, noise, zero + 0.5)["density"]
    assert bowl[4:6].max() < 0.7 < 1.5 < bowl[[0, -1]].min()
    slope = pit_histogram(zero, noise + 0.5, zero + 1)["density"]
    assert slope[0] > 1.5 > 0.6 > slope[-1]


def test_pit_without_pixels_is_nan():
    assert np.isnan(pit_histogram([0.0], [np.nan], [1.0])["density"]).all()


# Correlation


@pytest.mark.parametrize("width", [1.5, 2.5])
def test_correlation_of_smoothed_noise_has_a_closed_form(width):
    image = ndimage.gaussian_filter(white((400, 400)), width, mode="wrap")
    table = noise_autocorrelation(image, max_lag=10)
    lag = table["lag"].value
    assert_allclose(table["correlation"], np.exp(-(lag**2) / (4 * width**2)), atol=0.05)
    assert table["lag"].unit == u.pix


def test_white_noise_is_not_correlated():
    table = noise_autocorrelation(white((300, 300)))
    assert table["correlation"][0] == pytest.approx(1)
    assert abs(table["correlation"][1:]).max() < 0.02


def test_correlation_agrees_with_a_direct_sum_over_unmasked_pairs():
    image = ndimage.gaussian_filter(white((30, 40)), 1)
    mask = np.zeros(image.shape, bool)
    mask[10:20, 5:30] = True
    image[mask] += 100
    free = image - image[~mask].mean()
    pairs = {}
    for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
        first = free[: 30 - dy, max(0, -dx) : 40 - max(0, dx)]
        other = free[dy:, max(0, dx) : 40 + min(0, dx)]
        used = ~mask[: 30 - dy, max(0, -dx) : 40 - max(0, dx)]
        used &= ~mask[dy:, max(0, dx) : 40 + min(0, dx)]
        pairs[dy, dx] = (first * other)[used].sum(), used.sum()
    total, count = np.sum(list(pairs.values()), axis=0)
    wanted = total / count / np.mean(free[~mask] ** 2)
    table = noise_autocorrelation(image, max_lag=2, mask=mask)
    assert table["correlation"][1] == pytest.approx(wanted, rel=1e-9)
    assert table["pairs"][1] == count


def test_empty_and_constant_skies_are_nan():
    for image, mask in ((np.ones((20, 20)), None), (white((20, 20)), np.ones((20, 20), bool))):
        table = noise_autocorrelation(image, mask=mask)
        assert np.isnan(table["correlation"]).all()
        curve = aperture_noise_curve(image, [2.0], mask=mask)
        assert not curve["sigma"][0] > 0


# Apertures


def test_aperture_noise_of_white_noise_grows_with_the_root_of_the_area():
    table = aperture_noise_curve(3.0 * white((400, 400)), [2.0, 4.0, 8.0])
    assert_allclose(table["white"], 3 * np.sqrt(table["area"]), rtol=0.02)
    # Exact overlap: fewer than the area's worth of whole pixels count, which lowers it.
    assert_allclose(table["sigma"][1:], table["white"][1:], rtol=0.06)
    assert np.all(abs(table["sigma"] - table["white"]) < 0.1 * table["white"])


def test_aperture_noise_of_correlated_noise_is_larger():
    """White noise smoothed keeps its large-scale power: sums are those of the white noise."""
    plain = white((500, 500))
    smooth = ndimage.gaussian_filter(plain, 1.5, mode="wrap")
    curve = aperture_noise_curve(smooth, [15.0])
    wanted = aperture_noise_curve(plain, [15.0])
    assert curve["sigma"][0] == pytest.approx(wanted["sigma"][0], rel=0.15)
    assert curve["sigma"][0] > 4 * curve["white"][0]


def test_masked_apertures_do_not_count():
    image = white((200, 200))
    mask = np.zeros(image.shape, bool)
    mask[50:90, 50:90] = True
    broken = image.copy()
    broken[mask] = 1e6
    broken[60, 60] = np.nan
    found = aperture_noise_curve(broken, [3.0], mask=mask)["sigma"][0]
    assert found == pytest.approx(aperture_noise_curve(image, [3.0])["sigma"][0], rel=0.05)


def test_apertures_that_do_not_fit_are_nan():
    table = aperture_noise_curve(white((30, 30)), [2.0, 8.0, 40.0])
    assert np.isfinite(table["sigma"]).tolist() == [True, False, False]


def test_messages():
    image = np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"image must have shape \(ny, nx\); got \(3,\)"):
        noise_autocorrelation(np.zeros(3))
    with pytest.raises(ValueError, match="max_lag must be below the size of the image; got 20"):
        noise_autocorrelation(image, max_lag=20)
    with pytest.raises(ValueError, match=r"radii must be above 0; got \[0.0\]"):
        aperture_noise_curve(image, [0.0])
    with pytest.raises(ValueError, match=r"uncertainty must have the shape \(3,\); got \(2,\)"):
        coverage(np.zeros(3), np.zeros(3), np.ones(2))
    with pytest.raises(ValueError, match="n_bin must be at least 2; got 1"):
        pit_histogram([0.0], [0.0], [1.0], n_bin=1)


# A field: doubled uncertainties are caught, true ones pass


@pytest.fixture(scope="module")
def pair():
    """A bright, smooth galaxy: every bin of signal to noise has its pixels."""
    y, x = np.indices((192, 192))
    truth = 200 * np.exp(-np.hypot(y - 96, x - 96) / 16)
    target = CCDData(truth, unit=u.adu)
    observed = CCDData(truth.reshape(96, 2, 96, 2).sum(axis=(1, 3)) + white((96, 96)), unit=u.adu)
    return EvaluationPair(
        "galaxy", {"r": observed}, {"r": target}, sky={"r": 0.0}, sigma={"r": 1.0}
    )


NOTHING = "no uncertainties, or no truth without noise"


def output_of(pair, *, stated=1.0, kind=StdDevUncertainty, offset=0.0):
    truth = np.asarray(pair.target["r"].data)
    sigma = np.sqrt(1 + truth / 20)
    array = {StdDevUncertainty: stated * sigma, InverseVariance: (stated * sigma) ** -2}.get(kind)
    data = truth + (white(truth.shape, seed=4) + offset) * sigma
    meta = {"SRSKY": 0.0, "SRSIGMA": 1.0}
    options = {} if kind is None else {"uncertainty": kind(array)}
    return {"r": CCDData(data, unit=u.adu, meta=meta, **options)}


def judged(pair, output):
    """Checks of an output."""
    return checks_uncertainty(coverage_table(compare_field(pair, output)), bands=["r"])


def by_name(checks):
    return {check.name: check for check in checks}


@pytest.mark.parametrize("kind", [StdDevUncertainty, InverseVariance])
def test_true_uncertainties_pass(pair, kind):
    """Of many fields: the pixels of one have too much in common."""
    one = coverage_table(compare_field(pair, output_of(pair, kind=kind)))
    tables = []
    for k in range(4):
        tables.append(one.copy())
        tables[-1]["field"] = str(k)
    checks = checks_uncertainty(vstack(tables), bands=["r"])
    assert len(checks) == 11
    assert {check.topic for check in checks} == {"uncertainty"}
    assert all(check.passed for check in checks if check.measured), checks
    assert sum(check.measured for check in checks) >= 9
    few = checks_uncertainty(one, bands=["r"])
    assert not any(check.measured for check in few)


def test_uncertainties_in_another_unit_are_judged_as_what_they_are(pair):
    output = output_of(pair)
    thousandths = output["r"].uncertainty.array * 1000
    output["r"].uncertainty = StdDevUncertainty(thousandths, unit=u.adu / 1000)
    found, wanted = (judged(pair, made) for made in (output, output_of(pair)))
    assert_allclose([c.value for c in found], [c.value for c in wanted], rtol=1e-6)


@pytest.mark.parametrize("stated", [2.0, 0.5])
def test_doubled_and_halved_uncertainties_are_caught(pair, stated):
    checks = judged(pair, output_of(pair, stated=stated))
    assert not any(check.passed for check in checks)


def test_a_bias_is_caught(pair):
    checks = by_name(judged(pair, output_of(pair, offset=1.0)))
    assert checks["largest excess of a PIT bin"].passed is False


def pit_rows(*shares):
    """Two bins of the PIT, and the share that the lower one has in each field."""
    rows = [
        (name, "r", "pit", low, low + 0.5, round(1000 * part), 0.0, 0.0)
        for name, share in enumerate(shares)
        for low, part in ((0.0, share), (0.5, 1 - share))
    ]
    names = ("field", "band", "kind", "low", "high", "count", "within_68", "within_95")
    return Table(rows=rows, names=names)


@pytest.mark.parametrize(
    ("shares", "passed"),
    [
        ([0.5], None),
        ([0.5, 0.5], None),
        ([0.5, 0.5, 0.5], True),
        # Means of 0.5 and 0.6, of fields that differ by 0.17: +- 0.1, and twice that of densities.
        ([0.3, 0.6, 0.6], None),
        ([0.4, 0.7, 0.7], None),
        ([0.7, 0.7, 0.7], False),
    ],
)
def test_pit_is_judged_by_what_fields_differ(shares, passed):
    """One blank field has passed, whatever it was."""
    (check,) = checks_uncertainty(pit_rows(*shares), bands=["r"])
    assert check.passed is passed
    if len(shares) >= 3:
        wanted = 2 * np.std(shares, ddof=1) / np.sqrt(len(shares))
        assert check.error == pytest.approx(wanted, abs=1e-9)


def test_coverage_is_needed_where_there_are_pixels(pair):
    checks = judged(pair, output_of(pair))
    needed = {check.name.split(",")[0] for check in checks if check.needed}
    assert needed == {"coverage at 68 %", "largest excess of a PIT bin"}
    assert all(check.count >= 200 for check in checks if check.needed)


def test_stated_uncertainties_that_were_not_tried_are_not_safe(pair):
    """Without trials there was no such check, and nothing that a verdict could lack."""
    for kind, notes in ((StdDevUncertainty, ["the enhancer was not tried"]), (None, [])):
        evaluation = evaluate_images(output_of(pair, kind=kind), pair=pair)
        found = [check for check in evaluation.checks if check.name.startswith("scatter under")]
        assert [check.note for check in found] == notes
        assert all(check.needed and not check.measured for check in found)


def test_surface_brightness_is_judged_alike(pair):
    def bright(images):
        made = {}
        for band, image in images.items():
            # A surface brightness is four times the flux of a fine pixel.
            factor = 4 if image.shape[0] == 192 else 1
            std = image.uncertainty and StdDevUncertainty(factor * image.uncertainty.array)
            unit, meta = u.adu / u.arcsec**2, dict(image.meta)
            made[band] = CCDData(factor * image.data, unit=unit, uncertainty=std, meta=meta)
        return made

    levels = {"sky": pair.sky, "sigma": pair.sigma}
    other = EvaluationPair("bright", bright(pair.input), bright(pair.target), **levels)
    wanted = [check.value for check in judged(pair, output_of(pair))]
    found = [check.value for check in judged(other, bright(output_of(pair)))]
    assert_allclose(found, wanted, rtol=1e-6)


def test_without_uncertainty_or_truth_nothing_is_measured(pair):
    (check,) = judged(pair, output_of(pair, kind=None))
    assert (check.passed, check.note) == (None, NOTHING)
    blind = EvaluationPair("blind", pair.input, sky=pair.sky, sigma=pair.sigma)
    (check,) = judged(blind, output_of(pair))
    assert (check.passed, check.note) == (None, NOTHING)
    assert check.range == LIMITS["PIT"].range


def test_all_masked_is_not_measured(pair):
    observed = {"r": pair.input["r"].copy()}
    observed["r"].mask = np.ones((96, 96), bool)
    observed["r"].mask[0, 0] = False
    masked = EvaluationPair("masked", observed, pair.target, sky=pair.sky, sigma=pair.sigma)
    checks = judged(masked, output_of(pair))
    assert {check.passed for check in checks} == {None}
    assert checks[0].note.startswith("only ")


@pytest.mark.realdata
def test_noise_of_a_real_tile_is_correlated_as_known(real_data):
    """Coadds have 0.12 between direct and 0.035 between diagonal neighbours: 0.08 on average."""
    field = read_bands([real_data / "splus" / "SPLUS-s25s12" / "SPLUS-s25s12_R.fits"])
    (image,) = field.values()
    sky = image.data[:300, :300]
    _, mask = detect(sky, measure_background(sky).sigma[0], threshold=4.0)
    table = noise_autocorrelation(sky, mask=mask)
    assert table["correlation"][1] == pytest.approx(0.08, abs=0.03)
    assert abs(table["correlation"][3:]).max() < 0.04
    curve = aperture_noise_curve(sky, [5.0], mask=mask)
    assert 1.0 < curve["sigma"][0] / curve["white"][0] < 1.6


# Without a truth: against repeated noise


def follower(stated):
    """An enhancer that keeps all noise, and states so much of it."""

    def enhance(images):
        made = {}
        for band, image in images.items():
            fine = np.kron(image.data, np.ones((2, 2))) / 4
            std = StdDevUncertainty(np.full(fine.shape, stated / 4))
            meta = {"SRSKY": 0.0, "SRSIGMA": 1.0}
            made[band] = CCDData(fine, unit=image.unit, uncertainty=std, meta=meta)
        return made

    return enhance


@pytest.mark.parametrize(("stated", "passed"), [(1.0, True), (1.5, True), (0.6, False)])
@pytest.mark.parametrize("as_file", [True, False])
def test_uncertainties_are_judged_by_repeated_noise(stated, passed, as_file):
    """Pixels that keep the noise of the input scatter by it: less must not be stated."""
    blind = EvaluationPair("sky", {"r": CCDData(white((48, 48)), unit=u.adu)}, sky={"r": 0.0})
    # With noise that was added, sigma is larger by the root of 2, and so is what is stated.
    enhance = follower(stated if as_file else np.sqrt(2) * stated)
    rows = repeat_test(enhance, blind, n=8, output=enhance(blind.input) if as_file else None)
    checks = [check for check in checks_repeats(rows, bands=["r"]) if check.measured]
    assert checks
    assert all(check.passed is passed for check in checks)
    assert checks[0].value == pytest.approx(1 / stated, rel=0.1)


def test_without_uncertainties_repeated_noise_says_nothing(pair):
    rows = repeat_test(lambda images: output_of(pair, kind=None), pair, n=2)
    (check,) = checks_repeats(rows, bands=["r"])
    assert (check.passed, check.note) == (None, "no uncertainties")


def test_a_single_field_is_too_few_and_not_its_pixels(pair):
    """It said "too few pixels (18432)"."""
    checks = judged(pair, output_of(pair))
    assert sum(check.count > 1000 for check in checks) >= 3
    notes = [check.note for check in checks if check.count > 1000 and not check.measured]
    assert notes
    assert all("too few fields (1) for the limit" in note for note in notes)
