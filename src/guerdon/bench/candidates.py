"""How a benchmark asks a candidate: any `Reward` scores texts or their steps.

Enters: a reward and the benchmark's texts. Leaves: plain numbers in the benchmark's order, NaN where the
reward could not score, and the causes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError

SEPARATOR = "\n\n"
_CHUNK = 256
Watch = Callable[[int], None]


def score_texts(
    reward: Any,
    prompts: Sequence[Any],
    completions: Sequence[str],
    references: Sequence[Any] | None = None,
    group: Sequence[int] | np.ndarray | None = None,
    watch: Watch | None = None,
    causes: Counter[str] | None = None,
) -> np.ndarray:
    """One number per completion, float64 (n,).

    Args:
        reward: returns one value per rollout.
        group: which completions share a prompt; whole groups are scored together.
        watch: told how many were scored, after every chunk.
        causes: counts why values are missing.

    Raises:
        DataError: the reward returns values at another level.
    """
    labels = np.arange(len(prompts)) if group is None else np.asarray(group, np.int64)
    ends = np.flatnonzero(np.diff(labels, append=np.nan)) + 1
    out = np.full(len(prompts), np.nan)
    start = 0
    while start < len(prompts):
        after = ends[np.searchsorted(ends, min(start + _CHUNK, len(prompts)))]
        rows = slice(start, int(after))
        rollouts = Rollouts(
            prompt=list(prompts[rows]),
            completion=list(completions[rows]),
            group=labels[rows],
            reference=None if references is None else list(references[rows]),
        )
        signal = reward(rollouts)
        if signal.level != "rollout":
            raise DataError(
                f"the benchmark needs one value per answer; the reward gives one per {signal.level}"
            )
        out[rows] = signal.values
        _note(causes, signal)
        start = rows.stop
        if watch is not None:
            watch(rows.stop - rows.start)
    return out


def score_steps(
    reward: Any,
    problems: Sequence[str],
    solutions: Sequence[Sequence[str]],
    watch: Watch | None = None,
    causes: Counter[str] | None = None,
) -> list[list[float]]:
    """One number per step of every solution.

    The completion is the steps joined by blank lines; the partition `step` cuts it there.

    Args:
        reward: returns one value per step.

    Raises:
        DataError: the reward returns values at another level.
    """
    out: list[list[float]] = []
    for start in range(0, len(problems), _CHUNK):
        part = [list(steps) for steps in solutions[start : start + _CHUNK]]
        rollouts = with_steps(problems[start : start + _CHUNK], part)
        signal = reward(rollouts)
        if signal.level != "step":
            raise DataError(
                f"the benchmark needs one value per step; the reward gives one per {signal.level}"
            )
        out += [part.tolist() for part in np.split(signal.values, rollouts.offsets("step")[1:-1])]
        _note(causes, signal)
        if watch is not None:
            watch(len(part))
    return out


def score_either(
    reward: Any,
    problems: Sequence[str],
    solutions: Sequence[Sequence[str]],
    group: Sequence[int] | np.ndarray,
    watch: Watch | None = None,
    causes: Counter[str] | None = None,
) -> list[list[float]]:
    """One number per solution, or one per step where the reward gives those, as a list per solution.

    Args:
        group: which solutions answer the same problem, in order; whole groups are scored together.

    Raises:
        DataError: the reward returns values at another level.
    """
    labels, out, start = np.asarray(group, np.int64), [], 0
    ends = np.flatnonzero(np.diff(labels, append=np.nan)) + 1
    while start < len(problems):
        stop = int(ends[np.searchsorted(ends, min(start + _CHUNK, len(problems)))])
        rows = slice(start, stop)
        rollouts = with_steps(problems[rows], solutions[rows]).replace(group=labels[rows])
        signal = reward(rollouts)
        if signal.level not in ("rollout", "step"):
            raise DataError(
                f"the benchmark needs one value per answer or step; the reward gives one per {signal.level}"
            )
        out += [part.tolist() for part in np.split(signal.values, rollouts.offsets(signal.level)[1:-1])]
        _note(causes, signal)
        start = stop
        if watch is not None:
            watch(rows.stop - rows.start)
    return out


def with_steps(problems: Sequence[str], solutions: Sequence[Sequence[str]]) -> Rollouts:
    """Text rollouts whose partition `step` (character end offsets) follows the given steps."""
    texts, ends = [], []
    for steps in solutions:
        pieces = [step + SEPARATOR for step in steps[:-1]] + list(steps[-1:])
        texts.append("".join(pieces))
        ends.append(np.cumsum([len(piece) for piece in pieces], dtype=np.int64))
    return Rollouts(
        prompt=list(problems), completion=texts, partitions={"step": Ragged.from_lists(ends, dtype=np.int64)}
    )


def _note(causes: Counter[str] | None, signal: Any) -> None:
    if causes is not None:
        causes.update(signal.causes.values())
