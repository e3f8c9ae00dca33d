# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The classical methods: the enhancer's call, flux, noise, missing pixels, and what they need."""

import dataclasses
import importlib.util

import numpy as np
import pytest
from astropy import units as u
from astropy.nddata import CCDData, NDData
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage

from splus_srgan import Quality, simulate_field, upsample_wcs
from splus_srgan.evaluation.baselines import methods as baselines
from splus_srgan.evaluation.baselines.methods import (
    BM3D,
    Bicubic,
    Gaussian,
    NLMeans,
    PeronaMalik,
    RichardsonLucy,
    TotalVariation,
    Wavelet,
    Wiener,
    default_baselines,
)
from splus_srgan.evaluation.measure.starprofile import fit_stars
from splus_srgan.images.header import psf_from_header

PIXEL = 0.55
needs_bm3d = pytest.mark.skipif(
    importlib.util.find_spec("bm3d") is None, reason="bm3d is not installed (extra benchmark)"
)
needs_wavelets = pytest.mark.skipif(
    importlib.util.find_spec("pywt") is None, reason="PyWavelets is not installed (extra benchmark)"
)
# Quick to run: BM3D needs seconds.
QUICK = [
    Bicubic(),
    Gaussian(),
    Gaussian(space="linear"),
    NLMeans(),
    NLMeans(joint=True),
    PeronaMalik(),
    TotalVariation(),
    Wiener(),
    RichardsonLucy(iterations=3),
]
IDS = [repr(one) for one in QUICK]
quick = pytest.mark.parametrize("method", QUICK, ids=IDS)


@pytest.fixture(scope="module")
def field():
    """Simulated blank sky with one star."""
    simulated = simulate_field(22, shape=(40, 48), kind="blank")
    y, x = np.indices((40, 48))
    for band, image in simulated.observed.items():
        star = moffat(y, x, 20.2, 21.7, 1.5 / PIXEL, 3.0)
        image.data += np.float32(4000 * simulated.sigma[band] * star)
    return simulated


