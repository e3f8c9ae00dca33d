# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Run an enhancer and simpler methods on fields, and judge what comes out.

The measurements are those of the other modules of ``splus_srgan.evaluation``; here they
are run field by field, put together, and turned into a verdict and a report.
"""

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
from astropy.table import QTable

from splus_srgan._version import __version__
from splus_srgan.evaluation.measures import SCORES, Measurements, score_rows
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.trials import run_trials
from splus_srgan.evaluation.verdict import headline, in_words, judge_topics
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.utils.validate import check_integer

__all__ = ["EvaluatedField", "Evaluation", "evaluate", "evaluate_images"]

_KEYS = ("field", "kind", "band", "method", "seconds")


@dataclass
class EvaluatedField:
    """
    A field, what was made of it, and what was noticed on the way.

    Parameters
    ----------
    name : str
        Of the field.
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
    output: dict
    pair: EvaluationPair | None = None
    seconds: float = float("nan")
    warnings: tuple = ()

    @property
    def bands(self):
        """Names of its bands."""
        return tuple(self.output) if self.pair is None else self.pair.bands

    @property
    def kind(self):
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
        What a reader has to know of the run: name to text.
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
    fields: list
    table: QTable
    checks: list
    facts: dict = field(default_factory=dict)
    measurements: dict = field(default_factory=dict, repr=False)

    @property
    def verdict(self):
        """`~splus_srgan.evaluation.verdict.Verdict` of each topic."""
        return judge_topics(self.checks)

    @property
    def headline(self):
        """One sentence on what the images are safe for."""
        return headline(self.verdict)

    @property
    def bands(self):
        """Names of all bands, in order."""
        return tuple(dict.fromkeys(band for one in self.fields for band in one.bands))

    @property
    def warnings(self):
        """What the enhancer warned of: text to the names of the fields."""
        found = {}
        for one in self.fields:
            for text in one.warnings:
                found.setdefault(text, []).append(one.name)
        return found

    def summary(self):
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
            lines += [f"    {in_words(check)}" for check in verdict.failed[:5]]
            lines += [f"    for information: {in_words(check)}" for check in verdict.remarks]
        means = self.mean_scores()
        if len(means):
            lines += ["", *means.pformat(max_lines=-1, max_width=-1)]
        return "\n".join(lines)

    def mean_scores(self):
        """
        Average the scores over the fields.

        Returns
        -------
        means : `~astropy.table.QTable`
            A row for each method and band; fields without a score are left out.
        """
        if not len(self.table):
            return QTable()
        names = [name for name in self.table.colnames if name not in _KEYS]
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

    def write(self, folder, *, overwrite=False):
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


def evaluate(enhancer, pairs, *, baselines=(), trials=3, progress_bar=None):
    """
    Enhance fields and judge the result, with simpler methods beside it.

    Parameters
    ----------
    enhancer : callable
        `~splus_srgan.enhance.enhancer.SRGANEnhancer`, or whatever takes a mapping of band to
        image and gives one on the 2x grid.
    pairs : `~splus_srgan.evaluation.pairs.EvaluationPair` or iterable of them
        Fields, with target or without.
    baselines : mapping of str to callable, or sequence of callables, optional
        Other methods, called alike.  They are scored where there is a target; only the
        enhancer is checked.
    trials : int, optional
        On how many fields the enhancer is tried with changed images: turned, with
        sources added, with the noise of another field; and with noise alone.  0: none.
    progress_bar : callable, optional
        Wraps the list of pairs, as ``tqdm.tqdm`` does.

    Returns
    -------
    evaluation : `Evaluation`
        Scores, checks and images.

    Raises
    ------
    TypeError
        If ``enhancer`` or a baseline cannot be called, or ``pairs`` are something else.
    ValueError
        If there is no pair, two pairs have one name, or ``trials`` is negative.
    """
    if not callable(enhancer):
        raise TypeError(f"enhancer must be callable; got {type(enhancer).__name__}")
    check_integer("trials", trials, minimum=0)
    pairs, baselines = _checked_pairs(pairs), _named(baselines)
    run = _Run()
    for pair in progress_bar(pairs) if progress_bar else pairs:
        start = time.perf_counter()
        output, told = _listened_to(enhancer, pair.observed)
        seconds = time.perf_counter() - start
        run.method = run.method or _method_name(enhancer, output)
        run.add(EvaluatedField(pair.name, output, pair, seconds, told))
        for name, make in baselines.items():
            start = time.perf_counter()
            made, _ = _listened_to(make, pair.observed)
            run.score(name, pair, made, time.perf_counter() - start)
    if trials:
        run_trials(enhancer, pairs, run.measured, number=trials)
    return run.result()


