# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What a pair is rejected for, shown by planting the fault and asking for the reason."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData
from pair_helpers import NOISE, as_matched, copy_pair, registration, simulated
from scipy import ndimage

from splus_srgan.pairs.match import match_pair, match_to_grid
from splus_srgan.pairs.quality import measure
from splus_srgan.pairs.quality.pair import (
    BandQuality,
    PairLimits,
    PairReport,
    assess_pair,
    contact_sheet,
)
from splus_srgan.pairs.registration.measure import measure_registration
from splus_srgan.pixels.psf import moffat_transfer
from splus_srgan.pixels.starfit import half_maximum_width
from splus_srgan.surveys import legacy

SEED = 2


@pytest.fixture(scope="module")
def good():
    """A galaxy with a few stars, seen by both surveys."""
    return simulated(SEED)


@pytest.fixture
def pair(good):
    """The same, to be spoilt."""
    return copy_pair(*good)


def assess(first, second, **changes):
    return assess_pair(as_matched(first, second, **changes))


def only_reason(report):
    """The reason, of which there must be one alone."""
    assert report.verdict == "reject"
    assert len(report.reasons) == 1, report.reasons
    return report.reasons[0]


def test_good_pair_is_accepted(good):
    report = assess(*good)
    assert report.reasons == ()
    assert report.verdict == "accept"
    quality = report.bands["r"]
    assert quality.sources >= 3
    assert quality.different == 0
    assert quality.missing_input == quality.missing_target == 0
    assert quality.trail < 0.3


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shift": (0.0, 1.0)}, r'r: shift of 0\.2[78] ± 0\.01" is left, above 0\.1"'),
        ({"rotation": 0.4}, r"r: rotation of 0\.40 ± 0\.02 deg is left, above 0\.1 deg"),
        ({"scale": 0.277 / 0.275}, r"r: pixel scale is off by 0\.73 ± 0\.02 %, above 0\.1 %"),
    ],
)
def test_geometry_that_is_left(good, changes, reason):
    wrong = {"r": registration(**changes)}
    report = assess(*good, registrations=wrong, residuals=wrong)
    assert_matches(reason, only_reason(report))


def assert_matches(pattern, text):
    import re

    assert re.search(pattern, text), text


def test_what_was_corrected_is_reported_and_no_reason(good):
    found = {"r": registration(shift=(0.0, 4.0), scale=0.277 / 0.275)}
    report = assess(*good, registrations=found)
    assert report.verdict == "accept"
    quality = report.bands["r"]
    assert quality.found_x == pytest.approx(4 * 0.275, rel=1e-3)
    assert quality.found_scale == pytest.approx(0.00727, abs=1e-5)
    assert abs(quality.scale) < 1e-6
    assert quality.shift_x == pytest.approx(-0.01 * 0.275, rel=1e-3)


@pytest.fixture(scope="module")
def wrong_scale():
    """A target on pixels of 0.277 arcsec, as if cut out with that, and its input."""
    first, second = simulated(5, shape=(96, 96), kind="stars")
    wcs = second["r"].wcs.deepcopy()
    middle = wcs.pixel_to_world(95.5, 95.5)
    wcs.wcs.crval = middle.ra.deg, middle.dec.deg
    wcs.wcs.crpix = 96.5, 96.5
    wcs.wcs.cd = wcs.wcs.cd * (0.277 / 0.275)
    cutout = {"r": match_to_grid(second["r"], wcs, (192, 192))}
    cutout["r"].mask = None
    return first, cutout


def test_scale_error_of_a_cutout_is_measured_and_matching_removes_it(wrong_scale):
    """The field as 0.277" pixels, laid on those of 0.275" without a look at the WCS."""
    first, cutout = wrong_scale
    laid = {"r": measure_registration(cutout["r"], first["r"])}
    report = assess(first, cutout, registrations=laid, residuals=laid)
    assert report.bands["r"].scale == pytest.approx(0.275 / 0.277 - 1, abs=3e-4)
    assert_matches(r"r: pixel scale is off by -0\.7\d ± 0\.0\d %", "; ".join(report.reasons))
    report = assess_pair(match_pair(first, cutout, target_psf=None))
    assert abs(report.bands["r"].scale) < 3 * report.bands["r"].scale_error
    assert not [reason for reason in report.reasons if "missing" not in reason]


