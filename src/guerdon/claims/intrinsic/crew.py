"""CRew: confidence in the boxed answer alone against the mean log-prob of the whole solution."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from guerdon.claims import kit_intrinsic as lab
from guerdon.claims import kit_votes as kit
from guerdon.claims.claim import Claim, Measured
from guerdon.context import Context
from guerdon.data.rollouts import Rollouts
from guerdon.intrinsic.likelihoods import reduce_logprobs
from guerdon.systems.intrinsic.crew import crew
from guerdon.verify.extract import last_boxed

SIGNS, SAMPLES, IMITATED = ">-~,", 16, 700


def worded(path: str, rng: np.random.Generator) -> str:
    """A path as a solution: a sign of free choice after every letter, the last one in a box."""
    signs = rng.choice(list(SIGNS), len(path) - 1)
    return (
        "".join(letter + sign for letter, sign in zip(path, signs, strict=False)) + f"\\boxed{{{path[-1]}}}"
    )


@lru_cache(maxsize=1)
def _solutions(seed: int, steps: int, samples: int) -> tuple[Any, Rollouts, np.ndarray]:
    """A model that imitated the teacher, its solutions of all questions, and which are right."""
    chains = lab.Chains(seed)
    every = chains.train + chains.test

    def lesson(rng: np.random.Generator) -> list[tuple[str, str]]:
        asked = [every[i] for i in rng.integers(len(every), size=32)]
        return [(chains.prompt(k, hops), worded(chains.path(k, hops, rng), rng)) for k, hops in asked]

    engine = kit.imitate(kit.lab(seed, context=40, dim=32), lesson, steps, seed, lr=5e-3)
    rollouts = lab.sampled(engine, [chains.problem(k, hops) for k, hops in every], samples, 24, seed)
    said = [last_boxed(rollouts.text(i)) for i in range(len(rollouts))]
    right = np.array([float(a == r) for a, r in zip(said, rollouts.reference or [], strict=True)])
    return engine, rollouts, right


def run(arm: str, seed: int, smoke: bool) -> Measured:
    """How well a score tells right from wrong solutions of a question."""
    engine, rollouts, right = _solutions(seed, 5 if smoke else IMITATED, 4 if smoke else SAMPLES)
    if arm == "crew":
        values = crew()(rollouts, Context(engines={"policy": engine})).values
    else:
        assert rollouts.logprobs is not None
        values = reduce_logprobs(rollouts.logprobs.values, rollouts.logprobs.offsets, "mean")
    best = [
        rows[np.argmax(values[rows])] for rows in np.arange(len(values)).reshape(-1, rollouts_per(rollouts))
    ]
    return {
        "value": lab.auroc_within(values, right, rollouts.group),
        "accuracy": float(right.mean()),
        "best of n": float(right[best].mean()),
    }


def rollouts_per(rollouts: Rollouts) -> int:
    """Samples of a question."""
    return int((rollouts.group == rollouts.group[0]).sum())


CLAIM = Claim(
    slug="crew",
    claim="A model's mean probability of the tokens of its final answer rates solutions better than other "
    "scores that need no training, such as the likelihood of the whole solution (CRew, arXiv "
    "2510.13501: the best of them on MATH500 and RewardMATH).",
    metric="AUROC of the score for right against wrong solutions of a question",
    baseline="mean log-prob",
    system="crew",
    run=run,
    margin=0.02,
    seeds=6,
    notes="A 2-layer byte-level decoder of width 32 first imitates a teacher who applies a secret map of "
    "letters two to four times and errs at every hop, more often at some letters; the signs between "
    "letters are of free choice, the last letter stands in a box. 16 sampled solutions of each of 78 "
    "questions. The selection is tried; preference pairs from it, and training on them, are not.",
)
