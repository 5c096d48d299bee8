"""One entry for all benchmarks: saved outputs or a candidate in, a report out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from guerdon.bench import judgebench, multi_rm, prmbench, processbench, rewardbench2, rewardmath, rmbench
from guerdon.bench.candidates import Watch, score_steps, score_texts
from guerdon.bench.files import read_rows, unique
from guerdon.bench.report import Report
from guerdon.errors import RecipeError
from guerdon.registry import nearest

BENCHMARKS = ("judgebench", "multi-rm", "processbench", "prmbench", "rewardbench2", "rewardmath", "rmbench")
"""Names `guerdon bench` knows."""
HUBS = {
    "judgebench": "ScalerLab/JudgeBench",
    "multi-rm": "dongboklee/<set>_<model>_test",
    "processbench": "Qwen/ProcessBench",
    "prmbench": "hitsmy/PRMBench_Preview",
    "rewardbench2": "allenai/reward-bench-2",
    "rewardmath": "RewardMATH/RewardMATH_direct",
    "rmbench": "THU-KEG/RM-Bench",
}
"""Where the data is published on the Hugging Face hub; download a file of it and give its path."""
_DIRECT = {"problem": str, "eval_solution": (list, str), "solution_type": str}
_PAIRS = {
    "pair_id": (str, int),
    "source": str,
    "question": str,
    "response_A": str,
    "response_B": str,
    "label": str,
}


def check_name(name: str) -> str:
    """The benchmark's name; RecipeError with the nearest one where there is none."""
    if name not in BENCHMARKS:
        raise RecipeError(f"unknown benchmark {name!r}{nearest(name, BENCHMARKS)}")
    return name


def evaluate_saved(
    name: str,
    data: Path | None = None,
    scores: Path | None = None,
    verdicts: Path | None = None,
    predictions: Path | None = None,
    options: Mapping[str, Any] | None = None,
) -> Report:
    """The report of saved outputs.

    Args:
        name: of the benchmark.
        data: its file, where the outputs do not hold all that is needed.
        scores, verdicts, predictions: exactly one of them.
        options: threshold, tune_on (processbench, prmbench), verifier, aggregation, sizes, runs (multi-rm).

    Raises:
        RecipeError: unknown benchmark or option, or outputs it does not take. DataError: see the readers.
    """
    given = {"scores": scores, "verdicts": verdicts, "predictions": predictions}
    kinds = [kind for kind, path in given.items() if path is not None]
    table = _saved()[check_name(name)]
    if len(kinds) != 1 or kinds[0] not in table:
        wanted = " or ".join(f"--{kind} FILE" for kind in table)
        got = " and ".join(f"--{kind}" for kind in kinds) or "none"
        raise RecipeError(
            f"{name} takes saved outputs as {wanted} (got {got}), or a candidate as --reward NAME"
        )
    needs_data, function, allowed = table[kinds[0]]
    if needs_data and data is None:
        raise RecipeError(
            f"{name} --{kinds[0]} needs --data FILE, the benchmark's own file (hub: {HUBS[name]})"
        )
    settings = dict(options or {})
    for key in settings:
        if key not in allowed:
            raise RecipeError(f"{name}: unknown option {key!r}{nearest(key, allowed)}")
    path = given[kinds[0]]
    return function(*([data, path] if needs_data is not None else [path]), **settings)


def _saved() -> dict[str, dict[str, tuple[bool | None, Callable[..., Report], tuple[str, ...]]]]:
    """benchmark -> kind of outputs -> (data needed, or None: not taken; reader; options)."""
    swept = ("threshold", "tune_on")
    return {
        "judgebench": {"verdicts": (None, judgebench.evaluate_verdicts, ())},
        "multi-rm": {
            "scores": (
                True,
                multi_rm.evaluate_rewards,
                ("verifier", "aggregation", "sizes", "runs", "seed"),
            )
        },
        "processbench": {
            "predictions": (True, processbench.evaluate_predictions, ()),
            "scores": (True, processbench.evaluate_scores, swept),
        },
        "prmbench": {"scores": (True, prmbench.evaluate_scores, ("threshold",))},
        "rewardbench2": {"scores": (True, rewardbench2.evaluate_scores, ())},
        "rewardmath": {"scores": (None, rewardmath.evaluate_scores, ())},
        "rmbench": {"scores": (False, rmbench.evaluate_scores, ())},
    }


