# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Matching of two surveys: flux, position, noise, mask, PSF, and what bad input is told."""

import sys

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import (
    CCDData,
    InverseVariance,
    NDData,
    StdDevUncertainty,
    VarianceUncertainty,
)
from astropy.wcs import WCS, Sip
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from splus_srgan import match_pair, match_to_grid, simulate_field, upsample_wcs
from splus_srgan.exceptions import GridMismatchError, RegistrationError
from splus_srgan.pairs.matching.positions import pixel_positions
from splus_srgan.pairs.matching.resampled_noise import measure_noise_correlation, variance_factors
from splus_srgan.pairs.registration.measure import approximate_wcs, register_images

RNG = np.random.default_rng(20)


def tan_wcs(shape, scale, *, rotation=0.0, offset=(0.0, 0.0), sip=None):
    """Gnomonic WCS whose center is ``offset`` arcsec (east, north) off (30, -30) degrees."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ("RA---TAN-SIP", "DEC--TAN-SIP") if sip else ("RA---TAN", "DEC--TAN")
    north = -30 + offset[1] / 3600
    wcs.wcs.crval = 30 + offset[0] / 3600 / np.cos(np.radians(north)), north
    wcs.wcs.crpix = [(n + 1) / 2 for n in shape[::-1]]
    cos, sin = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = scale / 3600 * np.array([[-cos, sin], [sin, cos]])
    if sip:
        a, b = np.zeros((3, 3)), np.zeros((3, 3))
        a[2, 0], a[0, 2], b[1, 1], b[0, 2] = sip, -0.5 * sip, 0.8 * sip, 0.6 * sip
        wcs.sip = Sip(a, b, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    wcs.array_shape = shape
    return wcs


def draw_stars(number, half, *, seed=1, flux=(200, 4000)):
    """Positions in arcsec on the tangent plane of (30, -30), and fluxes."""
    rng = np.random.default_rng(seed)
    return rng.uniform(-half, half, (number, 2)), rng.uniform(*flux, number)


def render(wcs, shape, stars, fwhm, *, misplaced=None):
    """Moffat stars (beta 3) on any WCS; independent of every resampling.

    ``misplaced`` is called with the pixels ``y, x`` and gives where they are drawn.
    """
    places, fluxes = stars
    plane = tan_wcs((1, 1), 1.0)
    ra, dec = plane.wcs_pix2world(-places[:, 0], places[:, 1], 0)
    x, y = wcs.all_world2pix(ra, dec, 0)
    if misplaced is not None:
        y, x = misplaced(y, x)
    ys, xs = np.indices(shape)
    image = np.zeros(shape)
    # Profile on the sky: distances by the local scale of each pixel grid, which is SIP's too.
    for row, column, flux in zip(y, x, fluxes, strict=True):
        jacobian = local_jacobian(wcs, row, column)
        dy, dx = ys - row, xs - column
        sky = np.tensordot(jacobian, np.stack([dx, dy]), 1)
        gamma = fwhm / (2 * np.sqrt(2 ** (1 / 3) - 1))
        area = abs(np.linalg.det(jacobian))
        image += flux * area * 2 / (np.pi * gamma**2) * (1 + (sky**2).sum(0) / gamma**2) ** -3
    return image


def local_jacobian(wcs, row, column):
    """Arcsec on the sky per pixel, (x, y) columns."""
    ra, dec = wcs.all_pix2world([column, column + 1, column], [row, row, row + 1], 0)
    east = (ra - ra[0]) * np.cos(np.radians(dec[0])) * 3600
    north = (dec - dec[0]) * 3600
    return np.array([[east[1], east[2]], [north[1], north[2]]])


def image_of(data, wcs, *, sigma=None, **keywords):
    uncertainty = None if sigma is None else StdDevUncertainty(np.full(data.shape, sigma, "f4"))
    return CCDData(
        data.astype(np.float32), unit="nmgy", wcs=wcs, uncertainty=uncertainty, **keywords
    )


STARS = draw_stars(30, 22)


def survey_pair(*, seed=1, rotation=0.4, sip=2e-5, misplaced=None, target_scale=0.262, noise=0.2):
    """S-PLUS-like and Legacy-like images of the same stars; the latter turned and distorted."""
    rng = np.random.default_rng(seed)
    lr_shape, hr_shape = (96, 96), (240, 244)
    lr_wcs = tan_wcs(lr_shape, 0.55)
    hr_wcs = tan_wcs(hr_shape, target_scale, rotation=rotation, offset=(0.7, -0.4), sip=sip)
    input = render(lr_wcs, lr_shape, STARS, 1.5) + rng.normal(0, noise, lr_shape)
    target = render(hr_wcs, hr_shape, STARS, 1.1, misplaced=misplaced)
    target += rng.normal(0, noise / 10, hr_shape)
    return (
        {"r": image_of(input, lr_wcs, sigma=noise)},
        {"r": image_of(target, hr_wcs, sigma=noise / 10)},
    )


# One image onto another grid


@pytest.mark.parametrize("method", ["interp", "exact", "adaptive"])
def test_flux_is_conserved_with_rotation_scale_and_distortion(method):
    """Total flux within 0.1 %, where SIP makes the pixels' area vary by some percent."""
    shape = (160, 160)
    wcs = tan_wcs(shape, 0.262, rotation=0.4, sip=1e-4)
    stars = draw_stars(12, 10, seed=3)
    data = render(wcs, shape, stars, 1.2)
    new = match_to_grid(image_of(data, wcs), tan_wcs((140, 140), 0.275), (140, 140), method=method)
    truth = render(tan_wcs((140, 140), 0.275), (140, 140), stars, 1.2)
    assert_allclose(new.data.sum(), truth.sum(), rtol=1e-3)
    assert new.unit == u.nmgy
    assert new.data.dtype == np.float32


