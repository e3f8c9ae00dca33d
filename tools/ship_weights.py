# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Make the weights that the package ships, and put them in their place.

    python tools/ship_weights.py make WORK --version 0.6     # hours: pairs, runs, heads
    python tools/ship_weights.py measure WORK                # an hour: benchmarks
    python tools/ship_weights.py install WORK                # model cards, and their pages

Each step is a command that could be typed, and is printed.  What WORK has already is not done
again, and a run that was stopped goes on.  Runs start from the shipped weights, or with
``--from-nothing`` from random ones, which takes a day on two cores.  With ``--rehearse`` all is
done with a handful of fields and steps, in minutes, and installed in WORK/installed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

from splus_srgan.training.config.training import preset

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "splus_srgan" / "models" / "weights"
BANDS = ("g", "r", "z")
LONG = {"optimizer.rate": 3e-4, "losses.flux": 0.05}
SOFT = {
    "losses.pixel": 1.0,
    "losses.pixel_kind": "charbonnier",
    "losses.charbonnier_epsilon": 0.05,
    "losses.pixel_softening": 1.0,
}
SQUARED = {
    "losses.pixel": 60,
    "losses.pixel_kind": "l2",
    "losses.flux": 0.05,
    "optimizer.rate": 2e-4,
    "optimizer.warm_up_steps": 50,
}
SRGAN = {
    "losses.pixel": 60,
    "losses.pixel_kind": "l2",
    "losses.flux": 0.05,
    "optimizer.rate": 1e-4,
    "optimizer.warm_up_steps": 50,
    "optimizer.ema": 0.995,
    "run.epochs": 50,
    "run.pretrain_epochs": 0,
    "run.ramp_epochs": 5,
}
RECIPES = {
    "splus-grz": (LONG, SQUARED),
    "splus-any": (LONG | SOFT, SQUARED),
}
"""A long run and a short one for each, by what they change of the preset ``fidelity``."""
SRGAN_FORMS = {
    "splus-grz": SRGAN,
    # One band has less to go by: with the same weights it loses 0.5 to 0.9 dB.
    "splus-any": SRGAN | {"losses.adversarial": 0.005, "losses.spectrum": 0.04},
}
"""The srgan form goes on from the other one, by what it changes of the preset ``default``."""
SIZES = {
    "pairs": 4000,
    "steps": 4800,
    "head_minutes": 10.0,
    "calibration_fields": 700,
    "test_fields": 300,
    "quality_fields": 40,
    "photometry_fields": 12,
}
"""How much of everything."""
REHEARSAL = {
    "pairs": 4,
    "steps": 12,
    "head_minutes": 0.02,
    "calibration_fields": 2,
    "test_fields": 1,
    "quality_fields": 2,
    "photometry_fields": 1,
}
FEW_EPOCHS = {
    "run.epochs": 2,
    "run.validate_every": 1,
    "data.n_validation": 2,
    "optimizer.warm_up_steps": 1,
}
NAMES = [*RECIPES, *(f"{name}-srgan" for name in SRGAN_FORMS)]

THANKS = (
    "Trained on simulations alone, whose magnitudes, sizes, colors, seeing and noise follow "
    "S-PLUS and the Legacy Surveys."
)
METHODS = {"bicubic": "bicubic", "bm3d": "BM3D", "bm3d_joint": "BM3D, joint"}


def run(*command):
    """Print and run a command."""
    command = [str(part) for part in command]
    print("$ " + " ".join(command), flush=True)
    subprocess.run(command, check=True)


