# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan train``: from a configuration to weights with their model card."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from splus_srgan.cli.checks import as_usage
from splus_srgan.cli.common import UsageError
from splus_srgan.cli.output import level, say

if TYPE_CHECKING:
    from typing import Any

    from jsonargparse import ArgumentParser, Namespace

    from splus_srgan.training.config.training import TrainingConfig

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "train a generator, with or without a discriminator, and export its weights"

_PRESETS = ("seed", "default", "fidelity", "twelve")


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    from splus_srgan.training.config.training import add_config_arguments

    parser.add_argument(
        "file", nargs="?", metavar="CONFIG", help="YAML or TOML file with what is to be otherwise"
    )
    parser.add_argument(
        "--preset", choices=_PRESETS, help="what the rest changes: default if nothing else says"
    )
    parser.add_argument(
        "--resume", metavar="RUN", help="folder of a run, or one of its checkpoints"
    )
    parser.add_argument("-o", "--output", metavar="DIR", help="folder of the run, run.output")
    parser.add_argument("--overwrite", action="store_true", help="replace another run in there")
    # jsonargparse gives this very option an empty value.
    parser.add_argument(
        "--print_config", nargs="?", const="", help="print the whole configuration and stop"
    )
    add_config_arguments(parser)


def run(options: Namespace) -> None:
    """
    Train and tell what came of it.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from splus_srgan.training.config.training import dump_config

    config = _config(options)
    if not (options.file or options.preset or options.resume or options.print_config is not None):
        say(_plan(config))
        raise UsageError(f"train needs --preset ({', '.join(_PRESETS)}), CONFIG or --resume RUN")
    if options.print_config is not None:
        print(dump_config(config), end="")
        return
    from splus_srgan.training.run import train
    from splus_srgan.training.trainer import is_first_process

    result = train(
        config,
        resume=options.resume,
        overwrite=options.overwrite,
        progress_bar=config.run.progress_bar and level() >= 0 and sys.stderr.isatty(),
    )
    if not is_first_process():
        return
    score = "" if result.best_score is None else f"; best score {result.best_score:.2f} dB"
    say(f"{result.folder}: {result.step} steps{score}")
    say(result.card)


def _config(options: Namespace) -> TrainingConfig:
    """Preset, then file, then options: the last one wins."""
    from splus_srgan.training.config.training import load_config, read_keys

    overrides, keys = _given(options), {}
    if options.resume is not None and options.file and not options.preset:
        with as_usage():
            keys = read_keys(options.file)
    # Of a run that goes on, a file that names no preset says what is to be otherwise.
    if options.resume is not None and not (options.preset or "preset" in keys):
        from splus_srgan.training.run import resumed_config

        earlier = resumed_config(options.resume).to_dict()
        with as_usage():
            return load_config(load_config(earlier, keys).to_dict(), overrides)
    with as_usage():
        config = load_config(options.file, overrides, base=options.preset)
    return config if options.resume is None else _in_its_folder(config, options.resume)


def _given(options: Namespace) -> dict[str, Any]:
    """Keys of the configuration that the command line has."""
    own = (
        "file",
        "preset",
        "resume",
        "output",
        "overwrite",
        "print_config",
        "debug",
        "quiet",
        "verbose",
    )
    given = {
        key: value.as_dict() if hasattr(value, "as_dict") else value
        for key, value in vars(options).items()
        if key not in own
    }
    if options.output is not None:
        given["run.output"] = options.output
    return given


def _in_its_folder(config: TrainingConfig, resume: str) -> TrainingConfig:
    """A configuration that names no folder resumes in that of the run."""
    import dataclasses

    from splus_srgan.training.run import resumed_config

    if config.run.output != type(config.run)().output:
        return config
    run = dataclasses.replace(config.run, output=resumed_config(resume).run.output)
    return dataclasses.replace(config, run=run)


def _plan(config: TrainingConfig) -> str:
    """What training would be: data, steps, and roughly how long."""
    data, run = config.data, config.run
    pairs = f"{data.n_pairs} simulated pairs" if data.simulated else ", ".join(data.sources)
    lines = [
        f"recipe: {config.name}",
        f"data: {pairs}; bands {', '.join(data.bands)}; {data.batch_size} crops of "
        f"{data.crop or min(data.shape)} pixels a step",
    ]
    if run.steps_per_epoch is not None:
        steps = run.epochs * run.steps_per_epoch
        lines.append(f"steps: {steps} ({run.epochs} epochs)")
        lines.append(f"time: roughly {steps * _seconds_of_a_step(config) / 3600:.1f} h on this CPU")
    return "\n".join([*lines, f"folder: {run.output}"])


def _seconds_of_a_step(config: TrainingConfig) -> float:
    """Operations of the generator, forth and back, at the speed of a matrix product."""
    import time

    import torch

    from splus_srgan.training.networks import make_generator

    side = config.data.crop or min(config.data.shape)
    weights = sum(value.numel() for value in make_generator(config).parameters())
    operations = 6 * weights * side**2 * config.data.batch_size
    matrix = torch.ones(1024, 1024)
    start = time.perf_counter()
    for _ in range(3):
        matrix @ matrix
    return operations * (time.perf_counter() - start) / (3 * 2 * 1024**3)
