"""Conciseness reward against an additive length penalty, with a noisy scorer."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.data.signal import Signal

OPTIONS = tuple((rate, weight) for rate in (10.0, 30.0, 100.0) for weight in (0.25, 0.5, 1.0))
MOST, PROMPTS = 11, 24


def penalised(weight: float) -> Any:
    """GRPO on outcome - weight length / longest."""

    def method(rollouts: Rollouts, signals: Any = None, ctx: Context | None = None) -> Signal:
        reward = rollouts.signals["outcome"].values - weight * rollouts.signals["length"].values / MOST
        return credit.grpo()(rollouts.with_signal(Signal(reward, "rollout", "outcome")))

    return method


def _curve(arm: str, option: tuple[float, float], seed: int, steps: int = 150) -> np.ndarray:
    rng = np.random.default_rng(seed)
    need = np.repeat([2, 4, 6], PROMPTS // 3)[:, None]
    count = np.arange(MOST)
    able = rng.uniform(0.5, 0.95, (PROMPTS, 1))
    right = np.where(count >= need, able, 0.05)
    scored = np.where(count >= need, 1.0 - 0.1 * (count - need), 0.3)

    def respond(prompt: np.ndarray, n: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, n]
        noisy = scored[prompt, n] + 0.15 * rng.standard_normal(len(prompt))
        return {
            "outcome": correct.astype(float),
            "conciseness": np.clip(noisy, 0.1, 1.0),
            "length": n + 1.0,
        }

    rate, weight = option
    method = credit.conciseness_reward(alpha=weight) if arm == "conciseness" else penalised(weight)
    start = np.zeros((PROMPTS, MOST))
    cost = right * (count + 1.0) + (1 - right) * MOST
    return lab.train(
        start, np.eye(PROMPTS), respond, method, steps, 8, rate, seed, lambda pi: (pi * cost).sum(1).mean()
    )


_tuned = lab.tuned(_curve, OPTIONS, lambda curve: -lab.last(curve))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Length after training, wrong answers at full length."""
    curve = _curve(arm, (10.0, 0.5), seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(lab.last(curve), curve)


CLAIM = Claim(
    slug="conciseness-reward",
    claim="A conciseness score that multiplies the outcome shortens answers without the collapse that "
    "penalties on length bring (arXiv 2511.09158: +8.1 % accuracy and -19.9 % tokens on Qwen2.5-7B).",
    metric="steps per answer after 150 updates, a wrong one counted as the longest (11); lower is better",
    baseline="length penalty",
    system="conciseness",
    run=run,
    higher=False,
    margin=0.2,
    seeds=10,
    notes="A softmax over 1 to 11 steps for each of 24 prompts that need 3, 5 or 7 of them; with enough, an "
    "answer is right with a chance of 0.5 to 0.95, else 0.05. The simulated scorer sees what is redundant, "
    "noise 0.15. GRPO in both arms, groups of 8; each takes the best of three step sizes times three "
    "weights. Why it is not reproduced: neither arm collapses at the weights that are best for it. With "
    "weight 1 the penalty does (11 % of its answers are too short, 0.2 % with the conciseness reward), but "
    "0.5 avoids that and removes more of the surplus: its length is exact, while the scorer is noisy and "
    "its pressure fades with the annealing.",
)
