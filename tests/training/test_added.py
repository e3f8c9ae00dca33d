# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Sources of few bands, and the loss of what they add to each band."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from splus_srgan import splus
from splus_srgan.models.joint import PLANES
from splus_srgan.pixels.psf import TARGET_PSF, psf_image
from splus_srgan.training.config.training import load_config, preset
from splus_srgan.training.data.added import added_sources, aperture_of, draw_added
from splus_srgan.training.data.dataset import make_dataset
from splus_srgan.training.data.restored import RestoredPairs, join_fields
from splus_srgan.training.losses import response_loss
from splus_srgan.training.terms import GeneratorTerms, with_added

BANDS = tuple(splus.BANDS)
PSFS = np.array([(1.2 + 0.05 * k, 3.5, 0.28) for k in range(12)])
SHAPE = (64, 96)


def draw(seed, bands=BANDS, shape=SHAPE):
    return draw_added(np.random.default_rng(seed), bands, PSFS[: len(bands)], shape)


# Sources


@given(st.integers(0, 2**31), st.sampled_from([1, 2, 4, 12]))
def test_a_source_lacks_a_band_and_shines_in_another(seed, n_band):
    sources = draw(seed, BANDS[:n_band])
    assert sources.shape == (6, 4 + n_band)
    shines = (sources[:, 4:] > 0).sum(1)
    assert np.all(shines >= 1)
    assert np.all(shines < n_band) or n_band == 1
    assert np.all((sources[:, 3] >= 5) & (sources[:, 3] <= 60))
    apart = np.hypot(*(sources[:, None, :2] - sources[None, :, :2]).T) + 99 * np.eye(6)
    assert apart.min() > 15


def test_most_shine_in_a_narrow_band_alone():
    sources = np.concatenate([draw(seed) for seed in range(150)])[:, 4:] > 0
    alone = sources[sources.sum(1) == 1]
    assert 0.5 < len(alone) / len(sources) < 0.7
    narrow = [band.startswith("J") for band in BANDS]
    assert alone[:, narrow].any(1).mean() > 0.75
    assert 0.15 < (sources.sum(1) == 11).mean() < 0.35


def test_the_signal_to_noise_is_that_of_a_matched_filter():
    for seed in range(10):
        for y, x, width, sn, *flux in draw(seed):
            if width or sum(f > 0 for f in flux) > 1:
                continue
            band = int(np.argmax(flux))
            # Drawn elsewhere, at the middle of a pixel: less than a few percent of it.
            point = psf_image(PSFS[band], pixel_scale=splus.PIXEL_SCALE, radius=25)
            assert_allclose(flux[band] * np.sqrt((point**2).sum()), sn, rtol=0.02)
            assert 0 <= y < SHAPE[0]
            assert 0 <= x < SHAPE[1]


def test_input_and_target_show_the_same_source_at_the_same_place():
    source = np.array([[30.3, 41.8, 0.0, 20.0, 100.0, 0.0, 50.0]])
    observed, truth = added_sources(source, PSFS[:3], SHAPE)
    assert_allclose(observed.sum((1, 2)), [100, 0, 50], atol=0.01)
    assert_allclose(truth.sum((1, 2)) / 4, [100, 0, 50], atol=0.01)
    for image, zoom in ((observed, 1), (truth, 2)):
        # The peak, refined by a parabola, in input pixels.
        for plane in image[[0, 2]]:
            peak = np.unravel_index(plane.argmax(), plane.shape)
            for axis, middle in enumerate(source[0, :2]):
                row = np.log(plane.take(peak[1 - axis], 1 - axis)[peak[axis] - 1 :][:3])
                shift = 0.5 * (row[0] - row[2]) / (row[0] - 2 * row[1] + row[2])
                place = (peak[axis] + shift + 0.5) / zoom - 0.5
                assert_allclose(place, middle, atol=0.03)


def test_the_target_has_its_own_psf_with_the_wings_of_the_input():
    source = np.array([[31.25, 47.25, 0.0, 20.0, 100.0]])  # on an output pixel
    truth = added_sources(source, PSFS[:1], SHAPE)[1][0]
    expected = psf_image((*TARGET_PSF, 0.28), pixel_scale=splus.PIXEL_SCALE / 2, radius=10)
    found = truth[63 - 10 : 63 + 11, 95 - 10 : 95 + 11]
    assert_allclose(found / found.sum(), expected, atol=0.003)


def test_the_aperture_has_a_radius_of_3_arcsec():
    inside = aperture_of((31.25, 47.25), SHAPE)
    y, x = np.indices(inside.shape)
    assert_array_equal(inside, np.hypot(y - 63, x - 95) < 3 / (splus.PIXEL_SCALE / 2))


# Samples


@pytest.fixture(scope="module")
def pairs():
    bands = ("g", "r", "J0660", "z")
    return RestoredPairs(
        2, first_stage=["splus-grz", "splus-any"], shape=SHAPE, bands=bands, crop=24, added=True
    )


