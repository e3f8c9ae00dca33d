# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A run is the same however it is cut: into two processes, or by a stop in the middle."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch

pytest.importorskip("lightning")

from splus_srgan.models.weights import load_card
from splus_srgan.training.config.training import dump_config, load_config
from splus_srgan.training.export import load_average
from splus_srgan.training.module import SRGANModule
from splus_srgan.training.run import train

pytestmark = pytest.mark.usefixtures("one_thread")

TINY = {
    "name": "tiny",
    "generator.n_features": 4,
    "generator.n_blocks": 1,
    "generator.n_tail_features": 4,
    "generator.dilations": [2],
    "discriminator.n_features": 2,
    "discriminator.n_dense": 4,
    "optimizer.warm_up_steps": 2,
    "losses.flux_sizes": [6],
    "data.bands": ["g", "r"],
    "data.shape": [32, 32],
    "data.crop": 16,
    "data.batch_size": 4,
    "data.n_validation": 0,
    "run.epochs": 4,
    "run.steps_per_epoch": 6,
    "run.pretrain_epochs": 1,
    "run.ramp_epochs": 1,
    "run.accelerator": "cpu",
    "run.progress_bar": False,
}
PLAIN = {"optimizer.name": "adam", "run.precision": "float32"}


def make(rendered, output, preset="default", **overrides):
    return load_config(
        {"preset": preset, "data.source": str(rendered), "run.output": str(output)} | TINY,
        overrides,
    )


def weights(folder):
    checkpoint = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
    return checkpoint["state_dict"], checkpoint["optimizer_states"]


def largest_difference(one, other):
    assert one.keys() == other.keys()
    assert len(one) > 20
    return max(float((one[k].double() - other[k].double()).abs().max()) for k in one)


# Several processes.


def in_two_processes(config, file, *, check=True):
    """Start the command as a user does; Lightning starts the second process."""
    file.write_text(dump_config(config), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "splus_srgan", "train", str(file), "--run.devices", "2"],
        check=check,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )


def test_two_processes_with_half_the_batch_are_one_with_the_whole(rendered, tmp_path):
    """Generator, average and discriminator, through pre-training, ramp and the rest."""
    # Patches come with batch normalisation, which sees the part of its own process.
    options = PLAIN | {"run.epochs": 3, "discriminator.kind": "unet"}
    one, two = (make(rendered, tmp_path / name, **options) for name in ("one", "two"))
    train(one)
    in_two_processes(two, tmp_path / "two.yaml")
    found, wanted = (weights(tmp_path / name)[0] for name in ("two", "one"))
    assert largest_difference(found, wanted) < 1e-4
    start = SRGANModule(one).state_dict()
    for part in ("generator", "average", "discriminator"):
        own = {k: v for k, v in wanted.items() if k.startswith(f"{part}.")}
        assert max(float((v - start[k]).abs().max()) for k, v in own.items()) > 1e-3


@pytest.mark.slow
def test_both_processes_end_where_one_has_a_loss_that_is_no_number(rendered, tmp_path):
    """The other does not wait for it for ever."""
    script = tmp_path / "run.py"
    script.write_text(
        "import json, sys, os, math\n"
        "from splus_srgan.training.config.training import load_config\n"
        "from splus_srgan.training import terms\n"
        "from splus_srgan.training.run import train\n"
        "original = terms.GeneratorTerms.__call__\n"
        "def broken(self, *args, **kwargs):\n"
        "    found = original(self, *args, **kwargs)\n"
        "    if os.environ.get('LOCAL_RANK') == '1':\n"
        "        found['pixel'] = found['pixel'] * math.nan\n"
        "    return found\n"
        "terms.GeneratorTerms.__call__ = broken\n"
        "train(load_config(json.loads(open(sys.argv[1]).read())))\n"
    )
    config = make(rendered, tmp_path / "run", **PLAIN, **{"run.devices": 2})
    (tmp_path / "run.json").write_text(json.dumps(config.to_dict()))
    result = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "run.json")],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    assert result.returncode != 0
    assert "loss/pixel is nan at step 0" in result.stderr
    assert "another process had to stop at step 0" in result.stderr


