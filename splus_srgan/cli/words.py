# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Messages of the parser and of the package, in the words of the command line."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from splus_srgan.cli.keywords import keywords_as_options
from splus_srgan.exceptions import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jsonargparse import ArgumentParser

__all__ = ["flag_names", "in_command_words"]

_GOT_SEVERAL = re.compile(
    r"\bgot [(\[]((?:'[\w.+-]*'|-?[\w.]+)(?:, (?:'[\w.+-]*'|-?[\w.]+))*),?[)\]]$"
)

_KINDS = {
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "NoneType": "null",
}


_LISTS = ("<class 'tuple'>", "<class 'list'>")


def flag_names(parser: ArgumentParser) -> dict[str, str]:
    """
    Names of the options of a command, as one types them.

    Parameters
    ----------
    parser : `jsonargparse.ArgumentParser`
        Parser of the command.

    Returns
    -------
    names : dict of str to str
        Name of the value to that of the option: ``"block_size"`` to ``"--block-size"``,
        ``"files"`` to ``"FILE"``.
    """
    names = {}
    for action in parser._actions:
        flags = [flag for flag in action.option_strings if flag.startswith("--")]
        metavar = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
        names[action.dest] = (flags or action.option_strings or [metavar])[0]
    return names


def in_command_words(
    text: object, flags: Mapping[str, str] | None = None, command: str = ""
) -> str:
    """
    Say a message in the words of the command line.

    Parameters
    ----------
    text : str
        A message of jsonargparse, or of a function of the package, which names keywords.
    flags : dict of str to str, optional
        As of `flag_names`.
    command : str, optional
        Name of the command.

    Returns
    -------
    text : str
        In one line.

    Examples
    --------
    >>> from splus_srgan.cli.words import in_command_words
    >>> flags = {"overwrite": "--overwrite", "block_size": "--block-size"}
    >>> in_command_words("a.fits exists; pass overwrite=True to replace it", flags)
    'a.fits exists; pass --overwrite to replace it'
    >>> in_command_words("block_size must be at least 16; got 8", flags)
    '--block-size must be at least 16; got 8'
    """
    text = " ".join(printable(text).split())
    text = _of_the_parser(text)
    flags = flags or {}
    if command:
        text = re.sub(rf"\b{command}\.([\w.]+)", lambda m: flags.get(m.group(1), m.group(1)), text)
    return keywords_as_options(_GOT_SEVERAL.sub(_as_typed, text), flags)


def _as_typed(match: re.Match[str]) -> str:
    """Values as one types them, for a tuple or a list as Python writes it."""
    return "got " + " ".join(re.findall(r"[^\s,']+", match[1]))


def _of_the_parser(text: str) -> str:
    text = text.removeprefix("Validation failed: ")
    # From version 5 on: where the value was found, and kinds by their names alone.
    text = re.sub(r" Source: command line argument \S+$", "", text)
    text = re.sub(r'^Parser key "([\w.]+)"( element \d+)?: ?', r"\1: ", text)
    text = re.sub(
        r"Does not validate against any of the Union subtypes Subtypes: \[(.*)\] Errors: .* "
        r"Given value type: .* Given value: (.*)$",
        lambda m: f"must be {_kinds(m.group(1))}; got {m.group(2)}",
        text,
    )
    text = re.sub(
        r"Expected type: (.*?)\. Got value: (.*?)( Subtype errors: .*)?$",
        lambda m: f"must be {_named_kinds(m.group(1))}; got {m.group(2)}",
        text,
    )
    text = re.sub(
        r"Expected an? (<class '[\w.]+'>|typing\.\w+\[.*?\]|list\[.*?\]|tuple\[.*?\])\. "
        r"Got value: (.*)$",
        lambda m: f"must be {_kinds(m.group(1))}; got {m.group(2)}",
        text,
    )
    text = re.sub(
        r"Not of type \w+: (.*?) does not conform to restriction v(>=?)(\S+)$",
        lambda m: f"must be {'at least' if m[2] == '>=' else 'above'} {m[3]}; got {m[1]}",
        text,
    )
    text = re.sub(
        r"Not of type \w+: (?:invalid literal for int\(\)|could not convert string to (float)).*?: "
        r"'(.*)'$",
        lambda m: f"must be {_KINDS[m[1] or 'int']}; got {m[2]}",
        text,
    )
    text = re.sub(r"^expected \"command\" to be one of .*$", "a command is needed", text)
    text = re.sub(
        r"^argument command: invalid choice: (.*?) \(choose from (.*)\)$",
        r"invalid choice: \1; the commands are \2",
        text,
    )
    text = re.sub(
        r"^argument (\S+): invalid choice: (.*?) \(choose from (.*)\)$",
        r"\1 must be one of \3; got \2",
        text,
    )
    text = re.sub(r"^argument (\S+): expected (.*?)arguments?$", _needs, text)
    text = re.sub(
        r"^Subcommand '(\w+)' does not accept option '(.*)'", r"\1 has no option \2", text
    )
    text = re.sub(r"^([\w.]+): must be ", r"\1 must be ", text)
    text = re.sub(r"^\[Errno \d+\] (.*?): '(.*)'$", r"\2: \1", text)
    text = re.sub(r"\b(?:OS|Type|Value)Error: ", "", text)
    text = re.sub(r"\bbegins with b(?=['\"])", "begins with ", text)
    text = re.sub(r"^unrecognized arguments: (?=-)", "unknown options: ", text)
    return text.replace("unrecognized arguments:", "unknown arguments:")


def _named_kinds(text: str) -> str:
    """Say types in words: ``Union[IntFrom16, Literal['auto']]``."""
    known = re.sub(r"Literal\[.*?\]", "", text)
    classes = re.findall(r"\b(?!Union\b|Optional\b|None\b)[A-Za-z]\w*", known)
    if re.match(r"(list|tuple|Sequence)\b", text, re.IGNORECASE):
        return _kinds("<class 'list'>")
    parts = [f"<class '{name if name in _KINDS else f'of.{name}'}'>" for name in classes]
    return _kinds(", ".join([*parts, *re.findall(r"Literal\[.*?\]", text)]))


def _needs(match: re.Match[str]) -> str:
    """How many values an option needs: argparse says "one", "at least one", or a number."""
    option, number = match.groups()
    return f"{option} needs {number}value{'' if number.strip().endswith('one') else 's'}"


def _kinds(text: str) -> str:
    """Say types in words: ``<class 'int'>, typing.Literal['auto']``."""
    if re.match(r"(typing\.)?(list|tuple|Sequence)\[", text) or text in _LISTS:
        return "a list, such as [a, b]"
    words: list[str] = []
    for known, choices in re.findall(r"<class '([\w.]+)'>|Literal\[(.*?)\]", text):
        least = re.fullmatch(r".*\.IntFrom(\d+)", known)
        word = f"an integer of at least {least[1]}" if least else _KINDS.get(known, known)
        words += [word] if known else re.findall(r"'(.*?)'", choices)
    return " or ".join(dict.fromkeys(words)) or text
