# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The look through the built pages finds what it is to find."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "check_site.py"
PAGE = """<!DOCTYPE html><html lang="en"><head><title>One</title></head><body><h3>Menu</h3><main>
<h1 id="top">One</h1><h2 id="part">Part</h2><h3>Within</h3><h2>Next</h2><a href="#part">part</a>
<a href="two.html#top">two</a><a href="https://example.org/#x">out</a>
<img src="a.png" alt="A field"><div class="sphx-glr-thumbcontainer"><img src="a.png" alt=""></div>
<svg><title>drawn</title></svg></main></body></html>"""


def look(folder, page=PAGE):
    (folder / "index.html").write_text(page, encoding="utf-8")
    (folder / "two.html").write_text(PAGE.replace("two.html", "index.html"), encoding="utf-8")
    (folder / "a.png").write_bytes(b"")
    done = subprocess.run([sys.executable, TOOL, folder], capture_output=True, text=True)
    return done.returncode, done.stdout


def test_sound_pages_have_no_faults(tmp_path):
    assert look(tmp_path) == (0, "2 pages, 0 faults\n")


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (' alt="A field"', "", "no text (alt) for a.png"),
        ('alt="A field"', 'alt=" "', "no text (alt) for a.png"),
        ("<h2>Next</h2>", "<h4>Next</h4><h2>Next</h2>", ""),
        ("<h3>Within</h3>", "<h4>Within</h4>", "heading of level 4 after one of level 2"),
        ("<h2>Next</h2>", "<h1>Next</h1>", "2 headings of the first level"),
        (' lang="en"', "", "no title, more than one, or no language"),
        ("two.html#top", "two.html#bottom", "link to no place: two.html#bottom"),
        ("two.html#top", "three.html", "link to nowhere: three.html"),
        ('src="a.png" alt="A', 'src="b.png" alt="A', "link to nowhere: b.png"),
    ],
)
def test_faults_are_found(tmp_path, old, new, fault):
    status, told = look(tmp_path, PAGE.replace(old, new, 1))
    assert status == bool(fault)
    assert told == (f"index.html: {fault}\n2 pages, 1 faults\n" if fault else "2 pages, 0 faults\n")
