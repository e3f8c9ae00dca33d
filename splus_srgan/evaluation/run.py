# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""
Run an enhancer and simpler methods on fields, and judge what comes out.

The measurements are those of the other modules of ``splus_srgan.evaluation``; here they
are run field by field, put together, and turned into a verdict and a report.
"""

from __future__ import annotations

import dataclasses
import pickle
import time
import warnings
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from astropy.table import QTable

from splus_srgan._version import __version__
from splus_srgan.evaluation.comparison import compare_field, is_own_target
from splus_srgan.evaluation.measure.agreement import scores
from splus_srgan.evaluation.measure.repeat import repeat_test
from splus_srgan.evaluation.measures import Measurements
from splus_srgan.evaluation.pairs import EvaluationPair
from splus_srgan.evaluation.result import KEYS, EvaluatedField, Evaluation
from splus_srgan.evaluation.trials import run_trials
from splus_srgan.exceptions import SplusSrganWarning
from splus_srgan.utils.cluster import (
    calls_as_completed,
    check_client,
    one_at_a_time,
    unpickle_once,
)
from splus_srgan.utils.floats import numpy_defaults
from splus_srgan.utils.quiet import quiet
from splus_srgan.utils.tables import rows_of
from splus_srgan.utils.validate import check_integer

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence
    from typing import Any

    from astropy.nddata import CCDData

    from splus_srgan.evaluation.compared import ComparedField
    from splus_srgan.utils.types import Images, ProgressBar

__all__ = ["SCORES", "evaluate", "evaluate_images"]

SCORES = {
    f"{score}_{space}": unit
    for space in ("noise", "asinh", "seed")
    for score, unit in (("psnr", "dB"), ("ssim", ""), ("ms_ssim", ""), ("nrmse", ""))
}
"""Columns of scores and their units."""


@numpy_defaults
def evaluate(
    enhancer: Callable[..., Any],
    pairs: EvaluationPair | Iterable[EvaluationPair],
    *,
    baselines: Mapping[str, Callable[..., Any]] | Sequence[Callable[..., Any]] = (),
    trials: int = 3,
    client: Any = None,
    progress_bar: ProgressBar | None = None,
) -> Evaluation:
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
        sources added, with more noise, with the noise of another field; and with noise
        alone.  0: none.
    client : `distributed.Client`, optional
        Client of a dask.distributed cluster, whose workers enhance the fields and measure them; the
        trials are made here.  The result is the same.
    progress_bar : callable, optional
        Wraps the list of pairs, as ``tqdm.tqdm`` does.

    Returns
    -------
    evaluation : `Evaluation`
        Scores, checks and images.

    Raises
    ------
    ConnectionError
        If the client is closed, or the scheduler or all workers of a field are lost.
    TypeError
        If ``enhancer`` or a baseline cannot be called, or ``pairs`` are something else.
    ValueError
        If there is no pair, two pairs have one name, or ``trials`` is negative.
    """
    if not callable(enhancer):
        raise TypeError(f"enhancer must be callable; got {type(enhancer).__name__}")
    check_integer("trials", trials, minimum=0)
    pairs, baselines = _checked_pairs(pairs), _named(baselines)
    if client is not None:
        check_client(client, idle=True)
    ends: Generator[tuple[str, _Run], None, None]
    if client is not None:
        ends = _on_workers(client, enhancer, baselines, pairs)
    else:
        ends = ((pair.name, _judge(enhancer, baselines, pair)) for pair in pairs)
    judged: dict[str, _Run] = {}
    with closing(ends):
        for _ in progress_bar(pairs) if progress_bar else pairs:
            name, judged[name] = next(ends)
    run = _Run()
    for pair in pairs:
        run.take(judged.pop(pair.name))
    if trials:
        run_trials(enhancer, pairs, run.measured, number=trials)
    return run.result()


