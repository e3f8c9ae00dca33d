# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The calls that the page on the command line shows say what stands there, with that status."""

import re
from pathlib import Path

import pytest

from splus_srgan.cli import doctor
from splus_srgan.cli.main import COMMANDS, main

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "command_line.rst"
CALL = re.compile(
    r"^    \$ splus-srgan (.*)\n((?:    (?!\$).*\n)*)    \$ echo \$\?\n    (\d+)$", re.M
)
CALLS = [
    (call.split(), " ".join(told.split()), int(status))
    for call, told, status in CALL.findall(PAGE.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(("call", "told", "status"), CALLS, ids=lambda part: str(part)[:40])
def test_what_the_page_shows_is_what_is_said(call, told, status, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    # Trying the engine takes seconds.
    monkeypatch.setitem(
        doctor._LOOKS, "engine", lambda options: "torch in float32 on cpu, and works"
    )
    assert main(call) == status
    captured = capsys.readouterr()
    # Three dots stand for what depends on the machine.
    pattern = ".*".join(map(re.escape, told.split("...")))
    assert re.fullmatch(pattern, " ".join((captured.out + captured.err).split()))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_call_of_every_command_is_shown():
    wrong = {call[0] for call, _, status in CALLS if status}
    assert wrong == set(COMMANDS)
    assert {status for _, _, status in CALLS} >= {1, 2}