def test_a_poorly_known_shift_is_no_reason_but_an_unknown_one_is(good):
    """A rotation of 1 +- 2 deg says nothing; a pair whose shift nobody knows is no pair."""
    poor = {"r": registration(rotation=1.0, rotation_error=2.0, scale=1.1, scale_error=0.2)}
    assert assess(*good, residuals=poor).verdict == "accept"
    unsure = {"r": registration(scale=1.0017, scale_error=0.0009)}
    assert assess(*good, residuals=unsure).verdict == "accept"
    assert assess(*good, flux_ratios={"r": (0.5, 0.2)}).verdict == "accept"
    nothing = {"shift": (math.nan, math.nan), "shift_error": (math.nan, math.nan)}
    for unknown in (nothing, {"shift_error": (0.5, 0.5)}):
        report = assess(*good, residuals={"r": registration(**unknown)})
        assert 'the shift is known to 0.1" in no band' in only_reason(report)


@pytest.mark.parametrize("ratio", [0.7, 1.4])
def test_flux_ratio(good, ratio):
    report = assess(*good, flux_ratios={"r": (ratio, 0.02)})
    assert f"r: flux ratio of {ratio:.3f} ± 0.020 is outside 0.8 to 1.25" in report.reasons


def test_flux_ratio_of_two_units_is_told_and_not_judged(pair):
    first, second = pair
    first["r"] = CCDData(first["r"].multiply(40.0).data, unit=u.adu, wcs=first["r"].wcs)
    report = assess(first, second, flux_ratios={"r": (1 / 40, 0.001)})
    assert report.verdict == "accept"
    assert any("adu" in note and "nmgy" in note for note in report.notes)
    assert math.isnan(report.bands["r"].depth_input)


@pytest.mark.parametrize(("side", "name"), [(0, "input"), (1, "target")])
def test_missing_area(pair, side, name):
    image = pair[side]["r"]
    rows = image.shape[0] // 10
    image.mask = np.zeros(image.shape, bool)
    image.mask[: rows // 2] = True
    image.data[rows // 2 : rows] = np.nan
    share = rows / image.shape[0]
    expected = f"r: {100 * share:.1f} % of the {name} is missing, above 2 %"
    assert expected in assess(*pair).reasons


def test_saturation_of_the_input_by_its_header(pair):
    level = 0.5 * np.max(pair[0]["r"].data)
    adu = CCDData(pair[0]["r"].data, unit=u.adu, wcs=pair[0]["r"].wcs)
    adu.meta["SATURATE"] = float(level)
    expected = np.mean(adu.data >= 0.95 * level)
    report = assess({"r": adu}, pair[1])
    assert report.bands["r"].saturated_input == pytest.approx(expected)
    assert expected > 0.001
    assert f"{100 * expected:.2f} % of the input is saturated" in "; ".join(report.reasons)


def test_saturate_card_of_another_unit_is_not_believed(pair):
    pair[0]["r"].meta = fits.Header({"SATURATE": 1e-9})
    assert assess(*pair).bands["r"].saturated_input == 0
    pair[0]["r"].meta["SRZP"] = 23.5  # as calibrated images have it, whose card is converted
    assert assess(*pair).bands["r"].saturated_input > 0.5


def test_saturation_of_the_target_by_the_bits_of_the_survey(pair):
    target = pair[1]["r"]
    target.flags = np.zeros(target.shape, np.int32)
    target.flags[20:30, 30:40] = legacy.MaskBits.SATUR_R
    target.flags[60:] = legacy.MaskBits.SATUR_G | legacy.MaskBits.GALAXY
    assert assess(*pair).bands["r"].saturated_target == 0, "bits of nobody knows what"
    target.meta["LSAREA"] = 1.1
    report = assess(*pair)
    assert report.bands["r"].saturated_target == pytest.approx(100 / 128**2)
    assert "% of the target is saturated, above 0.1 %" in "; ".join(report.reasons)


def test_seeing_of_the_header_and_its_limit(pair):
    pair[0]["r"].meta["HIERARCH OAJ PRO FWHMMEAN"] = 2.8
    report = assess(*pair)
    assert report.bands["r"].fwhm_input == 2.8
    assert 'r: seeing of the input is 2.80", above 2.5"' in report.reasons


def test_seeing_of_the_psf_comes_first(pair):
    y, x = np.indices((41, 41)) - 20
    pair[1]["r"].psf = np.exp(-4 * np.log(2) * (x**2 + y**2) / 6.0**2)
    assert assess(*pair).bands["r"].fwhm_target == pytest.approx(6 * 0.275, rel=0.01)


def test_depth_of_both_and_a_shallow_target(good, pair):
    """White noise: 5 sigma in 3 arcsec is 5 sigma sqrt(area), to what a sample of it tells."""
    quality = assess(*good).bands["r"]
    white = 22.5 - 2.5 * np.log10(5 * NOISE["r"] * np.sqrt(np.pi) * 1.5 / 0.275)
    assert quality.depth_target == pytest.approx(white, abs=0.25)
    rng = np.random.default_rng(3)
    pair[1]["r"].data += rng.normal(0, 0.1, pair[1]["r"].shape).astype(np.float32)
    assert "r: the target is shallower than the input" in "; ".join(assess(*pair).reasons)


def star(shape, y, x, flux, fwhm):
    ys, xs = np.indices(shape)
    width = fwhm / 2.3548
    profile = np.exp(-0.5 * ((ys - y) ** 2 + (xs - x) ** 2) / width**2)
    return (flux * profile / (2 * np.pi * width**2)).astype(np.float32)


@pytest.mark.parametrize("side", [0, 1])
def test_source_on_one_side_alone(good, pair, side):
    """A transient, or an artefact."""
    scale = (1, 2)[side]
    y, x = (scale * 50 + (scale - 1) / 2, scale * 14 + (scale - 1) / 2)
    pair[side]["r"].data += star(pair[side]["r"].shape, y, x, 6.0, 1.3 / 0.55 * scale)
    report = assess(*pair)
    assert report.bands["r"].different == 1
    assert "1 of " in only_reason(report)
    assert "sources are on one side alone or differ strongly" in only_reason(report)
    assert assess(*good).bands["r"].sources + 1 == report.bands["r"].sources


def test_variable_star(pair):
    """The same star, four times brighter in one of both."""
    first, second = pair
    for image, scale, flux in ((first["r"], 1, 3.0), (second["r"], 2, 12.0)):
        offset = (scale - 1) / 2
        y, x = scale * 50 + offset, scale * 14 + offset
        image.data += star(image.shape, y, x, flux, 1.4 / 0.55 * scale)
    assert assess(first, second).bands["r"].different == 1


def trail(shape, angle, offset, height, width=1.2):
    y, x = np.indices(shape) - (np.array(shape)[:, None, None] - 1) / 2
    distance = x * np.sin(angle) - y * np.cos(angle) - offset
    return (height * np.exp(-0.5 * (distance / width) ** 2)).astype(np.float32)


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.57, 2.5])
@pytest.mark.parametrize("side", [0, 1])
def test_satellite_trail_on_one_side_alone(pair, angle, side):
    first = pair[0]["r"]
    height = 0.25  # nmgy per S-PLUS pixel: 4 sigma
    scale = side + 1
    added = trail(pair[side]["r"].shape, angle, 15.0 * scale, height / scale**2, 1.2 * scale)
    pair[side]["r"].data += added
    report = assess(*pair)
    assert report.bands["r"].trail > 0.4
    assert "a trail is on one side alone" in "; ".join(report.reasons)
    assert first.shape == (64, 64)


