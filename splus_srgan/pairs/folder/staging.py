# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From a list of galaxies to the images of each, without fetching anything twice."""

import errno

from astropy import units as u
from astropy.coordinates import SkyCoord

from splus_srgan.exceptions import ServiceError
from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.pairs.folder import places, records
from splus_srgan.surveys.columns import column_positions
from splus_srgan.utils.files import safe_name

__all__ = ["list_positions", "reason_of", "stage"]

# Errors that would stop every pair are not the fault of one.
_EVERYBODYS = (ImportError, MemoryError)
_MACHINE = {
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EBUSY, errno.ENOTDIR),
    *(errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.ENOLCK, errno.ELOOP, errno.ENAMETOOLONG),
}


def list_positions(table):
    """
    Read names and positions from a table of galaxies.

    Parameters
    ----------
    table : `~astropy.table.Table`
        Columns ``ra`` and ``dec`` (deg, or with a unit) and, optionally, ``name``, in
        upper or lower case.

    Returns
    -------
    positions : dict of str to `~astropy.coordinates.SkyCoord`
        By name, in the order of the table.  A name keeps letters, digits and ``_.+-``,
        everything else becomes ``_``; without the column it is made from the position.

    Raises
    ------
    ValueError
        If a column is missing, a position is invalid, or a name appears twice.
    """
    columns = {name.lower(): name for name in table.colnames}
    missing = [name for name in ("ra", "dec") if name not in columns]
    if missing:
        raise ValueError(
            f"table must have the columns ra and dec (deg); it lacks {', '.join(missing)} "
            f"and has {', '.join(table.colnames)}"
        )
    sky = column_positions(table[columns["ra"]], table[columns["dec"]])
    if "name" in columns:
        names = [places.check_pair_name(safe_name(name)) for name in table[columns["name"]]]
    else:
        names = [_name_of(position) for position in sky]
    positions = dict(zip(names, sky, strict=True))
    if len(positions) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"table must name each galaxy once; twice there: {', '.join(twice)}")
    return positions


def _name_of(position):
    ra = position.ra.to_string(u.hour, sep="", precision=2, pad=True)
    dec = position.dec.to_string(u.deg, sep="", precision=1, pad=True, alwayssign=True)
    return f"J{ra}{dec}"


def stage(folder, name, side, source, position):
    """
    Give one side of a pair: as stored by an earlier run, or fetched now.

    Parameters
    ----------
    folder : `~pathlib.Path`
        Folder of the pairs.
    name : str
        Name of the pair.
    side : {"input", "target"}
        Side of the pair.
    source : callable
        ``position -> dict of str to CCDData``.
    position : `~astropy.coordinates.SkyCoord`
        Position to ask for.

    Returns
    -------
    field : dict of str to `~astropy.nddata.CCDData`
        As read from the file, so that an interrupted run sees the same.

    Notes
    -----
    Images count as stored where they are of this position, of the release of the source and
    of the settings of the folder. Others are fetched again.
    """
    path = folder / places.STAGING / name / f"{side}.fits"
    note = path.with_suffix(".json")
    asked = {
        "ra": float(position.ra.deg),
        "dec": float(position.dec.deg),
        "release": str(getattr(source, "release", "")),
        "settings": records.read_json(folder / places.SETTINGS),
    }
    # Files are moved here when they are complete.
    if not path.exists() or not _same(_noted(note), asked):
        path.unlink(missing_ok=True)
        field = source(position)
        if not isinstance(field, dict) or not field:
            raise ValueError(
                f"{side}_source must give a dict of band to CCDData; got {type(field).__name__}"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        # Before the images: a note must never be older than what it describes.
        records.write_json(note, asked)
        write_bands(path, field)
    return read_bands(path)


def _noted(path):
    """What stored images were asked for with; `None` where that is not known."""
    try:
        return records.read_json(path)
    except ValueError:
        return None


def _same(one, other):
    """Whether two requests are for the same images."""
    if not isinstance(one, dict) or one.keys() != other.keys():
        return False
    apart = _position(one).separation(_position(other)).arcsec
    rest = one.keys() - {"ra", "dec"}
    return bool(apart <= records.SAME_PLACE) and all(one[key] == other[key] for key in rest)


def _position(asked):
    return SkyCoord(asked["ra"], asked["dec"], unit="deg")


def reason_of(error):
    """
    Describe the error that stopped a pair, or raise it if the pair is not to blame.

    Parameters
    ----------
    error : Exception
        Raised by the source or by the matching.

    Returns
    -------
    reason : str
        Text for the index.

    Raises
    ------
    Exception
        The same error, where the machine is to blame and not the pair: a package that is not
        installed, no memory, a full or broken disk, too many open files. Such an error may be
        anywhere in the chain of causes.
    """
    if any(_of_the_machine(one) for one in _chain(error)):
        raise error
    if isinstance(error, ServiceError | ValueError) or type(error) is OSError:
        return str(error)
    return f"{type(error).__name__}: {error}"


def _chain(error):
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def _of_the_machine(error):
    if isinstance(error, _EVERYBODYS):
        return True
    # astropy checks the free space itself, and its error has no number.
    return isinstance(error, OSError) and (
        error.errno in _MACHINE or "space on disk" in str(error).lower()
    )
