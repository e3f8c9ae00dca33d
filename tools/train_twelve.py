# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Train the second stage for any subset of the twelve bands, in as many sittings as it takes.

    python tools/train_twelve.py WORK                  # begins, or goes on where it was stopped
    python tools/train_twelve.py WORK --minutes 60     # one sitting of an hour
    python tools/train_twelve.py WORK --rehearse       # a handful of fields and steps
    python tools/train_twelve.py WORK --ship 0.7       # calibrate, measure, install as splus
    python tools/train_twelve.py WORK --form srgan     # the same for splus-srgan

WORK/run is a run of the preset ``twelve`` with its checkpoints and metrics, WORK/fields keeps
what was simulated.  On a GPU, and on processors that multiply it, bodies run in bfloat16;
elsewhere in float32.  Options after ``--`` change the configuration of a new run::

    python tools/train_twelve.py WORK -- --data.batch_size 8
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from astropy.table import Table

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "splus_srgan" / "models" / "weights"
NAMES, FIRST_STAGE = {"fidelity": "splus", "srgan": "splus-srgan"}, "splus-any"
SETS = ("grz", "gri", "griz", "ugriz", "twelve")
THANKS = (
    "Trained on simulations alone, whose magnitudes, sizes, colors, seeing and noise follow "
    "S-PLUS and the Legacy Surveys."
)
HEAD_MINUTES = 12
"""For the head that predicts the uncertainty."""

EDGE_REACH = 26
"""Input pixels, as ``benchmarks/edge.py --bands g r J0660 i`` finds them."""

FIELDS = {"calibration": 80, "test": 40, "gains": 12}
"""How many simulated fields of each purpose; of a rehearsal one."""

SRGAN = (
    *("--run.start_from", "splus", "--run.epochs", "6"),
    *("--run.pretrain_epochs", "0", "--run.ramp_epochs", "1", "--optimizer.rate", "2e-4"),
    *("--discriminator.kind", "patch", "--discriminator.n_features", "24"),
    *("--discriminator.n_dense", "128", "--optimizer.discriminator_rate", "1e-4"),
    *("--losses.pixel", "1", "--losses.adversarial", "0.01"),
    *("--losses.adversarial_softening", "0.3"),
    *("--losses.spectrum", "0.1", "--losses.spectrum_floor", "0.002"),
    *("--losses.feature", "50", "--losses.feature_softening", "0.3"),
    *("--losses.vgg_network", "vgg16"),
)
"""What the srgan form has beside pixels and fluxes; it goes on from the shipped weights."""

SMALL = (
    *("--generator.n_features", "8", "--generator.n_blocks", "1"),
    *("--generator.exchanges", "[1]"),
)
REHEARSAL = (
    *("--data.n_pairs", "2", "--data.n_validation", "1", "--data.crop", "24"),
    *("--data.shape", "[40,40]", "--data.batch_size", "2"),
    *("--run.epochs", "2", "--run.steps_per_epoch", "2", "--run.validate_every", "1"),
)


def precision():
    """bfloat16 where the hardware multiplies it, else float32: emulation is slower."""
    from splus_srgan.models.engines import resolve_device, resolve_precision

    return resolve_precision("auto", resolve_device("auto"))


def command(work, *, form="fidelity", minutes=None, rehearse=False, changes=()):
    """
    Give the command that begins a run, or goes on with it.

    Parameters
    ----------
    work : `~pathlib.Path`
        Folder of the run and its fields.
    form : {"fidelity", "srgan"}, optional
        Which of the two weights.
    minutes : float, optional
        Length of this sitting.
    rehearse : bool, optional
        Whether to take a handful of fields and steps.
    changes : sequence of str, optional
        More options of ``splus-srgan train``, for a new run.

    Returns
    -------
    command : list of str
        To be run.
    """
    run = work / "run"
    begin = [sys.executable, "-m", "splus_srgan", "train"]
    sitting = [] if minutes is None else ["--run.max_minutes", str(minutes)]
    if any((run / "checkpoints").glob("*.ckpt")):
        return [*begin, "--resume", str(run), *sitting]
    options = ["--preset", "twelve", "-o", str(run), "--overwrite", "--name", NAMES[form]]
    options += ["--data.cache", str(work / "fields"), "--run.precision", precision()]
    if form == "srgan":
        options += SRGAN
    elif rehearse:
        options += SMALL
    return [*begin, *options, *sitting, *(REHEARSAL if rehearse else ()), *changes]


