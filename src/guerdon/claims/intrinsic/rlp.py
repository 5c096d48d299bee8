"""RLP against continued pretraining on the same plain text: what comes next, where a thought can help."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import rloo
from guerdon.data.rollouts import Rollouts
from guerdon.engines.protocol import Sampling
from guerdon.intrinsic.references import reference_scores
from guerdon.systems.intrinsic.rlp import rlp
from guerdon.tasks.base import Problem

OPEN, CLOSE = "[", "]"
QUESTIONS, GROUP, STEPS, IMITATED, RATE = 12, 8, 40, 600, 1e-3


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> tuple[lab.Chains, Any]:
    """The world of a seed and a model of its text: half plain, half with a fallible thought in between."""
    chains = lab.Chains(seed)

    def lesson(rng: np.random.Generator) -> list[tuple[str, str]]:
        asked = [chains.train[i] for i in rng.integers(len(chains.train), size=32)]
        out = []
        for k, hops in asked:
            path, plain = chains.path(k, hops, rng), chains.path(k, hops)[-1]
            said = plain if rng.random() < 0.5 else f"{OPEN}{path[:-1]}{CLOSE}{path[-1]}"
            out.append((chains.prompt(k, hops), said))
        return out

    engine = kit.lab(seed, context=24, dim=32)
    return chains, kit.imitate(engine, lesson, steps, seed, lr=5e-3)


def thoughts(engine: Any, problems: list[Problem], group: int, seed: int) -> Rollouts:
    """Sampled thoughts; the bracket that opens one is given."""
    given = engine.tokenizer.encode(OPEN)
    rollouts = engine.generate(
        [p.prompt for p in problems],
        n=group,
        sampling=Sampling(5, seed=seed, stop=(CLOSE,)),
        prefix=[given] * len(problems),
    )
    return rollouts.replace(reference=[problems[g].reference for g in rollouts.group.tolist()])


def predicted(engine: Any, problems: list[Problem], seed: int) -> tuple[float, float]:
    """Chance of the next letter, mean over 8 sampled thoughts, and without a thought."""
    rollouts = thoughts(engine, problems, 8, seed)
    behind = np.exp(reference_scores(engine, rollouts, opening="").logprobs.values)
    plain = lab.opening_chances(engine, [str(p.prompt) for p in problems], [p.reference for p in problems])
    return float(behind.mean()), float(plain.mean())


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance of the next letter in test texts after training, with a thought or without."""
    chains, start = _start(seed, 5 if smoke else IMITATED)
    engine, reward = kit.copy_of(start), rlp()
    every = [(chains.prompt(k, hops), chains.path(k, hops)[-1]) for k, hops in chains.train]

    def think(engine: Any, at: int) -> None:
        asked = chains.drawn(np.random.default_rng([seed, at]), QUESTIONS)
        rollouts = thoughts(engine, [chains.problem(k, n) for k, n in asked], GROUP, seed * 1000 + at)
        told = reward(rollouts, Context(step=at, engines={"policy": engine}))
        lab.climb(engine, rollouts, told.values, rloo(), RATE, seed * 1000 + at)

    def read(engine: Any, at: int) -> None:
        kit.imitate(engine, lambda rng: every, 1, seed, lr=RATE, warmup=1)

    test = [chains.problem(k, hops) for k, hops in chains.test]
    seen: dict[str, float] = {}

    def measure(engine: Any) -> float:
        seen["thinking"], seen["plain"] = predicted(engine, test, seed + 3)
        return max(seen.values())

    curve = lab.curve_of(engine, think if arm == "rlp" else read, 2 if smoke else STEPS, measure, every=10)
    return lab.shown(100 * float(curve[-1]), curve, **seen)


CLAIM = Claim(
    slug="rlp",
    claim="Paying thoughts for how much likelier they make the text that follows, over a slow copy that "
    "does not think, improves a model more than pretraining on that text for longer (RLP: "
    "Qwen3-1.7B-Base 36.0 on average after RLP, 30.9 after continued pretraining, 30.3 before).",
    metric="chance of the next letter in test texts after 40 updates, %",
    baseline="pretraining",
    system="rlp",
    run=run,
    margin=2.0,
    seeds=6,
    notes="Text of a 2-layer byte-level decoder of width 32: a letter, a number of hops (two to four) under "
    "a secret map, and the letter they lead to; in half of it a thought stands between, the letters "
    "passed, by a teacher who errs at every hop and whose text follows his thought. Continued "
    "pretraining reads all 59 training texts, without thoughts, in every update; RLP takes 12 of them "
    "with 8 thoughts each, leave-one-out, the published tau, and the same step size. Both are "
    "measured on 19 other texts, with a sampled thought and without, and the higher one counts. This "
    "is the second version that was looked at. In the first what followed a thought was right even "
    "where the thought was wrong; the model learned the training texts by heart instead of following "
    "thoughts, which then had nothing to add: undecided, -1.3 (-5.3 to 2.7).",
)