def evaluate_candidate(
    name: str,
    data: Path,
    reward: Any,
    options: Mapping[str, Any] | None = None,
    watch: Callable[[int], Watch] | None = None,
) -> Report:
    """The report of a reward asked afresh.

    ProcessBench and PRMBench need a reward with one value per step; the others one value per answer.

    Args:
        watch: given the number of texts, returns what is told of progress.

    Raises:
        DataError: the file does not have the benchmark's fields, or the reward gives values at another level.
    """
    ask = {
        "judgebench": _judgebench,
        "processbench": _processbench,
        "prmbench": _prmbench,
        "rewardbench2": _rewardbench2,
        "rewardmath": _rewardmath,
        "rmbench": _rmbench,
    }
    if check_name(name) not in ask:
        raise RecipeError(f"{name} evaluates saved rewards only: give --scores FILE")
    causes: Counter[str] = Counter()
    report = ask[name](data, reward, dict(options or {}), watch, causes)
    report.notes += [f"{count} not scored: {cause}" for cause, count in causes.most_common()]
    return report


def _begin(watch: Callable[[int], Watch] | None, total: int) -> Watch | None:
    return None if watch is None else watch(total)


def _processbench(
    data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]
) -> Report:
    rows = processbench.load(data)
    scores = score_steps(
        reward, [r["problem"] for r in rows], [r["steps"] for r in rows], _begin(watch, len(rows)), causes
    )
    return processbench.score_report(rows, scores, float(options.get("threshold", 0.5)))


def _prmbench(data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]) -> Report:
    rows = prmbench.load(data)
    problems = [r.get("modified_question") or r.get("question") or "" for r in rows]
    steps = [r["modified_process"] for r in rows]
    scores = score_steps(reward, problems, steps, _begin(watch, len(rows)), causes)
    return prmbench.report(rows, scores, float(options.get("threshold", 0.5)))


def _rmbench(data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]) -> Report:
    rows = rmbench.load(data)
    texts = [text for r in rows for text in (*r["chosen"], *r["rejected"])]
    scores = _score_rows(reward, [r["prompt"] for r in rows], texts, 6, watch, causes)
    return rmbench.report(rows, list(scores.reshape(-1, 2, 3)))


def _rewardbench2(
    data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]
) -> Report:
    rows = rewardbench2.load(data)
    lists = [[*r["chosen"], *r["rejected"]] for r in rows]
    group = np.repeat(np.arange(len(rows)), [len(texts) for texts in lists])
    prompts = [rows[g]["prompt"] for g in group.tolist()]
    texts = [text for some in lists for text in some]
    scores = score_texts(reward, prompts, texts, None, group, _begin(watch, len(texts)), causes)
    return rewardbench2.report(
        rows, [part.tolist() for part in np.split(scores, np.cumsum([len(some) for some in lists])[:-1])]
    )


def _judgebench(data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]) -> Report:
    rows = read_rows(
        data, _PAIRS, "JudgeBench pairs {pair_id, source, question, response_A, response_B, label}"
    )
    unique(rows, "pair_id", data)
    texts = [text for r in rows for text in (r["response_A"], r["response_B"])]
    scores = _score_rows(reward, [r["question"] for r in rows], texts, 2, watch, causes).reshape(-1, 2)
    decided: list[tuple[str | None, str | None]] = []
    for pair in scores.tolist():
        known = not np.isnan(pair).any()
        first = judgebench.decision_of(pair) if known else None
        second = judgebench.flip(judgebench.decision_of(pair[::-1])) if known else None
        decided.append((first, second))
    return judgebench.report(rows, decided)


def _rewardmath(data: Path, reward: Any, options: dict[str, Any], watch: Any, causes: Counter[str]) -> Report:
    rows = read_rows(data, _DIRECT, "RewardMATH direct {problem, eval_solution, solution_type, answer}")
    problems = list(dict.fromkeys(r["problem"] for r in rows))
    place = {problem: at for at, problem in enumerate(problems)}
    rows.sort(key=lambda r: place[r["problem"]])
    group = [place[r["problem"]] for r in rows]
    texts = [s if isinstance(s, str) else "\n\n".join(s) for s in (r["eval_solution"] for r in rows)]
    references = [r.get("answer") for r in rows]
    prompts = [r["problem"] for r in rows]
    scores = score_texts(reward, prompts, texts, references, group, _begin(watch, len(rows)), causes)
    sides: list[tuple[list[float], list[float]]] = [([], []) for _ in problems]
    for row, at, value in zip(rows, group, scores.tolist(), strict=True):
        sides[at][row["solution_type"] != "chosen"].append(value)
    pairs = [(min(chosen) if chosen else float("nan"), rejected) for chosen, rejected in sides]
    return rewardmath.report([str(at) for at in range(len(problems))], {"normal": pairs})


def _score_rows(
    reward: Any, prompts: list[str], texts: list[str], per_row: int, watch: Any, causes: Counter[str]
) -> np.ndarray:
    """Scores of `per_row` texts for every prompt, flat."""
    group = np.repeat(np.arange(len(prompts)), per_row)
    spread = [prompts[g] for g in group.tolist()]
    return score_texts(reward, spread, texts, None, group, _begin(watch, len(texts)), causes)
