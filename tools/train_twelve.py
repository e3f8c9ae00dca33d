# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Train the second stage for any subset of the twelve bands, in as many sittings as it takes.

    python tools/train_twelve.py WORK                  # begins, or goes on where it was stopped
    python tools/train_twelve.py WORK --minutes 60     # one sitting of an hour
    python tools/train_twelve.py WORK --rehearse       # a handful of fields and steps

WORK/run is a run of the preset ``twelve`` with its checkpoints and metrics, WORK/fields keeps
what was simulated.  On a GPU, and on processors that multiply it, bodies run in bfloat16;
elsewhere in float32.  Options after ``--`` change the configuration of a new run::

    python tools/train_twelve.py WORK -- --data.batch_size 8
"""

import argparse
import subprocess
import sys
from pathlib import Path

REHEARSAL = (
    *("--generator.n_features", "8", "--generator.n_blocks", "1"),
    *("--data.n_pairs", "2", "--data.n_validation", "1", "--data.crop", "24"),
    *("--data.shape", "[32,32]", "--data.batch_size", "2"),
    *("--run.epochs", "2", "--run.steps_per_epoch", "2", "--run.validate_every", "1"),
)


def precision():
    """bfloat16 where the hardware multiplies it, else float32: emulation is slower."""
    from splus_srgan.models.engines import resolve_device, resolve_precision

    return resolve_precision("auto", resolve_device("auto"))


def command(work, *, minutes=None, rehearse=False, changes=()):
    """
    Give the command that begins a run, or goes on with it.

    Parameters
    ----------
    work : `~pathlib.Path`
        Folder of the run and its fields.
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
    options = ["--preset", "twelve", "-o", str(run), "--overwrite"]
    options += ["--data.cache", str(work / "fields"), "--run.precision", precision()]
    return [*begin, *options, *sitting, *(REHEARSAL if rehearse else ()), *changes]


def main(arguments=None):
    """Run the command, and give its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("work", type=Path, help="folder of the run")
    parser.add_argument("--minutes", type=float, help="length of this sitting")
    parser.add_argument("--rehearse", action="store_true", help="a handful of fields and steps")
    parser.add_argument("changes", nargs="*", help="after --: options of splus-srgan train")
    told = parser.parse_args(arguments)
    typed = command(told.work, minutes=told.minutes, rehearse=told.rehearse, changes=told.changes)
    print(" ".join(typed), flush=True)
    return subprocess.run(typed, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
