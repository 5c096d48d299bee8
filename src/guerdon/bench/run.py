"""One entry for all benchmarks: saved outputs or a candidate in, a report out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from guerdon.bench import judgebench, multi_rm, prmbench, processbench, rewardbench2, rewardmath, rmbench
from guerdon.bench.asking import ASKED, Asking
from guerdon.bench.candidates import Watch
from guerdon.bench.report import Report
from guerdon.errors import RecipeError
from guerdon.registry import nearest

BENCHMARKS = ("judgebench", "multi-rm", "processbench", "prmbench", "rewardbench2", "rewardmath", "rmbench")
"""Names `guerdon bench` knows."""
HUBS = {
    "judgebench": "hub:ScalerLab/JudgeBench@gpt",
    "multi-rm": "hub:dongboklee/<set>_<model>_test@<category>",
    "processbench": "hub:Qwen/ProcessBench@gsm8k+math+olympiadbench+omnimath",
    "prmbench": "hub:hitsmy/PRMBench_Preview",
    "rewardbench2": "hub:allenai/reward-bench-2@test",
    "rewardmath": "hub:RewardMATH/RewardMATH_direct",
    "rmbench": "hub:THU-KEG/RM-Bench",
}
"""Where the data is published on the Hugging Face hub, as `--data` takes it; a file does, too."""


def check_name(name: str) -> str:
    """The benchmark's name; RecipeError with the nearest one where there is none."""
    if name not in BENCHMARKS:
        raise RecipeError(f"unknown benchmark {name!r}{nearest(name, BENCHMARKS)}")
    return name


def options_of(name: str) -> tuple[str, ...]:
    """Options of a benchmark when a candidate is asked; all other settings are the candidate's own."""
    return ASKED[name][1]


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
            f"{name} --{kinds[0]} needs --data FILE, the benchmark's own file, or --data {HUBS[name]}"
        )
    settings = dict(options or {})
    for key in settings:
        if key not in allowed:
            raise RecipeError(f"{name}: unknown option {key!r}{nearest(key, allowed)}")
    path = given[kinds[0]]
    return function(*([data, path] if needs_data is not None else [path]), **settings)


def _saved() -> dict[str, dict[str, tuple[bool | None, Callable[..., Report], tuple[str, ...]]]]:
    """benchmark -> kind of outputs -> (data needed, or None: not taken; reader; options)."""
    swept = ("threshold", "tune_on", "sweep")
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

    ProcessBench and PRMBench need a reward with one value per step; the others one value per answer
    (multi-rm takes either). A pairwise judge answers JudgeBench and RewardMATH in both orders, a critic
    ProcessBench.

    Args:
        options: threshold (processbench, prmbench), tune_on, sweep (processbench), aggregation (rewardmath),
            verifier, aggregation, sizes, runs, seed (multi-rm).
        watch: given the number of texts, returns what is told of progress.

    Raises:
        DataError: the file does not have the benchmark's fields, or the reward gives values at another level.
    """
    ask, allowed = ASKED[check_name(name)]
    settings = dict(options or {})
    for key in settings:
        if key not in allowed:
            raise RecipeError(f"{name}: unknown option {key!r}{nearest(key, allowed)}")
    causes: Counter[str] = Counter()
    report = ask(Asking(data, reward, watch, causes), **settings)
    report.notes += [f"{count} not scored: {cause}" for cause, count in causes.most_common()]
    return report
