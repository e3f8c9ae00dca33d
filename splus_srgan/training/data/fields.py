# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""Noise-free simulated fields: rendered, read from folders, and cached."""

from __future__ import annotations

import contextlib
import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan import splus
from splus_srgan.pixels.psf import core_profile
from splus_srgan.simulate.field import simulate_field
from splus_srgan.utils.files import atomic_path, check_folder, check_target, home_path, make_folder
from splus_srgan.utils.validate import check_integer, check_one_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Literal

    from splus_srgan.utils.types import FilePath

__all__ = ["SEEDS", "Field", "FieldStore", "RenderedFolder", "render_pairs"]

SEEDS = {"train": 1, "validation": 2, "test": 3}
"""First number of the seed pairs of `splus_srgan.simulate_field`, one per purpose."""

_WITHOUT_WINGS = 5  # one training field of so many: wings are not to be taken for granted

CLEAN, SHARP, CONDITIONS = "clean.npy", "sharp.npy", "conditions.json"
_MEMORY = 2**29  # bytes of fields that a process keeps


@dataclass(frozen=True, eq=False)
class Field:
    """
    Noise-free images of a field, in nanomaggies per pixel.

    Parameters
    ----------
    clean : `~numpy.ndarray`, shape (n_band, ny, nx)
        Images on the S-PLUS grid, with the seeing.
    sharp : `~numpy.ndarray`, shape (n_band, 2 ny, 2 nx)
        Images on the target's grid, with the target's PSF.
    conditions : sequence of dict
        Per band: ``sigma`` (nmgy), ``electrons`` (per nmgy), ``saturation`` (nmgy),
        ``adu_per_nmgy``, ``dithers``, and ``psf`` (FWHM in arcsec and beta of the core, share
        of the wings).
    name : str
        Name of the field in messages.
    """

    clean: np.ndarray
    sharp: np.ndarray
    conditions: tuple
    name: str

    def cut(self, y, x, height, width):
        """The part that begins at input pixel ``(y, x)``."""
        return Field(
            self.clean[:, y : y + height, x : x + width],
            self.sharp[:, 2 * y : 2 * (y + height), 2 * x : 2 * (x + width)],
            self.conditions,
            self.name,
        )

    @property
    def n_bytes(self):
        """Size in memory."""
        return self.clean.nbytes + self.sharp.nbytes


def psf_kind(seed):
    """Give the kind of PSF of a field, from its seed: some training fields have no wings."""
    purpose, number = seed
    plain = purpose == SEEDS["train"] and number % _WITHOUT_WINGS == 0
    return "moffat" if plain else "real"


def render_field(seed, *, shape, bands):
    """Simulate one field and keep everything that does not depend on the noise."""
    simulated = simulate_field(seed, shape=shape, bands=bands, psf=psf_kind(seed))
    seen = [simulated.conditions[band] for band in bands]
    clean = [simulated.noiseless[b] / c.adu_per_nmgy for b, c in zip(bands, seen, strict=True)]
    sharp = [simulated.target[b].data / c.adu_per_nmgy for b, c in zip(bands, seen, strict=True)]
    conditions = tuple(
        {
            "sigma": c.sigma,
            "electrons": c.electrons,
            "saturation": c.saturation / c.adu_per_nmgy,
            "adu_per_nmgy": c.adu_per_nmgy,
            "dithers": c.dithers,
            "psf": (*core_profile(c.fwhm, c.beta, c.wings), c.wings),
        }
        for c in seen
    )
    name = f"the simulated field {tuple(seed)}"
    return Field(np.float32(clean), np.float32(sharp), conditions, name)


