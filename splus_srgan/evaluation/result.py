# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""What an evaluation gives: fields, scores, checks, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.statistics import finite_values, plain_values
from splus_srgan.evaluation.verdict import headline, in_words, judge_topics
from splus_srgan.utils.notebook import html_table

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from astropy.nddata import CCDData
    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.verdict import Verdict
    from splus_srgan.utils.types import FilePath

__all__ = ["KEYS", "EvaluatedField", "Evaluation"]

KEYS = ("field", "kind", "band", "method", "seconds")
"""Columns of the table of scores that are no scores."""


@dataclass
class EvaluatedField:
    """
    A field, its enhanced image, and the warnings on the way.

    Parameters
    ----------
    name : str
        Name of the field.
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``.
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`, optional
        Input, and target where there is one; `None` where the input is not at hand.
    seconds : float, optional
        Time that enhancing took; NaN where it was not done here.
    warnings : tuple of str, optional
        What the enhancer warned of, such as an input outside its domain.
    """

    name: str
    output: dict[str, CCDData]
    pair: EvaluationPair | None = None
    seconds: float = float("nan")
    warnings: tuple[str, ...] = ()

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of its bands."""
        return tuple(self.output) if self.pair is None else self.pair.bands

    @property
    def kind(self) -> str:
        """Kind of field, where it is known."""
        return "" if self.pair is None else self.pair.kind


@dataclass
class Evaluation:
    """
    What was measured, and what it means.

    Parameters
    ----------
    method : str
        What was evaluated.
    fields : list of `EvaluatedField`
        Fields, with their images.
    table : `~astropy.table.QTable`
        A row for each field, band and method: scores against the target.
    checks : list of `~splus_srgan.evaluation.checks.Check`
        Measured values of the method beside their limits.
    facts : dict, optional
        What a reader needs to know about the run: name to text.
    measurements : dict of str to `~astropy.table.Table`, optional
        Rows behind the checks: ``"fluxes"``, ``"stars"`` and so on, of all fields.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.run import evaluate
    >>> from splus_srgan.evaluation.pairs import EvaluationPair
    >>> field = simulate_field(4, shape=(64, 64), bands=("r",))
    >>> pair = EvaluationPair.from_simulation(field, name="four")
    >>> evaluation = evaluate(SRGANEnhancer(device="cpu"), [pair], trials=0)
    >>> [str(evaluation.table[name][0]) for name in ("field", "band", "method")]
    ['four', 'r', 'splus-any']
    >>> sorted(evaluation.verdict)[:2]
    ['artefacts', 'astrometry']
    """

    method: str
    fields: list[EvaluatedField]
    table: QTable
    checks: list[Check]
    facts: dict[str, Any] = field(default_factory=dict)
    measurements: dict[str, Table] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        return f"Evaluation({self.method!r}, {len(self.fields)} field(s): {self.headline})"

    def _repr_html_(self) -> str:
        rows = {
            topic: " - ".join(
                [verdict.status, *dict.fromkeys(check.name for check in verdict.failed)]
            )
            for topic, verdict in self.verdict.items()
        }
        return html_table(f"{self.method}: {self.headline}", rows)

    @property
    def verdict(self) -> dict[str, Verdict]:
        """`~splus_srgan.evaluation.verdict.Verdict` of each topic."""
        return judge_topics(self.checks)

    @property
    def headline(self) -> str:
        """One sentence on what the images are safe for."""
        return headline(self.verdict)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of all bands, in order."""
        return tuple(dict.fromkeys(band for one in self.fields for band in one.bands))

    @property
    def warnings(self) -> dict[str, list[str]]:
        """What the enhancer warned of: text to the names of the fields."""
        found: dict[str, list[str]] = {}
        for one in self.fields:
            for text in one.warnings:
                found.setdefault(text, []).append(one.name)
        return found

    def summary(self) -> str:
        """
        Put the result into a few lines of text.

        Returns
        -------
        text : str
            Headline, a line for each topic, the failed checks, the mean scores.
        """
        lines = [f"{self.method}, {len(self.fields)} field(s): {self.headline}", ""]
        for topic, verdict in self.verdict.items():
            good, bad, unknown = verdict.counts
            lines.append(
                f"{topic:12s} {verdict.status:13s} {good} pass, {bad} fail, {unknown} not measured"
            )
            if verdict.reason:
                lines.append(f"    {verdict.reason}")
            lines += [f"    {in_words(check)}" for check in verdict.failed[:5]]
            lines += [f"    for information: {in_words(check)}" for check in verdict.remarks]
        means = self.mean_scores()
        if len(means):
            lines += ["", *means.pformat(max_lines=-1, max_width=-1)]
        return "\n".join(lines)

    def mean_scores(self) -> QTable:
        """
        Average the scores over the fields.

        Returns
        -------
        means : `~astropy.table.QTable`
            A row for each method and band; fields without a score are left out.
        """
        if not len(self.table):
            return QTable()
        names = [name for name in self.table.colnames if name not in KEYS]
        rows = []
        for method, band in dict.fromkeys(
            zip(self.table["method"], self.table["band"], strict=True)
        ):
            mine = self.table[(self.table["method"] == method) & (self.table["band"] == band)]
            row = {"method": str(method), "band": str(band)}
            rows.append(row | {name: _mean(mine[name]) for name in names})
        means = QTable(rows=rows)
        for name in names:
            means[name].info.format = ".3f"
        return means

    def write(self, folder: FilePath, *, overwrite: bool = False) -> dict[str, Path]:
        """
        Write the report and its tables.

        Parameters
        ----------
        folder : path-like
            Folder to write to; made if needed.
        overwrite : bool, optional
            Whether files of an earlier report may be replaced.

        Returns
        -------
        paths : dict of str to `~pathlib.Path`
            ``"table"``, ``"checks"`` and ``"report"``: ``table.ecsv``, ``checks.ecsv`` and
            ``report.html``.

        Raises
        ------
        FileExistsError
            If one of the files exists and ``overwrite`` is not set.
        ImportError
            If jinja2 or matplotlib is not installed.
        """
        from splus_srgan.evaluation.report.write import write_report

        return write_report(self, folder, overwrite=overwrite)


def _mean(column: Any) -> Any:
    """Mean of the finite values of a column, with its unit."""
    finite = finite_values(plain_values(column))
    mean = finite.mean() if finite.size else np.nan
    return mean if column.unit is None else mean * column.unit
