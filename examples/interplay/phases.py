"""The three phases and the measurement: pre-training, mid-training, RL; verified pass@k.

Cost is counted in token passes of supervised training (6 flops per parameter); a sampled token costs a third.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from world import Mix, Phrases, Quantities

from guerdon import credit
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.lab import LabEngine
from guerdon.engines.protocol import Sampling
from guerdon.learn import warm_start
from guerdon.learn.objective import ppo
from guerdon.learn.sampling import sample
from guerdon.learn.statistics import pass_at_k
from guerdon.learn.update import update
from guerdon.registry import build

REWARDS = {
    "process": {"use": "interplay-lab"},
    "strict": {"use": "interplay-lab", "strict": True},
    "outcome": {"use": "interplay-lab", "answer_weight": 1.0, "process_weight": 0.0},
}
KNOWN, EDGE, NEXT, HARD = (1, 3), (4, 5), (6, 6), (7, 8)
TAIL = {(1, 3): 0.80, (4, 4): 0.10, (5, 5): 0.06, (6, 6): 0.04}
"""Shares of operations in pre-training: hard problems are rare, 7 and 8 operations never occur."""


@dataclass(frozen=True)
class Scale:
    """How much of everything."""

    dim: int = 64
    layers: int = 2
    pretrain: tuple[tuple[int, float], ...] = ((700, 3e-3), (150, 6e-4))
    documents: int = 32
    rl_steps: int = 80
    rl_rate: float = 2e-4
    prompts: int = 16
    group: int = 8
    problems: int = 50
    k: int = 16


def pretrained(scale: Scale, seed: int, exposure: float = 0.0) -> LabEngine:
    """A model taught zoo problems with a long tail; a share `exposure` is of the school, known operations."""
    shape = {"dim": scale.dim, "layers": scale.layers, "heads": 4, "context": 96}
    engine = LabEngine(**shape, device="cpu", tokenizer=Phrases(), seed=seed)
    tasks = [Quantities(operations) for operations in TAIL] + [Quantities(KNOWN, "school")]
    mix = Mix(tasks, [(1 - exposure) * share for share in TAIL.values()] + [exposure])
    for phase, (steps, rate) in enumerate(scale.pretrain):
        warm_start(engine, mix, steps, batch=scale.documents, lr=rate, seed=2 * seed + phase)
    return engine


def midtrain(engine: LabEngine, task: Any, budget: float, scale: Scale, seed: int) -> float:
    """Supervised training on worked solutions until the budget is spent; returns what it cost."""
    problems = task.problems("train", scale.documents, seed=seed)
    texts = [problem.prompt + (problem.solution or "") for problem in problems]
    per_step = float(sum(len(engine.tokenizer.encode(text)) for text in texts))
    steps = max(int(budget / per_step), 1)
    warm_start(engine, task, steps, batch=scale.documents, lr=6e-4, seed=seed + 500)
    return steps * per_step


def reinforce(
    engine: LabEngine, task: Any, scale: Scale, seed: int, reward: str = "process", budget: float = 0.0
) -> float:
    """GRPO for `scale.rl_steps`, or until the budget is spent; returns what it cost."""
    score, method, objective = build("reward", dict(REWARDS[reward])), credit.grpo(), ppo()
    spent, step = 0.0, 0
    while step < scale.rl_steps if not budget else spent < budget:
        problems = task.problems("train", scale.prompts, seed=seed + 1000, start=step * scale.prompts)
        rollouts = draw(engine, task, problems, scale.group, seed * 100_003 + step)
        told = Signal(score(rollouts).values, "rollout", "outcome")
        advantages = method(rollouts.with_signal(told)).values
        learnt = rollouts.replace(advantages=rollouts.tokens.with_values(advantages))
        update(engine, learnt, objective, np.random.default_rng([seed, step]), lr=scale.rl_rate)
        asked = sum(len(engine.tokenizer.encode(problem.prompt)) for problem in problems)
        said = rollouts.tokens.total
        spent += scale.group * asked + said + (asked + said) / 3
        step += 1
    return spent


def draw(engine: LabEngine, task: Any, problems: Sequence[Any], n: int, seed: int) -> Rollouts:
    """Completions at temperature 1."""
    longest = max(problem.meta["operations"] for problem in problems)
    limits = Sampling(max_new_tokens=4 * longest + 12, temperature=1.0, seed=seed)
    return sample(engine, task, problems, n, limits)


def measured(engine: LabEngine, task: Any, scale: Scale) -> dict[str, float]:
    """On unseen problems, in per cent: right answers, verified ones (the graph is right too) as pass@1 and
    pass@k, the share of right answers over a wrong graph, and the mean process score of all completions."""
    n, k = scale.problems, scale.k
    rollouts = draw(engine, task, task.problems("test", n), k, 0)
    _, parts = build("reward", {"use": "interplay-lab"}).explain(rollouts)
    right = parts["outcome"].values
    verified = right * (parts["mismatches"].values == 0)
    at_k = pass_at_k(np.full(n, k), verified.reshape(n, k).sum(1).astype(np.int64), k)
    return {
        "right": 100 * float(right.mean()),
        "pass@1": 100 * float(verified.mean()),
        f"pass@{k}": 100 * float(at_k.mean()),
        "invalid": 100 * float((right - verified).sum() / right.sum()) if right.any() else float("nan"),
        "process": 100 * float(parts["process"].values.mean()),
    }