def evaluate_images(output, *, pair=None, name="image"):
    """
    Judge an image that was enhanced before.

    Parameters
    ----------
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``, with the cards of the enhancer
        (``SRSKY``, ``SRSIGMA``, ``SRMODEL``).
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`, optional
        What it was made from, and its target if there is one.  Without it only what
        the image shows by itself is judged.
    name : str, optional
        What to call the field where there is no pair.

    Returns
    -------
    evaluation : `Evaluation`
        Checks and images; scores where there is a target.

    Raises
    ------
    ValueError
        If the output lacks a band of the pair, or the cards of the enhancer.

    Examples
    --------
    >>> from splus_srgan import SRGANEnhancer, simulate_field
    >>> from splus_srgan.evaluation.run import evaluate_images
    >>> field = simulate_field(4, shape=(64, 64), bands=("r",))
    >>> evaluation = evaluate_images(SRGANEnhancer(device="cpu")(field.observed))
    >>> evaluation.method, evaluation.verdict["photometry"].status
    ('splus-any', 'not measured')
    """
    for band, image in output.items():
        lacking = [card for card in ("SRSKY", "SRSIGMA") if card not in (image.meta or {})]
        if lacking and pair is None:
            raise ValueError(
                f"output must have the cards of an enhanced image; band {band!r} lacks "
                f"{' and '.join(lacking)}: give the image that it was made from as pair="
            )
    run = _Run(_method_name(None, output))
    run.add(EvaluatedField(name if pair is None else pair.name, output, pair))
    return run.result()


class _Run:
    """What an evaluation gathers on its way."""

    def __init__(self, method=""):
        self.method = method
        self.fields, self.rows, self.measured = [], [], Measurements()

    def add(self, one):
        """Measure what the enhancer made of a field."""
        self.fields.append(one)
        self.measured.add(one)
        if one.pair is not None:
            self.score(self.method, one.pair, one.output, one.seconds)

    def score(self, method, pair, output, seconds):
        """Score what any method made of a field that has a target."""
        self.rows += [
            {"field": pair.name, "kind": pair.kind, "band": band, "method": method}
            | {"seconds": seconds}
            | row
            for band, row in score_rows(pair, output).items()
        ]

    def result(self):
        """Put everything together."""
        bands = tuple(dict.fromkeys(band for one in self.fields for band in one.bands))
        table = (
            QTable(rows=self.rows) if self.rows else QTable(names=_KEYS, dtype=4 * ["U1"] + [float])
        )
        table["seconds"].unit = "s"
        for name, unit in SCORES.items():
            if unit and name in table.colnames:
                table[name].unit = unit
        evaluation = Evaluation(
            self.method,
            self.fields,
            table,
            self.measured.checks(bands),
            _facts(self.fields),
            self.measured.joined(),
        )
        table.meta |= {"headline": evaluation.headline} | evaluation.facts
        return evaluation


def _mean(column):
    """Mean of the finite values of a column, with its unit."""
    values = np.asarray(getattr(column, "value", column), float)
    finite = values[np.isfinite(values)]
    mean = finite.mean() if finite.size else np.nan
    return mean if column.unit is None else mean * column.unit


def _checked_pairs(pairs):
    """Pairs as a list, each with its own name."""
    pairs = [pairs] if isinstance(pairs, EvaluationPair) else list(pairs)
    strange = [pair for pair in pairs if not isinstance(pair, EvaluationPair)]
    if strange:
        raise TypeError(f"pairs must be EvaluationPair objects; got {type(strange[0]).__name__}")
    if not pairs:
        raise ValueError("pairs must hold at least one pair; got none")
    names = [pair.name for pair in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"pairs must have names of their own; got {twice[0]!r} more than once")
    return pairs


def _named(baselines):
    """Baselines by name."""
    if not isinstance(baselines, Mapping):
        baselines = {_method_name(one, {}): one for one in baselines}
    for name, one in baselines.items():
        if not callable(one):
            raise TypeError(f"baselines must be callable; {name!r} is {type(one).__name__}")
    return dict(baselines)


def _method_name(enhancer, output):
    """What the cards call the weights, else what the method calls itself."""
    for image in output.values():
        if "SRMODEL" in (image.meta or {}):
            return str(image.meta["SRMODEL"])
    name = getattr(enhancer, "name", "") or getattr(enhancer, "__name__", "")
    return str(name) if name else "image" if enhancer is None else type(enhancer).__name__


def _listened_to(enhance, images):
    """What an enhancer makes of images, and what it warns of."""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        output = enhance(images)
    texts = []
    for one in told:
        if issubclass(one.category, SplusSrganWarning):
            texts.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return output, tuple(dict.fromkeys(texts))


def _facts(fields):
    """What a reader has to know of the run."""
    first = next(iter(fields[0].output.values())).meta or {}
    weights = " ".join(str(first[card]) for card in ("SRMODEL", "SRMODVER") if card in first)
    shapes = {np.shape(next(iter(one.output.values())).data) for one in fields}
    facts = {
        "Weights": weights,
        "Hash": str(first.get("SRSHA256", "")),
        "Arithmetic": " on ".join(str(first[c]) for c in ("SRPREC", "SRENGINE") if c in first),
        "Output": ", ".join(f"{ny} × {nx} pixels" for ny, nx in sorted(shapes)[:3]),
        "Judged": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Software": f"splus_srgan {__version__}",
    }
    return {name: text for name, text in facts.items() if text}
