# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Records of pairs, and the index made from them.

A record is a small JSON file beside the images of its pair, and is moved
into place together with them.  The index is simply all records in the order of their names:
however often a run was interrupted, the same pairs give the same bytes.
"""

import hashlib
import json
import math
from dataclasses import asdict, fields
from io import StringIO
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import QTable

from splus_srgan import splus
from splus_srgan.exceptions import printable
from splus_srgan.pairs.folder.schema import FORMAT, SIDES, check_record, sealed
from splus_srgan.pairs.quality.pair import BandQuality
from splus_srgan.utils.files import replace_file

__all__ = [
    "SAME_PLACE",
    "ecsv_text",
    "failure_record",
    "file_hash",
    "index_table",
    "is_index",
    "pair_record",
    "read_json",
    "read_record",
    "write_json",
]

SAME_PLACE = 0.01
"""Distance (arcsec) up to which two positions are one."""

_LARGEST = 1 << 22  # bytes; a record has a few thousand
_MAKER = "splus_srgan pairs"  # by which an index is recognized
_DIGITS = 6  # significant digits: more than any of the numbers deserves
_ORDER = ("u", "J0378", "J0395", "J0410", "J0430", "g", "J0515", "r", "J0660", "i", "J0861", "z")


def pair_record(name, position, report, *, shape, hashes, releases):
    """
    Make the record of a pair.

    Parameters
    ----------
    name : str
        Name of the pair.
    position : `~astropy.coordinates.SkyCoord` or None
        Its center.
    report : `~splus_srgan.pairs.quality.pair.PairReport`
        What was measured.
    shape : tuple of int
        ``(ny, nx)`` of the input.
    hashes, releases : dict of str to str
        SHA-256 of the file and data release, of ``"input"`` and of ``"target"``.

    Returns
    -------
    record : dict
        Plain values.
    """
    made = {
        "notes": [printable(note) for note in report.notes],
        "shape": [int(n) for n in shape],
        "sha256": dict(hashes),
        "releases": {side: str(releases.get(side) or "") for side in SIDES},
        "bands": {
            band: {key: _plain(value) for key, value in asdict(quality).items()}
            for band, quality in report.bands.items()
        },
    }
    return sealed(_record(name, position, report.verdict, report.reasons) | made)


def failure_record(name, position, reason):
    """Give the record of a pair that could not be made."""
    return sealed(_record(name, position, "failed", [reason]))


def _record(name, position, verdict, reasons):
    ra, dec = (math.nan, math.nan) if position is None else (position.ra.deg, position.dec.deg)
    return {
        "format": FORMAT,
        "name": name,
        "ra": _plain(float(ra), 12),
        "dec": _plain(float(dec), 12),
        "verdict": verdict,
        "reasons": [" ".join(printable(reason).split()) for reason in reasons],
    }


def _plain(value, digits=_DIGITS):
    """Round a number to the digits worth keeping, in a form that JSON can hold."""
    if isinstance(value, int | np.integer):
        return int(value)
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def index_table(records):
    """
    Make the index from records.

    Parameters
    ----------
    records : iterable of dict
        Records, in any order.

    Returns
    -------
    index : `~astropy.table.QTable`
        One row per record in the order of their names.
    """
    records = sorted(records, key=lambda record: record["name"])
    columns = {"name": [record["name"] for record in records]}
    for axis in ("ra", "dec"):
        columns[axis] = _numbers(record[axis] for record in records) * u.deg
    columns["verdict"] = [record["verdict"] for record in records]
    for key in ("reasons", "notes"):
        columns[key] = ["; ".join(record.get(key, ())) for record in records]
    columns["bands"] = [",".join(record.get("bands", ())) for record in records]
    for axis, key in enumerate(("ny", "nx")):
        columns[key] = [record.get("shape", (0, 0))[axis] for record in records]
    for side in SIDES:
        columns[f"{side}_file"] = [
            f"{record['name']}/{side}.fits" if side in record.get("sha256", ()) else ""
            for record in records
        ]
        columns[f"{side}_sha256"] = [record.get("sha256", {}).get(side, "") for record in records]
        columns[f"{side}_release"] = [
            record.get("releases", {}).get(side, "") for record in records
        ]
    for band in _all_bands(records):
        columns |= _band_columns(records, band)
    index = QTable({key: _column(value) for key, value in columns.items()})
    index.meta |= {"made_by": _MAKER, "format": FORMAT}
    return index


def _column(value):
    if isinstance(value, u.Quantity) or (value and not isinstance(value[0], str)):
        return value
    return np.array(value, dtype=str) if value else np.empty(0, dtype="U1")


def _numbers(values):
    return np.array([math.nan if value is None else value for value in values], dtype=float)


def _all_bands(records):
    """All bands of the records, bluest first, unknown ones last."""
    bands = {band for record in records for band in record.get("bands", ())}

    def place(band):
        try:
            return _ORDER.index(splus.canonical_band(band)), band
        except ValueError:
            return len(_ORDER), band

    return sorted(bands, key=place)


def _band_columns(records, band):
    columns, units, counts = {}, BandQuality.units(), BandQuality.counts()
    for one in fields(BandQuality):
        values = [record.get("bands", {}).get(band, {}).get(one.name) for record in records]
        if one.name in counts:
            columns[f"{one.name}_{band}"] = [value or 0 for value in values]
            continue
        numbers = _numbers(values)
        columns[f"{one.name}_{band}"] = (
            numbers * units[one.name] if one.name in units else list(numbers)
        )
    return columns


def ecsv_text(table):
    """Give a table as the text of an ECSV file."""
    text = StringIO()
    table.write(text, format="ascii.ecsv")
    return text.getvalue()


def file_hash(path):
    """Give the sha256 of a file, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_index(path):
    """Whether a file is an index of pairs: its header says so."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return f"made_by: {_MAKER}".encode() in file.read(1 << 20)


def read_record(path):
    """
    Read the record of a pair.

    Parameters
    ----------
    path : `~pathlib.Path`
        ``record.json`` in the folder of the pair.

    Returns
    -------
    record : dict or None
        `None` where there is no such file.

    Raises
    ------
    ValueError
        If it is not the record of the pair of this folder, or was changed.
    """
    record = read_json(path)
    if record is None:
        return None
    try:
        return check_record(record, path.parent.name)
    except ValueError as error:
        raise ValueError(
            f"{path} is not a sound record of a pair: {error}; move {path.parent} elsewhere and "
            "make the pair again"
        ) from None


def read_json(path):
    """
    Read a JSON file.

    Parameters
    ----------
    path : path-like
        The file.

    Returns
    -------
    content : object or None
        `None` where there is no such file.

    Raises
    ------
    ValueError
        If it is not JSON, or not a regular file of a sensible size.
    """
    path = Path(path)
    if not path.exists():
        return None
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ValueError(f"{path} must be a file of at most {_LARGEST} bytes")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} cannot be read as JSON: {error}") from None
    if content is None:
        raise ValueError(f"{path} must hold something; got null")
    return content


def _no_number(text):
    raise ValueError(f"{text} is no number in JSON")


def write_json(path, content):
    """Write a JSON file beside its place, then rename it there."""
    replace_file(path, json.dumps(content, indent=1, sort_keys=True) + "\n")
