"""Byte-level models that learn from a self-reward: a start, a loop, measures, and the watch for collapse.

Enters: problems, a reward. Leaves: a curve, and what the watch saw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.engines.protocol import Sampling
from guerdon.intrinsic.collapse import CollapseWatch, collapse_metrics
from guerdon.learn.objective import KL, Objective
from guerdon.learn.signals import keep_advantage
from guerdon.learn.update import update
from guerdon.tasks.base import Problem

Problems = Callable[[int], Sequence[Problem]]
Rule = Callable[[Rollouts, Context], np.ndarray]
Measure = Callable[[Any], float]


def lab(seed: int, context: int = 64, dim: int = 64, layers: int = 2) -> Any:
    """An untrained model of the size all these experiments have."""
    from guerdon.engines.lab import LabEngine

    return LabEngine(dim=dim, layers=layers, heads=4, context=context, device="cpu", seed=seed)


def copy_of(engine: Any) -> Any:
    """A model that starts where another is, with an optimiser of its own."""
    return engine.clone(frozen=False)


def imitate(
    engine: Any,
    texts: Callable[[np.random.Generator], Sequence[tuple[str, str]]],
    steps: int,
    seed: int,
    lr: float = 2e-3,
    warmup: int = 20,
) -> Any:
    """Train a model on pairs (prompt, completion), a fresh batch per step; returns it."""
    rng = np.random.default_rng([seed, 5])
    for step in range(steps):
        prompts, completions = zip(*texts(rng), strict=True)
        rollouts = engine.rollouts_from_text(prompts, completions)
        total = max(rollouts.tokens.total, 1)

        def loss(stats: Any, rows: np.ndarray, total: int = total) -> tuple[Any, Mapping[str, float]]:
            return -stats.logprobs.sum() / total, {}

        engine.train_step(rollouts, loss, lr=lr * min(1.0, (step + 1) / warmup), entropy=False)
    return engine


@dataclass(frozen=True)
class Loop:
    """How a model learns from a reward.

    Attributes:
        steps, group, tokens: updates, samples per prompt, longest completion.
        lr: AdamW's, constant.
        every: updates between two measurements.
        credit: rollouts with the signal `outcome` -> advantages; default GRPO's.
        temperature: of the samples.
        kl: price of the distance to the first model (k3, in the loss).
    """

    steps: int
    group: int
    tokens: int
    lr: float
    every: int = 10
    credit: Any = None
    temperature: float = 1.0
    kl: float = 0.0

    def short(self) -> Loop:
        """Two updates, for tests."""
        return replace(self, steps=2, every=1)


@dataclass(frozen=True)
class Learned:
    """The measure before, during and after training, and what the watch saw."""

    curve: list[float]
    watched: dict[str, float]

    def measured(self, value: float, **more: float) -> dict[str, Any]:
        """The entry of a run."""
        return {"value": value, "curve": [round(v, 5) for v in self.curve], **self.watched, **more}


def learn(
    engine: Any,
    problems: Problems,
    reward: Any,
    truth: Rule,
    loop: Loop,
    seed: int,
    measure: Measure,
    answer: Callable[[str], str | None],
    equal: Any = None,
) -> Learned:
    """Policy gradient on a self-reward; the truth is looked at and never learned from.

    Args:
        problems: step -> this step's problems; a group of samples each.
        reward: (rollouts, context) -> signal per rollout.
        truth: (rollouts, context) -> 0 or 1 per rollout, for the watch.
        measure: engine -> the number of the curve.
        answer: finds the answer in a completion, for the watch.
    """
    credit, objective = loop.credit or grpo(), Objective(kl=KL(coef=loop.kl))
    first = engine.clone() if loop.kl else None
    watch, seen = CollapseWatch(), []
    curve, warned = [measure(engine)], 0.0
    for step in range(loop.steps):
        ctx = Context(
            progress=step / loop.steps,
            step=step,
            rng=np.random.default_rng([seed, step]),
            engines={"policy": engine},
        )
        rollouts = drawn(
            engine, problems(step), loop.group, loop.tokens, seed * 100_003 + step, loop.temperature
        )
        if first is not None:
            rollouts = rollouts.replace(ref_logprobs=first.logprobs(rollouts, loop.temperature))
        told: Signal = reward(rollouts, ctx).renamed("outcome")
        metrics = collapse_metrics(
            told.values,
            truth(rollouts, ctx),
            [answer(rollouts.text(i)) for i in range(len(rollouts))],
            rollouts,
            equal,
        )
        seen.append(metrics)
        warned = max(warned, float(watch.add(metrics) is not None))
        scored = rollouts.with_signal(told)
        advantage = credit(scored, scored.signals, ctx)
        learnt = keep_advantage(scored, advantage)
        rng = np.random.default_rng([seed, step, 1])
        update(engine, learnt, objective, rng, loop.lr, temperature=loop.temperature)
        if (step + 1) % loop.every == 0 or step + 1 == loop.steps:
            curve.append(measure(engine))
    return Learned(curve, {**_ends(seen), "collapse warned": warned})


def drawn(
    engine: Any,
    problems: Sequence[Problem],
    group: int,
    tokens: int,
    seed: int,
    temperature: float = 1.0,
) -> Rollouts:
    """`group` samples of every problem, with its reference and meta."""
    limits = Sampling(tokens, temperature=temperature, seed=seed)
    rollouts = engine.generate([p.prompt for p in problems], n=group, sampling=limits)
    at = rollouts.group.tolist()
    return rollouts.replace(
        reference=[problems[g].reference for g in at], meta=[dict(problems[g].meta) for g in at]
    )


def greedy(engine: Any, problems: Sequence[Problem], tokens: int) -> Rollouts:
    """The most likely completion of every problem."""
    return drawn(engine, problems, 1, tokens, 0, temperature=0.0)


def chance_of(engine: Any, prompts: Sequence[str], completions: Sequence[str]) -> np.ndarray:
    """exp(sum of log-probs) of given completions with their end, float64 (N,)."""
    rollouts = engine.rollouts_from_text(prompts, completions)
    found = engine.logprobs(rollouts)
    return np.exp(np.add.reduceat(found.values.astype(np.float64), found.offsets[:-1]))


def _ends(seen: Sequence[Mapping[str, float]], window: int = 5) -> dict[str, float]:
    """Every metric of the watch over the first and the last steps."""
    out = {}
    for name in ("reward", "truth", "agreement", "entropy", "diversity"):
        path = [metrics[f"collapse/{name}"] for metrics in seen]
        out[f"{name} first"] = round(float(np.mean(path[:window])), 4)
        out[f"{name} last"] = round(float(np.mean(path[-window:])), 4)
    return out
