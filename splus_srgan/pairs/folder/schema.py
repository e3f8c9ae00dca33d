# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The schema of a pair's record: its entries, and whether it was changed afterwards."""

import hashlib
import json
import math
import re
from dataclasses import fields

from splus_srgan.pairs.quality.pair import BandQuality
from splus_srgan.utils.files import check_name
from splus_srgan.utils.validate import is_number

__all__ = ["FORMAT", "SIDES", "check_record", "sealed"]

SIDES = ("input", "target")
"""The two images of a pair, and the stems of their files."""

FORMAT = 2
"""Number of this schema."""

_COMMON = ("format", "name", "ra", "dec", "verdict", "reasons", "seal")
_MADE = ("notes", "shape", "sha256", "releases", "bands")
_SHA256 = re.compile("[0-9a-f]{64}")


def sealed(record):
    """
    Add to a record the sha256 of the rest of it.

    Parameters
    ----------
    record : dict
        Plain values; an existing ``seal`` is replaced.

    Returns
    -------
    record : dict
        With ``seal``, by which `check_record` notices every later change.
    """
    return {**record, "seal": _seal(record)}


def _seal(record):
    rest = {key: value for key, value in record.items() if key != "seal"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def check_record(record, name):
    """
    Make sure that a value is the record of a pair.

    Parameters
    ----------
    record : object
        As read from a JSON file.
    name : str
        Name of the folder that it lies in.

    Returns
    -------
    record : dict
        The same.

    Raises
    ------
    ValueError
        If it is not: an entry is missing, unknown, of another type or out of its range, or
        the record was changed after it was written.
    """
    if not isinstance(record, dict):
        raise ValueError(f"a record must be an object, {{...}}; got {type(record).__name__}")
    _need("format", record.get("format") == FORMAT, f"{FORMAT}", record.get("format"))
    _need("verdict", _is_verdict(record.get("verdict")), "accept, reject or failed", record)
    expected = _COMMON + (() if record["verdict"] == "failed" else _MADE)
    missing, unknown = set(expected) - set(record), set(record) - set(expected)
    if missing or unknown:
        faults = [f"lacks {', '.join(sorted(missing))}"] if missing else []
        faults += [f"has the unknown {', '.join(sorted(unknown))}"] if unknown else []
        raise ValueError(f"the record {' and '.join(faults)}")
    _check_common(record, name)
    if record["verdict"] != "failed":
        _check_made(record)
    _need("seal", record["seal"] == _seal(record), "the sha256 of the record", record["seal"])
    return record


def _need(key, good, rule, value):
    if not good:
        value = value.get(key) if isinstance(value, dict) else value
        said = repr(value)
        raise ValueError(f"{key} must be {rule}; got {said[:80]}{'...' * (len(said) > 80)}")


def _is_verdict(value):
    return isinstance(value, str) and value in ("accept", "reject", "failed")


def _check_common(record, name):
    check_name(record["name"])
    _need("name", record["name"] == name, f"that of its folder, {name!r}", record)
    for axis, low, high in (("ra", 0, 360), ("dec", -90, 90)):
        value = record[axis]
        good = value is None or (_is_number(value) and low <= value <= high)
        _need(axis, good, f"degrees from {low} to {high}, or null", value)
    _need("dec", (record["ra"] is None) == (record["dec"] is None), "null where ra is", record)
    _need("reasons", _is_texts(record["reasons"]), "a list of texts", record)
    rule = "empty for an accepted pair, and for no other"
    _need("reasons", (not record["reasons"]) == (record["verdict"] == "accept"), rule, record)


def _check_made(record):
    """Check the entries that only a pair with images has."""
    _need("notes", _is_texts(record["notes"]), "a list of texts", record)
    shape = record["shape"]
    good = isinstance(shape, list) and len(shape) == 2 and all(_is_count(n) and n for n in shape)
    _need("shape", good, "two integers above 0, (ny, nx)", shape)
    for key, fits, rule in (
        ("sha256", lambda one: isinstance(one, str) and _SHA256.fullmatch(one), "64 hex digits"),
        ("releases", lambda one: isinstance(one, str), "a text"),
    ):
        sides = record[key]
        good = (
            isinstance(sides, dict) and set(sides) == set(SIDES) and all(map(fits, sides.values()))
        )
        _need(key, good, f"{rule} for input and for target", sides)
    bands = record["bands"]
    _need(
        "bands", isinstance(bands, dict) and bool(bands), "numbers by band, of one at least", bands
    )
    for band, numbers in bands.items():
        _check_band(band, numbers)


def _check_band(band, numbers):
    counts = BandQuality.counts()
    wanted = {one.name: one.name in counts for one in fields(BandQuality)}
    good = isinstance(numbers, dict) and set(numbers) == set(wanted)
    _need(f"bands[{band!r}]", good, f"the numbers {', '.join(wanted)}", numbers)
    for key, counted in wanted.items():
        value = numbers[key]
        good = _is_count(value) if counted else value is None or _is_number(value)
        rule = "an integer, 0 or more" if counted else "a finite number or null"
        _need(f"bands[{band!r}].{key}", good, rule, value)


def _is_count(value):
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value):
    return is_number(value) and abs(value) < 1e300 and math.isfinite(value)


def _is_texts(value):
    return isinstance(value, list) and all(isinstance(one, str) for one in value)
