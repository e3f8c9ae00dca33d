# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The schema of a model card: every entry is checked on reading, and named if it is wrong."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import TYPE_CHECKING

from splus_srgan.utils.files import check_name

if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["LARGEST", "parse_card"]

LARGEST = 10_000_000
"""Bytes of a model card at most; the shipped ones have 10 000."""
_REQUIRED = (
    "name",
    "version",
    "file",
    "sha256",
    "generator",
    "bands",
    "pixel_scale",
    "stretch",
    "target_psf",
)
_OPTIONAL = (
    "domain",
    "flux_anchor",
    "turned",
    "edge_reach",
    "uncertainty",
    "first_stage",
    "training",
    "scores",
    "license",
    "acknowledgements",
)
_KINDS = ("laplace", "gaussian")
_LARGEST_REACH = 4096
_LONGEST_NAME = 200


def parse_card(text: bytes | str) -> dict[str, Any]:
    """
    Read a model card.

    Parameters
    ----------
    text : bytes or str
        JSON.

    Returns
    -------
    content : dict
        Entries of the model card.

    Raises
    ------
    ValueError
        If it is no JSON object, or an entry is missing, unknown or wrong; the message names
        the entry and its rule, and is to follow the name of the model card.

    Examples
    --------
    >>> from splus_srgan.models.schema import parse_card
    >>> parse_card("[]")
    Traceback (most recent call last):
    ...
    ValueError: is not valid JSON for it: it must be an object, {...}; got list
    """
    if len(text) > LARGEST:
        raise ValueError(f"must have at most {LARGEST} bytes; got {len(text)}")
    try:
        content = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"is not valid JSON for it: it must be an object, {{...}}; got {type(content).__name__}"
        )
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise ValueError(f"lacks {', '.join(missing)}")
    unknown = sorted(set(content) - {*_REQUIRED, *_OPTIONAL})
    if unknown:
        raise ValueError(f"has unknown entries: {', '.join(unknown)}")
    for key, value in content.items():
        _RULES[key](key, value)
    joint = content["generator"].get("kind") == "joint"
    _check(
        joint == bool(content.get("first_stage")),
        "first_stage",
        "given for a joint generator, and for no other",
        content.get("first_stage", {}),
    )
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _check(good: object, key: str, rule: str, value: object) -> None:
    if not good:
        shown = repr(value)
        raise ValueError(
            f"is wrong: {key} must be {rule}; got {shown[:80]}{'...' * (len(shown) > 80)}"
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e300 and math.isfinite(value)


def _text(key: str, value: Any) -> None:
    _check(isinstance(value, str), key, "text", value)


def _name(key: str, value: Any) -> None:
    good = isinstance(value, str) and value.strip() == value and value.isprintable()
    good = good and 0 < len(value) <= _LONGEST_NAME
    _check(good, key, f"printable text of 1 to {_LONGEST_NAME} letters", value)


def _file(key: str, value: Any) -> None:
    # Not a path: it would lead out of the folder of the model card.
    try:
        check_name(value, parameter=f"{key} of the model card")
    except ValueError as error:
        raise ValueError(f"is wrong: {error}") from None


def _sha256(key: str, value: Any) -> None:
    good = isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value)
    _check(good, key, "64 hexadecimal digits", value)


def _table(key: str, value: Any) -> None:
    _check(isinstance(value, dict), key, "an object, {...}", value)


def _reach(key: str, value: Any) -> None:
    good = value is None or (isinstance(value, int) and not isinstance(value, bool))
    good = good and (value is None or 0 <= value <= _LARGEST_REACH)
    _check(good, key, f"a whole number of pixels from 0 to {_LARGEST_REACH}, or null", value)


def _boolean(key: str, value: Any) -> None:
    _check(isinstance(value, bool), key, "true or false", value)


def _number(key: str, value: Any, low: float, high: float, *, open_low: bool = True) -> None:
    good = _is_number(value) and (low < value or (not open_low and value == low)) and value <= high
    bracket = "above" if open_low else "at least"
    _check(good, key, f"a number {bracket} {low:g} and at most {high:g}", value)


def _generator(key: str, value: Any) -> None:
    _table(key, value)
    for name, entry in value.items():
        if isinstance(entry, int | float) and not isinstance(entry, bool):
            whole = isinstance(entry, int) or name in ("softening", "range", "bright")
            good = whole and 0 <= entry <= 10_000
            _check(good, f"{key}.{name}", "an integer of 0 to 10000", entry)
        elif isinstance(entry, list):
            good = len(entry) <= 1000 and all(isinstance(k, int | str) for k in entry)
            _check(good, f"{key}.{name}", "a list of integers or text", entry)
        else:
            _check(entry is None or isinstance(entry, str | bool), f"{key}.{name}", "plain", entry)
    if value.get("kind") == "joint":
        _bands(f"{key}.bands", value.get("bands"))
        return
    count = value.get("n_bands")
    _check(type(count) is int and 1 <= count <= 1000, f"{key}.n_bands", "an integer above 0", count)