def test_each_star_keeps_its_flux_where_the_area_varies():
    """The local area counts: the mean of the field would be wrong by percents at its edge."""
    shape, out = (200, 200), (160, 160)
    wcs = tan_wcs(shape, 0.262, sip=2e-4)
    places = np.array([[-15.0, -12.0], [15.0, 14.0], [0.0, 16.0]])
    for place in places:
        star = place[None], np.array([100.0])
        new = match_to_grid(image_of(render(wcs, shape, star, 1.2), wcs), tan_wcs(out, 0.275), out)
        truth = render(tan_wcs(out, 0.275), out, star, 1.2)
        assert_allclose(new.data.sum(), truth.sum(), rtol=2e-3)
        assert_allclose(new.data.max(), truth.max(), rtol=0.02)
    _, area = pixel_positions(wcs, tan_wcs(out, 0.275), out)
    assert np.ptp(area) > 0.05


def test_interpolation_keeps_shape_and_place():
    """Against the same star drawn directly on the new grid."""
    wcs, new_wcs = tan_wcs((96, 96), 0.262, rotation=0.4), tan_wcs((90, 90), 0.275)
    star = np.array([[1.234, -0.71]]), np.array([100.0])
    new = match_to_grid(image_of(render(wcs, (96, 96), star, 1.2), wcs), new_wcs, (90, 90))
    truth = render(new_wcs, (90, 90), star, 1.2)
    assert_allclose(new.data[5:-5, 5:-5], truth[5:-5, 5:-5], atol=2e-3 * truth.max())


def test_surface_brightness_is_not_scaled():
    wcs = tan_wcs((40, 40), 0.5)
    image = CCDData(np.full((40, 40), 3.0, "f4"), unit="MJy / sr", wcs=wcs)
    new = match_to_grid(image, upsample_wcs(wcs), (80, 80))
    assert_allclose(new.data, 3.0, rtol=1e-5)
    per_pixel = match_to_grid(image_of(image.data, wcs), upsample_wcs(wcs), (80, 80))
    assert_allclose(per_pixel.data, 0.75, rtol=1e-5)


def test_footprint_becomes_mask():
    """What the image does not cover is masked, and only that."""
    wcs = tan_wcs((40, 40), 0.5)
    wide = tan_wcs((60, 60), 0.5)
    new = match_to_grid(image_of(np.ones((40, 40)), wcs), wide, (60, 60))
    expected = np.ones((60, 60), bool)
    expected[10:50, 10:50] = False
    assert (new.mask == expected).all()
    assert (new.data[expected] == 0).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_missing_pixels_stay_where_they_are(bad):
    """A bad pixel masks what is next to it, and leaves what lies behind the kernel alone."""
    wcs = tan_wcs((60, 60), 0.262)
    data = render(wcs, (60, 60), draw_stars(6, 6), 1.3)
    broken = data.copy()
    broken[30, 33] = bad
    mask = np.zeros((60, 60), bool)
    mask[30, 33] = bad == 1e6
    grid = tan_wcs((56, 56), 0.275)
    good = match_to_grid(image_of(data, wcs), grid, (56, 56))
    new = match_to_grid(image_of(broken, wcs, mask=mask), grid, (56, 56))
    assert 1 <= new.mask.sum() <= 9
    assert np.isfinite(new.data).all()
    # Outside the mask the filled value shows only through the tails of the spline.
    other = ~new.mask
    assert_allclose(new.data[other], good.data[other], atol=0.02 * good.data.max())
    y, x = grid.world_to_array_index(wcs.pixel_to_world(33, 30))
    ys, xs = np.indices((56, 56))
    far = np.hypot(ys - y, xs - x) > 6
    assert_allclose(new.data[far], good.data[far], atol=2e-4 * good.data.max())


