# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Stars against galsim and closed forms, and that a wrong PSF is seen."""

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData
from astropy.table import Table, vstack
from numpy.testing import assert_allclose
from scipy import ndimage

from splus_srgan import read_bands, simulate_field
from splus_srgan.evaluation.baselines.methods import Bicubic
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.limits import LIMITS
from splus_srgan.evaluation.measure.psf import checks_psf, psf_table
from splus_srgan.evaluation.measure.starprofile import encircled_energy, fit_stars, psf_residual
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.images.header import psf_from_header
from splus_srgan.pixels.psf import TARGET_PSF, psf_image
from splus_srgan.splus import PIXEL_SCALE

NAMES = SHARPER, WIDTH, RESIDUAL, ENERGY = [
    LIMITS[f"PSF {key}"].name for key in ("over input", "width", "residual", "energy")
]
FINE = PIXEL_SCALE / 2


def galsim_star(fwhm, beta, *, size=61, x=0.0, y=0.0, g1=0.0, flux=1.0):
    """A Moffat star sampled at the pixel centres by galsim, off the centre by x and y."""
    galsim = pytest.importorskip("galsim")
    profile = galsim.Moffat(beta=beta, fwhm=fwhm, flux=flux).shear(g1=g1).shift(x, y)
    return profile.drawImage(nx=size, ny=size, scale=1.0, method="no_pixel").array.astype(float)


# Fits


@pytest.mark.parametrize(("fwhm", "beta"), [(2.5, 2.5), (3.64, 3.0), (5.0, 4.5)])
def test_fit_agrees_with_galsim(fwhm, beta):
    image = galsim_star(fwhm, beta, x=0.3, y=-0.4, flux=500.0) + 7.0
    star = fit_stars(image, [30.0], [30.0], fwhm=3.5)[0]
    assert star["fwhm"] == pytest.approx(fwhm, rel=2e-3)
    assert star["beta"] == pytest.approx(beta, rel=2e-2)
    assert star["x"] == pytest.approx(30.3, abs=2e-3)
    assert star["y"] == pytest.approx(29.6, abs=2e-3)
    assert star["flux"] == pytest.approx(500, rel=1e-2)
    assert star["sky"] == pytest.approx(7, abs=0.05)


def test_fit_of_a_gaussian_gives_its_fwhm():
    y, x = np.mgrid[:41, :41]
    image = np.exp(-((x - 20.2) ** 2 + (y - 19.9) ** 2) / (2 * 1.6**2))
    star = fit_stars(image, [20], [20], fwhm=3.0)[0]
    assert star["fwhm"] == pytest.approx(1.6 * 2.3548, rel=0.01)


def test_fit_of_an_elliptical_star_gives_the_mean_width():
    star = fit_stars(galsim_star(3.6, 3.0, g1=0.05), [30], [30], fwhm=3.0)[0]
    assert star["fwhm"] == pytest.approx(3.6, rel=0.01)


def test_noise_and_unit_do_not_move_the_fit():
    image = galsim_star(3.6, 3.0)
    noise = np.random.default_rng(2).normal(0, image.max() / 200, image.shape)
    values = [
        fit_stars(scale * (image + noise), [30], [30], fwhm=3.0)["fwhm"][0]
        for scale in (1e-9, 1.0, 1e9)
    ]
    assert_allclose(values, values[0], rtol=1e-4)
    assert values[0] == pytest.approx(3.6, rel=0.02)


def test_what_is_no_star_is_nan():
    image = np.random.default_rng(3).normal(size=(60, 60))
    image[40, 40] = np.nan
    mask = np.zeros(image.shape, bool)
    mask[15:25, 15:25] = True
    table = fit_stars(
        image, [1.0, 40.0, 20.0, np.nan], [30.0, 40.0, 20.0, 5.0], fwhm=3.0, mask=mask
    )
    assert np.isnan(table["fwhm"]).all()
    negative = fit_stars(-galsim_star(3.6, 3.0), [30], [30], fwhm=3.0)
    assert np.isnan(negative["fwhm"]).all()
    constant = fit_stars(np.ones((40, 40)), [20], [20], fwhm=3.0)
    assert len(constant) == 1


