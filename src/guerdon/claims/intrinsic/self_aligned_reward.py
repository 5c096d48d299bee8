"""SAR beside correctness, where answers may be given at once, reasoned, or reasoned behind filler."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.systems.intrinsic.self_aligned_reward import self_aligned_reward

FILLER = ("let me see, ", "hm, well, ", "so, now, ")
LONGEST, WEIGHT, ASKED = 24, 0.2, 0.75
QUESTIONS, GROUP, STEPS, IMITATED, RATE = 12, 8, 40, 500, 1e-3


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> tuple[lab.Chains, Any]:
    """The world of a seed and a model that imitated a teacher of three styles."""
    chains = lab.Chains(seed)

    def completion(letter: int, hops: int, rng: np.random.Generator) -> str:
        style, path = rng.integers(3), ">".join(chains.path(letter, hops, rng))
        if style == 0:
            known = chains.path(letter, hops)[-1]
            return known if rng.random() < 0.5 else str(rng.choice(list(lab.LETTERS)))
        return path if style == 1 else str(rng.choice(FILLER)) + path

    def lesson(rng: np.random.Generator) -> list[tuple[str, str]]:
        asked = [chains.train[i] for i in rng.integers(len(chains.train), size=32)]
        prompts = [chains.prompt(k, hops) if rng.random() < ASKED else "" for k, hops in asked]
        return [(prompt, completion(k, hops, rng)) for prompt, (k, hops) in zip(prompts, asked, strict=True)]

    engine = kit.lab(seed, context=32, dim=32)
    return chains, kit.imitate(engine, lesson, steps, seed, lr=5e-3)


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Tokens per answer after training, wrong answers at full length."""
    chains, start = _start(seed, 5 if smoke else IMITATED)
    engine = kit.copy_of(start)
    aligned = self_aligned_reward(weight=WEIGHT, engine=engine)

    def step(engine: Any, at: int) -> None:
        asked = [chains.problem(k, n) for k, n in chains.drawn(np.random.default_rng([seed, at]), QUESTIONS)]
        rollouts = lab.sampled(engine, asked, GROUP, LONGEST, seed * 1000 + at)
        reward = lab.last_letter_right(rollouts)
        if arm == "with sar":
            reward = reward + np.nan_to_num(aligned(rollouts, Context(step=at)).values)
        lab.climb(engine, rollouts, reward, grpo(scale="none"), RATE, seed * 1000 + at)

    trained = [chains.problem(k, hops) for k, hops in chains.train]
    seen: dict[str, float] = {}

    def cost(engine: Any) -> float:
        rollouts = lab.sampled(engine, trained, 4, LONGEST, seed + 5)
        right = lab.last_letter_right(rollouts) == 1
        seen["accuracy"], seen["length"] = float(right.mean()), float(rollouts.lengths.mean())
        return float(np.where(right, rollouts.lengths, LONGEST).mean())

    curve = lab.curve_of(engine, step, 2 if smoke else STEPS, cost, every=10)
    return lab.shown(float(curve[-1]), curve, **seen)


CLAIM = Claim(
    slug="self-aligned-reward",
    claim="Adding how much easier an answer becomes to predict once the question is read to its correctness "
    "makes reasoning shorter and no worse (SAR, arXiv 2509.05489: 4 % more accuracy at 30 % less cost "
    "than correctness alone).",
    metric="tokens per answer after 40 updates, a wrong one counted as the longest (24); lower is better",
    baseline="correctness",
    system="with sar",
    run=run,
    higher=False,
    margin=1.0,
    seeds=12,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher of three styles, equally "
    "often: the answer at once, right every other time; the path to it, written hop by hop, with "
    "slips; the same path behind one of three fillers of 9 to 12 characters. Then GRPO without "
    "division by the deviation, as released, 12 questions a step, 8 samples each, one step size; SAR "
    "with the released weight 0.2, scored by the policy as it is. Measured on the questions it learns "
    "from, 4 samples each. This is the second version that was looked at. In the first the model had "
    "never read an answer without its question, so what SAR compares with was arbitrary and filler "
    "could score best: it came to 0.1 tokens (-0.4 to 0.7). A quarter of what it imitates now has no "
    "question. Twelve seeds, after six had left it open: +1.1 (-1.5 to 3.7).",
)
