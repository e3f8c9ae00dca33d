# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Injected sources, against GalSim, and enhancers that do what they should not."""

import numpy as np
import pytest
from _scenes import SHARP, draw, star_list, upsampled, verdicts
from astropy.nddata import CCDData
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import simulate_field
from splus_srgan.evaluation.comparison import compare_field
from splus_srgan.evaluation.measure.injection import draw_injections, inject, render_source
from splus_srgan.evaluation.measure.recovery import checks_injection, injection_test
from splus_srgan.evaluation.pairs import EvaluationPair

PSF = (1.4, 3.0)


def interpolated(images, *, factor=1.0):
    """An enhancer that does not enhance."""
    return {
        band: CCDData(factor * upsampled(image.data), unit=image.unit)
        for band, image in images.items()
    }


def brighter(images):
    return interpolated(images, factor=1.02)


class Forgetful:
    """An enhancer that shows everybody the first image that it saw."""

    def __init__(self):
        self.first = None

    def __call__(self, images):
        self.first = self.first or interpolated(images)
        return self.first


@pytest.fixture(scope="module")
def pair():
    field = simulate_field(2, shape=(150, 150), kind="blank", bands=("g", "r"))
    return EvaluationPair.from_simulation(field, name="blank")


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize("kind", ["star", "galaxy"])
def test_rendered_sources_are_galsim_s(kind, factor):
    sources = star_list(shape=(50, 50), kind=kind)[:1]
    x, y, flux = (float(sources[name][0]) for name in ("x", "y", "flux_r"))
    shape = {"factor": factor}
    if kind == "galaxy":
        # The shear (0.2, 0.1) as axis ratio and angle, with the area kept.
        g = np.hypot(0.2, 0.1)
        ratio = (1 - g) / (1 + g)
        shape |= {
            "half_light_radius": 1.2 / np.sqrt(ratio),
            "axis_ratio": ratio,
            "angle": 0.5 * np.arctan2(0.1, 0.2),
        }
    made = render_source((50, 50), x, y, flux, PSF, **shape)
    expected = draw((50, 50), sources, PSF, factor=factor)
    assert made.shape == (50 * factor, 50 * factor)
    assert_allclose(made, expected, atol=0.004 * expected.max())


def test_source_at_the_border_is_cut():
    image = render_source((40, 40), -0.5, 20.0, 100.0, SHARP)
    assert_allclose(image.sum(), 50, rtol=0.02)
    assert not render_source((40, 40), 500.0, 20.0, 100.0, SHARP).any()


def test_drawn_sources_are_free_apart_and_as_bright_as_asked(pair):
    bands = compare_field(pair, interpolated(pair.input)).bands
    bands["r"].mask[60:90, 60:90] = True
    sources = draw_injections(bands, n=12, seed=3, snr=(30.0, 40.0))
    again = draw_injections(bands, n=12, seed=3, snr=(30.0, 40.0))
    assert 2 < len(sources) <= 12
    assert_array_equal(np.asarray(sources["flux_r"]), np.asarray(again["flux_r"]))
    x, y = np.asarray(sources["x"]), np.asarray(sources["y"])
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + 1e9 * np.eye(len(x))
    assert apart.min() * 0.55 > 14
    assert min(x.min(), y.min()) > 22
    assert not ((abs(x - 75) < 15) & (abs(y - 75) < 15)).any()


def test_injection_adds_the_flux_and_leaves_the_input(pair):
    before = pair.input["r"].data.copy()
    bands = compare_field(pair, interpolated(pair.input)).bands
    sources = draw_injections(bands, n=3, seed=1)
    psfs = {name: band.psf for name, band in bands.items()}
    made = inject(pair.input, sources, psfs=psfs)
    added = made["r"].data.astype(float) - before
    assert_array_equal(pair.input["r"].data, before)
    assert_allclose(added.sum(), np.sum(sources["flux_r"]), rtol=0.03)
    assert made["r"].wcs is not None
    noisy = inject(pair.input, sources, psfs=psfs, electrons={"r": 1.0}, seed=5)
    photons = (noisy["r"].data - made["r"].data)[added > 1]
    assert_allclose(np.mean(photons**2 / added[added > 1]), 1, atol=0.35)
    assert_array_equal(noisy["g"].data, made["g"].data)


def test_injection_without_psf_says_what_to_do(pair):
    sources = draw_injections(compare_field(pair, interpolated(pair.input)).bands, n=1)
    with pytest.raises(ValueError, match=r"psfs must have the FWHM.*\['g'\].*FWHMMEAN"):
        inject(pair.input, sources, psfs={"g": None, "r": PSF})


@pytest.mark.parametrize(
    ("make", "failing"),
    [
        (lambda: interpolated, set()),
        (
            lambda: brighter,
            {"median flux offset of injected stars", "median flux offset of injected galaxies"},
        ),
        (Forgetful, {"share of injected sources found"}),
    ],
)
def test_recovery_fails_when_it_should(pair, make, failing):
    rows = injection_test(make(), pair, n=8, seed=4, snr=(60.0, 300.0))
    checks = checks_injection(rows, bands=pair.bands)
    found = {name for name, passed in verdicts(checks).items() if passed is False}
    assert set(rows["band"]) == {"g", "r"}
    assert found == failing


def test_no_room_or_no_psf_is_not_measured():
    crowded = EvaluationPair.from_simulation(simulate_field(2, shape=(32, 32)), name="small")
    bare = EvaluationPair(
        "bare",
        {n: CCDData(i.data, unit="adu") for n, i in crowded.input.items()},
        sky=crowded.sky,
        sigma=crowded.sigma,
    )
    for pair in (crowded, bare):
        rows = injection_test(interpolated, pair, n=3)
        checks = checks_injection(rows, bands=pair.bands)
        assert len(rows) == 0
        assert all(
            check.passed is None and "nothing was injected" in check.note for check in checks
        )