def test_no_stars_give_no_rows():
    image = np.zeros((40, 40))
    assert len(fit_stars(image, [], [], fwhm=3.0)) == 0
    assert (
        len(
            psf_residual(image, [], [], psf_image((3.6, 3.0), pixel_scale=1.0, radius=20), radius=5)
        )
        == 0
    )
    assert encircled_energy(image, [], [], radii=[1, 2], annulus=(5, 8)).shape == (0, 2)


# Residuals against a PSF


def test_star_of_the_promised_psf_leaves_nothing():
    image = 1e4 * galsim_star(3.6, 3.0, x=0.37, y=0.21) + 5
    found = psf_residual(image, [30], [30], galsim_star(3.6, 3.0, size=41), radius=7)[0]
    assert found["residual"] < 0.01
    assert abs(found["core"]) < 0.01
    assert found["flux"] == pytest.approx(1e4 * 0.98, rel=0.03)


def test_residual_agrees_with_a_direct_sum():
    """Star and PSF at the same place: no interpolation is involved."""
    star, model = galsim_star(4.2, 3.0), galsim_star(3.6, 3.0)
    dy, dx = np.mgrid[-30:31, -30:31]
    used = dx**2 + dy**2 <= 36
    design = np.stack([model[used], np.ones(used.sum())], axis=1)
    solution = np.linalg.lstsq(design, star[used], rcond=None)[0]
    left = star[used] - design @ solution
    wanted = abs(left).sum() / (solution[0] * model[used].sum())
    found = psf_residual(star, [30], [30], model, radius=6)[0]
    assert found["residual"] == pytest.approx(wanted, rel=0.01)
    assert found["core"] < -0.05  # broader than promised: less in the core


@pytest.mark.parametrize("width", [3.2, 4.0])
def test_a_wrong_width_leaves_a_residual(width):
    found = psf_residual(
        galsim_star(width, 3.0),
        [30],
        [30],
        psf_image((3.6, 3.0), pixel_scale=1.0, radius=20),
        radius=7,
    )[0]
    assert found["residual"] > 0.05
    assert np.sign(found["core"]) == np.sign(3.6 - width)


def test_psf_must_be_one():
    image = np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"psf must be a square image of odd side.*\(4, 4\)"):
        psf_residual(image, [10], [10], np.ones((4, 4)), radius=3)
    with pytest.raises(ValueError, match="psf must be finite, with a sum above 0"):
        psf_residual(image, [10], [10], np.zeros((5, 5)), radius=3)


# Encircled energy


def test_encircled_energy_agrees_with_the_closed_form():
    """Fine pixels, that an aperture cuts through without harm."""
    fwhm, beta = 20.0, 3.0
    image = psf_image((fwhm, beta), pixel_scale=1.0, radius=150)
    radii = np.array([5.0, 10.0, 20.0, 40.0, 80.0])
    found = encircled_energy(image, [150], [150], radii=radii, annulus=(140, 149))[0]
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    wanted = 1 - (1 + (radii / alpha) ** 2) ** (1 - beta)  # closed form
    assert_allclose(found, wanted / wanted[-1], atol=4e-3)


def test_masked_and_outlying_stars_have_no_energy():
    image = galsim_star(3.6, 3.0)
    mask = np.zeros(image.shape, bool)
    mask[33, 30] = True
    options = {"radii": [3.0, 8.0], "annulus": (10, 14)}
    assert np.isnan(encircled_energy(image, [30], [30], mask=mask, **options)).all()
    assert np.isnan(encircled_energy(image, [4], [30], **options)).all()
    assert np.isnan(encircled_energy(np.zeros((61, 61)), [30], [30], **options)).all()


