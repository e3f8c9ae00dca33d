# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From checks to a verdict: what an enhanced image may be used for."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from splus_srgan.evaluation.checks import TOPICS
from splus_srgan.utils.notebook import html_table
from splus_srgan.utils.validate import check_one_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from splus_srgan.evaluation.checks import Check

__all__ = ["SCIENCE_TOPICS", "Verdict", "headline", "in_words", "judge_topics", "severity"]

SCIENCE_TOPICS = ("photometry", "astrometry", "morphology")
"""Topics that an image may be safe for; the others say whether to believe what is in it."""

_MOST_FAULTS = 3  # that a headline names
_MOST_BANDS = 3  # that it names for a fault


@dataclass(frozen=True)
class Verdict:
    """
    What the checks of one topic add up to.

    Parameters
    ----------
    topic : str
        One of ``TOPICS`` of `splus_srgan.evaluation.checks`.
    checks : tuple of `~splus_srgan.evaluation.checks.Check`
        Its checks.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> from splus_srgan.evaluation.verdict import Verdict
    >>> good = Check("photometry", "median flux offset", "r", 0.002, 0.01, unit="mag")
    >>> bad = Check("photometry", "median flux offset", "z", -0.03, 0.01, unit="mag")
    >>> verdict = Verdict("photometry", (good, bad))
    >>> verdict.status, verdict.bands
    ('not safe', {'r': 'safe', 'z': 'not safe'})
    """

    topic: str
    checks: tuple[Check, ...] = ()

    def __post_init__(self) -> None:
        check_one_of("topic", self.topic, TOPICS)

    def __repr__(self) -> str:
        return f"Verdict({self.topic!r}: {self.status}, {len(self.checks)} checks)"

    def _repr_html_(self) -> str:
        rows = {
            " ".join(filter(None, (check.name, check.band))): in_words(check)
            for check in self.checks
            if check.measured
        }
        return html_table(f"{self.topic}: {self.status}", rows)

    @property
    def status(self) -> str:
        """
        ``"safe"``, ``"not safe"``, ``"not judged"`` or ``"not measured"``.

        Not safe is a topic of which any check fails.  Safe is one of which none fails and all
        needed checks were made, in every band; not judged, where some of these were not made;
        not measured, where none was.
        """
        return _status(self.checks)

    @property
    def needed(self) -> tuple[int, int]:
        """Number of needed checks that were made, and of all."""
        needed = [check for check in self.checks if check.decides and check.needed]
        return sum(check.measured for check in needed), len(needed)

    @property
    def cause(self) -> str:
        """Why the topic was not judged, in a few words, such as ``"too few stars"``."""
        if self.status not in ("not judged", "not measured"):
            return ""
        lacking = [c for c in self.checks if c.decides and c.needed and not c.measured]
        return "" if self.status == "not measured" and not lacking else _why(lacking)

    @property
    def reason(self) -> str:
        """The cause with a number: ``"too few stars: 1 of 12 needed checks could be made"``."""
        made, number = self.needed
        count = f": {made} of {number} needed checks could be made" if number else ""
        return f"{self.cause}{count}" if self.cause else ""

    @property
    def bands(self) -> dict[str, str]:
        """Status of each band, from the checks that name one and are measured."""
        names = list(dict.fromkeys(check.band for check in self.checks if check.band))
        status = {
            band: _status([check for check in self.checks if check.band == band]) for band in names
        }
        return {band: word for band, word in status.items() if word != "not measured"}

    @property
    def failed(self) -> list[Check]:
        """Checks that do not keep their limit, the worst first."""
        return sorted((c for c in self.checks if c.passed is False), key=severity, reverse=True)

    @property
    def remarks(self) -> list[Check]:
        """Values other than 0 that decide nothing, but that a reader must know."""
        return [c for c in self.checks if c.measured and not c.decides and c.value]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of checks that pass, fail, and could not be made."""
        passed = [check.passed for check in self.checks if check.decides]
        return passed.count(True), passed.count(False), passed.count(None)


def _status(checks: Sequence[Check]) -> str:
    deciding = [check for check in checks if check.decides]
    passed = {check.passed for check in deciding}
    if False in passed:
        return "not safe"
    if True not in passed:
        return "not measured"
    needed = [check.measured for check in deciding if check.needed]
    return "safe" if needed and all(needed) else "not judged"


def _why(lacking: Sequence[Check]) -> str:
    """What most of the checks lack that could not be made."""
    if not lacking:
        return "none of the checks that it needs"
    reasons = [_lack(check) for check in lacking]
    return Counter(reasons).most_common(1)[0][0]


def _lack(check: Check) -> str:
    """Why a check could not be made, in a few words."""
    if "not clearly beyond" in check.note:
        return "too close to the limit"
    few = f"too few {check.of}"
    if check.of and (not check.note or few in check.note or check.note == f"no {check.of}"):
        return few
    return check.note or "too little to tell"


def severity(check: Check) -> float:
    r"""
    How far a value lies from the middle of the range that passes.

    .. math:: s = \frac{|v - (l + h) / 2|}{(h - l) / 2}

    Parameters
    ----------
    check : `~splus_srgan.evaluation.checks.Check`
        Check; its range from ``l`` to ``h``.

    Returns
    -------
    severity : float
        Above 1 outside the range; for a range that is open on one side, distance
        from its end in units of that end; NaN where nothing was measured.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> from splus_srgan.evaluation.verdict import severity
    >>> severity(Check("astrometry", "centroid offset", "r", 0.03, 0.02, unit="pix"))
    1.5
    """
    low, high = check.range
    if not check.measured:
        return math.nan
    if math.isinf(low) or math.isinf(high):
        end = high if math.isinf(low) else low
        sign = 1 if math.isinf(low) else -1
        return 1 + sign * (check.value - end) / (abs(end) or 1)
    half = (high - low) / 2
    if half == 0:
        return 0.0 if check.value == low else math.inf
    return abs(check.value - (low + high) / 2) / half


def judge_topics(checks: Iterable[Check]) -> dict[str, Verdict]:
    """
    Add checks up to one verdict for each topic.

    Parameters
    ----------
    checks : iterable of `~splus_srgan.evaluation.checks.Check`
        Checks, in any order.

    Returns
    -------
    verdicts : dict of str to `Verdict`
        All of ``TOPICS`` of `splus_srgan.evaluation.checks`, in their order.

    Examples
    --------
    >>> from splus_srgan.evaluation.verdict import judge_topics
    >>> judge_topics([])["photometry"].status
    'not measured'
    """
    checks = list(checks)
    return {topic: Verdict(topic, tuple(c for c in checks if c.topic == topic)) for topic in TOPICS}


def headline(verdicts: Mapping[str, Verdict]) -> str:
    """
    Say in one sentence what the image is safe for, and what failed.

    Parameters
    ----------
    verdicts : dict of str to `Verdict`
        From `judge_topics`.

    Returns
    -------
    sentence : str
        Starts with ``"Safe for"``, ``"Display only"`` or ``"Not judged"``; then what failed
        in any topic, in plain words.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> from splus_srgan.evaluation.verdict import headline, judge_topics
    >>> good = Check("astrometry", "centroid offset", "r", 0.01, 0.02)
    >>> bad = Check("honesty", "hallucination", "r", 0.3, 0.2, fault="invented detail")
    >>> headline(judge_topics([good, bad]))
    'Safe for astrometry; invented detail in r. Not judged: photometry and morphology.'
    """
    groups: dict[str, list[str]] = {"safe": [], "not safe": [], "": []}
    for topic in SCIENCE_TOPICS:
        groups.get(verdicts[topic].status, groups[""]).append(topic)
    safe, unsafe, unknown = groups.values()
    start = f"Safe for {_listed(safe)}" if safe else "Display only"
    if len(unknown) == len(SCIENCE_TOPICS):
        start = f"Not judged: {_with_causes(unknown, verdicts)}"
    parts = ["; ".join(filter(None, [start, _faults(verdicts)]))]
    if unsafe:
        parts.append(f"Not for {_listed(unsafe, 'or')}")
    if unknown and len(unknown) < len(SCIENCE_TOPICS):
        parts.append(f"Not judged: {_with_causes(unknown, verdicts)}")
    return " ".join(f"{part}." for part in parts)


def _with_causes(topics: Sequence[str], verdicts: Mapping[str, Verdict]) -> str:
    """Topics that were not judged, those of one cause together, each cause said once."""
    by_cause: dict[str, list[str]] = {}
    for topic in topics:
        cause = verdicts[topic].cause
        # The note of a check may be long; the report has it.
        by_cause.setdefault("" if "(" in cause else cause, []).append(topic)
    return ", ".join(
        _listed(names) + (f" ({cause})" if cause else "") for cause, names in by_cause.items()
    )


def _faults(verdicts: Any) -> str:
    """What failed, each with its bands, the worst first."""
    failed = [check for verdict in verdicts.values() for check in verdict.failed]
    found: dict[str, dict[str, None]] = {}
    for check in sorted(failed, key=severity, reverse=True):
        found.setdefault(check.fault or check.name, {})[check.band] = None
    texts = [f"{fault}{_where([b for b in bands if b])}" for fault, bands in found.items()]
    more = len(texts) - _MOST_FAULTS
    if more > 0:
        texts = [*texts[:_MOST_FAULTS], f"{more} more fault{'s' if more > 1 else ''}"]
    return ", ".join(texts)


def _where(bands: Sequence[str]) -> str:
    """The bands of a fault, or their number where they are many."""
    if not bands:
        return ""
    return f" in {_listed(bands) if len(bands) <= _MOST_BANDS else f'{len(bands)} bands'}"


def in_words(check: Check) -> str:
    """
    Put a check into a phrase.

    Parameters
    ----------
    check : `~splus_srgan.evaluation.checks.Check`
        Check.

    Returns
    -------
    text : str
        Name, band, value, error and limit.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> from splus_srgan.evaluation.verdict import in_words
    >>> in_words(Check("photometry", "median flux offset", "z", -0.03, 0.01, unit="mag"))
    'median flux offset in z: -0.03 mag (passes within ±0.01)'
    """
    where = f" in {check.band}" if check.band else ""
    if not check.measured:
        return f"{check.name}{where}: not measured" + (f" ({check.note})" if check.note else "")
    error = f" ± {check.error:.2g}" if math.isfinite(check.error) and check.error else ""
    unit = f" {check.unit}" if check.unit else ""
    passes = f"passes {limit_in_words(check)}" if check.decides else check.note or "no limit"
    return f"{check.name}{where}: {check.value:.3g}{error}{unit} ({passes})"


def limit_in_words(check: Check) -> str:
    """Put the range that passes into a phrase."""
    if not check.decides:
        return "no limit"
    low, high = check.range
    if low == high:
        return f"at {high:g} only"
    if low == -high:
        return f"within ±{high:g}"
    if math.isinf(low):
        return f"up to {high:g}"
    if math.isinf(high):
        return f"from {low:g}"
    return f"from {low:g} to {high:g}"


def _listed(words: Sequence[str], last: str = "and") -> str:
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
