# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Training of the uncertainty head and its calibration, against errors that are known."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from astropy.nddata import CCDData, StdDevUncertainty
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import RegularGridInterpolator

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.enhance.uncertainty import calibrate_std, table_of, uncertainty_of
from splus_srgan.evaluation.measure.uncertainty import SNR_EDGES, coverage
from splus_srgan.models.generator import SRResNet
from splus_srgan.models.weights import available, load_card, load_generator, save_weights
from splus_srgan.training import calibration_fit as _calibration_fit
from splus_srgan.training.calibration import calibrate, measure_coverage, train_head
from splus_srgan.training.calibration_fit import fit_table
from splus_srgan.training.coverage import coverage_misfit
from splus_srgan.training.data.dataset import render_pairs
from splus_srgan.training.data.subsets import subset_field

SCALES = {0.0: 0.02, 1.0: 0.2}
SMALL = {"n_features": 8, "n_blocks": 1, "n_tail_features": 8}


@pytest.fixture(autouse=True)
def few_pixels(monkeypatch):
    """Fields of the tests are small and simple."""
    monkeypatch.setattr(_calibration_fit, "_STEPS", 60)
    monkeypatch.setattr(_calibration_fit, "_PIXELS", 10_000)


def generator_of(n_bands=1, **options):
    torch.manual_seed(0)
    return SRResNet(n_bands, **{**SMALL, **options}).eval()


class Noisy:
    """Flat images; the target is the input with noise whose scale follows the brightness."""

    def __init__(self, kind):
        self.kind = kind

    def __getitem__(self, k):
        rng = np.random.default_rng(k)
        level = float(k % 2)
        draw = rng.laplace if self.kind == "laplace" else rng.normal
        noise = draw(0, SCALES[level], (1, 24, 24))
        parts = {"input": np.full((1, 12, 12), level), "target": level + noise}
        parts["weight"] = np.ones((1, 24, 24))
        return {name: torch.from_numpy(np.float32(value)) for name, value in parts.items()}


# The head


@pytest.mark.parametrize("kind", ["laplace", "gaussian"])
def test_the_head_finds_the_scale_at_each_brightness(kind):
    """A new generator gives flat images back as they are, so the noise is its error."""
    headed = train_head(generator_of(), Noisy(kind), kind=kind, steps=150, rate=0.02)
    assert headed.options["scale"] == kind
    for level, scale in SCALES.items():
        with torch.inference_mode():
            _, log_scale = headed.forward_with_scale(torch.full((1, 1, 12, 12), level))
        assert log_scale.mean().exp().item() == pytest.approx(scale, rel=0.15)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_trunk_stays_as_it_is(precision):
    """Normalisation and all."""
    generator = generator_of(norm="batch")
    torch.nn.init.normal_(generator.last.weight, std=0.05)
    headed = train_head(generator, Noisy("laplace"), steps=3, precision=precision)
    assert all(p.requires_grad for p in headed.parameters())
    state = headed.state_dict()
    for name, value in generator.state_dict().items():
        assert torch.equal(state[name], value), name
    image = torch.rand(1, 1, 9, 11)
    with torch.inference_mode():
        assert torch.equal(headed(image), generator(image))
    assert not headed.scale.last.weight.eq(0).all()


def test_a_head_of_the_same_kind_goes_on_and_another_starts_anew():
    first = train_head(generator_of(), Noisy("laplace"), steps=5)
    longer = train_head(first, Noisy("laplace"), steps=1, rate=1e-12)
    assert_allclose(longer.scale.last.weight.detach(), first.scale.last.weight.detach(), atol=1e-9)
    other = train_head(first, Noisy("gaussian"), kind="gaussian", steps=1, rate=1e-12)
    assert other.scale.last.weight.detach().abs().max() < 1e-9


def test_training_repeats_itself_and_stops_in_time():
    torch.manual_seed(1)
    one = train_head(generator_of(scale="laplace"), Noisy("laplace"), steps=3)
    torch.manual_seed(2)
    two = train_head(generator_of(scale="laplace"), Noisy("laplace"), steps=3)
    assert_array_equal(one.scale.last.weight.detach(), two.scale.last.weight.detach())
    seen = []

    def bar(steps):
        for step in steps:
            seen.append(step)
            yield step

    train_head(generator_of(), Noisy("laplace"), steps=10**6, minutes=1e-3, progress_bar=bar)
    assert 1 <= len(seen) < 10**4