def test_messages():
    image = np.zeros((20, 20))
    with pytest.raises(ValueError, match=r"radii must rise, from above 0; got \[3.0, 2.0\]"):
        encircled_energy(image, [10], [10], radii=[3, 2], annulus=(4, 6))
    with pytest.raises(ValueError, match=r"image must have shape \(ny, nx\); got \(2, 4, 4\)"):
        fit_stars(np.zeros((2, 4, 4)), [1], [1], fwhm=3.0)
    with pytest.raises(ValueError, match="fwhm must be above 0; got 0"):
        fit_stars(image, [10], [10], fwhm=0)
    with pytest.raises(ValueError, match="x and y must be lists of one length"):
        fit_stars(image, [10, 11], [10], fwhm=3.0)
    with pytest.raises(ValueError, match=r"mask must have the shape of image.*got \(3, 3\)"):
        fit_stars(image, [10], [10], fwhm=3.0, mask=np.zeros((3, 3), bool))


# A field: each deliberate fault is caught by the check whose business it is


@pytest.fixture(scope="module")
def pair():
    """Eight bright stars on blank sky, in one band, seen at 1.5 arcsec."""
    simulated = simulate_field(5, shape=(112, 112), bands=("r",), kind="blank")
    image, target = simulated.observed["r"], simulated.target["r"]
    sigma = simulated.sigma["r"]
    rng = np.random.default_rng(6)
    y, x = np.mgrid[16:100:40, 16:100:40].reshape(2, -1) + rng.uniform(-1, 1, (2, 9))
    flux = sigma * rng.uniform(2e3, 2e4, 9)
    yy, xx = np.indices(image.shape)
    fine_y, fine_x = np.indices(target.shape)
    for y0, x0, f in zip(y, x, flux, strict=True):
        image.data += f * moffat(yy - y0, xx - x0, 1.5 / PIXEL_SCALE, 3.0)
        star = moffat(fine_y - 2 * y0 - 0.5, fine_x - 2 * x0 - 0.5, TARGET_PSF[0] / FINE, 3.0)
        target.data += f * star
    sources = Table({"kind": ["star"] * 9, "x": x, "y": y, "flux_r": flux})
    image.meta["HIERARCH OAJ PRO FWHMMEAN"] = 1.5
    image.meta["HIERARCH OAJ PRO FWHMBETA"] = 3.0
    image.meta["SATURATE"] = 1e9
    return EvaluationPair(
        "stars", {"r": image}, {"r": target}, sources=sources, sky={"r": 0.0}, sigma={"r": sigma}
    )


def moffat(dy, dx, fwhm, beta):
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    profile = (1 + (dy**2 + dx**2) / alpha**2) ** -beta
    return ((beta - 1) / (np.pi * alpha**2) * profile).astype(np.float32)


def output_of(pair, change=lambda image: image):
    target = pair.target["r"]
    noise = np.random.default_rng(9).normal(0, 0.02 * pair.sigma["r"] / 4, target.shape)
    data = change(target.data + noise)
    psf = psf_image(TARGET_PSF, pixel_scale=FINE, radius=20)
    meta = {"SRSKY": 0.0, "SRSIGMA": pair.sigma["r"]}
    return {"r": CCDData(data, unit=target.unit, wcs=target.wcs, psf=psf, meta=meta)}


def verdicts(pair, output):
    return {check.name: check for check in checks_psf(psf_table(compare_field(pair, output)))}


def test_clean_output_passes_every_check(pair):
    found = verdicts(pair, output_of(pair))
    assert list(found) == NAMES
    assert all(check.passed for check in found.values()), found
    assert found[WIDTH].value == pytest.approx(1, abs=0.01)
    assert found[SHARPER].value == pytest.approx(1 / 1.5, rel=0.05)
    assert found[WIDTH].count == 9


def test_table_has_what_was_put_in(pair):
    table = psf_table(compare_field(pair, output_of(pair)))
    assert len(table) == 9
    assert table["fwhm_in"].unit == u.arcsec
    assert_allclose(table["fwhm_in"].value, 1.5, rtol=0.06)
    assert_allclose(table["fwhm_out"].value, TARGET_PSF[0], rtol=0.02)
    assert_allclose(table["fwhm_promised"].value, TARGET_PSF[0], rtol=2e-3)
    assert_allclose(table["energy"], table["energy_promised"], atol=0.01)


def halo(image):
    """A tenth of the light thrown far out: the core keeps its width."""
    return 0.9 * image + 0.1 * ndimage.gaussian_filter(image, 5.0)