def test_samples_differ_by_a_source(pairs):
    kinds = set()
    for k in range(30):
        sample = pairs[k]
        assert sample["added_input"].shape == sample["input"].shape
        assert sample["input"].shape[1:] == (PLANES, 24, 24)
        added = sample["added_truth"] - sample["truth"]
        flux = (sample["aperture"] * added).sum((1, 2))
        largest = float(flux.max())
        # All of a bright source but what its wings and its width leave outside of the aperture.
        assert largest < 1
        assert float(flux.min()) > -1e-4
        shines = flux > 0.02 * largest
        kinds.add((len(flux), int(shines.sum())))
        # The same noise: what differs in the inputs lies where the source is.
        change = (sample["added_input"] - sample["input"])[:, 0].abs()
        change = (change * (sample["aperture"][:, ::2, ::2] > 0)).sum((1, 2))
        # Wings of other sources lie there, too.
        assert change[~shines].sum() < 0.05 * change[shines].sum() or shines.all()
    assert any(0 < number == n_band - 1 for n_band, number in kinds)
    assert any(number == n_band for n_band, number in kinds)
    assert any(0 < number < n_band - 1 for n_band, number in kinds)


def test_a_bright_source_counts_by_its_own_flux(pairs):
    whole = pairs._whole(0)
    for source in whole["sources"]:
        weights = pairs._aperture(source, whole)
        expected = min(source[3] / 10, 1) ** 2 / max(source[4:])
        assert_allclose(4 * weights.max(), expected, rtol=1e-5)
        assert weights.min() == 0


def test_the_source_lies_in_the_crop(pairs):
    for k in range(20):
        whole = pairs._whole(pairs._place(k).pair)
        source, main = pairs._source(k, whole)
        rows, columns = pairs._cut(k, SHAPE, source)
        assert rows.stop - rows.start == columns.stop - columns.start == 24 + 16
        assert rows.start >= 0
        assert rows.stop <= SHAPE[0]
        assert rows.start + 8 <= source[0] <= rows.stop - 8
        assert columns.start + 8 <= source[1] <= columns.stop - 8
        assert pairs.bands[main] in pairs._subset(k, main)


def test_sources_are_only_for_training():
    with pytest.raises(ValueError, match="added needs augmentation 'symmetries'; got 'none'"):
        RestoredPairs(1, first_stage=["splus-any"], augmentation="none", added=True)
    config = load_config({"preset": "twelve"}, {"data.n_pairs": 1, "data.n_validation": 1})
    assert make_dataset(config, "train").added
    assert not make_dataset(config, "validation").added
    without = load_config({"preset": "twelve"}, {"losses.response": 0.0})
    assert not make_dataset(without, "train").added


# Loss


@given(st.integers(0, 2**31))
def test_the_loss_is_zero_if_a_source_adds_what_it_is(seed):
    rng = torch.Generator().manual_seed(seed)
    without, truth_without, source = torch.randn(3, 2, 3, 8, 8, generator=rng)
    aperture = torch.rand(2, 3, 8, 8, generator=rng)
    found = response_loss(
        without + source, without, truth_without + source, truth_without, aperture
    )
    assert float(found) < 1e-9


def test_a_loss_counts_lost_and_leaked_light_alike():
    none, source = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    source[0, 0, 2, 2] = 8.0
    lost, leaked = 0.75 * source, source.clone()
    leaked[0, 1, 2, 2] = 2.0
    aperture = torch.full_like(none, 1 / 8)
    for made in (lost, leaked):
        assert float(response_loss(made, none, source, none, aperture)) == 0.25**2 / 2
    with pytest.raises(ValueError, match="aperture"):
        response_loss(lost, none, source, none, aperture[:, :1])


def test_fields_with_and_without_the_source_go_through_the_generator_together(pairs):
    batch = join_fields([pairs[3], pairs[4]])
    counts = batch["counts"].tolist()
    both, number = with_added(batch), sum(counts)
    assert both["input"].shape == (2 * number, PLANES, 24, 24)
    assert both["counts"].tolist() == 2 * counts
    assert_array_equal(both["truth"][number:], batch["added_truth"])
    assert_array_equal(both["weight"][number:], batch["weight"] / 4)
    assert with_added({"input": 1}) == {"input": 1}
    config = load_config({"preset": "twelve"}, {"losses.pixel": 0.0, "losses.bright": 0.0})
    terms = GeneratorTerms(config)
    assert terms(both, both["target"])["response"] < 1e-6
    unmoved = torch.cat((batch["target"], batch["target"]))
    flux = (batch["aperture"] * (batch["added_truth"] - batch["truth"])).sum((-1, -2))
    assert_allclose(terms(both, unmoved)["response"], flux.square().mean(), rtol=1e-4)


def test_the_loss_needs_subsets_of_the_bands():
    assert preset("twelve").losses.response > 0
    with pytest.raises(ValueError, match=r"losses.response .* needs data.subsets; got .*=1.0"):
        load_config({"preset": "fidelity"}, {"losses.response": 1.0})
