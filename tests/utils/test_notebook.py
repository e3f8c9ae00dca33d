# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What objects show of themselves: short, and safe in a notebook."""

from html.parser import HTMLParser

import pytest

from splus_srgan import SRGANEnhancer, simulate_field
from splus_srgan.evaluation import Evaluation, judge_topics
from splus_srgan.evaluation.checks import Check
from splus_srgan.models.weights import load_card

EVIL = "<script>alert(1)</script>"


class Tags(HTMLParser):
    """Names of the elements of a text, and those that stay open."""

    def __init__(self, text):
        super().__init__()
        self.seen, self.open, self.pictures = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        if tag == "img":
            self.pictures.append(dict(attrs))
        else:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def evaluation():
    """Two checks, one of which fails."""
    checks = [
        Check("photometry", "median flux offset", "r", 0.002, 0.01, unit="mag"),
        Check("photometry", EVIL, "z", -0.03, 0.01, unit="mag"),
    ]
    return Evaluation(EVIL, [], None, checks)


OBJECTS = {
    "enhancer": lambda: SRGANEnhancer(device="cpu"),
    "enhancer with weights": lambda: SRGANEnhancer("splus-any", device="cpu"),
    "card": lambda: load_card("splus-grz"),
    "field": lambda: simulate_field(1, shape=(32, 48), bands=("g", "r")),
    "evaluation": evaluation,
    "verdict": lambda: judge_topics(evaluation().checks)["photometry"],
}


@pytest.mark.parametrize("make", OBJECTS.values(), ids=OBJECTS)
def test_an_object_shows_itself_shortly_and_safely(make):
    """One line of text, and HTML that closes what it opens and runs nothing."""
    thing = make()
    assert len(repr(thing)) < 250
    assert "\n" not in repr(thing)
    page = Tags(thing._repr_html_())
    assert not page.open
    assert set(page.seen) <= {"b", "table", "tr", "th", "td", "img"}
    assert all(picture["alt"] for picture in page.pictures)


def test_what_is_shown_is_what_is_there():
    """The facts one asks for first."""
    assert "splus-any" in repr(SRGANEnhancer("splus-any"))
    assert "(32, 48)" in repr(OBJECTS["field"]())
    assert load_card("splus-grz").version in load_card("splus-grz")._repr_html_()
    assert "not safe" in OBJECTS["verdict"]()._repr_html_()
