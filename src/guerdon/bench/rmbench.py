"""RM-Bench: a right and a subtly wrong answer, each in three styles; content must beat style.

Reference: Liu et al., RM-Bench: Benchmarking Reward Models of Language Models with Subtlety and Style,
arXiv 2410.16184.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.files import check_texts, match, numbers, read_rows, unique
from guerdon.bench.report import Report, Table, mean
from guerdon.errors import DataError

STYLES = ("concise", "detailed", "markdown")
_SCHEMA = "RM-Bench {id, prompt, chosen: [3 styles], rejected: [3 styles]}"
_FIELDS = {"id": (str, int), "prompt": str, "chosen": list, "rejected": list}
_SCORES = "scores {id, score_chosen: [3 numbers], score_rejected: [3 numbers]}"
_SCORE_FIELDS = {"id": (str, int), "score_chosen": list, "score_rejected": list}


def load(path: str | Path) -> list[dict[str, Any]]:
    """Examples of a benchmark file.

    Raises:
        DataError: fields missing, not three styles, duplicate ids; the row is named.
    """
    rows = read_rows(path, _FIELDS, _SCHEMA)
    unique(rows, "id", path)
    for at, row in enumerate(rows):
        if len(row["chosen"]) != 3 or len(row["rejected"]) != 3:
            raise DataError(f"{path}, row {at + 1}: expected three chosen and three rejected ({_SCHEMA})")
        for side in ("chosen", "rejected"):
            check_texts(row, side, f"{path}, row {at + 1}", _SCHEMA)
    return rows


def evaluate_scores(data: str | Path | None, scores: str | Path) -> Report:
    """Metrics of saved scores; `data` (optional) tells which examples there should be, and their domains.

    Raises:
        DataError: fields missing, not three scores a side, an unknown id.
    """
    answers = read_rows(scores, _SCORE_FIELDS, _SCORES)
    for at, answer in enumerate(answers):
        if len(answer["score_chosen"]) != 3 or len(answer["score_rejected"]) != 3:
            raise DataError(f"{scores}, row {at + 1}: expected three chosen and three rejected scores")
    rows = answers if data is None else load(data)
    found = match(unique(rows, "id", data or scores), answers, "id", scores)
    return report(rows, [_matrix(answer, f"{scores}: id {answer.get('id')!r}") for answer in found])


def report(rows: Sequence[Mapping[str, Any]], scores: Sequence[np.ndarray | None]) -> Report:
    """Easy, normal and hard accuracy per domain and overall from (2, 3) scores (right, wrong) x style.

    win[i, j] = [score of the right answer in style i > score of the wrong one in style j]; hard is the mean
    over i < j (the wrong answer is dressed up more), normal over i = j, easy over i > j. A tie is no win.
    """
    usable = [s is not None and not np.isnan(s).any() for s in scores]
    wins = np.array(
        [s[0][:, None] > s[1][None, :] for s, ok in zip(scores, usable, strict=True) if ok and s is not None]
    )
    kept = [row for row, ok in zip(rows, usable, strict=True) if ok]
    wins = wins.reshape(-1, 3, 3).astype(np.float64)
    levels = {
        "hard": wins[:, [0, 0, 1], [1, 2, 2]].mean(1),
        "normal": wins[:, [0, 1, 2], [0, 1, 2]].mean(1),
        "easy": wins[:, [1, 2, 2], [0, 0, 1]].mean(1),
    }
    levels["average"] = wins.mean((1, 2))
    domains = np.array([str(row.get("domain", row.get("subset", "all"))) for row in kept])
    names = list(dict.fromkeys(domains.tolist()))
    members = {name: domains == name for name in names} | {"overall": np.ones(len(kept), bool)}
    table = {n: {key: mean(v[m]) for key, v in levels.items()} for n, m in members.items()}
    notes = []
    if not all(usable):
        notes.append(
            f"PARTIAL: {len(rows) - sum(usable)} of {len(rows)} examples have no scores and are left out"
        )
    metrics = {n: {key: m.value for key, m in row.items()} for n, row in table.items()}
    wrong = [
        {"id": row["id"], "wins": int(w.sum())} for row, w in zip(kept, wins, strict=True) if w.sum() < 9
    ]
    return Report(
        "rmbench", len(kept), len(rows), metrics, [Table("right over wrong answer", table)], notes, wrong
    )


def _matrix(answer: Mapping[str, Any], where: str) -> np.ndarray | None:
    if not answer:
        return None
    return np.array([numbers(answer[f"score_{side}"], where) for side in ("chosen", "rejected")])