def test_a_loss_that_is_not_finite_is_named():
    class Broken(Noisy):
        def __getitem__(self, k):
            return {**super().__getitem__(k), "target": torch.full((1, 24, 24), torch.nan)}

    with pytest.raises(FloatingPointError, match=r"the loss of the head is nan at step 0; give a"):
        train_head(generator_of(), Broken("laplace"), steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "cauchy"}, "kind must be one of 'laplace', 'gaussian'; got 'cauchy'"),
        ({"steps": 0}, "steps must be .*at least 1.*; got 0"),
        ({"precision": "bf16"}, "precision must be one of 'float32', 'bfloat16'; got 'bf16'"),
        ({"batch_size": 0}, "batch_size must be .*at least 1.*; got 0"),
        ({"minutes": -1.0}, "minutes must be .*; got -1.0"),
    ],
)
def test_wrong_options_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        train_head(generator_of(), Noisy("laplace"), **options)


# The misfit and the table


def hard_misfit(image, truth, std, noise):
    """Counted, with the intervals of `coverage`."""
    total = 0.0
    for ratio in (image / std, truth / noise):
        table = coverage(truth, image, std, signal_to_noise=ratio)
        for level, tolerated in ((68, 0.03), (95, 0.02)):
            off = (table[f"coverage_{level}"][table["count"] > 0] - level / 100) / tolerated
            total += np.sum(off**2 + off**4)
    return total


@pytest.mark.parametrize("stated", [0.7, 1.0, 1.4])
def test_misfit_with_sharp_steps_is_that_of_the_counts(stated):
    rng = np.random.default_rng(0)
    truth = rng.exponential(20, 100_000)
    image = truth + rng.normal(size=truth.shape)
    rows = [image, truth, np.full(truth.shape, stated), np.full(truth.shape, 2.0)]
    found = coverage_misfit(*map(torch.from_numpy, rows), softness=1e-4).item()
    assert found == pytest.approx(hard_misfit(*rows), rel=0.02, abs=0.05)


def test_misfit_has_a_gradient_towards_the_truth():
    rng = np.random.default_rng(0)
    image, truth = torch.from_numpy(rng.normal(size=20_000)), torch.zeros(20_000)
    for stated, sign in ((0.5, -1), (2.0, 1)):
        log_std = torch.tensor(np.log(stated), requires_grad=True)
        std = log_std.exp() * torch.ones_like(truth)
        coverage_misfit(image, truth, std, torch.ones_like(std), softness=0.2).backward()
        assert np.sign(log_std.grad.item()) == sign


def test_factors_are_interpolated_as_scipy_does_it():
    rng = np.random.default_rng(0)
    table = {
        "signal_to_noise": [-2.0, 0.0, 3.0, 50.0],
        "relative_noise": [0.02, 0.1, 1.0],
        "factor": rng.uniform(0.5, 2, (4, 3)).tolist(),
    }
    std = rng.lognormal(-2, 2, (2, 300, 17)).astype(np.float32)
    signal = (std * rng.normal(0, 30, std.shape)).astype(np.float32)
    sigma = np.array([1.0, 2.5])[:, None, None]
    axes = np.arcsinh(table["signal_to_noise"]), np.log(table["relative_noise"])
    # Rounding may put a value just outside, which older versions refuse.
    oracle = RegularGridInterpolator(
        axes, np.log(table["factor"]), bounds_error=False, fill_value=None
    )
    u = np.clip(np.arcsinh(signal / std), axes[0][0], axes[0][-1])
    v = np.clip(np.log(std / sigma), axes[1][0], axes[1][-1])
    wanted = std * np.exp(oracle((u, v)))
    assert_allclose(calibrate_std(std.copy(), signal, sigma, table), wanted, rtol=1e-4)


def test_factors_of_hostile_pixels_are_finite():
    table = {"signal_to_noise": [0.0, 1.0], "relative_noise": [0.1, 1.0], "factor": [[1, 2]] * 2}
    std = np.array([[[0.0, 1e-30, 1e30, 1.0]]], np.float32)
    signal = np.array([[[0.0, 1e30, -1e30, np.nan]]], np.float32)
    assert np.isfinite(calibrate_std(std, signal, 1.0, table)).all()


# Calibration of an enhancer


