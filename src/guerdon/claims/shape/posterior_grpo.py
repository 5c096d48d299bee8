"""Posterior-GRPO: a thinking reward behind a full pass, against the outcome alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab

RATES = (3.0, 10.0, 30.0, 100.0)
STYLES, PROMPTS = 6, 24


def _curve(arm: str, rate: float, seed: int, steps: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    plain = rng.uniform(0.1, 0.9, (PROMPTS, STYLES))
    right = np.concatenate([plain, 0.8 * plain], axis=1)
    seen = np.where(rng.random(plain.shape) < 0.8, plain, rng.random(plain.shape))
    liked = np.concatenate([seen, np.full_like(seen, 0.95)], axis=1)

    def respond(prompt: np.ndarray, style: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        passed = rng.random(len(prompt)) < right[prompt, style]
        score = liked[prompt, style] + 0.1 * rng.standard_normal(len(prompt))
        return {
            "outcome": passed.astype(float),
            "thinking": np.clip(score, 0, 1),
            "format": np.ones(len(prompt)),
        }

    method = credit.posterior_grpo() if arm == "posterior" else credit.grpo()
    start = np.zeros((PROMPTS, 2 * STYLES))
    return lab.train(
        start, np.eye(PROMPTS), respond, method, steps, 8, rate, seed, lambda pi: (pi * right).sum(1).mean()
    )


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected pass rate after training."""
    curve = _curve(arm, 10.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(100 * lab.last(curve), curve)


CLAIM = Claim(
    slug="posterior-grpo",
    claim="Adding a score of the reasoning only where all tests pass beats the outcome reward alone "
    "(arXiv 2508.05170: +4.5 % on code tasks, pass@1 50.4 to 57.4 for a 7B model).",
    metric="expected pass rate over the last 20 of 150 updates, %",
    baseline="outcome only",
    system="posterior",
    run=run,
    margin=1.0,
    seeds=10,
    notes="A softmax over six styles of reasoning, with and without a phrase that scores 0.95 and lowers "
    "the pass rate by a fifth, for each of 24 prompts; the simulated scorer knows a style's pass rate on 80 "
    "% of the pairs and is arbitrary on the rest, noise 0.1. GRPO, groups of 8, best of four step sizes "
    "each. Why it is not reproduced: the gate does not stop the phrase among answers that pass. It scores "
    "best there, groups in which all pass are normalised to unit spread, and the phrase ends up in 16 % of "
    "answers (outcome only: 2 %), which costs the two points. Hacking without passing is ruled out, hacking "
    "beside passing is not.",
)
