# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
The command ``splus-srgan``: each subcommand is a thin skin over one public function.

Every module of a command has ``DESCRIPTION``, ``add_arguments(parser)`` and ``run(options)``;
what the last returns is the exit status, `None` for success.  Nothing that takes long to
import is imported before the arguments are known to be right, so that ``--help`` and
mistakes are answered at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from jsonargparse import ArgumentParser

from splus_srgan._version import __version__
from splus_srgan.cli import (
    calibrate,
    demo,
    doctor,
    enhance,
    evaluate,
    fetch,
    match,
    simulate,
    train,
    weights,
)
from splus_srgan.cli.common import PROGRAM, UsageError
from splus_srgan.cli.help import HelpFormatter
from splus_srgan.cli.output import mend_streams, set_level, tell
from splus_srgan.cli.words import flag_names, in_command_words
from splus_srgan.utils.bounded_yaml import parser_mode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import FrameType
    from typing import Any

    from jsonargparse import Namespace

__all__ = ["COMMANDS", "build_parser", "main"]

COMMANDS = {
    "enhance": enhance,
    "evaluate": evaluate,
    "weights": weights,
    "doctor": doctor,
    "demo": demo,
    "simulate": simulate,
    "fetch": fetch,
    "match": match,
    "train": train,
    "calibrate": calibrate,
}
"""Name to module of each command."""

_PLACES = {
    "output": "a folder",
    "batch": "a table, a folder or a pattern",
    "pairs": "a folder",
    "table": "a table",
    "file": "a file",
    "resume": "a run",
    "weights": "weights",
}
"""Options that are paths, and what they name."""

_ERROR, _USAGE, _INTERRUPTED = 1, 2, 130
_CLOSED = 128 + 13  # as if by SIGPIPE
# Raised for what the user gave.  Anything else is a fault of ours, and says so.
_USER_ERRORS = (ValueError, TypeError, OSError, ImportError, MemoryError, FloatingPointError)
_USER_ERRORS += (Warning,)  # of "python -W error"


