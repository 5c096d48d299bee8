"""Four habits: whether reinforcement learning takes off depends on habits that are there at the start."""

from __future__ import annotations

import numpy as np

from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.systems.audit.cognitive_behaviors import cognitive_behaviors

TRIES, HIT, GROUP, PROMPTS = 6, 0.25, 8, 16
RATES = (0.3, 1.0, 3.0)


def episodes(p: np.ndarray, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Successes (n,), and how often each habit was and was not shown, (n, 2) each.

    A wrong try is noticed with chance p[0]; one that was noticed is given up for another with chance p[1].
    """
    won, going = np.zeros(n, bool), np.ones(n, bool)
    shown, not_shown = np.zeros((n, 2)), np.zeros((n, 2))
    for _ in range(TRIES):
        hit = going & (rng.random(n) < HIT)
        won |= hit
        going &= ~hit
        for habit in (0, 1):
            acts = rng.random(n) < p[habit]
            shown[:, habit] += going & acts
            not_shown[:, habit] += going & ~acts
            going &= acts
    return won, shown, not_shown


def success(p: np.ndarray) -> float:
    """Exact chance of success."""
    again = (1 - HIT) * p[0] * p[1]
    return float(HIT * (again ** np.arange(TRIES)).sum())


def traces(p: np.ndarray, n: int, rng: np.random.Generator) -> list[str]:
    """Texts of such episodes."""
    _, shown, _ = episodes(p, n, rng)
    first, check, again = (
        "3 + 5 = 8.\n",
        "8 is not equal to the target 12.\n",
        "Let me try another way: 4 * 2 = 8.\n",
    )
    return [first + check * int(v) + again * int(b) for v, b in shown]


def _curve(arm: str, rate: float, seed: int, steps: int = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    start = 0.2 if arm == "habits at 20 %" else 0.01
    logits = np.full(2, np.log(start / (1 - start)))
    curve = []
    for _ in range(steps):
        p = 1 / (1 + np.exp(-logits))
        curve.append(success(p))
        won, shown, not_shown = episodes(p, GROUP * PROMPTS, rng)
        reward = won.reshape(PROMPTS, GROUP).astype(float)
        spread = reward.std(axis=1, ddof=1, keepdims=True) + 1e-6
        advantage = ((reward - reward.mean(axis=1, keepdims=True)) / spread).ravel()
        logits += rate * (advantage[:, None] * (shown * (1 - p) - not_shown * p)).mean(axis=0)
    return np.array([*curve, success(1 / (1 + np.exp(-logits)))])


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Exact success after training, and the habits counted in first traces."""
    curve = _curve(arm, 1.0, seed, 3) if smoke else _tuned(arm, seed)
    first = np.full(2, 0.2 if arm == "habits at 20 %" else 0.01)
    counted = cognitive_behaviors()(traces(first, 200, np.random.default_rng(seed)))
    habits = {name: counted[name]["average"] for name in ("verification", "backtracking")}
    return {**lab.shown(100 * lab.last(curve), curve), "habits": habits}


CLAIM = Claim(
    slug="cognitive-behaviors",
    claim="Under the same reinforcement learning, a model that already verifies and backtracks improves "
    "where one that hardly does stays where it is (Gandhi et al., arXiv 2503.01307: about 60 % against 30 "
    "% on Countdown).",
    metric="exact success over the last 20 of 100 updates, %",
    baseline="habits at 1 %",
    system="habits at 20 %",
    run=run,
    margin=10.0,
    seeds=10,
    notes="A policy of two logits, to notice a wrong try and to try again, with up to six tries that hit "
    "one time in four; advantages normalised in 16 groups of 8, best of three step sizes each. The habits "
    "of 200 written-out first traces are counted by the system's rules; they are no part of the metric.",
)
