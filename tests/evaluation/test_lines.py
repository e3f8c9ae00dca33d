# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Maps of Halpha against spectra whose lines are known, closed forms, and drawn errors."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.nddata import CCDData, InverseVariance, NDData, StdDevUncertainty
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan.evaluation.measure.lines import line_map, line_weights
from splus_srgan.exceptions import PSFMismatchWarning
from splus_srgan.simulate.bandpasses import WAVELENGTHS, band_weights, pivot
from splus_srgan.simulate.spectra import add_lines, population_spectrum

BANDS = ("r", "J0660", "i")
DENSITY = u.Unit("erg / (s cm2 AA)")


def seen(spectrum):
    """Mean flux density per wavelength in the three bands, as photon counters see it."""
    per_frequency = band_weights(BANDS) @ spectrum
    return dict(zip(BANDS, per_frequency / [pivot(band) ** 2 for band in BANDS], strict=True))


def cube(values, unit=DENSITY, **keywords):
    return {
        band: CCDData(np.full((2, 3), value), unit=unit, **keywords)
        for band, value in values.items()
    }


@given(st.floats(-1e-4, 1e-4), st.floats(0.5, 2), st.floats(0, 500), st.floats(0, 0.012))
def test_line_on_a_linear_continuum_is_exact(slope, level, width, redshift):
    """Of a line alone, [NII] left out, whose place in the filter is known."""
    continuum = level + slope * (WAVELENGTHS - 6600)
    lines = add_lines(continuum, width, redshift=redshift, nii=0.0, oiii=0.0, oii=0.0)
    blue = WAVELENGTHS < 5500  # Hbeta is a line too
    lines[blue] = continuum[blue]
    found = line_map(cube(seen(lines)), redshift=redshift).data
    expected = (lines - continuum).sum() * 5
    # The lines have a width, and the band is not flat over it.
    assert_allclose(found, expected, rtol=0.03, atol=1e-6 * level * 150)


def test_both_lines_of_nii_count():
    continuum = np.ones_like(WAVELENGTHS)
    lines = add_lines(continuum, 100.0, nii=0.4, oiii=0.0, oii=0.0)
    lines[WAVELENGTHS < 5500] = 1
    assert_allclose(line_map(cube(seen(lines))).data, 100, rtol=0.03)


def test_a_galaxy_without_gas_has_little_of_it():
    """Old stars are no straight line: the known bias of the method, some Angstrom."""
    spectrum = population_spectrum(0.7)
    level = spectrum[np.searchsorted(WAVELENGTHS, 6564.6)]
    width = line_map(cube(seen(spectrum))).data / level
    assert np.all(np.abs(width) < 12)


@pytest.mark.parametrize("unit", ["nmgy", "uJy", "erg / (s cm2 AA)"])
def test_units_give_one_flux(unit):
    """A nanomaggie is 3.63 microjansky, and flux per wavelength that times c / pivot^2."""
    density = {
        band: (3.0 * u.uJy).to(DENSITY, u.spectral_density(pivot(band) * u.AA)) for band in BANDS
    }
    values = dict.fromkeys(BANDS, 3.0)
    if unit == "nmgy":
        values = dict.fromkeys(BANDS, 3.0 / 3.6307805)
    elif unit.startswith("erg"):
        values = {band: one.value for band, one in density.items()}
    plain = line_map(cube({band: one.value for band, one in density.items()}))
    found = line_map(cube(values, u.Unit(unit)))
    assert found.unit == u.erg / u.s / u.cm**2
    assert_allclose(found.data, plain.data, rtol=1e-5)


def test_uncertainties_are_those_of_drawn_noise():
    rng, sigma = np.random.default_rng(0), {"r": 0.02, "J0660": 0.05, "i": 0.03}
    images = {
        band: CCDData(
            1 + s * rng.standard_normal((200, 200)),
            unit=DENSITY,
            uncertainty=StdDevUncertainty(np.full((200, 200), s)),
        )
        for band, s in sigma.items()
    }
    found = line_map(images)
    assert_allclose(found.data.std(), found.uncertainty.array, rtol=0.02)
    images["i"].uncertainty = InverseVariance(np.full((200, 200), 0.03**-2))
    assert_allclose(line_map(images).uncertainty.array, found.uncertainty.array)
    images["i"].uncertainty = None
    assert line_map(images).uncertainty is None


