"""AutoThink: a stage that balances modes first, against the same reward table without it."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

RATES = (1.0, 3.0, 10.0, 30.0)
PROMPTS, LONGEST = 24, 200.0
LENGTH = np.array([150.0, 70.0, 10.0])


def staged(first: int) -> Any:
    """The credit methods of 40 % stage `first`, 40 % stage 2 and 20 % stage 3."""
    stages = {stage: credit.autothink(stage=stage) for stage in (first, 2, 3)}

    def method(rollouts: Rollouts, signals: Any, ctx: Context) -> Signal:
        stage = first if ctx.progress < 0.4 else 2 if ctx.progress < 0.8 else 3
        return stages[stage](rollouts, signals, ctx)

    return method


def _curve(arm: str, rate: float, seed: int, steps: int = 200) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = np.arange(PROMPTS) % 4 == 3
    right = np.where(hard[:, None], [0.85, 0.82, 0.2], [0.95, 0.95, 0.97])
    feature = 0.3 * np.where(hard, 1.0, -1.0) + 0.1 * rng.standard_normal(PROMPTS)
    phi = np.column_stack([np.ones(PROMPTS), feature])

    def respond(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, kind]
        return {
            "correct": correct.astype(float),
            "think": (kind < 2).astype(float),
            "length": LENGTH[kind] * rng.uniform(0.9, 1.1, len(kind)),
        }

    start = np.zeros((2, 3))
    start[0] = np.log([0.25, 0.25, 0.5])
    cost = right * LENGTH + (1 - right) * LONGEST
    method = staged(1 if arm == "balanced first" else 2)
    return lab.train(start, phi, respond, method, steps, 8, rate, seed, lambda pi: (pi * cost).sum(1).mean())


_tuned = lab.tuned(_curve, RATES, lambda curve: -lab.last(curve))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Length after training, wrong answers at full length."""
    curve = _curve(arm, 3.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(lab.last(curve), curve)


CLAIM = Claim(
    slug="autothink",
    claim="Keeping both modes alive in a first stage, then rewarding by mode, then by length, makes a "
    "model think only where it must; without the balance one mode takes over (arXiv 2505.10832: +6.4 % "
    "accuracy with 52 % fewer tokens).",
    metric="tokens per answer after 200 updates, a wrong one counted as the longest (200); lower is better",
    baseline="no balance",
    system="balanced first",
    run=run,
    higher=False,
    margin=2.0,
    seeds=40,
    notes="Think long (150 tokens), think briefly (70) or not at all (10) on 24 prompts, a quarter of "
    "them hard: not thinking is right on 97 % of easy and 20 % of hard ones, thinking on 95 % and 82 to "
    "85 %. The policy sees difficulty only as a weak, noisy feature beside a constant. Stages of 40, 40 "
    "and 20 % of the updates; the baseline runs stage 2 in place of stage 1. Groups of 8, best of four "
    "step sizes each. Forty seeds, after ten had left it open. Why: there is next to no difference. Both "
    "arms end in one of two places, thinking on hard questions (about 36 tokens) or never (about 52): the "
    "balanced one in the first in 19 of 40 seeds, the other in 18. The balance pulls the rewards of a "
    "mode towards fixed ones, but in a group whose answers share a mode the normalisation takes that out "
    "again, and in mixed groups it weakens the preference that would have been learned.",
)
