# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The flux anchor: what it must mend, what it must leave alone, and how far it reaches."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import fft, signal

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.enhance.flux_anchor import REACH, anchor_flux, moffat_matching_kernel
from splus_srgan.exceptions import FallbackWarning
from splus_srgan.images.header import (
    psf_from_header,
    wing_share_from_header,
    winged_psf_from_header,
)
from splus_srgan.pixels.psf import TARGET_PSF, WING_SHARE, WINGS
from splus_srgan.splus import PIXEL_SCALE

OPTIONS = {"engine": "torch", "device": "cpu", "precision": "float32"}
FINE_SCALE = PIXEL_SCALE / 2
SEEING = (1.4, 2.8)


def moffat(shape, psf, center, scale=FINE_SCALE, wings=0.0):
    """Moffat profile of unit flux, as its formula says, and wings besides."""
    y, x = np.indices(shape)
    r2 = scale**2 * ((y - center[0]) ** 2 + (x - center[1]) ** 2)
    core = (psf[0] / (2 * np.sqrt(2 ** (1 / psf[1]) - 1)), psf[1])
    parts = (
        share * (beta - 1) / (np.pi * alpha**2) * (1 + r2 / alpha**2) ** -beta
        for share, (alpha, beta) in ((1 - wings, core), (wings, WINGS))
    )
    return scale**2 * sum(parts)


def star(flux, shape=(80, 80), center=(40.3, 38.6), wings=0.0):
    """A star as it is seen, and as it is on the fine grid (per input pixel)."""
    fine = tuple(2 * n for n in shape)
    sharp = moffat(fine, TARGET_PSF, [2 * c + 0.5 for c in center], wings=wings)
    return flux * moffat(shape, SEEING, center, PIXEL_SCALE, wings), 4 * flux * sharp


def anchored(
    image, observed, *, sky=0.0, sigma=1.0, psf=SEEING, target=TARGET_PSF, mask=None, **options
):
    """One band through `anchor_flux`."""
    mask = None if mask is None else mask[None]
    return anchor_flux(
        image[None].astype(np.float32),
        observed[None].astype(np.float32),
        np.array(sky),
        np.array(sigma),
        psfs=[psf],
        target_psfs=[target],
        mask=mask,
        **options,
    )[0]


def aperture(image, center, radius=6.0):
    """Flux within a radius (arcsec) around a place in input pixels."""
    y, x = np.indices(image.shape)
    r = np.hypot(y - 2 * center[0] - 0.5, x - 2 * center[1] - 0.5)
    return image[r < radius / (PIXEL_SCALE / 2)].sum(dtype=float)


def noise(shape, seed):
    return np.random.default_rng(seed).standard_normal(shape)


# The kernel


@pytest.mark.parametrize("wings", [0.0, WING_SHARE])
@pytest.mark.parametrize("phase", [0.0, -0.5])
@pytest.mark.parametrize("wanted", [(1.2, 4.4), (1.36, 3.0), (1.65, 2.2)])
def test_kernel_brings_one_psf_to_the_other(wanted, phase, wings):
    kernel = moffat_matching_kernel((*TARGET_PSF, wings), (*wanted, wings), phase=phase)
    assert_allclose(kernel.sum(), 1, rtol=1e-6)
    have = moffat((161, 161), TARGET_PSF, (80, 80), wings=wings)
    image = signal.fftconvolve(have, kernel, mode="same")
    expected = moffat((161, 161), wanted, (80 + phase, 80 + phase), wings=wings)
    assert_allclose(image, expected, rtol=0, atol=0.01 * expected.max())
    assert_allclose(aperture(image, (40, 40)), aperture(expected, (40, 40)), rtol=0.01)


def test_kernel_agrees_with_galsim():
    galsim = pytest.importorskip("galsim")
    have, want = (
        galsim.Moffat(beta=beta, fwhm=fwhm)
        .drawImage(nx=161, ny=161, scale=FINE_SCALE, method="no_pixel", dtype=float)
        .array
        for fwhm, beta in (TARGET_PSF, (1.4, 2.8))
    )
    image = signal.fftconvolve(have, moffat_matching_kernel(TARGET_PSF, (1.4, 2.8)), mode="same")
    assert_allclose(image, want, rtol=0, atol=0.01 * want.max())