def _bands(key: str, value: Any) -> None:
    good = isinstance(value, list) and value and all(isinstance(k, str) and k for k in value)
    _check(good and len(set(value)) == len(value), key, "a list of different names", value)


def _stretch(key: str, value: Any) -> None:
    _table(key, value)
    if value.get("space") == "seed":
        return
    _check(set(value) == {"softening", "range"}, key, "softening and range", value)
    for name, entry in value.items():
        _number(f"{key}.{name}", entry, 0, 1e6)


def _target_psf(key: str, value: Any) -> None:
    _table(key, value)
    _number(f"{key}.fwhm", value.get("fwhm"), 0, 1e3)
    _number(f"{key}.beta", value.get("beta"), 1, 1e3)


def _domain(key: str, value: Any) -> None:
    _table(key, value)
    for name, entry in value.items():
        numbers = entry if isinstance(entry, list) else [entry]
        good = 1 <= len(numbers) <= 2 and all(map(_is_number, numbers))
        good = good and sorted(numbers) == numbers
        _check(good, f"{key}.{name}", "a number, or a pair that rises", entry)
    fwhm = value.get("fwhm", [0, 1])
    _check(isinstance(fwhm, list) and len(fwhm) == 2, f"{key}.fwhm", "a pair of numbers", fwhm)
    _check(_is_number(value.get("signal", 1)), f"{key}.signal", "a number", value.get("signal"))


def _uncertainty(key: str, value: Any) -> None:
    _table(key, value)
    kind = value.get("kind", _KINDS[0])
    _check(kind in _KINDS, f"{key}.kind", f"one of {', '.join(_KINDS)}", kind)
    _tables(key, value)
    if few := value.get("few"):
        _table(f"{key}.few", few)
        _number(f"{key}.few.most", few.get("most"), 0, 1e3)
        _tables(f"{key}.few", few)


def _tables(key: str, value: Any) -> None:
    for name in ("calibration", "ensemble"):
        if value.get(name):
            _calibration(f"{key}.{name}", value[name])
    _correlation(f"{key}.correlation", value.get("correlation", {}))


def _correlation(key: str, table: Any) -> None:
    _table(key, table)
    for band, others in table.items():
        _table(f"{key}.{band}", others)
        for other, number in others.items():
            _number(f"{key}.{band}.{other}", number, -1, 1, open_low=False)


def _first_stage(key: str, value: Any) -> None:
    _table(key, value)
    for name, digest in value.items():
        _sha256(f"{key}.{name}", digest)


def _calibration(key: str, table: Any) -> None:
    _table(key, table)
    shape = []
    for name in ("signal_to_noise", "relative_noise"):
        knots = table.get(name)
        good = isinstance(knots, list) and len(knots) > 1 and all(map(_is_number, knots))
        good = good and all(low < high for low, high in pairwise(knots))
        good = good and (name == "signal_to_noise" or knots[0] > 0)
        _check(good, f"{key}.{name}", "a list of rising numbers", knots)
        shape.append(len(knots))
    rows = table.get("factor")
    good = isinstance(rows, list) and len(rows) == shape[0]
    good = good and all(isinstance(row, list) and len(row) == shape[1] for row in rows)
    good = good and all(_is_number(entry) and entry > 0 for row in rows for entry in row)
    _check(good, f"{key}.factor", f"{shape[0]} lists of {shape[1]} numbers above 0", rows)
    bands = table.get("bands", {})
    _table(f"{key}.bands", bands)
    for band, own in bands.items():
        _table(f"{key}.bands.{band}", own)
        _check("bands" not in own, f"{key}.bands.{band}", "one table", own)
        _calibration(f"{key}.bands.{band}", own)


_RULES = {
    "name": _name,
    "version": _name,
    "file": _file,
    "sha256": _sha256,
    "generator": _generator,
    "bands": _bands,
    "pixel_scale": lambda key, value: _number(key, value, 0, 1e4),
    "stretch": _stretch,
    "target_psf": _target_psf,
    "domain": _domain,
    "flux_anchor": lambda key, value: _number(key, value, 0, 1, open_low=False),
    "turned": _boolean,
    "edge_reach": _reach,
    "uncertainty": _uncertainty,
    "first_stage": _first_stage,
    "training": _table,
    "scores": _table,
    "license": _text,
    "acknowledgements": _text,
}