class Field:
    """All brightnesses, and truths that lie around them; the sky is 3 in each input pixel."""

    def __init__(self, seed, n=160):
        rng = np.random.default_rng(seed)
        flux = np.where(rng.random((2, n, n)) < 0.5, 0, rng.lognormal(0.5, 2, (2, n, n)))
        self.noise = np.sqrt(0.01 + flux / 50)
        truth = flux + self.noise * rng.normal(size=flux.shape)
        self.flux = dict(zip("gr", flux, strict=True))
        self.target = {b: CCDData(t, unit="adu") for b, t in zip("gr", truth, strict=True)}
        self.observed = self


class Enhancer:
    """What it states is wrong by a factor that depends on the brightness."""

    uncertainty = True

    def __init__(self, weights, table=None):
        self.weights, self.table = weights, table

    def __call__(self, field):
        made = {}
        for noise, (band, image) in zip(field.noise, field.flux.items(), strict=True):
            std = noise * (0.5 + 1 / (1 + image))
            if self.weights.uncertainty:
                table = self.weights.uncertainty["calibration"]
                std = calibrate_std(std[None].copy(), image[None], 0.25, table)[0]
            meta = {"SRSKY": 3.0, "SRSIGMA": 1.0}
            options = {"uncertainty": StdDevUncertainty(std), "flags": np.zeros(std.shape, int)}
            made[band] = CCDData(image + 0.75, unit="adu", meta=meta, **options)
            made[band].uncertainty.array[:2] = np.inf
            made[band].flags[2:4] = 4
            made[band].data[2:4] += 1e6
        return made


@pytest.fixture(scope="module")
def card():
    card = load_card("splus-grz")
    return dataclasses.replace(
        card, generator=card.generator | {"scale": "laplace"}, uncertainty={}
    )


def test_calibration_makes_wrong_deviations_true_on_other_fields(card, monkeypatch):
    monkeypatch.setattr(_calibration_fit, "_STEPS", 200)
    monkeypatch.setattr(_calibration_fit, "_PIXELS", 40_000)
    before = measure_coverage(Enhancer(card), [Field(k) for k in range(10, 14)])
    assert abs(before["coverage_68"] - 0.68).max() > 0.1
    uncertainty = calibrate(Enhancer(card), [Field(k) for k in range(6)])
    assert uncertainty["kind"] == "laplace"
    json.dumps(uncertainty)
    calibrated = Enhancer(dataclasses.replace(card, uncertainty=uncertainty))
    after = measure_coverage(calibrated, [Field(k) for k in range(10, 14)])
    number = len(SNR_EDGES) - 1
    assert list(after["band"]) == 2 * number * ["g"] + 2 * number * ["r"] + 2 * number * ["all"]
    assert list(after["by"]) == 3 * (number * ["truth"] + number * ["image"])
    assert_allclose(after["coverage_68"], 0.68, atol=0.03)
    assert_allclose(after["coverage_95"], 0.95, atol=0.02)
    # Rows without remarks: 156 of 160.
    assert after["count"][-5:].sum() == 4 * 2 * 156 * 160


def test_the_correlation_of_drawn_errors_is_found(card):
    class Correlated(Field):
        def __init__(self, seed):
            super().__init__(seed)
            common, own = np.random.default_rng(seed).normal(size=(2, *self.noise.shape))
            flux, self.noise = self.flux["g"], np.stack([self.noise[0]] * 2)
            self.flux = dict.fromkeys("gr", flux)
            truth = flux + self.noise * (np.sqrt(0.4) * common[:1] + np.sqrt(0.6) * own)
            self.target = {b: CCDData(t, unit="adu") for b, t in zip("gr", truth, strict=True)}

    uncertainty = calibrate(Enhancer(card), [Correlated(k) for k in range(5)])
    assert uncertainty["correlation"]["g"]["r"] == pytest.approx(0.4, abs=0.03)


def test_calibrating_twice_is_calibrating_once(card):
    fields = [Field(0), Field(1)]
    once = calibrate(Enhancer(card), fields)
    again = calibrate(Enhancer(dataclasses.replace(card, uncertainty=once)), fields)
    assert again == once