def test_kernel_does_not_sharpen():
    kernel = moffat_matching_kernel((1.0, 3.0), (0.9, 3.0))
    expected = np.zeros((65, 65))
    expected[32, 32] = 1
    assert_allclose(kernel, expected, atol=1e-6)


# What it mends


@pytest.mark.parametrize(("kind", "seed"), [("stars", 1), ("galaxy", 1), ("galaxy", 2)])
def test_flux_that_is_too_low_is_mended(kind, seed):
    """5 % too low becomes 0.5 % within 6 arcsec, of the brightest source, with noise."""
    field = simulate_field([5, seed], shape=(80, 80), bands=("r",), kind=kind)
    observed, truth = field.observed["r"], 4 * field.target["r"].data
    sky = field.sky["r"]
    result = anchored(
        0.95 * truth + sky,
        observed.data,
        sky=sky,
        sigma=field.sigma["r"],
        psf=winged_psf_from_header(observed.meta),
        target=(*TARGET_PSF, wing_share_from_header(observed.meta)),
    )
    inside = np.all([abs(field.sources[axis].value - 40) < 26 for axis in "xy"], axis=0)
    sources = field.sources[inside]
    row = sources[np.argmax(sources["flux_r"])]
    center = row["y"].value, row["x"].value
    assert_allclose(aperture(result - sky, center), aperture(truth, center), rtol=0.005)


@pytest.mark.parametrize("wings", [0.0, WING_SHARE])
def test_right_flux_stays(wings):
    observed, truth = star(5e4, wings=wings)
    found = anchored(truth, observed, psf=(*SEEING, wings), target=(*TARGET_PSF, wings))
    for radius in (1.5, 3.0, 6.0):
        before, after = (aperture(i, (40.3, 38.6), radius) for i in (truth, found))
        assert_allclose(after, before, rtol=2e-3)


@pytest.mark.parametrize("factor", [0.9, 0.95, 1.05, 1.1])
def test_flux_of_a_star_is_mended(factor):
    """A smooth factor is a bit too large for a point source: a fifth of the error may be left."""
    observed, truth = star(5e4)
    before = aperture(factor * truth, (40.3, 38.6)) / aperture(truth, (40.3, 38.6)) - 1
    after = aperture(anchored(factor * truth, observed), (40.3, 38.6))
    assert abs(after / aperture(truth, (40.3, 38.6)) - 1) < 0.2 * abs(before)


def test_half_the_strength_does_half():
    observed, truth = star(5e4)
    image = 0.95 * truth
    whole, half = (anchored(image, observed, strength=s) - image for s in (1, 0.5))
    assert whole.max() > 1
    assert_allclose(half, 0.5 * whole, atol=1e-4 * whole.max())


# What it leaves alone


def test_right_image_is_nearly_left_alone():
    observed, truth = star(5e4)
    assert_allclose(anchored(truth, observed), truth, rtol=0.002, atol=0.01)
    result = anchored(truth, observed + noise(observed.shape, 0))
    assert_allclose(aperture(result, (40.3, 38.6)), aperture(truth, (40.3, 38.6)), rtol=0.002)


def test_blank_sky_stays_as_it_is():
    """Noise of the input does not come back, on a pedestal or without."""
    image = 0.05 * noise((128, 128), 1)
    for sky in (0.0, 20.0):
        result = anchored(image + sky, noise((64, 64), 0) + sky, sky=sky)
        assert_allclose(result, image + sky, rtol=1e-6, atol=0.005)


def test_negative_pixels_are_neither_clipped_nor_changed():
    observed, truth = star(5e4)
    image = 0.95 * truth
    image[70:74, 70:74] = -3.0
    assert_array_equal(anchored(image, observed)[70:74, 70:74], -3.0)