@pytest.mark.parametrize("how", ["cards", "option"])
def test_correlated_errors_are_those_of_drawn_noise(how):
    rng, sigma = np.random.default_rng(1), {"r": 0.02, "J0660": 0.05, "i": 0.03}
    rho = np.array([[1, 0.3, 0.5], [0.3, 1, 0.1], [0.5, 0.1, 1]])
    if how == "option":
        rho = np.where(np.eye(3), 1, 0.4)
    drawn = rng.multivariate_normal(np.zeros(3), rho, (200, 200))
    images = {}
    for k, (band, s) in enumerate(sigma.items()):
        others = zip(("SRCR", "SRCJ0660", "SRCI"), rho[k], strict=True)
        meta = {key: value for j, (key, value) in enumerate(others) if j != k}
        images[band] = CCDData(
            1 + s * drawn[..., k],
            unit=DENSITY,
            uncertainty=StdDevUncertainty(np.full((200, 200), s)),
            meta=meta if how == "cards" else {},
        )
    found = line_map(images, correlation=None if how == "cards" else 0.4)
    assert_allclose(found.data.std(), found.uncertainty.array, rtol=0.02)
    apart = line_map(images, correlation=0.0)
    assert np.all(apart.uncertainty.array > 1.05 * found.uncertainty.array)


def test_a_card_of_another_program_is_no_correlation():
    error = StdDevUncertainty(np.full((2, 3), 0.1))
    values = {"r": 1.0, "J0660": 2.0, "i": 1.0}
    plain = line_map(cube(values, uncertainty=error)).uncertainty.array
    for foreign in ("reference source", True, 17.0, float("nan")):
        images = cube(values, uncertainty=error, meta={"SRCI": foreign, "SRCJ0660": foreign})
        assert_array_equal(line_map(images).uncertainty.array, plain)


@pytest.mark.parametrize("kind", [dict, fits.Header])
def test_a_map_says_what_it_is_and_how_it_was_made(kind):
    images = cube({"r": 1.0, "J0660": 2.0, "i": 1.0})
    for band, image in images.items():
        image.meta = kind({"SRMODEL": "splus", "SRSIGMA": len(band), "SRCG": 0.5, "GAIN": 2.0})
        image.flags = np.zeros((2, 3), np.uint8)
    images["r"].flags[0, 0], images["i"].flags[0, 0], images["i"].flags[1, 2] = 16, 1, 4
    images["J0660"].psf = np.ones((3, 3)) / 9
    found = line_map(images, redshift=0.005)
    assert dict(found.header) == {"LINE": "halpha", "REDSHIFT": 0.005, "SRMODEL": "splus"}
    assert_array_equal(found.flags, [[17, 0, 0], [0, 0, 4]])
    assert_array_equal(found.psf, images["J0660"].psf)
    plain = line_map(cube({"r": 1.0, "J0660": 2.0, "i": 1.0}))
    assert plain.flags is None
    assert plain.psf is None


def test_errors_that_are_not_known_are_no_warning():
    images = cube({"r": 1.0, "J0660": 2.0, "i": 1.0}, meta={"SRCR": 0.2, "SRCJ0660": 0.2})
    for image, unknown in zip(images.values(), (np.inf, np.inf, np.nan), strict=True):
        image.uncertainty = StdDevUncertainty(np.full((2, 3), 0.1))
        image.uncertainty.array[0, 0] = unknown
    found = line_map(images).uncertainty.array
    assert not np.isfinite(found[0, 0])
    assert np.isfinite(found[1]).all()


