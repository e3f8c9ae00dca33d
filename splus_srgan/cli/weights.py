# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The command ``splus-srgan weights``: what is shipped, and whether it is whole."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from splus_srgan.cli.checks import check_weights
from splus_srgan.cli.common import IfTyped, UsageError, add_config
from splus_srgan.cli.output import say

if TYPE_CHECKING:
    from jsonargparse import ArgumentParser, Namespace

__all__ = ["DESCRIPTION", "add_arguments", "run"]

DESCRIPTION = "list the shipped weights, show a model card, or verify the files"


def add_arguments(parser: ArgumentParser) -> None:
    """
    Add the arguments of the command.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.
    """
    add_config(parser)
    actions = ("list", "show", "verify")
    parser.add_argument("action", nargs="?", choices=actions, default="list", help="what to do")
    parser.add_argument(
        "name", type=str, nargs="?", metavar="NAME", action=IfTyped,
        help="one of those listed; all by default",
    )  # fmt: skip


def run(options: Namespace) -> None:
    """
    List, show or verify.

    Parameters
    ----------
    options : namespace
        Of the command.
    """
    from splus_srgan.models import weights

    if options.name is not None:
        check_weights(options.name, auto=False)
    if options.action == "show":
        if options.name is None:
            raise UsageError(f"weights show needs a name: one of {', '.join(weights.available())}")
        say(json.dumps(weights.load_card(options.name).to_dict(), indent=2))
        return
    for name in [options.name] if options.name else weights.available():
        if options.action == "verify":
            weights.verify(name)
            say(f"{name}: the file has the hash that its model card states")
        else:
            card = weights.load_card(name).to_dict()
            say(f"{name} {card['version']}: bands {', '.join(card['bands'])}")
