# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The page of the user guide shows the limits that are in force."""

from pathlib import Path

from splus_srgan.evaluation.limits import limits_table

PAGE = Path(__file__).parents[2] / "docs" / "user_guide" / "evaluate.rst"


def rendered():
    """The table of all limits, as the page has it."""
    lines = [".. list-table::", "    :header-rows: 1", ""]
    head = ("topic", "check", "passes", "at least", "needed")
    for row in (head, *limits_table()):
        for k, cell in enumerate(row):
            lines.append(f"    {'* -' if k == 0 else '  -'} {cell}".rstrip())
    return "\n".join(lines)


def test_the_page_shows_every_limit():
    """Where a limit was changed on purpose, put `rendered()` between the two marks."""
    text = PAGE.read_text(encoding="utf-8")
    shown = text.partition(".. limits begin\n")[2].partition(".. limits end\n")[0]
    assert shown.strip() == rendered()
