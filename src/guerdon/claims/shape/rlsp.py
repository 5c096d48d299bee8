"""RLSP: a price on short reasoning, against the outcome alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab

RATES = (1.0, 3.0, 10.0, 30.0)
PROMPTS, DEPTH, PRICE = 24, 8, 20.0
TRY, FILLER = "Try another factor. ", "Let me think again. "


def _curve(arm: str, rate: float, seed: int, steps: int = 100) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hit = rng.uniform(0.08, 0.3, (PROMPTS, 1))
    depth, padding = (part.ravel() for part in np.divmod(np.arange(2 * DEPTH), 2))
    depth, padding = depth + 1, 4 * padding
    right = 1.0 - (1.0 - hit) ** depth
    gold = rng.integers(10, 99, PROMPTS)

    def respond(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        correct = rng.random(len(prompt)) < right[prompt, kind]
        said = np.where(correct, gold[prompt], gold[prompt] + 1)
        return {
            "completion": [
                TRY * depth[k] + FILLER * padding[k] + f"\\boxed{{{s}}}"
                for k, s in zip(kind, said, strict=True)
            ],
            "reference": [str(g) for g in gold[prompt]],
        }

    price = PRICE if arm == "price on short reasoning" else 0.0
    method = credit.rlsp(C=price, judge=False, baseline="return", whiten=True)
    start = np.zeros((1, 2 * DEPTH))
    start[0] = -0.5 * depth - 0.25 * padding
    phi = np.ones((PROMPTS, 1))
    return lab.train(start, phi, respond, method, steps, 8, rate, seed, lambda pi: (pi * right).sum(1).mean())


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected accuracy after training."""
    curve = _curve(arm, 3.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(100 * lab.last(curve), curve)


CLAIM = Claim(
    slug="rlsp",
    claim="A price that falls with the length of the reasoning makes search emerge, and with it accuracy; "
    "without it the reasoning does not lengthen (Ye et al., arXiv 2502.06773: +23 % on MATH-500 for an 8B "
    "model).",
    metric="expected accuracy over the last 20 of 100 updates, %",
    baseline="outcome only",
    system="price on short reasoning",
    run=run,
    margin=1.0,
    seeds=40,
    notes="Guess and verify: one to eight tries, each a hit with a chance of 0.08 to 0.3 by prompt, and "
    "optionally four sentences of filler; texts of 5 to 60 tokens, C = 20, in the published ratio to the "
    "length of first answers. The first policy prefers short texts; whitened returns, no judge, 24 "
    "prompts, groups of 8, best of four step sizes each. Forty seeds, after ten had left it open. Why it "
    "is not reproduced: the price buys length, not search. Filler is as long as a try and costs nothing, "
    "and 83 % of the answers carry it in the end (none without the price); a try also raises the outcome, "
    "so that depth grows without the price as well (to 7.0 tries, with it to 5.8, on the tuning seeds).",
)
