# Licensed under a 3-clause BSD style license - see licenses/LICENSE.rst
"""The words, tables and numbers of the report."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from splus_srgan._version import __version__
from splus_srgan.evaluation.report.plots_scores import score_summary
from splus_srgan.evaluation.statistics import plain_values
from splus_srgan.evaluation.verdict import in_words, limit_in_words, severity
from splus_srgan.utils.tables import rows_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from astropy.table import Table

    from splus_srgan.evaluation.checks import Check
    from splus_srgan.evaluation.result import EvaluatedField, Evaluation
    from splus_srgan.evaluation.verdict import Verdict

__all__ = ["page_context", "remark"]

_ABOUT = {
    "photometry": "Fluxes, colors and apertures agree with the truth, or with the input.",
    "astrometry": "Stars are where they are.",
    "morphology": "Sizes, shapes and the PSF are what they claim to be.",
    "honesty": "Nothing was invented or lost, and the image agrees with the data.",
    "artefacts": "No patterns, seams, rings, clouds or false colors.",
    "uncertainty": "Stated errors cover the true ones.",
}
_TITLES = {"honesty": "Nothing invented or lost"}
_STYLES = {
    "safe": "safe",
    "not safe": "unsafe",
    "not judged": "unknown",
    "not measured": "unknown",
}
_WORDS = {True: "pass", False: "fail", None: "none"}
_SCORE_TABLES = {
    "psnr_noise": ("PSNR", "in dB, in units of the noise, range of the truth", ".2f"),
    "psnr_asinh": ("PSNR", "in dB, after arcsinh(100 x / 3) with x in nanomaggies", ".2f"),
    "psnr_seed": (
        "PSNR",
        "in dB, with the stretches and per-image range of the seed paper (Improving S-PLUS Image "
        "Quality with SRGANs)",
        ".2f",
    ),
    "ssim_asinh": ("SSIM", "after arcsinh(100 x / 3) with x in nanomaggies", ".4f"),
}


def page_context(evaluation: Evaluation) -> dict[str, Any]:
    """Everything but the images."""
    verdicts = evaluation.verdict
    number = len(evaluation.fields)
    where = f"{number} fields" if number > 1 else f"one field, {evaluation.fields[0].name}"
    bands = ", ".join(evaluation.bands)
    return {
        "title": f"{evaluation.method}: evaluation",
        "subtitle": f"{evaluation.method} on {where}, bands {bands}",
        "headline": evaluation.headline,
        "lead": _lead(verdicts),
        "notices": _notices(evaluation),
        "topics": [_topic(verdict) for verdict in verdicts.values()],
        "facts": list(evaluation.facts.items()),
        "groups": [_group(v, evaluation.bands) for v in verdicts.values() if v.checks],
        "scores": _scores(evaluation),
        "limits": _limits(evaluation),
        "version": __version__,
    }


def _lead(verdicts: Mapping[str, Verdict]) -> str:
    """What the headline leaves open: whether to believe what is in the image."""
    texts = {
        "honesty": {
            "safe": "No sign that anything was invented or lost.",
            "not safe": "Do not believe a new or missing source without a look at the input.",
            "not judged": "Whether something was invented could not be judged.",
            "not measured": "Whether something was invented was not measured.",
        },
        "artefacts": {
            "safe": "No artefact above its limit.",
            "not safe": "There are artefacts above their limits; see below.",
            "not judged": "",
            "not measured": "",
        },
        "uncertainty": {
            "safe": "The stated uncertainties hold.",
            "not safe": "The stated uncertainties do not hold.",
            "not judged": "The stated uncertainties could not be judged.",
            "not measured": "The image states no uncertainties that could be judged.",
        },
    }
    return " ".join(filter(None, (words[verdicts[t].status] for t, words in texts.items())))


def _notices(evaluation: Evaluation) -> list[str]:
    """Warnings, with the fields that they are of."""
    number = len(evaluation.fields)
    notices = []
    for text, names in evaluation.warnings.items():
        which = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        notices.append(f"{text[:1].upper()}{text[1:]}." + (f" ({which})" if number > 1 else ""))
    if len(notices) > 6:
        notices = [*notices[:5], f"{len(notices) - 5} other warnings: see the notes of each field."]
    return notices


def _topic(verdict: Verdict) -> dict[str, Any]:
    good, bad, unknown = verdict.counts
    signs = {"safe": "pass", "not safe": "fail", "not judged": "none"}
    return {
        "title": _TITLES.get(verdict.topic, verdict.topic.capitalize()),
        "status": verdict.status.capitalize(),
        "style": _STYLES[verdict.status],
        "about": _ABOUT[verdict.topic],
        "bands": [(band, signs[word], word) for band, word in verdict.bands.items()],
        "reasons": [in_words(check) for check in verdict.failed[:2]]
        or [verdict.reason] * bool(verdict.reason),
        "remarks": _remarks(verdict),
        "counts": _counts(good, bad, unknown),
    }


def _remarks(verdict: Verdict) -> list[str]:
    """What decides nothing but must be known: a sentence for each thing measured."""
    found: dict[tuple[str, str], list[Check]] = {}
    for check in verdict.remarks:
        found.setdefault((check.name, check.note), []).append(check)
    values = {
        key: ", ".join(f"{_number(check.value)} in {check.band or 'all'}" for check in group)
        for key, group in found.items()
    }
    return [f"{name}: {text}; {note}" for (name, note), text in values.items()]


def _counts(good: int, bad: int, unknown: int) -> str:
    if not good + bad + unknown:
        return "no checks"
    parts = [f"{good} pass"]
    parts += [f"{bad} fail"] if bad else []
    parts += [f"{unknown} not measured"] if unknown else []
    return ", ".join(parts)


def _group(verdict: Verdict, bands: Sequence[str]) -> dict[str, Any]:
    """Checks of a topic: a row for each name and limit, a column for each band."""
    columns = [band for band in bands if any(check.band == band for check in verdict.checks)]
    extra = dict.fromkeys(c.band for c in verdict.checks if c.band not in columns)
    columns += [band for band in extra if band] + ([""] if "" in extra else [])
    rows: dict[Any, dict[str, Any]] = {}
    notes: dict[str, list[str]] = {}
    for check in verdict.checks:
        row = rows.setdefault((check.name, check.unit, check.range), {})
        row[check.band] = _cell(check)
        if check.note:
            notes.setdefault(check.note, []).append(
                check.name + (f" in {check.band}" if check.band else "")
            )
    return {
        "title": _TITLES.get(verdict.topic, verdict.topic.capitalize()),
        "style": _STYLES[verdict.status],
        "counts": _counts(*verdict.counts),
        "open": verdict.status == "not safe",
        "bands": [band or "all" for band in columns],
        "rows": [
            {
                "name": name,
                "unit": unit,
                "limit": cells[next(iter(cells))]["limit"],
                "cells": [cells.get(band) for band in columns],
            }
            for (name, unit, _), cells in rows.items()
        ],
        "notes": [f"{'; '.join(names)}: {note}" for note, names in notes.items()],
    }


def _cell(check: Check) -> dict[str, Any]:
    place = 50.0
    informs = check.measured and not check.decides
    if check.measured and not informs:
        low, high = check.range
        # The range that passes fills the middle half of the gauge.
        side = math.copysign(1, check.value - (low + high) / 2) if math.isfinite(low + high) else 1
        distance = min(severity(check), 1.9)
        place = 50 + 25 * side * distance
    count = f", from {check.count}" if check.count else ""
    value, error = _with_error(check.value, check.error)
    return {
        "band": check.band or "all",
        "style": "info" if informs else _WORDS[check.passed],
        "value": value,
        "error": error,
        "place": f"{place:.1f}",
        "limit": limit_in_words(check),
        "title": f"{in_words(check)}{count}",
    }


def _with_error(value: float, error: float) -> tuple[str, str]:
    """A value and its error to the digits that the error leaves, two of its own."""
    if not (math.isfinite(value) and math.isfinite(error) and error > 0):
        return _number(value), ""
    digits = 1 - math.floor(math.log10(error))
    if not 0 <= digits <= 5:
        return _number(value), _number(error)
    return f"{value:.{digits}f}".replace("-", "−"), f"{error:.{digits}f}"


def _number(value: float) -> str:
    """Three digits, with a real minus sign."""
    if not math.isfinite(value):
        return "–"
    text = f"{value:.3g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.1e}"
    return text.replace("-", "−")


def _scores(evaluation: Evaluation) -> dict[str, Any] | None:
    """Tables of mean scores, a row for each method, a column for each band."""
    means = evaluation.mean_scores()
    if not len(means):
        return None
    scored = sum(bool(one.pair and one.pair.target) for one in evaluation.fields)
    tables = []
    for column, (name, about, style) in _SCORE_TABLES.items():
        if column in means.colnames and np.isfinite(plain_values(means[column])).any():
            caption = (
                f"{name} {about}; mean of {scored} fields" if scored > 1 else f"{name} {about}"
            )
            tables.append(_score_table(evaluation, means, column, style) | {"caption": caption})
    about = (
        "Against the target, after the sky that each method measured was taken off. Higher is "
        "better; the best of a column is underlined. A high score says that the image looks "
        "right, not that its fluxes are."
    )
    summary = _before_after(evaluation)
    tables = ([summary] if summary else []) + tables
    return {"about": about, "tables": tables} if tables else None


def _before_after(evaluation: Evaluation) -> dict[str, Any] | None:
    """The seed paper's table: a score before and after, and the gain."""
    table = evaluation.table
    others = [m for m in dict.fromkeys(map(str, table["method"])) if m != evaluation.method]
    columns = [c for c in ("psnr_seed", "psnr_asinh", "psnr_noise") if c in table.colnames]
    columns = [c for c in columns if np.isfinite(plain_values(table[c])).any()]
    if not others or not columns or evaluation.method not in table["method"]:
        return None
    before = "bicubic" if "bicubic" in others else others[0]
    options = {"score": columns[0], "baseline": before, "method": evaluation.method}
    summary = score_summary(table, **options)
    rows = []
    for row in rows_of(summary):
        old, new, gain, error = (
            float(plain_values(row[name])) for name in ("before", "after", "gain", "gain_error")
        )
        spread = f" ± {error:.2f}" if math.isfinite(error) else ""
        texts = [f"{old:.2f}", f"{new:.2f}", f"{gain:+.2f}{spread}", str(row["n_field"])]
        cells = [{"text": _signed(text), "best": False} for text in texts]
        name = {"all": "mean of the bands"}.get(str(row["band"]), str(row["band"]))
        rows.append({"name": name, "ours": False, "cells": cells})
    name, about, _ = _SCORE_TABLES[columns[0]]
    return {
        "caption": f"{name} before ({before}) and after ({evaluation.method}), {about}",
        "columns": ["Band", "before", "after", "gain", "fields"],
        "rows": rows,
    }


