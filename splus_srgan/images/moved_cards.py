# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Cards that tell where pixels lie, beside the main WCS, on their way to another grid."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from astropy.io.fits import Header

from splus_srgan.images.cards import is_section
from splus_srgan.images.wcs_cards import alternates, matrix_cards
from splus_srgan.utils.validate import is_number

if TYPE_CHECKING:
    from typing import Any

    from splus_srgan.utils.types import FloatArray

__all__ = ["moved_cards"]

_AXES = (1, 2)
_WHOLE = 0.01  # pixels by which the edge of a section may miss that of a pixel
_NAMES = ("WCSAXES", "WCSNAME", "RADESYS", "EQUINOX", "LONPOLE", "LATPOLE", "SPECSYS")
_DISTORTION = re.compile(r"C[PQ](DIS|ERR)\d|D[PQ]\d")
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
        alternate WCS into which other axes or a lookup table are mixed; a section whose edges
        are not those of new pixels.

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
    if not isinstance(header, Header):
        # Keywords in small letters are the same; other keys of a dictionary are none.
        header = {key.upper(): value for key, value in header.items() if isinstance(key, str)}
    cards: dict[str, Any] = {}
    for alternate in alternates(header)[1:]:
        cards |= _alternate(header, alternate, matrix, offset)
    cards |= _physical(header, matrix, offset)
    for keyword in list(header):
        if is_section(keyword):
            section = _section(str(header[keyword]), matrix, offset, shape)
            cards |= {} if section is None else {keyword: section}
    return cards


def _alternate(header: Any, letter: str, matrix: FloatArray, offset: FloatArray) -> dict[str, Any]:
    """Cards of one alternate WCS, or none if further axes or a distortion are mixed into it."""
    of_it = re.compile(rf"([A-Z]+\d*(_\d+)?){letter}")
    every = {key[:-1]: header[key] for key in header if of_it.fullmatch(key) and _of_wcs(key[:-1])}
    numbers = [every[key] for key in every if re.match("CRPIX|CDELT|CROTA|CD|PC", key)]
    if not numbers or not all(map(is_number, numbers)) or any(map(_DISTORTION.match, every)):
        return {}
    # wcslib goes by PC where a header has both, as old versions of CCDData wrote them.
    name = "CD" if matrix_cards(every, "CD", "") and not matrix_cards(every, "PC", "") else "PC"
    old = _matrix(every, name)
    if old is None:
        return {}
    place = np.array([every.get(f"CRPIX{axis}", 0.0) for axis in _AXES]) - 1
    place = np.linalg.solve(matrix, place - offset) + 1
    new = old @ matrix
    said = [*_NAMES, *(f"{word}{axis}" for word in _PER_AXIS for axis in _AXES)]
    said += [key for key in every if re.fullmatch(r"P[VS][12]_\d+", key)]
    cards = {key: every[key] for key in said if key in every}
    if "WCSAXES" in cards:
        cards["WCSAXES"] = len(_AXES)
    cards |= {f"CRPIX{axis}": float(one) for axis, one in zip(_AXES, place, strict=True)}
    cells = [(row, column) for row in _AXES for column in _AXES]
    cards |= {f"{name}{r}_{c}": float(new[r - 1, c - 1]) for r, c in cells}
    return {f"{key}{letter}": value for key, value in cards.items()}


def _matrix(cards: Any, name: str) -> FloatArray | None:
    """Matrix, CD or PC, of the axes of the image; `None` if it mixes others into them."""
    matrix = _turn(cards) if name == "PC" else np.zeros((2, 2))
    for key, row, column in matrix_cards(cards, name, ""):
        if row in _AXES and column in _AXES:
            matrix[row - 1, column - 1] = cards[key]
        elif (row in _AXES or column in _AXES) and cards[key]:
            return None
    return matrix


def _turn(cards: Any) -> FloatArray:
    """Matrix PC that the angle of CROTA stands for, which is that of the axis of latitude."""
    latitude = 0 if re.match("DEC|.LAT", str(cards.get("CTYPE1", ""))) else 1
    angle = np.deg2rad(cards.get(f"CROTA{latitude + 1}", 0.0))
    steps = np.array([cards.get(f"CDELT{axis}", 1.0) for axis in _AXES])
    if not angle or not steps.all() or matrix_cards(cards, "PC", ""):
        return np.eye(2)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (turn if latitude else turn.T) * steps / steps[:, None]


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
