"""R3 against the plain log-prob of a long reference of which little depends on what matters."""

from __future__ import annotations

from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.credit import grpo
from guerdon.systems.intrinsic.dro_r3 import dro_r3
from guerdon.systems.intrinsic.likelihood_rewards import likelihood_rewards

QUESTIONS, GROUP, STEPS, IMITATED, RATE = 12, 6, 30, 600, 1e-3


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """Chance of the right thought after training."""
    notes, start = lab.note_taker(seed, 3 if smoke else IMITATED, 20, 5, 1)
    plain = likelihood_rewards(reduce="mean", opening=notes.MARK)
    weighted = dro_r3(opening=notes.MARK, masked=notes.MARK)
    told: list[float] = []

    def step(engine: Any, at: int) -> None:
        asked = notes.problems(np.random.default_rng([seed, at]), QUESTIONS)
        rollouts = notes.sampled(engine, asked, GROUP, seed * 1000 + at)
        reward = (plain if arm == "mean log-prob" else weighted)(
            notes.opened(rollouts), Context(step=at, engines={"policy": engine})
        )
        right = np.array(
            [float(rollouts.text(i)[1:2] == str(m["digit"])) for i, m in enumerate(rollouts.meta or [])]
        )
        told.append(lab.auroc_within(reward.values, right, rollouts.group))
        lab.climb(engine, rollouts, reward.values, grpo(), RATE, seed * 1000 + at)

    engine = kit.copy_of(start)
    curve = lab.curve_of(engine, step, 2 if smoke else STEPS, notes.right_thoughts)
    return lab.shown(100 * float(curve[-1]), curve, auroc=float(np.nanmean([0.5, *told])))


CLAIM = Claim(
    slug="dro-r3",
    claim="Weighting a long reference's tokens by how much their log-prob varies over thoughts (R3) is a "
    "better reward than their plain log-prob, in which few tokens depend on the thought (DRO, arXiv "
    "2506.13351: FinQA 67.1 against 63.0).",
    metric="exact chance of the right thought after 30 updates, %",
    baseline="mean log-prob",
    system="r3",
    run=run,
    margin=3.0,
    seeds=5,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher who thinks a right digit about "
    "30 % of the time. A thought also sets the style of what follows; references are 20 characters in "
    "a style chosen anew every time, and name the digit once: what depends on the digit is one token, "
    "what depends on the style, which is noise here, 19. 12 questions a step, 6 thoughts each, GRPO "
    "and one step size for both; R3 with the published weights and an empty thought as its baseline. "
    "`auroc` is how well the reward tells right from wrong thoughts of a question, mean over updates. "
    "This is the second version that was looked at: in the first a thought that did not open its "
    "answer had no value and went unpunished, and the plain reward drifted there (+24.6, 16.3 to "
    "32.9). The mark is now always put behind a thought.",
)
