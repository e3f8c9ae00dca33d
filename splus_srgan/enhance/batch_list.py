# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The fields of a batch: their list, and how their pixels are read."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs.utils import skycoord_to_pixel

from splus_srgan.images.bands import tidy_band
from splus_srgan.images.io.fields import read_bands
from splus_srgan.splus import BANDS
from splus_srgan.utils.files import FITS_ENDINGS, fits_stem, home_path, safe_name
from splus_srgan.utils.tables import read_table
from splus_srgan.utils.validate import check_finite, present

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.nddata import CCDData
    from astropy.table import Row

    from splus_srgan.utils.types import FilePath

__all__ = ["MADE", "BatchField", "FieldReader", "list_fields"]

MADE = "_sr"
"""What stands between the name of a field and the ending of its output."""

_LEAST_SIZE = 16  # pixels, of a cutout


@dataclass(frozen=True)
class BatchField:
    """
    A field of a batch: its files, and which part of it to take.

    Parameters
    ----------
    name : str
        Name of the field and of its output.
    paths : str, list of str or dict of str to str
        As `~splus_srgan.images.io.fields.read_bands` takes them.
    options : dict, optional
        ``bands``, ``hdu`` and ``unit`` of the same function.
    center : `~astropy.coordinates.SkyCoord`, optional
        Center of the part to take; the whole field by default.
    size : int, optional
        Side of that part in input pixels.
    fault : str, optional
        What is wrong with its row, so that it cannot be read.
    """

    name: str
    paths: str | list[str] | dict[str, str]
    options: dict[str, Any]
    center: SkyCoord | None = None
    size: int | None = None
    fault: str = ""

    def files(self) -> list[str]:
        """Paths of its files."""
        if isinstance(self.paths, str):
            return [self.paths]
        return list(self.paths.values() if isinstance(self.paths, dict) else self.paths)

    def absolute(self) -> BatchField:
        """The same field for a process in another working folder."""
        if isinstance(self.paths, dict):
            paths = {band: os.path.abspath(path) for band, path in self.paths.items()}
        elif isinstance(self.paths, list):
            paths = [os.path.abspath(path) for path in self.paths]
        else:
            paths = os.path.abspath(self.paths)
        return replace(self, paths=paths)


def list_fields(source: Table | FilePath, *, files: Sequence[FilePath] = ()) -> list[BatchField]:
    """
    Read the list of fields of a batch.

    Parameters
    ----------
    source : `~astropy.table.Table` or path-like
        A table (or its file, ECSV, CSV or FITS) with a row per field, a folder whose FITS files
        are a field each, or a pattern such as ``"tiles/*.fits"``.  Columns of a table:

        ``name``
            Name of the field, and of its output.
        ``file``, or one per band (``g``, ``r``, ``J0660``, ...)
            File of all bands, or of each band; empty where a field lacks the band.
            Relative to the table's folder.
        ``bands``, ``hdu``, ``unit``
            Options of `~splus_srgan.images.io.fields.read_bands`, bands separated by commas.
        ``ra``, ``dec`` (degrees), ``size`` (input pixels)
            A part of the field.  Without columns of files it is cut out of ``files``.
    files : sequence of path-like, optional
        Files of the one field that the parts are cut out of.

    Returns
    -------
    fields : list of `BatchField`
        One per row or file.

    Raises
    ------
    OSError
        If the table cannot be read.
    ValueError
        If it has no rows, a column is missing, or two fields have one name.

    Examples
    --------
    >>> from astropy.table import Table
    >>> from splus_srgan.enhance.batch_list import list_fields
    >>> table = Table({"name": ["a", "b"], "file": ["a.fits", "b.fits"]})
    >>> [field.name for field in list_fields(table)]
    ['a', 'b']
    """
    if not isinstance(source, Table):
        source = home_path(source)
        paths = _pattern(source)
        if paths is not None:
            if files:
                raise ValueError(
                    f"files are what the parts in a table are cut out of; {source} names files of "
                    f"its own; got {list(map(str, files))}"
                )
            stems = [fits_stem(path.name) for path in paths]
            fields = [
                BatchField(safe_name(stem), str(path), {})
                for stem, path in zip(stems, paths, strict=True)
            ]
            return _checked(fields, source)
    table, folder = _table_and_folder(source)
    lacking = {"name"} - set(table.colnames)
    bands = _band_columns(table)
    parts = {"ra", "dec", "size"} & set(table.colnames)
    if not (bands or "file" in table.colnames or files):
        lacking.add("file, or one per band")
    if parts:
        lacking |= {"ra", "dec", "size"} - parts
    if lacking:
        raise ValueError(
            f"the table of a batch must have the columns {', '.join(sorted(lacking))}; "
            f"it has {', '.join(table.colnames)}"
        )
    return _checked(
        [_of_row(table[i], bands, bool(parts), folder, files) for i in range(len(table))], source
    )


def _table_and_folder(source: Table | FilePath) -> tuple[Table, Path]:
    """The table, and what the paths in it are relative to."""
    if isinstance(source, Table):
        return source, Path()
    return read_table(source), Path(source).parent


