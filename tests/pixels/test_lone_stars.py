# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Lone stars, against Fourier transforms, galsim, and stars of known flux and place."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft

from splus_srgan.pixels.lone_stars import LEAST_SIGNAL, find_lone_stars
from splus_srgan.pixels.psf import WING_FWHM, coma_transfer, moffat_transfer, wing_transfer
from splus_srgan.pixels.star_model import CORE_NODES, WING_NODES, StarModel
from splus_srgan.pixels.star_psf import find_stars, fit_star_psf

ONE = np.ones((1, 1, 1))
MODEL = StarModel(2.5, 3.8, 0.28, WING_FWHM / 0.55, (0.05, -0.03), (0.02, 0.01))
NORM = float(np.sqrt(np.sum(MODEL(*np.mgrid[-9:10, -9:10][::-1]) ** 2)))


def scene(stars, *, shape=(64, 72), seed=1, model=MODEL):
    """Noise of 1 with stars of x, y and S/N."""
    y, x = np.indices(shape)
    image = np.random.default_rng(seed).normal(size=shape)
    for column, row, signal in stars:
        image += signal / NORM * model(x - column, y - row)
    return image


def found_in(*images, models=None, **options):
    stack = np.stack(images)
    given = np.zeros((len(stack), 1, 1)), np.ones((len(stack), 1, 1))
    return find_lone_stars(stack, *given, models or [MODEL] * len(stack), **options)


def by_fourier(coma, share, *, size=128, scale=0.55, fwhm=1.5, beta=3.5):
    """A star in the middle of an image, from the transfer functions of the simulation."""
    fy, fx = fft.fftfreq(size, scale)[:, None], fft.rfftfreq(size, scale)[None]
    core = moffat_transfer(fy, fx, fwhm, beta) * coma_transfer(fy, fx, fwhm, coma)
    middle = size // 2 * scale
    shift = np.exp(-2j * np.pi * (fy + fx) * middle)
    return fft.irfft2(wing_transfer(fy, fx, core, share) * shift)


@pytest.mark.parametrize("share", [0.0, 0.28])
@pytest.mark.parametrize("coma", [(0.0, 0.0), (0.03, -0.02)])
def test_model_is_what_the_simulation_draws(coma, share):
    image = by_fourier(coma, share)
    y, x = np.mgrid[-64:64, -64:64]
    model = StarModel(1.5 / 0.55, 3.5, share, WING_FWHM / 0.55, coma=coma[::-1])
    inner = np.s_[50:79, 50:79]
    assert_allclose(model(x, y)[inner], image[inner], atol=0.02 * image.max())
    if any(coma):  # to first order, that is what is lopsided
        odd, wanted = (one[inner] - one[inner][::-1, ::-1] for one in (model(x, y), image))
        assert np.abs(odd - wanted).max() < 0.25 * np.abs(wanted).max()


def test_elongated_core_is_that_of_galsim():
    galsim = pytest.importorskip("galsim")
    # The ellipticity is 1 - b/a, that of galsim for q = b/a.
    profile = galsim.Moffat(beta=3.5, fwhm=3.0).shear(q=0.85, beta=0.6 * galsim.radians)
    image = profile.drawImage(nx=41, ny=41, scale=1.0, method="no_pixel").array
    y, x = np.mgrid[-20:21, -20:21]
    shape = 0.15 * np.cos(1.2), 0.15 * np.sin(1.2)
    assert_allclose(StarModel(3.0, 3.5, shape=shape)(x, y), image, atol=1e-3 * image.max())


DEPARTURES = {
    "core_departure": (-0.04, 0.01, 0.02, -0.02, 0.05, 0.03, 0.0),
    "wing_departure": (0.0, -0.1, -0.15, -0.2, 0.1, 0.1, 0.0),
}


@pytest.mark.parametrize("departures", [{}, DEPARTURES])
def test_slopes_are_the_derivatives(departures):
    # Not where the departure has a corner.
    y, x = (part.ravel() for part in np.mgrid[-6:7, -6:7] + 0.123)
    model, step = StarModel(2.5, 3.8, 0.28, 7.0, (0.1, -0.05), **departures), 1e-5
    columns = model.columns(x, y)
    along_x = (model.columns(x - step, y)[:, 0] - model.columns(x + step, y)[:, 0]) / (2 * step)
    along_y = (model.columns(x, y - step)[:, 0] - model.columns(x, y + step)[:, 0]) / (2 * step)
    assert_allclose(columns[:, 1:], np.stack([along_x, along_y], axis=1), atol=1e-8)


