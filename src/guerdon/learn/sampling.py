"""Problems to rollouts that carry everything a checker and a credit method read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from guerdon.data.ragged import Ragged
from guerdon.data.rollouts import Rollouts
from guerdon.data.spans import split
from guerdon.engines.protocol import Sampling
from guerdon.errors import RecipeError
from guerdon.learn.branching import Branch
from guerdon.learn.growing import grow_completions, grow_episodes
from guerdon.learn.turns import play
from guerdon.tasks.worlds import World


def sample(
    engine: Any,
    task: Any,
    problems: Sequence[Any],
    draws: int,
    sampling: Sampling,
    turns: int | None = None,
    branch: Branch | None = None,
) -> Rollouts:
    """`draws` rollouts of every problem, with references, meta and (where the task has them) steps.

    Args:
        task: a world is played in turns, any other task is answered in one.
        turns: most turns of an episode; default: the world's own limit.
        branch: grow trees with `draws` leaves per problem.

    Returns:
        rollouts ordered problem by problem; `group` is the index of the problem.

    Raises:
        RecipeError: `turns` for a task that has none, `branch` for one without steps.
    """
    if isinstance(task, World):
        if branch is not None:
            return grow_episodes(engine, task, problems, draws, sampling, branch, turns)
        return play(engine, task, problems, draws, sampling, turns)
    check_sampler(task, turns, branch)
    prompts = [problem.prompt for problem in problems]
    if branch is None:
        rollouts = _with_truth(engine.generate(prompts, n=draws, sampling=sampling), problems)
        return attach_steps(rollouts, task, engine.tokenizer) if task.has_steps else rollouts
    steps = lambda rollouts: attach_steps(rollouts, task, engine.tokenizer)  # noqa: E731
    return _with_truth(grow_completions(engine, prompts, draws, sampling, branch, steps), problems)


def check_sampler(task: Any, turns: int | None, branch: Branch | None) -> None:
    """Refuse settings that the task cannot honour.

    Raises:
        RecipeError: see `sample`.
    """
    if isinstance(task, World):
        return
    if turns is not None:
        raise RecipeError(f"sampler.turns: the task {task.name!r} is answered in one turn; leave it out")
    if branch is not None and not task.has_steps:
        raise RecipeError(f"sampler.branch: the task {task.name!r} has no steps to fork at; leave it out")


def longest(task: Any, max_new_tokens: int, turns: int | None = None) -> int:
    """Most tokens the policy can choose in one rollout."""
    return max_new_tokens * ((turns or task.max_turns) if isinstance(task, World) else 1)


def _with_truth(rollouts: Rollouts, problems: Sequence[Any]) -> Rollouts:
    return rollouts.replace(
        reference=[problems[g].reference for g in rollouts.group],
        meta=[problems[g].meta for g in rollouts.group],
    )


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
