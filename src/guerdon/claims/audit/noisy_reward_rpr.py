"""Noisy rewards: learning with 40 % of groups told wrongly, against flips that carry no information."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal
from guerdon.systems.audit.noisy_reward_rpr import noisy_reward_rpr

RATES = (1.0, 3.0, 10.0)
ANSWERS, PROMPTS = 5, 12


def _curve(arm: str, rate: float, seed: int, steps: int = 150) -> np.ndarray:
    right = np.random.default_rng(seed).uniform(0.1, 0.9, (PROMPTS, ANSWERS))

    def respond(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, kind]
        texts = [f"answer {k}" for k in kind]
        return {"truth": correct.astype(float), "completion": texts, "prompt": [f"q{p}" for p in prompt]}

    def truth(rollouts: Rollouts, ctx: Context | None = None) -> Signal:
        return rollouts.signals["truth"]

    told = noisy_reward_rpr(truth, p=0.4 if arm == "40 % flipped" else 0.5, seed=seed)

    def method(rollouts: Rollouts, signals: Any = None, ctx: Context | None = None) -> Signal:
        return credit.grpo()(rollouts.with_signal(told(rollouts, ctx).renamed("outcome")))

    start = np.zeros((PROMPTS, ANSWERS))
    return lab.train(
        start, np.eye(PROMPTS), respond, method, steps, 8, rate, seed, lambda pi: (pi * right).sum(1).mean()
    )


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected accuracy after training."""
    curve = _curve(arm, 3.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(100 * lab.last(curve), curve)


CLAIM = Claim(
    slug="noisy-reward-rpr",
    claim="Learning survives rewards that are told wrongly for two prompts in five, and ends only where "
    "half are wrong (Lv et al., arXiv 2505.22653: about 72 % on MATH with 40 % flipped, 75 % without, "
    "collapse at 50 %).",
    metric="expected accuracy over the last 20 of 150 updates, %",
    baseline="50 % flipped",
    system="40 % flipped",
    run=run,
    margin=5.0,
    seeds=10,
    notes="A softmax over five kinds of answers for each of 12 prompts, right with chances between 0.1 and "
    "0.9; whole groups of 8 are flipped, GRPO, best of three step sizes each. Rewards by phrases are not "
    "tried.",
)