@pytest.mark.parametrize(
    ("method", "order"),
    [("interp", "bicubic"), ("interp", "bilinear"), ("exact", "bicubic"), ("adaptive", "bicubic")],
)
def test_uncertainty_is_that_of_a_pixel(method, order):
    """Standard deviation by Monte Carlo, for white noise, in every phase, within 5 %."""
    wcs, grid = tan_wcs((160, 160), 0.262, rotation=0.4), tan_wcs((140, 140), 0.275)
    deviations = []
    for _ in range(3):
        noise = RNG.normal(0, 2, (160, 160))
        new = match_to_grid(
            image_of(noise, wcs, sigma=2.0), grid, (140, 140), method=method, order=order
        )
        deviations.append(new.data / new.uncertainty.array)
    pull = np.concatenate(deviations)
    sigma = np.tile(new.uncertainty.array, (3, 1))
    assert_allclose(pull.std(), 1, atol=0.03)
    # Where pixels coincide, the noise is that of the pixel; between them it is less.
    for part in (sigma < np.quantile(sigma, 0.2), sigma > np.quantile(sigma, 0.8)):
        assert_allclose(pull[part].std(), 1, atol=0.05)


def test_uncertainty_follows_the_variance_of_the_input():
    """Where the noise of the input varies, that of the output does."""
    wcs, grid = tan_wcs((200, 200), 0.262), tan_wcs((180, 180), 0.275)
    sigma = 1 + np.indices((200, 200))[1] / 40
    image = CCDData(
        (RNG.normal(0, 1, (200, 200)) * sigma).astype("f4"),
        unit="nmgy",
        wcs=wcs,
        uncertainty=InverseVariance(sigma.astype("f4") ** -2),
    )
    new = match_to_grid(image, grid, (180, 180))
    pull = new.data / new.uncertainty.array
    for columns in (slice(0, 60), slice(60, 120), slice(120, 180)):
        assert_allclose(pull[:, columns].std(), 1, atol=0.05)


@pytest.mark.parametrize("kind", [StdDevUncertainty, VarianceUncertainty, InverseVariance])
def test_an_uncertainty_may_have_a_unit_of_its_own(kind):
    wcs = tan_wcs((40, 40), 0.55)
    data = RNG.normal(0, 1, (40, 40))
    sigma = StdDevUncertainty(np.full((40, 40), 5.0), unit="mJy")
    images = [
        CCDData(data, unit="Jy", wcs=wcs, uncertainty=uncertainty)
        for uncertainty in (StdDevUncertainty(np.full((40, 40), 0.005)), sigma.represent_as(kind))
    ]
    wanted, found = (match_to_grid(image, upsample_wcs(wcs), (80, 80)) for image in images)
    assert_allclose(found.uncertainty.array, wanted.uncertainty.array, rtol=1e-5)


def test_pixels_without_weight_are_missing():
    wcs = tan_wcs((40, 40), 0.5)
    weight = np.ones((40, 40), "f4")
    weight[20, 20] = 0
    image = CCDData(np.ones((40, 40)), unit="nmgy", wcs=wcs, uncertainty=InverseVariance(weight))
    new = match_to_grid(image, upsample_wcs(wcs), (80, 80))
    assert new.mask[40:42, 40:42].all()
    assert new.mask.sum() <= 16


def test_variance_factors_of_a_bilinear_kernel_have_a_closed_form():
    """At phase f the weights are 1 - f and f."""
    f = np.arange(17) / 16
    expected = (1 - f) ** 2 + f**2
    assert_allclose(variance_factors("interp", "bilinear", (1, 1)), np.outer(expected, expected))


def test_correlated_noise_of_the_input_counts():
    """With a kernel and correlated noise, by Monte Carlo."""
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    white = RNG.normal(0, 1, (400, 400))
    smooth = ndimage.gaussian_filter(white, 0.7)
    smooth /= smooth.std()
    rho = measure_noise_correlation(smooth, np.zeros(smooth.shape, bool))
    # Of noise that a Gaussian has smoothed, it is a Gaussian twice as broad in variance.
    assert_allclose(rho[3, 4], np.exp(-1 / (4 * 0.7**2)), atol=0.03)
    factor = variance_factors("interp", "bicubic", (1, 1), kernel=kernel, correlation=rho)
    assert_allclose(ndimage.convolve(smooth, kernel).var(), factor[0, 0], rtol=0.05)
    half = ndimage.shift(ndimage.convolve(smooth, kernel), (0.5, 0.5))[9:-9, 9:-9]
    assert_allclose(half.var(), factor[8, 8], rtol=0.05)


@pytest.mark.parametrize("block_size", [40, 64, 100])
def test_blocks_give_the_whole_image(block_size):
    input, target = survey_pair()
    image, wcs = target["r"], upsample_wcs(input["r"].wcs)
    image.mask = np.zeros(image.shape, bool)
    image.mask[70:75, 30:180] = True
    whole = match_to_grid(image, wcs, (192, 192))
    parts = match_to_grid(image, wcs, (192, 192), block_size=block_size)
    assert (whole.mask == parts.mask).all()
    assert_allclose(parts.data, whole.data, atol=1e-5 * whole.data.max())
    assert_allclose(parts.uncertainty.array, whole.uncertainty.array, rtol=1e-3)


