"""Shorter answers without training: a direction in hidden states, added while the policy writes.

    python examples/steer_length.py

A small decoder learns sums whose result is repeated up to 6 times before the end (`7+5=12;12;12#`), by a
terse or a wordy writer. Its own right answers, the shortest against the longest of every question,
give the direction.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from guerdon.data.signal import Signal
from guerdon.engines import LabEngine, Sampling, steer
from guerdon.systems.shape.efficiency_steering import direction

LAYER, CHECKS = 1, 6


def question(rng: random.Random) -> tuple[str, str]:
    """A sum and its result."""
    a, b = rng.randrange(10), rng.randrange(10)
    return f"{a}+{b}=", str(a + b)


def checks(rng: random.Random) -> int:
    """Of two kinds of writers: one repeats with probability 0.2, again and again, the other with 0.8."""
    again, n = rng.choice((0.2, 0.8)), 0
    while n < CHECKS and rng.random() < again:
        n += 1
    return n


def taught(steps: int = 1000, seed: int = 0) -> LabEngine:
    """A decoder of two layers that has read both."""
    rng = random.Random(seed)
    engine = LabEngine(dim=64, layers=2, heads=4, context=32, device="cpu", seed=seed)
    for _ in range(steps):
        asked = [question(rng) for _ in range(64)]
        written = [r + f";{r}" * checks(rng) + "#" for _, r in asked]
        batch = engine.rollouts_from_text([q for q, _ in asked], written)
        total = batch.tokens.total
        engine.train_step(batch, lambda stats, _, n=total: (-stats.logprobs.sum() / n, {}), lr=3e-3)
    return engine


def sampled(engine: LabEngine, n: int, seed: int):
    """Answers to 60 sums with the signal `outcome`: 1 where every number written is the result."""
    rng = random.Random(seed)
    asked = dict(question(rng) for _ in range(60))
    rollouts = engine.generate(list(asked), n, Sampling(max_new_tokens=28, seed=seed, stop=("#",)))
    right = [
        rollouts.text(i).endswith("#")
        and set(rollouts.text(i)[:-1].split(";")) == {asked[rollouts.prompt[i]]}
        for i in range(len(rollouts))
    ]
    return rollouts.with_signal(Signal(np.array(right, np.float64), "rollout", "outcome"))


def main() -> None:
    torch.set_num_threads(1)
    engine = taught()
    vector = direction(engine, sampled(engine, 16, seed=1), LAYER)
    print(f"{'coef':>6}{'accuracy %':>12}{'checks':>8}")
    for coef in (-1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0):
        with steer(engine, vector, coef, LAYER):
            rollouts = sampled(engine, 8, seed=2)
        accuracy = 100 * rollouts.signals["outcome"].values.mean()
        repeats = np.mean([rollouts.text(i).count(";") for i in range(len(rollouts))])
        print(f"{coef:6.2f}{accuracy:12.1f}{repeats:8.2f}")


if __name__ == "__main__":
    main()