def test_masks_and_spellings():
    images = cube({"r": 1.0, "J0660": 2.0, "i": 1.0})
    images["r"].mask = np.zeros((2, 3), bool)
    images["r"].mask[0, 1] = True
    spelled = {"rSDSS": images["r"], "F660": images["J0660"], "I": images["i"]}
    found = line_map(spelled)
    assert_array_equal(found.mask, images["r"].mask)
    assert line_map(cube({"r": 1.0, "J0660": 2.0, "i": 1.0})).mask is None


def test_weights_give_nothing_for_a_linear_continuum():
    """Of a constant they give 0; of the line alone its flux."""
    assert_allclose(sum(line_weights()), 0, atol=1e-9)


def test_wrong_input_is_refused():
    images = cube({"r": 1.0, "J0660": 2.0, "i": 1.0})
    with pytest.raises(ValueError, match=r"redshift must leave halpha in J0660 .*; got 0.05"):
        line_map(images, redshift=0.05)
    with pytest.raises(ValueError, match="line must be one of 'halpha'; got 'oiii'"):
        line_map(images, line="oiii")
    with pytest.raises(ValueError, match="images must have the bands r, J0660 and i; i is missing"):
        line_map({band: images[band] for band in ("r", "J0660")})
    counts = cube({"r": 1.0, "J0660": 2.0, "i": 1.0}, u.adu)
    with pytest.raises(ValueError, match="that of r is adu: calibrate them"):
        line_map(counts)
    with pytest.raises(ValueError, match=r"correlation must be from -0.5 to 1; got -0.8"):
        line_map(images, correlation=-0.8)
    nothing = images | {"i": NDData(np.ones((2, 3)))}
    with pytest.raises(ValueError, match="that of i is None"):
        line_map(nothing)
    with pytest.raises(ValueError, match="images must have one shape; got r"):
        line_map(images | {"i": CCDData(np.ones((3, 3)), unit=DENSITY)})


def test_a_stack_gives_the_map_of_its_images():
    """As the enhancer gives it: correlations are cards of single bands, with a number there."""
    rng = np.random.default_rng(3)
    images = {
        band: CCDData(
            rng.uniform(1, 2, (16, 17)).astype(np.float32),
            unit="nmgy",
            mask=rng.random((16, 17)) < 0.1,
            uncertainty=StdDevUncertainty(rng.uniform(0.1, 0.2, (16, 17))),
            meta={f"SRC{other.upper()}": 0.2 for other in BANDS if other != band},
        )
        for band in BANDS
    }
    meta = {"BANDS": ",".join(BANDS)}
    meta |= {f"{key}{k + 1}": v for k, b in enumerate(BANDS) for key, v in images[b].meta.items()}
    stack = CCDData(
        np.stack([images[band].data for band in BANDS]),
        unit="nmgy",
        mask=np.stack([images[band].mask for band in BANDS]),
        uncertainty=StdDevUncertainty(np.stack([images[b].uncertainty.array for b in BANDS])),
        meta=meta,
    )
    expected, found = line_map(images), line_map(stack)
    assert_allclose(found.data, expected.data, rtol=1e-6, atol=1e-25)
    assert_allclose(found.uncertainty.array, expected.uncertainty.array, rtol=1e-6)
    assert_array_equal(found.mask, expected.mask)
    with pytest.raises(
        ValueError, match=r"stack must have shape \(n_band, ny, nx\); got \(16, 17\)"
    ):
        line_map(images["r"])


def test_images_at_several_psfs_are_warned_of():
    images = cube({"r": 1.0, "J0660": 2.0, "i": 1.0})
    for image, fwhm in zip(images.values(), (1.38, 1.70, 1.23), strict=True):
        image.meta["OAJ PRO FWHMMEAN"] = fwhm
    with pytest.warns(
        PSFMismatchWarning, match="FWHM of r 1.38, J0660 1.70, i 1.23 arcsec"
    ) as told:
        line_map(images)
    assert told[0].filename == __file__
    for image in images.values():
        image.meta["SRFWHM"] = 1.0  # of the image itself
    line_map(images)
    del images["i"].meta["SRFWHM"], images["i"].meta["OAJ PRO FWHMMEAN"]
    line_map(images)  # not known