def test_blocks_share_no_wcs_between_threads():
    """A WCS keeps state while it computes; frequent switches between threads show it."""
    input, target = survey_pair()
    image, wcs = target["r"], upsample_wcs(input["r"].wcs)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        parts = [match_to_grid(image, wcs, (192, 192), block_size=40) for _ in range(4)]
    finally:
        sys.setswitchinterval(interval)
    for part in parts[1:]:
        assert_allclose(part.data, parts[0].data, rtol=0, atol=1e-6 * parts[0].data.max())


def test_progress_bar_sees_the_blocks():
    seen = []

    def bar(items):
        for item in items:
            seen.append(item)
            yield item

    _, target = survey_pair()
    match_to_grid(target["r"], target["r"].wcs, (96, 96), block_size=32, progress_bar=bar)
    assert sum(map(len, seen)) == 9


def test_input_is_not_modified_and_planes_are_carried():
    _, target = survey_pair()
    image = target["r"]
    image.flags = np.zeros(image.shape, np.uint8)
    image.flags[100:120] = 4
    image.meta["SATURATE"] = 100.0
    before = image.data.copy()
    new = match_to_grid(image, tan_wcs((96, 96), 0.55), (96, 96))
    assert (image.data == before).all()
    assert set(np.unique(new.flags)) == {0, 4}
    assert new.flags.dtype == np.uint8
    assert_allclose(new.meta["SATURATE"], 100 * (0.55 / 0.262) ** 2, rtol=1e-3)


def test_psf_is_carried_to_the_new_pixels():
    wcs = tan_wcs((60, 60), 0.262)
    star = np.zeros((1, 2)), np.ones(1)
    psf = render(tan_wcs((31, 31), 0.262), (31, 31), star, 1.2)
    image = image_of(np.ones((60, 60)), wcs, psf=psf)
    new = match_to_grid(image, tan_wcs((60, 60), 0.275), (60, 60))
    expected = render(tan_wcs(new.psf.shape, 0.275), new.psf.shape, star, 1.2)
    assert_allclose(new.psf, expected / expected.sum(), atol=2e-3 * expected.max())


def test_plain_nddata_goes_in_and_out():
    wcs = tan_wcs((40, 40), 0.5)
    new = match_to_grid(NDData(np.ones((40, 40)), unit="adu", wcs=wcs), wcs, (40, 40))
    assert type(new) is NDData
    assert_allclose(new.data, 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"image": np.ones((4, 4))}, TypeError, "image must be a CCDData or another NDData; got"),
        ({"image": CCDData(np.ones((4, 4)), unit="adu")}, ValueError, "image must have a celest"),
        ({"wcs": None}, TypeError, "wcs must be an astropy.wcs.WCS; got None"),
        ({"method": "cubic"}, ValueError, "method must be one of 'interp', 'adaptive', 'exact'"),
        ({"order": "quintic"}, ValueError, "order must be one of 'nearest-neighbor', 'bilinear'"),
        ({"block_size": 3}, ValueError, "block_size must be at least 16; got 3"),
        ({"shape": (0, 4)}, ValueError, "shape must be at least 1; got 0"),
    ],
)
def test_bad_arguments_are_named(change, error, message):
    wcs = tan_wcs((40, 40), 0.5)
    arguments = {"image": image_of(np.ones((40, 40)), wcs), "wcs": wcs, "shape": (40, 40)} | change
    with pytest.raises(error, match=message):
        match_to_grid(**arguments)


def test_magnitudes_are_refused():
    wcs = tan_wcs((40, 40), 0.5)
    image = CCDData(np.ones((40, 40)), unit=u.mag, wcs=wcs)
    with pytest.raises(ValueError, match="unit must be linear in flux"):
        match_to_grid(image, wcs, (40, 40))


# Pairs


def test_pair_is_on_the_grid_twice_as_fine():
    input, target = survey_pair()
    pair = match_pair(input, target, target_psf=None)
    assert pair.bands == ("r",)
    assert pair.target["r"].shape == (192, 192)
    fine = upsample_wcs(input["r"].wcs)
    there = pair.target["r"].wcs.pixel_to_world(10, 150)
    assert there.separation(fine.pixel_to_world(10, 150)).arcsec < 1e-9
    assert pair.input["r"] is input["r"]
    assert pair.coverage["r"] > 0.99


