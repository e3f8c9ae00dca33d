# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Simulated fields: profiles and PSFs against GalSim, noise, grids, headers, sources."""

import dataclasses

import numpy as np
import pytest
from astropy import units as u
from numpy.testing import assert_allclose, assert_array_equal
from photutils.aperture import CircularAperture

from splus_srgan import splus
from splus_srgan.images.header import psf_from_header, winged_psf_from_header
from splus_srgan.images.wcs import upsample_header, upsample_wcs
from splus_srgan.pixels.coadd_noise import correlated_noise, noise_variance
from splus_srgan.pixels.psf import TARGET_PSF, WINGS, core_profile
from splus_srgan.simulate.conditions import BandConditions, draw_conditions
from splus_srgan.simulate.field import (
    KINDS,
    PSFS,
    simulate_field,
)
from splus_srgan.simulate.galaxies import add_disc_galaxy, add_elliptical
from splus_srgan.simulate.light import Light
from splus_srgan.simulate.observe import FineGrid, observe
from splus_srgan.simulate.profiles import deposit, sersic
from splus_srgan.simulate.scene import Scene

FINE_SCALE = 0.55 / 4
PADDED, FRAME = 112, 64  # S-PLUS pixels with and without the margin
GRID = FineGrid((4 * PADDED, 4 * PADDED), FINE_SCALE)
X, Y = 4 * PADDED / 2 + 3.3, 4 * PADDED / 2 - 2.1  # fine pixels

CONDITIONS = BandConditions(
    fwhm=1.4,
    beta=2.9,
    ellipticity=0.1,
    position_angle=0.6,
    sigma=0.06,
    electrons=300.0,
    sky=0.0,
    zero_point=23.5,
    saturation=1600.0,
    dithers=((0.1, 0.3), (-0.2, 0.4), (0.3, -0.4)),
)


@pytest.fixture(scope="module")
def fields():
    """A small field of every kind."""
    return {kind: simulate_field(11, shape=(36, 44), kind=kind) for kind in KINDS}


@pytest.fixture(scope="module")
def star():
    """One star of 1000 nMgy, seen by S-PLUS and as the target."""
    plane = np.zeros((1, 4 * PADDED, 4 * PADDED), np.float32)
    deposit(plane, np.array([X]), np.array([Y]), np.array([[1000.0]]))
    return observe(plane[0], CONDITIONS, (FRAME, FRAME), GRID)


def on_grid(step):
    """0-based position of (X, Y) on the grid of pixels of ``step`` fine ones."""
    border = (PADDED - FRAME) // 2 * (4 // step)
    return tuple((value - (step - 1) / 2) / step - border for value in (X, Y))


def galsim_psf(galsim, step):
    if step == 2:
        return galsim.Moffat(fwhm=TARGET_PSF[0], beta=TARGET_PSF[1])
    psf = galsim.Moffat(fwhm=CONDITIONS.fwhm, beta=CONDITIONS.beta)
    angle = CONDITIONS.position_angle * galsim.radians
    return psf.shear(q=1 - CONDITIONS.ellipticity, beta=angle)


def galsim_image(profile, step):
    """What GalSim samples at the pixel centres; a PSF here includes the pixel."""
    side = FRAME * 4 // step
    centre = (side - 1) / 2
    x, y = on_grid(step)
    image = profile.drawImage(
        nx=side,
        ny=side,
        scale=FINE_SCALE * step,
        method="no_pixel",
        offset=(x - centre, y - centre),
    )
    return image.array


def centroid(image, x, y, width):
    """Centroid under a Gaussian window that follows it."""
    yy, xx = np.indices(image.shape)
    for _ in range(30):
        light = image * np.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * width**2))
        x, y = (
            start + 2 * ((light * (axis - start)).sum() / light.sum())
            for start, axis in ((x, xx), (y, yy))
        )
    return x, y


