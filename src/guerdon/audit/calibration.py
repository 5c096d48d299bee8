"""Calibration of confidences: do stated probabilities match how often the answers are right.

Confidences p in [0, 1] and outcomes y in {0, 1}; pairs with a missing member (NaN) are left out.

Reference: Mei et al., Thinking Out Loud: Do Reasoning Models Know When They're Right?, arXiv 2504.06564.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from guerdon.errors import DataError

CLASSES = (
    "almost no chance",
    "highly unlikely",
    "chances are slight",
    "unlikely",
    "less than even",
    "better than even",
    "likely",
    "very good chance",
    "highly likely",
    "almost certain",
)
"""Verbal classes, each a tenth of [0, 1], lowest first."""
_CUE = re.compile(
    r"confidence\W{0,12}(?:is|of|:|=)?\W{0,8}(?P<rest>(?:(?!confidence).){1,60})", re.IGNORECASE | re.DOTALL
)
_NUMBER = re.compile(r"(?P<value>\d+(?:\.\d+)?)\s*(?P<percent>\\?%|percent)?")
_UNKNOWING = re.compile(
    r"\bI (?:do not|don't|don’t) know\b|\bI(?:'m| am|’m) not (?:sure|certain)\b|\bno idea\b"
    r"|\bI cannot (?:say|answer)\b",
    re.IGNORECASE,
)


def stated_confidence(text: str) -> float:
    """The last confidence a text states: a percentage, a number in [0, 1] or a verbal class (its midpoint).

    NaN where none is stated or the number is out of range.
    """
    for cue in reversed(list(_CUE.finditer(text))):
        rest = cue["rest"]
        lowered = rest.lower()
        named = [(lowered.index(name), -len(name), i) for i, name in enumerate(CLASSES) if name in lowered]
        number = _NUMBER.search(rest)
        if named and (number is None or min(named)[0] < number.start()):
            return (min(named)[2] + 0.5) / len(CLASSES)
        if number is None:
            continue
        value = float(number["value"])
        value = value / 100 if number["percent"] or value > 1 else value
        return value if 0 <= value <= 1 else math.nan
    return math.nan


def abstains(text: str) -> bool:
    """Whether a text says that it does not know."""
    return _UNKNOWING.search(text) is not None


def _pairs(p: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    p, y = np.asarray(p, np.float64), np.asarray(y, np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise DataError(f"confidences {p.shape} and outcomes {y.shape} must be two equally long lists")
    keep = ~(np.isnan(p) | np.isnan(y))
    p, y = p[keep], y[keep]
    bad = np.flatnonzero((p < 0) | (p > 1))
    if len(bad):
        raise DataError(f"confidence {p[bad[0]]} is outside [0, 1]")
    return p, y


@dataclass(frozen=True)
class Bins:
    """Of a reliability plot: members, mean confidence and accuracy of every non-empty bin, (bins,)."""

    count: np.ndarray
    confidence: np.ndarray
    accuracy: np.ndarray


def equal_width(p: Any, y: Any, bins: int = 10) -> Bins:
    """Bins [k/B, (k+1)/B), the last closed."""
    p, y = _pairs(p, y)
    return _binned(np.minimum((p * bins).astype(np.int64), bins - 1), p, y)


def equal_mass(p: Any, y: Any, bins: int = 10) -> Bins:
    """Bins of equal size (up to one) along the sorted confidences."""
    p, y = _pairs(p, y)
    order = np.argsort(p, kind="stable")
    label = np.empty(len(p), np.int64)
    label[order] = np.arange(len(p)) * bins // max(len(p), 1)
    return _binned(label, p, y)


def _binned(label: np.ndarray, p: np.ndarray, y: np.ndarray) -> Bins:
    count = np.bincount(label)
    filled = count > 0
    return Bins(
        count[filled],
        np.bincount(label, p)[filled] / count[filled],
        np.bincount(label, y)[filled] / count[filled],
    )


def calibration_error(bins: Bins) -> float:
    """sum_b (n_b / n) |accuracy_b - confidence_b|: ECE on equal-width bins, ACE on equal-mass ones."""
    total = bins.count.sum()
    if total == 0:
        return math.nan
    return float(np.sum(bins.count * np.abs(bins.accuracy - bins.confidence)) / total)


def brier(p: Any, y: Any) -> float:
    """mean (p - y)^2."""
    p, y = _pairs(p, y)
    return float(np.mean((p - y) ** 2)) if len(p) else math.nan


def auroc(p: Any, y: Any) -> float:
    """P(p of a right answer > p of a wrong one) + half the ties; NaN with one kind only."""
    p, y = _pairs(p, y)
    right, wrong = p[y == 1], np.sort(p[y == 0])
    if not len(right) or not len(wrong):
        return math.nan
    below, upto = np.searchsorted(wrong, right, "left"), np.searchsorted(wrong, right, "right")
    return float(np.mean((below + upto) / 2) / len(wrong))


def overconfidence(p: Any, y: Any) -> float:
    """mean p - mean y."""
    p, y = _pairs(p, y)
    return float(p.mean() - y.mean()) if len(p) else math.nan


def abstention_f(correct: int, wrong: int, unknown: int) -> float:
    """Harmonic mean of correct / all and correct / attempted; 0 with nothing correct, NaN of nothing."""
    total, attempted = correct + wrong + unknown, correct + wrong
    if total == 0:
        return math.nan
    if correct == 0:
        return 0.0
    overall, given = correct / total, correct / attempted
    return 2 * overall * given / (overall + given)


def spearman(a: Any, b: Any) -> float:
    """Rank correlation, ties at their mean rank; NaN where one side is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    keep = ~(np.isnan(a) | np.isnan(b))
    ranks = [_ranks(x[keep]) for x in (a, b)]
    if keep.sum() < 2 or any(np.ptp(r) == 0 for r in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _ranks(x: np.ndarray) -> np.ndarray:
    _, place, count = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[place]


def calibration(
    texts: Sequence[str], outcomes: Any, lengths: Any = None, bins: int = 10, seed: int = 0
) -> dict[str, Any]:
    """Everything of a set of answers with stated confidences.

    Args:
        texts: answers; `outcomes`: 0/1 each, NaN unknown; `lengths`: tokens of thought, optional.

    Returns:
        n, stated, unstated, abstained, accuracy, ece with its bootstrap interval, ace, brier, auroc,
        overconfidence, abstention_f, length_correlation. Abstentions enter none of the calibration numbers.
    """
    y = np.asarray(outcomes, np.float64)
    said = np.array([stated_confidence(text) for text in texts])
    unknown = np.array([abstains(text) for text in texts], bool)
    p = np.where(unknown, np.nan, said)
    attempted = y[~unknown]
    correct, wrong = int(np.nansum(attempted == 1)), int(np.nansum(attempted == 0))
    rng = np.random.default_rng(seed)
    keep = np.flatnonzero(~np.isnan(p) & ~np.isnan(y))
    draws = [
        calibration_error(equal_width(p[some], y[some], bins))
        for some in (rng.choice(keep, len(keep)) for _ in range(300 if len(keep) > 1 else 0))
    ]
    interval = np.percentile(draws, [2.5, 97.5]).tolist() if draws else [math.nan, math.nan]
    return {
        "n": len(texts),
        "stated": len(keep),
        "unstated": int((np.isnan(said) & ~unknown).sum()),
        "abstained": int(unknown.sum()),
        "accuracy": float(np.nanmean(y)) if len(y) else math.nan,
        "ece": calibration_error(equal_width(p, y, bins)),
        "ece_interval": interval,
        "ace": calibration_error(equal_mass(p, y, bins)),
        "brier": brier(p, y),
        "auroc": auroc(p, y),
        "overconfidence": overconfidence(p, y),
        "abstention_f": abstention_f(correct, wrong, int(unknown.sum())),
        "length_correlation": math.nan if lengths is None else spearman(p, lengths),
    }