def test_good_wcs_leave_nothing_to_correct():
    """Rotation, scale and SIP are described by the WCS, and gone with it."""
    pair = match_pair(*survey_pair(), target_psf=None)
    found = pair.registrations["r"]
    assert found.measured
    assert max(map(abs, found.shift)) < 0.02
    assert abs(found.rotation) < 5 * found.rotation_error + 1e-3
    assert_allclose(pair.flux_ratios["r"][0], 1, atol=0.01)


def wrong(y, x):
    """Where a survey with bad astrometry has its sources: shifted, turned, stretched."""
    angle, scale = np.radians(0.4), 1.002
    dy, dx = y - 120, x - 122
    return (
        120 + 2.1 + scale * (np.cos(angle) * dy + np.sin(angle) * dx),
        122 - 3.3 + scale * (-np.sin(angle) * dy + np.cos(angle) * dx),
    )


def test_wrong_astrometry_is_measured_and_removed():
    """A known shift, rotation (0.4 degrees) and scale: what is left is within 0.02 px."""
    input, target = survey_pair(misplaced=wrong)
    pair = match_pair(input, target, target_psf=None)
    found = pair.registrations["r"]
    assert abs(found.rotation) == pytest.approx(0.4, abs=0.01)
    assert found.scale == pytest.approx(1.002, abs=5e-4)
    assert found.significant
    assert max(map(abs, found.shift)) > 1.5
    assert pair.corrected
    # By the sources themselves: drawn on the true grid, and measured on the result.
    truth = render(upsample_wcs(input["r"].wcs), (192, 192), STARS, 1.1)
    y, x = star_pixels(upsample_wcs(input["r"].wcs))
    errors = centroids(pair.target["r"].data, y, x) - centroids(truth, y, x)
    assert np.sqrt(np.mean(errors**2)) < 0.02
    assert np.abs(errors.mean(1)).max() < 0.02
    assert_allclose(pair.target["r"].data.sum(), truth.sum() * 1.002**-0, rtol=5e-3)


def test_correction_can_be_left_out():
    input, target = survey_pair(misplaced=wrong)
    pair = match_pair(input, target, correct=False, target_psf=None)
    assert not pair.corrected
    assert_allclose(pair.residuals["r"].shift, pair.registrations["r"].shift, atol=0.05)


def star_pixels(wcs):
    plane = tan_wcs((1, 1), 1.0)
    ra, dec = plane.wcs_pix2world(-STARS[0][:, 0], STARS[0][:, 1], 0)
    x, y = wcs.all_world2pix(ra, dec, 0)
    # Those that stand alone.
    distance = np.hypot(x[:, None] - x, y[:, None] - y) + 1e3 * np.eye(len(x))
    alone = (distance.min(1) > 22) & (STARS[1] > 1000)
    assert alone.sum() >= 5
    return y[alone], x[alone]


def centroids(image, y, x):
    """Gaussian-weighted centroids, iterated: not what the registration uses."""
    ys, xs = np.indices(image.shape)
    found = np.array([y, x])
    for k in range(len(y)):
        row, column = y[k], x[k]
        for _ in range(15):
            weight = image * np.exp(-((ys - row) ** 2 + (xs - column) ** 2) / (2 * 2.5**2))
            row += 2 * (np.sum(weight * ys) / weight.sum() - row)
            column += 2 * (np.sum(weight * xs) / weight.sum() - column)
        found[:, k] = row, column
    return found


def test_assumed_pixel_scale_is_found_wrong_and_match_removes_it():
    """The viewer cutout at 0.277" taken for 0.275": the report says 0.7 %, match removes it."""
    input, target = survey_pair(rotation=0.0, sip=None, target_scale=0.277)
    assumed = tan_wcs(target["r"].shape, 0.275, offset=(0.7, -0.4))
    image = CCDData(target["r"].data, unit="nmgy", wcs=assumed)
    pair = match_pair(input, {"r": image}, target_psf=None)
    found = pair.registrations["r"]
    assert found.scale == pytest.approx(0.275 / 0.277, abs=3e-4)
    assert found.significant
    assert pair.residuals["r"].scale == pytest.approx(1, abs=3e-4)
    truth = render(upsample_wcs(input["r"].wcs), (192, 192), STARS, 1.1)
    y, x = star_pixels(upsample_wcs(input["r"].wcs))
    errors = centroids(pair.target["r"].data, y, x) - centroids(truth, y, x)
    assert np.sqrt(np.mean(errors**2)) < 0.02
    # With its true WCS there is nothing to find.
    right = match_pair(input, target, target_psf=None).registrations["r"]
    assert right.scale == pytest.approx(1, abs=3e-4)


def test_errors_of_the_registration_are_right():
    """Over noise realizations, shifts scatter as their errors say."""
    pulls = []
    for seed in range(5):
        found = match_pair(*survey_pair(seed=seed, noise=3.0), target_psf=None).registrations["r"]
        pulls.append(np.array(found.shift) / found.shift_error)
    assert 0.5 < np.sqrt(np.mean(np.square(pulls))) < 1.6


