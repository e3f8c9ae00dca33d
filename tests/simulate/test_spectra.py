# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Spectra and bands: against direct integration, closed forms, and the survey's own curves."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import integrate

from splus_srgan import splus
from splus_srgan.simulate.bandpasses import (
    NARROW_BANDS,
    WAVELENGTHS,
    band_weights,
    bandpass,
    pivot,
)
from splus_srgan.simulate.light import Light
from splus_srgan.simulate.spectra import (
    FITTED_BANDS,
    add_lines,
    band_fluxes,
    fit_colors,
    line_fluxes,
    population_spectrum,
    star_spectrum,
    star_temperature,
)

BANDS = tuple(splus.BANDS)
# Pivot wavelengths that the survey states, Angstrom.
PIVOTS = {"u": 3533.3, "J0378": 3773.2, "J0395": 3940.7, "J0410": 4094.9, "J0430": 4292.1}
PIVOTS |= {"g": 4758.5, "J0515": 5133.1, "r": 6251.8, "J0660": 6613.9, "i": 7670.6}
PIVOTS |= {"J0861": 8607.3, "z": 8941.5}
GALAXY = {"redshift": 0.0, "nii": 0.4, "oiii": 1.0, "oii": 2.0}
OLD, YOUNG = (15.0, 0.80, 0.66), (15.0, 0.50, 0.45)


@pytest.fixture(scope="module")
def light():
    """Fluxes in all bands."""
    return Light(BANDS, np.random.default_rng(0))


@pytest.fixture(scope="module")
def curves():
    """The survey's own curves: wavelength (Angstrom) and response of each band."""
    root = os.environ.get("SPLUS_SRGAN_REAL_DATA")
    folder = Path(root or ".") / "splus" / "filters"
    if root is None or not folder.is_dir():
        pytest.skip("SPLUS_SRGAN_REAL_DATA has no splus/filters")
    names = {"u": "uJAVA"} | {band: f"{band}SDSS" for band in "griz"}
    tables = {
        band: np.loadtxt(folder / f"{names.get(band, band)}.csv", delimiter=",") for band in BANDS
    }
    return {band: (10 * table[:, 0], table[:, 1]) for band, table in tables.items()}


def integrated(spectrum, wavelength, response):
    """Flux that a photon counter sees, by quadrature; `spectrum` is a function."""

    def seen(x):
        return np.interp(x, wavelength, response, left=0, right=0)

    fine = np.arange(wavelength[0], wavelength[-1], 0.5)
    above = integrate.simpson(spectrum(fine) * seen(fine) * fine, x=fine)
    return above / integrate.simpson(seen(fine) / fine, x=fine)


def magnitudes(fluxes):
    return dict(zip(BANDS, -2.5 * np.log10(fluxes / fluxes[BANDS.index("r")]), strict=True))


# Bands


def test_bands_are_the_twelve_by_wavelength():
    assert len(BANDS) == 12
    assert len(NARROW_BANDS) == 7
    pivots = [pivot(band) for band in BANDS]
    assert pivots == sorted(pivots)
    assert_allclose(pivots, [PIVOTS[band] for band in BANDS], rtol=5e-4)


def test_a_flat_source_has_one_flux_in_all_bands():
    assert_allclose(band_weights(BANDS) @ WAVELENGTHS**-2.0, 1, rtol=1e-12)


@pytest.mark.realdata
def test_bandpasses_are_the_curves_of_the_survey(curves):
    for band, (wavelength, response) in curves.items():
        assert_allclose(bandpass(band, wavelength), response / response.max(), atol=0.006)


@pytest.mark.realdata
@pytest.mark.parametrize("temperature", [3200, 4500, 6000, 9000, 12000])
def test_colors_of_stars_are_those_of_direct_integration(curves, temperature):
    """Narrow-band colors over the survey's curves, on a grid ten times finer: within 0.01 mag."""
    ours = band_weights(BANDS) @ star_spectrum(WAVELENGTHS, temperature)

    def spectrum(x):
        return star_spectrum(x, temperature)

    direct = np.array([integrated(spectrum, *curves[band]) for band in BANDS])
    assert_allclose(2.5 * np.log10(ours / direct), 0, atol=0.01)