# A stop in the middle.

WAYS = {
    # As shipped weights are made, and with pairs drawn in another process.
    "default": {"run.precision": "bfloat16", "data.workers": 1},
    # Batch normalisation, the seed paper's patches and features, whole images, two steps of
    # the discriminator for one of the generator.
    "seed": {
        "losses.vgg_weights": "random",
        "losses.vgg_layer": "block1_conv2",
        "losses.feature": 1e-3,
        "data.single_band": True,
        "data.crop": None,
        "data.batch_size": 2,
        "data.augmentation": "symmetries",
        "run.pretrain_epochs": 0,
    },
    # The head that predicts the scale.
    "fidelity": PLAIN | {"generator.scale": "laplace", "losses.nll": 0.1, "data.single_band": True},
}


@pytest.mark.parametrize("preset", WAYS)
def test_stopped_and_resumed_is_never_stopped(preset, rendered, tmp_path, monkeypatch):
    """20 more steps after a stop within an epoch: weights and states of the optimizers."""
    if preset == "default" and not hasattr(torch.optim, "Muon"):
        pytest.skip(f"torch {torch.__version__} has no Muon")
    options = WAYS[preset]
    # What comes after the training, and takes longer.
    monkeypatch.setattr("splus_srgan.training.run.calibrate_weights", lambda *args, **kwargs: None)
    train(make(rendered, tmp_path / "whole", preset, **options))
    parts = make(rendered, tmp_path / "parts", preset, **options)
    with monkeypatch.context() as patch:
        original = SRGANModule.training_step

        def step(self, *args):
            original(self, *args)
            if self.step == 4:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(SRGANModule, "training_step", step)
        with pytest.raises(KeyboardInterrupt, match="stopped at step 4"):
            train(parts)
    half = weights(tmp_path / "parts")[0]
    # Whoever draws from torch's own stream in between must not matter.
    torch.rand(17)
    assert train(resume=tmp_path / "parts").step == 24
    (found, states), (wanted, others) = (weights(tmp_path / n) for n in ("parts", "whole"))
    assert largest_difference(found, wanted) <= 1e-6
    assert largest_difference(found, half) > 1e-3
    for one, other in zip(states, others, strict=True):
        for mine, theirs in zip(_tensors(one), _tensors(other), strict=True):
            assert torch.equal(mine, theirs)


# A start from another run.


def test_run_starts_from_the_average_of_another_and_tells_so(rendered, tmp_path):
    """With more blocks, which start as nothing, and without its discriminator."""
    short = {"run.epochs": 2, "optimizer.name": "adam"}
    first = train(make(rendered, tmp_path / "first", **short))
    options = PLAIN | {"run.epochs": 1, "run.steps_per_epoch": 1, "optimizer.rate": 1e-30}
    options |= {"generator.dilations": [2, 4], "run.start_from": str(tmp_path / "first")}
    second = train(make(rendered, tmp_path / "second", "fidelity", **options))
    image = torch.randn(1, 2, 20, 20, generator=torch.Generator().manual_seed(0))
    made = [load_average(result.last)(image) for result in (first, second)]
    torch.testing.assert_close(made[0], made[1])
    stages = load_card(second.card).training["stages"]
    assert [(stage["name"], stage["steps"]) for stage in stages] == [("tiny", 12), ("tiny", 1)]
    assert [stage["losses"]["adversarial"] > 0 for stage in stages] == [True, False]
    assert str(tmp_path) not in second.card.read_text()
    # What it started from is not read again when it goes on.
    shutil.rmtree(tmp_path / "first")
    longer = make(rendered, tmp_path / "second", "fidelity", **options | {"run.epochs": 2})
    again = train(longer, resume=tmp_path / "second")
    assert [stage["steps"] for stage in load_card(again.card).training["stages"]] == [12, 2]


def _tensors(content):
    """All tensors in nested containers, in order."""
    if isinstance(content, torch.Tensor):
        return [content]
    if isinstance(content, dict):
        content = content.values()
    if isinstance(content, str) or not hasattr(content, "__iter__"):
        return []
    return [tensor for part in content for tensor in _tensors(part)]
