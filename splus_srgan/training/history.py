# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The log of a run: one table, one row per step; a resumed run appends to it."""

import contextlib
import csv
import time
from pathlib import Path
from typing import Any

from splus_srgan.utils.files import atomic_path
from splus_srgan.utils.optional import import_optional

__all__ = ["History", "read_history"]

_loggers: Any = import_optional("lightning.pytorch.loggers", "train")
_rank_zero_only = import_optional("lightning.pytorch.utilities", "train").rank_zero_only
_KEYS = ("step", "epoch")
_SECONDS = 5.0  # between two writes: a killed run loses no more rows than that


class History(_loggers.Logger):
    """
    Write ``metrics.csv``.

    Lightning's own `~lightning.pytorch.loggers.CSVLogger` deletes the table of a run that
    is resumed.

    Parameters
    ----------
    path : path-like
        The table.
    step : int, optional
        Steps that the run has taken; later rows of the table are dropped.
    """

    name = ""
    version = ""

    def __init__(self, path, *, step=0):
        super().__init__()
        self.path = Path(path)
        self._rows = {}  # not written yet
        self._columns = list(_KEYS)
        self._last = 0  # step of the last row written
        self._written = time.monotonic()
        self._forget(step)

    @property
    def save_dir(self):
        """Folder of the table."""
        return str(self.path.parent)

    @property
    def experiment(self):
        """Rows not yet written, by step."""
        return self._rows

    def log_hyperparams(self, params, *args, **kwargs):
        """Do nothing: parameters have no place in a table of measurements."""

    @_rank_zero_only
    def log_metrics(self, metrics, step=None):
        """
        Add values to the row of a step.

        Parameters
        ----------
        metrics : dict of str to float
            Measured values.
        step : int, optional
            Steps taken before the present one.
        """
        step = (step or 0) + 1
        row = self._rows.setdefault(step, {"step": step})
        row.update({key: _number(key, value) for key, value in metrics.items()})
        if time.monotonic() - self._written > _SECONDS:
            # The row of this step may still grow.
            self._write({k: row for k, row in self._rows.items() if k < step})

    @_rank_zero_only
    def save(self):
        """Write the rows not yet written."""
        self._write(dict(self._rows))

    def finalize(self, status):
        """Write the rows not yet written."""
        # After a failure, such as a full disk, the first error is the one to report.
        with contextlib.suppress(*[OSError] if status == "failed" else []):
            self.save()

    @_rank_zero_only
    def _forget(self, step):
        """Drop the rows of steps that will be taken again."""
        if self.path.is_file():
            self._columns = list(_columns_of(self.path))
            self._rewrite({}, until=step)

    def _write(self, rows):
        self._written = time.monotonic()
        if not rows:
            return
        known = set(self._columns)
        new = {key for row in rows.values() for key in row} - known
        self._columns = [*_KEYS, *sorted((known | new) - set(_KEYS))]
        if new or min(rows) <= self._last or not self.path.is_file():
            self._rewrite(rows)
        else:
            with self.path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns).writerows(rows[k] for k in sorted(rows))
        self._last = max(self._last, *rows)
        for step in rows:
            del self._rows[step]

    def _rewrite(self, rows, *, until=None):
        """Write the whole table and rename it into place; values of ``rows`` take precedence."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        rows = dict(rows)
        with (
            atomic_path(self.path, overwrite=True) as beside,
            beside.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            for old in _read(self.path):
                step = int(old["step"])
                if until is None or step <= until:
                    writer.writerow(old | rows.pop(step, {}))
                    self._last = step
            writer.writerows(rows[k] for k in sorted(rows))


def read_history(path):
    """
    Read the table of a run.

    Parameters
    ----------
    path : path-like
        ``metrics.csv``.

    Returns
    -------
    history : `~astropy.table.Table`
        One row per logged step; missing values are masked.
    """
    from astropy.table import Table

    path = Path(path)
    if not path.is_file():
        return Table()
    return Table.read(path, format="ascii.csv", guess=False)


def _number(key, value):
    return int(value) if key in _KEYS else float(value)


def _columns_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file), _KEYS)


def _read(path):
    """Rows one after another, without one that a killed process left incomplete."""
    if not path.is_file():
        return
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if None not in row.values() and row["step"].isdecimal():
                yield row
