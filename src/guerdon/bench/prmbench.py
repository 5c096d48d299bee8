"""PRMBench: judge every step of solutions into which one kind of error was planted.

Reference: Song et al., PRMBench: A Fine-grained and Challenging Benchmark for Process-Level Reward Models,
arXiv 2501.03124.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.files import check_texts, match, numbers, read_rows, unique
from guerdon.bench.report import Metric, Report, Table, mean
from guerdon.errors import DataError

CATEGORIES = {
    "simplicity": ("redundency", "circular"),
    "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
    "sensitivity": ("missing_condition", "deception", "multi_solutions"),
}
"""Kinds of error by the aspect they test, as spelled in the data."""
_SCHEMA = "PRMBench {idx, classification, question, modified_process: [text], error_steps: [step from 1]}"
_FIELDS = {"idx": (str, int), "classification": str, "modified_process": list, "error_steps": list}
_SCORES = "step scores {idx: <classification>_<idx>, scores: [one number per step, or 0/1 labels]}"


def load(path: str | Path) -> list[dict[str, Any]]:
    """Examples of a benchmark file; `idx` becomes `<classification>_<idx>`, as in the official script.

    Raises:
        DataError: fields missing or duplicate ids; the row is named.
    """
    rows = read_rows(path, _FIELDS, _SCHEMA)
    for row in rows:  # one original problem may carry several kinds of error
        prefix = f"{row['classification']}_"
        row["idx"] = row["idx"] if str(row["idx"]).startswith(prefix) else f"{prefix}{row['idx']}"
    unique(rows, "idx", path)
    for at, row in enumerate(rows):
        check_texts(row, "modified_process", f"{path}, row {at + 1}", _SCHEMA)
        if not all(isinstance(step, int) and not isinstance(step, bool) for step in row["error_steps"]):
            raise DataError(
                f"{path}, row {at + 1}: 'error_steps' must hold whole numbers; expected {_SCHEMA}"
            )
    return rows


def evaluate_scores(data: str | Path, scores: str | Path, threshold: float = 0.5) -> Report:
    """Metrics of saved step scores; a step is called good from `threshold` on.

    Raises:
        DataError: as in `load`, an unknown idx, or scores of another length than the steps.
    """
    rows = load(data)
    answers = read_rows(scores, {"idx": (str, int), "scores": list}, _SCORES)
    found = match(unique(rows, "idx", data), answers, "idx", scores)
    lists = []
    for row, answer in zip(rows, found, strict=True):
        values = answer.get("scores")
        if values is not None and len(values) != len(row["modified_process"]):
            steps = len(row["modified_process"])
            raise DataError(f"{scores}: idx {row['idx']!r} has {len(values)} scores for {steps} steps")
        lists.append(None if values is None else numbers(values, f"{scores}: idx {row['idx']!r}"))
    return report(rows, lists, threshold)


def report(
    rows: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[float] | None], threshold: float = 0.5
) -> Report:
    """F1 of good steps, of wrong ones, their mean (PRMScore) and accuracies, per kind of error and overall.

    Good steps are the positive class of `f1`, wrong steps that of `negative_f1`. `first_error` is the share
    of solutions whose first wrong step is called wrong.
    """
    usable = [s is not None and not np.isnan(s).any() for s in scores]
    kinds = list(dict.fromkeys(row["classification"] for row in rows))
    groups = {kind: [kind] for kind in kinds}
    groups |= {name: [k for k in kinds if k in members] for name, members in CATEGORIES.items()}
    groups = {name: members for name, members in groups.items() if members} | {"overall": kinds}
    table = {}
    for name, members in groups.items():
        mine = [i for i, row in enumerate(rows) if usable[i] and row["classification"] in members]
        if mine:
            table[name] = _metrics([rows[i] for i in mine], [scores[i] or [] for i in mine], threshold)
    metrics = {name: {key: metric.value for key, metric in row.items()} for name, row in table.items()}
    notes = [f"threshold {threshold:.6g}"]
    if not all(usable):
        notes.append(
            f"PARTIAL: {len(rows) - sum(usable)} of {len(rows)} examples have no scores and are left out"
        )
    wrong = [
        {"id": row["idx"], "kind": row["classification"], "expected": row["error_steps"], "got": called}
        for row, s, ok in zip(rows, scores, usable, strict=True)
        if ok and s is not None
        for called in [[i + 1 for i, value in enumerate(s) if value < threshold]]
        if sorted(row["error_steps"]) != called
    ]
    return Report(
        "prmbench", sum(usable), len(rows), metrics, [Table("steps called right", table)], notes, wrong
    )


def _metrics(
    rows: Sequence[Mapping[str, Any]], scores: Sequence[Sequence[float]], threshold: float
) -> dict[str, Any]:
    lengths = [len(s) for s in scores]
    called = np.concatenate([np.asarray(s, np.float64) for s in scores]) >= threshold
    bad = np.concatenate(
        [np.isin(np.arange(1, n + 1), row["error_steps"]) for n, row in zip(lengths, rows, strict=True)]
    )
    starts = np.cumsum([0, *lengths[:-1]])
    firsts = [
        float(not called[start + min(row["error_steps"]) - 1])
        for start, n, row in zip(starts, lengths, rows, strict=True)
        if row["error_steps"] and 1 <= min(row["error_steps"]) <= n
    ]
    f1, negative = _f1(called, ~bad), _f1(~called, bad)
    one = {"prm_score": (f1 + negative) / 2, "f1": f1, "negative_f1": negative}
    return {name: Metric(100 * value, n=len(rows)) for name, value in one.items()} | {
        "correct_steps": mean(called[~bad]),
        "wrong_steps": mean(~called[bad]),
        "all_steps": mean(called != bad),
        "first_error": mean(firsts),
    }


def _f1(said: np.ndarray, true: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN); 0 where there is no true positive but something to find, NaN with nothing."""
    positives = int(said.sum() + true.sum())
    return 2 * int((said & true).sum()) / positives if positives else math.nan
