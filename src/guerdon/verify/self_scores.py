"""A model's own scores of a group of its queries, and the choice they make."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SCORE = re.compile(r"sql\s*\{?(\d{1,4})\}?\s*:\s*(-?\d{1,6}(?:\.\d{1,6})?)", re.IGNORECASE)


def self_scores(text: str, n: int) -> list[float | None]:
    """Scores of queries 1..n from lines "sql{i}: score"; None where a query got none, the last counts."""
    found = {int(index): float(score) for index, score in _SCORE.findall(text)}
    return [found.get(i) for i in range(1, n + 1)]


def best_by_self_score(scores: Sequence[float | None]) -> int | None:
    """Index of the highest score, the first of equals; None where nothing was scored."""
    known = [i for i, score in enumerate(scores) if score is not None]
    return max(known, key=lambda i: (scores[i], -i)) if known else None