def moffat_star(shape, x, y, scale, fwhm, beta, *, ellipticity=0.0, position_angle=0.0):
    """Closed form of a star of unit flux, sampled at the pixel centres."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    yy, xx = np.indices(shape) - np.array([y, x])[:, None, None]
    cos, sin = np.cos(position_angle), np.sin(position_angle)
    stretch = np.sqrt(1 - ellipticity)
    major, minor = (cos * xx + sin * yy) * stretch, (cos * yy - sin * xx) / stretch
    r2 = (major**2 + minor**2) * scale**2
    return scale**2 * (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta


# Profiles and PSFs


def test_only_psfs_are_those_asked_for():
    real, plain = (simulate_field(3, shape=(32, 32), psf=kind) for kind in ("real", "moffat"))
    for band in plain.conditions:
        one, two = (field.conditions[band] for field in (plain, real))
        assert one.coma == (0, 0) != two.coma
        assert one.wings == 0 < two.wings
        assert dataclasses.replace(two, coma=one.coma, wings=one.wings) == one
        assert_array_equal(plain.sources["flux_" + band], real.sources["flux_" + band])
        assert not np.array_equal(plain.target[band].data, real.target[band].data)
        assert not np.array_equal(plain.observed[band].data, real.observed[band].data)


def test_wide_psfs_are_of_a_wider_range_and_all_else_is_the_same():
    kinds = {"real": [], "wide": []}
    for psf, found in kinds.items():
        fields = [simulate_field((3, k), shape=(16, 16), psf=psf) for k in range(60)]
        found += [one for field in fields for one in field.conditions.values()]
    names = ("fwhm", "beta", "ellipticity", "wings")
    for real, wide in zip(*kinds.values(), strict=True):
        same = {name: getattr(real, name) for name in names}
        assert dataclasses.replace(wide, **same) == real
        assert 0.95 <= wide.fwhm <= 2.4
        assert 2 <= wide.beta <= 9
        assert 0 <= wide.ellipticity <= 0.3
        assert 0 <= wide.wings <= 0.45
    for name in names:
        real, wide = (np.std([getattr(one, name) for one in found]) for found in kinds.values())
        assert wide > 1.3 * real, name
    # Each band and field has its own.
    assert len({one.beta for one in kinds["wide"]}) == len(kinds["wide"])


def test_header_states_the_share_of_the_wings():
    for psf in PSFS:
        field = simulate_field(3, shape=(32, 32), psf=psf)
        for band, image in field.observed.items():
            conditions = field.conditions[band]
            assert image.meta["PSFWINGS"] == conditions.wings
            # What the scene was convolved with: the header's own profile where nothing is in wings.
            *core, wings = winged_psf_from_header(image.meta)
            expected = core_profile(conditions.fwhm, conditions.beta, conditions.wings)
            assert_allclose(core, expected, rtol=1e-6)
            assert wings == conditions.wings
            assert (tuple(core) == psf_from_header(image.meta)) == (psf == "moffat")


def test_unknown_kind_of_psf_is_refused():
    with pytest.raises(ValueError, match=r"psf must be one of .*; got 'gauss'"):
        simulate_field(3, psf="gauss")


@pytest.mark.parametrize("step", [4, 2])
@pytest.mark.parametrize(
    ("index", "axis_ratio", "angle", "radius", "tolerance"),
    [(1, 1.0, 0.0, 2.0, 3e-3), (1, 0.5, 0.7, 3.0, 3e-3), (4, 0.6, 2.0, 2.5, 8e-3)],
)
def test_galaxies_agree_with_galsim(galsim, step, index, axis_ratio, angle, radius, tolerance):
    """Profile values to a few thousandths, and the flux in the frame to one."""
    shape = (4 * PADDED, 4 * PADDED)
    profile, window = sersic(shape, X, Y, radius / FINE_SCALE, index, axis_ratio, angle)
    plane = np.zeros(shape, np.float32)
    plane[window] += profile
    ours = observe(plane, CONDITIONS, (FRAME, FRAME), GRID)[0 if step == 4 else 1]

    galaxy = galsim.Sersic(n=index, half_light_radius=radius * np.sqrt(axis_ratio))
    galaxy = galaxy.shear(q=axis_ratio, beta=angle * galsim.radians)
    theirs = galsim_image(galsim.Convolve(galaxy, galsim_psf(galsim, step)), step)

    assert_allclose(ours.sum(), theirs.sum(), rtol=1e-3)
    assert_allclose(ours, theirs, rtol=0, atol=tolerance * theirs.max())
    bright = theirs > 0.05 * theirs.max()
    assert_allclose(ours[bright], theirs[bright], rtol=1.5 * tolerance)


@pytest.mark.parametrize("step", [4, 2])
def test_stars_agree_with_galsim(galsim, star, step):
    ours = star[0 if step == 4 else 1]
    theirs = 1000 * galsim_image(galsim_psf(galsim, step), step)
    assert_allclose(ours.sum(), theirs.sum(), rtol=1e-4)
    assert_allclose(ours, theirs, rtol=0, atol=4e-3 * theirs.max())


def test_star_has_the_target_psf(star):
    """Without GalSim: a Moffat of 1 arcsec, in closed form."""
    moffat = 1000 * moffat_star(star[1].shape, *on_grid(2), 0.275, *TARGET_PSF)
    assert_allclose(star[1], moffat, rtol=0, atol=2e-3 * moffat.max())


def test_coarse_pixel_is_centred_between_its_fine_ones(star):
    """S-PLUS pixel (i, j) is centred on target pixel (2i + 0.5, 2j + 0.5)."""
    assert_allclose(centroid(star[0], *on_grid(4), 2.0), on_grid(4), atol=0.005)
    assert_allclose(centroid(star[1], *on_grid(2), 3.0), on_grid(2), atol=0.005)
    assert_allclose(on_grid(2), 2 * np.array(on_grid(4)) + 0.5, atol=1e-12)


@pytest.mark.parametrize("radius", [4.0, 8.0])
def test_wings_stay_where_they_are(radius):
    """Only the core is sharpened: apertures beyond it hold the same light on both grids."""
    plane = np.zeros((4 * PADDED, 4 * PADDED), np.float32)
    deposit(plane[None], np.array([X]), np.array([Y]), np.array([[1000.0]]))
    winged = dataclasses.replace(CONDITIONS, wings=0.3)
    sums = []
    for image, step in zip(observe(plane, winged, (FRAME, FRAME), GRID), (4, 2), strict=True):
        aperture = CircularAperture(on_grid(step), radius / (FINE_SCALE * step))
        sums.append(aperture.do_photometry(image, method="exact")[0][0])
    lost = 0.3 / (1 + (radius / WINGS[0]) ** 2)  # closed form for beta = 2
    assert_allclose(sums, 1000 * (1 - lost), rtol=0.02)
    assert_allclose(*sums, rtol=0.005)


@pytest.mark.parametrize("shape", [(64, 64), (35, 52), (41, 37)])
def test_table_has_positions_and_fluxes_on_both_grids(shape):
    """The brightest star, predicted from its row, is there; also where margins are not even."""
    field = simulate_field(4, shape=shape, kind="stars", bands=("r",))
    stars = field.sources[field.sources["kind"] == "star"]
    x, y = stars["x"].to_value(u.pix), stars["y"].to_value(u.pix)
    flux = stars["flux_r"].to_value(u.nmgy)
    inside = (x > 5) & (x < shape[1] - 6) & (y > 5) & (y < shape[0] - 6)
    brightest = np.argmax(np.where(inside, flux, 0))

    conditions = field.conditions["r"]
    fwhm, beta, _ = winged_psf_from_header(field.observed["r"].meta)
    seeing = {
        "fwhm": fwhm,
        "beta": beta,
        "ellipticity": conditions.ellipticity,
        "position_angle": conditions.position_angle,
    }
    target = {"fwhm": TARGET_PSF[0], "beta": TARGET_PSF[1]}
    alpha, beta = WINGS
    wings = {"fwhm": 2 * alpha * np.sqrt(2 ** (1 / beta) - 1), "beta": beta}
    images = field.noiseless["r"], field.target["r"].data
    # The band's astrometric error moves both images alike.
    error_y, error_x = conditions.offset
    assert max(abs(error_y), abs(error_x)) > 1e-3
    moved = x + error_x / 0.55, y + error_y / 0.55
    # Galaxies behind the star are not in the prediction.
    for image, step, psf, tolerance in zip(
        images, (1, 2), (seeing, target), (0.06, 0.03), strict=True
    ):
        positions = [step * axis + (step - 1) / 2 for axis in moved]
        predicted = conditions.adu_per_nmgy * sum(
            f * share * moffat_star(image.shape, i, j, 0.55 / step, **part)
            for f, i, j in zip(flux, *positions, strict=True)
            for share, part in ((1 - conditions.wings, psf), (conditions.wings, wings))
        )
        column, row = (round(axis[brightest]) for axis in positions)
        here = np.s_[row - 3 : row + 4, column - 3 : column + 4]
        peak = predicted[here].max()
        assert_allclose(image[here], predicted[here], rtol=0, atol=tolerance * peak)

    sky = field.observed["r"].wcs.pixel_to_world(x, y)
    assert_allclose(sky.ra.deg, stars["ra"].to_value(u.deg), rtol=0, atol=1e-9)
    assert_allclose(sky.dec.deg, stars["dec"].to_value(u.deg), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("add", [add_disc_galaxy, add_elliptical])
def test_table_has_the_flux_that_is_drawn(add, seed):
    bands = ("g", "r", "J0660", "z")
    light = Light(bands, np.random.default_rng(seed))
    scene = Scene(bands, np.zeros((4, 500, 500), np.float32), 0.275, light)
    add(np.random.default_rng(seed), scene, 250.3, 249.6, 15.0, 12.0)
    listed = [scene.sources[0][f"flux_{band}"] for band in scene.bands]
    # Profiles end where a few parts in a thousand are left.
    assert_allclose(scene.image.sum(axis=(1, 2), dtype=float), listed, rtol=0.02)


def test_both_grids_hold_the_same_flux():
    """Over the whole scene, without a margin, sums agree: four pixels share one's flux."""
    plane = np.zeros((256, 256), np.float32)
    plane[90:150, 70:160] = np.random.default_rng(0).random((60, 90), np.float32)
    grid = FineGrid(plane.shape, FINE_SCALE)
    coarse, fine = observe(plane, CONDITIONS, (64, 64), grid)
    assert_allclose(coarse.sum(), plane.sum(), rtol=1e-5)
    assert_allclose(fine.sum(), plane.sum(), rtol=1e-5)


