"""SophiaVL-R1: a judge's thinking score with and without trust, where the judge is wrong on some prompts."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

RATES = (3.0, 10.0, 30.0, 100.0)
STYLES, PROMPTS, ALPHA = 6, 24, 0.3


def untrusted(rollouts: Rollouts, signals: Any = None, ctx: Context | None = None) -> Signal:
    """The thinking score at its full weight, whatever the outcomes say of it."""
    values = rollouts.signals["outcome"].values + ALPHA * rollouts.signals["thinking"].values
    mixed = rollouts.with_signal(Signal(values, "rollout", "outcome"))
    return credit.grpo()(mixed)


def _curve(arm: str, rate: float, seed: int, steps: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    right = rng.uniform(0.1, 0.9, (PROMPTS, STYLES))
    fair = (np.arange(PROMPTS) % 2 == 0)[:, None]
    spread = (right - right.mean(axis=1, keepdims=True)) / 0.8
    liked = 0.5 + np.where(fair, spread, -spread)

    def respond(prompt: np.ndarray, style: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, style]
        score = liked[prompt, style] + 0.1 * rng.standard_normal(len(prompt))
        return {"outcome": correct.astype(float), "thinking": np.clip(score, 0, 1).round(1)}

    method = credit.sophiavl_r1(alpha=ALPHA) if arm == "trust and fading" else untrusted
    start = np.zeros((PROMPTS, STYLES))
    return lab.train(
        start, np.eye(PROMPTS), respond, method, steps, 8, rate, seed, lambda pi: (pi * right).sum(1).mean()
    )


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected accuracy after training."""
    curve = _curve(arm, 3.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(100 * lab.last(curve), curve)


CLAIM = Claim(
    slug="sophiavl-r1",
    claim="Weighting a judge's thinking score by how far it prefers right answers, and fading it over "
    "training, keeps an unreliable judge from misleading the policy (Fan et al., arXiv 2505.17018: dropping "
    "the trust weight or the fading lowers accuracy).",
    metric="expected accuracy over the last 20 of 200 updates, %",
    baseline="thinking score as it is",
    system="trust and fading",
    run=run,
    margin=1.0,
    seeds=10,
    notes="A softmax over six styles of thinking for each of 24 prompts; a simulated judge whose score rises "
    "with a style's chance of being right on half of the prompts and falls with it on the other half, noise "
    "0.1. Groups of 8, alpha 0.3 and T 500 as published, GRPO in both arms, best of four step sizes each. "
    "The effect is there but small (about half a point): a prompt's score misleads only where the judge is "
    "wrong, and the outcome outweighs 0.3 of it in any case.",
)
