"""Spurious rewards: what a policy learns when the reward is noise, or the wrong way round.

`Corrupted(task)` draws the task's problems and checks answers honestly (`check`, `check_steps`), but its
`outcome`, the reward a policy is trained on, is corrupted. Missing values stay missing.

Reference: Wu et al., Reasoning or Memorization? Unreliable Results of Reinforcement Learning Due to Data
Contamination, arXiv 2507.10532.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np

from guerdon.data.signal import Signal
from guerdon.tasks.base import Problem, Task, stable_seed

if TYPE_CHECKING:
    from guerdon.context import Context
    from guerdon.data.rollouts import Rollouts


def inverted(signal: Signal) -> Signal:
    """`1 - r` for every value r."""
    return Signal(1.0 - signal.values, signal.level, signal.name, signal.causes)


def bernoulli(signal: Signal, p: float = 0.5, seed: int = 0, step: int = 0) -> Signal:
    """1 with probability p, else 0, whatever the value was; a function of (seed, step, position) only."""
    noise = np.random.Generator(np.random.Philox(stable_seed("bernoulli", seed, step))).random(len(signal))
    values = np.where(np.isnan(signal.values), np.nan, noise < p)
    return Signal(values, signal.level, signal.name, signal.causes)


@dataclass(frozen=True)
class Corrupted(Task):
    """A task whose reward is corrupted and whose checks are honest.

    Args:
        task: the task to corrupt.
        how: "random" (Bernoulli(p)) or "inverted" (1 - r).
        p: probability of reward 1 under "random".
        seed: seed of the noise; the update's number (`ctx.step`) enters too.
    """

    task: Task
    how: str = "random"
    p: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.how not in ("random", "inverted"):
            raise ValueError(f"how must be 'random' or 'inverted', got {self.how!r}")
        if not 0.0 <= self.p <= 1.0:
            raise ValueError(f"p must lie in [0, 1], got {self.p}")

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"{self.how}_{self.task.name}"

    @property
    def has_steps(self) -> bool:  # type: ignore[override]
        return self.task.has_steps

    def outcome(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        honest = self.task.outcome(rollouts, ctx)
        if self.how == "inverted":
            return inverted(honest)
        return bernoulli(honest, self.p, self.seed, ctx.step if ctx is not None else 0)

    def problems(self, split: str, n: int, seed: int = 0, start: int = 0) -> list[Problem]:
        return self.task.problems(split, n, seed, start)

    def draw(self, rng: Random) -> Problem:
        return self.task.draw(rng)

    def key(self, problem: Problem) -> str:
        return self.task.key(problem)

    def grade(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> float:
        return self.task.grade(completion, reference, meta)

    def split_steps(self, completion: str) -> list[int]:
        return self.task.split_steps(completion)

    def grade_steps(self, completion: str, reference: Any, meta: Mapping[str, Any]) -> list[float]:
        return self.task.grade_steps(completion, reference, meta)

    def steps(self, rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return self.task.steps(rollouts, ctx)