@pytest.mark.parametrize("coma", [(0.0, 0.0), (0.03, -0.02)])
def test_both_ways_to_sample_agree(coma):
    """Samples of the image, and the spectrum of the samples; with margins that are not even."""
    plane = np.zeros((240, 264), np.float32)
    plane[90:150, 70:160] = np.random.default_rng(0).random((60, 90), np.float32)
    seen = dataclasses.replace(CONDITIONS, coma=coma, wings=0.28, offset=(0.04, -0.03))
    grid = FineGrid(plane.shape, FINE_SCALE)
    both = (observe(plane, seen, (37, 42), grid, fold=fold) for fold in (True, False))
    for fast, plain in zip(*both, strict=True):
        assert_allclose(fast, plain, atol=2e-6 * plain.max())


def test_deposit_keeps_flux_centroid_and_width():
    """Cubic convolution weights have the moments of a point."""
    image = np.zeros((1, 16, 16))
    deposit(image, np.array([7.3]), np.array([8.6]), np.array([[2.0]]))
    yy, xx = np.indices((16, 16))
    light = image[0] / 2.0
    assert_allclose(light.sum(), 1, rtol=1e-12)
    assert_allclose([(light * xx).sum(), (light * yy).sum()], [7.3, 8.6], rtol=1e-12)
    assert_allclose((light * (xx - 7.3) ** 2).sum(), 0, atol=1e-12)


