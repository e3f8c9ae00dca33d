# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Look through built pages for what a reader without eyes, or with a keyboard, stumbles over.

Every picture has a text that stands for it, headings go down one level at a time from the one
title, every page has a title and a language, and every link within the pages leads somewhere.
"""

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

HEADINGS = ("h1", "h2", "h3", "h4", "h5", "h6")
THUMBNAIL = "sphx-glr-thumbcontainer"  # its title stands beside it
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "wbr"}


class Page(HTMLParser):
    """What a page has: pictures without a text, headings, links, and places to link to."""

    def __init__(self, path):
        super().__init__()
        self.pictures, self.headings, self.links = [], [], []
        self.names, self.titles, self.language = set(), 0, ""
        self._open = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.names |= {attributes[key] for key in ("id", "name") if attributes.get(key)}
        if tag == "html":
            self.language = attributes.get("lang", "")
        elif tag == "title" and not self._within("svg"):
            self.titles += 1
        elif tag == "img":
            bare = not attributes.get("alt", "").strip()
            if bare and not any(THUMBNAIL in names for _, names in self._open):
                self.pictures.append(attributes.get("src"))
        elif tag in HEADINGS and self._within("main"):
            self.headings.append(int(tag[1]))
        link = attributes.get("src" if tag in ("img", "script") else "href")
        if link:
            self.links.append(link)
        if tag not in VOID:
            self._open.append((tag, attributes.get("class") or ""))

    def handle_endtag(self, tag):
        if self._within(tag):
            while self._open.pop()[0] != tag:
                pass

    def _within(self, tag):
        return any(name == tag for name, _ in self._open)


def check_page(page):
    """Faults of a page by itself."""
    faults = [f"no text (alt) for {source}" for source in page.pictures]
    if page.titles != 1 or not page.language:
        faults.append("no title, more than one, or no language")
    if page.headings.count(1) != 1:
        faults.append(f"{page.headings.count(1)} headings of the first level")
    for before, after in zip([0, *page.headings], page.headings, strict=False):
        if after > before + 1:
            faults.append(f"heading of level {after} after one of level {before}")
    return faults


def check_links(path, pages):
    """Links of a page that lead to no file, or to no place in it."""
    faults = []
    for link in dict.fromkeys(pages[path].links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            faults.append(f"link to nowhere: {link}")
        elif parts.fragment and target in pages:
            place = unquote(parts.fragment)
            if place not in pages[target].names:
                faults.append(f"link to no place: {link}")
    return faults


def check_site(folder):
    """
    Check all pages in a folder.

    Parameters
    ----------
    folder : path-like
        Root of the site; what links there lie in it or are left out.

    Returns
    -------
    faults : dict of str to list of str
        Page to its faults; pages without any are not in it.
    pages : int
        Number of pages.
    """
    root = Path(folder).resolve()
    pages = {path: Page(path) for path in sorted(root.rglob("*.html"))}
    found = {
        str(path.relative_to(root)): check_page(page) + check_links(path, pages)
        for path, page in pages.items()
        if not {"_static", "_downloads", "_images"} & set(path.relative_to(root).parts)
    }
    return {name: faults for name, faults in found.items() if faults}, len(found)


def main():
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the built pages")
    faults, number = check_site(parser.parse_args().folder)
    for name, lines in faults.items():
        print("\n".join(f"{name}: {line}" for line in lines))
    print(f"{number} pages, {sum(map(len, faults.values()))} faults")
    sys.exit(bool(faults) or not number)


if __name__ == "__main__":
    main()
