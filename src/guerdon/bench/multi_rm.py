"""Multi-domain best-of-N: which of N solutions does a verifier's reward choose, and is its answer right.

Reference: Lee et al., Rethinking Reward Models for Multi-Domain Test-Time Scaling, arXiv 2510.00492.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench.aggregate import aggregate
from guerdon.bench.files import match, numbers, read_rows, unique
from guerdon.bench.report import Metric, Report, Table
from guerdon.errors import DataError, RecipeError
from guerdon.registry import nearest

VERIFIERS = {"dorm": "last", "dprm": "min", "gorm": "mean", "gprm": "mean"}
"""Aggregation by the kind of verifier: discriminative or generative, outcome or process."""
RULES = ("best_of_n", "weighted_vote", "majority_vote", "pass")
_UNKNOWN = 0.5
_SCHEMA = "solutions {q_id, cot_ids, parsed_answers: [one per solution], answer, optional category}"
_FIELDS = {"q_id": (str, int), "cot_ids": list, "parsed_answers": list, "answer": None}
_ASKED = (
    "solutions {q_id, question, cot_ids, cots: [text or steps], parsed_answers: [one per solution], answer}"
)
_REWARDS = "rewards {q_id, cot_ids, rewards: [list of numbers per solution]}"


def yes_probability(yes: float | None, no: float | None) -> float:
    """e^yes / (e^yes + e^no) of the two log-probs; 1 or 0 where only one is known, NaN where neither is."""
    if yes is None or no is None:
        return math.nan if yes is no else float(no is None)
    return 1.0 / (1.0 + math.exp(no - yes))


def unusable(lists: Sequence[Any]) -> int:
    """How many solutions have no reward at all, or only missing ones."""
    return sum(
        all(r is None or r != r for r in (some if isinstance(some, list) else [some])) for some in lists
    )


def unusable_note(count: int) -> list[str]:
    """What a report says of them."""
    return [f"{count} solutions have no usable reward and count as {_UNKNOWN}"] if count else []


def solution_reward(rewards: Sequence[float | None] | None, how: str) -> float:
    """One number per solution; 0.5 where nothing, or nothing usable, was given."""
    present = [] if rewards is None else [r for r in rewards if r is not None and not math.isnan(r)]
    return aggregate(present, how) if present else _UNKNOWN


def choose(answers: Sequence[str], rewards: Sequence[float], rule: str) -> str:
    """The answer a rule takes; the first met wins a tie. Votes compare lower-cased answers."""
    if rule == "best_of_n":
        return answers[int(np.argmax(rewards))].lower()
    weights: Counter[str] = Counter()
    for answer, reward in zip(answers, rewards, strict=True):
        weights[answer.lower()] += reward if rule == "weighted_vote" else 1  # type: ignore[assignment]
    return max(weights, key=weights.__getitem__)


def aggregation_of(verifier: str, aggregation: str | None = None) -> str:
    """How a kind of verifier's rewards become one number, unless `aggregation` says otherwise.

    Raises:
        RecipeError: an unknown kind or aggregation.
    """
    if verifier not in VERIFIERS:
        raise RecipeError(f"verifier: unknown kind {verifier!r}{nearest(verifier, VERIFIERS)}")
    how = aggregation or VERIFIERS[verifier]
    aggregate([1.0], how)
    return how


def load(path: str | Path) -> list[dict[str, Any]]:
    """Questions with the texts of their solutions, as a candidate reads them.

    Raises:
        DataError: fields missing, duplicate ids, or other numbers of solutions and answers; the row is named.
    """
    rows = read_rows(path, {"question": str, "cots": list} | _FIELDS, _ASKED)
    unique(rows, "q_id", path)
    for at, row in enumerate(rows):
        if len(row["cots"]) != len(row["parsed_answers"]):
            raise DataError(
                f"{path}, row {at + 1}: {len(row['cots'])} cots and {len(row['parsed_answers'])} "
                f"parsed_answers; expected {_ASKED}"
            )
    return rows


def evaluate_rewards(
    data: str | Path,
    rewards: str | Path,
    verifier: str = "gorm",
    aggregation: str | None = None,
    sizes: Sequence[int] = (1, 2, 4, 8, 16),
    runs: int = 100,
    seed: int = 0,
) -> Report:
    """Accuracy of best-of-N, weighted vote, majority vote and pass@N on subsamples of the solutions.

    Args:
        verifier: dorm, dprm, gorm or gprm; decides the aggregation unless `aggregation` does.
        sizes: N; those above the number of solutions are left out.
        runs: subsamples without replacement per question and N; mean and deviation are over runs.

    Raises:
        DataError: fields missing or lists of different lengths. RecipeError: an unknown verifier.
    """
    how = aggregation_of(verifier, aggregation)
    rows = read_rows(data, _FIELDS, _SCHEMA)
    given = read_rows(rewards, {"q_id": (str, int), "rewards": list}, _REWARDS)
    found = match(unique(rows, "q_id", data), given, "q_id", rewards)
    questions = []
    for row, answer in zip(rows, found, strict=True):
        if answer:
            questions.append(question(row, answer, how, f"{rewards}: q_id {row['q_id']!r}"))
    out = report(questions, len(rows), sizes, runs, seed)
    out.notes += unusable_note(sum(unusable(answer["rewards"]) for answer in found if answer))
    return out


def report(
    questions: Sequence[tuple[str, str, list[str], str, list[float]]],
    expected: int,
    sizes: Sequence[int] = (1, 2, 4, 8, 16),
    runs: int = 100,
    seed: int = 0,
) -> Report:
    """The report of questions `(id, category, answers, right answer, rewards)` in memory."""
    most = min((len(q[2]) for q in questions), default=0)
    used = [n for n in sizes if n <= most]
    categories = list(dict.fromkeys(q[1] for q in questions))
    table: dict[str, dict[str, Metric]] = {}
    for n in used:
        right = np.array([_runs(q, n, runs, seed) for q in questions])  # (questions, runs, rules)
        for category in [*categories, "overall"] if len(categories) > 1 else ["overall"]:
            inside = np.array([category in ("overall", q[1]) for q in questions])
            per_run = 100 * right[inside].mean(0)
            low, high = np.percentile(per_run, [2.5, 97.5], axis=0)
            name = f"N={n}" if category == "overall" else f"{category} N={n}"
            table[name] = {
                rule: Metric(float(per_run[:, i].mean()), float(low[i]), float(high[i]), int(inside.sum()))
                for i, rule in enumerate(RULES)
            }
    notes = (
        [f"sizes above {most} left out: some question has no more solutions"]
        if len(used) < len(sizes)
        else []
    )
    if len(questions) < expected:
        notes.append(
            f"PARTIAL: {expected - len(questions)} of {expected} questions have no rewards and are left out"
        )
    metrics = {name: {rule: metric.value for rule, metric in row.items()} for name, row in table.items()}
    return Report("multi-rm", len(questions), expected, metrics, [Table("right answer chosen", table)], notes)


def _runs(question: tuple[str, str, list[str], str, list[float]], n: int, runs: int, seed: int) -> np.ndarray:
    """0/1 per run and rule, each run with a subsample of its own drawn from (seed, run, question)."""
    q_id, _, answers, right, rewards = question
    out = np.empty((runs, len(RULES)))
    for run in range(runs):
        digest = hashlib.md5(f"{seed}_{run}_{q_id}".encode(), usedforsecurity=False).digest()
        some = np.random.default_rng(int.from_bytes(digest[:8])).choice(len(answers), n, replace=False)
        mine, scores = [answers[i] for i in some], [rewards[i] for i in some]
        picks = [choose(mine, scores, rule) == right for rule in RULES[:3]]
        out[run] = [*picks, any(answer.lower() == right for answer in mine)]
    return out


def question(
    row: Mapping[str, Any], answer: Mapping[str, Any], how: str, where: str
) -> tuple[str, str, list[str], str, list[float]]:
    """(id, category, answers, right answer, rewards) of a row and `{rewards: [list or number per solution]}`.

    Raises:
        DataError: other numbers of rewards and solutions.
    """
    answers = ["N/A" if a is None else str(a) for a in row["parsed_answers"]]
    lists = answer["rewards"]
    if len(lists) != len(answers):
        raise DataError(f"{where}: {len(lists)} rewards for {len(answers)} solutions")
    rewards = [solution_reward(numbers(r if isinstance(r, list) else [r], where), how) for r in lists]
    category = str(row.get("category", "all"))
    return str(row["q_id"]), category, answers, str(row["answer"]).lower(), rewards
