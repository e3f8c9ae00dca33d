# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
What a discriminator brings and costs: ``default`` against ``fidelity``, for the same time.

Both train for ``--minutes`` on the same pairs, from nothing; both schedules are fitted to that
time by the seconds that steps take here, measured first.  Their weights are then judged on test
fields, seeds (3, k), which no training touches: PSNR and SSIM, flux, detections in noise alone,
patterns in the sky, detail that is true and that is invented.

    python -c "from splus_srgan.training import render_pairs; render_pairs('rendered', 2600)"
    python benchmarks/adversarial.py --pairs rendered --minutes 30 -o runs

A run that exists in the folder is judged without being trained again.
"""

import argparse
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from _common import fields, print_header, print_table
from training import Ours

from splus_srgan import SRGANEnhancer
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.run import evaluate
from splus_srgan.training.config.training import load_config
from splus_srgan.training.run import train

_SHARE = 0.9  # of the time goes to the steps, the rest to data and validation
RECIPES = ("fidelity", "default")
SCORES = ("psnr_noise", "ssim_noise", "psnr_seed", "ssim_seed")
CHECKS = (
    "median flux offset against the truth",
    "flux scatter beyond the noise against the truth",
    "flux on large scales, output / truth",
    "detections in noise alone, 5 sigma of the input's noise, per field",
    "pattern in the mean output",
    "noise from pixel to pixel in the sky",
    "FWHM of stars over the expected one, less 1",
    "contrast on the scale of the PSF, output / truth",
    "hallucination, as a share of the detail that the input lacks",
    "improvement, as a share of the detail that the input lacks",
)


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("-o", "--output", type=Path, required=True, metavar="DIR", help="folder of the runs")
    add("--pairs", nargs="+", metavar="DIR", help="rendered pairs; simulated as it goes otherwise")
    add("--minutes", type=float, default=30, help="of training, each; default %(default)s")
    add("--fields", type=int, default=25, help="test fields; default %(default)s")
    add("--trials", type=int, default=3, help="of them with changed images; default %(default)s")
    add("--threads", type=int, help="of torch; all cores by default")
    add("--set", nargs="+", default=[], metavar="KEY=VALUE", help="other keys of both recipes")
    return parser.parse_args()


def seconds_per_step(name, overrides):
    """Median of some steps on a batch in memory."""
    probe = argparse.Namespace(steps=5, warm_up=3)
    return float(np.median(Ours(name, overrides, probe).round()))


def configure(name, options, common):
    """The recipe with epochs that take the time there is."""
    config = load_config(None, common, base=name)
    run = config.run
    alone = seconds_per_step("fidelity", common)
    seconds = run.epochs * alone
    if config.losses.needs_discriminator:
        trained = run.epochs - run.pretrain_epochs
        seconds += trained * (seconds_per_step(name, common) - alone)
    steps = max(1, int(_SHARE * 60 * options.minutes / seconds))
    print(f"{name}: {run.epochs} epochs of {steps} steps")
    changed = {"run.steps_per_epoch": steps, "run.max_minutes": options.minutes}
    return load_config(config.to_dict(), changed | {"run.output": str(options.output / name)})


def train_or_find(name, options, common):
    """Card of a recipe."""
    card = options.output / name / "weights" / f"{name}.json"
    if card.is_file():
        print(f"{name}: found {card}")
        return card
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        config = configure(name, options, common)
    result = train(config, overwrite=True, progress_bar=sys.stderr.isatty())
    print(f"{name}: {result.step} steps, best score {result.best_score} dB")
    return result.card


def judge(card, pairs, trials):
    """What is in the table, by (name, band)."""
    evaluation = evaluate(SRGANEnhancer(card), pairs, trials=trials)
    found = {}
    for row in evaluation.mean_scores():
        for score in SCORES:
            value = row[score]
            found[score, str(row["band"])] = float(getattr(value, "value", value))
    for check in evaluation.checks:
        if check.name in CHECKS:
            found[check.name, check.band] = float(getattr(check.value, "value", check.value))
    return found


def main():
    options = parse()
    if options.threads:
        torch.set_num_threads(options.threads)
    print_header()
    common = {}
    for text in options.set:
        key, _, value = text.partition("=")
        common[key] = yaml.safe_load(value)
    if options.pairs:
        common["data.source"] = options.pairs
    cards = {name: train_or_find(name, options, common) for name in RECIPES}
    pairs = [
        EvaluationPair.from_simulation(field, name=f"field {k}")
        for k, field in fields(options.fields)
    ]
    found = {name: judge(card, pairs, options.trials) for name, card in cards.items()}
    keys = list(dict.fromkeys(key for one in found.values() for key in one))
    rows = [
        [name, band, *(f"{found[recipe].get((name, band), np.nan):.4g}" for recipe in RECIPES)]
        for name, band in keys
    ]
    print_table(f"{options.fields} test fields", ["measure", "band", *RECIPES], rows)


if __name__ == "__main__":
    main()