@pytest.mark.parametrize("psfs", [[None, SEEING], [SEEING, None], [None, None]])
def test_band_without_psf_stays_as_it_is(psfs):
    observed, truth = star(5e4)
    image = np.stack([0.95 * truth, 1.05 * truth]).astype(np.float32)
    sky = np.zeros((2, 1, 1))
    result = anchor_flux(
        image, np.stack([observed] * 2), sky, sky + 1, psfs=psfs, target_psfs=[TARGET_PSF] * 2
    )
    for k, psf in enumerate(psfs):
        assert np.array_equal(result[k], image[k]) == (psf is None)


def test_strength_zero_changes_nothing():
    observed, truth = star(5e4)
    assert_array_equal(anchored(0.9 * truth, observed, strength=0), np.float32(0.9 * truth))


def test_inputs_are_not_modified():
    observed, truth = star(5e4)
    image, seen = (0.9 * truth).astype(np.float32)[None], observed.astype(np.float32)[None]
    before = image.copy(), seen.copy()
    sky = np.zeros((1, 1, 1))
    anchor_flux(image, seen, sky, sky + 1, psfs=[SEEING], target_psfs=[TARGET_PSF])
    assert_array_equal(image, before[0])
    assert_array_equal(seen, before[1])


def test_saturated_core_does_not_pull():
    """Where a star is clipped the input does not tell its flux."""
    observed, truth = star(5e4)
    clipped = np.minimum(observed, 0.2 * observed.max())
    saturated = observed >= clipped.max()
    center = (40.3, 38.6)
    pulled, kept = (
        aperture(anchored(truth, clipped, mask=mask), center) / aperture(truth, center)
        for mask in (None, saturated)
    )
    assert pulled < 0.9
    assert_allclose(kept, 1, rtol=0.002)


def test_what_lies_under_the_mask_does_not_matter():
    observed, truth = star(5e4)
    mask = np.zeros(observed.shape, bool)
    mask[36:40, 36:40] = True
    one, other = (
        anchored(0.95 * truth, np.where(mask, value, observed), mask=mask) for value in (0, 1e5)
    )
    assert_array_equal(one, other)


# Scale and reach


def test_unit_does_not_matter():
    observed, truth = star(5e4)
    observed = observed + noise(observed.shape, 2) + 3
    image = 0.95 * truth + 3
    one = anchored(image, observed, sky=3.0)
    for factor, rtol in ((1024.0, 0), (2.0**-30, 0), (1000.0, 1e-5), (1e-9, 1e-5)):
        other = anchored(factor * image, factor * observed, sky=3 * factor, sigma=factor)
        # A Gaussian's rounding is relative to the brightest pixel.
        assert_allclose(other, factor * one, rtol=rtol, atol=rtol * 1e-2 * factor * image.max())


def test_reach_is_enough_and_not_much_too_much():
    """What changes when a pixel of the input changes, and with it the image made of it."""
    shape, center = (120, 120), (61, 58)
    flat = np.full(shape, 200.0)
    # With an error everywhere, the factor changes wherever the flux around it does.
    image = 0.95 * flat.repeat(2, 0).repeat(2, 1)
    spoilt, spoilt_image = flat.copy(), image.copy()
    spoilt[center] += 1e5
    rows, columns = (slice(2 * c, 2 * c + 2) for c in center)
    spoilt_image[rows, columns] += 1e5
    change = anchored(spoilt_image, spoilt) - anchored(image, flat)
    change[rows, columns] = 0
    y, x = (abs((i - 0.5) / 2 - c) for i, c in zip(np.indices(image.shape), center, strict=True))
    far = np.maximum(y, x)
    # A convolution by FFT rounds everywhere.
    rounding = 1e-8 * spoilt.max()
    assert np.all(abs(change[far > REACH + 0.5]) < rounding)
    assert np.any(abs(change[far > REACH - 6]) > 2 * rounding)


# Errors


@pytest.mark.parametrize("strength", [-0.1, 1.5, 2])
def test_strength_out_of_range_is_refused(strength):
    with pytest.raises(ValueError, match=rf"flux_anchor must be within 0 and 1; got {strength}"):
        anchored(np.zeros((32, 32)), np.zeros((16, 16)), strength=strength)