def test_deposit_leaves_out_what_lies_at_the_border():
    image = np.zeros((1, 16, 16))
    deposit(image, np.array([-5.0, 1.0, 15.5]), np.array([8.0, 8.0, 8.0]), np.ones((1, 3)))
    assert not image.any()


def test_sersic_off_the_grid_is_none():
    assert sersic((20, 20), 500.0, 500.0, 3.0, 1, 1.0, 0.0) is None


# Noise


@pytest.mark.parametrize("seed", range(3))
def test_noise_has_unit_variance(seed):
    rng = np.random.default_rng(seed)
    noise = correlated_noise(rng, (600, 600), draw_conditions(rng, "r").dithers)
    assert noise.dtype == np.float32
    assert_allclose(noise.std(), 1, atol=0.01)
    assert_allclose(noise.mean(), 0, atol=0.01)
    # The border is no different.
    assert_allclose(noise[:, :2].std(), 1, atol=0.08)


def test_noise_is_correlated_as_in_a_coadd():
    """Neighbours by about 0.1, as in S-PLUS."""
    lags = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        z = correlated_noise(rng, (200, 200), draw_conditions(rng, "g").dithers)
        lags.append([(z[:, 1:] * z[:, :-1]).mean(), (z[1:] * z[:-1]).mean()])
    assert_allclose(np.mean(lags, axis=0), 0.11, atol=0.05)


