# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan train``: from a configuration to weights with their card."""

import sys

from splus_srgan.cli.common import UsageError
from splus_srgan.cli.output import level, say

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "train a generator, with or without a discriminator, and export its weights"

_PRESETS = ("seed", "default", "fidelity")


def add_arguments(parser):
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


def run(options):
    """
    Train and tell what came of it.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from splus_srgan.training.config.training import dump_config

    config = _config(options)
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


def _config(options):
    """Preset, then file, then options: the last one wins."""
    from splus_srgan.training.config.training import load_config

    overrides = _given(options)
    if options.resume is None or options.file or options.preset:
        try:
            return load_config(options.file, overrides, base=options.preset)
        except (ValueError, TypeError) as error:
            raise UsageError(str(error)) from error
    from splus_srgan.training.run import resumed_config

    return resumed_config(options.resume, overrides)


def _given(options):
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
