# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""From checks to a verdict: what an enhanced image may be used for."""

import math
from dataclasses import dataclass

from splus_srgan.evaluation.checks import TOPICS
from splus_srgan.utils.validate import check_one_of

__all__ = ["SCIENCE_TOPICS", "Verdict", "headline", "in_words", "judge_topics", "severity"]

SCIENCE_TOPICS = ("photometry", "astrometry", "morphology")
"""Topics that an image may be safe for; the others say whether to believe what is in it."""

_WORDS = {True: "safe", False: "not safe", None: "not measured"}


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
    checks: tuple = ()

    def __post_init__(self):
        check_one_of("topic", self.topic, TOPICS)

    @property
    def status(self):
        """``"safe"``, ``"not safe"``, or ``"not measured"`` where no check could be made."""
        return _status(self.checks)

    @property
    def bands(self):
        """Status of each band, from the checks that name one and are measured."""
        names = list(dict.fromkeys(check.band for check in self.checks if check.band))
        status = {
            band: _status([check for check in self.checks if check.band == band]) for band in names
        }
        return {band: word for band, word in status.items() if word != "not measured"}

    @property
    def failed(self):
        """Checks that do not keep their limit, the worst first."""
        return sorted((c for c in self.checks if c.passed is False), key=severity, reverse=True)

    @property
    def remarks(self):
        """Values other than 0 that decide nothing, but that a reader must know."""
        return [c for c in self.checks if c.measured and not c.decides and c.value]

    @property
    def counts(self):
        """Number of checks that pass, fail, and could not be made."""
        passed = [check.passed for check in self.checks if check.decides]
        return passed.count(True), passed.count(False), passed.count(None)


def _status(checks):
    found = {check.passed for check in checks} - {None}
    return _WORDS[all(found) if found else None]


def severity(check):
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


def judge_topics(checks):
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


def headline(verdicts):
    """
    Say in one sentence what the image is safe for.

    Parameters
    ----------
    verdicts : dict of str to `Verdict`
        From `judge_topics`.

    Returns
    -------
    sentence : str
        Starts with ``"Safe for"``, ``"Display only"`` or ``"Not judged"``.

    Examples
    --------
    >>> from splus_srgan.evaluation.checks import Check
    >>> from splus_srgan.evaluation.verdict import headline, judge_topics
    >>> headline(judge_topics([Check("astrometry", "centroid offset", "r", 0.01, 0.02)]))
    'Safe for astrometry. Not judged: photometry, morphology.'
    """
    by_status = {word: [] for word in _WORDS.values()}
    for topic in SCIENCE_TOPICS:
        by_status[verdicts[topic].status].append(topic)
    safe, unsafe, unknown = (by_status[_WORDS[key]] for key in (True, False, None))
    if len(unknown) == len(SCIENCE_TOPICS):
        return "Not judged for photometry, astrometry or morphology."
    parts = [f"Safe for {_listed(safe)}." if safe else "Display only."]
    if unsafe:
        parts.append(f"Not for {_listed(unsafe, 'or')}.")
    if unknown:
        parts.append(f"Not judged: {', '.join(unknown)}.")
    return " ".join(parts)


def in_words(check):
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


def limit_in_words(check):
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


def _listed(words, last="and"):
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"
