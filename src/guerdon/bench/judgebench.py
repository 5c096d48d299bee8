"""JudgeBench: a judge must prefer the objectively right response, whichever is shown first.

Reference: Tan et al., JudgeBench: A Benchmark for Evaluating LLM-based Judges, arXiv 2410.12784.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.files import read_rows, unique
from guerdon.bench.report import Report, Table, mean
from guerdon.errors import DataError

GROUPS = {
    "knowledge": "mmlu-pro",
    "reasoning": "livebench-reasoning",
    "math": "livebench-math",
    "coding": "livecodebench",
}
"""Source groups by the prefix of `source`."""
_FLIPPED = {"A>B": "B>A", "B>A": "A>B"}
_DECISIONS = {"A>B", "B>A", "A=B", None}
_SCHEMA = (
    "JudgeBench results {pair_id, source, label: 'A>B' or 'B>A', judgments: [{decision}, {decision} with the "
    "responses swapped]}"
)
_FIELDS = {"pair_id": (str, int), "source": str, "label": str, "judgments": list}


def flip(decision: str | None) -> str | None:
    """A verdict on swapped responses, in terms of the original order."""
    return _FLIPPED.get(decision or "", decision)


def outcome(label: str, first: str | None, second: str | None) -> int:
    """1 right, -1 wrong, 0 undecided, from the verdicts in both orders (the second already flipped).

    sign of sum over the two of (+1 equals the label, -1 the opposite, 0 a tie or no verdict).
    """
    votes = sum((d == label) - (d == _FLIPPED[label]) for d in (first, second))
    return (votes > 0) - (votes < 0)


def evaluate_verdicts(path: str | Path) -> Report:
    """Metrics of a file of raw verdicts, as the official script prints them, per source group and overall.

    `accuracy` needs agreement over both orders (see `outcome`); `first_order` looks at the first verdict
    alone, as for order-free reward models.

    Raises:
        DataError: fields missing, an unknown label or decision; the row is named.
    """
    rows = read_rows(path, _FIELDS, _SCHEMA)
    unique(rows, "pair_id", path)
    decided = [_decisions(row, f"{path}, row {at + 1}") for at, row in enumerate(rows)]
    return report(rows, decided)


def report(rows: Sequence[dict[str, Any]], decided: Sequence[tuple[str | None, str | None]]) -> Report:
    """The report of verdicts in both orders (the second flipped already) on pairs."""
    labels = [row["label"] for row in rows]
    both = np.array([outcome(label, *pair) for label, pair in zip(labels, decided, strict=True)])
    first = np.array([pair[0] == label for label, pair in zip(labels, decided, strict=True)], float)
    consistent = np.array([a == b and a is not None for a, b in decided], float)
    members = {name: np.array([r["source"].startswith(p) for r in rows]) for name, p in GROUPS.items()}
    other = ~np.any(list(members.values()), axis=0)
    if other.any():
        members["other"] = other
    members["overall"] = np.ones(len(rows), bool)
    table = {
        name: {
            "accuracy": mean(both[inside] > 0),
            "first_order": mean(first[inside]),
            "undecided": mean(both[inside] == 0),
            "consistent": mean(consistent[inside]),
        }
        for name, inside in members.items()
        if inside.any()
    }
    metrics = {
        metric: {name: row[metric].value for name, row in table.items()}
        for metric in ("accuracy", "first_order", "undecided", "consistent")
    }
    nulls = sum(a is None or b is None for a, b in decided)
    notes = [f"{nulls} pairs have an order without a verdict; it counts as no vote"] if nulls else []
    wrong = [
        {"id": row["pair_id"], "source": row["source"], "expected": row["label"], "got": list(pair)}
        for row, pair, right in zip(rows, decided, both, strict=True)
        if right <= 0
    ]
    return Report(
        "judgebench", len(rows), len(rows), metrics, [Table("right in both orders", table)], notes, wrong
    )


def decision_of(scores: Sequence[float]) -> str:
    """A reward model's verdict: A>B where the first response scores higher, otherwise B>A."""
    return "A>B" if scores[0] > scores[1] else "B>A"


def _decisions(row: dict[str, Any], where: str) -> tuple[str | None, str | None]:
    if row["label"] not in _FLIPPED:
        raise DataError(f"{where}: label {row['label']!r}, expected 'A>B' or 'B>A'")
    judgments = row["judgments"]
    if len(judgments) not in (1, 2):
        raise DataError(
            f"{where}: {len(judgments)} judgments, expected two (the second with swapped responses)"
        )
    found = []
    for judgment in judgments:
        if judgment is not None and not (isinstance(judgment, dict) and "decision" in judgment):
            raise DataError(f"{where}: judgment {judgment!r:.60} has no field 'decision'; expected {_SCHEMA}")
        decision = None if judgment is None else judgment["decision"]
        if not isinstance(decision, str | None) or decision not in _DECISIONS:
            raise DataError(f"{where}: decision {decision!r}, expected 'A>B', 'B>A', 'A=B' or null")
        found.append(decision)
    return found[0], flip(found[1]) if len(found) == 2 else None
