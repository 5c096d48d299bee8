"""How each benchmark puts its examples to a candidate.

Enters: the benchmark's file and a reward. Leaves: a report. A pairwise judge (`both_orders`) and a critic
(`first_errors`) are asked in their own way, everything else for one value per answer or step.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench import judgebench, multi_rm, prmbench, processbench, rewardbench2, rewardmath, rmbench
from guerdon.bench.aggregate import AGGREGATIONS, aggregate
from guerdon.bench.candidates import Watch, score_either, score_steps, score_texts
from guerdon.bench.files import read_rows, unique
from guerdon.bench.judges import ask_pairs, decisions, find_errors, win
from guerdon.bench.report import Report

_DIRECT = {"problem": str, "eval_solution": (list, str), "solution_type": str}
_PAIRS = {
    "pair_id": (str, int),
    "source": str,
    "question": str,
    "response_A": str,
    "response_B": str,
    "label": str,
}


@dataclass(frozen=True)
class Asking:
    """A candidate in front of a benchmark's file.

    Attributes:
        data: the file.
        reward: the candidate.
        watch: given the number of texts, returns what is told of progress.
        causes: counts why values are missing.
    """

    data: Path
    reward: Any
    watch: Callable[[int], Watch] | None
    causes: Counter[str]

    def begin(self, total: int) -> Watch | None:
        """What to tell of progress."""
        return None if self.watch is None else self.watch(total)

    def steps(self, problems: Sequence[str], solutions: Sequence[Sequence[str]]) -> list[list[float]]:
        """One value per step of every solution."""
        return score_steps(self.reward, problems, solutions, self.begin(len(problems)), self.causes)

    def texts(self, prompts: Sequence[Any], texts: Sequence[str], per_row: Sequence[int]) -> list[np.ndarray]:
        """Values of `per_row[i]` texts for prompt i, as one array per prompt."""
        group = np.repeat(np.arange(len(prompts)), per_row)
        spread = [prompts[g] for g in group.tolist()]
        scores = score_texts(self.reward, spread, texts, None, group, self.begin(len(texts)), self.causes)
        return np.split(scores, np.cumsum(per_row)[:-1])


def _processbench(
    asking: Asking, threshold: float | None = None, tune_on: str | None = None, sweep: bool = False
) -> Report:
    rows = processbench.load(asking.data)
    problems, steps = [r["problem"] for r in rows], [r["steps"] for r in rows]
    if hasattr(asking.reward, "first_errors"):
        watch = asking.begin(len(rows))
        found, asked = find_errors(asking.reward, problems, steps, watch, asking.causes)
        return processbench.report(rows, found, asked)
    scores = asking.steps(problems, steps)
    if threshold is None and tune_on is None and not sweep:
        threshold = 0.5
    return processbench.score_report(rows, scores, threshold, tune_on or "gsm8k", sweep)


def _prmbench(asking: Asking, threshold: float = 0.5) -> Report:
    rows = prmbench.load(asking.data)
    problems = [r.get("modified_question") or r.get("question") or "" for r in rows]
    return prmbench.report(rows, asking.steps(problems, [r["modified_process"] for r in rows]), threshold)


def _rmbench(asking: Asking) -> Report:
    rows = rmbench.load(asking.data)
    texts = [text for r in rows for text in (*r["chosen"], *r["rejected"])]
    scores = asking.texts([r["prompt"] for r in rows], texts, [6] * len(rows))
    return rmbench.report(rows, [values.reshape(2, 3) for values in scores])


def _rewardbench2(asking: Asking) -> Report:
    rows = rewardbench2.load(asking.data)
    lists = [[*r["chosen"], *r["rejected"]] for r in rows]
    texts = [text for some in lists for text in some]
    scores = asking.texts([r["prompt"] for r in rows], texts, [len(some) for some in lists])
    return rewardbench2.report(rows, [values.tolist() for values in scores])


def _judgebench(asking: Asking) -> Report:
    what = "JudgeBench pairs {pair_id, source, question, response_A, response_B, label}"
    rows = read_rows(asking.data, _PAIRS, what)
    unique(rows, "pair_id", asking.data)
    questions = [r["question"] for r in rows]
    if hasattr(asking.reward, "both_orders"):
        first, second = [r["response_A"] for r in rows], [r["response_B"] for r in rows]
        watch = asking.begin(len(rows))
        decided = [
            decisions(pair)
            for pair in ask_pairs(asking.reward, questions, first, second, watch, asking.causes)
        ]
    else:
        texts = [text for r in rows for text in (r["response_A"], r["response_B"])]
        decided = [_compared(pair.tolist()) for pair in asking.texts(questions, texts, [2] * len(rows))]
    kept = [(row, pair) for row, pair in zip(rows, decided, strict=True) if pair is not None]
    report = judgebench.report([row for row, _ in kept], [pair for _, pair in kept])
    report.expected = len(rows)
    if len(kept) < len(rows):
        report.notes.append(f"PARTIAL: {len(rows) - len(kept)} of {len(rows)} pairs left out, not judged")
    return report


def _compared(scores: Sequence[float]) -> tuple[str | None, str | None] | None:
    """A reward's verdicts in both orders; None where a score is missing."""
    if np.isnan(scores).any():
        return None
    return judgebench.decision_of(scores), judgebench.flip(judgebench.decision_of(scores[::-1]))


