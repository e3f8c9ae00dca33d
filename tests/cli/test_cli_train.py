# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan train``."""

import os
import re
import signal
import subprocess
import sys

import pytest
import yaml

pytest.importorskip("lightning")

from splus_srgan.cli import main as cli
from splus_srgan.cli.main import main
from splus_srgan.training.config.training import PRESETS, load_config, preset
from splus_srgan.training.data.dataset import render_pairs
from splus_srgan.training.history import read_history
from splus_srgan.training.module import SRGANModule

pytestmark = pytest.mark.usefixtures("one_thread")

STEPS = 3


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Rendered pairs, and the configuration of a tiny run on them."""
    folder = tmp_path_factory.mktemp("train")
    render_pairs(folder / "pairs", 2, shape=(32, 32), bands=("r",))
    content = {
        "preset": "fidelity",
        "name": "tiny",
        "generator": {"n_features": 4, "n_blocks": 1, "n_tail_features": 4, "dilations": []},
        "optimizer": {"name": "adam"},
        "data": {
            "source": str(folder / "pairs"),
            "bands": ["r"],
            "shape": [32, 32],
            "crop": 24,
            "batch_size": 2,
            "n_validation": 1,
        },
        "run": {
            "epochs": 2,
            "steps_per_epoch": STEPS,
            "validate_every": 1,
            "precision": "float32",
            "accelerator": "cpu",
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(content))
    return folder


def printed(capsys, *arguments):
    """Give the configuration that the command would train with."""
    assert main(["train", *arguments, "--print_config"]) == 0
    return yaml.safe_load(capsys.readouterr().out)


def test_help_tells_every_key_with_its_unit(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["train", "--help"])
    assert caught.value.code == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "--data.crop CROP" in told
    assert "Side of the crop in input pixels, at least 8" in told
    assert "--resume RUN" in told


@pytest.mark.parametrize("name", PRESETS)
def test_print_config_gives_the_whole_preset(name, capsys, tmp_path):
    content = printed(capsys, "--preset", name)
    assert content == preset(name).to_dict()
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(content))
    assert load_config(tmp_path / "again.yaml") == preset(name)


def test_options_win_over_the_file_and_the_file_over_the_preset(folder, capsys):
    content = printed(
        capsys, str(folder / "tiny.yaml"), "--preset", "default",
        "--data.batch_size", "1", "--data.crop", "null", "--run.epochs", "90", "-o", "there",
    )  # fmt: skip
    assert content["losses"]["adversarial"] == preset("default").losses.adversarial > 0
    assert content["generator"]["n_features"] == 4
    assert content["data"]["batch_size"] == 1
    assert content["data"]["crop"] is None
    assert content["data"]["bands"] == ["r"]
    assert content["run"]["output"] == "there"


def test_train_and_go_on(folder, tmp_path, capsys, monkeypatch):
    """Interrupted at step 2; what is printed to go on with, does."""
    original = SRGANModule.training_step

    def training_step(self, batch, batch_idx):
        original(self, batch, batch_idx)
        if self.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(SRGANModule, "training_step", training_step)
        assert main(["train", str(folder / "tiny.yaml"), "-o", str(run)]) == 130
    told = capsys.readouterr().err.strip().splitlines()
    assert told[-1] == (
        "splus-srgan: interrupted: stopped at step 2; resume with: splus-srgan train "
        f"--resume {run}"
    )
    assert main(["train", "--resume", str(run)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith(f"{run}: {2 * STEPS} steps; best score ")
    assert out.splitlines()[1] == str(run / "weights" / "tiny.json")
    assert err == ""
    assert list(read_history(run / "metrics.csv")["step"]) == list(range(1, 2 * STEPS + 1))
    # With its own file, it goes on in its own folder.
    file = str(folder / "tiny.yaml")
    assert main(["train", file, "--resume", str(run), "--run.epochs", "2"]) == 0
    assert f"{run}: {2 * STEPS} steps" in capsys.readouterr().out
    # A file with what is to be otherwise is laid over the run, and not over a preset.
    (tmp_path / "longer.yaml").write_text("run: {epochs: 2}")
    assert main(["train", str(tmp_path / "longer.yaml"), "--resume", str(run)]) == 0
    assert f"{run}: {2 * STEPS} steps" in capsys.readouterr().out
    # Longer, and with the folder moved.
    run.rename(tmp_path / "moved")
    assert main(["train", "--resume", str(tmp_path / "moved"), "--run.epochs", "3"]) == 0
    assert f"{tmp_path / 'moved'}: {3 * STEPS} steps" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--data.batchsize", "8"], 2, "--data.batchsize"),
        (["--data.batch_size", "0"], 2, "data.batch_size must be at least 1; got 0"),
        (["--data.batch_size", "x"], 2, "data.batch_size"),
        (["--preset", "best"], 2, "--preset"),
        (["missing.yaml"], 1, "missing.yaml"),
        (["--resume", "missing"], 1, "resume must name a checkpoint or the folder of a run"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments, status, message, capsys):
    assert main(["train", *arguments]) == status
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert message in err


def test_without_a_preset_the_plan_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "--run.epochs", "70"]) == 2
    told = capsys.readouterr()
    assert "steps: 17500 (70 epochs)" in told.out
    assert re.search(r"time: roughly \d+\.\d h on this CPU", told.out)
    assert (
        "train needs --preset (seed, default, fidelity, twelve), CONFIG or --resume RUN" in told.err
    )
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_key_is_told_with_the_nearest(tmp_path, capsys):
    path = tmp_path / "bad.yaml"
    path.write_text("data:\n  batchsize: 8\n")
    assert main(["train", str(path)]) == 2
    err = capsys.readouterr().err
    assert "unknown key 'data.batchsize'" in err
    assert "did you mean 'data.batch_size'?" in err


def test_other_keys_on_resume_are_refused(folder, tmp_path, capsys):
    run = str(tmp_path / "run")
    assert main(["train", str(folder / "tiny.yaml"), "-o", run, "--run.epochs", "1"]) == 0
    assert main(["train", "--resume", run, "--optimizer.rate", "1"]) == 1
    assert "optimizer.rate was 0.0004, now 1" in capsys.readouterr().err
    assert main(["train", str(folder / "tiny.yaml"), "-o", run]) == 1
    assert "holds another run" in capsys.readouterr().err


def test_a_loss_that_is_no_number_is_told_in_one_line(folder, tmp_path, capsys, monkeypatch):
    def training_step(self, batch, batch_idx):
        raise FloatingPointError("loss/pixel is nan at step 0")

    monkeypatch.setattr(SRGANModule, "training_step", training_step)
    arguments = ["train", str(folder / "tiny.yaml"), "-o", str(tmp_path / "run")]
    assert main(arguments) == 1
    assert capsys.readouterr().err == "splus-srgan: error: loss/pixel is nan at step 0\n"
    with pytest.raises(FloatingPointError):
        main([*arguments, "--debug"])


def test_nothing_heavy_is_imported_for_a_mistake():
    code = (
        "import sys; from splus_srgan.cli.main import main\n"
        "assert main(['train', '--data.crop', '1', '--print_config']) == 2\n"
        "print(*[n for n in ('torch', 'lightning', 'photutils') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == ""


def test_the_command_is_listed():
    assert "train" in cli.COMMANDS


@pytest.mark.slow
def test_of_two_processes_one_writes_and_tells(folder, tmp_path):
    arguments = [str(folder / "tiny.yaml"), "-o", str(tmp_path), "--run.devices", "2"]
    told = subprocess.run(
        [sys.executable, "-m", "splus_srgan", "train", *arguments],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )
    assert told.stdout.count(f"{tmp_path}: {2 * STEPS} steps") == 1
    assert (tmp_path / "weights" / "tiny.json").is_file()
    assert list(read_history(tmp_path / "metrics.csv")["step"]) == list(range(1, 2 * STEPS + 1))