def test_psf_is_matched_to_the_target():
    """A star comes out as the Moffat that was asked for, with its flux."""
    input, target = survey_pair(sip=None)
    star = np.zeros((1, 2)), np.ones(1)
    target["r"].psf = render(tan_wcs((61, 61), 0.262), (61, 61), star, 1.1)
    pair = match_pair(input, target)
    truth = render(upsample_wcs(input["r"].wcs), (192, 192), STARS, 1.0)
    inner = np.s_[8:-8, 8:-8]
    assert_allclose(pair.target["r"].data[inner], truth[inner], atol=0.03 * truth.max())
    assert_allclose(pair.target["r"].data[inner].sum(), truth[inner].sum(), rtol=2e-3)
    assert pair.psf_errors["r"] < 0.05
    shape = pair.target["r"].psf.shape
    expected = render(tan_wcs(shape, 0.275), shape, star, 1.0)
    assert_allclose(pair.target["r"].psf, expected / expected.sum(), atol=0.05 * expected.max())


def test_uncertainty_holds_after_psf_matching():
    """On blank sky, within 5 %, though the kernel amplifies and correlates the noise."""
    input, target = survey_pair(sip=None)
    star = np.zeros((1, 2)), np.ones(1)
    psf = render(tan_wcs((61, 61), 0.262), (61, 61), star, 1.15)
    blank = image_of(RNG.normal(0, 0.5, (240, 244)), target["r"].wcs, sigma=0.5, psf=psf)
    pair = match_pair(input, {"r": blank}, subtract_sky=False)
    pull = pair.target["r"].data / pair.target["r"].uncertainty.array
    assert_allclose(pull[~pair.target["r"].mask].std(), 1, atol=0.05)
    assert not pair.corrected
    assert any("nothing in common" in note for note in pair.notes)


def test_unknown_psf_is_noted():
    pair = match_pair(*survey_pair())
    assert any("the PSF of the target is not known" in note for note in pair.notes)
    assert np.isnan(pair.psf_errors["r"])


def test_pedestal_is_removed():
    input, target = survey_pair()
    raised = CCDData(target["r"].data + 5.0, unit="nmgy", wcs=target["r"].wcs)
    kept = match_pair(input, {"r": raised}, target_psf=None, subtract_sky=False)
    pair = match_pair(input, {"r": raised}, target_psf=None)
    assert_allclose(pair.sky["r"], 5 * (0.275 / 0.262) ** 2, rtol=0.02)
    difference = kept.target["r"].data - pair.target["r"].data
    assert_allclose(np.median(difference), pair.sky["r"], rtol=1e-3)


def test_band_term_is_applied_and_stated():
    input, target = survey_pair()
    plain = match_pair(input, target, target_psf=None, subtract_sky=False)
    given = match_pair(input, target, target_psf=None, subtract_sky=False, band_terms={"r": 1.25})
    assert_allclose(given.target["r"].data, 1.25 * plain.target["r"].data, rtol=1e-5)
    assert given.target["r"].meta["MTTERM"] == 1.25
    assert_allclose(given.flux_ratios["r"][0], 1.25 * plain.flux_ratios["r"][0], rtol=1e-3)
    dim = {"r": CCDData(target["r"].data * 0.8, unit="nmgy", wcs=target["r"].wcs)}
    measured = match_pair(input, dim, target_psf=None, band_terms="measure")
    assert_allclose(measured.flux_ratios["r"][0], 1, atol=0.01)
    assert_allclose(measured.target["r"].meta["MTTERM"], 1.25, rtol=0.02)


def test_units_are_brought_together():
    input, target = survey_pair()
    jansky = {"r": CCDData(target["r"].data * 3.631e-6, unit="Jy", wcs=target["r"].wcs)}
    input = {"r": CCDData(input["r"].data * 3.631, unit="uJy", wcs=input["r"].wcs)}
    pair = match_pair(input, jansky, target_psf=None)
    assert pair.target["r"].unit == u.uJy
    assert_allclose(pair.flux_ratios["r"][0], 1, atol=0.01)
    counts = {"r": CCDData(input["r"].data, unit="adu", wcs=input["r"].wcs)}
    assert any("input is in adu" in n for n in match_pair(counts, jansky, target_psf=None).notes)