FAULTS = {
    "stars blurred by a tenth": (lambda image: ndimage.gaussian_filter(image, 0.75), WIDTH),
    "stars too sharp": (lambda image: 2 * image - ndimage.gaussian_filter(image, 1.0), WIDTH),
    "stars blurred beyond the input": (lambda image: ndimage.gaussian_filter(image, 3.0), SHARPER),
    "blurred": (lambda image: ndimage.gaussian_filter(image, 1.5), RESIDUAL),
    "halo": (halo, ENERGY),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_is_caught_by_its_check(pair, fault):
    change, name = FAULTS[fault]
    assert verdicts(pair, output_of(pair, change))[name].passed is False


def test_flux_and_position_are_not_the_business_of_the_psf(pair):
    for change in (lambda i: 1.02 * i, lambda i: ndimage.shift(i, 0.2, order=5)):
        assert all(check.passed for check in verdicts(pair, output_of(pair, change)).values())


def test_an_output_without_a_psf_promises_nothing(pair):
    found = verdicts(pair, Bicubic()(pair.input, sky=pair.sky, sigma=pair.sigma))
    assert found[WIDTH].passed is None
    assert "promises no PSF" in found[WIDTH].note
    assert found[SHARPER].passed is False  # interpolation blurs


def test_sharpening_is_judged_where_the_seeing_leaves_room(pair):
    """An input at the promised PSF cannot get sharper, and is not blamed."""
    table = psf_table(compare_field(pair, output_of(pair)))
    table["fwhm_in"] = 1.02 * u.arcsec
    table["fwhm_out"] = 1.04 * u.arcsec
    found = {check.name: check for check in checks_psf(table)}
    assert found[SHARPER].passed is None
    assert "nearly as sharp as the promised PSF; found 1.02" in found[SHARPER].note
    table["fwhm_in"][:5] = 1.3 * u.arcsec
    judged = {check.name: check for check in checks_psf(table)}[SHARPER]
    assert (judged.passed, judged.count) == (True, 5)


def test_a_field_without_stars_is_not_measured(pair):
    empty = EvaluationPair(
        "none", pair.input, pair.target, sources=pair.sources[:0], sky={"r": 0.0}
    )
    table = psf_table(compare_field(empty, output_of(pair)))
    assert len(table) == 0
    checks = checks_psf(table, bands=["r"])
    assert len(checks) == len(NAMES)
    assert {check.passed for check in checks} == {None}
    assert {check.note for check in checks} == {"no stars"}
    assert checks_psf(table) == []


def test_masked_stars_are_left_out(pair):
    image = pair.input["r"].copy()
    image.mask = np.ones(image.shape, bool)
    image.mask[:2, :2] = False
    masked = EvaluationPair(
        "masked", {"r": image}, None, sources=pair.sources, sky={"r": 0.0}, sigma=pair.sigma
    )
    assert len(psf_table(compare_field(masked, output_of(pair)))) == 0


def test_fields_are_stacked(pair):
    table = vstack([psf_table(compare_field(pair, output_of(pair)))] * 2)
    assert checks_psf(table)[0].count == 18


def test_stars_are_found_where_no_list_is_given(pair):
    blind = EvaluationPair("blind", pair.input, sky=pair.sky, sigma=pair.sigma)
    table = psf_table(compare_field(blind, output_of(pair)))
    assert 5 <= len(table) <= 9
    assert_allclose(table["fwhm_out"].value, TARGET_PSF[0], rtol=0.02)


@pytest.mark.realdata
def test_stars_of_a_real_tile_are_as_wide_as_its_pipeline_says(real_data):
    field = read_bands([real_data / "splus" / "SPLUS-s28s28" / "SPLUS-s28s28_R.fits"])
    part = {band: image[:300, :300] for band, image in field.items()}
    (image,) = part.values()
    output = Bicubic()(part)
    table = psf_table(compare_field(EvaluationPair("real", part), output))
    assert len(table) >= 2
    wanted = psf_from_header(image.meta)[0]
    assert np.median(table["fwhm_in"].value) == pytest.approx(wanted, rel=0.07)
    assert np.all(table["fwhm_out"] > 0.98 * table["fwhm_in"])