def test_few_bands_have_a_calibration_of_their_own():
    """The fewer bands there are, the larger these errors are than what is stated."""
    subsets = load_card("splus")
    subsets = dataclasses.replace(subsets, uncertainty={"few": {"most": 5, "ensemble": {}}})
    seen = []

    class Twelve:
        def __init__(self, seed):
            rng = np.random.default_rng(seed)
            draws = rng.normal(size=(2, len(subsets.bands), 40, 40))
            self.observed, self.target = (dict(zip(subsets.bands, d, strict=True)) for d in draws)
            self.target = {b: CCDData(100 + t, unit="adu") for b, t in self.target.items()}

    class Worse(Enhancer):
        def __call__(self, observed):
            seen.append(list(observed))
            meta, zeros = {"SRSKY": 0.0, "SRSIGMA": 1.0}, np.zeros((40, 40))
            options = {"meta": meta, "flags": zeros.astype(int), "unit": "adu"}
            std = zeros + (1 if len(observed) > 5 else 0.5)
            return {
                band: CCDData(zeros + 100, uncertainty=StdDevUncertainty(std), **options)
                for band in observed
            }

    uncertainty = calibrate(Worse(subsets), [Twelve(k) for k in range(4)])
    whole = [bands for bands in seen if len(bands) == len(subsets.bands)]
    parts = [bands for bands in seen if len(bands) < len(subsets.bands)]
    assert len(whole) == 4
    assert max(map(len, parts)) <= 5
    assert sorted(band for part in parts for band in part) == sorted(4 * subsets.bands)
    few = uncertainty_of(uncertainty, 5)
    assert set(uncertainty["few"]) == {"most", "calibration", "ensemble", "correlation"}
    assert uncertainty_of(uncertainty, 6) is uncertainty
    for band in ("r", "J0660"):
        factors = (table_of(one["calibration"], band)["factor"] for one in (few, uncertainty))
        ratio = np.divide(*map(np.mean, factors))
        assert ratio == pytest.approx(2, rel=0.1)
    assert json.loads(json.dumps(uncertainty)) == uncertainty


def test_the_ensemble_has_a_table_of_its_own(card):
    enhancer = Enhancer(dataclasses.replace(card, uncertainty={"kind": "laplace"}))
    enhancer.uncertainty = "ensemble"
    uncertainty = calibrate(enhancer, [Field(0)])
    assert set(uncertainty) == {"kind", "ensemble"}
    enhancer.uncertainty, enhancer.weights = (
        True,
        dataclasses.replace(card, uncertainty=uncertainty),
    )
    both = calibrate(enhancer, [Field(0)])
    assert set(both) == {"kind", "calibration", "ensemble", "correlation"}
    assert both["ensemble"] == uncertainty["ensemble"]


def test_what_cannot_be_calibrated_is_refused(card):
    with pytest.raises(ValueError, match=r"enhancer must give what is to be calibrated: .*False"):
        calibrate(SRGANEnhancer("splus-grz"), [])
    with pytest.raises(ValueError, match=r"enhancer must give what is to be calibrated: .*False"):
        measure_coverage(SRGANEnhancer("splus-grz"), [])
    with pytest.raises(ValueError, match=r"enhancer must have weights of its own .*'auto'"):
        calibrate(SRGANEnhancer(uncertainty="ensemble"), [])
    with pytest.raises(ValueError, match="fields must hold at least 1000 good pixels; got 0"):
        calibrate(Enhancer(card), [])


def test_narrow_distributions_of_noise_still_have_knots():
    ones = np.ones(5000, np.float32)
    table = fit_table(0 * ones, ones, 0 * ones, ones)
    assert (np.diff(table["relative_noise"]) > 0).all()
    assert np.isfinite(table["factor"]).all()


# From a model card to a model card