def _rewardmath(asking: Asking, aggregation: str | None = None, sweep: bool = False) -> Report:
    rows = read_rows(
        asking.data, _DIRECT, "RewardMATH direct {problem, eval_solution, solution_type, answer}"
    )
    problems = list(dict.fromkeys(r["problem"] for r in rows))
    place = {problem: at for at, problem in enumerate(problems)}
    rows.sort(key=lambda r: place[r["problem"]])
    ids = [str(at) for at in range(len(problems))]
    group = [place[r["problem"]] for r in rows]
    if hasattr(asking.reward, "both_orders"):
        pairs, unread = _beaten(asking, rows, group, len(problems))
        return rewardmath.report(ids, {"pairwise": pairs}, unread)
    if aggregation is not None or sweep:
        aggregate([1.0], aggregation or "min")  # an unknown name is refused before anything is asked
        steps = [[s] if isinstance(s, str) else s for s in (r["eval_solution"] for r in rows)]
        scores = asking.steps([r["problem"] for r in rows], steps)
        names = list(AGGREGATIONS) if sweep else [str(aggregation)]
        columns = {how: [aggregate(values, how) for values in scores] for how in names}
    else:
        references = [r.get("answer") for r in rows]
        prompts, texts = [r["problem"] for r in rows], [_text(r) for r in rows]
        watch = asking.begin(len(rows))
        values = score_texts(asking.reward, prompts, texts, references, group, watch, asking.causes)
        columns = {"normal": values.tolist()}
    return rewardmath.report(
        ids, {how: _sides(rows, group, column, len(problems)) for how, column in columns.items()}
    )


def _text(row: dict[str, Any]) -> str:
    solution = row["eval_solution"]
    return solution if isinstance(solution, str) else "\n\n".join(solution)


def _sides(
    rows: Sequence[dict[str, Any]], group: Sequence[int], scores: Sequence[float], n: int
) -> list[tuple[float, list[float]]]:
    """(least score of a right solution, scores of the wrong ones) per problem."""
    sides: list[tuple[list[float], list[float]]] = [([], []) for _ in range(n)]
    for row, at, value in zip(rows, group, scores, strict=True):
        sides[at][row["solution_type"] != "chosen"].append(value)
    return [(min(chosen) if chosen else math.nan, rejected) for chosen, rejected in sides]


def _beaten(
    asking: Asking, rows: Sequence[dict[str, Any]], group: Sequence[int], n: int
) -> tuple[list[tuple[float, list[float]]], int]:
    """A judge's verdicts on the right solution against each wrong one, as scores, and how many are unread."""
    right = {at: _text(row) for row, at in zip(rows, group, strict=True) if row["solution_type"] == "chosen"}
    games = [
        (at, row)
        for row, at in zip(rows, group, strict=True)
        if at in right and row["solution_type"] != "chosen"
    ]
    prompts, chosen = [row["problem"] for _, row in games], [right[at] for at, _ in games]
    watch = asking.begin(len(games))
    judged = ask_pairs(asking.reward, prompts, chosen, [_text(row) for _, row in games], watch, asking.causes)
    wins: list[list[bool | None]] = [[] for _ in range(n)]
    unread = 0
    for (at, _), pair in zip(games, judged, strict=True):
        decided = decisions(pair)
        unread += decided is not None and None in decided
        wins[at].append(None if decided is None else win(pair, asking.reward.rule))
    pairs = [
        (math.nan, [math.nan])
        if not won or None in won
        else rewardmath.pairwise_scores([bool(value) for value in won])
        for won in wins
    ]
    return pairs, unread


def _multi_rm(
    asking: Asking,
    verifier: str | None = None,
    aggregation: str | None = None,
    sizes: Sequence[int] = (1, 2, 4, 8, 16),
    runs: int = 100,
    seed: int = 0,
) -> Report:
    multi_rm.aggregation_of(verifier or "gorm", aggregation)  # a wrong setting is refused before asking
    rows = multi_rm.load(asking.data)
    problems = [r["question"] for r in rows for _ in r["cots"]]
    steps = [[cot] if isinstance(cot, str) else cot for r in rows for cot in r["cots"]]
    group = np.repeat(np.arange(len(rows)), [len(r["cots"]) for r in rows])
    values = score_either(asking.reward, problems, steps, group, asking.begin(len(problems)), asking.causes)
    per_step = any(len(some) > 1 for some in values)
    how = multi_rm.aggregation_of(verifier or ("dprm" if per_step else "gorm"), aggregation)
    taken = iter(values)
    questions = [
        multi_rm.question(r, {"rewards": [next(taken) for _ in r["cots"]]}, how, str(r["q_id"])) for r in rows
    ]
    report = multi_rm.report(questions, len(rows), sizes, runs, seed)
    report.notes += [f"a solution's rewards are aggregated by {how}"]
    report.notes += multi_rm.unusable_note(multi_rm.unusable(values))
    return report


ASKED: dict[str, tuple[Callable[..., Report], tuple[str, ...]]] = {
    "judgebench": (_judgebench, ()),
    "multi-rm": (_multi_rm, ("verifier", "aggregation", "sizes", "runs", "seed")),
    "processbench": (_processbench, ("threshold", "tune_on", "sweep")),
    "prmbench": (_prmbench, ("threshold",)),
    "rewardbench2": (_rewardbench2, ()),
    "rewardmath": (_rewardmath, ("aggregation", "sweep")),
    "rmbench": (_rmbench, ()),
}
"""benchmark -> (how a candidate is asked, its options)."""