def test_a_pair_in_surface_brightness_is_the_pair_in_fluxes():
    input, target = survey_pair(target_scale=0.3)
    target["r"].data += np.float32(0.5)

    def per_area(image, scale):
        sigma = StdDevUncertainty(image.uncertainty.array / scale**2)
        options = {"wcs": image.wcs, "uncertainty": sigma}
        return {"r": CCDData(image.data / scale**2, unit="nmgy / arcsec2", **options)}

    options = {"target_psf": None, "band_terms": "measure"}
    flux = match_pair(input, target, **options)
    bright = match_pair(per_area(input["r"], 0.55), per_area(target["r"], 0.3), **options)
    for name in ("registrations", "residuals"):
        ratios = [getattr(pair, name)["r"].flux_ratio for pair in (flux, bright)]
        # Distortion changes the areas of the pixels by 1e-3.
        assert_allclose(*ratios, rtol=3e-3)
    assert_allclose(flux.registrations["r"].flux_ratio, 1, atol=0.01)
    assert_allclose(bright.flux_ratios["r"], flux.flux_ratios["r"], rtol=3e-3, atol=1e-4)
    assert_allclose(bright.sky["r"] * 0.275**2, flux.sky["r"], rtol=3e-3)
    assert_allclose(bright.sky["r"], 0.5 / 0.3**2 * bright.target["r"].meta["MTTERM"], rtol=0.02)
    inner = np.s_[20:-20, 20:-20]
    images = [pair.target["r"].data[inner] for pair in (bright, flux)]
    assert_allclose(images[0] * 0.275**2, images[1], rtol=0.01, atol=0.01)


@pytest.mark.parametrize("scale", [0.55, 0.3])
def test_registration_compares_surface_brightness_as_it_is(scale):
    input, target = survey_pair(target_scale=scale)
    sides = [
        CCDData(side["r"].data / width**2, unit="nmgy / arcsec2", wcs=side["r"].wcs)
        for side, width in ((target, scale), (input, 0.55))
    ]
    _, found = register_images(*sides)
    assert_allclose(found.flux_ratio, 1, atol=0.02)


def test_faint_band_follows_the_others():
    """A band in which nothing is seen takes the correction of the others."""
    input, target = survey_pair(misplaced=wrong)
    input["g"] = image_of(RNG.normal(0, 1, (96, 96)), input["r"].wcs)
    target["g"] = image_of(RNG.normal(0, 0.1, (240, 244)), target["r"].wcs)
    pair = match_pair(input, target, target_psf=None)
    assert not pair.registrations["g"].measured
    assert_allclose(pair.target["g"].meta["MTDY"], pair.target["r"].meta["MTDY"], atol=0.01)
    assert any(note.startswith("g was moved like the other bands") for note in pair.notes)


def test_bands_of_one_side_are_left_out():
    input, target = survey_pair()
    input["u"] = input["r"]
    pair = match_pair(input, {"R": target["r"]}, target_psf=None)
    assert pair.bands == ("r",)
    assert pair.notes[0] == "bands of one side only are left out: input has u"


# A WCS that is wrong, or missing


def test_side_without_wcs_is_registered_on_the_image():
    """Distortion apart, which images alone do not tell."""
    input, target = survey_pair(sip=None)
    bare = {"r": CCDData(target["r"].data, unit="nmgy")}
    pair = match_pair(input, bare, target_scale=0.265, target_psf=None)
    assert any("target has no WCS: it was registered on the image alone" in n for n in pair.notes)
    truth = render(upsample_wcs(input["r"].wcs), (192, 192), STARS, 1.1)
    y, x = star_pixels(upsample_wcs(input["r"].wcs))
    errors = centroids(pair.target["r"].data, y, x) - centroids(truth, y, x)
    assert np.sqrt(np.mean(errors**2)) < 0.03


def test_no_wcs_on_either_side_is_refused():
    input, target = survey_pair()
    input, target = ({"r": CCDData(side["r"].data, unit="nmgy")} for side in (input, target))
    with pytest.raises(ValueError, match="input or target must have a WCS; got none on"):
        match_pair(input, target)
    target["r"].wcs = approximate_wcs(target["r"].shape, 0.262)
    with pytest.raises(ValueError, match="input_scale must be given"):
        match_pair(input, target)
    assert match_pair(input, target, input_scale=0.55, target_psf=None).residuals["r"].measured


def test_transposed_array_is_refused_with_the_reason():
    input, target = survey_pair()
    turned = {"r": CCDData(input["r"].data.T.copy(), unit="nmgy", wcs=input["r"].wcs)}
    with pytest.raises(RegistrationError, match="the array of input is transposed with respect to"):
        match_pair(turned, target)


def sparse_pair(seed, number):
    """A small field with few stars, as cutouts around a galaxy are."""
    rng = np.random.default_rng(seed)
    stars = rng.uniform(-22, 22, (number, 2)), 10 ** rng.uniform(0.7, 1.7, number)
    sides = []
    for n, scale, fwhm, noise in ((96, 0.55, 1.4, 0.06), (200, 0.262, 1.1, 0.003)):
        wcs = tan_wcs((n, n), scale)
        data = render(wcs, (n, n), stars, fwhm) + rng.normal(0, noise, (n, n))
        sides.append({"r": image_of(data, wcs)})
    return sides


