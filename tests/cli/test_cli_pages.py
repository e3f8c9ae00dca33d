# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Every command and option that the pages name exists."""

import re
from pathlib import Path

import pytest

from splus_srgan.cli.main import COMMANDS, build_parser, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.rst", ROOT / "CHANGES.rst", *sorted((ROOT / "docs").rglob("*.rst"))]
PAGES = [page for page in PAGES if not {"_build", "api"} & set(page.parts)]  # those that are made
# Options of other programs that the pages mention.
OTHERS = {"--help", "--version", "--cov", "--branch", "--doctest-rst", "--remote-data", "--slow"}
OTHERS |= {"--signal"}  # of SLURM


@pytest.fixture(scope="module")
def options():
    """Options of each command."""
    found = {}
    for name in COMMANDS:
        text = _help(name)
        found[name] = set(re.findall(r"--[a-z][\w.-]*", text)) | {"-o", "-q", "-v", "-h"}
    return found


def _help(name):
    text = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout.write", text.append)
        with pytest.raises(SystemExit):
            main([name, "--help"])
    return "".join(text)


def calls(text):
    """Calls of the program in a page: command and options, over the line ends that a `\\` joins."""
    text = re.sub(r"\\\n\s*", " ", text)
    pattern = r"(?:(?<=``)|(?<=\s\s)|(?<=&& )|(?<=-m splus_srgan ))splus-srgan +([^`\n]*)"
    for line in re.findall(pattern, text):
        words = re.split(r"[\s|>&;]+", line.partition(" && ")[0])
        yield line, words


def faults(text, options):
    """What a page names that is not there."""
    told = []
    for line, words in calls(text):
        if not words or words[0] in ("", "COMMAND") or words[0].startswith("--"):
            continue
        if words[0] not in COMMANDS:
            told.append(f"no command {words[0]!r}: {line}")
            continue
        flags = {word.partition("=")[0] for word in words[1:] if re.match(r"--?[a-z]", word)}
        told += [f"{words[0]} has no {flag}: {line}" for flag in flags - options[words[0]] - OTHERS]
    return told


def mentioned(text):
    """Options that a page names by themselves: ``--preview``."""
    return {flag.partition("=")[0] for flag in re.findall(r"``(--[a-z][\w.-]*)[^`]*``", text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_of_the_pages_exist(page, options):
    text = page.read_text(encoding="utf-8")
    assert faults(text, options) == []
    if "user_guide" in page.parts or page.name == "getting_started.rst":
        known = set().union(*options.values(), OTHERS, {"--completion"})
        assert mentioned(text) - known == set()


def test_no_page_speaks_of_the_paper_without_its_name():
    sources = [*(ROOT / "splus_srgan").rglob("*.py"), *(ROOT / "examples").rglob("*.py")]
    sources += [*(ROOT / "benchmarks").glob("*.py"), *PAGES, ROOT / "benchmarks/README.rst"]
    unnamed = re.compile(r"\b(?:[Tt]he|original|first)[\s#]+paper\b|original[\s#]+study\b")
    for path in sources:
        assert unnamed.findall(path.read_text(encoding="utf-8")) == [], path


def test_a_page_that_is_wrong_is_found(options):
    page = "x ``splus-srgan enhance a.fits --no-such`` and ``splus-srgan sharpen`` \n"
    assert len(faults(page, options)) == 2
    assert build_parser().prog == "splus-srgan"


def test_every_command_has_its_place_in_the_guide():
    text = (ROOT / "docs" / "user_guide" / "command_line.rst").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"``splus-srgan {name}``" not in text] == []
