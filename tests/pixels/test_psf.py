# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""PSFs in Fourier space against GalSim and closed forms."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from photutils.centroids import centroid_2dg

from splus_srgan.pixels.psf import coma_transfer, moffat_transfer, psf_profile, wing_transfer

FINE_SCALE = 0.55 / 4


@pytest.mark.parametrize(("ellipticity", "beta"), [(0.0, 2.2), (0.1, 2.9), (0.15, 4.5)])
def test_moffat_transfer_agrees_with_galsim(galsim, ellipticity, beta):
    frequency = np.linspace(0, 2, 30)
    fx, fy = 0.6 * frequency, 0.8 * frequency
    ours = moffat_transfer(fy, fx, 1.3, beta, ellipticity=ellipticity, position_angle=0.4)
    profile = galsim.Moffat(fwhm=1.3, beta=beta).shear(q=1 - ellipticity, beta=0.4 * galsim.radians)
    theirs = [
        profile.kValue(2 * np.pi * x, 2 * np.pi * y).real for x, y in zip(fx, fy, strict=True)
    ]
    assert_allclose(ours, theirs, rtol=0, atol=2e-6)


@pytest.mark.parametrize(("fwhm", "beta"), [(0.9, 2.1), (2.4, 4.6), (1.0, 3.0)])
def test_the_fast_transfer_is_the_same(fwhm, beta):
    """All frequencies of a grid, the highest included."""
    fy = np.fft.fftfreq(64, 0.1375).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(80, 0.1375).astype(np.float32)[None]
    options = {"ellipticity": np.float64(0.1), "position_angle": np.float64(2.5)}
    fast, plain = (moffat_transfer(fy, fx, fwhm, beta, fast=f, **options) for f in (True, False))
    assert fast.dtype == plain.dtype == np.float32
    assert_allclose(fast, plain, atol=1e-6)
    assert fast[0, 0] == 1


@pytest.mark.parametrize("beta", [1.05, 1.2, 2.0, 30.0, 31.0, 80.0, 1e4])
def test_no_light_is_lost_whatever_the_profile(beta):
    assert moffat_transfer(0.0, np.linspace(0, 2, 5), 1.0, beta)[0] == 1


@pytest.mark.parametrize("beta", [1e4, 1e8])
def test_steep_profiles_are_gaussians(beta):
    frequency, radius = np.linspace(0, 2, 50), np.linspace(0, 3, 50)
    sigma = 1.3 / np.sqrt(8 * np.log(2))
    gaussian = np.exp(-2 * (np.pi * sigma * frequency) ** 2)
    assert_allclose(moffat_transfer(0.0, frequency, 1.3, beta), gaussian, atol=1e-4)
    gaussian = np.exp(-0.5 * (radius / sigma) ** 2) / (2 * np.pi * sigma**2)
    assert_allclose(psf_profile(radius, 1.3, beta), gaussian, atol=1e-4)


def test_steep_profiles_go_on_where_the_bessel_function_ends():
    frequency = np.linspace(0, 2, 50)
    below, above = (moffat_transfer(0.0, frequency, 1.0, beta) for beta in (30.0, 30.0 + 1e-6))
    assert_allclose(below, above, atol=1e-7)


@pytest.mark.parametrize(
    ("fwhm", "beta", "message"),
    [(1.0, 1.0, "beta must be above 1"), (-1.0, 3.0, "fwhm must"), (1.0, np.nan, "beta must")],
)
def test_profiles_that_are_none_are_refused(fwhm, beta, message):
    with pytest.raises(ValueError, match=message):
        moffat_transfer(0.0, 0.5, fwhm, beta)


@pytest.mark.parametrize("fwhm", [1.1, 1.5, 2.0])
def test_coma_draws_a_tail_and_leaves_a_fitted_position(fwhm):
    n, middle, kappa = 128, 64, (0.03, -0.01)
    fy, fx = np.fft.fftfreq(n, FINE_SCALE)[:, None], np.fft.rfftfreq(n, FINE_SCALE)[None, :]
    move = np.exp(-2j * np.pi * middle * FINE_SCALE * (fy + fx))
    transfer = moffat_transfer(fy, fx, fwhm, 3.0) * coma_transfer(fy, fx, fwhm, kappa)
    image = np.fft.irfft2(transfer * move)[::4, ::4]  # as S-PLUS samples it

    y, x = np.mgrid[: len(image), : len(image)] - middle / 4
    mean = np.array([(y * image).sum(), (x * image).sum()]) / image.sum() * 4 * FINE_SCALE
    wanted = 2 * np.array(kappa) * fwhm / np.sqrt(8 * np.log(2))
    assert_allclose(mean, wanted, rtol=0.1)  # the wings reach out of the frame

    half = 6
    window = np.s_[middle // 4 - half : middle // 4 + half + 1,] * 2
    fit = (centroid_2dg(image[window]) - half)[::-1] * 4 * FINE_SCALE
    assert_allclose(fit, 0, atol=0.3 * np.max(np.abs(wanted)))


@pytest.mark.parametrize("share", [0.1, 0.4])
def test_wings_are_those_of_the_profile(galsim, share):
    n, scale = 600, 0.1
    fy, fx = np.fft.fftfreq(n, scale)[:, None], np.fft.rfftfreq(n, scale)[None]
    core = moffat_transfer(fy, fx, 1.2, 4.0)
    image = np.fft.fftshift(np.fft.irfft2(wing_transfer(fy, fx, core, share)))
    wings = galsim.Moffat(2.0, scale_radius=3)
    profile = (1 - share) * galsim.Moffat(4.0, fwhm=1.2) + share * wings
    y, x = scale * (np.mgrid[:n, :n] - n // 2)
    for radius in (0.0, 2.5, 5.0, 10.0):
        ring = np.abs(np.hypot(y, x) - radius) < 0.5 * scale
        wanted = [profile.xValue(*point) for point in zip(x[ring], y[ring], strict=True)]
        # The sum over the frame is 1, and some of the wings comes around its edges.
        assert_allclose(image[ring] / scale**2, wanted, rtol=0.03)
