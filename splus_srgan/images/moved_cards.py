# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cards that tell where pixels lie, beside the main WCS, on their way to another grid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan.images.cards import SECTIONS
from splus_srgan.images.wcs_cards import alternates, matrix_cards
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["moved_cards"]

_AXES = (1, 2)
_WHOLE = 0.01  # pixels by which the edge of a section may miss that of a pixel
_NAMES = ("WCSAXES", "WCSNAME", "RADESYS", "EQUINOX", "LONPOLE", "LATPOLE", "SPECSYS")
_PER_AXIS = ("CTYPE", "CUNIT", "CRVAL", "CDELT", "CNAME", "CRDER", "CSYER")


def moved_cards(
    header: Any, matrix: FloatArray, offset: FloatArray, shape: tuple[int, ...]
) -> dict[str, Any]:
    r"""
    Give the cards of alternate WCS, physical pixels and sections for the pixels of another grid.

    A new pixel :math:`p'`, ``(x, y)`` from 0, shows what the old pixel :math:`M p' + t` did.
    Reference pixels become :math:`M^{-1} (p - t)`, matrices of alternate WCS (A to Z) are
    multiplied by :math:`M` from the right, and IRAF's ``LTM`` by :math:`M^{-1}` from the left.

    Parameters
    ----------
    header : `~astropy.io.fits.Header` or dict
        Cards of the old grid; not modified.
    matrix : `~numpy.ndarray`, shape (2, 2)
        :math:`M`, in the order (x, y).
    offset : `~numpy.ndarray`, shape (2,)
        :math:`t`, in old pixels.
    shape : tuple of int
        ``(ny, nx)`` of the new grid, to which sections are cut.

    Returns
    -------
    cards : dict
        Keyword to value.  Left out is what a change of pixels alone cannot bring along: an
        alternate WCS of other axes, or with a distortion; a section whose edges are not those of
        new pixels.

    Examples
    --------
    >>> import numpy as np
    >>> from splus_srgan.images.moved_cards import moved_cards
    >>> finer = np.eye(2) / 2, np.full(2, -0.25)
    >>> cards = moved_cards({"DATASEC": "[1:32,1:30]", "LTV1": -100.0}, *finer, (60, 64))
    >>> cards["DATASEC"], float(cards["LTV1"])
    ('[1:64,1:60]', -200.5)
    """
    matrix, offset = np.asarray(matrix, float), np.asarray(offset, float)
    cards: dict[str, Any] = {}
    for alternate in alternates(header)[1:]:
        cards |= _alternate(header, alternate, matrix, offset)
    cards |= _physical(header, matrix, offset)
    for keyword in list(header):
        if SECTIONS.fullmatch(keyword):
            section = _section(str(header[keyword]), matrix, offset, shape)
            cards |= {} if section is None else {keyword: section}
    return cards


def _alternate(header: Any, letter: str, matrix: FloatArray, offset: FloatArray) -> dict[str, Any]:
    """Cards of one alternate WCS, or none if it is not only of the two axes of an image."""
    said = [f"{name}{letter}" for name in _NAMES]
    said += [f"{name}{axis}{letter}" for name in _PER_AXIS for axis in _AXES]
    said += [key for key in header if re.fullmatch(rf"P[VS][12]_\d+{letter}", key)]
    elements = matrix_cards(header, "CD", letter) or matrix_cards(header, "PC", letter)
    name = "PC" if not matrix_cards(header, "CD", letter) else "CD"
    pixels = [f"CRPIX{axis}{letter}" for axis in _AXES]
    of_it = re.compile(rf"([A-Z]+\d*(_\d+)?){letter}")
    every = {key for key in header if of_it.fullmatch(key) and _of_wcs(key[:-1])}
    known = {*said, *pixels, *(key for key, _, _ in elements)}
    if f"CTYPE1{letter}" not in every or not every <= known:
        return {}
    numbers = [key for key in every if key.startswith(("CRPIX", "CD", "PC"))]
    if not all(is_number(header[key]) for key in numbers):
        return {}
    old = np.eye(2) if name == "PC" else np.zeros((2, 2))
    for key, row, column in elements:
        if row not in _AXES or column not in _AXES:
            return {}
        old[row - 1, column - 1] = header[key]
    place = np.array([header.get(key, 0.0) for key in pixels]) - 1
    place = np.linalg.solve(matrix, place - offset) + 1
    cards = {key: header[key] for key in said if key in header}
    cards |= dict(zip(pixels, map(float, place), strict=True))
    new = old @ matrix
    cells = [(row, column) for row in _AXES for column in _AXES]
    return cards | {f"{name}{r}_{c}{letter}": float(new[r - 1, c - 1]) for r, c in cells}


def _of_wcs(word: str) -> Any:
    """Whether a keyword, without its letter, is one of a WCS."""
    return re.fullmatch(
        r"(C(TYPE|UNIT|RVAL|RPIX|DELT|ROTA|RDER|SYER|NAME|PDIS|QDIS|PERR|QERR)|D[PQ])\d+"
        r"|(CD|PC|PV|PS)\d+_\d+|" + "|".join(_NAMES),
        word,
    )


def _physical(header: Any, matrix: FloatArray, offset: FloatArray) -> dict[str, Any]:
    """IRAF's affine map from physical pixels; what a header lacks of it has a default."""
    linear = np.eye(2)
    found = [(key, r, c) for key, r, c in matrix_cards(header, "LTM", "") if max(r, c) <= 2]
    shifts = [f"LTV{axis}" for axis in _AXES]
    given = [key for key, _, _ in found] + [key for key in shifts if key in header]
    if not given or not all(is_number(header[key]) for key in given):
        return {}
    for key, row, column in found:
        linear[row - 1, column - 1] = header[key]
    place = np.array([header.get(key, 0.0) for key in shifts])
    linear = np.linalg.solve(matrix, linear)
    place = np.linalg.solve(matrix, place - 1 - offset) + 1
    cards = dict(zip(shifts, map(float, place), strict=True))
    for row in _AXES:
        for column in _AXES:
            if row == column or linear[row - 1, column - 1]:
                cards[f"LTM{row}_{column}"] = float(linear[row - 1, column - 1])
    return cards


def _section(
    text: Any, matrix: FloatArray, offset: FloatArray, shape: tuple[int, ...]
) -> str | None:
    """Section ``[x1:x2,y1:y2]`` on the new grid; `None` where its edges are not those of pixels."""
    parsed = re.fullmatch(r"\[(\d+):(\d+),(\d+):(\d+)\]", re.sub(r"\s", "", text))
    if parsed is None or np.abs(matrix * (1 - np.eye(2))).max() > 1e-6:
        return None
    ends = np.array(parsed.groups(), float).reshape(2, 2)
    parts = []
    for axis, (first, last) in enumerate(ends):
        low, high = min(first, last) - 1.5, max(first, last) - 0.5  # edges, from 0
        edges = (np.array([low, high]) - offset[axis]) / matrix[axis, axis] + 0.5
        whole = np.rint(edges)
        if np.abs(edges - whole).max() > _WHOLE:
            return None
        start, stop = np.clip(np.sort(whole), 0, shape[1 - axis])
        if start == stop:
            return None
        turned = (first > last) != (matrix[axis, axis] < 0)
        pair = (int(start) + 1, int(stop))
        parts.append("{}:{}".format(*(pair[::-1] if turned else pair)))
    return f"[{','.join(parts)}]"
