# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""How ``--help`` reads: ranges and defaults as one types them, no names of types."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jsonargparse import DefaultHelpFormatter

if TYPE_CHECKING:
    from argparse import Action

__all__ = ["HelpFormatter", "note_in_words"]

_NOTE = re.compile(
    r" \((?P<required>required)?(?:, )?(?:type: (?P<type>.*?))?(?:, )?"
    r"(?:default: (?P<default>.*))?\)$",
    re.DOTALL,
)
_RANGES = (
    (r"IntFrom(\d+)", r"at least \1"),
    (r"NonNegative\w+", "at least 0"),
    (r"Positive\w+", "above 0"),
)
_NOTHING = ("null", "False", "[]")  # defaults that say no more than leaving the option out


class HelpFormatter(DefaultHelpFormatter):
    """Formatter of ``--help``, for `jsonargparse.ArgumentParser`."""

    def _expand_help(self, action: Action) -> str:
        # Descriptions of the configuration of a run are marked up for the pages.
        text = super()._expand_help(action).replace("`None`", "null").replace("`", "")
        found = _NOTE.search(text)
        if found is None or not any(found.groups()):
            return text
        note = note_in_words(
            required=bool(found["required"] and action.option_strings),
            kind=found["type"] or "",
            default=found["default"] or "",
        )
        return text[: found.start()] + (f" ({note})" if note else "")


def note_in_words(*, required: bool = False, kind: str = "", default: str = "") -> str:
    """
    What follows the description of an option.

    Parameters
    ----------
    required : bool, optional
        Whether it must be given.
    kind : str, optional
        Name of its type, which tells the range of a number.
    default : str, optional
        Its default, as Python prints it.

    Returns
    -------
    note : str
        Empty where there is nothing to say.

    Examples
    --------
    >>> from splus_srgan.cli.help import note_in_words
    >>> note_in_words(kind="IntFrom16", default="[128, 128]")
    'at least 16, default: 128 128'
    >>> note_in_words(kind="str", default="null")
    ''
    """
    notes = ["required"] if required else []
    for pattern, words in _RANGES:
        found = re.search(pattern, kind)
        if found:
            notes.append(found.expand(words))
    if default and default not in _NOTHING:
        notes.append(f"default: {re.sub(r'''[][',]''', '', default)}")
    return ", ".join(notes)