def render_pairs(
    folder: FilePath,
    n_pairs: int,
    *,
    purpose: Literal["train", "validation", "test"] = "train",
    shape: tuple[int, int] = (128, 128),
    bands: Sequence[str] = ("g", "r", "z"),
    first: int = 0,
    overwrite: bool = False,
) -> None:
    """
    Render noise-free pairs into a folder, completely or not at all.

    Parameters
    ----------
    folder : path-like
        Folder of the files; created.
    n_pairs : int
        Fields to render; field ``k`` has the seed ``(SEEDS[purpose], first + k)``.
    purpose : {"train", "validation", "test"}, optional
        Purpose, which selects the seeds.
    shape : tuple of int, optional
        ``(ny, nx)`` of the S-PLUS image.
    bands : sequence of str, optional
        Bands.
    first : int, optional
        Number of the first field.
    overwrite : bool, optional
        Whether files of these names may be replaced.

    Raises
    ------
    FileExistsError
        If one of the files exists and ``overwrite`` is not set.
    OSError
        If the folder or a file cannot be written; what was there is as it was.
    ValueError
        If the number, the purpose, a band or the shape is not possible.

    Notes
    -----
    The folder holds ``clean.npy`` and ``sharp.npy`` (nanomaggies, float32, to be mapped
    into memory) and, written last, ``conditions.json``.
    """
    n_pairs = check_integer("n_pairs", n_pairs, minimum=1)
    first = check_integer("first", first, minimum=0)
    check_one_of("purpose", purpose, tuple(SEEDS))
    bands, shape = _checked_bands(bands), _checked_shape(shape)
    folder = _checked_folder(folder, overwrite)
    make_folder(folder)
    paths = [folder / name for name in (CONDITIONS, SHARP, CLEAN)]
    with contextlib.ExitStack() as stack:
        # The one that is opened first is put in its place last.
        beside = [stack.enter_context(atomic_path(p, overwrite=overwrite)) for p in paths]
        conditions, sharp, clean = beside
        seeds = [(SEEDS[purpose], first + k) for k in range(n_pairs)]
        table = _render_into(clean, sharp, seeds, shape, bands)
        conditions.write_text(json.dumps({"bands": bands, "conditions": table}), encoding="utf-8")
        if overwrite:
            # Killed between two files, the folder must not pass for whole.
            paths[0].resolve().unlink(missing_ok=True)


def _checked_bands(bands):
    bands = tuple(check_one_of("bands", band, tuple(splus.BANDS)) for band in bands)
    if not bands or len(set(bands)) < len(bands):
        raise ValueError(f"bands must name at least one band, and each once; got {bands!r}")
    return bands


def _checked_shape(shape):
    shape = tuple(check_integer("every entry of shape", n, minimum=16) for n in shape)
    if len(shape) != 2:
        raise ValueError(f"shape must be two numbers, (ny, nx); got {shape!r}")
    return shape


def _checked_folder(folder, overwrite):
    """Refuse to replace files that nobody has given up, before any work is done."""
    folder = home_path(folder)
    check_folder(folder)
    for name in (CLEAN, SHARP, CONDITIONS) if folder.exists() else ():
        check_target(folder / name, overwrite=overwrite)
    return folder


def _render_into(clean, sharp, seeds, shape, bands):
    """Write the images of fields into two files, and give their conditions."""
    maps = [
        np.lib.format.open_memmap(
            path,
            mode="w+",
            dtype=np.float32,
            shape=(len(seeds), len(bands), *(factor * n for n in shape)),
        )
        for path, factor in ((clean, 1), (sharp, 2))
    ]
    table = []
    for k, seed in enumerate(seeds):
        field = render_field(seed, shape=shape, bands=bands)
        maps[0][k], maps[1][k] = field.clean, field.sharp
        table.append(field.conditions)
    for one in maps:
        one.flush()
    return table