def test_photon_noise_adds_to_the_sky_noise():
    assert noise_variance(0.0, 2.0, 100.0) == 4.0
    assert noise_variance(50.0, 2.0, 100.0) == 4.5
    assert noise_variance(-50.0, 2.0, 100.0) == 4.0


def test_noise_of_a_field_is_what_its_conditions_say():
    """(observed - noiseless - sky) / expected noise has unit variance, also on sources."""
    field = simulate_field(5, shape=(96, 96), kind="fill")
    for band, conditions in field.conditions.items():
        scale = conditions.adu_per_nmgy
        clean = field.noiseless[band] / scale
        deviation = np.sqrt(noise_variance(clean, conditions.sigma, conditions.electrons))
        residual = (field.observed[band].data - field.noiseless[band] - field.sky[band]) / scale
        z = (residual / deviation)[field.observed[band].data < conditions.saturation]
        assert_allclose(z.std(), 1, atol=0.05)
        bright = clean > np.percentile(clean, 80)
        unsaturated = bright & (field.observed[band].data < conditions.saturation)
        assert_allclose((residual / deviation)[unsaturated].std(), 1, atol=0.08)


def test_blank_field_is_sky_alone(fields):
    field = fields["blank"]
    assert len(field.sources) == 0
    for band, image in field.observed.items():
        assert_array_equal(field.target[band].data, 0)
        assert_allclose(image.data.mean(), field.sky[band], atol=0.2 * field.sigma[band])
        assert_allclose(image.data.std(), field.sigma[band], rtol=0.1)


# Conditions


def test_conditions_follow_the_survey():
    rng = np.random.default_rng(0)
    for band, facts in splus.BANDS.items():
        drawn = [draw_conditions(rng, band) for _ in range(200)]
        for name in ("fwhm", "beta", "noise"):
            attribute = "sigma" if name == "noise" else name
            median = np.median([getattr(one, attribute) for one in drawn])
            assert_allclose(median, getattr(facts, name)[0], rtol=0.12, err_msg=f"{band} {name}")
        assert min(one.beta for one in drawn) > 2
        assert max(one.ellipticity for one in drawn) <= 0.15


