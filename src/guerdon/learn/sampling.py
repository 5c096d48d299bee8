"""Problems to rollouts that carry everything a checker and a credit method read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.spans import split
from guerdon.engines.protocol import Sampling


def sample(engine: Any, task: Any, problems: Sequence[Any], draws: int, sampling: Sampling) -> Rollouts:
    """`draws` completions of every problem, with references, meta and (where the task has them) steps.

    Returns:
        rollouts ordered problem by problem; `group` is the index of the problem.
    """
    rollouts = engine.generate([problem.prompt for problem in problems], n=draws, sampling=sampling)
    rollouts = rollouts.replace(
        reference=[problems[g].reference for g in rollouts.group],
        meta=[problems[g].meta for g in rollouts.group],
    )
    return attach_steps(rollouts, task, engine.tokenizer) if task.has_steps else rollouts


def attach_steps(rollouts: Rollouts, task: Any, tokenizer: Any) -> Rollouts:
    """Add the task's step partition."""
    return split(rollouts, by=task.split_steps, level="step", tokenizer=tokenizer)


def behaviour_entropy(rollouts: Rollouts) -> float:
    """Mean -log prob of the chosen tokens: an unbiased estimate of the sampling policy's entropy."""
    if rollouts.logprobs is None or rollouts.acted is None or not rollouts.acted.values.any():
        return float("nan")
    return float(-np.mean(rollouts.logprobs.values[rollouts.acted.values], dtype=np.float64))


def drop_acted(rollouts: Rollouts, rows: np.ndarray) -> Rollouts:
    """Mark all tokens of the given rollouts as not chosen: they leave losses and token statistics."""
    assert rollouts.acted is not None
    keep = ~rows[rollouts.acted.row_ids()]
    return rollouts.replace(acted=Ragged(rollouts.acted.values & keep, rollouts.acted.offsets))
