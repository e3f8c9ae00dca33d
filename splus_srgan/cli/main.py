# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The command ``splus-srgan``: each subcommand is a thin skin over one public function.

Every module of a command has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(options)``;
what the last returns is the exit status, `None` for success.  Nothing that takes long to
import is imported before the arguments are known to be right, so that ``--help`` and
mistakes are answered at once.
"""

import sys
import warnings
from argparse import ArgumentError

from jsonargparse import ArgumentParser

from splus_srgan._version import __version__
from splus_srgan.cli import (
    calibrate,
    demo,
    enhance,
    evaluate,
    fetch,
    match,
    simulate,
    train,
    weights,
)
from splus_srgan.cli.common import PROGRAM, UsageError

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = {
    "enhance": enhance,
    "evaluate": evaluate,
    "weights": weights,
    "demo": demo,
    "simulate": simulate,
    "fetch": fetch,
    "match": match,
    "train": train,
    "calibrate": calibrate,
}
"""Name to module of each command."""

# Raised for what the user gave: told in one line.  Anything else is a bug: told in full.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError)


def main(arguments=None):
    """
    Run the command line.

    Parameters
    ----------
    arguments : list of str, optional
        Arguments after the program's name; those of the process by default.

    Returns
    -------
    status : int
        0 for success, 1 for an error, 2 for a wrong command line, 3 where some of many
        failed, 130 when interrupted.
    """
    parser = build_parser()
    try:
        options = parser.parse_args(arguments)
    except ArgumentError as error:
        return _fail(error, 2, hint=f"see {PROGRAM} --help")
    command = options.command
    options = options[command]
    with warnings.catch_warnings():
        import astropy  # noqa: F401 (its import takes warnings over: only now are they ours)

        warnings.showwarning = _show_warning
        try:
            return COMMANDS[command].run(options) or 0
        except KeyboardInterrupt as error:
            told = f": {error}" if str(error) else ""
            print(f"{PROGRAM}: interrupted{told}", file=sys.stderr)
            return 130
        except _USER_ERRORS as error:
            if options.debug:
                raise
            return _fail(error, 2 if isinstance(error, UsageError) else 1)


def _fail(error, status, *, hint=None):
    """Report an error in one line and give the exit status."""
    message = " ".join(str(error).split()) or type(error).__name__
    print(f"{PROGRAM}: error: {message}" + (f" ({hint})" if hint else ""), file=sys.stderr)
    return status


def _show_warning(message, category, *args, **kwargs):
    print(f"{PROGRAM}: warning: {' '.join(str(message).split())}", file=sys.stderr)


def build_parser():
    """
    Build the parser of the command line.

    Returns
    -------
    parser : `jsonargparse.ArgumentParser`
        Parser with one subcommand per task.
    """
    parser = ArgumentParser(
        prog=PROGRAM,
        description="Super-resolution of S-PLUS images that keeps flux, WCS, masks and units.",
        version=__version__,
        exit_on_error=False,
    )
    commands = parser.add_subcommands(dest="command", title="commands")
    for name, module in COMMANDS.items():
        one = ArgumentParser(description=module.DESCRIPTION, exit_on_error=False)
        module.add_arguments(one)
        one.add_argument("--debug", action="store_true", help="show where an error arose")
        commands.add_subcommand(name, one, help=module.DESCRIPTION)
    return parser