def test_departures_are_parts_of_core_and_wings():
    y, x = (part.ravel() for part in np.mgrid[-20:21, -20:21].astype(float))
    model = StarModel(2.5, 3.8, 0.28, 7.0, (0.1, -0.05))
    core, wings = model.parts(x, y)
    assert_allclose(core + wings, model.columns(x, y))
    parts = replace(model, **DEPARTURES).parts(x, y)
    r = np.hypot(x, y)
    for part, bare, nodes, fwhm, name in (
        (parts[0], core, CORE_NODES, 2.5, "core_departure"),
        (parts[1], wings, WING_NODES, 7.0, "wing_departure"),
    ):
        assert_allclose(part[:, 0] / bare[:, 0] - 1, np.interp(r / fwhm, nodes, DEPARTURES[name]))


@pytest.mark.parametrize("wings", [0.0, 0.3])
def test_another_core_has_the_same_light(wings):
    y, x = (part.ravel() for part in np.mgrid[-90:91, -90:91].astype(float))
    fine_y, fine_x = (part.ravel() / 2 for part in np.mgrid[-180:181, -180:181].astype(float))
    model = StarModel(2.6, 3.8, wings, 7.0, (0.1, 0.0), (0.02, 0.01), **DEPARTURES)
    other = model.with_core(3.6, 3.0, factor=2)
    before, after = model.parts(x, y), other.parts(2 * fine_x, 2 * fine_y)
    for part, same in zip(before, after, strict=True):
        assert part[:, 0].sum() == pytest.approx(same[:, 0].sum(), rel=5e-3, abs=1e-9)
    # And the wings are the same at each place.
    assert_allclose(other.parts(2 * x, 2 * y)[1][:, 0] * 4, before[1][:, 0])


def test_stars_that_are_no_moffat_profiles():
    sides = np.arange(-20, 21)
    y, x = np.meshgrid(sides, sides, indexing="ij")
    rng = np.random.default_rng(4)
    image, truths = rng.normal(size=(260, 260)), []

    def profile(dx, dy):
        # Three Gaussians: a sharp middle, and a shoulder.
        r2, widths = dx**2 + dy**2, ((0.5, 0.9), (0.38, 1.6), (0.12, 4.0))
        return sum(a * np.exp(-r2 / (2 * s**2)) / (2 * np.pi * s**2) for a, s in widths)

    for row in range(6):
        for column in range(6):
            place = 30 + 40 * np.array([column, row]) + rng.uniform(-0.5, 0.5, 2)
            flux = 10 ** rng.uniform(3.2, 4.2)
            i, j = np.round(place[::-1]).astype(int)
            box = np.s_[i - 20 : i + 21, j - 20 : j + 21]
            image[box] += flux * profile(x + j - place[0], y + i - place[1])
            truths.append((*place, flux))
    stars = find_stars(image, 1.0)
    found = fit_star_psf(image, 1.0, stars, pixel_scale=0.55)
    model = StarModel.of_fit(found, pixel_scale=0.55)
    bare = replace(model, core_departure=(), wing_departure=())
    off = [np.sqrt(np.mean((one(x, y) - profile(x, y)) ** 2)) for one in (model, bare)]
    assert off[0] < 0.6 * off[1]
    (lone,) = find_lone_stars(image[None], *np.array([[[[0.0]]], [[[1.0]]]]), [model])
    assert len(lone) > 20
    true_x, true_y, flux = np.transpose(truths)
    distance = np.hypot(lone.x[:, None] - true_x, lone.y[:, None] - true_y)
    within = np.hypot(x, y) < 8
    light = lone.flux * model(x, y)[within].sum()
    wanted = flux[np.argmin(distance, axis=1)] * profile(x, y)[within].sum()
    assert abs(np.median(light / wanted) - 1) < 0.005


@pytest.mark.parametrize("signal", [60.0, 300.0])
def test_errors_are_those_of_fluxes_and_places(signal):
    pulls = []
    for seed in range(60):
        place = 30 + np.random.default_rng(seed + 500).uniform(-0.5, 0.5, 2)
        (stars,) = found_in(scene([(*place, signal)], seed=seed))
        assert len(stars) == 1
        off = stars.flux[0] - signal / NORM, stars.x[0] - place[0], stars.y[0] - place[1]
        pulls.append(off / stars.errors[0])
    pulls = np.array(pulls)
    assert np.all(np.abs(pulls.mean(axis=0)) < 0.45)  # 3.5 standard errors
    # Two percent of the light in a pixel are taken for unknown, though here they are known.
    assert np.all((pulls.std(axis=0) > 0.4) & (pulls.std(axis=0) < 1.3))


