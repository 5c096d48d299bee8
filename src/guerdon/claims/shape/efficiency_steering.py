"""Self-rewarded efficiency against a fixed length penalty, at the same saving."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

OPTIONS = tuple((rate, weight) for rate in (1.0, 3.0, 10.0) for weight in (0.2, 0.4, 0.8))
CHECKS, PROMPTS = 8, 24


def penalised(weight: float) -> Any:
    """GRPO on outcome - weight length / longest."""

    def method(rollouts: Rollouts, signals: Any = None, ctx: Context | None = None) -> Signal:
        reward = rollouts.signals["outcome"].values - weight * rollouts.signals["length"].values / CHECKS
        return credit.grpo()(rollouts.with_signal(Signal(reward, "rollout", "outcome")))

    return method


def _curve(arm: str, option: tuple[float, float], seed: int, steps: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = np.arange(PROMPTS) % 2
    count = np.arange(CHECKS)
    ease = rng.uniform(-0.05, 0.05, (PROMPTS, 1))
    right = np.where(hard[:, None] == 1, 0.3 + 0.6 * (1 - 0.6**count) + ease, 0.95 + ease)
    phi = np.column_stack([np.ones(PROMPTS), hard - 0.5])

    def respond(prompt: np.ndarray, n: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, n]
        return {"outcome": correct.astype(float), "length": n + 1.0}

    rate, weight = option
    method = credit.efficiency_steering(weight=weight) if arm == "self-rewarded" else penalised(weight)
    start = np.zeros((2, CHECKS))

    def measure(pi: np.ndarray) -> tuple[float, float]:
        return float((pi * right).sum(1).mean()), float((pi * count).sum(1).mean())

    return lab.train(start, phi, respond, method, steps, 8, rate, seed, measure)


def at_half(curve: np.ndarray) -> float:
    """Accuracy when the checks have first been halved; NaN where they never are."""
    reached = np.flatnonzero(curve[:, 1] <= 0.5 * curve[0, 1])
    return float(curve[reached[0], 0]) if len(reached) else float("nan")


_tuned = lab.tuned(_curve, OPTIONS, lambda curve: float(np.nan_to_num(at_half(curve))))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected accuracy at half the checks."""
    curve = _curve(arm, (3.0, 0.4), seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(100 * at_half(curve), curve[:, 0])


CLAIM = Claim(
    slug="efficiency-steering",
    claim="Paying right answers for being short among the group's own right ones, more where the question "
    "is easy, saves length at less loss of accuracy than a fixed penalty (arXiv 2506.15647: large cuts at "
    "kept or better accuracy).",
    metric="expected accuracy when the number of checks has first been halved, %",
    baseline="length penalty",
    system="self-rewarded",
    run=run,
    margin=0.5,
    seeds=10,
    notes="A softmax over 0 to 7 checks with features (constant, hard) for 24 prompts: checks raise "
    "accuracy from 0.3 to 0.9 on hard ones and do nothing on easy ones. GRPO, groups of 8, 200 updates; "
    "each arm takes the best of three step sizes times three weights by this metric. The published reward "
    "is not known in detail; this one is ours. The curve is accuracy. Only the reward is tried, not the "
    "steering direction.",
)
