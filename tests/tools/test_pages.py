# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What README and pages tell to type exists: commands, options, imports, references."""

import argparse
import ast
import importlib
import re
import shlex
import sys
from pathlib import Path

import pytest

from splus_srgan.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).parents[2]
WRITTEN = ("tutorials", "_build", "api", "reference")
PAGES = [
    ROOT / "README.rst",
    ROOT / "CONTRIBUTING.rst",
    *sorted(
        page
        for page in (ROOT / "docs").rglob("*.rst")
        if not set(page.relative_to(ROOT).parts) & set(WRITTEN)
    ),
]
TOOLS = {
    "splus-srgan": "its commands and options are checked here",
    "pip": "installs, which a test does not",
    "tox": "runs the tests themselves",
    "pre-commit": "changes the clone",
    "python": "scripts of benchmarks and tools take minutes; that they exist is checked here",
    "towncrier": "makes a release",
    "torchrun": "needs several machines",
    "srun": "needs a cluster",
    "run=runs/mine": "part of a script for a cluster",
    "if": "part of a script for a cluster",
    "else": "part of a script for a cluster",
    "fi": "part of a script for a cluster",
    "#SBATCH": "part of a script for a cluster",
    "#!/bin/bash": "part of a script for a cluster",
    "--no-python": "part of a script for a cluster",
    "--run.accelerator": "part of a script for a cluster",
}
"""First word of a line in a block of commands, and why the line is not run as it stands."""


def blocks(page):
    """Literal blocks of a page: (line number, language, text)."""
    lines = page.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines):
        directive = re.match(r"( *)\.\. (?:code-block|code):: *(\w*)$", line)
        if directive or (line.rstrip().endswith("::") and not line.lstrip().startswith("..")):
            indent = len(line) - len(line.lstrip())
            body = []
            for one in lines[number + 1 :]:
                if one.strip() and len(one) - len(one.lstrip()) <= indent:
                    break
                body.append(one)
            text = "\n".join(body).strip("\n")
            if text.strip():
                yield number + 1, directive[2] if directive else "", _dedent(text)


def _dedent(text):
    lines = text.splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return "\n".join(line[indent:] for line in lines)


def all_blocks():
    """Every block as a test parameter, but for doctests, which pytest runs."""
    for page in PAGES:
        for number, language, text in blocks(page):
            if ">>>" not in text:
                name = f"{page.relative_to(ROOT)}:{number}"
                yield pytest.param(language, text, id=name)


def kind_of(language, text):
    """What a block is: python, shell, recording of a terminal, config, text."""
    if text.startswith("$ "):
        return "recording"
    if language in ("yaml", "toml", "json", "text", "rst"):
        return "config"
    first = text.split()[0]
    if language in ("bash", "sh", "shell", "console") or first in TOOLS:
        return "shell"
    if re.match(r"[\w/]+/$|preset:|\w+: ", text.splitlines()[0].strip()):
        return "config"
    return "python" if language == "python" or _parses(text) else "text"


def _parses(text):
    try:
        return bool(ast.parse(text).body)
    except SyntaxError:
        return False


def options_of(command):
    """All options of a command, nested ones included."""
    for action in build_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            return set(action.choices[command]._option_string_actions)
    raise AssertionError("the parser has no commands")


def check_command(words):
    """A call of splus-srgan names a command and options that exist."""
    if words[1].startswith("-"):
        assert words[1] in build_parser()._option_string_actions
        return
    assert words[1] in COMMANDS, f"there is no command {words[1]!r}"
    known = options_of(words[1])
    for word in words[2:]:
        if word.startswith("-") and not re.fullmatch(r"-?[\d.]+", word):
            assert word.split("=")[0] in known, f"{words[1]} has no option {word}"


@pytest.mark.parametrize(("language", "text"), list(all_blocks()))
def test_a_block_of_code_is_right(language, text):
    """Commands and options exist, Python parses and its imports work."""
    kind = kind_of(language, text)
    if kind == "python":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module.startswith("splus_srgan"):
                module = importlib.import_module(node.module)
                for alias in node.names:
                    assert hasattr(module, alias.name), f"{node.module} has no {alias.name}"
    elif kind == "recording":  # test_cli_transcript compares what was said
        called = re.findall(r"^\$ splus-srgan (\S+)", text, re.M)
        assert called
        assert set(called) <= set(COMMANDS)
    elif kind == "shell":
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=not line.startswith("#")) or [""]
            if words == [""]:
                continue
            assert words[0] in TOOLS, f"say in TOOLS why {words[0]!r} is not run"
            if "splus-srgan" in words and "<" not in line:
                start = words.index("splus-srgan")
                stop = next((k for k, w in enumerate(words) if w in (">", "&&", "|") and k > start),
                            len(words))  # fmt: skip
                check_command(words[start:stop])
            for word in words:
                if re.fullmatch(r"(benchmarks|tools)/\w+\.py", word):
                    assert (ROOT / word).is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_commands_named_in_the_text_exist(page):
    """``splus-srgan COMMAND`` and ``benchmarks/NAME.py`` within sentences, too."""
    text = page.read_text(encoding="utf-8")
    for found in re.findall(r"``splus-srgan ([a-z][\w-]*)[^`]*``", text):
        assert found in COMMANDS
    for found in re.findall(r"``(?:python )?((?:benchmarks|tools)/\w+\.py)", text):
        assert (ROOT / found).is_file(), found


def test_the_kinds_of_defects_are_seen():
    """The checks above fail on what they are for."""
    with pytest.raises(AssertionError, match="no command"):
        check_command(["splus-srgan", "sharpen"])
    with pytest.raises(AssertionError, match="no option"):
        check_command(["splus-srgan", "enhance", "a.fits", "--sharper"])
    assert kind_of("", "from splus_srgan import nothing") == "python"
    assert sys.version_info >= (3, 11)
