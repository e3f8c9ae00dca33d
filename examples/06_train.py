"""
Train a small network, and judge it
===================================

A training with everything that belongs to it, made so small that it ends within a minute: pairs, a
configuration, the run, its model card, and the question whether the result is any good.
"""

# %%
# A configuration
# ---------------
# It starts from a preset, and what is named here changes it.  Pairs are simulated; the network has
# 3 blocks of 16 features instead of 13 of 48.

import logging
import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation import Bicubic, EvaluationPair, Gaussian, evaluate
from splus_srgan.training import load_config, render_pairs, train

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
work = Path(tempfile.mkdtemp())
render_pairs(work / "pairs", 24, shape=(64, 64), bands=("r",), first=0)
config = load_config(
    {
        "preset": "fidelity",
        "name": "small",
        "generator": {"n_features": 16, "n_blocks": 3, "n_tail_features": 16, "dilations": []},
        "optimizer": {"name": "adam", "rate": 2e-3, "warm_up_steps": 5},
        "data": {
            "source": [str(work / "pairs")],
            "bands": ["r"],
            "shape": [64, 64],
            "crop": 32,
            "batch_size": 8,
            "n_validation": 2,
        },
        "run": {
            "output": str(work / "run"),
            "epochs": 4,
            "steps_per_epoch": 40,
            "validate_every": 1,
            "precision": "float32",
            "accelerator": "cpu",
            "progress_bar": False,
        },
    }
)

# %%
# The run
# -------

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    result = train(config)
print("best score of the validation:", round(result.best_score, 2))
print(sorted(path.name for path in (work / "run").iterdir()))

# %%
# ``metrics.csv`` has a row per step, and the scores of the validations:

from astropy.table import Table

history = Table.read(work / "run" / "metrics.csv", format="ascii.csv")
print(history.colnames)

# %%
# Is it any good?
# ---------------
# Fields that the training never saw decide, and simpler methods beside it.  160 steps are nothing:
# the shipped weights took thousands, and the difference shows.

fields = {
    f"field {seed}": simulate_field((8, seed), shape=(96, 96), bands=("r",), kind="cluster")
    for seed in (1, 2)
}
pairs = [EvaluationPair.from_simulation(field, name=name) for name, field in fields.items()]
methods = {
    "shipped": SRGANEnhancer("splus-any", device="cpu"),
    "Gaussian": Gaussian(),
    "bicubic": Bicubic(),
}
own = SRGANEnhancer(result.card, device="cpu")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    evaluation = evaluate(own, pairs, baselines=methods, trials=0)
evaluation.mean_scores()["method", "psnr_asinh", "ssim_asinh"].pprint()

# %%
# Look at it
# ----------

pair = pairs[0]
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    made = {
        "bicubic": methods["bicubic"](pair.input)["r"].data,
        "160 steps": own(pair.input)["r"].data,
        "shipped": methods["shipped"](pair.input)["r"].data,
    }
made["truth"] = pair.target["r"].data
sigma = np.median(np.abs(np.diff(pair.input["r"].data))) / 0.95 / 4
figure, axes = plt.subplots(1, 4, figsize=(12, 3.4), layout="constrained")
for ax, (title, image) in zip(axes, made.items(), strict=True):
    values = np.asarray(image, float)
    ax.imshow(
        (values - np.median(values)) / sigma,
        norm="asinh", vmin=-4, vmax=300, cmap="gray", origin="lower",
    )  # fmt: skip
    ax.set_title(title)
    ax.set_axis_off()

# %%
# Next
# ----
# :doc:`/user_guide/training` for a real one, and :doc:`/model_cards/how_made` for how the shipped
# weights were made.
