"""Supervised warm start: teach a policy a task's worked solutions to a mediocre level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError
from guerdon.learn.episodes import from_transcripts
from guerdon.tasks.worlds import World


def warm_start(
    engine: Any,
    task: Any,
    steps: int,
    batch: int = 64,
    lr: float = 2e-3,
    seed: int = 0,
    warmup_steps: int = 20,
    until: Callable[[int], bool] | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Minimise -mean log pi(solution token | prompt, before) on fresh training problems.

    Args:
        task: its problems must carry a worked `solution`.
        steps: updates of `batch` problems each, at most.
        lr: constant after a linear warm-up over `warmup_steps`.
        until: asked after every update (with their number so far); True ends the warm start.
        progress: called with the step (from 1) and its loss.

    Returns:
        The loss of every step, nats per token.

    Raises:
        DataError: the task has no worked solutions.
    """
    losses: list[float] = []
    for step in range(steps):
        problems = task.problems("train", batch, seed=seed, start=step * batch)
        if any(problem.solution is None for problem in problems):
            raise DataError(f"the task {task.name!r} has no worked solutions to warm-start from")
        rollouts = _worked(engine, task, problems)
        rate = lr * min(1.0, (step + 1) / max(warmup_steps, 1))
        losses.append(engine.train_step(rollouts, _nll(rollouts), lr=rate, entropy=False)["loss"])
        if progress is not None:
            progress(step + 1, losses[-1])
        if until is not None and until(step + 1):
            break
    return losses


def _worked(engine: Any, task: Any, problems: Sequence[Any]) -> Rollouts:
    """The worked solutions; of a world's transcripts only the actions are to be learnt."""
    solutions = [problem.solution for problem in problems]
    if isinstance(task, World):
        return from_transcripts(task, problems, solutions, engine.tokenizer)
    return engine.rollouts_from_text([problem.prompt for problem in problems], solutions)


def _nll(rollouts: Rollouts) -> Callable[[Any, np.ndarray], tuple[torch.Tensor, dict[str, Any]]]:
    """-mean log-prob over all chosen tokens of the batch, summed over micro-batches."""
    assert rollouts.tokens is not None and rollouts.acted is not None
    tokens, acted = rollouts.tokens, rollouts.acted.values
    total = max(int(acted.sum()), 1)

    def loss(stats: Any, rows: np.ndarray) -> tuple[torch.Tensor, dict[str, Any]]:
        if rollouts.all_acted:
            return -stats.logprobs.sum() / total, {}
        chosen = torch.from_numpy(acted[tokens.positions(rows)]).to(stats.logprobs.device)
        return -stats.logprobs[chosen].sum() / total, {}

    return loss