@pytest.mark.realdata
@pytest.mark.parametrize("redshift", [0.0, 0.01, 0.05, 0.1])
def test_colors_of_galaxies_are_those_of_direct_integration(curves, light, redshift):
    galaxy, widths = GALAXY | {"redshift": redshift}, np.array([0.0, 30.0, 800.0])
    fluxes = light.population(*YOUNG, galaxy, reddening=0.3, halpha=widths)
    for width, ours in zip(widths, fluxes.T, strict=True):
        stars = population_spectrum(0.5, redshift=redshift, reddening=0.3)
        made = fit_colors(add_lines(stars, width, **galaxy), band_fluxes(FITTED_BANDS, *YOUNG))

        def spectrum(x, made=made):
            return np.interp(x, WAVELENGTHS, made)

        direct = np.array([integrated(spectrum, *curves[band]) for band in BANDS])
        assert_allclose(2.5 * np.log10(ours / direct), 0, atol=0.02)


# Templates


def test_a_star_without_features_is_a_black_body():
    """At 5900 K and redward of Na D hardly anything but the continuum is left."""
    wavelength = np.array([6100.0, 7500.0, 9500.0])
    x = 1.4388e8 / (wavelength * 5900)
    black = wavelength**-5 / np.expm1(x)
    seen = star_spectrum(wavelength, 5900.0)
    assert_allclose(seen / seen[0], black / black[0], rtol=1e-6)


@pytest.mark.parametrize("temperature", [2999, 12001, np.array([5000, 13000])])
def test_temperature_out_of_range_is_refused(temperature):
    with pytest.raises(ValueError, match="temperature must be between 3000 and 12000 K; got"):
        star_spectrum(WAVELENGTHS, temperature)


def test_features_stand_where_the_narrow_bands_look():
    def depth(temperature, inside, *beside):
        spectrum = star_spectrum(np.array([inside, *beside]), temperature)
        return 1 - spectrum[0] / spectrum[1:].mean()

    assert depth(4500.0, 3934.8, 3900.0, 3985.0) > 0.3  # Ca K
    assert depth(4500.0, 5176.0, 5090.0, 5270.0) > 0.15  # Mg b
    assert depth(4500.0, 8544.0, 8520.0, 8580.0) > 0.25  # calcium triplet
    assert depth(9500.0, 4102.9, 4040.0, 4170.0) > 0.4  # Hdelta
    assert depth(9500.0, 3650.0, 3760.0) > 0.3  # Balmer jump
    assert depth(3200.0, 7080.0, 7000.0) > 0.2  # TiO


@given(st.floats(3300, 11500))
def test_temperature_and_color_agree(temperature):
    g, r = band_weights(("g", "r")) @ star_spectrum(WAVELENGTHS, temperature)
    assert_allclose(star_temperature(-2.5 * np.log10(g / r)), temperature, rtol=0.03)


def test_old_stars_have_the_break_and_young_ones_have_not():
    def contrast(g_r):
        spectrum = population_spectrum(g_r)
        red = spectrum[(WAVELENGTHS > 4000) & (WAVELENGTHS < 4100)].mean()
        return red / spectrum[(WAVELENGTHS > 3850) & (WAVELENGTHS < 3950)].mean()

    assert contrast(0.9) > 1.6
    assert contrast(0.0) < 1.35


def test_redshift_moves_the_break_out_of_j0410(light):
    near, far = (magnitudes(light.population(*OLD, GALAXY | {"redshift": z})) for z in (0.0, 0.08))
    assert far["J0410"] - near["J0410"] > 0.12
    assert abs(far["J0515"] - near["J0515"]) < 0.1


@pytest.mark.parametrize("redshift", [-0.01, 0.11, np.nan])
def test_redshift_out_of_range_is_refused(redshift):
    with pytest.raises(ValueError, match=r"redshift must be between 0 and 0.1; got"):
        population_spectrum(0.5, redshift=redshift)


# Lines


@given(st.floats(0, 1000), st.floats(0, 0.012))
def test_equivalent_width_in_a_box_filter(width, redshift):
    """A line of width W in a box of width B over a flat continuum: 1 + W (1 + z) / B."""
    flat = np.ones_like(WAVELENGTHS)
    box = (WAVELENGTHS >= 6450) & (WAVELENGTHS < 6750)
    lines = add_lines(flat, width, redshift=redshift, oiii=0.0, oii=0.0)
    assert_allclose(lines[box].mean(), 1 + width * (1 + redshift) / 300, rtol=1e-4)