def main(arguments: Sequence[str] | None = None) -> int:
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
        failed, 130 when interrupted, 141 where nobody reads what is printed.
    """
    mend_streams()
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        status = _main(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer is not to fail once more at the end.
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return _CLOSED
    return status


def _main(arguments: list[str]) -> int:
    parsers = _parsers()
    command = next((one for one in arguments if one in COMMANDS), "")
    flags = flag_names(parsers[command]) if command else {}
    try:
        options = parsers[""].parse_args(arguments)[command]
        _check_values(parsers[command], options)
        _split_bands(options)
    except Exception as error:  # whatever the parser stumbles over was given to it
        if "--debug" in arguments:
            raise
        hint = f"{PROGRAM} {command}".strip()
        return _fail(error, _USAGE, flags, command, hint=f"see {hint} --help")
    set_level(options.quiet, options.verbose)
    try:
        with warnings.catch_warnings(), _signals():
            import astropy  # noqa: F401 (its import takes warnings over: only now are they ours)

            warnings.showwarning = lambda message, *args, **kwargs: tell(
                f"{PROGRAM}: warning: {in_command_words(message, flags)}", least=0
            )
            return _run(command, options, flags)
    finally:
        set_level()


def _run(command: str, options: Namespace, flags: Mapping[str, str]) -> int:
    """Run a command, and turn errors into a line and a status."""
    try:
        return COMMANDS[command].run(options) or 0
    except KeyboardInterrupt as error:
        told = f": {error}" if str(error) else ""
        tell(f"{PROGRAM}: interrupted{told}")
        return _INTERRUPTED
    except BrokenPipeError:
        raise
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, _USER_ERRORS):
            return _fail(error, _USAGE if isinstance(error, UsageError) else _ERROR, flags)
        told = f"unexpected {type(error).__name__}: {error}"
        return _fail(told, _ERROR, flags, hint="a fault of the program: --debug shows where")


def _fail(
    error: BaseException | str,
    status: int,
    flags: Mapping[str, str],
    command: str = "",
    *,
    hint: str | None = None,
) -> int:
    """Report an error in one line and give the exit status."""
    message = in_command_words(error, flags, command)
    if isinstance(error, MemoryError):
        message = f"not enough memory: {message or 'take a smaller image or --block-size'}"
    message = message or type(error).__name__
    tell(f"{PROGRAM}: error: {message}" + (f" ({hint})" if hint else ""))
    return status


def _check_values(parser: ArgumentParser, options: Namespace) -> None:
    """
    Refuse for a switch all but true and false, and for a place what names none; put in the home.

    Text in a file, such as "false", would be true.
    """
    switches = [a.dest for a in parser._actions if a.nargs == 0 and a.default is False]
    for name in switches:
        if not isinstance(options[name], bool):
            raise UsageError(f"{name} must be true or false; got {options[name]!r}")
    for action in parser._actions:
        value = options.get(action.dest)
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise UsageError(f"{action.dest} must be text without zero bytes; got {value!r}")
    for name, what in _PLACES.items():
        # A variable of the shell that is not set must not mean the working folder.
        if options.get(name) == "":
            raise UsageError(f"{name} must name {what}; got an empty text")
        if isinstance(options.get(name), str):
            options[name] = os.path.expanduser(options[name])


def _split_bands(options: Namespace) -> None:
    """Take ``--bands gri`` and ``--bands r,J0660`` as Python takes them."""
    if options.get("bands"):
        from splus_srgan.images.bands import listed_bands

        # An empty name stays, for the command to refuse.
        options.bands = [name for text in options.bands for name in listed_bands(text) or [text]]


@contextmanager
def _signals() -> Iterator[None]:
    """
    Take SIGTERM, as batch systems send it, and SIGHUP for Ctrl-C: nothing half done stays.

    A SIGHUP that is ignored, as ``nohup`` has it, stays so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in before.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _interrupt)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, frame: FrameType | None) -> None:
    words = {"SIGTERM": "terminated", "SIGHUP": "hung up"}
    raise KeyboardInterrupt(words[signal.Signals(number).name])


class _Completion(argparse.Action):
    """Print the script that completes commands and options in a shell."""

    def __call__(
        self, parser: Any, namespace: Any, values: Any, option_string: str | None = None
    ) -> None:
        from splus_srgan.utils.optional import import_optional

        import_optional("shtab", "completion")
        sys.stdout.write(parser.get_completion_script(f"shtab-{values}"))
        raise SystemExit(0)


def build_parser() -> ArgumentParser:
    """
    Build the parser of the command line.

    Returns
    -------
    parser : `jsonargparse.ArgumentParser`
        Parser with one subcommand per task.
    """
    return _parsers()[""]


def _parsers() -> dict[str, ArgumentParser]:
    """The parser of the program, by ``""``, and those of the commands, by name."""
    options: dict[str, Any] = {
        "exit_on_error": False,
        "parser_mode": parser_mode(),
        "formatter_class": HelpFormatter,
    }
    parser = ArgumentParser(
        prog=PROGRAM,
        description="Super-resolution of S-PLUS images that keeps flux, WCS, masks and units.",
        version=__version__,
        **options,
    )
    parser.add_argument(
        "--completion", choices=("bash", "zsh", "tcsh"), action=_Completion,
        help="print the script that completes commands and options in this shell, and stop",
    )  # fmt: skip
    commands = parser.add_subcommands(dest="command", title="commands")
    parsers = {"": parser}
    for name, module in COMMANDS.items():
        one = ArgumentParser(description=module.DESCRIPTION, **options)
        module.add_arguments(one)
        one.add_argument("-q", "--quiet", action="store_true", help="say errors alone")
        one.add_argument("-v", "--verbose", action="store_true", help="say more")
        one.add_argument("--debug", action="store_true", help="show where an error arose")
        commands.add_subcommand(name, one, help=module.DESCRIPTION)
        parsers[name] = one
    return parsers
