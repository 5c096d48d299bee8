"""MatchTIR: turn rewards from matched calls at two levels, against GRPO on the outcome."""

from __future__ import annotations

import numpy as np

from guerdon import credit
from guerdon.claims import kit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.kit_worlds import tool_questions
from guerdon.systems.credit.matchtir import matchtir


def _curve(arm: str, rate: float, seed: int, steps: int = 40) -> np.ndarray:
    method = matchtir() if arm == "matchtir" else credit.grpo()
    return kit.learn(tool_questions(seed), method, steps, 8, rate, seed)[0]


_tuned = kit.tuned(_curve, kit.RATES)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Area under the exact success curve of one arm."""
    return kit.measured(_curve(arm, 320.0, seed, 3) if smoke else _tuned(arm, seed))


CLAIM = Claim(
    slug="matchtir",
    claim="Rewarding turns by matching their calls with the wanted ones, at the level of rollouts and of "
    "turns, learns multi-turn tool use better than one reward per rollout (arXiv 2601.10712).",
    metric="mean exact success over 40 updates, %",
    baseline="grpo",
    system="matchtir",
    run=run,
    margin=3.0,
    seeds=8,
    notes="Five questions per seed over a price list and a calculator, 3 terms, at most 12 calls; a softmax "
    "table, groups of 8. The wanted calls are those of the gold trace, which the baseline does not see."
    " Each arm takes the best of five step sizes on three other seeds.",
)