def test_line_ratios():
    flat, lines = np.ones_like(WAVELENGTHS), {}
    seen = add_lines(flat, 100.0, nii=0.5, oiii=2.0, oii=3.0) - flat
    for name, low, high in (
        ("halpha", 6450, 6700),
        ("oiii", 4930, 5050),
        ("hbeta", 4830, 4900),
        ("oii", 3690, 3760),
    ):
        near = abs(WAVELENGTHS - (low + high) / 2) < (high - low) / 2
        lines[name] = 5 * seen[near].sum()
    assert_allclose(lines["halpha"], 100, rtol=1e-4)
    assert_allclose(lines["hbeta"], 100 / 1.5 / 2.86, rtol=1e-4)
    assert_allclose(lines["oiii"], lines["hbeta"] * 2 * 4 / 3, rtol=1e-4)
    assert_allclose(lines["oii"], lines["hbeta"] * 3, rtol=1e-4)


def test_halpha_raises_j0660_as_its_width_says(light):
    """F(line) / F(continuum) in a band is W T(line) / (integral of T), for a flat continuum."""
    dark, bright = light.population(*YOUNG, GALAXY, halpha=np.array([0.0, 50.0])).T
    dark, bright = magnitudes(dark), magnitudes(bright)
    # The band is 147 Angstrom wide, and flat where the lines are.
    expected = 2.5 * np.log10(1 + 50 / 147)
    in_r = 2.5 * np.log10(1 + 50 / 1376)  # r itself is held
    assert_allclose(dark["J0660"] - bright["J0660"], expected - in_r, atol=0.03)
    assert abs(dark["J0861"] - bright["J0861"]) < 0.02


def test_a_source_of_one_line_is_dark_elsewhere():
    fluxes = dict(zip(BANDS, line_fluxes(BANDS, 6614.0, "J0660", 10.0), strict=True))
    assert fluxes.pop("J0660") == pytest.approx(10)
    # A band sees a line by its response over its width.
    assert fluxes.pop("r") == pytest.approx(10 * 147 / 1376, rel=0.15)
    assert max(fluxes.values()) == 0


def test_line_outside_its_band_is_refused():
    with pytest.raises(ValueError, match="wavelength must lie inside the band J0660; got 5000"):
        line_fluxes(BANDS, 5000.0, "J0660", 1.0)


# From colors to fluxes


@given(
    st.floats(-0.3, 1.7),
    st.floats(-0.5, 1.7),
    st.floats(0, 0.1),
    st.floats(0, 1000),
    st.floats(0, 1),
)
def test_g_r_z_are_those_drawn(g_r, r_z, redshift, width, reddening):
    stars = population_spectrum(g_r, redshift=redshift, reddening=reddening)
    wanted = band_fluxes(FITTED_BANDS, 15.0, g_r, r_z)
    made = fit_colors(add_lines(stars, width, redshift=redshift), wanted)
    assert_allclose(band_weights(FITTED_BANDS) @ made, wanted, rtol=1e-3)
    assert np.all(made > 0)


def test_broad_colors_of_galaxies_and_stars(light):
    """Close to the colors of real galaxies, and of the main sequence in SDSS."""
    old, young = (magnitudes(light.population(*c, GALAXY)) for c in (OLD, YOUNG))
    assert 2.2 < old["u"] < 2.9
    assert 1.2 < young["u"] < 1.9
    assert old["i"] == pytest.approx(-0.40, abs=0.06)
    assert young["i"] == pytest.approx(-0.28, abs=0.06)
    for g_r, r_i in ((0.4, 0.13), (0.7, 0.27), (1.3, 0.6)):
        star = light.stars(np.array([15.0]), np.array([g_r]), np.array([0.1 + 0.6 * g_r]))[:, 0]
        assert magnitudes(star)["i"] == pytest.approx(-r_i, abs=0.13)


def test_bands_do_not_change_each_other():
    """The flux in a band is the same, whatever other bands there are."""
    whole = Light(BANDS, np.random.default_rng(0)).population(*YOUNG, GALAXY, halpha=30.0)
    for k, band in enumerate(BANDS):
        alone = Light((band,), np.random.default_rng(0)).population(*YOUNG, GALAXY, halpha=30.0)
        assert_allclose(alone, whole[k], rtol=1e-12)
