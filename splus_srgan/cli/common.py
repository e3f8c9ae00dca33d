# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What the commands share."""

import sys
from os.path import commonprefix
from pathlib import Path

__all__ = ["output_stem", "progress"]


def progress(iterable, *, width=30):
    """
    Pass an iterable on, with a bar on the terminal that shows how far it got.

    Silent where standard error is not a terminal.

    Parameters
    ----------
    iterable : iterable
        What to pass on; the bar needs its length, and is left out where it has none.
    width : int, optional
        Length of the bar in characters.

    Yields
    ------
    item : object
        The items of ``iterable``.

    Examples
    --------
    >>> from splus_srgan.cli.common import progress
    >>> list(progress(range(3)))
    [0, 1, 2]
    """
    if not sys.stderr.isatty() or not hasattr(iterable, "__len__"):
        yield from iterable
        return
    total = len(iterable)
    for done, item in enumerate(iterable):
        _draw_bar(done, total, width)
        yield item
    _draw_bar(total, total, width)
    print(file=sys.stderr)


def _draw_bar(done, total, width):
    filled = width * done // total if total else width
    bar = "#" * filled + "." * (width - filled)
    print(f"\r[{bar}] {done}/{total}", end="", file=sys.stderr, flush=True)


def output_stem(paths):
    """
    Name what a set of files has in common: the stem of the output's name.

    Parameters
    ----------
    paths : sequence of str or path-like
        Files of one field.

    Returns
    -------
    stem : str
        What their names start with alike, without separators at its end; their
        stems joined by ``_`` where they start differently.

    Examples
    --------
    >>> from splus_srgan.cli.common import output_stem
    >>> output_stem(["tiles/SPLUS-s23s18_G.fits", "tiles/SPLUS-s23s18_R.fits"])
    'SPLUS-s23s18'
    >>> output_stem(["G.fits.fz", "R.fits.fz", "Z.fits.fz"])
    'G_R_Z'
    """
    stems = [_stem(Path(path).name) for path in paths]
    # Alike by characters, not by path components, is what is wanted.
    return commonprefix(stems).rstrip("_-. ") or "_".join(stems)  # noqa: RUF071


def _stem(name):
    for ending in (".gz", ".fz", ".bz2", ".fits", ".fit", ".fts"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name
