"""RewardMATH: one right solution against nine wrong ones.

Reference: Kim et al., Evaluating Robustness of Reward Models for Mathematical Reasoning, arXiv 2410.01729.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.aggregate import AGGREGATIONS, aggregate
from guerdon.bench.files import read_rows
from guerdon.bench.report import Report, Table, mean
from guerdon.errors import DataError

CHOSEN = "human_to_GPT-4"
_SCHEMA = (
    "RewardMATH results {problem, solution_reference: [source of each solution], score: [number, list of "
    "step scores, or 'A'/'B' with chosen_position]}"
)
_FIELDS = {"solution_reference": list, "score": list}


def one_to_many(chosen: float, rejected: Sequence[float]) -> tuple[float, float, float]:
    """Accuracy, accuracy with ties, reciprocal rank of one right solution among wrong ones.

    accuracy = [chosen > max rejected], with ties [chosen >= max rejected], and
    1 / (1 + number of rejected with a score >= chosen): a tie counts against the right solution. A missing
    chosen score loses against all; a missing rejected score is an error of the scorer and counts as a win
    for neither: all three are NaN.
    """
    scores = np.asarray(rejected, np.float64)
    if math.isnan(chosen) or np.isnan(scores).any() or len(scores) == 0:
        return math.nan, math.nan, math.nan
    best = float(scores.max())
    return float(chosen > best), float(chosen >= best), 1.0 / (1 + int((scores >= chosen).sum()))


def pairwise_scores(wins: Sequence[bool]) -> tuple[float, list[float]]:
    """A judge's pairwise verdicts as scores: chosen = wins + 1, a beaten solution 1, another one n + 2."""
    n = len(wins)
    return float(sum(wins) + 1), [1.0 if win else float(n + 2) for win in wins]


def evaluate_scores(path: str | Path) -> Report:
    """Metrics of a file of raw scores or pairwise verdicts, as the official script prints them.

    Scalar scores give the row `normal`; step scores one row per aggregation; letters the row `pairwise`.
    A problem with a missing score is left out and counted in the notes; a pairwise verdict that could not be
    read counts as lost, as in the official script.

    Raises:
        DataError: fields missing or of the wrong shape; the row is named.
    """
    rows = read_rows(path, _FIELDS, _SCHEMA)
    kinds = {_kind(row, f"{path}, row {at + 1}") for at, row in enumerate(rows)}
    if len(kinds) > 1:
        raise DataError(f"{path}: rows of different kinds ({', '.join(sorted(kinds))}); expected one kind")
    kind = kinds.pop()
    names = list(AGGREGATIONS) if kind == "steps" else [kind]
    ids = [str(row.get("id", row.get("unique_id", at))) for at, row in enumerate(rows)]
    pairs = {
        name: [_scores(row, name, f"{path}, row {at + 1}") for at, row in enumerate(rows)] for name in names
    }
    unread = 0
    if kind == "pairwise":
        unread = sum(letter not in ("A", "B") for row in rows for letter in row["score"])
    out = report(ids, pairs, unread)
    problems = [row["problem"] for row in rows if isinstance(row.get("problem"), str)]
    if len(set(problems)) < len(problems):
        out.notes.append(f"{len(problems) - len(set(problems))} rows repeat a problem; each row counts")
    return out


def report(ids: Sequence[str], pairs: dict[str, list[tuple[float, list[float]]]], unread: int = 0) -> Report:
    """The report of (chosen, rejected) scores per problem, for one or several ways of aggregating steps.

    Args:
        unread: pairwise verdicts that could not be read, for the notes.
    """
    table, metrics, notes, wrong = {}, {}, [], []
    for name, scored in pairs.items():
        found = np.array([one_to_many(chosen, rejected) for chosen, rejected in scored])
        present = ~np.isnan(found[:, 0])
        strict, lenient, rank = found[present].T
        row = {"accuracy": mean(strict), "accuracy_with_ties": mean(lenient), "mrr": mean(rank, scale=1.0)}
        table[name] = row
        metrics[name] = {key: metric.value for key, metric in row.items()}
        if not present.all():
            notes.append(f"{name}: {int((~present).sum())} problems left out, a score is missing (NaN)")
        ties = int((lenient - strict).sum())
        if ties:
            notes.append(f"{name}: the best wrong solution ties with the right one in {ties} problems")
        wrong += [
            {"id": ids[i], "scored_by": name, "chosen": scored[i][0], "best_rejected": max(scored[i][1])}
            for i in np.flatnonzero(found[:, 0] == 0).tolist()
        ]
    if unread:
        notes.append(f"pairwise: {unread} verdicts could not be read and count as lost")
    n = int(max(sum(not math.isnan(c) for c, _ in scored) for scored in pairs.values()))
    return Report(
        "rewardmath",
        n,
        len(ids),
        metrics,
        [Table("1 right against 9 wrong", table, "% (mrr: 0 to 1)")],
        notes,
        wrong,
        units="accuracy in percent, mrr from 0 to 1",
    )


def _kind(row: dict[str, Any], where: str) -> str:
    scores = row["score"]
    if len(scores) != len(row["solution_reference"]) or not scores:
        raise DataError(
            f"{where}: {len(scores)} scores for {len(row['solution_reference'])} solutions; expected one each"
        )
    types = {
        type(None) if score is None else list if isinstance(score, list) else type(score) for score in scores
    }
    if str in types and types <= {str, type(None)}:
        sides = row.get("chosen_position")
        right = isinstance(sides, list) and len(sides) == len(scores) and all(s in ("A", "B") for s in sides)
        if not right:
            raise DataError(f"{where}: letters need 'chosen_position', one 'A' or 'B' per score")
        return "pairwise"
    if types <= {list, type(None)}:
        return "steps"
    if types <= {int, float, type(None)}:
        return "normal"
    raise DataError(
        f"{where}: 'score' mixes {', '.join(sorted(t.__name__ for t in types))}; expected {_SCHEMA}"
    )


def _scores(row: dict[str, Any], how: str, where: str) -> tuple[float, list[float]]:
    if how == "pairwise":
        wins = [got == right for got, right in zip(row["score"], row["chosen_position"], strict=True)]
        return pairwise_scores(wins)
    try:
        values = [
            math.nan if score is None else float(score) if how == "normal" else aggregate(score, how)
            for score in row["score"]
        ]
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: a score is not a number ({error}); expected {_SCHEMA}") from error
    chosen = [v for v, source in zip(values, row["solution_reference"], strict=True) if source == CHOSEN]
    if not chosen:
        raise DataError(
            f"{where}: no solution has the reference {CHOSEN!r}, the right one; expected {_SCHEMA}"
        )
    rejected = [v for v, source in zip(values, row["solution_reference"], strict=True) if source != CHOSEN]
    return min(chosen), rejected