@numpy_defaults
def evaluate_images(
    output: dict[str, CCDData],
    *,
    pair: EvaluationPair | None = None,
    name: str = "image",
    enhancer: Callable[..., Any] | None = None,
) -> Evaluation:
    """
    Judge an image that was enhanced before.

    Parameters
    ----------
    output : dict of str to `~astropy.nddata.CCDData`
        Band to enhanced image ``(2 ny, 2 nx)``, with the cards of the enhancer
        (``SRSKY``, ``SRSIGMA``, ``SRMODEL``).
    pair : `~splus_srgan.evaluation.pairs.EvaluationPair`, optional
        What it was made from, and its target if there is one.  Without it the
        image is judged alone.
    name : str, optional
        What to call the field where there is no pair.
    enhancer : callable, optional
        What made the image.  With it and the input, uncertainties that the image states are
        compared with the scatter under repeated noise, for which no target is needed.

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
    run = _Run(_method_name(None, output))
    run.add(EvaluatedField(name if pair is None else pair.name, output, pair))
    if enhancer is not None and pair is not None:
        run.measured.keep("repeats", repeat_test(enhancer, pair, output=output))
    return run.result()


def _judge(
    enhancer: Callable[..., Any], baselines: Mapping[str, Any], pair: EvaluationPair
) -> _Run:
    """Enhance one field in all ways, and measure what comes out."""
    run = _Run()
    start = time.perf_counter()
    output, warned = _listened_to(enhancer, pair.input)
    seconds = time.perf_counter() - start
    run.method = _method_name(enhancer, output)
    run.add(EvaluatedField(pair.name, output, pair, seconds, warned))
    for name, make in baselines.items():
        start = time.perf_counter()
        made, _ = _listened_to(make, pair.input)
        seconds = time.perf_counter() - start
        run.score(name, pair, compare_field(pair, made), seconds)
    return run


def _on_workers(
    client: Any,
    enhancer: Callable[..., Any],
    baselines: Mapping[str, Any],
    pairs: Sequence[EvaluationPair],
) -> Generator[tuple[str, _Run], None, None]:
    """Have the workers of a cluster do `_judge`; the fields come in the order in which they end."""
    pickled = pickle.dumps((enhancer, baselines))
    calls = ((pair.name, (pickled, pair)) for pair in pairs)
    for name, run in calls_as_completed(client, _on_worker, calls):
        if run is None:
            raise ConnectionError(
                f"the workers that judged {name!r} were lost, one after the other; see their logs, "
                "and whether their memory suffices"
            )
        yield str(name), run


def _on_worker(pickled: bytes, pair: EvaluationPair) -> _Run:
    with one_at_a_time():
        enhancer, baselines = unpickle_once(pickled)
        return _judge(enhancer, baselines, pair)


class _Run:
    """What an evaluation gathers on its way."""

    def __init__(self, method: str = "") -> None:
        self.method = method
        self.fields: list[Any] = []
        self.rows: list[dict[str, Any]] = []
        self.measured = Measurements()

    def add(self, one: Any) -> None:
        """Measure the enhanced image of a field; all measures share one comparison."""
        if one.pair is not None and is_own_target(one.pair, one.output):
            told = "the target was left out: it is the output itself"
            pair = dataclasses.replace(one.pair, target=None)
            one = dataclasses.replace(one, pair=pair, warnings=(*one.warnings, told))
        compared = compare_field(one.pair, one.output, name=one.name)
        self.fields.append(one)
        self.measured.add(compared)
        if one.pair is not None:
            self.score(self.method, one.pair, compared, one.seconds)

    def take(self, other: _Run) -> None:
        """Take over what was gathered elsewhere; the first field names the method."""
        self.method = self.method or other.method
        renamed = {other.method: self.method}
        self.rows += [
            row | {"method": renamed.get(row["method"], row["method"])} for row in other.rows
        ]
        self.fields += other.fields
        self.measured.take(other.measured)

    def score(
        self, method: str, pair: EvaluationPair, compared: ComparedField, seconds: float
    ) -> None:
        """Score the result of any method for a field that has a target."""
        key = {"field": pair.name, "kind": pair.kind}
        rows: dict[str, dict[str, Any]] = {}
        with quiet():
            for one in rows_of(scores(compared)):
                band = str(one["band"])
                row = rows.setdefault(
                    band, key | {"band": band, "method": method, "seconds": seconds}
                )
                for name in ("psnr", "ssim", "ms_ssim", "nrmse"):
                    value = one[name]
                    row[f"{name}_{one['space']}"] = float(getattr(value, "value", value))
        self.rows += rows.values()

    def result(self) -> Evaluation:
        """Put everything together."""
        bands = tuple(dict.fromkeys(band for one in self.fields for band in one.bands))
        table = (
            QTable(rows=self.rows) if self.rows else QTable(names=KEYS, dtype=4 * ["U1"] + [float])
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


def _checked_pairs(pairs: Any) -> list[EvaluationPair]:
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


def _named(baselines: Any) -> dict[str, Any]:
    """Baselines by name."""
    if not isinstance(baselines, Mapping):
        baselines = {_method_name(one, {}): one for one in baselines}
    for name, one in baselines.items():
        if not callable(one):
            raise TypeError(f"baselines must be callable; {name!r} is {type(one).__name__}")
    return dict(baselines)


def _method_name(enhancer: Any, output: Images) -> str:
    """What the header calls the weights, else what the method calls itself."""
    if named := _cards(output, "SRMODEL"):
        return " + ".join(named)
    name = getattr(enhancer, "name", "") or getattr(enhancer, "__name__", "")
    return str(name) if name else "image" if enhancer is None else type(enhancer).__name__


def _listened_to(enhance: Callable[..., Any], images: Images) -> tuple[Any, tuple[str, ...]]:
    """Result of an enhancer for images, and its warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        output = enhance(images)
    texts = []
    for one in caught:
        if issubclass(one.category, SplusSrganWarning):
            texts.append(str(one.message))
        else:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return output, tuple(dict.fromkeys(texts))


def _cards(output: Images, *names: str) -> list[str]:
    """What the headers of the bands say, each once: bands may have weights of their own."""
    metas = [image.meta or {} for image in output.values()]
    said = (" ".join(str(meta[name]) for name in names if name in meta) for meta in metas)
    return [text for text in dict.fromkeys(said) if text]


def _facts(fields: Any) -> dict[str, str]:
    """What a reader needs to know about the run."""
    output = fields[0].output
    first = next(iter(output.values())).meta or {}
    shapes = {np.shape(next(iter(one.output.values())).data) for one in fields}
    facts = {
        "Weights": ", ".join(_cards(output, "SRMODEL", "SRMODVER")),
        "Hash": ", ".join(_cards(output, "SRSHA256")),
        "Arithmetic": " on ".join(str(first[c]) for c in ("SRPREC", "SRENGINE") if c in first),
        "Output": ", ".join(f"{ny} × {nx} pixels" for ny, nx in sorted(shapes)[:3]),
        "Judged": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Software": f"splus_srgan {__version__}",
    }
    return {name: text for name, text in facts.items() if text}