def test_strength_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match=r"flux_anchor must be .*nan"):
        anchored(np.zeros((32, 32)), np.zeros((16, 16)), strength=np.nan)


# In the enhancer


@pytest.fixture(scope="module")
def image():
    return simulate_field([5, 2], shape=(64, 64), bands=("r",), kind="galaxy").observed["r"]


def without_psf(image):
    image = image.copy()
    for key in [key for key in image.header if "FWHM" in key]:
        del image.header[key]
    return image


def without_wcs(image):
    image = image.copy()
    image.wcs = None
    return image


def test_header_says_that_the_flux_was_anchored(image):
    plain = SRGANEnhancer(flux_anchor=0, **OPTIONS)(image, sky=0, sigma=1)
    sharp = SRGANEnhancer(flux_anchor=1, **OPTIONS)(image, sky=0, sigma=1)
    assert plain.header["SRANCHOR"] == 0.0
    assert sharp.header["SRANCHOR"] == 1.0
    assert not np.array_equal(sharp.data, plain.data)


@pytest.mark.parametrize("lacking", [without_psf, without_wcs])
def test_header_says_that_it_could_not_be_anchored(image, lacking):
    image = lacking(image)
    with pytest.warns(FallbackWarning) as told:
        sharp = SRGANEnhancer(flux_anchor=1, **OPTIONS)(image, sky=0, sigma=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FallbackWarning)
        plain = SRGANEnhancer(flux_anchor=0, **OPTIONS)(image, sky=0, sigma=1)
    assert str(told[-1].message).startswith("the PSF of r is not known")
    assert len(told) == (1 if lacking is without_psf else 2)
    assert sharp.header["SRANCHOR"] == 0.0
    assert_array_equal(sharp.data, plain.data)


def test_wrong_strength_is_refused_at_construction():
    with pytest.raises(ValueError, match=r"flux_anchor must be within 0 and 1; got 2\.0"):
        SRGANEnhancer(flux_anchor=2, **OPTIONS)
    with pytest.raises(TypeError, match="flux_anchor must be a real number; got 'x'"):
        SRGANEnhancer(flux_anchor="x", **OPTIONS)


def test_the_number_of_threads_changes_nothing():
    rng = np.random.default_rng(8)
    observed = rng.normal(size=(1, 200, 170)).astype(np.float32)
    observed[0, 100, 80] += 1e4
    image = observed.repeat(2, 1).repeat(2, 2) / 4
    keys = {"psfs": [(1.5, 3.0)], "target_psfs": [(1.0, 3.0)]}
    made = []
    for workers in (1, 3):
        with fft.set_workers(workers):
            made.append(anchor_flux(image, observed, 0 * observed, 1 + 0 * observed, **keys))
    assert (made[0] != image).any()
    assert_array_equal(*made)


@pytest.mark.parametrize("beta", [31.0, 100.0, 1e6])
def test_a_steep_psf_in_the_header_is_nearly_a_gaussian(beta):
    field = simulate_field(4, shape=(48, 48), bands=("r",))
    images = []
    for stated in (20.0, beta):
        observed = field.observed["r"].copy()
        observed.meta["HIERARCH OAJ PRO FWHMBETA"] = stated
        images.append(SRGANEnhancer(**OPTIONS)(observed).data)
    assert np.isfinite(images[1]).all()
    assert_allclose(images[1], images[0], rtol=0.02, atol=0.02 * field.sigma["r"])


@pytest.mark.parametrize(
    ("cards", "wanted"),
    [
        ({"A FWHMMEAN": 1.3, "A FWHMBETA": 0.9}, (1.3, 3.0)),
        ({"A FWHMMEAN": 1.3, "A FWHMBETA": np.inf}, (1.3, 3.0)),
        ({"A FWHMMEAN": np.float32(1.5), "A FWHMBETA": np.float64(2.5)}, (1.5, 2.5)),
        ({"A FWHMMEAN": True}, None),
        ({"A FWHMMEAN": np.nan}, None),
    ],
)
def test_what_is_no_seeing_is_not_taken_for_it(cards, wanted):
    assert psf_from_header(cards) == wanted
