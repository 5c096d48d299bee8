"""ProcessBench: find the first wrong step of a solution, or say that there is none.

Reference: Zheng et al., ProcessBench: Identifying Process Errors in Mathematical Reasoning, arXiv 2412.06559.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.files import check_texts, match, numbers, read_rows, unique
from guerdon.bench.report import Metric, Report, Table, mean, statistic
from guerdon.errors import DataError

NO_ERROR = -1
_SCHEMA = "ProcessBench {id, problem, steps: [text], label: index of the first wrong step from 0, or -1}"
_FIELDS = {"id": (str, int), "problem": str, "steps": list, "label": int}
_PREDICTIONS = (
    "predictions {id, prediction: index of the first wrong step from 0, -1 for none, null if unparsed}"
)
_SCORES = "step scores {id, scores: [one number per step]}"


def harmonic(error: Any, correct: Any) -> Any:
    """F1 = 2 a b / (a + b) of the two accuracies, elementwise; 0 where both are 0."""
    total = np.asarray(error + correct, np.float64)
    return np.divide(2.0 * error * correct, total, out=np.zeros_like(total), where=total > 0)[()]


def first_below(scores: Sequence[float], threshold: float) -> int:
    """Index of the first step whose score is below the threshold (equal counts as good), or -1."""
    below = np.flatnonzero(np.asarray(scores, np.float64) < threshold)
    return int(below[0]) if len(below) else NO_ERROR


def vote(answers: Sequence[str | None]) -> int | None:
    """Majority of a critic's parsed answers, unparsed ones left out; the first met wins a tie."""
    counts = Counter(answer for answer in answers if answer is not None)
    if not counts:
        return None
    try:
        return int(counts.most_common(1)[0][0])
    except ValueError:
        return None


def subset_of(row: Mapping[str, Any]) -> str:
    """gsm8k, math, olympiadbench or omnimath: the id up to its last dash."""
    return str(row["id"]).rsplit("-", 1)[0]


def load(path: str | Path) -> list[dict[str, Any]]:
    """Examples of a benchmark file.

    Raises:
        DataError: fields missing, duplicate ids, or a label that is no step; the row is named.
    """
    rows = read_rows(path, _FIELDS, _SCHEMA)
    unique(rows, "id", path)
    for at, row in enumerate(rows):
        check_texts(row, "steps", f"{path}, row {at + 1}", _SCHEMA)
        if not NO_ERROR <= row["label"] < len(row["steps"]):
            raise DataError(
                f"{path}, row {at + 1}: label {row['label']} for {len(row['steps'])} steps; "
                f"expected -1 to {len(row['steps']) - 1}"
            )
    return rows


def evaluate_predictions(data: str | Path, predictions: str | Path) -> Report:
    """The official metric of saved predictions.

    A prediction that is null (the critic's answer could not be read) is wrong, as in the official script.
    Examples without any prediction are not scored as wrong: they are left out and the report says so.

    Raises:
        DataError: a file's fields, an id that is not in the benchmark, one given twice.
    """
    rows = load(data)
    answers = read_rows(predictions, {"id": (str, int), "prediction": None}, _PREDICTIONS)
    found = match(unique(rows, "id", data), answers, "id", predictions)
    given = [
        _prediction(answer, f"{predictions}: id {row['id']!r}")
        for row, answer in zip(rows, found, strict=True)
    ]
    return report(rows, given, [bool(answer) for answer in found])


def evaluate_scores(
    data: str | Path,
    scores: str | Path,
    threshold: float | None = None,
    tune_on: str = "gsm8k",
    sweep: bool = False,
) -> Report:
    """The official metric of saved step scores: the first step below a threshold is the predicted error.

    Args:
        threshold: None tunes it for the best F1 on the subset `tune_on`, which is then no test set: the
            report says so.
        sweep: adds a table of thresholds on the subset `tune_on`, and on no other.

    Raises:
        DataError: as above, or a list of scores of another length than the steps.
    """
    rows = load(data)
    answers = read_rows(scores, {"id": (str, int), "scores": list}, _SCORES)
    found = match(unique(rows, "id", data), answers, "id", scores)
    lists: list[list[float] | None] = []
    for row, answer in zip(rows, found, strict=True):
        values = answer.get("scores")
        if values is not None and len(values) != len(row["steps"]):
            raise DataError(
                f"{scores}: id {row['id']!r} has {len(values)} scores for {len(row['steps'])} steps"
            )
        lists.append(None if values is None else numbers(values, f"{scores}: id {row['id']!r}"))
    return score_report(rows, lists, threshold, tune_on, sweep)