class RenderedFolder:
    """
    A folder made by `render_pairs`, as a sequence of `Field`.

    Parameters
    ----------
    path : path-like
        The folder.
    bands : sequence of str or None
        Bands to give, in this order; all by default.

    Raises
    ------
    FileNotFoundError
        If it is not such a folder, or incomplete.
    ValueError
        If a file is damaged, they do not fit each other, or a band is missing.
    """

    def __init__(self, path, bands=None):
        self.path = home_path(path)
        table = self._read_table()
        known = list(table["bands"])
        self.bands = tuple(known if bands is None else bands)
        missing = [band for band in self.bands if band not in known]
        if missing:
            raise ValueError(
                f"bands must be among those of {self.path}, {', '.join(known)}; got {missing[0]!r}"
            )
        self._channels = [known.index(band) for band in self.bands]
        self._table = [[row[c] for c in self._channels] for row in table["conditions"]]
        self._maps = None
        self.shape = self._check_shapes(len(known))

    def __getstate__(self):
        # A memory map would be sent to the workers as a copy of the whole file.
        return self.__dict__ | {"_maps": None}

    def __len__(self):
        return len(self._table)

    def __getitem__(self, k):
        clean, sharp = (self._open(i)[k] for i in (0, 1))
        if self._channels != list(range(len(clean))):
            clean, sharp = clean[self._channels], sharp[self._channels]
        row = tuple(_complete(c, b) for c, b in zip(self._table[k], self.bands, strict=True))
        return Field(clean, sharp, row, f"field {k} of {self.path}")

    def _open(self, which):
        if self._maps is None:
            self._maps = [_open_map(self.path / name) for name in (CLEAN, SHARP)]
        return self._maps[which]

    def _read_table(self):
        path = self.path / CONDITIONS
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is missing: {self.path} must be a folder that render_pairs made and "
                "finished; render it again"
            )
        try:
            table = json.loads(path.read_text(encoding="utf-8"))
            if not table["bands"] or not table["conditions"]:
                raise ValueError("it is empty")
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is damaged ({error}); render {self.path} again") from None
        return table

    def _check_shapes(self, n_band):
        clean, sharp = (self._open(i).shape for i in (0, 1))
        wanted = (len(self._table), n_band)
        if clean[:2] != wanted or sharp != (*wanted, *(2 * n for n in clean[2:])):
            raise ValueError(
                f"the files of {self.path} must fit each other; {CONDITIONS} has {wanted[0]} "
                f"fields of {n_band} bands, {CLEAN} the shape {clean} and {SHARP} {sharp}; "
                "render it again"
            )
        return clean[2:]


def _open_map(path):
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path} is missing; render {path.parent} again") from None
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{path} is damaged ({error}); render {path.parent} again") from None


def _complete(conditions, band):
    """Conditions of a folder from before they had the gain: all bands saturate at the same ADU."""
    if "adu_per_nmgy" in conditions:
        return conditions
    known = splus.BANDS[band].saturation / conditions["saturation"]
    return conditions | {"adu_per_nmgy": known}


class FieldStore:
    """
    Simulated fields by number, rendered when first asked for.

    Parameters
    ----------
    purpose : {"train", "validation", "test"}
        Purpose, which selects the seeds, ``(SEEDS[purpose], k)``.
    shape : tuple of int
        ``(ny, nx)`` of the S-PLUS image.
    bands : sequence of str
        Bands.
    folder : path-like or None
        Folder that keeps rendered fields, a file each.  Several processes may share it.
    """

    def __init__(self, purpose, shape, bands, folder=None):
        self._seed = SEEDS[check_one_of("purpose", purpose, tuple(SEEDS))]
        for band in bands:
            check_one_of("bands", band, tuple(splus.BANDS))
        self.shape, self.bands = tuple(shape), tuple(bands)
        self._folder = None
        if folder is not None:
            self._folder = Path(folder) / f"{shape[0]}x{shape[1]}-{'-'.join(bands)}"
        self._known, self._room = {}, _MEMORY

    def __getstate__(self):
        return self.__dict__ | {"_known": {}, "_room": _MEMORY}

    def __getitem__(self, k):
        if k in self._known:
            return self._known[k]
        field = self._read(k) or self._render(k)
        # In the shuffled order of epochs, replacing a kept field by another gains nothing.
        if field.n_bytes <= self._room:
            self._known[k] = field
            self._room -= field.n_bytes
        return field

    def _path(self, k):
        return self._folder / f"{self._seed}-{k:06d}.npz"

    def _read(self, k):
        """Read a field from the folder; `None` where it is not there or damaged."""
        if self._folder is None or not self._path(k).is_file():
            return None
        try:
            # Given a path, numpy would leave a damaged file open.
            with self._path(k).open("rb") as stream, np.load(stream, allow_pickle=False) as parts:
                conditions = tuple(json.loads(str(parts["conditions"])))
                return Field(parts["clean"], parts["sharp"], conditions, str(self._path(k)))
        except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile):
            return None

    def _render(self, k):
        field = render_field((self._seed, k), shape=self.shape, bands=self.bands)
        if self._folder is not None:
            self._folder.mkdir(parents=True, exist_ok=True)
            conditions = json.dumps(field.conditions)
            parts = {"clean": field.clean, "sharp": field.sharp, "conditions": conditions}
            with atomic_path(self._path(k), overwrite=True) as temporary:
                np.savez(temporary, **parts)
        return field