def _signed(text: str) -> str:
    return "–" if "nan" in text else text.replace("-", "−")


def _score_table(evaluation: Evaluation, means: Table, column: str, style: str) -> dict[str, Any]:
    values = {
        (str(row["method"]), str(row["band"])): float(value)
        for row, value in zip(rows_of(means), plain_values(means[column]), strict=True)
    }
    methods = list(dict.fromkeys(method for method, _ in values))
    bands = [*evaluation.bands, "joint"] if len(evaluation.bands) > 1 else list(evaluation.bands)
    grid = np.array([[values.get((method, band), np.nan) for band in bands] for method in methods])
    best = np.nanmax(np.where(np.isfinite(grid), grid, -np.inf), axis=0)
    rows = [
        {
            "name": method,
            "ours": method == evaluation.method,
            "cells": [
                {
                    "text": format(value, style) if np.isfinite(value) else "–",
                    "best": bool(value == top),
                }
                for value, top in zip(line, best, strict=True)
            ],
        }
        for method, line in zip(methods, grid, strict=True)
    ]
    order = np.argsort([-(line[-1] if np.isfinite(line[-1]) else -1e9) for line in grid])
    return {"columns": ["Method", *bands], "rows": [rows[k] for k in order]}


def remark(evaluation: Evaluation, one: EvaluatedField) -> str:
    """What stands below a field's name: its kind and score."""
    parts = [one.kind]
    table = evaluation.table
    if "psnr_noise" in table.colnames:
        mine = (table["field"] == one.name) & (table["method"] == evaluation.method)
        scores = plain_values(table["psnr_noise"][mine])
        scores = scores[np.isfinite(scores)]
        if scores.size:
            parts.append(f"{scores[-1]:.1f} dB")
    return ", ".join(filter(None, parts))


def _limits(evaluation: Evaluation) -> list[str]:
    """What this page cannot tell."""
    lines = []
    if not any(one.pair and one.pair.target for one in evaluation.fields):
        lines.append(
            "There is no target here: fluxes and positions are compared with the input, whose "
            "noise sets how well that can be done, and fine detail cannot be judged at all."
        )
    if any(one.pair is None for one in evaluation.fields):
        lines.append(
            "The input was not given, so the image was judged alone. "
            "Give the input to have fluxes, positions and consistency judged."
        )
    if any(one.pair and one.pair.target and not one.pair.noise_free for one in evaluation.fields):
        lines.append(
            "The target is the image of another survey, with noise, PSF and bandpasses of its own: "
            "not every difference is an error."
        )
    return lines