def test_faint_stars_and_galaxies_are_left_alone():
    assert len(found_in(scene([(30, 30, 0.6 * LEAST_SIGNAL)]))[0]) == 0
    for factor in (1.15, 0.85):  # a small galaxy, a cosmic ray
        assert len(found_in(scene([(30, 30, 150)], model=MODEL.wider(factor)))[0]) == 0
    image = scene([(30, 30, 150)])
    y, x = np.indices(image.shape)
    image += 20 * np.exp(-np.hypot(x - 26, y - 34) / 4)  # on a galaxy
    assert len(found_in(image)[0]) == 0


@pytest.mark.parametrize("other", [(34.0, 32.0), (30.0, 36.0)])
def test_close_pairs_are_left_alone(other):
    assert len(found_in(scene([(30, 30, 150), (*other, 60)]))[0]) == 0


def test_holes_saturation_and_the_border():
    image = scene([(30.2, 30.4, 200)])
    mask = np.zeros((1, *image.shape), bool)
    mask[0, 33, 32] = True
    assert len(found_in(image, mask=mask)[0]) == 0
    peak = image.max()
    assert len(found_in(image, saturation=[peak / 0.61])[0]) == 0
    assert len(found_in(image, saturation=[peak / 0.5])[0]) == 1
    assert len(found_in(scene([(1.0, 30.0, 200)]))[0]) == 0


def test_bands_agree_or_the_star_is_left_alone():
    bright, faint = scene([(30.3, 30.1, 200)]), scene([(30.33, 30.08, 12)], seed=2)
    nothing, wide = scene([], seed=3), scene([(30, 30, 100)], seed=4, model=MODEL.wider(1.3))
    one, two, three = found_in(bright, faint, nothing)
    assert len(one) == len(two) == 1
    assert len(three) == 0
    assert abs(two.x[0] - 30.33) < 0.3
    assert two.flux[0] == pytest.approx(12 / NORM, abs=4 / NORM)
    assert [len(stars) for stars in found_in(bright, wide)] == [0, 0]
    # In any order.
    again = found_in(nothing, faint, bright)
    assert_allclose([again[2].flux, again[1].flux], [one.flux, two.flux])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_noise_is_no_star(seed, n_band):
    images = np.random.default_rng(seed).normal(size=(n_band, 48, 48))
    assert all(len(stars) == 0 for stars in found_in(*images))


def test_windows_do_not_matter():
    """Stars near the seams of windows of 320 pixels are found once, as in a window of their own."""
    stars = [(318.8, 40.2, 300), (321.0, 300.5, 200), (40.4, 319.6, 100), (500.3, 322.0, 400)]
    image = scene(stars, shape=(400, 560))
    (found,) = found_in(image)
    assert len(found) == len(stars)
    for x, y, _ in stars:
        cut = np.s_[int(y) - 30 : int(y) + 31, int(x) - 30 : int(x) + 31]
        (alone,) = found_in(image[cut])
        k = np.argmin(np.hypot(found.x - x, found.y - y))
        moved = alone.x[0] + cut[1].start, alone.y[0] + cut[0].start
        assert_allclose(moved, (found.x[k], found.y[k]), atol=1e-9)
        assert_allclose(alone.flux[0], found.flux[k], rtol=1e-9)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 100), st.integers(0, 100), st.integers(1, 60), st.sampled_from([1, 2]))
def test_a_part_is_drawn_as_the_whole(y, x, side, factor):
    (stars,) = found_in(scene([(30.2, 30.4, 200), (50.1, 20.3, 3000)]))
    assert len(stars) == 2
    n_rows, n_columns = 64 * factor, 72 * factor
    whole = slice(0, n_rows), slice(0, n_columns)
    part = (
        slice(min(y, n_rows - 1), min(y + side, n_rows)),
        slice(min(x, n_columns - 1), min(x + side, n_columns)),
    )
    for options in ({}, {"relative_error": 0.02}):
        drawn = stars.draw(MODEL, whole, factor=factor, **options)
        assert_array_equal(stars.draw(MODEL, part, factor=factor, **options), drawn[part])


def test_light_is_conserved_on_the_finer_grid():
    (stars,) = found_in(scene([(120.2, 110.4, 500)], shape=(220, 240)))
    coarse = stars.draw(MODEL, (slice(0, 220), slice(0, 240)))
    target = StarModel(2 * 1.0 / 0.55, 3.0, MODEL.wings, 2 * MODEL.wing_fwhm)
    fine = stars.draw(target, (slice(0, 440), slice(0, 480)), factor=2)
    assert fine.sum() == pytest.approx(coarse.sum(), rel=2e-3)
    assert coarse.sum() == pytest.approx(stars.flux[0], rel=0.02)
    # Far from the star, both are the light of its wings.
    far = np.s_[90:96, 100:110]
    blocks = fine.reshape(220, 2, 240, 2).sum(axis=(1, 3))
    assert_allclose(blocks[far], coarse[far], rtol=0.05)
