# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The folder of pairs: reading it, and adding complete pairs only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from astropy.coordinates import SkyCoord

from splus_srgan.images.io.fields import read_bands, write_bands
from splus_srgan.pairs.folder import places, records
from splus_srgan.pairs.folder.schema import SIDES
from splus_srgan.pairs.quality.contact_sheet import contact_sheet, is_contact_sheet
from splus_srgan.utils.files import home_path, make_folder, replace_file

if TYPE_CHECKING:
    from typing import Any

    from astropy.nddata import CCDData
    from astropy.table import Table

    from splus_srgan.pairs.match import MatchedPair
    from splus_srgan.pairs.quality.pair import PairReport
    from splus_srgan.utils.types import FilePath

__all__ = ["PairFolder"]


class PairFolder(Mapping):
    """
    The pairs of a folder, as a mapping from the names of the accepted ones.

    Parameters
    ----------
    path : path-like
        The folder.
    create : bool, optional
        Whether to make it if it is missing.

    Attributes
    ----------
    path : `~pathlib.Path`
        The folder.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or no pairs are in it, without ``create``.
    FileExistsError
        If, with ``create``, its index is not one of pairs: files that this package did not make
        are never replaced.
    ValueError
        If a record is not sound: an entry is missing or impossible, or was changed.

    Examples
    --------
    >>> from splus_srgan.pairs.folder.pairs import PairFolder
    >>> folder = PairFolder("pairs")  # doctest: +SKIP
    >>> for name, (image, target) in folder.items():  # doctest: +SKIP
    ...     print(name, image["r"].shape, target["r"].shape)
    """

    def __init__(self, path: FilePath, *, create: bool = False) -> None:
        self.path = home_path(path)
        if create:
            make_folder(self.path)
        if not self.path.is_dir():
            raise FileNotFoundError(f"the folder {self.path} does not exist")
        if create:
            places.check_index(self.path)
        self._records = {
            file.parent.name: record
            for file in sorted(self.path.glob(f"[!.]*/{places.RECORD}"))
            if (record := records.read_record(file)) is not None
        }
        if not create and not self._records:
            raise FileNotFoundError(
                f"{self.path} has no pairs; make some with splus-srgan fetch or match"
            )

    def __iter__(self):
        return (name for name in sorted(self._records) if self._verdict(name) == "accept")

    def __len__(self):
        return sum(1 for _ in self)

    def __contains__(self, name):
        return name in self._records and self._verdict(name) == "accept"

    def __getitem__(self, name):
        if name not in self:
            raise KeyError(name)
        return self.load(name)

    def __repr__(self):
        return f"<PairFolder {str(self.path)!r}: {len(self)} of {len(self._records)} accepted>"

    def _verdict(self, name):
        return self._records[name]["verdict"]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all pairs, rejected and failed ones included, in order."""
        return tuple(sorted(self._records))

    @property
    def index(self) -> Table:
        """All records as a `~astropy.table.QTable`, a row per pair; the content of index.ecsv."""
        return records.index_table(self._records.values())

    def load(
        self, name: str, *, verify: bool = True
    ) -> tuple[dict[str, CCDData], dict[str, CCDData]]:
        """
        Read a pair, whatever its verdict.

        Parameters
        ----------
        name : str
            Name of the pair.
        verify : bool, optional
            Whether to compare the files with their hashes.

        Returns
        -------
        input, target : dict of str to `~astropy.nddata.CCDData`
            Band to image, of shape ``(ny, nx)`` and ``(2 ny, 2 nx)``.

        Raises
        ------
        KeyError
            If there is no such pair, or it failed and has no images.
        OSError
            If a file is missing or was changed.
        """
        record = self._records.get(name)
        if record is None or record["verdict"] == "failed":
            why = "it failed: " + "; ".join(record["reasons"]) if record else "see .names"
            raise KeyError(f"{self.path} has no images of {name!r} ({why})")
        if verify and (problems := self._problems(name)):
            raise OSError(f"{'; '.join(problems)}; remove {self.path / name} and fetch it again")
        paths = places.list_sides(self.path, name)
        input, target = (read_bands(paths[side]) for side in SIDES)
        return input, target

    def verify(self) -> None:
        """
        Compare all files with their hashes.

        Raises
        ------
        OSError
            If files are missing or changed; the message names them all.
        """
        problems = [problem for name in self.names for problem in self._problems(name)]
        if problems:
            raise OSError("; ".join(problems))

    def holds(self, name: str, position: SkyCoord | None, *, failed: bool = True) -> bool:
        """
        Tell whether a complete pair is there, so that it need not be made again.

        Parameters
        ----------
        name : str
            Name of the pair.
        position : `~astropy.coordinates.SkyCoord` or None
            Expected position of its center.
        failed : bool, optional
            Whether a failed one counts as well.

        Returns
        -------
        there : bool
            `False` also where a file is missing or changed.

        Raises
        ------
        ValueError
            If there is a pair of that name at another position.
        """
        record = self._records.get(name)
        if record is None or (record["verdict"] == "failed" and not failed):
            return False
        if position is not None and record["ra"] is not None:
            there = SkyCoord(record["ra"], record["dec"], unit="deg")
            if there.separation(position).arcsec > records.SAME_PLACE:
                raise ValueError(
                    f"the pair {name!r} of {self.path} must be at the position in the list, "
                    f"{position.to_string()}; it is at {there.to_string()}; choose another "
                    f"folder, or remove {self.path / name}"
                )
        return not self._problems(name)

    def check_settings(self, settings: Mapping[str, Any]) -> None:
        """
        Record how the pairs are made, or refuse to mix pairs made in different ways.

        Parameters
        ----------
        settings : dict
            Plain values.

        Raises
        ------
        ValueError
            If the pairs of this folder were made with other settings.
        """
        path = self.path / places.SETTINGS
        kept = records.read_json(path)
        if kept is None:
            records.write_json(path, settings)
            return
        if not isinstance(kept, dict):
            raise ValueError(f"{path} must hold settings of pairs; choose another folder")
        # As read back from the file: a tuple becomes a list.
        settings = json.loads(json.dumps(settings))
        differing = sorted(key for key in kept | settings if kept.get(key) != settings.get(key))
        if differing:
            key = differing[0]
            raise ValueError(
                f"{key} must be {kept.get(key)!r}, as for the pairs that are in {self.path} "
                f"already; got {settings.get(key)!r}; choose another folder"
            )

    def _problems(self, name):
        """List the faults of the files of a pair."""
        problems = []
        for side, wanted in self._records[name].get("sha256", {}).items():
            path = places.list_sides(self.path, name)[side]
            if not path.is_file():
                problems.append(f"{path} is missing")
            elif records.file_hash(path) != wanted:
                problems.append(f"{path} does not have the sha256 that its record states")
        return problems

    def add(
        self,
        name: str,
        matched: MatchedPair,
        report: PairReport,
        *,
        position: SkyCoord | None = None,
        releases: Mapping[str, str] | None = None,
        overwrite: bool = False,
    ) -> None:
        """
        Add a pair, completely or not at all.

        Parameters
        ----------
        name : str
            Letters, digits and ``_.+-``.
        matched : `~splus_srgan.pairs.match.MatchedPair`
            The pair.
        report : `~splus_srgan.pairs.quality.pair.PairReport`
            Measurements of the pair.
        position : `~astropy.coordinates.SkyCoord`, optional
            Position of its center.
        releases : dict of str to str, optional
            Data releases of ``"input"`` and ``"target"``.
        overwrite : bool, optional
            Whether a pair of that name may be replaced.

        Raises
        ------
        FileExistsError
            If there is such a pair and ``overwrite`` is not set.
        """
        building = self._building(name, overwrite)
        sides = ({band: matched.input[band] for band in matched.bands}, matched.target)
        hashes = {}
        for side, field in zip(SIDES, sides, strict=True):
            path = write_bands(building / f"{side}.fits", field)
            hashes[side] = records.file_hash(path)
        record = records.pair_record(
            name,
            position,
            report,
            shape=next(iter(sides[0].values())).shape,
            hashes=hashes,
            releases=releases or {},
        )
        self._finish(name, building, record)

    def add_failure(
        self, name: str, reason: str, *, position: SkyCoord | None = None, overwrite: bool = False
    ) -> None:
        """
        Add a pair that could not be made, with the reason.

        Parameters
        ----------
        name : str
            Name of the pair.
        reason : str
            Why it failed.
        position : `~astropy.coordinates.SkyCoord`, optional
            Position of its center.
        overwrite : bool, optional
            Whether a pair of that name may be replaced.
        """
        building = self._building(name, overwrite)
        self._finish(name, building, records.failure_record(name, position, reason))

    def check_free(self, name: str, *, overwrite: bool = False) -> None:
        """
        Make sure, before any work is done, that a pair of this name can be added.

        Parameters
        ----------
        name : str
            Name of the pair.
        overwrite : bool, optional
            Whether a pair of that name may be replaced.

        Raises
        ------
        FileExistsError
            If there is such a pair and ``overwrite`` is not set, or something that is not a pair.
        ValueError
            If it cannot be the name of a folder.
        """
        places.check_pair_name(name)
        if name in self._records and not overwrite:
            raise FileExistsError(
                f"{self.path} has a pair {name!r}; overwrite=True (--overwrite) replaces it"
            )
        places.check_replaceable(self.path, name)

    def _building(self, name, overwrite):
        self.check_free(name, overwrite=overwrite)
        return places.building_folder(self.path, name)

    def _finish(self, name, building, record):
        records.write_json(building / places.RECORD, record)
        places.put_in_place(self.path, name)
        self._records[name] = record

    def write_index(self) -> Path:
        """
        Write ``index.ecsv``, the same bytes for the same pairs.

        Returns
        -------
        path : `~pathlib.Path`
            The file.
        """
        places.check_index(self.path)
        path = self.path / places.INDEX
        replace_file(path, records.ecsv_text(self.index))
        return path

    def contact_sheet(
        self, path: FilePath | None = None, *, overwrite: bool = False, **options: Any
    ) -> Path:
        """
        Draw all pairs with their verdicts.

        Parameters
        ----------
        path : path-like, optional
            PNG file; ``contact_sheet.png`` in the folder by default.
        overwrite : bool, optional
            Whether ``path`` may exist. The sheet in the folder is replaced by the new one.
        **options
            Further options of `~splus_srgan.pairs.quality.pair.contact_sheet`.

        Returns
        -------
        path : `~pathlib.Path`
            The file.

        Raises
        ------
        FileExistsError
            If the file exists and may not be replaced.
        """
        if path is None:
            path = self.path / places.SHEET
            overwrite = is_contact_sheet(path)
        reports = {name: (r["verdict"], r["reasons"]) for name, r in self._records.items()}
        images = ((name, *self._images(name)) for name in self.names)
        return contact_sheet(images, reports, path, overwrite=overwrite, **options)

    def _images(self, name):
        return (None, None) if self._verdict(name) == "failed" else self.load(name, verify=False)