def _pattern(path: Path) -> list[Path] | None:
    """Files of a folder or a pattern; `None` where it names a file."""
    if path.is_dir():
        found = path.iterdir()
    elif path.exists():
        return None
    elif any(sign in path.name for sign in "*?["):
        found = path.parent.glob(path.name)
    else:
        raise FileNotFoundError(f"{path} does not exist: give a table, a folder or a pattern")
    paths = sorted(p for p in found if p.name.lower().endswith(FITS_ENDINGS) and p.name[0] != ".")
    # Outputs of an earlier batch into the same folder are no fields.
    made = {f"{safe_name(fits_stem(path.name))}{MADE}" for path in paths}
    return [path for path in paths if fits_stem(path.name) not in made]


def _band_columns(table: Table) -> dict[str, str]:
    """Columns of files, by the name of their band, however it is spelled."""
    columns: dict[str, str] = {}
    for name in table.colnames:
        band = tidy_band(name)
        if band not in BANDS:
            continue
        if band in columns:
            raise ValueError(
                f"the table of a batch must have one column per band; got {columns[band]!r} and "
                f"{name!r} for {band}"
            )
        columns[band] = name
    return columns


def _of_row(
    row: Row, bands: Mapping[str, str], is_part: bool, folder: Path, files: Sequence[FilePath]
) -> BatchField:
    """The field of a row."""
    text = {name: _text(row[name]) for name in row.colnames}
    paths = {band: str(folder / text[name]) for band, name in bands.items() if text[name]}
    if text.get("file"):
        paths = str(folder / text["file"])
    elif not paths:
        paths = [str(path) for path in files]
    options: dict[str, Any] = {
        name: text[name] for name in ("unit", "hdu", "bands") if text.get(name)
    }
    if "bands" in options:
        options["bands"] = [band.strip() for band in options["bands"].split(",")]
    if options.get("hdu", "").isdecimal():
        options["hdu"] = int(options["hdu"])
    field = BatchField(safe_name(text["name"]), paths, options)
    if not is_part:
        return field
    try:
        center = SkyCoord(_quantity(row, "ra", u.deg), _quantity(row, "dec", u.deg))
        size = _quantity(row, "size", u.pix).to_value(u.pix)
        if size != int(size):
            raise ValueError(f"size is a whole number of input pixels; got {size}")
    except (ValueError, TypeError, OverflowError, u.UnitsError) as error:
        # One wrong row is not the end of the others.
        fault = (
            "ra and dec must be degrees, or have a unit of angle, and size must be input pixels: "
            f"{error}"
        )
        return replace(field, fault=fault)
    return replace(field, center=center, size=int(size))


def _quantity(row: Row, name: str, usual: Any) -> u.Quantity:
    """A number of a table in the unit of its column, or in the usual one."""
    value = row[name]
    unit = getattr(value, "unit", None) or row.table[name].unit or usual
    return u.Quantity(check_finite(name, float(getattr(value, "value", value))), unit)


def _text(value: Any) -> str:
    return "" if np.ma.is_masked(value) else str(getattr(value, "value", value)).strip()


def _checked(fields: list[BatchField], source: object) -> list[BatchField]:
    if not fields:
        raise ValueError(f"a batch must hold at least one field; got none in {source}")
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"fields must have names of their own; twice there: {', '.join(twice)}")
    return fields


class FieldReader:
    """
    Read fields as they are needed; the last is kept, as many parts of one may be wanted.

    Parameters
    ----------
    options : dict
        ``bands``, ``hdu`` and ``unit`` of `~splus_srgan.images.io.fields.read_bands` for fields
        that do not state their own.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        self.options = {name: value for name, value in options.items() if value is not None}
        self._last: tuple[str, str] | None = None
        self._images: dict[str, CCDData] = {}

    def read(self, field: BatchField) -> dict[str, CCDData]:
        """Read a field (a `BatchField`), or its part, as a dict of band to image."""
        if field.fault:
            raise ValueError(field.fault)
        options = self.options | field.options
        asked = (repr(field.paths), repr(options))
        if asked != self._last:
            self._last, self._images = None, {}
            images = read_bands(field.paths, memmap=True, **options)
            self._last, self._images = asked, images
        if field.center is None:
            return self._images
        return {band: _part(image, field) for band, image in self._images.items()}


def _part(image: CCDData, field: BatchField) -> CCDData:
    """The part of an image around a position."""
    if image.wcs is None:
        raise ValueError("the files must have a WCS, for a part to be cut out of them")
    size = present(field.size)
    if size < _LEAST_SIZE:
        raise ValueError(f"size must be at least {_LEAST_SIZE} input pixels; got {size}")
    x, y = (float(v) for v in skycoord_to_pixel(field.center, image.wcs.celestial))
    if not np.isfinite([x, y]).all():
        raise ValueError(f"{_place(field)} is not on the image")
    window = []
    for middle, length in zip((y, x), image.shape, strict=True):
        first = round(middle - (size - 1) / 2)
        if first < 0 or first + size > length:
            raise ValueError(f"{size} pixels around {_place(field)} are not all on the image")
        window.append(slice(first, first + size))
    part = image[tuple(window)]
    part.psf = image.psf  # slicing forgets it
    return part


def _place(field: BatchField) -> str:
    center = present(field.center)
    return f"ra {center.ra.deg:.5f}, dec {center.dec.deg:+.5f}"
