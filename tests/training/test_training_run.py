# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Whole runs: what they leave, how they stop and go on, and what goes wrong."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest
import torch
import yaml
from astropy.coordinates import SkyCoord
from astropy.table import Table
from numpy.testing import assert_allclose, assert_array_equal
from pair_helpers import as_matched, simulated
from skimage.io import imread

pytest.importorskip("lightning")

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.exceptions import WeightsError
from splus_srgan.models.weights import load_card, load_generator
from splus_srgan.pairs.folder.pairs import PairFolder
from splus_srgan.pairs.quality.pair import BandQuality, PairReport
from splus_srgan.training import callbacks
from splus_srgan.training.callbacks import (
    Checkpoints,
    StopSignals,
    TrainingInterrupted,
    draw_panels,
)
from splus_srgan.training.checkpoints import AtomicCheckpointIO, read_checkpoint
from splus_srgan.training.config.training import load_config
from splus_srgan.training.data.dataset import render_pairs
from splus_srgan.training.export import export_weights, load_average
from splus_srgan.training.history import History, read_history
from splus_srgan.training.module import SRGANModule
from splus_srgan.training.run import resumed_config, train
from splus_srgan.training.run_folder import prepare_folder
from splus_srgan.training.terms import GeneratorTerms
from splus_srgan.utils import files

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 4  # per epoch


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Folder of simulated validation fields that all runs share."""
    return tmp_path_factory.mktemp("kept")


def make_config(rendered, kept, folder, **overrides):
    """A configuration of a tiny run."""
    content = {
        "preset": "fidelity",
        "name": "tiny",
        "generator.n_features": 4,
        "generator.n_blocks": 1,
        "generator.n_tail_features": 4,
        "generator.dilations": [],
        "optimizer.name": "adam",
        "optimizer.warm_up_steps": 2,
        "data.source": str(rendered),
        "data.bands": ["g", "r"],
        "data.shape": [32, 32],
        "data.crop": 24,
        "data.batch_size": 2,
        "data.n_validation": 1,
        "data.cache": str(kept),
        "run.output": str(folder),
        "run.epochs": 2,
        "run.steps_per_epoch": STEPS,
        "run.validate_every": 1,
        "run.precision": "float32",
        "run.accelerator": "cpu",
        "run.progress_bar": False,
    }
    return load_config(content | overrides)


@pytest.fixture
def tiny(rendered, kept, tmp_path):
    """Make configurations of runs in folders of this test."""

    def make(output="run", **overrides):
        return make_config(rendered, kept, tmp_path / output, **overrides)

    return make


ADVERSARIAL = {
    "losses.adversarial": 0.01,
    "losses.feature_matching": 0.1,
    "discriminator.n_features": 2,
    "run.pretrain_epochs": 1,
    "run.ramp_epochs": 1,
}


def at_step(monkeypatch, step, action):
    """Do something at the end of a step, within it."""
    original = SRGANModule.training_step

    def training_step(self, batch, batch_idx):
        result = original(self, batch, batch_idx)
        if self.step == step:
            action()
        return result

    monkeypatch.setattr(SRGANModule, "training_step", training_step)


def send(number):
    return lambda: os.kill(os.getpid(), number)


def stop_at(monkeypatch, config, step, number=signal.SIGINT):
    """Run until a signal comes at a step; give the message."""
    with monkeypatch.context() as patch:
        at_step(patch, step, send(number))
        with pytest.raises(TrainingInterrupted) as caught:
            train(config)
    return str(caught.value)


def assert_same_state(one, other):
    """Compare weights and optimizers of two checkpoints, bit by bit."""
    one, other = (read_checkpoint(path) for path in (one, other))
    for key in ("state_dict", "optimizer_states"):
        found, wanted = (_tensors(content[key]) for content in (one, other))
        assert found.keys() == wanted.keys()
        assert len(found) > 10
        for name, value in wanted.items():
            assert torch.equal(found[name], value), name
    assert one["splus_srgan"]["step"] == other["splus_srgan"]["step"]


def _tensors(content, prefix=""):
    if isinstance(content, torch.Tensor):
        return {prefix: content}
    if isinstance(content, dict):
        content = content.items()
    elif isinstance(content, list | tuple):
        content = enumerate(content)
    else:
        return {}
    found = {}
    for key, value in content:
        found |= _tensors(value, f"{prefix}.{key}")
    return found


# What a run leaves


@pytest.fixture(scope="module")
def finished(rendered, kept, tmp_path_factory):
    """One tiny run, and its configuration."""
    config = make_config(rendered, kept, tmp_path_factory.mktemp("finished"))
    return train(config), config


def test_run_leaves_everything(finished):
    result, config = finished
    folder = result.folder
    assert load_config(folder / "config.yaml") == config
    versions = json.loads((folder / "versions.json").read_text())
    assert versions["torch"] == version("torch")
    assert sorted(p.name for p in (folder / "checkpoints").iterdir()) == ["best.ckpt", "last.ckpt"]
    assert result.best == folder / "checkpoints" / "best.ckpt"
    assert result.last == folder / "checkpoints" / "last.ckpt"
    assert result.step == 2 * STEPS
    assert result.card == folder / "weights" / "tiny.json"
    assert not list(folder.rglob("*.part"))


def test_history_has_losses_of_every_step_and_scores_of_every_validation(finished):
    result, _ = finished
    history = result.history
    assert list(history["step"]) == list(range(1, 2 * STEPS + 1))
    assert list(history["epoch"]) == [0] * STEPS + [1] * STEPS
    assert_allclose(
        history["loss/total"],
        # The weight of the flux grows from 1 to 4 times itself.
        2 * history["loss/pixel"]
        + 0.03 * (1 + 3 * np.arange(2 * STEPS) / (2 * STEPS)) * history["loss/flux"],
        rtol=1e-5,
    )
    scored = history[~history["score"].mask]
    assert list(scored["step"]) == [STEPS, 2 * STEPS]
    assert_allclose(result.best_score, max(scored["score"]), atol=1e-4)
    assert np.isfinite(scored["val/psnr"]).all()
    assert np.isfinite(scored["val/ssim"]).all()


def test_tensorboard_has_losses_and_a_picture(finished):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    result, _ = finished
    events = accumulator.EventAccumulator(str(result.folder / "tensorboard")).Reload()
    assert {"loss/pixel", "loss/flux", "score"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Images("pictures")] == [STEPS, 2 * STEPS]
    values = [event.value for event in events.Scalars("loss/pixel")]
    assert_allclose(values, result.history["loss/pixel"], rtol=1e-5)


def test_pictures_show_input_generated_and_target(finished):
    result, _ = finished
    pictures = sorted((result.folder / "pictures").iterdir())
    assert [path.name for path in pictures] == ["epoch_0001.png", "epoch_0002.png"]
    assert imread(pictures[0]).shape == (64, 3 * 64 + 2 * 4, 3)


@pytest.mark.filterwarnings("ignore::splus_srgan.exceptions.NoSkyWarning")
def test_exported_weights_enhance(finished):
    result, config = finished
    field = simulate_field((2, 5), shape=(40, 36), bands=("g", "r"))
    sharp = SRGANEnhancer(result.card, precision="float32")(field.observed)
    assert sharp["r"].shape == (80, 72)
    assert np.isfinite(sharp["g"].data).all()
    card = load_card(result.card)
    assert (card.name, card.bands, card.flux_anchor) == ("tiny", ["g", "r"], 1.0)
    assert card.target_psf == {"profile": "Moffat", "fwhm": 1.0, "beta": 3.0}
    assert card.training["stages"][-1]["steps"] in (STEPS, 2 * STEPS)
    assert_allclose(card.scores["score"], result.best_score)
    # Nothing of this machine goes out with the weights.
    assert str(result.folder.parent) not in result.card.read_text()
    assert config.data.source not in result.card.read_text()


def test_exported_weights_are_the_average(finished):
    result, _ = finished
    state = read_checkpoint(result.best)["state_dict"]
    exported = load_generator(result.card).state_dict()
    for name, value in load_average(result.best).state_dict().items():
        assert torch.equal(value, state[f"average.{name}"])
        assert torch.equal(value, exported[name])
    assert not torch.equal(state["average.first.0.weight"], state["generator.first.0.weight"])


def test_export_takes_other_names(finished, tmp_path):
    result, _ = finished
    card = export_weights(
        result.last, tmp_path, name="mine", version="3", flux_anchor=0.5, scores={"x": 1}
    )
    assert (card.name, card.version, card.flux_anchor, card.scores) == ("mine", "3", 0.5, {"x": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]


def test_checkpoints_hold_no_code(finished):
    result, _ = finished
    content = torch.load(result.last, weights_only=True)
    assert content["splus_srgan"]["step"] == 2 * STEPS


def test_a_run_of_the_seed_space_is_exported_and_not_enhanced_with(tiny):
    config = tiny(
        **{
            "data.space": "seed",
            "losses.flux": 0.0,
            "run.epochs": 1,
            "data.augmentation": "none",
        }
    )
    result = train(config)
    assert load_generator(result.card)(torch.zeros(1, 2, 8, 8)).shape == (1, 2, 16, 16)
    field = simulate_field((2, 5), shape=(32, 32), bands=("g", "r"))
    with pytest.raises(WeightsError, match="'tiny' were trained in the seed paper's space"):
        SRGANEnhancer(result.card)(field.observed)


def test_the_calibration_goes_into_the_card(tiny, monkeypatch):
    seen = []
    table = {
        "signal_to_noise": [0.0, 9.0],
        "relative_noise": [0.1, 1.0],
        "factor": [[1.0, 2.0]] * 2,
    }

    def calibrate(enhancer, fields, **options):
        seen.append((enhancer.uncertainty, [field.observed["g"].shape for field in fields]))
        return {"kind": "laplace", "calibration": table}

    monkeypatch.setattr("splus_srgan.training.run.CALIBRATION_FIELDS", 2)
    monkeypatch.setattr("splus_srgan.training.export.calibrate", calibrate)
    result = train(tiny(**{"generator.scale": "laplace", "losses.nll": 0.1, "run.epochs": 1}))
    assert seen == [(True, [(32, 32)] * 2)]
    assert load_card(result.card).uncertainty["calibration"] == table
    assert "loss/nll" in result.history.colnames
    load_generator(result.card)


@pytest.mark.slow
def test_a_predicted_scale_is_calibrated(tiny, monkeypatch):
    """At the end of the run, on simulated fields, for uncertainties that are ready for use."""
    monkeypatch.setattr("splus_srgan.training.run.CALIBRATION_FIELDS", 2)
    config = tiny(**{"generator.scale": "laplace", "losses.nll": 0.1, "run.epochs": 1})
    result = train(config)
    card = load_card(result.card)
    assert card.uncertainty["kind"] == "laplace"
    assert card.uncertainty["calibration"]
    field = simulate_field((3, 1), shape=(32, 32), bands=("g", "r"))
    sharp = SRGANEnhancer(card, uncertainty=True)(field.observed, sky=0.0)
    assert (sharp["g"].uncertainty.array > 0).all()


@pytest.mark.parametrize(("options", "chosen"), [({}, "best"), (ADVERSARIAL, "last")])
def test_with_a_discriminator_the_last_weights_count(tiny, monkeypatch, options, chosen):
    """Its score is best before the discriminator enters."""
    scores = iter([40.0, 30.0, 20.0])
    monkeypatch.setattr("splus_srgan.training.module.flux_aware_score", lambda *_: next(scores))
    result = train(tiny(**options))
    states = {
        name: read_checkpoint(getattr(result, name))["state_dict"] for name in ("best", "last")
    }
    assert not torch.equal(*(state["average.last.weight"] for state in states.values()))
    wanted = states[chosen]["average.last.weight"]
    assert torch.equal(load_generator(result.card).state_dict()["last.weight"], wanted)
    other = tiny("other", **options, **{"run.start_from": str(result.folder)})
    module = SRGANModule(other)
    module.start_from(result.folder)
    assert torch.equal(module.average.last.weight, wanted)


def test_without_validation_the_last_weights_are_exported(tiny):
    result = train(tiny(**{"data.n_validation": 0, "run.epochs": 1}))
    assert result.best is None
    assert result.best_score is None
    state = read_checkpoint(result.last)["state_dict"]
    exported = load_generator(result.card).state_dict()
    assert torch.equal(exported["last.weight"], state["average.last.weight"])


# Stop and go on


def test_a_stopped_run_goes_on_as_if_never_stopped(tiny, monkeypatch):
    """20 more steps after a stop in the middle of the first epoch, with a discriminator."""
    overrides = ADVERSARIAL | {"run.epochs": 6}
    whole = train(tiny("whole", **overrides))
    config = tiny("parts", **overrides)
    message = stop_at(monkeypatch, config, 3)
    folder = config.run.output
    assert message == f"stopped at step 3; resume with: splus-srgan train --resume {folder}"
    resumed = train(resume=folder)
    assert resumed.step == whole.step == 6 * STEPS
    assert_same_state(resumed.last, whole.last)
    assert_same_state(resumed.best, whole.best)
    assert resumed.best_score == whole.best_score
    one, other = (np.array(r.history["loss/total"]) for r in (resumed, whole))
    assert_array_equal(one, other)
    assert "loss/discriminator" in resumed.history.colnames


def test_a_run_goes_on_from_its_best_checkpoint(tiny, monkeypatch):
    """Which is written in the middle of a validation."""
    scores = iter([30.0, 20.0, 40.0])
    monkeypatch.setattr("splus_srgan.training.module.flux_aware_score", lambda *_: next(scores))
    whole = train(tiny("whole"))
    assert read_checkpoint(whole.best)["splus_srgan"]["step"] == STEPS
    again = train(tiny("again"), resume=whole.best)
    assert_same_state(again.last, whole.last)
    assert again.best_score == 40.0
    assert again.best.is_file()


def test_a_terminated_run_goes_on(tiny, monkeypatch):
    config = tiny()
    assert "stopped at step 3" in stop_at(monkeypatch, config, 3, signal.SIGTERM)
    assert train(resume=config.run.output).step == 2 * STEPS


def test_stop_after_the_last_step_of_an_epoch_waits_for_its_validation(tiny, monkeypatch):
    config = tiny()
    assert "stopped at step 4" in stop_at(monkeypatch, config, STEPS)
    history = read_history(f"{config.run.output}/metrics.csv")
    assert np.isfinite(history["score"][-1])
    assert train(resume=config.run.output).step == 2 * STEPS


def test_the_time_can_be_over(tiny, monkeypatch):
    """A run that ends by time is validated and exported, and goes on exactly."""
    whole = train(tiny("whole", **{"run.validate_every": 2}))
    config = tiny("timed", **{"run.max_minutes": 60.0, "run.validate_every": 2})
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: patch.setattr(Checkpoints, "_time_is_over", lambda self: True))
        timed = train(config)
    assert timed.step == 3
    assert timed.card.is_file()
    assert np.isfinite(timed.best_score)
    assert_same_state(train(resume=timed.folder).last, whole.last)


def test_early_stop(tiny, monkeypatch):
    """The score falls from the first validation on."""
    scores = iter([30.0, 20.0, 25.0, 28.0])
    monkeypatch.setattr("splus_srgan.training.module.flux_aware_score", lambda *_: next(scores))
    result = train(tiny(**{"run.patience": 2, "run.epochs": 9}))
    assert result.step == 3 * STEPS
    assert result.best_score == 30.0
    assert read_checkpoint(result.best)["splus_srgan"]["step"] == STEPS


def test_second_interrupt_stops_at_once():
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with StopSignals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_another_folder_takes_the_run_over(tiny, monkeypatch, tmp_path):
    config = tiny("first")
    stop_at(monkeypatch, config, 3)
    other = tmp_path / "second"
    result = train(resumed_config(config.run.output, {"run.output": str(other)}),
                   resume=config.run.output)  # fmt: skip
    assert result.folder == other
    assert result.step == 2 * STEPS
    assert result.best == other / "checkpoints" / "best.ckpt"
    step = read_checkpoint(f"{config.run.output}/checkpoints/last.ckpt")["splus_srgan"]["step"]
    assert step == 3


def test_a_finished_run_has_nothing_to_go_on_with(tiny):
    result = train(tiny(**{"run.epochs": 1}))
    again = train(resume=result.folder)
    assert (again.step, again.best_score) == (result.step, result.best_score)
    assert_same_state(again.last, result.last)
    assert len(again.history) == STEPS
    longer = resumed_config(result.folder, {"run.epochs": 2})
    assert train(longer, resume=result.folder).step == 2 * STEPS


def test_keys_alone_change_the_run_that_goes_on(tiny, tmp_path):
    """Neither those of a preset nor the usual folder take the place of what the run has."""
    result = train(tiny(**{"run.epochs": 1}))
    longer = train({"run": {"epochs": 2}}, resume=result.folder)
    assert (longer.folder, longer.step) == (result.folder, 2 * STEPS)
    file = tmp_path / "more.yaml"
    file.write_text(f"run: {{epochs: 3, output: {tmp_path / 'other'}}}\n")
    longest = train(file, resume=result.folder)
    assert (longest.folder, longest.step) == (tmp_path / "other", 3 * STEPS)


def test_a_preset_stands_for_all_keys_but_the_folder(tiny, tmp_path):
    result = train(tiny(**{"run.epochs": 1}))
    keys = yaml.safe_load((result.folder / "config.yaml").read_text())
    del keys["run"]["output"]
    assert train(keys | {"preset": "fidelity"}, resume=result.folder).folder == result.folder
    with pytest.raises(ValueError, match=r"must stay the same: .*generator.n_features was 4, now"):
        train({"preset": "fidelity"}, resume=result.folder)


def test_what_was_logged_after_the_checkpoint_is_forgotten(tiny, tmp_path):
    """A run that was killed logged more than its checkpoint knows of."""
    result = train(tiny(**{"run.epochs": 1}))
    table = Table.read(result.folder / "metrics.csv", format="ascii.csv")
    table.add_row(table[-1])
    table["step"][-1], table["loss/pixel"][-1] = STEPS + 1, 1e9
    table.write(result.folder / "metrics.csv", format="ascii.csv", overwrite=True)
    again = train(tiny(**{"run.epochs": 2}), resume=result.folder)
    assert list(again.history["step"]) == list(range(1, 2 * STEPS + 1))
    assert max(again.history["loss/pixel"]) < 1e3


def test_history_is_one_table(tmp_path):
    """New columns, values that come late, a line that is cut, and a run that goes on."""
    path = tmp_path / "metrics.csv"
    history = History(path)
    for step in range(3):
        history.log_metrics({"epoch": 0, "a": step / 7}, step)
    history.save()
    history.log_metrics({"b": torch.tensor(0.5)}, 2)
    history.log_metrics({"epoch": 1, "a": 1.0}, 3)
    history.finalize("success")
    with path.open("a") as file:
        file.write("5,1,0.3")
    found = read_history(path)[:4]
    assert found.colnames == ["step", "epoch", "a", "b"]
    again = History(path, step=3)
    again.log_metrics({"epoch": 1, "a": 9.0}, 3)
    again.save()
    found = read_history(path)
    assert list(found["step"]) == [1, 2, 3, 4]
    assert_array_equal(found["a"], [0, 1 / 7, 2 / 7, 9.0])
    assert list(found["b"].mask) == [True, True, False, True]
    assert found["epoch"].dtype.kind == "i"


# What goes wrong


def test_nothing_to_do():
    with pytest.raises(ValueError, match="train needs a configuration, or resume="):
        train()


def test_another_run_is_not_replaced(finished, tiny):
    result, config = finished
    before = result.last.read_bytes()
    with pytest.raises(FileExistsError, match="holds another run: resume it") as caught:
        train(config)
    assert f"--resume {result.folder}" in str(caught.value)
    assert result.last.read_bytes() == before


@pytest.fixture
def moved(finished, tiny, tmp_path):
    """A copy of a finished run, and a configuration of another in its place."""
    shutil.copytree(finished[0].folder, tmp_path / "run")
    return tmp_path / "run", tiny


def content_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_weights_without_checkpoints_are_not_replaced(moved):
    folder, tiny = moved
    shutil.rmtree(folder / "checkpoints")
    before = content_of(folder)
    with pytest.raises(FileExistsError, match=r"holds the weights of another run.*--overwrite"):
        train(tiny())
    assert content_of(folder) == before
    prepare_folder(folder, tiny(), in_place=False, overwrite=True)
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "versions.json"]


@pytest.mark.parametrize("place", ["", "checkpoints/best.ckpt", "weights/tiny.json"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_run_does_not_start_from_what_it_replaces(moved, tmp_path, place, overwrite):
    folder, tiny = moved
    before = content_of(folder)
    (tmp_path / "link").symlink_to(folder)
    for start in (folder, tmp_path / "link"):
        for given in (str(start / place), ["splus-any", str(start / place)]):
            config = tiny(**{"run.start_from": given})
            with pytest.raises(ValueError, match=r"start_from must not lie in run.output") as told:
                train(config, overwrite=overwrite)
            assert str(start / place) in str(told.value)
            assert content_of(folder) == before


def test_a_run_starts_from_another_or_goes_on_in_its_folder(moved, tmp_path):
    folder, tiny = moved
    beside = tmp_path / "run-2"
    config = tiny("run-2", **{"run.start_from": str(folder)})
    prepare_folder(beside, config, in_place=False, overwrite=False)
    assert load_config(beside / "config.yaml") == config
    # Names of weights are no places.
    config = tiny(**{"run.start_from": "splus-any"})
    prepare_folder(folder, config, in_place=False, overwrite=True)
    prepare_folder(folder, tiny(**{"run.start_from": str(folder)}), in_place=True, overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    "thing",
    [
        "weights/notes.txt",
        "pictures/mine.png",
        "checkpoints/old/best.ckpt",
        "tensorboard/x",
        "link",
    ],
)
def test_what_no_run_has_written_is_not_removed(tiny, tmp_path, thing, overwrite):
    config, folder = tiny(), tmp_path / "run"
    prepare_folder(folder, config, in_place=False, overwrite=False)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "x").write_text("precious")
    if thing == "link":
        thing = "weights"
        (folder / thing).symlink_to(tmp_path / "elsewhere")
    else:
        (folder / thing).parent.mkdir(parents=True)
        (folder / thing).write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(FileExistsError, match=r"which no run has written|holds the weig"):
        prepare_folder(folder, config, in_place=False, overwrite=overwrite)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.name != "posix", reason="pipes are of POSIX")
def test_a_pipe_is_no_record_of_a_run(tiny, tmp_path):
    os.mkfifo(tmp_path / "versions.json")
    with pytest.raises(FileExistsError, match=r"holds versions\.json, which is no run's"):
        prepare_folder(tmp_path, tiny(), in_place=False, overwrite=True)


def test_another_run_is_replaced_when_asked_to(tiny):
    train(tiny(**{"run.epochs": 1}))
    result = train(tiny(**{"run.epochs": 1, "run.seed": 1}), overwrite=True)
    assert len(result.history) == STEPS
    assert load_config(result.folder / "config.yaml").run.seed == 1


def test_output_may_be_no_file(tiny, tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(NotADirectoryError, match=r"run.output must be a folder; .* is a file"):
        train(tiny())


def test_what_is_no_run_is_never_removed(tiny, tmp_path):
    mine = tmp_path / "run" / "weights" / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(FileExistsError, match="holds weights, which is no run's"):
        train(tiny(), overwrite=True)
    assert mine.read_text() == "mine"


def test_other_recipes_are_refused_by_name(finished, tiny):
    result, config = finished
    other = load_config(config.to_dict(), {"data.crop": 16, "optimizer.rate": 1.0})
    with pytest.raises(ValueError, match="the configuration must stay the same") as caught:
        train(other, resume=result.folder)
    assert "optimizer.rate was 0.0004, now 1.0" in str(caught.value)
    assert "data.crop was 24, now 16" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (None, FileNotFoundError, "resume must name a checkpoint or the folder of a run"),
        (b"not at all", ValueError, "is damaged or not a checkpoint"),
        ({"a": 1}, ValueError, "was not written by splus_srgan"),
        ("no hash", ValueError, "does not end with the hash that splus_srgan writes"),
        ("bit", ValueError, "do not have the hash that they were written with"),
        ("half", ValueError, "is damaged or not a checkpoint"),
    ],
)
def test_bad_checkpoints(finished, tmp_path, content, error, message):
    path = tmp_path / "x.ckpt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        AtomicCheckpointIO().save_checkpoint(content, path)
    elif content == "no hash":
        torch.save({"a": 1}, path)
    elif content == "bit":
        whole = bytearray(finished[0].last.read_bytes())
        whole[len(whole) // 3] ^= 4
        path.write_bytes(whole)
    elif content == "half":
        whole = finished[0].last.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(error, match=message):
        train(resume=path)


def test_a_folder_without_checkpoint_cannot_go_on(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no checkpoint .* start without --resume"):
        train(resume=tmp_path)


def test_a_full_disk_leaves_the_last_good_checkpoint(tiny, monkeypatch):
    config = tiny()
    to_disk, calls = files._to_disk, []

    def full(path):
        calls.extend([path] if path.suffix == ".ckpt" else [])
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        to_disk(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "_to_disk", full)
        with pytest.raises(
            OSError, match=r"could not be written: No space left on device"
        ) as caught:
            train(config)
    assert "The one before it is complete: make room, and resume with --resume" in str(caught.value)
    folder = f"{config.run.output}/checkpoints"
    assert sorted(os.listdir(folder)) == ["best.ckpt", "last.ckpt"]
    assert read_checkpoint(f"{folder}/last.ckpt")["splus_srgan"]["step"] == STEPS
    assert train(resume=config.run.output).step == 2 * STEPS


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(tiny, monkeypatch):
    config = tiny()
    original = GeneratorTerms.__call__

    def terms(self, batch, *args, **kwargs):
        found = original(self, batch, *args, **kwargs)
        if int(batch["index"][0]) >= 6 * 2:  # step 6
            found["flux"] = found["flux"] * torch.nan
        return found

    with monkeypatch.context() as patch:
        patch.setattr(GeneratorTerms, "__call__", terms)
        with pytest.raises(
            FloatingPointError, match=r"loss/flux is nan at step 6 \(samples 12, 13\)"
        ):
            train(config)
    path = f"{config.run.output}/checkpoints/last.ckpt"
    content = read_checkpoint(path)
    assert content["splus_srgan"]["step"] == STEPS
    assert all(torch.isfinite(v).all() for v in _tensors(content["state_dict"]).values())
    assert train(resume=config.run.output).step == 2 * STEPS


def test_a_start_that_fails_can_be_repeated(tiny, rendered, tmp_path):
    with pytest.raises(OSError, match="nothing"):
        train(tiny(**{"data.source": str(tmp_path / "nothing")}))
    assert train(tiny(**{"run.epochs": 1})).step == STEPS


def test_damaged_pairs(tiny, tmp_path):
    bad = tmp_path / "bad"
    render_pairs(bad, 1, shape=(32, 32), bands=("g", "r"))
    np.save(bad / "sharp.npy", np.zeros((1, 2, 60, 64), np.float32))
    with pytest.raises(ValueError, match=r"files of .* must fit each other"):
        train(tiny(**{"data.source": str(bad)}))
    (bad / "sharp.npy").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"sharp\.npy is damaged"):
        train(tiny(**{"data.source": str(bad)}))


@pytest.fixture(scope="module")
def matched(tmp_path_factory):
    """A folder of three matched pairs of one band."""
    folder = PairFolder(tmp_path_factory.mktemp("matched"), create=True)
    for k in range(3):
        report = PairReport({"r": BandQuality(fwhm_target=1.2 + 0.1 * k)}, ())
        position = SkyCoord(10.0 + k, 0.5, unit="deg")
        sides = simulated(k, shape=(40, 40))
        folder.add(f"p{k}", as_matched(*sides), report, position=position)
    return folder.path


MATCHED = {
    "data.bands": ["r"],
    "data.shape": [40, 40],
    "data.n_validation": 1,
    "run.epochs": 1,
}


def test_matched_pairs_are_trained_on(tiny, matched):
    result = train(tiny(**MATCHED, **{"data.source": str(matched)}))
    assert result.step == STEPS
    card = load_card(result.card)
    assert card.bands == ["r"]
    # Of a folder whose targets were left as they were: the usual seeing of these.
    assert_allclose(card.target_psf["fwhm"], 1.3)
    assert card.training["data"] == "pairs of a folder"
    assert card.domain == {}


def test_a_corrupt_pair_stops_a_run_before_it_begins(tiny, matched, tmp_path):
    source = tmp_path / "corrupt"
    shutil.copytree(matched, source)
    path = source / "p1" / "target.fits"
    path.write_bytes(path.read_bytes()[:-2880])
    with pytest.raises(OSError, match=r"p1.*target\.fits"):
        train(tiny(**MATCHED, **{"data.source": str(source)}))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_an_empty_dataset(tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(OSError, match="empty"):
        train(tiny(**{"data.source": str(tmp_path / "empty")}))


def test_without_lightning_one_sentence_says_what_to_install():
    code = (
        "import sys; sys.modules['lightning'] = None\n"
        "try:\n    import splus_srgan.training.run\n"
        "except ImportError as error: print(error)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(
        r"this needs lightning[.\w]*, which is not installed; install what the "
        r"extra 'train' of splus_srgan brings: pip install \"lightning>=[\d.]+\".*\n",
        told.stdout,
    )


# Pictures


def test_panels_have_one_stretch():
    """Black at the faint end of the input, white at the bright end of the target."""
    small, fine = np.zeros((1, 8, 8)), np.zeros((1, 16, 16))
    fine[0, :2] = 2.0
    made = np.full((1, 16, 16), 1.0)
    made[0, 15, 15] = np.nan
    panels = draw_panels([{"input": small, "generated": made, "target": fine}])
    assert panels.shape == (16, 3 * 16 + 2 * 4, 3)
    assert panels.dtype == np.uint8
    assert (panels[:, :16] == 0).all()
    assert (panels[:, 16:20] == 255).all()
    # The first row of an array is the lowest of a picture.
    assert panels[0, 35, 0] == 128
    assert_array_equal(np.delete(panels[:, 20:36, 0].ravel(), 15), 128)
    assert (panels[14:, 40:] == 255).all()
    assert (panels[:14, 40:] == 0).all()


def test_three_bands_are_red_green_and_blue():
    image = np.zeros((3, 4, 4))
    image[2] = 1.0
    target = image.repeat(2, 1).repeat(2, 2)
    panels = draw_panels([{"input": image, "generated": target, "target": target}] * 2)
    assert panels.shape == (2 * 8 + 4, 3 * 8 + 2 * 4, 3)
    assert_array_equal(panels[0, 0], [255, 0, 0])


def test_a_checkpoint_is_kept_every_ten_minutes(tiny, monkeypatch):
    monkeypatch.setattr(callbacks, "_SAVE_SECONDS", -1.0)
    saved = []
    original = Checkpoints.save

    def save(self, trainer, path):
        saved.append((trainer.lightning_module.step, path.name))
        original(self, trainer, path)

    monkeypatch.setattr(Checkpoints, "save", save)
    train(tiny(**{"run.epochs": 1, "data.n_validation": 0}))
    assert saved == [(k, "last.ckpt") for k in range(STEPS + 1)]
