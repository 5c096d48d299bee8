"""TON: thought dropout before GRPO, against GRPO alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab
from guerdon.systems.shape.ton import skipped, thought_dropout

RATES = (0.3, 1.0, 3.0, 10.0)
PROMPTS, SAMPLES, LONGEST = 24, 200, 200.0
THINK = "<think>count the red cubes, then the blue ones, and add them</think><answer>{}</answer>"
SKIP = "<think>\n\n</think><answer>{}</answer>"
CUT = "<think>count the red cubes, then the blue ones, then"
LENGTH = np.array([100.0, 5.0])


def cold_start(p: float, seed: int) -> np.ndarray:
    """Logits (thinking, skipping) of a policy that copies its supervised samples."""
    samples = thought_dropout([{"completion": THINK.format(n % 7)} for n in range(SAMPLES)], p, seed)
    empty = sum(skipped(sample["completion"]) for sample in samples)
    return np.log([SAMPLES - empty + 0.5, empty + 0.5])


def _curve(arm: str, rate: float, seed: int, steps: int = 150) -> np.ndarray:
    hard = np.arange(PROMPTS) % 2 == 1
    right = np.column_stack([np.full(PROMPTS, 0.95), np.where(hard, 0.3, 0.97)])
    gold = np.random.default_rng(seed).integers(0, 9, PROMPTS)

    def respond(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, kind]
        cut = (rng.random(len(prompt)) < 0.03) & (kind == 0)
        said = np.where(correct, gold[prompt], gold[prompt] + 1)
        texts = [(THINK, SKIP)[k].format(s) for k, s in zip(kind, said, strict=True)]
        completion = [CUT if c else text for c, text in zip(cut, texts, strict=True)]
        return {"accuracy": (correct & ~cut).astype(float), "completion": completion}

    start = np.zeros((2, 2))
    start[0] = cold_start(0.5 if arm == "thought dropout" else 0.0, seed)
    phi = np.column_stack([np.ones(PROMPTS), np.where(hard, 0.5, -0.5)])
    passed = right * np.array([0.97, 1.0])
    cost = passed * LENGTH + (1 - passed) * LONGEST
    return lab.train(
        start, phi, respond, credit.ton(), steps, 8, rate, seed, lambda pi: (pi * cost).sum(1).mean()
    )


_tuned = lab.tuned(_curve, RATES, lambda curve: -lab.last(curve))


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Length after training, wrong answers at full length."""
    curve = _curve(arm, 1.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(lab.last(curve), curve)


CLAIM = Claim(
    slug="ton",
    claim="Emptying thoughts at random before reinforcement learning lets plain outcome and format rewards "
    "find where thinking can be left out (arXiv 2505.16854: up to 90 % shorter without losing accuracy).",
    metric="tokens per answer after 150 updates, a wrong one counted as the longest (200); lower is better",
    baseline="no dropout",
    system="thought dropout",
    run=run,
    higher=False,
    margin=5.0,
    seeds=10,
    notes="Think (100 tokens, right on 95 %, cut short on 3 %) or skip (5 tokens, right on 97 % of easy and "
    "30 % of hard questions), features (constant, hard), 24 prompts of short texts. The first policy has the "
    "frequencies of 200 supervised samples plus a half each. Both arms have the same rewards, groups of 8 "
    "and the best of four step sizes.",
)