def ship(work, version, *, form="fidelity", rehearse=False):
    """
    Calibrate and measure the weights of a run, and put them into the package.

    Parameters
    ----------
    work : `~pathlib.Path`
        Folder of a finished run.
    version : str
        Of the weights.
    form : {"fidelity", "srgan"}, optional
        Which of the two weights.
    rehearse : bool, optional
        Whether to take a field of each purpose, and install in WORK/installed.
    """
    number = dict.fromkeys(FIELDS, 1) if rehearse else FIELDS
    cards, table = work / "cards", work / "joint.ecsv"
    # The sharpest images are not those with the best scores.
    checkpoint = "best.ckpt" if form == "fidelity" else "last.ckpt"
    checkpoint, name = work / "run" / "checkpoints" / checkpoint, NAMES[form]
    options = ["--minutes", 0.02 if rehearse else HEAD_MINUTES, "--precision", precision()]
    options += ["--fields", number["calibration"], "--test", number["test"]]
    options += ["--ensemble", "--overwrite", "--name", name, "--version", version, "-o", cards]
    _run(sys.executable, "-m", "splus_srgan", "calibrate", checkpoint, *options)
    card = cards / f"{name}.json"
    options = ["--parts", "gains", "--methods", "bicubic", "--fields", number["gains"]]
    options += ["--sets", *SETS, "--weights", card, FIRST_STAGE, "-o", table]
    _run(sys.executable, ROOT / "benchmarks" / "joint_bands.py", *options)
    folder = work / "installed" if rehearse else SHIPPED
    install(card, Table.read(work / "joint-gains.ecsv"), folder)
    if not rehearse:
        _run(sys.executable, ROOT / "tools" / "model_cards.py")


def install(path, gains, folder):
    """Put a model card, with what was measured, and its weights into a folder."""
    card = json.loads(path.read_text())
    number = len(set(gains["field"]))
    scores = {
        "measured_with": f"benchmarks/joint_bands.py, {number} simulated fields of seeds (3, k)",
        "space": "asinh(100 x / 3), x in nanomaggies per output pixel, range of the truth",
    }
    for bands in SETS:
        for words, method in (("", card["name"]), (", each band by itself", FIRST_STAGE)):
            rows = gains[(gains["set"] == bands) & (gains["method"] == method)]
            scores[f"PSNR (dB) in {bands}{words}"] = {
                band: round(float(np.nanmean(rows["frame"][rows["band"] == band])), 2)
                for band in dict.fromkeys(rows["band"])
            }
    stated = ("coverage", "coverage_ensemble")
    card["scores"] = scores | {key: card["scores"][key] for key in stated if key in card["scores"]}
    card |= {"edge_reach": EDGE_REACH, "license": "BSD-3-Clause", "acknowledgements": THANKS}
    folder.mkdir(exist_ok=True)
    shutil.copyfile(path.with_name(card["file"]), folder / card["file"])
    (folder / path.name).write_text(json.dumps(card, indent=2) + "\n")


def _run(*typed):
    typed = [str(part) for part in typed]
    print("$ " + " ".join(typed), flush=True)
    subprocess.run(typed, check=True)


def main(arguments=None):
    """Run the command, and give its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("work", type=Path, help="folder of the run")
    parser.add_argument("--form", choices=tuple(NAMES), default="fidelity", help="of the weights")
    parser.add_argument("--minutes", type=float, help="length of this sitting")
    parser.add_argument("--rehearse", action="store_true", help="a handful of fields and steps")
    parser.add_argument("--ship", metavar="VERSION", help="install the weights of a finished run")
    parser.add_argument("changes", nargs="*", help="after --: options of splus-srgan train")
    told = parser.parse_args(arguments)
    if told.ship:
        ship(told.work, told.ship, form=told.form, rehearse=told.rehearse)
        return 0
    given = {name: getattr(told, name) for name in ("form", "minutes", "rehearse", "changes")}
    typed = command(told.work, **given)
    print(" ".join(typed), flush=True)
    return subprocess.run(typed, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
