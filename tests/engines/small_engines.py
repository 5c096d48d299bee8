"""Tiny engines and losses for the tests of this folder."""

from __future__ import annotations

import numpy as np
import torch

from guerdon.engines.lab import LabEngine

PROMPTS = ["1+1=", "a much longer prompt, é", "", "12*3="]


def tiny_lab(seed: int = 3, **options) -> LabEngine:
    """Two layers on the CPU, with weights large enough for uneven distributions."""
    engine = LabEngine(
        **{"dim": 32, "layers": 2, "heads": 2, "context": 96, "device": "cpu", "seed": seed} | options
    )
    return sharpen(engine, 4.0)


def taught_lab() -> LabEngine:
    """A tiny lab engine that often ends its completions early."""
    engine = tiny_lab()
    texts = ["", "7", "42", "é", "a b", "12+3"]
    rollouts = engine.rollouts_from_text([p for p in PROMPTS for _ in texts], texts * len(PROMPTS))
    for _ in range(8):
        engine.train_step(rollouts, nll(rollouts), lr=3e-3)
    return engine


def sharpen(engine, factor: float):
    """Scale the weight matrices up."""
    with torch.no_grad():
        for parameter in engine.parameters().values():
            if parameter.dim() == 2:
                parameter.mul_(factor)
    return engine


def nll(rollouts):
    """-mean log-prob of all tokens."""
    total = rollouts.tokens.total
    return lambda stats, rows: (-stats.logprobs.sum() / total, {"rows": float(len(rows))})


def random_loss(rollouts, seed: int = 0):
    """A fixed random linear function of log-probs and entropies, so that every token has a gradient."""
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(2, rollouts.tokens.total)).astype(np.float32)

    def loss(stats, rows):
        at = rollouts.tokens.positions(rows)
        a, b = torch.from_numpy(weights[:, at])
        return (a * stats.logprobs).sum() + (b * stats.entropy).sum(), {}

    return loss


def gradients(engine, rollouts, seed: int = 0):
    """Name -> gradient of `random_loss` by one forward."""
    loss, _ = random_loss(rollouts, seed)(engine.forward(rollouts), np.arange(len(rollouts)))
    names, parameters = zip(*engine.parameters().items(), strict=True)
    return dict(zip(names, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True))


def weights_of(engine):
    """Copies of all weights."""
    return {name: parameter.detach().clone() for name, parameter in engine.parameters().items()}


def same_weights(a, b) -> bool:
    """Bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
