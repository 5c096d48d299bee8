"""MM-UPT: training on the majority's answers without labels, against the model before it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.learn.warm import warm_start
from guerdon.systems.intrinsic.mm_upt import mm_upt
from guerdon.tasks.chain import Chain

TASK, TOKENS, PROMPTS = Chain(terms=3, high=20), 24, 32
LOOP = kit.Loop(steps=60, group=10, tokens=TOKENS, lr=1e-4, temperature=0.7, kl=0.01)


def answer(text: str) -> str | None:
    """What follows the last #."""
    return text.rsplit("#", 1)[1] if "#" in text else None


def accuracy(engine: Any, problems: int, draws: int = 1) -> float:
    """Share of right answers to unseen problems: the most likely ones, or the mean of some draws."""
    unseen = TASK.problems("valid", problems)
    found = kit.drawn(engine, unseen, draws, TOKENS, 0, temperature=0.0 if draws == 1 else 1.0)
    return float(TASK.outcome(found).values.mean())


def truth(rollouts: Rollouts, ctx: Context) -> np.ndarray:
    """The task's own check."""
    return TASK.outcome(rollouts).values


@lru_cache(maxsize=1)
def _start(seed: int, steps: int) -> Any:
    """A model that was shown worked solutions until two in five samples were right on unseen problems."""
    engine = kit.lab(seed)

    def enough(step: int) -> bool:
        return step >= 300 and step % 20 == 0 and accuracy(engine, 60, 4) >= 0.4

    warm_start(engine, TASK, steps, seed=seed, until=enough)
    return engine


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Share of right most likely answers to unseen problems."""
    start, unseen = _start(seed, 3 if smoke else 900), 10 if smoke else 150
    if arm == "before":
        value, sampled = accuracy(start, unseen), accuracy(start, unseen, 4)
        return {"value": 100 * value, "sampled": sampled}
    engine = kit.copy_of(start)
    learned = kit.learn(
        engine,
        lambda step: TASK.problems("train", PROMPTS, seed=seed, start=step * PROMPTS),
        mm_upt(extract=answer, equal="text"),
        truth,
        LOOP.short() if smoke else LOOP,
        seed,
        lambda model: accuracy(model, unseen),
        answer,
    )
    return learned.measured(100 * learned.curve[-1], sampled=accuracy(engine, unseen, 4))


CLAIM = Claim(
    slug="mm-upt",
    claim="Agreement with the majority answer of the group, without any label, is enough to improve a "
    "model's reasoning on problems it has not seen (Wei et al., arXiv 2505.22453: MathVista 66.3 to 72.9, "
    "We-Math 62.9 to 68.7 with Qwen2.5-VL-7B).",
    metric="right most likely answers to 150 unseen problems after 60 updates, %",
    baseline="before",
    system="majority",
    run=run,
    margin=3.0,
    seeds=5,
    notes="Text only. A 2-layer byte-level decoder was shown worked sums of three numbers until two in five "
    "samples are right on unseen problems; then 60 updates on 32 unlabelled problems each, 10 samples at "
    "temperature 0.7, GRPO with a KL term of 0.01, all as published, learning rate 1e-4, chosen beforehand "
    "with true labels on another seed. Most likely answers are counted, so that a policy which only becomes "
    "more certain gains nothing. Self-written questions are not tried. A first version sampled at "
    "temperature 1 and had no KL term, which is not the published recipe; its result (-34 points, interval "
    "-48 to -20, 64 to 31 %) was dropped for that error.",
)