def make(options):
    """Pairs, runs, heads and calibration."""
    pairs = options.work / "pairs"
    if not (pairs / "conditions.json").is_file():
        code = "import sys; from splus_srgan.training.data.dataset import render_pairs as render; "
        # What is there without conditions is an earlier render of this tool that was cut off.
        code += "render(sys.argv[1], int(sys.argv[2]), first=int(sys.argv[3]), overwrite=True)"
        run(sys.executable, "-c", code, pairs, options.pairs, options.first)
    for name, stages in RECIPES.items():
        start = None if options.from_nothing else name
        for number, changes in enumerate(stages, 1):
            folder = options.work / f"{name}-{number}"
            steps = options.steps if number == 1 else options.steps // 5
            start = train(options, "fidelity", folder, start, steps, changes)
        calibrate(options, name, start)
        folder, steps = options.work / f"{name}-srgan", options.steps // 6
        start = train(options, "default", folder, start, steps, SRGAN_FORMS[name])
        calibrate(options, f"{name}-srgan", start)


def train(options, recipe, folder, start, steps, changes):
    """Train, or go on; a run that has its weights is finished.  Its model card."""
    card = folder / "weights" / f"{recipe}.json"
    if card.is_file():
        return card
    command = [sys.executable, "-m", "splus_srgan", "train"]
    if (folder / "checkpoints" / "last.ckpt").is_file():
        run(*command, "--resume", folder)
        return card
    if options.rehearse:
        changes = changes | FEW_EPOCHS
        if "run.ramp_epochs" in changes:
            changes["run.ramp_epochs"] = 1
    epochs = changes.get("run.epochs", preset(recipe).run.epochs)
    keys = {
        "data.source": options.work / "pairs",
        "data.single_band": str("any" in folder.name).lower(),
        "run.steps_per_epoch": max(steps // epochs, 1),
        "run.seed": options.seed,
    }
    if start is not None:
        keys["run.start_from"] = start
    flags = [part for key, value in (keys | changes).items() for part in (f"--{key}", value)]
    run(*command, "--preset", recipe, *flags, "-o", folder)
    return card


def calibrate(options, name, card):
    """Train the head, calibrate it and test what it says."""
    cards = options.work / "cards"
    if (cards / f"{name}.json").is_file():
        return
    command = [sys.executable, "-m", "splus_srgan", "calibrate", card]
    command += [options.work / "pairs", "-o", cards]
    command += ["--fields", options.calibration_fields, "--test", options.test_fields]
    command += ["--minutes", options.head_minutes, "--steps", 100_000]
    run(*command, "--name", name, "--version", options.version)


def measure(options):
    """Run the benchmarks whose results the model cards state."""
    cards = [options.work / "cards" / f"{name}.json" for name in NAMES]
    common = ["--weights", *cards, "-o"]
    trust = ("--only", "flux", "kron", "--flux-fields", options.photometry_fields)
    trust += ("--fields", max(options.quality_fields // 2, 1))
    for script, more in (
        ("quality", ("--fields", options.quality_fields)),
        ("photometry", ("--fields", options.photometry_fields)),
        ("photometry", ("--real",)),
        ("trust", trust),
    ):
        real = "--real" in more
        if real and not os.environ.get("SPLUS_SRGAN_REAL_DATA"):
            print("real tiles are not measured: SPLUS_SRGAN_REAL_DATA is not set")
            continue
        table = options.work / f"{script}{'_real' if real else ''}.ecsv"
        run(sys.executable, ROOT / "benchmarks" / f"{script}.py", *more, *common, table)


def install(options):
    """Put the model cards, with what was measured, into the package, and write their pages."""
    shipped = options.work / "installed" if options.rehearse else SHIPPED
    shipped.mkdir(exist_ok=True)
    for name in NAMES:
        card = json.loads((options.work / "cards" / f"{name}.json").read_text())
        card["scores"] = scores(options.work, name) | {"coverage": card["scores"]["coverage"]}
        card |= {"license": "BSD-3-Clause", "acknowledgements": THANKS}
        card["training"]["data"] = "simulated fields, seeds (1, k)"
        for of_the_last_run in ("version", "minutes"):
            card["training"].pop(of_the_last_run, None)
        shutil.copyfile(options.work / "cards" / card["file"], shipped / card["file"])
        (shipped / f"{name}.json").write_text(json.dumps(card, indent=2) + "\n")
    if not options.rehearse:
        run(sys.executable, ROOT / "tools" / "model_cards.py")


def scores(work, name):
    """What a model card states of the benchmarks."""
    table = Table.read(work / "quality.ecsv")
    table = table[np.isfinite(table["psnr"])]
    number = len(set(table["field"]))
    found = {
        "measured_with": f"benchmarks/quality.py, {number} simulated fields of seeds (3, k)",
        "space": "asinh(100 x / 3), x in nanomaggies per output pixel, range of the truth",
        "psnr_db": per_band(table, f"ours: {name}", "psnr", 2),
        "ssim": per_band(table, f"ours: {name}", "ssim", 4),
    }
    for scale in ("coarse", "fine"):
        powers = per_band(table, f"ours: {name}", f"power_{scale}", 4)
        found[f"power_spectrum_{scale}"] = {
            b: round(float(np.exp(p)), 2) for b, p in powers.items()
        }
    for key, method in METHODS.items():
        found[f"psnr_db_{key}"] = per_band(table, method, "psnr", 2)
    found["photometry_mmag"] = {
        "measured_with": "benchmarks/photometry.py and trust.py, median offsets of "
        "sources of S/N > 20, positive is too bright",
        "simulated, against the truth, r = 3 arcsec": offsets(work, "", "truth", name),
        "simulated, r = 3 arcsec, flux_anchor=0, size alone": sizes(work, name, "flux", "alone"),
        "simulated, 2.5 Kron radii, size alone": sizes(work, name, "kron", "anchored"),
    }
    if (work / "photometry_real.ecsv").is_file():
        where = "real tiles, against the input at its PSF, r = 6 arcsec"
        found["photometry_mmag"][where] = offsets(work, "_real", "matched", name)
    return found


def per_band(table, method, column, digits):
    """Mean over the fields."""
    mine = table[table["method"] == method]
    return {
        band: round(float(np.mean(mine[mine["band"] == band][column])), digits) for band in BANDS
    }


def offsets(work, suffix, what, name):
    """Medians of all sources, mmag."""
    table = Table.read(work / f"photometry{suffix}.ecsv")
    mine = (table["what"] == what) & (table["method"] == name)
    table = table[mine & (table["offset"] > -8)]  # less: no flux left
    return {
        band: round(1000 * float(np.median(table[table["band"] == band]["offset"])), 1)
        for band in BANDS
    }


def sizes(work, name, section, method):
    """Medians of all sources without their sign, mmag."""
    table = Table.read(work / "trust.ecsv")
    mine = (table["weights"] == name) & (table["section"] == section)
    table = table[mine]
    return {
        row["band"]: round(float(row["value"]), 1)
        for row in table
        if row["band"] in BANDS
        and row["what"].startswith(f"{method}: ")
        and row["what"].endswith("median (mmag)")
    }


def parse():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("step", choices=("make", "measure", "install"))
    add("work", type=Path, help="folder of pairs, runs, model cards and tables")
    add("--version", default="0.1", help="of the weights; default %(default)s")
    add("--rehearse", action="store_true", help="a handful of everything")
    for size, number in SIZES.items():
        words = size.replace("_", " ")
        help_ = f"default {number:g}, in a rehearsal {REHEARSAL[size]:g}"
        add(f"--{size.replace('_', '-')}", type=type(number), help=f"{words}; {help_}")
    add("--first", type=int, default=0, help="number of the first; default %(default)s")
    add("--seed", type=int, default=71, help="of the runs; default %(default)s")
    add("--from-nothing", action="store_true", help="do not start from the shipped weights")
    options = parser.parse_args()
    for size, number in (REHEARSAL if options.rehearse else SIZES).items():
        if getattr(options, size) is None:
            setattr(options, size, number)
    return options


def main():
    """Run one step."""
    options = parse()
    options.work.mkdir(parents=True, exist_ok=True)
    {"make": make, "measure": measure, "install": install}[options.step](options)


if __name__ == "__main__":
    main()
