# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Training throughput: pairs a second, and the share of the machine's bfloat16 matrix ceiling.

Every recipe takes steps on a fixed batch in memory, so that the networks alone are timed: at
its own batch, and at that of the seed paper (2 pairs of 128 x 128 pixels and three bands).  With
``--keras-python PATH``, a Python with tensorflow-cpu, the seed paper's recipe in Keras runs beside
on the batch of that.  Rounds alternate, so that whatever else the machine does hits all alike;
the median of all steps counts.

    python -m venv keras && keras/bin/pip install tensorflow-cpu
    python benchmarks/training.py --keras-python keras/bin/python
"""

import argparse
import json
import logging
import subprocess
import sys
import time
import warnings
from pathlib import Path

import lightning as L
import numpy as np
import torch
from _common import busy_note, print_header, print_table, write_table
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from splus_srgan.training.config.training import PRESETS, load_config
from splus_srgan.training.module import SRGANModule, trainer_options

PAPER = {"data.batch_size": 2, "data.crop": None, "data.shape": [128, 128]}
# In the middle of a run, with everything that takes part; VGG19's values cost no time.
RUNNING = {
    "run.pretrain_epochs": 0,
    "run.ramp_epochs": 0,
    "run.steps_per_epoch": 1000,
    "run.accelerator": "cpu",
    "losses.vgg_weights": "random",
}
_MATRIX = 4096  # side of the matrices of the ceiling


class Steps(L.Callback):
    """Seconds of each step, from its batch to its end."""

    def __init__(self):
        self.seconds = []

    def on_train_batch_start(self, *args):
        self._start = time.perf_counter()

    def on_train_batch_end(self, *args):
        self.seconds.append(time.perf_counter() - self._start)


class Ours:
    """A recipe of this package on a fixed batch."""

    def __init__(self, name, overrides, options):
        self.config = load_config(None, RUNNING | overrides, base=name)
        data = self.config.data
        self.name = f"{name}, {self.config.run.precision}"
        self.batch_size, self.side = data.batch_size, data.crop or data.shape[0]
        self.batch = make_batch(self.config, self.side)
        self.module = SRGANModule(self.config)
        self.steps, self.warm_up = options.steps, options.warm_up
        with FlopCounterMode(display=False) as counter:
            self._fit(1)
        self.tflop = counter.get_total_flops() / 1e12

    def round(self):
        """Seconds of the steps of a round."""
        return self._fit(self.warm_up + self.steps)[self.warm_up :]

    def _fit(self, number):
        steps = Steps()
        # A trainer counts its own steps; the module goes on.
        self.module.step = 0
        trainer = L.Trainer(
            **trainer_options(self.config) | {"max_epochs": 1},
            limit_val_batches=0,
            callbacks=[steps],
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
        )
        trainer.fit(self.module, DataLoader([self.batch] * number, batch_size=None))
        return steps.seconds


class Keras:
    """The seed paper's recipe in Keras, in a process of its own."""

    name, batch_size, side = "the seed paper's, Keras", 2, 128

    def __init__(self, python, options):
        given = {
            "batch_size": self.batch_size,
            "side": self.side,
            "steps": options.steps,
            "warm_up": options.warm_up,
            "threads": options.threads,
        }
        script = Path(__file__).with_name("_keras_recipe.py")
        self._process = subprocess.Popen(
            [python, script, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = json.loads(self._answer())
        print("keras    " + ", ".join(f"{k} {v}" for k, v in told["versions"].items()))
        if told["parameters"] != 1_448_387:
            sys.exit(f"the generator in Keras has {told['parameters']} parameters, not 1448387")

    def _answer(self):
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"Keras ended with status {self._process.wait()}")
        return line

    def round(self):
        """Seconds of the steps of a round."""
        print("go", file=self._process.stdin, flush=True)
        return json.loads(self._answer())

    def close(self):
        self._process.stdin.close()
        self._process.wait()


def make_batch(config, side):
    """Random pairs in the range of real ones."""
    data, rng = config.data, torch.Generator().manual_seed(0)
    shape = (data.batch_size, data.n_bands)
    small, fine = (torch.rand(*shape, n, n, generator=rng) for n in (side, 2 * side))
    batch = {"input": small, "target": fine, "weight": torch.ones_like(fine)}
    if data.space == "noise":
        batch |= {"noisy": 10 * small, "truth": 10 * fine}
        batch |= {"electrons": torch.full(shape, 17.0)}
    return batch | {"index": torch.arange(data.batch_size)}


def matrix_round(number=3):
    """TFLOP/s of products of large bfloat16 matrices."""
    a, b = (torch.randn(_MATRIX, _MATRIX, dtype=torch.bfloat16) for _ in range(2))
    rates = []
    for _ in range(number + 1):
        start = time.perf_counter()
        a @ b
        rates.append(2 * _MATRIX**3 / (time.perf_counter() - start) / 1e12)
    return rates[1:]


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--presets", nargs="+", choices=PRESETS, default=["default", "fidelity", "seed"])
    add("--keras-python", metavar="PATH", help="Python that has tensorflow-cpu")
    add("--rounds", type=int, default=5, help="alternating rounds; default %(default)s")
    add("--steps", type=int, default=4, help="timed steps of a round; default %(default)s")
    add("--warm-up", type=int, default=2, help="steps before them; default %(default)s")
    add("--threads", type=int, help="of torch and of tensorflow; all cores by default")
    add("-o", "--output", type=Path, metavar="FILE.ecsv", help="write every measurement there")
    return parser.parse_args()


def main():
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    print_header()
    print(f"options  threads={torch.get_num_threads()} rounds={options.rounds} {busy_note()}")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")
    cases = [Ours(name, {}, options) for name in options.presets]
    for name in options.presets:
        # The seed paper's recipe is float32; what bfloat16 would bring is worth knowing.
        cases.append(Ours(name, PAPER | {"run.precision": "bfloat16"}, options))
    keras = Keras(options.keras_python, options) if options.keras_python else None
    cases += [keras] if keras else []
    seconds, ceiling = [[] for _ in cases], []
    for _ in range(options.rounds):
        ceiling += matrix_round()
        for case, own in zip(cases, seconds, strict=True):
            own += case.round()
    if keras:
        keras.close()
    report(cases, seconds, float(np.median(ceiling)))
    rows = [
        {"recipe": case.name, "batch": case.batch_size, "side": case.side, "s": value}
        for case, own in zip(cases, seconds, strict=True)
        for value in own
    ]
    write_table(options.output, rows, meta={"ceiling": float(np.median(ceiling))})


def report(cases, seconds, ceiling):
    """Print one row for each recipe and batch."""
    print(f"\nceiling  {ceiling:.2f} TFLOP/s, product of bfloat16 matrices of side {_MATRIX}")
    medians = [float(np.median(own)) for own in seconds]
    slowest = next((m for c, m in zip(cases, medians, strict=True) if isinstance(c, Keras)), None)
    rows = []
    for case, own, median in zip(cases, seconds, medians, strict=True):
        low, high = np.percentile(own, [16, 84])
        row = [case.name, f"{case.batch_size} x {case.side}", f"{median:.3f}"]
        row += [f"{low:.3f}-{high:.3f}", f"{case.batch_size / median:.2f}"]
        if isinstance(case, Keras):
            row += ["", "", ""]
        else:
            rate = case.tflop / median
            row += [f"{case.tflop:.3f}", f"{rate:.2f}", f"{100 * rate / ceiling:.0f}"]
        same = slowest and (case.batch_size, case.side) == (Keras.batch_size, Keras.side)
        rows.append([*row, f"{slowest / median:.2f}" if same else ""])
    names = ("recipe", "batch", "s/step", "68 %", "pairs/s", "TFLOP", "TFLOP/s", "% ceiling")
    print_table("Training steps (median)", [*names, "x Keras"], rows)


if __name__ == "__main__":
    main()