def moffat(y, x, y0, x0, fwhm, beta):
    """Of unit flux, as its formula says."""
    alpha = fwhm / (2 * np.sqrt(2 ** (1 / beta) - 1))
    r2 = (y - y0) ** 2 + (x - x0) ** 2
    return (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta


def run(method, field, **options):
    return method(field.observed, sky=field.sky, sigma=field.sigma, **options)


# The call is the enhancer's


@quick
def test_mapping_gives_a_mapping_on_the_finer_grid(field, method):
    made = run(method, field)
    assert list(made) == ["g", "r", "z"]
    for band, image in made.items():
        assert type(image) is CCDData
        assert image.shape == (80, 96)
        assert image.unit == u.adu
        assert image.data.dtype == np.float32
        assert np.isfinite(image.data).all()
        assert not image.mask.any()
        wanted = upsample_wcs(field.observed[band].wcs)
        assert_allclose(image.wcs.wcs.crpix, wanted.wcs.crpix)
        assert_allclose(image.wcs.pixel_scale_matrix, wanted.pixel_scale_matrix)
        assert image.meta["SRMODEL"] == method.name
        assert image.meta["SRSKY"] == pytest.approx(field.sky[band])
        assert image.meta["SRSIGMA"] == pytest.approx(field.sigma[band])


@pytest.mark.parametrize("method", [Bicubic(), Gaussian()])
def test_one_band_and_stack_are_as_the_mapping(field, method):
    wanted = run(method, field)
    alone = method(field.observed["r"], sky=field.sky["r"], sigma=field.sigma["r"])
    assert type(alone) is CCDData
    assert_array_equal(alone.data, wanted["r"].data)
    cube = NDData(np.stack([one.data for one in field.observed.values()]), unit=u.adu)
    levels = {key: list(getattr(field, key).values()) for key in ("sky", "sigma")}
    made = method(cube, bands="grz", **levels)
    assert type(made) is NDData
    assert_array_equal(made.data, np.stack([one.data for one in wanted.values()]))


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")
def test_sky_and_sigma_are_measured_where_not_given(field):
    made = Bicubic()(field.observed["r"])
    assert made.meta["SRSIGMA"] == pytest.approx(field.sigma["r"], rel=0.15)
    # Sky and sigma do not matter to an interpolation.
    assert_allclose(made.data, run(Bicubic(), field)["r"].data, atol=1e-5 * field.sigma["r"])


def test_input_is_not_modified(field):
    before = {band: image.data.copy() for band, image in field.observed.items()}
    run(RichardsonLucy(iterations=2), field)
    for band, image in field.observed.items():
        assert_array_equal(image.data, before[band])


def test_surface_brightness_is_not_shared_out(field):
    image = field.observed["r"]
    bright = CCDData(image.data, unit=u.adu / u.arcsec**2, wcs=image.wcs)
    options = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
    assert_allclose(Bicubic()(bright, **options).data, 4 * Bicubic()(image, **options).data)


# Flux, position, noise, width


@pytest.mark.parametrize(
    "method",
    [Bicubic(), Gaussian(space="linear"), Wiener(strength=1.0), RichardsonLucy()],
    ids=lambda one: one.name,
)
def test_flux_and_position_of_a_star_are_kept(method):
    y, x = np.indices((64, 64))
    star = 1e4 * moffat(y, x, 31.3, 30.6, 1.5 / PIXEL, 3.5)
    image = CCDData(star.astype(np.float32), unit=u.adu)
    if isinstance(method, Wiener | RichardsonLucy):
        method = dataclasses.replace(method, psf=(1.5, 3.5))
    made = method(image, sky=0.0, sigma=1.0).data.astype(float)
    yy, xx = np.indices(made.shape)
    # Within a radius that holds the star's light on both grids.
    near = np.hypot(yy - 63.1, xx - 61.7) < 36
    coarse = np.hypot(y - 31.3, x - 30.6) < 18
    assert made[near].sum() == pytest.approx(star[coarse].sum(), rel=3e-3)
    assert (yy * made)[near].sum() / made[near].sum() == pytest.approx(2 * 31.3 + 0.5, abs=0.03)
    assert (xx * made)[near].sum() / made[near].sum() == pytest.approx(2 * 30.6 + 0.5, abs=0.03)


@quick
def test_a_method_that_denoises_does(field, method):
    made = run(method, field)["r"].data[:, :20] * 4  # per input pixel, away from the star
    noise = np.std(made) / field.sigma["r"]
    interpolated = np.std(run(Bicubic(), field)["r"].data[:, :20] * 4) / field.sigma["r"]
    if method.name in (
        "Gaussian", "NL-means", "NL-means, joint", "Perona-Malik", "total variation",
    ):  # fmt: skip
        assert noise < 0.75 * interpolated
    assert noise < 1.5


@pytest.mark.parametrize(
    "method",
    [Wiener(psf=(1.6, 3.0), strength=1.0), RichardsonLucy(psf=(1.6, 3.0), iterations=40)],
    ids=lambda one: one.name,
)
def test_deconvolution_sharpens_a_star_towards_the_target(method):
    y, x = np.indices((48, 48))
    star = 1e6 * moffat(y, x, 23.3, 22.6, 1.6 / PIXEL, 3.0)
    noise = np.random.default_rng(1).normal(size=star.shape)
    image = CCDData((star + noise).astype(np.float32), unit=u.adu)
    options = {"sky": 0.0, "sigma": 1.0}
    sharp, plain = (
        fit_stars(one(image, **options).data, [45.7], [47.1], fwhm=4)["fwhm"][0] * PIXEL / 2
        for one in (method, Bicubic())
    )
    assert plain == pytest.approx(1.6, rel=0.03)
    assert sharp == pytest.approx(1.0, rel=0.15)
    assert method(image, **options).psf.shape == (81, 81)


def test_psf_comes_from_the_header_or_must_be_given(field):
    seen = field.observed["r"].copy()
    seen.meta["PSFWINGS"] = 0.0
    told = Wiener()(seen, sky=0.0, sigma=field.sigma["r"])
    given = Wiener(psf=psf_from_header(seen.meta))(seen, sky=0.0, sigma=field.sigma["r"])
    assert_allclose(told.data, given.data, rtol=1e-5)
    blind = CCDData(field.observed["r"].data, unit=u.adu)
    with pytest.raises(ValueError, match=r"psf must be given, as the header of .* no FWHMMEAN"):
        RichardsonLucy()(blind, sky=0.0, sigma=1.0)


def test_symmetric_input_gives_symmetric_output():
    """No method prefers a direction."""
    y, x = np.indices((32, 32))
    image = CCDData(moffat(y, x, 15.5, 15.5, 3.0, 3.0) * 1e3, unit=u.adu)
    for method in (Gaussian(), Wiener(psf=(1.6, 3.0)), RichardsonLucy(psf=(1.6, 3.0))):
        made = method(image, sky=0.0, sigma=0.5).data
        assert_allclose(made, made[::-1], atol=1e-3 * made.max())
        assert_allclose(made, made.T, atol=1e-3 * made.max())


# Missing pixels


@quick
def test_missing_pixels_are_filled_masked_and_flagged(field, method):
    broken = {band: image.copy() for band, image in field.observed.items()}
    broken["r"].data[5:8, 5] = np.nan
    mask = np.zeros((40, 48), bool)
    mask[30, 40:44] = True
    broken["r"].data[mask] = 1e6
    broken["r"].mask = mask
    made = method(broken, sky=field.sky, sigma=field.sigma)["r"]
    assert np.isfinite(made.data).all()
    assert made.mask.sum() == 4 * (3 + 4)
    assert made.mask[10:16, 10:12].all()
    assert made.mask[60:62, 80:88].all()
    assert_array_equal(made.flags & Quality.MISSING > 0, made.mask)
    assert (made.flags & Quality.NEAR_MISSING).any()
    assert made.data[60:62, 80:88].max() < 100 * field.sigma["r"]


def test_far_from_missing_pixels_nothing_changes(field):
    image = field.observed["r"]
    broken = image.copy()
    broken.data[5, 5] = np.nan
    options = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
    for method in (Bicubic(), Gaussian(), NLMeans()):
        same, other = (method(one, **options) for one in (image, broken))
        far = (other.flags & (Quality.MISSING | Quality.NEAR_MISSING)) == 0
        assert far.sum() > 0.7 * far.size
        limit = 1e-3 * field.sigma["r"]
        assert abs(same.data - other.data)[far].max() < limit, method


# What they need, and what they are told


@needs_wavelets
def test_wavelet_denoises(field):
    made = run(Wavelet(), field)["r"].data[:, :20] * 4
    assert np.std(made) < 0.7 * field.sigma["r"]


@needs_bm3d
@pytest.mark.parametrize("joint", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_bm3d_denoises(field, joint):
    if joint:
        made = run(BM3D(joint=True), field)["r"]
    else:
        options = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
        made = BM3D()(field.observed["r"][8:32], **options)
    assert np.std(made.data[:, :20] * 4) < 0.5 * field.sigma["r"]
    assert made.data.max() * 4 > 100 * field.sigma["r"]


@needs_bm3d
def test_joint_bm3d_needs_three_bands(field):
    options = {"sky": field.sky["r"], "sigma": field.sigma["r"]}
    with pytest.raises(ValueError, match="joint=True of BM3D needs three bands; got 1"):
        BM3D(joint=True)(field.observed["r"], **options)


@pytest.mark.parametrize(("method", "module"), [(BM3D, "bm3d"), (Wavelet, "pywt")])
def test_a_missing_package_is_named_with_its_extra(monkeypatch, method, module):
    monkeypatch.setattr("splus_srgan.utils.optional.has", lambda name: name != module)
    with pytest.raises(ImportError, match=rf"needs {module}, .*extra 'benchmark' .*pip install"):
        method()


def test_default_baselines(monkeypatch):
    monkeypatch.setattr(baselines, "has", lambda name: False)
    assert list(default_baselines()) == [
        "bicubic", "Gaussian", "Perona-Malik", "total variation", "NL-means", "NL-means, joint",
        "Wiener", "Richardson-Lucy",
    ]  # fmt: skip
    assert list(default_baselines(1, psf_known=False)) == [
        "bicubic", "Gaussian", "Perona-Malik", "total variation", "NL-means",
    ]  # fmt: skip
    assert all(one.name == name for name, one in default_baselines().items())


@needs_bm3d
@needs_wavelets
def test_default_baselines_with_all_packages():
    assert len(default_baselines()) == 15
    assert all(one.name == name for name, one in default_baselines().items())
    assert "BM3D, joint" not in default_baselines(5)
    assert "low rank" in default_baselines(5)
    assert not {"low rank", "weighted sum"} & set(default_baselines(1))


@pytest.mark.parametrize(
    ("cls", "options", "text"),
    [
        (Gaussian, {"width": 0.0}, "width must be above 0; got 0.0"),
        (Gaussian, {"space": "log"}, "space must be one of 'noise', 'linear'; got 'log'"),
        (TotalVariation, {"strength": 0}, "strength must be above 0; got 0"),
        (PeronaMalik, {"contrast": -1.0}, "contrast must be above 0; got -1.0"),
        (PeronaMalik, {"iterations": 0}, "iterations must be at least 1; got 0"),
        (NLMeans, {"strength": -1.0}, "strength must be above 0; got -1.0"),
        (NLMeans, {"patch": 0}, "patch must be at least 1; got 0"),
        (Wiener, {"strength": 0}, "strength must be above 0; got 0"),
        (Wiener, {"psf": (1.2, 0.9)}, "psf must be FWHM .* and beta .* got"),
        (RichardsonLucy, {"target_psf": (0.0, 3.0)}, "target_psf must be FWHM"),
        (RichardsonLucy, {"iterations": 0}, "iterations must be at least 1; got 0"),
    ],
)
def test_options_are_checked_at_construction(cls, options, text):
    with pytest.raises(ValueError, match=text):
        cls(**options)


def test_options_show_and_compare():
    assert repr(Gaussian()) == "Gaussian(width=0.85, space='noise')"
    assert Gaussian() == Gaussian(width=0.85)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Gaussian().width = 2.0
    with pytest.raises(TypeError):
        Gaussian(1.0)


def test_bicubic_is_the_interpolation_it_says(field):
    image = field.observed["g"]
    made = run(Bicubic(), field)["g"].data
    wanted = ndimage.zoom(image.data.astype(float), 2, order=3, mode="nearest", grid_mode=True) / 4
    assert_allclose(made, wanted, atol=1e-4 * field.sigma["g"])