ALL_BANDS = ("g", "r", "z", *(band for band in splus.BANDS if band not in ("g", "r", "z")))


def test_twelve_bands_leave_three_as_they_are():
    """Other bands add sources of their own kinds, and change nothing of what there is."""
    three, twelve = (
        simulate_field(4, shape=(40, 40), kind="galaxy", bands=bands)
        for bands in (("g", "r", "z"), ALL_BANDS)
    )
    more = twelve.sources[len(three.sources) :]
    for band in three.observed:
        assert twelve.conditions[band] == three.conditions[band]
        known = twelve.sources[f"flux_{band}"][: len(three.sources)]
        assert_allclose(known, three.sources[f"flux_{band}"], rtol=1e-12)
        added = twelve.target[band].data - three.target[band].data
        assert added.min() > -1e-4 * three.target[band].data.max()
        assert len(more) > 0
    blank = [
        simulate_field(4, shape=(40, 40), kind="blank", bands=b) for b in (ALL_BANDS[:3], ALL_BANDS)
    ]
    for band in blank[0].observed:
        assert_array_equal(blank[0].observed[band].data, blank[1].observed[band].data)


def test_order_of_bands_does_not_change_the_sky():
    one, two = (
        simulate_field(4, shape=(40, 40), kind="galaxy", bands=bands)
        for bands in (("u", "J0660"), ("J0660", "J0861"))
    )
    assert_allclose(one.sources["flux_J0660"], two.sources["flux_J0660"], rtol=1e-12)


def test_every_band_has_its_own_conditions_and_cards():
    field = simulate_field(6, shape=(32, 32), bands=ALL_BANDS, kind="blank")
    assert len({seen.fwhm for seen in field.conditions.values()}) == 12
    for band, image in field.observed.items():
        assert splus.canonical_band(image.meta["FILTER"]) == band
        assert image.meta["TEXPOSED"] == splus.BANDS[band].exposure
        assert image.wcs is not field.observed["u" if band != "u" else "g"].wcs
        assert_allclose(image.data.std(), field.sigma[band], rtol=0.15)
        # The header of the target is made once for all bands, and as if it were made for each.
        wanted = upsample_header(image.meta, flux_scale=0.25, new_psf=True)
        assert repr(field.target[band].meta) == repr(wanted)


def test_narrow_bands_hold_sources_that_the_others_lack():
    fields = [
        simulate_field((9, k), shape=(48, 48), kind="stars", bands=ALL_BANDS) for k in (0, 1, 2)
    ]
    lines = [row for field in fields for row in field.sources if row["kind"] == "line"]
    assert lines
    for row in lines:
        fluxes = np.sort([row[f"flux_{band}"].value for band in ALL_BANDS])[::-1]
        assert fluxes[0] > 0.4
        assert np.count_nonzero(fluxes > 0.3 * fluxes[0]) <= 2


def test_adu_follow_the_zero_point():
    assert_allclose(dataclasses.replace(CONDITIONS, zero_point=25.0).adu_per_nmgy, 10.0)


def test_conditions_refuse_unknown_bands():
    with pytest.raises(ValueError, match=r"band must be one of 'u', .*, 'z'; got 'y'"):
        draw_conditions(np.random.default_rng(0), "y")


# Fields


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_the_same_form(fields, kind):
    field = fields[kind]
    assert field.kind == kind
    assert list(field.observed) == list(field.target) == ["g", "r", "z"]
    for band in "grz":
        observed, target = field.observed[band], field.target[band]
        assert observed.shape == field.noiseless[band].shape == (36, 44)
        assert target.shape == (72, 88)
        assert observed.unit == target.unit == u.adu
        assert observed.data.dtype == target.data.dtype == np.float32
        assert np.isfinite(observed.data).all()
        assert np.isfinite(target.data).all()
        assert observed.data.max() <= field.conditions[band].saturation
    assert (len(field.sources) == 0) == (kind == "blank")