def score_report(
    rows: Sequence[Mapping[str, Any]],
    scores: Sequence[Sequence[float] | None],
    threshold: float | None,
    tune_on: str = "gsm8k",
    sweep: bool = False,
) -> Report:
    """The report of step scores in memory (None: not scored); see `evaluate_scores`."""
    usable = [s is not None and not np.isnan(s).any() for s in scores]
    notes = []
    tuning = [i for i, row in enumerate(rows) if subset_of(row) == tune_on and usable[i]]
    lists, labels = [scores[i] or [] for i in tuning], [rows[i]["label"] for i in tuning]
    if (threshold is None or sweep) and not tuning:
        raise DataError(f"no scored example of the subset {tune_on!r} to tune the threshold on; give one")
    if threshold is None:
        threshold, swept = best_threshold(lists, labels)
        notes.append(
            f"threshold {threshold:.6g} tuned on {tune_on} (F1 {100 * swept:.1f} there): not a test of it"
        )
    else:
        notes.append(f"threshold {threshold:.6g}")
    given = [
        first_below(s, threshold) if ok and s is not None else None
        for s, ok in zip(scores, usable, strict=True)
    ]
    out = report(rows, given, usable)
    out.notes = notes + out.notes
    out.metrics["threshold"] = threshold
    if sweep:
        from guerdon.bench.sweep import threshold_table

        out.tables.append(threshold_table(lists, labels, tune_on))
    return out


def best_threshold(scores: Sequence[Sequence[float]], labels: Sequence[int]) -> tuple[float, float]:
    """The threshold of the best F1 among all distinct scores (and above them), and that F1.

    A solution's prediction changes only where the threshold passes a running minimum of its scores, so one
    pass over those candidates suffices.
    """
    right = np.array([label == NO_ERROR for label in labels])
    candidates = np.unique(
        np.concatenate([np.asarray(s, np.float64) for s in scores if len(s)] or [np.zeros(1)])
    )
    candidates = np.append(candidates, np.nextafter(candidates[-1], np.inf))
    hit = np.zeros((2, len(candidates) + 1))  # differences of the number found, for wrong and right solutions
    for values, label in zip(scores, labels, strict=True):
        before = min(values[:label] if label != NO_ERROR else values, default=math.inf)
        high = int(np.searchsorted(candidates, before, "right"))  # thresholds <= all earlier scores
        low = 0 if label == NO_ERROR else int(np.searchsorted(candidates, values[label], "right"))
        if low < high:
            hit[int(label == NO_ERROR), low] += 1
            hit[int(label == NO_ERROR), high] -= 1
    found = np.cumsum(hit, axis=1)[:, :-1]
    f1 = harmonic(found[0] / max(int((~right).sum()), 1), found[1] / max(int(right.sum()), 1))
    best = int(np.argmax(f1))
    return float(candidates[best]), float(f1[best])


def report(
    rows: Sequence[Mapping[str, Any]], predictions: Sequence[int | None], answered: Sequence[bool]
) -> Report:
    """Accuracy on wrong and on right solutions and their harmonic mean, per subset and averaged over them."""
    kept = [i for i, ok in enumerate(answered) if ok]
    subsets = list(dict.fromkeys(subset_of(rows[i]) for i in kept))
    table: dict[str, dict[str, Metric]] = {}
    for subset in subsets:
        mine = [i for i in kept if subset_of(rows[i]) == subset]
        wrong = np.array([predictions[i] == rows[i]["label"] for i in mine if rows[i]["label"] != NO_ERROR])
        right = np.array([predictions[i] == NO_ERROR for i in mine if rows[i]["label"] == NO_ERROR])
        table[subset] = {
            "error": mean(wrong),
            "correct": mean(right),
            "f1": statistic([wrong, right], harmonic),
        }
    metrics: dict[str, Any] = {name: {k: m.value for k, m in row.items()} for name, row in table.items()}
    f1 = [row["f1"].value for row in table.values()]
    metrics["average_f1"] = float(np.mean(f1)) if f1 else math.nan
    notes = []
    if len(kept) < len(rows):
        notes.append(
            f"PARTIAL: {len(rows) - len(kept)} of {len(rows)} examples have no prediction and are left out"
        )
    unread = sum(predictions[i] is None for i in kept)
    if unread:
        notes.append(f"{unread} predictions are null (could not be read) and count as wrong")
    nowhere = sum(
        value is not None and not NO_ERROR <= value < len(rows[i]["steps"])
        for i, value in ((i, predictions[i]) for i in kept)
        if "steps" in rows[i]
    )
    if nowhere:
        notes.append(f"{nowhere} predictions name a step that does not exist and count as wrong")
    if any(math.isnan(value) for value in f1):
        notes.append("a subset without wrong or without right solutions has no F1")
    missed = [
        {"id": rows[i]["id"], "expected": rows[i]["label"], "got": predictions[i]}
        for i in kept
        if predictions[i] != rows[i]["label"]
    ]
    return Report(
        "processbench", len(kept), len(rows), metrics, [Table("first wrong step", table)], notes, missed
    )


def _prediction(answer: Mapping[str, Any], where: str) -> int | None:
    value = answer.get("prediction")
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise DataError(f"{where}: prediction {value!r}, expected a step's index, -1 or null")
    return value
