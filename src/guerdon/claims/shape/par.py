"""PAR against standardised rewards, where a proxy reward model can be exploited."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon import credit
from guerdon.claims.claim import Claim, Measured
from guerdon.claims.shape import _bandit as lab

RATES = (3.0, 10.0, 30.0, 100.0)
LEVELS, PROMPTS, REFERENCES = 6, 16, 5


def _curve(arm: str, rate: float, seed: int, steps: int = 300) -> np.ndarray:
    rng = np.random.default_rng(seed)
    quality, exploit = (part.ravel() for part in np.divmod(np.arange(LEVELS**2), LEVELS))
    gold = quality - 1.5 * np.maximum(exploit - 1, 0)
    offset = rng.normal(0.0, 2.0, PROMPTS)
    phi = np.column_stack([np.ones(PROMPTS), 0.5 * rng.standard_normal((PROMPTS, 2))])
    start = np.zeros((3, LEVELS**2))
    start[0] = -0.5 * np.abs(quality - 1) - 1.2 * exploit
    first = lab.chances(start, phi)

    def proxy(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return offset[prompt] + quality[kind] + exploit[kind] + 0.3 * rng.standard_normal(kind.shape)

    drawn = np.array([rng.choice(LEVELS**2, REFERENCES, p=first[p]) for p in range(PROMPTS)])
    references = proxy(np.arange(PROMPTS)[:, None], drawn, rng).tolist()

    def respond(prompt: np.ndarray, kind: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
        meta = [{"ref_rewards": references[p]} for p in prompt]
        return {"rm": proxy(prompt, kind, rng), "meta": meta}

    method = credit.par(variant=arm, length_penalty=0, baseline="return", whiten=True)
    return lab.train(
        start, phi, respond, method, steps, 8, rate, seed, lambda pi: (pi * gold).sum(1).mean(), kl=0.01
    )


_tuned = lab.tuned(_curve, RATES, lab.last)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Expected true reward after training."""
    curve = _curve(arm, 10.0, seed, 3) if smoke else _tuned(arm, seed)
    return lab.shown(lab.last(curve), curve)


CLAIM = Claim(
    slug="par",
    claim="Rewarding the probability of beating reference answers, which is bounded and centred, keeps the "
    "true reward from falling where the proxy is exploited, better than standardising the proxy (Fu et al., "
    "arXiv 2502.18770: at least 5 points of win rate above other shapings, stable over two epochs).",
    metric="expected true reward over the last 20 of 300 updates (best possible 5)",
    baseline="meanstd",
    system="par",
    run=run,
    margin=0.2,
    seeds=10,
    notes="A softmax over 36 kinds of answers (quality 0 to 5 times exploit 0 to 5), 16 prompts that share "
    "weights; the proxy adds both, the truth falls by 1.5 per exploit above one. Five references of the "
    "first policy per prompt; whitened returns, KL 0.01 to the first policy; best of four step sizes each, "
    "chosen by the true reward. Standardising comes back to the best true reward in half of the seeds and "
    "stays exploited by one or more in the others.",
)
