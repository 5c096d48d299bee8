"""Supervised warm start: teach a policy a task's worked solutions to a mediocre level."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from guerdon.data.rollouts import Rollouts
from guerdon.errors import DataError


def warm_start(
    engine: Any,
    task: Any,
    steps: int,
    batch: int = 64,
    lr: float = 3e-3,
    seed: int = 0,
    warmup_steps: int = 20,
    progress: Callable[[int, float], None] | None = None,
) -> list[float]:
    """Minimise -mean log pi(solution token | prompt, before) on fresh training problems.

    Linear warm-up, then cosine decay to a tenth of `lr`.

    Args:
        task: its problems must carry a worked `solution`.
        steps: updates of `batch` problems each.
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
        rollouts = engine.rollouts_from_text([p.prompt for p in problems], [p.solution for p in problems])
        left = (step - warmup_steps) / max(steps - warmup_steps, 1)
        rate = (step + 1) / warmup_steps if step < warmup_steps else 0.55 + 0.45 * np.cos(np.pi * left)
        result = engine.train_step(rollouts, _nll(rollouts), lr=lr * float(rate))
        losses.append(result["loss"])
        if progress is not None:
            progress(step + 1, losses[-1])
    return losses


def _nll(rollouts: Rollouts) -> Callable[[Any, np.ndarray], tuple[torch.Tensor, dict[str, Any]]]:
    """-mean log-prob over all tokens of the batch, summed over micro-batches."""
    assert rollouts.tokens is not None
    total = rollouts.tokens.total

    def loss(stats: Any, rows: np.ndarray) -> tuple[torch.Tensor, dict[str, Any]]:
        return -stats.logprobs.sum() / total, {}

    return loss