def test_trail_on_both_sides_is_something_in_the_sky(pair):
    """An edge-on galaxy, say."""
    for scale, image in zip((1, 2), (pair[0]["r"], pair[1]["r"]), strict=True):
        image.data += trail(image.shape, 0.4, 15.0 * scale, 0.25 / scale**2, 2.0 * scale)
    assert assess(*pair).bands["r"].trail < 0.3


def test_galaxy_with_wrong_psf_is_no_trail():
    """A bright edge-on galaxy, blurred by 20 % more on one side."""
    y, x = np.indices((128, 128)) - 63.5
    galaxy = 30 * np.exp(-np.hypot(x / 30, y / 2))
    one, other = (ndimage.gaussian_filter(galaxy, width) for width in (1.0, 1.2))
    noise = np.random.default_rng(1).normal(0, 0.1, galaxy.shape)
    none = np.zeros(galaxy.shape, bool)
    share = measure.longest_trail(one - other + noise, np.minimum(one, other), none, 0.1)
    assert share < 0.3


def test_noise_alone_has_no_trail_and_no_sources():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (3, 128, 128))
    none = np.zeros((128, 128), bool)
    shares = [measure.longest_trail(plane, 0 * plane, none, 1.0) for plane in noise]
    assert max(shares) < 0.25
    found = measure.compare_sources(noise[0], noise[1], none, (1.0, 1.0), fwhms=(2.5, 2.0))
    assert len(found.first) == 0


@pytest.mark.parametrize(("fwhm", "beta"), [(2.5, 2.8), (4.2, 3.0), (6.0, 4.0)])
def test_half_maximum_width_of_moffat_profiles(fwhm, beta):
    """Against the closed form of the simulator, in Fourier space."""
    f = np.fft.fftfreq(64)
    transfer = moffat_transfer(f[:, None], f[None, :], fwhm, beta)
    psf = np.fft.fftshift(np.fft.ifft2(transfer).real)
    assert half_maximum_width(psf) == pytest.approx(fwhm, rel=0.03)


