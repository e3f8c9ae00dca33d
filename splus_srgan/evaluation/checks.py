# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""A measured value beside the limit that it has to keep: what every verdict is made of."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from astropy.table import Table

from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["TOPICS", "Check", "check_table"]

TOPICS = ("photometry", "astrometry", "morphology", "honesty", "artefacts", "uncertainty")
"""What a check speaks for."""


@dataclass(frozen=True)
class Check:
    """
    One measured value and its limit.

    Parameters
    ----------
    topic : str
        One of ``TOPICS``.
    name : str
        What was measured, in a few words, such as ``"median flux offset"``.
    band : str
        Band, or ``""`` for all together.
    value : float
        What was measured; NaN where it could not be.
    limit : float, tuple of float, or None
        Largest absolute value that passes, or the range ``(low, high)`` of those that do;
        `None`: the value informs a reader and decides nothing.
    unit : str, optional
        Unit of value, error and limit; ``""`` for a pure number.
    error : float, optional
        Standard error of the value; NaN where unknown.
    count : int, optional
        Number of sources, pixels or fields behind the value.
    note : str, optional
        Why it could not be measured, or what a reader must know.
    needed : bool, optional
        Whether its topic is safe only where this check was made.
    of : str, optional
        What is counted: ``"stars"``, ``"sources"`` and so on.
    fault : str, optional
        What is wrong where it fails, in plain words; its name where nothing is given.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> check = Check("photometry", "median flux offset", "r", 0.012, 0.01, unit="mag")
    >>> check.measured, check.passed
    (True, False)
    """

    topic: str
    name: str
    band: str
    value: float
    limit: float | tuple[float, float] | None
    unit: str = ""
    error: float = math.nan
    count: int = 0
    note: str = ""
    needed: bool = True
    of: str = ""
    fault: str = ""

    def __post_init__(self) -> None:
        check_one_of("topic", self.topic, TOPICS)

    @property
    def measured(self) -> bool:
        """Whether there is a value at all."""
        return math.isfinite(self.value)

    @property
    def decides(self) -> bool:
        """Whether there is a limit to keep."""
        return self.limit is not None

    @property
    def range(self) -> tuple[float, float]:
        """The values that pass, ``(low, high)``."""
        if self.limit is None:
            return -math.inf, math.inf
        if isinstance(self.limit, tuple):
            return self.limit
        return -abs(self.limit), abs(self.limit)

    @property
    def passed(self) -> bool | None:
        """Whether the value keeps its limit; `None` without a value or a limit."""
        if not (self.measured and self.decides):
            return None
        low, high = self.range
        return bool(low <= self.value <= high)


def check_table(checks: Iterable[Check]) -> Table:
    """
    Turn checks into a table.

    Parameters
    ----------
    checks : iterable of `Check`
        Checks, in any order.

    Returns
    -------
    table : `~astropy.table.Table`
        A row for each: ``topic, name, band, value, error, low, high, unit, count,
        needed, verdict, note``, where the verdict is ``"pass"``, ``"fail"``, ``"not measured"`` or
        ``"information"`` (a value without a limit).
    """
    names = {True: "pass", False: "fail", None: "not measured"}
    rows = []
    for check in checks:
        row = asdict(check)
        for name in ("limit", "of", "fault"):
            del row[name]
        row["low"], row["high"] = check.range
        informs = check.measured and not check.decides
        rows.append(row | {"verdict": "information" if informs else names[check.passed]})
    order = ("topic", "name", "band", "value", "error", "low", "high")
    order += ("unit", "count", "needed", "verdict", "note")
    types = ("U16", "U80", "U16", float, float, float, float, "U24", int, bool, "U12", "U400")
    table = Table(names=order, dtype=types)
    for row in rows:
        table.add_row([row[name] for name in order])
    return table
