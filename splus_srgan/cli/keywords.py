# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Keywords of Python in messages, as options of the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["keywords_as_options"]

# A keyword with a value as Python writes it, or with none.  A file that is named "run=3.fits"
# has neither, and what follows a path, a dot or a quote is no keyword.
_VALUE = r"True|False|None|'[^']*'|\([^()]*\)|-?\d[\d.]*(?=[\s,;:)]|$)|(?=[\s,;:)]|\.{3}|$)"
_KEYWORD = re.compile(rf"(?<![\w./'\"-])([a-z_]\w+)=({_VALUE})")
_CALL = re.compile(r"\b[A-Za-z_][\w.]*\((?=[^\s)])(?:[^()]|\([^()]*\))*\)")
_GROUP = re.compile(r" \(((?:[^()]|\([^()]*\))*)\)")
_ADVICE = re.compile(
    r"(?:check|choose|close|correct|fetch|free|give|install|make|mask|name|pass|read|request|set|"
    r"subtract|take|train|try|use|wrap|write|download) "
)

# What a switch of Python is on the command line, where that takes a word.
_WORDS = {"uncertainty": {"True": "generator", "False": "none"}}


def keywords_as_options(text: str, flags: Mapping[str, str]) -> str:
    """
    Say which option to give where a message says which keyword.

    Advice that the command has no option for is left out: it helps nobody there.

    Parameters
    ----------
    text : str
        A message of the package, in one line.
    flags : dict of str to str
        As of `~splus_srgan.cli.words.flag_names`.

    Returns
    -------
    text : str
        The message, with ``--sky`` for ``sky=`` and ``--psf measure`` for ``psf='measure'``.

    Examples
    --------
    >>> from splus_srgan.cli.keywords import keywords_as_options
    >>> text = "no sky found; give sky= if that is wrong"
    >>> keywords_as_options(text, {"sky": "--sky"})
    'no sky found; give --sky if that is wrong'
    >>> keywords_as_options(text, {"seed": "--seed"})
    'no sky found'
    """
    for name, flag in flags.items():
        text = re.sub(rf"^{re.escape(name)}(?= must\b|:)", flag, text)
    return _without_keywords(text, flags)


def _without_keywords(text: str, flags: Mapping[str, str]) -> str:
    text = _GROUP.sub(lambda m: _group(m.group(1), flags), text)
    first, others = _pieces(text)
    kept = [_replaced(first, flags)]
    for mark, piece in others:
        told = _replaced(piece, flags)
        if _speaks_python(told) and not piece.startswith("got "):
            told = _alternatives(piece, flags)
        if told:
            kept.append(f"{mark} {told}")
    return re.sub(r"(--[\w-]+) \(\1\)", r"\1", "".join(kept))


def _group(text: str, flags: Mapping[str, str]) -> str:
    """What stands in brackets, or nothing where that is about a keyword."""
    told = _without_keywords(text, flags)
    return "" if _speaks_python(told) else f" ({told})"


def _pieces(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The parts of a message between semicolons, colons and full stops, outside of brackets."""
    marks, depth = [], 0
    for place, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        if depth == 0 and letter in ";:." and text[place + 1 : place + 2] == " ":
            marks.append(place)
    ends = [*marks, len(text)]
    return text[: ends[0]], [
        (text[start], text[start + 2 : end]) for start, end in zip(marks, ends[1:], strict=True)
    ]


def _alternatives(piece: str, flags: Mapping[str, str]) -> str:
    """Of "do this, or that" what can be done on the command line."""
    verb = _ADVICE.match(piece)
    if not verb:
        return ""
    kept, cut = [], False
    for part in re.split(r",? or ", piece):
        told = _replaced(part, flags)
        if _speaks_python(told):
            cut = True
        elif not cut or _ADVICE.match(told):
            kept.append(told)
        elif "--" in told:  # the verb went with the keyword before
            kept.append(told if kept else f"{verb.group()}{told}")
    return ", or ".join(kept)


def _speaks_python(text: str) -> bool:
    return bool(_KEYWORD.search(text) or _CALL.search(text))


def _replaced(text: str, flags: Mapping[str, str]) -> str:
    return _KEYWORD.sub(lambda m: _option(m, flags), text)


def _option(match: re.Match[str], flags: Mapping[str, str]) -> str:
    """One keyword with its value as an option, where there is one."""
    name, value = match.groups()
    if value.startswith("'"):  # a choice: its option may be one of a section
        sections = [key for key in flags if key.rpartition(".")[2] == name]
        name = sections[0] if len(sections) == 1 else name
    if value == "False" and name not in _WORDS:
        return flags.get(f"no_{name}", match.group())
    if name not in flags or match.string[: match.start()].endswith("("):
        return match.group()
    value = _WORDS.get(name, {}).get(value, value).strip("()'")
    value = " ".join(re.findall(r"[^\s,']+", value))
    return flags[name] if value in ("", "True") else f"{flags[name]} {value}"