def test_half_maximum_width_of_what_is_no_psf():
    assert math.isnan(half_maximum_width(np.zeros((9, 9))))
    assert math.isnan(half_maximum_width(np.full((9, 9), np.nan)))
    assert math.isnan(half_maximum_width(np.ones((9, 9))))


def test_seeing_measured_on_stars():
    """Where neither PSF nor header tell; galaxies are broader and must not count."""
    rng = np.random.default_rng(4)
    image = rng.normal(0, 1, (128, 128))
    for k in range(8):
        y, x = 16 + 32 * (k // 3), 20 + 40 * (k % 3)
        image += star(image.shape, y + rng.uniform(), x + rng.uniform(), 8000, 2.6)
    for y, x in ((110, 20), (112, 64)):
        image += star(image.shape, y, x, 40000, 7.0)
    none = np.zeros(image.shape, bool)
    assert measure.star_width(image, none, 1.0, guess=2.4) == pytest.approx(2.6, rel=0.04)
    assert math.isnan(measure.star_width(image * 0, none, 1.0, guess=2.4))


def test_empty_apertures_see_correlated_noise():
    """Smoothing keeps the noise of large apertures but lowers that of a pixel."""
    rng = np.random.default_rng(6)
    noise = ndimage.gaussian_filter(rng.normal(0, 1, (256, 256)), 1.0)
    none = np.zeros(noise.shape, bool)
    radius = 6.0
    flux = measure.limiting_flux(noise, none, noise.std(), radius=radius)
    assert flux == pytest.approx(5 * np.sqrt(np.pi) * radius, rel=0.15)
    assert flux > 2 * 5 * noise.std() * np.sqrt(np.pi) * radius


def test_noise_free_target_and_blank_field_are_measured_too():
    first, second = copy_pair(*simulated(11, kind="blank"))
    second["r"].data[:] = 0
    quality = assess(first, second).bands["r"]
    assert math.isnan(quality.depth_target)
    assert quality.different == 0


def test_wholly_masked_target_is_rejected_without_an_error(pair):
    pair[1]["r"].mask = np.ones(pair[1]["r"].shape, bool)
    report = assess(*pair)
    assert "r: 100.0 % of the target is missing, above 2 %" in report.reasons


def test_limits_are_the_callers(good):
    strict = replace(PairLimits(), fwhm=0.1)
    reasons = assess_pair(as_matched(*good), limits=strict).reasons
    assert reasons
    assert all("seeing" in reason for reason in reasons)


def test_report_table_has_units(good):
    table = assess(*good).table()
    assert list(table["band"]) == ["r"]
    assert table["shift_y"].unit == u.arcsec
    assert table["depth_input"].unit == u.mag
    assert table.colnames[1:] == [one.name for one in fields(BandQuality)]


def test_notes_of_the_matching_are_kept(good):
    report = assess(*good, notes=["registered on the image alone"])
    assert "registered on the image alone" in report.notes
    assert PairReport({}).verdict == "accept"


def test_contact_sheet_shows_all_pairs(good, tmp_path):
    from matplotlib.image import imread

    pairs = [("one", *good), ("two", *good), ("three", None, None)]
    reports = {
        "one": ("accept", ()),
        "two": ("reject", ["r: seeing"]),
        "three": ("failed", ["no such galaxy; " * 30]),
    }
    path = contact_sheet(pairs, reports, tmp_path / "sheet.png")
    picture = imread(path)
    third = picture.shape[0] // 3
    # The residual is drawn in colors, so a row with images has pixels that are no gray.
    colored = [
        np.ptp(picture[k * third : (k + 1) * third, :, :3], axis=-1).max(axis=0).mean()
        for k in range(3)
    ]
    assert colored[0] > 0.05
    assert colored[1] > 0.05
    with pytest.raises(FileExistsError, match="pass overwrite=True"):
        contact_sheet(pairs, reports, path)
    before = path.read_bytes()
    contact_sheet(pairs, reports, path, overwrite=True)
    assert path.read_bytes() == before, "the same sheet is the same file"
    assert not [p for p in tmp_path.iterdir() if p != path]


def test_contact_sheet_of_many_pairs_has_columns(good, tmp_path):
    from matplotlib.image import imread

    names = [f"p{k}" for k in range(8)]
    reports = dict.fromkeys(names, ("accept", ()))
    one = contact_sheet([("p0", *good)], {"p0": ("accept", ())}, tmp_path / "one.png")
    many = contact_sheet(((n, *good) for n in names), reports, tmp_path / "many.png")
    assert imread(many).shape[1] > 1.8 * imread(one).shape[1]
    assert imread(many).shape[0] < 5 * imread(one).shape[0]