@pytest.mark.parametrize(("seed", "number"), [(1, 1), (2, 2), (3, 2), (4, 3), (5, 4)])
def test_few_sources_are_no_reason_to_doubt_a_wcs(seed, number):
    """One star lies well on another where the images overlap little."""
    input, target = sparse_pair(seed, number)
    found = match_pair(input, target, target_psf=None).registrations["r"]
    assert found.measured
    assert max(map(abs, found.shift)) < 0.5


@pytest.mark.parametrize("seed", [4, 5, 6])
def test_a_flipped_array_of_few_sources_is_called_that(seed):
    input, target = sparse_pair(seed, 3)
    flipped = {"r": CCDData(input["r"].data[::-1].copy(), unit="nmgy", wcs=input["r"].wcs)}
    with pytest.raises(RegistrationError, match="the array of input is flipped upside down") as one:
        match_pair(flipped, target, target_psf=None)
    assert "position is off" not in str(one.value)


def test_wrong_position_is_refused_with_the_right_one():
    input, target = survey_pair()
    wcs = input["r"].wcs.deepcopy()
    wcs.wcs.crpix = wcs.wcs.crpix[0] - 300, wcs.wcs.crpix[1] + 40
    lost = {"r": CCDData(input["r"].data, unit="nmgy", wcs=wcs)}
    with pytest.raises(RegistrationError, match=r"CRPIX should be \(48.\d\d, 48.\d\d\) instead of"):
        match_pair(lost, target)
    repaired, _ = register_images(lost["r"], target["r"])
    pair = match_pair({"r": CCDData(lost["r"].data, unit="nmgy", wcs=repaired)}, target)
    assert max(map(abs, pair.registrations["r"].shift)) < 0.05


@pytest.mark.parametrize("degrees", [85, 140, 180])
def test_a_wcs_of_the_other_side_of_the_sky_is_refused(degrees):
    input, target = survey_pair()
    wcs = target["r"].wcs.deepcopy()
    wcs.wcs.crval = wcs.wcs.crval[0] + degrees, -wcs.wcs.crval[1]
    far = {"r": CCDData(target["r"].data, unit="nmgy", wcs=wcs)}
    with pytest.raises(RegistrationError, match=r"by their WCS they are \d+\.\d degrees apart"):
        match_pair(input, far, target_psf=None)


def test_another_field_is_refused():
    input, _ = survey_pair()
    _, target = survey_pair()
    other = render(target["r"].wcs, (240, 244), draw_stars(30, 22, seed=99), 1.1)
    far = tan_wcs((240, 244), 0.262, offset=(900, 0))
    noise = RNG.normal(0, 0.02, (240, 244))
    with pytest.raises(RegistrationError, match="they do not overlap, and the images have nothing"):
        match_pair(input, {"r": image_of(RNG.normal(0, 1, (240, 244)), far)})
    pair = match_pair(input, {"r": image_of(other * 0 + noise, target["r"].wcs)}, target_psf=None)
    assert not pair.residuals["r"].measured


def test_bands_of_a_side_share_a_grid():
    input, target = survey_pair()
    input["g"] = CCDData(input["r"].data, unit="nmgy", wcs=tan_wcs((96, 96), 0.56))
    target["g"] = target["r"]
    with pytest.raises(GridMismatchError, match=r"input\['g'\] is .* px off"):
        match_pair(input, target)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"input": 3}, TypeError, "input must be a mapping of band to CCDData; got int"),
        ({"target_psf": 1.0}, ValueError, "target_psf must be FWHM"),
        ({"target_psf": (1.0, 0.5)}, ValueError, "target_psf must have a Moffat beta above 1"),
        ({"band_terms": {"g": 1.0}}, ValueError, "band_terms must name bands of the pair"),
        ({"band_terms": {"r": -1.0}}, ValueError, r"band_terms\['r'\] must be above 0; got -1.0"),
        ({"band_terms": 2}, TypeError, "band_terms must be a mapping of band to factor"),
        ({"max_shift": 0}, ValueError, "max_shift must be above 0; got 0"),
    ],
)
def test_bad_options_of_a_pair_are_named(change, error, message):
    input, target = survey_pair()
    with pytest.raises(error, match=message):
        match_pair(**({"input": input, "target": target} | change))


def test_no_common_band_is_refused():
    input, target = survey_pair()
    with pytest.raises(ValueError, match="input and target must have a band in common; got"):
        match_pair(input, {"g": target["r"]})


def test_plain_nddata_make_the_same_pair():
    field = simulate_field(1, shape=(64, 64), bands="r", kind="cluster")

    def plain(image):
        parts = {"unit": image.unit, "wcs": image.wcs, "meta": dict(image.meta)}
        return NDData(np.array(image.data), **parts)

    sides = field.observed, field.target
    wanted = match_pair(*sides, target_psf=None).target["r"]
    found = match_pair(*({"r": plain(side["r"])} for side in sides), target_psf=None).target["r"]
    assert type(found) is NDData
    assert_array_equal(found.data, wanted.data)