def test_kinds_are_drawn_where_not_given():
    kinds = {simulate_field(seed, shape=(16, 16), bands=("r",)).kind for seed in range(12)}
    assert len(kinds) > 2
    assert kinds <= set(KINDS)


def test_seed_repeats_a_field():
    one, again, other = (simulate_field(seed, shape=(24, 24)) for seed in (7, 7, 8))
    for band in "grz":
        assert_array_equal(one.observed[band].data, again.observed[band].data)
        assert_array_equal(one.target[band].data, again.target[band].data)
        assert one.observed[band].header == again.observed[band].header
        assert np.any(one.observed[band].data != other.observed[band].data)
    assert simulate_field((1, 7), shape=(24, 24)).conditions != one.conditions


@pytest.mark.parametrize("bands", [("r",), "gi", ["z", "u"]])
def test_bands_can_be_chosen(bands):
    field = simulate_field(2, shape=(20, 24), bands=bands)
    assert list(field.observed) == list(field.target) == list(bands)
    assert set(field.sigma) == set(field.sky) == set(bands)
    assert all(f"flux_{band}" in field.sources.colnames for band in bands)


def test_header_and_wcs_agree(fields):
    for field in fields.values():
        for band, image in field.observed.items():
            header, conditions = image.header, field.conditions[band]
            assert (header["NAXIS1"], header["NAXIS2"]) == (44, 36)
            assert_allclose([header["CRPIX1"], header["CRPIX2"]], image.wcs.wcs.crpix)
            assert_allclose([header["CRVAL1"], header["CRVAL2"]], image.wcs.wcs.crval)
            assert_allclose(header["CD2_2"] * 3600, 0.55)
            assert header["FILTER"] == band.upper()
            assert header["SATURATE"] == conditions.saturation
            assert_allclose(
                header["GAIN"] * conditions.adu_per_nmgy, conditions.electrons, rtol=1e-4
            )
            assert_allclose(header["OAJ QC NCNOISE"], field.sigma[band], rtol=1e-4)
            assert psf_from_header(header) == (conditions.fwhm, conditions.beta)


def test_target_is_on_the_finer_grid(fields):
    for field in fields.values():
        for band, target in field.target.items():
            observed = field.observed[band]
            wanted = upsample_wcs(observed.wcs)
            assert_allclose(target.wcs.wcs.crpix, wanted.wcs.crpix, rtol=0, atol=1e-9)
            assert_allclose(target.wcs.wcs.cd, wanted.wcs.cd, rtol=1e-12)
            header = upsample_header(observed.header, flux_scale=0.25, new_psf=True)
            assert target.header == header
            assert (target.header["NAXIS1"], target.header["NAXIS2"]) == (88, 72)


@pytest.mark.parametrize(
    ("bands", "expected"),
    [
        ("J0660", ["J0660"]),
        ("gri", ["g", "r", "i"]),
        ("F660, rSDSS", ["J0660", "r"]),
        (["R", "J0660"], ["r", "J0660"]),
    ],
)
def test_bands_are_named_as_elsewhere(bands, expected):
    assert list(simulate_field(1, shape=(16, 16), bands=bands).observed) == expected


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bands": ("g", "H")}, "band must be one of 'u', .*, 'z'; got 'H'"),
        ({"bands": ()}, r"bands must name at least one band; got \(\)"),
        ({"bands": ("r", "r")}, r"bands must name each band once; got \('r', 'r'\)"),
        ({"kind": "nebula"}, "kind must be one of 'galaxy', .*; got 'nebula'"),
        ({"shape": (15, 64)}, r"shape must be at least 16 pixels on each side; got \(15, 64\)"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        simulate_field(1, **options)