def test_one_command_makes_a_card_with_uncertainties(tmp_path, capsys, monkeypatch):
    from splus_srgan.cli.main import main

    entries = load_card("splus-grz").to_dict() | {"name": "tiny", "bands": ["any"]}
    for worked_out in ("file", "sha256", "generator", "uncertainty"):
        del entries[worked_out]
    tiny = generator_of()
    save_weights(tiny, tmp_path / "old", **entries)
    render_pairs(tmp_path / "pairs", 2, shape=(32, 32), bands=("g", "r"))
    small = {"shape": (48, 48), "bands": ("g", "r")}
    monkeypatch.setattr(
        "splus_srgan.simulate.field.simulate_field",
        lambda seed, **keys: simulate_field(seed, **keys | small),
    )
    new = tmp_path / "new"
    options = ["--steps", "3", "--crop", "24", "--fields", "2", "--test", "1", "--ensemble"]
    names = ["--version", "2", "-o", str(new)]
    folders = [str(tmp_path / "old"), str(tmp_path / "pairs")]
    assert main(["calibrate", *folders, *options, *names]) == 0
    said = capsys.readouterr().out
    assert "uncertainty=True" in said
    assert "uncertainty='ensemble'" in said
    assert "all truth over sky noise    30 to   inf:" in said
    assert "all           S/N stated    30 to   inf:" in said
    assert said.strip().endswith("tiny.json")
    card = load_card(new)
    assert (card.name, card.version, card.generator["scale"]) == ("tiny", "2", "laplace")
    assert set(card.uncertainty) == {"kind", "calibration", "ensemble", "correlation"}
    assert set(card.scores["coverage_ensemble"]) == set(card.scores["coverage"])
    assert len(card.scores["coverage"]["S/N stated -inf to 1"]) == 2
    assert card.training["uncertainty"]["calibration"] == "2 fields of seeds (2, k)"
    state = load_generator(card).state_dict()
    assert all(torch.equal(state[name], value) for name, value in tiny.state_dict().items())
    field = simulate_field(5, **small).observed
    made = SRGANEnhancer(new, uncertainty=True)(field, sky=0.0)
    plain = SRGANEnhancer(tmp_path / "old")(field, sky=0.0)
    assert (made["r"].uncertainty.array > 0).all()
    assert_array_equal(made["r"].data, plain["r"].data)
    # What is there is replaced only where that is asked for.
    before = card.path.read_bytes()
    again = ["calibrate", str(new), "--minutes", "0", "--fields", "2", "-o", str(new)]
    assert main(again) == 1
    assert "exists" in capsys.readouterr().err
    assert card.path.read_bytes() == before
    assert main([*again, "--version", "3", "--overwrite"]) == 0
    again = load_card(new)
    assert again.version == "3"
    assert again.uncertainty["ensemble"] == card.uncertainty["ensemble"]  # of the same image


def test_pairs_are_asked_for(tmp_path, capsys):
    from splus_srgan.cli.main import main

    assert main(["calibrate", "splus-grz", "-o", str(tmp_path)]) == 2
    assert "calibrate needs at least one folder of pairs" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", available())
def test_shipped_uncertainties_cover_what_they_say(name):
    """Fields that neither training nor calibration has seen."""
    if not load_card(name).uncertainty:
        pytest.skip(f"{name} predicts no uncertainty")
    stated = dict(load_card(name).scores["coverage"])
    number = int(stated.pop("measured_on").split()[0])
    card = load_card(name)
    bands = card.bands if card.takes_subsets else ("g", "r", "z")
    fields = (subset_field(card, (3, k), shape=(128, 128), bands=bands) for k in range(number))
    table = measure_coverage(SRGANEnhancer(name, uncertainty=True), fields)
    pooled, shares = table[table["band"] == "all"], np.array(list(stated.values()))
    assert_allclose(pooled["coverage_68"], shares[:, 0], atol=0.01)
    assert_allclose(pooled["coverage_95"], shares[:, 1], atol=0.01)
    assert_allclose(shares[:, 0], 0.68, atol=0.08 if card.takes_subsets else 0.05)
    assert_allclose(shares[:, 1], 0.95, atol=0.05)


@pytest.mark.parametrize("name", available())
def test_cards_state_uncertainties_that_cover_what_they_say(name):
    card = load_card(name)
    stated = card.scores["coverage"]
    by_truth, by_image = (
        np.array([shares for words, shares in stated.items() if words.startswith(what)])
        for what in ("truth over sky noise", "S/N stated")
    )
    assert len(by_truth) == len(by_image) == len(SNR_EDGES) - 1
    # Sets of one to five bands, whose errors differ, share the calibration of a band.
    near, far, dark = (0.045, 0.03, 0.08) if card.takes_subsets else (0.035, 0.03, 0.05)
    assert_allclose(by_truth[:, 0], 0.68, atol=near)
    assert_allclose(by_truth[:, 1], 0.95, atol=far)
    # The rare pixel that hides a source, where the image is dark, and the many that do not: no
    # one deviation fits both.
    assert_allclose(by_image[0], [0.68, 0.95], atol=dark)
    assert_allclose(by_image[1:, 0], 0.68, atol=near)
    assert_allclose(by_image[1:, 1], 0.95, atol=far)
